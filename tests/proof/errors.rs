//! Errors: every operation of a store fails once, and from then on always, with every error that a system knows.
//!
//! Besides failing without effect, an operation may have its effect and report an error all the same, as network file
//! systems do when an answer is lost; a write may do half of its work; what a failed sync held is never durable.

use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use devvault::error::{Error, Result};
use devvault::ops::verify::{Level, Verdict};
use devvault::ops::{backup, branch, incomplete, index, init, lost, verify};
use devvault::progress::Silent;
use devvault::store::Store;
use devvault::vault::chain::Chain;
use devvault::vault::gate::{self, Access};
#[cfg(unix)]
use rustix::io::Errno;

use super::memory::{Fate, Memory, Order, Random, World, writes};
use super::{keep, put_back, step, tally};
use crate::support::{Forger, Home, SMALL_TREE, later, noise, small};

/// What a system says, by its own numbers.
#[cfg(unix)]
const ERRORS: [(&str, i32); 12] = [
    ("EIO", Errno::IO.raw_os_error()),
    ("ENOSPC", Errno::NOSPC.raw_os_error()),
    ("EDQUOT", Errno::DQUOT.raw_os_error()),
    ("EACCES", Errno::ACCESS.raw_os_error()),
    ("EPERM", Errno::PERM.raw_os_error()),
    ("EROFS", Errno::ROFS.raw_os_error()),
    ("EMFILE", Errno::MFILE.raw_os_error()),
    ("ENOMEM", Errno::NOMEM.raw_os_error()),
    ("EINTR", Errno::INTR.raw_os_error()),
    ("ENOENT", Errno::NOENT.raw_os_error()),
    ("EEXIST", Errno::EXIST.raw_os_error()),
    ("ESTALE", Errno::STALE.raw_os_error()),
];
#[cfg(windows)]
const ERRORS: [(&str, i32); 12] = [
    ("ERROR_IO_DEVICE", 1117),
    ("ERROR_DISK_FULL", 112),
    ("ERROR_DISK_QUOTA_EXCEEDED", 1295),
    ("ERROR_ACCESS_DENIED", 5),
    ("ERROR_SHARING_VIOLATION", 32),
    ("ERROR_WRITE_PROTECT", 19),
    ("ERROR_TOO_MANY_OPEN_FILES", 4),
    ("ERROR_NOT_ENOUGH_MEMORY", 8),
    ("ERROR_NOT_READY", 21),
    ("ERROR_FILE_NOT_FOUND", 2),
    ("ERROR_FILE_EXISTS", 80),
    ("ERROR_NETNAME_DELETED", 64),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Once,
    FromThenOn,
    DoneAllTheSame,
}

/// A home whose state can be put back.
struct Base {
    home: Home,
    world: World,
    heads: usize,
}

impl Base {
    fn new(home: Home) -> Self {
        let world = if home.vault().exists() { World::load(&home.vault()) } else { World::new() };
        keep(&home, &["config", "state"]);
        let heads = if home.vault().exists() { count(&home, &world) } else { 0 };
        Self { home, world, heads }
    }

    /// Puts back what the host knew.
    fn reset(&self) {
        put_back(&self.home, &["config", "state"]);
    }
}

/// Returns how many records a world has, whose chain must be sound.
fn count(home: &Home, world: &World) -> usize {
    let chain = Chain::read(&*Memory::new(world.clone()), &Forger::new(home).macs, None).unwrap();
    assert!(chain.findings.is_empty(), "{:?}", chain.findings);
    chain.links().count()
}

/// Runs something with one fault; returns what it came to, the store afterwards, and whether the fault was met.
fn with_fault<T>(
    base: &Base,
    nth: usize,
    (errno, how): (i32, How),
    counts: fn(&str) -> bool,
    act: impl Fn(&Access) -> Result<T>,
) -> (Result<T>, Arc<Memory>, Option<String>) {
    let (at, met) = (AtomicUsize::new(0), Arc::new(Mutex::new(None)));
    let note = Arc::clone(&met);
    let store = Memory::watched(base.world.clone(), move |what, name, _| {
        if !counts(what) || name.contains("lock.holder") {
            return Order::Do;
        }
        let number = at.fetch_add(1, Ordering::SeqCst);
        if number == nth {
            *note.lock().unwrap() = Some(format!("{what} {name}"));
        }
        match how {
            How::DoneAllTheSame if number == nth => Order::DoAndFail(errno),
            How::Once if number == nth => Order::Fail(errno),
            How::FromThenOn if number >= nth => Order::Fail(errno),
            _ => Order::Do,
        }
    });
    let result = act(&Access { store: Some(Arc::clone(&store) as _), ..base.home.access() });
    let met = met.lock().unwrap().take();
    (result, store, met)
}

