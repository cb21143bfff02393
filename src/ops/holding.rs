//! Holding a file of this machine against the content that an entry says: in order, one chunk and one list in memory at
//! a time, holes without reading them where the file system tells where they are.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::crypto::Digest;
use crate::format::entry::FileContent;
use crate::fsys::extents::longest_zeros;
use crate::vault::Finding;
use crate::vault::read::Reader;

/// Why a file is not held to be what its entry says.
#[derive(Debug)]
pub(super) enum Unlike {
    /// Its bytes are others.
    Content,
    /// It is longer.
    Longer,
    /// It ends before.
    Shorter,
    /// It cannot be read.
    Io(io::Error),
    /// The vault does not tell what it should hold.
    Vault(Finding),
    /// Nobody wants to know any more.
    Stopped,
}

impl From<Finding> for Unlike {
    fn from(finding: Finding) -> Self {
        Self::Vault(finding)
    }
}

impl From<io::Error> for Unlike {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Shorter,
            _ => Self::Io(error),
        }
    }
}

/// Reads files and compares them, with memory for one chunk.
pub(super) struct Holder<'a> {
    reader: &'a Reader,
    stop: &'a AtomicBool,
    buffer: Vec<u8>,
    /// How many bytes of data were compared so far.
    pub(super) bytes: u64,
}

impl<'a> Holder<'a> {
    /// Compares with what a reader reads, until `stop` is set.
    pub(super) fn new(reader: &'a Reader, stop: &'a AtomicBool) -> Self {
        Self { reader, stop, buffer: Vec::new(), bytes: 0 }
    }

    /// Compares a file up to the first difference. Returns the longest stretch of zeros, where a hole should be, that the
    /// file system does not call one.
    ///
    /// # Errors
    /// See [`Unlike`].
    pub(super) fn hold(&mut self, file: &File, content: &FileContent) -> Result<u64, Unlike> {
        self.hold_data(file, content)?;
        let mut filled = 0;
        if !content.holes.is_none() {
            let stop = self.stop;
            let ranges = self.reader.holes_of(content).map(|hole| match hole {
                _ if stop.load(Ordering::Relaxed) => Err(Unlike::Stopped),
                Ok(hole) => Ok((hole.0, hole.1)),
                Err(finding) => Err(Unlike::Vault(finding)),
            });
            filled = longest_zeros(file, ranges, content.size)?.ok_or(Unlike::Content)?;
        }
        let mut beyond = file;
        beyond.seek(SeekFrom::Start(content.size))?;
        if beyond.read(&mut [0])? == 0 { Ok(filled) } else { Err(Unlike::Longer) }
    }

    fn hold_data(&mut self, mut file: &File, content: &FileContent) -> Result<(), Unlike> {
        let mut places = self.reader.places_of(content);
        let mut at = None;
        for chunk in self.reader.chunks_of(content) {
            let chunk = chunk?;
            if self.stop.load(Ordering::Relaxed) {
                return Err(Unlike::Stopped);
            }
            self.buffer.resize(chunk.length() as usize, 0);
            let mut rest = &mut self.buffer[..];
            while !rest.is_empty() {
                // Lengths were found to add up; where they do not, the file cannot hold what is said.
                let Some((place, length)) = places.next(rest.len() as u64)? else { return Err(Unlike::Content) };
                if at != Some(place) {
                    file.seek(SeekFrom::Start(place))?;
                }
                // Not longer than the rest, so that it fits.
                let (piece, after) = rest.split_at_mut(length as usize);
                file.read_exact(piece)?;
                at = place.checked_add(length);
                rest = after;
            }
            self.bytes += u64::from(chunk.length());
            if Digest::of(&self.buffer) != chunk.id() {
                return Err(Unlike::Content);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::content::{ChunkRef, Chunks, Holes};
    use crate::format::holes::Hole;
    use crate::store::LocalStore;

    /// Holds a file of some bytes against a content of chunks and of a hole before them.
    fn hold(bytes: &[u8], chunks: &[&[u8]], hole: u64, stop: bool) -> Result<u64, Unlike> {
        let root = tempfile::tempdir().expect("a directory");
        let store = Arc::new(LocalStore::open(root.path()).expect("readable"));
        let (reader, stop) = (Reader::unproven(store, Arc::default()), AtomicBool::new(stop));
        std::fs::write(root.path().join("file"), bytes).expect("writable");
        let content = FileContent {
            size: chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>() + hole,
            chunks: Chunks::Direct(
                chunks.iter().map(|chunk| ChunkRef(Digest::of(chunk), chunk.len() as u32)).collect(),
            ),
            holes: if hole == 0 { Holes::none() } else { Holes::Direct(vec![Hole(0, hole)]) },
            ..FileContent::default()
        };
        let mut holder = Holder::new(&reader, &stop);
        let held = holder.hold(&File::open(root.path().join("file")).expect("there"), &content);
        if held.is_ok() {
            assert_eq!(holder.bytes, content.size - hole);
        }
        held
    }

    #[test]
    fn a_file_is_what_its_entry_says_to_the_last_byte_and_no_further() {
        let chunks: &[&[u8]] = &[b"one", b"two"];
        assert!(hold(b"onetwo", chunks, 0, false).is_ok() && hold(b"", &[], 0, false).is_ok());
        assert!(hold(b"\0\0\0\0onetwo", chunks, 4, false).is_ok());
        assert!(matches!(hold(b"oneTwo", chunks, 0, false), Err(Unlike::Content)));
        assert!(matches!(hold(b"twoone", chunks, 0, false), Err(Unlike::Content)));
        assert!(matches!(hold(b"\0\0x\0onetwo", chunks, 4, false), Err(Unlike::Content)));
        assert!(matches!(hold(b"onetwo\0", chunks, 0, false), Err(Unlike::Longer)));
        assert!(matches!(hold(b"onetw", chunks, 0, false), Err(Unlike::Shorter)));
        assert!(matches!(hold(b"", chunks, 0, false), Err(Unlike::Shorter)));
    }

    #[test]
    fn nothing_more_is_read_once_nobody_wants_to_know() {
        assert!(matches!(hold(b"onetwo", &[b"one", b"two"], 0, true), Err(Unlike::Stopped)));
        assert!(matches!(hold(b"\0\0\0\0", &[], 4, true), Err(Unlike::Stopped)));
    }
}
