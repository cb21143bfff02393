//! What can differ between two states of one path, whether a listing or a file system tells of them.

use crate::clock::Time;
use crate::format::entry::Entry;
use crate::fsys::{self, Stat};

/// Something in which two states of a path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What it is; nothing else is compared then.
    Kind,
    /// The bytes of a file.
    Content,
    /// Where a symbolic link leads.
    Target,
    /// Permission bits.
    Mode,
    /// When its content was last modified.
    Mtime,
    /// To whom it belongs.
    Owner,
    /// Extended attributes, access lists among them, and streams.
    Attributes,
    /// Flags of the platform.
    Flags,
    /// Which names it shares with other paths.
    Links,
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
            Self::Flags => "flags",
            Self::Links => "links",
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
    /// The target, of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// The numbers of user and group, where they are known.
    pub owner: Option<(u32, u32)>,
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
        }
    }

    /// Returns what a file system says.
    pub fn seen(stat: &Stat, target: &[u8]) -> Self {
        use fsys::ObjectKind;
        let kind = match stat.kind {
            ObjectKind::Directory => "directory",
            ObjectKind::File => "file",
            ObjectKind::Symlink => "symlink",
            ObjectKind::Fifo => "fifo",
            ObjectKind::Socket => "socket",
            ObjectKind::Junction => "junction",
            ObjectKind::Block => "block",
            ObjectKind::Character => "character",
            other => other.name(),
        };
        let is_link = matches!(stat.kind, ObjectKind::Symlink | ObjectKind::Junction);
        Self {
            kind,
            bytes: (stat.kind == ObjectKind::File).then_some(stat.size),
            // Permission bits of a link mean nothing anywhere that keeps them.
            mode: if is_link { None } else { stat.mode },
            mtime: Some(stat.mtime),
            target: is_link.then(|| target.to_vec()),
            owner: stat.owner,
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
            (self.target != other.target, Aspect::Target),
            (both(self.mode, other.mode), Aspect::Mode),
            (later, Aspect::Mtime),
            (self.owner.zip(other.owner).is_some_and(|(mine, theirs)| mine != theirs), Aspect::Owner),
        ];
        found.into_iter().filter(|(differs, _)| *differs).map(|(_, aspect)| aspect).collect()
    }
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
    if aspects == [Aspect::Kind] {
        return aspects;
    }
    let owners = before.owner.as_ref().zip(after.owner.as_ref());
    let noted = [
        // Numbers have been compared; names may tell more.
        (!aspects.contains(&Aspect::Owner) && owners.is_some_and(|(before, after)| before != after), Aspect::Owner),
        ((&before.xattrs, &before.streams) != (&after.xattrs, &after.streams), Aspect::Attributes),
        ((before.flags, before.attributes) != (after.flags, after.attributes), Aspect::Flags),
        (before.hardlink != after.hardlink, Aspect::Links),
    ];
    aspects.extend(noted.into_iter().filter(|(differs, _)| *differs).map(|(_, aspect)| aspect));
    aspects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Digest;
    use crate::format::entry::{ChunkRef, Chunks, FileContent, Kind};
    use crate::path::EntryPath;

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