/// Asserts that everything in a world verifies, as a host sees it that has never seen the vault.
fn assert_valid(home: &Home, world: &World, what: &str) {
    let host = home.other_host("stranger");
    let access = Access { store: Some(Memory::new(world.clone())), ..home.access_from(host) };
    let report = verify::run(&access, &[], Level::Full, &Silent).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(report.verdict, Verdict::Valid, "{what}: {:?}", report.findings);
    for name in ["stranger-config", "stranger-state"] {
        let _ = fs::remove_dir_all(home.path(name));
    }
}

/// Says what an error claims about the vault.
fn claims(error: &Error) -> String {
    error.what_was_written().map(|written| written.text.clone()).unwrap_or_default()
}

/// Returns the operations of something to which nothing is done.
fn operations<T>(base: &Base, counts: fn(&str) -> bool, act: impl Fn(&Access) -> Result<T>) -> Vec<String> {
    base.reset();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&seen);
    let store = Memory::watched(base.world.clone(), move |what, name, _| {
        if counts(what) && !name.contains("lock.holder") {
            into.lock().unwrap().push(what.to_owned());
        }
        Order::Do
    });
    assert!(act(&Access { store: Some(store), ..base.home.access() }).is_ok());
    std::mem::take(&mut *seen.lock().unwrap())
}

/// Fails every operation of something that writes, in every way; returns how many faults were met.
fn fail_each_write<T>(base: &Base, act: impl Fn(&Access) -> Result<T>, notes: impl Fn(&T) -> &[String]) -> usize {
    fail_each(base, writes, act, notes, |_, _, _| ())
}

/// Fails every operation that counts; `also` looks at what it came to and at the world afterwards.
fn fail_each<T>(
    base: &Base,
    counts: fn(&str) -> bool,
    act: impl Fn(&Access) -> Result<T>,
    notes: impl Fn(&T) -> &[String],
    also: impl Fn(&str, &Result<T>, &World),
) -> usize {
    let (mut met, mut turn) = (0, 0);
    for (nth, operation) in operations(base, counts, &act).into_iter().enumerate() {
        for (name, errno) in ERRORS {
            for how in [How::Once, How::FromThenOn, How::DoneAllTheSame] {
                turn += 1;
                // Every operation fails in some way in each run, and in every way in a full one; those that decide always.
                let decides = ["rename", "syncdir"].contains(&&*operation) && how != How::FromThenOn;
                if !decides && turn % step(7) != 0 {
                    continue;
                }
                base.reset();
                let (result, store, operation) = with_fault(base, nth, (errno, how), counts, &act);
                let Some(operation) = operation else { continue };
                met += 1;
                let what = format!("{name} {how:?} at operation {nth}, {operation}");
                judge(base, &what, errno, &result, &store, &notes);
                also(&what, &result, &store.world());
            }
        }
    }
    met
}

fn judge<T>(base: &Base, what: &str, errno: i32, result: &Result<T>, store: &Memory, notes: &impl Fn(&T) -> &[String]) {
    let world = store.world();
    let found = count(&base.home, &world);
    match result {
        // What follows the commit is said and does not undo it. That something is there already, or not there to be
        // removed, is no error everywhere.
        Ok(report) => {
            let kind = std::io::Error::from_raw_os_error(errno).kind();
            let no_error = matches!(kind, ErrorKind::NotFound | ErrorKind::AlreadyExists);
            assert!(no_error || !notes(report).is_empty(), "{what}: nothing is said");
        }
        Err(error) => {
            assert!(error.code().is_some() || error.exit() == 1, "{what}: {error}");
            let denied = ["no snapshot was", "no record was"].iter().any(|denial| claims(error).contains(denial));
            assert!(!(denied && found > base.heads), "{what}: published, but: {}", claims(error));
        }
    }
    if found > 0 {
        assert_valid(&base.home, &world, what);
    }
    let left = world.after_power_loss(|| Fate::Lost, &mut Random(1));
    let durable = count(&base.home, &left);
    assert!(durable >= base.heads, "{what}: a record is lost");
    assert!(result.is_err() || durable == found, "{what}: done, but not durable");
    if durable > 0 {
        assert_valid(&base.home, &left, &format!("{what}, then a loss of power"));
    }
}

fn home() -> Home {
    let home = Home::quick();
    init::run(&home.access(), small()).unwrap();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("noise"), noise(30_000, 1)).unwrap();
    home.backup();
    fs::write(home.source().join("more"), noise(20_000, 2)).unwrap();
    home
}

