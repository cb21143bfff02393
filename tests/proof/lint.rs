//! The strict lint of syncs: whatever the program publishes or claims was made durable before, by its system calls.
//!
//! It reads what `strace` saw of the real program. So that it is known to see, every sync of every trace is taken out
//! once, and the lint must then find something, save for the few syncs that are listed as not needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use rustix::fs::FileType;

use super::tally;
use super::trace::{CALLS, Call, Lost, Model, parse};
use crate::difficult;
use crate::support::{Forger, Home, SMALL_TREE, copy_tree, is_root, noise, skip};

/// Runs the program under `strace`; nothing where there is none that works.
fn traced(home: &Home, arguments: &[&str]) -> Option<Vec<Call>> {
    let program = home.program();
    let trace = home.path("trace");
    let mut command = Command::new("strace");
    command.env_clear().current_dir(home.path(""));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["-f", "-y", "-s", "0", "-e", &format!("trace={CALLS}"), "-o"]).arg(&trace);
    let output = match command.arg(program.get_program()).args(arguments).output() {
        Ok(output) if output.status.code() == Some(0) => output,
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("ptrace") => {
            skip("strace may not trace here");
            return None;
        }
        Ok(output) => panic!("{arguments:?}: {output:?}"),
        Err(error) => {
            skip(&format!("no strace here ({error})"));
            return None;
        }
    };
    assert!(!output.stdout.is_empty(), "{arguments:?} says what it did");
    let text = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    Some(parse(&text))
}

/// What a loss may take without harm.
fn is_exempt(lost: &Lost) -> bool {
    let name = lost.path.file_name().unwrap_or_default().to_string_lossy();
    let of = |what: &str| name == what || lost.what == what;
    // For people only: the lock is what excludes.
    of("lock.holder")
        // Locks of the host carry nothing and are made anew where they are missing.
        || lost.path.to_string_lossy().contains("/state/") && (of("lock") || name.ends_with(".lock") || lost.what.ends_with(".lock"))
}

/// What a rename may not do, and what may not be told, before it is durable.
fn check(home: &Home, model: &Model, effect: &super::trace::Effect, found: &mut Vec<String>) {
    let root = home.path("");
    let (vault, state) = (home.vault(), home.path("state"));
    let mut refuse = |what: &str, lost: Vec<Lost>| {
        found.extend(
            lost.into_iter()
                .filter(|lost| !is_exempt(lost))
                .map(|lost| format!("{what} while {} of {} may be lost", lost.what, lost.path.display())),
        );
    };
    if effect.told {
        refuse("something is told", model.lost_below(&root));
    }
    if effect.created.as_deref() == Some(&vault.join("vault.json")) {
        // With it a directory is a vault, whatever else of it a loss of power would take.
        refuse(
            "the vault's own file is made",
            model
                .lost_below(&vault)
                .into_iter()
                .filter(|lost| lost.path != vault.join("vault.json") && lost.what != "vault.json")
                .collect(),
        );
    }
    let Some((_, to)) = &effect.renamed else { return };
    let place = to.strip_prefix(&root).unwrap_or(to).display().to_string();
    refuse(&format!("{place} is named"), model.lost_below(to));
    let of_vault = || {
        let above = model.lost_below(&root).into_iter();
        above.filter(|lost| lost.path.starts_with(&vault) || vault.starts_with(lost.path.join(&lost.what)))
    };
    if to.parent() == Some(&vault.join("snapshots")) {
        // The name itself, and the draft's, come with the rename.
        let names = vault.join("snapshots");
        refuse(&format!("{place} is published"), of_vault().filter(|lost| lost.path != names).collect());
    }
    if to.starts_with(state.join("witness")) && to.extension().is_some_and(|ending| ending == "json") {
        refuse("the witness advances", of_vault().collect());
    }
    if to.ends_with("journal/head.json") {
        let entries = |lost: &Lost| lost.path.ends_with("journal.jsonl") || lost.what == "journal.jsonl";
        refuse("the journal's head advances", model.lost_below(&state).into_iter().filter(entries).collect());
    }
}

