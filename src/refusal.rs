//! Refusals: the coded no.
//!
//! Invariants: a code never changes its meaning, exit or severity once released; every code has a section in
//! RUNBOOK.md and a test; a refusal says what is wrong, what was changed, and the safest next step.

use std::fmt;

use crate::path::EntryPath;

/// A failure class; it decides exit status and severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// DV1xx: a snapshot's bytes are missing, damaged or incomplete.
    SnapshotIntegrity,
    /// DV2xx: a restore would add risk to existing data or could not be exact.
    RestoreRisk,
    /// DV3xx: authenticity is not proven.
    CryptoBoundary,
    /// DV4xx: the vault cannot be used safely at the moment.
    VaultHealth,
    /// DV5xx: the index is unreadable or cannot be rebuilt.
    SnapshotIndex,
    /// DV6xx: platforms behave differently.
    PlatformDivergence,
    /// DV7xx: a policy forbids the act.
    Policy,
    /// DV8xx: the source cannot be read completely.
    Source,
}

impl Family {
    /// Returns the exit status of a refusal of this family: 10 plus the family's digit.
    pub fn exit(self) -> u8 {
        match self {
            Self::SnapshotIntegrity => 11,
            Self::RestoreRisk => 12,
            Self::CryptoBoundary => 13,
            Self::VaultHealth => 14,
            Self::SnapshotIndex => 15,
            Self::PlatformDivergence => 16,
            Self::Policy => 17,
            Self::Source => 18,
        }
    }

