//! `incident`: its arguments and how its reports read.

use clap::Subcommand;
use serde_json::{Value, json};

use super::journal::{entry_json, entry_line};
use super::{Session, human, line, talk};
use crate::clock::{Clock, SystemClock, Time};
use crate::error::Result;
use crate::fsys;
use crate::incident::journal::Entry;
use crate::incident::registry::{self, Incident};
use crate::ops::incident;
use crate::path::shown;

#[derive(Debug, Subcommand)]
pub(super) enum Incidents {
    /// List every incident of this host
    List,
    /// Show one incident: what was found, what was kept, what was written down
    Show {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
    },
    /// Write something down about an incident
    Note {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
        /// What you saw, did or decided
        text: String,
        /// Who you are [default: the user of this session]
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Close an incident
    ///
    /// Needs a full verification of the whole vault that found nothing, made after the incident last grew; or a decision
    /// that says what stays broken, and why.
    Close {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
        /// Why it is over
        #[arg(long, value_name = "WHY")]
        reason: String,
        /// What stays broken, and that this was decided
        #[arg(long, value_name = "WHAT")]
        decision: Option<String>,
        /// Who decides [default: the user of this session]
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Write the post-mortem in Markdown: timeline, evidence, decisions, and boxes for what only people know
    Report {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
    },
}

impl Session {
    pub(super) fn incidents(&self, command: &Incidents) -> Result<u8> {
        let now = SystemClock.now();
        match command {
            Incidents::List => {
                let all = incident::list(&self.host)?;
                self.done(incidents_json(&all, &[], now), || incidents_listed(&all, now))
            }
            Incidents::Show { id } => {
                let (one, entries) = incident::show(&self.host, id)?;
                let text = || incident_shown(&one, &entries, now);
                self.done(incidents_json(std::slice::from_ref(&one), &entries, now), text)
            }
            Incidents::Note { id, text, by } => {
                let one = incident::note(&self.host, now, id, text, &who(by.as_ref()))?;
                let text = || format!("noted in incident {}\n", one.id);
                self.done(incidents_json(std::slice::from_ref(&one), &[], now), text)
            }
            Incidents::Close { id, reason, decision, by } => {
                let one = incident::close(&self.host, now, id, reason, &who(by.as_ref()), decision.as_deref())?;
                let text = || incident_closed(&one);
                self.done(incidents_json(std::slice::from_ref(&one), &[], now), text)
            }
            Incidents::Report { id } => {
                let report = incident::report(&self.host, now, id)?;
                let document = json!({
                    "schema": "devvault.incident-report/1",
                    "ok": true,
                    "incident": report.incident.id,
                    "report_due": report.incident.report_due.rfc3339(),
                    "text": report.text,
                });
                // The text alone stands on stdout: it goes into a file. What could not be written there nobody has.
                let exit = self.done(document, || report.text.clone())?;
                if let Err(error) = incident::reported(&self.host, now, id) {
                    let note = format!("that the report was written could not be journaled; it stays due: {error}");
                    let mut notes = String::new();
                    human::notes(&mut notes, &[note]);
                    talk(&notes);
                }
                Ok(exit)
            }
        }
    }
}

/// Returns who acts, as far as the session tells.
pub(super) fn who(named: Option<&String>) -> String {
    let given = |name: &&str| std::env::var(name).ok().filter(|name| !name.is_empty());
    let user = || ["USER", "LOGNAME", "USERNAME"].iter().find_map(given).or_else(fsys::own_user);
    named.cloned().filter(|name| !name.is_empty()).or_else(user).unwrap_or_else(|| "somebody".into())
}

fn incidents_json(all: &[Incident], entries: &[Entry], now: Time) -> Value {
    let one = |incident: &Incident| {
        json!({
            "incident": incident.id,
            "vault": incident.vault.map(|vault| vault.to_string()),
            "place": incident.place,
            "state": incident.state(),
            "severity": incident.severity,
            "codes": incident.codes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "opened": incident.opened.rfc3339(),
            "report_due": incident.report_due.rfc3339(),
            "reported": incident.reported.map(Time::rfc3339),
            "overdue": incident.is_overdue(now),
            "evidence": incident.evidence,
            "items": registry::items_to_json(&incident.items),
            "notes": incident.notes.iter().map(|note| json!({
                "time": note.time.rfc3339(), "by": note.by, "text": note.text,
            })).collect::<Vec<_>>(),
            "closed": incident.closed.as_ref().map(|closed| json!({
                "time": closed.time.rfc3339(),
                "reason": closed.reason,
                "by": closed.by,
                "decision": closed.decision,
            })),
        })
    };
    let mut document = json!({
        "schema": "devvault.incidents/1",
        "ok": true,
        "incidents": all.iter().map(one).collect::<Vec<_>>(),
    });
    if !entries.is_empty() {
        document["journal"] = entries.iter().map(entry_json).collect();
    }
    document
}

fn codes(incident: &Incident) -> String {
    incident.codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn due(incident: &Incident, now: Time) -> String {
    match incident.reported {
        Some(time) => format!("report written {}", time.rfc3339()),
        None if incident.is_overdue(now) => format!("report OVERDUE since {}", incident.report_due.rfc3339()),
        None => format!("report due {}", incident.report_due.rfc3339()),
    }
}

fn incidents_listed(all: &[Incident], now: Time) -> String {
    let mut out = String::new();
    if all.is_empty() {
        line!(out, "no incidents on this host");
    }
    for incident in all {
        line!(
            out,
            "{}  {:6}  {}  {}  opened {}  {}  vault: {}",
            incident.id,
            incident.state(),
            incident.severity,
            codes(incident),
            incident.opened.rfc3339(),
            due(incident, now),
            shown(incident.place.as_bytes())
        );
    }
    out
}

fn incident_shown(incident: &Incident, entries: &[Entry], now: Time) -> String {
    let mut out = String::new();
    line!(out, "incident {}: {}, {}", incident.id, incident.state(), incident.severity);
    let vault = incident.vault.map_or_else(|| "of unknown id".to_owned(), |vault| vault.to_string());
    line!(out, "  vault {vault} in {}", shown(incident.place.as_bytes()));
    line!(out, "  opened {}; {}", incident.opened.rfc3339(), due(incident, now));
    for item in &incident.items {
        line!(out, "  {} {}: {}", item.code, shown(item.subject.as_bytes()), item.code.title());
    }
    for path in &incident.evidence {
        line!(out, "  evidence: {}", shown(path.as_bytes()));
    }
    for note in &incident.notes {
        line!(out, "  {} {}: {}", note.time.rfc3339(), shown(note.by.as_bytes()), shown(note.text.as_bytes()));
    }
    for entry in entries {
        line!(out, "  journal {}", entry_line(entry).trim_start());
    }
    if let Some(closed) = &incident.closed {
        let (by, reason) = (shown(closed.by.as_bytes()), shown(closed.reason.as_bytes()));
        line!(out, "closed {} by {by}: {reason}", closed.time.rfc3339());
        if let Some(decision) = &closed.decision {
            line!(out, "  decided: {}", shown(decision.as_bytes()));
        }
    } else {
        line!(out, "while it is open, this host removes nothing from that vault");
        if let Some(code) = incident.codes.first() {
            line!(out, "next: devvault runbook {code}");
        }
    }
    out
}

fn incident_closed(incident: &Incident) -> String {
    let mut out = String::new();
    line!(out, "incident {} is closed", incident.id);
    if incident.closed.as_ref().is_some_and(|closed| closed.decision.is_some()) {
        line!(
            out,
            "  what it names stays broken: it is reported again, but opens no new incident until it was whole in between"
        );
    }
    if incident.reported.is_none() {
        line!(out, "  its report is due {}: devvault incident report {}", incident.report_due.rfc3339(), incident.id);
    }
    out
}
