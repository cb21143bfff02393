//! The real program, killed at every system call that changes something, and given an error by every call that it makes.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::memory::Random;
use super::sound::{Likeness, PLAIN, likeness};
use super::tracer::{self, Deed, Outcome, Which};
use super::{keep, put_back, scaled, sound, step, tally};
use crate::support::{Forger, Home, copy_tree, fingerprint, names, noise};

/// A command of the program, and the state of a home in which it is run again and again.
struct Scene {
    home: Home,
    arguments: Vec<&'static str>,
    /// Records before, and after if all goes well.
    records: (usize, usize),
    truth: Likeness,
    /// What is wrong with the home until the command has mended it, if anything is.
    flaw: Option<String>,
    /// Whether what the command is for is there.
    done: Option<fn(&Home) -> bool>,
}

/// What a run may change.
const CHANGED: [&str; 5] = ["config", "state", "vault", "restored", "exported.key"];

const EXPORT: [&str; 4] = ["key", "export", "exported.key", "--acknowledge-plain-secret"];

const DRAFT: &str = ".incomplete-0123456789abcdef0123456789abcdef";

impl Scene {
    /// Makes a home of the program's own, with as many snapshots as are asked for, and a source that has changed since.
    fn new(arguments: &[&'static str], snapshots: usize, after: usize) -> Self {
        Self::prepared(arguments, snapshots, after, |_| {})
    }

    /// As [`new`](Self::new), and what else has to be there before.
    fn prepared(arguments: &[&'static str], snapshots: usize, after: usize, prepare: impl FnOnce(&Home)) -> Self {
        let home = Home::quick();
        sound::write_source(&home, 300_000);
        if arguments[0] != "init" {
            home.succeed(&["init", "vault"]);
        }
        let mut truth = Likeness::new();
        for number in 0..snapshots {
            truth = likeness(&match arguments[0] == "restore" && arguments[1].ends_with(PLAIN) {
                true => home.source().join(PLAIN),
                false => home.source(),
            });
            home.succeed(&["--vault", "vault", "backup", "source"]);
            fs::write(home.source().join(format!("more-{number}")), noise(50_000, number as u64 + 2)).unwrap();
        }
        prepare(&home);
        keep(&home, &CHANGED);
        let flaw = sound::look(&home).err();
        put_back(&home, &CHANGED);
        let done: Option<fn(&Home) -> bool> = match arguments[0] {
            "init" => Some(|home| home.vault().join("vault.json").exists()),
            "restore" => Some(|home| home.path("restored").exists()),
            "incomplete" => Some(|home| !home.vault().join("snapshots").join(DRAFT).exists()),
            "key" if arguments[1] == "export" => Some(|home| home.path("exported.key").exists()),
            "key" => Some(|home| {
                let keys = home.path("config/keys");
                keys.exists() && names(&keys).iter().any(|name| name.ends_with(".key"))
            }),
            "declare-lost" | "branch" => Some(|home| sound::look(home).is_ok()),
            _ => None,
        };
        Self { home, arguments: arguments.to_vec(), records: (snapshots, after), truth, flaw, done }
    }

    /// Where something that was never finalized is discarded.
    fn discard() -> Self {
        Self::prepared(&["incomplete", "discard", DRAFT], 1, 1, |home| {
            let draft = home.vault().join("snapshots").join(DRAFT);
            fs::create_dir(&draft).unwrap();
            fs::write(draft.join("0000.part"), noise(10_000, 7)).unwrap();
            fs::write(draft.join("origin.json"), "{}\n").unwrap();
        })
    }

    /// Where another host gets the key.
    fn import() -> Self {
        Self::prepared(&["key", "import", "carried.key"], 1, 1, |home| {
            home.succeed(&["--vault", "vault", "key", "export", "carried.key", "--acknowledge-plain-secret"]);
            fs::remove_dir_all(home.path("config")).unwrap();
            fs::remove_dir_all(home.path("state")).unwrap();
        })
    }

    /// Where the newest of two records is gone, and a permit says that it may be declared lost.
    fn loss() -> Self {
        let mut scene = Self::prepared(&["declare-lost", "2", "--reason", "r"], 2, 2, |home| {
            home.permit("snapshot", "2");
            fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
        });
        scene.records.0 = 1;
        scene
    }

    /// Where the vault is older than the host knows, and a permit says that it may go on all the same.
    fn branch() -> Self {
        let mut scene = Self::prepared(&["branch", "--reason", "r"], 1, 2, |home| {
            copy_tree(&home.vault(), &home.path("older"));
            home.succeed(&["--vault", "vault", "backup", "source"]);
            home.permit("crypto", &Forger::new(home).head(1).to_string());
            fs::remove_dir_all(home.vault()).unwrap();
            copy_tree(&home.path("older"), &home.vault());
        });
        scene.records.0 = 1;
        scene
    }

    /// Puts everything back as it was.
    fn reset(&self) {
        put_back(&self.home, &CHANGED);
        for name in names(&self.home.path("")) {
            if name.contains("devvault-restoring") {
                fs::remove_dir_all(self.home.path(&name)).unwrap();
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = self.home.program();
        if self.home.path("kept/vault").exists() {
            command.arg("--vault").arg("vault");
        }
        command.arg("--json").args(&self.arguments);
        command
    }

    fn run(&self, which: Which, nth: usize, deed: Deed) -> Option<Outcome> {
        self.reset();
        tracer::run(&mut self.command(), &self.home.path("kept"), which, nth, deed)
    }

    /// Returns the calls of a run to which nothing is done, each with whether it reads or writes; nothing where processes may
    /// not be traced.
    fn calls(&self, which: Which) -> Option<Vec<(&'static str, bool)>> {
        let outcome = self.run(which, 0, Deed::Nothing)?;
        assert_eq!(outcome.exit, Some(0), "{outcome:?}");
        assert_eq!(self.check("an ordinary run"), self.records.1);
        assert!(self.is_done(), "{outcome:?}");
        Some(outcome.calls.into_iter().zip(outcome.transfers).collect())
    }

    fn is_done(&self) -> bool {
        self.done.is_none_or(|done| done(&self.home))
    }

    /// Asserts that nothing is harmed, whatever happened; returns how many records there are.
    fn check(&self, what: &str) -> usize {
        let home = &self.home;
        self.check_files(what);
        let records = match sound::look(home) {
            Ok(found) => found.records,
            // As it was before.
            Err(error) if self.flaw.as_ref() == Some(&error) => self.records.0,
            Err(error) => panic!("{what}: {error}"),
        };
        if !home.vault().join("vault.json").exists() {
            return 0;
        }
        // Done again, it may have been done twice.
        let most = self.records.1 + usize::from(what.ends_with("again") && self.arguments[0] == "backup");
        assert!((self.records.0..=most).contains(&records), "{what}: {records} records");
        // A destination is absent or complete.
        if home.path("restored").exists() {
            assert_eq!(likeness(&home.path("restored")), self.truth, "{what}: the destination is not complete");
        }
        records
    }

    /// Asserts that what lay in the vault still does, byte by byte, but for what carries nothing and what is to be removed.
    fn check_files(&self, what: &str) {
        if !self.home.path("kept/vault").exists() {
            return;
        }
        let now = fingerprint(&self.home.vault());
        for (path, digest) in fingerprint(&self.home.path("kept/vault")) {
            let name = path.strip_prefix(self.home.path("kept/vault")).unwrap();
            if name.starts_with("index")
                || name.ends_with("lock.holder")
                || name.starts_with(format!("snapshots/{DRAFT}"))
            {
                continue;
            }
            let found = now.get(&self.home.vault().join(name));
            assert_eq!(found, Some(&digest), "{what}: {} was removed or changed", name.display());
        }
    }

    /// Runs the command again, with nothing done to it.
    fn again(&self, what: &str) {
        let home = &self.home;
        let begun = self.arguments[0] == "init" && home.vault().exists() && !names(&home.vault()).is_empty();
        if begun || self.done.is_some() && self.is_done() {
            return;
        }
        if self.arguments[0] == "init" {
            // A key of a vault that never was opens nothing; the new vault gets its own.
            let _ = fs::remove_dir_all(home.path("config/keys"));
        }
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{what}, then again: {output:?}");
        self.check(&format!("{what}, then again"));
        assert!(self.is_done(), "{what}, then again: {output:?}");
    }
}

fn kill_everywhere(name: &str, scene: &Scene, least: usize) {
    let Some(calls) = scene.calls(Which::Writes) else { return };
    let mut killed = 0;
    for (nth, (_, transfers)) in calls.into_iter().enumerate() {
        for (turn, deed) in [Deed::KillBefore, Deed::KillWithin, Deed::KillAfter].into_iter().enumerate() {
            if !(nth * 3 + turn).is_multiple_of(step(4)) || deed == Deed::KillWithin && !transfers {
                continue;
            }
            let Some(outcome) = scene.run(Which::Writes, nth, deed) else { return };
            let what = format!("{name}: {deed:?} at call {nth}, {:?}", outcome.met);
            assert!(!outcome.hung, "{what}: it hung");
            // The last calls differ a little from run to run, with the order of threads.
            let Some(_) = outcome.met else { continue };
            killed += 1;
            let records = scene.check(&what);
            let so = records == scene.records.1 && scene.is_done();
            assert!(outcome.stdout.is_empty() || so, "{what}: claimed before it was so");
            if killed % 4 == 0 {
                scene.again(&what);
            }
        }
    }
    tally(&format!("kill points of {name}"), killed, least);
}

#[test]
fn a_kill_at_any_write_of_init_leaves_no_vault_without_its_key() {
    kill_everywhere("init", &Scene::new(&["init", "vault"], 0, 0), 30);
}

#[test]
fn a_kill_at_any_write_of_a_first_backup_harms_nothing() {
    kill_everywhere("a first backup", &Scene::new(&["backup", "source"], 0, 1), 30);
}

#[test]
fn a_kill_at_any_write_of_a_later_backup_harms_nothing() {
    kill_everywhere("a later backup", &Scene::new(&["backup", "source"], 2, 3), 30);
}

#[test]
fn a_kill_at_any_write_of_a_restore_leaves_the_destination_absent_or_complete() {
    let (whole, plain) =
        (Scene::new(&["restore", "1", "restored"], 1, 1), Scene::new(&["restore", "1:src", "restored"], 1, 1));
    let in_it = Which::ChangesAt("devvault-restoring");
    let (Some(calls), Some(few)) = (whole.calls(in_it), plain.calls(in_it)) else { return };
    let has = |calls: &[(&str, bool)], call| calls.iter().any(|(name, _)| *name == call);
    // One makes durable all at once what the other makes so one by one.
    for call in ["symlinkat", "linkat", "mknodat", "fsetxattr", "syncfs"] {
        let unkept = call == "fsetxattr" && !sound::keeps_attributes(&whole.home);
        assert!((has(&calls, call) || unkept) && !has(&few, call), "{call}: {calls:?} {few:?}");
    }
    kill_everywhere("a restore", &whole, 40);
    kill_everywhere("a restore of few plain objects", &plain, 20);
}

#[test]
fn a_kill_at_any_write_of_an_index_rebuild_a_verification_or_an_export_harms_nothing() {
    kill_everywhere("an index rebuild", &Scene::new(&["index", "rebuild"], 1, 1), 10);
    kill_everywhere("a verification", &Scene::new(&["verify"], 1, 1), 5);
    kill_everywhere("a key export", &Scene::new(&EXPORT, 1, 1), 5);
}

#[test]
fn a_kill_at_any_write_of_a_discard_or_an_import_harms_nothing() {
    kill_everywhere("a discard of an incomplete snapshot", &Scene::discard(), 5);
    kill_everywhere("a key import", &Scene::import(), 5);
}

#[test]
fn a_kill_at_any_write_of_a_declaration_of_loss_or_a_branch_leaves_all_of_it_or_nothing() {
    kill_everywhere("a declaration of loss", &Scene::loss(), 10);
    kill_everywhere("a branch", &Scene::branch(), 10);
}

/// Errors by name and number.
const ERRORS: [(&str, i32); 15] = [
    ("EIO", 5),
    ("ENOSPC", 28),
    ("EINVAL", 22),
    ("EACCES", 13),
    ("EMFILE", 24),
    ("ENOSYS", 38),
    ("EDQUOT", 122),
    ("EOPNOTSUPP", 95),
    ("EPERM", 1),
    ("ENOMEM", 12),
    ("EROFS", 30),
    ("EINTR", 4),
    ("EXDEV", 18),
    ("EMLINK", 31),
    ("EAGAIN", 11),
];

/// What a file system says that does not know a call: EINVAL, ENOSYS, EOPNOTSUPP.
const CANNOT: [i32; 3] = [22, 38, 95];

/// Calls whose failure changes nothing that anybody was promised.
fn may_fail_in_silence(call: &str, about: &str, errno: i32) -> bool {
    // Asked again at once.
    errno == 4
        // For people only.
        || about.contains("lock.holder")
        // What a file system cannot do is tried once, in a place of its own, and done otherwise.
        || about.contains("devvault-probing")
        || call == "renameat2" && CANNOT.contains(&errno)
        // Asked of a source's file, so that a file system tells its holes as they are; where that fails, all of it is read.
        || call == "fdatasync" && about.contains("/source/")
        // What a failed write leaves unsaid on the terminal cannot be said there.
        || about.contains("kept/std")
        // What is set aside or removed after the fact.
        || call == "unlink" && about.contains("/.new-")
}

fn fail_everywhere(name: &str, scene: &Scene, least: usize) {
    let Some(calls) = scene.calls(Which::All) else { return };
    let mut injected = 0;
    let mut wrong = Vec::new();
    for (nth, (name_of_call, transfers)) in calls.into_iter().enumerate() {
        for (turn, (error, errno)) in ERRORS.into_iter().enumerate() {
            for deed in [Deed::Fail(errno), Deed::FailFromThenOn(errno), Deed::Short] {
                // Interrupted for ever, a program goes on trying for ever, as it should.
                let pointless =
                    errno == 4 && deed == Deed::FailFromThenOn(4) || deed == Deed::Short && (turn > 0 || !transfers);
                let turn = nth * ERRORS.len() + turn + usize::from(deed == Deed::FailFromThenOn(errno)) * 7;
                // Those that tell most are always tried.
                let always = match name_of_call {
                    "clone3" => errno == 11,
                    "fsync" | "syncfs" | "rename" | "renameat" | "renameat2" => errno == 5 && deed == Deed::Fail(5),
                    _ => false,
                };
                if pointless || !always && !turn.is_multiple_of(step(67)) {
                    continue;
                }
                let Some(outcome) = scene.run(Which::All, nth, deed) else { return };
                let Some((call, about)) = &outcome.met else { continue };
                injected += 1;
                let what = format!("{name}: {error} {deed:?} at call {nth}, {call} {about}");
                if let Err(reason) = judge(scene, &what, &outcome, call, about, deed) {
                    wrong.push(reason);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {injected}:\n{}", wrong.len(), wrong.join("\n"));
    tally(&format!("errors injected into system calls of {name}"), injected, least);
}

fn judge(scene: &Scene, what: &str, outcome: &Outcome, call: &str, about: &str, deed: Deed) -> Result<(), String> {
    let records = scene.check(what);
    let refuse = |why: &str| Err(format!("{what}: {why}: {:?} {} {}", outcome.exit, outcome.stdout, outcome.stderr));
    if outcome.hung {
        return refuse("it hung");
    }
    // The language's own tables of hashes end a process that gets no random bytes for them; that cannot be caught.
    if call == "getrandom" && outcome.stderr.contains("failed to generate random data") {
        return Ok(());
    }
    if outcome.stderr.contains("panicked") {
        return refuse("it panicked");
    }
    match outcome.exit {
        Some(0) => {}
        Some(1 | 2 | 11..=18) => {
            let denies = ["no snapshot was", "no record was"].iter().any(|words| outcome.stdout.contains(words));
            if denies && records > scene.records.0 {
                return refuse("it denies what it did");
            }
            return Ok(());
        }
        _ => return refuse("an exit that stands for nothing"),
    }
    if records != scene.records.1 {
        return refuse("done, it says, and it is not");
    }
    if !scene.is_done() {
        return refuse("done, it says, and what it is for is not there");
    }
    let syncs =
        ["fsync", "fdatasync", "syncfs", "write", "pwrite64", "rename", "renameat", "renameat2", "mkdir", "ftruncate"];
    let quiet = !outcome.stdout.contains("\"notes\":[\"") && outcome.stderr.is_empty();
    match deed {
        Deed::Fail(errno) | Deed::FailFromThenOn(errno)
            if syncs.contains(&call) && quiet && !may_fail_in_silence(call, about, errno) =>
        {
            refuse("an error was passed over in silence")
        }
        _ => Ok(()),
    }
}

#[test]
fn an_error_of_any_system_call_of_init_ends_in_a_vault_or_a_no() {
    fail_everywhere("init", &Scene::new(&["init", "vault"], 0, 0), 50);
}

#[test]
fn an_error_of_any_system_call_of_a_backup_harms_nothing_and_claims_nothing() {
    fail_everywhere("a backup", &Scene::new(&["backup", "source"], 1, 2), 200);
}

#[test]
fn an_error_of_any_system_call_of_a_verification_harms_nothing_and_claims_nothing() {
    fail_everywhere("a verification", &Scene::new(&["verify"], 1, 1), 100);
}

#[test]
fn an_error_of_any_system_call_of_a_restore_harms_nothing_and_claims_nothing() {
    fail_everywhere("a restore", &Scene::new(&["restore", "1", "restored"], 1, 1), 200);
    fail_everywhere("a restore of few plain objects", &Scene::new(&["restore", "1:src", "restored"], 1, 1), 50);
}

#[test]
fn an_error_of_any_system_call_of_an_index_rebuild_or_an_export_harms_nothing_and_claims_nothing() {
    fail_everywhere("an index rebuild", &Scene::new(&["index", "rebuild"], 1, 1), 50);
    fail_everywhere("a key export", &Scene::new(&EXPORT, 1, 1), 50);
}

#[test]
fn an_error_of_any_system_call_of_a_discard_or_an_import_harms_nothing_and_claims_nothing() {
    fail_everywhere("a discard of an incomplete snapshot", &Scene::discard(), 50);
    fail_everywhere("a key import", &Scene::import(), 20);
}

#[test]
fn an_error_of_any_system_call_of_a_declaration_of_loss_or_a_branch_harms_nothing_and_claims_nothing() {
    fail_everywhere("a declaration of loss", &Scene::loss(), 50);
    fail_everywhere("a branch", &Scene::branch(), 50);
}

/// How many kills one home sees, so that what it holds stays small; and how many between two backups that go through.
const KILLS_OF_A_HOME: usize = 48;
const KILLS_IN_A_ROW: usize = 6;
const FILES: usize = 3_000;

/// A home with a source of thousands of files and some large ones, which is backed up, edited and backed up again.
struct Large {
    home: Home,
    random: Random,
    edits: u64,
    /// What each snapshot restores to.
    truths: BTreeMap<usize, Likeness>,
    /// Within which time a backup is killed: a little more than the last one took that ended by itself.
    within: Duration,
}

impl Large {
    fn new(seed: usize) -> Self {
        let home = Home::quick();
        home.succeed(&["init", "vault"]);
        let (random, within) = (Random(seed as u64), Duration::from_secs(1));
        let mut large = Self { home, random, edits: 0, truths: BTreeMap::new(), within };
        (0..FILES).for_each(|number| large.write(number));
        large
    }

    /// Writes one of the small files, anew or for the first time.
    fn write(&mut self, number: usize) {
        let directory = self.home.source().join(format!("directory-{}", number % 40));
        fs::create_dir_all(&directory).unwrap();
        self.edits += 1;
        fs::write(directory.join(number.to_string()), noise(1 + self.random.below(9_000), self.edits)).unwrap();
    }

    /// Edits the source: some hundred small files, and one of the large ones.
    fn edit(&mut self) {
        for _ in 0..FILES / 5 {
            let number = self.random.below(FILES);
            self.write(number);
        }
        self.edits += 1;
        let name = format!("large-{}", self.random.below(3));
        fs::write(self.home.source().join(name), noise(6_000_000, self.edits)).unwrap();
    }

    /// Backs up, and kills the program after some time, if it is to be killed. Returns whether it was.
    fn backup(&mut self, to_be_killed: bool) -> bool {
        let mut command = self.home.program();
        command.args(["--vault", "vault", "--json", "backup", "source"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let moment = Duration::from_micros(self.random.below(self.within.as_micros() as usize) as u64);
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            if to_be_killed && begun.elapsed() >= moment {
                child.kill().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = begun.elapsed();
        let output = child.wait_with_output().unwrap();
        if output.status.code().is_some() {
            assert!(output.status.success(), "{output:?}");
            self.within = took + took / 8;
            self.truths.insert(self.truths.len() + 1, likeness(&self.home.source()));
            assert_eq!(self.look(), self.truths.len());
            return false;
        }
        // Killed after all was there, it counts.
        let records = self.look();
        if records > self.truths.len() {
            self.truths.insert(records, likeness(&self.home.source()));
        } else {
            assert!(output.stdout.is_empty(), "claimed before it was so: {output:?}");
        }
        true
    }

    /// Returns how many records there are, all of them sound.
    fn look(&self) -> usize {
        let records = sound::look(&self.home).unwrap().records;
        let known = self.truths.len();
        assert!((known..=known + 1).contains(&records), "{records} records, where {known} are known");
        records
    }

    /// Asserts that a snapshot restores to what the source was.
    fn restore(&self, number: usize) {
        self.home.restore(&number.to_string(), "restored").unwrap();
        assert!(likeness(&self.home.path("restored")) == self.truths[&number], "snapshot {number} is not what it was");
        fs::remove_dir_all(self.home.path("restored")).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_of_a_large_backup_loses_nothing_and_the_next_goes_through() {
    let kills = scaled(48, 5_000);
    let (mut killed, mut whole) = (0, 0);
    for seed in 0..kills.div_ceil(KILLS_OF_A_HOME) {
        let mut large = Large::new(seed);
        let most = (killed + KILLS_OF_A_HOME).min(kills);
        while killed < most {
            // One that is too quick is a snapshot more.
            killed += (0..KILLS_IN_A_ROW).filter(|_| large.backup(true)).count();
            assert!(!large.backup(false));
            whole += 1;
            let (newest, any) = (large.truths.len(), 1 + large.random.below(large.truths.len()));
            large.restore(newest);
            large.restore(any);
            large.edit();
        }
    }
    tally("kills at random moments of a large backup", killed, 40);
    tally("large backups after kills that went through and restored", whole, 5);
}

#[test]
fn a_restore_of_many_files_whose_sync_fails_puts_nothing_in_place() {
    let home = Home::with_snapshot();
    // So many that they are made durable all at once.
    for number in 0..100 {
        fs::write(home.source().join(format!("file-{number}")), number.to_string()).unwrap();
    }
    home.backup();
    let scratch = home.path("traced");
    fs::create_dir(&scratch).unwrap();
    let restore = |destination: &str, nth, deed| {
        let mut command = home.program();
        command.arg("--vault").arg(home.vault()).args(["restore", "2", destination]);
        tracer::run(&mut command, &scratch, Which::Writes, nth, deed)
    };
    let Some(plain) = restore("plain", 0, Deed::Nothing) else { return };
    assert_eq!(plain.exit, Some(0), "{plain:?}");
    let syncs: Vec<usize> = (0..plain.calls.len()).filter(|&nth| plain.calls[nth] == "syncfs").collect();
    assert!(!syncs.is_empty(), "{:?}", plain.calls);
    for nth in syncs {
        let Some(outcome) = restore("restored", nth, Deed::Fail(5)) else { return };
        assert!(outcome.met.as_ref().is_some_and(|(call, _)| *call == "syncfs"), "{outcome:?}");
        assert_eq!(outcome.exit, Some(1), "{outcome:?}");
        assert_eq!(outcome.stdout, "", "{outcome:?}");
        assert!(!home.path("restored").exists());
    }
}

#[test]
fn a_read_that_fails_once_is_printed_as_unstable_with_the_medium_and_the_section_for_it() {
    let home = Home::with_snapshot();
    let scratch = home.path("traced");
    fs::create_dir(&scratch).unwrap();
    let verify = |nth, deed| {
        let mut command = home.program();
        command.arg("--vault").arg(home.vault()).arg("verify");
        tracer::run(&mut command, &scratch, Which::All, nth, deed)
    };
    let Some(plain) = verify(0, Deed::Nothing) else { return };
    assert_eq!(plain.exit, Some(0), "{plain:?}");
    let medium = devvault::incident::evidence::medium_in_words(&home.vault());
    assert!(medium.contains("device ") && medium.contains("file system "), "{medium}");
    let mut seen = 0;
    let reads = plain.calls.iter().enumerate().filter(|(_, name)| name.contains("read") && **name != "readlink");
    for (nth, _) in reads {
        let Some(outcome) = verify(nth, Deed::Fail(5)) else { return };
        // The order of threads, and so the call that is met, differs from run to run.
        if !outcome.met.as_ref().is_some_and(|(call, about)| call.contains("read") && about.ends_with(".pack")) {
            continue;
        }
        let text = &outcome.stdout;
        assert_eq!(outcome.exit, Some(14), "{outcome:?}");
        assert!(text.starts_with("UNSTABLE (") && text.contains("\nDV405 ") && text.contains("packs/"), "{text}");
        assert!(text.contains(&medium) && text.contains(" runbook DV405"), "{text}");
        seen += 1;
    }
    assert!(seen > 0, "{:?}", plain.calls);
    let section = String::from_utf8(home.run(&["runbook", "DV405"]).stdout).unwrap();
    assert!(section.contains("a read differed on a second try"), "{section}");
}

#[test]
fn a_result_that_cannot_be_told_ends_in_the_exit_that_stands_for_it() {
    let home = Home::with_snapshot();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let exit = |arguments: &[&str]| {
        let mut command = home.program();
        command.arg("--vault").arg(home.vault()).args(arguments).stdout(full()).stderr(full());
        command.status().unwrap().code()
    };
    for arguments in [&["status"][..], &["--json", "status"], &["verify"], &["cat", "1:README"], &["ls", "1"]] {
        assert_eq!(exit(arguments), Some(1), "{arguments:?}");
    }
    assert_eq!(exit(&["restore", "7", "out"]), Some(11));
}
