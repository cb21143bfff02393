//! Packs: header, blocks, and a footer that says what lies where.
//!
//! All integers are big-endian. A footer is authenticated before its table is parsed, a block's digest is checked
//! before it is decompressed, a chunk's digest before its bytes are used.

use zstd::bulk::{Compressor, Decompressor};

use super::Malformed;
use super::entry::ChunkRef;
use crate::crypto::{Digest, Domain, Id, MAC_BYTES, Macs};
use crate::limits;

/// The first bytes of a pack.
pub const PACK_MAGIC: &[u8; 16] = b"devvault-pack/1\n";
/// The last bytes of a pack.
pub const FOOTER_MAGIC: &[u8; 16] = b"devvault-foot/1\n";
/// Length of a pack's header: magic, vault id, random id.
pub const HEADER_BYTES: u64 = 48;
/// Length of what follows the table: tag, table length, magic.
pub const TRAILER_BYTES: u64 = MAC_BYTES as u64 + 4 + 16;
const TABLE_HEAD_BYTES: usize = 16 + 16 + 8 + 4 + 4;
const BLOCK_RECORD_BYTES: usize = 4 + 4 + 1 + 1 + 4 + 32;
const CHUNK_RECORD_BYTES: usize = 32 + 4;
/// Longest table of a footer, in bytes.
pub const TABLE_BYTES_MAX: u64 = TABLE_HEAD_BYTES as u64
    + limits::PACK_BLOCKS_MAX as u64 * BLOCK_RECORD_BYTES as u64
    + limits::PACK_CHUNKS_MAX as u64 * CHUNK_RECORD_BYTES as u64;

/// What the chunks of a block are; a hint for readers that want only one kind, without meaning for trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Content of files.
    Data,
    /// Segments and lists.
    Listing,
}

/// How a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// One zstd frame.
    Zstd,
}

/// One block as a footer lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    /// Where the stored bytes begin, counted from the start of the pack.
    pub offset: u64,
    /// Length as stored.
    pub stored: u32,
    /// Length of the plain bytes: the sum of the chunks' lengths.
    pub plain: u32,
    /// How it is stored.
    pub encoding: Encoding,
    /// What its chunks are.
    pub kind: BlockKind,
    /// BLAKE3 of the stored bytes.
    pub digest: Digest,
    /// The chunks, one after another.
    pub chunks: Vec<ChunkRef>,
}

/// The table of a pack's footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The vault that the pack belongs to.
    pub vault: Id,
    /// The random bytes of the pack's header.
    pub pack: Id,
    /// Length of header and blocks.
    pub body_bytes: u64,
    /// The blocks in order, without gaps.
    pub blocks: Vec<BlockInfo>,
}

/// Returns the header of a pack.
pub fn header(vault: Id, pack: Id) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..16].copy_from_slice(PACK_MAGIC);
    bytes[16..32].copy_from_slice(&vault.0);
    bytes[32..].copy_from_slice(&pack.0);
    bytes
}

impl Footer {
    /// Creates the footer of a pack without blocks.
    pub fn new(vault: Id, pack: Id) -> Self {
        Self { vault, pack, body_bytes: HEADER_BYTES, blocks: Vec::new() }
    }

    /// Returns the table, which the tag authenticates.
    pub fn encode_table(&self) -> Vec<u8> {
        let chunk_count: usize = self.blocks.iter().map(|block| block.chunks.len()).sum();
        let mut bytes = Vec::with_capacity(
            TABLE_HEAD_BYTES + self.blocks.len() * BLOCK_RECORD_BYTES + chunk_count * CHUNK_RECORD_BYTES,
        );
        bytes.extend_from_slice(&self.vault.0);
        bytes.extend_from_slice(&self.pack.0);
        bytes.extend_from_slice(&self.body_bytes.to_be_bytes());
        bytes.extend_from_slice(&count(self.blocks.len()));
        bytes.extend_from_slice(&count(chunk_count));
        for block in &self.blocks {
            bytes.extend_from_slice(&block.stored.to_be_bytes());
            bytes.extend_from_slice(&block.plain.to_be_bytes());
            bytes.push(match block.encoding {
                Encoding::Raw => 0,
                Encoding::Zstd => 1,
            });
            bytes.push(match block.kind {
                BlockKind::Data => 0,
                BlockKind::Listing => 1,
            });
            bytes.extend_from_slice(&count(block.chunks.len()));
            bytes.extend_from_slice(&block.digest.0);
        }
        for chunk in self.blocks.iter().flat_map(|block| &block.chunks) {
            bytes.extend_from_slice(&chunk.0.0);
            bytes.extend_from_slice(&chunk.1.to_be_bytes());
        }
        bytes
    }

