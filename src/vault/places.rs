//! Places of chunks, found by the chunk's id.

use std::hash::{BuildHasher, RandomState};
use std::iter;

use crate::crypto::Digest;
use crate::format::entry::ChunkRef;

/// One place of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The chunk's id.
    pub id: Digest,
    /// Which block, counted in [`Catalog::block`](super::catalog::Catalog::block).
    pub block: u32,
    /// Where it begins in the plain block.
    pub offset: u32,
    /// Its length.
    pub length: u32,
}

/// Places in the order of packs and blocks, and chains of those that share a slot.
///
/// Nothing is sorted or moved: whoever reads one file of millions makes this anew, and looks up a handful of chunks.
#[derive(Debug, Default, Clone)]
pub(super) struct Places {
    all: Vec<Place>,
    // The first place of each slot, and the place behind each in its chain; or `NONE`.
    first: Vec<u32>,
    next: Vec<u32>,
    slots: Slots,
}

/// No place.
const NONE: u32 = u32::MAX;

impl Places {
    /// Adds a place, which is not found until [`chain`](Self::chain).
    pub(super) fn push(&mut self, place: Place) {
        self.all.push(place);
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Makes everything be found that is there now, and nothing else.
    pub(super) fn chain(&mut self) {
        assert!(self.all.len() < NONE as usize, "chunks are bounded");
        self.slots.bits = self.all.len().checked_ilog2().unwrap_or(0);
        self.first.clear();
        self.first.resize(1 << self.slots.bits, NONE);
        self.next.clear();
        self.next.resize(self.all.len(), NONE);
        // From the last, so that each chain ascends.
        for (place, (at, next)) in self.all.iter().zip(self.next.iter_mut().enumerate()).rev() {
            let at = u32::try_from(at).expect("bounded above");
            *next = std::mem::replace(&mut self.first[self.slots.of(&place.id)], at);
        }
    }

    /// Forgets places.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Place) -> bool) {
        self.all.retain(keep);
        self.chain();
    }

    /// Returns every place of a chunk, each with its position among all; these ascend.
    pub(super) fn of(&self, chunk: ChunkRef) -> impl Iterator<Item = (usize, &Place)> {
        let first = self.first.get(self.slots.of(&chunk.id())).copied();
        iter::successors(first, |at| self.next.get(*at as usize).copied())
            .map_while(|at| self.all.get(at as usize).map(|place| (at as usize, place)))
            .filter(move |(_, place)| place.id == chunk.id() && place.length == chunk.length())
    }
}

/// The slot of an id: the upper bits of a sum of products with random keys.
///
/// That is strongly universal (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): who fills a vault with
/// ids of their own choice cannot know which of them meet, so that no chain grows long.
#[derive(Debug, Clone)]
struct Slots {
    keys: [u64; 9],
    // How many upper bits count; at most 32.
    bits: u32,
}

impl Default for Slots {
    fn default() -> Self {
        let random = RandomState::new();
        Self { keys: std::array::from_fn(|number| random.hash_one(number)), bits: 0 }
    }
}

impl Slots {
    fn of(&self, id: &Digest) -> usize {
        let [last, keys @ ..] = &self.keys;
        let words = id.0.as_chunks::<4>().0;
        let sum = keys
            .iter()
            .zip(words)
            .fold(*last, |sum, (key, word)| sum.wrapping_add(key.wrapping_mul(u64::from(u32::from_le_bytes(*word)))));
        sum.checked_shr(u64::BITS - self.bits).unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chained(ids: &[Digest]) -> Places {
        let mut places = Places::default();
        for (block, id) in (0u32..).zip(ids) {
            places.push(Place { id: *id, block, offset: 0, length: 1 });
        }
        places.chain();
        places
    }

    /// Returns ids that differ in two of their bytes only.
    fn alike(one: usize, other: usize) -> Vec<Digest> {
        let id = |number: u16| {
            let mut id = [7; 32];
            [id[one], id[other]] = number.to_be_bytes();
            Digest(id)
        };
        (0..10_000).map(id).collect()
    }

    #[test]
    fn every_place_of_a_chunk_is_found_in_order_and_nothing_else() {
        for count in [0u32, 1, 3, 4, 7, 8, 9, 100, 1000] {
            // Each twice.
            let ids: Vec<Digest> = (0..2 * count).map(|number| Digest::of(&(number % count).to_be_bytes())).collect();
            let places = chained(&ids);
            for id in ids.iter().chain(&[0, 127, 255].map(|byte| Digest([byte; 32]))) {
                let found: Vec<usize> = places.of(ChunkRef(*id, 1)).map(|(at, _)| at).collect();
                let meant: Vec<usize> = (0..ids.len()).filter(|&at| ids[at] == *id).collect();
                assert_eq!(found, meant);
                assert_eq!(places.of(ChunkRef(*id, 2)).count(), 0, "no chunk of another length");
            }
        }
        assert_eq!(Places::default().of(ChunkRef(Digest([0; 32]), 1)).count(), 0);
    }

    #[test]
    fn ids_that_are_alike_make_no_long_chain() {
        for (one, other) in [(0, 1), (3, 7), (0, 31), (28, 29), (30, 31)] {
            let places = chained(&alike(one, other));
            let length =
                |first: &u32| iter::successors(Some(*first), |at| places.next.get(*at as usize).copied()).count();
            let longest = places.first.iter().map(length).max().expect("there are slots");
            // 10,000 in 8,192 slots: by chance eight or so, more than 100 never.
            assert!(longest < 100, "{longest} for {one} and {other}");
        }
    }

    #[test]
    fn forgotten_places_are_not_found() {
        let ids: Vec<Digest> = (0..100u8).map(|number| Digest::of(&[number])).collect();
        let mut places = chained(&ids);
        places.retain(|place| place.block % 3 == 0);
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(places.of(ChunkRef(*id, 1)).next().is_some(), number % 3 == 0);
        }
    }
}
