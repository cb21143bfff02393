//! Tombstones and branches: what accounts for records that are gone or abandoned, and what only claims to.

use std::fs;

use devvault::clock::Time;
use devvault::crypto::{Digest, Id};
use devvault::format::record::{Body, Branch, Fate, Head};
use devvault::ops::verify::Verdict;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::chain::{
    blocked, blocked_from, record, recorded_host, recoverable, recoverable_from, remove, three, tombstone,
};
use crate::support::{Forger, Home, assert_refused, copy_tree, flip, picture};

fn branch(from: Head, to: Head) -> Body {
    let time = Time { seconds: 1_700_000_000, nanos: 0 };
    Body::Branch(Branch { branch: Id([9; 16]), from, host: recorded_host(), reason: "a test".into(), time, to })
}

#[test]
fn a_tombstone_accounts_for_a_removed_snapshot() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    // While the directory is still there the tombstone counts already.
    for _ in 0..2 {
        let report = home.verify(&[]).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "proven"));
        assert_eq!(report.snapshots, [(1, Verdict::Valid), (3, Verdict::Valid)]);
        assert_refused(Code::SnapshotRemoved, home.restore("2", "removed"));
        assert_refused(Code::SnapshotRemoved, home.verify(&["2"]));
        if record(&home, 2).exists() {
            remove(&home, 2);
        }
    }
    recoverable(&home, 1, &pictures[0], "proven");
    recoverable(&home, 3, &pictures[2], "proven");
    home.write_source(&[("new", "x")]);
    assert_eq!(home.backup().snapshot, 5);
    home.restore("latest", "latest").unwrap();
    assert_eq!(picture(&home.path("latest")), picture(&home.source()));
}

#[test]
fn a_removed_newest_snapshot_is_no_rollback() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(3, Some(forger.head(3).digest), Fate::Removed)]));
    remove(&home, 3);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    home.restore("latest", "latest").unwrap();
    assert_eq!(home.backup().snapshot, 5);
}

#[test]
fn a_tombstone_that_was_taken_away_leaves_a_gap() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    remove(&home, 2);
    home.backup();
    remove(&home, 4);
    let report = blocked(&home, Code::RecordMissing);
    assert!(report.findings.iter().any(|finding| finding.snapshots == [2]));
    assert!(report.findings.iter().any(|finding| finding.snapshots == [4]));
}

#[test]
fn a_tombstone_with_another_digest_than_the_record_had_breaks_the_chain() {
    for (number, gone) in [(2, true), (2, false), (3, true), (3, false)] {
        let (home, _) = three();
        let forger = Forger::new(&home);
        forger.put(4, tombstone(&[(number, Some(Digest([5; 32])), Fate::Removed)]));
        if gone {
            remove(&home, number);
        }
        blocked(&home, Code::ChainBroken);
    }
}

#[test]
fn a_digest_that_only_an_older_tombstone_names_counts_all_the_same() {
    for (named, code) in [(true, None), (false, Some(Code::ChainBroken))] {
        let (home, _) = three();
        let forger = Forger::new(&home);
        let digest = if named { forger.head(2).digest } else { Digest([5; 32]) };
        forger.put(4, tombstone(&[(2, Some(digest), Fate::Removed)]));
        forger.put(5, tombstone(&[(2, None, Fate::Lost)]));
        match code {
            Some(code) => drop(blocked(&home, code)),
            None => assert_eq!(home.verify(&[]).unwrap().findings, []),
        }
    }
}

#[test]
fn a_gap_is_named_with_both_its_ends() {
    let (home, _) = three();
    home.backup();
    let missing = |home: &Home| {
        let report = home.verify(&[]).unwrap();
        let found = report.findings.into_iter().find(|finding| finding.code == Code::RecordMissing);
        found.map(|finding| finding.detail).unwrap_or_default()
    };
    remove(&home, 2);
    let rest = "the directory is not there, and no tombstone accounts for it";
    assert_eq!(missing(&home), format!("00000002: {rest}"));
    remove(&home, 3);
    assert_eq!(missing(&home), format!("00000002 to 00000003: {rest}"));
}

#[test]
fn a_lost_snapshot_needs_no_digest() {
    for number in 1..=3 {
        let (home, pictures) = three();
        let forger = Forger::new(&home);
        forger.put(4, tombstone(&[(number, None, Fate::Lost)]));
        remove(&home, number);
        let report = home.verify(&[]).unwrap();
        assert_eq!((report.verdict, report.snapshots.len()), (Verdict::Valid, 2), "{:?}", report.findings);
        assert_refused(Code::SnapshotRemoved, home.restore(&number.to_string(), "lost"));
        let kept = if number == 1 { 2 } else { 1 };
        recoverable(&home, kept, &pictures[kept as usize - 1], "proven");
        assert_eq!(home.backup().snapshot, 5);
    }
}

