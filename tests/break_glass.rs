//! Break-glass in use: each permit inside its scope, and refused in every other way; the vault is the same after a no.

use std::fs;

use devvault::clock::{SystemClock, Time};
use devvault::crypto::Id;
use devvault::format::record::{Body, Branch, Fate, Gone, Head, Tombstone};
use devvault::incident::break_glass::{self, Act, Permit, Request, Target};
use devvault::incident::journal::Journal;
use devvault::incident::registry;
use devvault::limits::RECORD_NUMBER_MAX;
use devvault::ops::receipt::{self, Receipt};
use devvault::ops::verify::{self, Verdict};
use devvault::ops::{backup, branch, incomplete, lost};
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::amend;
use devvault::vault::gate::{self, Access};

use crate::support::{Forger, Home, assert_refused, copy_tree, flip, packs, request, unchanged};

fn vault_id(home: &Home) -> Id {
    Forger::new(home).macs.vault()
}

fn declare_on(home: &Home, invariant: &str, scope: String, seconds: i64) -> String {
    break_glass::declare(&home.host(), home.access_after(seconds).clock.now(), &request(invariant, scope)).unwrap().id
}

fn backup_at(home: &Home, seconds: i64) -> devvault::error::Result<backup::Report> {
    backup::run(&home.access_after(seconds), &home.source(), &backup::Options::default(), &Silent)
}

/// A vault of three snapshots that was put back to the copy made after the first.
fn older_copy() -> (Home, Head, Head) {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("older"));
    home.backup();
    home.backup();
    let newest = Forger::new(&home).head(3);
    fs::remove_dir_all(home.vault()).unwrap();
    fs::rename(home.path("older"), home.vault()).unwrap();
    let to = Forger::new(&home).head(1);
    (home, to, newest)
}

#[test]
fn an_older_copy_goes_on_as_a_branch_under_a_permit_for_its_head() {
    let (home, to, newest) = older_copy();
    unchanged(&home.vault(), || {
        assert_refused(Code::Rollback, home.try_backup(&backup::Options::default()));
        assert_refused(Code::PermitMissing, branch::run(&home.access_after(1), "no newer copy exists"));
    });
    home.declare("crypto", &to.to_string(), 10);
    unchanged(&home.vault(), || {
        assert_refused(Code::PermitNotYet, branch::run(&home.access_after(129), "no newer copy exists"));
        assert_refused(Code::DeclarationUnfit, branch::run(&home.access_after(131), " "));
    });
    let report = branch::run(&home.access_after(140), "no newer copy exists").unwrap();
    assert_eq!((report.continues, report.abandons, report.head.number), (to, newest, 2));
    let Body::Branch(record) = Forger::new(&home).record(2).body else { panic!("no branch") };
    assert_eq!((record.from, record.to, &record.reason[..]), (newest, to, "no newer copy exists"));
    let verified = home.verify_from(&home.access_after(150), &[]).unwrap();
    assert_eq!((verified.verdict, verified.freshness.to_string()), (Verdict::Valid, "proven".into()));
    assert_eq!(backup_at(&home, 160).unwrap().snapshot, 3);
    // The witness keeps what was left behind.
    let witness = devvault::vault::witness::read(&home.host(), &Forger::new(&home).macs).unwrap().unwrap();
    assert_eq!((witness.left.len(), witness.left.last()), (2, Some(&newest)), "all that it had seen of it");
    // A host that saw the head that was left behind follows; the permit is of no use any more.
    let refusal = assert_refused(Code::PermitOutOfScope, branch::run(&home.access_after(170), "again"));
    assert!(refusal.message.contains("nothing"), "{refusal}");
}

#[test]
fn another_host_whose_head_the_branch_names_follows_it() {
    let (home, to, _) = older_copy();
    // The other host saw the newest head before the copy was put back.
    let access = Access { host: home.other_host("other"), key_file: Some(home.key()), ..home.access_after(0) };
    copy_tree(&home.path("state/witness"), &home.path("other-state/witness"));
    home.declare("crypto", &to.to_string(), 10);
    branch::run(&home.access_after(140), "no newer copy exists").unwrap();
    assert_eq!(home.verify_from(&access, &[]).unwrap().freshness.to_string(), "proven");
}

#[test]
fn a_permit_for_a_branch_covers_one_head_of_one_vault() {
    let (home, _, newest) = older_copy();
    home.declare("crypto", &newest.to_string(), 10);
    unchanged(&home.vault(), || {
        assert_refused(Code::PermitOutOfScope, branch::run(&home.access_after(140), "wrong head"));
    });
    let other = Home::with_snapshot();
    let request = request("crypto", format!("{}:{}", vault_id(&other), Forger::new(&home).head(1)));
    break_glass::declare(&home.host(), home.access_after(150).clock.now(), &request).unwrap();
    unchanged(&home.vault(), || {
        assert_refused(Code::PermitOutOfScope, branch::run(&home.access_after(300), "another vault"));
    });
}

