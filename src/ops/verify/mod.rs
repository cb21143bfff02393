//! `verify`: proves that snapshots are recoverable, or finds everything that stands against it.
//!
//! It takes a store and a key rather than an opened vault, so that it still speaks when the vault would refuse. It
//! writes nothing into the vault. `valid` means: every byte that the snapshots need was read, decoded and hashed in
//! this run.

mod blame;
mod proof;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::blame::Blame;
use self::proof::{ListCheck, Proof};
use super::select::Selector;
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse};
use crate::format::entry::ChunkRef;
use crate::format::listing::PartRef;
use crate::format::record::Head;
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::progress::{Phase, Progress};
use crate::refusal::Code;
use crate::vault::catalog::{Catalog, UseIndex};
use crate::vault::chain::Chain;
use crate::vault::doubts::{self, Intact};
use crate::vault::gate::{self, Access, Found};
use crate::vault::read::{PackCheck, Reader, check_pack};
use crate::vault::witness::Freshness;
use crate::vault::{Finding, layout, read_error};

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Every byte that the snapshots need, and every byte of every pack when no snapshot is named.
    #[default]
    Full,
    /// Records, listings, presence and size of packs: does not prove recoverability.
    Quick,
}

impl Level {
    /// Returns the level's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
        }
    }
}

/// What a verification comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing was found.
    Valid,
    /// Something read differently the second time: suspect the host or the medium before the data.
    Unstable,
    /// Something is wrong.
    Invalid,
}

impl Verdict {
    /// Returns the verdict's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unstable => "unstable",
            Self::Invalid => "invalid",
        }
    }

    fn of(findings: &[Finding]) -> Self {
        let of = |finding: &Finding| if finding.code == Code::Unstable { Self::Unstable } else { Self::Invalid };
        findings.iter().map(of).max().unwrap_or(Self::Valid)
    }
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadTotals {
    /// Packs, completely.
    pub packs: u64,
    /// Bytes of packs.
    pub bytes_stored: u64,
    /// Plain bytes that were hashed.
    pub bytes: u64,
    /// Chunks whose hash matched.
    pub chunks: u64,
    /// Entries of listings; a listing that several snapshots share is read once.
    pub entries: u64,
}

/// What `verify` found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// What it comes to.
    pub verdict: Verdict,
    /// How much was read.
    pub level: Level,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// The head of the chain.
    pub head: Head,
    /// Each snapshot that was looked at, ascending, with its own verdict.
    pub snapshots: Vec<(u64, Verdict)>,
    /// What those snapshots lack since they were made: files that kept changing and were left out, as allowed.
    pub left_out: BTreeMap<u64, Vec<EntryPath>>,
    /// Everything that is wrong, ascending by code.
    pub findings: Vec<Finding>,
    /// How much was read.
    pub read: ReadTotals,
    /// What was not looked at, in words.
    pub not_checked: Vec<String>,
    /// What should be said besides, in words.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns the process exit status: 0 only for valid, else that of the lowest family among the findings.
    pub fn exit(&self) -> u8 {
        match self.verdict {
            Verdict::Valid => 0,
            _ => self.findings.iter().map(|finding| finding.code.family().exit()).min().unwrap_or(1),
        }
    }
}

/// Verifies the named snapshots, or all of them and the vault as a whole where none is named.
///
/// # Errors
/// DV301 to DV307 and DV406 where vault or key are not there, DV404 during a removal, DV111 where there is nothing to
/// verify, DV112 or DV113 where a named snapshot does not exist. Damage is no error but a finding.
pub fn run(access: &Access, selectors: &[Selector], level: Level, progress: &dyn Progress) -> Result<Report> {
    progress.phase(Phase::Opening, None, None);
    let found = gate::find(access)?;
    let _lock = gate::read_lock(&*found.store)?;
    let mut verifier = Verifier::open(access, &found, selectors)?;
    verifier.level = level;
    let pool = Pool::new();
    let use_index = if level == Level::Quick { UseIndex::Yes } else { UseIndex::No };
    let mut catalog = verifier.load_catalog(use_index)?;
    let found_in_packs = std::mem::take(&mut catalog.findings);
    verifier.fail(&found_in_packs);
    let catalog = Arc::new(catalog);
    let reader = Arc::new(Reader::new(Arc::clone(&found.store), Arc::clone(&found.macs), Arc::clone(&catalog)));
    let mut findings = verifier.concerning(found_in_packs, &reader);

    let mut proof =
        Proof { level, catalog: Arc::clone(&catalog), intact: vec![level == Level::Quick; catalog.place_count()] };
    if level == Level::Full {
        match verifier.needed_packs(&reader) {
            None => findings.extend(verifier.read_packs(&mut proof, None, &pool, progress)?),
            Some(needed) => {
                findings.extend(verifier.read_packs(&mut proof, Some(&needed.named), &pool, progress)?);
                if !findings.is_empty() {
                    // Another pack may have what a damaged one lacks.
                    findings.extend(verifier.read_packs(&mut proof, Some(&needed.others), &pool, progress)?);
                }
            }
        }
    }
    verifier.fail(&findings);
    let proof = Arc::new(proof);
    let mut blame = Blame::new(&catalog, findings);
    verifier.check_snapshots(&reader, &proof, &pool, &mut blame, progress)?;
    verifier.failed.extend(reader.failed_packs());
    verifier.remember_failed(access);
    Ok(verifier.report(access, blame))
}

