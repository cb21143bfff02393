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
use crate::format::attribute::{self, Attribute};
use crate::format::entry::{Entry, Kind, Owner};
use crate::format::record::Counts;
use crate::fsys::{self, Dir, Object, Stat, Xattr, access_list};
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
    /// Whether the target gives an object a second name. Where it does, an object keeps its id. Where it does not, as on
    /// FAT, ids may change while nothing has the object open, and no file can have a name elsewhere.
    pub(super) ids_decide: bool,
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
    /// Chooses for what is to be written below `parent`.
    ///
    /// Links and special files have no handle by which they could be made durable, so that these are left to the system
    /// where it can.
    pub(super) fn of(counts: &Counts, parent: &Dir) -> Self {
        let plain = counts.symlinks == 0 && counts.specials == 0 && counts.hardlinks == 0;
        if !(plain && counts.entries() <= EACH_MAX) && fsys::syncs_filesystem(parent) {
            Self::Whole
        } else {
            Self::Each
        }
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
        let mode = self.mode_without_list(entry, entry.mode.unwrap_or(default));
        Some(if self.owner(entry).is_some() { mode } else { mode & !SET_ID })
    }

    /// Returns what is left of a mode where an access list is given up that the entry has: nobody may do more by that.
    fn mode_without_list(&self, entry: &Entry, mode: u32) -> u32 {
        let list = entry.xattrs.iter().find(|xattr| xattr.name == access_list::ACCESS && !self.keeps(Class::Acl));
        match list.map(|xattr| &xattr.value) {
            None => mode,
            Some(attribute::Value::Inline(list)) => access_list::mode_without(mode, list),
            Some(attribute::Value::Chunks(_)) => access_list::mode_without(mode, &[]),
        }
    }

    /// Returns whether set-id bits of an entry are not restored although modes are.
    pub(super) fn loses_set_id(&self, entry: &Entry) -> bool {
        self.mode(entry).is_some_and(|mode| entry.mode.is_some_and(|meant| (meant ^ mode) & SET_ID != 0))
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
            let found = object.access_lists().map_err(lift)?;
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
        differences.extend(flags_difference(self.flags(entry), found.flags));
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
        meant.abs_diff(found) < self.time_step.max(1)
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

fn flags_difference(meant: Option<u32>, found: Option<u32>) -> Option<String> {
    let (meant, found) = (meant?, found?);
    (meant != found).then(|| format!("its flags are {found:x}, not {meant:x}"))
}

/// Returns the value of an attribute, each of its chunks having matched its hash.
pub(super) fn value(reader: &Reader, entry: &Entry, attribute: &Attribute) -> Result<Vec<u8>> {
    reader.value(&attribute.value).map_err(|mut finding| {
        finding.paths.push(entry.path.clone());
        finding.into()
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::attribute::Value;
    use crate::format::entry::FileContent;

    fn at(seconds: i64, nanos: u32) -> Time {
        Time { seconds, nanos }
    }

    fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
        let path = EntryPath::parse(path.as_bytes()).expect("valid");
        Entry { mode: Some(mode), ..Entry::new(path, kind) }
    }

    fn file(mode: u32) -> Entry {
        entry("f", Kind::File(FileContent::default()), mode)
    }

    pub(in crate::ops::restore) fn attribute(name: &[u8], value: &[u8]) -> Attribute {
        Attribute { name: name.to_vec(), value: Value::Inline(value.to_vec()) }
    }

    #[test]
    fn few_plain_objects_alone_are_made_durable_one_by_one() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(root.path()).expect("there");
        let whole = if fsys::syncs_filesystem(&dir) { Durability::Whole } else { Durability::Each };
        let few = Counts { directories: 1, files: EACH_MAX - 1, ..Counts::default() };
        assert_eq!(Durability::of(&few, &dir), Durability::Each);
        for other in [
            Counts { files: EACH_MAX, ..few },
            Counts { symlinks: 1, ..Counts::default() },
            Counts { specials: 1, ..Counts::default() },
            Counts { files: 2, hardlinks: 1, ..Counts::default() },
        ] {
            assert_eq!(Durability::of(&other, &dir), whole, "{other:?}");
        }
    }

    // Linux alone: elsewhere nothing syncs a whole file system.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_is_not_known_to_sync_as_a_whole_has_each_object_synced() {
        let many = Counts { files: EACH_MAX + 1, ..Counts::default() };
        let of = |path: &str| Dir::open(std::path::Path::new(path)).map(|dir| Durability::of(&many, &dir));
        assert_eq!(of("/proc").expect("there"), Durability::Each);
        // In memory, where the system has a place for that.
        if let Ok(memory) = of("/dev/shm") {
            assert_eq!(memory, Durability::Whole);
        }
    }

    // Linux alone: objects on no medium, of which the system says that they cannot be made durable.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_made_durable_by_itself_is_an_error_unless_all_is_at_once() {
        // Emulators have files of their own for what tells of a process.
        let file = File::open("/proc/version").expect("readable");
        let dir = Dir::open(std::path::Path::new("/proc")).expect("readable");
        assert!(Durability::Each.sync_file(&file).is_err());
        assert!(Durability::Each.sync_directory(&dir).is_err());
        assert!(Durability::Whole.sync_file(&file).is_ok(), "left to the end");
        assert!(Durability::Whole.sync_directory(&dir).is_ok(), "left to the end");
    }

    #[test]
    fn what_is_given_up_is_not_restored_and_all_else_is() {
        let whole = Entry {
            created: Some(at(5, 0)),
            flags: Some(1),
            attributes: Some(1),
            ..entry("link", Kind::Symlink(b"target".to_vec()), 0o777)
        };
        let keep = Keep::default();
        assert!(Class::ALL.iter().all(|class| keep.keeps(*class)));
        assert!(keep.restores(&whole));
        assert_eq!((keep.created(&whole), keep.flags(&whole)), (whole.created, Some(1)));
        for given_up in Class::ALL {
            let keep = Keep { without: BTreeSet::from([*given_up]), ..Keep::default() };
            assert!(Class::ALL.iter().all(|class| keep.keeps(*class) == (class != given_up)), "{given_up}");
            assert_eq!(keep.restores(&whole), *given_up != Class::Symlink);
            assert_eq!(keep.created(&whole).is_some(), *given_up != Class::Created);
            assert_eq!(keep.flags(&whole).is_some(), *given_up != Class::Flags);
        }
    }

    #[test]
    fn what_keeps_the_owner_from_reading_waits_until_all_was_compared() {
        let keep = Keep::default();
        for (meant, compared, sealed) in [
            (file(0o640), Some(0o640), false),
            (file(0o040), Some(0o440), true),
            (entry("d", Kind::Directory, 0o511), Some(0o511), false),
            (entry("d", Kind::Directory, 0o111), Some(0o511), true),
            // Nobody else gets into the staging directory.
            (entry("", Kind::Directory, 0o755), Some(0o700), true),
            (entry("", Kind::Directory, 0o700), Some(0o700), false),
            (entry("p", Kind::Fifo, 0), Some(0), false),
            (entry("l", Kind::Symlink(b"x".to_vec()), 0o777), None, false),
            (Entry { flags: Some(1), attributes: Some(1), ..file(0o640) }, Some(0o640), true),
        ] {
            assert_eq!(keep.mode_while_compared(&meant), compared, "{meant:?}");
            assert_eq!(keep.is_sealed(&meant), sealed, "{meant:?}");
        }
        let (list, note) = (attribute(b"system.posix_acl_access", b"list"), attribute(b"user.note", b"note"));
        assert!(keep.waits(&file(0o040), &list));
        assert!(!keep.waits(&file(0o640), &list) && !keep.waits(&file(0o040), &note));
    }

    #[test]
    fn all_that_the_file_system_says_is_held_against_the_entry() {
        let owner = Owner { uid: 1, gid: 2, user: None, group: None };
        let meant =
            Entry { mtime: Some(at(10, 500)), created: Some(at(5, 0)), owner: Some(owner.clone()), ..file(0o640) };
        let found = Stat {
            mode: Some(0o640),
            mtime: at(10, 500),
            created: Some(at(5, 0)),
            owner: Some((1, 2)),
            ..Stat::default()
        };
        let keep = Keep { owners: HashMap::from([(owner, Some((1, 2)))]), ..Keep::default() };
        assert_eq!(keep.compare(&meant, &found), [""; 0]);
        for (other, told) in [
            (Stat { mode: Some(0o600), ..found }, "its mode is 600, not 640"),
            (Stat { mtime: at(10, 501), ..found }, "its time is 1970-01-01T00:00:10.000000501Z, not "),
            (Stat { created: Some(at(5, 1)), ..found }, "its time of creation is 1970-01-01T00:00:05.000000001Z, not "),
            (Stat { owner: Some((1, 3)), ..found }, "it belongs to 1:3, not 1:2"),
        ] {
            let differences = keep.compare(&meant, &other);
            assert!(differences.len() == 1 && differences[0].starts_with(told), "{differences:?}");
        }
    }

    #[test]
    fn a_time_is_the_same_within_less_than_a_step_of_the_target() {
        let keep = Keep { time_step: 100, ..Keep::default() };
        assert!(keep.is_same_time(at(10, 500), at(10, 401)) && keep.is_same_time(at(10, 500), at(10, 599)));
        assert!(!keep.is_same_time(at(10, 500), at(10, 400)) && !keep.is_same_time(at(10, 500), at(10, 600)));
        let exact = Keep::default();
        assert!(exact.is_same_time(at(10, 500), at(10, 500)) && !exact.is_same_time(at(10, 500), at(10, 501)));
    }

    #[test]
    fn other_modes_and_flags_differ_where_both_are_known() {
        assert_eq!(mode_difference(Some(0o640), Some(0o600)).as_deref(), Some("its mode is 600, not 640"));
        assert_eq!(flags_difference(Some(0x20), Some(0x22)).as_deref(), Some("its flags are 22, not 20"));
        for difference in [mode_difference, flags_difference] {
            assert_eq!(difference(Some(0x20), Some(0x20)), None);
            assert_eq!((difference(None, Some(1)), difference(Some(1), None)), (None, None));
        }
    }

    /// An access list as Linux has it, of tags with the rights that each gives; 1 is given the user of that number.
    #[cfg(target_os = "linux")]
    pub(in crate::ops::restore) fn access_list(number_of_nobody: u32, lines: [(u16, u16); 5]) -> Vec<u8> {
        let mut bytes = 2u32.to_le_bytes().to_vec();
        for (tag, rights) in lines {
            let number = if tag == 2 { 1 } else { number_of_nobody };
            bytes.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &number.to_le_bytes()].concat());
        }
        bytes
    }

    // Linux alone: access lists.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_access_list_that_takes_the_right_to_read_is_set_last_and_read_back() {
        const NAME: &[u8] = b"system.posix_acl_access";
        let (root, reader) = crate::ops::restore::tree::tests::reader();
        let dir = Dir::open(root.path()).expect("readable");
        // The owner nothing, a user reading, the group nothing, at most reading, others nothing: as a mode 040.
        let lines = [(1, 0), (2, 4), (4, 0), (16, 4), (32, 0)];
        let list = access_list(u32::MAX, lines);
        let made = |name: &[u8]| dir.create_file(name).expect("writable");
        if Object::File(&made(b"tried")).set_xattr(NAME, &list).is_err() {
            println!("skipped: no access lists here");
            return;
        }
        let keep = Keep {
            ambient: Object::File(&made(b"bare"))
                .xattrs()
                .expect("readable")
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
            ..Keep::default()
        };
        let meant = Entry { xattrs: vec![attribute(NAME, &list)], ..file(0o040) };
        let open = made(b"f");
        let object = Object::File(&open);
        let has_list = || object.xattrs().expect("readable").iter().any(|(name, _)| name == NAME);
        let mode = || object.stat().expect("readable").mode;
        keep.set(object, &meant, &reader).expect("settable");
        assert_eq!((has_list(), mode()), (false, Some(0o440)), "it can be read until it was compared");
        assert_eq!(keep.compare_xattrs(&meant, object).expect("readable"), [""; 0]);
        assert_eq!(keep.seal(object, &meant, &reader).expect("settable"), [""; 0]);
        assert_eq!((has_list(), mode()), (true, Some(0o040)));
        // The system keeps another number where it needs none: the same list in other bytes.
        let other = Entry { xattrs: vec![attribute(NAME, &access_list(7, lines))], ..file(0o040) };
        let differences = keep.seal(object, &other, &reader).expect("settable");
        assert_eq!(differences, ["its attribute system.posix_acl_access differs"]);
    }

    // Linux alone: access lists.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_access_list_goes_before_the_mode() {
        const NAME: &[u8] = b"system.posix_acl_access";
        let (root, reader) = crate::ops::restore::tree::tests::reader();
        let open = Dir::open(root.path()).expect("readable").create_file(b"f").expect("writable");
        let object = Object::File(&open);
        // At most reading and writing, where the mode says reading alone.
        let list = access_list(u32::MAX, [(1, 4), (2, 6), (4, 4), (16, 6), (32, 0)]);
        let meant = Entry { xattrs: vec![attribute(NAME, &list)], ..file(0o440) };
        if Keep::default().set(object, &meant, &reader).is_err() {
            println!("skipped: no access lists here");
            return;
        }
        let found = object.xattrs().expect("readable");
        assert!(found.iter().any(|(name, value)| name == NAME && *value == list), "{found:?}");
        assert_eq!(object.stat().expect("readable").mode, Some(0o460));
    }
}
