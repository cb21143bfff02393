//! Reports for people: what is, what it means, what to do next.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};

use crate::error::{Error, shown_path};
use crate::format::entry::{Entry, Kind};
use crate::format::record::Counts;
use crate::limits;
use crate::ops::{backup, index, init, key, receipt, restore, snapshots, status, verify};
use crate::path::{EntryPath, shown};
use crate::vault::Finding;
use crate::vault::witness::Freshness;

/// Collects lines. The one place where text becomes a line for a terminal: whatever was quoted in it, it stays one.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{
        $out.push_str(&crate::path::printable(&format!($($arg)*)));
        $out.push('\n');
    }};
}

fn counted(counts: &Counts) -> String {
    let mut text = format!(
        "{} files ({}), {} directories",
        HumanCount(counts.files),
        HumanBytes(counts.bytes),
        HumanCount(counts.directories)
    );
    if counts.symlinks > 0 {
        let _ = write!(text, ", {} links", HumanCount(counts.symlinks));
    }
    if counts.specials > 0 {
        let _ = write!(text, ", {} special files", HumanCount(counts.specials));
    }
    if counts.hardlinks > 0 {
        let _ = write!(text, "; {} names are further ones of the same object", HumanCount(counts.hardlinks));
    }
    text
}

fn notes(out: &mut String, notes: &[String]) {
    for note in notes {
        line!(out, "note: {note}");
    }
}

/// Shows some paths and counts the rest; JSON has them all.
fn some_paths(out: &mut String, paths: &[EntryPath]) {
    for path in paths.iter().take(limits::SHOWN_PATHS_MAX) {
        line!(out, "    {path}");
    }
    if paths.len() > limits::SHOWN_PATHS_MAX {
        line!(out, "    … and {} more; --json names all", HumanCount((paths.len() - limits::SHOWN_PATHS_MAX) as u64));
    }
}

/// An error of any kind, for stderr.
pub(super) fn error(error: &Error) -> String {
    let mut out = String::new();
    match error {
        Error::Refused(refusal) => {
            line!(out, "refused {}: {}", refusal.code, refusal.message);
            // Where every path has its cause, the causes say it all.
            for cause in refusal.causes.iter().take(limits::SHOWN_PATHS_MAX) {
                line!(out, "  because: {cause}");
            }
            if refusal.causes.len() > limits::SHOWN_PATHS_MAX {
                line!(
                    out,
                    "  … and {} more; --json names all",
                    HumanCount((refusal.causes.len() - limits::SHOWN_PATHS_MAX) as u64)
                );
            }
            if refusal.causes.len() < refusal.paths.len() {
                line!(out, "  affected:");
                some_paths(&mut out, &refusal.paths);
            }
        }
        Error::Environment { .. } | Error::Interrupted(_) => line!(out, "{error}"),
    }
    match error.what_was_written() {
        Some(written) => line!(out, "written: {}", written.text),
        None => line!(out, "written: nothing"),
    }
    if let Error::Refused(refusal) = error {
        line!(out, "next: {}", refusal.next);
        line!(out, "see: devvault runbook {}", refusal.code);
    }
    out
}

pub(super) fn init(report: &init::Report, words: &str) -> String {
    let mut out = String::new();
    line!(out, "made vault {} in {}", report.vault, shown_path(&report.path));
    line!(out, "its key:   {}", shown_path(&report.key));
    line!(out, "  Without the key nothing can be restored. Keep a copy on another medium, away from the vault:");
    line!(out, "    {words} key export /another/medium/devvault.key --acknowledge-plain-secret");
    line!(
        out,
        "  The vault is authenticated, not encrypted: changes are noticed, but who can read it can read the backups."
    );
    out
}

pub(super) fn backup(report: &backup::Report, words: &str) -> String {
    let mut out = String::new();
    line!(out, "snapshot {} of {}: {}", report.snapshot, shown_path(&report.source), counted(&report.counts));
    line!(
        out,
        "  {} of the files unchanged; {} added to the vault, all of it read back and verified; {:.1} s",
        HumanCount(report.files_unchanged),
        HumanBytes(report.bytes_stored),
        report.seconds
    );
    if report.older_packs > 0 {
        let read =
            report.oldest_read.map(|time| format!(", the oldest last read {}", time.rfc3339())).unwrap_or_default();
        line!(out, "  relies on {} pack(s) written before{read}", HumanCount(report.older_packs));
    }
    if report.excluded > 0 {
        line!(out, "  {} object(s) left out by --exclude", HumanCount(report.excluded));
    }
    left_out(&mut out, "  ", &report.left_out);
    match report.quiet {
        Some(true) => line!(out, "  a closing look found nothing changed meanwhile"),
        Some(false) => line!(out, "  the source changed meanwhile: each file is whole, but not all are of one moment"),
        None => {}
    }
    findings(&mut out, &report.findings);
    notes(&mut out, &report.notes);
    if !report.findings.is_empty() {
        line!(
            out,
            "the snapshot is complete and relies on none of that; follow the runbook before you trust older ones"
        );
    }
    line!(out, "head: {}", report.head);
    line!(out, "verify it:  {words} verify");
    line!(out, "restore it: {words} restore {} /a/new/directory", report.snapshot);
    out
}

