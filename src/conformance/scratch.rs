//! Where the cases run: a directory of their own, and a host of their own, which no case shares with the operator's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Fixtures, Place};
use crate::clock::{FixedClock, Time};
use crate::crypto::Id;
use crate::error::{Error, Result, shown_path};
use crate::fsys;
use crate::host::Host;
use crate::refusal::{Code, Refusal};
use crate::vault::gate::Access;
use crate::vault::layout;

/// When every case happens.
pub(super) const NOW: Time = Time { seconds: 1_700_000_000, nanos: 0 };

/// The directories of a run; removed when dropped.
pub(super) struct Scratch {
    place: TempDir,
    // Keys need a file system with modes, which the place need not have.
    host: TempDir,
    /// The directory that was named.
    pub(super) named: Option<PathBuf>,
}

impl Scratch {
    /// Makes the directories.
    ///
    /// # Errors
    /// The directory that was named cannot be written, such as one of a read-only medium: what was not tried is not judged.
    /// DV202 where it lies in a vault and was not named as one.
    pub(super) fn new(place: Place<'_>) -> Result<Self> {
        let temporary = || {
            let made = tempfile::Builder::new().prefix("devvault-conformance-").tempdir();
            made.map_err(|error| Error::environment("make a temporary directory", error))
        };
        let host = temporary()?;
        let (named, made) = match place {
            Place::Temporary => return Ok(Self { place: temporary()?, host, named: None }),
            Place::Directory(path) => {
                let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
                if let Some(vault) = layout::root_above(&real) {
                    let (path, vault) = (shown_path(path), shown_path(vault));
                    return Err(Refusal::new(Code::DestinationOverlaps, format!("{path} lies in the vault {vault}"))
                        .next("judge the medium of a vault by `devvault --vault V conformance`")
                        .into());
                }
                let builder = &mut tempfile::Builder::new();
                (path, builder.prefix(".devvault-conformance-").tempdir_in(path))
            }
            Place::Vault(path) => {
                let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
                let name = format!("{}{id}", layout::PROBE_PREFIX);
                (path, tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir_in(path))
            }
        };
        let place = made.map_err(|error| {
            let attempt = format!("judge {}: no case ran, because none can be written there", shown_path(named));
            Error::environment(attempt, error)
        })?;
        Ok(Self { place, host, named: Some(named.to_owned()) })
    }

    /// Returns the directory in which cases run.
    pub(super) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Makes a directory for one case.
    pub(super) fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.place.path().join(name);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Returns a host that no other case has used, without any state.
    pub(super) fn host(&self, name: &str) -> Host {
        let root = self.host.path().join(name);
        Host::new(root.join("config"), root.join("state"), root.join("data"))
    }

    /// Returns access to a vault from such a host, with this key, at the time of every case.
    pub(super) fn access(&self, name: &str, vault: &Path, key: Option<&[u8]>) -> io::Result<Access> {
        let mut access = Access::new(vault, self.host(name));
        access.clock = Arc::new(FixedClock(NOW));
        if let Some(key) = key {
            let path = self.host.path().join(format!("{name}.key"));
            fsys::write_private(&path, key)?;
            access.key_file = Some(path);
        }
        Ok(access)
    }

    /// Writes a fixture vault into a new directory; returns where.
    pub(super) fn vault(&self, fixtures: &Fixtures, vault: &str, name: &str) -> io::Result<PathBuf> {
        let root = self.directory(name)?;
        for (file, bytes) in fixtures.below(&format!("vaults/{vault}/")) {
            write(&root, file, bytes)?;
        }
        // What a checkout or an archive without empty directories lacks.
        fs::create_dir_all(root.join(layout::SNAPSHOTS))?;
        Ok(root)
    }
}

/// Returns where a file of a vault lies below a directory.
pub(super) fn below(root: &Path, name: &str) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(name.split('/'));
    path
}

/// Writes a file of a vault below a directory, with the directories above it.
pub(super) fn write(root: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = below(root, name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}
