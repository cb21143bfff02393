//! The place of a restore: found safe before anything is written, replaced by one rename at the end.

use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::keep::Durability;
use super::probe;
use crate::crypto::Id;
use crate::error::{Error, Result, refuse, shown_path};
use crate::fsys::{self, Dir, ObjectId, ObjectKind};
use crate::host::Host;
use crate::ops::overlap;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Refusal};
use crate::vault::gate::Vault;

/// A destination that was found safe.
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) name: Vec<u8>,
    pub(super) parent: Dir,
    pub(super) parent_path: PathBuf,
    pub(super) existed: bool,
}

impl Target {
    /// Refuses every destination that a restore could put at risk; changes nothing.
    pub(super) fn preflight(destination: &Path, vault: &Vault, host: &Host) -> Result<Self> {
        let shown = shown_path(destination);
        let name = destination
            .file_name()
            .ok_or_else(|| Refusal::new(Code::DestinationNotPlain, format!("{shown} names no directory of its own")))?;
        let parent_path = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent_refusal = |error: &io::Error| {
            Refusal::new(Code::DestinationParent, format!("{} cannot be used", shown_path(parent_path))).cause(error)
        };
        let parent_path = fs::canonicalize(parent_path).map_err(|error| parent_refusal(&error))?;
        let parent = Dir::open(&parent_path).map_err(|error| parent_refusal(&error))?;
        let path = parent_path.join(name);
        let name = name.as_encoded_bytes().to_vec();
        let existed = Self::look(&parent, &name, &shown)?;
        if let Some(place) = overlap::taken(&path, host, vault.store.local_path()) {
            return refuse(Code::DestinationOverlaps, format!("{shown} overlaps {place}"));
        }
        if !parent.is_writable() {
            return refuse(Code::DestinationParent, format!("{} is not writable", shown_path(&parent_path)));
        }
        Ok(Self { path, name, parent, parent_path, existed })
    }

    /// Returns whether the destination exists; anything but an empty plain directory is refused.
    fn look(parent: &Dir, name: &[u8], shown: &str) -> Result<bool> {
        let stat = match parent.stat_at(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| Error::environment(format!("look at {shown}"), error))?,
        };
        if stat.kind != ObjectKind::Directory {
            return refuse(Code::DestinationNotPlain, format!("{shown} is a {}, not a directory", stat.kind.name()));
        }
        let above = parent.stat().map_err(|error| Error::environment(format!("look at {shown}"), error))?;
        let opened = parent.open_dir(name).map_err(|error| Error::environment(format!("open {shown}"), error));
        // What is mounted may be a directory of the same file system.
        let is_mount = opened.as_ref().is_ok_and(fsys::is_mount_root);
        if is_mount || above.id.device != stat.id.device || above.id == stat.id {
            return Err(Refusal::new(Code::DestinationIsMount, format!("{shown} is a mount point or a volume root"))
                .next(format!("restore into a new subdirectory of it: {shown}/restored"))
                .into());
        }
        let names = opened?.names().map_err(|error| Error::environment(format!("list {shown}"), error))?;
        match names.first() {
            None => Ok(true),
            Some(first) => Err(Refusal::new(Code::DestinationNotEmpty, format!("{shown} is not empty"))
                .cause(format!(
                    "it holds {}{}",
                    crate::path::shown(first),
                    if names.len() > 1 { " and more" } else { "" }
                ))
                .into()),
        }
    }

    /// Makes the staging directory beside the destination, which belongs to `maker` as all that this process makes there,
    /// where that is known.
    pub(super) fn stage(&self, maker: Option<u32>) -> Result<Staging> {
        let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
        let id = id.to_string();
        // Named after the destination where that is plain text; short enough for every file system.
        let stem = std::str::from_utf8(&self.name).ok().filter(|name| name.len() <= 180).unwrap_or("destination");
        let name = format!(".{stem}.devvault-restoring-{}", &id[..12]).into_bytes();
        let path = self.parent_path.join(String::from_utf8_lossy(&name).as_ref());
        let make = || {
            self.parent.create_dir(&name)?;
            let root = probe::open_new(&self.parent, &name)?;
            if root.stat()?.owner.zip(maker).is_some_and(|((owner, _), maker)| owner != maker) {
                return Err(probe::another());
            }
            probe::strip_inherited(&root)?;
            Ok(root)
        };
        let root = make().map_err(|error| probe::unmade(&shown_path(&self.parent_path), error))?;
        let id = root.stat().map_err(|error| Error::environment(format!("look at {}", shown_path(&path)), error))?.id;
        Ok(Staging { name, path, root: Arc::new(root), id })
    }

    /// Renames the staging directory over the destination, which must still be absent or empty, and has `sync` make the
    /// rename durable.
    pub(super) fn publish(&self, staging: &Staging, sync: impl FnOnce(&Dir) -> io::Result<()>) -> Result<()> {
        use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
        self.parent.rename_over_empty(&staging.name, &self.name).map_err(|error| match error.kind() {
            AlreadyExists | DirectoryNotEmpty | NotADirectory => Error::from(
                Refusal::new(
                    Code::DestinationChanged,
                    format!("{} is no longer absent or empty", shown_path(&self.path)),
                )
                .cause(error),
            ),
            // Whatever else it is, nothing has appeared there.
            _ => {
                let attempt = format!("rename {} to {}", shown_path(&staging.path), shown_path(&self.path));
                Error::environment(attempt, error)
            }
        })?;
        sync(&self.parent).map_err(|error| {
            let attempt = format!("make the names in {} durable", shown_path(&self.parent_path));
            Error::environment(attempt, error).written(|| {
                format!(
                    "{} is in place, complete and compared; that it survives a loss of power is not confirmed",
                    shown_path(&self.path)
                )
            })
        })?;
        self.confirm(staging)
    }

    /// Refuses where the destination, by its whole path, is not the directory that was written and compared: another process
    /// replaced it or moved what lies above, and only a handle still leads there.
    fn confirm(&self, staging: &Staging) -> Result<()> {
        let is_it = || {
            let found = Dir::open(&self.parent_path)?.stat_at(&self.name)?;
            Ok::<_, io::Error>(found.id == staging.id)
        };
        let (path, moved) =
            (shown_path(&self.path), Refusal::new(Code::DestinationChanged, "what was restored was moved"));
        let refusal = match is_it() {
            Ok(true) => return Ok(()),
            Ok(false) => moved.cause(format!("{path} is not the directory that was written and compared")),
            Err(error) => moved.cause(format!("{path}: {error}")),
        };
        Err(Error::from(refusal).written(|| {
            let staging = shown_path(&staging.path);
            format!("all of it was written and compared as {staging}; where another process moved it is not known")
        }))
    }
}

