//! Metadata of objects on Unix: owner, mode, times, extended attributes, flags.
//!
//! An object is an open file or directory, or a name in an open directory that is no such thing (links, pipes, sockets,
//! devices). A name is never followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;

use rustix::fs::{self, AtFlags, Gid, Mode, Timestamps, Uid};
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use rustix::io::Errno;

#[cfg(target_vendor = "apple")]
use super::super::ObjectKind;
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use super::super::access_list;
use super::super::{Stat, Xattr};
use super::{Dir, OsStr, OsStrExt, convert, stamps};
use crate::clock::Time;

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

/// What system calls take: a descriptor, or a name in a directory.
enum Handle<'a> {
    Open(BorrowedFd<'a>),
    At(BorrowedFd<'a>, &'a OsStr),
}

impl<'a> Object<'a> {
    fn handle(self) -> Handle<'a> {
        match self {
            Self::File(file) => Handle::Open(file.as_fd()),
            Self::Directory(dir) => Handle::Open(dir.0.as_fd()),
            Self::Name(dir, name) => Handle::At(dir.0.as_fd(), OsStr::from_bytes(name)),
        }
    }

    /// Returns what the file system says of it.
    ///
    /// # Errors
    /// The file system fails.
    pub fn stat(self) -> io::Result<Stat> {
        Ok(convert(&match self.handle() {
            Handle::Open(open) => fs::fstat(open)?,
            Handle::At(dir, name) => fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?,
        }))
    }

    /// Sets user and group by number. That clears set-id bits and capabilities.
    ///
    /// # Errors
    /// The system or the file system refuses.
    pub fn set_owner(self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        // To the system call this number means nobody: it would change nothing and report success.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL.into());
        }
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self.handle() {
            Handle::Open(open) => fs::fchown(open, uid, gid),
            Handle::At(dir, name) => fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
        .map_err(Into::into)
    }

    /// Sets the permission bits; of a link there are none to set.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_mode(self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode as fs::RawMode);
        match self.handle() {
            Handle::Open(open) => Ok(fs::fchmod(open, mode)?),
            Handle::At(dir, name) => set_mode_at(dir, name, mode),
        }
    }

    /// Sets the modification time, and where the platform can, the time of creation.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_times(self, mtime: Option<Time>, created: Option<Time>) -> io::Result<()> {
        #[cfg(target_vendor = "apple")]
        if let Some(created) = created {
            super::apple::set_created(self, created)?;
        }
        let _ = created;
        let Some(mtime) = mtime else { return Ok(()) };
        let stamps: Timestamps = stamps(mtime)?;
        match self.handle() {
            Handle::Open(open) => fs::futimens(open, &stamps),
            Handle::At(dir, name) => fs::utimensat(dir, name, &stamps, AtFlags::SYMLINK_NOFOLLOW),
        }
        .map_err(Into::into)
    }

    /// Sets the flags of macOS, or the attributes of Windows; elsewhere there are none.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the platform has none; whatever the file system says.
    pub fn set_flags(self, flags: u32) -> io::Result<()> {
        #[cfg(target_vendor = "apple")]
        {
            super::apple::set_flags(self, flags)
        }
        #[cfg(not(target_vendor = "apple"))]
        {
            let _ = flags;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Returns the extended attributes, names ascending; none where the file system has none.
    ///
    /// # Errors
    /// They cannot be read, or some vanish each time meanwhile.
    pub fn xattrs(self) -> io::Result<Vec<Xattr>> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let place = self.place()?;
            let read = || -> io::Result<Vec<Xattr>> {
                let mut names: Vec<Vec<u8>> = place.list()?;
                names.retain(|name| !is_unsettable(name));
                names.sort_unstable();
                drop_second_forms(&mut names);
                names.into_iter().map(|name| Ok((place.get(&name)?, name)).map(|(value, name)| (name, value))).collect()
            };
            let mut outcome = read();
            for _ in 1..crate::limits::READ_ATTEMPTS {
                match &outcome {
                    Err(error) if has_vanished(error) => outcome = read(),
                    _ => break,
                }
            }
            outcome
        }
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        Ok(Vec::new())
    }

    /// Returns the access lists, which take no right to read the object; a Unix without them has none.
    ///
    /// # Errors
    /// They cannot be read, or vanish meanwhile.
    pub fn access_lists(self) -> io::Result<Vec<Xattr>> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let place = self.place()?;
            let mut names: Vec<Vec<u8>> = place.list()?;
            names.retain(|name| access_list::NAMES.contains(&&name[..]));
            names.into_iter().map(|name| Ok((place.get(&name)?, name)).map(|(value, name)| (name, value))).collect()
        }
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        Ok(Vec::new())
    }

    /// Returns the alternate streams; only Windows has them.
    ///
    /// # Errors
    /// None here.
    pub fn streams(self) -> io::Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    /// Sets an alternate stream.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`]: only Windows has them.
    pub fn set_stream(self, _name: &[u8], _value: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// The system or the file system refuses.
    pub fn set_xattr(self, name: &[u8], value: &[u8]) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let name = OsStr::from_bytes(name);
            match self.place()? {
                Place::Open(open) => fs::fsetxattr(open, name, value, fs::XattrFlags::empty()),
                Place::Path(path) => fs::lsetxattr(path, name, value, fs::XattrFlags::empty()),
                #[cfg(target_vendor = "apple")]
                Place::Opened(open) => fs::fsetxattr(open, name, value, fs::XattrFlags::empty()),
            }
            .map_err(Into::into)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        {
            let _ = (name, value);
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// There is none of that name, or the file system refuses.
    pub fn remove_xattr(self, name: &[u8]) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let name = OsStr::from_bytes(name);
            match self.place()? {
                Place::Open(open) => fs::fremovexattr(open, name),
                Place::Path(path) => fs::lremovexattr(path, name),
                #[cfg(target_vendor = "apple")]
                Place::Opened(open) => fs::fremovexattr(open, name),
            }
            .map_err(Into::into)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        {
            let _ = name;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn place(self) -> io::Result<Place<'a>> {
        match self.handle() {
            Handle::Open(open) => Ok(Place::Open(open)),
            #[cfg(not(target_vendor = "apple"))]
            Handle::At(dir, name) => Ok(Place::Path(path_at(dir, name))),
            #[cfg(target_vendor = "apple")]
            Handle::At(dir, name) => match self.stat()?.kind {
                ObjectKind::Symlink => Ok(Place::Opened(super::apple::open_link(dir, name)?)),
                _ => Ok(Place::Path(super::apple::path_at(dir, name)?)),
            },
        }
    }
}

/// Where the calls for extended attributes reach an object.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
enum Place<'a> {
    Open(BorrowedFd<'a>),
    // These calls know no directory handles before Linux 6.13, and on macOS never.
    Path(Vec<u8>),
    #[cfg(target_vendor = "apple")]
    Opened(std::os::fd::OwnedFd),
}

/// Returns a path to a name in an open directory: whatever is moved or swapped, it leads through the handle, and its
/// last component alone is looked up.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn path_at(dir: BorrowedFd<'_>, name: &OsStr) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name.as_bytes()].concat()
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
impl Place<'_> {
    fn list(&self) -> io::Result<Vec<Vec<u8>>> {
        let list = |buffer: &mut [u8]| match self {
            Self::Open(open) => fs::flistxattr(open, buffer),
            Self::Path(path) => fs::llistxattr(&path[..], buffer),
            #[cfg(target_vendor = "apple")]
            Self::Opened(open) => fs::flistxattr(open, buffer),
        };
        let bytes = match read_growing(list) {
            // No such file system, or no attributes on this kind of object.
            Err(Errno::NOTSUP | Errno::PERM) => return Ok(Vec::new()),
            other => other?,
        };
        Ok(bytes.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    fn get(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = OsStr::from_bytes(name);
        Ok(read_growing(|buffer| match self {
            Self::Open(open) => fs::fgetxattr(open, name, buffer),
            Self::Path(path) => fs::lgetxattr(&path[..], name, buffer),
            #[cfg(target_vendor = "apple")]
            Self::Opened(open) => fs::fgetxattr(open, name, buffer),
        })?)
    }
}

/// Calls with a buffer that grows until the answer fits, up to the bound on values.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn read_growing(mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 1024];
    match call(&mut small) {
        Ok(length) => return Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
    let mut room = 16 << 10;
    loop {
        let mut bytes = vec![0; room];
        match call(&mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(Errno::RANGE) if (room as u64) <= crate::limits::XATTR_BYTES_MAX => room *= 4,
            Err(Errno::RANGE) => return Err(Errno::TOOBIG),
            Err(error) => return Err(error),
        }
    }
}

/// Returns whether `error` says that there is no attribute of a name.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn has_vanished(error: &io::Error) -> bool {
    #[cfg(target_vendor = "apple")]
    const NO_ATTRIBUTE: Errno = Errno::NOATTR;
    #[cfg(not(target_vendor = "apple"))]
    const NO_ATTRIBUTE: Errno = Errno::NODATA;
    error.raw_os_error() == Some(NO_ATTRIBUTE.raw_os_error())
}

/// XFS shows the superuser each access list a second time, in the form in which it stores it.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn drop_second_forms(names: &mut Vec<Vec<u8>>) {
    for (list, second) in
        [(access_list::ACCESS, &b"trusted.SGI_ACL_FILE"[..]), (access_list::DEFAULT, b"trusted.SGI_ACL_DEFAULT")]
    {
        if names.iter().any(|name| name == list) {
            names.retain(|name| name != second);
        }
    }
}

/// What the system itself keeps on files and lets nobody set.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn is_unsettable(name: &[u8]) -> bool {
    cfg!(target_vendor = "apple") && name == b"com.apple.provenance"
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_mode_at(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<()> {
    // Opened as itself, so that a link in its place is seen and not followed; before Linux 6.6 no call says that.
    let flags = fs::OFlags::PATH | fs::OFlags::NOFOLLOW | fs::OFlags::CLOEXEC;
    let itself = fs::openat(dir, name, flags, Mode::empty())?;
    if fs::FileType::from_raw_mode(fs::fstat(&itself)?.st_mode) == fs::FileType::Symlink {
        return Err(Errno::LOOP.into());
    }
    Ok(fs::chmod(format!("/proc/self/fd/{}", itself.as_raw_fd()), mode)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_mode_at(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<()> {
    Ok(fs::chmodat(dir, name, mode, AtFlags::SYMLINK_NOFOLLOW)?)
}
