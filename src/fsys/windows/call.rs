//! Calls and their errors: what a status means, and structures that the system fills or takes.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_DELETE_PENDING, ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER,
    ERROR_NOT_SUPPORTED, NTSTATUS, RtlNtStatusToDosError, STATUS_DELETE_PENDING,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_DISPOSITION_INFO, FILE_DISPOSITION_INFO_EX, FILE_ID_INFO,
    FILE_INFO_BY_HANDLE_CLASS, FILE_STANDARD_INFO, FileAttributeTagInfo, FileBasicInfo, FileDispositionInfo,
    FileDispositionInfoEx, FileIdInfo, FileStandardInfo, GetFileInformationByHandleEx, SetFileInformationByHandle,
};

pub(super) fn check_status(status: NTSTATUS) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    let code = match status {
        // Translated, it would say "access denied".
        STATUS_DELETE_PENDING => ERROR_DELETE_PENDING,
        // SAFETY: a pure function of a number.
        _ => unsafe { RtlNtStatusToDosError(status) },
    };
    Err(os_error(code))
}

pub(super) fn check(succeeded: i32) -> io::Result<()> {
    if succeeded == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(super) fn os_error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed())
}

pub(super) fn is_one_of(error: &io::Error, codes: &[u32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code.cast_unsigned()))
}

/// How a file system says that it does not know what it is asked for.
pub(super) const UNSUPPORTED: [u32; 4] =
    [ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_INVALID_PARAMETER, ERROR_CALL_NOT_IMPLEMENTED];

/// What [`info`] may ask for, and [`set_info`] tell: the class belongs to the type.
pub(super) trait Info: Sized {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS;
}

impl Info for FILE_BASIC_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileBasicInfo;
}
impl Info for FILE_STANDARD_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileStandardInfo;
}
impl Info for FILE_ATTRIBUTE_TAG_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileAttributeTagInfo;
}
impl Info for FILE_ID_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileIdInfo;
}
impl Info for FILE_DISPOSITION_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileDispositionInfo;
}
impl Info for FILE_DISPOSITION_INFO_EX {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileDispositionInfoEx;
}

pub(super) fn info<T: Info + Default>(file: &File) -> io::Result<T> {
    let mut info = T::default();
    let size = size_of::<T>() as u32;
    // SAFETY: the handle is open, and the class is that of the structure, whose size is given.
    check(unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), T::CLASS, (&raw mut info).cast(), size) })?;
    Ok(info)
}

pub(super) fn set_info<T: Info>(file: &File, info: &T) -> io::Result<()> {
    let size = size_of::<T>() as u32;
    // SAFETY: the handle is open, and the class is that of the structure, whose size is given.
    check(unsafe { SetFileInformationByHandle(file.as_raw_handle(), T::CLASS, (&raw const *info).cast(), size) })
}
