//! Metadata of objects on Windows: attributes, times, alternate streams.
//!
//! Owners and access lists are kept by no part of this program there; extended attributes of NTFS neither.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::offset_of;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::{FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OVERWRITE_IF};
use windows_sys::Win32::Foundation::ERROR_HANDLE_EOF;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_NOT_CONTENT_INDEXED, FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_SYSTEM, FILE_BASIC_INFO, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_READ_ATTRIBUTES,
    FILE_STREAM_INFO, FILE_WRITE_ATTRIBUTES, FileStreamInfo, GetFileInformationByHandleEx,
};

use super::call::{UNSUPPORTED, check, is_one_of, set_info};
use super::dir::Dir;
use super::listing::{bytes_of, u32_at, units_of};
use super::name::{bad_name, component, decode, encode};
use super::open::nt_open;
use super::stat_file;
use super::time::ticks_of;
use super::{NAME_UNITS_MAX, RAW};
use crate::clock::Time;
use crate::fsys::Stat;
use crate::fsys::Xattr;

/// An object whose metadata is read or set.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// An open file.
    File(&'a File),
    /// An open directory.
    Directory(&'a Dir),
    /// A name in a directory; of a link the link itself.
    Name(&'a Dir, &'a [u8]),
}

/// Attributes that can be set again. Archive is no fact of the object but a note of other backup programs.
pub(super) const SETTABLE: u32 =
    FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED;

impl Object<'_> {
    /// Opens the object once more, or the link itself, with some access.
    fn open(self, access: u32) -> io::Result<File> {
        match self {
            Self::File(file) => nt_open(file, &[], access, FILE_OPEN, RAW),
            Self::Directory(dir) => nt_open(&dir.0, &[], access, FILE_OPEN, RAW),
            Self::Name(dir, name) => nt_open(&dir.0, &component(name)?, access, FILE_OPEN, RAW),
        }
    }

    /// Returns what the file system says of it.
    ///
    /// # Errors
    /// The file system fails.
    pub fn stat(self) -> io::Result<Stat> {
        match self {
            Self::File(file) => stat_file(file),
            Self::Directory(dir) => dir.stat(),
            Self::Name(dir, name) => dir.stat_at(name),
        }
    }

    /// Sets user and group: not here.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`].
    pub fn set_owner(self, _uid: Option<u32>, _gid: Option<u32>) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Does nothing: Windows has no permission bits, and what had some is refused or given up before.
    ///
    /// # Errors
    /// None here.
    pub fn set_mode(self, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    /// Sets the modification time and the time of creation.
    ///
    /// # Errors
    /// The file system refuses, or a time lies outside what it can hold (from 1601, in steps of 100 ns).
    pub fn set_times(self, mtime: Option<Time>, created: Option<Time>) -> io::Result<()> {
        let ticks = |time: Option<Time>| {
            let outside = || io::Error::new(ErrorKind::InvalidInput, "the file system holds no times before 1601");
            time.map_or(Ok(0), |time| ticks_of(time).ok_or_else(outside))
        };
        // What is zero stays as it is.
        let info = FILE_BASIC_INFO {
            LastWriteTime: ticks(mtime)?,
            CreationTime: ticks(created)?,
            ..FILE_BASIC_INFO::default()
        };
        if mtime.or(created).is_none() {
            return Ok(());
        }
        set_info(&self.open(FILE_WRITE_ATTRIBUTES | FILE_READ_ATTRIBUTES)?, &info)
    }

    /// Sets attributes.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_flags(self, flags: u32) -> io::Result<()> {
        // Zero would leave them as they are.
        let attributes = if flags & SETTABLE == 0 { FILE_ATTRIBUTE_NORMAL } else { flags & SETTABLE };
        let info = FILE_BASIC_INFO { FileAttributes: attributes, ..FILE_BASIC_INFO::default() };
        set_info(&self.open(FILE_WRITE_ATTRIBUTES | FILE_READ_ATTRIBUTES)?, &info)
    }

    /// Returns no extended attributes.
    ///
    /// # Errors
    /// None here.
    pub fn xattrs(self) -> io::Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    /// Returns no access lists of POSIX.
    ///
    /// # Errors
    /// None here.
    pub fn access_lists(self) -> io::Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    /// Sets an extended attribute: not here.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`].
    pub fn set_xattr(self, _name: &[u8], _value: &[u8]) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Removes an extended attribute: there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`].
    pub fn remove_xattr(self, _name: &[u8]) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Returns the alternate streams, names ascending, without the content itself.
    ///
    /// # Errors
    /// They cannot be read, or one is longer than a vault keeps.
    pub fn streams(self) -> io::Result<Vec<Xattr>> {
        if matches!(self, Self::Name(..)) {
            // A link has no streams that anybody reads.
            return Ok(Vec::new());
        }
        let mut names = stream_names(&self.open(FILE_READ_ATTRIBUTES)?)?;
        names.sort_unstable();
        names.into_iter().map(|name| Ok((encode(name.iter().copied()), self.read_stream(&name)?))).collect()
    }

    fn read_stream(self, name: &[u16]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let stream = self.open_stream(name, FILE_GENERIC_READ, FILE_OPEN)?;
        stream.take(crate::limits::XATTR_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes an alternate stream, whether or not it is there.
    ///
    /// # Errors
    /// The name is none of a stream, or the file system refuses.
    pub fn set_stream(self, name: &[u8], value: &[u8]) -> io::Result<()> {
        let units = decode(name)?;
        let mut stream = self.open_stream(&units, FILE_GENERIC_READ | FILE_GENERIC_WRITE, FILE_OVERWRITE_IF)?;
        stream.write_all(value)
    }

    fn open_stream(self, name: &[u16], access: u32, disposition: u32) -> io::Result<File> {
        let bad = [u16::from(b':'), u16::from(b'\\'), u16::from(b'/'), 0];
        if name.is_empty() || name.len() > NAME_UNITS_MAX || name.iter().any(|unit| bad.contains(unit)) {
            return Err(bad_name("not a name that a stream can have"));
        }
        let object = match self {
            Self::File(file) => file,
            Self::Directory(dir) => &dir.0,
            Self::Name(..) => return Err(ErrorKind::Unsupported.into()),
        };
        // Relative to the open object itself, so that no name is looked up again.
        let units: Vec<u16> = [u16::from(b':')].into_iter().chain(name.iter().copied()).collect();
        nt_open(object, &units, access, disposition, FILE_NON_DIRECTORY_FILE)
    }
}

/// Returns the names of the alternate streams of an open object; none where the file system has none.
fn stream_names(file: &File) -> io::Result<Vec<Vec<u16>>> {
    let mut buffer = vec![0_u64; (64 << 10) / 8];
    let size = size_of_val(&buffer[..]) as u32;
    // SAFETY: the handle is open; the buffer has the length given and the alignment of FILE_STREAM_INFO.
    let listed = check(unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), FileStreamInfo, buffer.as_mut_ptr().cast(), size)
    });
    match listed {
        // A directory without streams, and file systems that have none.
        Err(error) if is_one_of(&error, &[ERROR_HANDLE_EOF]) || is_one_of(&error, &UNSUPPORTED) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(()) => collect_streams(bytes_of(&buffer)),
    }
}

/// Takes the names out of a chain of `FILE_STREAM_INFO`; each is `:name:$DATA`.
fn collect_streams(mut bytes: &[u8]) -> io::Result<Vec<Vec<u16>>> {
    let broken = || io::Error::new(ErrorKind::InvalidData, "the file system's list of streams is malformed");
    let mut names = Vec::new();
    loop {
        let next = u32_at(bytes, offset_of!(FILE_STREAM_INFO, NextEntryOffset)).ok_or_else(broken)? as usize;
        let length = u32_at(bytes, offset_of!(FILE_STREAM_INFO, StreamNameLength)).ok_or_else(broken)? as usize;
        let name = bytes.get(offset_of!(FILE_STREAM_INFO, StreamName)..).and_then(|name| name.get(..length));
        let units: Vec<u16> = units_of(name.ok_or_else(broken)?).collect();
        let data: Vec<u16> = ":$DATA".encode_utf16().collect();
        // What has another type belongs to the file system itself.
        if let Some(name) = units.strip_prefix(&[u16::from(b':')]).and_then(|name| name.strip_suffix(&data[..]))
            && !name.is_empty()
        {
            names.push(name.to_vec());
        }
        match next {
            0 => return Ok(names),
            _ => bytes = bytes.get(next..).ok_or_else(broken)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(next: u32, name: &str) -> Vec<u8> {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut bytes = vec![0; offset_of!(FILE_STREAM_INFO, StreamName)];
        bytes[..4].copy_from_slice(&next.to_le_bytes());
        bytes[4..8].copy_from_slice(&(units.len() as u32).to_le_bytes());
        bytes.extend(units);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn streams_are_named_without_their_type_and_the_content_is_none() {
        let first = info(40, "::$DATA");
        let list = [first.clone(), info(0, ":note:$DATA")].concat();
        assert_eq!(first.len(), 40);
        let expected: Vec<u16> = "note".encode_utf16().collect();
        assert_eq!(collect_streams(&list).expect("well-formed"), [expected]);
        assert!(collect_streams(&info(900, ":a:$DATA")).is_err());
        assert!(collect_streams(&[0; 7]).is_err());
    }

    #[test]
    fn attributes_and_times_come_back() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(root.path()).expect("there");
        let file = dir.create_file(b"f").expect("new");
        let object = Object::File(&file);
        let time = Time { seconds: 1_000_000_000, nanos: 123_456_700 };
        object.set_times(Some(time), None).expect("set");
        assert_eq!(object.stat().expect("open").mtime, time);
        object.set_flags(FILE_ATTRIBUTE_HIDDEN).expect("set");
        assert_eq!(object.stat().expect("open").flags, Some(FILE_ATTRIBUTE_HIDDEN));
        object.set_flags(0).expect("set");
        assert_eq!(object.stat().expect("open").flags, Some(0));
        assert_eq!(Object::Name(&dir, b"f").stat().expect("there").id, object.stat().expect("open").id);
    }
}
