//! `restore`: puts a snapshot, or a part of it, into an absent or empty directory, and proves what it wrote.
//!
//! Everything is written into a staging directory beside the destination, read back from the file system and compared
//! with the authenticated listing, and made durable, before one rename puts it in place. Until then the destination is
//! untouched; on failure the staging directory stays as evidence and is named.

mod choice;
mod class;
mod compare;
mod facts;
mod inspect;
mod keep;
mod names;
mod own;
mod probe;
mod seals;
mod target;
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::choice::Choice;
pub use self::class::Class;
use self::compare::{Comparer, Outcome};
pub use self::facts::facts;
use self::inspect::{Inspector, Plan};
use self::keep::Durability;
use self::probe::Probe;
use self::seals::Sealer;
use self::target::{Staging, Target};
use self::tree::{Finisher, TreeWriter};
use super::audit::{self, Told};
use super::reading::{check_counts, meant};
use super::select::{self, Place as Selection, SourceName};
use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::entry::{ChunkRef, Entry};
use crate::format::links::Links;
use crate::format::record::{Counts, Snapshot};
use crate::fsys::ahead::WalkAhead;
use crate::fsys::walk::Everything;
use crate::fsys::{Dir, ObjectId};
use crate::incident::journal::bounded;
use crate::path::{EntryPath, shown};
use crate::pool::Pool;
use crate::progress::{Phase, Progress};
use crate::refusal::{Code, Family, Kept, Refusal};
use crate::vault::catalog::UseIndex;
use crate::vault::gate::{self, Access};
use crate::vault::read::Reader;
use crate::vault::reads::{self, Reads};
use crate::vault::witness::Freshness;
use crate::vault::{Finding, layout};

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Drop restored files from memory before they are read back, so that the comparison reads the medium.
    pub from_medium: bool,
    /// Patterns in gitignore syntax, relative to what is restored, of what is restored; everything where there is none.
    pub include: Vec<String>,
    /// Patterns of what is not restored, with all that lies below it; these go before the others.
    pub exclude: Vec<String>,
    /// Of these only exactly what is named here, and the directories that lead to it; all of them where it is absent.
    pub only: Option<BTreeSet<EntryPath>>,
    /// Classes that are given up; the report counts what is lost by that.
    pub without: Vec<Class>,
    /// A drill restores, and removes it again.
    pub in_drill: bool,
    /// Give files to the recorded numbers of users and groups, whatever names these have here.
    pub numeric_owner: bool,
}

/// What `restore` did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The snapshot's number.
    pub snapshot: u64,
    /// What it is a snapshot of: `latest` is the newest of any source.
    pub source: SourceName,
    /// When it was complete.
    pub time: Time,
    /// The digest of its record: a branch may give the number anew.
    pub record: Option<Digest>,
    /// The vault's id.
    pub vault: Id,
    /// Which part of it was restored; the root for all.
    pub path: EntryPath,
    /// Where it is now.
    pub destination: PathBuf,
    /// How much was restored.
    pub counts: Counts,
    /// How much of that part was not restored, because patterns did not choose it.
    pub not_chosen: Counts,
    /// Whether a drill restored it.
    pub in_drill: bool,
    /// Whether less than the whole snapshot was restored; then nothing is said of the rest of it.
    pub partial: bool,
    /// Packs that the snapshot relies on and that are missing or not vouched for; nothing that was restored needs them.
    pub damage_elsewhere: Vec<String>,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// Whether what was written was read back and compared; always true in a report.
    pub verified: bool,
    /// Where the comparison read from: `page cache` or `medium`.
    pub compared_from: &'static str,
    /// What the snapshot holds and the restored objects lack, by class.
    pub not_restored: Vec<Shortfall>,
    /// What the target keeps less exactly than the snapshot, by class.
    pub coarser: Vec<Shortfall>,
    /// What the snapshot lacks there since it was made: files that kept changing and were left out, as allowed.
    pub left_out: Vec<EntryPath>,
    /// Seconds from start to end.
    pub seconds: f64,
    /// What should be said besides, in words.
    pub notes: Vec<String>,
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "snapshot": self.snapshot,
            "record": self.record.map(|record| record.to_string()),
            "source": bounded(&shown(&self.source.path)),
            "source_host": bounded(&self.source.host),
            "time": self.time.rfc3339(),
            "path": bounded(&self.path.to_string()),
            "not_chosen": self.not_chosen.entries(),
            "in_drill": self.in_drill,
            "destination": bounded(&shown_path(&self.destination)),
            "files": self.counts.files,
            "bytes": self.counts.bytes.to_string(),
            "freshness": self.freshness.to_string(),
            "compared_from": self.compared_from,
        })
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Metadata of one class that was not restored, or not exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The class.
    pub class: &'static str,
    /// How many objects are concerned.
    pub count: u64,
    /// Why.
    pub reason: String,
}

