//! Writing a tree into the staging directory, through directory handles, each block of the vault decoded once.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::sync::Arc;

use super::keep::Keep;
use super::own::{self, ToSeal};
use super::target::Staging;
use crate::crypto::Digest;
use crate::error::{Error, Result, lacks_room};
use crate::format::entry::{ChunkRef, Entry, Kind};
use crate::fsys::{self, Object, ObjectId};
use crate::ops::directories::{Directories, put_on, take_off};
use crate::ops::object;
use crate::path::{EntryPath, Trail};
use crate::pool::{Pool, Task};
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::Finding;
use crate::vault::catalog::Place;
use crate::vault::read::Reader;

/// How many entries are planned at once: bounds memory, whatever the snapshot's size.
const WINDOW_ENTRIES: usize = 100_000;
/// How many bytes of entries are planned at once.
const WINDOW_ENTRY_BYTES: usize = 64 << 20;
/// How many chunks, or pieces of chunks between holes, are planned at once.
const WINDOW_PIECES: usize = 400_000;

/// Where a piece of a chunk goes.
struct Aim {
    place: Place,
    file: u32,
    // Which bytes of the chunk.
    from: u32,
    length: u32,
    // Where in the file.
    offset: u64,
}

impl Aim {
    /// Orders aims so that each block is decoded once, and each chunk hashed once.
    fn order(&self) -> (u32, u32, u32, u64) {
        (self.place.block, self.place.offset, self.file, self.offset)
    }
}

/// A file of the window that is being planned.
struct Planned {
    /// Without what it holds, which is planned as aims.
    entry: Arc<Entry>,
    size: u64,
    sparse: bool,
    /// How many pieces this window holds of it.
    pieces: u32,
    /// This window holds the last of it.
    complete: bool,
    /// Which file it is, once it was made and is to be opened again: before, if an earlier window held the first of it.
    made: Option<ObjectId>,
    /// Its number among the files that are sealed in the end.
    to_seal: Option<usize>,
}

impl Planned {
    /// Returns whether the file is created, written and finished with its only piece.
    fn in_one_go(&self) -> bool {
        self.pieces == 1 && self.complete && self.made.is_none() && !self.sparse
    }

    /// Returns what the next window holds of it, if anything.
    fn rest(&self) -> Option<Self> {
        let rest = Self { entry: Arc::clone(&self.entry), pieces: 0, ..*self };
        (!self.complete).then_some(rest)
    }

    /// Returns whether nothing is written to the file: it is empty, or all of it is holes.
    fn is_created_whole(&self) -> bool {
        self.pieces == 0 && self.complete && self.made.is_none()
    }
}

