//! Drills: exercising a restore as an operator would, and proving what it restored by a path of its own.
//!
//! Invariants: the vault is only read, and what is damaged on purpose is a copy with a state of its own; what was
//! restored is compared by code that the restore does not use; a drill that has nothing to restore is refused; nothing
//! that failed is cleaned away.

mod compare;
mod content;
mod draw;
mod hands;
mod log;
mod metadata;
mod negative;
mod objective;
mod remove;
mod report;
pub mod scenario;
mod scratch;
mod stopwatch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::HumanCount;

pub use self::compare::Compared;
use self::draw::Files;
pub use self::draw::Sample;
use self::hands::{CleanMachine, Hands, Own, Restored};
pub use self::negative::Trial;
use self::objective::{Amount, Parts, Sampled};
pub use self::objective::{Recovery, Verdict};
use self::remove::Removal;
pub use self::report::{Failure, Report, Step};
use self::scratch::{Apart, Scratch};
use self::stopwatch::Stopwatch;
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::record::Snapshot;
use crate::ops::audit;
use crate::ops::reading::Reading;
use crate::ops::select::{Selector, SourceName};
use crate::ops::verify;
use crate::path::EntryPath;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::Finding;
use crate::vault::catalog::UseIndex;
use crate::vault::gate::Access;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// The snapshot.
    pub snapshot: Selector,
    /// The directory in which the scratch directory is made; one of the system's for temporary files where it is absent.
    pub scratch: Option<PathBuf>,
    /// The program that restores with nothing but the vault and the key that [`Access::key_file`] names; this process
    /// restores where it is absent.
    pub clean_machine: Option<PathBuf>,
    /// Also damage a copy, which must be refused.
    pub negative: bool,
    /// Restore no more than this many bytes, of files drawn at random; everything where it is absent. A clean machine
    /// restores everything.
    pub sample: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { snapshot: Selector::Latest(None), scratch: None, clean_machine: None, negative: false, sample: None }
    }
}

/// Sees a drill between its steps: for tests, which show that the steps after it notice what changed.
pub trait Observer: Sync {
    /// Everything was restored to this directory, and nothing of it was compared yet.
    fn restored(&self, restored: &Path) {
        let _ = restored;
    }
    /// The copy in this directory was damaged, and nobody has refused it yet.
    fn damaged(&self, copy: &Path) {
        let _ = copy;
    }
}

/// Sees nothing.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Observer for Nobody {}

const RESTORED: &str = "restored";
const RESTORED_ONE: &str = "restored-one";
/// The steps that are a recovery; the others are the drill's own.
const LOCATE: &str = "locate";
const AUTHENTICATE: &str = "authenticate";
const RESTORE: &str = "restore";
/// What a sample is held against: what any restore takes, however little it restores.
const RESTORE_ONE: &str = "restore one file";
const COMPARE: &str = "compare";
const VERIFY: &str = "verify";
const REFUSE: &str = "refuse damage";
const CLEAN_UP: &str = "clean up";

/// Restores a snapshot, or a sample of it, into a scratch directory and compares it by a path of its own.
///
/// What is wrong with the backup or its restore is told by the report.
///
/// # Errors
/// What opening the vault refuses; DV114 where there is nothing to restore; DV212, DV207 or DV206 where there is no place
/// to restore to; DV301 where a clean machine is to restore and no key is named; interrupted.
pub fn run(access: &Access, options: &Options, progress: &dyn Progress) -> Result<Report> {
    run_observed(access, options, &Nobody, progress)
}

