//! The place of a salvage: found safe before anything is written, and never replaced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, refuse, shown_path};
use crate::fsys::{Dir, ObjectKind};
use crate::host::Host;
use crate::ops::overlap;
use crate::refusal::{Code, Refusal};

/// A destination that was found safe.
pub(super) struct Target {
    pub(super) path: PathBuf,
    name: Vec<u8>,
    parent: Dir,
    existed: bool,
}

impl Target {
    /// Refuses every destination that holds anything, is no plain directory, or overlaps the vault; changes nothing.
    pub(super) fn preflight(destination: &Path, vault: Option<&Path>, host: &Host) -> Result<Self> {
        let shown = shown_path(destination);
        let name = destination
            .file_name()
            .ok_or_else(|| Refusal::new(Code::DestinationNotPlain, format!("{shown} names no directory of its own")))?;
        let above = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let unusable = |error: io::Error| {
            Refusal::new(Code::DestinationParent, format!("{} cannot be used", shown_path(above))).cause(error)
        };
        let above_path = fs::canonicalize(above).map_err(unusable)?;
        let parent = Dir::open(&above_path).map_err(unusable)?;
        let path = above_path.join(name);
        let name = name.as_encoded_bytes().to_vec();
        let existed = match parent.stat_at(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::environment(format!("look at {shown}"), error)),
            Ok(stat) if stat.kind != ObjectKind::Directory => {
                return refuse(
                    Code::DestinationNotPlain,
                    format!("{shown} is a {}, not a directory", stat.kind.name()),
                );
            }
            Ok(_) => {
                let names = parent.open_dir(&name).and_then(|dir| dir.names());
                if !names.map_err(|error| Error::environment(format!("list {shown}"), error))?.is_empty() {
                    return refuse(Code::DestinationNotEmpty, format!("{shown} is not empty"));
                }
                true
            }
        };
        if let Some(place) = overlap::taken(&path, host, vault) {
            return refuse(Code::DestinationOverlaps, format!("{shown} overlaps {place}"));
        }
        Ok(Self { path, name, parent, existed })
    }

    /// Makes the directory.
    pub(super) fn make(self) -> Result<Made> {
        let made = if self.existed { Ok(()) } else { self.parent.create_dir(&self.name) };
        let root = made.and_then(|()| self.parent.open_dir(&self.name)).map_err(|error| {
            Refusal::new(Code::DestinationParent, format!("{} cannot be made", shown_path(&self.path))).cause(error)
        })?;
        // Another directory may have its name by now.
        if !root
            .names()
            .map_err(|error| Error::environment(format!("list {}", shown_path(&self.path)), error))?
            .is_empty()
        {
            return refuse(Code::DestinationNotEmpty, format!("{} is not empty", shown_path(&self.path)));
        }
        Ok(Made { path: self.path, root, parent: self.parent })
    }
}

/// A destination that is there and empty.
pub(super) struct Made {
    pub(super) path: PathBuf,
    pub(super) root: Dir,
    pub(super) parent: Dir,
}
