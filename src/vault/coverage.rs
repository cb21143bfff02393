//! Coverage: when this host last read each pack of a vault completely and found it intact.
//!
//! It tells a rolling verification what to read next, and everybody how old the proof is. It lies outside the vault and
//! is authenticated by the vault's key; what cannot be trusted counts as never read. A pack's own manifests say when the
//! writer read it back, which counts too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sealed;
use crate::clock::Time;
use crate::crypto::{Digest, Domain, Id, Macs};
use crate::error::Result;
use crate::host::Host;

/// A pack and when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LastRead(Digest, Time);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    packs: Vec<LastRead>,
    vault: Id,
}

/// When each pack was last read completely and found intact.
#[derive(Debug, Default)]
pub struct Coverage {
    read: BTreeMap<Digest, Time>,
    /// Why what this host remembers was not used, in words.
    pub ignored: Option<String>,
}

impl Coverage {
    /// Reads what this host remembers of a vault.
    pub fn read(host: &Host, macs: &Macs) -> Self {
        let path = host.coverage_path(macs.vault());
        let because = |reason: &str| format!("{} cannot be trusted: {reason}", crate::error::shown_path(&path));
        match sealed::read::<Stored>(&path, macs, Domain::Coverage) {
            Ok(None) => Self::default(),
            Ok(Some(stored)) if stored.vault == macs.vault() => {
                Self { read: stored.packs.iter().map(|pack| (pack.0, pack.1)).collect(), ignored: None }
            }
            Ok(Some(_)) => Self { ignored: Some(because("it is another vault's")), ..Self::default() },
            Err(reason) => Self { ignored: Some(because(&reason)), ..Self::default() },
        }
    }

    /// Returns when a pack was last read, if ever.
    pub fn last(&self, pack: &Digest) -> Option<Time> {
        self.read.get(pack).copied()
    }

    /// Notes that all of a pack was read and is intact; time never runs backwards here.
    pub fn note(&mut self, pack: Digest, now: Time) {
        let known = self.read.entry(pack).or_insert(now);
        *known = (*known).max(now);
    }

    /// Forgets that a pack was read: it failed.
    pub fn forget(&mut self, pack: &Digest) {
        self.read.remove(pack);
    }

    /// Keeps only these packs.
    pub fn retain(&mut self, keep: impl Fn(&Digest) -> bool) {
        self.read.retain(|pack, _| keep(pack));
    }

    /// Writes it, replacing what is there.
    ///
    /// # Errors
    /// DV410 where the state directory cannot be written.
    pub fn save(&self, host: &Host, macs: &Macs) -> Result<()> {
        let path = host.coverage_path(macs.vault());
        let _lock = sealed::lock(host, &path)?;
        let packs = self.read.iter().map(|(pack, time)| LastRead(*pack, *time)).collect();
        sealed::write(&path, macs, Domain::Coverage, &Stored { packs, vault: macs.vault() })
    }
}
