//! `restore`: puts a snapshot, or a part of it, into an absent or empty directory, and proves what it wrote.
//!
//! Everything is written into a staging directory beside the destination, read back from the file system and compared
//! with the authenticated listing, and made durable, before one rename puts it in place. Until then the destination is
//! untouched; on failure the staging directory stays as evidence and is named.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::select::{self, Place as Selection};
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::entry::{ChunkRef, Chunks, Entry, Kind};
use crate::format::record::{Counts, Snapshot};
use crate::fsys::walk::{Decision, Event, Found, walk};
use crate::fsys::{self, Dir, ObjectKind};
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Family, Refusal};
use crate::vault::catalog::{Catalog, Place, UseIndex};
use crate::vault::gate::{self, Access, Vault};
use crate::vault::read::Reader;
use crate::vault::witness::Freshness;
use crate::vault::{Finding, layout, read_error};

/// What the caller may choose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Drop restored files from memory before they are read back, so that the comparison reads the medium.
    pub from_medium: bool,
}

/// What `restore` did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The snapshot's number.
    pub snapshot: u64,
    /// The vault's id.
    pub vault: Id,
    /// Which part of it was restored; the root for all.
    pub path: EntryPath,
    /// Where it is now.
    pub destination: PathBuf,
    /// How much was restored.
    pub counts: Counts,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// Whether what was written was read back and compared; always true in a report.
    pub verified: bool,
    /// Where the comparison read from: `page cache` or `medium`.
    pub compared_from: &'static str,
    /// Seconds from start to end.
    pub seconds: f64,
    /// What should be said besides, in words.
    pub notes: Vec<String>,
}

/// How many entries are planned at once: bounds memory, whatever the snapshot's size.
const WINDOW_ENTRIES: usize = 100_000;
/// How many chunks are planned at once.
const WINDOW_CHUNKS: usize = 400_000;
/// How many bytes of files are compared in one job.
const COMPARE_BYTES: u64 = 1 << 20;
/// How many files are compared in one job.
const COMPARE_FILES: usize = 256;
/// How many directories a thread keeps open.
const OPEN_DIRECTORIES_MAX: usize = 32;

/// Restores a snapshot or a part of it.
///
/// # Errors
/// DV2xx before the first byte where the destination is not safe, DV1xx where content is missing or damaged, DV208 where
/// what was written reads back differently, DV209 where the destination changed meanwhile; what opening the vault
/// refuses.
pub fn run(
    access: &Access,
    selection: &Selection,
    destination: &Path,
    options: Options,
    progress: &dyn Progress,
) -> Result<Report> {
    let begun = Instant::now();
    progress.phase(Phase::Opening, None, None);
    let mut vault = gate::open(access)?;
    let _lock = gate::read_lock(&*vault.store)?;
    let (number, snapshot) = select::select(&vault, &selection.snapshot)?;
    let target = Target::preflight(destination, &vault)?;
    let pool = Pool::new();
    let mut notes = vault.notes.clone();
    let mut reader = Arc::new(open_reader(&vault, UseIndex::Yes)?);
    let index = &reader.catalog().index;
    notes.extend(index.ignored.iter().map(|reason| format!("the index was not used completely: {reason}")));
    let indexed = index.packs_indexed > 0;
    let look =
        |reader: &Arc<Reader>| Part { reader, pool: &pool, snapshot, selection: &selection.path }.preflight(&target);
    let counts = match look(&reader) {
        Err(error) if indexed && error.code().is_some_and(|code| code.family() == Family::SnapshotIntegrity) => {
            // The index may be what is wrong: the packs themselves decide.
            reader = Arc::new(open_reader(&vault, UseIndex::No)?);
            let counts = look(&reader)?;
            notes.push(INDEX_WRONG.into());
            counts
        }
        other => other?,
    };
    let part = Part { reader: &reader, pool: &pool, snapshot, selection: &selection.path };

    let staging = target.stage()?;
    let written = part
        .write(&staging, counts, progress)
        .and_then(|()| staging.sync(progress))
        .and_then(|()| part.compare(&target, &staging, options, counts, progress))
        .and_then(|()| target.publish(&staging));
    written.map_err(|error| {
        error.written(|| {
            format!(
                "{} holds what was written so far and stays as evidence; {} is untouched",
                shown_path(&staging.path),
                shown_path(&target.path)
            )
        })
    })?;

    if reader.index_was_wrong() {
        notes.push(INDEX_WRONG.into());
    }
    if target.existed {
        notes.push(
            "the empty destination was replaced by the restored directory; it is a new object of the same name".into(),
        );
    }
    if !vault.chain.findings.is_empty() {
        notes.push("the chain has findings elsewhere; this snapshot authenticates and was restored completely; run `devvault verify`".into());
    }
    let vault_id = vault.config.vault;
    let path = selection.path.clone();
    vault.advance_witness(access);
    notes.extend(vault.notes.drain(..).filter(|note| note.starts_with("the witness")));
    Ok(Report {
        snapshot: number,
        vault: vault_id,
        path,
        destination: target.path.clone(),
        counts,
        freshness: vault.freshness,
        verified: true,
        compared_from: if options.from_medium { "medium" } else { "page cache" },
        seconds: begun.elapsed().as_secs_f64(),
        notes,
    })
}