/// Replays everything that the program did; without the effect of one sync, if one is named by its place.
fn lint(home: &Home, traces: &[(String, Vec<Call>)], without: Option<(usize, usize)>) -> Vec<String> {
    let mut model = Model::new(&home.path(""));
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for (number, (command, calls)) in traces.iter().enumerate() {
        let before = found.len();
        for (at, call) in calls.iter().enumerate() {
            let effect = model.apply(call, without != Some((number, at)));
            check(home, &model, &effect, &mut found);
        }
        model.next_trace(calls.last().map_or(0, |call| call.ended) + 1);
        let end = model.lost_below(&home.path("")).into_iter().filter(|lost| !is_exempt(lost));
        found
            .extend(end.map(|lost| format!("it has ended while {} of {} may be lost", lost.what, lost.path.display())));
        found[before..].iter_mut().for_each(|line| *line = format!("{command}: {line}"));
        if without.is_some() && !found.is_empty() {
            break;
        }
        // What one command left undone is told once.
        let news = found.split_off(before);
        found.extend(
            news.into_iter().filter(|line| {
                told.insert(line.split_once(" while ").map_or(line.clone(), |(_, lost)| lost.to_owned()))
            }),
        );
    }
    found
}

/// A path with what is random in it taken out.
pub fn plain(home: &Home, path: &Path) -> String {
    let text = path.strip_prefix(home.path("")).unwrap_or(path).display().to_string();
    let words = text.split('/').map(|word| {
        let stem: String = word.chars().take_while(|c| !c.is_ascii_hexdigit() || word.starts_with("0000")).collect();
        let random = word.chars().filter(char::is_ascii_hexdigit).count() >= 12 || word.starts_with(".new-");
        if word.contains("devvault-restoring") {
            return "staging".to_owned();
        }
        if random { format!("{}*", if word.starts_with('.') { stem } else { String::new() }) } else { word.to_owned() }
    });
    words.map(|word| if word.len() == 2 { "ab".into() } else { word }).collect::<Vec<_>>().join("/")
}

