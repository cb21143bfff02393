//! Conformance: what the program carries is what lies in `fixtures/`, which one command makes anew; this machine conforms;
//! and a divergence that is planted on purpose does not pass.
//!
//! `cargo test --test all make_the_fixtures -- --ignored` makes the literal vault, the damaged vaults, the list of
//! fixtures and what is expected of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use devvault::conformance::{self, Damage, Damaged, Expected, Fixtures, Place, Report, literal};
use devvault::format::json;
use devvault::format::record::Head;
use devvault::progress::Silent;
use devvault::refusal::Code;

use crate::support::{Home, copy_tree};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The fixtures that the program carries, as they lie on the disk.
fn on_disk() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(fixtures()) {
        let entry = entry.unwrap();
        let name: Vec<&str> =
            entry.path().strip_prefix(fixtures()).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
        let name = name.join("/");
        // What the second reader says of a vault, what makes vectors, transcripts, and what is expected.
        let other = name.starts_with("vaults/") && name.ends_with(".json") && name.matches('/').count() == 1;
        let rooms = ["vaults/", "damaged/", "vectors/accept/", "vectors/reject/", "vectors/test.key"];
        if entry.file_type().is_file() && !other && rooms.iter().any(|room| name.starts_with(room)) {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    files
}

#[test]
fn the_program_carries_exactly_the_fixtures_that_lie_on_the_disk() {
    let (disk, embedded) = (on_disk(), Fixtures::embedded());
    let carried: BTreeMap<String, Vec<u8>> =
        embedded.below("").map(|(name, bytes)| (name.to_owned(), bytes.to_owned())).collect();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&carried), names(&disk), "make_the_fixtures writes the list anew");
    assert!(carried == disk);
    assert!(disk.len() > 600, "the test has lost its eyes: {}", disk.len());
}