const INDEX_WRONG: &str = "the index was wrong about where content lies and was ignored; \
    `devvault index rebuild` makes it anew";

fn open_reader(vault: &Vault, use_index: UseIndex) -> Result<Reader> {
    let catalog = Catalog::load(&*vault.store, &vault.macs, use_index)
        .map_err(|error| read_error(&*vault.store, layout::PACKS, &error))?;
    Ok(Reader::new(Arc::clone(&vault.store), Arc::clone(&vault.macs), Arc::new(catalog)))
}

/// A destination that was found safe.
struct Target {
    path: PathBuf,
    name: Vec<u8>,
    parent: Dir,
    parent_path: PathBuf,
    existed: bool,
}

impl Target {
    /// Refuses every destination that a restore could put at risk; changes nothing.
    fn preflight(destination: &Path, vault: &Vault) -> Result<Self> {
        let shown = shown_path(destination);
        let name = destination
            .file_name()
            .ok_or_else(|| Refusal::new(Code::DestinationNotPlain, format!("{shown} names no directory of its own")))?;
        let parent_path = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent_refusal = |error: &io::Error| {
            Refusal::new(Code::DestinationParent, format!("{} cannot be used", shown_path(parent_path))).cause(error)
        };
        let parent_path = fs::canonicalize(parent_path).map_err(|error| parent_refusal(&error))?;
        let parent = Dir::open(&parent_path).map_err(|error| parent_refusal(&error))?;
        let path = parent_path.join(name);
        let name = name.as_encoded_bytes().to_vec();
        let existed = Self::look(&parent, &name, &shown)?;
        if let Some(place) = vault.store.local_path()
            && (path.starts_with(place) || place.starts_with(&path))
        {
            return refuse(Code::DestinationOverlaps, format!("{shown} overlaps the vault {}", shown_path(place)));
        }
        if !parent.is_writable() {
            return refuse(Code::DestinationParent, format!("{} is not writable", shown_path(&parent_path)));
        }
        Ok(Self { path, name, parent, parent_path, existed })
    }

    /// Returns whether the destination exists; anything but an empty plain directory is refused.
    fn look(parent: &Dir, name: &[u8], shown: &str) -> Result<bool> {
        let stat = match parent.stat_at(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| Error::environment(format!("look at {shown}"), error))?,
        };
        if stat.kind != ObjectKind::Directory {
            return refuse(Code::DestinationNotPlain, format!("{shown} is a {}, not a directory", stat.kind.name()));
        }
        let above = parent.stat().map_err(|error| Error::environment(format!("look at {shown}"), error))?;
        if above.id.device != stat.id.device || above.id == stat.id {
            return Err(Refusal::new(Code::DestinationIsMount, format!("{shown} is a mount point or a volume root"))
                .next(format!("restore into a new subdirectory of it: {shown}/restored"))
                .into());
        }
        let dir = parent.open_dir(name).map_err(|error| Error::environment(format!("open {shown}"), error))?;
        let names = dir.names().map_err(|error| Error::environment(format!("list {shown}"), error))?;
        match names.first() {
            None => Ok(true),
            Some(first) => Err(Refusal::new(Code::DestinationNotEmpty, format!("{shown} is not empty"))
                .cause(format!(
                    "it holds {}{}",
                    crate::path::shown(first),
                    if names.len() > 1 { " and more" } else { "" }
                ))
                .into()),
        }
    }

    /// Makes the staging directory beside the destination.
    fn stage(&self) -> Result<Staging> {
        let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
        let id = id.to_string();
        // Named after the destination where that is plain text; short enough for every file system.
        let stem = std::str::from_utf8(&self.name).ok().filter(|name| name.len() <= 180).unwrap_or("destination");
        let name = format!(".{stem}.devvault-restoring-{}", &id[..12]).into_bytes();
        let path = self.parent_path.join(String::from_utf8_lossy(&name).as_ref());
        let made = self.parent.create_dir(&name).and_then(|()| self.parent.open_dir(&name));
        let root = made.map_err(|error| {
            Refusal::new(
                Code::DestinationParent,
                format!("no directory can be made in {}", shown_path(&self.parent_path)),
            )
            .cause(error)
        })?;
        Ok(Staging { name, path, root: Arc::new(root) })
    }

    /// Renames the staging directory over the destination, which must still be absent or empty.
    fn publish(&self, staging: &Staging) -> Result<()> {
        self.parent.rename_over_empty(&staging.name, &self.name).map_err(|error| {
            Refusal::new(Code::DestinationChanged, format!("{} is no longer absent or empty", shown_path(&self.path)))
                .cause(error)
        })?;
        self.parent.sync().map_err(|error| Error::environment(format!("sync {}", shown_path(&self.parent_path)), error))
    }
}

