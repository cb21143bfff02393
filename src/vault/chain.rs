//! The chain: every record of a vault, each continuing the one before.
//!
//! Reading it collects findings instead of stopping, so that `verify` can tell everything that is wrong; whoever needs
//! a sound chain refuses on the first. Nothing is parsed before its tag has verified.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::Finding;
use super::layout;
use crate::crypto::{Digest, MAC_BYTES, Macs};
use crate::format::record::{BadRecord, Body, Branch, Gone, Head, Record, RecordKind, Snapshot};
use crate::fsys::{self, replace};
use crate::limits;
use crate::refusal::Code;
use crate::store::{NameKind, Store};

/// One authentic record.
#[derive(Debug)]
pub struct Link {
    /// The digest of its exact bytes.
    pub digest: Digest,
    /// Its kind.
    pub kind: RecordKind,
    /// The length of its bytes.
    pub bytes: u64,
    /// What it says.
    pub record: Record,
}

/// The records of a vault, as far as they authenticate, and what is wrong with the rest.
#[derive(Debug, Default)]
pub struct Chain {
    links: BTreeMap<u64, Link>,
    gone: BTreeMap<u64, Gone>,
    config: Option<Digest>,
    // What is left of `DIAGNOSIS_BYTES_MAX`.
    diagnosis_bytes: u64,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Directories of snapshots that were never finalized.
    pub incomplete: Vec<String>,
    /// Names in the directory of records that stand for nothing.
    pub foreign: Vec<String>,
}

/// What stands for the digest of a record that was declared lost by who did not know it either.
pub const UNKNOWN: Digest = Digest([0; 32]);

/// How many bytes may be authenticated again, in one reading of the chain, to find the numbers that misplaced records
/// belong to.
const DIAGNOSIS_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a record and what they were found to be.
enum Read {
    Authentic(RecordKind, Vec<u8>),
    /// Nothing that could be a record is left; the number counts as missing.
    Nothing,
}

/// A record as it lies in its directory, not authenticated yet.
struct StoredRecord {
    kind: RecordKind,
    bytes: Vec<u8>,
    tag: Option<[u8; MAC_BYTES]>,
    // A name that does not belong there, escaped.
    extra: Option<String>,
}

/// Why a directory gives no record.
enum Unread {
    /// The directory is not there.
    Gone,
    /// What is wrong with it.
    Found(Code, String),
    /// This process can open nothing more, which says nothing of it.
    Exhausted(io::Error),
}

impl Unread {
    fn of(error: io::Error, detail: String) -> Self {
        if fsys::lacks_means(&error) { Self::Exhausted(error) } else { Self::Found(Code::VaultUnreadable, detail) }
    }
}

impl StoredRecord {
    fn read(store: &dyn Store, directory: &str) -> Result<Self, Unread> {
        let names = match store.list(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unread::Gone),
            Err(error) => {
                let detail = error.to_string();
                return Err(Unread::of(error, detail));
            }
        };
        let kinds: Vec<RecordKind> = RecordKind::ALL
            .into_iter()
            .filter(|kind| names.iter().any(|listed| listed.name == layout::record_file(*kind)))
            .collect();
        let [kind] = kinds[..] else {
            let detail = if kinds.is_empty() { "it holds no record" } else { "it holds more than one record" };
            return Err(Unread::Found(Code::RecordIncomplete, detail.into()));
        };
        let (file, mac_file) = (layout::record_file(kind), layout::record_mac_file(kind));
        let extra = names.iter().find(|listed| listed.name != file && listed.name != mac_file);
        let extra = extra.map(|extra| crate::path::shown(extra.name.as_bytes()));
        if names.iter().all(|listed| listed.name != mac_file) {
            return Err(Unread::Found(Code::RecordIncomplete, format!("{mac_file} is missing")));
        }
        let read = |name: &str, bytes_max| {
            store.read(&format!("{directory}/{name}"), bytes_max).map_err(|error| {
                let detail = format!("{name}: {error}");
                Unread::of(error, detail)
            })
        };
        let bytes = read(&file, limits::RECORD_BYTES_MAX)?;
        let tag = decode_mac_file(&read(&mac_file, limits::MAC_FILE_BYTES)?);
        Ok(Self { kind, bytes, tag, extra })
    }
}

