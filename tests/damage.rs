//! Every way to damage a vault meets every command: the code, the exit, the next step, the evidence, and a vault that is
//! the same, byte for byte, as before.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Home, copy_tree, fingerprint, flip, packs};

/// One way to damage a vault of two snapshots, and what its commands answer.
struct Damage {
    name: &'static str,
    act: fn(&Home),
    /// The codes that may be told, of whichever command.
    codes: &'static [&'static str],
    /// Exits of `verify`, `restore 1`, `restore latest`, `backup`, `snapshots`, `key check`.
    exits: [u8; 6],
    /// Whether an incident is open afterwards.
    incident: bool,
}

fn record(home: &Home, number: u64, file: &str) -> std::path::PathBuf {
    home.vault().join(format!("snapshots/{number:08}")).join(file)
}

/// The pack that holds what only the first snapshot needs is the first written one; damage to all hits both.
fn every_pack(home: &Home, act: impl Fn(&Path)) {
    packs(&home.vault()).iter().for_each(|pack| act(pack));
}

fn table() -> Vec<Damage> {
    vec![
        Damage { name: "nothing is damaged", act: |_| {}, codes: &[], exits: [0, 0, 0, 0, 0, 0], incident: false },
        Damage {
            name: "a bit of every pack's content flipped",
            act: |home| every_pack(home, |pack| flip(pack, 60)),
            codes: &["DV103", "DV105", "DV106"],
            // A backup reads no content of packs that this host read not long ago.
            exits: [11, 11, 11, 0, 0, 0],
            incident: true,
        },
        Damage {
            name: "every pack gone",
            act: |home| every_pack(home, |pack| fs::remove_file(pack).unwrap()),
            codes: &["DV102", "DV104", "DV106"],
            // A backup stores anew what no pack holds, and says what is gone.
            exits: [11, 11, 11, 11, 0, 0],
            incident: true,
        },
        Damage {
            name: "every pack cut",
            act: |home| {
                every_pack(home, |pack| {
                    let bytes = fs::read(pack).unwrap();
                    fs::write(pack, &bytes[..bytes.len() / 2]).unwrap();
                });
            },
            codes: &["DV102", "DV104", "DV106"],
            exits: [11, 11, 11, 11, 0, 0],
            incident: true,
        },
        Damage {
            name: "every footer's tag changed",
            act: |home| {
                every_pack(home, |pack| {
                    let length = fs::metadata(pack).unwrap().len() as usize;
                    flip(pack, length - 45);
                });
                fs::remove_dir_all(home.vault().join("index")).unwrap();
            },
            codes: &["DV102", "DV104", "DV318"],
            exits: [11, 11, 11, 13, 0, 0],
            incident: true,
        },
        Damage {
            name: "a manifest changed",
            act: |home| flip(&record(home, 2, "manifest.json"), 30),
            codes: &["DV306", "DV313"],
            exits: [13, 0, 13, 13, 13, 13],
            incident: true,
        },
        Damage {
            name: "a manifest's tag gone",
            act: |home| fs::remove_file(record(home, 2, "manifest.hmac")).unwrap(),
            codes: &["DV107", "DV313"],
            exits: [11, 0, 11, 11, 11, 11],
            incident: true,
        },
        Damage {
            name: "the newest record gone",
            act: |home| fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap(),
            codes: &["DV313"],
            exits: [13, 0, 13, 13, 13, 0],
            incident: true,
        },
        Damage {
            name: "the first record gone",
            act: |home| fs::remove_dir_all(home.vault().join("snapshots/00000001")).unwrap(),
            codes: &["DV309"],
            exits: [13, 13, 13, 13, 13, 13],
            incident: true,
        },
        Damage {
            name: "records swapped",
            act: |home| {
                let name = |number| home.vault().join(format!("snapshots/{number:08}"));
                fs::rename(name(1), home.path("one")).unwrap();
                fs::rename(name(2), name(1)).unwrap();
                fs::rename(home.path("one"), name(2)).unwrap();
            },
            codes: &["DV310", "DV313"],
            exits: [13, 13, 13, 13, 13, 13],
            incident: true,
        },
        Damage {
            name: "vault.json changed",
            act: |home| flip(&home.vault().join("vault.json"), 20),
            codes: &["DV307"],
            exits: [13, 13, 13, 13, 13, 13],
            incident: true,
        },
        Damage {
            name: "the key gone",
            act: |home| fs::remove_file(home.key()).unwrap(),
            codes: &["DV301"],
            exits: [13, 13, 13, 13, 13, 13],
            incident: false,
        },
        Damage {
            name: "the vault gone",
            act: |home| fs::rename(home.vault(), home.path("away")).unwrap(),
            codes: &["DV406"],
            exits: [14, 14, 14, 14, 14, 14],
            incident: false,
        },
    ]
}

