//! What every platform's files promise alike: one test for all of them, on the file system of temporary files. What only
//! one of them has is tested beside it.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use super::{Dir, Object, ObjectKind};
use crate::clock::Time;

pub(super) fn fresh() -> (tempfile::TempDir, Dir) {
    let root = tempfile::tempdir().expect("a directory");
    let dir = Dir::open(root.path()).expect("just made");
    (root, dir)
}

pub(super) fn write(dir: &Dir, name: &[u8], bytes: &[u8]) {
    let mut file = dir.create_file(name).expect("new");
    file.write_all(bytes).expect("room");
    super::sync_file(&file).expect("durable");
}

pub(super) fn read(dir: &Dir, name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    dir.open_file(name).expect("there").read_to_end(&mut bytes).expect("readable");
    bytes
}

pub(super) fn refusal<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("refused").kind()
}

#[test]
fn creating_refuses_every_name_that_exists() {
    let (_root, dir) = fresh();
    write(&dir, b"file", b"1");
    dir.create_dir(b"directory").expect("new");
    for name in [b"file".as_slice(), b"directory"] {
        assert_eq!(refusal(dir.create_file(name)), ErrorKind::AlreadyExists, "{name:?}");
        assert_eq!(refusal(dir.create_dir(name)), ErrorKind::AlreadyExists, "{name:?}");
        assert_eq!(refusal(dir.create_link(b"file", &dir, name)), ErrorKind::AlreadyExists, "{name:?}");
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
    assert_eq!(refusal(super::open_plain(&root.path().join("directory"))), ErrorKind::InvalidData);
    assert_eq!(refusal(Dir::open(&root.path().join("file"))), ErrorKind::NotADirectory);
    for error in [dir.open_dir(b"none").err(), dir.open_file(b"none").err(), dir.stat_at(b"none").err()] {
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::NotFound));
    }
    assert!(dir.read_link(b"file").is_err());
    assert!(dir.remove_file(b"directory").is_err(), "macOS calls it another error than Linux and Windows");
    assert_eq!(refusal(dir.remove_dir(b"file")), ErrorKind::NotADirectory);
    dir.remove_file(b"file").expect("a file");
    dir.remove_dir(b"directory").expect("empty");
    assert!(dir.names().expect("readable").is_empty());
}

#[test]
fn renaming_by_path_never_replaces_anything() {
    let (root, dir) = fresh();
    let path = |name: &str| root.path().join(name);
    write(&dir, b"a", b"1");
    write(&dir, b"b", b"2");
    fs::create_dir_all(path("d/x")).expect("new");
    fs::create_dir(path("e")).expect("new");
    for (from, to) in [("a", "b"), ("d", "e"), ("e", "d"), ("a", "d")] {
        assert_eq!(refusal(super::rename_no_replace(&path(from), &path(to))), ErrorKind::AlreadyExists, "{from} {to}");
        assert!(!super::rename_exclusively(&path(from), &path(to)).unwrap_or(false), "{from} {to}");
    }
    assert_eq!((read(&dir, b"a"), read(&dir, b"b")), (b"1".to_vec(), b"2".to_vec()));
    super::rename_no_replace(&path("d"), &path("f")).expect("free");
    assert!(path("f/x").is_dir() && !path("d").exists());
    assert_eq!(refusal(super::rename_no_replace(&path("none"), &path("g"))), ErrorKind::NotFound);
}

#[test]
fn renaming_over_a_file_leaves_the_new_one_whole() {
    let (root, dir) = fresh();
    let path = |name: &str| root.path().join(name);
    write(&dir, b"new", b"2");
    super::rename_over(&path("new"), &path("absent")).expect("free");
    write(&dir, b"old", b"1");
    super::rename_over(&path("absent"), &path("old")).expect("a file may be replaced");
    assert_eq!((dir.names().expect("readable"), read(&dir, b"old")), (vec![b"old".to_vec()], b"2".to_vec()));
    fs::create_dir(path("directory")).expect("new");
    assert!(super::rename_over(&path("old"), &path("directory")).is_err());
    assert_eq!(refusal(super::rename_over(&path("none"), &path("old"))), ErrorKind::NotFound);
    assert_eq!(read(&dir, b"old"), b"2");
}

#[test]
fn renaming_over_takes_an_empty_directory_and_nothing_else() {
    let (root, dir) = fresh();
    for path in ["from/leaf", "full/x", "empty"] {
        fs::create_dir_all(root.path().join(path)).expect("new");
    }
    write(&dir, b"file", b"1");
    let onto_full = refusal(dir.rename_over_empty(b"from", b"full"));
    assert!([ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists].contains(&onto_full), "{onto_full}");
    assert_eq!(refusal(dir.rename_over_empty(b"from", b"file")), ErrorKind::NotADirectory);
    assert_eq!(refusal(dir.rename_over_empty(b"none", b"empty")), ErrorKind::NotFound);
    assert!(root.path().join("full/x").is_dir() && root.path().join("empty").is_dir());
    dir.rename_over_empty(b"from", b"empty").expect("empty");
    assert!(root.path().join("empty/leaf").is_dir() && !root.path().join("from").exists());
    dir.rename_over_empty(b"empty", b"absent").expect("free");
    assert!(root.path().join("absent/leaf").is_dir());
    assert_eq!(read(&dir, b"file"), b"1");
}

