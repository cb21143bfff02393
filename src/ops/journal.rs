//! `journal`: shows, checks and exports what this host did, and begins a new journal where the old one is broken.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::audit::Told;
use crate::clock::{Clock, Time};
use crate::error::{Error, Result, shown_path};
use crate::format::json;
use crate::format::record::Head;
use crate::fsys::replace;
use crate::host::Host;
use crate::incident::journal::{Entry, Event, Journal};
use crate::incident::registry;
use crate::refusal::{Code, Kept, Refusal};
use crate::vault::Finding;
use crate::vault::gate::{self, Access};

/// The newest entries of the journal.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// How many entries there are in all.
    pub total: u64,
    /// What is wrong with the journal; what is shown ends there.
    pub findings: Vec<Finding>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

/// Returns the newest `count` entries, of one act if that is named.
///
/// # Errors
/// DV410 where the journal cannot be read.
pub fn show(host: &Host, count: usize, act: Option<&str>) -> Result<Shown> {
    let journal = Journal::of(host);
    let mut shown = Shown::default();
    let mut entries = std::collections::VecDeque::new();
    let scan = journal.scan(|entry, _| {
        if act.is_none_or(|act| entry.act == act) {
            if entries.len() == count {
                entries.pop_front();
            }
            entries.push_back(entry);
        }
        Ok(())
    })?;
    shown.entries = entries.into();
    shown.total = scan.head.map_or(0, |head| head.number);
    shown.notes.extend(torn_note(scan.torn_bytes));
    shown.findings.extend(scan.broken.map(|reason| finding(&journal.path(), &reason)));
    Ok(shown)
}

/// What a check of the journal found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// The file that holds the entries.
    pub path: PathBuf,
    /// How many sound entries there are.
    pub entries: u64,
    /// The newest sound entry.
    pub head: Option<Head>,
    /// When it was made.
    pub time: Option<Time>,
    /// Journals that were set aside.
    pub set_aside: Vec<PathBuf>,
    /// How many snapshots name an entry of this host's journal that is there.
    pub anchors: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was not looked at, in words.
    pub not_checked: Vec<String>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

/// Checks every entry of the journal, and that every entry which this host's snapshots in a vault name is there.
///
/// # Errors
/// DV410 where the journal cannot be read. A cut, edited or reordered journal is no error but a finding.
pub fn verify(host: &Host, access: Option<&Access>) -> Result<Checked> {
    let journal = Journal::of(host);
    let mut heads: HashSet<(u64, crate::crypto::Digest)> = HashSet::new();
    let mut checked = Checked { path: journal.path(), set_aside: journal.set_aside()?, ..Checked::default() };
    let scan = journal.scan(|_, head| {
        heads.insert((head.number, head.digest));
        Ok(())
    });
    match scan {
        Ok(scan) => {
            checked.entries = scan.head.map_or(0, |head| head.number);
            (checked.head, checked.time) = (scan.head, scan.time);
            checked.notes.extend(torn_note(scan.torn_bytes));
            checked.findings.extend(scan.broken.map(|reason| finding(&journal.path(), &reason)));
        }
        Err(Error::Refused(refusal)) if refusal.code == Code::JournalBroken => {
            checked.findings.push(finding(&journal.path(), &refusal.causes.join("; ")));
        }
        Err(error) => return Err(error),
    }
    for path in &checked.set_aside {
        Journal::scan_set_aside(path, |_, head| {
            heads.insert((head.number, head.digest));
            Ok(())
        })?;
    }
    match access {
        Some(access) => check_anchors(host, access, &heads, &mut checked)?,
        None => checked.not_checked.push(format!("whether the journal was replaced as a whole: {WITH_VAULT}")),
    }
    Ok(checked)
}

const WITH_VAULT: &str = "name a vault that this host backed up into, and its key";

/// Looks for the entries that this host's own snapshots name.
fn check_anchors(
    host: &Host,
    access: &Access,
    heads: &HashSet<(u64, crate::crypto::Digest)>,
    checked: &mut Checked,
) -> Result<()> {
    let Some(own) = host.known_identity()? else { return Ok(()) };
    let vault = match gate::open(access) {
        Ok(vault) => vault,
        Err(error) => {
            let what =
                format!("the entries that this host's snapshots name, because the vault does not open ({error})");
            checked.not_checked.push(what);
            return Ok(());
        }
    };
    for (number, snapshot) in vault.chain.snapshots().filter(|(_, snapshot)| snapshot.host.id == own.id) {
        match snapshot.journal {
            Some(head) if heads.contains(&(head.number, head.digest)) => checked.anchors += 1,
            Some(head) => checked.findings.push(
                finding(
                    &checked.path,
                    &format!("snapshot {number} names entry {head}, which is in no journal of this host"),
                )
                .snapshot(number),
            ),
            None => {}
        }
    }
    Ok(())
}

fn torn_note(bytes: u64) -> Option<String> {
    (bytes > 0).then(|| {
        format!("{bytes} bytes behind the last entry are no entry: a crash left them, the next entry will say so")
    })
}

fn finding(path: &Path, reason: &str) -> Finding {
    Finding::new(Code::JournalBroken, shown_path(path), reason)
}

/// What was exported or begun.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The file that was written or set aside.
    pub path: PathBuf,
    /// How many entries it holds.
    pub entries: u64,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Moved {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({"path": shown_path(&self.path), "entries": self.entries})
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Writes every sound entry to a file that must not exist.
///
/// # Errors
/// DV319 where the journal is broken: nothing is written then; DV410 where it cannot be read; DV407 where the file
/// exists.
pub fn export(host: &Host, file: &Path) -> Result<Moved> {
    let entries = Journal::of(host).entries()?;
    let mut bytes = Vec::new();
    for entry in &entries {
        json::append_line(&mut bytes, entry);
    }
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Refusal::new(Code::NotEmpty, format!("{} exists; nothing is written over it", shown_path(file)))
                .next("name a file that does not exist yet")
                .into()
        }
        _ => Error::environment(format!("write {}", shown_path(file)), error),
    };
    replace::create_private(file, &bytes).map_err(failed)?;
    Ok(Moved { path: file.to_owned(), entries: entries.len() as u64, notes: Vec::new() })
}

/// Sets a broken journal aside and begins a new one. Open incidents go over into it; permits do not.
///
/// # Errors
/// DV709 where the journal is sound; DV410 where the state directory cannot be written.
pub fn restart(host: &Host, clock: &dyn Clock, reason: &str) -> Result<Moved> {
    let journal = Journal::of(host);
    let mut entries = Vec::new();
    let scan = journal.scan(|entry, _| {
        entries.push(entry);
        Ok(())
    });
    let broken = match scan {
        Ok(scan) => scan.broken,
        Err(Error::Refused(refusal)) if refusal.code == Code::JournalBroken => Some(refusal.message),
        Err(error) => return Err(error),
    };
    if broken.is_none() {
        return Err(Refusal::new(Code::IncidentUnfit, "the journal is sound: nothing needs to be begun anew")
            .next("check it: `devvault journal verify`")
            .into());
    }
    let carried: Vec<Event> = registry::carried(&registry::replay(&entries));
    let count = carried.len();
    let path = journal.restart(clock.now(), reason, carried)?;
    let mut notes = Vec::new();
    if count > 0 {
        notes.push(format!("{count} open incident(s) were carried over"));
    }
    notes.push("break-glass declarations were not carried over; those that were in effect have ended".into());
    Ok(Moved { path, entries: entries.len() as u64, notes })
}
