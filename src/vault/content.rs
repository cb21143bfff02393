//! The content of a file as its entry and the lists that it names tell it, one list in memory at a time: an entry made
//! with the key may name lists of millions.

use std::slice;
use std::vec;

use super::Finding;
use super::read::{Reader, as_listing};
use crate::format::Malformed;
use crate::format::entry::{ChunkRef, Chunks, FileContent, Holes, ListRef, decode_chunk_list, decode_hole_list};
use crate::format::holes::{self, Extents, Hole, Spread};
use crate::refusal::Code;

impl Reader {
    /// Returns the chunks of a file's content, in order. After an error there is no more.
    ///
    /// Each is an error where a list is missing (DV104), damaged (DV105), or contradicts the entry (DV108).
    pub fn chunks_of<'a>(&'a self, content: &'a FileContent) -> ChunksOf<'a> {
        let (direct, lists) = match &content.chunks {
            Chunks::Direct(chunks) => (&chunks[..], &[][..]),
            Chunks::Listed(lists) => (&[][..], &lists[..]),
        };
        ChunksOf { reader: self, direct: direct.iter(), lists: lists.iter(), current: Vec::new().into_iter() }
    }

    /// Returns the holes of a file, ascending. After an error there is no more.
    ///
    /// Errors as [`chunks_of`](Self::chunks_of).
    pub fn holes_of<'a>(&'a self, content: &'a FileContent) -> HolesOf<'a> {
        let (direct, lists) = match &content.holes {
            Holes::Direct(holes) => (&holes[..], &[][..]),
            Holes::Listed(lists) => (&[][..], &lists[..]),
        };
        HolesOf {
            reader: self,
            direct: direct.iter(),
            lists: lists.iter(),
            current: Vec::new().into_iter(),
            before: None,
            size: content.size,
        }
    }

    /// Tells where in a file its data goes, which comes in the order of its chunks.
    pub fn places_of<'a>(&'a self, content: &'a FileContent) -> PlacesOf<'a> {
        Spread::new(Extents::new(self.holes_of(content), content.size))
    }

    fn list<T>(
        &self,
        list: ListRef,
        what: &str,
        decode: impl FnOnce(&[u8]) -> Result<Vec<T>, Malformed>,
        bytes_of: impl Fn(&T) -> u64,
    ) -> Result<Vec<T>, Finding> {
        let subject = || format!("the {what} list {}", list.object().id());
        let bytes = self.chunk(list.object()).map_err(|finding| as_listing(finding, subject()))?;
        let listed = decode(&bytes).map_err(|error| Finding::new(Code::ListingUnsafe, subject(), error))?;
        // A list is bounded in lines; the lengths of holes are not.
        let sum = listed.iter().try_fold(0u64, |sum, one| sum.checked_add(bytes_of(one)));
        if sum != Some(list.content_bytes()) {
            let detail = format!("its {what}s do not add up to its length");
            return Err(Finding::new(Code::ListingUnsafe, subject(), detail));
        }
        Ok(listed)
    }
}

/// Where the data of a file goes.
pub type PlacesOf<'a> = Spread<Extents<HolesOf<'a>>>;

/// The chunks of a file's content; see [`Reader::chunks_of`].
pub struct ChunksOf<'a> {
    reader: &'a Reader,
    direct: slice::Iter<'a, ChunkRef>,
    lists: slice::Iter<'a, ListRef>,
    current: vec::IntoIter<ChunkRef>,
}

impl Iterator for ChunksOf<'_> {
    type Item = Result<ChunkRef, Finding>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(chunk) = self.direct.next().copied().or_else(|| self.current.next()) {
                return Some(Ok(chunk));
            }
            let list = *self.lists.next()?;
            match self.reader.list(list, "chunk", decode_chunk_list, |chunk| u64::from(chunk.length())) {
                Ok(chunks) => self.current = chunks.into_iter(),
                Err(finding) => {
                    self.lists = [].iter();
                    return Some(Err(finding));
                }
            }
        }
    }
}

/// The holes of a file; see [`Reader::holes_of`].
pub struct HolesOf<'a> {
    reader: &'a Reader,
    direct: slice::Iter<'a, Hole>,
    lists: slice::Iter<'a, ListRef>,
    current: vec::IntoIter<Hole>,
    // Where the one before ended.
    before: Option<u64>,
    size: u64,
}

impl HolesOf<'_> {
    fn open(&mut self, list: ListRef) -> Result<(), Finding> {
        let listed = self.reader.list(list, "hole", decode_hole_list, |hole| hole.1)?;
        // Within a list they ascend; between lists, and to the end of the file, only this tells.
        let seam = |hole: Option<&Hole>, before| hole.map_or(Ok(0), |hole| holes::check_next(before, *hole, self.size));
        seam(listed.first(), self.before).and_then(|_| seam(listed.last(), None)).map_err(|error| {
            Finding::new(Code::ListingUnsafe, format!("the hole list {}", list.object().id()), error)
        })?;
        self.before = listed.last().and_then(|hole| hole.end());
        self.current = listed.into_iter();
        Ok(())
    }
}

impl Iterator for HolesOf<'_> {
    type Item = Result<Hole, Finding>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(hole) = self.direct.next().copied().or_else(|| self.current.next()) {
                return Some(Ok(hole));
            }
            let list = *self.lists.next()?;
            if let Err(finding) = self.open(list) {
                self.lists = [].iter();
                return Some(Err(finding));
            }
        }
    }
}
