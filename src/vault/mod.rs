//! Vaults: finding the key, the chain and its witness, reading, writing.
//!
//! Reading trusts nothing but what authenticates; writing has one commit point, in `commit`; removing has one door,
//! [`sweep`].

pub mod amend;
pub mod catalog;
pub mod chain;
pub mod check;
mod commit;
pub mod content;
pub mod gate;
pub mod index;
pub mod key;
pub mod layout;
pub mod listing;
pub mod named;
mod places;
pub mod read;
pub mod reads;
pub mod reliance;
pub mod sealed;
pub mod sweep;
pub mod witness;
pub mod write;

use std::io;

use crate::error::{Error, lacks_room};
use crate::fsys;
use crate::path::EntryPath;
use crate::refusal::{Code, Refusal};
use crate::store::Store;

/// Something wrong in a vault. Collecting findings goes on where refusing would stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of wrong.
    pub code: Code,
    /// The file or object that is affected, as the vault names it.
    pub subject: String,
    /// What exactly was seen.
    pub detail: String,
    /// The snapshots that are affected, ascending; none where the finding is about the vault.
    pub snapshots: Vec<u64>,
    /// The entries that are affected, in path order and complete.
    pub paths: Vec<EntryPath>,
}

impl Finding {
    /// Creates a finding that affects no snapshot as far as is known yet.
    pub fn new(code: Code, subject: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self { code, subject: subject.into(), detail: detail.to_string(), snapshots: Vec::new(), paths: Vec::new() }
    }

    /// Names one affected snapshot.
    #[must_use]
    pub fn snapshot(mut self, number: u64) -> Self {
        self.snapshots.push(number);
        self
    }
}

impl From<Finding> for Refusal {
    fn from(finding: Finding) -> Self {
        let refusal = Self::new(finding.code, format!("{}: {}", finding.subject, finding.code.title()))
            .cause(finding.detail)
            .paths(finding.paths);
        Self { subject: Some(finding.subject), ..refusal }
    }
}

impl From<Finding> for Error {
    fn from(finding: Finding) -> Self {
        Refusal::from(finding).into()
    }
}

/// Returns what an error of reading means: of the medium, unless it speaks of who reads.
fn unreadable_code(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Code::VaultForbidden,
        _ if fsys::lacks_means(error) => Code::VaultForbidden,
        _ => Code::VaultUnreadable,
    }
}

/// Turns an error of reading a file of a vault into the finding that it means.
pub fn unreadable(name: &str, error: &io::Error) -> Finding {
    let code = unreadable_code(error);
    Finding::new(code, name, error)
}

/// Turns an error of reading inside a vault into the refusal that it means.
pub fn read_error(store: &dyn Store, name: &str, error: &io::Error) -> Refusal {
    let code = unreadable_code(error);
    Refusal::new(code, format!("{name} in {} cannot be read", store.describe())).cause(error)
}

/// Turns an error of writing inside a vault into the refusal that it means.
pub fn write_error(store: &dyn Store, name: &str, error: &io::Error) -> Refusal {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Code::VaultForbidden,
        _ if fsys::lacks_means(error) => Code::VaultForbidden,
        _ if lacks_room(error) => Code::NoSpace,
        _ => Code::ProbeFailed,
    };
    let refusal = Refusal::new(code, format!("{name} in {} cannot be written", store.describe())).cause(error);
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => refusal.next(
            "if you mounted the vault's medium read-only, mount it writable; if the system did so because of errors, do not: \
             `devvault runbook DV402`; it can be read as it is",
        ),
        _ => refusal,
    }
}
