//! Incidents: what is open about which vault, since when, and what was decided.
//!
//! Invariants: an incident belongs to a vault and the place where it lies; it is what the journal says and nothing else;
//! while one is open, nothing is removed from that vault by this host. A finding that was already decided is reported
//! again, but opens no new incident, until a full verification has found nothing any more: what breaks after that is new.

use std::path::Path;

use serde_json::{Value, json};

use super::break_glass::{self, Act, Permit, Target};
use super::journal::{Entry, Event, bounded};
use super::{Item, add_new, newest};
use crate::clock::Time;
use crate::crypto::Id;
use crate::error::Result;
use crate::format::record::Head;
use crate::fsys::Dir;
use crate::limits;
use crate::path::quoted;
use crate::refusal::{Code, Family, Refusal};

/// How long after an incident opened its report is due, in seconds.
pub const REPORT_DUE_SECONDS: i64 = 24 * 3600;
/// The act under which incidents stand in the journal.
pub const ACT: &str = "incident";

/// What somebody wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub time: Time,
    /// What.
    pub text: String,
    /// Who.
    pub by: String,
}

/// How an incident ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub time: Time,
    /// Why.
    pub reason: String,
    /// Who closed it.
    pub by: String,
    /// What was decided about what stays broken; absent where a full verification found nothing.
    pub decision: Option<String>,
    /// Whether a full verification has found nothing since, of what one had found: nothing stays broken of what was decided
    /// about. What a verification does not look at it does not end either.
    pub is_over: bool,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id: letters, digits and dashes.
    pub id: String,
    /// The vault, as far as it was known.
    pub vault: Option<Id>,
    /// Where the vault lies.
    pub place: String,
    /// How bad it is.
    pub severity: String,
    /// The codes that were seen, ascending.
    pub codes: Vec<Code>,
    /// What was found.
    pub items: Vec<Item>,
    /// When it opened.
    pub opened: Time,
    /// When its report is due.
    pub report_due: Time,
    /// When its report was written, if it was.
    pub reported: Option<Time>,
    /// How it ended, if it did.
    pub closed: Option<Closed>,
    /// What was written down.
    pub notes: Vec<Note>,
    /// Files of evidence.
    pub evidence: Vec<String>,
    /// The copies of the vault at its place in which something was found: see [`crate::vault::reads::copy_of`].
    pub copies: Vec<String>,
    /// Whether a full verification found something of it.
    pub is_of_verification: bool,
    /// All that was found at one time, of each time that it was something else: see [`found`].
    pub found: Vec<String>,
    /// The number of the journal's newest entry that adds to it.
    pub last_entry: u64,
}

impl Incident {
    /// Returns whether the report is late.
    pub fn is_overdue(&self, now: Time) -> bool {
        self.reported.is_none() && now > self.report_due
    }

    /// Returns `open` or `closed`.
    pub fn state(&self) -> &'static str {
        if self.closed.is_some() { "closed" } else { "open" }
    }

    /// Returns whether it is about a place, given whole or as entries hold it.
    pub fn is_at(&self, place: &str) -> bool {
        self.place == bounded(place)
    }

    /// Returns whether an entry is about the copy of the vault in which something was found, as far as copies can be told
    /// apart; an incident that saw several is about none of them alone.
    fn is_of_copy(&self, entry: &Entry) -> bool {
        self.copies.iter().all(|copy| copy == entry.text("copy"))
    }

    fn concerns(&self, vault: Option<Id>, place: &str) -> bool {
        self.is_at(place) && (self.vault == vault || self.vault.is_none() || vault.is_none())
    }

    /// Returns whether the incident holds what lies at a place: there, and wherever the same directory may have gone. A
    /// medium can be mounted elsewhere; only a vault that is certainly another copy is free.
    fn holds(&self, vault: Option<Id>, place: &str) -> bool {
        let same_vault = self.vault.is_some() && self.vault == vault;
        self.concerns(vault, place) || same_vault && !is_another(&self.place, place)
    }

    fn add(&mut self, entry: &Entry) {
        let list = |name: &str| entry.data.get(name).and_then(Value::as_array).into_iter().flatten();
        for item in list("items").filter_map(Item::from_json) {
            if !self.codes.contains(&item.code) {
                self.codes.push(item.code);
            }
            match self.items.iter_mut().find(|known| known.code == item.code && known.subject == item.subject) {
                Some(known) => known.grow(item),
                None => self.items.push(item),
            }
        }
        // What opens no incident says nothing of the copy that lies there at the time.
        let grave = list("items").filter_map(Item::from_json).any(|item| opens(item.code));
        let own = |name: &str| Some(entry.text(name)).filter(|text| grave && !text.is_empty());
        add_new(&mut self.copies, list("copies").filter_map(Value::as_str).chain(own("copy")));
        add_new(&mut self.found, list("founds").filter_map(Value::as_str).chain(own("found")));
        self.is_of_verification |=
            is_full_verification(entry) || entry.data.get("by_verification") == Some(&true.into());
        self.codes.sort_unstable();
        let evidence = entry.text("evidence");
        if !evidence.is_empty() && !self.evidence.iter().any(|known| known == evidence) {
            self.evidence.push(evidence.to_owned());
        }
        self.last_entry = entry.number;
    }
}

