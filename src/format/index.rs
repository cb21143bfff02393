//! Index files: a cache of packs' footers. Disposable; nothing is correct because of it.
//!
//! `magic ‖ vault id ‖ count (4) ‖ per pack: name (32) ‖ length (8) ‖ table length (4) ‖ table ‖ tag`, big-endian; the
//! tag authenticates all before it.

use super::Malformed;
use super::pack::{Footer, Input, TABLE_BYTES_MAX};
use crate::crypto::{Digest, Domain, MAC_BYTES, Macs};

/// The first bytes of an index file.
pub const INDEX_MAGIC: &[u8; 16] = b"devvault-indx/1\n";

/// One pack as an index lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack's name.
    pub name: Digest,
    /// The length of its file.
    pub length: u64,
    /// Its footer.
    pub footer: Footer,
    /// The digest of the footer's table.
    pub table: Digest,
}

impl IndexedPack {
    /// Lists a pack with a footer.
    pub fn new(name: Digest, length: u64, footer: Footer) -> Self {
        Self { table: Digest::of(&footer.encode_table()), name, length, footer }
    }
}

/// Encodes an index file.
pub fn encode(macs: &Macs, packs: &[IndexedPack]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(INDEX_MAGIC);
    bytes.extend_from_slice(&macs.vault().0);
    bytes.extend_from_slice(&u32::try_from(packs.len()).expect("fewer packs than 2^32").to_be_bytes());
    for pack in packs {
        let table = pack.footer.encode_table();
        bytes.extend_from_slice(&pack.name.0);
        bytes.extend_from_slice(&pack.length.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(table.len()).expect("a table is bounded").to_be_bytes());
        bytes.extend_from_slice(&table);
    }
    let tag = macs.tag(Domain::Index, 0, &bytes);
    bytes.extend_from_slice(&tag);
    bytes
}

/// Authenticates and decodes an index file.
///
/// # Errors
/// A tag that does not verify, another vault, bytes that are not exactly one index.
pub fn decode(macs: &Macs, bytes: &[u8]) -> Result<Vec<IndexedPack>, Malformed> {
    let (body, tag) = bytes
        .split_at_checked(bytes.len().saturating_sub(MAC_BYTES))
        .filter(|(_, tag)| tag.len() == MAC_BYTES)
        .ok_or_else(|| Malformed::new("it is cut"))?;
    if !macs.verifies(Domain::Index, 0, body, tag) {
        return Err(Malformed::new("it is not authentic"));
    }
    decode_proven(macs, body)
}

/// Decodes an index file, all before its tag, whose tag has verified.
///
/// # Errors
/// Another vault, bytes that are not exactly one index.
pub fn decode_proven(macs: &Macs, body: &[u8]) -> Result<Vec<IndexedPack>, Malformed> {
    let mut input = Input(body);
    if &input.array::<16>()? != INDEX_MAGIC || input.array::<16>()? != macs.vault().0 {
        return Err(Malformed::new("it is no index of this vault"));
    }
    let count = input.u32()?;
    let mut packs = Vec::new();
    for _ in 0..count {
        let name = Digest(input.array()?);
        let length = u64::from_be_bytes(input.array()?);
        let table_bytes = input.u32()?;
        if u64::from(table_bytes) > TABLE_BYTES_MAX {
            return Err(Malformed::new("a table is too long"));
        }
        let table = input.take(table_bytes as usize)?;
        let footer = Footer::decode_table(table)?;
        if footer.vault != macs.vault() || footer.pack_bytes() != length {
            return Err(Malformed::new("a pack's table contradicts its length or vault"));
        }
        packs.push(IndexedPack { name, length, footer, table: Digest::of(table) });
    }
    if !input.0.is_empty() {
        return Err(Malformed::new("bytes after the last pack"));
    }
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Id, Secret};

    #[test]
    fn no_bit_of_an_index_can_change_unnoticed() {
        let macs = Macs::new(&Secret::from_bytes([3; 32]), Id([4; 16]));
        let footer = Footer::new(Id([4; 16]), Id([5; 16]));
        let packs = [IndexedPack::new(Digest([6; 32]), footer.pack_bytes(), footer)];
        let bytes = encode(&macs, &packs);
        assert_eq!(decode(&macs, &bytes).expect("intact"), packs);
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(decode(&macs, &changed).is_err(), "bit {at}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&macs, &bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(decode(&Macs::new(&Secret::from_bytes([3; 32]), Id([8; 16])), &bytes).is_err());
    }
}
