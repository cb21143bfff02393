//! What a drill did and what it came to.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::compare::Compared;
use super::draw::Sample;
use super::negative::Trial;
use super::objective::Recovery;
use crate::clock::Time;
use crate::crypto::Id;
use crate::error::{Error, shown_path};
use crate::format::PROGRAM;
use crate::format::record::{Counts, Head};
use crate::incident::journal::bounded;
use crate::ops::audit::Told;
use crate::ops::receipt::{self, Drilled, Extent, Found, Receipt};
use crate::ops::select::SourceName;
use crate::path::{EntryPath, shown};
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::Finding;
use crate::vault::witness::Freshness;

/// One step of a drill.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was done, in words.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// What came of it, in words.
    pub said: String,
    /// Whether that is what should have come of it.
    pub passed: bool,
}

/// Why a drill failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code, where devvault refused; nothing where the environment failed.
    pub code: Option<Code>,
    /// What is wrong.
    pub message: String,
    /// Why.
    pub causes: Vec<String>,
    /// What it is about.
    pub paths: Vec<EntryPath>,
    /// The safest next step.
    pub next: String,
    /// What an operation kept about it already.
    pub(super) kept: Kept,
}

impl Failure {
    /// Makes a failure of a refusal or an environment that failed.
    pub(super) fn of(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::of_refusal(*refusal),
            other => Self {
                code: None,
                message: other.to_string(),
                causes: Vec::new(),
                paths: Vec::new(),
                next: "see to what the message names, then do the drill again".into(),
                kept: Kept::default(),
            },
        }
    }

    pub(super) fn of_refusal(refusal: Refusal) -> Self {
        Self {
            code: Some(refusal.code),
            message: refusal.message,
            causes: refusal.causes,
            paths: refusal.paths,
            next: refusal.next,
            kept: refusal.kept,
        }
    }

    /// Returns the process exit status that stands for it.
    pub fn exit(&self) -> u8 {
        self.code.map_or(1, |code| code.family().exit())
    }

    /// Returns it in one line.
    pub fn line(&self) -> String {
        match self.code {
            Some(code) => format!("{code}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// What a drill of a vault did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// Where it lies.
    pub place: String,
    /// The chain's head.
    pub head: Head,
    /// How the chain stands to what the restoring side has seen.
    pub freshness: Freshness,
    /// The snapshot.
    pub snapshot: u64,
    /// Of what it is.
    pub source: SourceName,
    /// Whether it was restored by a process of its own that had nothing but the vault and the key.
    pub clean_machine: bool,
    /// Whether a damaged copy was to be refused too.
    pub negative: bool,
    /// The sample, if not everything was restored.
    pub sample: Option<Sample>,
    /// What the snapshot holds.
    pub counts: Counts,
    /// Its files that have content; further names of a file count once.
    pub files_total: u64,
    /// Their bytes, without holes.
    pub bytes_total: u64,
    /// What was compared; nothing where it did not come so far.
    pub compared: Option<Compared>,
    /// What the restore said that it did not bring back, or not exactly: class, how many objects, why.
    pub short: Vec<(String, u64, String)>,
    /// What was damaged in a copy on purpose.
    pub trials: Vec<Trial>,
    /// Each step, in order.
    pub steps: Vec<Step>,
    /// How long a recovery takes.
    pub recovery: Option<Recovery>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The scratch directory, where it stays as evidence.
    pub scratch: Option<PathBuf>,
    /// What was not expected, in words.
    pub surprises: Vec<String>,
    /// What was not proven, in words.
    pub not_proven: Vec<String>,
    /// The log that this drill was added to.
    pub log: Option<PathBuf>,
    /// What should be said besides, in words.
    pub notes: Vec<String>,
    /// What was kept on this host about a failure.
    pub kept: Kept,
    /// Whether somebody wished to stop while the scratch directory was removed: all else was done.
    pub clean_up_stopped: bool,
    // What the journal and evidence are told of a failure that no operation has told them.
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Returns what was exercised, in one word.
    pub fn scenario(&self) -> &'static str {
        if self.clean_machine { "clean-machine" } else { "restore" }
    }

    /// Returns the process exit status: 0 only where everything was restored and compared as it should be, and 130 where
    /// only its clean-up was interrupted.
    pub fn exit(&self) -> u8 {
        match &self.failure {
            Some(failure) => failure.exit(),
            None if self.clean_up_stopped => 130,
            None => 0,
        }
    }

    /// Makes the drill's receipt.
    pub fn receipt(&self, now: Time) -> Receipt {
        let compared = self.compared.clone().unwrap_or_default();
        let failure = self.failure.iter();
        let found = failure
            .filter_map(|failure| Some(Found { code: failure.code?.to_string(), subject: failure.message.clone() }));
        let passed = self.failure.is_none();
        Receipt {
            act: "drill".into(),
            drill: Some(Drilled {
                bytes: self.bytes_total,
                bytes_compared: compared.bytes,
                files: self.files_total,
                files_compared: compared.files,
                negative: self.trials.len() as u64,
                recovery_milliseconds_high: self
                    .recovery
                    .and_then(|recovery| Some(milliseconds(recovery.seconds_high?))),
                recovery_milliseconds_low: self.recovery.map_or(0, |recovery| milliseconds(recovery.seconds_low)),
                scenario: self.scenario().into(),
            }),
            exit: self.failure.as_ref().map_or(0, Failure::exit),
            // A drill reads what a restore reads, not whole packs.
            extent: Extent::default(),
            findings: found.collect(),
            freshness: self.freshness.to_string(),
            head: self.head,
            level: self.extent().into(),
            made: now,
            platform: receipt::platform(),
            program: PROGRAM.into(),
            schema: receipt::SCHEMA.into(),
            snapshots: vec![(self.snapshot, if passed { "passed" } else { "failed" }.into())],
            vault: self.vault,
            verdict: if passed { "passed" } else { "failed" }.into(),
        }
    }

    /// Returns how much was restored, in one word.
    pub fn extent(&self) -> &'static str {
        if self.sample.is_some() { "sample" } else { "whole" }
    }

    /// Returns how long the steps with this name took, in seconds.
    pub(super) fn seconds(&self, names: &[&str]) -> f64 {
        self.steps.iter().filter(|step| names.contains(&&*step.name)).map(|step| step.seconds).sum()
    }
}

