//! Asking the target what it holds, by trying: in a directory of its own beside the destination, removed afterwards.
//!
//! Nothing is concluded from the name of a file system or of the operating system.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;

use super::keep::Durability;
use super::target::Target;
use crate::clock::Time;
use crate::crypto::Id;
use crate::error::{Error, Result, lacks_room, refuse, shown_path};
use crate::format::entry::Kind;
use crate::format::record::Counts;
use crate::fsys::{self, Dir, Object, ObjectId, ObjectKind};
use crate::ops::object;
use crate::refusal::{Code, Refusal};

/// A scratch directory on the target.
pub(super) struct Probe<'a> {
    root: Dir,
    file: File,
    dir: Dir,
    tries: Cell<u64>,
    // Last, because it removes what the others hold open: some file systems keep a name for what is removed while open.
    _scratch: Scratch<'a>,
}

/// Removes the scratch directory in the end.
struct Scratch<'a> {
    parent: &'a Dir,
    name: Vec<u8>,
    // Which directory it is, once that is known: another one of this name is somebody else's.
    id: Option<ObjectId>,
}

/// How many files are made at most to try what the target keeps.
const PROBE_FILES: u64 = 40;
const FILE: &[u8] = b"file";
const DIR: &[u8] = b"dir";
/// Where the names of the snapshot are tried.
const NAMES: &[u8] = b"names";

/// Times between these seconds are kept wherever times are: 1980-01-03, after which FAT begins in every zone, to 2037.
const ORDINARY_SECONDS: std::ops::Range<i64> = 315_705_600..2_145_830_400;

impl<'a> Probe<'a> {
    pub(super) fn new(target: &'a Target) -> Result<Self> {
        let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
        let name = format!(".devvault-probing-{}", &id.to_string()[..12]).into_bytes();
        let make = || {
            target.parent.create_dir(&name)?;
            let mut _scratch = Scratch { parent: &target.parent, name, id: None };
            let root = open_new(&target.parent, &_scratch.name)?;
            let file = root.create_file(FILE)?;
            let (stat, maker) = (root.stat()?, Object::File(&file).stat()?.owner);
            if stat.owner.zip(maker).is_some_and(|(directory, file)| directory.0 != file.0) {
                return Err(another());
            }
            _scratch.id = Some(stat.id);
            strip_inherited(&root)?;
            root.create_dir(DIR)?;
            root.create_dir(NAMES)?;
            let dir = root.open_dir(DIR)?;
            Ok(Self { root, file, dir, tries: Cell::new(0), _scratch })
        };
        let parent = shown_path(&target.parent_path);
        require_files(target.parent.free_files(), &parent)?;
        make().map_err(|error: io::Error| unmade(&parent, error))
    }

    /// Says what it means that names cannot be tried.
    pub(super) fn untried(error: io::Error) -> Error {
        if lacks_room(&error) {
            let message = "the target has no room to try the names of the snapshot";
            return Refusal::new(Code::DestinationSpace, message).cause(error).into();
        }
        Error::environment("try names on the target", error)
    }

    /// Returns the number of the user to whom the target gives what this process makes, where it has users.
    pub(super) fn maker(&self) -> Option<u32> {
        self.root.stat().ok()?.owner.map(|(uid, _)| uid)
    }

    /// Returns how so much is made durable here.
    pub(super) fn durability(&self, counts: &Counts) -> Durability {
        Durability::of(counts, &self.root)
    }

    pub(super) fn names(&self) -> io::Result<Dir> {
        self.root.open_dir(NAMES)
    }

