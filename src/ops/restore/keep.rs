//! What is restored of an entry's metadata on this target, how it is set, and how it is held against the entry.
//!
//! A set-id bit gives the owner's rights to whoever runs the file. On a file that does not belong to the recorded owner
//! it would give somebody else's, root's in the worst case; so it is never set there, and the report says so.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;

use super::class::Class;
use super::tree::failed;
use crate::clock::Time;
use crate::error::Result;
use crate::format::attribute::Attribute;
use crate::format::entry::{Entry, Kind, Owner};
use crate::format::record::Counts;
use crate::fsys::{self, Dir, Object, Stat, Xattr};
use crate::path::EntryPath;
use crate::vault::read::Reader;

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// What is kept on this target. Whatever is not kept here has been refused, given up by name, or is reported.
#[derive(Debug, Default)]
pub(super) struct Keep {
    pub(super) without: BTreeSet<Class>,
    /// The numbers that each owner has here; nothing where this user may not give files to it.
    pub(super) owners: HashMap<Owner, Option<(u32, u32)>>,
    /// Attributes that the target itself gives to new objects.
    pub(super) ambient: HashSet<Vec<u8>>,
    /// The step in which the target keeps times, in nanoseconds.
    pub(super) time_step: i128,
    /// How what is written is made durable.
    pub(super) durability: Durability,
}

/// How what is written is made durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Durability {
    /// Each file and directory by itself, once it is complete.
    #[default]
    Each,
    /// Everything on the file system at once, when everything is complete.
    Whole,
}

/// Up to so many objects are made durable one by one: all at once waits for whatever else was written on the file system.
const EACH_MAX: u64 = 64;

impl Durability {
    /// Chooses for what is to be written.
    ///
    /// Links and special files have no handle by which they could be made durable, so that these are left to the system
    /// where it can.
    pub(super) fn of(counts: &Counts) -> Self {
        let plain = counts.symlinks == 0 && counts.specials == 0 && counts.hardlinks == 0;
        if fsys::SYNCS_WHOLE_FILESYSTEMS && !(plain && counts.entries() <= EACH_MAX) { Self::Whole } else { Self::Each }
    }

    /// Makes a complete file durable, unless that is done for all at once.
    pub(super) fn sync_file(self, file: &File) -> io::Result<()> {
        if self == Self::Each { fsys::sync_file(file) } else { Ok(()) }
    }

    /// Makes the names in a complete directory durable, unless that is done for all at once.
    pub(super) fn sync_directory(self, dir: &Dir) -> io::Result<()> {
        if self == Self::Each { dir.sync() } else { Ok(()) }
    }
}

impl Keep {
    pub(super) fn keeps(&self, class: Class) -> bool {
        !self.without.contains(&class)
    }

    /// Returns whether an entry is restored at all: classes of objects can be given up.
    pub(super) fn restores(&self, entry: &Entry) -> bool {
        Class::of_kind(&entry.kind).is_none_or(|class| self.keeps(class))
    }

