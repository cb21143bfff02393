//! What a person has to see to: open incidents, late reports, permits, orphans, verifications that are overdue.
//!
//! `status` shows it; `status --check` fails on it, so that a weekly audit is one line.

use super::orphans::{Orphans, Stray};
use crate::clock::Time;
use crate::crypto::Id;
use crate::host::Settings;
use crate::incident::break_glass::{self, State};
use crate::incident::journal::Entry;
use crate::incident::registry;

/// How old the newest verification of everything may be where the settings do not say, in days.
const VERIFY_DAYS: u32 = 35;

/// One thing to see to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    /// What kind of thing, one word.
    pub kind: &'static str,
    /// What it is and what to do.
    pub text: String,
}

/// What is known about a vault on this host.
pub(super) struct Known<'a> {
    pub(super) entries: &'a [Entry],
    /// Why the journal cannot be read, if so: then nothing is known of what it says.
    pub(super) trouble: Option<String>,
    pub(super) settings: &'a Settings,
    pub(super) now: Time,
    pub(super) vault: Id,
    pub(super) place: &'a str,
    pub(super) orphans: &'a Orphans,
    pub(super) has_snapshots: bool,
}

/// Returns everything that a person has to see to, the gravest first.
pub(super) fn attention(known: &Known<'_>) -> Vec<Attention> {
    let mut all = Vec::new();
    if let Some(trouble) = &known.trouble {
        let text = format!("incidents, permits, decisions and verifications are not known: {trouble}");
        push(&mut all, "journal", text);
    }
    incidents(known, &mut all);
    permits(known, &mut all);
    orphans(known, &mut all);
    if known.has_snapshots && known.trouble.is_none() {
        ages(known, &mut all);
    }
    all
}

fn push(all: &mut Vec<Attention>, kind: &'static str, text: String) {
    all.push(Attention { kind, text });
}

fn incidents(known: &Known<'_>, all: &mut Vec<Attention>) {
    for incident in registry::replay(known.entries) {
        let here = incident.place == known.place && incident.vault.is_none_or(|vault| vault == known.vault);
        let elsewhere =
            if here { String::new() } else { format!(" (about {})", crate::path::shown(incident.place.as_bytes())) };
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
    let time = known.entries.iter().map(|entry| entry.time).max();
    for permit in break_glass::replay(known.entries) {
        if !permit.is_unreconciled(known.now, time) {
            continue;
        }
        let how = match permit.state(known.now, time) {
            State::Waiting => format!("takes effect {}", permit.effective.rfc3339()),
            State::Open => format!("is in effect until {}", permit.until.rfc3339()),
            _ => format!("ended {} and was not closed", permit.until.rfc3339()),
        };
        let text = format!(
            "break-glass {} ({}) {how}: verify, then devvault break-glass close {} --outcome WHAT",
            permit.id,
            permit.act.name(),
            permit.id
        );
        push(all, "break-glass", text);
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

fn ages(known: &Known<'_>, all: &mut Vec<Attention>) {
    let own = |entry: &&Entry| entry.vault == Some(known.vault) && entry.place.as_deref() == Some(known.place);
    let days = |time: Time| known.now.seconds.saturating_sub(time.seconds) / 86_400;
    let verified =
        known.entries.iter().rev().filter(own).find(|entry| proves_everything(entry)).map(|entry| entry.time);
    let limit = known.settings.verify_days.unwrap_or(VERIFY_DAYS);
    match verified {
        None => {
            let tried = known.entries.iter().filter(own).any(registry::is_full_verification);
            let text = match tried {
                true => "no verification of the whole vault by this host has found nothing yet: devvault verify",
                false => "this host never verified the whole vault here: devvault verify",
            };
            push(all, "unverified", text.into());
        }
        Some(time) if days(time) >= i64::from(limit) => {
            let text = format!("the whole vault was last verified {}: devvault verify", time.rfc3339());
            push(all, "unverified", text);
        }
        Some(_) => {}
    }
    let Some(limit) = known.settings.drill_days else { return };
    let drilled = |entry: &&Entry| entry.act == "drill" && entry.text("outcome") == "done";
    let drill = known.entries.iter().rev().filter(own).find(drilled).map(|entry| entry.time);
    if drill.is_none_or(|time| days(time) >= i64::from(limit)) {
        let when = drill.map_or_else(|| "never".to_owned(), Time::rfc3339);
        push(all, "undrilled", format!("the last drill of this vault: {when}"));
    }
}

/// Returns whether a verification found nothing and everything was read, in one run or over the last days.
fn proves_everything(entry: &Entry) -> bool {
    let everything = registry::is_full_verification(entry)
        || entry.act == "verify"
            && entry.text("level") == "sample"
            && ["whole", "everything_recently"].iter().all(|name| entry.data.get(*name) == Some(&true.into()));
    everything && entry.text("verdict") == "valid"
}