/// Reads a record that is about to be published from the medium, as every reader will: its directory holds exactly the
/// record and its tag, and they authenticate under the number that they are to have. Returns the record's bytes.
///
/// # Errors
/// Whatever a reader of the chain would find; DV107 for a name that does not belong there.
pub(super) fn read_draft(store: &dyn Store, macs: &Macs, directory: &str, number: u64) -> Result<Vec<u8>, Finding> {
    for listed in store.list(directory).unwrap_or_default() {
        // Asked, not relied on: a medium that cannot be asked is read all the same.
        let _ = store.open(&format!("{directory}/{}", listed.name)).map(|file| file.drop_cached());
    }
    let stored = StoredRecord::read(store, directory).map_err(|unread| match unread {
        Unread::Gone => Finding::new(Code::RecordMissing, directory, "the directory is not there"),
        Unread::Found(code, detail) => Finding::new(code, directory, detail),
        Unread::Exhausted(error) => super::unreadable(directory, &error),
    })?;
    if let Some(extra) = stored.extra {
        let detail = format!("it holds {extra}, which does not belong there");
        return Err(Finding::new(Code::RecordIncomplete, directory, detail));
    }
    match stored.tag {
        Some(tag) if macs.verifies(stored.kind.domain(), number, &stored.bytes, &tag) => Ok(stored.bytes),
        _ => Err(Finding::new(Code::RecordForged, directory, "its HMAC does not match")),
    }
}

impl Chain {
    /// Reads the whole chain. Where something is wrong it is read a second time: what another process finished
    /// meanwhile is no finding, and what reads differently now is reported as unstable.
    ///
    /// # Errors
    /// The directory of records cannot be listed, or this process can open nothing more.
    pub fn read(store: &dyn Store, macs: &Macs, config: Option<Digest>) -> io::Result<Self> {
        let first = Self::read_once(store, macs, config)?;
        if first.findings.is_empty() {
            return Ok(first);
        }
        let mut second = Self::read_once(store, macs, config)?;
        let fleeting = |finding: &&Finding| {
            !matches!(finding.code, Code::RecordMissing | Code::RecordIncomplete)
                && second.findings.iter().all(|other| other.subject != finding.subject)
                && second.links.keys().any(|number| finding.snapshots.contains(number))
        };
        let unstable: Vec<Finding> = first
            .findings
            .iter()
            .filter(fleeting)
            .map(|finding| Finding {
                detail: format!("the first read failed ({}), the second succeeded", finding.detail),
                code: Code::Unstable,
                ..finding.clone()
            })
            .collect();
        second.findings.extend(unstable);
        Ok(second)
    }

    fn read_once(store: &dyn Store, macs: &Macs, config: Option<Digest>) -> io::Result<Self> {
        let mut chain = Self { config, diagnosis_bytes: DIAGNOSIS_BYTES_MAX, ..Self::default() };
        let mut numbers = Vec::new();
        for listed in store.list(layout::SNAPSHOTS)? {
            match layout::record_number(&listed.name) {
                Some(number) => numbers.push((number, listed.kind)),
                None if listed.name.starts_with(layout::INCOMPLETE_PREFIX) => chain.incomplete.push(listed.name),
                None => chain.foreign.push(listed.name),
            }
        }
        numbers.sort_unstable_by_key(|(number, _)| *number);
        chain.incomplete.sort_unstable();
        chain.foreign.sort_unstable();
        let highest = numbers.last().map_or(0, |(number, _)| *number);
        for (number, kind) in numbers {
            if kind == NameKind::Directory {
                chain.add(store, macs, number, highest)?;
            } else {
                chain.find(Code::RecordIncomplete, number, "it is not a directory");
            }
        }
        chain.settle_removals();
        chain.check_order();
        Ok(chain)
    }

    fn find(&mut self, code: Code, number: u64, detail: impl std::fmt::Display) {
        self.findings.push(Finding::new(code, layout::record_directory(number), detail).snapshot(number));
    }

    /// Reads one record and files it under its number.
    fn add(&mut self, store: &dyn Store, macs: &Macs, number: u64, highest: u64) -> io::Result<()> {
        if let Read::Authentic(kind, bytes) = self.authenticate(store, macs, number, highest)? {
            self.file(macs, number, kind, &bytes);
        }
        Ok(())
    }

