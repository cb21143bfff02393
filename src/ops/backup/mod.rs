//! `backup`: takes a snapshot of one directory.
//!
//! A walk runs ahead and finds objects in path order; a pool reads, cuts and hashes files in batches; this thread takes
//! the results in order, decides what is new, and hands it to the draft. Order, and so the bytes of a vault, do not
//! depend on the number of threads.

mod file;
mod names;
mod owners;
mod plan;
mod prior;
mod queue;
mod sieve;
mod source;
mod sparse;
mod take;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::names::Names;
use self::owners::Owners;
pub use self::plan::{Planned, Report as Plan, plan};
use self::prior::Prior;
pub use self::sieve::{Left, Why};
use self::source::Source;
use self::take::{Problems, Taker};
use super::audit::{self, Told};
use super::rules::Rules;
use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::PROGRAM;
use crate::format::index::IndexedPack;
use crate::format::listing::PartRef;
use crate::format::record::{Counts, ExcludedBy, Exclusion, Head, Host, Packs, Snapshot};
use crate::fsys::ChangeTimes;
use crate::incident::journal::Journal;
use crate::path::EntryPath;
use crate::pool::Pool;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Family, Kept, Refusal, exit_of};
use crate::vault::catalog::{self, Catalog, NotRebuilt, UseIndex};
use crate::vault::chain::Chain;
use crate::vault::check::{PackCheck, check_pack};
use crate::vault::gate::{self, Access, Vault, WriteLock};
use crate::vault::index;
use crate::vault::listing::ListingWriter;
use crate::vault::named::NamedPacks;
use crate::vault::reads::Reads;
use crate::vault::reliance::{Look, Reliance};
use crate::vault::write::{Draft, Finalized, Origin, Published, probe, require_space};
use crate::vault::{Finding, layout, read_error, witness};

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Patterns in gitignore syntax, relative to the source, of what is left out.
    pub exclude: Vec<String>,
    /// Files of such patterns, a line each; [`exclude`](Self::exclude) goes before them.
    pub exclude_from: Vec<PathBuf>,
    /// Take directories that a `CACHEDIR.TAG` marks without their content.
    pub exclude_caches: bool,
    /// Take directories on which another file system is mounted without their content.
    pub one_file_system: bool,
    /// Leave out what the `.gitignore` files of the source do, as git does. `.devvaultignore` files always count.
    pub gitignore: bool,
    /// Patterns of files that may be left out when they keep changing.
    pub may_change: Vec<String>,
    /// Read every file, also those that look unchanged.
    pub reread: bool,
    /// Accept a source that is empty now and was not before.
    pub allow_empty: bool,
    /// Look at the source again at the end, and record whether anything changed meanwhile.
    pub closing_look: bool,
    /// Labels for people.
    pub tags: Vec<String>,
}

/// What `backup` did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The number of the new snapshot.
    pub snapshot: u64,
    /// The vault's id.
    pub vault: Option<Id>,
    /// The canonical path of the source.
    pub source: PathBuf,
    /// How much it holds.
    pub counts: Counts,
    /// Bytes that it added to the vault.
    pub bytes_stored: u64,
    /// Files that were not read, because they had not changed.
    pub files_unchanged: u64,
    /// The rules that left something out, and those of the command; what lies below an excluded directory is not counted.
    pub exclusions: Vec<Exclusion>,
    /// Files that kept changing and were left out, as allowed.
    pub left_out: Vec<EntryPath>,
    /// The new head of the chain.
    pub head: String,
    /// Packs written before that the snapshot relies on, and when the one not read for longest was last read.
    pub older_packs: u64,
    /// See [`older_packs`](Self::older_packs).
    pub oldest_read: Option<Time>,
    /// Whether a closing look found nothing changed.
    pub quiet: Option<bool>,
    /// Seconds from start to commit.
    pub seconds: f64,
    /// What is wrong with the vault elsewhere, ascending by code: the snapshot is complete and does not rely on it.
    pub findings: Vec<Finding>,
    /// What should be said about the run, in words.
    pub notes: Vec<String>,
    /// What was kept on this host about what was found.
    pub kept: Kept,
}

