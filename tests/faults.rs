//! Media that lie, fail, or change under the program's hands.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use devvault::format::pack::{BlockKind, FOOTER_MAGIC};
use devvault::format::record::Packs;
use devvault::incident::evidence;
use devvault::ops::verify::{Level, Verdict};
use devvault::ops::{backup, restore, status, verify};
use devvault::progress::{Progress, Silent};
use devvault::refusal::Code;
use devvault::store::{Listed, LocalStore, Lock, NewFile, Store, StoredFile};
use devvault::vault::Finding;
use devvault::vault::gate::Access;
use devvault::vault::layout;
use devvault::vault::witness::Freshness;
use devvault::vault::write::reference;

use crate::draft::begin_draft;
use crate::support::{
    Forger, Home, SMALL_TREE, assert_refused, fingerprint, flip, names, noise, packs, picture, restore_options, small,
};

/// What a fault is asked before an operation: its name and what it works on. An error stands in for the operation.
type Ask = dyn Fn(&str, &str) -> io::Result<()> + Send + Sync;
/// What a fault may do to bytes on their way: name of the operation, of the file, and the bytes.
type Spoil = dyn Fn(&str, &str, &mut [u8]) + Send + Sync;

/// A local store with faults.
struct Faulty {
    inner: LocalStore,
    ask: Arc<Ask>,
    spoil: Arc<Spoil>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

struct FaultyFile {
    inner: Box<dyn StoredFile>,
    name: String,
    ask: Arc<Ask>,
    spoil: Arc<Spoil>,
}

impl StoredFile for FaultyFile {
    fn length(&self) -> u64 {
        self.inner.length()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (self.ask)("read", &self.name)?;
        self.inner.read_at(buffer, offset)?;
        (self.spoil)("read", &self.name, buffer);
        Ok(())
    }
    fn drop_cached(&self) -> bool {
        self.inner.drop_cached()
    }
}

struct FaultyNew {
    inner: Box<dyn NewFile>,
    name: String,
    ask: Arc<Ask>,
    spoil: Arc<Spoil>,
}

impl NewFile for FaultyNew {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.ask)("write", &self.name)?;
        let mut bytes = bytes.to_vec();
        (self.spoil)("write", &self.name, &mut bytes);
        self.inner.write(&bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        (self.ask)("sync", &self.name)?;
        self.inner.sync()
    }
}

impl Store for Faulty {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn local_path(&self) -> Option<&Path> {
        self.inner.local_path()
    }
    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        (self.ask)("list", directory)?;
        self.inner.list(directory)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let inner = self.inner.open(name)?;
        Ok(Box::new(FaultyFile { inner, name: name.into(), ask: self.ask.clone(), spoil: self.spoil.clone() }))
    }
    fn length(&self, name: &str) -> io::Result<u64> {
        (self.ask)("length", name)?;
        self.inner.length(name)
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        (self.ask)("create", name)?;
        let inner = self.inner.create(name)?;
        Ok(Box::new(FaultyNew { inner, name: name.into(), ask: self.ask.clone(), spoil: self.spoil.clone() }))
    }
    fn create_directory(&self, name: &str) -> io::Result<()> {
        (self.ask)("mkdir", name)?;
        self.inner.create_directory(name)
    }
    fn sync_directory(&self, name: &str) -> io::Result<()> {
        (self.ask)("syncdir", name)?;
        self.inner.sync_directory(name)
    }
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        (self.ask)("rename", &format!("{from} {to}"))?;
        self.inner.rename_new(from, to)
    }
    fn remove_file(&self, name: &str) -> io::Result<()> {
        (self.ask)("remove", name)?;
        self.inner.remove_file(name)
    }
    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.inner.remove_directory(name)
    }
    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.inner.lock(name, exclusive)
    }
    fn available_bytes(&self) -> io::Result<u64> {
        let mut bytes = self.inner.available_bytes()?.to_ne_bytes();
        (self.spoil)("available", "", &mut bytes);
        Ok(u64::from_ne_bytes(bytes))
    }
}

/// Access to a home's vault through faults.
pub fn faulty(
    home: &Home,
    ask: impl Fn(&str, &str) -> io::Result<()> + Send + Sync + 'static,
    spoil: impl Fn(&str, &str, &mut [u8]) + Send + Sync + 'static,
) -> Access {
    let inner = LocalStore::open(&home.vault()).unwrap();
    Access { store: Some(Arc::new(Faulty { inner, ask: Arc::new(ask), spoil: Arc::new(spoil) })), ..home.access() }
}

pub fn no_ask(_: &str, _: &str) -> io::Result<()> {
    Ok(())
}

fn no_spoil(_: &str, _: &str, _: &mut [u8]) {}

fn try_backup(home: &Home, access: &Access) -> devvault::error::Result<backup::Report> {
    backup::run(access, &home.source(), &backup::Options::default(), &Silent)
}

fn failing() -> io::Error {
    io::Error::other("injected")
}

/// Asserts that snapshot 1 is all there is and that it is intact.
fn assert_unharmed(home: &Home) {
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.verdict, Verdict::Valid);
    assert_eq!(report.snapshots, [(1, Verdict::Valid)]);
}

