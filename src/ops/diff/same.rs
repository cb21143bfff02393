//! Whether two files of snapshots hold the same bytes, whatever cuts and holes they are kept in.
//!
//! Where the names of what they hold agree, nothing is read. Where their holes differ, the bytes decide: a hole and zeros
//! that are stored are the same content.

use crate::error::{Error, Result};
use crate::format::entry::FileContent;
use crate::format::holes::Hole;
use crate::progress::Progress;
use crate::refusal::Code;
use crate::vault::Finding;
use crate::vault::content::{ChunksOf, HolesOf};
use crate::vault::read::Reader;

/// Returns whether two contents are the same.
///
/// # Errors
/// What the vault cannot tell of either.
pub(super) fn same_content(
    reader: &Reader,
    one: &FileContent,
    other: &FileContent,
    progress: &dyn Progress,
) -> Result<bool> {
    if one.size != other.size {
        return Ok(false);
    }
    let alike = one.holes == other.holes || same_items(reader.holes_of(one), reader.holes_of(other))?;
    if alike {
        return Ok(one.chunks == other.chunks || same_items(reader.chunks_of(one), reader.chunks_of(other))?);
    }
    let (mut one, mut other) = (Bytes::new(reader, one), Bytes::new(reader, other));
    loop {
        if progress.interrupted() {
            return Err(Error::Interrupted(None));
        }
        let length = match (one.run()?, other.run()?) {
            (Run::End, Run::End) => return Ok(true),
            (Run::End, _) | (_, Run::End) => return Ok(false),
            (Run::Zeros(mine), Run::Zeros(theirs)) => mine.min(theirs),
            (Run::Zeros(zeros), Run::Data(data)) | (Run::Data(data), Run::Zeros(zeros)) => {
                let length = zeros.min(data.len() as u64);
                if data[..length as usize].iter().any(|&byte| byte != 0) {
                    return Ok(false);
                }
                length
            }
            (Run::Data(mine), Run::Data(theirs)) => {
                let length = mine.len().min(theirs.len());
                if mine[..length] != theirs[..length] {
                    return Ok(false);
                }
                length as u64
            }
        };
        one.skip(length);
        other.skip(length);
    }
}

fn same_items<T: PartialEq>(
    mut one: impl Iterator<Item = Result<T, Finding>>,
    mut other: impl Iterator<Item = Result<T, Finding>>,
) -> Result<bool> {
    loop {
        match (one.next().transpose()?, other.next().transpose()?) {
            (None, None) => return Ok(true),
            (mine, theirs) if mine != theirs => return Ok(false),
            _ => {}
        }
    }
}

/// What comes next in a file.
enum Run<'a> {
    Zeros(u64),
    Data(&'a [u8]),
    End,
}

/// The bytes of a file from its beginning on, one chunk in memory.
struct Bytes<'a> {
    reader: &'a Reader,
    chunks: ChunksOf<'a>,
    holes: HolesOf<'a>,
    size: u64,
    at: u64,
    // The hole at or behind this place, once it is known.
    hole: Option<Option<Hole>>,
    data: Vec<u8>,
    used: usize,
}

impl<'a> Bytes<'a> {
    fn new(reader: &'a Reader, content: &'a FileContent) -> Self {
        let (chunks, holes) = (reader.chunks_of(content), reader.holes_of(content));
        Self { reader, chunks, holes, size: content.size, at: 0, hole: None, data: Vec::new(), used: 0 }
    }

    fn run(&mut self) -> Result<Run<'_>, Finding> {
        if self.at >= self.size {
            return Ok(Run::End);
        }
        let hole = match self.hole {
            Some(hole) => hole,
            None => *self.hole.insert(self.holes.next().transpose()?),
        };
        let end = match hole {
            Some(hole) if hole.0 <= self.at => return Ok(Run::Zeros(hole.0.saturating_add(hole.1) - self.at)),
            Some(hole) => hole.0,
            None => self.size,
        };
        if self.used == self.data.len() {
            let Some(chunk) = self.chunks.next().transpose()? else {
                let detail = "its chunks hold less than its size and holes leave room for";
                return Err(Finding::new(Code::ListingUnsafe, "the content", detail));
            };
            (self.data, self.used) = (self.reader.chunk(chunk)?, 0);
        }
        let length = (end - self.at).min((self.data.len() - self.used) as u64);
        Ok(Run::Data(&self.data[self.used..self.used + length as usize]))
    }

    /// Goes on by no more than the run is long.
    fn skip(&mut self, length: u64) {
        self.at += length;
        match self.hole {
            Some(Some(hole)) if hole.0 < self.at => {
                if self.at >= hole.0.saturating_add(hole.1) {
                    self.hole = None;
                }
            }
            _ => self.used += length as usize,
        }
    }
}
