//! Files that commands write besides: receipts, reports, exports, bundles, metrics.
//!
//! Invariants: none lies in a vault or among devvault's own files, and none replaces anything, but metrics older metrics.
//! That is looked at before the work begins, and once more when the file is written; it is written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::overlap;
use crate::error::{Error, Result, shown_path};
use crate::fsys::{self, replace};
use crate::host::Host;
use crate::refusal::{Code, Refusal};

/// A place that a file may be written to.
#[derive(Debug)]
pub struct Output<'a> {
    // What it is, in the words of a message: "the receipt".
    what: &'static str,
    path: &'a Path,
}

impl<'a> Output<'a> {
    /// Takes the place of a new file, which the work on a vault will fill, if one is named.
    ///
    /// # Errors
    /// DV202 where it lies in a vault or among devvault's own files, DV407 where something is there already; an
    /// environment error where its directory is missing or cannot be written.
    pub fn new(what: &'static str, path: &'a Path, host: &Host, vault: Option<&Path>) -> Result<Self> {
        let output = Self { what, path };
        output.look_at_directory(host, vault)?;
        match fs::symlink_metadata(path) {
            Ok(_) => Err(output.exists()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(output),
            Err(error) => Err(output.failed(error)),
        }
    }

    /// Takes the place of a file that is replaced if it begins as the earlier ones do, and is new otherwise.
    ///
    /// # Errors
    /// As [`new`](Self::new), DV407 where anything else is there.
    pub fn over(
        what: &'static str,
        path: &'a Path,
        beginning: &str,
        host: &Host,
        vault: Option<&Path>,
    ) -> Result<Self> {
        let output = Self { what, path };
        output.look_at_directory(host, vault)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(output),
            Err(error) => Err(output.failed(error)),
            Ok(metadata) if metadata.is_file() && begins_with(path, beginning.as_bytes()) => Ok(output),
            Ok(_) => Err(Refusal::new(
                Code::NotEmpty,
                format!("{} holds something else than {what}; it is not replaced", shown_path(path)),
            )
            .next("name a file that does not exist yet, or the one that was written there before")
            .into()),
        }
    }

    /// Returns the place.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// Writes the new file for whoever the system lets read new files.
    ///
    /// # Errors
    /// DV407 where something has appeared there; it cannot be written. Nothing is there then that was not before.
    pub fn create(&self, bytes: &[u8]) -> Result<()> {
        replace::create_new(self.path, bytes).map_err(|error| self.failed(error))
    }

    /// Writes the new file for its owner alone.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_private(&self, bytes: &[u8]) -> Result<()> {
        replace::create_private(self.path, bytes).map_err(|error| self.failed(error))
    }

    /// Begins the new file, for its owner alone, under a name beside its own.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn draft(&self) -> Result<(Draft, File)> {
        let path = replace::draft_path(self.path);
        let file = fsys::new_private(&path).map_err(|error| self.failed(error))?;
        Ok((Draft { path, done: false }, file))
    }

    /// Puts what was written and made durable in its place.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub(super) fn publish(&self, mut draft: Draft) -> Result<()> {
        fsys::rename_no_replace(&draft.path, self.path).map_err(|error| self.failed(error))?;
        draft.done = true;
        replace::sync_name(self.path).map_err(|error| self.failed(error))
    }

    /// Replaces the file as a whole, for everybody to read.
    ///
    /// # Errors
    /// The file cannot be written; the old one is then still there, unchanged.
    pub fn replace(&self, bytes: &[u8]) -> Result<()> {
        let path = std::path::absolute(self.path).unwrap_or_else(|_| self.path.to_owned());
        replace::replace(&path, bytes).and_then(|()| fsys::let_others_read(&path)).map_err(|error| self.failed(error))
    }

    /// Says what a failure to write it means.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::AlreadyExists => self.exists(),
            _ => Error::environment(format!("write {} {}", self.what, shown_path(self.path)), error),
        }
    }

    fn exists(&self) -> Error {
        Refusal::new(Code::NotEmpty, format!("{} exists; nothing is written over it", shown_path(self.path)))
            .next("name a file that does not exist yet")
            .into()
    }

    /// Refuses a directory in which no output may lie, or cannot.
    fn look_at_directory(&self, host: &Host, vault: Option<&Path>) -> Result<()> {
        let directory = self.path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = directory.canonicalize().map_err(|error| self.failed(error))?;
        let Some(place) = overlap::taken(&directory.join(self.path.file_name().unwrap_or_default()), host, vault)
        else {
            // Nothing of it stays. What cannot be written is told before the work and not after it.
            return tempfile::tempfile_in(&directory).map(drop).map_err(|error| self.failed(error));
        };
        Err(Refusal::new(Code::DestinationOverlaps, format!("{} lies in {place}", shown_path(self.path)))
            .next("name a file elsewhere, best on another medium than the vault's")
            .into())
    }
}

/// A file that is being written under another name; removed when dropped, unless it was published.
pub(super) struct Draft {
    path: PathBuf,
    done: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn begins_with(path: &Path, beginning: &[u8]) -> bool {
    let mut found = Vec::new();
    let read = fsys::open_plain(path).and_then(|file| file.take(beginning.len() as u64).read_to_end(&mut found));
    read.is_ok() && found == beginning
}
