//! The index: missing, cut, changed, old, foreign or lying, it never decides whether a restore, a verify or a backup is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use devvault::crypto::{Digest, Id, Macs};
use devvault::format::entry::ChunkRef;
use devvault::format::index::{self, IndexedPack};
use devvault::format::pack::Footer;
use devvault::ops::verify::Verdict;
use devvault::ops::{backup, index as rebuild, restore};
use devvault::progress::Progress;
use devvault::refusal::Code;

use crate::support::{
    Forger, Home, SMALL_TREE, assert_refused, copy_tree, flip, names, noise, packs, picture, restore_options, unchanged,
};

fn directory(home: &Home) -> PathBuf {
    home.vault().join("index")
}

/// Returns the index files, ascending.
fn files(home: &Home) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory(home)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "idx"));
    files.sort();
    files
}

/// A vault with two snapshots and several packs.
fn home() -> Home {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("large"), noise(60_000, 1)).unwrap();
    home.backup();
    fs::write(home.source().join("other"), noise(20_000, 2)).unwrap();
    home.backup();
    assert!(packs(&home.vault()).len() > 4);
    home
}

/// Fails unless verify finds nothing, the newest snapshot restores exactly, and so does a new one with old and new
/// content. Returns what verify, restore and backup said of the index.
#[track_caller]
fn right_answers(home: &Home) -> [Vec<String>; 3] {
    let about = |notes: &[String]| notes.iter().filter(|note| note.contains("index")).cloned().collect::<Vec<String>>();
    let (verified, restored) = unchanged(&home.vault(), || {
        let verified = home.verify(&[]).unwrap();
        assert_eq!((verified.verdict, &verified.findings[..]), (Verdict::Valid, [].as_slice()));
        let restored = home.restore("2", "restored").unwrap();
        assert_eq!(picture(&home.path("restored")), picture(&home.source()));
        assert_eq!(home.run(&["cat", "2:large"]).stdout, fs::read(home.source().join("large")).unwrap());
        (about(&verified.notes), about(&restored.notes))
    });
    fs::write(home.source().join("new"), noise(30_000, 3)).unwrap();
    let backed_up = home.try_backup(&backup::Options { reread: true, ..backup::Options::default() }).unwrap();
    home.restore("latest", "restored-new").unwrap();
    assert_eq!(picture(&home.path("restored-new")), picture(&home.source()));
    assert_eq!(home.verify(&[]).unwrap().findings, []);
    [verified, restored, about(&backed_up.notes)]
}

#[track_caller]
fn right_answers_with_notes(home: &Home) {
    for notes in right_answers(home) {
        assert!(!notes.is_empty(), "nothing was said of the index");
    }
}

#[test]
fn a_sound_index_is_used_and_nothing_is_said_of_it() {
    assert_eq!(right_answers(&home()), [const { Vec::<String>::new() }; 3]);
}

#[test]
fn a_missing_index_changes_no_answer() {
    let home = home();
    fs::remove_dir_all(directory(&home)).unwrap();
    right_answers_with_notes(&home);
}

#[test]
fn an_empty_index_changes_no_answer() {
    let home = home();
    for file in files(&home) {
        fs::remove_file(file).unwrap();
    }
    right_answers_with_notes(&home);
}

#[test]
fn a_cut_index_changes_no_answer() {
    for part in [0, 1, 3] {
        let home = home();
        for file in files(&home) {
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() * part / 4]).unwrap();
        }
        right_answers_with_notes(&home);
    }
}

#[test]
fn a_flipped_bit_in_any_region_of_the_index_changes_no_answer() {
    let home = home();
    let file = files(&home).into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let intact = fs::read(&file).unwrap();
    // Magic, vault, count, name, length, table length, table head, a block, chunks, tag.
    let length = intact.len();
    for at in [0, 20, 34, 40, 70, 79, 90, 130, 200, length / 2, length - 40, length - 1] {
        flip(&file, at);
        let report = home.verify(&["2"]).unwrap();
        assert_eq!((report.verdict, &report.findings[..]), (Verdict::Valid, [].as_slice()), "byte {at}");
        let name = format!("restored-{at}");
        let restored = home.restore("2", &name).unwrap();
        assert!(restored.notes.iter().any(|note| note.contains("index")), "byte {at}: {:?}", restored.notes);
        assert_eq!(picture(&home.path(&name)), picture(&home.source()));
        fs::write(&file, &intact).unwrap();
    }
    flip(&file, length / 2);
    right_answers_with_notes(&home);
}

