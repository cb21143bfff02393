//! Crash points: every operation of everything that writes to a vault is the last one, once, and the power goes with it.
//!
//! The store in memory records the world before each operation; of each such world some of what a loss of power can
//! leave is made, and opened again as another process would: every choice of what is kept and lost where no more than four
//! things are undecided, else everything lost and everything kept, and six more by seed, however much a run is to try.
//! What a run that tries more does more of is to go on from these states.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use devvault::clock::Clock;
use devvault::crypto::Digest;
use devvault::error::Result;
use devvault::format::record::Head;
use devvault::ops::verify::Verdict;
use devvault::ops::{backup, branch, incomplete, index, init, lost, restore};
use devvault::progress::Silent;
use devvault::vault::chain::Chain;
use devvault::vault::gate::{self, Access};
use devvault::vault::witness;

use super::memory::{Fate, Memory, Order, Random, World, writes};
use super::{keep, put_back, step, tally};
use crate::support::{Forger, Home, SMALL_TREE, copy_tree, noise, picture, small};

/// Heads by number.
type Heads = BTreeMap<u64, Digest>;

/// A world as it was before an operation, and what the host's witness held then.
struct Moment {
    operation: String,
    world: World,
    seen: Option<Head>,
}

/// What something came to while everything that it did to the store was recorded.
struct Recorded {
    moments: Vec<Moment>,
    /// The records before and after.
    before: Heads,
    after: Heads,
}

/// Returns the records of a world, whose chain must be sound.
fn heads(home: &Home, world: &World) -> Heads {
    let store = Memory::new(world.clone());
    let chain = Chain::read(&*store, &Forger::new(home).macs, None).unwrap();
    assert!(chain.findings.is_empty(), "{:?}", chain.findings);
    chain.links().map(|(number, link)| (number, link.digest)).collect()
}

/// Does something to a world and records it.
fn record(home: &Home, world: &World, act: impl Fn(&Access) -> Result<()>) -> Recorded {
    let macs = Arc::new(Forger::new(home).macs);
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (into, host, witnessed) = (Arc::clone(&moments), home.host(), Arc::clone(&macs));
    let seen = move || witness::read(&host, &witnessed).unwrap().and_then(|witness| witness.heads.last().copied());
    let look = seen.clone();
    let store = Memory::watched(world.clone(), move |what, name, world| {
        if writes(what) {
            let operation = format!("{what} {name}");
            into.lock().unwrap().push(Moment { operation, world: world.clone(), seen: look() });
        }
        Order::Do
    });
    act(&Access { store: Some(Arc::clone(&store) as _), ..home.access() }).unwrap();
    let end = store.world();
    let after = heads(home, &end);
    let mut moments = std::mem::take(&mut *moments.lock().unwrap());
    moments.push(Moment { operation: "the end".into(), world: end, seen: seen() });
    Recorded { moments, before: heads(home, world), after }
}

/// What a sample of the states after a loss of power came to.
#[derive(Default)]
struct Count {
    points: usize,
    states: usize,
    continued: usize,
}

/// Makes the worlds that a loss of power leaves: all of them where little is undecided, else some.
fn each_outcome(world: &World, seed: u64, mut visit: impl FnMut(World)) {
    let undecided = world.undecided();
    let mut random = Random(seed);
    if undecided <= 4 {
        for choice in 0..1_usize << undecided {
            let mut bit = 0;
            let fate = || {
                bit += 1;
                if choice >> (bit - 1) & 1 == 1 { Fate::Kept } else { Fate::Lost }
            };
            visit(world.after_power_loss(fate, &mut random));
        }
    } else {
        visit(world.after_power_loss(|| Fate::Lost, &mut random));
        visit(world.after_power_loss(|| Fate::Kept, &mut random));
    }
    for round in 0..if undecided == 0 { 0 } else { 6 } {
        let mut choice = Random(seed ^ (round + 1) << 32);
        let fate = || [Fate::Kept, Fate::Lost, Fate::Torn][choice.below(3)];
        visit(world.after_power_loss(fate, &mut random));
    }
}

static HOSTS: AtomicU64 = AtomicU64::new(0);

/// This host as it was at some time, in directories of its own.
struct Kept {
    root: PathBuf,
    copy: PathBuf,
}

