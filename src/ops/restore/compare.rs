//! Holding what was restored against the listing: everything is read again, from the file system.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::class::Class;
use super::keep::Keep;
use super::tree::failed;
use crate::error::{Error, Result};
use crate::format::entry::{Entry, Kind};
use crate::fsys::ahead::WalkAhead;
use crate::fsys::walk::{Event, Found, RESTLESS};
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
    // Which file the metadata was of.
    id: ObjectId,
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
            Some(Event::Restless(path)) => {
                self.differs(path, RESTLESS);
                return self.refuse();
            }
            Some(Event::Failed(path, error)) if fsys::lacks_means(&error) => {
                return Err(failed(&path, "read back", error));
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
        self.open.push(Check { entry, dir: found.dir, id: found.stat.id });
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
                Event::Failed(path, error) if fsys::lacks_means(&error) => {
                    return Err(failed(&path, "read back", error));
                }
                Event::Failed(path, error) => self.differs(path, error.to_string()),
                Event::Restless(path) => self.differs(path, RESTLESS),
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
    // Where nothing can be opened any more, nothing is said of the file.
    let differs = |error: io::Error| match fsys::lacks_means(&error) {
        true => Err(failed(&check.entry.path, "read back", error)),
        false => Ok(error.to_string()),
    };
    let file = check.dir.open_file(check.entry.path.name()).map_err(differs)?;
    if keep.ids_decide && fsys::stat_file(&file).map_err(differs)?.id != check.id {
        return Err(Ok("it was replaced while it was compared".into()));
    }
    let dropped = from_medium && fsys::drop_cached(&file);
    let differences = keep.compare_xattrs(&check.entry, Object::File(&file)).map_err(differs)?;
    let Kind::File(content) = &check.entry.kind else { return Err(Ok("it is no file".into())) };
    let filled = holder.hold(&file, content).map_err(|unlike| match unlike {
        Unlike::Content => Ok("its content differs".into()),
        Unlike::Longer => Ok("it is longer than it should be".into()),
        Unlike::Shorter => Ok("it is shorter than it should be".into()),
        Unlike::Io(error) => differs(error),
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};
    use std::fs;
    use std::path::Path;

    use super::super::tree::tests::reader;
    use super::*;
    use crate::crypto::Digest;
    use crate::format::attribute::{Attribute, Value};
    use crate::format::entry::{ChunkRef, Chunks, FileContent, Holes};
    use crate::format::holes::Hole;
    use crate::fsys::Stat;
    use crate::fsys::walk::Everything;
    use crate::progress::Silent;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("valid")
    }

    /// Compares without modes, and without what the system gives to every object here.
    fn comparer<'a>(reader: &'a Arc<Reader>, pool: &'a Pool, here: &Path) -> Comparer<'a> {
        let dir = Dir::open(here).expect("readable");
        let xattrs = Object::Directory(&dir).xattrs().expect("readable");
        let ambient: HashSet<Vec<u8>> = xattrs.into_iter().map(|(name, _)| name).collect();
        let keep = Keep { without: BTreeSet::from([Class::Mode]), ambient, ..Keep::default() };
        Comparer::new(reader, Arc::new(keep), pool, false, &Silent)
    }

    /// Holds a place with directories of these names against a listing of directories; returns what differs.
    fn differences(there: &[&str], listed: &[&str]) -> Vec<String> {
        let (root, reader) = reader();
        for name in there {
            fs::create_dir(root.path().join(name)).expect("writable");
        }
        let pool = Pool::with_threads(1);
        let mut comparer = comparer(&reader, &pool, root.path());
        let mut walk = WalkAhead::start(Dir::open(root.path()).expect("readable"), Everything);
        let mut take = |name: &&str| comparer.take(Entry::new(path(name), Kind::Directory), &mut walk);
        let taken = listed.iter().try_for_each(&mut take);
        match taken.and_then(|()| comparer.finish(&mut walk)) {
            Ok(_) => Vec::new(),
            Err(Error::Refused(refusal)) => refusal.causes.clone(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_there_is_what_is_listed_and_nothing_else() {
        assert_eq!(differences(&["a", "b"], &["", "a", "b"]), [""; 0]);
        assert_eq!(differences(&["a", "b"], &["", "b"]), ["a: it is there and should not be"]);
        assert_eq!(differences(&["a", "b"], &["", "a"]), ["b: it is there and should not be"]);
        assert_eq!(differences(&["b"], &["", "a"]), ["b: something before it is missing"]);
        assert_eq!(differences(&["a"], &["", "a", "b"]), ["b: it is missing"]);
        // What is no directory is restored into one that stands for nothing, and all of it can have been given up.
        assert_eq!(differences(&["a"], &["a"]), [""; 0]);
        assert_eq!(differences(&[], &[]), [""; 0]);
        assert_eq!(differences(&["a"], &[]), ["a: it is there and should not be"]);
    }

    #[test]
    fn what_differs_of_one_object_is_told_together_and_of_a_bounded_number_of_objects() {
        let (root, reader) = reader();
        let pool = Pool::with_threads(1);
        let mut comparer = comparer(&reader, &pool, root.path());
        comparer.differs(path("a"), "one");
        comparer.differs(path("a"), "other");
        assert_eq!(comparer.differences[&path("a")], "one; other");
        for number in 0..DIFFERENCES_MAX + 9 {
            comparer.differs(path(&number.to_string()), "it differs");
        }
        assert_eq!(comparer.differences.len(), DIFFERENCES_MAX);
    }

    #[test]
    fn one_job_has_a_bounded_number_of_files_bytes_directories_and_entries() {
        let (root, reader) = reader();
        let pool = Pool::with_threads(1);
        let mut comparer = comparer(&reader, &pool, root.path());
        let open = || Arc::new(Dir::open(root.path()).expect("readable"));
        let file = |size: u64, value: usize| {
            let xattrs = vec![Attribute { name: b"user.note".to_vec(), value: Value::Inline(vec![0; value]) }];
            let content = FileContent { size, ..FileContent::default() };
            Entry { xattrs, ..Entry::new(path("f"), Kind::File(content)) }
        };
        // Returns how many files wait for a job.
        let mut take = |entry: Entry, dir: &Arc<Dir>| {
            let size = entry.file().map_or(0, |file| file.size);
            let stat = Stat { kind: ObjectKind::File, size, links: 1, ..Stat::default() };
            let found = Found { path: entry.path.clone(), stat, dir: Arc::clone(dir), target: Vec::new() };
            comparer.check_content(entry, found).expect("nothing is read yet");
            comparer.open.len()
        };
        let one = open();
        for before in 1..COMPARE_FILES {
            assert_eq!(take(file(0, 0), &one), before);
        }
        assert_eq!(take(file(0, 0), &one), 0);
        assert_eq!(take(file(COMPARE_BYTES - 1, 0), &one), 1);
        assert_eq!(take(file(1, 0), &one), 0);
        for before in 1..COMPARE_DIRECTORIES {
            assert_eq!(take(file(0, 0), &open()), before);
        }
        assert_eq!(take(file(0, 0), &open()), 0);
        let bare = file(0, 0).memory();
        assert_eq!(take(file(0, COMPARE_ENTRY_BYTES - 1 - 2 * bare), &one), 1);
        assert_eq!(take(file(0, 0), &one), 2);
        assert_eq!(take(file(0, 0), &one), 0);
        assert_eq!(take(file(0, COMPARE_ENTRY_BYTES - bare), &one), 0);
    }

    #[test]
    fn files_that_came_from_memory_and_holes_that_were_filled_are_counted() {
        let (root, reader) = reader();
        let file = |name: &str, bytes: &[u8], holes: Vec<Hole>| {
            fs::write(root.path().join(name), bytes).expect("writable");
            let chunk = ChunkRef(Digest::of(bytes), bytes.len() as u32);
            let chunks = if holes.is_empty() && !bytes.is_empty() { vec![chunk] } else { Vec::new() };
            let holes = if holes.is_empty() { Holes::none() } else { Holes::Direct(holes) };
            let (size, chunks) = (bytes.len() as u64, Chunks::Direct(chunks));
            Entry::new(path(name), Kind::File(FileContent { size, holes, chunks, ..FileContent::default() }))
        };
        let filled = |name, length: u64| file(name, &vec![0; length as usize], vec![Hole(0, length)]);
        let entries = [
            file("a-empty", b"", Vec::new()),
            file("b-full", b"x", Vec::new()),
            filled("c-filled", FILLED_BYTES),
            filled("d-filled-less", FILLED_BYTES - 1),
        ];
        let pool = Pool::with_threads(1);
        let mut comparer = comparer(&reader, &pool, root.path());
        let mut walk = WalkAhead::start(Dir::open(root.path()).expect("readable"), Everything);
        comparer.take(Entry::new(EntryPath::root(), Kind::Directory), &mut walk).expect("there");
        for entry in entries {
            comparer.take(entry, &mut walk).expect("there");
        }
        let outcome = comparer.finish(&mut walk).expect("the same");
        assert_eq!(outcome.from_memory, 3, "an empty file is nowhere");
        let written = fs::File::open(root.path().join("c-filled")).expect("readable");
        // Some file systems make holes of zeros.
        if fsys::holes(&written, FILLED_BYTES).expect("readable").is_empty() {
            assert_eq!(outcome.filled, 1);
        }
    }

    #[test]
    fn content_is_read_of_the_file_whose_metadata_was_compared() {
        let (root, reader) = reader();
        fs::write(root.path().join("f"), "").expect("writable");
        let dir = Arc::new(Dir::open(root.path()).expect("readable"));
        let id = dir.stat_at(b"f").expect("there").id;
        let hold = |id: ObjectId, ids_decide: bool| {
            let keep = Keep { without: BTreeSet::from([Class::Mode, Class::Xattr]), ids_decide, ..Keep::default() };
            let entry = Entry::new(path("f"), Kind::File(FileContent::default()));
            let check = Check { entry, dir: Arc::clone(&dir), id };
            let stop = AtomicBool::new(false);
            let outcome = compare_content(&keep, &check, false, &mut Holder::new(&reader, &stop));
            outcome.map(|content| content.differences).map_err(|unlike| unlike.expect("no error"))
        };
        let other = ObjectId { number: id.number ^ 1, ..id };
        assert_eq!(hold(id, true), Ok(Vec::new()));
        assert_eq!(hold(other, true), Err("it was replaced while it was compared".to_owned()));
        // Where ids do not stay, another id tells nothing.
        assert_eq!(hold(other, false), Ok(Vec::new()));
    }

    #[test]
    fn who_does_not_want_to_know_any_more_stops_what_is_under_way() {
        let (root, reader) = reader();
        let pool = Pool::with_threads(1);
        let comparer = comparer(&reader, &pool, root.path());
        let stop = Arc::clone(&comparer.stop);
        assert!(!stop.load(Ordering::Relaxed));
        drop(comparer);
        assert!(stop.load(Ordering::Relaxed));
    }
}
