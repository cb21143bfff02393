//! What the machine and the place are like: told, and never compared.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use super::scratch::Scratch;
use crate::error::shown_path;
use crate::fsys;
use crate::ops::restore;
use crate::path::shown;
use crate::store::{LocalStore, Store};

/// Settings of the environment that reach programs.
const SETTINGS: [&str; 5] = ["LC_ALL", "LC_CTYPE", "LANG", "TZ", "TMPDIR"];

/// Describes the machine and the place.
pub(super) fn describe(scratch: &Scratch) -> BTreeMap<String, BTreeMap<String, String>> {
    let facts = |facts: Vec<(&str, String)>| {
        facts.into_iter().map(|(what, said)| (what.to_owned(), said)).collect::<BTreeMap<String, String>>()
    };
    let mut place = facts(place(scratch));
    match restore::facts(scratch.place()) {
        Ok(facts) => place.extend(facts),
        Err(error) => drop(place.insert("what it can hold".into(), format!("unknown: {error}"))),
    }
    BTreeMap::from([("system".into(), facts(system())), ("place".into(), place)])
}

fn system() -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("architecture", env::consts::ARCH.to_owned()),
        ("byte order", if cfg!(target_endian = "big") { "big-endian" } else { "little-endian" }.into()),
        ("os", env::consts::OS.to_owned()),
        ("pointers", format!("{} bits", usize::BITS)),
        ("build", if cfg!(debug_assertions) { "debug" } else { "release" }.into()),
        ("superuser", fsys::is_root().to_string()),
        ("threads", thread::available_parallelism().map_or_else(|error| error.to_string(), |count| count.to_string())),
        ("working directory", env::current_dir().map_or_else(|error| error.to_string(), |path| shown_path(&path))),
    ];
    facts.extend(SETTINGS.into_iter().filter_map(|name| {
        let value = env::var_os(name)?;
        Some((name, shown(value.as_encoded_bytes())))
    }));
    facts
}

fn place(scratch: &Scratch) -> Vec<(&'static str, String)> {
    let path = scratch.named.as_deref().unwrap_or(scratch.place());
    let mut facts = vec![
        ("path", shown_path(path)),
        ("file system", fsys::file_system(path).unwrap_or_else(|| "unknown".into())),
        ("exclusive rename", said(exclusive_rename(scratch.place()))),
        ("durable names", said(fsys::sync_directory(scratch.place()).map(|()| "yes".into()))),
        ("reads from the medium", said(drops_cached(scratch.place()))),
    ];
    facts.extend(locks(scratch.place()));
    facts
}

fn said(result: io::Result<String>) -> String {
    result.unwrap_or_else(|error| format!("no: {error}"))
}

/// Says whether the system renames without replacing by itself, or whether looking first has to serve.
fn exclusive_rename(place: &Path) -> io::Result<String> {
    let (from, to) = (place.join("rename-from"), place.join("rename-to"));
    fs::write(&from, b"x")?;
    let done = fsys::rename_exclusively(&from, &to)?;
    fs::remove_file(if done { to } else { from })?;
    Ok(if done { "yes" } else { "no: the name is looked at before" }.into())
}

fn drops_cached(place: &Path) -> io::Result<String> {
    let path = place.join("cached");
    fs::write(&path, b"x")?;
    let dropped = fsys::drop_cached(&fs::File::open(&path)?);
    fs::remove_file(path)?;
    Ok(if dropped { "yes" } else { "no" }.into())
}

/// Says how two holders of a lock stand to each other.
fn locks(place: &Path) -> Vec<(&'static str, String)> {
    let tried = LocalStore::open(place).and_then(|store| {
        let other = LocalStore::open(place)?;
        store.write_durably("lock", b"")?;
        let held = |taken: &Option<_>| if taken.is_some() { "taken" } else { "held by another" }.to_owned();
        let first = store.lock("lock", true)?;
        let facts = vec![
            ("exclusive lock", held(&first)),
            ("exclusive lock beside it", held(&other.lock("lock", true)?)),
            ("shared lock beside it", held(&other.lock("lock", false)?)),
        ];
        drop(first);
        let shared = store.lock("lock", false)?;
        let both = ("two shared locks", held(&shared.and(other.lock("lock", false)?)));
        Ok(facts.into_iter().chain([both]).collect())
    });
    tried.unwrap_or_else(|error| vec![("exclusive lock", format!("none: {error}"))])
}
