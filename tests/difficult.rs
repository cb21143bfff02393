//! A generator of difficult trees, and a picture of everything that a tree is: two trees are equal if these are.
//!
//! Both use system calls of their own and no part of devvault, so that they do not share its errors.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags, makedev,
};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn open_dir(at: BorrowedFd<'_>, path: &[u8]) -> OwnedFd {
    fs::openat(at, name(path), DIRECTORY, Mode::empty()).unwrap()
}

/// Opens the directory at a path.
pub fn open(path: &Path) -> OwnedFd {
    fs::open(path, DIRECTORY, Mode::empty()).unwrap()
}

/// Creates a directory and opens it.
pub fn dir(at: BorrowedFd<'_>, path: &[u8]) -> OwnedFd {
    fs::mkdirat(at, name(path), Mode::from_raw_mode(0o755)).unwrap();
    open_dir(at, path)
}

/// Creates a file.
pub fn file(at: BorrowedFd<'_>, path: &[u8], content: &[u8]) -> OwnedFd {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let file = fs::openat(at, name(path), flags, Mode::from_raw_mode(0o644)).unwrap();
    let mut rest = content;
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest).unwrap()..];
    }
    file
}

/// Sets the modification time of a name.
pub fn time(at: BorrowedFd<'_>, path: &[u8], seconds: i64, nanos: i64) {
    let omitted = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT };
    let stamps = Timestamps { last_access: omitted, last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos } };
    fs::utimensat(at, name(path), &stamps, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Makes a pipe, socket or device.
pub fn node(at: BorrowedFd<'_>, path: &[u8], kind: FileType, device: (u32, u32)) {
    fs::mknodat(at, name(path), kind, Mode::from_raw_mode(0o640), makedev(device.0, device.1)).unwrap();
}

/// Makes a symbolic link.
pub fn link(at: BorrowedFd<'_>, target: &[u8], path: &[u8]) {
    fs::symlinkat(name(target), at, name(path)).unwrap();
}

/// Gives an object a further name in the same directory.
pub fn further(at: BorrowedFd<'_>, old: &[u8], new: &[u8]) {
    fs::linkat(at, name(old), at, name(new), AtFlags::empty()).unwrap();
}

/// Gives a name to an owner.
pub fn give(at: BorrowedFd<'_>, path: &[u8], uid: u32, gid: u32) {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    fs::chownat(at, name(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Sets permission bits.
pub fn mode(open: &OwnedFd, mode: u32) {
    fs::fchmod(open, Mode::from_raw_mode(mode)).unwrap();
}

/// Sets an extended attribute.
pub fn attribute(open: &OwnedFd, key: &[u8], value: &[u8]) {
    fs::fsetxattr(open, name(key), value, XattrFlags::empty()).unwrap();
}

/// An access list with a user and a mask beyond the three classes.
pub fn some_access_list() -> Vec<u8> {
    access_list(&[(1, 7, ANYBODY), (2, 4, 54_321), (4, 4, ANYBODY), (8, 2, 12_345), (16, 6, ANYBODY), (32, 0, ANYBODY)])
}

/// Revision 2 with the effective bit; CAP_NET_RAW permitted, nothing inheritable.
pub fn some_capability() -> Vec<u8> {
    [&0x0200_0001u32.to_le_bytes()[..], &(1u32 << 13).to_le_bytes(), &[0; 12]].concat()
}

/// What a tree may hold beyond what every user can make on every file system.
#[derive(Clone, Copy)]
pub struct Powers {
    /// Owners, devices, capabilities, attributes of the superuser.
    pub root: bool,
    /// Extended attributes and access lists.
    pub xattrs: bool,
    /// Every byte in names, also no UTF-8; twins of case and form.
    pub names: bool,
    /// Pipes, sockets, links of both kinds.
    pub specials: bool,
}

impl Powers {
    /// Everything that this user can make on the file system at `path`.
    pub fn all() -> Self {
        Self { root: rustix::process::geteuid().is_root(), xattrs: true, names: true, specials: true }
    }
}

/// Makes a difficult tree in a new directory.
pub fn generate(root: &Path, powers: Powers) {
    std::fs::create_dir(root).unwrap();
    let top = open(root);
    let top = top.as_fd();
    contents(dir(top, b"contents").as_fd());
    if powers.names {
        names(dir(top, b"names").as_fd());
    }
    if powers.specials {
        specials(dir(top, b"specials").as_fd(), powers);
    }
    if powers.xattrs {
        xattrs(dir(top, b"xattrs").as_fd(), powers);
    }
    if powers.root {
        owners(dir(top, b"owners").as_fd());
    }
    times(dir(top, b"times").as_fd());
    deep(dir(top, b"deep").as_fd());
    // Modes last: they close directories.
    modes(dir(top, b"modes").as_fd());
    time(fs::CWD, root.as_os_str().as_bytes(), 1_234_567_890, 987_654_321);
}

fn contents(at: BorrowedFd<'_>) {
    file(at, b"empty", b"");
    file(at, b"short", b"hello\n");
    file(at, b"zeros", &[0; 100_000]);
    file(at, b"long", &crate::support::noise(300_000, 5));
    dir(at, b"vacant");
    // Holes in front, between, behind, everywhere.
    for (path, size, data) in [
        (&b"hole-in-front"[..], 1 << 20, vec![1_044_480]),
        (b"holes-between", 3 << 20, vec![0, 1 << 20, (2 << 20) + 8192]),
        (b"hole-behind", 1 << 20, vec![0]),
        (b"hole-everywhere", 5 << 20, vec![]),
        (b"odd-length", (1 << 20) + 7, vec![65_536]),
    ] {
        let open = file(at, path, b"");
        fs::ftruncate(&open, size).unwrap();
        for offset in data {
            fs::seek(&open, SeekFrom::Start(offset)).unwrap();
            rustix::io::write(&open, &crate::support::noise(4096, offset)).unwrap();
        }
    }
}

/// Every byte that a name can hold, twins, and strings that programs have stumbled over.
fn names(at: BorrowedFd<'_>) {
    let bytes = dir(at, b"bytes");
    for byte in (1..=255u8).filter(|&byte| byte != b'/' && byte != b'.') {
        file(bytes.as_fd(), &[byte], &[byte]);
        file(bytes.as_fd(), &[b'x', byte, b'y'], b"");
    }
    for twin in ["case", "Case", "CASE", "\u{e9}", "e\u{301}", "\u{df}", "ss", "\u{130}", "i", "\u{fb01}", "fi"] {
        file(at, twin.as_bytes(), twin.as_bytes());
    }
    let naughty: [&[u8]; 26] = [
        b"-rf",
        b"--",
        b"...",
        b"..a",
        b"a..",
        b" ",
        b"  ",
        b"trailing ",
        b"trailing.",
        b"\n",
        b"a\nb",
        b"\r",
        b"\x1b[2J",
        b"*",
        b"?",
        b"$(reboot)",
        b"`reboot`",
        b";reboot",
        b"'",
        b"\"",
        b"\\",
        b"CON",
        b"nul.txt",
        b"C:",
        b"~",
        b"%00",
    ];
    let strings = dir(at, b"strings");
    for string in naughty {
        file(strings.as_fd(), string, string);
    }
    file(at, &[b'l'; 255], b"longest");
    file(at, "\u{1f600}".repeat(63).as_bytes(), b"");
    file(at, &[0xff; 255], b"");
}

fn specials(at: BorrowedFd<'_>, powers: Powers) {
    node(at, b"pipe", FileType::Fifo, (0, 0));
    node(at, b"socket", FileType::Socket, (0, 0));
    let long = vec![b't'; 4000];
    let targets: [(&[u8], &[u8]); 7] = [
        (b"relative", b"../contents/short"),
        (b"absolute", b"/etc/passwd"),
        (b"dangling", b"nowhere/at all"),
        (b"itself", b"itself"),
        (b"up", b"../../../../.."),
        (b"no-utf8", b"\xff\xfe\n"),
        (b"long", &long),
    ];
    for (path, target) in targets {
        fs::symlinkat(name(target), at, name(path)).unwrap();
        time(at, path, 1_000_000_007, 7);
    }
    if powers.root {
        node(at, b"block", FileType::BlockDevice, (7, 250));
        node(at, b"character", FileType::CharacterDevice, (1, 3));
        node(at, b"large-numbers", FileType::CharacterDevice, (0xfff, 0xf_ffff));
    }
    // Names of one object in several directories, of every kind.
    let (one, two) = (dir(at, b"one"), dir(at, b"two"));
    file(one.as_fd(), b"first", b"several names");
    let link = |from: &OwnedFd, old: &[u8], to: &OwnedFd, new: &[u8]| {
        fs::linkat(from, name(old), to, name(new), AtFlags::empty()).unwrap();
    };
    link(&one, b"first", &two, b"second");
    link(&one, b"first", &one, b"a-third-before-the-first");
    link(&one, b"first", &two, b"\xff");
    fs::symlinkat(name(b"target"), &one, name(b"link")).unwrap();
    link(&one, b"link", &two, b"link");
    node(two.as_fd(), b"pipe", FileType::Fifo, (0, 0));
    link(&two, b"pipe", &one, b"pipe");
    file(one.as_fd(), b"sparse", b"");
    fs::ftruncate(fs::openat(&one, name(b"sparse"), OFlags::RDWR, Mode::empty()).unwrap(), 1 << 20).unwrap();
    link(&one, b"sparse", &two, b"sparse");
    // A name that nothing else in the tree has, of an object that has another one elsewhere.
    file(at, b"equal-content", b"several names");
}

/// An access list: version 2, then tag, permissions and number of each entry.
pub fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

const ANYBODY: u32 = u32::MAX;

fn xattrs(at: BorrowedFd<'_>, powers: Powers) {
    let some = file(at, b"some", b"content");
    attribute(&some, b"user.empty", b"");
    attribute(&some, b"user.text", b"a note");
    attribute(&some, b"user.bytes", &[0, 255, 10, 0]);
    attribute(&some, b"user.\xff\xfe", b"a name that is no text");
    attribute(&some, b"user.long", &crate::support::noise(2000, 8));
    attribute(&dir(at, b"directory"), b"user.of-a-directory", b"1");
    let read_only = file(at, b"read-only", b"");
    attribute(&read_only, b"user.kept", b"2");
    fs::fchmod(&read_only, Mode::from_raw_mode(0o400)).unwrap();
    let list = some_access_list();
    attribute(&file(at, b"access-list", b"x"), b"system.posix_acl_access", &list);
    let inheriting = dir(at, b"inheriting");
    file(inheriting.as_fd(), b"before", b"");
    attribute(&inheriting, b"system.posix_acl_default", &list);
    dir(inheriting.as_fd(), b"after");
    if powers.root {
        let tool = file(at, b"tool", b"#!/bin/sh\n");
        fs::fchmod(&tool, Mode::from_raw_mode(0o755)).unwrap();
        attribute(&tool, b"security.capability", &some_capability());
        attribute(&some, b"trusted.superuser", b"only");
        fs::symlinkat(name(b"x"), at, name(b"link")).unwrap();
        let path = format!("/proc/self/fd/{}/link", at.as_raw_fd());
        fs::lsetxattr(path, name(b"trusted.of-a-link"), b"3", XattrFlags::empty()).unwrap();
    }
}

fn owners(at: BorrowedFd<'_>) {
    file(at, b"daemon", b"");
    give(at, b"daemon", 1, 1);
    file(at, b"unknown", b"");
    give(at, b"unknown", 54_321, 12_345);
    file(at, b"largest", b"");
    give(at, b"largest", u32::MAX - 1, u32::MAX - 1);
    fs::symlinkat(name(b"x"), at, name(b"link")).unwrap();
    give(at, b"link", 54_321, 1);
    let below = dir(at, b"directory");
    file(below.as_fd(), b"file", b"");
    give(at, b"directory", 54_321, 12_345);
    // Set-id bits after the owner, which clears them.
    file(at, b"set-id", b"#!/bin/sh\n");
    give(at, b"set-id", 54_321, 12_345);
    fs::chmodat(at, name(b"set-id"), Mode::from_raw_mode(0o6755), AtFlags::empty()).unwrap();
    give(at, b"directory", 1, 54_321);
    fs::chmodat(at, name(b"directory"), Mode::from_raw_mode(0o2775), AtFlags::empty()).unwrap();
}

fn times(at: BorrowedFd<'_>) {
    for (path, seconds, nanos) in [
        (&b"epoch"[..], 0, 0),
        (b"nanosecond", 0, 1),
        (b"before-1970", -1, 999_999_999),
        (b"1912", -1_826_000_000, 500_000_001),
        (b"2038", 1 << 31, 1),
        (b"2100", 4_102_444_800, 123_456_789),
        (b"2106", (1 << 32) + 5, 5),
        (b"2400", 13_569_465_600, 999_999_999),
    ] {
        file(at, path, path);
        time(at, path, seconds, nanos);
    }
    let below = dir(at, b"directory");
    file(below.as_fd(), b"inside", b"");
    time(at, b"directory", -5, 5);
}

/// A thousand levels, of names so long that no path reaches the last.
fn deep(at: BorrowedFd<'_>) {
    let mut current = at.try_clone_to_owned().unwrap();
    for level in 0..1000u32 {
        let long = if level % 50 == 0 { 200 } else { 6 };
        current = dir(current.as_fd(), format!("{level:0long$}").as_bytes());
    }
    file(current.as_fd(), b"at the bottom", b"!");
}

fn modes(at: BorrowedFd<'_>) {
    for mode in [0o400, 0o444, 0o600, 0o644, 0o755, 0o777, 0o1644, 0o4755, 0o2755, 0o6711] {
        let open = file(at, format!("{mode:04o}").as_bytes(), b"");
        fs::fchmod(&open, Mode::from_raw_mode(mode)).unwrap();
    }
    let sealed = dir(at, b"sealed");
    file(dir(sealed.as_fd(), b"deeper").as_fd(), b"inside", b"x");
    for (path, mode) in [(&b"sticky"[..], 0o1777), (b"group", 0o2770), (b"bare", 0o500)] {
        let open = dir(at, path);
        fs::fchmod(&open, Mode::from_raw_mode(mode)).unwrap();
    }
    fs::chmodat(&sealed, name(b"deeper"), Mode::from_raw_mode(0o555), AtFlags::empty()).unwrap();
    fs::fchmod(&sealed, Mode::from_raw_mode(0o500)).unwrap();
}

/// What a tree is, by path: kind, content, mode, owner, time, target, device, attributes, and which names are one object.
pub fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut objects = BTreeMap::new();
    look(open(root), b"", &mut all, &mut objects);
    all
}

type Objects = BTreeMap<(u64, u64), Vec<u8>>;

fn look(at: OwnedFd, path: &[u8], all: &mut BTreeMap<Vec<u8>, String>, objects: &mut Objects) {
    let stat = fs::fstat(&at).unwrap();
    let here = format!("/proc/self/fd/{}", at.as_raw_fd());
    all.insert(path.to_vec(), format!("directory {}", common(&stat, &attributes(&here, true))));
    let mut names: Vec<Vec<u8>> = fs::Dir::read_from(&at)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_bytes().to_vec())
        .filter(|entry| entry != b"." && entry != b"..")
        .collect();
    names.sort();
    for entry in names {
        let below = if path.is_empty() { entry.clone() } else { [path, b"/", &entry].concat() };
        let stat = fs::statat(&at, name(&entry), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            look(open_dir(at.as_fd(), &entry), &below, all, objects);
            continue;
        }
        let place = [here.as_bytes(), b"/", &entry].concat();
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => content(at.as_fd(), &entry),
            FileType::Symlink => format!("link {:?}", fs::readlinkat(&at, name(&entry), Vec::new()).unwrap()),
            kind => format!("{kind:?} {:x}", stat.st_rdev),
        };
        let first = objects.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| below.clone());
        let first = String::from_utf8_lossy(first).into_owned();
        let attributes = attributes(name(&place), false);
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let mut stat = stat;
        if is_link {
            stat.st_mode = 0;
        }
        all.insert(below, format!("{what} {} {} names, first {first}", common(&stat, &attributes), stat.st_nlink));
    }
}

