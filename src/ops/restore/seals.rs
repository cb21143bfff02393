//! What is set only after everything was read back: modes that keep the owner from reading, and flags.

use std::sync::Arc;

use super::keep::Keep;
use super::own;
use super::tree::failed;
use crate::error::Result;
use crate::format::entry::Entry;
use crate::fsys::{Dir, Object, ObjectId};
use crate::ops::directories::{Directories, put_on, take_off};
use crate::path::Trail;
use crate::refusal::{Code, Refusal};
use crate::vault::read::Reader;

/// Seals objects in one more pass over the listing; a directory after everything in it.
pub(super) struct Sealer<'a> {
    keep: &'a Keep,
    reader: &'a Reader,
    directories: Directories,
    // The files that are to be sealed, in the order of the listing.
    made: std::vec::IntoIter<ObjectId>,
    // Directories on the way to the entry before that are to be sealed.
    open: Trail<Entry>,
}

impl<'a> Sealer<'a> {
    /// Begins, with the ids of the files that are to be sealed.
    pub(super) fn new(keep: &'a Keep, root: &Arc<Dir>, made: Vec<ObjectId>, reader: &'a Reader) -> Self {
        let directories = Directories::new(Arc::clone(root));
        Self { keep, reader, directories, made: made.into_iter(), open: Trail::default() }
    }

    /// Takes entries in path order; of an object with several names the first alone.
    pub(super) fn take(&mut self, entry: Entry) -> Result<()> {
        while self.open.is_left_by(&entry.path) {
            self.seal_deepest()?;
        }
        if !self.keep.is_sealed(&entry) {
            return Ok(());
        }
        if entry.is_directory() {
            put_on(&mut self.open, entry);
            return Ok(());
        }
        self.seal(&entry)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        while !self.open.is_empty() {
            self.seal_deepest()?;
        }
        Ok(())
    }

    fn seal_deepest(&mut self) -> Result<()> {
        take_off(&mut self.open).map_or(Ok(()), |done| self.seal(&done))
    }

    /// Seals an object, and holds what the file system then says against its entry.
    fn seal(&mut self, entry: &Entry) -> Result<()> {
        let differences = self.set(entry)?;
        if differences.is_empty() {
            return Ok(());
        }
        let mut refusal = Refusal::new(Code::RestoredDiffers, "a restored object differs from the snapshot");
        refusal.causes.extend(differences.iter().map(|what| format!("{}: {what}", entry.path)));
        refusal.paths.push(entry.path.clone());
        Err(refusal.into())
    }

    fn set(&mut self, entry: &Entry) -> Result<Vec<String>> {
        let (keep, reader) = (self.keep, self.reader);
        let lift = |error| failed(&entry.path, "seal", error);
        if entry.is_directory() {
            let dir = self.directories.get(&entry.path).map_err(lift)?;
            let differences = keep.seal(Object::Directory(&dir), entry, reader)?;
            keep.durability.sync_directory(&dir).map_err(lift)?;
            return Ok(differences);
        }
        let dir = self.directories.get(&entry.path.parent().unwrap_or_default()).map_err(lift)?;
        if entry.file().is_none() {
            own::require_kind(&dir, entry)?;
            return keep.seal(Object::Name(&dir, entry.path.name()), entry, reader);
        }
        let file = own::open_to_seal(&dir, entry, self.made.next().unwrap_or_default(), keep)?;
        let differences = keep.seal(Object::File(&file), entry, reader)?;
        keep.durability.sync_file(&file).map_err(lift)?;
        Ok(differences)
    }
}
