//! `index rebuild`: makes the index anew from the packs themselves.

use std::collections::HashSet;
use std::sync::Arc;

use super::audit::{self, Told};
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result};
use crate::limits;
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::catalog::{self, Catalog, NotRebuilt, Rebuilt, UseIndex};
use crate::vault::gate::{self, Access, Vault};
use crate::vault::layout;
use crate::vault::named::NamedPacks;

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
/// DV501 where a footer does not authenticate or the index lists a pack that a snapshot relies on and that is gone (the old
/// index stays as it is then), or where the index cannot be written; what
/// opening for writing refuses.
pub fn run(access: &Access) -> Result<Report> {
    audit::watch(access, "index rebuild", || rebuild(access))
}

fn rebuild(access: &Access) -> Result<Report> {
    let (vault, _lock) = gate::open_for_writing(access)?;
    let store = &*vault.store;
    let catalog = vault.catalog(UseIndex::Yes)?;
    let old = catalog.index.ignored.clone();
    if catalog.index.absent > 0 {
        keep_what_tells_of_a_loss(&vault, catalog)?;
    }
    let rebuilt =
        catalog::rebuild_index(store, &vault.macs).map_err(|reason| not_rebuilt(&store.describe(), reason))?;
    Ok(Report { vault: vault.config.vault, rebuilt, old, notes: Vec::new() })
}

/// Refuses where the index lists packs that are gone and that snapshots rely on, or may: it may be the only record of what they
/// held.
fn keep_what_tells_of_a_loss(vault: &Vault, catalog: Catalog) -> Result<()> {
    let catalog = Arc::new(catalog);
    let named = NamedPacks::of(&vault.chain, &vault.reader(Arc::clone(&catalog)));
    let there: HashSet<&Digest> = catalog.packs().iter().map(|pack| &pack.name).collect();
    let lost: Vec<_> = named.packs.iter().filter(|(pack, _)| !there.contains(pack)).collect();
    if lost.is_empty() && named.complete {
        return Ok(());
    }
    let message = format!(
        "the index lists {} pack(s) that are gone, and snapshots rely on {}; the old index stays as it is",
        catalog.index.absent,
        if lost.is_empty() { "some perhaps".to_owned() } else { format!("{} that are", lost.len()) }
    );
    let mut refusal = Refusal::new(Code::IndexNotRebuilt, message);
    for (pack, naming) in lost.iter().take(limits::SHOWN_PATHS_MAX) {
        let numbers: Vec<String> = naming.snapshots.iter().map(u64::to_string).collect();
        let path = layout::pack_path(pack);
        refusal.causes.push(format!("{} {path}: gone; snapshot(s) {}", Code::ChunkMissing, numbers.join(", ")));
    }
    if !named.complete {
        refusal.causes.push("not every snapshot can be asked which packs it relies on".into());
    }
    Err(refusal.next(format!("run `devvault verify`; see {} first", Code::ChunkMissing)).into())
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
