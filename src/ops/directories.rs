//! Directories below a root: opened by handle, the most recent ones kept open, and those that are not done yet kept in mind.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::format::entry::Entry;
use crate::fsys::Dir;
use crate::path::{EntryPath, Trail};

/// How many directories a thread keeps open.
const OPEN_DIRECTORIES_MAX: usize = 32;
/// How many of them are kept along a way that is longer than that: who goes up a deep tree begins there again, and not at
/// the root.
const ALONG_THE_WAY: usize = 4;

/// Opens directories below a root, keeping the most recent ones open.
pub(super) struct Directories {
    root: Arc<Dir>,
    recent: VecDeque<(EntryPath, Arc<Dir>)>,
}

impl Directories {
    /// Begins at a root.
    pub(super) fn new(root: Arc<Dir>) -> Self {
        Self { root, recent: VecDeque::new() }
    }

    /// Opens a directory that is there.
    ///
    /// # Errors
    /// It or one on the way to it is missing, or cannot be opened.
    pub(super) fn get(&mut self, path: &EntryPath) -> io::Result<Arc<Dir>> {
        self.get_by(path, Dir::open_dir)
    }

    /// Opens a directory, each that is not open yet by what `open` does.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn get_by(
        &mut self,
        path: &EntryPath,
        open: impl Fn(&Dir, &[u8]) -> io::Result<Dir>,
    ) -> io::Result<Arc<Dir>> {
        if path.is_root() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((_, dir)) = self.recent.iter().find(|(known, _)| known == path) {
            return Ok(Arc::clone(dir));
        }
        // From the nearest directory above that is open, one name at a time.
        let length = |(known, _): &&(EntryPath, Arc<Dir>)| known.as_bytes().len();
        let above = self.recent.iter().filter(|(known, _)| path.is_within(known)).max_by_key(length);
        let (start, mut dir) = match above {
            Some((known, dir)) => (known.depth(), Arc::clone(dir)),
            None => (0, Arc::clone(&self.root)),
        };
        let depth = path.depth();
        let far = depth - start;
        let stride = if far > OPEN_DIRECTORIES_MAX { far / (ALONG_THE_WAY + 1) } else { usize::MAX };
        let mut end = 0;
        for (level, name) in path.components().enumerate() {
            end += name.len() + usize::from(level > 0);
            if level < start {
                continue;
            }
            dir = Arc::new(open(&dir, name)?);
            // The last ones on the way stay open: who goes up again finds them.
            if depth - level <= OPEN_DIRECTORIES_MAX / 2 || (level - start + 1) % stride == 0 {
                let here = path.beginning(end).expect("a component ends there");
                self.keep(here, Arc::clone(&dir), path);
            }
        }
        Ok(dir)
    }

    /// Keeps a directory on the way to `path` open, for one that is not on this way, or for the oldest.
    fn keep(&mut self, here: EntryPath, dir: Arc<Dir>, path: &EntryPath) {
        if self.recent.len() >= OPEN_DIRECTORIES_MAX {
            let aside = self.recent.iter().position(|(known, _)| !path.is_within(known));
            self.recent.remove(aside.unwrap_or(0));
        }
        self.recent.push_back((here, dir));
    }
}

/// Keeps a directory for when everything in it is done.
pub(super) fn put_on(trail: &mut Trail<Entry>, mut entry: Entry) {
    let path = std::mem::take(&mut entry.path);
    trail.push(&path, entry);
}

/// Takes the deepest directory off again, whole.
pub(super) fn take_off(trail: &mut Trail<Entry>) -> Option<Entry> {
    let path = trail.path().clone();
    Some(Entry { path, ..trail.pop()? })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_goes_up_a_deep_tree_finds_directories_along_the_way_open() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = vec!["d"; 1000].join("/");
        fs::create_dir_all(root.path().join(&deep)).expect("writable");
        let mut directories = Directories::new(Arc::new(Dir::open(root.path()).expect("readable")));
        let mut path = EntryPath::parse(deep.as_bytes()).expect("valid");
        let mut opened = 0;
        while !path.is_root() {
            let known =
                directories.recent.iter().filter(|(known, _)| path.is_within(known)).map(|(known, _)| known.depth());
            opened += path.depth() - known.max().unwrap_or(0);
            let dir = directories.get(&path).expect("readable");
            assert_eq!(
                dir.stat().expect("readable").id,
                directories.get(&path).expect("open").stat().expect("readable").id
            );
            assert!(directories.recent.len() <= OPEN_DIRECTORIES_MAX);
            path = path.parent().expect("not the root");
        }
        // From the root each time it would be 30,000 and more.
        assert!(opened < 8_000, "{opened}");
    }

    #[test]
    fn directories_are_opened_from_the_nearest_one_above() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a/b/c")).expect("writable");
        let mut directories = Directories::new(Arc::new(Dir::open(root.path()).expect("readable")));
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        for wanted in ["a/b/c", "a", "a/b", ""] {
            assert!(directories.get(&path(wanted)).is_ok(), "{wanted}");
        }
        assert!(directories.get(&path("a/x")).is_err());
    }
}
