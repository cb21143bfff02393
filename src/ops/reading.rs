//! A vault opened for reading content: kept from removals, with a reader at hand, its listings as entries in path order.

use std::sync::Arc;

use super::select::{self, Selector};
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::format::record::{Counts, Snapshot};
use crate::path::EntryPath;
use crate::pool::Pool;
use crate::progress::Progress;
use crate::refusal::Code;
use crate::store::Lock;
use crate::vault::Finding;
use crate::vault::catalog::UseIndex;
use crate::vault::gate::{self, Access, Vault};
use crate::vault::read::{Entries, Reader};
use crate::vault::reads;

/// An opened vault and what reads from it.
pub(crate) struct Reading {
    pub(crate) vault: Vault,
    pub(crate) reader: Arc<Reader>,
    pub(crate) pool: Pool,
    // Held while anything is read, so that a removal waits.
    _lock: Option<Box<dyn Lock>>,
}

impl Reading {
    /// Opens the vault; writes nothing into it.
    ///
    /// # Errors
    /// What opening the vault refuses; DV404 where a removal is under way; DV110 where the packs cannot be listed.
    pub(crate) fn open(access: &Access) -> Result<Self> {
        Self::open_by(access, UseIndex::Yes)
    }

    /// Opens the vault as [`open`](Self::open) does, asking the index or each pack's own footer.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_by(access: &Access, use_index: UseIndex) -> Result<Self> {
        let vault = gate::open(access)?;
        let lock = gate::read_lock(&*vault.store)?;
        let reader = Arc::new(vault.reader(vault.catalog(use_index)?));
        Ok(Self { vault, reader, pool: Pool::new(), _lock: lock })
    }

    /// Returns the snapshot that a selector names.
    ///
    /// # Errors
    /// As [`select::select`].
    pub(crate) fn select(&self, selector: &Selector) -> Result<(u64, &Snapshot)> {
        select::select(&self.vault, selector)
    }

    /// Returns the path in a snapshot that a person names: see [`meant`].
    pub(crate) fn meant(&self, snapshot: &Snapshot, named: &EntryPath) -> EntryPath {
        meant(&self.reader, &self.pool, snapshot, named)
    }

    /// Returns what should be said besides, in words, and keeps packs that failed a read in mind for later backups.
    pub(crate) fn remarks(&self, access: &Access) -> Vec<String> {
        let mut notes = self.vault.notes.clone();
        if self.reader.index_was_wrong() {
            notes.push("the index was wrong about where content lies; `devvault index rebuild` makes it anew".into());
        }
        let (store, now) = (&*self.vault.store, access.clock.now());
        notes.extend(reads::keep_in_mind(&access.host, &self.vault.macs, store, &self.reader.failed_packs(), now));
        notes
    }

    /// Returns the entries of a snapshot at and below a path.
    pub(crate) fn listing<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        within: &EntryPath,
        progress: &'a dyn Progress,
    ) -> Listing<'a> {
        Listing {
            entries: self.reader.entries_within(&self.pool, &snapshot.lists, within),
            current: Vec::new().into_iter(),
            progress,
            counts: Counts::default(),
            meant: within.is_root().then_some(snapshot.counts),
        }
    }
}

/// Returns the path in a snapshot that a person names: what it reads, or where the snapshot certainly holds nothing there, the
/// one that lists show so.
pub(crate) fn meant(reader: &Arc<Reader>, pool: &Pool, snapshot: &Snapshot, named: &EntryPath) -> EntryPath {
    let holds = |path: &EntryPath| -> Result<bool, Finding> {
        for batch in reader.entries_within(pool, &snapshot.lists, path) {
            if !batch?.entries.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match named.unshown() {
        Some(shown) if holds(named) == Ok(false) && holds(&shown) == Ok(true) => shown,
        _ => named.clone(),
    }
}

/// Yields the entries of a snapshot in path order; after the last one of a whole listing, its counts have matched.
pub(crate) struct Listing<'a> {
    entries: Entries<'a>,
    current: std::vec::IntoIter<Entry>,
    progress: &'a dyn Progress,
    counts: Counts,
    // Taken when it has been compared.
    meant: Option<Counts>,
}

impl Iterator for Listing<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        loop {
            if let Some(entry) = self.current.next() {
                self.counts.add(&entry);
                return Some(Ok(entry));
            }
            if self.progress.interrupted() {
                return Some(Err(Error::Interrupted(None)));
            }
            match self.entries.next() {
                Some(Ok(batch)) => self.current = batch.entries.into_iter(),
                Some(Err(finding)) => return Some(Err(finding.into())),
                None => {
                    let meant = self.meant.take()?;
                    return check_counts(&self.counts, &meant).err().map(|finding| Err(finding.into()));
                }
            }
        }
    }
}

/// Refuses a listing whose entries are not those that its manifest counts.
///
/// # Errors
/// DV108.
pub(crate) fn check_counts(counts: &Counts, meant: &Counts) -> Result<(), Finding> {
    if counts == meant {
        return Ok(());
    }
    let detail = format!("its entries are {counts:?}, its manifest says {meant:?}");
    Err(Finding::new(Code::ListingUnsafe, "the snapshot", detail))
}
