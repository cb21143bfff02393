//! `branch`: goes on with an older copy of a vault, under a break-glass permit, knowing what is left behind.

use serde_json::{Value, json};

use super::audit::{self, Told};
use crate::crypto::Id;
use crate::error::{Error, Result, refuse};
use crate::format::record::{Body, Branch, Head};
use crate::incident::break_glass::{self, Act, Target};
use crate::incident::journal::bounded;
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::chain::Chain;
use crate::vault::gate::{self, Access, Vault};
use crate::vault::witness::{self, Freshness};
use crate::vault::{amend, layout, read_error};

/// What was begun.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// The id of the branch.
    pub branch: Id,
    /// The head that it continues.
    pub continues: Head,
    /// The head that it leaves behind.
    pub abandons: Head,
    /// The new head.
    pub head: Head,
    /// The declaration that permitted it.
    pub permit: String,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Report {
    fn told(&self) -> Value {
        json!({
            "branch": self.branch.to_string(),
            "continues": self.continues.to_string(),
            "abandons": self.abandons.to_string(),
            "head": self.head.to_string(),
            "permit": self.permit,
        })
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Writes a branch record after the newest record of this copy of the vault.
///
/// # Errors
/// DV707 where this copy is as new as this host has seen; DV704 to DV708 without a permit for exactly this copy's head;
/// any finding in the chain; what opening and writing refuse.
pub fn run(access: &Access, reason: &str) -> Result<Report> {
    audit::watch(access, "branch", || begin(access, reason))
}

fn begin(access: &Access, reason: &str) -> Result<Report> {
    if reason.trim().is_empty() {
        return refuse(Code::DeclarationUnfit, "a branch needs a reason");
    }
    let (seen, to) = left_behind(&gate::open(access)?)?;
    let vault_id = gate::find(access)?.macs.vault();
    let now = access.clock.now();
    let permit = break_glass::grant(&access.host, now, Act::Branch, vault_id, Target::Head(to))?;
    let declaration = permit.declaration().to_owned();
    let (vault, lock) = gate::open_to_amend(access, &permit)?;
    // What was permitted is what is continued: nobody wrote meanwhile.
    if left_behind(&vault)? != (seen, to) {
        return refuse(Code::PermitOutOfScope, format!("the vault's head is no longer {to}"));
    }
    let branch = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
    let host = access.host.identity()?;
    let body = Body::Branch(Branch { branch, from: seen, host, reason: bounded(reason), time: now, to });
    let head = amend::publish(&vault, &lock, to.number + 1, to.digest, body, &[permit])?;
    let mut notes = Vec::new();
    notes.extend(follow(access, &vault));
    notes.push("other hosts that saw the newer records refuse this copy, unless the newest they saw is the head that was left behind".into());
    Ok(Report { vault: vault.config.vault, branch, continues: to, abandons: seen, head, permit: declaration, notes })
}

/// Returns the newest head that this host saw and the head of this older, sound copy.
fn left_behind(vault: &Vault) -> Result<(Head, Head)> {
    if let Some(finding) = vault.chain.findings.first().or(vault.doubt.as_ref()) {
        return Err(finding.clone().into());
    }
    match &vault.freshness {
        Freshness::Behind { seen, .. } => Ok((*seen, vault.chain.head())),
        Freshness::Proven | Freshness::Unproven | Freshness::Looked { .. } => Err(Refusal::new(
            Code::PermitOutOfScope,
            "this copy of the vault lacks nothing that this host has seen: there is nothing to leave behind",
        )
        .next("back up as usual; where the witness is lost: `--expect-head HEAD`")
        .into()),
    }
}

/// Lets this host's witness follow the chain as it is now. Returns what stood against it, in words.
pub(super) fn follow(access: &Access, vault: &Vault) -> Option<String> {
    let chain = Chain::read(&*vault.store, &vault.macs, Some(vault.config_digest))
        .map_err(|error| Error::from(read_error(&*vault.store, layout::SNAPSHOTS, &error)));
    let advanced = chain.and_then(|chain| match chain.findings.first() {
        Some(finding) => Err(finding.clone().into()),
        None => witness::advance(&access.host, &vault.macs, &chain, witness::By::Looking, access.clock.now()),
    });
    advanced.err().map(|error| format!("the record is published, but the witness does not follow it: {error}"))
}
