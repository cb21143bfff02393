//! The journal: what is recorded, how it is anchored in snapshots, what happens when it is cut or cannot be written.

use std::fs;
use std::path::PathBuf;

use devvault::format::config::Parameters;
use devvault::host::Host;
use devvault::incident::journal::{Entry, Journal};
use devvault::ops::{init, journal, key};
use devvault::refusal::Code;

use crate::support::{Home, assert_refused, flip, packs, unchanged};

fn entries(home: &Home) -> Vec<Entry> {
    Journal::of(&home.host()).entries().unwrap()
}

fn acts(home: &Home) -> Vec<String> {
    entries(home).iter().map(|entry| format!("{} {}", entry.act, entry.text("outcome"))).collect()
}

fn file(home: &Home) -> PathBuf {
    Journal::of(&home.host()).path()
}

/// Leaves only the first `count` entries, and a head file that fits them: what an older copy of the directory holds.
fn put_back(home: &Home, copy: &[(PathBuf, Vec<u8>)]) {
    fs::remove_dir_all(home.host().journal_directory()).unwrap();
    fs::create_dir_all(home.host().journal_directory()).unwrap();
    for (path, bytes) in copy {
        fs::write(path, bytes).unwrap();
    }
}

fn copy(home: &Home) -> Vec<(PathBuf, Vec<u8>)> {
    let names = fs::read_dir(home.host().journal_directory()).unwrap().map(|entry| entry.unwrap().path());
    names.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn what_is_done_and_what_is_refused_is_journaled() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    home.restore("1", "restored").unwrap();
    assert_refused(Code::DestinationNotEmpty, home.restore("1", "restored"));
    key::export(&home.access(), &home.path("exported.key"), true).unwrap();
    assert_refused(Code::NotAcknowledged, key::export(&home.access(), &home.path("other.key"), false));
    assert_refused(Code::NoSuchSnapshot, home.verify(&["7"]));
    let expected = [
        "init done",
        "backup done",
        "verify done",
        "restore done",
        "restore refused",
        "key export done",
        "key export refused",
        "verify refused",
    ];
    assert_eq!(acts(&home), expected);
    let entries = entries(&home);
    let verified = &entries[2];
    assert_eq!(
        (verified.text("level"), verified.text("verdict"), &verified.data["whole"]),
        ("full", "valid", &true.into())
    );
    assert_eq!(verified.data["snapshots"], serde_json::json!([1]));
    assert_eq!((entries[4].text("code"), entries[7].text("code")), ("DV201", "DV112"));
    assert!(entries.iter().all(|entry| entry.vault.is_some() && entry.place.is_some()));
    let secret = fs::read_to_string(home.key()).unwrap();
    let secret = secret.split("\"secret\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!fs::read_to_string(file(&home)).unwrap().contains(secret));
}

#[test]
fn a_new_snapshot_names_the_newest_entry_of_the_journal() {
    let home = Home::with_snapshot();
    let before = Journal::of(&home.host()).head().unwrap();
    home.backup();
    let forger = crate::support::Forger::new(&home);
    let snapshot = forger.snapshot(2);
    assert_eq!(snapshot.journal, before);
    assert!(before.is_some());
    let checked = journal::verify(&home.host(), Some(&home.access())).unwrap();
    assert_eq!((checked.anchors, checked.findings.len()), (2, 0));
    assert!(checked.not_checked.is_empty());
    let without = journal::verify(&home.host(), None).unwrap();
    assert_eq!(without.not_checked.len(), 1);
}

#[test]
fn a_journal_that_was_put_back_whole_is_noticed_by_the_snapshots_that_name_it() {
    let home = Home::with_snapshot();
    let old = copy(&home);
    home.backup();
    home.backup();
    put_back(&home, &old);
    let checked = journal::verify(&home.host(), None).unwrap();
    assert!(checked.findings.is_empty(), "an older copy is sound by itself");
    let checked = journal::verify(&home.host(), Some(&home.access())).unwrap();
    assert_eq!(checked.findings.len(), 1, "{:?}", checked.findings);
    assert_eq!((checked.findings[0].code, &checked.findings[0].snapshots[..]), (Code::JournalBroken, &[3][..]));
    let (exit, document) = home.json(&["journal", "verify"]);
    assert_eq!((exit, &document["verdict"]), (13, &"broken".into()));
}

#[test]
fn a_journal_that_is_gone_or_cut_is_noticed_and_backups_go_on() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let text = fs::read_to_string(file(&home)).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for cut in [lines[..lines.len() - 1].concat(), lines[1..].concat(), String::new()] {
        fs::write(file(&home), &cut).unwrap();
        let checked = journal::verify(&home.host(), None).unwrap();
        assert_eq!(checked.findings[0].code, Code::JournalBroken);
        let report = home.backup();
        assert!(report.notes.iter().any(|note| note.starts_with("this was not journaled")), "{:?}", report.notes);
        assert!(report.notes.iter().any(|note| note.contains("does not name this host's journal")));
        assert_eq!(fs::read_to_string(file(&home)).unwrap(), cut, "a broken journal is left as it is");
    }
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.verdict, devvault::ops::verify::Verdict::Valid);
    assert!(report.notes.iter().any(|note| note.starts_with("this was not journaled")));
    home.restore("1", "restored").unwrap();

    let moved = journal::restart(&home.host(), None, &devvault::clock::SystemClock, "the test cut it").unwrap();
    assert_eq!(fs::read_to_string(&moved.path).unwrap(), "");
    home.backup();
    assert_eq!(acts(&home), ["journal begun anew ", "backup done"]);
    let again = journal::restart(&home.host(), None, &devvault::clock::SystemClock, "for no reason");
    assert_refused(Code::IncidentUnfit, again);
}

