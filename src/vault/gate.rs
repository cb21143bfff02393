//! The gate: what must hold before a vault is read or written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::catalog::{Catalog, UseIndex};
use super::chain::{Chain, claimed_vault, decode_mac_file};
use super::key::{self, FoundKey};
use super::read::Reader;
use super::witness::{self, By, Freshness, Witness};
use super::{Finding, layout, read_error, unreadable, unreadable_code, write_error};
use crate::clock::Clock;
use crate::crypto::{Digest, Domain, Id, Macs, Random, SystemRandom};
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::config::{BadConfig, Config};
use crate::format::json;
use crate::format::record::Head;
use crate::host::Host;
use crate::incident::break_glass::Permit;
use crate::incident::registry::Clearance;
use crate::limits;
use crate::refusal::{Code, Refusal};
use crate::store::{LocalStore, Lock, Store};

/// Which vault, with which key, on which host.
#[derive(Clone)]
pub struct Access {
    /// The vault's directory.
    pub vault: PathBuf,
    /// The store to use instead of that directory, if it is not one of this machine.
    pub store: Option<Arc<dyn Store>>,
    /// The key file that the operator names, if any; it always wins.
    pub key_file: Option<PathBuf>,
    /// The host's own directories.
    pub host: Host,
    /// A head that must occur in the chain; it stands in for a missing or unreadable witness.
    pub expect_head: Option<Head>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives the bytes of secrets, ids and packs.
    pub random: Arc<dyn Random>,
}

impl Access {
    /// Accesses a vault with the key that the host keeps for it.
    pub fn new(vault: impl Into<PathBuf>, host: Host) -> Self {
        Self {
            vault: vault.into(),
            store: None,
            key_file: None,
            host,
            expect_head: None,
            clock: Arc::new(crate::clock::SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}

/// A vault whose key is at hand. Its `vault.json` may still be damaged: [`Found::config`] tells.
pub struct Found {
    /// Where it lies.
    pub store: Arc<dyn Store>,
    /// The key and where it came from.
    pub key: FoundKey,
    /// Authenticates everything in it.
    pub macs: Arc<Macs>,
    /// What `vault.json` says, or what is wrong with it.
    pub config: Result<(Config, Digest), Finding>,
}

/// Opens the place of a vault.
///
/// # Errors
/// DV406 where there is none: an unmounted disk must not become a new vault. DV402 where it may not be read.
pub fn open_store(vault: &Path) -> Result<Arc<dyn Store>> {
    let place = shown_path(vault);
    let store = LocalStore::open(vault).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Refusal::new(Code::VaultNotFound, format!("there is no vault at {place}")).cause(error)
        }
        _ => Refusal::new(Code::VaultForbidden, format!("{place} cannot be opened")).cause(error),
    })?;
    Ok(Arc::new(store))
}

/// Finds a vault and its key, and authenticates `vault.json`. Only reads.
///
/// # Errors
/// DV406 where there is no vault, DV301 to DV305 where there is no usable key.
pub fn find(access: &Access) -> Result<Found> {
    let store = match &access.store {
        Some(store) => Arc::clone(store),
        None => open_store(&access.vault)?,
    };
    let bytes = read_small(&*store, layout::CONFIG, limits::CONFIG_BYTES_MAX);
    if let Err(error) = &bytes
        && unreadable_code(error) == Code::VaultForbidden
    {
        return Err(read_error(&*store, layout::CONFIG, error).into());
    }
    if let Err(error) = &bytes
        && error.kind() == io::ErrorKind::NotFound
        && store.list(layout::SNAPSHOTS).is_err()
        && store.list(layout::PACKS).is_err()
    {
        return refuse(
            Code::VaultNotFound,
            format!("{} is not a vault: it holds no {}", store.describe(), layout::CONFIG),
        );
    }
    let claimed = bytes.as_ref().ok().and_then(|bytes| claimed_vault(bytes));
    let named = access.key_file.as_deref();
    let key = match key::find(&access.host, named, claimed, store.local_path()) {
        Err(Error::Refused(refusal)) if refusal.code == Code::KeyMissing && named.is_none() && claimed.is_none() => {
            let cause = bytes.err().map_or_else(|| "it names no vault".to_owned(), |error| error.to_string());
            return Err(Refusal::new(Code::ConfigForged, format!("{} in {} is damaged", layout::CONFIG, store.describe()))
                .cause(cause)
                .next("name the key to look further: `devvault verify --key-file FILE`; put back vault.json from another copy")
                .into());
        }
        other => other?,
    };
    let macs = Arc::new(Macs::new(key.key.secret(), key.key.vault));
    let config = bytes.map_err(|error| finding(layout::CONFIG, error)).and_then(|bytes| {
        let tag = read_small(&*store, layout::CONFIG_MAC, limits::MAC_FILE_BYTES)
            .map_err(|error| finding(layout::CONFIG_MAC, error))?;
        check_config(&bytes, &tag, &macs, &key)
    });
    Ok(Found { store, key, macs, config })
}

