//! `status` names what a person has to see to, and `status --check` fails on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use devvault::drill;
use devvault::incident::break_glass;
use devvault::ops::{backup, incident, incomplete, status, verify};
use devvault::progress::{Progress, Silent};
use devvault::refusal::Code;
use devvault::store::{LocalStore, Store as _};
use devvault::vault::gate::{self, Access};

use crate::support::{Forger, Home, assert_refused, can_drill, flip, noise, packs, unchanged};

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
fn backups_verifications_and_drills_that_are_too_old_need_attention() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    assert_eq!(kinds(&home.access_after(29 * DAY)), [""; 0]);
    assert_eq!(kinds(&home.access_after(31 * DAY)), ["old", "undrilled"]);
    assert_eq!(kinds(&home.access_after(36 * DAY)), ["unverified", "old", "undrilled"]);
    fs::write(home.path("config/config.json"), r#"{"backup_days":0,"drill_days":5,"verify_days":7}"#).unwrap();
    assert_eq!(kinds(&home.access_after(4 * DAY)), [""; 0]);
    assert_eq!(kinds(&home.access_after(6 * DAY)), ["undrilled"]);
    assert_eq!(kinds(&home.access_after(8 * DAY)), ["unverified", "undrilled"]);
    fs::write(home.path("config/config.json"), r#"{"backup_days":3,"drill_days":0,"verify_days":99}"#).unwrap();
    assert_eq!(kinds(&home.access_after(8 * DAY)), ["old"]);
}

#[test]
fn a_verification_of_another_place_or_of_a_part_does_not_count() {
    let home = Home::with_snapshot();
    home.verify(&["1"]).unwrap();
    let quick = verify::Level::Quick;
    verify::run(&home.access(), &[], quick, &Silent).unwrap();
    crate::support::copy_tree(&home.vault(), &home.path("copy"));
    let copy = Access { vault: home.path("copy"), ..home.access() };
    assert_eq!(kinds(&home.access()), ["unverified"]);
    home.verify_from(&copy, &[]).unwrap();
    assert_eq!(kinds(&home.access()), ["unverified"]);
    assert_eq!(kinds(&copy), [""; 0]);
}

#[test]
fn a_lost_witness_and_a_head_that_the_journal_knows_better_need_attention() {
    let home = Home::with_snapshot();
    crate::support::copy_tree(&home.vault(), &home.path("older"));
    home.backup();
    home.verify(&[]).unwrap();
    let kinds = |access: &Access| -> Vec<&'static str> {
        let all = status::run(access).unwrap().attention;
        all.into_iter().map(|one| one.kind).filter(|kind| *kind == "witness").collect()
    };
    assert_eq!(kinds(&home.access()), [""; 0]);
    fs::remove_dir_all(home.path("state/witness")).unwrap();
    assert_eq!(kinds(&home.access()), ["witness"], "every backup is refused");
    let texts = |access: &Access| {
        let all = status::run(access).unwrap().attention.into_iter();
        all.filter(|one| one.kind == "witness").map(|one| one.text).collect::<Vec<_>>().join("\n")
    };
    assert!(texts(&home.access()).contains("devvault runbook DV316"));
    let older = Access { vault: home.path("older"), ..home.access() };
    assert_eq!(kinds(&older), ["witness", "witness"], "the journal has a newer head");
    assert!(texts(&older).contains("which is not in this copy") && texts(&older).contains("devvault runbook DV313"));
    assert_eq!(home.json(&["status", "--check"]).0, 17);
    let head = Forger::new(&home).head(2);
    home.verify_from(&Access { expect_head: Some(head), ..home.access() }, &[]).unwrap();
    assert_eq!(kinds(&home.access()), [""; 0]);
}

