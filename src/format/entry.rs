//! Entries: one file-system object each, as one JSON line of a segment.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::attribute::{self, Attribute};
pub use super::content::{
    ChunkRef, Chunks, FileContent, Holes, ListRef, decode_chunk_list, decode_hole_list, encode_chunk_list,
    encode_hole_list,
};
use super::holes::Hole;
use super::json::{self, TextOrBase64};
use crate::clock::Time;
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
    /// When it was made, where the platform lets that be restored.
    pub created: Option<Time>,
    /// To whom it belongs; absent where the platform has no numbers for that.
    pub owner: Option<Owner>,
    /// The flags of macOS and the BSDs (`st_flags`), if any is set.
    pub flags: Option<u32>,
    /// The attributes of Windows (`FILE_ATTRIBUTE_*`), if any is set that a restore can set.
    pub attributes: Option<u32>,
    /// Extended attributes, access lists and capabilities among them; names ascend.
    pub xattrs: Vec<Attribute>,
    /// Alternate data streams of Windows; names ascend.
    pub streams: Vec<Attribute>,
    /// How many names the object had in the source, if more than one.
    pub links: Option<u64>,
    /// The first name of the same object in this snapshot, if this is a further one.
    pub hardlink: Option<EntryPath>,
}

/// To whom an object belongs, by number, and by name where the source's system knew one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The user's name.
    pub user: Option<String>,
    /// The group's name.
    pub group: Option<String>,
}

impl Owner {
    /// Returns the numbers that the owner has on this system: by name where the name is known here.
    ///
    /// # Errors
    /// Whatever is asked for a name does not answer.
    pub fn numbers_here<E>(
        &self,
        user_number: impl Fn(&str) -> Result<Option<u32>, E>,
        group_number: impl Fn(&str) -> Result<Option<u32>, E>,
    ) -> Result<(u32, u32), E> {
        let uid = self.user.as_deref().map_or(Ok(None), user_number)?.unwrap_or(self.uid);
        let gid = self.group.as_deref().map_or(Ok(None), group_number)?.unwrap_or(self.gid);
        Ok((uid, gid))
    }
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
    /// A junction of Windows, with its target.
    Junction(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device, by major and minor number.
    Block(u32, u32),
    /// A character device, by major and minor number.
    Character(u32, u32),
}

impl Kind {
    /// Returns the kind's name in the format.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File(_) => "file",
            Self::Symlink(_) => "symlink",
            Self::Junction(_) => "junction",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Block(..) => "block",
            Self::Character(..) => "character",
        }
    }

    /// Returns the target, of a link or junction.
    pub fn target(&self) -> Option<&[u8]> {
        match self {
            Self::Symlink(target) | Self::Junction(target) => Some(target),
            _ => None,
        }
    }
}

impl Entry {
    /// Returns flags or attributes, whichever the platform that this runs on has, and those of the other family.
    pub fn own_and_foreign_flags(&self) -> (Option<u32>, Option<u32>) {
        if cfg!(windows) { (self.attributes, self.flags) } else { (self.flags, self.attributes) }
    }

    /// Creates an entry that says nothing but path and kind.
    pub fn new(path: EntryPath, kind: Kind) -> Self {
        Self {
            path,
            kind,
            mode: None,
            mtime: None,
            created: None,
            owner: None,
            flags: None,
            attributes: None,
            xattrs: Vec::new(),
            streams: Vec::new(),
            links: None,
            hardlink: None,
        }
    }

    /// Returns the chunks that hold long values of attributes and streams.
    pub fn attribute_chunks(&self) -> impl Iterator<Item = ChunkRef> + '_ {
        self.xattrs.iter().chain(&self.streams).flat_map(|attribute| attribute.value.chunks()).copied()
    }

    /// Returns about how many bytes of memory the entry takes, for bounds on how many wait together.
    pub fn memory(&self) -> usize {
        let named = |list: &[Attribute]| -> usize {
            list.iter().map(|one| size_of::<Attribute>() + one.name.len() + one.value.memory()).sum()
        };
        let content = self.file().map_or(0, |file| {
            let chunks = match &file.chunks {
                Chunks::Direct(chunks) => chunks.len() * size_of::<ChunkRef>(),
                Chunks::Listed(lists) => lists.len() * size_of::<ListRef>(),
            };
            let holes = match &file.holes {
                Holes::Direct(holes) => holes.len() * size_of::<Hole>(),
                Holes::Listed(lists) => lists.len() * size_of::<ListRef>(),
            };
            chunks + holes
        });
        let paths = self.path.as_bytes().len() + self.hardlink.as_ref().map_or(0, |path| path.as_bytes().len());
        let target = self.kind.target().map_or(0, <[u8]>::len);
        size_of::<Self>() + paths + target + content + named(&self.xattrs) + named(&self.streams)
    }

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

