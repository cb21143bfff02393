//! The witness: an older copy, a fork or a vault that this host knows otherwise is refused; what is fresh is told.

use std::fs;
use std::path::Path;

use devvault::crypto::Digest;
use devvault::format::record::Head;
use devvault::ops::verify::Verdict;
use devvault::ops::{backup, index, snapshots};
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::chain::{
    backup_from, blocked, blocked_from, record, recoverable, recoverable_from, remove, restore_from, three,
};
use crate::support::{Forger, Home, assert_refused, copy_tree, flip, packs, picture, unchanged};

fn move_vault(home: &Home, from: &Path) {
    fs::remove_dir_all(home.vault()).unwrap();
    fs::rename(from, home.vault()).unwrap();
}

// What is old

#[test]
fn a_vault_put_back_to_yesterdays_copy_is_a_rollback_by_exactly_what_is_missing() {
    let (home, pictures) = three();
    copy_tree(&home.vault(), &home.path("yesterday"));
    for _ in 0..4 {
        home.backup();
    }
    move_vault(&home, &home.path("yesterday"));
    let report = blocked(&home, Code::Rollback);
    assert_eq!(report.freshness.to_string(), "behind 4");
    assert_eq!(report.snapshots, [(1, Verdict::Valid), (2, Verdict::Valid), (3, Verdict::Valid)]);
    for (number, picture) in (1..).zip(&pictures) {
        recoverable(&home, number, picture, "behind 4");
    }
}

#[test]
fn looking_at_an_older_copy_does_not_make_it_the_newest() {
    let (home, pictures) = three();
    remove(&home, 3);
    for _ in 0..2 {
        assert_eq!(home.verify(&[]).unwrap().freshness.to_string(), "behind 1");
        recoverable(&home, 2, &pictures[1], "behind 1");
        snapshots::run(&home.access()).unwrap();
        devvault::ops::status::run(&home.access()).unwrap();
        devvault::ops::key::check(&home.access()).unwrap();
    }
    blocked(&home, Code::Rollback);
}

#[test]
fn a_vault_that_was_copied_and_continued_twice_is_a_fork() {
    let (home, pictures) = three();
    let copy = Access { vault: home.path("copy"), ..home.access() };
    copy_tree(&home.vault(), &copy.vault);
    let other = Access { vault: home.path("copy"), ..home.access_from(home.other_host("other")) };
    backup_from(&home, &other).unwrap();
    home.backup();
    let report = blocked_from(&home, &copy, Code::Fork);
    assert_eq!(report.freshness.to_string(), "behind 1");
    recoverable_from(&home, &copy, 3, &pictures[2], "behind 1");
    // The longer of the two is no more true than the shorter.
    for _ in 0..3 {
        backup_from(&home, &other).unwrap();
    }
    blocked_from(&home, &copy, Code::Fork);
    // Nor is the other one to the other host.
    let original = Access { vault: home.vault(), ..other };
    blocked_from(&home, &original, Code::Fork);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
}

#[test]
fn a_longer_chain_than_the_witness_knows_is_an_extension_and_is_remembered() {
    let (home, _) = three();
    let other = home.access_from(home.other_host("other"));
    let old = fs::read(home.witness()).unwrap();
    backup_from(&home, &other).unwrap();
    backup_from(&home, &other).unwrap();
    assert_eq!(fs::read(home.witness()).unwrap(), old);
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "proven"));
    assert_ne!(fs::read(home.witness()).unwrap(), old);
    remove(&home, 5);
    assert_eq!(blocked(&home, Code::Rollback).freshness.to_string(), "behind 1");
}

#[test]
fn every_act_that_authenticates_the_chain_remembers_its_head() {
    type Act = fn(&Home);
    let acts: [(&str, Act); 5] = [
        ("restore", |home| drop(home.restore("1", "restored").unwrap())),
        ("verify one", |home| drop(home.verify(&["1"]).unwrap())),
        ("snapshots", |home| drop(snapshots::run(&home.access()).unwrap())),
        ("status", |home| drop(devvault::ops::status::run(&home.access()).unwrap())),
        ("backup", |home| drop(home.backup())),
    ];
    let (home, _) = three();
    backup_from(&home, &home.access_from(home.other_host("other"))).unwrap();
    copy_tree(&home.path("state"), &home.path("state-before"));
    copy_tree(&home.vault(), &home.path("vault-before"));
    for (name, act) in acts {
        act(&home);
        remove(&home, 4);
        if record(&home, 5).exists() {
            remove(&home, 5);
        }
        assert!(home.verify(&[]).unwrap().findings.iter().any(|finding| finding.code == Code::Rollback), "{name}");
        for (from, to) in [("state-before", "state"), ("vault-before", "vault")] {
            fs::remove_dir_all(home.path(to)).unwrap();
            copy_tree(&home.path(from), &home.path(to));
        }
    }
}

// What this host knows