#[test]
fn a_source_whose_last_backup_came_to_nothing_needs_attention_until_one_succeeds() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let refused = |access: &Access| {
        let all = status::run(access).unwrap().attention.into_iter();
        all.filter(|one| one.kind == "refused").map(|one| one.text).collect::<Vec<_>>()
    };
    let run = |source: &Path| backup::run(&home.access(), source, &backup::Options::default(), &Silent);
    let empty = home.path("empty 'folder'");
    fs::create_dir(&empty).unwrap();
    // Nothing is there, and never was: a slip of the finger.
    assert_refused(Code::SourceMissing, run(&home.path("mistyped")));
    assert_eq!(refused(&home.access()), [""; 0]);
    fs::rename(home.source(), home.path("aside")).unwrap();
    assert_refused(Code::SourceMissing, run(&home.source()));
    let texts = refused(&home.access());
    assert!(matches!(&texts[..], [text] if text.contains("DV803") && text.contains("devvault backup ")), "{texts:?}");
    // Nor what was interrupted, nor another source's success.
    let interrupted = backup::run(&home.access(), &home.source(), &backup::Options::default(), &Interrupted);
    assert!(interrupted.is_err() && refused(&home.access()).len() == 1);
    fs::write(empty.join("file"), "x").unwrap();
    run(&empty).unwrap();
    assert_eq!(refused(&home.access()).len(), 1);
    fs::rename(home.path("aside"), home.source()).unwrap();
    home.backup();
    assert_eq!(refused(&home.access()), [""; 0]);
    // A second time is no slip any more.
    assert_refused(Code::SourceMissing, run(&home.path("mistyped")));
    assert_eq!(refused(&home.access()).len(), 1);
    fs::create_dir(home.path("mistyped")).unwrap();
    fs::write(home.path("mistyped/file"), "x").unwrap();
    run(&home.path("mistyped")).unwrap();
    assert_eq!(refused(&home.access()), [""; 0]);
    // Once it is old, the age of the last backup tells.
    fs::remove_file(empty.join("file")).unwrap();
    assert_refused(Code::SourceEmpty, run(&empty));
    let shown = fs::canonicalize(&empty).unwrap();
    let quoted = devvault::path::quoted(&shown.to_string_lossy());
    assert!(refused(&home.access())[0].ends_with(&format!(": devvault backup {quoted}")));
    assert_eq!(refused(&home.access_after(31 * DAY)), [""; 0]);
    let old = status::run(&home.access_after(31 * DAY)).unwrap().attention;
    assert!(
        old.iter().any(|one| one.kind == "old" && one.text.ends_with(&format!(": devvault backup {quoted}"))),
        "{old:?}"
    );
}

#[test]
fn open_incidents_and_late_reports_need_attention_until_they_are_seen_to() {
    let home = Home::with_snapshot();
    let pack = packs(&home.vault())[0].clone();
    flip(&pack, 60);
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    flip(&pack, 60);
    home.verify_from(&home.access_after(60), &[]).unwrap();
    assert_eq!(kinds(&home.access_after(100)), ["incident"]);
    assert_eq!(kinds(&home.access_after(25 * 3600)), ["incident", "report"]);
    let now = home.access_after(25 * 3600).clock.now();
    incident::close(&home.host(), now, &id, "the cable", "ann", None).unwrap();
    assert_eq!(kinds(&home.access_after(25 * 3600)), ["report"]);
    incident::reported(&home.host(), now, &id).unwrap();
    assert_eq!(kinds(&home.access_after(25 * 3600)), [""; 0]);
}

#[test]
fn permits_need_attention_from_their_declaration_until_they_are_closed() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let id = home.declare("crypto", "1", 10);
    for (seconds, said) in [(11, "takes effect"), (200, "is in effect until"), (2000, "was not closed")] {
        let report = status::run(&home.access_after(seconds)).unwrap();
        assert_eq!(report.attention.len(), 1);
        assert!(report.attention[0].text.contains(said), "{}", report.attention[0].text);
    }
    break_glass::close(&home.host(), home.access_after(2001).clock.now(), &id, "not needed", "ann").unwrap();
    assert_eq!(kinds(&home.access_after(2002)), [""; 0]);
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
        let until = home.access_after(100).clock.now();
        incomplete::tag(&home.access(), ".incomplete-00", "ann looks at it", until).unwrap();
        assert_eq!(kinds(&home.access()), ["foreign", "temporary", "lock"]);
        assert_eq!(kinds(&home.access_after(100)), ["incomplete", "foreign", "temporary", "lock"]);
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
    let options = backup::Options::default();
    backup::run(&access, &home.source(), &options, &Silent).unwrap();
    assert!(!kinds(&home.access()).contains(&"packs"));
}

