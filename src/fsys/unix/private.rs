//! Files and directories for their owner alone, and lock files.

use std::fs::{self as std_fs, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

/// Returns whether only the owner can read an open file; nothing where the medium has no modes.
///
/// # Errors
/// The file system fails.
pub fn is_private(file: &File) -> io::Result<Option<bool>> {
    let mode = file.metadata()?.mode();
    Ok(Some(mode & 0o077 == 0))
}

/// Creates a file for its owner alone, writes `bytes` and makes them durable. The name must not exist.
///
/// # Errors
/// The name exists, or the file system refuses; nothing is left behind then.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file: File = fs::open(path, flags, Mode::from_raw_mode(0o600))?.into();
    let written = file
        .set_permissions(std_fs::Permissions::from_mode(0o600))
        .or_else(|error| match error.raw_os_error() {
            // Media without modes: exFAT, some network shares.
            Some(code) if code == Errno::PERM.raw_os_error() || code == Errno::NOTSUP.raw_os_error() => Ok(()),
            _ => Err(error),
        })
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| super::sync_file(&file));
    if written.is_err() {
        let _ = std_fs::remove_file(path);
    }
    written
}

/// Returns whether the medium below `path` keeps permissions: FAT, exFAT and NTFS through FUSE give every file the same.
#[cfg(target_os = "linux")]
pub fn keeps_modes(path: &Path) -> bool {
    const MSDOS: u64 = 0x4d44;
    const EXFAT: u64 = 0x2011_bab0;
    const FUSEBLK: u64 = 0x6573_5546;
    const NTFS: u64 = 0x5346_544e;
    const NTFS3: u64 = 0x7366_746e;
    match fs::statfs(path) {
        #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the field's type differs between machines")]
        Ok(stat) => ![MSDOS, EXFAT, FUSEBLK, NTFS, NTFS3].contains(&(stat.f_type as u64 & 0xffff_ffff)),
        Err(_) => true,
    }
}

/// Returns whether the medium below `path` keeps permissions: what other systems mount without them is not told apart, so
/// that a key on it is refused rather than noted.
#[cfg(not(target_os = "linux"))]
pub fn keeps_modes(_path: &Path) -> bool {
    true
}

/// Creates a file that must not exist, for reading and writing by its owner alone.
///
/// # Errors
/// The name exists, or the file system refuses.
pub fn new_private(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Creates a directory that must not exist, for its owner alone.
///
/// # Errors
/// The name exists, or the file system refuses.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    std_fs::DirBuilder::new().mode(0o700).create(path)
}

/// Lets everybody read a file that is no secret.
///
/// # Errors
/// The file system refuses.
pub fn let_others_read(path: &Path) -> io::Result<()> {
    std_fs::set_permissions(path, std_fs::Permissions::from_mode(0o644))
}

/// Opens a lock file for writing, making it where it is missing, without following a link or waiting for a pipe's reader.
///
/// # Errors
/// It is a link or a pipe, or the file system refuses.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().create(true).truncate(false).write(true).custom_flags(flags.bits() as i32).open(path)
}
