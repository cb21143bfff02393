//! `salvage`: how its report reads.

use serde_json::{Value, json};

use super::{human, line};
use crate::error::shown_path;
use crate::ops::salvage;

pub(super) fn salvaged(report: &salvage::Report) -> String {
    let mut out = String::new();
    let standing = &report.standing;
    line!(out, "salvaged from snapshot {} into {}", report.snapshot, shown_path(&report.destination));
    if report.authenticated {
        line!(out, "  verified against the authenticated manifest: {} path(s), below verified/", standing.verified);
    } else {
        line!(
            out,
            "  UNAUTHENTICATED, nobody proves who wrote it: {} path(s), below unauthenticated/",
            standing.unauthenticated
        );
    }
    if standing.damaged > 0 {
        line!(
            out,
            "  damaged: {} path(s); what could be read of them, if anything, lies below damaged/",
            standing.damaged
        );
    }
    if standing.missing > 0 {
        line!(out, "  missing: {} path(s)", standing.missing);
    }
    if standing.not_written > 0 {
        line!(out, "  not written, the target does not take them: {} path(s)", standing.not_written);
    }
    if standing.differing > 0 {
        line!(
            out,
            "  complete, but kept otherwise by the target (owner, mode, times, …): {} path(s)",
            standing.differing
        );
    }
    line!(out, "  every path and its standing: {}", shown_path(&report.list));
    human::notes(&mut out, &report.notes);
    if let Some(permit) = &report.permit {
        line!(out, "next: devvault verify, then devvault break-glass close {permit} --outcome WHAT");
    }
    out
}

pub(super) fn salvage_json(report: &salvage::Report) -> Value {
    let mut document = report.standing.to_json();
    let fields = json!({
        "schema": "devvault.salvage/1",
        "ok": report.exit() == 0,
        "snapshot": report.snapshot,
        "vault": report.vault.to_string(),
        "path": report.path.to_string(),
        "destination": shown_path(&report.destination),
        "list": shown_path(&report.list),
        "authenticated": report.authenticated,
        "permit": report.permit,
        "notes": report.notes,
    });
    if let Value::Object(fields) = fields {
        document.extend(fields);
    }
    Value::Object(document)
}
