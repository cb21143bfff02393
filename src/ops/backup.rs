//! `backup`: takes a snapshot of one directory.
//!
//! A walk runs ahead and finds objects in path order; a pool reads, cuts and hashes files in batches; this thread takes
//! the results in order, decides what is new, and hands it to the draft. Order, and so the bytes of a vault, do not
//! depend on the number of threads.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use ignore::gitignore::Gitignore;

use super::source::{self, Read, ReadJob, ReadResult};
use crate::clock::{Clock, Time};
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::PROGRAM;
use crate::format::entry::{ChunkRef, Chunks, Entry, FileContent, Kind, ListRef, encode_chunk_list};
use crate::format::index::IndexedPack;
use crate::format::pack::BlockKind;
use crate::format::record::{Counts, Packs, Snapshot};
use crate::fsys::walk::{Decision, Event, Found, walk};
use crate::fsys::{Dir, ObjectId, ObjectKind, Stat};
use crate::limits;
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Refusal};
use crate::vault::catalog::{Catalog, UseIndex};
use crate::vault::gate::{self, Access, Vault};
use crate::vault::index::{self, NotRebuilt};
use crate::vault::listing::ListingWriter;
use crate::vault::read::{Entries, Reader, check_pack};
use crate::vault::write::{Draft, Origin, probe, reference, require_space};
use crate::vault::{layout, read_error, witness};

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Patterns in gitignore syntax, relative to the source, of what is left out.
    pub exclude: Vec<String>,
    /// Patterns of files that may be left out when they keep changing.
    pub may_change: Vec<String>,
    /// Read every file, also those that look unchanged.
    pub reread: bool,
    /// Accept a source that is empty now and was not before.
    pub allow_empty: bool,
    /// Look at the source again at the end, and record whether anything changed meanwhile.
    pub closing_look: bool,
    /// Labels for people.
    pub tags: Vec<String>,
}

/// What `backup` did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The number of the new snapshot.
    pub snapshot: u64,
    /// The vault's id.
    pub vault: Option<Id>,
    /// The canonical path of the source.
    pub source: PathBuf,
    /// How much it holds.
    pub counts: Counts,
    /// Bytes that it added to the vault.
    pub bytes_stored: u64,
    /// Files that were not read, because they had not changed.
    pub files_unchanged: u64,
    /// Objects that the rules left out; what lies below an excluded directory is not counted.
    pub excluded: u64,
    /// Files that kept changing and were left out, as allowed.
    pub left_out: Vec<EntryPath>,
    /// The new head of the chain.
    pub head: String,
    /// Packs written before that the snapshot relies on, and when the one not read for longest was last read.
    pub older_packs: u64,
    /// See [`older_packs`](Self::older_packs).
    pub oldest_read: Option<Time>,
    /// Whether a closing look found nothing changed.
    pub quiet: Option<bool>,
    /// Seconds from start to commit.
    pub seconds: f64,
    /// What should be said about the run, in words.
    pub notes: Vec<String>,
}

/// How many bytes of small files are read in one job.
const BATCH_BYTES: u64 = 1 << 20;
/// How many files are read in one job.
const BATCH_FILES: usize = 256;
/// How many directories one job may keep open.
const BATCH_DIRECTORIES: usize = 32;
/// A longer file is read by itself, as a stream.
const LARGE_BYTES: u64 = 8 << 20;
/// How many events the walk sends at once.
const WALK_BATCH: usize = 64;

