//! What is kept of the directories on the way to an object.

use super::EntryPath;

/// A stack of directories, each below the one before, with something kept of each.
///
/// Their paths share their bytes: of a tree of any depth the deepest path is held, and a length a level. A path a level
/// would take memory by the square of the depth, gigabytes at some tens of thousands.
pub struct Trail<T> {
    // Of the deepest one; the root's while there is none.
    path: EntryPath,
    levels: Vec<(usize, T)>,
}

impl<T> Default for Trail<T> {
    fn default() -> Self {
        Self { path: EntryPath::root(), levels: Vec::new() }
    }
}

impl<T> Trail<T> {
    /// Adds a directory, which lies below the deepest one.
    pub fn push(&mut self, path: &EntryPath, kept: T) {
        debug_assert!(path.is_within(&self.path) && (self.levels.is_empty() || *path != self.path));
        let known = self.path.joined.len();
        self.path.joined.extend_from_slice(path.joined.get(known..).unwrap_or_default());
        self.levels.push((path.joined.len(), kept));
    }

    /// Takes away the deepest directory.
    pub fn pop(&mut self) -> Option<T> {
        let (_, kept) = self.levels.pop()?;
        let above = self.levels.last().map_or(0, |(length, _)| *length);
        self.path.joined.truncate(above);
        Some(kept)
    }

    /// Returns whether there is a deepest directory, and `path` is neither it nor below it.
    pub fn is_left_by(&self, path: &EntryPath) -> bool {
        !self.levels.is_empty() && !path.is_within(&self.path)
    }

    /// Returns the path of the deepest directory; the root's where there is none.
    pub fn path(&self) -> &EntryPath {
        &self.path
    }

    /// Returns what is kept of the deepest directory.
    pub fn last(&self) -> Option<&T> {
        self.levels.last().map(|(_, kept)| kept)
    }

    /// Returns what is kept of the deepest directory.
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|(_, kept)| kept)
    }

    /// Returns what is kept of the directory that is `levels` above the deepest one.
    pub fn above_mut(&mut self, levels: usize) -> Option<&mut T> {
        self.levels.iter_mut().nth_back(levels).map(|(_, kept)| kept)
    }

    /// Returns the bytes of each path, and what is kept of it, from the root down.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &T)> {
        self.levels.iter().map(|(length, kept)| (&self.path.joined[..*length], kept))
    }

    /// As [`iter`](Self::iter).
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&[u8], &mut T)> {
        let joined = &self.path.joined;
        self.levels.iter_mut().map(|(length, kept)| (&joined[..*length], kept))
    }

    /// Returns whether there is no directory.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("a valid path")
    }

    #[test]
    fn a_trail_knows_the_path_of_each_directory_on_it() {
        let mut trail = Trail::default();
        for (at, text) in ["", "a", "a/b", "a/b/c/d"].into_iter().enumerate() {
            trail.push(&path(text), at);
        }
        let all: Vec<_> = trail.iter().map(|(bytes, at)| (bytes.to_vec(), *at)).collect();
        assert_eq!(all, [(b"".to_vec(), 0), (b"a".to_vec(), 1), (b"a/b".to_vec(), 2), (b"a/b/c/d".to_vec(), 3)]);
        assert!(!trail.is_left_by(&path("a/b/c/d")) && !trail.is_left_by(&path("a/b/c/d/e")));
        assert!(trail.is_left_by(&path("a/b/c")) && trail.is_left_by(&path("a/b/c/de")));
        assert_eq!(trail.above_mut(1), Some(&mut 2));
        assert_eq!((trail.pop(), trail.path()), (Some(3), &path("a/b")));
        trail.push(&path("a/b/x"), 4);
        assert_eq!(trail.path(), &path("a/b/x"));
        while trail.pop().is_some() {}
        assert!(trail.is_empty() && trail.path().is_root() && !trail.is_left_by(&path("z")));
    }

    #[test]
    fn a_trail_of_any_depth_holds_the_bytes_of_one_path() {
        let mut trail = Trail::default();
        let mut text = "d".to_owned();
        for _ in 0..10_000 {
            trail.push(&path(&text), ());
            text.push_str("/d");
        }
        // Vectors grow by doubling.
        assert!(trail.path.joined.capacity() <= 2 * text.len());
        assert_eq!(trail.levels.len(), 10_000);
    }
}
