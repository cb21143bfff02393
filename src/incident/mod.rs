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
use crate::refusal::Code;

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
}

impl Item {
    /// Returns the item with every text and list within its bound, for an entry of the journal.
    fn to_json(&self, paths_max: usize) -> Value {
        json!({
            "code": self.code.to_string(),
            "subject": bounded(&self.subject),
            "detail": bounded(&self.detail),
            "snapshots": self.snapshots.iter().take(limits::EVIDENCE_ITEMS_MAX).collect::<Vec<_>>(),
            "paths": self.paths.iter().take(paths_max).map(|path| bounded(path)).collect::<Vec<_>>(),
            "path_count": self.path_count,
        })
    }

    /// Returns whether nothing is affected by another finding about the same that is not by this one.
    fn covers(&self, other: &Self) -> bool {
        let is_whole = self.paths.len() as u64 == self.path_count;
        other.path_count <= self.path_count && (!is_whole || other.paths.iter().all(|path| self.paths.contains(path)))
    }

    /// Takes over what another finding about the same affects.
    fn grow(&mut self, other: Self) {
        let is_whole = self.paths.len() as u64 == self.path_count && other.paths.len() as u64 == other.path_count;
        let more: Vec<String> = other.paths.into_iter().filter(|path| !self.paths.contains(path)).collect();
        self.paths.extend(more);
        let counted = if is_whole { self.paths.len() as u64 } else { self.path_count.max(other.path_count) };
        self.path_count = counted;
        self.paths.truncate(limits::EVIDENCE_ITEMS_MAX);
        self.snapshots.extend(other.snapshots);
        self.snapshots.sort_unstable();
        self.snapshots.dedup();
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
        })
    }
}
