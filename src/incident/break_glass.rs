//! Break-glass: the documented way out, declared, journaled, narrow and expiring.
//!
//! Invariants: a [`Permit`] is a value that only [`grant`] makes, after the declaration it rests on was durable, has
//! taken effect and has not ended, and after its use was journaled; the list of what can be permitted is closed; an
//! expired declaration stays expired; a clock that is behind the journal voids every permit. No permit makes damaged
//! content valid, restores into a place that holds anything, or promotes what is incomplete.

use std::fmt;
use std::str::FromStr;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::journal::{Entry, Event, Journal, bounded};
use super::registry::{self, Incident, is_full_verification};
use crate::clock::Time;
use crate::crypto::Id;
use crate::error::{Error, Result};
use crate::format::record::Head;
use crate::host::Host;
use crate::limits;
use crate::refusal::{Code, Family, Refusal};

/// The act under which break-glass stands in the journal.
pub const ACT: &str = "break-glass";
/// How long after its declaration a permit takes effect, in seconds: a pause to think.
pub const PAUSE_SECONDS: i64 = 120;
/// Longest time box, in minutes.
pub const MINUTES_MAX: i64 = 480;

/// What can be permitted: this and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Continue an older copy of the vault as a branch.
    Branch,
    /// Declare a record lost that the medium destroyed.
    Lost,
    /// Copy unauthenticated content of a snapshot into an empty directory.
    Salvage,
    /// Release the evidence hold for what the scope names.
    Release,
}

impl Act {
    /// Returns the act's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Branch => "continue an older copy",
            Self::Lost => "declare a record lost",
            Self::Salvage => "salvage unauthenticated content",
            Self::Release => "release the evidence hold",
        }
    }

    /// Says what the permit allows.
    pub fn allows(self) -> &'static str {
        match self {
            Self::Branch => {
                "to continue the copy with this head as a branch (`devvault branch`): newer records are left behind"
            }
            Self::Lost => "to record that this number was destroyed by the medium (`devvault declare-lost`)",
            Self::Salvage => {
                "to copy what this snapshot names without proof into a directory of its own (`devvault salvage`), labelled unauthenticated"
            }
            Self::Release => {
                "to remove what the scope names although an incident is open (`devvault incomplete discard`)"
            }
        }
    }

    /// Returns what is permitted where an invariant is named together with a kind of target.
    fn of(invariant: Invariant, target: Target) -> Option<Self> {
        match (invariant, target) {
            (Invariant::Crypto, Target::Head(_)) => Some(Self::Branch),
            (Invariant::Crypto, Target::Number(_)) => Some(Self::Salvage),
            (Invariant::Snapshot, Target::Number(_)) => Some(Self::Lost),
            (Invariant::Evidence, _) => Some(Self::Release),
            _ => None,
        }
    }
}

/// Says what no permit ever allows.
pub const NEVER: &str = "a restore into a place that holds anything; an incomplete snapshot as a snapshot; \
    a failed hash as valid; anything outside the scope or after the time";

/// The invariants of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// What is called valid is recoverable.
    Trust,
    /// A restore never adds risk.
    Restore,
    /// A finalized snapshot is complete.
    Snapshot,
    /// No failure of authenticity is downgraded.
    Crypto,
    /// Nothing depends on the index.
    Index,
    /// Nothing is removed silently.
    Evidence,
}

impl Invariant {
    const ALL: [Self; 6] = [Self::Trust, Self::Restore, Self::Snapshot, Self::Crypto, Self::Index, Self::Evidence];

    /// Returns the invariant's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Restore => "restore",
            Self::Snapshot => "snapshot",
            Self::Crypto => "crypto",
            Self::Index => "index",
            Self::Evidence => "evidence",
        }
    }
}

impl FromStr for Invariant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|invariant| invariant.name() == text);
        found.ok_or_else(|| "an invariant is trust, restore, snapshot, crypto, index or evidence".to_owned())
    }
}

/// What a scope names in its vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One record.
    Number(u64),
    /// The vault as it stands at one head.
    Head(Head),
}

/// What a permit covers: a vault, and a snapshot number or a head in it. There is no wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The vault.
    pub vault: Id,
    /// What in it.
    pub target: Target,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Number(number) => write!(f, "{}:{number}", self.vault),
            Target::Head(head) => write!(f, "{}:{head}", self.vault),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a scope reads VAULT:NUMBER or VAULT:NUMBER:DIGEST, with the vault's id".to_owned();
        let (vault, rest) = text.split_once(':').ok_or_else(wrong)?;
        let vault: Id = vault.parse().map_err(|_| wrong())?;
        let target = match rest.contains(':') {
            true => Target::Head(rest.parse().map_err(|_| wrong())?),
            false => Target::Number(
                rest.parse()
                    .ok()
                    .filter(|number| (1..=limits::RECORD_NUMBER_MAX).contains(number))
                    .ok_or_else(wrong)?,
            ),
        };
        let scope = Self { vault, target };
        if scope.to_string() == text { Ok(scope) } else { Err(wrong()) }
    }
}

/// How long a permit shall last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeBox {
    /// So many minutes after it takes effect.
    Minutes(i64),
    /// Until an instant, as RFC 3339.
    Until(String),
}

