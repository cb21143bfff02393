//! Holes of a source's files: as many as are kept of one.

use std::fs::File;
use std::io::{self, Seek as _};

use crate::format::holes::Hole;
use crate::fsys::{self, Stat};
use crate::limits;

/// Returns the holes of a file, at most as many as are kept: of more, the longest.
///
/// # Errors
/// The file system fails.
pub(super) fn holes(file: &File, stat: &Stat) -> io::Result<Vec<Hole>> {
    // As many bytes allocated as the file is long: there are none, or none that would be missed.
    if stat.allocated.is_none_or(|allocated| allocated >= stat.size) {
        return Ok(Vec::new());
    }
    // Some file systems have called data that was still in memory a hole; after this they know where it lies. Windows does it
    // for nobody who may not write to the file.
    let synced = file.sync_data().is_ok();
    let holes = fsys::holes(file, stat.size)?.into_iter().map(|(offset, length)| Hole(offset, length)).collect();
    let holes = longest(holes, limits::FILE_HOLES_MAX);
    if synced || holes.is_empty() { Ok(holes) } else { zeros(file, holes) }
}

/// Returns those of what is told as holes that read as zeros.
fn zeros(mut file: &File, holes: Vec<Hole>) -> io::Result<Vec<Hole>> {
    const PIECE: u64 = 1 << 20;
    let mut bytes = vec![0; PIECE as usize];
    let mut kept = Vec::new();
    for hole in holes {
        let (mut at, end, mut is_zero) = (hole.0, hole.0 + hole.1, true);
        while at < end && is_zero {
            let piece = &mut bytes[..(end - at).min(PIECE) as usize];
            fsys::read_exact_at(file, piece, at)?;
            at += piece.len() as u64;
            is_zero = piece.iter().all(|byte| *byte == 0);
        }
        if is_zero {
            kept.push(hole);
        }
    }
    // On some systems that has moved the file's own position.
    file.rewind()?;
    Ok(kept)
}

/// Returns the longest of many holes, ascending.
fn longest(mut holes: Vec<Hole>, count_max: usize) -> Vec<Hole> {
    if holes.len() > count_max {
        holes.sort_unstable_by_key(|hole| std::cmp::Reverse((hole.1, hole.0)));
        holes.truncate(count_max);
        holes.sort_unstable_by_key(|hole| hole.0);
    }
    holes
}

/// Cuts many holes into lists; where, their offsets decide, so that an edit changes few lists.
pub(super) fn list_parts(holes: &[Hole]) -> Vec<&[Hole]> {
    // Longer lists where there are most, so that even those stay below the bound on lists.
    let average = (holes.len() / 1024).next_power_of_two().clamp(512, 8192) as u64;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, hole) in holes.iter().enumerate() {
        // The multiplier is 2^64 divided by the golden ratio: its high bits scatter offsets that lie evenly.
        let scattered = (hole.0 / 512).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        if scattered.is_multiple_of(average) || at + 1 - start == limits::LIST_HOLES_MAX {
            parts.push(&holes[start..=at]);
            start = at + 1;
        }
    }
    if start < holes.len() {
        parts.push(&holes[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_medium_cannot_be_asked_to_write_only_zeros_are_believed_to_be_holes() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("f");
        let mut bytes = vec![0; 5 << 20];
        bytes[2_500_000] = 1;
        std::fs::write(&path, &bytes).expect("writable");
        let file = File::open(&path).expect("readable");
        let told = vec![Hole(0, 2_500_000), Hole(2_500_000, 1), Hole(2_500_001, (5 << 20) - 2_500_001)];
        assert_eq!(zeros(&file, told.clone()).expect("readable"), [told[0], told[2]]);
        let mut read = Vec::new();
        io::Read::read_to_end(&mut &file, &mut read).expect("readable");
        assert_eq!(read.len(), bytes.len(), "it is read from its beginning then");
        assert_eq!(zeros(&file, vec![Hole(0, 5 << 20)]).expect("readable"), []);
        assert!(zeros(&file, vec![Hole(5 << 20, 1)]).is_err(), "it has become shorter");
    }

    #[test]
    fn of_too_many_holes_the_longest_are_kept_in_order() {
        let holes = vec![Hole(0, 5), Hole(10, 1), Hole(20, 9), Hole(40, 5)];
        assert_eq!(longest(holes.clone(), 2), [Hole(20, 9), Hole(40, 5)]);
        assert_eq!(longest(holes.clone(), 4), holes);
    }

    #[test]
    fn lists_of_holes_cover_all_of_them_within_their_bound() {
        let holes: Vec<Hole> = (0..200_000).map(|at| Hole(8192 * at, 4096)).collect();
        let parts = list_parts(&holes);
        assert_eq!(parts.concat(), holes);
        assert!(parts.len() > 100 && parts.len() <= limits::ENTRY_LISTS_MAX, "{}", parts.len());
        assert!(parts.iter().all(|part| !part.is_empty() && part.len() <= limits::LIST_HOLES_MAX));
        // Holes in front change lists in front only.
        let more: Vec<Hole> = [Hole(1, 10), Hole(100, 10)].into_iter().chain(holes[1..].iter().copied()).collect();
        let same = list_parts(&more).iter().filter(|part| parts.contains(part)).count();
        assert!(same + 3 > parts.len(), "{same} of {}", parts.len());
        // Offsets that the multiplier takes for one another end lists by their bound all the same.
        let same = vec![Hole(1, 1); limits::LIST_HOLES_MAX + 1];
        assert!(list_parts(&same).len() >= 2);
    }
}
