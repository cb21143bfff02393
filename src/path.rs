//! Paths of entries: a list of components, bytes, never normalised.
//!
//! Invariant: an [`EntryPath`] is empty (the source itself) or consists of components that are not empty, not `.` or
//! `..`, hold neither `/` nor NUL, and stay below the bounds of [`limits`]. There is one door,
//! [`EntryPath::parse`], and decoding a vault goes through it. So no stored path can leave the directory below which
//! it is restored.

mod trail;

pub use self::trail::Trail;

use std::cmp::Ordering;
use std::fmt;

use crate::limits;

/// A path below the source of a snapshot; the empty path is the source itself.
///
/// On Unix the bytes are those of the file system; on Windows they are WTF-8.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct EntryPath {
    joined: Vec<u8>,
}

/// Says why bytes are no path of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPath(pub &'static str);

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadPath {}

impl EntryPath {
    /// Returns the path of the source itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses components joined by `/`.
    ///
    /// # Errors
    /// A component that is empty, `.`, `..`, too long or holds NUL; a path that is too long.
    pub fn parse(joined: &[u8]) -> Result<Self, BadPath> {
        if joined.is_empty() {
            return Ok(Self::root());
        }
        if joined.len() > limits::PATH_BYTES_MAX {
            return Err(BadPath("a path is longer than the format allows"));
        }
        for component in joined.split(|&byte| byte == b'/') {
            check_component(component)?;
        }
        Ok(Self { joined: joined.to_vec() })
    }

    /// Returns the path that is shown as this one reads, where that is another one: what a person may mean who copies a
    /// path from a list.
    pub fn unshown(&self) -> Option<Self> {
        let bytes = if self.joined.contains(&b'\\') { unshown(&self.joined)? } else { return None };
        Self::parse(&bytes).ok()
    }

    /// Returns this path with one more component.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); a component that holds `/` is refused too.
    pub fn join(&self, component: &[u8]) -> Result<Self, BadPath> {
        check_component(component)?;
        if component.contains(&b'/') {
            return Err(BadPath("a component holds a separator"));
        }
        let length = self.joined.len() + 1 + component.len();
        if length > limits::PATH_BYTES_MAX {
            return Err(BadPath("a path is longer than the format allows"));
        }
        let mut joined = Vec::with_capacity(length);
        if !self.is_root() {
            joined.extend_from_slice(&self.joined);
            joined.push(b'/');
        }
        joined.extend_from_slice(component);
        Ok(Self { joined })
    }

    /// Returns whether this is the source itself.
    pub fn is_root(&self) -> bool {
        self.joined.is_empty()
    }

    /// Returns the components joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.joined
    }

    /// Returns the components, outermost first; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.joined.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// Returns the number of components.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Returns the last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.joined.iter().rposition(|&byte| byte == b'/') {
            Some(at) => &self.joined[at + 1..],
            None => &self.joined,
        }
    }

    /// Returns the path one level up, or nothing for the root.
    pub fn parent(&self) -> Option<Self> {
        self.parent_bytes().map(|bytes| Self { joined: bytes.to_vec() })
    }

    fn parent_bytes(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        Some(match self.joined.iter().rposition(|&byte| byte == b'/') {
            Some(at) => &self.joined[..at],
            None => b"",
        })
    }

    /// Returns the path that the first `length` bytes of this one are, if a component ends there.
    pub fn beginning(&self, length: usize) -> Option<Self> {
        let ends = length == 0 || matches!(self.joined.get(length), None | Some(b'/'));
        let joined = self.joined.get(..length).filter(|_| ends)?.to_vec();
        Some(Self { joined })
    }

    /// Returns whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || (self.joined.starts_with(&other.joined)
                && matches!(self.joined.get(other.joined.len()), None | Some(b'/')))
    }

    /// Returns the bytes of this path below `above`, the bytes of a path which it must lie within; none for `above` itself.
    pub fn below(&self, above: &[u8]) -> &[u8] {
        debug_assert!(self.joined.starts_with(above));
        let rest = self.joined.get(above.len()..).unwrap_or_default();
        rest.strip_prefix(b"/").unwrap_or(rest)
    }

    /// Returns whether `self` may directly follow `previous` in a listing in path order whose directories come
    /// before their contents: it is greater, and its parent is `previous` (then a directory) or a directory above it.
    pub fn may_follow(&self, previous: &Self, previous_is_directory: bool) -> bool {
        let Some(parent) = self.parent_bytes() else { return false };
        if *self <= *previous {
            return false;
        }
        if parent == previous.joined {
            return previous_is_directory;
        }
        parent.is_empty() || (previous.joined.starts_with(parent) && previous.joined.get(parent.len()) == Some(&b'/'))
    }
}