/// What is to be declared; every field is required but the incident.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which invariant is touched.
    pub invariant: String,
    /// Why.
    pub reason: String,
    /// What it covers.
    pub scope: String,
    /// How long it lasts.
    pub time_box: TimeBox,
    /// How to go back if it goes wrong.
    pub rollback: String,
    /// Who approved it.
    pub approver: String,
    /// The incident that it belongs to.
    pub incident: Option<String>,
}

/// How a declaration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes effect later.
    Waiting,
    /// It is in effect.
    Open,
    /// Its time is over; it was not closed yet.
    Expired,
    /// It was taken back.
    Cancelled,
    /// It was closed after a verification.
    Closed,
}

impl State {
    /// Returns the state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }
}

/// One declaration, as the journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Its id.
    pub id: String,
    /// What it permits.
    pub act: Act,
    /// Which invariant is touched.
    pub invariant: Invariant,
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// How to go back.
    pub rollback: String,
    /// Who approved it.
    pub approver: String,
    /// The incident that it belongs to.
    pub incident: Option<String>,
    /// When it was declared.
    pub declared: Time,
    /// When it takes effect.
    pub effective: Time,
    /// When it expires.
    pub until: Time,
    /// When it was taken back.
    pub cancelled: Option<Time>,
    /// When it was closed, and what came of it.
    pub closed: Option<(Time, String)>,
    /// How often it was used, and the journal's entry of the last use.
    pub uses: u64,
    /// The journal's newest entry about it.
    pub last_entry: u64,
}

impl Declaration {
    /// Returns how it stands at a time, in a journal whose newest entry is of `journal_time`.
    pub fn state(&self, now: Time, journal_time: Option<Time>) -> State {
        // What the journal saw later than its end has ended it, whatever the clock says now.
        let latest = journal_time.map_or(now, |time| time.max(now));
        match (&self.closed, self.cancelled) {
            (Some(_), _) => State::Closed,
            (None, Some(_)) => State::Cancelled,
            (None, None) if latest >= self.until => State::Expired,
            (None, None) if now < self.effective => State::Waiting,
            (None, None) => State::Open,
        }
    }

    /// Returns where the vault lies, as far as the journal knows: where its incident is about, or where this host last did
    /// anything with the vault.
    pub fn place(&self, entries: &[Entry]) -> Option<String> {
        let own = |incident: &Incident| Some(&incident.id) == self.incident.as_ref();
        let incident = registry::replay(entries).into_iter().find(own).map(|incident| incident.place);
        incident.or_else(|| registry::last_place(entries, self.scope.vault).map(str::to_owned))
    }

    /// Returns whether somebody still has to close it.
    pub fn is_unreconciled(&self, now: Time, journal_time: Option<Time>) -> bool {
        match self.state(now, journal_time) {
            State::Closed => false,
            State::Cancelled => self.uses > 0,
            State::Waiting | State::Open | State::Expired => true,
        }
    }
}

/// Proves that an act is permitted, for one scope. Only [`grant`] makes one.
#[derive(Debug)]
pub struct Permit {
    declaration: String,
    act: Act,
    scope: Scope,
}

impl Permit {
    /// Returns the declaration that it rests on.
    pub fn declaration(&self) -> &str {
        &self.declaration
    }

    /// Returns whether it permits an act on a target.
    #[must_use]
    pub fn covers(&self, act: Act, vault: Id, target: Target) -> bool {
        self.act == act && self.scope == Scope { vault, target }
    }
}

fn unfit(message: impl Into<String>) -> Error {
    Refusal::new(Code::DeclarationUnfit, message).into()
}

/// Declares break-glass: journaled and durable before this returns, in effect after [`PAUSE_SECONDS`].
///
/// # Errors
/// DV703 where anything about the request is not acceptable; DV708 where the clock is behind the journal; DV319 or
/// DV410 where the journal is broken or cannot be written.
pub fn declare(host: &Host, now: Time, request: &Request) -> Result<Declaration> {
    let checked = check(now, request)?;
    let random = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
    let id = format!("BG-{}", &random.to_string()[..8]);
    let data = json!({
        "event": "declared",
        "permit": id,
        "invariant": checked.invariant.name(),
        "scope": checked.scope.to_string(),
        "reason": request.reason,
        "rollback": request.rollback,
        "approver": request.approver,
        "effective": checked.effective.seconds,
        "until": checked.until.seconds,
        "incident": request.incident.clone().unwrap_or_default(),
    });
    let mut event = Event::new(ACT, data);
    event.vault = Some(checked.scope.vault);
    append(host, now, |entries| {
        refuse_clock_behind(entries, now)?;
        if let Some(id) = &request.incident {
            let incidents = registry::replay(entries);
            let known = registry::find(&incidents, id).map_err(|_| {
                let known = format!("there is no incident {id} in this host's journal; nothing was declared");
                let next = "take its name from `devvault incident list`; where none is open, leave out `--incident`";
                Refusal::new(Code::DeclarationUnfit, known).next(next)
            })?;
            // Under the name that this host knows it by.
            event.data.insert("incident".into(), known.id.clone().into());
        }
        Ok(event)
    })?;
    find(&replay(&Journal::of(host).entries()?), &id).cloned()
}

struct Checked {
    invariant: Invariant,
    scope: Scope,
    effective: Time,
    until: Time,
}