impl Report {
    /// Returns how many objects the rules left out; what lies below an excluded directory is not counted.
    pub fn excluded(&self) -> u64 {
        excluded(&self.exclusions)
    }

    /// Returns the process exit status: 0 only where nothing is wrong with the vault, else that of the lowest family.
    pub fn exit(&self) -> u8 {
        exit_of(self.findings.iter().map(|finding| finding.code))
    }
}

/// Returns how many objects rules left out, devvault's own not counted.
pub fn excluded(exclusions: &[Exclusion]) -> u64 {
    exclusions.iter().filter(|one| one.by != ExcludedBy::Own).map(|one| one.objects).sum()
}

/// Checks a pattern of [`Options::exclude`], [`Options::may_change`], or of the options of a restore.
///
/// # Errors
/// It is no valid pattern in gitignore syntax.
pub fn check_pattern(pattern: &str) -> Result<()> {
    Rules::given(&[pattern.to_owned()]).map(|_| ())
}

/// Checks that a source could be backed up, as far as that needs no vault.
///
/// # Errors
/// DV803 where it is not there or not a directory, DV804 where it lies in one of devvault's own directories.
pub fn check_source(host: &crate::host::Host, source: &Path) -> Result<()> {
    Source::open(source, &Options::default())?.refuse_own_directories(host)
}

/// How often a run starts over because a pack failed that it had relied on.
const ATTEMPTS_MAX: usize = 16;

/// Takes a snapshot of `source`. Damage elsewhere in the vault is no error but a finding of the report.
///
/// # Errors
/// DV8xx where the source cannot be read completely (all such files are named), is empty, or overlaps the vault or
/// devvault's own directories; what opening for writing refuses; DV401 to DV403 where the vault's medium refuses; DV109
/// where what was written reads back differently, or a pack after another fails.
pub fn run(access: &Access, source: &Path, options: &Options, progress: &dyn Progress) -> Result<Report> {
    let about = ("source", shown_path(&crate::fsys::real_path(source)));
    audit::watch_about(access, "backup", about, || take_snapshot(access, source, options, progress))
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "snapshot": self.snapshot,
            "head": self.head,
            "files": self.counts.files,
            "bytes": self.counts.bytes.to_string(),
            "bytes_stored": self.bytes_stored.to_string(),
            "files_unchanged": self.files_unchanged,
            "left_out": self.left_out.len(),
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

fn take_snapshot(access: &Access, source: &Path, options: &Options, progress: &dyn Progress) -> Result<Report> {
    let begun = Instant::now();
    progress.phase(Phase::Opening, None, None);
    let source = Source::open(source, options)?;
    source.refuse_own_directories(&access.host)?;
    let (vault, lock) = gate::open_for_writing(access)?;
    source.refuse_inside_vault(&vault)?;
    probe(&*vault.store)?;
    // What a pack takes is asked for when one begins: a run that stores nothing needs no more than the reserve.
    require_space(&*vault.store, 0)?;
    let run = Run { host: access.host.identity()?, pool: Pool::new(), access, vault, lock, source, options, progress };
    let mut reads = Reads::load(&access.host, &run.vault.macs, &*run.vault.store, access.clock.now());
    for _ in 0..ATTEMPTS_MAX {
        let ended = run.attempt(&mut reads);
        let kept = reads.save(&access.host, &run.vault.macs);
        let note = kept.err().map(|error| format!("what was read was not remembered for later runs: {error}"));
        match ended? {
            Ended::Published(mut report) => {
                report.notes.extend(note);
                report.findings.sort_by(|a, b| (a.code, &a.subject).cmp(&(b.code, &b.subject)));
                report.seconds = begun.elapsed().as_secs_f64();
                return Ok(*report);
            }
            Ended::StartOver => {}
        }
    }
    let message = format!("{ATTEMPTS_MAX} packs failed one after another while they were relied on");
    Err(Refusal::new(Code::PackDamaged, message)
        .next("verify the vault: `devvault verify`; the medium loses packs faster than a backup can do without them")
        .into())
}

/// What an attempt came to.
enum Ended {
    Published(Box<Report>),
    /// A pack failed that chunks had been left out for; it is in doubt now.
    StartOver,
}

/// What every attempt needs.
struct Run<'a> {
    access: &'a Access,
    vault: Vault,
    lock: WriteLock,
    source: Source,
    options: &'a Options,
    progress: &'a dyn Progress,
    host: Host,
    pool: Pool,
}