#[test]
fn without_a_state_directory_backup_verify_and_restore_go_on_and_say_so() {
    let home = Home::with_snapshot();
    let state = home.path("not-a-directory");
    fs::write(&state, "").unwrap();
    let host = Host::new(home.path("config"), &state, home.path("data"));
    let access = devvault::vault::gate::Access { host, key_file: Some(home.key()), ..home.access() };
    let said = |notes: &[String]| notes.iter().any(|note| note.starts_with("this was not journaled: refused DV410"));
    let report = unchanged(&home.vault(), || home.verify_from(&access, &[]).unwrap());
    assert!(said(&report.notes), "{:?}", report.notes);
    let restored = devvault::ops::restore::run(
        &access,
        &"1".parse().unwrap(),
        &home.path("restored"),
        &crate::support::restore_options(),
        &devvault::progress::Silent,
    );
    assert!(said(&restored.unwrap().notes));
    flip(&packs(&home.vault())[0], 60);
    let report = home.verify_from(&access, &[]).unwrap();
    assert_eq!(report.exit(), 11);
    assert_eq!((&report.kept.evidence, &report.kept.incident), (&None, &None));
    assert!(report.notes.iter().any(|note| note.starts_with("no evidence was written")), "{:?}", report.notes);
    assert!(report.notes.iter().any(|note| note.contains("no incident was opened")), "{:?}", report.notes);
}

#[test]
fn where_the_state_directory_cannot_be_used_nothing_says_that_there_is_nothing() {
    let home = Home::with_snapshot();
    flip(&packs(&home.vault())[0], 60);
    home.verify(&[]).unwrap();
    let file = home.path("file");
    fs::write(&file, "").unwrap();
    let mut states = vec![file.clone()];
    // Where the journal alone has lost its place, and where a link leads to a medium that is not mounted.
    fs::create_dir(home.path("partly")).unwrap();
    fs::write(home.path("partly/journal"), "").unwrap();
    states.push(home.path("partly"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(home.path("unmounted"), home.path("link")).unwrap();
        states.push(home.path("link"));
    }
    for state in &states {
        for arguments in [
            &["incident", "list"][..],
            &["incident", "show", "INC-1"],
            &["break-glass", "list"],
            &["journal", "verify"],
            &["journal", "show"],
            &["journal", "export", "exported"],
        ] {
            let mut program = home.program();
            program.env("DEVVAULT_STATE_DIR", state);
            let output = program.arg("--json").args(arguments).output().unwrap();
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(14), "{}: {arguments:?}: {document}", state.display());
            assert_eq!(document["code"], "DV410", "{arguments:?}");
        }
        assert!(!home.path("exported").exists());
        let host = Host::new(home.path("config"), state, home.path("data"));
        let access = devvault::vault::gate::Access { host, key_file: Some(home.key()), ..home.access() };
        let status = devvault::ops::status::run(&access).unwrap();
        assert_eq!(status.attention[0].kind, "journal", "{:?}", status.attention);
    }
}

