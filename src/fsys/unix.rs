//! Directory handles on Unix: `openat` and its relatives.

#[cfg(target_vendor = "apple")]
mod apple;
mod machine;
mod object;
mod owners;
mod private;
mod sparse;

pub use self::machine::{device_name, host_name, mounted, raise_descriptor_limit};
pub use self::object::Object;
pub use self::owners::{group_name, group_number, is_root, own_user, user_name, user_number};
pub use self::private::{
    create_private_directory, is_private, keeps_modes, let_others_read, new_private, open_lock, write_private,
};
pub use self::sparse::{allow_holes, holes, takes_size};

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{ChangeTimes, ObjectId, ObjectKind, Stat};
use crate::clock::Time;

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const PLAIN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens the directory at a path that the operator named; links in it are followed.
    ///
    /// # Errors
    /// There is no directory, or it may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::open(path, DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory in this one; a link is refused.
    ///
    /// # Errors
    /// There is no directory of that name, it is a link, or it may not be read.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        Ok(Self(fs::openat(&self.0, OsStr::from_bytes(name), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// Opens the directory that holds this one.
    ///
    /// # Errors
    /// It may not be read.
    pub fn open_parent(&self) -> io::Result<Self> {
        Ok(Self(fs::openat(&self.0, "..", DIRECTORY, Mode::empty())?))
    }

    /// Returns the names in this directory, complete and in no order, without `.` and `..`.
    ///
    /// # Errors
    /// The directory cannot be read to its end.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        // A descriptor of its own, because reading moves the offset that duplicates share.
        if cfg!(any(target_os = "linux", target_os = "android")) {
            let opened = fs::openat(&self.0, ".", DIRECTORY, Mode::empty()).map_err(Into::into).map(Self);
            return opened.and_then(|dir| dir.names_once()).or_else(|error| self.none_if_removed(error));
        }
        self.names_once()
    }

    /// A directory that was removed while it is open holds nothing; Linux says that there is none.
    fn none_if_removed(&self, error: io::Error) -> io::Result<Vec<Vec<u8>>> {
        let removed =
            error.kind() == io::ErrorKind::NotFound && fs::fstat(&self.0).is_ok_and(|stat| stat.st_nlink == 0);
        if removed { Ok(Vec::new()) } else { Err(error) }
    }

    /// Returns the names as [`names`](Self::names) does, for whoever opened this directory and has not shared it yet. They
    /// can be read so once.
    ///
    /// # Errors
    /// The directory cannot be read to its end.
    pub fn names_once(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        let mut take = |name: &[u8]| {
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let mut buffer = [const { MaybeUninit::uninit() }; 32 << 10];
            let mut entries = fs::RawDir::new(&self.0, &mut buffer);
            while let Some(entry) = entries.next() {
                match entry {
                    Ok(entry) => take(entry.file_name().to_bytes()),
                    Err(error) => return self.none_if_removed(error.into()),
                }
            }
        }
        // Opens one of its own in any case.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        for entry in fs::Dir::read_from(&self.0)? {
            take(entry?.file_name().to_bytes());
        }
        Ok(names)
    }

    /// Returns what the file system says of this directory.
    ///
    /// # Errors
    /// The file system fails.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(convert(&fs::fstat(&self.0)?))
    }

    /// Returns what the file system says of a name; of a link itself, not of its target.
    ///
    /// # Errors
    /// There is no such name, or the file system fails.
    pub fn stat_at(&self, name: &[u8]) -> io::Result<Stat> {
        Ok(convert(&fs::statat(&self.0, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Returns when what has a name was made, where the file system tells.
    pub fn made_at(&self, name: &[u8]) -> Option<Time> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let (flags, mask) = (AtFlags::SYMLINK_NOFOLLOW, fs::StatxFlags::BTIME);
            let found = fs::statx(&self.0, OsStr::from_bytes(name), flags, mask).ok()?;
            let told = found.stx_mask & mask.bits() != 0;
            told.then_some(Time { seconds: found.stx_btime.tv_sec, nanos: found.stx_btime.tv_nsec })
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        self.stat_at(name).ok()?.created
    }

    /// Returns the names in this directory that are listed with a number.
    ///
    /// # Errors
    /// The directory cannot be read to its end.
    pub fn names_of(&self, number: u64) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        let entries = match fs::Dir::read_from(&self.0) {
            Ok(entries) => entries,
            Err(error) => return self.none_if_removed(error.into()),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.none_if_removed(error.into()),
            };
            let name = entry.file_name().to_bytes();
            if entry.ino() == number && name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// Returns the exact target of a symbolic link.
    ///
    /// # Errors
    /// There is no link of that name.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(fs::readlinkat(&self.0, OsStr::from_bytes(name), Vec::new())?.into_bytes())
    }

    /// Opens a regular file for reading, without following a link, waiting for a pipe or touching its access time
    /// where the system allows that.
    ///
    /// # Errors
    /// There is no such file, it is not regular, or it may not be read.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        open_regular(self.0.as_fd(), OsStr::from_bytes(name))
    }

    /// Creates a file that must not exist, for reading and writing by its owner alone.
    ///
    /// # Errors
    /// The name exists, or the file system refuses.
    pub fn create_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, OsStr::from_bytes(name), flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// Opens a file for writing that this process created before.
    ///
    /// # Errors
    /// There is no such file, or it is a link.
    pub fn reopen_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, OsStr::from_bytes(name), flags, Mode::empty())?.into())
    }

    /// Creates a directory that must not exist, for its owner alone.
    ///
    /// # Errors
    /// The name exists, or the file system refuses.
    pub fn create_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(fs::mkdirat(&self.0, OsStr::from_bytes(name), Mode::from_raw_mode(0o700))?)
    }

    /// Creates a symbolic link that must not exist.
    ///
    /// # Errors
    /// The name exists, or the file system refuses.
    pub fn create_symlink(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(fs::symlinkat(OsStr::from_bytes(target), &self.0, OsStr::from_bytes(name))?)
    }

    /// Creates a pipe, socket or device that must not exist.
    ///
    /// # Errors
    /// The name exists, the platform cannot make it by name, or the system refuses.
    pub fn create_special(&self, name: &[u8], kind: ObjectKind, (major, minor): (u32, u32)) -> io::Result<()> {
        let (name, mode) = (OsStr::from_bytes(name), Mode::from_raw_mode(0o600));
        #[cfg(target_vendor = "apple")]
        {
            let _ = (major, minor);
            match kind {
                ObjectKind::Fifo => apple::create_fifo(self.0.as_fd(), name, mode),
                _ => Err(io::ErrorKind::Unsupported.into()),
            }
        }
        #[cfg(not(target_vendor = "apple"))]
        {
            let kind = match kind {
                ObjectKind::Fifo => fs::FileType::Fifo,
                ObjectKind::Socket => fs::FileType::Socket,
                ObjectKind::Block => fs::FileType::BlockDevice,
                ObjectKind::Character => fs::FileType::CharacterDevice,
                _ => return Err(io::ErrorKind::Unsupported.into()),
            };
            Ok(fs::mknodat(&self.0, name, kind, mode, fs::makedev(major, minor))?)
        }
    }

    /// Creates a junction that must not exist; only Windows has them.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`].
    pub fn create_junction(&self, _target: &[u8], _name: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives an object, named in this directory, a further name in `other` that must not exist.
    ///
    /// # Errors
    /// The new name exists, or the file system refuses.
    pub fn create_link(&self, name: &[u8], other: &Self, new: &[u8]) -> io::Result<()> {
        Ok(fs::linkat(&self.0, OsStr::from_bytes(name), &other.0, OsStr::from_bytes(new), AtFlags::empty())?)
    }

    /// Returns how many more files can be made here, where the file system says.
    pub fn free_files(&self) -> Option<u64> {
        let stat = fs::fstatvfs(&self.0).ok()?;
        (stat.f_files > 0).then_some(stat.f_favail)
    }

    /// Sets permission bits and modification time of an open file.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_file_meta(file: &File, mode: Option<u32>, mtime: Option<Time>) -> io::Result<()> {
        let mode = mode.unwrap_or(super::FILE_MODE_DEFAULT);
        fs::fchmod(file, Mode::from_raw_mode(mode as fs::RawMode))?;
        if let Some(mtime) = mtime {
            fs::futimens(file, &stamps(mtime)?)?;
        }
        Ok(())
    }

    /// Sets permission bits and modification time of this directory.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_meta(&self, mode: Option<u32>, mtime: Option<Time>) -> io::Result<()> {
        let mode = mode.unwrap_or(super::DIRECTORY_MODE_DEFAULT);
        fs::fchmod(&self.0, Mode::from_raw_mode(mode as fs::RawMode))?;
        if let Some(mtime) = mtime {
            fs::futimens(&self.0, &stamps(mtime)?)?;
        }
        Ok(())
    }

    /// Sets the modification time of a symbolic link itself.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_symlink_meta(&self, name: &[u8], mtime: Option<Time>) -> io::Result<()> {
        if let Some(mtime) = mtime {
            fs::utimensat(&self.0, OsStr::from_bytes(name), &stamps(mtime)?, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// The medium fails.
    pub fn sync(&self) -> io::Result<()> {
        sync_descriptor(self.0.as_fd())
    }

    /// Renames a name in this directory, replacing nothing but an empty directory.
    ///
    /// # Errors
    /// The new name is a directory that is not empty, or the file system refuses.
    pub fn rename_over_empty(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        // The source is a directory: the kernel refuses a target that is a file or not empty.
        Ok(fs::renameat(&self.0, OsStr::from_bytes(from), &self.0, OsStr::from_bytes(to))?)
    }

    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, OsStr::from_bytes(name), AtFlags::empty())?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// It is not empty, or the file system refuses.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, OsStr::from_bytes(name), AtFlags::REMOVEDIR)?)
    }

    /// Returns whether new names can be made here, by asking the system rather than trying.
    pub fn is_writable(&self) -> bool {
        let access = fs::Access::WRITE_OK | fs::Access::EXEC_OK;
        fs::accessat(&self.0, ".", access, AtFlags::EACCESS).is_ok()
    }
}

