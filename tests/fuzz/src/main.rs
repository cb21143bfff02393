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

use devvault::conformance::Report;
use devvault::crypto::{Digest, Domain, Id, MAC_BYTES, Macs};
use devvault::format::index;
use devvault::format::keyfile::KeyFile;
use devvault::format::pack::{BlockInfo, BlockKind, Decoder, Encoding, Footer};
use devvault::host::Host;
use devvault::incident::journal::Journal;
use devvault::ops::diff::Side;
use devvault::ops::find::Size;
use devvault::ops::receipt::Receipt;
use devvault::ops::select::{Place, Selector};
use devvault::ops::{evidence, trace};
use devvault::path::EntryPath;
use devvault::vault::chain::{claimed_vault, encode_mac_file};
use devvault::vault::sealed;
use devvault::vault::witness::Witness;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The targets; `run` asks for them. What reads with the same reader is tried on the same bytes, in one target.
const TARGETS: [&str; 9] = ["document", "record", "listing", "table", "block", "journal", "bundle", "text", "vault"];

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

/// Holds a parser to what it would have written.
fn require_same(decoded: Option<Vec<u8>>, bytes: &[u8]) {
    if let Some(again) = decoded {
        assert_eq!(again, bytes, "{} takes what it would not write", target());
    }
}

/// Holds parsers of kinds that have vectors to what they would have written.
fn vectors(kinds: &[&str], bytes: &[u8]) {
    for kind in kinds {
        let directory = || unreachable!("no {kind} takes a directory");
        require_same(devvault::conformance::vectors::decode(kind, bytes, macs(), directory).ok(), bytes);
    }
}

/// What is one document.
fn document(bytes: &[u8]) {
    vectors(&["config", "key"], bytes);
    require_same(Report::decode(bytes).ok().map(|report| report.encode()), bytes);
    tagged::<Witness>(bytes, Domain::Witness);
    tagged::<Receipt>(bytes, Domain::Receipt);
}

/// A document with the right tag.
fn tagged<T: DeserializeOwned + Serialize>(bytes: &[u8], domain: Domain) {
    let Some(split) = bytes.len().checked_sub(65) else { return };
    let tag = encode_mac_file(macs().tag(domain, 0, &bytes[..split]));
    let tagged = [&bytes[..split], &tag].concat();
    let value: Option<T> = sealed::decode(&tagged, macs(), domain).ok();
    require_same(value.map(|value| sealed::encode(&value, macs(), domain)), &tagged);
}

/// What is written in a line: by hand, in an argument, or by the program in a file of one line.
fn text(bytes: &[u8]) {
    vectors(&["mac", "head"], bytes);
    let _ = EntryPath::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
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

/// Every kind of record, of the same bytes: one parser reads them.
fn record(bytes: &[u8]) {
    let _ = claimed_vault(bytes);
    vectors(&["snapshot", "tombstone", "branch"], bytes);
}

/// One entry, a part of a listing that has the right digest, and every list that a listing or a record keeps elsewhere.
fn listing(bytes: &[u8]) {
    vectors(&["entry", "segment", "segments", "chunks", "holes", "packs"], bytes);
}

/// A table of blocks: as a whole footer in a pack, as if whoever holds the key had written it, and in an index.
fn table(bytes: &[u8]) {
    if let Ok(footer) = Footer::decode(bytes, macs()) {
        assert!(bytes.ends_with(&footer.encode(macs())));
    }
    let _ = Footer::decode_unproven(bytes);
    require_same(Footer::decode_table(bytes).ok().map(|footer| footer.encode_table()), bytes);
    tagged_index(bytes);
}

/// An index with the right tag.
fn tagged_index(bytes: &[u8]) {
    let Some(body) = bytes.len().checked_sub(MAC_BYTES).and_then(|length| bytes.get(..length)) else { return };
    let tagged = [body, &macs().tag(Domain::Index, 0, body)].concat();
    require_same(index::decode(macs(), &tagged).ok().map(|packs| index::encode(macs(), &packs)), &tagged);
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

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match target() {
        "document" => document(bytes),
        "record" => record(bytes),
        "listing" => listing(bytes),
        "table" => table(bytes),
        "block" => block(bytes),
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