pub(super) fn snapshots(report: &snapshots::Report) -> String {
    let mut out = String::new();
    if report.snapshots.is_empty() {
        line!(out, "no snapshots");
    }
    for snapshot in &report.snapshots {
        let tags = if snapshot.tags.is_empty() {
            String::new()
        } else {
            format!("  [{}]", shown(snapshot.tags.join(", ").as_bytes()))
        };
        line!(
            out,
            "{:>8}  {}  {}  {} files, {}  {}{tags}",
            snapshot.number,
            snapshot.time.rfc3339(),
            shown(snapshot.host.as_bytes()),
            HumanCount(snapshot.counts.files),
            HumanBytes(snapshot.counts.bytes),
            shown(&snapshot.source)
        );
        left_out(&mut out, "          ", &snapshot.left_out);
    }
    line!(out, "head: {}", report.head);
    line!(out, "freshness: {}", freshness(&report.freshness));
    findings(&mut out, &report.findings);
    notes(&mut out, &report.notes);
    out
}

/// Says what a snapshot lacks, at the margin of what is said of it.
fn left_out(out: &mut String, margin: &str, paths: &[EntryPath]) {
    if !paths.is_empty() {
        line!(out, "{margin}lacks {} file(s) that kept changing and were left out, as allowed:", paths.len());
        some_paths(out, paths);
    }
}

fn freshness(freshness: &Freshness) -> String {
    match freshness {
        Freshness::Proven => "proven (this host's newest head occurs in it)".into(),
        Freshness::Unproven => "unproven (this host has not seen this vault before)".into(),
        Freshness::Behind { seen, fork, .. } => {
            let how = if *fork { "it continues differently" } else { "newer records are missing" };
            format!("{freshness} (this host has seen head {seen}; {how})")
        }
    }
}

fn findings(out: &mut String, findings: &[Finding]) {
    for finding in findings {
        line!(out, "{} {}: {}", finding.code, finding.subject, finding.code.title());
        line!(out, "  because: {}", finding.detail);
        if !finding.snapshots.is_empty() {
            let numbers: Vec<String> = finding.snapshots.iter().map(u64::to_string).collect();
            line!(out, "  affects snapshot(s): {}", numbers.join(", "));
        }
        if !finding.paths.is_empty() {
            line!(out, "  affects {} path(s):", HumanCount(finding.paths.len() as u64));
            some_paths(out, &finding.paths);
        }
        line!(out, "  next: {}", finding.code.next());
        line!(out, "  see: devvault runbook {}", finding.code);
    }
}

pub(super) fn ls_entry(entry: &Entry) -> String {
    let mode = entry.mode.map_or_else(|| "----".into(), |mode| format!("{mode:04o}"));
    let time = entry.mtime.map(|time| time.rfc3339()).unwrap_or_default();
    let (size, mark) = match &entry.kind {
        Kind::Directory => ("-".into(), "/".into()),
        Kind::File(file) => (file.size.to_string(), String::new()),
        Kind::Symlink(target) => ("-".into(), format!(" -> {}", shown(target))),
        Kind::Junction(target) => ("-".into(), format!(" (junction) -> {}", shown(target))),
        Kind::Fifo => ("-".into(), " (named pipe)".into()),
        Kind::Socket => ("-".into(), " (socket)".into()),
        Kind::Block(major, minor) => (format!("{major},{minor}"), " (block device)".into()),
        Kind::Character(major, minor) => (format!("{major},{minor}"), " (character device)".into()),
    };
    let owner = entry.owner.as_ref().map_or_else(String::new, |owner| {
        let name = |name: &Option<String>, number: u32| {
            name.as_ref().map_or_else(|| number.to_string(), |name| shown(name.as_bytes()))
        };
        format!("{}:{} ", name(&owner.user, owner.uid), name(&owner.group, owner.gid))
    });
    let same = entry.hardlink.as_ref().map_or_else(String::new, |first| format!(" (same object as {first})"));
    format!("{mode} {owner:<14}{size:>12} {time} {}{mark}{same}\n", entry.path)
}