/// An entry as JSON; keys ascend. It borrows from the entry that is encoded, and owns what was decoded.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attributes: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunks: Option<Cow<'a, [ChunkRef]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ctime: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hardlink: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hardlink_b64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hole_lists: Option<Cow<'a, [ListRef]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holes: Option<Cow<'a, [Hole]>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::unsigned_option")]
    ino: Option<u64>,
    kind: RawKind,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::unsigned_option")]
    links: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lists: Option<Cow<'a, [ListRef]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    racy: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::unsigned_option")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    streams: Option<Cow<'a, [Attribute]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_b64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xattrs: Option<Cow<'a, [Attribute]>>,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Block,
    Character,
    #[default]
    Directory,
    Fifo,
    File,
    Junction,
    Socket,
    Symlink,
}

impl Serialize for Entry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let path = TextOrBase64::of(self.path.as_bytes());
        let mut raw = Raw {
            attributes: self.attributes,
            created: self.created,
            flags: self.flags,
            links: self.links,
            mode: self.mode,
            mtime: self.mtime,
            path: path.text,
            path_b64: path.base64,
            streams: some(&self.streams),
            xattrs: some(&self.xattrs),
            ..Raw::default()
        };
        if let Some(owner) = &self.owner {
            (raw.uid, raw.gid) = (Some(owner.uid), Some(owner.gid));
            (raw.user, raw.group) = (owner.user.as_deref().map(Cow::from), owner.group.as_deref().map(Cow::from));
        }
        if let Some(first) = &self.hardlink {
            let first = TextOrBase64::of(first.as_bytes());
            (raw.hardlink, raw.hardlink_b64) = (first.text, first.base64);
        }
        raw.set_kind(&self.kind);
        raw.serialize(serializer)
    }
}

/// Returns a list, unless it is left out because nothing is in it.
fn some<T: Clone>(list: &[T]) -> Option<Cow<'_, [T]>> {
    (!list.is_empty()).then_some(Cow::Borrowed(list))
}

impl<'a> Raw<'a> {
    fn set_kind(&mut self, kind: &'a Kind) {
        self.kind = match kind {
            Kind::Directory => RawKind::Directory,
            Kind::File(_) => RawKind::File,
            Kind::Symlink(_) => RawKind::Symlink,
            Kind::Junction(_) => RawKind::Junction,
            Kind::Fifo => RawKind::Fifo,
            Kind::Socket => RawKind::Socket,
            Kind::Block(..) => RawKind::Block,
            Kind::Character(..) => RawKind::Character,
        };
        match kind {
            Kind::File(file) => {
                self.ctime = file.ctime;
                self.ino = file.ino;
                self.racy = file.racy.then_some(true);
                self.size = Some(file.size);
                match &file.holes {
                    Holes::Direct(holes) => self.holes = some(holes),
                    Holes::Listed(lists) => self.hole_lists = Some(lists.into()),
                }
                match &file.chunks {
                    Chunks::Direct(chunks) => self.chunks = some(chunks),
                    Chunks::Listed(lists) => self.lists = Some(lists.into()),
                }
            }
            Kind::Symlink(target) | Kind::Junction(target) => {
                let target = TextOrBase64::of(target);
                (self.target, self.target_b64) = (target.text, target.base64);
            }
            Kind::Block(major, minor) | Kind::Character(major, minor) => self.device = Some((*major, *minor)),
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
        }
    }