/// Runs a drill as [`run`] does, seen by an observer.
///
/// # Errors
/// As [`run`].
pub fn run_observed(
    access: &Access,
    options: &Options,
    observer: &dyn Observer,
    progress: &dyn Progress,
) -> Result<Report> {
    if options.clean_machine.is_some() && access.key_file.is_none() {
        // Nothing was exercised, and nothing failed.
        return Err(no_key());
    }
    audit::watch(access, "drill", || {
        let drilled = drill(access, options, observer, progress);
        let now = access.clock.now();
        match drilled {
            Ok(mut report) => {
                match log::append(&access.host, now, &log::Told::of(&report)) {
                    Ok(path) => report.log = Some(path),
                    Err(error) => report.notes.push(format!("the drill log was not written: {error}")),
                }
                Ok(report)
            }
            Err(Error::Refused(mut refusal)) => {
                let told = log::Told {
                    title: format!("drill refused, {}: {}", refusal.code, refusal.message),
                    lines: vec![format!("vault: {}", shown_path(&access.vault))],
                    steps: &[],
                    surprises: refusal.causes.clone(),
                };
                if let Err(error) = log::append(&access.host, now, &told) {
                    refusal.causes.push(format!("the drill log was not written: {error}"));
                }
                Err(Error::Refused(refusal))
            }
            Err(other) => Err(other),
        }
    })
}

fn drill(access: &Access, options: &Options, observer: &dyn Observer, progress: &dyn Progress) -> Result<Report> {
    progress.phase(Phase::Opening, None, None);
    let reading = Reading::open(access)?;
    let (number, snapshot) = reading.select(&options.snapshot)?;
    let mut files = Files::default();
    for entry in reading.listing(snapshot, &EntryPath::root(), progress) {
        files.take(&entry?);
    }
    if files.is_empty() {
        return refuse(Code::NothingToDrill, format!("snapshot {number} holds no byte of content"));
    }
    // A clean machine restores everything.
    let sample = options.sample.filter(|_| options.clean_machine.is_none());
    let (sample, only) = match sample {
        None => (None, None),
        Some(bytes_max) => {
            let (sample, only) = files.draw(bytes_max)?;
            let Some(one) = files.shortest(&only) else {
                let message = format!("no file with content of snapshot {number} fits into {bytes_max} bytes");
                return refuse(Code::NothingToDrill, message);
            };
            (Some(sample), Some((only, one)))
        }
    };
    let (only, amounts) = match only {
        Some((only, one)) => {
            let amounts = Amounts::count(&reading, snapshot, &files, &only, one, progress)?;
            (Some(only), Some(amounts))
        }
        None => (None, None),
    };
    let source = SourceName::of(snapshot);
    let scratch = {
        let bytes = sample.map_or(files.bytes(), |sample| sample.bytes);
        let entries = sample.map_or(snapshot.counts.entries(), |sample| sample.files);
        let copied = if options.negative { files.bytes() + negative::bytes(&reading, number)? } else { 0 };
        let source = String::from_utf8_lossy(&source.path).into_owned();
        let apart =
            Apart { vault: reading.vault.store.local_path(), source: Some(Path::new(&source)), host: &access.host };
        // A file takes whole blocks, and a name takes room too.
        let needed = bytes.saturating_add(entries.saturating_mul(4096)).max(copied);
        Scratch::create(options.scratch.as_deref(), &apart, needed)?
    };
    let report = Report {
        vault: reading.vault.config.vault,
        place: reading.vault.store.describe(),
        head: reading.vault.chain.head(),
        freshness: reading.vault.freshness.clone(),
        snapshot: number,
        source,
        clean_machine: options.clean_machine.is_some(),
        negative: options.negative,
        sample,
        counts: snapshot.counts,
        files_total: files.count(),
        bytes_total: files.bytes(),
        compared: None,
        short: Vec::new(),
        trials: Vec::new(),
        steps: Vec::new(),
        recovery: None,
        failure: None,
        scratch: None,
        surprises: Vec::new(),
        not_proven: Vec::new(),
        log: None,
        notes: reading.remarks(access),
        clean_up_stopped: false,
        kept: Kept::default(),
        findings: Vec::new(),
    };
    // From here on a reader of its own sees everything anew.
    drop(reading);
    Drill { access, options, observer, progress, report, scratch, only, amounts }.run(&files)
}