pub(super) fn verify(report: &verify::Report, words: &str) -> String {
    let mut out = String::new();
    let numbers = |wanted: verify::Verdict| -> Vec<String> {
        report
            .snapshots
            .iter()
            .filter(|(_, verdict)| *verdict == wanted)
            .map(|(number, _)| number.to_string())
            .collect()
    };
    let (valid, invalid, unstable) =
        (numbers(verify::Verdict::Valid), numbers(verify::Verdict::Invalid), numbers(verify::Verdict::Unstable));
    let verdict = match (report.verdict, report.level) {
        // Only a full reading deserves the word.
        (verify::Verdict::Valid, verify::Level::Quick | verify::Level::Rolling(_)) => "NO FAULT FOUND".to_owned(),
        (verdict, _) => verdict.name().to_uppercase(),
    };
    line!(out, "{} ({} verification of vault {})", verdict, report.level.name(), report.vault);
    let good = match report.level {
        verify::Level::Full => "valid, every byte they need was read",
        verify::Level::Quick => "no fault found, content not read",
        verify::Level::Rolling(_) => "no fault found, a part of the content was read",
    };
    if !valid.is_empty() {
        line!(out, "  {good}: snapshot(s) {}", ranges(&valid));
    }
    if !unstable.is_empty() {
        line!(out, "  unstable, suspect the host or the medium: snapshot(s) {}", ranges(&unstable));
    }
    if !invalid.is_empty() {
        line!(out, "  NOT valid: snapshot(s) {}", ranges(&invalid));
    }
    line!(
        out,
        "  read: {} pack(s), {}; {} of content in {} chunks; {} entries",
        HumanCount(report.read.packs),
        HumanBytes(report.read.bytes_stored),
        HumanBytes(report.read.bytes),
        HumanCount(report.read.chunks),
        HumanCount(report.read.entries)
    );
    coverage(&mut out, &report.coverage);
    line!(out, "  freshness: {}", freshness(&report.freshness));
    for what in &report.not_checked {
        line!(out, "  not checked: {what}");
    }
    for (number, paths) in &report.left_out {
        line!(out, "  snapshot {number}, as it was made:");
        left_out(&mut out, "    ", paths);
    }
    findings(&mut out, &report.findings);
    notes(&mut out, &report.notes);
    line!(out, "head: {}", report.head);
    if report.verdict != verify::Verdict::Valid {
        line!(out, "nothing was changed; change nothing in the vault before you have followed the runbook");
        if let (Some(newest), Some(finding)) = (valid.last(), report.findings.first()) {
            line!(out, "intact: {words} restore {newest} /a/new/directory    first: devvault runbook {}", finding.code);
        }
    }
    out
}

/// Says how old the proof is that the vault's packs are intact.
fn coverage(out: &mut String, covered: &verify::Covered) {
    let share = |bytes: u64| (100 * u128::from(bytes)).checked_div(u128::from(covered.bytes)).unwrap_or(100);
    let oldest = covered.oldest.map_or_else(
        || "some of it was never read".to_owned(),
        |time| format!("what was not read for longest was read {}", time.rfc3339()),
    );
    line!(
        out,
        "  packs read to the last byte: {} % of the vault in this run, {} % within {} days; {oldest}",
        share(covered.bytes_now),
        share(covered.bytes_recently),
        limits::PROOF_DAYS
    );
}

/// Shortens a list of numbers for a person.
fn ranges(numbers: &[String]) -> String {
    if numbers.len() <= 2 * limits::SHOWN_PATHS_MAX {
        return numbers.join(", ");
    }
    format!("{} to {} ({} of them; --json names all)", numbers[0], numbers[numbers.len() - 1], numbers.len())
}

pub(super) fn restore(report: &restore::Report) -> String {
    let mut out = String::new();
    let part = if report.path.is_root() { String::new() } else { format!(":{}", report.path) };
    line!(
        out,
        "restored snapshot {}{part} to {}: {}",
        report.snapshot,
        shown_path(&report.destination),
        counted(&report.counts)
    );
    line!(
        out,
        "  everything was read back from the {} and compared: content, kinds, metadata, targets, names; {:.1} s",
        report.compared_from,
        report.seconds
    );
    left_out(&mut out, "  the snapshot ", &report.left_out);
    for shortfall in &report.not_restored {
        line!(
            out,
            "  not restored: {} of {} object(s): {}",
            shortfall.class,
            HumanCount(shortfall.count),
            shortfall.reason
        );
    }
    for shortfall in &report.coarser {
        let count = HumanCount(shortfall.count);
        line!(out, "  less exact: {} of {count} object(s): {}", shortfall.class, shortfall.reason);
    }
    line!(out, "  freshness: {}", freshness(&report.freshness));
    notes(&mut out, &report.notes);
    out
}

