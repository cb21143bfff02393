//! The destination changes while a snapshot is restored into it: at every call by which the real program changes something,
//! the program stands still and another process meddles with the destination and with what is written beside it.
//!
//! What must hold: the restore is refused or fails, and what is at the destination is what the other process put there, if
//! anything; or the destination is complete and exact. No directory outside changes, whatever leads there, and nothing that
//! is not the restore's own is removed or overwritten. What is done to a restored object after it was compared is done to a
//! restored object, as it may be a minute later; that the destination is the directory that was compared is held still.
//! Everything is made durable at once while the comparison reads: what is done at that call may meet what was compared
//! already, or what was not.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::sound::{self, Likeness, likeness};
use super::tracer::{self, Outcome, Which};
use super::{step, tally};
use crate::support::{Home, SMALL_TREE, fingerprint, is_root, picture, write_tree};

const FOREIGN: &str = "precious, and of somebody else\n";

/// A home with a snapshot, a place to restore into, and a directory that nobody may touch.
struct Scene {
    home: Home,
    truth: Likeness,
}

/// What is done: nothing can be done, or this path below the staging directory was changed, if any.
type Done = Option<&'static str>;

/// What became of a restore.
struct Run {
    outcome: Outcome,
    done: Done,
    /// What lies outside, before.
    outside: BTreeMap<PathBuf, String>,
    /// How many files were of somebody else after the act.
    foreign: usize,
    /// Whether some or all may have been compared before the act: everything was being made durable by then.
    compared: bool,
}

/// Where something was changed that is not below the staging directory.
const NOT_IN_IT: &str = "";

