//! Cutting file contents into chunks.
//!
//! FastCDC as of 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
//! Systems"), normalisation level 1, from the `fastcdc` crate. Where a writer cuts is not part of the format.

use std::io::{self, Read};

use fastcdc::v2020::FastCDC;

/// Cuts a stream into chunks while reading it once.
pub struct Cutter {
    min: usize,
    avg: usize,
    max: usize,
    buffer: Vec<u8>,
}

impl Cutter {
    /// Creates a cutter for chunks of these lengths in bytes: shortest but the last, average, longest. They are even,
    /// ascend, and `avg` is a power of two.
    pub fn new([min, avg, max]: [u32; 3]) -> Self {
        Self { min: min as usize, avg: avg as usize, max: max as usize, buffer: Vec::new() }
    }

    /// Reads `source` to its end and hands on each chunk in order; none for an empty source.
    ///
    /// Stops with an error once more than `bytes_max` bytes came, so that a file that grows for ever ends.
    ///
    /// # Errors
    /// The source cannot be read, or `take` fails.
    pub fn cut<E: From<io::Error>>(
        &mut self,
        source: &mut impl Read,
        bytes_max: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        // Twice the longest chunk, so that most reads are large.
        self.buffer.resize(2 * self.max, 0);
        let (mut start, mut end, mut total, mut ended) = (0, 0, 0u64, false);
        loop {
            while !ended && end - start < self.max {
                self.buffer.copy_within(start..end, 0);
                (start, end) = (0, end - start);
                match source.read(&mut self.buffer[end..]) {
                    Ok(0) => ended = true,
                    Ok(count) => {
                        end += count;
                        total += count as u64;
                        if total > bytes_max {
                            return Err(io::Error::other("the file grows while it is read").into());
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if start == end {
                return Ok(total);
            }
            let rest = &self.buffer[start..end.min(start + self.max)];
            let length = first_cut(rest, self.min, self.avg, self.max);
            take(&rest[..length])?;
            start += length;
        }
    }
}

impl Cutter {
    /// Returns the lengths of the chunks of a whole content that lies in memory.
    pub fn lengths(&self, mut content: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !content.is_empty() {
            // No further than a stream would have read ahead at least: the same cuts come from both.
            let length = first_cut(&content[..content.len().min(self.max)], self.min, self.avg, self.max);
            lengths.push(length);
            content = &content[length..];
        }
        lengths
    }
}

/// Returns the length of the first chunk of `bytes`, which reach to the end of the source or beyond the longest chunk.
fn first_cut(bytes: &[u8], min: usize, avg: usize, max: usize) -> usize {
    if bytes.len() <= min {
        return bytes.len();
    }
    let (_, end) = FastCDC::new(bytes, min, avg, max).cut(0, bytes.len());
    // What the library returns is bounded here all the same: a chunk is never empty or too long.
    end.clamp(1, bytes.len().min(max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: [u32; 3] = [64, 256, 1024];

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn chunks(bytes: &[u8], read_max: usize) -> Vec<Vec<u8>> {
        /// Returns a few bytes at a time, as pipes and signals make a file do.
        struct Dribble<'a>(&'a [u8], usize);
        impl Read for Dribble<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = buffer.len().min(self.1).min(self.0.len());
                buffer[..length].copy_from_slice(&self.0[..length]);
                self.0 = &self.0[length..];
                Ok(length)
            }
        }
        let mut chunks = Vec::new();
        Cutter::new(SIZES)
            .cut(&mut Dribble(bytes, read_max), u64::MAX, |chunk| {
                chunks.push(chunk.to_vec());
                Ok::<_, io::Error>(())
            })
            .expect("readable");
        chunks
    }

    proptest! {
        #[test]
        fn chunks_add_up_and_keep_their_bounds_however_the_source_is_read(length in 0usize..20_000, seed: u64, read_max in 1usize..3000) {
            let bytes = noise(length, seed);
            let whole = chunks(&bytes, usize::MAX);
            let chunks = chunks(&bytes, read_max);
            prop_assert_eq!(chunks.concat(), bytes.clone());
            prop_assert_eq!(&chunks, &whole);
            let lengths: Vec<usize> = chunks.iter().map(Vec::len).collect();
            prop_assert_eq!(lengths, Cutter::new(SIZES).lengths(&bytes));
            for (i, chunk) in chunks.iter().enumerate() {
                prop_assert!(chunk.len() <= 1024 && !chunk.is_empty());
                prop_assert!(chunk.len() >= 64 || i + 1 == chunks.len());
            }
        }
    }

    #[test]
    fn an_insertion_changes_only_nearby_chunks() {
        let bytes = noise(200_000, 1);
        let mut edited = bytes.clone();
        edited.splice(100_000..100_000, *b"inserted");
        let (before, after) = (chunks(&bytes, 4096), chunks(&edited, 4096));
        let known: std::collections::HashSet<_> = before.iter().collect();
        let new = after.iter().filter(|chunk| !known.contains(chunk)).count();
        assert!(new <= 4, "{new} of {} chunks are new", after.len());
    }

    #[test]
    fn a_file_that_outgrows_its_bound_ends_in_an_error() {
        let result = Cutter::new(SIZES).cut(&mut io::repeat(0), 5000, |_| Ok::<_, io::Error>(()));
        assert!(result.is_err());
    }
}
