//! `status`: one screen that answers "am I safe?" without reading content.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::attention::{self, Attention, Known};
use super::audit::{self, Told};
use super::key::exported;
use super::orphans::{self, Orphans};
use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::Result;
use crate::format::record::Head;
use crate::fsys::Dir;
use crate::incident::journal::{Entry, Journal};
use crate::incident::registry;
use crate::limits;
use crate::path::EntryPath;
use crate::refusal::Code;
use crate::refusal::Kept;
use crate::vault::Finding;
use crate::vault::catalog::{Catalog, Pack, UseIndex};
use crate::vault::gate::{self, Access};
use crate::vault::layout;
use crate::vault::named::NamedPacks;
use crate::vault::reads::{Reads, copy_of};
use crate::vault::witness::Freshness;

/// A drill that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// When.
    pub time: Time,
    /// Of which snapshot.
    pub snapshot: u64,
    /// What was exercised: `restore` or `clean-machine`.
    pub scenario: String,
    /// How much was restored: `whole` or `sample`.
    pub extent: String,
    /// How long a recovery takes at least, in milliseconds: what was measured, or for a sample what is extrapolated.
    pub recovery_milliseconds: u64,
    /// How long it takes at most; nothing where a sample sets no bound.
    pub recovery_milliseconds_high: Option<u64>,
    /// How that stands to the objective: `met`, `missed`, `exceeded` or, for a sample, `undecided`.
    pub objective: String,
}

/// A drill that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrillFailed {
    /// When.
    pub time: Time,
    /// Whether it was that of a clean machine.
    pub clean_machine: bool,
    /// Whether a damaged copy was to be refused too.
    pub negative: bool,
}

/// A verification of a vault as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// When.
    pub time: Time,
    /// `full`, `quick` or `sample`.
    pub level: String,
    /// `valid` (of a full verification alone), `no-fault-found`, `unstable` or `invalid`.
    pub verdict: String,
    /// Packs that were read completely.
    pub packs_read: u64,
    /// Packs.
    pub packs: u64,
}

/// How long ago this host read what the vault holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Bytes of packs that were read completely and intact within [`PROOF_DAYS`](limits::PROOF_DAYS) days.
    pub bytes_recently: u64,
    /// When the pack that was not read for longest was last read; nothing where one was never read.
    pub oldest: Option<Time>,
}

/// The newest snapshot of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// The name of the host that took it, as it was last.
    pub host: String,
    /// The host's id: hosts may have one name, and a host may get another.
    pub host_id: Id,
    /// The source, as bytes.
    pub source: Vec<u8>,
    /// How many snapshots of it there are.
    pub snapshots: u64,
    /// The number of the newest.
    pub newest: u64,
    /// When the newest was complete.
    pub time: Time,
    /// When the oldest was complete.
    pub first: Time,
    /// The newest drill of a whole snapshot that passed, as far as this host knows.
    pub drilled: Option<Drilled>,
    /// The newest drill of a sample that passed after it: it says nothing of what it did not draw, so that the age of the
    /// whole drill is neither hidden nor refreshed by it.
    pub sampled: Option<Drilled>,
    /// The newest drill that failed and that no whole drill of as much has passed after.
    pub drill_failed: Option<DrillFailed>,
    /// Bytes of content of the newest; a drill of nothing proves nothing, and none is due.
    pub bytes: u64,
    /// What the newest lacks: files that kept changing and were left out, as allowed.
    pub left_out: Vec<EntryPath>,
}

