//! The chain and the witness: what is missing, moved, foreign, forged or old is refused, each with its own code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use devvault::clock::Time;
use devvault::crypto::{Digest, Id};
use devvault::format::record::{Body, Branch, Fate, Gone, Head, Host, Record, RecordKind, Tombstone};
use devvault::ops::verify::Verdict;
use devvault::ops::{backup, index, restore, snapshots, verify};
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{Forger, Home, SMALL_TREE, assert_refused, copy_tree, flip, packs, picture, unchanged};

type Picture = BTreeMap<PathBuf, String>;

/// A vault with three snapshots of a source that changed between them, and what the source was each time.
fn three() -> (Home, Vec<Picture>) {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let pictures = ["first", "second", "third"].map(|content| {
        home.write_source(&[("changing", content)]);
        home.backup();
        picture(&home.source())
    });
    (home, pictures.into())
}

fn record(home: &Home, number: u64) -> PathBuf {
    home.vault().join(format!("snapshots/{number:08}"))
}

fn remove(home: &Home, number: u64) {
    fs::remove_dir_all(record(home, number)).unwrap();
}

fn backup_from(home: &Home, access: &Access) -> devvault::error::Result<backup::Report> {
    backup::run(access, &home.source(), &backup::Options::default(), &Silent)
}

fn restore_from(home: &Home, access: &Access, place: &str, name: &str) -> devvault::error::Result<restore::Report> {
    restore::run(access, &place.parse().unwrap(), &home.path(name), &crate::support::restore_options(), &Silent)
}

/// Fails unless every write and the word `latest` refuse with this code, and plain `verify` finds it.
#[track_caller]
fn blocked_from(home: &Home, access: &Access, code: Code) -> verify::Report {
    home.write_source(&[("new", "what a refused backup must not store")]);
    unchanged(&access.vault, || {
        assert_refused(code, backup_from(home, access));
        assert_refused(code, index::run(access));
        assert_refused(code, restore_from(home, access, "latest", "refused"));
        assert!(!home.path("refused").exists());
        let latest = home.verify_from(access, &["latest"]).unwrap();
        assert_eq!(latest.verdict, Verdict::Invalid);
        assert!(latest.findings.iter().any(|finding| finding.code == code), "{:?}", latest.findings);
        let report = home.verify_from(access, &[]).unwrap();
        assert_eq!(report.verdict, Verdict::Invalid);
        assert!(report.findings.iter().any(|finding| finding.code == code), "{:?}", report.findings);
        assert_eq!(report.exit(), report.findings[0].code.family().exit());
        report
    })
}

#[track_caller]
fn blocked(home: &Home, code: Code) -> verify::Report {
    blocked_from(home, &home.access(), code)
}

/// Fails unless a snapshot named by its number verifies and restores exactly, with this freshness.
#[track_caller]
fn recoverable_from(home: &Home, access: &Access, number: u64, expected: &Picture, freshness: &str) {
    unchanged(&access.vault, || {
        let report = home.verify_from(access, &[&number.to_string()]).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.verdict, Verdict::Valid);
        assert_eq!(report.exit(), 0);
        assert_eq!(report.snapshots, [(number, Verdict::Valid)]);
        assert_eq!(report.freshness.to_string(), freshness);
        let name = format!("restored-{number}");
        let restored = restore_from(home, access, &number.to_string(), &name).unwrap();
        assert_eq!(restored.freshness.to_string(), freshness);
        assert_eq!(&picture(&home.path(&name)), expected);
        fs::remove_dir_all(home.path(&name)).unwrap();
    });
}

#[track_caller]
fn recoverable(home: &Home, number: u64, expected: &Picture, freshness: &str) {
    recoverable_from(home, &home.access(), number, expected, freshness);
}

fn recorded_host() -> Host {
    Host { id: Id([7; 16]), name: "crafted".into() }
}

fn tombstone(gone: &[(u64, Option<Digest>, Fate)]) -> Body {
    let gone = gone.iter().map(|&(number, digest, fate)| Gone { digest, fate, number }).collect();
    Body::Tombstone(Tombstone {
        gone,
        host: recorded_host(),
        reason: "a test".into(),
        rule: String::new(),
        time: Time { seconds: 1_700_000_000, nanos: 0 },
    })
}

