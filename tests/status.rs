//! `status` names what a person has to see to, and `status --check` fails on it.

use std::fs;
use std::sync::Arc;

use devvault::clock::{FixedClock, Time};
use devvault::incident::break_glass::{self, Request, TimeBox};
use devvault::ops::status;
use devvault::ops::{incident, incomplete};
use devvault::vault::gate::Access;

use crate::support::{Forger, Home, flip, packs, unchanged};

fn later(home: &Home, seconds: i64) -> Access {
    let access = home.access();
    let now = access.clock.now().seconds + seconds;
    Access { clock: Arc::new(FixedClock(Time { seconds: now, nanos: 0 })), ..access }
}

fn kinds(access: &Access) -> Vec<&'static str> {
    status::run(access).unwrap().attention.iter().map(|one| one.kind).collect()
}

const DAY: i64 = 86_400;

#[test]
fn a_vault_that_was_verified_and_holds_nothing_else_needs_no_attention() {
    let home = Home::with_snapshot();
    assert_eq!(kinds(&home.access()), ["unverified"]);
    let (exit, document) = home.json(&["status", "--check"]);
    assert_eq!((exit, &document["attention"][0]["kind"]), (17, &"unverified".into()));
    assert_eq!(home.json(&["status"]).0, 0);
    assert_eq!(home.json(&["verify"]).0, 0);
    let output = home.run(&["status", "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_verification_and_a_drill_that_are_too_old_need_attention() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    assert_eq!(kinds(&later(&home, 34 * DAY)), [""; 0]);
    assert_eq!(kinds(&later(&home, 36 * DAY)), ["unverified"]);
    fs::write(home.path("config/config.json"), r#"{"drill_days":30,"verify_days":7}"#).unwrap();
    assert_eq!(kinds(&later(&home, 6 * DAY)), ["undrilled"]);
    assert_eq!(kinds(&later(&home, 8 * DAY)), ["unverified", "undrilled"]);
}

#[test]
fn a_verification_of_another_place_or_of_a_part_does_not_count() {
    let home = Home::with_snapshot();
    home.verify(&["1"]).unwrap();
    let quick = devvault::ops::verify::Level::Quick;
    devvault::ops::verify::run(&home.access(), &[], quick, &devvault::progress::Silent).unwrap();
    crate::support::copy_tree(&home.vault(), &home.path("copy"));
    let copy = Access { vault: home.path("copy"), ..home.access() };
    assert_eq!(kinds(&home.access()), ["unverified"]);
    home.verify_from(&copy, &[]).unwrap();
    assert_eq!(kinds(&home.access()), ["unverified"]);
    assert_eq!(kinds(&copy), [""; 0]);
}

#[test]
fn open_incidents_and_late_reports_need_attention_until_they_are_seen_to() {
    let home = Home::with_snapshot();
    let pack = packs(&home.vault())[0].clone();
    flip(&pack, 60);
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    flip(&pack, 60);
    home.verify_from(&later(&home, 60), &[]).unwrap();
    assert_eq!(kinds(&later(&home, 100)), ["incident"]);
    assert_eq!(kinds(&later(&home, 25 * 3600)), ["incident", "report"]);
    let now = later(&home, 25 * 3600).clock.now();
    incident::close(&home.host(), now, &id, "the cable", "ann", None).unwrap();
    assert_eq!(kinds(&later(&home, 25 * 3600)), ["report"]);
    incident::report(&home.host(), now, &id).unwrap();
    assert_eq!(kinds(&later(&home, 25 * 3600)), [""; 0]);
}

#[test]
fn permits_need_attention_from_their_declaration_until_they_are_closed() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let request = Request {
        invariant: "crypto".into(),
        reason: "r".into(),
        scope: format!("{}:1", Forger::new(&home).macs.vault()),
        time_box: TimeBox::Minutes(10),
        rollback: "p".into(),
        approver: "a".into(),
        incident: None,
    };
    let id = break_glass::declare(&home.host(), later(&home, 10).clock.now(), &request).unwrap().id;
    for (seconds, said) in [(11, "takes effect"), (200, "is in effect until"), (2000, "was not closed")] {
        let report = status::run(&later(&home, seconds)).unwrap();
        assert_eq!(report.attention.len(), 1);
        assert!(report.attention[0].text.contains(said), "{}", report.attention[0].text);
    }
    break_glass::close(&home.host(), later(&home, 2001).clock.now(), &id, "not needed", "ann").unwrap();
    assert_eq!(kinds(&later(&home, 2002)), [""; 0]);
}

#[test]
fn orphans_need_attention_and_what_is_put_off_comes_back() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    fs::create_dir(home.vault().join("snapshots/.incomplete-00")).unwrap();
    fs::write(home.vault().join("foreign"), "x").unwrap();
    fs::write(home.vault().join(".probe-00"), "x").unwrap();
    fs::write(home.vault().join("lock.holder"), "{}").unwrap();
    unchanged(&home.vault(), || {
        assert_eq!(kinds(&home.access()), ["incomplete", "foreign", "temporary", "lock"]);
        let until = later(&home, 100).clock.now();
        incomplete::tag(&home.access(), ".incomplete-00", "ann looks at it", until).unwrap();
        assert_eq!(kinds(&home.access()), ["foreign", "temporary", "lock"]);
        assert_eq!(kinds(&later(&home, 100)), ["incomplete", "foreign", "temporary", "lock"]);
    });
}

#[test]
fn a_pack_that_no_snapshot_names_is_told_and_taken_over_by_the_next_backup() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    home.write_source(&[("more", "something that is new")]);
    home.backup();
    fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
    fs::remove_file(home.witness()).unwrap();
    assert!(kinds(&home.access()).contains(&"packs"));
    let head = Forger::new(&home).head(1);
    let access = Access { expect_head: Some(head), ..home.access() };
    let options = devvault::ops::backup::Options::default();
    devvault::ops::backup::run(&access, &home.source(), &options, &devvault::progress::Silent).unwrap();
    assert!(!kinds(&home.access()).contains(&"packs"));
}