/// Takes a snapshot of `source`.
///
/// # Errors
/// DV8xx where the source cannot be read completely (all such files are named), is empty, or overlaps the vault; what
/// opening for writing refuses; DV401 to DV403 where the vault's medium refuses; DV109 where what was written reads
/// back differently.
pub fn run(access: &Access, source: &Path, options: &Options, progress: &dyn Progress) -> Result<Report> {
    let begun = Instant::now();
    progress.phase(Phase::Opening, None, None);
    let source = Source::open(source, options)?;
    let (mut vault, lock) = gate::open_for_writing(access)?;
    source.refuse_inside_vault(&vault)?;
    probe(&*vault.store)?;
    require_space(&*vault.store, vault.config.parameters.pack_bytes)?;
    let host = access.host.identity()?;
    let pool = Pool::new();
    let mut notes = vault.notes.clone();
    let catalog = Catalog::load(&*vault.store, &vault.macs, UseIndex::Yes)
        .map_err(|error| read_error(&*vault.store, layout::PACKS, &error))?;
    note_index(&catalog, &mut notes);
    let index_ignored = !catalog.index.ignored.is_empty();
    let (catalog, read) = vouched_packs(&vault, catalog, &pool, access.clock.now(), &mut notes)?;
    let prior = vault
        .chain
        .snapshots()
        .rev()
        .find(|(_, snapshot)| snapshot.host.id == host.id && snapshot.source == source.bytes());
    let started = access.clock.now();
    let origin = Origin {
        boot: boot_id(),
        host: host.id,
        host_name: host.name.clone(),
        pid: std::process::id(),
        source: shown_path(&source.path),
        started,
    };
    let mut draft = Draft::begin(&vault, &lock, Arc::clone(&catalog), pool.clone(), &origin)?;
    let directory = draft.directory();

    let reader = Arc::new(Reader::new(Arc::clone(&vault.store), Arc::clone(&vault.macs), catalog));
    let mut taker = Taker {
        draft: &mut draft,
        reader: Arc::clone(&reader),
        writer: ListingWriter::new(&vault.config.parameters),
        prior: Prior::new(prior.map(|(_, snapshot)| reader.entries(&pool, &snapshot.lists)), options.reread),
        clock: Arc::clone(&access.clock),
        progress,
        report: Report { notes, ..Report::default() },
        problems: Problems::default(),
        sizes: vault.config.parameters.chunk_sizes(),
    };
    progress.phase(
        Phase::Storing,
        prior.map(|(_, snapshot)| snapshot.counts.files),
        prior.map(|(_, snapshot)| snapshot.counts.bytes),
    );
    let taken = source.take(access, &vault, options, &pool, &mut taker);
    let was_empty = prior.is_none_or(|(_, snapshot)| snapshot.counts.entries() <= 1);
    let taken = taken.and_then(|quiet| {
        taker.problems.refuse(&source.path)?;
        if taker.report.counts.entries() <= 1 && !was_empty && !options.allow_empty {
            return refuse(Code::SourceEmpty, format!("{} is empty now and was not before", shown_path(&source.path)));
        }
        Ok(quiet)
    });
    let Taker { writer, prior, mut report, problems, .. } = taker;
    let trusted = prior.finish(&mut report.notes);
    drop(reader);
    let lists = taken.and_then(|quiet| {
        report.quiet = quiet;
        writer.finish(&mut draft)
    });
    let lists = match lists {
        Ok(lists) => lists,
        Err(error) if ends_outside_the_vault(&error) => return Err(error.written(|| draft.abandon())),
        Err(error) => return Err(error.written(|| format!("{directory} stays as evidence; no snapshot was made"))),
    };

    progress.phase(Phase::Finalizing, None, None);
    let snapshot = Snapshot {
        counts: report.counts,
        ended: access.clock.now(),
        excluded: options.exclude.clone(),
        host,
        left_out: problems.left_out.clone(),
        lists,
        packs: Packs::Direct(Vec::new()),
        program: PROGRAM.to_owned(),
        quiet: report.quiet,
        source: source.bytes().to_vec(),
        started,
        tags: options.tags.clone(),
        unchanged_by: if options.reread { Vec::new() } else { source::unchanged_by() },
    };
    let finalized = draft
        .finalize(snapshot, &vault.chain, vault.config_digest, &read, &trusted)
        .map_err(|error| error.written(|| format!("{directory} stays as evidence; no snapshot was made")))?;

    report.snapshot = finalized.head.number;
    report.vault = Some(vault.config.vault);
    report.source = source.path.clone();
    report.bytes_stored = finalized.bytes_stored;
    report.left_out = problems.left_out;
    report.head = finalized.head.to_string();
    if let Packs::Direct(packs) = &finalized.snapshot.packs {
        let own: HashSet<Digest> = finalized.packs.iter().map(|pack| pack.name).collect();
        let older = packs.iter().filter(|pack| !own.contains(&pack.0));
        report.older_packs = older.clone().count() as u64;
        report.oldest_read = older.map(|pack| pack.2).min();
    }
    keep_index(&vault, &finalized.packs, index_ignored, &mut report.notes);
    remember(access, &mut vault, &mut report.notes);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Adds the new packs to the index, or makes it anew where it was not sound. It is a cache: a failure is a note.
fn keep_index(vault: &Vault, packs: &[IndexedPack], ignored: bool, notes: &mut Vec<String>) {
    if ignored {
        match index::rebuild(&*vault.store, &vault.macs) {
            Ok(_) => notes.push("the index was made anew from the packs".into()),
            Err(NotRebuilt::Medium(error)) => notes.push(format!("the index was not made anew: {error}")),
            Err(NotRebuilt::Findings(_)) => {
                notes.push("the index was not made anew, because not every pack vouches for what it holds".into());
            }
        }
    } else if let Err(error) = index::add(&*vault.store, &vault.macs, packs) {
        notes.push(format!("the index was not written: {error}"));
    }
}

/// Advances the witness to the chain with the new snapshot in it.
fn remember(access: &Access, vault: &mut Vault, notes: &mut Vec<String>) {
    let chain = crate::vault::chain::Chain::read(&*vault.store, &vault.macs, Some(vault.config_digest));
    let advanced =
        chain.map_err(|error| Error::environment("read the chain again", error)).and_then(|chain| {
            match chain.findings.first() {
                Some(finding) => Err(finding.clone().into()),
                None => {
                    let vouched = access.expect_head.is_some();
                    witness::advance(&access.host, &vault.macs, &chain, vouched, access.clock.now())
                }
            }
        });
    if let Err(error) = advanced {
        notes.push(format!("the snapshot is finalized, but the witness was not advanced: {error}"));
    }
}

/// Returns whether a run ends for a reason that leaves no doubt about the vault, so that its staging may go.
fn ends_outside_the_vault(error: &Error) -> bool {
    match error {
        Error::Interrupted(_) => true,
        Error::Refused(refusal) => {
            refusal.code.family() == crate::refusal::Family::Source || refusal.code == Code::NoSpace
        }
        Error::Environment { .. } => false,
    }
}

fn note_index(catalog: &Catalog, notes: &mut Vec<String>) {
    for reason in &catalog.index.ignored {
        notes.push(format!("the index was not used completely: {reason}"));
    }
}

/// Returns when each pack was last read completely, as manifests say.
///
/// A pack that no manifest names is what an earlier run left. It is read completely now, or none of it is used: its
/// footer alone does not tell that its read-back ever ended.
fn vouched_packs(
    vault: &Vault,
    catalog: Catalog,
    pool: &Pool,
    now: Time,
    notes: &mut Vec<String>,
) -> Result<(Arc<Catalog>, BTreeMap<Digest, Time>)> {
    let mut read: BTreeMap<Digest, Time> = BTreeMap::new();
    let reader = Reader::new(Arc::clone(&vault.store), Arc::clone(&vault.macs), Arc::new(catalog));
    for (_, snapshot) in vault.chain.snapshots() {
        for pack in reader.packs(snapshot).unwrap_or_default() {
            let latest = read.entry(pack.0).or_insert(pack.2);
            *latest = (*latest).max(pack.2);
        }
    }
    let mut catalog = Arc::unwrap_or_clone(reader.into_catalog());
    for finding in std::mem::take(&mut catalog.findings) {
        notes.push(format!(
            "{}: {} ({}); none of it is relied on",
            finding.subject,
            finding.code.title(),
            finding.detail
        ));
    }
    let unknown: Vec<Digest> =
        catalog.packs().iter().map(|pack| pack.name).filter(|name| !read.contains_key(name)).collect();
    for name in unknown {
        let path = layout::pack_path(&name);
        let check = check_pack(&*vault.store, &vault.macs, &path, pool, &mut |_| {});
        let durable = || {
            vault
                .store
                .sync_directory(&layout::pack_directory(&name))
                .and_then(|()| vault.store.sync_directory(layout::PACKS))
        };
        match check {
            Ok(check) if check.findings.is_empty() && check.name == Some(name) => {
                durable().map_err(|error| crate::vault::write_error(&*vault.store, &path, &error))?;
                notes.push(format!("{path} was left by an earlier run; it was read completely and is used"));
                read.insert(name, now);
            }
            _ => {
                notes.push(format!("{path} was left by an earlier run and is damaged; none of it is used"));
                catalog.distrust(&name);
            }
        }
    }
    Ok((Arc::new(catalog), read))
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().chars().filter(char::is_ascii_graphic).take(64).collect()
}

/// The directory that is backed up.
struct Source {
    path: PathBuf,
    exclude: Gitignore,
}

impl Source {
    fn open(path: &Path, options: &Options) -> Result<Self> {
        let missing = |error: std::io::Error| {
            Error::from(
                Refusal::new(Code::SourceMissing, format!("{} cannot be backed up", shown_path(path))).cause(error),
            )
        };
        let real = fs::canonicalize(path).map_err(missing)?;
        if !fs::metadata(&real).map_err(missing)?.is_dir() {
            return refuse(Code::SourceMissing, format!("{} is not a directory", shown_path(path)));
        }
        Ok(Self { exclude: source::patterns(&options.exclude)?, path: real })
    }

    fn bytes(&self) -> &[u8] {
        self.path.as_os_str().as_encoded_bytes()
    }

    fn refuse_inside_vault(&self, vault: &Vault) -> Result<()> {
        match vault.store.local_path() {
            Some(place) if self.path.starts_with(place) => {
                refuse(Code::SourceOverlaps, format!("{} lies inside the vault", shown_path(&self.path)))
            }
            _ => Ok(()),
        }
    }

    /// Walks the source and takes everything in it. Returns what a closing look found, if one was asked for.
    fn take(
        &self,
        access: &Access,
        vault: &Vault,
        options: &Options,
        pool: &Pool,
        taker: &mut Taker<'_>,
    ) -> Result<Option<bool>> {
        let rules = Arc::new(Rules::new(self, access, vault));
        let may_change = source::patterns(&options.may_change)?;
        let digest = options.closing_look.then(|| self.look(&rules)).transpose()?;
        let events = self.walk_ahead(&rules)?;
        let mut queue = Queue::new(pool);
        for event in events.iter().flatten() {
            if taker.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            match event {
                Event::Found(found) => {
                    if let Some(reason) = rules.overlap(&found.stat) {
                        let message =
                            format!("{} contains the vault ({reason}) at {}", shown_path(&self.path), found.path);
                        return refuse(Code::SourceOverlaps, message);
                    }
                    taker.look_at(found, &mut queue)?;
                }
                Event::Failed(path, error) => taker.problems.unreadable.push((path, error.to_string())),
            }
            while let Some(result) = queue.ready() {
                taker.take_results(result, &may_change)?;
            }
        }
        queue.flush(taker.sizes, &taker.clock);
        while let Some(result) = queue.next() {
            if taker.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            taker.take_results(result, &may_change)?;
        }
        taker.report.excluded = rules.excluded.load(Ordering::Relaxed);
        for path in rules.protected_seen() {
            taker.report.notes.push(format!("{path} belongs to devvault itself and is not part of the snapshot"));
        }
        let closing = match digest {
            Some(first) => Some(self.look(&rules)? == first),
            None => None,
        };
        Ok(closing)
    }

    /// Returns a digest of everything that the file system says of the source.
    fn look(&self, rules: &Rules) -> Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        let root = self.open_root()?;
        walk(
            root,
            |path, stat| rules.decide(path, stat),
            |event| {
                if let Event::Found(found) = event {
                    hasher.update(found.path.as_bytes()).update(&[0]);
                    hasher.update(
                        format!("{:?}{:?}{:?}{:?}", found.stat.size, found.stat.mtime, found.stat.ctime, found.stat.id)
                            .as_bytes(),
                    );
                    hasher.update(&found.target);
                }
                ControlFlow::Continue(())
            },
        )
        .map_err(|error| self.broken(error))?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    fn open_root(&self) -> Result<Dir> {
        Dir::open(&self.path).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: std::io::Error) -> Error {
        Refusal::new(Code::SourceUnreadable, format!("{} cannot be walked", shown_path(&self.path))).cause(error).into()
    }

    /// Starts the walk on a thread of its own.
    fn walk_ahead(&self, rules: &Arc<Rules>) -> Result<Receiver<Vec<Event>>> {
        let (sender, receiver) = bounded(4);
        let (root, rules) = (self.open_root()?, Arc::clone(rules));
        std::thread::spawn(move || {
            let mut batch = Vec::with_capacity(WALK_BATCH);
            let walked = walk(
                root,
                |path, stat| rules.decide(path, stat),
                |event| {
                    batch.push(event);
                    if batch.len() == WALK_BATCH
                        && sender.send(std::mem::replace(&mut batch, Vec::with_capacity(WALK_BATCH))).is_err()
                    {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                },
            );
            if let Err(error) = walked {
                batch.push(Event::Failed(EntryPath::root(), error));
            }
            let _ = sender.send(batch);
        });
        Ok(receiver)
    }
}

/// What is left out of a source, and why.
struct Rules {
    exclude: Gitignore,
    vault: Option<ObjectId>,
    own: Vec<ObjectId>,
    excluded: AtomicU64,
    seen: std::sync::Mutex<Vec<EntryPath>>,
}

impl Rules {
    fn new(source: &Source, access: &Access, vault: &Vault) -> Self {
        let id = |path: &Path| Dir::open(path).and_then(|dir| dir.stat()).ok().map(|stat| stat.id);
        let mut own: Vec<ObjectId> = access.host.own_directories().into_iter().filter_map(id).collect();
        let key = fs::canonicalize(&vault.key.path).ok().and_then(|path| fs::File::open(path).ok());
        own.extend(key.and_then(|key| crate::fsys::stat_file(&key).ok()).map(|stat| stat.id));
        Self {
            exclude: source.exclude.clone(),
            vault: vault.store.local_path().and_then(id),
            own,
            excluded: AtomicU64::new(0),
            seen: std::sync::Mutex::default(),
        }
    }

    fn decide(&self, path: &EntryPath, stat: &Stat) -> Decision {
        if self.own.contains(&stat.id) {
            self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(path.clone());
            return Decision::Skip;
        }
        if source::matches(&self.exclude, path, stat.kind == ObjectKind::Directory) {
            self.excluded.fetch_add(1, Ordering::Relaxed);
            return Decision::Skip;
        }
        Decision::Take
    }

    fn overlap(&self, stat: &Stat) -> Option<&'static str> {
        (self.vault == Some(stat.id)).then_some("a vault never holds itself")
    }

    fn protected_seen(&self) -> Vec<EntryPath> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        seen.sort();
        seen.dedup();
        seen
    }
}

