//! Damage: whatever happens to a vault's bytes, `valid` means recoverable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use devvault::crypto::Digest;
use devvault::format::record::{Body, Packs};
use devvault::ops::verify::{self, Level, Report, Verdict};
use devvault::ops::{backup, incomplete};
use devvault::path::EntryPath;
use devvault::progress::Silent;
use devvault::refusal::Code;

use devvault::vault::layout;

use crate::support::{
    Forger, Home, SMALL_TREE, assert_refused, copy_tree, fingerprint, flip, noise, packs, picture, refused,
};

/// A vault with two snapshots, the second of which shares most with the first.
fn two_snapshots() -> Home {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("noise"), noise(9_000, 1)).unwrap();
    home.backup();
    fs::write(home.source().join("second"), noise(3_000, 2)).unwrap();
    home.backup();
    home
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

fn verdict_of(report: &Report, number: u64) -> Option<Verdict> {
    report.snapshots.iter().find(|(other, _)| *other == number).map(|(_, verdict)| *verdict)
}

/// Every file of the vault, without locks and index.
fn vault_files(vault: &Path) -> Vec<PathBuf> {
    let skipped = |path: &Path| {
        let name = path.strip_prefix(vault).unwrap().to_string_lossy().replace('\\', "/");
        name.contains("lock") || name.starts_with("index")
    };
    let files = walkdir::WalkDir::new(vault).sort_by_file_name().into_iter().map(|entry| entry.unwrap());
    files.filter(|entry| entry.file_type().is_file() && !skipped(entry.path())).map(|entry| entry.into_path()).collect()
}

#[test]
fn no_flipped_bit_makes_a_valid_verdict_untrue() {
    let home = Home::with_snapshot();
    let truth = picture(&home.source());
    let mut flipped = 0;
    for file in vault_files(&home.vault()) {
        let original = fs::read(&file).unwrap();
        for at in 0..original.len() {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&file, &bytes).unwrap();
            flipped += 1;
            if flipped % 64 == 0 {
                home.forget_audit();
            }
            let before = (at % 97 == 0).then(|| fingerprint(&home.vault()));
            match home.verify(&[]) {
                // Every byte of these files is vouched for: a flipped one is always noticed.
                Ok(report) => assert_ne!(report.verdict, Verdict::Valid, "{} byte {at}", file.display()),
                Err(error) => assert!(error.code().is_some(), "{} byte {at}: {error}", file.display()),
            }
            if let Some(before) = before {
                assert_eq!(fingerprint(&home.vault()), before, "verify changed the vault");
                // A restore that goes through all the same is exact: the flip hit what it does not need.
                if home.restore("1", "restored").is_ok() {
                    assert_eq!(picture(&home.path("restored")), truth, "{} byte {at}", file.display());
                    fs::remove_dir_all(home.path("restored")).unwrap();
                }
            }
        }
        fs::write(&file, &original).unwrap();
    }
    assert!(flipped > 2_000, "{flipped} bits");
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
}

#[test]
fn a_valid_snapshot_beside_a_damaged_one_restores_exactly() {
    let home = two_snapshots();
    let truth = picture(&home.source());
    let mut told_apart = 0;
    for pack in packs(&home.vault()) {
        let original = fs::read(&pack).unwrap();
        for at in (50..original.len()).step_by(701) {
            flip(&pack, at);
            let report = home.verify(&[]).unwrap();
            for number in [1, 2] {
                let restored = home.restore(&number.to_string(), "restored");
                match verdict_of(&report, number) {
                    Some(Verdict::Valid) => {
                        restored.unwrap();
                        if number == 2 {
                            assert_eq!(picture(&home.path("restored")), truth);
                        }
                        told_apart += usize::from(report.verdict == Verdict::Invalid);
                    }
                    verdict => assert_eq!(verdict, Some(Verdict::Invalid)),
                }
                for left in fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap()) {
                    let name = left.file_name().to_string_lossy().into_owned();
                    if name == "restored" || name.contains("restoring") {
                        fs::remove_dir_all(left.path()).unwrap();
                    }
                }
            }
            fs::write(&pack, &original).unwrap();
        }
    }
    assert!(told_apart > 0, "no damage left one of the two valid");
}

