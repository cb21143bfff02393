//! Reports as JSON documents that programs rely on. A field never changes its meaning within a schema's number.

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, shown_path};
use crate::format::attribute::Attribute;
use crate::format::entry::{Entry, FileContent, Kind};
use crate::format::json::TextOrBase64;
use crate::format::record::Counts;
use crate::ops::{backup, index, init, key, ls, receipt, restore, snapshots, status, verify};
use crate::path::{EntryPath, shown};
use crate::vault::Finding;

fn text(value: &Value) -> String {
    value.to_string()
}

/// A path as text; one that is no UTF-8 is escaped as for a person.
fn path(path: &EntryPath) -> String {
    bytes(path.as_bytes())
}

fn bytes(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| shown(bytes), str::to_owned)
}

fn paths(paths: &[EntryPath]) -> Vec<String> {
    paths.iter().map(path).collect()
}

/// Whole seconds: numbers are plain integers.
fn seconds(value: f64) -> u64 {
    value.round() as u64
}

/// Whole milliseconds, for who wants to know it exactly.
fn milliseconds(value: f64) -> u64 {
    (value * 1000.0).round() as u64
}

fn with_counts(mut document: Value, counts: &Counts) -> Value {
    if let Value::Object(fields) = &mut document {
        fields.insert("files".into(), counts.files.into());
        fields.insert("directories".into(), counts.directories.into());
        fields.insert("symlinks".into(), counts.symlinks.into());
        fields.insert("specials".into(), counts.specials.into());
        fields.insert("hardlinks".into(), counts.hardlinks.into());
        fields.insert("bytes".into(), counts.bytes.into());
    }
    document
}

fn findings(findings: &[Finding]) -> Vec<Value> {
    let one = |finding: &Finding| {
        json!({
            "code": finding.code.to_string(),
            "family": finding.code.family().name(),
            "severity": finding.code.family().severity(),
            "subject": finding.subject,
            "title": finding.code.title(),
            "detail": finding.detail,
            "snapshots": finding.snapshots,
            "paths": paths(&finding.paths),
            "next": finding.code.next(),
            "runbook": finding.code.runbook(),
        })
    };
    findings.iter().map(one).collect()
}

/// An error of any kind as a document.
pub(super) fn error(error: &Error) -> String {
    let written = error.what_was_written();
    let changed = written.is_some_and(|written| written.changed);
    let written = written.map(|written| written.text.clone());
    text(&match error {
        Error::Refused(refusal) => json!({
            "schema": "devvault.refusal/1",
            "ok": false,
            "code": refusal.code.to_string(),
            "family": refusal.code.family().name(),
            "severity": refusal.code.family().severity(),
            "exit": error.exit(),
            "changed": changed,
            "written": written,
            "message": refusal.message,
            "causes": refusal.causes,
            "paths": paths(&refusal.paths),
            "next": refusal.next,
            "evidence": Value::Null,
            "runbook": refusal.code.runbook(),
        }),
        Error::Environment { .. } | Error::Interrupted(_) => json!({
            "schema": "devvault.error/1",
            "ok": false,
            "exit": error.exit(),
            "changed": changed,
            "written": written,
            "message": error.to_string(),
        }),
    })
}

pub(super) fn init(report: &init::Report) -> String {
    text(&json!({
        "schema": "devvault.init/1",
        "ok": true,
        "vault": report.vault,
        "path": shown_path(&report.path),
        "key": shown_path(&report.key),
        "head": report.head,
        "encrypted": false,
    }))
}

pub(super) fn backup(report: &backup::Report, made: Option<&init::Report>) -> String {
    let document = json!({
        "schema": "devvault.backup/1",
        "ok": report.findings.is_empty(),
        "snapshot": report.snapshot,
        "vault": report.vault,
        "source": bytes(report.source.as_os_str().as_encoded_bytes()),
        "bytes_stored": report.bytes_stored,
        "files_unchanged": report.files_unchanged,
        "excluded": report.excluded,
        "left_out": paths(&report.left_out),
        "quiet": report.quiet,
        "older_packs": report.older_packs,
        "older_packs_read": report.oldest_read.map(|time| time.rfc3339()),
        "head": report.head,
        "seconds": seconds(report.seconds),
        "milliseconds": milliseconds(report.seconds),
        "findings": findings(&report.findings),
        "exit": report.exit(),
        "made": made.map(|made| json!({"vault": shown_path(&made.path), "key": shown_path(&made.key)})),
        "notes": report.notes,
    });
    text(&with_counts(document, &report.counts))
}

