//! What a person has to see to: open incidents, late reports, permits, orphans; backups, verifications and drills that
//! are overdue.
//!
//! `status` shows it; `status --check` fails on it, so that a weekly audit is one line.

use std::collections::BTreeSet;

use serde_json::Value;

use super::orphans::{Orphans, Stray};
use super::status::{DrillFailed, Drilled, SourceLine, Verified};
use crate::clock::Time;
use crate::crypto::Id;
use crate::error::shown_path;
use crate::fsys::as_path;
use crate::host::Settings;
use crate::incident::break_glass::{self, State};
use crate::incident::journal::{Entry, bounded};
use crate::incident::registry;
use crate::limits;
use crate::path::{quoted, shown};
use crate::refusal::Code;

/// One thing to see to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    /// What kind of thing, one word.
    pub kind: &'static str,
    /// What it is and what to do.
    pub text: String,
}

/// Every kind of thing to see to, the gravest first.
pub const KINDS: [&str; 18] = [
    "journal",
    "witness",
    "incident",
    "report",
    "break-glass",
    "space",
    "incomplete",
    "foreign",
    "packs",
    "temporary",
    "lock",
    "empty",
    "unverified",
    "refused",
    "old",
    "drill",
    "undrilled",
    "slow",
];

/// What this host's journal says of the copy of a vault at its place.
pub(super) struct Own<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) vault: Id,
    pub(super) place: &'a str,
    /// Which copy lies there: see [`crate::vault::reads::copy_of`].
    pub(super) copy: Option<String>,
}

impl<'a> Own<'a> {
    /// Returns the entries about the vault at its place, whichever copy lay there, the newest first.
    fn at_place(&self) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().rev().filter(|entry| entry.vault == Some(self.vault) && entry.is_at(self.place))
    }

    /// Returns the entries about the copy of the vault at its place, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &'a Entry> {
        let copy = self.copy.as_deref().unwrap_or_default();
        self.at_place().filter(move |entry| entry.text("copy") == copy)
    }

    /// Returns when everything was last found valid.
    pub(super) fn proven(&self) -> Option<Time> {
        self.newest().find(|entry| proves_everything(entry)).map(|entry| entry.time)
    }

    /// Returns the newest verification of the vault as a whole.
    pub(super) fn verified(&self) -> Option<Verified> {
        let whole = |entry: &&Entry| entry.act == "verify" && entry.data.get("whole") == Some(&true.into());
        let entry = self.newest().find(|entry| whole(entry) && !entry.text("verdict").is_empty())?;
        let number = |name: &str| entry.data.get(name).and_then(Value::as_u64).unwrap_or(0);
        Some(Verified {
            time: entry.time,
            level: entry.text("level").to_owned(),
            verdict: registry::claimed(entry.text("verdict"), entry.text("level")).to_owned(),
            packs_read: number("packs_read"),
            packs: number("packs"),
        })
    }

    /// Notes the newest drills of a source that passed, of the whole and of a sample, and whether one failed after.
    ///
    /// A failure stands until a whole drill passes that exercised as much: neither a sample nor a restore on this host
    /// says that a clean machine can restore, or that damage is refused.
    pub(super) fn drills_of(&self, line: &mut SourceLine) {
        let (source, host) = (bounded(&shown(&line.source)), line.host_id.to_string());
        let drills = self
            .newest()
            .filter(|entry| entry.act == "drill" && entry.text("host_id") == host && entry.text("source") == source);
        let (mut clean_machine_passed, mut negative_passed) = (false, false);
        for entry in drills {
            let clean_machine = entry.text("scenario") == "clean-machine";
            let negative = entry.data.get("negative") == Some(&true.into());
            if entry.text("outcome") != "done" {
                let passed_since = line.drilled.is_some()
                    && (clean_machine_passed || !clean_machine)
                    && (negative_passed || !negative);
                if !passed_since && line.drill_failed.is_none() {
                    line.drill_failed = Some(DrillFailed { time: entry.time, clean_machine, negative });
                }
                continue;
            }
            if entry.text("extent") == "whole" {
                clean_machine_passed |= clean_machine;
                negative_passed |= negative;
                line.drilled.get_or_insert_with(|| drilled(entry));
            } else if line.drilled.is_none() {
                line.sampled.get_or_insert_with(|| drilled(entry));
            }
        }
    }
}

