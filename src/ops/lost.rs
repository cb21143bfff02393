//! `declare-lost`: records, under break-glass permits, that the medium destroyed records, so that the vault goes on.
//!
//! Nothing is removed: what is left of the records stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::audit::{self, Told};
use super::branch::follow;
use crate::crypto::{Digest, Id};
use crate::error::{Result, refuse};
use crate::format::record::{Body, Fate, Gone, Head, Tombstone};
use crate::incident::break_glass::{self, Act, Permit, Target};
use crate::incident::journal::bounded;
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::chain::UNKNOWN;
use crate::vault::gate::{self, Access, Vault};
use crate::vault::witness::{self, Witness};
use crate::vault::{amend, layout};

/// How many numbers one tombstone may declare lost.
const NUMBERS_MAX: usize = 1_000;

/// What was recorded.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// The numbers that are lost.
    pub lost: Vec<u64>,
    /// The new head: the tombstone.
    pub head: Head,
    /// The declarations that permitted it.
    pub permits: Vec<String>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Report {
    fn told(&self) -> Value {
        json!({"lost": self.lost, "head": self.head.to_string(), "permits": self.permits})
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Writes a tombstone that declares these records lost, under the number after the highest that was ever seen.
///
/// # Errors
/// DV707 where a number is sound, never was, or is not all that is missing; DV704 to DV708 without a permit for each
/// number; what opening and writing refuse.
pub fn run(access: &Access, numbers: &[u64], reason: &str) -> Result<Report> {
    audit::watch(access, "declare lost", || declare(access, numbers, reason))
}

fn declare(access: &Access, numbers: &[u64], reason: &str) -> Result<Report> {
    if reason.trim().is_empty() {
        return refuse(Code::DeclarationUnfit, "a declaration of loss needs a reason");
    }
    let wanted: BTreeSet<u64> = numbers.iter().copied().collect();
    let vault = gate::open(access)?;
    check(access, &vault, &wanted)?;
    let now = access.clock.now();
    let grant =
        |&number: &u64| break_glass::grant(&access.host, now, Act::Lost, vault.config.vault, Target::Number(number));
    let permits: Vec<Permit> = wanted.iter().map(grant).collect::<Result<_>>()?;
    let Some(first) = permits.first() else { return refuse(Code::PermitOutOfScope, "no number is named") };
    let names = permits.iter().map(|permit| permit.declaration().to_owned()).collect();
    let (vault, lock) = gate::open_to_amend(access, first)?;
    let plan = check(access, &vault, &wanted)?;
    let host = access.host.identity()?;
    let gone = wanted
        .iter()
        .map(|&number| Gone { digest: plan.digests.get(&number).copied(), fate: Fate::Lost, number })
        .collect();
    let tombstone = Tombstone { gone, host, reason: bounded(reason), rule: String::new(), time: now };
    let head = amend::publish(&vault, &lock, plan.number, plan.predecessor, Body::Tombstone(tombstone), &permits)?;
    let mut notes: Vec<String> = follow(access, &vault).into_iter().collect();
    notes.push("nothing was removed: what is left of these records and their packs stays in the vault".into());
    Ok(Report { vault: vault.config.vault, lost: wanted.into_iter().collect(), head, permits: names, notes })
}

/// What to do where nothing that is named is lost. No permit makes it so.
const KEEP: &str =
    "declare nothing: `devvault verify` names the records that are lost, and no permit makes another one so";

/// What the tombstone will say.
struct Plan {
    number: u64,
    predecessor: Digest,
    digests: BTreeMap<u64, Digest>,
}

/// Makes sure that exactly what is missing is named: nothing sound, and nothing left out.
fn check(access: &Access, vault: &Vault, wanted: &BTreeSet<u64>) -> Result<Plan> {
    if let Some(doubt) = &vault.doubt {
        return Err(doubt.clone().into());
    }
    let out = |message: String| Refusal::new(Code::PermitOutOfScope, message);
    let witness = witness::read(&access.host, &vault.macs)?;
    let chain = &vault.chain;
    let faulty = chain.findings.iter().flat_map(|finding| finding.snapshots.iter().copied()).max().unwrap_or(0);
    let seen = witness.as_ref().and_then(|witness| witness.heads.last()).map_or(0, |head| head.number);
    let highest = chain.head().number.max(faulty).max(seen);
    let sound: BTreeSet<u64> = chain.links().map(|(number, _)| number).collect();
    let settled = |number: &u64| sound.contains(number) || chain.gone(*number).is_some();
    let missing: BTreeSet<u64> = (1..=highest).filter(|number| !settled(number)).take(NUMBERS_MAX + 1).collect();
    if missing.len() > NUMBERS_MAX {
        return Err(out(format!("more than {NUMBERS_MAX} records are missing: this is no loss of records"))
            .next("look for a newer copy of the vault: `devvault runbook DV313`")
            .into());
    }
    if wanted.is_empty() || wanted.len() > NUMBERS_MAX {
        return Err(out("no record is named, or too many".into()).next(KEEP).into());
    }
    if let Some(number) = wanted.iter().find(|number| !missing.contains(number)) {
        return Err(out(format!("record {number} is not lost: it is there, is gone already, or never was"))
            .next(KEEP)
            .into());
    }
    if let Some(number) = missing.iter().find(|number| !wanted.contains(number)) {
        return Err(out(format!("record {number} is missing too: without it the chain stays broken"))
            .next(format!("declare every record that is missing, with a permit for each: {}", listed(&missing)))
            .into());
    }
    // What stands against sound records is no loss and stays a refusal.
    if let Some(finding) =
        chain.findings.iter().find(|finding| finding.snapshots.iter().all(|number| sound.contains(number)))
    {
        return Err(finding.clone().into());
    }
    if seen > 0 && !witnessed(vault, witness.as_ref(), wanted) {
        return Err(out(
            "the chain lacks more than these records: it continues differently from what this host has seen".into(),
        )
        .next("this is another history of the vault and no loss of records: read `devvault runbook DV314`")
        .into());
    }
    let digests: BTreeMap<u64, Digest> =
        wanted.iter().filter_map(|&number| Some((number, digest_of(vault, witness.as_ref(), number)?))).collect();
    let predecessor = chain.digest(highest).or_else(|| digests.get(&highest).copied()).unwrap_or(UNKNOWN);
    let number = highest + 1;
    debug_assert!(!wanted.contains(&number), "a number is never used twice: {}", layout::record_directory(number));
    Ok(Plan { number, predecessor, digests })
}

fn listed(numbers: &BTreeSet<u64>) -> String {
    numbers.iter().take(20).map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// Returns the digest of a record that is lost, as its successor or this host's witness names it.
fn digest_of(vault: &Vault, witness: Option<&Witness>, number: u64) -> Option<Digest> {
    let successor =
        vault.chain.links().find(|(other, _)| *other == number + 1).map(|(_, link)| link.record.predecessor);
    let seen = || witness?.heads.iter().find(|head| head.number == number).map(|head| head.digest);
    successor.or_else(seen)
}

/// Returns whether every head that this host saw is there, or is one of those that are lost.
fn witnessed(vault: &Vault, witness: Option<&Witness>, wanted: &BTreeSet<u64>) -> bool {
    let Some(witness) = witness else { return true };
    witness.heads.last().is_none_or(|head| {
        wanted.contains(&head.number)
            || vault.chain.holds(head)
            || vault.chain.branches().any(|branch| branch.from == *head)
    }) && witness.heads.iter().all(|head| wanted.contains(&head.number) || vault.chain.agrees_with(head))
}
