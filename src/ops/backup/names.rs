//! Objects of several names: read once, and every further name recorded as such.

use std::collections::HashMap;

use crate::format::entry::{Entry, Kind};
use crate::format::links;
use crate::fsys::{ObjectId, ObjectKind, Stat};
use crate::path::EntryPath;

/// What is known of objects with several names. An object is forgotten once all its names were seen.
#[derive(Default)]
pub(super) struct Names {
    // The first name that the walk met, and how many are still to come.
    first: HashMap<ObjectId, (EntryPath, u64)>,
    // By that name: what became of it.
    entries: HashMap<EntryPath, Named>,
}

struct Named {
    entry: Entry,
    unchanged: bool,
    left: u64,
}

impl Names {
    /// Notes a name in the order of the walk; returns the object's first one if this is a further one.
    pub(super) fn note(&mut self, path: &EntryPath, stat: &Stat) -> Option<EntryPath> {
        if stat.links < 2 || stat.kind == ObjectKind::Directory {
            return None;
        }
        let Some((first, left)) = self.first.get_mut(&stat.id) else {
            self.first.insert(stat.id, (path.clone(), stat.links - 1));
            return None;
        };
        let first = first.clone();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.first.remove(&stat.id);
        }
        Some(first)
    }

    /// Keeps the entry of an object's first name for those that follow; `key` is the name that the walk met first.
    pub(super) fn keep(&mut self, key: &EntryPath, entry: &Entry, unchanged: bool) {
        if let (Some(links), None) = (entry.links, &entry.hardlink) {
            self.entries.insert(key.clone(), Named { entry: entry.clone(), unchanged, left: links - 1 });
        }
    }

    /// Returns the entry of a further name, and whether the file was unchanged, if the object is still what it was
    /// under its first name.
    pub(super) fn further(&mut self, key: &EntryPath, path: &EntryPath, stat: &Stat) -> Option<(Entry, bool)> {
        let named = self.entries.get_mut(key).filter(|named| is_still(&named.entry, stat))?;
        let entry = further_name(&named.entry, path);
        let unchanged = named.unchanged;
        named.left = named.left.saturating_sub(1);
        if named.left == 0 {
            self.entries.remove(key);
        }
        Some((entry, unchanged))
    }

    /// Returns the entry of a further name that had to be read by itself: the first one's where nothing differs that
    /// a restore would show, none where something does. An object whose first name was not taken begins here.
    pub(super) fn reconcile(&mut self, key: &EntryPath, entry: Entry) -> Option<Entry> {
        let Some(named) = self.entries.get(key) else {
            self.keep(key, &entry, false);
            return Some(entry);
        };
        (settled(&named.entry) == settled(&entry)).then(|| further_name(&named.entry, &entry.path))
    }
}

fn further_name(first: &Entry, path: &EntryPath) -> Entry {
    Entry { path: path.clone(), hardlink: Some(first.path.clone()), ..first.clone() }
}

/// Returns whether nothing happened to an object since its first name was taken.
fn is_still(first: &Entry, now: &Stat) -> bool {
    let content = match &first.kind {
        Kind::File(file) => {
            now.kind == ObjectKind::File
                && file.size == now.size
                && file.ctime.is_some()
                && file.ctime == now.ctime
                && file.ino == Some(now.id.number)
        }
        Kind::Symlink(_) => now.kind == ObjectKind::Symlink,
        Kind::Junction(_) => now.kind == ObjectKind::Junction,
        Kind::Fifo => now.kind == ObjectKind::Fifo,
        Kind::Socket => now.kind == ObjectKind::Socket,
        Kind::Block(..) => now.kind == ObjectKind::Block,
        Kind::Character(..) => now.kind == ObjectKind::Character,
        Kind::Directory => false,
    };
    content && first.mtime == Some(now.mtime) && first.links == Some(now.links)
}

/// Everything but what changes when a name is added or removed.
fn settled(entry: &Entry) -> crate::crypto::Digest {
    let mut entry = Entry { links: Some(2), ..entry.clone() };
    if let Kind::File(file) = &mut entry.kind {
        (file.ctime, file.racy) = (None, false);
    }
    links::body(&entry)
}
