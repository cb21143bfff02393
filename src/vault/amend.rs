//! Amending the chain: records that are no snapshots, written only under a permit.
//!
//! Invariants: a branch record and a declaration of loss are published like a snapshot, durable and read back before
//! one rename; neither removes or changes anything; without a permit for exactly what it says, none is written.

use super::gate::{Vault, WriteLock};
use super::{commit, layout, sweep, write_error};
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse};
use crate::format::record::{Body, Fate, Head, Record};
use crate::incident::break_glass::{Act, Permit, Target};
use crate::limits;
use crate::refusal::{Code, Refusal};

/// Publishes a branch record or a tombstone of lost records under `number`, which must be free.
///
/// # Errors
/// DV704 where the permits do not cover what the record says; DV402, DV403 or DV401 where the medium refuses; DV109
/// where what was written reads back differently; DV408 where the number is taken.
pub fn publish(
    vault: &Vault,
    _lock: &WriteLock,
    number: u64,
    predecessor: Digest,
    body: Body,
    permits: &[Permit],
) -> Result<Head> {
    require_permits(vault, &body, permits)?;
    if number == 0 || number > limits::RECORD_NUMBER_MAX {
        return refuse(Code::NumberContested, format!("there is no record number {number}"));
    }
    let store = &*vault.store;
    let record = Record { body, config: vault.config_digest, number, predecessor, vault: vault.config.vault };
    let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
    let name = format!("{}{id}", layout::INCOMPLETE_PREFIX);
    let directory = format!("{}/{name}", layout::SNAPSHOTS);
    let stays = || format!("{directory} stays as evidence; no record was published");
    let written = store.create_directory(&directory).and_then(|()| {
        let bytes = commit::write(store, &vault.macs, &directory, &record)?;
        store.sync_directory(&directory)?;
        Ok(bytes)
    });
    let bytes = written.map_err(|error| write_error(store, &directory, &error).written(stays()))?;
    commit::check(store, &vault.macs, &directory, &record, &bytes).map_err(|finding| {
        Refusal::new(Code::ReadBackDiffers, "the new record does not read back as it was written")
            .cause(format!("{}: {}: {}", finding.code, finding.subject, finding.detail))
            .written(stays())
    })?;
    if !commit::rename(store, &directory, number).map_err(|error| error.written(stays))? {
        let message = format!("{} is there already", layout::record_directory(number));
        let removed = sweep::discard_own_draft(store, &name);
        let refusal = Refusal::new(Code::NumberContested, message);
        return Err(if removed.is_ok() { refusal } else { refusal.written(stays()) }.into());
    }
    Ok(Head { digest: Digest::of(&bytes), number })
}

fn require_permits(vault: &Vault, body: &Body, permits: &[Permit]) -> Result<()> {
    let covered = |act, target| permits.iter().any(|permit| permit.covers(act, vault.config.vault, target));
    let permitted = match body {
        Body::Branch(branch) => covered(Act::Branch, Target::Head(branch.to)),
        Body::Tombstone(tombstone) => {
            tombstone.gone.iter().all(|gone| gone.fate == Fate::Lost && covered(Act::Lost, Target::Number(gone.number)))
        }
        Body::Snapshot(_) => false,
    };
    if permitted { Ok(()) } else { refuse(Code::PermitMissing, "no permit covers what the record says") }
}
