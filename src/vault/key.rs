//! Finding the key of a vault. A key is never made here.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::Id;
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::keyfile::KeyFile;
use crate::fsys::{self, replace};
use crate::host::Host;
use crate::limits;
use crate::path::quoted;
use crate::refusal::{Code, Refusal};

/// A key and where it came from.
#[derive(Debug, Clone)]
pub struct FoundKey {
    /// The key.
    pub key: KeyFile,
    /// The file that holds it.
    pub path: PathBuf,
    /// What should be said about it: a medium without modes, for instance.
    pub note: Option<String>,
}

/// Finds the key: the one that the operator names always wins, else the one that this host keeps for the vault.
///
/// # Errors
/// DV301 where there is none, DV302 where it is another vault's, DV303 where others can read it, DV304 where it lies
/// inside the vault, DV305 where it is damaged.
pub fn find(host: &Host, named: Option<&Path>, vault: Option<Id>, vault_path: Option<&Path>) -> Result<FoundKey> {
    let path = match (named, vault) {
        (Some(path), _) => path.to_owned(),
        (None, Some(vault)) => host.key_path(vault),
        (None, None) => {
            return refuse(Code::KeyMissing, "vault.json does not tell which key opens this vault, and none is named");
        }
    };
    let found = load(&path, named.is_some(), vault)?;
    refuse_inside(&found.path, vault_path)?;
    if let Some(vault) = vault
        && found.key.vault != vault
    {
        let message = format!("{} is the key of vault {}, not of vault {vault}", shown_path(&path), found.key.vault);
        return refuse(Code::KeyWrong, message);
    }
    Ok(found)
}

/// Reads a key file. `named` tells whether the operator named it: then a medium without modes is accepted and noted.
///
/// # Errors
/// DV301 where there is none, DV303 where others can read it, DV305 where it is damaged.
pub fn load(path: &Path, named: bool, vault: Option<Id>) -> Result<FoundKey> {
    // A key may be reached through a link, as secret stores mount them; what counts is the file.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let file = fsys::open_plain(&real).map_err(|error| missing(path, named, vault, &error))?;
    let private = check_private(&file, path);
    let bytes = replace::read_open(file, limits::CONFIG_BYTES_MAX)
        .map(Zeroizing::new)
        .map_err(|error| damaged(path, &error))?;
    let key = KeyFile::decode(&bytes).map_err(|error| damaged(path, &error))?;
    // Only of what is a key: nobody is told to change the modes of something else.
    Ok(FoundKey { key, path: path.to_owned(), note: private? })
}

fn missing(path: &Path, named: bool, vault: Option<Id>, error: &io::Error) -> Error {
    let message = match (error.kind(), vault) {
        (io::ErrorKind::NotFound, Some(vault)) if !named => {
            format!("the key of vault {vault} is not on this host (looked for {})", shown_path(path))
        }
        (io::ErrorKind::NotFound, _) => format!("there is no key file {}", shown_path(path)),
        (io::ErrorKind::InvalidData, _) => {
            return Refusal::new(Code::KeyDamaged, format!("{} is not a regular file", shown_path(path))).into();
        }
        _ => format!("the key file {} cannot be read", shown_path(path)),
    };
    Refusal::new(Code::KeyMissing, message).cause(error).into()
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::KeyDamaged, format!("{} is not an intact key file", shown_path(path))).cause(error)
}

/// Refuses a key that others can read; returns a note where the medium has no modes.
fn check_private(file: &File, path: &Path) -> Result<Option<String>> {
    match fsys::is_private(file) {
        Ok(Some(true)) => Ok(None),
        Ok(Some(false)) if fsys::keeps_modes(path) => {
            Err(Refusal::new(Code::KeyExposed, format!("the key file {} can be read by others", shown_path(path)))
                .next(format!(
                    "make it private: `chmod 600 {}`; if others had access, treat the key as known to them",
                    quoted(&shown_path(path))
                ))
                .into())
        }
        Ok(_) => Ok(Some(format!(
            "{} lies on a medium that keeps no permissions; anyone with the medium has the key",
            shown_path(path)
        ))),
        Err(error) => Err(Error::environment(format!("look at {}", shown_path(path)), error)),
    }
}

/// Refuses a key that lies inside the vault that it opens: who has the vault would have the key. What does not exist
/// yet lies where its nearest directory does.
///
/// # Errors
/// DV304.
pub fn refuse_inside(key: &Path, vault: Option<&Path>) -> Result<()> {
    let real = key.ancestors().find_map(|path| path.canonicalize().ok());
    let (Some(vault), Some(real)) = (vault, real) else { return Ok(()) };
    match vault.canonicalize() {
        Ok(vault) if real.starts_with(&vault) => {
            refuse(Code::KeyInsideVault, format!("the key file {} lies inside the vault", shown_path(key)))
        }
        _ => Ok(()),
    }
}
