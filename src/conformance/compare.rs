//! Comparing reports: what must be the same on every machine, and is not.
//!
//! Invariants: every divergence is named; a report that is missing, says nothing, or stands for something else than this
//! release is a divergence too, because a gate that cannot see must not open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Cases, Fixtures, Report, Undecoded, expected};
use crate::crypto::Digest;
use crate::error::{Result, shown_path};
use crate::format::PROGRAM;
use crate::fsys::replace;
use crate::limits;
use crate::refusal::Code;

/// One thing in which reports are not as they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// What kind of divergence.
    pub code: Code,
    /// The case, if it is about one.
    pub case: Option<String>,
    /// The reports that it is about, as they were named.
    pub reports: Vec<PathBuf>,
    /// What exactly differs, in words.
    pub detail: String,
}

/// What a comparison found.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The reports that could be read, with the machine of each.
    pub reports: Vec<(PathBuf, String)>,
    /// How many cases each had to have.
    pub cases: usize,
    /// Every divergence, by code and case.
    pub divergences: Vec<Divergence>,
}

impl Comparison {
    /// Returns the process exit status: 0 only where nothing diverges.
    pub fn exit(&self) -> u8 {
        self.divergences.first().map_or(0, |divergence| divergence.code.family().exit())
    }
}

/// Compares reports with each other and with what this release expects.
///
/// # Errors
/// The program was built without what it expects. Whatever is wrong with a report is no error but a divergence.
pub fn run(paths: &[PathBuf]) -> Result<Comparison> {
    let read = |path: &PathBuf| {
        (path.clone(), replace::read(path, limits::CONFORMANCE_BYTES_MAX).map_err(|error| error.to_string()))
    };
    Ok(compare(&paths.iter().map(read).collect::<Vec<_>>(), &expected()?, Fixtures::embedded().digest()))
}

/// Compares reports as bytes, or the reasons why they could not be read.
fn compare(read: &[(PathBuf, Result<Vec<u8>, String>)], expected: &Cases, fixtures: Digest) -> Comparison {
    let mut divergences = Vec::new();
    let mut reports = Vec::new();
    for (path, bytes) in read {
        match usable(bytes, fixtures) {
            Ok(report) => reports.push((path.clone(), report)),
            Err((code, detail)) => divergences.push(about(code, path, detail)),
        }
    }
    if read.len() < 2 {
        let paths = read.iter().map(|(path, _)| path.clone()).collect();
        let detail = "one report alone agrees with itself; name two at least".into();
        divergences.push(Divergence { code: Code::ReportVacuous, case: None, reports: paths, detail });
    }
    divergences.extend(repeated(&reports));
    for (path, report) in &reports {
        divergences.extend(incomplete(path, &report.agreed, expected));
    }
    divergences.extend(expected.iter().filter_map(|(case, meant)| diverging(case, meant, &reports)));
    divergences.sort_by(|a, b| (a.code, &a.case, &a.reports).cmp(&(b.code, &b.case, &b.reports)));
    Comparison {
        reports: reports.into_iter().map(|(path, report)| (path, report.machine())).collect(),
        cases: expected.len(),
        divergences,
    }
}

fn about(code: Code, path: &Path, detail: impl Into<String>) -> Divergence {
    Divergence { code, case: None, reports: vec![path.to_owned()], detail: detail.into() }
}

/// Returns a report that can be compared, or why it cannot.
fn usable(bytes: &Result<Vec<u8>, String>, fixtures: Digest) -> Result<Report, (Code, String)> {
    let bytes = bytes.as_ref().map_err(|reason| (Code::ReportUnusable, format!("it cannot be read: {reason}")))?;
    let report = Report::decode(bytes).map_err(|error| match error {
        Undecoded::Malformed(reason) => (Code::ReportUnusable, format!("it is no report: {reason}")),
        Undecoded::AnotherFormat(format) => (Code::ReportIncomparable, format!("it has format {format}")),
    })?;
    if report.program != PROGRAM {
        return Err((Code::ReportIncomparable, format!("{} made it, and this is {PROGRAM}", report.program)));
    }
    if report.fixtures != fixtures {
        let detail = format!("it was made with fixtures {}, and these are {fixtures}", report.fixtures);
        return Err((Code::ReportIncomparable, detail));
    }
    Ok(report)
}

/// Tells where one run stands for several.
fn repeated(reports: &[(PathBuf, Report)]) -> Vec<Divergence> {
    let mut runs: BTreeMap<_, Vec<PathBuf>> = BTreeMap::new();
    for (path, report) in reports {
        runs.entry(report.run).or_default().push(path.clone());
    }
    let repeated = runs.into_iter().filter(|(_, paths)| paths.len() > 1);
    let tell = |(run, paths)| {
        let detail = format!("they are one and the same run, {run}");
        Divergence { code: Code::ReportVacuous, case: None, reports: paths, detail }
    };
    repeated.map(tell).collect()
}

/// Tells which cases a report lacks, and which nobody knows.
fn incomplete(path: &Path, found: &Cases, expected: &Cases) -> Vec<Divergence> {
    if found.is_empty() {
        return vec![about(Code::ReportVacuous, path, "it has no case")];
    }
    let (found, expected): (BTreeSet<_>, BTreeSet<_>) = (found.keys().collect(), expected.keys().collect());
    let one = |case: &String, detail: &str| {
        let reports = vec![path.to_owned()];
        Divergence { code: Code::ReportVacuous, case: Some(case.clone()), reports, detail: detail.into() }
    };
    let missing = expected.difference(&found).map(|case| one(case, "the case is missing"));
    missing.chain(found.difference(&expected).map(|case| one(case, "no such case is known"))).collect()
}

