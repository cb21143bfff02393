//! The second path: what was restored, looked at afresh and held against the authenticated listing.
//!
//! Invariants: nothing that the restore noted, counted or compared is used, but its own report of what it could not
//! bring back, and that only as an upper bound. Every entry is looked up by its name, every name that no entry asks for
//! is found, and every byte of every file is read from the file system and hashed here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::content::{self, Content, Job};
use super::metadata::{self, Meant};
use super::remove::open_up;
use crate::error::{Error, Result, shown_path};
use crate::format::entry::{Entry, Kind};
use crate::fsys::{Dir, Object, ObjectId, ObjectKind, Stat, Xattr};
use crate::path::{EntryPath, Trail};
use crate::pool::{Pool, Task};
use crate::progress::Progress;
use crate::vault::read::Reader;

/// What a restore said that it did not bring back, or not exactly: classes, and of how many objects.
pub(super) type Declared = BTreeMap<String, u64>;

/// What a comparison has looked at, and what differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Objects of every kind.
    pub objects: u64,
    /// Files whose content was read and hashed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that the system may have given from its memory rather than from the medium.
    pub from_memory: u64,
    /// What differs, in path order; at most a thousand objects.
    pub differences: Vec<(EntryPath, String)>,
}

/// How many differences are worth collecting.
const DIFFERENCES_MAX: usize = 1_000;
/// How many bytes and files are read in one job.
const JOB_BYTES: u64 = 4 << 20;
const JOB_FILES: usize = 256;
/// How many directories one job keeps open.
const JOB_DIRECTORIES: usize = 16;
/// How many directories on the way from the root stay open.
const OPEN_MAX: usize = 64;

/// Holds the directory `name` in `base`, with everything below it, against entries in path order.
///
/// # Errors
/// What the listing refuses; the base cannot be looked at; interrupted.
pub(super) fn compare(
    base: &Path,
    name: &str,
    entries: impl Iterator<Item = Result<Entry>>,
    reader: &Arc<Reader>,
    declared: &Declared,
    progress: &dyn Progress,
) -> Result<Compared> {
    let lift = |error| Error::environment(format!("look at {}", shown_path(base)), error);
    let mut tree = Tree::open(base, name, reader, progress).map_err(lift)?;
    for entry in entries {
        if progress.interrupted() {
            return Err(Error::Interrupted(None));
        }
        tree.take(entry?)?;
    }
    Ok(tree.finish(declared))
}

/// A directory on the way from the root to the entry at hand.
struct Level {
    id: ObjectId,
    // Closed where the entry at hand lies far below.
    dir: Option<Arc<Dir>>,
    // Names that no entry has asked for yet.
    unasked: HashSet<Vec<u8>>,
}

/// The names of one object.
struct Names {
    id: ObjectId,
    links: u64,
    asked: u64,
}

struct Tree<'a> {
    base: Arc<Dir>,
    name: Vec<u8>,
    reader: &'a Arc<Reader>,
    progress: &'a dyn Progress,
    pool: Pool,
    meant: Meant,
    levels: Trail<Level>,
    // Of objects with several names, by the first of them.
    names: HashMap<EntryPath, Names>,
    differences: BTreeMap<EntryPath, Vec<String>>,
    // Where a restore may fall short if it says so, by class.
    short: BTreeMap<&'static str, Vec<(EntryPath, String)>>,
    waiting: Vec<Content>,
    waiting_bytes: u64,
    waiting_directories: usize,
    under_way: VecDeque<Task<Job>>,
    compared: Compared,
}

impl<'a> Tree<'a> {
    fn open(base: &Path, name: &str, reader: &'a Arc<Reader>, progress: &'a dyn Progress) -> io::Result<Self> {
        let base = Dir::open(base)?;
        Ok(Self {
            meant: Meant::at(&base)?,
            base: Arc::new(base),
            name: name.as_bytes().to_vec(),
            reader,
            progress,
            pool: Pool::new(),
            levels: Trail::default(),
            names: HashMap::new(),
            differences: BTreeMap::new(),
            short: BTreeMap::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_directories: 0,
            under_way: VecDeque::new(),
            compared: Compared::default(),
        })
    }

