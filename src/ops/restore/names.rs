//! Names on the target: each that could be a problem is tried, among its neighbours.
//!
//! A target that takes a set of awkward names as they are keeps every name that is not too long. On any other, all names
//! of each directory are made side by side in the scratch directory: what cannot be made, what is taken for its
//! neighbour, and what reads back as another name is told, before the first byte is restored.

use std::collections::HashMap;
use std::io;

use super::probe::Probe;
use crate::fsys::{Dir, ObjectId};
use crate::path::{EntryPath, Trail, shown};

/// Names of which no two are the same, in every way in which file systems take names for each other or change them.
const AWKWARD: [&[u8]; 24] = [
    b"a",
    b"A",
    "\u{e9}".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{c9}".as_bytes(),
    "\u{df}".as_bytes(),
    b"ss",
    "\u{fb01}".as_bytes(),
    b"fi",
    "\u{212a}".as_bytes(),
    b"x",
    b"x.",
    b"x ",
    b" x",
    b"CON",
    b"nul.txt",
    b"\xff",
    b"\xc3",
    b"\x01\x1b\n\x7f",
    b"\\",
    b"a:b",
    b"*?<>|\"",
    "\u{200b}".as_bytes(),
    b"-rf",
];

/// Longest name that is kept wherever awkward ones are, in bytes.
const ORDINARY_BYTES: usize = 200;

/// Tries names in path order.
pub(super) struct NameProbe<'a> {
    probe: &'a Probe<'a>,
    plain: bool,
    levels: Trail<Level>,
    made: u64,
}

struct Level {
    number: u64,
    dir: Option<Dir>,
    names: Vec<Vec<u8>>,
    ids: HashMap<ObjectId, Vec<u8>>,
}

impl<'a> NameProbe<'a> {
    pub(super) fn new(probe: &'a Probe<'a>) -> Self {
        let plain = probe.names().and_then(|dir| takes_awkward_names(&dir)).unwrap_or(false);
        Self { probe, plain, levels: Trail::default(), made: 0 }
    }

    /// Tries the name of the next entry; adds to `unfit` what is wrong, also with names that came before.
    pub(super) fn take(&mut self, path: &EntryPath, unfit: &mut Vec<(EntryPath, String)>) -> io::Result<()> {
        if self.plain && path.name().len() <= ORDINARY_BYTES {
            return Ok(());
        }
        if self.plain {
            let dir = self.probe.names()?;
            match dir.create_file(path.name()) {
                Ok(_) => dir.remove_file(path.name())?,
                Err(error) => unfit.push((path.clone(), format!("the target does not take this name: {error}"))),
            }
            return Ok(());
        }
        let parent = path.parent().unwrap_or_default();
        while self.levels.is_left_by(&parent) {
            self.leave(unfit)?;
        }
        if self.levels.is_empty() || *self.levels.path() != parent {
            self.enter(&parent)?;
        }
        let level = self.levels.last_mut().expect("just entered");
        let dir = match &level.dir {
            Some(dir) => dir,
            None => level.dir.insert(self.probe.names()?.open_dir(level.number.to_string().as_bytes())?),
        };
        let name = path.name();
        match dir.create_file(name) {
            Ok(file) => {
                level.ids.insert(crate::fsys::stat_file(&file)?.id, name.to_vec());
                level.names.push(name.to_vec());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let other = dir.stat_at(name).ok().and_then(|stat| level.ids.get(&stat.id));
                let other = other.map_or_else(|| "another name beside it".into(), |other| shown(other));
                unfit.push((path.clone(), format!("the target takes it for the same name as {other}")));
                // Both belong into the list.
                if let Some(twin) = dir.stat_at(name).ok().and_then(|stat| level.ids.get(&stat.id))
                    && let Ok(twin) = parent.join(twin)
                    && unfit.iter().all(|(path, _)| *path != twin)
                {
                    unfit.push((twin, format!("the target takes it for the same name as {}", shown(name))));
                }
            }
            Err(error) => unfit.push((path.clone(), format!("the target does not take this name: {error}"))),
        }
        Ok(())
    }

    /// Ends the probe of names; every directory is left.
    pub(super) fn finish(&mut self, unfit: &mut Vec<(EntryPath, String)>) -> io::Result<()> {
        while !self.levels.is_empty() {
            self.leave(unfit)?;
        }
        Ok(())
    }

    fn enter(&mut self, path: &EntryPath) -> io::Result<()> {
        if let Some(above) = self.levels.last_mut() {
            above.dir = None;
        }
        self.made += 1;
        let names = self.probe.names()?;
        let name = self.made.to_string().into_bytes();
        names.create_dir(&name)?;
        let dir = Some(names.open_dir(&name)?);
        self.levels.push(path, Level { number: self.made, dir, names: Vec::new(), ids: HashMap::new() });
        Ok(())
    }

    /// Looks whether every name reads back as it was made, and clears the directory.
    fn leave(&mut self, unfit: &mut Vec<(EntryPath, String)>) -> io::Result<()> {
        let here = self.levels.path().clone();
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let names = self.probe.names()?;
        let own = level.number.to_string().into_bytes();
        let dir = match level.dir {
            Some(dir) => dir,
            None => names.open_dir(&own)?,
        };
        let mut found = dir.names()?;
        found.sort_unstable();
        for name in &level.names {
            if found.binary_search(name).is_err() {
                let path = here.join(name).map_err(io::Error::other)?;
                unfit.push((path, "the target changes this name".into()));
            }
        }
        for name in &found {
            dir.remove_file(name)?;
        }
        drop(dir);
        names.remove_dir(&own)
    }
}

/// Returns whether a directory takes all the awkward names, each as it is.
fn takes_awkward_names(dir: &Dir) -> io::Result<bool> {
    let long = [b'l'; ORDINARY_BYTES];
    let names = AWKWARD.iter().copied().chain([&long[..]]);
    let made = names.clone().all(|name| dir.create_file(name).is_ok());
    let mut found = dir.names()?;
    found.sort_unstable();
    let mut meant: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
    meant.sort_unstable();
    for name in &found {
        dir.remove_file(name)?;
    }
    Ok(made && found == meant)
}