impl Kept {
    /// Copies what this host knows now.
    fn of(home: &Home) -> Self {
        let copy = home.path(&format!("host-{}", HOSTS.fetch_add(1, Ordering::Relaxed)));
        for name in ["config", "state"] {
            copy_tree(&home.path(name), &copy.join(name));
        }
        Self { root: home.path(""), copy }
    }

    /// Does something on a fresh copy of that host.
    fn on<T>(&self, home: &Home, world: &World, act: impl FnOnce(&Access) -> T) -> T {
        let place = self.root.join(format!("host-{}", HOSTS.fetch_add(1, Ordering::Relaxed)));
        copy_tree(&self.copy, &place);
        let host = devvault::host::Host::new(place.join("config"), place.join("state"), place.join("data"));
        let result = act(&Access { host, store: Some(Memory::new(world.clone())), ..home.access() });
        fs::remove_dir_all(place).unwrap();
        result
    }
}

/// Looks at every state that a loss of power can leave, as the same host does that then comes back, and goes on with it.
fn examine(home: &Home, host: &Kept, recorded: &Recorded, clock: &Arc<dyn Clock>) -> Count {
    let truth = picture(&home.source());
    let mut count = Count::default();
    let macs = Forger::new(home).macs;
    let last = recorded.moments.len() - 1;
    for (at, moment) in recorded.moments.iter().enumerate() {
        count.points += 1;
        each_outcome(&moment.world, at as u64, |world| {
            let what = format!("operation {at}, {}, state {}", moment.operation, count.states);
            count.states += 1;
            let store = Memory::new(world.clone());
            let chain = Chain::read(&*store, &macs, None).unwrap();
            assert!(chain.findings.is_empty(), "{what}: {:?}", chain.findings);
            let found: Heads = chain.links().map(|(number, link)| (number, link.digest)).collect();
            let expected = if at == last { [&recorded.after; 2] } else { [&recorded.before, &recorded.after] };
            assert!(expected.contains(&&found), "{what}: {found:?}");
            assert!(
                moment.seen.is_none_or(|head| head.number == 0 || chain.holds(&head)),
                "{what}: the witness knows what is not durable"
            );
            let goes_on = count.states.is_multiple_of(step(8));
            // Where no record is there is nothing to verify, and yet the next backup goes through.
            if found.is_empty() && !goes_on {
                return;
            }
            host.on(home, &world, |access| {
                let access = &Access { clock: clock.clone(), ..access.clone() };
                if !found.is_empty() {
                    let report = home.verify_from(access, &[]).unwrap();
                    assert_eq!(report.verdict, Verdict::Valid, "{what}: {:?}", report.findings);
                }
                if goes_on {
                    count.continued += 1;
                    let report = backup::run(access, &home.source(), &backup::Options::default(), &Silent);
                    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(report.findings, [], "{what}");
                    let out = home.path("restored");
                    let place = report.snapshot.to_string().parse().unwrap();
                    restore::run(access, &place, &out, &crate::support::restore_options(), &Silent).unwrap();
                    assert_eq!(picture(&out), truth, "{what}");
                    fs::remove_dir_all(&out).unwrap();
                }
            });
        });
    }
    count
}

fn take(home: &Home) -> impl Fn(&Access) -> Result<()> {
    let source = home.source();
    move |access| backup::run(access, &source, &backup::Options::default(), &Silent).map(|_| ())
}

/// A home with a vault and a source that makes several packs.
fn home() -> Home {
    let home = Home::quick();
    init::run(&home.access(), small()).unwrap();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("noise"), noise(40_000, 1)).unwrap();
    home
}

fn told(what: &str, count: &Count, least: usize) {
    tally(&format!("crash points of {what}"), count.points, least);
    tally(&format!("states after a loss of power in {what}"), count.states, least);
    tally(&format!("states after a loss of power in {what}, backed up and restored"), count.continued, 1);
}

#[test]
fn a_loss_of_power_at_any_operation_of_a_first_backup_loses_nothing_and_publishes_nothing_half() {
    let home = home();
    let (host, world) = (Kept::of(&home), World::load(&home.vault()));
    let recorded = record(&home, &world, take(&home));
    assert_eq!((recorded.before.len(), recorded.after.len()), (0, 1));
    told("a first backup", &examine(&home, &host, &recorded, &home.access().clock), 50);
}

