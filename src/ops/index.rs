//! `index rebuild`: makes the index anew from the packs themselves.

use super::audit::{self, Told};
use crate::crypto::Id;
use crate::error::{Error, Result};
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::catalog::{self, NotRebuilt, Rebuilt, UseIndex};
use crate::vault::gate::{self, Access};

/// What `index rebuild` did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// What the new index holds.
    pub rebuilt: Rebuilt,
    /// What was wrong with the old index, in words.
    pub old: Vec<String>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({"packs": self.rebuilt.packs, "chunks": self.rebuilt.chunks})
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Reads the footer of every pack, authenticates it, and replaces the index.
///
/// # Errors
/// DV501 where a footer does not authenticate (the old index stays as it is) or the index cannot be written; what
/// opening for writing refuses.
pub fn run(access: &Access) -> Result<Report> {
    audit::watch(access, "index rebuild", || rebuild(access))
}

fn rebuild(access: &Access) -> Result<Report> {
    let (vault, _lock) = gate::open_for_writing(access)?;
    let store = &*vault.store;
    let old = vault.catalog(UseIndex::Yes)?.index.ignored;
    let rebuilt =
        catalog::rebuild_index(store, &vault.macs).map_err(|reason| not_rebuilt(&store.describe(), reason))?;
    Ok(Report { vault: vault.config.vault, rebuilt, old, notes: Vec::new() })
}

fn not_rebuilt(place: &str, reason: NotRebuilt) -> Error {
    match reason {
        NotRebuilt::Medium(error) => {
            Refusal::new(Code::IndexNotRebuilt, format!("the index in {place} cannot be written")).cause(error).into()
        }
        NotRebuilt::Findings(findings) => {
            let message =
                format!("{} pack(s) do not vouch for what they hold; the old index stays as it is", findings.len());
            let mut refusal = Refusal::new(Code::IndexNotRebuilt, message);
            for finding in &findings {
                refusal.causes.push(format!("{} {}: {}", finding.code, finding.subject, finding.detail));
            }
            let first = findings.first().map_or(Code::IndexNotRebuilt, |finding| finding.code);
            refusal.next(format!("run `devvault verify`; see {first} first")).into()
        }
    }
}
