//! A vault whose every byte is known: a literal tree, with fixed time and fixed random bytes.
//!
//! Invariant: two calls write the same bytes, whatever the machine, the locale, the time zone, and the number of threads.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Cases;
use super::scratch::Scratch;
use crate::chunk::Cutter;
use crate::clock::{FixedClock, Time};
use crate::crypto::{Digest, Id, Macs, Random, Secret};
use crate::error::{Error, Result, refuse};
use crate::format::attribute::{Attribute, Value};
use crate::format::config::{Config, Parameters};
use crate::format::entry::{ChunkRef, Chunks, Entry, FileContent, Holes, Kind, ListRef, Owner, encode_chunk_list};
use crate::format::holes::Hole;
use crate::format::keyfile::KeyFile;
use crate::format::pack::BlockKind;
use crate::format::record::{Counts, ExcludedBy, Exclusion, Host, Packs, Snapshot};
use crate::fsys;
use crate::host;
use crate::ops::init;
use crate::path::EntryPath;
use crate::pool::Pool;
use crate::refusal::Code;
use crate::store::{LocalStore, Store};
use crate::vault::catalog::{Catalog, UseIndex};
use crate::vault::gate::{self, Access, Vault, WriteLock};
use crate::vault::layout;
use crate::vault::listing::ListingWriter;
use crate::vault::reliance::{Look, Reliance};
use crate::vault::write::{Draft, Finalized, Origin, reference};

/// Random bytes that are known: the output of BLAKE3 for a seed and a count of calls.
pub struct Seeded {
    seed: u64,
    calls: AtomicU64,
}

impl Seeded {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, calls: AtomicU64::new(0) }
    }
}

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_be_bytes()).update(&call.to_be_bytes());
        hasher.finalize_xof().fill(bytes);
        Ok(())
    }
}

/// Program and version in what is written here: the bytes do not change with the program's version.
const PROGRAM: &str = "devvault conformance";
/// When the vault is made; each snapshot is taken a day after what comes before it.
const MADE: i64 = 1_700_000_000;
const DAY: i64 = 86_400;
/// So small that a few kilobytes make many chunks, blocks, segments and lists.
const PARAMETERS: Parameters = Parameters {
    block_bytes: 1 << 12,
    chunk_bytes_avg: 1 << 10,
    chunk_bytes_max: 1 << 12,
    chunk_bytes_min: 1 << 8,
    pack_bytes: 1 << 14,
    segment_entries: 4,
    segment_list: 4,
};

