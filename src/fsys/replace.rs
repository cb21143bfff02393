//! Small host-side files (witness, configuration): written whole or not at all, in directories that last.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// Replaces the file at `path` by `bytes`: a temporary file beside it, synced, renamed over it, directory synced.
///
/// # Errors
/// The file system refuses; the old file is then still there, unchanged.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    super::sync_directory(parent)
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
        let builder = &mut fs::DirBuilder::new();
        #[cfg(unix)]
        if private {
            std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
        }
        #[cfg(not(unix))]
        let _ = private;
        match builder.create(path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other?,
        }
        sync_name(path)?;
    }
    Ok(made)
}

/// Opens a lock file of the host, making it where it is missing.
///
/// # Errors
/// It is a link, a pipe or anything else but a regular file, or the file system refuses.
pub fn open_lock(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        // Neither follows a link nor waits for a reader of a pipe.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits() as i32);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"))
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
    fn missing_directories_are_made_once() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("a/b/c");
        assert!(create_directories(&path, true).expect("writable"));
        assert!(!create_directories(&path, true).expect("there"));
        fs::write(root.path().join("file"), b"").expect("writable");
        assert!(create_directories(&root.path().join("file/x"), false).is_err());
    }
}