/// Restores a snapshot or a part of it.
///
/// # Errors
/// DV2xx before the first byte where the destination is not safe, DV1xx where content is missing or damaged, DV208 where
/// what was written reads back differently, DV209 where the destination changed meanwhile; what opening the vault
/// refuses.
pub fn run(
    access: &Access,
    selection: &Selection,
    destination: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    audit::watch(access, "restore", || put_back(access, selection, destination, options, progress))
}

fn put_back(
    access: &Access,
    selection: &Selection,
    destination: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    let begun = Instant::now();
    progress.phase(Phase::Opening, None, None);
    let choice = Choice::new(&options.include, &options.exclude)?.only(options.only.clone());
    let mut vault = gate::open(access)?;
    let _lock = gate::read_lock(&*vault.store)?;
    let (number, snapshot) = select::select(&vault, &selection.snapshot)?;
    let target = Target::preflight(destination, &vault, &access.host)?;
    let pool = Pool::new();
    let mut notes = vault.notes.clone();
    let mut reader = Arc::new(vault.reader(vault.catalog(UseIndex::Yes)?));
    let index = &reader.catalog().index;
    notes.extend(index.notes());
    let indexed = index.packs_indexed > 0;
    let look = |reader: &Arc<Reader>| {
        let selection = meant(reader, &pool, snapshot, &selection.path);
        let part = Part { reader, pool: &pool, snapshot, selection: &selection, choice: &choice };
        part.preflight(&target, options, progress).map(|(plan, looked)| (plan, looked, selection))
    };
    let keep_in_mind = |reader: &Reader| {
        reads::keep_in_mind(&access.host, &vault.macs, &*vault.store, &reader.failed_packs(), access.clock.now())
    };
    let looked = look(&reader);
    if looked.is_err() {
        notes.extend(keep_in_mind(&reader));
    }
    let (mut plan, looked, path) = match looked {
        Err(error) if indexed && error.code().is_some_and(|code| code.family() == Family::SnapshotIntegrity) => {
            // The index may be what is wrong: the packs themselves decide.
            reader = Arc::new(vault.reader(vault.catalog(UseIndex::No)?));
            let plan = look(&reader)?;
            notes.push(INDEX_WRONG.into());
            plan
        }
        other => other?,
    };
    let part = Part { reader: &reader, pool: &pool, snapshot, selection: &path, choice: &choice };
    let partial = !path.is_root() || looked.all != looked.chosen;
    let left_out = snapshot.left_out.iter().filter(|left| left.is_within(&path)).cloned().collect();

    let staging = target.stage(plan.maker)?;
    let restored = part.write(&staging, &plan, progress).and_then(|sealed| {
        let compare = || part.compare(&target, &staging, options, &plan, progress);
        let outcome = if options.from_medium {
            staging.sync(plan.keep.durability, progress)?;
            compare()?
        } else {
            staging.sync_while(plan.keep.durability, progress, compare)?
        };
        match sealed {
            Sealed::Nothing => {}
            Sealed::TheRoot(root) => {
                part.seal_root(&staging, &plan, *root)?;
                staging.sync(Durability::Each, progress)?;
            }
            Sealed::Objects(made) => {
                part.seal(&staging, &plan, made, progress)?;
                staging.sync(plan.keep.durability, progress)?;
            }
        }
        target.publish(&staging, Dir::sync)?;
        Ok(outcome)
    });
    notes.extend(keep_in_mind(&reader));
    let outcome = restored.map_err(|error| {
        error.written(|| {
            format!(
                "{} holds what was written so far and stays as evidence; {} is untouched",
                shown_path(&staging.path),
                shown_path(&target.path)
            )
        })
    })?;

    if reader.index_was_wrong() {
        notes.push(INDEX_WRONG.into());
    }
    let damage_elsewhere = if partial {
        not_to_be_relied_on(
            &reader,
            snapshot,
            &Reads::load(&access.host, &vault.macs, &*vault.store, access.clock.now()),
        )
    } else {
        Vec::new()
    };
    let from_memory = outcome.from_memory;
    plan.note_filled(outcome.filled);
    if options.from_medium && from_memory > 0 {
        notes.push(format!("the system could not be made to forget {from_memory} file(s); those were compared with what it holds in memory"));
    }
    if target.existed {
        notes.push(
            "the empty destination was replaced by the restored directory; it is a new object of the same name".into(),
        );
    }
    if !vault.chain.findings.is_empty() {
        notes.push("the chain has findings elsewhere; this snapshot authenticates, and all that was to be restored was; run `devvault verify`".into());
    }
    let (source, time, record) = (SourceName::of(snapshot), snapshot.ended, vault.chain.digest(number));
    let vault_id = vault.config.vault;
    vault.advance_witness(access);
    notes.extend(vault.notes.drain(..).filter(|note| note.starts_with("the witness")));
    Ok(Report {
        snapshot: number,
        record,
        source,
        time,
        vault: vault_id,
        path,
        destination: target.path.clone(),
        not_chosen: looked.all.minus(&looked.chosen),
        in_drill: options.in_drill,
        counts: plan.counts,
        partial,
        damage_elsewhere,
        freshness: vault.freshness,
        verified: true,
        compared_from: if options.from_medium && from_memory == 0 { "medium" } else { "page cache" },
        not_restored: plan.not_restored,
        coarser: plan.coarser,
        left_out,
        seconds: begun.elapsed().as_secs_f64(),
        notes,
    })
}