    /// Returns the object on which metadata of a kind is tried.
    pub(super) fn object(&self, is_directory: bool) -> Object<'_> {
        if is_directory { Object::Directory(&self.dir) } else { Object::File(&self.file) }
    }

    /// Returns the names of the attributes that the target gives to new objects.
    pub(super) fn ambient(&self) -> HashSet<Vec<u8>> {
        let link = self.fresh();
        let _ = self.root.create_symlink(b"target", &link);
        let objects = [self.object(false), self.object(true), Object::Name(&self.root, &link)];
        objects.into_iter().filter_map(|object| object.xattrs().ok()).flatten().map(|(name, _)| name).collect()
    }

    /// Returns why an object of a kind cannot be made, if it cannot.
    pub(super) fn cannot_make(&self, kind: &Kind) -> Option<io::Error> {
        if matches!(kind, Kind::Directory | Kind::File(_)) {
            return None;
        }
        let name = self.fresh();
        let made = object::make(&self.root, &name, kind);
        let look = || {
            let stat = self.root.stat_at(&name)?;
            let same = match kind {
                Kind::Symlink(target) => self.root.read_link(&name)? == *target,
                other => (stat.kind, stat.device) == object::expected(other),
            };
            if same { Ok(()) } else { Err(changed()) }
        };
        let held = made.and_then(|()| look());
        let _ = self.root.remove_file(&name);
        held.err()
    }

    /// Returns why an object cannot have several names, if it cannot.
    pub(super) fn cannot_link(&self) -> Option<io::Error> {
        let name = self.fresh();
        let linked = self.root.create_link(FILE, &self.root, &name).and_then(|()| {
            let (one, two) = (self.root.stat_at(FILE)?, self.root.stat_at(&name)?);
            if one.id == two.id && one.links == 2 { Ok(()) } else { Err(changed()) }
        });
        let _ = self.root.remove_file(&name);
        linked.err()
    }

    /// Returns why an owner cannot be given, if it cannot.
    pub(super) fn cannot_give(&self, owner: (u32, u32)) -> Option<io::Error> {
        let tried = [false, true].into_iter().try_for_each(|is_directory| {
            let object = self.object(is_directory);
            if object.stat()?.owner != Some(owner) {
                object.set_owner(Some(owner.0), Some(owner.1))?;
            }
            if object.stat()?.owner == Some(owner) { Ok(()) } else { Err(changed()) }
        });
        // Back to this user, who goes on probing.
        if let Some((uid, gid)) = self.root.stat().ok().and_then(|stat| stat.owner) {
            let _ = self.object(false).set_owner(Some(uid), Some(gid));
            let _ = self.object(true).set_owner(Some(uid), Some(gid));
        }
        tried.err()
    }

    /// Returns why a mode cannot be set, if it cannot.
    pub(super) fn cannot_set_mode(&self, is_directory: bool, mode: u32) -> Option<io::Error> {
        let object = self.object(is_directory);
        let set = object.set_mode(mode).and_then(|()| match object.stat()?.mode {
            Some(found) if found == mode => Ok(()),
            Some(found) => Err(io::Error::other(format!("it becomes {found:o}"))),
            None => Err(io::ErrorKind::Unsupported.into()),
        });
        let _ = object.set_mode(if is_directory { 0o700 } else { 0o600 });
        set.err()
    }

    /// Returns why an attribute cannot be set, if it cannot; beside a mode, if one is given.
    pub(super) fn cannot_set_xattr(
        &self,
        kind: &Kind,
        name: &[u8],
        value: &[u8],
        mode: Option<u32>,
    ) -> Option<io::Error> {
        self.on_object(kind, |object| {
            let set = mode.map_or(Ok(()), |mode| object.set_mode(mode)).and_then(|()| {
                object.set_xattr(name, value)?;
                let found = object.xattrs()?;
                if found.iter().all(|(other, bytes)| other != name || bytes != value) {
                    return Err(changed());
                }
                match object.stat()?.mode.zip(mode) {
                    Some((found, meant)) if found != meant => {
                        Err(io::Error::other(format!("beside it the mode {meant:o} becomes {found:o}")))
                    }
                    _ => Ok(()),
                }
            });
            let _ = object.remove_xattr(name);
            set
        })
    }

    /// Returns why all these attributes together cannot be set, if they cannot.
    pub(super) fn cannot_set_all(
        &self,
        kind: &Kind,
        names: &[&[u8]],
        load: impl Fn(usize) -> io::Result<Vec<u8>>,
    ) -> Option<io::Error> {
        self.on_object(kind, |object| {
            let set = names.iter().enumerate().try_for_each(|(at, name)| object.set_xattr(name, &load(at)?));
            for name in names {
                let _ = object.remove_xattr(name);
            }
            set
        })
    }

    /// Returns why a stream cannot be written, if it cannot.
    pub(super) fn cannot_set_stream(&self, name: &[u8], value: &[u8]) -> Option<io::Error> {
        self.object(false).set_stream(name, value).err()
    }

    /// Returns why flags cannot be set, if they cannot.
    pub(super) fn cannot_set_flags(&self, flags: u32) -> Option<io::Error> {
        let object = self.object(false);
        let set = object
            .set_flags(flags)
            .and_then(|()| if object.stat()?.flags == Some(flags) { Ok(()) } else { Err(changed()) });
        let _ = object.set_flags(0);
        set.err()
    }

    /// Returns why the time of creation cannot be set, if it cannot.
    pub(super) fn cannot_set_created(&self, created: Time) -> Option<io::Error> {
        let object = self.object(false);
        object
            .set_times(None, Some(created))
            .and_then(|()| match object.stat()?.created {
                Some(found) if found.seconds == created.seconds => Ok(()),
                _ => Err(changed()),
            })
            .err()
    }

    fn on_object(&self, kind: &Kind, act: impl FnOnce(Object<'_>) -> io::Result<()>) -> Option<io::Error> {
        match kind {
            Kind::File(_) | Kind::Directory => {
                let is_directory = matches!(kind, Kind::Directory);
                let object = self.object(is_directory);
                let done = act(object);
                // An access list sets mode bits, which removing it leaves.
                let _ = self.object(is_directory).set_mode(if is_directory { 0o700 } else { 0o600 });
                done.err()
            }
            other => {
                let name = self.fresh();
                let made = match other {
                    Kind::Symlink(_) | Kind::Junction(_) => self.root.create_symlink(b"target", &name),
                    _ => self.root.create_special(&name, ObjectKind::Fifo, (0, 0)),
                };
                let done = made.and_then(|()| act(Object::Name(&self.root, &name)));
                let _ = self.root.remove_file(&name);
                done.err()
            }
        }
    }

    /// Returns the step in which the target keeps times, in nanoseconds; nothing where it keeps none.
    pub(super) fn time_step(&self) -> io::Result<i128> {
        // Odd in every digit, so that each step shows.
        let meant = Time { seconds: 1_234_567_891, nanos: 123_456_789 };
        let object = self.object(false);
        object.set_times(Some(meant), None)?;
        step_that_loses(meant.abs_diff(object.stat()?.mtime)).ok_or_else(changed)
    }

    /// Returns why a time cannot be kept, but for the target's step, if it cannot.
    pub(super) fn cannot_keep_time(&self, time: Time, step: i128) -> Option<io::Error> {
        if ORDINARY_SECONDS.contains(&time.seconds) {
            return None;
        }
        let object = self.object(false);
        let kept = object.set_times(Some(time), None).and_then(|()| {
            let found = object.stat()?.mtime;
            if time.abs_diff(found) < step {
                Ok(())
            } else {
                Err(io::Error::other(format!("it becomes {}", found.rfc3339())))
            }
        });
        kept.err()
    }

    /// Returns whether holes stay holes; an error where a file cannot even be made longer than what was written to it.
    pub(super) fn keeps_holes(&self) -> io::Result<bool> {
        const LENGTH: u64 = 4 << 20;
        let name = self.fresh();
        let tried = self.root.create_file(&name).and_then(|mut file| {
            fsys::allow_holes(&file)?;
            use io::{Seek, Write};
            file.set_len(LENGTH)?;
            file.seek(io::SeekFrom::Start(LENGTH / 2))?;
            file.write_all(b"data")?;
            let stat = Object::File(&file).stat()?;
            let holes = fsys::holes(&file, LENGTH)?;
            Ok(is_half_empty(LENGTH, stat.allocated, &holes))
        });
        let _ = self.root.remove_file(&name);
        tried
    }

    /// Returns whether a file of a size can be; asked without making one.
    pub(super) fn takes_size(&self, size: u64) -> bool {
        fsys::takes_size(&self.file, size).unwrap_or(true)
    }

    fn fresh(&self) -> Vec<u8> {
        self.tries.set(self.tries.get() + 1);
        format!("try{}", self.tries.get()).into_bytes()
    }
}

