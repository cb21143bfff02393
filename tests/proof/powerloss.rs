//! Loss of power on real file systems: what the real program's disk was told is recorded, cut anywhere, and looked at.
//!
//! Either the whole home lies on one disk, or the vault and what the host keeps lie on disks of their own, so that a sync
//! of one brings nothing of the others along. Of what no flush followed each write is kept, lost or torn; the file system's
//! own log is replayed by mounting what is left. So that this is known to see, the program's syncs are taken out, of every
//! kind at once and one at a time, and that has to be noticed. A restore makes few plain objects durable one by one, all
//! else at once, and what it sets last once more: each of these is recorded.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use devvault::incident::journal::Journal;
use devvault::ops::init;

use super::disk::{Disk, Fate, Image, Mounted, Recording, Shelf};
use super::lint::plain;
use super::memory::Random;
use super::sound::{KINDS, Likeness, PLAIN, likeness};
use super::tracer::{self, Deed, Outcome, SYNCS, Which};
use super::{more_and_less, scaled, sound, tally};
use crate::support::{Home, is_root, noise, skip, small};

/// A file system.
struct Kind {
    name: &'static str,
    bytes: u64,
    /// What makes one in the file `$1`.
    make: &'static str,
    options: &'static str,
    /// What it asks of a disk to be written whole.
    atom: usize,
}

const EXT4: Kind = Kind {
    name: "ext4",
    bytes: 256 << 20,
    make: r#"mkfs.ext4 -q -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$1""#,
    options: "nodiscard",
    atom: 512,
};
const XFS: Kind = Kind {
    name: "xfs",
    bytes: 304 << 20,
    make: r#"mkfs.xfs -q -K "$1""#,
    // What was unmounted lives on while a process that starts beside it has yet to let go of what it inherited, and no
    // second one of its name is mounted until then.
    options: "nodiscard,nouuid",
    atom: 512,
};
const BTRFS: Kind = Kind {
    name: "btrfs",
    bytes: 256 << 20,
    make: r#"mkfs.btrfs -q -K "$1""#,
    options: "nodiscard",
    // Its superblock, which nothing backs up where a mount looks for it.
    atom: 4096,
};

/// Where a home meets its disks: all of it on one; or vault, source and destination, what the host remembers, and its keys
/// and settings, each on one of its own.
type Places = &'static [&'static str];
const TOGETHER: Places = &[""];
const APART: Places = &["", "state", "config"];

/// A home on disks, on file systems of some kind.
struct Scene {
    shelf: Shelf,
    home: Home,
    scratch: tempfile::TempDir,
    kind: &'static Kind,
    places: Places,
    empty: Vec<Image>,
}

/// A home's disks while they are mounted.
struct Standing {
    disks: Vec<Disk>,
    mounted: Vec<Mounted>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.unmount();
    }
}

impl Standing {
    /// Unmounts them, and returns what they hold then.
    fn images(mut self) -> Vec<Image> {
        self.unmount();
        self.disks.iter().map(Disk::image).collect()
    }

    fn unmount(&mut self) {
        // Those within others first.
        while self.mounted.pop().is_some() {}
    }
}

/// A run of the program while the disk was recorded: when it began, when it had told its result, and how many entries the
/// journal had then.
struct Run {
    arguments: &'static [&'static str],
    begun: usize,
    told: usize,
    journaled: usize,
}

