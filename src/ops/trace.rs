//! `trace`: who wrote a snapshot, a path or a pack, when and from where; when it was verified and when restored.
//!
//! What stands in manifests is authenticated; what this host did with it is what its journal says. What stands in the way
//! of a complete answer is a finding: who is told where something comes from must not take a part for the whole.

use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::attention;
use super::audit::{self, Told};
use super::select::{self, Selector};
use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::{Result, refuse};
use crate::format::entry::{Entry as Listed, Kind};
use crate::format::record::{Head, Snapshot};
use crate::incident::journal::{Entry, Journal};
use crate::incident::registry;
use crate::path::{EntryPath, shown, unshown};
use crate::pool::Pool;
use crate::progress::Progress;
use crate::refusal::{Code, Kept};
use crate::vault::catalog::UseIndex;
use crate::vault::gate::{self, Access, Vault};
use crate::vault::reads::copy_of;
use crate::vault::witness::Freshness;
use crate::vault::{Finding, layout};

/// What is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A snapshot.
    Snapshot(Selector),
    /// A pack, by its name.
    Pack(Digest),
    /// A path, in every snapshot that holds it.
    Path(EntryPath),
}

impl FromStr for Target {
    type Err = String;

    /// A number or `latest` is a snapshot, 64 hexadecimal digits are a pack, everything else is a path; `./7` is a path.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(selector) = text.parse() {
            return Ok(Self::Snapshot(selector));
        }
        let name = text.rsplit('/').next().unwrap_or(text);
        if let Ok(pack) = name.strip_suffix(".pack").unwrap_or(name).parse() {
            return Ok(Self::Pack(pack));
        }
        let path = text.strip_prefix("./").unwrap_or(text).trim_matches('/');
        EntryPath::parse(path.as_bytes()).map(Self::Path).map_err(|error| error.to_string())
    }
}

/// A snapshot that holds what is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub snapshot: u64,
    /// When it was complete.
    pub time: Time,
    /// The host that took it.
    pub host: String,
    /// The source, as bytes.
    pub source: Vec<u8>,
    /// The program that took it.
    pub program: String,
    /// What it holds there, in words: whether it wrote it, changed it, or took it over.
    pub what: String,
}

/// Something that this host did with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The journal's entry.
    pub entry: u64,
    /// When.
    pub time: Time,
    /// What came of it, in words.
    pub what: String,
}

/// What is known.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// Every snapshot that holds it, ascending.
    pub holders: Vec<Holder>,
    /// When this host verified it in this copy of the vault, newest first.
    pub verified: Vec<Done>,
    /// When a verification by this host found something wrong in this copy of the vault, in it or elsewhere, newest first.
    pub failed: Vec<Done>,
    /// When this host restored it, newest first.
    pub restored: Vec<Done>,
    /// When a pack was last read completely, as manifests say.
    pub read: Option<Time>,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// What stands in the way of a complete answer.
    pub findings: Vec<Finding>,
    /// What should be said besides.
    pub notes: Vec<String>,
    /// What was kept about it on this host.
    pub kept: Kept,
}