struct Interrupted;

impl Progress for Interrupted {
    fn interrupted(&self) -> bool {
        true
    }
}

fn drill(home: &Home, seconds: i64) -> drill::Report {
    drill_as(home, seconds, drill::Options::default())
}

fn drill_as(home: &Home, seconds: i64, options: drill::Options) -> drill::Report {
    let options = drill::Options { scratch: Some(home.scratch()), ..options };
    drill::run(&home.access_after(seconds), &options, &Silent).unwrap()
}

#[test]
fn a_sample_neither_hides_nor_refreshes_the_age_of_a_whole_drill() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let sample = || drill::Options { sample: Some(1 << 20), ..drill::Options::default() };
    assert_eq!(drill_as(&home, 10, sample()).exit(), 0);
    let line = |seconds| status::run(&home.access_after(seconds)).unwrap().sources[0].clone();
    let only = line(20);
    assert_eq!((only.drilled, only.sampled.map(|one| one.extent)), (None, Some("sample".into())));
    let due = status::run(&home.access_after(31 * DAY)).unwrap().attention;
    let text = &due.iter().find(|one| one.kind == "undrilled").expect("a sample is no whole drill").text;
    assert!(text.contains("never exercised a restore of the whole") && text.contains("of a sample"), "{text}");
    drill(&home, DAY);
    assert_eq!(line(2 * DAY).sampled, None, "a whole drill says more than the sample before it");
    drill_as(&home, 25 * DAY, sample());
    let both = line(26 * DAY);
    assert_eq!(both.drilled.expect("kept").time, home.access_after(DAY).clock.now());
    assert_eq!(both.sampled.expect("told too").time, home.access_after(25 * DAY).clock.now());
    assert!(!kinds(&home.access_after(30 * DAY)).contains(&"undrilled"));
    assert!(kinds(&home.access_after(31 * DAY)).contains(&"undrilled"), "counted from the whole drill");
    let text = String::from_utf8(home.run(&["status"]).stdout).unwrap();
    assert!(text.contains("last drill: ") && text.contains("last sample: "), "{text}");
    let (_, document) = home.json(&["status"]);
    let source = &document["sources"][0];
    assert_eq!((&source["drill"]["extent"], &source["drill_sample"]["extent"]), (&"whole".into(), &"sample".into()));
}

#[test]
fn only_a_whole_drill_of_as_much_settles_one_that_failed() {
    /// Spoils what was restored.
    struct Spoiler;
    impl drill::Observer for Spoiler {
        fn restored(&self, restored: &Path) {
            fs::write(restored.join("extra"), "").unwrap();
        }
    }
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let options = drill::Options { negative: true, scratch: Some(home.scratch()), ..drill::Options::default() };
    let report = drill::run_observed(&home.access_after(10), &options, &Spoiler, &Silent).unwrap();
    assert_eq!(report.exit(), 12);
    let failed = |seconds| status::run(&home.access_after(seconds)).unwrap().sources[0].drill_failed.is_some();
    drill_as(&home, 20, drill::Options { sample: Some(1 << 20), ..drill::Options::default() });
    assert!(failed(21), "a sample settles nothing");
    drill(&home, 30);
    assert!(failed(31), "no damaged copy was refused since");
    let due = status::run(&home.access_after(31)).unwrap().attention;
    let text = &due.iter().find(|one| one.kind == "drill").unwrap().text;
    assert!(text.ends_with("devvault drill 1 --negative"), "{text}");
    drill_as(&home, 40, drill::Options { negative: true, ..drill::Options::default() });
    assert!(!failed(41));
}

