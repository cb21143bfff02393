//! Reads: what this host remembers of reading the packs of a vault at one place, kept outside the vault.
//!
//! Invariants: a pack that failed stays in doubt until all of it was read *at that place* and was intact, by a process that
//! had begun to look after the failure was noted; a writer leaves out nothing because of a pack in doubt. Copies of a vault
//! share its id and not its memory: each place has its own, and so has each copy that is mounted at one place in turn. What
//! cannot be trusted counts as unknown: nothing is taken for read, and any pack may be in doubt; where it is the memory of
//! another place, whose medium may be mounted here now, until every pack was read here. So does a read that is later than
//! now: a clock that was ahead once would keep it for ever. Losing the file costs only this memory; other hosts do not see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chain::claimed_at;
use super::{Finding, layout, sealed};
use crate::clock::Time;
use crate::crypto::{Digest, Domain, Id, Macs};
use crate::error::{Result, shown_path};
use crate::fsys::{Dir, replace};
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
    /// The writing of the file that brought it: no clock tells what came first.
    writing: u64,
}

impl Failure {
    /// Returns the finding about a pack that it is, in these words.
    fn finding(&self, pack: &Digest, detail: impl std::fmt::Display) -> Finding {
        let code = Code::parse(&self.code).unwrap_or(Code::PackDamaged);
        Finding::new(code, layout::pack_path(pack), detail)
    }
}

/// What is remembered of one pack: a failure or when it was intact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Failures at places that were gone, by when they were seen, that were known before it was read and intact here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    answered: BTreeSet<Time>,
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
    /// Which copy lies there: see [`copy_of`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy: Option<String>,
    /// Memories of other places that could not be trusted, by name and digest, when every pack was read here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lost: BTreeSet<String>,
    packs: Vec<Known>,
    place: String,
    /// It replaced what could not be trusted, and not every pack has been read since.
    unsure: bool,
    vault: Id,
    /// How often it was written.
    writings: u64,
}

/// What this host remembers of reading the packs of a vault at one place.
#[derive(Debug, Default)]
pub struct Reads {
    file: PathBuf,
    place: String,
    copy: Option<String>,
    known: BTreeMap<Digest, Known>,
    // How often the file had been written when it was loaded.
    writings: u64,
    // What this process adds.
    news: BTreeMap<Digest, Known>,
    // What failed at places that are gone: the medium may be mounted elsewhere now.
    elsewhere: BTreeMap<Digest, Vec<Failure>>,
    unsure: Option<String>,
    // Memories of other places that cannot be trusted, and what is said of those that nothing answers.
    lost: BTreeSet<String>,
    unsure_elsewhere: Option<String>,
    all_read: bool,
}

impl Reads {
    /// Reads what this host remembers of a vault at the place of a store.
    pub fn load(host: &Host, macs: &Macs, store: &dyn Store, now: Time) -> Self {
        let (place, copy) = (place_of(store), copy_of(store));
        let (directory, file) = file_of(host, macs, store, copy.as_deref());
        let mut reads = Self { place, copy, ..Self::default() };
        let mut answered = BTreeSet::new();
        match trusted(&file, macs) {
            Ok(None) => {}
            Ok(Some(stored)) => {
                reads.unsure = stored.unsure.then(|| "an earlier list of packs that failed was lost".into());
                reads.writings = stored.writings;
                answered = stored.lost;
                reads.known = stored.packs.into_iter().map(|known| (known.pack, known)).collect();
            }
            Err(reason) => reads.unsure = Some(format!("{} cannot be trusted: {reason}", shown_path(&file))),
        }
        for known in reads.known.values_mut() {
            known.intact = known.intact.filter(|intact| *intact <= now);
        }
        match others(&directory, &file) {
            Ok(others) => others.iter().for_each(|other| reads.look_elsewhere(other, macs, &answered)),
            Err(error) => {
                reads.unsure_elsewhere = Some(format!("{} cannot be listed: {error}", shown_path(&directory)));
            }
        }
        reads.file = file;
        reads
    }