/// The directory in which everything is written first.
struct Staging {
    name: Vec<u8>,
    path: PathBuf,
    root: Arc<Dir>,
}

impl Staging {
    fn sync(&self, progress: &dyn Progress) -> Result<()> {
        progress.phase(Phase::Syncing, None, None);
        fsys::sync_filesystem(&self.root)
            .map(|_| ())
            .map_err(|error| Error::environment(format!("sync {}", shown_path(&self.path)), error))
    }
}

/// A part of a snapshot.
struct Part<'a> {
    reader: &'a Arc<Reader>,
    pool: &'a Pool,
    snapshot: &'a Snapshot,
    selection: &'a EntryPath,
}

impl Part<'_> {
    /// Hands on every entry of the part in path order, each with its path below the destination.
    fn each(&self, mut take: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        let mut single = None;
        for batch in self.reader.entries_within(self.pool, &self.snapshot.lists, self.selection) {
            for entry in batch?.entries {
                if single.is_none() {
                    // What is not a directory is restored under its own name.
                    single = Some(!entry.is_directory());
                }
                let path = match single {
                    Some(true) => EntryPath::root().join(self.selection.name()),
                    _ => EntryPath::parse(below(&entry.path, self.selection)),
                };
                let path = path
                    .map_err(|error| Error::from(Finding::new(Code::ListingUnsafe, entry.path.to_string(), error)))?;
                take(Entry { path, ..entry })?;
            }
        }
        Ok(())
    }

    /// Refuses before the first byte what could not be completed: content that is missing, names that the target
    /// cannot hold, too little room.
    fn preflight(&self, target: &Target) -> Result<Counts> {
        let mut counts = Counts::default();
        let mut unfit: Vec<(EntryPath, String)> = Vec::new();
        let mut missing: Option<(ChunkRef, Vec<EntryPath>)> = None;
        self.each(|entry| {
            if let Some(reason) = unfit_name(entry.path.name()) {
                unfit.push((entry.path.clone(), reason));
            }
            match &entry.kind {
                Kind::Directory => counts.directories += 1,
                Kind::Symlink(_) => counts.symlinks += 1,
                Kind::File(file) => {
                    counts.files += 1;
                    counts.bytes = counts.bytes.saturating_add(file.size);
                    for chunk in self.reader.chunks(file)? {
                        if !self.reader.catalog().holds(chunk) {
                            missing.get_or_insert_with(|| (chunk, Vec::new())).1.push(entry.path.clone());
                            break;
                        }
                    }
                }
            }
            Ok(())
        })?;
        if counts.entries() == 0 {
            return refuse(Code::SelectionEmpty, format!("the snapshot holds no {}", self.selection));
        }
        if self.selection.is_root() && counts != self.snapshot.counts {
            let detail = format!("its entries are {counts:?}, its manifest says {:?}", self.snapshot.counts);
            return Err(Finding::new(Code::ListingUnsafe, "the snapshot", detail).into());
        }
        if let Some((chunk, paths)) = missing {
            let message = format!("content of {} file(s) is missing from the vault", paths.len());
            return Err(Refusal::new(Code::ChunkMissing, message)
                .cause(format!("no pack with an authentic footer holds chunk {}", chunk.id()))
                .paths(paths)
                .into());
        }
        if !unfit.is_empty() {
            let mut refusal = Refusal::new(
                Code::TargetCannotRepresent,
                format!("{} name(s) cannot exist on this system", unfit.len()),
            );
            for (path, reason) in unfit {
                refusal.causes.push(format!("{path}: {reason}"));
                refusal.paths.push(path);
            }
            return Err(refusal.into());
        }
        let available = fs2::available_space(&target.parent_path).unwrap_or(u64::MAX);
        // A file takes whole blocks, and a name takes room too.
        let needed = counts.bytes.saturating_add(counts.entries().saturating_mul(4096));
        if available < needed {
            let message =
                format!("{} has {available} bytes free, about {needed} are needed", shown_path(&target.parent_path));
            return refuse(Code::DestinationSpace, message);
        }
        Ok(counts)
    }

    /// Writes everything: directories and files first, then links, metadata of directories last.
    fn write(&self, staging: &Staging, counts: Counts, progress: &dyn Progress) -> Result<()> {
        progress.phase(Phase::Restoring, Some(counts.files), Some(counts.bytes));
        let mut writer = TreeWriter::new(staging, Arc::clone(self.reader), self.pool.clone(), progress);
        self.each(|entry| writer.take(entry))?;
        writer.finish()
    }

    /// Reads everything back through directory handles and holds it against the listing.
    fn compare(
        &self,
        target: &Target,
        staging: &Staging,
        options: Options,
        counts: Counts,
        progress: &dyn Progress,
    ) -> Result<()> {
        progress.phase(Phase::Comparing, Some(counts.files), Some(counts.bytes));
        let root = target
            .parent
            .open_dir(&staging.name)
            .map_err(|error| Error::environment(format!("open {}", shown_path(&staging.path)), error))?;
        let same = root.stat().and_then(|stat| Ok(stat.id == staging.root.stat()?.id));
        if !same.map_err(|error| Error::environment("look at the staging directory", error))? {
            return refuse(
                Code::DestinationChanged,
                format!("{} was replaced during the restore", shown_path(&staging.path)),
            );
        }
        let (sender, events) = crossbeam_channel::bounded(1024);
        let walker = std::thread::spawn(move || {
            walk(
                root,
                |_, _| Decision::Take,
                |event| if sender.send(event).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) },
            )
        });
        let mut comparer = Comparer::new(self.reader, self.pool, options, progress);
        let compared = self.each(|entry| comparer.take(entry, &events)).and_then(|()| comparer.finish(&events));
        drop(events);
        let walked = walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        compared?;
        walked.map_err(|error| Error::environment(format!("walk {}", shown_path(&staging.path)), error))
    }
}

