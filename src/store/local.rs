//! A store in a directory of this machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Listed, Lock, NameKind, NewFile, Store, StoredFile};
use crate::error::shown_path;
use crate::fsys;
use crate::limits;

/// A directory on this machine.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
}

/// How many bytes may wait in memory before the system is asked to begin writing them.
const WRITE_AHEAD_BYTES: u64 = 8 << 20;

impl LocalStore {
    /// Opens a directory that exists; `root` is resolved once, here.
    ///
    /// # Errors
    /// There is no such directory, or it may not be read.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        if !fs::metadata(&root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root })
    }

    fn path(&self, name: &str) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(name.split('/').filter(|component| !component.is_empty()));
        path
    }
}

impl Store for LocalStore {
    fn describe(&self) -> String {
        shown_path(&self.root)
    }

    fn local_path(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        let path = self.path(directory);
        if !fs::symlink_metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut names = Vec::new();
        for entry in walkdir::WalkDir::new(&path).min_depth(1).max_depth(1).follow_links(false) {
            // As the system tells it, which says what it is about.
            let entry = entry.map_err(|error| error.into_io_error().unwrap_or_else(|| io::Error::other("a loop")))?;
            if names.len() == limits::VAULT_DIRECTORY_NAMES_MAX {
                return Err(io::Error::other("too many names in one directory"));
            }
            let kind = match entry.file_name().to_str() {
                Some(_) if entry.file_type().is_file() => NameKind::File,
                Some(_) if entry.file_type().is_dir() => NameKind::Directory,
                _ => NameKind::Foreign,
            };
            names.push(Listed { name: entry.file_name().to_string_lossy().into_owned(), kind });
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let file = fsys::open_plain(&self.path(name))?;
        let length = file.metadata()?.len();
        Ok(Box::new(LocalFile { file, length }))
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        let metadata = fs::symlink_metadata(self.path(name))?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        Ok(metadata.len())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let file = File::options().write(true).create_new(true).open(self.path(name))?;
        Ok(Box::new(LocalNewFile { file, waiting: 0 }))
    }

    fn create_directory(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.path(name))
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        fsys::sync_directory(&self.path(name))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match fsys::rename_no_replace(&self.path(from), &self.path(to)) {
            // What a kernel says of a directory that is not empty.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(io::ErrorKind::AlreadyExists.into()),
            other => other,
        }
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        fs::remove_dir(self.path(name))
    }

    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<Box<dyn Lock>>> {
        let path = self.path(name);
        // Network file systems want a writable descriptor for an exclusive lock, and media that cannot be written
        // take only a readable one.
        let file = if exclusive { open_for_lock(&path)? } else { fsys::open_plain(&path)? };
        let taken =
            if exclusive { fs2::FileExt::try_lock_exclusive(&file) } else { fs2::FileExt::try_lock_shared(&file) };
        match taken {
            Ok(()) => Ok(Some(Box::new(LocalLock(file)))),
            Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn available_bytes(&self) -> io::Result<u64> {
        fs2::available_space(&self.root)
    }
}

/// Opens a regular file for reading and writing; what else lies there is not opened.
fn open_for_lock(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    File::options().read(true).write(true).open(path)
}

struct LocalFile {
    file: File,
    length: u64,
}

impl StoredFile for LocalFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        fsys::read_exact_at(&self.file, buffer, offset)
    }

    fn drop_cached(&self) -> bool {
        fsys::drop_cached(&self.file)
    }
}

struct LocalNewFile {
    file: File,
    waiting: u64,
}

impl NewFile for LocalNewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.waiting += bytes.len() as u64;
        if self.waiting >= WRITE_AHEAD_BYTES {
            self.waiting = 0;
            fsys::write_ahead(&self.file);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        fsys::sync_file(&self.file)
    }
}

/// Holds the lock as long as the file is open.
struct LocalLock(File);

impl Lock for LocalLock {}

