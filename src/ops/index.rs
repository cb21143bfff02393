//! `index rebuild`: makes the index anew from the packs themselves.

use std::sync::Arc;

use crate::crypto::Id;
use crate::error::{Error, Result};
use crate::format::index::IndexedPack;
use crate::refusal::{Code, Refusal};
use crate::vault::catalog::{Catalog, UseIndex, read_footer};
use crate::vault::gate::{self, Access};
use crate::vault::write::replace_index;
use crate::vault::{layout, read_error};

/// What `index rebuild` did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// How many packs the new index lists.
    pub packs: u64,
    /// How many chunks lie in them.
    pub chunks: u64,
    /// How many index files it replaced.
    pub replaced: u64,
    /// What was wrong with the old index, in words.
    pub old: Vec<String>,
}

/// Reads the footer of every pack, authenticates it, and replaces the index.
///
/// # Errors
/// DV501 where a footer does not authenticate (the old index stays as it is) or the index cannot be written; what
/// opening for writing refuses.
pub fn run(access: &Access) -> Result<Report> {
    let (vault, _lock) = gate::open_for_writing(access)?;
    let store = Arc::clone(&vault.store);
    let listed = |error| read_error(&*store, layout::PACKS, &error);
    let old = Catalog::load(&*store, &vault.macs, UseIndex::Yes).map_err(listed)?.index.ignored;
    let catalog = Catalog::load(&*store, &vault.macs, UseIndex::No).map_err(listed)?;
    if let Some(finding) = catalog.findings.first() {
        let message =
            format!("{} pack(s) do not vouch for what they hold; the old index stays as it is", catalog.findings.len());
        let mut refusal = Refusal::new(Code::IndexNotRebuilt, message);
        refusal.causes.extend(
            catalog.findings.iter().map(|finding| format!("{} {}: {}", finding.code, finding.subject, finding.detail)),
        );
        return Err(refusal.next(format!("run `devvault verify`; see {} first", finding.code)).into());
    }
    let footer = |name| read_footer(&*store, &vault.macs, &layout::pack_path(&name));
    let packs: Vec<IndexedPack> = catalog
        .packs()
        .iter()
        .map(|pack| Ok(IndexedPack { name: pack.name, length: pack.length, footer: footer(pack.name)? }))
        .collect::<Result<_>>()?;
    let replaced = replace_index(&*store, &vault.macs, &packs).map_err(|error| {
        Error::from(
            Refusal::new(Code::IndexNotRebuilt, format!("the index in {} cannot be written", store.describe()))
                .cause(error),
        )
    })?;
    Ok(Report {
        vault: vault.config.vault,
        packs: packs.len() as u64,
        chunks: packs.iter().flat_map(|pack| &pack.footer.blocks).map(|block| block.chunks.len() as u64).sum(),
        replaced,
        old,
    })
}
