//! `trace`: how its report reads.

use serde_json::{Value, json};

use super::{human, json, line};
use crate::clock::Time;
use crate::ops::trace;
use crate::path::shown;
use crate::vault::witness::Freshness;

pub(super) fn traced(report: &trace::Report) -> String {
    let mut out = String::new();
    for one in &report.holders {
        line!(
            out,
            "snapshot {} of {}: host {}, source {}, by {}",
            one.snapshot,
            one.time.rfc3339(),
            shown(one.host.as_bytes()),
            shown(&one.source),
            shown(one.program.as_bytes())
        );
        line!(out, "  {}", one.what);
    }
    if let Some(time) = report.read {
        line!(out, "last read completely, as manifests say: {}", time.rfc3339());
    }
    for done in &report.verified {
        line!(out, "verified by this host {}: {} (journal {})", done.time.rfc3339(), done.what, done.entry);
    }
    for done in &report.restored {
        line!(out, "restored by this host {} {} (journal {})", done.time.rfc3339(), done.what, done.entry);
    }
    for done in &report.failed {
        line!(out, "not verified by this host {}: {} (journal {})", done.time.rfc3339(), done.what, done.entry);
    }
    if report.verified.is_empty() && !report.holders.is_empty() {
        line!(out, "this host never verified it in this copy of the vault");
    }
    if report.restored.is_empty() && !report.holders.is_empty() {
        line!(out, "this host never restored it");
    }
    if matches!(report.freshness, Freshness::Behind { .. }) {
        line!(out, "freshness: {}", human::freshness(&report.freshness));
    }
    human::looked_through(&mut out, &report.findings);
    human::kept(&mut out, &report.kept);
    human::notes(&mut out, &report.notes);
    out
}

pub(super) fn trace_json(report: &trace::Report) -> Value {
    let done = |done: &trace::Done| json!({"entry": done.entry, "time": done.time.rfc3339(), "what": done.what});
    json!({
        "schema": "devvault.trace/1",
        "ok": report.findings.is_empty(),
        "vault": report.vault.to_string(),
        "snapshots": report.holders.iter().map(|one| json!({
            "snapshot": one.snapshot,
            "time": one.time.rfc3339(),
            "host": one.host,
            "source": shown(&one.source),
            "program": one.program,
            "what": one.what,
        })).collect::<Vec<_>>(),
        "read": report.read.map(Time::rfc3339),
        "verified": report.verified.iter().map(done).collect::<Vec<_>>(),
        "failed": report.failed.iter().map(done).collect::<Vec<_>>(),
        "restored": report.restored.iter().map(done).collect::<Vec<_>>(),
        "freshness": report.freshness.to_string(),
        "findings": json::findings(&report.findings),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
        "notes": report.notes,
    })
}
