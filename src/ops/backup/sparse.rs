//! Holes of a source's files: as many as an entry may have.

use std::fs::File;
use std::io;

use crate::format::holes::Hole;
use crate::fsys::{self, Stat};
use crate::limits;

/// Returns the holes of a file, at most as many as an entry may have: of more, the longest.
///
/// # Errors
/// The file system fails.
pub(super) fn holes(file: &File, stat: &Stat) -> io::Result<Vec<Hole>> {
    // As many bytes allocated as the file is long: there are none, or none that would be missed.
    if stat.allocated.is_none_or(|allocated| allocated >= stat.size) {
        return Ok(Vec::new());
    }
    // Some file systems have called data that was still in memory a hole; after this they know where it lies. A medium
    // that is read-only, or a file that cannot be synced, has none of it in memory.
    let _ = file.sync_data();
    let mut holes: Vec<Hole> =
        fsys::holes(file, stat.size)?.into_iter().map(|(offset, length)| Hole(offset, length)).collect();
    if holes.len() > limits::HOLES_MAX {
        holes.sort_unstable_by_key(|hole| std::cmp::Reverse((hole.1, hole.0)));
        holes.truncate(limits::HOLES_MAX);
        holes.sort_unstable_by_key(|hole| hole.0);
    }
    Ok(holes)
}
