//! Records: the links of the chain. A snapshot's manifest, a tombstone, a branch.
//!
//! Every record carries the vault, the digest of `vault.json`, its number, and its predecessor's digest (BLAKE3 of the
//! exact bytes; for record 1 the digest of `vault.json`). Its body says what happened.

use serde::{Deserialize, Serialize};

use super::entry::ChunkRef;
use super::entry::{Entry, Kind};
use super::json::{self, TextOrBase64};
use super::listing::{PartRef, check_parts};
use super::{FORMAT_VERSION, Malformed};
use crate::clock::Time;
use crate::crypto::{Digest, Domain, Id};
use crate::limits;
use crate::path::EntryPath;

/// The envelope that all records share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub body: Body,
    /// BLAKE3 of the exact bytes of `vault.json`.
    pub config: Digest,
    /// The record's number, from 1.
    pub number: u64,
    /// BLAKE3 of the exact bytes of the record before.
    pub predecessor: Digest,
    /// The vault.
    pub vault: Id,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A snapshot was taken.
    Snapshot(Box<Snapshot>),
    /// Records were removed or declared lost.
    Tombstone(Tombstone),
    /// An older copy of the vault was continued.
    Branch(Branch),
}

/// Which kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// `manifest.json`.
    Snapshot,
    /// `tombstone.json`.
    Tombstone,
    /// `branch.json`.
    Branch,
}

impl RecordKind {
    /// Every kind of record.
    pub const ALL: [Self; 3] = [Self::Snapshot, Self::Tombstone, Self::Branch];

    /// Returns the name of the record's file, without its ending.
    pub fn stem(self) -> &'static str {
        match self {
            Self::Snapshot => "manifest",
            Self::Tombstone => "tombstone",
            Self::Branch => "branch",
        }
    }

    /// Returns the domain under which the record is authenticated.
    pub fn domain(self) -> Domain {
        match self {
            Self::Snapshot => Domain::Snapshot,
            Self::Tombstone => Domain::Tombstone,
            Self::Branch => Domain::Branch,
        }
    }
}

/// A host as records name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The host's random id, made once.
    pub id: Id,
    /// The host's name; for people.
    pub name: String,
}

/// Decodes a pack-list object.
///
/// # Errors
/// Bytes that are not canonical; no packs or too many; packs that do not ascend by name.
pub fn decode_pack_list(bytes: &[u8]) -> Result<Vec<PackUse>, Malformed> {
    let packs: Vec<PackUse> = json::decode_lines(bytes, limits::PACK_LIST_MAX)?;
    if packs.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(Malformed::new("the packs do not ascend"));
    }
    Ok(packs)
}

/// How much a snapshot holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Bytes of all regular files.
    #[serde(with = "json::unsigned")]
    pub bytes: u64,
    /// Directories, the source itself included.
    #[serde(with = "json::unsigned")]
    pub directories: u64,
    /// Regular files.
    #[serde(with = "json::unsigned")]
    pub files: u64,
    /// Further names of objects that have several; each is counted by its kind too.
    #[serde(default, skip_serializing_if = "is_zero", with = "json::unsigned")]
    pub hardlinks: u64,
    /// Pipes, sockets, devices and junctions.
    #[serde(default, skip_serializing_if = "is_zero", with = "json::unsigned")]
    pub specials: u64,
    /// Symbolic links.
    #[serde(with = "json::unsigned")]
    pub symlinks: u64,
}