/// Entries of the previous snapshot of the same source, in step with the walk.
struct Prior<'a> {
    entries: Option<Entries<'a>>,
    current: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
    trusted: HashSet<Digest>,
    reread: bool,
    note: Option<String>,
}

impl<'a> Prior<'a> {
    fn new(entries: Option<Entries<'a>>, reread: bool) -> Self {
        let entries = if reread { None } else { entries };
        Self { entries, current: Vec::new().into_iter(), next: None, trusted: HashSet::new(), reread, note: None }
    }

    /// Returns the previous entry at a path; paths must ascend from call to call.
    fn at(&mut self, path: &EntryPath) -> Option<Entry> {
        if self.reread {
            return None;
        }
        loop {
            if self.next.is_none() {
                self.next = self.current.next();
            }
            match &self.next {
                Some(entry) if entry.path < *path => self.next = None,
                Some(entry) if entry.path == *path => return self.next.take(),
                Some(_) => return None,
                None => match self.entries.as_mut()?.next() {
                    Some(Ok(batch)) => {
                        self.trusted.insert(batch.list);
                        self.trusted.extend(batch.segments);
                        self.current = batch.entries.into_iter();
                    }
                    Some(Err(finding)) => {
                        self.note = Some(format!(
                            "the previous snapshot's list of files cannot be used from some point on ({}); files from there on were read again; run `devvault verify`",
                            finding.code
                        ));
                        self.entries = None;
                    }
                    None => self.entries = None,
                },
            }
        }
    }

