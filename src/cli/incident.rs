//! The commands for an operator after something went wrong, and their reports.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Session, human, json as documents, worst};
use crate::clock::{Clock, SystemClock, Time};
use crate::error::{Result, shown_path};
use crate::incident::break_glass::{self, Declaration, Request, TimeBox};
use crate::incident::journal::Entry;
use crate::incident::registry::Incident;
use crate::ops::orphans::{Incomplete, Orphans};
use crate::ops::select::Place;
use crate::ops::{branch, evidence, incident, incomplete, journal, lost, salvage, trace};
use crate::path::shown;

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
        #[arg(long, value_name = "WHY")]
        reason: String,
    },

    /// Record that the medium destroyed records, so that the vault can go on (needs a permit for each)
    DeclareLost {
        /// The numbers of the records
        #[arg(value_name = "NUMBER", required = true)]
        numbers: Vec<u64>,
        /// What destroyed them, and what was tried; stands in the vault for ever
        #[arg(long, value_name = "WHY")]
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

#[derive(Debug, Subcommand)]
pub(super) enum BreakGlass {
    /// Declare a permit; it is journaled at once and takes effect two minutes later
    Declare(Declare),
    /// Take a permit back
    Cancel {
        /// The permit's id
        #[arg(value_name = "PERMIT")]
        id: String,
    },
    /// Close a permit after the vault was verified, and record what came of it
    Close {
        /// The permit's id
        #[arg(value_name = "PERMIT")]
        id: String,
        /// What was done and what came of it
        #[arg(long, value_name = "WHAT")]
        outcome: String,
        /// Who closes it [default: the user of this session]
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// List every permit of this host
    List,
}

#[derive(Debug, clap::Args)]
pub(super) struct Declare {
    /// The invariant that is touched: crypto, snapshot or evidence
    ///
    /// crypto and a head: continue the copy with that head. crypto and a number: salvage that snapshot without proof.
    /// snapshot and a number: declare that record lost. evidence: remove although an incident is open.
    #[arg(long, value_name = "INVARIANT")]
    invariant: String,
    /// Why it has to be done
    #[arg(long, value_name = "WHY")]
    reason: String,
    /// One snapshot or one head of one vault: VAULT:NUMBER or VAULT:NUMBER:DIGEST
    #[arg(long, value_name = "SCOPE")]
    scope: String,
    /// For how many minutes, 1 to 480
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "until",
        conflicts_with = "until",
        allow_hyphen_values = true
    )]
    minutes: Option<i64>,
    /// Until when, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How to go back if it goes wrong
    #[arg(long, value_name = "PLAN")]
    rollback: String,
    /// Who approved it
    #[arg(long, value_name = "WHO")]
    approver: String,
    /// The incident that it belongs to
    #[arg(long, value_name = "INCIDENT")]
    incident: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Incompletes {
    /// List everything in the vault that belongs to no snapshot, and read unfinished packs
    List,
    /// Remove one incomplete snapshot; refused while an incident is open about the vault
    Discard {
        /// Its name: `.incomplete-…`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Put the decision about one off; `status` brings it back
    Tag {
        /// Its name: `.incomplete-…`
        #[arg(value_name = "NAME")]
        name: String,
        /// Why it stays
        #[arg(long, value_name = "WHY")]
        label: String,
        /// Until which day, such as 2026-01-31
        #[arg(long, value_name = "DAY", value_parser = day)]
        until: Time,
    },
}

/// Takes a day as the instant at which it begins, in UTC.
fn day(text: &str) -> std::result::Result<Time, String> {
    let wrong = || "a day reads 2026-01-31".to_owned();
    if text.len() != 10 {
        return Err(wrong());
    }
    let instant =
        time::OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &time::format_description::well_known::Rfc3339);
    instant.map(|instant| Time { seconds: instant.unix_timestamp(), nanos: 0 }).map_err(|_| wrong())
}

#[derive(Debug, Subcommand)]
pub(super) enum Incidents {
    /// List every incident of this host
    List,
    /// Show one incident: what was found, what was kept, what was written down
    Show {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
    },
    /// Write something down about an incident
    Note {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
        /// What you saw, did or decided
        text: String,
        /// Who you are [default: the user of this session]
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Close an incident
    ///
    /// Needs a full verification of the whole vault that found nothing, made after the incident last grew; or a decision
    /// that says what stays broken, and why.
    Close {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
        /// Why it is over
        #[arg(long, value_name = "WHY")]
        reason: String,
        /// What stays broken, and that this was decided
        #[arg(long, value_name = "WHAT")]
        decision: Option<String>,
        /// Who decides [default: the user of this session]
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// Write the post-mortem in Markdown: timeline, evidence, decisions, and boxes for what only people know
    Report {
        /// The incident's id
        #[arg(value_name = "INCIDENT")]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Evidence {
    /// Pack journal, evidence, records, listings and digests of damaged packs into a new file
    ///
    /// Reads the vault and writes only OUT. Needs no key, and works when the vault does not open or cannot be written.
    Capture {
        /// The bundle, a tar file that does not exist yet
        #[arg(value_name = "OUT")]
        file: PathBuf,
        /// Only what belongs to this incident
        #[arg(long, value_name = "INCIDENT")]
        incident: Option<String>,
        /// Also copy damaged packs as they are
        #[arg(long)]
        raw: bool,
        /// Read every pack of the vault to find damaged ones; without it, those that the incident names
        #[arg(long)]
        all_packs: bool,
    },
    /// Check every file of a bundle against its manifest, and the manifest's tag where the key is at hand
    Verify {
        /// The bundle
        #[arg(value_name = "BUNDLE")]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// Show the newest entries
    Show {
        /// How many entries
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
        /// Only entries of this act, such as `backup` or `verify`
        #[arg(long, value_name = "ACT")]
        act: Option<String>,
    },
    /// Prove that no entry was cut off, edited or reordered
    ///
    /// With a vault and its key, also that every entry is there which this host's snapshots name: a journal that was
    /// replaced as a whole is found so.
    Verify,
    /// Write every entry to a file that does not exist yet
    Export {
        /// The file
        #[arg(value_name = "OUT")]
        file: PathBuf,
    },
    /// Set a broken journal aside, complete, and begin a new one
    Restart {
        /// What you found, and why you go on; the new journal begins with it
        #[arg(long, value_name = "WHY")]
        reason: String,
    },
}

impl Session {
    pub(super) fn incident(&self, command: &Command) -> Result<u8> {
        match command {
            Command::Journal { command } => self.journal(command),
            Command::Incident { command } => self.incidents(command),
            Command::Evidence { command } => self.evidence(command),
            Command::BreakGlass { command } => self.break_glass(command),
            Command::Branch { reason } => {
                let report = branch::run(&self.access()?, reason)?;
                self.done(branch_json(&report), || branch_begun(&report))
            }
            Command::DeclareLost { numbers, reason } => {
                let report = lost::run(&self.access()?, numbers, reason)?;
                self.done(lost_json(&report), || lost_declared(&report))
            }
            Command::Incomplete { command } => self.incomplete(command),
            Command::Trace { target } => {
                let report = trace::run(&self.access()?, target, &self.watch);
                self.watch.end();
                let report = report?;
                self.done(trace_json(&report), || traced(&report))
            }
            Command::Salvage { place, destination } => {
                let report = salvage::run(&self.access()?, place, destination, &self.watch);
                self.watch.end();
                let report = report?;
                self.show(salvage_json(&report), || salvaged(&report))?;
                Ok(report.exit())
            }
        }
    }

    fn journal(&self, command: &Journal) -> Result<u8> {
        match command {
            Journal::Show { last, act } => {
                let report = journal::show(&self.host, *last, act.as_deref())?;
                self.show(journal_shown_json(&report), || journal_shown(&report))?;
                Ok(worst(&report.findings))
            }
            Journal::Verify => {
                let report = journal::verify(&self.host, self.access().ok().as_ref())?;
                self.show(journal_checked_json(&report), || journal_checked(&report))?;
                Ok(worst(&report.findings))
            }
            Journal::Export { file } => {
                let report = journal::export(&self.host, file)?;
                let text = || format!("{} entries were written to {}\n", report.entries, shown_path(&report.path));
                self.done(moved_json("export", &report), text)
            }
            Journal::Restart { reason } => {
                let report = journal::restart(&self.host, &SystemClock, reason)?;
                let text = || {
                    let mut out = String::new();
                    line!(out, "a new journal was begun; the old one is kept as {}", shown_path(&report.path));
                    human::notes(&mut out, &report.notes);
                    out
                };
                self.done(moved_json("restart", &report), text)
            }
        }
    }
}

impl Session {
    fn incidents(&self, command: &Incidents) -> Result<u8> {
        let now = SystemClock.now();
        match command {
            Incidents::List => {
                let all = incident::list(&self.host)?;
                self.done(incidents_json(&all, &[], now), || incidents_listed(&all, now))
            }
            Incidents::Show { id } => {
                let (one, entries) = incident::show(&self.host, id)?;
                let text = || incident_shown(&one, &entries, now);
                self.done(incidents_json(std::slice::from_ref(&one), &entries, now), text)
            }
            Incidents::Note { id, text, by } => {
                let one = incident::note(&self.host, now, id, text, &who(by.as_ref()))?;
                let text = || format!("noted in incident {}\n", one.id);
                self.done(incidents_json(std::slice::from_ref(&one), &[], now), text)
            }
            Incidents::Close { id, reason, decision, by } => {
                let one = incident::close(&self.host, now, id, reason, &who(by.as_ref()), decision.as_deref())?;
                let text = || incident_closed(&one);
                self.done(incidents_json(std::slice::from_ref(&one), &[], now), text)
            }
            Incidents::Report { id } => {
                let (one, text) = incident::report(&self.host, now, id)?;
                let document = json!({
                    "schema": "devvault.incident-report/1",
                    "ok": true,
                    "incident": one.id,
                    "report_due": one.report_due.rfc3339(),
                    "text": text,
                });
                self.done(document.to_string(), || text.clone())
            }
        }
    }

    fn evidence(&self, command: &Evidence) -> Result<u8> {
        match command {
            Evidence::Capture { file, incident, raw, all_packs } => {
                let options = evidence::Options { incident: incident.clone(), raw: *raw, all_packs: *all_packs };
                let report = evidence::capture(&self.access()?, file, &options)?;
                self.done(captured_json(&report), || captured(&report, &super::program()))
            }
            Evidence::Verify { file } => {
                let report = evidence::verify(&self.host, self.args.key_file.as_deref(), file)?;
                self.show(bundle_json(&report), || bundle_checked(&report))?;
                Ok(worst(&report.findings))
            }
        }
    }
}

impl Session {
    fn break_glass(&self, command: &BreakGlass) -> Result<u8> {
        let now = SystemClock.now();
        match command {
            BreakGlass::Declare(declare) => {
                let time_box = match (&declare.until, declare.minutes) {
                    (Some(until), _) => TimeBox::Until(until.clone()),
                    (None, minutes) => TimeBox::Minutes(minutes.unwrap_or(0)),
                };
                let request = Request {
                    invariant: declare.invariant.clone(),
                    reason: declare.reason.clone(),
                    scope: declare.scope.clone(),
                    time_box,
                    rollback: declare.rollback.clone(),
                    approver: declare.approver.clone(),
                    incident: declare.incident.clone(),
                };
                let one = break_glass::declare(&self.host, now, &request)?;
                let text = || declared(&one);
                self.done(declarations_json(std::slice::from_ref(&one), now, None), text)
            }
            BreakGlass::Cancel { id } => {
                let one = break_glass::cancel(&self.host, now, id)?;
                let text = || format!("{} is cancelled: it permits nothing\n", one.id);
                self.done(declarations_json(std::slice::from_ref(&one), now, None), text)
            }
            BreakGlass::Close { id, outcome, by } => {
                let one = break_glass::close(&self.host, now, id, outcome, &who(by.as_ref()))?;
                let text = || permit_closed(&one);
                self.done(declarations_json(std::slice::from_ref(&one), now, None), text)
            }
            BreakGlass::List => {
                let (all, time) = break_glass::list(&self.host)?;
                self.done(declarations_json(&all, now, time), || declarations(&all, now, time))
            }
        }
    }

    fn incomplete(&self, command: &Incompletes) -> Result<u8> {
        let access = self.access()?;
        match command {
            Incompletes::List => {
                let report = incomplete::list(&access)?;
                let text = || {
                    let mut out = String::new();
                    orphans_listed(&mut out, &report.orphans, SystemClock.now());
                    if out.is_empty() {
                        line!(out, "nothing in the vault belongs to no snapshot");
                    }
                    human::notes(&mut out, &report.notes);
                    out
                };
                let document = json!({
                    "schema": "devvault.incomplete/1",
                    "ok": true,
                    "vault": report.vault.to_string(),
                    "orphans": orphans_json(&report.orphans, SystemClock.now()),
                    "notes": report.notes,
                });
                self.done(document.to_string(), text)
            }
            Incompletes::Discard { name } => {
                let report = incomplete::discard(&access, name)?;
                let text = || {
                    let mut out = String::new();
                    line!(out, "{} was removed ({} bytes); it never was a snapshot", report.name, report.bytes);
                    human::notes(&mut out, &report.notes);
                    out
                };
                self.done(incomplete_json("discard", &report), text)
            }
            Incompletes::Tag { name, label, until } => {
                let report = incomplete::tag(&access, name, label, *until)?;
                let text = || {
                    let mut out = String::new();
                    line!(out, "{} stays until {}: status brings it back then", report.name, until.rfc3339());
                    out
                };
                self.done(incomplete_json("tag", &report), text)
            }
        }
    }
}

fn declared(one: &Declaration) -> String {
    let mut out = String::new();
    line!(out, "declared {}: {} {}", one.id, one.act.name(), one.scope);
    line!(out, "  from {} until {}, on this host alone", one.effective.rfc3339(), one.until.rfc3339());
    line!(out, "  it permits: {}", one.act.allows());
    line!(out, "  it never permits: {}", break_glass::NEVER);
    line!(out, "Think for these two minutes. Take it back: devvault break-glass cancel {}", one.id);
    line!(out, "Afterwards: devvault verify, then devvault break-glass close {} --outcome WHAT", one.id);
    out
}

fn permit_closed(one: &Declaration) -> String {
    let mut out = String::new();
    line!(out, "{} is closed: it permits nothing any more", one.id);
    line!(out, "  [ ] the vault was verified, and what the verification said is understood");
    line!(out, "  [ ] other hosts that use this vault know of it");
    line!(out, "  [ ] a new backup was taken, and a restore was tried");
    line!(out, "  [ ] the evidence is kept on another medium: devvault evidence capture OUT");
    line!(out, "  [ ] the incident is closed and its report written: devvault incident list");
    out
}

fn declarations(all: &[Declaration], now: Time, time: Option<Time>) -> String {
    let mut out = String::new();
    if all.is_empty() {
        line!(out, "no break-glass on this host");
    }
    for one in all {
        line!(
            out,
            "{}  {:9}  {}  {}  from {} until {}  used {} time(s)  approved by {}",
            one.id,
            one.state(now, time).name(),
            one.act.name(),
            one.scope,
            one.effective.rfc3339(),
            one.until.rfc3339(),
            one.uses,
            shown(one.approver.as_bytes())
        );
    }
    out
}

fn declarations_json(all: &[Declaration], now: Time, time: Option<Time>) -> String {
    let one = |one: &Declaration| {
        json!({
            "permit": one.id,
            "act": one.act.name(),
            "invariant": one.invariant.name(),
            "scope": one.scope.to_string(),
            "vault": one.scope.vault.to_string(),
            "state": one.state(now, time).name(),
            "reason": one.reason,
            "rollback": one.rollback,
            "approver": one.approver,
            "incident": one.incident,
            "declared": one.declared.rfc3339(),
            "effective": one.effective.rfc3339(),
            "until": one.until.rfc3339(),
            "uses": one.uses,
            "permits": one.act.allows(),
            "never_permits": break_glass::NEVER,
            "unreconciled": one.is_unreconciled(now, time),
            "closed": one.closed.as_ref().map(|(time, outcome)| json!({"time": time.rfc3339(), "outcome": outcome})),
        })
    };
    json!({
        "schema": "devvault.break-glass/1",
        "ok": true,
        "permits": all.iter().map(one).collect::<Vec<_>>(),
    })
    .to_string()
}

fn branch_begun(report: &branch::Report) -> String {
    let mut out = String::new();
    line!(out, "a branch was begun: this copy of the vault goes on");
    line!(out, "  it continues {}", report.continues);
    line!(out, "  it leaves behind {}", report.abandons);
    human::notes(&mut out, &report.notes);
    line!(out, "head: {}", report.head);
    line!(out, "next: devvault verify, then devvault break-glass close {} --outcome WHAT", report.permit);
    out
}

fn branch_json(report: &branch::Report) -> String {
    json!({
        "schema": "devvault.branch/1",
        "ok": true,
        "vault": report.vault.to_string(),
        "branch": report.branch.to_string(),
        "continues": report.continues.to_string(),
        "abandons": report.abandons.to_string(),
        "head": report.head.to_string(),
        "permit": report.permit,
        "notes": report.notes,
    })
    .to_string()
}

fn lost_declared(report: &lost::Report) -> String {
    let mut out = String::new();
    let numbers: Vec<String> = report.lost.iter().map(u64::to_string).collect();
    line!(out, "declared lost: record(s) {}", numbers.join(", "));
    human::notes(&mut out, &report.notes);
    line!(out, "head: {}", report.head);
    line!(out, "next: devvault verify, then devvault break-glass close {} --outcome WHAT", report.permits.join(", "));
    out
}

fn lost_json(report: &lost::Report) -> String {
    json!({
        "schema": "devvault.declare-lost/1",
        "ok": true,
        "vault": report.vault.to_string(),
        "lost": report.lost,
        "head": report.head.to_string(),
        "permits": report.permits,
        "notes": report.notes,
    })
    .to_string()
}

fn salvaged(report: &salvage::Report) -> String {
    let mut out = String::new();
    let standing = &report.standing;
    line!(out, "salvaged from snapshot {} into {}", report.snapshot, shown_path(&report.destination));
    if report.authenticated {
        line!(out, "  verified against the authenticated manifest: {} path(s), below verified/", standing.verified);
    } else {
        line!(
            out,
            "  UNAUTHENTICATED, nobody proves who wrote it: {} path(s), below unauthenticated/",
            standing.unauthenticated
        );
    }
    if standing.damaged > 0 {
        line!(out, "  damaged: {} path(s); what is left of them lies below damaged/", standing.damaged);
    }
    if standing.missing > 0 {
        line!(out, "  missing: {} path(s)", standing.missing);
    }
    if standing.not_written > 0 {
        line!(out, "  not written, the target does not take them: {} path(s)", standing.not_written);
    }
    line!(out, "  every path and its standing: {}", shown_path(&report.list));
    human::notes(&mut out, &report.notes);
    if let Some(permit) = &report.permit {
        line!(out, "next: devvault verify, then devvault break-glass close {permit} --outcome WHAT");
    }
    out
}

fn salvage_json(report: &salvage::Report) -> String {
    let standing = &report.standing;
    json!({
        "schema": "devvault.salvage/1",
        "ok": report.exit() == 0,
        "exit": report.exit(),
        "snapshot": report.snapshot,
        "vault": report.vault.to_string(),
        "path": report.path.to_string(),
        "destination": shown_path(&report.destination),
        "list": shown_path(&report.list),
        "authenticated": report.authenticated,
        "verified": standing.verified,
        "unauthenticated": standing.unauthenticated,
        "damaged": standing.damaged,
        "missing": standing.missing,
        "not_written": standing.not_written,
        "bytes": standing.bytes,
        "permit": report.permit,
        "notes": report.notes,
    })
    .to_string()
}

fn traced(report: &trace::Report) -> String {
    let mut out = String::new();
    for one in &report.holders {
        line!(
            out,
            "snapshot {} of {}: host {}, source {}, by {}",
            one.snapshot,
            one.time.rfc3339(),
            shown(one.host.as_bytes()),
            shown(&one.source),
            shown(one.program.as_bytes())
        );
        line!(out, "  {}", one.what);
    }
    if let Some(time) = report.read {
        line!(out, "last read completely, as manifests say: {}", time.rfc3339());
    }
    for done in &report.verified {
        line!(out, "verified by this host {}: {} (journal {})", done.time.rfc3339(), done.what, done.entry);
    }
    for done in &report.restored {
        line!(out, "restored by this host {} {} (journal {})", done.time.rfc3339(), done.what, done.entry);
    }
    if report.verified.is_empty() {
        line!(out, "this host never verified it");
    }
    if report.restored.is_empty() {
        line!(out, "this host never restored it");
    }
    human::notes(&mut out, &report.notes);
    out
}

fn trace_json(report: &trace::Report) -> String {
    let done = |done: &trace::Done| json!({"entry": done.entry, "time": done.time.rfc3339(), "what": done.what});
    json!({
        "schema": "devvault.trace/1",
        "ok": true,
        "vault": report.vault.to_string(),
        "snapshots": report.holders.iter().map(|one| json!({
            "snapshot": one.snapshot,
            "time": one.time.rfc3339(),
            "host": one.host,
            "source": shown(&one.source),
            "program": one.program,
            "what": one.what,
        })).collect::<Vec<_>>(),
        "read": report.read.map(Time::rfc3339),
        "verified": report.verified.iter().map(done).collect::<Vec<_>>(),
        "restored": report.restored.iter().map(done).collect::<Vec<_>>(),
        "notes": report.notes,
    })
    .to_string()
}

/// Says how long ago something was, in days or hours.
fn age(time: Option<Time>, now: Time) -> String {
    let Some(time) = time else { return "of unknown age".into() };
    match now.seconds.saturating_sub(time.seconds) {
        seconds if seconds < 0 => "newer than the clock".into(),
        seconds if seconds < 48 * 3600 => format!("{} h old", seconds / 3600),
        seconds => format!("{} days old", seconds / 86400),
    }
}

/// Lists orphans for a person, each with what can be decided.
pub(super) fn orphans_listed(out: &mut String, orphans: &Orphans, now: Time) {
    for one in &orphans.incomplete {
        line!(out, "  never finalized: snapshots/{}: {}, {} bytes", one.name, age(one.modified, now), one.bytes);
        if let Some(claim) = &one.claim {
            let began = claim.started.map(|time| format!(", begun {}", time.rfc3339())).unwrap_or_default();
            line!(
                out,
                "    it says: host {}, process {}, source {}{began}",
                shown(claim.host_name.as_bytes()),
                claim.pid,
                shown(claim.source.as_bytes())
            );
        }
        match one.packs_verified {
            Some(verified) => line!(out, "    unfinished packs: {}, of which {verified} verify", one.packs),
            None if one.packs > 0 => line!(out, "    unfinished packs: {}, not read", one.packs),
            None => {}
        }
        if one.has_record {
            line!(out, "    its record was written: only the last step is missing; it is no snapshot all the same");
        }
        if one.may_be_written {
            line!(out, "    a process writes to the vault now: wait for it to end");
        } else if let Some(tag) = &one.tag {
            line!(out, "    put off until {}: {}", tag.until.rfc3339(), shown(tag.label.as_bytes()));
        } else {
            line!(out, "    decide: back up the same source again, or devvault incomplete discard {}", one.name);
        }
    }
    for (name, bytes) in &orphans.packs {
        line!(out, "  no snapshot names {name} ({bytes} bytes); the next backup uses what it holds");
    }
    for name in &orphans.foreign {
        line!(out, "  does not belong to the vault: {name}");
    }
    for name in &orphans.temporary {
        line!(out, "  left by a test of the medium: {name}");
    }
    if let Some(word) = &orphans.stale_lock {
        line!(out, "  lock.holder is stale, nobody writes: {word}");
    }
}

/// Returns orphans as a JSON object.
pub(super) fn orphans_json(orphans: &Orphans, now: Time) -> Value {
    let one = |one: &Incomplete| {
        json!({
            "name": one.name,
            "modified": one.modified.map(Time::rfc3339),
            "bytes": one.bytes,
            "packs": one.packs,
            "packs_verified": one.packs_verified,
            "has_record": one.has_record,
            "may_be_written": one.may_be_written,
            "due": one.is_due(now),
            "origin": one.claim.as_ref().map(|claim| json!({
                "host": claim.host_name,
                "process": claim.pid,
                "source": claim.source,
                "started": claim.started.map(Time::rfc3339),
            })),
            "tag": one.tag.as_ref().map(|tag| json!({"label": tag.label, "until": tag.until.rfc3339()})),
        })
    };
    json!({
        "incomplete": orphans.incomplete.iter().map(one).collect::<Vec<_>>(),
        "packs": orphans.packs.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes})).collect::<Vec<_>>(),
        "foreign": orphans.foreign,
        "temporary": orphans.temporary,
        "stale_lock": orphans.stale_lock,
    })
}

fn incomplete_json(act: &str, report: &incomplete::Report) -> String {
    json!({
        "schema": "devvault.incomplete/1",
        "ok": true,
        "act": act,
        "vault": report.vault.to_string(),
        "name": report.name,
        "bytes": report.bytes,
        "label": report.tag.as_ref().map(|tag| &tag.label),
        "until": report.tag.as_ref().map(|tag| tag.until.rfc3339()),
        "permit": report.permit,
        "notes": report.notes,
    })
    .to_string()
}

/// Returns who acts, as far as the session tells.
fn who(named: Option<&String>) -> String {
    let user = || ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.cloned().or_else(user).filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".into())
}

fn incidents_json(all: &[Incident], entries: &[Entry], now: Time) -> String {
    let one = |incident: &Incident| {
        json!({
            "incident": incident.id,
            "vault": incident.vault.map(|vault| vault.to_string()),
            "place": incident.place,
            "state": incident.state(),
            "severity": incident.severity,
            "codes": incident.codes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "opened": incident.opened.rfc3339(),
            "report_due": incident.report_due.rfc3339(),
            "reported": incident.reported.map(Time::rfc3339),
            "overdue": incident.is_overdue(now),
            "evidence": incident.evidence,
            "items": crate::incident::registry::items_to_json(&incident.items),
            "notes": incident.notes.iter().map(|note| json!({
                "time": note.time.rfc3339(), "by": note.by, "text": note.text,
            })).collect::<Vec<_>>(),
            "closed": incident.closed.as_ref().map(|closed| json!({
                "time": closed.time.rfc3339(),
                "reason": closed.reason,
                "by": closed.by,
                "decision": closed.decision,
            })),
        })
    };
    let mut document = json!({
        "schema": "devvault.incidents/1",
        "ok": true,
        "incidents": all.iter().map(one).collect::<Vec<_>>(),
    });
    if !entries.is_empty() {
        document["journal"] = entries.iter().map(entry_json).collect();
    }
    document.to_string()
}

fn codes(incident: &Incident) -> String {
    incident.codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn due(incident: &Incident, now: Time) -> String {
    match incident.reported {
        Some(time) => format!("report written {}", time.rfc3339()),
        None if incident.is_overdue(now) => format!("report OVERDUE since {}", incident.report_due.rfc3339()),
        None => format!("report due {}", incident.report_due.rfc3339()),
    }
}

fn incidents_listed(all: &[Incident], now: Time) -> String {
    let mut out = String::new();
    if all.is_empty() {
        line!(out, "no incidents on this host");
    }
    for incident in all {
        line!(
            out,
            "{}  {:6}  {}  {}  opened {}  {}  vault: {}",
            incident.id,
            incident.state(),
            incident.severity,
            codes(incident),
            incident.opened.rfc3339(),
            due(incident, now),
            shown(incident.place.as_bytes())
        );
    }
    out
}

fn incident_shown(incident: &Incident, entries: &[Entry], now: Time) -> String {
    let mut out = String::new();
    line!(out, "incident {}: {}, {}", incident.id, incident.state(), incident.severity);
    let vault = incident.vault.map_or_else(|| "of unknown id".to_owned(), |vault| vault.to_string());
    line!(out, "  vault {vault} in {}", shown(incident.place.as_bytes()));
    line!(out, "  opened {}; {}", incident.opened.rfc3339(), due(incident, now));
    for item in &incident.items {
        line!(out, "  {} {}: {}", item.code, shown(item.subject.as_bytes()), item.code.title());
    }
    for path in &incident.evidence {
        line!(out, "  evidence: {}", shown(path.as_bytes()));
    }
    for note in &incident.notes {
        line!(out, "  {} {}: {}", note.time.rfc3339(), shown(note.by.as_bytes()), shown(note.text.as_bytes()));
    }
    for entry in entries {
        line!(out, "  journal {}", entry_line(entry).trim_start());
    }
    if let Some(closed) = &incident.closed {
        let (by, reason) = (shown(closed.by.as_bytes()), shown(closed.reason.as_bytes()));
        line!(out, "closed {} by {by}: {reason}", closed.time.rfc3339());
        if let Some(decision) = &closed.decision {
            line!(out, "  decided: {}", shown(decision.as_bytes()));
        }
    } else {
        line!(out, "while it is open, this host removes nothing from that vault");
        if let Some(code) = incident.codes.first() {
            line!(out, "next: devvault runbook {code}");
        }
    }
    out
}

fn incident_closed(incident: &Incident) -> String {
    let mut out = String::new();
    line!(out, "incident {} is closed", incident.id);
    if incident.closed.as_ref().is_some_and(|closed| closed.decision.is_some()) {
        line!(out, "  what it names stays broken: it is reported again, but opens no new incident");
    }
    if incident.reported.is_none() {
        line!(out, "  its report is due {}: devvault incident report {}", incident.report_due.rfc3339(), incident.id);
    }
    out
}

fn captured(report: &evidence::Captured, words: &str) -> String {
    let mut out = String::new();
    line!(out, "evidence was packed into {}: {} files, {} bytes", shown_path(&report.path), report.files, report.bytes);
    line!(out, "  manifest: {}", report.manifest);
    for name in &report.damaged {
        line!(out, "  damaged: {name}");
    }
    for what in report.unreadable.iter().take(crate::limits::SHOWN_PATHS_MAX) {
        line!(out, "  could not be read: {what}");
    }
    if report.unreadable.len() > crate::limits::SHOWN_PATHS_MAX {
        line!(out, "  … and {} more; --json names all", report.unreadable.len() - crate::limits::SHOWN_PATHS_MAX);
    }
    human::notes(&mut out, &report.notes);
    line!(out, "nothing was changed in the vault");
    line!(out, "check it: {words} evidence verify {}", super::quoted(&report.path.to_string_lossy()));
    out
}

fn captured_json(report: &evidence::Captured) -> String {
    json!({
        "schema": "devvault.evidence-capture/1",
        "ok": true,
        "path": shown_path(&report.path),
        "files": report.files,
        "bytes": report.bytes,
        "manifest": report.manifest.to_string(),
        "authenticated": report.authenticated,
        "damaged": report.damaged,
        "unreadable": report.unreadable,
        "notes": report.notes,
    })
    .to_string()
}

fn bundle_checked(report: &evidence::Verified) -> String {
    let mut out = String::new();
    let verdict = if report.findings.is_empty() { "INTACT" } else { "NOT INTACT" };
    line!(out, "{verdict}: the bundle {}", shown_path(&report.path));
    line!(out, "  {} files are what was packed", report.files);
    if let Some(time) = report.time {
        line!(out, "  packed {}", time.rfc3339());
    }
    if report.authenticated == Some(true) {
        line!(out, "  its manifest carries the tag of this vault's key");
    }
    for what in &report.unreadable {
        line!(out, "  could not be read when it was packed: {}", shown(what.as_bytes()));
    }
    for what in &report.not_checked {
        line!(out, "  not checked: {what}");
    }
    human::findings(&mut out, &report.findings);
    out
}

fn bundle_json(report: &evidence::Verified) -> String {
    json!({
        "schema": "devvault.evidence-verify/1",
        "verdict": if report.findings.is_empty() { "intact" } else { "damaged" },
        "path": shown_path(&report.path),
        "time": report.time.map(Time::rfc3339),
        "vault": report.vault.map(|vault| vault.to_string()),
        "incident": report.incident,
        "files": report.files,
        "manifest": report.manifest.map(|digest| digest.to_string()),
        "authenticated": report.authenticated,
        "unreadable": report.unreadable,
        "not_checked": report.not_checked,
        "findings": documents::findings(&report.findings),
        "exit": worst(&report.findings),
    })
    .to_string()
}

fn entry_json(entry: &Entry) -> Value {
    json!({
        "number": entry.number,
        "time": entry.time.rfc3339(),
        "act": entry.act,
        "vault": entry.vault.map(|vault| vault.to_string()),
        "place": entry.place,
        "data": entry.data,
        "program": entry.program,
    })
}

/// One line of an entry: its number, time, act, and what a person would look for first.
fn entry_line(entry: &Entry) -> String {
    let mut out = format!("{:>6}  {}  {}", entry.number, entry.time.rfc3339(), shown(entry.act.as_bytes()));
    for name in [
        "event",
        "outcome",
        "code",
        "verdict",
        "level",
        "snapshot",
        "source",
        "destination",
        "path",
        "incident",
        "permit",
        "message",
        "reason",
        "text",
    ] {
        let value = match entry.data.get(name) {
            Some(Value::String(text)) if !text.is_empty() => shown(text.as_bytes()),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        let _ = write!(out, "  {name}: {value}");
    }
    if let Some(place) = &entry.place {
        let _ = write!(out, "  vault: {}", shown(place.as_bytes()));
    }
    out
}

fn journal_shown(report: &journal::Shown) -> String {
    let mut out = String::new();
    if report.entries.is_empty() {
        line!(out, "no such entry in the journal");
    }
    for entry in &report.entries {
        line!(out, "{}", entry_line(entry));
    }
    human::findings(&mut out, &report.findings);
    human::notes(&mut out, &report.notes);
    out
}

fn journal_shown_json(report: &journal::Shown) -> String {
    json!({
        "schema": "devvault.journal/1",
        "total": report.total,
        "entries": report.entries.iter().map(entry_json).collect::<Vec<_>>(),
        "findings": documents::findings(&report.findings),
        "notes": report.notes,
    })
    .to_string()
}

fn journal_checked(report: &journal::Checked) -> String {
    let mut out = String::new();
    let verdict = if report.findings.is_empty() { "SOUND" } else { "BROKEN" };
    line!(out, "{verdict}: the journal {}", shown_path(&report.path));
    line!(out, "  {} entries, each continuing the one before", report.entries);
    if let (Some(head), Some(time)) = (report.head, report.time) {
        line!(out, "  the newest: {head} of {}", time.rfc3339());
    }
    if report.anchors > 0 {
        line!(out, "  {} snapshot(s) name an entry of it, and each is there", report.anchors);
    }
    for path in &report.set_aside {
        line!(out, "  set aside before: {}", shown_path(path));
    }
    for what in &report.not_checked {
        line!(out, "  not checked: {what}");
    }
    human::findings(&mut out, &report.findings);
    human::notes(&mut out, &report.notes);
    out
}

fn journal_checked_json(report: &journal::Checked) -> String {
    json!({
        "schema": "devvault.journal-verify/1",
        "verdict": if report.findings.is_empty() { "sound" } else { "broken" },
        "path": shown_path(&report.path),
        "entries": report.entries,
        "head": report.head.map(|head| head.to_string()),
        "time": report.time.map(|time| time.rfc3339()),
        "anchors": report.anchors,
        "set_aside": report.set_aside.iter().map(|path| shown_path(path)).collect::<Vec<_>>(),
        "findings": documents::findings(&report.findings),
        "not_checked": report.not_checked,
        "notes": report.notes,
        "exit": worst(&report.findings),
    })
    .to_string()
}

fn moved_json(act: &str, report: &journal::Moved) -> String {
    json!({
        "schema": "devvault.journal/1",
        "ok": true,
        "act": act,
        "path": shown_path(&report.path),
        "entries": report.entries,
        "notes": report.notes,
    })
    .to_string()
}
