//! Incidents: what opens one, what belongs to it, how it ends, and what is held meanwhile.

use std::fs;

use devvault::crypto::Id;
use devvault::format::record::Fate;
use devvault::incident::Item;
use devvault::incident::journal::Journal;
use devvault::incident::registry::{self, Incident, Matter, Whereabouts};
use devvault::ops::verify::{self, Verdict};
use devvault::ops::{incident, status};
use devvault::path::EntryPath;
use devvault::progress::{Phase, Progress, Silent};
use devvault::refusal::{Code, Family};
use serde_json::Value;

use crate::chain::tombstone;
use crate::support::{Forger, Home, assert_refused, copy_tree, flip, noise, packs, unchanged};

fn incidents(home: &Home) -> Vec<Incident> {
    registry::replay(&Journal::of(&home.host()).entries().unwrap())
}

/// A home whose only snapshot has a damaged pack.
fn damaged() -> Home {
    let home = Home::with_snapshot();
    flip(&packs(&home.vault())[0], 60);
    home
}

/// Edits the first line of the journal, before everything that is told of incidents.
fn break_first_line(home: &Home) {
    let path = Journal::of(&home.host()).path();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"act\":\"init\"", "\"act\":\"inlt\"", 1)).unwrap();
}

#[test]
fn a_finding_of_integrity_opens_an_incident_with_evidence_and_changes_nothing() {
    let home = damaged();
    let report = unchanged(&home.vault(), || home.verify(&[]).unwrap());
    let all = incidents(&home);
    assert_eq!(all.len(), 1);
    let incident = &all[0];
    assert_eq!(report.kept.incident.as_ref(), Some(&incident.id));
    assert!(incident.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{}", incident.id);
    assert_eq!((incident.state(), &incident.severity[..]), ("open", "SEV-1"));
    assert_eq!(incident.report_due.seconds - incident.opened.seconds, 24 * 3600);
    assert_eq!(incident.codes, [Code::ChunkDamaged]);
    let evidence = report.kept.evidence.unwrap();
    assert_eq!(incident.evidence, std::slice::from_ref(&evidence));
    let text = fs::read_to_string(&evidence).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["schema"], &document["act"]), (&"devvault.evidence/1".into(), &"verify".into()));
    assert_eq!(document["code"], report.findings[0].code.to_string());
    assert!(document["platform"]["system"].is_string() && document["program"].is_string());
    assert_eq!(document["vault"], report.vault.to_string());
    let pack = packs(&home.vault())[0].clone();
    let name = pack.file_stem().unwrap().to_str().unwrap().to_owned();
    let files = document["files"].as_array().unwrap();
    let about = files.iter().find(|file| file["name"].as_str().unwrap().contains(&name)).unwrap();
    assert_eq!(about["expected_digest"], name);
    assert_eq!(about["found_digest"], blake3::hash(&fs::read(&pack).unwrap()).to_hex().to_string());
    assert!(document["medium"]["device"].is_u64(), "{document}");
}

