//! `receipt`: a verification's result as an authenticated file, and what has happened to the vault since.
//!
//! A receipt is one line of canonical JSON and its HMAC under a subkey of its own. It proves that somebody with the
//! vault's key saw this result; it says nothing of the vault's state after that moment.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::audit::{self, Told};
use super::output::Output;
use super::verify;
use crate::clock::Time;
use crate::crypto::{Domain, Id, Macs};
use crate::error::{Error, shown_path};
use crate::format::PROGRAM;
use crate::format::record::{Branch, Head};
use crate::fsys::replace;
use crate::host::Host;
use crate::limits;
use crate::refusal::{Code, Family, Kept, Refusal, exit_of};
use crate::vault::Finding;
use crate::vault::gate::{self, Access};
use crate::vault::key::{self, FoundKey};
use crate::vault::sealed;
use crate::vault::witness::{self, Freshness};

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
    /// How long a recovery takes at most, in milliseconds: what was measured, or for a sample what is extrapolated;
    /// nothing where the sample sets no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_milliseconds_high: Option<u64>,
    /// How long it takes at least, in milliseconds.
    pub recovery_milliseconds_low: u64,
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
    /// What it came to: `valid` (of a full verification alone), `no-fault-found`, `unstable` or `invalid`; of a drill `passed` or `failed`.
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
        let found = |finding: &Finding| Found { code: finding.code.to_string(), subject: finding.subject.clone() };
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

/// Takes the place that a receipt goes to.
///
/// # Errors
/// As [`Output::new`].
pub fn place<'a>(access: &Access, path: &'a Path) -> crate::error::Result<Output<'a>> {
    Output::new("the receipt", path, &access.host, Some(&access.vault))
}

/// Writes a receipt, authenticated by the vault's key, to a file that must not exist.
///
/// # Errors
/// As [`place`]; where the key is not at hand; the file cannot be written.
pub fn write(access: &Access, receipt: &Receipt, path: &Path) -> crate::error::Result<()> {
    let output = place(access, path)?;
    let found = gate::find(access)?;
    output.create(&sealed::encode(receipt, &found.macs, Domain::Receipt))
}

/// What a receipt says, and what has happened since.
#[derive(Debug, Clone)]
pub struct Report {
    /// The receipt, which is genuine.
    pub receipt: Receipt,
    /// What has happened to the vault since, or why that is not known.
    pub since: Result<Since, Unknown>,
    /// What was kept on this host about what was found since.
    pub kept: Kept,
    /// What should be said besides.
    pub notes: Vec<String>,
}

/// What has happened to a vault since a receipt was made.
#[derive(Debug, Clone)]
pub struct Since {
    /// Whether the receipt's head still occurs in the chain.
    pub head_occurs: bool,
    /// The branch that left the receipt's head behind, if one did.
    pub left_by: Option<u64>,
    /// The chain's head now.
    pub head: Head,
    /// Records after the receipt's head.
    pub added: Vec<u64>,
    /// Records up to the receipt's head that were removed or declared lost since.
    pub removed: Vec<u64>,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// What is wrong with the chain now; `verify` tells more.
    pub findings: Vec<Finding>,
}

/// Why it is not known what has happened since.
#[derive(Debug, Clone)]
pub struct Unknown {
    /// In words.
    pub why: String,
    /// The process exit status that stands for it: 0 where nobody asked, because no vault is at hand; 2 where another vault was
    /// named.
    pub exit: u8,
    /// What is wrong with the vault that was named.
    pub findings: Vec<Finding>,
}

impl Unknown {
    /// The vault that was named did not open. That it is not at hand, or that the medium refuses, is no finding about it.
    fn because(error: &Error, access: &Access) -> Self {
        let finding =
            |refusal: &Refusal| Finding::new(refusal.code, shown_path(&access.vault), refusal.message.clone());
        let findings = match error {
            Error::Refused(refusal)
                if matches!(refusal.code.family(), Family::SnapshotIntegrity | Family::CryptoBoundary) =>
            {
                vec![finding(refusal)]
            }
            _ => Vec::new(),
        };
        Self { why: error.to_string(), exit: error.exit(), findings }
    }
}

impl Report {
    fn new(receipt: Receipt, since: Result<Since, Unknown>) -> Self {
        Self { receipt, since, kept: Kept::default(), notes: Vec::new() }
    }

    /// Returns what stands against the vault now.
    pub fn findings(&self) -> &[Finding] {
        match &self.since {
            Ok(since) => &since.findings,
            Err(unknown) => &unknown.findings,
        }
    }

    /// Returns the process exit status: 0 where the receipt is genuine and its head still occurs in a sound chain, or no
    /// vault is at hand that could be asked.
    pub fn exit(&self) -> u8 {
        match &self.since {
            Ok(since) => exit_of(since.findings.iter().map(|finding| finding.code)),
            Err(unknown) => unknown.exit,
        }
    }
}

/// Checks whether a receipt is genuine, and says what has happened to the vault since. Where the vault does not open, the
/// key alone tells whether the receipt is genuine.
///
/// # Errors
/// DV321 where it is not genuine; what opening the vault refuses where no key is at hand either.
pub fn check(access: &Access, path: &Path) -> crate::error::Result<Report> {
    audit::watch_reader(access, "receipt check", || look(access, path))
}

