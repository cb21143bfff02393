//! Scenarios: the runbook's procedures, exercised step by step on a throw-away vault with a host of its own.
//!
//! Invariants: nothing of the operator's is touched but the journal and the drill log, which say that the scenario was
//! played; every step states what should come of it, and the first one that comes out otherwise ends the scenario.

mod escrow;
mod full;
mod interrupted;
mod store;
mod tampered;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::log;
use super::report::{Failure, Step, milliseconds};
use super::scratch::{Apart, Scratch};
use crate::clock::{Clock, SystemClock};
use crate::crypto::Digest;
use crate::error::{Error, Result, shown_path};
use crate::format::config::Parameters;
use crate::host::Host;
use crate::incident::journal::bounded;
use crate::ops::audit::{self, Told};
use crate::ops::select::{Place, Selector};
use crate::ops::{backup, init, restore, verify};
use crate::path::EntryPath;
use crate::progress::Silent;
use crate::refusal::{Code, Kept};
use crate::store::Store;
use crate::vault::gate::Access;

/// A procedure of the runbook that can be exercised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The host is lost; the exported key and the vault are all that is left.
    EscrowRestore,
    /// A backup ends in the middle, as if the power had failed.
    InterruptedBackup,
    /// The vault's medium is full.
    FullVault,
    /// Somebody changed a manifest.
    TamperedManifest,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 4] = [Self::EscrowRestore, Self::InterruptedBackup, Self::FullVault, Self::TamperedManifest];

    /// Returns the scenario's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::EscrowRestore => "escrow-restore",
            Self::InterruptedBackup => "interrupted-backup",
            Self::FullVault => "full-vault",
            Self::TamperedManifest => "tampered-manifest",
        }
    }

    /// Returns the section of the runbook that it exercises.
    pub fn runbook(self) -> &'static str {
        match self {
            Self::EscrowRestore => "lost-vault-disk-or-restore-on-a-clean-machine",
            Self::InterruptedBackup => "interrupted-backup",
            Self::FullVault => "DV403",
            Self::TamperedManifest => "suspected-tampering-or-ransomware",
        }
    }

    /// Returns what is simulated, and how, in words; what really happens needs no words.
    pub fn simulated(self) -> &'static str {
        match self {
            Self::EscrowRestore => "the loss of the host: its configuration and state directories are removed",
            Self::InterruptedBackup => {
                "the loss of power: the vault's medium takes no further write from one moment on; nothing is killed"
            }
            Self::FullVault => {
                "the full medium: after so many bytes every write fails as on a full disk; no real disk is filled"
            }
            Self::TamperedManifest => "the attacker: one bit of a manifest is flipped",
        }
    }

    fn play(self, stage: &mut Stage) -> Result<()> {
        match self {
            Self::EscrowRestore => escrow::play(stage),
            Self::InterruptedBackup => interrupted::play(stage),
            Self::FullVault => full::play(stage),
            Self::TamperedManifest => tampered::play(stage),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == text)
            .ok_or_else(|| format!("the scenarios are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// What a scenario came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The scenario.
    pub scenario: Scenario,
    /// Each step, in order.
    pub steps: Vec<Step>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The scratch directory, where it stays as evidence.
    pub scratch: Option<PathBuf>,
    /// The log that it was added to.
    pub log: Option<PathBuf>,
    /// What should be said besides, in words.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns the process exit status: 0 only where every step came out as it should.
    pub fn exit(&self) -> u8 {
        self.failure.as_ref().map_or(0, Failure::exit)
    }
}

impl Told for Report {
    fn told(&self) -> Value {
        let steps: Vec<Value> =
            self.steps.iter().map(|step| json!([bounded(&step.name), milliseconds(step.seconds)])).collect();
        json!({
            "scenario": self.scenario.name(),
            "milliseconds": steps,
            "code": self.failure.as_ref().and_then(|failure| failure.code).map(|code| code.to_string()),
            "message": self.failure.as_ref().map(|failure| bounded(&failure.message)),
            "scratch": self.scratch.as_deref().map(|path| bounded(&shown_path(path))),
        })
    }

    fn outcome(&self) -> Option<&'static str> {
        Some(if self.failure.is_some() { "failed" } else { "done" })
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
    }
}

/// Room that a scenario needs, in bytes.
const ROOM_BYTES: u64 = 16 << 20;

/// Plays a scenario on a throw-away vault.
///
/// # Errors
/// DV212, DV207 or DV206 where there is no place for it. What goes wrong in it is told by the report.
pub fn run(host: &Host, scenario: Scenario, scratch: Option<&Path>) -> Result<Report> {
    audit::watch_host(host, &SystemClock, "drill", || {
        let scratch = Scratch::create(scratch, &Apart { vault: None, source: None, host }, ROOM_BYTES)?;
        let mut stage = Stage::new(&scratch);
        let outcome = scenario.play(&mut stage);
        let mut report = Report {
            scenario,
            steps: std::mem::take(&mut stage.steps),
            failure: outcome.err().map(Failure::of),
            scratch: None,
            log: None,
            notes: Vec::new(),
        };
        if report.failure.is_some() {
            report.scratch = Some(scratch.path.clone());
        } else if let Err(what) = scratch.remove(None, false, &Silent) {
            report.scratch = Some(scratch.path.clone());
            report.notes.push(what);
        }
        let outcome =
            report.failure.as_ref().map_or_else(|| "passed".into(), |failure| format!("FAILED, {}", failure.line()));
        let told = log::Told {
            title: format!("scenario {scenario}: {outcome}"),
            lines: vec![format!("simulated: {}", scenario.simulated())],
            steps: &report.steps,
            surprises: report.notes.clone(),
        };
        match log::append(host, SystemClock.now(), &told) {
            Ok(path) => report.log = Some(path),
            Err(error) => report.notes.push(format!("the drill log was not written: {error}")),
        }
        Ok(report)
    })
}

/// A throw-away host, its source and its vault.
struct Stage {
    root: PathBuf,
    host: Host,
    steps: Vec<Step>,
}

/// Sizes so small that a few hundred kilobytes make several packs.
const PARAMETERS: Parameters = Parameters {
    block_bytes: 1 << 14,
    chunk_bytes_avg: 1 << 12,
    chunk_bytes_max: 1 << 14,
    chunk_bytes_min: 1 << 10,
    pack_bytes: 1 << 16,
    segment_entries: 8,
    segment_list: 8,
};
/// How many files the throw-away source has, and how long each is.
const FILES: u8 = 24;
const FILE_BYTES: usize = 10_000;

impl Stage {
    fn new(scratch: &Scratch) -> Self {
        Self { root: scratch.path.clone(), host: scratch.host("throw-away"), steps: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    fn source(&self) -> PathBuf {
        self.path("source")
    }

    fn access(&self) -> Access {
        Access::new(self.vault(), self.host.clone())
    }

    fn access_through(&self, store: impl Store + 'static) -> Access {
        Access { store: Some(Arc::new(store)), ..self.access() }
    }

    /// Does a step: the name says what is done, the result what came of it.
    fn step(&mut self, name: &str, act: impl FnOnce(&Self) -> Result<String>) -> Result<()> {
        let begun = Instant::now();
        let outcome = act(self);
        let (said, passed) = match &outcome {
            Ok(said) => (said.clone(), true),
            Err(error) => (error.to_string(), false),
        };
        self.steps.push(Step { name: name.to_owned(), seconds: begun.elapsed().as_secs_f64(), said, passed });
        outcome.map(|_| ())
    }

    /// Makes the vault and takes a first snapshot of a first source.
    fn set_up(&mut self) -> Result<()> {
        self.step("make a vault", |stage| {
            let made = init::run(&stage.access(), PARAMETERS)?;
            Ok(format!("vault {} with a key of its own", made.vault))
        })?;
        self.write_source(1)?;
        self.back_up(1)
    }

    /// Writes the source in a version: what a file holds depends on its name and the version.
    fn write_source(&self, version: u8) -> Result<()> {
        let write = || {
            for file in 0..FILES {
                let directory = self.source().join(format!("directory-{}", file % 4));
                fs::create_dir_all(&directory)?;
                fs::write(directory.join(format!("file-{file}")), content(file, version))?;
            }
            Ok(())
        };
        write().map_err(|error| Error::environment("write the throw-away source", error))
    }

    fn back_up(&mut self, expected: u64) -> Result<()> {
        self.step("back up", |stage| {
            let report = backup::run(&stage.access(), &stage.source(), &backup::Options::default(), &Silent)?;
            expect(report.snapshot == expected && report.exit() == 0, "the backup should have made a snapshot")?;
            Ok(format!("snapshot {} of {} files", report.snapshot, report.counts.files))
        })
    }

    fn verify_is_valid(&mut self, name: &str) -> Result<()> {
        self.step(name, |stage| {
            let report = verify::run(&stage.access(), &[], verify::Level::Full, &Silent)?;
            expect(report.exit() == 0, "everything should have been valid")?;
            Ok(format!("valid: {} snapshot(s), every byte read", report.snapshots.len()))
        })
    }

    /// Restores a snapshot and holds each file against what the source held in that version.
    fn restore_is_exact(&self, access: &Access, number: u64, version: u8) -> Result<String> {
        let place = Place { snapshot: Selector::Number(number), path: EntryPath::root() };
        let destination = self.path(&format!("restored-{number}"));
        restore::run(access, &place, &destination, &restore::Options::default(), &Silent)?;
        let read = |file: u8| fs::read(destination.join(format!("directory-{}/file-{file}", file % 4)));
        let same = (0..FILES).all(|file| read(file).is_ok_and(|bytes| bytes == content(file, version)));
        expect(same, "what was restored should have been what the source held")?;
        Ok(format!("{FILES} files, each byte as the source held it"))
    }
}

/// Returns what a file of the source holds in a version: bytes that neither repeat nor compress.
fn content(file: u8, version: u8) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    blake3::Hasher::new().update(&[file, version]).finalize_xof().fill(&mut bytes);
    bytes
}

/// Fails a step that came out otherwise than it should.
fn expect(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::environment("exercise the runbook", std::io::Error::other(what.to_owned()))) }
}

/// Returns in words that something was refused with this code; anything else fails the step.
fn refused<T>(code: Code, outcome: Result<T>) -> Result<String> {
    match outcome {
        Err(error) if error.code() == Some(code) => Ok(format!("refused with {code}, as it should be")),
        Err(error) => Err(error),
        Ok(_) => expect(false, &format!("it should have been refused with {code}")).map(|()| String::new()),
    }
}

/// Returns the digest of every file below a directory; what cannot be read fails the step.
fn fingerprint(root: &Path) -> Result<Vec<(PathBuf, Digest)>> {
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let look = || Error::environment(format!("look at {}", shown_path(root)), std::io::Error::other("it changed"));
        let entry = entry.map_err(|_| look())?;
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).map_err(|_| look())?;
            all.push((entry.into_path(), Digest::of(&bytes)));
        }
    }
    Ok(all)
}
