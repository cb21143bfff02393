//! What holds for every tree, every edit and every sequence of bytes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use devvault::crypto::{Digest, Domain, MAC_BYTES};
use devvault::format::index;
use devvault::format::pack::Footer;
use devvault::ops::select::{Place, Selector};
use devvault::ops::verify::Verdict;
use devvault::path::EntryPath;
use devvault::vault::gate;
use proptest::prelude::*;

use crate::format::{decode, macs, vectors};
use crate::support::{Home, noise, picture};

// Trees and edits.

/// Names of which paths are made: with `small` parameters a handful of entries already makes several segments.
#[cfg(unix)]
const NAMES: [&str; 10] = ["a", "b", "a-", "a.b", "ab", "caf\u{e9}", "\u{1f600}", " x ", "new\nline", "C:\\\"*"];
#[cfg(not(unix))]
const NAMES: [&str; 7] = ["a", "b", "a-", "a.b", "ab", "caf\u{e9}", "\u{1f600}"];

/// One change of a tree; what cannot be done there is left.
#[derive(Debug, Clone)]
enum Edit {
    Write(PathBuf, usize, u64),
    /// Bytes that compress and repeat.
    Fill(PathBuf, usize, u8),
    Append(PathBuf, usize, u64),
    Truncate(PathBuf, usize),
    Overwrite(PathBuf, usize, u64),
    Delete(PathBuf),
    Rename(PathBuf, PathBuf),
    Directory(PathBuf),
    Link(PathBuf, String),
    Mode(PathBuf, u32),
    Touch(PathBuf, i64),
}

fn any_path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4).prop_map(|names| names.iter().collect())
}

/// Lengths at and around the sizes of chunks and blocks, and some between.
fn any_length() -> impl Strategy<Value = usize> {
    prop_oneof![
        prop::sample::select(&[0, 1, 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 8192][..]),
        0usize..20_000,
    ]
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let (path, length) = (any_path, any_length);
    prop_oneof![
        6 => (path(), length(), 0u64..9).prop_map(|(path, length, seed)| Edit::Write(path, length, seed)),
        2 => (path(), length(), 0u8..3).prop_map(|(path, length, byte)| Edit::Fill(path, length, byte)),
        2 => (path(), length(), any::<u64>()).prop_map(|(path, length, seed)| Edit::Append(path, length, seed)),
        1 => (path(), length()).prop_map(|(path, length)| Edit::Truncate(path, length)),
        1 => (path(), length(), any::<u64>()).prop_map(|(path, at, seed)| Edit::Overwrite(path, at, seed)),
        2 => path().prop_map(Edit::Delete),
        2 => (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        2 => path().prop_map(Edit::Directory),
        1 => (path(), "[a-z./]{1,30}").prop_map(|(path, target)| Edit::Link(path, target)),
        1 => (path(), 0u32..0o1000).prop_map(|(path, mode)| Edit::Mode(path, mode)),
        1 => (path(), -3_000_000_000i64..5_000_000_000).prop_map(|(path, nanos)| Edit::Touch(path, nanos)),
    ]
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap())?;
    if path.is_symlink() {
        fs::remove_file(path)?;
    }
    fs::write(path, bytes)
}

