//! Which packs the snapshots of a chain name.
//!
//! A pack that no snapshot names is what an interrupted run left; one that is named and not there is a loss. Both can be
//! told only where every snapshot could be asked: see [`NamedPacks::complete`].

use std::collections::BTreeMap;

use super::chain::Chain;
use super::read::Reader;
use crate::clock::Time;
use crate::crypto::Digest;

/// What snapshots say of one pack.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Naming {
    /// Its length, in bytes.
    pub bytes: u64,
    /// The snapshots that rely on it, ascending.
    pub snapshots: Vec<u64>,
    /// When all of it had last been read and was intact, as the newest word on it says.
    pub last_read: Time,
}

/// The packs that snapshots name.
#[derive(Debug, Default, Clone)]
pub struct NamedPacks {
    /// By name.
    pub packs: BTreeMap<Digest, Naming>,
    /// Whether every record authenticates and every list of packs could be read; else others may be named too.
    pub complete: bool,
}

impl NamedPacks {
    /// Asks every snapshot of a chain that authenticates.
    pub fn of(chain: &Chain, reader: &Reader) -> Self {
        let mut named = Self { packs: BTreeMap::new(), complete: chain.findings.is_empty() };
        for (number, snapshot) in chain.snapshots() {
            let Ok(packs) = reader.packs(snapshot) else {
                named.complete = false;
                continue;
            };
            for pack in packs {
                let naming = named.packs.entry(pack.0).or_default();
                naming.bytes = pack.1;
                naming.snapshots.push(number);
                naming.last_read = naming.last_read.max(pack.2);
            }
        }
        named
    }
}
