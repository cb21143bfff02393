//! Rules in the syntax of `.gitignore`: lists of patterns, of which the last one that matches decides.
//!
//! As in git, braces have no meaning, and no class of characters matches a `/`. A pattern that git would never match,
//! because it is malformed, is an error here: whoever wrote it meant something.

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
    /// Parses the lines of a file. Comments may be of any bytes; a line with a `/` where no name has one matches nothing, as in
    /// git: people write comments so.
    ///
    /// # Errors
    /// The first line that is no UTF-8, or no valid pattern.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadRule> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let lines = bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.starts_with(b"#"));
        let lines = lines.map(|(at, line)| {
            let line_number = at as u64 + 1;
            std::str::from_utf8(line)
                .map(|line| (line_number, line.to_owned()))
                .map_err(|_| BadRule { line: line_number, reason: "it is no UTF-8".into() })
        });
        let mut lines = lines.collect::<Result<Vec<_>, _>>()?;
        lines.retain(|(_, line)| !has_empty_name(trimmed(line.strip_suffix('\r').unwrap_or(line))));
        Self::build(&lines)
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
        Self::build(&lines).map_err(|bad| match lines.iter().find(|(line, _)| *line == bad.line) {
            Some((_, text)) => invalid(format!("{text:?}: {}", bad.reason)),
            None => invalid(bad.reason),
        })
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
            let text = trimmed(text);
            let bad = |reason: String| BadRule { line: *line, reason };
            if has_odd_class(text) {
                let reason = "a class of characters with a backslash or a name in it; write its characters out";
                return Err(bad(reason.into()));
            }
            if text.ends_with(|c: char| c.is_whitespace() && !c.is_ascii()) {
                let reason = "white space at its end that is no space or tab; nobody sees whether it is meant";
                return Err(bad(reason.into()));
            }
            if has_empty_name(text) {
                return Err(bad("a / after another, or after a backslash at the end; it matches nothing".into()));
            }
            let plain = as_matched(text).map_err(bad)?;
            builder.add_line(None, &plain).map_err(|error| match error {
                // Without the pattern, which is not the one that was given.
                ignore::Error::Glob { err, .. } => bad(err),
                error => bad(error.to_string()),
            })?;
            places.insert(plain, given.len());
            given.push(Rule { line: *line, text: text.to_owned() });
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
    !line.starts_with('#') && !line.strip_prefix('!').unwrap_or(line).trim_matches('/').is_empty()
}

/// Takes spaces off the end, but one that is escaped.
fn trimmed(line: &str) -> &str {
    let kept = line.trim_end_matches(' ');
    let is_escaped = kept.len() < line.len() && ends_in_escape(kept);
    &line[..kept.len() + usize::from(is_escaped)]
}

/// Returns whether a text ends in a backslash that would escape what comes next.
fn ends_in_escape(text: &str) -> bool {
    let backslashes = text.len() - text.trim_end_matches('\\').len();
    !backslashes.is_multiple_of(2)
}

/// Returns whether a rule has a `/` where git never finds one: the crate takes some such rules for empty ones, which
/// match every directory.
fn has_empty_name(rule: &str) -> bool {
    let outside_classes = Parts(rule).map(|part| match part {
        Part::Class(_) => "[]",
        Part::Other(text) => text,
    });
    outside_classes.collect::<String>().contains("//") || rule.strip_suffix('/').is_some_and(ends_in_escape)
}

/// A part of a pattern.
enum Part<'a> {
    /// A class of characters, without its brackets.
    Class(&'a str),
    /// Another character, with the backslash before it if it is escaped.
    Other(&'a str),
}

/// The parts of a pattern. A class that is not closed is none.
struct Parts<'a>(&'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let rest = self.0;
        let mut characters = rest.chars();
        let first = characters.next()?;
        if first == '['
            && let Some(length) = class_length(&rest[1..])
        {
            self.0 = &rest[length + 2..];
            return Some(Part::Class(&rest[1..=length]));
        }
        if first == '\\' {
            characters.next();
        }
        self.0 = characters.as_str();
        Some(Part::Other(&rest[..rest.len() - self.0.len()]))
    }
}

