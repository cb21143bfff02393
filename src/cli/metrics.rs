//! `status --metrics`: how a vault stands, in the text format of Prometheus, for a collector that reads files.
//!
//! The file is replaced as a whole, also where `status` refuses: `devvault_up` is 0 then, and nothing else can be taken
//! for the present state. Nothing but earlier metrics is replaced.

use std::collections::BTreeMap;
use std::path::Path;

use crate::clock::Time;
use crate::error::{Error, Result};
use crate::format::PROGRAM;
use crate::host::Host;
use crate::ops::attention;
use crate::ops::output::Output;
use crate::ops::status::Report;
use crate::path::shown;
use crate::vault::witness::Freshness;

/// What every file of metrics begins with: nothing else is replaced.
const BEGINNING: &str = "# HELP devvault_";

/// Takes the place that the metrics go to.
///
/// # Errors
/// It is in a vault or among devvault's own files; something else than metrics is there; its directory is missing.
pub(super) fn place<'a>(path: &'a Path, host: &Host, vault: Option<&Path>) -> Result<Output<'a>> {
    Output::over("the metrics", path, BEGINNING, host, vault)
}

/// Returns the metrics of a vault, or of a refusal.
pub(super) fn text(outcome: &Result<Report>, now: Time) -> String {
    match outcome {
        Ok(report) => of_report(report),
        Err(error) => of_error(error, now),
    }
}

/// Collects metrics in the text format.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a metric; its samples follow.
    fn begin(&mut self, name: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.0.push_str(&format!("# HELP devvault_{name} {help}\n# TYPE devvault_{name} gauge\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let one = |(label, value): &(&str, &str)| format!("{label}=\"{}\"", escaped(value));
        let labels: Vec<String> = labels.iter().map(one).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.0.push_str(&format!("devvault_{name}{labels} {value}\n"));
    }

    fn one(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.begin(name, help);
        self.sample(name, &[], value);
    }
}

/// Returns a label's value in the form in which the format takes it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Seconds since 1970, or 0 for never.
fn or_never(time: Option<Time>) -> i64 {
    time.map_or(0, |time| time.seconds)
}

const UP: &str = "Whether the vault could be opened and its records and packs were looked at.";
const NOW: &str = "When this was looked at, in seconds since 1970.";

fn of_error(error: &Error, now: Time) -> String {
    let mut text = Text::default();
    text.one("up", UP, 0);
    text.one("status_timestamp_seconds", NOW, now.seconds);
    text.begin("refused", "The code with which the vault refused to open; none where the environment failed.");
    let code = error.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
    text.sample("refused", &[("code", &code)], 1);
    text.0
}

fn of_report(report: &Report) -> String {
    let mut text = Text::default();
    text.one("up", UP, 1);
    text.one("status_timestamp_seconds", NOW, report.now.seconds);
    text.begin("info", "The program, the vault and its place.");
    let vault = report.vault.to_string();
    text.sample("info", &[("program", PROGRAM), ("vault", &vault), ("place", &report.place)], 1);
    text.one("head_number", "The number of the newest record.", report.head.number);
    text.one("snapshots", "Snapshots in the vault.", report.snapshots);
    text.one("packs", "Packs in the vault.", report.packs);
    text.one("stored_bytes", "Bytes of all packs.", report.bytes_stored);
    if let Some(free) = report.bytes_free {
        text.one("free_bytes", "Bytes that can still be written to the vault's medium.", free);
    }
    text.one(
        "freshness_proven",
        "Whether the newest records that this host has seen are in the vault, and something vouches for what it saw first.",
        u8::from(report.freshness == Freshness::Proven),
    );
    findings(&mut text, report);
    text.begin("attention", "Things that a person has to see to, by kind.");
    for kind in attention::KINDS {
        let count = report.attention.iter().filter(|one| one.kind == kind).count();
        text.sample("attention", &[("kind", kind)], count);
    }
    reads(&mut text, report);
    sources(&mut text, report);
    text.0
}