    fn finish(self, notes: &mut Vec<String>) -> HashSet<Digest> {
        notes.extend(self.note);
        self.trusted
    }
}

/// Files that stand in the way of a snapshot, complete.
#[derive(Default)]
struct Problems {
    unreadable: Vec<(EntryPath, String)>,
    changing: Vec<(EntryPath, String)>,
    unsupported: Vec<(EntryPath, String)>,
    left_out: Vec<EntryPath>,
}

impl Problems {
    /// Refuses if there is any, with the complete lists; the code is that of the first kind that occurs.
    fn refuse(&self, source: &Path) -> Result<()> {
        let kinds = [
            (Code::SourceUnreadable, &self.unreadable, "cannot be read"),
            (Code::SourceChanging, &self.changing, "keep changing while they are read"),
            (Code::SourceUnsupported, &self.unsupported, "are of a kind that a vault cannot keep yet"),
        ];
        let Some((code, ..)) = kinds.iter().find(|(_, list, _)| !list.is_empty()) else { return Ok(()) };
        let counted: Vec<String> = kinds
            .iter()
            .filter(|(_, list, _)| !list.is_empty())
            .map(|(_, list, what)| format!("{} {what}", list.len()))
            .collect();
        let mut refusal =
            Refusal::new(*code, format!("of the objects in {}, {}", shown_path(source), counted.join(", ")));
        // Results of files come later than those of directories.
        let mut all: Vec<&(EntryPath, String)> = kinds.iter().flat_map(|(_, list, _)| *list).collect();
        all.sort();
        for (path, reason) in all {
            refusal.causes.push(format!("{path}: {reason}"));
            refusal.paths.push(path.clone());
        }
        Err(refusal.into())
    }
}

