//! The drill log: a Markdown file in the state directory, for people, with a line for their remarks.
//!
//! It is only ever appended to: what a person wrote into it stays.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::report::{Report, Step};
use crate::clock::Time;
use crate::error::{Error, Result, shown_path};
use crate::fsys;
use crate::host::Host;
use crate::path::printable;

/// The name of the log in the directory of drills.
const NAME: &str = "log.md";
const HEAD: &str =
    "# Drills\n\nEach exercise of a restore on this host, the newest last. Write your remarks below each one.\n";

/// One drill, as the log tells it.
pub(super) struct Told<'a> {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    pub(super) steps: &'a [Step],
    pub(super) surprises: Vec<String>,
}

impl<'a> Told<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let outcome =
            report.failure.as_ref().map_or_else(|| "passed".into(), |failure| format!("FAILED, {}", failure.line()));
        let extent = if report.sample.is_some() { " (sample)" } else { "" };
        let mut lines = vec![
            format!("vault: {} in {}", report.vault, report.place),
            format!("source: {} on {}", crate::path::shown(&report.source.path), report.source.host),
        ];
        if let Some(recovery) = &report.recovery {
            lines.push(format!(
                "recovery time: {}; objective {} min: {}",
                recovery.told(),
                recovery.objective_minutes,
                recovery.verdict.name()
            ));
        }
        lines.extend(report.trials.iter().map(|trial| {
            format!(
                "{} damaged in a copy: verify refused with {}, restore with {}",
                trial.damage, trial.verify, trial.restore
            )
        }));
        lines.extend(report.not_proven.iter().map(|what| format!("not proven: {what}")));
        lines.extend(report.scratch.iter().map(|path| format!("kept as evidence: {}", shown_path(path))));
        Self {
            title: format!("{} of snapshot {}{extent}: {outcome}", report.scenario(), report.snapshot),
            lines,
            steps: &report.steps,
            surprises: report.surprises.clone(),
        }
    }
}

/// Appends a drill to the log and returns where it is.
///
/// # Errors
/// DV410 where the state directory cannot be written; the log cannot.
pub(super) fn append(host: &Host, now: Time, told: &Told<'_>) -> Result<PathBuf> {
    let directory = host.drills_directory();
    host.make_directory(&directory)?;
    let path = directory.join(NAME);
    let lift = |error| Error::environment(format!("write the drill log {}", shown_path(&path)), error);
    let mut file = File::options().append(true).create(true).open(&path).map_err(lift)?;
    let mut text = String::new();
    if file.metadata().map_err(lift)?.len() == 0 {
        text.push_str(HEAD);
    }
    text.push_str(&section(now, told));
    file.write_all(text.as_bytes()).and_then(|()| fsys::sync_file(&file)).map_err(lift)?;
    Ok(path)
}

fn section(now: Time, told: &Told<'_>) -> String {
    let mut text = format!("\n## {} {}\n\n", now.rfc3339(), plain(&told.title));
    for line in &told.lines {
        let _ = writeln!(text, "- {}", plain(line));
    }
    text.push_str("\n| step | seconds | what came of it |\n|---|---|---|\n");
    for step in told.steps {
        let said = if step.passed { step.said.clone() } else { format!("FAILED: {}", step.said) };
        let _ = writeln!(text, "| {} | {:.2} | {} |", plain(&step.name), step.seconds, plain(&said));
    }
    text.push_str("\nSurprises:");
    if told.surprises.is_empty() {
        text.push_str(" none\n");
    } else {
        text.push('\n');
        for surprise in &told.surprises {
            let _ = writeln!(text, "- {}", plain(surprise));
        }
    }
    text.push_str("\nRemark: ________\n");
    text
}

/// Returns text that stays in its line and its cell, whatever was quoted in it.
fn plain(text: &str) -> String {
    printable(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(title: &str) -> Told<'static> {
        Told { title: title.into(), lines: vec!["source: a|b\nc".into()], steps: &[], surprises: Vec::new() }
    }

    #[test]
    fn what_a_person_wrote_stays_and_nothing_breaks_out_of_its_line() {
        let root = tempfile::tempdir().expect("a directory");
        let host = Host::new(root.path().join("c"), root.path().join("s"), root.path().join("d"));
        let path = append(&host, Time::default(), &told("first")).expect("writable");
        let mut text = std::fs::read_to_string(&path).expect("there");
        assert!(text.starts_with("# Drills\n") && text.contains("- source: a\\|b\\nc\n"), "{text}");
        text = text.replace("________", "the disk was in the other building");
        std::fs::write(&path, &text).expect("writable");
        append(&host, Time::default(), &told("second")).expect("writable");
        let after = std::fs::read_to_string(&path).expect("there");
        assert!(
            after.starts_with(&text) && after.matches("\n## ").count() == 2 && after.matches("# Drills").count() == 1
        );
    }
}