/// The command line of each column; `{}` stands for a directory that does not exist.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("verify", &["verify"]),
    ("restore 1", &["restore", "1", "{}"]),
    ("restore latest", &["restore", "latest", "{}"]),
    ("backup", &["backup"]),
    ("snapshots", &["snapshots"]),
    ("key check", &["key", "check"]),
];

/// Makes the home that is damaged again and again: two snapshots, in which every file changed.
fn original() -> Home {
    let home = Home::with_snapshot();
    home.write_source(&[("README", "changed\n"), ("src/main.rs", "fn main() { changed() }\n")]);
    home.backup();
    home
}

fn told_codes(document: &Value) -> BTreeSet<String> {
    let findings = document["findings"].as_array().into_iter().flatten();
    findings
        .map(|finding| &finding["code"])
        .chain([&document["code"]])
        .filter_map(|code| code.as_str().map(str::to_owned))
        .collect()
}

/// Fails unless a refusal or a finding is told completely.
fn assert_told(what: &str, document: &Value) {
    let findings = document["findings"].as_array().cloned().unwrap_or_default();
    let all: Vec<&Value> = if document["code"].is_string() { vec![document] } else { findings.iter().collect() };
    assert!(!all.is_empty(), "{what}: nothing is told: {document}");
    for one in all {
        let code = one["code"].as_str().unwrap();
        for field in ["severity", "next", "runbook"] {
            assert!(one[field].as_str().is_some_and(|text| !text.is_empty()), "{what}: no {field} in {one}");
        }
        assert!(["message", "title"].iter().any(|field| one[*field].is_string()), "{what}: {one}");
        let grave = code.starts_with("DV1") || code.starts_with("DV3");
        assert_eq!(one["severity"] == "SEV-1", grave || code.starts_with("DV2"), "{what}: {one}");
    }
    let grave = told_codes(document).iter().any(|code| code.starts_with("DV1") || code.starts_with("DV3"));
    match document["evidence"].as_str() {
        Some(path) => {
            let evidence: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            assert!(grave && told_codes(document).contains(evidence["code"].as_str().unwrap()), "{what}: {evidence}");
        }
        None => assert!(!grave, "{what}: no evidence for {document}"),
    }
}

#[test]
fn every_damage_meets_every_command_and_changes_nothing() {
    let original = original();
    let mut wrong = Vec::new();
    for damage in table() {
        for ((command, arguments), expected) in COMMANDS.iter().zip(damage.exits) {
            // Each in a home of its own, so that one command does not open the incident of another.
            let home = Home::new();
            copy_tree(&original.path(""), &home.path(""));
            restrict(&home);
            (damage.act)(&home);
            let what = format!("{}, {command}", damage.name);
            let out = home.path("out");
            let mut arguments: Vec<String> = arguments
                .iter()
                .map(|word| if *word == "{}" { out.to_string_lossy().into_owned() } else { (*word).to_owned() })
                .collect();
            if *command == "backup" {
                arguments.push(home.source().to_string_lossy().into_owned());
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let before = if home.vault().exists() { fingerprint(&home.vault()) } else { Default::default() };
            let (exit, document) = home.json(&arguments);
            // A backup that names a snapshot published one; everything else leaves every byte as it was.
            let published = *command == "backup" && document["snapshot"].is_u64();
            assert!(
                published || !home.vault().exists() || fingerprint(&home.vault()) == before,
                "{what}: the vault was changed"
            );
            assert!(exit == 0 || published || !out.exists(), "{what}: something was published");
            let codes = told_codes(&document);
            if exit != i32::from(expected) {
                wrong.push(format!("{what}: exit {exit}, not {expected}: {codes:?}"));
            }
            if exit == 0 {
                continue;
            }
            assert_told(&what, &document);
            if let Some(code) = codes.iter().find(|code| !damage.codes.contains(&&code[..])) {
                wrong.push(format!("{what}: tells {code}"));
            }
            if document["incident"].is_string() != damage.incident {
                wrong.push(format!("{what}: incident {}", document["incident"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Copying does not keep that a key is private.
fn restrict(home: &Home) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(home.key(), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let _ = home;
}