/// How a vault stands.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// Where it lies.
    pub place: String,
    /// The head of the chain.
    pub head: Head,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// Each source, by its newest snapshot.
    pub sources: Vec<SourceLine>,
    /// How many snapshots there are.
    pub snapshots: u64,
    /// Packs, and their bytes.
    pub packs: u64,
    /// Bytes of all packs.
    pub bytes_stored: u64,
    /// The newest verification of the vault as a whole, at this place, as far as this host knows.
    pub verified: Option<Verified>,
    /// When everything was last read and found valid here, in one verification or over some days.
    pub proven: Option<Time>,
    /// How long ago what the vault holds was read.
    pub coverage: Coverage,
    /// Bytes that can still be written, where the system tells.
    pub bytes_free: Option<u64>,
    /// The key's file.
    pub key: PathBuf,
    /// When this host last exported the key; never, as far as it knows, when absent.
    pub key_exported: Option<Time>,
    /// Things that share a device and so would be lost together, in words.
    pub shared_devices: Vec<String>,
    /// What lies in the vault and belongs to no snapshot.
    pub orphans: Orphans,
    /// When this was looked at.
    pub now: Time,
    /// What a person has to see to.
    pub attention: Vec<Attention>,
    /// What is wrong with records, footers and this host's witness; content was not read.
    pub findings: Vec<Finding>,
    /// What should be said besides.
    pub notes: Vec<String>,
    /// What was kept on this host about what was found.
    pub kept: Kept,
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({"head": self.head.to_string(), "finding_count": self.findings.len()})
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        self.kept = kept;
    }
}

/// Looks at a vault without reading content.
///
/// # Errors
/// What opening the vault refuses.
pub fn run(access: &Access) -> Result<Report> {
    audit::watch_reader(access, "status", || look(access))
}