fn branch(from: Head, to: Head) -> Body {
    let time = Time { seconds: 1_700_000_000, nanos: 0 };
    Body::Branch(Branch { branch: Id([9; 16]), from, host: recorded_host(), reason: "a test".into(), time, to })
}

fn move_vault(home: &Home, from: &Path) {
    fs::remove_dir_all(home.vault()).unwrap();
    fs::rename(from, home.vault()).unwrap();
}

// What is gone

#[test]
fn an_older_copy_of_the_vault_is_no_clean_listing() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("older"));
    home.backup();
    fs::remove_dir_all(home.vault()).unwrap();
    fs::rename(home.path("older"), home.vault()).unwrap();
    for arguments in [&["snapshots"][..], &["status"]] {
        let (exit, document) = home.json(arguments);
        assert_eq!((exit, &document["findings"][0]["code"]), (13, &"DV313".into()), "{arguments:?}: {document}");
        assert_eq!(document["freshness"], "behind 1");
    }
}

#[test]
fn a_deleted_newest_snapshot_is_a_rollback() {
    let (home, pictures) = three();
    remove(&home, 3);
    let report = blocked(&home, Code::Rollback);
    assert_eq!(report.freshness.to_string(), "behind 1");
    assert_eq!(report.findings.len(), 1);
    recoverable(&home, 1, &pictures[0], "behind 1");
    recoverable(&home, 2, &pictures[1], "behind 1");
    assert_refused(Code::Rollback, home.restore("3", "gone"));
}

#[test]
fn the_program_says_no_to_a_deleted_newest_snapshot_with_exit_13() {
    let (home, _) = three();
    remove(&home, 3);
    unchanged(&home.vault(), || {
        let (exit, verified) = home.json(&["verify"]);
        assert_eq!(exit, 13);
        assert_eq!(verified["schema"], "devvault.verify/1");
        assert_eq!(verified["verdict"], "invalid");
        assert_eq!(verified["freshness"], "behind 1");
        assert_eq!(verified["findings"][0]["code"], "DV313");
        let source = home.source();
        let destination = home.path("restored");
        for arguments in [
            ["backup", source.to_str().unwrap()].as_slice(),
            &["index", "rebuild"],
            &["restore", "latest", destination.to_str().unwrap()],
            &["ls", "latest"],
        ] {
            let (exit, refused) = home.json(arguments);
            assert_eq!(exit, 13, "{arguments:?}");
            assert_eq!(refused["schema"], "devvault.refusal/1");
            assert_eq!(refused["code"], "DV313");
            assert_eq!(refused["family"], "crypto boundary");
            assert_eq!(refused["severity"], "SEV-1");
            assert_eq!((&refused["ok"], &refused["changed"]), (&false.into(), &false.into()));
        }
        assert!(!destination.exists());
        let (exit, verified) = home.json(&["verify", "1"]);
        assert_eq!((exit, &verified["verdict"]), (0, &"valid".into()));
        assert_eq!(verified["freshness"], "behind 1");
        let (exit, restored) = home.json(&["restore", "1", destination.to_str().unwrap()]);
        assert_eq!((exit, &restored["verified"]), (0, &true.into()));
        assert_eq!(restored["freshness"], "behind 1");
        // A list that may lack the newest must not look like a list that does not.
        let (_, listed) = home.json(&["snapshots"]);
        assert_eq!(listed["freshness"], "behind 1");
    });
}

#[test]
fn a_deleted_middle_snapshot_is_a_missing_link() {
    let (home, pictures) = three();
    remove(&home, 2);
    let report = blocked(&home, Code::RecordMissing);
    assert_eq!(report.findings[0].snapshots, [2]);
    recoverable(&home, 1, &pictures[0], "proven");
    recoverable(&home, 3, &pictures[2], "proven");
    let refused = assert_refused(Code::RecordMissing, home.restore("2", "gone"));
    assert!(!refused.next.is_empty());
    let listed = snapshots::run(&home.access()).unwrap();
    assert_eq!(listed.findings[0].code, Code::RecordMissing);
}

#[test]
fn a_deleted_first_snapshot_is_a_missing_link() {
    let (home, pictures) = three();
    remove(&home, 1);
    blocked(&home, Code::RecordMissing);
    recoverable(&home, 2, &pictures[1], "proven");
}

