//! Evidence: what a refusal saw, written down at the moment it was seen.
//!
//! Invariants: a file of evidence is written once and never changed; it holds codes, names, times, lengths and digests,
//! never a secret and never content of files; writing it reads the vault and changes nothing there.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Item;
use super::journal::bounded;
use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, shown_path};
use crate::format::PROGRAM;
use crate::fsys::{self, Dir, replace};
use crate::host::Host;
use crate::limits;
use crate::path::{printable_json, shown};
use crate::refusal::{Code, Refusal};
use crate::store::{NameKind, Store};

/// What is to be kept.
pub struct Case<'a> {
    /// What was being done.
    pub act: &'a str,
    /// The gravest code.
    pub code: Code,
    /// What was said.
    pub message: &'a str,
    /// Why, as it was said.
    pub causes: &'a [String],
    /// Everything that was found.
    pub items: &'a [Item],
    /// The vault, as far as it was known.
    pub vault: Option<Id>,
    /// Where it lies.
    pub place: &'a str,
    /// The vault's files, where they can be reached.
    pub store: Option<&'a dyn Store>,
}

/// Longest file of which evidence takes a digest, in bytes: a pack of the usual size and some more.
pub const DIGESTED_BYTES_MAX: u64 = 256 << 20;
/// How many files of the vault one file of evidence describes.
const FILES_MAX: usize = 16;

/// A file of evidence.
pub struct Recorded {
    /// Where it is.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// When exactly the same was seen and written down before: then nothing was written now.
    pub known_since: Option<String>,
}

/// What was seen of a case, before it is written down.
pub struct Seen {
    code: Code,
    time: Time,
    document: Value,
}

/// Looks at what a case is about. It may read gigabytes of the vault, so that no lock should be held.
pub fn look(host: &Host, now: Time, case: &Case<'_>) -> Seen {
    Seen { code: case.code, time: now, document: document(host, now, case) }
}

impl Seen {
    /// Writes a file of evidence; where exactly the same case has one already and `anew` is not demanded, names that one.
    /// A vault that is looked at every hour does not bury what was seen first.
    ///
    /// # Errors
    /// DV410 where the state directory cannot be written.
    pub fn record(&self, host: &Host, anew: bool) -> Result<Recorded> {
        let directory = host.evidence_directory();
        let identity = identity(&self.document).to_string()[..16].to_owned();
        if !anew && let Some(known) = known(&directory, &identity) {
            return Ok(known);
        }
        host.make_directory(&directory)?;
        let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
        let time: String = self.time.rfc3339().chars().filter(char::is_ascii_alphanumeric).collect();
        let path = directory.join(format!("{time}-{}-{identity}-{}.json", self.code, &id.to_string()[..8]));
        let text = printable_json(&serde_json::to_string_pretty(&self.document).unwrap_or_default()) + "\n";
        let written = fsys::write_private(&path, text.as_bytes()).and_then(|()| fsys::sync_directory(&directory));
        written.map_err(|error| {
            Refusal::new(Code::StateUnwritable, format!("{} cannot be written", shown_path(&path))).cause(error)
        })?;
        Ok(Recorded { path, digest: Digest::of(text.as_bytes()), known_since: None })
    }
}

/// Returns what makes a case the same as another: all that was seen, but not when, by which command, or how full the
/// medium was.
fn identity(document: &Value) -> Digest {
    let mut seen = document.clone();
    if let Some(fields) = seen.as_object_mut() {
        fields.remove("time");
        fields.remove("act");
        if let Some(medium) = fields.get_mut("medium").and_then(Value::as_object_mut) {
            medium.remove("bytes_free");
        }
    }
    Digest::of(seen.to_string().as_bytes())
}

/// Returns the newest file that holds the same case and is whole.
fn known(directory: &Path, wanted: &str) -> Option<Recorded> {
    let names = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.file_name());
    let named = |name: &String| name.split('-').nth(2) == Some(wanted);
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).filter(named).collect();
    names.sort_unstable();
    names.into_iter().rev().find_map(|name| {
        let path = directory.join(name);
        let bytes = replace::read(&path, limits::EVIDENCE_BYTES_MAX).ok()?;
        let document: Value = serde_json::from_slice(&bytes).ok()?;
        let time = document["time"].as_str()?.to_owned();
        // Who changed the file has not kept what it names itself after.
        let whole = identity(&document).to_string().starts_with(wanted);
        whole.then(|| Recorded { path, digest: Digest::of(&bytes), known_since: Some(time) })
    })
}

