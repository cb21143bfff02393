//! `key`: exports, imports and checks keys. Never makes one.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::audit::{self, Told};
use super::output::Output;
use crate::clock::{SystemClock, Time};
use crate::crypto::{Id, KeyId};
use crate::error::{Error, Result, shown_path};
use crate::format::record::Head;
use crate::fsys::replace;
use crate::host::Host;
use crate::incident::journal::bounded;
use crate::limits;
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::gate::{self, Access};
use crate::vault::key;
use crate::vault::witness::Freshness;

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The vault that the key opens.
    pub vault: Id,
    /// The key's id.
    pub key_id: KeyId,
    /// The file that was written or read.
    pub path: PathBuf,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "key_id": self.key_id.to_string(),
            "vault": self.vault.to_string(),
            "path": bounded(&shown_path(&self.path)),
        })
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// What `key check` proved.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// The key.
    pub key: Report,
    /// The head of the chain that it authenticates.
    pub head: Head,
    /// The newest snapshot that it authenticates, if there is any.
    pub snapshot: Option<u64>,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
}

#[derive(Serialize, Deserialize)]
struct Exported {
    time: Time,
    path: String,
}

/// Writes the vault's key, in clear, to a file that must not exist.
///
/// # Errors
/// DV701 without acknowledgement, DV304 where the file would lie inside the vault; as [`Output::new`]; what opening the
/// vault refuses.
pub fn export(access: &Access, file: &Path, acknowledged: bool) -> Result<Report> {
    audit::watch(access, "key export", || write_out(access, file, acknowledged))
}

fn write_out(access: &Access, file: &Path, acknowledged: bool) -> Result<Report> {
    if !acknowledged {
        return Err(Refusal::new(
            Code::NotAcknowledged,
            "the exported key is the secret in clear: who has it and the vault can forge and change everything",
        )
        .next("choose a safe place, then add --acknowledge-plain-secret")
        .into());
    }
    // The key in the vault that it opens is worse than any other file there.
    key::refuse_inside(file, Some(&access.vault))?;
    let output = Output::new("the key", file, &access.host, Some(&access.vault))?;
    let vault = gate::open(access)?;
    output.create_private(&vault.key.key.encode())?;
    let mut notes = Vec::new();
    if let Err(error) = note_export(access, vault.config.vault, file) {
        notes.push(format!("`status` will not know of this export: {error}"));
    }
    Ok(Report { vault: vault.config.vault, key_id: vault.config.key_id, path: file.to_owned(), notes })
}

fn note_export(access: &Access, vault: Id, file: &Path) -> Result<()> {
    let path = access.host.export_note_path(vault);
    let parent = path.parent().expect("a note lies in a directory");
    access.host.make_directory(parent)?;
    let note = Exported { time: access.clock.now(), path: shown_path(file) };
    let bytes = serde_json::to_vec(&note).expect("a note encodes");
    replace::replace(&path, &bytes).map_err(|error| Error::environment(format!("write {}", shown_path(&path)), error))
}

/// Returns when this host last exported the key of a vault.
pub fn exported(host: &Host, vault: Id) -> Option<Time> {
    let bytes = replace::read(&host.export_note_path(vault), limits::CONFIG_BYTES_MAX).ok()?;
    serde_json::from_slice::<Exported>(&bytes).ok().map(|note| note.time)
}

/// Installs a key on this host.
///
/// # Errors
/// DV301, DV303 or DV305 where the file is no usable key; DV302 where this host holds another key for the same vault.
pub fn import(host: &Host, file: &Path) -> Result<Report> {
    audit::watch_host(host, &SystemClock, "key import", || install(host, file))
}

fn install(host: &Host, file: &Path) -> Result<Report> {
    let found = key::load(file, true, None)?;
    let path = host.key_path(found.key.vault);
    let parent = path.parent().expect("a key lies in a directory");
    host.make_directory(parent)?;
    let report = Report {
        vault: found.key.vault,
        key_id: found.key.key_id,
        path: path.clone(),
        notes: found.note.into_iter().collect(),
    };
    match replace::create_private(&path, &found.key.encode()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let known = key::load(&path, false, Some(found.key.vault))?;
            if known.key.key_id == found.key.key_id {
                return Ok(report);
            }
            let message = format!("this host holds another key for vault {}: {}", found.key.vault, shown_path(&path));
            return Err(Refusal::new(Code::KeyWrong, message)
                .next("find out which of the two opens the vault: `devvault key check --key-file FILE`")
                .into());
        }
        Err(error) => {
            return Err(Refusal::new(Code::StateUnwritable, format!("{} cannot be written", shown_path(&path)))
                .cause(error)
                .into());
        }
    }
    Ok(report)
}

/// Proves that a key opens the vault and authenticates its newest snapshot.
///
/// # Errors
/// What opening the vault refuses; the first finding of the chain. An older copy of the vault is no error here: the
/// report says how fresh it is.
pub fn check(access: &Access) -> Result<CheckReport> {
    audit::watch_refusals(access, "key check", || prove(access))
}

fn prove(access: &Access) -> Result<CheckReport> {
    let vault = gate::open(access)?;
    if let Some(finding) = vault.chain.findings.first() {
        return Err(finding.clone().into());
    }
    Ok(report(&vault))
}

fn report(vault: &gate::Vault) -> CheckReport {
    CheckReport {
        key: Report {
            vault: vault.config.vault,
            key_id: vault.config.key_id,
            path: vault.key.path.clone(),
            notes: vault.notes.clone(),
        },
        head: vault.chain.head(),
        snapshot: vault.chain.snapshots().next_back().map(|(number, _)| number),
        freshness: vault.freshness.clone(),
    }
}