/// Writes the files of a listing, which comes in path order: directories at once, files by window and block. What else
/// there is comes afterwards; see [`Finisher`].
pub(super) struct TreeWriter<'a> {
    staging: &'a Staging,
    reader: Arc<Reader>,
    keep: Arc<Keep>,
    pool: Pool,
    progress: &'a dyn Progress,
    directories: Directories,
    files: Vec<Planned>,
    file_bytes: usize,
    aims: Vec<Aim>,
    // How many of the files so far are to be sealed, and which those are that are complete.
    sealable: usize,
    to_seal: Arc<ToSeal>,
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
            files: Vec::new(),
            file_bytes: 0,
            aims: Vec::new(),
            sealable: 0,
            to_seal: Arc::default(),
        }
    }

    pub(super) fn take(&mut self, entry: Entry) -> Result<()> {
        if self.keep.further_name(&entry).is_some() {
            self.progress.advance(u64::from(entry.file().is_some()), entry.file().map_or(0, |file| file.size));
            return Ok(());
        }
        match &entry.kind {
            Kind::Directory if !entry.path.is_root() => {
                let parent = entry.path.parent().unwrap_or_default();
                let made = self.directories.get(&parent).and_then(|dir| dir.create_dir(entry.path.name()));
                made.map_err(|error| failed(&entry.path, "create the directory", error))
            }
            Kind::File(_) => self.plan(entry),
            _ => Ok(()),
        }
    }

    /// Plans where each chunk of a file goes. A file of many is written in several windows.
    fn plan(&mut self, mut entry: Entry) -> Result<()> {
        let Kind::File(file) = &mut entry.kind else { return Ok(()) };
        let content = std::mem::take(file);
        (file.ctime, file.ino) = (content.ctime, content.ino);
        let (size, sparse) = (content.size, !content.holes.is_none());
        self.file_bytes += entry.memory();
        let to_seal = self.keep.is_sealed(&entry).then_some(self.sealable);
        self.sealable += usize::from(to_seal.is_some());
        let entry = Arc::new(entry);
        let planned = Arc::clone(&entry);
        self.files.push(Planned { entry: planned, size, sparse, pieces: 0, complete: false, made: None, to_seal });
        let reader = Arc::clone(&self.reader);
        let mut places = reader.places_of(&content);
        for chunk in reader.chunks_of(&content) {
            let chunk = chunk?;
            let place = reader.catalog().places(chunk).next().copied().ok_or_else(|| {
                Finding::new(Code::ChunkMissing, entry.path.to_string(), format!("no pack holds chunk {}", chunk.id()))
            })?;
            let mut from = 0;
            while from < chunk.length() {
                let Some((offset, length)) = places.next(u64::from(chunk.length() - from))? else {
                    let detail = "its chunks hold more than its size and holes leave room for";
                    return Err(Finding::new(Code::ListingUnsafe, entry.path.to_string(), detail).into());
                };
                // Not longer than what is left of the chunk.
                let length = length as u32;
                self.aim(Aim { place, file: 0, from, length, offset })?;
                from += length;
            }
        }
        if let Some(file) = self.files.last_mut() {
            file.complete = true;
        }
        if self.files.len() >= WINDOW_ENTRIES || self.file_bytes >= WINDOW_ENTRY_BYTES {
            self.write_window()?;
        }
        Ok(())
    }

    /// Adds a piece of the file that was begun last.
    fn aim(&mut self, aim: Aim) -> Result<()> {
        if self.aims.len() >= WINDOW_PIECES {
            self.write_window()?;
        }
        let number = u32::try_from(self.files.len().saturating_sub(1)).expect("a window is bounded");
        if let Some(file) = self.files.last_mut() {
            file.pieces += 1;
        }
        self.aims.push(Aim { file: number, ..aim });
        Ok(())
    }

    /// Writes the planned files, each block decoded once: files of one piece in one go, others piece by piece. A file
    /// that is not complete stays planned.
    fn write_window(&mut self) -> Result<()> {
        let mut files = std::mem::take(&mut self.files);
        self.file_bytes = 0;
        let mut aims = std::mem::take(&mut self.aims);
        for file in files.iter_mut().filter(|file| !file.in_one_go() && file.made.is_none()) {
            file.made = self.create_empty(file)?;
        }
        let files = Arc::new(files);
        aims.sort_unstable_by_key(Aim::order);
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
            let finisher = self.finisher();
            let (files, root) = (Arc::clone(&files), Arc::clone(&self.staging.root));
            let done = job.iter().filter(|aim| files[aim.file as usize].in_one_go()).count();
            under_way.push_back(self.pool.spawn(move || {
                let directories = Directories::new(root);
                BlockWriter { finisher: &finisher, directories, open: None }.write(&files, &job)
            }));
            self.progress.advance(done as u64, 0);
            if under_way.len() > self.pool.threads() + 4 {
                self.take_written(&mut under_way)?;
            }
        }
        while !under_way.is_empty() {
            self.take_written(&mut under_way)?;
        }
        for file in files.iter().filter(|file| file.complete && !file.in_one_go() && !file.is_created_whole()) {
            self.finish_pieces(file)?;
            self.progress.advance(1, 0);
        }
        self.files.extend(files.last().and_then(Planned::rest));
        Ok(())
    }

    fn take_written(&self, under_way: &mut VecDeque<Task<Result<u64>>>) -> Result<()> {
        let Some(task) = under_way.pop_front() else { return Ok(()) };
        let bytes = task.wait()?;
        self.progress.advance(0, bytes);
        Ok(())
    }

    /// Creates a file that is empty or comes in pieces, and returns which one it is, if it is opened again.
    fn create_empty(&mut self, file: &Planned) -> Result<Option<ObjectId>> {
        let path = &file.entry.path;
        let lift = |error| failed(path, "create", error);
        let dir = self.directories.get(&path.parent().unwrap_or_default()).map_err(lift)?;
        let open = dir.create_file(path.name()).map_err(lift)?;
        if file.sparse {
            fsys::allow_holes(&open).map_err(lift)?;
        }
        if file.size > 0 {
            open.set_len(file.size).map_err(lift)?;
        }
        if file.is_created_whole() {
            self.finisher().finish(&open, file)?;
            self.progress.advance(1, 0);
            return Ok(None);
        }
        Ok(Some(fsys::stat_file(&open).map_err(lift)?.id))
    }

    fn finish_pieces(&mut self, file: &Planned) -> Result<()> {
        let path = &file.entry.path;
        let dir = self.directories.get(&path.parent().unwrap_or_default());
        let dir = dir.map_err(|error| failed(path, "finish", error))?;
        let open = own::reopen(&dir, path, file.made.unwrap_or_default(), &self.keep)?;
        self.finisher().finish(&open, file)
    }

    fn finisher(&self) -> FileFinisher {
        FileFinisher {
            reader: Arc::clone(&self.reader),
            keep: Arc::clone(&self.keep),
            to_seal: Arc::clone(&self.to_seal),
        }
    }

    /// Writes what is left of the files, and returns the ids of those that are to be sealed, in the order of the listing.
    pub(super) fn finish(mut self) -> Result<Vec<ObjectId>> {
        self.write_window()?;
        Ok(self.to_seal.take())
    }
}

