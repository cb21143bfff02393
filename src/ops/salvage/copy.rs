//! Copying into a new directory, and the list that says how each path stands.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Standing;
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::entry::{ChunkRef, Chunks, Entry, FileContent, Kind, ListRef, decode_chunk_list};
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
        let (chunks, list_trouble) = self.chunks(content);
        let held: u64 = chunks.iter().flatten().map(|chunk| u64::from(chunk.length())).sum();
        let data = data_bytes(content);
        if held == 0
            && data > 0
            && let Some(reason) = list_trouble
        {
            self.standing.damaged += 1;
            return self.line(&entry.path, "file", "damaged", None, &reason);
        }
        let available = self.room();
        if available.is_some_and(|room| room < content.size.saturating_add(limits::SPACE_RESERVE_BYTES)) {
            let message = format!("{} has no room for {}", shown_path(&self.target.path), entry.path);
            return refuse(Code::DestinationSpace, message);
        }
        // Unknown until the last chunk is read: it is begun among the good ones only if a first look finds every chunk.
        let mut failures: Vec<(u64, Finding)> = Vec::new();
        let mut intact = 0;
        let whole =
            list_trouble.is_none() && self.each(&chunks, content, |_, _| Ok(()), &mut failures, &mut intact).is_ok();
        let (base, standing) = if whole && failures.is_empty() { self.good() } else { (DAMAGED, "damaged") };
        if intact == 0 && data > 0 {
            let all_missing = failures.iter().all(|(_, finding)| finding.code == Code::ChunkMissing);
            let reason = failures.first().map_or_else(String::new, |(_, finding)| told(finding));
            if all_missing {
                self.standing.missing += 1;
                return self.line(&entry.path, "file", "missing", None, &reason);
            }
            self.standing.damaged += 1;
            return self.line(&entry.path, "file", "damaged", None, &reason);
        }
        match self.write(entry, content, &chunks, base) {
            Ok(bytes) => {
                self.standing.bytes += bytes;
                self.progress.advance(1, bytes);
                if base == DAMAGED {
                    self.standing.damaged += 1;
                    let first = failures.first().map(|(_, finding)| told(finding)).or(list_trouble).unwrap_or_default();
                    let reason = format!("{bytes} of {data} bytes were copied, the rest is zeros; {first}");
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

    /// Returns the chunks of a file in order; a part whose list cannot be read is `None`, with the reason.
    fn chunks(&self, content: &FileContent) -> (Vec<Option<ChunkRef>>, Option<String>) {
        let lists: &[ListRef] = match &content.chunks {
            Chunks::Direct(chunks) => return (chunks.iter().copied().map(Some).collect(), None),
            Chunks::Listed(lists) => lists,
        };
        let (mut chunks, mut trouble) = (Vec::new(), None);
        for list in lists {
            let bytes = self.reader.chunk(list.object());
            let listed = bytes.map_err(|finding| told(&finding)).and_then(|bytes| {
                let listed = decode_chunk_list(&bytes).map_err(|error| error.to_string())?;
                let sum: u64 = listed.iter().map(|chunk| u64::from(chunk.length())).sum();
                if sum == list.content_bytes() { Ok(listed) } else { Err("a chunk list does not add up".to_owned()) }
            });
            match listed {
                Ok(listed) => chunks.extend(listed.into_iter().map(Some)),
                Err(reason) => {
                    // Where the rest belongs is not known any more.
                    trouble.get_or_insert(reason);
                    break;
                }
            }
        }
        (chunks, trouble)
    }

    /// Hands on every chunk that reads and matches its hash, with its place in the file.
    fn each(
        &self,
        chunks: &[Option<ChunkRef>],
        content: &FileContent,
        mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
        failures: &mut Vec<(u64, Finding)>,
        intact: &mut u64,
    ) -> io::Result<()> {
        let mut offset = 0u64;
        for chunk in chunks.iter().flatten() {
            match self.reader.chunk(*chunk) {
                Ok(bytes) => {
                    *intact += bytes.len() as u64;
                    take(offset, &bytes)?;
                }
                Err(finding) => {
                    if failures.len() < limits::EVIDENCE_ITEMS_MAX {
                        failures.push((offset, finding));
                    }
                }
            }
            offset = offset.saturating_add(u64::from(chunk.length()));
        }
        if offset == data_bytes(content) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write(
        &mut self,
        entry: &Entry,
        content: &FileContent,
        chunks: &[Option<ChunkRef>],
        base: &'static str,
    ) -> Result<u64, Stopped> {
        if self.progress.interrupted() {
            return Err(Stopped::Stop(Error::Interrupted(None)));
        }
        let parent = entry.path.parent().unwrap_or_default();
        let dir = self.directory(base, &parent).map_err(Stopped::Target)?;
        let name = if entry.path.is_root() { b"content" } else { entry.path.name() };
        let mut file = dir.create_file(name).map_err(Stopped::Target)?;
        let (mut failures, mut intact) = (Vec::new(), 0);
        file.set_len(content.size).map_err(Stopped::Target)?;
        let extents = content.extents();
        let mut failed = None;
        let copied = self.each(
            chunks,
            content,
            |offset, mut bytes| {
                let written = extents.spread(offset, bytes.len() as u64).try_for_each(|(place, length)| {
                    let (part, rest) = bytes.split_at(usize::try_from(length).unwrap_or(bytes.len()).min(bytes.len()));
                    bytes = rest;
                    file.seek(SeekFrom::Start(place)).and_then(|_| file.write_all(part))
                });
                written.inspect_err(|error| failed = Some(io::Error::new(error.kind(), error.to_string())))
            },
            &mut failures,
            &mut intact,
        );
        if let Some(error) = failed {
            return Err(Stopped::Target(error));
        }
        if base != DAMAGED && (copied.is_err() || !failures.is_empty()) {
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
        Ok(intact)
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

/// Returns how many bytes of a file lie in chunks; the others are holes.
fn data_bytes(content: &FileContent) -> u64 {
    content.size.saturating_sub(content.holes.iter().map(|hole| hole.1).sum())
}

fn told(finding: &Finding) -> String {
    format!("{}: {}: {}", finding.code, finding.subject, finding.detail)
}