fn drilled(entry: &Entry) -> Drilled {
    let number = |name: &str| entry.data.get(name).and_then(Value::as_u64);
    Drilled {
        time: entry.time,
        snapshot: number("snapshot").unwrap_or(0),
        scenario: entry.text("scenario").to_owned(),
        extent: entry.text("extent").to_owned(),
        recovery_milliseconds: number("recovery_milliseconds").unwrap_or(0),
        recovery_milliseconds_high: number("recovery_milliseconds_high"),
        objective: entry.text("objective").to_owned(),
    }
}

/// What is known about a vault on this host.
pub(super) struct Known<'a> {
    pub(super) own: &'a Own<'a>,
    /// Why the journal cannot be read, if so: then nothing is known of what it says.
    pub(super) trouble: Option<String>,
    /// What is wrong with what this host knows of the vault's newest head, if anything.
    pub(super) unwitnessed: Vec<String>,
    pub(super) settings: &'a Settings,
    pub(super) now: Time,
    pub(super) orphans: &'a Orphans,
    pub(super) sources: &'a [SourceLine],
    /// What is free on the medium, in bytes, where it tells.
    pub(super) bytes_free: Option<u64>,
    /// How long a pack of the vault becomes, in bytes.
    pub(super) pack_bytes: u64,
}

/// Returns everything that a person has to see to, the gravest first.
pub(super) fn attention(known: &Known<'_>) -> Vec<Attention> {
    let mut all = Vec::new();
    if let Some(trouble) = &known.trouble {
        let text = format!("incidents, permits, decisions and verifications are not known: {trouble}");
        push(&mut all, "journal", text);
    }
    known.unwitnessed.iter().for_each(|text| push(&mut all, "witness", text.clone()));
    incidents(known, &mut all);
    permits(known, &mut all);
    let wanted = known.pack_bytes.saturating_add(limits::SPACE_RESERVE_BYTES);
    if let Some(free) = known.bytes_free.filter(|free| *free < wanted) {
        let text =
            format!("{free} bytes are free on the medium, and a backup of any size may take {wanted}: make room");
        push(&mut all, "space", text);
    }
    orphans(known, &mut all);
    if known.sources.is_empty() {
        push(&mut all, "empty", "the vault holds no snapshot: devvault backup FOLDER".into());
    } else if known.trouble.is_none() {
        verifications(known, &mut all);
    }
    refusals(known, &mut all);
    backups(known, &mut all);
    if known.trouble.is_none() {
        drills(known, &mut all);
    }
    all
}

fn push(all: &mut Vec<Attention>, kind: &'static str, text: String) {
    all.push(Attention { kind, text });
}

fn incidents(known: &Known<'_>, all: &mut Vec<Attention>) {
    for incident in registry::replay(known.own.entries) {
        let here = incident.is_at(known.own.place) && incident.vault.is_none_or(|vault| vault == known.own.vault);
        let elsewhere = if here { String::new() } else { format!(" (about {})", shown(incident.place.as_bytes())) };
        if incident.closed.is_none() {
            let text = format!(
                "incident {} is open since {}{elsewhere}: devvault incident show {}",
                incident.id,
                incident.opened.rfc3339(),
                incident.id
            );
            push(all, "incident", text);
        }
        if incident.is_overdue(known.now) {
            let text = format!(
                "the report of incident {} was due {}{elsewhere}: devvault incident report {}",
                incident.id,
                incident.report_due.rfc3339(),
                incident.id
            );
            push(all, "report", text);
        }
    }
}