#[test]
fn evidence_holds_no_secret_and_no_content() {
    let home = Home::with_vault();
    home.write_source(&[("private", "a text that nobody else may read, long enough to be found again")]);
    home.backup();
    flip(&packs(&home.vault())[0], 60);
    let evidence = home.verify(&[]).unwrap().kept.evidence.unwrap();
    let text = fs::read_to_string(evidence).unwrap() + &fs::read_to_string(Journal::of(&home.host()).path()).unwrap();
    let key = fs::read_to_string(home.key()).unwrap();
    let secret = key.split("\"secret\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!text.contains(secret) && !text.contains("nobody else may read"));
}

// Unix alone: modes.
#[cfg(unix)]
#[test]
fn evidence_can_be_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = damaged();
    let evidence = home.verify(&[]).unwrap().kept.evidence.unwrap();
    for path in [evidence.into(), Journal::of(&home.host()).path()] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn later_refusals_of_the_same_vault_join_the_open_incident() {
    let home = damaged();
    home.verify(&[]).unwrap();
    let refusal = crate::support::refused(home.restore("1", "restored"));
    assert_eq!(refusal.code.family().exit(), 11);
    assert_eq!(refusal.kept.incident, Some(incidents(&home)[0].id.clone()));
    assert!(fs::metadata(refusal.kept.evidence.unwrap()).is_ok());
    home.verify(&[]).unwrap();
    let all = incidents(&home);
    // The second verification saw exactly what the first one saw.
    assert_eq!((all.len(), all[0].evidence.len()), (1, 2));
}

#[test]
fn no_code_opens_an_incident_that_says_nothing_against_what_a_vault_holds() {
    for code in Code::ALL.iter().copied() {
        let grave = matches!(code.family(), Family::SnapshotIntegrity | Family::CryptoBoundary);
        assert!(grave || !registry::opens(code), "{code}");
    }
    for code in [Code::ChunkDamaged, Code::PackDamaged, Code::RecordForged, Code::ConfigForged, Code::Rollback] {
        assert!(registry::opens(code), "{code}");
    }
    for code in [Code::NoSuchSnapshot, Code::SnapshotRemoved, Code::KeyMissing, Code::KeyWrong, Code::WitnessMissing] {
        assert!(!registry::opens(code), "{code}");
    }
}

#[test]
fn a_mistyped_destination_a_wrong_key_and_a_mistyped_number_open_none() {
    let home = Home::with_snapshot();
    fs::create_dir(home.path("full")).unwrap();
    fs::write(home.path("full/x"), "").unwrap();
    let refusal = assert_refused(Code::DestinationNotEmpty, home.restore("1", "full"));
    assert_eq!((refusal.kept.evidence, refusal.kept.incident), (None, None));
    let refusal = assert_refused(Code::NoSuchSnapshot, home.verify(&["9"]));
    assert!(refusal.kept.evidence.is_some() && refusal.kept.incident.is_none());
    let other = Home::with_vault();
    let access = devvault::vault::gate::Access { key_file: Some(other.key()), ..home.access() };
    let refusal = assert_refused(Code::KeyWrong, home.verify_from(&access, &[]));
    assert!(refusal.kept.evidence.is_some() && refusal.kept.incident.is_none());
    fs::remove_file(home.key()).unwrap();
    assert_refused(Code::KeyMissing, home.verify(&[]));
    assert_eq!(incidents(&home), []);
}

#[test]
fn a_question_about_what_is_not_there_joins_no_open_incident_and_does_not_keep_it_open() {
    let home = damaged();
    home.backup();
    home.backup();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    let pack = packs(&home.vault())[0].clone();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    flip(&pack, 60);
    home.verify(&[]).unwrap();
    let before = incidents(&home);
    for (code, arguments) in [
        (Code::NoSuchSnapshot, &["ls", "9"][..]),
        (Code::NoSuchSnapshot, &["verify", "9"]),
        (Code::SnapshotRemoved, &["restore", "2", "restored"]),
    ] {
        let (exit, document) = home.json(arguments);
        assert_eq!((exit, &document["code"]), (11, &code.to_string().into()), "{document}");
        assert!(document["incident"].is_null(), "{document}");
    }
    let about = &before[0];
    for code in [Code::NothingToVerify, Code::NoSuchSnapshot, Code::SnapshotRemoved, Code::NothingToDrill] {
        let item = Item::new(code, "asked", "", &[], &[]);
        let at = Whereabouts { vault: about.vault, place: &about.place, copy: None };
        let matter = |items: &[_]| registry::matter(&before, &at, items);
        assert_eq!(matter(std::slice::from_ref(&item)), Matter::Nothing, "{code}");
        let damage = Item { code: Code::ChunkDamaged, ..item.clone() };
        assert_eq!(matter(&[item, damage]), Matter::Joins(id.clone()), "{code}");
    }
    assert_eq!(incidents(&home), before, "nothing was added");
    let now = home.access_after(20).clock.now();
    incident::close(&home.host(), now, &id, "the cable", "ann", None).unwrap();
}

#[test]
fn an_incident_over_a_mistyped_head_is_closed_by_a_verification_with_the_right_one() {
    let home = Home::with_snapshot();
    let wrong = format!("1:{}", "0".repeat(64));
    let (_, document) = home.json(&["verify", "--expect-head", &wrong]);
    let id = document["incident"].as_str().unwrap().to_owned();
    assert_eq!((&document["code"], incidents(&home)[0].severity.as_str()), (&"DV317".into(), "SEV-1"));
    let close = ["incident", "close", &id, "--reason", "the head was mistyped"];
    assert_eq!(home.json(&close).1["code"], "DV709");
    let right = Forger::new(&home).head(1).to_string();
    assert_eq!(home.json(&["verify", "--expect-head", &right]).0, 0);
    let (exit, document) = home.json(&close);
    assert_eq!((exit, &document["ok"]), (0, &true.into()), "{document}");
}

#[test]
fn another_copy_of_the_vault_has_incidents_of_its_own() {
    let home = damaged();
    home.verify(&[]).unwrap();
    copy_tree(&home.vault(), &home.path("copy"));
    let access = devvault::vault::gate::Access { vault: home.path("copy"), ..home.access() };
    home.verify_from(&access, &[]).unwrap();
    let all = incidents(&home);
    assert_eq!(all.len(), 2);
    assert!(all[0].vault == all[1].vault && all[0].place != all[1].place && all[0].id != all[1].id);
}

#[test]
fn nothing_is_removed_while_an_incident_is_open_and_its_vault_alone_is_held() {
    let home = damaged();
    home.verify(&[]).unwrap();
    let entries = Journal::of(&home.host()).entries().unwrap();
    let incident = &registry::replay(&entries)[0];
    let clear = |vault, place: &str| registry::clear_to_remove(&entries, vault, place, None, None);
    let refusal = assert_refused(Code::EvidenceHold, clear(incident.vault, &incident.place));
    assert!(refusal.message.contains(&incident.id));
    assert_refused(Code::EvidenceHold, clear(None, &incident.place));
    clear(Some(Id([7; 16])), &incident.place).unwrap();
    copy_tree(&home.vault(), &home.path("copy"));
    clear(incident.vault, &home.path("copy").to_string_lossy()).unwrap();
}

#[test]
fn a_medium_that_is_mounted_elsewhere_is_held_as_before() {
    let home = damaged();
    home.verify(&[]).unwrap();
    let entries = Journal::of(&home.host()).entries().unwrap();
    let incident = &registry::replay(&entries)[0];
    let clear = |place: &std::path::Path| {
        registry::clear_to_remove(&entries, incident.vault, &place.to_string_lossy(), None, None)
    };
    fs::rename(home.vault(), home.path("moved")).unwrap();
    let refusal = assert_refused(Code::EvidenceHold, clear(&home.path("moved")));
    assert!(refusal.causes.iter().any(|cause| cause.contains("may be the same directory")), "{:?}", refusal.causes);
    // An empty mount point is no proof that what lies elsewhere is another copy.
    fs::create_dir(home.vault()).unwrap();
    assert_refused(Code::EvidenceHold, clear(&home.path("moved")));
    fs::remove_dir(home.vault()).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(home.path("moved"), home.vault()).unwrap();
        assert_refused(Code::EvidenceHold, clear(&home.path("moved")));
    }
}

