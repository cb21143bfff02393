//! `journal`: its arguments and how its reports read.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::args::some_words;
use super::{Session, human, json as documents, line, worst};
use crate::clock::SystemClock;
use crate::error::{Result, shown_path};
use crate::incident::journal::Entry;
use crate::ops::journal;
use crate::path::shown;

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
        #[arg(long, value_name = "WHY", value_parser = some_words)]
        reason: String,
    },
}

impl Session {
    pub(super) fn journal(&self, command: &Journal) -> Result<u8> {
        match command {
            Journal::Show { last, act } => {
                let report = journal::show(&self.host, *last, act.as_deref())?;
                self.show(worst(&report.findings), journal_shown_json(&report), || journal_shown(&report))
            }
            Journal::Verify => {
                let report = journal::verify(&self.host, self.access().ok().as_ref())?;
                self.show(worst(&report.findings), journal_checked_json(&report), || journal_checked(&report))
            }
            Journal::Export { file } => {
                let report = journal::export(&self.host, self.vault_at_hand().as_deref(), file)?;
                let text = || format!("{} entries were written to {}\n", report.entries, shown_path(&report.path));
                self.done(moved_json("export", &report), text)
            }
            Journal::Restart { reason } => {
                let report = journal::restart(&self.host, self.access().ok().as_ref(), &SystemClock, reason)?;
                let text = || {
                    let mut out = String::new();
                    match report.path.exists() {
                        true => {
                            line!(out, "a new journal was begun; the old one is kept as {}", shown_path(&report.path))
                        }
                        false => line!(out, "a new journal was begun; of the old one nothing was there"),
                    }
                    human::notes(&mut out, &report.notes);
                    out
                };
                self.done(moved_json("restart", &report), text)
            }
        }
    }
}

pub(super) fn entry_json(entry: &Entry) -> Value {
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
pub(super) fn entry_line(entry: &Entry) -> String {
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

fn journal_shown_json(report: &journal::Shown) -> Value {
    json!({
        "schema": "devvault.journal/1",
        "ok": report.findings.is_empty(),
        "total": report.total,
        "entries": report.entries.iter().map(entry_json).collect::<Vec<_>>(),
        "findings": documents::findings(&report.findings),
        "notes": report.notes,
    })
}

fn journal_checked(report: &journal::Checked) -> String {
    let mut out = String::new();
    line!(out, "{}: the journal {}", report.verdict().to_uppercase(), shown_path(&report.path));
    match report.verdict() {
        "absent" => line!(out, "  there is none, or it holds no entry: nothing was checked"),
        _ => line!(out, "  {} entries, each continuing the one before", report.entries),
    }
    if let (Some(head), Some(time)) = (report.head, report.time) {
        line!(out, "  the newest: {head} of {}", time.rfc3339());
    }
    if report.anchors > 0 {
        line!(out, "  {} snapshot(s) name an entry of it, and each is there", report.anchors);
    }
    if let Some((snapshots, begun)) = &report.given_up {
        let numbers: Vec<String> = snapshots.iter().map(u64::to_string).collect();
        line!(
            out,
            "  it was begun anew {}; with the old one went the entries that these snapshots name: {}",
            begun.rfc3339(),
            numbers.join(", ")
        );
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

fn journal_checked_json(report: &journal::Checked) -> Value {
    json!({
        "schema": "devvault.journal-verify/1",
        "ok": report.findings.is_empty(),
        "verdict": report.verdict(),
        "path": shown_path(&report.path),
        "entries": report.entries,
        "head": report.head.map(|head| head.to_string()),
        "time": report.time.map(|time| time.rfc3339()),
        "anchors": report.anchors,
        "given_up": report.given_up.as_ref().map(|(snapshots, begun)| json!({
            "snapshots": snapshots, "begun": begun.rfc3339(),
        })),
        "set_aside": report.set_aside.iter().map(|path| shown_path(path)).collect::<Vec<_>>(),
        "findings": documents::findings(&report.findings),
        "not_checked": report.not_checked,
        "notes": report.notes,
    })
}

fn moved_json(act: &str, report: &journal::Moved) -> Value {
    json!({
        "schema": "devvault.journal/1",
        "ok": true,
        "act": act,
        "path": shown_path(&report.path),
        "entries": report.entries,
        "notes": report.notes,
    })
}