#[test]
fn every_error_at_every_write_of_a_backup_refuses_or_is_said_and_harms_nothing() {
    let base = Base::new(home());
    let source = base.home.source();
    let met = fail_each_write(
        &base,
        |access| backup::run(access, &source, &backup::Options::default(), &Silent),
        |report| &report.notes,
    );
    tally("errors injected into writes of a backup at the store", met, 300);
}

#[test]
fn an_error_at_the_directory_of_a_pack_is_no_less_an_error_where_the_directory_is_there_already() {
    let home = home();
    for prefix in 0..=255 {
        fs::create_dir_all(home.vault().join(format!("packs/{prefix:02x}"))).unwrap();
    }
    let base = Base::new(home);
    let source = base.home.source();
    let met = fail_each(
        &base,
        |what| what == "mkdir",
        |access| backup::run(access, &source, &backup::Options::default(), &Silent),
        |report| &report.notes,
        |_, _, _| (),
    );
    tally("errors injected into the making of directories that are there", met, 10);
}

#[test]
fn every_error_at_every_write_of_an_index_rebuild_refuses_and_harms_nothing() {
    let base = Base::new(home());
    let met = fail_each_write(&base, index::run, |report| &report.notes);
    tally("errors injected into writes of an index rebuild at the store", met, 20);
}

/// A home whose host has seen two snapshots, and a copy of its vault that holds the first alone, under a permit.
fn older(invariant: &str, target: impl Fn(&Home) -> String) -> Base {
    let home = home();
    let world = World::load(&home.vault());
    home.backup();
    home.declare(invariant, &target(&home), 0);
    Base { world, heads: 1, ..Base::new(home) }
}

#[test]
fn every_error_at_every_write_of_a_branch_refuses_or_is_said_and_harms_nothing() {
    let base = older("crypto", |home| Forger::new(home).head(1).to_string());
    let met = fail_each_write(
        &base,
        |access| branch::run(&later(access, 200), "no newer copy exists"),
        // The last is said in any case.
        |report| report.notes.split_last().unwrap().1,
    );
    tally("errors injected into writes of a branch at the store", met, 50);
}

#[test]
fn every_error_at_every_write_of_a_declaration_of_loss_refuses_or_is_said_and_harms_nothing() {
    let base = older("snapshot", |_| "2".into());
    let met = fail_each_write(
        &base,
        |access| lost::run(&later(access, 200), &[2], "the medium lost it"),
        |report| report.notes.split_last().unwrap().1,
    );
    tally("errors injected into writes of a declaration of loss at the store", met, 50);
}

#[test]
fn every_error_at_every_write_of_a_discard_refuses_and_removes_nothing_else() {
    const NAME: &str = ".incomplete-0123456789abcdef0123456789abcdef";
    let home = home();
    let directory = home.vault().join("snapshots").join(NAME);
    fs::create_dir(&directory).unwrap();
    for (name, bytes) in [("origin.json", 300), ("0000.part", 5_000), ("0001.part", 700)] {
        fs::write(directory.join(name), noise(bytes, 5)).unwrap();
    }
    let base = Base::new(home);
    let draft = format!("snapshots/{NAME}");
    let others = |world: &World| {
        let mut files = world.contents();
        files.retain(|file, _| !file.starts_with(&draft) && file != "lock.holder");
        files
    };
    let expected = others(&base.world);
    assert_eq!(base.world.contents().len(), expected.len() + 3);
    let met = fail_each(
        &base,
        writes,
        |access| incomplete::discard(access, NAME),
        |report| &report.notes,
        |what, result, world| {
            assert_eq!(others(world), expected, "{what}");
            let left = world.after_power_loss(|| Fate::Lost, &mut Random(1));
            assert_eq!(others(&left), expected, "{what}, then a loss of power");
            let is_there = |world: &World| Memory::new(world.clone()).list(&draft).is_ok();
            assert!(result.is_err() || !is_there(world) && !is_there(&left), "{what}: it is said to be removed");
            // It can be tried again, where it is still there.
            for world in [world, &left].into_iter().filter(|world| is_there(world)) {
                let store = Memory::new(world.clone());
                let again =
                    incomplete::discard(&Access { store: Some(Arc::clone(&store) as _), ..base.home.access() }, NAME);
                again.unwrap_or_else(|error| panic!("{what}, again: {error}"));
                assert!(!is_there(&store.world()) && others(&store.world()) == expected, "{what}, again");
            }
        },
    );
    tally("errors injected into writes of a discard at the store", met, 40);
}

