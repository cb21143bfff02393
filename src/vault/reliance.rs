//! Reliance on older packs: a writer leaves a chunk out only where a pack that stands up to a look in this run has it.
//!
//! Invariants: before the first chunk is left out because of a pack, the pack's own footer, or all of the pack, was read
//! in this run and agreed with the catalog; a pack that failed a read, of this process or another one of this host, is relied
//! on no more. Where one fails that was relied on already, the run must start over: [`Reliance::must_start_over`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::{Catalog, Pack, read_footer};
use super::check::{PackCheck, check_pack};
use super::reads::Recall;
use super::{Finding, layout};
use crate::clock::Time;
use crate::crypto::{Digest, Macs};
use crate::format::entry::ChunkRef;
use crate::format::record::PackUse;
use crate::pool::Pool;
use crate::store::Store;

/// How closely a pack is looked at before it is relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Its own footer is read and authenticated; it must be the one by which chunks are looked up.
    Footer,
    /// All of it is read, decoded and hashed.
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing was asked of it yet.
    Unasked,
    /// Chunks are left out because of it.
    Relied,
    /// It failed; nothing is left out because of it.
    Failed,
}

/// The older packs of a vault, and what may be left out because of them.
pub struct Reliance {
    store: Arc<dyn Store>,
    macs: Arc<Macs>,
    catalog: Arc<Catalog>,
    look: Look,
    pool: Pool,
    now: Time,
    // When each pack was last read completely, by name.
    read: BTreeMap<Digest, Time>,
    packs: Vec<Standing>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    late: bool,
    recall: Option<Recall>,
}

/// Why a pack does not stand up to a look.
enum Fault {
    Pack(Finding),
    Index,
}

impl From<Finding> for Fault {
    fn from(finding: Finding) -> Self {
        Self::Pack(finding)
    }
}

impl Reliance {
    /// Begins with nothing relied on. `read` says when packs were last read completely, as far as manifests tell.
    pub fn new(
        store: Arc<dyn Store>,
        macs: Arc<Macs>,
        catalog: Arc<Catalog>,
        look: Look,
        pool: Pool,
        now: Time,
        read: BTreeMap<Digest, Time>,
    ) -> Self {
        let packs = vec![Standing::Unasked; catalog.packs().len()];
        Self {
            store,
            macs,
            catalog,
            look,
            pool,
            now,
            read,
            packs,
            findings: Vec::new(),
            notes: Vec::new(),
            late: false,
            recall: None,
        }
    }

    /// Asks also what other processes of this host find meanwhile.
    #[must_use]
    pub fn recalling(self, recall: Recall) -> Self {
        Self { recall: Some(recall), ..self }
    }

    /// Returns the catalog by which chunks are looked up.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Returns whether a chunk may be left out, because a pack that stands up to a look has it.
    pub fn holds(&mut self, chunk: ChunkRef) -> bool {
        let catalog = Arc::clone(&self.catalog);
        catalog.places(chunk).any(|place| self.stands(catalog.block(place.block).pack as usize))
    }

    fn stands(&mut self, pack: usize) -> bool {
        if self.packs[pack] == Standing::Unasked {
            let asked = self.catalog.packs()[pack];
            self.packs[pack] = match self.look_at(&asked) {
                Ok(()) => Standing::Relied,
                Err(Fault::Pack(finding)) => {
                    self.findings.push(finding);
                    Standing::Failed
                }
                Err(Fault::Index) => {
                    self.notes.push(format!(
                        "the index gives {} another footer than it has; none of it is relied on; \
                        `devvault index rebuild` makes the index anew",
                        layout::pack_path(&asked.name)
                    ));
                    Standing::Failed
                }
            };
        }
        self.packs[pack] == Standing::Relied
    }

    fn look_at(&mut self, pack: &Pack) -> Result<(), Fault> {
        if self.look == Look::Whole {
            let check = check_pack(&*self.store, &self.macs, &pack.name, &self.pool, &mut |_| {})
                .and_then(PackCheck::intact)?;
            if pack.table.is_some() && pack.table != check.table {
                return Err(Fault::Index);
            }
            self.read.insert(pack.name, self.now);
            return Ok(());
        }
        // Without the index the catalog was made from the footer itself.
        let Some(table) = pack.table else { return Ok(()) };
        let footer = read_footer(&*self.store, &self.macs, &layout::pack_path(&pack.name))?;
        if Digest::of(&footer.encode_table()) == table { Ok(()) } else { Err(Fault::Index) }
    }

    /// Relies on a pack no more: it failed a read.
    pub fn distrust(&mut self, finding: Finding, pack: &Digest) {
        let Some(at) = self.catalog.packs().iter().position(|known| known.name == *pack) else { return };
        if self.packs[at] == Standing::Failed {
            return;
        }
        self.late |= self.packs[at] == Standing::Relied;
        self.packs[at] = Standing::Failed;
        self.findings.push(finding);
    }

    /// Relies no more on packs that other processes of this host found to be damaged since the run began.
    pub fn recall(&mut self) {
        for (pack, finding) in self.recall.as_ref().map(Recall::failed_since).unwrap_or_default() {
            self.distrust(finding, &pack);
        }
    }

    /// Returns whether a pack failed after chunks had been left out because of it.
    pub fn must_start_over(&self) -> bool {
        self.late
    }

    /// Returns the packs that failed.
    pub fn failed(&self) -> impl Iterator<Item = Digest> {
        self.standing(Standing::Failed).map(|pack| pack.name)
    }

    /// Returns the packs that are relied on, with when each was last read completely.
    pub fn relied_on(&self) -> impl Iterator<Item = PackUse> {
        self.standing(Standing::Relied)
            .map(|pack| PackUse(pack.name, pack.length, self.read.get(&pack.name).copied().unwrap_or_default()))
    }

    fn standing(&self, wanted: Standing) -> impl Iterator<Item = &Pack> {
        self.catalog
            .packs()
            .iter()
            .zip(&self.packs)
            .filter(move |(_, standing)| **standing == wanted)
            .map(|(pack, _)| pack)
    }

    /// Returns what was wrong with packs.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns what should be said besides, in words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the catalog without the places that failed.
    pub fn vouched_catalog(&self) -> Catalog {
        let mut catalog = Catalog::clone(&self.catalog);
        for pack in self.failed() {
            catalog.distrust(&pack);
        }
        catalog
    }
}
