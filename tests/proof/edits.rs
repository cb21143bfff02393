//! The source changes while it is backed up: at every call by which the real program looks at it, the program stands still
//! and something is done to the source.
//!
//! What must hold: the backup is refused, and no snapshot is there; or a snapshot is there in which every path is exactly
//! (kind, content, target, mode, time) what it was in one of the states that the source was in, be it that it was not there
//! at all. Different paths may be of different states: a file that is renamed may be in it under both names, or under none.
//! Where a closing look is claimed to have found nothing changed, all of it is of one state. Nothing from outside is in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::PathBuf;

use devvault::ops::verify::Verdict;
use devvault::store::LocalStore;
use devvault::vault::catalog::{Catalog, UseIndex};
use devvault::vault::write::reference;

use super::tracer::{self, Outcome, Which};
use super::{keep, put_back, step, tally, write_with_hole};
use crate::support::{Forger, Home, SMALL_TREE, names, noise, picture};

const SECRET: &str = "what lies outside of the source is nobody's business\n";

type Picture = BTreeMap<PathBuf, String>;

/// What is done to the source, below a home; more than one thing is done at one call after another.
type Act = (&'static str, &'static [fn(&Home)]);

fn overwrite(home: &Home, name: &str, seed: u64) {
    let path = home.source().join(name);
    let length = fs::metadata(&path).unwrap().len();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&noise(length as usize, seed), 0).unwrap();
}

fn link_away(home: &Home, name: &str, target: &str) {
    let path = home.source().join(name);
    fs::rename(&path, home.path("moved")).unwrap();
    symlink(home.path(target), path).unwrap();
}

fn rename(home: &Home, from: &str, to: &str) {
    fs::rename(home.source().join(from), home.source().join(to)).unwrap();
}

const ACTS: [Act; 18] = [
    ("a file is edited in place", &[|home| overwrite(home, "noise", 2)]),
    ("a short file is edited in place", &[|home| overwrite(home, "src/main.rs", 2)]),
    ("a file is edited twice", &[|home| overwrite(home, "noise", 2), |home| overwrite(home, "noise", 3)]),
    ("a file is edited three times", &[|home| overwrite(home, "noise", 2), |_| {}, |home| overwrite(home, "noise", 3)]),
    (
        "a file is cut",
        &[|home| {
            let file = fs::File::options().write(true).open(home.source().join("noise")).unwrap();
            file.set_len(1000).unwrap();
        }],
    ),
    ("a file is emptied", &[|home| fs::write(home.source().join("README"), "").unwrap()]),
    (
        "a file grows",
        &[|home| {
            let mut file = fs::File::options().append(true).open(home.source().join("noise")).unwrap();
            std::io::Write::write_all(&mut file, &noise(50_000, 4)).unwrap();
        }],
    ),
    ("a file is deleted", &[|home| fs::remove_file(home.source().join("noise")).unwrap()]),
    (
        "a file is replaced by a new one",
        &[|home| {
            fs::write(home.path("new"), noise(300_000, 5)).unwrap();
            fs::rename(home.path("new"), home.source().join("noise")).unwrap();
        }],
    ),
    ("a file is replaced by a link to the outside", &[|home| link_away(home, "README", "outside/README")]),
    ("a large file is replaced by a link to the outside", &[|home| link_away(home, "noise", "outside/README")]),
    ("a directory is replaced by a link to the outside", &[|home| link_away(home, "src", "outside")]),
    ("a deep directory is replaced by a link to the outside", &[|home| link_away(home, "src/deep", "outside")]),
    (
        "a directory is moved to the outside",
        &[|home| {
            fs::rename(home.source().join("src"), home.path("moved")).unwrap();
        }],
    ),
    ("a file is renamed to an earlier name", &[|home| rename(home, "noise", "A")]),
    ("a file is renamed to a later name", &[|home| rename(home, "README", "zz")]),
    ("a directory is renamed", &[|home| rename(home, "src", "zsrc")]),
    (
        "a directory is replaced by a file",
        &[|home| {
            fs::rename(home.source().join("src"), home.path("moved")).unwrap();
            fs::write(home.source().join("src"), "no longer a directory\n").unwrap();
        }],
    ),
];

/// A home whose source is edited again and again.
struct Scene(Home);

impl Scene {
    fn new() -> Self {
        let home = Home::quick();
        home.succeed(&["init", "vault"]);
        write_source(&home);
        home.succeed(&["--vault", "vault", "backup", "source"]);
        keep(&home, &["vault", "state"]);
        Self(home)
    }

