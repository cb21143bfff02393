//! Copying into a new directory, and the list that says how each path stands.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Standing;
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::entry::{Entry, FileContent, Kind};
use crate::format::json::TextOrBase64;
use crate::format::listing::PartRef;
use crate::format::record::Snapshot;
use crate::fsys::{self, Dir, ObjectKind};
use crate::limits;
use crate::path::EntryPath;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Refusal};
use crate::vault::Finding;
use crate::vault::read::Reader;

/// The list of every path and its standing.
pub(super) const LIST: &str = "salvage.jsonl";
const VERIFIED: &str = "verified";
const DAMAGED: &str = "damaged";
const UNAUTHENTICATED: &str = "unauthenticated";

/// A destination that was found safe.
pub(super) struct Target {
    pub(super) path: PathBuf,
    name: Vec<u8>,
    parent: Dir,
    existed: bool,
}

impl Target {
    /// Refuses every destination that holds anything, is no plain directory, or overlaps the vault; changes nothing.
    pub(super) fn preflight(destination: &Path, vault: Option<&Path>) -> Result<Self> {
        let shown = shown_path(destination);
        let name = destination
            .file_name()
            .ok_or_else(|| Refusal::new(Code::DestinationNotPlain, format!("{shown} names no directory of its own")))?;
        let above = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let unusable = |error: io::Error| {
            Refusal::new(Code::DestinationParent, format!("{} cannot be used", shown_path(above))).cause(error)
        };
        let above_path = fs::canonicalize(above).map_err(unusable)?;
        let parent = Dir::open(&above_path).map_err(unusable)?;
        let path = above_path.join(name);
        let name = name.as_encoded_bytes().to_vec();
        let existed = match parent.stat_at(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::environment(format!("look at {shown}"), error)),
            Ok(stat) if stat.kind != ObjectKind::Directory => {
                return refuse(
                    Code::DestinationNotPlain,
                    format!("{shown} is a {}, not a directory", stat.kind.name()),
                );
            }
            Ok(_) => {
                let names = parent.open_dir(&name).and_then(|dir| dir.names());
                if !names.map_err(|error| Error::environment(format!("list {shown}"), error))?.is_empty() {
                    return refuse(Code::DestinationNotEmpty, format!("{shown} is not empty"));
                }
                true
            }
        };
        if let Some(vault) = vault
            && (path.starts_with(vault) || vault.starts_with(&path))
        {
            return refuse(Code::DestinationOverlaps, format!("{shown} overlaps the vault {}", shown_path(vault)));
        }
        Ok(Self { path, name, parent, existed })
    }

    /// Makes the directory.
    pub(super) fn make(self) -> Result<Made> {
        let made = if self.existed { Ok(()) } else { self.parent.create_dir(&self.name) };
        let root = made.and_then(|()| self.parent.open_dir(&self.name)).map_err(|error| {
            Refusal::new(Code::DestinationParent, format!("{} cannot be made", shown_path(&self.path))).cause(error)
        })?;
        Ok(Made { path: self.path, root, parent: self.parent })
    }
}

/// A destination that is there and empty.
pub(super) struct Made {
    pub(super) path: PathBuf,
    root: Dir,
    parent: Dir,
}

