//! Fuzz targets: everything that reads bytes of a vault, a key, a journal or a bundle, and a whole small vault.
//!
//! `DEVVAULT_FUZZ` names the target. A parser must not panic, must stay within its bounds, and must take nothing that it
//! would write otherwise. Of a vault after any damage: a listing or content that reads is what it was, and a snapshot that
//! a verification calls valid reads to its end.

#![no_main]

#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../proof/memory.rs"]
mod memory;
mod vault;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use devvault::crypto::{Digest, Domain, Id, MAC_BYTES, Macs};
use devvault::format::config::Config;
use devvault::format::entry::{
    ChunkRef, Entry, decode_chunk_list, decode_hole_list, encode_chunk_list, encode_hole_list,
};
use devvault::format::keyfile::KeyFile;
use devvault::format::listing::{PartRef, decode_segment, decode_segment_list};
use devvault::format::pack::{BlockInfo, BlockKind, Decoder, Encoding, Footer};
use devvault::format::record::{Head, Record, RecordKind, decode_pack_list};
use devvault::format::{index, json};
use devvault::host::Host;
use devvault::incident::journal::Journal;
use devvault::ops::diff::Side;
use devvault::ops::find::Size;
use devvault::ops::select::{Place, Selector};
use devvault::ops::{evidence, trace};
use devvault::path::EntryPath;
use devvault::vault::chain::{claimed_vault, decode_mac_file, encode_mac_file};
use devvault::vault::sealed;
use devvault::vault::witness::Witness;

/// The targets; `run` asks for them.
const TARGETS: [&str; 13] = [
    "config", "key", "record", "segment", "list", "footer", "index", "block", "sealed", "journal", "bundle", "text",
    "vault",
];

fn target() -> &'static str {
    static TARGET: OnceLock<String> = OnceLock::new();
    let name = TARGET.get_or_init(|| std::env::var("DEVVAULT_FUZZ").unwrap_or_default());
    assert!(TARGETS.contains(&name.as_str()), "DEVVAULT_FUZZ names one of {TARGETS:?}");
    name
}

fn macs() -> &'static Macs {
    static MACS: OnceLock<Macs> = OnceLock::new();
    MACS.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/test.key");
        let key = KeyFile::decode(&fs::read(path).expect("a fixture")).expect("a key");
        Macs::new(key.secret(), key.vault)
    })
}

/// A part that says of an object what the object says of itself.
fn part(bytes: &[u8], first: Option<EntryPath>, entries: u64) -> Option<PartRef> {
    let object = ChunkRef(Digest::of(bytes), u32::try_from(bytes.len()).ok()?);
    Some(PartRef { entries, first: first.unwrap_or_default(), object })
}

/// Holds a parser to what it would have written.
fn require_same(decoded: Option<Vec<u8>>, bytes: &[u8]) {
    if let Some(again) = decoded {
        assert_eq!(again, bytes, "{} takes what it would not write", target());
    }
}

/// Every kind of record, of the same bytes: one parser reads them.
fn record(bytes: &[u8]) {
    let _ = claimed_vault(bytes);
    for kind in RecordKind::ALL {
        require_same(Record::decode(bytes, kind).ok().map(|record| record.encode()), bytes);
    }
}

/// One entry, and a part of a listing that has the right digest.
fn segment(bytes: &[u8]) {
    require_same(json::decode::<Entry>(bytes).ok().map(|entry| json::encode(&entry)), bytes);
    require_same(decoded_segment(bytes), bytes);
}

fn decoded_segment(bytes: &[u8]) -> Option<Vec<u8>> {
    let entries: Vec<Entry> = json::decode_lines(bytes, usize::MAX).ok()?;
    let part = part(bytes, entries.first().map(|entry| entry.path.clone()), entries.len() as u64)?;
    decode_segment(bytes, &part).ok().map(|entries| json::encode_lines(&entries))
}

/// Every kind of list that a listing or a record keeps elsewhere.
fn list(bytes: &[u8]) {
    require_same(decoded_segment_list(bytes), bytes);
    require_same(decode_chunk_list(bytes).ok().map(|chunks| encode_chunk_list(&chunks)), bytes);
    require_same(decode_hole_list(bytes).ok().map(|holes| encode_hole_list(&holes)), bytes);
    require_same(decode_pack_list(bytes).ok().map(|packs| json::encode_lines(&packs)), bytes);
}

