//! Restoring: exact, or refused before the first byte; never into anything that holds something.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use devvault::chunk::Cutter;
use devvault::format::config::Parameters;
use devvault::incident::journal::Journal;
use devvault::ops::verify::Verdict;
use devvault::ops::{backup, init, restore, verify};
use devvault::progress::{Phase, Progress, Silent};
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{
    Home, SMALL_TREE, assert_refused, copy_tree, fingerprint, noise, picture, skip, small, write_tree,
};

/// What lies beside the vault, so that a refused restore can be shown to have written nothing.
fn nothing_new(home: &Home, act: impl FnOnce()) {
    let names = || {
        let mut names: Vec<_> = fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (names, fingerprint(&home.vault()))
    };
    let before = names();
    act();
    assert_eq!(names(), before, "something was written");
}

#[test]
fn restore_refuses_a_destination_with_one_hidden_file() {
    let home = Home::with_snapshot();
    fs::create_dir(home.path("full")).unwrap();
    fs::write(home.path("full/.hidden"), "mine").unwrap();
    nothing_new(&home, || {
        assert_refused(Code::DestinationNotEmpty, home.restore("1", "full"));
    });
    assert_eq!(fs::read_to_string(home.path("full/.hidden")).unwrap(), "mine");
}

#[test]
fn restore_takes_an_empty_directory_and_an_absent_one() {
    let home = Home::with_snapshot();
    fs::create_dir(home.path("empty")).unwrap();
    let report = home.restore("1", "empty").unwrap();
    assert!(report.notes.iter().any(|note| note.contains("empty destination was replaced")));
    assert_eq!(picture(&home.path("empty")), picture(&home.source()));
    home.restore("1", "absent").unwrap();
    assert_eq!(picture(&home.path("absent")), picture(&home.source()));
}

#[test]
fn a_file_of_more_pieces_than_are_planned_at_once_comes_back() {
    let home = Home::new();
    let [min, avg, max] = [1 << 6, 1 << 8, 1 << 10];
    let parameters = Parameters { chunk_bytes_avg: avg, chunk_bytes_max: max, chunk_bytes_min: min, ..small() };
    init::run(&home.access(), parameters).unwrap();
    fs::create_dir(home.source()).unwrap();
    // The same bytes over and over: they are stored once, and are as many pieces as any others.
    let content = noise(1 << 16, 1).repeat(2_800);
    assert!(Cutter::new([min, avg, max]).lengths(&content).len() > 400_000);
    fs::write(home.source().join("large"), &content).unwrap();
    fs::write(home.source().join("small"), "behind it").unwrap();
    home.backup();
    home.restore("1", "restored").unwrap();
    assert!(fs::read(home.path("restored/large")).unwrap() == content);
    assert_eq!(fs::read_to_string(home.path("restored/small")).unwrap(), "behind it");
}

#[test]
fn a_vault_of_the_smallest_and_of_the_largest_parameters_keeps_a_tree() {
    let smallest = Parameters {
        block_bytes: 1 << 12,
        chunk_bytes_avg: 1 << 8,
        chunk_bytes_max: 1 << 10,
        chunk_bytes_min: 1 << 6,
        pack_bytes: 1 << 12,
        segment_entries: 1,
        segment_list: 1,
    };
    let largest = Parameters {
        block_bytes: 8 << 20,
        chunk_bytes_avg: 4 << 20,
        chunk_bytes_max: 8 << 20,
        chunk_bytes_min: 1 << 20,
        pack_bytes: 512 << 20,
        segment_entries: 512,
        segment_list: 2048,
    };
    for parameters in [smallest, largest] {
        let home = Home::new();
        init::run(&home.access(), parameters).unwrap();
        home.write_source(&SMALL_TREE);
        fs::write(home.source().join("noise"), noise(300_000, 2)).unwrap();
        home.backup();
        fs::write(home.source().join("noise"), noise(300_000, 3)).unwrap();
        home.backup();
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
        home.restore("2", "restored").unwrap();
        assert_eq!(picture(&home.path("restored")), picture(&home.source()));
    }
}

