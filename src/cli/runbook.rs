//! The runbook, inside the program: it is needed where no network and no repository is.

use crate::refusal::Code;

/// The whole runbook, as Markdown.
pub const TEXT: &str = include_str!("../../RUNBOOK.md");

/// Returns the section of a code, a class or a procedure, or the whole runbook.
///
/// A class or procedure is named by its heading in lower case with dashes: `snapshot-integrity`, `break-glass`; a class
/// also by its codes: `DV1xx`.
///
/// # Errors
/// Where no section has this name: which names there are.
pub(super) fn section(name: Option<&str>) -> Result<String, String> {
    let Some(name) = name else { return Ok(TEXT.to_owned()) };
    let found = match Code::parse(name) {
        Some(code) => headings().find(|heading| heading.title.starts_with(&format!("{code} "))),
        None => headings().find(|heading| heading.is_named(name)),
    };
    let Some(found) = found else { return Err(unknown(name)) };
    Ok(found.text())
}

fn unknown(name: &str) -> String {
    let names: Vec<String> =
        headings().filter(|heading| !heading.title.starts_with("DV")).map(|heading| heading.slug()).collect();
    let name = crate::path::shown(name.as_bytes());
    format!("the runbook has no section {name}; it has each code, such as DV204, and: {}", names.join(", "))
}

/// A heading of the runbook, and where it stands.
struct Heading {
    title: &'static str,
    level: usize,
    at: usize,
}

/// Returns every heading, without those inside of code.
fn headings() -> impl Iterator<Item = Heading> {
    let (mut at, mut in_code) = (0, false);
    TEXT.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let level = line.bytes().take_while(|&byte| byte == b'#').count();
        let title = line[level..].strip_prefix(' ')?.trim_end();
        (!in_code && level > 0).then_some(Heading { title, level, at: start })
    })
}

impl Heading {
    /// Returns the heading as links name it, without what stands in parentheses.
    fn slug(&self) -> String {
        let title = self.title.split(" (").next().unwrap_or_default().to_lowercase();
        let kept: String = title.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c)).collect();
        kept.replace(' ', "-")
    }

    fn is_named(&self, name: &str) -> bool {
        let name = name.trim_start_matches('#').to_lowercase().replace(' ', "-");
        let codes = self.title.split_once('(').map(|(_, rest)| rest.trim_end_matches(')').to_lowercase());
        self.slug() == name || codes.is_some_and(|codes| codes == name)
    }

    /// Returns the section: up to the next heading of its level or above. Of a class, what stands before its codes, and
    /// which codes it has.
    fn text(&self) -> String {
        let later: Vec<Heading> = headings().filter(|other| other.at > self.at).collect();
        let end = later.iter().find(|other| other.level <= self.level).map_or(TEXT.len(), |other| other.at);
        let codes: Vec<&Heading> =
            later.iter().filter(|other| other.at < end && other.title.starts_with("DV")).collect();
        let end = codes.first().map_or(end, |first| first.at);
        let lines: Vec<&str> = TEXT[self.at..end].lines().filter(|line| !line.starts_with("<a id=")).collect();
        let mut text = format!("{}\n", lines.join("\n").trim_end());
        if !codes.is_empty() {
            text.push_str("\nIts codes, each with a section of its own:\n\n");
            text.extend(codes.iter().map(|heading| format!("- {}\n", heading.title)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_section_of_its_own() {
        for code in Code::ALL {
            let text = section(Some(&code.to_string())).expect("a section");
            assert!(
                text.starts_with(&format!("### {code} — {}\n", code.title())),
                "{code}: {}",
                text.lines().next().unwrap_or("")
            );
            assert_eq!(text.matches("\n### ").count(), 0, "{code} runs into the next section");
            assert!(TEXT.contains(&format!("<a id=\"dv{}\"></a>\n### {code} ", *code as u16)), "{code} has no anchor");
        }
        let headings = TEXT.lines().filter(|line| line.starts_with("### DV")).count();
        assert_eq!(headings, Code::ALL.len(), "a section for a code that does not exist");
        assert!(section(Some("DV999")).is_err());
    }

    #[test]
    fn classes_and_procedures_are_printed_by_name() {
        for family in [
            "snapshot-integrity",
            "restore-risk",
            "crypto-boundary",
            "vault-health",
            "snapshot-index",
            "platform-divergence",
            "policy",
            "source",
        ] {
            let text = section(Some(family)).expect("a class");
            for part in [
                "**Severity**",
                "**Detected when**",
                "**What devvault did**",
                "**Do**",
                "**Confirm**",
                "**Escalate when**",
            ] {
                assert!(text.contains(part), "{family} has no {part}");
            }
            assert_eq!(text.matches("\n### ").count(), 0, "{family}");
        }
        assert_eq!(section(Some("DV1xx")).ok(), section(Some("Snapshot Integrity")).ok());
        assert!(section(Some("snapshot-integrity")).expect("a class").contains("\n- DV101 — "));
        for procedure in [
            "lost-key",
            "lost-vault-disk-or-restore-on-a-clean-machine",
            "suspected-tampering-or-ransomware",
            "rollback-alarm",
            "interrupted-backup",
            "failed-drill",
            "break-glass",
            "a-record-is-lost-for-good",
            "copy-a-medium-that-may-be-failing",
            "complete-a-copy-from-another-copy",
            "weekly-audit",
        ] {
            let text = section(Some(procedure)).expect("a procedure");
            for part in [
                "**Overview**",
                "**Prerequisites**",
                "**Procedure**",
                "**Verification**",
                "**Troubleshooting**",
                "**References**",
            ] {
                assert!(text.contains(part), "{procedure} has no {part}");
            }
        }
        let refused = section(Some("nonsense")).expect_err("unknown");
        assert!(refused.contains("break-glass") && refused.contains("snapshot-integrity"), "{refused}");
    }

    #[test]
    fn every_link_of_the_runbook_leads_somewhere() {
        let slugs: Vec<String> = headings().map(|heading| heading.slug()).collect();
        for link in TEXT.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
            let code = Code::parse(link).is_some();
            assert!(code || slugs.iter().any(|slug| slug == link), "{link}");
        }
    }
}