fn below<'a>(path: &'a EntryPath, selection: &EntryPath) -> &'a [u8] {
    let rest = &path.as_bytes()[selection.as_bytes().len()..];
    rest.strip_prefix(b"/").unwrap_or(rest)
}

/// Returns why a name cannot exist on this system, if it cannot.
fn unfit_name(name: &[u8]) -> Option<String> {
    if cfg!(windows) { unfit_on_windows(name) } else { (name.len() > 255).then(|| "longer than 255 bytes".into()) }
}

/// Windows refuses some characters and endings, and gives some names to devices.
fn unfit_on_windows(name: &[u8]) -> Option<String> {
    let bad = |byte: &&u8| **byte < 0x20 || b"<>:\"/\\|?*".contains(byte);
    if let Some(byte) = name.iter().find(bad) {
        return Some(format!("Windows does not allow {:?} in a name", char::from(*byte)));
    }
    if name.ends_with(b".") || name.ends_with(b" ") {
        return Some("Windows drops a dot or space at the end of a name".into());
    }
    let stem = name.split(|&byte| byte == b'.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered =
        |prefix: &[u8]| stem.len() == 4 && stem.starts_with(prefix) && stem[3].is_ascii_digit() && stem[3] != b'0';
    let device = [&b"CON"[..], b"PRN", b"AUX", b"NUL"].contains(&&stem[..]) || numbered(b"COM") || numbered(b"LPT");
    if device {
        return Some("Windows gives this name to a device".into());
    }
    (String::from_utf8_lossy(name).encode_utf16().count() > 255).then(|| "longer than 255 UTF-16 units".into())
}

fn failed(path: &EntryPath, what: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Refusal::new(Code::DestinationSpace, format!("the target is full at {path}")).cause(error).into()
        }
        io::ErrorKind::AlreadyExists => Refusal::new(
            Code::TargetCannotRepresent,
            format!("{path} exists already: the target takes two names of the snapshot for one, or another process writes there"),
        )
        .paths(vec![path.clone()])
        .into(),
        io::ErrorKind::InvalidFilename => {
            Refusal::new(Code::TargetCannotRepresent, format!("the target does not take the name of {path}")).cause(error).paths(vec![path.clone()]).into()
        }
        _ => Error::environment(format!("{what} {path}"), error),
    }
}

