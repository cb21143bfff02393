//! `find`: which snapshots hold what, and in which versions.
//!
//! The snapshots of one source are read side by side in path order. Where they share parts of their listings, as they do
//! wherever nothing changed, a part is read and decoded once for all of them; so memory depends on the number of
//! snapshots, not on that of their entries. Snapshots of different sources are looked through one source after another.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::{Value, json};

use super::audit::{self, Told};
use super::change::{self, Aspect, State};
use super::reading::{Reading, check_counts};
use super::rules::with_classes_within_names;
use super::select::{Place, SourceName};
use crate::crypto::Digest;
use crate::error::{Error, Result, refuse};
use crate::format::entry::Entry;
use crate::format::listing::PartRef;
use crate::format::record::{Counts, Snapshot};
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::refusal::{Code, Kept};
use crate::vault::Finding;
use crate::vault::gate::Access;
use crate::vault::read::{Reader, check_seam, relevant};
use crate::vault::witness::Freshness;

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Patterns; one that matches is enough. Without a `/` a pattern is for names at any depth, with one for whole paths
    /// below the source.
    pub patterns: Vec<String>,
    /// Ignore case, of ASCII letters.
    pub ignore_case: bool,
    /// Only the newest version of each path.
    pub newest: bool,
    /// Only paths whose content is not the same in all snapshots, or that some of them lack; a version is then a content.
    pub changed: bool,
    /// Only what is of one of these kinds, by their names in [`State::kind`]; of any where there is none.
    pub kinds: Vec<String>,
    /// Only regular files of all these lengths.
    pub sizes: Vec<Size>,
}

/// A bound on the length of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So many bytes or more.
    AtLeast(u64),
    /// So many bytes or fewer.
    AtMost(u64),
    /// Exactly so many bytes.
    Exactly(u64),
}

impl Size {
    fn holds(self, bytes: u64) -> bool {
        match self {
            Self::AtLeast(bound) => bytes >= bound,
            Self::AtMost(bound) => bytes <= bound,
            Self::Exactly(bound) => bytes == bound,
        }
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    /// Parses `+10M`, `-4k` or `1234`; units are powers of 1,024.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "a size reads 1234, +10M (at least) or -4K (at most); K, M, G and T are powers of 1024".to_owned();
        let (make, text): (fn(u64) -> Self, &str) = match text.split_at_checked(1) {
            Some(("+", rest)) => (Self::AtLeast, rest),
            Some(("-", rest)) => (Self::AtMost, rest),
            _ => (Self::Exactly, text),
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let power = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" => 0,
            "K" | "KIB" => 1,
            "M" | "MIB" => 2,
            "G" | "GIB" => 3,
            "T" | "TIB" => 4,
            _ => return Err(wrong()),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1024u64.pow(power)).map(make).ok_or_else(wrong)
    }
}

/// A path as some snapshots of a source hold it, one directly after the other.
#[derive(Debug, Clone)]
pub struct Version<'a> {
    /// The source that the path lies below.
    pub source: &'a SourceName,
    /// The entry, as the newest of these snapshots holds it.
    pub entry: &'a Entry,
    /// The snapshots, ascending.
    pub snapshots: &'a [u64],
    /// In what it differs from the version before; nothing where there is none.
    pub differs: &'a [Aspect],
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The snapshots that were looked through, ascending.
    pub snapshots: Vec<u64>,
    /// How many versions were handed on.
    pub versions: u64,
    /// Of how many paths.
    pub paths: u64,
    /// How the chain stands to what this host has seen.
    pub freshness: Option<Freshness>,
    /// What stands in the way of a complete answer: a snapshot is left out from the fault on.
    pub findings: Vec<Finding>,
    /// What should be said besides.
    pub notes: Vec<String>,
    /// What was kept about it on this host.
    pub kept: Kept,
}

impl Told for Report {
    fn told(&self) -> Value {
        json!({"snapshots": self.snapshots.len(), "versions": self.versions})
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        self.kept = kept;
    }
}

/// Checks a pattern of [`Options::patterns`].
///
/// # Errors
/// It is no valid pattern, in words.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    Patterns::new(&[pattern.to_owned()], false).map(|_| ())
}