/// A drill under way.
struct Drill<'a> {
    access: &'a Access,
    options: &'a Options,
    observer: &'a dyn Observer,
    progress: &'a dyn Progress,
    report: Report,
    scratch: Scratch,
    only: Option<BTreeSet<EntryPath>>,
    amounts: Option<Amounts>,
}

/// How much there is to do for one file of a sample, for the sample, and for the whole.
struct Amounts {
    one_path: EntryPath,
    one: Amount,
    sample: Amount,
    whole: Amount,
}

impl Amounts {
    fn count(
        reading: &Reading,
        snapshot: &Snapshot,
        files: &Files,
        only: &BTreeSet<EntryPath>,
        one_path: EntryPath,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let blocks = blocks(reading, snapshot, only, &one_path, progress)?;
        let of = |paths: &BTreeSet<EntryPath>, blocks: u64| Amount {
            files: paths.len() as u64,
            objects: with_parents(paths).len() as u64,
            bytes: files.bytes_of(paths),
            blocks,
        };
        let one = BTreeSet::from([one_path.clone()]);
        Ok(Self {
            one: of(&one, blocks[0]),
            sample: of(only, blocks[1]),
            whole: Amount {
                files: files.count(),
                objects: snapshot.counts.entries(),
                bytes: files.bytes(),
                blocks: blocks[2],
            },
            one_path,
        })
    }
}

/// Returns how many blocks are decoded for one file, for a sample and for everything, if each is decoded once.
fn blocks(
    reading: &Reading,
    snapshot: &Snapshot,
    only: &BTreeSet<EntryPath>,
    one: &EntryPath,
    progress: &dyn Progress,
) -> Result<[u64; 3]> {
    let mut needed = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    let catalog = reading.reader.catalog();
    for entry in reading.listing(snapshot, &EntryPath::root(), progress) {
        let entry = entry?;
        let Some(file) = entry.file() else { continue };
        let of = [entry.path == *one, only.contains(&entry.path), true];
        for chunk in reading.reader.chunks_of(file) {
            // What lies nowhere the restore refuses.
            let Some(place) = catalog.places(chunk?).next() else { continue };
            for (set, _) in needed.iter_mut().zip(of).filter(|(_, counts)| *counts) {
                set.insert(place.block);
            }
        }
    }
    Ok(needed.map(|set| set.len() as u64))
}

/// Takes the way out of a refusal that a restore has and a drill has not: it exercises everything, or it fails.
fn gives_nothing_up(error: Error) -> Error {
    match error {
        Error::Refused(mut refusal) if refusal.options.is_some() => {
            refusal.options = None;
            refusal.next = "name a place that holds it all with `--to`, or exercise it as the user who would restore: \
                            a drill gives nothing up"
                .into();
            Error::Refused(refusal)
        }
        other => other,
    }
}

