//! What a new snapshot relies on of what was written before: only packs that stand up to a look and never failed one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use devvault::clock::{FixedClock, Time};
use devvault::crypto::Digest;
use devvault::format::index::{self, IndexedPack};
use devvault::format::pack::{BlockInfo, BlockKind, Footer};
use devvault::format::record::{Body, Packs};
use devvault::ops::backup;
use devvault::ops::verify::{self, Verdict};
use devvault::refusal::Code;

use devvault::progress::Silent;
use devvault::store::LocalStore;
use devvault::vault::gate::Access;
use devvault::vault::reads::Reads;

use crate::support::{Forger, Home, SMALL_TREE, copy_tree, flip, names, noise, packs, picture};

/// Returns a byte in the first block of a kind, and the pack that it lies in.
fn block(home: &Home, kind: BlockKind) -> (PathBuf, usize) {
    let macs = Forger::new(home).macs;
    for path in packs(&home.vault()) {
        let footer = Footer::decode(&fs::read(&path).unwrap(), &macs).unwrap();
        if let Some(block) = footer.blocks.iter().find(|block| block.kind == kind) {
            return (path, block.offset as usize + 3);
        }
    }
    panic!("no such block");
}

#[track_caller]
fn assert_newest_is_valid(home: &Home, number: u64) {
    let report = home.verify(&[&number.to_string()]).unwrap();
    assert_eq!((report.verdict, &report.findings[..]), (Verdict::Valid, [].as_slice()));
    let destination = format!("restored-{number}");
    home.restore(&number.to_string(), &destination).unwrap();
    assert_eq!(picture(&home.path(&destination)), picture(&home.source()));
}

fn home() -> Home {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("noise"), noise(40_000, 1)).unwrap();
    home.backup();
    home
}

#[test]
fn a_damaged_listing_blocks_no_backup_and_is_a_finding_of_it() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Listing);
    flip(&pack, at);
    let report = home.backup();
    assert!(report.findings.iter().any(|finding| finding.code.family().exit() == 11), "{:?}", report.findings);
    assert_eq!(report.exit(), 11);
    assert_newest_is_valid(&home, report.snapshot);
    assert_eq!(names(&home.vault().join("snapshots")), ["00000001", "00000002"], "no draft is left");
    // It stays a finding until somebody has decided, but the snapshots are whole.
    let third = home.backup();
    assert_eq!((third.snapshot, third.exit()), (3, 11));
    assert_newest_is_valid(&home, 3);
}

#[test]
fn a_pack_that_failed_a_verify_is_relied_on_no_more_until_it_is_intact_again() {
    for reread in [false, true] {
        let home = home();
        let (pack, at) = block(&home, BlockKind::Data);
        flip(&pack, at);
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Invalid);
        let report = home.try_backup(&backup::Options { reread, ..backup::Options::default() }).unwrap();
        assert_eq!(report.exit(), 11);
        assert_newest_is_valid(&home, 2);

        // Put back from another copy, and verified.
        flip(&pack, at);
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
        let report = home.backup();
        assert_eq!((report.exit(), report.bytes_stored < 4_000), (0, true), "nothing is stored again");
    }
}

#[test]
fn a_backup_that_rereads_reads_what_it_relies_on_too() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Data);
    flip(&pack, at);
    let report = home.try_backup(&backup::Options { reread: true, ..backup::Options::default() }).unwrap();
    assert_eq!(report.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::ChunkDamaged]);
    assert_newest_is_valid(&home, 2);
}

#[test]
fn a_pack_that_failed_while_the_listings_were_read_is_relied_on_no_more() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Listing);
    flip(&pack, at);
    let name: Digest = pack.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let store = LocalStore::open(&home.vault()).unwrap();
    let doubt = || Reads::load(&home.host(), &Forger::new(&home).macs, &store, home.access().clock.now()).doubt(&name);
    assert!(doubt().is_none());
    let report = verify::run(&home.access(), &[], verify::Level::Quick, &Silent).unwrap();
    assert_eq!((report.verdict, report.coverage.packs_now), (Verdict::Invalid, 0));
    assert!(doubt().is_some());
}

