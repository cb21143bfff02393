//! Taking objects in path order: each becomes an entry, or stands in the way of the snapshot.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::Report;
use super::file::{self, Read};
use super::names::Names;
use super::owners::Owners;
use super::prior::{Line, Prior};
use super::queue::{Item, Queue, Results, Since};
use super::sieve::BadRules;
use super::sparse;
use crate::clock::{Clock, Time};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::attribute::{Attribute, Value};
use crate::format::entry::{ChunkRef, Chunks, Entry, Holes, Kind, ListRef, encode_chunk_list, encode_hole_list};
use crate::format::holes::Hole;
use crate::format::json;
use crate::format::pack::BlockKind;
use crate::fsys::walk::{Found, RESTLESS, is_gone, renamed_to};
use crate::fsys::{self, ChangeTimes, Object, ObjectKind, Stat, Xattr};
use crate::limits;
use crate::ops::rules::Rules;
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::listing::{self, ListingWriter};
use crate::vault::read::Reader;
use crate::vault::write::{Draft, reference};

/// Files that stand in the way of a snapshot, complete.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) unreadable: Vec<(EntryPath, String)>,
    pub(super) changing: Vec<(EntryPath, String)>,
    pub(super) unsupported: Vec<(EntryPath, String)>,
    pub(super) rules: Vec<(EntryPath, String)>,
    pub(super) placeholders: Vec<(EntryPath, String)>,
    pub(super) held: Vec<(EntryPath, String)>,
    pub(super) left_out: Vec<EntryPath>,
    // What this process or the machine ran out of, which says nothing of the source.
    exhausted: Option<(EntryPath, std::io::Error)>,
}

impl Problems {
    /// Takes that nothing can be read any more.
    pub(super) fn exhausted(&mut self, path: EntryPath, error: std::io::Error) {
        self.exhausted.get_or_insert((path, error));
    }

    /// Takes what changed each time it was looked at.
    fn keeps_changing(&mut self, path: EntryPath, is_directory: bool, reason: String, may_change: &Rules) {
        if may_change.matches(&path, is_directory) {
            self.left_out.push(path);
        } else {
            self.changing.push((path, reason));
        }
    }

    /// Takes a directory whose names changed each time it was listed.
    pub(super) fn restless(&mut self, path: &EntryPath, may_change: &Rules) {
        self.keeps_changing(path.clone(), true, RESTLESS.into(), may_change);
    }

    /// Takes what a walk could not look at.
    pub(super) fn failed(&mut self, path: EntryPath, error: std::io::Error, may_change: &Rules) {
        if fsys::lacks_means(&error) {
            return self.exhausted(path, error);
        }
        if error.kind() == std::io::ErrorKind::NotFound {
            let reason = format!("its directory lists it, and each time it was looked at it was not there: {error}");
            let is_directory = may_change.matches(&path, true);
            return self.keeps_changing(path, is_directory, reason, may_change);
        }
        let list = if BadRules::is(&error) {
            &mut self.rules
        } else if fsys::is_held(&error) {
            &mut self.held
        } else {
            &mut self.unreadable
        };
        list.push((path, error.to_string()));
    }

    /// Takes the file that was counted from so many bytes to so many, if with it there are more than a manifest counts.
    pub(super) fn counted(&mut self, path: &EntryPath, before: u64, after: u64) {
        if before <= limits::COUNT_MAX && after > limits::COUNT_MAX {
            let reason =
                format!("with it the files have more bytes than the {} that a vault can count", limits::COUNT_MAX);
            self.unsupported.push((path.clone(), reason));
        }
    }

    /// Takes something whose content is not on this machine; looking into it would fetch it.
    pub(super) fn elsewhere(&mut self, path: EntryPath) {
        self.placeholders.push((path, "a cloud placeholder, whose content is not on this machine".into()));
    }