#[test]
fn a_loss_of_power_at_any_operation_of_a_later_backup_loses_nothing_and_publishes_nothing_half() {
    let home = home();
    home.backup();
    fs::write(home.source().join("more"), noise(20_000, 2)).unwrap();
    let (host, world) = (Kept::of(&home), World::load(&home.vault()));
    let recorded = record(&home, &world, take(&home));
    assert_eq!((recorded.before.len(), recorded.after.len()), (1, 2));
    told("a later backup", &examine(&home, &host, &recorded, &home.access().clock), 50);

    // One that was itself cut short: what it left stays, some of it is used, and the next one may be cut short too.
    let moved = |moment: &Moment| moment.operation.starts_with("rename") && moment.operation.contains(" packs/");
    let middle = recorded.moments.iter().rposition(moved).unwrap();
    let mut random = Random(7);
    let left = recorded.moments[middle].world.after_power_loss(|| Fate::Kept, &mut random);
    fs::remove_dir_all(home.path("config")).unwrap();
    fs::remove_dir_all(home.path("state")).unwrap();
    for name in ["config", "state"] {
        copy_tree(&host.copy.join(name), &home.path(name));
    }
    let recorded = record(&home, &left, take(&home));
    told("a backup after a crash", &examine(&home, &host, &recorded, &home.access().clock), 40);
}

#[test]
fn a_loss_of_power_at_any_operation_of_an_index_rebuild_loses_nothing() {
    let home = home();
    home.backup();
    let (host, world) = (Kept::of(&home), World::load(&home.vault()));
    let recorded = record(&home, &world, |access| index::run(access).map(|_| ()));
    assert_eq!(recorded.before, recorded.after);
    told("an index rebuild", &examine(&home, &host, &recorded, &home.access().clock), 5);
}

#[test]
fn a_loss_of_power_at_any_operation_of_a_branch_loses_nothing_and_publishes_nothing_half() {
    let home = home();
    home.backup();
    let world = World::load(&home.vault());
    home.backup();
    home.declare("crypto", &Forger::new(&home).head(1).to_string(), 0);
    let (host, clock) = (Kept::of(&home), home.access_after(200).clock);
    let recorded = record(&home, &world, |access| {
        branch::run(&Access { clock: clock.clone(), ..access.clone() }, "no newer copy exists").map(|_| ())
    });
    assert_eq!((recorded.before.len(), recorded.after.len()), (1, 2));
    // Until the branch is there the copy is older than the host knows: what can be asked then is asked of another host.
    let count = examine_from_elsewhere(&home, &host, &recorded);
    told("a branch", &count, 5);
}

#[test]
fn a_loss_of_power_at_any_operation_of_a_declaration_of_loss_loses_nothing_and_publishes_nothing_half() {
    let home = home();
    home.backup();
    let world = World::load(&home.vault());
    home.backup();
    home.declare("snapshot", "2", 0);
    let (host, clock) = (Kept::of(&home), home.access_after(200).clock);
    let recorded = record(&home, &world, |access| {
        lost::run(&Access { clock: clock.clone(), ..access.clone() }, &[2], "the medium lost it").map(|_| ())
    });
    assert_eq!((recorded.before.len(), recorded.after.len()), (1, 2));
    told("a declaration of loss", &examine_from_elsewhere(&home, &host, &recorded), 5);
}

/// Returns a world with what a backup left that was cut short before the first of its packs was moved, and its name.
fn unfinished(home: &Home) -> (World, String) {
    let world = World::load(&home.vault());
    let recorded = record(home, &world, take(home));
    put_back(home, &["config", "state"]);
    let moves = |moment: &Moment| moment.operation.starts_with("rename snapshots/.incomplete-");
    let first = recorded.moments.iter().position(moves).unwrap();
    let left = recorded.moments[first].world.after_power_loss(|| Fate::Kept, &mut Random(7));
    let chain = Chain::read(&*Memory::new(left.clone()), &Forger::new(home).macs, None).unwrap();
    let [name] = &chain.incomplete[..] else { panic!("{:?}", chain.incomplete) };
    (left, name.clone())
}

