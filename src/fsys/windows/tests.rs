//! What only this platform has, tried on the file system of temporary files; what all platforms promise alike is tried in
//! `contract.rs`.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::offset_of;
use std::os::windows::fs::OpenOptionsExt;

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
use super::{open_plain, rename_no_replace, sync_directory};
use crate::clock::Time;
use crate::fsys::ObjectKind;
use crate::fsys::contract::{fresh, read, refusal, write};

#[test]
fn names_that_differ_in_case_alone_are_one() {
    let (_root, dir) = fresh();
    write(&dir, b"file", b"1");
    assert_eq!(refusal(dir.create_file(b"FILE")), ErrorKind::AlreadyExists);
    assert_eq!(refusal(dir.create_dir(b"File")), ErrorKind::AlreadyExists);
    assert_eq!(read(&dir, b"FILE"), b"1");
}

#[test]
fn what_somebody_makes_between_the_two_steps_of_a_rename_stays() {
    let (root, dir) = fresh();
    fs::create_dir_all(root.path().join("full/x")).expect("new");
    fs::create_dir_all(root.path().join("other/leaf")).expect("new");
    write(&dir, b"file", b"1");
    write(&dir, b"new", b"2");
    let unit = |name: &[u8]| component(name).expect("a name");
    for (from, to) in [(b"new".as_slice(), b"file".as_slice()), (b"other", b"full"), (b"full", b"other")] {
        assert_eq!(refusal(dir.rename_new(&unit(from), &unit(to))), ErrorKind::AlreadyExists);
    }
    assert_eq!(read(&dir, b"file"), b"1");
    assert!(root.path().join("full/x").is_dir() && root.path().join("other/leaf").is_dir());
    assert_eq!(refusal(dir.remove_file(b"full")), ErrorKind::IsADirectory);
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
fn times_reach_from_1601_in_steps_of_100_ns_and_none_beyond_is_set() {
    let (_root, dir) = fresh();
    let file = dir.create_file(b"f").expect("new");
    for (seconds, nanos) in [(0, 0), (1_700_000_000, 123_456_700), (-1, 999_999_900), (-86_400, 0)] {
        let time = Time { seconds, nanos };
        assert_eq!(time_of(ticks_of(time).expect("within")), time);
    }
    // The first of all, beyond what Wine's file system holds.
    let first = Time { seconds: -11_644_473_600, nanos: 100 };
    assert_eq!((ticks_of(first), time_of(1)), (Some(1), first));
    for (seconds, nanos) in [(-11_644_473_600, 99), (i64::MIN, 0), (i64::MAX, 0)] {
        let error = Dir::set_file_meta(&file, None, Some(Time { seconds, nanos }));
        assert_eq!(refusal(error), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_short_identity_is_its_own_fold_and_modes_are_not_known() {
    let (_root, dir) = fresh();
    write(&dir, b"a", b"1");
    assert_eq!(dir.stat_at(b"a").expect("there").mode, None);
    assert_eq!(fold_id(0x0001_0000_0000_0005), 0x0001_0000_0000_0005);
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