/// The packs that hold what named snapshots need.
#[derive(Default)]
struct Needed {
    // Those that the manifests name, and those that alone have a chunk.
    named: BTreeSet<u32>,
    // Those that have some of it too.
    others: BTreeSet<u32>,
}

/// What is known before packs are read.
struct Verifier<'a> {
    found: &'a Found,
    chain: Chain,
    level: Level,
    freshness: Freshness,
    // No snapshot was named: the vault as a whole is meant.
    whole: bool,
    numbers: Vec<u64>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    not_checked: Vec<String>,
    read: ReadTotals,
    // Packs that failed a read of this run, and packs that were read completely.
    failed: BTreeMap<Digest, Finding>,
    complete: Vec<Digest>,
}

impl<'a> Verifier<'a> {
    fn open(access: &Access, found: &'a Found, selectors: &[Selector]) -> Result<Self> {
        let mut findings = Vec::new();
        let digest = match &found.config {
            Ok((_, digest)) => Some(*digest),
            Err(finding) if finding.code == Code::KeyWrong => return Err(finding.clone().into()),
            Err(finding) => {
                findings.push(finding.clone());
                None
            }
        };
        let chain = Chain::read(&*found.store, &found.macs, digest)
            .map_err(|error| read_error(&*found.store, layout::SNAPSHOTS, &error))?;
        let mut notes: Vec<String> = found.key.note.iter().cloned().collect();
        let by_number =
            !selectors.is_empty() && selectors.iter().all(|selector| matches!(selector, Selector::Number(_)));
        let freshness = match gate::judge(access, &found.macs, &chain, &mut notes) {
            Ok(freshness) => freshness,
            Err(Error::Refused(refusal)) if refusal.code == Code::WitnessUnreadable => {
                if by_number {
                    notes.push(format!("freshness is unproven: {}", refusal.message));
                } else {
                    findings.push(Finding::new(refusal.code, "this host's witness", refusal.causes.join("; ")));
                }
                Freshness::Unproven
            }
            Err(error) => return Err(error),
        };
        if !by_number {
            findings.extend(chain.findings.iter().cloned());
            findings.extend(freshness.finding(&found.store.describe()));
        }
        let mut verifier = Self {
            found,
            chain,
            level: Level::Full,
            freshness,
            whole: selectors.is_empty(),
            numbers: Vec::new(),
            findings,
            notes,
            not_checked: Vec::new(),
            read: ReadTotals::default(),
            failed: BTreeMap::new(),
            complete: Vec::new(),
        };
        verifier.choose(selectors)?;
        Ok(verifier)
    }

    fn choose(&mut self, selectors: &[Selector]) -> Result<()> {
        if self.whole {
            self.numbers = self.chain.snapshots().map(|(number, _)| number).collect();
            if self.numbers.is_empty() && self.findings.is_empty() {
                return refuse(Code::NothingToVerify, format!("{} holds no snapshot", self.found.store.describe()));
            }
            return Ok(());
        }
        let mut numbers = BTreeSet::new();
        for selector in selectors {
            match super::select::resolve(&self.chain, selector, &self.found.store.describe()) {
                Ok(number) => {
                    numbers.insert(number);
                }
                // What is wrong with the chain says more than that nothing is left of it.
                Err(Error::Refused(_)) if matches!(selector, Selector::Latest(_)) && !self.findings.is_empty() => {}
                Err(Error::Refused(refusal)) => {
                    let damaged = match selector {
                        Selector::Number(number) => self
                            .chain
                            .findings
                            .iter()
                            .filter(|finding| finding.snapshots.contains(number))
                            .cloned()
                            .collect(),
                        Selector::Latest(_) => Vec::new(),
                    };
                    if damaged.is_empty() {
                        return Err(Error::Refused(refusal));
                    }
                    self.findings.extend(damaged);
                }
                Err(error) => return Err(error),
            }
        }
        // What is wrong about a named snapshot's own directory counts, what is wrong elsewhere in the chain does not.
        let own = self
            .chain
            .findings
            .iter()
            .filter(|finding| finding.snapshots.iter().any(|number| numbers.contains(number)));
        for finding in own {
            if !self.findings.contains(finding) {
                self.findings.push(finding.clone());
            }
        }
        self.numbers = numbers.into_iter().collect();
        let others = self.chain.findings.iter().filter(|finding| !self.findings.contains(finding)).count();
        if others > 0 {
            self.notes.push(format!(
                "the chain has {others} finding(s) that do not concern the named snapshots; plain `verify` names them"
            ));
        }
        Ok(())
    }

