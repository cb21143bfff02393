//! Whose hands restore: this process, with all that this host knows, or one that has nothing but the vault and the key.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::compare::Declared;
use crate::error::{Error, Result};
use crate::ops::restore::{self, Shortfall};
use crate::ops::select::{Place, Selector};
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::gate::{self, Access};

/// What a restore told.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// What it did not bring back, or not exactly: class, how many objects, why.
    pub(super) short: Vec<(String, u64, String)>,
    pub(super) notes: Vec<String>,
}

impl Restored {
    pub(super) fn declared(&self) -> Declared {
        let mut declared = Declared::new();
        for (class, count, _) in &self.short {
            *declared.entry(class.clone()).or_default() += count;
        }
        declared
    }
}

/// Restores a snapshot into a directory as an operator would.
pub(super) trait Hands {
    /// Finds the vault and the key.
    fn locate(&self) -> Result<String>;
    /// Authenticates the chain, the snapshot and its listing.
    fn authenticate(&self) -> Result<String>;
    /// Restores.
    fn restore(
        &self,
        destination: &Path,
        only: Option<BTreeSet<EntryPath>>,
        progress: &dyn Progress,
    ) -> Result<Restored>;
}

/// This process, on this host.
pub(super) struct Own<'a> {
    pub(super) access: &'a Access,
    pub(super) number: u64,
}

impl Hands for Own<'_> {
    fn locate(&self) -> Result<String> {
        let found = gate::find(self.access)?;
        Ok(format!("{}, with the key {}", found.store.describe(), crate::error::shown_path(&found.key.path)))
    }

    fn authenticate(&self) -> Result<String> {
        let vault = gate::open(self.access)?;
        Ok(format!("{} record(s) up to number {}", vault.chain.links().count(), vault.chain.head().number))
    }

    fn restore(
        &self,
        destination: &Path,
        only: Option<BTreeSet<EntryPath>>,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let place = Place { snapshot: Selector::Number(self.number), path: EntryPath::root() };
        let options = restore::Options { only, in_drill: true, ..restore::Options::default() };
        let report = restore::run(self.access, &place, destination, &options, progress)?;
        let told = |short: &Shortfall| (short.class.to_owned(), short.count, short.reason.clone());
        let short = report.not_restored.iter().chain(&report.coarser).map(told).collect();
        Ok(Restored { short, notes: report.notes })
    }
}

/// Another process of this program, with empty directories and an empty environment.
pub(super) struct CleanMachine<'a> {
    pub(super) program: &'a Path,
    pub(super) vault: PathBuf,
    pub(super) key: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) number: u64,
}

impl CleanMachine<'_> {
    fn run(&self, arguments: &[&str]) -> Result<Value> {
        let home = self.scratch.join("home");
        fs::create_dir_all(&home)
            .map_err(|error| Error::environment("make an empty home directory for a clean machine", error))?;
        let mut command = Command::new(self.program);
        command.env_clear().current_dir(&self.scratch);
        for name in ["HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, &home);
        }
        command.env("XDG_STATE_HOME", &home);
        if cfg!(windows)
            && let Some(value) = std::env::var_os("SystemRoot")
        {
            // No program begins there without it.
            command.env("SystemRoot", value);
        }
        command.arg("--json").arg("--vault").arg(&self.vault).arg("--key-file").arg(&self.key).args(arguments);
        let attempt = || format!("run {} on a clean machine", arguments[0]);
        let output = command.output().map_err(|error| Error::environment(attempt(), error))?;
        let document: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::environment(attempt(), std::io::Error::other(error)))?;
        if output.status.code() == Some(130) {
            return Err(Error::Interrupted(None));
        }
        if output.status.success() { Ok(document) } else { Err(refusal(&document)) }
    }
}

/// Returns what another process of this program refused or found.
fn refusal(document: &Value) -> Error {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let finding = &document["findings"][0];
    let about = if finding.is_object() { finding } else { document };
    let message = if finding.is_object() {
        format!("{}: {}", text(finding, "subject"), text(finding, "title"))
    } else {
        text(document, "message")
    };
    let Some(code) = Code::parse(&text(about, "code")) else {
        return Error::environment("restore on a clean machine", std::io::Error::other(message));
    };
    let words = |name: &str| -> Vec<String> {
        about[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut refusal = Refusal::new(code, message);
    refusal.causes = words("causes");
    refusal.causes.extend(about["detail"].as_str().map(str::to_owned));
    let paths = words("paths").into_iter().filter_map(|path| EntryPath::parse(path.as_bytes()).ok());
    refusal.paths = paths.collect();
    refusal.into()
}

impl Hands for CleanMachine<'_> {
    fn locate(&self) -> Result<String> {
        let document = self.run(&["snapshots"])?;
        let count = document["snapshots"].as_array().map_or(0, Vec::len);
        Ok(format!("{count} snapshot(s) found with nothing but the vault and the key"))
    }

    fn authenticate(&self) -> Result<String> {
        let document = self.run(&["verify", "--quick", &self.number.to_string()])?;
        let head = document["head"].as_str().unwrap_or_default();
        Ok(format!("the records up to number {}", head.split(':').next().unwrap_or_default()))
    }

    fn restore(&self, destination: &Path, only: Option<BTreeSet<EntryPath>>, _: &dyn Progress) -> Result<Restored> {
        debug_assert!(only.is_none(), "a clean machine restores everything");
        let destination = destination.to_string_lossy();
        let document = self.run(&["restore", &self.number.to_string(), &destination])?;
        let mut restored = Restored::default();
        for one in ["not_restored", "coarser"].iter().filter_map(|name| document[*name].as_array()).flatten() {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            restored.short.push((text("class"), one["count"].as_u64().unwrap_or(0), text("reason")));
        }
        let notes = document["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        restored.notes = notes.map(str::to_owned).collect();
        Ok(restored)
    }
}