#[test]
fn no_drill_is_due_where_there_is_no_content() {
    let home = Home::with_vault();
    crate::support::write_tree(&home.source(), &[("empty", ""), ("dir/", "")]);
    home.backup();
    assert!(!kinds(&home.access_after(31 * DAY)).contains(&"undrilled"));
}

#[test]
fn where_the_metrics_cannot_be_written_status_answers_all_the_same_and_fails() {
    let home = Home::with_snapshot();
    let file = home.path("no/such/directory/metrics.prom");
    for (arguments, what) in
        [(&["status"][..], "head: "), (&["--json", "status"], "\"head\":"), (&["status", "--check"], "head: ")]
    {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--metrics", file.to_str().unwrap()]);
        let output = home.run(&arguments);
        let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(text.contains(what) && said.contains("could not write the metrics"), "{text} {said}");
    }
    // What is wrong with the vault goes before.
    packs(&home.vault()).iter().for_each(|pack| fs::remove_file(pack).unwrap());
    assert_eq!(home.run(&["status", "--metrics", file.to_str().unwrap()]).status.code(), Some(11));
    fs::rename(home.vault(), home.path("elsewhere")).unwrap();
    let output = home.run(&["status", "--metrics", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(14) && said.contains("metrics") && said.contains("DV406"), "{said}");
}

#[test]
fn each_source_tells_its_own_last_backup_and_its_own_last_drill() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    drill(&home, DAY);
    crate::support::write_tree(&home.path("other"), &[("file", "x")]);
    backup::run(&home.access(), &home.path("other"), &backup::Options::default(), &Silent).unwrap();
    let report = status::run(&home.access_after(2 * DAY)).unwrap();
    let drilled = report.sources[0].drilled.clone().expect("drilled");
    assert_eq!(
        (drilled.snapshot, &*drilled.scenario, &*drilled.extent, &*drilled.objective),
        (1, "restore", "whole", "met")
    );
    assert_eq!(drilled.time, home.access_after(DAY).clock.now());
    assert_eq!(report.sources[1].drilled, None);
    let due = status::run(&home.access_after(31 * DAY)).unwrap().attention;
    let undrilled: Vec<&str> = due.iter().filter(|one| one.kind == "undrilled").map(|one| &*one.text).collect();
    assert!(undrilled[0].contains("last exercised") && undrilled[1].contains("never exercised"), "{undrilled:?}");
}

#[test]
fn a_drill_that_failed_needs_attention_until_one_passes_and_one_that_took_too_long_until_one_does_not() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    let pack = packs(&home.vault())[0].clone();
    let _ = fs::remove_dir_all(home.vault().join("index"));
    flip(&pack, 60);
    assert_eq!(drill(&home, 10).exit(), 11);
    flip(&pack, 60);
    home.verify_from(&home.access_after(20), &[]).unwrap();
    assert!(kinds(&home.access_after(30)).contains(&"drill"));
    fs::write(home.path("config/config.json"), r#"{"drill_minutes":0,"drill_minutes_max":0}"#).unwrap();
    assert_eq!(drill(&home, 40).exit(), 0);
    let now = kinds(&home.access_after(50));
    assert!(!now.contains(&"drill") && now.contains(&"slow"), "{now:?}");
    fs::remove_file(home.path("config/config.json")).unwrap();
    drill(&home, 60);
    assert!(!kinds(&home.access_after(70)).contains(&"slow"));
}

#[test]
fn a_scenario_on_a_throw_away_vault_is_no_drill_of_this_one() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let report =
        drill::scenario::run(&home.host(), drill::scenario::Scenario::EscrowRestore, Some(&home.scratch())).unwrap();
    assert_eq!(report.exit(), 0, "{:?}", report.failure);
    assert_eq!(status::run(&home.access()).unwrap().sources[0].drilled, None);
}

