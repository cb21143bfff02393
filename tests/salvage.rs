//! Salvage: what verifies needs no permit, what nothing proves needs one and a directory of its own; every path is named
//! with its standing, and the exit status never hides that something is missing.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use devvault::error::Result;
use devvault::format::pack::{BlockInfo, BlockKind, Footer};
use devvault::incident::break_glass;
use devvault::ops::salvage;
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;
use serde_json::Value;

use crate::faults::{faulty, no_ask};
use crate::support::{
    Forger, Home, SMALL_TREE, assert_refused, copy_tree, flip, later, noise, packs, request, unchanged,
};

/// A home whose snapshot has a file in many packs, and small ones.
fn home() -> Home {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("noise"), noise(60_000, 1)).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("README", home.source().join("link")).unwrap();
    home.backup();
    home
}

fn salvage(home: &Home, access: &Access, place: &str, destination: &str) -> Result<salvage::Report> {
    unchanged(&home.vault(), || salvage::run(access, &place.parse().unwrap(), &home.path(destination), &Silent))
}

/// The list of paths: each with its standing, and the summary.
fn list(path: &Path) -> (BTreeMap<String, String>, Value) {
    let text = fs::read_to_string(path).unwrap();
    let mut standings = BTreeMap::new();
    let mut summary = Value::Null;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        match line["path"].as_str() {
            Some(path) => _ = standings.insert(path.to_owned(), line["standing"].as_str().unwrap().to_owned()),
            None if line["summary"].is_object() => summary = line["summary"].clone(),
            None => {}
        }
    }
    (standings, summary)
}

/// How many paths the lines of the list give a standing; a line of a part of the listing speaks of all its entries.
fn named(path: &Path, standing: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["standing"] == standing).map(|line| line["entries"].as_u64().unwrap_or(1)).sum()
}

fn permit(home: &Home, access: &Access, number: u64) {
    let request = request("crypto", format!("{}:{number}", Forger::new(home).macs.vault()));
    break_glass::declare(&access.host, access.clock.now(), &request).unwrap();
}

/// The pack that holds the end of the noise, not the listing.
fn damage_noise(home: &Home) {
    let whole = home.restore("1:noise", "whole").map(|_| ()).is_ok();
    assert!(whole);
    for pack in packs(&home.vault()) {
        let bytes = fs::read(&pack).unwrap();
        flip(&pack, 60);
        let report = home.verify(&[]).unwrap();
        let paths: Vec<String> =
            report.findings.iter().flat_map(|finding| &finding.paths).map(ToString::to_string).collect();
        if paths.iter().all(|path| path == "noise") && !paths.is_empty() {
            return;
        }
        fs::write(&pack, bytes).unwrap();
    }
    panic!("no pack holds noise alone");
}

#[test]
fn an_intact_snapshot_is_salvaged_completely_and_verified() {
    let home = home();
    let report = salvage(&home, &home.access(), "1", "out").unwrap();
    assert_eq!((report.exit(), report.authenticated, &report.permit), (0, true, &None));
    for name in ["README", "src/deep/er/file", "noise", "empty"] {
        let copied = fs::read(home.path("out/verified").join(name)).unwrap();
        assert_eq!(copied, fs::read(home.source().join(name)).unwrap(), "{name}");
    }
    let (standings, summary) = list(&report.list);
    assert!(standings.values().all(|standing| standing == "verified"), "{standings:?}");
    assert_eq!(standings.len() as u64, report.standing.verified);
    assert_eq!(summary["verified"], report.standing.verified);
    assert!(!home.path("out/unauthenticated").exists() && !home.path("out/damaged").exists());
}

