//! Lifting what forbids the removal of restored files: modes of directories, flags.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use crate::fsys::walk::{Decision, Guide, walk_guided};
use crate::fsys::{Dir, Object, ObjectKind, Stat};
use crate::path::EntryPath;

/// Opens each directory before it is entered.
struct Lifter;

impl Guide for Lifter {
    fn decide(&mut self, _: &EntryPath, _: &Stat) -> Decision {
        Decision::Take
    }

    fn enter(
        &mut self,
        _: &EntryPath,
        dir: &Dir,
        _: &Stat,
        names: &mut Vec<Vec<u8>>,
    ) -> Result<(), (EntryPath, io::Error)> {
        for name in names {
            open_up(dir, name);
        }
        Ok(())
    }
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

/// Lifts what forbids the removal of everything below a directory that belongs to this process.
///
/// # Errors
/// The directory cannot be read at all.
pub(super) fn lift(path: &Path) -> io::Result<()> {
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        open_up(&Dir::open(parent)?, name.as_encoded_bytes());
    }
    walk_guided(Dir::open(path)?, Lifter, |_| ControlFlow::Continue(()))
}