#[test]
fn an_expired_permit_and_a_broken_journal_permit_nothing() {
    let (home, to, _) = older_copy();
    home.declare("crypto", &to.to_string(), 10);
    let journal = Journal::of(&home.host()).path();
    let whole = fs::read_to_string(&journal).unwrap();
    unchanged(&home.vault(), || {
        fs::write(&journal, whole.replace("the test needs it", "somebody needs it")).unwrap();
        assert_refused(Code::JournalBroken, branch::run(&home.access_after(140), "broken"));
        fs::write(&journal, &whole).unwrap();
        assert_refused(Code::PermitExpired, branch::run(&home.access_after(130 + 600), "too late"));
        assert_refused(Code::ClockBehind, branch::run(&home.access_after(140), "set back"));
        assert_refused(Code::PermitExpired, branch::run(&home.access_after(130 + 601), "still too late"));
    });
}

#[test]
fn a_sound_copy_that_is_not_behind_has_nothing_to_leave_behind() {
    let home = Home::with_snapshot();
    let head = Forger::new(&home).head(1);
    home.declare("crypto", &head.to_string(), 10);
    unchanged(&home.vault(), || {
        assert_refused(Code::PermitOutOfScope, branch::run(&home.access_after(140), "why not"))
    });
}

/// Three snapshots, of which the medium destroyed some.
fn destroyed(numbers: &[u64]) -> Home {
    let home = Home::with_snapshot();
    home.backup();
    home.backup();
    for number in numbers {
        fs::remove_dir_all(home.vault().join(format!("snapshots/{number:08}"))).unwrap();
    }
    home
}

#[test]
fn a_record_that_the_medium_destroyed_is_declared_lost_under_a_permit_for_its_number() {
    let home = destroyed(&[2]);
    let digest = Forger::new(&home).record(3).predecessor;
    unchanged(&home.vault(), || {
        assert_refused(Code::RecordMissing, home.try_backup(&backup::Options::default()));
        assert_refused(Code::PermitMissing, lost::run(&home.access_after(1), &[2], "bad blocks"));
    });
    home.declare("snapshot", "2", 10);
    unchanged(&home.vault(), || {
        assert_refused(Code::PermitNotYet, lost::run(&home.access_after(100), &[2], "bad blocks"));
        for wrong in [&[1][..], &[4], &[1, 2], &[]] {
            assert_refused(Code::PermitOutOfScope, lost::run(&home.access_after(140), wrong, "bad blocks"));
        }
        assert_refused(Code::DeclarationUnfit, lost::run(&home.access_after(140), &[2], ""));
    });
    let report = lost::run(&home.access_after(150), &[2], "bad blocks").unwrap();
    assert_eq!((&report.lost[..], report.head.number), (&[2][..], 4));
    let Body::Tombstone(tombstone) = Forger::new(&home).record(4).body else { panic!("no tombstone") };
    assert_eq!((tombstone.gone.len(), tombstone.gone[0].number, tombstone.gone[0].fate), (1, 2, Fate::Lost));
    assert_eq!((tombstone.gone[0].digest, &tombstone.rule[..]), (Some(digest), ""));
    let verified = home.verify_from(&home.access_after(160), &[]).unwrap();
    assert_eq!((verified.verdict, verified.freshness.to_string()), (Verdict::Valid, "proven".into()));
    assert_refused(Code::SnapshotRemoved, home.verify_from(&home.access_after(170), &["2"]));
    assert_eq!(backup_at(&home, 180).unwrap().snapshot, 5);
}

#[test]
fn the_newest_records_are_declared_lost_under_the_number_after_the_highest_that_was_seen() {
    let home = destroyed(&[2, 3]);
    assert_refused(Code::Rollback, home.try_backup(&backup::Options::default()));
    home.declare("snapshot", "3", 10);
    let refusal = assert_refused(Code::PermitOutOfScope, lost::run(&home.access_after(140), &[3], "bad blocks"));
    assert!(refusal.next.contains("2 3"), "{}", refusal.next);
    unchanged(&home.vault(), || {
        assert_refused(Code::PermitOutOfScope, lost::run(&home.access_after(140), &[2, 3], "only one permit"));
    });
    home.declare("snapshot", "2", 150);
    let report = lost::run(&home.access_after(280), &[2, 3], "bad blocks").unwrap();
    assert_eq!((&report.lost[..], report.head.number, report.permits.len()), (&[2, 3][..], 4, 2));
    let verified = home.verify_from(&home.access_after(290), &[]).unwrap();
    assert_eq!((verified.verdict, verified.freshness.to_string()), (Verdict::Valid, "proven".into()));
    assert_eq!(backup_at(&home, 300).unwrap().snapshot, 5);
}

#[test]
fn a_record_that_is_damaged_is_declared_lost_and_what_is_left_of_it_stays() {
    let home = destroyed(&[]);
    let manifest = home.vault().join("snapshots/00000003/manifest.json");
    flip(&manifest, 20);
    let bytes = fs::read(&manifest).unwrap();
    home.declare("snapshot", "3", 10);
    lost::run(&home.access_after(140), &[3], "bad blocks").unwrap();
    assert_eq!(fs::read(&manifest).unwrap(), bytes);
    assert_eq!(home.verify_from(&home.access_after(150), &[]).unwrap().verdict, Verdict::Valid);
    assert_eq!(backup_at(&home, 160).unwrap().snapshot, 5);
}