fn permits(known: &Known<'_>, all: &mut Vec<Attention>) {
    let time = known.own.entries.iter().map(|entry| entry.time).max();
    for permit in break_glass::replay(known.own.entries) {
        if !permit.is_unreconciled(known.now, time) {
            continue;
        }
        let id = &permit.id;
        let close = format!("verify, then devvault break-glass close {id} --outcome WHAT");
        let how = match permit.state(known.now, time) {
            State::Waiting => {
                let effective = permit.effective.rfc3339();
                format!("takes effect {effective}: devvault break-glass cancel {id} takes it back")
            }
            State::Open => format!("is in effect until {}: {close}", permit.until.rfc3339()),
            _ => format!("ended {} and was not closed: {close}", permit.until.rfc3339()),
        };
        push(all, "break-glass", format!("break-glass {id} ({}) {how}", permit.act.name()));
    }
}

fn orphans(known: &Known<'_>, all: &mut Vec<Attention>) {
    let orphans = known.orphans;
    for one in orphans.incomplete.iter().filter(|one| one.is_due(known.now)) {
        let text = format!("snapshots/{} was never finalized: devvault incomplete list", one.name);
        push(all, "incomplete", text);
    }
    let due = |strays: &[Stray]| strays.iter().filter(|stray| stray.is_due(known.now)).count();
    let count = due(&orphans.foreign);
    if count > 0 {
        push(all, "foreign", format!("{count} file(s) do not belong to the vault: devvault incomplete list"));
    }
    let count = due(&orphans.packs);
    if count > 0 {
        push(all, "packs", format!("no snapshot names {count} pack(s): the next backup uses what they hold"));
    }
    let count = due(&orphans.temporary);
    if count > 0 {
        push(all, "temporary", format!("a test of the medium left {count} file(s): devvault incomplete list"));
    }
    if orphans.stale_lock.is_some() {
        push(
            all,
            "lock",
            "lock.holder is stale: a writer ended without cleaning up; the next backup replaces it".into(),
        );
    }
}

/// Returns whether a time is more than a number of days ago, or so far ahead that a clock was wrong: then nobody knows how
/// long ago it was. Zero days ask for nothing.
fn is_overdue(known: &Known<'_>, time: Time, days: u32) -> bool {
    let ago = known.now.seconds.saturating_sub(time.seconds);
    days > 0 && (ago >= i64::from(days) * 86_400 || is_ahead(known, time))
}

fn is_ahead(known: &Known<'_>, time: Time) -> bool {
    time.seconds.saturating_sub(known.now.seconds) > limits::CLOCK_AHEAD_SECONDS
}

/// Returns a time for people, who have to know where it cannot be true.
fn when(known: &Known<'_>, time: Time) -> String {
    let ahead = if is_ahead(known, time) { " by a clock that was ahead, or this host's is behind" } else { "" };
    format!("{}{ahead}", time.rfc3339())
}

fn verifications(known: &Known<'_>, all: &mut Vec<Attention>) {
    let days = known.settings.verify_days.unwrap_or(limits::VERIFY_DAYS);
    match known.own.proven() {
        None => {
            let text = match known.own.newest().any(registry::is_full_verification) {
                true => "no verification of the whole vault by this host has found nothing yet: devvault verify",
                false => "this host never verified the whole vault here: devvault verify",
            };
            push(all, "unverified", text.into());
        }
        Some(time) if is_overdue(known, time, days.max(1)) => {
            let text = format!("the whole vault was last verified {}: devvault verify", when(known, time));
            push(all, "unverified", text);
        }
        Some(_) => {}
    }
}

