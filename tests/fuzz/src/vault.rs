//! Structured damage to a whole small vault: what verifies afterwards is what it was.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use devvault::crypto::{Digest, Macs};
use devvault::format::keyfile::KeyFile;
use devvault::pool::Pool;
use devvault::store::Store;
use devvault::vault::Finding;
use devvault::vault::catalog::{Catalog, UseIndex};
use devvault::vault::chain::Chain;
use devvault::vault::read::Reader;

use crate::memory::{Memory, World};

struct Small {
    world: World,
    files: Vec<(String, usize)>,
    macs: Macs,
    config: Digest,
}

fn small() -> &'static Small {
    static SMALL: OnceLock<Small> = OnceLock::new();
    SMALL.get_or_init(|| {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vaults");
        let key = KeyFile::decode(&fs::read(fixtures.join("v1-plain.key")).expect("a fixture")).expect("a key");
        let root = fixtures.join("v1-plain");
        let world = World::load(&root);
        Small {
            files: world.files(),
            world,
            macs: Macs::new(key.secret(), key.vault),
            config: Digest::of(&fs::read(root.join("vault.json")).expect("a fixture")),
        }
    })
}

/// Takes bytes as a list of changes, does them to the vault, and reads it: every seven bytes are a file, a place and what
/// to do there.
pub fn try_damage(bytes: &[u8]) {
    let small = small();
    let mut world = small.world.clone();
    let mut gone = Vec::new();
    for act in bytes.chunks_exact(7).take(16) {
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
    let Ok(chain) = Chain::read(&*store, &small.macs, Some(small.config)) else { return };
    let Ok(catalog) = Catalog::load(&*store, &small.macs, UseIndex::Yes) else { return };
    let reader = Arc::new(Reader::new(store, Arc::new(small.macs.clone()), Arc::new(catalog)));
    for (_, snapshot) in chain.snapshots() {
        let pool = Pool::with_threads(1);
        for batch in reader.entries(&pool, &snapshot.lists) {
            let Ok(batch) = batch else { break };
            for entry in batch.entries {
                let _: Result<(), Finding> = reader.each_needed(&entry, |chunk| {
                    // Whatever it reads is what its name says.
                    let bytes = reader.chunk(chunk)?;
                    assert_eq!(Digest::of(&bytes), chunk.id());
                    Ok(())
                });
            }
        }
    }
}