    /// Takes what failed at another place, if that is gone.
    fn look_elsewhere(&mut self, other: &Path, macs: &Macs, answered: &BTreeSet<String>) {
        match trusted(other, macs) {
            Ok(Some(stored)) if !is_there(&stored) => {
                for known in stored.packs {
                    self.elsewhere.entry(known.pack).or_default().extend(known.failed);
                }
            }
            Ok(_) => {}
            Err(reason) => {
                let name = other.file_name().unwrap_or_default().to_string_lossy();
                // What is damaged anew, or is another one, is not what was answered.
                let content = replace::read(other, limits::STATE_BYTES_MAX)
                    .map_or_else(|_| String::new(), |bytes| Digest::of(&bytes).to_string());
                let lost = format!("{name} {content}");
                if !answered.contains(&lost) {
                    self.unsure_elsewhere = Some(format!("{} cannot be trusted: {reason}", shown_path(other)));
                }
                self.lost.insert(lost);
            }
        }
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
        let is_answered = |failure: &&Failure| here.is_some_and(|known| known.answered.contains(&failure.seen));
        let elsewhere = self.elsewhere.get(pack).and_then(|failures| failures.iter().find(|one| !is_answered(one)));
        let failure = here.and_then(|known| known.failed.as_ref()).or(elsewhere)?;
        let detail = format!("it failed a read on this host on {}: {}", failure.seen.rfc3339(), failure.detail);
        Some(failure.finding(pack, detail))
    }

    /// Returns what tells later what other processes of this host found since this was loaded.
    pub fn recall(&self, macs: &Arc<Macs>) -> Recall {
        Recall { file: self.file.clone(), macs: Arc::clone(macs), writings: self.writings }
    }

    /// Returns why packs may be in doubt that are not listed, in words.
    pub fn unsure(&self) -> Option<&str> {
        self.unsure.as_deref().or(self.unsure_elsewhere.as_deref())
    }

    /// Notes that all of a pack was read at this place and is intact.
    pub fn note_intact(&mut self, pack: Digest, now: Time) {
        let mut answered = self.get(&pack).map(|known| known.answered.clone()).unwrap_or_default();
        answered.extend(self.elsewhere.get(&pack).into_iter().flatten().map(|failure| failure.seen));
        self.news.insert(pack, Known { answered, failed: None, intact: Some(now), pack });
    }

    /// Notes that a pack failed a read at this place.
    pub fn note_failed(&mut self, pack: Digest, finding: &Finding, now: Time) {
        if finding.code == Code::VaultForbidden {
            // That says nothing of the pack.
            return;
        }
        let detail = finding.detail.chars().take(DETAIL_CHARACTERS_MAX).collect();
        // Which writing brings it is known when it is written.
        let failure = Failure { code: finding.code.to_string(), detail, seen: now, writing: 0 };
        let known = Known { answered: BTreeSet::new(), failed: Some(failure), intact: None, pack };
        self.news.insert(pack, known);
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
        let unsure = match &old {
            Err(_) => !self.all_read || self.unsure.is_none(),
            Ok(old) => !self.all_read && old.as_ref().is_some_and(|old| old.unsure),
        };
        let old = old.ok().flatten();
        let writings = old.as_ref().map_or(0, |old| old.writings).max(self.writings) + 1;
        let mut packs: BTreeMap<Digest, Known> =
            old.iter().flat_map(|old| &old.packs).map(|known| (known.pack, known.clone())).collect();
        for (pack, known) in &self.news {
            let failed_before = packs.get(pack).and_then(|old| old.failed.as_ref()).map(|failure| failure.writing);
            let mut known = known.clone();
            match (&mut known.failed, failed_before) {
                // The first failure is the one to look into.
                (Some(_), Some(_)) => continue,
                (Some(failure), None) => failure.writing = writings,
                // It may have failed after it was read here.
                (None, Some(writing)) if writing > self.writings => continue,
                (None, _) => {}
            }
            packs.insert(*pack, known);
        }
        let packs = packs.into_values().collect();
        let (copy, place) = (self.copy.clone(), self.place.clone());
        let lost = match &old {
            Some(old) if !self.all_read => old.lost.clone(),
            None if !self.all_read => BTreeSet::new(),
            _ => self.lost.clone(),
        };
        let mut stored = Stored { copy, lost, packs, place, unsure, vault: macs.vault(), writings };
        if let Some(old) = old {
            stored.writings = old.writings;
            if old == stored {
                return Ok(());
            }
            stored.writings = writings;
        }
        sealed::write(&self.file, macs, Domain::Reads, &stored)
    }
}

/// Tells what other processes of this host found of a vault's packs since a memory of them was loaded.
#[derive(Debug)]
pub struct Recall {
    file: PathBuf,
    macs: Arc<Macs>,
    writings: u64,
}