#[test]
fn a_host_that_never_saw_a_record_declares_it_lost_and_accuses_no_one_of_another_history() {
    let home = destroyed(&[]);
    let witness = home.access_from(home.other_host("witness"));
    home.verify_from(&witness, &[]).unwrap();
    flip(&home.vault().join("snapshots/00000003/manifest.json"), 20);
    let stranger = home.access_from(home.other_host("stranger"));
    let at = |access: &Access, seconds: i64| Access { clock: home.access_after(seconds).clock, ..access.clone() };
    let scope = format!("{}:3", vault_id(&home));
    break_glass::declare(&stranger.host, at(&stranger, 10).clock.now(), &request("snapshot", scope)).unwrap();
    lost::run(&at(&stranger, 140), &[3], "bad blocks").unwrap();
    let Body::Tombstone(tombstone) = Forger::new(&home).record(4).body else { panic!("no tombstone") };
    assert_eq!(tombstone.gone[0].digest, None);
    for (access, freshness) in [(home.access(), "proven"), (witness, "unproven")] {
        let report = home.verify_from(&at(&access, 150), &[]).unwrap();
        assert_eq!((report.verdict, report.freshness.to_string()), (Verdict::Valid, freshness.into()), "{report:?}");
    }
    assert_eq!(backup_at(&home, 160).unwrap().snapshot, 5);
    // What contradicts a head of before is another history all the same.
    let forger = Forger::new(&home);
    let before = forger.head(1);
    assert!(gate::open(&home.access_after(170)).unwrap().chain.agrees_with(&before));
    assert!(!gate::open(&home.access_after(170)).unwrap().chain.agrees_with(&Head { number: 2, ..before }));
}

#[test]
fn a_receipt_of_what_a_branch_left_behind_accuses_no_one() {
    let home = Home::with_snapshot();
    let receipt = |number: u64| {
        let report = home.verify(&[]).unwrap();
        assert_eq!(report.head.number, number);
        let path = home.path(&format!("receipt-{number}"));
        receipt::write(&home.access(), &Receipt::of_verify(&report, Time::default()), &path).unwrap();
    };
    receipt(1);
    copy_tree(&home.vault(), &home.path("older"));
    for number in [2, 3] {
        home.backup();
        receipt(number);
    }
    fs::remove_dir_all(home.vault()).unwrap();
    fs::rename(home.path("older"), home.vault()).unwrap();
    let check_at = |seconds: i64, number: u64| {
        let report = receipt::check(&home.access_after(seconds), &home.path(&format!("receipt-{number}"))).unwrap();
        (report.exit(), report.since.unwrap().left_by)
    };
    assert_eq!(check_at(1, 3), (13, None), "nobody has decided yet");
    home.declare("crypto", &Forger::new(&home).head(1).to_string(), 10);
    branch::run(&home.access_after(140), "no newer copy exists").unwrap();
    assert_eq!([1, 2, 3].map(|number| check_at(150, number)), [(0, None), (0, Some(2)), (0, Some(2))]);
    let output = home.run(&["receipt", "check", home.path("receipt-3").to_str().unwrap()]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("record 2 begins a branch, which left behind"));
}

#[test]
fn a_forged_successor_is_no_loss() {
    let home = destroyed(&[]);
    let forger = Forger::new(&home);
    let mut record = forger.record(3);
    record.predecessor = devvault::crypto::Digest([9; 32]);
    forger.put_bytes(3, record.kind(), &record.encode());
    home.declare("snapshot", "3", 10);
    unchanged(&home.vault(), || {
        let refusal = crate::support::refused(lost::run(&home.access_after(140), &[3], "it contradicts"));
        assert!([Code::PermitOutOfScope, Code::ChainBroken].contains(&refusal.code), "{refusal}");
    });
}

/// A vault with an unfinished snapshot in it.
fn unfinished(home: &Home) -> String {
    let name = ".incomplete-0123456789abcdef0123456789abcdef";
    let directory = home.vault().join("snapshots").join(name);
    fs::create_dir(&directory).unwrap();
    let origin = r#"{"boot":"","host":"00","host_name":"desk","pid":7,"source":"/home/ann","started":[1700000000,0]}"#;
    fs::write(directory.join("origin.json"), origin).unwrap();
    fs::write(directory.join("0000.part"), "half a pack").unwrap();
    name.into()
}

#[test]
fn what_was_never_finalized_is_listed_with_its_origin_and_discarded_by_name() {
    let home = Home::with_snapshot();
    let name = unfinished(&home);
    let listed = unchanged(&home.vault(), || incomplete::list(&home.access()).unwrap());
    let one = &listed.orphans.incomplete[0];
    assert_eq!((one.packs, one.packs_verified, one.has_record), (1, Some(0), false));
    let claim = one.claim.clone().unwrap();
    assert_eq!((&claim.host_name[..], claim.pid, &claim.source[..]), ("desk", 7, "/home/ann"));
    unchanged(&home.vault(), || {
        for wrong in ["nothing", "../packs", "00000001", ".incomplete-"] {
            assert_refused(Code::NoSuchSnapshot, incomplete::discard(&home.access(), wrong));
        }
    });
    let report = incomplete::discard(&home.access(), &name).unwrap();
    assert!(!home.vault().join("snapshots").join(&name).exists());
    assert!(report.bytes > 11);
    let entries = Journal::of(&home.host()).entries().unwrap();
    let acts: Vec<&str> = entries.iter().rev().take(2).map(|entry| &entry.act[..]).collect();
    assert_eq!(acts, ["incomplete discard", "removal begun"]);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
}

