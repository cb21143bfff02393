//! Small host-side files (witness, configuration, index): written whole or not at all.

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
pub fn read_open(file: std::fs::File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}
