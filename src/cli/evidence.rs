//! `evidence`: its arguments and how its reports read.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Session, human, json as documents, line, program, worst};
use crate::clock::Time;
use crate::error::{Result, shown_path};
use crate::limits;
use crate::ops::evidence::{self, Maker};
use crate::path::{quoted, shown};

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
        /// Read every pack of the vault to find damaged ones; without it, those that incidents about this vault name, or that
        /// the one named by --incident does
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

impl Session {
    pub(super) fn evidence(&self, command: &Evidence) -> Result<u8> {
        match command {
            Evidence::Capture { file, incident, raw, all_packs } => {
                let options = evidence::Options { incident: incident.clone(), raw: *raw, all_packs: *all_packs };
                let report = evidence::capture(&self.access()?, file, &options)?;
                self.done(captured_json(&report), || captured(&report, &program()))
            }
            Evidence::Verify { file } => {
                let report = evidence::verify(&self.host, self.args.key_file.as_deref(), file)?;
                self.show(worst(&report.findings), bundle_json(&report), || bundle_checked(&report))
            }
        }
    }
}

fn captured(report: &evidence::Captured, words: &str) -> String {
    let mut out = String::new();
    line!(out, "evidence was packed into {}: {} files, {} bytes", shown_path(&report.path), report.files, report.bytes);
    line!(out, "  manifest: {}", report.manifest);
    line!(out, "  packs read: {}, of which {} are damaged", report.packs_read, report.damaged.len());
    for name in &report.damaged {
        line!(out, "  damaged: {name}");
    }
    for what in report.unreadable.iter().take(limits::SHOWN_PATHS_MAX) {
        line!(out, "  could not be read: {what}");
    }
    if report.unreadable.len() > limits::SHOWN_PATHS_MAX {
        line!(out, "  … and {} more; --json names all", report.unreadable.len() - limits::SHOWN_PATHS_MAX);
    }
    human::notes(&mut out, &report.notes);
    line!(out, "nothing was changed in the vault");
    line!(out, "check it: {words} evidence verify {}", quoted(&report.path.to_string_lossy()));
    out
}

fn captured_json(report: &evidence::Captured) -> Value {
    json!({
        "schema": "devvault.evidence-capture/1",
        "ok": true,
        "path": shown_path(&report.path),
        "files": report.files,
        "bytes": report.bytes,
        "manifest": report.manifest.to_string(),
        "authenticated": report.authenticated,
        "packs_read": report.packs_read,
        "damaged": report.damaged,
        "unreadable": report.unreadable,
        "notes": report.notes,
    })
}

fn bundle_checked(report: &evidence::Verified) -> String {
    let mut out = String::new();
    let verdict = match report.verdict() {
        "intact" => "INTACT",
        "unproven" => "UNPROVEN",
        _ => "NOT INTACT",
    };
    line!(out, "{verdict}: the bundle {}", shown_path(&report.path));
    line!(out, "  {} files are what was packed", report.files);
    if let Some(time) = report.time {
        line!(out, "  packed {}", time.rfc3339());
    }
    match report.maker {
        Maker::Key => line!(out, "  its manifest carries the tag of this vault's key"),
        Maker::Journal(entry) => line!(out, "  this host packed it: entry {entry} of its journal names the manifest"),
        Maker::Unknown if report.findings.is_empty() => {
            line!(out, "  nothing proves who made it: its files agree with its own list, no more");
        }
        Maker::Unknown => line!(out, "  nothing proves who made it"),
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

fn bundle_json(report: &evidence::Verified) -> Value {
    json!({
        "schema": "devvault.evidence-verify/1",
        "ok": report.findings.is_empty(),
        "verdict": report.verdict(),
        "path": shown_path(&report.path),
        "time": report.time.map(Time::rfc3339),
        "vault": report.vault.map(|vault| vault.to_string()),
        "incident": report.incident,
        "files": report.files,
        "manifest": report.manifest.map(|digest| digest.to_string()),
        "authenticated": report.maker == Maker::Key,
        "journal_entry": match report.maker {
            Maker::Journal(entry) => Some(entry),
            Maker::Key | Maker::Unknown => None,
        },
        "unreadable": report.unreadable,
        "not_checked": report.not_checked,
        "findings": documents::findings(&report.findings),
    })
}