#[test]
fn nothing_is_discarded_under_an_evidence_hold_without_a_permit_for_the_head() {
    let home = Home::with_snapshot();
    let name = unfinished(&home);
    flip(&packs(&home.vault())[0], 60);
    home.verify(&[]).unwrap();
    let head = Forger::new(&home).head(1);
    unchanged(&home.vault(), || {
        assert_refused(Code::EvidenceHold, incomplete::discard(&home.access_after(1), &name));
        home.declare("evidence", "1", 10);
        assert_refused(Code::PermitOutOfScope, incomplete::discard(&home.access_after(140), &name));
        home.declare("evidence", &head.to_string(), 150);
        assert_refused(Code::PermitNotYet, incomplete::discard(&home.access_after(200), &name));
    });
    // A permit is about snapshots, and not about what a test of the medium left.
    fs::write(home.vault().join(".probe-0123"), "x").unwrap();
    unchanged(&home.vault(), || {
        assert_refused(Code::EvidenceHold, incomplete::discard(&home.access_after(300), ".probe-0123"));
    });
    let report = incomplete::discard(&home.access_after(300), &name).unwrap();
    assert!(report.permit.is_some() && !home.vault().join("snapshots").join(&name).exists());
    assert_eq!(packs(&home.vault()).len(), 1, "nothing else was removed");
}

#[test]
fn nothing_is_discarded_while_the_journal_cannot_be_written_or_somebody_writes() {
    let home = Home::with_snapshot();
    let name = unfinished(&home);
    let journal = Journal::of(&home.host()).path();
    let whole = fs::read_to_string(&journal).unwrap();
    unchanged(&home.vault(), || {
        fs::write(&journal, whole.replace("backup", "backxp")).unwrap();
        assert_refused(Code::JournalBroken, incomplete::discard(&home.access(), &name));
        fs::write(&journal, &whole).unwrap();
        let lock = fs::File::options().read(true).write(true).open(home.vault().join("lock")).unwrap();
        fs2::FileExt::lock_exclusive(&lock).unwrap();
        assert_refused(Code::Locked, incomplete::discard(&home.access(), &name));
        let listed = incomplete::list(&home.access()).unwrap();
        assert!(listed.orphans.incomplete[0].may_be_written);
    });
    incomplete::discard(&home.access(), &name).unwrap();
}

#[test]
fn what_a_test_of_the_medium_left_can_be_removed_and_nothing_else_of_its_kind() {
    let home = Home::with_snapshot();
    let probe = home.vault().join(".probe-0123");
    fs::write(&probe, "x").unwrap();
    fs::create_dir(home.vault().join(".probe-4567")).unwrap();
    fs::write(home.vault().join("foreign"), "x").unwrap();
    fs::write(home.vault().join(".probe-x; touch y"), "x").unwrap();
    let list = String::from_utf8(home.run(&["incomplete", "list"]).stdout).unwrap();
    assert_eq!(list.matches("remove it: ").count(), 1, "{list}");
    assert!(list.contains(" incomplete discard .probe-0123\n"), "{list}");
    for name in [".probe-4567", "foreign", ".probe-89", "vault.json", "../vault/.probe-0123", ".probe-x; touch y"] {
        unchanged(&home.vault(), || {
            assert_refused(Code::NoSuchSnapshot, incomplete::discard(&home.access(), name));
        });
    }
    let (_vault, lock) = gate::open_for_writing(&home.access()).unwrap();
    assert_refused(Code::Locked, incomplete::discard(&home.access(), ".probe-0123"));
    assert!(probe.exists());
    drop(lock);
    let report = incomplete::discard(&home.access(), ".probe-0123").unwrap();
    assert_eq!((report.name.as_str(), report.bytes, probe.exists()), (".probe-0123", 1, false));
}