#[test]
fn the_fixtures_are_made_anew_byte_by_byte() {
    let home = Home::new();
    let disk = on_disk();
    let made = make(&home);
    for (name, bytes) in &made {
        assert!(disk.get(name) == Some(bytes), "{name} is made with other bytes; make_the_fixtures writes them anew");
    }
    let room = |name: &&String| name.starts_with("damaged/") || name.starts_with("vaults/v1-literal");
    assert_eq!(disk.keys().filter(room).collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
}

/// What is done to the literal vault, and what every reader must say of it. `PACK` stands for the longest pack, and the byte
/// behind every file for one of the footer's end.
fn damaged() -> Vec<(&'static str, Vec<Damage>, &'static str, &'static [&'static str])> {
    use Damage::{Cut, Flip, Remove, Rename, Write};
    let s = str::to_owned;
    let pack = || s("PACK");
    let manifest = |number| format!("snapshots/0000000{number}/manifest.json");
    let tag = |number| format!("snapshots/0000000{number}/manifest.hmac");
    let record = |number| format!("snapshots/0000000{number}");
    vec![
        ("a-bit-of-a-block", vec![Flip(pack(), 100)], "invalid", &["DV103"]),
        ("a-bit-of-a-footer", vec![Flip(pack(), u64::MAX)], "invalid", &["DV104", "DV318"]),
        ("a-bit-of-a-pack-header", vec![Flip(pack(), 20)], "invalid", &["DV106"]),
        ("a-pack-cut", vec![Cut(pack(), 4_000)], "invalid", &["DV104", "DV106"]),
        ("a-pack-empty", vec![Cut(pack(), 0)], "invalid", &["DV104", "DV106"]),
        ("a-pack-missing", vec![Remove(pack())], "invalid", &["DV102", "DV104"]),
        ("all-packs-missing", vec![Remove(s("packs"))], "invalid", &["DV102", "DV104"]),
        ("a-bit-of-a-manifest", vec![Flip(manifest(1), 10)], "invalid", &["DV306"]),
        ("a-bit-of-a-tag", vec![Flip(tag(2), 10)], "invalid", &["DV306"]),
        ("a-manifest-cut", vec![Cut(manifest(2), 100)], "invalid", &["DV306"]),
        ("a-manifest-missing", vec![Remove(manifest(1))], "invalid", &["DV107"]),
        ("a-tag-missing", vec![Remove(tag(1))], "invalid", &["DV107"]),
        ("a-tag-of-another-length", vec![Cut(tag(1), 64)], "invalid", &["DV306"]),
        ("the-first-snapshot-missing", vec![Remove(record(1))], "invalid", &["DV309"]),
        ("the-newest-snapshot-missing", vec![Remove(record(2))], "valid", &[]),
        ("no-snapshots", vec![Remove(record(1)), Remove(record(2))], "refused", &["DV111"]),
        ("a-snapshot-under-another-number", vec![Rename(record(2), record(3))], "invalid", &["DV310"]),
        (
            "two-snapshots-exchanged",
            vec![Rename(record(1), record(3)), Rename(record(2), record(1)), Rename(record(3), record(2))],
            "invalid",
            &["DV310"],
        ),
        ("a-file-beside-a-manifest", vec![Write(format!("{}/note", record(1)), s("x"))], "invalid", &["DV107"]),
        ("a-foreign-name", vec![Write(s("snapshots/note"), s("x"))], "valid", &[]),
        ("an-incomplete-snapshot", vec![Rename(record(2), s("snapshots/.incomplete-0"))], "valid", &[]),
        ("a-bit-of-the-config", vec![Flip(s("vault.json"), 20)], "invalid", &["DV307"]),
        ("the-config-missing", vec![Remove(s("vault.json"))], "invalid", &["DV307"]),
        ("the-config-tag-missing", vec![Remove(s("vault.hmac"))], "invalid", &["DV307"]),
        ("the-index-spoilt", vec![Write(s("index/00000000000000000000000000000000.idx"), s("x"))], "valid", &[]),
        ("the-locks-missing", vec![Remove(s("lock")), Remove(s("sweep.lock"))], "valid", &[]),
        ("snapshots-a-file", vec![Remove(s("snapshots")), Write(s("snapshots"), s(""))], "refused", &["DV110"]),
        ("no-vault", vec![Remove(s("vault.json")), Remove(s("snapshots")), Remove(s("packs"))], "refused", &["DV406"]),
    ]
}