/// Takes objects in path order and turns them into entries.
struct Taker<'a> {
    draft: &'a mut Draft,
    reader: Arc<Reader>,
    writer: ListingWriter,
    prior: Prior<'a>,
    clock: Arc<dyn Clock>,
    progress: &'a dyn Progress,
    report: Report,
    problems: Problems,
    sizes: [u32; 3],
}

impl Taker<'_> {
    /// Decides what to do with an object: an entry at once, or a job.
    fn look_at(&mut self, found: Found, queue: &mut Queue<'_>) -> Result<()> {
        let before = self.prior.at(&found.path);
        let (mode, mtime) = (found.stat.mode, Some(found.stat.mtime));
        let entry = |kind| Entry { path: found.path.clone(), kind, mode, mtime };
        match found.stat.kind {
            ObjectKind::Directory => queue.push_entry(entry(Kind::Directory), false),
            ObjectKind::Symlink if found.target.is_empty() || found.target.len() > limits::TARGET_BYTES_MAX => {
                self.problems.unsupported.push((found.path, "a link target that is empty or too long".into()));
            }
            // Permission bits of a link mean nothing anywhere that keeps them.
            ObjectKind::Symlink => {
                let link = Kind::Symlink(found.target.clone());
                queue.push_entry(Entry { mode: None, ..entry(link) }, false);
            }
            ObjectKind::File => match before.filter(|before| source::is_unchanged(before, &found.stat)) {
                Some(before) if self.still_holds(&before) => queue.push_entry(Entry { mode, ..before }, true),
                _ => queue.push_read(found, self.sizes, &self.clock),
            },
            other => self.problems.unsupported.push((found.path, format!("a {}", other.name()))),
        }
        Ok(())
    }

    /// Returns whether the vault still vouches for every chunk of a previous entry.
    fn still_holds(&mut self, entry: &Entry) -> bool {
        let Some(file) = entry.file() else { return false };
        match &file.chunks {
            Chunks::Direct(chunks) => chunks.iter().all(|chunk| self.draft.holds(*chunk)),
            Chunks::Listed(lists) => {
                lists.iter().all(|list| self.draft.holds(list.object()))
                    && self.reader.chunks(file).is_ok_and(|chunks| chunks.iter().all(|chunk| self.draft.holds(*chunk)))
            }
        }
    }

    fn take_results(&mut self, results: Results, may_change: &Gitignore) -> Result<()> {
        let Results { items, data } = results;
        for item in items {
            match item {
                Item::Entry(entry, unchanged) => self.add(&entry, unchanged)?,
                Item::Read(path, read) => self.take_read(path, read, &data, may_change)?,
                Item::Large(found) => self.take_large(&found, may_change)?,
                Item::Job(_) => unreachable!("jobs are done before their results are taken"),
            }
        }
        Ok(())
    }

    fn take_read(&mut self, path: EntryPath, read: Read, data: &[u8], may_change: &Gitignore) -> Result<()> {
        match read {
            Read::Whole(whole) => {
                for (chunk, range) in &whole.chunks {
                    self.draft.put(BlockKind::Data, *chunk, &data[range.clone()])?;
                }
                let chunks: Vec<ChunkRef> = whole.chunks.iter().map(|(chunk, _)| *chunk).collect();
                let chunks = self.name_chunks(chunks)?;
                self.add(&whole.entry(path, chunks), false)
            }
            Read::Gone => Ok(()),
            other => {
                self.file_problem(path, other, may_change);
                Ok(())
            }
        }
    }

    fn file_problem(&mut self, path: EntryPath, read: Read, may_change: &Gitignore) {
        match read {
            Read::Changing(_) if source::matches(may_change, &path, false) => self.problems.left_out.push(path),
            Read::Changing(reason) => self.problems.changing.push((path, reason)),
            Read::Failed(reason) => self.problems.unreadable.push((path, reason)),
            Read::Whole(_) | Read::Gone => {}
        }
    }

    /// Reads a large file as a stream; its chunks go into the draft as they come.
    fn take_large(&mut self, found: &Found, may_change: &Gitignore) -> Result<()> {
        let (draft, progress) = (&mut *self.draft, self.progress);
        let mut advanced = 0;
        let read = source::read_large(found, self.sizes, &*self.clock, |chunk, bytes| {
            if progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            advanced += bytes.len() as u64;
            progress.advance(0, bytes.len() as u64);
            draft.put(BlockKind::Data, chunk, bytes).map(|_| ())
        })?;
        match read {
            Read::Whole(whole) => {
                let chunks = self.name_chunks(whole.chunks.iter().map(|(chunk, _)| *chunk).collect())?;
                let entry = whole.entry(found.path.clone(), chunks);
                self.count(&entry);
                self.progress.advance(1, whole.size.saturating_sub(advanced));
                self.writer.push(self.draft, &entry)
            }
            other => {
                self.file_problem(found.path.clone(), other, may_change);
                Ok(())
            }
        }
    }

    /// Names the chunks of a file directly, or by lists where they are many.
    fn name_chunks(&mut self, chunks: Vec<ChunkRef>) -> Result<Chunks> {
        if chunks.len() <= limits::ENTRY_CHUNKS_MAX {
            return Ok(Chunks::Direct(chunks));
        }
        let mut lists = Vec::new();
        for part in source::list_parts(&chunks) {
            let bytes = encode_chunk_list(part);
            let object = reference(&bytes);
            self.draft.put(BlockKind::Listing, object, &bytes)?;
            let content = part.iter().map(|chunk| u64::from(chunk.length())).sum();
            lists.push(ListRef(object.id(), object.length(), content));
        }
        if lists.len() > limits::ENTRY_LISTS_MAX {
            return refuse(Code::SourceUnsupported, "a file has more chunks than a vault can list");
        }
        Ok(Chunks::Listed(lists))
    }

    fn add(&mut self, entry: &Entry, unchanged: bool) -> Result<()> {
        self.count(entry);
        if let Some(file) = entry.file() {
            self.report.files_unchanged += u64::from(unchanged);
            self.progress.advance(1, file.size);
        }
        self.writer.push(self.draft, entry)
    }

    fn count(&mut self, entry: &Entry) {
        let counts = &mut self.report.counts;
        match &entry.kind {
            Kind::Directory => counts.directories += 1,
            Kind::Symlink(_) => counts.symlinks += 1,
            Kind::File(FileContent { size, .. }) => {
                counts.files += 1;
                counts.bytes += size;
            }
        }
    }
}

