//! Directory handles on Windows: `NtCreateFile`, the one call that opens a name relative to an open directory.
//!
//! Names are WTF-8. Every relative open takes one component and looks at reparse points instead of passing through
//! them; so neither a symbolic link nor a junction is ever followed below a root. Reparse points that are no links
//! belong to a filter of the system that keeps the content elsewhere (deduplication, cloud files): read raw, such a
//! file is zeros and such a directory incomplete. They are opened once more through their filter, and that must lead
//! to the same object.

#![allow(unsafe_code)]

mod object;
mod owners;
mod sparse;

pub use self::object::Object;
pub use self::owners::{group_name, group_number, is_root, user_name, user_number};
pub use self::sparse::{allow_holes, holes, takes_size};

use std::ffi::{OsString, c_void};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::{offset_of, size_of};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::path::{self, Component, Path, PathBuf, Prefix};
use std::ptr::{null, null_mut};
use std::slice;
use std::thread;
use std::time::Duration;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_OVERWRITE_IF,
    FILE_SYNCHRONOUS_IO_NONALERT, FILE_WRITE_THROUGH, FileLinkInformation, FileRenameInformation, NtCreateFile,
    NtSetInformationFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_CALL_NOT_IMPLEMENTED, ERROR_DELETE_PENDING, ERROR_DISK_FULL, ERROR_FILE_NOT_FOUND,
    ERROR_FILE_TOO_LARGE, ERROR_HANDLE_EOF, ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_LOCK_VIOLATION,
    ERROR_MORE_DATA, ERROR_NO_MORE_FILES, ERROR_NOT_SUPPORTED, ERROR_SHARING_VIOLATION, GENERIC_READ, GENERIC_WRITE,
    HANDLE, INVALID_HANDLE_VALUE, LocalFree, NTSTATUS, OBJ_CASE_INSENSITIVE, RtlNtStatusToDosError,
    STATUS_DELETE_PENDING, UNICODE_STRING,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, EqualSid, GetAce, GetTokenInformation,
    INHERIT_ONLY_ACE, IsWellKnownSid, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
    TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid, WinCreatorOwnerRightsSid, WinLocalSystemSid,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateFileW, CreateSymbolicLinkW, DELETE, FILE_ADD_FILE,
    FILE_ADD_SUBDIRECTORY, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_OFFLINE,
    FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS, FILE_ATTRIBUTE_RECALL_ON_OPEN, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_DISPOSITION_FLAG_DELETE, FILE_DISPOSITION_FLAG_POSIX_SEMANTICS,
    FILE_DISPOSITION_INFO, FILE_DISPOSITION_INFO_EX, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_FULL_DIR_INFO, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_ID_INFO, FILE_INFO_BY_HANDLE_CLASS,
    FILE_LIST_DIRECTORY, FILE_NAME_NORMALIZED, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, FILE_STANDARD_INFO, FILE_WRITE_ATTRIBUTES, FileAttributeTagInfo, FileBasicInfo,
    FileDispositionInfo, FileDispositionInfoEx, FileFullDirectoryInfo, FileFullDirectoryRestartInfo, FileIdInfo,
    FileStandardInfo, GetFileInformationByHandle, GetFileInformationByHandleEx, GetFinalPathNameByHandleW,
    GetVolumeInformationByHandleW, MOVEFILE_WRITE_THROUGH, MoveFileExW, SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE,
    SYMBOLIC_LINK_FLAG_DIRECTORY, SYNCHRONIZE, SetFileInformationByHandle, VOLUME_NAME_DOS, VOLUME_NAME_GUID,
};
use windows_sys::Win32::System::IO::{DeviceIoControl, IO_STATUS_BLOCK};

use super::{ObjectId, ObjectKind, Stat};
use crate::clock::Time;

/// An open directory.
#[derive(Debug)]
pub struct Dir(File);

const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
const LIST: u32 = FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES;
/// Looks at a reparse point itself.
const RAW: u32 = FILE_OPEN_REPARSE_POINT;
/// Longest component in UTF-16 units, on every file system of Windows.
const NAME_UNITS_MAX: usize = 255;
/// Longest path that the system's calls take, in UTF-16 units.
const PATH_UNITS_MAX: usize = 32_768;

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
        let directory = self.reopen(LIST)?;
        let mut names = Vec::new();
        // FILE_FULL_DIR_INFO wants an alignment of eight bytes.
        let mut buffer = vec![0_u64; (64 << 10) / 8];
        let mut class = FileFullDirectoryRestartInfo;
        while list_some(&directory, class, &mut buffer)? {
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

    fn rename_new(&self, from: &[u16], to: &[u16]) -> io::Result<()> {
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
        // The first way frees the name at once, even while others have the object open; FAT and some shares lack it.
        let flags = FILE_DISPOSITION_FLAG_DELETE | FILE_DISPOSITION_FLAG_POSIX_SEMANTICS;
        match set_info(&file, &FILE_DISPOSITION_INFO_EX { Flags: flags }) {
            Err(error) if is_one_of(&error, &UNSUPPORTED) => {
                set_info(&file, &FILE_DISPOSITION_INFO { DeleteFile: true })
            }
            other => other,
        }
    }
}

/// Gives an open object a name in a directory, replacing nothing: instead of its own, or besides it.
fn set_name(object: &File, directory: &File, name: &[u16], class: i32) -> io::Result<()> {
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
struct Rename {
    replace: u32,
    directory: HANDLE,
    name_bytes: u32,
    name: [u16; NAME_UNITS_MAX + 1],
}

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

/// Makes the names in a directory durable.
///
/// # Errors
/// The medium fails.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    flush_directory(&open_path(path, FILE_ADD_FILE | FILE_READ_ATTRIBUTES, FILE_FLAG_BACKUP_SEMANTICS)?)
}

