//! Where no command writes what it was asked for: in a vault, this one or another, and among devvault's own files.

use std::path::Path;

use crate::error::shown_path;
use crate::fsys;
use crate::host::Host;
use crate::vault::layout;

/// Says in what an existing directory lies that nothing else may be written into; nothing where it lies elsewhere. `vault`
/// is the one that the command is about, whichever way leads there.
pub(super) fn taken(directory: &Path, host: &Host, vault: Option<&Path>) -> Option<String> {
    if let Some(vault) = vault.filter(|vault| fsys::lies_within(directory, vault)) {
        return Some(format!("the vault {}", shown_path(vault)));
    }
    if let Some(vault) = layout::root_above(directory) {
        return Some(format!("the vault {}", shown_path(vault)));
    }
    let own = host.own_directories().into_iter().find(|own| fsys::lies_within(directory, own))?;
    Some(format!("devvault's own directory {}", shown_path(own)))
}
