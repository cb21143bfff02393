//! Sources: read completely, or refused with the complete list of what stands in the way.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use devvault::clock::{Clock, FixedClock, SystemClock, Time};
use devvault::format::record::{ExcludedBy, Exclusion};
use devvault::ops::backup::{self, Options};
use devvault::ops::key;
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{Home, SMALL_TREE, assert_refused, names, noise, packs, picture};

#[test]
fn a_source_that_is_missing_or_a_file_is_refused() {
    let home = Home::with_vault();
    assert_refused(Code::SourceMissing, home.try_backup(&Options::default()));
    fs::write(home.source(), "a file").unwrap();
    assert_refused(Code::SourceMissing, home.try_backup(&Options::default()));
}

#[test]
fn a_source_that_contains_the_vault_is_refused_unless_the_vault_is_left_out() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let run = |options: &Options| backup::run(&home.access(), &home.path(""), options, &Silent);
    assert_refused(Code::SourceOverlaps, run(&Options::default()));
    let left_out = Options { exclude: vec!["/vault/".into()], ..Options::default() };
    let report = run(&left_out).unwrap();
    assert_eq!(report.excluded(), 1);
    assert!(
        report.notes.iter().any(|note| note.contains("config") && note.contains("devvault itself")),
        "{:?}",
        report.notes
    );
    home.restore("1", "restored").unwrap();
    assert!(home.path("restored/source/README").exists());
    for own in ["vault", "config", "state"] {
        assert!(!home.path("restored").join(own).exists(), "{own} is part of the snapshot");
    }
    let inside = backup::run(&home.access(), &home.vault().join("packs"), &Options::default(), &Silent);
    assert_refused(Code::SourceOverlaps, inside);
}

#[test]
fn the_directories_of_devvault_itself_are_no_source() {
    let home = Home::with_vault();
    for own in ["config", "config/keys", "state", "state/witness"] {
        let refusal = assert_refused(
            Code::SourceOverlaps,
            backup::run(&home.access(), &home.path(own), &Options::default(), &Silent),
        );
        assert!(refusal.message.contains("devvault's own"), "{}", refusal.message);
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(home.path("config"), home.path("alias")).unwrap();
        let refused = backup::run(&home.access(), &home.path("alias/keys"), &Options::default(), &Silent);
        assert_refused(Code::SourceOverlaps, refused);
    }
    assert!(packs(&home.vault()).is_empty());
}

#[test]
fn the_key_in_use_is_never_part_of_a_source() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let key = home.source().join("my.key");
    devvault::fsys::write_private(&key, &fs::read(home.key()).unwrap()).unwrap();
    let access = Access { key_file: Some(key), ..home.access() };
    let report = backup::run(&access, &home.source(), &Options::default(), &Silent).unwrap();
    assert!(report.notes.iter().any(|note| note.contains("my.key")), "{:?}", report.notes);
    home.restore("1", "restored").unwrap();
    assert!(!home.path("restored/my.key").exists() && home.path("restored/README").exists());
}

