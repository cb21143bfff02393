//! What is set only after everything was read back: modes that keep the owner from reading, and flags.

use std::sync::Arc;

use super::keep::Keep;
use super::tree::{Directories, failed};
use crate::error::Result;
use crate::format::entry::{Entry, Kind};
use crate::fsys::{self, Dir, Object};
use crate::refusal::{Code, Refusal};
use crate::vault::read::Reader;

/// Objects that are sealed; few, in ordinary trees.
#[derive(Default)]
pub(super) struct Seals(Vec<Entry>);

impl Seals {
    /// Takes entries in path order; of an object with several names the first alone.
    pub(super) fn take(&mut self, keep: &Keep, entry: &Entry) {
        if keep.is_sealed(entry) {
            let mut entry = entry.clone();
            if let Kind::File(file) = &mut entry.kind {
                // What it holds was compared; a long list of chunks need not wait in memory.
                file.chunks = crate::format::entry::Chunks::Direct(Vec::new());
                file.holes.clear();
            }
            self.0.push(entry);
        }
    }

    /// Seals the objects, deepest first, and holds what the file system then says against the entries. Returns whether
    /// there were any.
    pub(super) fn apply(self, keep: &Keep, root: &Arc<Dir>, reader: &Reader) -> Result<bool> {
        let any = !self.0.is_empty();
        let mut directories = Directories::new(Arc::clone(root));
        for entry in self.0.into_iter().rev() {
            let differences = seal(keep, &mut directories, &entry, reader)?;
            if !differences.is_empty() {
                let mut refusal = Refusal::new(Code::RestoredDiffers, "a restored object differs from the snapshot");
                refusal.causes.extend(differences.iter().map(|what| format!("{}: {what}", entry.path)));
                refusal.paths.push(entry.path);
                return Err(refusal.into());
            }
        }
        Ok(any)
    }
}

fn seal(keep: &Keep, directories: &mut Directories, entry: &Entry, reader: &Reader) -> Result<Vec<String>> {
    let lift = |error| failed(&entry.path, "seal", error);
    if entry.is_directory() {
        let dir = directories.get(&entry.path).map_err(lift)?;
        let differences = keep.seal(Object::Directory(&dir), entry, reader)?;
        if !fsys::SYNCS_WHOLE_FILESYSTEMS {
            dir.sync().map_err(lift)?;
        }
        return Ok(differences);
    }
    let dir = directories.get(&entry.path.parent().unwrap_or_default()).map_err(lift)?;
    if entry.file().is_none() {
        return keep.seal(Object::Name(&dir, entry.path.name()), entry, reader);
    }
    let file = if cfg!(windows) { dir.reopen_file(entry.path.name()) } else { dir.open_file(entry.path.name()) };
    let file = file.map_err(lift)?;
    let differences = keep.seal(Object::File(&file), entry, reader)?;
    if !fsys::SYNCS_WHOLE_FILESYSTEMS {
        fsys::sync_file(&file).map_err(lift)?;
    }
    Ok(differences)
}