/// Opens directories below a root, keeping the most recent ones open.
struct Directories {
    root: Arc<Dir>,
    recent: VecDeque<(EntryPath, Arc<Dir>)>,
}

impl Directories {
    fn new(root: Arc<Dir>) -> Self {
        Self { root, recent: VecDeque::new() }
    }

    fn get(&mut self, path: &EntryPath) -> io::Result<Arc<Dir>> {
        if path.is_root() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((_, dir)) = self.recent.iter().find(|(known, _)| known == path) {
            return Ok(Arc::clone(dir));
        }
        // From the nearest directory above that is open, one name at a time.
        let mut names = vec![path.name().to_vec()];
        let mut above = path.parent().unwrap_or_default();
        let mut dir = loop {
            if above.is_root() {
                break Arc::clone(&self.root);
            }
            if let Some((_, dir)) = self.recent.iter().find(|(known, _)| *known == above) {
                break Arc::clone(dir);
            }
            names.push(above.name().to_vec());
            above = above.parent().unwrap_or_default();
        };
        for name in names.iter().rev() {
            dir = Arc::new(dir.open_dir(name)?);
        }
        if self.recent.len() >= OPEN_DIRECTORIES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((path.clone(), Arc::clone(&dir)));
        Ok(dir)
    }
}

/// Where a chunk goes.
struct Aim {
    place: Place,
    file: u32,
    offset: u64,
}

/// A file of the window that is being planned.
struct Planned {
    path: EntryPath,
    mode: Option<u32>,
    mtime: Option<crate::clock::Time>,
    size: u64,
    chunks: u32,
}

/// Writes entries that come in path order: directories at once, files by window and block, the rest at the end.
struct TreeWriter<'a> {
    staging: &'a Staging,
    reader: Arc<Reader>,
    pool: Pool,
    progress: &'a dyn Progress,
    directories: Directories,
    // Ascending; their metadata is set last, deepest first.
    metadata: Vec<(EntryPath, Option<u32>, Option<crate::clock::Time>)>,
    links: Vec<(EntryPath, Vec<u8>, Option<crate::clock::Time>)>,
    files: Vec<Planned>,
    aims: Vec<Aim>,
}

impl<'a> TreeWriter<'a> {
    fn new(staging: &'a Staging, reader: Arc<Reader>, pool: Pool, progress: &'a dyn Progress) -> Self {
        Self {
            directories: Directories::new(Arc::clone(&staging.root)),
            staging,
            reader,
            pool,
            progress,
            metadata: Vec::new(),
            links: Vec::new(),
            files: Vec::new(),
            aims: Vec::new(),
        }
    }

    fn take(&mut self, entry: Entry) -> Result<()> {
        match &entry.kind {
            Kind::Directory => {
                if !entry.path.is_root() {
                    let parent = entry.path.parent().unwrap_or_default();
                    self.directories
                        .get(&parent)
                        .and_then(|dir| dir.create_dir(entry.path.name()))
                        .map_err(|error| failed(&entry.path, "create the directory", error))?;
                }
                self.metadata.push((entry.path, entry.mode, entry.mtime));
            }
            Kind::Symlink(target) => self.links.push((entry.path, target.clone(), entry.mtime)),
            Kind::File(file) => {
                let chunks = match &file.chunks {
                    Chunks::Direct(chunks) => chunks.clone(),
                    Chunks::Listed(_) => self.reader.chunks(file)?,
                };
                let number = u32::try_from(self.files.len()).expect("a window is bounded");
                let mut offset = 0;
                for chunk in &chunks {
                    let place = self.reader.catalog().places(*chunk).next().copied().ok_or_else(|| {
                        Finding::new(
                            Code::ChunkMissing,
                            entry.path.to_string(),
                            format!("no pack holds chunk {}", chunk.id()),
                        )
                    })?;
                    self.aims.push(Aim { place, file: number, offset });
                    offset += u64::from(chunk.length());
                }
                let chunks = u32::try_from(chunks.len())
                    .map_err(|error| failed(&entry.path, "plan", io::Error::other(error)))?;
                self.files.push(Planned {
                    path: entry.path,
                    mode: entry.mode,
                    mtime: entry.mtime,
                    size: file.size,
                    chunks,
                });
            }
        }
        if self.files.len() >= WINDOW_ENTRIES || self.aims.len() >= WINDOW_CHUNKS {
            self.write_window()
        } else {
            Ok(())
        }
    }

