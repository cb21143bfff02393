//! The format: test vectors, a vault of the first version, the numbers and examples of the specification, and a second
//! reader in another language that must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use devvault::clock::Time;
use devvault::conformance::vectors::{self, Decoded, segment_list};
use devvault::crypto::{Digest, Domain, Id, Macs, Secret};
use devvault::format::config::Config;
use devvault::format::entry::{
    ChunkRef, Entry, Kind, decode_chunk_list, decode_hole_list, encode_chunk_list, encode_hole_list,
};
use devvault::format::holes::Hole;
use devvault::format::index::{self, IndexedPack};
use devvault::format::json;
use devvault::format::keyfile::KeyFile;
use devvault::format::listing::{PartRef, decode_segment, decode_segment_list};
use devvault::format::pack::{BlockInfo, BlockKind, Encoding, Footer, header};
use devvault::format::record::{PackUse, Record, RecordKind, decode_pack_list};
use devvault::limits;
use devvault::ops::verify::Verdict;
use devvault::path::EntryPath;
use devvault::pool::Pool;
use devvault::vault::catalog::{Catalog, UseIndex};
use devvault::vault::gate::{self, Access};
use devvault::vault::layout;
use devvault::vault::read::Reader;

use crate::support::{Home, skip};

const FORMAT: &str = include_str!("../src/format/FORMAT.md");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn test_key() -> KeyFile {
    KeyFile::decode(&fs::read(fixtures().join("vectors/test.key")).unwrap()).unwrap()
}

pub fn macs() -> Macs {
    let key = test_key();
    Macs::new(key.secret(), key.vault)
}

// The vectors.

/// Decodes a vector by the first word of its name.
pub fn decode(name: &str, bytes: &[u8]) -> Decoded {
    vectors::decode(name, bytes, &macs(), tempfile::tempdir)
}

/// A part that says of an object what the object says of itself.
fn part(bytes: &[u8], first: Option<EntryPath>, entries: u64) -> PartRef {
    vectors::part(bytes, first, entries).unwrap()
}

pub fn vectors() -> BTreeMap<String, Vec<u8>> {
    let mut vectors = BTreeMap::new();
    for side in ["accept", "reject"] {
        for entry in fs::read_dir(fixtures().join("vectors").join(side)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{side}/{}", entry.file_name().into_string().unwrap());
            vectors.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    vectors
}

#[test]
fn every_vector_is_decided_as_its_name_says() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, bytes) in vectors() {
        let (side, claim) = name.split_once('/').unwrap();
        seen.insert((side.to_owned(), claim.split('-').next().unwrap().to_owned()));
        let fault = match (side, decode(claim, &bytes)) {
            ("accept", Ok(again)) if again == bytes => None,
            ("accept", Ok(_)) => Some("it encodes to other bytes".to_owned()),
            ("accept", Err(why)) => Some(format!("refused: {why}")),
            (_, Ok(_)) => Some("taken".to_owned()),
            (_, Err(_)) => None,
        };
        wrong.extend(fault.map(|fault| format!("{name}: {fault}")));
    }
    assert_eq!(seen.len(), 2 * 17, "every kind has vectors on both sides: {seen:?}");
    assert!(wrong.is_empty(), "{} vectors are decided wrongly:\n{}", wrong.len(), wrong.join("\n"));
}

