//! `break-glass`: its arguments and how its reports read.

use clap::Subcommand;
use serde_json::{Value, json};

use super::incident::who;
use super::{Session, line};
use crate::clock::{Clock, SystemClock, Time};
use crate::error::Result;
use crate::incident::break_glass::{self, Declaration, Request, TimeBox};
use crate::incident::journal::Journal;
use crate::incident::registry;
use crate::path::shown;

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

impl Session {
    /// Returns the command that verifies the vault which a permit is about: the one that this run was told, else where this
    /// host knows it.
    fn verify_permitted(&self, one: &Declaration) -> String {
        let entries = Journal::of(&self.host).entries().unwrap_or_default();
        let place = one.place(&entries).filter(|_| self.args.vault.is_none());
        registry::verify_at(place.as_deref())
    }

    pub(super) fn break_glass(&self, command: &BreakGlass) -> Result<u8> {
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
                let text = || declared(&one, &self.verify_permitted(&one));
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
}

fn declared(one: &Declaration, verify: &str) -> String {
    let mut out = String::new();
    line!(out, "declared {}: {} {}", one.id, one.act.name(), one.scope);
    line!(out, "  from {} until {}, on this host alone", one.effective.rfc3339(), one.until.rfc3339());
    line!(out, "  it permits: {}", one.act.allows());
    line!(out, "  it never permits: {}", break_glass::NEVER);
    line!(out, "Think for these two minutes. Take it back: devvault break-glass cancel {}", one.id);
    line!(out, "Afterwards: {verify}, then devvault break-glass close {} --outcome WHAT", one.id);
    out
}

fn permit_closed(one: &Declaration) -> String {
    let mut out = String::new();
    line!(out, "{} is closed: it permits nothing any more", one.id);
    if one.uses == 0 {
        line!(out, "  it was NEVER USED: nothing was done under it, and the journal says so beside the outcome");
    }
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
        if let Some((time, outcome)) = &one.closed {
            let claim = if one.uses == 0 { "closed without use" } else { "closed" };
            line!(out, "    {claim} {}: {}", time.rfc3339(), shown(outcome.as_bytes()));
        }
    }
    out
}

fn declarations_json(all: &[Declaration], now: Time, time: Option<Time>) -> Value {
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
}