/// Hands on every version of every path that matches, source by source, in path order, older versions first.
///
/// Looks through the places, or through all snapshots where there is none. A listing that is damaged does not stop it:
/// the report's findings say what could not be looked through.
///
/// # Errors
/// What opening the vault or selecting the snapshots refuses; DV112 where there is no snapshot; DV210 where a named place
/// does not exist; a pattern that is not valid; whatever `take` returns.
pub fn run(
    access: &Access,
    places: &[Place],
    options: &Options,
    progress: &dyn Progress,
    take: impl FnMut(&Version<'_>) -> Result<()>,
) -> Result<Report> {
    audit::watch_reader(access, "find", || search(access, places, options, progress, take))
}

fn search(
    access: &Access,
    places: &[Place],
    options: &Options,
    progress: &dyn Progress,
    mut take: impl FnMut(&Version<'_>) -> Result<()>,
) -> Result<Report> {
    let patterns = Patterns::new(&options.patterns, options.ignore_case).map_err(|reason| {
        Error::environment("understand a pattern", std::io::Error::new(std::io::ErrorKind::InvalidInput, reason))
    })?;
    let reading = Reading::open(access)?;
    let vault = &reading.vault;
    let mut report = Report { freshness: Some(vault.freshness.clone()), ..Report::default() };
    let mut wanted = Vec::new();
    for place in places {
        let (number, snapshot) = reading.select(&place.snapshot)?;
        wanted.push((number, snapshot, reading.meant(snapshot, &place.path)));
    }
    if places.is_empty() {
        wanted.extend(vault.chain.snapshots().map(|(number, snapshot)| (number, snapshot, EntryPath::root())));
        report.findings.clone_from(&vault.chain.findings);
        if wanted.is_empty() && report.findings.is_empty() {
            return refuse(Code::NoSuchSnapshot, format!("there is no snapshot in {}", vault.store.describe()));
        }
    }
    wanted.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
    wanted.dedup_by(|a, b| a.0 == b.0 && a.2 == b.2);
    report.snapshots = wanted.iter().map(|(number, ..)| *number).collect();
    report.snapshots.dedup();
    let mut absent = Vec::new();
    for series in by_source(wanted) {
        let mut search =
            Search { reader: &reading.reader, patterns: &patterns, options, series: &series, report: &mut report };
        absent.extend(search.run(progress, &mut take)?);
    }
    report.notes = reading.remarks(access);
    match absent.is_empty() || !report.findings.is_empty() {
        // Damage elsewhere weighs more than a place that one snapshot lacks.
        true => report.notes.extend(absent),
        false => return refuse(Code::SelectionEmpty, absent.swap_remove(0)),
    }
    Ok(report)
}

/// Snapshots of one source, ascending; each with the place in it that is looked through.
struct Series<'a> {
    source: SourceName,
    members: Vec<(u64, &'a Snapshot, EntryPath)>,
}

fn by_source(wanted: Vec<(u64, &Snapshot, EntryPath)>) -> Vec<Series<'_>> {
    let mut all: Vec<(crate::crypto::Id, Series<'_>)> = Vec::new();
    for (number, snapshot, path) in wanted {
        let host = snapshot.host.id;
        let same = all.iter_mut().find(|(id, series)| *id == host && series.source.path == snapshot.source);
        match same {
            Some((_, series)) => series.members.push((number, snapshot, path)),
            None => {
                let source = SourceName::of(snapshot);
                all.push((host, Series { source, members: vec![(number, snapshot, path)] }));
            }
        }
    }
    all.into_iter().map(|(_, series)| series).collect()
}

/// Compiled patterns: some for names, some for paths.
struct Patterns {
    names: GlobSet,
    paths: GlobSet,
}

impl Patterns {
    fn new(patterns: &[String], ignore_case: bool) -> Result<Self, String> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let meant = pattern.strip_prefix("./").unwrap_or(pattern);
            let anchored = meant.contains('/');
            let trimmed = meant.trim_matches('/');
            if trimmed.is_empty() {
                return Err(format!("the pattern {pattern:?} names nothing"));
            }
            let glob = GlobBuilder::new(&with_classes_within_names(trimmed)?)
                .literal_separator(true)
                .backslash_escape(true)
                .empty_alternates(true)
                .case_insensitive(ignore_case)
                .build()
                .map_err(|error| error.to_string())?;
            if anchored {
                paths.add(glob)
            } else {
                names.add(glob)
            };
        }
        let build = |builder: GlobSetBuilder| builder.build().map_err(|error| error.to_string());
        Ok(Self { names: build(names)?, paths: build(paths)? })
    }

    fn matches(&self, path: &EntryPath) -> bool {
        !path.is_root()
            && (self.names.is_match_candidate(&Candidate::from_bytes(path.name()))
                || self.paths.is_match_candidate(&Candidate::from_bytes(path.as_bytes())))
    }
}

