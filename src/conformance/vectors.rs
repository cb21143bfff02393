//! Test vectors: bytes that every reader takes, and bytes that every reader refuses. The name of each is the claim.

use std::fmt::Debug;
use std::fs;
use std::io;

use serde::Deserialize;
use tempfile::TempDir;

use super::scratch::{self, Scratch};
use super::{Cases, Fixtures};
use crate::crypto::{Digest, Macs};
use crate::error::{Error, Result};
use crate::format::config::Config;
use crate::format::entry::{ChunkRef, Entry, decode_chunk_list, decode_hole_list, encode_chunk_list, encode_hole_list};
use crate::format::index;
use crate::format::json;
use crate::format::keyfile::KeyFile;
use crate::format::listing::{PartRef, decode_segment, decode_segment_list};
use crate::format::pack::Footer;
use crate::format::record::{Head, Record, RecordKind, decode_pack_list};
use crate::path::EntryPath;
use crate::pool::Pool;
use crate::store::LocalStore;
use crate::vault::chain::{Chain, decode_mac_file, encode_mac_file};
use crate::vault::check::check_file;
use crate::vault::layout;

/// What a decoder makes of a vector: the bytes that its value encodes to, or why it is refused.
pub type Decoded = Result<Vec<u8>, String>;

/// Where the vectors lie among the fixtures.
const PREFIX: &str = "vectors/";
const KEY: &str = "vectors/test.key";

/// Decides every vector; those that are files of a vault are written where the cases run.
pub(super) fn run(fixtures: &Fixtures, scratch: &Scratch, cases: &mut Cases) -> Result<()> {
    let key = fixtures.get(KEY).unwrap_or_default();
    let key = KeyFile::decode(key)
        .map_err(|error| Error::environment(format!("read {KEY}"), io::Error::other(format!("{error:?}"))))?;
    let macs = Macs::new(key.secret(), key.vault);
    for (name, bytes) in fixtures.below(PREFIX) {
        let Some((side, claim)) = name.split_once('/') else { continue };
        let decided = match decode(claim, bytes, &macs, || TempDir::new_in(scratch.place())) {
            Ok(again) if again == bytes => "accepted, and encodes to the same bytes".into(),
            Ok(again) => format!("accepted, and encodes to other bytes: {}", Digest::of(&again)),
            Err(reason) => format!("refused: {reason}"),
        };
        cases.insert(format!("vector/{side}/{claim}"), decided);
    }
    Ok(())
}

/// Decodes a vector by the first word of its name; `directory` makes a directory for those that take one.
///
/// # Errors
/// Why it is refused. What depends on the platform is left out of the reason.
pub fn decode(name: &str, bytes: &[u8], macs: &Macs, directory: impl Fn() -> io::Result<TempDir>) -> Decoded {
    match name.split('-').next().unwrap_or_default() {
        "config" => Config::decode(bytes).map(|config| config.encode()).map_err(said),
        "key" => KeyFile::decode(bytes).map(|key| key.encode().to_vec()).map_err(said),
        "mac" => decode_mac_file(bytes).map(encode_mac_file).ok_or_else(|| "no hmac file".into()),
        "snapshot" => record(bytes, RecordKind::Snapshot),
        "tombstone" => record(bytes, RecordKind::Tombstone),
        "branch" => record(bytes, RecordKind::Branch),
        "entry" => json::decode::<Entry>(bytes).map(|entry| json::encode(&entry)).map_err(said),
        "segment" => segment(bytes),
        "segments" => segment_list(bytes),
        "chunks" => decode_chunk_list(bytes).map(|chunks| encode_chunk_list(&chunks)).map_err(said),
        "holes" => decode_hole_list(bytes).map(|holes| encode_hole_list(&holes)).map_err(said),
        "packs" => decode_pack_list(bytes).map(|packs| json::encode_lines(&packs)).map_err(said),
        "footer" => Footer::decode(bytes, macs).map(|footer| footer.encode(macs)).map_err(said),
        "pack" => whole_pack(bytes, macs, &directory),
        "index" => index::decode(macs, bytes).map(|packs| index::encode(macs, &packs)).map_err(said),
        "head" => head(bytes),
        "chain" => chain(bytes, macs, &directory),
        other => Err(format!("no decoder for vectors that begin with {other}")),
    }
}

