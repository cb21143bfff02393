//! `init`: makes a vault and its key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::audit::{self, Told};
use crate::crypto::{Domain, Id, Macs, Secret};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::config::{Config, Parameters};
use crate::format::keyfile::KeyFile;
use crate::fsys::{self, replace};
use crate::refusal::{Code, Kept, Refusal};
use crate::store::{LocalStore, Store};
use crate::vault::chain::{Chain, encode_mac_file};
use crate::vault::gate::Access;
use crate::vault::write::probe;
use crate::vault::{key, layout, witness, write_error};

/// What `init` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The vault's id.
    pub vault: Id,
    /// Where the vault lies.
    pub path: PathBuf,
    /// Where its key lies.
    pub key: PathBuf,
    /// The head of its chain, which has no records yet.
    pub head: String,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Report {
    fn told(&self) -> serde_json::Value {
        serde_json::json!({"head": self.head, "key": shown_path(&self.key)})
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// Makes a vault at `access.vault`, which must be absent or an empty directory, and its key on this host.
///
/// The key is written first: a vault without its key must not come to be. It is written to `access.key_file` where one
/// is named (which must not exist), else to the host's own directory.
///
/// # Errors
/// DV407 where the place is not empty, DV304 where the key would lie inside the vault, DV401 to DV403 where the medium
/// refuses, DV410 where the key or the witness cannot be written.
pub fn run(access: &Access, parameters: Parameters) -> Result<Report> {
    audit::watch(access, "init", || make(access, parameters))
}

fn make(access: &Access, parameters: Parameters) -> Result<Report> {
    let (path, made) = match &access.store {
        Some(store) => require_empty(&**store).map(|()| (access.vault.clone(), false))?,
        None => prepare(&access.vault)?,
    };
    let given = access.key_file.clone();
    let planned = given.clone().unwrap_or_else(|| access.host.key_path(Id([0; 16])));
    if let Err(error) = key::refuse_inside(&planned, Some(&path)) {
        // Before anything lies in it: what is refused leaves nothing behind.
        if made {
            let _ = fs::remove_dir(&path);
        }
        return Err(error);
    }
    let random = |error| Error::environment("draw random bytes", error);
    let secret = Secret::drawn(&*access.random).map_err(random)?;
    let vault = Id::drawn(&*access.random).map_err(random)?;
    let host = access.host.identity()?;
    let now = access.clock.now();
    let key_path = given.unwrap_or_else(|| access.host.key_path(vault));
    let opened = |error| Error::environment(format!("open {}", shown_path(&path)), error);
    let store = match &access.store {
        Some(store) => Arc::clone(store),
        None => Arc::new(LocalStore::open(&path).map_err(opened)?),
    };
    let store = &*store;
    probe(store)?;
    write_key(access, &key_path, &path, &KeyFile::new(secret.clone(), vault, host.id, now))?;

    let macs = Macs::new(&secret, vault);
    let config = Config::new(vault, secret.key_id(), now, parameters).encode();
    write_vault(store, &macs, &config).map_err(|error| {
        Error::from(write_error(store, "the new vault", &error)).written(|| {
            let (key, vault) = (shown_path(&key_path), shown_path(&path));
            format!("the key {key} was made; that {vault} is a whole vault is not confirmed, and nothing is kept in it")
        })
    })?;
    let chain = Chain::read(store, &macs, Some(crate::crypto::Digest::of(&config)))
        .map_err(|error| crate::vault::read_error(store, layout::SNAPSHOTS, &error))?;
    witness::advance(&access.host, &macs, &chain, witness::By::Making, now).map_err(|error| {
        error.written(|| {
            format!(
                "vault {vault} in {} and its key {} were made; this host has no witness of it yet: the first backup \
                needs --expect-head {}",
                shown_path(&path),
                shown_path(&key_path),
                chain.head()
            )
        })
    })?;
    Ok(Report {
        vault,
        path: store.local_path().map_or(access.vault.clone(), Path::to_owned),
        key: key_path,
        head: chain.head().to_string(),
        notes: Vec::new(),
    })
}

/// Refuses a store that holds anything.
fn require_empty(store: &dyn Store) -> Result<()> {
    let names = store.list("").map_err(|error| write_error(store, "the new vault", &error))?;
    if names.is_empty() {
        return Ok(());
    }
    refuse(Code::NotEmpty, format!("{} is not empty; a vault is never made over anything", store.describe()))
}

/// Makes the directory, or makes sure that it is empty. Returns its real path, and whether it was made.
fn prepare(path: &Path) -> Result<(PathBuf, bool)> {
    let mut made = false;
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_dir()) {
        return refuse(Code::NotEmpty, format!("{} is not a directory", shown_path(path)));
    }
    if let Some(vault) = fsys::real_path(path).parent().and_then(layout::root_above) {
        let message = format!("{} lies inside the vault {}", shown_path(path), shown_path(vault));
        return refuse(Code::NotEmpty, message);
    }
    match fs::read_dir(path) {
        Ok(mut names) => {
            if names.next().is_some() {
                return refuse(
                    Code::NotEmpty,
                    format!("{} is not empty; a vault is never made over anything", shown_path(path)),
                );
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            made = replace::create_directories(path, false).map_err(|error| forbidden(path, &error))?;
        }
        Err(error) => return Err(forbidden(path, &error)),
    }
    fs::canonicalize(path).map(|path| (path, made)).map_err(|error| forbidden(path, &error))
}

fn forbidden(path: &Path, error: &io::Error) -> Error {
    Refusal::new(Code::VaultForbidden, format!("{} cannot be used for a vault", shown_path(path))).cause(error).into()
}

fn write_key(access: &Access, path: &Path, vault: &Path, key: &KeyFile) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if access.key_file.is_none() {
        access.host.make_directory(parent)?;
    }
    key::refuse_inside(parent, Some(vault))?;
    let failed = |error: io::Error| -> Error {
        Refusal::new(Code::StateUnwritable, format!("the key {} cannot be written", shown_path(path)))
            .cause(error)
            .written("no vault was made")
            .next("name another place for the key: `--key-file FILE`, a file that does not exist yet")
            .into()
    };
    replace::create_private(path, &key.encode()).map_err(failed)
}

/// Writes everything that a vault begins with; `vault.json` last, so that half a vault is none.
pub(crate) fn write_vault(store: &dyn Store, macs: &Macs, config: &[u8]) -> io::Result<()> {
    for directory in [layout::SNAPSHOTS, layout::PACKS, layout::INDEX] {
        store.create_directory(directory)?;
    }
    for lock in [layout::LOCK, layout::SWEEP_LOCK] {
        store.write_durably(lock, b"")?;
    }
    store.write_durably(layout::CONFIG_MAC, &encode_mac_file(macs.tag(Domain::Config, 0, config)))?;
    // A loss of power may keep a later name and lose an earlier one.
    store.sync_directory("")?;
    store.write_durably(layout::CONFIG, config)?;
    store.sync_directory("")?;
    // The vault's own name is durable only with the directory that holds it.
    if let Some(parent) = store.local_path().and_then(Path::parent) {
        fsys::sync_directory(parent)?;
    }
    Ok(())
}