#[test]
fn a_host_that_never_saw_the_vault_says_so_and_goes_on() {
    let (home, pictures) = three();
    let fresh = home.access_from(home.other_host("fresh"));
    let report = unchanged(&home.vault(), || home.verify_from(&fresh, &[]).unwrap());
    assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "unproven"));
    assert!(report.not_checked.iter().any(|text| text.contains("freshness")), "{:?}", report.not_checked);
    let fresh = home.access_from(home.other_host("fresh-2"));
    let restored = unchanged(&home.vault(), || restore_from(&home, &fresh, "2", "restored").unwrap());
    assert_eq!(restored.freshness.to_string(), "unproven");
    assert_eq!(picture(&home.path("restored")), pictures[1]);
    let fresh = home.access_from(home.other_host("fresh-3"));
    assert_eq!(backup_from(&home, &fresh).unwrap().snapshot, 4);
    // What it saw first may have been old, however often it looks, and whatever it writes after that.
    let fresh_now = |access: &Access| home.verify_from(access, &[]).unwrap().freshness.to_string();
    assert_eq!([fresh_now(&fresh), fresh_now(&fresh)], ["unproven"; 2]);
    let named = Access { expect_head: Some(Forger::new(&home).head(3)), ..fresh.clone() };
    assert_eq!([fresh_now(&named), fresh_now(&fresh)], ["proven"; 2]);
}

#[test]
fn a_head_that_occurs_proves_freshness_and_another_one_refuses() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    for number in 1..=3 {
        let mut fresh = home.access_from(home.other_host(&format!("fresh-{number}")));
        fresh.expect_head = Some(forger.head(number));
        let report = home.verify_from(&fresh, &[]).unwrap();
        assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "proven"));
        assert!(report.not_checked.is_empty());
    }
    let (right, wrong) = (forger.head(3), forger.head(2));
    for head in [
        Head { number: 3, ..wrong },
        Head { number: 4, ..right },
        Head { number: 0, ..right },
        Head { number: 99_999_999, ..right },
        Head { digest: Digest([0; 32]), number: 0 },
    ] {
        for host in [home.host(), home.other_host("fresh")] {
            let access = Access { expect_head: Some(head), ..home.access_from(host) };
            unchanged(&home.vault(), || {
                assert_refused(Code::HeadUnexpected, home.verify_from(&access, &[]));
                assert_refused(Code::HeadUnexpected, home.verify_from(&access, &["1"]));
                assert_refused(Code::HeadUnexpected, backup_from(&home, &access));
                assert_refused(Code::HeadUnexpected, restore_from(&home, &access, "1", "refused"));
            });
        }
    }
    assert!(!home.path("fresh-state/witness").exists());
}

#[test]
fn an_expected_head_does_not_excuse_an_older_copy() {
    let (home, _) = three();
    let head = Forger::new(&home).head(2);
    remove(&home, 3);
    let access = Access { expect_head: Some(head), ..home.access() };
    blocked_from(&home, &access, Code::Rollback);
}