fn check(now: Time, request: &Request) -> Result<Checked> {
    let invariant: Invariant = request.invariant.parse().map_err(unfit)?;
    let scope: Scope = request.scope.parse().map_err(unfit)?;
    if Act::of(invariant, scope.target).is_none() {
        return Err(unfit(format!(
            "nothing can be permitted against the invariant {} with this scope",
            invariant.name()
        ))
        .also(
            "permitted are: crypto with a head (continue an older copy), crypto with a number (salvage), \
                   snapshot with a number (declare it lost), evidence (release the hold)",
        ));
    }
    for (name, text) in
        [("reason", &request.reason), ("rollback plan", &request.rollback), ("approver", &request.approver)]
    {
        if text.trim().is_empty() || text.len() > limits::JOURNAL_TEXT_BYTES_MAX {
            return Err(unfit(format!("the {name} is empty or longer than {} bytes", limits::JOURNAL_TEXT_BYTES_MAX)));
        }
    }
    let plain = |id: &String| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if request.incident.as_ref().is_some_and(|id| !plain(id)) {
        return Err(unfit("an incident's id is up to 64 letters, digits and dashes"));
    }
    let effective = Time { seconds: now.seconds.saturating_add(PAUSE_SECONDS), nanos: now.nanos };
    let until = match &request.time_box {
        TimeBox::Minutes(minutes) if (1..=MINUTES_MAX).contains(minutes) => {
            Time { seconds: effective.seconds.saturating_add(minutes * 60), nanos: 0 }
        }
        TimeBox::Minutes(_) => return Err(unfit(format!("a time box is 1 to {MINUTES_MAX} minutes"))),
        TimeBox::Until(text) => {
            let until = OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|error| unfit(format!("the end is no time such as 2026-01-31T18:00:00Z: {error}")))?;
            Time { seconds: until.unix_timestamp(), nanos: 0 }
        }
    };
    if until <= effective || until.seconds - effective.seconds > MINUTES_MAX * 60 {
        return Err(unfit(format!(
            "the end must come after the permit takes effect ({}) and at most {MINUTES_MAX} minutes later",
            effective.rfc3339()
        )));
    }
    Ok(Checked { invariant, scope, effective, until })
}

trait Also {
    fn also(self, cause: &str) -> Self;
}

impl Also for Error {
    fn also(mut self, cause: &str) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.causes.push(cause.to_owned());
        }
        self
    }
}

/// Appends what `decide` says, after it saw the whole journal under its lock.
fn append(host: &Host, now: Time, decide: impl FnOnce(&[Entry]) -> Result<Event>) -> Result<()> {
    let appended = Journal::of(host).append_if(now, true, |entries| decide(entries).map(|event| vec![event]));
    appended.map(|_| ()).map_err(|error| match error {
        Error::Refused(refusal) if refusal.code == Code::StateUnwritable => Error::Refused(Box::new(
            refusal
                .next("break-glass needs its journal: make the state directory writable, or work on another computer"),
        )),
        other => other,
    })
}

fn journal_time(entries: &[Entry]) -> Option<Time> {
    entries.iter().map(|entry| entry.time).max()
}

fn refuse_clock_behind(entries: &[Entry], now: Time) -> Result<()> {
    match journal_time(entries) {
        Some(time) if now < time => Err(Refusal::new(
            Code::ClockBehind,
            format!("it is {} by the clock, but the journal has an entry of {}", now.rfc3339(), time.rfc3339()),
        )
        .into()),
        _ => Ok(()),
    }
}

/// Returns every declaration that the journal tells of, oldest first.
pub fn replay(entries: &[Entry]) -> Vec<Declaration> {
    let mut all: Vec<Declaration> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.act == ACT) {
        let id = entry.text("permit");
        if entry.text("event") == "declared" {
            all.extend(declared(entry, id));
            continue;
        }
        let Some(known) = all.iter_mut().find(|known| known.id == id) else { continue };
        known.last_entry = entry.number;
        match entry.text("event") {
            "cancelled" => known.cancelled = Some(entry.time),
            "closed" => known.closed = Some((entry.time, entry.text("outcome").to_owned())),
            "used" => known.uses += 1,
            _ => {}
        }
    }
    all
}

fn declared(entry: &Entry, id: &str) -> Option<Declaration> {
    let time = |name: &str| entry.data.get(name)?.as_i64().map(|seconds| Time { seconds, nanos: 0 });
    let invariant: Invariant = entry.text("invariant").parse().ok()?;
    let scope: Scope = entry.text("scope").parse().ok()?;
    let text = |name: &str| entry.text(name).to_owned();
    Some(Declaration {
        id: id.to_owned(),
        act: Act::of(invariant, scope.target)?,
        invariant,
        scope,
        reason: text("reason"),
        rollback: text("rollback"),
        approver: text("approver"),
        incident: Some(text("incident")).filter(|id| !id.is_empty()),
        declared: entry.time,
        // Rounded up, so that the pause is never shorter than it should be.
        effective: Time {
            seconds: time("effective")?.seconds.saturating_add(i64::from(entry.time.nanos > 0)),
            nanos: 0,
        },
        until: time("until")?,
        cancelled: None,
        closed: None,
        uses: entry.data.get("uses").and_then(serde_json::Value::as_u64).unwrap_or(0),
        last_entry: entry.number,
    })
}

