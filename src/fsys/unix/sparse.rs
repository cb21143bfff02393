//! Holes of files on Unix: `SEEK_HOLE` and `SEEK_DATA`.

use std::fs::File;
use std::io;

/// Returns offset and length of every hole in a file of `size` bytes, ascending; none where the system does not tell.
///
/// # Errors
/// The file system fails.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd"))]
pub fn holes(file: &File, size: u64) -> io::Result<Vec<(u64, u64)>> {
    use rustix::fs::{self, SeekFrom};
    use rustix::io::Errno;
    let (mut holes, mut at) = (Vec::new(), 0);
    while at < size {
        let hole = match fs::seek(file, SeekFrom::Hole(at)) {
            // So say file systems that do not know the question.
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOTTY) => return Ok(Vec::new()),
            Err(Errno::NXIO) => break,
            other => other?,
        };
        if hole >= size {
            break;
        }
        let data = match fs::seek(file, SeekFrom::Data(hole)) {
            Err(Errno::NXIO) => size,
            other => other?.min(size),
        };
        // A file that changes meanwhile may answer anything; the loop must end all the same.
        if data <= hole {
            break;
        }
        holes.push((hole, data - hole));
        at = data;
    }
    fs::seek(file, SeekFrom::Start(0))?;
    Ok(holes)
}

/// Returns none: the system has no such question.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd")))]
pub fn holes(_file: &File, _size: u64) -> io::Result<Vec<(u64, u64)>> {
    Ok(Vec::new())
}

/// Returns whether a file of `size` bytes can be, without making one. The file is at its beginning afterwards.
///
/// # Errors
/// The file system fails otherwise.
pub fn takes_size(file: &File, size: u64) -> io::Result<bool> {
    use rustix::fs::{self, SeekFrom};
    use rustix::io::Errno;
    // The kernel refuses positions beyond what the file system can address.
    match fs::seek(file, SeekFrom::Start(size)) {
        Err(Errno::INVAL | Errno::OVERFLOW | Errno::FBIG) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(_) => {
            fs::seek(file, SeekFrom::Start(0))?;
            Ok(true)
        }
    }
}

/// Lets a file have holes; on Unix every file may.
///
/// # Errors
/// None here.
pub fn allow_holes(_file: &File) -> io::Result<()> {
    Ok(())
}
