//! The commands for an operator after something went wrong, and their reports.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Session, human, json as documents, worst};
use crate::clock::{Clock, SystemClock, Time};
use crate::error::{Result, shown_path};
use crate::incident::journal::Entry;
use crate::incident::registry::Incident;
use crate::ops::{evidence, incident, journal};
use crate::path::shown;

/// Collects lines; writing into a string cannot fail.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{ let _ = writeln!($out, $($arg)*); }};
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show, check or export this host's journal of what was done with vaults
    Journal {
        #[command(subcommand)]
        command: Journal,
    },

    /// List, show, annotate, report and close incidents
    ///
    /// A failure of integrity or authenticity opens an incident about the vault and its place. While it is open, this host
    /// removes nothing from that vault.
    Incident {
        #[command(subcommand)]
        command: Incidents,
    },

    /// Pack everything that explains an incident into one file, or check such a file
    Evidence {
        #[command(subcommand)]
        command: Evidence,
    },
}

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

#[derive(Debug, Subcommand)]
pub(super) enum Evidence {
    /// Pack journal, evidence, records, listings and digests of damaged packs into a new file
    ///
    /// Reads the vault and writes only OUT. Needs no key, and works when the vault does not open or cannot be written.
    Capture {
        /// The bundle, a tar file that does not exist yet
        #[arg(value_name = "OUT")]
        file: PathBuf,
        /// Only what belongs to this incident
        #[arg(long, value_name = "INCIDENT")]
        incident: Option<String>,
        /// Also copy damaged packs as they are
        #[arg(long)]
        raw: bool,
        /// Read every pack of the vault to find damaged ones; without it, those that the incident names
        #[arg(long)]
        all_packs: bool,
    },
    /// Check every file of a bundle against its manifest, and the manifest's tag where the key is at hand
    Verify {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// Show the newest entries
    Show {
        /// How many entries
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
        /// Only entries of this act, such as `backup` or `verify`
        #[arg(long, value_name = "ACT")]
        act: Option<String>,
    },
    /// Prove that no entry was cut off, edited or reordered
    ///
    /// With a vault and its key, also that every entry is there which this host's snapshots name: a journal that was
    /// replaced as a whole is found so.
    Verify,
    /// Write every entry to a file that does not exist yet
    Export {
        /// The file
        #[arg(value_name = "OUT")]
        file: PathBuf,
    },
    /// Set a broken journal aside, complete, and begin a new one
    Restart {
        /// What you found, and why you go on; the new journal begins with it
        #[arg(long, value_name = "WHY")]
        reason: String,
    },
}

impl Session {
    pub(super) fn incident(&self, command: &Command) -> Result<u8> {
        match command {
            Command::Journal { command } => self.journal(command),
            Command::Incident { command } => self.incidents(command),
            Command::Evidence { command } => self.evidence(command),
        }
    }

    fn journal(&self, command: &Journal) -> Result<u8> {
        match command {
            Journal::Show { last, act } => {
                let report = journal::show(&self.host, *last, act.as_deref())?;
                self.show(journal_shown_json(&report), || journal_shown(&report))?;
                Ok(worst(&report.findings))
            }
            Journal::Verify => {
                let report = journal::verify(&self.host, self.access().ok().as_ref())?;
                self.show(journal_checked_json(&report), || journal_checked(&report))?;
                Ok(worst(&report.findings))
            }
            Journal::Export { file } => {
                let report = journal::export(&self.host, file)?;
                let text = || format!("{} entries were written to {}\n", report.entries, shown_path(&report.path));
                self.done(moved_json("export", &report), text)
            }
            Journal::Restart { reason } => {
                let report = journal::restart(&self.host, &SystemClock, reason)?;
                let text = || {
                    let mut out = String::new();
                    line!(out, "a new journal was begun; the old one is kept as {}", shown_path(&report.path));
                    human::notes(&mut out, &report.notes);
                    out
                };
                self.done(moved_json("restart", &report), text)
            }
        }
    }
}

impl Session {
    fn incidents(&self, command: &Incidents) -> Result<u8> {
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
                let (one, text) = incident::report(&self.host, now, id)?;
                let document = json!({
                    "schema": "devvault.incident-report/1",
                    "ok": true,
                    "incident": one.id,
                    "report_due": one.report_due.rfc3339(),
                    "text": text,
                });
                self.done(document.to_string(), || text.clone())
            }
        }
    }

    fn evidence(&self, command: &Evidence) -> Result<u8> {
        match command {
            Evidence::Capture { file, incident, raw, all_packs } => {
                let options = evidence::Options { incident: incident.clone(), raw: *raw, all_packs: *all_packs };
                let report = evidence::capture(&self.access()?, file, &options)?;
                self.done(captured_json(&report), || captured(&report, &super::program()))
            }
            Evidence::Verify { file } => {
                let report = evidence::verify(&self.host, self.args.key_file.as_deref(), file)?;
                self.show(bundle_json(&report), || bundle_checked(&report))?;
                Ok(worst(&report.findings))
            }
        }
    }
}

