//! Opening: `NtCreateFile`, and the second look through a filter where one keeps the content elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::size_of;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::os::windows::io::FromRawHandle;
use std::path::Path;
use std::ptr::null;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_CREATE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NtCreateFile};
use windows_sys::Win32::Foundation::{INVALID_HANDLE_VALUE, OBJ_CASE_INSENSITIVE, UNICODE_STRING};
use windows_sys::Win32::Storage::FileSystem::{FILE_ATTRIBUTE_NORMAL, SYNCHRONIZE};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::call::check_status;
use super::nature::{Nature, identify_certain};
use super::{RAW, SHARE_ALL};
use crate::fsys::ObjectKind;

pub(super) fn open_path(path: &Path, access: u32, flags: u32) -> io::Result<File> {
    OpenOptions::new().access_mode(access | SYNCHRONIZE).share_mode(SHARE_ALL).custom_flags(flags).open(path)
}

/// Opens a name in a directory, or with an empty name the object itself, for its content.
pub(super) fn open_content(root: &File, name: &[u16], access: u32, expected: ObjectKind) -> io::Result<File> {
    let raw = nt_open(root, name, access, FILE_OPEN, RAW)?;
    through_filter(raw, expected, || nt_open(root, name, access, FILE_OPEN, 0))
}

/// Returns `raw`, which was opened as what lies on the disk, or where a filter keeps the content, what `open` opens
/// through it.
pub(super) fn through_filter(
    raw: File,
    expected: ObjectKind,
    open: impl FnOnce() -> io::Result<File>,
) -> io::Result<File> {
    let nature = Nature::of(&raw)?;
    if nature.kind() != expected {
        return Err(wrong_kind(expected));
    }
    if !nature.is_filtered() {
        return Ok(raw);
    }
    // `raw` stays open meanwhile, so that its id can become no other object's.
    let opened = open()?;
    if identify_certain(&opened)? == identify_certain(&raw)? {
        Ok(opened)
    } else {
        Err(io::Error::other("it was replaced while it was opened"))
    }
}

pub(super) fn wrong_kind(expected: ObjectKind) -> io::Error {
    match expected {
        ObjectKind::Directory => ErrorKind::NotADirectory.into(),
        _ => io::Error::new(ErrorKind::InvalidData, "not a regular file"),
    }
}

pub(super) fn nt_open(root: &File, name: &[u16], access: u32, disposition: u32, options: u32) -> io::Result<File> {
    let name_bytes = u16::try_from(name.len() * 2).map_err(|_| ErrorKind::InvalidFilename)?;
    let string = UNICODE_STRING { Length: name_bytes, MaximumLength: name_bytes, Buffer: name.as_ptr().cast_mut() };
    let object = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: root.as_raw_handle(),
        ObjectName: &raw const string,
        // What a listing named is opened by exactly that name; what is new must differ in more than case, except
        // where a directory is marked as case-sensitive, which overrides this.
        Attributes: if disposition == FILE_CREATE { OBJ_CASE_INSENSITIVE } else { 0 },
        ..OBJECT_ATTRIBUTES::default()
    };
    let mut handle = INVALID_HANDLE_VALUE;
    let mut io = IO_STATUS_BLOCK::default();
    // SAFETY: every pointer is to a live local or null where the call allows it; the name is only read.
    let status = unsafe {
        NtCreateFile(
            &raw mut handle,
            access | SYNCHRONIZE,
            &raw const object,
            &raw mut io,
            null(),
            FILE_ATTRIBUTE_NORMAL,
            SHARE_ALL,
            disposition,
            // Without this, reads and writes could return before they are done.
            options | FILE_SYNCHRONOUS_IO_NONALERT,
            null(),
            0,
        )
    };
    check_status(status)?;
    // SAFETY: the call succeeded, so the handle is open and nobody else's.
    Ok(unsafe { File::from_raw_handle(handle) })
}
