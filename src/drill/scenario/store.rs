//! A store that takes so many packs, or so many bytes, and nothing after that.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::store::{Listed, LocalStore, Lock, NewFile, Store, StoredFile};
use crate::vault::layout;

/// What is left until the medium fails.
#[derive(Debug)]
enum Left {
    /// Packs that are put in place; after the last one nothing is taken, as after a loss of power.
    Packs(AtomicU64),
    /// Bytes; after the last one the medium is full.
    Bytes(AtomicU64),
}

impl Left {
    /// Takes an operation that writes so many bytes.
    fn spend(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Packs(left) if left.load(Ordering::SeqCst) == 0 => Err(io::Error::other("the power has failed")),
            Self::Packs(_) => Ok(()),
            Self::Bytes(left) => left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes))
                .map(|_| ())
                .map_err(|_| io::ErrorKind::StorageFull.into()),
        }
    }

    /// Counts a name that was put in place.
    fn placed(&self, name: &str) {
        if let Self::Packs(left) = self
            && name.starts_with(layout::PACKS)
        {
            let _ = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        }
    }
}

/// A local store that fails after a while.
#[derive(Debug)]
pub(super) struct Failing {
    inner: LocalStore,
    left: Arc<Left>,
}

impl Failing {
    pub(super) fn after_packs(vault: &Path, packs: u64) -> Result<Self> {
        Self::new(vault, Left::Packs(packs.into()))
    }

    pub(super) fn after_bytes(vault: &Path, bytes: u64) -> Result<Self> {
        Self::new(vault, Left::Bytes(bytes.into()))
    }

    fn new(vault: &Path, left: Left) -> Result<Self> {
        let inner = LocalStore::open(vault).map_err(|error| Error::environment("open the throw-away vault", error))?;
        Ok(Self { inner, left: Arc::new(left) })
    }
}

struct FailingFile {
    inner: Box<dyn NewFile>,
    left: Arc<Left>,
}

impl NewFile for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left.spend(bytes.len() as u64)?;
        self.inner.write(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.left.spend(0)?;
        self.inner.sync()
    }
}

impl Store for Failing {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn local_path(&self) -> Option<&Path> {
        self.inner.local_path()
    }
    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        self.inner.list(directory)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.inner.open(name)
    }
    fn length(&self, name: &str) -> io::Result<u64> {
        self.inner.length(name)
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        self.left.spend(0)?;
        let inner = self.inner.create(name)?;
        Ok(Box::new(FailingFile { inner, left: Arc::clone(&self.left) }))
    }
    fn create_directory(&self, name: &str) -> io::Result<()> {
        self.left.spend(0)?;
        self.inner.create_directory(name)
    }
    fn sync_directory(&self, name: &str) -> io::Result<()> {
        self.left.spend(0)?;
        self.inner.sync_directory(name)
    }
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.left.spend(0)?;
        self.inner.rename_new(from, to)?;
        self.left.placed(to);
        Ok(())
    }
    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.left.spend(0)?;
        self.inner.remove_file(name)
    }
    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.left.spend(0)?;
        self.inner.remove_directory(name)
    }
    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.inner.lock(name, exclusive)
    }
    fn available_bytes(&self) -> io::Result<u64> {
        self.inner.available_bytes()
    }
}
