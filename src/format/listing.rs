//! Listings: how a manifest names its entries.
//!
//! Entries in path order are cut into segments, segments into segment lists, and the manifest names the lists. Both
//! cuts are decided by the path of the entry that would begin the next part, so that unchanged regions of a tree give
//! unchanged parts whatever was inserted before them. Readers need not know where a writer cuts.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::entry::{ChunkRef, Entry};
use super::json::{self, TextOrBase64};
use crate::crypto::Digest;
use crate::limits;
use crate::path::EntryPath;

/// Names a segment or a segment list, with the path of the first entry in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartRef {
    /// How many entries lie in it.
    pub entries: u64,
    /// The path of the first of them.
    pub first: EntryPath,
    /// The object that holds it.
    pub object: ChunkRef,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(with = "json::unsigned")]
    entries: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_b64: Option<String>,
    id: Digest,
    length: u32,
}

impl Serialize for PartRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (first, first_b64) = TextOrBase64::of(self.first.as_bytes()).into_fields();
        Raw { entries: self.entries, first, first_b64, id: self.object.id(), length: self.object.length() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PartRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let first = TextOrBase64::from_fields(raw.first, raw.first_b64);
        let first = first.into_path("first").map_err(serde::de::Error::custom)?;
        if raw.entries == 0 || raw.length == 0 || raw.length > limits::OBJECT_BYTES_MAX {
            return Err(serde::de::Error::custom("a part of a listing is empty or too long"));
        }
        Ok(Self { entries: raw.entries, first, object: ChunkRef(raw.id, raw.length) })
    }
}

/// Refuses parts that do not ascend or do not add up.
///
/// # Errors
/// A part whose first path is not greater than the one before; a sum of entries other than `entries`.
pub fn check_parts(parts: &[PartRef], entries: u64) -> Result<(), Malformed> {
    if parts.windows(2).any(|pair| pair[0].first >= pair[1].first) {
        return Err(Malformed::new("the parts of a listing do not ascend"));
    }
    let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.entries));
    if sum != Some(entries) {
        return Err(Malformed::new("the parts of a listing do not add up to its entries"));
    }
    Ok(())
}

/// Decodes a segment that `part` names.
///
/// # Errors
/// Bytes that are not canonical, entries that do not ascend or whose directory is missing, another count or first
/// path than `part` says.
pub fn decode_segment(bytes: &[u8], part: &PartRef) -> Result<Vec<Entry>, Malformed> {
    let entries: Vec<Entry> = json::decode_lines(bytes, limits::SEGMENT_ENTRIES_MAX)?;
    for pair in entries.windows(2) {
        if !pair[1].path.may_follow(&pair[0].path, pair[0].is_directory()) {
            return Err(Malformed(format!("the entry {} is out of order or lacks its directory", pair[1].path)));
        }
    }
    match entries.first() {
        Some(first) if first.path == part.first && entries.len() as u64 == part.entries => Ok(entries),
        _ => Err(Malformed::new("a segment does not begin or count as its list says")),
    }
}

/// Decodes a segment list that `part` names.
///
/// # Errors
/// Bytes that are not canonical; parts that do not ascend, do not add up, or begin elsewhere than `part` says.
pub fn decode_segment_list(bytes: &[u8], part: &PartRef) -> Result<Vec<PartRef>, Malformed> {
    let parts: Vec<PartRef> = json::decode_lines(bytes, limits::SEGMENT_LIST_MAX)?;
    check_parts(&parts, part.entries)?;
    if parts.first().map(|first| &first.first) != Some(&part.first) {
        return Err(Malformed::new("a segment list does not begin as the manifest says"));
    }
    Ok(parts)
}

/// Returns 64 bits that decide where a writer cuts before `path`.
///
/// The low bits cut segments, the high ones segment lists.
pub fn cut_hash(path: &EntryPath) -> u64 {
    let digest = blake3::hash(path.as_bytes());
    u64::from_be_bytes(digest.as_bytes()[..8].try_into().expect("a digest is longer than eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::Kind;

    fn directory(path: &str) -> Entry {
        Entry::new(EntryPath::parse(path.as_bytes()).expect("valid"), Kind::Directory)
    }

    fn part(first: &str, entries: u64) -> PartRef {
        PartRef {
            entries,
            first: EntryPath::parse(first.as_bytes()).expect("valid"),
            object: ChunkRef(Digest([1; 32]), 9),
        }
    }

    #[test]
    fn a_segment_is_refused_unless_it_is_what_its_list_says() {
        let bytes = json::encode_lines(&[directory("a"), directory("a/b"), directory("c")]);
        assert_eq!(decode_segment(&bytes, &part("a", 3)).expect("valid").len(), 3);
        assert!(decode_segment(&bytes, &part("a", 2)).is_err());
        assert!(decode_segment(&bytes, &part("b", 3)).is_err());
        for bad in [["a", "a", "c"], ["a", "c", "b"], ["a", "b/c", "d"]] {
            let bytes = json::encode_lines(&bad.map(directory));
            assert!(decode_segment(&bytes, &part("a", 3)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_segment_list_is_refused_unless_it_ascends_and_adds_up() {
        let bytes = json::encode_lines(&[part("a", 3), part("b", 4)]);
        assert!(decode_segment_list(&bytes, &part("a", 7)).is_ok());
        assert!(decode_segment_list(&bytes, &part("a", 8)).is_err());
        assert!(decode_segment_list(&bytes, &part("b", 7)).is_err());
        for bad in [[part("b", 3), part("a", 4)], [part("a", 3), part("a", 4)]] {
            assert!(decode_segment_list(&json::encode_lines(&bad), &part(&bad[0].first.to_string(), 7)).is_err());
        }
        let overflow = [part("a", u64::MAX), part("b", 2)];
        assert!(check_parts(&overflow, 1).is_err());
    }
}
