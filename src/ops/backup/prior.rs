//! The previous snapshot of the same source, beside the walk.

use std::collections::HashSet;

use crate::crypto::Digest;
use crate::format::entry::Entry;
use crate::path::EntryPath;
use crate::vault::read::Entries;

/// Entries of the previous snapshot of the same source, in step with the walk.
pub(super) struct Prior<'a> {
    entries: Option<Entries<'a>>,
    current: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
    trusted: HashSet<Digest>,
    reread: bool,
    note: Option<String>,
}

impl<'a> Prior<'a> {
    pub(super) fn new(entries: Option<Entries<'a>>, reread: bool) -> Self {
        let entries = if reread { None } else { entries };
        Self { entries, current: Vec::new().into_iter(), next: None, trusted: HashSet::new(), reread, note: None }
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
                        self.trusted.insert(batch.list);
                        self.trusted.extend(batch.segments);
                        self.current = batch.entries.into_iter();
                    }
                    Some(Err(finding)) => {
                        self.note = Some(format!(
                            "the previous snapshot's list of files cannot be used from some point on ({}); files from there on were read again; run `devvault verify`",
                            finding.code
                        ));
                        self.entries = None;
                    }
                    None => self.entries = None,
                },
            }
        }
    }

    pub(super) fn finish(self, notes: &mut Vec<String>) -> HashSet<Digest> {
        notes.extend(self.note);
        self.trusted
    }
}