#[test]
fn every_error_at_every_write_of_init_leaves_a_whole_vault_or_none() {
    let base = Base::new(Home::quick());
    base.home.write_source(&SMALL_TREE);
    let source = base.home.source();
    let act = |access: &Access| init::run(access, small());
    let (mut met, mut opened, mut turn) = (0, 0, 0);
    for (nth, operation) in operations(&base, writes, act).into_iter().enumerate() {
        for (name, errno) in ERRORS {
            for how in [How::Once, How::FromThenOn, How::DoneAllTheSame] {
                turn += 1;
                if operation != "syncdir" && turn % step(3) != 0 {
                    continue;
                }
                let _ = fs::remove_dir_all(base.home.path("kept/state"));
                base.reset();
                let (result, store, operation) = with_fault(&base, nth, (errno, how), writes, act);
                let Some(operation) = operation else { continue };
                met += 1;
                let what = format!("{name} {how:?} at operation {nth}, {operation}");
                match &result {
                    // What the probe leaves behind is no error, and what is gone already neither.
                    Ok(_) => {
                        let no_error = std::io::Error::from_raw_os_error(errno).kind() == ErrorKind::NotFound;
                        assert!(operation.starts_with("remove") && no_error, "{what}: nothing is said");
                    }
                    Err(error) => assert!(error.code().is_some() || error.exit() == 1, "{what}: {error}"),
                }
                let (live, left) = (store.world(), store.world().after_power_loss(|| Fate::Lost, &mut Random(1)));
                keep(&base.home, &["state"]);
                for world in [&live, &left] {
                    put_back(&base.home, &["state"]);
                    let access = Access { store: Some(Memory::new(world.clone())), ..base.home.access() };
                    match gate::open(&access) {
                        Ok(vault) => {
                            opened += 1;
                            let denied =
                                result.as_ref().is_err_and(|error| claims(error).contains("no vault was made"));
                            assert!(!denied, "{what}: there is a vault");
                            // Where the witness was not reached yet, the refusal says which head to name.
                            let access = Access { expect_head: Some(vault.chain.head()), ..access };
                            let done = backup::run(&access, &source, &backup::Options::default(), &Silent);
                            done.unwrap_or_else(|error| panic!("{what}: half a vault opens: {error}"));
                        }
                        Err(error) => assert!(result.is_err() && error.code().is_some(), "{what}: {error}"),
                    }
                }
            }
        }
    }
    assert!(opened > 0);
    tally("errors injected into writes of init at the store", met, 50);
}

#[test]
fn every_error_at_every_read_of_a_backup_and_a_verification_never_ends_in_a_false_claim() {
    let base = Base::new(home());
    let source = base.home.source();
    let reads = |what: &str| ["read", "open", "length", "list", "lock", "space"].contains(&what);
    let mut met = 0;
    let mut turn = 0;
    for backing_up in [true, false] {
        for nth in 0.. {
            let mut reached = false;
            for (name, errno) in ERRORS {
                for how in [How::Once, How::FromThenOn] {
                    turn += 1;
                    if reached && turn % step(9) != 0 {
                        continue;
                    }
                    base.reset();
                    let fault = (errno, how);
                    let (error, store, operation) = if backing_up {
                        let act = |access: &Access| backup::run(access, &source, &backup::Options::default(), &Silent);
                        let (result, store, operation) = with_fault(&base, nth, fault, reads, act);
                        (result.err(), store, operation)
                    } else {
                        let act = |access: &Access| verify::run(access, &[], Level::Full, &Silent);
                        let (result, store, operation) = with_fault(&base, nth, fault, reads, act);
                        let at = operation.as_deref().and_then(|what| what.split_once(' '));
                        let needed = at.is_some_and(|(act, place)| match how {
                            // Whoever journals what was done looks at it once more when all is told.
                            How::FromThenOn => place != "vault.json",
                            // What an index says is worth nothing; content that did not read is worth a finding. That
                            // a pack could not be listed, measured or opened once is none where it could afterwards.
                            _ => act == "read" && place.starts_with("packs"),
                        });
                        if let Ok(report) = &result {
                            assert!(
                                report.verdict != Verdict::Valid || !needed,
                                "{name} {how:?} at {operation:?}: valid, {:?}",
                                report.notes
                            );
                        }
                        (result.err(), store, operation)
                    };
                    let Some(operation) = operation else { continue };
                    reached = true;
                    met += 1;
                    let what = format!("{name} {how:?} at operation {nth}, {operation}");
                    if let Some(error) = error {
                        assert!(error.code().is_some() || error.exit() == 1, "{what}: {error}");
                    }
                    assert_valid(&base.home, &store.world(), &what);
                }
            }
            if !reached {
                break;
            }
        }
    }
    tally("errors injected into reads of a backup and a verification at the store", met, 300);
}
