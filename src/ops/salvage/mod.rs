//! `salvage`: copies what can still be had from a damaged snapshot, or from one without proof, and says how each path
//! stands.
//!
//! It is no restore and never says valid. What verifies under an authenticated manifest needs no permit; what is
//! unauthenticated (no key, a failing tag) is copied only under break-glass, into a directory of its own, without
//! symbolic links and without metadata. Everything is read back after it was written. The vault is only read.
//!
//! ```text
//! DEST/salvage.jsonl       a line for each path: its standing and why; the last line sums up
//!      verified/           complete, every byte hashed, named by an authenticated manifest
//!      damaged/            what is left of damaged files, at its place; the rest is zeros
//!      unauthenticated/    consistent with its hashes, but nobody proves who wrote it
//! ```

mod copy;
mod keep;
mod target;
mod written;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use self::copy::{Copier, Ended};
use super::audit::{self, Told};
use super::select::{self, Place, Selector};
use crate::crypto::{Id, Macs};
use crate::error::{Error, Result, shown_path};
use crate::format::record::{Body, Record, RecordKind, Snapshot};
use crate::incident::break_glass::{self, Act, Permit, Target};
use crate::incident::journal::bounded;
use crate::limits;
use crate::path::EntryPath;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Family, Kept, Refusal};
use crate::store::Store;
use crate::vault::catalog::Catalog;
use crate::vault::chain::claimed_vault;
use crate::vault::gate::{self, Access};
use crate::vault::read::Reader;
use crate::vault::{layout, read_error};

/// How many paths stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Complete and verified against an authenticated manifest.
    pub verified: u64,
    /// Complete and consistent with its hashes, but unauthenticated.
    pub unauthenticated: u64,
    /// Copied in part, or named by a list that cannot be read.
    pub damaged: u64,
    /// Not in the vault at all.
    pub missing: u64,
    /// There, but the target could not take it.
    pub not_written: u64,
    /// Of those that are complete: how many the target keeps otherwise than the snapshot names them (owner, mode, times,
    /// attributes, links).
    pub differing: u64,
    /// Bytes that were copied.
    pub bytes: u64,
}

impl Standing {
    /// Returns the numbers as the fields of a JSON object.
    pub fn to_json(&self) -> Map<String, Value> {
        let fields = [
            ("verified", self.verified),
            ("unauthenticated", self.unauthenticated),
            ("damaged", self.damaged),
            ("missing", self.missing),
            ("not_written", self.not_written),
            ("differing", self.differing),
            ("bytes", self.bytes),
        ];
        fields.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
    }
}

/// What was salvaged.
#[derive(Debug, Clone)]
pub struct Report {
    /// The snapshot's number.
    pub snapshot: u64,
    /// The vault that the manifest names; proven only where `authenticated`.
    pub vault: Id,
    /// Which part of it was asked for.
    pub path: EntryPath,
    /// The directory that holds everything.
    pub destination: PathBuf,
    /// The list of every path and its standing.
    pub list: PathBuf,
    /// Whether the manifest is authenticated.
    pub authenticated: bool,
    /// How the paths stand.
    pub standing: Standing,
    /// The declaration that permitted it, if one was needed.
    pub permit: Option<String>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns the process exit status: 0 only where everything was copied and verified under an authenticated
    /// manifest; 13 where something is unauthenticated, else 11 where something is damaged or missing, 1 where the
    /// target took not everything, or keeps some of it otherwise.
    pub fn exit(&self) -> u8 {
        let standing = &self.standing;
        if !self.authenticated {
            Family::CryptoBoundary.exit()
        } else if standing.damaged + standing.missing > 0 {
            Family::SnapshotIntegrity.exit()
        } else {
            u8::from(standing.not_written + standing.differing > 0)
        }
    }
}