#[test]
fn a_restore_says_of_which_source_and_time_it_is() {
    let home = Home::with_snapshot();
    let other = home.path("other \u{e9}");
    write_tree(&other, &[("file", "x")]);
    backup::run(&home.access_after(60), &other, &backup::Options::default(), &Silent).unwrap();
    for (place, source, seconds) in [("latest", &other, 60), ("1", &home.source(), 0)] {
        let destination = format!("restored {place}");
        let (exit, document) = home.json(&["restore", place, &destination]);
        let path = fs::canonicalize(source).unwrap();
        let path = path.to_str().unwrap();
        let time = home.access_after(seconds).clock.now().rfc3339();
        let (host, wanted) = (document["host"].as_str().unwrap(), Some(path));
        assert_eq!((exit, document["source"].as_str(), document["time"].as_str()), (0, wanted, Some(&*time)));
        let entry = Journal::of(&home.host()).entries().unwrap().pop().unwrap();
        assert_eq!((&*entry.act, entry.text("source_host"), entry.text("time")), ("restore", host, &*time));
        assert_eq!(entry.text("source"), devvault::path::shown(path.as_bytes()));
        fs::remove_dir_all(home.path(&destination)).unwrap();
        let text = String::from_utf8(home.run(&["restore", place, &destination]).stdout).unwrap();
        let line = format!("  of {} on {host}, as it was {time}", devvault::path::shown(path.as_bytes()));
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[test]
fn restore_refuses_what_is_not_a_plain_directory() {
    let home = Home::with_snapshot();
    fs::write(home.path("file"), "mine").unwrap();
    nothing_new(&home, || {
        assert_refused(Code::DestinationNotPlain, home.restore("1", "file"));
    });
    #[cfg(unix)]
    {
        fs::create_dir(home.path("empty")).unwrap();
        std::os::unix::fs::symlink("empty", home.path("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", home.path("dangling")).unwrap();
        for name in ["link", "dangling"] {
            nothing_new(&home, || {
                assert_refused(Code::DestinationNotPlain, home.restore("1", name));
            });
        }
        assert_eq!(fs::read_dir(home.path("empty")).unwrap().count(), 0);
    }
}

/// Adds up what is done in each phase that says how much there is to do: files and bytes, expected and done.
#[derive(Default)]
struct Sums(Mutex<Vec<[Option<u64>; 2]>>, Mutex<Vec<[u64; 2]>>);

impl Progress for Sums {
    fn phase(&self, _: Phase, files: Option<u64>, bytes: Option<u64>) {
        self.0.lock().unwrap().push([files, bytes]);
        self.1.lock().unwrap().push([0, 0]);
    }
    fn advance(&self, files: u64, bytes: u64) {
        let mut done = self.1.lock().unwrap();
        let [all_files, all_bytes] = done.last_mut().unwrap();
        *all_files += files;
        *all_bytes += bytes;
    }
}

#[test]
fn what_is_told_of_progress_adds_up_to_what_there_was_to_do() {
    let home = Home::with_vault();
    let large: String = noise(100_000, 1).iter().map(|byte| format!("{byte:02x}")).collect();
    home.write_source(&[
        ("empty", ""),
        ("small", "a few bytes"),
        ("large", &large),
        ("copy", &large),
        ("below/x", "y"),
    ]);
    home.backup();
    let sums = Sums::default();
    let place = home.path("restored");
    restore::run(&home.access(), &"1".parse().unwrap(), &place, &crate::support::restore_options(), &sums).unwrap();
    verify::run(&home.access(), &[], verify::Level::Full, &sums).unwrap();
    let (expected, done) = (sums.0.into_inner().unwrap(), sums.1.into_inner().unwrap());
    let mut told = 0;
    for (expected, done) in expected.iter().zip(&done) {
        for (expected, done) in expected.iter().zip(done) {
            let Some(expected) = expected else { continue };
            assert_eq!(expected, done);
            told += 1;
        }
    }
    assert!(told >= 5, "{expected:?}");
}

#[test]
fn restore_refuses_to_overlap_a_vault_or_what_is_devvaults_own() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("other"));
    nothing_new(&home, || {
        for place in [
            "vault/packs/restored",
            "vault/restored",
            "other/restored",
            "other/packs/restored",
            "config/restored",
            "config/keys/restored",
            "state/restored",
        ] {
            assert_refused(Code::DestinationOverlaps, home.restore("1", place));
        }
    });
    // Neither where devvault's own would be, nor above it.
    let host = devvault::host::Host::new(home.path("absent/config"), home.path("state"), home.path("data"));
    let access = Access { host, key_file: Some(home.key()), ..home.access() };
    let selection = "1".parse().unwrap();
    let options = crate::support::restore_options();
    let restored = restore::run(&access, &selection, &home.path("absent"), &options, &Silent);
    assert_refused(Code::DestinationOverlaps, restored);
    assert!(!home.path("absent").exists());
    // A file that has the name of a vault's, in a project, is no vault.
    fs::create_dir_all(home.path("project/packs")).unwrap();
    fs::write(home.path("project/vault.json"), "{}").unwrap();
    home.restore("1", "project/restored").unwrap();
}

#[test]
fn restore_refuses_where_the_parent_is_missing() {
    let home = Home::with_snapshot();
    nothing_new(&home, || {
        assert_refused(Code::DestinationParent, home.restore("1", "no/such/place"));
    });
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn restore_refuses_a_mount_point_and_a_full_target() {
    // In a private mount namespace, which needs root.
    let script = r#"mount -t tmpfs -o "$1" none "$2" && shift 2 && "$@""#;
    let run = |home: &Home, options: &str, destination: &str| {
        let program = home.program();
        let mut command = std::process::Command::new("unshare");
        command.arg("-m").args(["sh", "-c", script, "sh", options]).arg(home.path("mount")).arg(program.get_program());
        for (name, value) in program.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.arg("--vault").arg(home.vault()).args(["--json", "restore", "latest"]).arg(home.path(destination));
        let output = command.output().ok()?;
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    };
    let home = Home::with_vault();
    home.write_source(&[("a", "small")]);
    fs::write(home.source().join("large"), noise(3 << 20, 7)).unwrap();
    home.backup();
    fs::create_dir(home.path("mount")).unwrap();
    let Some(document) = run(&home, "size=1m", "mount") else {
        skip("this user may not mount");
        return;
    };
    assert_eq!(document["code"], "DV205", "{document}");
    assert_eq!(Code::parse("DV205"), Some(Code::DestinationIsMount));
    let document = run(&home, "size=1m", "mount/below").unwrap();
    assert_eq!(document["code"], "DV207", "{document}");
    assert!(document["message"].as_str().unwrap().contains("bytes free"), "{document}");
    // Room for bytes and none for files: too little to try anything, and enough to try but not for all.
    for file in 0..60 {
        fs::write(home.source().join(format!("{file}")), "").unwrap();
    }
    home.backup();
    for (files, said) in [(10, "needed to try"), (55, "more files and directories")] {
        let document = run(&home, &format!("size=64m,nr_inodes={files}"), "mount/below").unwrap();
        assert_eq!(document["code"], "DV207", "{document}");
        assert!(document["message"].as_str().unwrap().contains(said), "{document}");
    }
    assert_eq!(Code::parse("DV207"), Some(Code::DestinationSpace));
}

// Linux alone: a file system in memory at a known place.
#[cfg(target_os = "linux")]
#[test]
fn the_medium_is_named_only_where_memory_was_dropped() {
    let home = Home::with_snapshot();
    let options = restore::Options { from_medium: true, ..Default::default() };
    let run = |destination: &Path| restore::run(&home.access(), &"1".parse().unwrap(), destination, &options, &Silent);
    let memory = Path::new("/dev/shm");
    let Ok(place) = tempfile::Builder::new().prefix("devvault-test-").tempdir_in(memory) else {
        skip(&format!("no file system in memory at {}", memory.display()));
        return;
    };
    let report = run(&place.path().join("restored")).unwrap();
    assert_eq!(report.compared_from, "page cache");
    assert!(report.notes.iter().any(|note| note.contains("what it holds in memory")), "{:?}", report.notes);
}

#[test]
fn what_went_well_is_not_noted() {
    let home = Home::with_vault();
    home.write_source(&[("directory/", ""), ("empty", "")]);
    home.backup();
    home.write_source(&[("full", "x")]);
    home.backup();
    let report = home.restore("2", "restored").unwrap();
    assert_eq!((report.compared_from, &report.notes[..]), ("page cache", [].as_slice()));
    // Where no file has a byte none can have been read from memory.
    let options = restore::Options { from_medium: true, ..crate::support::restore_options() };
    let (place, to) = ("1".parse().unwrap(), home.path("from-medium"));
    let report = restore::run(&home.access(), &place, &to, &options, &Silent).unwrap();
    assert_eq!((report.compared_from, &report.notes[..]), ("medium", [].as_slice()));
}

#[test]
fn a_part_of_a_snapshot_restores_alone() {
    let home = Home::with_snapshot();
    #[cfg(unix)]
    {
        home.write_source(&[("src/link", "->main.rs")]);
        home.backup();
        home.restore("2:src/link", "link").unwrap();
        assert_eq!(fs::read_link(home.path("link/link")).unwrap(), Path::new("main.rs"));
    }
    let report = home.restore("1:src/deep", "part").unwrap();
    assert_eq!((report.counts.files, report.counts.directories), (1, 2));
    assert_eq!(fs::read_to_string(home.path("part/er/file")).unwrap(), "deep\n");
    let report = home.restore("1:src/main.rs", "one").unwrap();
    assert_eq!((report.counts.files, report.counts.directories), (1, 0));
    assert_eq!(fs::read_dir(home.path("one")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(home.path("one/main.rs")).unwrap(), "fn main() {}\n");
    nothing_new(&home, || {
        for missing in ["1:nowhere", "1:src/main", "1:src/main.rs/x", "1:sr"] {
            assert_refused(Code::SelectionEmpty, home.restore(missing, "none"));
        }
    });
}

// Unix alone: modes and links.
#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn set_time(path: &Path, seconds: i64, nanos: u32) {
        let magnitude = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { UNIX_EPOCH - magnitude } else { UNIX_EPOCH + magnitude };
        fs::File::open(path).unwrap().set_modified(time + Duration::from_nanos(nanos.into())).unwrap();
    }

    #[test]
    fn modes_and_times_of_every_kind_come_back() {
        let home = Home::with_vault();
        home.write_source(&[
            ("old", "x"),
            ("none", "x"),
            ("all", "x"),
            ("sealed/inside", "y"),
            ("sealed/deeper/z", "z"),
            ("sticky/", ""),
        ]);
        let source = home.source();
        for (name, seconds, nanos) in
            [("all", -1_000_000_000, 123_456_789), ("old", 4_000_000_000, 1), ("sealed/inside", 0, 999_999_999)]
        {
            set_time(&source.join(name), seconds, nanos);
        }
        for (name, mode) in
            [("none", 0o400), ("all", 0o777), ("sealed/deeper", 0o555), ("sealed", 0o500), ("sticky", 0o1777)]
        {
            set_mode(&source.join(name), mode);
        }
        set_time(&source, 1_234_567_890, 42);
        home.backup();
        home.restore("1", "restored").unwrap();
        assert_eq!(picture(&home.path("restored")), picture(&source));
        // Or the home could not be removed by a normal user.
        for root in [source, home.path("restored")] {
            set_mode(&root.join("sealed"), 0o700);
            set_mode(&root.join("sealed/deeper"), 0o700);
        }
    }

    // Linux alone: a user who is not the superuser.
    #[cfg(target_os = "linux")]
    #[test]
    fn modes_that_keep_the_owner_from_reading_come_back_for_a_normal_user() {
        let home = Home::with_vault();
        home.write_source(&[("none", "a"), ("write", "b"), ("shut/in/side", "c"), ("blind/file", "d"), ("z", "e")]);
        fs::hard_link(home.source().join("write"), home.source().join("write-too")).unwrap();
        home.backup();
        // Who cannot read a file cannot back it up either: the modes come from a listing.
        let (number, listing) = crate::support::Forger::new(&home).relist(|entry| {
            entry.mode = Some(match &entry.path.to_string()[..] {
                "none" | "shut" => 0,
                "write" | "write-too" => 0o200,
                "shut/in" => 0o100,
                "blind" => 0o311,
                "shut/in/side" => 0o007,
                _ => 0o755,
            });
        });
        let destination = home.path("restored");
        let number = number.to_string();
        let arguments = ["restore", &number, destination.to_str().unwrap()];
        let Some((status, document)) = home.json_as_user(&arguments) else { return };
        assert_eq!((status, &document["verified"]), (0, &true.into()), "{document}");
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
        // From the top, each opened for the test once it was looked at.
        for entry in listing {
            let path = destination.join(entry.path.to_string());
            // A further name is of an object that was looked at.
            let meant = if entry.hardlink.is_some() { Some(0o700) } else { entry.mode };
            assert_eq!(Some(mode(&path)), meant, "{}", entry.path);
            set_mode(&path, 0o700);
        }
    }

    #[test]
    fn names_of_any_bytes_and_links_to_anywhere_come_back() {
        let home = Home::with_vault();
        home.write_source(&[("plain", "x"), ("with\nnewline", "x"), (" spaced ", "x"), ("-rf", "x"), ("a\\b", "x")]);
        let long = "l".repeat(255);
        for name in [&b"bad\xff\xfeutf8"[..], b"\x01\x1b[31m", long.as_bytes(), "é".as_bytes(), "e\u{301}".as_bytes()]
        {
            fs::write(home.source().join(OsStr::from_bytes(name)), name).unwrap();
        }
        for (name, target) in
            [("up", &b"../../.."[..]), ("absolute", b"/etc/passwd"), ("odd", b"\xff \n"), ("self", b"self")]
        {
            std::os::unix::fs::symlink(OsStr::from_bytes(target), home.source().join(name)).unwrap();
        }
        home.backup();
        home.restore("1", "restored").unwrap();
        assert_eq!(picture(&home.path("restored")), picture(&home.source()));
    }

    #[test]
    fn a_tree_deeper_than_any_path_comes_back() {
        let home = Home::with_vault();
        fs::create_dir(home.source()).unwrap();
        let name = [b'd'; 60];
        let mut dir = devvault::fsys::Dir::open(&home.source()).unwrap();
        for _ in 0..200 {
            dir.create_dir(&name).unwrap();
            dir = dir.open_dir(&name).unwrap();
        }
        std::io::Write::write_all(&mut dir.create_file(b"leaf").unwrap(), b"at the bottom").unwrap();
        let report = home.backup();
        assert_eq!((report.counts.directories, report.counts.files), (201, 1));
        let restored = home.restore("1", "restored").unwrap();
        assert_eq!(restored.counts, report.counts);
        let mut dir = devvault::fsys::Dir::open(&home.path("restored")).unwrap();
        for _ in 0..200 {
            dir = dir.open_dir(&name).unwrap();
        }
        assert_eq!(dir.stat_at(b"leaf").unwrap().size, 13);
    }
}
