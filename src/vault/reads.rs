//! Reads: what this host remembers of reading the packs of a vault at one place, kept outside the vault.
//!
//! Invariants: a pack that failed stays in doubt until all of it was read *at that place* and was intact; a writer leaves
//! out nothing because of a pack in doubt. Copies of a vault at other places share its id and not its memory. What cannot
//! be trusted counts as unknown: nothing is taken for read, and any pack may be in doubt. Losing the file costs only this
//! memory; other hosts do not see it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chain::claimed_vault;
use super::{Finding, layout, sealed};
use crate::clock::Time;
use crate::crypto::{Digest, Domain, Id, Macs};
use crate::error::{Result, shown_path};
use crate::fsys::replace;
use crate::host::Host;
use crate::incident::evidence;
use crate::limits;
use crate::refusal::Code;
use crate::store::Store;

/// Longest reason that is kept, in characters.
const DETAIL_CHARACTERS_MAX: usize = 300;

/// A read that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    code: String,
    detail: String,
    seen: Time,
}

/// What is remembered of one pack: one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Failure>,
    /// When all of it was last read and intact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intact: Option<Time>,
    pack: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    packs: Vec<Known>,
    place: String,
    /// It replaced what could not be trusted, and not every pack has been read since.
    unsure: bool,
    vault: Id,
}

/// What this host remembers of reading the packs of a vault at one place.
#[derive(Debug, Default)]
pub struct Reads {
    file: PathBuf,
    place: String,
    known: BTreeMap<Digest, Known>,
    // What this process adds.
    news: BTreeMap<Digest, Known>,
    // What failed at places that are gone: the medium may be mounted elsewhere now.
    elsewhere: BTreeMap<Digest, Failure>,
    unsure: Option<String>,
    all_read: bool,
}

