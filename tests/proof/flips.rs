//! Bits of a small vault flipped, one at a time, every eleventh or, in a full run, each: what is called valid restores
//! exactly, and what restores is exact.

use std::fs;

use devvault::ops::verify::{Level, Verdict};
use devvault::ops::{restore, verify};
use devvault::progress::Silent;
use devvault::vault::gate::Access;

use super::memory::{Memory, World};
use super::{step, tally};
use crate::support::{Home, SMALL_TREE, names, picture};

#[test]
fn no_flipped_bit_of_any_file_makes_a_valid_verdict_or_a_restore_untrue() {
    let home = Home::quick();
    devvault::ops::init::run(&home.access(), crate::support::small()).unwrap();
    home.write_source(&SMALL_TREE);
    home.backup();
    home.write_source(&[("second", "what came later\n")]);
    home.backup();
    let truth = picture(&home.source());
    let world = World::load(&home.vault());
    let (mut flipped, mut restored, mut turn) = (0, 0, 0);
    for (name, length) in world.files() {
        let decides = !name.contains("lock") && !name.starts_with("index/");
        for bit in 0..length * 8 {
            turn += 1;
            if turn % step(11) != 0 {
                continue;
            }
            let mut damaged = world.clone();
            damaged.flip(&name, bit);
            flipped += 1;
            if flipped % 64 == 0 {
                home.forget_audit();
            }
            let access = Access { store: Some(Memory::new(damaged)), ..home.access() };
            let verified = verify::run(&access, &[], Level::Full, &Silent);
            let valid = verified.as_ref().is_ok_and(|report| report.verdict == Verdict::Valid);
            assert_eq!(valid, !decides, "{name} bit {bit}");
            if flipped % 8 == 0 || !decides {
                restored += 1;
                let out = home.path("restored");
                match restore::run(&access, &"2".parse().unwrap(), &out, &crate::support::restore_options(), &Silent) {
                    Ok(_) => {
                        assert_eq!(picture(&out), truth, "{name} bit {bit}");
                        fs::remove_dir_all(&out).unwrap();
                    }
                    Err(error) => {
                        assert!(error.code().is_some() && !out.exists(), "{name} bit {bit}: {error}");
                        assert!(decides, "{name} bit {bit}: {error}");
                    }
                }
                for name in names(&home.path("")) {
                    if name.contains("devvault-restoring") {
                        fs::remove_dir_all(home.path(&name)).unwrap();
                    }
                }
            }
        }
    }
    tally("bits flipped, one at a time", flipped, 2_000);
    tally("vaults with a flipped bit restored from", restored, 200);
}