/// Something in path order.
enum Item {
    /// An entry that needs nothing more, and whether it is an unchanged file.
    Entry(Entry, bool),
    /// A file to read.
    Job(ReadJob),
    /// A file that was read.
    Read(EntryPath, Read),
    /// A file that is read by itself.
    Large(Found),
}

/// Items whose files have been read, and what was read.
struct Results {
    items: Vec<Item>,
    data: Vec<u8>,
}

enum Slot {
    Ready(Results),
    Reading(Task<Results>),
}

/// Objects in path order, whose files are read ahead on the pool.
struct Queue<'a> {
    pool: &'a Pool,
    slots: VecDeque<Slot>,
    open: Vec<Item>,
    jobs: usize,
    bytes: u64,
    directories: usize,
    last_directory: Option<Arc<Dir>>,
}

impl<'a> Queue<'a> {
    fn new(pool: &'a Pool) -> Self {
        Self { pool, slots: VecDeque::new(), open: Vec::new(), jobs: 0, bytes: 0, directories: 0, last_directory: None }
    }

    fn push_entry(&mut self, entry: Entry, unchanged: bool) {
        self.open.push(Item::Entry(entry, unchanged));
        if self.jobs == 0 && self.open.len() >= 4 * BATCH_FILES {
            let items = std::mem::take(&mut self.open);
            self.slots.push_back(Slot::Ready(Results { items, data: Vec::new() }));
        }
    }