/// Returns how long a class is that a text begins in. A `]` that comes first belongs to it.
fn class_length(text: &str) -> Option<usize> {
    let members = text.strip_prefix(['!', '^']).unwrap_or(text);
    let first = members.chars().next()?;
    let begun = text.len() - members.len() + first.len_utf8();
    text[begun..].find(']').map(|at| begun + at)
}

/// Returns whether a class of characters would be read otherwise than git reads it.
fn has_odd_class(line: &str) -> bool {
    Parts(line).any(|part| match part {
        Part::Class(class) => ["\\", "[:", "[.", "[="].into_iter().any(|odd| class.contains(odd)),
        Part::Other(_) => false,
    })
}

/// Writes a rule so that it means to the crate that matches what it means to git. Braces, which mean nothing in
/// `.gitignore`, are escaped; white space, of which git takes off spaces at the end only, is put into classes; classes
/// are written by [`push_class`]. As that puts a `/` into some and takes it out of others, and a rule with a `/` is for
/// whole paths, what it was for before is said at its beginning.
///
/// # Errors
/// A class that is not valid, in words.
fn as_matched(rule: &str) -> Result<String, String> {
    let (sign, pattern) = match rule.strip_prefix('!') {
        Some(pattern) => ("!", pattern),
        None => ("", rule),
    };
    let mut out = String::with_capacity(rule.len());
    for part in Parts(pattern) {
        match part {
            Part::Class(class) => push_class(&mut out, class)?,
            Part::Other("[") => return Err("a class of characters that does not end; it lacks a ]".into()),
            Part::Other(brace @ ("{" | "}")) => out.extend(["\\", brace]),
            // The crate takes a backslash before a `/` at the end for an escape, whatever is before it.
            Part::Other(r"\\") => out.push_str(r"[\]"),
            Part::Other(text) if text != " " && text.ends_with(|c: char| c.is_whitespace() && c.is_ascii()) => {
                out.extend(["[", text.trim_start_matches('\\'), "]"]);
            }
            Part::Other(text) => out.push_str(text),
        }
    }
    let is_for_paths = |pattern: &str| pattern.strip_suffix('/').unwrap_or(pattern).contains('/');
    let begin = match (is_for_paths(pattern), is_for_paths(&out)) {
        (true, _) if !out.starts_with('/') => "/",
        (false, true) => "**/",
        _ => "",
    };
    Ok([sign, begin, &out].concat())
}

/// Writes a glob so that no class of characters in it matches a `/`, as in git.
///
/// # Errors
/// A class that is not valid, in words.
pub(super) fn with_classes_within_names(glob: &str) -> Result<String, String> {
    let mut out = String::with_capacity(glob.len());
    for part in Parts(glob) {
        match part {
            Part::Class(class) => push_class(&mut out, class)?,
            Part::Other(text) => out.push_str(text),
        }
    }
    Ok(out)
}

/// What means something in a class, at some place in it; and what a class never matches. Ascending.
const MARKS: [u8; 5] = *b"!-/]^";