/// Returns whether a code opens an incident: a failure of integrity or authenticity that leaves something to preserve.
///
/// A question about what is not there, a key that is missing or another vault's, a host that has lost its own memory, and
/// a drill on a copy say nothing against the vault.
pub fn opens(code: Code) -> bool {
    let harmless = [
        Code::DamageNotRefused,
        Code::KeyMissing,
        Code::KeyWrong,
        Code::KeyExposed,
        Code::KeyInsideVault,
        Code::KeyDamaged,
        Code::FormatUnknown,
        Code::WitnessMissing,
        Code::JournalBroken,
        Code::EvidenceDamaged,
        Code::ReceiptForged,
    ];
    leaves_evidence(code) && !only_answers(code) && !harmless.contains(&code)
}

/// Returns whether a code only answers a question about what is not there: a number that was mistyped or removed, a vault
/// or a snapshot without what was asked of it. It is no part of the story of an incident either.
fn only_answers(code: Code) -> bool {
    [Code::NothingToVerify, Code::NoSuchSnapshot, Code::SnapshotRemoved, Code::NothingToDrill].contains(&code)
}

/// Returns whether a code leaves a file of evidence.
pub fn leaves_evidence(code: Code) -> bool {
    matches!(code.family(), Family::SnapshotIntegrity | Family::CryptoBoundary)
}

/// Returns every incident that the journal tells of, oldest first.
pub fn replay(entries: &[Entry]) -> Vec<Incident> {
    let mut incidents: Vec<Incident> = Vec::new();
    for entry in entries {
        let id = entry.text("incident");
        if id.is_empty() {
            if is_full_verification(entry) && found_nothing(entry) {
                let place = entry.place.as_deref().unwrap_or_default();
                let whole = incidents.iter_mut().filter(|known| {
                    known.is_of_verification && known.concerns(entry.vault, place) && known.is_of_copy(entry)
                });
                whole.filter_map(|known| known.closed.as_mut()).for_each(|closed| closed.is_over = true);
            }
            continue;
        }
        let event = if entry.act == ACT { entry.text("event") } else { "" };
        if event == "opened" {
            if incidents.iter().all(|incident| incident.id != id) {
                incidents.push(opened(entry, id));
            }
            continue;
        }
        let Some(incident) = incidents.iter_mut().find(|incident| incident.id == id) else { continue };
        let note = || Note { time: entry.time, text: entry.text("text").to_owned(), by: entry.text("by").to_owned() };
        match event {
            "noted" => incident.notes.push(note()),
            "reported" => incident.reported = Some(entry.time),
            "closed" => {
                let decision = entry.text("decision");
                incident.closed = Some(Closed {
                    time: entry.time,
                    reason: entry.text("reason").to_owned(),
                    by: entry.text("by").to_owned(),
                    decision: (!decision.is_empty()).then(|| decision.to_owned()),
                    is_over: entry.data.get("over") == Some(&true.into()),
                });
            }
            // What was declared or closed is part of the story; it is no new finding.
            _ if entry.act == break_glass::ACT => {}
            _ => incident.add(entry),
        }
    }
    incidents
}

/// Returns whether two places certainly hold two vaults: both are there, and they are not one directory reached in two
/// ways.
fn is_another(one: &str, two: &str) -> bool {
    let id = |place: &str| {
        let dir = Dir::open(Path::new(place)).ok()?;
        dir.stat_at(b"vault.json").ok()?;
        dir.stat().ok().map(|stat| stat.id)
    };
    matches!((id(one), id(two)), (Some(one), Some(two)) if one != two)
}