impl Counts {
    /// Returns what these hold beyond others, which are part of them.
    pub fn minus(&self, part: &Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(part.bytes),
            directories: self.directories.saturating_sub(part.directories),
            files: self.files.saturating_sub(part.files),
            hardlinks: self.hardlinks.saturating_sub(part.hardlinks),
            specials: self.specials.saturating_sub(part.specials),
            symlinks: self.symlinks.saturating_sub(part.symlinks),
        }
    }

    /// Returns the number of entries.
    pub fn entries(&self) -> u64 {
        self.directories + self.files + self.specials + self.symlinks
    }

    /// Counts an entry.
    pub fn add(&mut self, entry: &Entry) {
        match &entry.kind {
            Kind::Directory => self.directories += 1,
            Kind::File(file) => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(file.size);
            }
            Kind::Symlink(_) => self.symlinks += 1,
            Kind::Junction(_) | Kind::Fifo | Kind::Socket | Kind::Block(..) | Kind::Character(..) => self.specials += 1,
        }
        self.hardlinks += u64::from(entry.hardlink.is_some());
    }

    /// Adds the counts of another part.
    pub fn plus(&mut self, other: &Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.directories += other.directories;
        self.files += other.files;
        self.hardlinks += other.hardlinks;
        self.specials += other.specials;
        self.symlinks += other.symlinks;
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A pack that a snapshot relies on: `["name",length,[seconds,nanos]]`, with when it was last read completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackUse(pub Digest, #[serde(with = "json::unsigned")] pub u64, pub Time);

/// A snapshot's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// How much it holds.
    pub counts: Counts,
    /// When the walk ended.
    pub ended: Time,
    /// The rules by which parts of the source were left out, and how much each of them left out.
    pub excluded: Vec<Exclusion>,
    /// The host that took it.
    pub host: Host,
    /// The newest entry of the host's journal when the snapshot was made; absent where it had none.
    pub journal: Option<Head>,
    /// Files that kept changing and were left out, as the operator had allowed.
    pub left_out: Vec<EntryPath>,
    /// The segment lists, in path order.
    pub lists: Vec<PartRef>,
    /// Packs that it relies on, ascending by name; those written for it have its own `ended` as the time of reading.
    pub packs: Packs,
    /// The program and version that took it.
    pub program: String,
    /// Whether a closing look found nothing changed; absent where none was taken.
    pub quiet: Option<bool>,
    /// The canonical path of the source on its host.
    pub source: Vec<u8>,
    /// When the walk began.
    pub started: Time,
    /// Labels for people.
    pub tags: Vec<String>,
    /// What told unchanged files: names of fields, ascending; empty where every file was read.
    pub unchanged_by: Vec<String>,
}

/// A rule by which parts of a source were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// What kind of rule it is.
    pub by: ExcludedBy,
    /// Where it stands: a file below the source for rules of a tree, a path of the host for `exclude-from`; for other
    /// kinds what it left out. Absent where it was given with the command, or where rules were too many to name each.
    pub from: Option<Vec<u8>>,
    /// The line in that file, from 1.
    pub line: Option<u64>,
    /// How many objects it left out; what lies below an excluded directory is not counted.
    pub objects: u64,
    /// The rule as given; empty where its kind says it all.
    pub rule: String,
}

/// A kind of rule by which parts of a source are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExcludedBy {
    /// The content of a directory that a `CACHEDIR.TAG` marks.
    Caches,
    /// A pattern given with the command.
    Command,
    /// A line of a `.devvaultignore` of the source.
    Devvaultignore,
    /// A line of a file named with the command.
    ExcludeFrom,
    /// A line of a `.gitignore` of the source.
    Gitignore,
    /// Another file system, mounted in the source.
    OneFileSystem,
    /// devvault's own directories, the key in use, and copies of the vault's key.
    Own,
}

impl ExcludedBy {
    /// Returns the kind's name in the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caches => "caches",
            Self::Command => "command",
            Self::Devvaultignore => "devvaultignore",
            Self::ExcludeFrom => "exclude-from",
            Self::Gitignore => "gitignore",
            Self::OneFileSystem => "one-file-system",
            Self::Own => "own",
        }
    }
}

/// The packs that a snapshot relies on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Packs {
    /// Named directly; at most [`limits::MANIFEST_PACKS_MAX`].
    Direct(Vec<PackUse>),
    /// Named by pack-list objects, JSON lines of [`PackUse`].
    Listed(Vec<ChunkRef>),
}

