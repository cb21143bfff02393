//! Drawing a sample: files at random, up to a size, each as likely as any other.

use std::collections::BTreeSet;

use crate::crypto::{Digest, random};
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::ops::verify::bad_at_most;
use crate::path::EntryPath;

/// A sample of a snapshot's files, and what it can prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Files that were drawn.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the snapshot that have content.
    pub files_total: u64,
    /// Their bytes.
    pub bytes_total: u64,
    /// Files that are longer than the sample may be, and so were never drawn.
    pub files_too_long: u64,
    /// The greatest number of bad files among those that could be drawn that is compatible with the sample being intact,
    /// at 95 % confidence, if files go bad without regard to what they are.
    pub bad_files_at_most: u64,
}

/// What a snapshot holds of which bytes can be compared.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Vec<(EntryPath, u64)>,
    bytes: u64,
}

impl Files {
    pub(super) fn take(&mut self, entry: &Entry) {
        let size = entry.file().map_or(0, |file| file.data_bytes());
        if size > 0 && entry.hardlink.is_none() {
            self.files.push((entry.path.clone(), size));
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.files.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the shortest of these files.
    pub(super) fn shortest(&self, paths: &BTreeSet<EntryPath>) -> Option<EntryPath> {
        let among = self.files.iter().filter(|(path, _)| paths.contains(path));
        among.min_by_key(|(_, size)| size).map(|(path, _)| path.clone())
    }

    /// Returns how many bytes these files have together.
    pub(super) fn bytes_of(&self, paths: &BTreeSet<EntryPath>) -> u64 {
        self.files.iter().filter(|(path, _)| paths.contains(path)).map(|(_, size)| size).sum()
    }

    /// Draws one file that has content.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn one(&self) -> Result<Option<&EntryPath>> {
        let chance = random::<8>().map_err(|error| Error::environment("draw random bytes", error))?;
        let at = u64::from_be_bytes(chance) % self.files.len().max(1) as u64;
        Ok(self.files.get(at as usize).map(|(path, _)| path))
    }

    /// Draws files in random order until the next one does not fit.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn draw(&self, bytes_max: u64) -> Result<(Sample, BTreeSet<EntryPath>)> {
        let seed = random::<32>().map_err(|error| Error::environment("draw random bytes", error))?;
        Ok(self.draw_by(bytes_max, seed))
    }

    fn draw_by(&self, bytes_max: u64, seed: [u8; 32]) -> (Sample, BTreeSet<EntryPath>) {
        let mut order: Vec<&(EntryPath, u64)> = self.files.iter().filter(|(_, size)| *size <= bytes_max).collect();
        let could = order.len() as u64;
        order.sort_by_cached_key(|(path, _)| Digest(*blake3::keyed_hash(&seed, path.as_bytes()).as_bytes()));
        let (mut drawn, mut bytes) = (BTreeSet::new(), 0u64);
        for (path, size) in order {
            // Going on with shorter ones would favour them.
            if bytes + size > bytes_max {
                break;
            }
            bytes += size;
            drawn.insert(path.clone());
        }
        let files = drawn.len() as u64;
        let sample = Sample {
            files,
            bytes,
            files_total: self.files.len() as u64,
            bytes_total: self.bytes,
            files_too_long: self.files.len() as u64 - could,
            bad_files_at_most: bad_at_most(could, files),
        };
        (sample, drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64]) -> Files {
        let named = |(n, size): (usize, &u64)| (EntryPath::parse(format!("f{n}").as_bytes()).expect("valid"), *size);
        Files { files: sizes.iter().enumerate().map(named).collect(), bytes: sizes.iter().sum() }
    }

    #[test]
    fn a_sample_stays_within_its_size_and_says_what_it_could_not_draw() {
        let files = files(&[10, 20, 30, 1_000]);
        for seed in 0..50 {
            let (sample, drawn) = files.draw_by(60, [seed; 32]);
            assert_eq!((sample.files, sample.bytes, drawn.len()), (3, 60, 3), "all that can be drawn fit");
            assert_eq!((sample.files_total, sample.files_too_long, sample.bad_files_at_most), (4, 1, 0));
            let (sample, drawn) = files.draw_by(30, [seed; 32]);
            assert!(sample.bytes <= 30 && !drawn.is_empty() && sample.bad_files_at_most > 0);
        }
        assert!(files.draw_by(9, [0; 32]).1.is_empty(), "nothing fits");
    }

    #[test]
    fn every_file_is_as_likely_as_any_other() {
        let files = files(&[5; 20]);
        let mut seen = std::collections::BTreeMap::<EntryPath, u32>::new();
        for seed in 0..=255 {
            for path in files.draw_by(25, [seed; 32]).1 {
                *seen.entry(path).or_default() += 1;
            }
        }
        // 5 of 20 in 256 draws: 64 each; four standard deviations are 28.
        assert!(seen.len() == 20 && seen.values().all(|count| (36..=92).contains(count)), "{seen:?}");
    }
}
