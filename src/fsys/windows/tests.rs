//! The contract of this platform, tried on the file system of temporary files.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::offset_of;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_OFFLINE, FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS,
    FILE_ATTRIBUTE_RECALL_ON_OPEN, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FULL_DIR_INFO,
};

use super::dir::Dir;
use super::link::{junction_data, link_target};
use super::listing::{collect_names, u16_at};
use super::name::{component, decode, encode};
use super::nature::{Nature, TAG_MOUNT_POINT, TAG_SYMLINK, fold_id};
use super::private::{is_private, write_private};
use super::time::{ticks_of, time_of};
use super::{open_plain, rename_no_replace, stat_file, sync_directory, sync_filesystem};
use crate::clock::Time;
use crate::fsys::ObjectKind;

fn fresh() -> (tempfile::TempDir, Dir) {
    let root = tempfile::tempdir().expect("a directory");
    let dir = Dir::open(root.path()).expect("just made");
    (root, dir)
}

fn write(dir: &Dir, name: &[u8], bytes: &[u8]) {
    use io::Write;
    let mut file = dir.create_file(name).expect("new");
    file.write_all(bytes).expect("room");
    file.sync_all().expect("durable");
}

fn read(dir: &Dir, name: &[u8]) -> Vec<u8> {
    use io::Read;
    let mut bytes = Vec::new();
    dir.open_file(name).expect("there").read_to_end(&mut bytes).expect("readable");
    bytes
}

fn refusal<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("refused").kind()
}

#[test]
fn creating_refuses_every_name_that_exists() {
    let (_root, dir) = fresh();
    write(&dir, b"file", b"1");
    dir.create_dir(b"directory").expect("new");
    for name in [b"file".as_slice(), b"directory", b"FILE"] {
        assert_eq!(refusal(dir.create_file(name)), ErrorKind::AlreadyExists, "{name:?}");
        assert_eq!(refusal(dir.create_dir(name)), ErrorKind::AlreadyExists, "{name:?}");
    }
    assert_eq!(read(&dir, b"file"), b"1");
}

#[test]
fn a_file_is_no_directory_and_a_directory_no_file() {
    let (root, dir) = fresh();
    write(&dir, b"file", b"1");
    dir.create_dir(b"directory").expect("new");
    assert_eq!(refusal(dir.open_dir(b"file")), ErrorKind::NotADirectory);
    assert_eq!(refusal(dir.open_file(b"directory")), ErrorKind::InvalidData);
    assert_eq!(refusal(open_plain(&root.path().join("directory"))), ErrorKind::InvalidData);
    assert_eq!(refusal(Dir::open(&root.path().join("file"))), ErrorKind::NotADirectory);
    assert_eq!(refusal(dir.open_dir(b"none")), ErrorKind::NotFound);
    assert_eq!(refusal(dir.stat_at(b"none")), ErrorKind::NotFound);
    assert!(dir.read_link(b"file").is_err());
    assert_eq!(refusal(dir.remove_file(b"directory")), ErrorKind::IsADirectory);
    assert_eq!(refusal(dir.remove_dir(b"file")), ErrorKind::NotADirectory);
    dir.remove_file(b"file").expect("a file");
    dir.remove_dir(b"directory").expect("empty");
    assert!(dir.names().expect("readable").is_empty());
}

#[test]
fn renaming_never_replaces_a_file_or_a_directory() {
    let (root, dir) = fresh();
    let path = |name: &str| root.path().join(name);
    write(&dir, b"a", b"1");
    write(&dir, b"b", b"2");
    fs::create_dir_all(path("d/x")).expect("new");
    fs::create_dir(path("e")).expect("new");
    for (from, to) in [("a", "b"), ("d", "e"), ("e", "d"), ("a", "d")] {
        assert_eq!(refusal(rename_no_replace(&path(from), &path(to))), ErrorKind::AlreadyExists, "{from} {to}");
    }
    assert_eq!((read(&dir, b"a"), read(&dir, b"b")), (b"1".to_vec(), b"2".to_vec()));
    rename_no_replace(&path("d"), &path("f")).expect("free");
    assert!(path("f/x").is_dir());
    assert_eq!(refusal(rename_no_replace(&path("none"), &path("g"))), ErrorKind::NotFound);
}