/// What was recorded of some runs, and what is known of the home in which they ran.
struct Take {
    recording: Recording,
    runs: Vec<Run>,
    /// Records there before, what each record restores to, and each destination.
    before: usize,
    truths: Vec<Likeness>,
    parts: Vec<(&'static str, Likeness)>,
    /// What became of the last run.
    outcome: Outcome,
    /// What its syncs are about.
    syncs: Vec<String>,
}

/// A home as it is when a recording begins.
struct Start {
    images: Vec<Image>,
    before: usize,
    truths: Vec<Likeness>,
    /// What each destination of a restore holds once it is there.
    parts: Vec<(&'static str, Likeness)>,
}

/// A sync that is taken out: of which run, its place among the calls, or all from there on.
type Deeds = (usize, usize, Deed);
const NO_DEED: Deeds = (0, 0, Deed::Nothing);

type Runs = &'static [&'static [&'static str]];

const FOUNDING: Runs = &[&["init", "vault"], &["--vault", "vault", "backup", "source"]];
const LATER: Runs = &[&["--vault", "vault", "backup", "source"], &["--vault", "vault", "restore", "2", "restored"]];
/// Two restores: of few plain objects, which are made durable one by one, and of such as are made durable all at once.
const PARTS: Runs =
    &[&["--vault", "vault", "restore", "1:src", PLAIN], &["--vault", "vault", "restore", "1:kinds", KINDS]];

/// What is recorded, each with whether it begins with a vault and a snapshot in it.
const TAKES: [(bool, Runs); 3] = [(false, FOUNDING), (true, LATER), (true, PARTS)];

/// Returns which command is run.
fn word_of(arguments: &[&'static str]) -> &'static str {
    arguments.iter().find(|word| ["init", "backup", "restore"].contains(word)).copied().unwrap_or_default()
}

impl Scene {
    fn new(kind: &'static Kind, places: Places) -> Result<Self, String> {
        let scratch = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(scratch.path().join("shelf"))?;
        let home = Home::quick();
        let mut empty = Vec::new();
        for place in places {
            // Each made anew: two that are alike would be taken for one by btrfs and xfs.
            let disk = shelf.put(Image::new(kind.bytes));
            disk.shell(kind.make)?;
            let mounted = disk.mount(kind.options, &home.path(""))?;
            match place.is_empty() {
                true => places.iter().for_each(|place| fs::create_dir_all(home.path(place)).unwrap()),
                false => fs::set_permissions(home.path(""), fs::Permissions::from_mode(0o700)).unwrap(),
            }
            drop(mounted);
            empty.push(disk.image());
        }
        Ok(Self { shelf, home, scratch, kind, places, empty })
    }

    /// Returns what a sync is about, without what is random in it.
    fn shown(&self, call: &str, about: &str) -> String {
        let of = if call == "syncfs" { "syncfs of " } else { "" };
        format!("{of}{}", plain(&self.home, Path::new(about)))
    }

    /// Mounts the home's disks with what they are to hold.
    fn stand(&self, images: Vec<Image>) -> Result<Standing, String> {
        let disks = images.into_iter().map(|image| self.shelf.put(image)).collect();
        let mut standing = Standing { disks, mounted: Vec::new() };
        for (disk, place) in standing.disks.iter().zip(self.places) {
            standing.mounted.push(disk.mount(self.kind.options, &self.home.path(place))?);
        }
        Ok(standing)
    }

    /// Returns the home as it is for [`FOUNDING`], or for all else: with a vault of small packs, one snapshot, and a source
    /// that has changed since.
    fn start(&self, later: bool) -> Start {
        let home = &self.home;
        let standing = self.stand(self.empty.clone()).unwrap();
        sound::write_source(home, 100_000);
        let mut truths = vec![likeness(&home.source())];
        if later {
            init::run(&home.access(), small()).unwrap();
            home.succeed(LATER[0]);
            fs::write(home.source().join("more"), noise(50_000, 2)).unwrap();
            truths.push(likeness(&home.source()));
        }
        let parts =
            [("restored", home.source()), (PLAIN, home.source().join(PLAIN)), (KINDS, home.source().join(KINDS))];
        let parts = parts.map(|(name, source)| (name, likeness(&source))).to_vec();
        Start { images: standing.images(), before: usize::from(later), truths, parts }
    }

    /// Records some runs of the program; nothing where no process can be traced.
    fn record(&self, start: &Start, runs: Runs, deeds: Deeds) -> Option<Take> {
        self.shelf.record();
        let standing = self.stand(start.images.clone()).unwrap();
        let mut done = Vec::new();
        let (mut last, mut syncs) = (None, Vec::new());
        for (number, arguments) in runs.iter().copied().enumerate() {
            let mut command = self.home.program();
            command.arg("--json").args(arguments);
            let (begun, told) = (self.shelf.events(), Cell::new(None));
            let (nth, deed) = if number == deeds.0 { (deeds.1, deeds.2) } else { (0, Deed::Nothing) };
            let found = RefCell::new(Vec::new());
            let watch = |name: &str, about: &dyn Fn() -> String| {
                if SYNCS.contains(&name) {
                    found.borrow_mut().push(self.shown(name, &about()));
                }
                if name == "write" && told.get().is_none() && about().ends_with("/stdout") {
                    told.set(Some(self.shelf.events()));
                }
            };
            let outcome = tracer::run_watched(&mut command, self.scratch.path(), Which::Writes, nth, deed, &watch)?;
            assert_eq!(outcome.exit, Some(0), "{}: {deed:?}: {outcome:?}", self.kind.name);
            let journaled = Journal::of(&self.home.host()).entries().unwrap().len();
            done.push(Run { arguments, begun, told: told.get().expect("it told its result"), journaled });
            (last, syncs) = (Some(outcome), found.into_inner());
        }
        let recording = self.shelf.recorded(&standing.disks, &start.images);
        drop(standing);
        let (truths, parts) = (start.truths.clone(), start.parts.clone());
        Some(Take { recording, runs: done, before: start.before, truths, parts, outcome: last?, syncs })
    }

    /// Cuts the power after so many events, and returns whether every record was also restored and the next backup made, or
    /// what is wrong then.
    fn look(&self, take: &Take, cut: usize, fate: Fate, random: &mut Random, deeper: bool) -> Result<bool, String> {
        // Of several disks each may have gone another way.
        let others = self.places.iter().skip(1).map(|_| [Fate::Mixed, Fate::Lost, Fate::Kept][random.below(3)]);
        let fates: Vec<Fate> = [fate].into_iter().chain(others.collect::<Vec<_>>()).collect();
        let standing = self.stand(take.recording.cut(cut, &fates, self.kind.atom, random));
        let _standing = standing.unwrap_or_else(|error| panic!("{} after {cut} {fates:?}: {error}", self.kind.name));
        let home = &self.home;
        let backups = |when: &dyn Fn(&Run) -> bool| {
            take.before + take.runs.iter().filter(|run| run.arguments.contains(&"backup") && when(run)).count()
        };
        let told = |word: &str| take.runs.iter().any(|run| run.arguments.contains(&word) && run.told <= cut);
        let (least, most) = (backups(&|run| run.told <= cut), backups(&|run| run.begun < cut));
        let found = sound::look(home)?;
        let records = found.records;
        if found.witnessed < least as u64 {
            return Err(format!("the witness knows {} records, and {least} were told of", found.witnessed));
        }
        let journaled = take.runs.iter().filter(|run| run.told <= cut).map(|run| run.journaled).max();
        if journaled.is_some_and(|journaled| found.journaled < journaled) {
            return Err(format!("{} entries of the journal, where there were {journaled:?}", found.journaled));
        }
        if !(least..=most).contains(&records) {
            return Err(format!("{records} records, where there may be {least} to {most}"));
        }
        if told("init") && !home.vault().join("vault.json").exists() {
            return Err("no vault, where there was said to be one".into());
        }
        for (place, truth) in &take.parts {
            match home.path(place).exists() {
                true if likeness(&home.path(place)) != *truth => return Err(format!("a destination in part: {place}")),
                false if told(place) => return Err("no destination, where one was told of".into()),
                _ => {}
            }
        }
        // An empty vault shows whether it is whole only when it is used.
        let goes_on = if records > 0 { deeper } else { told("init") };
        if goes_on { self.go_on(take, records).map(|()| true) } else { Ok(false) }
    }

    /// Restores every record, and backs up again.
    fn go_on(&self, take: &Take, records: usize) -> Result<(), String> {
        let home = &self.home;
        for (number, truth) in (1..=records).zip(&take.truths) {
            let place = format!("looked-at-{number}");
            home.restore(&number.to_string(), &place).map_err(|error| error.to_string())?;
            if likeness(&home.path(&place)) != *truth {
                return Err(format!("record {number} does not restore to what it was made of"));
            }
        }
        home.try_backup(&Default::default()).map_err(|error| format!("the next backup: {error}"))?;
        match sound::look(home)?.records {
            now if now == records + 1 => Ok(()),
            now => Err(format!("{now} records after {records} and a backup")),
        }
    }

    /// Tries so many states of a recording; returns how many were also restored and backed up.
    fn try_states(&self, take: &Take, states: usize) -> usize {
        let first = take.runs[0].begun;
        let span = take.recording.len() + 1 - first;
        let mut deeper = 0;
        for number in 0..states {
            let mut random = Random(number as u64);
            let (from, to) = (number * span / states, (number + 1) * span / states);
            let cut = first + from + random.below(to - from);
            let fate = [Fate::Mixed, Fate::Lost, Fate::Mixed, Fate::Mixed, Fate::Kept][number % 5];
            let result = self.look(take, cut, fate, &mut random, number % 4 == 3);
            let went_on = result.unwrap_or_else(|wrong| {
                panic!("{}: state {number}, after {cut} of {span}, {fate:?}: {wrong}", self.kind.name)
            });
            deeper += usize::from(went_on);
        }
        deeper
    }

    /// Returns what is wrong in any of a few states of a recording, most of them after all had been told.
    fn notice(&self, take: &Take, states: usize) -> Option<String> {
        let run = take.runs.last()?;
        (0..states).find_map(|number| {
            let mut random = Random(number as u64);
            let (cut, fate) = match number {
                0 => (run.told, Fate::Lost),
                1 => (take.recording.len(), Fate::Lost),
                number if number % 2 == 0 => (run.told, Fate::Mixed),
                _ => (run.begun + random.below(take.recording.len() - run.begun) + 1, Fate::Lost),
            };
            self.look(take, cut, fate, &mut random, false).err()
        })
    }
}

/// Runs with a scene of its own, in a thread of its own, whose mounts nobody else sees; says so where there is none.
fn with_scene(kind: &'static Kind, places: Places, act: impl FnOnce(&Scene) + Send) {
    if !is_root() {
        skip("only root can mount");
        return;
    }
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name(name).spawn_scoped(scope, move || match Scene::new(kind, places) {
                Ok(scene) => act(&scene),
                Err(reason) => skip(&format!("{}: {reason}", kind.name)),
            });
        if let Err(panic) = thread.unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn cut_everywhere(kind: &'static Kind, places: Places) {
    with_scene(kind, places, |scene| {
        let states = scaled(24, 1_002) / TAKES.len();
        let mut deeper = 0;
        for (later, runs) in TAKES {
            let start = scene.start(later);
            let Some(take) = scene.record(&start, runs, NO_DEED) else { return };
            deeper += scene.try_states(&take, states);
            // The same, with a program whose syncs do nothing.
            let blinded = if runs == PARTS { 0..runs.len() } else { runs.len() - 1..runs.len() };
            for last in blinded {
                let Some(blind) = scene.record(&start, &runs[..=last], (last, 0, Deed::NoSyncs)) else { return };
                let noticed = scene.notice(&blind, 4);
                assert!(noticed.is_some(), "{}: nobody missed the syncs of {:?}", kind.name, runs[last]);
            }
        }
        let disks = if places.len() > 1 { "three disks of " } else { "" };
        tally(&format!("states of {disks}{} after a loss of power", kind.name), states * TAKES.len(), 24);
        let label =
            format!("states of {disks}{} after a loss of power that were also restored and backed up", kind.name);
        tally(&label, deeper, 2);
    });
}

#[test]
fn a_loss_of_power_at_any_write_loses_nothing_on_ext4() {
    cut_everywhere(&EXT4, TOGETHER);
}

#[test]
fn a_loss_of_power_at_any_write_loses_nothing_on_xfs() {
    cut_everywhere(&XFS, TOGETHER);
}

#[test]
fn a_loss_of_power_at_any_write_loses_nothing_on_btrfs() {
    cut_everywhere(&BTRFS, TOGETHER);
}

#[test]
fn a_loss_of_power_loses_nothing_of_vault_and_host_on_disks_of_their_own_on_ext4() {
    cut_everywhere(&EXT4, APART);
}

#[test]
fn a_loss_of_power_loses_nothing_of_vault_and_host_on_disks_of_their_own_on_xfs() {
    cut_everywhere(&XFS, APART);
}

#[test]
fn a_loss_of_power_loses_nothing_of_vault_and_host_on_disks_of_their_own_on_btrfs() {
    cut_everywhere(&BTRFS, APART);
}

/// Syncs whose absence is seen on any of the file systems, alone, on whatever run; all others may be covered by later ones.
const SEEN: [&str; 22] = [
    "init config/.n*",
    "init config/keys/.n*",
    "init vault/vault.hmac",
    "init vault/vault.json",
    "init state/witness/.n*",
    "init state/journal/journal.jsonl",
    "init state/journal/.n*",
    "backup vault/snapshots/.in*/0000.part",
    "backup vault/snapshots/.in*/manifest.json",
    "backup vault/snapshots/.in*/manifest.hmac",
    "backup state/witness/.n*",
    "backup state/journal/journal.jsonl",
    "backup state/journal/.n*",
    "later backup vault/snapshots/.in*/manifest.json",
    "later backup vault/snapshots/.in*/manifest.hmac",
    "later backup state/witness/.n*",
    "later backup state/journal/journal.jsonl",
    "later backup state/journal/.n*",
    "later restore src staging/main.rs",
    "later restore kinds syncfs of staging",
    "later restore kinds state/journal/journal.jsonl",
    "later restore kinds state/journal/.n*",
];

/// Those of them which an ordinary run takes out.
const ALWAYS: [&str; 4] = [
    "later backup vault/snapshots/.in*/manifest.json",
    "later restore src staging/main.rs",
    "later restore kinds syncfs of staging",
    "later restore kinds state/journal/journal.jsonl",
];

#[test]
fn a_sync_taken_out_alone_is_noticed_on_one_of_the_file_systems() {
    let full = more_and_less().0 == usize::MAX;
    let mut takes = vec![(true, &LATER[..1]), (true, &PARTS[..1]), (true, PARTS)];
    if full {
        takes.extend([(false, &FOUNDING[..1]), (false, FOUNDING), (true, LATER)]);
    }
    // By take and place among its syncs: what went wrong without it, if anything did.
    let mut syncs: BTreeMap<(usize, usize), (String, Option<String>)> = BTreeMap::new();
    let mut tried = BTreeSet::new();
    let all_places = if full { &[TOGETHER, APART][..] } else { &[TOGETHER] };
    for (places, kind) in all_places.iter().flat_map(|places| [&BTRFS, &XFS, &EXT4].map(|kind| (*places, kind))) {
        with_scene(kind, places, |scene| {
            for (number, (later, runs)) in takes.iter().copied().enumerate() {
                let last = runs.len() - 1;
                let name = |about: &str| {
                    let part = runs[last].last().filter(|place| [PLAIN, KINDS].contains(place));
                    let words = [if later { "later" } else { "" }, word_of(runs[last]), part.unwrap_or(&""), about];
                    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
                };
                let start = scene.start(later);
                let Some(take) = scene.record(&start, runs, NO_DEED) else { return };
                tried.insert(kind.name);
                for (nth, about) in take.syncs.iter().enumerate() {
                    let (about, noticed) = syncs.entry((number, nth)).or_insert((name(about), None));
                    if noticed.is_some() || !full && !ALWAYS.contains(&&about[..]) {
                        continue;
                    }
                    let Some(without) = scene.record(&start, runs, (last, nth, Deed::NoSync)) else { return };
                    // The order of threads, and so the sync that is met, differs from run to run.
                    let met = without.outcome.met.as_ref().map(|(call, about)| scene.shown(call, about));
                    *about = name(&met.unwrap_or_default());
                    let apart = if places.len() > 1 { "three disks of " } else { "" };
                    *noticed = scene
                        .notice(&without, if places.len() > 1 { 24 } else { 8 })
                        .map(|why| format!("{apart}{}: {why}", kind.name));
                }
            }
        });
    }
    if tried.len() < 3 {
        // What one of them brings along by chance another one misses.
        return skip(&format!("it takes ext4, xfs and btrfs, and here are {tried:?}"));
    }
    for ((_, nth), (about, noticed)) in syncs.iter().filter(|_| full) {
        println!("proof: without sync {nth}, {about}: {}", noticed.as_deref().unwrap_or("nothing"));
    }
    let noticed: Vec<&str> =
        syncs.values().filter(|(_, noticed)| noticed.is_some()).map(|(about, _)| &about[..]).collect();
    let named: BTreeSet<&str> = noticed.iter().copied().collect();
    let unseen: Vec<&&str> =
        if full { &SEEN[..] } else { &ALWAYS }.iter().filter(|sync| !named.contains(*sync)).collect();
    assert!(unseen.is_empty(), "nobody missed {unseen:?}, but {named:?}");
    let least = if full { SEEN.len() } else { ALWAYS.len() };
    tally("syncs whose absence a loss of power showed, each taken out alone", noticed.len(), least);
}