#[test]
fn an_incident_opens_however_much_there_is_to_say() {
    let home = Home::with_vault();
    let deep: String = (0..8).map(|_| format!("{}/", "long".repeat(60))).collect();
    let names: Vec<String> = (0..60).map(|number| format!("{deep}{number}")).collect();
    let contents: Vec<String> = (0..60).map(|number| format!("content {number}")).collect();
    let tree: Vec<(&str, &str)> =
        names.iter().zip(&contents).map(|(name, content)| (name.as_str(), content.as_str())).collect();
    home.write_source(&tree);
    home.backup();
    packs(&home.vault()).iter().for_each(|pack| fs::remove_file(pack).unwrap());
    let paths: Vec<EntryPath> = names.iter().map(|name| EntryPath::parse(name.as_bytes()).unwrap()).collect();
    let detail = "\u{1b}".repeat(2_000);
    let many: Vec<Item> = (0..50)
        .map(|number| Item::new(Code::ChunkMissing, &format!("chunk {number}"), &detail, &[1], &paths))
        .collect();
    let fitting = registry::items_to_json(&many);
    assert!(!fitting.is_empty() && serde_json::to_string(&fitting).unwrap().len() < 100 << 10);
    assert!(home.verify(&[]).unwrap().kept.incident.is_some());
}