fn opened(entry: &Entry, id: &str) -> Incident {
    // An incident that outlived its journal keeps the time at which it opened.
    let since = entry.data.get("since").and_then(Value::as_i64).map(|seconds| Time { seconds, nanos: 0 });
    let time = since.unwrap_or(entry.time);
    let mut incident = Incident {
        id: id.to_owned(),
        vault: entry.vault,
        place: entry.place.clone().unwrap_or_default(),
        severity: entry.text("severity").to_owned(),
        codes: Vec::new(),
        items: Vec::new(),
        opened: time,
        report_due: Time { seconds: time.seconds.saturating_add(REPORT_DUE_SECONDS), nanos: 0 },
        reported: None,
        closed: None,
        notes: Vec::new(),
        evidence: Vec::new(),
        copies: Vec::new(),
        is_of_verification: false,
        found: Vec::new(),
        last_entry: entry.number,
    };
    incident.add(entry);
    let list = |name: &str| entry.data.get(name).and_then(Value::as_array).into_iter().flatten();
    incident.evidence.extend(list("evidence_files").filter_map(Value::as_str).map(str::to_owned));
    incident.notes.extend(list("notes").filter_map(Note::from_json));
    incident.reported = entry.data.get("reported").and_then(Value::as_i64).map(|seconds| Time { seconds, nanos: 0 });
    incident
}

impl Note {
    fn to_json(&self) -> Value {
        json!({"time": self.time.seconds, "text": bounded(&self.text), "by": bounded(&self.by)})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Some(Self { time: Time { seconds: value["time"].as_i64()?, nanos: 0 }, text: text("text"), by: text("by") })
    }
}

/// What findings mean for the incidents of a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// They belong to an open incident.
    Joins(String),
    /// They open one.
    Opens,
    /// Somebody decided about all of them before.
    Decided,
    /// They are none that open one.
    Nothing,
}

/// Which vault findings are about: the vault and its place, and the copy that lies there, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub struct Whereabouts<'a> {
    /// The vault.
    pub vault: Option<Id>,
    /// Where it lies.
    pub place: &'a str,
    /// Which copy of it: see [`crate::vault::reads::copy_of`].
    pub copy: Option<&'a str>,
}

/// Decides what findings mean.
pub fn matter(incidents: &[Incident], at: &Whereabouts<'_>, items: &[Item]) -> Matter {
    if items.iter().all(|item| only_answers(item.code)) {
        return Matter::Nothing;
    }
    let own = || incidents.iter().filter(|incident| incident.concerns(at.vault, at.place));
    if let Some(open) = own().find(|incident| incident.closed.is_none()) {
        // A finding that would open none still belongs to the story of the one that is open.
        return Matter::Joins(open.id.clone());
    }
    let grave: Vec<&Item> = items.iter().filter(|item| opens(item.code)).collect();
    if grave.is_empty() {
        return Matter::Nothing;
    }
    let stands = |incident: &&Incident| {
        let same_copy = incident.copies.is_empty() || incident.copies.iter().any(|copy| at.copy == Some(copy));
        same_copy && incident.closed.as_ref().is_some_and(|closed| closed.decision.is_some() && !closed.is_over)
    };
    let all = found(items);
    if own().filter(stands).any(|incident| incident.found.contains(&all)) {
        return Matter::Decided;
    }
    let decided: Vec<&Item> = own().filter(stands).flat_map(|incident| &incident.items).collect();
    if grave.iter().all(|item| is_decided(item, &decided)) { Matter::Decided } else { Matter::Opens }
}

