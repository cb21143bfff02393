//! What only macOS has: flags and the time of creation.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};

use super::OsStr;
use super::object::Object;
use crate::clock::Time;

/// Opens an object itself, a link too, without waiting for a pipe.
pub(super) fn open_itself(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let symlink = OFlags::from_bits_retain(libc::O_SYMLINK as u32);
    Ok(fs::openat(dir, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | symlink, Mode::empty())?)
}

fn with_descriptor(object: Object<'_>, call: impl FnOnce(i32) -> i32) -> io::Result<()> {
    use std::os::fd::AsFd;
    let status = match object {
        Object::File(file) => call(file.as_raw_fd()),
        Object::Directory(dir) => call(dir.0.as_raw_fd()),
        Object::Name(dir, name) => {
            let name = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
            call(open_itself(dir.0.as_fd(), name)?.as_raw_fd())
        }
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Creates a pipe that must not exist.
pub(super) fn create_fifo(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<()> {
    // No call makes a pipe relative to a handle before macOS 13. Going through the path is acceptable here: pipes are made
    // only in directories that this process made for itself alone, and looked at through handles afterwards.
    let mut path = fs::getpath(dir)?.into_bytes();
    path.push(b'/');
    path.extend_from_slice(name.as_encoded_bytes());
    let path = std::ffi::CString::new(path).map_err(io::Error::other)?;
    // SAFETY: the path ends with NUL and lives through the call.
    if unsafe { libc::mkfifo(path.as_ptr(), mode.bits()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the flags of an object.
pub(super) fn set_flags(object: Object<'_>, flags: u32) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the call.
    with_descriptor(object, |descriptor| unsafe { libc::fchflags(descriptor, flags as _) })
}

/// Sets the time of creation.
pub(super) fn set_created(object: Object<'_>, created: Time) -> io::Result<()> {
    let mut list = libc::attrlist {
        bitmapcount: libc::ATTR_BIT_MAP_COUNT,
        reserved: 0,
        commonattr: libc::ATTR_CMN_CRTIME,
        volattr: 0,
        dirattr: 0,
        fileattr: 0,
        forkattr: 0,
    };
    let mut time = libc::timespec { tv_sec: created.seconds as _, tv_nsec: created.nanos.into() };
    with_descriptor(object, |descriptor| {
        // SAFETY: the descriptor is open; the list names one attribute, which is the timespec of the length given.
        unsafe {
            libc::fsetattrlist(
                descriptor,
                (&raw mut list).cast(),
                (&raw mut time).cast(),
                size_of::<libc::timespec>(),
                0,
            )
        }
    })
}
