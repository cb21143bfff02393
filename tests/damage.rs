//! Every way to damage a vault meets every command: the code, the exit, the next step, the evidence, and a vault that is
//! the same, byte for byte, as before.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Home, can_drill, copy_tree, fingerprint, flip, packs};

/// One way to damage a vault of two snapshots and what was never finalized.
struct Damage {
    name: &'static str,
    act: fn(&Home),
    /// The codes that may be told, of whichever command.
    codes: &'static [&'static str],
    /// Whether an incident is open after `verify`.
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
        Damage { name: "nothing is damaged", act: |_| {}, codes: &[], incident: false },
        Damage {
            name: "a bit of every pack's content flipped",
            act: |home| every_pack(home, |pack| flip(pack, 60)),
            codes: &["DV103", "DV105", "DV106"],
            incident: true,
        },
        Damage {
            name: "every pack gone",
            act: |home| every_pack(home, |pack| fs::remove_file(pack).unwrap()),
            codes: &["DV102", "DV104", "DV106"],
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
            incident: true,
        },
        Damage {
            name: "a manifest changed",
            act: |home| flip(&record(home, 2, "manifest.json"), 30),
            codes: &["DV306", "DV313"],
            incident: true,
        },
        Damage {
            name: "a manifest's tag gone",
            act: |home| fs::remove_file(record(home, 2, "manifest.hmac")).unwrap(),
            codes: &["DV107", "DV313"],
            incident: true,
        },
        Damage {
            name: "the newest record gone",
            act: |home| fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap(),
            codes: &["DV313"],
            incident: true,
        },
        Damage {
            name: "the first record gone",
            act: |home| fs::remove_dir_all(home.vault().join("snapshots/00000001")).unwrap(),
            codes: &["DV309"],
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
            incident: true,
        },
        Damage {
            name: "vault.json changed",
            act: |home| flip(&home.vault().join("vault.json"), 20),
            codes: &["DV307"],
            incident: true,
        },
        Damage {
            name: "the key gone",
            act: |home| fs::remove_file(home.key()).unwrap(),
            codes: &["DV301"],
            incident: false,
        },
        Damage {
            name: "the vault gone",
            act: |home| fs::rename(home.vault(), home.path("away")).unwrap(),
            codes: &["DV406"],
            incident: false,
        },
    ]
}

/// Every command that opens a vault or tells of one; `{}` stands for a name that does not exist, `SOURCE` for what is
/// backed up, `ROOM` for an empty directory.
///
/// Not here: `init` and `key import`, which open none; `conformance`, which judges machine and medium; `break-glass`, whose
/// acts have a table of their own in tests/break_glass.rs; `runbook` and `incident`, which read the journal alone.
const COMMANDS: [&str; 40] = [
    "verify",
    "verify --quick",
    "verify --sample 50%",
    "verify 1",
    "restore 1 {}",
    "restore latest {}",
    "backup SOURCE",
    "backup SOURCE --reread",
    "backup SOURCE --dry-run",
    "snapshots",
    "ls 1",
    "ls latest",
    "find README",
    "find --changed README",
    "cat 1:README",
    "cat 2:README",
    "diff 1 2",
    "diff latest SOURCE",
    "status",
    "status --check",
    "index rebuild",
    "key check",
    "key export {} --acknowledge-plain-secret",
    "incomplete list",
    "incomplete tag .incomplete-00 --label later --until 2099-01-31",
    "incomplete discard .incomplete-00",
    "trace 1",
    "trace latest",
    "trace README",
    "salvage 1 {}",
    "salvage 2 {}",
    "branch --reason why",
    "declare-lost 2 --reason why",
    "evidence capture {}",
    "incident list",
    "journal verify",
    "receipt check RECEIPT",
    "drill 1 --to ROOM",
    "drill latest --to ROOM",
    "drill latest --to ROOM --sample 1M",
];

/// Makes the home that is damaged again and again: two snapshots, in which every file changed, a receipt, and what was
/// never finalized.
fn original() -> Home {
    let home = Home::new();
    home.write_source(&crate::support::SMALL_TREE);
    home.succeed(&["init", "vault"]);
    home.succeed(&["--vault", "vault", "backup", "source"]);
    home.write_source(&[("README", "changed\n"), ("src/main.rs", "fn main() { changed() }\n")]);
    home.succeed(&["--vault", "vault", "backup", "source"]);
    home.succeed(&["--vault", "vault", "verify", "--receipt", "receipt"]);
    let leftover = home.vault().join("snapshots/.incomplete-00");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join("0000.part"), "half a pack").unwrap();
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

