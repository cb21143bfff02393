//! Real file systems: what a restore keeps on each, what it says, what it refuses. `FILESYSTEMS.md` is made by this test.
//!
//! Each feature is a snapshot of its own, restored with every other class given up. The file systems lie in images, mounted
//! in a private mount namespace, which takes root; those that cannot be mounted are skipped, and say why.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use devvault::ops::restore::Class;
use devvault::progress::Silent;
use devvault::refusal::Code;

use crate::difficult;
use crate::support::{Home, is_root, skip};

/// A feature: its name, the classes that it needs, and what makes a tree that has it.
type Feature = (&'static str, &'static [Class], fn(&OwnedFd));

const FEATURES: [Feature; 25] = [
    ("names of any bytes", &[], |at| names(at, &[b"\xff\xfe", b"\x01\n\x7f", b"a\\b"])),
    ("names that differ in case", &[], |at| names(at, &[b"case", b"Case"])),
    ("names that differ in Unicode form", &[], |at| names(at, &["\u{e9}".as_bytes(), "e\u{301}".as_bytes()])),
    ("dots and spaces at the end of names", &[], |at| names(at, &[b"dot.", b"space "])),
    ("names that Windows reserves", &[], |at| names(at, &[b"CON", b"nul.txt", b"a:b", b"*?<>|"])),
    ("names of 255 bytes", &[], |at| names(at, &[&[b'l'; 255]])),
    ("names of 255 bytes, 85 characters", &[], |at| names(at, &["\u{20ac}".repeat(85).as_bytes()])),
    ("paths of more than 4,096 bytes", &[], |at| {
        let mut current = difficult::dir(at.as_fd(), &[b'd'; 200]);
        for _ in 0..30 {
            current = difficult::dir(current.as_fd(), &[b'd'; 200]);
        }
        difficult::file(current.as_fd(), b"file", b"x");
    }),
    ("symbolic links", &[Class::Symlink], |at| difficult::link(at.as_fd(), b"../else where", b"link")),
    ("hard links", &[Class::Hardlink], |at| {
        difficult::file(at.as_fd(), b"one", b"x");
        difficult::further(at.as_fd(), b"one", b"two");
    }),
    ("pipes and sockets", &[Class::Special], |at| {
        difficult::node(at.as_fd(), b"pipe", rustix::fs::FileType::Fifo, (0, 0));
        difficult::node(at.as_fd(), b"socket", rustix::fs::FileType::Socket, (0, 0));
    }),
    ("devices", &[Class::Device], |at| {
        difficult::node(at.as_fd(), b"device", rustix::fs::FileType::CharacterDevice, (1, 3));
    }),
    ("owners", &[Class::Owner], |at| {
        difficult::file(at.as_fd(), b"file", b"x");
        difficult::give(at.as_fd(), b"file", 54_321, 12_345);
    }),
    ("permission bits", &[Class::Mode], |at| {
        difficult::mode(&difficult::file(at.as_fd(), b"file", b"x"), 0o640);
        difficult::mode(&difficult::dir(at.as_fd(), b"directory"), 0o1711);
    }),
    ("set-id bits", &[Class::Mode, Class::Owner], |at| {
        difficult::mode(&difficult::file(at.as_fd(), b"file", b"x"), 0o6755);
    }),
    ("attributes of users", &[Class::Xattr], |at| {
        difficult::attribute(&difficult::file(at.as_fd(), b"file", b"x"), b"user.note", &[0, 255]);
        difficult::attribute(&difficult::dir(at.as_fd(), b"directory"), b"user.note", b"text");
    }),
    ("attributes of the superuser", &[Class::Security], |at| {
        difficult::attribute(&difficult::file(at.as_fd(), b"file", b"x"), b"trusted.note", b"x");
    }),
    ("access lists", &[Class::Acl], |at| {
        let list = difficult::some_access_list();
        difficult::attribute(&difficult::file(at.as_fd(), b"file", b"x"), b"system.posix_acl_access", &list);
        difficult::attribute(&difficult::dir(at.as_fd(), b"directory"), b"system.posix_acl_default", &list);
    }),
    ("capabilities", &[Class::Capability, Class::Owner], |at| {
        let file = difficult::file(at.as_fd(), b"file", b"x");
        difficult::attribute(&file, b"security.capability", &difficult::some_capability());
    }),
    ("times to the nanosecond", &[Class::Time], |at| at_time(at, 1_000_000_001, 123_456_789)),
    ("times before 1970", &[Class::Time], |at| at_time(at, -86_400, 0)),
    ("times after 2038", &[Class::Time], |at| at_time(at, 1 << 32, 0)),
    ("times after 2106", &[Class::Time], |at| at_time(at, 5_000_000_000, 0)),
    ("holes", &[Class::Sparse], |at| sparse(at, 8 << 20)),
    ("files of more than 4 GiB", &[Class::Sparse], |at| sparse(at, 5 << 30)),
];