    fn file(&mut self, macs: &Macs, number: u64, kind: RecordKind, bytes: &[u8]) {
        let record = match Record::decode(bytes, kind) {
            Ok(record) => record,
            Err(BadRecord::Unknown(what)) => return self.find(Code::FormatUnknown, number, what),
            Err(BadRecord::Malformed(reason)) => return self.find(Code::RecordDamaged, number, reason),
        };
        if record.vault != macs.vault() {
            return self.find(Code::RecordForeign, number, format!("it names vault {}", record.vault));
        }
        if record.number != number {
            return self.find(Code::RecordMisplaced, number, format!("it is record {}", record.number));
        }
        if self.config.is_some_and(|config| config != record.config) {
            return self.find(Code::ConfigForged, number, "it was made under another vault.json");
        }
        let link = Link { digest: Digest::of(bytes), kind, bytes: bytes.len() as u64, record };
        self.links.insert(number, link);
    }

    fn authenticate(&mut self, store: &dyn Store, macs: &Macs, number: u64, highest: u64) -> io::Result<Read> {
        let stored = match StoredRecord::read(store, &layout::record_directory(number)) {
            Ok(stored) => stored,
            Err(Unread::Gone) => return Ok(Read::Nothing),
            Err(Unread::Found(code, detail)) => {
                self.find(code, number, detail);
                return Ok(Read::Nothing);
            }
            Err(Unread::Exhausted(error)) => return Err(error),
        };
        if let Some(extra) = &stored.extra {
            self.find(Code::RecordIncomplete, number, format!("it holds {extra}, which does not belong there"));
        }
        let StoredRecord { kind, bytes, tag, .. } = stored;
        if let Some(tag) = tag
            && macs.verifies(kind.domain(), number, &bytes, &tag)
        {
            return Ok(Read::Authentic(kind, bytes));
        }
        let (code, detail) = diagnose(macs, kind, &bytes, tag, highest, &mut self.diagnosis_bytes);
        self.find(code, number, detail);
        Ok(Read::Nothing)
    }

    /// Takes out what tombstones cover, from the newest tombstone down: one that is itself covered covers nothing.
    ///
    /// A removal makes its tombstone durable first, so what is gone may still lie there, whole or in part. What is whole
    /// must be what the tombstone names.
    fn settle_removals(&mut self) {
        let mut found = Vec::new();
        let numbers: Vec<u64> = self.links.keys().copied().rev().collect();
        for number in numbers {
            if self.gone.contains_key(&number) {
                continue;
            }
            let Some(Body::Tombstone(tombstone)) = self.links.get(&number).map(|link| &link.record.body) else {
                continue;
            };
            for gone in tombstone.gone.clone() {
                let known = self.gone.entry(gone.number).or_insert_with(|| gone.clone());
                match (known.digest, gone.digest) {
                    (Some(known), Some(digest)) if known != digest => {
                        found.push((number, format!("it and a newer tombstone disagree on record {}", gone.number)));
                    }
                    (None, Some(_)) => known.digest = gone.digest,
                    _ => {}
                }
            }
        }
        for (&number, gone) in &self.gone {
            if let Some(link) = self.links.remove(&number)
                && gone.digest.is_some_and(|digest| digest != link.digest)
            {
                found.push((number, "it is not the record that its tombstone names".into()));
            }
        }
        let gone = &self.gone;
        self.findings.retain(|finding| !finding.snapshots.iter().any(|number| gone.contains_key(number)));
        for (number, detail) in found {
            self.find(Code::ChainBroken, number, detail);
        }
    }

