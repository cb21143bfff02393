//! What must hold of a home, whatever happened to the program in it.

use std::fs;

use devvault::incident::journal::Journal;
use devvault::ops::verify::Verdict;
use devvault::store::LocalStore;
use devvault::vault::chain::Chain;
use devvault::vault::witness;

use crate::support::{Forger, Home, names};

/// What a sound home holds.
pub struct Found {
    /// Records of the vault, none where there is no vault.
    pub records: usize,
    /// The number of the newest that the host knows.
    pub witnessed: u64,
    /// Entries of the host's journal.
    pub journaled: usize,
}

/// Returns what a home holds, or what is wrong with its vault or host.
pub fn look(home: &Home) -> Result<Found, String> {
    let journaled = Journal::of(&home.host()).entries().map_err(|error| error.to_string())?.len();
    let none = Found { records: 0, witnessed: 0, journaled };
    let keys = home.path("config/keys");
    for name in if keys.exists() { names(&keys) } else { Vec::new() } {
        // What was left of one, which nobody takes for a key.
        if name.starts_with(".new-") {
            fs::remove_file(keys.join(name)).map_err(|error| error.to_string())?;
        }
    }
    let is_vault = home.vault().join("vault.json").exists();
    if !keys.exists() || names(&keys).is_empty() {
        return if is_vault { Err("a vault without a key".into()) } else { Ok(none) };
    }
    let macs = Forger::try_new(home)?.macs;
    let seen = witness::read(&home.host(), &macs).map_err(|error| error.to_string())?;
    if !is_vault {
        return if seen.is_some() { Err("a witness of no vault".into()) } else { Ok(none) };
    }
    let store = LocalStore::open(&home.vault()).map_err(|error| error.to_string())?;
    let chain = Chain::read(&store, &macs, None).map_err(|error| error.to_string())?;
    if !chain.findings.is_empty() {
        return Err(format!("{:?}", chain.findings));
    }
    let head = seen.and_then(|witness| witness.heads.last().copied());
    if let Some(head) = head
        && head.number > 0
        && !chain.holds(&head)
    {
        return Err(format!("{head:?} is gone"));
    }
    let records = chain.links().count();
    if records > 0 {
        let access = home.access_from(home.other_host("stranger"));
        let report = home.verify_from(&access, &[]);
        for name in ["stranger-config", "stranger-state"] {
            let _ = fs::remove_dir_all(home.path(name));
        }
        let report = report.map_err(|error| error.to_string())?;
        if report.verdict != Verdict::Valid {
            return Err(format!("{:?}", report.findings));
        }
    }
    Ok(Found { records, witnessed: head.map_or(0, |head| head.number), journaled })
}
