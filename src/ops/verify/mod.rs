//! `verify`: proves that snapshots are recoverable, or finds everything that stands against it.
//!
//! It takes a store and a key rather than an opened vault, so that it still speaks when the vault would refuse. It
//! writes nothing into the vault. `valid` means: every byte that the snapshots need was read, decoded and hashed in
//! this run; what read less than that and found nothing comes to `no-fault-found`, in every report and record.

mod blame;
mod packs;
mod proof;
mod rolling;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::blame::Blame;
use self::proof::{ListCheck, Proof};
pub use self::rolling::Budget;
pub(crate) use self::rolling::bad_at_most;
use super::audit::{self, Told};
use super::select::{self, Selector};
use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse};
use crate::format::listing::PartRef;
use crate::format::record::Head;
use crate::incident::{evidence, registry};
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Kept, exit_of};
use crate::vault::catalog::{Catalog, UseIndex};
use crate::vault::chain::Chain;
use crate::vault::gate::{self, Access, Found};
use crate::vault::named::NamedPacks;
use crate::vault::read::Reader;
use crate::vault::reads::Reads;
use crate::vault::witness::{self, Freshness};
use crate::vault::{Finding, layout, read_error};

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Every byte that the snapshots need, and every byte of every pack when no snapshot is named.
    #[default]
    Full,
    /// Records, listings, presence and size of packs: does not prove recoverability.
    Quick,
    /// As quick, and every byte of the packs that were not read for longest, within a budget.
    Rolling(Budget),
}

impl Level {
    /// Returns the level's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
            Self::Rolling(_) => "sample",
        }
    }
}

/// What a verification comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything was read, and nothing was found.
    Valid,
    /// Nothing was found in what was read, which was not everything: it proves no snapshot recoverable.
    NoFaultFound,
    /// Something read differently the second time: suspect the host or the medium before the data.
    Unstable,
    /// Something is wrong.
    Invalid,
}

impl Verdict {
    /// Returns the verdict's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => registry::VALID,
            Self::NoFaultFound => registry::NO_FAULT_FOUND,
            Self::Unstable => "unstable",
            Self::Invalid => "invalid",
        }
    }

    /// Returns whether nothing was found, in everything or in a part.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Valid | Self::NoFaultFound)
    }

    /// Decides by what was found, and where that is nothing, by how much was read.
    fn of(findings: &[Finding], level: Level) -> Self {
        let of = |finding: &Finding| if finding.code == Code::Unstable { Self::Unstable } else { Self::Invalid };
        findings.iter().map(of).max().unwrap_or(match level {
            Level::Full => Self::Valid,
            Level::Quick | Level::Rolling(_) => Self::NoFaultFound,
        })
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

/// How much of a vault was read completely, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// Packs in the vault that vouch for what they hold.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs that this run read completely and found intact.
    pub packs_now: u64,
    /// Their bytes.
    pub bytes_now: u64,
    /// Bytes of packs that this host read completely at this place, and found intact, within
    /// [`PROOF_DAYS`](crate::limits::PROOF_DAYS) days; what it wrote was read back then.
    pub bytes_recently: u64,
    /// When the pack that was not read for longest was last read; nothing where one was never read.
    pub oldest: Option<Time>,
    /// The greatest number of bad packs that is compatible with what this run read, at 95 % confidence, if packs go bad
    /// without regard to the order in which they are read.
    pub bad_packs_at_most: u64,
    /// Files in the listings that were checked, and how many of them were read in this run to their last byte; a listing
    /// that several snapshots share counts once.
    pub files: u64,
    /// See [`files`](Self::files).
    pub files_whole: u64,
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
    /// How much of the vault this and earlier runs have read.
    pub coverage: Covered,
    /// What was not looked at, in words.
    pub not_checked: Vec<String>,
    /// What should be said besides, in words.
    pub notes: Vec<String>,
    /// What was kept on this host about what was found.
    pub kept: Kept,
    // No snapshot was named: the vault as a whole was meant.
    whole: bool,
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        let numbers = self.snapshots.iter().map(|(number, _)| number).take(crate::limits::EVIDENCE_ITEMS_MAX);
        serde_json::json!({
            "level": self.level.name(),
            "whole": self.whole,
            "verdict": self.verdict.name(),
            "snapshots": numbers.collect::<Vec<_>>(),
            "snapshot_count": self.snapshots.len(),
            "head": self.head.to_string(),
            "freshness": self.freshness.to_string(),
            "packs": self.coverage.packs,
            "packs_read": self.coverage.packs_now,
            "everything_recently": self.coverage.bytes_recently >= self.coverage.bytes,
            "files": self.coverage.files,
            "files_whole": self.coverage.files_whole,
            "bytes_read": self.read.bytes_stored.to_string(),
            "not_checked": self.not_checked.len(),
            "finding_count": self.findings.len(),
        })
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        self.kept = kept;
    }
}