    fn differs(&mut self, path: &EntryPath, what: impl Into<String>) {
        if self.differences.len() < DIFFERENCES_MAX || self.differences.contains_key(path) {
            self.differences.entry(path.clone()).or_default().push(what.into());
        }
    }

    /// Looks for the next entry and holds what is there against it.
    fn take(&mut self, entry: Entry) -> Result<()> {
        let parent = entry.path.parent();
        while !self.levels.is_empty() && parent.as_ref() != Some(self.levels.path()) {
            self.leave();
        }
        let (dir, name) = match self.levels.last_mut() {
            None if parent.is_none() => (Arc::clone(&self.base), self.name.clone()),
            Some(Level { dir: Some(dir), unasked, .. }) => {
                unasked.remove(entry.path.name());
                (Arc::clone(dir), entry.path.name().to_vec())
            }
            // What holds it is no directory, or cannot be opened; that was said.
            _ => {
                self.differs(&entry.path, "it cannot be reached");
                return Ok(());
            }
        };
        self.compared.objects += 1;
        match dir.stat_at(&name) {
            Ok(stat) => self.look(entry, &dir, &name, &stat)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.differs(&entry.path, "it is missing"),
            Err(error) => self.differs(&entry.path, format!("it cannot be looked at: {error}")),
        }
        Ok(())
    }

    fn look(&mut self, entry: Entry, dir: &Arc<Dir>, name: &[u8], stat: &Stat) -> Result<()> {
        let (kind, device) = metadata::kind(&entry.kind);
        if stat.kind != kind {
            self.differs(&entry.path, format!("it is a {}, not a {}", stat.kind.name(), kind.name()));
            return Ok(());
        }
        if stat.device != device {
            self.differs(&entry.path, "it is another device");
        }
        if let Some(target) = entry.kind.target() {
            match dir.read_link(name) {
                Ok(found) if found == target => {}
                Ok(_) => self.differs(&entry.path, "its target differs"),
                Err(error) => self.differs(&entry.path, format!("its target cannot be read: {error}")),
            }
        }
        if !self.is_first_name(&entry, stat) {
            return Ok(());
        }
        for (class, what) in self.meant.compare(&entry, stat) {
            match class {
                None => self.differs(&entry.path, what),
                Some(class) => self.short.entry(class).or_default().push((entry.path.clone(), what)),
            }
        }
        // Only now, when its mode has been looked at; what lets it be read changes its access list too.
        let lists = match kind {
            ObjectKind::Directory | ObjectKind::File => Object::Name(dir, name).access_lists().unwrap_or_default(),
            _ => Vec::new(),
        };
        open_up(dir, name);
        match kind {
            ObjectKind::Directory => self.enter(&entry, dir, name, &lists),
            ObjectKind::File => self.read(entry, dir, name, &lists)?,
            _ => self.look_at_attributes(&entry, Object::Name(dir, name), &lists),
        }
        Ok(())
    }

    /// Returns whether an object is seen for the first time; a further name need only be the same object.
    fn is_first_name(&mut self, entry: &Entry, stat: &Stat) -> bool {
        if let Some(first) = &entry.hardlink {
            let is_same = self.names.get_mut(first).is_some_and(|names| {
                names.asked += 1;
                names.id == stat.id
            });
            if !is_same {
                self.differs(&entry.path, format!("it is not the same object as {first}"));
            }
            return false;
        }
        if !entry.is_directory() && (entry.links.is_some() || stat.links > 1) {
            let names = Names { id: stat.id, links: stat.links, asked: 1 };
            self.names.insert(entry.path.clone(), names);
        }
        true
    }

    fn look_at_attributes(&mut self, entry: &Entry, object: Object<'_>, lists: &[Xattr]) {
        match self.meant.compare_attributes(entry, object, lists) {
            Err(error) => self.differs(&entry.path, format!("its attributes cannot be read: {error}")),
            Ok(differences) => {
                for (class, what) in differences {
                    match class {
                        None => self.differs(&entry.path, what),
                        Some(class) => self.short.entry(class).or_default().push((entry.path.clone(), what)),
                    }
                }
            }
        }
    }