/// Returns who acts, as far as the session tells.
fn who(named: Option<&String>) -> String {
    let user = || ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.cloned().or_else(user).filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".into())
}

fn incidents_json(all: &[Incident], entries: &[Entry], now: Time) -> String {
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
            "items": crate::incident::registry::items_to_json(&incident.items),
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
    document.to_string()
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
        line!(out, "  what it names stays broken: it is reported again, but opens no new incident");
    }
    if incident.reported.is_none() {
        line!(out, "  its report is due {}: devvault incident report {}", incident.report_due.rfc3339(), incident.id);
    }
    out
}

fn captured(report: &evidence::Captured, words: &str) -> String {
    let mut out = String::new();
    line!(out, "evidence was packed into {}: {} files, {} bytes", shown_path(&report.path), report.files, report.bytes);
    line!(out, "  manifest: {}", report.manifest);
    for name in &report.damaged {
        line!(out, "  damaged: {name}");
    }
    for what in report.unreadable.iter().take(crate::limits::SHOWN_PATHS_MAX) {
        line!(out, "  could not be read: {what}");
    }
    if report.unreadable.len() > crate::limits::SHOWN_PATHS_MAX {
        line!(out, "  … and {} more; --json names all", report.unreadable.len() - crate::limits::SHOWN_PATHS_MAX);
    }
    human::notes(&mut out, &report.notes);
    line!(out, "nothing was changed in the vault");
    line!(out, "check it: {words} evidence verify {}", super::quoted(&report.path.to_string_lossy()));
    out
}

fn captured_json(report: &evidence::Captured) -> String {
    json!({
        "schema": "devvault.evidence-capture/1",
        "ok": true,
        "path": shown_path(&report.path),
        "files": report.files,
        "bytes": report.bytes,
        "manifest": report.manifest.to_string(),
        "authenticated": report.authenticated,
        "damaged": report.damaged,
        "unreadable": report.unreadable,
        "notes": report.notes,
    })
    .to_string()
}

fn bundle_checked(report: &evidence::Verified) -> String {
    let mut out = String::new();
    let verdict = if report.findings.is_empty() { "INTACT" } else { "NOT INTACT" };
    line!(out, "{verdict}: the bundle {}", shown_path(&report.path));
    line!(out, "  {} files are what was packed", report.files);
    if let Some(time) = report.time {
        line!(out, "  packed {}", time.rfc3339());
    }
    if report.authenticated == Some(true) {
        line!(out, "  its manifest carries the tag of this vault's key");
    }
    for what in &report.unreadable {
        line!(out, "  could not be read when it was packed: {}", shown(what.as_bytes()));
    }
    for what in &report.not_checked {
        line!(out, "  not checked: {what}");
    }
    human::findings(&mut out, &report.findings);
    out
}

