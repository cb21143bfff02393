//! `diff`: what differs between two snapshots, or between a snapshot and a directory of this machine.
//!
//! Both sides come in path order and are merged as they come; memory does not depend on how much they hold. Of a
//! directory, every file that has the length of its entry is read, because only its bytes tell whether it is the same.

mod against;
mod content;
mod directory;
mod left;
mod merge;
mod same;

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::PathBuf;

use self::against::with_directory;
use self::merge::{At, Merge, Pair};
use self::same::same_content;
use super::audit;
use super::change::{self, Aspect, State};
use super::reading::Reading;
use super::select::{Place, SourceName};
use crate::error::{Result, refuse};
use crate::format::entry::Entry;
use crate::format::record::Snapshot;
use crate::path::EntryPath;
use crate::progress::{Phase, Progress};
use crate::refusal::Code;
use crate::vault::Finding;
use crate::vault::gate::Access;
use crate::vault::witness::Freshness;

/// What a snapshot is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// Another snapshot, or a part of it.
    Snapshot(Place),
    /// A directory or file of this machine.
    Directory(PathBuf),
}

impl Side {
    /// Takes a word as the system hands it over. What reads as a snapshot is one; a directory of such a name is named with
    /// `./` before it.
    pub fn of(word: &OsStr) -> Self {
        Place::parse(word).map_or_else(|_| Self::Directory(word.into()), Self::Snapshot)
    }
}

/// What the caller may choose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Do not read files of a directory: a content that changed within its length goes unnoticed.
    pub quick: bool,
    /// Tell only of what is added or removed, or differs in kind, content or target.
    pub content_only: bool,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is on the second side only.
    Added,
    /// It is on the first side only.
    Removed,
    /// It is on both sides and differs.
    Changed,
    /// A file's content differs while its length and modification time do not.
    Corrupt,
}

impl Change {
    /// Returns the change's name for people and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Corrupt => "corrupt",
        }
    }
}

/// One path that differs.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Where, below what is compared.
    pub path: EntryPath,
    /// How.
    pub change: Change,
    /// In what, ascending; empty unless it is on both sides.
    pub aspects: Vec<Aspect>,
    /// What it is on the first side.
    pub before: Option<State>,
    /// What it is on the second side.
    pub after: Option<State>,
    /// What else is known, in words.
    pub detail: Option<String>,
}

/// How much is the same and how much differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Paths on the second side only.
    pub added: u64,
    /// Paths on the first side only.
    pub removed: u64,
    /// Paths that differ.
    pub changed: u64,
    /// Files whose content differs while length and modification time do not.
    pub corrupt: u64,
    /// Paths on both sides that do not differ.
    pub same: u64,
    /// Objects of a directory that the snapshot left out by its rules when it was taken; what lies below one is not counted.
    pub left_out: u64,
}

impl Tally {
    /// Returns whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.added + self.removed + self.changed + self.corrupt == 0
    }
}

/// The second side of a comparison, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// A snapshot's number, and its source.
    Snapshot(u64, SourceName),
    /// The real path of a directory or file.
    Directory(PathBuf),
}

/// What was compared.
#[derive(Debug, Clone)]
pub struct Report {
    /// The first snapshot's number.
    pub snapshot: u64,
    /// Its source.
    pub source: SourceName,
    /// What it was compared with.
    pub against: Against,
    /// How much differs.
    pub tally: Tally,
    /// Whether contents were compared: two snapshots by their hashes, files of a directory by reading them.
    pub content_compared: bool,
    /// What was not compared.
    pub not_compared: Vec<Aspect>,
    /// Bytes of a directory's files that were read.
    pub bytes_read: u64,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// What should be said besides.
    pub notes: Vec<String>,
}

/// Hands on every path that differs, in path order.
///
/// # Errors
/// What opening the vault or selecting a snapshot refuses; DV104, DV105 or DV108 where a listing is not intact; DV210
/// where a place does not exist; DV803 where the directory does not; after everything else has been handed on, DV104,
/// DV105 or DV108 where the vault does not tell what files hold, and DV801 where parts of the directory cannot be read;
/// whatever `take` returns.
pub fn run(
    access: &Access,
    left: &Place,
    right: &Side,
    options: Options,
    progress: &dyn Progress,
    take: &mut dyn FnMut(&Difference) -> Result<()>,
) -> Result<Report> {
    audit::watch_refusals(access, "diff", || compare(access, left, right, options, progress, take))
}