#[test]
fn an_incident_closes_after_a_clean_full_verification_and_not_before() {
    let home = damaged();
    let pack = packs(&home.vault())[0].clone();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let now = devvault::clock::Time::default();
    let close = || incident::close(&home.host(), now, &id, "mended", "ann", None);
    assert_refused(Code::IncidentUnfit, close());
    home.verify(&[]).unwrap();
    assert_refused(Code::IncidentUnfit, close());
    flip(&pack, 60);
    verify::run(&home.access(), &[], verify::Level::Quick, &Silent).unwrap();
    assert_refused(Code::IncidentUnfit, close());
    home.verify(&["1"]).unwrap();
    assert_refused(Code::IncidentUnfit, close());
    home.verify(&[]).unwrap();
    assert_refused(Code::IncidentUnfit, incident::close(&home.host(), now, &id, " ", "ann", None));
    let closed = close().unwrap().closed.unwrap();
    assert_eq!((&closed.reason[..], &closed.by[..], closed.decision), ("mended", "ann", None));
    assert_refused(Code::IncidentUnfit, close());
    assert_refused(Code::IncidentUnfit, incident::close(&home.host(), now, "INC-0", "x", "ann", None));
    flip(&pack, 60);
    let again = home.verify(&[]).unwrap().kept.incident.unwrap();
    assert_ne!(again, id, "damage after a clean verification is another incident");
}

#[test]
fn a_verification_of_another_copy_closes_nothing() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    copy_tree(&home.vault(), &home.path("copy"));
    flip(&packs(&home.path("copy"))[0], 60);
    let access = devvault::vault::gate::Access { vault: home.path("copy"), ..home.access() };
    assert_eq!(home.verify_from(&access, &[]).unwrap().exit(), 0);
    let now = devvault::clock::Time::default();
    assert_refused(Code::IncidentUnfit, incident::close(&home.host(), now, &id, "mended", "ann", None));
}

#[test]
fn what_was_decided_is_reported_again_and_opens_no_incident() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let now = devvault::clock::Time::default();
    let decision = Some("the pack is lost; the files are restored from the laptop");
    incident::close(&home.host(), now, &id, "nobody has another copy", "ann", decision).unwrap();
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.exit(), &report.kept.incident), (11, &None));
    assert!(report.notes.iter().any(|note| note.contains("a decision about it is recorded")), "{:?}", report.notes);
    let refusal = crate::support::refused(home.restore("1", "restored"));
    assert_eq!((refusal.code.family().exit(), refusal.kept.incident), (11, None));
    assert_eq!(incidents(&home).len(), 1);
    // Something else that breaks is no part of the decision.
    fs::write(home.vault().join("snapshots/00000001/manifest.hmac"), "x").unwrap();
    assert!(home.verify(&[]).unwrap().kept.incident.is_some());
}

