//! `snapshots`: lists what a vault holds, and what was declared of records that are gone.

use super::audit::{self, Told};
use crate::clock::Time;
use crate::crypto::Id;
use crate::error::Result;
use crate::format::record::{Body, Counts, Exclusion, Fate, Head, Tombstone};
use crate::path::EntryPath;
use crate::refusal::Kept;
use crate::vault::Finding;
use crate::vault::gate::{self, Access};
use crate::vault::witness::Freshness;

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub number: u64,
    /// When it was complete.
    pub time: Time,
    /// The host that took it.
    pub host: String,
    /// The source, as bytes.
    pub source: Vec<u8>,
    /// How much it holds.
    pub counts: Counts,
    /// The rules that left something out of it, and those of the command.
    pub exclusions: Vec<Exclusion>,
    /// Labels.
    pub tags: Vec<String>,
    /// Files that kept changing and were left out, as allowed.
    pub left_out: Vec<EntryPath>,
}

/// A record that is no snapshot: somebody's word about others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// Its number.
    pub number: u64,
    /// When it was written.
    pub time: Time,
    /// The host that wrote it.
    pub host: String,
    /// Why, in that person's words.
    pub reason: String,
    /// What it says.
    pub says: Says,
}

/// What a record that is no snapshot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// Records are gone; ascending by number.
    Gone {
        /// Those that were removed on purpose.
        removed: Vec<u64>,
        /// Those that the medium destroyed.
        lost: Vec<u64>,
        /// The rule that chose them; empty where a person named them.
        rule: String,
    },
    /// The vault went on from an older head.
    Branch {
        /// The head that it continues.
        continues: Head,
        /// The newest head that was known there, which it leaves behind.
        abandons: Head,
    },
}

impl Says {
    fn gone(tombstone: &Tombstone) -> Self {
        let numbers = |fate| tombstone.gone.iter().filter(|gone| gone.fate == fate).map(|gone| gone.number).collect();
        Self::Gone { removed: numbers(Fate::Removed), lost: numbers(Fate::Lost), rule: tombstone.rule.clone() }
    }
}

/// What a vault holds.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// The head of the chain.
    pub head: Head,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// Every authentic snapshot, ascending.
    pub snapshots: Vec<Line>,
    /// Every other authentic record, ascending.
    pub amendments: Vec<Amendment>,
    /// What is wrong with the chain, its freshness or this host's witness; the listing is complete only without it.
    pub findings: Vec<Finding>,
    /// What should be said besides.
    pub notes: Vec<String>,
    /// What was kept on this host about what was found.
    pub kept: Kept,
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({"snapshot_count": self.snapshots.len(), "finding_count": self.findings.len()})
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        self.kept = kept;
    }
}

/// Lists every authentic record. Findings in the chain are reported, not hidden.
///
/// # Errors
/// What opening the vault refuses.
pub fn run(access: &Access) -> Result<Report> {
    audit::watch_reader(access, "snapshots", || list(access))
}

fn list(access: &Access) -> Result<Report> {
    let mut vault = gate::open(access)?;
    vault.advance_witness(access);
    let snapshots = vault.chain.snapshots().map(|(number, snapshot)| Line {
        number,
        time: snapshot.ended,
        host: snapshot.host.name.clone(),
        source: snapshot.source.clone(),
        counts: snapshot.counts,
        exclusions: snapshot.excluded.clone(),
        tags: snapshot.tags.clone(),
        left_out: snapshot.left_out.clone(),
    });
    let amendments = vault.chain.links().filter_map(|(number, link)| {
        let (time, host, reason, says) = match &link.record.body {
            Body::Snapshot(_) => return None,
            Body::Tombstone(record) => (record.time, &record.host, &record.reason, Says::gone(record)),
            Body::Branch(record) => {
                let says = Says::Branch { continues: record.to, abandons: record.from };
                (record.time, &record.host, &record.reason, says)
            }
        };
        Some(Amendment { number, time, host: host.name.clone(), reason: reason.clone(), says })
    });
    let stale = vault.freshness.finding(&vault.store.describe());
    let findings = vault.chain.findings.iter().cloned().chain(vault.doubt).chain(stale).collect();
    Ok(Report {
        vault: vault.config.vault,
        head: vault.chain.head(),
        snapshots: snapshots.collect(),
        amendments: amendments.collect(),
        freshness: vault.freshness,
        findings,
        notes: vault.notes,
        kept: Kept::default(),
    })
}
