//! Removing: the only door through which anything leaves a vault.

use std::io;

use super::gate::WriteLock;
use super::layout;
use crate::crypto::Digest;
use crate::incident::registry::Clearance;
use crate::store::Store;

/// Removes an incomplete snapshot that this process itself began and gave up for a reason outside the vault.
///
/// What a crash or an integrity failure left behind is evidence and not removed here.
///
/// # Errors
/// The medium refuses; what is left stays an incomplete snapshot.
pub(super) fn discard_own_draft(store: &dyn Store, name: &str) -> io::Result<()> {
    debug_assert!(name.starts_with(layout::INCOMPLETE_PREFIX));
    let directory = format!("{}/{name}", layout::SNAPSHOTS);
    for file in store.list(&directory)? {
        store.remove_file(&format!("{directory}/{}", file.name))?;
    }
    store.remove_directory(&directory)?;
    store.sync_directory(layout::SNAPSHOTS)
}

/// Removes an incomplete snapshot that some earlier run left, after it was found that nothing holds it.
///
/// # Errors
/// The medium refuses; what is left stays an incomplete snapshot.
pub fn discard_incomplete(store: &dyn Store, name: &str, _clearance: &Clearance, _lock: &WriteLock) -> io::Result<()> {
    if !is_incomplete(name) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of an incomplete snapshot"));
    }
    discard_own_draft(store, name)
}

/// Removes a file that a test of the medium left, after it was found that nothing holds it.
///
/// # Errors
/// The medium refuses.
pub fn discard_probe(store: &dyn Store, name: &str, _clearance: &Clearance, _lock: &WriteLock) -> io::Result<()> {
    if !layout::is_probe(name) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a test of the medium"));
    }
    store.remove_file(name)?;
    store.sync_directory("")
}

/// Returns whether this is the name of an incomplete snapshot, and of nothing within one.
fn is_incomplete(name: &str) -> bool {
    name.starts_with(layout::INCOMPLETE_PREFIX) && !name.contains('/')
}

/// Removes packs that this process itself wrote for a draft that it gave up, after the draft, unless somebody may have use
/// for them. `head` is the number of the newest record when the draft began. Returns whether they were removed.
///
/// A reader that listed them before would miss them: it holds the sweep lock where there are locks. Where no lock reaches a
/// writer on another host, that one may have taken them over: its draft, or its record, is there then.
///
/// # Errors
/// The medium refuses; what is left is a pack that no snapshot names.
pub(super) fn discard_own_packs(store: &dyn Store, packs: &[Digest], head: u64) -> io::Result<bool> {
    let Ok(Some(_alone)) = store.lock(layout::SWEEP_LOCK, true) else { return Ok(false) };
    let is_anothers = |name: &str| {
        name.starts_with(layout::INCOMPLETE_PREFIX) || layout::record_number(name).is_some_and(|number| number > head)
    };
    if store.list(layout::SNAPSHOTS)?.iter().any(|listed| is_anothers(&listed.name)) {
        return Ok(false);
    }
    for name in packs {
        store.remove_file(&layout::pack_path(name))?;
        store.sync_directory(&layout::pack_directory(name))?;
    }
    Ok(true)
}

/// Removes files of a draft that must not be published with it.
///
/// # Errors
/// The medium refuses.
pub(super) fn clear_from_draft(store: &dyn Store, name: &str, files: &[&str]) -> io::Result<()> {
    for file in files {
        match store.remove_file(&format!("{}/{name}/{file}", layout::SNAPSHOTS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Removes index files that a newer one replaces.
///
/// # Errors
/// The medium refuses.
pub(super) fn discard_index(store: &dyn Store, names: &[String]) -> io::Result<()> {
    for name in names {
        match store.remove_file(&format!("{}/{name}", layout::INDEX)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    store.sync_directory(layout::INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_incomplete_snapshot_is_discarded_by_name() {
        assert!(is_incomplete(&format!("{}0123", layout::INCOMPLETE_PREFIX)));
        for bad in ["00000001", "", "..", "x/.incomplete-0123", ".incomplete-0123/..", ".incomplete-0123/../00000001"] {
            assert!(!is_incomplete(bad), "{bad}");
        }
    }

    #[test]
    fn an_index_file_that_another_has_removed_already_is_gone_all_the_same() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        std::fs::create_dir(root.path().join(layout::INDEX))?;
        std::fs::write(root.path().join(layout::INDEX).join("second"), "")?;
        let store = crate::store::LocalStore::open(root.path())?;
        discard_index(&store, &["first".to_owned(), "second".to_owned()])?;
        assert_eq!(store.list(layout::INDEX)?.len(), 0);
        Ok(())
    }

    #[test]
    fn only_a_test_of_the_medium_is_discarded_as_one() {
        assert!(layout::is_probe(&format!("{}0123", layout::PROBE_PREFIX)));
        for bad in [
            "vault.json",
            "",
            "..",
            "snapshots/.probe-0123",
            ".probe-",
            ".probe-x; y",
            ".probe-0123/..",
            ".probe-0123/../vault.json",
        ] {
            assert!(!layout::is_probe(bad), "{bad}");
        }
    }
}