    /// Checks that every number up to the highest is there or accounted for, and continues the one before.
    fn check_order(&mut self) {
        let faulty = self.findings.iter().flat_map(|finding| finding.snapshots.iter().copied());
        let known: BTreeSet<u64> = self.links.keys().chain(self.gone.keys()).copied().chain(faulty).collect();
        let highest = self.links.keys().next_back().copied().unwrap_or(0);
        let mut found = Vec::new();
        let mut next = 1;
        // Gaps, not numbers: a hostile number must not make this long.
        for number in known.into_iter().filter(|&number| number <= highest) {
            if number > next {
                let many = if number - next > 1 { format!(" to {:08}", number - 1) } else { String::new() };
                let detail = format!("{next:08}{many}: the directory is not there, and no tombstone accounts for it");
                found.push((Code::RecordMissing, next, detail));
            }
            next = number + 1;
        }
        for (&number, link) in &self.links {
            if self.digest(number - 1).is_some_and(|digest| digest != link.record.predecessor) {
                found.push((
                    Code::ChainBroken,
                    number,
                    "it names another predecessor than the record before it".into(),
                ));
            }
        }
        for (code, number, detail) in found {
            self.find(code, number, detail);
        }
    }

    /// Returns the digest of a record that is there or gone, as far as it is known; number 0 is `vault.json`.
    pub fn digest(&self, number: u64) -> Option<Digest> {
        if number == 0 {
            return self.config;
        }
        self.links
            .get(&number)
            .map(|link| link.digest)
            .or_else(|| self.gone.get(&number).and_then(|gone| gone.digest))
            .or_else(|| {
                // A lost record's successor still names it.
                self.gone.get(&number)?;
                let named = self.links.get(&(number + 1)).map(|link| link.record.predecessor);
                // Whoever declared it lost did not know it either.
                named.filter(|digest| *digest != UNKNOWN)
            })
    }

    /// Returns the newest record's number and digest; number 0 where there is none.
    pub fn head(&self) -> Head {
        match self.links.last_key_value() {
            Some((&number, link)) => Head { digest: link.digest, number },
            None => Head { digest: self.config.unwrap_or(Digest([0; 32])), number: 0 },
        }
    }

    /// Returns whether a record was declared lost of which nobody knows what it was: no head of that number contradicts it.
    pub fn is_unknown(&self, number: u64) -> bool {
        self.gone.contains_key(&number) && self.digest(number).is_none()
    }

    /// Returns whether nothing in the chain contradicts a head, as far as the record of its number is known.
    pub fn agrees_with(&self, head: &Head) -> bool {
        self.digest(head.number).is_none_or(|digest| digest == head.digest)
    }

    /// Returns whether a head occurs in the chain.
    pub fn holds(&self, head: &Head) -> bool {
        self.digest(head.number) == Some(head.digest)
    }

    /// Returns every authentic record, ascending.
    pub fn links(&self) -> impl DoubleEndedIterator<Item = (u64, &Link)> {
        self.links.iter().map(|(&number, link)| (number, link))
    }

    /// Returns every authentic snapshot, ascending.
    pub fn snapshots(&self) -> impl DoubleEndedIterator<Item = (u64, &Snapshot)> {
        self.links().filter_map(|(number, link)| match &link.record.body {
            Body::Snapshot(snapshot) => Some((number, &**snapshot)),
            _ => None,
        })
    }

    /// Returns one authentic snapshot.
    pub fn snapshot(&self, number: u64) -> Option<&Snapshot> {
        match &self.links.get(&number)?.record.body {
            Body::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        }
    }

    /// Returns what a tombstone says of a number.
    pub fn gone(&self, number: u64) -> Option<&Gone> {
        self.gone.get(&number)
    }

    /// Returns every branch record, ascending.
    pub fn branches(&self) -> impl Iterator<Item = &Branch> {
        self.links.values().filter_map(|link| match &link.record.body {
            Body::Branch(branch) => Some(branch),
            _ => None,
        })
    }
}

/// Decodes a `.hmac` file: 64 hexadecimal digits and a line feed.
pub fn decode_mac_file(bytes: &[u8]) -> Option<[u8; MAC_BYTES]> {
    let digits = bytes.strip_suffix(b"\n")?;
    let digest: Digest = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(digest.0)
}

/// Encodes a `.hmac` file.
pub fn encode_mac_file(tag: [u8; MAC_BYTES]) -> Vec<u8> {
    format!("{}\n", Digest(tag)).into_bytes()
}

/// Returns the vault that a directory claims to be; nothing where its `vault.json` cannot be read or names none.
pub fn claimed_at(place: &Path) -> Option<crate::crypto::Id> {
    claimed_vault(&replace::read(&place.join(layout::CONFIG), limits::CONFIG_BYTES_MAX).ok()?)
}

