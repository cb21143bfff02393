//! Orphans: what lies in a vault and belongs to no snapshot. Found here, decided by a person.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::clock::Time;
use crate::error::Result;
use crate::incident::journal::Entry;
use crate::limits;
use crate::path::shown;
use crate::pool::Pool;
use crate::store::{NameKind, Store};
use crate::vault::catalog::Catalog;
use crate::vault::check::{PackCheck, check_file};
use crate::vault::gate::Vault;
use crate::vault::named::NamedPacks;
use crate::vault::{layout, read_error};

/// The act under which a person's word about an orphan stands in the journal.
pub const TAG_ACT: &str = "incomplete tag";

/// What a writer said of itself when it began: a claim, not proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// The host's name.
    #[serde(default)]
    pub host_name: String,
    /// The process.
    #[serde(default)]
    pub pid: u32,
    /// The source.
    #[serde(default)]
    pub source: String,
    /// When it began.
    #[serde(default)]
    pub started: Option<Time>,
}

/// A snapshot that was never finalized.
#[derive(Debug, Clone, Default)]
pub struct Incomplete {
    /// Its directory below `snapshots`.
    pub name: String,
    /// What its writer said of itself, if it can be read.
    pub claim: Option<Claim>,
    /// When it was last written to, as the medium tells.
    pub modified: Option<Time>,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Packs in it that were not moved to their place yet.
    pub packs: u64,
    /// How many of them are whole and verify; nothing where they were not read.
    pub packs_verified: Option<u64>,
    /// Whether a record was written into it: then only the last step was missing.
    pub has_record: bool,
    /// Whether some process writes to the vault at this moment, which may be this one's writer.
    pub may_be_written: bool,
    /// What a person decided about it.
    pub tag: Option<Tag>,
}

/// What a person decided about an orphan: to look at it later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Why it stays.
    pub label: String,
    /// Until when.
    pub until: Time,
}

impl Incomplete {
    /// Returns whether a person has to decide about it now.
    pub fn is_due(&self, now: Time) -> bool {
        !self.may_be_written && self.tag.as_ref().is_none_or(|tag| tag.until <= now)
    }
}

/// Something else that belongs to no snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stray {
    /// Its name below the vault, escaped.
    pub name: String,
    /// Its bytes, of a file.
    pub bytes: Option<u64>,
    /// When it was last written to, as the medium tells.
    pub modified: Option<Time>,
    /// Whether some process writes to the vault at this moment, which may be what made it and needs it.
    pub may_be_written: bool,
    /// What a person decided about it.
    pub tag: Option<Tag>,
}

impl Stray {
    fn look(store: &dyn Store, name: String, tags: &BTreeMap<String, Tag>) -> Self {
        let metadata = store.local_path().and_then(|root| std::fs::symlink_metadata(root.join(&name)).ok());
        Self {
            bytes: metadata.as_ref().filter(|metadata| metadata.is_file()).map(std::fs::Metadata::len),
            modified: metadata.and_then(|metadata| metadata.modified().ok()).map(Time::from_system),
            may_be_written: false,
            tag: tags.get(&name).cloned(),
            name,
        }
    }

    /// Returns whether it is a file that a test of the medium left, under a name that only such a test gives. What
    /// `conformance` left is a directory, which holds what it tried.
    pub fn can_be_discarded(&self) -> bool {
        self.bytes.is_some() && layout::is_probe(&self.name)
    }

    /// Returns whether a person has to decide about it now.
    pub fn is_due(&self, now: Time) -> bool {
        !self.may_be_written && self.tag.as_ref().is_none_or(|tag| tag.until <= now)
    }
}

impl Orphans {
    /// Returns the name of an orphan as a person means it, with or without what stands before it; nothing where there is
    /// none, or more than one.
    pub fn named(&self, name: &str) -> Option<&str> {
        let wanted = name.strip_prefix("snapshots/").unwrap_or(name);
        let incomplete = self
            .incomplete
            .iter()
            .map(|one| one.name.as_str())
            .find(|known| *known == wanted || known.strip_prefix(layout::INCOMPLETE_PREFIX) == Some(wanted));
        let strays = || self.packs.iter().chain(&self.foreign).chain(&self.temporary);
        incomplete.or_else(|| strays().map(|stray| stray.name.as_str()).find(|known| *known == name))
    }
}

/// Everything in a vault that belongs to no snapshot.
#[derive(Debug, Clone, Default)]
pub struct Orphans {
    /// Snapshots that were never finalized.
    pub incomplete: Vec<Incomplete>,
    /// Packs that no snapshot names: the next backup of the same data may use them.
    pub packs: Vec<Stray>,
    /// Files that are none of the vault's.
    pub foreign: Vec<Stray>,
    /// Test files that a crash left.
    pub temporary: Vec<Stray>,
    /// What the file says that tells who writes, where nobody does.
    pub stale_lock: Option<String>,
}

