//! Doubts: the packs of a vault that failed a read on this host, kept outside the vault.
//!
//! Invariants: a pack stays in doubt until all of it has been read and was intact; a writer leaves out nothing because
//! of a pack in doubt. Losing the file costs only this memory: what fails again is found again. Other hosts do not see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Finding, layout, sealed};
use crate::clock::Time;
use crate::crypto::{Digest, Domain, Id, Macs};
use crate::error::Result;
use crate::host::Host;
use crate::limits;
use crate::refusal::Code;

/// Longest reason that is kept, in characters.
const DETAIL_CHARACTERS_MAX: usize = 300;

/// A pack that failed a read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Doubt {
    code: String,
    detail: String,
    pack: Digest,
    seen: Time,
}

/// What a host remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Doubts {
    /// More packs failed than are listed.
    more: bool,
    packs: Vec<Doubt>,
    vault: Id,
}

/// Which packs failed a read.
#[derive(Debug, Default)]
pub struct Known {
    /// What was found first in each, ascending by name.
    pub packs: BTreeMap<Digest, Finding>,
    /// Why the list may lack packs, in words.
    pub incomplete: Option<String>,
}

/// Returns the packs that failed a read on this host. A list that cannot be trusted is an incomplete one.
pub fn read(host: &Host, macs: &Macs) -> Known {
    let path = host.doubts_path(macs.vault());
    match sealed::read::<Doubts>(&path, macs, Domain::Doubts) {
        Ok(None) => Known::default(),
        Ok(Some(doubts)) if doubts.vault == macs.vault() => Known {
            packs: doubts.packs.into_iter().map(|doubt| (doubt.pack, finding(&doubt))).collect(),
            incomplete: doubts.more.then(|| "more packs failed a read than this host remembers".into()),
        },
        Ok(Some(_)) => Known { incomplete: Some("it is another vault's".into()), ..Known::default() },
        Err(reason) => {
            let reason = format!("{} cannot be trusted: {reason}", crate::error::shown_path(&path));
            Known { incomplete: Some(reason), ..Known::default() }
        }
    }
}

fn finding(doubt: &Doubt) -> Finding {
    let code = Code::parse(&doubt.code).unwrap_or(Code::PackDamaged);
    let detail = format!("it failed a read on this host on {}: {}", doubt.seen.rfc3339(), doubt.detail);
    Finding::new(code, layout::pack_path(&doubt.pack), detail)
}

/// Which packs were read completely and are intact.
#[derive(Debug, Clone, Copy)]
pub enum Intact<'a> {
    /// These.
    Only(&'a [Digest]),
    /// Every pack of the vault but those that failed.
    AllOthers,
}

/// Remembers packs that failed, and forgets those that were read completely and are intact.
///
/// # Errors
/// DV410 where the state directory cannot be written.
pub fn remember(
    host: &Host,
    macs: &Macs,
    failed: &BTreeMap<Digest, Finding>,
    intact: Intact<'_>,
    now: Time,
) -> Result<()> {
    let path = host.doubts_path(macs.vault());
    if failed.is_empty() && !path.exists() {
        return Ok(());
    }
    let _lock = sealed::lock(host, &path)?;
    let old = sealed::read::<Doubts>(&path, macs, Domain::Doubts);
    let mut packs = BTreeMap::new();
    let mut more = false;
    if let Intact::Only(intact) = intact {
        let old = old.as_ref().map(Option::as_ref);
        // A list that cannot be trusted may have named any pack.
        more = old.map_or(true, |old| old.is_some_and(|old| old.more));
        let kept = old.ok().flatten().into_iter().flat_map(|old| &old.packs);
        packs.extend(kept.filter(|doubt| !intact.contains(&doubt.pack)).map(|doubt| (doubt.pack, doubt.clone())));
    }
    for (name, finding) in failed {
        let detail = finding.detail.chars().take(DETAIL_CHARACTERS_MAX).collect();
        packs.entry(*name).or_insert(Doubt { code: finding.code.to_string(), detail, pack: *name, seen: now });
    }
    more |= packs.len() > limits::DOUBTS_MAX;
    let doubts = Doubts { more, packs: packs.into_values().take(limits::DOUBTS_MAX).collect(), vault: macs.vault() };
    if old.is_ok_and(|old| old.as_ref() == Some(&doubts)) {
        return Ok(());
    }
    sealed::write(&path, macs, Domain::Doubts, &doubts)
}
