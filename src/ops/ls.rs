//! `ls`: lists the entries of a snapshot.

use std::sync::Arc;

use super::audit;
use super::select::{self, Place};
use crate::error::{Error, Result, refuse};
use crate::format::entry::Entry;
use crate::pool::Pool;
use crate::progress::Progress;
use crate::refusal::Code;
use crate::vault::catalog::{Catalog, UseIndex};
use crate::vault::gate::{self, Access};
use crate::vault::read::Reader;
use crate::vault::witness::Freshness;
use crate::vault::{layout, read_error};

/// What was listed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The snapshot's number.
    pub snapshot: u64,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// How many entries were handed on.
    pub entries: u64,
}

/// Hands on every entry at and below a place, in path order, as it is read.
///
/// # Errors
/// What opening the vault or selecting the snapshot refuses; DV104, DV105 or DV108 where the listing is not intact;
/// DV210 where there is no such path; whatever `take` returns.
pub fn run(
    access: &Access,
    place: &Place,
    progress: &dyn Progress,
    take: impl FnMut(&Entry) -> Result<()>,
) -> Result<Report> {
    audit::watch_refusals(access, "ls", || list(access, place, progress, take))
}

fn list(
    access: &Access,
    place: &Place,
    progress: &dyn Progress,
    mut take: impl FnMut(&Entry) -> Result<()>,
) -> Result<Report> {
    let vault = gate::open(access)?;
    let _lock = gate::read_lock(&*vault.store)?;
    let (number, snapshot) = select::select(&vault, &place.snapshot)?;
    let catalog = Catalog::load(&*vault.store, &vault.macs, UseIndex::Yes)
        .map_err(|error| read_error(&*vault.store, layout::PACKS, &error))?;
    let reader = Arc::new(Reader::new(Arc::clone(&vault.store), Arc::clone(&vault.macs), Arc::new(catalog)));
    let pool = Pool::new();
    let mut entries = 0;
    for batch in reader.entries_within(&pool, &snapshot.lists, &place.path) {
        if progress.interrupted() {
            return Err(Error::Interrupted(None));
        }
        for entry in &batch?.entries {
            entries += 1;
            take(entry)?;
        }
    }
    if entries == 0 {
        return refuse(Code::SelectionEmpty, format!("snapshot {number} holds no {}", place.path));
    }
    Ok(Report { snapshot: number, freshness: vault.freshness, entries })
}
