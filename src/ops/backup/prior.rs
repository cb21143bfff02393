//! The previous snapshot of the same source, beside the walk.

use std::collections::HashSet;
use std::ops::Range;

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

/// The lines of some segments, one after the other.
#[derive(Default)]
struct Lines {
    segments: std::vec::IntoIter<Vec<u8>>,
    segment: Vec<u8>,
    line: Range<usize>,
}

impl Lines {
    fn of(segments: Vec<Vec<u8>>) -> Self {
        Self { segments: segments.into_iter(), ..Self::default() }
    }

    /// Goes on to the next line.
    fn advance(&mut self) {
        if self.line.end >= self.segment.len() {
            self.segment = self.segments.next().unwrap_or_default();
            self.line = 0..0;
        }
        let rest = &self.segment[self.line.end..];
        let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
        self.line = self.line.end..self.line.end + length;
    }

    /// Returns the line, its end included.
    fn line(&self) -> Vec<u8> {
        self.segment[self.line.clone()].to_vec()
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
    pub(super) fn at(&mut self, path: &EntryPath) -> Option<(Entry, Vec<u8>)> {
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
                Some(entry) if entry.path < *path => self.next = None,
                Some(entry) if entry.path == *path => return self.next.take().map(|entry| (entry, self.lines.line())),
                Some(_) => return None,
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
            assert_eq!(lines.line(), meant.as_bytes());
        }
    }
}
