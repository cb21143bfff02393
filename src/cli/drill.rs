//! `drill`: the command, and its report for people and programs.

use clap::error::ErrorKind;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use super::args::Drill;
use super::human::{self, freshness};
use super::{Session, line, usage};
use crate::drill::scenario::{self, Report as Played};
use crate::drill::{self, Failure, Options, Recovery, Report, Step, Verdict};
use crate::error::{Error, Result, shown_path};
use crate::ops::receipt;
use crate::ops::select::Selector;
use crate::path::shown;

impl Session {
    pub(super) fn drill(&self, options: &Drill) -> Result<u8> {
        if let Some(scenario) = options.scenario {
            let report = scenario::run(&self.host, scenario, options.to.as_deref())?;
            return self.show(report.exit(), scenario_document(&report), || scenario_text(&report));
        }
        if options.clean_machine && self.args.key_file.is_none() {
            let message =
                "--clean-machine has nothing but the vault and an exported key: name that with --key-file FILE";
            usage(ErrorKind::MissingRequiredArgument, message);
        }
        let access = self.access()?;
        options.receipt.as_deref().map(|path| receipt::place(&access, path)).transpose()?;
        let program = std::env::current_exe().map_err(|error| Error::environment("find this program", error));
        let chosen = Options {
            snapshot: options.snapshot.clone().unwrap_or(Selector::Latest(None)),
            scratch: options.to.clone(),
            clean_machine: if options.clean_machine { Some(program?) } else { None },
            negative: options.negative,
            sample: options.sample,
        };
        let report = drill::run(&access, &chosen, &self.watch);
        self.watch.end();
        let mut report = report?;
        let mut exit = report.exit();
        if let Some(path) = &options.receipt
            && let Err(error) = receipt::write(&access, &report.receipt(access.clock.now()), path)
        {
            report.notes.push(format!("the receipt was not written: {error}"));
            exit = exit.max(1);
        }
        self.show(exit, document(&report), || text(&report))
    }
}

/// A time, as exactly as it matters.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        ..0.1 => format!("{:.0} ms", seconds * 1000.0),
        ..120.0 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

pub(super) fn steps(out: &mut String, steps: &[Step]) {
    let width = steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
    for step in steps {
        let failed = if step.passed { "" } else { "FAILED: " };
        line!(out, "  {:width$}  {:>9}  {failed}{}", step.name, time(step.seconds), step.said);
    }
}

pub(super) fn failure(out: &mut String, failure: &Failure) {
    for cause in failure.causes.iter().take(crate::limits::SHOWN_PATHS_MAX) {
        line!(out, "  because: {cause}");
    }
    if failure.causes.len() > crate::limits::SHOWN_PATHS_MAX {
        let more = failure.causes.len() - crate::limits::SHOWN_PATHS_MAX;
        line!(out, "  … and {} more; --json names all", HumanCount(more as u64));
    }
}

