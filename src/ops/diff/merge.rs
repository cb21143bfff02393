//! Two listings in path order, side by side.

use std::iter::Peekable;

use crate::error::Result;
use crate::path::EntryPath;

/// Something at a path.
pub(super) trait At {
    /// Returns the path.
    fn path(&self) -> &EntryPath;
}

/// What two listings hold at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pair<L, R> {
    /// Only the first one holds it.
    Left(L),
    /// Only the second one holds it.
    Right(R),
    /// Both hold it.
    Both(L, R),
}

/// Yields every path of two listings once; each listing ascends. Holds one item of each.
pub(super) struct Merge<L: Iterator, R: Iterator> {
    left: Peekable<L>,
    right: Peekable<R>,
}

impl<L: Iterator, R: Iterator> Merge<L, R> {
    pub(super) fn new(left: L, right: R) -> Self {
        Self { left: left.peekable(), right: right.peekable() }
    }
}

impl<A: At, B: At, L: Iterator<Item = Result<A>>, R: Iterator<Item = Result<B>>> Iterator for Merge<L, R> {
    type Item = Result<Pair<A, B>>;

    fn next(&mut self) -> Option<Self::Item> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (self.left.peek(), self.right.peek()) {
            (None, None) => return None,
            // An error goes before everything else.
            (Some(Err(_)), _) => Less,
            (_, Some(Err(_))) => Greater,
            (Some(_), None) => Less,
            (None, Some(_)) => Greater,
            (Some(Ok(left)), Some(Ok(right))) => left.path().cmp(right.path()),
        };
        Some(match order {
            Less => self.left.next()?.map(Pair::Left),
            Greater => self.right.next()?.map(Pair::Right),
            Equal => {
                let (left, right) = (self.left.next()?, self.right.next()?);
                left.and_then(|left| Ok(Pair::Both(left, right?)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::format::entry::tests::any_path;
    use proptest::prelude::*;

    impl At for EntryPath {
        fn path(&self) -> &EntryPath {
            self
        }
    }

    proptest! {
        #[test]
        fn a_merge_of_listings_is_their_difference_and_intersection(
            left in prop::collection::btree_set(any_path(), 0..40),
            right in prop::collection::btree_set(any_path(), 0..40),
            shared in prop::collection::btree_set(any_path(), 0..20),
        ) {
            let left: BTreeSet<EntryPath> = left.union(&shared).cloned().collect();
            let right: BTreeSet<EntryPath> = right.union(&shared).cloned().collect();
            let merged = Merge::new(left.iter().cloned().map(Ok), right.iter().cloned().map(Ok));
            let (mut removed, mut added, mut both) = (Vec::new(), Vec::new(), Vec::new());
            let mut order = Vec::new();
            for pair in merged {
                match pair.expect("no error went in") {
                    Pair::Left(path) => { order.push(path.clone()); removed.push(path) }
                    Pair::Right(path) => { order.push(path.clone()); added.push(path) }
                    Pair::Both(path, other) => {
                        prop_assert_eq!(&path, &other);
                        order.push(path.clone());
                        both.push(path);
                    }
                }
            }
            prop_assert_eq!(removed, left.difference(&right).cloned().collect::<Vec<_>>());
            prop_assert_eq!(added, right.difference(&left).cloned().collect::<Vec<_>>());
            prop_assert_eq!(both, left.intersection(&right).cloned().collect::<Vec<_>>());
            prop_assert_eq!(order, left.union(&right).cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_of_either_listing_comes_out() {
        use crate::error::Error;
        let path = || EntryPath::parse(b"a").expect("valid");
        let broken = || vec![Ok(path()), Err(Error::Interrupted(None))].into_iter();
        let whole = || vec![Ok(path())].into_iter();
        assert!(Merge::new(broken(), whole()).any(|pair| pair.is_err()));
        assert!(Merge::new(whole(), broken()).any(|pair| pair.is_err()));
    }
}
