//! The chain: what is missing, moved, foreign or forged is refused, each with its own code.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use devvault::clock::Time;
use devvault::crypto::{Digest, Id};
use devvault::format::record::{Body, Fate, Gone, Host, Record, RecordKind, Tombstone};
use devvault::ops::verify::Verdict;
use devvault::ops::{backup, index, restore, snapshots, verify};
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{Forger, Home, SMALL_TREE, assert_refused, copy_tree, flip, picture, unchanged};

pub type Picture = BTreeMap<PathBuf, String>;

/// A vault with three snapshots of a source that changed between them, and what the source was each time.
pub fn three() -> (Home, Vec<Picture>) {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let pictures = ["first", "second", "third"].map(|content| {
        home.write_source(&[("changing", content)]);
        home.backup();
        picture(&home.source())
    });
    (home, pictures.into())
}

pub fn record(home: &Home, number: u64) -> PathBuf {
    home.vault().join(format!("snapshots/{number:08}"))
}

pub fn remove(home: &Home, number: u64) {
    fs::remove_dir_all(record(home, number)).unwrap();
}

pub fn backup_from(home: &Home, access: &Access) -> devvault::error::Result<backup::Report> {
    backup::run(access, &home.source(), &backup::Options::default(), &Silent)
}

pub fn restore_from(home: &Home, access: &Access, place: &str, name: &str) -> devvault::error::Result<restore::Report> {
    restore::run(access, &place.parse().unwrap(), &home.path(name), &crate::support::restore_options(), &Silent)
}

/// Fails unless every write and the word `latest` refuse with this code, and plain `verify` finds it.
#[track_caller]
pub fn blocked_from(home: &Home, access: &Access, code: Code) -> verify::Report {
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
pub fn blocked(home: &Home, code: Code) -> verify::Report {
    blocked_from(home, &home.access(), code)
}

/// Fails unless a snapshot named by its number verifies and restores exactly, with this freshness.
#[track_caller]
pub fn recoverable_from(home: &Home, access: &Access, number: u64, expected: &Picture, freshness: &str) {
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
pub fn recoverable(home: &Home, number: u64, expected: &Picture, freshness: &str) {
    recoverable_from(home, &home.access(), number, expected, freshness);
}

pub fn recorded_host() -> Host {
    Host { id: Id([7; 16]), name: "crafted".into() }
}

pub fn tombstone(gone: &[(u64, Option<Digest>, Fate)]) -> Body {
    let gone = gone.iter().map(|&(number, digest, fate)| Gone { digest, fate, number }).collect();
    Body::Tombstone(Tombstone {
        gone,
        host: recorded_host(),
        reason: "a test".into(),
        rule: String::new(),
        time: Time { seconds: 1_700_000_000, nanos: 0 },
    })
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