/// Everything that the program does, on a home of its own.
fn traces(home: &Home) -> Option<Vec<(String, Vec<Call>)>> {
    let mut traces = Vec::new();
    let mut run = |arguments: &[&str]| {
        let calls = traced(home, arguments)?;
        traces.push((arguments.join(" "), calls));
        Some(())
    };
    home.write_source(&SMALL_TREE);
    home.write_source(&[("link", "->README"), ("deep/a/b/c/d", "x")]);
    fs::hard_link(home.source().join("README"), home.source().join("again")).unwrap();
    fs::write(home.source().join("large"), noise(3_000_000, 1)).unwrap();
    let source = difficult::open(&home.source());
    difficult::node(source.as_fd(), b"pipe", FileType::Fifo, (0, 0));
    if is_root() {
        // Its mode is set after all was compared.
        difficult::mode(&difficult::file(source.as_fd(), b"closed", b"nobody may read this\n"), 0);
    }
    run(&["init", "vault"])?;
    run(&["--vault", "vault", "backup", "source"])?;
    copy_tree(&home.vault(), &home.path("older"));
    fs::write(home.source().join("larger"), noise(2_000_000, 2)).unwrap();
    run(&["--vault", "vault", "backup", "source"])?;
    run(&["--vault", "vault", "key", "export", "exported.key", "--acknowledge-plain-secret"])?;
    run(&["--vault", "vault", "verify", "--receipt", "receipt"])?;
    run(&["--vault", "vault", "index", "rebuild"])?;
    run(&["--vault", "vault", "restore", "2", "restored"])?;
    fs::create_dir(home.path("there")).unwrap();
    run(&["--vault", "vault", "restore", "2:src", "there"])?;
    run(&["--vault", "vault", "salvage", "2", "salvaged"])?;
    run(&["journal", "export", "journal.out"])?;
    run(&["--vault", "vault", "evidence", "capture", "bundle.tar"])?;
    fs::create_dir(home.vault().join("snapshots/.incomplete-0123456789abcdef0123456789abcdef")).unwrap();
    let incomplete = ".incomplete-0123456789abcdef0123456789abcdef";
    run(&["--vault", "vault", "incomplete", "tag", incomplete, "--label", "l", "--until", "2100-01-01"])?;
    run(&["--vault", "vault", "incomplete", "discard", incomplete])?;

    // A record is lost; then the vault is put back to an older copy.
    let forger = Forger::new(home);
    let scope = format!("{}:2", forger.macs.vault());
    let declaration = ["--reason", "r", "--minutes", "60", "--rollback", "p", "--approver", "a"];
    run(&[&["break-glass", "declare", "--invariant", "snapshot", "--scope", &scope][..], &declaration].concat())?;
    fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
    home.permit("snapshot", "2");
    run(&["--vault", "vault", "declare-lost", "2", "--reason", "r"])?;
    fs::remove_dir_all(home.vault()).unwrap();
    copy_tree(&home.path("older"), &home.vault());
    home.permit("crypto", &forger.head(1).to_string());
    run(&["--vault", "vault", "branch", "--reason", "r"])?;
    run(&["--vault", "vault", "backup", "source"])?;
    // Another host.
    fs::rename(home.path("config"), home.path("config-before")).unwrap();
    fs::rename(home.path("state"), home.path("state-before")).unwrap();
    run(&["key", "import", "exported.key"])?;
    Some(traces)
}

/// Syncs without which nothing that was published or told can be lost, and why they are there all the same.
const NOT_NEEDED: [(&str, &str); 10] = [
    ("", "the program's directories are made one after the other: the last sync of a root serves for all"),
    ("config", "as above"),
    ("state", "as above"),
    ("vault", "as above"),
    ("salvaged/*", "each file that does not last is told by its name; the whole file system is synced in the end"),
    ("staging", "what is compared has to be on the medium; the root's own mode comes afterwards and is synced again"),
    ("state/journal", "a new journal's name and its head's are synced each"),
    ("vault/index", "a new index file is named before old ones go"),
    ("vault/snapshots/.in*", "the draft's directory is synced when it begins and before it is published"),
    (
        "vault/snapshots/.in*/origin.json",
        "for people, who look at what a crash left; it goes before the draft is published",
    ),
];

#[test]
fn nothing_is_published_or_told_before_it_is_durable_and_no_sync_goes_unmissed() {
    let home = Home::new();
    let Some(traces) = traces(&home) else { return };
    let found = lint(&home, &traces, None);
    assert!(found.is_empty(), "{}", found.join("\n"));

    let mut needless: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut syncs, mut caught) = (0, 0);
    for (number, (command, calls)) in traces.iter().enumerate() {
        let mut model = Model::new(&home.path(""));
        for (at, call) in calls.iter().enumerate() {
            let Some(path) = model.apply(call, true).synced else { continue };
            syncs += 1;
            if lint(&home, &traces, Some((number, at))).is_empty() {
                let path = plain(&home, &path);
                let path = if path.starts_with("salvaged/") { "salvaged/*".to_owned() } else { path };
                needless.entry(path).or_default().push(command.clone());
            } else {
                caught += 1;
            }
        }
    }
    for (path, why) in NOT_NEEDED {
        assert!(needless.remove(path).is_some(), "{path} is missed now: {why}");
    }
    assert!(needless.is_empty(), "nobody missed {needless:#?}");
    tally("syncs of the real program, each taken out once under the lint", syncs, 100);
    tally("syncs of the real program whose absence the lint noticed", caught, 90);
}