/// What is said where files were taken for unchanged on a medium that does not tell every change.
const WEAKER_RULE: &str = "a file system of the source (FAT, exFAT, FUSE or overlayfs) may not tell every change by its time of change: \
    there, files were taken for unchanged by inode, size and time of modification; `--reread` reads them all";

impl Run<'_> {
    /// Takes the snapshot. What was read of packs meanwhile goes into `reads`.
    fn attempt(&self, reads: &mut Reads) -> Result<Ended> {
        let (vault, options) = (&self.vault, self.options);
        let mut report = Report { notes: vault.notes.clone(), ..Report::default() };
        let catalog = vault.catalog(UseIndex::Yes)?;
        report.notes.extend(catalog.index.notes());
        let index_ignored = !catalog.index.ignored.is_empty();
        let index_lists_more = catalog.index.absent > 0;
        let older = self.older_packs(catalog, reads, &mut report)?;
        let catalog = Arc::clone(older.catalog());
        let prior = vault
            .chain
            .snapshots()
            .rev()
            .find(|(_, snapshot)| snapshot.host.id == self.host.id && snapshot.source == self.source.bytes());
        let started = self.access.clock.now();
        let mut draft = Draft::begin(vault, &self.lock, older, self.pool.clone(), &self.origin(started))?;
        let directory = draft.directory();
        let stays = || format!("{directory} stays as evidence; no snapshot was made");

        let taken = self.take(&mut draft, catalog, prior, report);
        self.note_failed(draft.older().findings(), reads);
        let (taken, mut report) = match taken {
            Ok(taken) => taken,
            Err(error) if draft.older().must_start_over() && error.code() == Some(Code::ReadBackDiffers) => {
                draft.abandon();
                return Ok(Ended::StartOver);
            }
            Err(error) if error.code() == Some(Code::NoSpace) => return Err(error.written(|| draft.give_back())),
            Err(error) if ends_outside_the_vault(&error) => return Err(error.written(|| draft.abandon())),
            Err(error) => return Err(error.written(stays)),
        };
        report.findings.extend_from_slice(draft.older().findings());
        report.notes.extend_from_slice(draft.older().notes());

        self.progress.phase(Phase::Finalizing, None, None);
        let snapshot = Snapshot {
            counts: report.counts,
            ended: self.access.clock.now(),
            excluded: report.exclusions.clone(),
            host: self.host.clone(),
            journal: journal_head(self.access, &mut report.notes),
            left_out: report.left_out.clone(),
            lists: taken.lists,
            packs: Packs::Direct(Vec::new()),
            program: PROGRAM.to_owned(),
            quiet: report.quiet,
            source: self.source.bytes().to_vec(),
            started,
            tags: options.tags.clone(),
            unchanged_by: if options.reread { Vec::new() } else { file::unchanged_by(taken.keeps_ctime) },
        };
        let finalized = match draft.finalize(snapshot, &vault.chain, vault.config_digest, &taken.trusted) {
            Ok(Finalized::Published(published)) => published,
            Ok(Finalized::StartOver(findings)) => {
                self.note_failed(&findings, reads);
                return Ok(Ended::StartOver);
            }
            Err(error) => return Err(error.written(stays)),
        };
        for pack in &finalized.packs {
            reads.note_intact(pack.name, self.access.clock.now());
        }

        self.fill(&mut report, &finalized);
        // What an index still lists may be the only record of a pack that is lost.
        let rebuild = index_ignored && !index_lists_more && report.findings.is_empty();
        keep_index(vault, &finalized.packs, rebuild, &mut report.notes);
        remember(self.access, vault, finalized.head.number, &mut report)?;
        Ok(Ended::Published(Box::new(report)))
    }

    /// Walks the source and stores what is new.
    fn take(
        &self,
        draft: &mut Draft,
        catalog: Arc<Catalog>,
        prior: Option<(u64, &Snapshot)>,
        report: Report,
    ) -> Result<(Taken, Report)> {
        let (vault, options) = (&self.vault, self.options);
        let reader = Arc::new(vault.reader(catalog));
        let entries = prior.map(|(number, snapshot)| (number, reader.entries(&self.pool, &snapshot.lists)));
        let mut taker = Taker {
            draft,
            reader: Arc::clone(&reader),
            writer: ListingWriter::new(&vault.config.parameters),
            prior: Prior::new(entries, options.reread),
            clock: Arc::clone(&self.access.clock),
            progress: self.progress,
            report,
            problems: Problems::default(),
            sizes: vault.config.parameters.chunk_sizes(),
            names: Names::default(),
            owners: Owners::default(),
            media: HashMap::new(),
        };
        let before = prior.map(|(_, snapshot)| snapshot.counts);
        self.progress.phase(Phase::Storing, before.map(|counts| counts.files), before.map(|counts| counts.bytes));
        let quiet = self.source.take(self.access, vault, options, &self.pool, &mut taker)?;
        // What the listing's read-ahead has met behind the last object counts too.
        taker.distrust_failed();
        taker.draft.unless_started_over()?;
        taker.problems.refuse(&self.source.path)?;
        let was_empty = before.is_none_or(|counts| counts.entries() <= 1);
        if taker.report.counts.entries() <= 1 && !was_empty && !options.allow_empty {
            let source = shown_path(&self.source.path);
            if taker.report.excluded() > 0 {
                let message = format!("the rules leave out everything that {source} holds now, and did not before");
                return Err(Refusal::new(Code::SourceEmpty, message)
                    .next(
                        "mount the disk that it lies on, if that is missing; else look at the rules that leave it out",
                    )
                    .into());
            }
            return refuse(Code::SourceEmpty, format!("{source} is empty now and was not before"));
        }
        let Taker { draft, writer, prior, mut report, problems, media, owners, .. } = taker;
        report.notes.extend(owners.note());
        let keeps_ctime = media.values().all(|told| *told != ChangeTimes::Weak);
        if !keeps_ctime {
            report.notes.push(WEAKER_RULE.into());
        }
        let trusted = prior.finish(&mut report.findings);
        report.quiet = quiet;
        report.left_out = problems.left_out;
        Ok((Taken { lists: writer.finish(draft)?, trusted, keeps_ctime }, report))
    }

    /// Says what was published.
    fn fill(&self, report: &mut Report, finalized: &Published) {
        report.snapshot = finalized.head.number;
        report.vault = Some(self.vault.config.vault);
        report.source.clone_from(&self.source.path);
        report.bytes_stored = finalized.bytes_stored;
        report.head = finalized.head.to_string();
        report.older_packs = finalized.older.len() as u64;
        report.oldest_read = finalized.older.iter().map(|pack| pack.2).min();
    }

    fn origin(&self, started: Time) -> Origin {
        Origin {
            boot: boot_id(),
            host: self.host.id,
            host_name: self.host.name.clone(),
            pid: std::process::id(),
            source: shown_path(&self.source.path),
            started,
        }
    }

    /// Keeps in mind which packs findings are about.
    fn note_failed(&self, findings: &[Finding], reads: &mut Reads) {
        for finding in findings {
            // The path of a pack is the subject of what is wrong with it.
            if let Some(name) = layout::pack_named(&finding.subject) {
                reads.note_failed(name, finding, self.access.clock.now());
            }
        }
    }
}

