//! Structured damage to a whole small vault: a listing that reads, and content that reads, is what it was before, and a
//! verification calls no snapshot valid that does not read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use devvault::crypto::{Digest, Macs};
use devvault::format::entry::Entry;
use devvault::format::keyfile::KeyFile;
use devvault::format::record::Snapshot;
use devvault::host::Host;
use devvault::ops::select::Selector;
use devvault::ops::verify::{self, Level, Verdict};
use devvault::pool::Pool;
use devvault::progress::Silent;
use devvault::store::Store;
use devvault::vault::Finding;
use devvault::vault::catalog::{Catalog, UseIndex};
use devvault::vault::chain::Chain;
use devvault::vault::gate::Access;
use devvault::vault::read::Reader;

use crate::memory::{Memory, World};

struct Small {
    world: World,
    files: Vec<(String, usize)>,
    key: Vec<u8>,
    macs: Macs,
    config: Digest,
    snapshots: BTreeMap<u64, Held>,
}

/// What the undamaged vault holds of a snapshot.
struct Held {
    snapshot: Snapshot,
    entries: Vec<Entry>,
    /// The digest of what each of them needs.
    contents: Vec<Digest>,
}

/// How much of a snapshot reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reads {
    Listing,
    Everything,
}

fn small() -> &'static Small {
    static SMALL: OnceLock<Small> = OnceLock::new();
    SMALL.get_or_init(|| {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vaults");
        let bytes = fs::read(fixtures.join("v1-plain.key")).expect("a fixture");
        let key = KeyFile::decode(&bytes).expect("a key");
        let root = fixtures.join("v1-plain");
        let world = World::load(&root);
        let mut small = Small {
            files: world.files(),
            world,
            key: bytes,
            macs: Macs::new(key.secret(), key.vault),
            config: Digest::of(&fs::read(root.join("vault.json")).expect("a fixture")),
            snapshots: BTreeMap::new(),
        };
        let store = Memory::new(small.world.clone());
        let (chain, reader) = open(&small, &store).expect("a whole vault");
        for (number, snapshot) in chain.snapshots() {
            let (entries, whole) = entries(&reader, snapshot);
            assert!(whole, "a whole listing");
            let contents = entries.iter().map(|entry| content(&reader, entry).expect("whole content")).collect();
            small.snapshots.insert(number, Held { snapshot: snapshot.clone(), entries, contents });
        }
        let everything = small.snapshots.keys().map(|number| (*number, Reads::Everything)).collect();
        assert!(small.snapshots.len() > 1);
        for choice in 0..4 {
            let valid = judge(&small, &store, choice, &everything);
            assert_eq!(valid, if choice == 3 { 1 } else { small.snapshots.len() }, "nothing is damaged");
        }
        small
    })
}

fn open(small: &Small, store: &Arc<Memory>) -> Option<(Chain, Arc<Reader>)> {
    let chain = Chain::read(&**store, &small.macs, Some(small.config)).ok()?;
    let catalog = Catalog::load(&**store, &small.macs, UseIndex::Yes).ok()?;
    let store = Arc::clone(store);
    Some((chain, Arc::new(Reader::new(store, Arc::new(small.macs.clone()), Arc::new(catalog)))))
}

/// Returns the entries of a snapshot as far as they read, and whether that is all of them.
fn entries(reader: &Arc<Reader>, snapshot: &Snapshot) -> (Vec<Entry>, bool) {
    let pool = Pool::with_threads(1);
    let mut entries = Vec::new();
    for batch in reader.entries(&pool, &snapshot.lists) {
        let Ok(batch) = batch else { return (entries, false) };
        entries.extend(batch.entries);
    }
    (entries, true)
}

