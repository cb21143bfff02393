//! The audit: every operation is journaled here, and what it refuses or finds is kept as evidence.
//!
//! It stands around operations, not in them: what cannot be journaled becomes a note, and never turns a backup, a
//! verification or a restore into a failure.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::{Clock, Time};
use crate::crypto::Id;
use crate::error::{Error, Result, shown_path};
use crate::fsys;
use crate::host::Host;
use crate::incident::Item;
use crate::incident::evidence::{self, Case, Seen};
use crate::incident::journal::{Event, Journal, bounded};
use crate::incident::registry::{self, Matter};
use crate::limits;
use crate::refusal::{Kept, Refusal};
use crate::store::Store;
use crate::vault::chain::claimed_vault;
use crate::vault::gate::{self, Access};
use crate::vault::reads;
use crate::vault::{Finding, layout};

/// What a report tells the journal.
pub(crate) trait Told {
    /// Returns what the entry says, as a JSON object.
    fn told(&self) -> Value;

    /// Returns how it ended, where that is not decided by what was found.
    fn outcome(&self) -> Option<&'static str> {
        None
    }

    /// Returns what was found.
    fn findings(&self) -> &[Finding] {
        &[]
    }

    /// Takes what was kept about it.
    fn keep(&mut self, kept: Kept);
}

/// Where something happens: the vault and its place as far as they are known, and this host.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) host: Host,
    pub(super) now: Time,
    pub(super) vault: Option<Id>,
    pub(super) place: Option<String>,
    pub(super) store: Option<Arc<dyn Store>>,
    // Which copy of the vault lies there: see [`reads::copy_of`].
    copy: Option<String>,
    // What is told of an operation however it ends.
    about: Option<(&'static str, String)>,
}

impl Scene {
    /// Looks at what a vault claims to be; it need not open.
    pub(super) fn of(access: &Access) -> Self {
        let store = access.store.clone().or_else(|| gate::open_store(&access.vault).ok());
        let bytes = store.as_ref().and_then(|store| store.read(layout::CONFIG, limits::CONFIG_BYTES_MAX).ok());
        let place =
            store.as_ref().map_or_else(|| shown_path(&fsys::real_path(&access.vault)), |store| store.describe());
        Self {
            host: access.host.clone(),
            now: access.clock.now(),
            vault: bytes.and_then(|bytes| claimed_vault(&bytes)),
            place: Some(place),
            copy: store.as_ref().and_then(|store| reads::copy_of(&**store)),
            store,
            about: None,
        }
    }

    /// A scene without a vault.
    pub(super) fn of_host(host: &Host, clock: &dyn Clock) -> Self {
        Self { host: host.clone(), now: clock.now(), vault: None, place: None, store: None, copy: None, about: None }
    }

    /// Returns the vault's place, empty where none is meant.
    pub(super) fn place(&self) -> &str {
        self.place.as_deref().unwrap_or_default()
    }

    fn about_vault(&self) -> registry::Whereabouts<'_> {
        registry::Whereabouts { vault: self.vault, place: self.place(), copy: self.copy.as_deref() }
    }

    /// Returns what an operation was about that began here and ended there. Where another copy lies at the place by then, or
    /// none, nobody knows of which of them what came of it tells: it is about a copy that no other entry is about.
    fn until(self, end: Self) -> Self {
        if self.copy.is_none() || self.copy == end.copy {
            return end;
        }
        let copy =
            format!("{}; then {}", self.copy.as_deref().unwrap_or_default(), end.copy.as_deref().unwrap_or("none"));
        Self { vault: self.vault, copy: Some(copy), ..end }
    }

    fn event(&self, act: &'static str, mut data: Value) -> Event {
        if let (Some(copy), Some(data)) = (&self.copy, data.as_object_mut()) {
            data.insert("copy".into(), copy.clone().into());
        }
        if let (Some((name, text)), Some(data)) = (&self.about, data.as_object_mut()) {
            data.insert((*name).into(), bounded(text).into());
        }
        let mut event = Event::new(act, data);
        event.vault = self.vault;
        event.place = self.place.as_deref().map(bounded);
        event
    }
}

