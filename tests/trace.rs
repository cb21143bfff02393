//! `trace`: where a snapshot, a path and a pack come from, and what this host did with them.

use std::fs;

use devvault::ops::trace::{self, Report};
use devvault::progress::Silent;
use devvault::refusal::Code;

use crate::support::{Home, assert_refused, packs, unchanged};

fn run(home: &Home, target: &str) -> devvault::error::Result<Report> {
    unchanged(&home.vault(), || trace::run(&home.access(), &target.parse().unwrap(), &Silent))
}

fn what(report: &Report) -> Vec<(u64, String)> {
    report.holders.iter().map(|one| (one.snapshot, one.what.split(':').next().unwrap().to_owned())).collect()
}

#[test]
fn a_path_is_followed_through_every_snapshot_that_holds_it() {
    let home = Home::with_snapshot();
    home.backup();
    home.write_source(&[("README", "something else\n")]);
    home.backup();
    fs::remove_file(home.source().join("README")).unwrap();
    home.backup();
    let report = run(&home, "README").unwrap();
    let expected = [(1, "first seen"), (2, "unchanged"), (3, "changed")];
    assert_eq!(what(&report), expected.map(|(number, what)| (number, what.to_owned())));
    assert_eq!(report.holders[0].source, home.source().canonicalize().unwrap().as_os_str().as_encoded_bytes());
    assert_eq!(what(&run(&home, "src").unwrap()).len(), 4);
    assert_refused(Code::SelectionEmpty, run(&home, "nothing"));
}

#[test]
fn a_pack_is_traced_to_who_wrote_it_and_who_relies_on_it() {
    let home = Home::with_snapshot();
    home.backup();
    let name = packs(&home.vault())[0].file_stem().unwrap().to_str().unwrap().to_owned();
    let report = run(&home, &name).unwrap();
    assert!(report.holders[0].what.starts_with("wrote it: "), "{:?}", report.holders);
    assert!(report.holders[1..].iter().all(|one| one.what.starts_with("relies on it")));
    assert!(report.read.is_some());
    assert_refused(Code::SelectionEmpty, run(&home, &"0".repeat(64)));
    fs::remove_file(&packs(&home.vault())[0]).unwrap();
    let report = run(&home, &format!("packs/{}/{name}.pack", &name[..2])).unwrap();
    assert!(report.notes.iter().any(|note| note.contains("not in the vault")), "{:?}", report.notes);
}

#[test]
fn a_snapshot_is_told_with_when_it_was_verified_and_restored() {
    let home = Home::with_snapshot();
    home.backup();
    let report = run(&home, "2").unwrap();
    assert!(report.verified.is_empty() && report.restored.is_empty());
    home.verify(&["1"]).unwrap();
    home.restore("2:src", "restored").unwrap();
    let report = run(&home, "2").unwrap();
    assert_eq!((report.verified.len(), report.restored.len()), (0, 1));
    home.verify(&[]).unwrap();
    let report = run(&home, "latest").unwrap();
    assert_eq!((report.holders[0].snapshot, report.verified.len()), (2, 1));
    assert_eq!(report.verified[0].what, "full verification: valid");
    assert_eq!(run(&home, "src/main.rs").unwrap().restored.len(), 1);
    assert_eq!(run(&home, "README").unwrap().restored.len(), 0);
    assert_refused(Code::NoSuchSnapshot, run(&home, "9"));
    let (exit, document) = home.json(&["trace", "1"]);
    assert_eq!(
        (exit, &document["schema"], &document["snapshots"][0]["snapshot"]),
        (0, &"devvault.trace/1".into(), &1.into())
    );
}