fn document(host: &Host, now: Time, case: &Case<'_>) -> Value {
    let known = host.known_identity().ok().flatten();
    let details = case.items.iter().map(|item| &item.detail);
    let errno: Vec<i64> = case.causes.iter().chain(details).filter_map(|text| errno(text)).collect();
    json!({
        "schema": "devvault.evidence/1",
        "time": now.rfc3339(),
        "code": case.code.to_string(),
        "family": case.code.family().name(),
        "severity": case.code.family().severity(),
        "act": case.act,
        "message": bounded(case.message),
        "causes": case.causes.iter().take(limits::EVIDENCE_ITEMS_MAX).map(|cause| bounded(cause)).collect::<Vec<_>>(),
        "errno": errno,
        "program": PROGRAM,
        "platform": {"system": std::env::consts::OS, "machine": std::env::consts::ARCH},
        "host": known.map(|host| json!({"id": host.id.to_string(), "name": host.name})),
        "vault": case.vault.map(|vault| vault.to_string()),
        "place": case.place,
        "medium": case.store.and_then(Store::local_path).map(medium),
        "finding_count": case.items.len(),
        "findings": case.items.iter().take(limits::EVIDENCE_ITEMS_MAX)
            .map(|item| item.to_json(limits::EVIDENCE_ITEMS_MAX)).collect::<Vec<_>>(),
        "files": case.store.map(|store| files(store, case.items)),
    })
}

/// Returns the number in what the system says of an error: `… (os error 5)`.
fn errno(text: &str) -> Option<i64> {
    let (_, rest) = text.rsplit_once("(os error ")?;
    rest.split(')').next()?.parse().ok()
}

/// Describes the files that the findings are about: length, time, digest expected and found.
fn files(store: &dyn Store, items: &[Item]) -> Vec<Value> {
    let mut names: Vec<String> = vec!["vault.json".into(), "vault.hmac".into()];
    for item in items {
        let subject = item.subject.as_str();
        if subject.starts_with("snapshots/") {
            let listed = store.list(subject).unwrap_or_default();
            let files = listed.into_iter().filter(|listed| listed.kind == NameKind::File);
            names.extend(files.map(|listed| format!("{subject}/{}", listed.name)));
        } else if subject.starts_with("packs/") {
            names.push(subject.to_owned());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.into_iter().take(FILES_MAX).map(|name| describe(store, &name)).collect()
}

/// Describes one file of a vault, as it reads now. A pack's name is the digest that its bytes should have.
pub fn describe(store: &dyn Store, name: &str) -> Value {
    let expected = name.strip_prefix("packs/").and_then(|rest| rest.get(3..67)).filter(|_| name.ends_with(".pack"));
    let mut about = json!({"name": shown(name.as_bytes())});
    if let Some(expected) = expected {
        about["expected_digest"] = expected.into();
    }
    if let Some(root) = store.local_path()
        && let Ok(metadata) = std::fs::symlink_metadata(root.join(name))
        && let Ok(modified) = metadata.modified()
    {
        about["modified"] = Time::from_system(modified).rfc3339().into();
    }
    match digest(store, name) {
        Ok((length, found)) => {
            about["length"] = length.into();
            about["found_digest"] = found.map(|digest| digest.to_string()).into();
        }
        Err(error) => about["error"] = error.to_string().into(),
    }
    about
}

/// Returns a file's length and the BLAKE3 of its bytes; no digest where it is too long for evidence.
fn digest(store: &dyn Store, name: &str) -> std::io::Result<(u64, Option<Digest>)> {
    let file = store.open(name)?;
    let length = file.length();
    if length > DIGESTED_BYTES_MAX {
        return Ok((length, None));
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < length {
        let part = &mut buffer[..usize::try_from((length - offset).min(1 << 20)).unwrap_or(1 << 20)];
        file.read_at(part, offset)?;
        hasher.write_all(part)?;
        offset += part.len() as u64;
    }
    Ok((length, Some(Digest(*hasher.finalize().as_bytes()))))
}

/// Describes the device and file system that a directory lies on, as far as the system tells.
pub fn medium(path: &Path) -> Value {
    let device = Dir::open(path).and_then(|dir| dir.stat()).map(|stat| stat.id.device);
    let mut about = json!({"device": device.as_ref().ok()});
    if let Ok(device) = device
        && let Some(told) = fsys::mounted(device)
    {
        for (name, told) in ["file_system", "source", "options"].into_iter().zip(told) {
            about[name] = bounded(&shown(told.as_bytes())).into();
        }
    }
    about["bytes_free"] = fs2::available_space(path).ok().into();
    about
}

/// Names the device and file system that a directory lies on, as far as the system tells.
pub fn medium_in_words(path: &Path) -> String {
    let about = medium(path);
    let text = |name: &str| about[name].as_str().unwrap_or("unknown").to_owned();
    match about["device"].as_u64() {
        Some(device) => {
            format!("device {} ({}), file system {}", text("source"), fsys::device_name(device), text("file_system"))
        }
        None => "a device that the system does not name".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_number_of_an_error_is_found_in_words() {
        let error = std::io::Error::from_raw_os_error(5);
        assert_eq!(errno(&format!("manifest.json: {error}")), Some(5));
        assert_eq!(errno("no number"), None);
    }
}