#[test]
fn a_vault_whose_snapshots_are_all_deleted_is_a_rollback_and_not_a_new_vault() {
    let (home, _) = three();
    for number in 1..=3 {
        remove(&home, number);
    }
    unchanged(&home.vault(), || {
        assert_refused(Code::Rollback, home.try_backup(&backup::Options::default()));
        assert_refused(Code::Rollback, home.restore("latest", "refused"));
        let report = home.verify(&[]).unwrap();
        assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Invalid, "behind 3"));
        assert_eq!(report.findings[0].code, Code::Rollback);
    });
}

#[test]
fn a_vault_without_its_directory_of_snapshots_is_never_valid() {
    let (home, _) = three();
    fs::remove_dir_all(home.vault().join("snapshots")).unwrap();
    assert!(home.verify(&[]).is_err());
    assert!(home.try_backup(&backup::Options::default()).is_err());
    assert!(!home.vault().join("snapshots").exists());
}

#[test]
fn an_empty_directory_in_place_of_a_snapshot_is_incomplete() {
    let (home, pictures) = three();
    remove(&home, 2);
    fs::create_dir(record(&home, 2)).unwrap();
    blocked(&home, Code::RecordIncomplete);
    recoverable(&home, 3, &pictures[2], "proven");
    assert_refused(Code::RecordIncomplete, home.restore("2", "gone"));
}

#[test]
fn a_file_in_place_of_a_snapshot_is_incomplete() {
    let (home, pictures) = three();
    fs::write(record(&home, 4), "").unwrap();
    blocked(&home, Code::RecordIncomplete);
    recoverable(&home, 3, &pictures[2], "proven");
}

// What lies elsewhere

#[test]
fn a_snapshot_under_another_number_is_misplaced() {
    let (home, pictures) = three();
    fs::rename(record(&home, 2), record(&home, 4)).unwrap();
    let report = blocked(&home, Code::RecordMisplaced);
    assert!(report.findings.iter().any(|finding| finding.code == Code::RecordMissing && finding.snapshots == [2]));
    recoverable(&home, 1, &pictures[0], "proven");
    recoverable(&home, 3, &pictures[2], "proven");
    assert_refused(Code::RecordMisplaced, home.restore("4", "moved"));
}

#[test]
fn a_snapshot_copied_under_a_second_number_is_misplaced() {
    let (home, pictures) = three();
    copy_tree(&record(&home, 3), &record(&home, 4));
    blocked(&home, Code::RecordMisplaced);
    recoverable(&home, 3, &pictures[2], "proven");
    assert_refused(Code::RecordMisplaced, home.restore("4", "moved"));
}

#[test]
fn the_newest_snapshot_moved_over_a_deleted_one_is_misplaced() {
    let (home, pictures) = three();
    remove(&home, 2);
    fs::rename(record(&home, 3), record(&home, 2)).unwrap();
    blocked(&home, Code::RecordMisplaced);
    recoverable(&home, 1, &pictures[0], "behind 2");
    assert_refused(Code::RecordMisplaced, home.restore("2", "moved"));
}

#[test]
fn two_snapshots_that_changed_places_are_misplaced() {
    let (home, pictures) = three();
    let aside = home.path("aside");
    fs::rename(record(&home, 1), &aside).unwrap();
    fs::rename(record(&home, 2), record(&home, 1)).unwrap();
    fs::rename(aside, record(&home, 2)).unwrap();
    let report = blocked(&home, Code::RecordMisplaced);
    assert_eq!(report.findings.len(), 2);
    recoverable(&home, 3, &pictures[2], "proven");
}