#[test]
fn an_old_copy_of_the_index_changes_no_answer() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    home.backup();
    copy_tree(&directory(&home), &home.path("old-index"));
    fs::write(home.source().join("large"), noise(60_000, 1)).unwrap();
    home.backup();
    fs::remove_dir_all(directory(&home)).unwrap();
    copy_tree(&home.path("old-index"), &directory(&home));
    right_answers_with_notes(&home);
}

#[test]
fn the_index_of_another_vault_changes_no_answer() {
    let (home, other) = (home(), home());
    for file in files(&home) {
        fs::remove_file(file).unwrap();
    }
    for file in files(&other) {
        fs::copy(&file, directory(&home).join(file.file_name().unwrap())).unwrap();
    }
    right_answers_with_notes(&home);
}

#[test]
fn foreign_things_among_the_index_change_no_answer() {
    let home = home();
    fs::write(directory(&home).join("notes.txt"), "x").unwrap();
    fs::write(directory(&home).join(".new-00"), "x").unwrap();
    fs::create_dir(directory(&home).join(format!("{}.idx", Id([1; 16])))).unwrap();
    right_answers(&home);
}

// An index that lies, with the vault's own authentication

/// Replaces the index by an authentic one whose entries are changed.
fn lie(home: &Home, change: impl FnOnce(&mut Vec<IndexedPack>)) {
    let macs = Forger::new(home).macs;
    let mut entries = entries(home, &macs);
    change(&mut entries);
    for file in files(home) {
        fs::remove_file(file).unwrap();
    }
    fs::write(directory(home).join(format!("{}.idx", Id([2; 16]))), index::encode(&macs, &entries)).unwrap();
}

fn entries(home: &Home, macs: &Macs) -> Vec<IndexedPack> {
    let entry = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        IndexedPack::new(name, bytes.len() as u64, Footer::decode(&bytes, macs).unwrap())
    };
    packs(&home.vault()).iter().map(|path| entry(path)).collect()
}

/// The chunks of a file that the next backup will store, as a lie that they are there already.
fn future_chunks() -> Vec<ChunkRef> {
    let home = Home::with_vault();
    fs::create_dir_all(home.source()).unwrap();
    fs::write(home.source().join("new"), noise(30_000, 3)).unwrap();
    home.backup();
    let macs = Forger::new(&home).macs;
    let footers = entries(&home, &macs);
    footers.iter().flat_map(|pack| &pack.footer.blocks).flat_map(|block| block.chunks.clone()).collect()
}

#[test]
fn an_index_that_names_a_pack_that_is_not_there_changes_no_answer() {
    let home = home();
    let future = future_chunks();
    lie(&home, |entries| {
        // It claims to hold what the next backup brings.
        let mut invented = entries[0].clone();
        invented.name = Digest([7; 32]);
        let mut block = invented.footer.blocks[0].clone();
        block.chunks = future;
        block.plain = block.chunks.iter().map(|chunk| chunk.length()).sum();
        block.stored = 100;
        block.encoding = devvault::format::pack::Encoding::Zstd;
        invented.footer.body_bytes = block.offset + 100;
        invented.footer.blocks = vec![block];
        invented.length = invented.footer.pack_bytes();
        entries.push(invented);
    });
    right_answers_with_notes(&home);
}

#[test]
fn an_index_with_a_wrong_length_changes_no_answer() {
    let home = home();
    lie(&home, |entries| entries[0].length += 1);
    right_answers_with_notes(&home);
}

#[test]
fn an_index_that_swaps_two_packs_changes_no_answer() {
    let home = home();
    lie(&home, |entries| {
        let name = entries[0].name;
        entries[0].name = entries[1].name;
        entries[1].name = name;
    });
    right_answers_with_notes(&home);
}

#[test]
fn an_index_that_swaps_two_tables_of_packs_changes_no_answer() {
    let home = home();
    lie(&home, |entries| {
        let footer = entries[0].footer.clone();
        entries[0].footer = std::mem::replace(&mut entries[1].footer, footer);
    });
    right_answers_with_notes(&home);
}