#[test]
fn a_pack_that_reads_back_differently_is_never_published_and_stays_as_evidence() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    for operation in ["write", "read"] {
        let access = faulty(&home, no_ask, move |what, name, bytes| {
            if what == operation && name.ends_with(".part") && bytes.len() > 60 {
                bytes[50] ^= 1;
            }
        });
        let refusal = assert_refused(Code::ReadBackDiffers, try_backup(&home, &access));
        assert!(refusal.written.unwrap().text.contains(".incomplete-"), "the evidence is named");
        assert_unharmed(&home);
    }
    let left: Vec<_> =
        std::fs::read_dir(home.vault().join("snapshots")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "two drafts stay beside the snapshot: {left:?}");
    assert_eq!(home.backup().snapshot, 2);
}

#[test]
fn a_manifest_that_reads_back_differently_is_never_published() {
    let home = Home::with_snapshot();
    let access = faulty(&home, no_ask, |what, name, bytes| {
        if what == "write" && name.ends_with("manifest.json") {
            bytes[20] ^= 1;
        }
    });
    assert_refused(Code::ReadBackDiffers, try_backup(&home, &access));
    assert_unharmed(&home);
}

#[test]
fn a_tag_that_was_written_wrongly_is_never_published() {
    // No digit, another digit, another end of the line.
    type Change = fn(&mut [u8]);
    let changes: [Change; 3] =
        [|tag| tag[0] = b'x', |tag| tag[0] = if tag[0] == b'0' { b'1' } else { b'0' }, |tag| tag[64] ^= 1];
    for change in changes {
        let home = Home::with_snapshot();
        let access = faulty(&home, no_ask, move |what, name, bytes| {
            if what == "write" && name.ends_with("manifest.hmac") {
                change(bytes);
            }
        });
        let refusal = assert_refused(Code::ReadBackDiffers, try_backup(&home, &access));
        assert!(refusal.written.unwrap().text.contains(".incomplete-"), "the evidence is named");
        assert_unharmed(&home);
    }
}

#[test]
fn a_name_that_appears_in_a_draft_is_never_published_with_it() {
    let home = Home::with_snapshot();
    let vault = home.vault();
    let access = faulty(
        &home,
        move |what, name| {
            if what == "remove" && name.ends_with("origin.json") {
                std::fs::write(vault.join(name).with_file_name("stray"), "from elsewhere").unwrap();
            }
            Ok(())
        },
        no_spoil,
    );
    let refusal = assert_refused(Code::ReadBackDiffers, try_backup(&home, &access));
    assert!(refusal.causes[0].contains("stray"), "{:?}", refusal.causes);
    assert_unharmed(&home);
}

#[test]
fn a_snapshot_that_is_damaged_as_it_is_published_does_not_end_as_done() {
    for file in ["manifest.json", "manifest.hmac"] {
        let home = Home::with_snapshot();
        let vault = home.vault();
        let access = faulty(
            &home,
            move |what, name| {
                let path = vault.join("snapshots/00000002").join(file);
                if what == "syncdir" && name == "snapshots" && path.exists() {
                    let mut bytes = std::fs::read(&path).unwrap();
                    bytes[10] ^= 1;
                    std::fs::write(&path, bytes).unwrap();
                }
                Ok(())
            },
            no_spoil,
        );
        let refusal = assert_refused(Code::ReadBackDiffers, try_backup(&home, &access));
        assert!(refusal.written.unwrap().text.contains("snapshots/00000002"), "what was published is named");
    }
}

#[test]
fn no_thread_of_a_failed_backup_still_writes_when_it_has_returned() {
    let home = Home::with_snapshot();
    std::fs::write(home.source().join("large"), noise(200_000, 1)).unwrap();
    let returned = Arc::new(AtomicBool::new(false));
    let (saw, late) = (Arc::clone(&returned), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&late);
    let count = Mutex::new(0);
    let access = faulty(
        &home,
        move |what, name| {
            if what == "sync" && name.ends_with(".part") {
                // A pack takes its time to be sealed while the next one fails.
                std::thread::sleep(std::time::Duration::from_millis(60));
            }
            flag.fetch_or(saw.load(Ordering::SeqCst), Ordering::SeqCst);
            let mut count = count.lock().unwrap();
            *count += usize::from(what == "write" && name.ends_with(".part"));
            if *count > 12 { Err(failing()) } else { Ok(()) }
        },
        no_spoil,
    );
    assert!(try_backup(&home, &access).is_err());
    returned.store(true, Ordering::SeqCst);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!late.load(Ordering::SeqCst), "something was still done to the vault");
}

