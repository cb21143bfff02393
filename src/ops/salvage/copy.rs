//! Copying into a new directory, and the list that says how each path stands.

use std::collections::{BTreeMap, HashSet, btree_map};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use super::target::Made;
use super::written::{Unwritten, Writing};
use super::{Standing, keep};
use crate::error::{Error, Result, lacks_room, shown_path};
use crate::format::entry::{Entry, FileContent, Kind};
use crate::format::json::TextOrBase64;
use crate::format::listing::PartRef;
use crate::format::record::Snapshot;
use crate::fsys::{self, Dir, Object};
use crate::limits;
use crate::ops::directories::{Directories, put_on, take_off};
use crate::ops::object;
use crate::path::{EntryPath, Trail, printable_json};
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Refusal};
use crate::vault::Finding;
use crate::vault::read::{Reader, relevant};

/// The list of every path and its standing.
pub(super) const LIST: &str = "salvage.jsonl";
const VERIFIED: &str = "verified";
const DAMAGED: &str = "damaged";
const UNAUTHENTICATED: &str = "unauthenticated";
/// How often a file is begun, whose reads succeed at one try and fail at another, before it stays among the damaged.
const WRITES_MAX: u32 = 3;
/// Stands with a file whose reads did so.
const UNSTABLE: &str = "it read otherwise at another try";

/// Copies entries and writes the list.
pub(super) struct Copier<'a> {
    target: &'a Made,
    reader: &'a Reader,
    authenticated: bool,
    progress: &'a dyn Progress,
    list: BufWriter<File>,
    ended: Ended,
    // Directories on the way to the object at hand. Their metadata is set when they are left: what lies below changes
    // their times, and they may become unreadable.
    open: Trail<Entry>,
    // First names of objects with several, of those that are copied completely.
    linked: HashSet<EntryPath>,
    // Open directories below each base that was made.
    bases: BTreeMap<&'static str, Directories>,
}