/// Tells of every source whose newest backup by this host into this vault came to nothing, as long as no other rule would
/// miss it. What was tried once, and of which there is no snapshot, was a slip or has been thought better of.
fn refusals(known: &Known<'_>, all: &mut Vec<Attention>) {
    let days = known.settings.backup_days.filter(|days| *days > 0).unwrap_or(limits::BACKUP_DAYS);
    let is_recent = |entry: &&Entry| known.now.seconds.saturating_sub(entry.time.seconds) < i64::from(days) * 86_400;
    let backups = || known.own.at_place().filter(|entry| entry.act == "backup").filter(is_recent);
    let came_to_nothing = |entry: &Entry| ["refused", "failed"].contains(&entry.text("outcome"));
    // As the journal has it, which is as a path and not as bytes.
    let journaled = |line: &SourceLine| bounded(&shown_path(&as_path(&line.source)));
    let has_snapshot = |source: &str| known.sources.iter().any(|line| journaled(line) == source);
    let mut seen = BTreeSet::new();
    // What was interrupted says nothing.
    for entry in
        backups().filter(|entry| came_to_nothing(entry) || ["done", "findings"].contains(&entry.text("outcome")))
    {
        let source = entry.text("source");
        if source.is_empty() || !seen.insert(source) || !came_to_nothing(entry) {
            continue;
        }
        let tries = backups().filter(|entry| entry.text("source") == source && came_to_nothing(entry)).count();
        if tries < 2 && !has_snapshot(source) {
            continue;
        }
        let code = Code::parse(entry.text("code"));
        let why = code.map_or_else(|| entry.text("message").to_owned(), |code| format!("{code}, {}", code.title()));
        let (time, command) = (entry.time.rfc3339(), backup_command(source));
        push(all, "refused", format!("the last backup of {source} came to nothing {time}: {why}{command}"));
    }
}

/// Returns the command that backs up a source, behind a colon; nothing where its name is not printed as it is.
fn backup_command(shown: &str) -> String {
    match registry::is_printed_as_it_is(shown) {
        true => format!(": devvault backup {}", quoted(shown)),
        false => String::new(),
    }
}

fn backups(known: &Known<'_>, all: &mut Vec<Attention>) {
    let days = known.settings.backup_days.unwrap_or(limits::BACKUP_DAYS);
    for line in known.sources.iter().filter(|line| is_overdue(known, line.time, days)) {
        let source = shown_path(&as_path(&line.source));
        let text = format!(
            "{source} on {} was last backed up {}{}",
            line.host,
            when(known, line.time),
            backup_command(&source)
        );
        push(all, "old", text);
    }
}

fn drills(known: &Known<'_>, all: &mut Vec<Attention>) {
    let days = known.settings.drill_days.unwrap_or(limits::DRILL_DAYS);
    for line in known.sources {
        let source = format!("{} on {}", shown(&line.source), line.host);
        let how = format!("devvault drill {}", line.newest);
        if let Some(failed) = line.drill_failed {
            let clean = if failed.clean_machine { " --clean-machine --key-file KEY" } else { "" };
            let negative = if failed.negative { " --negative" } else { "" };
            let when = failed.time.rfc3339();
            let text = format!(
                "the drill of {source} failed {when}, and no whole drill of as much passed since: {how}{clean}{negative}"
            );
            push(all, "drill", text);
        }
        // Only a whole drill counts: a sample proves nothing of what it did not draw.
        let sampled = line.sampled.as_ref().map_or_else(String::new, |sampled| {
            format!(" (of a sample {}, which proves nothing of the rest)", sampled.time.rfc3339())
        });
        match &line.drilled {
            _ if line.bytes == 0 => {}
            // A source that is new has the same time as one that was drilled when it began.
            None if is_overdue(known, line.first, days) => {
                let text = format!("this host never exercised a restore of the whole of {source}{sampled}: {how}");
                push(all, "undrilled", text);
            }
            Some(drilled) if is_overdue(known, drilled.time, days) => {
                let when = when(known, drilled.time);
                let text = format!("a restore of the whole of {source} was last exercised {when}{sampled}: {how}");
                push(all, "undrilled", text);
            }
            _ => {}
        }
        if let Some(slow) = [&line.sampled, &line.drilled].into_iter().flatten().find(|one| one.objective == "exceeded")
        {
            let minutes = slow.recovery_milliseconds.div_ceil(60_000);
            let least = if slow.extent == "sample" { "at least " } else { "" };
            let text =
                format!("a recovery of {source} takes {least}{minutes} min, more than the plan tolerates: {how}");
            push(all, "slow", text);
        }
    }
}

/// Returns whether a verification found nothing and everything was read, in one run or over the last days.
fn proves_everything(entry: &Entry) -> bool {
    let everything = registry::is_full_verification(entry)
        || entry.act == "verify"
            && entry.text("level") == "sample"
            && ["whole", "everything_recently"].iter().all(|name| entry.data.get(*name) == Some(&true.into()));
    everything && registry::found_nothing(entry)
}