/// Refuses a target on which what is tried would fail for want of room, and look as if it could not be held.
fn require_files(free: Option<u64>, parent: &str) -> Result<()> {
    let Some(free) = free.filter(|&free| free < PROBE_FILES) else { return Ok(()) };
    let message = format!("{parent} has room for {free} more files; {PROBE_FILES} are needed to try what it keeps");
    refuse(Code::DestinationSpace, message)
}

/// Returns what it means that no directory can be made on the target.
pub(super) fn unmade(parent: &str, error: io::Error) -> Error {
    if fsys::lacks_means(&error) {
        return Error::environment(format!("make a directory in {parent}"), error);
    }
    let code = if lacks_room(&error) { Code::DestinationSpace } else { Code::DestinationParent };
    Refusal::new(code, format!("no directory can be made in {parent}")).cause(error).into()
}

/// Returns the shortest step of a file system's times, in nanoseconds, that takes as much from a time.
fn step_that_loses(lost: i128) -> Option<i128> {
    // ext4 and the like, NTFS, microseconds, exFAT (10 ms), seconds, FAT (2 s), days.
    const STEPS: [i128; 8] = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000, 86_400_000_000_000];
    STEPS.into_iter().find(|step| lost < *step)
}

/// Returns whether a file whose first half was not written takes less room than that, and is said to have holes.
fn is_half_empty(length: u64, allocated: Option<u64>, holes: &[(u64, u64)]) -> bool {
    allocated.is_some_and(|allocated| allocated < length / 2) && !holes.is_empty()
}

