//! What a place can hold, asked as a restore asks it, for whoever wants to know without restoring.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::probe::Probe;
use super::target::Target;
use crate::clock::Time;
use crate::error::{Error, Result, shown_path};
use crate::format::entry::{FileContent, Kind};
use crate::fsys::{Dir, is_root};

/// Pairs of names that some file systems take for one.
const TWINS: [(&str, [&str; 2]); 4] = [
    ("names that differ in case", ["case", "Case"]),
    ("names that differ in Unicode form", ["\u{e9}", "e\u{301}"]),
    ("names that differ in a dot at the end", ["dot", "dot."]),
    ("names that differ in a space at the end", ["space", "space "]),
];

/// Names that some file systems do not take.
const NAMES: [(&str, &[u8]); 9] = [
    ("names beyond ASCII", "caf\u{e9} \u{1f600}".as_bytes()),
    ("names that are no UTF-8", b"latin-1 \xe9"),
    ("names with control characters", b"odd\n\x1b"),
    ("names with a colon", b"a:b"),
    ("names with a backslash", b"a\\b"),
    ("names with wildcards", b"*?<>|\""),
    ("names that Windows reserves", b"CON"),
    ("names of 255 bytes", &[b'l'; 255]),
    ("names of 256 bytes", &[b'l'; 256]),
];

/// Tries what a directory can hold, in a scratch directory of its own that is removed afterwards. Each fact is `yes` or
/// says what stands against it.
///
/// # Errors
/// The directory cannot be opened or written.
pub fn facts(directory: &Path) -> Result<BTreeMap<String, String>> {
    let failed = |error| Error::environment(format!("look at {}", shown_path(directory)), error);
    let parent_path = fs::canonicalize(directory).map_err(failed)?;
    let parent = Dir::open(&parent_path).map_err(failed)?;
    let target = Target { path: parent_path.join("none"), name: b"none".to_vec(), parent, parent_path, existed: false };
    let probe = Probe::new(&target)?;
    let names = probe.names().map_err(failed)?;
    let mut facts = BTreeMap::new();
    let mut tell = |what: &str, said: String| drop(facts.insert(what.to_owned(), said));
    for (what, twins) in TWINS {
        tell(what, answer(twins_differ(&names, twins)));
    }
    for (what, name) in NAMES {
        tell(what, answer(keeps_name(&names, name)));
    }
    for (what, against) in objects(&probe).into_iter().chain(metadata(&probe)) {
        tell(what, answer(against));
    }
    let step = probe.time_step().map_or_else(|error| against(&error), |step| format!("{step} ns"));
    tell("steps of times", step);
    tell("holes", probe.keeps_holes().map_or_else(|error| against(&error), |kept| yes_or_no(kept).into()));
    tell("files of more than 4 GiB", yes_or_no(probe.takes_size(5 << 30)).into());
    Ok(facts)
}

fn objects(probe: &Probe<'_>) -> Vec<(&'static str, Option<io::Error>)> {
    vec![
        ("symbolic links", probe.cannot_make(&Kind::Symlink(b"tar/get".to_vec()))),
        ("junctions", probe.cannot_make(&Kind::Junction(b"C:\\target".to_vec()))),
        ("hard links", probe.cannot_link()),
        ("named pipes", probe.cannot_make(&Kind::Fifo)),
        ("sockets", probe.cannot_make(&Kind::Socket)),
        ("devices", probe.cannot_make(&Kind::Character(1, 3))),
    ]
}

fn metadata(probe: &Probe<'_>) -> Vec<(&'static str, Option<io::Error>)> {
    let file = Kind::File(FileContent::default());
    let time = |seconds| probe.cannot_keep_time(Time { seconds, nanos: 0 }, 2_000_000_001);
    vec![
        ("permission bits", probe.cannot_set_mode(false, 0o640)),
        ("set-id bits", probe.cannot_set_mode(false, 0o6755)),
        (
            "owners",
            if is_root() {
                probe.cannot_give((54_321, 12_345))
            } else {
                Some(io::Error::other("this user cannot give them"))
            },
        ),
        ("attributes of users", probe.cannot_set_xattr(&file, b"user.devvault", b"value", None)),
        ("streams", probe.cannot_set_stream(b"devvault", b"value")),
        ("times of creation", probe.cannot_set_created(Time { seconds: 1_234_567_891, nanos: 0 })),
        ("times before 1970", time(-86_400)),
        ("times after 2038", time(1 << 32)),
        ("times after 2106", time(5_000_000_000)),
    ]
}

fn twins_differ(names: &Dir, [one, other]: [&str; 2]) -> Option<io::Error> {
    let tried = names.create_file(one.as_bytes()).and_then(|_| match names.create_file(other.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(io::Error::other("they are one name")),
        made => made.and_then(|_| listed(names, other.as_bytes())),
    });
    let _ = names.remove_file(other.as_bytes());
    let _ = names.remove_file(one.as_bytes());
    tried.err()
}

fn keeps_name(names: &Dir, name: &[u8]) -> Option<io::Error> {
    let tried = names.create_file(name).and_then(|_| listed(names, name));
    let _ = names.remove_file(name);
    tried.err()
}

fn listed(names: &Dir, name: &[u8]) -> io::Result<()> {
    let found = names.names()?.iter().any(|found| found == name);
    if found { Ok(()) } else { Err(io::Error::other("it becomes another name")) }
}

fn answer(why_not: Option<io::Error>) -> String {
    why_not.map_or_else(|| "yes".to_owned(), |error| against(&error))
}

fn against(error: &io::Error) -> String {
    format!("no: {error}")
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