#[test]
fn a_pack_that_failed_a_restore_is_relied_on_no_more() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Data);
    flip(&pack, at);
    assert!(home.restore("1", "restored").is_err());
    assert_eq!(home.backup().exit(), 11);
    assert_newest_is_valid(&home, 2);
}

#[test]
fn doubts_that_cannot_be_trusted_have_every_pack_read() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Data);
    flip(&pack, at);
    home.verify(&[]).unwrap();
    fs::write(home.reads(), b"{}\n").unwrap();
    let report = home.backup();
    assert!(report.notes.iter().any(|note| note.contains("every pack is read")), "{:?}", report.notes);
    assert_eq!(report.exit(), 11);
    assert_newest_is_valid(&home, 2);
    // What was not read again is still not taken for intact.
    let third = home.backup();
    assert!(third.notes.iter().any(|note| note.contains("every pack is read")), "{:?}", third.notes);
    home.verify(&[]).unwrap();
    assert!(home.backup().notes.iter().all(|note| !note.contains("every pack is read")));
}

#[test]
fn an_intact_copy_elsewhere_takes_no_doubt_from_the_damaged_one() {
    let home = home();
    copy_tree(&home.vault(), &home.path("copy"));
    let (pack, at) = block(&home, BlockKind::Data);
    flip(&pack, at);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Invalid);
    let copy = Access { vault: home.path("copy"), ..home.access() };
    assert_eq!(home.verify_from(&copy, &[]).unwrap().verdict, Verdict::Valid);
    assert_eq!(home.backup().exit(), 11);
    assert_newest_is_valid(&home, 2);
}

#[test]
fn a_doubt_lasts_while_its_pack_is_away_and_when_the_medium_is_mounted_elsewhere() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Data);
    flip(&pack, at);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Invalid);
    fs::rename(&pack, home.path("quarantine")).unwrap();
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Invalid);
    fs::rename(home.path("quarantine"), &pack).unwrap();
    fs::rename(home.vault(), home.path("elsewhere")).unwrap();
    let access = Access { vault: home.path("elsewhere"), ..home.access() };
    let run = || backup::run(&access, &home.source(), &backup::Options::default(), &Silent).unwrap();
    assert_eq!(run().exit(), 11);
    let report = home.verify_from(&access, &["2"]).unwrap();
    assert_eq!((report.verdict, &report.findings[..]), (Verdict::Valid, [].as_slice()));
    // Intact again, and read there.
    flip(&home.path("elsewhere").join(pack.strip_prefix(home.vault()).unwrap()), at);
    let now = access.clock.now();
    let later = Arc::new(FixedClock(Time { seconds: now.seconds + 60, ..now }));
    let later = Access { clock: later, ..access.clone() };
    assert_eq!(home.verify_from(&later, &[]).unwrap().verdict, Verdict::Valid);
    assert_eq!(run().exit(), 0);
}

#[test]
fn a_damaged_listing_that_only_finalize_meets_starts_the_run_over() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Listing);
    flip(&pack, at);
    // The same files under another name: no previous snapshot of this source, and the same parts of the listing.
    fs::rename(home.source(), home.path("renamed")).unwrap();
    let run = || backup::run(&home.access(), &home.path("renamed"), &backup::Options::default(), &Silent).unwrap();
    let report = run();
    assert_eq!((report.snapshot, report.exit()), (2, 11), "{:?}", report.findings);
    let verified = home.verify(&["2"]).unwrap();
    assert_eq!((verified.verdict, &verified.findings[..]), (Verdict::Valid, [].as_slice()));
    assert_eq!(names(&home.vault().join("snapshots")), ["00000001", "00000002"], "no draft is left");
}

