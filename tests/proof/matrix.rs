//! Damage: twenty objects of a vault and of its host, each damaged in fifteen ways where that way is one, under four
//! commands.
//!
//! What is always demanded: a snapshot that is called valid restores exactly, or is refused for what the verification
//! found besides; what restores is exact, whichever snapshot; a backup on damage restores exactly; and looking changes
//! nothing. What each damage is answered with stands in `matrix.txt`, so that no answer changes unseen;
//! `DEVVAULT_PROOF=bless` writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use devvault::error::Result;
use devvault::ops::verify::{Level, Verdict};
use devvault::ops::{backup, branch, lost, restore, verify};
use devvault::progress::Silent;
use devvault::vault::gate::Access;

use super::memory::{Memory, Order, World};
use super::tally;
use crate::support::{Forger, Home, SMALL_TREE, copy_tree, flip, is_root, packs, picture, restore_options};

/// Something that can be damaged: its name, and where it lies.
type Object = (&'static str, fn(&Home) -> PathBuf);

fn first_below(directory: &Path, ending: &str) -> PathBuf {
    let files =
        walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    files.into_iter().find(|path| path.to_string_lossy().ends_with(ending)).unwrap()
}

const OBJECTS: [Object; 20] = [
    ("vault.json", |home| home.vault().join("vault.json")),
    ("vault.hmac", |home| home.vault().join("vault.hmac")),
    ("lock", |home| home.vault().join("lock")),
    ("sweep.lock", |home| home.vault().join("sweep.lock")),
    ("first manifest", |home| home.vault().join("snapshots/00000001/manifest.json")),
    ("first manifest's tag", |home| home.vault().join("snapshots/00000001/manifest.hmac")),
    ("last manifest", |home| home.vault().join("snapshots/00000002/manifest.json")),
    ("last manifest's tag", |home| home.vault().join("snapshots/00000002/manifest.hmac")),
    ("pack of the first snapshot", |home| pack_of(home, 1)),
    ("pack of the last snapshot", |home| pack_of(home, 2)),
    ("index file", |home| first_below(&home.vault().join("index"), ".idx")),
    ("key", |home| first_below(&home.path("config/keys"), ".key")),
    ("witness", |home| first_below(&home.path("state/witness"), ".json")),
    ("memory of reads", |home| first_below(&home.path("state/reads"), ".json")),
    ("journal", |home| home.path("state/journal/journal.jsonl")),
    ("journal's head", |home| home.path("state/journal/head.json")),
    ("tombstone", |home| home.vault().join("snapshots/00000003/tombstone.json")),
    ("tombstone's tag", |home| home.vault().join("snapshots/00000003/tombstone.hmac")),
    ("branch", |home| home.vault().join("snapshots/00000005/branch.json")),
    ("branch's tag", |home| home.vault().join("snapshots/00000005/branch.hmac")),
];
/// The last of them lie in a vault that was amended.
const AMENDED: usize = 4;

/// The pack that the first or the second backup wrote.
fn pack_of(home: &Home, number: usize) -> PathBuf {
    let written =
        |path: &PathBuf| fs::read_to_string(home.path("first-packs")).unwrap().contains(&*path.to_string_lossy());
    packs(&home.vault())
        .into_iter()
        .map(|path| path.strip_prefix(home.vault()).unwrap().to_owned())
        .find(|path| written(path) == (number == 1))
        .map(|path| home.vault().join(path))
        .unwrap()
}

/// A way to damage a file; the second path is the same object of another vault, or as it was earlier.
type Damage = (&'static str, fn(&Path, &Path));

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Another file of the same kind, or one that lies beside it.
fn sibling(path: &Path) -> Option<PathBuf> {
    let around = path.ancestors().nth(if path.extension()? == "pack" { 2 } else { 1 })?;
    let files = walkdir::WalkDir::new(around).sort_by_file_name().into_iter().map(|entry| entry.unwrap());
    files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).find(|other| other != path)
}

/// Returns what an object was before the last backup, if it was there and was another: of an index file the whole index,
/// since none of them is ever written again.
fn earlier(home: &Home, path: &Path) -> Option<PathBuf> {
    let path = if path.extension()? == "idx" { path.parent()? } else { path };
    let earlier = home.path("earlier").join(path.strip_prefix(home.path("")).unwrap());
    (earlier.exists() && look(path) != look(&earlier)).then_some(earlier)
}

const SWAPPED: &str = "swapped with a sibling";
const EARLIER: &str = "an older copy";
const UNREADABLE: &str = "unreadable";

const DAMAGES: [Damage; 15] = [
    ("missing", |path, _| fs::remove_file(path).unwrap()),
    ("empty", |path, _| fs::write(path, b"").unwrap()),
    ("cut in half", |path, _| rewrite(path, |bytes| bytes.truncate(bytes.len() / 2))),
    ("one byte less", |path, _| rewrite(path, |bytes| bytes.truncate(bytes.len().saturating_sub(1)))),
    ("one byte more", |path, _| rewrite(path, |bytes| bytes.push(b'x'))),
    ("a bit flipped", |path, _| {
        let length = fs::metadata(path).unwrap().len() as usize;
        if length > 0 {
            flip(path, length / 2);
        }
    }),
    ("its beginning zeroed", |path, _| {
        rewrite(path, |bytes| {
            let end = bytes.len().min(4096);
            bytes[..end].fill(0);
        });
    }),
    ("doubled", |path, _| rewrite(path, |bytes| bytes.extend_from_within(..))),
    ("another vault's", |path, other| fs::write(path, fs::read(other).unwrap()).unwrap()),
    (SWAPPED, |path, _| {
        let Some(sibling) = sibling(path) else { return };
        let held = fs::read(path).unwrap();
        fs::copy(&sibling, path).unwrap();
        fs::write(sibling, held).unwrap();
    }),
    (EARLIER, |path, earlier| {
        if earlier.is_file() {
            fs::copy(earlier, path).unwrap();
        } else {
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
            copy_tree(earlier, path.parent().unwrap());
        }
    }),
    ("a directory", |path, _| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("a link to itself elsewhere", |path, _| {
        let elsewhere = path.with_file_name("elsewhere-of-it");
        fs::rename(path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(elsewhere, path).unwrap();
    }),
    ("a pipe", |path, _| {
        fs::remove_file(path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }),
    // The last, so that its line is the last of its object.
    (UNREADABLE, |path, _| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap()),
];

const COMMANDS: [&str; 4] = ["verify", "restore 1", "restore latest", "backup"];

/// Says what something came to in a word: `ok`, or the code, or the exit status.
fn word<T>(result: &Result<T>, exit: impl Fn(&T) -> (u8, Option<String>)) -> String {
    match result {
        Ok(report) => match exit(report) {
            (0, _) => "ok".into(),
            (exit, code) => format!("{exit}:{}", code.unwrap_or_default()),
        },
        Err(error) => error.code().map_or_else(|| format!("exit {}", error.exit()), |code| code.to_string()),
    }
}

fn lowest(findings: &[devvault::vault::Finding]) -> Option<String> {
    findings.iter().map(|finding| finding.code.to_string()).min()
}

/// What a directory holds, pipes and links not followed.
fn look(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let bytes = entry.file_type().is_file().then(|| fs::read(entry.path()).unwrap());
            (entry.path().strip_prefix(root).unwrap().to_owned(), bytes)
        })
        .collect()
}

/// A home that is copied for every trial, and what its snapshots hold.
struct Original {
    home: Home,
    pictures: BTreeMap<u64, BTreeMap<PathBuf, String>>,
}

impl Original {
    fn new() -> Self {
        let home = Home::quick();
        devvault::ops::init::run(&home.access(), crate::support::small()).unwrap();
        home.write_source(&SMALL_TREE);
        let mut original = Self { home, pictures: BTreeMap::new() };
        original.backup(0);
        original
    }

    /// Takes a snapshot so many seconds later, after keeping what was there before.
    fn backup(&mut self, seconds: i64) {
        let _ = fs::remove_dir_all(self.home.path("earlier"));
        for name in ["state", "vault"] {
            copy_tree(&self.home.path(name), &self.home.path("earlier").join(name));
        }
        let access = self.home.access_after(seconds);
        let report = backup::run(&access, &self.home.source(), &backup::Options::default(), &Silent).unwrap();
        self.pictures.insert(report.snapshot, picture(&self.home.source()));
    }

    /// Two snapshots, whose packs can be told apart.
    fn plain() -> Self {
        let mut original = Self::new();
        let home = &original.home;
        let first: Vec<String> = packs(&home.vault())
            .iter()
            .map(|path| path.strip_prefix(home.vault()).unwrap().to_string_lossy().into_owned())
            .collect();
        fs::write(home.path("first-packs"), first.join("\n")).unwrap();
        home.write_source(&[("README", "changed\n"), ("new", "new\n")]);
        original.backup(0);
        original
    }

    /// Snapshot 1, 2 declared lost by record 3, snapshot 4, and after its copy a branch as record 5 and snapshot 6.
    fn amended() -> Self {
        let mut original = Self::new();
        original.home.write_source(&[("README", "lost\n")]);
        original.backup(0);
        fs::remove_dir_all(original.home.vault().join("snapshots/00000002")).unwrap();
        original.pictures.remove(&2);
        original.home.declare("snapshot", "2", 0);
        lost::run(&original.home.access_after(200), &[2], "the medium lost it").unwrap();
        original.home.write_source(&[("README", "changed\n"), ("new", "new\n")]);
        original.backup(300);
        copy_tree(&original.home.vault(), &original.home.path("copy"));
        original.backup(400);
        original.pictures.remove(&5);
        fs::remove_dir_all(original.home.vault()).unwrap();
        copy_tree(&original.home.path("copy"), &original.home.vault());
        original.home.declare("crypto", &Forger::new(&original.home).head(4).to_string(), 500);
        branch::run(&original.home.access_after(700), "no newer copy exists").unwrap();
        original.home.write_source(&[("newer", "newer\n")]);
        original.backup(800);
        original
    }

    fn copy(&self) -> Home {
        let home = Home::quick();
        for name in ["config", "state", "vault"] {
            copy_tree(&self.home.path(name), &home.path(name));
        }
        let _ = fs::copy(self.home.path("first-packs"), home.path("first-packs"));
        home
    }
}

/// Returns access to a copy, after everything that was done to the original.
fn now(home: &Home) -> Access {
    home.access_after(1_000)
}

/// Returns access to a vault in which a file cannot be read. A store says so, since the superuser may read everything.
fn unreadable(home: &Home, path: &Path) -> Access {
    let name = path.strip_prefix(home.vault()).unwrap().to_str().unwrap().to_owned();
    let denied = rustix::io::Errno::ACCESS.raw_os_error();
    let store = Memory::watched(World::load(&home.vault()), move |what, found, _| {
        if found == name && ["open", "read", "lock"].contains(&what) { Order::Fail(denied) } else { Order::Do }
    });
    Access { store: Some(store), ..now(home) }
}

/// Damages a copy of a home, does something with it, and returns what that came to, in a word.
fn answer(original: &Original, what: &str, command: &str, damage: impl Fn(&Home) -> Access) -> String {
    let home = original.copy();
    let access = damage(&home);
    let before = look(&home.vault());
    let latest = *original.pictures.last_key_value().unwrap().0;
    let out = home.path("restored");
    let restored = |place: &str| {
        let result = restore::run(&access, &place.parse().unwrap(), &out, &restore_options(), &Silent);
        assert!(result.is_ok() == out.exists(), "{what}: {result:?}");
        if let Ok(report) = &result {
            assert_eq!(picture(&out), original.pictures[&report.snapshot], "{what}: {place}");
            assert_eq!(report.snapshot, place.parse().unwrap_or(latest), "{what}");
            fs::remove_dir_all(&out).unwrap();
        }
        result
    };
    let answer = match command {
        "verify" => {
            let report = verify::run(&access, &[], Level::Full, &Silent);
            if let Ok(report) = &report {
                let whole = report.verdict == Verdict::Valid;
                let valid = report.snapshots.iter().filter(|(_, verdict)| *verdict == Verdict::Valid);
                let numbers: Vec<u64> = valid.map(|(number, _)| *number).collect();
                assert!(!whole || numbers.iter().eq(original.pictures.keys()), "{what}: valid, with {numbers:?}");
                // Where everything is valid, the newest is restored by that word.
                for number in numbers.into_iter().filter(|number| !whole || *number != latest) {
                    // What stands against vault or chain as a whole may refuse what is valid by itself.
                    if let Err(error) = restored(&number.to_string()) {
                        let found = report.findings.iter().any(|finding| Some(finding.code) == error.code());
                        assert!(!whole && found, "{what}: {number} is valid, it was said, and {error}");
                    }
                }
                assert!(!whole || restored("latest").is_ok(), "{what}: valid, it was said");
            }
            word(&report, |report| (report.exit(), lowest(&report.findings)))
        }
        "restore 1" => word(&restored("1"), |_| (0, None)),
        "restore latest" => word(&restored("latest"), |_| (0, None)),
        _ => {
            copy_tree(&original.home.source(), &home.source());
            let report = backup::run(&access, &home.source(), &backup::Options::default(), &Silent);
            if let Ok(report) = &report {
                let place = report.snapshot.to_string().parse().unwrap();
                restore::run(&access, &place, &out, &restore_options(), &Silent).unwrap();
                assert_eq!(picture(&out), picture(&home.source()), "{what}");
            }
            word(&report, |report| (report.exit(), lowest(&report.findings)))
        }
    };
    if command != "backup" {
        assert!(look(&home.vault()) == before, "{what}: the vault was changed");
    }
    answer
}

#[test]
fn every_object_damaged_in_every_way_is_answered_by_every_command_as_the_matrix_says() {
    let [plain, amended] = [Original::plain(), Original::amended()];
    let [other_plain, other_amended] = [Original::plain(), Original::amended()];
    let mut lines = vec![format!("object | damage | {}", COMMANDS.join(" | "))];
    let (mut tried, mut skipped) = (0, Vec::new());
    for (number, (object, find)) in OBJECTS.into_iter().enumerate() {
        let (original, other) =
            if number < OBJECTS.len() - AMENDED { (&plain, &other_plain) } else { (&amended, &other_amended) };
        let there = find(&original.home);
        for (damage, act) in DAMAGES {
            let other = match damage {
                SWAPPED if sibling(&there).is_none() => continue,
                EARLIER => match earlier(&original.home, &there) {
                    Some(earlier) => earlier,
                    None => continue,
                },
                _ => find(&other.home),
            };
            let of_host = !there.starts_with(original.home.vault());
            if damage == UNREADABLE && of_host && is_root() {
                skipped.push(format!("{object} | {damage} | "));
                continue;
            }
            let damaged = |home: &Home| {
                let path = find(home);
                if damage == UNREADABLE && !of_host {
                    return unreadable(home, &path);
                }
                act(&path, &other);
                now(home)
            };
            // Each on a copy of its own.
            let answers = std::thread::scope(|scope| {
                let one = |command| answer(original, &format!("{object} {damage}, {command}"), command, damaged);
                COMMANDS.map(|command| scope.spawn(move || one(command))).map(|running| running.join().unwrap())
            });
            tried += answers.len();
            lines.push(format!("{object} | {damage} | {}", answers.join(" | ")));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof/matrix.txt");
    let known = fs::read_to_string(&path).unwrap_or_default();
    let untried = |line: &&str| skipped.iter().any(|skipped| line.starts_with(skipped));
    if std::env::var_os("DEVVAULT_PROOF").is_some_and(|value| value == "bless") {
        let mut all = lines.clone();
        // What could not be tried stands as it stood, as the last of its object.
        for line in known.lines().filter(untried) {
            let object = &line[..=line.find('|').unwrap()];
            let at = all.iter().rposition(|other| other.starts_with(object)).unwrap();
            all.insert(at + 1, line.to_owned());
        }
        fs::write(&path, all.join("\n") + "\n").unwrap();
    }
    if !skipped.is_empty() {
        // The test is not skipped: all else was tried.
        println!("not tried: files of the host that are unreadable, since the superuser may read everything");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    let expected: Vec<&str> = known.lines().filter(|line| !untried(line)).collect();
    let differ: Vec<String> = expected
        .iter()
        .copied()
        .chain(std::iter::repeat("nothing"))
        .zip(&lines)
        .filter(|(expected, found)| expected != found)
        .map(|(expected, found)| format!("expected {expected}\n   found {found}"))
        .collect();
    assert!(expected == lines, "{} answers differ:\n{}", differ.len(), differ.join("\n"));
    tally("objects damaged, each in a way, each under a command", tried, 900);
}
