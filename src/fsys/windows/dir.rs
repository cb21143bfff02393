//! Directory handles: everything is opened, made and renamed by one name in an open directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem::size_of;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_WRITE_THROUGH, FileLinkInformation,
    FileRenameInformation, NtSetInformationFile,
};
use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, HANDLE};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_DISPOSITION_FLAG_DELETE,
    FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE, FILE_DISPOSITION_FLAG_POSIX_SEMANTICS, FILE_DISPOSITION_INFO,
    FILE_DISPOSITION_INFO_EX, FILE_FLAG_BACKUP_SEMANTICS, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_READ_ATTRIBUTES,
    FILE_WRITE_ATTRIBUTES, FileFullDirectoryInfo, FileFullDirectoryRestartInfo,
    SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE, SYMBOLIC_LINK_FLAG_DIRECTORY,
};
use windows_sys::Win32::System::IO::{DeviceIoControl, IO_STATUS_BLOCK};

use super::call::{UNSUPPORTED, check, check_status, is_one_of, set_info};
use super::durable::{flush_directory, patiently};
use super::link::{FSCTL_SET_REPARSE_POINT, junction_data, link_target, reparse_data, resolves_to_directory, symlink};
use super::listing::{bytes_of, collect_names, list_some};
use super::name::{component, decode, final_path, terminated};
use super::nature::{Nature, identify_certain};
use super::open::{nt_open, open_content, open_path, wrong_kind};
use super::stat_file;
use super::time::set_mtime;
use super::{LIST, NAME_UNITS_MAX, RAW};
use crate::clock::Time;
use crate::fsys::{ObjectKind, Stat};

/// An open directory.
#[derive(Debug)]
pub struct Dir(pub(super) File);