impl Reads {
    /// Reads what this host remembers of a vault at the place of a store.
    pub fn load(host: &Host, macs: &Macs, store: &dyn Store) -> Self {
        let place = store.local_path().map_or_else(|| store.describe(), |path| path.to_string_lossy().into_owned());
        let directory = host.reads_directory(macs.vault());
        let name = Digest::of(store.local_path().map_or(place.as_bytes(), |path| path.as_os_str().as_encoded_bytes()));
        let file = directory.join(format!("{}.json", &name.to_string()[..32]));
        let mut reads = Self { place, ..Self::default() };
        match trusted(&file, macs) {
            Ok(None) => {}
            Ok(Some(stored)) => {
                reads.unsure = stored.unsure.then(|| "an earlier list of packs that failed was lost".into());
                reads.known = stored.packs.into_iter().map(|known| (known.pack, known)).collect();
            }
            Err(reason) => reads.unsure = Some(format!("{} cannot be trusted: {reason}", shown_path(&file))),
        }
        for other in fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if other != file
                && other.extension().is_some_and(|extension| extension == "json")
                && let Ok(Some(stored)) = trusted(&other, macs)
                && !is_there(&stored)
            {
                let failed = stored.packs.into_iter().filter_map(|known| Some((known.pack, known.failed?)));
                reads.elsewhere.extend(failed);
            }
        }
        reads.file = file;
        reads
    }

    fn get(&self, pack: &Digest) -> Option<&Known> {
        self.news.get(pack).or_else(|| self.known.get(pack))
    }

    /// Returns when all of a pack was last read and intact; nothing if never, or if it failed since.
    pub fn last(&self, pack: &Digest) -> Option<Time> {
        self.get(pack)?.intact
    }

    /// Returns why a pack is in doubt, if it is.
    pub fn doubt(&self, pack: &Digest) -> Option<Finding> {
        let here = self.get(pack);
        let elsewhere = self.elsewhere.get(pack).filter(|failure| {
            // All of it was read here since.
            here.and_then(|known| known.intact).is_none_or(|intact| intact <= failure.seen)
        });
        let failure = here.and_then(|known| known.failed.as_ref()).or(elsewhere)?;
        let code = Code::parse(&failure.code).unwrap_or(Code::PackDamaged);
        let detail = format!("it failed a read on this host on {}: {}", failure.seen.rfc3339(), failure.detail);
        Some(Finding::new(code, layout::pack_path(pack), detail))
    }

    /// Returns why packs may be in doubt that are not listed, in words.
    pub fn unsure(&self) -> Option<&str> {
        self.unsure.as_deref()
    }

    /// Notes that all of a pack was read at this place and is intact.
    pub fn note_intact(&mut self, pack: Digest, now: Time) {
        self.news.insert(pack, Known { failed: None, intact: Some(now), pack });
    }

    /// Notes that a pack failed a read at this place.
    pub fn note_failed(&mut self, pack: Digest, finding: &Finding, now: Time) {
        if finding.code == Code::VaultForbidden {
            // That says nothing of the pack.
            return;
        }
        let detail = finding.detail.chars().take(DETAIL_CHARACTERS_MAX).collect();
        let failure = Failure { code: finding.code.to_string(), detail, seen: now };
        self.news.insert(pack, Known { failed: Some(failure), intact: None, pack });
    }

    /// Notes that every pack was read at this place: none is in doubt but those that failed.
    pub fn note_all_read(&mut self) {
        self.all_read = true;
    }

    /// Adds to the file what this process noted; another process may have noted something else meanwhile.
    ///
    /// # Errors
    /// DV410 where the state directory cannot be written.
    pub fn save(&self, host: &Host, macs: &Macs) -> Result<()> {
        if self.news.is_empty() && !self.all_read {
            return Ok(());
        }
        let _lock = sealed::lock(host, &self.file)?;
        let old = trusted(&self.file, macs);
        let unsure = !self.all_read && old.as_ref().map_or(true, |old| old.as_ref().is_some_and(|old| old.unsure));
        let old = old.ok().flatten();
        let mut packs: BTreeMap<Digest, Known> =
            old.iter().flat_map(|old| &old.packs).map(|known| (known.pack, known.clone())).collect();
        for (pack, known) in &self.news {
            // The first failure is the one to look into.
            let failed_before = packs.get(pack).is_some_and(|old| old.failed.is_some());
            if !(failed_before && known.failed.is_some()) {
                packs.insert(*pack, known.clone());
            }
        }
        let packs = packs.into_values().collect();
        let stored = Stored { packs, place: self.place.clone(), unsure, vault: macs.vault() };
        if old.as_ref() == Some(&stored) {
            return Ok(());
        }
        sealed::write(&self.file, macs, Domain::Reads, &stored)
    }
}

/// Keeps in mind which packs failed while something was read from a vault; returns what should be said, in words.
pub fn keep_in_mind(
    host: &Host,
    macs: &Macs,
    store: &dyn Store,
    failed: &BTreeMap<Digest, Finding>,
    now: Time,
) -> Vec<String> {
    let mut reads = Reads::load(host, macs, store);
    for (pack, finding) in failed {
        reads.note_failed(*pack, finding, now);
    }
    let saved = reads.save(host, macs).err();
    let forgotten =
        saved.map(|error| format!("packs that failed a read were not remembered for later backups: {error}"));
    let notes = failed.values().map(|finding| {
        let medium = store.local_path().filter(|_| finding.code == Code::Unstable).map(evidence::medium_in_words);
        let on = medium.map(|medium| format!("; the vault lies on {medium}")).unwrap_or_default();
        let (subject, title, detail) = (&finding.subject, finding.code.title(), &finding.detail);
        format!("{subject}: {title}; {detail}{on}; run `devvault verify`, and see: devvault runbook {}", finding.code)
    });
    forgotten.into_iter().chain(notes).collect()
}

fn trusted(file: &Path, macs: &Macs) -> Result<Option<Stored>, String> {
    match sealed::read::<Stored>(file, macs, Domain::Reads)? {
        Some(stored) if stored.vault != macs.vault() => Err("it is another vault's".into()),
        other => Ok(other),
    }
}

/// Returns whether the vault is still at the place that a file speaks of.
fn is_there(stored: &Stored) -> bool {
    let config = Path::new(&stored.place).join(layout::CONFIG);
    replace::read(&config, limits::CONFIG_BYTES_MAX).is_ok_and(|bytes| claimed_vault(&bytes) == Some(stored.vault))
}