/// A source whose entries are all in the draft.
struct Taken {
    lists: Vec<PartRef>,
    trusted: HashSet<Digest>,
    // Whether every medium on which a file was taken for unchanged keeps times of change.
    keeps_ctime: bool,
}

/// Adds the new packs to the index, or makes it anew where it was not sound. It is a cache: a failure is a note.
fn keep_index(vault: &Vault, packs: &[IndexedPack], rebuild: bool, notes: &mut Vec<String>) {
    if rebuild {
        match catalog::rebuild_index(&*vault.store, &vault.macs) {
            Ok(_) => notes.push("the index was made anew from the packs".into()),
            Err(NotRebuilt::Medium(error)) => notes.push(format!("the index was not made anew: {error}")),
            Err(NotRebuilt::Findings(_)) => {
                notes.push("the index was not made anew, because not every pack vouches for what it holds".into());
            }
        }
    } else if let Err(error) = index::add(&*vault.store, &vault.macs, packs) {
        notes.push(format!("the index was not written: {error}"));
    }
}

/// Returns what anchors this host's journal in the manifest; without a sound journal nothing does.
fn journal_head(access: &Access, notes: &mut Vec<String>) -> Option<Head> {
    Journal::of(&access.host).head().unwrap_or_else(|error| {
        notes.push(format!("the snapshot does not name this host's journal: {error}"));
        None
    })
}

