//! What a snapshot left out when it was taken, by its own rules: finding that in a directory is no difference.
//!
//! The rules are those that the snapshot records, and those of the files of rules that it holds, not those of the
//! directory, which somebody may have changed since. Where several rules of the command disagree and their order is not
//! known, the object counts as added: too much is told rather than too little.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::format::entry::{Entry, Kind};
use crate::format::record::{ExcludedBy, Exclusion, Snapshot};
use crate::limits;
use crate::ops::reading::Reading;
use crate::ops::rules::{Rules, Verdict};
use crate::path::EntryPath;
use crate::progress::Progress;

const OWN_RULES: &[u8] = b".devvaultignore";
const GIT_RULES: &[u8] = b".gitignore";
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
/// How many bytes of files of rules are kept in mind.
const RULES_BYTES_MAX: u64 = 64 << 20;

/// Says what was left out, object by object in path order.
#[derive(Default)]
pub(super) struct LeftOut {
    // Of the command; and of the files that it named, each.
    named: Vec<Unordered>,
    own: BTreeMap<EntryPath, Rules>,
    git: BTreeMap<EntryPath, Rules>,
    repositories: BTreeSet<EntryPath>,
    // Left out by path; and emptied by path.
    paths: BTreeSet<EntryPath>,
    emptied: BTreeSet<EntryPath>,
    // The directory that was left out last: everything in it is.
    above: Option<EntryPath>,
    /// What could not be taken into account, in words.
    pub(super) notes: Vec<String>,
}

/// Rules whose order is not known.
struct Unordered {
    leaving: Rules,
    keeping: Rules,
}

impl Unordered {
    fn new<'a>(rules: impl Iterator<Item = &'a Exclusion>) -> Result<Self> {
        let (keeping, leaving): (Vec<&str>, Vec<&str>) =
            rules.map(|one| one.rule.as_str()).partition(|rule| rule.starts_with('!'));
        let owned = |rules: Vec<&str>| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
        let keeping = keeping.into_iter().map(|rule| &rule[1..]).collect();
        Ok(Self { leaving: Rules::given(&owned(leaving))?, keeping: Rules::given(&owned(keeping))? })
    }

    fn judge(&self, path: &[u8], is_directory: bool) -> Option<bool> {
        let matched = |rules: &Rules| matches!(rules.judge(path, is_directory), Verdict::Matched(_));
        match () {
            () if matched(&self.keeping) => Some(false),
            () if matched(&self.leaving) => Some(true),
            () => None,
        }
    }
}

impl LeftOut {
    /// Takes what a snapshot records, and reads the files of rules in it if any of them left something out.
    ///
    /// # Errors
    /// Its listing is not intact.
    pub(super) fn of(reading: &Reading, snapshot: &Snapshot, progress: &dyn Progress) -> Result<Self> {
        let mut left = Self::default();
        let mut by_file: BTreeMap<Option<&[u8]>, Vec<&Exclusion>> = BTreeMap::new();
        for one in &snapshot.excluded {
            match one.by {
                ExcludedBy::Command => by_file.entry(None).or_default().push(one),
                ExcludedBy::ExcludeFrom if one.from.is_some() => {
                    by_file.entry(one.from.as_deref()).or_default().push(one);
                }
                ExcludedBy::Own | ExcludedBy::Caches | ExcludedBy::OneFileSystem => left.note_path(one),
                _ => {}
            }
        }
        for rules in by_file.values() {
            match Unordered::new(rules.iter().copied()) {
                Ok(rules) => left.named.push(rules),
                Err(error) => left.notes.push(format!("rules of the snapshot were not understood: {error}")),
            }
        }
        left.paths.extend(snapshot.left_out.iter().cloned());
        let used = |by| snapshot.excluded.iter().any(|one| one.by == by && one.objects > 0);
        let (own, git) = (used(ExcludedBy::Devvaultignore), used(ExcludedBy::Gitignore));
        if own || git {
            left.read_rules(reading, snapshot, git, progress)?;
        }
        Ok(left)
    }