/// Objects at their bounds in lines, which are too long to be kept as files.
#[test]
fn objects_are_bounded_in_lines() {
    let chunks = |count| encode_chunk_list(&vec![ChunkRef(Digest([1; 32]), 1); count]);
    assert!(decode_chunk_list(&chunks(limits::LIST_CHUNKS_MAX)).is_ok());
    assert!(decode_chunk_list(&chunks(limits::LIST_CHUNKS_MAX + 1)).is_err());
    let holes = |count: usize| encode_hole_list(&(0..count as u64).map(|at| Hole(2 * at, 1)).collect::<Vec<_>>());
    assert!(decode_hole_list(&holes(limits::LIST_HOLES_MAX)).is_ok());
    assert!(decode_hole_list(&holes(limits::LIST_HOLES_MAX + 1)).is_err());
    let packs = |count: usize| {
        let name = |n: usize| Digest(std::array::from_fn(|at| if at < 2 { (n >> (8 * (1 - at))) as u8 } else { 0 }));
        json::encode_lines(&(0..count).map(|n| PackUse(name(n), 1, Time::default())).collect::<Vec<_>>())
    };
    assert!(decode_pack_list(&packs(limits::PACK_LIST_MAX)).is_ok());
    assert!(decode_pack_list(&packs(limits::PACK_LIST_MAX + 1)).is_err());
    let parts = |count: usize| {
        let first = |n: usize| EntryPath::parse(format!("{n:05}").as_bytes()).unwrap();
        json::encode_lines(&(0..count).map(|n| part(b"x", Some(first(n)), 1)).collect::<Vec<_>>())
    };
    assert!(segment_list(&parts(limits::SEGMENT_LIST_MAX)).is_ok());
    assert!(segment_list(&parts(limits::SEGMENT_LIST_MAX + 1)).is_err());
    let path = |bytes: usize| vec![b"d".repeat(1000); bytes.div_ceil(1001)].join(&b'/')[..bytes].to_vec();
    assert!(EntryPath::parse(&path(limits::PATH_BYTES_MAX)).is_ok());
    assert!(EntryPath::parse(&path(limits::PATH_BYTES_MAX + 1)).is_err());
}

// The second reader.

/// Runs `reader.py`, or says why it cannot and returns nothing.
pub fn reader(arguments: &[&Path]) -> Option<serde_json::Value> {
    let probe = Command::new("python3").args(["-c", "import blake3, zstandard"]).output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            skip(String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Err(error) => {
            skip(&format!("python3: {error}"));
            return None;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader.py");
    let output = Command::new("python3").arg("-B").arg(script).args(arguments).output().unwrap();
    let document = serde_json::from_slice(&output.stdout);
    Some(document.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr))))
}

#[test]
fn an_independent_reader_agrees_on_every_vector() {
    let Some(report) = reader(&[Path::new("vectors"), &fixtures().join("vectors")]) else { return };
    let report = report.as_object().unwrap();
    let vectors = vectors();
    assert_eq!(report.keys().collect::<Vec<_>>(), vectors.keys().collect::<Vec<_>>());
    for (name, why) in report {
        assert_eq!(name.starts_with("accept/"), why.is_null(), "{name}: {why}");
    }
}

/// A vault of the first version, copied to where it can be opened: the key of a checkout is not private.
fn v1_plain() -> (Home, Access) {
    let home = Home::new();
    crate::support::copy_tree(&fixtures().join("vaults/v1-plain"), &home.vault());
    let key = home.path("test.key");
    devvault::fsys::write_private(&key, &fs::read(fixtures().join("vaults/v1-plain.key")).unwrap()).unwrap();
    let access = Access { key_file: Some(key), ..home.access() };
    (home, access)
}

/// One entry as `reader.py` writes it in its canonical listing.
fn canonical_line(reader: &Reader, entry: &Entry) -> Vec<u8> {
    let time = |time: Time| format!("{}.{:09}", time.seconds, time.nanos);
    let (size, chunks, holes) = entry.file().map_or_else(Default::default, |file| {
        let holes: Vec<String> =
            reader.holes_of(file).map(|hole| hole.unwrap()).map(|hole| format!("{}+{}", hole.0, hole.1)).collect();
        let chunks: Vec<String> = reader.chunks_of(file).map(|chunk| chunk.unwrap().id().to_string()).collect();
        (file.size.to_string(), chunks.join(","), holes.join(","))
    });
    let mode = entry.mode.map(|mode| format!("{mode:04o}")).unwrap_or_default();
    let mtime = entry.mtime.map(time).unwrap_or_default();
    let mut columns: Vec<&[u8]> = vec![
        entry.path.as_bytes(),
        entry.kind.name().as_bytes(),
        size.as_bytes(),
        mode.as_bytes(),
        mtime.as_bytes(),
        entry.kind.target().unwrap_or_default(),
        chunks.as_bytes(),
    ];
    // Only where there are any, so that the digests of listings without them stay what they were.
    columns.extend((!holes.is_empty()).then_some(holes.as_bytes()));
    let rest = rest_of(entry);
    columns.extend(rest.as_deref().map(str::as_bytes));
    let mut line = columns.join(&0);
    line.push(b'\n');
    line
}