fn findings(text: &mut Text, report: &Report) {
    text.begin("findings", "What is wrong with records, packs and the witness, by code; no sample where nothing is.");
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for finding in &report.findings {
        *counts.entry(finding.code.to_string()).or_default() += 1;
    }
    for (code, count) in counts {
        text.sample("findings", &[("code", &code)], count);
    }
    text.one("findings_total", "What is wrong with records, packs and the witness.", report.findings.len());
    let orphans = &report.orphans;
    text.begin("orphans", "What lies in the vault and belongs to no snapshot, by kind.");
    for (kind, count) in [
        ("incomplete", orphans.incomplete.len()),
        ("packs", orphans.packs.len()),
        ("foreign", orphans.foreign.len()),
        ("temporary", orphans.temporary.len()),
        ("lock", usize::from(orphans.stale_lock.is_some())),
    ] {
        text.sample("orphans", &[("kind", kind)], count);
    }
}

fn reads(text: &mut Text, report: &Report) {
    let name = "verified_timestamp_seconds";
    text.begin(name, "When the vault as a whole was last verified, in seconds since 1970; 0 for never.");
    let (level, verdict) =
        report.verified.as_ref().map_or(("none", "none"), |verified| (&verified.level, &verified.verdict));
    let time = or_never(report.verified.as_ref().map(|verified| verified.time));
    text.sample(name, &[("level", level), ("verdict", verdict)], time);
    text.one(
        "proven_timestamp_seconds",
        "When everything was last read and found valid, in seconds since 1970; 0 for never.",
        or_never(report.proven),
    );
    text.one(
        "recently_read_bytes",
        "Bytes of packs that were read completely and intact within 30 days.",
        report.coverage.bytes_recently,
    );
    text.one(
        "oldest_read_timestamp_seconds",
        "When the pack that was not read for longest was last read, in seconds since 1970; 0 where one never was.",
        or_never(report.coverage.oldest),
    );
    text.one(
        "key_exported_timestamp_seconds",
        "When this host last exported the key, in seconds since 1970; 0 for never.",
        or_never(report.key_exported),
    );
}

fn sources(text: &mut Text, report: &Report) {
    let names: Vec<(String, String)> =
        report.sources.iter().map(|line| (line.host_id.to_string(), shown(&line.source))).collect();
    let mut each = |name: &str, help: &str, value: &dyn Fn(&crate::ops::status::SourceLine) -> String| {
        text.begin(name, help);
        for (line, (id, source)) in report.sources.iter().zip(&names) {
            text.sample(name, &[("host", &line.host), ("host_id", id), ("source", source)], value(line));
        }
    };
    each("source_snapshots", "Snapshots of a source.", &|line| line.snapshots.to_string());
    each("source_backup_timestamp_seconds", "When a source was last backed up, in seconds since 1970.", &|line| {
        line.time.seconds.to_string()
    });
    each(
        "source_drill_timestamp_seconds",
        "When a restore of the whole of a source was last exercised and passed, in seconds since 1970; 0 for never.",
        &|line| or_never(line.drilled.as_ref().map(|drilled| drilled.time)).to_string(),
    );
    each(
        "source_drill_sample_timestamp_seconds",
        "When a restore of a sample last passed after the last whole one, in seconds since 1970; 0 for never.",
        &|line| or_never(line.sampled.as_ref().map(|drilled| drilled.time)).to_string(),
    );
    each(
        "source_drill_failed",
        "Whether a drill of a source failed and no whole one of as much passed since.",
        &|line| u8::from(line.drill_failed.is_some()).to_string(),
    );
    each(
        "source_recovery_seconds",
        "How long a recovery of a source takes, measured by the last whole drill that passed; 0 where there is none.",
        &|line| {
            let milliseconds = line.drilled.as_ref().map_or(0, |drilled| drilled.recovery_milliseconds);
            format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::{Code, Refusal};

    #[test]
    fn label_values_and_help_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
        let mut text = Text::default();
        text.begin("x", "one\ntwo\\");
        assert_eq!(text.0, "# HELP devvault_x one\\ntwo\\\\\n# TYPE devvault_x gauge\n");
    }

    #[test]
    fn a_refusal_replaces_what_was_known() {
        let refusal: Error = Refusal::new(Code::VaultNotFound, "gone").into();
        let text = of_error(&refusal, Time { seconds: 7, nanos: 0 });
        assert!(text.starts_with(BEGINNING), "the next run would not replace it: {text}");
        assert!(text.contains("devvault_up 0\n") && text.contains("devvault_refused{code=\"DV406\"} 1\n"), "{text}");
        assert!(text.contains("devvault_status_timestamp_seconds 7\n") && !text.contains("snapshots"));
    }
}
