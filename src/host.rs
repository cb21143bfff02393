//! This host: its identity and its own directories, outside every vault.
//!
//! The configuration directory holds keys, identity and settings; the state directory holds the witnesses. Losing the
//! state costs freshness, losing the keys costs the vaults.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use crate::crypto::Id;
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::record;
use crate::fsys::{self, replace};
use crate::limits;
use crate::path::shown;
use crate::refusal::{Code, Refusal};

/// The host's directories.
#[derive(Debug, Clone)]
pub struct Host {
    config: PathBuf,
    state: PathBuf,
    data: PathBuf,
}

/// What a person has configured; `config.json` in the configuration directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many days old the newest backup of a source may be before `status --check` fails; [`limits::BACKUP_DAYS`] when
    /// absent; 0 asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_days: Option<u32>,
    /// How many days old the newest drill of a source may be before `status --check` fails; [`limits::DRILL_DAYS`] when absent; 0 asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_days: Option<u32>,
    /// How many minutes a recovery may take by plan; [`limits::DRILL_MINUTES`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_minutes: Option<u32>,
    /// How many minutes it may take at most before that needs attention; [`limits::DRILL_MINUTES_MAX`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_minutes_max: Option<u32>,
    /// The vault that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<PathBuf>,
    /// How many days old the newest verification of everything may be before `status --check` fails;
    /// [`limits::VERIFY_DAYS`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_days: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    id: Id,
}

impl Host {
    /// Uses three directories: configuration, state, and the one below which the default vault lies.
    pub fn new(config: impl Into<PathBuf>, state: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Self { config: config.into(), state: state.into(), data: data.into() }
    }

    /// Uses the user's directories; `DEVVAULT_CONFIG_DIR` and `DEVVAULT_STATE_DIR` override the first two.
    ///
    /// # Errors
    /// The user has no home directory; a directory is named by a path that means another one in another working directory.
    pub fn from_environment() -> Result<Self> {
        let given = |name: &str| {
            let path = env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            match path {
                // A job at night would have another memory of what was seen than the shell.
                Some(path) if !path.is_absolute() => {
                    let reason = format!("{} is no absolute path", shown_path(&path));
                    Err(Error::environment(format!("use {name}"), io::Error::new(io::ErrorKind::InvalidInput, reason)))
                }
                path => Ok(path),
            }
        };
        let base = etcetera::choose_base_strategy()
            .map_err(|error| Error::environment("find the home directory", io::Error::other(error)))?;
        let [config, state, data] = user_directories(&base);
        Ok(Self {
            config: given("DEVVAULT_CONFIG_DIR")?.unwrap_or(config),
            state: given("DEVVAULT_STATE_DIR")?.unwrap_or(state),
            data,
        })
    }

    /// Returns where the default vault lies, whether or not it exists.
    pub fn default_vault(&self) -> PathBuf {
        self.data.join("vault")
    }

    /// Returns the directories that belong to devvault itself and are never part of a source.
    pub fn own_directories(&self) -> [&Path; 2] {
        [&self.config, &self.state]
    }

    /// Returns where this host keeps the key of a vault.
    pub fn key_path(&self, vault: Id) -> PathBuf {
        self.config.join("keys").join(format!("{vault}.key"))
    }

    /// Returns where this host notes that the key of a vault was exported.
    pub fn export_note_path(&self, vault: Id) -> PathBuf {
        self.state.join("exported").join(format!("{vault}.json"))
    }

    /// Returns where this host keeps its witness of a vault.
    pub fn witness_path(&self, vault: Id) -> PathBuf {
        self.state.join("witness").join(format!("{vault}.json"))
    }

    /// Returns where this host keeps its journal.
    pub fn journal_directory(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// Returns where this host keeps evidence.
    pub fn evidence_directory(&self) -> PathBuf {
        self.state.join("evidence")
    }

    /// Returns where this host keeps its log of drills.
    pub fn drills_directory(&self) -> PathBuf {
        self.state.join("drills")
    }

    /// Returns where this host remembers what it read of a vault, a file for each place of it.
    pub fn reads_directory(&self, vault: Id) -> PathBuf {
        self.state.join("reads").join(vault.to_string())
    }

    /// Returns whether this host knows any vault: by a key, a witness, or its settings.
    ///
    /// # Errors
    /// A directory exists but cannot be read: unknown is not no.
    pub fn knows_any_vault(&self) -> Result<bool> {
        for directory in [self.config.join("keys"), self.state.join("witness")] {
            match fs::read_dir(&directory) {
                Ok(mut names) => {
                    if names.next().is_some() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Error::environment(format!("read {}", shown_path(&directory)), error));
                }
            }
        }
        Ok(self.settings()?.vault.is_some() || self.default_vault().exists())
    }