#[test]
fn a_pack_that_vanishes_before_the_commit_is_not_relied_on() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    let victim = packs(&home.vault())[0].clone();
    let (path, away) = (victim.clone(), home.path("away"));
    let access = faulty(
        &home,
        move |what, name| {
            if what == "sync" && name.ends_with("manifest.json") && path.exists() {
                std::fs::rename(&path, &away).unwrap();
            }
            Ok(())
        },
        no_spoil,
    );
    let report = try_backup(&home, &access).unwrap();
    let verified = home.verify(&[&report.snapshot.to_string()]).unwrap();
    assert_eq!((verified.verdict, &verified.findings[..]), (Verdict::Valid, [].as_slice()));
    home.restore("2", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn after_a_failed_write_a_draft_writes_nothing_any_more() {
    let home = Home::with_snapshot();
    let fails = Arc::new(AtomicBool::new(true));
    let once = Arc::clone(&fails);
    let access = faulty(
        &home,
        move |what, name| {
            let fails = what == "write" && name.ends_with(".part") && once.swap(false, Ordering::SeqCst);
            if fails { Err(failing()) } else { Ok(()) }
        },
        no_spoil,
    );
    let (_vault, _lock, mut draft) = begin_draft(&access);
    let outcomes: Vec<bool> = (0..200)
        .map(|seed| {
            let bytes = noise(3_000, seed);
            draft.put(BlockKind::Data, reference(&bytes), &bytes).is_ok()
        })
        .collect();
    let first = outcomes.iter().position(|ok| !ok).expect("the failed write is told");
    assert!(outcomes[first..].iter().all(|ok| !ok), "what came after it was taken: {outcomes:?}");
    draft.abandon();
}

#[test]
fn an_interrupted_verify_tells_and_remembers_what_it_has_found() {
    /// Interrupts once a pack was read.
    struct Once(AtomicBool);
    impl Progress for Once {
        fn advance(&self, packs: u64, _: u64) {
            if packs > 0 {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        fn interrupted(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }
    let home = Home::with_vault();
    std::fs::create_dir_all(home.source()).unwrap();
    std::fs::write(home.source().join("large"), noise(60_000, 1)).unwrap();
    home.backup();
    for pack in packs(&home.vault()) {
        flip(&pack, 60);
    }
    let stopped = verify::run(&home.access(), &[], Level::Full, &Once(AtomicBool::new(false))).unwrap_err();
    assert_eq!(stopped.exit(), 130);
    let told = stopped.what_was_written().unwrap();
    assert!(told.text.contains("1 finding(s) so far") && !told.changed, "{}", told.text);
    let report = status::run(&home.access()).unwrap();
    assert_eq!(report.findings.iter().filter(|finding| finding.code == Code::ChunkDamaged).count(), 1);
}

#[test]
fn an_index_that_is_not_authentic_is_never_held_in_memory() {
    let home = Home::with_snapshot();
    let path = home.vault().join("index").join(format!("{}.idx", "3".repeat(32)));
    std::fs::File::create(path).unwrap().set_len(16 << 20 | 100).unwrap();
    let longest = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&longest);
    let access = faulty(&home, no_ask, move |what, name, bytes| {
        if what == "read" && name.ends_with(".idx") {
            let mut longest = seen.lock().unwrap();
            *longest = bytes.len().max(*longest);
        }
    });
    let report = verify::run(&access, &[], Level::Quick, &Silent).unwrap();
    assert!(report.notes.iter().any(|note| note.contains("not authentic")), "{:?}", report.notes);
    assert!(*longest.lock().unwrap() <= 1 << 20, "{} bytes at once", longest.lock().unwrap());
}

#[test]
fn every_failing_write_side_operation_refuses_and_harms_nothing() {
    // Counts the operations of one backup, then fails each of them in turn.
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new"), ("big", &"0123456789abcdef".repeat(2000))]);
    let mut failed = 0;
    for nth in 0.. {
        let count = Mutex::new(0);
        let reached = Arc::new(AtomicBool::new(false));
        let saw = Arc::clone(&reached);
        let published = Arc::new(AtomicBool::new(false));
        let commit = Arc::clone(&published);
        let access = faulty(
            &home,
            move |what, name| {
                if ["list", "length", "read"].contains(&what) || name == "lock.holder" {
                    return Ok(());
                }
                let mut count = count.lock().unwrap();
                *count += 1;
                let fails = *count == nth + 1;
                if fails {
                    saw.store(true, Ordering::SeqCst);
                } else if what == "rename" && name.contains(".incomplete-") && name.contains("snapshots/0000") {
                    commit.store(true, Ordering::SeqCst);
                }
                if fails { Err(failing()) } else { Ok(()) }
            },
            no_spoil,
        );
        let result = try_backup(&home, &access);
        if !reached.load(Ordering::SeqCst) {
            break;
        }
        failed += 1;
        match result {
            // What follows the commit is reported and does not undo it.
            Ok(report) => assert!(published.load(Ordering::SeqCst) && !report.notes.is_empty(), "operation {nth}"),
            Err(error) => {
                let code = error.code();
                assert_eq!(code, Some(Code::ProbeFailed), "operation {nth}: {error}");
            }
        }
        let report = home.verify(&[]).unwrap();
        assert_eq!(report.verdict, Verdict::Valid, "operation {nth}");
    }
    assert!(failed > 20, "only {failed} operations failed");
    home.backup();
    home.restore("latest", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn everything_a_snapshot_reaches_is_durable_before_it_is_published() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    std::fs::write(home.source().join("large"), noise(100_000, 1)).unwrap();
    let log: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let seen = Arc::clone(&log);
    let access = faulty(
        &home,
        move |what, name| {
            seen.lock().unwrap().push((what.into(), name.into()));
            Ok(())
        },
        no_spoil,
    );
    try_backup(&home, &access).unwrap();
    let log = log.lock().unwrap();
    let at = |what: &str, name: &str, from: usize| -> usize {
        log.iter().skip(from).position(|(w, n)| w == what && n == name).map(|at| at + from).unwrap_or_else(|| {
            panic!("no {what} {name} after {from}: {log:?}");
        })
    };
    let last = |what: &str, name: &str, before: usize| log[..before].iter().rposition(|(w, n)| w == what && n == name);
    let commit = log.iter().position(|(what, name)| what == "rename" && name.ends_with(" snapshots/00000001")).unwrap();
    let draft = log[commit].1.split(' ').next().unwrap().to_owned();

    let mut packs = 0;
    for (moved, (_, name)) in
        log.iter().enumerate().filter(|(_, (what, name))| what == "rename" && name.contains(" packs/"))
    {
        packs += 1;
        assert!(moved < commit);
        let (from, to) = name.split_once(' ').unwrap();
        let synced = last("sync", from, moved).expect("a pack is synced before it is moved");
        assert!(last("write", from, moved).unwrap() < synced, "nothing is written after the sync");
        let read = log[synced..moved].iter().filter(|(what, name)| what == "read" && name == from).count();
        assert!(read > 2, "a pack is read back between its sync and its move");
        let directory = to.rsplit_once('/').unwrap().0;
        assert!(at("syncdir", directory, moved) < commit);
        assert!(at("syncdir", "packs", moved) < commit);
    }
    assert!(packs > 3, "{packs} packs");
    for file in ["manifest.json", "manifest.hmac"] {
        let name = format!("{draft}/{file}");
        assert!(last("write", &name, commit).unwrap() < last("sync", &name, commit).unwrap());
    }
    let removed = last("remove", &format!("{draft}/origin.json"), commit).unwrap();
    assert!(removed < last("syncdir", &draft, commit).unwrap(), "the draft is synced after its last change");
    at("syncdir", "snapshots", commit);
}

#[test]
fn a_number_that_is_taken_again_and_again_is_refused_after_some_tries() {
    let home = Home::with_snapshot();
    let access = faulty(
        &home,
        |what, name| {
            if what == "rename" && name.contains(" snapshots/") {
                Err(io::ErrorKind::AlreadyExists.into())
            } else {
                Ok(())
            }
        },
        no_spoil,
    );
    assert_refused(Code::NumberContested, try_backup(&home, &access));
    assert_unharmed(&home);
}

#[test]
fn a_read_that_fails_once_is_unstable_and_never_valid() {
    let home = Home::with_snapshot();
    let before = fingerprint(&home.vault());
    for (suffix, reads) in [(".pack", 5), ("manifest.json", 1), ("manifest.hmac", 1)] {
        for nth in 0..reads {
            let count = Mutex::new(0);
            let access = faulty(&home, no_ask, move |what, name, bytes| {
                let mut count = count.lock().unwrap();
                if what == "read" && name.ends_with(suffix) {
                    *count += 1;
                    // The last byte: the first of a long read from the end of a pack may belong to what is not needed.
                    if *count == nth + 1 {
                        *bytes.last_mut().unwrap() ^= 1;
                    }
                }
            });
            let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
            assert_eq!(report.verdict, Verdict::Unstable, "{suffix} {nth}: {:?}", report.findings);
            let is_first = |finding: &Finding| {
                finding.code == Code::Unstable && finding.detail.starts_with("the first read failed")
            };
            assert!(report.findings.iter().all(is_first), "{:?}", report.findings);
            let medium = format!("; the vault lies on {}", evidence::medium_in_words(&home.vault()));
            assert!(medium.contains("device ") && medium.contains(", file system "), "{medium}");
            assert!(report.findings.iter().all(|finding| finding.detail.ends_with(&medium)), "{:?}", report.findings);
            assert_eq!(report.snapshots, [(1, Verdict::Unstable)], "{suffix} {nth}");
            assert_eq!(report.exit(), 14);
        }
    }
    assert_eq!(fingerprint(&home.vault()), before);
    assert_unharmed(&home);
}

/// Returns where the packs lie that a snapshot relies on, as the vault names them.
fn relied_on(home: &Home, number: u64) -> BTreeSet<String> {
    let snapshot = Forger::new(home).snapshot(number);
    let Packs::Direct(packs) = snapshot.packs else { panic!("few packs") };
    packs.iter().map(|pack| layout::pack_path(&pack.0)).collect()
}

#[test]
fn a_pack_that_fails_once_concerns_only_what_relies_on_it_and_is_told_beside_one_that_stays_damaged() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    home.backup();
    let (first, second) = (relied_on(&home, 1), relied_on(&home, 2));
    let flaky = second.difference(&first).next().unwrap().clone();
    let verify_once = |flaky: String| {
        let failed = AtomicBool::new(false);
        let access = faulty(&home, no_ask, move |what, name, bytes| {
            if what == "read" && name == flaky && !failed.swap(true, Ordering::SeqCst) {
                *bytes.last_mut().unwrap() ^= 1;
            }
        });
        verify::run(&access, &[], Level::Full, &Silent).unwrap()
    };
    let told = |report: &verify::Report| -> Vec<(Code, String)> {
        report.findings.iter().map(|finding| (finding.code, finding.subject.clone())).collect()
    };
    let report = verify_once(flaky.clone());
    assert_eq!(told(&report), [(Code::Unstable, flaky.clone())]);
    assert_eq!(report.snapshots, [(1, Verdict::Valid), (2, Verdict::Unstable)]);
    // The footer of a pack that the first snapshot relies on does not authenticate, however often it is read.
    let damaged = first.iter().next().unwrap().clone();
    let path = home.vault().join(&damaged);
    flip(&path, std::fs::metadata(&path).unwrap().len() as usize - 70);
    let told = told(&verify_once(flaky.clone()));
    assert!(told.contains(&(Code::Unstable, flaky)) && told.contains(&(Code::PackForged, damaged.clone())), "{told:?}");
    assert!(!told.contains(&(Code::Unstable, damaged)), "{told:?}");
}

#[test]
fn a_pack_that_is_taken_away_between_two_looks_is_missing_and_not_unstable() {
    let home = Home::with_snapshot();
    let all = packs(&home.vault());
    assert_eq!(all.len(), 1);
    let (path, away) = (all[0].clone(), home.path("away"));
    let access = faulty(
        &home,
        move |what, name| {
            if what == "read" && name.ends_with(".pack") {
                let _ = std::fs::rename(&path, &away);
                return Err(failing());
            }
            Ok(())
        },
        no_spoil,
    );
    let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
    let missing = report.findings.iter().any(|finding| finding.detail == "the pack is not there");
    assert!(missing && report.verdict == Verdict::Invalid, "{:?}", report.findings);
    assert!(report.findings.iter().all(|finding| finding.code != Code::Unstable), "{:?}", report.findings);
}

#[test]
fn damage_that_differs_between_two_reads_is_damage_and_unstable() {
    let home = Home::with_snapshot();
    let count = Mutex::new(0);
    let access = faulty(&home, no_ask, move |what, name, bytes| {
        // The pack has two blocks; its tables are left as they are.
        if what == "read" && name.ends_with(".pack") && bytes.len() > 200 && !bytes.starts_with(b"devvault") {
            let mut count = count.lock().unwrap();
            *count += 1;
            // The first block on the first reading of the pack, the second one on the second.
            bytes[60] ^= u8::from(*count == 1 || *count == 4);
        }
    });
    let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
    assert_eq!((report.verdict, report.exit()), (Verdict::Invalid, 11), "{:?}", report.findings);
    let unstable = report.findings.iter().find(|finding| finding.code == Code::Unstable).expect("unstable too");
    assert!(unstable.detail.contains("two reads gave different bytes"), "{}", unstable.detail);
}

#[test]
fn a_restore_that_needed_a_second_read_says_so_and_names_the_medium() {
    let home = Home::with_snapshot();
    let mut seen = 0;
    for (nth, times) in (0..8).flat_map(|nth| [(nth, 1), (nth, 2)]) {
        let count = Mutex::new(0);
        let access = faulty(&home, no_ask, move |what, name, bytes| {
            let mut count = count.lock().unwrap();
            if what == "read" && name.ends_with(".pack") {
                *count += 1;
                if (nth + 1..=nth + times).contains(&*count) {
                    *bytes.last_mut().unwrap() ^= 1;
                }
            }
        });
        let place = "1".parse().unwrap();
        let destination = home.path(&format!("restored-{nth}-{times}"));
        // Where a listing is read, one failure refuses; that is as it should be.
        let Ok(report) = restore::run(&access, &place, &destination, &restore_options(), &Silent) else {
            continue;
        };
        // What failed to be read, and was where the index says, is no fault of the index.
        assert!(report.notes.iter().all(|note| !note.contains("index")), "{nth} {times}: {:?}", report.notes);
        let told = report.notes.iter().find(|note| note.contains("the second succeeded"));
        if let Some(told) = told {
            assert!(told.contains("the vault lies on device ") && told.contains("devvault runbook DV405"), "{told}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn an_unreadable_pack_is_a_finding_that_names_what_it_affects() {
    let home = Home::with_snapshot();
    let access = faulty(
        &home,
        |what, name| if what == "read" && name.ends_with(".pack") { Err(failing()) } else { Ok(()) },
        no_spoil,
    );
    let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
    assert_eq!((report.verdict, report.exit()), (Verdict::Invalid, 11));
    assert!(report.findings.iter().any(|finding| finding.code == Code::VaultUnreadable), "{:?}", report.findings);
    assert_eq!(report.snapshots, [(1, Verdict::Invalid)]);
}

#[test]
fn a_draft_whose_record_cannot_be_written_stays_as_evidence_with_its_packs() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    let before = packs(&home.vault()).len();
    let access = faulty(
        &home,
        |what, name| if what == "write" && name.ends_with("manifest.json") { Err(failing()) } else { Ok(()) },
        no_spoil,
    );
    assert_refused(Code::ProbeFailed, try_backup(&home, &access));
    let drafts = names(&home.vault().join("snapshots"));
    assert!(drafts.iter().any(|name| name.starts_with(".incomplete-")), "{drafts:?}");
    assert!(packs(&home.vault()).len() > before);
    assert_unharmed(&home);
}

// Unix alone: a directory is removed although what lies in it is open.
#[cfg(unix)]
#[test]
fn a_draft_that_is_gone_where_it_was_to_be_given_up_is_not_said_to_be_unpublished() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    let snapshots = home.vault().join("snapshots");
    let access = faulty(
        &home,
        move |what, name| {
            if what != "write" || !name.ends_with("manifest.json") {
                return Ok(());
            }
            std::fs::remove_dir_all(snapshots.join(name.split('/').nth(1).unwrap())).unwrap();
            Err(io::ErrorKind::StorageFull.into())
        },
        no_spoil,
    );
    let refusal = assert_refused(Code::NoSpace, try_backup(&home, &access));
    let text = refusal.written.unwrap().text;
    assert!(text.contains("is gone, perhaps published") && !text.contains("no snapshot was made"), "{text}");
    assert_unharmed(&home);
}

#[test]
fn a_medium_that_has_no_room_for_a_backup_needs_attention() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let wanted = devvault::limits::SPACE_RESERVE_BYTES + small().pack_bytes;
    for (free, short) in [(0, true), (wanted - 1, true), (wanted, false)] {
        let spoil = move |what: &str, _: &str, bytes: &mut [u8]| {
            if what == "available" {
                bytes.copy_from_slice(&u64::to_ne_bytes(free));
            }
        };
        let report = status::run(&faulty(&home, no_ask, spoil)).unwrap();
        assert_eq!(report.bytes_free, Some(free));
        assert_eq!(report.attention.iter().any(|one| one.kind == "space"), short, "{free}: {:?}", report.attention);
    }
}

#[test]
fn a_backup_ends_before_the_medium_is_full_and_needs_no_more_than_it_says() {
    let reserve = devvault::limits::SPACE_RESERVE_BYTES;
    let pack = small().pack_bytes;
    for (at_first, later, good) in
        [(reserve, reserve + pack, true), (reserve - 1, reserve + pack, false), (reserve, reserve + pack - 1, false)]
    {
        let home = Home::with_snapshot();
        home.write_source(&[("new", "something new")]);
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        let access = faulty(
            &home,
            move |what, name| {
                begins.fetch_or(what == "create" && name.ends_with("origin.json"), Ordering::SeqCst);
                Ok(())
            },
            move |what, _, bytes| {
                if what == "available" {
                    let free = if begun.load(Ordering::SeqCst) { later } else { at_first };
                    bytes.copy_from_slice(&free.to_ne_bytes());
                }
            },
        );
        match try_backup(&home, &access) {
            Ok(report) => assert!(good && report.snapshot == 2),
            refused => {
                assert!(!good, "{refused:?}");
                assert_refused(Code::NoSpace, refused);
                assert_unharmed(&home);
            }
        }
    }
}

#[test]
fn a_record_that_cannot_be_listed_is_unreadable_and_not_missing() {
    let home = Home::with_snapshot();
    let fails = |what: &str, name: &str| {
        if what == "list" && name == "snapshots/00000001" { Err(failing()) } else { Ok(()) }
    };
    let report = verify::run(&faulty(&home, fails, no_spoil), &[], Level::Full, &Silent).unwrap();
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&Code::VaultUnreadable) && !codes.contains(&Code::RecordMissing), "{codes:?}");
    assert_unharmed(&home);
}

#[test]
fn a_record_that_another_process_finishes_meanwhile_is_no_finding() {
    let home = Home::with_snapshot();
    home.backup();
    home.backup();
    // As a listing gives it that was begun before the second and ended after the third.
    let first = AtomicBool::new(true);
    let access = faulty(
        &home,
        move |what, name| {
            let gone = what == "list" && name == "snapshots/00000002" && first.swap(false, Ordering::SeqCst);
            if gone { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
        },
        no_spoil,
    );
    let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
    assert_eq!((report.verdict, &report.findings[..]), (Verdict::Valid, [].as_slice()));
}

#[test]
fn a_record_that_another_process_removes_meanwhile_is_no_unstable_medium() {
    let home = Home::with_snapshot();
    home.backup();
    let record = home.vault().join("snapshots/00000002");
    flip(&record.join("manifest.hmac"), 3);
    let lists = Mutex::new(0);
    let access = faulty(
        &home,
        move |what, name| {
            if what == "list" && name == "snapshots" {
                let mut lists = lists.lock().unwrap();
                *lists += 1;
                if *lists == 2 {
                    std::fs::remove_dir_all(&record).unwrap();
                }
            }
            Ok(())
        },
        no_spoil,
    );
    let report = verify::run(&access, &["1".parse().unwrap()], Level::Full, &Silent).unwrap();
    assert!(report.findings.iter().all(|finding| finding.code != Code::Unstable), "{:?}", report.findings);
}

#[test]
fn an_unstable_record_is_told_beside_one_that_is_damaged_for_good() {
    let home = Home::with_snapshot();
    home.backup();
    home.backup();
    flip(&home.vault().join("snapshots/00000001/manifest.hmac"), 3);
    let first = AtomicBool::new(true);
    let access = faulty(&home, no_ask, move |what, name, bytes| {
        if what == "read" && name == "snapshots/00000003/manifest.json" && first.swap(false, Ordering::SeqCst) {
            bytes[20] ^= 1;
        }
    });
    let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
    let of = |number: u64| {
        let found = report.findings.iter().filter(move |finding| finding.snapshots == [number]);
        found.map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert!(of(1).contains(&Code::RecordForged) && !of(1).contains(&Code::Unstable), "{:?}", report.findings);
    assert!(of(3).contains(&Code::Unstable) && !of(3).contains(&Code::RecordForged), "{:?}", report.findings);
}

#[test]
fn a_pack_whose_footer_reads_differently_after_it_was_proved_is_not_published() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    let proved = AtomicBool::new(false);
    let access = faulty(&home, no_ask, move |what, name, bytes| {
        // The footer is read once to be proved, and once more with the rest of the pack.
        if what == "read"
            && name.ends_with(".part")
            && bytes.ends_with(FOOTER_MAGIC)
            && proved.swap(true, Ordering::SeqCst)
        {
            bytes[0] ^= 1;
        }
    });
    assert_refused(Code::ReadBackDiffers, try_backup(&home, &access));
    assert_unharmed(&home);
}

#[test]
fn a_medium_that_returns_a_test_file_changed_is_not_written_to() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    let access = faulty(&home, no_ask, |what, name, bytes| {
        if what == "write" && name.starts_with(".probe-") {
            bytes[0] ^= 1;
        }
    });
    crate::support::unchanged(&home.vault(), || assert_refused(Code::ProbeFailed, try_backup(&home, &access)));
}

#[test]
fn a_directory_of_packs_that_cannot_be_listed_is_unreadable_and_not_empty() {
    let home = Home::with_snapshot();
    let of_pack = packs(&home.vault())[0].parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    for directory in ["packs".to_owned(), format!("packs/{of_pack}")] {
        let fails = move |what: &str, name: &str| {
            if what == "list" && name == directory { Err(failing()) } else { Ok(()) }
        };
        let access = faulty(&home, fails, no_spoil);
        assert_refused(Code::VaultUnreadable, verify::run(&access, &[], Level::Full, &Silent));
        assert_refused(Code::VaultUnreadable, try_backup(&home, &access));
        assert_unharmed(&home);
    }
}

#[test]
fn a_pack_whose_length_cannot_be_asked_is_unreadable_and_one_that_left_is_missing() {
    let home = Home::with_snapshot();
    for (error, code) in [(io::ErrorKind::Other, Code::VaultUnreadable), (io::ErrorKind::NotFound, Code::ChunkMissing)]
    {
        let fails = move |what: &str, name: &str| {
            if what == "length" && name.ends_with(".pack") { Err(error.into()) } else { Ok(()) }
        };
        let access = faulty(&home, fails, no_spoil);
        let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
        let of_packs = report.findings.iter().filter(|finding| finding.subject.ends_with(".pack"));
        let codes: BTreeSet<Code> = of_packs.map(|finding| finding.code).collect();
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), [code], "{:?}", report.findings);
        assert_eq!(report.snapshots, [(1, Verdict::Invalid)]);
    }
}