/// Advances the witness to the chain with the new snapshot in it.
///
/// # Errors
/// DV109 where the snapshot that was just published does not authenticate.
fn remember(access: &Access, vault: &Vault, number: u64, report: &mut Report) -> Result<()> {
    let chain = match Chain::read(&*vault.store, &vault.macs, Some(vault.config_digest)) {
        Ok(chain) => chain,
        Err(error) => {
            let error = read_error(&*vault.store, layout::SNAPSHOTS, &error);
            let published = format!("{} was published, but could not be read again", layout::record_directory(number));
            return Err(error.written(published).into());
        }
    };
    let own = chain.findings.iter().find(|finding| finding.snapshots.contains(&number));
    if own.is_some() || chain.snapshot(number).is_none() {
        let refusal =
            Refusal::new(Code::ReadBackDiffers, format!("snapshot {number} does not read back after it was published"))
                .written(format!("{} was published; do not rely on it", layout::record_directory(number)));
        let cause = own.map(|finding| format!("{}: {}: {}", finding.code, finding.subject, finding.detail));
        return Err(refusal.cause(cause.unwrap_or_else(|| "it is not there any more".into())).into());
    }
    if !chain.findings.is_empty() {
        report.findings.extend(chain.findings);
        report.notes.push("the snapshot is finalized, but the witness was not advanced: the chain has findings".into());
        return Ok(());
    }
    let by = witness::By::of(access.expect_head.as_ref());
    if let Err(error) = witness::advance(&access.host, &vault.macs, &chain, by, access.clock.now()) {
        report.notes.push(format!("the snapshot is finalized, but the witness was not advanced: {error}"));
    }
    Ok(())
}

/// Returns whether a run ends for a reason that leaves no doubt about the vault, so that its staging may go.
fn ends_outside_the_vault(error: &Error) -> bool {
    match error {
        Error::Interrupted(_) => true,
        Error::Refused(refusal) => refusal.code.family() == Family::Source,
        Error::Environment { .. } => false,
    }
}

