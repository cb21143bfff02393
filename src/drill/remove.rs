//! Removing what a drill restored: through directory handles, never following a link, telling how far it is.
//!
//! Modes and flags that were restored and forbid a removal are lifted on the way.

use std::io;
use std::path::Path;

use crate::fsys::{Dir, Object, ObjectKind};
use crate::progress::{Phase, Progress};

/// Whether a removal came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// Nothing is left.
    Complete,
    /// Somebody wished to stop; what was not reached is still there.
    Stopped,
}

/// Removes a directory with everything in it. `objects` is how many there are about, where that is known; a wish to stop
/// is heeded between two objects if `may_stop` says so.
///
/// # Errors
/// Something cannot be removed; what was not reached is still there.
pub(super) fn remove(
    path: &Path,
    objects: Option<u64>,
    may_stop: bool,
    progress: &dyn Progress,
) -> io::Result<Removal> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    progress.phase(Phase::Cleaning, objects, None);
    let mut here = match Dir::open(parent) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removal::Complete),
        Err(error) => return Err(error),
    };
    // Each directory that was entered: its name, and the names in it that are left. Their number is bounded by the depth.
    let mut entered: Vec<(Vec<u8>, Vec<Vec<u8>>)> = vec![(Vec::new(), vec![name.as_encoded_bytes().to_vec()])];
    while let Some((_, names)) = entered.last_mut() {
        if may_stop && progress.interrupted() {
            return Ok(Removal::Stopped);
        }
        if let Some(name) = names.pop() {
            if let Some(below) = take_away(&here, &name)? {
                let names = below.names()?;
                here = below;
                entered.push((name, names));
            } else {
                progress.advance(1, 0);
            }
            continue;
        }
        let Some((name, _)) = entered.pop().filter(|_| !entered.is_empty()) else { break };
        here = here.open_parent()?;
        here.remove_dir(&name)?;
        progress.advance(1, 0);
    }
    Ok(Removal::Complete)
}

/// Removes an object that is not a directory; a directory is opened and returned.
fn take_away(here: &Dir, name: &[u8]) -> io::Result<Option<Dir>> {
    let kind = match here.stat_at(name) {
        Ok(stat) => stat.kind,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if kind == ObjectKind::Directory {
        open_up(here, name);
        return here.open_dir(name).map(Some);
    }
    if here.remove_file(name).is_err() {
        open_up(here, name);
        here.remove_file(name)?;
    }
    Ok(None)
}

/// Lets who restored an object read and remove it; what that cannot be done for shows when it is tried.
pub(super) fn open_up(dir: &Dir, name: &[u8]) {
    let Ok(stat) = dir.stat_at(name) else { return };
    let object = Object::Name(dir, name);
    if stat.flags.is_some_and(|flags| flags != 0) {
        let _ = object.set_flags(0);
    }
    let needed = match stat.kind {
        ObjectKind::Directory => 0o700,
        ObjectKind::File => 0o400,
        _ => return,
    };
    if let Some(mode) = stat.mode.filter(|mode| mode & needed != needed) {
        let _ = object.set_mode(mode | needed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Counts what is removed, and wishes to stop after so many.
    struct Count(AtomicU64, u64);

    impl Progress for Count {
        fn advance(&self, objects: u64, _: u64) {
            self.0.fetch_add(objects, Ordering::SeqCst);
        }
        fn interrupted(&self) -> bool {
            self.0.load(Ordering::SeqCst) >= self.1
        }
    }

    /// A tree of 12 objects, its root included.
    fn tree(root: &Path) {
        for file in 0..8 {
            let directory = root.join(if file % 2 == 0 { "even" } else { "odd/deep" });
            fs::create_dir_all(&directory).expect("made");
            fs::write(directory.join(file.to_string()), "x").expect("written");
        }
    }

    #[test]
    fn a_removal_tells_of_every_object_and_leaves_nothing() {
        let base = tempfile::tempdir().expect("a directory");
        let root = base.path().join("root");
        tree(&root);
        let count = Count(0.into(), u64::MAX);
        assert_eq!(remove(&root, None, true, &count).expect("removed"), Removal::Complete);
        assert_eq!((count.0.into_inner(), root.exists(), base.path().exists()), (12, false, true));
        assert_eq!(remove(&root, None, true, &Count(0.into(), 9)).expect("nothing there"), Removal::Complete);
    }

    #[test]
    fn a_removal_stops_between_two_objects_only_where_it_may() {
        let base = tempfile::tempdir().expect("a directory");
        let root = base.path().join("root");
        tree(&root);
        assert_eq!(remove(&root, None, true, &Count(0.into(), 5)).expect("stopped"), Removal::Stopped);
        assert_eq!(walkdir::WalkDir::new(&root).into_iter().count(), 7);
        assert_eq!(remove(&root, None, false, &Count(0.into(), 0)).expect("removed"), Removal::Complete);
        assert!(!root.exists());
    }

    // Unix alone: modes that keep their owner out.
    #[cfg(unix)]
    #[test]
    fn a_removal_follows_no_link_and_lifts_modes_that_forbid_it() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let base = tempfile::tempdir().expect("a directory");
        let (root, other) = (base.path().join("root"), base.path().join("other"));
        tree(&root);
        tree(&other);
        symlink(&other, root.join("link")).expect("a link");
        fs::set_permissions(root.join("odd"), fs::Permissions::from_mode(0o000)).expect("a mode");
        fs::set_permissions(root.join("even"), fs::Permissions::from_mode(0o500)).expect("a mode");
        assert_eq!(remove(&root, None, true, &Count(0.into(), u64::MAX)).expect("removed"), Removal::Complete);
        assert_eq!(walkdir::WalkDir::new(&other).into_iter().count(), 12, "what the link leads to is untouched");
    }
}
