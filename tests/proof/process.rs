//! The real program, killed at every system call that changes something, and given an error by every call that it makes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tracer::{self, Deed, Outcome, Which};
use super::{below, keep, put_back, sound, step, tally};
use crate::support::{Home, SMALL_TREE, names, noise};

/// A command of the program, and the state of a home in which it is run again and again.
struct Scene {
    home: Home,
    arguments: Vec<&'static str>,
    /// Records before, and after if all goes well.
    records: (usize, usize),
    truth: BTreeMap<PathBuf, String>,
}

/// What a run may change.
const CHANGED: [&str; 5] = ["config", "state", "vault", "restored", "exported.key"];

impl Scene {
    /// Makes a home of the program's own, with as many snapshots as are asked for, and a source that has changed since.
    fn new(arguments: &[&'static str], snapshots: usize, after: usize) -> Self {
        let home = Home::quick();
        home.write_source(&SMALL_TREE);
        fs::write(home.source().join("noise"), noise(300_000, 1)).unwrap();
        let run = |arguments: &[&str]| {
            let output = home.program().args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        };
        if arguments[0] != "init" {
            run(&["init", "vault"]);
        }
        for number in 0..snapshots {
            run(&["--vault", "vault", "backup", "source"]);
            fs::write(home.source().join(format!("more-{number}")), noise(50_000, number as u64 + 2)).unwrap();
        }
        keep(&home, &CHANGED);
        let truth = if snapshots > 0 {
            // What the newest snapshot holds.
            let last = format!("more-{}", snapshots - 1);
            below(&home.source()).into_iter().filter(|(path, _)| path != Path::new(&last)).collect()
        } else {
            BTreeMap::new()
        };
        Self { home, arguments: arguments.to_vec(), records: (snapshots, after), truth }
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

    /// Returns the calls of a run to which nothing is done; nothing where processes may not be traced.
    fn calls(&self, which: Which) -> Option<Vec<&'static str>> {
        let outcome = self.run(which, 0, Deed::Nothing)?;
        assert_eq!(outcome.exit, Some(0), "{outcome:?}");
        assert_eq!(self.check("an ordinary run"), self.records.1);
        Some(outcome.calls)
    }

    /// Asserts that nothing is harmed, whatever happened; returns how many records there are.
    fn check(&self, what: &str) -> usize {
        let home = &self.home;
        let records = sound::look(home).unwrap_or_else(|error| panic!("{what}: {error}")).records;
        if !home.vault().join("vault.json").exists() {
            return 0;
        }
        // Done again, it may have been done twice.
        let most = self.records.1 + usize::from(what.ends_with("again") && self.records.0 != self.records.1);
        assert!((self.records.0..=most).contains(&records), "{what}: {records} records");
        // A destination is absent or complete.
        if home.path("restored").exists() {
            assert_eq!(below(&home.path("restored")), self.truth, "{what}: the destination is not complete");
        }
        records
    }

    /// Runs the command again, with nothing done to it.
    fn again(&self, what: &str) {
        let home = &self.home;
        let done = self.arguments.contains(&"restored") && home.path("restored").exists()
            || self.arguments.contains(&"exported.key") && home.path("exported.key").exists()
            || self.arguments[0] == "init" && home.vault().exists() && !names(&home.vault()).is_empty();
        if done {
            return;
        }
        if self.arguments[0] == "init" {
            // A key of a vault that never was opens nothing; the new vault gets its own.
            let _ = fs::remove_dir_all(home.path("config/keys"));
        }
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{what}, then again: {output:?}");
        self.check(&format!("{what}, then again"));
    }
}

fn kill_everywhere(name: &str, scene: &Scene, least: usize) {
    let Some(calls) = scene.calls(Which::Writes) else { return };
    let mut killed = 0;
    for nth in 0..calls.len() {
        for (turn, deed) in [Deed::KillBefore, Deed::KillWithin, Deed::KillAfter].into_iter().enumerate() {
            if !(nth * 3 + turn).is_multiple_of(step(4)) {
                continue;
            }
            let Some(outcome) = scene.run(Which::Writes, nth, deed) else { return };
            let what = format!("{name}: {deed:?} at call {nth}, {:?}", outcome.met);
            assert!(!outcome.hung, "{what}: it hung");
            // The last calls differ a little from run to run, with the order of threads.
            let Some(_) = outcome.met else { continue };
            killed += 1;
            let records = scene.check(&what);
            assert!(outcome.stdout.is_empty() || records == scene.records.1, "{what}: claimed before it was so");
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
    kill_everywhere("a first backup", &Scene::new(&["backup", "source"], 0, 1), 40);
}

#[test]
fn a_kill_at_any_write_of_a_later_backup_harms_nothing() {
    kill_everywhere("a later backup", &Scene::new(&["backup", "source"], 2, 3), 40);
}

#[test]
fn a_kill_at_any_write_of_a_restore_leaves_the_destination_absent_or_complete() {
    kill_everywhere("a restore", &Scene::new(&["restore", "1", "restored"], 1, 1), 40);
}

#[test]
fn a_kill_at_any_write_of_an_index_rebuild_a_verification_or_an_export_harms_nothing() {
    kill_everywhere("an index rebuild", &Scene::new(&["index", "rebuild"], 1, 1), 10);
    kill_everywhere("a verification", &Scene::new(&["verify"], 1, 1), 5);
    let export = ["key", "export", "exported.key", "--acknowledge-plain-secret"];
    kill_everywhere("a key export", &Scene::new(&export, 1, 1), 5);
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
        // What a failed write leaves unsaid on the terminal cannot be said there.
        || about.contains("kept/std")
        // What is set aside or removed after the fact.
        || call == "unlink" && about.contains("/.new-")
}

fn fail_everywhere(name: &str, scene: &Scene, least: usize) {
    let Some(calls) = scene.calls(Which::All) else { return };
    let mut injected = 0;
    let mut wrong = Vec::new();
    for (nth, name_of_call) in calls.into_iter().enumerate() {
        for (turn, (error, errno)) in ERRORS.into_iter().enumerate() {
            for deed in [Deed::Fail(errno), Deed::FailFromThenOn(errno), Deed::Short] {
                // Interrupted for ever, a program goes on trying for ever, as it should.
                let pointless = errno == 4 && deed == Deed::FailFromThenOn(4) || deed == Deed::Short && turn > 0;
                let turn = nth * ERRORS.len() + turn + usize::from(deed == Deed::FailFromThenOn(errno)) * 7;
                // Those that tell most are always tried.
                let always = match name_of_call {
                    "clone3" => errno == 11,
                    "fsync" | "syncfs" | "rename" | "renameat" | "renameat2" => errno == 5 && deed == Deed::Fail(5),
                    _ => false,
                };
                if pointless || !always && !turn.is_multiple_of(step(41)) {
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
            let denies = outcome.stdout.contains("no snapshot was");
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
    if scene.arguments.contains(&"restored") && !scene.home.path("restored").exists() {
        return refuse("restored, it says, and it is not");
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
        assert!(text.contains(&medium) && text.contains("see: devvault runbook DV405"), "{text}");
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