#[test]
fn a_snapshot_of_another_vault_is_foreign() {
    let (home, pictures) = three();
    // The other vault's key lies on the same host: having it must not make the snapshot at home here.
    let other = Access { vault: home.path("other"), ..home.access() };
    devvault::ops::init::run(&other, crate::support::small()).unwrap();
    for _ in 0..4 {
        backup_from(&home, &other).unwrap();
    }
    copy_tree(&home.path("other/snapshots/00000004"), &record(&home, 4));
    blocked(&home, Code::RecordForeign);
    recoverable(&home, 3, &pictures[2], "proven");
    assert_refused(Code::RecordForeign, home.restore("4", "foreign"));
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
    assert_eq!(home.verify_from(&fresh, &[]).unwrap().freshness.to_string(), "proven");
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

// What a record is

#[test]
fn a_record_with_one_changed_bit_is_forged() {
    let (home, pictures) = three();
    for (file, bytes) in [("manifest.json", 0), ("manifest.hmac", 0)] {
        let path = record(&home, 2).join(file);
        let intact = fs::read(&path).unwrap();
        for at in [bytes, 1, intact.len() / 3, intact.len() / 2, intact.len() - 40] {
            flip(&path, at);
            let report = home.verify(&[]).unwrap();
            assert!(report.findings.iter().any(|finding| finding.code == Code::RecordForged), "{file} {at}");
            fs::write(&path, &intact).unwrap();
        }
        flip(&path, 20);
        blocked(&home, Code::RecordForged);
        recoverable(&home, 1, &pictures[0], "proven");
        recoverable(&home, 3, &pictures[2], "proven");
        assert_refused(Code::RecordForged, home.restore("2", "forged"));
        let named = home.verify(&["2"]).unwrap();
        assert_eq!((named.verdict, named.findings[0].code), (Verdict::Invalid, Code::RecordForged));
        fs::write(&path, &intact).unwrap();
    }
    home.backup();
}

#[test]
fn a_damaged_newest_record_has_its_own_code_and_not_that_of_a_rollback() {
    let (home, pictures) = three();
    flip(&record(&home, 3).join("manifest.json"), 20);
    blocked(&home, Code::RecordForged);
    recoverable(&home, 2, &pictures[1], "behind 1");
}

#[test]
fn a_cut_manifest_is_forged() {
    let (home, pictures) = three();
    let path = record(&home, 2).join("manifest.json");
    let intact = fs::read(&path).unwrap();
    for length in [0, 1, intact.len() / 2, intact.len() - 1] {
        fs::write(&path, &intact[..length]).unwrap();
        let report = home.verify(&[]).unwrap();
        assert_eq!((report.verdict, report.findings[0].code), (Verdict::Invalid, Code::RecordForged));
    }
    blocked(&home, Code::RecordForged);
    recoverable(&home, 3, &pictures[2], "proven");
}

#[test]
fn a_tag_has_exactly_one_form() {
    let (home, _) = three();
    let path = record(&home, 3).join("manifest.hmac");
    let intact = fs::read_to_string(&path).unwrap();
    for other in [
        intact.to_uppercase(),
        intact.trim_end().to_owned(),
        format!("{intact}\n"),
        format!(" {intact}"),
        String::new(),
    ] {
        fs::write(&path, &other).unwrap();
        let report = home.verify(&[]).unwrap();
        assert_eq!(report.verdict, Verdict::Invalid, "{other:?}");
        assert!(home.try_backup(&backup::Options::default()).is_err());
    }
}

#[test]
fn an_authentic_record_that_is_malformed_is_damaged() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    let text = String::from_utf8(forger.bytes(2).1).unwrap();
    for bad in [
        text.replacen('{', "{ ", 1),
        text.replace("\"tags\":[]", "\"tags\":[],\"unknown\":1"),
        text.replace("\"number\":2", "\"number\":2,\"number\":2"),
        format!("{text}\n"),
        text.replace("\"kind\":\"snapshot\"", "\"kind\":\"branch\""),
        "{\"format\":1}".into(),
        "null".into(),
        String::new(),
    ] {
        assert_ne!(bad, text);
        forger.put_bytes(2, RecordKind::Snapshot, bad.as_bytes());
        let report = home.verify(&[]).unwrap();
        assert_eq!((report.verdict, report.findings[0].code), (Verdict::Invalid, Code::RecordDamaged), "{bad}");
        assert_refused(Code::RecordDamaged, home.restore("2", "malformed"));
    }
    let report = blocked(&home, Code::RecordDamaged);
    assert_eq!(report.exit(), 11);
    recoverable(&home, 3, &pictures[2], "proven");
}

#[test]
fn a_record_of_another_format_version_is_unknown() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    let text = String::from_utf8(forger.bytes(2).1).unwrap();
    forger.put_bytes(2, RecordKind::Snapshot, text.replace("\"format\":1", "\"format\":2").as_bytes());
    blocked(&home, Code::FormatUnknown);
    recoverable(&home, 1, &pictures[0], "proven");
    assert_refused(Code::FormatUnknown, home.restore("2", "unknown"));
}