/// Reads a small file, a second time where the medium fails the first.
fn read_small(store: &dyn Store, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    match store.read(name, bytes_max) {
        Err(error) if is_of_the_medium(&error) => store.read(name, bytes_max),
        other => other,
    }
}

/// Returns whether an error tells of the medium, and nothing of what the file is or who may read it.
fn is_of_the_medium(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    ![InvalidData, IsADirectory, NotADirectory, NotFound, PermissionDenied].contains(&error.kind())
}

fn finding(name: &str, error: io::Error) -> Finding {
    if error.kind() == io::ErrorKind::PermissionDenied || is_of_the_medium(&error) {
        return unreadable(name, &error);
    }
    Finding::new(Code::ConfigForged, name, error)
}

fn check_config(bytes: &[u8], tag: &[u8], macs: &Macs, key: &FoundKey) -> Result<(Config, Digest), Finding> {
    let verified = decode_mac_file(tag).is_some_and(|tag| macs.verifies(Domain::Config, 0, bytes, &tag));
    if !verified {
        // Not authentic: what the bytes claim decides only between two words for no.
        if let Ok(config) = Config::decode(bytes)
            && config.key_id != key.key.key_id
        {
            let detail =
                format!("the key file {} holds another key than this vault was made with", shown_path(&key.path));
            return Err(Finding::new(Code::KeyWrong, layout::CONFIG, detail));
        }
        return Err(Finding::new(Code::ConfigForged, layout::CONFIG, "its HMAC does not match"));
    }
    match Config::decode(bytes) {
        Ok(config) if config.vault == macs.vault() && config.key_id == key.key.key_id => {
            Ok((config, Digest::of(bytes)))
        }
        Ok(_) => Err(Finding::new(Code::ConfigForged, layout::CONFIG, "it contradicts the key")),
        Err(BadConfig::Unknown(what)) => Err(Finding::new(Code::FormatUnknown, layout::CONFIG, what)),
        Err(BadConfig::Malformed(reason)) => Err(Finding::new(Code::ConfigForged, layout::CONFIG, reason)),
    }
}

/// A vault that authenticates, with its chain as far as it does.
pub struct Vault {
    /// Where it lies.
    pub store: Arc<dyn Store>,
    /// The key and where it came from.
    pub key: FoundKey,
    /// Authenticates everything in it.
    pub macs: Arc<Macs>,
    /// What `vault.json` says.
    pub config: Config,
    /// The digest of the exact bytes of `vault.json`.
    pub config_digest: Digest,
    /// Who this host is, if it has an id: whose source a path is.
    pub host: Option<Id>,
    /// Gives the bytes of names that are drawn.
    pub random: Arc<dyn Random>,
    /// The records, and what is wrong with them.
    pub chain: Chain,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// Why this host's witness cannot be trusted, if so; what a number names is as authentic without it.
    pub doubt: Option<Finding>,
    /// What should be said about key, witness or state, in words.
    pub notes: Vec<String>,
}

/// Opens a vault for reading; findings in the chain do not stop it.
///
/// # Errors
/// Whatever [`find`] refuses; DV307 or DV308 where `vault.json` is not authentic or not known; DV317 where the expected
/// head does not occur. A witness that cannot be trusted does not stop it: see [`Vault::doubt`].
pub fn open(access: &Access) -> Result<Vault> {
    read_chain(access, find(access)?)
}