fn decoded_segment_list(bytes: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<PartRef> = json::decode_lines(bytes, usize::MAX).ok()?;
    let entries = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.entries))?;
    let part = part(bytes, parts.first().map(|part| part.first.clone()), entries)?;
    decode_segment_list(bytes, &part).ok().map(|parts| json::encode_lines(&parts))
}

/// A whole footer as it lies in a pack, and its table as if whoever holds the key had written it.
fn footer(bytes: &[u8]) {
    if let Ok(footer) = Footer::decode(bytes, macs()) {
        assert!(bytes.ends_with(&footer.encode(macs())));
    }
    let _ = Footer::decode_unproven(bytes);
    require_same(Footer::decode_table(bytes).ok().map(|footer| footer.encode_table()), bytes);
}

/// An index with the right tag.
fn tagged_index(bytes: &[u8]) {
    let Some(body) = bytes.len().checked_sub(MAC_BYTES).and_then(|length| bytes.get(..length)) else { return };
    let tagged = [body, &macs().tag(Domain::Index, 0, body)].concat();
    require_same(index::decode(macs(), &tagged).ok().map(|packs| index::encode(macs(), &packs)), &tagged);
}

/// A witness with the right tag.
fn tagged_witness(bytes: &[u8]) {
    let Some(split) = bytes.len().checked_sub(65) else { return };
    let tag = encode_mac_file(macs().tag(Domain::Witness, 0, &bytes[..split]));
    let tagged = [&bytes[..split], &tag].concat();
    let witness: Option<Witness> = sealed::decode(&tagged, macs(), Domain::Witness).ok();
    require_same(witness.map(|witness| sealed::encode(&witness, macs(), Domain::Witness)), &tagged);
}

/// Decompresses bytes of which a footer says what they are.
fn block(bytes: &[u8]) {
    let Some((length, stored)) = bytes.split_at_checked(3) else { return };
    let plain = u32::from_be_bytes([0, length[0], length[1], length[2]]);
    let info = BlockInfo {
        offset: 0,
        stored: stored.len() as u32,
        plain,
        encoding: Encoding::Zstd,
        kind: BlockKind::Data,
        digest: Digest::of(stored),
        chunks: Vec::new(),
    };
    let mut out = Vec::new();
    let mut decoder = Decoder::new().expect("memory");
    if decoder.decode(&info, stored, &mut out).is_ok() {
        assert_eq!(out.len(), plain as usize);
    }
    assert!(out.capacity() <= (1 << 24) + 4096, "{} bytes for {plain}", out.capacity());
}

/// A file that lies in memory where the system has a place for that.
fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = if Path::new("/dev/shm").is_dir() {
        tempfile::NamedTempFile::new_in("/dev/shm")
    } else {
        tempfile::NamedTempFile::new()
    };
    let file = file.expect("room");
    fs::write(file.path(), bytes).expect("room");
    file
}

/// What is written in a line: by hand, in an argument, or by the program in a file of one line.
fn text(bytes: &[u8]) {
    require_same(decode_mac_file(bytes).map(encode_mac_file), bytes);
    let _ = EntryPath::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    require_same(text.parse::<Head>().ok().map(|head| head.to_string().into_bytes()), bytes);
    let _ = text.parse::<Selector>();
    let _ = Side::of(text.as_ref());
    let _ = text.parse::<Size>();
    let _ = text.parse::<trace::Target>();
    let _ = text.parse::<Id>();
    let _ = devvault::ops::backup::check_pattern(text);
    if let Ok(place) = text.parse::<Place>() {
        assert!(place.path.components().all(|component| component != b".." && component != b"."));
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match target() {
        "config" => require_same(Config::decode(bytes).ok().map(|config| config.encode()), bytes),
        "key" => require_same(KeyFile::decode(bytes).ok().map(|key| key.encode().to_vec()), bytes),
        "record" => record(bytes),
        "segment" => segment(bytes),
        "list" => list(bytes),
        "footer" => footer(bytes),
        "index" => tagged_index(bytes),
        "block" => block(bytes),
        "sealed" => tagged_witness(bytes),
        "journal" => {
            let _ = Journal::each_readable(file(bytes).path(), |_, _| ());
        }
        "bundle" => {
            let host = Host::new("/nowhere/config", "/nowhere/state", "/nowhere/data");
            let _ = evidence::verify(&host, None, file(bytes).path());
        }
        "text" => text(bytes),
        "vault" => vault::try_damage(bytes),
        other => unreachable!("{other} is no target"),
    }
});
