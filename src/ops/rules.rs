//! Rules in the syntax of `.gitignore`: lists of patterns, of which the last one that matches decides.
//!
//! As in git, braces have no meaning. A pattern that git would never match, because it is malformed, is an error here:
//! whoever wrote it meant something.

use std::collections::HashMap;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, Result};
use crate::fsys;
use crate::path::EntryPath;

/// A list of rules, relative to one directory.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    set: Gitignore,
    given: Vec<Rule>,
    // Where each text was given last; of equal rules the last one decides.
    places: HashMap<String, usize>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The line in its file, from 1; for rules that were given one by one, which of them.
    pub(super) line: u64,
    /// The pattern, as given.
    pub(super) text: String,
}

/// Why a line is no rule.
#[derive(Debug)]
pub(super) struct BadRule {
    pub(super) line: u64,
    pub(super) reason: String,
}

impl std::fmt::Display for BadRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for BadRule {}

/// What rules say of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None matches.
    None,
    /// A pattern matches; which of the rules.
    Matched(usize),
    /// A pattern with `!` takes it out again.
    Kept,
}

impl Rules {
    /// Parses the lines of a file.
    ///
    /// # Errors
    /// The first line that is no UTF-8, or no valid pattern.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadRule> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let lines = bytes.split(|&byte| byte == b'\n').enumerate().map(|(at, line)| {
            let line_number = at as u64 + 1;
            std::str::from_utf8(line)
                .map(|line| (line_number, line.to_owned()))
                .map_err(|_| BadRule { line: line_number, reason: "it is no UTF-8".into() })
        });
        Self::build(&lines.collect::<Result<Vec<_>, _>>()?)
    }

    /// Parses patterns that were given one by one.
    ///
    /// # Errors
    /// A pattern that is not valid, or that is a comment or empty; a usage error.
    pub(super) fn given(patterns: &[String]) -> Result<Self> {
        let invalid = |reason: String| {
            Error::environment("understand a pattern", std::io::Error::new(std::io::ErrorKind::InvalidInput, reason))
        };
        let lines: Vec<(u64, String)> =
            patterns.iter().enumerate().map(|(at, text)| (at as u64 + 1, text.clone())).collect();
        if let Some(text) = patterns.iter().find(|text| !means_something(text)) {
            return Err(invalid(format!("{text:?} matches nothing; write \\# for a # at the beginning")));
        }
        Self::build(&lines).map_err(|bad| invalid(bad.reason))
    }

    fn build(lines: &[(u64, String)]) -> Result<Self, BadRule> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        let (mut given, mut places) = (Vec::new(), HashMap::new());
        for (line, text) in lines {
            let text = text.strip_suffix('\r').unwrap_or(text);
            if !means_something(text) {
                continue;
            }
            if has_odd_class(text) {
                let reason = "a class of characters with a backslash or a name in it; write its characters out".into();
                return Err(BadRule { line: *line, reason });
            }
            if trimmed(text).ends_with(|c: char| c.is_whitespace() && !c.is_ascii()) {
                let reason = "white space at its end that is no space or tab; nobody sees whether it is meant".into();
                return Err(BadRule { line: *line, reason });
            }
            let plain = with_its_end(&without_braces(text));
            builder.add_line(None, &plain).map_err(|error| BadRule { line: *line, reason: error.to_string() })?;
            places.insert(trimmed(&plain).to_owned(), given.len());
            given.push(Rule { line: *line, text: trimmed(text).to_owned() });
        }
        let last = lines.last().map_or(0, |(line, _)| *line);
        let set = builder.build().map_err(|error| BadRule { line: last, reason: error.to_string() })?;
        Ok(Self { set, given, places })
    }

    /// Returns whether there is no rule.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Returns the rules.
    pub(super) fn all(&self) -> &[Rule] {
        &self.given
    }

    /// Judges a path, given relative to the directory of the rules; what lies above it has been judged before.
    pub(super) fn judge(&self, path: &[u8], is_directory: bool) -> Verdict {
        if self.is_empty() {
            return Verdict::None;
        }
        match self.set.matched(fsys::as_path(path), is_directory) {
            Match::None => Verdict::None,
            Match::Whitelist(_) => Verdict::Kept,
            // A rule that cannot be named excludes nothing.
            Match::Ignore(glob) => self.places.get(glob.original()).map_or(Verdict::None, |at| Verdict::Matched(*at)),
        }
    }

    /// Returns whether a rule matches a path, of which nothing above has been judged before.
    pub(super) fn matches(&self, path: &EntryPath, is_directory: bool) -> bool {
        matches!(self.judge(path.as_bytes(), is_directory), Verdict::Matched(_))
    }
}