/// A segment that was read, with what it holds.
struct Segment {
    entries: Vec<Entry>,
    counts: Counts,
}

/// Parts of listings, kept as long as any snapshot stands in them.
#[derive(Default)]
struct Shelf {
    lists: HashMap<Digest, Weak<Vec<PartRef>>>,
    segments: HashMap<Digest, Weak<Segment>>,
}

impl Shelf {
    /// How many names of parts that nobody holds any more may gather.
    const NAMES_MAX: usize = 4_096;

    fn list(&mut self, reader: &Reader, part: &PartRef) -> Result<Arc<Vec<PartRef>>, Finding> {
        if let Some(list) = self.lists.get(&part.object.id()).and_then(Weak::upgrade) {
            return Ok(list);
        }
        let list = Arc::new(reader.segment_list(part)?);
        if self.lists.len() >= Self::NAMES_MAX {
            self.lists.retain(|_, list| list.strong_count() > 0);
        }
        self.lists.insert(part.object.id(), Arc::downgrade(&list));
        Ok(list)
    }

    fn segment(&mut self, reader: &Reader, part: &PartRef) -> Result<Arc<Segment>, Finding> {
        if let Some(segment) = self.segments.get(&part.object.id()).and_then(Weak::upgrade) {
            return Ok(segment);
        }
        let entries = reader.segment(part)?;
        let mut counts = Counts::default();
        for entry in &entries {
            counts.add(entry);
        }
        let segment = Arc::new(Segment { entries, counts });
        if self.segments.len() >= Self::NAMES_MAX {
            self.segments.retain(|_, segment| segment.strong_count() > 0);
        }
        self.segments.insert(part.object.id(), Arc::downgrade(&segment));
        Ok(segment)
    }
}

/// Where a snapshot of the series stands in its listing.
struct Member<'a> {
    number: u64,
    snapshot: &'a Snapshot,
    within: &'a EntryPath,
    lists: VecDeque<&'a PartRef>,
    // The list in use, the next of its segments, and the end of those that matter.
    list: Option<(Arc<Vec<PartRef>>, usize, usize)>,
    counts: Counts,
    // Whether anything at the place was seen.
    seen: bool,
    // It cannot be read on: from here it neither holds nor lacks anything.
    lost: bool,
}

impl<'a> Member<'a> {
    fn new(number: u64, snapshot: &'a Snapshot, within: &'a EntryPath) -> Self {
        let lists = snapshot.lists[relevant(&snapshot.lists, within)].iter().collect();
        Self { number, snapshot, within, lists, list: None, counts: Counts::default(), seen: false, lost: false }
    }

    /// Returns the next segment; nothing at the end, where the counts of a whole listing have matched.
    fn next(
        &mut self,
        reader: &Reader,
        shelf: &mut Shelf,
        last: Option<&Entry>,
    ) -> Result<Option<Arc<Segment>>, Finding> {
        loop {
            if let Some((list, at, end)) = &mut self.list
                && at < end
            {
                let segment = shelf.segment(reader, &list[*at])?;
                *at += 1;
                if let Some(first) = segment.entries.first()
                    && (last.is_some() || self.within.is_root())
                {
                    check_seam(last.map(|entry| (&entry.path, entry.is_directory())), first)?;
                }
                self.counts.plus(&segment.counts);
                return Ok(Some(segment));
            }
            let Some(part) = self.lists.pop_front() else {
                if self.within.is_root() {
                    check_counts(&self.counts, &self.snapshot.counts)?;
                }
                return Ok(None);
            };
            let list = shelf.list(reader, part)?;
            let parts = relevant(&list, self.within);
            self.list = Some((list, parts.start, parts.end));
        }
    }
}

/// Members that stand at the same entry of the same segment.
struct Cohort {
    segment: Arc<Segment>,
    at: usize,
    members: Vec<usize>,
}

impl Cohort {
    fn entry(&self) -> &Entry {
        &self.segment.entries[self.at]
    }
}

/// Looks through one series.
struct Search<'a> {
    reader: &'a Reader,
    patterns: &'a Patterns,
    options: &'a Options,
    series: &'a Series<'a>,
    report: &'a mut Report,
}

