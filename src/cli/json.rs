//! Reports as JSON documents that programs rely on. A field never changes its meaning within a schema's number.

use serde_json::{Map, Value, json};

use crate::error::{Error, shown_path};
use crate::format::attribute::Attribute;
use crate::format::entry::{Entry, FileContent, Kind};
use crate::format::json::TextOrBase64;
use crate::format::record::{Counts, Exclusion};
use crate::ops::change::{Aspect, State};
use crate::ops::snapshots::Says;
use crate::ops::{backup, diff, find, index, init, key, ls, receipt, restore, snapshots, status, verify};
use crate::path::{EntryPath, shown};
use crate::vault::Finding;

/// A path as text; one that is no UTF-8 is escaped as for a person.
fn path(path: &EntryPath) -> String {
    bytes(path.as_bytes())
}

fn bytes(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| shown(bytes), str::to_owned)
}

pub(super) fn paths(paths: &[EntryPath]) -> Vec<String> {
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

pub(super) fn findings(findings: &[Finding]) -> Vec<Value> {
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
pub(super) fn error(error: &Error) -> Value {
    let written = error.what_was_written();
    let changed = written.is_some_and(|written| written.changed);
    let written = written.map(|written| written.text.clone());
    match error {
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
            "options": refusal.options,
            "evidence": refusal.kept.evidence,
            "incident": refusal.kept.incident,
            "notes": refusal.kept.notes,
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
    }
}

/// A command line that cannot be understood, as a document.
pub(super) fn usage(message: &str, exit: i32) -> Value {
    json!({"schema": "devvault.usage/1", "ok": false, "exit": exit, "changed": false, "message": message})
}

pub(super) fn init(report: &init::Report) -> Value {
    json!({
        "schema": "devvault.init/1",
        "ok": true,
        "vault": report.vault,
        "path": shown_path(&report.path),
        "key": shown_path(&report.key),
        "head": report.head,
        "encrypted": false,
        "notes": report.notes,
    })
}

pub(super) fn backup(report: &backup::Report, made: Option<&init::Report>) -> Value {
    let document = json!({
        "schema": "devvault.backup/1",
        "ok": report.findings.is_empty(),
        "snapshot": report.snapshot,
        "vault": report.vault,
        "source": bytes(report.source.as_os_str().as_encoded_bytes()),
        "bytes_stored": report.bytes_stored,
        "files_unchanged": report.files_unchanged,
        "excluded": report.excluded(),
        "exclusions": exclusions(&report.exclusions),
        "left_out": paths(&report.left_out),
        "quiet": report.quiet,
        "older_packs": report.older_packs,
        "older_packs_read": report.oldest_read.map(|time| time.rfc3339()),
        "head": report.head,
        "seconds": seconds(report.seconds),
        "milliseconds": milliseconds(report.seconds),
        "findings": findings(&report.findings),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
        "made": made.map(|made| json!({"vault": shown_path(&made.path), "key": shown_path(&made.key)})),
        "notes": report.notes,
    });
    with_counts(document, &report.counts)
}

pub(super) fn snapshots(report: &snapshots::Report) -> Value {
    let line = |line: &snapshots::Line| {
        let source = TextOrBase64::of(&line.source);
        let mut document = json!({
            "snapshot": line.number,
            "time": line.time.rfc3339(),
            "host": line.host,
            "source": bytes(&line.source),
            "tags": line.tags,
            "excluded": backup::excluded(&line.exclusions),
            "exclusions": exclusions(&line.exclusions),
            "left_out": paths(&line.left_out),
        });
        if let (Value::Object(fields), Some(base64)) = (&mut document, source.base64) {
            fields.insert("source_b64".into(), base64.into());
        }
        with_counts(document, &line.counts)
    };
    let amendment = |amendment: &snapshots::Amendment| {
        let mut document = match &amendment.says {
            Says::Gone { removed, lost, rule } => json!({"removed": removed, "lost": lost, "rule": rule}),
            Says::Branch { continues, abandons } => {
                json!({"continues": continues.to_string(), "abandons": abandons.to_string()})
            }
        };
        if let Value::Object(fields) = &mut document {
            fields.insert("record".into(), amendment.number.into());
            fields.insert("time".into(), amendment.time.rfc3339().into());
            fields.insert("host".into(), amendment.host.as_str().into());
            fields.insert("reason".into(), amendment.reason.as_str().into());
        }
        document
    };
    json!({
        "schema": "devvault.snapshots/1",
        "ok": report.findings.is_empty(),
        "vault": report.vault,
        "head": report.head.to_string(),
        "freshness": report.freshness.to_string(),
        "snapshots": report.snapshots.iter().map(line).collect::<Vec<_>>(),
        "amendments": report.amendments.iter().map(amendment).collect::<Vec<_>>(),
        "findings": findings(&report.findings),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
        "notes": report.notes,
    })
}

/// `exit` is the process's: a receipt that could not be written counts too.
pub(super) fn verify(report: &verify::Report, exit: u8) -> Value {
    let snapshot = |(number, verdict): &(u64, verify::Verdict)| {
        let left_out = report.left_out.get(number).map_or(&[][..], Vec::as_slice);
        json!({"snapshot": number, "verdict": verdict.name(), "left_out": paths(left_out)})
    };
    json!({
        "schema": "devvault.verify/1",
        "ok": exit == 0,
        "vault": report.vault,
        "verdict": report.verdict.name(),
        "level": report.level.name(),
        "freshness": report.freshness.to_string(),
        "head": report.head.to_string(),
        "snapshots": report.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "findings": findings(&report.findings),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
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
    })
}

fn shortfall(shortfall: &restore::Shortfall) -> Value {
    json!({"class": shortfall.class, "count": shortfall.count, "reason": shortfall.reason})
}

pub(super) fn restore(report: &restore::Report) -> Value {
    let mut document = json!({
        "schema": "devvault.restore/1",
        "ok": true,
        "snapshot": report.snapshot,
        "host": report.source.host,
        "time": report.time.rfc3339(),
        "vault": report.vault,
        "path": path(&report.path),
        "destination": shown_path(&report.destination),
        "freshness": report.freshness.to_string(),
        "verified": report.verified,
        "partial": report.partial,
        "not_chosen": with_counts(json!({}), &report.not_chosen),
        "damage_elsewhere": report.damage_elsewhere,
        "left_out": paths(&report.left_out),
        "compared_from": report.compared_from,
        "not_restored": report.not_restored.iter().map(shortfall).collect::<Vec<_>>(),
        "coarser": report.coarser.iter().map(shortfall).collect::<Vec<_>>(),
        "seconds": seconds(report.seconds),
        "milliseconds": milliseconds(report.seconds),
        "notes": report.notes,
    });
    if let Value::Object(fields) = &mut document {
        put_bytes(fields, "source", &report.source.path);
    }
    with_counts(document, &report.counts)
}

/// `exit` is the process's: what a person has to see to counts with `--check` alone, and metrics may not have been written.
pub(super) fn status(report: &status::Report, exit: u8) -> Value {
    let drilled = |drilled: &status::Drilled| {
        json!({
            "time": drilled.time.rfc3339(),
            "snapshot": drilled.snapshot,
            "scenario": drilled.scenario,
            "extent": drilled.extent,
            "recovery_milliseconds": drilled.recovery_milliseconds,
            "recovery_milliseconds_high": drilled.recovery_milliseconds_high,
            "objective": drilled.objective,
        })
    };
    let source = |line: &status::SourceLine| {
        json!({
            "host": line.host,
            "host_id": line.host_id.to_string(),
            "source": bytes(&line.source),
            "snapshots": line.snapshots,
            "newest": line.newest,
            "time": line.time.rfc3339(),
            "left_out": paths(&line.left_out),
            "drill": line.drilled.as_ref().map(drilled),
            "drill_sample": line.sampled.as_ref().map(drilled),
            "drill_failed": line.drill_failed.map(|failed| failed.time.rfc3339()),
        })
    };
    json!({
        "schema": "devvault.status/1",
        "ok": exit == 0,
        "vault": report.vault,
        "path": report.place,
        "head": report.head.to_string(),
        "freshness": report.freshness.to_string(),
        "snapshots": report.snapshots,
        "sources": report.sources.iter().map(source).collect::<Vec<_>>(),
        "packs": report.packs,
        "bytes_stored": report.bytes_stored,
        "bytes_free": report.bytes_free,
        "verified": report.verified.as_ref().map(|verified| json!({
            "time": verified.time.rfc3339(),
            "level": verified.level,
            "verdict": verified.verdict,
            "packs_read": verified.packs_read,
            "packs": verified.packs,
        })),
        "proven": report.proven.map(|time| time.rfc3339()),
        "coverage": {
            "days": crate::limits::PROOF_DAYS,
            "bytes_recently": report.coverage.bytes_recently,
            "oldest_read": report.coverage.oldest.map(|time| time.rfc3339()),
        },
        "key": shown_path(&report.key),
        "key_exported": report.key_exported.map(|time| time.rfc3339()),
        "shared_devices": report.shared_devices,
        "incomplete": report.orphans.incomplete.iter().map(|one| &one.name).collect::<Vec<_>>(),
        "foreign": report.orphans.foreign.iter().map(|stray| &stray.name).collect::<Vec<_>>(),
        "orphans": super::orphans::orphans_json(&report.orphans, report.now),
        "attention": report.attention.iter().map(|one| json!({"kind": one.kind, "text": one.text})).collect::<Vec<_>>(),
        "findings": findings(&report.findings),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
        "notes": report.notes,
    })
}

pub(super) fn receipt(report: &receipt::Report) -> Value {
    let since = report.since.as_ref().ok();
    json!({
        "schema": "devvault.receipt-check/1",
        "ok": report.exit() == 0,
        "genuine": true,
        "receipt": report.receipt,
        "made": report.receipt.made.rfc3339(),
        "since_known": report.since.is_ok(),
        "since_unknown": report.since.as_ref().err().map(|unknown| &unknown.why),
        "head_occurs": since.map(|since| since.head_occurs),
        "left_by": since.and_then(|since| since.left_by),
        "head": since.map(|since| since.head.to_string()),
        "added": since.map(|since| &since.added),
        "removed": since.map(|since| &since.removed),
        "freshness": since.map(|since| since.freshness.to_string()),
        "findings": findings(report.findings()),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
        "notes": report.notes,
    })
}

pub(super) fn index(report: &index::Report) -> Value {
    json!({
        "schema": "devvault.index/1",
        "ok": true,
        "vault": report.vault,
        "packs": report.rebuilt.packs,
        "chunks": report.rebuilt.chunks,
        "replaced": report.rebuilt.replaced,
        "old": report.old,
        "notes": report.notes,
    })
}

pub(super) fn key(act: &str, report: &key::Report) -> Value {
    json!({
        "schema": "devvault.key/1",
        "ok": true,
        "act": act,
        "vault": report.vault,
        "key_id": report.key_id,
        "path": shown_path(&report.path),
        "notes": report.notes,
    })
}

pub(super) fn key_check(report: &key::CheckReport) -> Value {
    json!({
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
    })
}

pub(super) fn runbook(code: Option<&str>, section: &str) -> Value {
    json!({"schema": "devvault.runbook/1", "ok": true, "code": code, "text": section})
}

/// What two fields tell of bytes: text where they are UTF-8, else base64.
fn put_bytes(fields: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    let form = TextOrBase64::of(bytes);
    match form.text {
        Some(text) => fields.insert(name.to_owned(), text.into()),
        None => fields.insert(format!("{name}_b64"), form.base64.into()),
    };
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// One state of a path: `kind`, and what is known of it.
fn state(state: &State) -> Map<String, Value> {
    let mut fields = object(json!({"kind": state.kind}));
    let known = [
        ("mode", state.mode.map(|mode| Value::from(format!("{mode:04o}")))),
        ("time", state.mtime.map(|time| time.rfc3339_exact().into())),
        ("bytes", state.bytes.map(Value::from)),
        ("uid", state.owner.map(|(uid, _)| uid.into())),
        ("gid", state.owner.map(|(_, gid)| gid.into())),
    ];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if let Some(target) = &state.target {
        put_bytes(&mut fields, "target", target);
    }
    fields
}

fn aspects(aspects: &[Aspect]) -> Vec<&'static str> {
    aspects.iter().map(|aspect| aspect.name()).collect()
}

/// An entry of `ls`.
pub(super) fn entry(entry: &Entry) -> Value {
    let mut fields = state(&State::of(entry));
    put_bytes(&mut fields, "path", entry.path.as_bytes());
    let owner = entry.owner.as_ref();
    let device = match &entry.kind {
        Kind::Block(major, minor) | Kind::Character(major, minor) => Some(json!([major, minor])),
        _ => None,
    };
    let in_holes = entry.file().map(FileContent::hole_bytes).filter(|&bytes| bytes > 0);
    let known = [
        ("created", entry.created.map(|time| time.rfc3339().into())),
        ("uid", owner.map(|owner| owner.uid.into())),
        ("gid", owner.map(|owner| owner.gid.into())),
        ("user", owner.and_then(|owner| owner.user.clone()).map(Value::from)),
        ("group", owner.and_then(|owner| owner.group.clone()).map(Value::from)),
        ("bytes_in_holes", in_holes.map(Value::from)),
        ("device", device),
        ("flags", entry.flags.map(Value::from)),
        ("attributes", entry.attributes.map(Value::from)),
        ("links", entry.links.map(Value::from)),
        ("xattrs", attributes(&entry.xattrs)),
        ("streams", attributes(&entry.streams)),
    ];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if let Some(first) = &entry.hardlink {
        put_bytes(&mut fields, "hardlink", first.as_bytes());
    }
    fields.into()
}

/// Names and lengths of attributes or streams; nothing where there are none.
fn attributes(attributes: &[Attribute]) -> Option<Value> {
    let one = |attribute: &Attribute| {
        let mut fields = object(json!({"bytes": attribute.value.length()}));
        put_bytes(&mut fields, "name", &attribute.name);
        Value::from(fields)
    };
    (!attributes.is_empty()).then(|| attributes.iter().map(one).collect())
}

pub(super) fn ls_end(report: &ls::Report) -> Value {
    json!({"snapshot": report.snapshot, "freshness": report.freshness.to_string()})
}

/// A version of `find`.
pub(super) fn version(version: &find::Version<'_>) -> Value {
    let mut fields = state(&State::of(version.entry));
    put_bytes(&mut fields, "path", version.entry.path.as_bytes());
    put_bytes(&mut fields, "source", &version.source.path);
    fields.insert("host".into(), version.source.host.clone().into());
    fields.insert("snapshots".into(), version.snapshots.into());
    fields.insert("differs".into(), aspects(version.differs).into());
    fields.into()
}

pub(super) fn find_end(report: &find::Report) -> Value {
    json!({
        "snapshots": report.snapshots,
        "versions": report.versions,
        "paths": report.paths,
        "freshness": report.freshness.as_ref().map(ToString::to_string),
        "findings": findings(&report.findings),
        "evidence": report.kept.evidence,
        "incident": report.kept.incident,
        "notes": report.notes,
    })
}

/// A difference of `diff`.
pub(super) fn difference(difference: &diff::Difference) -> Value {
    let mut fields = object(json!({"change": difference.change.name(), "differs": aspects(&difference.aspects)}));
    put_bytes(&mut fields, "path", difference.path.as_bytes());
    for (name, known) in [("before", &difference.before), ("after", &difference.after)] {
        if let Some(known) = known {
            fields.insert(name.to_owned(), state(known).into());
        }
    }
    if let Some(detail) = &difference.detail {
        fields.insert("detail".into(), detail.clone().into());
    }
    fields.into()
}

pub(super) fn diff_end(report: &diff::Report) -> Value {
    let mut fields = object(json!({
        "snapshot": report.snapshot,
        "host": report.source.host,
        "added": report.tally.added,
        "removed": report.tally.removed,
        "changed": report.tally.changed,
        "corrupt": report.tally.corrupt,
        "same": report.tally.same,
        "left_out": report.tally.left_out,
        "content_compared": report.content_compared,
        "not_compared": report.not_compared.iter().map(|aspect| aspect.name()).collect::<Vec<_>>(),
        "bytes_read": report.bytes_read,
        "freshness": report.freshness.to_string(),
        "notes": report.notes,
    }));
    put_bytes(&mut fields, "source", &report.source.path);
    let mut against = Map::new();
    match &report.against {
        diff::Against::Snapshot(number, source) => {
            against.insert("snapshot".into(), (*number).into());
            against.insert("host".into(), source.host.clone().into());
            put_bytes(&mut against, "source", &source.path);
        }
        diff::Against::Directory(real) => put_bytes(&mut against, "directory", real.as_os_str().as_encoded_bytes()),
    }
    fields.insert("against".into(), against.into());
    fields.into()
}

/// Where a rule stands, and what it reads.
fn rule(fields: &mut Map<String, Value>, by: &str, from: Option<&[u8]>, line: Option<u64>, rule: &str) {
    fields.insert("by".into(), by.into());
    fields.insert("rule".into(), rule.into());
    if let Some(from) = from {
        put_bytes(fields, "from", from);
    }
    if let Some(line) = line {
        fields.insert("line".into(), line.into());
    }
}

fn exclusions(exclusions: &[Exclusion]) -> Vec<Value> {
    let one = |one: &Exclusion| {
        let mut fields = object(json!({"objects": one.objects}));
        rule(&mut fields, one.by.name(), one.from.as_deref(), one.line, &one.rule);
        fields.into()
    };
    exclusions.iter().map(one).collect()
}

/// An object of `backup --dry-run`.
pub(super) fn planned(planned: &backup::Planned) -> Value {
    let mut fields = Map::new();
    match planned {
        backup::Planned::Taken { path, kind, bytes } => {
            fields.insert("take".into(), true.into());
            fields.insert("kind".into(), kind.name().into());
            put_bytes(&mut fields, "path", path.as_bytes());
            if let Some(bytes) = bytes {
                fields.insert("bytes".into(), (*bytes).into());
            }
        }
        backup::Planned::Left(left) => {
            fields.insert("take".into(), false.into());
            fields.insert("kind".into(), left.kind.name().into());
            fields.insert("content_only".into(), left.content_only.into());
            fields.insert("objects".into(), left.objects.into());
            put_bytes(&mut fields, "path", left.path.as_bytes());
            let why = &left.why;
            rule(&mut fields, why.by.name(), why.from.as_deref(), why.line, &why.rule);
        }
    }
    fields.into()
}

pub(super) fn plan_end(report: &backup::Plan) -> Value {
    let mut fields = object(with_counts(json!({}), &report.counts));
    put_bytes(&mut fields, "source", report.source.as_os_str().as_encoded_bytes());
    fields.insert("excluded".into(), report.excluded().into());
    fields.insert("exclusions".into(), exclusions(&report.exclusions).into());
    fields.into()
}