#[test]
fn renaming_over_takes_an_empty_directory_and_nothing_else() {
    let (root, dir) = fresh();
    for path in ["from/leaf", "full/x", "empty"] {
        fs::create_dir_all(root.path().join(path)).expect("new");
    }
    write(&dir, b"file", b"1");
    assert_eq!(refusal(dir.rename_over_empty(b"from", b"full")), ErrorKind::DirectoryNotEmpty);
    assert_eq!(refusal(dir.rename_over_empty(b"from", b"file")), ErrorKind::NotADirectory);
    assert_eq!(refusal(dir.rename_over_empty(b"none", b"empty")), ErrorKind::NotFound);
    assert!(root.path().join("full/x").is_dir() && root.path().join("empty").is_dir());
    dir.rename_over_empty(b"from", b"empty").expect("empty");
    assert!(root.path().join("empty/leaf").is_dir() && !root.path().join("from").exists());
    dir.rename_over_empty(b"empty", b"absent").expect("free");
    // What somebody makes between the two steps.
    write(&dir, b"other", b"2");
    let unit = |name: &[u8]| component(name).expect("a name");
    for (from, to) in [(b"other".as_slice(), b"file".as_slice()), (b"absent", b"full"), (b"full", b"absent")] {
        assert_eq!(refusal(dir.rename_new(&unit(from), &unit(to))), ErrorKind::AlreadyExists);
    }
    assert_eq!(read(&dir, b"file"), b"1");
    assert!(root.path().join("absent/leaf").is_dir());
}

#[test]
fn an_empty_directory_is_there_again_when_the_rename_fails() {
    let (root, dir) = fresh();
    fs::create_dir(root.path().join("empty")).expect("new");
    write(&dir, b"from", b"1");
    let path = root.path().join("from");
    // Open without sharing: nobody can rename it.
    let held = OpenOptions::new().read(true).share_mode(0).open(&path).expect("there");
    assert!(dir.rename_over_empty(b"from", b"empty").is_err());
    drop(held);
    assert!(root.path().join("empty").is_dir() && path.is_file());
}

#[test]
fn a_listing_of_many_buffers_is_complete() {
    let (_root, dir) = fresh();
    assert!(dir.names().expect("readable").is_empty());
    let long = "x".repeat(100);
    let mut expected: Vec<Vec<u8>> = (0..1500).map(|n| format!("{n:04}é{long}").into_bytes()).collect();
    for name in &expected {
        dir.create_file(name).expect("new");
    }
    for _ in 0..2 {
        let mut names = dir.names().expect("readable");
        names.sort_unstable();
        expected.sort_unstable();
        assert!(names == expected);
    }
}

#[test]
fn a_malformed_listing_is_an_error_and_not_a_shorter_one() {
    let entry = |next: u32, length: u32, name: &[u16]| {
        let mut bytes = vec![0; offset_of!(FILE_FULL_DIR_INFO, FileName)];
        bytes[..4].copy_from_slice(&next.to_le_bytes());
        bytes[offset_of!(FILE_FULL_DIR_INFO, FileNameLength)..][..4].copy_from_slice(&length.to_le_bytes());
        bytes.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes
    };
    let mut names = Vec::new();
    let good = [entry(72, 4, &[46, 46]), entry(0, 2, &[0xd800])].concat();
    collect_names(&good, &mut names).expect("well-formed");
    assert_eq!(names, [b"\xed\xa0\x80"]);
    for bad in [entry(0, 4, &[65]), entry(71, 2, &[65]), entry(900, 2, &[65]), entry(0, 0, &[65]), vec![0; 67]] {
        assert_eq!(refusal(collect_names(&bad, &mut names)), ErrorKind::InvalidData);
    }
}

#[test]
fn times_survive_to_100_ns() {
    let (_root, dir) = fresh();
    dir.create_dir(b"d").expect("new");
    let child = dir.open_dir(b"d").expect("there");
    let file = dir.create_file(b"f").expect("new");
    for (seconds, nanos) in [(0, 0), (1_700_000_000, 123_456_700), (-1, 999_999_900), (-86_400, 0)] {
        let time = Time { seconds, nanos };
        Dir::set_file_meta(&file, Some(0o600), Some(time)).expect("set");
        child.set_meta(None, Some(time)).expect("set");
        assert_eq!(stat_file(&file).expect("open").mtime, time);
        assert_eq!(child.stat().expect("open").mtime, time);
        assert_eq!(dir.stat_at(b"f").expect("there").mtime, time);
        assert_eq!(time_of(ticks_of(time).expect("within")), time);
    }
    // The first of all, beyond what Wine's file system holds.
    let first = Time { seconds: -11_644_473_600, nanos: 100 };
    assert_eq!((ticks_of(first), time_of(1)), (Some(1), first));
    for (seconds, nanos) in [(-11_644_473_600, 99), (i64::MIN, 0), (i64::MAX, 0)] {
        let error = Dir::set_file_meta(&file, None, Some(Time { seconds, nanos }));
        assert_eq!(refusal(error), ErrorKind::InvalidInput);
    }
    Dir::set_file_meta(&file, None, None).expect("nothing to do");
}