#[test]
fn a_listing_of_many_buffers_is_complete_each_time() {
    let (_root, dir) = fresh();
    assert!(dir.names().expect("readable").is_empty());
    let long = "x".repeat(100);
    let mut expected: Vec<Vec<u8>> = (0..1500).map(|n| format!("{n:04}\u{e9}{long}").into_bytes()).collect();
    for name in &expected {
        dir.create_file(name).expect("new");
    }
    expected.sort_unstable();
    for _ in 0..2 {
        let mut names = dir.names().expect("readable");
        names.sort_unstable();
        assert!(names == expected);
    }
}

#[test]
fn times_that_are_set_come_back() {
    let (_root, dir) = fresh();
    dir.create_dir(b"d").expect("new");
    let child = dir.open_dir(b"d").expect("there");
    let file = dir.create_file(b"f").expect("new");
    for (seconds, nanos) in [(0, 0), (1_700_000_000, 123_456_700), (-1, 999_999_900), (-86_400, 0)] {
        let time = Time { seconds, nanos };
        Dir::set_file_meta(&file, Some(0o600), Some(time)).expect("set");
        child.set_meta(None, Some(time)).expect("set");
        let found = [super::stat_file(&file), child.stat(), dir.stat_at(b"f"), Object::Directory(&child).stat()];
        for stat in found {
            assert!(super::same_time(time, stat.expect("there").mtime), "{time:?}");
        }
        let other = Time { seconds: seconds + 1, nanos };
        Object::Name(&dir, b"f").set_times(Some(other), None).expect("set");
        assert!(super::same_time(other, dir.stat_at(b"f").expect("there").mtime) && !super::same_time(time, other));
    }
    assert!(!super::same_time(Time { seconds: 1, nanos: 0 }, Time { seconds: 1, nanos: super::TIME_STEP_NANOS }));
    let before = super::stat_file(&file).expect("open").mtime;
    Dir::set_file_meta(&file, Some(0o600), None).expect("nothing to do");
    assert_eq!(super::stat_file(&file).expect("open").mtime, before);
}

#[test]
fn stat_tells_objects_apart_and_counts_names() {
    let (_root, dir) = fresh();
    write(&dir, b"a", b"12345");
    dir.create_link(b"a", &dir, b"b").expect("new");
    write(&dir, b"c", b"");
    let [a, b, c] = [b"a", b"b", b"c"].map(|name| dir.stat_at(name).expect("there"));
    assert_eq!((a.kind, a.size, a.links, c.links), (ObjectKind::File, 5, 2, 1));
    assert_eq!(a.id, b.id);
    assert_ne!(a.id, c.id);
    let own = dir.stat().expect("open");
    assert_eq!((own.kind, own.id.device), (ObjectKind::Directory, a.id.device));
    assert_eq!(super::stat_file(&dir.open_file(b"a").expect("there")).expect("open").id, a.id);
    assert_eq!(Object::Name(&dir, b"b").stat().expect("there").id, a.id);
}

#[test]
fn the_directory_above_is_found_and_a_root_is_its_own() {
    let (_root, dir) = fresh();
    dir.create_dir("\u{e4} b".as_bytes()).expect("new");
    let child = dir.open_dir("\u{e4} b".as_bytes()).expect("there");
    let id = |dir: &Dir| dir.stat().expect("open").id;
    assert_eq!(id(&child.open_parent().expect("there")), id(&dir));
    let mut top = child;
    for _ in 0..64 {
        let above = top.open_parent().expect("there, or itself");
        if id(&above) == id(&top) {
            return;
        }
        top = above;
    }
    panic!("there is no root");
}

#[test]
fn no_name_leads_out_of_its_directory_into_a_file_or_replaces_one() {
    let (root, dir) = fresh();
    dir.create_dir(b"d").expect("new");
    let inner = dir.open_dir(b"d").expect("there");
    for name in [b"".as_slice(), b".", b"..", b"a\0", &[b'x'; 256]] {
        let all = [
            inner.create_file(name).err(),
            inner.create_dir(name).err(),
            inner.open_file(name).err(),
            inner.reopen_file(name).err(),
            inner.remove_file(name).err(),
            inner.remove_dir(name).err(),
            inner.rename_over_empty(name, b"x").err(),
        ];
        assert!(all.iter().all(Option::is_some), "{name:?}: {all:?}");
    }
    assert!(inner.names().expect("readable").is_empty() && root.path().join("d").is_dir());
}