/// What an entry says besides, as canonical JSON, if it says anything besides.
fn rest_of(entry: &Entry) -> Option<String> {
    let text = json::encode(entry);
    let serde_json::Value::Object(mut fields) = serde_json::from_slice(&text).unwrap() else { panic!("an object") };
    let columns = [
        "chunks",
        "ctime",
        "hole_lists",
        "holes",
        "ino",
        "kind",
        "lists",
        "mode",
        "mtime",
        "path",
        "path_b64",
        "racy",
        "size",
        "target",
        "target_b64",
    ];
    columns.into_iter().for_each(|name| drop(fields.remove(name)));
    (!fields.is_empty()).then(|| serde_json::Value::Object(fields).to_string())
}

/// The digest of every snapshot's canonical listing, by number.
fn listings(access: &Access) -> BTreeMap<u64, String> {
    let vault = gate::open(access).unwrap();
    let catalog = Catalog::load(&*vault.store, &vault.macs, UseIndex::No).unwrap();
    let reader = Arc::new(Reader::new(Arc::clone(&vault.store), Arc::clone(&vault.macs), Arc::new(catalog)));
    let pool = Pool::with_threads(1);
    let listing = |lists: &[PartRef]| {
        let batches = reader.entries(&pool, lists).map(|batch| batch.unwrap().entries);
        Digest::of(&batches.flatten().flat_map(|entry| canonical_line(&reader, &entry)).collect::<Vec<_>>())
    };
    vault.chain.snapshots().map(|(number, snapshot)| (number, listing(&snapshot.lists).to_string())).collect()
}

/// The same of a report of `reader.py verify`.
fn listings_of(report: &serde_json::Value) -> BTreeMap<u64, String> {
    let digest = |snapshot: &serde_json::Value| snapshot["listing"]["blake3"].as_str().unwrap().to_owned();
    let snapshots = report["snapshots"].as_array().unwrap().iter();
    snapshots.map(|snapshot| (snapshot["number"].as_u64().unwrap(), digest(snapshot))).collect()
}

#[test]
fn a_vault_of_the_first_version_verifies_and_restores() {
    let (home, access) = v1_plain();
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read(fixtures().join("vaults/v1-plain.json")).unwrap()).unwrap();
    let report = home.verify_from(&access, &[]).unwrap();
    assert_eq!(report.verdict, Verdict::Valid, "{:?}", report.findings);
    assert_eq!(expected["head"], report.head.to_string());
    assert_eq!(listings_of(&expected), listings(&access));
    // Elsewhere its names cannot all be written.
    #[cfg(target_os = "linux")]
    for number in listings(&access).into_keys() {
        let destination = home.path(&format!("restored-{number}"));
        let options = &devvault::ops::restore::Options::default();
        let silent = &devvault::progress::Silent;
        let place = number.to_string().parse().unwrap();
        assert!(devvault::ops::restore::run(&access, &place, &destination, options, silent).unwrap().verified);
        assert_eq!(fs::read_link(destination.join("link")).unwrap(), Path::new("dir/nested"));
    }
}