/// The directory in which everything is written first.
pub(super) struct Staging {
    pub(super) name: Vec<u8>,
    pub(super) path: PathBuf,
    pub(super) root: Arc<Dir>,
    /// Which directory it is, whatever name it will have. Asked before it is renamed: Wine tells another volume afterwards.
    pub(super) id: ObjectId,
}

impl Staging {
    /// Makes everything in it durable that is not yet, and says so.
    pub(super) fn sync(&self, durability: Durability, progress: &dyn Progress) -> Result<()> {
        progress.phase(Phase::Syncing, None, None);
        self.make_durable(durability)
    }

    /// Makes everything in it durable while something else only looks at it: one waits for the medium, the other for the
    /// processor. Returns what that saw, once both have ended well.
    pub(super) fn sync_while<T>(
        &self,
        durability: Durability,
        progress: &dyn Progress,
        look: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        thread::scope(|scope| {
            let start = || thread::Builder::new().spawn_scoped(scope, || self.make_durable(durability)).ok();
            // Little is synced sooner than a thread starts; and the system may start none.
            let Some(syncing) = (durability == Durability::Whole).then(start).flatten() else {
                self.sync(durability, progress)?;
                return look();
            };
            let seen = look();
            progress.phase(Phase::Syncing, None, None);
            syncing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            seen
        })
    }

    /// Makes everything in it durable that is not yet; the staging directory itself too, which may be no entry.
    fn make_durable(&self, durability: Durability) -> Result<()> {
        let synced = match durability {
            Durability::Each => self.root.sync(),
            Durability::Whole => fsys::sync_filesystem(&self.root),
        };
        synced.map_err(|error| Error::environment(format!("sync {}", shown_path(&self.path)), error))
    }
}

/// Returns why a name cannot exist on this system, if it cannot.
pub(super) fn unfit_name(name: &[u8]) -> Option<String> {
    if cfg!(windows) { unfit_on_windows(name) } else { (name.len() > 255).then(|| "longer than 255 bytes".into()) }
}