impl Drill<'_> {
    fn run(mut self, files: &Files) -> Result<Report> {
        let outcome = self.steps(files);
        match outcome {
            Ok(()) => {}
            Err(Error::Interrupted(_)) => {
                // Nothing failed; what was restored is of no use to anybody.
                let path = shown_path(&self.scratch.path);
                return Err(match self.scratch.remove(None, false, self.progress) {
                    // What the restore said of its staging directory went with it.
                    Ok(_) => Error::Interrupted(None),
                    Err(_) => Error::Interrupted(None).written(|| format!("{path} could not be removed; remove it")),
                });
            }
            Err(error) => self.fail(Failure::of(error)),
        }
        self.conclude();
        Ok(self.report)
    }

    fn fail(&mut self, failure: Failure) {
        if let Some(code) = failure.code.filter(|_| !failure.kept.journaled) {
            let mut finding =
                Finding::new(code, format!("the drill of snapshot {}", self.report.snapshot), &failure.message);
            finding.snapshots.push(self.report.snapshot);
            finding.paths.clone_from(&failure.paths);
            self.report.findings.push(finding);
        }
        self.report.failure = Some(failure);
    }

    /// Times a step and notes what came of it.
    fn step<T>(
        &mut self,
        name: &str,
        said: impl FnOnce(&T) -> String,
        act: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let outcome = act(self);
        let seconds = begun.elapsed().as_secs_f64();
        let (said, passed) = match &outcome {
            Ok(value) => (said(value), true),
            Err(error) => (error.to_string(), false),
        };
        self.report.steps.push(Step { name: name.to_owned(), seconds, said, passed });
        outcome
    }

    fn steps(&mut self, files: &Files) -> Result<()> {
        let (number, access) = (self.report.snapshot, self.access);
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let scratch_path = self.scratch.path.clone();
        let clean;
        let own;
        let hands: &dyn Hands = match (&self.options.clean_machine, &access.key_file) {
            (Some(program), Some(key)) => {
                let scratch = scratch_path.clone();
                clean = CleanMachine { program, vault: absolute(&access.vault), key: absolute(key), scratch, number };
                &clean
            }
            (Some(_), None) => return Err(no_key()),
            (None, _) => {
                own = Own { access, number };
                &own
            }
        };
        self.step(LOCATE, String::clone, |_| hands.locate())?;
        self.step(AUTHENTICATE, String::clone, |_| hands.authenticate())?;
        let one = match self.amounts.as_ref().map(|amounts| BTreeSet::from([amounts.one_path.clone()])) {
            Some(one) => Some(self.restore_one(hands, one)?),
            None => None,
        };
        let only = self.only.clone();
        let destination = scratch_path.join(RESTORED);
        let (restored, parts) = self.step(
            RESTORE,
            |_| "restored by the public operation, which read it back and compared it".into(),
            |drill| {
                let watch = Stopwatch::start(drill.progress);
                let restored = hands.restore(&destination, only, &watch).map_err(gives_nothing_up)?;
                Ok((restored, watch.parts()))
            },
        )?;
        self.judge(one.map(|one| (one, parts)));
        self.observer.restored(&destination);
        self.compare(&restored)?;
        self.note(restored);
        if self.report.sample.is_none() {
            self.verify()?;
        }
        if self.options.negative {
            // Room for the next part.
            self.clear(&destination, self.report.compared.as_ref().map(|compared| compared.objects))?;
            self.refuse_damage(files)?;
        }
        Ok(())
    }

    /// Restores one file of the sample: what that takes, any restore of this snapshot takes.
    fn restore_one(&mut self, hands: &dyn Hands, one: BTreeSet<EntryPath>) -> Result<Parts> {
        let destination = self.scratch.join(RESTORED_ONE);
        let said = |_: &Parts| "what any restore of this snapshot takes, however little it restores".to_owned();
        let parts = self.step(RESTORE_ONE, said, |drill| {
            let watch = Stopwatch::start(drill.progress);
            hands.restore(&destination, Some(one), &watch).map_err(gives_nothing_up)?;
            Ok(watch.parts())
        })?;
        self.clear(&destination, None)?;
        Ok(parts)
    }

    /// Removes what was restored before it is needed no more; a wish to stop ends the drill.
    fn clear(&self, path: &Path, objects: Option<u64>) -> Result<()> {
        match remove::remove(path, objects, true, self.progress) {
            Ok(Removal::Complete) => Ok(()),
            Ok(Removal::Stopped) => Err(Error::Interrupted(None)),
            Err(error) => Err(Error::environment(format!("remove {}", shown_path(path)), error)),
        }
    }

    /// Holds the time so far against the objective. Of a sample, what one file took and what the sample took is given.
    fn judge(&mut self, sampled: Option<(Parts, Parts)>) {
        let before = self.report.seconds(&[LOCATE, AUTHENTICATE]);
        let settings = match self.access.host.settings() {
            Ok(settings) => settings,
            Err(error) => {
                self.report.notes.push(format!("the recovery time was held against the default objective: {error}"));
                crate::host::Settings::default()
            }
        };
        self.report.recovery = Some(match (&self.amounts, sampled) {
            (Some(amounts), Some((one, sample))) => {
                let sampled = Sampled {
                    one,
                    one_amount: amounts.one,
                    sample,
                    sample_amount: amounts.sample,
                    whole_amount: amounts.whole,
                };
                Recovery::extrapolated(before, &sampled, &settings)
            }
            _ => Recovery::measured(before + self.report.seconds(&[RESTORE]), &settings),
        });
    }

    /// Compares what was restored with the listing, by a reader that has seen nothing of the restore.
    fn compare(&mut self, restored: &Restored) -> Result<()> {
        let said = |_: &Compared| "every object is what the listing says".to_owned();
        let compared = self.step(COMPARE, said, |drill| {
            let reading = Reading::open_by(drill.access, UseIndex::No)?;
            let (_, snapshot) = reading.select(&Selector::Number(drill.report.snapshot))?;
            let total = drill.report.sample.map_or(snapshot.counts.files, |sample| sample.files);
            let bytes = drill.report.sample.map_or(snapshot.counts.bytes, |sample| sample.bytes);
            drill.progress.phase(Phase::Comparing, Some(total), Some(bytes));
            let wanted = drill.only.as_ref().map(with_parents);
            let entries = reading.listing(snapshot, &EntryPath::root(), drill.progress);
            let entries = entries.filter(|entry| match (entry, &wanted) {
                (Ok(entry), Some(wanted)) => wanted.contains(&entry.path),
                _ => true,
            });
            let declared = restored.declared();
            compare::compare(&drill.scratch.path, RESTORED, entries, &reading.reader, &declared, drill.progress)
        })?;
        let judged = judge_comparison(&compared, self.report.snapshot);
        if let (Err(error), Some(step)) = (&judged, self.report.steps.last_mut()) {
            (step.said, step.passed) = (error.to_string(), false);
        }
        self.report.compared = Some(compared);
        judged
    }

    /// Reads every byte of the packs that the snapshot relies on, also those that a restore has no need of.
    fn verify(&mut self) -> Result<()> {
        let said = |report: &verify::Report| format!("{} pack(s) read to the last byte", report.read.packs);
        let report = self.step(VERIFY, said, |drill| {
            let number = Selector::Number(drill.report.snapshot);
            verify::run(drill.access, &[number], verify::Level::Full, drill.progress)
        })?;
        let Some(finding) = report.findings.first() else { return Ok(()) };
        if let Some(step) = self.report.steps.last_mut() {
            (step.said, step.passed) = (format!("{} finding(s)", report.findings.len()), false);
        }
        let mut refusal = Refusal::from(finding.clone());
        // The verification has told the journal and kept the evidence.
        refusal.kept = Kept { journaled: true, ..report.kept.clone() };
        Err(refusal.into())
    }

    /// Notes what the restore told, and what it left beside what it restored.
    fn note(&mut self, restored: Restored) {
        let known = [RESTORED, "home"];
        let strangers = self.scratch.strangers(&known);
        if !strangers.is_empty() {
            self.report.surprises.push(format!("the restore left besides: {}", strangers.join(", ")));
        }
        self.report.surprises.extend(restored.notes);
        self.report.short = restored.short;
    }

    fn refuse_damage(&mut self, files: &Files) -> Result<()> {
        let Some(victim) = files.one()? else { return Ok(()) };
        let said =
            |trials: &Vec<Trial>| format!("{} damages of a copy, each refused by verify and by restore", trials.len());
        let trials = self.step(REFUSE, said, |drill| {
            let copy = negative::Copy::make(drill.access, drill.report.snapshot, &drill.scratch, drill.progress)?;
            copy.try_all(victim, drill.observer, drill.progress)
        })?;
        self.report.trials = trials;
        Ok(())
    }

    /// Says what was not proven, and cleans up where nothing failed.
    fn conclude(&mut self) {
        let report = &mut self.report;
        if let Some(sample) = &report.sample {
            let mut text = format!(
                "{} of {} files with content and {} of {} bytes were not restored; with 95 % confidence no more than {} \
                 of the files that could be drawn are bad, if files go bad without regard to what they are",
                HumanCount(sample.files_total - sample.files),
                HumanCount(sample.files_total),
                HumanCount(sample.bytes_total - sample.bytes),
                HumanCount(sample.bytes_total),
                HumanCount(sample.bad_files_at_most)
            );
            if sample.files_too_long > 0 {
                text.push_str(&format!(
                    "; {} file(s) are longer than the sample and could not be drawn: of them nothing is said",
                    sample.files_too_long
                ));
            }
            report.not_proven.push(text);
        }
        if !report.clean_machine {
            let text = "that it works without this host: its key, its state and its configuration were at hand (`--clean-machine`)";
            report.not_proven.push(text.into());
        }
        if report.failure.is_some() {
            report.scratch = Some(self.scratch.path.clone());
            return;
        }
        let begun = Instant::now();
        let objects = report.compared.as_ref().filter(|_| report.trials.is_empty()).map(|compared| compared.objects);
        let removed = self.scratch.remove(objects, true, self.progress);
        let seconds = begun.elapsed().as_secs_f64();
        let path = shown_path(&self.scratch.path);
        let (said, passed) = match removed {
            Ok(Removal::Complete) => ("the scratch directory was removed".into(), true),
            Ok(Removal::Stopped) => {
                report.clean_up_stopped = true;
                (format!("interrupted; what is left of {path} is of no use to anybody: remove it"), false)
            }
            Err(what) => (what, false),
        };
        if !passed {
            report.scratch = Some(self.scratch.path.clone());
            report.surprises.push(said.clone());
        }
        report.steps.push(Step { name: CLEAN_UP.into(), seconds, said, passed });
    }
}