/// Completes a tree whose files are written, in a second pass over its listing: links, pipes, sockets, devices and
/// further names as they come, and the metadata of each directory once everything in it is there, deepest first. What
/// lies above may become unreadable, and its time changes with what is made in it. Memory grows with the depth alone.
pub(super) struct Finisher<'a> {
    reader: &'a Reader,
    keep: &'a Keep,
    progress: &'a dyn Progress,
    directories: Directories,
    // On the way to the entry before; their paths are the trail's.
    open: Trail<Entry>,
}

impl<'a> Finisher<'a> {
    pub(super) fn new(staging: &Staging, reader: &'a Reader, keep: &'a Keep, progress: &'a dyn Progress) -> Self {
        let directories = Directories::new(Arc::clone(&staging.root));
        Self { reader, keep, progress, directories, open: Trail::default() }
    }

    pub(super) fn take(&mut self, entry: Entry) -> Result<()> {
        if self.progress.interrupted() {
            return Err(Error::Interrupted(None));
        }
        while self.open.is_left_by(&entry.path) {
            self.finish_deepest()?;
        }
        if let Some(first) = self.keep.further_name(&entry) {
            return self.create_further_name(first, &entry.path);
        }
        match entry.kind {
            Kind::Directory => {
                put_on(&mut self.open, entry);
                Ok(())
            }
            Kind::File(_) => Ok(()),
            _ => self.create_other(&entry),
        }
    }

    pub(super) fn finish(mut self) -> Result<()> {
        while !self.open.is_empty() {
            self.finish_deepest()?;
        }
        Ok(())
    }

    fn finish_deepest(&mut self) -> Result<()> {
        let Some(entry) = take_off(&mut self.open) else { return Ok(()) };
        let lift = |error| failed(&entry.path, "finish", error);
        let dir = self.directories.get(&entry.path).map_err(lift)?;
        self.keep.set(Object::Directory(&dir), &entry, self.reader)?;
        self.keep.durability.sync_directory(&dir).map_err(lift)
    }

    fn create_further_name(&mut self, first: &EntryPath, further: &EntryPath) -> Result<()> {
        let above = |path: &EntryPath| path.parent().unwrap_or_default();
        let linked = self.directories.get(&above(first)).and_then(|from| {
            let to = self.directories.get(&above(further))?;
            from.create_link(first.name(), &to, further.name())
        });
        linked.map_err(|error| failed(further, "link", error))
    }

    /// Creates a link, pipe, socket or device.
    fn create_other(&mut self, entry: &Entry) -> Result<()> {
        let name = entry.path.name();
        let lift = |error| failed(&entry.path, "create", error);
        let dir = self.directories.get(&entry.path.parent().unwrap_or_default()).map_err(lift)?;
        object::make(&dir, name, &entry.kind).map_err(lift)?;
        own::require_kind(&dir, entry)?;
        self.keep.set(Object::Name(&dir, name), entry, self.reader)
    }
}

/// What files are completed with.
struct FileFinisher {
    reader: Arc<Reader>,
    keep: Arc<Keep>,
    to_seal: Arc<ToSeal>,
}

impl FileFinisher {
    /// Sets a complete file's metadata, and makes it durable where that cannot be done for all files at once.
    fn finish(&self, open: &fs::File, file: &Planned) -> Result<()> {
        let entry = &file.entry;
        self.keep.set(Object::File(open), entry, &self.reader)?;
        if let Some(number) = file.to_seal {
            self.to_seal.note(number, &entry.path, open)?;
        }
        self.keep.durability.sync_file(open).map_err(|error| failed(&entry.path, "sync", error))
    }
}

/// Writes what one block holds.
struct BlockWriter<'a> {
    finisher: &'a FileFinisher,
    directories: Directories,
    // Pieces of one file often follow each other.
    open: Option<Open>,
}

