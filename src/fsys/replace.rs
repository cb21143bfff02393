//! Small host-side files (witness, configuration): written whole or not at all, in directories that last.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Replaces the file at `path` by `bytes`: a temporary file beside it, synced, renamed over it, directory synced.
///
/// # Errors
/// The file system refuses; the old file is then still there, unchanged.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
    file.write_all(bytes)?;
    super::sync_file(file.as_file())?;
    // The file is closed here, as Windows wants it for a rename, and no longer marked there as temporary.
    let draft = file.into_temp_path().keep().map_err(|error| error.error)?;
    if let Err(error) = super::rename_over(&draft, path) {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    super::sync_directory(parent)
}

/// Creates a file for its owner alone, whole or not at all, under a name that must not exist and then lasts.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`]; the file system refuses. Nothing is there then, unless only its name may not last.
pub fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path, |draft| super::write_private(draft, bytes))
}

/// Creates a file as [`create_private`] does, for whoever the system lets read new files.
///
/// # Errors
/// As [`create_private`].
pub fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path, |draft| {
        let mut file = fs::File::create_new(draft)?;
        let written = file.write_all(bytes).and_then(|()| super::sync_file(&file));
        drop(file);
        written.inspect_err(|_| drop(fs::remove_file(draft)))
    })
}

/// Gives a regular file a further name, or a copy for its owner alone where the file system knows no further names. The
/// name must not exist; it lasts once its directory was synced.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where the file is not there, [`io::ErrorKind::AlreadyExists`]; the file system refuses.
pub fn name_also(path: &Path, further: &Path) -> io::Result<()> {
    use io::ErrorKind::{AlreadyExists, NotFound};
    match fs::hard_link(path, further) {
        Err(error) if ![AlreadyExists, NotFound].contains(&error.kind()) => {
            let mut from = super::open_plain(path)?;
            create(further, |draft| {
                let mut to = super::new_private(draft)?;
                let copied = io::copy(&mut from, &mut to).and_then(|_| super::sync_file(&to));
                drop(to);
                copied.inspect_err(|_| drop(fs::remove_file(draft)))
            })
        }
        other => other,
    }
}

fn create(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let draft = draft_path(path);
    write(&draft)?;
    if let Err(error) = super::rename_no_replace(&draft, path) {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    sync_name(path)
}

/// Returns a name beside a file under which it can be written before it gets its own.
pub fn draft_path(path: &Path) -> PathBuf {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    path.with_file_name(format!(".new-{}-{}", std::process::id(), since.as_nanos()))
}

/// Makes the name of a file durable, relative to the working directory or not.
///
/// # Errors
/// The medium fails.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    super::sync_directory(above)
}

/// Creates a directory and those above it that are missing, each name made durable, on Unix for their owner alone if
/// `private`. Returns whether anything was created.
///
/// # Errors
/// The file system refuses; directories that were made by then stay.
pub fn create_directories(path: &Path, private: bool) -> io::Result<bool> {
    let mut missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    let made = !missing.is_empty();
    while let Some(path) = missing.pop() {
        let created = if private { super::create_private_directory(path) } else { fs::create_dir(path) };
        match created {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other?,
        }
        sync_name(path)?;
    }
    Ok(made)
}

/// Locks a lock file of the host against all others, making it where it is missing, and waits a while for who holds it.
///
/// # Errors
/// As [`open_lock`] and [`wait_for`].
pub fn lock(path: &Path) -> io::Result<fs::File> {
    let file = open_lock(path)?;
    wait_for(&file, LOCK_WAIT)?;
    Ok(file)
}

/// Opens a lock file of the host, making it where it is missing.
///
/// # Errors
/// It is a link, a pipe or anything else but a regular file, or the file system refuses.
pub fn open_lock(path: &Path) -> io::Result<fs::File> {
    let file = super::open_lock(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"))
    }
}

/// How long a process waits for a lock of the host: one that was stopped in the middle of a change must not stop all others.
const LOCK_WAIT: Duration = Duration::from_secs(20);

/// Locks a file against all others, and waits as long as `patience` for who holds it.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where it is held all the while; the file system refuses.
pub fn wait_for(file: &fs::File, patience: Duration) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match fs2::FileExt::try_lock_exclusive(file) {
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {
                if begun.elapsed() >= patience {
                    let message = format!("another process has held it for {} seconds", patience.as_secs());
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// The file is missing, not regular, longer, or cannot be read.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_open(super::open_plain(path)?, bytes_max)
}

/// Reads the rest of an open file of at most `bytes_max` bytes.
///
/// # Errors
/// The file is longer, or cannot be read.
pub fn read_open(file: fs::File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_made_whole_and_over_nothing() {
        for create in [create_private, create_new] {
            let root = tempfile::tempdir().expect("a directory");
            let path = root.path().join("key");
            create(&path, b"one").expect("new");
            let again = create(&path, b"two").expect_err("there");
            assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&path).expect("there"), b"one");
            assert!(create(&root.path().join("none/key"), b"").is_err());
            assert_eq!(fs::read_dir(root.path()).expect("there").count(), 1, "no draft stays");
        }
    }

    #[test]
    fn missing_directories_are_made_once() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("a/b/c");
        assert!(create_directories(&path, true).expect("writable"));
        assert!(!create_directories(&path, true).expect("there"));
        fs::write(root.path().join("file"), b"").expect("writable");
        assert!(create_directories(&root.path().join("file/x"), false).is_err());
    }
}
