//! `incident`: lists, shows, annotates, reports and closes what is open.

use std::fmt::Write;

use serde_json::Value;

use crate::clock::Time;
use crate::error::Result;
use crate::host::Host;
use crate::incident::break_glass;
use crate::incident::journal::{Entry, Event, Journal};
use crate::incident::registry::{self, Incident};
use crate::path::shown;
use crate::refusal::{Code, Refusal};

/// Returns every incident of this host, oldest first.
///
/// # Errors
/// DV319 where the journal is broken, DV410 where it cannot be read.
pub fn list(host: &Host) -> Result<Vec<Incident>> {
    Ok(registry::replay(&Journal::of(host).entries()?))
}

/// Returns one incident and every entry of the journal about it.
///
/// # Errors
/// DV709 where there is none of this id; as [`list`].
pub fn show(host: &Host, id: &str) -> Result<(Incident, Vec<Entry>)> {
    let entries = Journal::of(host).entries()?;
    let incident = registry::find(&registry::replay(&entries), id)?.clone();
    let about = entries.into_iter().filter(|entry| entry.text("incident") == incident.id).collect();
    Ok((incident, about))
}

/// Writes something down about an incident.
///
/// # Errors
/// DV709 where there is none of this id or no words; DV319 or DV410 where the journal is broken or cannot be written.
pub fn note(host: &Host, now: Time, id: &str, text: &str, by: &str) -> Result<Incident> {
    if text.trim().is_empty() {
        return Err(Refusal::new(Code::IncidentUnfit, "a note without words")
            .next("say what you saw or did: `devvault incident note INCIDENT TEXT`")
            .into());
    }
    change(host, now, id, |_, incident| Ok(registry::note(incident, text, by)))
}

/// Closes an incident.
///
/// # Errors
/// DV709 where it cannot be closed: see [`registry::closing`]; DV319 or DV410 where the journal is broken or cannot be
/// written.
pub fn close(host: &Host, now: Time, id: &str, reason: &str, by: &str, decision: Option<&str>) -> Result<Incident> {
    change(host, now, id, |entries, incident| registry::closing(entries, incident, reason, by, decision))
}

/// The post-mortem of an incident.
#[derive(Debug, Clone)]
pub struct PostMortem {
    /// The incident.
    pub incident: Incident,
    /// The text, in Markdown.
    pub text: String,
}

/// Writes the post-mortem of an incident in Markdown. The report stays due until whoever has it says so: see [`reported`].
///
/// # Errors
/// As [`show`].
pub fn report(host: &Host, now: Time, id: &str) -> Result<PostMortem> {
    let entries = Journal::of(host).entries()?;
    let incident = registry::find(&registry::replay(&entries), id)?.clone();
    let text = post_mortem(&incident, &entries, now);
    Ok(PostMortem { incident, text })
}

/// Notes that the report of an incident was written and handed over.
///
/// # Errors
/// As [`show`]; DV410 where the journal cannot be written: the report stays due.
pub fn reported(host: &Host, now: Time, id: &str) -> Result<Incident> {
    change(host, now, id, |_, incident| Ok(registry::reported(incident)))
}

fn change(
    host: &Host,
    now: Time,
    id: &str,
    decide: impl FnOnce(&[Entry], &Incident) -> Result<Event>,
) -> Result<Incident> {
    let journal = Journal::of(host);
    journal.append_if(now, true, |entries| {
        let incidents = registry::replay(entries);
        Ok(vec![decide(entries, registry::find(&incidents, id)?)?])
    })?;
    let incidents = registry::replay(&journal.entries()?);
    registry::find(&incidents, id).cloned()
}

macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{ let _ = writeln!($out, $($arg)*); }};
}