    /// Reads the settings; the defaults where there are none.
    ///
    /// # Errors
    /// DV411 where the file is there but unreadable or not what it should be.
    pub fn settings(&self) -> Result<Settings> {
        let path = self.config.join("config.json");
        let bytes = match replace::read(&path, limits::CONFIG_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
            other => other.map_err(|error| unreadable(&path, &error))?,
        };
        serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error).into())
    }

    /// Returns who this host is, making up an id the first time.
    ///
    /// # Errors
    /// DV411 where the identity is there but unreadable; DV410 where it cannot be written.
    pub fn identity(&self) -> Result<record::Host> {
        let path = self.config.join("host.json");
        if let Some(host) = self.known_identity()? {
            return Ok(host);
        }
        let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
        let mut bytes = serde_json::to_vec(&Identity { id }).expect("an id encodes");
        bytes.push(b'\n');
        self.make_directory(&self.config)?;
        match replace::create_private(&path, &bytes) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.known_identity()?.ok_or_else(|| unwritable(&path, &error).into())
            }
            Err(error) => Err(unwritable(&path, &error).into()),
            Ok(()) => Ok(record::Host { id, name: host_name() }),
        }
    }

    /// Returns who this host is, if it has an id already.
    ///
    /// # Errors
    /// DV411 where the identity is there but unreadable.
    pub fn known_identity(&self) -> Result<Option<record::Host>> {
        let path = self.config.join("host.json");
        let bytes = match replace::read(&path, limits::CONFIG_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| unreadable(&path, &error))?,
        };
        let identity: Identity = serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error))?;
        Ok(Some(record::Host { id: identity.id, name: host_name() }))
    }

    /// Creates one of the host's directories and makes its name durable, for its owner alone where the platform has modes.
    ///
    /// # Errors
    /// DV410 where it cannot be created.
    pub fn make_directory(&self, path: &Path) -> Result<()> {
        replace::create_directories(path, true).map(|_| ()).map_err(|error| unwritable(path, &error).into())
    }

    /// Refuses where something else lies in the place of the state directory or of that of the witnesses; where nothing
    /// lies there, it can be made.
    ///
    /// # Errors
    /// DV410.
    pub fn require_state(&self) -> Result<()> {
        for directory in [&self.state, &self.state.join("witness")] {
            if fs::metadata(directory).is_ok_and(|metadata| !metadata.is_dir()) {
                return Err(unwritable(directory, &io::ErrorKind::NotADirectory.into()).into());
            }
        }
        Ok(())
    }

    /// Returns the key files that this host keeps, in the order of their names; none where they cannot be listed.
    pub fn keys(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.config.join("keys")).into_iter().flatten().flatten();
        let mut keys: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
        keys.retain(|path| path.extension().is_some_and(|extension| extension == "key"));
        keys.sort();
        keys
    }

    /// Returns a vault that the environment does not name: that of the settings, else the default one if it exists.
    ///
    /// # Errors
    /// DV409 where there is neither; DV411 where the settings cannot be read.
    pub fn vault(&self) -> Result<PathBuf> {
        if let Some(vault) = self.settings()?.vault {
            return Ok(vault);
        }
        let vault = self.default_vault();
        if vault.exists() {
            return Ok(vault);
        }
        refuse(Code::NoVault, format!("no vault is named, and there is none at {}", shown_path(&vault)))
    }
}

/// Returns the user's directories for configuration, state and data.
///
/// On Windows all three lie below `%LOCALAPPDATA%`, the only known folder that never leaves the machine: in a roaming
/// profile two machines would share one identity and one witness, and a vault would be copied at each logon.
fn user_directories(base: &impl BaseStrategy) -> [PathBuf; 3] {
    if cfg!(windows) {
        let local = base.cache_dir().join("devvault");
        return [local.join("config"), local.join("state"), local];
    }
    let state = base.state_dir().unwrap_or_else(|| base.data_dir().join("devvault").join("state"));
    [base.config_dir().join("devvault"), state.join("devvault"), base.data_dir().join("devvault")]
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::ConfigUnreadable, format!("{} cannot be used", shown_path(path))).cause(error)
}

fn unwritable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(Code::StateUnwritable, format!("{} cannot be written", shown_path(path))).cause(error)
}

/// Returns the host's name for people.
fn host_name() -> String {
    shown(&fsys::host_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().expect("a directory");
        let host = Host::new(root.path().join("config"), root.path().join("state"), root.path().join("data"));
        (root, host)
    }

    #[test]
    fn an_identity_is_made_once() {
        let (_root, host) = host();
        assert!(host.known_identity().expect("absent").is_none());
        let first = host.identity().expect("writable");
        assert_eq!(host.identity().expect("there").id, first.id);
    }

    #[test]
    fn of_two_processes_that_make_an_identity_at_once_one_wins() {
        for _ in 0..20 {
            let (_root, host) = host();
            let ids: Vec<Id> = std::thread::scope(|scope| {
                let makers: Vec<_> = (0..4).map(|_| scope.spawn(|| host.identity().expect("writable").id)).collect();
                makers.into_iter().map(|maker| maker.join().expect("whole")).collect()
            });
            assert!(ids.iter().all(|id| *id == host.identity().expect("there").id), "{ids:?}");
        }
    }

    #[test]
    fn a_damaged_identity_is_refused_rather_than_replaced() {
        let (_root, host) = host();
        host.identity().expect("writable");
        fs::write(host.config.join("host.json"), b"{").expect("writable");
        assert_eq!(host.identity().expect_err("damaged").code(), Some(Code::ConfigUnreadable));
        fs::write(host.config.join("config.json"), b"{\"vualt\":\"x\"}").expect("writable");
        assert_eq!(host.settings().expect_err("misspelt").code(), Some(Code::ConfigUnreadable));
    }

    #[test]
    fn a_host_that_holds_a_key_knows_a_vault() {
        let (_root, host) = host();
        assert!(!host.knows_any_vault().expect("empty"));
        fs::create_dir_all(host.key_path(Id([1; 16])).parent().expect("has one")).expect("writable");
        assert!(!host.knows_any_vault().expect("empty"));
        fs::write(host.key_path(Id([1; 16])), b"").expect("writable");
        assert!(host.knows_any_vault().expect("readable"));
        assert_eq!(host.vault().expect_err("none named").code(), Some(Code::NoVault));
    }
}