/// Opens a vault for writing: takes the writer's lock first, so that the chain cannot move on while it is held.
///
/// # Errors
/// Whatever [`open`] refuses; DV404 where another process writes, DV402 where the vault may not be written; any finding
/// in the chain; DV313 or DV314 where this copy is behind the witness; DV315 where the witness cannot be trusted; DV316
/// where it is lost.
pub fn open_for_writing(access: &Access) -> Result<(Vault, WriteLock)> {
    let found = find(access)?;
    if let Err(finding) = found.config {
        return Err(finding.into());
    }
    let lock = WriteLock::take(&found.store, access)?;
    let vault = read_chain(access, found)?;
    vault.require_sound_chain()?;
    vault.require_witness(access)?;
    Ok((vault, lock))
}

/// Opens a vault to amend its chain under a permit: the chain may have findings and be behind, which is what the permit
/// is for; whoever amends checks that it is for exactly that.
///
/// # Errors
/// Whatever [`open`] refuses; DV404 where another process writes, DV402 where the vault may not be written.
pub fn open_to_amend(access: &Access, _permit: &Permit) -> Result<(Vault, WriteLock)> {
    let found = find(access)?;
    if let Err(finding) = found.config {
        return Err(finding.into());
    }
    let lock = WriteLock::take(&found.store, access)?;
    Ok((read_chain(access, found)?, lock))
}

/// Opens a vault to remove something that was cleared; its chain may have findings.
///
/// # Errors
/// As [`open_to_amend`].
pub fn open_to_sweep(access: &Access, _clearance: &Clearance) -> Result<(Vault, WriteLock)> {
    let found = find(access)?;
    if let Err(finding) = found.config {
        return Err(finding.into());
    }
    let lock = WriteLock::take(&found.store, access)?;
    Ok((read_chain(access, found)?, lock))
}

fn read_chain(access: &Access, found: Found) -> Result<Vault> {
    let (config, config_digest) = found.config?;
    let witness = witness::read(&access.host, &found.macs);
    let chain = Chain::read(&*found.store, &found.macs, Some(config_digest))
        .map_err(|error| read_error(&*found.store, layout::SNAPSHOTS, &error))?;
    let mut notes: Vec<String> = found.key.note.iter().cloned().collect();
    let (freshness, doubt) = match judge(access, witness, &chain, &mut notes) {
        Err(Error::Refused(refusal)) if refusal.code == Code::WitnessUnreadable => {
            notes.push(format!("freshness is unproven: {}", refusal.message));
            (Freshness::Unproven, Some(witness_finding(access, &found.macs, &refusal)))
        }
        other => (other?, None),
    };
    Ok(Vault {
        store: found.store,
        key: found.key,
        macs: found.macs,
        config,
        config_digest,
        host: own_id(access),
        random: Arc::clone(&access.random),
        chain,
        freshness,
        doubt,
        notes,
    })
}

/// Returns the id of this host, if it has one that can be read.
pub fn own_id(access: &Access) -> Option<Id> {
    access.host.known_identity().ok().flatten().map(|host| host.id)
}

fn witness_finding(access: &Access, macs: &Macs, refusal: &Refusal) -> Finding {
    let path = access.host.witness_path(macs.vault());
    Finding::new(refusal.code, shown_path(&path), refusal.causes.join("; "))
}

/// Decides how a chain stands to this host's witness and to the head that the operator expects.
///
/// The witness is read before the chain: what another process publishes between the two is in the chain then, and a chain
/// that lacks what the witness knows is an older one.
///
/// # Errors
/// DV315 where the witness cannot be trusted and no expected head stands in for it; DV317 where that head does not
/// occur in the chain.
pub fn judge(
    access: &Access,
    witness: Result<Option<Witness>>,
    chain: &Chain,
    notes: &mut Vec<String>,
) -> Result<Freshness> {
    if let Some(expected) = &access.expect_head
        && !chain.holds(expected)
    {
        let message =
            format!("the expected head {expected} does not occur in the chain, whose head is {}", chain.head());
        return refuse(Code::HeadUnexpected, message);
    }
    let witness = match witness {
        Ok(witness) => witness,
        Err(error) if access.expect_head.is_some() => {
            notes.push(format!("the expected head stands in for the witness ({error})"));
            None
        }
        Err(error) => return Err(error),
    };
    Ok(match witness::freshness(witness.as_ref(), chain) {
        Freshness::Unproven | Freshness::Looked { .. } if access.expect_head.is_some() => Freshness::Proven,
        other => other,
    })
}