    fn push_read(&mut self, found: Found, sizes: [u32; 3], clock: &Arc<dyn Clock>) {
        if found.stat.size > LARGE_BYTES {
            self.flush(sizes, clock);
            self.slots.push_back(Slot::Ready(Results { items: vec![Item::Large(found)], data: Vec::new() }));
            return;
        }
        if !self.last_directory.as_ref().is_some_and(|last| Arc::ptr_eq(last, &found.dir)) {
            self.last_directory = Some(Arc::clone(&found.dir));
            self.directories += 1;
        }
        self.jobs += 1;
        self.bytes += found.stat.size;
        self.open.push(Item::Job(ReadJob::new(found)));
        if self.bytes >= BATCH_BYTES || self.jobs >= BATCH_FILES || self.directories >= BATCH_DIRECTORIES {
            self.flush(sizes, clock);
        }
    }

    /// Closes the open batch and has its files read.
    fn flush(&mut self, sizes: [u32; 3], clock: &Arc<dyn Clock>) {
        let items = std::mem::take(&mut self.open);
        let (jobs, bytes) = (self.jobs, self.bytes);
        (self.jobs, self.bytes, self.directories, self.last_directory) = (0, 0, 0, None);
        if items.is_empty() {
            return;
        }
        if jobs == 0 {
            self.slots.push_back(Slot::Ready(Results { items, data: Vec::new() }));
            return;
        }
        let clock = Arc::clone(clock);
        self.slots.push_back(Slot::Reading(self.pool.spawn(move || {
            let mut data = Vec::with_capacity(bytes as usize + 4096);
            let read = |item| match item {
                Item::Job(job) => {
                    let ReadResult { path, read } = source::read_small(job, sizes, &*clock, &mut data);
                    Item::Read(path, read)
                }
                other => other,
            };
            let items = items.into_iter().map(read).collect();
            Results { items, data }
        })));
    }

    /// Returns the oldest results if they are there, or if too much is under way to go on without them.
    fn ready(&mut self) -> Option<Results> {
        let reading = self.slots.iter().filter(|slot| matches!(slot, Slot::Reading(_))).count();
        match self.slots.front() {
            Some(Slot::Ready(_)) => self.next(),
            Some(Slot::Reading(task)) if task.is_done() || reading > self.pool.threads() + 4 => self.next(),
            _ => None,
        }
    }

    /// Waits for the oldest results.
    fn next(&mut self) -> Option<Results> {
        Some(match self.slots.pop_front()? {
            Slot::Ready(results) => results,
            Slot::Reading(task) => task.wait(),
        })
    }
}