impl Told for Report {
    fn told(&self) -> Value {
        json!({"snapshots": self.holders.len()})
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn keep(&mut self, mut kept: Kept) {
        self.notes.append(&mut kept.notes);
        self.kept = kept;
    }
}

/// How many verifications and restores are told at most.
const DONE_MAX: usize = 10;

/// Tells where something comes from. A record or a listing that is damaged does not stop it where a path or a pack is
/// looked for: the report's findings say what could not be looked through.
///
/// # Errors
/// What selecting a snapshot refuses; DV210 where every snapshot was looked through and none holds it; what opening the
/// vault refuses.
pub fn run(access: &Access, target: &Target, progress: &dyn Progress) -> Result<Report> {
    audit::watch_reader(access, "trace", || trace(access, target, progress))
}

fn trace(access: &Access, target: &Target, progress: &dyn Progress) -> Result<Report> {
    let vault = gate::open(access)?;
    let _lock = gate::read_lock(&*vault.store)?;
    let mut report = Report {
        vault: vault.config.vault,
        holders: Vec::new(),
        verified: Vec::new(),
        failed: Vec::new(),
        restored: Vec::new(),
        read: None,
        freshness: vault.freshness.clone(),
        findings: Vec::new(),
        notes: vault.notes.clone(),
        kept: Kept::default(),
    };
    // Every snapshot is asked, so that none may be missing.
    if !matches!(target, Target::Snapshot(_)) {
        report.findings.clone_from(&vault.chain.findings);
    }
    match target {
        Target::Snapshot(selector) => {
            let (number, snapshot) = select::select(&vault, selector)?;
            report.holders.push(holder(number, snapshot, said_of(snapshot)));
        }
        Target::Pack(name) => trace_pack(&vault, name, &mut report)?,
        Target::Path(path) => trace_path(&vault, path, progress, &mut report)?,
    }
    let mut target = target.clone();
    if let Target::Path(named) = &target
        && report.holders.is_empty()
        && report.findings.is_empty()
        && let Some(shown) = named.unshown()
    {
        // No snapshot holds what it reads: a path may be copied from a list, as it is shown there.
        trace_path(&vault, &shown, progress, &mut report)?;
        target = Target::Path(shown);
    }
    if report.holders.is_empty() && report.findings.is_empty() && report.notes.len() == vault.notes.len() {
        return refuse(Code::SelectionEmpty, format!("nothing of that name is in {}", vault.store.describe()));
    }
    done_with(access, &vault, &target, &mut report);
    Ok(report)
}

fn holder(number: u64, snapshot: &Snapshot, what: String) -> Holder {
    Holder {
        snapshot: number,
        time: snapshot.ended,
        host: snapshot.host.name.clone(),
        source: snapshot.source.clone(),
        program: snapshot.program.clone(),
        what,
    }
}

fn said_of(snapshot: &Snapshot) -> String {
    let anchor = snapshot.journal.map_or_else(|| "no journal".to_owned(), |head| format!("entry {}", head.number));
    format!("begun {}; its host's journal stood at {anchor}", snapshot.started.rfc3339())
}

fn trace_pack(vault: &Vault, name: &Digest, report: &mut Report) -> Result<()> {
    let reader = Arc::new(vault.reader(vault.catalog(UseIndex::Yes)?));
    for (number, snapshot) in vault.chain.snapshots() {
        let packs = match reader.packs(snapshot) {
            Ok(packs) => packs,
            Err(finding) => {
                report.findings.push(finding.snapshot(number));
                continue;
            }
        };
        let Some(pack) = packs.iter().find(|pack| pack.0 == *name) else { continue };
        // A snapshot that wrote a pack gives its own end as the time of reading.
        let wrote = report.holders.is_empty() && pack.2 == snapshot.ended;
        let what = match wrote {
            true => format!("wrote it: {} bytes", pack.1),
            false => format!("relies on it; it was last read {}", pack.2.rfc3339()),
        };
        report.read = report.read.max(Some(pack.2));
        report.holders.push(holder(number, snapshot, what));
    }
    let there = reader.catalog().packs().iter().any(|pack| pack.name == *name);
    match (there, report.holders.is_empty()) {
        (true, true) => report.notes.push("no snapshot names this pack; the next backup uses what it holds".into()),
        (false, false) => {
            let path = layout::pack_path(name);
            let faulty = reader.catalog().findings.iter().find(|finding| finding.subject == path);
            let missing = || Finding::new(Code::ChunkMissing, path.as_str(), "the whole pack is missing");
            let snapshots = report.holders.iter().map(|holder| holder.snapshot).collect();
            report.findings.push(Finding { snapshots, ..faulty.cloned().unwrap_or_else(missing) });
        }
        _ => {}
    }
    Ok(())
}

fn trace_path(vault: &Vault, path: &EntryPath, progress: &dyn Progress, report: &mut Report) -> Result<()> {
    let reader = Arc::new(vault.reader(vault.catalog(UseIndex::Yes)?));
    let pool = Pool::new();
    let mut before: Option<Listed> = None;
    for (number, snapshot) in vault.chain.snapshots() {
        if progress.interrupted() {
            return Err(crate::error::Error::Interrupted(None));
        }
        let mut found = None;
        for batch in reader.entries_within(&pool, &snapshot.lists, path) {
            match batch {
                Ok(batch) => found = batch.entries.into_iter().find(|entry| entry.path == *path),
                Err(finding) => {
                    report.findings.push(finding.snapshot(number));
                    break;
                }
            }
            // What lies at the path comes before what lies below it.
            if found.is_some() {
                break;
            }
        }
        let Some(entry) = found else { continue };
        let what = told(&entry, before.as_ref());
        report.holders.push(holder(number, snapshot, what));
        before = Some(entry);
    }
    Ok(())
}

fn told(entry: &Listed, before: Option<&Listed>) -> String {
    let what = match &entry.kind {
        Kind::File(file) => format!("a file of {} bytes", file.size),
        Kind::Symlink(target) => format!("a link to {}", shown(target)),
        kind => format!("a {}", kind.name()),
    };
    let modified = entry.mtime.map(|time| format!(", modified {}", time.rfc3339())).unwrap_or_default();
    let how = match before {
        None => "first seen",
        Some(before) if same_content(before, entry) => "unchanged",
        Some(_) => "changed",
    };
    format!("{how}: {what}{modified}")
}

fn same_content(before: &Listed, entry: &Listed) -> bool {
    match (&before.kind, &entry.kind) {
        (Kind::File(before), Kind::File(entry)) => {
            before.size == entry.size && before.chunks == entry.chunks && before.holes == entry.holes
        }
        (before, entry) => before == entry,
    }
}

/// Adds what this host's journal says of the snapshots that hold it.
fn done_with(access: &Access, vault: &Vault, target: &Target, report: &mut Report) {
    let entries = match Journal::of(&access.host).entries() {
        Ok(entries) => entries,
        Err(error) => {
            report.notes.push(format!("what this host did with it is not known: {error}"));
            return;
        }
    };
    let holds = |number: u64| report.holders.iter().any(|holder| holder.snapshot == number);
    let looked_at = |entry: &&Entry| {
        let named = entry.data.get("snapshots").and_then(Value::as_array);
        let mut numbers = named.into_iter().flatten().filter_map(Value::as_u64);
        // What was looked at was another history, if its head does not occur in this one: a branch gives numbers anew.
        let Ok(head) = entry.text("head").parse::<Head>() else { return false };
        // Of many snapshots the journal names some: the whole of a vault is what it held up to its head then.
        let whole = entry.data.get("whole") == Some(&true.into());
        let was_there = |holder: &Holder| holder.snapshot <= head.number;
        entry.act == "verify"
            && !entry.text("verdict").is_empty()
            && vault.chain.holds(&head)
            && (numbers.any(holds) || whole && report.holders.iter().any(was_there))
    };
    let restored = |entry: &&Entry| {
        let number = entry.data.get("snapshot").and_then(Value::as_u64);
        let record = |number: &u64| vault.chain.digest(*number).map(|record| record.to_string());
        let same = |number: &u64| record(number).is_some_and(|record| entry.text("record") == record);
        entry.act == "restore"
            && entry.text("outcome") == "done"
            && number.filter(same).is_some_and(holds)
            && concerns(entry, target)
    };
    let done = |entry: &Entry, what: String| Done { entry: entry.number, time: entry.time, what };
    let told = |entry: &Entry| {
        let (level, verdict) = (entry.text("level"), entry.text("verdict"));
        done(entry, format!("{level} verification: {}", registry::claimed(verdict, level).replace('-', " ")))
    };
    // What was read of another copy says nothing of this one; what was restored from it is the same.
    let place = vault.store.describe();
    let own =
        attention::Own { entries: &entries, vault: vault.config.vault, place: &place, copy: copy_of(&*vault.store) };
    let looks: Vec<&Entry> = own.newest().filter(looked_at).collect();
    let (good, bad): (Vec<&Entry>, Vec<&Entry>) = looks.into_iter().partition(|entry| registry::found_nothing(entry));
    report.failed = bad.into_iter().take(DONE_MAX).map(told).collect();
    report.verified = good.into_iter().take(DONE_MAX).map(told).collect();
    report.restored = entries
        .iter()
        .rev()
        .filter(|entry| entry.vault == Some(vault.config.vault))
        .filter(restored)
        .take(DONE_MAX)
        .map(|entry| done(entry, place_restored(entry)))
        .collect();
}

/// Returns whether patterns left something out of what a restore brought back; the journal has how much and not what.
fn chose(entry: &Entry) -> bool {
    entry.data.get("not_chosen").and_then(Value::as_u64).unwrap_or(0) > 0
}

/// Says where a restore brought back how much.
fn place_restored(entry: &Entry) -> String {
    let part = if entry.text("path") != EntryPath::root().to_string() || chose(entry) { "a part, " } else { "" };
    let drill = entry.data.get("in_drill") == Some(&true.into());
    let by = if drill { " by a drill" } else { "" };
    format!("{part}to {}{by}", entry.text("destination"))
}

/// Returns whether a restore brought back what is traced.
fn concerns(entry: &Entry, target: &Target) -> bool {
    let Target::Path(path) = target else { return true };
    if chose(entry) {
        return false;
    }
    // The journal has it as it is shown.
    let restored = unshown(entry.text("path").as_bytes());
    let restored = restored.and_then(|path| EntryPath::parse(&path).ok()).unwrap_or_default();
    entry.text("path") == EntryPath::root().to_string() || restored.is_root() || path.is_within(&restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_traced_is_told_by_its_form() {
        let pack = Digest([0xab; 32]);
        for text in [pack.to_string(), format!("packs/ab/{pack}.pack"), format!("{pack}.pack")] {
            assert_eq!(text.parse(), Ok(Target::Pack(pack)));
        }
        assert_eq!("7".parse(), Ok(Target::Snapshot(Selector::Number(7))));
        assert_eq!("latest".parse(), Ok(Target::Snapshot(Selector::Latest(None))));
        let path = |text: &str| Target::Path(EntryPath::parse(text.as_bytes()).expect("valid"));
        assert_eq!("./7".parse(), Ok(path("7")));
        assert_eq!("src/main.rs".parse(), Ok(path("src/main.rs")));
        assert!("../x".parse::<Target>().is_err());
    }
}
