//! `receipt`: a verification's result as an authenticated file, and what has happened to the vault since.
//!
//! A receipt is one line of canonical JSON and its HMAC under a subkey of its own. It proves that somebody with the
//! vault's key saw this result; it says nothing of the vault's state after that moment.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::audit::{self, Told};
use super::verify;
use crate::clock::Time;
use crate::crypto::{Domain, Id};
use crate::error::{Error, Result, shown_path};
use crate::format::PROGRAM;
use crate::format::record::Head;
use crate::fsys::replace;
use crate::limits;
use crate::refusal::{Code, Kept, Refusal, exit_of};
use crate::vault::gate::{self, Access};
use crate::vault::sealed;
use crate::vault::witness::Freshness;

/// How much was read, in a receipt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Bytes of all packs.
    pub bytes: u64,
    /// Bytes of packs that were read completely and are intact.
    pub bytes_read: u64,
    /// Chunks whose hash matched.
    pub chunks: u64,
    /// Packs.
    pub packs: u64,
    /// Packs that were read completely and are intact.
    pub packs_read: u64,
}

/// One finding, in a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Its code.
    pub code: String,
    /// What it is about.
    pub subject: String,
}

/// What a drill restored and compared, in a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drilled {
    /// Bytes of the snapshot's files.
    pub bytes: u64,
    /// Bytes that were restored, read again and hashed.
    pub bytes_compared: u64,
    /// Files of the snapshot that have content.
    pub files: u64,
    /// Files whose content was compared.
    pub files_compared: u64,
    /// Damages of a copy that were refused.
    pub negative: u64,
    /// How long a recovery takes, in milliseconds; extrapolated for a sample.
    pub recovery_milliseconds: u64,
    /// `restore` or `clean-machine`.
    pub scenario: String,
}

/// What was done, by whom, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// `verify` or `drill`.
    pub act: String,
    /// What was exercised, if it was a drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drilled>,
    /// The exit status.
    pub exit: u8,
    /// How much was read.
    pub extent: Extent,
    /// What was wrong.
    pub findings: Vec<Found>,
    /// How the chain stood to what the host had seen.
    pub freshness: String,
    /// The chain's head.
    pub head: Head,
    /// `full`, `quick` or `sample`; of a drill `whole` or `sample`.
    pub level: String,
    /// When it was made.
    pub made: Time,
    /// The system that it was made on.
    pub platform: String,
    /// The program and its version.
    pub program: String,
    /// `devvault.receipt/1`.
    pub schema: String,
    /// Each snapshot that was looked at, with its verdict.
    pub snapshots: Vec<(u64, String)>,
    /// The vault.
    pub vault: Id,
    /// What it came to: `valid`, `unstable` or `invalid`; of a drill `passed` or `failed`.
    pub verdict: String,
}

/// The schema of every receipt.
pub const SCHEMA: &str = "devvault.receipt/1";

/// Returns the system that this program runs on.
pub fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

impl Receipt {
    /// Makes the receipt of a verification.
    pub fn of_verify(report: &verify::Report, now: Time) -> Self {
        let found = |finding: &crate::vault::Finding| Found {
            code: finding.code.to_string(),
            subject: finding.subject.clone(),
        };
        Self {
            act: "verify".into(),
            drill: None,
            exit: report.exit(),
            extent: Extent {
                bytes: report.coverage.bytes,
                bytes_read: report.coverage.bytes_now,
                chunks: report.read.chunks,
                packs: report.coverage.packs,
                packs_read: report.coverage.packs_now,
            },
            findings: report.findings.iter().map(found).collect(),
            freshness: report.freshness.to_string(),
            head: report.head,
            level: report.level.name().into(),
            made: now,
            platform: platform(),
            program: PROGRAM.into(),
            schema: SCHEMA.into(),
            snapshots: report.snapshots.iter().map(|(number, verdict)| (*number, verdict.name().into())).collect(),
            vault: report.vault,
            verdict: report.verdict.name().into(),
        }
    }
}

/// Writes a receipt, authenticated by the vault's key, to a file that must not exist.
///
/// # Errors
/// Where the key is not at hand; an environment error where the file exists or cannot be written.
pub fn write(access: &Access, receipt: &Receipt, path: &Path) -> Result<()> {
    let found = gate::find(access)?;
    let bytes = sealed::encode(receipt, &found.macs, Domain::Receipt);
    let written = std::fs::File::create_new(path).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()?;
        replace::sync_name(path)
    });
    written.map_err(|error| Error::environment(format!("write the receipt {}", shown_path(path)), error))
}

/// What a receipt says, and what has happened since.
#[derive(Debug, Clone)]
pub struct Report {
    /// The receipt, which is genuine.
    pub receipt: Receipt,
    /// Whether its head still occurs in the chain.
    pub head_occurs: bool,
    /// The chain's head now.
    pub head: Head,
    /// Records after its head.
    pub added: Vec<u64>,
    /// Records up to its head that were removed or declared lost since.
    pub removed: Vec<u64>,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// What is wrong with the chain now; `verify` tells more.
    pub findings: Vec<crate::vault::Finding>,
    /// What was kept on this host about the findings.
    pub kept: Kept,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns the process exit status: 0 where the receipt is genuine and its head still occurs in a sound chain.
    pub fn exit(&self) -> u8 {
        exit_of(self.findings.iter().map(|finding| finding.code))
    }
}

/// Checks whether a receipt is genuine, and says what has happened to the vault since.
///
/// # Errors
/// DV321 where it is not genuine; what opening the vault refuses.
pub fn check(access: &Access, path: &Path) -> Result<Report> {
    audit::watch_reader(access, "receipt check", || look(access, path))
}

fn look(access: &Access, path: &Path) -> Result<Report> {
    let vault = gate::open(access)?;
    let not_genuine = |reason: String| {
        Refusal::new(Code::ReceiptForged, format!("{} is no genuine receipt of this vault", shown_path(path)))
            .cause(reason)
    };
    let bytes = replace::read(path, limits::STATE_BYTES_MAX)
        .map_err(|error| Error::environment(format!("read {}", shown_path(path)), error))?;
    let receipt: Receipt = sealed::decode(&bytes, &vault.macs, Domain::Receipt).map_err(not_genuine)?;
    if receipt.schema != SCHEMA || receipt.vault != vault.config.vault {
        return Err(not_genuine("it is of another kind or another vault".into()).into());
    }
    let made = receipt.head.number;
    let head_occurs = vault.chain.holds(&receipt.head);
    let mut findings = vault.chain.findings.clone();
    findings.extend(vault.doubt.clone());
    findings.extend(vault.freshness.finding(&vault.store.describe()));
    if !head_occurs {
        let detail = format!("the receipt's head {} does not occur in the chain any more", receipt.head);
        findings.push(crate::vault::Finding::new(Code::HeadUnexpected, "the chain", detail));
    }
    Ok(Report {
        head_occurs,
        head: vault.chain.head(),
        added: vault.chain.links().map(|(number, _)| number).filter(|&number| number > made).collect(),
        removed: (1..=made.min(vault.chain.head().number))
            .filter(|&number| vault.chain.gone(number).is_some())
            .collect(),
        freshness: vault.freshness.clone(),
        findings,
        receipt,
        kept: Kept::default(),
        notes: Vec::new(),
    })
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({"head": self.receipt.head.to_string(), "finding_count": self.findings.len()})
    }

    fn findings(&self) -> &[crate::vault::Finding] {
        &self.findings
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        self.kept = kept;
    }
}
