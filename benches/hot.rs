//! The hot parts by themselves, on data like a source tree: cutting, hashing, blocks, listings, the catalog, the walk.
//!
//! `cargo bench` runs them. The figures are for comparing two versions on one machine, one after the other.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should say where")]

use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;

use devvault::chunk::Cutter;
use devvault::clock::Time;
use devvault::crypto::Digest;
use devvault::format::config::Parameters;
use devvault::format::entry::{ChunkRef, Chunks, Entry, FileContent, Holes, Kind};
use devvault::format::json;
use devvault::format::listing::{PartRef, decode_segment};
use devvault::format::pack::{BlockInfo, BlockKind, Decoder, Encoder};
use devvault::fsys::Dir;
use devvault::fsys::walk::{Decision, walk};
use devvault::host::Host;
use devvault::ops::{backup, init};
use devvault::path::EntryPath;
use devvault::progress::Silent;
use devvault::vault::catalog::UseIndex;
use devvault::vault::gate::{self, Access};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tempfile::TempDir;

fn main() {
    divan::main();
}

/// Text that compresses like source code.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 100);
    let mut state = 1u64;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (name, value) = (state >> 52, (state >> 40) & 0xfff);
        writeln!(text, "    let value_{name} = compute(value_{value}, {});", state >> 44).unwrap();
    }
    text.truncate(bytes);
    text.into_bytes()
}

const BLOCK_BYTES: usize = 1 << 20;

#[divan::bench]
fn cut(bencher: Bencher) {
    let content = text(8 * BLOCK_BYTES);
    let cutter = Cutter::new(Parameters::default().chunk_sizes());
    bencher.counter(BytesCount::of_slice(&content)).bench(|| cutter.lengths(black_box(&content)));
}

#[divan::bench]
fn hash(bencher: Bencher) {
    let content = text(BLOCK_BYTES);
    bencher.counter(BytesCount::of_slice(&content)).bench(|| Digest::of(black_box(&content)));
}

#[divan::bench]
fn encode_block(bencher: Bencher) {
    let content = text(BLOCK_BYTES);
    let mut encoder = Encoder::new(3).unwrap();
    bencher
        .counter(BytesCount::of_slice(&content))
        .with_inputs(|| content.clone())
        .bench_local_values(|plain| encoder.encode(plain).unwrap());
}

#[divan::bench]
fn decode_block(bencher: Bencher) {
    let content = text(BLOCK_BYTES);
    let chunk = ChunkRef(Digest::of(&content), BLOCK_BYTES as u32);
    let (encoding, stored) = Encoder::new(3).unwrap().encode(content.clone()).unwrap();
    let info = BlockInfo {
        offset: 0,
        stored: stored.len() as u32,
        plain: BLOCK_BYTES as u32,
        encoding,
        kind: BlockKind::Data,
        digest: Digest::of(&stored),
        chunks: vec![chunk],
    };
    let (mut decoder, mut plain) = (Decoder::new().unwrap(), Vec::new());
    bencher
        .counter(BytesCount::of_slice(&content))
        .bench_local(|| decoder.decode(black_box(&info), black_box(&stored), &mut plain).unwrap());
}

/// A segment of files, as bytes, and what names it.
fn segment(entries: u64) -> (Vec<Entry>, Vec<u8>, PartRef) {
    let entries: Vec<Entry> = (0..entries)
        .map(|number| {
            let path = EntryPath::parse(format!("file-{number:06}.rs").as_bytes()).unwrap();
            let chunk = ChunkRef(Digest::of(&number.to_be_bytes()), 4_000);
            let content = FileContent {
                size: 4_000,
                holes: Holes::none(),
                chunks: Chunks::Direct(vec![chunk]),
                ctime: Some(Time { seconds: 1_700_000_000, nanos: 5 }),
                ino: Some(1_000_000 + number),
                racy: false,
            };
            Entry { mode: Some(0o644), mtime: content.ctime, ..Entry::new(path, Kind::File(content)) }
        })
        .collect();
    let bytes = json::encode_lines(&entries);
    let object = ChunkRef(Digest::of(&bytes), bytes.len() as u32);
    let part = PartRef { entries: entries.len() as u64, first: entries[0].path.clone(), object };
    (entries, bytes, part)
}

#[divan::bench]
fn encode_segment(bencher: Bencher) {
    let (entries, ..) = segment(512);
    bencher.counter(ItemsCount::new(entries.len())).bench(|| json::encode_lines(black_box(&entries)));
}

#[divan::bench]
fn decode_segment_entries(bencher: Bencher) {
    let (entries, bytes, part) = segment(512);
    bencher.counter(ItemsCount::new(entries.len())).bench(|| decode_segment(black_box(&bytes), &part).unwrap());
}

/// A vault with a snapshot of many small files, and its source.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: TempDir::with_prefix("devvault-bench-").unwrap() };
        let content = text(200 * 4_000);
        for (number, part) in content.chunks(200).enumerate() {
            let directory = place.root.path().join("source").join(format!("{:03}", number / 50));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(format!("{number:06}")), [part, &number.to_be_bytes()].concat()).unwrap();
        }
        init::run(&place.access(), Parameters::default()).unwrap();
        backup::run(&place.access(), &place.source(), &backup::Options::default(), &Silent).unwrap();
        place
    }

    fn source(&self) -> std::path::PathBuf {
        self.root.path().join("source")
    }

    fn access(&self) -> Access {
        let [config, state, data, vault] = ["config", "state", "data", "vault"].map(|name| self.root.path().join(name));
        Access::new(vault, Host::new(config, state, data))
    }
}

#[divan::bench]
fn load_catalog(bencher: Bencher) {
    let place = Place::new();
    let vault = gate::open(&place.access()).unwrap();
    bencher.bench(|| vault.catalog(UseIndex::Yes).unwrap());
}

#[divan::bench]
fn look_up_chunk(bencher: Bencher) {
    let place = Place::new();
    let catalog = gate::open(&place.access()).unwrap().catalog(UseIndex::Yes).unwrap();
    let absent = ChunkRef(Digest::of(b"absent"), 6);
    bencher.bench(|| catalog.holds(black_box(absent)));
}

#[divan::bench]
fn walk_tree(bencher: Bencher) {
    let place = Place::new();
    bencher.bench(|| {
        let root = Dir::open(&place.source()).unwrap();
        let mut objects = 0u64;
        walk(
            root,
            |_, _| Decision::Take,
            |_| {
                objects += 1;
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        objects
    });
}
