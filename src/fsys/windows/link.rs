//! Symbolic links and junctions, as reparse points hold them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Component, Path, PathBuf};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Storage::FileSystem::CreateSymbolicLinkW;
use windows_sys::Win32::System::IO::DeviceIoControl;

use super::call::check;
use super::listing::{u16_at, u32_at, units_of};
use super::name::{bad_name, encode};
use super::nature::{TAG_MOUNT_POINT, TAG_SYMLINK};

pub(super) const FSCTL_GET_REPARSE_POINT: u32 = 0x0009_00a8;
pub(super) const FSCTL_SET_REPARSE_POINT: u32 = 0x0009_00a4;
/// `MAXIMUM_REPARSE_DATA_BUFFER_SIZE`.
pub(super) const REPARSE_BYTES_MAX: usize = 16 << 10;

pub(super) fn reparse_data(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; REPARSE_BYTES_MAX];
    let mut length = 0;
    // SAFETY: the handle is open, the buffer has the length given, and the call is synchronous.
    check(unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_GET_REPARSE_POINT,
            null(),
            0,
            bytes.as_mut_ptr().cast(),
            REPARSE_BYTES_MAX as u32,
            &raw mut length,
            null_mut(),
        )
    })?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// Returns the target in the `REPARSE_DATA_BUFFER` of a symbolic link or junction, in the form from which the same can be
/// made.
///
/// It is the substitute name, which is what Windows follows; the print name is only for showing.
pub(super) fn link_target(bytes: &[u8]) -> io::Result<Vec<u8>> {
    /// Where the substitute name's offset and length stand.
    const SUBSTITUTE: usize = 8;
    let broken = || io::Error::new(ErrorKind::InvalidData, "the link is malformed");
    let names = match u32_at(bytes, 0) {
        Some(TAG_SYMLINK) => 20,
        // A junction has no flags in front of its names.
        Some(TAG_MOUNT_POINT) => 16,
        _ => return Err(io::Error::new(ErrorKind::InvalidInput, "not a symbolic link")),
    };
    let start = u16_at(bytes, SUBSTITUTE).ok_or_else(broken)?;
    let length = u16_at(bytes, SUBSTITUTE + 2).filter(|length| length % 2 == 0).ok_or_else(broken)?;
    let name = bytes.get(names + usize::from(start)..).and_then(|names| names.get(..length.into()));
    let target = encode(units_of(name.ok_or_else(broken)?));
    let Some(native) = target.strip_prefix(br"\??\") else { return Ok(target) };
    Ok(match native {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => native.to_vec(),
        [b'U', b'N', b'C', b'\\', share @ ..] => [br"\\", share].concat(),
        _ => [br"\\?\", native].concat(),
    })
}

/// Returns what makes a directory a junction to a target in the form that [`link_target`] gives.
pub(super) fn junction_data(target: &[u16]) -> io::Result<Vec<u8>> {
    let text = String::from_utf16(target).map_err(|_| bad_name("not the target of a junction"))?;
    let native = match text.strip_prefix(r"\\?\") {
        Some(rest) => format!(r"\??\{rest}"),
        None => format!(r"\??\{text}"),
    };
    let units: Vec<u8> = native.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let shown: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let length = |bytes: usize| u16::try_from(bytes).map_err(|_| bad_name("a target too long for a junction"));
    let (native_length, shown_length) = (length(units.len())? - 2, length(shown.len())? - 2);
    let mut data = TAG_MOUNT_POINT.to_le_bytes().to_vec();
    let fields = [length(8 + units.len() + shown.len())?, 0, 0, native_length, native_length + 2, shown_length];
    data.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    data.extend(units);
    data.extend(shown);
    if data.len() > REPARSE_BYTES_MAX { Err(bad_name("a target too long for a junction")) } else { Ok(data) }
}

pub(super) fn symlink(link: &[u16], target: &[u16], flags: u32) -> io::Result<()> {
    // SAFETY: both strings end with NUL and live through the call.
    let made = unsafe { CreateSymbolicLinkW(link.as_ptr(), target.as_ptr(), flags) };
    if made { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns whether a link in `directory` would lead to a directory that exists.
pub(super) fn resolves_to_directory(directory: &[u16], target: &[u16]) -> bool {
    let mut path = PathBuf::from(OsString::from_wide(directory));
    for part in Path::new(&OsString::from_wide(target)).components() {
        match part {
            Component::CurDir => {}
            // In a path that begins with `\\?\`, dots would be names.
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    path.is_dir()
}
