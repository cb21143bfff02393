//! What an object is, and which one it is: attributes, tags of reparse points, file ids.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_OFFLINE, FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS,
    FILE_ATTRIBUTE_RECALL_ON_OPEN, FILE_ATTRIBUTE_REPARSE_POINT, FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO,
    FILE_ID_INFO, GetFileInformationByHandle,
};

use super::call::{check, info};
use crate::fsys::{ObjectId, ObjectKind};

/// Attributes, and the tag of a reparse point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nature {
    pub(super) attributes: u32,
    pub(super) tag: u32,
}

pub(super) const TAG_SYMLINK: u32 = 0xa000_000c;
pub(super) const TAG_MOUNT_POINT: u32 = 0xa000_0003;
pub(super) const TAG_APP_EXEC_LINK: u32 = 0x8000_001b;
pub(super) const TAG_AF_UNIX: u32 = 0x8000_0023;
pub(super) const TAG_LX_FIFO: u32 = 0x8000_0024;
pub(super) const TAG_LX_CHARACTER: u32 = 0x8000_0025;
pub(super) const TAG_LX_BLOCK: u32 = 0x8000_0026;
/// The bit of tags that stand for another name: junctions, mount points, links of several subsystems.
pub(super) const TAG_NAME_SURROGATE: u32 = 0x2000_0000;

impl Nature {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Self::from_attributes(file, info::<FILE_BASIC_INFO>(file)?.FileAttributes)
    }

    pub(super) fn from_attributes(file: &File, attributes: u32) -> io::Result<Self> {
        // FAT does not answer this question, and has no reparse points.
        let tag = match attributes & FILE_ATTRIBUTE_REPARSE_POINT {
            0 => 0,
            _ => info::<FILE_ATTRIBUTE_TAG_INFO>(file)?.ReparseTag,
        };
        Ok(Self { attributes, tag })
    }

    pub(super) fn is_directory(self) -> bool {
        self.attributes & FILE_ATTRIBUTE_DIRECTORY != 0
    }

    pub(super) fn kind(self) -> ObjectKind {
        match self.tag {
            TAG_SYMLINK => ObjectKind::Symlink,
            TAG_AF_UNIX => ObjectKind::Socket,
            TAG_LX_FIFO => ObjectKind::Fifo,
            TAG_LX_CHARACTER => ObjectKind::Character,
            TAG_LX_BLOCK => ObjectKind::Block,
            // A volume mounted in a directory has the same tag; its target tells.
            TAG_MOUNT_POINT => ObjectKind::Junction,
            TAG_APP_EXEC_LINK => ObjectKind::Other,
            tag if tag & TAG_NAME_SURROGATE != 0 => ObjectKind::Other,
            _ if self.is_elsewhere() => ObjectKind::Placeholder,
            _ if self.is_directory() => ObjectKind::Directory,
            _ => ObjectKind::File,
        }
    }

    /// Returns whether the content is not on this machine, so that opening or reading it would fetch it: a file in a cloud
    /// or in a slower storage, a directory whose names have not been fetched yet.
    pub(super) fn is_elsewhere(self) -> bool {
        let marks = FILE_ATTRIBUTE_OFFLINE | FILE_ATTRIBUTE_RECALL_ON_OPEN | FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS;
        self.attributes & marks != 0
    }

    /// Returns whether a filter of the system may hold the content of this file or directory.
    ///
    /// Cloud files hide their reparse points from most programs, but show these attributes.
    pub(super) fn is_filtered(self) -> bool {
        let hints = FILE_ATTRIBUTE_REPARSE_POINT
            | FILE_ATTRIBUTE_OFFLINE
            | FILE_ATTRIBUTE_RECALL_ON_OPEN
            | FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS;
        self.attributes & hints != 0
    }
}

pub(super) fn identify(file: &File) -> io::Result<ObjectId> {
    if let Ok(id) = info::<FILE_ID_INFO>(file) {
        let number = u128::from_le_bytes(id.FileId.Identifier);
        return Ok(ObjectId { device: id.VolumeSerialNumber, number: fold_id(number) });
    }
    // FAT and some shares know only the older question.
    let mut old = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is the one that the call fills.
    check(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut old) })?;
    let number = u64::from(old.nFileIndexHigh) << 32 | u64::from(old.nFileIndexLow);
    Ok(ObjectId { device: old.dwVolumeSerialNumber.into(), number })
}

/// Returns 64 bits of a file id: on NTFS, which uses no more, exactly those; ReFS puts a directory's number into the
/// upper half and a counter into the lower one, which do not meet while both stay below 2^32.
pub(super) fn fold_id(id: u128) -> u64 {
    (id as u64) ^ ((id >> 64) as u64).rotate_left(32)
}

/// Identifies an object where being wrong would lead elsewhere: a file system that gives no ids is refused.
pub(super) fn identify_certain(file: &File) -> io::Result<ObjectId> {
    match identify(file)? {
        ObjectId { number: 0 | u64::MAX, .. } => {
            Err(io::Error::new(ErrorKind::Unsupported, "the file system gives no file ids"))
        }
        id => Ok(id),
    }
}