    fn note_path(&mut self, one: &Exclusion) {
        let Some(path) = one.from.as_deref().and_then(|from| EntryPath::parse(from).ok()) else { return };
        let list = if one.by == ExcludedBy::Own { &mut self.paths } else { &mut self.emptied };
        list.insert(path);
    }

    fn read_rules(&mut self, reading: &Reading, snapshot: &Snapshot, git: bool, progress: &dyn Progress) -> Result<()> {
        let mut bytes = 0;
        for entry in reading.listing(snapshot, &EntryPath::root(), progress) {
            let entry = entry?;
            let directory = entry.path.parent().unwrap_or_default();
            let list = match entry.path.name() {
                b".git" => {
                    self.repositories.insert(directory);
                    continue;
                }
                OWN_RULES => &mut self.own,
                GIT_RULES if git && !is_in_git(&entry.path) => &mut self.git,
                _ => continue,
            };
            bytes += entry.file().map_or(0, |file| file.size);
            if bytes > RULES_BYTES_MAX {
                self.notes.push("the snapshot holds too many rules to take all of them into account".into());
                return Ok(());
            }
            if let Some(rules) = content(reading, &entry)?.and_then(|content| Rules::parse(&content).ok()) {
                list.insert(directory, rules);
            }
        }
        Ok(())
    }

    /// Returns whether the snapshot left out an object that the directory holds: not at all, itself, or with the directory
    /// it lies in.
    pub(super) fn judge(&mut self, path: &EntryPath, is_directory: bool, is_file: bool) -> Left {
        if self.above.as_ref().is_some_and(|above| path.is_within(above)) {
            return Left::Above;
        }
        if !self.leaves(path, is_directory, is_file) {
            return Left::No;
        }
        if is_directory {
            self.above = Some(path.clone());
        }
        Left::Itself
    }

    fn leaves(&self, path: &EntryPath, is_directory: bool, is_file: bool) -> bool {
        if path.is_root() || self.paths.contains(path) {
            return !path.is_root();
        }
        let directory = path.parent().unwrap_or_default();
        if self.emptied.contains(&directory) && path.name() != CACHE_TAG {
            return true;
        }
        let named: Vec<bool> =
            self.named.iter().filter_map(|rules| rules.judge(path.as_bytes(), is_directory)).collect();
        if !named.is_empty() {
            return named.into_iter().all(|leaves| leaves);
        }
        if is_file && (path.name() == OWN_RULES || (!self.git.is_empty() && path.name() == GIT_RULES)) {
            return false;
        }
        let own = self.of_tree(&self.own, path, is_directory, false);
        let git = || {
            if is_in_git(path) { None } else { self.of_tree(&self.git, path, is_directory, true) }
        };
        own.or_else(git).unwrap_or(false)
    }

    /// Asks the files of one kind from the deepest up; nothing where none has a rule for the object.
    fn of_tree(
        &self,
        files: &BTreeMap<EntryPath, Rules>,
        path: &EntryPath,
        is_directory: bool,
        within_repository: bool,
    ) -> Option<bool> {
        if files.is_empty() {
            return None;
        }
        let mut above = path.parent();
        while let Some(directory) = above {
            let verdict =
                files.get(&directory).map(|rules| rules.judge(path.below(directory.as_bytes()), is_directory));
            match verdict {
                Some(Verdict::Matched(_)) => return Some(true),
                Some(Verdict::Kept) => return Some(false),
                Some(Verdict::None) | None => {}
            }
            if within_repository && self.repositories.contains(&directory) {
                return None;
            }
            above = directory.parent();
        }
        None
    }
}

/// Whether something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    No,
    Itself,
    Above,
}

fn is_in_git(path: &EntryPath) -> bool {
    path.components().any(|name| name == b".git")
}

/// Returns the content of a file of rules; nothing where it is none.
fn content(reading: &Reading, entry: &Entry) -> Result<Option<Vec<u8>>> {
    let Kind::File(file) = &entry.kind else { return Ok(None) };
    if file.size > limits::RULES_BYTES_MAX || !file.holes.is_none() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for chunk in reading.reader.chunks_of(file) {
        bytes.extend(reading.reader.chunk(chunk?)?);
    }
    Ok(Some(bytes))
}