/// Returns whether a line is a rule rather than a comment, or nothing.
fn means_something(line: &str) -> bool {
    let line = trimmed(line);
    !line.starts_with('#') && !line.trim_start_matches('!').trim_matches('/').is_empty()
}

/// Takes spaces off the end, unless the last one is escaped.
fn trimmed(line: &str) -> &str {
    if line.ends_with("\\ ") { line } else { line.trim_end_matches(' ') }
}

/// Puts white space at the end into classes: git takes off spaces only, and so must nobody else.
fn with_its_end(line: &str) -> String {
    let line = trimmed(line);
    let kept = line.trim_end_matches(|c: char| c.is_whitespace() && c != ' ');
    let mut out = kept.to_owned();
    line[kept.len()..].chars().for_each(|c| out.extend(['[', c, ']']));
    out
}

/// Returns whether a class of characters would be read otherwise than git reads it.
fn has_odd_class(line: &str) -> bool {
    let (mut in_class, mut escaped) = (false, false);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_class => return true,
            '\\' => escaped = true,
            '[' if in_class && matches!(characters.peek(), Some(':' | '.' | '=')) => return true,
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
    }
    false
}

/// Escapes braces, which mean nothing in `.gitignore`, outside of classes.
fn without_braces(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut in_class, mut at_class_start, mut escaped) = (false, false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if !in_class => {
                escaped = true;
                out.push(c);
                continue;
            }
            '[' if !in_class => {
                (in_class, at_class_start) = (true, true);
                out.push(c);
                continue;
            }
            '!' | '^' if at_class_start => {
                out.push(c);
                continue;
            }
            ']' if in_class && !at_class_start => in_class = false,
            '{' | '}' if !in_class => out.push('\\'),
            _ => {}
        }
        at_class_start = false;
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(rules: &Rules, path: &str, is_directory: bool) -> Option<u64> {
        match rules.judge(path.as_bytes(), is_directory) {
            Verdict::Matched(at) => Some(rules.all()[at].line),
            _ => None,
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides_and_is_named_by_its_line() {
        let rules = Rules::parse(b"# comment\n*.o\n\n/target/\r\n!keep.o\n*.o \n  \n").expect("valid");
        assert_eq!(matched(&rules, "a/b.o", false), Some(6));
        assert_eq!(matched(&rules, "target", true), Some(4));
        assert_eq!(matched(&rules, "target", false), None, "a rule that ends in / is for directories");
        assert_eq!(matched(&rules, "a/target", true), None, "a rule that begins with / is for this directory");
        let rules = Rules::parse(b"*.o\n!keep.o\n").expect("valid");
        assert_eq!(rules.judge(b"x/keep.o", false), Verdict::Kept);
    }

    #[test]
    fn white_space_at_the_end_but_spaces_belongs_to_a_rule_as_in_git() {
        let rules = Rules::parse(b"notes\t\nplain  \n").expect("valid");
        assert_eq!(matched(&rules, "notes", false), None);
        assert_eq!(matched(&rules, "notes\t", false), Some(1));
        assert_eq!(matched(&rules, "plain", false), Some(2));
        assert!(Rules::parse("kept\u{a0}\n".as_bytes()).is_err(), "nobody sees it");
    }

    #[test]
    fn classes_that_would_be_read_otherwise_than_in_git_are_refused() {
        for odd in ["[[:alpha:]]", "x[a\\]]", "[[.a.]]"] {
            assert!(Rules::parse(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(Rules::parse(b"[a-z]\n\\[x]\n").is_ok());
    }

    #[test]
    fn braces_and_escapes_mean_what_they_mean_in_git() {
        let rules = Rules::parse(b"{a,b}\n\\#x\n\\!y\n[{]z\n").expect("valid");
        assert_eq!(matched(&rules, "{a,b}", false), Some(1));
        assert_eq!(matched(&rules, "a", false), None);
        assert_eq!(matched(&rules, "#x", false), Some(2));
        assert_eq!(matched(&rules, "!y", false), Some(3));
        assert_eq!(matched(&rules, "{z", false), Some(4));
    }

    #[test]
    fn what_cannot_be_understood_is_named_by_its_line() {
        for (bytes, line) in [(&b"a\n[z-a]\n"[..], 2), (b"\xff\n", 1), (b"a\n\n[b", 3), (b"x\\", 1)] {
            assert_eq!(Rules::parse(bytes).expect_err("invalid").line, line);
        }
        for empty in ["", "  ", "#x", "!", "/", "!/"] {
            assert!(Rules::given(&[empty.to_owned()]).is_err(), "{empty:?}");
        }
        assert!(Rules::parse(b"\xef\xbb\xbf*.o\n#\n/\n!\n").expect("valid").all().len() == 1);
    }
}
