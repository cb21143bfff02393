//! Choosing a snapshot: by number, `latest`, or `latest:SOURCE`, with an optional path below it.

use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;

use crate::crypto::Id;
use crate::error::{Error, Result, refuse};
use crate::format::record::{Fate, Snapshot};
use crate::path::{EntryPath, shown, unshown};
use crate::refusal::{Code, Refusal};
use crate::vault::chain::Chain;
use crate::vault::gate::Vault;
use crate::vault::witness::Freshness;

/// Names a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By its number: works on an older copy of the vault too.
    Number(u64),
    /// The newest, of all sources or of one.
    Latest(Option<String>),
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest(None));
        }
        if let Some(source) = text.strip_prefix("latest:")
            && !source.is_empty()
        {
            return Ok(Self::Latest(Some(source.to_owned())));
        }
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self::Number(number)),
            _ => Err("a snapshot is a number, `latest`, or `latest:SOURCE`".into()),
        }
    }
}

/// Names a snapshot and something in it: `SNAP` or `SNAP:PATH`. After `latest:` stands a source, so that a path in the
/// newest snapshot is named by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The snapshot.
    pub snapshot: Selector,
    /// The entry; the root for the whole snapshot.
    pub path: EntryPath,
}

impl Place {
    /// Parses a word as the system hands it over: a path in a snapshot may have any bytes.
    ///
    /// # Errors
    /// Why it names no place, in words.
    pub fn parse(word: &OsStr) -> Result<Self, String> {
        let bytes = word.as_encoded_bytes();
        let snapshot = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<Selector>();
        let whole = |snapshot| Self { snapshot, path: EntryPath::root() };
        let colon = bytes.iter().position(|&byte| byte == b':').filter(|_| !bytes.starts_with(b"latest"));
        let Some(colon) = colon else {
            // What is no text must not become the name of another source.
            let text = std::str::from_utf8(bytes).map_err(|_| "the name of a source must be UTF-8 here".to_owned())?;
            return text.parse().map(whole);
        };
        let mut path = &bytes[colon + 1..];
        path = path.strip_prefix(b"./").unwrap_or(path);
        while let Some(rest) = path.strip_prefix(b"/") {
            path = rest;
        }
        while let Some(rest) = path.strip_suffix(b"/") {
            path = rest;
        }
        let path = if path == b"." { b"" } else { path };
        // A name that is shown by escapes may be longer than a name can be.
        let shown = |_: &_| unshown(path).and_then(|bytes| EntryPath::parse(&bytes).ok());
        let path = EntryPath::parse(path).or_else(|error| shown(&error).ok_or_else(|| error.to_string()))?;
        Ok(Self { snapshot: snapshot(&bytes[..colon])?, path })
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text.as_ref())
    }
}

/// A source and the host it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    /// The host's name.
    pub host: String,
    /// The host's id.
    pub host_id: Id,
    /// The canonical path on it, as bytes.
    pub path: Vec<u8>,
}

impl SourceName {
    /// Returns the source of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { host: snapshot.host.name.clone(), host_id: snapshot.host.id, path: snapshot.source.clone() }
    }
}

/// Returns the snapshot that a selector names.
///
/// # Errors
/// `latest` needs a sound chain that is as new as this host has seen; a number needs only its own record. DV112 where
/// there is none, DV313 or DV314 where this host has seen it, DV113 where it is gone, and the record's own finding where
/// it is damaged.
pub fn select<'a>(vault: &'a Vault, selector: &Selector) -> Result<(u64, &'a Snapshot)> {
    if matches!(selector, Selector::Latest(_)) {
        vault.require_sound_chain()?;
    }
    let place = vault.store.describe();
    let number = resolve(&vault.chain, selector, vault.host, &place)
        .map_err(|error| seen(error, &vault.freshness, selector, &place))?;
    let snapshot = vault.chain.snapshot(number).expect("a resolved number is a snapshot");
    Ok((number, snapshot))
}

/// Turns the refusal that there is no snapshot of a number into the one that this host has seen it, where it has: who
/// looks for what was there yesterday has mistyped nothing.
pub fn seen(error: Error, freshness: &Freshness, selector: &Selector, place: &str) -> Error {
    match (error.code(), selector) {
        (Some(Code::NoSuchSnapshot), Selector::Number(number)) if freshness.lacks(*number) => {
            freshness.refusal(place).map_or(error, Error::from)
        }
        _ => error,
    }
}