/// What a salvage comes to.
#[derive(Default)]
pub(super) struct Ended {
    /// How the paths stand.
    pub(super) standing: Standing,
    /// How many files may have been read back from memory, and not from the medium.
    pub(super) from_memory: u64,
    /// How many files could be read at one try and not at another.
    pub(super) unstable: u64,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        target: &'a Made,
        reader: &'a Reader,
        authenticated: bool,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let list = target.root.create_file(LIST.as_bytes());
        let list = list.map_err(|error| Error::environment(format!("create {LIST}"), error))?;
        Ok(Self {
            target,
            reader,
            authenticated,
            progress,
            list: BufWriter::new(list),
            ended: Ended::default(),
            open: Trail::default(),
            linked: HashSet::new(),
            bases: BTreeMap::new(),
        })
    }

    /// Returns the path that a person names: what it reads, or where nothing that can be read lies there, the one that
    /// lists show so.
    pub(super) fn meant(&self, snapshot: &Snapshot, named: &EntryPath) -> EntryPath {
        let names = |segment: &PartRef, path: &EntryPath| {
            let entries = self.reader.segment(segment).unwrap_or_default();
            entries.iter().any(|entry| entry.path.is_within(path))
        };
        let holds = |path: &EntryPath| {
            let lists = snapshot.lists[relevant(&snapshot.lists, path)].iter();
            let mut readable = lists.filter_map(|list| self.reader.segment_list(list).ok());
            readable.any(|parts| parts[relevant(&parts, path)].iter().any(|part| names(part, path)))
        };
        match named.unshown() {
            Some(shown) if !holds(named) && holds(&shown) => shown,
            _ => named.clone(),
        }
    }

    /// Copies everything at and below a path. What cannot be read is put down and passed over.
    pub(super) fn copy(&mut self, snapshot: &Snapshot, within: &EntryPath) -> Result<()> {
        self.progress.phase(Phase::Restoring, Some(snapshot.counts.files), Some(snapshot.counts.bytes));
        let mut gaps = Gaps::default();
        self.each_entry(snapshot, within, &mut gaps, Self::take)?;
        if self.authenticated {
            // What is neither a file nor a directory comes behind all files, so that nothing is ever written through a
            // link. Nothing is kept of the entries meanwhile: paths of a deep tree would take memory by its square.
            self.each_entry(snapshot, within, &mut gaps.into_passed_over(), Self::take_again)?;
        }
        while self.finish_deepest()? {}
        Ok(())
    }

    /// Hands on every entry at and below a path whose part of the listing can be read. Parts that cannot hold one are not
    /// asked for, so that no gap elsewhere counts.
    fn each_entry(
        &mut self,
        snapshot: &Snapshot,
        within: &EntryPath,
        gaps: &mut Gaps,
        take: fn(&mut Self, Entry) -> Result<()>,
    ) -> Result<()> {
        for list in &snapshot.lists[relevant(&snapshot.lists, within)] {
            let Some(segments) = self.part(list, gaps, |reader| reader.segment_list(list))? else { continue };
            for segment in &segments[relevant(&segments, within)] {
                let Some(entries) = self.part(segment, gaps, |reader| reader.segment(segment))? else { continue };
                for entry in entries.into_iter().filter(|entry| entry.path.is_within(within)) {
                    take(self, entry)?;
                }
                if self.progress.interrupted() {
                    return Err(Error::Interrupted(None));
                }
            }
        }
        Ok(())
    }

    /// Reads a part of the listing; where that cannot be done it is put down, once.
    fn part<T>(
        &mut self,
        part: &PartRef,
        gaps: &mut Gaps,
        read: impl FnOnce(&Reader) -> Result<T, Finding>,
    ) -> Result<Option<T>> {
        if gaps.passes_over() {
            return Ok(None);
        }
        match read(self.reader) {
            Ok(read) => Ok(Some(read)),
            Err(finding) if gaps.note() => self.gap(part, &finding).map(|()| None),
            Err(finding) => {
                // It read a moment ago: the medium is not to be trusted.
                let refusal = Refusal::new(Code::Unstable, "a part of the listing read once and then not again");
                Err(refusal.cause(told(&finding)).into())
            }
        }
    }

    /// Ends the list, and makes everything durable.
    pub(super) fn finish(mut self) -> Result<Ended> {
        let mut summary = self.ended.standing.to_json();
        summary.insert("authenticated".into(), self.authenticated.into());
        self.put(&json!({"summary": summary}))?;
        let failed = |error| Error::environment(format!("write {LIST}"), error);
        self.list.flush().and_then(|()| fsys::sync_file(self.list.get_ref())).map_err(failed)?;
        self.sync().map_err(|error| Error::environment(format!("sync {}", shown_path(&self.target.path)), error))?;
        Ok(self.ended)
    }

    /// Makes every name durable; what files hold was made so one by one, and names too where the system syncs no whole
    /// file system.
    fn sync(&self) -> io::Result<()> {
        let root = &self.target.root;
        if fsys::syncs_filesystem(root) {
            fsys::sync_filesystem(root)?
        } else {
            root.sync()?
        }
        self.target.parent.sync()
    }

    fn put(&mut self, line: &Value) -> Result<()> {
        self.list
            .write_all(printable_json(&line.to_string()).as_bytes())
            .and_then(|()| self.list.write_all(b"\n"))
            .map_err(|error| Error::environment(format!("write {LIST}"), error))
    }

    /// Puts down a part of the listing that cannot be read: nobody can say which paths it named.
    fn gap(&mut self, part: &PartRef, finding: &Finding) -> Result<()> {
        let standing = self.lost(part.entries, finding.code == Code::ListingMissing);
        let from = TextOrBase64::of(part.first.as_bytes());
        self.put(&json!({
            "from_path": from.text,
            "from_path_b64": from.base64,
            "entries": part.entries,
            "standing": standing,
            "reason": format!("the list of these files cannot be read: {}: {}", finding.code, finding.detail),
        }))
    }

    /// Counts paths of which there is nothing, and returns how they stand.
    fn lost(&mut self, paths: u64, missing: bool) -> &'static str {
        let standing = &mut self.ended.standing;
        let (count, word) =
            if missing { (&mut standing.missing, "missing") } else { (&mut standing.damaged, "damaged") };
        *count = count.saturating_add(paths);
        word
    }

    fn line(&mut self, entry: &EntryPath, kind: &str, standing: &str, place: Option<&str>, reason: &str) -> Result<()> {
        let path = TextOrBase64::of(entry.as_bytes());
        let mut line = json!({"path": path.text, "path_b64": path.base64, "kind": kind, "standing": standing});
        if let Some(place) = place {
            line["below"] = place.into();
        }
        if !reason.is_empty() {
            line["reason"] = reason.into();
        }
        self.put(&line)
    }

    fn good(&self) -> (&'static str, &'static str) {
        if self.authenticated { (VERIFIED, "verified") } else { (UNAUTHENTICATED, "unauthenticated") }
    }

    /// Counts and puts down what is complete, in what the target keeps it otherwise than the snapshot names it, and what
    /// else is to be said of it.
    fn complete(&mut self, path: &EntryPath, kind: &str, differences: &[String], reason: &str) -> Result<()> {
        let (base, standing) = self.good();
        if self.authenticated {
            self.ended.standing.verified += 1;
        } else {
            self.ended.standing.unauthenticated += 1;
        }
        self.ended.standing.differing += u64::from(!differences.is_empty());
        let name = TextOrBase64::of(path.as_bytes());
        let mut line =
            json!({"path": name.text, "path_b64": name.base64, "kind": kind, "standing": standing, "below": base});
        if !differences.is_empty() {
            line["differs"] = differences.into();
        }
        if !reason.is_empty() {
            line["reason"] = reason.into();
        }
        self.put(&line)
    }

    fn take(&mut self, entry: Entry) -> Result<()> {
        match &entry.kind {
            Kind::Directory => match self.directory(self.good().0, &entry.path) {
                Ok(_) if !self.authenticated => self.complete(&entry.path, "directory", &[], ""),
                Err(error) if !self.authenticated => self.not_written(&entry.path, "directory", &error),
                // It is told when it is left.
                Ok(_) | Err(_) => Ok(()),
            },
            Kind::File(file) if self.link(&entry)? => {
                self.progress.advance(1, file.size);
                Ok(())
            }
            Kind::File(file) => {
                let file = file.clone();
                self.file(&entry, &file)
            }
            _ if self.authenticated => Ok(()),
            Kind::Symlink(target) => {
                self.ended.standing.unauthenticated += 1;
                let reason = format!("links are not made without proof; it pointed to {}", crate::path::shown(target));
                self.line(&entry.path, "symlink", UNAUTHENTICATED, None, &reason)
            }
            kind => {
                let reason = "without proof, files and directories alone are made";
                self.passed_over(&entry.path, kind.name(), reason)
            }
        }
    }

    fn not_written(&mut self, path: &EntryPath, kind: &str, error: &io::Error) -> Result<()> {
        if lacks_room(error) {
            let message = format!("{} is full", shown_path(&self.target.path));
            return Err(Refusal::new(Code::DestinationSpace, message).cause(error).into());
        }
        self.passed_over(path, kind, &error.to_string())
    }

    /// Counts and puts down what the target does not take.
    fn passed_over(&mut self, path: &EntryPath, kind: &str, reason: &str) -> Result<()> {
        self.ended.standing.not_written += 1;
        self.line(path, kind, "not written", None, reason)
    }

    /// Opens the directory of an entry below a base, made where it is missing; nothing that exists is replaced.
    fn directory(&mut self, base: &'static str, path: &EntryPath) -> io::Result<Arc<Dir>> {
        let directories = match self.bases.entry(base) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(new) => {
                let root = open_or_make(&self.target.root, base.as_bytes())?;
                new.insert(Directories::new(Arc::new(root)))
            }
        };
        directories.get_by(path, open_or_make)
    }

    /// Copies a file: complete among the good ones, or what is left of it among the damaged.
    fn file(&mut self, entry: &Entry, content: &FileContent) -> Result<()> {
        let data = content.data_bytes();
        let look = self.look(content);
        if look.intact == 0 && data > 0 {
            let standing = self.lost(1, look.lists.is_none() && look.all_missing);
            return self.line(&entry.path, "file", standing, None, &look.reason());
        }
        // Holes take none.
        let needed = look.intact.saturating_add(limits::SPACE_RESERVE_BYTES);
        if let Some(room) = self.room().filter(|&room| room < needed) {
            let reason = format!("about {needed} bytes are needed for it, {room} are free");
            return self.passed_over(&entry.path, "file", &reason);
        }
        match self.write_as_it_reads(entry, content, &look) {
            Ok(kept) => self.kept(entry, data, &kept),
            Err(Stopped::Target(error)) => self.not_written(&entry.path, "file", &error),
            // Room that was taken for it is given back: a smaller one may fit.
            Err(Stopped::Content(reason)) => self.passed_over(&entry.path, "file", &reason),
            Err(Stopped::Stop(error)) => Err(error),
        }
    }

    /// Counts and puts down a file that was written.
    fn kept(&mut self, entry: &Entry, data: u64, kept: &Kept) -> Result<()> {
        let bytes = kept.copied.intact;
        self.ended.standing.bytes += bytes;
        self.ended.from_memory += u64::from(kept.from_memory);
        self.ended.unstable += u64::from(kept.copied.unstable);
        self.progress.advance(1, bytes);
        let reason = kept.copied.reason();
        if kept.base == DAMAGED {
            self.ended.standing.damaged += 1;
            let reason = format!("{bytes} of {data} bytes were copied, the rest is zeros; {reason}");
            return self.line(&entry.path, "file", "damaged", Some(DAMAGED), &reason);
        }
        if entry.links.is_some() && entry.hardlink.is_none() {
            self.linked.insert(entry.path.clone());
        }
        self.complete(&entry.path, "file", &kept.differences, &reason)
    }

    /// Reads what a file holds without writing it: a file is begun among the good ones only if every chunk of it was found.
    /// What fails, and is not gone, is tried once more.
    fn look(&self, content: &FileContent) -> Copied {
        let look = || {
            let Ok(look) = self.each(content, |_, _| Ok::<_, Infallible>(()));
            look
        };
        let first = look();
        if first.all_missing || first.is_whole(content.data_bytes()) {
            return first;
        }
        let second = look();
        Copied { unstable: second.is_whole(content.data_bytes()), ..second }
    }

    /// Writes a file where it belongs by what was read of it: among the good ones if that is everything, else among the
    /// damaged. Where one try reads everything and the next does not, it begins anew on the other side; what is never the
    /// same stays among the damaged.
    fn write_as_it_reads(&mut self, entry: &Entry, content: &FileContent, look: &Copied) -> Result<Kept, Stopped> {
        let (mut whole, mut unstable) = (look.is_whole(content.data_bytes()), look.unstable);
        let mut writes = 1;
        loop {
            let base = if whole && writes < WRITES_MAX { self.good().0 } else { DAMAGED };
            let mut written = self.write(&entry.path, content, base)?;
            let is_whole = written.copied.is_whole(content.data_bytes());
            unstable |= is_whole != whole;
            written.copied.unstable = unstable;
            if is_whole == whole || writes >= WRITES_MAX {
                return self.keep(entry, written);
            }
            let Written { base, dir, file, .. } = written;
            drop(file);
            take_back(&dir, base, &entry.path).map_err(Stopped::Stop)?;
            (whole, writes) = (is_whole, writes + 1);
        }
    }

    fn room(&self) -> Option<u64> {
        fs2::available_space(&self.target.path).ok()
    }

    /// Hands on every chunk that reads and matches its hash. What cannot be placed any more, because a list of chunks or of
    /// holes cannot be read, is not handed on.
    fn each<E>(&self, content: &FileContent, mut take: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<Copied, E> {
        let mut copied = Copied::default();
        let mut places = self.reader.places_of(content);
        for chunk in self.reader.chunks_of(content) {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(finding) => {
                    copied.lists = Some(told(&finding));
                    break;
                }
            };
            let read = self.reader.chunk(chunk);
            let mut from = 0;
            while from < chunk.length() {
                let (place, length) = match places.next(u64::from(chunk.length() - from)) {
                    Ok(Some(piece)) => piece,
                    Ok(None) => {
                        copied.lists = Some("the chunks hold more than there is room for".into());
                        return Ok(copied);
                    }
                    Err(finding) => {
                        copied.lists = Some(told(&finding));
                        return Ok(copied);
                    }
                };
                // Not longer than what is left of the chunk.
                let length = length as u32;
                if let Ok(bytes) = &read {
                    take(place, bytes.get(from as usize..(from + length) as usize).unwrap_or_default())?;
                    copied.intact += u64::from(length);
                }
                from += length;
            }
            copied.failed(read.err());
        }
        if let Err(finding) = places.is_full() {
            copied.lists.get_or_insert_with(|| told(&finding));
        }
        Ok(copied)
    }

    /// Writes what can be read of a file, and reads it back.
    fn write(&mut self, path: &EntryPath, content: &FileContent, base: &'static str) -> Result<Written, Stopped> {
        if self.progress.interrupted() {
            return Err(Stopped::Stop(Error::Interrupted(None)));
        }
        let dir = self.directory(base, &path.parent().unwrap_or_default()).map_err(Stopped::Target)?;
        let file = dir.create_file(name_of(path)).map_err(Stopped::Target)?;
        let written = Writing::begin(file, content.size, !content.holes.is_none()).map_err(Unwritten::from);
        let written = written.and_then(|mut writing| {
            let copied = self.each(content, |place, bytes| writing.write(place, bytes))?;
            Ok((copied, writing.finish()?))
        });
        match written {
            Ok((copied, (file, from_memory))) => Ok(Written { base, dir, file, copied, from_memory }),
            Err(Unwritten::Refused(error)) => {
                take_back(&dir, base, path).map_err(Stopped::Stop)?;
                Err(Stopped::Content(error.to_string()))
            }
            Err(Unwritten::Differs(what)) => {
                let target = shown_path(&self.target.path);
                let refusal = Refusal::new(Code::RestoredDiffers, format!("{path} reads back differently: {what}"))
                    .written(format!("{target} holds what was copied so far; its medium cannot be relied on"))
                    .next("copy into a directory on another medium");
                Err(Stopped::Stop(refusal.into()))
            }
        }
    }

    /// Sets the metadata of a file that stays where it was written, and makes its name durable.
    fn keep(&self, entry: &Entry, written: Written) -> Result<Kept, Stopped> {
        let mut differences = Vec::new();
        if self.authenticated {
            differences = keep::apply(Object::File(&written.file), entry, &|value| self.reader.value(value));
            fsys::sync_file(&written.file).map_err(Stopped::Target)?;
        }
        sync_name(&written.dir).map_err(Stopped::Target)?;
        if let Some(first) = &entry.hardlink {
            differences.push(format!("it should be another name of {first}"));
        }
        let Written { base, copied, from_memory, .. } = written;
        Ok(Kept { base, copied, differences, from_memory })
    }

    /// Makes a further name of an object whose first name was copied. Returns whether it did; else it is copied for
    /// itself.
    fn link(&mut self, entry: &Entry) -> Result<bool> {
        let Some(first) = entry.hardlink.as_ref().filter(|first| self.linked.contains(first)) else { return Ok(false) };
        let parent = |path: &EntryPath| path.parent().unwrap_or_default();
        let base = self.good().0;
        let made = self.directory(base, &parent(first)).and_then(|from| {
            let to = self.directory(base, &parent(&entry.path))?;
            from.create_link(first.name(), &to, entry.path.name())?;
            sync_name(&to)?;
            Ok(from.stat_at(first.name())?.id == to.stat_at(entry.path.name())?.id)
        });
        if !made.unwrap_or(false) {
            return Ok(false);
        }
        self.complete(&entry.path, "file", &[], "").map(|()| true)
    }

    /// Takes what waited until all files were written: what is neither a file nor a directory, and directories that are
    /// left.
    fn take_again(&mut self, entry: Entry) -> Result<()> {
        while self.open.is_left_by(&entry.path) {
            self.finish_deepest()?;
        }
        match &entry.kind {
            Kind::File(_) => Ok(()),
            Kind::Directory => {
                put_on(&mut self.open, entry);
                Ok(())
            }
            _ => self.other(&entry),
        }
    }

    /// Makes a link, pipe, socket or device.
    fn other(&mut self, entry: &Entry) -> Result<()> {
        let kind = entry.kind.name();
        let parent = entry.path.parent().unwrap_or_default();
        let name = name_of(&entry.path);
        let made = self.directory(VERIFIED, &parent).and_then(|dir| {
            object::make(&dir, name, &entry.kind)?;
            let mut differences = keep::apply(Object::Name(&dir, name), entry, &|value| self.reader.value(value));
            if let Kind::Symlink(target) = &entry.kind
                && dir.read_link(name)? != *target
            {
                differences.push("it points elsewhere".into());
            }
            sync_name(&dir).map(|()| differences)
        });
        match made {
            Ok(differences) => self.complete(&entry.path, kind, &differences, ""),
            Err(error) => self.not_written(&entry.path, kind, &error),
        }
    }

    /// Sets the metadata of the deepest directory. Returns whether there was one.
    fn finish_deepest(&mut self) -> Result<bool> {
        let Some(entry) = take_off(&mut self.open) else { return Ok(false) };
        let finished = self.directory(VERIFIED, &entry.path).and_then(|dir| {
            let differences = keep::apply(Object::Directory(&dir), &entry, &|value| self.reader.value(value));
            sync_name(&dir).map(|()| differences)
        });
        match finished {
            Ok(differences) => self.complete(&entry.path, "directory", &differences, "")?,
            Err(error) => self.not_written(&entry.path, "directory", &error)?,
        }
        Ok(true)
    }
}

