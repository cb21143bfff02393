//! What an entry's object is to a file system, and how one that is neither a file nor a directory is made.

use std::io;

use crate::format::entry::Kind;
use crate::fsys::{Dir, ObjectKind};

/// Returns what an entry's object is to the file system, and which device.
pub(super) fn expected(kind: &Kind) -> (ObjectKind, (u32, u32)) {
    match kind {
        Kind::Directory => (ObjectKind::Directory, (0, 0)),
        Kind::File(_) => (ObjectKind::File, (0, 0)),
        Kind::Symlink(_) => (ObjectKind::Symlink, (0, 0)),
        Kind::Junction(_) => (ObjectKind::Junction, (0, 0)),
        Kind::Fifo => (ObjectKind::Fifo, (0, 0)),
        Kind::Socket => (ObjectKind::Socket, (0, 0)),
        Kind::Block(major, minor) => (ObjectKind::Block, (*major, *minor)),
        Kind::Character(major, minor) => (ObjectKind::Character, (*major, *minor)),
    }
}

/// Makes a link, pipe, socket or device; of files and directories nothing.
///
/// # Errors
/// The file system refuses; the name exists.
pub(super) fn make(dir: &Dir, name: &[u8], kind: &Kind) -> io::Result<()> {
    match kind {
        Kind::Directory | Kind::File(_) => Ok(()),
        Kind::Symlink(target) => dir.create_symlink(target, name),
        Kind::Junction(target) => dir.create_junction(target, name),
        Kind::Fifo | Kind::Socket | Kind::Block(..) | Kind::Character(..) => {
            let (special, device) = expected(kind);
            dir.create_special(name, special, device)
        }
    }
}
