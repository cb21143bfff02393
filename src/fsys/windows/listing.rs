//! Listings of directories, as the system writes them into a buffer.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem::offset_of;
use std::os::windows::io::AsRawHandle;
use std::slice;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NO_MORE_FILES};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FULL_DIR_INFO, FILE_INFO_BY_HANDLE_CLASS, FileFullDirectoryRestartInfo, GetFileInformationByHandleEx,
};

use super::call::{check, is_one_of};
use super::name::encode;

/// Reads some entries of a directory; returns whether there were any.
pub(super) fn list_some(directory: &File, class: FILE_INFO_BY_HANDLE_CLASS, buffer: &mut [u64]) -> io::Result<bool> {
    let size = size_of_val(buffer) as u32;
    // SAFETY: the handle is open; the buffer has the length given and the alignment of FILE_FULL_DIR_INFO.
    let listed = check(unsafe {
        GetFileInformationByHandleEx(directory.as_raw_handle(), class, buffer.as_mut_ptr().cast(), size)
    });
    match listed {
        Ok(()) => Ok(true),
        Err(error) if is_one_of(&error, &[ERROR_NO_MORE_FILES]) => Ok(false),
        // The empty root of a FAT volume: not even `.` is there.
        Err(error) if class == FileFullDirectoryRestartInfo && is_one_of(&error, &[ERROR_FILE_NOT_FOUND]) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: the same memory, as long as borrowed; bytes have no alignment and no invalid values.
    unsafe { slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// Takes the names out of a chain of `FILE_FULL_DIR_INFO`.
pub(super) fn collect_names(mut bytes: &[u8], names: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let broken = || io::Error::new(ErrorKind::InvalidData, "the file system's listing is malformed");
    loop {
        let next = u32_at(bytes, offset_of!(FILE_FULL_DIR_INFO, NextEntryOffset)).ok_or_else(broken)? as usize;
        let length = u32_at(bytes, offset_of!(FILE_FULL_DIR_INFO, FileNameLength)).ok_or_else(broken)? as usize;
        let name = bytes.get(offset_of!(FILE_FULL_DIR_INFO, FileName)..).and_then(|name| name.get(..length));
        match encode(units_of(name.filter(|name| !name.is_empty()).ok_or_else(broken)?)) {
            name if name == b"." || name == b".." => {}
            name => names.push(name),
        }
        match next {
            0 => return Ok(()),
            // Each step shortens what is left, so the loop ends.
            _ => bytes = bytes.get(next..).ok_or_else(broken)?,
        }
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub(super) fn units_of(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
}
