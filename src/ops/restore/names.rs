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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::target::tests::place;
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("valid")
    }

    /// Tries every name, as on a target that does not take awkward ones.
    fn careful<'a>(probe: &'a Probe<'a>) -> NameProbe<'a> {
        NameProbe { probe, plain: false, levels: Trail::default(), made: 0 }
    }

    /// Where names are tried beside a destination: in one directory each for those of one directory.
    fn tried(beside: &Path) -> PathBuf {
        let mut paths = fs::read_dir(beside).expect("readable").map(|entry| entry.expect("readable").path());
        paths.find(|path| path.to_string_lossy().contains("devvault-probing")).expect("made").join("names")
    }

    fn told(unfit: &[(EntryPath, String)]) -> Vec<String> {
        unfit.iter().map(|(path, why)| format!("{path}: {why}")).collect()
    }

    #[test]
    fn a_name_that_is_taken_for_another_is_told_with_that_one_and_so_is_the_other() {
        let (root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let (mut names, mut unfit) = (careful(&probe), Vec::new());
        names.take(&path("one"), &mut unfit).expect("writable");
        names.take(&path("other"), &mut unfit).expect("writable");
        let here = tried(root.path()).join("1");
        // As where several names are one: each leads to what was made under the first.
        for twin in ["two", "three"] {
            fs::hard_link(here.join("one"), here.join(twin)).expect("writable");
            names.take(&path(twin), &mut unfit).expect("writable");
        }
        names.finish(&mut unfit).expect("writable");
        let meant = [
            "two: the target takes it for the same name as one",
            "one: the target takes it for the same name as two",
            "three: the target takes it for the same name as one",
        ];
        assert_eq!(told(&unfit), meant);
    }

    #[test]
    fn a_name_that_is_there_twice_is_told_once() {
        let (root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let (mut names, mut unfit) = (careful(&probe), Vec::new());
        names.take(&path("a"), &mut unfit).expect("writable");
        names.take(&path("a"), &mut unfit).expect("writable");
        assert_eq!(told(&unfit), ["a: the target takes it for the same name as a"]);
        unfit.clear();
        fs::write(tried(root.path()).join("1/b"), "").expect("writable");
        names.take(&path("b"), &mut unfit).expect("writable");
        assert_eq!(told(&unfit), ["b: the target takes it for the same name as another name beside it"]);
    }

    #[test]
    fn a_name_that_is_not_taken_is_told_with_the_reason_of_the_system() {
        let (_root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let (mut names, mut unfit) = (careful(&probe), Vec::new());
        names.take(&path(&"n".repeat(256)), &mut unfit).expect("writable");
        assert_eq!(unfit.len(), 1);
        assert!(unfit[0].1.starts_with("the target does not take this name: "), "{}", unfit[0].1);
    }

    #[test]
    fn the_same_name_in_several_directories_is_no_other_name() {
        let (root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let (mut names, mut unfit) = (careful(&probe), Vec::new());
        for text in ["a", "a/a", "a/a/a", "a/b", "b", "c", "c/a", "d"] {
            names.take(&path(text), &mut unfit).expect("writable");
        }
        names.finish(&mut unfit).expect("writable");
        assert_eq!(told(&unfit), [""; 0]);
        assert_eq!(fs::read_dir(tried(root.path())).expect("there").count(), 0, "something was left");
    }

    #[test]
    fn a_name_that_is_found_as_another_is_told_when_its_directory_is_left() {
        let (root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let (mut names, mut unfit) = (careful(&probe), Vec::new());
        for text in ["a", "a/x", "a/y"] {
            names.take(&path(text), &mut unfit).expect("writable");
        }
        let here = tried(root.path());
        // As where a name is made and another is found.
        fs::rename(here.join("2/x"), here.join("2/X-changed")).expect("there");
        fs::rename(here.join("1/a"), here.join("1/A-changed")).expect("there");
        names.take(&path("b"), &mut unfit).expect("writable");
        assert_eq!(told(&unfit), ["a/x: the target changes this name"]);
        names.finish(&mut unfit).expect("writable");
        assert_eq!(told(&unfit), ["a/x: the target changes this name", "a: the target changes this name"]);
        assert_eq!(fs::read_dir(&here).expect("there").count(), 0, "something was left");
    }

    #[test]
    fn where_awkward_names_are_kept_long_ones_alone_are_tried() {
        let (root, target) = place();
        let probe = Probe::new(&target).expect("writable");
        let (mut names, mut unfit) = (NameProbe { plain: true, ..careful(&probe) }, Vec::new());
        let long = |length: usize| path(&"n".repeat(length));
        names.take(&long(ORDINARY_BYTES + 1), &mut unfit).expect("writable");
        assert_eq!(told(&unfit), [""; 0]);
        names.take(&long(256), &mut unfit).expect("writable");
        assert_eq!(unfit.len(), 1);
        // Without a place to try names only what is tried fails.
        fs::remove_dir(tried(root.path())).expect("empty");
        assert!(names.take(&long(ORDINARY_BYTES), &mut unfit).is_ok());
        assert!(names.take(&long(ORDINARY_BYTES + 1), &mut unfit).is_err());
    }

    #[test]
    fn awkward_names_are_taken_where_all_are_made_and_no_other_is_found() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(root.path()).expect("readable");
        let taken_beside = |there: &[u8]| {
            if !there.is_empty() {
                dir.create_file(there).expect("writable");
            }
            let taken = takes_awkward_names(&dir).expect("readable");
            assert!(dir.names().expect("readable").is_empty(), "something was left");
            taken
        };
        if cfg!(target_os = "linux") {
            assert!(taken_beside(b""));
        }
        assert!(!taken_beside(b"one more"), "another name is found");
        assert!(!taken_beside(&[b'l'; ORDINARY_BYTES]), "the last one is found, but was not made");
    }
}