const INDEX_WRONG: &str = "the index was wrong about where content lies and was ignored; \
    `devvault index rebuild` makes it anew";

/// Returns the packs that a snapshot relies on and that are not there, whose footers are not authentic, or that failed a
/// read on this host.
fn not_to_be_relied_on(reader: &Reader, snapshot: &Snapshot, reads: &Reads) -> Vec<String> {
    let known: BTreeSet<(Digest, u64)> = reader.catalog().packs().iter().map(|pack| (pack.name, pack.length)).collect();
    let packs = match reader.packs(snapshot) {
        Ok(packs) => packs,
        // What is wrong with the list of packs is a damage elsewhere too.
        Err(finding) => return vec![finding.subject],
    };
    let bad = packs.iter().filter(|pack| !known.contains(&(pack.0, pack.1)) || reads.doubt(&pack.0).is_some());
    bad.map(|pack| layout::pack_path(&pack.0)).collect()
}

/// A part of a snapshot.
struct Part<'a> {
    reader: &'a Arc<Reader>,
    pool: &'a Pool,
    snapshot: &'a Snapshot,
    selection: &'a EntryPath,
    choice: &'a Choice,
}

/// What is sealed after the comparison.
enum Sealed {
    Nothing,
    TheRoot(Box<Entry>),
    /// With the ids of the files among them, in the order of the listing.
    Objects(Vec<ObjectId>),
}

