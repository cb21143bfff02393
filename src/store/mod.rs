//! Stores: the place where a vault's files lie, blind to what is in them.
//!
//! Names are relative, lower-case, joined by `/`. A store never replaces and never follows a link; what it says it has
//! synced is durable. Every store passes the same contract suite.

mod local;

pub use local::LocalStore;

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// What a name in a store stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else, such as a link or a pipe; never opened.
    Foreign,
}

/// A name in a directory of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name, without its directory; bytes that are no UTF-8 are replaced, such a name is foreign anyway.
    pub name: String,
    /// What it stands for.
    pub kind: NameKind,
}

/// A file of a store, open for reading.
pub trait StoredFile: Send + Sync {
    /// Returns the length when it was opened, in bytes.
    fn length(&self) -> u64;
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the file ends before; whatever the medium says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Asks for the next reads to come from the medium; returns whether the system can be asked.
    fn drop_cached(&self) -> bool;
}

/// A file of a store that is being written.
pub trait NewFile: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// The medium is full or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable.
    ///
    /// # Errors
    /// The medium fails; nothing can be said of the file then.
    fn sync(&mut self) -> io::Result<()>;
}

/// A lock that is held until dropped.
pub trait Lock: Send + Sync {}

/// The place where a vault's files lie.
pub trait Store: Send + Sync + Debug {
    /// Returns the place's name for people.
    fn describe(&self) -> String;
    /// Returns the directory on this machine, if the store is one.
    fn local_path(&self) -> Option<&Path>;
    /// Returns the names in a directory, complete, in no order.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is no such directory; a listing that breaks off.
    fn list(&self, directory: &str) -> io::Result<Vec<Listed>>;
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]; [`io::ErrorKind::InvalidData`] where it is not a regular file.
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;
    /// Returns the length of a regular file without opening it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn length(&self, name: &str) -> io::Result<u64>;
    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]; whatever the medium says.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;
    /// Creates a directory that must not exist.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]; whatever the medium says.
    fn create_directory(&self, name: &str) -> io::Result<()>;
    /// Makes the names in a directory durable; the empty name is the root.
    ///
    /// # Errors
    /// The medium fails.
    fn sync_directory(&self, name: &str) -> io::Result<()>;
    /// Renames a file or directory to a name that must not exist.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]; whatever the medium says.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]; whatever the medium says.
    fn remove_file(&self, name: &str) -> io::Result<()>;
    /// Removes an empty directory.
    ///
    /// # Errors
    /// It is not empty; whatever the medium says.
    fn remove_directory(&self, name: &str) -> io::Result<()>;
    /// Takes a lock on an existing lock file; `None` where another process holds it.
    ///
    /// # Errors
    /// The file is missing, or the medium has no locks.
    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<Box<dyn Lock>>>;
    /// Returns how many bytes can still be written.
    ///
    /// # Errors
    /// The system does not tell.
    fn available_bytes(&self) -> io::Result<u64>;

    /// Reads a whole file of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`io::ErrorKind::InvalidData`] where it is longer.
    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(name)?;
        if file.length() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(file.length()).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Creates a file, writes it and makes its bytes durable; not yet its name.
    ///
    /// # Errors
    /// As [`create`](Self::create); whatever the medium says.
    fn write_durably(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.create(name)?;
        file.write(bytes)?;
        file.sync()
    }
}