/// Returns what tells all that was found at one time apart from everything else, however much it was: the journal names only
/// some of it. What opens no incident is no part of it.
pub fn found(items: &[Item]) -> String {
    let grave = items.iter().filter(|item| opens(item.code));
    let mut identities: Vec<&String> = grave.flat_map(|item| &item.identities).collect();
    identities.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for identity in identities {
        hasher.update(identity.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The same thing as was decided, with nothing more affected; or content of paths that were all decided, in snapshots of
/// which it was decided too.
fn is_decided(item: &Item, decided: &[&Item]) -> bool {
    let same = |known: &&Item| known.code == item.code && known.subject == item.subject && known.covers(item);
    if decided.iter().any(same) {
        return true;
    }
    let content = |code: Code| {
        matches!(
            code,
            Code::ChunkMissing | Code::ChunkDamaged | Code::ListingMissing | Code::ListingDamaged | Code::PackDamaged
        )
    };
    // A refusal names no snapshot; then it has to be the same pack, where it names one.
    let is_there = |other: &Item| match item.snapshots.is_empty() {
        true => item.subject == other.subject || !item.subject.ends_with(".pack"),
        false => item.snapshots.iter().all(|number| other.snapshots.contains(number)),
    };
    let known = |path: &String| {
        decided.iter().any(|other| content(other.code) && other.paths.contains(path) && is_there(other))
    };
    content(item.code) && !item.paths.is_empty() && item.names_all_paths() && item.paths.iter().all(known)
}

/// Returns the event that opens an incident, and its id.
pub fn opening(now: Time, random: Id, vault: Option<Id>, place: &str, items: &[Item]) -> (String, Event) {
    let day: String = now.rfc3339().chars().take(10).filter(char::is_ascii_digit).collect();
    let id = format!("INC-{day}-{}", &random.to_string()[..6]);
    let severity = items.iter().map(|item| item.code.family().severity()).min().unwrap_or("SEV-1");
    let data = json!({
        "event": "opened",
        "incident": id,
        "severity": severity,
        "items": items_to_json(items),
    });
    let event = Event::new(ACT, data).of(vault, place);
    (id, event)
}

/// Returns items for an entry of the journal, within its bounds: where there is too much to say, the paths go first, then
/// the last items. Evidence says more.
pub fn items_to_json(items: &[Item]) -> Vec<Value> {
    let (mut left, mut fitting) = (ITEMS_BYTES_MAX, Vec::new());
    for item in items.iter().take(limits::EVIDENCE_ITEMS_MAX) {
        let with_paths = item.to_json(ITEM_PATHS_MAX);
        let value = if length(&with_paths) <= left / 2 { with_paths } else { item.to_json(0) };
        let Some(rest) = left.checked_sub(length(&value)) else { break };
        left = rest;
        fitting.push(value);
    }
    fitting
}

/// How many bytes of an entry its items take at most.
const ITEMS_BYTES_MAX: usize = 96 << 10;

fn length(value: &Value) -> usize {
    value.to_string().len()
}

/// How many paths of one finding an entry of the journal names; evidence names more.
const ITEM_PATHS_MAX: usize = 5;

/// Returns the events that carry incidents over into a new journal: all that are open, that wait for their report, or
/// that hold a decision about what stays broken.
pub fn carried(incidents: &[Incident]) -> Vec<Event> {
    let mut events = Vec::new();
    for incident in incidents {
        let decision = incident.closed.as_ref().and_then(|closed| closed.decision.as_ref());
        if incident.closed.is_some() && incident.reported.is_some() && decision.is_none() {
            continue;
        }
        let evidence = incident.evidence.iter().rev().take(limits::EVIDENCE_ITEMS_MAX).map(|path| bounded(path));
        let mut left = ITEMS_BYTES_MAX;
        let mut notes: Vec<Value> = Vec::new();
        for note in incident.notes.iter().rev().map(Note::to_json) {
            let Some(rest) = left.checked_sub(length(&note)) else { break };
            left = rest;
            notes.insert(0, note);
        }
        let mut data = json!({
            "event": "opened",
            "incident": incident.id,
            "severity": incident.severity,
            "since": incident.opened.seconds,
            "items": items_to_json(&incident.items),
            "copies": newest(&incident.copies),
            "founds": newest(&incident.found),
            "by_verification": incident.is_of_verification,
            "evidence_files": evidence.collect::<Vec<_>>(),
            "notes": notes,
        });
        if let Some(time) = incident.reported {
            data["reported"] = time.seconds.into();
        }
        events.push(Event::new(ACT, data).of(incident.vault, &incident.place));
        if let Some(closed) = &incident.closed {
            let mut data = json!({
                "event": "closed",
                "incident": incident.id,
                "reason": bounded(&closed.reason),
                "by": bounded(&closed.by),
            });
            if let Some(decision) = decision {
                data["decision"] = bounded(decision).into();
            }
            if closed.is_over {
                data["over"] = true.into();
            }
            events.push(Event::new(ACT, data).of(incident.vault, &incident.place));
        }
    }
    events
}

/// Returns the incident of this id.
///
/// # Errors
/// DV709 where there is none.
pub fn find<'a>(incidents: &'a [Incident], id: &str) -> Result<&'a Incident> {
    let found = incidents.iter().find(|incident| incident.id.eq_ignore_ascii_case(id));
    found.ok_or_else(|| {
        let id = crate::path::shown(id.as_bytes());
        Refusal::new(Code::IncidentUnfit, format!("there is no incident {id} in this host's journal"))
            .next("list the incidents: `devvault incident list`")
            .into()
    })
}

/// Returns whether a path that was printed, or written down, is the path itself: nothing in it was escaped or cut off.
pub fn is_printed_as_it_is(path: &str) -> bool {
    let escaped = !cfg!(windows) && path.contains('\\');
    !escaped && !path.ends_with('…')
}

/// Returns the command that verifies the vault at a place, as a shell takes it. A place that cannot be named so as it was
/// written down is left to whoever knows the vault.
pub fn verify_at(place: Option<&str>) -> String {
    let nameable = |place: &&str| Path::new(place).is_absolute() && is_printed_as_it_is(place);
    match place.filter(nameable) {
        Some(place) => format!("devvault --vault {} verify", quoted(place)),
        None => "devvault verify".into(),
    }
}

/// Returns where this host last did anything with a vault, as far as its journal knows.
pub fn last_place(entries: &[Entry], vault: Id) -> Option<&str> {
    entries.iter().rev().filter(|entry| entry.vault == Some(vault)).find_map(|entry| entry.place.as_deref())
}

/// Returns the newest head of a vault that this host's journal has, since it last began a branch.
pub fn newest_head(entries: &[Entry], vault: Id) -> Option<Head> {
    let own = entries.iter().filter(|entry| entry.vault == Some(vault));
    let begun = own.clone().rfind(|entry| entry.act == "branch" && entry.text("outcome") == "done");
    let since = begun.map_or(0, |entry| entry.number);
    let heads = own.filter(|entry| entry.number >= since).filter_map(|entry| entry.text("head").parse::<Head>().ok());
    heads.max_by_key(|head| head.number)
}

/// Returns the event of a note.
pub fn note(incident: &Incident, text: &str, by: &str) -> Event {
    let data = json!({"event": "noted", "incident": incident.id, "text": bounded(text), "by": bounded(by)});
    Event::new(ACT, data).of(incident.vault, &incident.place)
}

/// Returns the event that says that the report was written.
pub fn reported(incident: &Incident) -> Event {
    let data = json!({"event": "reported", "incident": incident.id});
    Event::new(ACT, data).of(incident.vault, &incident.place)
}

/// Returns the event that closes an incident.
///
/// # Errors
/// DV709 where it is closed already, where there is no reason, or where neither the newest full verification of the
/// whole vault, made since the last entry about the incident, found nothing, nor a decision says what stays broken.
pub fn closing(
    entries: &[Entry],
    incident: &Incident,
    reason: &str,
    by: &str,
    decision: Option<&str>,
) -> Result<Event> {
    let unfit = |message: String| Refusal::new(Code::IncidentUnfit, message);
    if let Some(closed) = &incident.closed {
        let message = format!("incident {} was closed at {}", incident.id, closed.time.rfc3339());
        return Err(unfit(message).next(format!("read it: `devvault incident show {}`", incident.id)).into());
    }
    if reason.trim().is_empty() || decision.is_some_and(|decision| decision.trim().is_empty()) {
        return Err(unfit("a reason or a decision without words decides nothing".into())
            .next(format!("say why it is over: `devvault incident close {} --reason WHY`", incident.id))
            .into());
    }
    let clean = clean_verification(entries, incident);
    if decision.is_none() && clean.is_none() {
        let refusal = unfit(format!(
            "incident {} cannot be closed: no full verification of the whole vault has found nothing since it last grew",
            incident.id
        ));
        let close = format!("devvault incident close {} --reason WHY --decision", incident.id);
        return Err(match clean_copy(entries, incident) {
            Some(copy) => refusal
                .cause(match incident.is_at(copy) {
                    true => format!(
                        "what was verified in {copy} since is another copy of the vault than the one in which this was \
                         found, or its vault.json was put back or got other metadata"
                    ),
                    false => format!(
                        "what was verified is another copy, in {copy}; the one in {} stays as it is",
                        incident.place
                    ),
                })
                .next(format!("if you go on with that copy, say so: `{close} 'we go on with another copy' --by WHO`")),
            None => refusal.next(format!(
                "verify the whole vault: `{}`; or record what stays broken: `{close} WHAT --by WHO`",
                verify_at(Some(&incident.place))
            )),
        }
        .into());
    }
    let mut data = json!({
        "event": "closed",
        "incident": incident.id,
        "reason": bounded(reason),
        "by": bounded(by),
    });
    if let Some(decision) = decision {
        data["decision"] = bounded(decision).into();
    }
    if let Some(entry) = clean {
        data["verified_by_entry"] = entry.into();
    }
    Ok(Event::new(ACT, data).of(incident.vault, &incident.place))
}

/// Returns the entry of a full verification of the whole vault that found nothing, made after the incident last grew.
fn clean_verification(entries: &[Entry], incident: &Incident) -> Option<u64> {
    let last = entries.iter().rev().find(|entry| {
        entry.number > incident.last_entry
            && entry.is_at(&incident.place)
            && incident.is_of_copy(entry)
            && (incident.vault.is_none() || entry.vault == incident.vault)
            && is_full_verification(entry)
    })?;
    found_nothing(last).then_some(last.number)
}

/// Returns the place of another copy of the vault whose full verification found nothing since the incident last grew.
fn clean_copy<'a>(entries: &'a [Entry], incident: &Incident) -> Option<&'a str> {
    let later = |entry: &&Entry| entry.number > incident.last_entry && is_full_verification(entry);
    let copy = |entry: &&Entry| incident.vault.is_some() && entry.vault == incident.vault && found_nothing(entry);
    entries.iter().rev().filter(later).find(copy)?.place.as_deref()
}

