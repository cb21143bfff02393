//! The report of a run: one part that must be the same on every machine, one that describes the machine.
//!
//! Invariant: a report is canonical JSON and one line feed, so that equal results are equal bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::crypto::{Digest, Id};
use crate::format::json;

/// The version of the report's own form.
pub const FORMAT: u32 = 1;
/// The word by which a report is known.
const SCHEMA: &str = "devvault.conformance/1";

/// What every case came to, by the case's name.
pub type Cases = BTreeMap<String, String>;

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What must be the same everywhere.
    pub agreed: Cases,
    /// Cases that came to something else than this release expects, ascending; none where all is well.
    pub diverging: Vec<String>,
    /// Names the fixtures that were run.
    pub fixtures: Digest,
    /// The version of the report's form.
    pub format: u32,
    /// Whether nothing diverges.
    pub ok: bool,
    /// What describes the machine and the place, by subject; it may differ.
    pub platform: BTreeMap<String, BTreeMap<String, String>>,
    /// The program and version that ran.
    pub program: String,
    /// Names this run.
    pub run: Id,
    /// Names the kind of document.
    schema: String,
}

impl Report {
    /// Makes a report of what cases came to; those that are not as expected diverge.
    pub(super) fn new(agreed: Cases, expected: &Cases, fixtures: Digest, run: Id) -> Self {
        let names = agreed.keys().chain(expected.keys());
        let mut diverging: Vec<String> =
            names.filter(|name| agreed.get(*name) != expected.get(*name)).cloned().collect();
        diverging.sort_unstable();
        diverging.dedup();
        Self {
            ok: diverging.is_empty(),
            agreed,
            diverging,
            fixtures,
            format: FORMAT,
            platform: BTreeMap::new(),
            program: crate::format::PROGRAM.to_owned(),
            run,
            schema: SCHEMA.to_owned(),
        }
    }

    /// Returns the report as bytes of a file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = json::encode(self);
        bytes.push(b'\n');
        bytes
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Why these bytes are none, in words: not canonical, unknown fields, another kind of document or version of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecoded> {
        let malformed = |reason: &dyn std::fmt::Display| Undecoded::Malformed(reason.to_string());
        let Some(document) = bytes.strip_suffix(b"\n") else {
            return Err(malformed(&"it does not end in a line feed"));
        };
        // A later version may hold anything else.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            schema: String,
        }
        let version: Version = serde_json::from_slice(document).map_err(|error| malformed(&error))?;
        if version.schema.split('/').next() != SCHEMA.split('/').next() {
            return Err(malformed(&"it is another kind of document"));
        }
        if (version.format, version.schema.as_str()) != (FORMAT, SCHEMA) {
            return Err(Undecoded::AnotherFormat(version.format));
        }
        json::decode(document).map_err(|error| malformed(&error))
    }

    /// Returns what the machine is in a few words: system, architecture, and the kind of place.
    pub fn machine(&self) -> String {
        let of = |subject: &str, what: &str| self.platform.get(subject).and_then(|facts| facts.get(what));
        let words = [of("system", "os"), of("system", "architecture"), of("place", "file system")];
        words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// Why bytes are no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undecoded {
    /// They are not what a report is.
    Malformed(String),
    /// They are a report of another version.
    AnotherFormat(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_and_every_other_encoding_is_refused() {
        let cases = Cases::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        let report = Report::new(cases.clone(), &cases, Digest([1; 32]), Id([2; 16]));
        let bytes = report.encode();
        assert_eq!(Report::decode(&bytes), Ok(report.clone()));
        assert!(report.ok && report.diverging.is_empty());
        let text = String::from_utf8(bytes).expect("text");
        for other in [
            text.trim_end().to_owned(),
            text.replace("\"ok\":true", "\"ok\": true"),
            text.replace("\"ok\":true", "\"ok\":true,\"other\":1"),
            text.replace("conformance/1", "refusal/1"),
            "{}\n".into(),
        ] {
            assert!(matches!(Report::decode(other.as_bytes()), Err(Undecoded::Malformed(_))), "{other}");
        }
        let later = text.replace("\"format\":1", "\"format\":2");
        assert_eq!(Report::decode(later.as_bytes()), Err(Undecoded::AnotherFormat(2)));
    }

    #[test]
    fn what_is_not_as_expected_diverges_also_where_it_is_missing() {
        let cases = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Cases>();
        let found = cases(&[("same", "1"), ("other", "1"), ("new", "1")]);
        let expected = cases(&[("same", "1"), ("other", "2"), ("gone", "1")]);
        let report = Report::new(found, &expected, Digest([1; 32]), Id([2; 16]));
        assert_eq!(report.diverging, ["gone", "new", "other"]);
        assert!(!report.ok);
    }
}