/// What is not as it was set.
fn changed() -> io::Error {
    io::Error::other("the target does not keep it")
}

/// Opens a directory that was made a moment ago, and is empty: another one of its name may have been put in its place.
pub(super) fn open_new(parent: &Dir, name: &[u8]) -> io::Result<Dir> {
    let dir = parent.open_dir(name)?;
    if dir.names()?.is_empty() { Ok(dir) } else { Err(another()) }
}

/// What is not the directory that was made.
pub(super) fn another() -> io::Error {
    io::Error::other("another directory was put in place of the one that was made")
}

/// Removes access lists that a directory has from the one above it, so that nothing below inherits them.
pub(super) fn strip_inherited(dir: &Dir) -> io::Result<()> {
    let object = Object::Directory(dir);
    for (name, _) in object.access_lists()? {
        object.remove_xattr(&name)?;
    }
    Ok(())
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // What was open a moment ago may keep a name a moment longer.
        for pause in [0, 5, 50, 500] {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            match self.parent.open_dir(&self.name) {
                // What is open is looked at, and cleared: its name may be another's by then.
                Ok(dir) if self.id.is_some() && dir.stat().ok().map(|stat| stat.id) == self.id => clear(&dir, 2),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                // A mask of the user's may close it to the user too: nothing is in it then.
                _ => {}
            }
            // Nothing but an empty directory is removed.
            let _ = self.parent.remove_dir(&self.name);
        }
    }
}

/// Removes what lies in a directory, some levels of it. What cannot be removed has a name that tells what it is.
fn clear(dir: &Dir, depth: u32) {
    for name in dir.names().unwrap_or_default() {
        if dir.remove_file(&name).is_ok() {
            continue;
        }
        if depth > 0
            && let Ok(inner) = dir.open_dir(&name)
        {
            clear(&inner, depth - 1);
        }
        let _ = dir.remove_dir(&name);
    }
}

/// Answers that were given before, so that each question is asked once.
pub(super) struct Answers<K> {
    known: HashMap<K, Option<String>>,
}

impl<K> Default for Answers<K> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

