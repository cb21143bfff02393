//! Directory handles on Windows: `NtCreateFile`, the one call that opens a name relative to an open directory.
//!
//! Names are WTF-8. Every relative open takes one component and looks at reparse points instead of passing through
//! them; so neither a symbolic link nor a junction is ever followed below a root. Reparse points that are no links
//! belong to a filter of the system that keeps the content elsewhere (deduplication, cloud files): read raw, such a
//! file is zeros and such a directory incomplete. They are opened once more through their filter, and that must lead
//! to the same object.

#![allow(unsafe_code)]

mod call;
mod dir;
mod durable;
mod link;
mod listing;
mod machine;
mod name;
mod nature;
mod object;
mod open;
mod owners;
mod private;
mod sparse;
#[cfg(test)]
mod tests;
mod time;

pub use self::dir::Dir;
pub use self::machine::{device_name, host_name, mounted, raise_descriptor_limit};
pub use self::object::Object;
pub use self::owners::{group_name, group_number, is_root, own_user, user_name, user_number};
pub use self::private::{
    create_private_directory, is_private, keeps_modes, let_others_read, new_private, open_lock, write_private,
};
pub use self::sparse::{allow_holes, holes, takes_size};

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Wdk::Storage::FileSystem::FILE_OPEN_REPARSE_POINT;
use windows_sys::Win32::Foundation::{
    ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, ERROR_TOO_MANY_OPEN_FILES, GENERIC_READ,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ADD_FILE, FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_LIST_DIRECTORY,
    FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_STANDARD_INFO,
    GetVolumeInformationByHandleW, MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};

use self::call::{check, info, is_one_of};
use self::durable::{flush_directory, patiently};
use self::name::wide_path;
use self::nature::{Nature, identify};
use self::open::{open_path, through_filter};
use self::time::time_of;
use crate::fsys::{ChangeTimes, ObjectKind, Stat};

const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
const LIST: u32 = FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES;
/// Looks at a reparse point itself.
const RAW: u32 = FILE_OPEN_REPARSE_POINT;
/// Longest component in UTF-16 units, on every file system of Windows.
const NAME_UNITS_MAX: usize = 255;
/// Longest path that the system's calls take, in UTF-16 units.
const PATH_UNITS_MAX: usize = 32_768;

/// Returns what the file system says of an open file.
///
/// # Errors
/// The file system fails.
pub fn stat_file(file: &File) -> io::Result<Stat> {
    let basic: FILE_BASIC_INFO = info(file)?;
    let standard: FILE_STANDARD_INFO = info(file)?;
    let kind = Nature::from_attributes(file, basic.FileAttributes)?.kind();
    Ok(Stat {
        kind,
        size: if kind == ObjectKind::File { u64::try_from(standard.EndOfFile).unwrap_or(0) } else { 0 },
        mode: None,
        mtime: time_of(basic.LastWriteTime),
        // FAT has none.
        ctime: (basic.ChangeTime != 0).then(|| time_of(basic.ChangeTime)),
        id: identify(file)?,
        links: standard.NumberOfLinks.into(),
        owner: None,
        device: (0, 0),
        allocated: u64::try_from(standard.AllocationSize).ok(),
        created: (basic.CreationTime != 0).then(|| time_of(basic.CreationTime)),
        flags: Some(basic.FileAttributes & object::SETTABLE),
    })
}

/// Reads exactly as many bytes as the buffer holds from a place in a file. The handle's own position moves with it, which
/// nobody here relies on.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] where the file ends before; the file system fails.
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns a path relative to a root, given as in a vault, as this platform's libraries take it for a comparison. A lone
/// surrogate, which they cannot spell, is compared as an unknown character.
pub fn as_path(bytes: &[u8]) -> Cow<'_, Path> {
    Cow::Owned(String::from_utf8_lossy(bytes).into_owned().into())
}

/// The step in which the finest file systems keep times, in nanoseconds.
pub const TIME_STEP_NANOS: u32 = 100;

/// Returns whether an error stands for an object that another process has open, in a word that only this platform has.
pub fn is_sharing_violation(error: &io::Error) -> bool {
    is_one_of(error, &[ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION])
}

/// Returns whether an error says that a link stands where none may be: the kinds of [`io::ErrorKind`] say it all here.
pub fn is_loop(_error: &io::Error) -> bool {
    false
}

