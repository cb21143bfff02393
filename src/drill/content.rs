//! Reading restored files from their first byte to their last, and hashing what the entry names.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::crypto::Digest;
use crate::format::entry::{ChunkRef, FileContent};
use crate::fsys::{self, Dir, extents};
use crate::path::EntryPath;

/// A file whose content is to be read.
pub(super) struct Content {
    pub(super) path: EntryPath,
    pub(super) dir: Arc<Dir>,
    pub(super) name: Vec<u8>,
    pub(super) file: FileContent,
    pub(super) chunks: Vec<ChunkRef>,
}

/// What one job has read.
#[derive(Default)]
pub(super) struct Job {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) from_memory: u64,
    pub(super) differences: Vec<(EntryPath, String)>,
}

/// How many bytes are read at once.
const READ_BYTES: usize = 128 << 10;

/// Reads files and says which of them differ.
pub(super) fn read(files: Vec<Content>) -> Job {
    let mut job = Job::default();
    let mut buffer = vec![0; READ_BYTES];
    for content in files {
        job.files += 1;
        job.bytes += content.file.size;
        match read_one(&content, &mut buffer) {
            Ok((forgotten, difference)) => {
                job.from_memory += u64::from(!forgotten && content.file.size > 0);
                job.differences.extend(difference.map(|what| (content.path, what)));
            }
            Err(error) => job.differences.push((content.path, format!("it cannot be read: {error}"))),
        }
    }
    job
}

/// Returns whether the file came from the medium, and what differs.
fn read_one(content: &Content, buffer: &mut [u8]) -> io::Result<(bool, Option<String>)> {
    let file = content.dir.open_file(&content.name)?;
    // What the restore left in memory proves little about what it left on the medium.
    let forgotten = fsys::drop_cached(&file);
    let length = file.metadata()?.len();
    if length != content.file.size {
        return Ok((forgotten, Some(format!("it has {length} bytes, not {}", content.file.size))));
    }
    let holes = content.file.holes.iter().map(|hole| (hole.0, hole.1));
    if extents::longest_zeros(&file, holes, length)?.is_none() {
        return Ok((forgotten, Some("there is data where a hole should be".into())));
    }
    let mut data = Data { file: &file, ranges: content.file.extents().iter().collect(), left: 0 };
    for chunk in &content.chunks {
        let mut hasher = blake3::Hasher::new();
        let mut wanted = chunk.length() as usize;
        while wanted > 0 {
            let room = wanted.min(buffer.len());
            let count = data.read(&mut buffer[..room])?;
            if count == 0 {
                return Ok((forgotten, Some("it ends too early".into())));
            }
            hasher.update(&buffer[..count]);
            wanted -= count;
        }
        if Digest(*hasher.finalize().as_bytes()) != chunk.id() {
            return Ok((forgotten, Some("its content differs".into())));
        }
    }
    let rest = data.read(&mut buffer[..1])?;
    Ok((forgotten, (rest > 0).then(|| "it holds more than the snapshot names".into())))
}

/// The data of a file, without its holes.
struct Data<'a> {
    file: &'a File,
    ranges: std::collections::VecDeque<(u64, u64)>,
    left: u64,
}

impl Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some((offset, length)) = self.ranges.pop_front() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(offset))?;
            self.left = length;
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..room])?;
        self.left -= count as u64;
        Ok(count)
    }
}