/// Returns whether an entry tells of a full verification of a whole vault, whatever it found.
pub fn is_full_verification(entry: &Entry) -> bool {
    entry.act == "verify"
        && entry.text("level") == "full"
        && entry.data.get("whole") == Some(&Value::Bool(true))
        && !entry.text("verdict").is_empty()
}

/// The verdict of a verification that read everything and found nothing.
pub const VALID: &str = "valid";
/// The verdict of a verification that read a part and found nothing.
pub const NO_FAULT_FOUND: &str = "no-fault-found";

/// Returns whether an entry tells of a verification that found nothing in what it read.
pub fn found_nothing(entry: &Entry) -> bool {
    [VALID, NO_FAULT_FOUND].contains(&entry.text("verdict"))
}

/// Returns what a verdict that was written down claims at its level: what earlier versions wrote of a part was `valid` too.
pub fn claimed<'a>(verdict: &'a str, level: &str) -> &'a str {
    if verdict == VALID && level != "full" { NO_FAULT_FOUND } else { verdict }
}

/// Proves that nothing stands against removing something from a vault; only the checks here make one.
#[derive(Debug)]
pub struct Clearance {
    _private: (),
}

/// Refuses to remove anything from a vault while an incident is open about it, unless a permit releases it.
///
/// # Errors
/// DV702 where evidence is held.
pub fn clear_to_remove(
    entries: &[Entry],
    vault: Option<Id>,
    place: &str,
    permit: Option<&Permit>,
    target: Option<Target>,
) -> Result<Clearance> {
    let released = match (permit, vault, target) {
        (Some(permit), Some(vault), Some(target)) => permit.covers(Act::Release, vault, target),
        _ => false,
    };
    let incidents = replay(entries);
    let open = incidents.iter().find(|incident| incident.closed.is_none() && incident.holds(vault, place));
    match open {
        Some(incident) if !released => {
            let mut refusal = Refusal::new(
                Code::EvidenceHold,
                format!("incident {} is open about this vault, so that nothing is removed from it", incident.id),
            )
            .cause(format!(
                "{} since {}; the hold binds this host only",
                incident.severity,
                incident.opened.rfc3339()
            ));
            if !incident.is_at(place) {
                let before = crate::path::shown(incident.place.as_bytes());
                refusal = refusal.cause(format!("it opened about {before}, and this may be the same directory"));
            }
            Err(refusal.into())
        }
        _ => Ok(Clearance { _private: () }),
    }
}