    /// Refuses fields that the kind does not have.
    fn check_fields(&self) -> Result<(), Malformed> {
        let of_files = self.chunks.is_some()
            || self.ctime.is_some()
            || self.hole_lists.is_some()
            || self.holes.is_some()
            || self.ino.is_some()
            || self.lists.is_some()
            || self.racy.is_some()
            || self.size.is_some();
        let of_links = self.target.is_some() || self.target_b64.is_some();
        let of_names = self.links.is_some() || self.hardlink.is_some() || self.hardlink_b64.is_some();
        let is_link = matches!(self.kind, RawKind::Symlink | RawKind::Junction);
        let is_device = matches!(self.kind, RawKind::Block | RawKind::Character);
        if (of_files && self.kind != RawKind::File)
            || (of_links && !is_link)
            || (self.device.is_some() != is_device)
            || (of_names && self.kind == RawKind::Directory)
        {
            return Err(Malformed::new("a field that this kind does not have, or a device without its number"));
        }
        Ok(())
    }

    fn take_file(&mut self) -> Result<FileContent, Malformed> {
        let file = FileContent {
            size: self.size.ok_or_else(|| Malformed::new("size is missing"))?,
            holes: Holes::from_raw(owned(self.holes.take()), owned(self.hole_lists.take()))?,
            chunks: Chunks::from_raw(owned(self.chunks.take()), owned(self.lists.take()))?,
            ctime: self.ctime,
            ino: self.ino,
            racy: match self.racy {
                None => false,
                Some(true) => true,
                Some(false) => return Err(Malformed::new("racy is left out where it is false")),
            },
        };
        file.check()?;
        Ok(file)
    }

    fn take_kind(&mut self) -> Result<Kind, Malformed> {
        let device = self.device.unwrap_or_default();
        Ok(match self.kind {
            RawKind::Directory => Kind::Directory,
            RawKind::Fifo => Kind::Fifo,
            RawKind::Socket => Kind::Socket,
            RawKind::Block => Kind::Block(device.0, device.1),
            RawKind::Character => Kind::Character(device.0, device.1),
            RawKind::File => Kind::File(self.take_file()?),
            RawKind::Symlink | RawKind::Junction => {
                let target = TextOrBase64 { text: self.target.take(), base64: self.target_b64.take() };
                let target = target.into_bytes("target")?;
                if target.is_empty() || target.len() > limits::TARGET_BYTES_MAX || target.contains(&0) {
                    return Err(Malformed::new("a link target is empty, too long or holds NUL"));
                }
                if self.kind == RawKind::Symlink { Kind::Symlink(target) } else { Kind::Junction(target) }
            }
        })
    }

