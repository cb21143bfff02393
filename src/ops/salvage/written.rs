//! A file that is being written, piece by piece, each of which is read back before the file counts as written.
//!
//! What was handed over is held against what the medium has, by digests that were made of it then. So nothing is read from
//! the vault once more, whose medium may fail by now, and what was never written is no difference.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::crypto::Digest;
use crate::fsys;

/// How many pieces are kept in mind before they are read back: most files have fewer.
const PIECES_MAX: usize = 1 << 14;

/// A file that is being written.
pub(super) struct Writing {
    file: File,
    size: u64,
    // Written, and not read back yet.
    pieces: Vec<Piece>,
    buffer: Vec<u8>,
    from_memory: bool,
}

/// Bytes of a file: where they begin, how many they are, and their digest.
struct Piece {
    place: u64,
    length: usize,
    digest: Digest,
}

/// Why a file was not written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The target does not take it.
    Refused(io::Error),
    /// The target has something else than was written, in words.
    Differs(String),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl Writing {
    /// Begins with a new file, which is made as long as it will be. What is never written of it reads as zeros.
    ///
    /// # Errors
    /// The target does not take a file of that length.
    pub(super) fn begin(file: File, size: u64, has_holes: bool) -> io::Result<Self> {
        if has_holes {
            fsys::allow_holes(&file)?;
        }
        file.set_len(size)?;
        Ok(Self { file, size, pieces: Vec::new(), buffer: Vec::new(), from_memory: false })
    }

    /// Writes bytes at their place.
    ///
    /// # Errors
    /// See [`Unwritten`]: what was written before may be read back first.
    pub(super) fn write(&mut self, place: u64, bytes: &[u8]) -> Result<(), Unwritten> {
        if self.pieces.len() >= PIECES_MAX {
            self.read_back()?;
        }
        self.file.seek(SeekFrom::Start(place))?;
        self.file.write_all(bytes)?;
        self.pieces.push(Piece { place, length: bytes.len(), digest: Digest::of(bytes) });
        Ok(())
    }

    /// Makes the file durable and reads back what was not yet. Returns it, and whether some of it may have been read from
    /// memory and not from the medium.
    ///
    /// # Errors
    /// See [`Unwritten`].
    pub(super) fn finish(mut self) -> Result<(File, bool), Unwritten> {
        self.read_back()?;
        match self.file.metadata()?.len() {
            length if length == self.size => Ok((self.file, self.from_memory)),
            length => Err(Unwritten::Differs(format!("it has {length} bytes, not {}", self.size))),
        }
    }

    fn read_back(&mut self) -> Result<(), Unwritten> {
        fsys::sync_file(&self.file)?;
        self.from_memory |= !fsys::drop_cached(&self.file) && self.size > 0;
        for piece in self.pieces.drain(..) {
            self.buffer.resize(piece.length, 0);
            self.file
                .seek(SeekFrom::Start(piece.place))
                .and_then(|_| self.file.read_exact(&mut self.buffer))
                .map_err(|error| Unwritten::Differs(error.to_string()))?;
            if Digest::of(&self.buffer) != piece.digest {
                return Err(Unwritten::Differs(format!("other bytes from {} on", piece.place)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is being written, and a second way to it.
    fn begin(size: u64) -> (Writing, File) {
        let file = tempfile::tempfile().expect("a file");
        let other = file.try_clone().expect("a second handle");
        (Writing::begin(file, size, true).expect("room"), other)
    }

    fn spoil(mut file: &File, place: u64, bytes: &[u8]) {
        file.seek(SeekFrom::Start(place)).and_then(|_| file.write_all(bytes)).expect("writable");
    }

    #[test]
    fn a_file_has_what_was_written_at_its_place_and_zeros_elsewhere() {
        let (mut writing, _) = begin(12);
        writing.write(7, b"world").expect("room");
        writing.write(0, b"hello").expect("room");
        let (mut file, _) = writing.finish().expect("as written");
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).expect("readable");
        assert_eq!(bytes, b"hello\0\0world");
    }

    #[test]
    fn a_medium_that_has_other_bytes_is_noticed_without_anything_to_compare_with() {
        for (place, bytes, differs) in [(0, &b"J"[..], true), (11, b"D", true), (6, b"x", false)] {
            let (mut writing, other) = begin(12);
            writing.write(0, b"hello").expect("room");
            writing.write(7, b"world").expect("room");
            spoil(&other, place, bytes);
            assert_eq!(matches!(writing.finish(), Err(Unwritten::Differs(_))), differs, "{place}");
        }
        for length in [11, 13] {
            let (writing, other) = begin(12);
            other.set_len(length).expect("room");
            assert!(matches!(writing.finish(), Err(Unwritten::Differs(_))), "{length}");
        }
    }

    #[test]
    fn a_file_of_many_pieces_is_read_back_on_the_way() {
        let (mut writing, other) = begin(PIECES_MAX as u64 + 1);
        for place in 0..PIECES_MAX as u64 {
            writing.write(place, b"x").expect("room");
        }
        spoil(&other, 1_000, b"y");
        let refused = writing.write(PIECES_MAX as u64, b"x");
        assert!(matches!(&refused, Err(Unwritten::Differs(what)) if what.ends_with("from 1000 on")), "{refused:?}");
    }
}
