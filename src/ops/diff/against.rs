//! Comparing a snapshot with a directory: in path order, without what the snapshot left out by its rules, files and
//! attributes read ahead on a pool.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::content::{self, Check, Compared, Outcome, Work};
use super::directory::{Objects, Seen, What};
use super::left::{Left, LeftOut};
use super::merge::{Merge, Pair};
use super::{Change, Chosen, Difference, Output, entries};
use crate::error::{Error, Result, shown_path};
use crate::format::entry::{Entry, Owner};
use crate::fsys::{self, Dir, ObjectId, ObjectKind, Stat};
use crate::ops::change::{Aspect, State};
use crate::ops::reading::Reading;
use crate::path::EntryPath;
use crate::pool::Task;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::Finding;

/// How many paths are compared in one job.
const BATCH_PATHS: usize = 512;
/// How many bytes of files are compared in one job.
const BATCH_BYTES: u64 = 4 << 20;
/// How many directories one job keeps open.
const BATCH_DIRECTORIES: usize = 16;
/// How many bytes of entries wait for one job.
const BATCH_ENTRY_BYTES: usize = 4 << 20;

/// Compares with a directory; returns its real path and how many bytes of it were read.
pub(super) fn with_directory(
    reading: &Reading,
    left: Chosen<'_>,
    path: &Path,
    progress: &dyn Progress,
    output: &mut Output<'_>,
) -> Result<(PathBuf, u64)> {
    let mut objects = Objects::open(path)?;
    let mut queue = Queue::new(reading, progress);
    let mut left_out = LeftOut::of(reading, left.1, progress)?;
    let mut sides = Sides::default();
    // Below what cannot be looked at, nothing is known.
    let mut blind: Option<EntryPath> = None;
    for pair in Merge::new(entries(reading, left, progress)?, &mut objects) {
        let work = match pair? {
            Pair::Left(entry) if blind.as_ref().is_some_and(|blind| entry.path.is_within(blind)) => continue,
            Pair::Left(entry) => {
                let state = sides.state(&entry);
                one_sided(entry.path, Change::Removed, state)
            }
            Pair::Right(Seen { path, what }) => {
                // Of what cannot be looked at, directories are what is walked into.
                let kind = match &what {
                    What::Object { stat, .. } => stat.kind,
                    What::Failed(_) => ObjectKind::Directory,
                };
                let is_directory = kind == ObjectKind::Directory;
                match left_out.judge(&under(left.2, &path)?, is_directory, kind == ObjectKind::File) {
                    Left::No => {}
                    Left::Itself => {
                        output.tally.left_out += 1;
                        continue;
                    }
                    Left::Above => continue,
                }
                match what {
                    What::Object { stat, target, .. } => {
                        sides.see(&path, &stat);
                        one_sided(path, Change::Added, State::seen(&stat, &target))
                    }
                    What::Failed(reason) => {
                        blind = Some(path.clone());
                        Work::Decided(Outcome::Unknown(path, reason))
                    }
                }
            }
            Pair::Both(_, Seen { path, what: What::Failed(reason) }) => {
                blind = Some(path.clone());
                Work::Decided(Outcome::Unknown(path, reason))
            }
            Pair::Both(entry, Seen { what: What::Object { stat, dir, name, target }, .. }) => {
                let before = sides.state(&entry);
                let mut more = Vec::new();
                more.extend(sides.links_differ(&entry, &stat).then_some(Aspect::Links));
                more.extend(sides.flags_differ(&entry, &stat, output).then_some(Aspect::Flags));
                let reader = Arc::clone(&reading.reader);
                let (quick, attributes) = (output.options.quick, !output.options.content_only);
                let check = Check { path: entry.path.clone(), entry, before, stat, target, more, reader, dir, name };
                check.into_work(quick, attributes)
            }
        };
        queue.push(work, output)?;
    }
    let troubles = queue.finish(output)?;
    output.notes.append(&mut left_out.notes);
    let Troubles { mut unknown, broken, bytes_read } = troubles;
    unknown.append(&mut objects.beside);
    if let Some(refusal) = vault_refusal(broken) {
        return Err(refusal.into());
    }
    if unknown.is_empty() {
        return Ok((objects.real, bytes_read));
    }
    unknown.sort();
    let message = format!(
        "{} object(s) in {} cannot be read; whether they differ is not known",
        unknown.len(),
        shown_path(&objects.real)
    );
    let mut refusal = Refusal::new(Code::SourceUnreadable, message)
        .next("make them readable, then compare again; all else was compared");
    for (path, reason) in unknown {
        refusal.causes.push(format!("{path}: {reason}"));
        refusal.paths.push(path);
    }
    Err(refusal.into())
}