/// Opens a regular file by path without following a link in the last component; for the vault's own files.
///
/// # Errors
/// There is no such file, it is not regular, or it may not be read.
pub fn open_plain(path: &Path) -> io::Result<File> {
    // Backup semantics let a directory be opened, so that it is refused by its kind and not as "access denied".
    let raw = open_path(path, GENERIC_READ, FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS)?;
    through_filter(raw, ObjectKind::File, || open_path(path, GENERIC_READ, 0))
}

/// Renames without replacing anything, which every file system of Windows promises; so it always returns `true`.
///
/// # Errors
/// As [`rename_no_replace`].
pub fn rename_exclusively(from: &Path, to: &Path) -> io::Result<bool> {
    rename_no_replace(from, to).map(|()| true)
}

/// Returns the name of the kind of file system that holds a path, as the system calls it.
pub fn file_system(path: &Path) -> Option<String> {
    const ROOM: u32 = 64;
    let directory = open_path(path, FILE_READ_ATTRIBUTES, FILE_FLAG_BACKUP_SEMANTICS).ok()?;
    let mut name = [0_u16; ROOM as usize];
    // SAFETY: the handle is open, the buffer has the length given, and the other results are not asked for.
    let told = check(unsafe {
        GetVolumeInformationByHandleW(
            directory.as_raw_handle(),
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            null_mut(),
            name.as_mut_ptr(),
            ROOM,
        )
    });
    told.ok()?;
    let length = name.iter().position(|unit| *unit == 0)?;
    Some(String::from_utf16_lossy(&name[..length]))
}

/// Renames without replacing anything, durably.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where the new name exists; whatever else the file system says.
pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (wide_path(from)?, wide_path(to)?);
    // Without MOVEFILE_REPLACE_EXISTING the file system itself refuses, and without MOVEFILE_COPY_ALLOWED it is a
    // rename or nothing.
    patiently(
        // SAFETY: both paths end with NUL and live through the call.
        || check(unsafe { MoveFileExW(source.as_ptr(), target.as_ptr(), MOVEFILE_WRITE_THROUGH) }),
        || to.symlink_metadata().is_ok(),
    )
}

/// Renames a file over whatever file has the new name, in one step.
///
/// # Errors
/// The file system refuses, also for a while because somebody has the old file open; both names are then as they were.
pub fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (wide_path(from)?, wide_path(to)?);
    let flags = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    patiently(
        // SAFETY: both paths end with NUL and live through the call.
        || check(unsafe { MoveFileExW(source.as_ptr(), target.as_ptr(), flags) }),
        // A name that exists is what is replaced.
        || false,
    )
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The medium fails.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    flush_directory(&open_path(path, FILE_ADD_FILE | FILE_READ_ATTRIBUTES, FILE_FLAG_BACKUP_SEMANTICS)?)
}

/// Makes an open file durable, which must be open for writing: FlushFileBuffers writes its bytes and has the drive write its
/// own cache.
///
/// # Errors
/// The medium fails.
pub fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Returns whether something is mounted at a directory: that shows as a link here.
pub fn is_mount_root(_directory: &Dir) -> bool {
    false
}

/// Returns whether an error says that this process may open no more files.
pub fn is_out_of_handles(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_TOO_MANY_OPEN_FILES as i32)
}

/// Returns what times of change prove: where the file system keeps none, no time is told.
pub fn change_times(_directory: &Dir) -> ChangeTimes {
    ChangeTimes::Kept
}

/// Returns whether [`sync_filesystem`] makes everything durable at once: not here.
pub fn syncs_filesystem(_directory: &Dir) -> bool {
    false
}

/// Makes everything on the file system that holds `directory` durable.
///
/// # Errors
/// The system has no such call.
pub fn sync_filesystem(_directory: &Dir) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks the system to forget what it holds of a file in memory, so that the next read comes from the medium.
/// Returns whether it can be asked.
pub fn drop_cached(_file: &File) -> bool {
    // Windows has no such call. Opening without buffering often has that effect, but nothing promises it.
    false
}

/// Asks the system to begin writing what was written to a file, without waiting, so that a later sync is short.
pub fn write_ahead(_file: &File) {
    // Windows has no such call; its lazy writer begins within a second.
}