pub(super) fn snapshots(report: &snapshots::Report) -> String {
    let line = |line: &snapshots::Line| {
        let source = TextOrBase64::of(&line.source);
        let mut document = json!({
            "snapshot": line.number,
            "time": line.time.rfc3339(),
            "host": line.host,
            "source": bytes(&line.source),
            "tags": line.tags,
            "left_out": paths(&line.left_out),
        });
        if let (Value::Object(fields), Some(base64)) = (&mut document, source.base64) {
            fields.insert("source_b64".into(), base64.into());
        }
        with_counts(document, &line.counts)
    };
    text(&json!({
        "schema": "devvault.snapshots/1",
        "vault": report.vault,
        "head": report.head.to_string(),
        "freshness": report.freshness.to_string(),
        "snapshots": report.snapshots.iter().map(line).collect::<Vec<_>>(),
        "findings": findings(&report.findings),
        "notes": report.notes,
    }))
}

pub(super) fn verify(report: &verify::Report) -> String {
    let snapshot = |(number, verdict): &(u64, verify::Verdict)| {
        let left_out = report.left_out.get(number).map_or(&[][..], Vec::as_slice);
        json!({"snapshot": number, "verdict": verdict.name(), "left_out": paths(left_out)})
    };
    text(&json!({
        "schema": "devvault.verify/1",
        "vault": report.vault,
        "verdict": report.verdict.name(),
        "level": report.level.name(),
        "freshness": report.freshness.to_string(),
        "head": report.head.to_string(),
        "snapshots": report.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "findings": findings(&report.findings),
        "read": {
            "packs": report.read.packs,
            "bytes_stored": report.read.bytes_stored,
            "bytes": report.read.bytes,
            "chunks": report.read.chunks,
            "entries": report.read.entries,
        },
        "coverage": {
            "packs": report.coverage.packs,
            "bytes_stored": report.coverage.bytes,
            "packs_now": report.coverage.packs_now,
            "bytes_now": report.coverage.bytes_now,
            "days": crate::limits::PROOF_DAYS,
            "bytes_recently": report.coverage.bytes_recently,
            "oldest_read": report.coverage.oldest.map(|time| time.rfc3339()),
            "confidence_percent": 95,
            "bad_packs_at_most": report.coverage.bad_packs_at_most,
            "files": report.coverage.files,
            "files_whole": report.coverage.files_whole,
        },
        "not_checked": report.not_checked,
        "notes": report.notes,
        "exit": report.exit(),
    }))
}

fn shortfall(shortfall: &restore::Shortfall) -> Value {
    json!({"class": shortfall.class, "count": shortfall.count, "reason": shortfall.reason})
}

pub(super) fn restore(report: &restore::Report) -> String {
    let document = json!({
        "schema": "devvault.restore/1",
        "ok": true,
        "snapshot": report.snapshot,
        "vault": report.vault,
        "path": path(&report.path),
        "destination": shown_path(&report.destination),
        "freshness": report.freshness.to_string(),
        "verified": report.verified,
        "left_out": paths(&report.left_out),
        "compared_from": report.compared_from,
        "not_restored": report.not_restored.iter().map(shortfall).collect::<Vec<_>>(),
        "coarser": report.coarser.iter().map(shortfall).collect::<Vec<_>>(),
        "seconds": seconds(report.seconds),
        "milliseconds": milliseconds(report.seconds),
        "notes": report.notes,
    });
    text(&with_counts(document, &report.counts))
}

pub(super) fn status(report: &status::Report) -> String {
    let source = |line: &status::SourceLine| {
        json!({
            "host": line.host,
            "source": bytes(&line.source),
            "snapshots": line.snapshots,
            "newest": line.newest,
            "time": line.time.rfc3339(),
            "left_out": paths(&line.left_out),
        })
    };
    text(&json!({
        "schema": "devvault.status/1",
        "vault": report.vault,
        "path": report.place,
        "head": report.head.to_string(),
        "freshness": report.freshness.to_string(),
        "snapshots": report.snapshots,
        "sources": report.sources.iter().map(source).collect::<Vec<_>>(),
        "packs": report.packs,
        "bytes_stored": report.bytes_stored,
        "bytes_free": report.bytes_free,
        "key": shown_path(&report.key),
        "key_exported": report.key_exported.map(|time| time.rfc3339()),
        "shared_devices": report.shared_devices,
        "incomplete": report.incomplete,
        "foreign": report.foreign,
        "findings": findings(&report.findings),
        "notes": report.notes,
    }))
}