#[test]
fn a_record_that_does_not_continue_its_predecessor_breaks_the_chain() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    let mut record = forger.record(3);
    record.number = 4;
    for predecessor in [forger.head(2).digest, forger.head(1).digest, Digest([0; 32]), record.config] {
        record.predecessor = predecessor;
        forger.put_bytes(4, RecordKind::Snapshot, &record.encode());
        blocked(&home, Code::ChainBroken);
    }
    recoverable(&home, 3, &pictures[2], "proven");
    assert_eq!(home.verify(&["4"]).unwrap().verdict, Verdict::Invalid);
}

#[test]
fn a_first_record_that_does_not_continue_vault_json_breaks_the_chain() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let mut record = forger.record(1);
    record.predecessor = Digest([1; 32]);
    forger.put_bytes(1, RecordKind::Snapshot, &record.encode());
    blocked(&home, Code::ChainBroken);
}

#[test]
fn an_authentic_record_that_names_another_number_is_misplaced() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let mut record = forger.record(3);
    record.number = 5;
    record.predecessor = forger.head(3).digest;
    forger.put_bytes(4, RecordKind::Snapshot, &record.encode());
    blocked(&home, Code::RecordMisplaced);
}

#[test]
fn an_authentic_record_that_names_another_vault_is_foreign() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let mut record = forger.record(3);
    (record.number, record.predecessor, record.vault) = (4, forger.head(3).digest, Id([1; 16]));
    forger.put_bytes(4, RecordKind::Snapshot, &record.encode());
    blocked(&home, Code::RecordForeign);
}

#[test]
fn a_record_made_under_another_vault_json_is_refused() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let mut record = forger.record(3);
    (record.number, record.predecessor, record.config) = (4, forger.head(3).digest, Digest([1; 32]));
    forger.put_bytes(4, RecordKind::Snapshot, &record.encode());
    blocked(&home, Code::ConfigForged);
}

#[test]
fn a_snapshot_directory_holds_its_record_and_nothing_else() {
    let (home, pictures) = three();
    for extra in ["notes.txt", "tombstone.hmac", ".hidden", "manifest.json~"] {
        fs::write(record(&home, 2).join(extra), "x").unwrap();
        blocked(&home, Code::RecordIncomplete);
        assert_eq!(home.verify(&["2"]).unwrap().verdict, Verdict::Invalid);
        recoverable(&home, 3, &pictures[2], "proven");
        fs::remove_file(record(&home, 2).join(extra)).unwrap();
    }
    copy_tree(&record(&home, 1), &record(&home, 2).join("nested"));
    blocked(&home, Code::RecordIncomplete);
}

#[test]
fn a_snapshot_directory_with_two_records_is_neither() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let digest = Some(forger.head(1).digest);
    let predecessor = forger.head(2).digest;
    let before = forger.record(3);
    let body = tombstone(&[(1, digest, Fate::Removed)]);
    let record = Record { body, config: before.config, number: 3, predecessor, vault: before.vault };
    forger.put_bytes(3, RecordKind::Tombstone, &record.encode());
    blocked(&home, Code::RecordIncomplete);
    assert_refused(Code::RecordIncomplete, home.restore("3", "both"));
    // What does not count cannot remove anything.
    home.restore("1", "first").unwrap();
}

#[test]
fn a_missing_tag_or_manifest_is_incomplete() {
    let (home, pictures) = three();
    for file in ["manifest.hmac", "manifest.json"] {
        let path = record(&home, 2).join(file);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        blocked(&home, Code::RecordIncomplete);
        recoverable(&home, 3, &pictures[2], "proven");
        assert_refused(Code::RecordIncomplete, home.restore("2", "refused"));
        fs::write(path, bytes).unwrap();
    }
    home.backup();
}

// Unix alone: links that any account may make.
#[cfg(unix)]
#[test]
fn a_link_in_place_of_a_manifest_is_never_followed() {
    let (home, pictures) = three();
    let path = record(&home, 2).join("manifest.json");
    fs::rename(&path, home.path("elsewhere.json")).unwrap();
    std::os::unix::fs::symlink(home.path("elsewhere.json"), &path).unwrap();
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Invalid);
    assert!(home.restore("2", "followed").is_err());
    fs::remove_file(&path).unwrap();
    fs::rename(home.path("elsewhere.json"), &path).unwrap();
    fs::rename(record(&home, 2), home.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.path("elsewhere"), record(&home, 2)).unwrap();
    blocked(&home, Code::RecordIncomplete);
    recoverable(&home, 3, &pictures[2], "proven");
}