impl Recall {
    /// Returns the packs that failed a read since.
    pub fn failed_since(&self) -> Vec<(Digest, Finding)> {
        // What cannot be trusted now was told when it was loaded, or is told by whoever loads it next.
        let stored = trusted(&self.file, &self.macs).ok().flatten();
        let failed = stored.into_iter().flat_map(|stored| stored.packs).filter_map(|known| {
            let failure = known.failed.filter(|failure| failure.writing > self.writings)?;
            Some((known.pack, failure.finding(&known.pack, &failure.detail)))
        });
        failed.collect()
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
    let mut reads = Reads::load(host, macs, store, now);
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

/// Returns whether the vault is still at the place that a file speaks of, and the same copy of it.
fn is_there(stored: &Stored) -> bool {
    let place = Path::new(&stored.place);
    claimed_at(place) == Some(stored.vault) && copy_at(place) == stored.copy
}

fn place_of(store: &dyn Store) -> String {
    store.local_path().map_or_else(|| store.describe(), |path| path.to_string_lossy().into_owned())
}

/// Tells copies of a vault from each other that are mounted at one place in turn: by when the file system last changed
/// `vault.json` in any way, and by when it made that file. Nobody writes it after the vault was made, copying makes it anew,
/// and who could set these times back has the medium. Both, because FAT and exFAT keep no time of change, for which Linux
/// gives the time of modification there, and a copy may keep that. A copy of the whole medium, block by block, has the same
/// times and is not told apart. Nothing where the system tells neither.
pub fn copy_of(store: &dyn Store) -> Option<String> {
    store.local_path().and_then(copy_at)
}

fn copy_at(place: &Path) -> Option<String> {
    let changed = Dir::open(place).and_then(|dir| dir.stat_at(layout::CONFIG.as_bytes())).ok()?.ctime;
    let created = fs::symlink_metadata(place.join(layout::CONFIG)).and_then(|metadata| metadata.created()).ok();
    copy_by(changed, created.map(Time::from_system))
}

fn copy_by(changed: Option<Time>, created: Option<Time>) -> Option<String> {
    let of = |what, time: Option<Time>| time.map(|time| format!("{what} {}", time.rfc3339_exact()));
    let times: Vec<String> = of("changed", changed).into_iter().chain(of("made", created)).collect();
    (!times.is_empty()).then(|| times.join(", "))
}

/// Returns the files beside one in which this host keeps what it remembers of the same vault at other places.
fn others(directory: &Path, file: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
    let is_other = |path: &PathBuf| path != file && path.extension().is_some_and(|extension| extension == "json");
    Ok(paths.into_iter().filter(is_other).collect())
}

/// Returns the directory of a vault's memories, and the file of the one of a place and copy.
fn file_of(host: &Host, macs: &Macs, store: &dyn Store, copy: Option<&str>) -> (PathBuf, PathBuf) {
    let directory = host.reads_directory(macs.vault());
    let place = place_of(store);
    let mut of = store.local_path().map_or(place.as_bytes(), |path| path.as_os_str().as_encoded_bytes()).to_vec();
    of.extend_from_slice(copy.unwrap_or_default().as_bytes());
    let file = directory.join(format!("{}.json", &Digest::of(&of).to_string()[..32]));
    (directory, file)
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
            Reads::load(&self.host, &macs(), store, at(100))
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

        let read = places.note(&here, |reads| reads.note_intact(PACK, at(20)));
        assert!(read.doubt(&PACK).is_none());
        // Another failure there is not answered by what was read before it was known, whatever the clocks say.
        fs::rename(places.root.path().join("there"), places.root.path().join("other")).expect("free");
        fs::rename(places.root.path().join("aside"), places.root.path().join("there")).expect("free");
        let mut begun = places.load(&here);
        places.note(&there, |reads| reads.note_intact(PACK, at(12)));
        places.note(&there, |reads| reads.note_failed(PACK, &damaged(), at(15)));
        fs::rename(places.root.path().join("there"), places.root.path().join("aside")).expect("free");
        begun.note_intact(PACK, at(30));
        begun.save(&places.host, &macs()).expect("writable");
        assert!(places.load(&here).doubt(&PACK).is_some());
        assert!(places.note(&here, |reads| reads.note_intact(PACK, at(31))).doubt(&PACK).is_none());
        assert!(places.note(&here, |reads| reads.note_intact(PACK, at(32))).doubt(&PACK).is_none(), "an answer stays");
    }

    #[test]
    fn a_read_clears_no_failure_that_another_process_noted_since_it_began() {
        let places = Places::new();
        let here = places.put("here", VAULT);
        let mut begun = places.load(&here);
        let recall = begun.recall(&Arc::new(macs()));
        assert_eq!(recall.failed_since(), []);
        places.note(&here, |reads| reads.note_failed(PACK, &damaged(), at(10)));
        assert_eq!(recall.failed_since(), [(PACK, damaged())]);
        begun.note_intact(PACK, at(20));
        begun.save(&places.host, &macs()).expect("writable");
        let known = places.load(&here);
        assert!(known.doubt(&PACK).is_some() && known.last(&PACK).is_none());
        assert_eq!(known.recall(&Arc::new(macs())).failed_since(), [], "that was known when it was loaded");
        assert!(places.note(&here, |reads| reads.note_intact(PACK, at(5))).doubt(&PACK).is_none(), "by no clock");
    }

    #[test]
    fn a_first_failure_stays_and_a_failure_takes_what_was_read_before() {
        let places = Places::new();
        let here = places.put("here", VAULT);
        let failed = places.note(&here, |reads| {
            reads.note_intact(PACK, at(1));
            reads.note_failed(PACK, &damaged(), at(2));
        });
        assert!(failed.last(&PACK).is_none());
        let other = Finding { detail: "other".into(), ..damaged() };
        let failed = places.note(&here, |reads| reads.note_failed(PACK, &other, at(3)));
        assert!(failed.doubt(&PACK).expect("failed").detail.ends_with("its end is no footer"));
    }

    #[test]
    fn a_read_that_is_later_than_now_counts_for_nothing() {
        let places = Places::new();
        let here = places.put("here", VAULT);
        places.note(&here, |reads| reads.note_intact(PACK, at(50)));
        let at_the_time = |now| Reads::load(&places.host, &macs(), &here, now).last(&PACK);
        assert_eq!((at_the_time(at(50)), at_the_time(at(49))), (Some(at(50)), None));
    }

    // Unix alone: a time of change that a rename of the directory above leaves alone, here asked of the system itself.
    #[cfg(unix)]
    #[test]
    fn copies_that_are_mounted_at_one_place_in_turn_have_a_memory_each() {
        let places = Places::new();
        let path = |name: &str| places.root.path().join(name);
        let here = places.put("here", VAULT);
        places.note(&here, |reads| reads.note_intact(PACK, at(1)));
        fs::rename(path("here"), path("first")).expect("free");
        // Times tick slowly on some systems.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let second = places.put("here", VAULT);
        assert!(places.load(&second).last(&PACK).is_none(), "the other copy was read");
        let failed = places.note(&second, |reads| reads.note_failed(PACK, &damaged(), at(2)));
        assert!(failed.doubt(&PACK).is_some());
        fs::rename(path("here"), path("second")).expect("free");
        fs::rename(path("first"), path("here")).expect("free");
        let first = places.load(&here);
        assert!(first.last(&PACK) == Some(at(1)) && first.doubt(&PACK).is_some(), "either may be the one that failed");
        assert!(places.note(&here, |reads| reads.note_intact(PACK, at(3))).doubt(&PACK).is_none());
    }

    #[test]
    fn a_copy_is_known_by_when_it_was_made_too() {
        assert_eq!(copy_by(None, None), None);
        let told = [(Some(at(1)), None), (None, Some(at(1))), (Some(at(1)), Some(at(1))), (Some(at(1)), Some(at(2)))];
        let copies: BTreeSet<Option<String>> = told.into_iter().map(|(changed, made)| copy_by(changed, made)).collect();
        assert_eq!(copies.len(), told.len());
    }

    #[test]
    fn a_memory_of_another_place_that_cannot_be_trusted_is_doubt_until_every_pack_was_read_here() {
        let places = Places::new();
        let (here, there) = (places.put("here", VAULT), places.put("there", VAULT));
        let file = places.note(&there, |reads| reads.note_failed(PACK, &damaged(), at(10))).file;
        fs::rename(places.root.path().join("there"), places.root.path().join("aside")).expect("free");
        let bytes = fs::read(&file).expect("there");
        fs::write(&file, "damaged").expect("writable");
        assert!(places.load(&here).unsure().expect("any may have failed").contains("cannot be trusted"));
        assert!(places.note(&here, |reads| reads.note_intact(PACK, at(11))).unsure().is_some(), "one pack is not all");
        let all = places.note(&here, Reads::note_all_read);
        assert_eq!((all.unsure(), all.doubt(&PACK)), (None, None));
        assert!(places.note(&here, |reads| reads.note_intact(PACK, at(12))).unsure().is_none(), "an answer stays");
        fs::write(&file, "damaged anew").expect("writable");
        assert!(places.load(&here).unsure().is_some());
        fs::write(&file, bytes).expect("writable");
        let known = places.load(&here);
        assert!(
            known.unsure().is_none() && known.doubt(&PACK).is_some(),
            "nobody knew of that failure when it was read"
        );
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
