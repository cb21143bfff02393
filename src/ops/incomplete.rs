//! `incomplete`: shows what was never finalized, and lets a person discard it or put it off.
//!
//! To resume one is no act of its own: the next backup of the same source takes over the packs that verify.

use std::sync::Arc;

use serde_json::{Value, json};

use super::audit::{self, Scene, Told};
use super::orphans::{self, Orphans, TAG_ACT};
use crate::clock::Time;
use crate::crypto::Id;
use crate::error::{Error, Result, refuse};
use crate::incident::break_glass::{self, Act, Target};
use crate::incident::journal::{Entry, Event, Journal, bounded};
use crate::incident::registry::{self, Clearance};
use crate::path::shown;
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::catalog::UseIndex;
use crate::vault::gate::{self, Access, Vault};
use crate::vault::{layout, read_error, sweep};

/// What lies in a vault and belongs to no snapshot.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The vault's id.
    pub vault: Id,
    /// The orphans.
    pub orphans: Orphans,
    /// What should be said besides.
    pub notes: Vec<String>,
}

/// Lists the orphans of a vault; packs that were being written are read completely.
///
/// # Errors
/// What opening the vault refuses.
pub fn list(access: &Access) -> Result<Listed> {
    audit::watch_refusals(access, "incomplete list", || {
        let vault = gate::open(access)?;
        let mut notes = vault.notes.clone();
        let entries = Journal::of(&access.host).entries().unwrap_or_else(|error| {
            notes.push(format!("what was decided about these is not known: {error}"));
            Vec::new()
        });
        let orphans = look(&vault, &entries, true)?;
        Ok(Listed { vault: vault.config.vault, orphans, notes })
    })
}

fn look(vault: &Vault, entries: &[Entry], read_packs: bool) -> Result<Orphans> {
    orphans::find(vault, Arc::new(vault.catalog(UseIndex::Yes)?), entries, read_packs)
}