#[test]
fn a_witness_that_cannot_be_trusted_blocks_all_but_numbered_snapshots() {
    type Damage = fn(&Home);
    let damages: [(&str, Damage); 6] = [
        ("flipped", |home| flip(&home.witness(), 30)),
        ("flipped tag", |home| flip(&home.witness(), fs::read(home.witness()).unwrap().len() - 5)),
        ("empty", |home| fs::write(home.witness(), "").unwrap()),
        ("cut", |home| {
            let bytes = fs::read(home.witness()).unwrap();
            fs::write(home.witness(), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("of another vault", |home| {
            let other = Home::with_snapshot();
            fs::copy(other.witness(), home.witness()).unwrap();
        }),
        ("no file", |home| {
            let path = home.witness();
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        }),
    ];
    let (home, pictures) = three();
    let intact = fs::read(home.witness()).unwrap();
    for (name, damage) in damages {
        damage(&home);
        println!("{name}");
        let report = blocked(&home, Code::WitnessUnreadable);
        assert_eq!(report.exit(), 13);
        recoverable(&home, 1, &pictures[0], "unproven");
        recoverable(&home, 3, &pictures[2], "unproven");
        let restored = home.restore("2", "noted").unwrap();
        assert!(restored.notes.iter().any(|note| note.contains("witness")), "{:?}", restored.notes);
        fs::remove_dir_all(home.path("noted")).unwrap();
        let path = home.witness();
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        fs::write(path, &intact).unwrap();
    }
}

#[test]
fn a_witness_that_cannot_be_trusted_is_evidence_and_never_replaced_silently() {
    let (home, _) = three();
    flip(&home.witness(), 30);
    let damaged = fs::read(home.witness()).unwrap();
    home.verify(&[]).unwrap();
    home.verify(&["1"]).unwrap();
    assert_refused(Code::WitnessUnreadable, home.try_backup(&backup::Options::default()));
    assert_eq!(fs::read(home.witness()).unwrap(), damaged);
}

#[test]
fn an_expected_head_stands_in_for_a_witness_that_cannot_be_trusted() {
    let (home, _) = three();
    flip(&home.witness(), 30);
    let access = Access { expect_head: Some(Forger::new(&home).head(3)), ..home.access() };
    let report = backup_from(&home, &access).unwrap();
    assert_eq!(report.snapshot, 4);
    assert!(report.notes.iter().any(|note| note.contains("witness")), "{:?}", report.notes);
    assert_eq!(home.verify_from(&access, &[]).unwrap().verdict, Verdict::Valid);
}

#[test]
fn the_host_that_made_the_key_does_not_write_without_its_witness() {
    let (home, _) = three();
    fs::remove_dir_all(home.path("state")).unwrap();
    unchanged(&home.vault(), || {
        assert_refused(Code::WitnessMissing, home.try_backup(&backup::Options::default()));
        assert_refused(Code::WitnessMissing, index::run(&home.access()));
    });
    let access = Access { expect_head: Some(Forger::new(&home).head(3)), ..home.access() };
    assert_eq!(backup_from(&home, &access).unwrap().snapshot, 4);
    assert_eq!(home.backup().snapshot, 5);
}

#[test]
fn looking_at_a_vault_does_not_replace_a_lost_witness() {
    let (home, pictures) = three();
    fs::remove_dir_all(home.path("state")).unwrap();
    home.verify(&[]).unwrap();
    recoverable(&home, 2, &pictures[1], "unproven");
    snapshots::run(&home.access()).unwrap();
    devvault::ops::status::run(&home.access()).unwrap();
    assert_refused(Code::WitnessMissing, home.try_backup(&backup::Options::default()));
    let access = Access { expect_head: Some(Forger::new(&home).head(3)), ..home.access() };
    home.verify_from(&access, &[]).unwrap();
    home.backup();
}

#[test]
fn looking_remembers_the_head_of_a_chain_that_is_sound_whatever_else_is_not() {
    type Damage = fn(&Home);
    let cases: [(&str, Damage, bool); 4] = [
        ("nothing", |_| {}, true),
        ("content", |home| flip(&packs(&home.vault())[0], 60), true),
        ("a missing record", |home| remove(home, 2), false),
        (
            "a changed configuration",
            |home| {
                let path = home.vault().join("vault.json");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replace("\"block_bytes\":4096", "\"block_bytes\":8192")).unwrap();
            },
            false,
        ),
    ];
    for (what, damage, remembered) in cases {
        let (home, _) = three();
        damage(&home);
        let access = home.access_from(home.other_host("other"));
        let report = home.verify_from(&access, &[]).unwrap();
        assert_eq!(report.verdict == Verdict::Valid, what == "nothing", "{what}: {:?}", report.findings);
        assert_eq!(access.host.witness_path(report.vault).exists(), remembered, "{what}");
    }
}

#[test]
fn a_chain_with_a_finding_is_remembered_by_no_host() {
    let home = Home::with_snapshot();
    home.backup();
    flip(&record(&home, 1).join("manifest.json"), 30);
    let host = home.other_host("stranger");
    let witness = host.witness_path(Forger::new(&home).macs.vault());
    let access = home.access_from(host);
    let _ = snapshots::run(&access);
    let _ = home.verify_from(&access, &[]);
    restore_from(&home, &access, "2", "restored").unwrap();
    assert!(!witness.exists(), "what does not hold together would be what this host has seen");
}

#[test]
fn an_expected_head_ends_the_doubt_for_good() {
    let (home, _) = three();
    flip(&home.witness(), 30);
    let access = Access { expect_head: Some(Forger::new(&home).head(3)), ..home.access() };
    backup_from(&home, &access).unwrap();
    home.backup();
}

#[test]
fn a_snapshot_that_this_host_has_seen_was_not_mistyped_where_it_is_missing_now() {
    let home = Home::with_snapshot();
    home.backup();
    fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
    let salvage =
        |place: &str| devvault::ops::salvage::run(&home.access(), &place.parse().unwrap(), &home.path("out"), &Silent);
    unchanged(&home.vault(), || {
        assert_refused(Code::Rollback, home.verify(&["2"]));
        assert_refused(Code::Rollback, home.restore("2", "out"));
        assert_refused(Code::Rollback, salvage("2"));
        assert_refused(Code::NoSuchSnapshot, home.verify(&["3"]));
        assert_refused(Code::NoSuchSnapshot, home.restore("3", "out"));
        // Nor is what is left the newest.
        assert_refused(Code::Rollback, salvage("latest"));
        assert!(!home.path("out").exists());
        salvage("1").unwrap();
        // Who looks through all there is learns that it is not all there was.
        let found = home.run(&["find", "README"]);
        assert!(String::from_utf8(found.stdout).unwrap().contains("freshness: behind 1"));
    });
}