/// Runs one command; `cat` prints content and no document, so that its refusal is read from what it says.
fn answer(home: &Home, command: &str) -> (i32, Value) {
    let words: Vec<String> = command
        .split(' ')
        .map(|word| match word {
            "{}" => home.path("out").to_string_lossy().into_owned(),
            "SOURCE" => home.source().to_string_lossy().into_owned(),
            "ROOM" => home.path("room").to_string_lossy().into_owned(),
            "RECEIPT" => home.path("receipt").to_string_lossy().into_owned(),
            word => word.to_owned(),
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words[0] != "cat" {
        return home.json(&words);
    }
    let output = home.program().arg("--vault").arg(home.vault()).args(&words).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let said = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned);
    let exit = output.status.code().unwrap();
    let Some(refused) = said("refused ") else { return (exit, Value::Null) };
    let (code, message) = refused.split_once(": ").unwrap();
    let severity = devvault::refusal::Code::parse(code).unwrap().family().severity();
    let document = serde_json::json!({
        "code": code, "message": message, "severity": severity, "next": said("next: "), "runbook": said("see: "),
        "evidence": said("evidence: "), "incident": said("incident: "),
    });
    (exit, document)
}

/// Damages a home of its own, runs a command on it, and returns what it answered as a line of the table.
fn row(original: &Home, damage: &Damage, command: &str) -> String {
    let home = Home::new();
    copy_tree(&original.path(""), &home.path(""));
    restrict(&home);
    fs::create_dir(home.path("room")).unwrap();
    (damage.act)(&home);
    let what = format!("{}, {command}", damage.name);
    // The index is a cache: whoever may write may write it.
    let look = || {
        let mut files = if home.vault().exists() { fingerprint(&home.vault()) } else { Default::default() };
        files.retain(|path, _| command != "index rebuild" || !path.starts_with(home.vault().join("index")));
        files
    };
    let before = look();
    let (exit, document) = answer(&home, command);
    // A backup that names a snapshot published one, and what was never finalized was removed where that was asked for.
    let published = command.starts_with("backup") && document["snapshot"].is_u64();
    let removed = command.starts_with("incomplete discard") && exit == 0;
    assert!(published || removed || look() == before, "{what}: the vault was changed");
    let restored = command.starts_with("restore") && home.path("out").exists();
    assert!(exit == 0 || !restored, "{what}: something was published");
    let codes = told_codes(&document);
    if exit != 0 && !codes.is_empty() {
        assert_told(&what, &document);
        let journaled = fs::read_to_string(home.path("state/journal/journal.jsonl")).unwrap();
        assert!(codes.iter().any(|code| journaled.contains(code)), "{what}: nothing was journaled");
    }
    // Damage that is no finding: an audit that has something to see to, a salvage that is partial, no proof.
    let other = ["status --check", "salvage", "receipt", "drill"].iter().any(|start| command.starts_with(start));
    assert!(exit == 0 || other || !codes.is_empty(), "{what}: exit {exit} without a code: {document}");
    for code in codes.iter().filter(|_| !command.starts_with("branch") && !command.starts_with("declare-lost")) {
        let policy = code.starts_with("DV7");
        // Where records are gone or lie elsewhere, the head that a receipt tells of may be too.
        let record = ["record", "manifest"].iter().any(|word| damage.name.contains(word));
        let absent = record && code == "DV317";
        let cache = command == "index rebuild" && *code == "DV501";
        assert!(policy || absent || cache || damage.codes.contains(&&code[..]), "{what}: tells {code}");
    }
    if command == "verify" {
        assert_eq!(document["incident"].is_string(), damage.incident, "{what}");
    }
    let kept = |name: &str| if document[name].is_string() { format!(" {name}") } else { String::new() };
    let codes: Vec<String> = codes.into_iter().collect();
    let codes = if codes.is_empty() { String::new() } else { format!(" {}", codes.join(",")) };
    format!("{} | {command} | {exit}{codes}{}{}", damage.name, kept("evidence"), kept("incident"))
}

/// The answers stand in `damage.txt`, so that none changes unseen; `DEVVAULT_PROOF=bless` writes it anew.
#[test]
fn every_damage_meets_every_command_and_changes_nothing() {
    let (original, damages) = (original(), table());
    let cases: Vec<(&Damage, &str)> =
        damages.iter().flat_map(|damage| COMMANDS.iter().map(move |command| (damage, *command))).collect();
    let one = |(damage, command): &(&Damage, &str)| {
        let row = std::panic::AssertUnwindSafe(|| row(&original, damage, command));
        std::panic::catch_unwind(row).map_err(|_| format!("{}, {command}", damage.name))
    };
    let one = &one;
    let rows: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let parts = cases.chunks(cases.len().div_ceil(4));
        let parts: Vec<_> = parts.map(|cases| scope.spawn(move || cases.iter().map(one).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let wrong: Vec<&String> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
    let rows: Vec<String> = rows.into_iter().map(Result::unwrap).collect();
    let (path, text) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/damage.txt"), rows.join("\n") + "\n");
    if std::env::var_os("DEVVAULT_PROOF").is_some_and(|value| value == "bless") {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    // Where no drill can pass, its answers are others.
    let drills = can_drill();
    for (expected, found) in expected.lines().zip(text.lines()).filter(|(row, _)| drills || !row.contains("| drill ")) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.lines().count(), rows.len());
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