/// Windows refuses some characters and endings, and gives some names to devices.
fn unfit_on_windows(name: &[u8]) -> Option<String> {
    let bad = |byte: &&u8| **byte < 0x20 || b"<>:\"/\\|?*".contains(byte);
    if let Some(byte) = name.iter().find(bad) {
        return Some(format!("Windows does not allow {:?} in a name", char::from(*byte)));
    }
    if name.ends_with(b".") || name.ends_with(b" ") {
        return Some("Windows drops a dot or space at the end of a name".into());
    }
    let stem = name.split(|&byte| byte == b'.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered =
        |prefix: &[u8]| stem.len() == 4 && stem.starts_with(prefix) && stem[3].is_ascii_digit() && stem[3] != b'0';
    let device = [&b"CON"[..], b"PRN", b"AUX", b"NUL"].contains(&&stem[..]) || numbered(b"COM") || numbered(b"LPT");
    if device {
        return Some("Windows gives this name to a device".into());
    }
    (String::from_utf8_lossy(name).encode_utf16().count() > 255).then(|| "longer than 255 UTF-16 units".into())
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A destination that is not there yet, in a directory of its own.
    pub(in crate::ops::restore) fn place() -> (tempfile::TempDir, Target) {
        let root = tempfile::tempdir().expect("a directory");
        let parent_path = fs::canonicalize(root.path()).expect("there");
        let target = Target {
            path: parent_path.join("to"),
            name: b"to".to_vec(),
            parent: Dir::open(&parent_path).expect("readable"),
            parent_path,
            existed: false,
        };
        (root, target)
    }

    #[test]
    fn a_rename_that_is_not_confirmed_durable_is_told_from_one_that_did_not_happen() {
        let (root, target) = place();
        let staging = target.stage(None).expect("writable");
        let error = target.publish(&staging, |_| Err(io::Error::other("broken"))).expect_err("not durable");
        let written = error.what_was_written().expect("said");
        assert!(written.changed && written.text.contains("is in place"), "{}", written.text);
        assert!(written.text.contains("not confirmed") && !written.text.contains("restoring"), "{}", written.text);
        assert!(root.path().join("to").is_dir() && !staging.path.exists());
    }

    // Unix alone: users by number.
    #[cfg(unix)]
    #[test]
    fn a_staging_directory_that_belongs_to_somebody_else_is_not_used() {
        let (root, target) = place();
        let probe = probe::Probe::new(&target).expect("writable");
        let maker = probe.maker().expect("there are users");
        assert!(target.stage(Some(maker)).is_ok());
        let error = target.stage(Some(maker ^ 1)).map(|_| ()).expect_err("another user's");
        assert_eq!(error.code(), Some(Code::DestinationParent), "{error}");
        drop((probe, root));
    }

    #[test]
    fn only_what_appeared_at_the_destination_is_a_change_of_it() {
        let (root, target) = place();
        let staging = target.stage(None).expect("writable");
        fs::create_dir_all(root.path().join("to/mine")).expect("writable");
        let error = target.publish(&staging, Dir::sync).expect_err("not empty");
        assert_eq!(error.code(), Some(Code::DestinationChanged));
        fs::remove_dir_all(root.path().join("to")).expect("there");
        // Not removed: on Windows what is open may keep its name until it is closed.
        fs::rename(&staging.path, root.path().join("away")).expect("free");
        let error = target.publish(&staging, Dir::sync).expect_err("nothing to rename");
        assert_eq!(error.code(), None, "{error}");
        assert!(error.to_string().contains(&shown_path(&staging.path)), "{error}");
    }

    #[test]
    fn a_restore_is_not_done_where_something_else_has_its_place() {
        for put in [false, true] {
            let (root, target) = place();
            let staging = target.stage(None).expect("writable");
            let sync = |_: &Dir| {
                fs::rename(root.path().join("to"), root.path().join("away"))?;
                if put { fs::create_dir(root.path().join("to")) } else { Ok(()) }
            };
            let error = target.publish(&staging, sync).expect_err("moved");
            assert_eq!(error.code(), Some(Code::DestinationChanged), "{error}");
            let written = error.what_was_written().expect("said");
            assert!(written.changed && written.text.contains("is not known"), "{}", written.text);
        }
    }

    #[test]
    fn a_staging_directory_has_the_name_of_its_destination_unless_that_is_long() {
        let (_root, target) = place();
        let stem = |length| {
            let named = Target {
                name: vec![b'n'; length],
                path: target.path.clone(),
                parent: Dir::open(&target.parent_path).expect("readable"),
                parent_path: target.parent_path.clone(),
                existed: false,
            };
            let name = String::from_utf8(named.stage(None).expect("writable").name).expect("text");
            name.split_once(".devvault-restoring-").expect("said").0.to_owned()
        };
        assert_eq!(stem(180), format!(".{}", "n".repeat(180)));
        assert_eq!(stem(181), ".destination");
    }

    // Unix alone: elsewhere a name that cannot be may count as one that is not there.
    #[cfg(unix)]
    #[test]
    fn a_destination_that_cannot_be_looked_at_does_not_count_as_absent() {
        let (_root, target) = place();
        assert!(!Target::look(&target.parent, b"absent", "shown").expect("readable"));
        let error = Target::look(&target.parent, &[b'n'; 256], "shown").expect_err("too long");
        assert_eq!(error.code(), None, "{error}");
    }

    // Unix alone: one root of everything, in which `..` leads back to it.
    #[cfg(unix)]
    #[test]
    fn the_root_of_a_volume_is_no_destination() {
        let root = Dir::open(Path::new("/")).expect("readable");
        let above = root.stat_at(b"..").expect("readable");
        if above.id != root.stat().expect("readable").id {
            // An emulator shows another directory there, which is the root of nothing.
            return;
        }
        let error = Target::look(&root, b"..", "shown").expect_err("the root");
        assert_eq!(error.code(), Some(Code::DestinationIsMount), "{error}");
    }

    /// Notes phases as they begin.
    #[derive(Default)]
    struct Noting(Mutex<Vec<&'static str>>);

    impl Progress for Noting {
        fn phase(&self, phase: Phase, _: Option<u64>, _: Option<u64>) {
            self.0.lock().expect("whole").push(phase.name());
        }
    }

    #[test]
    fn only_a_whole_file_system_is_made_durable_while_something_else_looks() {
        let (_root, target) = place();
        let staging = target.stage(None).expect("writable");
        // In memory, where the system has a place for that: syncs cost nothing there.
        let memory = cfg!(unix).then(|| Dir::open(Path::new("/dev/shm")).ok()).flatten();
        let staging = Staging { root: memory.map_or(staging.root, Arc::new), ..staging };
        let syncs = fsys::syncs_filesystem(&staging.root);
        let order = |durability| {
            let noting = Noting::default();
            let look = || {
                noting.0.lock().expect("whole").push("looked");
                Ok(7)
            };
            assert_eq!(staging.sync_while(durability, &noting, look).expect("durable"), 7);
            noting.0.into_inner().expect("whole")
        };
        assert_eq!(order(Durability::Each), ["syncing", "looked"]);
        if syncs {
            assert_eq!(order(Durability::Whole), ["looked", "syncing"]);
        }
    }

    // Linux alone: a directory on no medium, of which the system says that it cannot be made durable.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_not_made_durable_is_an_error_and_is_not_looked_at() {
        let (_root, target) = place();
        let staging = target.stage(None).expect("writable");
        let staging = Staging { root: Arc::new(Dir::open(Path::new("/proc")).expect("readable")), ..staging };
        let noting = Noting::default();
        assert!(staging.sync(Durability::Each, &noting).is_err());
        let look = || -> Result<()> { panic!("looked at what is not durable") };
        assert!(staging.sync_while(Durability::Each, &noting, look).is_err());
    }

    #[test]
    fn names_that_no_file_system_of_this_machine_holds_are_told() {
        let unfit = if cfg!(windows) { b"a:b".to_vec() } else { vec![b'n'; 256] };
        assert!(unfit_name(&unfit).is_some());
        assert_eq!(unfit_name(&[b'n'; 255]), None);
        assert_eq!(unfit_on_windows("\u{e9}".repeat(255).as_bytes()), None, "255 units in 510 bytes");
        assert!(unfit_on_windows("\u{e9}".repeat(256).as_bytes()).is_some());
        assert!(unfit_on_windows("\u{1f600}".repeat(128).as_bytes()).is_some(), "256 units");
    }

    #[test]
    fn names_that_windows_cannot_hold_are_told_with_their_reason() {
        for bad in ["a:b", "CON", "nul.txt", "com1", "LPT9.x", "a.", "a ", "a\\b", "a?", "\u{1}"] {
            assert!(unfit_on_windows(bad.as_bytes()).is_some(), "{bad}");
        }
        for good in ["a", "CONSOLE", "com0", "COM10", ".a", "a b", "é"] {
            assert_eq!(unfit_on_windows(good.as_bytes()), None, "{good}");
        }
    }
}