    /// Returns the whole footer: table, tag, table length, magic.
    pub fn encode(&self, macs: &Macs) -> Vec<u8> {
        let mut bytes = self.encode_table();
        let tag = macs.tag(Domain::Footer, 0, &bytes);
        let table_bytes = count(bytes.len());
        bytes.extend_from_slice(&tag);
        bytes.extend_from_slice(&table_bytes);
        bytes.extend_from_slice(FOOTER_MAGIC);
        bytes
    }

    /// Decodes a table whose tag has verified.
    ///
    /// # Errors
    /// Bytes that are not exactly one table within its bounds.
    pub fn decode_table(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        let vault = Id(input.array()?);
        let pack = Id(input.array()?);
        let body_bytes = u64::from_be_bytes(input.array()?);
        let block_count = input.u32()?;
        let chunk_count = input.u32()?;
        if block_count > limits::PACK_BLOCKS_MAX || chunk_count > limits::PACK_CHUNKS_MAX {
            return Err(Malformed::new("a footer lists more than a pack may hold"));
        }
        let expected = block_count as usize * BLOCK_RECORD_BYTES + chunk_count as usize * CHUNK_RECORD_BYTES;
        if input.0.len() != expected {
            return Err(Malformed::new("a footer's length does not match its counts"));
        }
        let (mut records, mut ids) = input.split(block_count as usize * BLOCK_RECORD_BYTES)?;
        let mut blocks = Vec::with_capacity(block_count as usize);
        let mut offset = HEADER_BYTES;
        for _ in 0..block_count {
            let block = decode_block(&mut records, &mut ids, offset)?;
            offset += u64::from(block.stored);
            blocks.push(block);
        }
        if !ids.0.is_empty() {
            return Err(Malformed::new("a footer lists chunks that lie in no block"));
        }
        if offset != body_bytes {
            return Err(Malformed::new("a footer's blocks do not add up to its body"));
        }
        let footer = Self { vault, pack, body_bytes, blocks };
        if footer.pack_bytes() > limits::PACK_BYTES_MAX {
            return Err(Malformed::new("a pack is too long"));
        }
        Ok(footer)
    }

    /// Authenticates and decodes a whole footer.
    ///
    /// # Errors
    /// [`BadFooter::Cut`] where the footer's frame is not there, [`BadFooter::Forged`] where the tag does not verify,
    /// [`BadFooter::Malformed`] where authentic bytes are no table.
    pub fn decode(bytes: &[u8], macs: &Macs) -> Result<Self, BadFooter> {
        let table_bytes = table_bytes(bytes).ok_or(BadFooter::Cut)?;
        let start = bytes.len().checked_sub(TRAILER_BYTES as usize + table_bytes as usize).ok_or(BadFooter::Cut)?;
        let table_end = start + table_bytes as usize;
        let (table, tag) = (&bytes[start..table_end], &bytes[table_end..table_end + MAC_BYTES]);
        if !macs.verifies(Domain::Footer, 0, table, tag) {
            return Err(BadFooter::Forged);
        }
        let footer = Self::decode_table(table).map_err(BadFooter::Malformed)?;
        if footer.vault != macs.vault() {
            return Err(BadFooter::Forged);
        }
        Ok(footer)
    }

    /// Decodes a whole footer that nothing proves. What it says may lead to chunks, which prove themselves by their hash;
    /// a writer must never believe it.
    ///
    /// # Errors
    /// [`BadFooter::Cut`] where the footer's frame is not there, [`BadFooter::Malformed`] where it is no table.
    pub fn decode_unproven(bytes: &[u8]) -> Result<Self, BadFooter> {
        let table_bytes = table_bytes(bytes).ok_or(BadFooter::Cut)?;
        let start = bytes.len().checked_sub(TRAILER_BYTES as usize + table_bytes as usize).ok_or(BadFooter::Cut)?;
        Self::decode_table(&bytes[start..start + table_bytes as usize]).map_err(BadFooter::Malformed)
    }

