//! Holes: the parts of a sparse file that hold no data and read as zeros.

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::json;

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
/// One that is empty, touches the one before, or ends beyond the file.
pub fn check(holes: &[Hole], size: u64) -> Result<u64, Malformed> {
    let (mut covered, mut before) = (0u64, None);
    for hole in holes {
        before = Some(check_next(before, *hole, size)?);
        // Bounded by the size.
        covered += hole.1;
    }
    Ok(covered)
}

/// Checks a hole of a file of `size` bytes against the end of the one before, and returns its own.
///
/// # Errors
/// It is empty, touches the one before, or ends beyond the file.
pub fn check_next(before: Option<u64>, hole: Hole, size: u64) -> Result<u64, Malformed> {
    match hole.end().filter(|&end| end <= size) {
        Some(end) if hole.1 > 0 && before.is_none_or(|before| before < hole.0) => Ok(end),
        _ => Err(Malformed::new("a hole is empty, out of order, or beyond the file")),
    }
}

/// Yields offset and length of the data between holes that ascend, or the error that ends them.
#[derive(Debug)]
pub struct Extents<I> {
    holes: I,
    // Where the next extent begins; nothing at the end.
    at: Option<u64>,
    size: u64,
}

impl<E, I: Iterator<Item = Result<Hole, E>>> Extents<I> {
    /// Goes through a file of `size` bytes with these holes, which have been checked.
    pub fn new(holes: I, size: u64) -> Self {
        Self { holes, at: Some(0), size }
    }
}

impl<E, I: Iterator<Item = Result<Hole, E>>> Iterator for Extents<I> {
    type Item = Result<(u64, u64), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at?;
            let end = match self.holes.next() {
                Some(Ok(hole)) => {
                    self.at = Some(hole.0.saturating_add(hole.1));
                    hole.0
                }
                Some(Err(error)) => {
                    self.at = None;
                    return Some(Err(error));
                }
                None => {
                    self.at = None;
                    self.size
                }
            };
            if end > at {
                return Some(Ok((at, end - at)));
            }
        }
    }
}

/// Tells piece by piece where data goes that comes in order.
#[derive(Debug)]
pub struct Spread<I> {
    extents: I,
    // What is left of the extent that is being filled.
    at: u64,
    left: u64,
}

impl<E, I: Iterator<Item = Result<(u64, u64), E>>> Spread<I> {
    /// Fills extents one after another.
    pub fn new(extents: I) -> Self {
        Self { extents, at: 0, left: 0 }
    }

    /// Returns whether there is no more room; everything that names the holes has then been read.
    ///
    /// # Errors
    /// Whatever ends the extents.
    pub fn is_full(&mut self) -> Result<bool, E> {
        Ok(self.left == 0 && self.extents.next().transpose()?.is_none())
    }

    /// Returns where the next piece goes and how long it is, at most `length`; nothing where there is no more room.
    ///
    /// # Errors
    /// Whatever ends the extents.
    pub fn next(&mut self, length: u64) -> Result<Option<(u64, u64)>, E> {
        while self.left == 0 {
            match self.extents.next() {
                Some(extent) => (self.at, self.left) = extent?,
                None => return Ok(None),
            }
        }
        let piece = (self.at, length.min(self.left));
        self.at += piece.1;
        self.left -= piece.1;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_that_overlap_touch_or_leave_the_file_are_refused() {
        assert_eq!(check(&[Hole(0, 5), Hole(6, 4)], 10).expect("valid"), 9);
        for bad in [
            vec![Hole(0, 0)],
            vec![Hole(0, 5), Hole(5, 1)],
            vec![Hole(5, 2), Hole(0, 1)],
            vec![Hole(5, 6)],
            vec![Hole(u64::MAX, 2)],
            vec![Hole(0, 4), Hole(3, 2)],
        ] {
            assert!(check(&bad, 10).is_err(), "{bad:?}");
        }
    }

    fn extents(holes: &[Hole], size: u64) -> impl Iterator<Item = Result<(u64, u64), ()>> {
        Extents::new(holes.iter().copied().map(Ok), size)
    }

    #[test]
    fn data_lies_between_the_holes() {
        let of = |holes: &[Hole], size| extents(holes, size).map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(of(&[Hole(0, 2), Hole(5, 3)], 10), [(2, 3), (8, 2)]);
        assert_eq!(of(&[Hole(4, 6)], 10), [(0, 4)]);
        assert_eq!(of(&[Hole(0, 10)], 10), []);
        assert_eq!(of(&[], 10), [(0, 10)]);
        assert_eq!(of(&[], 0), []);
    }

    #[test]
    fn what_ends_the_holes_ends_the_extents() {
        let mut broken = Extents::new([Ok(Hole(1, 1)), Err("lost"), Ok(Hole(5, 1))].into_iter(), 10);
        assert_eq!((broken.next(), broken.next(), broken.next()), (Some(Ok((0, 1))), Some(Err("lost")), None));
    }

    #[test]
    fn pieces_end_where_their_extent_ends() {
        let mut spread = Spread::new(extents(&[Hole(0, 2), Hole(5, 3)], 10));
        assert_eq!(spread.next(2), Ok(Some((2, 2))));
        assert_eq!(spread.next(2), Ok(Some((4, 1))));
        assert_eq!(spread.next(1), Ok(Some((8, 1))));
        assert_eq!(spread.is_full(), Ok(false));
        assert_eq!(spread.next(9), Ok(Some((9, 1))));
        assert_eq!(spread.is_full(), Ok(true));
        assert_eq!(spread.next(1), Ok(None));
    }
}
