//! Looking at a vault as an operator would: verify it, list every snapshot, read every file.

use std::fmt::Write;
use std::io;

use super::scratch::Scratch;
use super::{Cases, Fixtures};
use crate::error::{Error, Result};
use crate::format::entry::Kind;
use crate::format::json;
use crate::ops::select::{Place, Selector};
use crate::ops::{cat, ls, verify};
use crate::path::EntryPath;
use crate::progress::Silent;
use crate::vault::gate::Access;

/// Examines every fixture vault.
pub(super) fn run(fixtures: &Fixtures, scratch: &Scratch, cases: &mut Cases) -> Result<()> {
    for (vault, key) in vaults(fixtures) {
        let place = scratch.vault(fixtures, vault, vault);
        let access = place.and_then(|place| scratch.access(vault, &place, Some(key)));
        let access = access.map_err(|error| Error::environment(format!("write the vault {vault}"), error))?;
        for level in [verify::Level::Full, verify::Level::Quick] {
            cases.insert(format!("vault/{vault}/verify, {}", level.name()), verdict(&access, level));
        }
        cases.insert(format!("vault/{vault}/content"), content(&access, usize::MAX));
    }
    Ok(())
}

/// Returns the names of the fixture vaults and their keys.
fn vaults(fixtures: &Fixtures) -> impl Iterator<Item = (&str, &[u8])> {
    fixtures.below("vaults/").filter_map(|(name, key)| Some((name.strip_suffix(".key")?, key)))
}

/// Says what a verification comes to: verdict, exit, head, each snapshot, and each finding with what it is about.
pub(super) fn verdict(access: &Access, level: verify::Level) -> String {
    let report = match verify::run(access, &[], level, &Silent) {
        Ok(report) => report,
        Err(error) => return refused(&error),
    };
    let mut said = format!("{}, exit {}, head {}", report.verdict.name(), report.exit(), report.head);
    for (number, verdict) in &report.snapshots {
        let _ = write!(said, "; snapshot {number} {}", verdict.name());
    }
    // The details may hold the words of an operating system.
    let mut findings: Vec<String> = report
        .findings
        .iter()
        .map(|finding| {
            let paths: Vec<String> = finding.paths.iter().map(ToString::to_string).collect();
            let subject =
                if finding.subject.starts_with(|c: char| c.is_ascii_lowercase()) { &*finding.subject } else { "" };
            format!("; {} {subject} {:?} {paths:?}", finding.code, finding.snapshots)
        })
        .collect();
    findings.sort_unstable();
    said + &findings.concat()
}

/// Says what each snapshot lists, and what each file's content is, or why not; of files not deeper than `depth`.
pub(super) fn content(access: &Access, depth: usize) -> String {
    let mut said = String::new();
    for number in 1..=2 {
        let mut listing = blake3::Hasher::new();
        let mut files = Vec::new();
        let place = Place { snapshot: Selector::Number(number), path: EntryPath::root() };
        let listed = ls::run(access, &place, &Silent, |entry| {
            listing.update(&json::encode(entry));
            if matches!(entry.kind, Kind::File(_)) && entry.path.depth() <= depth {
                files.push(entry.path.clone());
            }
            Ok(())
        });
        let listed = listed.map_or_else(|error| refused(&error), |report| format!("{} entries", report.entries));
        let _ = writeln!(said, "{number}: {listed}, {}", listing.finalize().to_hex());
        for path in files {
            let mut content = blake3::Hasher::new();
            let place = Place { snapshot: Selector::Number(number), path: path.clone() };
            let read = cat::run(access, &place, &Silent, |piece| {
                content.update(piece);
                Ok(())
            });
            let read = match read {
                Ok(report) => format!("{} bytes, {}", report.bytes, content.finalize().to_hex()),
                Err(error) => refused(&error),
            };
            let _ = writeln!(said, "{number}:{path}: {read}");
        }
    }
    said
}

/// Names a refusal by what is the same everywhere.
pub(super) fn refused(error: &Error) -> String {
    match error.code() {
        Some(code) => format!("refused {code}"),
        None => format!("failed: {error}"),
    }
}

/// Says what kind of error the system gives.
pub(super) fn kind(error: &io::Error) -> String {
    format!("{:?}", error.kind())
}
