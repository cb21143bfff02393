//! Modes of restored objects: which bits are restored, and which are set only after everything was read back.
//!
//! A set-id bit gives the owner's rights to whoever runs the file. On a file that does not belong to the recorded owner
//! it would give somebody else's, root's in the worst case; so it is never set there, and the report says so. A mode
//! that keeps the owner from reading is set after the comparison, and held against the entry by itself.

use std::sync::Arc;

use super::tree::{Directories, failed};
use crate::error::Result;
use crate::format::entry::{Entry, Kind};
use crate::fsys::{self, Dir};
use crate::path::EntryPath;
use crate::refusal::{Code, Refusal};

/// Set-user-id and set-group-id.
pub(super) const SET_ID: u32 = 0o6000;

/// Returns the mode that an object ends with; nothing for a link.
pub(super) fn restored(entry: &Entry) -> Option<u32> {
    let default = match entry.kind {
        Kind::Directory => fsys::DIRECTORY_MODE_DEFAULT,
        Kind::File(_) => fsys::FILE_MODE_DEFAULT,
        Kind::Symlink(_) => return None,
    };
    Some(entry.mode.unwrap_or(default) & !SET_ID)
}

/// Returns the mode that an object has while it is compared: its owner can read it.
pub(super) fn while_compared(entry: &Entry) -> Option<u32> {
    let readable = if entry.is_directory() { 0o500 } else { 0o400 };
    restored(entry).map(|mode| mode | readable)
}

/// Returns whether bits of an entry's mode are not restored.
pub(super) fn loses_bits(entry: &Entry) -> bool {
    restored(entry).is_some_and(|mode| entry.mode.is_some_and(|meant| meant != mode))
}

/// Objects whose modes keep their owner from reading them; few, in ordinary trees.
#[derive(Default)]
pub(super) struct Seals(Vec<(EntryPath, bool, u32)>);

impl Seals {
    /// Takes entries in path order.
    pub(super) fn take(&mut self, entry: &Entry) {
        if let Some(mode) = restored(entry)
            && while_compared(entry) != Some(mode)
        {
            self.0.push((entry.path.clone(), entry.is_directory(), mode));
        }
    }

    /// Sets the modes, deepest first, and holds what the file system then says against them. Returns whether there
    /// were any.
    pub(super) fn apply(self, root: &Arc<Dir>) -> Result<bool> {
        let any = !self.0.is_empty();
        let mut directories = Directories::new(Arc::clone(root));
        for (path, is_directory, mode) in self.0.into_iter().rev() {
            let parent = path.parent().unwrap_or_default();
            let found = if is_directory {
                directories.get(&path).and_then(|dir| {
                    dir.set_meta(Some(mode), None)?;
                    if !fsys::SYNCS_WHOLE_FILESYSTEMS {
                        dir.sync()?;
                    }
                    dir.stat()
                })
            } else {
                directories.get(&parent).and_then(|dir| {
                    let file = dir.open_file(path.name())?;
                    Dir::set_file_meta(&file, Some(mode), None)?;
                    if !fsys::SYNCS_WHOLE_FILESYSTEMS {
                        file.sync_all()?;
                    }
                    fsys::stat_file(&file)
                })
            };
            let found = found.map_err(|error| failed(&path, "set the mode of", error))?.mode;
            if found.is_some_and(|found| found != mode) {
                return Err(Refusal::new(Code::RestoredDiffers, "a restored object differs from the snapshot")
                    .cause(format!("{path}: its mode is {:o}, not {mode:o}", found.unwrap_or_default()))
                    .paths(vec![path])
                    .into());
            }
        }
        Ok(any)
    }
}