pub(super) fn see(failure: &Failure) -> String {
    failure.code.map_or_else(|| "failed-drill".to_owned(), |code| code.to_string())
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let source = format!("{} on {}", shown(&report.source.path), shown(report.source.host.as_bytes()));
    match &report.failure {
        Some(failure) => line!(out, "DRILL FAILED, {}", failure.line()),
        None if report.sample.is_some() => line!(out, "DRILL PASSED for a sample; it does not prove the rest"),
        None => line!(out, "DRILL PASSED: everything was restored, and is what the snapshot says"),
    }
    if let Some(failure) = &report.failure {
        self::failure(&mut out, failure);
    }
    let on = if report.clean_machine { ", as on a clean machine" } else { "" };
    line!(out, "  snapshot {} of {source}, from {}{on}", report.snapshot, report.place);
    let known = if report.clean_machine { ", as this host knows it and a clean machine does not" } else { "" };
    line!(out, "  freshness{known}: {}", freshness(&report.freshness));
    steps(&mut out, &report.steps);
    if let Some(compared) = &report.compared {
        let from = if compared.from_memory == 0 { "the medium" } else { "the page cache" };
        line!(
            out,
            "  compared by a second path: {} object(s); content of {} file(s), {}, read from {from} and hashed",
            HumanCount(compared.objects),
            HumanCount(compared.files),
            HumanBytes(compared.bytes)
        );
    }
    for trial in &report.trials {
        line!(
            out,
            "  {} damaged in a copy: verify refused with {}, restore with {}",
            trial.damage,
            trial.verify,
            trial.restore
        );
    }
    if let Some(recovery) = &report.recovery {
        line!(out, "  recovery time: {}", recovery_text(recovery));
    }
    for (class, count, reason) in &report.short {
        line!(out, "  not or less exactly restored: {class} of {} object(s): {reason}", HumanCount(*count));
    }
    for what in &report.not_proven {
        line!(out, "  NOT PROVEN: {what}");
    }
    for surprise in &report.surprises {
        line!(out, "  surprise: {surprise}");
    }
    if let Some(path) = &report.scratch {
        line!(
            out,
            "kept: {}; what was restored may be private, remove it when it is no longer needed",
            shown_path(path)
        );
    }
    human::kept(&mut out, &report.kept);
    human::notes(&mut out, &report.notes);
    if let Some(log) = &report.log {
        line!(out, "log: {} has a line for your remark", shown_path(log));
    }
    if let Some(failure) = &report.failure {
        line!(out, "the vault was only read");
        line!(out, "next: {}", failure.next);
        line!(out, "see: devvault runbook failed-drill, devvault runbook {}", see(failure));
    }
    out
}

fn scenario_text(report: &Played) -> String {
    let mut out = String::new();
    let scenario = report.scenario;
    match &report.failure {
        None => line!(out, "SCENARIO PASSED: {scenario}, on a throw-away vault; it says nothing of your own vaults"),
        Some(failure) => line!(out, "SCENARIO FAILED: {scenario}, {}", failure.line()),
    }
    if let Some(failure) = &report.failure {
        self::failure(&mut out, failure);
    }
    line!(out, "  simulated: {}", scenario.simulated());
    steps(&mut out, &report.steps);
    if let Some(path) = &report.scratch {
        line!(out, "kept: {}", shown_path(path));
    }
    human::notes(&mut out, &report.notes);
    if let Some(log) = &report.log {
        line!(out, "log: {} has a line for your remark", shown_path(log));
    }
    line!(out, "the procedure: devvault runbook {}", scenario.runbook());
    if let Some(failure) = &report.failure {
        line!(out, "next: {}", failure.next);
        line!(out, "see: devvault runbook failed-drill");
    }
    out
}

fn scenario_document(report: &Played) -> Value {
    json!({
        "schema": "devvault.scenario/1",
        "ok": report.failure.is_none(),
        "scenario": report.scenario.name(),
        "simulated": report.scenario.simulated(),
        "runbook": report.scenario.runbook(),
        "steps": steps_json(&report.steps),
        "failure": report.failure.as_ref().map(failure_json),
        "scratch": report.scratch.as_deref().map(shown_path),
        "log": report.log.as_deref().map(shown_path),
        "notes": report.notes,
    })
}