impl<K: std::hash::Hash + Eq> Answers<K> {
    /// Returns the answer to a question: why not, if not.
    pub(super) fn ask(&mut self, question: K, ask: impl FnOnce() -> Option<io::Error>) -> Option<String> {
        self.known.entry(question).or_insert_with(|| ask().map(|error| error.to_string())).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::target::tests::place;
    use super::*;

    #[test]
    fn what_was_tried_is_removed_and_nothing_of_another_directory_under_its_name() {
        let (root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        fs::write(root.path().join("beside"), "not yours").expect("writable");
        drop(probe);
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1, "what was beside it");
        let probe = Probe::new(&target).expect("writable");
        let name = String::from_utf8(probe._scratch.name.clone()).expect("text");
        let (place, away) = (root.path().join(&name), root.path().join("away"));
        fs::rename(&place, &away).expect("free");
        fs::create_dir_all(place.join("below")).expect("free");
        fs::write(place.join("below/file"), "not yours").expect("writable");
        drop(probe);
        assert_eq!(fs::read_to_string(place.join("below/file")).expect("not removed"), "not yours");
    }

    #[test]
    fn a_target_without_room_is_told_from_one_where_nothing_may_be_made() {
        assert!(require_files(None, "there").is_ok() && require_files(Some(PROBE_FILES), "there").is_ok());
        let refused = require_files(Some(PROBE_FILES - 1), "there").expect_err("no room for what is tried");
        assert_eq!(refused.code(), Some(Code::DestinationSpace), "{refused}");
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(unmade("there", full.into()).code(), Some(Code::DestinationSpace));
            assert_eq!(Probe::untried(full.into()).code(), Some(Code::DestinationSpace));
        }
        assert_eq!(unmade("there", io::ErrorKind::PermissionDenied.into()).code(), Some(Code::DestinationParent));
        assert_eq!(unmade("there", io::ErrorKind::OutOfMemory.into()).code(), None);
        assert_eq!(Probe::untried(io::ErrorKind::PermissionDenied.into()).code(), None);
    }

    #[test]
    fn a_target_keeps_times_in_the_shortest_step_that_takes_no_less_than_was_lost() {
        let steps = [(0, 1), (1, 100), (99, 100), (100, 1_000), (89, 100), (999_999_999, 1_000_000_000)];
        for (lost, step) in steps {
            assert_eq!(step_that_loses(lost), Some(step), "{lost}");
        }
        assert_eq!(step_that_loses(1_000_000_000), Some(2_000_000_000));
        assert_eq!(step_that_loses(86_400_000_000_000), None, "it keeps no times");
    }

