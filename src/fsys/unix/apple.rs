//! What only macOS has: flags and the time of creation.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};

use super::OsStr;
use super::object::Object;
use crate::clock::Time;

/// Opens a link itself.
pub(super) fn open_link(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let symlink = OFlags::from_bits_retain(libc::O_SYMLINK as u32);
    Ok(fs::openat(dir, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | symlink, Mode::empty())?)
}

/// Returns a path to a pipe, socket or device in an open directory. Opening one would wake a writer, fail or move a tape, and
/// no call of this system reads extended attributes by a name in a directory. Between this call and the use of the path
/// the directory can be moved; the calls follow no link in the last component.
pub(super) fn path_at(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Vec<u8>> {
    Ok([fs::getpath(dir)?.to_bytes(), b"/", name.as_encoded_bytes()].concat())
}

/// Creates a pipe that must not exist.
pub(super) fn create_fifo(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<()> {
    // No call makes a pipe relative to a handle before macOS 13. Going through the path is acceptable here: pipes are made
    // only in directories that this process made for itself alone, and looked at through handles afterwards.
    let path = path_at(dir, name)?;
    let path = CString::new(path).map_err(io::Error::other)?;
    // SAFETY: the path ends with NUL and lives through the call.
    if unsafe { libc::mkfifo(path.as_ptr(), mode.bits()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the flags of an object.
pub(super) fn set_flags(object: Object<'_>, flags: u32) -> io::Result<()> {
    set_attribute(object, libc::ATTR_CMN_FLAGS, flags)
}

/// Sets the time of creation.
pub(super) fn set_created(object: Object<'_>, created: Time) -> io::Result<()> {
    let time = libc::timespec { tv_sec: created.seconds as _, tv_nsec: created.nanos.into() };
    set_attribute(object, libc::ATTR_CMN_CRTIME, time)
}

/// Sets one attribute, whose value the system takes as `T`, without opening the object where it is a name.
fn set_attribute<T>(object: Object<'_>, attribute: libc::attrgroup_t, mut value: T) -> io::Result<()> {
    let mut list = libc::attrlist {
        bitmapcount: libc::ATTR_BIT_MAP_COUNT,
        reserved: 0,
        commonattr: attribute,
        volattr: 0,
        dirattr: 0,
        fileattr: 0,
        forkattr: 0,
    };
    let (list, value, size) = ((&raw mut list).cast(), (&raw mut value).cast(), size_of::<T>());
    // SAFETY: descriptors are open and names end with NUL through the calls; the list names one attribute, and its value has
    // the length given.
    let status = match object {
        Object::File(file) => unsafe { libc::fsetattrlist(file.as_raw_fd(), list, value, size, 0) },
        Object::Directory(dir) => unsafe { libc::fsetattrlist(dir.0.as_raw_fd(), list, value, size, 0) },
        Object::Name(dir, name) => {
            let name = CString::new(name)?;
            let (dir, options) = (dir.0.as_raw_fd(), libc::FSOPT_NOFOLLOW);
            unsafe { libc::setattrlistat(dir, name.as_ptr(), list, value, size, options) }
        }
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