/// Writes a class of characters, given without its brackets, so that it does not match a `/`. Its ranges are read as
/// git reads them, where the end of one does not begin another.
///
/// # Errors
/// A range that ends before it begins, or no character but `/`; in words.
fn push_class(out: &mut String, class: &str) -> Result<(), String> {
    let (is_negated, members) = match class.strip_prefix(['!', '^']) {
        Some(members) => (true, members),
        None => (false, class),
    };
    let (mut ranges, mut marks) = (String::new(), Vec::new());
    let mut before = None;
    let mut characters = members.chars();
    while let Some(c) = characters.next() {
        let begin = before.filter(|_| c == '-');
        let (mut first, last) = match begin.zip(characters.clone().next()) {
            Some((begin, end)) if end < begin => return Err(format!("invalid range; '{begin}' > '{end}'")),
            Some((begin, end)) => {
                characters.next();
                before = None;
                (begin, end)
            }
            None => {
                before = Some(c);
                (c, c)
            }
        };
        // Marks are taken out of the ranges, and written below where they mean nothing.
        for mark in MARKS {
            if (first..=last).contains(&char::from(mark)) {
                marks.push(mark);
                push_range(&mut ranges, first, char::from(mark - 1));
                first = char::from(mark + 1);
            }
        }
        push_range(&mut ranges, first, last);
    }
    if !is_negated && ranges.is_empty() && marks.iter().all(|&mark| mark == b'/') {
        return Err("a class of characters with nothing in it but /, which is in no name; it matches nothing".into());
    }
    let has = |mark| marks.contains(&mark);
    out.push_str(if is_negated { "[!" } else { "[" });
    if has(b']') {
        out.push(']');
    } else if !is_negated && ranges.is_empty() {
        // In no path, and not the mark of what is negated.
        out.push('\0');
    }
    out.push_str(&ranges);
    for (mark, is_member) in [('!', has(b'!')), ('^', has(b'^')), ('/', is_negated), ('-', has(b'-'))] {
        out.extend(is_member.then_some(mark));
    }
    out.push(']');
    Ok(())
}

