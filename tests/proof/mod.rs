//! Proof that nothing is lost: power cuts, faults, damage. `tests/PROOF.md` says what each harness does and assumes.

mod crash;
// Linux on x86-64 alone: the kernel's file systems, loop devices, and its protocol for those in user space.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod disk;
// Linux on x86-64 alone: the registers of a traced process.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod edits;
mod errors;
mod flips;
// Linux alone: strace.
#[cfg(target_os = "linux")]
mod lint;
// Linux alone: strace.
#[cfg(target_os = "linux")]
mod matrix;
pub mod memory;
// Linux on x86-64 alone: the registers of a traced process.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod neighbours;
// Linux on x86-64 alone: disks in memory, and the registers of a traced process.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod powerloss;
// Linux on x86-64 alone: the registers of a traced process.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod process;
// Linux alone: what a process holds, as /proc tells it.
#[cfg(target_os = "linux")]
mod soak;
// Linux on x86-64 alone: what uses it is.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sound;
// Linux on x86-64 alone: the registers of a traced process.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod swaps;
// Linux alone: strace.
#[cfg(target_os = "linux")]
mod trace;
// Linux on x86-64 alone: the registers of a traced process.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::support::{Home, copy_tree, noise, picture};

/// Returns how many times as much as in an ordinary run is to be tried: `DEVVAULT_PROOF=10`, or `full` for everything; and
/// how many times less: `tenth`, where a processor is emulated.
fn more_and_less() -> (usize, usize) {
    match std::env::var("DEVVAULT_PROOF").as_deref() {
        Ok("full") => (usize::MAX, 1),
        Ok("tenth") => (1, 10),
        // Tables are written anew.
        Ok("bless") | Err(_) => (1, 1),
        Ok(value) => (value.parse().unwrap_or_else(|_| panic!("DEVVAULT_PROOF={value} means nothing")), 1),
    }
}

/// Returns how many of something are tried where an ordinary run tries so many, and everything is so many at most.
fn scaled(ordinary: usize, most: usize) -> usize {
    let (more, less) = more_and_less();
    ordinary.saturating_mul(more).min(most).div_ceil(less)
}

/// Returns the step in which a long list is walked; in an ordinary run every `sample`-th is tried.
fn step(sample: usize) -> usize {
    let (more, less) = more_and_less();
    (sample * less / more).max(1)
}

/// Writes a file with a hole, which is read and restored in several pieces.
fn write_with_hole(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(&noise(150_000, 1)).unwrap();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    file.write_all(&noise(150_000, 2)).unwrap();
}

/// Keeps what a home holds under some names, for [`put_back`].
fn keep(home: &Home, names: &[&str]) {
    fs::create_dir_all(home.path("kept")).unwrap();
    for name in names.iter().filter(|name| home.path(name).exists()) {
        copy_tree(&home.path(name), &home.path("kept").join(name));
    }
}

/// Puts back what was kept under some names; what was not kept is removed.
fn put_back(home: &Home, names: &[&str]) {
    for name in names {
        let (path, kept) = (home.path(name), home.path("kept").join(name));
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        if kept.exists() {
            copy_tree(&kept, &path);
        }
    }
}

/// Returns what lies below a directory.
fn below(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = picture(root);
    found.remove(Path::new(""));
    found
}

/// Where runs that try more leave their counts, a file each.
fn counts_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("proof-counts")
}

/// Prints a count, fails where it is below its minimum or the document does not have it, and keeps that of a run that tries
/// more for the document, with the commit.
#[track_caller]
fn tally(what: &str, count: usize, least: usize) {
    let (more, less) = more_and_less();
    println!("proof: {count} {what}");
    assert!(count >= least.div_ceil(less), "only {count} {what}");
    if more > 1 {
        fs::create_dir_all(counts_directory()).unwrap();
        let line = format!("{count} | {what} | {}\n", commit());
        fs::write(counts_directory().join(what.replace([' ', '/'], "-")), line).unwrap();
    } else {
        let text = fs::read_to_string(document()).unwrap();
        assert!(text.contains(&format!("\n| {what} | ")), "tests/PROOF.md has no count of {what}");
    }
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/PROOF.md")
}

/// Returns what the tree that is tested is called, where that is known.
fn commit() -> String {
    let mut git = std::process::Command::new("git");
    git.args(["describe", "--always", "--dirty=+"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let told = git.output().ok().filter(|output| output.status.success());
    told.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

const BEGIN: &str = "<!-- counts: begin -->\n";
const END: &str = "<!-- counts: end -->\n";

#[test]
#[ignore = "writes the counts of the last longer runs into tests/PROOF.md"]
fn the_counts_of_the_last_longer_runs_stand_in_the_document() {
    let text = fs::read_to_string(document()).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let names = fs::read_dir(counts_directory()).expect("a longer run left counts").map(|entry| entry.unwrap().path());
    let mut lines: Vec<String> = names.map(|path| fs::read_to_string(path).unwrap()).collect();
    lines.sort_by_key(|line| line.split_once(" | ").unwrap().1.to_owned());
    let table: String = lines
        .iter()
        .map(|line| {
            let (count, what) = line.trim_end().split_once(" | ").unwrap();
            let (what, commit) = what.rsplit_once(" | ").unwrap();
            format!("| {what} | {count} | {commit} |\n")
        })
        .collect();
    let head = "| what | count | at |\n|---|---|---|\n";
    fs::write(document(), format!("{before}{BEGIN}{head}{table}{END}{after}")).unwrap();
}