/// What a part holds, chosen or not.
#[derive(Default)]
struct Looked {
    all: Counts,
    chosen: Counts,
    nothing_chosen: bool,
}

impl Part<'_> {
    /// Hands on every entry that is chosen in path order, each with its path below the destination. A further name of an
    /// object names the first one that is chosen, also below the destination.
    fn each(&self, mut take: impl FnMut(Entry) -> Result<()>) -> Result<Looked> {
        let mut chooser = self.choice.begin();
        let mut looked = Looked::default();
        let everything = self.choice.is_everything();
        let mut single = None;
        let mut links = Links::default();
        for batch in self.reader.entries_within(self.pool, &self.snapshot.lists, self.selection) {
            for entry in batch?.entries {
                if single.is_none() {
                    if entry.path != *self.selection {
                        let detail = "entries lie below it, but it is no entry itself";
                        return Err(Finding::new(Code::ListingUnsafe, self.selection.to_string(), detail).into());
                    }
                    // What is not a directory is restored under its own name.
                    single = Some(!entry.is_directory());
                }
                let unsafe_listing = |path: &EntryPath, error: &dyn std::fmt::Display| {
                    Error::from(Finding::new(Code::ListingUnsafe, path.to_string(), error))
                };
                let below = |path: &EntryPath| match single {
                    Some(true) => EntryPath::root().join(self.selection.name()),
                    _ => EntryPath::parse(path.below(self.selection.as_bytes())),
                };
                looked.all.add(&entry);
                let mut hand_on = |entry: Entry| {
                    let first = links.take(&entry, self.selection.is_root() && everything);
                    let first = first.map_err(|error| unsafe_listing(&entry.path, &error))?.cloned();
                    let hardlink = first.map(|first| below(&first)).transpose();
                    let hardlink = hardlink.map_err(|error| unsafe_listing(&entry.path, &error))?;
                    let path = below(&entry.path).map_err(|error| unsafe_listing(&entry.path, &error))?;
                    looked.chosen.add(&entry);
                    take(Entry { path, hardlink, ..entry })
                };
                if everything {
                    hand_on(entry)?;
                } else {
                    let path = below(&entry.path).map_err(|error| unsafe_listing(&entry.path, &error))?;
                    chooser.take(entry, &path, hand_on)?;
                }
            }
        }
        looked.nothing_chosen = !everything && chooser.chosen == 0;
        Ok(looked)
    }

    /// Refuses before the first byte what could not be completed: content that is missing, what the target cannot
    /// hold, too little room.
    fn preflight(&self, target: &Target, options: &Options, progress: &dyn Progress) -> Result<(Plan, Looked)> {
        let mut missing: Option<(ChunkRef, Vec<EntryPath>)> = None;
        let probe = Probe::new(target)?;
        let mut inspector = Inspector::new(&probe, self.reader, options);
        let looked = self.each(|entry| {
            let mut held = true;
            self.reader.each_needed(&entry, |chunk| {
                if held && !self.reader.catalog().holds(chunk) {
                    held = false;
                    missing.get_or_insert_with(|| (chunk, Vec::new())).1.push(entry.path.clone());
                }
                if progress.interrupted() { Err(Error::Interrupted(None)) } else { Ok(()) }
            })?;
            // What is missing is refused in the end; until then it is not asked for.
            if held { inspector.take(&entry) } else { Ok(()) }
        })?;
        if looked.all.entries() == 0 {
            return refuse(Code::SelectionEmpty, format!("the snapshot holds no {}", self.selection));
        }
        if self.selection.is_root() {
            check_counts(&looked.all, &self.snapshot.counts)?;
        }
        if looked.nothing_chosen {
            return Err(Refusal::new(Code::SelectionEmpty, "the snapshot holds nothing that the patterns choose")
                .next("look what it holds: `devvault find SNAP PATTERN`")
                .into());
        }
        if let Some((chunk, paths)) = missing {
            let message = format!("content of {} file(s) is missing from the vault", paths.len());
            return Err(Refusal::new(Code::ChunkMissing, message)
                .cause(format!("chunk {}: {}", chunk.id(), self.reader.catalog().none_holds()))
                .paths(paths)
                .into());
        }
        Ok((inspector.finish(target)?, looked))
    }

    /// Writes everything: directories and files first, then links, metadata of directories last.
    ///
    /// Returns what remains to be sealed after the comparison.
    fn write(&self, staging: &Staging, plan: &Plan, progress: &dyn Progress) -> Result<Sealed> {
        progress.phase(Phase::Restoring, Some(plan.counts.files), Some(plan.counts.bytes));
        let keep = &plan.keep;
        let mut writer =
            TreeWriter::new(staging, Arc::clone(self.reader), Arc::clone(keep), self.pool.clone(), progress);
        let mut sealed = Sealed::Nothing;
        self.each(|entry| {
            if !keep.restores(&entry) {
                return Ok(());
            }
            if keep.is_sealed(&entry) {
                let is_root = entry.path.is_root();
                sealed = if is_root { Sealed::TheRoot(Box::new(entry.clone())) } else { Sealed::Objects(Vec::new()) };
            }
            writer.take(entry)
        })?;
        let made = writer.finish()?;
        if let Sealed::Objects(files) = &mut sealed {
            *files = made;
        }
        let mut finisher = Finisher::new(staging, self.reader, keep, progress);
        self.each(|entry| if keep.restores(&entry) { finisher.take(entry) } else { Ok(()) })?;
        finisher.finish()?;
        Ok(sealed)
    }

    /// Sets what of the root alone waits for the comparison.
    fn seal_root(&self, staging: &Staging, plan: &Plan, root: Entry) -> Result<()> {
        // A single file is no root: its directory is the destination.
        let mut sealer = Sealer::new(&plan.keep, &staging.root, Vec::new(), self.reader);
        sealer.take(root)?;
        sealer.finish()
    }

    /// Sets what waits for the comparison.
    fn seal(&self, staging: &Staging, plan: &Plan, made: Vec<ObjectId>, progress: &dyn Progress) -> Result<()> {
        let keep = &plan.keep;
        let mut sealer = Sealer::new(keep, &staging.root, made, self.reader);
        self.each(|entry| {
            if progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            let further = keep.further_name(&entry).is_some();
            if further || !keep.restores(&entry) { Ok(()) } else { sealer.take(entry) }
        })?;
        sealer.finish()
    }

    /// Reads everything back through directory handles and holds it against the listing.
    fn compare(
        &self,
        target: &Target,
        staging: &Staging,
        options: &Options,
        plan: &Plan,
        progress: &dyn Progress,
    ) -> Result<Outcome> {
        progress.phase(Phase::Comparing, Some(plan.counts.files), Some(plan.counts.bytes));
        let root = target
            .parent
            .open_dir(&staging.name)
            .map_err(|error| Error::environment(format!("open {}", shown_path(&staging.path)), error))?;
        let same = root.stat().map(|stat| stat.id == staging.id);
        if !same.map_err(|error| Error::environment("look at the staging directory", error))? {
            return refuse(
                Code::DestinationChanged,
                format!("{} was replaced during the restore", shown_path(&staging.path)),
            );
        }
        let mut found = WalkAhead::start(root, Everything);
        let mut comparer = Comparer::new(self.reader, Arc::clone(&plan.keep), self.pool, options.from_medium, progress);
        let take = |entry: Entry| if plan.keep.restores(&entry) { comparer.take(entry, &mut found) } else { Ok(()) };
        let compared = self.each(take).and_then(|_| comparer.finish(&mut found));
        // What was not walked to its end must not look as if the rest were missing.
        found.finish().map_err(|error| Error::environment(format!("walk {}", shown_path(&staging.path)), error))?;
        compared
    }
}
