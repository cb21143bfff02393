//! After something went wrong: the journal of what this host did, evidence of what it saw, incidents, break-glass.
//!
//! Everything here lies in the state directory, outside every vault, and works when a vault does not open. The journal
//! is the one source: incidents and permits are what its entries say, so that none can be made, changed or dropped
//! without breaking its chain.

pub mod break_glass;
pub mod evidence;
pub mod journal;
pub mod registry;

use serde_json::{Value, json};

use crate::incident::journal::bounded;
use crate::limits;
use crate::path::EntryPath;
use crate::refusal::{Code, Family};

/// Returns whether a code speaks of the chain, of records and of keys, where the words tell what it is.
fn is_of_the_chain(code: Code) -> bool {
    code.family() == Family::CryptoBoundary
}

/// Returns the last of a list, within the bound of an entry.
fn newest(all: &[String]) -> &[String] {
    &all[all.len().saturating_sub(limits::EVIDENCE_ITEMS_MAX)..]
}

/// Adds what a list does not hold yet.
fn add_new<'a>(known: &mut Vec<String>, more: impl Iterator<Item = &'a str>) {
    for one in more {
        if known.iter().all(|known| known != one) {
            known.push(one.to_owned());
        }
    }
}

/// One thing that is wrong in a vault, as the journal and evidence name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What kind of wrong.
    pub code: Code,
    /// The file or object, as the vault names it.
    pub subject: String,
    /// What exactly was seen.
    pub detail: String,
    /// The snapshots that are affected.
    pub snapshots: Vec<u64>,
    /// The paths that are affected, escaped; at most [`limits::EVIDENCE_ITEMS_MAX`].
    pub paths: Vec<String>,
    /// How many paths are affected in all.
    pub path_count: u64,
    /// What tells it apart from everything else that can be wrong, all that is affected included: of each time that it was
    /// seen otherwise.
    pub identities: Vec<String>,
}

impl Item {
    /// Creates an item, every text within its bound. All paths are part of what it is, although not all are kept.
    pub fn new(code: Code, subject: &str, detail: &str, snapshots: &[u64], paths: &[EntryPath]) -> Self {
        let (subject, detail) = (bounded(subject), bounded(detail));
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        part(code.to_string().as_bytes());
        part(subject.as_bytes());
        // What is wrong with the chain as a whole has one subject, whatever it is. Elsewhere the words may change.
        part(if is_of_the_chain(code) { detail.as_bytes() } else { &[] });
        part(&(snapshots.len() as u64).to_le_bytes());
        snapshots.iter().for_each(|number| part(&number.to_le_bytes()));
        paths.iter().for_each(|path| part(path.as_bytes()));
        let identity = hasher.finalize().to_hex()[..16].to_owned();
        let shown = paths.iter().take(limits::EVIDENCE_ITEMS_MAX).map(|path| bounded(&path.to_string()));
        Self {
            code,
            subject,
            detail,
            snapshots: snapshots.to_vec(),
            paths: shown.collect(),
            path_count: paths.len() as u64,
            identities: vec![identity],
        }
    }

    /// Returns the item with every text and list within its bound, for an entry of the journal.
    fn to_json(&self, paths_max: usize) -> Value {
        json!({
            "code": self.code.to_string(),
            "subject": bounded(&self.subject),
            "detail": bounded(&self.detail),
            "snapshots": self.snapshots.iter().take(limits::EVIDENCE_ITEMS_MAX).collect::<Vec<_>>(),
            "paths": self.paths.iter().take(paths_max).map(|path| bounded(path)).collect::<Vec<_>>(),
            "path_count": self.path_count,
            "identities": newest(&self.identities),
        })
    }

    /// Returns whether every path that is affected is named.
    fn names_all_paths(&self) -> bool {
        self.paths.len() as u64 == self.path_count
    }

    /// Returns whether another one is the same, or affects nothing that this one does not, as far as that is known.
    fn covers(&self, other: &Self) -> bool {
        let is_whole = |item: &Self| item.names_all_paths() && item.snapshots.len() < limits::EVIDENCE_ITEMS_MAX;
        let same_words = !is_of_the_chain(self.code) || self.detail == other.detail;
        let within = is_whole(self)
            && is_whole(other)
            && other.paths.iter().all(|path| self.paths.contains(path))
            && other.snapshots.iter().all(|number| self.snapshots.contains(number));
        other.identities.iter().any(|identity| self.identities.contains(identity)) || same_words && within
    }

    /// Takes over what another finding about the same affects.
    fn grow(&mut self, other: Self) {
        let both = self.names_all_paths() && other.names_all_paths();
        add_new(&mut self.paths, other.paths.iter().map(String::as_str));
        let some = self.path_count.max(other.path_count).max(self.paths.len() as u64 + 1);
        self.path_count = if both { self.paths.len() as u64 } else { some };
        self.paths.truncate(limits::EVIDENCE_ITEMS_MAX);
        self.snapshots.extend(other.snapshots);
        self.snapshots.sort_unstable();
        self.snapshots.dedup();
        add_new(&mut self.identities, other.identities.iter().map(String::as_str));
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| value[name].as_array().into_iter().flatten();
        Some(Self {
            code: Code::parse(value["code"].as_str()?)?,
            subject: text("subject"),
            detail: text("detail"),
            snapshots: list("snapshots").filter_map(Value::as_u64).collect(),
            paths: list("paths").filter_map(|path| path.as_str().map(str::to_owned)).collect(),
            path_count: value["path_count"].as_u64().unwrap_or(0),
            identities: list("identities").filter_map(|identity| identity.as_str().map(str::to_owned)).collect(),
        })
    }
}
