//! Entries: one file-system object each, as one JSON line of a segment.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::json::{self, TextOrBase64};
use crate::clock::Time;
use crate::crypto::Digest;
use crate::limits;
use crate::path::EntryPath;

/// One object of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies below the source.
    pub path: EntryPath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits (`0o7777`); absent where the platform has none.
    pub mode: Option<u32>,
    /// When its content was last modified.
    pub mtime: Option<Time>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(FileContent),
    /// A symbolic link, with the exact bytes of its target.
    Symlink(Vec<u8>),
}

/// The content of a regular file, and what tells whether it changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Length in bytes; the sum of the chunks' lengths.
    pub size: u64,
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

/// Names a chunk-list object and the length of the content that it lists: `["id",length,content]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRef(pub Digest, pub u32, #[serde(with = "json::unsigned")] pub u64);

impl ListRef {
    /// Returns the object that holds the list.
    pub fn object(self) -> ChunkRef {
        ChunkRef(self.0, self.1)
    }
    /// Returns how many bytes of content the list names.
    pub fn content_bytes(self) -> u64 {
        self.2
    }
}

impl Entry {
    /// Returns whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// Returns the content, if this is a regular file.
    pub fn file(&self) -> Option<&FileContent> {
        match &self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }
}

/// An entry as JSON; keys ascend.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunks: Option<Vec<ChunkRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ctime: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::unsigned_option")]
    ino: Option<u64>,
    kind: RawKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lists: Option<Vec<ListRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    racy: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::unsigned_option")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Directory,
    File,
    Symlink,
}