    /// Puts everything back, and backs up with an act at the `nth` look at the source. Returns the states it was in too.
    fn run(&self, nth: usize, act: &Act) -> Option<(Outcome, Vec<Picture>)> {
        let home = &self.0;
        put_back(home, &["vault", "state", "moved", "outside", "restored", "stranger-config", "stranger-state"]);
        write_source(home);
        let states = RefCell::new(vec![picture(&home.source())]);
        let left = RefCell::new(act.1.iter());
        let mut command = home.program();
        command.args(["--vault", "vault", "--json", "backup", "source", "--closing-look"]);
        let (kept, which) = (home.path("kept"), Which::LooksAt("/source"));
        let outcome = tracer::run_meanwhile(&mut command, &kept, which, nth, &|| {
            if let Some(act) = left.borrow_mut().next() {
                act(home);
                states.borrow_mut().push(picture(&home.source()));
            }
        })?;
        Some((outcome, states.into_inner()))
    }

    /// Returns whether there is a new snapshot, and that all holds that must; else why not.
    fn judge(&self, outcome: &Outcome, states: &[Picture]) -> Result<bool, String> {
        let home = &self.0;
        let refuse = |why: String| Err(format!("{why}: {:?} {} {}", outcome.exit, outcome.stdout, outcome.stderr));
        if outcome.hung || outcome.stderr.contains("panicked") {
            return refuse("it hung or panicked".into());
        }
        let report = home.verify_from(&home.access_from(home.other_host("stranger")), &[]).unwrap();
        if report.verdict != Verdict::Valid {
            return refuse(format!("{:?}", report.findings));
        }
        let store = LocalStore::open(&home.vault()).unwrap();
        let catalog = Catalog::load(&store, &Forger::new(home).macs, UseIndex::No).unwrap();
        if catalog.holds(reference(SECRET.as_bytes())) {
            return refuse("the vault holds what lies outside of the source".into());
        }
        let document: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        let snapshots = names(&home.vault().join("snapshots"));
        match outcome.exit {
            Some(0) => {}
            Some(18) if document["code"].as_str().is_some_and(|code| code.starts_with("DV8")) => {
                return if snapshots == ["00000001"] { Ok(false) } else { refuse(format!("{snapshots:?}")) };
            }
            _ => return refuse("an exit that stands for nothing here".into()),
        }
        if snapshots != ["00000001", "00000002"] {
            return refuse(format!("{snapshots:?}"));
        }
        home.restore("2", "restored").unwrap();
        let found = picture(&home.path("restored"));
        let paths = states.iter().chain([&found]).flat_map(BTreeMap::keys);
        if let Some(path) =
            paths.into_iter().find(|path| states.iter().all(|state| state.get(*path) != found.get(*path)))
        {
            return refuse(format!("{} was never {:?}", path.display(), found.get(path)));
        }
        if document["quiet"] == true && !states.contains(&found) {
            return refuse("nothing changed, it says, and it is of several states".into());
        }
        Ok(true)
    }
}

fn write_source(home: &Home) {
    let _ = fs::remove_dir_all(home.source());
    home.write_source(&SMALL_TREE);
    home.write_source(&[("link", "->README")]);
    write_with_hole(&home.source().join("noise"));
    // The same names as in the source, so that whoever follows a link finds something.
    let outside = [("README", SECRET), ("main.rs", SECRET), ("deep/er/file", SECRET), ("er/file", SECRET)];
    crate::support::write_tree(&home.path("outside"), &outside);
}

#[test]
fn an_edit_at_any_look_at_the_source_ends_in_a_no_or_in_states_that_were() {
    let scene = Scene::new();
    let Some((plain, states)) = scene.run(0, &("nothing", &[])) else { return };
    assert_eq!(scene.judge(&plain, &states), Ok(true));
    assert!(plain.stdout.contains("\"quiet\":true"), "{}", plain.stdout);
    let (mut edits, mut taken, mut wrong) = (0, 0, Vec::new());
    for nth in 0..plain.calls.len() {
        for (turn, act) in ACTS.iter().enumerate() {
            if !(nth * ACTS.len() + turn).is_multiple_of(step(43)) {
                continue;
            }
            let Some((outcome, states)) = scene.run(nth, act) else { return };
            // The last calls differ a little from run to run, with the order of threads.
            if states.len() <= act.1.len() {
                continue;
            }
            edits += 1;
            match scene.judge(&outcome, &states) {
                Ok(there) => taken += usize::from(there),
                Err(why) => wrong.push(format!("{} at call {nth}, {:?}: {why}", act.0, outcome.met)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {edits}:\n{}", wrong.len(), wrong.join("\n"));
    tally("edits of a source while it is backed up", edits, 60);
    tally("edits of a source after which the backup was refused", edits - taken, 1);
}