/// Writes a range of a class, if there is anything in it.
fn push_range(out: &mut String, first: char, last: char) {
    if first < last {
        out.extend([first, '-', last]);
    } else if first == last {
        out.push(first);
    }
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
        let rules = Rules::parse(b"a\\  \nb\\\\  \nc\\\t\nd\\\\\\ \n").expect("valid");
        for (name, line) in [("a ", 1), ("b\\", 2), ("c\t", 3), ("d\\ ", 4)] {
            // On Windows a backslash separates names.
            if cfg!(unix) || !name.contains('\\') {
                assert_eq!(matched(&rules, name, false), Some(line), "{name:?}");
            }
        }
        for name in ["a", "a  ", "a\\", "b", "b\\ ", "c", "d\\"] {
            assert_eq!(matched(&rules, name, false), None, "{name:?}");
        }
        assert_eq!(rules.all()[0].text, "a\\ ", "it is shown as it was given");
    }

    #[test]
    fn no_class_matches_a_separator_as_in_git() {
        for (rule, hits, misses) in [
            ("data[!0-9]*", &["data_tmp", "a/data_tmp", "data/data-", "datax/y"][..], &["data/x", "data", "data0"][..]),
            ("data[^0-9]*", &["data_tmp", "a/data_tmp"], &["data/x", "data7"]),
            ("/build[!-]*", &["build_"], &["build/src", "build-", "a/build_"]),
            ("*[!a]main.c", &["xmain.c", "a/bmain.c"], &["x/main.c", "amain.c"]),
            ("x[+-9]v", &["x.v", "x0v", "x+v", "a/x9v"], &["x/v", "x:v"]),
            ("x[.-0]v", &["x.v", "x0v"], &["x/v", "x1v", "x-v"]),
            ("x[ -~]v", &["x v", "x-v", "x!v", "x]v", "x^v", "x~v", "xav"], &["x/v"]),
            ("x[--/]v", &["x-v", "x.v"], &["x/v", "x0v", "a/x-v"]),
            ("x[/-1]v", &["x0v", "x1v"], &["x/v", "x.v", "x-v", "a/x0v"]),
            ("/x[a/!]v", &["xav", "x!v"], &["x/v", "xbv"]),
            ("x[/!]v", &["x!v"], &["x/v", "xav", "a/x!v"]),
            ("x[/!^]v", &["x!v", "x^v"], &["x/v", "xav"]),
            ("x[!/]v", &["xav"], &["x/v", "a/xav"]),
            ("x[!//]v", &["xav"], &["x/v", "a/xav"]),
            ("x[!a-]v", &["xbv", "x]v"], &["x/v", "xav", "x-v"]),
            ("x[]!]v", &["x]v", "x!v", "a/x!v"], &["x/v", "xav"]),
            ("x[!]a]v", &["xbv", "a/xbv"], &["x/v", "xav", "x]v"]),
            ("x[!!]v", &["xav", "x^v"], &["x/v", "x!v"]),
            ("x[!!]{v}", &["xa{v}"], &["xav", "x!{v}"]),
            ("x[]-a]v", &["x]v", "x^v", "x_v", "x`v", "xav"], &["x\\v", "xbv"]),
            ("x[a-c-e]v", &["xbv", "x-v", "xev"], &["xdv"]),
            ("x[-]v", &["x-v"], &["x/v", "xav"]),
            ("s/x[!a]v", &["s/xbv"], &["s/x/v", "s/xav", "a/s/xbv"]),
            ("s/**/x[!a]*", &["s/xb", "s/a/b/xc"], &["s/x/v", "s/xa"]),
            ("é[!a]v", &["ébv"], &["é/v", "éav"]),
        ] {
            let rules = Rules::parse(rule.as_bytes()).expect("valid");
            for path in hits {
                // What lies below something that is left out has been decided with it.
                let above = path.split_once('/').and_then(|(above, _)| matched(&rules, above, true));
                assert!(above.or(matched(&rules, path, false)).is_some(), "{rule} misses {path}");
            }
            for path in misses {
                assert_eq!(matched(&rules, path, false), None, "{rule} hits {path}");
            }
            assert_eq!(rules.all()[0].text, rule, "it is shown as it was given");
        }
        let rules = Rules::parse(b"*\n!x[!a]v\n!/y[!a]/\n").expect("valid");
        assert_eq!(rules.judge(b"d/xbv", false), Verdict::Kept);
        assert_eq!(rules.judge(b"yb", true), Verdict::Kept);
        assert_eq!(matched(&rules, "yb", false), Some(1));
        for nothing in ["x[/]v", "[//]", "x[+-+/]/[/]"] {
            assert!(Rules::parse(nothing.as_bytes()).is_err(), "{nothing}");
        }
    }

    #[test]
    fn what_would_leave_a_name_without_characters_is_no_rule() {
        for nothing in ["\\/", "**//", "/**//", "a//b", "!\\/", "a\\\\\\/", "//x"] {
            let lines = Rules::parse(format!("a\n{nothing}\r\n").as_bytes()).expect(nothing);
            assert_eq!(lines.all().iter().map(|rule| &rule.text[..]).collect::<Vec<_>>(), ["a"]);
            let error = Rules::given(&[nothing.to_owned()]).expect_err(nothing);
            assert!(error.to_string().contains("matches nothing"), "{error}");
        }
        let rules = Rules::parse(b"a\\\\/\n\\!/\n!!!\n").expect("valid");
        if cfg!(unix) {
            assert_eq!(matched(&rules, "a\\", true), Some(1));
        }
        assert_eq!(matched(&rules, "a", true), None);
        assert_eq!(matched(&rules, "!", true), Some(2));
        assert_eq!(rules.judge(b"!!", true), Verdict::Kept, "the first ! takes back, the others are a name");
    }

    #[test]
    fn comments_may_be_of_any_bytes() {
        let rules = Rules::parse(b"# caf\xe9\n*.o\n#\xff").expect("valid");
        assert_eq!(matched(&rules, "x.o", false), Some(2));
        assert_eq!(Rules::parse(b"# caf\xe9\ncaf\xe9\n").expect_err("no comment").line, 2);
    }

    #[test]
    fn classes_that_would_be_read_otherwise_than_in_git_are_refused() {
        for odd in ["[[:alpha:]]", "x[a\\]]", "[[.a.]]", "[]\\]]", "[!]\\]]"] {
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
        for (bytes, line) in
            [(&b"a\n[z-a]\n"[..], 2), (b"\xff\n", 1), (b"a\n\n[b", 3), (b"x\\", 1), (b"[!]a\\\\", 1), (b"[\t", 1)]
        {
            assert_eq!(Rules::parse(bytes).expect_err("invalid").line, line);
        }
        for empty in ["", "  ", "#x", "!", "/", "!/"] {
            assert!(Rules::given(&[empty.to_owned()]).is_err(), "{empty:?}");
        }
        assert!(Rules::parse(b"\xef\xbb\xbf*.o\n#\n/\n!\n").expect("valid").all().len() == 1);
    }
}