/// Says which records are gone from the vault, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// The records that are gone, ascending by number.
    pub gone: Vec<Gone>,
    /// The host that wrote the tombstone.
    pub host: Host,
    /// Why, in words.
    pub reason: String,
    /// The rule that chose them; empty where a person named them.
    pub rule: String,
    /// When.
    pub time: Time,
}

/// One record that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    /// The digest of its exact bytes; may be absent only for one that was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Removed on purpose, or lost to the medium.
    pub fate: Fate,
    /// Its number.
    pub number: u64,
}

/// How a record came to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Removed by a rule or by a person.
    Removed,
    /// Destroyed by the medium and declared so.
    Lost,
}

/// The head of a chain: a record's number and digest, written `NUMBER:DIGEST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The digest of the record's exact bytes; for number 0 that of `vault.json`.
    pub digest: Digest,
    /// The record's number; 0 where there is none yet.
    pub number: u64,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, self.digest)
    }
}

impl std::str::FromStr for Head {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (number, digest) = text.split_once(':').ok_or_else(|| Malformed::new("a head reads NUMBER:DIGEST"))?;
        let head =
            Self { digest: digest.parse().map_err(Malformed::new)?, number: number.parse().map_err(Malformed::new)? };
        if head.to_string() != text || head.number > limits::RECORD_NUMBER_MAX {
            return Err(Malformed::new("a head reads NUMBER:DIGEST"));
        }
        Ok(head)
    }
}