fn stamps(mtime: Time) -> io::Result<Timestamps> {
    let seconds = mtime.seconds;
    let instant = Timespec { tv_sec: seconds, tv_nsec: mtime.nanos.into() };
    // Not left out: file systems on the second version of libfuse ignore a call that sets only one of both times.
    let access = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW };
    Ok(Timestamps { last_access: access, last_modification: instant })
}

#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "field types differ between Unix systems")]
fn convert(stat: &fs::Stat) -> Stat {
    let kind = match fs::FileType::from_raw_mode(stat.st_mode as fs::RawMode) {
        fs::FileType::Directory => ObjectKind::Directory,
        fs::FileType::RegularFile => ObjectKind::File,
        fs::FileType::Symlink => ObjectKind::Symlink,
        fs::FileType::Fifo => ObjectKind::Fifo,
        fs::FileType::Socket => ObjectKind::Socket,
        fs::FileType::CharacterDevice => ObjectKind::Character,
        fs::FileType::BlockDevice => ObjectKind::Block,
        _ => ObjectKind::Other,
    };
    let kind = if is_dataless(stat) { ObjectKind::Placeholder } else { kind };
    Stat {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: Some(stat.st_mode as u32 & 0o7777),
        mtime: Time { seconds: stat.st_mtime as i64, nanos: nanos(stat.st_mtime_nsec as i64) },
        ctime: Some(Time { seconds: stat.st_ctime as i64, nanos: nanos(stat.st_ctime_nsec as i64) }),
        id: ObjectId { device: stat.st_dev as u64, number: stat.st_ino as u64 },
        links: stat.st_nlink as u64,
        owner: Some((stat.st_uid, stat.st_gid)),
        device: match kind {
            ObjectKind::Character | ObjectKind::Block => (fs::major(stat.st_rdev as _), fs::minor(stat.st_rdev as _)),
            _ => (0, 0),
        },
        allocated: u64::try_from(stat.st_blocks).ok().and_then(|blocks| blocks.checked_mul(512)),
        created: created(stat),
        flags: flags(stat),
    }
}

