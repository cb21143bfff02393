//! The content of a regular file: its chunks, and the holes between them, each named in the entry or by lists.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::holes::{self, Hole};
use super::json;
use crate::clock::Time;
use crate::crypto::Digest;
use crate::limits;

/// The content of a regular file, and what tells whether it changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Length in bytes: the chunks' lengths and those of the holes.
    pub size: u64,
    /// Where there is no data; the chunks hold what lies between.
    pub holes: Holes,
    /// The chunks in order, or the objects that list them.
    pub chunks: Chunks,
    /// When the inode last changed; absent where the platform has no such time.
    pub ctime: Option<Time>,
    /// The inode number or file id; absent where the platform has none.
    pub ino: Option<u64>,
    /// The file's times were too young when it was read to prove anything later; it is read again next time.
    pub racy: bool,
}

/// The chunks of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunks {
    /// Named directly; at most [`limits::ENTRY_CHUNKS_MAX`].
    Direct(Vec<ChunkRef>),
    /// Named by chunk-list objects.
    Listed(Vec<ListRef>),
}

/// The holes of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holes {
    /// Named directly, ascending; at most [`limits::ENTRY_HOLES_MAX`], and often none.
    Direct(Vec<Hole>),
    /// Named by hole-list objects.
    Listed(Vec<ListRef>),
}

/// Names a chunk: `["id",length]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkRef(pub Digest, pub u32);

impl ChunkRef {
    /// Returns the chunk's id.
    pub fn id(self) -> Digest {
        self.0
    }
    /// Returns the chunk's length in plain bytes.
    pub fn length(self) -> u32 {
        self.1
    }
}

/// Names an object that lists chunks or holes, and how many bytes of the file those are: `["id",length,bytes]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRef(pub Digest, pub u32, #[serde(with = "json::unsigned")] pub u64);

impl ListRef {
    /// Returns the object that holds the list.
    pub fn object(self) -> ChunkRef {
        ChunkRef(self.0, self.1)
    }
    /// Returns how many bytes of the file lie in what the list names.
    pub fn content_bytes(self) -> u64 {
        self.2
    }
}

impl Default for FileContent {
    /// Returns an empty content of which nothing is known.
    fn default() -> Self {
        let chunks = Chunks::Direct(Vec::new());
        Self { size: 0, holes: Holes::none(), chunks, ctime: None, ino: None, racy: false }
    }
}

impl FileContent {
    /// Returns how many bytes lie in holes.
    pub fn hole_bytes(&self) -> u64 {
        self.holes.bytes().unwrap_or(self.size)
    }

    /// Returns how many bytes the chunks hold.
    pub fn data_bytes(&self) -> u64 {
        self.size.saturating_sub(self.hole_bytes())
    }

    /// Returns the objects that list chunks or holes.
    pub fn lists(&self) -> impl Iterator<Item = ListRef> + '_ {
        let holes = match &self.holes {
            Holes::Direct(_) => &[][..],
            Holes::Listed(lists) => lists,
        };
        let chunks = match &self.chunks {
            Chunks::Direct(_) => &[][..],
            Chunks::Listed(lists) => lists,
        };
        holes.iter().chain(chunks).copied()
    }

    /// Checks that chunks and holes add up.
    ///
    /// # Errors
    /// They do not, or a hole ends beyond the file.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        let in_holes = match &self.holes {
            Holes::Direct(holes) => Some(holes::check(holes, self.size)?),
            listed @ Holes::Listed(_) => listed.bytes(),
        };
        let data = in_holes.and_then(|in_holes| self.size.checked_sub(in_holes));
        if data.is_none() || self.chunks.content_bytes() != data {
            return Err(Malformed::new("the chunks and holes do not add up to the size"));
        }
        Ok(())
    }
}

impl Holes {
    /// Returns no holes.
    pub fn none() -> Self {
        Self::Direct(Vec::new())
    }

    /// Returns whether there are none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Direct(holes) if holes.is_empty())
    }

    /// Returns how many bytes lie in them, unless the sum overflows.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Direct(holes) => holes.iter().try_fold(0u64, |sum, hole| sum.checked_add(hole.1)),
            Self::Listed(lists) => sum_of(lists),
        }
    }

    pub(super) fn from_raw(holes: Option<Vec<Hole>>, lists: Option<Vec<ListRef>>) -> Result<Self, Malformed> {
        match (holes, lists) {
            (None, None) => Ok(Self::none()),
            (Some(holes), None) if !holes.is_empty() && holes.len() <= limits::ENTRY_HOLES_MAX => {
                Ok(Self::Direct(holes))
            }
            (None, Some(lists)) => check_lists(&lists).map(|()| Self::Listed(lists)),
            _ => Err(Malformed::new("holes and lists of holes: both, none in them, or too many")),
        }
    }
}

impl Chunks {
    pub(super) fn from_raw(chunks: Option<Vec<ChunkRef>>, lists: Option<Vec<ListRef>>) -> Result<Self, Malformed> {
        match (chunks, lists) {
            (None, None) => Ok(Self::Direct(Vec::new())),
            (Some(chunks), None) if !chunks.is_empty() && chunks.len() <= limits::ENTRY_CHUNKS_MAX => {
                check_chunks(&chunks)?;
                Ok(Self::Direct(chunks))
            }
            (None, Some(lists)) => check_lists(&lists).map(|()| Self::Listed(lists)),
            _ => Err(Malformed::new("chunks and lists: both, none in them, or too many")),
        }
    }

