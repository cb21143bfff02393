//! Going on after loss: how the reports of `branch` and `declare-lost` read.

use serde_json::{Value, json};

use super::{human, line};
use crate::ops::{branch, lost};

pub(super) fn branch_begun(report: &branch::Report) -> String {
    let mut out = String::new();
    line!(out, "a branch was begun: this copy of the vault goes on");
    line!(out, "  it continues {}", report.continues);
    line!(out, "  it leaves behind {}", report.abandons);
    human::notes(&mut out, &report.notes);
    line!(out, "head: {}", report.head);
    line!(out, "next: devvault verify, then devvault break-glass close {} --outcome WHAT", report.permit);
    out
}

pub(super) fn branch_json(report: &branch::Report) -> Value {
    json!({
        "schema": "devvault.branch/1",
        "ok": true,
        "vault": report.vault.to_string(),
        "branch": report.branch.to_string(),
        "continues": report.continues.to_string(),
        "abandons": report.abandons.to_string(),
        "head": report.head.to_string(),
        "permit": report.permit,
        "notes": report.notes,
    })
}

pub(super) fn lost_declared(report: &lost::Report) -> String {
    let mut out = String::new();
    let numbers: Vec<String> = report.lost.iter().map(u64::to_string).collect();
    line!(out, "declared lost: record(s) {}", numbers.join(", "));
    human::notes(&mut out, &report.notes);
    line!(out, "head: {}", report.head);
    line!(out, "next: devvault verify");
    for permit in &report.permits {
        line!(out, "then: devvault break-glass close {permit} --outcome WHAT");
    }
    out
}

pub(super) fn lost_json(report: &lost::Report) -> Value {
    json!({
        "schema": "devvault.declare-lost/1",
        "ok": true,
        "vault": report.vault.to_string(),
        "lost": report.lost,
        "head": report.head.to_string(),
        "permits": report.permits,
        "notes": report.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Digest, Id};
    use crate::format::record::Head;

    #[test]
    fn each_permit_has_a_line_of_its_own_that_closes_it() {
        let report = lost::Report {
            vault: Id([1; 16]),
            lost: vec![2, 3],
            head: Head { number: 4, digest: Digest([2; 32]) },
            permits: vec!["BG-1".into(), "BG-2".into()],
            notes: Vec::new(),
        };
        let text = lost_declared(&report);
        for permit in &report.permits {
            assert!(text.contains(&format!("\nthen: devvault break-glass close {permit} --outcome WHAT\n")), "{text}");
        }
    }
}