/// Copies entries and writes the list.
pub(super) struct Copier<'a> {
    target: &'a Made,
    reader: &'a Reader,
    authenticated: bool,
    progress: &'a dyn Progress,
    list: BufWriter<File>,
    standing: Standing,
    // Links come last, so that nothing is ever written through one.
    links: Vec<(EntryPath, Vec<u8>)>,
    // Directories that hold copies, where the system syncs no whole file system.
    directories: BTreeSet<(&'static str, EntryPath)>,
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
            standing: Standing::default(),
            links: Vec::new(),
            directories: BTreeSet::new(),
        })
    }

    /// Copies everything at and below a path. What cannot be read is put down and passed over.
    pub(super) fn copy(&mut self, snapshot: &Snapshot, within: &EntryPath) -> Result<()> {
        self.progress.phase(Phase::Restoring, Some(snapshot.counts.files), Some(snapshot.counts.bytes));
        for list in &snapshot.lists {
            let segments = match self.reader.segment_list(list) {
                Ok(segments) => segments,
                Err(finding) => {
                    self.gap(list, &finding)?;
                    continue;
                }
            };
            for segment in &segments {
                match self.reader.segment(segment) {
                    Ok(entries) => {
                        for entry in entries.into_iter().filter(|entry| entry.path.is_within(within)) {
                            self.take(entry)?;
                        }
                    }
                    Err(finding) => self.gap(segment, &finding)?,
                }
                if self.progress.interrupted() {
                    return Err(Error::Interrupted(None));
                }
            }
        }
        self.write_links()
    }

    pub(super) fn finish(mut self) -> Result<Standing> {
        let standing = self.standing;
        let summary = json!({"summary": {
            "authenticated": self.authenticated,
            "verified": standing.verified,
            "unauthenticated": standing.unauthenticated,
            "damaged": standing.damaged,
            "missing": standing.missing,
            "not_written": standing.not_written,
            "bytes": standing.bytes,
        }});
        self.put(&summary)?;
        let failed = |error| Error::environment(format!("write {LIST}"), error);
        self.list.flush().and_then(|()| self.list.get_ref().sync_all()).map_err(failed)?;
        self.sync().map_err(|error| Error::environment(format!("sync {}", shown_path(&self.target.path)), error))?;
        Ok(standing)
    }

    /// Makes every name durable; what files hold was made so one by one.
    fn sync(&mut self) -> io::Result<()> {
        if !fsys::sync_filesystem(&self.target.root)? {
            for (base, path) in std::mem::take(&mut self.directories).into_iter().rev() {
                self.directory(base, &path)?.sync()?;
            }
            self.target.root.sync()?;
        }
        self.target.parent.sync()
    }

    fn put(&mut self, line: &Value) -> Result<()> {
        let written = serde_json::to_writer(&mut self.list, line).map_err(io::Error::from);
        written
            .and_then(|()| self.list.write_all(b"\n"))
            .map_err(|error| Error::environment(format!("write {LIST}"), error))
    }

    /// Puts down a part of the listing that cannot be read: nobody can say which paths it named.
    fn gap(&mut self, part: &PartRef, finding: &Finding) -> Result<()> {
        self.standing.damaged += part.entries;
        let missing = finding.code == Code::ListingMissing;
        let from = TextOrBase64::of(part.first.as_bytes());
        self.put(&json!({
            "from_path": from.text,
            "from_path_b64": from.base64,
            "entries": part.entries,
            "standing": if missing { "missing" } else { "damaged" },
            "reason": format!("the list of these files cannot be read: {}: {}", finding.code, finding.detail),
        }))
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

    fn count_good(&mut self) {
        if self.authenticated {
            self.standing.verified += 1;
        } else {
            self.standing.unauthenticated += 1;
        }
    }

    fn take(&mut self, entry: Entry) -> Result<()> {
        match &entry.kind {
            Kind::Directory => {
                let (base, standing) = self.good();
                match self.directory(base, &entry.path) {
                    Ok(_) => {
                        self.count_good();
                        self.line(&entry.path, "directory", standing, Some(base), "")
                    }
                    Err(error) => self.not_written(&entry.path, "directory", &error),
                }
            }
            Kind::Symlink(target) if self.authenticated => {
                self.links.push((entry.path, target.clone()));
                Ok(())
            }
            Kind::Junction(_) | Kind::Fifo | Kind::Socket | Kind::Block(..) | Kind::Character(..) => {
                self.standing.not_written += 1;
                self.line(
                    &entry.path,
                    entry.kind.name(),
                    "not written",
                    None,
                    "salvage makes files, directories and links",
                )
            }
            Kind::Symlink(target) => {
                self.standing.unauthenticated += 1;
                let reason = format!("links are not made without proof; it pointed to {}", crate::path::shown(target));
                self.line(&entry.path, "symlink", UNAUTHENTICATED, None, &reason)
            }
            Kind::File(file) => {
                let file = file.clone();
                self.file(&entry, &file)
            }
        }
    }

    fn not_written(&mut self, path: &EntryPath, kind: &str, error: &io::Error) -> Result<()> {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            let message = format!("{} is full", shown_path(&self.target.path));
            return Err(Refusal::new(Code::DestinationSpace, message).cause(error).into());
        }
        self.standing.not_written += 1;
        self.line(path, kind, "not written", None, &error.to_string())
    }

    /// Opens the directory of an entry below a base, made where it is missing; nothing that exists is replaced.
    fn directory(&mut self, base: &'static str, path: &EntryPath) -> io::Result<Dir> {
        if !fsys::SYNCS_WHOLE_FILESYSTEMS {
            let above = std::iter::successors(Some(path.clone()), EntryPath::parent);
            // Where a directory is known, those above it are.
            let _ = above.map(|path| self.directories.insert((base, path))).take_while(|new| *new).count();
        }
        let mut dir = self.below(&self.target.root, base.as_bytes())?;
        if path.is_root() {
            return Ok(dir);
        }
        for name in path.components() {
            dir = self.below(&dir, name)?;
        }
        Ok(dir)
    }

    fn below(&self, dir: &Dir, name: &[u8]) -> io::Result<Dir> {
        match dir.create_dir(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => dir.open_dir(name),
        }
    }

    /// Copies a file: complete among the good ones, or what is left of it among the damaged.
    fn file(&mut self, entry: &Entry, content: &FileContent) -> Result<()> {
        let data = content.data_bytes();
        let available = self.room();
        if available.is_some_and(|room| room < content.size.saturating_add(limits::SPACE_RESERVE_BYTES)) {
            let message = format!("{} has no room for {}", shown_path(&self.target.path), entry.path);
            return refuse(Code::DestinationSpace, message);
        }
        // Unknown until the last chunk is read: it is begun among the good ones only if a first look finds every chunk.
        let look = self.each(content, |_, _| Ok(())).map_err(|error| Error::environment("look at a file", error))?;
        let whole = look.is_whole(data);
        let (base, standing) = if whole { self.good() } else { (DAMAGED, "damaged") };
        if look.intact == 0 && data > 0 {
            if look.lists.is_none() && look.all_missing {
                self.standing.missing += 1;
                return self.line(&entry.path, "file", "missing", None, &look.reason());
            }
            self.standing.damaged += 1;
            return self.line(&entry.path, "file", "damaged", None, &look.reason());
        }
        match self.write(entry, content, base) {
            Ok(bytes) => {
                self.standing.bytes += bytes;
                self.progress.advance(1, bytes);
                if base == DAMAGED {
                    self.standing.damaged += 1;
                    let reason = format!("{bytes} of {data} bytes were copied, the rest is zeros; {}", look.reason());
                    return self.line(&entry.path, "file", standing, Some(base), &reason);
                }
                self.count_good();
                self.line(&entry.path, "file", standing, Some(base), "")
            }
            Err(Stopped::Target(error)) => self.not_written(&entry.path, "file", &error),
            Err(Stopped::Stop(error)) => Err(error),
        }
    }

    fn room(&self) -> Option<u64> {
        fs2::available_space(&self.target.path).ok()
    }

    /// Hands on every chunk that reads and matches its hash. What cannot be placed any more, because a list of chunks or of
    /// holes cannot be read, is not handed on.
    fn each(&self, content: &FileContent, mut take: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<Copied> {
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

    fn write(&mut self, entry: &Entry, content: &FileContent, base: &'static str) -> Result<u64, Stopped> {
        if self.progress.interrupted() {
            return Err(Stopped::Stop(Error::Interrupted(None)));
        }
        let parent = entry.path.parent().unwrap_or_default();
        let dir = self.directory(base, &parent).map_err(Stopped::Target)?;
        let name = if entry.path.is_root() { b"content" } else { entry.path.name() };
        let mut file = dir.create_file(name).map_err(Stopped::Target)?;
        file.set_len(content.size).map_err(Stopped::Target)?;
        let copied =
            self.each(content, |place, bytes| file.seek(SeekFrom::Start(place)).and_then(|_| file.write_all(bytes)));
        let copied = copied.map_err(Stopped::Target)?;
        if base != DAMAGED && !copied.is_whole(content.data_bytes()) {
            // It read a moment ago: the medium is not to be trusted, and nothing here may be called verified.
            let path = shown_path(&self.target.path);
            let refusal = Refusal::new(Code::Unstable, format!("{} read once and then not again", entry.path))
                .written(format!("{path} holds what was copied so far; {} in it is not complete", entry.path));
            return Err(Stopped::Stop(refusal.into()));
        }
        // Whose file it was is not restored, so that no bit may stay that would give rights of the owner.
        let mode = entry.mode.map(|mode| mode & 0o777);
        let (mode, mtime) = if self.authenticated { (mode, entry.mtime) } else { (None, None) };
        Dir::set_file_meta(&file, mode, mtime).and_then(|()| file.sync_all()).map_err(Stopped::Target)?;
        Ok(copied.intact)
    }

    fn write_links(&mut self) -> Result<()> {
        for (path, link) in std::mem::take(&mut self.links) {
            let parent = path.parent().unwrap_or_default();
            let made = self.directory(VERIFIED, &parent).and_then(|dir| dir.create_symlink(&link, path.name()));
            match made {
                Ok(()) => {
                    self.standing.verified += 1;
                    self.line(&path, "symlink", "verified", Some(VERIFIED), "")?;
                }
                Err(error) => self.not_written(&path, "symlink", &error)?,
            }
        }
        Ok(())
    }
}

/// Why a file was not copied.
enum Stopped {
    /// The target does not take it; the others may go on.
    Target(io::Error),
    /// Nothing more is to be copied.
    Stop(Error),
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
        self.first.as_ref().map(told).or_else(|| self.lists.clone()).unwrap_or_default()
    }
}

fn told(finding: &Finding) -> String {
    format!("{}: {}: {}", finding.code, finding.subject, finding.detail)
}