/// A case: its name, the key that is named, the head that is expected, the verdict, the codes.
type Case = (&'static str, Option<&'static str>, Option<Head>, &'static str, &'static [&'static str]);

/// Cases of key and head.
fn not_authentic() -> Vec<Case> {
    let elsewhere = format!("2:{}", "0".repeat(64)).parse().unwrap();
    vec![
        ("with-the-key-of-another-vault", Some("vaults/v1-plain.key"), None, "refused", &["DV302"]),
        ("with-something-else-as-key", Some("vectors/reject/key-with-space.key"), None, "refused", &["DV305"]),
        ("without-a-key", Some(""), None, "refused", &["DV301"]),
        ("with-another-head-expected", None, Some(elsewhere), "refused", &["DV317"]),
    ]
}

/// Makes the literal vault and the damaged ones, by the names of their files.
fn make(home: &Home) -> BTreeMap<String, Vec<u8>> {
    let (vault, key) = (home.path("literal"), home.path("literal.key"));
    fs::create_dir(&vault).unwrap();
    literal::write(&vault, &key, home.other_host("literal"), 2).unwrap();
    let mut files = BTreeMap::from([("vaults/v1-literal.key".to_owned(), fs::read(key).unwrap())]);
    let mut packs = Vec::new();
    for entry in walkdir::WalkDir::new(&vault).sort_by_file_name() {
        let entry = entry.unwrap();
        let name: Vec<&str> =
            entry.path().strip_prefix(&vault).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            if name[0] == "packs" {
                packs.push((name.join("/"), bytes.len() as u64));
            }
            files.insert(format!("vaults/v1-literal/{}", name.join("/")), bytes);
        }
    }
    // The longest holds contents of both snapshots.
    let (pack, length) = packs.into_iter().max_by_key(|(_, length)| *length).unwrap();
    let named = |damage: Damage| match damage {
        Damage::Cut(name, length) if name == "PACK" => Damage::Cut(pack.clone(), length),
        Damage::Flip(name, u64::MAX) if name == "PACK" => Damage::Flip(pack.clone(), length - 60),
        Damage::Flip(name, byte) if name == "PACK" => Damage::Flip(pack.clone(), byte),
        Damage::Remove(name) if name == "PACK" => Damage::Remove(pack.clone()),
        other => other,
    };
    let vault = || "v1-literal".to_owned();
    let expected = |verdict: &str, codes: &[&str]| Expected {
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        verdict: verdict.to_owned(),
    };
    let mut add = |claim: &str, damaged: &Damaged| {
        files.insert(format!("damaged/{claim}.json"), json::encode(damaged));
    };
    for (claim, damage, verdict, codes) in damaged() {
        let damage = damage.into_iter().map(named).collect();
        let expected = expected(verdict, codes);
        add(claim, &Damaged { damage, expect_head: None, expected, key: None, vault: vault() });
    }
    for (claim, key, expect_head, verdict, codes) in not_authentic() {
        let (key, expected) = (key.map(str::to_owned), expected(verdict, codes));
        add(claim, &Damaged { damage: Vec::new(), expect_head, expected, key, vault: vault() });
    }
    files
}

#[test]
#[ignore = "makes fixtures/vaults/v1-literal, fixtures/damaged, fixtures/expected.json and their list anew"]
fn make_the_fixtures() {
    let home = Home::new();
    for room in ["damaged", "vaults/v1-literal"] {
        let _ = fs::remove_dir_all(fixtures().join(room));
    }
    for (name, bytes) in make(&home) {
        let path = fixtures().join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let files = on_disk();
    let mut list = String::from(
        "//! The list of fixtures that the program carries; `cargo test --test all make_the_fixtures -- --ignored` writes it.\n\n\
        macro_rules! embedded {\n    ($($name:literal)*) => {\n        \
        &[$(($name, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/fixtures/\", $name)))),*]\n    };\n}\n\n\
        /// Every fixture: its path below `fixtures/`, and its bytes.\n\
        pub(super) const FILES: &[(&str, &[u8])] = embedded! {\n",
    );
    files.keys().for_each(|name| list.push_str(&format!("    {name:?}\n")));
    list.push_str("};\n");
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance/list.rs"), list).unwrap();
    let report = conformance::run_with(&Fixtures::new(files), &BTreeMap::new(), Place::Temporary, &Silent).unwrap();
    fs::write(fixtures().join("expected.json"), json::encode(&report.agreed)).unwrap();
}

#[test]
fn this_machine_conforms() {
    let home = Home::new();
    fs::create_dir(home.path("here")).unwrap();
    let report = conformance::run(Place::Directory(&home.path("here")), &Silent).unwrap();
    let told: Vec<String> = report
        .diverging
        .iter()
        .map(|case| {
            format!("{case}: {:?} instead of {:?}", report.agreed.get(case), conformance::expected().unwrap().get(case))
        })
        .collect();
    assert!(report.ok, "{}", told.join("\n"));
    assert!(report.agreed.len() > 700, "the test has lost its eyes: {} cases", report.agreed.len());
    assert_eq!(fs::read_dir(home.path("here")).unwrap().count(), 0, "it leaves something behind");
}

/// What everything that the program is expected to come to says of itself, so that a wrong expectation is no truth.
#[test]
fn what_is_expected_is_what_the_names_of_the_cases_claim() {
    let expected = conformance::expected().unwrap();
    let count = |prefix: &str| expected.keys().filter(|case| case.starts_with(prefix)).count();
    assert!(count("vector/accept/") > 100 && count("vector/reject/") > 400);
    for (case, said) in &expected {
        if case.starts_with("vector/accept/") {
            assert_eq!(said, "accepted, and encodes to the same bytes", "{case}");
        } else if case.starts_with("vector/reject/") {
            assert!(said.starts_with("refused: "), "{case}: {said}");
        } else if case.starts_with("vault/") && case.contains("/verify") {
            let verdict = if case.ends_with("/verify, quick") { "no-fault-found" } else { "valid" };
            assert!(said.starts_with(&format!("{verdict}, exit 0")), "{case}: {said}");
        }
        assert!(!said.contains("failed"), "{case}: {said}");
    }
    let embedded = Fixtures::embedded();
    for (name, bytes) in embedded.below("damaged/") {
        let damaged: Damaged = json::decode(bytes).unwrap();
        let said = &expected[&format!("damaged/{}/verify", name.trim_end_matches(".json"))];
        let mut codes: Vec<&str> =
            said.split([' ', ';', ',']).filter(|word| word.starts_with("DV") && word.len() == 5).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, damaged.expected.codes, "{name}: {said}");
        assert!(said.starts_with(&damaged.expected.verdict), "{name}: {said}");
    }
    // Whatever the number of threads.
    let literal = |threads: &str| {
        let prefix = format!("literal, {threads}/");
        let files = expected.iter().filter_map(|(case, said)| Some((case.strip_prefix(&prefix)?.to_owned(), said)));
        files.collect::<BTreeMap<_, _>>()
    };
    assert!(literal("one thread").len() > 10 && literal("one thread") == literal("four threads"));
}

#[test]
fn the_second_reader_agrees_on_the_literal_vault() {
    let Some(report) = crate::format::reader(&[
        Path::new("verify"),
        &fixtures().join("vaults/v1-literal"),
        &fixtures().join("vaults/v1-literal.key"),
    ]) else {
        return;
    };
    assert_eq!(report["verdict"], "valid", "{report}");
    let said = &conformance::expected().unwrap()["vault/v1-literal/verify, full"];
    assert!(said.contains(report["head"].as_str().unwrap()), "{said}");
}

/// Two reports of this machine.
fn two_reports(home: &Home) -> [PathBuf; 2] {
    ["a.json", "b.json"].map(|name| {
        let path = home.path(name);
        let output = home.program().args(["conformance", "--report"]).arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        path
    })
}

fn compare(home: &Home, reports: &[&Path]) -> (i32, serde_json::Value) {
    let output = home.program().args(["--json", "conformance", "--compare"]).args(reports).output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_planted_divergence_does_not_pass_the_gate() {
    let home = Home::new();
    let [one, other] = two_reports(&home);
    let (exit, document) = compare(&home, &[&one, &other]);
    assert_eq!((exit, document["ok"].as_bool()), (0, Some(true)), "{document}");

    let whole = Report::decode(&fs::read(&other).unwrap()).unwrap();
    let planted = |change: fn(&mut Report), code: Code, case: Option<&str>| {
        let mut report = whole.clone();
        change(&mut report);
        fs::write(&other, report.encode()).unwrap();
        let (exit, document) = compare(&home, &[&one, &other]);
        let found = &document["divergences"][0];
        assert_eq!((exit, found["code"].as_str()), (16, Some(code.to_string().as_str())), "{document}");
        assert_eq!(
            (found["case"].as_str(), document["divergences"].as_array().unwrap().len()),
            (case, 1),
            "{document}"
        );
    };
    const VERDICT: &str = "damaged/a-bit-of-a-block/verify";
    const BYTES: &str = "literal, one thread/snapshots/00000002/manifest.json";
    planted(
        |report| {
            let said = report.agreed.get_mut(VERDICT).unwrap();
            *said = said.replacen("invalid, exit 11", "valid, exit 0", 1);
        },
        Code::Diverges,
        Some(VERDICT),
    );
    planted(
        |report| {
            let said = report.agreed.get_mut(BYTES).unwrap();
            *said = said.replacen("\"number\":2", "\"number\":3", 1);
        },
        Code::Diverges,
        Some(BYTES),
    );
    planted(|report| drop(report.agreed.remove(VERDICT)), Code::ReportVacuous, Some(VERDICT));
    planted(|report| report.agreed.clear(), Code::ReportVacuous, None);
    planted(|report| report.program = "devvault 0.0.0".into(), Code::ReportIncomparable, None);

    fs::write(&other, "").unwrap();
    assert_eq!(compare(&home, &[&one, &other]).1["divergences"][0]["code"], "DV602");
    fs::remove_file(&other).unwrap();
    let (exit, document) = compare(&home, &[&one, &other]);
    assert_eq!((exit, document["divergences"][0]["code"].as_str()), (16, Some("DV602")), "{document}");
    assert_eq!(compare(&home, &[&one]).1["divergences"][0]["code"], "DV603");
}

#[test]
fn a_vault_is_judged_without_a_trace_and_a_report_replaces_nothing() {
    let home = Home::with_snapshot();
    let before = crate::support::fingerprint(&home.vault());
    let report = home.path("report.json");
    let run =
        || home.program().arg("--vault").arg(home.vault()).args(["conformance", "--report"]).arg(&report).output();
    let output = run().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(crate::support::fingerprint(&home.vault()), before);
    let written = fs::read(&report).unwrap();
    assert_eq!(run().unwrap().status.code(), Some(14));
    assert_eq!(fs::read(&report).unwrap(), written);
    let output = home.program().arg("conformance").arg(home.vault().join("packs")).output().unwrap();
    assert!(
        output.status.code() == Some(12) && String::from_utf8_lossy(&output.stderr).contains("DV202"),
        "{output:?}"
    );
    assert_eq!(crate::support::fingerprint(&home.vault()), before);
    // What is printed is what is written.
    let (exit, document) = home.json(&["conformance"]);
    assert_eq!((exit, document["schema"].as_str()), (0, Some("devvault.conformance/1")));
    assert_eq!(document["agreed"], serde_json::from_slice::<serde_json::Value>(&written).unwrap()["agreed"]);
}

// Linux alone: a file system that nobody can write to.
#[cfg(target_os = "linux")]
#[test]
fn a_place_where_no_case_can_run_is_not_judged() {
    let home = Home::with_snapshot();
    let report = home.path("report.json");
    let file = report.to_str().unwrap();
    // Neither as the medium of a directory nor as that of a vault, for nobody, the superuser included.
    for arguments in [
        &["conformance", "/sys", "--report", file][..],
        &["--json", "conformance", "/sys", "--report", file],
        &["--vault", "/sys", "conformance", "--report", file],
        &["conformance", "/no/such/directory", "--report", file],
    ] {
        let output = home.program().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("no case ran") && !said.contains("CONFORMS") && !said.contains("hard links"), "{said}");
        assert!(!report.exists(), "{arguments:?}");
    }
}

#[test]
fn the_environment_never_reaches_what_is_agreed() {
    let home = Home::new();
    copy_tree(&fixtures().join("transcripts"), &home.path("elsewhere"));
    let run = |name: &str, environment: &[(&str, &str)]| {
        let path = home.path(name);
        let mut command = home.program();
        command.envs(environment.iter().copied()).current_dir(home.path("elsewhere"));
        let output = command.args(["conformance", "--report"]).arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        path
    };
    let plain = run("plain", &[]);
    let other =
        run("other", &[("TZ", "Asia/Kolkata"), ("LC_ALL", "tr_TR.UTF-8"), ("LANG", "C"), ("RAYON_NUM_THREADS", "1")]);
    assert_eq!(compare(&home, &[&plain, &other]).0, 0);
}