#[test]
fn what_is_left_of_damaged_files_is_copied_apart_and_the_exit_says_partial() {
    let home = home();
    damage_noise(&home);
    let report = salvage(&home, &home.access(), "1", "out").unwrap();
    assert_eq!((report.exit(), report.authenticated), (11, true));
    assert_eq!((report.standing.damaged, report.standing.missing), (1, 0));
    let (standings, summary) = list(&report.list);
    assert_eq!((&standings["noise"][..], &standings["README"][..]), ("damaged", "verified"));
    assert_eq!(summary["damaged"], 1);
    assert!(!home.path("out/verified/noise").exists());
    let (copied, source) =
        (fs::read(home.path("out/damaged/noise")).unwrap(), fs::read(home.source().join("noise")).unwrap());
    assert_eq!(copied.len(), source.len());
    let same = copied.iter().zip(&source).filter(|(copied, source)| copied == source).count();
    assert!(same > source.len() / 2 && same < source.len(), "{same}");
    assert!(copied.iter().zip(&source).all(|(copied, source)| copied == source || *copied == 0));
    let part = salvage(&home, &home.access(), "1:src", "part").unwrap();
    assert_eq!(part.exit(), 0);
    assert_refused(Code::SelectionEmpty, salvage(&home, &home.access(), "1:none", "none"));
}

#[test]
fn content_that_is_gone_is_missing_and_nothing_is_made_in_its_name() {
    let home = home();
    for pack in packs(&home.vault()) {
        let bytes = fs::read(&pack).unwrap();
        fs::remove_file(&pack).unwrap();
        let report = salvage::run(&home.access(), &"1".parse().unwrap(), &home.path("out"), &Silent).unwrap();
        let (standings, summary) = list(&report.list);
        assert_eq!(report.exit(), 11);
        for standing in ["verified", "damaged", "missing"] {
            assert_eq!(summary[standing], named(&report.list, standing), "{standing}");
        }
        for (path, standing) in standings.iter().filter(|(_, standing)| *standing == "missing") {
            assert!(!home.path("out/verified").join(path).exists(), "{path} is {standing}");
        }
        fs::remove_dir_all(home.path("out")).unwrap();
        fs::write(&pack, bytes).unwrap();
    }
}

#[test]
fn footers_that_fail_their_tag_still_lead_to_content_that_proves_itself() {
    let home = home();
    for pack in packs(&home.vault()) {
        let length = fs::metadata(&pack).unwrap().len() as usize;
        flip(&pack, length - 45);
    }
    fs::remove_dir_all(home.vault().join("index")).unwrap();
    assert!(home.restore("1", "restored").is_err());
    let report = salvage(&home, &home.access(), "1", "out").unwrap();
    assert_eq!((report.exit(), report.standing.damaged), (0, 0));
}

#[test]
fn without_a_key_nothing_is_copied_but_under_a_permit_for_that_snapshot() {
    let home = home();
    let stranger = Access { host: home.other_host("stranger"), ..home.access() };
    let refusal = assert_refused(Code::PermitMissing, salvage(&home, &stranger, "1", "out"));
    assert!(refusal.causes.iter().any(|cause| cause.contains("DV301")), "{:?}", refusal.causes);
    assert!(!home.path("out").exists());
    permit(&home, &later(&stranger, 10), 2);
    assert_refused(Code::PermitOutOfScope, salvage(&home, &later(&stranger, 140), "1", "out"));
    permit(&home, &later(&stranger, 150), 1);
    assert_refused(Code::PermitNotYet, salvage(&home, &later(&stranger, 160), "1", "out"));
    assert!(!home.path("out").exists());
    let report = salvage(&home, &later(&stranger, 300), "1", "out").unwrap();
    assert_eq!((report.exit(), report.authenticated, report.standing.verified), (13, false, 0));
    assert!(report.permit.is_some());
    let (standings, summary) = list(&report.list);
    assert!(standings.values().all(|standing| standing == "unauthenticated"), "{standings:?}");
    assert_eq!(summary["authenticated"], false);
    assert!(!home.path("out/verified").exists());
    assert!(!home.path("out/unauthenticated/link").exists(), "no link is made without proof");
    assert_eq!(fs::read(home.path("out/unauthenticated/noise")).unwrap(), noise(60_000, 1));
    assert_refused(Code::PermitExpired, salvage(&home, &later(&stranger, 1000), "1", "late"));
}

