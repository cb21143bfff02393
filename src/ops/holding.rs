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