/// Finds the orphans of a vault. `read_packs` tells whether unfinished packs are read completely.
///
/// # Errors
/// DV110 or DV402 where the vault's root cannot be listed.
pub(super) fn find(vault: &Vault, catalog: Arc<Catalog>, entries: &[Entry], read_packs: bool) -> Result<Orphans> {
    let store = &*vault.store;
    let writing = is_written(store);
    let tags = tags(vault, entries);
    let incomplete = vault.chain.incomplete.iter().map(|name| Incomplete {
        may_be_written: writing,
        tag: tags.get(name).cloned(),
        ..look(vault, name, read_packs)
    });
    let incomplete = incomplete.collect();
    let stray = |name: String| Stray::look(store, name, &tags);
    let below_snapshots = |name: &String| format!("{}/{}", layout::SNAPSHOTS, shown(name.as_bytes()));
    let mut foreign: Vec<Stray> = vault.chain.foreign.iter().map(below_snapshots).map(&stray).collect();
    foreign.extend(catalog.foreign.iter().cloned().map(&stray));
    let root = store.list("").map_err(|error| read_error(store, "the root", &error))?;
    let (mut temporary, mut stale_lock) = (Vec::new(), None);
    for listed in root {
        let name = listed.name.as_str();
        if name.starts_with(layout::PROBE_PREFIX) {
            temporary.push(Stray { may_be_written: writing, ..stray(shown(name.as_bytes())) });
        } else if name == layout::LOCK_HOLDER && !writing {
            let word = store.read(name, limits::CONFIG_BYTES_MAX).unwrap_or_default();
            stale_lock = Some(shown(&word));
        } else if !layout::ROOT_NAMES.contains(&name) {
            foreign.push(stray(shown(name.as_bytes())));
        }
    }
    let packs = unreferenced(vault, catalog).into_iter();
    let packs =
        packs.map(|(name, length)| Stray { bytes: Some(length), may_be_written: writing, ..stray(name) }).collect();
    Ok(Orphans { incomplete, packs, foreign, temporary, stale_lock })
}

/// Returns whether some process holds the writer's lock; no where that cannot be told.
fn is_written(store: &dyn Store) -> bool {
    matches!(store.lock(layout::LOCK, false), Ok(None))
}

/// Returns the packs that no snapshot names. Where a list of packs cannot be read nothing is called unreferenced.
fn unreferenced(vault: &Vault, catalog: Arc<Catalog>) -> Vec<(String, u64)> {
    let reader = vault.reader(catalog);
    let named = NamedPacks::of(&vault.chain, &reader);
    if !named.complete {
        // What cannot be read may name any of them.
        return Vec::new();
    }
    let packs = reader.catalog().packs().iter().filter(|pack| !named.packs.contains_key(&pack.name));
    packs.map(|pack| (layout::pack_path(&pack.name), pack.length)).collect()
}

fn look(vault: &Vault, name: &str, read_packs: bool) -> Incomplete {
    let store = &*vault.store;
    let directory = format!("{}/{name}", layout::SNAPSHOTS);
    let claim = store.read(&format!("{directory}/{}", layout::ORIGIN), limits::CONFIG_BYTES_MAX);
    let claim = claim.ok().and_then(|bytes| serde_json::from_slice::<Claim>(&bytes).ok());
    let mut found = Incomplete { name: name.to_owned(), claim, ..Incomplete::default() };
    let pool = Pool::new();
    let mut verified = 0;
    for listed in store.list(&directory).unwrap_or_default() {
        if listed.kind != NameKind::File {
            continue;
        }
        let path = format!("{directory}/{}", listed.name);
        found.bytes += store.length(&path).unwrap_or(0);
        found.modified = found.modified.max(modified(store, &path));
        found.has_record |= listed.name.ends_with(".hmac");
        if listed.name.ends_with(".part") {
            found.packs += 1;
            if read_packs {
                let check = check_file(store, &vault.macs, &path, &pool, &mut |_| {}).and_then(PackCheck::intact);
                verified += u64::from(check.is_ok());
            }
        }
    }
    found.modified = found.modified.or_else(|| modified(store, &directory));
    found.packs_verified = read_packs.then_some(verified);
    found
}

fn modified(store: &dyn Store, name: &str) -> Option<Time> {
    let metadata = std::fs::symlink_metadata(store.local_path()?.join(name)).ok()?;
    metadata.modified().ok().map(Time::from_system)
}

/// Returns what was decided about orphans of this vault at this place, by name; the newest word counts.
fn tags(vault: &Vault, entries: &[Entry]) -> BTreeMap<String, Tag> {
    let mut tags = BTreeMap::new();
    let place = vault.store.describe();
    let own = |entry: &&Entry| entry.vault == Some(vault.config.vault) && entry.is_at(&place);
    for entry in entries.iter().filter(own).filter(|entry| entry.act == TAG_ACT && entry.text("outcome") == "done") {
        let until = entry.data.get("until").and_then(serde_json::Value::as_i64).unwrap_or(0);
        let tag = Tag { label: entry.text("label").to_owned(), until: Time { seconds: until, nanos: 0 } };
        tags.insert(entry.text("name").to_owned(), tag);
    }
    tags
}