impl Serialize for Entry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let path = TextOrBase64::of(self.path.as_bytes());
        let mut raw = Raw {
            chunks: None,
            ctime: None,
            ino: None,
            kind: RawKind::Directory,
            lists: None,
            mode: self.mode,
            mtime: self.mtime,
            path: path.text,
            path_b64: path.base64,
            racy: None,
            size: None,
            target: None,
            target_b64: None,
        };
        match &self.kind {
            Kind::Directory => {}
            Kind::File(file) => {
                raw.kind = RawKind::File;
                raw.ctime = file.ctime;
                raw.ino = file.ino;
                raw.racy = file.racy.then_some(true);
                raw.size = Some(file.size);
                match &file.chunks {
                    Chunks::Direct(chunks) if chunks.is_empty() => {}
                    Chunks::Direct(chunks) => raw.chunks = Some(chunks.clone()),
                    Chunks::Listed(lists) => raw.lists = Some(lists.clone()),
                }
            }
            Kind::Symlink(target) => {
                let target = TextOrBase64::of(target);
                raw.kind = RawKind::Symlink;
                (raw.target, raw.target_b64) = (target.text, target.base64);
            }
        }
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_raw(Raw::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Entry {
    fn from_raw(raw: Raw) -> Result<Self, Malformed> {
        let path = TextOrBase64 { text: raw.path, base64: raw.path_b64 }.into_path("path")?;
        if raw.mode.is_some_and(|mode| mode > 0o7777) {
            return Err(Malformed::new("mode has bits beyond 0o7777"));
        }
        let of_files = raw.chunks.is_some()
            || raw.ctime.is_some()
            || raw.ino.is_some()
            || raw.lists.is_some()
            || raw.racy.is_some()
            || raw.size.is_some();
        let of_links = raw.target.is_some() || raw.target_b64.is_some();
        if (of_files && raw.kind != RawKind::File) || (of_links && raw.kind != RawKind::Symlink) {
            return Err(Malformed::new("a field that this kind does not have"));
        }
        let kind = match raw.kind {
            RawKind::Directory => Kind::Directory,
            RawKind::Symlink => {
                let target = TextOrBase64 { text: raw.target, base64: raw.target_b64 }.into_bytes("target")?;
                if target.is_empty() || target.len() > limits::TARGET_BYTES_MAX || target.contains(&0) {
                    return Err(Malformed::new("a link target is empty, too long or holds NUL"));
                }
                Kind::Symlink(target)
            }
            RawKind::File => Kind::File(FileContent {
                size: raw.size.ok_or_else(|| Malformed::new("size is missing"))?,
                chunks: Chunks::from_raw(raw.chunks, raw.lists)?,
                ctime: raw.ctime,
                ino: raw.ino,
                racy: match raw.racy {
                    None => false,
                    Some(true) => true,
                    Some(false) => return Err(Malformed::new("racy is left out where it is false")),
                },
            }),
        };
        if let Kind::File(file) = &kind
            && file.chunks.content_bytes() != Some(file.size)
        {
            return Err(Malformed::new("the chunks do not add up to the size"));
        }
        if path.is_root() && !matches!(kind, Kind::Directory) {
            return Err(Malformed::new("the source itself is not a directory"));
        }
        Ok(Self { path, kind, mode: raw.mode, mtime: raw.mtime })
    }
}

/// Checks chunk references that stand in an entry or in a chunk list.
fn check_chunks(chunks: &[ChunkRef]) -> Result<(), Malformed> {
    if chunks.iter().any(|chunk| chunk.1 == 0 || chunk.1 > limits::CHUNK_BYTES_MAX) {
        return Err(Malformed::new("a chunk is empty or too long"));
    }
    Ok(())
}

impl Chunks {
    fn from_raw(chunks: Option<Vec<ChunkRef>>, lists: Option<Vec<ListRef>>) -> Result<Self, Malformed> {
        match (chunks, lists) {
            (None, None) => Ok(Self::Direct(Vec::new())),
            (Some(chunks), None) if !chunks.is_empty() && chunks.len() <= limits::ENTRY_CHUNKS_MAX => {
                check_chunks(&chunks)?;
                Ok(Self::Direct(chunks))
            }
            (None, Some(lists)) if !lists.is_empty() && lists.len() <= limits::ENTRY_LISTS_MAX => {
                if lists.iter().any(|list| list.1 == 0 || list.1 > limits::OBJECT_BYTES_MAX || list.2 == 0) {
                    return Err(Malformed::new("a chunk list is empty or too long"));
                }
                Ok(Self::Listed(lists))
            }
            _ => Err(Malformed::new("chunks and lists: both, none in them, or too many")),
        }
    }

    /// Returns the length of the content, unless the sum overflows.
    pub fn content_bytes(&self) -> Option<u64> {
        match self {
            Self::Direct(chunks) => Some(chunks.iter().map(|chunk| u64::from(chunk.1)).sum()),
            Self::Listed(lists) => lists.iter().try_fold(0u64, |sum, list| sum.checked_add(list.2)),
        }
    }
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        pub(crate) fn any_path()(components in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..12), 0..6)) -> EntryPath {
            let mut path = EntryPath::root();
            for component in components {
                let component: Vec<u8> = component.into_iter().map(|b| if b == b'/' || b == 0 { b'x' } else { b }).collect();
                if component != b"." && component != b".." {
                    path = path.join(&component).expect("a valid component");
                }
            }
            path
        }
    }

    fn any_time() -> impl Strategy<Value = Option<Time>> {
        prop::option::of((any::<i64>(), 0u32..1_000_000_000).prop_map(|(seconds, nanos)| Time { seconds, nanos }))
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        let chunk = (any::<[u8; 32]>(), 1..=limits::CHUNK_BYTES_MAX).prop_map(|(id, len)| ChunkRef(Digest(id), len));
        let list = (any::<[u8; 32]>(), 1..=limits::OBJECT_BYTES_MAX, 1..1u64 << 50)
            .prop_map(|(id, len, size)| ListRef(Digest(id), len, size));
        let chunks = prop_oneof![
            prop::collection::vec(chunk, 0..5).prop_map(Chunks::Direct),
            prop::collection::vec(list, 1..5).prop_map(Chunks::Listed),
        ];
        let file = (chunks, any_time(), any::<Option<u64>>(), any::<bool>()).prop_map(|(chunks, ctime, ino, racy)| {
            let size = chunks.content_bytes().expect("small");
            Kind::File(FileContent { size, chunks, ctime, ino, racy })
        });
        let target = prop::collection::vec(1u8.., 1..40).prop_map(Kind::Symlink);
        prop_oneof![Just(Kind::Directory), file, target]
    }

    prop_compose! {
        pub(crate) fn any_entry()(path in any_path(), kind in any_kind(), mode in prop::option::of(0..=0o7777u32), mtime in any_time()) -> Entry {
            let kind = if path.is_root() { Kind::Directory } else { kind };
            Entry { path, kind, mode, mtime }
        }
    }

    proptest! {
        #[test]
        fn an_entry_decodes_to_itself(entry in any_entry()) {
            prop_assert_eq!(json::decode::<Entry>(&json::encode(&entry)).expect("canonical"), entry);
        }
    }

    #[test]
    fn contradictory_entries_are_refused() {
        let id = "ab".repeat(32);
        let good = format!(r#"{{"chunks":[["{id}",3]],"kind":"file","mode":420,"path":"a","size":3}}"#);
        assert!(json::decode::<Entry>(good.as_bytes()).is_ok());
        for bad in [
            good.replace(r#""size":3"#, r#""size":4"#),
            good.replace(r#","size":3"#, ""),
            good.replace("420", "4096"),
            good.replace(r#""file""#, r#""directory""#),
            good.replace(r#""file""#, r#""socket""#),
            good.replace(r#""path":"a""#, r#""path":"../a""#),
            good.replace(r#""path":"a""#, r#""path":"""#),
            good.replace(r#""path":"a""#, r#""path":"a","racy":false"#),
            good.replace(r#""path":"a""#, r#""path_b64":"YQ==""#),
            good.replace(r#""path":"a""#, r#""path":"a","path_b64":"/w==""#),
            good.replace(&format!(r#"[["{id}",3]]"#), "[]"),
            good.replace(r#",3]]"#, r#",0],[1]]"#),
            r#"{"kind":"symlink","path":"a","target":""}"#.to_owned(),
            r#"{"kind":"symlink","path":"a"}"#.to_owned(),
            r#"{"kind":"symlink","path":"a","target":"x","target_b64":"/w=="}"#.to_owned(),
        ] {
            assert!(json::decode::<Entry>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn too_many_chunks_and_empty_chunks_are_refused() {
        let many = vec![ChunkRef(Digest([1; 32]), 1); limits::ENTRY_CHUNKS_MAX + 1];
        assert!(Chunks::from_raw(Some(many), None).is_err());
        assert!(Chunks::from_raw(Some(vec![ChunkRef(Digest([1; 32]), 0)]), None).is_err());
        assert!(decode_chunk_list(&encode_chunk_list(&[ChunkRef(Digest([1; 32]), 0)])).is_err());
        assert!(decode_chunk_list(&encode_chunk_list(&[ChunkRef(Digest([1; 32]), 7)])).is_ok());
    }
}
