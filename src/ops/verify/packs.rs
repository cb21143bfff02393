//! Reading packs: which of them, in which order, and what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::proof::Proof;
use super::rolling::{self, Candidate, Meter};
use super::{Covered, Level, Verifier, unstable};
use crate::clock::Time;
use crate::crypto::{Digest, random};
use crate::error::{Error, Result};
use crate::format::entry::{ChunkRef, FileContent};
use crate::limits;
use crate::pool::Pool;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Written};
use crate::vault::catalog::Catalog;
use crate::vault::check::{PackCheck, check_pack};
use crate::vault::gate::Access;
use crate::vault::named::NamedPacks;
use crate::vault::read::Reader;
use crate::vault::{Finding, layout};

/// How often a rolling verification writes down what it read, in nanoseconds. A kill or a power cut loses what was read
/// since: no more than this time's reading and the pack that is being read. Only that is read again; a failure is written
/// down at once, and Ctrl-C loses nothing.
const SAVE_EVERY_NANOS: i128 = 1_000_000_000;

/// The packs that hold what named snapshots need.
#[derive(Default)]
struct Needed {
    // Those that the manifests name, and those that alone have a chunk.
    named: BTreeSet<u32>,
    // Those that have some of it too.
    others: BTreeSet<u32>,
}

impl Verifier<'_> {
    /// Returns the packs that hold a chunk of a named snapshot; nothing where every pack is to be read. Where a part of a
    /// listing cannot be read now, all that the manifests name are needed: it may be read when the snapshot is checked, and
    /// no pack that was not read may be blamed then.
    fn needed_packs(&self, reader: &Arc<Reader>, progress: &dyn Progress) -> Result<Option<Needed>> {
        if self.whole {
            return Ok(None);
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
        // What cannot be read is found again, and blamed, when the snapshot is checked.
        let mut unread = false;
        for list in snapshots.into_iter().flat_map(|snapshot| &snapshot.lists) {
            need(list.object);
            let segments = reader.segment_list(list);
            unread |= segments.is_err();
            for segment in segments.unwrap_or_default() {
                if progress.interrupted() {
                    return Err(Error::Interrupted(None));
                }
                need(segment.object);
                let entries = reader.segment(&segment);
                unread |= entries.is_err();
                for entry in entries.unwrap_or_default() {
                    entry.file().into_iter().flat_map(FileContent::lists).for_each(|list| need(list.object()));
                    let asked = reader.each_needed(&entry, |chunk| {
                        need(chunk);
                        Ok::<_, Finding>(())
                    });
                    unread |= asked.is_err();
                }
            }
        }
        let all = 0u32..catalog.packs().len() as u32;
        if unread {
            needed.named.extend(all.clone().filter(is_named));
            needed.others.extend(all);
        }
        needed.others.retain(|pack| !needed.named.contains(pack));
        Ok(Some(needed))
    }

    /// Reads what the level asks for. Returns what is wrong.
    pub(super) fn prove(
        &mut self,
        access: &Access,
        proof: &mut Proof,
        reader: &Arc<Reader>,
        pool: &Pool,
        progress: &dyn Progress,
    ) -> Result<Vec<Finding>> {
        let all: BTreeSet<u32> = (0u32..).zip(proof.catalog.packs()).map(|(number, _)| number).collect();
        let mut reading = Reading { access, proof, pool, progress, meter: None, saved: access.clock.now() };
        let needed = if self.level == Level::Quick { None } else { self.needed_packs(reader, progress)? };
        match (self.level, needed) {
            (Level::Quick, _) => {
                let doubts = self.doubts(&reading.proof.catalog, &all, reader);
                Ok(self.concerning(doubts, reader))
            }
            (Level::Full, None) => self.read_packs(&mut reading, &all),
            (Level::Full, Some(needed)) => {
                let mut findings = self.read_packs(&mut reading, &needed.named)?;
                if !findings.is_empty() {
                    // Another pack may have what a damaged one lacks.
                    findings.extend(self.read_packs(&mut reading, &needed.others)?);
                }
                Ok(findings)
            }
            (Level::Rolling(budget), needed) => {
                let chosen = needed.map_or(all, |needed| needed.named);
                let bytes = chosen.iter().map(|pack| reading.proof.catalog.packs()[*pack as usize].length).sum();
                reading.meter = Some(Meter::start(budget, bytes));
                let mut findings = self.read_packs(&mut reading, &chosen)?;
                let catalog = Arc::clone(&reading.proof.catalog);
                findings.extend(self.doubts(&catalog, &chosen, reader));
                Ok(findings)
            }
        }
    }

    /// Returns why packs are in doubt that this run did not read: what failed a read here stands until all of it was read,
    /// against every snapshot that relies on it.
    fn doubts(&self, catalog: &Catalog, chosen: &BTreeSet<u32>, reader: &Reader) -> Vec<Finding> {
        let names = chosen.iter().map(|number| catalog.packs()[*number as usize].name);
        let unread = names.filter(|name| !self.complete.contains(name) && !self.failed.contains_key(name));
        let mut doubts: Vec<(Digest, Finding)> =
            unread.filter_map(|name| Some((name, self.reads.doubt(&name)?))).collect();
        if !doubts.is_empty() {
            let named = NamedPacks::of(&self.chain, reader);
            for (name, doubt) in &mut doubts {
                let relying = named.packs.get(name).into_iter().flat_map(|naming| &naming.snapshots);
                doubt.snapshots.extend(relying.filter(|number| self.numbers.contains(number)));
            }
        }
        doubts.into_iter().map(|(_, doubt)| doubt).collect()
    }

    /// Reads packs completely, as long as the budget lasts, and notes which chunks are intact.
    fn read_packs(&mut self, reading: &mut Reading<'_>, chosen: &BTreeSet<u32>) -> Result<Vec<Finding>> {
        let catalog = Arc::clone(&reading.proof.catalog);
        let mut order: Vec<u32> = chosen.iter().copied().collect();
        if reading.meter.is_some() {
            let seed = random().map_err(|error| Error::environment("draw random bytes", error))?;
            let candidate = |number: &u32| {
                let pack = &catalog.packs()[*number as usize];
                Candidate { name: pack.name, last: self.reads.last(&pack.name) }
            };
            let candidates: Vec<Candidate> = order.iter().map(candidate).collect();
            order = rolling::order(&candidates, seed).into_iter().map(|at| order[at]).collect();
        }
        let total = order.iter().map(|number| catalog.packs()[*number as usize].length).sum();
        let known = reading.meter.is_none();
        reading.progress.phase(Phase::Verifying, known.then_some(order.len() as u64), known.then_some(total));
        let mut findings = Vec::new();
        for number in order {
            if reading.meter.as_ref().is_some_and(Meter::is_spent) {
                break;
            }
            if reading.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            let pack = catalog.packs()[number as usize];
            reading.proof.ask(number);
            let before = findings.len();
            let (progress, mut told) = (reading.progress, 0);
            let mut advance = |bytes| {
                told += bytes;
                progress.advance(0, bytes);
            };
            let check = self.read_pack(&pack.name, reading.pool, &mut advance, &mut findings);
            // The end of a pack is not told block by block, nor what did not read.
            progress.advance(1, pack.length.saturating_sub(told));
            if let Some(meter) = &mut reading.meter {
                meter.spend(pack.length);
            }
            if let Some(check) = check {
                self.read.packs += 1;
                self.read.bytes_stored += check.bytes_stored;
                self.read.bytes += check.bytes;
                self.read.chunks += check.intact.len() as u64;
                for chunk in check.intact {
                    reading.proof.prove(chunk, number);
                }
            }
            self.note(pack.name, &findings[before..], reading);
        }
        Ok(findings)
    }

    /// Notes what came of reading a pack, and writes it down where it is time for that.
    fn note(&mut self, pack: Digest, found: &[Finding], reading: &mut Reading<'_>) {
        let now = reading.access.clock.now();
        self.fail(found);
        if let Some(finding) = found.first() {
            self.reads.note_failed(pack, finding, now);
        } else {
            self.complete.insert(pack);
            self.reads.note_intact(pack, now);
        }
        // A clock that was set back says nothing of how long ago it was.
        let due = !(0..SAVE_EVERY_NANOS).contains(&(now.as_nanos() - reading.saved.as_nanos()));
        // A rolling verification goes on tomorrow where it was cut off today. What failed no writer may rely on.
        if !found.is_empty() || (reading.meter.is_some() && due) {
            // If it fails it is tried again, and told, when all is read.
            let _ = self.reads.save(&reading.access.host, &self.found.macs);
            reading.saved = now;
        }
    }

    /// Keeps in mind which packs findings are about.
    pub(super) fn fail(&mut self, findings: &[Finding]) {
        for finding in findings {
            if let Some(name) = layout::pack_named(&finding.subject) {
                self.failed.entry(name).or_insert_with(|| finding.clone());
            }
        }
    }

    pub(super) fn fail_packs(&mut self, failed: BTreeMap<Digest, Finding>) {
        for (pack, finding) in failed {
            self.failed.entry(pack).or_insert(finding);
        }
    }

    /// Notes it if this run has read every pack that is there or that a manifest names.
    pub(super) fn note_all_read(&mut self, reader: &Reader, named: &NamedPacks) {
        let mut all = reader.catalog().packs().iter().map(|pack| &pack.name).chain(named.packs.keys());
        if named.complete
            && all.all(|name| self.complete.contains(name) || self.failed.contains_key(name))
            && !self.complete.is_empty()
        {
            self.reads.note_all_read();
        }
    }

    /// Tells with an error what was found before it.
    pub(super) fn told_so_far(&self, error: Error) -> Error {
        let found: Vec<String> =
            self.failed.iter().map(|(pack, finding)| format!("{} {}", finding.code, layout::pack_path(pack))).collect();
        if found.is_empty() {
            return error;
        }
        error.written(|| Written {
            text: format!("nothing into the vault; {} finding(s) so far: {}", found.len(), found.join(", ")),
            changed: false,
        })
    }

    /// Remembers what was read and what failed, for later backups and verifications.
    pub(super) fn remember(&mut self, access: &Access) {
        let now = access.clock.now();
        for (pack, finding) in &self.failed {
            self.complete.remove(pack);
            self.reads.note_failed(*pack, finding, now);
        }
        if let Err(error) = self.reads.save(&access.host, &self.found.macs) {
            self.notes.push(format!("what was read was not remembered for later runs: {error}"));
        }
    }

    /// Says how much of the vault this and earlier runs have read. What snapshots name and nobody can read, or is not there,
    /// belongs to it too.
    pub(super) fn covered(&self, access: &Access, catalog: &Catalog, named: &NamedPacks) -> Covered {
        let since = access.clock.now().seconds.saturating_sub(limits::PROOF_DAYS as i64 * 86_400);
        let mut covered = Covered { files: self.files, files_whole: self.files_whole, ..Covered::default() };
        let mut oldest = Some(access.clock.now());
        for pack in catalog.packs() {
            let last = self.reads.last(&pack.name);
            covered.packs += 1;
            covered.bytes += pack.length;
            if self.complete.contains(&pack.name) {
                covered.packs_now += 1;
                covered.bytes_now += pack.length;
            }
            if last.is_some_and(|last| last.seconds >= since) {
                covered.bytes_recently += pack.length;
            }
            oldest = oldest.min(last);
        }
        let there: BTreeSet<Digest> = catalog.packs().iter().map(|pack| pack.name).collect();
        for (_, naming) in named.packs.iter().filter(|(name, _)| !there.contains(name)) {
            covered.packs += 1;
            covered.bytes = covered.bytes.saturating_add(naming.bytes);
            oldest = None;
        }
        covered.oldest = oldest.filter(|_| covered.packs > 0);
        covered.bad_packs_at_most = rolling::bad_at_most(covered.packs, covered.packs_now);
        covered
    }

    /// Reads one pack; a second time, from the medium, where the first finds something.
    fn read_pack(
        &self,
        name: &Digest,
        pool: &Pool,
        advance: &mut dyn FnMut(u64),
        findings: &mut Vec<Finding>,
    ) -> Option<PackCheck> {
        let read = |advance| check_pack(&*self.found.store, &self.found.macs, name, pool, advance);
        let (first, wrong) = match read(advance) {
            Ok(check) if check.findings.is_empty() => return Some(check),
            Ok(check) => {
                let wrong = check.findings.clone();
                (Some(check), wrong)
            }
            Err(finding) => (None, vec![finding]),
        };
        let name = first.as_ref().and_then(|check| check.name);
        match read(&mut |_| {}) {
            Ok(second) if second.findings.is_empty() => {
                findings.extend(wrong.into_iter().take(1).map(unstable));
                Some(second)
            }
            Ok(second) => {
                findings.extend(differing((name, &wrong), (second.name, &second.findings)));
                findings.extend(second.findings.clone());
                Some(second)
            }
            Err(finding) => {
                findings.extend(differing((name, &wrong), (None, std::slice::from_ref(&finding))));
                findings.push(finding);
                first
            }
        }
    }
}

