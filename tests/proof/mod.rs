//! Proof that nothing is lost: power cuts, faults, damage. `tests/PROOF.md` says what each harness does and assumes.

mod crash;
mod damage;
mod errors;
#[cfg(target_os = "linux")]
mod lint;
mod memory;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod process;
#[cfg(target_os = "linux")]
mod trace;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;

use std::fs;
use std::path::{Path, PathBuf};

/// Returns whether everything is to be tried, and not a sample: `DEVVAULT_PROOF=full`.
fn full() -> bool {
    std::env::var_os("DEVVAULT_PROOF").is_some_and(|value| value == "full")
}

/// Returns the step in which a long list is walked: every one of a full run, every `sample`-th of an ordinary one.
fn step(sample: usize) -> usize {
    if full() { 1 } else { sample }
}

/// Where full runs leave their counts, a file each.
fn counts_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("proof-counts")
}

/// Prints a count, fails where it is below its minimum, and keeps that of a full run for the document.
#[track_caller]
fn tally(what: &str, count: usize, least: usize) {
    println!("proof: {count} {what}");
    assert!(count >= least, "only {count} {what}");
    if full() {
        fs::create_dir_all(counts_directory()).unwrap();
        fs::write(counts_directory().join(what.replace([' ', '/'], "-")), format!("{count} | {what}\n")).unwrap();
    }
}

const BEGIN: &str = "<!-- counts: begin -->\n";
const END: &str = "<!-- counts: end -->\n";

#[test]
#[ignore = "writes the counts of the last full run into tests/PROOF.md"]
fn the_counts_of_the_last_full_run_stand_in_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/PROOF.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let names = fs::read_dir(counts_directory()).expect("a full run left counts").map(|entry| entry.unwrap().path());
    let mut lines: Vec<String> = names.map(|path| fs::read_to_string(path).unwrap()).collect();
    lines.sort_by_key(|line| line.split_once(" | ").unwrap().1.to_owned());
    let table: String = lines
        .iter()
        .map(|line| {
            let (count, what) = line.trim_end().split_once(" | ").unwrap();
            format!("| {what} | {count} |\n")
        })
        .collect();
    fs::write(path, format!("{before}{BEGIN}| what | count |\n|---|---|\n{table}{END}{after}")).unwrap();
}
