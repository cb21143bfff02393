//! File systems: safe directory handles and walking.
//!
//! Invariants: below a root that the operator named, every object is reached by one name relative to an open
//! directory, and a link is never followed; so nothing that another process swaps can lead elsewhere. The platforms'
//! files have the same signatures and pass the same tests.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as system;
// One list for all of them: what a platform lacks does not compile there.
pub use system::{
    Dir, Object, TIME_STEP_NANOS, allow_holes, as_path, change_times, create_private_directory, device_name,
    drop_cached, file_system, group_name, group_number, holes, host_name, is_loop, is_mount_root, is_out_of_handles,
    is_private, is_root, is_sharing_violation, keeps_modes, let_others_read, mounted, new_private, open_lock,
    open_plain, own_user, raise_descriptor_limit, read_exact_at, rename_exclusively, rename_no_replace, rename_over,
    stat_file, sync_directory, sync_file, sync_filesystem, syncs_filesystem, takes_size, user_name, user_number,
    write_ahead, write_private,
};

pub mod access_list;
pub mod ahead;
pub mod extents;
pub mod replace;
pub mod walk;

#[cfg(test)]
mod contract;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock::Time;
use crate::limits;

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ObjectKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A junction of Windows.
    Junction,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A file or directory whose content is not on this machine and would be fetched by looking into it.
    Placeholder,
    /// Something that this program does not know.
    #[default]
    Other,
}

impl ObjectKind {
    /// Returns the kind's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Junction => "junction",
            Self::Block => "block device",
            Self::Character => "character device",
            Self::Placeholder => "cloud placeholder",
            Self::Other => "object of unknown kind",
        }
    }
}

/// Identifies an object on this machine while it exists: device and inode number, or volume and file id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ObjectId {
    /// The device or volume.
    pub device: u64,
    /// The inode number or file id.
    pub number: u64,
}

/// What the file system says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// What it is.
    pub kind: ObjectKind,
    /// Length in bytes, of a regular file.
    pub size: u64,
    /// Permission bits (`0o7777`), where the platform has them.
    pub mode: Option<u32>,
    /// When the content was last modified.
    pub mtime: Time,
    /// When the object was last changed in any way, where the platform tells.
    pub ctime: Option<Time>,
    /// Which object it is.
    pub id: ObjectId,
    /// How many names it has.
    pub links: u64,
    /// The numbers of user and group, where the platform has them.
    pub owner: Option<(u32, u32)>,
    /// Major and minor number, of a device.
    pub device: (u32, u32),
    /// How many bytes are allocated, where the file system tells.
    pub allocated: Option<u64>,
    /// When it was made, where the platform can set that again.
    pub created: Option<Time>,
    /// Flags of macOS or attributes of Windows, of those that can be set again.
    pub flags: Option<u32>,
}

impl Stat {
    /// Returns whether a further change may leave the times as they are: systems take them from a clock that ticks, and some
    /// media keep whole seconds, or two.
    ///
    /// A network server whose clock differs from this machine's by more than a tick is not seen through.
    pub fn is_unsettled(&self) -> bool {
        let now = Time::from_system(SystemTime::now());
        let last = self.ctime.unwrap_or(self.mtime);
        let tick = if last.nanos == 0 { limits::COARSE_TICK } else { limits::TICK };
        let (age, tick) = (now.as_nanos() - last.as_nanos(), tick.as_nanos() as i128);
        // What is later than now was set by hand, and a change would set it to now.
        (-tick..=tick).contains(&age)
    }
}

/// What times of change prove on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeTimes {
    /// It keeps a time of every change that nobody can set back.
    Kept,
    /// It may not tell every change.
    Weak,
    /// They come from an image, as the numbers of its objects do: a second image that is made of other content may have the
    /// same ones.
    OfAnImage,
}

/// Name and value of an extended attribute, or of an alternate stream.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Permission bits for a file whose entry has none, because it comes from a platform without them.
pub const FILE_MODE_DEFAULT: u32 = 0o644;
/// Permission bits for a directory whose entry has none.
pub const DIRECTORY_MODE_DEFAULT: u32 = 0o755;

