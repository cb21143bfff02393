//! The commands for an operator after something went wrong; each noun has a file of its own.

use std::path::PathBuf;

use clap::Subcommand;

use super::Session;
use super::args::some_words;
use super::break_glass::BreakGlass;
use super::evidence::Evidence;
use super::incident::Incidents;
use super::journal::Journal;
use super::loss;
use super::orphans::Incompletes;
use crate::error::Result;
use crate::ops::select::Place;
use crate::ops::{branch, lost, salvage, trace};

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

    /// Declare, list, cancel and close permits for the few acts that need one
    ///
    /// A permit takes effect two minutes after it was declared, covers one snapshot or one head of one vault, and expires.
    /// Nothing makes damaged content valid, restores into a place that holds anything, or promotes what is incomplete.
    BreakGlass {
        #[command(subcommand)]
        command: BreakGlass,
    },

    /// Go on with an older copy of the vault, leaving newer records behind (needs a permit)
    Branch {
        /// Why the newer records are given up; stands in the vault for ever
        #[arg(long, value_name = "WHY", value_parser = some_words)]
        reason: String,
    },

    /// Record that the medium destroyed records, so that the vault can go on (needs a permit for each)
    DeclareLost {
        /// The numbers of the records
        #[arg(value_name = "NUMBER", required = true)]
        numbers: Vec<u64>,
        /// What destroyed them, and what was tried; stands in the vault for ever
        #[arg(long, value_name = "WHY", value_parser = some_words)]
        reason: String,
    },

    /// Copy what can still be had of a damaged snapshot into an absent or empty directory
    ///
    /// It is no restore and never says valid. DEST/salvage.jsonl names every path and how it stands. What an authenticated
    /// manifest names needs no permit; without a key, or where the manifest's tag fails, a break-glass permit is needed, and
    /// everything goes into DEST/unauthenticated. Exit status 0 means that everything was copied and verified, 11 that
    /// something is damaged or missing, 13 that nothing proves who wrote it.
    Salvage {
        /// A snapshot, and a path in it: `3`, `3:src`
        #[arg(value_name = "SNAP[:PATH]")]
        place: Place,
        /// An absent or empty directory
        #[arg(value_name = "DEST")]
        destination: PathBuf,
    },

    /// Tell who wrote a snapshot, a path or a pack, when and from where; when it was verified and restored
    Trace {
        /// A snapshot (`3`, `latest`), a pack (64 digits), or a path in the snapshots
        #[arg(value_name = "SNAP|PATH|PACK")]
        target: trace::Target,
    },

    /// List, discard or put off what was never finalized, and list all else that belongs to no snapshot
    Incomplete {
        #[command(subcommand)]
        command: Incompletes,
    },
}

impl Command {
    /// Returns the name under which a refusal stands in the journal that no operation journaled. It is never that of an
    /// act which the journal's readers believe.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Journal { .. } => "journal command",
            Self::Incident { .. } => "incident command",
            Self::Evidence { .. } => "evidence command",
            Self::BreakGlass { .. } => "break-glass command",
            Self::Branch { .. } => "branch command",
            Self::DeclareLost { .. } => "declare-lost command",
            Self::Salvage { .. } => "salvage command",
            Self::Trace { .. } => "trace command",
            Self::Incomplete { .. } => "incomplete command",
        }
    }
}

impl Session {
    pub(super) fn operator(&self, command: &Command) -> Result<u8> {
        match command {
            Command::Journal { command } => self.journal(command),
            Command::Incident { command } => self.incidents(command),
            Command::Evidence { command } => self.evidence(command),
            Command::BreakGlass { command } => self.break_glass(command),
            Command::Branch { reason } => {
                let report = branch::run(&self.access()?, reason)?;
                self.done(loss::branch_json(&report), || loss::branch_begun(&report))
            }
            Command::DeclareLost { numbers, reason } => {
                let report = lost::run(&self.access()?, numbers, reason)?;
                self.done(loss::lost_json(&report), || loss::lost_declared(&report))
            }
            Command::Incomplete { command } => self.incomplete(command),
            Command::Trace { target } => {
                let report = trace::run(&self.access()?, target, &self.watch);
                self.watch.end();
                let report = report?;
                self.show(super::worst(&report.findings), super::trace::trace_json(&report), || {
                    super::trace::traced(&report)
                })
            }
            Command::Salvage { place, destination } => {
                let report = salvage::run(&self.access()?, place, destination, &self.watch);
                self.watch.end();
                let report = report?;
                self.show(report.exit(), super::salvage::salvage_json(&report), || super::salvage::salvaged(&report))
            }
        }
    }
}