/// Returns whether this host made the key, and with it the vault, but has no witness of it and no head to expect.
///
/// # Errors
/// This host's id cannot be read.
pub fn witness_lost(access: &Access, key: &FoundKey, freshness: &Freshness) -> Result<bool> {
    let made_here = access.host.known_identity()?.is_some_and(|host| host.id == key.key.host);
    Ok(made_here && *freshness == Freshness::Unproven)
}

/// Remembers the head of a sound chain. Returns what stood against it, in words.
///
/// A lost witness is not made anew by looking: the next write could no longer tell that it was lost.
pub fn remember(access: &Access, key: &FoundKey, macs: &Macs, chain: &Chain, freshness: &Freshness) -> Option<String> {
    let advanced = witness_lost(access, key, freshness).and_then(|lost| match lost {
        true => Ok(Some(
            "the witness was not made anew: this host made the key and should have one; \
            --expect-head HEAD says that this copy is the newest"
                .to_owned(),
        )),
        false => witness::advance(&access.host, macs, chain, By::of(access.expect_head.as_ref()), access.clock.now())
            .map(|()| None),
    });
    advanced.unwrap_or_else(|error| Some(format!("the witness was not advanced: {error}")))
}

impl Vault {
    /// Refuses unless the chain is sound and as new as this host has seen: for writing, and for the word `latest`.
    ///
    /// # Errors
    /// The first finding of the chain as a refusal; DV313 or DV314 where this copy is behind the witness; DV315 where
    /// the witness cannot be trusted.
    pub fn require_sound_chain(&self) -> Result<()> {
        // First what is wrong with the records: a damaged newest one is also behind, and no older copy.
        if let Some(finding) = self.chain.findings.first().or(self.doubt.as_ref()) {
            return Err(finding.clone().into());
        }
        match self.freshness.refusal(&self.store.describe()) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Makes the catalog of the vault's packs.
    ///
    /// # Errors
    /// DV110 where the directories of packs cannot be listed.
    pub fn catalog(&self, use_index: UseIndex) -> Result<Catalog> {
        Catalog::load(&*self.store, &self.macs, use_index)
            .map_err(|error| read_error(&*self.store, layout::PACKS, &error).into())
    }

    /// Makes a reader that goes by a catalog.
    pub fn reader(&self, catalog: impl Into<Arc<Catalog>>) -> Reader {
        Reader::new(Arc::clone(&self.store), Arc::clone(&self.macs), catalog.into())
    }

    /// Remembers the chain's head, unless the chain has findings or is behind. A failure becomes a note.
    pub fn advance_witness(&mut self, access: &Access) {
        if !self.chain.findings.is_empty() || self.doubt.is_some() || matches!(self.freshness, Freshness::Behind { .. })
        {
            return;
        }
        self.notes.extend(remember(access, &self.key, &self.macs, &self.chain, &self.freshness));
    }

    /// Refuses to write where this host made the key but has lost its witness, unless the operator names the head.
    ///
    /// # Errors
    /// DV316; DV410 where what is to be the state directory is none.
    pub fn require_witness(&self, access: &Access) -> Result<()> {
        if witness_lost(access, &self.key, &self.freshness)? {
            // Where nothing can lie, nothing was lost: whoever is told to name the head would write without a witness.
            access.host.require_state()?;
            return Err(Refusal::new(
                Code::WitnessMissing,
                format!("this host made the key of vault {} but has no witness of it", self.config.vault),
            )
            .cause(format!(
                "without it an older copy of the vault cannot be told from the newest; this copy's head is {}",
                self.chain.head()
            ))
            .into());
        }
        Ok(())
    }
}

/// Takes a shared lock against removals; none on media that have no locks or cannot be written.
///
/// # Errors
/// DV404 where a removal holds the lock.
pub fn read_lock(store: &dyn Store) -> Result<Option<Box<dyn Lock>>> {
    match store.lock(layout::SWEEP_LOCK, false) {
        Ok(None) => refuse(Code::Locked, format!("a removal is under way in {}", store.describe())),
        Ok(lock) => Ok(lock),
        // Verify and restore must work on media without locks, without the lock file, and read-only.
        Err(_) => Ok(None),
    }
}

/// How often the writer's lock is asked for, and how long is waited between.
const LOCK_ATTEMPTS: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The right to write to a vault; while it lives, no other writer has it.
pub struct WriteLock {
    _lock: Box<dyn Lock>,
    store: Arc<dyn Store>,
}

#[derive(serde::Serialize)]
struct Holder<'a> {
    host: &'a str,
    pid: u32,
    since: String,
}