fn said(error: impl Debug) -> String {
    format!("{error:?}")
}

fn record(bytes: &[u8], kind: RecordKind) -> Decoded {
    Record::decode(bytes, kind).map(|record| record.encode()).map_err(said)
}

/// Returns a part that says of an object what the object says of itself.
///
/// # Errors
/// The object is longer than an object can be.
pub fn part(bytes: &[u8], first: Option<EntryPath>, entries: u64) -> Result<PartRef, String> {
    let object = ChunkRef(Digest::of(bytes), u32::try_from(bytes.len()).map_err(said)?);
    Ok(PartRef { entries, first: first.unwrap_or_default(), object })
}

fn segment(bytes: &[u8]) -> Decoded {
    let entries: Vec<Entry> = json::decode_lines(bytes, usize::MAX).map_err(said)?;
    let part = part(bytes, entries.first().map(|entry| entry.path.clone()), entries.len() as u64)?;
    decode_segment(bytes, &part).map(|entries| json::encode_lines(&entries)).map_err(said)
}

/// Decodes a segment list as if something named it rightly.
///
/// # Errors
/// Why it is refused.
pub fn segment_list(bytes: &[u8]) -> Decoded {
    let parts: Vec<PartRef> = json::decode_lines(bytes, usize::MAX).map_err(said)?;
    let entries = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.entries));
    let part = part(bytes, parts.first().map(|part| part.first.clone()), entries)?;
    decode_segment_list(bytes, &part).map(|parts| json::encode_lines(&parts)).map_err(said)
}

fn whole_pack(bytes: &[u8], macs: &Macs, directory: &dyn Fn() -> io::Result<TempDir>) -> Decoded {
    let root = directory().map_err(said)?;
    let path = layout::pack_path(&Digest::of(bytes));
    scratch::write(root.path(), &path, bytes).map_err(said)?;
    let store = LocalStore::open(root.path()).map_err(said)?;
    // The detail may hold the words of an operating system.
    let check = check_file(&store, macs, &path, &Pool::with_threads(1), &mut |_| {})
        .map_err(|finding| finding.code.to_string())?;
    match check.findings.first() {
        Some(finding) => Err(finding.code.to_string()),
        None if check.name != Some(Digest::of(bytes)) => Err("another name".into()),
        None => Ok(bytes.to_vec()),
    }
}

fn head(bytes: &[u8]) -> Decoded {
    let text = std::str::from_utf8(bytes).map_err(said)?;
    text.parse::<Head>().map(|head| head.to_string().into_bytes()).map_err(said)
}

/// A chain as a vector: the files of a vault, its head and its snapshots.
#[derive(Deserialize)]
struct ChainVector {
    files: std::collections::BTreeMap<String, String>,
    head: String,
    snapshots: Vec<u64>,
}

fn chain(bytes: &[u8], macs: &Macs, directory: &dyn Fn() -> io::Result<TempDir>) -> Decoded {
    let vector: ChainVector = serde_json::from_slice(bytes).map_err(said)?;
    let root = directory().map_err(said)?;
    for (path, content) in &vector.files {
        scratch::write(root.path(), path, content.as_bytes()).map_err(said)?;
    }
    fs::create_dir_all(root.path().join(layout::SNAPSHOTS)).map_err(said)?;
    let config = vector.files.get(layout::CONFIG).map(|config| Digest::of(config.as_bytes()));
    let store = LocalStore::open(root.path()).map_err(said)?;
    let chain = Chain::read(&store, macs, config).map_err(said)?;
    if let Some(finding) = chain.findings.first() {
        return Err(format!("{} {}", finding.code, finding.subject));
    }
    let snapshots: Vec<u64> = chain.snapshots().map(|(number, _)| number).collect();
    if vector.head != chain.head().to_string() || vector.snapshots != snapshots {
        return Err(format!("head {}, snapshots {snapshots:?}", chain.head()));
    }
    Ok(bytes.to_vec())
}