impl Drop for LocalLock {
    fn drop(&mut self) {
        let _ = fs2::FileExt::unlock(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let root = tempfile::tempdir().expect("a directory");
        let store = LocalStore::open(root.path()).expect("exists");
        (root, store)
    }

    fn write(store: &LocalStore, name: &str, bytes: &[u8]) {
        let mut file = store.create(name).expect("new");
        file.write(bytes).expect("room");
        file.sync().expect("durable");
    }

    #[test]
    fn what_was_written_reads_back_and_is_listed() {
        let (_root, store) = store();
        store.create_directory("packs").expect("new");
        write(&store, "packs/a", b"hello");
        store.sync_directory("packs").expect("durable");
        store.sync_directory("").expect("durable");
        assert_eq!(store.read("packs/a", 5).expect("there"), b"hello");
        assert_eq!(store.read("packs/a", 4).expect_err("longer").kind(), io::ErrorKind::InvalidData);
        assert_eq!(store.list("packs").expect("there"), [Listed { name: "a".into(), kind: NameKind::File }]);
        assert_eq!(store.list("none").expect_err("absent").kind(), io::ErrorKind::NotFound);
        assert_eq!(store.read("none", 4).expect_err("absent").kind(), io::ErrorKind::NotFound);
        let file = store.open("packs/a").expect("there");
        let mut two = [0; 2];
        file.read_at(&mut two, 3).expect("within");
        assert_eq!(&two, b"lo");
        let same = File::open(store.path("packs/a")).expect("there");
        assert_eq!(file.drop_cached(), fsys::drop_cached(&same), "as the system says");
        assert_eq!(file.read_at(&mut two, 4).expect_err("beyond").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nothing_is_ever_replaced() {
        let (_root, store) = store();
        write(&store, "a", b"1");
        write(&store, "b", b"2");
        store.create_directory("d").expect("new");
        store.create_directory("e").expect("new");
        write(&store, "e/x", b"3");
        for kind in [
            store.create("a").err(),
            store.create_directory("d").err(),
            store.rename_new("a", "b").err(),
            store.rename_new("d", "e").err(),
            store.rename_new("e", "d").err(),
        ] {
            assert_eq!(kind.map(|error| error.kind()), Some(io::ErrorKind::AlreadyExists));
        }
        assert_eq!(store.read("b", 9).expect("there"), b"2");
        assert_eq!(store.rename_new("gone", "g").expect_err("absent").kind(), io::ErrorKind::NotFound);
        store.rename_new("e", "f").expect("free");
        assert_eq!(store.read("f/x", 9).expect("moved"), b"3");
    }

    // Linux alone: named pipes.
    #[cfg(target_os = "linux")]
    #[test]
    fn links_and_pipes_are_foreign_and_never_opened() {
        let (root, store) = store();
        write(&store, "a", b"1");
        std::os::unix::fs::symlink("a", root.path().join("link")).expect("new");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("new");
        for name in ["link", "pipe"] {
            assert!(store.open(name).is_err(), "{name}");
            assert!(store.lock(name, true).is_err() && store.lock(name, false).is_err(), "{name}");
            let listed = store.list("").expect("there");
            assert!(listed.contains(&Listed { name: name.into(), kind: NameKind::Foreign }));
        }
        std::os::unix::fs::symlink(".", root.path().join("dirlink")).expect("new");
        assert!(store.list("dirlink").is_err());
    }

    // Unix alone: a process that was forked has what was open.
    #[cfg(unix)]
    #[test]
    fn a_lock_ends_when_it_is_given_up_although_another_process_has_the_file_open() {
        let (_root, store) = store();
        write(&store, "lock", b"");
        let file = open_for_lock(&store.path("lock")).expect("there");
        fs2::FileExt::try_lock_exclusive(&file).expect("free");
        let _inherited = file.try_clone().expect("open");
        let held = LocalLock(file);
        assert!(store.lock("lock", true).expect("locks work").is_none());
        drop(held);
        assert!(store.lock("lock", true).expect("locks work").is_some());
    }

    #[test]
    fn an_exclusive_lock_excludes_and_shared_ones_do_not() {
        let (root, store) = store();
        write(&store, "lock", b"");
        let other = LocalStore::open(root.path()).expect("exists");
        let held = store.lock("lock", true).expect("locks work");
        assert!(held.is_some());
        assert!(other.lock("lock", true).expect("locks work").is_none());
        assert!(other.lock("lock", false).expect("locks work").is_none());
        drop(held);
        let shared = store.lock("lock", false).expect("locks work");
        assert!(shared.is_some() && other.lock("lock", false).expect("locks work").is_some());
        assert!(other.lock("lock", true).expect("locks work").is_none());
        assert_eq!(store.lock("none", true).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }
}