impl Told for Report {
    fn told(&self) -> Value {
        let mut told = self.standing.to_json();
        let fields: [(&str, Value); 6] = [
            ("snapshot", self.snapshot.into()),
            ("path", bounded(&self.path.to_string()).into()),
            ("destination", bounded(&shown_path(&self.destination)).into()),
            ("authenticated", self.authenticated.into()),
            ("exit", self.exit().into()),
            ("permit", self.permit.clone().unwrap_or_default().into()),
        ];
        told.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(told)
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Copies what can be had of a snapshot or a part of it into an absent or empty directory.
///
/// # Errors
/// DV201 to DV206 where the destination is not safe; DV112 or DV113 where there is no such snapshot; DV704 to DV708
/// where the snapshot has no proof and no permit covers it; DV404 during a removal; DV406 where there is no vault.
pub fn run(access: &Access, place: &Place, destination: &Path, progress: &dyn Progress) -> Result<Report> {
    audit::watch(access, "salvage", || salvage(access, place, destination, progress))
}

/// A snapshot to copy from.
struct Found {
    number: u64,
    vault: Id,
    snapshot: Snapshot,
    reader: Reader,
    permit: Option<Permit>,
    notes: Vec<String>,
}

fn salvage(access: &Access, place: &Place, destination: &Path, progress: &dyn Progress) -> Result<Report> {
    progress.phase(Phase::Opening, None, None);
    let store = match &access.store {
        Some(store) => Arc::clone(store),
        None => gate::open_store(&access.vault)?,
    };
    let _lock = gate::read_lock(&*store)?;
    let target = target::Target::preflight(destination, store.local_path(), &access.host)?;
    let found = match authenticated(access, &place.snapshot) {
        Ok(found) => found,
        Err(error) => without_proof(access, store, &place.snapshot, error)?,
    };
    let authenticated = found.permit.is_none();
    let target = target.make()?;
    let mut copier = Copier::new(&target, &found.reader, authenticated, progress)?;
    let path = copier.meant(&found.snapshot, &place.path);
    let written = copier.copy(&found.snapshot, &path);
    let Ended { standing, from_memory, unstable } = written.and_then(|()| copier.finish()).map_err(|error| {
        error.written(|| format!("{} holds what was copied so far; it is not complete", shown_path(&target.path)))
    })?;
    if standing == Standing::default() {
        return Err(Refusal::new(Code::SelectionEmpty, format!("snapshot {} names no {path}", found.number))
            .written(format!("{} was made and holds no copies", shown_path(&target.path)))
            .into());
    }
    let mut notes = found.notes;
    notes.push(match authenticated {
        true => {
            "this is no restore: what the target does not keep as the snapshot names it is listed with its path".into()
        }
        false => "this is no restore: owners, modes, times, attributes and symbolic links are not kept without proof"
            .to_owned(),
    });
    if from_memory > 0 {
        notes.push(format!("{from_memory} file(s) were read back from memory, the others from the medium"));
    }
    if unstable > 0 {
        notes.push(format!(
            "{unstable} file(s) could be read at one try and not at another: cable, controller, memory or medium cannot be \
             relied on; `devvault runbook {}`",
            Code::Unstable
        ));
    }
    Ok(Report {
        snapshot: found.number,
        vault: found.vault,
        path,
        list: target.path.join(copy::LIST),
        destination: target.path,
        authenticated,
        standing,
        permit: found.permit.map(|permit| permit.declaration().to_owned()),
        notes,
    })
}

/// Takes a snapshot whose manifest authenticates; where it is named by its number, the rest of the chain may be as it is.
fn authenticated(access: &Access, selector: &Selector) -> Result<Found> {
    let vault = gate::open(access)?;
    let (number, snapshot) = select::select(&vault, selector)?;
    let snapshot = snapshot.clone();
    let mut notes = vault.notes.clone();
    if vault.freshness.refusal("the vault").is_some() {
        notes.push(format!("freshness: {}", vault.freshness));
    }
    let reader = open_reader(&vault.store, Some(&*vault.macs), &mut notes)?;
    Ok(Found { number, vault: vault.config.vault, snapshot, reader, permit: None, notes })
}

/// Opens the packs. A chunk proves itself by its hash, whatever table led to it: footers that fail their tag serve too, and
/// where they do not, the index of whoever has the key.
fn open_reader(store: &Arc<dyn Store>, macs: Option<&Macs>, notes: &mut Vec<String>) -> Result<Reader> {
    let catalog = Catalog::load_unproven(&**store, macs);
    let catalog = catalog.map_err(|error| read_error(&**store, layout::PACKS, &error))?;
    let indexed = || catalog.packs().iter().filter(|pack| pack.table.is_some());
    let shown: Vec<String> =
        indexed().take(limits::SHOWN_PATHS_MAX).map(|pack| layout::pack_path(&pack.name)).collect();
    if !shown.is_empty() {
        notes.push(format!(
            "the footers of {} pack(s) are damaged, and the index tells what they hold: {}",
            indexed().count(),
            shown.join(", ")
        ));
    }
    Ok(Reader::unproven(Arc::clone(store), Arc::new(catalog)))
}

/// Takes a snapshot that nothing proves, under a permit for exactly it. Nothing of it is parsed before that.
fn without_proof(access: &Access, store: Arc<dyn Store>, selector: &Selector, why: Error) -> Result<Found> {
    let (Some(code), Selector::Number(number)) = (why.code(), selector) else { return Err(why) };
    let proof_is_missing = code.family() == Family::CryptoBoundary
        || matches!(code, Code::RecordDamaged | Code::RecordIncomplete | Code::VaultUnreadable);
    if !proof_is_missing {
        return Err(why);
    }
    let path = format!("{}/{}", layout::record_directory(*number), layout::record_file(RecordKind::Snapshot));
    let Ok(bytes) = store.read(&path, limits::RECORD_BYTES_MAX) else { return Err(why) };
    let Some(vault) = claimed_vault(&bytes) else { return Err(why) };
    let now = access.clock.now();
    let permit = break_glass::grant(&access.host, now, Act::Salvage, vault, Target::Number(*number));
    let permit = permit.map_err(|error| match error {
        Error::Refused(refusal) => Error::Refused(Box::new(refusal.cause(format!("without a permit: {why}")))),
        other => other,
    })?;
    let record = Record::decode(&bytes, RecordKind::Snapshot).map_err(|bad| {
        let detail = match bad {
            crate::format::record::BadRecord::Malformed(reason) => reason.to_string(),
            crate::format::record::BadRecord::Unknown(what) => what,
        };
        Refusal::new(Code::RecordDamaged, format!("{path} cannot be read even without proof")).cause(detail)
    })?;
    let Body::Snapshot(snapshot) = record.body else { return Err(why) };
    let mut notes = vec![format!("nothing proves who wrote this snapshot: {why}")];
    // The key may be at hand all the same.
    let key = gate::find(access).ok();
    let reader = open_reader(&store, key.as_ref().map(|found| &*found.macs), &mut notes)?;
    Ok(Found { number: *number, vault, snapshot: *snapshot, reader, permit: Some(permit), notes })
}