fn no_key() -> Error {
    Refusal::new(Code::KeyMissing, "a clean machine has no key of its own, and none is named")
        .next("name the exported key: `--key-file FILE`")
        .into()
}

/// Refuses a comparison that found a difference, and one that looked at no content.
fn judge_comparison(compared: &Compared, snapshot: u64) -> Result<()> {
    let differences = &compared.differences;
    if !differences.is_empty() {
        let message = format!("{} restored object(s) differ from snapshot {snapshot}", differences.len());
        let mut refusal = Refusal::new(Code::DrillDiffers, message);
        for (path, what) in differences {
            refusal.causes.push(format!("{path}: {what}"));
            refusal.paths.push(path.clone());
        }
        return Err(refusal.into());
    }
    if compared.files == 0 {
        return refuse(Code::NothingToDrill, "no content was compared");
    }
    Ok(())
}

/// Returns paths and the directories that lead to them.
fn with_parents(paths: &BTreeSet<EntryPath>) -> BTreeSet<EntryPath> {
    let mut all = paths.clone();
    for path in paths {
        let mut above = path.parent();
        while let Some(parent) = above {
            above = parent.parent();
            if !all.insert(parent) {
                break;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_passes_only_if_it_looked_at_content_and_nothing_differs() {
        let code = |compared: &Compared| judge_comparison(compared, 1).err().map(|error| error.code());
        let good = Compared { objects: 2, files: 1, bytes: 3, ..Compared::default() };
        assert_eq!(code(&good), None);
        assert_eq!(code(&Compared { files: 0, ..good.clone() }), Some(Some(Code::NothingToDrill)));
        // The only file is gone: that it is missing is what to tell, not that nothing was compared.
        let path = EntryPath::parse(b"file").expect("valid");
        let missing = Compared { files: 0, differences: vec![(path, "it is missing".into())], ..good };
        assert_eq!(code(&missing), Some(Some(Code::DrillDiffers)));
    }
}