fn names(at: &OwnedFd, names: &[&[u8]]) {
    for name in names {
        difficult::file(at.as_fd(), name, name);
    }
}

fn at_time(at: &OwnedFd, seconds: i64, nanos: i64) {
    difficult::file(at.as_fd(), b"file", b"x");
    difficult::time(at.as_fd(), b"file", seconds, nanos);
    difficult::time(at.as_fd(), b".", 1_000_000_000, 0);
}

fn sparse(at: &OwnedFd, size: u64) {
    let file: fs::File = difficult::file(at.as_fd(), b"file", b"in front").into();
    file.set_len(size).unwrap();
    file.sync_all().unwrap();
}

/// A file system: its name, and what makes it from the image `$1` and mounts it at `$2`.
const FILE_SYSTEMS: [(&str, &str); 13] = [
    ("ext4", r#"truncate -s 64M "$1" && mkfs.ext4 -q "$1" && mount -o loop "$1" "$2""#),
    (
        "ext4, folding case",
        r#"truncate -s 64M "$1" && mkfs.ext4 -q -O casefold "$1" && mount -o loop "$1" "$2" && chattr +F "$2""#,
    ),
    ("xfs", r#"truncate -s 400M "$1" && mkfs.xfs -q "$1" && mount -o loop "$1" "$2""#),
    ("btrfs", r#"truncate -s 200M "$1" && mkfs.btrfs -q "$1" && mount -o loop "$1" "$2""#),
    ("f2fs", r#"truncate -s 200M "$1" && mkfs.f2fs -q "$1" && mount -o loop -t f2fs "$1" "$2""#),
    ("tmpfs", r#"mount -t tmpfs -o size=64m none "$2""#),
    (
        "overlay",
        r#"mkdir "$1" "$1/low" "$1/up" "$1/work" && mount -t overlay -o "lowerdir=$1/low,upperdir=$1/up,workdir=$1/work" none "$2""#,
    ),
    ("vfat", r#"truncate -s 64M "$1" && mkfs.vfat "$1" >/dev/null && mount -o loop -t vfat "$1" "$2""#),
    ("exfat", r#"truncate -s 64M "$1" && mkfs.exfat "$1" >/dev/null && mount -o loop -t exfat "$1" "$2""#),
    ("ntfs", r#"truncate -s 64M "$1" && mkfs.ntfs -q -F -Q "$1" >/dev/null && mount -o loop -t ntfs3 "$1" "$2""#),
    ("vfat (FUSE)", r#"truncate -s 64M "$1" && mkfs.vfat "$1" >/dev/null && fusefat -o rw+ "$1" "$2" >/dev/null"#),
    (
        "exfat (FUSE)",
        r#"truncate -s 64M "$1" && mkfs.exfat "$1" >/dev/null && L=$(losetup -f --show "$1") && mount.exfat-fuse "$L" "$2" >/dev/null; M=$?; losetup -d "$L"; [ $M = 0 ]"#,
    ),
    ("ntfs (FUSE)", r#"truncate -s 64M "$1" && mkfs.ntfs -q -F -Q "$1" >/dev/null && ntfs-3g "$1" "$2""#),
];

/// Features that are not tried, because a driver ends that meets them.
const NOT_TRIED: [(&str, &str); 1] = [("vfat (FUSE)", "paths of more than 4,096 bytes")];

/// Restores every feature onto one file system; returns the documents in the order of the features.
fn restore_all(home: &Home, number: usize) -> Result<Vec<String>, String> {
    let (name, mount) = FILE_SYSTEMS[number];
    let tried = |feature: usize| !NOT_TRIED.contains(&(name, FEATURES[feature].0));
    let at = |name: &str| home.path(&format!("{name}-{number}"));
    let (image, place, out) = (at("image"), at("mount"), at("out"));
    fs::create_dir(&place).unwrap();
    fs::create_dir(&out).unwrap();
    let program = home.program();
    let mut script = format!("{{ {mount}; }} || exit 3\nmkdir \"$2/in\" 2>/dev/null\n");
    for (feature, (_, classes, _)) in FEATURES.iter().enumerate().filter(|(feature, _)| tried(*feature)) {
        let given_up: Vec<&str> =
            Class::ALL.iter().filter(|class| !classes.contains(class)).map(|class| class.name()).collect();
        let _ = writeln!(
            script,
            "\"$3\" --vault \"$4\" --json restore {} \"$2/in/r{feature}\" --without {} > \"$5/{feature}\"",
            feature + 1,
            given_up.join(",")
        );
    }
    script.push_str("umount \"$2\" || umount -l \"$2\"\n");
    let mut command = Command::new("unshare");
    command.arg("-m").args(["sh", "-c", &script, "sh"]).arg(image).arg(place).arg(program.get_program());
    command.arg(home.vault()).arg(&out);
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.code() == Some(3) {
        return Err(String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or_default().to_owned());
    }
    let document = |feature: usize| {
        if !tried(feature) {
            return Ok("not tried".into());
        }
        let text = fs::read(out.join(feature.to_string())).map_err(|error| error.to_string())?;
        let document = serde_json::from_slice(&text);
        let document = document.map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(outcome(&document))
    };
    (0..FEATURES.len()).map(document).collect()
}

/// Says what a restore came to.
fn outcome(document: &serde_json::Value) -> String {
    if document["ok"] == true {
        let coarser = document["coarser"].as_array().unwrap();
        let withheld = document["not_restored"].as_array().unwrap().iter().find(|said| said["class"] == "capability");
        return match coarser.first().or(withheld) {
            None => "kept".into(),
            Some(first) => format!("said: {}", first["reason"].as_str().unwrap()),
        };
    }
    match document["code"].as_str().and_then(Code::parse) {
        Some(Code::TargetCannotRepresent) => "refused".into(),
        Some(Code::DestinationSpace) => "refused: no room".into(),
        _ => format!("FAILED: {document}"),
    }
}

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/FILESYSTEMS.md")
}

/// Reads the columns of the table: by file system, what each feature comes to.
fn columns(text: &str) -> BTreeMap<String, Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows: Vec<Vec<String>> = text.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    let Some(head) = rows.first() else { return BTreeMap::new() };
    let column = |at: usize| rows.iter().skip(2).map(|row| row.get(at).cloned().unwrap_or_default()).collect();
    head.iter().enumerate().skip(1).map(|(at, name)| (name.clone(), column(at))).collect()
}

const HEAD: &str = "\
# What a restore keeps on which file system

Made by `tests/filesystems.rs`, which mounts each of them and restores a snapshot of each feature, as root. **kept**: it
was restored, read back and found equal. **said**: the report names what is coarser. **refused**: before the first byte,
with the list of what would be lost or merged; `--without CLASS` gives up classes of metadata, but never merges names.

A driver in user space may answer from its memory what its medium cannot hold: exFAT keeps times from 1980 to 2107 only, and
its driver gives others back as long as it runs. Where a time outside of that matters, restore onto another file system.

**not tried**: the driver ends when it meets that, so that nothing can be restored onto it. A file system that the kernel of
the machine at hand cannot mount has no column: ext4 that folds case, f2fs, and the kernel's own vfat, exfat and ntfs3 where
they are missing. The test tries them wherever they are, says why where they are not, and asks for their column then.

";

fn render(columns: &[(String, Vec<String>)]) -> String {
    let mut text = HEAD.to_owned();
    let names: Vec<&str> = columns.iter().map(|(name, _)| &name[..]).collect();
    let _ = writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (row, (feature, ..)) in FEATURES.iter().enumerate() {
        let cells: Vec<&str> = columns.iter().map(|(_, cells)| &cells[row][..]).collect();
        let _ = writeln!(text, "| {feature} | {} |", cells.join(" | "));
    }
    text
}

#[test]
fn the_table_of_file_systems_is_what_restores_come_to() {
    if !is_root() {
        skip("only the superuser mounts file systems");
        return;
    }
    let home = Home::with_vault();
    for (number, (_, _, make)) in FEATURES.iter().enumerate() {
        let source = home.path(&format!("source-{number}"));
        fs::create_dir(&source).unwrap();
        make(&difficult::open(&source));
        devvault::ops::backup::run(&home.access(), &source, &Default::default(), &Silent).unwrap();
    }
    let committed = columns(&fs::read_to_string(table()).unwrap_or_default());
    let mut found = Vec::new();
    for (number, (name, _)) in FILE_SYSTEMS.iter().enumerate() {
        match restore_all(&home, number) {
            Ok(cells) => found.push((name.to_string(), cells)),
            Err(reason) => skip(&format!("{name}: {reason}")),
        }
    }
    let rendered = render(&found);
    if std::env::var_os("DEVVAULT_WRITE_TABLE").is_some() {
        fs::write(table(), &rendered).unwrap();
    }
    assert!(!rendered.contains("FAILED"), "{rendered}");
    for (name, cells) in &found {
        let committed =
            if std::env::var_os("DEVVAULT_WRITE_TABLE").is_some() { Some(cells) } else { committed.get(name) };
        assert_eq!(
            committed,
            Some(cells),
            "{name}: the table is no longer true; DEVVAULT_WRITE_TABLE=1 writes it:\n{rendered}"
        );
    }
    difficult::remove(&home.path(""));
}

#[test]
fn of_an_image_everything_is_read_again_because_another_one_may_look_the_same() {
    if !is_root() {
        skip("only the superuser mounts file systems");
        return;
    }
    let home = Home::with_vault();
    let run = |line: &str| Command::new("sh").args(["-c", line]).current_dir(home.path("")).output().unwrap();
    fs::create_dir(home.path("mounted")).unwrap();
    let mounted = home.path("mounted");
    let mut reports = Vec::new();
    for (name, content) in [("one", "AAAA"), ("two", "BBBB")] {
        fs::create_dir(home.path(name)).unwrap();
        fs::write(home.path(name).join("file"), content).unwrap();
        let made = run(&format!(
            "touch -d 2026-01-01 {name} {name}/file && SOURCE_DATE_EPOCH=1767225600 mksquashfs {name} {name}.image -all-root \
             >/dev/null && mount -o loop,ro {name}.image mounted"
        ));
        if !made.status.success() {
            return skip(&format!("squashfs: {}", String::from_utf8_lossy(&made.stderr)));
        }
        reports.push(devvault::ops::backup::run(&home.access(), &mounted, &Default::default(), &Silent));
        let diff = home.json(&["diff", "1", mounted.to_str().unwrap()]).1.to_string();
        assert!(run("umount mounted").status.success());
        assert!(!diff.contains("\"change\":\"corrupt\""), "{diff}");
    }
    let report = reports.pop().unwrap().unwrap();
    assert_eq!(report.files_unchanged, 0);
    assert_eq!(home.run(&["cat", "2:file"]).stdout, b"BBBB");
}

#[test]
fn a_directory_that_is_mounted_within_its_own_file_system_is_no_destination() {
    if !is_root() {
        skip("only the superuser mounts file systems");
        return;
    }
    let home = Home::with_snapshot();
    for name in ["one", "two"] {
        fs::create_dir(home.path(name)).unwrap();
    }
    let run = |line: &str| Command::new("sh").args(["-c", line]).current_dir(home.path("")).output().unwrap();
    if !run("mount --bind one two").status.success() {
        return skip("nothing can be mounted here");
    }
    let refused = home.restore("1", "two");
    assert!(run("umount two").status.success());
    crate::support::assert_refused(Code::DestinationIsMount, refused);
}
