//! `ls`: lists the entries of a snapshot.

use super::audit;
use super::reading::Reading;
use super::select::Place;
use crate::error::{Result, refuse};
use crate::format::entry::Entry;
use crate::progress::Progress;
use crate::refusal::Code;
use crate::vault::gate::Access;
use crate::vault::witness::Freshness;

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
    let reading = Reading::open(access)?;
    let (number, snapshot) = reading.select(&place.snapshot)?;
    let mut entries = 0;
    let path = reading.meant(snapshot, &place.path);
    for entry in reading.listing(snapshot, &path, progress) {
        take(&entry?)?;
        entries += 1;
    }
    if entries == 0 {
        return refuse(Code::SelectionEmpty, format!("snapshot {number} holds no {path}"));
    }
    Ok(Report { snapshot: number, freshness: reading.vault.freshness, entries })
}