/// The time of creation counts only where it can be set again.
#[cfg(target_vendor = "apple")]
fn created(stat: &fs::Stat) -> Option<Time> {
    Some(Time { seconds: stat.st_birthtime, nanos: nanos(stat.st_birthtime_nsec) })
}

#[cfg(not(target_vendor = "apple"))]
fn created(_stat: &fs::Stat) -> Option<Time> {
    None
}

/// Those flags that can be set again: no dump, immutable, append only, opaque, hidden; archived, immutable and append only
/// by the superuser.
#[cfg(target_vendor = "apple")]
fn flags(stat: &fs::Stat) -> Option<u32> {
    const SETTABLE: u32 = 0x0007_800f;
    Some(stat.st_flags & SETTABLE)
}

#[cfg(not(target_vendor = "apple"))]
fn flags(_stat: &fs::Stat) -> Option<u32> {
    None
}

/// `SF_DATALESS` of `sys/stat.h`: the content is with a provider, and is fetched by whoever looks.
#[cfg(target_vendor = "apple")]
const DATALESS: u32 = 0x4000_0000;

#[cfg(target_vendor = "apple")]
fn is_dataless(stat: &fs::Stat) -> bool {
    stat.st_flags & DATALESS != 0
}

#[cfg(not(target_vendor = "apple"))]
fn is_dataless(_: &fs::Stat) -> bool {
    // No other system of this family has a mark for it.
    false
}

