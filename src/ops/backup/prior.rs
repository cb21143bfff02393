//! The previous snapshot of the same source, beside the walk.

use std::collections::HashSet;

use crate::crypto::Digest;
use crate::format::entry::Entry;
use crate::path::EntryPath;
use crate::vault::Finding;
use crate::vault::read::Entries;

/// Entries of the previous snapshot of the same source, in step with the walk.
pub(super) struct Prior<'a> {
    entries: Option<Entries<'a>>,
    current: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
    trusted: HashSet<Digest>,
    reread: bool,
    number: u64,
    broken: Option<Finding>,
}

impl<'a> Prior<'a> {
    /// Goes by the entries of the snapshot of that number; by nothing where everything is to be read again.
    pub(super) fn new(entries: Option<(u64, Entries<'a>)>, reread: bool) -> Self {
        let (number, entries) = entries.filter(|_| !reread).unzip();
        let number = number.unwrap_or_default();
        let current = Vec::new().into_iter();
        Self { entries, current, next: None, trusted: HashSet::new(), reread, number, broken: None }
    }

    /// Returns the previous entry at a path; paths must ascend from call to call.
    pub(super) fn at(&mut self, path: &EntryPath) -> Option<Entry> {
        if self.reread {
            return None;
        }
        loop {
            if self.next.is_none() {
                self.next = self.current.next();
            }
            match &self.next {
                Some(entry) if entry.path < *path => self.next = None,
                Some(entry) if entry.path == *path => return self.next.take(),
                Some(_) => return None,
                None => match self.entries.as_mut()?.next() {
                    Some(Ok(batch)) => {
                        self.trusted.extend(batch.parts);
                        self.current = batch.entries.into_iter();
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