    /// Returns the severity, `SEV-1` being the worst.
    pub fn severity(self) -> &'static str {
        match self {
            Self::SnapshotIntegrity | Self::RestoreRisk | Self::CryptoBoundary | Self::PlatformDivergence => "SEV-1",
            Self::VaultHealth | Self::SnapshotIndex | Self::Policy => "SEV-2",
            Self::Source => "SEV-3",
        }
    }

    /// Returns the family's name for a person and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SnapshotIntegrity => "snapshot integrity",
            Self::RestoreRisk => "restore risk",
            Self::CryptoBoundary => "crypto boundary",
            Self::VaultHealth => "vault health",
            Self::SnapshotIndex => "snapshot index",
            Self::PlatformDivergence => "platform divergence",
            Self::Policy => "policy",
            Self::Source => "source",
        }
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $next:literal;)*) => {
        /// A refusal's code, `DV` and three digits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        impl Code {
            /// Every code there is, in ascending order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// Returns what the code stands for, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Returns the safest next step where the place that refuses knows no better one.
            pub fn next(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

codes! {
    RecordDamaged = 101, "a record is not what the format allows",
        "change nothing in the vault; run `devvault verify` to learn which snapshots are intact";
    ChunkMissing = 102, "content is missing from the vault",
        "change nothing in the vault; look for the missing pack on other copies of it";
    ChunkDamaged = 103, "content is damaged",
        "change nothing in the vault; copy it to another medium and verify the copy: `devvault --vault COPY verify`";
    ListingMissing = 104, "a list of files is missing",
        "change nothing in the vault; restore another snapshot, `devvault verify` names the intact ones";
    ListingDamaged = 105, "a list of files is damaged",
        "change nothing in the vault; restore another snapshot, `devvault verify` names the intact ones";
    PackDamaged = 106, "a pack is damaged",
        "change nothing in the vault; copy it to another medium and verify the copy: `devvault --vault COPY verify`";
    RecordIncomplete = 107, "a snapshot directory is incomplete or holds more than its record",
        "change nothing in the vault; compare the directory with another copy of the vault";
    ListingUnsafe = 108, "a list of files contradicts the format",
        "do not restore this snapshot; keep the vault as evidence and run `devvault verify`";
    ReadBackDiffers = 109, "what was written reads back differently",
        "stop writing to this medium; check cable, memory and disk, then back up to another medium";
    VaultUnreadable = 110, "a file of the vault cannot be read",
        "make the vault readable without writing to it (mount it read-only, check the cable), then run `devvault verify`";
    NothingToVerify = 111, "there is nothing to verify",
        "check that this is the right vault: `devvault snapshots`";
    NoSuchSnapshot = 112, "no such snapshot",
        "list the snapshots: `devvault snapshots`";
    SnapshotRemoved = 113, "the snapshot was removed or declared lost",
        "list the snapshots that remain: `devvault snapshots`";
    NothingToDrill = 114, "there is nothing to exercise a restore with",
        "name a snapshot that holds files: `devvault snapshots`; with `--sample`, a larger size";
    DamageNotRefused = 115, "a damaged copy was not refused",
        "do not trust this program's verdicts: keep the scratch directory as evidence and use another version";

    DestinationNotEmpty = 201, "the destination is not empty",
        "restore into a new directory";
    DestinationOverlaps = 202, "the destination overlaps a vault or devvault's own directories",
        "restore into a directory outside the vault";
    DestinationNotPlain = 203, "the destination is not a plain directory",
        "restore into a new directory, named by its real path";
    TargetCannotRepresent = 204, "the target cannot hold what would be restored",
        "restore onto a file system that keeps these names and kinds";
    DestinationIsMount = 205, "the destination is a mount point or a volume root",
        "restore into a new subdirectory of it";
    DestinationParent = 206, "the destination's parent directory is missing or not writable",
        "create the parent directory or choose another one";
    DestinationSpace = 207, "the target has not enough room",
        "free space or restore onto a larger volume";
    RestoredDiffers = 208, "what was restored reads back differently",
        "do not use the staging directory; check the target's disk and memory, restore to another medium";
    DestinationChanged = 209, "the destination changed during the restore",
        "look at what appeared there; then restore into a new directory";
    SelectionEmpty = 210, "the snapshot does not hold that path",
        "list the snapshot: `devvault ls SNAP`";
    DrillDiffers = 211, "what a drill restored differs from the snapshot",
        "keep the scratch directory as evidence; check the target's disk and memory, then do the drill again elsewhere";
    ScratchUnfit = 212, "the scratch directory overlaps the vault, the source or devvault's own directories",
        "name a directory outside all of them: `--to DIR`";

    KeyMissing = 301, "the key is missing",
        "find the exported key and name it: `--key-file FILE`, or install it: `devvault key import FILE`";
    KeyWrong = 302, "the key belongs to another vault",
        "find this vault's key and name it: `--key-file FILE`";
    KeyExposed = 303, "the key file can be read by others",
        "make it private: `chmod 600 FILE`; if others had access, treat the key as known to them";
    KeyInsideVault = 304, "the key lies inside the vault",
        "move the key out of the vault, to a medium of its own";
    KeyDamaged = 305, "the key file is damaged or not a key",
        "find another copy of the key; keep this one";
    RecordForged = 306, "a record's authentication fails",
        "change nothing; treat the vault as damaged or tampered with, and keep it as evidence";
    ConfigForged = 307, "vault.json is missing, damaged or not authentic",
        "change nothing; put back vault.json and vault.hmac from another copy of this vault";
    FormatUnknown = 308, "the format is unknown to this version",
        "use the version of devvault that wrote the vault, or a newer one";
    RecordMissing = 309, "a record is missing from the chain",
        "change nothing; look for the snapshot directory on other copies of the vault";
    RecordMisplaced = 310, "a record lies under another number",
        "change nothing; rename nothing; keep the vault as evidence and compare it with another copy";
    RecordForeign = 311, "a record belongs to another vault",
        "change nothing; keep the vault as evidence and compare it with another copy";
    ChainBroken = 312, "a record does not continue its predecessor",
        "change nothing; keep the vault as evidence and compare it with another copy";
    Rollback = 313, "the vault is older than what this host has seen",
        "find the newest copy of the vault; to restore from this one, name a snapshot by its number";
    Fork = 314, "the vault continues differently from what this host has seen",
        "find the copy that this host wrote to; to restore from this one, name a snapshot by its number";
    WitnessUnreadable = 315, "this host's witness cannot be read",
        "keep the witness file; compare the head with your records and use `--expect-head HEAD`";
    WitnessMissing = 316, "this host made the key but has no witness",
        "compare the head with your records and use `--expect-head HEAD`";
    HeadUnexpected = 317, "the expected head does not occur in the chain",
        "find the copy of the vault that has this head";
    PackForged = 318, "a pack's footer is not authentic",
        "change nothing; run `devvault verify` to learn which snapshots are affected";
    JournalBroken = 319, "this host's journal is cut, edited or reordered",
        "keep the state directory as evidence; then begin a new journal: `devvault journal restart --reason WHY`";
    EvidenceDamaged = 320, "a bundle of evidence is not what was packed",
        "keep the bundle; look for another copy of it, or capture the evidence again";
    ReceiptForged = 321, "the receipt is not genuine",
        "do not rely on it; verify the vault anew, and ask where the file came from";

    ProbeFailed = 401, "the vault's medium fails a write",
        "check that the medium is writable and healthy";
    VaultForbidden = 402, "the vault may not be read or written",
        "run as the user that owns the vault, or correct its permissions; where too many files are open, allow more: `ulimit -n 4096`";
    NoSpace = 403, "the vault's medium has not enough room",
        "free space on the medium; nothing in the vault needs to be deleted by hand";
    Locked = 404, "another process writes to the vault",
        "wait for it to end; if none runs, try again";
    Unstable = 405, "a read differed on a second try",
        "suspect cable, controller or memory; verify from another computer before you trust or change anything";
    VaultNotFound = 406, "there is no vault at that place",
        "mount or connect the vault's medium, or name the vault: `--vault V`";
    NotEmpty = 407, "the place for a new vault or file is taken",
        "choose a new directory";
    NumberContested = 408, "another writer keeps taking the next number",
        "let only one host write to the vault at a time, then back up again";
    NoVault = 409, "no vault is named and there is no default vault",
        "name the vault: `--vault V`, or set DEVVAULT_VAULT; a first one is made by `devvault init V` or `devvault backup FOLDER`";
    StateUnwritable = 410, "the state directory cannot be used",
        "make it writable, or name another: DEVVAULT_STATE_DIR";
    ConfigUnreadable = 411, "the configuration cannot be read",
        "correct or move away the configuration file";

    IndexNotRebuilt = 501, "the index cannot be rebuilt",
        "run `devvault verify`; restore and verify do not need the index";

    Diverges = 601, "a case came to something else than on other platforms",
        "do not release or rely on this platform's build; compare the case that is named on both machines";
    ReportUnusable = 602, "a report is missing or no report",
        "run `devvault conformance --report FILE` on that machine again, and compare again";
    ReportVacuous = 603, "reports prove nothing",
        "run `devvault conformance --report FILE` anew on each machine, and compare again";
    ReportIncomparable = 604, "a report stands for another version",
        "build the same version for each machine, run `devvault conformance --report FILE` there, and compare again";

    NotAcknowledged = 701, "the act needs an acknowledgement",
        "read what the act does, then add the flag that it names";
    EvidenceHold = 702, "evidence is held while an incident is open",
        "go on with the incident: `devvault incident list`; nothing needs to be removed to restore";
    DeclarationUnfit = 703, "a break-glass declaration is not acceptable",
        "correct what the message names; nothing was declared";
    PermitMissing = 704, "the act needs a break-glass permit",
        "read `devvault runbook break-glass` before you declare one";
    PermitNotYet = 705, "the permit is not in effect yet",
        "wait until the time that the message names, and think about it once more; `devvault break-glass cancel` takes it back";
    PermitExpired = 706, "the permit has expired or was ended",
        "an expired permit stays expired: if it is still needed, declare a new one";
    PermitOutOfScope = 707, "the permit does not cover this",
        "declare one whose scope names this vault and this snapshot or head";
    ClockBehind = 708, "the clock is behind the journal",
        "set the computer's clock right, then declare anew";
    IncidentUnfit = 709, "the incident cannot be changed so",
        "read `devvault incident list`; verify the whole vault that the incident is about, or record what stays broken: `--decision`";

    SourceUnreadable = 801, "files of the source cannot be read",
        "make them readable, or leave them out on purpose with `--exclude`";
    SourceChanging = 802, "files or directories of the source keep changing",
        "stop what writes to them and back up again, or allow it with `--may-change GLOB`";
    SourceMissing = 803, "the source does not exist or is not a directory",
        "check the path; mount the disk that it lies on";
    SourceOverlaps = 804, "the source overlaps the vault or devvault's own directories",
        "keep the vault outside the source, or leave it out with `--exclude`";
    SourceEmpty = 805, "the source is empty now and was not before",
        "mount the disk that it lies on; if it is meant to be empty, use `--allow-empty`";
    SourceUnsupported = 806, "the source holds what a vault cannot keep",
        "leave these out on purpose with `--exclude`";
    SourceRules = 807, "a file of rules cannot be used",
        "correct the file, or leave its directory out with `--exclude`; `devvault backup SOURCE --dry-run` shows what the rules do";
    SourceElsewhere = 808, "files of the source are not on this machine",
        "have their program keep them on this machine, or leave them out on purpose with `--exclude`";
    SourceHeld = 809, "files of the source are held by another process",
        "end the program that holds them and back up again";
}

impl Code {
    /// Returns the family that the code belongs to.
    pub fn family(self) -> Family {
        match self as u16 / 100 {
            1 => Family::SnapshotIntegrity,
            2 => Family::RestoreRisk,
            3 => Family::CryptoBoundary,
            4 => Family::VaultHealth,
            5 => Family::SnapshotIndex,
            6 => Family::PlatformDivergence,
            7 => Family::Policy,
            _ => Family::Source,
        }
    }

    /// Returns the code that this text names, such as `DV204`, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.to_string().eq_ignore_ascii_case(text))
    }

    /// Returns the place in the runbook, such as `RUNBOOK.md#dv204`.
    pub fn runbook(self) -> String {
        format!("RUNBOOK.md#dv{}", self as u16)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DV{}", *self as u16)
    }
}

/// What an act that ended early had written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What stays, in words.
    pub text: String,
    /// Whether anything stays at all.
    pub changed: bool,
}