fn look(access: &Access) -> Result<Report> {
    let mut vault = gate::open(access)?;
    vault.advance_witness(access);
    let catalog = vault.catalog(UseIndex::Yes)?;
    let mut sources: Vec<SourceLine> = Vec::new();
    for (number, snapshot) in vault.chain.snapshots() {
        let known = sources.iter_mut().find(|line| line.host_id == snapshot.host.id && line.source == snapshot.source);
        match known {
            Some(line) => {
                line.host.clone_from(&snapshot.host.name);
                line.snapshots += 1;
                line.newest = number;
                line.time = snapshot.ended;
                line.left_out.clone_from(&snapshot.left_out);
                line.bytes = snapshot.counts.bytes;
            }
            None => sources.push(SourceLine {
                host: snapshot.host.name.clone(),
                host_id: snapshot.host.id,
                source: snapshot.source.clone(),
                snapshots: 1,
                newest: number,
                time: snapshot.ended,
                first: snapshot.ended,
                drilled: None,
                sampled: None,
                drill_failed: None,
                bytes: snapshot.counts.bytes,
                left_out: snapshot.left_out.clone(),
            }),
        }
    }
    let mut notes = vault.notes.clone();
    notes.extend(catalog.index.notes());
    let (entries, trouble) = match Journal::of(&access.host).entries() {
        Ok(entries) => (entries, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let mut findings = vault.chain.findings.clone();
    findings.extend(vault.doubt.iter().cloned());
    findings.extend(vault.freshness.finding(&vault.store.describe()));
    findings.extend(catalog.findings.iter().cloned());
    findings.extend(missing_packs(&vault, &catalog));
    let now = access.clock.now();
    let reads = Reads::load(&access.host, &vault.macs, &*vault.store, now);
    findings.extend(catalog.packs().iter().filter_map(|pack| reads.doubt(&pack.name)));
    if let Some(reason) = reads.unsure() {
        notes.push(format!("packs may be damaged that this host does not know of: {reason}; run `devvault verify`"));
    }
    let own = attention::Own {
        entries: &entries,
        vault: vault.config.vault,
        place: &vault.store.describe(),
        copy: copy_of(&*vault.store),
    };
    sources.iter_mut().for_each(|line| own.drills_of(line));
    let coverage = coverage(&catalog, &reads, now);
    let (packs, bytes_stored) =
        (catalog.packs().len() as u64, catalog.packs().iter().map(|pack| pack.length).sum::<u64>());
    let orphans = orphans::find(&vault, Arc::new(catalog), &entries, false)?;
    let bytes_free = vault.store.available_bytes().ok();
    let attention = attention::attention(&Known {
        own: &own,
        trouble,
        unwitnessed: unwitnessed(access, &vault, &entries)?,
        settings: &access.host.settings()?,
        now,
        orphans: &orphans,
        sources: &sources,
        bytes_free: bytes_free.filter(|_| may_be_written(&*vault.store)),
        pack_bytes: vault.config.parameters.pack_bytes,
    });
    Ok(Report {
        vault: vault.config.vault,
        place: vault.store.describe(),
        head: vault.chain.head(),
        freshness: vault.freshness.clone(),
        snapshots: vault.chain.snapshots().count() as u64,
        packs,
        bytes_stored,
        bytes_free,
        key_exported: exported(&access.host, vault.config.vault),
        shared_devices: shared_devices(&vault, &sources),
        verified: own.verified(),
        proven: own.proven(),
        coverage,
        key: vault.key.path.clone(),
        sources,
        orphans,
        now,
        attention,
        findings,
        notes,
        kept: Kept::default(),
    })
}

/// Returns what is wrong with what this host knows of the newest head of a vault, where no witness tells.
fn unwitnessed(access: &Access, vault: &gate::Vault, entries: &[Entry]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    if gate::witness_lost(access, &vault.key, &vault.freshness)? {
        let text = "this host made the key and has no witness of the vault: an older copy cannot be told from the newest, \
                    and every backup is refused: devvault runbook DV316";
        all.push(text.to_owned());
    }
    if vault.freshness == Freshness::Unproven
        && let Some(head) = registry::newest_head(entries, vault.config.vault)
            .filter(|head| !vault.chain.holds(head) && !vault.chain.is_unknown(head.number))
    {
        all.push(format!(
            "this host's journal has head {head} of the vault, which is not in this copy: it is older, or another history: \
             devvault runbook DV313"
        ));
    }
    Ok(all)
}

fn coverage(catalog: &Catalog, reads: &Reads, now: Time) -> Coverage {
    let since = now.seconds.saturating_sub(limits::PROOF_DAYS as i64 * 86_400);
    let read = |pack: &Pack| reads.last(&pack.name);
    let recently = catalog.packs().iter().filter(|pack| read(pack).is_some_and(|last| last.seconds >= since));
    Coverage {
        bytes_recently: recently.map(|pack| pack.length).sum(),
        oldest: catalog.packs().iter().map(read).min().flatten(),
    }
}

/// Returns whether the medium takes writing at all: a copy on one that does not needs no room.
fn may_be_written(store: &dyn crate::store::Store) -> bool {
    store.local_path().is_none_or(|path| Dir::open(path).is_ok_and(|root| root.is_writable()))
}

/// Returns the packs that manifests name and that are not there.
fn missing_packs(vault: &gate::Vault, catalog: &Catalog) -> Vec<Finding> {
    let faulty = catalog.findings.iter().filter_map(|finding| layout::pack_named(&finding.subject));
    let there: BTreeSet<Digest> = catalog.packs().iter().map(|pack| pack.name).chain(faulty).collect();
    let named = NamedPacks::of(&vault.chain, &vault.reader(catalog.clone())).packs;
    let missing = named.into_iter().filter(|(name, _)| !there.contains(name));
    missing
        .map(|(name, naming)| {
            let what = "snapshots name it and it is not there; `verify` tells what that costs";
            let finding = Finding::new(Code::ChunkMissing, layout::pack_path(&name), what);
            Finding { snapshots: naming.snapshots, ..finding }
        })
        .collect()
}

/// Says which of vault, key and sources lie on one device and would be lost with it.
fn shared_devices(vault: &gate::Vault, sources: &[SourceLine]) -> Vec<String> {
    let device = |path: &std::path::Path| Dir::open(path).and_then(|dir| dir.stat()).ok().map(|stat| stat.id.device);
    let Some(of_vault) = vault.store.local_path().and_then(device) else { return Vec::new() };
    let mut shared = Vec::new();
    if vault.key.path.parent().and_then(device) == Some(of_vault) {
        shared.push("the vault and its key lie on one device: export the key to another one".to_owned());
    }
    for line in sources {
        let path = String::from_utf8_lossy(&line.source).into_owned();
        if device(std::path::Path::new(&path)) == Some(of_vault) {
            shared.push(format!(
                "the vault and the source {} lie on one device: a second disk would survive its loss",
                crate::path::shown(&line.source)
            ));
        }
    }
    shared
}