fn apply(root: &Path, edit: &Edit) -> io::Result<()> {
    let file = |path: &PathBuf| {
        let path = root.join(path);
        if is_file(&path) { Ok(path) } else { Err(io::Error::other("no file")) }
    };
    match edit {
        Edit::Write(path, length, seed) => create(&root.join(path), &noise(*length, *seed)),
        Edit::Fill(path, length, byte) => create(&root.join(path), &vec![*byte; *length]),
        Edit::Append(path, length, seed) => {
            let path = file(path)?;
            let mut bytes = fs::read(&path)?;
            bytes.extend(noise(*length, *seed));
            fs::write(path, bytes)
        }
        Edit::Truncate(path, length) => {
            let file = fs::File::options().write(true).open(file(path)?)?;
            file.set_len((*length as u64).min(file.metadata()?.len()))
        }
        Edit::Overwrite(path, at, seed) => {
            // The size stays: only times tell.
            let path = file(path)?;
            let mut bytes = fs::read(&path)?;
            let at = at % bytes.len().max(1);
            for (byte, new) in bytes[at..].iter_mut().zip(noise(16, *seed)) {
                *byte = new;
            }
            fs::write(path, bytes)
        }
        Edit::Delete(path) => {
            let path = root.join(path);
            if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        }
        Edit::Rename(from, to) => {
            fs::create_dir_all(root.join(to).parent().unwrap())?;
            fs::rename(root.join(from), root.join(to))
        }
        Edit::Directory(path) => fs::create_dir_all(root.join(path)),
        #[cfg(unix)]
        Edit::Link(path, target) => {
            fs::create_dir_all(root.join(path).parent().unwrap())?;
            std::os::unix::fs::symlink(target, root.join(path))
        }
        #[cfg(unix)]
        Edit::Mode(path, mode) => {
            use std::os::unix::fs::PermissionsExt;
            let path = root.join(path);
            let metadata = path.symlink_metadata()?;
            if metadata.is_symlink() {
                return Ok(());
            }
            // The tests need not be root: what cannot be read gives no snapshot.
            let readable = if metadata.is_dir() { 0o700 } else { 0o600 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode | readable))
        }
        #[cfg(not(unix))]
        Edit::Link(..) | Edit::Mode(..) => Ok(()),
        Edit::Touch(path, nanos) => {
            let size = Duration::from_nanos(nanos.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            let time = if *nanos < 0 { epoch - size } else { epoch + size };
            fs::File::options().write(true).open(file(path)?)?.set_modified(time)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_snapshot_of_every_history_verifies_and_restores(
        history in prop::collection::vec(prop::collection::vec(any_edit(), 1..25), 1..5),
    ) {
        let home = Home::with_vault();
        fs::create_dir_all(home.source()).unwrap();
        let mut pictures = Vec::new();
        for edits in &history {
            // Two edits within one tick of the file system's clock are not what is tested here.
            std::thread::sleep(Duration::from_millis(10));
            for edit in edits {
                // What cannot be done to this tree is not done.
                let _ = apply(&home.source(), edit);
            }
            let options = devvault::ops::backup::Options { allow_empty: true, ..Default::default() };
            home.try_backup(&options).unwrap();
            pictures.push(picture(&home.source()));
        }
        let report = home.verify(&[]).unwrap();
        prop_assert_eq!(report.verdict, Verdict::Valid, "{:?}", report.findings);
        prop_assert_eq!(report.snapshots.len(), history.len());
        for (at, expected) in pictures.iter().enumerate() {
            let destination = format!("restored-{at}");
            home.restore(&(at + 1).to_string(), &destination).unwrap();
            prop_assert_eq!(&picture(&home.path(&destination)), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// One new file changes the part of the listing around it and the part that begins with its directory, no more.
    #[test]
    fn unchanged_regions_of_a_tree_are_the_same_lists(salt in any::<u32>(), at in 0usize..400) {
        let home = Home::with_vault();
        let names: Vec<String> = (0..400).map(|n| format!("{n:04}-{salt:x}")).collect();
        home.write_source(&names.iter().map(|name| (&**name, "same\n")).collect::<Vec<_>>());
        home.backup();
        home.write_source(&[(&*format!("{}-new", names[at]), "new\n")]);
        home.backup();
        let vault = gate::open(&home.access()).unwrap();
        let lists: Vec<BTreeSet<Digest>> = vault
            .chain
            .snapshots()
            .map(|(_, snapshot)| snapshot.lists.iter().map(|list| list.object.id()).collect())
            .collect();
        let new = lists[1].difference(&lists[0]).count();
        prop_assert!(lists[1].len() > 10 && new <= 3, "{new} of {} lists are new", lists[1].len());
    }
}

// Bytes.

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
    /// Another digit, bracket or quote, so that JSON often stays JSON.
    Token(usize, &'static str),
}

const TOKENS: [&str; 18] =
    ["0", "1", "9", "-", "\"", "[", "]", "{", "}", ",", ":", "null", "true", "/", "..", "\\u0000", "1e3", "\n"];

fn any_damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>;
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        at().prop_map(Damage::Cut),
        (at(), 1usize..40).prop_map(|(at, count)| Damage::Remove(at, count)),
        (at(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1usize..200).prop_map(|(at, count)| Damage::Repeat(at, count)),
        (at(), prop::sample::select(&TOKENS[..])).prop_map(|(at, token)| Damage::Token(at, token)),
    ]
}

fn damage(bytes: &mut Vec<u8>, damage: &Damage) {
    let length = bytes.len();
    if length == 0 {
        return;
    }
    match damage {
        Damage::Flip(at, bit) => bytes[at % length] ^= 1 << bit,
        Damage::Set(at, byte) => bytes[at % length] = *byte,
        Damage::Cut(at) => bytes.truncate(at % length),
        Damage::Remove(at, count) => drop(bytes.drain(at % length..length.min(at % length + count))),
        Damage::Insert(at, new) => drop(bytes.splice(at % length..at % length, new.iter().copied())),
        Damage::Repeat(at, count) => {
            let range = at % length..length.min(at % length + count);
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, again);
        }
        Damage::Token(at, token) => drop(bytes.splice(at % length..=at % length, token.bytes())),
    }
}

/// Every decoder with a name of its own; packs and chains go through files and are tested as vaults.
const DECODERS: [&str; 14] = [
    "config",
    "key",
    "mac",
    "snapshot",
    "tombstone",
    "branch",
    "entry",
    "segment",
    "segments",
    "chunks",
    "packs",
    "footer",
    "index",
    "head",
];

/// Decodes, and fails where something is taken that would be written otherwise.
fn try_decoder(name: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    match decode(name, bytes) {
        // A footer is the end of what was read of a pack; what stands before it does not matter.
        Ok(again) if name.starts_with("footer") => prop_assert!(bytes.ends_with(&again)),
        Ok(again) => prop_assert_eq!(again, bytes, "{} takes what it would not write", name),
        Err(_) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn no_decoder_panics_on_any_bytes(name in prop::sample::select(&DECODERS[..]), bytes: Vec<u8>) {
        try_decoder(name, &bytes)?;
    }

    #[test]
    fn no_table_or_index_panics_even_if_it_authenticates(bytes: Vec<u8>) {
        // As if whoever holds the key had written it.
        let _ = Footer::decode_table(&bytes);
        let mut body = [&b"devvault-indx/1\n"[..], &macs().vault().0, &bytes].concat();
        let tag: [u8; MAC_BYTES] = macs().tag(Domain::Index, 0, &body);
        body.extend(tag);
        let _ = index::decode(&macs(), &body);
    }

    #[test]
    fn no_selector_or_place_panics_or_escapes(text in "(latest|[0-9]{0,20}|.{0,4})(:([a-z./\\\\]|.){0,12})?") {
        let _ = text.parse::<Selector>();
        if let Ok(place) = text.parse::<Place>() {
            prop_assert!(place.path.components().all(|component| component != b".." && component != b"."));
        }
    }

    #[test]
    fn no_path_escapes(bytes in prop::collection::vec(prop::sample::select(&b"a./\\\0\xff"[..]), 0..12)) {
        let good = bytes.is_empty()
            || bytes.split(|&byte| byte == b'/').all(|component| {
                !component.is_empty() && component != b"." && component != b".." && !component.contains(&0)
            });
        match EntryPath::parse(&bytes) {
            Ok(path) => {
                prop_assert!(good, "{bytes:?} is taken");
                prop_assert_eq!(path.as_bytes(), &bytes[..]);
                let joined = path.components().try_fold(EntryPath::root(), |path, component| path.join(component));
                prop_assert_eq!(joined.unwrap(), path);
            }
            Err(_) => prop_assert!(!good, "{bytes:?} is refused"),
        }
    }

    #[test]
    fn paths_are_ordered_by_components(
        a in prop::collection::vec(prop::collection::vec(1u8.., 1..4), 0..5),
        b in prop::collection::vec(prop::collection::vec(1u8.., 1..4), 0..5),
        shared in 0usize..5,
    ) {
        // Often with a common beginning, where the order is decided late.
        let shared: Vec<_> = a.iter().take(shared).cloned().collect();
        let paths = [a, [shared, b].concat()].map(|path| -> Option<(EntryPath, Vec<Vec<u8>>)> {
            Some((EntryPath::parse(&path.join(&b'/')).ok()?, path))
        });
        let [Some((a, a_components)), Some((b, b_components))] = paths else { return Ok(()) };
        prop_assume!(a.depth() == a_components.len() && b.depth() == b_components.len());
        prop_assert_eq!(a.cmp(&b), a_components.cmp(&b_components));
        prop_assert_eq!(a == b, a_components == b_components);
        prop_assert_eq!(a.is_within(&b), a_components.starts_with(&b_components));
    }
}

/// Damages every vector in many ways; the same ways every time, so that a failure comes again.
#[test]
fn no_decoder_panics_on_damaged_vectors() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let many = prop::collection::vec(any_damage(), 1..4);
    for (name, bytes) in vectors() {
        let claim = name.split_once('/').unwrap().1;
        if !DECODERS.contains(&claim.split('-').next().unwrap()) || bytes.len() > 20_000 {
            continue;
        }
        for _ in 0..60 {
            let damages = many.new_tree(&mut runner).unwrap().current();
            let mut bytes = bytes.clone();
            damages.iter().for_each(|one| damage(&mut bytes, one));
            if let Err(error) = try_decoder(claim, &bytes) {
                panic!("{name} after {damages:?}: {error}");
            }
            if claim.starts_with("footer") && bytes.len() > 52 {
                let _ = Footer::decode_table(&bytes[..bytes.len() - 52]);
            }
            if claim.starts_with("index") && bytes.len() > MAC_BYTES {
                let end = bytes.len() - MAC_BYTES;
                let tag = macs().tag(Domain::Index, 0, &bytes[..end]);
                bytes[end..].copy_from_slice(&tag);
                try_decoder(claim, &bytes).unwrap();
            }
        }
    }
}

// Which entry may follow which.

/// All paths of up to `depth` of these names, the root included.
fn all_paths(names: &[&str], depth: usize) -> Vec<Vec<String>> {
    let mut paths = vec![Vec::new()];
    let mut last = paths.clone();
    for _ in 0..depth {
        last = last
            .iter()
            .flat_map(|path| names.iter().map(move |name| [&path[..], &[(*name).to_owned()]].concat()))
            .collect();
        paths.extend(last.clone());
    }
    paths
}

fn parse(path: &[String]) -> EntryPath {
    EntryPath::parse(path.join("/").as_bytes()).unwrap()
}

#[test]
fn an_entry_may_follow_exactly_what_the_specification_says() {
    // Names of which one begins the other, and one with a byte below the separator.
    let paths = all_paths(&["a", "a-", "ab", "b"], 3);
    assert_eq!(paths.len(), 1 + 4 + 16 + 64);
    for before in &paths {
        for path in &paths {
            for is_directory in [false, true] {
                let expected = match path.split_last() {
                    None => false,
                    Some((_, parent)) => {
                        path > before
                            && ((parent == before && is_directory)
                                || (parent.len() < before.len() && before.starts_with(parent)))
                    }
                };
                let found = parse(path).may_follow(&parse(before), is_directory);
                assert_eq!(found, expected, "{path:?} after {before:?} ({is_directory})");
            }
        }
    }
}

#[test]
fn a_listing_is_taken_exactly_if_it_is_a_tree_in_order() {
    // Every sequence of up to four entries after the source: each path as a file and as a directory.
    let paths: Vec<Vec<String>> = all_paths(&["a", "a-"], 2).split_off(1);
    let entries: Vec<(usize, bool)> = (0..paths.len()).flat_map(|path| [(path, false), (path, true)]).collect();
    let parsed: Vec<EntryPath> = paths.iter().map(|path| parse(path)).collect();
    let mut sequences: Vec<Vec<(usize, bool)>> = vec![Vec::new()];
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..4 {
        sequences = sequences
            .iter()
            .flat_map(|sequence| entries.iter().map(move |&entry| [&sequence[..], &[entry]].concat()))
            .collect();
        for sequence in &sequences {
            let root = EntryPath::root();
            let mut before = (&root, true);
            let accepted = sequence.iter().all(|&(at, is_directory)| {
                let (path, directory) = std::mem::replace(&mut before, (&parsed[at], is_directory));
                parsed[at].may_follow(path, directory)
            });
            let ascending = sequence.windows(2).all(|pair| paths[pair[0].0] < paths[pair[1].0]);
            let whole = sequence.iter().all(|&(at, _)| match &paths[at][..] {
                [_] => true,
                path => sequence.iter().any(|&(other, directory)| directory && paths[other] == path[..path.len() - 1]),
            });
            assert_eq!(accepted, ascending && whole, "{sequence:?}");
            if accepted { taken += 1 } else { refused += 1 }
        }
    }
    assert_eq!((taken, refused), (72, 22_548));
}