impl Search<'_> {
    /// Returns, in words, a place that was asked for and is not in its snapshot.
    fn run(
        &mut self,
        progress: &dyn Progress,
        take: &mut impl FnMut(&Version<'_>) -> Result<()>,
    ) -> Result<Option<String>> {
        let mut shelf = Shelf::default();
        let mut members: Vec<Member<'_>> =
            self.series.members.iter().map(|(number, snapshot, path)| Member::new(*number, snapshot, path)).collect();
        let mut cohorts = Vec::new();
        for at in 0..members.len() {
            self.move_on(at, &mut members, &mut shelf, None, &mut cohorts);
        }
        let mut steps = 0u64;
        while let Some(path) = cohorts.iter().map(|cohort: &Cohort| &cohort.entry().path).min().cloned() {
            steps += 1;
            if steps.is_multiple_of(1024) && progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            let (here, later): (Vec<Cohort>, Vec<Cohort>) =
                cohorts.into_iter().partition(|cohort| cohort.entry().path == path);
            for at in here.iter().flat_map(|cohort| &cohort.members) {
                members[*at].seen |= path.is_within(members[*at].within);
            }
            if self.patterns.matches(&path) {
                self.matched(&here, &members, take)?;
            }
            cohorts = later;
            for mut cohort in here {
                cohort.at += 1;
                if cohort.at < cohort.segment.entries.len() {
                    cohorts.push(cohort);
                    continue;
                }
                for at in &cohort.members {
                    self.move_on(*at, &mut members, &mut shelf, cohort.segment.entries.last(), &mut cohorts);
                }
            }
        }
        let absent = members.iter().find(|member| !member.seen && !member.lost);
        Ok(absent.map(|member| format!("snapshot {} holds no {}", member.number, member.within)))
    }

    /// Has a member stand at the beginning of its next segment, with those that stand there already.
    fn move_on(
        &mut self,
        at: usize,
        members: &mut [Member<'_>],
        shelf: &mut Shelf,
        last: Option<&Entry>,
        cohorts: &mut Vec<Cohort>,
    ) {
        match members[at].next(self.reader, shelf, last) {
            Ok(None) => {}
            Ok(Some(segment)) => {
                let same = |cohort: &&mut Cohort| cohort.at == 0 && Arc::ptr_eq(&cohort.segment, &segment);
                match cohorts.iter_mut().find(same) {
                    Some(cohort) => cohort.members.push(at),
                    None => cohorts.push(Cohort { segment, at: 0, members: vec![at] }),
                }
            }
            Err(mut finding) => {
                members[at].lost = true;
                finding.snapshots.push(members[at].number);
                let known = self.report.findings.iter_mut().find(|known| {
                    known.code == finding.code && known.subject == finding.subject && known.detail == finding.detail
                });
                match known {
                    Some(known) => known.snapshots.push(members[at].number),
                    None => self.report.findings.push(finding),
                }
            }
        }
    }

    /// Hands on the versions of a path that the cohorts stand at.
    fn matched(
        &mut self,
        here: &[Cohort],
        members: &[Member<'_>],
        take: &mut impl FnMut(&Version<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut held: Vec<(usize, &Entry)> = here
            .iter()
            .flat_map(|cohort| cohort.members.iter().map(|at| (*at, cohort.entry())))
            .filter(|(at, entry)| entry.path.is_within(members[*at].within))
            .collect();
        held.sort_by_key(|(at, _)| *at);
        let runs = runs(&held, self.options.changed, |at| members[at].lost);
        if self.options.changed && is_the_same_throughout(&runs, held.len(), members) {
            return Ok(());
        }
        let shown = if self.options.newest { &runs[runs.len().saturating_sub(1)..] } else { &runs[..] };
        let before = self.report.versions;
        for run in shown {
            let (_, entry) = run.held[run.held.len() - 1];
            if !self.is_wanted(entry) {
                continue;
            }
            let snapshots: BTreeSet<u64> = run.held.iter().map(|(at, _)| members[*at].number).collect();
            let snapshots: Vec<u64> = snapshots.into_iter().collect();
            take(&Version { source: &self.series.source, entry, snapshots: &snapshots, differs: &run.differs })?;
            self.report.versions += 1;
        }
        self.report.paths += u64::from(self.report.versions > before);
        Ok(())
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let state = State::of(entry);
        let kind = self.options.kinds.is_empty() || self.options.kinds.iter().any(|kind| kind == state.kind);
        let sizes = &self.options.sizes;
        let size = sizes.is_empty() || state.bytes.is_some_and(|bytes| sizes.iter().all(|size| size.holds(bytes)));
        kind && size
    }
}

/// Snapshots, one directly after the other, that hold the same at a path.
struct Run<'a> {
    held: Vec<(usize, &'a Entry)>,
    differs: Vec<Aspect>,
}

/// Cuts what members hold into runs; members ascend. A member that is lost does not separate its neighbours.
fn runs<'a>(held: &[(usize, &'a Entry)], by_content: bool, lost: impl Fn(usize) -> bool) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for &(at, entry) in held {
        let mut differs = Vec::new();
        if let Some(run) = runs.last_mut() {
            let (before, known) = run.held[run.held.len() - 1];
            differs = change::between(known, entry);
            if by_content {
                differs.retain(|aspect| aspect.is_content());
            }
            if differs.is_empty() && (before + 1..at).all(&lost) {
                run.held.push((at, entry));
                continue;
            }
        }
        runs.push(Run { held: vec![(at, entry)], differs });
    }
    runs
}