    /// Returns the length of the whole pack.
    pub fn pack_bytes(&self) -> u64 {
        let chunk_count: usize = self.blocks.iter().map(|block| block.chunks.len()).sum();
        self.body_bytes
            + (TABLE_HEAD_BYTES + self.blocks.len() * BLOCK_RECORD_BYTES + chunk_count * CHUNK_RECORD_BYTES) as u64
            + TRAILER_BYTES
    }
}

/// Why a footer cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum BadFooter {
    /// The end of the pack is not a footer.
    Cut,
    /// The tag does not verify.
    Forged,
    /// The tag verifies, but the table is not what the format allows.
    Malformed(Malformed),
}

impl std::fmt::Display for BadFooter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cut => f.write_str("the end of the pack is no footer; the pack is cut or overwritten"),
            Self::Forged => f.write_str("the footer is not authentic"),
            Self::Malformed(reason) => write!(f, "the authentic footer is malformed: {reason}"),
        }
    }
}

/// Returns the length of the table, read from the last bytes of a pack, if they are the end of a footer.
pub fn table_bytes(tail: &[u8]) -> Option<u32> {
    let rest = tail.strip_suffix(FOOTER_MAGIC)?;
    let length = u32::from_be_bytes(rest.last_chunk::<4>().copied()?);
    (u64::from(length) <= TABLE_BYTES_MAX).then_some(length)
}

fn count(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("a writer stays below the limits of a pack").to_be_bytes()
}

fn decode_block(records: &mut Input<'_>, ids: &mut Input<'_>, offset: u64) -> Result<BlockInfo, Malformed> {
    let stored = records.u32()?;
    let plain = records.u32()?;
    let encoding = match records.array::<1>()? {
        [0] => Encoding::Raw,
        [1] => Encoding::Zstd,
        _ => return Err(Malformed::new("unknown encoding of a block")),
    };
    let kind = match records.array::<1>()? {
        [0] => BlockKind::Data,
        [1] => BlockKind::Listing,
        _ => return Err(Malformed::new("unknown kind of a block")),
    };
    let chunk_count = records.u32()?;
    let digest = Digest(records.array()?);
    if stored == 0 || stored > limits::BLOCK_STORED_BYTES_MAX || plain == 0 || plain > limits::BLOCK_PLAIN_BYTES_MAX {
        return Err(Malformed::new("a block is empty or too long"));
    }
    if encoding == Encoding::Raw && stored != plain {
        return Err(Malformed::new("a raw block whose lengths differ"));
    }
    if chunk_count == 0 || chunk_count > limits::BLOCK_CHUNKS_MAX {
        return Err(Malformed::new("a block holds no chunk or too many"));
    }
    let mut chunks = Vec::with_capacity(chunk_count.min((ids.0.len() / CHUNK_RECORD_BYTES) as u32) as usize);
    let mut sum = 0u64;
    for _ in 0..chunk_count {
        let chunk = ChunkRef(Digest(ids.array()?), ids.u32()?);
        if chunk.1 == 0 || chunk.1 > limits::CHUNK_BYTES_MAX {
            return Err(Malformed::new("a chunk is empty or too long"));
        }
        sum += u64::from(chunk.1);
        chunks.push(chunk);
    }
    if sum != u64::from(plain) {
        return Err(Malformed::new("a block's chunks do not add up"));
    }
    Ok(BlockInfo { offset, stored, plain, encoding, kind, digest, chunks })
}

/// Compresses blocks; keeps its context between them.
pub struct Encoder {
    compressor: Compressor<'static>,
}

impl Encoder {
    /// Creates an encoder for a zstd level.
    ///
    /// # Errors
    /// The library refuses the level or finds no memory.
    pub fn new(level: i32) -> std::io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        // The block's digest covers what a frame checksum would.
        compressor.include_checksum(false)?;
        compressor.include_contentsize(true)?;
        Ok(Self { compressor })
    }

    /// Returns the stored form of a block: compressed where that is shorter.
    ///
    /// # Errors
    /// The library finds no memory.
    pub fn encode(&mut self, plain: Vec<u8>) -> std::io::Result<(Encoding, Vec<u8>)> {
        let mut stored = Vec::with_capacity(zstd::zstd_safe::compress_bound(plain.len()));
        self.compressor.compress_to_buffer(&plain, &mut stored)?;
        if stored.len() < plain.len() { Ok((Encoding::Zstd, stored)) } else { Ok((Encoding::Raw, plain)) }
    }
}

