//! Damage: every object damaged in every way, under every command.
//!
//! What is always demanded: a snapshot that is called valid restores exactly, what restores is exact, and looking
//! changes nothing. What each damage is answered with stands in `matrix.txt`, so that no answer changes unseen;
//! `DEVVAULT_PROOF=bless` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use devvault::error::Result;
use devvault::ops::backup;
use devvault::ops::verify::Verdict;
use devvault::progress::Silent;

use super::tally;
use crate::support::{Home, SMALL_TREE, copy_tree, flip, packs, picture};

/// Something that can be damaged: its name, and where it lies.
type Object = (&'static str, fn(&Home) -> PathBuf);

fn first_below(directory: &Path, ending: &str) -> PathBuf {
    let files =
        walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    files.into_iter().find(|path| path.to_string_lossy().ends_with(ending)).unwrap()
}

const OBJECTS: [Object; 16] = [
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
];

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

/// A way to damage a file; the second path is the same object of another vault.
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

const SWAPPED: &str = "swapped with a sibling";

const DAMAGES: [Damage; 13] = [
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
];

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
            (entry.into_path(), bytes)
        })
        .collect()
}

/// A home with two snapshots, whose packs can be told apart; it is copied for every trial.
fn original() -> Home {
    let home = Home::quick();
    devvault::ops::init::run(&home.access(), crate::support::small()).unwrap();
    home.write_source(&SMALL_TREE);
    home.backup();
    let first: Vec<String> = packs(&home.vault())
        .iter()
        .map(|path| path.strip_prefix(home.vault()).unwrap().to_string_lossy().into_owned())
        .collect();
    fs::write(home.path("first-packs"), first.join("\n")).unwrap();
    home.write_source(&[("README", "changed\n"), ("new", "new\n")]);
    home.backup();
    home
}

#[test]
fn every_object_damaged_in_every_way_is_answered_by_every_command_as_the_matrix_says() {
    let (original, other) = (original(), original());
    let truth = picture(&original.source());
    let mut lines = vec!["object | damage | verify | restore 1 | restore latest | backup".to_owned()];
    let mut tried = 0;
    for (object, find) in OBJECTS {
        for (damage, act) in DAMAGES {
            if damage == SWAPPED && sibling(&find(&original)).is_none() {
                continue;
            }
            let mut answers = Vec::new();
            for command in ["verify", "restore 1", "restore latest", "backup"] {
                tried += 1;
                let home = Home::quick();
                for name in ["config", "state", "vault", "first-packs"] {
                    if original.path(name).is_dir() {
                        copy_tree(&original.path(name), &home.path(name));
                    } else {
                        fs::copy(original.path(name), home.path(name)).unwrap();
                    }
                }
                act(&find(&home), &find(&other));
                let what = format!("{object} {damage}, {command}");
                let before = look(&home.vault());
                let out = home.path("restored");
                let restored = |place: &str| {
                    let result = home.restore(place, "restored");
                    assert!(result.is_ok() == out.exists(), "{what}: {result:?}");
                    if place == "latest" && result.is_ok() {
                        assert_eq!(picture(&out), truth, "{what}");
                    }
                    word(&result, |_| (0, None))
                };
                answers.push(match command {
                    "verify" => {
                        let report = home.verify(&[]);
                        if report.as_ref().is_ok_and(|report| report.verdict == Verdict::Valid) {
                            assert_eq!(restored("latest"), "ok", "{what}: valid, it was said");
                        }
                        word(&report, |report| (report.exit(), lowest(&report.findings)))
                    }
                    "restore 1" => restored("1"),
                    "restore latest" => restored("latest"),
                    _ => {
                        copy_tree(&original.source(), &home.source());
                        let report = backup::run(&home.access(), &home.source(), &backup::Options::default(), &Silent);
                        if let Ok(report) = &report {
                            home.restore(&report.snapshot.to_string(), "restored").unwrap();
                            // Copying the source keeps no times.
                            let alike = |root: &Path| picture(root).len();
                            assert_eq!(alike(&out), alike(&home.source()), "{what}");
                        }
                        word(&report, |report| (report.exit(), lowest(&report.findings)))
                    }
                });
                if command != "backup" {
                    assert!(look(&home.vault()) == before, "{what}: the vault was changed");
                }
            }
            lines.push(format!("{object} | {damage} | {}", answers.join(" | ")));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof/matrix.txt");
    let text = lines.join("\n") + "\n";
    if std::env::var_os("DEVVAULT_PROOF").is_some_and(|value| value == "bless") {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differ: Vec<String> = expected
        .lines()
        .chain(std::iter::repeat("nothing"))
        .zip(text.lines())
        .filter(|(expected, found)| expected != found)
        .map(|(expected, found)| format!("expected {expected}\n   found {found}"))
        .collect();
    assert!(expected == text, "{} answers differ:\n{}", differ.len(), differ.join("\n"));
    tally("objects damaged, each in a way, each under a command", tried, 500);
}