/// Begins a branch: an older copy of the vault goes on, knowing what it leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// The fresh id of the branch.
    pub branch: Id,
    /// The newest head that the host had witnessed, which this branch abandons.
    pub from: Head,
    /// The host that wrote the record.
    pub host: Host,
    /// Why, in words.
    pub reason: String,
    /// When.
    pub time: Time,
    /// The head of the older copy, which this record continues.
    pub to: Head,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecord<B> {
    body: B,
    config: Digest,
    format: u32,
    kind: RecordKind,
    number: u64,
    predecessor: Digest,
    vault: Id,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPath {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExclusion {
    by: ExcludedBy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::unsigned_option")]
    line: Option<u64>,
    #[serde(with = "json::unsigned")]
    objects: u64,
    rule: String,
}

impl Exclusion {
    fn to_raw(&self) -> RawExclusion {
        let from = self.from.as_deref().map(TextOrBase64::of);
        let (from, from_b64) = from.map_or((None, None), TextOrBase64::into_fields);
        RawExclusion { by: self.by, from, from_b64, line: self.line, objects: self.objects, rule: self.rule.clone() }
    }

    fn from_raw(raw: RawExclusion) -> Result<Self, Malformed> {
        let from = match (raw.from, raw.from_b64) {
            (None, None) => None,
            (text, base64) => Some(TextOrBase64::from_fields(text, base64).into_bytes("from")?),
        };
        if raw.line == Some(0) || (raw.line.is_some() && from.is_none()) {
            return Err(Malformed::new("a line that is 0, or of no file"));
        }
        Ok(Self { by: raw.by, from, line: raw.line, objects: raw.objects, rule: raw.rule })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSnapshot {
    counts: Counts,
    ended: Time,
    excluded: Vec<RawExclusion>,
    host: Host,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<Head>,
    left_out: Vec<RawPath>,
    lists: Vec<PartRef>,
    packs: Packs,
    program: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_b64: Option<String>,
    started: Time,
    tags: Vec<String>,
    unchanged_by: Vec<String>,
}

impl Snapshot {
    fn to_raw(&self) -> RawSnapshot {
        let (source, source_b64) = TextOrBase64::of(&self.source).into_fields();
        let left_out = self.left_out.iter().map(|path| {
            let (path, path_b64) = TextOrBase64::of(path.as_bytes()).into_fields();
            RawPath { path, path_b64 }
        });
        RawSnapshot {
            counts: self.counts,
            ended: self.ended,
            excluded: self.excluded.iter().map(Exclusion::to_raw).collect(),
            host: self.host.clone(),
            journal: self.journal,
            left_out: left_out.collect(),
            lists: self.lists.clone(),
            packs: self.packs.clone(),
            program: self.program.clone(),
            quiet: self.quiet,
            source,
            source_b64,
            started: self.started,
            tags: self.tags.clone(),
            unchanged_by: self.unchanged_by.clone(),
        }
    }

    fn from_raw(raw: RawSnapshot) -> Result<Self, Malformed> {
        let left_out: Vec<EntryPath> = raw
            .left_out
            .into_iter()
            .map(|path| TextOrBase64::from_fields(path.path, path.path_b64).into_path("path"))
            .collect::<Result<_, _>>()?;
        let snapshot = Self {
            counts: raw.counts,
            ended: raw.ended,
            excluded: raw.excluded.into_iter().map(Exclusion::from_raw).collect::<Result<_, _>>()?,
            host: raw.host,
            journal: raw.journal,
            left_out,
            lists: raw.lists,
            packs: raw.packs,
            program: raw.program,
            quiet: raw.quiet,
            source: TextOrBase64::from_fields(raw.source, raw.source_b64).into_bytes("source")?,
            started: raw.started,
            tags: raw.tags,
            unchanged_by: raw.unchanged_by,
        };
        snapshot.check()?;
        Ok(snapshot)
    }

    fn check(&self) -> Result<(), Malformed> {
        let counts = &self.counts;
        let Counts { bytes, directories, files, hardlinks, specials, symlinks } = *counts;
        if [bytes, directories, files, hardlinks, specials, symlinks].iter().any(|&count| count > limits::COUNT_MAX) {
            return Err(Malformed::new("a count is too large"));
        }
        if self.journal.is_some_and(|head| head.number == 0 || head.number > limits::JSON_INTEGER_MAX) {
            return Err(Malformed::new("the journal's number is out of bounds"));
        }
        if self.lists.is_empty() || self.lists.len() > limits::MANIFEST_LISTS_MAX {
            return Err(Malformed::new("no segment list, or too many"));
        }
        if self.excluded.len() > limits::MANIFEST_EXCLUSIONS_MAX {
            return Err(Malformed::new("too many rules are named"));
        }
        if !self.lists[0].first.is_root() {
            return Err(Malformed::new("the listing does not begin with the source itself"));
        }
        check_parts(&self.lists, counts.entries())?;
        match &self.packs {
            Packs::Direct(packs) if packs.len() > limits::MANIFEST_PACKS_MAX => {
                Err(Malformed::new("too many packs are named directly"))
            }
            Packs::Direct(packs) if packs.windows(2).any(|pair| pair[0].0 >= pair[1].0) => {
                Err(Malformed::new("the packs do not ascend"))
            }
            Packs::Listed(lists) if lists.is_empty() || lists.len() > limits::MANIFEST_PACKS_MAX => {
                Err(Malformed::new("no pack list, or too many"))
            }
            Packs::Listed(lists) if lists.iter().any(|list| list.1 == 0 || list.1 > limits::OBJECT_BYTES_MAX) => {
                Err(Malformed::new("a pack list is empty or too long"))
            }
            _ => Ok(()),
        }
    }
}

impl Branch {
    fn check(&self, number: u64, predecessor: Digest) -> Result<(), Malformed> {
        if (Head { digest: predecessor, number: number.wrapping_sub(1) }) != self.to {
            return Err(Malformed::new("a branch continues another record than its predecessor"));
        }
        if self.from.number > limits::RECORD_NUMBER_MAX || self.from == self.to {
            return Err(Malformed::new("a branch abandons nothing"));
        }
        Ok(())
    }
}

impl Tombstone {
    fn check(&self, number: u64) -> Result<(), Malformed> {
        if self.gone.is_empty() || self.gone.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(Malformed::new("a tombstone names nothing, or not in order"));
        }
        for gone in &self.gone {
            if gone.number == 0 || gone.number >= number {
                return Err(Malformed::new("a tombstone names a record that does not come before it"));
            }
            if gone.digest.is_none() && gone.fate == Fate::Removed {
                return Err(Malformed::new("a removed record without its digest"));
            }
        }
        Ok(())
    }
}

/// Why authentic bytes are no usable record.
#[derive(Debug)]
pub enum BadRecord {
    /// They are not what the format allows.
    Malformed(Malformed),
    /// A newer version wrote them.
    Unknown(String),
}

impl From<Malformed> for BadRecord {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Record {
    /// Returns the kind of the record.
    pub fn kind(&self) -> RecordKind {
        match self.body {
            Body::Snapshot(_) => RecordKind::Snapshot,
            Body::Tombstone(_) => RecordKind::Tombstone,
            Body::Branch(_) => RecordKind::Branch,
        }
    }

    /// Returns the exact bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        match &self.body {
            Body::Snapshot(snapshot) => json::encode(&self.raw(snapshot.to_raw())),
            Body::Tombstone(tombstone) => json::encode(&self.raw(tombstone)),
            Body::Branch(branch) => json::encode(&self.raw(branch)),
        }
    }

    fn raw<B>(&self, body: B) -> RawRecord<B> {
        RawRecord {
            body,
            config: self.config,
            format: FORMAT_VERSION,
            kind: self.kind(),
            number: self.number,
            predecessor: self.predecessor,
            vault: self.vault,
        }
    }

    /// Decodes bytes whose tag has verified under the domain of `kind`.
    ///
    /// # Errors
    /// Another format version, another kind, bytes that are not canonical or contradict the format.
    pub fn decode(bytes: &[u8], kind: RecordKind) -> Result<Self, BadRecord> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let version: Versioned = serde_json::from_slice(bytes).map_err(Malformed::new)?;
        if version.format != FORMAT_VERSION {
            return Err(BadRecord::Unknown(format!("format version {}", version.format)));
        }
        let record = match kind {
            RecordKind::Snapshot => {
                let raw: RawRecord<RawSnapshot> = json::decode(bytes)?;
                Self::open(raw, kind, |raw| Ok(Body::Snapshot(Box::new(Snapshot::from_raw(raw)?))))?
            }
            RecordKind::Tombstone => {
                let raw: RawRecord<Tombstone> = json::decode(bytes)?;
                let number = raw.number;
                Self::open(raw, kind, |body| body.check(number).map(|()| Body::Tombstone(body)))?
            }
            RecordKind::Branch => {
                let raw: RawRecord<Branch> = json::decode(bytes)?;
                let (number, predecessor) = (raw.number, raw.predecessor);
                Self::open(raw, kind, |body| body.check(number, predecessor).map(|()| Body::Branch(body)))?
            }
        };
        Ok(record)
    }

    fn open<B>(
        raw: RawRecord<B>,
        kind: RecordKind,
        body: impl FnOnce(B) -> Result<Body, Malformed>,
    ) -> Result<Self, Malformed> {
        if raw.kind != kind {
            return Err(Malformed::new("the record is of another kind than its file"));
        }
        if raw.number == 0 || raw.number > limits::RECORD_NUMBER_MAX {
            return Err(Malformed::new("the record's number is out of bounds"));
        }
        Ok(Self {
            body: body(raw.body)?,
            config: raw.config,
            number: raw.number,
            predecessor: raw.predecessor,
            vault: raw.vault,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { id: Id([2; 16]), name: "h".into() }
    }

    fn record(body: Body) -> Record {
        Record { body, config: Digest([1; 32]), number: 5, predecessor: Digest([3; 32]), vault: Id([4; 16]) }
    }

    fn snapshot() -> Snapshot {
        let list = PartRef { entries: 4, first: EntryPath::root(), object: ChunkRef(Digest([5; 32]), 7) };
        Snapshot {
            counts: Counts { bytes: 9, directories: 1, files: 2, specials: 1, ..Counts::default() },
            ended: Time::default(),
            excluded: vec![Exclusion {
                by: ExcludedBy::Gitignore,
                from: Some(b"a/.gitignore".to_vec()),
                line: Some(3),
                objects: 7,
                rule: "*.o".into(),
            }],
            host: host(),
            journal: Some(Head { digest: Digest([7; 32]), number: 3 }),
            left_out: vec![EntryPath::parse(b"\xff").expect("valid")],
            lists: vec![list],
            packs: Packs::Direct(vec![PackUse(Digest([6; 32]), 100, Time::default())]),
            program: "p".into(),
            quiet: Some(true),
            source: b"/x\xfe".to_vec(),
            started: Time::default(),
            tags: vec![],
            unchanged_by: vec!["ctime".into()],
        }
    }

    fn tombstone() -> Tombstone {
        let gone = Gone { digest: Some(Digest([7; 32])), fate: Fate::Removed, number: 4 };
        Tombstone { gone: vec![gone], host: host(), reason: String::new(), rule: String::new(), time: Time::default() }
    }

    #[test]
    fn every_kind_of_record_decodes_to_itself_and_to_no_other_kind() {
        let (from, to) = (Head { digest: Digest([8; 32]), number: 7 }, Head { digest: Digest([3; 32]), number: 4 });
        let branch = Branch { branch: Id([9; 16]), from, host: host(), reason: "r".into(), time: Time::default(), to };
        let bodies = [Body::Snapshot(Box::new(snapshot())), Body::Tombstone(tombstone()), Body::Branch(branch)];
        for record in bodies.map(record) {
            let bytes = record.encode();
            for kind in RecordKind::ALL {
                match Record::decode(&bytes, kind) {
                    Ok(again) => assert_eq!((&again, kind), (&record, record.kind())),
                    Err(_) => assert_ne!(kind, record.kind()),
                }
            }
        }
    }

    #[test]
    fn a_contradictory_snapshot_is_refused() {
        for change in [
            |s: &mut Snapshot| s.lists.clear(),
            |s: &mut Snapshot| s.counts.files = 7,
            |s: &mut Snapshot| s.counts.bytes = u64::MAX,
            |s: &mut Snapshot| s.journal = Some(Head { digest: Digest([7; 32]), number: 0 }),
            |s: &mut Snapshot| s.lists[0].first = EntryPath::parse(b"a").expect("valid"),
            |s: &mut Snapshot| s.packs = Packs::Direct(vec![PackUse(Digest([6; 32]), 1, Time::default()); 2]),
            |s: &mut Snapshot| s.packs = Packs::Listed(vec![]),
        ] {
            let mut bad = snapshot();
            change(&mut bad);
            let bytes = record(Body::Snapshot(Box::new(bad))).encode();
            assert!(matches!(Record::decode(&bytes, RecordKind::Snapshot), Err(BadRecord::Malformed(_))));
        }
    }

    #[test]
    fn as_many_packs_are_named_as_is_allowed_and_no_more() {
        let use_of = |at: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(at as u64).to_be_bytes());
            PackUse(Digest(id), 1, Time::default())
        };
        let direct = |count: usize| Packs::Direct((0..count).map(use_of).collect());
        let listed = |count: usize, bytes: u32| Packs::Listed(vec![ChunkRef(Digest([5; 32]), bytes); count]);
        let (most, bytes_max) = (limits::MANIFEST_PACKS_MAX, limits::OBJECT_BYTES_MAX);
        for (packs, good) in [
            (direct(0), true),
            (direct(most), true),
            (direct(most + 1), false),
            (listed(1, bytes_max), true),
            (listed(most, 1), true),
            (listed(most + 1, 1), false),
            (listed(1, 0), false),
            (listed(1, bytes_max + 1), false),
        ] {
            let record = record(Body::Snapshot(Box::new(Snapshot { packs, ..snapshot() })));
            assert_eq!(Record::decode(&record.encode(), RecordKind::Snapshot).ok(), good.then_some(record));
        }
    }

    #[test]
    fn as_many_rules_are_named_as_is_allowed_and_no_more() {
        let rule = snapshot().excluded[0].clone();
        for (count, good) in
            [(0, true), (limits::MANIFEST_EXCLUSIONS_MAX, true), (limits::MANIFEST_EXCLUSIONS_MAX + 1, false)]
        {
            let snapshot = Snapshot { excluded: vec![rule.clone(); count], ..snapshot() };
            assert_eq!(snapshot.check().is_ok(), good, "{count}");
        }
    }

    #[test]
    fn counts_of_parts_add_up() {
        let part = |times: u64| Counts {
            bytes: times,
            directories: 2 * times,
            files: 3 * times,
            hardlinks: 5 * times,
            specials: 7 * times,
            symlinks: 11 * times,
        };
        let mut sum = part(1);
        sum.plus(&part(4));
        assert_eq!(sum, part(5));
    }

    #[test]
    fn a_contradictory_tombstone_is_refused() {
        for change in [
            |t: &mut Tombstone| t.gone.clear(),
            |t: &mut Tombstone| t.gone[0].number = 5,
            |t: &mut Tombstone| t.gone[0].number = 0,
            |t: &mut Tombstone| t.gone[0].digest = None,
            |t: &mut Tombstone| t.gone.push(t.gone[0].clone()),
        ] {
            let mut bad = tombstone();
            change(&mut bad);
            let bytes = record(Body::Tombstone(bad)).encode();
            assert!(matches!(Record::decode(&bytes, RecordKind::Tombstone), Err(BadRecord::Malformed(_))));
        }
    }

    #[test]
    fn a_branch_continues_its_own_predecessor() {
        let (from, to) = (Head { digest: Digest([8; 32]), number: 7 }, Head { digest: Digest([3; 32]), number: 4 });
        let good = Branch { branch: Id([9; 16]), from, host: host(), reason: "r".into(), time: Time::default(), to };
        for number in [0, limits::RECORD_NUMBER_MAX] {
            let branch = Branch { from: Head { number, ..from }, ..good.clone() };
            let bytes = record(Body::Branch(branch)).encode();
            assert!(Record::decode(&bytes, RecordKind::Branch).is_ok(), "{number}");
        }
        for change in [
            |b: &mut Branch| b.to.number = 3,
            |b: &mut Branch| b.to.digest = Digest([4; 32]),
            |b: &mut Branch| b.from = b.to,
            |b: &mut Branch| b.from.number = limits::RECORD_NUMBER_MAX + 1,
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            let bytes = record(Body::Branch(bad)).encode();
            assert!(matches!(Record::decode(&bytes, RecordKind::Branch), Err(BadRecord::Malformed(_))));
        }
    }

    #[test]
    fn another_format_version_is_unknown_rather_than_damaged() {
        let bytes = record(Body::Tombstone(tombstone())).encode();
        let newer = String::from_utf8(bytes).expect("JSON").replace("\"format\":1", "\"format\":2");
        assert!(matches!(Record::decode(newer.as_bytes(), RecordKind::Tombstone), Err(BadRecord::Unknown(_))));
    }

    #[test]
    fn a_head_has_one_textual_form() {
        let head = Head { digest: Digest([0xab; 32]), number: 42 };
        assert_eq!(head.to_string().parse(), Ok(head));
        for bad in ["42", "042:", &format!("042:{}", head.digest), &format!("+42:{}", head.digest)] {
            assert!(bad.parse::<Head>().is_err(), "{bad}");
        }
    }
}