/// Names every file of which the vault does not tell what it should hold; the code is the lowest.
fn vault_refusal(mut broken: Vec<Finding>) -> Option<Refusal> {
    broken.sort_by(|a, b| (a.code, &a.paths).cmp(&(b.code, &b.paths)));
    let first = broken.first()?;
    let message = format!("of {} file(s) the vault does not tell what they held; all else was compared", broken.len());
    let mut refusal = Refusal::new(first.code, message);
    refusal.subject = Some(first.subject.clone());
    for finding in broken {
        let named: Vec<String> = finding.paths.iter().map(ToString::to_string).collect();
        refusal.causes.push(format!("{}: {}: {}", named.join(", "), finding.subject, finding.detail));
        refusal.paths.extend(finding.paths);
    }
    Some(refusal)
}

/// Returns a path below a place as a path of the snapshot.
fn under(place: &EntryPath, path: &EntryPath) -> Result<EntryPath> {
    if place.is_root() || path.is_root() {
        return Ok(if path.is_root() { place.clone() } else { path.clone() });
    }
    let joined = [place.as_bytes(), b"/", path.as_bytes()].concat();
    EntryPath::parse(&joined).map_err(|error| Error::environment(format!("name {path}"), std::io::Error::other(error)))
}

/// What is remembered of both sides. Memory grows with the objects of several names, and with the owners.
#[derive(Default)]
struct Sides {
    // The first name that was seen of each object of several names; in the snapshot by its first name there.
    entries: HashMap<EntryPath, EntryPath>,
    objects: HashMap<ObjectId, EntryPath>,
    owners: HashMap<Owner, (u32, u32)>,
}

impl Sides {
    /// Returns what an entry says; its owner as a restore would give it here, by name where the name is known.
    fn state(&mut self, entry: &Entry) -> State {
        let numbers = entry.owner.as_ref().map(|owner| match self.owners.get(owner) {
            Some(numbers) => *numbers,
            None => {
                // Where nobody answers, who has these numbers is the best guess, and only read.
                let numbers = owner.numbers_here(fsys::user_number, fsys::group_number);
                let numbers = numbers.unwrap_or((owner.uid, owner.gid));
                self.owners.insert(owner.clone(), numbers);
                numbers
            }
        });
        State { owner: numbers, ..State::of(entry) }
    }

    /// Notes an object of the directory; returns the first name that was seen of it, if it has several.
    fn see(&mut self, path: &EntryPath, stat: &Stat) -> Option<&EntryPath> {
        if stat.links < 2 || stat.kind == ObjectKind::Directory {
            return None;
        }
        Some(self.objects.entry(stat.id).or_insert_with(|| path.clone()))
    }

    /// Returns whether a path is one object with other paths than the snapshot says, of those seen on both sides so far.
    fn links_differ(&mut self, entry: &Entry, stat: &Stat) -> bool {
        let path = &entry.path;
        let meant = entry.links.map(|_| {
            let first = entry.hardlink.as_ref().unwrap_or(path);
            self.entries.entry(first.clone()).or_insert_with(|| path.clone()).clone()
        });
        let found = self.see(path, stat);
        meant.as_ref().unwrap_or(path) != found.unwrap_or(path)
    }