pub(super) fn receipt(report: &receipt::Report) -> String {
    text(&json!({
        "schema": "devvault.receipt-check/1",
        "ok": report.exit() == 0,
        "genuine": true,
        "receipt": report.receipt,
        "made": report.receipt.made.rfc3339(),
        "head_occurs": report.head_occurs,
        "head": report.head.to_string(),
        "added": report.added,
        "removed": report.removed,
        "freshness": report.freshness.to_string(),
        "findings": findings(&report.findings),
    }))
}

pub(super) fn index(report: &index::Report) -> String {
    text(&json!({
        "schema": "devvault.index/1",
        "ok": true,
        "vault": report.vault,
        "packs": report.rebuilt.packs,
        "chunks": report.rebuilt.chunks,
        "replaced": report.rebuilt.replaced,
        "old": report.old,
    }))
}

pub(super) fn key(act: &str, report: &key::Report) -> String {
    text(&json!({
        "schema": "devvault.key/1",
        "ok": true,
        "act": act,
        "vault": report.vault,
        "key_id": report.key_id,
        "path": shown_path(&report.path),
        "notes": report.notes,
    }))
}

pub(super) fn key_check(report: &key::CheckReport) -> String {
    text(&json!({
        "schema": "devvault.key/1",
        "ok": true,
        "act": "check",
        "vault": report.key.vault,
        "key_id": report.key.key_id,
        "path": shown_path(&report.key.path),
        "head": report.head.to_string(),
        "snapshot": report.snapshot,
        "freshness": report.freshness.to_string(),
        "notes": report.key.notes,
    }))
}

pub(super) fn runbook(code: Option<&str>, section: &str) -> String {
    text(&json!({"schema": "devvault.runbook/1", "ok": true, "code": code, "text": section}))
}

/// Begins the document of `ls`, which is written as it is read.
pub(super) const LS_BEGIN: &str = "{\"schema\":\"devvault.ls/1\",\"entries\":[";

#[derive(Default, Serialize)]
struct LsEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in_holes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hardlink: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hardlink_b64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<LsAttribute>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<LsAttribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
}

#[derive(Serialize)]
struct LsAttribute {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    bytes: u64,
}

fn ls_attribute(attribute: &Attribute) -> LsAttribute {
    let name = TextOrBase64::of(&attribute.name);
    LsAttribute { name: name.text, name_b64: name.base64, bytes: attribute.value.length() }
}

pub(super) fn ls_entry(entry: &Entry, first: bool) -> String {
    let text_or =
        |bytes: Option<&[u8]>| bytes.map(TextOrBase64::of).map_or((None, None), |bytes| (bytes.text, bytes.base64));
    let path = TextOrBase64::of(entry.path.as_bytes());
    let (target, target_b64) = text_or(entry.kind.target());
    let (hardlink, hardlink_b64) = text_or(entry.hardlink.as_ref().map(EntryPath::as_bytes));
    let owner = entry.owner.as_ref();
    let line = LsEntry {
        path: path.text,
        path_b64: path.base64,
        kind: entry.kind.name(),
        mode: entry.mode.map(|mode| format!("{mode:04o}")),
        time: entry.mtime.map(|time| time.rfc3339()),
        created: entry.created.map(|time| time.rfc3339()),
        uid: owner.map(|owner| owner.uid),
        gid: owner.map(|owner| owner.gid),
        user: owner.and_then(|owner| owner.user.clone()),
        group: owner.and_then(|owner| owner.group.clone()),
        bytes: entry.file().map(|file| file.size),
        bytes_in_holes: entry.file().map(FileContent::hole_bytes).filter(|&bytes| bytes > 0),
        device: match &entry.kind {
            Kind::Block(major, minor) | Kind::Character(major, minor) => Some((*major, *minor)),
            _ => None,
        },
        flags: entry.flags,
        attributes: entry.attributes,
        links: entry.links,
        hardlink,
        hardlink_b64,
        xattrs: entry.xattrs.iter().map(ls_attribute).collect(),
        streams: entry.streams.iter().map(ls_attribute).collect(),
        target,
        target_b64,
    };
    let line = serde_json::to_string(&line).unwrap_or_default();
    if first { line } else { format!(",{line}") }
}

pub(super) fn ls_end(report: &ls::Report) -> String {
    format!("],\"ok\":true,\"snapshot\":{},\"freshness\":\"{}\"}}\n", report.snapshot, report.freshness)
}

/// Ends the document of a listing that broke off: `ok` is false and the refusal stands in it.
pub(super) fn ls_broken(error: &Error) -> String {
    format!("],\"ok\":false,\"error\":{}}}\n", self::error(error))
}
