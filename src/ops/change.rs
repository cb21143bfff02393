//! What can differ between two states of one path, whether a listing or a file system tells of them.

use crate::clock::Time;
use crate::crypto::Digest;
use crate::format::entry::{Entry, Kind};
use crate::format::json;
use crate::fsys::{self, Stat};
use crate::path::EntryPath;

/// Something in which two states of a path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What it is; nothing else is compared then.
    Kind,
    /// The bytes of a file.
    Content,
    /// Where a symbolic link leads, or which device it is.
    Target,
    /// Permission bits.
    Mode,
    /// When its content was last modified.
    Mtime,
    /// To whom it belongs.
    Owner,
    /// Extended attributes, access lists, streams and flags.
    Attributes,
}

impl Aspect {
    /// Returns the aspect's name for people and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Target => "target",
            Self::Mode => "mode",
            Self::Mtime => "mtime",
            Self::Owner => "owner",
            Self::Attributes => "attributes",
        }
    }

    /// Returns whether this is about what the object holds rather than about what is noted of it.
    pub fn is_content(self) -> bool {
        matches!(self, Self::Kind | Self::Content | Self::Target)
    }
}

/// One state of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it is, in one word.
    pub kind: &'static str,
    /// Length in bytes, of a regular file.
    pub bytes: Option<u64>,
    /// Permission bits, where they are known and mean anything.
    pub mode: Option<u32>,
    /// When its content was last modified.
    pub mtime: Option<Time>,
    /// The target, of a symbolic link or junction.
    pub target: Option<Vec<u8>>,
    /// The numbers of user and group, where they are known.
    pub owner: Option<(u32, u32)>,
    /// Major and minor number, of a device.
    pub device: Option<(u32, u32)>,
    /// Stands for extended attributes, streams and flags, where they are known.
    pub attributes: Option<Digest>,
}

impl State {
    /// Returns what an entry says.
    pub fn of(entry: &Entry) -> Self {
        Self {
            kind: entry.kind.name(),
            bytes: entry.file().map(|file| file.size),
            mode: entry.mode,
            mtime: entry.mtime,
            target: entry.kind.target().map(<[u8]>::to_vec),
            owner: entry.owner.as_ref().map(|owner| (owner.uid, owner.gid)),
            device: match entry.kind {
                Kind::Block(major, minor) | Kind::Character(major, minor) => Some((major, minor)),
                _ => None,
            },
            attributes: Some(attributes_of(entry)),
        }
    }

    /// Returns what a file system says.
    pub fn seen(stat: &Stat, target: &[u8]) -> Self {
        use fsys::ObjectKind;
        let kind = match stat.kind {
            ObjectKind::Directory => "directory",
            ObjectKind::File => "file",
            ObjectKind::Symlink => "symlink",
            ObjectKind::Junction => "junction",
            ObjectKind::Fifo => "fifo",
            ObjectKind::Socket => "socket",
            ObjectKind::Block => "block",
            ObjectKind::Character => "character",
            ObjectKind::Other => stat.kind.name(),
        };
        let is_link = matches!(stat.kind, ObjectKind::Symlink | ObjectKind::Junction);
        let is_device = matches!(stat.kind, ObjectKind::Block | ObjectKind::Character);
        Self {
            kind,
            bytes: (stat.kind == ObjectKind::File).then_some(stat.size),
            // Permission bits of a link mean nothing anywhere that keeps them.
            mode: if is_link { None } else { stat.mode },
            mtime: Some(stat.mtime),
            target: is_link.then(|| target.to_vec()),
            owner: stat.owner,
            device: is_device.then_some(stat.device),
            attributes: None,
        }
    }

    /// Returns in what two states differ, ascending. Content is compared by length alone; who knows more adds it.
    pub fn differs(&self, other: &Self) -> Vec<Aspect> {
        if self.kind != other.kind {
            return vec![Aspect::Kind];
        }
        let both =
            |mine: Option<u32>, theirs: Option<u32>| mine.zip(theirs).is_some_and(|(mine, theirs)| mine != theirs);
        let later = self.mtime.zip(other.mtime).is_some_and(|(mine, theirs)| !fsys::same_time(mine, theirs));
        let found = [
            (self.bytes != other.bytes, Aspect::Content),
            (self.target != other.target || self.device != other.device, Aspect::Target),
            (both(self.mode, other.mode), Aspect::Mode),
            (later, Aspect::Mtime),
            (self.owner.zip(other.owner).is_some_and(|(mine, theirs)| mine != theirs), Aspect::Owner),
            (self.attributes.zip(other.attributes).is_some_and(|(mine, theirs)| mine != theirs), Aspect::Attributes),
        ];
        found.into_iter().filter(|(differs, _)| *differs).map(|(_, aspect)| aspect).collect()
    }
}

/// Stands for what an entry says of attributes, streams and flags.
fn attributes_of(entry: &Entry) -> Digest {
    let Entry { xattrs, streams, flags, attributes, .. } = entry.clone();
    let alone = Entry::new(EntryPath::root(), Kind::Directory);
    Digest::of(&json::encode(&Entry { xattrs, streams, flags, attributes, ..alone }))
}

/// Returns in what two entries differ, ascending, where equal contents are cut alike and named alike.
pub(super) fn between(before: &Entry, after: &Entry) -> Vec<Aspect> {
    let mut aspects = State::of(before).differs(&State::of(after));
    if let (Some(before), Some(after)) = (before.file(), after.file())
        && before.size == after.size
        && (&before.chunks, &before.holes) != (&after.chunks, &after.holes)
    {
        aspects.insert(0, Aspect::Content);
    }
    aspects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::{ChunkRef, Chunks, FileContent};

    fn file(content: u8, size: u32, mode: u32, seconds: i64) -> Entry {
        let chunks = Chunks::Direct(vec![ChunkRef(Digest([content; 32]), size)]);
        let content = FileContent { size: size.into(), chunks, ..FileContent::default() };
        let path = EntryPath::parse(b"f").expect("valid");
        Entry { mode: Some(mode), mtime: Some(Time { seconds, nanos: 0 }), ..Entry::new(path, Kind::File(content)) }
    }

    #[test]
    fn every_aspect_is_told_apart() {
        let one = file(1, 3, 0o644, 5);
        assert_eq!(between(&one, &one), []);
        assert_eq!(between(&one, &file(2, 3, 0o644, 5)), [Aspect::Content]);
        assert_eq!(between(&one, &file(2, 4, 0o644, 5)), [Aspect::Content]);
        assert_eq!(between(&one, &file(1, 3, 0o600, 6)), [Aspect::Mode, Aspect::Mtime]);
        let link = |target: &[u8]| Entry { kind: Kind::Symlink(target.to_vec()), mode: None, ..one.clone() };
        assert_eq!(between(&one, &link(b"x")), [Aspect::Kind]);
        assert_eq!(between(&link(b"y"), &link(b"x")), [Aspect::Target]);
    }

    #[test]
    fn what_is_not_known_does_not_differ() {
        let one = file(1, 3, 0o644, 5);
        assert_eq!(between(&one, &Entry { mode: None, mtime: None, ..one.clone() }), []);
    }
}