/// Returns whether a directory is another or lies below it, whichever way leads there: a link, or a second mount of the
/// same directory, does not make it another. What cannot be looked at is compared by its name alone.
pub fn lies_within(directory: &Path, root: &Path) -> bool {
    let id = |path: &Path| Dir::open(path).and_then(|dir| dir.stat()).ok().map(|stat| stat.id);
    let Ok(real) = directory.canonicalize() else { return directory.starts_with(root) };
    let wanted = id(root);
    real.starts_with(root) || wanted.is_some() && real.ancestors().any(|above| id(above) == wanted)
}

/// Returns the real path of what need not be there, or not any more: what is there of its path is resolved. Links lead there
/// on many machines, and Windows has a longer form.
pub fn real_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let real = |(above, real): (&Path, PathBuf)| {
        let rest = path.strip_prefix(above).ok()?;
        // To join nothing adds a separator.
        Some(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
    };
    match there.and_then(real) {
        Some(real) => real,
        None => path,
    }
}

/// Returns whether a time that was set and read back is the one that was meant, as exactly as the platform keeps it.
pub fn same_time(meant: Time, found: Time) -> bool {
    (meant.seconds, meant.nanos / TIME_STEP_NANOS) == (found.seconds, found.nanos / TIME_STEP_NANOS)
}

/// Returns whether an error says that another process holds an object so that it cannot be opened or read now: a sharing
/// mode or a lock on Windows; a lease, a mandatory lock or a text that is being executed on Unix.
pub fn is_held(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    // Files are opened without waiting, so that a lease that is being broken answers at once.
    let held = [ErrorKind::WouldBlock, ErrorKind::ExecutableFileBusy, ErrorKind::ResourceBusy, ErrorKind::Deadlock];
    is_sharing_violation(error) || held.contains(&error.kind())
}

/// Returns whether an error says that this process, or the machine, has run out of what it needs to open or read anything:
/// that tells nothing of what was to be opened.
pub fn lacks_means(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::OutOfMemory || is_out_of_handles(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_has_the_real_path_that_it_had_while_it_was_there() {
        let root = tempfile::tempdir().expect("a directory");
        let way = root.path().join("other").join("..").join("vault");
        std::fs::create_dir_all(root.path().join("other")).expect("new");
        std::fs::create_dir(root.path().join("vault")).expect("new");
        let real = way.canonicalize().expect("there");
        assert_eq!(real_path(&way).as_os_str(), real.as_os_str());
        std::fs::remove_dir(&real).expect("empty");
        assert_eq!(real_path(&way), real);
        assert_eq!(real_path(&way.join("deeper")), real.join("deeper"));
    }

    #[test]
    fn times_are_unsettled_for_a_tick_after_a_change_and_for_two_seconds_where_seconds_are_kept() {
        let now = Time::from_system(SystemTime::now()).as_nanos();
        let at = |nanos: i128| Time {
            seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).expect("fits"),
            nanos: u32::try_from(nanos.rem_euclid(1_000_000_000)).expect("fits"),
        };
        let fine = |nanos: i128| if at(nanos).nanos == 0 { at(nanos + 1) } else { at(nanos) };
        let of = |mtime: Time, ctime: Option<Time>| Stat { mtime, ctime, ..Stat::default() }.is_unsettled();
        let (young, old, hour) = (fine(now + 10_000_000), fine(now - 10_000_000_000), 3_600_000_000_000);
        assert!(of(young, None) && !of(old, None));
        assert!(!of(fine(now + hour), None), "a change would set it to now");
        assert!(of(Time { nanos: 0, ..at(now) }, None) && !of(Time { nanos: 0, ..old }, None));
        // The time of change goes before: it alone cannot be set back.
        assert!(!of(young, Some(old)) && of(old, Some(young)));
    }

    #[test]
    fn only_what_another_process_holds_is_held() {
        use std::io::{Error, ErrorKind};
        assert!(is_held(&ErrorKind::WouldBlock.into()) && is_held(&ErrorKind::ResourceBusy.into()));
        for other in [ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::Interrupted, ErrorKind::Other] {
            assert!(!is_held(&other.into()), "{other}");
        }
        #[cfg(unix)]
        assert!(is_held(&Error::from(rustix::io::Errno::TXTBSY)) && !is_held(&Error::from(rustix::io::Errno::IO)));
        #[cfg(windows)]
        assert!(is_held(&Error::from_raw_os_error(32)) && is_held(&Error::from_raw_os_error(33)));
        assert!(!is_held(&Error::other("else")));
    }
}
