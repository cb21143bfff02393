//! Holes: the parts of a sparse file that hold no data and read as zeros.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::json;
use crate::limits;

/// One hole: `[offset,length]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hole(#[serde(with = "json::unsigned")] pub u64, #[serde(with = "json::unsigned")] pub u64);

impl Hole {
    /// Returns where the hole ends, unless that is beyond every file.
    pub fn end(self) -> Option<u64> {
        self.0.checked_add(self.1)
    }
}

/// Checks holes of a file of `size` bytes and returns how many bytes they cover.
///
/// # Errors
/// None or too many; one that is empty, touches the one before, or ends beyond the file.
pub fn check(holes: &[Hole], size: u64) -> Result<u64, Malformed> {
    if holes.is_empty() || holes.len() > limits::HOLES_MAX {
        return Err(Malformed::new("holes: none in them, or too many"));
    }
    let (mut covered, mut before) = (0u64, None);
    for hole in holes {
        let end = hole.end().filter(|&end| end <= size);
        match end {
            Some(end) if hole.1 > 0 && before.is_none_or(|before| before < hole.0) => before = Some(end),
            _ => return Err(Malformed::new("a hole is empty, out of order, or beyond the file")),
        }
        // Bounded by the size.
        covered += hole.1;
    }
    Ok(covered)
}

/// Where the data of a file lies between its holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extents {
    // Where each begins in the data, where in the file, and how long it is; ascending, none empty.
    extents: Vec<(u64, u64, u64)>,
}

impl Extents {
    /// Returns the extents of a file of `size` bytes with these holes, which have been checked.
    pub fn new(holes: &[Hole], size: u64) -> Self {
        let mut extents = Vec::with_capacity(holes.len() + 1);
        let (mut data, mut file) = (0, 0);
        for &Hole(offset, length) in holes {
            if offset > file {
                extents.push((data, file, offset - file));
                data += offset - file;
            }
            file = offset + length;
        }
        if size > file {
            extents.push((data, file, size - file));
        }
        Self { extents }
    }

    /// Returns offset and length of each extent in the file.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.extents.iter().map(|&(_, file, length)| (file, length))
    }

    /// Returns where in the file the data from `at` on lies, `length` bytes of it: offsets and lengths, ascending.
    pub fn spread(&self, at: u64, length: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.extents.partition_point(|&(data, _, long)| data + long <= at);
        let end = at.saturating_add(length);
        self.extents[first..].iter().take_while(move |extent| extent.0 < end).map(move |&(data, file, long)| {
            let (from, to) = (at.max(data), end.min(data + long));
            (file + (from - data), to - from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_that_overlap_touch_or_leave_the_file_are_refused() {
        assert_eq!(check(&[Hole(0, 5), Hole(6, 4)], 10).expect("valid"), 9);
        for bad in [
            vec![],
            vec![Hole(0, 0)],
            vec![Hole(0, 5), Hole(5, 1)],
            vec![Hole(5, 2), Hole(0, 1)],
            vec![Hole(5, 6)],
            vec![Hole(u64::MAX, 2)],
            vec![Hole(0, 4), Hole(3, 2)],
        ] {
            assert!(check(&bad, 10).is_err(), "{bad:?}");
        }
        let many: Vec<Hole> = (0..=limits::HOLES_MAX as u64).map(|at| Hole(2 * at, 1)).collect();
        assert!(check(&many, u64::MAX).is_err());
        assert!(check(&many[1..], u64::MAX).is_ok());
    }

    #[test]
    fn data_lies_between_the_holes() {
        let extents = Extents::new(&[Hole(0, 2), Hole(5, 3)], 10);
        assert_eq!(extents.iter().collect::<Vec<_>>(), [(2, 3), (8, 2)]);
        let spread = |at, length| extents.spread(at, length).collect::<Vec<_>>();
        assert_eq!(spread(0, 5), [(2, 3), (8, 2)]);
        assert_eq!(spread(1, 1), [(3, 1)]);
        assert_eq!(spread(2, 2), [(4, 1), (8, 1)]);
        assert_eq!(spread(3, 2), [(8, 2)]);
        assert_eq!(Extents::new(&[Hole(0, 10)], 10).iter().count(), 0);
        assert_eq!(Extents::new(&[], 10).iter().collect::<Vec<_>>(), [(0, 10)]);
    }
}