#[test]
fn an_independent_reader_agrees_on_vaults() {
    let (home, access) = v1_plain();
    let key = home.path("test.key");
    let Some(report) = reader(&[Path::new("verify"), &home.vault(), &key]) else { return };
    assert_eq!(report["verdict"], "valid", "{report}");
    assert_eq!(listings_of(&report), listings(&access));

    // And on one that was made just now.
    let home = Home::with_snapshot();
    home.write_source(&[("added", "more"), ("README", "changed\n")]);
    let second = home.backup();
    let report = reader(&[Path::new("verify"), &home.vault(), &home.key()]).unwrap();
    assert_eq!(report["verdict"], "valid", "{report}");
    assert_eq!(report["head"], second.head.to_string());
    assert_eq!(listings_of(&report), listings(&home.access()));

    // And that damage is damage: a bit of every pack, one after another.
    for pack in crate::support::packs(&home.vault()) {
        let whole = fs::read(&pack).unwrap();
        crate::support::flip(&pack, whole.len() / 2);
        let report = reader(&[Path::new("verify"), &home.vault(), &home.key()]).unwrap();
        assert_eq!(report["verdict"], "damaged", "{report}");
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Invalid);
        fs::write(&pack, whole).unwrap();
    }
}

/// Makes the vault of the first version. It was run once; a later version must read what lies there now.
#[test]
#[ignore = "makes fixtures/vaults/v1-plain anew"]
#[cfg(target_os = "linux")]
fn make_the_vault_of_the_first_version() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::with_vault();
    let big = "0".repeat(5_000_000);
    let tree = [
        ("README", "hello\n"),
        ("big", &*big),
        ("dir/nested/file", "deep\n"),
        ("dir/nested.txt", "after the contents of dir/nested\n"),
        ("empty", ""),
        ("gone", "only in the first snapshot\n"),
        ("link", "->dir/nested"),
        ("loose", "->no/such/thing"),
        ("caf\u{e9} \u{1f600}", "beyond ASCII\n"),
        ("odd\n\\:name", "odd\n"),
        ("vacant/", ""),
    ];
    home.write_source(&tree);
    fs::write(home.source().join(std::ffi::OsStr::from_bytes(b"latin-1 \xe9")), "no UTF-8\n").unwrap();
    fs::write(home.source().join("noise"), crate::support::noise(20_000, 1)).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o4700);
    fs::set_permissions(home.source().join("empty"), private).unwrap();
    let old = std::time::UNIX_EPOCH - std::time::Duration::from_nanos(5_250_000_000);
    fs::File::options().write(true).open(home.source().join("README")).unwrap().set_modified(old).unwrap();
    home.backup();
    fs::remove_file(home.source().join("gone")).unwrap();
    fs::rename(home.source().join("noise"), home.source().join("dir/noise")).unwrap();
    home.write_source(&[("README", "hello again\n"), ("dir/new", "new\n")]);
    home.backup();

    let vaults = fixtures().join("vaults");
    let _ = fs::remove_dir_all(vaults.join("v1-plain"));
    fs::create_dir_all(&vaults).unwrap();
    crate::support::copy_tree(&home.vault(), &vaults.join("v1-plain"));
    fs::write(vaults.join("v1-plain.key"), fs::read(home.key()).unwrap()).unwrap();
    let report = reader(&[Path::new("verify"), &home.vault(), &home.key()]).unwrap();
    let text = format!("{report:#}\n");
    fs::write(vaults.join("v1-plain.json"), text).unwrap();
}

// The specification.

/// The cells of the specification's table rows whose first cell is code, by that cell.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let cells = |line: &'static str| -> Option<(&'static str, Vec<&'static str>)> {
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ");
        Some((cells.next()?.strip_suffix('`')?, cells.collect()))
    };
    FORMAT.lines().filter_map(cells).collect()
}