    fn load_catalog(&mut self, use_index: UseIndex) -> Result<Catalog> {
        let store = &*self.found.store;
        let load = |use_index| {
            Catalog::load(store, &self.found.macs, use_index)
                .map_err(|error| Error::from(read_error(store, layout::PACKS, &error)))
        };
        let mut catalog = load(use_index)?;
        if !catalog.findings.is_empty() {
            // What a writer finished meanwhile is no finding; what reads now is unstable.
            let first = std::mem::replace(&mut catalog, load(use_index)?);
            for finding in first.findings {
                let still = catalog.findings.iter().any(|other| other.subject == finding.subject);
                let there = catalog.packs().iter().any(|pack| layout::pack_path(&pack.name) == finding.subject);
                if !still && there {
                    catalog.findings.push(unstable(finding));
                }
            }
        }
        if use_index == UseIndex::Yes {
            self.notes.extend(
                catalog.index.ignored.iter().map(|reason| format!("the index was not used completely: {reason}")),
            );
        } else if self.whole {
            let state = load(UseIndex::Yes)?.index;
            self.notes.extend(state.ignored.iter().map(|reason| {
                format!("the index was not needed and is not sound: {reason}; `devvault index rebuild` makes it anew")
            }));
        }
        Ok(catalog)
    }