    /// Writes the planned files, each block decoded once: files of one chunk in one go, others piece by piece.
    fn write_window(&mut self) -> Result<()> {
        let files = Arc::new(std::mem::take(&mut self.files));
        let mut aims = std::mem::take(&mut self.aims);
        for file in files.iter().filter(|file| file.chunks != 1) {
            create_sparse(&mut self.directories, file)?;
        }
        aims.sort_unstable_by_key(|aim| (aim.place.block, aim.place.offset, aim.file, aim.offset));
        let mut under_way: VecDeque<Task<Result<u64>>> = VecDeque::new();
        let mut rest = &aims[..];
        while let Some(first) = rest.first() {
            if self.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            let count = rest.partition_point(|aim| aim.place.block <= first.place.block);
            let (job, after) = rest.split_at(count);
            rest = after;
            let job: Vec<Aim> = job.iter().map(|aim| Aim { ..*aim }).collect();
            let (reader, files, root) = (Arc::clone(&self.reader), Arc::clone(&files), Arc::clone(&self.staging.root));
            let done = job.iter().filter(|aim| files[aim.file as usize].chunks == 1).count();
            under_way.push_back(self.pool.spawn(move || write_block(&reader, &files, &job, root)));
            self.progress.advance(done as u64, 0);
            if under_way.len() > self.pool.threads() + 4 {
                self.take_written(&mut under_way)?;
            }
        }
        while !under_way.is_empty() {
            self.take_written(&mut under_way)?;
        }
        for file in files.iter().filter(|file| file.chunks > 1) {
            self.finish_pieces(file)?;
            self.progress.advance(1, 0);
        }
        Ok(())
    }

    fn take_written(&self, under_way: &mut VecDeque<Task<Result<u64>>>) -> Result<()> {
        let Some(task) = under_way.pop_front() else { return Ok(()) };
        let bytes = task.wait()?;
        self.progress.advance(0, bytes);
        Ok(())
    }

    fn finish_pieces(&mut self, file: &Planned) -> Result<()> {
        let parent = file.path.parent().unwrap_or_default();
        self.directories
            .get(&parent)
            .and_then(|dir| dir.reopen_file(file.path.name()))
            .and_then(|open| finish_file(&open, file))
            .map_err(|error| failed(&file.path, "finish", error))
    }

    fn finish(mut self) -> Result<()> {
        self.write_window()?;
        for (path, target, mtime) in std::mem::take(&mut self.links) {
            let parent = path.parent().unwrap_or_default();
            self.directories
                .get(&parent)
                .and_then(|dir| {
                    dir.create_symlink(&target, path.name())?;
                    dir.set_symlink_meta(path.name(), mtime)
                })
                .map_err(|error| failed(&path, "create the link", error))?;
        }
        // Deepest first: what lies above may become unreadable, and its time changes with what is made in it.
        for (path, mode, mtime) in std::mem::take(&mut self.metadata).into_iter().rev() {
            self.directories
                .get(&path)
                .and_then(|dir| {
                    dir.set_meta(mode, mtime)?;
                    if fsys::SYNCS_WHOLE_FILESYSTEMS { Ok(()) } else { dir.sync() }
                })
                .map_err(|error| failed(&path, "set the metadata of", error))?;
        }
        Ok(())
    }
}

/// Creates a file that is empty or comes in pieces.
fn create_sparse(directories: &mut Directories, file: &Planned) -> Result<()> {
    let parent = file.path.parent().unwrap_or_default();
    directories
        .get(&parent)
        .and_then(|dir| dir.create_file(file.path.name()))
        .and_then(|open| {
            if file.chunks == 0 {
                return finish_file(&open, file);
            }
            open.set_len(file.size)
        })
        .map_err(|error| failed(&file.path, "create", error))
}

/// Sets a complete file's metadata, and makes it durable where that cannot be done for all files at once.
fn finish_file(open: &fs::File, file: &Planned) -> io::Result<()> {
    Dir::set_file_meta(open, file.mode, file.mtime)?;
    if fsys::SYNCS_WHOLE_FILESYSTEMS { Ok(()) } else { open.sync_all() }
}