#[test]
fn a_manifest_whose_tag_fails_is_not_believed_with_the_key_at_hand() {
    let home = home();
    let manifest = home.vault().join("snapshots/00000001/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"tags\":[]", "\"tags\":[\"forged\"]")).unwrap();
    let refusal = assert_refused(Code::PermitMissing, salvage(&home, &home.access(), "1", "out"));
    assert!(refusal.causes.iter().any(|cause| cause.contains("DV306")), "{:?}", refusal.causes);
    permit(&home, &later(&home.access(), 10), 1);
    let report = salvage(&home, &later(&home.access(), 200), "1", "out").unwrap();
    assert_eq!((report.exit(), report.standing.verified), (13, 0));
}

#[test]
fn a_destination_that_holds_anything_is_refused_and_left_alone() {
    let home = home();
    fs::create_dir(home.path("full")).unwrap();
    fs::write(home.path("full/.hidden"), "kept").unwrap();
    fs::write(home.path("file"), "kept").unwrap();
    assert_refused(Code::DestinationNotEmpty, salvage(&home, &home.access(), "1", "full"));
    assert_refused(Code::DestinationNotPlain, salvage(&home, &home.access(), "1", "file"));
    copy_tree(&home.vault(), &home.path("other"));
    for place in ["vault/out", "other/snapshots/out", "config/out", "state/out"] {
        assert_refused(Code::DestinationOverlaps, salvage(&home, &home.access(), "1", place));
    }
    assert_refused(Code::DestinationParent, salvage(&home, &home.access(), "1", "none/out"));
    #[cfg(unix)]
    {
        fs::create_dir(home.path("real")).unwrap();
        std::os::unix::fs::symlink("real", home.path("swap")).unwrap();
        assert_refused(Code::DestinationNotPlain, salvage(&home, &home.access(), "1", "swap"));
    }
    assert_eq!(fs::read_to_string(home.path("full/.hidden")).unwrap(), "kept");
    fs::create_dir(home.path("vacant")).unwrap();
    assert_eq!(salvage(&home, &home.access(), "1", "vacant").unwrap().exit(), 0);
    assert_refused(Code::NoSuchSnapshot, salvage(&home, &home.access(), "9", "nine"));
    assert!(!home.path("nine").exists());
}

#[test]
fn salvage_goes_on_without_a_state_directory_unless_it_needs_a_permit() {
    let home = home();
    fs::write(home.path("blocked"), "").unwrap();
    let host = devvault::host::Host::new(home.path("config"), home.path("blocked"), home.path("data"));
    let access = Access { host, ..home.access() };
    let report = salvage(&home, &access, "1", "out").unwrap();
    assert_eq!(report.exit(), 0);
    assert!(report.notes.iter().any(|note| note.starts_with("this was not journaled")), "{:?}", report.notes);
    fs::write(home.vault().join("snapshots/00000001/manifest.hmac"), "x").unwrap();
    assert_refused(Code::StateUnwritable, salvage(&home, &access, "1", "other"));
}

#[test]
fn the_program_never_calls_a_salvage_a_restore_or_valid() {
    let home = home();
    damage_noise(&home);
    let output = home.run(&["salvage", "1", "out"]);
    assert_eq!(output.status.code(), Some(11));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("salvaged from snapshot 1") && text.contains("damaged: 1 path(s)"), "{text}");
    assert!(!text.contains("restored") && !text.to_lowercase().contains("valid"), "{text}");
    let (exit, document) = home.json(&["salvage", "1", "again"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (11, &"devvault.salvage/1".into(), &false.into()));
}

/// The line of a path in the list.
fn line(report: &salvage::Report, path: &str) -> Value {
    let text = fs::read_to_string(&report.list).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.into_iter().find(|line| line["path"] == path).expect("listed")
}