fn recovery_text(recovery: &Recovery) -> String {
    let long = match (recovery.is_measured(), recovery.seconds_high) {
        (true, _) => time(recovery.seconds),
        (false, Some(high)) => format!("between {} and {}", time(recovery.seconds_low), time(high)),
        (false, None) => format!("at least {}, without a bound", time(recovery.seconds_low)),
    };
    let verdict = match recovery.verdict {
        Verdict::Met => format!("within the objective of {} min", recovery.objective_minutes),
        Verdict::Missed => format!("WARNING: over the objective of {} min", recovery.objective_minutes),
        Verdict::Exceeded => format!(
            "TOO SLOW: beyond {} min, where the objective is {} min",
            recovery.minutes_max, recovery.objective_minutes
        ),
        Verdict::Undecided => format!(
            "NOT DECIDED: the objective of {} min lies in that range; a larger sample narrows it, a whole drill measures it",
            recovery.objective_minutes
        ),
    };
    let how = match recovery.seconds_fixed {
        None => "measured".to_owned(),
        Some(fixed) => format!(
            "extrapolated, not measured: one file took {}, the sample {}; what it took longer is assumed to grow with files, \
             objects, bytes or blocks, and each time to be right to a tenth",
            time(fixed),
            time(recovery.seconds)
        ),
    };
    format!("{long}, {verdict} ({how})")
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

pub(super) fn steps_json(steps: &[Step]) -> Vec<Value> {
    let one = |step: &Step| {
        json!({
            "step": step.name,
            "milliseconds": milliseconds(step.seconds),
            "passed": step.passed,
            "said": step.said,
        })
    };
    steps.iter().map(one).collect()
}

pub(super) fn failure_json(failure: &Failure) -> Value {
    json!({
        "code": failure.code.map(|code| code.to_string()),
        "family": failure.code.map(|code| code.family().name()),
        "severity": failure.code.map(|code| code.family().severity()),
        "message": failure.message,
        "causes": failure.causes,
        "paths": super::json::paths(&failure.paths),
        "next": failure.next,
        "runbook": failure.code.map(|code| code.runbook()),
    })
}

fn document(report: &Report) -> Value {
    let source = crate::format::json::TextOrBase64::of(&report.source.path);
    json!({
        "schema": "devvault.drill/1",
        "ok": report.failure.is_none(),
        "vault": report.vault,
        "path": report.place,
        "scenario": report.scenario(),
        "extent": report.extent(),
        "snapshot": report.snapshot,
        "host": report.source.host,
        "source": source.text,
        "source_b64": source.base64,
        "head": report.head.to_string(),
        "freshness": report.freshness.to_string(),
        "steps": steps_json(&report.steps),
        "sample": report.sample.map(|sample| json!({
            "files": sample.files,
            "bytes": sample.bytes,
            "files_total": sample.files_total,
            "bytes_total": sample.bytes_total,
            "files_too_long": sample.files_too_long,
            "confidence_percent": 95,
            "bad_files_at_most": sample.bad_files_at_most,
        })),
        "compared": report.compared.as_ref().map(|compared| json!({
            "objects": compared.objects,
            "files": compared.files,
            "bytes": compared.bytes,
            "files_from_memory": compared.from_memory,
            "differences": compared.differences.len(),
        })),
        "recovery": report.recovery.map(|recovery| json!({
            "measured": recovery.is_measured(),
            "measured_milliseconds": milliseconds(recovery.seconds),
            "fixed_milliseconds": recovery.seconds_fixed.map(milliseconds),
            "milliseconds_low": milliseconds(recovery.seconds_low),
            "milliseconds_high": recovery.seconds_high.map(milliseconds),
            "objective_minutes": recovery.objective_minutes,
            "minutes_max": recovery.minutes_max,
            "verdict": recovery.verdict.name(),
        })),
        "not_restored": report.short.iter().map(|(class, count, reason)| {
            json!({"class": class, "count": count, "reason": reason})
        }).collect::<Vec<_>>(),
        "negative": report.trials.iter().map(|trial| {
            json!({"damage": trial.damage, "verify": trial.verify.to_string(), "restore": trial.restore.to_string()})
        }).collect::<Vec<_>>(),
        "not_proven": report.not_proven,
        "surprises": report.surprises,
        "failure": report.failure.as_ref().map(failure_json),
        "scratch": report.scratch.as_deref().map(shown_path),
        "log": report.log.as_deref().map(shown_path),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
        "notes": report.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_names_a_section_of_the_runbook() {
        for scenario in scenario::Scenario::ALL {
            let section = super::super::runbook::section(Some(scenario.runbook()));
            assert!(section.is_ok(), "{scenario}: {}", scenario.runbook());
            assert_eq!(scenario.name().parse(), Ok(scenario));
        }
    }

    #[test]
    fn times_are_told_as_exactly_as_it_matters() {
        assert_eq!(
            [0.0123, 3.21, 119.0, 125.4, 36_000.0].map(time),
            ["12 ms", "3.2 s", "119.0 s", "2 min 5 s", "10.0 h"]
        );
    }
}