/// Decompresses blocks; keeps its context between them.
pub struct Decoder {
    decompressor: Decompressor<'static>,
}

impl Decoder {
    /// Creates a decoder.
    ///
    /// # Errors
    /// The library finds no memory.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()? })
    }

    /// Decodes a block into `plain`, which is emptied first, after checking the digest of its stored bytes.
    ///
    /// # Errors
    /// Stored bytes that do not match the digest, or that do not decompress to exactly the stated length.
    pub fn decode(&mut self, info: &BlockInfo, stored: &[u8], plain: &mut Vec<u8>) -> Result<(), Malformed> {
        if Digest::of(stored) != info.digest {
            return Err(Malformed::new("a block's stored bytes do not match their digest"));
        }
        plain.clear();
        match info.encoding {
            Encoding::Raw => plain.extend_from_slice(stored),
            Encoding::Zstd => {
                plain.reserve(info.plain as usize);
                // Bounded by the buffer's capacity, whatever the frame says.
                let _ = self.decompressor.decompress_to_buffer(stored, plain).map_err(Malformed::new)?;
            }
        }
        if plain.len() != info.plain as usize {
            return Err(Malformed::new("a block decodes to another length than its footer says"));
        }
        Ok(())
    }
}

/// Reads fixed-size fields; running out of bytes is an error.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(|| Malformed::new("cut"))?;
        self.0 = rest;
        Ok(head)
    }
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("split at this length"))
    }
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    fn split(self, at: usize) -> Result<(Input<'a>, Input<'a>), Malformed> {
        let (head, rest) = self.0.split_at_checked(at).ok_or_else(|| Malformed::new("cut"))?;
        Ok((Input(head), Input(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    fn macs() -> Macs {
        Macs::new(&Secret::from_bytes([3; 32]), Id([4; 16]))
    }

    fn footer() -> Footer {
        let mut footer = Footer::new(Id([4; 16]), Id([5; 16]));
        for (plain, parts) in [(10, vec![4, 6]), (3, vec![3])] {
            let chunks = parts.iter().map(|&length| ChunkRef(Digest([length as u8; 32]), length)).collect();
            footer.blocks.push(BlockInfo {
                offset: footer.body_bytes,
                stored: plain,
                plain,
                encoding: Encoding::Raw,
                kind: BlockKind::Data,
                digest: Digest([9; 32]),
                chunks,
            });
            footer.body_bytes += u64::from(plain);
        }
        footer
    }

    #[test]
    fn a_footer_decodes_to_itself_and_counts_its_own_length() {
        let bytes = footer().encode(&macs());
        assert_eq!(Footer::decode(&bytes, &macs()), Ok(footer()));
        assert_eq!(footer().pack_bytes(), footer().body_bytes + bytes.len() as u64);
    }

    #[test]
    fn no_bit_of_a_footer_can_change_unnoticed() {
        let bytes = footer().encode(&macs());
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(Footer::decode(&changed, &macs()).is_err(), "bit {at}");
        }
        for length in 0..bytes.len() {
            assert!(Footer::decode(&bytes[bytes.len() - length..], &macs()).is_err(), "the last {length} bytes");
        }
    }

    #[test]
    fn authentic_tables_beyond_the_bounds_are_refused() {
        for change in [
            |f: &mut Footer| f.blocks[0].stored = 11,
            |f: &mut Footer| f.blocks[0].plain = 11,
            |f: &mut Footer| f.blocks[1].chunks.clear(),
            |f: &mut Footer| f.blocks[1].chunks[0].1 = 0,
            |f: &mut Footer| f.body_bytes += 1,
            |f: &mut Footer| f.blocks[0].chunks[0].1 = u32::MAX,
        ] {
            let mut bad = footer();
            change(&mut bad);
            assert!(matches!(Footer::decode(&bad.encode(&macs()), &macs()), Err(BadFooter::Malformed(_))), "{bad:?}");
        }
        let mut foreign = footer();
        foreign.vault = Id([6; 16]);
        assert_eq!(Footer::decode(&foreign.encode(&macs()), &macs()), Err(BadFooter::Forged));
    }

    /// A footer of blocks of so many bytes, stored compressed in one chunk each unless more are named.
    fn footer_of(blocks: &[(u32, u32, usize)]) -> Footer {
        let mut footer = Footer::new(Id([4; 16]), Id([5; 16]));
        for &(stored, plain, chunks) in blocks {
            let rest = plain - (chunks as u32 - 1);
            let lengths = std::iter::repeat_n(1, chunks - 1).chain([rest.min(limits::CHUNK_BYTES_MAX)]);
            let mut lengths: Vec<u32> = lengths.collect();
            lengths.extend(rest.checked_sub(limits::CHUNK_BYTES_MAX).filter(|more| *more > 0));
            footer.blocks.push(BlockInfo {
                offset: footer.body_bytes,
                stored,
                plain,
                encoding: Encoding::Zstd,
                kind: BlockKind::Data,
                digest: Digest([9; 32]),
                chunks: lengths.into_iter().map(|length| ChunkRef(Digest([1; 32]), length)).collect(),
            });
            footer.body_bytes += u64::from(stored);
        }
        footer
    }

    #[test]
    fn packs_blocks_and_chunks_are_as_large_as_is_allowed_and_no_larger() {
        let decodes = |footer: &Footer| Footer::decode_table(&footer.encode_table()).as_ref() == Ok(footer);
        let (plain, stored) = (limits::BLOCK_PLAIN_BYTES_MAX, limits::BLOCK_STORED_BYTES_MAX);
        assert!(decodes(&footer_of(&[(stored, plain, 1)])) && !decodes(&footer_of(&[(stored, plain + 1, 1)])));
        assert!(!decodes(&footer_of(&[(stored + 1, plain, 1)])));
        let chunks = limits::BLOCK_CHUNKS_MAX as usize;
        assert!(decodes(&footer_of(&[(1, plain / 2, chunks)])) && !decodes(&footer_of(&[(1, plain / 2, chunks + 1)])));
        let mut long = footer_of(&[(1, limits::CHUNK_BYTES_MAX, 1)]);
        assert!(decodes(&long));
        (long.blocks[0].plain, long.blocks[0].chunks[0].1) = (limits::CHUNK_BYTES_MAX + 1, limits::CHUNK_BYTES_MAX + 1);
        assert!(!decodes(&long));
        // Full packs: the last block takes what the footer leaves.
        let mut blocks = vec![(stored, plain, 1); (limits::PACK_BYTES_MAX / u64::from(stored)) as usize];
        let over = footer_of(&blocks).pack_bytes() - limits::PACK_BYTES_MAX;
        let last = blocks.len() - 1;
        blocks[last].0 -= over as u32;
        assert_eq!(footer_of(&blocks).pack_bytes(), limits::PACK_BYTES_MAX);
        assert!(decodes(&footer_of(&blocks)));
        blocks[last].0 += 1;
        assert!(!decodes(&footer_of(&blocks)));
    }

    fn block(plain: &[u8]) -> (BlockInfo, Vec<u8>) {
        let (encoding, stored) = Encoder::new(3).expect("zstd").encode(plain.to_vec()).expect("memory");
        let info = BlockInfo {
            offset: 0,
            stored: stored.len() as u32,
            plain: plain.len() as u32,
            encoding,
            kind: BlockKind::Data,
            digest: Digest::of(&stored),
            chunks: vec![ChunkRef(Digest::of(plain), plain.len() as u32)],
        };
        (info, stored)
    }

    #[test]
    fn blocks_are_compressed_only_where_that_helps() {
        let mut plain = Vec::new();
        let (info, stored) = block(&[0; 5000]);
        assert_eq!(info.encoding, Encoding::Zstd);
        Decoder::new().expect("zstd").decode(&info, &stored, &mut plain).expect("intact");
        assert_eq!(plain, [0; 5000]);
        let noise: Vec<u8> = blake3::hash(b"x").as_bytes().to_vec();
        let (info, stored) = block(&noise);
        assert_eq!(info.encoding, Encoding::Raw);
        Decoder::new().expect("zstd").decode(&info, &stored, &mut plain).expect("intact");
        assert_eq!(plain, noise);
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_stated_length() {
        let (mut info, stored) = block(&vec![0; 4 << 20]);
        info.plain = 1000;
        let mut plain = Vec::new();
        assert!(Decoder::new().expect("zstd").decode(&info, &stored, &mut plain).is_err());
        assert!(plain.capacity() < 1 << 20);
    }
}
