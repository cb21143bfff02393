//! `backup`: takes a snapshot of one directory.
//!
//! A walk runs ahead and finds objects in path order; a pool reads, cuts and hashes files in batches; this thread takes
//! the results in order, decides what is new, and hands it to the draft. Order, and so the bytes of a vault, do not
//! depend on the number of threads.

mod file;
mod prior;
mod queue;
mod source;
mod take;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::prior::Prior;
use self::source::Source;
use self::take::{Problems, Taker};
use super::audit::{self, Told};
use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::PROGRAM;
use crate::format::index::IndexedPack;
use crate::format::record::{Counts, Head, Packs, Snapshot};
use crate::incident::journal::{Journal, bounded};
use crate::path::EntryPath;
use crate::pool::Pool;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Family, Kept};
use crate::vault::catalog::{self, Catalog, NotRebuilt, UseIndex};
use crate::vault::gate::{self, Access, Vault};
use crate::vault::index;
use crate::vault::listing::ListingWriter;
use crate::vault::read::{Reader, check_pack};
use crate::vault::write::{Draft, Origin, probe, require_space};
use crate::vault::{layout, read_error, witness};

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Patterns in gitignore syntax, relative to the source, of what is left out.
    pub exclude: Vec<String>,
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
    /// Objects that the rules left out; what lies below an excluded directory is not counted.
    pub excluded: u64,
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
    /// What should be said about the run, in words.
    pub notes: Vec<String>,
}

/// Checks a pattern of [`Options::exclude`] or [`Options::may_change`].
///
/// # Errors
/// It is no valid pattern in gitignore syntax.
pub fn check_pattern(pattern: &str) -> Result<()> {
    file::patterns(&[pattern.to_owned()]).map(|_| ())
}

/// Takes a snapshot of `source`.
///
/// # Errors
/// DV8xx where the source cannot be read completely (all such files are named), is empty, or overlaps the vault; what
/// opening for writing refuses; DV401 to DV403 where the vault's medium refuses; DV109 where what was written reads
/// back differently.
pub fn run(access: &Access, source: &Path, options: &Options, progress: &dyn Progress) -> Result<Report> {
    audit::watch(access, "backup", || take_snapshot(access, source, options, progress))
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "snapshot": self.snapshot,
            "head": self.head,
            "source": bounded(&shown_path(&self.source)),
            "files": self.counts.files,
            "bytes": self.counts.bytes.to_string(),
            "bytes_stored": self.bytes_stored.to_string(),
            "files_unchanged": self.files_unchanged,
            "left_out": self.left_out.len(),
        })
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