impl BlockWriter<'_> {
    /// Writes every chunk of one block to where it belongs; the chunk's hash has matched before.
    fn write(&mut self, files: &[Planned], aims: &[Aim]) -> Result<u64> {
        let Some(first) = aims.first() else { return Ok(0) };
        let reader = &*self.finisher.reader;
        let block = reader.load_block(first.place.block);
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
            let range = aim.from as usize..aim.from as usize + aim.length as usize;
            // A chunk has the length that its place has, and pieces do not reach beyond it.
            let piece = bytes.get(range).unwrap_or_default();
            self.write_piece(files, aim, piece)?;
            total += piece.len() as u64;
        }
        Ok(total)
    }

    fn write_piece(&mut self, files: &[Planned], aim: &Aim, bytes: &[u8]) -> Result<()> {
        let file = &files[aim.file as usize];
        let path = &file.entry.path;
        let lift = |error| failed(path, "write", error);
        if let Some(open) = self.open.as_mut().filter(|open| open.file == aim.file) {
            return open.write(aim.offset, bytes).map_err(lift);
        }
        let dir = self.directories.get(&path.parent().unwrap_or_default()).map_err(lift)?;
        if file.in_one_go() {
            let mut open = dir.create_file(path.name()).map_err(lift)?;
            io::Write::write_all(&mut open, bytes).map_err(lift)?;
            return self.finisher.finish(&open, file);
        }
        let handle = own::reopen(&dir, path, file.made.unwrap_or_default(), &self.finisher.keep)?;
        let open = self.open.insert(Open { file: aim.file, handle, at: 0 });
        open.write(aim.offset, bytes).map_err(lift)
    }
}

/// A file that is being written piece by piece.
struct Open {
    file: u32,
    handle: fs::File,
    at: u64,
}

impl Open {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        use io::{Seek, Write};
        if self.at != offset {
            self.handle.seek(io::SeekFrom::Start(offset))?;
        }
        self.at = offset + bytes.len() as u64;
        self.handle.write_all(bytes)
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
        _ if lacks_room(&error) => {
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
pub(super) mod tests {
    use super::super::target::tests::place;
    use super::*;
    use crate::format::entry::FileContent;
    use crate::progress::Silent;
    use crate::store::LocalStore;

    /// A directory, and a reader that finds no pack in it.
    pub(in crate::ops::restore) fn reader() -> (tempfile::TempDir, Arc<Reader>) {
        let root = tempfile::tempdir().expect("a directory");
        let store = Arc::new(LocalStore::open(root.path()).expect("readable"));
        (root, Arc::new(Reader::unproven(store, Arc::default())))
    }

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("valid")
    }

    #[test]
    fn a_file_is_written_in_one_go_or_created_whole_or_goes_on_in_the_next_window() {
        let id = ObjectId { device: 1, number: 7 };
        let planned = |pieces, begun: bool, complete, sparse| {
            let entry = Arc::new(Entry::new(path("f"), Kind::File(FileContent::default())));
            Planned { entry, size: 9, sparse, pieces, complete, made: begun.then_some(id), to_seal: Some(3) }
        };
        // Its only piece, all of it, of which nothing is written yet, and which leaves no hole.
        assert!(planned(1, false, true, false).in_one_go());
        for other in [
            planned(0, false, true, false),
            planned(2, false, true, false),
            planned(1, true, true, false),
            planned(1, false, false, false),
            planned(1, false, true, true),
        ] {
            assert!(!other.in_one_go());
        }
        // Nothing to write, now or before or later.
        assert!(planned(0, false, true, false).is_created_whole());
        assert!(planned(0, false, true, true).is_created_whole());
        for other in [planned(1, false, true, false), planned(0, true, true, false), planned(0, false, false, false)] {
            assert!(!other.is_created_whole());
        }
        for begun in [false, true] {
            assert!(planned(3, begun, true, true).rest().is_none());
            let rest = planned(3, begun, false, true).rest().expect("it is not complete");
            assert_eq!((rest.pieces, rest.complete, rest.size, rest.sparse), (0, false, 9, true));
            assert_eq!((rest.made, rest.to_seal), (begun.then_some(id), Some(3)));
        }
    }

    #[test]
    fn the_second_pass_makes_nothing_of_a_file() {
        let (_root, target) = place();
        let (_vault, reader) = reader();
        let (staging, keep) = (target.stage(None).expect("writable"), Keep::default());
        let mut finisher = Finisher::new(&staging, &reader, &keep, &Silent);
        let mut file = Entry::new(path("file"), Kind::File(FileContent::default()));
        file.mode = Some(0o600);
        // It is not there: whoever looked for it would fail.
        finisher.take(file).expect("nothing to do");
        finisher.finish().expect("nothing to do");
        assert!(staging.root.names().expect("readable").is_empty());
    }

    #[test]
    fn what_the_target_refuses_has_the_code_of_its_reason() {
        let code = |kind: io::ErrorKind| failed(&path("a/b"), "write", kind.into()).code();
        assert_eq!(code(io::ErrorKind::StorageFull), Some(Code::DestinationSpace));
        assert_eq!(code(io::ErrorKind::QuotaExceeded), Some(Code::DestinationSpace));
        assert_eq!(code(io::ErrorKind::AlreadyExists), Some(Code::TargetCannotRepresent));
        assert_eq!(code(io::ErrorKind::InvalidFilename), Some(Code::TargetCannotRepresent));
        assert_eq!(code(io::ErrorKind::PermissionDenied), None);
    }
}