#[test]
fn stat_tells_objects_apart_and_counts_names() {
    let (root, dir) = fresh();
    write(&dir, b"a", b"12345");
    fs::hard_link(root.path().join("a"), root.path().join("b")).expect("new");
    write(&dir, b"c", b"");
    let [a, b, c] = [b"a", b"b", b"c"].map(|name| dir.stat_at(name).expect("there"));
    assert_eq!((a.kind, a.size, a.links, a.mode), (ObjectKind::File, 5, 2, None));
    assert_eq!(a.id, b.id);
    assert_ne!(a.id, c.id);
    assert_eq!(a.id.device, dir.stat().expect("open").id.device);
    assert_eq!(stat_file(&dir.open_file(b"a").expect("there")).expect("open").id, a.id);
    assert_eq!(fold_id(0x0001_0000_0000_0005), 0x0001_0000_0000_0005);
}

#[test]
fn the_directory_above_is_proved_and_a_root_is_its_own() {
    let (_root, dir) = fresh();
    dir.create_dir("ä b".as_bytes()).expect("new");
    let child = dir.open_dir("ä b".as_bytes()).expect("there");
    assert_eq!(child.open_parent().expect("there").stat().expect("open").id, dir.stat().expect("open").id);
    let top = Dir::open(Path::new(r"C:\")).expect("every Windows has one");
    assert_eq!(top.open_parent().expect("itself").stat().expect("open").id, top.stat().expect("open").id);
}

#[test]
fn wtf8_has_one_form_for_every_sequence_of_units() {
    let samples: [(&[u16], &[u8]); 6] = [
        (&[], b""),
        (&[0x41, 0xe9, 0x20ac], "Aé€".as_bytes()),
        (&[0xd83d, 0xde00], "\u{1f600}".as_bytes()),
        (&[0xd800], b"\xed\xa0\x80"),
        (&[0xdfff, 0xdbff, 0x41], b"\xed\xbf\xbf\xed\xaf\xbfA"),
        (&[0xd800, 0xd83d, 0xde00], b"\xed\xa0\x80\xf0\x9f\x98\x80"),
    ];
    for (units, bytes) in samples {
        assert_eq!(encode(units.iter().copied()), bytes);
        assert_eq!(decode(bytes).expect("well-formed"), units);
    }
    for unit in 0..=u16::MAX {
        assert_eq!(decode(&encode([unit])).expect("well-formed"), [unit]);
        for units in [[0xd801, unit], [unit, 0xdc01]] {
            assert_eq!(decode(&encode(units)).expect("well-formed"), units);
        }
    }
    let bad: [&[u8]; 7] =
        [b"\xff", b"\xc0\x80", b"a\xed\xa0", b"\xed\xa0\x80\xed\xb0\x80", b"\x80", b"\xf4\x90\x80\x80", b"\xe9"];
    for bytes in bad {
        assert_eq!(refusal(decode(bytes)), ErrorKind::InvalidFilename, "{bytes:x?}");
    }
}

#[test]
fn names_that_would_lead_elsewhere_are_refused() {
    let (_root, dir) = fresh();
    let long = [b'x'; 256];
    let bad: [&[u8]; 11] = [b"", b".", b"..", b"a/b", b"a\\b", b"..\\a", b"a:b", b"a\0", b"C:", b"\xff", &long];
    for name in bad {
        let kind = Some(ErrorKind::InvalidFilename);
        let all = [
            dir.create_file(name).err(),
            dir.create_dir(name).err(),
            dir.create_symlink(b"t", name).err(),
            dir.open_file(name).err(),
            dir.reopen_file(name).err(),
            dir.open_dir(name).err(),
            dir.stat_at(name).err(),
            dir.read_link(name).err(),
            dir.set_symlink_meta(name, Some(Time::default())).err(),
            dir.remove_file(name).err(),
            dir.remove_dir(name).err(),
            dir.rename_over_empty(name, b"x").err(),
            dir.rename_over_empty(b"x", name).err(),
        ];
        assert!(all.iter().all(|error| error.as_ref().map(io::Error::kind) == kind), "{name:?}: {all:?}");
    }
    assert!(dir.names().expect("readable").is_empty());
}

/// Builds what the system says of a symbolic link.
fn reparse(tag: u32, substitute: &str, print: &str) -> Vec<u8> {
    let names: Vec<u8> = print.encode_utf16().chain(substitute.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let (print, substitute) = (print.len() as u16 * 2, substitute.len() as u16 * 2);
    let mut bytes = tag.to_le_bytes().to_vec();
    for field in [names.len() as u16 + 12, 0, print, substitute, 0, print, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    [bytes, names].concat()
}

#[test]
fn a_links_target_is_what_windows_follows() {
    for (substitute, target) in [
        (r"..\a\b", r"..\a\b"),
        ("a/b", "a/b"),
        (r"\rooted", r"\rooted"),
        (r"\??\C:\a", r"C:\a"),
        (r"\??\UNC\server\share", r"\\server\share"),
        (r"\??\Volume{0}\a", r"\\?\Volume{0}\a"),
    ] {
        let data = reparse(TAG_SYMLINK, substitute, "shown");
        assert_eq!(link_target(&data).expect("well-formed"), target.as_bytes());
        assert_eq!(refusal(link_target(&data[..data.len() - 1])), ErrorKind::InvalidData);
        assert_eq!(refusal(link_target(&data[..9])), ErrorKind::InvalidData);
    }
    assert_eq!(refusal(link_target(&reparse(0xa000_001d, r"\??\C:\a", ""))), ErrorKind::InvalidInput);
    assert_eq!(refusal(link_target(b"")), ErrorKind::InvalidInput);
}

#[test]
fn the_target_of_a_junction_makes_the_same_junction() {
    for target in [r"C:\a\b", r"\\?\Volume{0}\a"] {
        let units: Vec<u16> = target.encode_utf16().collect();
        let data = junction_data(&units).expect("a target");
        assert_eq!(link_target(&data).expect("well-formed"), target.as_bytes());
        let length = u16_at(&data, 4).expect("there");
        assert_eq!(usize::from(length) + 8, data.len());
    }
}

#[test]
fn tags_that_stand_for_other_names_are_never_directories() {
    let kind = |tag, attributes| Nature { attributes, tag }.kind();
    let directory = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
    // A link of the Linux subsystem, a global reparse point.
    for tag in [0xa000_001d, 0xa000_0019] {
        assert_eq!(kind(tag, directory), ObjectKind::Other);
    }
    assert_eq!(kind(TAG_MOUNT_POINT, directory), ObjectKind::Junction);
    assert_eq!(kind(TAG_SYMLINK, directory), ObjectKind::Symlink);
    // Deduplication, a cloud folder.
    assert_eq!(kind(0x8000_0013, FILE_ATTRIBUTE_REPARSE_POINT), ObjectKind::File);
    assert_eq!(kind(0x9000_101a, directory), ObjectKind::Directory);
    // The same where the content is elsewhere, whether or not the tag shows.
    for mark in [FILE_ATTRIBUTE_OFFLINE, FILE_ATTRIBUTE_RECALL_ON_OPEN, FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS] {
        assert_eq!(kind(0x9000_101a, directory | mark), ObjectKind::Placeholder);
        assert_eq!(kind(0, mark), ObjectKind::Placeholder);
    }
}

#[test]
fn a_link_is_reported_and_never_followed() {
    let (root, dir) = fresh();
    fs::create_dir(root.path().join("real")).expect("new");
    fs::write(root.path().join("real/file"), b"1").expect("new");
    for (target, name) in [("real", "to-directory"), (r"real\file", "to-file"), ("gone", "dangling")] {
        match dir.create_symlink(target.as_bytes(), name.as_bytes()) {
            // ERROR_PRIVILEGE_NOT_HELD, or Wine, which only says that it has made one: nothing to test here.
            Err(error) if error.raw_os_error() == Some(1314) => return,
            made => made.expect("new"),
        }
        let Ok(stat) = dir.stat_at(name.as_bytes()) else { return };
        assert_eq!(stat.kind, ObjectKind::Symlink);
        assert_eq!(dir.read_link(name.as_bytes()).expect("a link"), target.as_bytes());
        let time = Time { seconds: 5, nanos: 100 };
        dir.set_symlink_meta(name.as_bytes(), Some(time)).expect("set");
        assert_eq!(dir.stat_at(name.as_bytes()).expect("there").mtime, time);
        assert_eq!(refusal(dir.open_dir(name.as_bytes())), ErrorKind::NotADirectory);
        assert_eq!(refusal(dir.open_file(name.as_bytes())), ErrorKind::InvalidData);
        assert_eq!(refusal(open_plain(&root.path().join(name))), ErrorKind::InvalidData);
        assert_eq!(refusal(dir.create_file(name.as_bytes())), ErrorKind::AlreadyExists);
    }
    assert_eq!(fs::read(root.path().join("to-directory").join("file")).expect("a link to a directory"), b"1");
    for name in [b"to-directory".as_slice(), b"to-file", b"dangling"] {
        dir.remove_file(name).expect("a link");
    }
    assert!(root.path().join("real/file").is_file());
}

#[test]
fn a_junction_is_no_directory_to_walk_into() {
    let (root, dir) = fresh();
    fs::create_dir_all(root.path().join("real/child")).expect("new");
    let command = std::process::Command::new("cmd")
        .args(["/c", "mklink", "/J"])
        .args([root.path().join("junction"), root.path().join("real")])
        .output();
    // Wine makes none.
    if !command.is_ok_and(|output| output.status.success()) || dir.stat_at(b"junction").is_err() {
        return;
    }
    assert_eq!(dir.stat_at(b"junction").expect("there").kind, ObjectKind::Junction);
    let target = dir.read_link(b"junction").expect("a junction");
    dir.create_junction(&target, b"same").expect("new");
    assert_eq!(dir.read_link(b"same").expect("a junction"), target);
    assert!(root.path().join("same/child").is_dir());
    dir.remove_file(b"same").expect("only the junction");
    assert_eq!(refusal(dir.open_dir(b"junction")), ErrorKind::NotADirectory);
    assert!(dir.remove_dir(b"junction").is_err());
    dir.remove_file(b"junction").expect("only the junction");
    assert!(root.path().join("real/child").is_dir());
}

#[test]
fn a_private_file_is_new_durable_and_private() {
    let (root, _dir) = fresh();
    let path = root.path().join("key");
    write_private(&path, b"secret").expect("new");
    assert_eq!(fs::read(&path).expect("there"), b"secret");
    assert_eq!(is_private(&open_plain(&path).expect("there")).expect("known"), Some(true));
    assert_eq!(refusal(write_private(&path, b"other")), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).expect("there"), b"secret");
}

#[test]
fn a_file_that_everyone_may_read_is_not_private() {
    let (root, dir) = fresh();
    write(&dir, b"key", b"secret");
    let path = root.path().join("key");
    // The id of everyone, in any language.
    let command = std::process::Command::new("icacls").arg(&path).args(["/grant", "*S-1-1-0:R"]).output();
    let private = is_private(&open_plain(&path).expect("there")).expect("known");
    // Wine's icacls does nothing.
    if command.is_ok_and(|output| output.status.success() && !output.stdout.is_empty()) {
        assert_ne!(private, Some(true));
    }
}

#[test]
fn what_is_written_through_handles_can_be_made_durable() {
    let (root, dir) = fresh();
    write(&dir, b"f", b"1");
    dir.sync().expect("durable");
    sync_directory(root.path()).expect("durable");
    assert!(!sync_filesystem(&dir).expect("an answer"));
    assert!(dir.is_writable());
    use io::Write;
    dir.reopen_file(b"f").expect("there").write_all(b"2").expect("room");
    assert_eq!(read(&dir, b"f"), b"2");
    assert_eq!(refusal(sync_directory(&root.path().join("none"))), ErrorKind::NotFound);
}

#[test]
fn paths_longer_than_260_units_work() {
    let (root, _dir) = fresh();
    let mut path = root.path().to_owned();
    for _ in 0..4 {
        path.push("d".repeat(100));
        fs::create_dir(&path).expect("std knows long paths");
    }
    write_private(&path.join("a"), b"1").expect("new");
    rename_no_replace(&path.join("a"), &path.join("b")).expect("free");
    open_plain(&path.join("b")).expect("there");
    sync_directory(&path).expect("durable");
    match Dir::open(&path).expect("there").open_parent() {
        // Wine knows no final paths of that length: ERROR_MORE_DATA.
        Err(error) if error.raw_os_error() == Some(234) => {}
        above => _ = above.expect("there"),
    }
}
