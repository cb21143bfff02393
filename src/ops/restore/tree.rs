//! Writing a tree into the staging directory, through directory handles, each block of the vault decoded once.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::sync::Arc;

use super::keep::Keep;
use super::target::Staging;
use crate::crypto::Digest;
use crate::error::{Error, Result};
use crate::format::entry::{ChunkRef, Chunks, Entry, Kind};
use crate::format::holes::Extents;
use crate::fsys::{self, Dir, Object, ObjectKind};
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::Finding;
use crate::vault::catalog::Place;
use crate::vault::read::Reader;

/// How many entries are planned at once: bounds memory, whatever the snapshot's size.
const WINDOW_ENTRIES: usize = 100_000;
/// How many chunks are planned at once.
const WINDOW_CHUNKS: usize = 400_000;
/// How many directories a thread keeps open.
const OPEN_DIRECTORIES_MAX: usize = 32;

/// Opens directories below a root, keeping the most recent ones open.
pub(super) struct Directories {
    root: Arc<Dir>,
    recent: VecDeque<(EntryPath, Arc<Dir>)>,
}

impl Directories {
    pub(super) fn new(root: Arc<Dir>) -> Self {
        Self { root, recent: VecDeque::new() }
    }

    pub(super) fn get(&mut self, path: &EntryPath) -> io::Result<Arc<Dir>> {
        if path.is_root() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((_, dir)) = self.recent.iter().find(|(known, _)| known == path) {
            return Ok(Arc::clone(dir));
        }
        // From the nearest directory above that is open, one name at a time.
        let length = |(known, _): &&(EntryPath, Arc<Dir>)| known.as_bytes().len();
        let above = self.recent.iter().filter(|(known, _)| path.is_within(known)).max_by_key(length);
        let (start, mut dir) = match above {
            Some((known, dir)) => (known.depth(), Arc::clone(dir)),
            None => (0, Arc::clone(&self.root)),
        };
        let depth = path.depth();
        let mut end = 0;
        for (level, name) in path.components().enumerate() {
            end += name.len() + usize::from(level > 0);
            if level < start {
                continue;
            }
            dir = Arc::new(dir.open_dir(name)?);
            // The last ones on the way stay open: who goes up again finds them.
            if depth - level <= OPEN_DIRECTORIES_MAX / 2 {
                let here = EntryPath::parse(&path.as_bytes()[..end]).map_err(io::Error::other)?;
                if self.recent.len() >= OPEN_DIRECTORIES_MAX {
                    self.recent.pop_front();
                }
                self.recent.push_back((here, Arc::clone(&dir)));
            }
        }
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
    /// Its chunks are planned as aims, and gone here.
    entry: Entry,
    size: u64,
    chunks: u32,
    /// Where its data lies, if it has holes.
    extents: Option<Extents>,
}

impl Planned {
    /// Returns whether the file is created, written and finished with its only chunk.
    fn in_one_go(&self) -> bool {
        self.chunks == 1 && self.extents.is_none()
    }
}

/// Writes entries that come in path order: directories at once, files by window and block, the rest at the end.
pub(super) struct TreeWriter<'a> {
    staging: &'a Staging,
    reader: Arc<Reader>,
    keep: Arc<Keep>,
    pool: Pool,
    progress: &'a dyn Progress,
    directories: Directories,
    // Ascending; their metadata is set last, deepest first.
    metadata: Vec<Entry>,
    // What is neither a file nor a directory, and after it further names.
    others: Vec<Entry>,
    links: Vec<(EntryPath, EntryPath)>,
    files: Vec<Planned>,
    aims: Vec<Aim>,
}

impl<'a> TreeWriter<'a> {
    pub(super) fn new(
        staging: &'a Staging,
        reader: Arc<Reader>,
        keep: Arc<Keep>,
        pool: Pool,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            directories: Directories::new(Arc::clone(&staging.root)),
            staging,
            reader,
            keep,
            pool,
            progress,
            metadata: Vec::new(),
            others: Vec::new(),
            links: Vec::new(),
            files: Vec::new(),
            aims: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, entry: Entry) -> Result<()> {
        if let Some(first) = self.keep.further_name(&entry) {
            self.progress.advance(u64::from(entry.file().is_some()), entry.file().map_or(0, |file| file.size));
            self.links.push((first.clone(), entry.path));
            return Ok(());
        }
        match &entry.kind {
            Kind::Directory => {
                if !entry.path.is_root() {
                    let parent = entry.path.parent().unwrap_or_default();
                    self.directories
                        .get(&parent)
                        .and_then(|dir| dir.create_dir(entry.path.name()))
                        .map_err(|error| failed(&entry.path, "create the directory", error))?;
                }
                self.metadata.push(entry);
            }
            Kind::File(_) => self.plan(entry)?,
            _ => self.others.push(entry),
        }
        if self.files.len() >= WINDOW_ENTRIES || self.aims.len() >= WINDOW_CHUNKS {
            self.write_window()
        } else {
            Ok(())
        }
    }

