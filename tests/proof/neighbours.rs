//! Another process uses the vault while a backup runs: at a call of the real program, which stands still, a second backup
//! begins, or a reader, and ends in between where it can.
//!
//! What must hold: the first backup goes through; the second is refused because the vault is locked, or is one more whole
//! snapshot; whoever reads sees snapshots that are whole, as many as there were before or after. Who waits for a lock that
//! the first one holds for a moment (of the journal, of the witness) goes on with it.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::mpsc;
use std::time::Duration;

use devvault::ops::verify::Verdict;
use serde_json::Value;

use super::tracer::{self, Which};
use super::{below, keep, put_back, step, tally};
use crate::support::{Home, SMALL_TREE, names, noise, picture};

const NEIGHBOURS: [&[&str]; 6] = [
    &["backup", "other"],
    &["verify"],
    &["ls", "1"],
    &["status"],
    &["restore", "1", "restored-between"],
    &["index", "rebuild"],
];

/// A command that was begun while the other one stood still.
type Begun = mpsc::Receiver<Output>;

fn scene() -> Home {
    let home = Home::quick();
    home.succeed(&["init", "vault"]);
    home.write_source(&SMALL_TREE);
    fs::create_dir(home.path("other")).unwrap();
    fs::write(home.path("other/file"), noise(50_000, 7)).unwrap();
    home.succeed(&["--vault", "vault", "backup", "source"]);
    fs::write(home.source().join("noise"), noise(100_000, 1)).unwrap();
    keep(&home, &["vault", "state"]);
    home
}

/// Begins a command in a thread of its own, whose child the tracer does not wait for, and lets it end if it does.
fn begin(home: &Home, arguments: &[&str]) -> Begun {
    let mut command = home.program();
    command.args(["--vault", "vault", "--json"]).args(arguments);
    let (tell, told) = mpsc::channel();
    let (pass_on, passed_on) = mpsc::channel();
    std::thread::spawn(move || {
        let output = command.output().unwrap();
        let _ = pass_on.send(());
        let _ = tell.send(output);
    });
    // Who has to wait for the first one cannot end here. Whether it ends here decides nothing below.
    let _ = passed_on.recv_timeout(Duration::from_secs(3));
    told
}

/// Asserts what must hold of a neighbour; returns whether it made a snapshot.
fn judge(home: &Home, arguments: &[&str], output: &Output, before: &Path) -> Result<bool, String> {
    let document: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}"))?;
    let code = document["code"].as_str().unwrap_or_default();
    let without_noise = |root: &Path| {
        let mut found = below(root);
        found.remove(Path::new("noise"));
        found
    };
    let good = match (arguments[0], output.status.code()) {
        ("backup" | "index", Some(14)) => code == "DV404",
        ("backup" | "index" | "ls", Some(0)) => true,
        ("verify", Some(0)) => document["verdict"] == "valid",
        ("status", Some(0)) => code.is_empty(),
        ("restore", Some(0)) => without_noise(&home.path("restored-between")) == without_noise(before),
        _ => false,
    };
    if good { Ok(arguments[0] == "backup" && output.status.success()) } else { Err(format!("{document}")) }
}

#[test]
fn a_second_backup_and_readers_between_any_two_calls_of_a_backup_see_what_is_whole() {
    let home = scene();
    let run = |nth, arguments: &'static [&'static str]| {
        put_back(&home, &["vault", "state", "restored", "restored-between", "stranger-config", "stranger-state"]);
        let begun: RefCell<Option<Begun>> = RefCell::new(None);
        let mut command = home.program();
        command.args(["--vault", "vault", "--json", "backup", "source"]);
        let outcome = tracer::run_meanwhile(&mut command, &home.path("kept"), Which::All, nth, &|| {
            if begun.borrow().is_none() && !arguments.is_empty() {
                begun.replace(Some(begin(&home, arguments)));
            }
        })?;
        Some((outcome, begun.into_inner().map(|begun| begun.recv().unwrap())))
    };
    let Some((plain, _)) = run(0, &[]) else { return };
    assert_eq!(plain.exit, Some(0), "{plain:?}");
    let (mut met, mut locked_out, mut wrong) = (0, 0, Vec::new());
    for nth in 0..plain.calls.len() {
        for (turn, arguments) in NEIGHBOURS.into_iter().enumerate() {
            if !(nth * NEIGHBOURS.len() + turn).is_multiple_of(step(101)) {
                continue;
            }
            let Some((outcome, output)) = run(nth, arguments) else { return };
            let Some(output) = output else { continue };
            met += 1;
            let what = format!("{arguments:?} at call {nth}, {:?}", outcome.met);
            if outcome.exit != Some(0) || outcome.hung {
                wrong.push(format!("{what}: the backup ended so: {outcome:?}; {output:?}"));
                continue;
            }
            let more = match judge(&home, arguments, &output, &home.source()) {
                Ok(more) => more,
                Err(why) => {
                    wrong.push(format!("{what}: {why}"));
                    continue;
                }
            };
            locked_out += usize::from(output.status.code() == Some(14));
            let snapshots = names(&home.vault().join("snapshots"));
            let report = home.verify_from(&home.access_from(home.other_host("stranger")), &[]).unwrap();
            if snapshots.len() != 2 + usize::from(more) || report.verdict != Verdict::Valid {
                wrong.push(format!("{what}: {snapshots:?}, {:?}", report.findings));
            }
            let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
            home.restore(&document["snapshot"].to_string(), "restored").unwrap();
            if picture(&home.path("restored")) != picture(&home.source()) {
                wrong.push(format!("{what}: the snapshot is not what the source was"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {met}:\n{}", wrong.len(), wrong.join("\n"));
    tally("neighbours of a backup, each at a call", met, 15);
    tally("neighbours of a backup that were locked out", locked_out, 1);
}