/// Returns the events that carry declarations over into a new journal: those that somebody still has to close. They
/// permit nothing there: whatever the journal was, it cannot be trusted to have said so.
pub fn carried(declarations: &[Declaration], now: Time, journal_time: Option<Time>) -> Vec<Event> {
    let mut events = Vec::new();
    for known in declarations.iter().filter(|known| known.is_unreconciled(now, journal_time)) {
        let data = json!({
            "event": "declared",
            "permit": known.id,
            "invariant": known.invariant.name(),
            "scope": known.scope.to_string(),
            "reason": bounded(&known.reason),
            "rollback": bounded(&known.rollback),
            "approver": bounded(&known.approver),
            "effective": known.effective.seconds,
            // Its end lies before whatever the new journal will say.
            "until": known.until.seconds.min(now.seconds.saturating_sub(1)),
            "incident": known.incident.clone().unwrap_or_default(),
            "uses": known.uses,
        });
        let mut event = Event::new(ACT, data);
        event.vault = Some(known.scope.vault);
        events.push(event);
    }
    events
}

/// Returns every declaration, and the time of the journal's newest entry.
///
/// # Errors
/// DV319 where the journal is broken, DV410 where it cannot be read.
pub fn list(host: &Host) -> Result<(Vec<Declaration>, Option<Time>)> {
    let entries = Journal::of(host).entries()?;
    Ok((replay(&entries), journal_time(&entries)))
}

fn find<'a>(all: &'a [Declaration], id: &str) -> Result<&'a Declaration> {
    all.iter().find(|known| known.id.eq_ignore_ascii_case(id)).ok_or_else(|| {
        let id = crate::path::shown(id.as_bytes());
        Refusal::new(Code::PermitMissing, format!("there is no break-glass declaration {id} in this host's journal"))
            .next("list them: `devvault break-glass list`")
            .into()
    })
}

/// Takes a declaration back.
///
/// # Errors
/// DV704 where there is none of this id, DV706 where it has ended; DV319 or DV410 as [`declare`].
pub fn cancel(host: &Host, now: Time, id: &str) -> Result<Declaration> {
    append(host, now, |entries| {
        let all = replay(entries);
        let known = find(&all, id)?;
        match known.state(now, journal_time(entries)) {
            State::Waiting | State::Open => Ok(event(known, json!({"event": "cancelled", "permit": known.id}))),
            state => Err(ended(known, state)),
        }
    })?;
    find(&replay(&Journal::of(host).entries()?), id).cloned()
}

/// Closes a declaration: it permits nothing any more, and what came of it is recorded, with how often it was used: of one
/// that never was, nothing can have come.
///
/// # Errors
/// DV704 where there is none of this id; DV706 where it is closed already; DV709 where the outcome has no words, or
/// where it was used and no full verification of the whole vault has ended since, whatever that found.
pub fn close(host: &Host, now: Time, id: &str, outcome: &str, by: &str) -> Result<Declaration> {
    append(host, now, |entries| {
        let all = replay(entries);
        let known = find(&all, id)?;
        if known.closed.is_some() {
            return Err(ended(known, State::Closed));
        }
        if outcome.trim().is_empty() {
            return Err(Refusal::new(Code::IncidentUnfit, "an outcome without words records nothing")
                .next(format!("say what came of it: `devvault break-glass close {} --outcome WHAT`", known.id))
                .into());
        }
        let verified = verified_since(entries, known);
        if known.uses > 0 && verified.is_none() {
            return Err(Refusal::new(
                Code::IncidentUnfit,
                format!("{} was used, and the whole vault was not fully verified since", known.id),
            )
            .next(format!(
                "verify the whole vault, whatever it finds: `{}`; then close it",
                registry::verify_at(known.place(entries).as_deref())
            ))
            .into());
        }
        let mut data = json!({
            "event": "closed",
            "permit": known.id,
            "outcome": bounded(outcome),
            "by": bounded(by),
            // Beside what somebody says came of it: whether anything could have.
            "uses": known.uses,
        });
        if let Some(entry) = verified {
            let verdict = if is_full_verification(entry) { entry.text("verdict") } else { entry.text("code") };
            data["verdict"] = verdict.into();
            data["verified_by_entry"] = entry.number.into();
        }
        Ok(event(known, data))
    })?;
    find(&replay(&Journal::of(host).entries()?), id).cloned()
}

/// Returns the full verification that ended since a declaration was used last, whatever it found.
///
/// What was salvaged without proof often cannot be verified at all: the key is gone, the vault does not open, or its disk
/// died since. A verification that refuses is all that can be had then, and the outcome says so. What goes on being
/// written to, or was removed from, has to be verified: itself, and no other copy of the vault.
fn verified_since<'a>(entries: &'a [Entry], known: &Declaration) -> Option<&'a Entry> {
    let acts: Vec<&Entry> =
        entries.iter().filter(|entry| entry.act != ACT && entry.is_permitted_by(&known.id)).collect();
    // Where it lies says which it is, or where it was mounted elsewhere since, that it is the same copy.
    let same = |act: &&Entry, entry: &Entry| {
        let (one, other) = (act.text("copy"), entry.text("copy"));
        act.place == entry.place || !one.is_empty() && one == other
    };
    entries.iter().rev().filter(|entry| entry.number > known.last_entry && entry.act == "verify").find(|entry| {
        let there = acts.iter().any(|act| same(act, entry));
        // A vault that does not open does not say which it is; its place does.
        let refused = entry.text("outcome") == "refused" && is_for_want_of_proof(entry.text("code"));
        let own = entry.vault == Some(known.scope.vault) && (there || acts.is_empty());
        known.act == Act::Salvage && (own || there) && refused || own && is_full_verification(entry)
    })
}