    /// Plans where each chunk of a file goes.
    fn plan(&mut self, mut entry: Entry) -> Result<()> {
        let Kind::File(file) = &mut entry.kind else { return Ok(()) };
        let chunks = match &file.chunks {
            Chunks::Direct(chunks) => chunks.clone(),
            Chunks::Listed(_) => self.reader.chunks(file)?,
        };
        let (size, extents) = (file.size, (!file.holes.is_empty()).then(|| file.extents()));
        (file.chunks, file.holes) = (Chunks::Direct(Vec::new()), Vec::new());
        let number = u32::try_from(self.files.len()).expect("a window is bounded");
        let mut offset = 0;
        for chunk in &chunks {
            let place = self.reader.catalog().places(*chunk).next().copied().ok_or_else(|| {
                Finding::new(Code::ChunkMissing, entry.path.to_string(), format!("no pack holds chunk {}", chunk.id()))
            })?;
            self.aims.push(Aim { place, file: number, offset });
            offset += u64::from(chunk.length());
        }
        let chunks =
            u32::try_from(chunks.len()).map_err(|error| failed(&entry.path, "plan", io::Error::other(error)))?;
        self.files.push(Planned { entry, size, chunks, extents });
        Ok(())
    }

    /// Writes the planned files, each block decoded once: files of one chunk in one go, others piece by piece.
    fn write_window(&mut self) -> Result<()> {
        let files = Arc::new(std::mem::take(&mut self.files));
        let mut aims = std::mem::take(&mut self.aims);
        for file in files.iter().filter(|file| !file.in_one_go()) {
            self.create_empty(file)?;
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
            let (reader, keep) = (Arc::clone(&self.reader), Arc::clone(&self.keep));
            let (files, root) = (Arc::clone(&files), Arc::clone(&self.staging.root));
            let done = job.iter().filter(|aim| files[aim.file as usize].in_one_go()).count();
            under_way.push_back(self.pool.spawn(move || {
                let mut writer = BlockWriter { reader: &reader, keep: &keep, directories: Directories::new(root) };
                writer.write(&files, &job)
            }));
            self.progress.advance(done as u64, 0);
            if under_way.len() > self.pool.threads() + 4 {
                self.take_written(&mut under_way)?;
            }
        }
        while !under_way.is_empty() {
            self.take_written(&mut under_way)?;
        }
        for file in files.iter().filter(|file| file.chunks > 0 && !file.in_one_go()) {
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

    /// Creates a file that is empty or comes in pieces.
    fn create_empty(&mut self, file: &Planned) -> Result<()> {
        let path = &file.entry.path;
        let lift = |error| failed(path, "create", error);
        let dir = self.directories.get(&path.parent().unwrap_or_default()).map_err(lift)?;
        let open = dir.create_file(path.name()).map_err(lift)?;
        if file.size > 0 {
            if file.extents.is_some() {
                fsys::allow_holes(&open).map_err(lift)?;
            }
            open.set_len(file.size).map_err(lift)?;
        }
        if file.chunks == 0 { finish_file(&self.reader, &self.keep, &open, &file.entry) } else { Ok(()) }
    }

    fn finish_pieces(&mut self, file: &Planned) -> Result<()> {
        let path = &file.entry.path;
        let opened =
            self.directories.get(&path.parent().unwrap_or_default()).and_then(|dir| dir.reopen_file(path.name()));
        let open = opened.map_err(|error| failed(path, "finish", error))?;
        finish_file(&self.reader, &self.keep, &open, &file.entry)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.write_window()?;
        for entry in std::mem::take(&mut self.others) {
            self.create_other(&entry)?;
        }
        for (first, further) in std::mem::take(&mut self.links) {
            let above = |path: &EntryPath| path.parent().unwrap_or_default();
            let linked = self.directories.get(&above(&first)).and_then(|from| {
                let to = self.directories.get(&above(&further))?;
                from.create_link(first.name(), &to, further.name())
            });
            linked.map_err(|error| failed(&further, "link", error))?;
        }
        // Deepest first: what lies above may become unreadable, and its time changes with what is made in it.
        for entry in std::mem::take(&mut self.metadata).into_iter().rev() {
            let lift = |error| failed(&entry.path, "finish", error);
            let dir = self.directories.get(&entry.path).map_err(lift)?;
            self.keep.set(Object::Directory(&dir), &entry, &self.reader)?;
            if !fsys::SYNCS_WHOLE_FILESYSTEMS {
                dir.sync().map_err(lift)?;
            }
        }
        Ok(())
    }

    /// Creates a link, pipe, socket or device.
    fn create_other(&mut self, entry: &Entry) -> Result<()> {
        let name = entry.path.name();
        let lift = |error| failed(&entry.path, "create", error);
        let dir = self.directories.get(&entry.path.parent().unwrap_or_default()).map_err(lift)?;
        let made = match &entry.kind {
            Kind::Symlink(target) => dir.create_symlink(target, name),
            Kind::Junction(target) => dir.create_junction(target, name),
            Kind::Fifo => dir.create_special(name, ObjectKind::Fifo, (0, 0)),
            Kind::Socket => dir.create_special(name, ObjectKind::Socket, (0, 0)),
            Kind::Block(major, minor) => dir.create_special(name, ObjectKind::Block, (*major, *minor)),
            Kind::Character(major, minor) => dir.create_special(name, ObjectKind::Character, (*major, *minor)),
            Kind::Directory | Kind::File(_) => Ok(()),
        };
        made.map_err(lift)?;
        self.keep.set(Object::Name(&dir, name), entry, &self.reader)
    }
}

/// Sets a complete file's metadata, and makes it durable where that cannot be done for all files at once.
fn finish_file(reader: &Reader, keep: &Keep, open: &fs::File, entry: &Entry) -> Result<()> {
    keep.set(Object::File(open), entry, reader)?;
    if fsys::SYNCS_WHOLE_FILESYSTEMS {
        return Ok(());
    }
    fsys::sync_file(open).map_err(|error| failed(&entry.path, "sync", error))
}

/// Writes what one block holds.
struct BlockWriter<'a> {
    reader: &'a Reader,
    keep: &'a Keep,
    directories: Directories,
}

impl BlockWriter<'_> {
    /// Writes every chunk of one block to where it belongs; the chunk's hash has matched before.
    fn write(&mut self, files: &[Planned], aims: &[Aim]) -> Result<u64> {
        let Some(first) = aims.first() else { return Ok(0) };
        let block = self.reader.load_block(first.place.block);
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
                Ok(block) => match self.reader.slice(block, &aim.place) {
                    Ok(bytes) => {
                        verified = Some((aim.place.offset, aim.place.id));
                        bytes
                    }
                    Err(_) => {
                        elsewhere = recover(self.reader, aim, file)?;
                        &elsewhere
                    }
                },
                Err(_) => {
                    elsewhere = recover(self.reader, aim, file)?;
                    &elsewhere
                }
            };
            self.write_piece(file, aim.offset, bytes)?;
            total += bytes.len() as u64;
        }
        Ok(total)
    }

    fn write_piece(&mut self, file: &Planned, offset: u64, bytes: &[u8]) -> Result<()> {
        use io::{Seek, Write};
        let path = &file.entry.path;
        let lift = |error| failed(path, "write", error);
        let dir = self.directories.get(&path.parent().unwrap_or_default()).map_err(lift)?;
        if file.in_one_go() {
            let mut open = dir.create_file(path.name()).map_err(lift)?;
            open.write_all(bytes).map_err(lift)?;
            return finish_file(self.reader, self.keep, &open, &file.entry);
        }
        let mut open = dir.reopen_file(path.name()).map_err(lift)?;
        let Some(extents) = &file.extents else {
            return open.seek(io::SeekFrom::Start(offset)).and_then(|_| open.write_all(bytes)).map_err(lift);
        };
        let mut rest = bytes;
        for (at, length) in extents.spread(offset, bytes.len() as u64) {
            let length = usize::try_from(length).map_err(|error| lift(io::Error::other(error)))?;
            let (part, after) = rest.split_at(length.min(rest.len()));
            open.seek(io::SeekFrom::Start(at)).and_then(|_| open.write_all(part)).map_err(lift)?;
            rest = after;
        }
        Ok(())
    }
}

/// Tries every place of a chunk before it is given up.
fn recover(reader: &Reader, aim: &Aim, file: &Planned) -> Result<Vec<u8>> {
    reader.chunk(ChunkRef(aim.place.id, aim.place.length)).map_err(|mut finding| {
        finding.paths.push(file.entry.path.clone());
        Error::from(finding)
    })
}

pub(super) fn failed(path: &EntryPath, what: &str, error: io::Error) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

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
