//! The runbook, inside the program: it is needed where no network and no repository is.

use crate::error::{Error, Result};
use crate::refusal::Code;

/// The whole runbook, as Markdown.
pub const TEXT: &str = include_str!("../../RUNBOOK.md");

/// Returns the section of a code, or the whole runbook.
///
/// # Errors
/// A code that does not exist.
pub(super) fn section(code: Option<&str>) -> Result<String> {
    let Some(code) = code else { return Ok(TEXT.to_owned()) };
    let unknown = || {
        Error::environment(
            format!("find the code {}", crate::path::shown(code.as_bytes())),
            std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "there is no such code; a code reads DV and three digits",
            ),
        )
    };
    let code = Code::parse(code).ok_or_else(unknown)?;
    let heading = format!("### {code} ");
    let start = TEXT.find(&heading).ok_or_else(unknown)?;
    let rest = &TEXT[start..];
    let end = rest
        .match_indices("\n#")
        .map(|(at, _)| at)
        .find(|&at| !rest[at + 1..].starts_with("####"))
        .unwrap_or(rest.len());
    let section: Vec<&str> = rest[..end].lines().filter(|line| !line.starts_with("<a id=")).collect();
    Ok(format!("{}\n", section.join("\n").trim_end()))
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
}
