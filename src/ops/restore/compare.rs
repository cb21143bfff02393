//! Holding what was restored against the listing: everything is read again, from the file system.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::class::Class;
use super::keep::Keep;
use crate::error::{Error, Result};
use crate::format::entry::{Entry, Kind};
use crate::fsys::ahead::WalkAhead;
use crate::fsys::walk::{Event, Found};
use crate::fsys::{self, Dir, Object, ObjectId, ObjectKind};
use crate::ops::holding::{Holder, Unlike};
use crate::ops::object;
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::read::Reader;

/// How many bytes of files are compared in one job.
const COMPARE_BYTES: u64 = 1 << 20;
/// How many files are compared in one job.
const COMPARE_FILES: usize = 256;
/// How many directories one job keeps open.
const COMPARE_DIRECTORIES: usize = 16;
/// How many bytes of entries wait for one job.
const COMPARE_ENTRY_BYTES: usize = 4 << 20;

/// A file whose content is to be read back.
struct Check {
    entry: Entry,
    dir: Arc<Dir>,
}

/// Holds what is found below the staging directory against the listing.
pub(super) struct Comparer<'a> {
    reader: &'a Arc<Reader>,
    keep: Arc<Keep>,
    pool: &'a Pool,
    from_medium: bool,
    progress: &'a dyn Progress,
    differences: BTreeMap<EntryPath, String>,
    open: Vec<Check>,
    bytes: u64,
    entry_bytes: usize,
    directories: usize,
    under_way: VecDeque<Task<Compared>>,
    stop: Arc<AtomicBool>,
    outcome: Outcome,
    // Of objects with several names, by the first: which object it is, how many names it has and how many were seen.
    linked: HashMap<EntryPath, Linked>,
}

struct Linked {
    id: ObjectId,
    names: u64,
    seen: u64,
}

/// What a comparison without differences has shown besides.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Outcome {
    /// How many files may have been read from memory, and not from the medium.
    pub(super) from_memory: u64,
    /// How many files have fewer holes than they should.
    pub(super) filled: u64,
}

/// What one job read back.
#[derive(Default)]
struct Compared {
    files: u64,
    bytes: u64,
    outcome: Outcome,
    differences: Vec<(EntryPath, String)>,
    broken: Option<Error>,
}

/// How many differences are worth collecting before the restore is refused.
const DIFFERENCES_MAX: usize = 1_000;