#[test]
fn a_copy_of_the_vaults_key_is_never_part_of_a_source() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let exported = home.source().join("src/exported");
    key::export(&home.access(), &exported, true).unwrap();
    let key = fs::read(&exported).unwrap();
    fs::copy(&exported, home.source().join("copy")).unwrap();
    fs::write(home.source().join("ended otherwise"), [key.trim_ascii_end(), b"\r\n"].concat()).unwrap();
    // Others of its length are files as any other, whatever they begin with.
    let mut other = key.clone();
    other[key.len() - 10] ^= 1;
    fs::write(home.source().join("other"), &other).unwrap();
    let left: BTreeSet<&[u8]> = [&b"copy"[..], b"ended otherwise", b"src/exported"].into();
    let own = |exclusions: &[Exclusion]| -> BTreeSet<Vec<u8>> {
        let own = exclusions.iter().filter(|one| one.by == ExcludedBy::Own && one.objects == 1);
        own.filter_map(|one| one.from.clone()).collect()
    };
    for reread in [false, true] {
        let report = home.try_backup(&Options { reread, ..Options::default() }).unwrap();
        assert_eq!(own(&report.exclusions).iter().map(|path| &path[..]).collect::<BTreeSet<_>>(), left);
        let said = |name: &str| report.notes.iter().any(|note| note.contains(name) && note.contains("vault's key"));
        assert!(said("copy") && said("src/exported"), "{:?}", report.notes);
    }
    let (exit, plan) = home.json(&["backup", home.source().to_str().unwrap(), "--dry-run"]);
    let planned = plan["objects"].as_array().unwrap();
    let taken = |path: &str| planned.iter().any(|one| one["path"] == path && one["take"] == true);
    assert!(exit == 0 && taken("other") && !taken("copy") && !taken("src/exported"), "{plan}");
    home.restore("2", "restored").unwrap();
    let restored = home.path("restored");
    assert!(!restored.join("copy").exists() && !restored.join("src/exported").exists());
    assert!(!restored.join("ended otherwise").exists() && fs::read(restored.join("other")).unwrap() == other);
}

#[test]
fn a_source_that_is_empty_now_and_was_not_before_is_refused() {
    let home = Home::with_snapshot();
    fs::remove_dir_all(home.source()).unwrap();
    fs::create_dir(home.source()).unwrap();
    let refusal = assert_refused(Code::SourceEmpty, home.try_backup(&Options::default()));
    assert!(refusal.message.contains("is empty now"), "{refusal}");
    // A rule that leaves out everything is no disk that is not mounted.
    home.write_source(&[("some", "thing")]);
    let everything = Options { exclude: vec!["*".into()], ..Options::default() };
    let refusal = assert_refused(Code::SourceEmpty, home.try_backup(&everything));
    assert!(
        refusal.message.contains("the rules leave out everything") && refusal.next.starts_with("mount the disk"),
        "{refusal}"
    );
    fs::remove_file(home.source().join("some")).unwrap();
    assert_eq!(home.verify(&[]).unwrap().snapshots.len(), 1);
    let report = home.try_backup(&Options { allow_empty: true, ..Options::default() }).unwrap();
    assert_eq!(report.counts.entries(), 1);
    // Empty before, empty now: nothing is odd.
    assert_eq!(home.backup().snapshot, 3);
}