#[test]
fn a_report_has_timeline_evidence_decisions_and_boxes_and_a_due_date() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let opened = incidents(&home)[0].opened;
    let after = |hours: i64| devvault::clock::Time { seconds: opened.seconds + hours * 3600, nanos: 0 };
    assert!(!incidents(&home)[0].is_overdue(after(23)) && incidents(&home)[0].is_overdue(after(25)));
    incident::note(&home.host(), after(1), &id, "the cable was loose | really", "ann").unwrap();
    assert_refused(Code::IncidentUnfit, incident::note(&home.host(), after(1), &id, "", "ann"));
    let text = incident::report(&home.host(), after(2), &id).unwrap().text;
    assert!(incidents(&home)[0].is_overdue(after(99)), "nobody said yet that anybody has it");
    assert!(!incident::reported(&home.host(), after(2), &id).unwrap().is_overdue(after(99)));
    for part in [
        "## Timeline",
        "## Evidence",
        "## What was refused",
        "## What was decided, and by whom",
        "## What broke",
        "## What worked",
        "- [ ] ",
    ] {
        assert!(text.contains(part), "{part} is missing from:\n{text}");
    }
    assert!(
        text.contains(&incidents(&home)[0].evidence[0].replace('\\', "\\\\"))
            && text.contains("the cable was loose \\| really")
    );
    let (exit, document) = home.json(&["incident", "list"]);
    assert_eq!((exit, &document["schema"]), (0, &"devvault.incidents/1".into()));
    let one = &document["incidents"][0];
    for name in ["incident", "vault", "state", "severity", "opened", "report_due"] {
        assert!(one[name].is_string(), "{name}: {one}");
    }
    assert_eq!((&one["state"], &one["codes"]), (&"open".into(), &serde_json::json!(["DV103"])));
}

#[test]
fn an_open_incident_outlives_a_journal_that_is_begun_anew() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let opened = incidents(&home)[0].opened.seconds;
    let path = Journal::of(&home.host()).path();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + "{}\n").unwrap();
    assert_refused(Code::JournalBroken, Journal::of(&home.host()).entries());
    devvault::ops::journal::restart(&home.host(), None, &devvault::clock::SystemClock, "someone wrote into it")
        .unwrap();
    let all = incidents(&home);
    assert_eq!((all.len(), &all[0].id, all[0].opened.seconds, all[0].state()), (1, &id, opened, "open"));
}

#[test]
fn what_was_noted_reported_and_decided_outlives_a_journal_that_is_begun_anew() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let now = home.access().clock.now();
    incident::note(&home.host(), now, &id, "the cable was loose", "ann").unwrap();
    incident::reported(&home.host(), now, &id).unwrap();
    incident::close(&home.host(), now, &id, "no other copy", "ann", Some("it stays broken")).unwrap();
    let before = incidents(&home);
    // The line that breaks stands before all of it.
    break_first_line(&home);
    devvault::ops::journal::restart(&home.host(), None, &devvault::clock::SystemClock, "a bit flipped").unwrap();
    let after = incidents(&home);
    assert_eq!(after.len(), 1);
    let (old, new) = (&before[0], &after[0]);
    assert_eq!((&new.id, &new.notes[0].text, &new.notes[0].by), (&old.id, &old.notes[0].text, &old.notes[0].by));
    assert_eq!((&new.evidence, new.reported.is_some()), (&old.evidence, true));
    assert_eq!(new.closed.as_ref().unwrap().decision, old.closed.as_ref().unwrap().decision);
    let report = home.verify(&[]).unwrap();
    assert_eq!((report.exit(), report.kept.incident), (11, None), "what was decided opens nothing again");
}

// Unix alone: limits of a process.
#[cfg(unix)]
#[test]
fn a_journal_that_could_not_be_begun_anew_is_where_it_was_and_forgets_nothing() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let journal = Journal::of(&home.host());
    break_first_line(&home);
    let names = || {
        let directory = journal.path().parent().unwrap().to_owned();
        let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|name| name.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (broken, before) = (fs::read(journal.path()).unwrap(), names());
    // As on a full disk.
    let output = home.limited("trap '' XFSZ; ulimit -f 0", &["journal", "restart", "--reason", "a bit flipped"]);
    assert_eq!(output.status.code(), Some(14), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((fs::read(journal.path()).unwrap(), names()), (broken, before));
    assert_eq!(home.run(&["journal", "restart", "--reason", "a bit flipped"]).status.code(), Some(0));
    assert_eq!(incidents(&home)[0].id, id);
}

#[test]
fn a_report_can_be_read_where_it_cannot_be_journaled_and_stays_due() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let lock = Journal::of(&home.host()).path().with_file_name("lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let output = home.run(&["incident", "report", &id]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("## Timeline"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("it stays due"), "{said}");
}

// Unix alone: a device that is always full.
#[cfg(unix)]
#[test]
fn a_report_that_nobody_could_be_given_stays_due() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else { return };
    let report = |full: Option<&fs::File>, arguments: &[&str]| {
        let mut program = home.program();
        program.arg("--vault").arg(home.vault()).args(arguments).args(["incident", "report", &id]);
        if let Some(full) = full {
            program.stdout(full.try_clone().unwrap()).stderr(full.try_clone().unwrap());
        }
        program.output().unwrap().status.code()
    };
    for arguments in [&[][..], &["--json"]] {
        assert_eq!((report(Some(&full), arguments), incidents(&home)[0].reported), (Some(1), None), "{arguments:?}");
    }
    assert_eq!((report(None, &[]), incidents(&home)[0].reported.is_some()), (Some(0), true));
}