fn nanos(value: i64) -> u32 {
    // A file system that reports nonsense must not produce a time that the format refuses.
    u32::try_from(value).unwrap_or(0).min(999_999_999)
}

/// Reads exactly as many bytes as the buffer holds from a place in a file.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] where the file ends before; the file system fails.
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Returns a path relative to a root, given as in a vault, as this platform's libraries take it for a comparison.
pub fn as_path(bytes: &[u8]) -> Cow<'_, Path> {
    Cow::Borrowed(Path::new(OsStr::from_bytes(bytes)))
}

/// The step in which the finest file systems keep times, in nanoseconds.
pub const TIME_STEP_NANOS: u32 = 1;

/// Returns whether an error stands for an object that another process has open, in a word that only this platform has: none
/// here, the kinds of [`io::ErrorKind`] say it all.
pub fn is_sharing_violation(_error: &io::Error) -> bool {
    false
}

/// Returns whether an error says that a link stands where none may be.
pub fn is_loop(error: &io::Error) -> bool {
    // The standard library has no stable name for it.
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Returns what the file system says of an open file.
///
/// # Errors
/// The file system fails.
pub fn stat_file(file: &File) -> io::Result<Stat> {
    Ok(convert(&fs::fstat(file)?))
}

/// Set once the system has refused `O_NOATIME`, which only a file's owner may ask for.
#[cfg(any(target_os = "linux", target_os = "android"))]
static NOATIME_REFUSED: AtomicBool = AtomicBool::new(false);

fn open_regular(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<File> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if !NOATIME_REFUSED.load(Ordering::Relaxed) {
        match fs::openat(at, name, PLAIN | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => NOATIME_REFUSED.store(true, Ordering::Relaxed),
            other => return regular(other?.into()),
        }
    }
    regular(fs::openat(at, name, PLAIN, Mode::empty())?.into())
}

fn regular(file: File) -> io::Result<File> {
    if fs::FileType::from_raw_mode(fs::fstat(&file)?.st_mode) == fs::FileType::RegularFile {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"))
    }
}

/// Opens a regular file by path without following a link in the last component; for the vault's own files.
///
/// # Errors
/// There is no such file, it is not regular, or it may not be read.
pub fn open_plain(path: &Path) -> io::Result<File> {
    open_regular(fs::CWD, path.as_os_str())
}

/// Renames without replacing anything where the kernel and the file system promise that; does nothing and returns `false`
/// elsewhere.
///
/// # Errors
/// As [`rename_no_replace`].
pub fn rename_exclusively(from: &Path, to: &Path) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    match fs::renameat_with(fs::CWD, from, fs::CWD, to, fs::RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        other => return Ok(other.map(|()| true)?),
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    let _ = (from, to);
    Ok(false)
}

/// Renames without replacing anything.
///
/// Where the file system cannot promise that (EINVAL on exFAT, NTFS and vfat through FUSE, and on sshfs), the name is
/// looked at first and then renamed plainly; the caller holds the vault's lock, and the kernel refuses to replace a
/// directory that is not empty.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where the new name exists; whatever else the file system says.
pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    if rename_exclusively(from, to)? {
        return Ok(());
    }
    match fs::lstat(to) {
        Err(Errno::NOENT) => Ok(fs::rename(from, to)?),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) => Err(error.into()),
    }
}