/// Makes everything on the file system that holds `directory` durable; returns whether the system can do that.
///
/// # Errors
/// None here: flushing a volume takes an administrator, so the answer is always no.
pub fn sync_filesystem(_directory: &Dir) -> io::Result<bool> {
    Ok(false)
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

/// Returns whether only its owner, this account, the system and the administrators have any access to an open file;
/// nothing where the medium keeps no access lists.
///
/// # Errors
/// The file system fails.
pub fn is_private(file: &File) -> io::Result<Option<bool>> {
    if !keeps_access_lists(file)? {
        return Ok(None);
    }
    let security = Security::of(file)?;
    let account = Account::current()?;
    let trusted = |sid: PSID| {
        // SAFETY: `sid` lies in an entry of the list that `security` owns; the others live as long as their owners.
        unsafe {
            EqualSid(sid, account.sid()) != 0
                || (!security.owner.is_null() && EqualSid(sid, security.owner) != 0)
                || [WinLocalSystemSid, WinBuiltinAdministratorsSid, WinCreatorOwnerRightsSid]
                    .into_iter()
                    .any(|known| IsWellKnownSid(sid, known) != 0)
        }
    };
    security.grants_only(trusted).map(Some)
}

/// Creates a file for its owner alone, writes `bytes` and makes them durable. The name must not exist.
///
/// Its access list admits this account, the system and the administrators, and inherits nothing: so it stays private
/// outside of the user's profile too. Media that keep no access lists ignore that.
///
/// # Errors
/// The name exists, or the file system refuses; nothing is left behind then.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let mut file = create_private(&wide_path(path)?)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // It is open for this process alone, which includes removing it.
        drop(file);
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Does nothing: Windows limits open handles only by memory.
pub fn raise_descriptor_limit() {}

// Opening

fn open_path(path: &Path, access: u32, flags: u32) -> io::Result<File> {
    OpenOptions::new().access_mode(access | SYNCHRONIZE).share_mode(SHARE_ALL).custom_flags(flags).open(path)
}

/// Opens a name in a directory, or with an empty name the object itself, for its content.
fn open_content(root: &File, name: &[u16], access: u32, expected: ObjectKind) -> io::Result<File> {
    let raw = nt_open(root, name, access, FILE_OPEN, RAW)?;
    through_filter(raw, expected, || nt_open(root, name, access, FILE_OPEN, 0))
}

/// Returns `raw`, which was opened as what lies on the disk, or where a filter keeps the content, what `open` opens
/// through it.
fn through_filter(raw: File, expected: ObjectKind, open: impl FnOnce() -> io::Result<File>) -> io::Result<File> {
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

fn wrong_kind(expected: ObjectKind) -> io::Error {
    match expected {
        ObjectKind::Directory => ErrorKind::NotADirectory.into(),
        _ => io::Error::new(ErrorKind::InvalidData, "not a regular file"),
    }
}

fn nt_open(root: &File, name: &[u16], access: u32, disposition: u32, options: u32) -> io::Result<File> {
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

fn check_status(status: NTSTATUS) -> io::Result<()> {
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

fn check(succeeded: i32) -> io::Result<()> {
    if succeeded == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn os_error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed())
}

fn is_one_of(error: &io::Error, codes: &[u32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code.cast_unsigned()))
}

/// How a file system says that it does not know what it is asked for.
const UNSUPPORTED: [u32; 4] =
    [ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_INVALID_PARAMETER, ERROR_CALL_NOT_IMPLEMENTED];

// Asking and telling

/// What [`info`] may ask for, and [`set_info`] tell: the class belongs to the type.
trait Info: Sized {
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

fn info<T: Info + Default>(file: &File) -> io::Result<T> {
    let mut info = T::default();
    let size = size_of::<T>() as u32;
    // SAFETY: the handle is open, and the class is that of the structure, whose size is given.
    check(unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), T::CLASS, (&raw mut info).cast(), size) })?;
    Ok(info)
}

fn set_info<T: Info>(file: &File, info: &T) -> io::Result<()> {
    let size = size_of::<T>() as u32;
    // SAFETY: the handle is open, and the class is that of the structure, whose size is given.
    check(unsafe { SetFileInformationByHandle(file.as_raw_handle(), T::CLASS, (&raw const *info).cast(), size) })
}

/// Attributes, and the tag of a reparse point.
#[derive(Debug, Clone, Copy)]
struct Nature {
    attributes: u32,
    tag: u32,
}

// Tags of reparse points: [MS-FSCC] 2.1.2.1.
const TAG_SYMLINK: u32 = 0xa000_000c;
const TAG_MOUNT_POINT: u32 = 0xa000_0003;
const TAG_APP_EXEC_LINK: u32 = 0x8000_001b;
const TAG_AF_UNIX: u32 = 0x8000_0023;
const TAG_LX_FIFO: u32 = 0x8000_0024;
const TAG_LX_CHARACTER: u32 = 0x8000_0025;
const TAG_LX_BLOCK: u32 = 0x8000_0026;
/// The bit of tags that stand for another name: junctions, mount points, links of several subsystems.
const TAG_NAME_SURROGATE: u32 = 0x2000_0000;

impl Nature {
    fn of(file: &File) -> io::Result<Self> {
        Self::from_attributes(file, info::<FILE_BASIC_INFO>(file)?.FileAttributes)
    }

