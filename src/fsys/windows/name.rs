//! Names and paths: WTF-8 here, UTF-16 there, without the limits and rewritings of Win32.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::AsRawHandle;
use std::path::{self, Component, Path, Prefix};

use windows_sys::Win32::Storage::FileSystem::{
    FILE_NAME_NORMALIZED, GetFinalPathNameByHandleW, VOLUME_NAME_DOS, VOLUME_NAME_GUID,
};

use super::{NAME_UNITS_MAX, PATH_UNITS_MAX};

/// Encodes UTF-16, well-formed or not, as WTF-8.
pub(super) fn encode(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let [high, low] = lone.unpaired_surrogate().to_be_bytes();
                // Three bytes of 4, 6 and 6 bits, as UTF-8 would do it if it allowed surrogates.
                bytes.extend_from_slice(&[0xed, 0x80 | (high & 0x0f) << 2 | low >> 6, 0x80 | low & 0x3f]);
            }
        }
    }
    bytes
}

/// Decodes WTF-8, strictly: every sequence of units has one form, so a pair of lone surrogates that belong together is
/// refused.
pub(super) fn decode(mut bytes: &[u8]) -> io::Result<Vec<u16>> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut after_high = false;
    loop {
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => {
                units.extend(text.encode_utf16());
                return Ok(units);
            }
            Err(error) => error.valid_up_to(),
        };
        let (text, rest) = bytes.split_at(valid);
        units.extend(std::str::from_utf8(text).map_err(|_| ErrorKind::InvalidFilename)?.encode_utf16());
        let [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, rest @ ..] = rest else {
            return Err(bad_name("not WTF-8"));
        };
        let unit = 0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
        if unit >= 0xdc00 && after_high && text.is_empty() {
            return Err(bad_name("not WTF-8: a surrogate pair in two parts"));
        }
        after_high = unit < 0xdc00;
        units.push(unit);
        bytes = rest;
    }
}

/// Decodes the name of an object in a directory.
pub(super) fn component(name: &[u8]) -> io::Result<Vec<u16>> {
    // Separators would make it a path, a colon a stream of another file. And `nt_open` takes nothing as the root.
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | b'\\' | b':' | 0)) {
        return Err(bad_name("not a name that Windows can have"));
    }
    let units = decode(name)?;
    if units.len() > NAME_UNITS_MAX { Err(bad_name("longer than a name can be")) } else { Ok(units) }
}

pub(super) fn bad_name(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidFilename, why)
}

/// Ends with NUL what a call takes as a string.
pub(super) fn terminated(units: impl IntoIterator<Item = u16>) -> io::Result<Vec<u16>> {
    let mut units: Vec<u16> = units.into_iter().collect();
    if units.contains(&0) {
        return Err(bad_name("holds NUL"));
    }
    units.push(0);
    Ok(units)
}

/// Returns a path as the calls of Win32 take it without limiting its length.
pub(super) fn wide_path(path: &Path) -> io::Result<Vec<u16>> {
    let absolute = path::absolute(path)?;
    let start = match absolute.components().next() {
        Some(Component::Prefix(prefix)) => match prefix.kind() {
            Prefix::Disk(_) => Some((r"\\?\", 0)),
            // `\\server` becomes `\\?\UNC\server`.
            Prefix::UNC(..) => Some((r"\\?\UNC", 1)),
            _ => None,
        },
        _ => None,
    };
    let units = absolute.as_os_str().encode_wide();
    match start {
        Some((start, skip)) => terminated(start.encode_utf16().chain(units.skip(skip))),
        None => terminated(units),
    }
}

/// Returns the path of an open object, in the form that begins with `\\?\`.
pub(super) fn final_path(file: &File) -> io::Result<Vec<u16>> {
    // A volume may be mounted nowhere, and a share has no volume name.
    final_path_as(file, VOLUME_NAME_DOS).or_else(|error| final_path_as(file, VOLUME_NAME_GUID).map_err(|_| error))
}

pub(super) fn final_path_as(file: &File, form: u32) -> io::Result<Vec<u16>> {
    let mut units = vec![0_u16; PATH_UNITS_MAX];
    let room = units.len() as u32;
    // SAFETY: the handle is open, and the buffer has the length given.
    let length = unsafe {
        GetFinalPathNameByHandleW(file.as_raw_handle(), units.as_mut_ptr(), room, form | FILE_NAME_NORMALIZED)
    };
    match length {
        0 => Err(io::Error::last_os_error()),
        length if length < room => {
            units.truncate(length as usize);
            Ok(units)
        }
        _ => Err(bad_name("the path is longer than Windows can tell")),
    }
}
