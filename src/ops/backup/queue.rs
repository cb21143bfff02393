//! Objects in path order, whose files are read ahead on the pool.

use std::collections::VecDeque;
use std::sync::Arc;

use super::file::{self, Read, ReadJob, ReadResult};
use super::prior::Line;
use crate::clock::Clock;
use crate::format::entry::Entry;
use crate::fsys::Dir;
use crate::fsys::walk::Found;
use crate::path::EntryPath;
use crate::pool::{Pool, Task};

/// How many bytes of small files are read in one job.
const BATCH_BYTES: u64 = 1 << 20;
/// How many files are read in one job.
const BATCH_FILES: usize = 256;
/// How many objects wait for each other in one batch, read or not.
const BATCH_ITEMS: usize = 4 * BATCH_FILES;
/// How many bytes of paths one batch holds: very deep trees have very long ones.
const BATCH_PATH_BYTES: usize = 1 << 20;
/// How many batches wait to be taken before the walk waits for them.
const SLOTS_MAX: usize = 64;
/// How many directories one job may keep open.
const BATCH_DIRECTORIES: usize = 16;
/// How many directories all batches may keep open before the walk waits for the oldest.
const DIRECTORIES_MAX: usize = 6 * BATCH_DIRECTORIES;
/// A longer file is read by itself, as a stream.
const LARGE_BYTES: u64 = 8 << 20;

/// What became of an object since the previous snapshot.
pub(super) enum Since {
    /// It is new, or was read again.
    New,
    /// The file's content is unchanged.
    Unchanged,
    /// Everything is unchanged: the entry's exact line in the previous listing.
    Same(Line),
}

/// Something in path order.
pub(super) enum Item {
    /// An entry that needs nothing more.
    Entry(Entry, Since),
    /// A file to read.
    Job(ReadJob),
    /// A file that was read.
    Read(EntryPath, Read),
    /// A file that is read by itself.
    Large(Found),
    /// A further name of an object, and its first one.
    Link(Found, EntryPath),
}

/// Items whose files have been read, and what was read.
pub(super) struct Results {
    pub(super) items: Vec<Item>,
    pub(super) data: Vec<u8>,
}

enum Slot {
    Ready(Results),
    Reading(Task<Results>),
}

