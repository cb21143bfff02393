//! `conformance`: judges this machine, or compares the reports of several.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Session, say};
use crate::conformance::compare::{self, Comparison};
use crate::conformance::{self, Place, Report};
use crate::error::{Result, shown_path};
use crate::ops::output::Output;
use crate::path::printable;
use crate::refusal::{Code, Family};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A directory in which the cases run, to judge the medium that it lies on [default: the vault that --vault names,
    /// else the system's directory for temporary files]
    #[arg(value_name = "DIR", conflicts_with = "compare")]
    directory: Option<PathBuf>,
    /// Write the report to a new file
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    report: Option<PathBuf>,
    /// Compare reports of several machines, and fail on any divergence
    #[arg(long, value_name = "REPORT", num_args = 1..)]
    compare: Vec<PathBuf>,
}

/// How many divergences are shown to a person.
const SHOWN_MAX: usize = 20;

impl Session {
    pub(super) fn conformance(&self, options: &Options) -> Result<u8> {
        if !options.compare.is_empty() {
            let comparison = compare::run(&options.compare)?;
            return self.show(comparison.exit(), comparison_document(&comparison), || comparison_text(&comparison));
        }
        let place = match (&options.directory, &self.args.vault) {
            (Some(directory), _) => Place::Directory(directory),
            (None, Some(vault)) => Place::Vault(vault),
            (None, None) => Place::Temporary,
        };
        let vault = self.vault_at_hand();
        let output = |path| Output::new("the report", path, &self.host, vault.as_deref());
        options.report.as_deref().map(output).transpose()?;
        let report = conformance::run(place, &self.watch)?;
        self.watch.end();
        if let Some(path) = &options.report {
            output(path)?.create(&report.encode())?;
        }
        if self.args.json {
            say(&String::from_utf8_lossy(&report.encode()))?;
        } else {
            say(&report_text(&report, options.report.as_deref()))?;
        }
        Ok(if report.ok { 0 } else { Family::PlatformDivergence.exit() })
    }
}

fn report_text(report: &Report, file: Option<&Path>) -> String {
    let mut text = String::new();
    let mut line = |words: String| text.push_str(&(printable(&words) + "\n"));
    let verdict = if report.ok { "CONFORMS" } else { "DIVERGES" };
    line(format!("{verdict}: {} cases on {}", report.agreed.len(), report.machine()));
    for (subject, facts) in &report.platform {
        line(format!("{subject}:"));
        for (what, said) in facts {
            line(format!("  {what}: {said}"));
        }
    }
    if !report.ok {
        line(format!("{}: {}", Code::Diverges, Code::Diverges.title()));
        for case in report.diverging.iter().take(SHOWN_MAX) {
            let found = report.agreed.get(case).map_or("it did not run", String::as_str);
            line(format!("  {case}: {}", found.chars().take(200).collect::<String>()));
        }
        more(&mut line, report.diverging.len());
        line(format!("  next: {}", Code::Diverges.next()));
        line(format!("  see: devvault runbook {}", Code::Diverges));
    }
    match file {
        Some(path) => line(format!("the report is {}; compare it with those of other machines", shown_path(path))),
        None => line("write a report to compare it with other machines: `devvault conformance --report FILE`".into()),
    }
    text
}

fn more(line: &mut impl FnMut(String), count: usize) {
    if count > SHOWN_MAX {
        line(format!("  and {} more; --json names all of them", count - SHOWN_MAX));
    }
}

fn comparison_text(comparison: &Comparison) -> String {
    let mut text = String::new();
    let mut line = |words: String| text.push_str(&(printable(&words) + "\n"));
    let verdict = if comparison.divergences.is_empty() { "AGREE" } else { "DIVERGE" };
    line(format!("{verdict}: {} reports, {} cases each", comparison.reports.len(), comparison.cases));
    for (path, machine) in &comparison.reports {
        line(format!("  {}: {machine}", shown_path(path)));
    }
    for divergence in comparison.divergences.iter().take(SHOWN_MAX) {
        let reports: Vec<String> = divergence.reports.iter().map(|path| shown_path(path)).collect();
        let what = divergence
            .case
            .as_ref()
            .map_or_else(|| reports.join(", "), |case| format!("{case} ({})", reports.join(", ")));
        line(format!("{} {what}: {}", divergence.code, divergence.detail));
    }
    more(&mut line, comparison.divergences.len());
    if let Some(first) = comparison.divergences.first() {
        line(format!("next: {}", first.code.next()));
        line(format!("see: devvault runbook {}", first.code));
    }
    text
}

fn comparison_document(comparison: &Comparison) -> Value {
    let divergence = |divergence: &compare::Divergence| {
        json!({
            "code": divergence.code.to_string(),
            "case": divergence.case,
            "reports": divergence.reports.iter().map(|path| shown_path(path)).collect::<Vec<_>>(),
            "detail": divergence.detail,
            "next": divergence.code.next(),
            "runbook": divergence.code.runbook(),
        })
    };
    let report = |(path, machine): &(PathBuf, String)| json!({"file": shown_path(path), "machine": machine});
    json!({
        "schema": "devvault.conformance-comparison/1",
        "ok": comparison.divergences.is_empty(),
        "cases": comparison.cases,
        "reports": comparison.reports.iter().map(report).collect::<Vec<_>>(),
        "divergences": comparison.divergences.iter().map(divergence).collect::<Vec<_>>(),
    })
}