/// Which parts of the listing could not be read, in the order in which they are asked for.
#[derive(Default)]
struct Gaps {
    found: HashSet<usize>,
    // Whether they are known, and passed over.
    known: bool,
    asked: usize,
}

impl Gaps {
    /// Returns the same gaps for another turn over the same listing.
    fn into_passed_over(self) -> Self {
        Self { known: true, asked: 0, ..self }
    }

    /// Counts a part that is asked for. Returns whether it is known not to be readable.
    fn passes_over(&mut self) -> bool {
        self.asked += 1;
        self.known && self.found.contains(&self.asked)
    }

    /// Notes that the part that was asked for cannot be read, unless all that cannot be should be known.
    fn note(&mut self) -> bool {
        !self.known && self.found.insert(self.asked)
    }
}

/// Opens a directory, which is made where it is missing.
fn open_or_make(dir: &Dir, name: &[u8]) -> io::Result<Dir> {
    match dir.create_dir(name) {
        Ok(()) => sync_name(dir)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    dir.open_dir(name)
}

/// Makes new names in a directory durable, where that cannot be done for all at once.
fn sync_name(dir: &Dir) -> io::Result<()> {
    if fsys::syncs_filesystem(dir) { Ok(()) } else { dir.sync() }
}

/// Returns the name that an object has in the directory of its parent: a source may be a file.
fn name_of(path: &EntryPath) -> &[u8] {
    if path.is_root() { b"content" } else { path.name() }
}

/// Removes a file that does not belong where it was begun, or could not be written to its end.
fn take_back(dir: &Dir, base: &str, path: &EntryPath) -> Result<()> {
    dir.remove_file(name_of(path))
        .map_err(|error| Error::environment(format!("remove what was begun of {path} below {base}"), error))
}

/// Why a file was not copied.
enum Stopped {
    /// The target does not take its name; the others may go on.
    Target(io::Error),
    /// The target does not take what it holds, and nothing of it was left.
    Content(String),
    /// Nothing more is to be copied.
    Stop(Error),
}

/// A file that was written and read back, and may still be taken back.
struct Written {
    // Below which of the directories it lies, and in which one.
    base: &'static str,
    dir: Arc<Dir>,
    file: File,
    copied: Copied,
    from_memory: bool,
}

/// A file that stays where it was written.
struct Kept {
    base: &'static str,
    copied: Copied,
    differences: Vec<String>,
    from_memory: bool,
}

/// What was found of a file.
#[derive(Default)]
struct Copied {
    intact: u64,
    first: Option<Finding>,
    // Of the chunks that failed.
    all_missing: bool,
    // Why the rest has no place any more.
    lists: Option<String>,
    // Whether another try came to something else.
    unstable: bool,
}

impl Copied {
    fn failed(&mut self, finding: Option<Finding>) {
        if let Some(finding) = finding {
            let missing = finding.code == Code::ChunkMissing;
            self.all_missing = missing && (self.first.is_none() || self.all_missing);
            self.first.get_or_insert(finding);
        }
    }

    fn is_whole(&self, data: u64) -> bool {
        self.first.is_none() && self.lists.is_none() && self.intact == data
    }

    fn reason(&self) -> String {
        let failed = self.first.as_ref().map(told).or_else(|| self.lists.clone());
        let reasons: Vec<String> = failed.into_iter().chain(self.unstable.then(|| UNSTABLE.to_owned())).collect();
        reasons.join("; ")
    }
}

fn told(finding: &Finding) -> String {
    format!("{}: {}: {}", finding.code, finding.subject, finding.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_the_first_turn_is_passed_over_and_no_other_comes_in_the_second() {
        let mut gaps = Gaps::default();
        let first: Vec<bool> = [false, true, false].map(|bad| gaps.passes_over() || (bad && gaps.note())).to_vec();
        let mut gaps = gaps.into_passed_over();
        let second: Vec<bool> = (0..3).map(|_| gaps.passes_over()).collect();
        assert_eq!((&first, second), (&vec![false, true, false], first.clone()));
        assert!(!gaps.note());
    }
}