// Linux alone: modes that forbid, and a user who is not the superuser.
#[cfg(target_os = "linux")]
#[test]
fn unreadable_files_are_refused_with_the_complete_list() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    home.write_source(&[("closed/inside", "x"), ("secret", "x")]);
    for name in ["secret", "README", "closed"] {
        fs::set_permissions(home.source().join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Root reads everything: another user runs the program.
    let Some((_, document)) = home.json_as_user(&["backup", home.source().to_str().unwrap()]) else { return };
    assert_eq!(document["code"], "DV801", "{document}");
    assert_eq!(Code::parse("DV801"), Some(Code::SourceUnreadable));
    assert_eq!(document["paths"], serde_json::json!(["README", "closed", "secret"]));
    assert_eq!(document["exit"], 18);
    fs::set_permissions(home.source().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_file_that_keeps_changing_is_refused_or_left_out_as_allowed() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let busy = home.source().join("busy.log");
    // Long enough to be read as a stream, which tells its progress meanwhile.
    fs::write(&busy, noise(9 << 20, 1)).unwrap();
    struct Append(std::path::PathBuf);
    impl devvault::progress::Progress for Append {
        fn advance(&self, _: u64, _: u64) {
            let mut file = fs::File::options().append(true).open(&self.0).unwrap();
            std::io::Write::write_all(&mut file, b"x").unwrap();
        }
    }
    let run = |options: &Options| backup::run(&home.access(), &home.source(), options, &Append(busy.clone()));
    let refusal = run(&Options::default());
    let allowed = run(&Options { may_change: vec!["*.log".into()], ..Options::default() });
    let refusal = assert_refused(Code::SourceChanging, refusal);
    assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["busy.log"]);
    let report = allowed.unwrap();
    assert_eq!(report.left_out.iter().map(ToString::to_string).collect::<Vec<_>>(), ["busy.log"]);
    home.restore("1", "restored").unwrap();
    assert!(!home.path("restored/busy.log").exists() && home.path("restored/README").exists());
}

// Unix alone: what is open is renamed there.
#[cfg(unix)]
#[test]
fn what_is_renamed_all_the_while_is_kept_under_one_of_its_names_or_the_backup_refuses() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let home = Home::with_vault();
    fs::create_dir_all(home.source().join("busy")).unwrap();
    for number in 0..2_000 {
        fs::write(home.source().join(format!("busy/{number:04}-a-name-of-some-length")), "").unwrap();
    }
    let (one, two) = (home.source().join("busy/a.log"), home.source().join("busy/z.log"));
    fs::write(&one, "always there").unwrap();
    let stop = AtomicBool::new(false);
    let results: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&one, &two).unwrap();
                fs::rename(&two, &one).unwrap();
            }
        });
        let run = |may_change: &[&str]| {
            let may_change = may_change.iter().map(|&pattern| pattern.to_owned()).collect();
            home.try_backup(&Options { may_change, ..Options::default() })
        };
        let results = (0..4).map(|_| run(&[])).chain((0..4).map(|_| run(&["/busy/", "*.log"]))).collect();
        stop.store(true, Ordering::Relaxed);
        results
    });
    for (at, result) in results.into_iter().enumerate() {
        let report = match result {
            Err(error) if at < 4 => {
                let refusal = assert_refused(Code::SourceChanging, Err::<(), _>(error));
                assert!(refusal.paths.iter().all(|path| path.to_string().starts_with("busy")), "{refusal:?}");
                continue;
            }
            result => result.unwrap(),
        };
        let (_, listed) = home.json(&["ls", &report.snapshot.to_string()]);
        let named = |name: &str| listed["entries"].as_array().unwrap().iter().any(|entry| entry["path"] == name);
        assert!(named("busy/0000-a-name-of-some-length"), "{listed}");
        let left_out: Vec<String> = report.left_out.iter().map(ToString::to_string).collect();
        assert!(
            named("busy/a.log") || named("busy/z.log") || (at >= 4 && !left_out.is_empty()),
            "snapshot {} silently lacks what was there all the while: {left_out:?}",
            report.snapshot
        );
    }
}

// Linux alone: a file system in memory that takes any length.
#[cfg(target_os = "linux")]
#[test]
fn more_bytes_than_a_vault_can_count_are_refused_by_name() {
    let home = Home::with_vault();
    let Ok(root) = tempfile::tempdir_in("/dev/shm") else { return crate::support::skip("there is no /dev/shm") };
    for name in ["one", "two"] {
        let file = fs::File::create(root.path().join(name)).unwrap();
        if file.set_len(3 << 60).is_err() {
            return crate::support::skip("/dev/shm takes no file of that length");
        }
    }
    let run = backup::run(&home.access(), root.path(), &Options::default(), &Silent);
    let refusal = assert_refused(Code::SourceUnsupported, run);
    assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["two"]);
    fs::remove_file(root.path().join("two")).unwrap();
    assert_eq!(backup::run(&home.access(), root.path(), &Options::default(), &Silent).unwrap().counts.bytes, 3 << 60);
}