    /// Refuses if there is any, with the complete lists; the code is that of the first kind that occurs.
    ///
    /// # Errors
    /// Also what this process or the machine ran out of.
    pub(super) fn refuse(&self, source: &Path) -> Result<()> {
        if let Some((path, error)) = &self.exhausted {
            let error = std::io::Error::new(error.kind(), error.to_string());
            return Err(Error::environment(format!("read {path} in {}", shown_path(source)), error));
        }
        let kinds = [
            (Code::SourceUnreadable, &self.unreadable, "cannot be read"),
            (Code::SourceChanging, &self.changing, "keep changing while they are read or listed"),
            (Code::SourceUnsupported, &self.unsupported, "are more, or of another kind, than a vault can keep"),
            (Code::SourceRules, &self.rules, "are files of rules that cannot be used"),
            (Code::SourceElsewhere, &self.placeholders, "are not on this machine"),
            (Code::SourceHeld, &self.held, "are held by another process"),
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

/// What the file system says of an object in numbers, as an entry records it.
#[derive(PartialEq)]
struct Facts {
    mode: Option<u32>,
    mtime: Option<Time>,
    created: Option<Time>,
    flags: Option<u32>,
    attributes: Option<u32>,
    links: Option<u64>,
}

impl Facts {
    fn of(kind: &Kind, stat: &Stat) -> Self {
        let flags = stat.flags.filter(|&flags| flags != 0);
        Self {
            // Permission bits of a link mean nothing anywhere that keeps them.
            mode: stat.mode.filter(|_| kind.target().is_none()),
            mtime: Some(stat.mtime),
            created: stat.created,
            flags: flags.filter(|_| !cfg!(windows)),
            attributes: flags.filter(|_| cfg!(windows)),
            links: (stat.links > 1 && *kind != Kind::Directory).then_some(stat.links),
        }
    }
}

/// Takes objects in path order and turns them into entries.
pub(super) struct Taker<'a> {
    pub(super) draft: &'a mut Draft,
    pub(super) reader: Arc<Reader>,
    pub(super) writer: ListingWriter,
    pub(super) prior: Prior<'a>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress: &'a dyn Progress,
    pub(super) report: Report,
    pub(super) problems: Problems,
    pub(super) sizes: [u32; 3],
    pub(super) names: Names,
    pub(super) owners: Owners,
    /// What times of change prove on the media that hold what looks unchanged, by device.
    pub(super) media: HashMap<u64, ChangeTimes>,
}

impl Taker<'_> {
    /// Decides what to do with an object: an entry at once, or a job.
    pub(super) fn look_at(&mut self, found: Found, queue: &mut Queue<'_>) -> Result<()> {
        if found.stat.kind == ObjectKind::Placeholder {
            self.problems.elsewhere(found.path);
            return Ok(());
        }
        let before = self.prior.at(&found.path);
        self.distrust_failed();
        self.draft.unless_started_over()?;
        if let Some(first) = self.names.note(&found.path, &found.stat) {
            queue.push_link(found, first, self.sizes, &self.clock);
            return Ok(());
        }
        if found.stat.kind != ObjectKind::File {
            if let Some(entry) = self.look_at_object(&found)? {
                queue.push_entry(entry, Since::New, self.sizes, &self.clock);
            }
            return Ok(());
        }
        match before.filter(|(before, _)| file::is_unchanged(before, &found.stat)) {
            // A change of owner, mode or attributes changes the change time too.
            Some((before, line)) if self.still_holds(&before) && self.proves_anything(&found) => {
                let (entry, since) = self.describe_again(found, before, line);
                queue.push_entry(entry, since, self.sizes, &self.clock);
            }
            _ => queue.push_read(found, self.sizes, &self.clock),
        }
        Ok(())
    }

    /// Returns whether times and number of a file prove anything where it lies.
    fn proves_anything(&mut self, found: &Found) -> bool {
        let told = || match fsys::change_times(&found.dir) {
            ChangeTimes::Kept if found.stat.ctime.is_none() => ChangeTimes::Weak,
            told => told,
        };
        *self.media.entry(found.stat.id.device).or_insert_with(told) != ChangeTimes::OfAnImage
    }

    /// Makes the entry of a file whose content is unchanged, and says whether the file system says all the same of it.
    fn describe_again(&mut self, found: Found, before: Entry, line: Line) -> (Entry, Since) {
        // Named one by one: what an entry will hold one day must be compared too. Content and attributes are unchanged.
        let Entry {
            path: _,
            kind,
            xattrs: _,
            streams: _,
            mode,
            mtime,
            created,
            owner,
            flags,
            attributes,
            links,
            hardlink,
        } = &before;
        let (mode, mtime, created, flags, attributes, links) = (*mode, *mtime, *created, *flags, *attributes, *links);
        let same = hardlink.is_none()
            && Facts { mode, mtime, created, flags, attributes, links } == Facts::of(kind, &found.stat)
            && self.owners.is(owner.as_ref(), &found.stat);
        if same {
            return (before, Since::Same(line));
        }
        let Entry { kind, xattrs, streams, .. } = before;
        (Entry { xattrs, streams, ..self.describe(found.path, kind, &found.stat) }, Since::Unchanged)
    }

    /// Makes the entry of what is no regular file.
    fn look_at_object(&mut self, found: &Found) -> Result<Option<Entry>> {
        let (major, minor) = found.stat.device;
        let target = || found.target.clone();
        let kind = match found.stat.kind {
            ObjectKind::Directory => Kind::Directory,
            ObjectKind::Symlink | ObjectKind::Junction
                if found.target.is_empty() || found.target.len() > limits::TARGET_BYTES_MAX =>
            {
                let reason = "a link target that is empty or too long";
                self.problems.unsupported.push((found.path.clone(), reason.into()));
                return Ok(None);
            }
            ObjectKind::Symlink => Kind::Symlink(target()),
            ObjectKind::Junction => Kind::Junction(target()),
            ObjectKind::Fifo => Kind::Fifo,
            ObjectKind::Socket => Kind::Socket,
            ObjectKind::Block => Kind::Block(major, minor),
            ObjectKind::Character => Kind::Character(major, minor),
            ObjectKind::Placeholder => {
                self.problems.elsewhere(found.path.clone());
                return Ok(None);
            }
            ObjectKind::File | ObjectKind::Other => {
                self.problems.unsupported.push((found.path.clone(), format!("a {}", found.stat.kind.name())));
                return Ok(None);
            }
        };
        let name = found.path.name();
        let object = match found.stat.kind {
            ObjectKind::Directory => Object::Directory(&found.dir),
            _ => Object::Name(&found.dir, name),
        };
        let read = object.xattrs().and_then(|xattrs| Ok((xattrs, object.streams()?)));
        match read {
            Ok((xattrs, streams)) => {
                let entry = self.describe(found.path.clone(), kind, &found.stat);
                self.with_attributes(entry, xattrs, streams)
            }
            Err(error) if found.stat.kind != ObjectKind::Directory && is_gone(&found.dir, name, &error) => {
                self.look_at_renamed(found, kind)
            }
            Err(error) if fsys::lacks_means(&error) => {
                self.problems.exhausted(found.path.clone(), error);
                Ok(None)
            }
            Err(error) => {
                self.problems.unreadable.push((found.path.clone(), format!("its attributes: {error}")));
                Ok(None)
            }
        }
    }

    /// Makes the entry of what is no regular file and is gone since the walk: it may have another name now, under which its
    /// attributes are read.
    fn look_at_renamed(&mut self, found: &Found, kind: Kind) -> Result<Option<Entry>> {
        let read = |name: &[u8]| {
            let object = Object::Name(&found.dir, name);
            let xattrs = object.xattrs()?;
            let streams = object.streams()?;
            match found.dir.stat_at(name)?.id == found.stat.id {
                true => Ok((xattrs, streams)),
                false => Err(std::io::Error::other("it was renamed each time it was looked for")),
            }
        };
        let attributes = match renamed_to(&found.dir, &found.stat) {
            Ok(None) => return Ok(None),
            // Another name of it need not be a new one.
            Ok(Some(_)) if found.stat.links > 1 => return Ok(None),
            Ok(Some(other)) => read(&other),
            Err(error) => Err(error),
        };
        match attributes {
            Ok((xattrs, streams)) => {
                let entry = self.describe(found.path.clone(), kind, &found.stat);
                self.with_attributes(entry, xattrs, streams)
            }
            Err(error) if fsys::lacks_means(&error) => {
                self.problems.exhausted(found.path.clone(), error);
                Ok(None)
            }
            Err(error) => {
                self.problems.changing.push((found.path.clone(), format!("it was renamed: {error}")));
                Ok(None)
            }
        }
    }

    /// Says of an entry what the file system says of the object, but for content and attributes.
    fn describe(&mut self, path: EntryPath, kind: Kind, stat: &Stat) -> Entry {
        let Facts { mode, mtime, created, flags, attributes, links } = Facts::of(&kind, stat);
        let owner = self.owners.of(stat);
        Entry { mode, mtime, created, owner, flags, attributes, links, ..Entry::new(path, kind) }
    }

    /// Adds attributes and streams; where a vault cannot keep them, the object stands in the way of the snapshot.
    fn with_attributes(&mut self, entry: Entry, xattrs: Vec<Xattr>, streams: Vec<Xattr>) -> Result<Option<Entry>> {
        if xattrs.is_empty() && streams.is_empty() {
            return Ok(Some(entry));
        }
        let unfit = |(name, value): &Xattr| {
            name.is_empty() || name.len() > limits::XATTR_NAME_BYTES_MAX || value.len() as u64 > limits::XATTR_BYTES_MAX
        };
        if xattrs.len() > limits::XATTRS_MAX
            || streams.len() > limits::XATTRS_MAX
            || xattrs.iter().chain(&streams).any(unfit)
        {
            let reason = "more or longer attributes or streams than a vault can keep";
            self.problems.unsupported.push((entry.path, reason.into()));
            return Ok(None);
        }
        Ok(Some(Entry { xattrs: self.attributes(xattrs)?, streams: self.attributes(streams)?, ..entry }))
    }

    fn attributes(&mut self, attributes: Vec<Xattr>) -> Result<Vec<Attribute>> {
        let mut kept = Vec::with_capacity(attributes.len());
        for (name, bytes) in attributes {
            let value = if bytes.len() <= limits::XATTR_INLINE_BYTES_MAX {
                Value::Inline(bytes)
            } else {
                // Cut evenly where that keeps within the bound, which no content-defined cut promises.
                let length = bytes.len().div_ceil(limits::XATTR_CHUNKS_MAX).max(self.sizes[1] as usize);
                let mut chunks = Vec::new();
                for part in bytes.chunks(length) {
                    let chunk = reference(part);
                    self.draft.put(BlockKind::Data, chunk, part)?;
                    chunks.push(chunk);
                }
                Value::Chunks(chunks)
            };
            kept.push(Attribute { name, value });
        }
        Ok(kept)
    }

    /// Returns whether the vault still vouches for every chunk of a previous entry.
    fn still_holds(&mut self, entry: &Entry) -> bool {
        let Some(file) = entry.file() else { return false };
        if !entry.attribute_chunks().all(|chunk| self.draft.holds(chunk)) {
            return false;
        }
        if !file.lists().all(|list| self.draft.holds(list.object())) {
            return false;
        }
        let chunks_held = self.reader.chunks_of(file).all(|chunk| chunk.is_ok_and(|chunk| self.draft.holds(chunk)));
        let held = chunks_held
            && (matches!(file.holes, Holes::Direct(_)) || self.reader.holes_of(file).all(|hole| hole.is_ok()));
        self.distrust_failed();
        held
    }

    /// What failed a read of this run is relied on no more, also where another pack had the chunk.
    pub(super) fn distrust_failed(&mut self) {
        if !self.reader.has_failed() {
            return;
        }
        for (pack, finding) in self.reader.failed_packs() {
            self.draft.older().distrust(finding, &pack);
        }
    }

    pub(super) fn take_results(&mut self, results: Results, may_change: &Rules) -> Result<()> {
        let Results { items, data } = results;
        for item in items {
            match item {
                Item::Entry(entry, since) => self.add(&entry, &since)?,
                Item::Read(path, read) => self.take_read(path, read, &data, may_change)?,
                Item::Large(found) => {
                    if let Some(entry) = self.take_large(&found, may_change)? {
                        self.names.keep(&entry.path, &entry, false);
                        self.add_read(&entry)?;
                    }
                }
                Item::Link(found, first) => self.take_link(&found, &first, may_change)?,
                Item::Job(_) => unreachable!("jobs are done before their results are taken"),
            }
        }
        Ok(())
    }

    fn take_read(&mut self, path: EntryPath, read: Read, data: &[u8], may_change: &Rules) -> Result<()> {
        match read {
            Read::Whole(whole) => {
                for (chunk, range) in &whole.chunks {
                    self.draft.put(BlockKind::Data, *chunk, &data[range.clone()])?;
                }
                let chunks: Vec<ChunkRef> = whole.chunks.iter().map(|(chunk, _)| *chunk).collect();
                let kind = whole.content(self.name_chunks(chunks)?, self.name_holes(&path, &whole.holes)?);
                let entry = self.describe(path, kind, &whole.stat);
                match self.with_attributes(entry, whole.xattrs, whole.streams)? {
                    Some(entry) => self.add(&entry, &Since::New),
                    None => Ok(()),
                }
            }
            Read::Gone => Ok(()),
            other => {
                self.file_problem(path, other, may_change);
                Ok(())
            }
        }
    }

    fn file_problem(&mut self, path: EntryPath, read: Read, may_change: &Rules) {
        match read {
            Read::Changing(reason) => self.problems.keeps_changing(path, false, reason, may_change),
            Read::Held(reason) => self.problems.held.push((path, reason)),
            Read::Failed(reason) => self.problems.unreadable.push((path, reason)),
            Read::Exhausted(error) => self.problems.exhausted(path, error),
            Read::Whole(_) | Read::Gone => {}
        }
    }

    /// Takes a further name of an object whose first one has been taken.
    fn take_link(&mut self, found: &Found, first: &EntryPath, may_change: &Rules) -> Result<()> {
        if let Some((entry, unchanged)) = self.names.further(first, &found.path, &found.stat) {
            return self.add(&entry, if unchanged { &Since::Unchanged } else { &Since::New });
        }
        // It changed since, or the first name was not taken.
        let entry = match found.stat.kind {
            ObjectKind::File => self.take_large(found, may_change)?,
            _ => self.look_at_object(found)?,
        };
        let Some(entry) = entry else { return Ok(()) };
        match self.names.reconcile(first, entry) {
            Some(entry) => self.add_read(&entry),
            None => {
                let reason = format!("it changed since it was read under its other name {first}");
                self.file_problem(found.path.clone(), Read::Changing(reason), may_change);
                Ok(())
            }
        }
    }

    /// Reads a large file as a stream; its chunks go into the draft as they come.
    fn take_large(&mut self, found: &Found, may_change: &Rules) -> Result<Option<Entry>> {
        let (draft, progress) = (&mut *self.draft, self.progress);
        let mut advanced = 0;
        let read = file::read_large(found, self.sizes, &*self.clock, |chunk, bytes| {
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
                let holes = self.name_holes(&found.path, &whole.holes)?;
                let entry = self.describe(found.path.clone(), whole.content(chunks, holes), &whole.stat);
                self.progress.advance(1, whole.size.saturating_sub(advanced));
                self.with_attributes(entry, whole.xattrs, whole.streams)
            }
            other => {
                self.file_problem(found.path.clone(), other, may_change);
                Ok(None)
            }
        }
    }

    /// Names the chunks of a file directly, or by lists where they are many.
    fn name_chunks(&mut self, chunks: Vec<ChunkRef>) -> Result<Chunks> {
        if chunks.len() <= limits::ENTRY_CHUNKS_MAX {
            return Ok(Chunks::Direct(chunks));
        }
        let mut lists = Vec::new();
        for part in file::list_parts(&chunks) {
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

    /// Names the holes of a file directly, or by lists where they are many.
    fn name_holes(&mut self, path: &EntryPath, holes: &[Hole]) -> Result<Holes> {
        if holes.len() <= limits::ENTRY_HOLES_MAX {
            return Ok(Holes::Direct(holes.to_vec()));
        }
        if holes.len() >= limits::FILE_HOLES_MAX {
            let most = limits::FILE_HOLES_MAX;
            let many = format!("{path} has {most} holes or more: the longest are kept, the others as zeros");
            self.report.notes.push(many);
        }
        let mut lists = Vec::new();
        for part in sparse::list_parts(holes) {
            let bytes = encode_hole_list(part);
            let object = reference(&bytes);
            self.draft.put(BlockKind::Listing, object, &bytes)?;
            lists.push(ListRef(object.id(), object.length(), part.iter().map(|hole| hole.1).sum()));
        }
        if lists.len() > limits::ENTRY_LISTS_MAX {
            return refuse(Code::SourceUnsupported, format!("{path} has more holes than a vault can list"));
        }
        Ok(Holes::Listed(lists))
    }

    fn add(&mut self, entry: &Entry, since: &Since) -> Result<()> {
        let unchanged = !matches!(since, Since::New);
        if let Some(file) = entry.file() {
            self.report.files_unchanged += u64::from(unchanged);
            self.progress.advance(1, file.size);
        }
        self.names.keep(&entry.path, entry, unchanged);
        if let Since::Same(line) = since {
            debug_assert!(
                line.strip_suffix(b"\n") == Some(&json::encode(entry)[..]),
                "an equal entry has an equal line"
            );
            self.count(entry);
            return self.writer.push_line(self.draft, &entry.path, line);
        }
        self.add_read(entry)
    }

    /// Adds an entry whose progress has been told; where a vault cannot keep it, it stands in the way of the snapshot.
    fn add_read(&mut self, entry: &Entry) -> Result<()> {
        self.count(entry);
        if !listing::fits(entry) {
            self.problems.unsupported.push((entry.path.clone(), "more metadata than a vault can keep".into()));
            return Ok(());
        }
        self.writer.push(self.draft, entry)
    }

    fn count(&mut self, entry: &Entry) {
        let before = self.report.counts.bytes;
        self.report.counts.add(entry);
        self.problems.counted(&entry.path, before, self.report.counts.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vault_cannot_keep_is_refused_with_the_complete_list() {
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        let mut problems = Problems::default();
        assert!(problems.refuse(Path::new("/s")).is_ok());
        for name in ["z", "a/b", "a"] {
            problems.unsupported.push((path(name), "of a kind that nobody knows".into()));
        }
        let Err(Error::Refused(refusal)) = problems.refuse(Path::new("/s")) else { panic!("not refused") };
        assert_eq!(refusal.code, Code::SourceUnsupported);
        assert_eq!(refusal.paths, ["a", "a/b", "z"].map(path));
        assert_eq!(refusal.causes[0], "a: of a kind that nobody knows");
    }

    #[test]
    fn every_kind_of_problem_has_its_code_and_all_paths_are_named() {
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        let code = |problems: &Problems| problems.refuse(Path::new("/s")).expect_err("a problem").code();
        let none = Rules::given(&[]).expect("no pattern is wrong");
        let mut problems = Problems::default();
        assert!(problems.refuse(Path::new("/s")).is_ok());
        problems.failed(path("held"), std::io::ErrorKind::ResourceBusy.into(), &none);
        assert_eq!(code(&problems), Some(Code::SourceHeld));
        problems.elsewhere(path("cloud"));
        let allowed = Rules::given(&["/busy/".into(), "/log".into()]).expect("right");
        problems.restless(&path("busy"), &allowed);
        problems.failed(path("log"), std::io::ErrorKind::NotFound.into(), &allowed);
        assert_eq!(problems.left_out, [path("busy"), path("log")]);
        assert_eq!(code(&problems), Some(Code::SourceElsewhere));
        problems.failed(path("renamed"), std::io::ErrorKind::NotFound.into(), &none);
        problems.restless(&path("busy"), &none);
        assert_eq!(code(&problems), Some(Code::SourceChanging));
        problems.failed(path("closed"), std::io::ErrorKind::PermissionDenied.into(), &none);
        let Err(Error::Refused(refusal)) = problems.refuse(Path::new("/s")) else { panic!("no refusal") };
        assert_eq!(refusal.code, Code::SourceUnreadable);
        assert_eq!(refusal.paths, ["busy", "closed", "cloud", "held", "renamed"].map(path));
        problems.failed(path("a"), std::io::ErrorKind::OutOfMemory.into(), &none);
        assert_eq!(code(&problems), None, "that says nothing of the source");
    }
}