impl From<String> for Written {
    fn from(text: String) -> Self {
        Self { text, changed: true }
    }
}

impl From<&str> for Written {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A coded no: what is wrong, why, what was changed, what to do next.
#[derive(Debug)]
pub struct Refusal {
    /// What kind of refusal this is.
    pub code: Code,
    /// What is wrong, naming the thing; untrusted names are escaped.
    pub message: String,
    /// Why, from the nearest cause to the deepest.
    pub causes: Vec<String>,
    /// What was written before the refusal; nothing at all when `None`.
    pub written: Option<Written>,
    /// The safest next step.
    pub next: String,
    /// Entries that the refusal is about, complete.
    pub paths: Vec<EntryPath>,
    /// The file or object of the vault that it is about, as the vault names it, where there is one.
    pub subject: Option<String>,
    /// Options that, added to the same command, would let it go on at a price that the message names.
    pub options: Option<String>,
    /// What was kept about it on this host.
    pub kept: Kept,
}

/// What was kept on this host about a refusal or about findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Whether the journal was tried, with success or without.
    pub journaled: bool,
    /// The file of evidence.
    pub evidence: Option<String>,
    /// The incident that it opened or belongs to.
    pub incident: Option<String>,
    /// What could not be kept, in words.
    pub notes: Vec<String>,
}