    /// Returns the first name of the object, if this is a further one and restored as such.
    pub(super) fn further_name<'a>(&self, entry: &'a Entry) -> Option<&'a EntryPath> {
        entry.hardlink.as_ref().filter(|_| self.keeps(Class::Hardlink))
    }

    /// Returns the owner that an object ends with, if its entry's is restored.
    pub(super) fn owner(&self, entry: &Entry) -> Option<(u32, u32)> {
        let owner = entry.owner.as_ref().filter(|_| self.keeps(Class::Owner))?;
        self.owners.get(owner).copied().flatten()
    }

    /// Returns the mode that an object ends with; nothing for a link, and where modes are not kept.
    pub(super) fn mode(&self, entry: &Entry) -> Option<u32> {
        let default = if entry.is_directory() { fsys::DIRECTORY_MODE_DEFAULT } else { fsys::FILE_MODE_DEFAULT };
        if entry.kind.target().is_some() || !self.keeps(Class::Mode) {
            return None;
        }
        let mode = entry.mode.unwrap_or(default);
        Some(if self.owner(entry).is_some() { mode } else { mode & !SET_ID })
    }

    /// Returns whether set-id bits of an entry are not restored although modes are.
    pub(super) fn loses_set_id(&self, entry: &Entry) -> bool {
        self.mode(entry).is_some_and(|mode| entry.mode.is_some_and(|meant| meant != mode))
    }

    /// Returns the mode that an object has while it is compared: its owner can read it.
    pub(super) fn mode_while_compared(&self, entry: &Entry) -> Option<u32> {
        let readable = match entry.kind {
            Kind::Directory => 0o500,
            Kind::File(_) => 0o400,
            _ => 0,
        };
        // Nobody else gets into what is being restored before it is in place.
        let staging = entry.path.is_root().then_some(0o700);
        self.mode(entry).map(|mode| staging.unwrap_or(mode | readable))
    }

    /// Returns whether something of an object can only be set after everything was compared.
    pub(super) fn is_sealed(&self, entry: &Entry) -> bool {
        self.mode(entry) != self.mode_while_compared(entry) || self.flags(entry).is_some()
    }

    pub(super) fn time(&self, entry: &Entry) -> Option<Time> {
        entry.mtime.filter(|_| self.keeps(Class::Time))
    }

    fn created(&self, entry: &Entry) -> Option<Time> {
        entry.created.filter(|_| self.keeps(Class::Created))
    }

    fn flags(&self, entry: &Entry) -> Option<u32> {
        let (flags, _) = entry.own_and_foreign_flags();
        flags.filter(|_| self.keeps(Class::Flags))
    }

    /// Returns the extended attributes that are restored.
    pub(super) fn xattrs<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Attribute> {
        entry.xattrs.iter().filter(|xattr| {
            let class = Class::of_xattr(&xattr.name);
            self.keeps(class) && (class != Class::Capability || self.owner(entry).is_some())
        })
    }

    /// Returns the streams that are restored.
    fn streams<'a>(&'a self, entry: &'a Entry) -> &'a [Attribute] {
        if self.keeps(Class::Stream) { &entry.streams } else { &[] }
    }

    /// Returns whether an access list waits for the mode: it would take the owner's right to read.
    fn waits(&self, entry: &Entry, xattr: &Attribute) -> bool {
        Class::of_xattr(&xattr.name) == Class::Acl && self.mode(entry) != self.mode_while_compared(entry)
    }

    /// Sets everything but what is sealed later.
    ///
    /// The order matters: changing the owner clears set-id bits and capabilities; attributes take the right to write,
    /// which the mode may end; an access list overrides the mode; everything before changes times.
    pub(super) fn set(&self, object: Object<'_>, entry: &Entry, reader: &Reader) -> Result<()> {
        let lift = |error| failed(&entry.path, "set the metadata of", error);
        if let Some(owner) = self.owner(entry)
            && object.stat().map_err(lift)?.owner != Some(owner)
        {
            object.set_owner(Some(owner.0), Some(owner.1)).map_err(lift)?;
        }
        for stream in self.streams(entry) {
            object.set_stream(&stream.name, &value(reader, entry, stream)?).map_err(lift)?;
        }
        let is_acl = |xattr: &&Attribute| Class::of_xattr(&xattr.name) == Class::Acl;
        for xattr in self.xattrs(entry).filter(|xattr| !is_acl(xattr)) {
            object.set_xattr(&xattr.name, &value(reader, entry, xattr)?).map_err(lift)?;
        }
        if let Some(mode) = self.mode_while_compared(entry) {
            object.set_mode(mode).map_err(lift)?;
        }
        for xattr in self.xattrs(entry).filter(|xattr| is_acl(xattr) && !self.waits(entry, xattr)) {
            object.set_xattr(&xattr.name, &value(reader, entry, xattr)?).map_err(lift)?;
        }
        object.set_times(self.time(entry), self.created(entry)).map_err(lift)
    }

    /// Sets what keeps an object from being read or changed, and returns what then differs from the entry.
    pub(super) fn seal(&self, object: Object<'_>, entry: &Entry, reader: &Reader) -> Result<Vec<String>> {
        let lift = |error| failed(&entry.path, "set the mode of", error);
        let mut differences = Vec::new();
        if let Some(mode) = self.mode(entry)
            && self.mode_while_compared(entry) != Some(mode)
        {
            object.set_mode(mode).map_err(lift)?;
            for xattr in self.xattrs(entry).filter(|xattr| self.waits(entry, xattr)) {
                object.set_xattr(&xattr.name, &value(reader, entry, xattr)?).map_err(lift)?;
            }
            let found = object.xattrs().map_err(lift)?;
            for xattr in self.xattrs(entry).filter(|xattr| self.waits(entry, xattr)) {
                if !found.iter().any(|(name, bytes)| *name == xattr.name && xattr.value.is(bytes)) {
                    differences.push(format!("its attribute {} differs", crate::path::shown(&xattr.name)));
                }
            }
        }
        if let Some(flags) = self.flags(entry) {
            object.set_flags(flags).map_err(lift)?;
        }
        let found = object.stat().map_err(lift)?;
        differences.extend(mode_difference(self.mode(entry), found.mode));
        if let (Some(meant), Some(found)) = (self.flags(entry), found.flags)
            && meant != found
        {
            differences.push(format!("its flags are {found:x}, not {meant:x}"));
        }
        Ok(differences)
    }

    /// Holds what the file system says of an object against its entry, before it is sealed.
    pub(super) fn compare(&self, entry: &Entry, found: &Stat) -> Vec<String> {
        let mut differences = Vec::new();
        differences.extend(mode_difference(self.mode_while_compared(entry), found.mode));
        if let (Some(meant), Some(found)) = (self.owner(entry), found.owner)
            && meant != found
        {
            differences.push(format!("it belongs to {}:{}, not {}:{}", found.0, found.1, meant.0, meant.1));
        }
        if let Some(meant) = self.time(entry)
            && !self.is_same_time(meant, found.mtime)
        {
            differences.push(format!("its time is {}, not {}", found.mtime.rfc3339_exact(), meant.rfc3339_exact()));
        }
        if let (Some(meant), Some(found)) = (self.created(entry), found.created)
            && !self.is_same_time(meant, found)
        {
            differences.push(format!(
                "its time of creation is {}, not {}",
                found.rfc3339_exact(),
                meant.rfc3339_exact()
            ));
        }
        differences
    }

    fn is_same_time(&self, meant: Time, found: Time) -> bool {
        (meant.as_nanos() - found.as_nanos()).abs() < self.time_step.max(1)
    }

    /// Holds the attributes of an object against its entry.
    pub(super) fn compare_xattrs(&self, entry: &Entry, object: Object<'_>) -> io::Result<Vec<String>> {
        let mut differences = Vec::new();
        let waiting = |xattr: &&Attribute| !self.waits(entry, xattr);
        let meant: Vec<&Attribute> = self.xattrs(entry).filter(waiting).collect();
        let found: Vec<Xattr> = object.xattrs()?;
        self.compare_lists(&meant, &found, "attribute", &mut differences);
        if cfg!(windows) {
            let meant: Vec<&Attribute> = self.streams(entry).iter().collect();
            self.compare_lists(&meant, &object.streams()?, "stream", &mut differences);
        }
        Ok(differences)
    }

    fn compare_lists(&self, meant: &[&Attribute], found: &[Xattr], what: &str, differences: &mut Vec<String>) {
        for attribute in meant {
            let name = crate::path::shown(&attribute.name);
            match found.iter().find(|(name, _)| *name == attribute.name) {
                None => differences.push(format!("its {what} {name} is missing")),
                Some((_, bytes)) if !attribute.value.is(bytes) => {
                    differences.push(format!("its {what} {name} differs"))
                }
                Some(_) => {}
            }
        }
        for (name, _) in found {
            if !self.ambient.contains(name) && meant.iter().all(|attribute| attribute.name != *name) {
                differences.push(format!("its {what} {} should not be there", crate::path::shown(name)));
            }
        }
    }
}

fn mode_difference(meant: Option<u32>, found: Option<u32>) -> Option<String> {
    let (meant, found) = (meant?, found?);
    (meant != found).then(|| format!("its mode is {found:o}, not {meant:o}"))
}

/// Returns the value of an attribute, each of its chunks having matched its hash.
pub(super) fn value(reader: &Reader, entry: &Entry, attribute: &Attribute) -> Result<Vec<u8>> {
    reader.value(&attribute.value).map_err(|mut finding| {
        finding.paths.push(entry.path.clone());
        finding.into()
    })
}