/// Returns that two reads of one pack gave different bytes or found different damage, if so: neither can be believed.
fn differing(first: Seen<'_>, second: Seen<'_>) -> Option<Finding> {
    let found = |seen: Seen<'_>| -> BTreeSet<(Code, String)> {
        seen.1.iter().map(|finding| (finding.code, finding.detail.clone())).collect()
    };
    let is_same = match (first.0, second.0) {
        (Some(first), Some(second)) => first == second,
        _ => found(first) == found(second),
    };
    if is_same {
        return None;
    }
    let subject = &first.1.first()?.subject;
    let said = |seen: Seen<'_>| seen.1.first().map_or_else(String::new, |one| format!("{}: {}", one.code, one.detail));
    let detail = format!("two reads gave different bytes: first {}; then {}", said(first), said(second));
    Some(Finding::new(Code::Unstable, subject, detail))
}

/// What a read of a pack saw: the digest of all bytes, where it came so far, and what is wrong.
type Seen<'a> = (Option<Digest>, &'a [Finding]);

/// What reading packs needs and changes.
struct Reading<'a> {
    access: &'a Access,
    proof: &'a mut Proof,
    pool: &'a Pool,
    progress: &'a dyn Progress,
    meter: Option<Meter>,
    saved: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reads_differ_by_their_bytes_or_by_what_was_wrong_where_not_all_came() {
        let damaged = |detail: &str| [Finding::new(Code::ChunkDamaged, "packs/aa/x.pack", detail)];
        let (one, other) = (damaged("the block at offset 48"), damaged("the block at offset 96"));
        let (bytes, changed) = (Some(Digest([1; 32])), Some(Digest([2; 32])));
        let found = |first, second| differing(first, second).map(|finding| (finding.code, finding.subject));
        let unstable = Some((Code::Unstable, "packs/aa/x.pack".to_owned()));
        assert_eq!(found((bytes, &one), (bytes, &one)), None);
        assert_eq!(found((bytes, &one), (changed, &one)), unstable, "the same block, damaged in another way");
        assert_eq!(found((None, &one), (None, &one)), None);
        assert_eq!(found((None, &one), (None, &other)), unstable);
        assert_eq!(found((bytes, &one), (None, &other)), unstable);
    }
}
