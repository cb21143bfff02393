//! Holes of files on Windows: allocated ranges.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::windows::io::AsRawHandle;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_DISK_FULL, ERROR_FILE_TOO_LARGE, ERROR_INVALID_PARAMETER, ERROR_MORE_DATA};
use windows_sys::Win32::System::IO::DeviceIoControl;

use super::call::{UNSUPPORTED, check, is_one_of};

const FSCTL_SET_SPARSE: u32 = 0x0009_00c4;
const FSCTL_QUERY_ALLOCATED_RANGES: u32 = 0x0009_40cf;

/// `FILE_ALLOCATED_RANGE_BUFFER`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    offset: i64,
    length: i64,
}

/// Returns offset and length of every hole in a file of `size` bytes, ascending; none where the system does not tell.
///
/// # Errors
/// The file system fails.
pub fn holes(file: &File, size: u64) -> io::Result<Vec<(u64, u64)>> {
    let (mut holes, mut at) = (Vec::new(), 0_u64);
    while at < size {
        let Some((ranges, more)) = allocated(file, at, size)? else { return Ok(Vec::new()) };
        let before = at;
        for range in ranges {
            let (offset, length) = (range.offset.max(0).cast_unsigned(), range.length.max(0).cast_unsigned());
            if offset > at {
                holes.push((at, offset.min(size) - at));
            }
            at = at.max(offset.saturating_add(length));
        }
        if !more {
            break;
        }
        // A file that changes meanwhile may answer anything; the loop must end all the same.
        if at <= before {
            return Ok(Vec::new());
        }
    }
    if at < size {
        holes.push((at, size - at));
    }
    Ok(holes)
}

/// Returns some allocated ranges from `at` on, and whether there are more; nothing where the question is not known.
fn allocated(file: &File, at: u64, size: u64) -> io::Result<Option<(Vec<Range>, bool)>> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let asked = Range { offset: number(at), length: number(size - at) };
    let mut ranges = vec![Range::default(); 1024];
    let mut bytes = 0;
    // SAFETY: the handle is open; both buffers have the lengths given, and the call is synchronous.
    let done = check(unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_QUERY_ALLOCATED_RANGES,
            (&raw const asked).cast(),
            size_of::<Range>() as u32,
            ranges.as_mut_ptr().cast(),
            size_of_val(&ranges[..]) as u32,
            &raw mut bytes,
            null_mut(),
        )
    });
    let more = match done {
        Ok(()) => false,
        Err(error) if is_one_of(&error, &[ERROR_MORE_DATA]) => true,
        Err(error) if is_one_of(&error, &UNSUPPORTED) => return Ok(None),
        Err(error) => return Err(error),
    };
    ranges.truncate(bytes as usize / size_of::<Range>());
    Ok(Some((ranges, more)))
}

/// Lets a file have holes, which must be open for writing. A file system without them refuses; the file is then dense.
///
/// # Errors
/// The file system fails otherwise.
pub fn allow_holes(file: &File) -> io::Result<()> {
    let mut bytes = 0;
    // SAFETY: the handle is open; there are no buffers, and the call is synchronous.
    let done = check(unsafe {
        DeviceIoControl(file.as_raw_handle(), FSCTL_SET_SPARSE, null(), 0, null_mut(), 0, &raw mut bytes, null_mut())
    });
    match done {
        Err(error) if is_one_of(&error, &UNSUPPORTED) => Ok(()),
        other => other,
    }
}

/// Returns whether a file of `size` bytes can be, by making one and taking the room back.
///
/// # Errors
/// The file system fails otherwise.
pub fn takes_size(file: &File, size: u64) -> io::Result<bool> {
    if i64::try_from(size).is_err() {
        return Ok(false);
    }
    allow_holes(file)?;
    let length = file.metadata()?.len();
    let taken = file.set_len(size);
    file.set_len(length)?;
    match taken {
        Ok(()) => Ok(true),
        // FAT says that the disk is full, or that the parameter is wrong.
        Err(error) if is_one_of(&error, &[ERROR_DISK_FULL, ERROR_INVALID_PARAMETER, ERROR_FILE_TOO_LARGE]) => Ok(false),
        Err(error) => Err(error),
    }
}