/// Puts another copy of the vault in its place, and the one that was there under another name.
fn swap(home: &Home, old: &str, new: &str) {
    fs::rename(home.vault(), home.path(old)).unwrap();
    fs::rename(home.path(new), home.vault()).unwrap();
}

/// Verifies everything, and returns the incident that what was found belongs to.
fn looked(home: &Home) -> Option<String> {
    home.verify(&[]).unwrap().kept.incident
}

fn decide(home: &Home, id: &str) {
    incident::close(&home.host(), home.access().clock.now(), id, "looked into", "ann", Some("it stays so")).unwrap();
}

#[test]
fn what_was_decided_of_one_file_is_not_decided_of_another_in_the_same_pack() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    for (name, seed) in [("a", 1), ("b", 2)] {
        fs::write(home.source().join(name), noise(3_500, seed)).unwrap();
    }
    home.backup();
    let pack = packs(&home.vault()).into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let affected = |home: &Home| {
        let report = home.verify(&[]).unwrap();
        let paths: Vec<String> = report.findings[0].paths.iter().map(ToString::to_string).collect();
        (paths, report.kept.incident)
    };
    flip(&pack, 60);
    let (paths, first) = affected(&home);
    assert_eq!(paths.len(), 1, "{paths:?}");
    decide(&home, &first.clone().unwrap());
    assert_eq!(affected(&home), (paths, None));
    let length = fs::metadata(&pack).unwrap().len() as usize;
    let other = (200..length).step_by(200).find(|&at| {
        flip(&pack, at);
        let both = home.verify(&[]).unwrap().findings[0].paths.len() == 2;
        flip(&pack, at);
        both
    });
    flip(&pack, other.unwrap());
    let (paths, second) = affected(&home);
    assert!(paths.len() == 2 && second.is_some() && second != first, "{paths:?} {second:?}");
    // The new one is about both.
    decide(&home, &second.unwrap());
    assert_eq!(affected(&home), (paths, None));
}

#[test]
fn what_was_decided_of_one_rollback_is_not_decided_of_the_next() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("older"));
    home.backup();
    swap(&home, "newest", "older");
    let first = looked(&home).unwrap();
    swap(&home, "older", "newest");
    assert_eq!(looked(&home), None);
    decide(&home, &first);
    swap(&home, "newest", "older");
    assert_eq!(looked(&home), None, "the same once more");
    swap(&home, "older", "newest");
    home.backup();
    assert_eq!(looked(&home), None);
    swap(&home, "newest", "older");
    let second = looked(&home);
    assert!(second.is_some() && second.as_ref() != Some(&first), "{second:?}");
}

#[test]
fn what_was_decided_ends_with_a_verification_that_finds_nothing_any_more() {
    let home = damaged();
    let pack = packs(&home.vault()).remove(0);
    let first = looked(&home).unwrap();
    decide(&home, &first);
    assert_eq!(looked(&home), None);
    flip(&pack, 60);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    flip(&pack, 60);
    let second = looked(&home).unwrap();
    assert_ne!(second, first);
    // That outlives the journal, and so does which copy it was.
    decide(&home, &second);
    flip(&pack, 60);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    let before = incidents(&home);
    break_first_line(&home);
    devvault::ops::journal::restart(&home.host(), None, &devvault::clock::SystemClock, "a bit flipped").unwrap();
    assert_eq!(incidents(&home).iter().map(|known| &known.copies).collect::<Vec<_>>(), [&before[0].copies; 2]);
    flip(&pack, 60);
    assert!(looked(&home).is_some());
}

