//! Reading restored files from their first byte to their last, and hashing what the entry names: one list of chunks or
//! of holes in memory at a time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::crypto::Digest;
use crate::format::entry::FileContent;
use crate::fsys::{self, Dir, extents};
use crate::path::EntryPath;
use crate::vault::Finding;
use crate::vault::content::PlacesOf;
use crate::vault::read::Reader;

/// A file whose content is to be read.
pub(super) struct Content {
    pub(super) path: EntryPath,
    pub(super) dir: Arc<Dir>,
    pub(super) name: Vec<u8>,
    pub(super) file: FileContent,
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
pub(super) fn read(reader: &Reader, files: Vec<Content>) -> Job {
    let mut job = Job::default();
    let mut buffer = vec![0; READ_BYTES];
    for content in files {
        job.files += 1;
        job.bytes += content.file.size;
        match read_one(reader, &content, &mut buffer) {
            Ok((forgotten, difference)) => {
                job.from_memory += u64::from(!forgotten && content.file.size > 0);
                job.differences.extend(difference.map(|what| (content.path, what)));
            }
            Err(Trouble::File(error)) => job.differences.push((content.path, format!("it cannot be read: {error}"))),
            Err(Trouble::Vault(finding)) => {
                let what = format!("the vault does not tell what it holds: {}: {}", finding.code, finding.detail);
                job.differences.push((content.path, what));
            }
        }
    }
    job
}

/// Returns whether the file came from the medium, and what differs.
fn read_one(reader: &Reader, content: &Content, buffer: &mut [u8]) -> Result<(bool, Option<String>), Trouble> {
    let file = content.dir.open_file(&content.name)?;
    // What the restore left in memory proves little about what it left on the medium.
    let forgotten = fsys::drop_cached(&file);
    let length = file.metadata()?.len();
    if length != content.file.size {
        return Ok((forgotten, Some(format!("it has {length} bytes, not {}", content.file.size))));
    }
    let holes = reader.holes_of(&content.file).map(|hole| hole.map(|hole| (hole.0, hole.1)).map_err(Trouble::Vault));
    if extents::longest_zeros(&file, holes, length)?.is_none() {
        return Ok((forgotten, Some("there is data where a hole should be".into())));
    }
    let mut data = Data { file: &file, places: reader.places_of(&content.file), at: None };
    for chunk in reader.chunks_of(&content.file) {
        let chunk = chunk.map_err(Trouble::Vault)?;
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

/// Why a file could not be compared.
enum Trouble {
    File(io::Error),
    Vault(Finding),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// The data of a file, without its holes.
struct Data<'a> {
    file: &'a File,
    places: PlacesOf<'a>,
    // Where the file stands.
    at: Option<u64>,
}

impl Data<'_> {
    /// Fills a part of the buffer; nothing where no more data belongs there.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        let Some((place, length)) = self.places.next(buffer.len() as u64).map_err(Trouble::Vault)? else {
            return Ok(0);
        };
        if self.at != Some(place) {
            self.file.seek(SeekFrom::Start(place))?;
        }
        let part = &mut buffer[..usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact(part)?;
        self.at = Some(place + length);
        Ok(part.len())
    }
}