/// Returns the vault that canonical JSON of a record or of `vault.json` names last, without parsing it.
///
/// The bytes are not authentic: what they claim may choose a key or the words of a refusal, never more.
pub fn claimed_vault(bytes: &[u8]) -> Option<crate::crypto::Id> {
    let rest = bytes.strip_suffix(b"\"}")?;
    let (head, id) = rest.split_at_checked(rest.len().checked_sub(32)?)?;
    head.ends_with(b",\"vault\":\"").then(|| std::str::from_utf8(id).ok()?.parse().ok())?
}

/// Says what a record is whose tag does not verify under its own number: the words differ, the answer is no.
///
/// `bytes_left` is what all such searches together may still authenticate.
fn diagnose(
    macs: &Macs,
    kind: RecordKind,
    bytes: &[u8],
    tag: Option<[u8; MAC_BYTES]>,
    highest: u64,
    bytes_left: &mut u64,
) -> (Code, String) {
    match claimed_vault(bytes) {
        Some(vault) if vault != macs.vault() => {
            return (Code::RecordForeign, format!("it names vault {vault}, this is vault {}", macs.vault()));
        }
        _ => {}
    }
    let Some(tag) = tag else {
        return (Code::RecordForged, "the .hmac file does not hold 64 hexadecimal digits and a line end".into());
    };
    // Beyond the highest number too: the newest record may have been moved down over a deleted one. Bounded, because
    // the numbers, lengths and counts are not authentic and only words depend on the answer.
    let bytes_each = bytes.len() as u64 + 64;
    let tries = (*bytes_left / bytes_each).min(highest.saturating_add(64));
    *bytes_left -= tries * bytes_each;
    let own = (1..=tries).find(|&other| macs.verifies(kind.domain(), other, bytes, &tag));
    match own {
        Some(other) => (Code::RecordMisplaced, format!("it is authentic as record {other}")),
        None => (
            Code::RecordForged,
            "its HMAC does not match: the bytes, the tag or the key are not the original ones".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Id;

    #[test]
    fn the_claimed_vault_is_read_only_where_canonical_json_has_it() {
        let id = Id([0xab; 16]);
        assert_eq!(claimed_vault(format!("{{\"a\":1,\"vault\":\"{id}\"}}").as_bytes()), Some(id));
        for bad in
            [String::new(), format!("{{\"vault\":\"{id}\"}}"), format!("{{\"a\":1,\"vault\":\"{id}\" }}"), "\"}".into()]
        {
            assert_eq!(claimed_vault(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_is_authentic_under_another_number_is_said_to_be_until_the_bytes_for_that_are_used_up() {
        let (vault, kind) = (Id([0xab; 16]), RecordKind::Snapshot);
        let macs = Macs::new(&crate::crypto::Secret::from_bytes([3; 32]), vault);
        let bytes = vec![b'x'; 936];
        let tag = macs.tag(kind.domain(), 70, &bytes);
        let mut left = 150_000;
        let mut told = || diagnose(&macs, kind, &bytes, Some(tag), 10, &mut left);
        // Up to 64 beyond the highest number, a thousand bytes each.
        assert_eq!(told(), (Code::RecordMisplaced, "it is authentic as record 70".into()));
        assert_eq!(told().0, Code::RecordMisplaced);
        assert_eq!(told().0, Code::RecordForged);
        assert_eq!(left, 0);
        assert_eq!(diagnose(&macs, kind, &bytes, None, 10, &mut left).0, Code::RecordForged);
        let foreign = format!("{{\"a\":1,\"vault\":\"{}\"}}", Id([1; 16]));
        assert_eq!(diagnose(&macs, kind, foreign.as_bytes(), Some(tag), 10, &mut left).0, Code::RecordForeign);
    }

    #[test]
    fn a_mac_file_has_one_form() {
        let tag = [7; MAC_BYTES];
        let bytes = encode_mac_file(tag);
        assert_eq!(bytes.len() as u64, limits::MAC_FILE_BYTES);
        assert_eq!(decode_mac_file(&bytes), Some(tag));
        assert_eq!(decode_mac_file(&bytes[..64]), None);
        assert_eq!(decode_mac_file(&[b"A".repeat(64), b"\n".to_vec()].concat()), None);
    }
}
