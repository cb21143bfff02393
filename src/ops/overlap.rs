//! Where no command writes what it was asked for: in a vault, this one or another, and among devvault's own files.

use std::path::Path;

use crate::error::shown_path;
use crate::fsys;
use crate::host::Host;
use crate::vault::layout;

/// Says in what a place lies that nothing else may be written into, or what it would come to hold; nothing where it lies
/// elsewhere. The place is named by the real path of the directory that holds it; `vault` is the one that the command is
/// about, whichever way leads there.
pub(crate) fn taken(place: &Path, host: &Host, vault: Option<&Path>) -> Option<String> {
    let directory = place.parent()?;
    if let Some(vault) = vault.filter(|vault| fsys::lies_within(directory, vault)) {
        return Some(format!("the vault {}", shown_path(vault)));
    }
    if let Some(vault) = layout::root_above(directory) {
        return Some(format!("the vault {}", shown_path(vault)));
    }
    let is_own = |own: &&Path| {
        let real = fsys::real_path(own);
        fsys::lies_within(directory, &real) || real.starts_with(place)
    };
    let own = host.own_directories().into_iter().find(is_own)?;
    Some(format!("devvault's own directory {}", shown_path(own)))
}