/// What was done about one orphan.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// Its name: below `snapshots` for one that was never finalized, below the vault for all else.
    pub name: String,
    /// Bytes of its files, where they were removed.
    pub bytes: u64,
    /// What was decided.
    pub tag: Option<orphans::Tag>,
    /// The declaration that released it, if one was needed.
    pub permit: Option<String>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Report {
    fn told(&self) -> Value {
        let mut data = json!({"name": self.name, "bytes": self.bytes.to_string()});
        if let Some(tag) = &self.tag {
            data["label"] = tag.label.clone().into();
            data["until"] = tag.until.seconds.into();
        }
        if let Some(permit) = &self.permit {
            data["permit"] = permit.clone().into();
        }
        data
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Puts the decision about an orphan off until a time, with a reason that `status` will show.
///
/// # Errors
/// DV112 where there is none of this name, DV703 where the label is empty or the time is not in the future; DV410 or
/// DV319 where it cannot be journaled: a decision that is not recorded is none.
pub fn tag(access: &Access, name: &str, label: &str, until: Time) -> Result<Report> {
    let report = audit::watch(access, TAG_ACT, || {
        let vault = gate::open(access)?;
        let orphans = look(&vault, &[], false)?;
        let name = orphans.named(name).ok_or_else(|| unknown(&vault, name))?.to_owned();
        if label.trim().is_empty() || until <= access.clock.now() {
            return Err(Refusal::new(
                Code::DeclarationUnfit,
                "a decision that is put off needs a reason and a time to come",
            )
            .next("name both: `devvault incomplete tag NAME --label WHY --until DAY`")
            .into());
        }
        let tag = Some(orphans::Tag { label: bounded(label), until });
        Ok(Report { vault: vault.config.vault, name, bytes: 0, tag, permit: None, notes: Vec::new() })
    })?;
    match report.notes.iter().any(|note| note.starts_with("this was not journaled")) {
        true => refuse(Code::StateUnwritable, "the decision could not be recorded in this host's journal"),
        false => Ok(report),
    }
}

/// Removes an incomplete snapshot, or a file that a test of the medium left. The act is journaled first.
///
/// # Errors
/// DV112 where there is none of this name, DV404 where a process writes to the vault, DV702 while an incident is open
/// about it, or what stands against its chain where nobody has looked yet (or DV704 to DV708 where a permit was tried),
/// DV410 or DV319 where the act cannot be journaled.
pub fn discard(access: &Access, name: &str) -> Result<Report> {
    audit::watch(access, "incomplete discard", || remove(access, name))
}

/// What can be removed.
enum Remnant {
    /// A snapshot that was never finalized: the name of its directory.
    Snapshot(String),
    /// A file that a test of the medium left.
    Probe(String),
}

impl Remnant {
    fn name(&self) -> &str {
        let (Self::Snapshot(name) | Self::Probe(name)) = self;
        name
    }

    /// Returns where it lies in the vault.
    fn path(&self) -> String {
        match self {
            Self::Snapshot(name) => format!("{}/{name}", layout::SNAPSHOTS),
            Self::Probe(name) => name.clone(),
        }
    }
}

fn remove(access: &Access, name: &str) -> Result<Report> {
    let vault = gate::open(access)?;
    let remnant = named(&vault, name)?;
    let (clearance, permit) = clear(access, &vault, &remnant)?;
    let (vault, lock) = gate::open_to_sweep(access, &clearance)?;
    let store = &*vault.store;
    let (name, path) = (remnant.name(), remnant.path());
    let length = |path: &str| store.length(path).ok();
    let files: Vec<(Option<u64>, String)> = match &remnant {
        Remnant::Snapshot(_) => {
            let listed = store.list(&path).map_err(|error| read_error(store, &path, &error))?;
            listed.into_iter().map(|file| (length(&format!("{path}/{}", file.name)), file.name)).collect()
        }
        Remnant::Probe(name) => vec![(length(&path), name.clone())],
    };
    let told = files.iter().take(crate::limits::EVIDENCE_ITEMS_MAX);
    let told: Vec<Value> =
        told.map(|(length, name)| json!({"name": shown(name.as_bytes()), "length": length})).collect();
    let bytes = files.iter().filter_map(|(length, _)| *length).sum();
    let scene = Scene::of(access);
    let intent = json!({"name": name, "files": told, "file_count": files.len()});
    Journal::of(&access.host)
        .append(scene.now, Event::new("removal begun", intent).of(Some(vault.config.vault), scene.place()))?;
    let removed = match &remnant {
        Remnant::Snapshot(name) => sweep::discard_incomplete(store, name, &clearance, &lock),
        Remnant::Probe(name) => sweep::discard_probe(store, name, &clearance, &lock),
    };
    removed.map_err(|error| {
        Error::from(crate::vault::write_error(store, &path, &error))
            .written(|| format!("{path} may be removed in part; it is no snapshot"))
    })?;
    Ok(Report { vault: vault.config.vault, name: name.to_owned(), bytes, tag: None, permit, notes: Vec::new() })
}

/// Makes sure that nothing holds what is to be removed: a sound chain and no open incident, or a permit for the vault's
/// present head. What is wrong with the chain would open an incident as soon as somebody looks; what is removed before
/// that is missing as evidence. No permit is about what a test of the medium left.
fn clear(access: &Access, vault: &Vault, remnant: &Remnant) -> Result<(Clearance, Option<String>)> {
    let entries = Journal::of(&access.host).entries()?;
    let (id, place) = (Some(vault.config.vault), vault.store.describe());
    let cleared = registry::clear_to_remove(&entries, id, &place, None, None);
    let held = match cleared.and_then(|clearance| vault.require_sound_chain().map(|()| clearance)) {
        Ok(clearance) => return Ok((clearance, None)),
        Err(held) if matches!(remnant, Remnant::Probe(_)) => return Err(held),
        Err(held) => held,
    };
    let target = Target::Head(vault.chain.head());
    match break_glass::grant(&access.host, access.clock.now(), Act::Release, vault.config.vault, target) {
        Ok(permit) => {
            let name = permit.declaration().to_owned();
            let clearance = registry::clear_to_remove(&entries, id, &place, Some(&permit), Some(target))?;
            Ok((clearance, Some(name)))
        }
        Err(error) if error.code() == Some(Code::PermitMissing) => Err(held),
        Err(error) => Err(error),
    }
}

/// Returns what a person names, with or without what stands before it.
fn named(vault: &Vault, name: &str) -> Result<Remnant> {
    let wanted = name.strip_prefix("snapshots/").unwrap_or(name);
    let found = vault
        .chain
        .incomplete
        .iter()
        .find(|known| *known == wanted || known.strip_prefix(layout::INCOMPLETE_PREFIX) == Some(wanted));
    if let Some(found) = found {
        return Ok(Remnant::Snapshot(found.clone()));
    }
    let orphans = look(vault, &[], false)?;
    let Some(other) = orphans.named(name) else { return Err(unknown(vault, name).into()) };
    if orphans.temporary.iter().any(|stray| stray.name == other && stray.can_be_discarded()) {
        return Ok(Remnant::Probe(other.to_owned()));
    }
    // The list names it too, for another reason: it never was a snapshot that was being written.
    let message = format!("{} is neither an unfinished snapshot nor a file of a test", shown(other.as_bytes()));
    let refusal = Refusal::new(Code::NoSuchSnapshot, message);
    Err(match orphans.packs.iter().any(|pack| pack.name == other) {
        true => refusal.next("leave it: no snapshot names this pack, and the next backup uses what it holds"),
        false => refusal.next(
            "find out who put it there before anybody moves it away; until then put the decision off: \
             `devvault incomplete tag NAME --label WHY --until DAY`",
        ),
    }
    .into())
}

fn unknown(vault: &Vault, name: &str) -> Refusal {
    let message =
        format!("there is nothing unfinished called {} in {}", shown(name.as_bytes()), vault.store.describe());
    Refusal::new(Code::NoSuchSnapshot, message).next("list them: `devvault incomplete list`")
}