fn take_snapshot(access: &Access, source: &Path, options: &Options, progress: &dyn Progress) -> Result<Report> {
    let begun = Instant::now();
    progress.phase(Phase::Opening, None, None);
    let source = Source::open(source, options)?;
    let (mut vault, lock) = gate::open_for_writing(access)?;
    source.refuse_inside_vault(&vault)?;
    probe(&*vault.store)?;
    require_space(&*vault.store, vault.config.parameters.pack_bytes)?;
    let host = access.host.identity()?;
    let pool = Pool::new();
    let mut notes = vault.notes.clone();
    let catalog = Catalog::load(&*vault.store, &vault.macs, UseIndex::Yes)
        .map_err(|error| read_error(&*vault.store, layout::PACKS, &error))?;
    note_index(&catalog, &mut notes);
    let index_ignored = !catalog.index.ignored.is_empty();
    let (catalog, read) = vouched_packs(&vault, catalog, &pool, access.clock.now(), &mut notes)?;
    let prior = vault
        .chain
        .snapshots()
        .rev()
        .find(|(_, snapshot)| snapshot.host.id == host.id && snapshot.source == source.bytes());
    let started = access.clock.now();
    let origin = Origin {
        boot: boot_id(),
        host: host.id,
        host_name: host.name.clone(),
        pid: std::process::id(),
        source: shown_path(&source.path),
        started,
    };
    let mut draft = Draft::begin(&vault, &lock, Arc::clone(&catalog), pool.clone(), &origin)?;
    let directory = draft.directory();

    let reader = Arc::new(Reader::new(Arc::clone(&vault.store), Arc::clone(&vault.macs), catalog));
    let mut taker = Taker {
        draft: &mut draft,
        reader: Arc::clone(&reader),
        writer: ListingWriter::new(&vault.config.parameters),
        prior: Prior::new(prior.map(|(_, snapshot)| reader.entries(&pool, &snapshot.lists)), options.reread),
        clock: Arc::clone(&access.clock),
        progress,
        report: Report { notes, ..Report::default() },
        problems: Problems::default(),
        sizes: vault.config.parameters.chunk_sizes(),
    };
    progress.phase(
        Phase::Storing,
        prior.map(|(_, snapshot)| snapshot.counts.files),
        prior.map(|(_, snapshot)| snapshot.counts.bytes),
    );
    let taken = source.take(access, &vault, options, &pool, &mut taker);
    let was_empty = prior.is_none_or(|(_, snapshot)| snapshot.counts.entries() <= 1);
    let taken = taken.and_then(|quiet| {
        taker.problems.refuse(&source.path)?;
        if taker.report.counts.entries() <= 1 && !was_empty && !options.allow_empty {
            return refuse(Code::SourceEmpty, format!("{} is empty now and was not before", shown_path(&source.path)));
        }
        Ok(quiet)
    });
    let Taker { writer, prior, mut report, problems, .. } = taker;
    let trusted = prior.finish(&mut report.notes);
    drop(reader);
    let lists = taken.and_then(|quiet| {
        report.quiet = quiet;
        writer.finish(&mut draft)
    });
    let lists = match lists {
        Ok(lists) => lists,
        Err(error) if ends_outside_the_vault(&error) => return Err(error.written(|| draft.abandon())),
        Err(error) => return Err(error.written(|| format!("{directory} stays as evidence; no snapshot was made"))),
    };

    progress.phase(Phase::Finalizing, None, None);
    let snapshot = Snapshot {
        counts: report.counts,
        ended: access.clock.now(),
        excluded: options.exclude.clone(),
        host,
        journal: journal_head(access, &mut report.notes),
        left_out: problems.left_out.clone(),
        lists,
        packs: Packs::Direct(Vec::new()),
        program: PROGRAM.to_owned(),
        quiet: report.quiet,
        source: source.bytes().to_vec(),
        started,
        tags: options.tags.clone(),
        unchanged_by: if options.reread { Vec::new() } else { file::unchanged_by() },
    };
    let finalized = draft
        .finalize(snapshot, &vault.chain, vault.config_digest, &read, &trusted)
        .map_err(|error| error.written(|| format!("{directory} stays as evidence; no snapshot was made")))?;

    report.snapshot = finalized.head.number;
    report.vault = Some(vault.config.vault);
    report.source = source.path.clone();
    report.bytes_stored = finalized.bytes_stored;
    report.left_out = problems.left_out;
    report.head = finalized.head.to_string();
    if let Packs::Direct(packs) = &finalized.snapshot.packs {
        let own: HashSet<Digest> = finalized.packs.iter().map(|pack| pack.name).collect();
        let older = packs.iter().filter(|pack| !own.contains(&pack.0));
        report.older_packs = older.clone().count() as u64;
        report.oldest_read = older.map(|pack| pack.2).min();
    }
    keep_index(&vault, &finalized.packs, index_ignored, &mut report.notes);
    remember(access, &mut vault, &mut report.notes);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Adds the new packs to the index, or makes it anew where it was not sound. It is a cache: a failure is a note.
fn keep_index(vault: &Vault, packs: &[IndexedPack], ignored: bool, notes: &mut Vec<String>) {
    if ignored {
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
fn remember(access: &Access, vault: &mut Vault, notes: &mut Vec<String>) {
    let chain = crate::vault::chain::Chain::read(&*vault.store, &vault.macs, Some(vault.config_digest));
    let advanced =
        chain.map_err(|error| Error::environment("read the chain again", error)).and_then(|chain| {
            match chain.findings.first() {
                Some(finding) => Err(finding.clone().into()),
                None => {
                    let vouched = access.expect_head.is_some();
                    witness::advance(&access.host, &vault.macs, &chain, vouched, access.clock.now())
                }
            }
        });
    if let Err(error) = advanced {
        notes.push(format!("the snapshot is finalized, but the witness was not advanced: {error}"));
    }
}

/// Returns whether a run ends for a reason that leaves no doubt about the vault, so that its staging may go.
fn ends_outside_the_vault(error: &Error) -> bool {
    match error {
        Error::Interrupted(_) => true,
        Error::Refused(refusal) => refusal.code.family() == Family::Source || refusal.code == Code::NoSpace,
        Error::Environment { .. } => false,
    }
}

fn note_index(catalog: &Catalog, notes: &mut Vec<String>) {
    for reason in &catalog.index.ignored {
        notes.push(format!("the index was not used completely: {reason}"));
    }
}

/// Returns when each pack was last read completely, as manifests say.
///
/// A pack that no manifest names is what an earlier run left. It is read completely now, or none of it is used: its
/// footer alone does not tell that its read-back ever ended.
fn vouched_packs(
    vault: &Vault,
    catalog: Catalog,
    pool: &Pool,
    now: Time,
    notes: &mut Vec<String>,
) -> Result<(Arc<Catalog>, BTreeMap<Digest, Time>)> {
    let mut read: BTreeMap<Digest, Time> = BTreeMap::new();
    let reader = Reader::new(Arc::clone(&vault.store), Arc::clone(&vault.macs), Arc::new(catalog));
    for (_, snapshot) in vault.chain.snapshots() {
        for pack in reader.packs(snapshot).unwrap_or_default() {
            let latest = read.entry(pack.0).or_insert(pack.2);
            *latest = (*latest).max(pack.2);
        }
    }
    let mut catalog = Arc::unwrap_or_clone(reader.into_catalog());
    for finding in std::mem::take(&mut catalog.findings) {
        notes.push(format!(
            "{}: {} ({}); none of it is relied on",
            finding.subject,
            finding.code.title(),
            finding.detail
        ));
    }
    let unknown: Vec<Digest> =
        catalog.packs().iter().map(|pack| pack.name).filter(|name| !read.contains_key(name)).collect();
    for name in unknown {
        let path = layout::pack_path(&name);
        let check = check_pack(&*vault.store, &vault.macs, &path, pool, &mut |_| {});
        let durable = || {
            vault
                .store
                .sync_directory(&layout::pack_directory(&name))
                .and_then(|()| vault.store.sync_directory(layout::PACKS))
        };
        match check {
            Ok(check) if check.findings.is_empty() && check.name == Some(name) => {
                durable().map_err(|error| crate::vault::write_error(&*vault.store, &path, &error))?;
                notes.push(format!("{path} was left by an earlier run; it was read completely and is used"));
                read.insert(name, now);
            }
            _ => {
                notes.push(format!("{path} was left by an earlier run and is damaged; none of it is used"));
                catalog.distrust(&name);
            }
        }
    }
    Ok((Arc::new(catalog), read))
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().chars().filter(char::is_ascii_graphic).take(64).collect()
}