// Unix alone: modes and links.
#[cfg(unix)]
#[test]
fn what_is_salvaged_keeps_mode_times_attributes_and_links_as_far_as_the_target_takes_them() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let home = home();
    let source = home.source();
    fs::hard_link(source.join("README"), source.join("src/again")).unwrap();
    fs::set_permissions(source.join("noise"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(source.join("src"), fs::Permissions::from_mode(0o555)).unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
    fs::File::options().write(true).open(source.join("noise")).unwrap().set_modified(long_ago).unwrap();
    let made = std::process::Command::new("mkfifo").args(["-m", "620"]).arg(source.join("pipe")).status().unwrap();
    assert!(made.success());
    let took_xattr =
        rustix::fs::setxattr(source.join("noise"), "user.devvault", b"kept", rustix::fs::XattrFlags::empty()).is_ok();
    home.backup();
    let report = salvage(&home, &home.access(), "2", "out").unwrap();
    let text = fs::read_to_string(&report.list).unwrap();
    assert_eq!((report.exit(), report.standing.differing, report.standing.not_written), (0, 0, 0), "{text}");
    let copied = home.path("out/verified");
    for name in ["", "README", "noise", "src", "src/again", "link", "pipe"] {
        let (was, is) =
            (fs::symlink_metadata(source.join(name)).unwrap(), fs::symlink_metadata(copied.join(name)).unwrap());
        assert_eq!((was.mode(), was.uid(), was.gid()), (is.mode(), is.uid(), is.gid()), "{name}");
        assert_eq!((was.mtime(), was.mtime_nsec()), (is.mtime(), is.mtime_nsec()), "{name}");
    }
    let object = |name: &str| fs::symlink_metadata(copied.join(name)).unwrap().ino();
    assert_eq!(object("README"), object("src/again"), "two names of one object");
    let mut value = [0; 16];
    let read = rustix::fs::getxattr(copied.join("noise"), "user.devvault", &mut value[..]);
    assert_eq!(read.ok().map(|length| value[..length].to_vec()), took_xattr.then(|| b"kept".to_vec()));
    for place in [source.join("src"), copied.join("src")] {
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_further_name_without_its_first_is_copied_for_itself_and_said_to_differ() {
    let home = home();
    fs::hard_link(home.source().join("README"), home.source().join("src/again")).unwrap();
    home.backup();
    let report = salvage(&home, &home.access(), "2:src", "out").unwrap();
    assert_eq!((report.exit(), report.standing.differing), (1, 1));
    let again = line(&report, "src/again");
    assert_eq!(
        (&again["standing"], &again["differs"][0]),
        (&"verified".into(), &"it should be another name of README".into())
    );
    assert_eq!(fs::read(home.path("out/verified/src/again")).unwrap(), fs::read(home.source().join("README")).unwrap());
}

/// A block in the midst of the noise: its stored bytes, and how many chunks it has.
fn block_of_noise(home: &Home) -> (Vec<u8>, usize) {
    let noise = noise(60_000, 1);
    let is_within = |stored: &[u8]| noise[20_000..40_000].windows(stored.len()).any(|window| window == stored);
    for pack in packs(&home.vault()) {
        let bytes = fs::read(&pack).unwrap();
        let stored = |block: &BlockInfo| bytes[block.offset as usize..][..block.stored as usize].to_vec();
        let footer = Footer::decode_unproven(&bytes).unwrap();
        let mut blocks = footer.blocks.iter().filter(|block| block.kind == BlockKind::Data);
        if let Some(block) = blocks.find(|block| block.stored > 1_000 && is_within(&stored(block))) {
            return (stored(block), block.chunks.len());
        }
    }
    panic!("no block holds noise alone");
}

/// Salvages by a medium that fails those reads of a block of the noise that come at the time of some tries: whoever reads a
/// file reads the block once for each of its chunks, or once where that succeeds.
/// Returns how often the block was read, too.
fn salvage_by_a_failing_medium(home: &Home, failing: impl Fn(usize) -> Range<usize>) -> (salvage::Report, usize) {
    let (block, chunks) = block_of_noise(home);
    let (failing, reads) = (failing(chunks), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&reads);
    let access = faulty(home, no_ask, move |what, _, bytes| {
        if what == "read" && bytes == block && failing.contains(&count.fetch_add(1, Ordering::SeqCst)) {
            bytes[0] ^= 1;
        }
    });
    let report = salvage(home, &access, "1", "out").unwrap();
    (report, reads.load(Ordering::SeqCst))
}

#[test]
fn a_file_that_reads_whole_at_another_try_is_complete_and_the_list_says_so() {
    // How often in a row all reads of it fail: once at the first look, at both, and when it has been written once too.
    for tries in [1, 2] {
        let home = home();
        let (report, _) = salvage_by_a_failing_medium(&home, |chunks| 0..tries * chunks);
        assert_eq!((report.exit(), report.standing.damaged, report.standing.missing), (0, 0, 0), "{tries}");
        assert_eq!(fs::read(home.path("out/verified/noise")).unwrap(), noise(60_000, 1));
        assert!(!home.path("out/damaged/noise").exists(), "{tries}");
        let line = line(&report, "noise");
        assert_eq!(line["standing"], "verified");
        assert!(line["reason"].as_str().unwrap().contains("another try"), "{line}");
        assert!(report.notes.iter().any(|note| note.contains("DV405")), "{:?}", report.notes);
    }
}

#[test]
fn a_block_that_reads_only_after_its_file_was_written_accuses_no_target() {
    let home = home();
    let (report, _) = salvage_by_a_failing_medium(&home, |chunks| 0..3 * chunks);
    assert_eq!((report.exit(), report.standing.damaged, report.standing.not_written), (11, 1, 0));
    let (copied, source) = (fs::read(home.path("out/damaged/noise")).unwrap(), noise(60_000, 1));
    assert!(copied != source && copied.iter().zip(&source).all(|(copied, source)| copied == source || *copied == 0));
    assert_eq!(fs::read(home.path("out/verified/z-last")).unwrap(), b"the last file of the tree\n");
}

#[test]
fn a_file_that_reads_whole_once_and_never_again_is_damaged_and_the_others_are_copied() {
    let home = home();
    let (report, _) = salvage_by_a_failing_medium(&home, |_| 1..usize::MAX);
    assert_eq!((report.exit(), report.standing.damaged), (11, 1));
    assert!(!home.path("out/verified/noise").exists() && home.path("out/damaged/noise").exists());
    assert!(report.notes.iter().any(|note| note.contains("DV405")), "{:?}", report.notes);
    assert_eq!(fs::read(home.path("out/verified/z-last")).unwrap(), b"the last file of the tree\n");
}

#[test]
fn a_file_is_read_from_the_vault_no_further_once_it_is_written() {
    let home = home();
    let (report, reads) = salvage_by_a_failing_medium(&home, |_| 2..usize::MAX);
    assert_eq!((report.exit(), reads), (0, 2), "once to look at it and once to copy it");
    assert_eq!(fs::read(home.path("out/verified/noise")).unwrap(), noise(60_000, 1));
}

// Linux alone: a sparse file of any length.
#[cfg(target_os = "linux")]
#[test]
fn a_sparse_file_takes_the_room_of_its_data_and_not_that_of_its_length() {
    let home = home();
    fs::create_dir(home.source().join("sparse")).unwrap();
    let big = fs::File::create(home.source().join("sparse/big")).unwrap();
    big.set_len(10 << 40).unwrap();
    home.backup();
    let report = salvage(&home, &home.access(), "2", "out").unwrap();
    assert_eq!((report.exit(), report.standing.not_written), (0, 0));
    assert_eq!(fs::metadata(home.path("out/verified/sparse/big")).unwrap().len(), 10 << 40);
    assert!(home.path("out/verified/z-last").exists());
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn a_file_for_which_there_is_no_room_is_listed_and_the_others_are_copied() {
    if !crate::support::is_root() {
        return crate::support::skip("only the superuser mounts file systems");
    }
    let home = home();
    fs::write(home.source().join("big"), noise(8_000_000, 3)).unwrap();
    home.backup();
    fs::create_dir(home.path("mount")).unwrap();
    let program = home.program();
    let mut command = std::process::Command::new("unshare");
    let script = "mount -t tmpfs -o size=70m none \"$2\" || exit 3
\"$1\" --vault \"$3\" --json salvage 2 \"$2/out\"; code=$?
cp \"$2/out/salvage.jsonl\" \"$4\"; ls \"$2/out/verified\" >&2; exit $code";
    command.args(["-m", "sh", "-c", script, "sh"]).arg(program.get_program());
    command.arg(home.path("mount")).arg(home.vault()).arg(home.path("list"));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    if output.status.code() == Some(3) {
        return crate::support::skip("nothing can be mounted here");
    }
    let (document, made): (Value, _) =
        (serde_json::from_slice(&output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), &document["not_written"], &document["damaged"]), (Some(1), &1.into(), &0.into()));
    let (standings, _) = list(&home.path("list"));
    assert_eq!((&standings["big"][..], &standings["noise"][..]), ("not written", "verified"));
    assert!(made.contains("z-last") && !made.contains("big"), "{made}");
}

// Unix alone: limits of a shell.
#[cfg(unix)]
#[test]
fn nothing_is_left_of_a_file_that_the_target_does_not_take_to_its_end() {
    let home = home();
    fs::write(home.source().join("big"), noise(8_000_000, 3)).unwrap();
    home.backup();
    let out = home.path("out");
    let output = home.limited("trap '' XFSZ && ulimit -f 4000", &["salvage", "2", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (standings, _) = list(&out.join("salvage.jsonl"));
    assert_eq!((&standings["big"][..], &standings["noise"][..]), ("not written", "verified"));
    assert!(!home.path("out/verified/big").exists() && home.path("out/verified/z-last").exists());
}

// Unix alone: names of one object.
#[cfg(unix)]
#[test]
fn without_proof_a_further_name_lies_beside_its_first() {
    let home = home();
    fs::create_dir(home.source().join("d")).unwrap();
    fs::hard_link(home.source().join("README"), home.source().join("d/again")).unwrap();
    home.backup();
    let stranger = Access { host: home.other_host("stranger"), ..home.access() };
    permit(&home, &later(&stranger, 10), 2);
    let report = salvage(&home, &later(&stranger, 160), "2", "out").unwrap();
    assert_eq!((report.exit(), report.standing.differing), (13, 0));
    assert!(!home.path("out/verified").exists());
    let object = |name: &str| {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(home.path("out/unauthenticated").join(name)).unwrap())
    };
    assert_eq!(object("README"), object("d/again"), "two names of one object");
}

/// Damages a block of listings that a restore of a path does not need, and that of another does.
fn damage_listing(home: &Home, spared: &str, hit: &str) {
    for (number, pack) in packs(&home.vault()).iter().enumerate() {
        let bytes = fs::read(pack).unwrap();
        let footer = Footer::decode_unproven(&bytes).unwrap();
        for block in footer.blocks.iter().filter(|block| block.kind == BlockKind::Listing) {
            flip(pack, block.offset as usize + 5);
            let to = format!("{number}-{}", block.offset);
            if home.restore(spared, &format!("spared-{to}")).is_ok() && home.restore(hit, &format!("hit-{to}")).is_err()
            {
                return;
            }
            fs::write(pack, &bytes).unwrap();
        }
    }
    panic!("no block holds only listings of {hit}");
}

#[test]
fn of_a_part_only_the_listing_that_can_reach_into_it_counts() {
    let home = home();
    for (directory, count) in [("a", 80), ("z", 10)] {
        fs::create_dir(home.source().join(directory)).unwrap();
        for number in 0..count {
            fs::write(home.source().join(format!("{directory}/{number:02}")), format!("{directory}{number}")).unwrap();
        }
    }
    home.backup();
    damage_listing(&home, "2:z", "2:a");
    let part = salvage(&home, &home.access(), "2:z", "part").unwrap();
    assert_eq!((part.exit(), part.standing.damaged, part.standing.verified), (0, 0, 11));
    assert_refused(Code::SelectionEmpty, salvage(&home, &home.access(), "2:typo", "typo"));
    let hit = salvage(&home, &home.access(), "2:a", "hit").unwrap();
    assert_eq!(hit.exit(), 11);
    let whole = salvage(&home, &home.access(), "2", "whole").unwrap();
    assert_eq!((whole.exit(), whole.standing.damaged), (11, hit.standing.damaged));
    assert_eq!(fs::read(home.path("whole/verified/z/09")).unwrap(), b"z9");
}

/// What is done to the bytes of a pack.
type Alter = fn(&mut Vec<u8>);

fn every_pack(home: &Home, alter: Alter) {
    for pack in packs(&home.vault()) {
        let mut bytes = fs::read(&pack).unwrap();
        alter(&mut bytes);
        fs::write(&pack, bytes).unwrap();
    }
}

#[test]
fn packs_whose_own_footers_lead_nowhere_are_found_by_the_index() {
    let damages: [(&str, Alter); 2] = [
        ("a bit of the table", |bytes| {
            let at = bytes.len() - 60;
            bytes[at] ^= 1;
        }),
        ("the last byte gone", |bytes| _ = bytes.pop()),
    ];
    for (damage, alter) in damages {
        let home = home();
        every_pack(&home, alter);
        let report = salvage(&home, &home.access(), "1", "out").unwrap();
        assert_eq!((report.exit(), report.standing.damaged, report.standing.missing), (0, 0, 0), "{damage}");
        assert_eq!(fs::read(home.path("out/verified/noise")).unwrap(), noise(60_000, 1), "{damage}");
        assert!(report.notes.iter().any(|note| note.contains("the index tells")), "{:?}", report.notes);
    }
}

#[test]
fn of_a_pack_that_is_cut_only_what_lay_beyond_its_end_is_lost() {
    let home = home();
    let largest = packs(&home.vault()).into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let bytes = fs::read(&largest).unwrap();
    fs::write(&largest, &bytes[..bytes.len() / 2]).unwrap();
    let report = salvage(&home, &home.access(), "1", "out").unwrap();
    assert_eq!((report.exit(), report.standing.damaged, report.standing.missing), (11, 1, 0));
    let (copied, source) = (fs::read(home.path("out/damaged/noise")).unwrap(), noise(60_000, 1));
    let lost = copied.iter().zip(&source).filter(|(copied, source)| copied != source).count();
    assert!((4_000..10_000).contains(&lost), "{lost}");
    fs::remove_dir_all(home.vault().join("index")).unwrap();
    let report = salvage(&home, &home.access(), "1", "without").unwrap();
    assert_eq!((report.exit(), report.standing.damaged), (11, 1));
    let (copied, further) = (fs::read(home.path("without/damaged/noise")).unwrap(), lost);
    let lost = copied.iter().zip(&source).filter(|(copied, source)| copied != source).count();
    assert!(lost > further, "{lost}");
}

#[test]
fn the_index_is_believed_only_by_the_key_and_by_it_without_proof_too() {
    let home = home();
    every_pack(&home, |bytes| _ = bytes.pop());
    let stranger = Access { host: home.other_host("stranger"), ..home.access() };
    permit(&home, &later(&stranger, 10), 1);
    let report = salvage(&home, &later(&stranger, 160), "1", "strange").unwrap();
    assert_eq!((report.exit(), report.standing.unauthenticated), (13, 0));
    assert!(!report.notes.iter().any(|note| note.contains("the index tells")), "{:?}", report.notes);
    fs::write(home.vault().join("snapshots/00000001/manifest.hmac"), "x").unwrap();
    permit(&home, &later(&home.access(), 10), 1);
    let report = salvage(&home, &later(&home.access(), 200), "1", "out").unwrap();
    assert_eq!((report.exit(), report.standing.damaged + report.standing.missing), (13, 0));
    assert_eq!(fs::read(home.path("out/unauthenticated/noise")).unwrap(), noise(60_000, 1));
}