#[test]
fn a_change_within_the_same_tick_is_not_missed() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let file = home.source().join("README");
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    // Read in the same second in which it was written, by a clock that a medium with coarse times would show.
    let now = SystemClock.now();
    let access = Access { clock: Arc::new(FixedClock(now)), ..home.access() };
    let run = || backup::run(&access, &home.source(), &Options::default(), &Silent).unwrap();
    run();
    // The same length and the same modification time; on a coarse medium the change time would be the same too.
    fs::write(&file, "HELLO\n").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    let second = run();
    assert_eq!(second.files_unchanged, 0, "times that young prove nothing");
    home.restore("2", "restored").unwrap();
    assert_eq!(fs::read_to_string(home.path("restored/README")).unwrap(), "HELLO\n");
    // Later the same times are old enough when they are read, and from then on they prove something.
    let later = Time { seconds: now.seconds + 60, nanos: 0 };
    let access = Access { clock: Arc::new(FixedClock(later)), ..home.access() };
    let run = || backup::run(&access, &home.source(), &Options::default(), &Silent).unwrap();
    assert_eq!(run().files_unchanged, 0);
    let settled = run();
    assert_eq!(settled.files_unchanged, settled.counts.files);
    assert_eq!(
        backup::run(&access, &home.source(), &Options { reread: true, ..Options::default() }, &Silent)
            .unwrap()
            .files_unchanged,
        0
    );
}

#[test]
fn an_edit_in_the_middle_of_a_large_file_stores_little() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    let mut content = noise(12 << 20, 3);
    let large = home.source().join("large");
    fs::write(&large, &content).unwrap();
    home.backup();
    let stored =
        |home: &Home| -> u64 { packs(&home.vault()).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum() };
    let before = stored(&home);
    content.splice(6 << 20..6 << 20, *b"inserted in the middle");
    fs::write(&large, &content).unwrap();
    home.backup();
    let added = stored(&home) - before;
    assert!(added < 200_000, "{added} bytes were added");
    home.restore("2", "restored").unwrap();
    assert_eq!(fs::read(home.path("restored/large")).unwrap(), content);
}

#[test]
fn what_is_the_same_is_stored_once() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(home.source().join(name), noise(50_000, 9)).unwrap();
    }
    let report = home.backup();
    assert!(report.bytes_stored < 70_000, "{} bytes", report.bytes_stored);
    home.restore("1", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn a_closing_look_tells_whether_anything_changed() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let options = Options { closing_look: true, ..Options::default() };
    assert_eq!(home.try_backup(&options).unwrap().quiet, Some(true));
    struct Change(std::path::PathBuf);
    impl devvault::progress::Progress for Change {
        fn advance(&self, _: u64, _: u64) {
            fs::write(&self.0, "changed meanwhile").unwrap();
        }
    }
    let change = Change(home.source().join("z-new"));
    let report = backup::run(&home.access(), &home.source(), &options, &change).unwrap();
    assert_eq!(report.quiet, Some(false));
    assert_eq!(home.backup().quiet, None);
    let report = home.try_backup(&Options { exclude: vec!["z-new".into()], ..options }).unwrap();
    assert_eq!((report.quiet, report.excluded()), (Some(true), 1), "what is left out is counted once");
}

#[test]
fn an_interruption_ends_a_closing_look() {
    /// Interrupts once content has been stored.
    struct Late(AtomicBool);
    impl devvault::progress::Progress for Late {
        fn advance(&self, files: u64, _: u64) {
            if files > 0 {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        fn interrupted(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }
    let home = Home::with_vault();
    home.write_source(&[("only", "one file")]);
    let options = Options { closing_look: true, ..Options::default() };
    let ended = backup::run(&home.access(), &home.source(), &options, &Late(AtomicBool::new(false)));
    assert_eq!(ended.unwrap_err().exit(), 130);
    assert!(names(&home.vault().join("snapshots")).is_empty());
}

#[test]
fn excluded_parts_are_not_taken_and_are_counted() {
    let home = Home::with_vault();
    home.write_source(&[("keep.c", ""), ("drop.o", ""), ("target/x", ""), ("sub/target/y", ""), ("sub/drop.o", "")]);
    let exclude = vec!["*.o".into(), "/target/".into()];
    let report = home.try_backup(&Options { exclude, ..Options::default() }).unwrap();
    assert_eq!((report.counts.files, report.excluded()), (2, 3));
    home.restore("1", "restored").unwrap();
    assert!(home.path("restored/sub/target/y").exists() && !home.path("restored/target").exists());
}