#[test]
fn an_incomplete_snapshot_is_information_and_never_a_verdict() {
    let (home, pictures) = three();
    copy_tree(&record(&home, 3), &home.vault().join("snapshots/.incomplete-0011"));
    let report = unchanged(&home.vault(), || home.verify(&[]).unwrap());
    assert_eq!(report.verdict, Verdict::Valid);
    assert!(report.notes.iter().any(|note| note.contains(".incomplete-0011")), "{:?}", report.notes);
    assert_eq!(home.backup().snapshot, 4);
    assert!(home.vault().join("snapshots/.incomplete-0011/manifest.json").exists());
    recoverable(&home, 3, &pictures[2], "proven");
}

#[test]
fn a_name_that_is_no_number_is_noted_and_ignored() {
    let (home, _) = three();
    for name in ["4", "000000004", "0000000x", "lost+found"] {
        copy_tree(&record(&home, 3), &home.vault().join("snapshots").join(name));
    }
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, report.snapshots.len()), (Verdict::Valid, 3));
    assert_eq!(report.notes.iter().filter(|note| note.contains("does not belong")).count(), 4, "{:?}", report.notes);
    assert_eq!(home.backup().snapshot, 4);
}

// vault.json

#[test]
fn a_vault_json_that_is_missing_or_changed_is_refused() {
    type Damage = fn(&Home);
    let damages: [(&str, Damage); 6] = [
        ("missing", |home| fs::remove_file(home.vault().join("vault.json")).unwrap()),
        ("without tag", |home| fs::remove_file(home.vault().join("vault.hmac")).unwrap()),
        ("tag flipped", |home| flip(&home.vault().join("vault.hmac"), 3)),
        ("empty", |home| fs::write(home.vault().join("vault.json"), "").unwrap()),
        ("flipped", |home| flip(&home.vault().join("vault.json"), 12)),
        ("parameters changed", |home| {
            let path = home.vault().join("vault.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replace("\"pack_bytes\":16384", "\"pack_bytes\":32768")).unwrap();
        }),
    ];
    let (home, _) = three();
    copy_tree(&home.vault(), &home.path("intact"));
    for (name, damage) in damages {
        damage(&home);
        println!("{name}");
        for named in [None, Some(home.key())] {
            let access = Access { key_file: named.clone(), ..home.access() };
            unchanged(&home.vault(), || {
                assert_refused(Code::ConfigForged, backup_from(&home, &access));
                assert_refused(Code::ConfigForged, index::run(&access));
                assert_refused(Code::ConfigForged, restore_from(&home, &access, "latest", "refused"));
                let verified = home.verify_from(&access, &[]);
                if named.is_some() {
                    // With the key at hand verify goes on and tells what else is intact.
                    let report = verified.unwrap();
                    assert_eq!((report.verdict, report.exit()), (Verdict::Invalid, 13));
                    assert_eq!(report.findings[0].code, Code::ConfigForged);
                    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
                    assert_eq!(report.snapshots.len(), 3);
                } else if let Ok(report) = verified {
                    assert_eq!((report.verdict, report.findings[0].code), (Verdict::Invalid, Code::ConfigForged));
                } else {
                    assert_refused(Code::ConfigForged, verified);
                }
            });
        }
        fs::remove_dir_all(home.vault()).unwrap();
        copy_tree(&home.path("intact"), &home.vault());
    }
    home.backup();
}