/// Renames a file over whatever file has the new name, in one step.
///
/// # Errors
/// The file system refuses; both names are then as they were.
pub fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    Ok(fs::rename(from, to)?)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The medium fails.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = fs::open(path, DIRECTORY, Mode::empty())?;
    sync_descriptor(directory.as_fd())
}

/// Makes an open file durable: its bytes and its length.
///
/// On macOS plain fsync only hands the bytes to the drive, which may keep them in memory that a loss of power empties;
/// F_FULLFSYNC has the drive write them too. The standard library calls that and nothing else, so that on a network share or a
/// volume that does not know it every write would fail.
///
/// # Errors
/// The medium fails.
pub fn sync_file(file: &File) -> io::Result<()> {
    sync_descriptor(file.as_fd())
}

fn sync_descriptor(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    match fs::fcntl_fullfsync(descriptor) {
        // Some file systems know only fsync.
        Err(Errno::NOTSUP | Errno::NOTTY | Errno::INVAL) => {}
        other => return Ok(other?),
    }
    Ok(fs::fsync(descriptor)?)
}

/// Returns whether something is mounted at a directory, as far as the system tells: Linux does since 5.8.
pub fn is_mount_root(directory: &Dir) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let root = fs::StatxAttributes::MOUNT_ROOT;
        fs::statx(&directory.0, "", AtFlags::EMPTY_PATH, fs::StatxFlags::empty())
            .is_ok_and(|found| found.stx_attributes_mask.contains(root) && found.stx_attributes.contains(root))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = directory;
        false
    }
}

/// Returns whether an error says that this process, or the machine, may open no more files.
pub fn is_out_of_handles(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Returns what the times of change prove on the file system that holds `directory`.
pub fn change_times(directory: &Dir) -> ChangeTimes {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        fs::fstatfs(&directory.0).map_or(ChangeTimes::Weak, |stat| change_times_of(stat.f_type as u32))
    }
    #[cfg(target_vendor = "apple")]
    {
        fs::fstatfs(&directory.0).map_or(ChangeTimes::Weak, |stat| match &*type_name(&stat) {
            "cd9660" | "udf" => ChangeTimes::OfAnImage,
            "msdos" | "exfat" | "fusefs" | "macfuse" | "osxfuse" => ChangeTimes::Weak,
            _ => ChangeTimes::Kept,
        })
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = directory;
        ChangeTimes::Kept
    }
}

/// Returns what the times of change prove on a file system, by the number that Linux gives it.
///
/// FAT and exFAT keep none, and Linux gives the time of modification for it; what a FUSE server gives is its own affair, and
/// sshfs gives the same; overlayfs gives those of whatever lies below, which may be an image.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn change_times_of(kind: u32) -> ChangeTimes {
    const CRAMFS: u32 = 0x28cd_3d45;
    const EROFS: u32 = 0xe0f5_e1e2;
    const ISO: u32 = 0x9660;
    const ROMFS: u32 = 0x7275;
    const SQUASHFS: u32 = 0x7371_7368;
    const UDF: u32 = 0x1501_3346;
    const EXFAT: u32 = 0x2011_bab0;
    const FAT: u32 = 0x4d44;
    const FUSE: u32 = 0x6573_5546;
    const OVERLAY: u32 = 0x794c_7630;
    match kind {
        CRAMFS | EROFS | ISO | ROMFS | SQUASHFS | UDF => ChangeTimes::OfAnImage,
        EXFAT | FAT | FUSE | OVERLAY => ChangeTimes::Weak,
        _ => ChangeTimes::Kept,
    }
}