/// Returns the post-mortem: what is known stands there, what only people know is left as boxes.
pub(super) fn post_mortem(incident: &Incident, all: &[Entry], now: Time) -> String {
    let mut out = String::new();
    let codes: Vec<String> = incident.codes.iter().map(ToString::to_string).collect();
    line!(out, "# Post-mortem of incident {}\n", incident.id);
    line!(out, "| | |\n|---|---|");
    line!(out, "| vault | {} |", incident.vault.map_or_else(|| "unknown".to_owned(), |vault| vault.to_string()));
    line!(out, "| place | {} |", cell(&incident.place));
    line!(out, "| severity | {} |", incident.severity);
    line!(out, "| codes | {} |", codes.join(", "));
    line!(out, "| opened | {} |", incident.opened.rfc3339());
    line!(out, "| state | {} |", incident.state());
    line!(out, "| this report is due | {} |", incident.report_due.rfc3339());
    line!(out, "| this report was written | {} |", now.rfc3339());
    line!(out, "\n## Timeline\n\n| entry | time | what |\n|---|---|---|");
    for entry in timeline(incident, all) {
        line!(out, "| {} | {} | {} |", entry.number, entry.time.rfc3339(), plain(&told(entry, &incident.place)));
    }
    line!(out, "\n## What broke\n");
    for item in &incident.items {
        line!(out, "- {} {}: {} ({})", item.code, cell(&item.subject), item.code.title(), cell(&item.detail));
        for path in &item.paths {
            line!(out, "  - {}", cell(path));
        }
        if item.path_count > item.paths.len() as u64 {
            line!(out, "  - … {} path(s) in all; the evidence names more", item.path_count);
        }
    }
    line!(out, "\n## What was refused\n");
    // What a permit came to is told in the words of whoever closed it.
    let ended = |entry: &Entry, how: &str| entry.act != break_glass::ACT && entry.text("outcome") == how;
    let refused = |entry: &&Entry| ended(entry, "refused");
    section(
        &mut out,
        timeline(incident, all).into_iter().filter(refused).map(|entry| plain(&told(entry, &incident.place))),
    );
    line!(out, "\n## Evidence\n");
    section(&mut out, incident.evidence.iter().map(|path| cell(path)));
    line!(out, "\n## What was decided, and by whom\n");
    let notes =
        incident.notes.iter().map(|note| format!("{} {}: {}", note.time.rfc3339(), cell(&note.by), cell(&note.text)));
    let closed = incident.closed.iter().map(|closed| {
        let decision = closed.decision.as_ref().map_or_else(
            || "a full verification found nothing".to_owned(),
            |decision| format!("decided: {}", cell(decision)),
        );
        format!("{} {} closed it: {} ({decision})", closed.time.rfc3339(), cell(&closed.by), cell(&closed.reason))
    });
    let permits = timeline(incident, all).into_iter().filter_map(permitted);
    section(&mut out, permits.chain(notes).chain(closed));
    line!(out, "\n## What worked\n");
    let worked = |entry: &&Entry| ended(entry, "done");
    section(
        &mut out,
        timeline(incident, all).into_iter().filter(worked).map(|entry| plain(&told(entry, &incident.place))),
    );
    line!(out, "\n## For people to fill in\n");
    for box_ in [
        "What was the cause?",
        "What was lost, if anything, and who was told?",
        "What worked well, what did not?",
        "What will be changed so that it does not happen again? Who does it, until when?",
        "Which step of the runbook was missing, wrong or unclear?",
    ] {
        line!(out, "- [ ] {box_}");
    }
    out
}

/// Says who decided what about a permit; nothing of an entry that tells of no decision.
fn permitted(entry: &Entry) -> Option<String> {
    if entry.act != break_glass::ACT {
        return None;
    }
    let (time, permit) = (entry.time.rfc3339(), cell(entry.text("permit")));
    let by = |name: &str| cell(entry.text(name));
    match entry.text("event") {
        "declared" => Some(format!(
            "{time} {} approved {permit} against the invariant {}, scope {}: {} (way back: {})",
            by("approver"),
            by("invariant"),
            by("scope"),
            by("reason"),
            by("rollback")
        )),
        "cancelled" => Some(format!("{time} {permit} was taken back")),
        "closed" => {
            let uses = entry.data.get("uses").and_then(Value::as_u64);
            let used = match uses {
                Some(0) => ", never used".to_owned(),
                Some(uses) => format!(", used {uses} time(s)"),
                None => String::new(),
            };
            Some(format!("{time} {} closed {permit}{used}: {}", by("by"), by("outcome")))
        }
        _ => None,
    }
}

/// Everything about the incident, and what was done with its vault while it was open.
fn timeline<'a>(incident: &Incident, all: &'a [Entry]) -> Vec<&'a Entry> {
    let end = incident.closed.as_ref().map(|closed| closed.time);
    let first = all.iter().position(|entry| entry.text("incident") == incident.id).unwrap_or(all.len());
    all[first..]
        .iter()
        .filter(|entry| {
            let own = entry.text("incident") == incident.id;
            // What was done with another copy of the vault belongs to the story too.
            let same = entry.vault.is_some() && entry.vault == incident.vault;
            own || (same && end.is_none_or(|end| entry.time <= end))
        })
        .collect()
}

/// Says in one line what an entry tells; where the vault lay, if elsewhere.
fn told(entry: &Entry, place: &str) -> String {
    let mut out = shown(entry.act.as_bytes());
    for name in [
        "event",
        "outcome",
        "code",
        "verdict",
        "snapshot",
        "verified",
        "unauthenticated",
        "damaged",
        "missing",
        "message",
        "reason",
        "decision",
        "text",
        "by",
        "permit",
        "uses",
        "scope",
        "path",
        "destination",
    ] {
        let value = match entry.data.get(name) {
            Some(Value::String(text)) if !text.is_empty() => shown(text.as_bytes()),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        let _ = write!(out, "; {name}: {value}");
    }
    if let Some(other) = entry.place.as_deref().filter(|other| *other != place) {
        let _ = write!(out, "; on the copy in {}", shown(other.as_bytes()));
    }
    out
}

/// Lists lines that cannot break out of their place any more.
fn section(out: &mut String, lines: impl Iterator<Item = String>) {
    let before = out.len();
    for text in lines {
        line!(out, "- {text}");
    }
    if out.len() == before {
        line!(out, "- nothing");
    }
}

/// Returns a text as one line that cannot break out of its place in Markdown.
fn cell(text: &str) -> String {
    plain(&shown(text.as_bytes()))
}

/// Takes from a line what means something in Markdown.
fn plain(line: &str) -> String {
    line.replace('|', "\\|").replace('<', "&lt;")
}