fn common(stat: &fs::Stat, attributes: &str) -> String {
    let mode = stat.st_mode & 0o7777;
    format!("{mode:o} {}:{} {}.{:09} {attributes}", stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec)
}

/// The digest of the content, its length, and whether there are holes.
fn content(at: BorrowedFd<'_>, entry: &[u8]) -> String {
    let file: std::fs::File = match fs::openat(at, name(entry), OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(open) => open.into(),
        Err(error) => return format!("file {error}"),
    };
    let length = file.metadata().unwrap().len();
    let hole = fs::seek(&file, SeekFrom::Hole(0)).is_ok_and(|hole| hole < length);
    fs::seek(&file, SeekFrom::Start(0)).unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).unwrap();
    format!("file {length} {} {}", hasher.finalize(), if hole { "with holes" } else { "without holes" })
}

fn attributes(path: impl rustix::path::Arg + Copy, follow: bool) -> String {
    let mut list = vec![0; 64 << 10];
    let length = if follow { fs::listxattr(path, &mut list[..]) } else { fs::llistxattr(path, &mut list[..]) };
    let length = match length {
        Err(Errno::NOTSUP | Errno::PERM) => 0,
        other => other.unwrap(),
    };
    let mut names: Vec<&[u8]> = list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let value = |key: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let got = if follow {
            fs::getxattr(path, name(key), &mut value[..])
        } else {
            fs::lgetxattr(path, name(key), &mut value[..])
        };
        format!("{:?}={}", name(key), blake3::hash(&value[..got.unwrap()]))
    };
    names.into_iter().map(value).collect::<Vec<_>>().join(" ")
}