/// Writes every chunk of one block to where it belongs; the chunk's hash has matched before.
fn write_block(reader: &Reader, files: &[Planned], aims: &[Aim], root: Arc<Dir>) -> Result<u64> {
    let Some(first) = aims.first() else { return Ok(0) };
    let block = reader.load_block(first.place.block);
    let mut directories = Directories::new(root);
    let mut total = 0;
    let mut verified: Option<(u32, Digest)> = None;
    for aim in aims {
        let file = &files[aim.file as usize];
        let elsewhere;
        let bytes = match &block {
            // The same bytes go to several files; they are hashed once.
            Ok(block) if verified == Some((aim.place.offset, aim.place.id)) => {
                &block[aim.place.offset as usize..aim.place.offset as usize + aim.place.length as usize]
            }
            Ok(block) => match reader.slice(block, &aim.place) {
                Ok(bytes) => {
                    verified = Some((aim.place.offset, aim.place.id));
                    bytes
                }
                Err(_) => {
                    elsewhere = recover(reader, aim, file)?;
                    &elsewhere
                }
            },
            Err(_) => {
                elsewhere = recover(reader, aim, file)?;
                &elsewhere
            }
        };
        write_piece(&mut directories, file, aim.offset, bytes).map_err(|error| failed(&file.path, "write", error))?;
        total += bytes.len() as u64;
    }
    Ok(total)
}

/// Tries every place of a chunk before it is given up.
fn recover(reader: &Reader, aim: &Aim, file: &Planned) -> Result<Vec<u8>> {
    reader.chunk(ChunkRef(aim.place.id, aim.place.length)).map_err(|mut finding| {
        finding.paths.push(file.path.clone());
        Error::from(finding)
    })
}

fn write_piece(directories: &mut Directories, file: &Planned, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use io::{Seek, Write};
    let dir = directories.get(&file.path.parent().unwrap_or_default())?;
    if file.chunks == 1 {
        let mut open = dir.create_file(file.path.name())?;
        open.write_all(bytes)?;
        return finish_file(&open, file);
    }
    let mut open = dir.reopen_file(file.path.name())?;
    open.seek(io::SeekFrom::Start(offset))?;
    open.write_all(bytes)
}

/// A file whose content is to be read back.
struct Check {
    path: EntryPath,
    dir: Arc<Dir>,
    size: u64,
    chunks: Vec<ChunkRef>,
}

/// Holds what is found below the staging directory against the listing.
struct Comparer<'a> {
    reader: &'a Arc<Reader>,
    pool: &'a Pool,
    options: Options,
    progress: &'a dyn Progress,
    differences: BTreeMap<EntryPath, String>,
    open: Vec<Check>,
    bytes: u64,
    under_way: VecDeque<Task<Compared>>,
}

/// Files and bytes read back, and what differs.
type Compared = (u64, u64, Vec<(EntryPath, String)>);

/// How many differences are worth collecting before the restore is refused.
const DIFFERENCES_MAX: usize = 1_000;

impl<'a> Comparer<'a> {
    fn new(reader: &'a Arc<Reader>, pool: &'a Pool, options: Options, progress: &'a dyn Progress) -> Self {
        Self {
            reader,
            pool,
            options,
            progress,
            differences: BTreeMap::new(),
            open: Vec::new(),
            bytes: 0,
            under_way: VecDeque::new(),
        }
    }

