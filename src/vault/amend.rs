//! Amending the chain: records that are no snapshots, written only under a permit.
//!
//! Invariants: a branch record and a declaration of loss are published like a snapshot, durable and read back before
//! one rename; neither removes or changes anything; without a permit for exactly what it says, none is written.

use super::chain::encode_mac_file;
use super::gate::{Vault, WriteLock};
use super::{layout, sweep, write_error};
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
    let (kind, bytes) = (record.kind(), record.encode());
    let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
    let name = format!("{}{id}", layout::INCOMPLETE_PREFIX);
    let directory = format!("{}/{name}", layout::SNAPSHOTS);
    let (file, mac_file) = (layout::record_file(kind), layout::record_mac_file(kind));
    let tag = encode_mac_file(vault.macs.tag(kind.domain(), number, &bytes));
    let stays = || format!("{directory} stays as evidence; no record was published");
    let written = store
        .create_directory(&directory)
        .and_then(|()| store.write_durably(&format!("{directory}/{file}"), &bytes))
        .and_then(|()| store.write_durably(&format!("{directory}/{mac_file}"), &tag))
        .and_then(|()| store.sync_directory(&directory));
    written.map_err(|error| write_error(store, &directory, &error).written(stays()))?;
    let back = |name: &str, bytes: &[u8]| {
        let path = format!("{directory}/{name}");
        let read = store.open(&path).map(|file| file.drop_cached());
        read.and_then(|_| store.read(&path, limits::RECORD_BYTES_MAX)).is_ok_and(|back| back == bytes)
    };
    if !back(&file, &bytes)
        || !back(&mac_file, &tag)
        || !Record::decode(&bytes, kind).is_ok_and(|again| again == record)
    {
        let message = "the new record does not read back as it was written";
        return Err(Refusal::new(Code::ReadBackDiffers, message).written(stays()).into());
    }
    let to = layout::record_directory(number);
    match store.rename_new(&directory, &to) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let removed = sweep::discard_own_draft(store, &name);
            let refusal = Refusal::new(Code::NumberContested, format!("{to} is there already"));
            return Err(if removed.is_ok() { refusal } else { refusal.written(stays()) }.into());
        }
        Err(error) => return Err(write_error(store, &to, &error).written(stays()).into()),
    }
    store.sync_directory(layout::SNAPSHOTS).map_err(|error| {
        write_error(store, &to, &error)
            .written(format!("{to} was written, but the medium did not confirm that it will last; verify it"))
    })?;
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