/// Returns the digest of everything that an entry needs.
fn content(reader: &Reader, entry: &Entry) -> Result<Digest, Finding> {
    let mut hasher = blake3::Hasher::new();
    reader.each_needed(entry, |chunk| {
        hasher.update(&reader.chunk(chunk)?);
        Ok::<_, Finding>(())
    })?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Verifies as a host that has not seen the vault before: everything, everything but the content, or by number. What is
/// called valid must read. Returns how many snapshots are called valid.
fn judge(small: &Small, store: &Arc<Memory>, choice: u8, read: &BTreeMap<u64, Reads>) -> usize {
    let memory = Path::new("/dev/shm");
    let home = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let home = home.expect("room");
    let key = home.path().join("vault.key");
    fs::write(&key, &small.key).expect("room");
    #[cfg(unix)]
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let [config, state, data] = ["config", "state", "data"].map(|name| home.path().join(name));
    let mut access = Access::new(home.path().join("vault"), Host::new(config, state, data));
    access.key_file = Some(key);
    access.store = Some(Arc::clone(store) as _);
    let numbers: Vec<u64> = small.snapshots.keys().copied().collect();
    let (level, named) = match choice % 4 {
        0 => (Level::Full, &numbers[..0]),
        1 => (Level::Quick, &numbers[..0]),
        2 => (Level::Full, &numbers[..]),
        _ => (Level::Full, &numbers[..1]),
    };
    let selectors: Vec<Selector> = named.iter().map(|number| Selector::Number(*number)).collect();
    let Ok(report) = verify::run(&access, &selectors, level, &Silent) else { return 0 };
    let (needed, good) = match level {
        Level::Full => (Reads::Everything, Verdict::Valid),
        _ => (Reads::Listing, Verdict::NoFaultFound),
    };
    let mut valid = BTreeSet::new();
    for (number, verdict) in &report.snapshots {
        if *verdict == good {
            assert!(read.get(number) >= Some(&needed), "{level:?} of {named:?}: {number} is called {}", verdict.name());
            valid.insert(*number);
        }
    }
    if report.verdict == good {
        let asked = if named.is_empty() { &numbers[..] } else { named };
        assert!(valid.iter().eq(asked), "{level:?} of {named:?} is called {} with {valid:?}", good.name());
    }
    valid.len()
}

/// Takes bytes as a list of changes and a way to verify, does them to the vault, reads it and verifies it: every seven bytes
/// are a file, a place and what to do there, and what is left over says how to verify.
pub fn try_damage(bytes: &[u8]) {
    let small = small();
    let acts = bytes.chunks_exact(7);
    let choice = acts.remainder().first().copied().unwrap_or_default();
    let mut world = small.world.clone();
    let mut gone = Vec::new();
    for act in acts.take(16) {
        let (name, length) = &small.files[act[0] as usize % small.files.len()];
        let other = &small.files[act[1] as usize % small.files.len()].0;
        let at = u32::from_be_bytes([0, act[2], act[3], act[4]]) as usize;
        world.edit(name, |data| match act[5] % 7 {
            0 if !data.is_empty() => {
                let at = at % data.len();
                data[at] ^= act[6] | 1;
            }
            1 => data.truncate(at % (length + 1)),
            2 => data.extend(std::iter::repeat_n(act[6], 1 + at % 64)),
            3 if !data.is_empty() => {
                let at = at % data.len();
                let end = (at + usize::from(act[6])).min(data.len());
                data[at..end].fill(0);
            }
            4 if !data.is_empty() => {
                let at = at % data.len();
                data.insert(at, act[6]);
            }
            5 if !data.is_empty() => drop(data.remove(at % data.len())),
            _ => {}
        });
        match act[5] % 11 {
            7 => gone.push(name),
            8 => {
                let mut held = Vec::new();
                world.edit(name, |data| held.clone_from(data));
                world.edit(other, |data| std::mem::swap(data, &mut held));
                world.edit(name, |data| *data = held);
            }
            _ => {}
        }
    }
    let store = Memory::new(world);
    for name in gone {
        let _ = store.remove_file(name);
    }
    let mut read = BTreeMap::new();
    if let Some((chain, reader)) = open(small, &store) {
        for (number, snapshot) in chain.snapshots() {
            let held = small.snapshots.get(&number).expect("no record comes from damage");
            assert_eq!(*snapshot, held.snapshot);
            let (entries, whole) = entries(&reader, snapshot);
            // As far as it reads it is the beginning of what it was.
            assert!(held.entries.starts_with(&entries), "the listing of {number} is another one");
            let mut everything = whole;
            assert!(!whole || entries.len() == held.entries.len(), "the listing of {number} ends early");
            if whole {
                read.insert(number, Reads::Listing);
            }
            for (entry, expected) in entries.iter().zip(&held.contents) {
                match content(&reader, entry) {
                    Ok(found) => assert_eq!(found, *expected, "{} in {number} is another one", entry.path),
                    Err(_) => everything = false,
                }
            }
            if everything {
                read.insert(number, Reads::Everything);
            }
        }
    }
    judge(small, &store, choice, &read);
}
