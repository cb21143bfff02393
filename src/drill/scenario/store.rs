//! A store that takes so many writes, or so many bytes, and none after that.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::store::{Listed, LocalStore, Lock, NewFile, Store, StoredFile};

/// What is left until the medium fails.
#[derive(Debug)]
enum Left {
    /// Operations that change anything; after the last one nothing is taken, as after a loss of power.
    Writes(AtomicU64),
    /// Bytes; after the last one the medium is full.
    Bytes(AtomicU64),
}

impl Left {
    /// Takes an operation that writes so many bytes.
    fn spend(&self, bytes: u64) -> io::Result<()> {
        let (left, cost, error) = match self {
            Self::Writes(left) => (left, 1, io::Error::other("the power has failed")),
            Self::Bytes(left) => (left, bytes, io::ErrorKind::StorageFull.into()),
        };
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(cost)).map(|_| ()).map_err(|_| {
            if matches!(self, Self::Writes(_)) {
                left.store(0, Ordering::SeqCst);
            }
            error
        })
    }
}

/// A local store that fails after a while.
#[derive(Debug)]
pub(super) struct Failing {
    inner: LocalStore,
    left: Arc<Left>,
}

impl Failing {
    pub(super) fn after_writes(vault: &Path, writes: u64) -> Result<Self> {
        Self::new(vault, Left::Writes(writes.into()))
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
        self.inner.rename_new(from, to)
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
