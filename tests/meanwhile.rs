//! What another process does to a restore: what it wrote is changed before it is compared, or its destination is taken.

use std::path::Path;

use devvault::ops::restore;
use devvault::progress::{Phase, Progress};
use devvault::refusal::Code;

use crate::support::{Home, assert_refused, restore_options};

/// Something done to a staging directory.
type Act = fn(&Path);

/// Does something at the beginning of a phase.
struct At<F: Fn() + Send + Sync>(Phase, F);

impl<F: Fn() + Send + Sync> Progress for At<F> {
    fn phase(&self, phase: Phase, _: Option<u64>, _: Option<u64>) {
        if phase == self.0 {
            self.1();
        }
    }
}

fn restore_while(home: &Home, phase: Phase, act: impl Fn() + Send + Sync) -> devvault::error::Result<restore::Report> {
    let place = "1".parse().unwrap();
    restore::run(&home.access(), &place, &home.path("restored"), &restore_options(), &At(phase, act))
}

/// Returns the staging directory, while there is one.
fn staging(home: &Home) -> std::path::PathBuf {
    let names = std::fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.to_string_lossy().contains("devvault-restoring")).unwrap()
}

#[test]
fn what_differs_after_writing_is_refused_and_the_destination_stays_absent() {
    let home = Home::with_snapshot();
    let acts: [(&str, Act); 6] = [
        ("content", |root| std::fs::write(root.join("README"), "hellO\n").unwrap()),
        ("missing", |root| std::fs::remove_file(root.join("z-last")).unwrap()),
        ("extra", |root| std::fs::write(root.join("extra"), "").unwrap()),
        ("extra last", |root| std::fs::write(root.join("zz"), "").unwrap()),
        ("kind", |root| {
            std::fs::remove_file(root.join("empty")).unwrap();
            std::fs::create_dir(root.join("empty")).unwrap();
        }),
        ("longer", |root| std::fs::write(root.join("empty"), "x").unwrap()),
    ];
    for (what, act) in acts {
        let refusal =
            assert_refused(Code::RestoredDiffers, restore_while(&home, Phase::Comparing, || act(&staging(&home))));
        assert!(refusal.written.unwrap().text.contains("devvault-restoring"), "{what}");
        assert!(!home.path("restored").exists(), "{what}");
        std::fs::remove_dir_all(staging(&home)).unwrap();
    }
}

// Unix alone: modes.
#[cfg(unix)]
#[test]
fn mode_and_time_that_differ_after_writing_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_snapshot();
    let acts: [Act; 3] = [
        |root| std::fs::set_permissions(root.join("src"), PermissionsExt::from_mode(0o711)).unwrap(),
        |root| std::fs::set_permissions(root, PermissionsExt::from_mode(0o711)).unwrap(),
        |root| {
            let file = std::fs::File::options().write(true).open(root.join("README")).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        },
    ];
    for act in acts {
        assert_refused(Code::RestoredDiffers, restore_while(&home, Phase::Comparing, || act(&staging(&home))));
        std::fs::remove_dir_all(staging(&home)).unwrap();
    }
}