#[test]
fn the_specification_gives_the_bounds_of_the_code() {
    macro_rules! bounds {
        ($($name:ident)*) => { BTreeMap::from([$((stringify!($name), limits::$name as u64),)*]) };
    }
    let code = bounds! {
        RECORD_BYTES_MAX CONFIG_BYTES_MAX MAC_FILE_BYTES CHUNK_BYTES_MAX BLOCK_PLAIN_BYTES_MAX BLOCK_STORED_BYTES_MAX
        BLOCK_CHUNKS_MAX PACK_BLOCKS_MAX PACK_CHUNKS_MAX PACK_BYTES_MAX ENTRY_CHUNKS_MAX ENTRY_LISTS_MAX
        LIST_CHUNKS_MAX SEGMENT_ENTRIES_MAX SEGMENT_LIST_MAX MANIFEST_LISTS_MAX OBJECT_BYTES_MAX MANIFEST_PACKS_MAX
        MANIFEST_EXCLUSIONS_MAX PACK_LIST_MAX COMPONENT_BYTES_MAX PATH_BYTES_MAX TARGET_BYTES_MAX XATTRS_MAX
        XATTR_NAME_BYTES_MAX XATTR_INLINE_BYTES_MAX XATTR_BYTES_MAX XATTR_CHUNKS_MAX OWNER_BYTES_MAX
        ENTRY_HOLES_MAX LIST_HOLES_MAX JSON_INTEGER_MAX RECORD_NUMBER_MAX INDEX_BYTES_MAX
    };
    let bound = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let table: BTreeMap<&str, u64> = rows()
        .into_iter()
        .filter(|(name, _)| bound(name))
        .map(|(name, cells)| (name, cells[0].parse().unwrap()))
        .collect();
    assert_eq!(table, code);
    // The same numbers stand in the second reader.
    let reader = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader.py")).unwrap();
    for (name, value) in code {
        assert!(reader.contains(&format!("\n{name} = {value}\n")), "{name} = {value} in reader.py");
    }
}

#[test]
fn the_specification_gives_the_domains_of_the_code() {
    let table: Vec<(&str, String)> = rows()
        .into_iter()
        .filter(|(_, cells)| cells[0].starts_with("`devvault format 1 mac "))
        .map(|(domain, cells)| (domain, cells[0].trim_matches('`').to_owned()))
        .collect();
    let code: Vec<(&str, String)> =
        Domain::ALL.iter().map(|domain| (domain.text(), domain.context().to_owned())).collect();
    assert_eq!(table, code);
}

/// The code blocks of the specification in one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    FORMAT.split(&fence as &str).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The first word after a name that begins a line.
fn example(name: &str) -> &'static str {
    let line = FORMAT.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
    line[name.len()..].split_whitespace().next().unwrap()
}