/// Fails with the first objects that differ.
#[track_caller]
pub fn assert_equal(found: &BTreeMap<Vec<u8>, String>, meant: &BTreeMap<Vec<u8>, String>) {
    let differing: Vec<String> = meant
        .iter()
        .filter(|(path, what)| found.get(*path) != Some(what))
        .map(|(path, what)| format!("{:?}: {what} became {:?}", name(path), found.get(path)))
        .chain(found.keys().filter(|path| !meant.contains_key(*path)).map(|path| format!("{:?} is new", name(path))))
        .take(5)
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Has programs that are no part of this project hold two trees against each other: rsync by everything that it knows of,
/// content included; what lies deeper than it reaches by find and sha256sum. Returns what they say, if they are there.
pub fn differences_by_others(one: &Path, other: &Path) -> Option<String> {
    let slash = |path: &Path| format!("{}/", path.to_str().unwrap());
    let mut rsync = std::process::Command::new("rsync");
    // Times to the nanosecond; every line that it prints is a difference.
    rsync.args(["-aHAXcni", "--delete", "--modify-window=-1", "--exclude=/deep/**", &slash(one), &slash(other)]);
    let Ok(output) = rsync.output() else {
        println!("skipped: there is no rsync");
        return None;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut said = text(&output.stdout) + &text(&output.stderr);
    if !output.status.success() && said.is_empty() {
        said = output.status.to_string();
    }
    let look = |tree: &Path, arguments: &[&str]| {
        let output = std::process::Command::new("find").arg("deep").args(arguments).current_dir(tree).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!output.stdout.is_empty());
        output.stdout
    };
    for arguments in [&["-printf", "%P %y %m %U:%G %T@\\0"][..], &["-type", "f", "-execdir", "sha256sum", "{}", ";"]] {
        if look(one, arguments) != look(other, arguments) {
            said.push_str("find tells a difference below deep\n");
        }
    }
    Some(said)
}

/// Makes a directory with so many levels of names of one byte below it, and a file in the last.
pub fn levels(root: &Path, count: usize) {
    std::fs::create_dir(root).unwrap();
    let mut current = open(root);
    for _ in 0..count {
        current = dir(current.as_fd(), b"d");
    }
    file(current.as_fd(), b"at the bottom", b"!");
}

/// Removes a tree that is too deep for the standard library.
pub fn remove(path: &Path) {
    assert!(std::process::Command::new("rm").arg("-rf").arg(path).status().unwrap().success());
}