impl Drop for Comparer<'_> {
    fn drop(&mut self) {
        // A task is waited for when it is dropped: what nobody wants any more must not take long.
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl<'a> Comparer<'a> {
    pub(super) fn new(
        reader: &'a Arc<Reader>,
        keep: Arc<Keep>,
        pool: &'a Pool,
        from_medium: bool,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            reader,
            keep,
            pool,
            from_medium,
            progress,
            differences: BTreeMap::new(),
            open: Vec::new(),
            bytes: 0,
            entry_bytes: 0,
            directories: 0,
            under_way: VecDeque::new(),
            stop: Arc::default(),
            outcome: Outcome::default(),
            linked: HashMap::new(),
        }
    }

    fn differs(&mut self, path: EntryPath, what: impl Into<String>) {
        if self.differences.len() < DIFFERENCES_MAX {
            let all = self.differences.entry(path).or_default();
            if !all.is_empty() {
                all.push_str("; ");
            }
            all.push_str(&what.into());
        }
    }

    /// Compares the next entry with the next thing found; both come in path order.
    pub(super) fn take(&mut self, entry: Entry, walk: &mut WalkAhead) -> Result<()> {
        if self.progress.interrupted() {
            return Err(Error::Interrupted(None));
        }
        // A single file is restored into a directory that stands for nothing in the snapshot.
        let mut next = walk.next();
        if !entry.path.is_root() && matches!(&next, Some(Event::Found(found)) if found.path.is_root()) {
            next = walk.next();
        }
        match next {
            Some(Event::Found(found)) if found.path == entry.path => self.compare(entry, found)?,
            Some(Event::Found(found)) => {
                let what = if found.path < entry.path {
                    "it is there and should not be"
                } else {
                    "something before it is missing"
                };
                self.differs(found.path, what);
                return self.refuse();
            }
            Some(Event::Failed(path, error)) => {
                self.differs(path, error.to_string());
                return self.refuse();
            }
            None => {
                self.differs(entry.path, "it is missing");
                return self.refuse();
            }
        }
        Ok(())
    }

    fn compare(&mut self, entry: Entry, found: Found) -> Result<()> {
        let (kind, device) = object::expected(&entry.kind);
        if found.stat.kind != kind {
            self.differs(entry.path, format!("it is a {}", found.stat.kind.name()));
            return Ok(());
        }
        if found.stat.device != device {
            self.differs(entry.path.clone(), "it is another device");
        }
        for what in self.keep.compare(&entry, &found.stat) {
            self.differs(entry.path.clone(), what);
        }
        if entry.kind.target().is_some_and(|target| target != found.target) {
            self.differs(entry.path.clone(), "its target differs");
        }
        if !self.is_new_object(&entry, &found) {
            return Ok(());
        }
        if entry.file().is_none() {
            let object = match kind {
                ObjectKind::Directory => Object::Directory(&found.dir),
                _ => Object::Name(&found.dir, entry.path.name()),
            };
            match self.keep.compare_xattrs(&entry, object) {
                Ok(differences) => differences.into_iter().for_each(|what| self.differs(entry.path.clone(), what)),
                Err(error) => self.differs(entry.path, format!("its attributes cannot be read: {error}")),
            }
        } else {
            self.check_content(entry, found)?;
        }
        while self.under_way.len() > self.pool.threads() + 4 {
            self.take_compared()?;
        }
        Ok(())
    }

    /// Returns whether what was found is to be compared further; a further name need only be the same object.
    fn is_new_object(&mut self, entry: &Entry, found: &Found) -> bool {
        if let Some(first) = self.keep.further_name(entry).cloned() {
            let same = self.linked.get_mut(&first).is_some_and(|linked| {
                linked.seen += 1;
                linked.id == found.stat.id
            });
            if !same {
                self.differs(entry.path.clone(), format!("it is not the same object as {first}"));
            }
            return false;
        }
        if entry.links.is_some() && self.keep.keeps(Class::Hardlink) {
            let linked = Linked { id: found.stat.id, names: found.stat.links, seen: 1 };
            self.linked.insert(entry.path.clone(), linked);
        } else if !entry.is_directory() && found.stat.links > 1 {
            self.differs(entry.path.clone(), format!("it has {} names", found.stat.links));
        }
        true
    }

    fn check_content(&mut self, entry: Entry, found: Found) -> Result<()> {
        let Some(file) = entry.file() else { return Ok(()) };
        if file.size != found.stat.size {
            self.differs(entry.path, format!("it has {} bytes", found.stat.size));
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(file.data_bytes());
        self.entry_bytes += entry.memory();
        let same = self.open.last().is_some_and(|last| Arc::ptr_eq(&last.dir, &found.dir));
        self.directories += usize::from(!same);
        self.open.push(Check { entry, dir: found.dir });
        if self.bytes >= COMPARE_BYTES
            || self.open.len() >= COMPARE_FILES
            || self.entry_bytes >= COMPARE_ENTRY_BYTES
            || self.directories >= COMPARE_DIRECTORIES
        {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        let checks = std::mem::take(&mut self.open);
        (self.bytes, self.entry_bytes, self.directories) = (0, 0, 0);
        let (keep, from_medium) = (Arc::clone(&self.keep), self.from_medium);
        let (reader, stop) = (Arc::clone(self.reader), Arc::clone(&self.stop));
        self.under_way.push_back(self.pool.spawn(move || {
            let mut holder = Holder::new(&reader, &stop);
            let mut compared = Compared { files: checks.len() as u64, ..Compared::default() };
            for check in checks {
                let size = check.entry.file().map_or(0, |file| file.size);
                compared.bytes = compared.bytes.saturating_add(size);
                match compare_content(&keep, &check, from_medium, &mut holder) {
                    Ok(Content { dropped, filled, differences }) => {
                        compared.outcome.from_memory += u64::from(!dropped && size > 0);
                        compared.outcome.filled += u64::from(filled);
                        let path = &check.entry.path;
                        compared.differences.extend(differences.into_iter().map(|what| (path.clone(), what)));
                    }
                    Err(Ok(what)) => compared.differences.push((check.entry.path, what)),
                    Err(Err(error)) => {
                        compared.broken = Some(error);
                        break;
                    }
                }
            }
            compared
        }));
    }

    fn take_compared(&mut self) -> Result<()> {
        let Some(task) = self.under_way.pop_front() else { return Ok(()) };
        // A long file takes long.
        while !task.is_done() {
            if self.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let compared = task.wait();
        self.progress.advance(compared.files, compared.bytes);
        self.outcome.from_memory += compared.outcome.from_memory;
        self.outcome.filled += compared.outcome.filled;
        for (path, what) in compared.differences {
            self.differs(path, what);
        }
        compared.broken.map_or(Ok(()), |error| {
            self.stop.store(true, Ordering::Relaxed);
            Err(error)
        })
    }

    pub(super) fn finish(mut self, walk: &mut WalkAhead) -> Result<Outcome> {
        while let Some(event) = walk.next() {
            match event {
                Event::Found(found) if found.path.is_root() => {}
                Event::Found(found) => self.differs(found.path, "it is there and should not be"),
                Event::Failed(path, error) => self.differs(path, error.to_string()),
            }
        }
        for (path, linked) in std::mem::take(&mut self.linked) {
            if linked.names != linked.seen {
                self.differs(path, format!("it has {} names, not {}", linked.names, linked.seen));
            }
        }
        self.flush();
        self.refuse()?;
        Ok(self.outcome)
    }

    fn refuse(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.take_compared()?;
        }
        if self.differences.is_empty() {
            return Ok(());
        }
        let mut refusal = Refusal::new(
            Code::RestoredDiffers,
            format!("{} restored object(s) differ from the snapshot", self.differences.len()),
        );
        for (path, what) in std::mem::take(&mut self.differences) {
            refusal.causes.push(format!("{path}: {what}"));
            refusal.paths.push(path);
        }
        Err(refusal.into())
    }
}

/// What reading a file back has shown.
struct Content {
    dropped: bool,
    filled: bool,
    differences: Vec<String>,
}

/// Reads a restored file, hashes it chunk by chunk, and looks at its attributes.
///
/// # Errors
/// What differs; but where the vault fails meanwhile, or nobody wants to know any more, nothing is said of the file.
fn compare_content(
    keep: &Keep,
    check: &Check,
    from_medium: bool,
    holder: &mut Holder<'_>,
) -> Result<Content, Result<String, Error>> {
    let differs = |error: io::Error| Ok(error.to_string());
    let file = check.dir.open_file(check.entry.path.name()).map_err(differs)?;
    let dropped = from_medium && fsys::drop_cached(&file);
    let differences = keep.compare_xattrs(&check.entry, Object::File(&file)).map_err(differs)?;
    let Kind::File(content) = &check.entry.kind else { return Err(Ok("it is no file".into())) };
    let filled = holder.hold(&file, content).map_err(|unlike| match unlike {
        Unlike::Content => Ok("its content differs".into()),
        Unlike::Longer => Ok("it is longer than it should be".into()),
        Unlike::Shorter => Ok("it is shorter than it should be".into()),
        Unlike::Io(error) => Ok(error.to_string()),
        Unlike::Vault(mut finding) => {
            finding.paths.push(check.entry.path.clone());
            Err(finding.into())
        }
        Unlike::Stopped => Err(Error::Interrupted(None)),
    })?;
    Ok(Content { dropped, filled: filled >= FILLED_BYTES, differences })
}

/// A stretch of zeros this long, where a hole should be, is a hole that the target did not keep.
const FILLED_BYTES: u64 = 1 << 20;
