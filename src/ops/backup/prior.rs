//! The previous snapshot of the same source, beside the walk.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memchr::memchr;

use crate::crypto::Digest;
use crate::format::entry::Entry;
use crate::path::EntryPath;
use crate::vault::Finding;
use crate::vault::read::Entries;

/// Entries of the previous snapshot of the same source, in step with the walk.
pub(super) struct Prior<'a> {
    entries: Option<Entries<'a>>,
    current: std::vec::IntoIter<Entry>,
    lines: Lines,
    next: Option<Entry>,
    trusted: HashSet<Digest>,
    reread: bool,
    number: u64,
    broken: Option<Finding>,
}

/// A line of a segment, its end included; it keeps the segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    segment: Arc<Vec<u8>>,
    line: Range<usize>,
}

impl Deref for Line {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.segment[self.line.clone()]
    }
}

/// The lines of some segments, one after the other.
#[derive(Default)]
struct Lines {
    segments: std::vec::IntoIter<Vec<u8>>,
    current: Line,
}

impl Lines {
    fn of(segments: Vec<Vec<u8>>) -> Self {
        Self { segments: segments.into_iter(), ..Self::default() }
    }

    /// Goes on to the next line.
    fn advance(&mut self) {
        let Line { segment, line } = &mut self.current;
        if line.end >= segment.len() {
            *segment = Arc::new(self.segments.next().unwrap_or_default());
            *line = 0..0;
        }
        let rest = &segment[line.end..];
        let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        *line = line.end..line.end + length;
    }
}

impl<'a> Prior<'a> {
    /// Goes by the entries of the snapshot of that number; by nothing where everything is to be read again.
    pub(super) fn new(entries: Option<(u64, Entries<'a>)>, reread: bool) -> Self {
        let (number, entries) = entries.filter(|_| !reread).unzip();
        let number = number.unwrap_or_default();
        let current = Vec::new().into_iter();
        let lines = Lines::default();
        Self { entries, current, lines, next: None, trusted: HashSet::new(), reread, number, broken: None }
    }

    /// Returns the previous entry at a path, and its exact line; paths must ascend from call to call.
    pub(super) fn at(&mut self, path: &EntryPath) -> Option<(Entry, Line)> {
        if self.reread {
            return None;
        }
        loop {
            if self.next.is_none() {
                self.next = self.current.next();
                if self.next.is_some() {
                    self.lines.advance();
                }
            }
            match &self.next {
                Some(entry) => match entry.path.cmp(path) {
                    Ordering::Less => self.next = None,
                    Ordering::Equal => return self.next.take().map(|entry| (entry, self.lines.current.clone())),
                    Ordering::Greater => return None,
                },
                None => match self.entries.as_mut()?.next() {
                    Some(Ok(batch)) => {
                        self.trusted.extend(batch.parts);
                        self.current = batch.entries.into_iter();
                        self.lines = Lines::of(batch.lines);
                    }
                    Some(Err(finding)) => {
                        // From here on everything is read again.
                        self.broken = Some(finding.snapshot(self.number));
                        self.entries = None;
                    }
                    None => self.entries = None,
                },
            }
        }
    }

    /// Returns the parts of the listing that were read and are sound; what was wrong goes to the findings.
    pub(super) fn finish(self, findings: &mut Vec<Finding>) -> HashSet<Digest> {
        findings.extend(self.broken);
        self.trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_handed_out_one_by_one_across_segments() {
        let mut lines = Lines::of(vec![b"a\nbc\n".to_vec(), b"d\n".to_vec()]);
        for meant in ["a\n", "bc\n", "d\n", "", ""] {
            lines.advance();
            assert_eq!(&*lines.current, meant.as_bytes());
        }
    }
}