impl WriteLock {
    /// Takes the writer's lock and leaves word of who holds it.
    fn take(store: &Arc<dyn Store>, access: &Access) -> Result<Self> {
        let taken = lock_patiently(&**store).map_err(|error| {
            let refusal = write_error(&**store, layout::LOCK, &error);
            if error.kind() != io::ErrorKind::NotFound {
                return refusal;
            }
            // Tools that copy a vault without its empty files lose it.
            let place = store.local_path().map_or_else(|| layout::LOCK.into(), |place| place.join(layout::LOCK));
            refusal.next(format!(
                "put back the empty file {}: two writers at once would harm the vault without it",
                shown_path(&place)
            ))
        })?;
        let Some(lock) = taken else {
            let holder = store.read(layout::LOCK_HOLDER, limits::CONFIG_BYTES_MAX).unwrap_or_default();
            let holder = crate::path::shown(&holder);
            return Err(Refusal::new(Code::Locked, format!("another process writes to {}", store.describe()))
                .cause(format!("it left word: {}", if holder.is_empty() { "nothing" } else { holder.as_str() }))
                .into());
        };
        // Whoever left word before is gone: the lock was free.
        let _ = store.remove_file(layout::LOCK_HOLDER);
        let host = access.host.known_identity()?.map(|host| host.name).unwrap_or_default();
        let word = json::encode(&Holder { host: &host, pid: std::process::id(), since: access.clock.now().rfc3339() });
        if let Ok(mut file) = store.create(layout::LOCK_HOLDER) {
            // For people only; the lock is what excludes.
            let _ = file.write(&word);
        }
        Ok(Self { _lock: lock, store: Arc::clone(store) })
    }
}

/// Takes the writer's lock, a few times: whoever looks whether somebody writes holds it for an instant.
fn lock_patiently(store: &dyn Store) -> io::Result<Option<Box<dyn Lock>>> {
    for _ in 1..LOCK_ATTEMPTS {
        if let Some(lock) = store.lock(layout::LOCK, true)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    store.lock(layout::LOCK, true)
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        let _ = self.store.remove_file(layout::LOCK_HOLDER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::crypto::{Id, Secret};
    use crate::format::config::Parameters;
    use crate::format::keyfile::KeyFile;
    use crate::vault::chain::encode_mac_file;

    #[test]
    fn a_config_that_authenticates_must_also_name_this_vault_and_this_key() {
        let (vault, secret) = (Id([1; 16]), || Secret::from_bytes([3; 32]));
        let macs = Macs::new(&secret(), vault);
        let key = KeyFile::new(secret(), vault, Id([2; 16]), Time::default());
        let key = FoundKey { key, path: PathBuf::from("a.key"), note: None };
        let config =
            |vault, secret: Secret| Config::new(vault, secret.key_id(), Time::default(), Parameters::default());
        let check = |config: &Config| {
            let bytes = config.encode();
            let tag = encode_mac_file(macs.tag(Domain::Config, 0, &bytes));
            check_config(&bytes, &tag, &macs, &key).map(|(config, _)| config).map_err(|finding| finding.code)
        };
        let good = config(vault, secret());
        assert_eq!(check(&good).as_ref(), Ok(&good));
        assert_eq!(check(&config(Id([9; 16]), secret())), Err(Code::ConfigForged));
        assert_eq!(check(&config(vault, Secret::from_bytes([4; 32]))), Err(Code::ConfigForged));
    }
}
