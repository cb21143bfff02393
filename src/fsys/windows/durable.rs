//! Durability, and patience with whoever has an object open for a moment.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_DELETE_PENDING, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION,
};

use super::call::{UNSUPPORTED, is_one_of};

/// Makes the names in a directory durable, which must be open for adding files.
pub(super) fn flush_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        // So say file systems and redirectors that flush files but no directories; "access denied" comes from the call
        // itself there, since the right that it takes was granted when the directory was opened. NTFS and ReFS, which
        // do flush, need it least: they log changes of names, flushing a file writes the log up to its creation, and
        // renames here are written through.
        Err(error) if is_one_of(&error, &UNSUPPORTED) || is_one_of(&error, &[ERROR_ACCESS_DENIED]) => Ok(()),
        other => other,
    }
}

/// Virus scanners and indexers open what is new for some moments, and Windows renames nothing that is open below.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// Together the pauses make 1.3 s.
pub(super) const PAUSE_LAST: Duration = Duration::from_millis(640);

/// Renames, again for a while if somebody is in the way, unless the new name is `taken`.
pub(super) fn patiently(rename: impl Fn() -> io::Result<()>, taken: impl Fn() -> bool) -> io::Result<()> {
    let mut pause = PAUSE_FIRST;
    loop {
        let error = match rename() {
            Err(error) if is_one_of(&error, &IN_THE_WAY) => error,
            other => return other,
        };
        // The system says "access denied" of some names that exist, such as directories.
        if taken() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if pause > PAUSE_LAST {
            return Err(error);
        }
        thread::sleep(pause);
        pause *= 2;
    }
}

pub(super) const IN_THE_WAY: [u32; 4] =
    [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_DELETE_PENDING];