fn compare(
    access: &Access,
    left: &Place,
    right: &Side,
    options: Options,
    progress: &dyn Progress,
    take: &mut dyn FnMut(&Difference) -> Result<()>,
) -> Result<Report> {
    progress.phase(Phase::Opening, None, None);
    let reading = Reading::open(access)?;
    let (number, snapshot) = reading.select(&left.snapshot)?;
    let mut output =
        Output { take, options, tally: Tally::default(), not_compared: BTreeSet::new(), notes: Vec::new() };
    let path = reading.meant(snapshot, &left.path);
    let first = (number, snapshot, &path);
    progress.phase(Phase::Comparing, Some(snapshot.counts.files), None);
    let (against, bytes_read) = match right {
        Side::Snapshot(place) => {
            let (other, snapshot) = reading.select(&place.snapshot)?;
            let path = reading.meant(snapshot, &place.path);
            snapshots(&reading, first, (other, snapshot, &path), progress, &mut output)?;
            (Against::Snapshot(other, SourceName::of(snapshot)), 0)
        }
        Side::Directory(path) => {
            let (real, bytes) = with_directory(&reading, first, path, progress, &mut output)?;
            (Against::Directory(real), bytes)
        }
    };
    let source = SourceName::of(snapshot);
    let mut notes = reading.remarks(access);
    notes.append(&mut output.notes);
    Ok(Report {
        snapshot: number,
        source,
        content_compared: matches!(right, Side::Snapshot(_)) || !options.quick,
        not_compared: output.not_compared.into_iter().collect(),
        against,
        tally: output.tally,
        bytes_read,
        freshness: reading.vault.freshness,
        notes,
    })
}

/// Takes differences in path order, and counts.
struct Output<'a> {
    take: &'a mut dyn FnMut(&Difference) -> Result<()>,
    options: Options,
    tally: Tally,
    not_compared: BTreeSet<Aspect>,
    notes: Vec<String>,
}

impl Output<'_> {
    fn difference(&mut self, mut difference: Difference) -> Result<()> {
        if self.options.content_only && difference.change == Change::Changed {
            difference.aspects.retain(|aspect| aspect.is_content());
            if difference.aspects.is_empty() {
                self.tally.same += 1;
                return Ok(());
            }
        }
        let count = match difference.change {
            Change::Added => &mut self.tally.added,
            Change::Removed => &mut self.tally.removed,
            Change::Changed => &mut self.tally.changed,
            Change::Corrupt => &mut self.tally.corrupt,
        };
        *count += 1;
        (self.take)(&difference)
    }
}

type Chosen<'a> = (u64, &'a Snapshot, &'a EntryPath);

/// Returns the entries at and below a place, with their paths below it.
fn entries<'a>(
    reading: &'a Reading,
    (number, snapshot, within): Chosen<'a>,
    progress: &'a dyn Progress,
) -> Result<impl Iterator<Item = Result<Entry>> + 'a> {
    let mut listing = reading.listing(snapshot, within, progress).peekable();
    if listing.peek().is_none() {
        return refuse(Code::SelectionEmpty, format!("snapshot {number} holds no {within}"));
    }
    // Of an object with several names, the one that comes first here.
    let mut firsts: HashMap<EntryPath, EntryPath> = HashMap::new();
    Ok(listing.map(move |entry| {
        let entry = entry?;
        let path = EntryPath::parse(entry.path.below(within.as_bytes()))
            .map_err(|error| Finding::new(Code::ListingUnsafe, entry.path.to_string(), error))?;
        let mut hardlink = entry.hardlink.clone();
        if entry.links.is_some() && !within.is_root() {
            hardlink = None;
            match firsts.entry(entry.hardlink.unwrap_or(entry.path)) {
                Occupied(first) => hardlink = Some(first.get().clone()),
                Vacant(first) => _ = first.insert(path.clone()),
            }
        }
        Ok(Entry { path, hardlink, ..entry })
    }))
}

impl At for Entry {
    fn path(&self) -> &EntryPath {
        &self.path
    }
}

fn snapshots(
    reading: &Reading,
    left: Chosen<'_>,
    right: Chosen<'_>,
    progress: &dyn Progress,
    output: &mut Output<'_>,
) -> Result<()> {
    for pair in Merge::new(entries(reading, left, progress)?, entries(reading, right, progress)?) {
        let (path, change, aspects, before, after) = match pair? {
            Pair::Left(entry) => (entry.path.clone(), Change::Removed, Vec::new(), Some(entry), None),
            Pair::Right(entry) => (entry.path.clone(), Change::Added, Vec::new(), None, Some(entry)),
            Pair::Both(before, after) => {
                let aspects = aspects(reading, &before, &after, progress)?;
                if aspects.is_empty() {
                    output.tally.same += 1;
                    continue;
                }
                (before.path.clone(), Change::Changed, aspects, Some(before), Some(after))
            }
        };
        let (before, after) = (before.as_ref().map(State::of), after.as_ref().map(State::of));
        output.difference(Difference { path, change, aspects, before, after, detail: None })?;
    }
    Ok(())
}

/// Returns in what two entries differ; contents that are named in different ways are compared by what they hold.
fn aspects(reading: &Reading, before: &Entry, after: &Entry, progress: &dyn Progress) -> Result<Vec<Aspect>> {
    let mut aspects = change::between(before, after);
    if let (Some(before), Some(after)) = (before.file(), after.file())
        && before.size == after.size
        && aspects.contains(&Aspect::Content)
        && same_content(&reading.reader, before, after, progress)?
    {
        aspects.retain(|aspect| *aspect != Aspect::Content);
    }
    Ok(aspects)
}