pub(super) fn status(report: &status::Report) -> String {
    let mut out = String::new();
    line!(out, "vault {} in {}", report.vault, report.place);
    line!(out, "  head: {}", report.head);
    line!(out, "  freshness: {}", freshness(&report.freshness));
    let free = report.bytes_free.map(|bytes| format!(", {} free", HumanBytes(bytes))).unwrap_or_default();
    line!(
        out,
        "  {} snapshot(s), {} pack(s), {} stored{free}",
        HumanCount(report.snapshots),
        HumanCount(report.packs),
        HumanBytes(report.bytes_stored)
    );
    let exported = report.key_exported.map_or_else(
        || "never exported, as far as this host knows: export a copy to another medium".into(),
        |time| format!("exported {}", time.rfc3339()),
    );
    line!(out, "  key: {} ({exported})", shown_path(&report.key));
    for source in &report.sources {
        line!(
            out,
            "  {} on {}: {} snapshot(s), the newest {} of {}",
            shown(&source.source),
            shown(source.host.as_bytes()),
            HumanCount(source.snapshots),
            source.newest,
            source.time.rfc3339()
        );
        left_out(&mut out, "    ", &source.left_out);
    }
    for warning in &report.shared_devices {
        line!(out, "  warning: {warning}");
    }
    for name in &report.incomplete {
        line!(out, "  never finalized: snapshots/{name}; no snapshot, stays as it is");
    }
    for name in &report.foreign {
        line!(out, "  does not belong to the vault: {name}");
    }
    findings(&mut out, &report.findings);
    notes(&mut out, &report.notes);
    line!(out, "content was not read; `verify` does that");
    out
}

pub(super) fn receipt(report: &receipt::Report) -> String {
    let mut out = String::new();
    let said = &report.receipt;
    line!(out, "genuine: this receipt was made with the key of vault {}", said.vault);
    line!(
        out,
        "  {} on {}, {}: {} verification, {}, exit {}; {} of {} packs, {} of {} read",
        said.act,
        said.made.rfc3339(),
        said.platform,
        said.level,
        said.verdict,
        said.exit,
        HumanCount(said.extent.packs_read),
        HumanCount(said.extent.packs),
        HumanBytes(said.extent.bytes_read),
        HumanBytes(said.extent.bytes)
    );
    for found in &said.findings {
        line!(out, "  it found {} {}", found.code, found.subject);
    }
    line!(out, "  head then: {}", said.head);
    line!(out, "  head now:  {}", report.head);
    let list = |numbers: &[u64]| ranges(&numbers.iter().map(u64::to_string).collect::<Vec<_>>());
    if report.added.is_empty() && report.removed.is_empty() && report.head_occurs {
        line!(out, "  since then: no record was added or removed");
    }
    if !report.added.is_empty() {
        line!(out, "  added since: {}", list(&report.added));
    }
    if !report.removed.is_empty() {
        line!(out, "  removed or declared lost since: {}", list(&report.removed));
    }
    line!(out, "  freshness: {}", freshness(&report.freshness));
    findings(&mut out, &report.findings);
    line!(out, "a receipt speaks of its moment only; `verify` tells how the vault is now");
    out
}

pub(super) fn index(report: &index::Report) -> String {
    let mut out = String::new();
    line!(
        out,
        "index rebuilt: {} pack(s), {} chunks; {} old file(s) replaced",
        HumanCount(report.rebuilt.packs),
        HumanCount(report.rebuilt.chunks),
        report.rebuilt.replaced
    );
    for reason in &report.old {
        line!(out, "  the old index: {reason}");
    }
    out
}

pub(super) fn key_export(report: &key::Report, words: &str) -> String {
    let mut out = String::new();
    line!(out, "the key of vault {} was written to {}", report.vault, shown_path(&report.path));
    line!(out, "  This file is the secret in clear. Keep it away from the vault, where no one else can read it.");
    line!(out, "  Prove that it works: {words} --key-file {} key check", shown_path(&report.path));
    notes(&mut out, &report.notes);
    out
}

pub(super) fn key_import(report: &key::Report, words: &str) -> String {
    let mut out = String::new();
    line!(out, "the key of vault {} is installed: {}", report.vault, shown_path(&report.path));
    line!(out, "  Prove that it works: {words} --vault V key check");
    notes(&mut out, &report.notes);
    out
}

pub(super) fn key_check(report: &key::CheckReport) -> String {
    let mut out = String::new();
    line!(out, "the key {} opens vault {}", shown_path(&report.key.path), report.key.vault);
    match report.snapshot {
        Some(number) => line!(out, "  and authenticates every record of its chain; the newest snapshot is {number}"),
        None => line!(out, "  which holds no snapshot yet"),
    }
    line!(out, "  freshness: {}", freshness(&report.freshness));
    notes(&mut out, &report.key.notes);
    line!(out, "head: {}", report.head);
    out
}