#[test]
fn a_missing_pack_is_named_with_what_it_affects_and_what_it_does_not() {
    let home = two_snapshots();
    let first: Vec<PathBuf> = packs(&home.vault());
    // The pack that only the second snapshot needs holds its new file.
    let newest = first.iter().max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap();
    let name = newest.file_name().unwrap().to_string_lossy().into_owned();
    fs::remove_file(newest).unwrap();
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, report.exit()), (Verdict::Invalid, 11));
    assert_eq!(verdict_of(&report, 1), Some(Verdict::Valid));
    assert_eq!(verdict_of(&report, 2), Some(Verdict::Invalid));
    assert!(report.findings.iter().any(|finding| finding.subject.contains(&name)), "{:?}", report.findings);
    let missing = [Code::ChunkMissing, Code::ListingMissing];
    assert!(codes(&report).iter().all(|code| missing.contains(code)), "{:?}", report.findings);
    let code = refused(home.restore("2", "restored")).code;
    assert!(missing.contains(&code), "{code}");
    assert!(!home.path("restored").exists());
    home.restore("1", "restored").unwrap();
}

#[test]
fn content_that_is_missing_names_its_files() {
    let home = two_snapshots();
    let mut named = false;
    for pack in packs(&home.vault()) {
        let bytes = fs::read(&pack).unwrap();
        fs::remove_file(&pack).unwrap();
        let report = home.verify(&[]).unwrap();
        assert_eq!(report.verdict, Verdict::Invalid);
        let finding = report.findings.iter().find(|finding| finding.code == Code::ChunkMissing);
        if let Some(finding) = finding {
            named |= finding.paths.iter().any(|path| path.as_bytes() == b"noise");
            if let Err(error) = home.restore("1", "restored") {
                assert!(matches!(error.code(), Some(Code::ChunkMissing | Code::ListingMissing)), "{error}");
            }
        }
        let _ = fs::remove_dir_all(home.path("restored"));
        fs::write(&pack, bytes).unwrap();
    }
    assert!(named);
}

/// Something done to a pack.
type Act = fn(&Path);