/// Returns whether a refusal says that nothing can be proven: no key, nothing authentic, or no vault any more.
fn is_for_want_of_proof(code: &str) -> bool {
    let code = Code::parse(code);
    code.is_some_and(|code| code.family() == Family::CryptoBoundary || code == Code::VaultNotFound)
}

fn event(known: &Declaration, mut data: serde_json::Value) -> Event {
    if let Some(incident) = &known.incident {
        data["incident"] = incident.clone().into();
    }
    let mut event = Event::new(ACT, data);
    event.vault = Some(known.scope.vault);
    event
}

fn ended(known: &Declaration, state: State) -> Error {
    Refusal::new(Code::PermitExpired, format!("{} is {}: it permits nothing any more", known.id, state.name()))
        .cause(format!("it ended {} at the latest", known.until.rfc3339()))
        .into()
}

/// Grants an act under a declaration that is in effect and covers it. The use is journaled before this returns.
///
/// # Errors
/// DV704 where nothing of the kind was declared; DV707 where what was declared covers something else; DV705 where it is
/// not in effect yet; DV706 where it has ended; DV708 where the clock is behind the journal; DV319 or DV410 where the
/// journal is broken or cannot be written.
pub fn grant(host: &Host, now: Time, act: Act, vault: Id, target: Target) -> Result<Permit> {
    let scope = Scope { vault, target };
    let mut granted = None;
    append(host, now, |entries| {
        let all = replay(entries);
        let known = choose(&all, entries, now, act, scope)?;
        granted = Some(Permit { declaration: known.id.clone(), act, scope });
        Ok(event(known, json!({"event": "used", "permit": known.id, "scope": scope.to_string()})))
    })?;
    granted.ok_or_else(|| Refusal::new(Code::PermitMissing, "nothing was granted").into())
}