#[test]
fn a_reason_without_words_and_a_day_that_is_over_are_usage_errors() {
    let home = Home::with_snapshot();
    let name = unfinished(&home);
    unchanged(&home.vault(), || {
        for arguments in [
            &["incomplete", "tag", &name, "--label", " ", "--until", "2099-01-31"][..],
            &["incomplete", "tag", &name, "--label", "later", "--until", "2020-01-31"],
            &["branch", "--reason", ""],
            &["declare-lost", "2", "--reason", ""],
        ] {
            let output = home.run(arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        }
    });
    assert_eq!(home.run(&["incomplete", "tag", &name, "--label", "x", "--until", "2099-01-31"]).status.code(), Some(0));
}

#[test]
fn what_is_not_lost_is_not_to_be_declared() {
    let home = destroyed(&[2]);
    for wrong in [&[1][..], &[2, 1]] {
        let refusal = assert_refused(Code::PermitOutOfScope, lost::run(&home.access(), wrong, "bad blocks"));
        assert!(refusal.next.starts_with("declare nothing: "), "{}", refusal.next);
    }
}

#[test]
fn what_the_list_names_for_another_reason_is_not_discarded_and_not_looked_for_there() {
    let home = Home::with_snapshot();
    fs::write(home.vault().join("m.prom"), "x").unwrap();
    let listed = incomplete::list(&home.access()).unwrap();
    assert_eq!(listed.orphans.foreign[0].name, "m.prom");
    let refusal = unchanged(&home.vault(), || {
        assert_refused(Code::NoSuchSnapshot, incomplete::discard(&home.access(), "m.prom"))
    });
    assert!(refusal.message.contains("neither an unfinished snapshot"), "{}", refusal.message);
    assert!(refusal.next.starts_with("find out who put it there"), "{}", refusal.next);
    fs::remove_dir_all(home.vault().join("snapshots/00000001")).unwrap();
    fs::remove_dir_all(home.host().witness_path(Forger::new(&home).macs.vault()).parent().unwrap()).unwrap();
    let pack = incomplete::list(&home.access()).unwrap().orphans.packs[0].name.clone();
    let refusal = assert_refused(Code::NoSuchSnapshot, incomplete::discard(&home.access(), &pack));
    assert!(refusal.next.starts_with("leave it: "), "{}", refusal.next);
    let refusal = assert_refused(Code::NoSuchSnapshot, incomplete::discard(&home.access(), "unheard-of"));
    assert_eq!(refusal.next, "list them: `devvault incomplete list`");
}

// Unix alone: what a shell takes is told by its quotes.
#[cfg(unix)]
#[test]
fn what_has_to_be_verified_is_named_by_its_place_where_no_vault_was_named() {
    let home = Home::with_snapshot();
    let spaced = home.path("my vault");
    fs::rename(home.vault(), &spaced).unwrap();
    flip(&packs(&spaced)[0], 60);
    // What the journal held is put away: it is younger than the system's clock.
    fs::remove_dir_all(home.host().journal_directory()).unwrap();
    let access = Access { vault: spaced.clone(), clock: std::sync::Arc::new(SystemClock), ..home.access() };
    let incident = verify::run(&access, &[], verify::Level::Full, &Silent).unwrap().kept.incident.unwrap();
    let place = format!("'{}'", spaced.canonicalize().unwrap().to_str().unwrap());
    let run = |arguments: &[&str]| {
        let output = home.program().args(arguments).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let text = run(&["incident", "close", &incident, "--reason", "x"]);
    assert!(text.contains(&format!(" --vault {place} verify`")), "{text}");
    let scope = format!("{}:1", Forger::new_at(&home, &spaced).macs.vault());
    let mut declare = vec!["break-glass", "declare", "--invariant", "snapshot", "--reason", "x", "--scope", &scope];
    declare.extend(["--minutes", "9", "--rollback", "none", "--approver", "ann"]);
    let afterwards = format!(" --vault {place} verify, then ");
    for with in [&["--incident", &incident][..], &[]] {
        let text = run(&[&declare, with].concat());
        assert!(text.contains(&afterwards), "{text}");
    }
    let text = run(&[&["--vault", "other"], &declare[..]].concat());
    assert!(text.contains("--vault other verify, then") && !text.contains("my vault"), "{text}");
    let key = home.path("exported.key");
    fs::copy(home.key(), &key).unwrap();
    let key = key.to_str().unwrap();
    assert!(run(&["key", "import", key]).contains(&format!(" --vault {place} key check\n")));
    assert!(run(&["--vault", "a b", "key", "import", key]).contains(" --vault 'a b' key check\n"));
    // A host that knows nothing of it does not make a place up.
    fs::remove_dir_all(home.path("state")).unwrap();
    assert!(run(&["key", "import", key]).contains("naming the directory of the vault"));
    // What cannot be named as it was written down is left out.
    for place in ["relative", "/a\\xff", "/cut…"] {
        assert_eq!(registry::verify_at(Some(place)), "devvault verify", "{place}");
    }
    assert_eq!(registry::verify_at(None), "devvault verify");
}

#[test]
fn a_decision_can_be_put_off_until_a_day() {
    let home = Home::with_snapshot();
    let name = unfinished(&home);
    let now = home.access().clock.now();
    let until = Time { seconds: now.seconds + 1000, nanos: 0 };
    assert_refused(Code::DeclarationUnfit, incomplete::tag(&home.access(), &name, "", until));
    assert_refused(Code::DeclarationUnfit, incomplete::tag(&home.access(), &name, "later", now));
    assert_refused(Code::NoSuchSnapshot, incomplete::tag(&home.access(), "x", "later", until));
    incomplete::tag(&home.access(), &name, "ann looks at it", until).unwrap();
    let listed = incomplete::list(&home.access()).unwrap();
    let one = &listed.orphans.incomplete[0];
    assert_eq!(one.tag.as_ref().unwrap().label, "ann looks at it");
    assert!(!one.is_due(now) && one.is_due(until));
}

fn close(home: &Home, id: &str, seconds: i64) -> devvault::error::Result<break_glass::Declaration> {
    break_glass::close(&home.host(), home.access_after(seconds).clock.now(), id, "done", "ann")
}

#[test]
fn a_verification_that_refused_closes_no_permit_by_which_something_was_written() {
    let home = destroyed(&[2]);
    let id = home.declare("snapshot", "2", 10);
    lost::run(&home.access_after(140), &[2], "bad blocks").unwrap();
    assert_refused(Code::IncidentUnfit, close(&home, &id, 150));
    let stranger = Access { key_file: Some(home.path("none")), ..home.access_after(160) };
    assert_refused(Code::KeyMissing, home.verify_from(&stranger, &[]));
    assert_refused(Code::IncidentUnfit, close(&home, &id, 170));
    home.verify_from(&home.access_after(180), &[]).unwrap();
    close(&home, &id, 190).unwrap();
}

#[test]
fn a_verification_of_another_copy_closes_no_permit() {
    let home = destroyed(&[]);
    copy_tree(&home.vault(), &home.path("other"));
    fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
    let id = home.declare("snapshot", "2", 10);
    lost::run(&home.access_after(150), &[2], "bad blocks").unwrap();
    let other = Access { vault: home.path("other"), ..home.access_after(160) };
    home.verify_from(&other, &[]).unwrap();
    assert_refused(Code::IncidentUnfit, close(&home, &id, 170));
    // The same copy may have been mounted elsewhere.
    fs::rename(home.vault(), home.path("moved")).unwrap();
    let moved = Access { vault: home.path("moved"), ..home.access_after(180) };
    home.verify_from(&moved, &[]).unwrap();
    close(&home, &id, 190).unwrap();
}

#[test]
fn a_permit_for_a_salvage_can_be_closed_although_the_vault_never_opens_again() {
    let home = Home::with_snapshot();
    let id = home.declare("crypto", "1", 10);
    fs::remove_file(home.vault().join("vault.json")).unwrap();
    let salvage = |seconds| {
        let access = home.access_after(seconds);
        devvault::ops::salvage::run(&access, &"1".parse().unwrap(), &home.path("out"), &Silent)
    };
    salvage(140).unwrap();
    assert_refused(Code::IncidentUnfit, close(&home, &id, 150));
    crate::support::refused(home.verify_from(&home.access_after(160), &[]));
    close(&home, &id, 170).unwrap();
}

#[test]
fn a_permit_that_was_never_used_is_closed_as_such_whatever_its_outcome_claims() {
    let home = Home::with_snapshot();
    let id = home.declare("crypto", "1", 10);
    let closed = close(&home, &id, 140);
    assert!(closed.is_ok());
    let entries = Journal::of(&home.host()).entries().unwrap();
    let last = entries.last().unwrap();
    assert_eq!((last.text("event"), &last.data["uses"]), ("closed", &0.into()));
    let listed = home.program().args(["break-glass", "list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("closed without use"), "{listed}");
    // Those that were used say how often; the rest of the line is what a person wrote.
    let used = home.declare("evidence", &Forger::new(&home).head(1).to_string(), 150);
    unfinished(&home);
    flip(&packs(&home.vault())[0], 60);
    home.verify_from(&home.access_after(160), &[]).unwrap();
    incomplete::discard(&home.access_after(300), ".incomplete-0123456789abcdef0123456789abcdef").unwrap();
    home.verify_from(&home.access_after(310), &[]).unwrap();
    close(&home, &used, 320).unwrap();
    let entries = Journal::of(&home.host()).entries().unwrap();
    assert_eq!(entries.last().unwrap().data["uses"], 1);
}

#[test]
fn what_was_never_finalized_is_not_discarded_before_anybody_looked_at_what_is_wrong_with_the_chain() {
    type Damage = fn(&Home);
    let damages: [(Code, Damage); 3] = [
        (Code::RecordForged, |home| flip(&home.vault().join("snapshots/00000002/manifest.json"), 30)),
        (Code::RecordMissing, |home| fs::remove_dir_all(home.vault().join("snapshots/00000001")).unwrap()),
        (Code::Rollback, |home| fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap()),
    ];
    for (code, damage) in damages {
        let home = Home::with_snapshot();
        home.backup();
        let name = unfinished(&home);
        damage(&home);
        let refusal =
            unchanged(&home.vault(), || assert_refused(code, incomplete::discard(&home.access_after(1), &name)));
        assert!(refusal.kept.incident.is_some());
        // From then on it is held, and what releases a hold releases it.
        unchanged(&home.vault(), || {
            assert_refused(Code::EvidenceHold, incomplete::discard(&home.access_after(2), &name))
        });
        let head = gate::open(&home.access()).unwrap().chain.head();
        home.declare("evidence", &head.to_string(), 10);
        incomplete::discard(&home.access_after(140), &name).unwrap();
    }
}

#[test]
fn closing_a_permit_is_no_new_finding_of_its_incident() {
    let home = destroyed(&[2]);
    let incident = home.verify(&[]).unwrap().kept.incident.unwrap();
    let request =
        Request { incident: Some(incident.to_lowercase()), ..request("snapshot", format!("{}:2", vault_id(&home))) };
    let declared = break_glass::declare(&home.host(), home.access_after(10).clock.now(), &request).unwrap();
    assert_eq!(declared.incident.as_ref(), Some(&incident), "it stands under the name that this host knows");
    lost::run(&home.access_after(140), &[2], "bad blocks").unwrap();
    home.verify_from(&home.access_after(150), &[]).unwrap();
    close(&home, &declared.id, 160).unwrap();
    let now = home.access_after(170).clock.now();
    devvault::ops::incident::close(&home.host(), now, &incident, "declared lost", "ann", None).unwrap();
    let text = devvault::ops::incident::report(&home.host(), now, &incident).unwrap().text;
    let part = |title: &str| text.split(title).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let decided = part("## What was decided, and by whom");
    let approved = format!("ann approved {} against the invariant snapshot", declared.id);
    for said in [approved, format!("ann closed {}, used 1 time(s): done", declared.id)] {
        assert!(decided.contains(&said), "{said}: {decided}");
    }
    // Somebody called the outcome what a program calls it.
    assert!(!part("## What worked").contains("break-glass"), "{text}");
}

#[test]
fn a_permit_that_nobody_closed_outlives_a_journal_that_is_begun_anew_and_permits_nothing() {
    let home = destroyed(&[2]);
    let id = home.declare("snapshot", "2", 10);
    lost::run(&home.access_after(140), &[2], "bad blocks").unwrap();
    let journal = Journal::of(&home.host()).path();
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text + "{}\n").unwrap();
    let access = home.access_after(150);
    devvault::ops::journal::restart(&home.host(), None, &*access.clock, "someone wrote into it").unwrap();
    let (all, time) = break_glass::list(&home.host()).unwrap();
    assert_eq!((all.len(), &all[0].id, all[0].uses), (1, &id, 1));
    let now = home.access_after(151).clock.now();
    assert_eq!((all[0].state(now, time), all[0].is_unreconciled(now, time)), (break_glass::State::Expired, true));
    assert_refused(Code::IncidentUnfit, close(&home, &id, 152));
    home.verify_from(&home.access_after(160), &[]).unwrap();
    close(&home, &id, 170).unwrap();
}

#[test]
fn each_act_is_permitted_inside_its_scope_and_time_and_in_no_other_way() {
    use devvault::incident::break_glass::{Act, Target, grant};
    let head = Head { number: 1, digest: devvault::crypto::Digest([1; 32]) };
    let kinds = [
        (Act::Branch, "crypto", Target::Head(head)),
        (Act::Salvage, "crypto", Target::Number(1)),
        (Act::Lost, "snapshot", Target::Number(1)),
        (Act::Release, "evidence", Target::Head(head)),
    ];
    for (act, invariant, target) in kinds {
        let home = Home::with_vault();
        let vault = vault_id(&home);
        let use_it =
            |seconds, vault, target| grant(&home.host(), home.access_after(seconds).clock.now(), act, vault, target);
        assert_refused(Code::PermitMissing, use_it(1, vault, target));
        let text = match target {
            Target::Head(head) => head.to_string(),
            Target::Number(number) => number.to_string(),
        };
        home.declare(invariant, &text, 10);
        assert_refused(Code::PermitNotYet, use_it(129, vault, target));
        use_it(130, vault, target).unwrap();
        assert_refused(Code::PermitOutOfScope, use_it(140, Id([8; 16]), target));
        assert_refused(Code::PermitOutOfScope, use_it(140, vault, Target::Number(2)));
        for other in kinds.iter().map(|kind| kind.0).filter(|other| *other != act) {
            let refused = grant(&home.host(), home.access_after(150).clock.now(), other, vault, target);
            assert_refused(Code::PermitMissing, refused);
        }
        let lock = Journal::of(&home.host()).path().with_file_name("lock");
        fs::remove_file(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        assert_refused(Code::StateUnwritable, use_it(160, vault, target));
        fs::remove_dir(&lock).unwrap();
        use_it(160, vault, target).unwrap();
        assert_refused(Code::PermitExpired, use_it(730, vault, target));
    }
}

/// One act that a permit lets happen: the vault before it, what is declared, what does not cover it, and the act.
struct Permitted {
    invariant: &'static str,
    home: fn() -> Home,
    target: fn(&Home) -> String,
    elsewhere: fn(&Home) -> String,
    without: Code,
    act: fn(&Home, i64) -> devvault::error::Result<()>,
}

fn permitted() -> [Permitted; 4] {
    [
        Permitted {
            invariant: "crypto",
            home: || older_copy().0,
            target: |home| Forger::new(home).head(1).to_string(),
            elsewhere: |_| format!("1:{}", "0".repeat(64)),
            without: Code::PermitMissing,
            act: |home, seconds| branch::run(&home.access_after(seconds), "no newer copy exists").map(|_| ()),
        },
        Permitted {
            invariant: "snapshot",
            home: || destroyed(&[2]),
            target: |_| "2".into(),
            elsewhere: |_| "1".into(),
            without: Code::PermitMissing,
            act: |home, seconds| lost::run(&home.access_after(seconds), &[2], "bad blocks").map(|_| ()),
        },
        Permitted {
            invariant: "crypto",
            home: || {
                let home = Home::with_snapshot();
                fs::remove_file(home.vault().join("vault.hmac")).unwrap();
                home
            },
            target: |_| "1".into(),
            elsewhere: |_| "2".into(),
            without: Code::PermitMissing,
            act: |home, seconds| {
                let (access, out) = (home.access_after(seconds), home.path("out"));
                let salvaged = devvault::ops::salvage::run(&access, &"1".parse().unwrap(), &out, &Silent);
                assert_eq!(salvaged.is_ok(), out.exists());
                salvaged.map(|report| assert!(report.permit.is_some()))
            },
        },
        Permitted {
            invariant: "evidence",
            home: || {
                let home = Home::with_snapshot();
                unfinished(&home);
                flip(&packs(&home.vault())[0], 60);
                home.verify(&[]).unwrap();
                home
            },
            target: |home| Forger::new(home).head(1).to_string(),
            elsewhere: |_| "1".into(),
            without: Code::EvidenceHold,
            act: |home, seconds| {
                let name = ".incomplete-0123456789abcdef0123456789abcdef";
                incomplete::discard(&home.access_after(seconds), name).map(|_| ())
            },
        },
    ]
}

#[test]
fn each_permitted_act_happens_inside_scope_and_time_alone_and_a_no_changes_nothing() {
    for Permitted { invariant, home: make, target, elsewhere, without, act } in permitted() {
        let home = make();
        let other = Home::with_snapshot();
        let declare_for = |vault: Id, target: &str, seconds| {
            declare_on(&home, invariant, format!("{vault}:{target}"), seconds);
        };
        let vault = vault_id(&home);
        unchanged(&home.vault(), || {
            assert_refused(without, act(&home, 1));
            declare_for(vault, &elsewhere(&home), 10);
            assert_refused(Code::PermitOutOfScope, act(&home, 140));
            declare_for(vault_id(&other), &target(&home), 150);
            assert_refused(Code::PermitOutOfScope, act(&home, 300));
            declare_for(vault, &target(&home), 310);
            assert_refused(Code::PermitNotYet, act(&home, 429));
            let lock = Journal::of(&home.host()).path().with_file_name("lock");
            fs::remove_file(&lock).unwrap();
            fs::create_dir(&lock).unwrap();
            assert_refused(Code::StateUnwritable, act(&home, 440));
            fs::remove_dir(&lock).unwrap();
        });
        act(&home, 450).unwrap();
        let late = make();
        let id = vault_id(&late);
        declare_on(&late, invariant, format!("{id}:{}", target(&late)), 10);
        unchanged(&late.vault(), || assert_refused(Code::PermitExpired, act(&late, 730)));
    }
}

#[test]
fn no_record_is_published_but_what_a_permit_covers_whoever_asks() {
    let home = destroyed(&[2]);
    home.declare("snapshot", "2", 10);
    let forger = Forger::new(&home);
    let (access, vault_id, head) = (home.access_after(150), vault_id(&home), forger.head(3));
    let permit = break_glass::grant(&access.host, access.clock.now(), Act::Lost, vault_id, Target::Number(2)).unwrap();
    let (vault, lock) = gate::open_to_amend(&access, &permit).unwrap();
    let host = access.host.identity().unwrap();
    let gone = |number, fate| {
        let gone = Gone { digest: Some(head.digest), fate, number };
        Tombstone {
            gone: vec![gone],
            host: host.clone(),
            reason: "r".into(),
            rule: String::new(),
            time: access.clock.now(),
        }
    };
    let lost = || Body::Tombstone(gone(2, Fate::Lost));
    let branch = Branch {
        branch: vault_id,
        from: head,
        host: host.clone(),
        reason: "r".into(),
        time: access.clock.now(),
        to: forger.head(1),
    };
    let permits = [permit];
    let publish = |number, body, permits: &[Permit]| amend::publish(&vault, &lock, number, head.digest, body, permits);
    // What is locked cannot be read everywhere.
    unchanged(&home.vault().join("snapshots"), || {
        assert_refused(Code::PermitMissing, publish(4, lost(), &[]));
        for body in [
            Body::Tombstone(gone(3, Fate::Lost)),
            Body::Tombstone(gone(2, Fate::Removed)),
            Body::Branch(branch),
            forger.record(1).body,
        ] {
            assert_refused(Code::PermitMissing, publish(4, body, &permits));
        }
        for number in [0, RECORD_NUMBER_MAX + 1] {
            assert_refused(Code::NumberContested, publish(number, lost(), &permits));
        }
    });
    assert_refused(Code::NumberContested, publish(3, lost(), &permits));
    for number in [4, RECORD_NUMBER_MAX] {
        assert_eq!(publish(number, lost(), &permits).unwrap().number, number);
    }
}

#[test]
fn a_permit_names_no_incident_that_this_host_does_not_know() {
    let home = destroyed(&[2]);
    let request = Request {
        incident: Some("INC-20260101-abcdef".into()),
        ..request("snapshot", format!("{}:2", vault_id(&home)))
    };
    let now = home.access_after(10).clock.now();
    assert_refused(Code::DeclarationUnfit, break_glass::declare(&home.host(), now, &request));
    assert!(break_glass::list(&home.host()).unwrap().0.is_empty());
}

#[test]
fn what_is_none_of_the_vaults_can_be_put_off_too() {
    let home = Home::with_snapshot();
    fs::write(home.vault().join("lost+found"), "abc").unwrap();
    let now = home.access().clock.now();
    let until = Time { seconds: now.seconds + 1000, nanos: 0 };
    let foreign = |seconds| {
        let all = devvault::ops::status::run(&home.access_after(seconds)).unwrap().attention;
        all.iter().any(|one| one.kind == "foreign")
    };
    let listed = incomplete::list(&home.access()).unwrap();
    let stray = &listed.orphans.foreign[0];
    assert_eq!((&stray.name[..], stray.bytes, stray.modified.is_some()), ("lost+found", Some(3), true));
    assert!(foreign(1));
    incomplete::tag(&home.access(), "lost+found", "the file system made it", until).unwrap();
    assert!(!foreign(2) && foreign(1001));
    // What was decided about one vault says nothing about another.
    copy_tree(&home.vault(), &home.path("copy"));
    let copy = Access { vault: home.path("copy"), ..home.access() };
    assert!(devvault::ops::status::run(&copy).unwrap().attention.iter().any(|one| one.kind == "foreign"));
}
