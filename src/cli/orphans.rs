//! `incomplete`: its arguments, and how orphans read, there and in `status`.

use clap::Subcommand;
use clap::error::ErrorKind;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::args::some_words;
use super::{Session, human, line, usage};
use crate::clock::{Clock, SystemClock, Time};
use crate::error::Result;
use crate::ops::incomplete;
use crate::ops::orphans::{Incomplete, Orphans, Stray, Tag};
use crate::path::{quoted, shown};

#[derive(Debug, Subcommand)]
pub(super) enum Incompletes {
    /// List everything in the vault that belongs to no snapshot, and read unfinished packs
    List,
    /// Remove one incomplete snapshot, or a file that a test of the medium left; refused while an incident is open about the vault
    Discard {
        /// Its name, as the list prints it: `.incomplete-…`, `.probe-…`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Put the decision about one off; `status` brings it back
    Tag {
        /// Its name, as the list prints it
        #[arg(value_name = "NAME")]
        name: String,
        /// Why it stays
        #[arg(long, value_name = "WHY", value_parser = some_words)]
        label: String,
        /// Until which day to come, such as 2026-01-31
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
    let instant = OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339);
    instant.map(|instant| Time { seconds: instant.unix_timestamp(), nanos: 0 }).map_err(|_| wrong())
}

impl Session {
    pub(super) fn incomplete(&self, command: &Incompletes) -> Result<u8> {
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
                self.done(document, text)
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
                if *until <= SystemClock.now() {
                    usage(ErrorKind::ValueValidation, "`--until` names a day to come: what is put off comes back then");
                }
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
            line!(
                out,
                "    decide: back up the same source again, or `devvault incomplete discard {}`",
                quoted(&one.name)
            );
        }
    }
    strays(out, "no snapshot names it, the next backup uses what it holds", &orphans.packs, now);
    strays(out, "does not belong to the vault", &orphans.foreign, now);
    remnants(out, &orphans.temporary, now);
    if let Some(word) = &orphans.stale_lock {
        line!(out, "  lock.holder is stale, nobody writes: {word}");
    }
}

fn strays(out: &mut String, what: &str, strays: &[Stray], now: Time) {
    for stray in strays {
        let bytes = stray.bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
        line!(out, "  {what}: {}: {}{bytes}", stray.name, age(stray.modified, now));
        if let Some(tag) = &stray.tag {
            line!(out, "    put off until {}: {}", tag.until.rfc3339(), shown(tag.label.as_bytes()));
        }
    }
}

/// Says what to do with what a test of the medium left.
fn remnants(out: &mut String, temporary: &[Stray], now: Time) {
    strays(out, "left by a test of the medium", temporary, now);
    for stray in temporary.iter().filter(|stray| stray.is_due(now)) {
        match stray.can_be_discarded() {
            true => line!(out, "    remove it: devvault incomplete discard {}", stray.name),
            false => line!(out, "    look at it, and remove it by hand"),
        }
    }
}

/// Returns orphans as a JSON object.
pub(super) fn orphans_json(orphans: &Orphans, now: Time) -> Value {
    let tag = |tag: Option<&Tag>| tag.map(|tag| json!({"label": tag.label, "until": tag.until.rfc3339()}));
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
            "tag": tag(one.tag.as_ref()),
        })
    };
    let stray = |stray: &Stray| {
        json!({
            "name": stray.name,
            "bytes": stray.bytes,
            "modified": stray.modified.map(Time::rfc3339),
            "due": stray.is_due(now),
            "tag": tag(stray.tag.as_ref()),
        })
    };
    json!({
        "incomplete": orphans.incomplete.iter().map(one).collect::<Vec<_>>(),
        "packs": orphans.packs.iter().map(stray).collect::<Vec<_>>(),
        "foreign": orphans.foreign.iter().map(stray).collect::<Vec<_>>(),
        "temporary": orphans.temporary.iter().map(stray).collect::<Vec<_>>(),
        "stale_lock": orphans.stale_lock,
    })
}

fn incomplete_json(act: &str, report: &incomplete::Report) -> Value {
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
}