    /// Returns the length of the content, unless the sum overflows.
    pub fn content_bytes(&self) -> Option<u64> {
        match self {
            Self::Direct(chunks) => Some(chunks.iter().map(|chunk| u64::from(chunk.1)).sum()),
            Self::Listed(lists) => sum_of(lists),
        }
    }
}

fn sum_of(lists: &[ListRef]) -> Option<u64> {
    lists.iter().try_fold(0u64, |sum, list| sum.checked_add(list.2))
}

/// Checks references to lists that stand in an entry.
fn check_lists(lists: &[ListRef]) -> Result<(), Malformed> {
    if lists.is_empty() || lists.len() > limits::ENTRY_LISTS_MAX {
        return Err(Malformed::new("lists: none in them, or too many"));
    }
    if lists.iter().any(|list| list.1 == 0 || list.1 > limits::OBJECT_BYTES_MAX || list.2 == 0) {
        return Err(Malformed::new("a list is empty or too long"));
    }
    Ok(())
}

/// Checks chunk references that stand in an entry or in a chunk list.
fn check_chunks(chunks: &[ChunkRef]) -> Result<(), Malformed> {
    if chunks.iter().any(|chunk| chunk.1 == 0 || chunk.1 > limits::CHUNK_BYTES_MAX) {
        return Err(Malformed::new("a chunk is empty or too long"));
    }
    Ok(())
}

/// Encodes a chunk-list object: a chunk reference a line.
pub fn encode_chunk_list(chunks: &[ChunkRef]) -> Vec<u8> {
    json::encode_lines(chunks)
}

/// Decodes a chunk-list object.
///
/// # Errors
/// Bytes that are not canonical; no chunks or too many; a chunk that is empty or too long.
pub fn decode_chunk_list(bytes: &[u8]) -> Result<Vec<ChunkRef>, Malformed> {
    let chunks = json::decode_lines(bytes, limits::LIST_CHUNKS_MAX)?;
    check_chunks(&chunks)?;
    Ok(chunks)
}

/// Encodes a hole-list object: a hole a line.
pub fn encode_hole_list(holes: &[Hole]) -> Vec<u8> {
    json::encode_lines(holes)
}

/// Decodes a hole-list object. Where the file ends, and the lists before, are not known here.
///
/// # Errors
/// Bytes that are not canonical; no holes or too many; one that is empty, touches the one before, or ends beyond every
/// file.
pub fn decode_hole_list(bytes: &[u8]) -> Result<Vec<Hole>, Malformed> {
    let holes: Vec<Hole> = json::decode_lines(bytes, limits::LIST_HOLES_MAX)?;
    holes::check(&holes, u64::MAX)?;
    Ok(holes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_chunks_and_empty_chunks_are_refused() {
        let many = vec![ChunkRef(Digest([1; 32]), 1); limits::ENTRY_CHUNKS_MAX + 1];
        assert!(Chunks::from_raw(Some(many), None).is_err());
        assert!(Chunks::from_raw(Some(vec![ChunkRef(Digest([1; 32]), 0)]), None).is_err());
        assert!(decode_chunk_list(&encode_chunk_list(&[ChunkRef(Digest([1; 32]), 0)])).is_err());
        assert!(decode_chunk_list(&encode_chunk_list(&[ChunkRef(Digest([1; 32]), 7)])).is_ok());
    }

    #[test]
    fn as_many_lists_and_as_long_as_are_allowed_and_no_more() {
        let bytes_max = limits::OBJECT_BYTES_MAX;
        for (count, bytes, content, good) in [
            (1, 1, 1, true),
            (limits::ENTRY_LISTS_MAX, bytes_max, u64::MAX, true),
            (0, 1, 1, false),
            (limits::ENTRY_LISTS_MAX + 1, 1, 1, false),
            (1, 0, 1, false),
            (1, bytes_max + 1, 1, false),
            (1, 1, 0, false),
        ] {
            let lists = vec![ListRef(Digest([1; 32]), bytes, content); count];
            assert_eq!(check_lists(&lists).is_ok(), good, "{count} of {bytes} bytes for {content}");
        }
        for (length, good) in
            [(1, true), (limits::CHUNK_BYTES_MAX, true), (0, false), (limits::CHUNK_BYTES_MAX + 1, false)]
        {
            assert_eq!(check_chunks(&[ChunkRef(Digest([1; 32]), length)]).is_ok(), good, "{length}");
        }
    }

    #[test]
    fn too_many_holes_and_holes_beside_their_lists_are_refused() {
        let holes = |count: u64| (0..count).map(|at| Hole(2 * at, 1)).collect::<Vec<_>>();
        let most = limits::ENTRY_HOLES_MAX as u64;
        assert!(Holes::from_raw(Some(holes(most)), None).is_ok());
        assert!(Holes::from_raw(Some(holes(most + 1)), None).is_err());
        let list = vec![ListRef(Digest([1; 32]), 7, 7)];
        assert!(Holes::from_raw(None, Some(list.clone())).is_ok());
        assert!(Holes::from_raw(Some(holes(1)), Some(list)).is_err());
        assert!(Holes::from_raw(None, Some(Vec::new())).is_err());
        assert!(decode_hole_list(&encode_hole_list(&holes(limits::LIST_HOLES_MAX as u64))).is_ok());
        assert!(decode_hole_list(&encode_hole_list(&holes(limits::LIST_HOLES_MAX as u64 + 1))).is_err());
        assert!(decode_hole_list(&encode_hole_list(&[Hole(5, 1), Hole(6, 1)])).is_err());
    }
}