    fn differs(&mut self, path: EntryPath, what: impl Into<String>) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.insert(path, what.into());
        }
    }

    /// Compares the next entry with the next thing found; both come in path order.
    fn take(&mut self, entry: Entry, events: &crossbeam_channel::Receiver<Event>) -> Result<()> {
        if self.progress.interrupted() {
            return Err(Error::Interrupted(None));
        }
        // A single file is restored into a directory that stands for nothing in the snapshot.
        let mut next = events.recv();
        if !entry.path.is_root() && matches!(&next, Ok(Event::Found(found)) if found.path.is_root()) {
            next = events.recv();
        }
        match next {
            Ok(Event::Found(found)) if found.path == entry.path => self.compare(entry, found)?,
            Ok(Event::Found(found)) => {
                let what = if found.path < entry.path {
                    "it is there and should not be"
                } else {
                    "something before it is missing"
                };
                self.differs(found.path, what);
                return self.refuse();
            }
            Ok(Event::Failed(path, error)) => {
                self.differs(path, error.to_string());
                return self.refuse();
            }
            Err(_) => {
                self.differs(entry.path, "it is missing");
                return self.refuse();
            }
        }
        Ok(())
    }

    fn compare(&mut self, entry: Entry, found: Found) -> Result<()> {
        let kind = match entry.kind {
            Kind::Directory => ObjectKind::Directory,
            Kind::File(_) => ObjectKind::File,
            Kind::Symlink(_) => ObjectKind::Symlink,
        };
        if found.stat.kind != kind {
            self.differs(entry.path, format!("it is a {}", found.stat.kind.name()));
            return Ok(());
        }
        let default =
            if kind == ObjectKind::Directory { fsys::DIRECTORY_MODE_DEFAULT } else { fsys::FILE_MODE_DEFAULT };
        if let Some(mode) = found.stat.mode
            && kind != ObjectKind::Symlink
            && mode != entry.mode.unwrap_or(default)
        {
            self.differs(entry.path.clone(), format!("its mode is {mode:o}"));
        }
        if let Some(mtime) = entry.mtime
            && !fsys::same_time(mtime, found.stat.mtime)
        {
            self.differs(entry.path.clone(), format!("its time is {:?}, not {mtime:?}", found.stat.mtime));
        }
        match entry.kind {
            Kind::Symlink(target) if target != found.target => self.differs(entry.path, "its target differs"),
            Kind::File(file) if file.size != found.stat.size => {
                self.differs(entry.path, format!("it has {} bytes", found.stat.size))
            }
            Kind::File(file) => {
                let chunks = self.reader.chunks(&file)?;
                self.bytes += file.size;
                self.open.push(Check { path: entry.path, dir: found.dir, size: file.size, chunks });
                if self.bytes >= COMPARE_BYTES || self.open.len() >= COMPARE_FILES {
                    self.flush();
                }
            }
            Kind::Directory | Kind::Symlink(_) => {}
        }
        while self.under_way.len() > self.pool.threads() + 4 {
            self.take_compared();
        }
        Ok(())
    }

    fn flush(&mut self) {
        let checks = std::mem::take(&mut self.open);
        self.bytes = 0;
        let from_medium = self.options.from_medium;
        self.under_way.push_back(self.pool.spawn(move || {
            let mut buffer = Vec::new();
            let (mut bytes, mut differences) = (0, Vec::new());
            let files = checks.len() as u64;
            for check in checks {
                bytes += check.size;
                if let Err(what) = compare_content(&check, from_medium, &mut buffer) {
                    differences.push((check.path, what));
                }
            }
            (files, bytes, differences)
        }));
    }

    fn take_compared(&mut self) {
        let Some(task) = self.under_way.pop_front() else { return };
        let (files, bytes, differences) = task.wait();
        self.progress.advance(files, bytes);
        for (path, what) in differences {
            self.differs(path, what);
        }
    }

    fn finish(mut self, events: &crossbeam_channel::Receiver<Event>) -> Result<()> {
        for event in events {
            match event {
                Event::Found(found) if found.path.is_root() => {}
                Event::Found(found) => self.differs(found.path, "it is there and should not be"),
                Event::Failed(path, error) => self.differs(path, error.to_string()),
            }
        }
        self.flush();
        self.refuse()
    }

    fn refuse(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.take_compared();
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

/// Reads a restored file and hashes it chunk by chunk.
fn compare_content(check: &Check, from_medium: bool, buffer: &mut Vec<u8>) -> Result<(), String> {
    use io::Read;
    let mut file = check.dir.open_file(check.path.name()).map_err(|error| error.to_string())?;
    if from_medium {
        fsys::drop_cached(&file);
    }
    for chunk in &check.chunks {
        buffer.resize(chunk.length() as usize, 0);
        file.read_exact(buffer).map_err(|error| error.to_string())?;
        if Digest::of(buffer) != chunk.id() {
            return Err("its content differs".into());
        }
    }
    match file.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err("it is longer than it should be".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_cannot_hold_are_told_with_their_reason() {
        for bad in ["a:b", "CON", "nul.txt", "com1", "LPT9.x", "a.", "a ", "a\\b", "a?", "\u{1}"] {
            assert!(unfit_on_windows(bad.as_bytes()).is_some(), "{bad}");
        }
        for good in ["a", "CONSOLE", "com0", "COM10", ".a", "a b", "é"] {
            assert_eq!(unfit_on_windows(good.as_bytes()), None, "{good}");
        }
    }

    #[test]
    fn paths_below_a_selection_lose_its_prefix() {
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        assert_eq!(below(&path("a/b/c"), &path("a/b")), b"c");
        assert_eq!(below(&path("a"), &path("a")), b"");
        assert_eq!(below(&path("a/b"), &EntryPath::root()), b"a/b");
    }

    #[test]
    fn directories_are_opened_from_the_nearest_one_above() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a/b/c")).expect("writable");
        let mut directories = Directories::new(Arc::new(Dir::open(root.path()).expect("readable")));
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        for wanted in ["a/b/c", "a", "a/b", ""] {
            assert!(directories.get(&path(wanted)).is_ok(), "{wanted}");
        }
        assert!(directories.get(&path("a/x")).is_err());
    }
}