fn bundle_json(report: &evidence::Verified) -> String {
    json!({
        "schema": "devvault.evidence-verify/1",
        "verdict": if report.findings.is_empty() { "intact" } else { "damaged" },
        "path": shown_path(&report.path),
        "time": report.time.map(Time::rfc3339),
        "vault": report.vault.map(|vault| vault.to_string()),
        "incident": report.incident,
        "files": report.files,
        "manifest": report.manifest.map(|digest| digest.to_string()),
        "authenticated": report.authenticated,
        "unreadable": report.unreadable,
        "not_checked": report.not_checked,
        "findings": documents::findings(&report.findings),
        "exit": worst(&report.findings),
    })
    .to_string()
}

fn entry_json(entry: &Entry) -> Value {
    json!({
        "number": entry.number,
        "time": entry.time.rfc3339(),
        "act": entry.act,
        "vault": entry.vault.map(|vault| vault.to_string()),
        "place": entry.place,
        "data": entry.data,
        "program": entry.program,
    })
}

/// One line of an entry: its number, time, act, and what a person would look for first.
fn entry_line(entry: &Entry) -> String {
    let mut out = format!("{:>6}  {}  {}", entry.number, entry.time.rfc3339(), shown(entry.act.as_bytes()));
    for name in [
        "event",
        "outcome",
        "code",
        "verdict",
        "level",
        "snapshot",
        "source",
        "destination",
        "path",
        "incident",
        "permit",
        "message",
        "reason",
        "text",
    ] {
        let value = match entry.data.get(name) {
            Some(Value::String(text)) if !text.is_empty() => shown(text.as_bytes()),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        let _ = write!(out, "  {name}: {value}");
    }
    if let Some(place) = &entry.place {
        let _ = write!(out, "  vault: {}", shown(place.as_bytes()));
    }
    out
}

fn journal_shown(report: &journal::Shown) -> String {
    let mut out = String::new();
    if report.entries.is_empty() {
        line!(out, "no such entry in the journal");
    }
    for entry in &report.entries {
        line!(out, "{}", entry_line(entry));
    }
    human::findings(&mut out, &report.findings);
    human::notes(&mut out, &report.notes);
    out
}

fn journal_shown_json(report: &journal::Shown) -> String {
    json!({
        "schema": "devvault.journal/1",
        "total": report.total,
        "entries": report.entries.iter().map(entry_json).collect::<Vec<_>>(),
        "findings": documents::findings(&report.findings),
        "notes": report.notes,
    })
    .to_string()
}

fn journal_checked(report: &journal::Checked) -> String {
    let mut out = String::new();
    let verdict = if report.findings.is_empty() { "SOUND" } else { "BROKEN" };
    line!(out, "{verdict}: the journal {}", shown_path(&report.path));
    line!(out, "  {} entries, each continuing the one before", report.entries);
    if let (Some(head), Some(time)) = (report.head, report.time) {
        line!(out, "  the newest: {head} of {}", time.rfc3339());
    }
    if report.anchors > 0 {
        line!(out, "  {} snapshot(s) name an entry of it, and each is there", report.anchors);
    }
    for path in &report.set_aside {
        line!(out, "  set aside before: {}", shown_path(path));
    }
    for what in &report.not_checked {
        line!(out, "  not checked: {what}");
    }
    human::findings(&mut out, &report.findings);
    human::notes(&mut out, &report.notes);
    out
}

fn journal_checked_json(report: &journal::Checked) -> String {
    json!({
        "schema": "devvault.journal-verify/1",
        "verdict": if report.findings.is_empty() { "sound" } else { "broken" },
        "path": shown_path(&report.path),
        "entries": report.entries,
        "head": report.head.map(|head| head.to_string()),
        "time": report.time.map(|time| time.rfc3339()),
        "anchors": report.anchors,
        "set_aside": report.set_aside.iter().map(|path| shown_path(path)).collect::<Vec<_>>(),
        "findings": documents::findings(&report.findings),
        "not_checked": report.not_checked,
        "notes": report.notes,
        "exit": worst(&report.findings),
    })
    .to_string()
}

fn moved_json(act: &str, report: &journal::Moved) -> String {
    json!({
        "schema": "devvault.journal/1",
        "ok": true,
        "act": act,
        "path": shown_path(&report.path),
        "entries": report.entries,
        "notes": report.notes,
    })
    .to_string()
}