    fn enter(&mut self, entry: &Entry, dir: &Dir, name: &[u8], lists: &[Xattr]) {
        let opened = dir.open_dir(name).and_then(|child| {
            let unasked = child.names()?.into_iter().collect();
            Ok((child.stat()?.id, unasked, child))
        });
        let (id, unasked, child) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.differs(&entry.path, format!("it cannot be listed: {error}"));
                return;
            }
        };
        self.look_at_attributes(entry, Object::Directory(&child), lists);
        if let Some(above) = self.levels.above_mut(OPEN_MAX - 1) {
            above.dir = None;
        }
        self.levels.push(&entry.path, Level { id, dir: Some(Arc::new(child)), unasked });
    }

    /// Leaves the deepest directory: what nothing asked for should not be there.
    fn leave(&mut self) {
        let here = self.levels.path().clone();
        let Some(done) = self.levels.pop() else { return };
        for name in &done.unasked {
            let path = here.join(name).unwrap_or_else(|_| here.clone());
            self.differs(&path, "it is there and should not be");
        }
        let Some(above) = self.levels.last_mut().filter(|above| above.dir.is_none()) else { return };
        let opened = done.dir.as_ref().and_then(|dir| dir.open_parent().ok());
        above.dir = opened.filter(|dir| dir.stat().is_ok_and(|stat| stat.id == above.id)).map(Arc::new);
    }

    fn read(&mut self, mut entry: Entry, dir: &Arc<Dir>, name: &[u8], lists: &[Xattr]) -> Result<()> {
        let path = entry.path.clone();
        match dir.open_file(name) {
            // Attributes are looked at here, the content by a job.
            Ok(file) => self.look_at_attributes(&entry, Object::File(&file), lists),
            Err(error) => {
                self.differs(&path, format!("it cannot be read: {error}"));
                return Ok(());
            }
        }
        let Kind::File(file) = std::mem::replace(&mut entry.kind, Kind::Directory) else { return Ok(()) };
        self.waiting_bytes += file.data_bytes();
        self.waiting_directories += usize::from(!self.waiting.last().is_some_and(|last| Arc::ptr_eq(&last.dir, dir)));
        self.waiting.push(Content { path, dir: Arc::clone(dir), name: name.to_vec(), file });
        if self.waiting_bytes >= JOB_BYTES
            || self.waiting.len() >= JOB_FILES
            || self.waiting_directories >= JOB_DIRECTORIES
        {
            self.begin();
        }
        while self.under_way.len() > self.pool.threads() + 2 {
            self.end();
        }
        Ok(())
    }

    fn begin(&mut self) {
        let files = std::mem::take(&mut self.waiting);
        (self.waiting_bytes, self.waiting_directories) = (0, 0);
        let reader = Arc::clone(self.reader);
        self.under_way.push_back(self.pool.spawn(move || content::read(&reader, files)));
    }

    fn end(&mut self) {
        let Some(task) = self.under_way.pop_front() else { return };
        let job = task.wait();
        self.progress.advance(job.files, job.bytes);
        self.compared.files += job.files;
        self.compared.bytes += job.bytes;
        self.compared.from_memory += job.from_memory;
        for (path, what) in job.differences {
            self.differs(&path, what);
        }
    }

    fn finish(mut self, declared: &Declared) -> Compared {
        self.begin();
        while !self.under_way.is_empty() {
            self.end();
        }
        while !self.levels.is_empty() {
            self.leave();
        }
        for (path, names) in std::mem::take(&mut self.names) {
            if names.links != names.asked {
                self.differs(&path, format!("it has {} names, not {}", names.links, names.asked));
            }
        }
        for (class, found) in std::mem::take(&mut self.short) {
            if found.len() as u64 > declared.get(class).copied().unwrap_or(0) {
                found.into_iter().for_each(|(path, what)| self.differs(&path, what));
            }
        }
        let joined = |(path, what): (EntryPath, Vec<String>)| (path, what.join("; "));
        self.compared.differences = self.differences.into_iter().map(joined).collect();
        self.compared
    }
}