#[test]
fn a_tombstone_that_covers_itself_or_what_comes_later_is_refused() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    let digest = Some(forger.head(3).digest);
    for gone in [
        vec![(4, digest, Fate::Removed)],
        vec![(5, digest, Fate::Removed)],
        vec![(2, digest, Fate::Removed), (99_999_999, digest, Fate::Lost)],
        vec![(2, None, Fate::Removed)],
        vec![(0, digest, Fate::Lost)],
        vec![(3, digest, Fate::Removed), (2, digest, Fate::Removed)],
        vec![],
    ] {
        forger.put(4, tombstone(&gone));
        blocked(&home, Code::RecordDamaged);
        // It does not count: what it names is still there.
        recoverable(&home, 2, &pictures[1], "proven");
        assert_eq!(home.verify(&[]).unwrap().snapshots.iter().filter(|(number, _)| *number < 4).count(), 3);
    }
}

#[test]
fn a_tombstone_without_a_matching_tag_removes_nothing() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    flip(&record(&home, 4).join("tombstone.hmac"), 0);
    blocked(&home, Code::RecordForged);
    recoverable(&home, 2, &pictures[1], "proven");
}

#[test]
fn a_tombstone_does_not_authenticate_under_the_name_of_another_record() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    forger.put(4, tombstone(&[(2, Some(forger.head(2).digest), Fate::Removed)]));
    for (from, to) in [("tombstone.json", "branch.json"), ("tombstone.hmac", "branch.hmac")] {
        fs::rename(record(&home, 4).join(from), record(&home, 4).join(to)).unwrap();
    }
    blocked(&home, Code::RecordForged);
    recoverable(&home, 2, &pictures[1], "proven");
}

#[test]
fn a_branch_makes_the_head_that_it_abandons_acceptable() {
    let (home, pictures) = three();
    let forger = Forger::new(&home);
    let (seen, to) = (forger.head(3), forger.head(1));
    copy_tree(&home.vault(), &home.path("newest"));
    remove(&home, 3);
    remove(&home, 2);
    blocked(&home, Code::Rollback);
    forger.put(2, branch(seen, to));
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "proven"));
    assert_eq!(home.backup().snapshot, 3);
    recoverable(&home, 1, &pictures[0], "proven");
    assert_refused(Code::NoSuchSnapshot, home.restore("2", "a-branch-is-no-snapshot"));
    // From now on the abandoned copy is the wrong one.
    let newest = Access { vault: home.path("newest"), ..home.access() };
    blocked_from(&home, &newest, Code::Fork);
    recoverable_from(&home, &newest, 3, &pictures[2], "behind 2");
}

#[test]
fn a_branch_that_abandons_another_head_excuses_nothing() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let (other, to) = (forger.head(2), forger.head(1));
    remove(&home, 3);
    remove(&home, 2);
    forger.put(2, branch(other, to));
    blocked(&home, Code::Fork);
}

#[test]
fn a_branch_that_contradicts_itself_is_refused() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let (seen, before) = (forger.head(3), forger.head(2));
    for (from, to) in [(seen, before), (seen, seen), (before, Head { number: 2, ..seen })] {
        forger.put(4, branch(from, to));
        blocked(&home, Code::RecordDamaged);
    }
}

#[test]
fn the_list_of_snapshots_says_what_became_of_the_others_and_why() {
    let (home, _) = three();
    let forger = Forger::new(&home);
    let gone = [(1, Some(forger.head(1).digest), Fate::Removed), (2, Some(forger.head(2).digest), Fate::Lost)];
    forger.put(4, tombstone(&gone));
    remove(&home, 1);
    remove(&home, 2);
    let (exit, document) = home.json(&["snapshots"]);
    assert_eq!(exit, 0, "{document}");
    let time = "2023-11-14T22:13:20Z";
    let host = recorded_host().name;
    assert_eq!(
        document["amendments"],
        serde_json::json!([{
            "record": 4, "time": time, "host": host, "reason": "a test", "removed": [1], "lost": [2], "rule": "",
        }])
    );
    let line = format!("       4  {time}  {host}  removed: record(s) 1; declared lost: record(s) 2; reason: a test");
    let output = home.run(&["snapshots"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().nth(1), Some(line.as_str()));

    // A branch stands among the snapshots, in the order of their numbers.
    let (home, _) = three();
    let forger = Forger::new(&home);
    let (abandons, continues) = (forger.head(3), forger.head(2));
    remove(&home, 3);
    forger.put(3, branch(abandons, continues));
    home.backup();
    let (_, document) = home.json(&["snapshots"]);
    assert_eq!(
        document["amendments"],
        serde_json::json!([{
            "record": 3, "time": time, "host": host, "reason": "a test",
            "continues": continues.to_string(), "abandons": abandons.to_string(),
        }])
    );
    let output = home.run(&["snapshots"]);
    let line =
        format!("       3  {time}  {host}  branch: goes on from {continues}, leaves {abandons} behind; reason: a test");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().nth(2), Some(line.as_str()));
}