    /// Keeps the findings about packs that the named snapshots rely on; the others become a note.
    fn concerning(&mut self, findings: Vec<Finding>, reader: &Reader) -> Vec<Finding> {
        if self.whole {
            return findings;
        }
        let snapshots = self.numbers.iter().filter_map(|number| self.chain.snapshot(*number));
        let named: BTreeSet<String> = snapshots
            .flat_map(|snapshot| reader.packs(snapshot).unwrap_or_default())
            .map(|pack| layout::pack_path(&pack.0))
            .collect();
        let (kept, others): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|finding| named.contains(&finding.subject));
        if !others.is_empty() {
            self.notes.push(format!(
                "{} finding(s) about packs do not concern the named snapshots; plain `verify` names them",
                others.len()
            ));
        }
        kept
    }

    /// Returns the packs that hold a chunk of a named snapshot; nothing where every pack is to be read.
    fn needed_packs(&self, reader: &Arc<Reader>) -> Option<Needed> {
        if self.whole {
            return None;
        }
        let snapshots: Vec<_> = self.numbers.iter().filter_map(|number| self.chain.snapshot(*number)).collect();
        let relied_on: BTreeSet<Digest> = snapshots
            .iter()
            .flat_map(|snapshot| reader.packs(snapshot).unwrap_or_default())
            .map(|pack| pack.0)
            .collect();
        let catalog = reader.catalog();
        let is_named = |pack: &u32| relied_on.contains(&catalog.packs()[*pack as usize].name);
        let mut needed = Needed::default();
        let mut need = |chunk: ChunkRef| {
            let packs = catalog.places(chunk).map(|place| catalog.block(place.block).pack);
            let (named, others): (Vec<u32>, Vec<u32>) = packs.partition(is_named);
            // What the manifest does not name is read at once only where nothing else has the chunk.
            if named.is_empty() { &mut needed.named } else { &mut needed.others }.extend(others);
            needed.named.extend(named);
        };
        for snapshot in snapshots {
            for list in &snapshot.lists {
                need(list.object);
                // What cannot be read is found again, and blamed, when the snapshot is checked.
                for segment in reader.segment_list(list).unwrap_or_default() {
                    need(segment.object);
                    for entry in reader.segment(&segment).unwrap_or_default() {
                        if let Some(crate::format::entry::Chunks::Listed(lists)) = entry.file().map(|file| &file.chunks)
                        {
                            lists.iter().for_each(|list| need(list.object()));
                        }
                        let _ = reader.each_needed(&entry, |chunk| {
                            need(chunk);
                            Ok::<_, Finding>(())
                        });
                    }
                }
            }
        }
        needed.others.retain(|pack| !needed.named.contains(pack));
        Some(needed)
    }

    /// Reads packs completely and notes which chunks are intact.
    fn read_packs(
        &mut self,
        proof: &mut Proof,
        needed: Option<&BTreeSet<u32>>,
        pool: &Pool,
        progress: &dyn Progress,
    ) -> Result<Vec<Finding>> {
        let catalog = Arc::clone(&proof.catalog);
        let chosen: Vec<(u32, _)> = (0u32..)
            .zip(catalog.packs())
            .filter(|(number, _)| needed.is_none_or(|needed| needed.contains(number)))
            .collect();
        let total = chosen.iter().map(|(_, pack)| pack.length).sum();
        progress.phase(Phase::Verifying, Some(chosen.len() as u64), Some(total));
        let mut findings = Vec::new();
        for (number, pack) in chosen {
            if progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            let check = self.read_pack(&pack.name, pool, progress, &mut findings);
            progress.advance(1, 0);
            let Some(check) = check else { continue };
            self.complete.push(pack.name);
            self.read.packs += 1;
            self.read.bytes_stored += check.bytes_stored;
            self.read.bytes += check.bytes;
            self.read.chunks += check.intact.len() as u64;
            for chunk in check.intact {
                proof.prove(chunk, number);
            }
        }
        Ok(findings)
    }

    /// Keeps in mind which packs findings are about.
    fn fail(&mut self, findings: &[Finding]) {
        for finding in findings {
            if let Some(name) = layout::pack_named(&finding.subject) {
                self.failed.entry(name).or_insert_with(|| finding.clone());
            }
        }
    }

    /// Remembers for later backups which packs failed, and forgets those that did before and are intact.
    fn remember_failed(&mut self, access: &Access) {
        self.complete.retain(|name| !self.failed.contains_key(name));
        let everything = self.whole && self.level == Level::Full;
        let intact = if everything { Intact::AllOthers } else { Intact::Only(&self.complete) };
        let (macs, now) = (&self.found.macs, access.clock.now());
        if let Err(error) = doubts::remember(&access.host, macs, &self.failed, intact, now) {
            self.notes.push(format!("packs that failed a read were not remembered for later backups: {error}"));
        }
    }

    /// Reads one pack; a second time, from the medium, where the first finds something.
    fn read_pack(
        &self,
        name: &Digest,
        pool: &Pool,
        progress: &dyn Progress,
        findings: &mut Vec<Finding>,
    ) -> Option<PackCheck> {
        let store = &*self.found.store;
        let path = layout::pack_path(name);
        let read = |count: bool| {
            let mut advance = |bytes| {
                if count {
                    progress.advance(0, bytes);
                }
            };
            let mut check = check_pack(store, &self.found.macs, &path, pool, &mut advance)?;
            if check.name.is_some_and(|other| other != *name) {
                check.findings.push(Finding::new(Code::PackDamaged, &*path, "its bytes give another name"));
            }
            Ok(check)
        };
        let first: Result<PackCheck, Finding> = read(true);
        let (first, wrong) = match first {
            Ok(mut check) if check.findings.is_empty() => {
                check.findings.clear();
                return Some(check);
            }
            Ok(check) => {
                let wrong = check.findings.clone();
                (Some(check), wrong)
            }
            Err(finding) => (None, vec![finding]),
        };
        if let Ok(file) = store.open(&path) {
            file.drop_cached();
        }
        match read(false) {
            Ok(second) if second.findings.is_empty() => {
                findings.extend(wrong.into_iter().take(1).map(unstable));
                Some(second)
            }
            Ok(second) => {
                findings.extend(second.findings.clone());
                Some(second)
            }
            Err(finding) => {
                findings.push(finding);
                first
            }
        }
    }

    /// Checks the listing of every chosen snapshot against what was read.
    fn check_snapshots(
        &mut self,
        reader: &Arc<Reader>,
        proof: &Arc<Proof>,
        pool: &Pool,
        blame: &mut Blame,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut known: HashMap<PartRef, Arc<ListCheck>> = HashMap::new();
        for &number in &self.numbers {
            let Some(snapshot) = self.chain.snapshot(number) else { continue };
            // Lists that several snapshots share are checked once.
            let waiting: Vec<(PartRef, Task<ListCheck>)> = snapshot
                .lists
                .iter()
                .filter(|list| !known.contains_key(list))
                .map(|list| {
                    let (reader, proof, part) = (Arc::clone(reader), Arc::clone(proof), list.clone());
                    (list.clone(), pool.spawn(move || ListCheck::new(&reader, &proof, &part)))
                })
                .collect();
            for (list, task) in waiting {
                let check = task.wait();
                self.read.entries += check.counts.entries();
                known.insert(list, Arc::new(check));
                if progress.interrupted() {
                    return Err(Error::Interrupted(None));
                }
            }
            let lists: Vec<Arc<ListCheck>> =
                snapshot.lists.iter().filter_map(|list| known.get(list).cloned()).collect();
            if let Err(finding) = reader.packs(snapshot) {
                // Nothing is restored by this list: it only tells when older packs were read.
                let what =
                    format!("snapshot {number}'s list of packs cannot be used ({}: {})", finding.code, finding.detail);
                self.notes.push(what);
            }
            blame.snapshot(number, snapshot, &lists, reader);
        }
        Ok(())
    }

    fn left_out(&self) -> BTreeMap<u64, Vec<EntryPath>> {
        let snapshots = self.numbers.iter().filter_map(|&number| Some((number, self.chain.snapshot(number)?)));
        snapshots
            .filter(|(_, snapshot)| !snapshot.left_out.is_empty())
            .map(|(number, snapshot)| (number, snapshot.left_out.clone()))
            .collect()
    }

    fn report(mut self, access: &Access, blame: Blame) -> Report {
        let mut findings = std::mem::take(&mut self.findings);
        findings.extend(blame.finish());
        if let Err(config) = &self.found.config {
            // Nothing restores without it, however intact.
            for finding in findings.iter_mut().filter(|finding| *finding == config) {
                finding.snapshots.clone_from(&self.numbers);
            }
        }
        findings.sort_by(|a, b| (a.code, &a.subject).cmp(&(b.code, &b.subject)));
        let mut snapshots: BTreeMap<u64, Verdict> =
            self.numbers.iter().map(|&number| (number, Verdict::Valid)).collect();
        for finding in &findings {
            let verdict = Verdict::of(std::slice::from_ref(finding));
            for number in &finding.snapshots {
                // A number that a tampered record blocks is named in the findings; it is no snapshot that was looked at.
                let known = snapshots.entry(*number).or_insert(verdict);
                *known = (*known).max(verdict);
            }
        }
        if self.level == Level::Quick {
            self.not_checked.push("the content of files: packs are there and have their size, but were not read; this does not prove that the snapshots are recoverable".into());
        }
        if !self.whole {
            self.not_checked.push("other snapshots, and packs that the named ones do not need".into());
        }
        match &self.freshness {
            Freshness::Proven => {}
            Freshness::Unproven => self.not_checked.push(
                "freshness: this host has not seen this vault before, so that an older copy cannot be told from the newest; compare the head, or use --expect-head HEAD".into(),
            ),
            // The freshness itself says it.
            Freshness::Behind { .. } => {}
        }
        for name in &self.chain.incomplete {
            self.notes.push(format!(
                "{}/{name} was never finalized and is no snapshot; it stays as it is",
                layout::SNAPSHOTS
            ));
        }
        for name in &self.chain.foreign {
            let name = crate::path::shown(name.as_bytes());
            self.notes.push(format!("{}/{name} does not belong to the vault and was ignored", layout::SNAPSHOTS));
        }
        let verdict = Verdict::of(&findings);
        let left_out = self.left_out();
        let sound = findings.iter().all(|finding| finding.code.family() != crate::refusal::Family::CryptoBoundary);
        if sound && self.chain.findings.is_empty() && !matches!(self.freshness, Freshness::Behind { .. }) {
            let (found, chain) = (self.found, &self.chain);
            self.notes.extend(gate::remember(access, &found.key, &found.macs, chain, &self.freshness));
        }
        Report {
            vault: self.found.macs.vault(),
            verdict,
            level: self.level,
            freshness: self.freshness,
            head: self.chain.head(),
            left_out,
            snapshots: snapshots.into_iter().collect(),
            findings,
            read: self.read,
            not_checked: self.not_checked,
            notes: self.notes,
        }
    }
}

fn unstable(finding: Finding) -> Finding {
    Finding {
        detail: format!("the first read failed ({}: {}), the second succeeded", finding.code, finding.detail),
        code: Code::Unstable,
        ..finding
    }
}