    fn from_attributes(file: &File, attributes: u32) -> io::Result<Self> {
        // FAT does not answer this question, and has no reparse points.
        let tag = match attributes & FILE_ATTRIBUTE_REPARSE_POINT {
            0 => 0,
            _ => info::<FILE_ATTRIBUTE_TAG_INFO>(file)?.ReparseTag,
        };
        Ok(Self { attributes, tag })
    }

    fn is_directory(self) -> bool {
        self.attributes & FILE_ATTRIBUTE_DIRECTORY != 0
    }

    fn kind(self) -> ObjectKind {
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
    fn is_elsewhere(self) -> bool {
        let marks = FILE_ATTRIBUTE_OFFLINE | FILE_ATTRIBUTE_RECALL_ON_OPEN | FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS;
        self.attributes & marks != 0
    }

    /// Returns whether a filter of the system may hold the content of this file or directory.
    ///
    /// Cloud files hide their reparse points from most programs, but show these attributes.
    fn is_filtered(self) -> bool {
        let hints = FILE_ATTRIBUTE_REPARSE_POINT
            | FILE_ATTRIBUTE_OFFLINE
            | FILE_ATTRIBUTE_RECALL_ON_OPEN
            | FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS;
        self.attributes & hints != 0
    }
}

fn identify(file: &File) -> io::Result<ObjectId> {
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
fn fold_id(id: u128) -> u64 {
    (id as u64) ^ ((id >> 64) as u64).rotate_left(32)
}

/// Identifies an object where being wrong would lead elsewhere: a file system that gives no ids is refused.
fn identify_certain(file: &File) -> io::Result<ObjectId> {
    match identify(file)? {
        ObjectId { number: 0 | u64::MAX, .. } => {
            Err(io::Error::new(ErrorKind::Unsupported, "the file system gives no file ids"))
        }
        id => Ok(id),
    }
}

// Times

/// From 1601-01-01 to 1970-01-01.
const EPOCH_SECONDS: i64 = 11_644_473_600;
const TICKS_PER_SECOND: i64 = 10_000_000;

fn time_of(ticks: i64) -> Time {
    let nanos = ticks.rem_euclid(TICKS_PER_SECOND) * 100;
    Time { seconds: ticks.div_euclid(TICKS_PER_SECOND) - EPOCH_SECONDS, nanos: u32::try_from(nanos).unwrap_or(0) }
}

/// Returns 100 ns since 1601, rounded down; nothing for times that a file cannot have.
fn ticks_of(time: Time) -> Option<i64> {
    let ticks = time.seconds.checked_add(EPOCH_SECONDS)?.checked_mul(TICKS_PER_SECOND)?;
    // Zero and the negative ones mean other things to the system.
    ticks.checked_add(i64::from(time.nanos / 100)).filter(|&ticks| ticks > 0)
}

fn set_mtime(file: &File, mtime: Time) -> io::Result<()> {
    let ticks = ticks_of(mtime)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the file system holds no times before 1601"))?;
    // What is zero stays as it is.
    set_info(file, &FILE_BASIC_INFO { LastWriteTime: ticks, ..FILE_BASIC_INFO::default() })
}

// Names

/// Encodes UTF-16, well-formed or not, as WTF-8.
fn encode(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
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
fn decode(mut bytes: &[u8]) -> io::Result<Vec<u16>> {
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
fn component(name: &[u8]) -> io::Result<Vec<u16>> {
    // Separators would make it a path, a colon a stream of another file. And `nt_open` takes nothing as the root.
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | b'\\' | b':' | 0)) {
        return Err(bad_name("not a name that Windows can have"));
    }
    let units = decode(name)?;
    if units.len() > NAME_UNITS_MAX { Err(bad_name("longer than a name can be")) } else { Ok(units) }
}

fn bad_name(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidFilename, why)
}

/// Ends with NUL what a call takes as a string.
fn terminated(units: impl IntoIterator<Item = u16>) -> io::Result<Vec<u16>> {
    let mut units: Vec<u16> = units.into_iter().collect();
    if units.contains(&0) {
        return Err(bad_name("holds NUL"));
    }
    units.push(0);
    Ok(units)
}

/// Returns a path as the calls of Win32 take it without limiting its length.
fn wide_path(path: &Path) -> io::Result<Vec<u16>> {
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
fn final_path(file: &File) -> io::Result<Vec<u16>> {
    // A volume may be mounted nowhere, and a share has no volume name.
    final_path_as(file, VOLUME_NAME_DOS).or_else(|error| final_path_as(file, VOLUME_NAME_GUID).map_err(|_| error))
}

fn final_path_as(file: &File, form: u32) -> io::Result<Vec<u16>> {
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

// Listing

/// Reads some entries of a directory; returns whether there were any.
fn list_some(directory: &File, class: FILE_INFO_BY_HANDLE_CLASS, buffer: &mut [u64]) -> io::Result<bool> {
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

fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: the same memory, as long as borrowed; bytes have no alignment and no invalid values.
    unsafe { slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// Takes the names out of a chain of `FILE_FULL_DIR_INFO`.
fn collect_names(mut bytes: &[u8], names: &mut Vec<Vec<u8>>) -> io::Result<()> {
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

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn units_of(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
}

// Links

const FSCTL_GET_REPARSE_POINT: u32 = 0x0009_00a8;
const FSCTL_SET_REPARSE_POINT: u32 = 0x0009_00a4;
/// `MAXIMUM_REPARSE_DATA_BUFFER_SIZE`.
const REPARSE_BYTES_MAX: usize = 16 << 10;

fn reparse_data(file: &File) -> io::Result<Vec<u8>> {
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
fn link_target(bytes: &[u8]) -> io::Result<Vec<u8>> {
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
fn junction_data(target: &[u16]) -> io::Result<Vec<u8>> {
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

fn symlink(link: &[u16], target: &[u16], flags: u32) -> io::Result<()> {
    // SAFETY: both strings end with NUL and live through the call.
    let made = unsafe { CreateSymbolicLinkW(link.as_ptr(), target.as_ptr(), flags) };
    if made { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns whether a link in `directory` would lead to a directory that exists.
fn resolves_to_directory(directory: &[u16], target: &[u16]) -> bool {
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

// Durability and patience

/// Makes the names in a directory durable, which must be open for adding files.
fn flush_directory(directory: &File) -> io::Result<()> {
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
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// Together the pauses make 1.3 s.
const PAUSE_LAST: Duration = Duration::from_millis(640);

/// Renames, again for a while if somebody is in the way, unless the new name is `taken`.
fn patiently(rename: impl Fn() -> io::Result<()>, taken: impl Fn() -> bool) -> io::Result<()> {
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

const IN_THE_WAY: [u32; 4] = [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_DELETE_PENDING];

// Who may read

/// The flag of a volume that keeps access lists.
const FILE_PERSISTENT_ACLS: u32 = 8;
const ACCESS_ALLOWED: u8 = 0;
const ACCESS_DENIED: u8 = 1;

fn keeps_access_lists(file: &File) -> io::Result<bool> {
    let mut flags = 0;
    let (handle, none) = (file.as_raw_handle(), null_mut());
    // SAFETY: the handle is open; what is not asked for is null, with length zero.
    check(unsafe {
        GetVolumeInformationByHandleW(handle, null_mut(), 0, null_mut(), null_mut(), &raw mut flags, none, 0)
    })?;
    Ok(flags & FILE_PERSISTENT_ACLS != 0)
}

/// Memory that the system allocated.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from a call that says to free it so, and is freed once; null is allowed.
        unsafe { LocalFree(self.0) };
    }
}

/// Owner and access list of a file; both lie in the descriptor.
struct Security {
    owner: PSID,
    list: *mut ACL,
    _descriptor: Local,
}

impl Security {
    fn of(file: &File) -> io::Result<Self> {
        let (mut owner, mut list): (PSID, *mut ACL) = (null_mut(), null_mut());
        let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
        // SAFETY: the handle is open; the pointers are to live locals, and what is not asked for is null.
        let code = unsafe {
            GetSecurityInfo(
                file.as_raw_handle(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &raw mut owner,
                null_mut(),
                &raw mut list,
                null_mut(),
                &raw mut descriptor,
            )
        };
        if code == 0 { Ok(Self { owner, list, _descriptor: Local(descriptor) }) } else { Err(os_error(code)) }
    }

    /// Returns whether the list gives nothing to anyone who is not `trusted`. No list gives everything to everyone.
    fn grants_only(&self, trusted: impl Fn(PSID) -> bool) -> io::Result<bool> {
        if self.list.is_null() {
            return Ok(false);
        }
        // SAFETY: a list that is not null lies in the descriptor, which lives as long as `self`.
        let count = unsafe { (*self.list).AceCount };
        for index in 0..count.into() {
            let mut entry: *mut c_void = null_mut();
            // SAFETY: the list is valid, as above; the call checks the index.
            check(unsafe { GetAce(self.list, index, &raw mut entry) })?;
            // SAFETY: every entry begins with a header.
            let header = unsafe { entry.cast::<ACE_HEADER>().read_unaligned() };
            let inert = u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 || header.AceType == ACCESS_DENIED;
            // Other types grant under conditions that are not understood here.
            if !inert && (header.AceType != ACCESS_ALLOWED || !trusted(sid_of(entry))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the account of an entry of the type ACCESS_ALLOWED, which ends with it.
fn sid_of(entry: *mut c_void) -> PSID {
    entry.wrapping_byte_add(offset_of!(ACCESS_ALLOWED_ACE, SidStart))
}

/// The account that this process runs as.
struct Account {
    // Begins with TOKEN_USER, which points behind itself; aligned for it, and longer than any account's id.
    token: Box<[u64; 32]>,
}

impl Account {
    fn current() -> io::Result<Self> {
        /// GetCurrentProcessToken: a constant that the system's headers define.
        const PROCESS_TOKEN: HANDLE = -4_isize as HANDLE;
        let mut token = Box::new([0_u64; 32]);
        let size = size_of_val(&*token) as u32;
        let mut length = 0;
        // SAFETY: the buffer has the length given.
        check(unsafe {
            GetTokenInformation(PROCESS_TOKEN, TokenUser, token.as_mut_ptr().cast(), size, &raw mut length)
        })?;
        Ok(Self { token })
    }

    fn sid(&self) -> PSID {
        // SAFETY: the call that filled the buffer succeeded, so that it begins with this structure.
        unsafe { (*self.token.as_ptr().cast::<TOKEN_USER>()).User.Sid }
    }

    /// Returns the account's id as text, such as `S-1-5-21-…`.
    fn text(&self) -> io::Result<String> {
        let mut text = null_mut();
        // SAFETY: the id is valid as long as `self`.
        check(unsafe { ConvertSidToStringSidW(self.sid(), &raw mut text) })?;
        let _owned = Local(text.cast());
        // An id has at most 15 parts of at most 10 digits.
        // SAFETY: the call succeeded, so the text ends with NUL, and nothing is read behind that.
        let units = (0..256).map(|at| unsafe { *text.add(at) }).take_while(|&unit| unit != 0);
        Ok(units.filter_map(|unit| char::from_u32(unit.into())).collect())
    }
}

/// Creates a file, which must not exist, that only this account, the system and the administrators may open.
fn create_private(path: &[u16]) -> io::Result<File> {
    // Protected from inheritance; full access to three accounts.
    let rules = format!("D:P(A;;FA;;;{})(A;;FA;;;SY)(A;;FA;;;BA)", Account::current()?.text()?);
    let rules = terminated(rules.encode_utf16())?;
    let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
    // SAFETY: the text ends with NUL, and the other pointer is to a live local.
    check(unsafe {
        let made = &raw mut descriptor;
        ConvertStringSecurityDescriptorToSecurityDescriptorW(rules.as_ptr(), SDDL_REVISION_1, made, null_mut())
    })?;
    let descriptor = Local(descriptor);
    let security = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    let flags = FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT;
    // SAFETY: the path ends with NUL, and the descriptor lives through the call.
    let handle =
        unsafe { CreateFileW(path.as_ptr(), GENERIC_WRITE, 0, &raw const security, CREATE_NEW, flags, null_mut()) };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the handle is open and nobody else's.
    Ok(unsafe { File::from_raw_handle(handle) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn fresh() -> (tempfile::TempDir, Dir) {
        let root = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(root.path()).expect("just made");
        (root, dir)
    }

    fn write(dir: &Dir, name: &[u8], bytes: &[u8]) {
        use io::Write;
        let mut file = dir.create_file(name).expect("new");
        file.write_all(bytes).expect("room");
        file.sync_all().expect("durable");
    }

    fn read(dir: &Dir, name: &[u8]) -> Vec<u8> {
        use io::Read;
        let mut bytes = Vec::new();
        dir.open_file(name).expect("there").read_to_end(&mut bytes).expect("readable");
        bytes
    }

    fn refusal<T>(result: io::Result<T>) -> ErrorKind {
        result.err().expect("refused").kind()
    }

    #[test]
    fn creating_refuses_every_name_that_exists() {
        let (_root, dir) = fresh();
        write(&dir, b"file", b"1");
        dir.create_dir(b"directory").expect("new");
        for name in [b"file".as_slice(), b"directory", b"FILE"] {
            assert_eq!(refusal(dir.create_file(name)), ErrorKind::AlreadyExists, "{name:?}");
            assert_eq!(refusal(dir.create_dir(name)), ErrorKind::AlreadyExists, "{name:?}");
        }
        assert_eq!(read(&dir, b"file"), b"1");
    }

    #[test]
    fn a_file_is_no_directory_and_a_directory_no_file() {
        let (root, dir) = fresh();
        write(&dir, b"file", b"1");
        dir.create_dir(b"directory").expect("new");
        assert_eq!(refusal(dir.open_dir(b"file")), ErrorKind::NotADirectory);
        assert_eq!(refusal(dir.open_file(b"directory")), ErrorKind::InvalidData);
        assert_eq!(refusal(open_plain(&root.path().join("directory"))), ErrorKind::InvalidData);
        assert_eq!(refusal(Dir::open(&root.path().join("file"))), ErrorKind::NotADirectory);
        assert_eq!(refusal(dir.open_dir(b"none")), ErrorKind::NotFound);
        assert_eq!(refusal(dir.stat_at(b"none")), ErrorKind::NotFound);
        assert!(dir.read_link(b"file").is_err());
        assert_eq!(refusal(dir.remove_file(b"directory")), ErrorKind::IsADirectory);
        assert_eq!(refusal(dir.remove_dir(b"file")), ErrorKind::NotADirectory);
        dir.remove_file(b"file").expect("a file");
        dir.remove_dir(b"directory").expect("empty");
        assert!(dir.names().expect("readable").is_empty());
    }

    #[test]
    fn renaming_never_replaces_a_file_or_a_directory() {
        let (root, dir) = fresh();
        let path = |name: &str| root.path().join(name);
        write(&dir, b"a", b"1");
        write(&dir, b"b", b"2");
        fs::create_dir_all(path("d/x")).expect("new");
        fs::create_dir(path("e")).expect("new");
        for (from, to) in [("a", "b"), ("d", "e"), ("e", "d"), ("a", "d")] {
            assert_eq!(refusal(rename_no_replace(&path(from), &path(to))), ErrorKind::AlreadyExists, "{from} {to}");
        }
        assert_eq!((read(&dir, b"a"), read(&dir, b"b")), (b"1".to_vec(), b"2".to_vec()));
        rename_no_replace(&path("d"), &path("f")).expect("free");
        assert!(path("f/x").is_dir());
        assert_eq!(refusal(rename_no_replace(&path("none"), &path("g"))), ErrorKind::NotFound);
    }

    #[test]
    fn renaming_over_takes_an_empty_directory_and_nothing_else() {
        let (root, dir) = fresh();
        for path in ["from/leaf", "full/x", "empty"] {
            fs::create_dir_all(root.path().join(path)).expect("new");
        }
        write(&dir, b"file", b"1");
        assert_eq!(refusal(dir.rename_over_empty(b"from", b"full")), ErrorKind::DirectoryNotEmpty);
        assert_eq!(refusal(dir.rename_over_empty(b"from", b"file")), ErrorKind::NotADirectory);
        assert_eq!(refusal(dir.rename_over_empty(b"none", b"empty")), ErrorKind::NotFound);
        assert!(root.path().join("full/x").is_dir() && root.path().join("empty").is_dir());
        dir.rename_over_empty(b"from", b"empty").expect("empty");
        assert!(root.path().join("empty/leaf").is_dir() && !root.path().join("from").exists());
        dir.rename_over_empty(b"empty", b"absent").expect("free");
        // What somebody makes between the two steps.
        write(&dir, b"other", b"2");
        let unit = |name: &[u8]| component(name).expect("a name");
        for (from, to) in [(b"other".as_slice(), b"file".as_slice()), (b"absent", b"full"), (b"full", b"absent")] {
            assert_eq!(refusal(dir.rename_new(&unit(from), &unit(to))), ErrorKind::AlreadyExists);
        }
        assert_eq!(read(&dir, b"file"), b"1");
        assert!(root.path().join("absent/leaf").is_dir());
    }

    #[test]
    fn an_empty_directory_is_there_again_when_the_rename_fails() {
        let (root, dir) = fresh();
        fs::create_dir(root.path().join("empty")).expect("new");
        write(&dir, b"from", b"1");
        let path = root.path().join("from");
        // Open without sharing: nobody can rename it.
        let held = OpenOptions::new().read(true).share_mode(0).open(&path).expect("there");
        assert!(dir.rename_over_empty(b"from", b"empty").is_err());
        drop(held);
        assert!(root.path().join("empty").is_dir() && path.is_file());
    }

    #[test]
    fn a_listing_of_many_buffers_is_complete() {
        let (_root, dir) = fresh();
        assert!(dir.names().expect("readable").is_empty());
        let long = "x".repeat(100);
        let mut expected: Vec<Vec<u8>> = (0..1500).map(|n| format!("{n:04}é{long}").into_bytes()).collect();
        for name in &expected {
            dir.create_file(name).expect("new");
        }
        for _ in 0..2 {
            let mut names = dir.names().expect("readable");
            names.sort_unstable();
            expected.sort_unstable();
            assert!(names == expected);
        }
    }

    #[test]
    fn a_malformed_listing_is_an_error_and_not_a_shorter_one() {
        let entry = |next: u32, length: u32, name: &[u16]| {
            let mut bytes = vec![0; offset_of!(FILE_FULL_DIR_INFO, FileName)];
            bytes[..4].copy_from_slice(&next.to_le_bytes());
            bytes[offset_of!(FILE_FULL_DIR_INFO, FileNameLength)..][..4].copy_from_slice(&length.to_le_bytes());
            bytes.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
            bytes
        };
        let mut names = Vec::new();
        let good = [entry(72, 4, &[46, 46]), entry(0, 2, &[0xd800])].concat();
        collect_names(&good, &mut names).expect("well-formed");
        assert_eq!(names, [b"\xed\xa0\x80"]);
        for bad in [entry(0, 4, &[65]), entry(71, 2, &[65]), entry(900, 2, &[65]), entry(0, 0, &[65]), vec![0; 67]] {
            assert_eq!(refusal(collect_names(&bad, &mut names)), ErrorKind::InvalidData);
        }
    }

    #[test]
    fn times_survive_to_100_ns() {
        let (_root, dir) = fresh();
        dir.create_dir(b"d").expect("new");
        let child = dir.open_dir(b"d").expect("there");
        let file = dir.create_file(b"f").expect("new");
        for (seconds, nanos) in [(0, 0), (1_700_000_000, 123_456_700), (-1, 999_999_900), (-86_400, 0)] {
            let time = Time { seconds, nanos };
            Dir::set_file_meta(&file, Some(0o600), Some(time)).expect("set");
            child.set_meta(None, Some(time)).expect("set");
            assert_eq!(stat_file(&file).expect("open").mtime, time);
            assert_eq!(child.stat().expect("open").mtime, time);
            assert_eq!(dir.stat_at(b"f").expect("there").mtime, time);
            assert_eq!(time_of(ticks_of(time).expect("within")), time);
        }
        // The first of all, beyond what Wine's file system holds.
        let first = Time { seconds: -11_644_473_600, nanos: 100 };
        assert_eq!((ticks_of(first), time_of(1)), (Some(1), first));
        for (seconds, nanos) in [(-11_644_473_600, 99), (i64::MIN, 0), (i64::MAX, 0)] {
            let error = Dir::set_file_meta(&file, None, Some(Time { seconds, nanos }));
            assert_eq!(refusal(error), ErrorKind::InvalidInput);
        }
        Dir::set_file_meta(&file, None, None).expect("nothing to do");
    }

    #[test]
    fn stat_tells_objects_apart_and_counts_names() {
        let (root, dir) = fresh();
        write(&dir, b"a", b"12345");
        fs::hard_link(root.path().join("a"), root.path().join("b")).expect("new");
        write(&dir, b"c", b"");
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| dir.stat_at(name).expect("there"));
        assert_eq!((a.kind, a.size, a.links, a.mode), (ObjectKind::File, 5, 2, None));
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, c.id);
        assert_eq!(a.id.device, dir.stat().expect("open").id.device);
        assert_eq!(stat_file(&dir.open_file(b"a").expect("there")).expect("open").id, a.id);
        assert_eq!(fold_id(0x0001_0000_0000_0005), 0x0001_0000_0000_0005);
    }

    #[test]
    fn the_directory_above_is_proved_and_a_root_is_its_own() {
        let (_root, dir) = fresh();
        dir.create_dir("ä b".as_bytes()).expect("new");
        let child = dir.open_dir("ä b".as_bytes()).expect("there");
        assert_eq!(child.open_parent().expect("there").stat().expect("open").id, dir.stat().expect("open").id);
        let top = Dir::open(Path::new(r"C:\")).expect("every Windows has one");
        assert_eq!(top.open_parent().expect("itself").stat().expect("open").id, top.stat().expect("open").id);
    }

    #[test]
    fn wtf8_has_one_form_for_every_sequence_of_units() {
        let samples: [(&[u16], &[u8]); 6] = [
            (&[], b""),
            (&[0x41, 0xe9, 0x20ac], "Aé€".as_bytes()),
            (&[0xd83d, 0xde00], "\u{1f600}".as_bytes()),
            (&[0xd800], b"\xed\xa0\x80"),
            (&[0xdfff, 0xdbff, 0x41], b"\xed\xbf\xbf\xed\xaf\xbfA"),
            (&[0xd800, 0xd83d, 0xde00], b"\xed\xa0\x80\xf0\x9f\x98\x80"),
        ];
        for (units, bytes) in samples {
            assert_eq!(encode(units.iter().copied()), bytes);
            assert_eq!(decode(bytes).expect("well-formed"), units);
        }
        for unit in 0..=u16::MAX {
            assert_eq!(decode(&encode([unit])).expect("well-formed"), [unit]);
            for units in [[0xd801, unit], [unit, 0xdc01]] {
                assert_eq!(decode(&encode(units)).expect("well-formed"), units);
            }
        }
        let bad: [&[u8]; 7] =
            [b"\xff", b"\xc0\x80", b"a\xed\xa0", b"\xed\xa0\x80\xed\xb0\x80", b"\x80", b"\xf4\x90\x80\x80", b"\xe9"];
        for bytes in bad {
            assert_eq!(refusal(decode(bytes)), ErrorKind::InvalidFilename, "{bytes:x?}");
        }
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        let (_root, dir) = fresh();
        let long = [b'x'; 256];
        let bad: [&[u8]; 11] = [b"", b".", b"..", b"a/b", b"a\\b", b"..\\a", b"a:b", b"a\0", b"C:", b"\xff", &long];
        for name in bad {
            let kind = Some(ErrorKind::InvalidFilename);
            let all = [
                dir.create_file(name).err(),
                dir.create_dir(name).err(),
                dir.create_symlink(b"t", name).err(),
                dir.open_file(name).err(),
                dir.reopen_file(name).err(),
                dir.open_dir(name).err(),
                dir.stat_at(name).err(),
                dir.read_link(name).err(),
                dir.set_symlink_meta(name, Some(Time::default())).err(),
                dir.remove_file(name).err(),
                dir.remove_dir(name).err(),
                dir.rename_over_empty(name, b"x").err(),
                dir.rename_over_empty(b"x", name).err(),
            ];
            assert!(all.iter().all(|error| error.as_ref().map(io::Error::kind) == kind), "{name:?}: {all:?}");
        }
        assert!(dir.names().expect("readable").is_empty());
    }

    /// Builds what the system says of a symbolic link.
    fn reparse(tag: u32, substitute: &str, print: &str) -> Vec<u8> {
        let names: Vec<u8> = print.encode_utf16().chain(substitute.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let (print, substitute) = (print.len() as u16 * 2, substitute.len() as u16 * 2);
        let mut bytes = tag.to_le_bytes().to_vec();
        for field in [names.len() as u16 + 12, 0, print, substitute, 0, print, 0, 0] {
            bytes.extend(field.to_le_bytes());
        }
        [bytes, names].concat()
    }

    #[test]
    fn a_links_target_is_what_windows_follows() {
        for (substitute, target) in [
            (r"..\a\b", r"..\a\b"),
            ("a/b", "a/b"),
            (r"\rooted", r"\rooted"),
            (r"\??\C:\a", r"C:\a"),
            (r"\??\UNC\server\share", r"\\server\share"),
            (r"\??\Volume{0}\a", r"\\?\Volume{0}\a"),
        ] {
            let data = reparse(TAG_SYMLINK, substitute, "shown");
            assert_eq!(link_target(&data).expect("well-formed"), target.as_bytes());
            assert_eq!(refusal(link_target(&data[..data.len() - 1])), ErrorKind::InvalidData);
            assert_eq!(refusal(link_target(&data[..9])), ErrorKind::InvalidData);
        }
        assert_eq!(refusal(link_target(&reparse(0xa000_001d, r"\??\C:\a", ""))), ErrorKind::InvalidInput);
        assert_eq!(refusal(link_target(b"")), ErrorKind::InvalidInput);
    }

    #[test]
    fn the_target_of_a_junction_makes_the_same_junction() {
        for target in [r"C:\a\b", r"\\?\Volume{0}\a"] {
            let units: Vec<u16> = target.encode_utf16().collect();
            let data = junction_data(&units).expect("a target");
            assert_eq!(link_target(&data).expect("well-formed"), target.as_bytes());
            let length = u16_at(&data, 4).expect("there");
            assert_eq!(usize::from(length) + 8, data.len());
        }
    }

    #[test]
    fn tags_that_stand_for_other_names_are_never_directories() {
        let kind = |tag, attributes| Nature { attributes, tag }.kind();
        let directory = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
        // A link of the Linux subsystem, a global reparse point.
        for tag in [0xa000_001d, 0xa000_0019] {
            assert_eq!(kind(tag, directory), ObjectKind::Other);
        }
        assert_eq!(kind(TAG_MOUNT_POINT, directory), ObjectKind::Junction);
        assert_eq!(kind(TAG_SYMLINK, directory), ObjectKind::Symlink);
        // Deduplication, a cloud folder.
        assert_eq!(kind(0x8000_0013, FILE_ATTRIBUTE_REPARSE_POINT), ObjectKind::File);
        assert_eq!(kind(0x9000_101a, directory), ObjectKind::Directory);
        // The same where the content is elsewhere, whether or not the tag shows.
        for mark in [FILE_ATTRIBUTE_OFFLINE, FILE_ATTRIBUTE_RECALL_ON_OPEN, FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS] {
            assert_eq!(kind(0x9000_101a, directory | mark), ObjectKind::Placeholder);
            assert_eq!(kind(0, mark), ObjectKind::Placeholder);
        }
    }

    #[test]
    fn a_link_is_reported_and_never_followed() {
        let (root, dir) = fresh();
        fs::create_dir(root.path().join("real")).expect("new");
        fs::write(root.path().join("real/file"), b"1").expect("new");
        for (target, name) in [("real", "to-directory"), (r"real\file", "to-file"), ("gone", "dangling")] {
            match dir.create_symlink(target.as_bytes(), name.as_bytes()) {
                // ERROR_PRIVILEGE_NOT_HELD, or Wine, which only says that it has made one: nothing to test here.
                Err(error) if error.raw_os_error() == Some(1314) => return,
                made => made.expect("new"),
            }
            let Ok(stat) = dir.stat_at(name.as_bytes()) else { return };
            assert_eq!(stat.kind, ObjectKind::Symlink);
            assert_eq!(dir.read_link(name.as_bytes()).expect("a link"), target.as_bytes());
            let time = Time { seconds: 5, nanos: 100 };
            dir.set_symlink_meta(name.as_bytes(), Some(time)).expect("set");
            assert_eq!(dir.stat_at(name.as_bytes()).expect("there").mtime, time);
            assert_eq!(refusal(dir.open_dir(name.as_bytes())), ErrorKind::NotADirectory);
            assert_eq!(refusal(dir.open_file(name.as_bytes())), ErrorKind::InvalidData);
            assert_eq!(refusal(open_plain(&root.path().join(name))), ErrorKind::InvalidData);
            assert_eq!(refusal(dir.create_file(name.as_bytes())), ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(root.path().join("to-directory").join("file")).expect("a link to a directory"), b"1");
        for name in [b"to-directory".as_slice(), b"to-file", b"dangling"] {
            dir.remove_file(name).expect("a link");
        }
        assert!(root.path().join("real/file").is_file());
    }

    #[test]
    fn a_junction_is_no_directory_to_walk_into() {
        let (root, dir) = fresh();
        fs::create_dir_all(root.path().join("real/child")).expect("new");
        let command = std::process::Command::new("cmd")
            .args(["/c", "mklink", "/J"])
            .args([root.path().join("junction"), root.path().join("real")])
            .output();
        // Wine makes none.
        if !command.is_ok_and(|output| output.status.success()) || dir.stat_at(b"junction").is_err() {
            return;
        }
        assert_eq!(dir.stat_at(b"junction").expect("there").kind, ObjectKind::Junction);
        let target = dir.read_link(b"junction").expect("a junction");
        dir.create_junction(&target, b"same").expect("new");
        assert_eq!(dir.read_link(b"same").expect("a junction"), target);
        assert!(root.path().join("same/child").is_dir());
        dir.remove_file(b"same").expect("only the junction");
        assert_eq!(refusal(dir.open_dir(b"junction")), ErrorKind::NotADirectory);
        assert!(dir.remove_dir(b"junction").is_err());
        dir.remove_file(b"junction").expect("only the junction");
        assert!(root.path().join("real/child").is_dir());
    }

    #[test]
    fn a_private_file_is_new_durable_and_private() {
        let (root, _dir) = fresh();
        let path = root.path().join("key");
        write_private(&path, b"secret").expect("new");
        assert_eq!(fs::read(&path).expect("there"), b"secret");
        assert_eq!(is_private(&open_plain(&path).expect("there")).expect("known"), Some(true));
        assert_eq!(refusal(write_private(&path, b"other")), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("there"), b"secret");
    }

    #[test]
    fn a_file_that_everyone_may_read_is_not_private() {
        let (root, dir) = fresh();
        write(&dir, b"key", b"secret");
        let path = root.path().join("key");
        // The id of everyone, in any language.
        let command = std::process::Command::new("icacls").arg(&path).args(["/grant", "*S-1-1-0:R"]).output();
        let private = is_private(&open_plain(&path).expect("there")).expect("known");
        // Wine's icacls does nothing.
        if command.is_ok_and(|output| output.status.success() && !output.stdout.is_empty()) {
            assert_ne!(private, Some(true));
        }
    }

    #[test]
    fn what_is_written_through_handles_can_be_made_durable() {
        let (root, dir) = fresh();
        write(&dir, b"f", b"1");
        dir.sync().expect("durable");
        sync_directory(root.path()).expect("durable");
        assert!(!sync_filesystem(&dir).expect("an answer"));
        assert!(dir.is_writable());
        use io::Write;
        dir.reopen_file(b"f").expect("there").write_all(b"2").expect("room");
        assert_eq!(read(&dir, b"f"), b"2");
        assert_eq!(refusal(sync_directory(&root.path().join("none"))), ErrorKind::NotFound);
    }

    #[test]
    fn paths_longer_than_260_units_work() {
        let (root, _dir) = fresh();
        let mut path = root.path().to_owned();
        for _ in 0..4 {
            path.push("d".repeat(100));
            fs::create_dir(&path).expect("std knows long paths");
        }
        write_private(&path.join("a"), b"1").expect("new");
        rename_no_replace(&path.join("a"), &path.join("b")).expect("free");
        open_plain(&path.join("b")).expect("there");
        sync_directory(&path).expect("durable");
        match Dir::open(&path).expect("there").open_parent() {
            // Wine knows no final paths of that length: ERROR_MORE_DATA.
            Err(error) if error.raw_os_error() == Some(234) => {}
            above => _ = above.expect("there"),
        }
    }
}
