//! What hostile vaults cost, counted in operations of the store: a clock would tell the machine's load.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use devvault::format::record::RecordKind;
use devvault::ops::verify::{Report, Verdict};
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::proof::memory::{Memory, Order, World};
use crate::support::{Forger, Home, copy_tree, flip};

/// Verifies the vault as it is, and returns how many operations of the store that took.
fn verify(home: &Home, selectors: &[&str]) -> (usize, Report) {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    let store = Memory::watched(World::load(&home.vault()), move |_, _, _| {
        counting.fetch_add(1, Ordering::Relaxed);
        Order::Do
    });
    let report = home.verify_from(&Access { store: Some(store), ..home.access() }, selectors).unwrap();
    (count.load(Ordering::Relaxed), report)
}

fn three_snapshots() -> Home {
    let home = Home::with_vault();
    for content in ["first", "second", "third"] {
        home.write_source(&[("changing", content)]);
        home.backup();
    }
    home
}

#[test]
fn many_hostile_records_cost_no_more_than_one_each() {
    let home = three_snapshots();
    let plant = |number: u64| {
        let place = |number: u64| home.vault().join(format!("snapshots/{number:08}"));
        copy_tree(&place(2), &place(number));
        flip(&place(number).join("manifest.hmac"), 5);
    };
    let (none, _) = verify(&home, &[]);
    plant(99_999_999);
    let (one, report) = verify(&home, &[]);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert!(one > none);
    (99_999_900..99_999_999).for_each(plant);
    let (hundred, report) = verify(&home, &[]);
    assert_eq!(report.findings.len(), 100);
    assert!(hundred - none <= 100 * (one - none), "{none}, {one}, {hundred}");
    assert_eq!(verify(&home, &["3"]).1.verdict, Verdict::Valid);
    assert_eq!(fs::read_dir(home.vault().join("snapshots")).unwrap().count(), 103, "all of it is still there");
}

#[test]
fn a_gap_of_a_hundred_million_is_one_finding_and_is_not_walked() {
    let home = three_snapshots();
    let (plain, _) = verify(&home, &[]);
    let forger = Forger::new(&home);
    let mut record = forger.record(3);
    record.number = 99_999_999;
    forger.put_bytes(99_999_999, RecordKind::Snapshot, &record.encode());
    let (gap, report) = verify(&home, &[]);
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::RecordMissing], "{:?}", report.findings);
    assert!(gap < 2 * plain, "{plain}, {gap}");
}
