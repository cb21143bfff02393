//! Restoring a part: only what is chosen, only what it needs is read, and nothing is said of the rest.

use std::fs;

use devvault::ops::restore::{self, Options};
use devvault::progress::Silent;
use devvault::refusal::Code;

use crate::support::{Home, assert_refused, flip, noise, packs, restore_options};

fn restore(
    home: &Home,
    place: &str,
    to: &str,
    include: &[&str],
    exclude: &[&str],
) -> devvault::error::Result<restore::Report> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let options = Options { include: words(include), exclude: words(exclude), ..restore_options() };
    restore::run(&home.access(), &place.parse().unwrap(), &home.path(to), &options, &Silent)
}

/// Paths of files and directories below a directory, ascending.
fn paths(home: &Home, name: &str) -> Vec<String> {
    let root = home.path(name);
    let all = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    all.map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/"))
        .filter(|path| !path.is_empty())
        .collect()
}

#[test]
fn patterns_choose_what_is_restored_with_the_directories_that_lead_there() {
    let home = Home::with_snapshot();
    let report = restore(&home, "1", "a", &["*.rs"], &[]).unwrap();
    assert_eq!(paths(&home, "a"), ["src", "src/main.rs"]);
    assert_eq!((report.counts.files, report.counts.directories), (1, 2));
    assert_eq!((report.not_chosen.files, report.not_chosen.directories), (4, 3));
    assert!(report.partial && report.damage_elsewhere.is_empty());
    // Relative to what is restored, not to the source.
    restore(&home, "1:src", "b", &["/deep/"], &[]).unwrap();
    assert_eq!(paths(&home, "b"), ["deep", "deep/er", "deep/er/file"]);
    let report = restore(&home, "1", "c", &[], &["/src/", "empty"]).unwrap();
    assert_eq!(paths(&home, "c"), ["README", "vacant", "z-last"]);
    assert!(report.partial && report.not_chosen.files == 3);
    let report = restore(&home, "1", "d", &["*"], &[]).unwrap();
    assert!(!report.partial, "everything was chosen");
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let time = |name: &str| fs::metadata(home.path(name)).unwrap().mtime_nsec();
        assert_eq!(time("a/src"), time("source/src"), "a directory that leads there keeps its time");
    }
}

#[test]
fn a_source_is_meant_by_the_path_that_it_had_and_by_any_that_leads_there() {
    let home = Home::with_snapshot();
    let recorded = fs::canonicalize(home.source()).unwrap();
    // Unix alone: making links is a right of its own on Windows.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&recorded, home.path("alias")).unwrap();
        restore(&home, &format!("latest:{}", home.path("alias").display()), "a", &[], &[]).unwrap();
    }
    restore(&home, &format!("latest:{}", recorded.display()), "b", &[], &[]).unwrap();
    fs::remove_dir_all(&recorded).unwrap();
    let report = restore(&home, &format!("latest:{}", recorded.display()), "c", &[], &[]).unwrap();
    assert_eq!((report.snapshot, paths(&home, "c").len()), (1, paths(&home, "b").len()));
}

#[test]
fn patterns_that_choose_nothing_are_refused() {
    let home = Home::with_snapshot();
    assert_refused(Code::SelectionEmpty, restore(&home, "1", "a", &["*.c"], &[]));
    assert_refused(Code::SelectionEmpty, restore(&home, "1", "a", &[], &["*"]));
    assert!(!home.path("a").exists());
    for wrong in [&["restore", "1", "x", "--include", "[z-a]"][..], &["restore", "1", "x", "--exclude", "#"]] {
        assert_eq!(home.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn the_result_says_what_was_not_restored() {
    let home = Home::with_snapshot();
    let output = home.run(&["restore", "1", "a", "--include", "README"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for said in ["not restored, because the patterns do not choose it: 4 files", "nothing here calls it valid"] {
        assert!(text.contains(said), "{said} is missing from:\n{text}");
    }
    let (exit, document) = home.json(&["restore", "1", "b", "--exclude", "README"]);
    assert_eq!((exit, &document["partial"], &document["not_chosen"]["files"]), (0, &true.into(), &1.into()));
    let (_, document) = home.json(&["restore", "1", "c"]);
    assert_eq!((&document["partial"], &document["not_chosen"]["files"]), (&false.into(), &0.into()));
}

/// A snapshot whose file `broken` lies in packs of its own, and these packs.
fn two_files() -> (Home, Vec<std::path::PathBuf>) {
    let home = Home::with_vault();
    home.write_source(&[("whole", "intact\n"), ("sub/whole", "intact too\n")]);
    home.backup();
    let first = packs(&home.vault());
    fs::write(home.source().join("broken"), noise(60_000, 4)).unwrap();
    home.backup();
    let mut later: Vec<_> = packs(&home.vault()).into_iter().filter(|pack| !first.contains(pack)).collect();
    // The last one holds the lists of files too.
    later.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    (home, later)
}

#[test]
fn intact_paths_come_back_from_a_snapshot_that_is_damaged_elsewhere() {
    let (home, later) = two_files();
    let largest = later.last().unwrap();
    flip(largest, 2000);
    assert_refused(Code::ChunkDamaged, restore(&home, "2", "all", &[], &[]));
    let report = restore(&home, "2", "part", &["whole"], &[]).unwrap();
    assert!(report.partial && report.verified);
    assert_eq!(report.damage_elsewhere.len(), 1, "this host has just seen that pack fail");
    assert!(largest.ends_with(&report.damage_elsewhere[0]), "{:?}", report.damage_elsewhere);
    assert_eq!(paths(&home, "part"), ["sub", "sub/whole", "whole"]);
    // What is damaged is refused as ever, by whatever pattern it is chosen.
    assert_refused(Code::ChunkDamaged, restore(&home, "2", "no", &["broken"], &[]));
    let (exit, document) = home.json(&["verify", "2"]);
    assert_eq!((exit, &document["verdict"]), (11, &"invalid".into()), "the whole snapshot is not valid for that");
}

#[test]
fn a_pack_that_is_missing_elsewhere_is_named() {
    let (home, later) = two_files();
    let largest = later.last().unwrap();
    fs::remove_file(largest).unwrap();
    assert_refused(Code::ChunkMissing, restore(&home, "2", "all", &[], &[]));
    let report = restore(&home, "2", "part", &["whole"], &[]).unwrap();
    assert_eq!(report.damage_elsewhere.len(), 1);
    assert!(largest.ends_with(&report.damage_elsewhere[0]), "{:?}", report.damage_elsewhere);
    let output = home.run(&["restore", "2:sub", "again"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("IN DOUBT: 1 pack(s)"), "{text}");
    let (_, document) = home.json(&["restore", "2:whole", "once-more"]);
    assert_eq!(document["damage_elsewhere"].as_array().unwrap().len(), 1);
}