    #[test]
    fn a_time_that_the_target_changes_by_a_step_or_more_is_not_kept() {
        let (_root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let (early, ordinary) = (Time { seconds: 315_705_599, nanos: 1 }, Time { seconds: 1 << 30, nanos: 1 });
        let step = probe.time_step().expect("times are kept");
        assert!(probe.cannot_keep_time(early, step).is_none());
        // Nothing changes a time by less than nothing.
        assert!(probe.cannot_keep_time(early, 0).is_some(), "tried");
        assert!(probe.cannot_keep_time(ordinary, 0).is_none(), "not tried: kept wherever times are");
    }

    #[test]
    fn holes_are_kept_where_they_take_no_room_and_are_told() {
        let holes = [(0, 100)];
        assert!(is_half_empty(100, Some(49), &holes));
        assert!(!is_half_empty(100, Some(50), &holes) && !is_half_empty(100, None, &holes));
        assert!(!is_half_empty(100, Some(0), &[]), "no backup would find them again");
    }

    #[test]
    fn a_file_that_is_longer_than_any_system_counts_is_not_taken() {
        let (_root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        assert!(probe.takes_size(1 << 20) && !probe.takes_size(i64::MAX as u64 + 1));
    }

    #[test]
    fn attributes_that_new_objects_have_by_themselves_are_told() {
        let (_root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        // As if the target had given it.
        if probe.object(false).set_xattr(b"user.devvault.given", b"value").is_err() {
            println!("skipped: no attributes here");
            return;
        }
        assert!(probe.ambient().contains(&b"user.devvault.given"[..]));
    }

    #[test]
    fn a_second_name_is_one_of_two_that_stand_for_the_same_file() {
        let (_root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        if let Some(error) = probe.cannot_link() {
            println!("skipped: no second names here: {error}");
            return;
        }
        probe.root.create_link(FILE, &probe.root, b"beside").expect("linked before");
        assert!(probe.cannot_link().is_some(), "three names, where two were made");
    }

    // Unix alone: links that any account may make, and pipes.
    #[cfg(unix)]
    #[test]
    fn attributes_are_tried_on_an_object_of_their_kind() {
        let (_root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        for kind in [Kind::File(Default::default()), Kind::Directory, Kind::Symlink(b"target".to_vec()), Kind::Fifo] {
            let look = |object: Object<'_>| {
                let stat = object.stat()?;
                if stat.kind == object::expected(&kind).0 { Ok(()) } else { Err(changed()) }
            };
            assert!(probe.on_object(&kind, look).is_none(), "{kind:?}");
        }
        assert_eq!(probe.root.names().expect("readable").len(), 3, "a file and two directories, as before");
    }

    // Linux alone: access lists, and neither flags nor streams.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_target_does_not_keep_is_told() {
        use crate::ops::restore::keep::tests::access_list;

        let (_root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        assert!(probe.cannot_set_mode(false, 0o644).is_none());
        assert!(probe.cannot_set_mode(false, 0o10_644).is_some_and(|error| error.to_string() == "it becomes 644"));
        assert!(probe.cannot_set_flags(1).is_some() && probe.cannot_set_stream(b"stream", b"value").is_some());
        // At most reading, which shows as the rights of the group.
        let list = |number| access_list(number, [(1, 6), (2, 4), (4, 0), (16, 4), (32, 0)]);
        let file = Kind::File(Default::default());
        let set = |list: &[u8], mode| probe.cannot_set_xattr(&file, b"system.posix_acl_access", list, mode);
        let beside = |mode| set(&list(u32::MAX), mode);
        if beside(None).is_some() {
            println!("skipped: no access lists here");
            return;
        }
        assert!(beside(Some(0o640)).is_none());
        let error = beside(Some(0o660)).expect("the list changes the mode");
        assert!(error.to_string().contains("beside it the mode 660 becomes 640"), "{error}");
        // The system keeps another number where it needs none: the same list in other bytes.
        assert!(set(&list(7), None).is_some());
        probe.root.remove_file(FILE).expect("there");
        assert!(probe.cannot_link().is_some(), "nothing is there to name");
        let (names, load) =
            ([&b"user.one"[..], b"user.two"], |at| if at == 0 { Ok(Vec::new()) } else { Err(changed()) });
        assert!(
            probe.cannot_set_all(&file, &names, load).is_some() && probe.cannot_set_all(&file, &[], load).is_none()
        );
    }

    #[test]
    fn of_what_was_tried_as_much_is_removed_as_can_have_been_made() {
        let (root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let name = String::from_utf8(probe._scratch.name.clone()).expect("text");
        let place = root.path().join(name);
        fs::create_dir_all(place.join("1/2/3")).expect("free");
        for file in ["1/2/file", "1/2/3/file"] {
            fs::write(place.join(file), "").expect("writable");
        }
        drop(probe);
        assert!(!place.join("dir").exists() && !place.join("1/2/file").exists());
        assert!(place.join("1/2/3/file").exists(), "nothing is made as deep");
    }

    #[test]
    fn of_a_directory_that_was_not_looked_at_nothing_is_removed() {
        let (root, target) = place();
        for name in ["empty", "full"] {
            fs::create_dir(root.path().join(name)).expect("free");
        }
        fs::write(root.path().join("full/file"), "not yours").expect("writable");
        for name in ["empty", "full", "absent"] {
            drop(Scratch { parent: &target.parent, name: name.into(), id: None });
        }
        assert!(root.path().join("full/file").exists() && !root.path().join("empty").exists());
    }

    #[test]
    fn a_directory_that_is_not_empty_is_not_the_one_that_was_made() {
        let (root, target) = place();
        fs::create_dir(root.path().join("made")).expect("free");
        assert!(open_new(&target.parent, b"made").is_ok());
        fs::write(root.path().join("made/file"), "").expect("writable");
        assert!(open_new(&target.parent, b"made").is_err());
    }
}