/// Tells where a case came to something else than it must, and with whom.
fn diverging(case: &str, meant: &str, reports: &[(PathBuf, Report)]) -> Option<Divergence> {
    let mut others: BTreeMap<&str, Vec<&PathBuf>> = BTreeMap::new();
    for (path, report) in reports {
        if let Some(found) = report.agreed.get(case)
            && found != meant
        {
            others.entry(found).or_default().push(path);
        }
    }
    if others.is_empty() {
        return None;
    }
    let told = others.iter().map(|(found, paths)| {
        let paths: Vec<String> = paths.iter().map(|path| shown_path(path)).collect();
        let (found, meant) = first_difference(found, meant);
        format!("{}: `{found}` instead of `{meant}`", paths.join(", "))
    });
    let detail = told.collect::<Vec<_>>().join("; ");
    let reports = others.into_values().flatten().cloned().collect();
    Some(Divergence { code: Code::Diverges, case: Some(case.to_owned()), reports, detail })
}

/// Longest part of a result that is shown, in characters.
const SHOWN_CHARACTERS: usize = 160;

/// Returns two texts from shortly before they differ.
fn first_difference<'a>(found: &'a str, meant: &'a str) -> (String, String) {
    let same = found.chars().zip(meant.chars()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| text.chars().skip(same.saturating_sub(40)).take(SHOWN_CHARACTERS).collect::<String>();
    (crate::path::printable(&part(found)), crate::path::printable(&part(meant)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Id;

    const FIXTURES: Digest = Digest([7; 32]);

    fn cases() -> Cases {
        ["a", "b", "c"].into_iter().map(|name| (name.to_owned(), format!("as {name} must be"))).collect()
    }

    fn report(run: u8, change: impl FnOnce(&mut Report)) -> Result<Vec<u8>, String> {
        let mut report = Report::new(cases(), &cases(), FIXTURES, Id([run; 16]));
        change(&mut report);
        Ok(report.encode())
    }

    fn compared(reports: Vec<Result<Vec<u8>, String>>) -> Vec<(Code, Option<String>)> {
        let named = reports.into_iter().enumerate().map(|(at, bytes)| (PathBuf::from(format!("r{at}")), bytes));
        let comparison = compare(&named.collect::<Vec<_>>(), &cases(), FIXTURES);
        let exit = if comparison.divergences.is_empty() { 0 } else { 16 };
        assert_eq!(comparison.exit(), exit);
        comparison.divergences.into_iter().map(|found| (found.code, found.case)).collect()
    }

    #[test]
    fn reports_that_agree_pass() {
        assert_eq!(compared(vec![report(1, |_| {}), report(2, |report| report.ok = false)]), []);
    }

    #[test]
    fn one_other_byte_in_one_case_is_named() {
        let other = report(2, |report| drop(report.agreed.insert("b".into(), "as b must bf".into())));
        assert_eq!(compared(vec![report(1, |_| {}), other.clone()]), [(Code::Diverges, Some("b".into()))]);
        // Also where all of them have it.
        let again = report(3, |report| drop(report.agreed.insert("b".into(), "as b must bf".into())));
        assert_eq!(compared(vec![again, other]), [(Code::Diverges, Some("b".into()))]);
    }

    #[test]
    fn a_case_that_is_missing_or_unknown_is_named() {
        let without = report(2, |report| drop(report.agreed.remove("c")));
        assert_eq!(compared(vec![report(1, |_| {}), without]), [(Code::ReportVacuous, Some("c".into()))]);
        let with = report(2, |report| drop(report.agreed.insert("d".into(), String::new())));
        assert_eq!(compared(vec![report(1, |_| {}), with]), [(Code::ReportVacuous, Some("d".into()))]);
    }

    #[test]
    fn a_report_that_is_missing_or_empty_or_alone_or_named_twice_diverges() {
        let whole = || report(1, |_| {});
        assert_eq!(compared(vec![whole(), Err("not found".into())]), [(Code::ReportUnusable, None)]);
        assert_eq!(compared(vec![whole(), Ok(Vec::new())]), [(Code::ReportUnusable, None)]);
        let empty = report(2, |report| report.agreed.clear());
        assert_eq!(compared(vec![whole(), empty]), [(Code::ReportVacuous, None)]);
        assert_eq!(compared(vec![whole()]), [(Code::ReportVacuous, None)]);
        assert_eq!(compared(vec![whole(), whole()]), [(Code::ReportVacuous, None)]);
        assert_eq!(compared(vec![]), [(Code::ReportVacuous, None)]);
    }

    #[test]
    fn what_another_version_or_other_fixtures_made_is_not_compared() {
        let whole = || report(1, |_| {});
        let other = |change: fn(&mut Report)| compared(vec![whole(), report(2, change)]);
        assert_eq!(other(|report| report.program = "devvault 0.0.9".into()), [(Code::ReportIncomparable, None)]);
        assert_eq!(other(|report| report.fixtures = Digest([8; 32])), [(Code::ReportIncomparable, None)]);
        assert_eq!(other(|report| report.format = 2), [(Code::ReportIncomparable, None)]);
    }
}
