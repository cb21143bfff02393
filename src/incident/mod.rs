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
