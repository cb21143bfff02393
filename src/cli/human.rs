//! Reports for people: what is, what it means, what to do next.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};

use super::line;
use crate::clock::Time;
use crate::error::{Error, shown_path};
use crate::format::entry::Entry;
use crate::format::entry::Kind;
use crate::format::record::{Counts, ExcludedBy, Exclusion};
use crate::fsys::ObjectKind;
use crate::incident::registry;
use crate::limits;
use crate::ops::change::{Aspect, State};
use crate::ops::select::SourceName;
use crate::ops::snapshots::Says;
use crate::ops::{backup, cat, diff, find, index, init, key, receipt, restore, snapshots, status, verify};
use crate::path::{EntryPath, quoted, shown};
use crate::refusal::Kept;
use crate::vault::Finding;
use crate::vault::witness::Freshness;

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
        let _ = write!(text, "; {} further name(s) of objects that have several", HumanCount(counts.hardlinks));
    }
    text
}

pub(super) fn notes(out: &mut String, notes: &[String]) {
    for note in notes {
        line!(out, "note: {note}");
    }
}

/// Names what was kept on this host about a refusal or about findings.
pub(super) fn kept(out: &mut String, kept: &Kept) {
    if let Some(evidence) = &kept.evidence {
        line!(out, "evidence: {evidence}");
    }
    if let Some(incident) = &kept.incident {
        line!(out, "incident: {incident} is open about this vault: devvault incident show {incident}");
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
            let is_named =
                |path: &EntryPath| refusal.causes.iter().any(|cause| cause.starts_with(&format!("{path}: ")));
            if refusal.causes.len() < refusal.paths.len() || refusal.paths.first().is_some_and(|path| !is_named(path)) {
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
        kept(&mut out, &refusal.kept);
        notes(&mut out, &refusal.kept.notes);
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
    notes(&mut out, &report.notes);
    out
}

pub(super) fn backup(report: &backup::Report, words: &str) -> String {
    let mut out = String::new();
    line!(out, "snapshot {} of {}: {}", report.snapshot, shown_path(&report.source), counted(&report.counts));
    line!(
        out,
        "  {} of the files not read, being unchanged by their times; {} added to the vault, all of it read back and verified; {:.1} s",
        HumanCount(report.files_unchanged),
        HumanBytes(report.bytes_stored),
        report.seconds
    );
    if report.older_packs > 0 {
        let read = report
            .oldest_read
            .map(|time| format!(", the oldest last read {}, wherever the vault lay then", time.rfc3339()))
            .unwrap_or_default();
        line!(out, "  relies on {} pack(s) written before{read}", HumanCount(report.older_packs));
    }
    exclusions(&mut out, "  ", &report.exclusions, limits::SHOWN_PATHS_MAX);
    left_out(&mut out, "  ", &report.left_out);
    match report.quiet {
        Some(true) => line!(out, "  a closing look found nothing changed meanwhile"),
        Some(false) => line!(out, "  the source changed meanwhile: each file is whole, but not all are of one moment"),
        None => {}
    }
    findings(&mut out, &report.findings);
    kept(&mut out, &report.kept);
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
    let mut amendments = report.amendments.iter().peekable();
    for snapshot in &report.snapshots {
        while let Some(amendment) = amendments.next_if(|amendment| amendment.number < snapshot.number) {
            line!(out, "{}", amended(amendment));
        }
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
        exclusions(&mut out, "          ", &snapshot.exclusions, 0);
        left_out(&mut out, "          ", &snapshot.left_out);
    }
    for amendment in amendments {
        line!(out, "{}", amended(amendment));
    }
    line!(out, "head: {}", report.head);
    line!(out, "freshness: {}", freshness(&report.freshness));
    findings(&mut out, &report.findings);
    kept(&mut out, &report.kept);
    notes(&mut out, &report.notes);
    out
}

/// A line that says what a record that is no snapshot says.
fn amended(amendment: &snapshots::Amendment) -> String {
    let says = match &amendment.says {
        Says::Gone { removed, lost, rule } => {
            let parts = [("removed", removed), ("declared lost", lost)].into_iter().filter(|part| !part.1.is_empty());
            let parts: Vec<String> = parts.map(|(how, these)| format!("{how}: record(s) {}", numbers(these))).collect();
            let rule =
                if rule.is_empty() { String::new() } else { format!(", by the rule {}", shown(rule.as_bytes())) };
            format!("{}{rule}", parts.join("; "))
        }
        Says::Branch { continues, abandons } => format!("branch: goes on from {continues}, leaves {abandons} behind"),
    };
    format!(
        "{:>8}  {}  {}  {says}; reason: {}",
        amendment.number,
        amendment.time.rfc3339(),
        shown(amendment.host.as_bytes()),
        shown(amendment.reason.as_bytes())
    )
}

/// Says what a snapshot lacks, at the margin of what is said of it.
fn left_out(out: &mut String, margin: &str, paths: &[EntryPath]) {
    if !paths.is_empty() {
        line!(
            out,
            "{margin}lacks {} file(s), or names in directories, that kept changing and were left out, as allowed:",
            paths.len()
        );
        some_paths(out, paths);
    }
}

pub(super) fn freshness(freshness: &Freshness) -> String {
    match freshness {
        Freshness::Proven => "proven (this host's newest head occurs in it)".into(),
        Freshness::Unproven => "unproven (this host has no witness of this vault that it can trust)".into(),
        Freshness::Looked { since } => format!(
            "unproven (no record is missing since this host first looked, on {}; for what it saw then nothing vouches)",
            since.rfc3339()
        ),
        Freshness::Behind { seen, fork, .. } => {
            let how = if *fork { "it continues differently" } else { "newer records are missing" };
            format!("{freshness} (this host has seen head {seen}; {how})")
        }
    }
}

pub(super) fn findings(out: &mut String, findings: &[Finding]) {
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
    let state = State::of(entry);
    let owner = entry.owner.as_ref().map_or_else(String::new, |owner| {
        let name = |name: &Option<String>, number: u32| {
            name.as_ref().map_or_else(|| number.to_string(), |name| shown(name.as_bytes()))
        };
        format!("{}:{}", name(&owner.user, owner.uid), name(&owner.group, owner.gid))
    });
    let device = match &entry.kind {
        Kind::Block(major, minor) | Kind::Character(major, minor) => format!(" {major},{minor}"),
        _ => String::new(),
    };
    let same = entry.hardlink.as_ref().map_or_else(String::new, |first| format!(" (same object as {first})"));
    format!("{owner:<13} {} {}{device}{same}\n", columns(&state), named(&entry.path, &state))
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
    let (valid, good) = (numbers(verify::Verdict::Valid), numbers(verify::Verdict::NoFaultFound));
    let (invalid, unstable) = (numbers(verify::Verdict::Invalid), numbers(verify::Verdict::Unstable));
    let verdict = in_words(report.verdict.name()).to_uppercase();
    line!(out, "{} ({} verification of vault {})", verdict, report.level.name(), report.vault);
    if !valid.is_empty() {
        line!(out, "  valid, every byte they need was read: snapshot(s) {}", ranges(&valid));
    }
    if !good.is_empty() {
        let read =
            if report.level == verify::Level::Quick { "content not read" } else { "a part of the content was read" };
        line!(out, "  no fault found, {read}: snapshot(s) {}", ranges(&good));
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
    kept(&mut out, &report.kept);
    notes(&mut out, &report.notes);
    line!(out, "head: {}", report.head);
    if !report.verdict.is_good() {
        line!(out, "nothing was changed; change nothing in the vault before you have followed the runbook");
        if let (Some(newest), Some(finding)) = (valid.last(), report.findings.first()) {
            line!(out, "intact: {words} restore {newest} /a/new/directory    first: devvault runbook {}", finding.code);
        } else if report.level != verify::Level::Full {
            line!(out, "which snapshots are intact is not known before everything was read: {words} verify");
        }
    }
    out
}

/// Says how old the proof is that the vault's packs are intact.
fn coverage(out: &mut String, covered: &verify::Covered) {
    let share = |bytes: u64| (100 * u128::from(bytes)).checked_div(u128::from(covered.bytes)).unwrap_or(0);
    let oldest = covered.oldest.map_or_else(
        || "some of it was never read here, or failed when it was read last".to_owned(),
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
        "  of {} on {}, as it was {}",
        shown(&report.source.path),
        shown(report.source.host.as_bytes()),
        report.time.rfc3339()
    );
    line!(
        out,
        "  everything was read back from the {} and compared: content, kinds, metadata, targets, names; {:.1} s",
        report.compared_from,
        report.seconds
    );
    if report.not_chosen.entries() > 0 {
        line!(out, "  not restored, because the patterns do not choose it: {}", counted(&report.not_chosen));
    }
    if report.partial {
        line!(out, "  this is a part of the snapshot; the rest was not read, and nothing here calls it valid");
    }
    if !report.damage_elsewhere.is_empty() {
        line!(
            out,
            "  the rest of the snapshot is IN DOUBT: {} pack(s) that its record names are missing, not vouched for, or failed a read:",
            report.damage_elsewhere.len()
        );
        for pack in report.damage_elsewhere.iter().take(limits::SHOWN_PATHS_MAX) {
            line!(out, "    {pack}");
        }
        line!(out, "    all that was restored was read and is intact; run `devvault verify`");
    }
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
    match (report.findings.len(), report.attention.len()) {
        (0, 0) => line!(out, "NOTHING TO SEE TO: nothing was found, and no backup, verification or drill is overdue"),
        (0, count) => line!(out, "ATTENTION: {} thing(s) to see to", HumanCount(count as u64)),
        (count, _) => line!(out, "DAMAGED OR IN DOUBT: {} finding(s)", HumanCount(count as u64)),
    }
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
    verifications(&mut out, report);
    let exported = report.key_exported.map_or_else(
        || "never exported, as far as this host knows: export a copy to another medium".into(),
        |time| format!("exported {}", since(time, report.now)),
    );
    line!(out, "  key: {} ({exported})", shown_path(&report.key));
    for source in &report.sources {
        source_line(&mut out, source, report.now);
    }
    for warning in &report.shared_devices {
        line!(out, "  warning: {warning}");
    }
    super::orphans::orphans_listed(&mut out, &report.orphans, report.now);
    for attention in &report.attention {
        line!(out, "attention: {}", attention.text);
    }
    findings(&mut out, &report.findings);
    kept(&mut out, &report.kept);
    notes(&mut out, &report.notes);
    line!(out, "content was not read; `verify` does that");
    out
}

/// A time, and how long ago that is.
fn since(time: Time, now: Time) -> String {
    let seconds = now.seconds.saturating_sub(time.seconds);
    let ago = match seconds {
        ..0 => return format!("{}, in the future: check the clock", time.rfc3339()),
        0..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} hours ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    };
    format!("{ago}, {}", time.rfc3339())
}

/// Returns a verdict as a person says it.
fn in_words(verdict: &str) -> String {
    verdict.replace('-', " ")
}

fn verifications(out: &mut String, report: &status::Report) {
    match &report.verified {
        None => line!(out, "  last verification: none on this host"),
        Some(verified) => line!(
            out,
            "  last verification: {}; {}, {}; {} of {} pack(s) read",
            since(verified.time, report.now),
            verified.level,
            in_words(&verified.verdict),
            HumanCount(verified.packs_read),
            HumanCount(verified.packs)
        ),
    }
    // Packs that a drill or a backup read are told below: here the vault as a whole counts.
    let proven =
        report.proven.map_or_else(|| "never, as far as this host knows".to_owned(), |time| since(time, report.now));
    let days = limits::PROOF_DAYS;
    line!(out, "  verified as a whole, in one run or by samples of {days} days that left nothing out: {proven}");
    let share = (100 * u128::from(report.coverage.bytes_recently)).checked_div(u128::from(report.bytes_stored));
    let oldest = report.coverage.oldest.map_or_else(
        || "some of it was never read here, or failed when it was read last".to_owned(),
        |time| format!("the oldest read is {}", since(time, report.now)),
    );
    if let Some(share) = share {
        line!(out, "  read within {} days: {share} % of what is stored; {oldest}", limits::PROOF_DAYS);
    }
}

fn source_line(out: &mut String, source: &status::SourceLine, now: Time) {
    line!(
        out,
        "  {} on {}: {} snapshot(s)",
        shown(&source.source),
        shown(source.host.as_bytes()),
        HumanCount(source.snapshots)
    );
    line!(out, "    last backup: {}; snapshot {}", since(source.time, now), source.newest);
    left_out(out, "    ", &source.left_out);
    let (whole, sample) = (source.drilled.as_ref(), source.sampled.as_ref());
    match whole {
        None if source.bytes == 0 => line!(out, "    last drill: none; there is no content that it could restore"),
        None => line!(out, "    last drill: none of the whole that passed, as far as this host knows"),
        Some(drilled) => line!(out, "    last drill: {}", drilled_text(drilled, now)),
    }
    if let Some(sampled) = sample {
        line!(out, "    last sample: {}; it proves nothing of the rest", drilled_text(sampled, now));
    }
    if let Some(failed) = source.drill_failed {
        line!(out, "    a drill FAILED {}", since(failed.time, now));
    }
}

fn drilled_text(drilled: &status::Drilled, now: Time) -> String {
    let recovery =
        recovery_time(drilled.extent != "whole", drilled.recovery_milliseconds, drilled.recovery_milliseconds_high);
    format!(
        "{}; {} of snapshot {} ({}); recovery in {recovery}, objective {}",
        since(drilled.time, now),
        drilled.scenario,
        drilled.snapshot,
        drilled.extent,
        drilled.objective
    )
}

pub(super) fn receipt(report: &receipt::Report) -> String {
    let mut out = String::new();
    let said = &report.receipt;
    line!(out, "genuine: this receipt was made with the key of vault {}", said.vault);
    line!(
        out,
        "  {} on {}, {}: {}, {}, exit {}; {}",
        said.act,
        said.made.rfc3339(),
        said.platform,
        said.level,
        in_words(registry::claimed(&said.verdict, &said.level)),
        said.exit,
        receipt_extent(said)
    );
    let mut verdicts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (number, verdict) in &said.snapshots {
        verdicts.entry(verdict).or_default().push(number.to_string());
    }
    for (verdict, numbers) in verdicts {
        line!(out, "  {}: snapshot(s) {}", in_words(registry::claimed(verdict, &said.level)), ranges(&numbers));
    }
    for found in &said.findings {
        line!(out, "  it found {} {}", found.code, found.subject);
    }
    line!(out, "  head then: {}", said.head);
    match &report.since {
        Ok(since) => happened_since(&mut out, since),
        Err(unknown) => {
            line!(out, "  since then: NOT KNOWN, the vault was not looked at: {}", unknown.why);
            findings(&mut out, &unknown.findings);
        }
    }
    line!(out, "a receipt speaks of its moment and of these snapshots only; `verify` tells how the vault is now");
    kept(&mut out, &report.kept);
    notes(&mut out, &report.notes);
    out
}

fn happened_since(out: &mut String, since: &receipt::Since) {
    line!(out, "  head now:  {}", since.head);
    let list = |numbers: &[u64]| ranges(&numbers.iter().map(u64::to_string).collect::<Vec<_>>());
    if since.added.is_empty() && since.removed.is_empty() && since.head_occurs {
        line!(out, "  since then: nothing; the chain is as it was");
    }
    if let Some(branch) = since.left_by {
        line!(out, "  record {branch} begins a branch, which left behind knowingly what the receipt speaks of");
    }
    if !since.added.is_empty() {
        line!(out, "  added since: {}", list(&since.added));
    }
    if !since.removed.is_empty() {
        line!(out, "  removed or declared lost since: {}", list(&since.removed));
    }
    line!(out, "  freshness: {}", freshness(&since.freshness));
    findings(out, &since.findings);
}

/// How long a recovery takes: as it was measured, or between which bounds a part of it lets expect.
fn recovery_time(extrapolated: bool, milliseconds: u64, high: Option<u64>) -> String {
    let seconds = |milliseconds: u64| super::drill::time(milliseconds as f64 / 1000.0);
    let low = seconds(milliseconds);
    match high {
        _ if !extrapolated => low,
        Some(high) => format!("{low} to {}, extrapolated", seconds(high)),
        None => format!("at least {low}, extrapolated"),
    }
}

/// What was read or restored, in words.
fn receipt_extent(said: &receipt::Receipt) -> String {
    let of = |part: u64, whole: u64| format!("{} of {}", HumanBytes(part), HumanBytes(whole));
    let Some(drill) = &said.drill else {
        let extent = &said.extent;
        let packs = format!("{} of {} packs", HumanCount(extent.packs_read), HumanCount(extent.packs));
        return format!("{packs}, {} read", of(extent.bytes_read, extent.bytes));
    };
    format!(
        "{}: {} of {} files, {} restored and compared; {} damages of a copy refused; recovery time {}",
        drill.scenario,
        HumanCount(drill.files_compared),
        HumanCount(drill.files),
        of(drill.bytes_compared, drill.bytes),
        HumanCount(drill.negative),
        recovery_time(said.level == "sample", drill.recovery_milliseconds_low, drill.recovery_milliseconds_high)
    )
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
    notes(&mut out, &report.notes);
    out
}

pub(super) fn key_export(report: &key::Report, words: &str) -> String {
    let mut out = String::new();
    line!(out, "the key of vault {} was written to {}", report.vault, shown_path(&report.path));
    line!(out, "  This file is the secret in clear. Keep it away from the vault, where no one else can read it.");
    line!(out, "  Prove that it works: {words} --key-file {} key check", quoted(&shown_path(&report.path)));
    notes(&mut out, &report.notes);
    out
}

/// `vault` is where the vault lies, for a shell; nothing where this host does not know.
pub(super) fn key_import(report: &key::Report, words: &str, vault: Option<&str>) -> String {
    let mut out = String::new();
    line!(out, "the key of vault {} is installed: {}", report.vault, shown_path(&report.path));
    match vault {
        Some(vault) => line!(out, "  Prove that it works: {words} --vault {vault} key check"),
        None => line!(out, "  Prove that it works, naming the directory of the vault: {words} --vault VAULT key check"),
    }
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

/// The columns that describe a state: mode, length, time.
fn columns(state: &State) -> String {
    let mode = state.mode.map_or_else(|| "----".into(), |mode| format!("{mode:04o}"));
    let bytes = state.bytes.map_or_else(|| "-".into(), |bytes| bytes.to_string());
    let time = state.mtime.map(|time| time.rfc3339()).unwrap_or_default();
    format!("{mode} {bytes:>12} {time}")
}

/// A path with what shows its kind: `/` after a directory, ` -> TARGET` after a link.
fn named(path: &EntryPath, state: &State) -> String {
    match (&state.target, state.kind) {
        (Some(target), _) => format!("{path} -> {}", shown(target)),
        (None, "directory") => format!("{path}/"),
        (None, "file") => path.to_string(),
        (None, kind) => format!("{path} ({kind})"),
    }
}

/// Names snapshots in a few words, exactly where they are few.
fn numbers(snapshots: &[u64]) -> String {
    let (Some(first), Some(last)) = (snapshots.first(), snapshots.last()) else { return String::new() };
    let count = snapshots.len() as u64;
    if count == 1 {
        first.to_string()
    } else if last - first + 1 == count {
        format!("{first}-{last}")
    } else if count <= 3 {
        snapshots.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    } else {
        format!("{first}..{last} ({count})")
    }
}

fn source_name(source: &SourceName) -> String {
    format!("{} on {}", shown(&source.path), shown(source.host.as_bytes()))
}

/// Begins what `find` says of a source.
pub(super) fn find_source(source: &SourceName) -> String {
    format!("{}:\n", source_name(source))
}

pub(super) fn version(version: &find::Version<'_>) -> String {
    let state = State::of(version.entry);
    format!("{:>10}  {} {}\n", numbers(version.snapshots), columns(&state), named(&version.entry.path, &state))
}

/// Says what stood in the way of looking through everything.
pub(super) fn looked_through(out: &mut String, found: &[Finding]) {
    findings(out, found);
    if !found.is_empty() {
        line!(out, "not everything could be looked through: what was found is right, what was not found may be there");
    }
}

pub(super) fn find_end(report: &find::Report) -> String {
    let mut out = String::new();
    line!(
        out,
        "{} version(s) of {} path(s) in {} snapshot(s)",
        HumanCount(report.versions),
        HumanCount(report.paths),
        HumanCount(report.snapshots.len() as u64)
    );
    if let Some(behind @ Freshness::Behind { .. }) = &report.freshness {
        line!(out, "freshness: {}", freshness(behind));
    }
    looked_through(&mut out, &report.findings);
    kept(&mut out, &report.kept);
    notes(&mut out, &report.notes);
    out
}

pub(super) fn difference(difference: &diff::Difference) -> String {
    let (sign, state) = match difference.change {
        diff::Change::Added => ('+', &difference.after),
        diff::Change::Removed => ('-', &difference.before),
        diff::Change::Changed => ('~', &difference.after),
        diff::Change::Corrupt => ('!', &difference.after),
    };
    let mut out = format!("{sign} ");
    let _ = match state {
        Some(state) => write!(out, "{}", named(&difference.path, state)),
        None => write!(out, "{}", difference.path),
    };
    if let (Some(before), Some(after)) = (&difference.before, &difference.after) {
        let told: Vec<String> = difference.aspects.iter().map(|aspect| aspect_of(*aspect, before, after)).collect();
        let _ = write!(out, "  ({})", told.join(", "));
    }
    out.push('\n');
    if let Some(detail) = &difference.detail {
        line!(out, "    CORRUPT: {detail}");
    }
    out
}

/// What `cat` says besides the content.
pub(super) fn cat(report: &cat::Report) -> String {
    let mut out = String::new();
    notes(&mut out, &report.notes);
    out
}

/// Says from what to what something changed.
fn aspect_of(aspect: Aspect, before: &State, after: &State) -> String {
    let name = aspect.name();
    // Only as exact as it takes to tell the two apart.
    let seconds = |state: &State| state.mtime.map(|time| time.seconds);
    let time = |state: &State| match state.mtime {
        Some(time) if seconds(before) == seconds(after) => time.rfc3339_exact(),
        Some(time) => time.rfc3339(),
        None => String::new(),
    };
    match aspect {
        Aspect::Kind => format!("{name}: {} to {}", before.kind, after.kind),
        Aspect::Content => match (before.bytes, after.bytes) {
            (Some(before), Some(after)) if before != after => format!("{name}: {before} to {after} bytes"),
            _ => name.to_owned(),
        },
        Aspect::Target => format!("{name}: from {}", shown(before.target.as_deref().unwrap_or_default())),
        Aspect::Mode => {
            format!("{name}: {:04o} to {:04o}", before.mode.unwrap_or_default(), after.mode.unwrap_or_default())
        }
        Aspect::Mtime => format!("{name}: {} to {}", time(before), time(after)),
        Aspect::Owner => match (before.owner, after.owner) {
            (Some(before), Some(after)) if before != after => {
                format!("{name}: {}:{} to {}:{}", before.0, before.1, after.0, after.1)
            }
            _ => name.to_owned(),
        },
        Aspect::Attributes | Aspect::Flags | Aspect::Links => name.to_owned(),
    }
}

pub(super) fn diff_end(report: &diff::Report, words: &str) -> String {
    let mut out = String::new();
    let snapshot = |number: u64, source: &SourceName| format!("snapshot {number} of {}", source_name(source));
    let against = match &report.against {
        diff::Against::Snapshot(number, source) => snapshot(*number, source),
        diff::Against::Directory(real) => shown_path(real),
    };
    let tally = &report.tally;
    line!(
        out,
        "{} and {against}: {} added, {} removed, {} changed, {} corrupt; {} the same",
        snapshot(report.snapshot, &report.source),
        HumanCount(tally.added),
        HumanCount(tally.removed),
        HumanCount(tally.changed),
        HumanCount(tally.corrupt),
        HumanCount(tally.same)
    );
    match (&report.against, report.content_compared) {
        (diff::Against::Snapshot(..), _) => {
            line!(out, "  contents were compared by their hashes, not read; `verify` reads them")
        }
        (diff::Against::Directory(_), true) => {
            let read = HumanBytes(report.bytes_read);
            line!(
                out,
                "  {read} of the directory were read and compared with the snapshot's hashes; `verify` reads the vault"
            );
        }
        (diff::Against::Directory(_), false) => {
            line!(out, "  contents were not read: a file of the same length may differ all the same");
        }
    }
    if tally.left_out > 0 {
        let left_out = HumanCount(tally.left_out);
        line!(out, "  {left_out} object(s) of the directory are what the snapshot left out by its rules; not compared");
    }
    if !report.not_compared.is_empty() {
        let names: Vec<&str> = report.not_compared.iter().map(|aspect| aspect.name()).collect();
        line!(out, "  not compared with a directory: {}", names.join(", "));
    }
    if tally.corrupt > 0 {
        line!(out, "  change nothing in the directory yet; restore these files elsewhere and look at both:");
        line!(out, "    {words} restore {}:PATH /a/new/directory", report.snapshot);
    }
    notes(&mut out, &report.notes);
    out
}

/// Names a rule in a few words: where it stands and what it reads.
fn rule(by: ExcludedBy, from: Option<&[u8]>, line: Option<u64>, rule: &str) -> String {
    let from = from.map(shown);
    let rule = shown(rule.as_bytes());
    match (by, from, line) {
        (ExcludedBy::Command, ..) => format!("--exclude {rule}"),
        (ExcludedBy::ExcludeFrom | ExcludedBy::Gitignore | ExcludedBy::Devvaultignore, Some(from), Some(line)) => {
            format!("{from}:{line}: {rule}")
        }
        (ExcludedBy::Caches, Some(from), _) => format!("the content of {from}/, which CACHEDIR.TAG marks"),
        (ExcludedBy::OneFileSystem, Some(from), _) => format!("another file system, on {from}"),
        (ExcludedBy::Own, Some(from), _) => format!("devvault's own: {from}"),
        (by, ..) => by.name().to_owned(),
    }
}

/// Says what rules left out of a snapshot, the most first.
fn exclusions(out: &mut String, margin: &str, exclusions: &[Exclusion], shown_max: usize) {
    let objects = backup::excluded(exclusions);
    if objects == 0 {
        return;
    }
    let mut by_objects: Vec<&Exclusion> =
        exclusions.iter().filter(|one| one.objects > 0 && one.by != ExcludedBy::Own).collect();
    by_objects.sort_by_key(|one| std::cmp::Reverse(one.objects));
    let end = if shown_max == 0 { "; --json names them" } else { ":" };
    line!(out, "{margin}{} object(s) left out by {} rule(s){end}", HumanCount(objects), by_objects.len());
    for one in by_objects.iter().take(shown_max) {
        let rule = rule(one.by, one.from.as_deref(), one.line, &one.rule);
        line!(out, "{margin}  {:>7}  {rule}", HumanCount(one.objects).to_string());
    }
    if by_objects.len() > shown_max && shown_max > 0 {
        line!(out, "{margin}  … and {} more; --json names all", by_objects.len() - shown_max);
    }
}

pub(super) fn planned(planned: &backup::Planned) -> String {
    let mark = |kind: ObjectKind| match kind {
        ObjectKind::Directory => "/",
        ObjectKind::Symlink => "@",
        _ => "",
    };
    let mut out = String::new();
    match planned {
        backup::Planned::Taken { path, kind, .. } => line!(out, "+ {path}{}", mark(*kind)),
        backup::Planned::Left(left) => {
            let why = rule(left.why.by, left.why.from.as_deref(), left.why.line, &left.why.rule);
            let what = if left.content_only { "/*" } else { mark(left.kind) };
            line!(out, "- {}{what}  ({why})", left.path);
        }
    }
    out
}

pub(super) fn plan_end(report: &backup::Plan) -> String {
    let mut out = String::new();
    line!(out, "a backup of {} would take {}", shown_path(&report.source), counted(&report.counts));
    exclusions(&mut out, "  ", &report.exclusions, limits::SHOWN_PATHS_MAX);
    line!(out, "  nothing was written; contents were not read, so that one that cannot be read was not noticed");
    out
}
