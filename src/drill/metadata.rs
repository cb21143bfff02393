//! What the file system should say of a restored object, worked out from its entry alone.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::clock::Time;
use crate::crypto::Id;
use crate::format::attribute::Attribute;
use crate::format::entry::{Entry, Kind, Owner};
use crate::fsys::{self, Dir, Object, ObjectKind, Stat, Xattr};
use crate::ops::restore::Class;
use crate::path::shown;

/// A difference: the class in which a restore may fall short if it says so, or none, and what differs.
pub(super) type Difference = (Option<&'static str>, String);

/// What lies between a time and the coarsest form in which a file system keeps it, in nanoseconds: FAT has steps of two
/// seconds.
const COARSE_NANOS: i128 = 2_000_000_000;
/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// Returns what an entry's object is to the file system, and which device.
///
/// The restore has the same table (`ops::object::expected`) and this one does not share it on purpose: a drill that asked
/// the restore's own table would miss what that table has wrong.
pub(super) fn kind(kind: &Kind) -> (ObjectKind, (u32, u32)) {
    match *kind {
        Kind::Directory => (ObjectKind::Directory, (0, 0)),
        Kind::File(_) => (ObjectKind::File, (0, 0)),
        Kind::Symlink(_) => (ObjectKind::Symlink, (0, 0)),
        Kind::Junction(_) => (ObjectKind::Junction, (0, 0)),
        Kind::Fifo => (ObjectKind::Fifo, (0, 0)),
        Kind::Socket => (ObjectKind::Socket, (0, 0)),
        Kind::Block(major, minor) => (ObjectKind::Block, (major, minor)),
        Kind::Character(major, minor) => (ObjectKind::Character, (major, minor)),
    }
}

/// What holds for every object of a place.
pub(super) struct Meant {
    // Names of attributes that the place itself gives to new objects.
    ambient: HashSet<Vec<u8>>,
    // The numbers that owners have here.
    owners: HashMap<Owner, (u32, u32)>,
}

impl Meant {
    /// Finds out what a directory gives to new objects, by making some.
    ///
    /// # Errors
    /// Nothing can be made there.
    pub(super) fn at(base: &Dir) -> io::Result<Self> {
        let name = format!(".ambient-{}", Id::random()?).into_bytes();
        let mut ambient = HashSet::new();
        let file = base.create_file(&name)?;
        ambient.extend(Object::File(&file).xattrs()?.into_iter().map(|xattr| xattr.0));
        drop(file);
        base.remove_file(&name)?;
        base.create_dir(&name)?;
        ambient.extend(Object::Directory(&base.open_dir(&name)?).xattrs()?.into_iter().map(|xattr| xattr.0));
        base.remove_dir(&name)?;
        Ok(Self { ambient, owners: HashMap::new() })
    }

    /// Holds what the file system says of an object against its entry.
    pub(super) fn compare(&mut self, entry: &Entry, found: &Stat) -> Vec<Difference> {
        let mut differences = Vec::new();
        if entry.kind.target().is_none()
            && let Some(mode) = found.mode
        {
            differences.extend(compare_mode(entry, mode));
        }
        if let (Some(owner), Some(found)) = (&entry.owner, found.owner) {
            match self.number(owner) {
                Ok(meant) if meant == found => {}
                Ok(meant) => {
                    let what = format!("it belongs to {}:{}, not {}:{}", found.0, found.1, meant.0, meant.1);
                    differences.push((Some("owner"), what));
                }
                Err(error) => {
                    differences.push((Some("owner"), format!("who owns it here cannot be looked up: {error}")));
                }
            }
        }
        differences.extend(entry.mtime.and_then(|meant| compare_time("time", meant, found.mtime)));
        if let (Some(meant), Some(found)) = (entry.created, found.created) {
            differences.extend(compare_time("time of creation", meant, found));
        }
        let (flags, _) = entry.own_and_foreign_flags();
        if let Some(found) = found.flags
            && flags.unwrap_or(0) != found
        {
            differences.push((None, format!("its flags are {found:x}, not {:x}", flags.unwrap_or(0))));
        }
        differences
    }

    fn number(&mut self, owner: &Owner) -> io::Result<(u32, u32)> {
        if let Some(known) = self.owners.get(owner) {
            return Ok(*known);
        }
        let uid = owner.user.as_deref().map_or(Ok(None), fsys::user_number)?.unwrap_or(owner.uid);
        let gid = owner.group.as_deref().map_or(Ok(None), fsys::group_number)?.unwrap_or(owner.gid);
        self.owners.insert(owner.clone(), (uid, gid));
        Ok((uid, gid))
    }

    /// Holds the attributes and streams of an object against its entry.
    ///
    /// `lists` are its access lists as they were before it was made readable.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn compare_attributes(
        &self,
        entry: &Entry,
        object: Object<'_>,
        lists: &[Xattr],
    ) -> io::Result<Vec<Difference>> {
        let mut found = object.xattrs()?;
        found.retain(|(name, _)| lists.iter().all(|(list, _)| list != name));
        found.extend_from_slice(lists);
        let mut differences = self.compare_lists(&entry.xattrs, &found, "attribute");
        if cfg!(windows) {
            differences.extend(self.compare_lists(&entry.streams, &object.streams()?, "stream"));
        }
        Ok(differences)
    }

    fn compare_lists(&self, meant: &[Attribute], found: &[Xattr], what: &str) -> Vec<Difference> {
        let mut differences = Vec::new();
        let found: HashMap<&[u8], &[u8]> = found.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        for attribute in meant {
            let class = (Class::of_xattr(&attribute.name) == Class::Capability).then_some("capability");
            let name = shown(&attribute.name);
            match found.get(&attribute.name[..]) {
                None => differences.push((class, format!("its {what} {name} is missing"))),
                Some(value) if !attribute.value.is(value) => {
                    differences.push((None, format!("its {what} {name} differs")));
                }
                Some(_) => {}
            }
        }
        for name in found.keys().filter(|name| !self.ambient.contains(**name)) {
            if meant.iter().all(|attribute| attribute.name != **name) {
                differences.push((None, format!("it has a {what} {} that the snapshot lacks", shown(name))));
            }
        }
        differences
    }
}

