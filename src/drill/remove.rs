//! Removing what a drill restored: through directory handles, never following a link, telling how far it is.
//!
//! Modes and flags that were restored and forbid a removal are lifted on the way. Several threads remove at once: a file
//! system may wait for the medium with every file (one that tells it of each freed block does), and waits overlap.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::fsys::{Dir, Object, ObjectId, ObjectKind};
use crate::pool::{Pool, Task};
use crate::progress::{Phase, Progress};

/// How many threads remove; they wait for the medium and not for a processor.
const THREADS: usize = 8;
/// How many jobs are under way before the walk waits for the oldest.
const JOBS_MAX: usize = 2 * THREADS;
/// How many objects one job removes.
const JOB_OBJECTS: usize = 64;
/// How many directories on the way from the root stay open.
const OPEN_MAX: usize = 64;

/// Whether a removal came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// Nothing is left.
    Complete,
    /// Somebody wished to stop; what was not reached is still there.
    Stopped,
}

/// Removes a directory with everything in it. `objects` is how many there are about, where that is known; a wish to stop
/// is heeded between two directories if `may_stop` says so.
///
/// # Errors
/// Something cannot be removed; what was not reached is still there.
pub(super) fn remove(
    path: &Path,
    objects: Option<u64>,
    may_stop: bool,
    progress: &dyn Progress,
) -> io::Result<Removal> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    progress.phase(Phase::Cleaning, objects, None);
    let base = match Dir::open(parent) {
        Ok(parent) => Arc::new(parent),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removal::Complete),
        Err(error) => return Err(error),
    };
    let mut remover = Remover {
        levels: Vec::new(),
        jobs: Jobs { pool: Pool::with_threads(THREADS), progress, under_way: VecDeque::new(), ended: 0 },
    };
    remover.enter(base, Vec::new(), vec![name.as_encoded_bytes().to_vec()])?;
    loop {
        if may_stop && progress.interrupted() {
            return Ok(Removal::Stopped);
        }
        if !remover.step()? {
            return Ok(Removal::Complete);
        }
    }
}

/// A directory that was entered.
struct Level {
    name: Vec<u8>,
    id: ObjectId,
    // Closed where the deepest one lies far below.
    dir: Option<Arc<Dir>>,
    /// Directories in it that were not entered yet.
    below: Vec<Vec<u8>>,
    /// How many jobs had begun before it was entered: those since then are of it or of what lies below.
    before: usize,
}

struct Remover<'a> {
    levels: Vec<Level>,
    jobs: Jobs<'a>,
}

impl Remover<'_> {
    /// Has the files of a directory removed, and notes which directories are in it.
    fn enter(&mut self, dir: Arc<Dir>, name: Vec<u8>, names: Vec<Vec<u8>>) -> io::Result<()> {
        let (below, files) = apart(&dir, names)?;
        let before = self.jobs.begun();
        for files in files.chunks(JOB_OBJECTS) {
            let (dir, files) = (Arc::clone(&dir), files.to_vec());
            self.jobs.begin(move || take_away(&dir, &files))?;
        }
        if let Some(far) = self.levels.len().checked_sub(OPEN_MAX) {
            self.levels[far].dir = None;
        }
        self.levels.push(Level { name, id: dir.stat()?.id, dir: Some(dir), below, before });
        Ok(())
    }

    /// Enters one more directory, or leaves the deepest one. Returns whether anything is left to do.
    fn step(&mut self) -> io::Result<bool> {
        let Some(here) = self.levels.last_mut() else { return Ok(false) };
        let Some(name) = here.below.pop() else { return self.leave() };
        let Some(dir) = here.dir.clone() else { return Err(moved()) };
        open_up(&dir, &name);
        let below = Arc::new(dir.open_dir(&name)?);
        let names = below.names()?;
        if names.len() >= JOB_OBJECTS || !apart(&below, names.clone())?.0.is_empty() {
            return self.enter(below, name, names).map(|()| true);
        }
        self.jobs.begin(move || {
            let removed = take_away(&below, &names)?;
            // Where the system keeps the name of what is open, it would be there until then.
            drop(below);
            dir.remove_dir(&name).map_err(|error| named(&name, &error)).map(|()| removed + 1)
        })?;
        Ok(true)
    }

    /// Removes the deepest directory when all that was in it is gone.
    fn leave(&mut self) -> io::Result<bool> {
        let Some(done) = self.levels.pop() else { return Ok(false) };
        self.jobs.wait_since(done.before)?;
        let Some(above) = self.levels.last_mut() else { return Ok(false) };
        if above.dir.is_none() {
            let parent = done.dir.as_ref().ok_or_else(moved)?.open_parent()?;
            // Whoever moved a directory away must not lead the removal to where it lies now.
            if parent.stat()?.id != above.id {
                return Err(moved());
            }
            above.dir = Some(Arc::new(parent));
        }
        drop(done.dir);
        let removed = above.dir.as_ref().ok_or_else(moved)?.remove_dir(&done.name);
        removed.map_err(|error| named(&done.name, &error))?;
        self.jobs.progress.advance(1, 0);
        Ok(true)
    }
}