#[test]
fn the_examples_of_the_specification_are_real() {
    assert_eq!(Digest::of(b"").to_string(), example("BLAKE3(\"\")"));
    assert_eq!(Digest::of(b"hello\n").to_string(), example("BLAKE3(\"hello\\n\")"));

    // Tags.
    let secret = Secret::from_bytes([7; 32]);
    let tag = Macs::new(&secret, Id([1; 16])).tag(Domain::Snapshot, 42, b"bytes");
    let subkey = *secret.subkey(Domain::Snapshot.context(), Id([1; 16]));
    assert_eq!(Digest(subkey).to_string(), example("subkey    "));
    assert_eq!(Digest(tag).to_string(), example("tag       "));
    assert!(FORMAT.contains(&format!("key id     {}\n", secret.key_id())));

    // The small vault: key, vault.json and the three records, in the order of the text.
    let json = blocks("json");
    let key = KeyFile::decode(json[0].as_bytes()).unwrap();
    assert_eq!(*key.encode(), *test_key().encode());
    let macs = Macs::new(key.secret(), key.vault);
    let config_bytes = json[1].trim_end().as_bytes();
    let config = Config::decode(config_bytes).unwrap();
    assert_eq!((config.vault, config.key_id), (key.vault, key.key_id));
    assert_eq!(Digest(macs.tag(Domain::Config, 0, config_bytes)).to_string(), example("vault.hmac"));
    assert_eq!(Digest::of(config_bytes).to_string(), example("BLAKE3 of vault.json"));
    assert!(FORMAT.contains(&format!("\n0:{}\n", Digest::of(config_bytes))));
    let mut predecessor = Digest::of(config_bytes);
    for (at, kind) in RecordKind::ALL.into_iter().enumerate() {
        let bytes = json[2 + at].trim_end().as_bytes();
        let record = Record::decode(bytes, kind).unwrap();
        assert_eq!((record.number, record.predecessor), (at as u64 + 1, predecessor), "{kind:?}");
        assert_eq!((record.vault, record.config), (key.vault, Digest::of(config_bytes)), "{kind:?}");
        let tag = macs.tag(kind.domain(), record.number, bytes);
        assert_eq!(Digest(tag).to_string(), example(&layout::record_mac_file(kind)), "{kind:?}");
        predecessor = Digest::of(bytes);
        if kind != RecordKind::Branch {
            assert!(FORMAT.contains(&format!(" {predecessor}\n")), "{kind:?}");
        }
        if kind == RecordKind::Snapshot {
            assert!(FORMAT.contains(&format!("\n1:{predecessor}\n")));
        }
    }

    // Its listing.
    let (list, segment) = (json[5].as_bytes(), json[6].as_bytes());
    assert_eq!((list.len(), segment.len()), (110, 275));
    assert_eq!(Digest::of(segment).to_string(), example("id of the segment"));
    assert!(FORMAT.contains(&format!("\n{}\n", Digest::of(list))));
    let entries = decode_segment(segment, &part(segment, Some(EntryPath::root()), 2)).unwrap();
    assert_eq!(entries[1].path.as_bytes(), b"hello.txt");
    let parts = decode_segment_list(list, &part(list, Some(EntryPath::root()), 2)).unwrap();
    assert_eq!(parts[0].object, ChunkRef(Digest::of(segment), 275));
    let link: Entry = json::decode(json[7].trim_end().as_bytes()).unwrap();
    assert_eq!((link.path.as_bytes(), link.kind), (&b"caf\xe9"[..], Kind::Symlink(b"../x\t\"y\"".to_vec())));

    // Its pack and index.
    let raw = |offset, content: &[&[u8]], kind| {
        let plain = content.concat();
        let length = u32::try_from(plain.len()).unwrap();
        let chunks = content.iter().map(|chunk| ChunkRef(Digest::of(chunk), chunk.len() as u32)).collect();
        let (stored, encoding, digest) = (length, Encoding::Raw, Digest::of(&plain));
        BlockInfo { offset, stored, plain: length, encoding, kind, digest, chunks }
    };
    let footer = Footer {
        blocks: vec![raw(48, &[b"hello\n"], BlockKind::Data), raw(54, &[segment, list], BlockKind::Listing)],
        body_bytes: 439,
        ..Footer::new(key.vault, Id(std::array::from_fn(|at| 0xc0 + at as u8)))
    };
    let pack = [&header(footer.vault, footer.pack)[..], b"hello\n", segment, list, &footer.encode(&macs)].concat();
    assert_eq!((pack.len(), Digest::of(&pack).to_string().as_str()), (739, example("name     ")));
    let hexadecimal = blocks("text").into_iter().find(|block| block.starts_with("header\n     0")).unwrap();
    let mut shown = 0;
    for line in hexadecimal.lines() {
        let Some((offset, bytes)) = line.trim_start().split_once("  ") else { continue };
        let Ok(offset) = offset.parse::<usize>() else { continue };
        let bytes: Vec<u8> = bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        assert_eq!(pack[offset..offset + bytes.len()], bytes, "at {offset}");
        shown += bytes.len();
    }
    assert_eq!(shown, 739 - 6 - 385);
    let index = index::encode(&macs, &[IndexedPack::new(Digest::of(&pack), 739, footer)]);
    assert_eq!(index.len(), 360);
    let tag = Digest(index[328..].try_into().unwrap());
    assert!(FORMAT.contains(&format!("360 bytes long and its tag is `{tag}`")));
}
