//! `trace`: where a snapshot, a path and a pack come from, and what this host did with them.

use std::fs;

use devvault::clock::Time;
use devvault::crypto::Id;
use devvault::format::record::{Body, Branch};
use devvault::ops::restore;
use devvault::ops::trace::{self, Report};
use devvault::ops::verify::Verdict;
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{Forger, Home, assert_refused, copy_tree, flip, packs, restore_options, unchanged};

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
    let missing: Vec<_> = report.findings.iter().filter(|finding| finding.code == Code::ChunkMissing).collect();
    assert_eq!((missing.len(), &missing[0].snapshots[..]), (1, &[1, 2][..]), "{:?}", report.findings);
    assert!(report.kept.evidence.is_some() && report.kept.incident.is_some());
}

#[test]
fn latest_is_not_what_is_left_of_a_chain_that_is_broken_or_behind() {
    let swapped = Home::with_snapshot();
    swapped.backup();
    let name = |number| swapped.vault().join(format!("snapshots/{number:08}"));
    fs::rename(name(1), swapped.path("one")).unwrap();
    fs::rename(name(2), name(1)).unwrap();
    fs::rename(swapped.path("one"), name(2)).unwrap();
    assert_refused(Code::RecordMisplaced, run(&swapped, "latest"));
    let behind = Home::with_snapshot();
    behind.backup();
    fs::remove_dir_all(behind.vault().join("snapshots/00000002")).unwrap();
    assert_refused(Code::Rollback, run(&behind, "latest"));
    assert_refused(Code::Rollback, run(&behind, "2"));
    assert_refused(Code::NoSuchSnapshot, run(&behind, "3"));
    let report = run(&behind, "1").unwrap();
    assert_eq!((report.holders.len(), report.freshness.to_string()), (1, "behind 1".into()));
    // A path that is in no record that can be read may be in one that cannot.
    let report = run(&swapped, "README").unwrap();
    assert!(report.holders.is_empty() && !report.findings.is_empty());
    assert_eq!(swapped.json(&["trace", "README"]).0, 13);
}

#[test]
fn a_listing_that_cannot_be_read_is_a_finding_and_not_a_note() {
    let home = Home::with_snapshot();
    packs(&home.vault()).iter().for_each(|pack| fs::remove_file(pack).unwrap());
    let report = run(&home, "README").unwrap();
    assert_eq!((report.findings[0].code, &report.findings[0].snapshots[..]), (Code::ListingMissing, &[1][..]));
    let (exit, document) = home.json(&["trace", "README"]);
    assert_eq!((exit, &document["ok"], &document["findings"][0]["code"]), (11, &false.into(), &"DV104".into()));
    let output = home.run(&["trace", "README"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("not everything could be looked through") && text.contains("evidence: "), "{text}");
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
    // Of what patterns chose, the journal has how much and not what.
    assert_eq!(report.restored.len(), 1);
    let only = restore::Options { include: vec!["/README".into()], ..restore_options() };
    restore::run(&home.access(), &"2".parse().unwrap(), &home.path("only"), &only, &Silent).unwrap();
    assert_eq!(run(&home, "src/main.rs").unwrap().restored.len(), 1);
    let restored = run(&home, "2").unwrap().restored;
    assert!(restored.iter().all(|one| one.what.starts_with("a part, to ")), "{restored:?}");
    let drill = restore::Options { in_drill: true, ..restore_options() };
    restore::run(&home.access(), &"2".parse().unwrap(), &home.path("drill"), &drill, &Silent).unwrap();
    let restored = run(&home, "2").unwrap().restored;
    let newest = &restored[0].what;
    assert!(newest.starts_with("to ") && newest.ends_with(" by a drill"), "{newest}");
    assert_refused(Code::NoSuchSnapshot, run(&home, "9"));
    let (exit, document) = home.json(&["trace", "1"]);
    assert_eq!(
        (exit, &document["schema"], &document["snapshots"][0]["snapshot"]),
        (0, &"devvault.trace/1".into(), &1.into())
    );
}

#[test]
fn a_verification_is_told_of_what_was_there_and_of_the_copy_that_was_read() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    home.backup();
    let verified = |access: &Access, what: &str| {
        let report = trace::run(access, &what.parse().unwrap(), &Silent).unwrap();
        (report.verified.len(), report.failed.len())
    };
    assert_eq!(verified(&home.access(), "1"), (1, 0));
    assert_eq!(verified(&home.access(), "2"), (0, 0), "it was not there yet");
    home.verify(&[]).unwrap();
    assert_eq!(verified(&home.access(), "2"), (1, 0));

    // Nor was what a branch gives the same number to.
    let branched = Home::with_snapshot();
    branched.backup();
    branched.verify(&[]).unwrap();
    branched.restore("2", "restored").unwrap();
    let forger = Forger::new(&branched);
    let (from, to) = (forger.head(2), forger.head(1));
    fs::remove_dir_all(branched.vault().join("snapshots/00000002")).unwrap();
    let (time, host) = (Time { seconds: 1_700_000_000, nanos: 0 }, crate::chain::recorded_host());
    forger.put(2, Body::Branch(Branch { branch: Id([9; 16]), from, host, reason: "a test".into(), time, to }));
    branched.backup();
    branched.verify_from(&branched.access_after(60), &[]).unwrap();
    let report = trace::run(&branched.access_after(60), &"3".parse().unwrap(), &Silent).unwrap();
    assert_eq!((report.verified.len(), report.restored.len()), (1, 0), "the last alone: {report:?}");

    // Another copy was not read by that.
    copy_tree(&home.vault(), &home.path("other"));
    let other = Access { vault: home.path("other"), ..home.access() };
    assert_eq!(verified(&other, "2"), (0, 0));
    for pack in packs(&other.vault) {
        flip(&pack, 60);
    }
    assert_eq!(home.verify_from(&other, &[]).unwrap().verdict, Verdict::Invalid);
    assert_eq!(verified(&other, "2"), (0, 1));
    assert_eq!(verified(&home.access(), "2"), (1, 0));
}