impl Ord for EntryPath {
    /// Compares component by component as bytes: a directory comes directly before its contents.
    fn cmp(&self, other: &Self) -> Ordering {
        // NUL occurs in no component, so a separator that counts as NUL orders whole components.
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        let shared = self.joined.iter().zip(&other.joined).position(|(a, b)| a != b);
        match shared {
            Some(at) => rank(self.joined[at]).cmp(&rank(other.joined[at])),
            None => self.joined.len().cmp(&other.joined.len()),
        }
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.joined))
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { f.write_str(&shown(&self.joined)) }
    }
}

fn check_component(component: &[u8]) -> Result<(), BadPath> {
    match component {
        b"" => Err(BadPath("a path has an empty component")),
        b"." | b".." => Err(BadPath("a path has a component `.` or `..`")),
        _ if component.len() > limits::COMPONENT_BYTES_MAX => Err(BadPath("a component is too long")),
        _ if component.contains(&0) => Err(BadPath("a path holds a NUL byte")),
        _ => Ok(()),
    }
}

/// Returns bytes from a disk in a form that is safe to show: control characters, invalid UTF-8 and characters that
/// reorder or hide text are escaped.
pub fn shown(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || is_deceptive(character) || character == '\\' {
                out.extend(character.escape_default());
            } else {
                out.push(character);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Returns the bytes that [`shown`] shows as this text; nothing where it shows none so.
pub fn unshown(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = std::str::from_utf8(text).ok()?;
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut after = escape.chars();
        match after.next()? {
            'u' => {
                let (digits, after) = escape.strip_prefix("u{")?.split_once('}')?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            'x' => {
                bytes.push(u8::from_str_radix(escape.get(1..3)?, 16).ok()?);
                rest = &escape[3..];
            }
            letter => {
                bytes.push(match letter {
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    '\\' => b'\\',
                    _ => return None,
                });
                rest = after.as_str();
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    // Two ways to write one name are one too many.
    (shown(&bytes).as_bytes() == text).then_some(bytes)
}

/// Returns a word in the form in which a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,\\".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Returns text of this program in a form that is safe to show whatever was quoted in it; what is escaped already stays.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_deceptive(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Returns a JSON document in which every character that a terminal could be deceived with stands as `\\uXXXX`: whoever
/// prints it sees what is there, and whoever parses it gets the same text.
pub fn printable_json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for character in document.chars() {
        // What is below a space stands in JSON between values only: line feeds of a document for people.
        if character >= '\u{7f}' && (character.is_control() || is_deceptive(character)) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// Characters that are invisible or change the direction of what follows.
fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("a valid path")
    }

    #[test]
    fn parse_refuses_every_way_out_of_the_source() {
        for bad in ["..", ".", "/", "/a", "a/", "a//b", "a/../b", "a/.", "a\0b", "../x"] {
            assert!(EntryPath::parse(bad.as_bytes()).is_err(), "{bad:?} was accepted");
        }
        assert!(EntryPath::parse(&vec![b'x'; limits::COMPONENT_BYTES_MAX + 1]).is_err());
        assert!(EntryPath::root().join(b"a/b").is_err());
        assert!(EntryPath::root().join(b"..").is_err());
    }

    #[test]
    fn order_places_a_directory_directly_before_its_contents() {
        let mut paths = ["a.b", "a/b", "a", "a/b/c", "a-", "ab", ""].map(path);
        paths.sort();
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a-", "a.b", "ab"].map(path));
    }

    #[test]
    fn an_entry_follows_only_where_its_parent_is_a_known_directory() {
        assert!(path("a").may_follow(&path(""), true));
        assert!(path("a/b").may_follow(&path("a"), true));
        assert!(!path("a/b").may_follow(&path("a"), false), "a file has no children");
        assert!(path("a/c").may_follow(&path("a/b/x"), false));
        assert!(path("b").may_follow(&path("a/b/x"), false));
        assert!(!path("b/c").may_follow(&path("a/b"), true), "the directory b is missing");
        assert!(!path("a/b").may_follow(&path("a/b"), true), "twice");
        assert!(!path("a").may_follow(&path("b"), true), "backwards");
        assert!(!path("ab/c").may_follow(&path("a/c"), true));
    }

    #[test]
    fn shown_escapes_what_could_deceive_a_terminal() {
        assert_eq!(shown(b"plain \xc3\xa9"), "plain é");
        assert_eq!(shown(b"\x1b[2Jx\xff\n"), "\\u{1b}[2Jx\\xff\\n");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(printable(&shown(b"a\\\n")), shown(b"a\\\n"), "nothing is escaped twice");
        assert_eq!(printable("x\nVALID\u{1b}[2J\u{202e}"), "x\\nVALID\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn what_is_shown_of_a_path_names_that_path_and_no_other() {
        use proptest::prelude::*;
        // What is escaped, what looks like an escape, and what merely is part of a character.
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            any::<char>().prop_map(|character| character.to_string().into_bytes()),
            "[\\\\nrtxu{}0-9a-f/'\" \n\t\u{1b}\u{202e}é]{1,4}".prop_map(String::into_bytes),
        ];
        let bytes = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20_000));
        let law = |bytes: Vec<u8>| {
            let text = shown(&bytes);
            prop_assert_eq!(unshown(text.as_bytes()), Some(bytes.clone()));
            if let Some(meant) = unshown(&bytes) {
                prop_assert_eq!(shown(&meant).into_bytes(), bytes.clone(), "another way to write it");
            }
            if let Ok(path) = EntryPath::parse(&bytes)
                && let Ok(typed) = EntryPath::parse(text.as_bytes())
                && typed != path
            {
                prop_assert_eq!(typed.unshown(), Some(path));
            }
            Ok(())
        };
        runner.run(&bytes, law).expect("shown and unshown are inverse");
    }

    #[test]
    fn what_shows_no_path_so_means_none() {
        for ambiguous in [
            "a",
            "a\\",
            "\\q",
            "\\x4",
            "\\x41",
            "\\xc3\\xa9",
            "\\u{41}",
            "\\u{01b}",
            "\\u{1B}",
            "\\u{}",
            "\\'",
            "\\0",
            "\n",
        ] {
            assert_eq!(path(ambiguous).unshown(), None, "{ambiguous:?}");
        }
        assert_eq!(path("\\xff/new\\nline").unshown().expect("meant").as_bytes(), b"\xff/new\nline");
        assert_eq!(path("a\\\\b").unshown(), Some(path("a\\b")));
        // What is meant goes through the same door: no escape leads out of the source.
        assert_eq!(path("a\\u{0}").unshown(), None);
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn json_that_is_printed_deceives_no_terminal_and_parses_to_the_same() {
        let name = "a\u{9b}2J\u{7f}\u{202e}\u{e0041}\u{1b}é\n";
        let document = serde_json::json!({"path": name}).to_string();
        let printed = printable_json(&document);
        assert_eq!(printed, "{\"path\":\"a\\u009b2J\\u007f\\u202e\\udb40\\udc41\\u001bé\\n\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).expect("JSON")["path"], name);
        assert_eq!(printable_json("{\n  1\n}\n"), "{\n  1\n}\n");
    }

    #[test]
    fn paths_below_another_lose_its_prefix() {
        assert_eq!(path("a/b/c").below(b"a/b"), b"c");
        assert_eq!(path("a").below(b"a"), b"");
        assert_eq!(path("a/b").below(b""), b"a/b");
    }

    #[test]
    fn a_path_begins_with_whole_components_alone() {
        let begins = |length| path("a/bc/d").beginning(length);
        assert_eq!([0, 1, 4, 6].map(begins), ["", "a", "a/bc", "a/bc/d"].map(|text| Some(path(text))));
        assert_eq!([2, 3, 5, 7].map(begins), [None, None, None, None]);
    }

    #[test]
    fn within_means_whole_components() {
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
        assert!(path("x").is_within(&path("")));
    }
}