#[test]
fn every_way_to_spoil_a_pack_is_a_finding_and_never_hangs() {
    let acts: [(&str, Act); 7] = [
        ("cut", |pack| {
            let bytes = fs::read(pack).unwrap();
            fs::write(pack, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("one byte more", |pack| {
            let mut bytes = fs::read(pack).unwrap();
            bytes.push(0);
            fs::write(pack, bytes).unwrap();
        }),
        ("empty", |pack| fs::write(pack, "").unwrap()),
        ("zeroed", |pack| {
            let mut bytes = fs::read(pack).unwrap();
            bytes[48..100].fill(0);
            fs::write(pack, bytes).unwrap();
        }),
        ("a directory", |pack| {
            fs::remove_file(pack).unwrap();
            fs::create_dir(pack).unwrap();
        }),
        ("only its footer", |pack| {
            let bytes = fs::read(pack).unwrap();
            fs::write(pack, &bytes[bytes.len() - 60..]).unwrap();
        }),
        ("another's content", |pack| {
            let mut bytes = fs::read(pack).unwrap();
            bytes.rotate_left(7);
            fs::write(pack, bytes).unwrap();
        }),
    ];
    for (what, act) in acts {
        let home = Home::with_snapshot();
        act(&packs(&home.vault())[0]);
        let report = home.verify(&[]).unwrap();
        assert_eq!((report.verdict, report.exit()), (Verdict::Invalid, 11), "{what}: {:?}", report.findings);
        let known = [
            Code::PackDamaged,
            Code::ChunkDamaged,
            Code::ListingDamaged,
            Code::ListingMissing,
            Code::ChunkMissing,
            Code::VaultUnreadable,
        ];
        assert!(codes(&report).iter().all(|code| known.contains(code)), "{what}: {:?}", report.findings);
        assert!(home.restore("1", "restored").is_err(), "{what}");
        assert!(!home.path("restored").exists(), "{what}");
    }
}

// Linux alone: named pipes, and links that any account may make.
#[cfg(target_os = "linux")]
#[test]
fn a_pack_that_became_a_link_or_a_pipe_is_a_finding_and_never_hangs() {
    for pipe in [false, true] {
        let home = Home::with_snapshot();
        let pack = packs(&home.vault())[0].clone();
        let aside = home.path("aside");
        fs::rename(&pack, &aside).unwrap();
        if pipe {
            let made = std::process::Command::new("mkfifo").arg(&pack).status().unwrap();
            assert!(made.success());
        } else {
            std::os::unix::fs::symlink(&aside, &pack).unwrap();
        }
        let report = home.verify(&[]).unwrap();
        assert_eq!(report.verdict, Verdict::Invalid);
        assert!(codes(&report).contains(&Code::VaultUnreadable), "{:?}", report.findings);
        assert!(home.restore("1", "restored").is_err());
    }
}

#[test]
fn packs_under_each_others_names_are_findings_and_lose_nothing() {
    let home = two_snapshots();
    let all = packs(&home.vault());
    let (a, b) = (fs::read(&all[0]).unwrap(), fs::read(&all[1]).unwrap());
    fs::write(&all[0], b).unwrap();
    fs::write(&all[1], a).unwrap();
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.verdict, Verdict::Invalid);
    assert!(codes(&report).contains(&Code::PackDamaged), "{:?}", report.findings);
    // Chunks prove themselves wherever they lie.
    home.restore("2", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn a_planted_pack_vouches_for_nothing_and_spares_the_snapshots() {
    let home = Home::with_snapshot();
    let other = Home::with_snapshot();
    let planted = packs(&other.vault())[0].clone();
    let target = home.vault().join(planted.strip_prefix(other.vault()).unwrap());
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::copy(&planted, &target).unwrap();
    let report = home.verify(&[]).unwrap();
    assert_eq!(codes(&report), [Code::PackForged], "{:?}", report.findings);
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(verdict_of(&report, 1), Some(Verdict::Valid), "it needs nothing of the planted pack");
    // A later backup leaves nothing out because of it.
    home.write_source(&[("more", "more")]);
    home.backup();
    home.restore("2", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn a_later_backup_relies_on_no_pack_that_does_not_vouch() {
    for (what, at) in [("footer", -70i64), ("cut", 0)] {
        let home = Home::with_snapshot();
        for pack in packs(&home.vault()) {
            let mut bytes = fs::read(&pack).unwrap();
            let length = bytes.len();
            if what == "cut" {
                bytes.truncate(length - 10);
            } else {
                bytes[(length as i64 + at) as usize] ^= 1;
            }
            fs::write(&pack, bytes).unwrap();
        }
        fs::remove_dir_all(home.vault().join("index")).unwrap();
        fs::create_dir(home.vault().join("index")).unwrap();
        let report = home.backup();
        assert!(report.exit() > 10, "{what}: it must be said");
        assert_eq!(report.files_unchanged, 0, "{what}: nothing vouches for what was there");
        home.restore("2", "restored").unwrap();
        assert_eq!(picture(&home.path("restored")), picture(&home.source()), "{what}");
        let verified = home.verify(&["2"]).unwrap();
        assert_eq!(verdict_of(&verified, 2), Some(Verdict::Valid), "{what}: {:?}", verified.findings);
    }
}

#[test]
fn what_an_earlier_run_left_is_used_only_after_it_was_read_completely() {
    let donor = Home::with_snapshot();
    // A vault whose newest snapshot never came to be, as after a crash before the commit.
    let home = Home::with_vault();
    drop(donor);
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("noise"), noise(9_000, 1)).unwrap();
    copy_tree(&home.vault(), &home.path("empty-vault"));
    copy_tree(&home.path("state"), &home.path("empty-state"));
    home.backup();
    let left: Vec<PathBuf> = packs(&home.vault());
    for damaged in [false, true] {
        let vault = home.path("again");
        let _ = fs::remove_dir_all(&vault);
        let _ = fs::remove_dir_all(home.path("state"));
        copy_tree(&home.path("empty-vault"), &vault);
        copy_tree(&home.path("empty-state"), &home.path("state"));
        for pack in &left {
            let target = vault.join(pack.strip_prefix(home.vault()).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(pack, &target).unwrap();
            if damaged {
                flip(&target, 60);
            }
        }
        let access = devvault::vault::gate::Access { vault: vault.clone(), ..home.access() };
        let report = backup::run(&access, &home.source(), &backup::Options::default(), &Silent).unwrap();
        let said = report.notes.iter().any(|note| note.contains("left by an earlier run"));
        assert!(said, "{:?}", report.notes);
        let added = packs(&vault).len() - left.len();
        assert_eq!(added > 0, damaged, "{added} packs were added");
        let verified = verify::run(&access, &["1".parse().unwrap()], Level::Full, &Silent).unwrap();
        assert_eq!(verdict_of(&verified, 1), Some(Verdict::Valid), "{:?}", verified.findings);
    }
}

#[test]
fn an_incomplete_snapshot_is_information_and_never_a_snapshot() {
    let home = Home::with_snapshot();
    let draft = home.vault().join("snapshots/.incomplete-00112233445566778899aabbccddeeff");
    copy_tree(&home.vault().join("snapshots/00000001"), &draft);
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, report.snapshots.len()), (Verdict::Valid, 1));
    assert!(report.notes.iter().any(|note| note.contains(".incomplete-0011")));
    assert_eq!(home.backup().snapshot, 2);
    assert!(draft.join("manifest.json").exists(), "evidence stays");
}

#[test]
fn a_vault_without_snapshots_has_nothing_to_verify() {
    let home = Home::with_vault();
    assert_refused(Code::NothingToVerify, home.verify(&[]));
    assert_refused(Code::NoSuchSnapshot, home.verify(&["1"]));
    assert_refused(Code::NoSuchSnapshot, home.verify(&["latest"]));
}

#[test]
fn a_quick_verification_finds_missing_packs_and_claims_no_more_than_it_did() {
    let home = two_snapshots();
    let quick = || verify::run(&home.access(), &[], Level::Quick, &Silent).unwrap();
    let report = quick();
    assert_eq!((report.verdict, report.read.packs), (Verdict::NoFaultFound, 0));
    assert!(report.not_checked.iter().any(|what| what.contains("does not prove")), "{:?}", report.not_checked);
    for pack in packs(&home.vault()) {
        let bytes = fs::read(&pack).unwrap();
        fs::remove_file(&pack).unwrap();
        assert_eq!(quick().verdict, Verdict::Invalid);
        fs::write(&pack, &bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(quick().verdict, Verdict::Invalid);
        fs::write(&pack, &bytes).unwrap();
        assert_eq!(quick().verdict, Verdict::Invalid, "what failed stands until all of it was read");
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
        assert_eq!(quick().verdict, Verdict::NoFaultFound);
    }
}

/// The packs that a snapshot names.
fn named(home: &Home, number: u64) -> BTreeSet<Digest> {
    let snapshot = Forger::new(home).snapshot(number);
    let Packs::Direct(packs) = snapshot.packs else { panic!("few packs") };
    packs.iter().map(|pack| pack.0).collect()
}

/// Damages the footer of a pack, so that it vouches for nothing any more; a second time, makes it whole again.
fn flip_footer(path: &Path) {
    flip(path, fs::metadata(path).unwrap().len() as usize - 70);
}

#[test]
fn what_does_not_concern_a_named_snapshot_is_counted_in_a_note() {
    let home = two_snapshots();
    let notes = |number: &str| -> Vec<String> {
        let notes = home.verify(&[number]).unwrap().notes;
        notes.into_iter().filter(|note| note.contains("concern")).collect()
    };
    assert_eq!((notes("1"), notes("2")), (vec![], vec![]));
    let only_second = *named(&home, 2).difference(&named(&home, 1)).next().unwrap();
    let pack = home.vault().join(layout::pack_path(&only_second));
    flip_footer(&pack);
    let one = "1 finding(s) about packs do not concern the named snapshots; plain `verify` names them";
    assert_eq!((notes("1"), notes("2")), (vec![one.to_owned()], vec![]));
    assert_eq!(home.verify(&["1"]).unwrap().verdict, Verdict::Valid);
    assert_eq!(home.verify(&["2"]).unwrap().verdict, Verdict::Invalid);
    flip_footer(&pack);
    flip(&home.vault().join("snapshots/00000002/manifest.json"), 30);
    let one = "the chain has 1 finding(s) that do not concern the named snapshots; plain `verify` names them";
    assert_eq!((notes("1"), notes("2")), (vec![one.to_owned()], vec![]));
}

#[test]
fn a_pack_is_called_unneeded_only_where_everything_was_read_and_no_snapshot_may_lack_it() {
    let unneeded = |report: &Report| -> Vec<String> {
        let said = report.findings.iter().filter(|finding| finding.detail.contains("needs anything of it"));
        said.map(|finding| finding.subject.clone()).collect()
    };
    // A pack of another vault: no snapshot names it, but only a full reading says that none lacks anything.
    let home = two_snapshots();
    let other = Home::with_snapshot();
    let planted = packs(&other.vault())[0].strip_prefix(other.vault()).unwrap().to_owned();
    fs::create_dir_all(home.vault().join(&planted).parent().unwrap()).unwrap();
    fs::copy(other.vault().join(&planted), home.vault().join(&planted)).unwrap();
    let subject = planted.to_str().unwrap().replace('\\', "/");
    assert_eq!(unneeded(&home.verify(&[]).unwrap()), std::slice::from_ref(&subject));
    let quick = verify::run(&home.access(), &[], Level::Quick, &Silent).unwrap();
    assert!(codes(&quick).contains(&Code::PackForged) && unneeded(&quick).is_empty(), "{:?}", quick.findings);
    // Packs that vouch for nothing: what the snapshots lack lies in one of them, and nothing tells in which.
    let own: Vec<PathBuf> = named(&home, 2).iter().map(|pack| home.vault().join(layout::pack_path(pack))).collect();
    assert!(own.len() > 1);
    own.iter().for_each(|pack| flip_footer(pack));
    let report = home.verify(&[]).unwrap();
    assert_eq!(codes(&report).iter().filter(|code| **code == Code::PackForged).count(), own.len() + 1);
    assert_eq!(unneeded(&report), [subject], "{:?}", report.findings);
}

#[test]
fn a_pack_that_vouches_for_nothing_is_blamed_for_what_it_holds_and_not_called_absent() {
    let home = Home::with_snapshot();
    let all = packs(&home.vault());
    assert_eq!(all.len(), 1);
    flip_footer(&all[0]);
    let report = home.verify(&[]).unwrap();
    let forged = report.findings.iter().find(|finding| finding.code == Code::PackForged).unwrap();
    assert!(forged.snapshots == [1] && !forged.paths.is_empty(), "{forged:?}");
    assert!(!codes(&report).contains(&Code::ChunkMissing), "{:?}", report.findings);
}

#[test]
fn what_a_snapshot_left_out_is_told_with_its_number() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let mut snapshot = forger.snapshot(1);
    snapshot.left_out = vec![EntryPath::parse(b"src/busy.log").unwrap()];
    forger.put(2, Body::Snapshot(snapshot.clone()));
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.left_out, BTreeMap::from([(2, snapshot.left_out)]));
    assert_eq!(home.verify(&["1"]).unwrap().left_out, BTreeMap::new());
}

#[test]
fn what_does_not_belong_among_the_packs_is_listed_as_foreign_and_ignored() {
    let home = two_snapshots();
    let packs = home.vault().join("packs");
    fs::write(packs.join("zz"), "a file with the name of a directory").unwrap();
    fs::create_dir(packs.join("abc")).unwrap();
    fs::write(packs.join("abc/inside"), "").unwrap();
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, &report.findings[..]), (Verdict::Valid, [].as_slice()));
    let orphans = incomplete::list(&home.access()).unwrap().orphans;
    let foreign: Vec<&str> = orphans.foreign.iter().map(|stray| &*stray.name).collect();
    assert_eq!(foreign, ["packs/abc", "packs/zz"]);
    home.backup();
    home.restore("latest", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}