type Act = (&'static str, fn(&Scene) -> Done);

const ACTS: [Act; 27] = [
    ("the destination appears, with a file", |scene| {
        fs::create_dir(scene.destination()).ok()?;
        fs::write(scene.destination().join("mine"), FOREIGN).unwrap();
        Some(NOT_IN_IT)
    }),
    ("the destination appears, as a file", |scene| {
        (!scene.is_there()).then(|| fs::write(scene.destination(), FOREIGN).unwrap())?;
        Some(NOT_IN_IT)
    }),
    ("the destination appears, empty", |scene| fs::create_dir(scene.destination()).ok().map(|()| NOT_IN_IT)),
    ("the destination appears, as a link to the outside", |scene| {
        symlink(scene.outside(), scene.destination()).ok().map(|()| NOT_IN_IT)
    }),
    ("the destination appears, as a link to nothing", |scene| {
        symlink(scene.home.path("nothing"), scene.destination()).ok().map(|()| NOT_IN_IT)
    }),
    ("staging is moved away", |scene| scene.take_away("").map(|_| NOT_IN_IT)),
    ("staging becomes a link to the outside", |scene| scene.link_away("")),
    ("staging becomes a link to where it was moved", |scene| {
        symlink(scene.home.path("aside"), scene.take_away("")?).unwrap();
        Some(NOT_IN_IT)
    }),
    ("staging becomes a directory of somebody else", |scene| {
        let path = scene.take_away("")?;
        write_tree(&path, &[("mine", FOREIGN)]);
        Some(NOT_IN_IT)
    }),
    ("staging becomes a file", |scene| {
        fs::write(scene.take_away("")?, FOREIGN).unwrap();
        Some(NOT_IN_IT)
    }),
    ("a directory in it becomes a link to the outside", |scene| scene.link_away("src")),
    ("a deep directory in it becomes a link to the outside", |scene| scene.link_away("src/deep")),
    ("a directory in it becomes another", |scene| {
        write_tree(&scene.take_away("src")?, &[("mine", FOREIGN)]);
        Some("src")
    }),
    ("a file in it becomes a link to the outside", |scene| scene.link_away("noise")),
    ("a file in it becomes a second name of one outside", |scene| {
        fs::hard_link(scene.outside().join("noise"), scene.take_away("noise")?).unwrap();
        Some("noise")
    }),
    ("a link in it becomes a link to the outside", |scene| scene.link_away("kinds/link")),
    ("a pipe in it becomes a link to the outside", |scene| scene.link_away("kinds/pipe")),
    ("a file of two names becomes a link to the outside", |scene| scene.link_away("kinds/one")),
    ("a further name of a file becomes one of a file outside", |scene| {
        fs::hard_link(scene.outside().join("noise"), scene.take_away("kinds/other")?).unwrap();
        Some("kinds/other")
    }),
    ("a file that nobody may read becomes a link to the outside", |scene| scene.link_away("closed")),
    ("a file that nobody may read becomes a second name of one outside", |scene| {
        fs::hard_link(scene.outside().join("noise"), scene.take_away("closed")?).unwrap();
        Some("closed")
    }),
    ("a pipe of the same name is planted as a link", |scene| {
        scene.plant("kinds/pipe", |path| symlink(scene.outside().join("noise"), path))
    }),
    ("a file of the same name is planted", |scene| scene.plant("README", |path| fs::write(path, FOREIGN))),
    ("a file of the same name is planted in a directory", |scene| {
        scene.plant("src/main.rs", |path| fs::write(path, FOREIGN))
    }),
    ("a link of the same name is planted", |scene| {
        scene.plant("z-last", |path| symlink(scene.outside().join("README"), path))
    }),
    ("a second name of a file outside is planted", |scene| {
        scene.plant("noise", |path| fs::hard_link(scene.outside().join("noise"), path))
    }),
    ("a directory of a name to come is planted as a link", |scene| {
        scene.plant("src", |path| symlink(scene.outside(), path))
    }),
];

const NOTHING: Act = ("nothing", |_| None);

/// Those that are about more than what the destination's own directory holds. Once it is there, they come after the restore.
const PARENT: [Act; 2] = [
    ("the directory of the destination is moved away", |scene| scene.move_parent()),
    ("the directory of the destination becomes a link to the outside", |scene| {
        scene.move_parent()?;
        symlink(scene.outside(), scene.home.path("place")).unwrap();
        Some(NOT_IN_IT)
    }),
];

impl Scene {
    fn new() -> Self {
        let home = Home::quick();
        home.succeed(&["init", "vault"]);
        sound::write_source(&home, 300_000);
        home.succeed(&["--vault", "vault", "backup", "source"]);
        let truth = likeness(&home.source());
        fs::create_dir(home.path("kept")).unwrap();
        Self { home, truth }
    }

    fn destination(&self) -> PathBuf {
        self.home.path("place/restored")
    }

    fn outside(&self) -> PathBuf {
        self.home.path("outside")
    }

    fn is_there(&self) -> bool {
        self.destination().symlink_metadata().is_ok()
    }

    /// Returns what the restore made beside the destination, while it is there: where it tries the target, then staging.
    fn staging(&self) -> Option<PathBuf> {
        let mut names = fs::read_dir(self.home.path("place")).unwrap().map(|entry| entry.unwrap().path());
        names.find(|path| path.to_string_lossy().contains(".devvault-"))
    }

    /// Moves something in the staging directory away; returns where it was.
    fn take_away(&self, name: &str) -> Option<PathBuf> {
        let path = self.staging()?.join(name);
        let path = if name.is_empty() { path.components().collect() } else { path };
        fs::rename(&path, self.home.path("aside")).ok().map(|()| path)
    }

    fn move_parent(&self) -> Done {
        (!self.is_there()).then(|| fs::rename(self.home.path("place"), self.home.path("aside")).unwrap())?;
        Some(NOT_IN_IT)
    }

    fn link_away(&self, name: &'static str) -> Done {
        let is_file = ["noise", "closed", "kinds/pipe", "kinds/one"].contains(&name);
        let target = if is_file { self.outside().join("noise") } else { self.outside() };
        symlink(target, self.take_away(name)?).unwrap();
        Some(name)
    }

    fn plant(&self, name: &'static str, plant: impl FnOnce(&Path) -> std::io::Result<()>) -> Done {
        let path = self.staging().filter(|path| path.to_string_lossy().contains("restoring"))?.join(name);
        // What was restored there already is not replaced by this.
        (path.symlink_metadata().is_err() && path.parent().unwrap().is_dir()).then(|| plant(&path).unwrap())?;
        Some(name)
    }

    /// Restores with an act at the `nth` call that changes something.
    fn run(&self, which: Which, nth: usize, act: &Act) -> Option<Run> {
        for name in ["place", "aside", "outside"] {
            let path = self.home.path(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        fs::create_dir(self.home.path("place")).unwrap();
        write_tree(&self.outside(), &SMALL_TREE);
        write_tree(&self.outside(), &[("noise", FOREIGN), ("er/file", FOREIGN)]);
        fs::set_permissions(self.outside(), fs::Permissions::from_mode(0o751)).unwrap();
        fs::set_permissions(self.outside().join("noise"), fs::Permissions::from_mode(0o640)).unwrap();
        let (done, called) = (Cell::new(None), Cell::new(false));
        let (outside, foreign) = (untouched(&self.outside()), Cell::new(0));
        let mut command = self.home.program();
        command.args(["--vault", "vault", "--json", "restore", "1", "place/restored"]);
        let kept = self.home.path("kept");
        let outcome = tracer::run_meanwhile(&mut command, &kept, which, nth, &|| {
            if !called.replace(true) {
                done.set(act.1(self));
                foreign.set(self.foreign());
            }
        })?;
        let compared = outcome.calls.iter().position(|call| *call == "syncfs").is_some_and(|first| first <= nth);
        Some(Run { outcome, done: done.get(), outside, foreign: foreign.get(), compared })
    }

    /// Returns how many files hold what is somebody else's.
    fn foreign(&self) -> usize {
        let roots = ["place", "aside", "outside"].map(|name| self.home.path(name));
        let files = roots.iter().filter(|root| root.exists()).flat_map(walkdir::WalkDir::new);
        let files = files.map(|entry| entry.unwrap()).filter(|file| file.file_type().is_file());
        files.filter(|file| fs::read(file.path()).unwrap() == FOREIGN.as_bytes()).count()
    }

    /// Returns whether the snapshot is restored, and that all holds that must; else why not.
    fn judge(&self, run: &Run) -> Result<bool, String> {
        let Run { outcome, done, outside, foreign, compared } = run;
        let refuse = |why: &str| Err(format!("{why}: {:?} {} {}", outcome.exit, outcome.stdout, outcome.stderr));
        if outcome.hung || outcome.stderr.contains("panicked") {
            return refuse("it hung or panicked");
        }
        if untouched(&self.outside()) != *outside {
            return refuse("something outside was changed");
        }
        if self.foreign() < *foreign {
            return refuse("something of somebody else was removed or overwritten");
        }
        match outcome.exit {
            Some(0) => {}
            // Refused, or the environment failed. What is at the destination is nothing of the restore's.
            Some(1 | 12) => {
                let own = self.destination().is_dir()
                    && !self.destination().is_symlink()
                    && fs::read_dir(self.destination()).unwrap().any(|entry| entry.unwrap().file_name() != "mine");
                return if own { refuse("not restored, it says, and something is there") } else { Ok(false) };
            }
            _ => return refuse("an exit that stands for nothing here"),
        }
        if self.destination().is_symlink() || !self.destination().is_dir() {
            return refuse("restored, it says, and it is not there");
        }
        let mut found = likeness(&self.destination());
        let mut truth = self.truth.clone();
        let touched = done.filter(|name| !name.is_empty()).map(Path::new);
        if let (Some(touched), true) = (touched, *compared) {
            // A name that is taken away or put there is told by the others of the same object, too.
            let others: &[&str] = if touched.starts_with("kinds") { &["kinds/one", "kinds/other"] } else { &[] };
            for tree in [&mut found, &mut truth] {
                tree.retain(|path, _| {
                    let path = Path::new(OsStr::from_bytes(path));
                    let is_other = others.iter().any(|other| path == Path::new(other));
                    !path.starts_with(touched) && touched.parent() != Some(path) && !is_other
                });
            }
        }
        if found == truth { Ok(true) } else { refuse("restored, it says, and it is not the same") }
    }
}

/// All that must stay as it is, however it may be reached.
fn untouched(root: &Path) -> BTreeMap<PathBuf, String> {
    let owner = |path: &Path| root.join(path).symlink_metadata().map(|metadata| (metadata.uid(), metadata.gid()));
    picture(root)
        .into_iter()
        .map(|(path, what)| (path.clone(), format!("{what} {:?}", owner(&path).unwrap())))
        .collect()
}

#[test]
fn whatever_is_done_to_a_destination_at_any_write_of_a_restore_nothing_outside_is_written() {
    let scene = Scene::new();
    let vault = fingerprint(&scene.home.vault());
    let acts: Vec<&Act> = ACTS.iter().chain(&PARENT).collect();
    let (mut swaps, mut restored, mut wrong) = (0, 0, Vec::new());
    // Most calls try what the target keeps, in a place of its own.
    for (which, sample) in [(Which::Writes, 97), (Which::ChangesAt("devvault-restoring"), 17)] {
        let Some(plain) = scene.run(which, 0, &NOTHING) else { return };
        // Once, and for what is set after the comparison once more.
        let syncs = plain.outcome.calls.iter().filter(|call| **call == "syncfs").count();
        assert_eq!((scene.judge(&plain), syncs), (Ok(true), if is_root() { 2 } else { 1 }));
        for nth in 0..plain.outcome.calls.len() {
            for (turn, act) in acts.iter().enumerate() {
                if !(nth * acts.len() + turn).is_multiple_of(step(sample)) {
                    continue;
                }
                let Some(run) = scene.run(which, nth, act) else { return };
                // Nothing is there yet that it could be done to, or no more.
                if run.done.is_none() {
                    continue;
                }
                swaps += 1;
                match scene.judge(&run) {
                    Ok(there) => restored += usize::from(there),
                    Err(why) => wrong.push(format!("{} at call {nth}, {:?}: {why}", act.0, run.outcome.met)),
                }
            }
        }
    }
    let same = fingerprint(&scene.home.vault()) == vault;
    assert!(same, "the vault was changed");
    assert!(wrong.is_empty(), "{} of {swaps}:\n{}", wrong.len(), wrong.join("\n"));
    tally("swaps at a destination while a snapshot is restored", swaps, 60);
    tally("swaps at a destination after which the restore was refused", swaps - restored, 1);
}