/// Says of which object something cannot be done.
fn named(name: &[u8], error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", crate::path::shown(name)))
}

fn moved() -> io::Error {
    io::Error::other("a directory was moved while it was removed")
}

/// Jobs under way, in the order in which they began.
struct Jobs<'a> {
    pool: Pool,
    progress: &'a dyn Progress,
    under_way: VecDeque<Task<io::Result<u64>>>,
    // How many began before the first of them.
    ended: usize,
}

impl Jobs<'_> {
    fn begun(&self) -> usize {
        self.ended + self.under_way.len()
    }

    fn begin(&mut self, job: impl FnOnce() -> io::Result<u64> + Send + 'static) -> io::Result<()> {
        self.under_way.push_back(self.pool.spawn(job));
        if self.under_way.len() <= JOBS_MAX {
            return Ok(());
        }
        self.ended += 1;
        let oldest = self.under_way.pop_front();
        self.end(oldest)
    }

    /// Waits for all that began after so many others.
    fn wait_since(&mut self, before: usize) -> io::Result<()> {
        while self.begun() > before.max(self.ended) {
            let newest = self.under_way.pop_back();
            self.end(newest)?;
        }
        Ok(())
    }

    fn end(&self, task: Option<Task<io::Result<u64>>>) -> io::Result<()> {
        let removed = task.map_or(Ok(0), Task::wait)?;
        self.progress.advance(removed, 0);
        Ok(())
    }
}

type Names = Vec<Vec<u8>>;