    fn take_owner(&mut self) -> Result<Option<Owner>, Malformed> {
        let sound = |name: &Option<Cow<'_, str>>| {
            name.as_ref()
                .is_none_or(|name| !name.is_empty() && name.len() <= limits::OWNER_BYTES_MAX && !name.contains('\0'))
        };
        match (self.uid, self.gid) {
            (None, None) if self.user.is_none() && self.group.is_none() => Ok(None),
            (Some(uid), Some(gid)) if sound(&self.user) && sound(&self.group) => {
                Ok(Some(Owner { uid, gid, user: owned(self.user.take()), group: owned(self.group.take()) }))
            }
            _ => Err(Malformed::new("an owner has both numbers or none, and names of a sound length")),
        }
    }

    fn take_hardlink(&mut self, path: &EntryPath) -> Result<Option<EntryPath>, Malformed> {
        if self.links.is_some_and(|links| links < 2) {
            return Err(Malformed::new("links is left out where there is one name"));
        }
        if self.hardlink.is_none() && self.hardlink_b64.is_none() {
            return Ok(None);
        }
        let first = TextOrBase64 { text: self.hardlink.take(), base64: self.hardlink_b64.take() };
        let first = first.into_path("hardlink")?;
        if self.links.is_none() || first >= *path || first.is_root() {
            return Err(Malformed::new("a further name without a number of names, or before the first"));
        }
        Ok(Some(first))
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_raw(Raw::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Returns what was decoded, which nothing else holds.
fn owned<T: ToOwned + ?Sized>(value: Option<Cow<'_, T>>) -> Option<T::Owned> {
    value.map(Cow::into_owned)
}

impl Entry {
    fn from_raw(mut raw: Raw<'_>) -> Result<Self, Malformed> {
        let path = TextOrBase64 { text: raw.path.take(), base64: raw.path_b64.take() }.into_path("path")?;
        if raw.mode.is_some_and(|mode| mode > 0o7777) {
            return Err(Malformed::new("mode has bits beyond 0o7777"));
        }
        if raw.flags == Some(0) || raw.attributes == Some(0) {
            return Err(Malformed::new("flags and attributes are left out where none is set"));
        }
        raw.check_fields()?;
        for list in [&raw.xattrs, &raw.streams].into_iter().flatten() {
            attribute::check(list)?;
        }
        let kind = raw.take_kind()?;
        if path.is_root() && !matches!(kind, Kind::Directory) {
            return Err(Malformed::new("the source itself is not a directory"));
        }
        Ok(Self {
            owner: raw.take_owner()?,
            hardlink: raw.take_hardlink(&path)?,
            links: raw.links,
            mode: raw.mode,
            mtime: raw.mtime,
            created: raw.created,
            flags: raw.flags,
            attributes: raw.attributes,
            xattrs: owned(raw.xattrs).unwrap_or_default(),
            streams: owned(raw.streams).unwrap_or_default(),
            path,
            kind,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::crypto::Digest;
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

    fn any_file() -> impl Strategy<Value = Kind> {
        let chunk = (any::<[u8; 32]>(), 1..=limits::CHUNK_BYTES_MAX).prop_map(|(id, len)| ChunkRef(Digest(id), len));
        let list = (any::<[u8; 32]>(), 1..=limits::OBJECT_BYTES_MAX, 1..1u64 << 50)
            .prop_map(|(id, len, size)| ListRef(Digest(id), len, size));
        let chunks = prop_oneof![
            prop::collection::vec(chunk, 0..5).prop_map(Chunks::Direct),
            prop::collection::vec(list, 1..5).prop_map(Chunks::Listed),
        ];
        let gaps = prop::collection::vec((1..1u64 << 20, 1..1u64 << 40), 0..4);
        let hole_lists = prop::collection::vec((any::<[u8; 32]>(), 1..1u64 << 40), 0..3);
        let read = (any_time(), any::<Option<u64>>(), any::<bool>());
        (chunks, gaps, hole_lists, read).prop_map(|(chunks, gaps, hole_lists, (ctime, ino, racy))| {
            let data = chunks.content_bytes().expect("small");
            if !hole_lists.is_empty() {
                let lists: Vec<ListRef> =
                    hole_lists.iter().map(|(id, bytes)| ListRef(Digest(*id), 7, *bytes)).collect();
                let holes = Holes::Listed(lists);
                let size = data + holes.bytes().expect("small");
                return Kind::File(FileContent { size, holes, chunks, ctime, ino, racy });
            }
            // Each hole some way behind the one before, as far as there is data to lie between them.
            let (mut holes, mut at, mut left) = (Vec::new(), 0, data);
            for (distance, length) in gaps {
                if distance > left {
                    break;
                }
                holes.push(Hole(at + distance, length));
                (at, left) = (at + distance + length, left - distance);
            }
            let holes = Holes::Direct(holes);
            let size = data + holes.bytes().expect("small");
            Kind::File(FileContent { size, holes, chunks, ctime, ino, racy })
        })
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        let target = || prop::collection::vec(1u8.., 1..40);
        prop_oneof![
            Just(Kind::Directory),
            any_file(),
            target().prop_map(Kind::Symlink),
            target().prop_map(Kind::Junction),
            Just(Kind::Fifo),
            Just(Kind::Socket),
            any::<(u32, u32)>().prop_map(|(major, minor)| Kind::Block(major, minor)),
            any::<(u32, u32)>().prop_map(|(major, minor)| Kind::Character(major, minor)),
        ]
    }

    fn any_owner() -> impl Strategy<Value = Option<Owner>> {
        let name = || prop::option::of("[a-z]{1,8}");
        let owner = (any::<(u32, u32)>(), name(), name());
        prop::option::of(owner.prop_map(|((uid, gid), user, group)| Owner { uid, gid, user, group }))
    }

    fn any_attributes() -> impl Strategy<Value = Vec<Attribute>> {
        let chunk = (any::<[u8; 32]>(), 4097..=9000u32).prop_map(|(id, len)| ChunkRef(Digest(id), len));
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(attribute::Value::Inline),
            prop::collection::vec(chunk, 1..3).prop_map(attribute::Value::Chunks),
        ];
        prop::collection::btree_map(prop::collection::vec(1u8.., 1..12), value, 0..4)
            .prop_map(|map| map.into_iter().map(|(name, value)| Attribute { name, value }).collect())
    }

    prop_compose! {
        pub(crate) fn any_entry()(
            (path, kind) in (any_path(), any_kind()),
            mode in prop::option::of(0..=0o7777u32),
            (mtime, created) in (any_time(), any_time()),
            owner in any_owner(),
            (flags, attributes) in (prop::option::of(1u32..), prop::option::of(1u32..)),
            (xattrs, streams) in (any_attributes(), any_attributes()),
            (links, before) in (prop::option::of(2u64..), prop::option::of(any_path())),
        ) -> Entry {
            let kind = if path.is_root() { Kind::Directory } else { kind };
            let links = links.filter(|_| !matches!(kind, Kind::Directory));
            let hardlink = before.filter(|before| links.is_some() && !before.is_root() && *before < path);
            Entry { path, kind, mode, mtime, created, owner, flags, attributes, xattrs, streams, links, hardlink }
        }
    }

    proptest! {
        #[test]
        fn an_entry_decodes_to_itself(entry in any_entry()) {
            prop_assert_eq!(json::decode::<Entry>(&json::encode(&entry)).expect("canonical"), entry);
        }
    }

    #[test]
    fn each_field_of_another_kind_is_refused_alone() {
        let (id, link) = ("ab".repeat(32), r#""target":"x""#);
        let of_files = [
            &format!(r#""chunks":[["{id}",3]]"#),
            r#""ctime":[1,2]"#,
            &format!(r#""hole_lists":[["{id}",3,3]]"#),
            r#""holes":[[0,3]]"#,
            r#""ino":1"#,
            &format!(r#""lists":[["{id}",3,3]]"#),
            r#""racy":true"#,
            r#""size":0"#,
        ];
        let with = |kind: &str, fields: &[&str]| {
            let kind = format!(r#""kind":"{kind}""#);
            let mut fields = [&[&kind, r#""path":"a""#], fields].concat();
            fields.sort_unstable();
            json::decode::<Entry>(format!("{{{}}}", fields.join(",")).as_bytes())
        };
        for kind in ["directory", "fifo", "socket"] {
            assert!(with(kind, &[]).is_ok(), "{kind}");
            for field in of_files.iter().copied().chain([link, r#""target_b64":"/w==""#, r#""device":[1,2]"#]) {
                assert!(with(kind, &[field]).is_err(), "{kind} with {field}");
            }
        }
        for field in of_files {
            assert!(with("symlink", &[field, link]).is_err(), "a link with {field}");
        }
        assert!(with("symlink", &[link]).is_ok() && with("junction", &[link]).is_ok());
        // An owner has both numbers; names come beside them.
        let (uid, gid, user, group) = (r#""uid":1"#, r#""gid":2"#, r#""user":"u""#, r#""group":"g""#);
        for good in [&[uid, gid][..], &[uid, gid, user], &[uid, gid, group], &[uid, gid, user, group]] {
            assert!(with("fifo", good).is_ok(), "{good:?}");
        }
        for bad in [&[uid][..], &[gid], &[user], &[group], &[user, group], &[uid, user, group], &[gid, user, group]] {
            assert!(with("fifo", bad).is_err(), "{bad:?}");
        }
        let name = |bytes: usize| format!(r#""user":"{}""#, "u".repeat(bytes));
        let most = limits::OWNER_BYTES_MAX;
        for (bytes, good) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            assert_eq!(with("fifo", &[uid, gid, &name(bytes)]).is_ok(), good, "a name of {bytes} bytes");
        }
    }

    #[test]
    fn memory_counts_everything_of_which_there_may_be_much() {
        let path = |name: &str| EntryPath::parse(name.as_bytes()).expect("valid");
        let file =
            |holes, chunks| Kind::File(FileContent { size: 0, holes, chunks, ctime: None, ino: None, racy: false });
        let (chunk, list) = (ChunkRef(Digest([1; 32]), 1), ListRef(Digest([1; 32]), 1, 1));
        let base = Entry::new(path("a"), file(Holes::none(), Chunks::Direct(Vec::new())));
        let more = |change: &dyn Fn(&mut Entry)| {
            let mut entry = base.clone();
            change(&mut entry);
            entry.memory() - base.memory()
        };
        assert_eq!(base.memory(), size_of::<Entry>() + 1);
        assert_eq!(more(&|entry| entry.path = path("abcd")), 3);
        assert_eq!(more(&|entry| entry.hardlink = Some(path("abcd"))), 4);
        assert_eq!(more(&|entry| entry.kind = Kind::Symlink(vec![b'x'; 70])), 70);
        let chunks = || Chunks::Direct(vec![chunk; 3]);
        assert_eq!(more(&|entry| entry.kind = file(Holes::none(), chunks())), 3 * size_of::<ChunkRef>());
        let lists = || Chunks::Listed(vec![list; 3]);
        assert_eq!(more(&|entry| entry.kind = file(Holes::none(), lists())), 3 * size_of::<ListRef>());
        let holes = Holes::Direct(vec![Hole(0, 1); 5]);
        let both = 3 * size_of::<ChunkRef>() + 5 * size_of::<Hole>();
        assert_eq!(more(&|entry| entry.kind = file(holes.clone(), chunks())), both);
        let holes = Holes::Listed(vec![list; 5]);
        assert_eq!(more(&|entry| entry.kind = file(holes.clone(), lists())), 8 * size_of::<ListRef>());
        let one = |value| vec![Attribute { name: b"name".into(), value }];
        let inline = size_of::<Attribute>() + 4 + 9;
        assert_eq!(more(&|entry| entry.xattrs = one(attribute::Value::Inline(vec![0; 9]))), inline);
        let chunked = size_of::<Attribute>() + 4 + 3 * size_of::<ChunkRef>();
        assert_eq!(more(&|entry| entry.streams = one(attribute::Value::Chunks(vec![chunk; 3]))), chunked);
    }

    #[test]
    fn contradictory_entries_are_refused() {
        let id = "ab".repeat(32);
        let good = format!(r#"{{"chunks":[["{id}",3]],"kind":"file","mode":420,"path":"a","size":3}}"#);
        assert!(json::decode::<Entry>(good.as_bytes()).is_ok());
        for good in [
            good.replace(r#""kind""#, r#""holes":[[0,2],[5,1]],"kind""#).replace(r#""size":3"#, r#""size":6"#),
            r#"{"device":[8,1],"hardlink":"a","kind":"block","links":2,"path":"b"}"#.to_owned(),
            r#"{"gid":0,"kind":"socket","path":"b","uid":1,"user":"x"}"#.to_owned(),
        ] {
            assert!(json::decode::<Entry>(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            good.replace(r#""size":3"#, r#""size":4"#),
            good.replace(r#","size":3"#, ""),
            good.replace("420", "4096"),
            good.replace(r#""file""#, r#""directory""#),
            good.replace(r#""file""#, r#""socket""#),
            good.replace(r#""file""#, r#""pipe""#),
            good.replace(r#""kind""#, r#""device":[1,2],"kind""#),
            good.replace(r#""kind""#, r#""flags":0,"kind""#),
            good.replace(r#""kind""#, r#""gid":0,"kind""#),
            good.replace(r#""kind""#, r#""hardlink":"A","kind""#),
            good.replace(r#""kind""#, r#""holes":[[0,3]],"kind""#),
            good.replace(r#""mode""#, r#""links":1,"mode""#),
            good.replace(r#"3}"#, r#"3,"xattrs":[]}"#),
            good.replace(r#"3}"#, r#"3,"xattrs":[{"name":"b","value":""},{"name":"a","value":""}]}"#),
            r#"{"hardlink":"b","kind":"fifo","links":2,"path":"a"}"#.to_owned(),
            r#"{"kind":"directory","links":2,"path":"a"}"#.to_owned(),
            r#"{"kind":"block","path":"a"}"#.to_owned(),
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
}
