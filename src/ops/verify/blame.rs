//! Which snapshots and paths a finding affects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::proof::{Lack, ListCheck};
use crate::crypto::Digest;
use crate::format::links::Links;
use crate::format::record::{Counts, Snapshot};
use crate::path::EntryPath;
use crate::refusal::Code;
use crate::vault::catalog::Catalog;
use crate::vault::read::{Reader, check_seam};
use crate::vault::{Finding, layout};

/// Collects findings and what they affect.
pub(super) struct Blame {
    catalog: Arc<Catalog>,
    // By code and subject; the first of a kind keeps its detail.
    findings: BTreeMap<(Code, String), Blamed>,
}

/// A finding, and what it affects: each only once, however many snapshots have a path.
struct Blamed {
    finding: Finding,
    snapshots: BTreeSet<u64>,
    paths: BTreeSet<EntryPath>,
}

impl Blame {
    pub(super) fn new(catalog: &Arc<Catalog>, findings: Vec<Finding>) -> Self {
        let mut blame = Self { catalog: Arc::clone(catalog), findings: BTreeMap::new() };
        for finding in findings {
            blame.add(finding, None);
        }
        blame
    }

    fn add(&mut self, finding: Finding, snapshot: Option<u64>) {
        let mut finding = finding;
        let (snapshots, paths) = (std::mem::take(&mut finding.snapshots), std::mem::take(&mut finding.paths));
        let known = self.findings.entry((finding.code, finding.subject.clone())).or_insert_with(|| Blamed {
            finding,
            snapshots: BTreeSet::new(),
            paths: BTreeSet::new(),
        });
        known.snapshots.extend(snapshot);
        known.snapshots.extend(snapshots);
        known.paths.extend(paths);
    }

    /// Holds what is known of a snapshot's lists against it.
    pub(super) fn snapshot(&mut self, number: u64, snapshot: &Snapshot, lists: &[Arc<ListCheck>], reader: &Reader) {
        let mut counts = Counts::default();
        let mut links = Links::default();
        let mut last: Option<(EntryPath, bool)> = None;
        let mut broken = false;
        for check in lists {
            counts.plus(&check.counts);
            for (path, first, body) in &check.names {
                if !broken && let Err(error) = links.take_name(path, first.as_ref(), *body, true) {
                    let finding = Finding::new(Code::ListingUnsafe, layout::record_directory(number), error);
                    self.add(Finding { paths: vec![path.clone()], ..finding }, Some(number));
                }
            }
            for finding in &check.findings {
                broken |= finding.code != Code::Unstable;
                self.add(finding.clone(), Some(number));
            }
            if let Some(first) = &check.first
                && !broken
                && let Err(finding) = check_seam(last.as_ref().map(|(path, directory)| (path, *directory)), first)
            {
                self.add(finding, Some(number));
            }
            last.clone_from(&check.last);
        }
        if !broken && counts != snapshot.counts {
            let detail = format!("its entries are {counts:?}, its manifest says {:?}", snapshot.counts);
            self.add(Finding::new(Code::ListingUnsafe, layout::record_directory(number), detail), Some(number));
        }
        self.lacks(number, snapshot, lists, reader);
        self.unsteady(number, snapshot, reader);
    }

    /// A snapshot is no more steady than the packs that its manifest names.
    fn unsteady(&mut self, number: u64, snapshot: &Snapshot, reader: &Reader) {
        if self.findings.keys().all(|(code, _)| *code != Code::Unstable) {
            return;
        }
        let named: BTreeSet<String> =
            reader.packs(snapshot).unwrap_or_default().iter().map(|pack| layout::pack_path(&pack.0)).collect();
        for ((code, subject), known) in &mut self.findings {
            if *code == Code::Unstable && named.contains(subject) {
                known.snapshots.insert(number);
            }
        }
    }

    fn lacks(&mut self, number: u64, snapshot: &Snapshot, lists: &[Arc<ListCheck>], reader: &Reader) {
        let mut by_lack: BTreeMap<&Lack, Vec<EntryPath>> = BTreeMap::new();
        for (path, lack) in lists.iter().flat_map(|check| &check.lacks) {
            by_lack.entry(lack).or_default().push(path.clone());
        }
        for (lack, paths) in by_lack {
            let mut finding = match lack {
                Lack::Damaged(pack) => {
                    let subject = layout::pack_path(&self.catalog.packs()[*pack as usize].name);
                    // The pack's own finding, where there is one, says what is wrong with it.
                    let code = self.code_of(&subject).unwrap_or(Code::ChunkDamaged);
                    Finding::new(code, subject, "content that the snapshot needs is damaged in it")
                }
                Lack::Missing => self.missing(snapshot, reader),
            };
            finding.paths = paths;
            self.add(finding, Some(number));
        }
    }

    fn code_of(&self, subject: &str) -> Option<Code> {
        self.findings.keys().find(|(code, other)| other == subject && *code != Code::Unstable).map(|(code, _)| *code)
    }

    /// Names the packs whose loss explains that content is missing, as far as the manifest tells.
    fn missing(&self, snapshot: &Snapshot, reader: &Reader) -> Finding {
        let there: BTreeSet<Digest> = self.catalog.packs().iter().map(|pack| pack.name).collect();
        let lost: Vec<String> = reader
            .packs(snapshot)
            .unwrap_or_default()
            .iter()
            .filter(|pack| !there.contains(&pack.0))
            .map(|pack| layout::pack_path(&pack.0))
            .collect();
        // A pack that is there but vouches for nothing has a finding of its own.
        if let [only] = &lost[..]
            && let Some(code) = self.code_of(only)
        {
            return Finding::new(code, only, "nothing in it is vouched for");
        }
        match &lost[..] {
            [] => Finding::new(Code::ChunkMissing, "content", "no pack with an authentic footer holds it"),
            [only] => Finding::new(Code::ChunkMissing, only, "the pack is not there"),
            many => Finding::new(
                Code::ChunkMissing,
                format!("{} packs", many.len()),
                format!("not there or not vouched for: {}", many.join(", ")),
            ),
        }
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        let whole = |known: Blamed| Finding {
            snapshots: known.snapshots.into_iter().collect(),
            paths: known.paths.into_iter().collect(),
            ..known.finding
        };
        self.findings.into_values().map(whole).collect()
    }
}