/// Tells directories from everything else; what is gone is neither.
fn apart(dir: &Dir, names: Names) -> io::Result<(Names, Names)> {
    let (mut directories, mut others) = (Vec::new(), Vec::new());
    for name in names {
        match dir.stat_at(&name) {
            Ok(stat) if stat.kind == ObjectKind::Directory => directories.push(name),
            Ok(_) => others.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((directories, others))
}

/// Removes objects that are no directories. Returns how many.
fn take_away(dir: &Dir, names: &[Vec<u8>]) -> io::Result<u64> {
    for name in names {
        if dir.remove_file(name).is_err() {
            open_up(dir, name);
            match dir.remove_file(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(name, &error)),
                _ => {}
            }
        }
    }
    Ok(names.len() as u64)
}

/// Lets who restored an object read and remove it; what that cannot be done for shows when it is tried.
pub(super) fn open_up(dir: &Dir, name: &[u8]) {
    let Ok(stat) = dir.stat_at(name) else { return };
    let object = Object::Name(dir, name);
    if stat.flags.is_some_and(|flags| flags != 0) {
        let _ = object.set_flags(0);
    }
    let needed = match stat.kind {
        ObjectKind::Directory => 0o700,
        ObjectKind::File => 0o400,
        _ => return,
    };
    if let Some(mode) = stat.mode.filter(|mode| mode & needed != needed) {
        let _ = object.set_mode(mode | needed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Counts what is removed, and wishes to stop after so many.
    struct Count(AtomicU64, u64);

    impl Progress for Count {
        fn advance(&self, objects: u64, _: u64) {
            self.0.fetch_add(objects, Ordering::SeqCst);
        }
        fn interrupted(&self) -> bool {
            self.0.load(Ordering::SeqCst) >= self.1
        }
    }

    /// A tree of 12 objects, its root included.
    fn tree(root: &Path) {
        for file in 0..8 {
            let directory = root.join(if file % 2 == 0 { "even" } else { "odd/deep" });
            fs::create_dir_all(&directory).expect("made");
            fs::write(directory.join(file.to_string()), "x").expect("written");
        }
    }

    #[test]
    fn a_removal_tells_of_every_object_and_leaves_nothing() {
        let base = tempfile::tempdir().expect("a directory");
        let root = base.path().join("root");
        tree(&root);
        let count = Count(0.into(), u64::MAX);
        assert_eq!(remove(&root, None, true, &count).expect("removed"), Removal::Complete);
        assert_eq!((count.0.into_inner(), root.exists(), base.path().exists()), (12, false, true));
        assert_eq!(remove(&root, None, true, &Count(0.into(), 9)).expect("nothing there"), Removal::Complete);
    }

    #[test]
    fn a_removal_stops_on_the_way_only_where_it_may() {
        let base = tempfile::tempdir().expect("a directory");
        let root = base.path().join("root");
        tree(&root);
        assert_eq!(remove(&root, None, true, &Count(0.into(), 0)).expect("stopped"), Removal::Stopped);
        assert_eq!(walkdir::WalkDir::new(&root).into_iter().count(), 12);
        assert_eq!(remove(&root, None, false, &Count(0.into(), 0)).expect("removed"), Removal::Complete);
        assert!(!root.exists());
        for directory in 0..300 {
            fs::create_dir_all(root.join(format!("{directory}/one"))).expect("made");
        }
        let count = Count(0.into(), 100);
        assert_eq!(remove(&root, None, true, &count).expect("stopped"), Removal::Stopped);
        let (told, left) = (count.0.into_inner(), walkdir::WalkDir::new(&root).into_iter().count() as u64);
        // What was under way comes to its end, two directories a job; no more begins.
        assert!(told + left <= 601 && told >= 100 && left >= 601 - 100 - 4 * JOBS_MAX as u64, "{told}, {left}");
    }

    #[test]
    fn a_directory_that_was_moved_away_does_not_lead_the_removal_to_where_it_lies_now() {
        let base = tempfile::tempdir().expect("a directory");
        let (root, elsewhere) = (base.path().join("root"), base.path().join("elsewhere"));
        let way: Vec<String> = (0..OPEN_MAX + 4).map(|level| format!("d{level}")).collect();
        let deep = root.join(way.join("/"));
        fs::create_dir_all(&deep).expect("made");
        fs::write(deep.join("file"), "x").expect("written");
        fs::create_dir(&elsewhere).expect("made");
        let moves = Moves(root.join("d0/d1/d2"), elsewhere.join("d2"), deep);
        let removed = remove(&root, None, true, &moves);
        assert!(removed.is_err(), "{removed:?}");
        assert!(elsewhere.join("d2").exists(), "nothing outside is removed by the name that it had inside");
    }

    /// Moves a directory away as soon as the deepest file below it is gone.
    struct Moves(std::path::PathBuf, std::path::PathBuf, std::path::PathBuf);

    impl Progress for Moves {
        fn interrupted(&self) -> bool {
            if self.0.exists() && !self.2.join("file").exists() {
                let _ = fs::rename(&self.0, &self.1);
            }
            false
        }
    }

    #[test]
    fn a_wide_and_a_very_deep_tree_are_removed() {
        let base = tempfile::tempdir().expect("a directory");
        let root = base.path().join("root");
        fs::create_dir_all(root.join("wide")).expect("made");
        for file in 0..3 * JOB_OBJECTS {
            fs::write(root.join(format!("wide/{file}")), "x").expect("written");
        }
        // The way back up takes a path on Windows, of which Wine tells no more than 260 units.
        let depth = if cfg!(windows) { OPEN_MAX as u64 + 16 } else { 3_000 };
        let mut dir = Dir::open(&root).expect("there");
        for _ in 0..depth {
            dir.create_file(b"f").expect("made");
            dir.create_dir(b"d").expect("made");
            dir = dir.open_dir(b"d").expect("there");
        }
        // On Windows what is open keeps its name.
        drop(dir);
        let count = Count(0.into(), u64::MAX);
        assert_eq!(remove(&root, None, true, &count).expect("removed"), Removal::Complete);
        assert_eq!((count.0.into_inner(), root.exists()), (2 + 3 * JOB_OBJECTS as u64 + 2 * depth, false));
    }

    // Unix alone: modes that keep their owner out.
    #[cfg(unix)]
    #[test]
    fn a_removal_follows_no_link_and_lifts_modes_that_forbid_it() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let base = tempfile::tempdir().expect("a directory");
        let (root, other) = (base.path().join("root"), base.path().join("other"));
        tree(&root);
        tree(&other);
        symlink(&other, root.join("link")).expect("a link");
        fs::set_permissions(root.join("odd"), fs::Permissions::from_mode(0o000)).expect("a mode");
        fs::set_permissions(root.join("even"), fs::Permissions::from_mode(0o500)).expect("a mode");
        assert_eq!(remove(&root, None, true, &Count(0.into(), u64::MAX)).expect("removed"), Removal::Complete);
        assert_eq!(walkdir::WalkDir::new(&other).into_iter().count(), 12, "what the link leads to is untouched");
    }
}
