//! Holding what was restored against the listing: everything is read again, from the file system.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use super::{Options, mode};
use crate::crypto::Digest;
use crate::error::{Error, Result};
use crate::format::entry::{ChunkRef, Entry, Kind};
use crate::fsys::walk::{Event, Found};
use crate::fsys::{self, Dir, ObjectKind};
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::read::Reader;

/// How many bytes of files are compared in one job.
const COMPARE_BYTES: u64 = 1 << 20;
/// How many files are compared in one job.
const COMPARE_FILES: usize = 256;

/// A file whose content is to be read back.
struct Check {
    path: EntryPath,
    dir: Arc<Dir>,
    size: u64,
    chunks: Vec<ChunkRef>,
}

/// Holds what is found below the staging directory against the listing.
pub(super) struct Comparer<'a> {
    reader: &'a Arc<Reader>,
    pool: &'a Pool,
    options: Options,
    progress: &'a dyn Progress,
    differences: BTreeMap<EntryPath, String>,
    open: Vec<Check>,
    bytes: u64,
    under_way: VecDeque<Task<Compared>>,
    from_memory: u64,
}

/// What one job read back.
#[derive(Default)]
struct Compared {
    files: u64,
    bytes: u64,
    from_memory: u64,
    differences: Vec<(EntryPath, String)>,
}

/// How many differences are worth collecting before the restore is refused.
const DIFFERENCES_MAX: usize = 1_000;

impl<'a> Comparer<'a> {
    pub(super) fn new(reader: &'a Arc<Reader>, pool: &'a Pool, options: Options, progress: &'a dyn Progress) -> Self {
        Self {
            reader,
            pool,
            options,
            progress,
            differences: BTreeMap::new(),
            open: Vec::new(),
            bytes: 0,
            under_way: VecDeque::new(),
            from_memory: 0,
        }
    }

    fn differs(&mut self, path: EntryPath, what: impl Into<String>) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.insert(path, what.into());
        }
    }

    /// Compares the next entry with the next thing found; both come in path order.
    pub(super) fn take(&mut self, entry: Entry, events: &crossbeam_channel::Receiver<Event>) -> Result<()> {
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
        if let (Some(meant), Some(found)) = (mode::while_compared(&entry), found.stat.mode)
            && meant != found
        {
            self.differs(entry.path.clone(), format!("its mode is {found:o}, not {meant:o}"));
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
            let mut compared = Compared { files: checks.len() as u64, ..Compared::default() };
            for check in checks {
                compared.bytes += check.size;
                match compare_content(&check, from_medium, &mut buffer) {
                    Ok(dropped) => compared.from_memory += u64::from(!dropped && check.size > 0),
                    Err(what) => compared.differences.push((check.path, what)),
                }
            }
            compared
        }));
    }

    fn take_compared(&mut self) {
        let Some(task) = self.under_way.pop_front() else { return };
        let compared = task.wait();
        self.progress.advance(compared.files, compared.bytes);
        self.from_memory += compared.from_memory;
        for (path, what) in compared.differences {
            self.differs(path, what);
        }
    }

    /// Returns how many files may have been read from memory, and not from the medium.
    pub(super) fn finish(mut self, events: &crossbeam_channel::Receiver<Event>) -> Result<u64> {
        for event in events {
            match event {
                Event::Found(found) if found.path.is_root() => {}
                Event::Found(found) => self.differs(found.path, "it is there and should not be"),
                Event::Failed(path, error) => self.differs(path, error.to_string()),
            }
        }
        self.flush();
        self.refuse()?;
        Ok(self.from_memory)
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

/// Reads a restored file and hashes it chunk by chunk; returns whether it was dropped from memory before.
fn compare_content(check: &Check, from_medium: bool, buffer: &mut Vec<u8>) -> Result<bool, String> {
    use io::Read;
    let mut file = check.dir.open_file(check.path.name()).map_err(|error| error.to_string())?;
    let dropped = from_medium && fsys::drop_cached(&file);
    for chunk in &check.chunks {
        buffer.resize(chunk.length() as usize, 0);
        file.read_exact(buffer).map_err(|error| error.to_string())?;
        if Digest::of(buffer) != chunk.id() {
            return Err("its content differs".into());
        }
    }
    match file.read(&mut [0]) {
        Ok(0) => Ok(dropped),
        Ok(_) => Err("it is longer than it should be".into()),
        Err(error) => Err(error.to_string()),
    }
}