#[test]
fn a_key_that_is_named_and_not_there_is_told_before_a_vault_json_that_names_none() {
    let home = Home::with_snapshot();
    fs::write(home.vault().join("vault.json"), "").unwrap();
    let access = Access { key_file: Some(home.path("no.key")), ..home.access() };
    assert_refused(Code::KeyMissing, restore_from(&home, &access, "latest", "refused"));
    assert_refused(Code::ConfigForged, restore_from(&home, &home.access(), "latest", "refused"));
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
fn no_byte_of_vault_json_can_change_unnoticed() {
    let (home, _) = three();
    let path = home.vault().join("vault.json");
    let intact = fs::read(&path).unwrap();
    for at in 0..intact.len() {
        flip(&path, at);
        let refusal = crate::support::refused(home.try_backup(&backup::Options::default()));
        assert!([301, 302, 307].contains(&(refusal.code as u16)), "byte {at}: {refusal}");
        fs::write(&path, &intact).unwrap();
    }
    home.backup();
}

#[test]
fn the_vault_json_of_another_vault_is_refused() {
    let (home, _) = three();
    let other = Access { vault: home.path("other"), ..home.access() };
    devvault::ops::init::run(&other, crate::support::small()).unwrap();
    backup_from(&home, &other).unwrap();
    fs::copy(home.path("other/vault.json"), home.vault().join("vault.json")).unwrap();
    unchanged(&home.vault(), || assert_refused(Code::ConfigForged, home.try_backup(&backup::Options::default())));
    // With its tag the vault claims to be the other one, whose key is here: now every record is foreign.
    fs::copy(home.path("other/vault.hmac"), home.vault().join("vault.hmac")).unwrap();
    blocked(&home, Code::RecordForeign);
    assert_refused(Code::RecordForeign, home.restore("1", "refused"));
}

// Tombstones and branches

#[test]
fn a_tombstone_accounts_for_a_removed_snapshot() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    // While the directory is still there the tombstone counts already.
    for _ in 0..2 {
        let report = home.verify(&[]).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "proven"));
        assert_eq!(report.snapshots, [(1, Verdict::Valid), (3, Verdict::Valid)]);
        assert_refused(Code::SnapshotRemoved, home.restore("2", "removed"));
        assert_refused(Code::SnapshotRemoved, home.verify(&["2"]));
        if record(&home, 2).exists() {
            remove(&home, 2);
        }
    }
    recoverable(&home, 1, &pictures[0], "proven");
    recoverable(&home, 3, &pictures[2], "proven");
    home.write_source(&[("new", "x")]);
    assert_eq!(home.backup().snapshot, 5);
    home.restore("latest", "latest").unwrap();
    assert_eq!(picture(&home.path("latest")), picture(&home.source()));
}

#[test]
fn a_removed_newest_snapshot_is_no_rollback() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(3, Some(forger.head(3).digest), Fate::Removed)]));
    remove(&home, 3);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    home.restore("latest", "latest").unwrap();
    assert_eq!(home.backup().snapshot, 5);
}

#[test]
fn a_tombstone_that_was_taken_away_leaves_a_gap() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    remove(&home, 2);
    home.backup();
    remove(&home, 4);
    let report = blocked(&home, Code::RecordMissing);
    assert!(report.findings.iter().any(|finding| finding.snapshots == [2]));
    assert!(report.findings.iter().any(|finding| finding.snapshots == [4]));
}

#[test]
fn a_tombstone_with_another_digest_than_the_record_had_breaks_the_chain() {
    for (number, gone) in [(2, true), (2, false), (3, true), (3, false)] {
        let (home, _) = three();
        let forger = Forger::new(&home);
        forger.put(4, tombstone(&[(number, Some(Digest([5; 32])), Fate::Removed)]));
        if gone {
            remove(&home, number);
        }
        blocked(&home, Code::ChainBroken);
    }
}

#[test]
fn a_digest_that_only_an_older_tombstone_names_counts_all_the_same() {
    for (named, code) in [(true, None), (false, Some(Code::ChainBroken))] {
        let (home, _) = three();
        let forger = Forger::new(&home);
        let digest = if named { forger.head(2).digest } else { Digest([5; 32]) };
        forger.put(4, tombstone(&[(2, Some(digest), Fate::Removed)]));
        forger.put(5, tombstone(&[(2, None, Fate::Lost)]));
        match code {
            Some(code) => drop(blocked(&home, code)),
            None => assert_eq!(home.verify(&[]).unwrap().findings, []),
        }
    }
}

#[test]
fn a_gap_is_named_with_both_its_ends() {
    let (home, _) = three();
    home.backup();
    let missing = |home: &Home| {
        let report = home.verify(&[]).unwrap();
        let found = report.findings.into_iter().find(|finding| finding.code == Code::RecordMissing);
        found.map(|finding| finding.detail).unwrap_or_default()
    };
    remove(&home, 2);
    let rest = "the directory is not there, and no tombstone accounts for it";
    assert_eq!(missing(&home), format!("00000002: {rest}"));
    remove(&home, 3);
    assert_eq!(missing(&home), format!("00000002 to 00000003: {rest}"));
}