#[test]
fn what_was_decided_of_one_snapshot_or_copy_is_not_decided_of_another() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    let mut of = Vec::new();
    for seed in [1, 2] {
        let before = packs(&home.vault());
        fs::write(home.source().join("database"), noise(9_000, seed)).unwrap();
        home.backup();
        let mut new: Vec<_> = packs(&home.vault()).into_iter().filter(|pack| !before.contains(pack)).collect();
        new.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
        of.push(new.pop().unwrap());
    }
    copy_tree(&home.vault(), &home.path("good"));
    flip(&of[0], 60);
    let first = looked(&home).unwrap();
    decide(&home, &first);
    assert_eq!(looked(&home), None);
    flip(&of[1], 60);
    let second = looked(&home);
    assert!(second.is_some() && second.as_ref() != Some(&first), "the newest snapshot's own pack: {second:?}");
    decide(&home, &second.unwrap());
    assert_eq!(looked(&home), None);
    // What one goes on with is another copy, of which nothing was decided.
    swap(&home, "bad", "good");
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    flip(&of[0], 60);
    assert!(looked(&home).is_some());
}

#[test]
fn more_than_an_entry_can_name_is_decided_as_a_whole() {
    let home = Home::with_snapshot();
    for _ in 0..60 {
        home.backup();
    }
    for number in 1..=60 {
        flip(&home.vault().join(format!("snapshots/{number:08}/manifest.json")), 20);
    }
    let first = looked(&home).unwrap();
    decide(&home, &first);
    assert_eq!(looked(&home), None);
    flip(&home.vault().join("snapshots/00000061/manifest.json"), 20);
    assert!(looked(&home).is_some_and(|second| second != first));
}

#[test]
fn what_no_verification_looks_at_is_decided_once() {
    let home = Home::with_snapshot();
    fs::remove_file(packs(&home.vault()).remove(0)).unwrap();
    // The content is stored anew, and only the older manifest names what is gone.
    let first = home.backup().kept.incident.unwrap();
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    decide(&home, &first);
    for _ in 0..2 {
        assert_eq!(home.backup().kept.incident, None);
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    }
}

/// Lets another copy of the vault take its place once something is being verified.
struct Swapping<'a>(&'a Home, std::sync::Once);

impl Progress for Swapping<'_> {
    fn phase(&self, phase: Phase, _: Option<u64>, _: Option<u64>) {
        if phase == Phase::Verifying {
            self.1.call_once(|| swap(self.0, "first", "second"));
        }
    }
    fn advance(&self, _: u64, _: u64) {}
}

#[test]
fn what_began_with_one_copy_and_ended_with_another_says_nothing_of_either() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("second"));
    let swapping = Swapping(&home, std::sync::Once::new());
    let report = verify::run(&home.access(), &[], verify::Level::Full, &swapping).unwrap();
    assert!(swapping.1.is_completed() && report.verdict == Verdict::Valid, "{report:?}");
    let verified = || status::run(&home.access()).unwrap().verified;
    assert!(verified().is_none(), "{:?}", verified());
    swap(&home, "second", "first");
    assert!(verified().is_none(), "{:?}", verified());
    home.verify(&[]).unwrap();
    assert!(verified().is_some());
}

#[test]
fn an_incident_is_not_closed_by_a_verification_of_another_copy_in_its_place() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("good"));
    flip(&packs(&home.vault())[0], 60);
    let id = looked(&home).unwrap();
    swap(&home, "bad", "good");
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    let close =
        |decision| incident::close(&home.host(), home.access().clock.now(), &id, "all is well", "ann", decision);
    let refusal = assert_refused(Code::IncidentUnfit, close(None));
    assert!(refusal.causes[0].contains("another copy") && refusal.next.contains("--decision"), "{refusal:?}");
    close(Some("we go on with another copy")).unwrap();
}

