//! Writing a tree into the staging directory, through directory handles, each block of the vault decoded once.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::sync::Arc;

use super::mode;
use super::target::Staging;
use crate::clock::Time;
use crate::crypto::Digest;
use crate::error::{Error, Result};
use crate::format::entry::{ChunkRef, Chunks, Entry, Kind};
use crate::fsys::{self, Dir};
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
    mtime: Option<Time>,
    size: u64,
    chunks: u32,
}

/// Writes entries that come in path order: directories at once, files by window and block, the rest at the end.
pub(super) struct TreeWriter<'a> {
    staging: &'a Staging,
    reader: Arc<Reader>,
    pool: Pool,
    progress: &'a dyn Progress,
    directories: Directories,
    // Ascending; their metadata is set last, deepest first.
    metadata: Vec<(EntryPath, Option<u32>, Option<Time>)>,
    links: Vec<(EntryPath, Vec<u8>, Option<Time>)>,
    files: Vec<Planned>,
    aims: Vec<Aim>,
}

impl<'a> TreeWriter<'a> {
    pub(super) fn new(staging: &'a Staging, reader: Arc<Reader>, pool: Pool, progress: &'a dyn Progress) -> Self {
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

    pub(super) fn take(&mut self, entry: Entry) -> Result<()> {
        let mode = mode::while_compared(&entry);
        match &entry.kind {
            Kind::Directory => {
                if !entry.path.is_root() {
                    let parent = entry.path.parent().unwrap_or_default();
                    self.directories
                        .get(&parent)
                        .and_then(|dir| dir.create_dir(entry.path.name()))
                        .map_err(|error| failed(&entry.path, "create the directory", error))?;
                }
                self.metadata.push((entry.path, mode, entry.mtime));
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
                self.files.push(Planned { path: entry.path, mode, mtime: entry.mtime, size: file.size, chunks });
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

    pub(super) fn finish(mut self) -> Result<()> {
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