#[test]
fn what_a_named_snapshots_own_pack_lacks_another_pack_may_have() {
    let home = home();
    let (pack, at) = block(&home, BlockKind::Data);
    flip(&pack, at);
    home.verify(&[]).unwrap();
    home.backup();
    // The first pack is whole again, and the one that the second snapshot names instead is not.
    flip(&pack, at);
    let macs = Forger::new(&home).macs;
    let chunks = |path: &Path| {
        let footer = Footer::decode(&fs::read(path).unwrap(), &macs).unwrap();
        footer.blocks.iter().flat_map(|block| block.chunks.clone()).collect::<Vec<_>>()
    };
    let damaged = chunks(&pack);
    let all = packs(&home.vault());
    let other = all.iter().find(|other| **other != pack && chunks(other).iter().any(|chunk| damaged.contains(chunk)));
    let other = other.expect("it was stored again");
    flip(other, 60);
    let report = home.verify(&["2"]).unwrap();
    assert_eq!(report.verdict, Verdict::Invalid, "a pack that the manifest names is damaged");
    assert_eq!(report.snapshots, [(2, Verdict::Valid)], "all of it is recoverable: {:?}", report.findings);
    let unneeded = report.findings.iter().any(|finding| finding.detail.contains("no snapshot"));
    assert!(!unneeded, "nothing is known of other snapshots: {:?}", report.findings);
    home.restore("2", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn packs_that_are_gone_are_findings_of_a_backup_and_its_snapshot_is_whole() {
    let home = home();
    for pack in packs(&home.vault()) {
        fs::remove_file(pack).unwrap();
    }
    let report = home.backup();
    assert!(report.findings.iter().any(|finding| finding.code == Code::ChunkMissing), "{:?}", report.findings);
    assert_eq!(report.exit(), 11);
    assert_newest_is_valid(&home, 2);
}

#[test]
fn a_footer_that_rotted_behind_a_sound_index_is_not_relied_on() {
    let home = home();
    for pack in packs(&home.vault()) {
        let length = fs::metadata(&pack).unwrap().len() as usize;
        flip(&pack, length - 70);
    }
    let report = home.backup();
    assert_eq!(report.exit(), 13, "{:?}", report.findings);
    assert_newest_is_valid(&home, 2);
}

#[test]
fn an_authentic_index_that_lies_about_a_pack_makes_no_backup_leave_anything_out() {
    // The content of a file that only the next backup brings.
    let future = noise(1_000, 9);
    let home = home();
    let macs = Forger::new(&home).macs;
    let read = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        IndexedPack::new(name, bytes.len() as u64, Footer::decode(&bytes, &macs).unwrap())
    };
    let mut entries: Vec<IndexedPack> = packs(&home.vault()).iter().map(|path| read(path)).collect();
    let cut = devvault::chunk::Cutter::new([1 << 8, 1 << 10, 1 << 12]);
    let lengths = cut.lengths(&future);
    let first = devvault::vault::write::reference(&future[..lengths[0]]);
    let block = entries
        .iter_mut()
        .flat_map(|pack| &mut pack.footer.blocks)
        .find(|block| block.encoding == devvault::format::pack::Encoding::Zstd)
        .unwrap();
    let last = block.chunks.len() - 1;
    block.plain = block.plain - block.chunks[last].length() + first.length();
    block.chunks[last] = first;
    let directory = home.vault().join("index");
    for name in names(&directory) {
        fs::remove_file(directory.join(name)).unwrap();
    }
    let lie = index::encode(&macs, &entries);
    assert!(index::decode(&macs, &lie).is_ok(), "the lie is well formed");
    fs::write(directory.join(format!("{}.idx", "2".repeat(32))), lie).unwrap();
    fs::write(home.source().join("future"), &future).unwrap();
    let report = home.backup();
    let said = report.notes.iter().any(|note| note.contains("another footer than it has"));
    assert!(said, "{report:?}");
    assert_newest_is_valid(&home, 2);
}

#[test]
fn an_unchanged_file_of_many_chunks_is_read_again_where_one_of_them_is_gone() {
    let home = Home::with_vault();
    // More chunks than an entry names itself.
    fs::create_dir_all(home.source()).unwrap();
    fs::write(home.source().join("long"), noise(3 << 20, 7)).unwrap();
    home.backup();
    let macs = Forger::new(&home).macs;
    let only_data = |path: &PathBuf| {
        let footer = Footer::decode(&fs::read(path).unwrap(), &macs).unwrap();
        footer.blocks.iter().all(|block| block.kind == BlockKind::Data)
    };
    let gone = packs(&home.vault()).into_iter().find(only_data).expect("most packs hold nothing else");
    fs::remove_file(gone).unwrap();
    let report = home.backup();
    assert_eq!(report.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::ChunkMissing]);
    assert!((8_000..100_000).contains(&report.bytes_stored), "only what is gone is stored: {}", report.bytes_stored);
    assert_newest_is_valid(&home, 2);
}