#[test]
fn the_screen_begins_with_whether_there_is_anything_to_see_to() {
    let first = |home: &Home| {
        let text = String::from_utf8(home.run(&["status"]).stdout).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    let home = Home::with_vault();
    assert!(first(&home).starts_with("ATTENTION: 1 "), "an empty vault is nothing to rely on");
    home.write_source(&crate::support::SMALL_TREE);
    home.backup();
    assert!(first(&home).starts_with("ATTENTION: 1 "));
    assert_eq!(home.json(&["verify"]).0, 0);
    assert!(first(&home).starts_with("NOTHING TO SEE TO"));
    let text = String::from_utf8(home.run(&["status"]).stdout).unwrap();
    let verified = text.lines().find(|line| line.starts_with("  last verification: ")).expect("told");
    assert!(verified.contains("; full, valid; 1 of 1 pack(s) read"), "{verified}");
    assert!(text.contains("that left nothing out: 0 min ago") && text.contains(": 100 % of what is stored;"), "{text}");
    let (_, document) = home.json(&["status"]);
    assert_eq!((&document["verified"]["level"], &document["verified"]["verdict"]), (&"full".into(), &"valid".into()));
    assert_eq!(document["coverage"]["bytes_recently"], document["bytes_stored"]);
    packs(&home.vault()).iter().for_each(|pack| fs::remove_file(pack).unwrap());
    assert!(first(&home).starts_with("DAMAGED OR IN DOUBT"));
}

/// Reads the text format of Prometheus, strictly: every sample belongs to the metric before it, and none is there twice.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'));
    let (mut samples, mut metrics, mut current) = (BTreeMap::new(), BTreeSet::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && metrics.insert(name.to_owned()), "{line}");
            assert_eq!(lines.next().unwrap(), format!("# TYPE {name} gauge"));
            current = name.to_owned();
            continue;
        }
        let (metric, value) = line.rsplit_once(' ').unwrap();
        let name = metric.split('{').next().unwrap();
        assert_eq!(name, current, "{line}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        if let Some(labels) = metric.strip_prefix(name).unwrap().strip_prefix('{') {
            let mut rest = labels.strip_suffix('}').unwrap();
            while !rest.is_empty() {
                let (label, value) = rest.split_once("=\"").unwrap();
                assert!(
                    label.trim_start_matches(',').bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                    "{line}"
                );
                let mut escaped = false;
                let end = value.find(|c: char| {
                    let ends = c == '"' && !escaped;
                    assert!(!escaped || "\\n\"".contains(c), "{line}");
                    escaped = c == '\\' && !escaped;
                    ends
                });
                rest = &value[end.unwrap() + 1..];
            }
        }
        assert!(samples.insert(metric.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
    }
    samples
}