#[test]
fn what_is_written_can_be_made_durable_in_every_way() {
    let (root, dir) = fresh();
    let mut file = dir.create_file(b"f").expect("new");
    file.write_all(b"abc").expect("room");
    super::write_ahead(&file);
    super::sync_file(&file).expect("durable");
    let mut again = dir.reopen_file(b"f").expect("there");
    again.write_all(b"x").expect("room");
    super::sync_file(&again).expect("durable");
    dir.sync().expect("durable");
    super::sync_directory(root.path()).expect("durable");
    assert_eq!(super::sync_filesystem(&dir).is_ok(), super::syncs_filesystem(&dir));
    assert!(super::sync_directory(&root.path().join("none")).is_err());
    let _ = super::drop_cached(&again);
    assert_eq!(read(&dir, b"f"), b"xbc");
}

#[test]
fn a_private_file_is_new_and_whole_and_its_readers_can_be_told() {
    let (root, _dir) = fresh();
    let path = root.path().join("key");
    super::write_private(&path, b"secret").expect("new");
    assert_eq!(refusal(super::write_private(&path, b"other")), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).expect("there"), b"secret");
    let file = super::open_plain(&path).expect("there");
    assert_ne!(super::is_private(&file).expect("known"), Some(false));
    let _ = super::keeps_modes(&path);
    let mut other = super::new_private(&root.path().join("new")).expect("new");
    other.write_all(b"1").and_then(|()| super::sync_file(&other)).expect("durable");
    assert_eq!(refusal(super::new_private(&path)), ErrorKind::AlreadyExists);
    super::create_private_directory(&root.path().join("d")).expect("new");
    assert_eq!(refusal(super::create_private_directory(&root.path().join("d"))), ErrorKind::AlreadyExists);
    super::let_others_read(&root.path().join("new")).expect("ours");
    assert_eq!(fs::read(root.path().join("new")).expect("there"), b"1");
}

#[test]
fn a_lock_file_is_made_once_and_never_emptied() {
    let (root, _dir) = fresh();
    let path = root.path().join("lock");
    super::open_lock(&path).expect("new").write_all(b"held").expect("room");
    drop(super::open_lock(&path).expect("there"));
    assert_eq!(fs::read(&path).expect("there"), b"held");
}

#[test]
fn a_file_is_read_at_a_place_wholly_or_not() {
    let (_root, dir) = fresh();
    write(&dir, b"f", b"0123456789");
    let file = dir.open_file(b"f").expect("there");
    let mut four = [0; 4];
    super::read_exact_at(&file, &mut four, 3).expect("within");
    assert_eq!(&four, b"3456");
    super::read_exact_at(&file, &mut [], 10).expect("nothing");
    assert_eq!(refusal(super::read_exact_at(&file, &mut four, 7)), ErrorKind::UnexpectedEof);
}

#[test]
fn holes_lie_within_the_file_and_hold_zeros() {
    let (_root, dir) = fresh();
    let mut file = dir.create_file(b"f").expect("new");
    super::allow_holes(&file).expect("allowed, or the file stays dense");
    file.set_len(8 << 20).expect("room");
    file.write_all(b"begin").expect("room");
    super::sync_file(&file).expect("durable");
    let holes = super::holes(&file, 8 << 20).expect("told, or none");
    let mut at = 5;
    for (offset, length) in holes {
        assert!(offset >= at && length > 0 && offset + length <= 8 << 20, "{offset} {length}");
        at = offset + length;
    }
    assert!(super::takes_size(&file, 1 << 20).expect("known"));
    assert!(!super::takes_size(&file, i64::MAX as u64 + 1).expect("known"), "no system counts as far");
    assert_eq!(super::stat_file(&file).expect("open").size, 8 << 20);
}

#[test]
fn this_machine_and_its_media_are_told_without_failing() {
    let (root, dir) = fresh();
    let device = dir.stat().expect("open").id.device;
    assert!(!super::device_name(device).is_empty());
    if let Some(told) = super::mounted(device) {
        assert!(told.iter().all(|word| !word.is_empty()), "{told:?}");
    }
    assert!(super::file_system(root.path()).is_none_or(|name| !name.is_empty()));
    assert!(super::host_name().len() < 1024);
    assert!(dir.is_writable());
    let _ = (dir.free_files(), super::is_root(), super::user_name(0), super::group_name(0));
    let _ = (super::user_number("no such user"), super::group_number("no such group"));
    super::raise_descriptor_limit();
    assert_eq!(super::as_path("a/\u{e9}".as_bytes()).as_ref(), Path::new("a/\u{e9}"));
    assert!(!super::is_loop(&ErrorKind::NotFound.into()) && !super::is_sharing_violation(&ErrorKind::NotFound.into()));
}