impl Run<'_> {
    /// Returns what may be relied on: not what failed a read on this host before, nor what cannot be vouched for.
    ///
    /// A pack that no manifest names is what an earlier run left. It is read completely now, or none of it is used: its
    /// footer alone does not tell that its read-back ever ended.
    fn older_packs(&self, catalog: Catalog, reads: &mut Reads, report: &mut Report) -> Result<Reliance> {
        let vault = &self.vault;
        let reader = vault.reader(catalog);
        let named = NamedPacks::of(&vault.chain, &reader).packs;
        let now = self.access.clock.now();
        // What is later than now was written by a clock that was ahead: nobody knows when that was.
        let last_read = |time: Time| if time <= now { time } else { Time::default() };
        let mut read: BTreeMap<Digest, Time> =
            named.into_iter().map(|(name, naming)| (name, last_read(naming.last_read))).collect();
        let failed = reader.failed_packs();
        let mut catalog = Arc::unwrap_or_clone(reader.into_catalog());
        catalog.findings.extend(failed.into_values());
        self.note_failed(&catalog.findings, reads);
        report.findings.append(&mut catalog.findings);
        let names: Vec<Digest> = catalog.packs().iter().map(|pack| pack.name).collect();
        let there: BTreeSet<Digest> = names.iter().copied().collect();
        let faulty: BTreeSet<String> = report.findings.iter().map(|finding| finding.subject.clone()).collect();
        for name in read.keys().filter(|name| !there.contains(name)) {
            let path = layout::pack_path(name);
            if !faulty.contains(&path) {
                let what = "older snapshots name it and it is not there; nothing is left out because of it";
                report.findings.push(Finding::new(Code::ChunkMissing, path, what));
            }
        }
        for name in names {
            if let Some(finding) = reads.doubt(&name) {
                report.findings.push(finding);
                catalog.distrust(&name);
            } else if !read.contains_key(&name) {
                self.take_over(name, &mut catalog, reads, report)?;
            }
            if let Some(here) = reads.last(&name) {
                let latest = read.entry(name).or_insert(here);
                *latest = (*latest).max(here);
            }
        }
        let mut look = if self.options.reread { Look::Whole } else { Look::Footer };
        if let Some(reason) = reads.unsure() {
            report.notes.push(format!(
                "every pack is read before it is relied on: {reason}; a verification of the whole vault settles it"
            ));
            look = Look::Whole;
        }
        let (store, macs) = (Arc::clone(&vault.store), Arc::clone(&vault.macs));
        let recall = reads.recall(&macs);
        Ok(Reliance::new(store, macs, Arc::new(catalog), look, self.pool.clone(), now, read).recalling(recall))
    }

    /// Makes a pack durable that an earlier run left, and reads it completely unless this host has; or relies on none of it.
    fn take_over(&self, name: Digest, catalog: &mut Catalog, reads: &mut Reads, report: &mut Report) -> Result<()> {
        let store = &*self.vault.store;
        let path = layout::pack_path(&name);
        let known = reads.last(&name).is_some();
        let read = || check_pack(store, &self.vault.macs, &name, &self.pool, &mut |_| {}).and_then(PackCheck::intact);
        if !known && let Err(finding) = read() {
            report.notes.push(format!(
                "{path} was left by an earlier run and is damaged; none of it is used, and no snapshot names it"
            ));
            reads.note_failed(name, &finding, self.access.clock.now());
            report.findings.push(finding);
            catalog.distrust(&name);
            return Ok(());
        }
        store
            .sync_directory(&layout::pack_directory(&name))
            .and_then(|()| store.sync_directory(layout::PACKS))
            .map_err(|error| crate::vault::write_error(store, &path, &error))?;
        if known {
            return Ok(());
        }
        report.notes.push(format!("{path} was left by an earlier run; it was read completely and may be used"));
        reads.note_intact(name, self.access.clock.now());
        Ok(())
    }
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().chars().filter(char::is_ascii_graphic).take(64).collect()
}