#[test]
fn metrics_can_be_read_by_a_collector_and_are_replaced_as_a_whole() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let awkward = if cfg!(windows) { "it's {a}" } else { "a \"quoted\"\nsource\\" };
    crate::support::write_tree(&home.path(awkward), &[("file", "x")]);
    backup::run(&home.access(), &home.path(awkward), &backup::Options::default(), &Silent).unwrap();
    let file = home.path("metrics.prom");
    fs::write(&file, "# HELP devvault_other what was there before\n").unwrap();
    let output = home.run(&["status", "--metrics", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let samples = parsed(&fs::read_to_string(&file).unwrap());
    let value = |name: &str| samples[&format!("devvault_{name}")];
    assert_eq!((value("up"), value("snapshots"), value("findings_total")), (1.0, 2.0, 0.0));
    assert_eq!(value("attention{kind=\"unverified\"}"), 1.0);
    assert_eq!(value("proven_timestamp_seconds"), 0.0);
    let sources = samples.keys().filter(|name| name.starts_with("devvault_source_backup_timestamp_seconds{")).count();
    assert_eq!(sources, 2);
    home.scratch();
    home.json(&["drill", "1", "--to", "scratch"]);
    home.json(&["verify"]);
    home.run(&["status", "--metrics", file.to_str().unwrap()]);
    let samples = parsed(&fs::read_to_string(&file).unwrap());
    assert!(samples["devvault_proven_timestamp_seconds"] > 1e9);
    let drilled = samples.iter().filter(|(name, _)| name.starts_with("devvault_source_drill_timestamp_seconds{"));
    assert_eq!(drilled.filter(|(_, value)| **value > 1e9).count(), 1);

    // What refuses leaves nothing behind that looks like the present.
    fs::rename(home.vault(), home.path("elsewhere")).unwrap();
    let output = home.run(&["status", "--metrics", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(14));
    let samples = parsed(&fs::read_to_string(&file).unwrap());
    assert_eq!((samples["devvault_up"], samples["devvault_refused{code=\"DV406\"}"]), (0.0, 1.0));
    assert_eq!(samples.len(), 3);
}

#[test]
fn times_by_a_clock_that_was_ahead_settle_nothing() {
    let home = Home::with_snapshot();
    let ahead = home.access_after(7_000 * DAY);
    backup::run(&ahead, &home.source(), &backup::Options::default(), &Silent).unwrap();
    home.verify_from(&ahead, &[]).unwrap();
    let report = status::run(&home.access_after(DAY)).unwrap();
    let kinds: Vec<&str> = report.attention.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, ["unverified", "old"]);
    assert!(report.attention.iter().all(|one| one.text.contains("a clock that was ahead")), "{:?}", report.attention);
    assert_eq!((report.coverage.bytes_recently, report.coverage.oldest), (0, None));
    // A day is what the clocks of hosts may differ by.
    home.verify_from(&home.access_after(DAY), &[]).unwrap();
    assert_eq!(self::kinds(&home.access_after(0)), ["old"]);
    assert_eq!(self::kinds(&home.access_after(-1)), ["unverified", "old"]);
}

// Unix alone: a time of change that a rename of the directory above leaves alone.
#[cfg(unix)]
#[test]
fn a_verification_of_another_copy_at_the_same_place_does_not_count() {
    let home = Home::with_snapshot();
    // Times tick slowly on some systems.
    std::thread::sleep(Duration::from_millis(50));
    crate::support::copy_tree(&home.vault(), &home.path("copy"));
    home.verify(&[]).unwrap();
    assert_eq!(kinds(&home.access()), [""; 0]);
    fs::rename(home.vault(), home.path("first")).unwrap();
    let moved = Access { vault: home.path("first"), ..home.access() };
    assert_eq!(kinds(&moved), ["unverified"], "what was read through another path says nothing of this one");
    fs::rename(home.path("copy"), home.vault()).unwrap();
    let report = status::run(&home.access()).unwrap();
    assert!(report.proven.is_none() && report.verified.is_none() && report.coverage.bytes_recently == 0);
    assert_eq!(kinds(&home.access()), ["unverified"]);
    fs::rename(home.vault(), home.path("copy")).unwrap();
    fs::rename(home.path("first"), home.vault()).unwrap();
    assert_eq!(kinds(&home.access()), [""; 0]);
}

#[test]
fn what_may_belong_to_a_writer_that_is_at_work_needs_no_attention() {
    let home = Home::with_snapshot();
    home.verify(&[]).unwrap();
    fs::write(home.vault().join(".probe-1"), "").unwrap();
    Forger::new(&home).pack(&[&noise(100, 1)]);
    assert_eq!(kinds(&home.access()), ["packs", "temporary"]);
    let (_vault, lock) = gate::open_for_writing(&home.access()).unwrap();
    assert_eq!(kinds(&home.access()), [""; 0]);
    drop(lock);
    assert_eq!(kinds(&home.access()), ["packs", "temporary"]);
}

#[test]
fn hosts_of_one_name_with_the_same_path_are_two_sources() {
    let home = Home::with_snapshot();
    let other = home.access_from(home.other_host("other"));
    let later = home.access_after(29 * DAY);
    let other = Access { clock: Arc::clone(&later.clock), ..other };
    home.write_source(&[("new", "of the other host")]);
    backup::run(&other, &home.source(), &backup::Options::default(), &Silent).unwrap();
    let report = status::run(&home.access_after(31 * DAY)).unwrap();
    let newest: Vec<(u64, u64)> = report.sources.iter().map(|line| (line.snapshots, line.newest)).collect();
    assert_eq!(newest, [(1, 1), (1, 2)]);
    let old: Vec<&str> = report.attention.iter().filter(|one| one.kind == "old").map(|one| &*one.text).collect();
    assert!(matches!(old[..], [text] if text.contains("last backed up")), "{old:?}");
    if can_drill() {
        drill_as(&home, 32 * DAY, drill::Options { snapshot: "1".parse().unwrap(), ..drill::Options::default() });
        let drilled = status::run(&home.access_after(33 * DAY)).unwrap().sources;
        assert!(drilled[0].drilled.is_some() && drilled[1].drilled.is_none(), "{drilled:?}");
    }

    // The path means this host's source, and where neither is this host's it means none.
    let latest = format!("latest:{}", home.source().display());
    let newest = |access: &Access| {
        let selectors = [latest.parse().unwrap()];
        verify::run(access, &selectors, verify::Level::Quick, &Silent).map(|report| report.snapshots[0].0)
    };
    assert_eq!((newest(&home.access()).unwrap(), newest(&other).unwrap()), (1, 2));
    let third = home.access_from(home.other_host("third"));
    let refusal = assert_refused(Code::NoSuchSnapshot, newest(&third));
    assert!(refusal.causes[0].contains("snapshot 2 is") && refusal.causes[0].contains("snapshot 1 is"), "{refusal:?}");
}

#[test]
fn whoever_looks_whether_somebody_writes_keeps_no_writer_out() {
    let home = Home::with_snapshot();
    let look = LocalStore::open(&home.vault()).unwrap().lock("lock", false).unwrap().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(look);
        });
        assert_eq!(home.backup().snapshot, 2);
    });
}