/// Returns the number of the snapshot that a selector names, whatever else is wrong with the chain. A source is one of `host`
/// where that has it.
///
/// # Errors
/// DV112 where there is none, or where a source is one of several other hosts, DV113 where it is gone, and the record's own finding where it is damaged.
pub fn resolve(chain: &Chain, selector: &Selector, host: Option<Id>, place: &str) -> Result<u64> {
    match selector {
        Selector::Number(number) => by_number(chain, *number, place),
        Selector::Latest(Some(source)) => latest_of(chain, source, host, place),
        Selector::Latest(None) => chain
            .snapshots()
            .next_back()
            .map(|(number, _)| number)
            .ok_or_else(|| Refusal::new(Code::NoSuchSnapshot, format!("there is no snapshot in {place}")).into()),
    }
}

fn by_number(chain: &Chain, number: u64, place: &str) -> Result<u64> {
    if chain.snapshot(number).is_some() {
        return Ok(number);
    }
    if let Some(finding) = chain.findings.iter().find(|finding| finding.snapshots.contains(&number)) {
        return Err(finding.clone().into());
    }
    if let Some(gone) = chain.gone(number) {
        let fate = match gone.fate {
            Fate::Removed => "removed",
            Fate::Lost => "declared lost",
        };
        return refuse(Code::SnapshotRemoved, format!("snapshot {number} was {fate}"));
    }
    refuse(Code::NoSuchSnapshot, format!("there is no snapshot {number} in {place}"))
}

fn latest_of(chain: &Chain, source: &str, host: Option<Id>, place: &str) -> Result<u64> {
    // A source that exists here is compared by its real path, another one by what was recorded.
    let real = Path::new(source).canonicalize().ok();
    let is_wanted = |snapshot: &Snapshot| {
        snapshot.source == source.as_bytes()
            || real.as_ref().is_some_and(|real| snapshot.source == real.as_os_str().as_encoded_bytes())
    };
    let wanted = || chain.snapshots().rev().filter(|(_, snapshot)| is_wanted(snapshot));
    if let Some((number, _)) = wanted().find(|(_, snapshot)| Some(snapshot.host.id) == host) {
        return Ok(number);
    }
    // Two hosts may have the same path, and it is not for a restore to choose.
    let mut newest: Vec<(u64, &Snapshot)> = Vec::new();
    for (number, snapshot) in wanted() {
        if newest.iter().all(|(_, other)| other.host.id != snapshot.host.id) {
            newest.push((number, snapshot));
        }
    }
    let shown_source = shown(source.as_bytes());
    match newest[..] {
        [(number, _)] => Ok(number),
        [] => {
            let refusal =
                Refusal::new(Code::NoSuchSnapshot, format!("there is no snapshot of {shown_source} in {place}"));
            // A path below a source that is known was meant for its newest snapshot.
            let below = |snapshot: &Snapshot| {
                let rest = source.as_bytes().strip_prefix(&snapshot.source[..])?;
                rest.strip_prefix(b":").or_else(|| rest.strip_prefix(b"/")).map(shown)
            };
            let known = chain.snapshots().rev().find_map(|(number, snapshot)| Some((number, below(snapshot)?)));
            let newest = chain.snapshots().next_back().map(|(newest, _)| (newest, shown_source));
            Err(match known.or(newest) {
                Some((number, path)) => refusal.next(format!(
                    "list the snapshots: `devvault snapshots`; after `latest:` stands a source, so that a path in a \
                     snapshot reads {number}:{path}"
                )),
                None => refusal,
            }
            .into())
        }
        _ => {
            let of: Vec<String> = newest
                .iter()
                .map(|(number, snapshot)| {
                    let (name, id) = (shown(snapshot.host.name.as_bytes()), snapshot.host.id);
                    format!("snapshot {number} is the newest of it on {name} (host {id})")
                })
                .collect();
            let message =
                format!("{shown_source} is a source of {} hosts in {place}, and not of this one", newest.len());
            Err(Refusal::new(Code::NoSuchSnapshot, message)
                .cause(of.join("; "))
                .next("name the snapshot that is meant by its number")
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_have_exactly_three_forms() {
        assert_eq!("42".parse(), Ok(Selector::Number(42)));
        assert_eq!("latest".parse(), Ok(Selector::Latest(None)));
        assert_eq!("latest:/a:b".parse(), Ok(Selector::Latest(Some("/a:b".into()))));
        for bad in ["", "0", "-1", "latests", "latest:", "1.5", "newest"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_names_an_entry_below_a_snapshot() {
        let place: Place = "3:src/main.rs/".parse().expect("valid");
        assert_eq!((place.snapshot, place.path.to_string()), (Selector::Number(3), "src/main.rs".into()));
        assert!("3:".parse::<Place>().expect("valid").path.is_root());
        assert!("3:../x".parse::<Place>().is_err());
    }
}
