//! `journal`: shows, checks and exports what this host did, and begins a new journal where the old one is broken.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::audit::Told;
use super::output::Output;
use crate::clock::{Clock, Time};
use crate::error::{Error, Result, shown_path};
use crate::format::json;
use crate::format::record::Head;
use crate::host::Host;
use crate::incident::journal::{BEGUN_ACT, Entry, Journal};
use crate::incident::{break_glass, registry};
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
            entries.push_back(entry);
            if entries.len() > count {
                entries.pop_front();
            }
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
    /// Snapshots that name an entry which went with a journal that a person set aside, and when that was.
    pub given_up: Option<(Vec<u64>, Time)>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was not looked at, in words.
    pub not_checked: Vec<String>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Checked {
    /// Returns what it comes to: `sound`, `broken`, or `absent` where there was no entry to check and nothing says that
    /// there should be one.
    pub fn verdict(&self) -> &'static str {
        match (self.findings.is_empty(), self.entries) {
            (false, _) => "broken",
            (true, 0) => "absent",
            (true, _) => "sound",
        }
    }
}

/// Checks every entry of the journal, and that every entry which this host's snapshots in a vault name is there.
///
/// # Errors
/// DV410 where the journal cannot be read. A cut, edited or reordered journal is no error but a finding.
pub fn verify(host: &Host, access: Option<&Access>) -> Result<Checked> {
    let journal = Journal::of(host);
    let mut heads: HashSet<(u64, crate::crypto::Digest)> = HashSet::new();
    let mut checked = Checked { path: journal.path(), set_aside: journal.set_aside()?, ..Checked::default() };
    let own = host.known_identity()?.map(|host| host.id);
    let (mut begun, mut foreign) = (None, None);
    let scan = journal.scan(|entry, head| {
        heads.insert((head.number, head.digest));
        foreign =
            foreign.or(entry.host.filter(|host| own.is_some_and(|own| own != *host)).map(|host| (entry.number, host)));
        begun = begun.or_else(|| (entry.act == BEGUN_ACT).then_some(entry.time));
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
    if let Some((number, other)) = foreign {
        let reason = format!("entry {number} was written by host {other}, and this host is another one");
        checked.findings.push(finding(&journal.path(), &reason));
    }
    for path in &checked.set_aside {
        // A line that a snapshot names by its digest is genuine, whatever stands before it.
        Journal::each_readable(path, |_, head| {
            heads.insert((head.number, head.digest));
        })?;
    }
    match access {
        Some(access) => check_anchors(host, access, &heads, begun, &mut checked)?,
        None => checked.not_checked.push(format!("whether the journal was replaced as a whole: {WITH_VAULT}")),
    }
    Ok(checked)
}

const WITH_VAULT: &str = "name a vault that this host backed up into, and its key";

/// Looks for the entries that this host's own snapshots name. One that was lost with a journal which a person set aside,
/// saying why, was decided about: it is told and is no finding any more.
fn check_anchors(
    host: &Host,
    access: &Access,
    heads: &HashSet<(u64, crate::crypto::Digest)>,
    begun: Option<Time>,
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
    let mut given_up = Vec::new();
    for (number, snapshot) in vault.chain.snapshots().filter(|(_, snapshot)| snapshot.host.id == own.id) {
        match snapshot.journal {
            Some(head) if heads.contains(&(head.number, head.digest)) => checked.anchors += 1,
            Some(_) if begun.is_some_and(|begun| snapshot.ended <= begun) => given_up.push(number),
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
    checked.given_up = begun.filter(|_| !given_up.is_empty()).map(|begun| (given_up, begun));
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

/// Writes every sound entry to a file that must not exist and lies in no vault: not in this one, if one is named.
///
/// # Errors
/// As [`Output::new`]; DV319 where the journal is broken: nothing is written then; DV410 where it cannot be read.
pub fn export(host: &Host, vault: Option<&Path>, file: &Path) -> Result<Moved> {
    let output = Output::new("the journal's copy", file, host, vault)?;
    let entries = Journal::of(host).entries()?;
    let mut bytes = Vec::new();
    for entry in &entries {
        json::append_line(&mut bytes, entry);
    }
    output.create_private(&bytes)?;
    Ok(Moved { path: file.to_owned(), entries: entries.len() as u64, notes: Vec::new() })
}

/// Sets a broken journal aside and begins a new one. Incidents that are open, not reported or decided about go over into
/// it, and permits that nobody closed, which permit nothing any more.
///
/// A journal is broken where [`verify`] finds something, also that a snapshot names an entry which is not there: then
/// another one was put in its place.
///
/// # Errors
/// DV709 where the journal is sound, or where the reason has no words; DV410 where the state directory cannot be read or
/// written.
pub fn restart(host: &Host, access: Option<&Access>, clock: &dyn Clock, reason: &str) -> Result<Moved> {
    if reason.trim().is_empty() {
        return Err(Refusal::new(Code::IncidentUnfit, "a journal that is begun anew without words explains nothing")
            .next("say what you found: `devvault journal restart --reason WHY`")
            .into());
    }
    let journal = Journal::of(host);
    let checked = verify(host, access)?;
    if checked.findings.is_empty() {
        let message = format!("the journal is {}: nothing needs to be begun anew", checked.verdict());
        return Err(Refusal::new(Code::IncidentUnfit, message)
            .next("check it, naming the vault that this host backs up into: `devvault --vault VAULT journal verify`")
            .into());
    }
    let (now, mut readable, mut open, mut ended) = (clock.now(), 0, 0, 0);
    let path = journal.restart(now, reason, |entries| {
        let newest = entries.iter().map(|entry| entry.time).max();
        let incidents = registry::carried(&registry::replay(&entries));
        let permits = break_glass::carried(&break_glass::replay(&entries), now, newest);
        readable = entries.len() as u64;
        open = incidents.iter().filter(|event| event.is_opening()).count();
        ended = permits.len();
        incidents.into_iter().chain(permits).collect()
    })?;
    let mut notes = Vec::new();
    if open > 0 {
        notes.push(format!("{} carried over", counted(open, "incident was", "incidents were")));
    }
    if ended > 0 {
        let text =
            counted(ended, "permit was carried over: it has ended", "permits were carried over: they have ended");
        notes.push(format!("{text}, and somebody has to close what was declared"));
    }
    Ok(Moved { path, entries: readable, notes })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