impl Refusal {
    /// Creates a refusal with the code's own next step.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            causes: Vec::new(),
            written: None,
            next: code.next().to_owned(),
            paths: Vec::new(),
            subject: None,
            options: None,
            kept: Kept::default(),
        }
    }

    /// Adds a cause below those already there.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Replaces the next step by a more exact one.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// Says what had been written.
    #[must_use]
    pub fn written(mut self, written: impl Into<Written>) -> Self {
        self.written = Some(written.into());
        self
    }

    /// Names the entries that the refusal is about.
    #[must_use]
    pub fn paths(mut self, paths: Vec<EntryPath>) -> Self {
        self.paths = paths;
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

/// Returns the exit status where several things are wrong: that of the lowest family; 0 where none is.
pub fn exit_of(codes: impl IntoIterator<Item = Code>) -> u8 {
    codes.into_iter().map(|code| code.family().exit()).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_follows_the_exit_and_severity_of_its_family() {
        let mut previous = 0;
        for code in Code::ALL {
            let number = *code as u16;
            assert!(number > previous, "{code} is out of order");
            previous = number;
            assert_eq!(u16::from(code.family().exit()), 10 + number / 100, "{code}");
            assert!(!code.title().is_empty() && !code.next().is_empty());
            assert_eq!(Code::parse(&code.to_string().to_lowercase()), Some(*code));
        }
        assert_eq!(Code::parse("DV999"), None);
    }

    #[test]
    fn severities_are_those_of_the_design() {
        let severities = [201, 301, 101].map(|number| {
            Code::ALL.iter().find(|code| **code as u16 == number).expect("a known code").family().severity()
        });
        assert_eq!(severities, ["SEV-1"; 3]);
        assert_eq!(Family::VaultHealth.severity(), "SEV-2");
        assert_eq!(Family::Source.severity(), "SEV-3");
    }
}