#[test]
fn a_pack_under_a_name_that_its_bytes_do_not_give_is_a_finding_and_relied_on_by_nobody() {
    let home = home();
    let genuine = packs(&home.vault()).remove(0);
    let digest = genuine.file_stem().unwrap().to_str().unwrap();
    let last = if digest.ends_with('0') { "1" } else { "0" };
    let other = genuine.with_file_name(format!("{}{last}.pack", &digest[..63]));

    // Beside the genuine one: as if an interrupted run had left it.
    fs::copy(&genuine, &other).unwrap();
    let report = home.backup();
    assert!(report.findings.iter().any(|finding| finding.detail.contains("another name")), "{:?}", report.findings);
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.verdict, Verdict::Invalid);
    assert!(report.findings.iter().any(|finding| finding.detail.contains("another name")), "{:?}", report.findings);

    // In the genuine one's place, where a snapshot that was made with the key names it.
    fs::remove_file(&other).unwrap();
    fs::remove_dir_all(home.vault().join("index")).unwrap();
    fs::rename(&genuine, &other).unwrap();
    let forger = Forger::new(&home);
    let record = forger.record(2);
    let Body::Snapshot(mut snapshot) = record.body else { panic!("a snapshot") };
    let Packs::Direct(named) = &mut snapshot.packs else { panic!("few packs") };
    let name: Digest = other.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    for pack in named.iter_mut().filter(|pack| pack.0.to_string() == digest) {
        pack.0 = name;
    }
    named.sort_by_key(|pack| pack.0);
    forger.put(3, Body::Snapshot(snapshot));
    fs::remove_dir_all(home.reads().parent().unwrap()).unwrap();
    let report = home.try_backup(&backup::Options { reread: true, ..backup::Options::default() }).unwrap();
    assert!(report.findings.iter().any(|finding| finding.detail.contains("another name")), "{:?}", report.findings);
    assert_newest_is_valid(&home, 4);
}

#[test]
fn a_block_that_reads_well_takes_nothing_from_what_was_found_of_another() {
    let home = home();
    let forger = Forger::new(&home);
    let path = packs(&home.vault()).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let footer = Footer::decode(&fs::read(&path).unwrap(), &forger.macs).unwrap();
    let [damaged, sound, ..] = &footer.blocks[..] else { panic!("one block alone") };
    flip(&path, damaged.offset as usize + 3);
    let reader = forger.reader();
    let at = |block: &BlockInfo| reader.catalog().places(block.chunks[0]).next().unwrap().block;
    let (damaged, at_damaged, at_sound) = (damaged.offset as usize, at(damaged), at(sound));
    let found = || reader.failed_packs().into_values().map(|finding| finding.code).collect::<Vec<_>>();
    assert!(!reader.has_failed());
    assert!(reader.load_block(at_sound).is_ok() && found().is_empty());
    assert_eq!(reader.load_block(at_damaged).unwrap_err().code, Code::ChunkDamaged);
    assert!(reader.load_block(at_sound).is_ok() && reader.has_failed());
    assert_eq!(found(), [Code::ChunkDamaged], "it is damaged, not unstable");
    // What reads differently the second time is.
    flip(&path, damaged + 3);
    assert!(reader.load_block(at_damaged).is_ok());
    assert_eq!(found(), [Code::Unstable]);
}