#[test]
fn an_index_that_hides_a_chunk_changes_no_answer() {
    let home = home();
    lie(&home, |entries| {
        for block in entries.iter_mut().flat_map(|pack| &mut pack.footer.blocks) {
            let length = block.chunks[0].length();
            block.chunks[0] = ChunkRef(Digest([6; 32]), length);
        }
    });
    assert!(!right_answers(&home)[1].is_empty(), "restore said nothing of the index");
}

#[test]
fn an_index_that_points_into_the_wrong_block_changes_no_answer() {
    let home = home();
    lie(&home, |entries| {
        for block in entries.iter_mut().flat_map(|pack| &mut pack.footer.blocks) {
            block.digest = Digest([6; 32]);
        }
    });
    assert!(!right_answers(&home)[1].is_empty(), "restore said nothing of the index");
}

#[test]
fn an_index_that_lacks_a_pack_changes_no_answer() {
    let home = home();
    lie(&home, |entries| drop(entries.pop()));
    right_answers_with_notes(&home);
}

#[test]
fn an_index_does_not_stand_in_for_a_pack_that_is_gone() {
    let home = home();
    let path = packs(&home.vault()).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::remove_file(&path).unwrap();
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, report.findings[0].code), (Verdict::Invalid, Code::ChunkMissing));
    assert_refused(Code::ChunkMissing, home.restore("2", "refused"));
    // The next backup brings the content anew.
    home.try_backup(&backup::Options { reread: true, ..backup::Options::default() }).unwrap();
    home.restore("3", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn an_index_does_not_stand_in_for_a_pack_of_another_length() {
    let home = home();
    let path = packs(&home.vault()).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let report = home.try_backup(&backup::Options { reread: true, ..backup::Options::default() }).unwrap();
    assert!(report.notes.iter().any(|note| note.contains("pack")), "{:?}", report.notes);
    home.restore("3", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn an_index_that_lists_a_lost_pack_is_not_replaced() {
    for all in [false, true] {
        let home = home();
        let lost = packs(&home.vault());
        lost.iter().take(if all { lost.len() } else { 1 }).for_each(|pack| fs::remove_file(pack).unwrap());
        let refusal = unchanged(&home.vault(), || assert_refused(Code::IndexNotRebuilt, rebuild::run(&home.access())));
        assert_eq!(refusal.causes.len(), if all { lost.len() } else { 1 }, "{refusal:?}");
        assert!(refusal.causes.iter().all(|cause| cause.starts_with("DV102 packs/")), "{refusal:?}");
    }
}

#[test]
fn an_index_is_to_be_rebuilt_only_where_nothing_else_is_wrong() {
    fn cut(home: &Home) {
        fs::write(&files(home)[0], "").unwrap();
    }
    type Damage = fn(&Home);
    let rebuild = "; `devvault index rebuild` makes it anew";
    let leave = "; leave it as it is";
    let cases: [(&str, Damage, &str); 4] = [
        ("nothing else", cut, rebuild),
        // The index may be the only record of it.
        ("a lost pack", |home| fs::remove_file(packs(&home.vault()).remove(0)).unwrap(), leave),
        (
            "a damaged footer",
            |home| {
                cut(home);
                let pack = packs(&home.vault()).remove(0);
                flip(&pack, fs::metadata(&pack).unwrap().len() as usize - 1);
            },
            leave,
        ),
        (
            "a forged record",
            |home| {
                cut(home);
                flip(&home.vault().join("snapshots/00000001/manifest.json"), 30);
            },
            leave,
        ),
    ];
    for (what, damage, next) in cases {
        let home = home();
        damage(&home);
        let mut notes = home.verify(&[]).unwrap().notes;
        notes.retain(|note| note.contains("the index was not needed and is not sound"));
        assert!(!notes.is_empty() && notes.iter().all(|note| note.ends_with(next)), "{what}: {notes:?}");
    }
}

#[test]
fn an_interruption_is_not_taken_for_a_wrong_index() {
    struct Once(AtomicBool);
    impl Progress for Once {
        fn interrupted(&self) -> bool {
            self.0.swap(false, Ordering::SeqCst)
        }
    }
    let home = home();
    let (place, to, options) = ("2".parse().unwrap(), home.path("restored"), restore_options());
    let restored = restore::run(&home.access(), &place, &to, &options, &Once(AtomicBool::new(true)));
    assert_eq!(restored.unwrap_err().exit(), 130);
    assert!(!home.path("restored").exists());
}

// Rebuilding

#[test]
fn index_rebuild_repairs_every_kind_of_damage() {
    type Damage = fn(&Home);
    let damages: [(&str, Damage); 5] = [
        ("missing", |home| fs::remove_dir_all(directory(home)).unwrap()),
        ("empty", |home| files(home).iter().for_each(|file| fs::remove_file(file).unwrap())),
        ("flipped", |home| files(home).iter().for_each(|file| flip(file, 50))),
        ("cut", |home| files(home).iter().for_each(|file| fs::write(file, "").unwrap())),
        ("lying", |home| {
            lie(home, |entries| {
                for block in entries.iter_mut().flat_map(|pack| &mut pack.footer.blocks) {
                    block.digest = Digest([6; 32]);
                }
            });
        }),
    ];
    for (name, damage) in damages {
        let home = home();
        damage(&home);
        let report = rebuild::run(&home.access()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(report.rebuilt.packs, packs(&home.vault()).len() as u64, "{name}");
        assert_eq!(report.old.is_empty(), name == "lying", "{name}: {:?}", report.old);
        assert_eq!(files(&home).len(), 1, "{name}");
        assert_eq!(right_answers(&home), [const { Vec::<String>::new() }; 3], "{name}");
    }
}

#[test]
fn index_rebuild_with_a_damaged_footer_refuses_and_leaves_the_old_index() {
    let home = home();
    let path = packs(&home.vault()).remove(0);
    let intact = fs::read(&path).unwrap();
    for damaged in [
        intact[..intact.len() - 1].to_vec(),
        { intact.iter().copied().chain([0]).collect() },
        {
            let mut bytes = intact.clone();
            let at = bytes.len() - 60;
            bytes[at] ^= 1;
            bytes
        },
        {
            let mut bytes = intact.clone();
            let at = bytes.len() - 1;
            bytes[at] ^= 1;
            bytes
        },
        Vec::new(),
    ] {
        fs::write(&path, damaged).unwrap();
        unchanged(&home.vault(), || assert_refused(Code::IndexNotRebuilt, rebuild::run(&home.access())));
        let (exit, refused) = unchanged(&home.vault(), || home.json(&["index", "rebuild"]));
        assert_eq!((exit, &refused["code"], &refused["changed"]), (15, &"DV501".into(), &false.into()));
    }
    fs::write(&path, intact).unwrap();
    rebuild::run(&home.access()).unwrap();
}

#[test]
fn index_rebuild_of_a_vault_without_packs_makes_an_empty_index() {
    let home = Home::with_vault();
    assert_eq!(rebuild::run(&home.access()).unwrap().rebuilt.packs, 0);
    home.write_source(&SMALL_TREE);
    home.backup();
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
}

#[test]
fn index_rebuild_removes_nothing_but_index_files() {
    let home = home();
    fs::write(directory(&home).join("notes.txt"), "precious").unwrap();
    fs::create_dir(directory(&home).join("more")).unwrap();
    rebuild::run(&home.access()).unwrap();
    assert_eq!(fs::read_to_string(directory(&home).join("notes.txt")).unwrap(), "precious");
    assert!(directory(&home).join("more").is_dir());
}

#[test]
fn index_files_are_merged_before_they_become_many() {
    let home = Home::with_vault();
    for round in 0..20 {
        fs::create_dir_all(home.source()).unwrap();
        fs::write(home.source().join(format!("file-{round}")), noise(3_000, round)).unwrap();
        home.backup();
        assert!(files(&home).len() <= devvault::limits::INDEX_FILES_MAX, "{round}: {}", files(&home).len());
    }
    assert_eq!(names(&directory(&home)).len(), files(&home).len());
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, &report.notes[..]), (Verdict::Valid, [].as_slice()));
    home.restore("20", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn a_merge_with_a_damaged_index_file_loses_no_pack() {
    let home = Home::with_vault();
    fs::create_dir_all(home.source()).unwrap();
    for round in 0..12 {
        fs::write(home.source().join(format!("file-{round}")), noise(3_000, round)).unwrap();
        home.backup();
        flip(&files(&home)[0], 60);
    }
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.verdict, report.snapshots.len()), (Verdict::Valid, 12));
    home.restore("12", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}