/// Objects in path order, whose files are read ahead on the pool.
pub(super) struct Queue<'a> {
    pool: &'a Pool,
    // Each with the number of directories that it keeps open.
    slots: VecDeque<(usize, Slot)>,
    open: Vec<Item>,
    jobs: usize,
    bytes: u64,
    // Of paths.
    path_bytes: usize,
    directories: usize,
    last_directory: Option<Arc<Dir>>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self {
            pool,
            slots: VecDeque::new(),
            open: Vec::new(),
            jobs: 0,
            bytes: 0,
            path_bytes: 0,
            directories: 0,
            last_directory: None,
        }
    }

    pub(super) fn push_entry(&mut self, entry: Entry, since: Since, sizes: [u32; 3], clock: &Arc<dyn Clock>) {
        self.path_bytes += entry.path.as_bytes().len();
        self.open.push(Item::Entry(entry, since));
        // Also where a few of them wait for a file between them: memory does not grow with the tree.
        if self.open.len() >= BATCH_ITEMS || self.path_bytes >= BATCH_PATH_BYTES {
            self.flush(sizes, clock);
        }
    }

    pub(super) fn push_link(&mut self, found: Found, first: EntryPath, sizes: [u32; 3], clock: &Arc<dyn Clock>) {
        self.path_bytes += found.path.as_bytes().len();
        if !self.last_directory.as_ref().is_some_and(|last| Arc::ptr_eq(last, &found.dir)) {
            self.last_directory = Some(Arc::clone(&found.dir));
            self.directories += 1;
        }
        self.open.push(Item::Link(found, first));
        if self.open.len() >= BATCH_ITEMS
            || self.directories >= BATCH_DIRECTORIES
            || self.path_bytes >= BATCH_PATH_BYTES
        {
            self.flush(sizes, clock);
        }
    }

    pub(super) fn push_read(&mut self, found: Found, sizes: [u32; 3], clock: &Arc<dyn Clock>) {
        if found.stat.size > LARGE_BYTES {
            self.flush(sizes, clock);
            self.slots.push_back((1, Slot::Ready(Results { items: vec![Item::Large(found)], data: Vec::new() })));
            return;
        }
        if !self.last_directory.as_ref().is_some_and(|last| Arc::ptr_eq(last, &found.dir)) {
            self.last_directory = Some(Arc::clone(&found.dir));
            self.directories += 1;
        }
        self.jobs += 1;
        self.bytes += found.stat.size;
        self.path_bytes += found.path.as_bytes().len();
        self.open.push(Item::Job(ReadJob::new(found)));
        if self.bytes >= BATCH_BYTES
            || self.jobs >= BATCH_FILES
            || self.directories >= BATCH_DIRECTORIES
            || self.open.len() >= BATCH_ITEMS
            || self.path_bytes >= BATCH_PATH_BYTES
        {
            self.flush(sizes, clock);
        }
    }

    /// Closes the open batch and has its files read.
    pub(super) fn flush(&mut self, sizes: [u32; 3], clock: &Arc<dyn Clock>) {
        let items = std::mem::take(&mut self.open);
        let (jobs, bytes, directories) = (self.jobs, self.bytes, self.directories);
        (self.jobs, self.bytes, self.path_bytes, self.directories, self.last_directory) = (0, 0, 0, 0, None);
        if items.is_empty() {
            return;
        }
        if jobs == 0 {
            self.slots.push_back((directories, Slot::Ready(Results { items, data: Vec::new() })));
            return;
        }
        let clock = Arc::clone(clock);
        let task = self.pool.spawn(move || {
            let mut data = Vec::with_capacity(bytes as usize + 4096);
            let read = |item| match item {
                Item::Job(job) => {
                    let ReadResult { path, read } = file::read_small(job, sizes, &*clock, &mut data);
                    Item::Read(path, read)
                }
                other => other,
            };
            let items = items.into_iter().map(read).collect();
            Results { items, data }
        });
        self.slots.push_back((directories, Slot::Reading(task)));
    }

    /// Returns the oldest results if they are there, or if too much is under way to go on without them.
    pub(super) fn ready(&mut self) -> Option<Results> {
        match self.slots.front() {
            Some((_, Slot::Ready(_))) => self.next(),
            Some((_, Slot::Reading(task))) if task.is_done() || self.is_full() => self.next(),
            _ => None,
        }
    }

    /// Returns whether the walk must wait for what is under way.
    fn is_full(&self) -> bool {
        let reading = self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Reading(_))).count();
        reading > self.pool.threads() + 4 || self.slots.len() > SLOTS_MAX || self.directories() > DIRECTORIES_MAX
    }

    /// Returns how many directories are kept open by what was flushed and not taken; one may count more than once.
    fn directories(&self) -> usize {
        self.slots.iter().map(|(directories, _)| directories).sum()
    }

    /// Waits for the oldest results.
    pub(super) fn next(&mut self) -> Option<Results> {
        Some(match self.slots.pop_front()?.1 {
            Slot::Ready(results) => results,
            Slot::Reading(task) => task.wait(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::format::entry::Kind;
    use crate::fsys::walk::{Decision, Event, walk};

    /// Returns the last object that a walk finds below a directory.
    fn last_found(root: &std::path::Path) -> Found {
        let mut found = None;
        let take = |event| {
            if let Event::Found(object) = event {
                found = Some(object);
            }
            std::ops::ControlFlow::Continue(())
        };
        walk(Dir::open(root).expect("readable"), |_, _| Decision::Take, take).expect("readable");
        found.expect("something is found")
    }

    #[test]
    fn further_names_in_many_directories_behind_one_slow_file_keep_few_directories_open() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join("a"), b"to read").expect("writable");
        let (pool, clock) = (Pool::with_threads(1), Arc::new(SystemClock) as Arc<dyn Clock>);
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let slow = pool.spawn(move || wait.recv());
        let mut queue = Queue::new(&pool);
        queue.push_read(last_found(root.path()), [64, 256, 1024], &clock);
        queue.flush([64, 256, 1024], &clock);
        let mut pushed = 1;
        while !queue.is_full() {
            let link = last_found(root.path());
            queue.push_link(link, EntryPath::root(), [64, 256, 1024], &clock);
            pushed += 1;
        }
        let open = queue.directories();
        // First: a job that waits for ever would keep a failed test from its end.
        release.send(()).expect("it waits");
        slow.wait().expect("it was told");
        assert!(open <= DIRECTORIES_MAX + BATCH_DIRECTORIES, "{open}");
        assert!(pushed >= DIRECTORIES_MAX, "what is below the bound does not wait: {pushed}");
        queue.flush([64, 256, 1024], &clock);
        let mut taken = 0;
        while let Some(results) = queue.next() {
            taken += results.items.len();
        }
        assert_eq!(taken, pushed);
    }

    #[test]
    fn entries_behind_one_file_to_read_do_not_pile_up() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join("a"), b"to read").expect("writable");
        let found = last_found(root.path());
        let (pool, clock) = (Pool::with_threads(1), Arc::new(SystemClock) as Arc<dyn Clock>);
        let mut queue = Queue::new(&pool);
        queue.push_read(found, [64, 256, 1024], &clock);
        let mut taken = 0;
        for number in 0..100_000u32 {
            let path = EntryPath::parse(format!("b{number:06}").as_bytes()).expect("valid");
            let entry = Entry::new(path, Kind::Directory);
            queue.push_entry(entry, Since::New, [64, 256, 1024], &clock);
            while let Some(results) = queue.ready() {
                taken += results.items.len();
            }
            assert!(queue.open.len() <= BATCH_ITEMS && queue.slots.len() <= SLOTS_MAX + 1);
        }
        queue.flush([64, 256, 1024], &clock);
        while let Some(results) = queue.next() {
            taken += results.items.len();
        }
        assert_eq!(taken, 100_001);
    }
}