#[test]
fn metrics_replace_nothing_but_metrics() {
    let home = Home::with_snapshot();
    home.write_source(&[("document", "precious"), ("empty file", ""), ("# HELP devvaul", "# HELP devvaul")]);
    let journal = home.host().journal_directory().join("journal.jsonl");
    let (key, witness) = (home.key(), home.witness());
    let mut victims: Vec<(PathBuf, i32, &str)> = vec![
        (home.vault().join("vault.json"), 12, "DV202"),
        (home.vault().join("snapshots/00000001/manifest.json"), 12, "DV202"),
        (home.vault().join("snapshots/00000001/metrics.prom"), 12, "DV202"),
        (home.path("config/metrics.prom"), 12, "DV202"),
        (key, 12, "DV202"),
        (witness, 12, "DV202"),
        (journal, 12, "DV202"),
        (home.source().join("document"), 14, "DV407"),
        (home.source().join("empty file"), 14, "DV407"),
        (home.source().join("# HELP devvaul"), 14, "DV407"),
        (home.source(), 14, "DV407"),
    ];
    #[cfg(unix)]
    {
        let (genuine, link, pipe) = (home.path("genuine.prom"), home.path("link.prom"), home.path("pipe"));
        fs::write(&genuine, "# HELP devvault_up of the last time\n").unwrap();
        std::os::unix::fs::symlink(&genuine, &link).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        victims.extend([(link, 14, "DV407"), (pipe, 14, "DV407"), ("/dev/null".into(), 14, "DV407")]);
    }
    let look = |path: &Path| fs::symlink_metadata(path).map(|metadata| (metadata.file_type(), metadata.len())).ok();
    for (victim, exit, code) in victims {
        let read = || if victim.is_file() { fs::read(&victim).unwrap() } else { Vec::new() };
        // A refusal goes into the journal.
        let own = victim.ends_with("journal.jsonl");
        let before = (look(&victim), read());
        let (found, document) = home.json(&["status", "--metrics", victim.to_str().unwrap()]);
        assert_eq!((found, document["code"].as_str()), (exit, Some(code)), "{}: {document}", victim.display());
        assert!(own && read().starts_with(&before.1) || (look(&victim), read()) == before, "{}", victim.display());
    }
}
