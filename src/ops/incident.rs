//! `incident`: lists, shows, annotates, reports and closes what is open.

use std::fmt::Write;

use serde_json::Value;

use super::audit::Scene;
use crate::clock::Time;
use crate::error::Result;
use crate::host::Host;
use crate::incident::journal::{Entry, Event, Journal};
use crate::incident::registry::{self, Incident};
use crate::path::shown;
use crate::refusal::{Code, Refusal};
use crate::vault::gate::Access;

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

/// Writes the post-mortem of an incident in Markdown, and notes that it was written.
///
/// # Errors
/// As [`show`]; DV410 where the journal cannot be written.
pub fn report(host: &Host, now: Time, id: &str) -> Result<(Incident, String)> {
    let (incident, about) = show(host, id)?;
    let text = post_mortem(&incident, &about, &Journal::of(host).entries()?, now);
    let incident = change(host, now, &incident.id, |_, incident| Ok(registry::reported(incident)))?;
    Ok((incident, text))
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

/// Returns the open incident about a vault, if there is one.
///
/// # Errors
/// As [`list`].
pub fn open_about(access: &Access) -> Result<Option<Incident>> {
    let scene = Scene::of(access);
    Ok(list(&access.host)?
        .into_iter()
        .find(|incident| incident.closed.is_none() && incident.place == scene.place() && incident.vault == scene.vault))
}

macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{ let _ = writeln!($out, $($arg)*); }};
}

/// Returns the post-mortem: what is known stands there, what only people know is left as boxes.
fn post_mortem(incident: &Incident, about: &[Entry], all: &[Entry], now: Time) -> String {
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
        line!(out, "| {} | {} | {} |", entry.number, entry.time.rfc3339(), cell(&told(entry)));
    }
    line!(out, "\n## What broke\n");
    for item in &incident.items {
        line!(
            out,
            "- {} {}: {} ({})",
            item.code,
            shown(item.subject.as_bytes()),
            item.code.title(),
            cell(&item.detail)
        );
        for path in &item.paths {
            line!(out, "  - {}", cell(path));
        }
        if item.path_count > item.paths.len() as u64 {
            line!(out, "  - … {} path(s) in all; the evidence names more", item.path_count);
        }
    }
    line!(out, "\n## What was refused\n");
    section(&mut out, about.iter().filter(|entry| entry.text("outcome") == "refused").map(told));
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
    section(&mut out, notes.chain(closed));
    line!(out, "\n## What worked\n");
    let worked = |entry: &&Entry| ["done"].contains(&entry.text("outcome")) || entry.text("verdict") == "valid";
    section(&mut out, timeline(incident, all).into_iter().filter(worked).map(told));
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

/// Everything about the incident, and what was done with its vault while it was open.
fn timeline<'a>(incident: &Incident, all: &'a [Entry]) -> Vec<&'a Entry> {
    let end = incident.closed.as_ref().map(|closed| closed.time);
    let first = all.iter().position(|entry| entry.text("incident") == incident.id).unwrap_or(all.len());
    all[first..]
        .iter()
        .filter(|entry| {
            let own = entry.text("incident") == incident.id;
            let same = entry.place.as_deref() == Some(&incident.place) && entry.vault == incident.vault;
            own || (same && end.is_none_or(|end| entry.time <= end))
        })
        .collect()
}

/// Says in one line what an entry tells.
fn told(entry: &Entry) -> String {
    let mut out = shown(entry.act.as_bytes());
    for name in ["event", "outcome", "code", "verdict", "snapshot", "message", "reason", "decision", "text", "by"] {
        let value = match entry.data.get(name) {
            Some(Value::String(text)) if !text.is_empty() => shown(text.as_bytes()),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        let _ = write!(out, "; {name}: {value}");
    }
    out
}

fn section(out: &mut String, lines: impl Iterator<Item = String>) {
    let before = out.len();
    for text in lines {
        line!(out, "- {}", cell(&text));
    }
    if out.len() == before {
        line!(out, "- nothing");
    }
}

/// Returns a text that cannot break out of its place in Markdown.
fn cell(text: &str) -> String {
    shown(text.as_bytes()).replace('|', "\\|").replace('<', "&lt;")
}