fn look(access: &Access, path: &Path) -> crate::error::Result<Report> {
    let bytes = bytes_of(path)?;
    let vault = match gate::open(access) {
        Ok(vault) => vault,
        Err(error) => {
            let keys = keys(&access.host, access.key_file.as_deref());
            let Ok(keys) = keys.and_then(|keys| if keys.is_empty() { Err(none_at_hand()) } else { Ok(keys) }) else {
                return Err(error);
            };
            let receipt = by_keys(&keys, &bytes, path)?;
            return Ok(Report::new(receipt, Err(Unknown::because(&error, access))));
        }
    };
    let receipt = match decode(&bytes, &vault.macs) {
        Ok(receipt) => receipt,
        Err(why) => {
            // Of another vault whose key is at hand, it is no forgery: the command line is wrong.
            let other = by_keys(&keys(&access.host, None)?, &bytes, path);
            let other = other.map_err(|_| not_genuine(path, why))?;
            let named = vault.config.vault;
            let why = format!("the vault that was named is {named}; name the receipt's own");
            return Ok(Report::new(other, Err(Unknown { why, exit: 2, findings: Vec::new() })));
        }
    };
    let made = receipt.head.number;
    let head_occurs = vault.chain.holds(&receipt.head);
    // Of what a branch left behind it names the newest head alone; whatever came before that the host knows that saw it.
    let newest = |branch: &&Branch| branch.from == receipt.head;
    let older = |branch: &&Branch| branch.to.number < made && made < branch.from.number;
    let seen = || witness::read(&access.host, &vault.macs).ok().flatten();
    let is_seen = || seen().is_some_and(|witness| witness.left.contains(&receipt.head));
    let branch = vault.chain.branches().find(|branch| newest(branch) || older(branch)).filter(|_| !head_occurs);
    // A branch stands right behind the head that it continues.
    let number = |branch: &Branch| branch.to.number + 1;
    let left_by = branch.filter(|branch| newest(branch) || is_seen()).map(number);
    let mut findings = vault.chain.findings.clone();
    findings.extend(vault.doubt.clone());
    findings.extend(vault.freshness.finding(&vault.store.describe()));
    // What a branch left behind knowingly is no other history than the one that is known. Nor is what nobody knows any more.
    if !head_occurs && left_by.is_none() && !vault.chain.is_unknown(made) {
        let mut detail = format!("the receipt's head {} does not occur in the chain any more", receipt.head);
        if let Some(number) = branch.map(number) {
            let more =
                format!("; the branch that record {number} begins may have left it behind: that cannot be told here");
            detail.push_str(&more);
        }
        findings.push(Finding::new(Code::HeadUnexpected, "the chain", detail));
    }
    let since = Since {
        head_occurs,
        left_by,
        head: vault.chain.head(),
        added: vault.chain.links().map(|(number, _)| number).filter(|&number| number > made).collect(),
        removed: (1..=made.min(vault.chain.head().number))
            .filter(|&number| vault.chain.gone(number).is_some())
            .collect(),
        freshness: vault.freshness.clone(),
        findings,
    };
    Ok(Report::new(receipt, Ok(since)))
}

/// Checks whether a receipt is genuine, where no vault is at hand: by the key that is named, else by every key that this
/// host keeps.
///
/// # Errors
/// DV321 where no key that is at hand made it; DV301 where none is, DV303 and DV305 where the named one cannot be used.
pub fn check_by_key(host: &Host, named: Option<&Path>, path: &Path) -> crate::error::Result<Report> {
    let bytes = bytes_of(path)?;
    let keys = keys(host, named)?;
    if keys.is_empty() {
        return Err(none_at_hand());
    }
    let why = "no vault is named".to_owned();
    Ok(Report::new(by_keys(&keys, &bytes, path)?, Err(Unknown { why, exit: 0, findings: Vec::new() })))
}

fn none_at_hand() -> Error {
    Refusal::new(
        Code::KeyMissing,
        "neither a vault nor a key is at hand that could tell whether the receipt is genuine",
    )
    .next("name the key: `devvault receipt check FILE --key-file KEY`")
    .into()
}

fn bytes_of(path: &Path) -> crate::error::Result<Vec<u8>> {
    replace::read(path, limits::STATE_BYTES_MAX)
        .map_err(|error| Error::environment(format!("read {}", shown_path(path)), error))
}

/// Returns what authenticates the receipts of each key at hand; of a key of this host's that cannot be used nothing.
fn keys(host: &Host, named: Option<&Path>) -> crate::error::Result<Vec<Macs>> {
    let macs = |found: FoundKey| Macs::new(found.key.secret(), found.key.vault);
    if let Some(named) = named {
        return Ok(vec![macs(key::load(named, true, None)?)]);
    }
    Ok(host.keys().iter().filter_map(|path| key::load(path, false, None).ok()).map(macs).collect())
}

fn by_keys(keys: &[Macs], bytes: &[u8], path: &Path) -> crate::error::Result<Receipt> {
    let mut why = String::new();
    for macs in keys {
        match decode(bytes, macs) {
            Ok(receipt) => return Ok(receipt),
            Err(reason) => why = reason,
        }
    }
    let of = if keys.len() == 1 { String::new() } else { format!(" of any of {} keys at hand", keys.len()) };
    Err(not_genuine(path, format!("{why}{of}")).into())
}

fn decode(bytes: &[u8], macs: &Macs) -> Result<Receipt, String> {
    let receipt: Receipt = sealed::decode(bytes, macs, Domain::Receipt)?;
    if receipt.schema != SCHEMA || receipt.vault != macs.vault() {
        return Err("it is of another kind or another vault".into());
    }
    Ok(receipt)
}

fn not_genuine(path: &Path, why: String) -> Refusal {
    Refusal::new(
        Code::ReceiptForged,
        format!("{} is no genuine receipt of a vault whose key is at hand", shown_path(path)),
    )
    .cause(why)
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({"head": self.receipt.head.to_string(), "finding_count": self.findings().len()})
    }

    fn findings(&self) -> &[Finding] {
        self.findings()
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        self.kept = kept;
    }
}