/// Runs an operation and journals how it ended, whatever that is.
pub(crate) fn watch<R: Told>(access: &Access, act: &'static str, run: impl FnOnce() -> Result<R>) -> Result<R> {
    watch_with(access, act, None, run)
}

/// Runs an operation as [`watch`] does, and tells something of it however it ends.
pub(super) fn watch_about<R: Told>(
    access: &Access,
    act: &'static str,
    about: (&'static str, String),
    run: impl FnOnce() -> Result<R>,
) -> Result<R> {
    watch_with(access, act, Some(about), run)
}

fn watch_with<R: Told>(
    access: &Access,
    act: &'static str,
    about: Option<(&'static str, String)>,
    run: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let begin = Scene::of(access);
    let outcome = run();
    settle(&Scene { about, ..begin.until(Scene::of(access)) }, act, outcome)
}

/// Runs an operation that only looks: it is journaled where it refuses or finds something.
pub(super) fn watch_reader<R: Told>(access: &Access, act: &'static str, run: impl FnOnce() -> Result<R>) -> Result<R> {
    let begin = Scene::of(access);
    match run() {
        Ok(report) if report.findings().is_empty() => Ok(report),
        outcome => settle(&begin.until(Scene::of(access)), act, outcome),
    }
}

/// Runs an operation that only looks and finds nothing, or refuses.
pub(super) fn watch_refusals<R>(access: &Access, act: &'static str, run: impl FnOnce() -> Result<R>) -> Result<R> {
    run().map_err(|error| refused(access, act, error))
}

/// Runs an operation on this host's own directories.
pub(crate) fn watch_host<R: Told>(
    host: &Host,
    clock: &dyn Clock,
    act: &'static str,
    run: impl FnOnce() -> Result<R>,
) -> Result<R> {
    settle(&Scene::of_host(host, clock), act, run())
}

/// Journals a refusal on this host that no operation journaled, where no vault is known and a journal exists: who
/// mistypes a first command has not begun anything yet.
pub(crate) fn refused_on(host: &Host, clock: &dyn Clock, act: &'static str, error: Error) -> Error {
    match error {
        Error::Refused(refusal) if !refusal.kept.journaled && Journal::of(host).path().exists() => {
            failed(&Scene::of_host(host, clock), act, Error::Refused(refusal))
        }
        other => other,
    }
}

/// Journals a refusal that no operation journaled.
pub(crate) fn refused(access: &Access, act: &'static str, error: Error) -> Error {
    match error {
        Error::Refused(refusal) if !refusal.kept.journaled => failed(&Scene::of(access), act, Error::Refused(refusal)),
        other => other,
    }
}

fn settle<R: Told>(scene: &Scene, act: &'static str, outcome: Result<R>) -> Result<R> {
    let mut report = outcome.map_err(|error| failed(scene, act, error))?;
    let mut data = report.told();
    let items: Vec<Item> = report.findings().iter().map(item).collect();
    let outcome = if items.is_empty() { "done" } else { "findings" };
    data["outcome"] = report.outcome().unwrap_or(outcome).into();
    let first = report.findings().first().cloned();
    let told =
        first.map(|first| (first.code, format!("{}: {}", first.subject, first.code.title()), vec![first.detail]));
    let kept =
        keep(scene, act, data, told.as_ref().map(|(code, text, causes)| (*code, &text[..], &causes[..])), &items);
    report.keep(kept);
    Ok(report)
}

fn failed(scene: &Scene, act: &'static str, error: Error) -> Error {
    match error {
        Error::Refused(mut refusal) => {
            if !refusal.kept.journaled {
                refusal.kept = keep_refusal(scene, act, &refusal);
            }
            Error::Refused(refusal)
        }
        other => {
            let outcome = if matches!(other, Error::Interrupted(_)) { "interrupted" } else { "failed" };
            let data = json!({"outcome": outcome, "message": bounded(&other.to_string())});
            // There is no report that could carry a note; the failure itself is what is told.
            let _ = Journal::of(&scene.host).append(scene.now, scene.event(act, data));
            other
        }
    }
}

fn keep_refusal(scene: &Scene, act: &'static str, refusal: &Refusal) -> Kept {
    let subject = refusal.subject.as_ref().unwrap_or(&refusal.message);
    let items = [Item::new(refusal.code, subject, &refusal.causes.join("; "), &[], &refusal.paths)];
    let data = json!({
        "outcome": "refused",
        "code": refusal.code.to_string(),
        "message": bounded(&refusal.message),
        "written": refusal.written.as_ref().map_or_else(|| "nothing".to_owned(), |written| bounded(&written.text)),
    });
    keep(scene, act, data, Some((refusal.code, &refusal.message, &refusal.causes)), &items)
}

/// Writes evidence where it is due, then the journal's entry, and opens or joins an incident.
fn keep(
    scene: &Scene,
    act: &'static str,
    mut data: Value,
    told: Option<(crate::refusal::Code, &str, &[String])>,
    items: &[Item],
) -> Kept {
    let due = items.iter().any(|item| registry::leaves_evidence(item.code));
    let seen = told.filter(|_| due).map(|told| look(scene, act, told, items));
    if due {
        data["items"] = registry::items_to_json(items).into();
        data["found"] = registry::found(items).into();
    }
    let (mut kept, mut recorded, mut matter) = (Kept { journaled: true, ..Kept::default() }, None, Matter::Nothing);
    let journaled = Id::random().map_err(|error| Error::environment("draw random bytes", error)).and_then(|random| {
        Journal::of(&scene.host).append_if(scene.now, due, |entries| {
            let mut events = Vec::new();
            if let Some(seen) = &seen {
                matter = registry::matter(&registry::replay(entries), &scene.about_vault(), items);
                // Whatever opens an incident has evidence of its own, which is there before the entry that names it.
                let written = recorded.insert(seen.record(&scene.host, matter == Matter::Opens));
                if let Ok(recorded) = written {
                    data["evidence"] = shown_path(&recorded.path).into();
                    data["evidence_digest"] = recorded.digest.to_string().into();
                }
                if matter == Matter::Opens {
                    let (id, opening) = registry::opening(scene.now, random, scene.vault, scene.place(), items);
                    matter = Matter::Joins(id);
                    events.push(opening);
                }
                if let Matter::Joins(id) = &matter {
                    data["incident"] = id.clone().into();
                }
            }
            events.push(scene.event(act, data));
            Ok(events)
        })
    });
    // Evidence does not wait for a journal that cannot be read or written.
    let anew = || registry::matter(&[], &scene.about_vault(), items) == Matter::Opens;
    match recorded.or_else(|| seen.map(|seen| seen.record(&scene.host, anew()))) {
        Some(Ok(recorded)) => {
            let known =
                |time| format!("exactly this was found before, on {time}: the evidence written then still holds");
            kept.evidence = Some(shown_path(&recorded.path));
            kept.notes.extend(recorded.known_since.map(known));
        }
        Some(Err(error)) => kept.notes.push(format!("no evidence was written: {error}")),
        None => {}
    }
    match (journaled, matter) {
        (Ok(_), Matter::Joins(id)) => kept.incident = Some(id),
        (Ok(_), Matter::Decided) => kept.notes.push(DECIDED.into()),
        (Ok(_), _) => {}
        (Err(error), _) => {
            let lost = if due { "; no incident was opened" } else { "" };
            kept.notes.push(format!("this was not journaled{lost}: {error}"));
        }
    }
    kept
}

/// Looks at what a refusal or a finding is about.
fn look(scene: &Scene, act: &str, told: (crate::refusal::Code, &str, &[String]), items: &[Item]) -> Seen {
    let (code, message, causes) = told;
    let case = Case {
        act,
        code,
        message,
        causes,
        items,
        vault: scene.vault,
        place: scene.place(),
        store: scene.store.as_deref(),
    };
    evidence::look(&scene.host, scene.now, &case)
}

const DECIDED: &str = "this was found before and a decision about it is recorded: it opens no new incident";

/// Returns a finding as journal and evidence name it.
pub(super) fn item(finding: &Finding) -> Item {
    Item::new(finding.code, &finding.subject, &finding.detail, &finding.snapshots, &finding.paths)
}
