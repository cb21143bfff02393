//! Where things lie in a vault.

use std::fs;
use std::path::Path;

use super::chain::claimed_at;
use crate::crypto::{Digest, Id};
use crate::format::record::RecordKind;

/// What the vault is; written once.
pub const CONFIG: &str = "vault.json";
/// Authenticates [`CONFIG`].
pub const CONFIG_MAC: &str = "vault.hmac";
/// Held exclusively by the one writer.
pub const LOCK: &str = "lock";
/// Held shared by readers, exclusively by a removal.
pub const SWEEP_LOCK: &str = "sweep.lock";
/// Says who holds [`LOCK`]; a claim, for people.
pub const LOCK_HOLDER: &str = "lock.holder";
/// Holds the records.
pub const SNAPSHOTS: &str = "snapshots";
/// Holds the packs, below directories named by the first two digits.
pub const PACKS: &str = "packs";
/// Holds the index files.
pub const INDEX: &str = "index";
/// Begins the name of a snapshot that is not finalized.
pub const INCOMPLETE_PREFIX: &str = ".incomplete-";
/// Begins the name of a file that tests whether the medium can be written.
pub const PROBE_PREFIX: &str = ".probe-";
/// Says who writes an incomplete snapshot; a claim, not proof.
pub const ORIGIN: &str = "origin.json";

/// Every name that a vault's root may hold, but probes.
pub const ROOT_NAMES: [&str; 8] = [CONFIG, CONFIG_MAC, LOCK, SWEEP_LOCK, LOCK_HOLDER, SNAPSHOTS, PACKS, INDEX];

/// Returns the directory of a record.
pub fn record_directory(number: u64) -> String {
    format!("{SNAPSHOTS}/{number:08}")
}

/// Returns the number that a directory's name stands for, if it is one of a record.
pub fn record_number(name: &str) -> Option<u64> {
    if name.len() != 8 || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    name.parse().ok().filter(|&number| number > 0)
}

/// Returns the name of a record's file in its directory.
pub fn record_file(kind: RecordKind) -> String {
    format!("{}.json", kind.stem())
}

/// Returns the name of the file that authenticates a record.
pub fn record_mac_file(kind: RecordKind) -> String {
    format!("{}.hmac", kind.stem())
}

/// Returns the directory of a pack.
pub fn pack_directory(name: &Digest) -> String {
    format!("{PACKS}/{:02x}", name.0[0])
}

/// Returns where a pack lies.
pub fn pack_path(name: &Digest) -> String {
    format!("{}/{name}.pack", pack_directory(name))
}

/// Returns the pack that a file's name stands for.
pub fn pack_name(directory: &str, file: &str) -> Option<Digest> {
    let name: Digest = file.strip_suffix(".pack")?.parse().ok()?;
    (directory == format!("{:02x}", name.0[0])).then_some(name)
}

/// Returns the pack that a path in the vault names, if it is one of a pack.
pub fn pack_named(path: &str) -> Option<Digest> {
    let (directory, file) = path.strip_prefix(PACKS)?.strip_prefix('/')?.split_once('/')?;
    pack_name(directory, file)
}

/// Returns where an index file lies.
pub fn index_path(id: Id) -> String {
    format!("{INDEX}/{id}.idx")
}

/// Returns the root of the vault, whichever, that a directory is or lies in: what holds files or directories of a vault, one
/// of which only a vault has. What lies in a probe of the medium is no part of the vault that it lies in.
pub fn root_above(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|above| {
        let first = directory.strip_prefix(above).ok().and_then(|below| below.components().next());
        is_root(above) && !first.is_some_and(|name| is_probe(&name.as_os_str().to_string_lossy()))
    })
}

/// Returns whether a directory is the root of a vault, perhaps of a damaged one. A project may have a `vault.json` too.
fn is_root(directory: &Path) -> bool {
    let holds = |name: &str| fs::symlink_metadata(directory.join(name)).is_ok();
    let parts = [CONFIG, CONFIG_MAC, SNAPSHOTS, PACKS].into_iter().filter(|name| holds(name)).count();
    parts >= 2 && (holds(CONFIG_MAC) || holds(CONFIG) && claimed_at(directory).is_some())
}

/// Returns whether this is the name of what tests the medium, and of nothing within it.
pub fn is_probe(name: &str) -> bool {
    let id = name.strip_prefix(PROBE_PREFIX).unwrap_or_default();
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_name_alone_makes_no_vault() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let inside = root.path().join("packs/ab");
        fs::create_dir_all(&inside)?;
        assert_eq!(root_above(&inside), None);
        fs::write(root.path().join(CONFIG), "{}")?;
        assert_eq!(root_above(&inside), None, "a project may have both");
        fs::write(root.path().join(CONFIG_MAC), "")?;
        assert_eq!(root_above(&inside), Some(root.path()));
        assert_eq!(root_above(root.path()), Some(root.path()));
        for (probe, found) in [(".probe-0", None), (".probe-other", Some(root.path())), (".probe-", Some(root.path()))]
        {
            let below = root.path().join(probe).join("restored");
            fs::create_dir_all(&below)?;
            assert_eq!(root_above(&below), found, "{probe}");
        }
        // What a damaged vault has left tells it too.
        fs::remove_file(root.path().join(CONFIG))?;
        assert_eq!(root_above(&inside), Some(root.path()));
        fs::remove_dir_all(root.path().join(PACKS))?;
        assert_eq!(root_above(root.path()), None);
        Ok(())
    }

    #[test]
    fn only_exact_names_stand_for_records_and_packs() {
        assert_eq!(record_number("00000042"), Some(42));
        for bad in ["42", "00000000", "0000004x", "+0000042", "000000042", ".incomplete-0"] {
            assert_eq!(record_number(bad), None, "{bad}");
        }
        let name = Digest([0xab; 32]);
        assert_eq!(pack_path(&name), format!("packs/ab/{name}.pack"));
        assert_eq!(pack_name("ab", &format!("{name}.pack")), Some(name));
        assert_eq!(pack_named(&pack_path(&name)), Some(name));
        assert_eq!(pack_named(&format!("packs/aa/{name}.pack")), None);
        assert_eq!(pack_name("aa", &format!("{name}.pack")), None);
        assert_eq!(pack_name("ab", &format!("{}.pack", name.to_string().to_uppercase())), None);
    }
}