#[test]
fn an_interruption_leaves_no_snapshot_and_no_draft() {
    struct Stop;
    impl Progress for Stop {
        fn interrupted(&self) -> bool {
            true
        }
    }
    let home = Home::with_snapshot();
    let result = backup::run(&home.access(), &home.source(), &backup::Options::default(), &Stop);
    assert_eq!(result.unwrap_err().exit(), 130);
    assert_eq!(std::fs::read_dir(home.vault().join("snapshots")).unwrap().count(), 1);
    assert_unharmed(&home);
}

#[test]
fn settings_that_cannot_be_read_are_refused_rather_than_ignored() {
    let home = Home::with_snapshot();
    std::fs::write(home.path("config/config.json"), "{").unwrap();
    let output = home.program().args(["--json", "status"]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((document["code"].as_str(), output.status.code()), (Some("DV411"), Some(14)));
}

#[test]
fn a_key_that_cannot_be_written_makes_no_vault() {
    let home = Home::new();
    std::fs::create_dir(home.path("config")).unwrap();
    std::fs::write(home.path("config/keys"), "a file where the directory should be").unwrap();
    let result = devvault::ops::init::run(&home.access(), small());
    assert_refused(Code::StateUnwritable, result);
    assert!(!home.vault().join("vault.json").exists());
}

#[test]
fn a_read_that_fails_once_blames_no_pack_that_was_not_read() {
    let home = Home::with_vault();
    home.write_source(&[("kept", "what is in the first pack alone")]);
    home.backup();
    home.write_source(&[("more", "what makes a second pack")]);
    home.backup();
    let mut failed = 0;
    for nth in 1..=12 {
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        let access = faulty(&home, no_ask, move |what, name, bytes| {
            if what == "read" && name.ends_with(".pack") {
                *counted.lock().unwrap() += 1;
                if *counted.lock().unwrap() == nth {
                    *bytes.last_mut().unwrap() ^= 1;
                }
            }
        });
        let report = verify::run(&access, &["2".parse().unwrap()], Level::Full, &Silent).unwrap();
        failed += u64::from(*count.lock().unwrap() >= nth);
        assert_ne!(report.verdict, Verdict::Invalid, "{nth}: {:?}", report.findings);
        assert!(report.kept.incident.is_none(), "{nth}: {:?}", report.findings);
    }
    assert!(failed >= 5, "{failed}");
}

#[test]
fn what_another_process_finalizes_while_a_chain_is_read_is_no_rollback() {
    for look in [
        |access: &Access| verify::run(access, &[], Level::Full, &Silent).unwrap().freshness,
        |access: &Access| status::run(access).unwrap().freshness,
    ] {
        let home = Arc::new(Home::with_snapshot());
        let (writer, once) = (Arc::clone(&home), AtomicBool::new(true));
        let access = faulty(
            &home,
            move |what, name| {
                if what == "read" && name.ends_with("00000001/manifest.json") && once.swap(false, Ordering::SeqCst) {
                    writer.write_source(&[("new", "something new")]);
                    assert_eq!(writer.backup().snapshot, 2);
                }
                Ok(())
            },
            no_spoil,
        );
        assert_eq!(look(&access), Freshness::Proven);
    }
}

#[test]
fn what_a_verification_finds_while_a_backup_runs_is_relied_on_by_no_snapshot() {
    let home = Arc::new(Home::with_snapshot());
    home.write_source(&[("new", "something new")]);
    let (other, older, once) = (Arc::clone(&home), packs(&home.vault()).remove(0), AtomicBool::new(true));
    let access = faulty(
        &home,
        move |what, name| {
            if what == "sync" && name.ends_with("manifest.json") && once.swap(false, Ordering::SeqCst) {
                flip(&older, 60);
                assert_eq!(other.verify(&["1"]).unwrap().verdict, Verdict::Invalid);
            }
            Ok(())
        },
        no_spoil,
    );
    let report = try_backup(&home, &access).unwrap();
    assert_eq!((report.snapshot, report.exit()), (2, 11), "{:?}", report.findings);
    let verified = home.verify(&["2"]).unwrap();
    assert_eq!((verified.verdict, &verified.findings[..]), (Verdict::Valid, [].as_slice()));
    home.restore("2", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn a_pack_that_an_earlier_run_left_is_made_durable_before_it_is_relied_on_although_it_was_read() {
    let home = Home::with_snapshot();
    home.write_source(&[("new", "something new")]);
    let before = packs(&home.vault());
    let broken = faulty(
        &home,
        |what, name| if what == "create" && name.ends_with("manifest.json") { Err(failing()) } else { Ok(()) },
        no_spoil,
    );
    assert!(try_backup(&home, &broken).is_err());
    let left: Vec<_> = packs(&home.vault()).into_iter().filter(|path| !before.contains(path)).collect();
    assert!(!left.is_empty() && home.verify(&[]).unwrap().verdict == Verdict::Valid);
    let synced = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&synced);
    let access = faulty(
        &home,
        move |what, name| {
            if ["syncdir", "rename"].contains(&what) {
                log.lock().unwrap().push(format!("{what} {name}"));
            }
            Ok(())
        },
        no_spoil,
    );
    assert_eq!(try_backup(&home, &access).unwrap().snapshot, 2);
    let synced = synced.lock().unwrap();
    let published = synced.iter().position(|line| line.ends_with("snapshots/00000002")).unwrap();
    for pack in left {
        let directory = pack.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        for wanted in [format!("syncdir packs/{directory}"), "syncdir packs".to_owned()] {
            assert!(synced[..published].contains(&wanted), "{wanted}: {synced:?}");
        }
    }
}

#[test]
fn a_config_that_the_medium_does_not_read_is_no_forgery_and_is_read_once_more() {
    for file in ["vault.json", "vault.hmac"] {
        for fails in [1, 1_000] {
            let home = Home::with_snapshot();
            let left = Mutex::new(fails);
            let access = faulty(
                &home,
                move |what, name| {
                    let mut left = left.lock().unwrap();
                    if what != "read" || name != file || *left == 0 {
                        return Ok(());
                    }
                    *left -= 1;
                    Err(failing())
                },
                no_spoil,
            );
            let access = Access { key_file: Some(home.key()), ..access };
            let report = verify::run(&access, &[], Level::Full, &Silent).unwrap();
            if fails == 1 {
                assert_eq!((report.verdict, &report.findings[..]), (Verdict::Valid, [].as_slice()));
                continue;
            }
            let found: Vec<_> = report.findings.iter().map(|one| (one.code, &*one.subject)).collect();
            assert!(found.contains(&(Code::VaultUnreadable, file)), "{found:?}");
            assert!(found.iter().all(|one| one.0 != Code::ConfigForged), "{found:?}");
            assert_refused(Code::VaultUnreadable, try_backup(&home, &access));
        }
    }
}