impl Dir {
    /// Opens the directory at a path that the operator named; links in it are followed.
    ///
    /// # Errors
    /// There is no directory, or it may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open_path(path, LIST, FILE_FLAG_BACKUP_SEMANTICS)?;
        if Nature::of(&file)?.is_directory() { Ok(Self(file)) } else { Err(wrong_kind(ObjectKind::Directory)) }
    }

    /// Opens a directory in this one; a link is refused.
    ///
    /// # Errors
    /// There is no directory of that name, it is a link, or it may not be read.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let name = component(name)?;
        Ok(Self(open_content(&self.0, &name, LIST, ObjectKind::Directory)?))
    }

    /// Opens the directory that holds this one; of a volume's root, itself.
    ///
    /// # Errors
    /// It may not be read, or is not found to hold this directory.
    pub fn open_parent(&self) -> io::Result<Self> {
        // Windows knows no `..` relative to a handle. The path may be swapped before it is opened, hence the proof.
        let path = PathBuf::from(OsString::from_wide(&final_path(&self.0)?));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.reopen(LIST).map(Self);
        };
        let parent = Self::open(parent)?;
        let name: Vec<u16> = name.encode_wide().collect();
        if identify_certain(&parent.look(&name)?)? == identify_certain(&self.0)? {
            Ok(parent)
        } else {
            Err(io::Error::other("the directory above cannot be told: it does not hold this one under its name"))
        }
    }

    /// Returns the names in this directory, complete and in no order, without `.` and `..`.
    ///
    /// # Errors
    /// The directory cannot be read to its end.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        // A handle of its own, because the position of a listing belongs to the handle.
        Self(self.reopen(LIST)?).names_once()
    }

    /// Returns the names as [`names`](Self::names) does, for whoever opened this directory and has not shared it yet. They
    /// can be read so once.
    ///
    /// # Errors
    /// The directory cannot be read to its end.
    pub fn names_once(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        // FILE_FULL_DIR_INFO wants an alignment of eight bytes.
        let mut buffer = vec![0_u64; (64 << 10) / 8];
        let mut class = FileFullDirectoryRestartInfo;
        while list_some(&self.0, class, &mut buffer)? {
            collect_names(bytes_of(&buffer), &mut names)?;
            buffer.fill(0);
            class = FileFullDirectoryInfo;
        }
        Ok(names)
    }

    /// Returns what the file system says of this directory.
    ///
    /// # Errors
    /// The file system fails.
    pub fn stat(&self) -> io::Result<Stat> {
        stat_file(&self.0)
    }

    /// Returns when what has a name was made, where the file system tells.
    pub fn made_at(&self, name: &[u8]) -> Option<Time> {
        self.stat_at(name).ok()?.created
    }

    /// Returns the names in this directory that are listed with a number: the listings that are asked for have none.
    ///
    /// # Errors
    /// None here.
    pub fn names_of(&self, _number: u64) -> io::Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    /// Returns what the file system says of a name; of a link itself, not of its target.
    ///
    /// # Errors
    /// There is no such name, or the file system fails.
    pub fn stat_at(&self, name: &[u8]) -> io::Result<Stat> {
        stat_file(&self.look(&component(name)?)?)
    }

    /// Returns the exact target of a symbolic link.
    ///
    /// # Errors
    /// There is no link of that name.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        link_target(&reparse_data(&self.look(&component(name)?)?)?)
    }

    /// Opens a regular file for reading, without following a link.
    ///
    /// # Errors
    /// There is no such file, it is not regular, or it may not be read.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        open_content(&self.0, &component(name)?, FILE_GENERIC_READ, ObjectKind::File)
    }

    /// Creates a file that must not exist, for reading and writing; who may read it, it inherits from this directory.
    ///
    /// # Errors
    /// The name exists, or the file system refuses.
    pub fn create_file(&self, name: &[u8]) -> io::Result<File> {
        nt_open(
            &self.0,
            &component(name)?,
            FILE_GENERIC_READ | FILE_GENERIC_WRITE,
            FILE_CREATE,
            RAW | FILE_NON_DIRECTORY_FILE,
        )
    }

    /// Opens a file for writing that this process created before.
    ///
    /// # Errors
    /// There is no such file, or it is a link.
    pub fn reopen_file(&self, name: &[u8]) -> io::Result<File> {
        open_content(&self.0, &component(name)?, FILE_GENERIC_READ | FILE_GENERIC_WRITE, ObjectKind::File)
    }

    /// Creates a directory that must not exist; who may read it, it inherits from this directory.
    ///
    /// # Errors
    /// The name exists, or the file system refuses.
    pub fn create_dir(&self, name: &[u8]) -> io::Result<()> {
        let name = component(name)?;
        nt_open(&self.0, &name, FILE_READ_ATTRIBUTES, FILE_CREATE, RAW | FILE_DIRECTORY_FILE).map(drop)
    }

    /// Creates a symbolic link that must not exist, exactly as given: `/` in a relative target stays, although Windows
    /// follows only `\` there.
    ///
    /// Windows has links to files and links to directories; the target decides if it exists now, else it is a file.
    ///
    /// # Errors
    /// The name exists, the account may not create links, or the file system refuses.
    pub fn create_symlink(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        // No call creates a link relative to a handle for an account without privileges. Going through the path is
        // acceptable here: callers create links only in a staging directory that this process made, nothing is
        // replaced if somebody swaps a directory above it, and everything is compared through handles afterwards.
        let name = component(name)?;
        let directory = final_path(&self.0)?;
        let mut kind = 0;
        if resolves_to_directory(&directory, &decode(target)?) {
            kind = SYMBOLIC_LINK_FLAG_DIRECTORY;
        }
        let link = terminated(directory.into_iter().chain([u16::from(b'\\')]).chain(name))?;
        let target = terminated(decode(target)?)?;
        match symlink(&link, &target, kind | SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE) {
            // Before Windows 10 1703 that flag was unknown.
            Err(error) if is_one_of(&error, &[ERROR_INVALID_PARAMETER]) => symlink(&link, &target, kind),
            other => other,
        }
    }

    /// Creates a pipe, socket or device: Windows has none that programs there would take for such.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`].
    pub fn create_special(&self, _name: &[u8], _kind: ObjectKind, _device: (u32, u32)) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Creates a junction that must not exist, exactly as given.
    ///
    /// # Errors
    /// The name exists, the target is none of a junction, or the file system refuses; nothing is left behind then.
    pub fn create_junction(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        let units = component(name)?;
        let data = junction_data(&decode(target)?)?;
        let access = FILE_GENERIC_READ | FILE_GENERIC_WRITE;
        let directory = nt_open(&self.0, &units, access, FILE_CREATE, RAW | FILE_DIRECTORY_FILE)?;
        let mut length = 0;
        // SAFETY: the handle is open, the buffer has the length given, and the call is synchronous.
        let made = check(unsafe {
            DeviceIoControl(
                directory.as_raw_handle(),
                FSCTL_SET_REPARSE_POINT,
                data.as_ptr().cast(),
                data.len() as u32,
                null_mut(),
                0,
                &raw mut length,
                null_mut(),
            )
        });
        if made.is_err() {
            drop(directory);
            let _ = self.remove_dir(name);
        }
        made
    }

    /// Gives an object, named in this directory, a further name in `other` that must not exist.
    ///
    /// # Errors
    /// The new name exists, or the file system refuses.
    pub fn create_link(&self, name: &[u8], other: &Self, new: &[u8]) -> io::Result<()> {
        let source = nt_open(&self.0, &component(name)?, FILE_WRITE_ATTRIBUTES, FILE_OPEN, RAW)?;
        set_name(&source, &other.0, &component(new)?, FileLinkInformation)
    }

    /// Returns nothing: file systems of Windows make room for files as they need it.
    pub fn free_files(&self) -> Option<u64> {
        None
    }

    /// Sets the modification time of an open file, which must be open for writing; Windows has no permission bits.
    ///
    /// # Errors
    /// The file system refuses, or the time lies outside what it can hold (from 1601, in steps of 100 ns).
    pub fn set_file_meta(file: &File, _mode: Option<u32>, mtime: Option<Time>) -> io::Result<()> {
        mtime.map_or(Ok(()), |mtime| set_mtime(file, mtime))
    }

    /// Sets the modification time of this directory; Windows has no permission bits.
    ///
    /// # Errors
    /// As [`set_file_meta`](Self::set_file_meta).
    pub fn set_meta(&self, _mode: Option<u32>, mtime: Option<Time>) -> io::Result<()> {
        mtime.map_or(Ok(()), |mtime| set_mtime(&self.reopen(FILE_WRITE_ATTRIBUTES | FILE_READ_ATTRIBUTES)?, mtime))
    }

    /// Sets the modification time of a symbolic link itself.
    ///
    /// # Errors
    /// As [`set_file_meta`](Self::set_file_meta).
    pub fn set_symlink_meta(&self, name: &[u8], mtime: Option<Time>) -> io::Result<()> {
        let Some(mtime) = mtime else { return Ok(()) };
        let name = component(name)?;
        set_mtime(&nt_open(&self.0, &name, FILE_WRITE_ATTRIBUTES | FILE_READ_ATTRIBUTES, FILE_OPEN, RAW)?, mtime)
    }

    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// The medium fails.
    pub fn sync(&self) -> io::Result<()> {
        flush_directory(&self.reopen(FILE_ADD_FILE | FILE_READ_ATTRIBUTES)?)
    }

    /// Renames a name in this directory, replacing nothing but an empty directory.
    ///
    /// Two steps: the empty directory is removed, then the rename replaces nothing. A crash between them leaves the
    /// new name absent and `from` as it was. Windows refuses while anything below `from` is open.
    ///
    /// # Errors
    /// The new name is a directory that is not empty, or the file system refuses; an empty directory is there again.
    pub fn rename_over_empty(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let source = component(from)?;
        let target = component(to)?;
        self.look(&source)?;
        let removed = match self.remove_dir(to) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let renamed = patiently(|| self.rename_new(&source, &target), || self.look(&target).is_ok());
        if renamed.is_err() && removed {
            // The rename's error is the one to report; that the name is absent would show at the next look.
            let _ = self.create_dir(to);
        }
        renamed
    }

    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        self.remove(name, false)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// It is not empty, or the file system refuses.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        self.remove(name, true)
    }

    /// Returns whether new names can be made here, by asking the system rather than trying.
    pub fn is_writable(&self) -> bool {
        self.reopen(FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY | FILE_READ_ATTRIBUTES).is_ok()
    }

    /// Opens this directory again, for something else.
    fn reopen(&self, access: u32) -> io::Result<File> {
        open_content(&self.0, &[], access, ObjectKind::Directory)
    }

    /// Opens a name only to look at it: no share mode of another process can forbid that.
    fn look(&self, name: &[u16]) -> io::Result<File> {
        nt_open(&self.0, name, FILE_READ_ATTRIBUTES, FILE_OPEN, RAW)
    }

    pub(super) fn rename_new(&self, from: &[u16], to: &[u16]) -> io::Result<()> {
        // Written through, as MoveFileEx does it when asked: the rename is durable when it returns.
        let access = DELETE | FILE_READ_ATTRIBUTES;
        let source = nt_open(&self.0, from, access, FILE_OPEN, RAW | FILE_WRITE_THROUGH)?;
        set_name(&source, &self.0, to, FileRenameInformation)
    }

    fn remove(&self, name: &[u8], directory: bool) -> io::Result<()> {
        let file = nt_open(&self.0, &component(name)?, DELETE | FILE_READ_ATTRIBUTES, FILE_OPEN, RAW)?;
        // A link to a directory is a directory to Windows; here it is a name like a file's.
        match (directory, Nature::of(&file)?.kind()) {
            (true, ObjectKind::Directory) => {}
            (true, _) => return Err(ErrorKind::NotADirectory.into()),
            (false, ObjectKind::Directory) => return Err(ErrorKind::IsADirectory.into()),
            (false, _) => {}
        }
        // The first way frees the name at once, even while others have the object open, and removes what is read-only, as
        // Unix does; FAT, some shares and Windows before 10 lack it.
        let flags = FILE_DISPOSITION_FLAG_DELETE
            | FILE_DISPOSITION_FLAG_POSIX_SEMANTICS
            | FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE;
        match set_info(&file, &FILE_DISPOSITION_INFO_EX { Flags: flags }) {
            Err(error) if is_one_of(&error, &UNSUPPORTED) => {
                set_info(&file, &FILE_DISPOSITION_INFO { DeleteFile: true })
            }
            other => other,
        }
    }
}

/// Gives an open object a name in a directory, replacing nothing: instead of its own, or besides it.
pub(super) fn set_name(object: &File, directory: &File, name: &[u16], class: i32) -> io::Result<()> {
    let mut info = Rename {
        replace: 0,
        directory: directory.as_raw_handle(),
        name_bytes: name.len() as u32 * 2,
        name: [0; NAME_UNITS_MAX + 1],
    };
    info.name[..name.len()].copy_from_slice(name);
    let mut io = IO_STATUS_BLOCK::default();
    // SAFETY: the handles are open; `info` has the layout of FILE_RENAME_INFORMATION and FILE_LINK_INFORMATION and the
    // length given, and its name lies within it, because `component` bounds names to NAME_UNITS_MAX.
    let status = unsafe {
        NtSetInformationFile(
            object.as_raw_handle(),
            &raw mut io,
            (&raw const info).cast(),
            size_of::<Rename>() as u32,
            class,
        )
    };
    check_status(status)
}

/// `FILE_RENAME_INFORMATION` with room for the longest name.
#[repr(C)]
pub(super) struct Rename {
    replace: u32,
    directory: HANDLE,
    name_bytes: u32,
    name: [u16; NAME_UNITS_MAX + 1],
}