/// Whole milliseconds: numbers are plain integers.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

impl Told for Report {
    fn told(&self) -> Value {
        let steps: serde_json::Map<String, Value> =
            self.steps.iter().map(|step| (step.name.clone(), milliseconds(step.seconds).into())).collect();
        json!({
            "scenario": self.scenario(),
            "extent": self.extent(),
            "negative": self.negative,
            "snapshot": self.snapshot,
            "host": self.source.host,
            "host_id": self.source.host_id.to_string(),
            "source": bounded(&shown(&self.source.path)),
            "head": self.head.to_string(),
            "freshness": self.freshness.to_string(),
            "files": self.compared.as_ref().map(|compared| compared.files),
            "bytes": self.compared.as_ref().map(|compared| compared.bytes.to_string()),
            "milliseconds": steps,
            "recovery_milliseconds": self.recovery.as_ref().map(|recovery| milliseconds(recovery.seconds_low)),
            "recovery_milliseconds_high":
                self.recovery.as_ref().and_then(|recovery| recovery.seconds_high).map(milliseconds),
            "recovery_measured": self.recovery.as_ref().map(|recovery| recovery.is_measured()),
            "objective": self.recovery.as_ref().map(|recovery| recovery.verdict.name()),
            "code": self.failure.as_ref().and_then(|failure| failure.code).map(|code| code.to_string()),
            "message": self.failure.as_ref().map(|failure| bounded(&failure.message)),
            "scratch": self.scratch.as_deref().map(|path| bounded(&shown_path(path))),
        })
    }

    fn outcome(&self) -> Option<&'static str> {
        Some(if self.failure.is_some() { "failed" } else { "done" })
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        if let Some(earlier) = self.failure.as_ref().map(|failure| failure.kept.clone()) {
            kept.evidence = kept.evidence.or(earlier.evidence);
            kept.incident = kept.incident.or(earlier.incident);
        }
        self.kept = kept;
    }
}