// Linux alone: attributes, owners and links to meddle with.
#[cfg(target_os = "linux")]
#[test]
fn attributes_links_targets_and_owners_that_differ_after_writing_are_refused() {
    use rustix::fs::{CWD, XattrFlags};
    let home = Home::with_vault();
    home.write_source(&[("plain", "x"), ("noted", "x"), ("one", "x"), ("link", "->plain"), ("dir/file", "x")]);
    let set = |path: &Path, value: &[u8]| rustix::fs::setxattr(path, "user.note", value, XattrFlags::empty());
    if set(&home.source().join("noted"), b"1").is_err() {
        println!("skipped: no attributes here");
        return;
    }
    std::fs::hard_link(home.source().join("one"), home.source().join("two")).unwrap();
    rustix::fs::mknodat(CWD, home.source().join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    home.backup();
    fn touch(path: &Path) {
        let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 1 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    let acts: [(&str, Act); 11] = [
        ("dir: its time is 2001-09-09T01:46:40.000000001Z", |root| touch(&root.join("dir"))),
        ("link: its time is 2001-09-09T01:46:40.000000001Z", |root| touch(&root.join("link"))),
        ("plain: its attribute user.note should not be there", |root| {
            rustix::fs::setxattr(root.join("plain"), "user.note", b"1", XattrFlags::empty()).unwrap();
        }),
        ("dir: its attribute user.note should not be there", |root| {
            rustix::fs::setxattr(root.join("dir"), "user.note", b"1", XattrFlags::empty()).unwrap();
        }),
        ("noted: its attribute user.note differs", |root| {
            rustix::fs::setxattr(root.join("noted"), "user.note", b"2", XattrFlags::empty()).unwrap();
        }),
        ("noted: its attribute user.note is missing", |root| {
            rustix::fs::removexattr(root.join("noted"), "user.note").unwrap();
        }),
        ("link: its target differs", |root| {
            std::fs::remove_file(root.join("link")).unwrap();
            std::os::unix::fs::symlink("plaiN", root.join("link")).unwrap();
        }),
        ("two: it is not the same object as one", |root| {
            std::fs::remove_file(root.join("two")).unwrap();
            std::fs::copy(root.join("one"), root.join("two")).unwrap();
        }),
        ("one: it has 3 names, not 2", |root| {
            std::fs::hard_link(root.join("one"), root.with_extension("aside")).unwrap();
        }),
        ("plain: it has 2 names", |root| {
            std::fs::hard_link(root.join("plain"), root.with_extension("beside")).unwrap();
        }),
        ("pipe: it is a file", |root| {
            std::fs::remove_file(root.join("pipe")).unwrap();
            std::fs::write(root.join("pipe"), "").unwrap();
        }),
    ];
    let check = |what: &str, act: Act| {
        let refusal =
            assert_refused(Code::RestoredDiffers, restore_while(&home, Phase::Comparing, || act(&staging(&home))));
        // Of one object all that differs stands in one line.
        let (path, difference) = what.split_once(": ").unwrap();
        let told =
            |cause: &String| cause.split_once(": ").is_some_and(|(of, all)| of == path && all.contains(difference));
        assert!(refusal.causes.iter().any(told), "{what}: {:?}", refusal.causes);
        assert!(!home.path("restored").exists(), "{what}");
        std::fs::remove_dir_all(staging(&home)).unwrap();
    };
    for (what, act) in acts {
        check(what, act);
    }
    if crate::support::is_root() {
        check("plain: it belongs to 7:8", |root| {
            std::os::unix::fs::lchown(root.join("plain"), Some(7), Some(8)).unwrap();
        });
    }
}

#[test]
fn a_destination_that_fills_during_the_restore_is_left_alone() {
    let home = Home::with_snapshot();
    let destination = home.path("restored");
    let fill = || {
        std::fs::create_dir(&destination).unwrap();
        std::fs::write(destination.join("mine"), "precious").unwrap();
    };
    assert_refused(Code::DestinationChanged, restore_while(&home, Phase::Comparing, fill));
    assert_eq!(std::fs::read_to_string(destination.join("mine")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&destination).unwrap().count(), 1);
}

// Unix alone: links that any account may make.
#[cfg(unix)]
#[test]
fn a_destination_that_becomes_a_link_during_the_restore_is_not_followed() {
    let home = Home::with_snapshot();
    std::fs::create_dir(home.path("elsewhere")).unwrap();
    let act = || std::os::unix::fs::symlink(home.path("elsewhere"), home.path("restored")).unwrap();
    assert_refused(Code::DestinationChanged, restore_while(&home, Phase::Comparing, act));
    assert_eq!(std::fs::read_dir(home.path("elsewhere")).unwrap().count(), 0);
}
