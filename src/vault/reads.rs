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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use crate::store::LocalStore;

    const VAULT: Id = Id([2; 16]);
    const PACK: Digest = Digest([7; 32]);

    fn macs() -> Macs {
        Macs::new(&Secret::from_bytes([1; 32]), VAULT)
    }

    fn at(seconds: i64) -> Time {
        Time { seconds, nanos: 0 }
    }

    fn damaged() -> Finding {
        Finding::new(Code::PackDamaged, layout::pack_path(&PACK), "its end is no footer")
    }

    /// A host, and places where vaults may lie.
    struct Places {
        root: tempfile::TempDir,
        host: Host,
    }

    impl Places {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a directory");
            let at = |name| root.path().join(name);
            Self { host: Host::new(at("config"), at("state"), at("data")), root }
        }

        /// Puts what claims to be a vault at a place.
        fn put(&self, place: &str, vault: Id) -> LocalStore {
            let path = self.root.path().join(place);
            fs::create_dir_all(&path).expect("new");
            fs::write(path.join(layout::CONFIG), format!("{{\"a\":1,\"vault\":\"{vault}\"}}")).expect("writable");
            LocalStore::open(&path).expect("there")
        }

        fn load(&self, store: &LocalStore) -> Reads {
            Reads::load(&self.host, &macs(), store)
        }

        /// Notes something and returns what is remembered then.
        fn note(&self, store: &LocalStore, note: impl FnOnce(&mut Reads)) -> Reads {
            let mut reads = self.load(store);
            note(&mut reads);
            reads.save(&self.host, &macs()).expect("writable");
            self.load(store)
        }
    }

    #[test]
    fn a_failure_elsewhere_counts_once_its_place_is_gone_until_all_was_read_here_later() {
        let places = Places::new();
        let (here, there) = (places.put("here", VAULT), places.put("there", VAULT));
        let failed = places.note(&there, |reads| reads.note_failed(PACK, &damaged(), at(10)));
        assert!(failed.doubt(&PACK).is_some());
        assert!(places.load(&here).doubt(&PACK).is_none(), "the copy that failed is another one");
        // Nothing, or another vault, lies there now.
        fs::rename(places.root.path().join("there"), places.root.path().join("aside")).expect("free");
        assert!(places.load(&here).doubt(&PACK).is_some());
        places.put("there", Id([9; 16]));
        let doubt = places.load(&here).doubt(&PACK).expect("it may be mounted here");
        assert_eq!(doubt.code, Code::PackDamaged);
        assert!(doubt.detail.contains("its end is no footer"), "{}", doubt.detail);

        let same = places.note(&here, |reads| reads.note_intact(PACK, at(10)));
        assert!(same.doubt(&PACK).is_some(), "what came first is not known");
        let later = places.note(&here, |reads| reads.note_intact(PACK, Time { seconds: 10, nanos: 1 }));
        assert!(later.doubt(&PACK).is_none());
    }

    #[test]
    fn only_files_of_their_own_name_are_a_memory() {
        let places = Places::new();
        let (here, there) = (places.put("here", VAULT), places.put("there", VAULT));
        let file = places.note(&there, |reads| reads.note_failed(PACK, &damaged(), at(10))).file;
        fs::rename(places.root.path().join("there"), places.root.path().join("aside")).expect("free");
        fs::rename(&file, file.with_extension("bak")).expect("free");
        assert!(places.load(&here).doubt(&PACK).is_none());
        fs::rename(file.with_extension("bak"), &file).expect("free");
        assert!(places.load(&here).doubt(&PACK).is_some());
    }

    #[test]
    fn what_replaced_a_memory_that_cannot_be_trusted_stays_unsure_until_every_pack_was_read() {
        let places = Places::new();
        let here = places.put("here", VAULT);
        let file = places.load(&here).file;
        places.load(&here).save(&places.host, &macs()).expect("nothing to do");
        assert!(!file.exists(), "nothing was noted");

        let sure = places.note(&here, |reads| reads.note_intact(PACK, at(1)));
        assert!(sure.unsure().is_none() && sure.last(&PACK) == Some(at(1)));
        fs::write(&file, "damaged").expect("writable");
        let lost = places.load(&here);
        assert!(lost.unsure().is_some() && lost.last(&PACK).is_none());
        lost.save(&places.host, &macs()).expect("nothing to do");
        assert_eq!(fs::read(&file).expect("there"), b"damaged", "nothing was noted");
        let some = places.note(&here, |reads| reads.note_intact(PACK, at(2)));
        assert!(some.unsure().is_some(), "another one may have failed");
        let all = places.note(&here, Reads::note_all_read);
        assert!(all.unsure().is_none() && all.last(&PACK) == Some(at(2)));
    }

    #[test]
    fn the_memory_of_another_vault_is_not_believed_whoever_sealed_it() {
        let places = Places::new();
        let here = places.put("here", VAULT);
        let file = places.note(&here, |reads| reads.note_intact(PACK, at(1))).file;
        let mut stored = trusted(&file, &macs()).expect("sound").expect("there");
        stored.vault = Id([9; 16]);
        sealed::write(&file, &macs(), Domain::Reads, &stored).expect("writable");
        let reads = places.load(&here);
        assert!(reads.unsure().is_some() && reads.last(&PACK).is_none());
    }

    #[test]
    fn packs_that_failed_while_something_was_read_are_kept_in_mind_and_told() {
        let places = Places::new();
        let here = places.put("here", VAULT);
        let keep = |finding: Finding| {
            let failed = BTreeMap::from([(PACK, finding)]);
            let said = keep_in_mind(&places.host, &macs(), &here, &failed, at(1));
            let [one] = &said[..] else { panic!("one pack, one note: {said:?}") };
            one.clone()
        };
        let said = keep(damaged());
        let text = format!("{}: {}; its end is no footer; run", layout::pack_path(&PACK), Code::PackDamaged.title());
        assert!(said.starts_with(&text), "no medium is named where the bytes are wrong: {said}");
        assert!(places.load(&here).doubt(&PACK).is_some());
        let said = keep(Finding { code: Code::Unstable, ..damaged() });
        assert!(said.contains("; the vault lies on ") && said.ends_with("DV405"), "{said}");
    }
}