#[test]
fn a_lost_snapshot_needs_no_digest() {
    for number in 1..=3 {
        let (home, pictures) = three();
        let forger = Forger::new(&home);
        forger.put(4, tombstone(&[(number, None, Fate::Lost)]));
        remove(&home, number);
        let report = home.verify(&[]).unwrap();
        assert_eq!((report.verdict, report.snapshots.len()), (Verdict::Valid, 2), "{:?}", report.findings);
        assert_refused(Code::SnapshotRemoved, home.restore(&number.to_string(), "lost"));
        let kept = if number == 1 { 2 } else { 1 };
        recoverable(&home, kept, &pictures[kept as usize - 1], "proven");
        assert_eq!(home.backup().snapshot, 5);
    }
}

#[test]
fn a_tombstone_that_covers_itself_or_what_comes_later_is_refused() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    let digest = Some(forger.head(3).digest);
    for gone in [
        vec![(4, digest, Fate::Removed)],
        vec![(5, digest, Fate::Removed)],
        vec![(2, digest, Fate::Removed), (99_999_999, digest, Fate::Lost)],
        vec![(2, None, Fate::Removed)],
        vec![(0, digest, Fate::Lost)],
        vec![(3, digest, Fate::Removed), (2, digest, Fate::Removed)],
        vec![],
    ] {
        forger.put(4, tombstone(&gone));
        blocked(&home, Code::RecordDamaged);
        // It does not count: what it names is still there.
        recoverable(&home, 2, &pictures[1], "proven");
        assert_eq!(home.verify(&[]).unwrap().snapshots.iter().filter(|(number, _)| *number < 4).count(), 3);
    }
}

#[test]
fn a_tombstone_without_a_matching_tag_removes_nothing() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    flip(&record(&home, 4).join("tombstone.hmac"), 0);
    blocked(&home, Code::RecordForged);
    recoverable(&home, 2, &pictures[1], "proven");
}

#[test]
fn a_tombstone_does_not_authenticate_under_the_name_of_another_record() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    for (from, to) in [("tombstone.json", "branch.json"), ("tombstone.hmac", "branch.hmac")] {
        fs::rename(record(&home, 4).join(from), record(&home, 4).join(to)).unwrap();
    }
    blocked(&home, Code::RecordForged);
    recoverable(&home, 2, &pictures[1], "proven");
}

#[test]
fn a_branch_makes_the_head_that_it_abandons_acceptable() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    let (seen, to) = (forger.head(3), forger.head(1));
    copy_tree(&home.vault(), &home.path("newest"));
    remove(&home, 3);
    remove(&home, 2);
    blocked(&home, Code::Rollback);
    forger.put(2, branch(seen, to));
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "proven"));
    assert_eq!(home.backup().snapshot, 3);
    recoverable(&home, 1, &pictures[0], "proven");
    assert_refused(Code::NoSuchSnapshot, home.restore("2", "a-branch-is-no-snapshot"));
    // From now on the abandoned copy is the wrong one.
    let newest = Access { vault: home.path("newest"), ..home.access() };
    blocked_from(&home, &newest, Code::Fork);
    recoverable_from(&home, &newest, 3, &pictures[2], "behind 2");
}

#[test]
fn a_branch_that_abandons_another_head_excuses_nothing() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let (other, to) = (forger.head(2), forger.head(1));
    remove(&home, 3);
    remove(&home, 2);
    forger.put(2, branch(other, to));
    blocked(&home, Code::Fork);
}

#[test]
fn a_branch_that_contradicts_itself_is_refused() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let (seen, before) = (forger.head(3), forger.head(2));
    for (from, to) in [(seen, before), (seen, seen), (before, Head { number: 2, ..seen })] {
        forger.put(4, branch(from, to));
        blocked(&home, Code::RecordDamaged);
    }
}

// Hostile numbers

#[test]
fn a_huge_number_neither_hangs_nor_breaks() {
    let (home, pictures) = three();
    fs::create_dir(record(&home, 99_999_999)).unwrap();
    blocked(&home, Code::RecordIncomplete);
    recoverable(&home, 3, &pictures[2], "proven");
    remove(&home, 99_999_999);
    copy_tree(&record(&home, 2), &record(&home, 99_999_999));
    let report = blocked(&home, Code::RecordMisplaced);
    assert!(report.findings.len() < 10);
    recoverable(&home, 3, &pictures[2], "proven");
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