/// Returns whether [`sync_filesystem`] makes everything durable at once on the file system that holds `directory`.
///
/// Only where it is known to: FUSE passes the call on to few servers, FAT writes and does not have the disk flush. On those
/// that are known, losses of power are tried by the tests, and what is in memory is durable nowhere.
pub fn syncs_filesystem(directory: &Dir) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        const EXT4: u32 = 0xef53;
        const XFS: u32 = 0x5846_5342;
        const BTRFS: u32 = 0x9123_683e;
        const TMPFS: u32 = 0x0102_1994;
        let known =
            fs::fstatfs(&directory.0).is_ok_and(|stat| [EXT4, XFS, BTRFS, TMPFS].contains(&(stat.f_type as u32)));
        known && tells_of_failed_writes(&rustix::system::uname().release().to_string_lossy())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = directory;
        false
    }
}

/// Returns whether a release of Linux has `syncfs` tell that data were not written: since 5.8 (its commit 735e4ae5ba28).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn tells_of_failed_writes(release: &str) -> bool {
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 8)
}

/// Makes everything on the file system that holds `directory` durable.
///
/// # Errors
/// The medium fails; the system has no such call, or [`syncs_filesystem`] does not know that it keeps its word here.
pub fn sync_filesystem(directory: &Dir) -> io::Result<()> {
    if !syncs_filesystem(directory) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fs::syncfs(&directory.0)?;
    Ok(())
}

/// Returns the name that macOS has for the type of a file system.
#[cfg(target_vendor = "apple")]
fn type_name(stat: &fs::StatFs) -> String {
    stat.f_fstypename.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte as u8)).collect()
}

/// Returns the name of the kind of file system that holds a path, as the system calls it.
pub fn file_system(path: &Path) -> Option<String> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // The last mount that covers the path is the one that is seen.
        let path = std::fs::canonicalize(path).ok()?;
        let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
        let covering = mounts.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let point = unescaped(fields.nth(4)?);
            let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
            let covers = path.starts_with(OsStr::from_bytes(&point));
            covers.then(|| (point.len(), String::from_utf8_lossy(kind).into_owned()))
        });
        covering.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
    }
    #[cfg(target_vendor = "apple")]
    {
        let directory = fs::open(path, OFlags::RDONLY, Mode::empty()).ok()?;
        Some(type_name(&fs::fstatfs(directory).ok()?))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = path;
        None
    }
}

/// Undoes how the list of mounts writes blanks and backslashes: as three octal digits behind a backslash.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// Asks the system to forget what it holds of a file in memory, so that the next read comes from the medium.
/// Returns whether it can be asked.
pub fn drop_cached(file: &File) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // Of these, memory is the medium: they take the advice and forget nothing.
        const IN_MEMORY: [u32; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];
        fs::fadvise(file, 0, None, fs::Advice::DontNeed).is_ok()
            && fs::fstatfs(file).is_ok_and(|stat| !IN_MEMORY.contains(&(stat.f_type as u32)))
    }
    #[cfg(target_os = "freebsd")]
    {
        fs::fadvise(file, 0, None, fs::Advice::DontNeed).is_ok()
    }
    #[cfg(target_vendor = "apple")]
    {
        fs::fcntl_nocache(file, true).is_ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")))]
    {
        let _ = file;
        false
    }
}

/// Asks the system to begin writing what was written to a file, without waiting, so that a later sync is short.
pub fn write_ahead(file: &File) {
    // Linux begins write-back early when told that the pages are not needed; dirty ones stay until they are written.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = fs::fadvise(file, 0, None, fs::Advice::DontNeed);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = file;
}

// Linux alone: its releases.
#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn syncfs_is_believed_from_linux_5_8_on() {
        for release in ["5.8.0", "5.10.0-9-amd64", "6.1", "10.0"] {
            assert!(tells_of_failed_writes(release), "{release}");
        }
        for release in ["5.7.19", "4.19.0-8", "3.10.0-1160.el7", "", "odd"] {
            assert!(!tells_of_failed_writes(release), "{release}");
        }
    }

    #[test]
    fn what_times_of_change_prove_depends_on_the_file_system() {
        use ChangeTimes::{Kept, OfAnImage, Weak};
        for (kind, told) in
            [(0xef53, Kept), (0x9123_683e, Kept), (0x4d44, Weak), (0x794c_7630, Weak), (0x7371_7368, OfAnImage)]
        {
            assert_eq!(change_times_of(kind), told, "{kind:x}");
        }
    }
}