    /// Returns whether flags differ, as far as this platform has them.
    fn flags_differ(&self, entry: &Entry, stat: &Stat, output: &mut Output<'_>) -> bool {
        let (own, foreign) = entry.own_and_foreign_flags();
        let Some(found) = stat.flags else {
            if own.or(foreign).is_some() {
                output.not_compared.insert(Aspect::Flags);
            }
            return false;
        };
        if foreign.is_some() {
            output.not_compared.insert(Aspect::Flags);
        }
        own.unwrap_or(0) != found
    }
}

fn one_sided(path: EntryPath, change: Change, state: State) -> Work {
    let (before, after) = if change == Change::Added { (None, Some(state)) } else { (Some(state), None) };
    Work::Decided(Outcome::Differs(Box::new(Difference {
        path,
        change,
        aspects: Vec::new(),
        before,
        after,
        detail: None,
    })))
}

/// What stands in the way of a complete answer, and how many bytes were read.
#[derive(Default)]
struct Troubles {
    unknown: Vec<(EntryPath, String)>,
    broken: Vec<Finding>,
    bytes_read: u64,
}

/// Work in path order, whose files are read ahead on the pool.
struct Queue<'a> {
    reading: &'a Reading,
    progress: &'a dyn Progress,
    stop: Arc<AtomicBool>,
    open: Vec<Work>,
    bytes: u64,
    entry_bytes: usize,
    directories: usize,
    last_directory: Option<Arc<Dir>>,
    under_way: VecDeque<Task<Compared>>,
    troubles: Troubles,
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        // A task is waited for when it is dropped: what nobody wants any more must not take long.
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl<'a> Queue<'a> {
    fn new(reading: &'a Reading, progress: &'a dyn Progress) -> Self {
        Self {
            reading,
            progress,
            stop: Arc::default(),
            open: Vec::new(),
            bytes: 0,
            entry_bytes: 0,
            directories: 0,
            last_directory: None,
            under_way: VecDeque::new(),
            troubles: Troubles::default(),
        }
    }

    fn push(&mut self, work: Work, output: &mut Output<'_>) -> Result<()> {
        if let Work::Check(check, _) = &work {
            self.bytes = self.bytes.saturating_add(check.entry.file().map_or(0, |file| file.data_bytes()));
            self.entry_bytes += check.entry.memory();
            if !self.last_directory.as_ref().is_some_and(|last| Arc::ptr_eq(last, &check.dir)) {
                self.last_directory = Some(Arc::clone(&check.dir));
                self.directories += 1;
            }
        }
        self.open.push(work);
        if self.bytes >= BATCH_BYTES
            || self.open.len() >= BATCH_PATHS
            || self.entry_bytes >= BATCH_ENTRY_BYTES
            || self.directories >= BATCH_DIRECTORIES
        {
            self.flush();
        }
        while self.under_way.len() > self.reading.pool.threads() + 4 {
            self.take(output)?;
        }
        Ok(())
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.open);
        (self.bytes, self.entry_bytes, self.directories, self.last_directory) = (0, 0, 0, None);
        let stop = Arc::clone(&self.stop);
        self.under_way.push_back(self.reading.pool.spawn(move || content::compare(batch, &stop)));
    }

    fn take(&mut self, output: &mut Output<'_>) -> Result<()> {
        let Some(task) = self.under_way.pop_front() else { return Ok(()) };
        while !task.is_done() {
            if self.progress.interrupted() {
                self.stop.store(true, Ordering::Relaxed);
                return Err(Error::Interrupted(None));
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let compared = task.wait();
        self.troubles.bytes_read += compared.bytes;
        self.progress.advance(compared.files, compared.bytes);
        for outcome in compared.outcomes {
            match outcome {
                Outcome::Same => output.tally.same += 1,
                Outcome::Differs(difference) => output.difference(*difference)?,
                Outcome::Unknown(path, reason) => self.troubles.unknown.push((path, reason)),
                Outcome::Broken(finding) => self.troubles.broken.push(finding),
            }
        }
        Ok(())
    }

    fn finish(mut self, output: &mut Output<'_>) -> Result<Troubles> {
        self.flush();
        while !self.under_way.is_empty() {
            self.take(output)?;
        }
        Ok(std::mem::take(&mut self.troubles))
    }
}