fn is_the_same_throughout(runs: &[Run<'_>], held: usize, members: &[Member<'_>]) -> bool {
    let Some((_, entry)) = runs.first().and_then(|run| run.held.first()) else { return true };
    let looked = members.iter().filter(|member| !member.lost && entry.path.is_within(member.within)).count();
    runs.len() == 1 && held >= looked
}

impl Options {
    /// Names a snapshot where a word does, for a command line that takes snapshots and patterns in one row: words name
    /// snapshots up to the first that does not; the last word is always a pattern.
    pub fn split_words(words: &[String]) -> (Vec<Place>, Vec<String>) {
        let mut places = Vec::new();
        for word in &words[..words.len().saturating_sub(1)] {
            match word.parse::<Place>() {
                Ok(place) => places.push(place),
                Err(_) => break,
            }
        }
        let patterns = words[places.len()..].to_vec();
        (places, patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("valid")
    }

    #[test]
    fn patterns_without_a_separator_are_for_names_and_others_for_paths() {
        let patterns = |text: &str| Patterns::new(&[text.to_owned()], false).expect("valid");
        for (pattern, hit, miss) in [
            ("*.rs", "a/b.rs", "a/b.rs/c"),
            ("src/*.rs", "src/a.rs", "x/src/a.rs"),
            ("src/**", "src/a/b", "source"),
            ("**/a", "x/y/a", "x/ya"),
            ("/README", "README", "a/README"),
            ("./README", "README", "README2"),
            ("{a,b}?", "x/bc", "x/c"),
            ("[!a]b", "cb", "ab"),
            ("d/x[!a]v", "d/xbv", "d/x/v"),
            ("d/x[+-9]v", "d/x.v", "d/x/v"),
            ("{d,e}/[[:]x]", "d/:x]", "d/bx]"),
            (r"a\*", "a*", "ab"),
        ] {
            assert!(patterns(pattern).matches(&path(hit)), "{pattern} misses {hit}");
            assert!(!patterns(pattern).matches(&path(miss)), "{pattern} hits {miss}");
        }
        assert!(!patterns("*").matches(&EntryPath::root()), "the source itself has no name");
        assert!(Patterns::new(&["readme".into()], true).expect("valid").matches(&path("README")));
        for bad in ["[z-a]", "{a", "", "/", "./", "a/[b", "a[/]b"] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_exactly_three_forms() {
        assert_eq!("1234".parse(), Ok(Size::Exactly(1234)));
        assert_eq!("+10M".parse(), Ok(Size::AtLeast(10 << 20)));
        assert_eq!("-4kib".parse(), Ok(Size::AtMost(4096)));
        assert_eq!("0".parse(), Ok(Size::Exactly(0)));
        for bad in ["", "+", "M", "10KB", "1.5M", "--1", "10 M", "99999999999T", "é"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words_name_snapshots_up_to_the_first_pattern() {
        let split = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let (places, patterns) = Options::split_words(&words);
            (places.len(), patterns)
        };
        assert_eq!(split(&["3"]), (0, vec!["3".to_owned()]), "the last word is always a pattern");
        assert_eq!(split(&["3", "latest", "3:src", "*.rs"]), (3, vec!["*.rs".to_owned()]));
        assert_eq!(split(&["*.c", "3", "x"]), (0, vec!["*.c".to_owned(), "3".to_owned(), "x".to_owned()]));
        assert_eq!(split(&["latest-news", "x"]).0, 0);
    }
}
