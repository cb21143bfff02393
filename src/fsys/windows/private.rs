//! Who may read a file: access lists, for keys.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::os::windows::io::FromRawHandle;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE, LocalFree};
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
    CREATE_NEW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_FLAG_OPEN_REPARSE_POINT, GetVolumeInformationByHandleW,
};

use super::call::{check, os_error};
use super::name::{terminated, wide_path};

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
    let written = file.write_all(bytes).and_then(|()| super::sync_file(&file));
    if written.is_err() {
        // It is open for this process alone, which includes removing it.
        drop(file);
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Returns true: [`is_private`] asks the volume itself.
pub fn keeps_modes(_path: &Path) -> bool {
    true
}

/// Creates a file that must not exist, for reading and writing. Who else may read it, it inherits from its directory, which
/// in a user's profile is nobody; Windows has no modes that would say otherwise.
///
/// # Errors
/// The name exists, or the file system refuses.
pub fn new_private(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).open(path)
}

/// Creates a directory that must not exist; who may read it, it inherits as [`new_private`] does.
///
/// # Errors
/// The name exists, or the file system refuses.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Does nothing: a file inherits its readers from its directory.
///
/// # Errors
/// None here.
pub fn let_others_read(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a lock file for writing, making it where it is missing, without following a link.
///
/// # Errors
/// The file system refuses.
pub fn open_lock(path: &Path) -> io::Result<File> {
    // A link is opened as itself, and is then no regular file for the caller.
    File::options().create(true).truncate(false).write(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)
}

/// The flag of a volume that keeps access lists.
pub(super) const FILE_PERSISTENT_ACLS: u32 = 8;
pub(super) const ACCESS_ALLOWED: u8 = 0;
pub(super) const ACCESS_DENIED: u8 = 1;

pub(super) fn keeps_access_lists(file: &File) -> io::Result<bool> {
    let mut flags = 0;
    let (handle, none) = (file.as_raw_handle(), null_mut());
    // SAFETY: the handle is open; what is not asked for is null, with length zero.
    check(unsafe {
        GetVolumeInformationByHandleW(handle, null_mut(), 0, null_mut(), null_mut(), &raw mut flags, none, 0)
    })?;
    Ok(flags & FILE_PERSISTENT_ACLS != 0)
}

/// Memory that the system allocated.
pub(super) struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from a call that says to free it so, and is freed once; null is allowed.
        unsafe { LocalFree(self.0) };
    }
}

/// Owner and access list of a file; both lie in the descriptor.
pub(super) struct Security {
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
pub(super) fn sid_of(entry: *mut c_void) -> PSID {
    entry.wrapping_byte_add(offset_of!(ACCESS_ALLOWED_ACE, SidStart))
}

/// The account that this process runs as.
pub(super) struct Account {
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
pub(super) fn create_private(path: &[u16]) -> io::Result<File> {
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