fn compare_mode(entry: &Entry, found: u32) -> Option<Difference> {
    let default = if entry.is_directory() { fsys::DIRECTORY_MODE_DEFAULT } else { fsys::FILE_MODE_DEFAULT };
    let meant = entry.mode.unwrap_or(default);
    // To lose the right to act as somebody else is safe, to gain it is not.
    let class = (found == meant & !SET_ID).then_some("set-id");
    (meant != found).then(|| (class, format!("its mode is {found:o}, not {meant:o}")))
}

fn compare_time(what: &str, meant: Time, found: Time) -> Option<Difference> {
    if fsys::same_time(meant, found) {
        return None;
    }
    let is_near = meant.abs_diff(found) < COARSE_NANOS;
    let class = (what == "time" && is_near).then_some("time");
    Some((class, format!("its {what} is {}, not {}", found.rfc3339_exact(), meant.rfc3339_exact())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_of_modification_that_is_near_is_one_that_was_kept_in_coarser_steps() {
        let meant = Time { seconds: 1_700_000_000, nanos: 0 };
        let class = |what: &str, nanos: i128| {
            let nanos = meant.as_nanos() + nanos;
            let (seconds, nanos) = (nanos.div_euclid(1_000_000_000) as i64, nanos.rem_euclid(1_000_000_000) as u32);
            compare_time(what, meant, Time { seconds, nanos }).map(|(class, _)| class)
        };
        assert_eq!(class("time", 0), None);
        for near in [1_000, -1_000, COARSE_NANOS - 1_000, 1_000 - COARSE_NANOS] {
            assert_eq!(class("time", near), Some(Some("time")), "{near}");
            assert_eq!(class("time of creation", near), Some(None), "{near}");
        }
        for far in [COARSE_NANOS, -COARSE_NANOS, 1_000_000_000_000] {
            assert_eq!(class("time", far), Some(None), "{far}");
        }
    }
}