fn choose<'a>(all: &'a [Declaration], entries: &[Entry], now: Time, act: Act, scope: Scope) -> Result<&'a Declaration> {
    let declared: Vec<&Declaration> = all.iter().filter(|known| known.act == act).collect();
    if declared.is_empty() {
        return Err(Refusal::new(Code::PermitMissing, format!("to {} needs a break-glass permit", act.name()))
            .cause(format!("its scope would be {scope}"))
            .into());
    }
    let covering: Vec<&&Declaration> = declared.iter().filter(|known| known.scope == scope).collect();
    let Some(newest) = covering.last() else {
        let others: Vec<String> = declared.iter().map(|known| format!("{} covers {}", known.id, known.scope)).collect();
        let mut refusal = Refusal::new(Code::PermitOutOfScope, format!("no permit to {} covers {scope}", act.name()));
        refusal.causes = others.into_iter().rev().take(limits::SHOWN_PATHS_MAX).collect();
        return Err(refusal.into());
    };
    let time = journal_time(entries);
    refuse_clock_behind(entries, now)?;
    if let Some(open) = covering.iter().rev().find(|known| known.state(now, time) == State::Open) {
        return Ok(open);
    }
    if let Some(waiting) = covering.iter().rev().find(|known| known.state(now, time) == State::Waiting) {
        let message = format!("{} takes effect {}", waiting.id, waiting.effective.rfc3339());
        return Err(Refusal::new(Code::PermitNotYet, message).into());
    }
    Err(ended(newest, newest.state(now, time)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Digest;

    fn host() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().expect("a directory");
        let host = Host::new(root.path().join("config"), root.path().join("state"), root.path().join("data"));
        (root, host)
    }

    fn at(seconds: i64) -> Time {
        Time { seconds: 1_700_000_000 + seconds, nanos: 0 }
    }

    const VAULT: Id = Id([7; 16]);

    fn request(invariant: &str, scope: &str) -> Request {
        Request {
            invariant: invariant.into(),
            reason: "the disk died".into(),
            scope: scope.into(),
            time_box: TimeBox::Minutes(30),
            rollback: "delete the copy".into(),
            approver: "ann".into(),
            incident: None,
        }
    }

    fn salvage(number: u64) -> Request {
        request("crypto", &format!("{VAULT}:{number}"))
    }

    fn use_it(host: &Host, seconds: i64, number: u64) -> Option<Code> {
        grant(host, at(seconds), Act::Salvage, VAULT, Target::Number(number)).err().and_then(|error| error.code())
    }

    #[test]
    fn a_permit_is_granted_inside_its_scope_and_time_only() {
        let (_root, host) = host();
        assert_eq!(use_it(&host, 0, 3), Some(Code::PermitMissing));
        let declared = declare(&host, at(0), &salvage(3)).expect("acceptable");
        assert_eq!((declared.effective, declared.until), (at(120), at(120 + 1800)));
        assert_eq!(use_it(&host, 0, 3), Some(Code::PermitNotYet));
        assert_eq!(use_it(&host, 119, 3), Some(Code::PermitNotYet));
        assert_eq!(use_it(&host, 120, 3), None);
        assert_eq!(use_it(&host, 1919, 3), None);
        assert_eq!(use_it(&host, 1919, 4), Some(Code::PermitOutOfScope));
        let other = grant(&host, at(1919), Act::Salvage, Id([8; 16]), Target::Number(3)).expect_err("another vault");
        assert_eq!(other.code(), Some(Code::PermitOutOfScope));
        let other = grant(&host, at(1919), Act::Lost, VAULT, Target::Number(3)).expect_err("another act");
        assert_eq!(other.code(), Some(Code::PermitMissing));
        assert_eq!(use_it(&host, 1920, 3), Some(Code::PermitExpired));
    }

    #[test]
    fn the_vault_of_a_permit_lies_where_its_incident_is_about_else_where_it_was_last_seen() {
        let (_root, host) = host();
        let journal = Journal::of(&host);
        let open = |seconds, random, place| {
            let (id, event) = registry::opening(at(seconds), Id([random; 16]), Some(VAULT), place, &[]);
            journal.append(at(seconds), event).expect("writable");
            id
        };
        let (first, second) = (open(0, 1, "/one"), open(1, 2, "/two"));
        let declared = |seconds, incident| {
            let declared = declare(&host, at(seconds), &Request { incident, ..salvage(3) }).expect("acceptable");
            let place = declared.place(&journal.entries().expect("readable"));
            cancel(&host, at(seconds), &declared.id).expect("taken back");
            place
        };
        assert_eq!(declared(2, Some(first)).as_deref(), Some("/one"));
        assert_eq!(declared(3, Some(second)).as_deref(), Some("/two"));
        journal.append(at(4), Event::new("verify", json!({})).of(Some(VAULT), "/three")).expect("writable");
        assert_eq!(declared(4, None).as_deref(), Some("/three"));
    }

    #[test]
    fn an_expired_permit_stays_expired_and_a_clock_that_is_behind_voids_it() {
        let (_root, host) = host();
        declare(&host, at(0), &salvage(3)).expect("acceptable");
        assert_eq!(use_it(&host, 200, 3), None);
        assert_eq!(use_it(&host, 199, 3), Some(Code::ClockBehind));
        assert_eq!(declare(&host, at(199), &salvage(4)).expect_err("behind").code(), Some(Code::ClockBehind));
        // Something else is journaled after its end; then the clock is set back into its time.
        Journal::of(&host).append(at(5000), Event::new("backup", json!({}))).expect("writable");
        assert_eq!(use_it(&host, 300, 3), Some(Code::ClockBehind));
        assert_eq!(use_it(&host, 5001, 3), Some(Code::PermitExpired));
        let (all, time) = list(&host).expect("sound");
        assert_eq!(all[0].state(at(300), time), State::Expired);
    }

    #[test]
    fn a_cancelled_or_closed_permit_permits_nothing() {
        let (_root, host) = host();
        let one = declare(&host, at(0), &salvage(3)).expect("acceptable");
        cancel(&host, at(10), &one.id).expect("waiting");
        assert_eq!(use_it(&host, 130, 3), Some(Code::PermitExpired));
        assert_eq!(cancel(&host, at(131), &one.id).expect_err("ended").code(), Some(Code::PermitExpired));
        let two = declare(&host, at(140), &salvage(3)).expect("acceptable");
        assert_eq!(use_it(&host, 300, 3), None);
        let unverified = close(&host, at(301), &two.id, "done", "ann").expect_err("not verified");
        assert_eq!(unverified.code(), Some(Code::IncidentUnfit));
        let mut event = Event::new("verify", json!({"level": "full", "whole": true, "verdict": "invalid"}));
        event.vault = Some(VAULT);
        Journal::of(&host).append(at(302), event).expect("writable");
        assert_eq!(close(&host, at(303), &two.id, " ", "ann").expect_err("no words").code(), Some(Code::IncidentUnfit));
        // Without the key a verification cannot even begin; that it was tried is what can be had.
        let three = declare(&host, at(303), &salvage(5)).expect("acceptable");
        assert_eq!(use_it(&host, 450, 5), None);
        for (code, closes) in [("DV112", false), ("DV301", true)] {
            let mut event = Event::new("verify", json!({"outcome": "refused", "code": code}));
            event.vault = Some(VAULT);
            Journal::of(&host).append(at(451), event).expect("writable");
            assert_eq!(close(&host, at(452), &three.id, "salvaged", "ann").is_ok(), closes, "{code}");
        }
        let closed = close(&host, at(453), &two.id, "three files salvaged", "ann").expect("verified");
        assert!(!closed.is_unreconciled(at(453), None));
        let entries = Journal::of(&host).entries().expect("sound");
        let uses = |entry: &Entry| entry.data.get("uses").and_then(serde_json::Value::as_u64);
        assert_eq!(entries.last().map(|entry| (entry.text("event"), uses(entry))), Some(("closed", Some(1))));
        assert_eq!(use_it(&host, 454, 3), Some(Code::PermitExpired));
        assert_eq!(close(&host, at(455), &two.id, "x", "ann").expect_err("closed").code(), Some(Code::PermitExpired));
        assert_eq!(close(&host, at(455), "BG-0", "x", "ann").expect_err("none").code(), Some(Code::PermitMissing));
    }

    #[test]
    fn what_is_not_exact_is_not_declared() {
        let (_root, host) = host();
        let good = salvage(3);
        let head = format!("{VAULT}:3:{}", Digest([1; 32]));
        for (change, why) in [
            (&(|r: &mut Request| r.invariant = "everything".into()) as &dyn Fn(&mut Request), "unknown invariant"),
            (&|r| r.invariant = "trust".into(), "nothing is permitted against trust"),
            (&|r| r.invariant = "restore".into(), "nothing is permitted against restore"),
            (&|r| r.invariant = "index".into(), "nothing is permitted against the index"),
            (&|r| (r.invariant, r.scope) = ("snapshot".into(), head.clone()), "a head cannot be lost"),
            (&|r| r.scope = format!("{VAULT}:*"), "wildcard"),
            (&|r| r.scope = "*:3".into(), "wildcard"),
            (&|r| r.scope = format!("{VAULT}:0"), "no such number"),
            (&|r| r.scope = format!("{VAULT}:03"), "another text"),
            (&|r| r.scope = VAULT.to_string(), "a whole vault"),
            (&|r| r.reason = "  ".into(), "no reason"),
            (&|r| r.rollback = String::new(), "no way back"),
            (&|r| r.approver = String::new(), "nobody approved"),
            (&|r| r.reason = "x".repeat(3000), "too long"),
            (&|r| r.incident = Some("INC 1".into()), "a space"),
            (&|r| r.incident = Some("../x".into()), "a path"),
            (&|r| r.incident = Some(String::new()), "empty"),
            (&|r| r.incident = Some("INC-1".into()), "an incident that this host does not know"),
            (&|r| r.time_box = TimeBox::Minutes(0), "no time"),
            (&|r| r.time_box = TimeBox::Minutes(481), "too much time"),
            (&|r| r.time_box = TimeBox::Minutes(i64::MAX), "too much time"),
            (&|r| r.time_box = TimeBox::Until("tomorrow".into()), "no time"),
            (&|r| r.time_box = TimeBox::Until(at(119).rfc3339()), "over before it begins"),
            (&|r| r.time_box = TimeBox::Until(at(121 + 480 * 60).rfc3339()), "too late"),
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            let refused = declare(&host, at(0), &bad).expect_err(why);
            assert_eq!(refused.code(), Some(Code::DeclarationUnfit), "{why}: {refused}");
        }
        assert_eq!(list(&host).expect("empty").0, []);
        let until = Request { time_box: TimeBox::Until(at(1000).rfc3339()), ..good };
        assert_eq!(declare(&host, at(0), &until).expect("acceptable").until, at(1000));
    }

    #[test]
    fn the_list_of_what_can_be_permitted_is_closed() {
        let head = Target::Head(Head { digest: Digest([1; 32]), number: 3 });
        let all: Vec<Option<Act>> = Invariant::ALL
            .into_iter()
            .flat_map(|invariant| [Target::Number(3), head].map(|target| Act::of(invariant, target)))
            .collect();
        let (branch, lost) = (Some(Act::Branch), Some(Act::Lost));
        let (salvage, release) = (Some(Act::Salvage), Some(Act::Release));
        let (none, expected) = (None, 12);
        assert_eq!(all, [none, none, none, none, lost, none, salvage, branch, none, none, release, release]);
        assert_eq!(all.len(), expected);
    }

    #[test]
    fn without_a_journal_nothing_is_declared_and_nothing_granted() {
        let (root, host) = host();
        std::fs::write(root.path().join("state"), "").expect("writable");
        assert_eq!(declare(&host, at(0), &salvage(3)).expect_err("no journal").code(), Some(Code::StateUnwritable));
        std::fs::remove_file(root.path().join("state")).expect("there");
        declare(&host, at(0), &salvage(3)).expect("acceptable");
        let path = Journal::of(&host).path();
        let whole = std::fs::read_to_string(&path).expect("readable");
        std::fs::write(&path, whole.replace("the disk died", "the disk lied")).expect("writable");
        assert_eq!(use_it(&host, 200, 3), Some(Code::JournalBroken));
        std::fs::write(&path, &whole).expect("writable");
        std::fs::remove_file(root.path().join("state/journal/lock")).expect("there");
        std::fs::create_dir(root.path().join("state/journal/lock")).expect("writable");
        assert_eq!(use_it(&host, 200, 3), Some(Code::StateUnwritable));
        std::fs::remove_dir(root.path().join("state/journal/lock")).expect("there");
        assert_eq!(use_it(&host, 200, 3), None);
    }

    #[test]
    fn a_use_is_journaled_before_the_permit_is_handed_out() {
        let (_root, host) = host();
        declare(&host, at(0), &salvage(3)).expect("acceptable");
        let permit = grant(&host, at(200), Act::Salvage, VAULT, Target::Number(3)).expect("in effect");
        assert!(permit.covers(Act::Salvage, VAULT, Target::Number(3)));
        assert!(!permit.covers(Act::Lost, VAULT, Target::Number(3)));
        assert!(!permit.covers(Act::Salvage, VAULT, Target::Number(4)));
        let entries = Journal::of(&host).entries().expect("sound");
        let last = entries.last().expect("there");
        assert_eq!((last.text("event"), last.text("permit")), ("used", permit.declaration()));
        assert_eq!(list(&host).expect("sound").0[0].uses, 1);
    }

    #[test]
    fn a_time_box_ends_after_its_permit_begins_and_at_most_eight_hours_later() {
        let until = |end: i64| Request { time_box: TimeBox::Until(at(end).rfc3339()), ..salvage(3) };
        for (end, fits) in [(119, false), (120, false), (121, true), (120 + 480 * 60, true), (121 + 480 * 60, false)] {
            assert_eq!(check(at(0), &until(end)).is_ok(), fits, "{end}");
        }
        let whole = Request { time_box: TimeBox::Minutes(MINUTES_MAX), ..salvage(3) };
        assert_eq!(check(at(0), &whole).expect("acceptable").until, at(120 + 480 * 60));
    }

    #[test]
    fn texts_and_the_name_of_an_incident_are_taken_up_to_their_bounds() {
        let reason = |bytes: usize| Request { reason: "x".repeat(bytes), ..salvage(3) };
        let incident = |name: &str| Request { incident: Some(name.into()), ..salvage(3) };
        for (request, fits) in [
            (reason(0), false),
            (reason(1), true),
            (reason(limits::JOURNAL_TEXT_BYTES_MAX), true),
            (reason(limits::JOURNAL_TEXT_BYTES_MAX + 1), false),
            (incident(""), false),
            (incident("INC-1"), true),
            (incident("INC 1"), false),
            (incident(&"x".repeat(64)), true),
            (incident(&"x".repeat(65)), false),
        ] {
            assert_eq!(check(at(0), &request).is_ok(), fits, "{request:?}");
        }
    }

    #[test]
    fn the_pause_is_not_shortened_by_part_of_a_second() {
        let (_root, host) = host();
        let part = |seconds, nanos| Time { nanos, ..at(seconds) };
        let try_it = |host: &Host, now| {
            grant(host, now, Act::Salvage, VAULT, Target::Number(3)).err().and_then(|error| error.code())
        };
        let declared = declare(&host, part(0, 500), &salvage(3)).expect("acceptable");
        assert_eq!(declared.effective, at(121));
        assert_eq!(try_it(&host, part(120, 999_999_999)), Some(Code::PermitNotYet));
        assert_eq!(try_it(&host, at(121)), None);
    }

    #[test]
    fn what_was_taken_back_has_to_be_closed_only_where_it_was_used() {
        let (_root, host) = host();
        let unused = declare(&host, at(0), &salvage(3)).expect("acceptable");
        let used = declare(&host, at(0), &salvage(4)).expect("acceptable");
        assert!(unused.is_unreconciled(at(1), None), "it waits");
        assert_eq!(use_it(&host, 130, 4), None);
        let unused = cancel(&host, at(140), &unused.id).expect("open");
        let used = cancel(&host, at(140), &used.id).expect("open");
        assert_eq!((unused.uses, unused.is_unreconciled(at(141), None)), (0, false));
        assert_eq!((used.uses, used.is_unreconciled(at(141), None)), (1, true));
    }

    #[test]
    fn a_refused_verification_closes_only_the_salvage_from_the_same_place() {
        let (_root, host) = host();
        let mut permits = Vec::new();
        for (number, place, begin) in [(3, "/one", 0), (4, "/two", 200)] {
            let id = declare(&host, at(begin), &salvage(number)).expect("acceptable").id;
            assert_eq!(use_it(&host, begin + 130, number), None);
            let mut event = Event::new("salvage", json!({"permit": id}));
            event.place = Some(place.into());
            Journal::of(&host).append(at(begin + 130), event).expect("writable");
            permits.push(id);
        }
        // It did not open, so that nobody knows which vault it is.
        let mut event = Event::new("verify", json!({"outcome": "refused", "code": "DV307"}));
        event.place = Some("/two".into());
        Journal::of(&host).append(at(340), event).expect("writable");
        let refused = close(&host, at(350), &permits[0], "salvaged", "ann").expect_err("not verified since");
        assert_eq!(refused.code(), Some(Code::IncidentUnfit));
        close(&host, at(350), &permits[1], "salvaged", "ann").expect("as far as it can be");
    }

    #[test]
    fn only_a_journal_that_cannot_be_written_is_told_how_to_be() {
        let (root, host) = host();
        let next = |refused: Error| match refused {
            Error::Refused(refusal) => (refusal.code, refusal.next.starts_with("break-glass needs its journal")),
            other => panic!("{other}"),
        };
        let missing = grant(&host, at(0), Act::Salvage, VAULT, Target::Number(3)).expect_err("nothing was declared");
        assert_eq!(next(missing), (Code::PermitMissing, false));
        std::fs::remove_dir_all(root.path().join("state")).expect("there");
        std::fs::write(root.path().join("state"), "").expect("writable");
        let unwritable = declare(&host, at(0), &salvage(3)).expect_err("no journal");
        assert_eq!(next(unwritable), (Code::StateUnwritable, true));
    }
}
