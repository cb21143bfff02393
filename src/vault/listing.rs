//! Writing a listing: entries in path order become segments, segments become lists.

use super::write::{Draft, reference};
use crate::error::Result;
use crate::format::config::Parameters;
use crate::format::entry::Entry;
use crate::format::json;
use crate::format::listing::{PartRef, cut_hash};
use crate::format::pack::BlockKind;
use crate::limits;
use crate::path::EntryPath;

/// Longest part that a writer makes of several members, in bytes; one member alone may be longer.
const PART_BYTES_MAX: usize = 1 << 20;

/// Returns whether there is room for an entry in a segment, be it alone.
pub fn fits(entry: &Entry) -> bool {
    let target = entry.kind.target().map_or(0, <[u8]>::len);
    let names =
        entry.path.as_bytes().len() + target + entry.hardlink.as_ref().map_or(0, |first| first.as_bytes().len());
    // Six bytes stand for one that is escaped. What else there is has bounds of its own, far below.
    let is_short =
        6 * names < limits::OBJECT_BYTES_MAX as usize / 2 && entry.xattrs.is_empty() && entry.streams.is_empty();
    is_short || json::encode(entry).len() < limits::OBJECT_BYTES_MAX as usize
}

/// Takes entries in path order and stores them in a draft.
pub struct ListingWriter {
    segment_mask: u64,
    list_mask: u64,
    segment: Part,
    list: Part,
    lists: Vec<PartRef>,
    // The line that is added, kept for its room.
    line: Vec<u8>,
}

#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    members: usize,
    entries: u64,
    first: Option<EntryPath>,
}

impl Part {
    fn add(&mut self, path: &EntryPath, entries: u64, append: impl FnOnce(&mut Vec<u8>)) {
        if self.first.is_none() {
            self.first = Some(path.clone());
        }
        append(&mut self.bytes);
        self.members += 1;
        self.entries += entries;
    }

    /// Stores the part and returns what names it, if there is anything in it.
    fn store(&mut self, draft: &mut Draft) -> Result<Option<PartRef>> {
        let Some(first) = self.first.take() else { return Ok(None) };
        let object = reference(&self.bytes);
        draft.put(BlockKind::Listing, object, &self.bytes)?;
        let part = PartRef { entries: self.entries, first, object };
        self.bytes.clear();
        (self.members, self.entries) = (0, 0);
        Ok(Some(part))
    }
}

impl ListingWriter {
    /// Creates a writer that cuts as a vault's parameters say.
    pub fn new(parameters: &Parameters) -> Self {
        Self {
            segment_mask: u64::from(parameters.segment_entries) - 1,
            // High bits, so that the two cuts are independent.
            list_mask: (u64::from(parameters.segment_list) - 1) << 32,
            segment: Part::default(),
            list: Part::default(),
            lists: Vec::new(),
            line: Vec::new(),
        }
    }

    /// Adds the next entry in path order; [`fits`] says whether there is room for it in a segment.
    ///
    /// # Errors
    /// The draft cannot store a part.
    pub fn push(&mut self, draft: &mut Draft, entry: &Entry) -> Result<()> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        json::append_line(&mut line, entry);
        let pushed = self.push_line(draft, &entry.path, &line);
        self.line = line;
        pushed
    }

    /// Adds the next entry in path order by the exact line that it had in another listing.
    ///
    /// # Errors
    /// The draft cannot store a part.
    pub fn push_line(&mut self, draft: &mut Draft, path: &EntryPath, line: &[u8]) -> Result<()> {
        self.before(draft, path, line.len())?;
        self.segment.add(path, 1, |bytes| bytes.extend_from_slice(line));
        Ok(())
    }

    /// Closes what does not go on beyond a path, or has no room for a line of so many bytes.
    fn before(&mut self, draft: &mut Draft, path: &EntryPath, length: usize) -> Result<()> {
        let hash = cut_hash(path);
        let full = self.segment.members >= limits::SEGMENT_ENTRIES_MAX
            || self.segment.bytes.len() >= PART_BYTES_MAX
            || self.segment.bytes.len() + length > limits::OBJECT_BYTES_MAX as usize;
        if hash & self.segment_mask == 0 || full {
            self.close_segment(draft)?;
            let full = self.list.members >= limits::SEGMENT_LIST_MAX || self.list.bytes.len() >= PART_BYTES_MAX;
            if hash & self.list_mask == 0 || full {
                self.close_list(draft)?;
            }
        }
        Ok(())
    }

    fn close_segment(&mut self, draft: &mut Draft) -> Result<()> {
        if let Some(segment) = self.segment.store(draft)? {
            self.list.add(&segment.first, segment.entries, |bytes| json::append_line(bytes, &segment));
        }
        Ok(())
    }

    fn close_list(&mut self, draft: &mut Draft) -> Result<()> {
        self.lists.extend(self.list.store(draft)?);
        Ok(())
    }

    /// Stores what is left and returns the segment lists for the manifest.
    ///
    /// # Errors
    /// The draft cannot store a part.
    pub fn finish(mut self, draft: &mut Draft) -> Result<Vec<PartRef>> {
        self.close_segment(draft)?;
        self.close_list(draft)?;
        Ok(self.lists)
    }
}