/// Writes the vault into an empty directory and its key to a new file, with so many threads.
///
/// # Errors
/// The file system refuses.
pub fn write(directory: &Path, key: &Path, host: host::Host, threads: usize) -> Result<()> {
    let random = Arc::new(Seeded::new(1));
    let drawn = |error| Error::environment("draw random bytes", error);
    let (secret, id) = (Secret::drawn(&*random).map_err(drawn)?, Id::drawn(&*random).map_err(drawn)?);
    let failed = |error| Error::environment("write the literal vault", error);
    let file = KeyFile::new(secret.clone(), id, Id([0xb0; 16]), at(0));
    fsys::write_private(key, &file.encode()).map_err(failed)?;
    let store = LocalStore::open(directory).map_err(failed)?;
    let config = Config::new(id, secret.key_id(), at(0), PARAMETERS);
    let config = Config { program: PROGRAM.to_owned(), ..config }.encode();
    init::write_vault(&store, &Macs::new(&secret, id), &config).map_err(failed)?;

    let mut access = Access::new(directory, host);
    access.key_file = Some(key.to_owned());
    access.random = random;
    for (day, tree) in [(1, tree(false)), (2, tree(true))] {
        access.clock = Arc::new(FixedClock(at(day)));
        let (vault, lock) = gate::open_for_writing(&access)?;
        take(&vault, &lock, tree, at(day), threads)?;
    }
    // For people, and not part of the vault.
    match fs::remove_file(directory.join(layout::LOCK_HOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn at(day: i64) -> Time {
    Time { seconds: MADE + day * DAY, nanos: 0 }
}

/// Takes a snapshot of a literal tree.
fn take(vault: &Vault, lock: &WriteLock, tree: Vec<Item>, now: Time, threads: usize) -> Result<()> {
    let catalog = Catalog::load(&*vault.store, &vault.macs, UseIndex::No)
        .map_err(|error| Error::environment("read the literal vault", error))?;
    let pool = Pool::with_threads(threads);
    let (store, macs) = (Arc::clone(&vault.store), Arc::clone(&vault.macs));
    // All of what is relied on is read, as the manifest then says.
    let older = Reliance::new(store, macs, Arc::new(catalog), Look::Whole, pool.clone(), now, BTreeMap::new());
    let host = Host { id: Id([0xb0; 16]), name: "literal".into() };
    let origin = Origin {
        boot: String::new(),
        host: host.id,
        host_name: host.name.clone(),
        pid: 0,
        source: "literal".into(),
        started: now,
    };
    let mut draft = Draft::begin(vault, lock, older, pool, &origin)?;
    let mut writer = ListingWriter::new(&vault.config.parameters);
    let mut counts = Counts::default();
    for item in tree {
        let entry = item.store(&mut draft, vault.config.parameters.chunk_sizes())?;
        counts.add(&entry);
        writer.push(&mut draft, &entry)?;
    }
    let snapshot = Snapshot {
        counts,
        ended: now,
        excluded: vec![Exclusion { by: ExcludedBy::Command, from: None, line: None, objects: 3, rule: "*.tmp".into() }],
        host,
        journal: None,
        left_out: Vec::new(),
        lists: writer.finish(&mut draft)?,
        packs: Packs::Direct(Vec::new()),
        program: PROGRAM.to_owned(),
        quiet: Some(true),
        source: b"/literal/\xff".to_vec(),
        started: now,
        tags: vec!["literal".into()],
        unchanged_by: Vec::new(),
    };
    match draft.finalize(snapshot, &vault.chain, vault.config_digest, &HashSet::new())? {
        // Without an index: it is no part of what must be the same.
        Finalized::Published(_) => Ok(()),
        Finalized::StartOver(_) => refuse(Code::ReadBackDiffers, "the literal vault does not read back"),
    }
}

/// An entry whose content is yet to be stored.
struct Item {
    entry: Entry,
    content: Vec<u8>,
    listed: bool,
}

impl Item {
    fn store(mut self, draft: &mut Draft, sizes: [u32; 3]) -> Result<Entry> {
        if let Kind::File(file) = &mut self.entry.kind {
            let mut chunks = Vec::new();
            let mut rest = &self.content[..];
            for length in Cutter::new(sizes).lengths(&self.content) {
                let (part, after) = rest.split_at(length);
                chunks.push(reference(part));
                draft.put(BlockKind::Data, reference(part), part)?;
                rest = after;
            }
            file.chunks = if self.listed { Chunks::Listed(lists(draft, &chunks)?) } else { Chunks::Direct(chunks) };
        }
        Ok(self.entry)
    }
}

/// Names chunks by lists of three.
fn lists(draft: &mut Draft, chunks: &[ChunkRef]) -> Result<Vec<ListRef>> {
    let mut lists = Vec::new();
    for part in chunks.chunks(3) {
        let bytes = encode_chunk_list(part);
        let object = reference(&bytes);
        draft.put(BlockKind::Listing, object, &bytes)?;
        lists.push(ListRef(object.id(), object.length(), part.iter().map(|chunk| u64::from(chunk.length())).sum()));
    }
    Ok(lists)
}

/// Bytes that do not compress and do not repeat.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The literal tree, or the same a day later: one file changed, one gone, one new.
fn tree(later: bool) -> Vec<Item> {
    let mut items = vec![
        described(directory(b"")),
        file(b"README", if later { b"hello again\n" } else { b"hello\n" }),
        file(b"empty", b""),
        file(b"dir/nested/file", b"deep\n"),
        file(b"dir/nested.txt", b"after the contents of dir/nested\n"),
        directory(b"dir"),
        directory(b"dir/nested"),
        directory(b"vacant"),
        file(b"noise", &noise(20_000, 1)),
        file(b"text", &b"the same line again and again\n".repeat(2_000)),
        Item { listed: true, ..file(b"listed", &noise(12_000, 2)) },
        sparse(b"sparse"),
    ];
    items.push(if later { file(b"new", b"only in the second\n") } else { file(b"gone", b"only in the first\n") });
    items.extend(awkward_names());
    items.extend(other_kinds());
    items.extend(with_metadata());
    items.extend((0..40).map(|n| file(format!("many/{n:02}").as_bytes(), format!("{n}\n").as_bytes())));
    items.push(directory(b"many"));
    items.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    items
}

/// Names that some file system changes, merges, or does not take.
fn awkward_names() -> Vec<Item> {
    let names: [&[u8]; 17] = [
        b"names/case",
        b"names/Case",
        "names/\u{e9}".as_bytes(),
        "names/e\u{301}".as_bytes(),
        "names/\u{1f600}".as_bytes(),
        b"names/latin-1 \xe9",
        b"names/lone surrogate \xed\xa0\x80",
        b"names/dot.",
        b"names/space ",
        b"names/CON",
        b"names/nul.txt",
        b"names/a:b",
        b"names/back\\slash",
        b"names/odd\n\x1b\x7f",
        b"names/*?<>|\"",
        b"names/-rf",
        &[b'l'; 255],
    ];
    let mut items: Vec<Item> = names.into_iter().map(|name| file(name, b"named\n")).collect();
    items.push(directory(b"names"));
    items
}

fn other_kinds() -> Vec<Item> {
    let kinds = [
        (&b"kinds/link"[..], Kind::Symlink(b"../dir/nested".to_vec())),
        (b"kinds/loose", Kind::Symlink(b"/no/such/\xff".to_vec())),
        (b"kinds/junction", Kind::Junction(b"C:\\else where".to_vec())),
        (b"kinds/fifo", Kind::Fifo),
        (b"kinds/socket", Kind::Socket),
        (b"kinds/block", Kind::Block(8, 1)),
        (b"kinds/character", Kind::Character(1, 3)),
    ];
    let mut items: Vec<Item> = kinds.into_iter().map(|(name, kind)| item(name, kind)).collect();
    items.push(directory(b"kinds"));
    items
}

/// Entries that say everything that an entry can say.
fn with_metadata() -> Vec<Item> {
    let attribute = |name: &str, value: &[u8]| Attribute { name: name.into(), value: Value::Inline(value.to_vec()) };
    let owner = |uid, gid, user: &str, group: &str| Owner {
        uid,
        gid,
        user: (!user.is_empty()).then(|| user.to_owned()),
        group: (!group.is_empty()).then(|| group.to_owned()),
    };
    let unix = |item: Item| {
        let mut entry = Entry {
            mode: Some(0o4750),
            mtime: Some(Time { seconds: -6, nanos: 750_000_000 }),
            owner: Some(owner(54_321, u32::MAX - 1, "someone", "")),
            xattrs: vec![attribute("user.bytes", &[0, 255]), attribute("user.text", b"text")],
            links: Some(2),
            ..item.entry
        };
        if let Kind::File(file) = &mut entry.kind {
            file.ctime = Some(Time { seconds: i64::from(i32::MAX) + 1, nanos: 999_999_999 });
            file.ino = Some(u64::MAX);
            file.racy = true;
        }
        Item { entry, ..item }
    };
    let first = unix(file(b"metadata/first", b"linked\n"));
    let second = unix(file(b"metadata/second", b"linked\n"));
    let second = Item { entry: Entry { hardlink: Some(first.entry.path.clone()), ..second.entry }, ..second };
    let windows = file(b"metadata/windows", b"attributes and streams\n");
    let windows = Item {
        entry: Entry {
            attributes: Some(0x2),
            created: Some(Time { seconds: 1, nanos: 100 }),
            streams: vec![attribute("Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n")],
            ..windows.entry
        },
        ..windows
    };
    let apple = file(b"metadata/apple", b"flags\n");
    let apple = Item { entry: Entry { flags: Some(0x8000), ..apple.entry }, ..apple };
    vec![described(directory(b"metadata")), first, second, windows, apple]
}

/// Gives an entry mode, time and owner.
fn described(item: Item) -> Item {
    let owner = Owner { uid: 0, gid: 0, user: Some("root".into()), group: Some("root".into()) };
    let mtime = Some(Time { seconds: 1_234_567_890, nanos: 123_456_789 });
    Item { entry: Entry { mode: Some(0o755), mtime, owner: Some(owner), ..item.entry }, ..item }
}

fn item(path: &[u8], kind: Kind) -> Item {
    let path = EntryPath::parse(path).expect("the paths of the literal tree are valid");
    Item { entry: Entry::new(path, kind), content: Vec::new(), listed: false }
}

fn directory(path: &[u8]) -> Item {
    item(path, Kind::Directory)
}

fn file(path: &[u8], content: &[u8]) -> Item {
    let kind = Kind::File(FileContent { size: content.len() as u64, ..FileContent::default() });
    Item { content: content.to_vec(), ..item(path, kind) }
}

/// A file with a hole before, between and behind its data.
fn sparse(path: &[u8]) -> Item {
    const LONG: u64 = 1 << 18;
    let holes = vec![Hole(0, LONG), Hole(LONG + 6, LONG), Hole(2 * LONG + 12, 4096)];
    let size = 2 * LONG + 12 + 4096;
    Item {
        content: b"first\nsecond".to_vec(),
        ..item(path, Kind::File(FileContent { size, holes: Holes::Direct(holes), ..FileContent::default() }))
    }
}

/// Writes the vault with one thread and with several, and says what every file of it is.
pub(super) fn run(scratch: &Scratch, cases: &mut Cases) {
    for (name, threads) in [("one thread", 1), ("four threads", 4)] {
        let said = scratch.directory(name).map_err(|error| Error::environment("make a directory", error));
        let said = said.and_then(|directory| {
            let host = scratch.host(name);
            let key = scratch.place().join(format!("{name}.key"));
            write(&directory, &key, host, threads)?;
            files(&directory).map_err(|error| Error::environment("read the literal vault", error))
        });
        match said {
            Ok(files) => cases.extend(files.into_iter().map(|(file, said)| (format!("literal, {name}/{file}"), said))),
            Err(error) => drop(cases.insert(format!("literal, {name}"), super::examine::refused(&error))),
        }
    }
}

/// Returns every file of a vault: a record as it is, of all others length and digest.
fn files(vault: &Path) -> io::Result<Vec<(String, String)>> {
    let store = LocalStore::open(vault)?;
    let mut files = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for listed in store.list(&directory)? {
            let name = if directory.is_empty() { listed.name } else { format!("{directory}/{}", listed.name) };
            if listed.kind == crate::store::NameKind::Directory {
                directories.push(name);
                continue;
            }
            let bytes = store.read(&name, 1 << 24)?;
            let said = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(other) => format!("{} bytes, {}", other.as_bytes().len(), Digest::of(other.as_bytes())),
            };
            files.push((name, said));
        }
    }
    Ok(files)
}