#[test]
fn a_journal_without_an_entry_is_absent_and_not_sound() {
    let home = Home::new();
    let host = home.host();
    for _ in 0..2 {
        let checked = journal::verify(&host, None).unwrap();
        assert_eq!((checked.verdict(), checked.entries, checked.findings.len()), ("absent", 0, 0));
        let output = home.program().args(["journal", "verify"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("ABSENT: ") && text.contains("nothing was checked"), "{text}");
        assert!(!text.contains("SOUND"), "{text}");
        fs::create_dir_all(host.journal_directory()).unwrap();
        fs::write(file(&home), "").unwrap();
    }
    init::run(&home.access(), Parameters::default()).unwrap();
    assert_eq!(journal::verify(&host, None).unwrap().verdict(), "sound");
}

#[test]
fn the_journal_is_shown_and_exported() {
    let home = Home::with_snapshot();
    let output = home.run(&["journal", "show"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("backup  outcome: done  snapshot: 1") && text.lines().count() == 2, "{text}");
    let (exit, document) = home.json(&["journal", "show", "--last", "1", "--act", "init"]);
    assert_eq!((exit, document["schema"].as_str()), (0, Some("devvault.journal/1")));
    assert_eq!((&document["total"], document["entries"].as_array().unwrap().len()), (&2.into(), 1));
    assert_eq!(document["entries"][0]["act"], "init");
    assert_eq!(home.json(&["journal", "export", "out.jsonl"]).0, 0);
    assert_eq!(fs::read(home.path("out.jsonl")).unwrap(), fs::read(file(&home)).unwrap());
    let (exit, document) = home.json(&["journal", "export", "out.jsonl"]);
    assert_eq!((exit, &document["code"]), (14, &"DV407".into()));
    let bytes = fs::read(file(&home)).unwrap();
    flip(&file(&home), bytes.len() / 2);
    let (exit, document) = home.json(&["journal", "show"]);
    assert_eq!((exit, &document["findings"][0]["code"]), (13, &"DV319".into()));
}

#[test]
fn after_a_new_journal_was_begun_the_old_loss_is_told_and_is_no_finding_any_more() {
    let home = Home::with_snapshot();
    home.backup();
    home.backup();
    let text = fs::read_to_string(file(&home)).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // The entry that snapshot 2 names is edited, the one that snapshot 3 names stands behind it as it was.
    fs::write(file(&home), [lines[0], &lines[1].replace("backup", "bqckup"), lines[2], lines[3]].concat()).unwrap();
    let access = home.access();
    let checked = journal::verify(&home.host(), Some(&access)).unwrap();
    assert!(checked.findings.len() > 1, "{:?}", checked.findings);
    journal::restart(&home.host(), Some(&access), &*access.clock, "somebody edited it").unwrap();
    let checked = journal::verify(&home.host(), Some(&access)).unwrap();
    assert_eq!(checked.findings, []);
    let (given_up, _) = checked.given_up.expect("told");
    assert_eq!((&given_up[..], checked.anchors), (&[2][..], 2));
    home.backup();
    fs::remove_dir_all(home.host().journal_directory()).unwrap();
    let checked = journal::verify(&home.host(), Some(&access)).unwrap();
    assert_eq!(checked.findings.len(), 4, "what a person decided about went with the journal");
}

#[test]
fn a_journal_that_another_took_the_place_of_can_be_begun_anew() {
    let home = Home::with_snapshot();
    let old = copy(&home);
    home.backup();
    home.backup();
    put_back(&home, &old);
    let clock = devvault::clock::SystemClock;
    assert_refused(Code::IncidentUnfit, journal::restart(&home.host(), None, &clock, "it looks sound by itself"));
    let access = home.access();
    journal::restart(&home.host(), Some(&access), &*access.clock, "put back from a backup of this computer").unwrap();
    let checked = journal::verify(&home.host(), Some(&access)).unwrap();
    assert_eq!((checked.findings.len(), checked.given_up.unwrap().0), (0, vec![3]));
}

#[test]
fn a_journal_is_begun_anew_with_a_reason_in_words_alone() {
    let home = Home::with_snapshot();
    let bytes = fs::read(file(&home)).unwrap();
    flip(&file(&home), bytes.len() / 2);
    let broken = fs::read(file(&home)).unwrap();
    for reason in ["", " \n"] {
        let again = journal::restart(&home.host(), None, &devvault::clock::SystemClock, reason);
        assert_refused(Code::IncidentUnfit, again);
        assert_eq!(home.run(&["journal", "restart", "--reason", reason]).status.code(), Some(2));
    }
    assert_eq!(fs::read(file(&home)).unwrap(), broken, "nothing was set aside");
}

#[test]
fn a_journal_that_is_gone_is_begun_anew_and_nothing_is_said_to_be_kept() {
    let home = Home::with_snapshot();
    fs::remove_file(file(&home)).unwrap();
    let output = home.run(&["journal", "restart", "--reason", "the disk lost it"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), said.contains("kept as")), (Some(0), false), "{said}");
    assert!(said.contains("nothing was there"), "{said}");
}

#[test]
fn no_entry_is_shown_where_none_is_asked_for() {
    let home = Home::with_snapshot();
    for count in 0..4 {
        let shown = journal::show(&home.host(), count, None).unwrap();
        let numbers: Vec<u64> = shown.entries.iter().map(|entry| entry.number).collect();
        let expected: Vec<u64> = (1..=2).filter(|number| number + count as u64 > 2).collect();
        assert_eq!((numbers, shown.total), (expected, 2), "{count}");
    }
}

// Linux alone: `id` tells who that is.
#[cfg(target_os = "linux")]
#[test]
fn whoever_acts_is_named_by_the_system_where_the_session_names_nobody() {
    let home = Home::with_snapshot();
    flip(&packs(&home.vault())[0], 60);
    let incident = home.verify(&[]).unwrap().kept.incident.unwrap();
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    let own = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    for user in [None, Some("")] {
        let mut program = home.program();
        program.env_remove("USERNAME").envs(user.map(|user| ("USER", user)));
        let status =
            program.args(["incident", "note", &incident, "looked"]).stdout(std::process::Stdio::null()).status();
        assert!(status.unwrap().success());
        assert_eq!(entries(&home).last().unwrap().text("by"), own);
    }
}

#[test]
fn a_broken_journal_is_something_to_see_to() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let kinds = |home: &Home| -> Vec<&str> {
        devvault::ops::status::run(&home.access()).unwrap().attention.iter().map(|one| one.kind).collect()
    };
    assert!(!kinds(&home).contains(&"journal"));
    let bytes = fs::read(file(&home)).unwrap();
    flip(&file(&home), bytes.len() / 2);
    assert_eq!(kinds(&home), ["journal"], "and nothing is said of what is not known");
}

#[test]
fn the_journal_of_another_host_is_told_without_a_vault() {
    let (home, other) = (Home::with_snapshot(), Home::with_snapshot());
    home.backup();
    assert!(journal::verify(&home.host(), None).unwrap().findings.is_empty());
    fs::remove_dir_all(home.host().journal_directory()).unwrap();
    crate::support::copy_tree(&other.host().journal_directory(), &home.host().journal_directory());
    let checked = journal::verify(&home.host(), None).unwrap();
    assert_eq!(checked.findings.len(), 1, "{:?}", checked.findings);
    assert_eq!(checked.findings[0].code, Code::JournalBroken);
    assert!(checked.findings[0].detail.contains("another one"), "{}", checked.findings[0].detail);
}