impl Report {
    /// Returns the process exit status: 0 only where nothing was found, else that of the lowest family among the findings.
    pub fn exit(&self) -> u8 {
        match self.verdict {
            Verdict::Valid | Verdict::NoFaultFound => 0,
            Verdict::Unstable | Verdict::Invalid => exit_of(self.findings.iter().map(|finding| finding.code)).max(1),
        }
    }
}

/// Verifies the named snapshots, or all of them and the vault as a whole where none is named.
///
/// # Errors
/// DV301 to DV307 and DV406 where vault or key are not there, DV404 during a removal, DV111 where there is nothing to
/// verify, DV112 or DV113 where a named snapshot does not exist. Damage is no error but a finding.
pub fn run(access: &Access, selectors: &[Selector], level: Level, progress: &dyn Progress) -> Result<Report> {
    audit::watch(access, "verify", || look(access, selectors, level, progress))
}

fn look(access: &Access, selectors: &[Selector], level: Level, progress: &dyn Progress) -> Result<Report> {
    progress.phase(Phase::Opening, None, None);
    let found = gate::find(access)?;
    let _lock = gate::read_lock(&*found.store)?;
    let mut verifier = Verifier::open(access, &found, selectors)?;
    verifier.level = level;
    let pool = Pool::new();
    let use_index = if level == Level::Full { UseIndex::No } else { UseIndex::Yes };
    let mut catalog = verifier.load_catalog(use_index)?;
    let found_in_packs = std::mem::take(&mut catalog.findings);
    verifier.fail(&found_in_packs);
    let catalog = Arc::new(catalog);
    let reader = Arc::new(Reader::new(Arc::clone(&found.store), Arc::clone(&found.macs), Arc::clone(&catalog)));
    let mut findings = verifier.concerning(found_in_packs, &reader);

    let mut proof = Proof::new(level, &catalog);
    let mut blame = None;
    let check = || {
        findings.extend(verifier.prove(access, &mut proof, &reader, &pool, progress)?);
        verifier.fail(&findings);
        let blame = blame.insert(Blame::new(&catalog, std::mem::take(&mut findings)));
        verifier.check_snapshots(&reader, &Arc::new(proof), &pool, blame, progress)
    };
    let checked = check();
    // Whatever ended it: what was read, and what failed, is known now.
    verifier.fail_packs(reader.failed_packs());
    let named = if checked.is_ok() { NamedPacks::of(&verifier.chain, &reader) } else { NamedPacks::default() };
    verifier.note_all_read(&reader, &named);
    verifier.remember(access);
    checked.map_err(|error| verifier.told_so_far(error))?;
    let covered = verifier.covered(access, &catalog, &named);
    Ok(verifier.report(access, blame.expect("made before the snapshots were checked"), covered, &reader))
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
    // What this host remembers of reading packs here.
    reads: Reads,
    // Packs that failed a read of this run, and packs that were read completely and are intact.
    failed: BTreeMap<Digest, Finding>,
    complete: BTreeSet<Digest>,
    files: u64,
    files_whole: u64,
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
        let witness = witness::read(&access.host, &found.macs);
        let chain = Chain::read(&*found.store, &found.macs, digest)
            .map_err(|error| read_error(&*found.store, layout::SNAPSHOTS, &error))?;
        let mut notes: Vec<String> = found.key.note.iter().cloned().collect();
        let by_number =
            !selectors.is_empty() && selectors.iter().all(|selector| matches!(selector, Selector::Number(_)));
        let freshness = match gate::judge(access, witness, &chain, &mut notes) {
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
        let reads = Reads::load(&access.host, &found.macs, &*found.store, access.clock.now());
        if let Some(reason) = reads.unsure() {
            notes.push(format!("packs may have failed before of which nothing is known any more: {reason}"));
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
            reads,
            failed: BTreeMap::new(),
            complete: BTreeSet::new(),
            files: 0,
            files_whole: 0,
        };
        verifier.choose(selectors, gate::own_id(access))?;
        Ok(verifier)
    }

    fn choose(&mut self, selectors: &[Selector], host: Option<Id>) -> Result<()> {
        if self.whole {
            self.numbers = self.chain.snapshots().map(|(number, _)| number).collect();
            if self.numbers.is_empty() && self.findings.is_empty() {
                return refuse(Code::NothingToVerify, format!("{} holds no snapshot", self.found.store.describe()));
            }
            return Ok(());
        }
        let mut numbers = BTreeSet::new();
        for selector in selectors {
            let place = self.found.store.describe();
            let resolved = select::resolve(&self.chain, selector, host, &place);
            match resolved.map_err(|error| select::seen(error, &self.freshness, selector, &place)) {
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
            self.notes.extend(catalog.index.notes());
        } else if self.whole {
            let third = load(UseIndex::Yes)?;
            for finding in third.findings {
                if catalog.findings.iter().all(|other| other.subject != finding.subject) {
                    catalog.findings.push(unstable(finding));
                }
            }
            let state = third.index;
            // What it still lists may be the only record of a pack that is lost.
            let sound = self.findings.is_empty() && catalog.findings.is_empty() && state.absent == 0;
            let next = if sound { "; `devvault index rebuild` makes it anew" } else { "; leave it as it is" };
            self.notes.extend(
                state.ignored.iter().map(|reason| format!("the index was not needed and is not sound: {reason}{next}")),
            );
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
                self.files += check.counts.files;
                self.files_whole += check.files_whole;
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

    /// Returns the packs that may hold what a snapshot lacks: all that one names which is not valid. Nothing where one does
    /// not tell.
    fn may_be_needed(&self, snapshots: &BTreeMap<u64, Verdict>, reader: &Reader) -> Option<BTreeSet<Digest>> {
        let lacking = snapshots.iter().filter(|(_, verdict)| !verdict.is_good());
        let mut named = BTreeSet::new();
        for snapshot in lacking.filter_map(|(number, _)| self.chain.snapshot(*number)) {
            named.extend(reader.packs(snapshot).ok()?.into_iter().map(|pack| pack.0));
        }
        Some(named)
    }

    fn report(mut self, access: &Access, blame: Blame, coverage: Covered, reader: &Reader) -> Report {
        let mut findings = std::mem::take(&mut self.findings);
        findings.extend(blame.finish());
        if let Err(config) = &self.found.config {
            // Nothing restores without it, however intact.
            for finding in findings.iter_mut().filter(|finding| *finding == config) {
                finding.snapshots.clone_from(&self.numbers);
            }
        }
        if let Some(place) = self.found.store.local_path() {
            let mut medium = None;
            for finding in findings.iter_mut().filter(|finding| finding.code == Code::Unstable) {
                let medium = medium.get_or_insert_with(|| evidence::medium_in_words(place));
                finding.detail.push_str(&format!("; the vault lies on {medium}"));
            }
        }
        findings.sort_by(|a, b| (a.code, &a.subject).cmp(&(b.code, &b.subject)));
        let mut snapshots: BTreeMap<u64, Verdict> =
            self.numbers.iter().map(|&number| (number, Verdict::of(&[], self.level))).collect();
        for finding in &findings {
            let verdict = Verdict::of(std::slice::from_ref(finding), self.level);
            for number in &finding.snapshots {
                // A number that a tampered record blocks is named in the findings; it is no snapshot that was looked at.
                let known = snapshots.entry(*number).or_insert(verdict);
                *known = (*known).max(verdict);
            }
        }
        if self.level == Level::Quick {
            self.not_checked.push("the content of files: packs are there and have their size, but were not read; this does not prove that the snapshots are recoverable".into());
        }
        if let Level::Rolling(_) = self.level {
            let Covered { packs, packs_now, files, files_whole, bad_packs_at_most, .. } = &coverage;
            let (packs_left, files_left) = (packs.saturating_sub(*packs_now), files.saturating_sub(*files_whole));
            self.not_checked.push(if packs_left == 0 && files_left == 0 {
                "nothing was left out this time; a sample calls no snapshot valid all the same: `verify` does that".into()
            } else {
                format!(
                    "the content of {packs_left} of {packs} packs, and so some of the content of {files_left} of {files} files; \
                     with 95 % confidence no more than {bad_packs_at_most} packs of {packs} are bad, if packs go bad without \
                     regard to the order of reading; this does not prove that the snapshots are recoverable"
                )
            });
        }
        if !self.whole {
            self.not_checked.push("other snapshots, and packs that the named ones do not need".into());
        }
        match &self.freshness {
            Freshness::Proven => {}
            Freshness::Unproven => self.not_checked.push(
                "freshness: this host has no witness of this vault that it can trust, so that an older copy cannot be told from the newest; compare the head, or use --expect-head HEAD".into(),
            ),
            Freshness::Looked { since } => self.not_checked.push(format!(
                "freshness: nothing vouches for what this host saw of this vault first, on {}: it may have been an older copy; compare the head, or use --expect-head HEAD once",
                since.rfc3339()
            )),
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
        if self.whole
            && self.level == Level::Full
            && let Some(needed) = self.may_be_needed(&snapshots, reader)
        {
            for finding in findings.iter_mut().filter(|finding| finding.snapshots.is_empty()) {
                if layout::pack_named(&finding.subject).is_some_and(|pack| !needed.contains(&pack)) {
                    finding.detail.push_str("; no snapshot that authenticates needs anything of it");
                }
            }
        }
        let verdict = Verdict::of(&findings, self.level);
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
            coverage,
            not_checked: self.not_checked,
            notes: self.notes,
            kept: Kept::default(),
            whole: self.whole,
        }
    }
}

/// Returns what it means that a second read succeeded. Where it was this process that could not read, that says nothing of the
/// medium.
fn unstable(finding: Finding) -> Finding {
    let code = if finding.code == Code::VaultForbidden { finding.code } else { Code::Unstable };
    let detail = format!("the first read failed ({}: {}), the second succeeded", finding.code, finding.detail);
    Finding { detail, code, ..finding }
}