#[test]
fn a_loss_of_power_at_any_operation_of_a_discard_takes_nothing_but_what_is_discarded() {
    let home = home();
    home.backup();
    fs::write(home.source().join("more"), noise(20_000, 2)).unwrap();
    keep(&home, &["config", "state"]);
    let (world, name) = unfinished(&home);
    let (host, draft) = (Kept::of(&home), format!("snapshots/{name}/"));
    let others = |world: &World| {
        let mut files = world.contents();
        files.retain(|file, _| !file.starts_with(&draft) && file != "lock.holder");
        files
    };
    let expected = others(&world);
    assert!(world.contents().len() > expected.len() + 1, "the draft holds several files");
    let recorded = record(&home, &world, |access| incomplete::discard(access, &name).map(|_| ()));
    assert_eq!(recorded.before, recorded.after);
    let mut again = 0;
    for (at, moment) in recorded.moments.iter().enumerate() {
        each_outcome(&moment.world, at as u64, |world| {
            assert_eq!(others(&world), expected, "operation {at}, {}", moment.operation);
            // What is left of it can be discarded, which takes nothing else either.
            host.on(&home, &world, |access| {
                let chain = Chain::read(&**access.store.as_ref().unwrap(), &Forger::new(&home).macs, None).unwrap();
                assert!(at + 1 < recorded.moments.len() || chain.incomplete.is_empty(), "it is gone when that is told");
                if chain.incomplete.is_empty() {
                    return;
                }
                let store = Memory::new(world.clone());
                let access = Access { store: Some(Arc::clone(&store) as _), ..access.clone() };
                incomplete::discard(&access, &name).unwrap();
                again += 1;
                assert_eq!(others(&store.world()), expected, "operation {at}, {}, again", moment.operation);
            });
        });
    }
    tally("states after a loss of power in a discard, discarded again", again, 20);
    told("a discard", &examine(&home, &host, &recorded, &home.access().clock), 5);
}

/// As [`examine`], for a host that has not seen the vault before.
fn examine_from_elsewhere(home: &Home, host: &Kept, recorded: &Recorded) -> Count {
    let witnessed = host.copy.join("state/witness");
    fs::remove_dir_all(&witnessed).unwrap();
    // It is no host that made the key and lost its witness.
    fs::remove_file(host.copy.join("config/host.json")).unwrap();
    let moments = recorded.moments.iter().map(|moment| Moment {
        operation: moment.operation.clone(),
        world: moment.world.clone(),
        seen: moment.seen.filter(|head| recorded.after.get(&head.number) == Some(&head.digest)),
    });
    let recorded =
        Recorded { moments: moments.collect(), before: recorded.before.clone(), after: recorded.after.clone() };
    examine(home, host, &recorded, &home.access_after(300).clock)
}

#[test]
fn a_loss_of_power_at_any_operation_of_init_leaves_a_whole_vault_or_none() {
    let home = Home::quick();
    let moments: Arc<Mutex<Vec<World>>> = Arc::default();
    let into = Arc::clone(&moments);
    let store = Memory::watched(World::new(), move |what, _, world| {
        if writes(what) {
            into.lock().unwrap().push(world.clone());
        }
        Order::Do
    });
    init::run(&Access { store: Some(Arc::clone(&store) as _), ..home.access() }, small()).unwrap();
    home.write_source(&SMALL_TREE);
    let host = Kept::of(&home);
    let mut moments = std::mem::take(&mut *moments.lock().unwrap());
    moments.push(store.world());
    let (last, mut states, mut whole) = (moments.len() - 1, 0, 0);
    for (at, world) in moments.iter().enumerate() {
        each_outcome(world, at as u64, |world| {
            states += 1;
            host.on(&home, &world, |access| match gate::open(access) {
                Ok(_) => {
                    whole += 1;
                    take(&home)(access).unwrap_or_else(|error| panic!("operation {at}: half a vault opens: {error}"));
                }
                Err(error) => assert!(at < last && error.code().is_some(), "operation {at}: {error}"),
            });
        });
    }
    assert!(whole > 0);
    tally("crash points of init", moments.len(), 15);
    tally("states after a loss of power in init", states, 60);
}

#[test]
fn init_makes_no_vault_in_a_store_that_holds_anything() {
    let home = Home::quick();
    let store = Memory::new(World::new());
    devvault::store::Store::create(&*store, "mine").unwrap();
    let result = init::run(&Access { store: Some(store), ..home.access() }, small());
    crate::support::assert_refused(devvault::refusal::Code::NotEmpty, result);
}