#[test]
fn a_finding_that_is_looked_at_again_keeps_its_evidence_and_changed_damage_gets_its_own() {
    let home = Home::with_snapshot();
    flip(&packs(&home.vault())[0], 60);
    let files = || fs::read_dir(home.host().evidence_directory()).unwrap().count();
    let look = || home.verify(&[]).unwrap();
    let (first, second) = (look(), look());
    let evidence = first.kept.evidence.clone();
    assert_eq!((evidence.is_some(), &second.kept.evidence, files()), (true, &evidence, 1));
    assert!(second.notes.iter().any(|note| note.contains("found before")), "{:?}", second.notes);
    assert!(!first.notes.iter().any(|note| note.contains("found before")), "{:?}", first.notes);
    // The same finding, but other bytes.
    flip(&packs(&home.vault())[0], 61);
    assert_ne!(look().kept.evidence, evidence);
    assert_eq!(files(), 2);
    // What somebody changed is no evidence any more.
    flip(&packs(&home.vault())[0], 61);
    let path = std::path::PathBuf::from(evidence.clone().unwrap());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("DV103", "DV104", 1)).unwrap();
    assert_ne!(look().kept.evidence, evidence);
    assert_eq!(files(), 3);
}

#[test]
fn an_incident_whose_vault_lives_on_in_another_copy_says_how_it_is_closed() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("whole"));
    flip(&packs(&home.vault())[0], 60);
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let close = |decision| {
        let now = home.access().clock.now();
        incident::close(&home.host(), now, &id, "completed", "ann", decision)
    };
    let refusal = assert_refused(Code::IncidentUnfit, close(None));
    let verify = registry::verify_at(Some(&incidents(&home)[0].place));
    assert!(verify.contains(" --vault "), "{verify}");
    assert!(refusal.next.contains(&format!("`{verify}`")) && refusal.next.contains(&id), "{}", refusal.next);
    let copy = devvault::vault::gate::Access { vault: home.path("whole"), ..home.access() };
    // Neither another vault nor a copy that is damaged too is something to go on with.
    let other = Home::with_snapshot();
    let strange = devvault::vault::gate::Access { vault: other.vault(), key_file: Some(other.key()), ..home.access() };
    home.verify_from(&strange, &[]).unwrap();
    let pack = packs(&home.path("whole"))[0].clone();
    flip(&pack, 60);
    home.verify_from(&copy, &[]).unwrap();
    let refusal = assert_refused(Code::IncidentUnfit, close(None));
    assert!(refusal.causes.is_empty(), "{refusal:?}");
    flip(&pack, 60);
    home.verify_from(&copy, &[]).unwrap();
    let refusal = assert_refused(Code::IncidentUnfit, close(None));
    assert!(refusal.causes[0].contains("whole") && refusal.next.contains("--decision 'we go on"), "{refusal:?}");
    close(Some("we go on with another copy")).unwrap();
}

#[test]
fn what_opens_an_incident_has_evidence_of_its_own_although_the_same_was_seen_before() {
    let home = Home::with_snapshot();
    let pack = packs(&home.vault())[0].clone();
    let modified = fs::metadata(&pack).unwrap().modified().unwrap();
    let hit = |seconds| {
        flip(&pack, 60);
        // The very same, down to the time of the file.
        fs::File::options().write(true).open(&pack).unwrap().set_modified(modified).unwrap();
        home.verify_from(&home.access_after(seconds), &[]).unwrap().kept
    };
    let (first, _mended) = (hit(1), hit(2));
    let closed = home.access_after(3).clock.now();
    incident::close(&home.host(), closed, &first.incident.clone().unwrap(), "the cable", "ann", None).unwrap();
    let again = hit(4);
    assert_ne!(again.incident, first.incident);
    let (first, second) = (first.evidence.unwrap(), again.evidence.unwrap());
    let case = |path: &str| path.rsplit(['/', '\\']).next().unwrap().split('-').nth(2).unwrap().to_owned();
    assert_eq!(case(&first), case(&second), "it is the same case");
    assert_ne!(first, second);
    assert!(!again.notes.iter().any(|note| note.contains("found before")), "{:?}", again.notes);
}
