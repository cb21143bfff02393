//! `evidence`: packs everything that explains an incident into one file, and checks such a file.
//!
//! It reads the vault and writes only its output. It works when the vault does not open, without a key, and on media
//! that cannot be written; what cannot be read is named as such. The last entries of a bundle are its manifest, with the
//! BLAKE3 of every other entry, and, where the key is at hand, the manifest's tag under a domain of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::audit::{self, Scene, Told};
use super::output::{Draft, Output};
use crate::clock::Time;
use crate::crypto::{Digest, Domain, Id, Macs};
use crate::error::{Error, Result, shown_path};
use crate::format::{PROGRAM, json as canonical};
use crate::fsys::{self, replace};
use crate::host::Host;
use crate::incident::evidence;
use crate::incident::journal::{Entry, Journal, bounded};
use crate::incident::registry::{self, Incident};
use crate::limits;
use crate::path::shown;
use crate::refusal::{Code, Kept};
use crate::store::{NameKind, Store};
use crate::vault::chain::{decode_mac_file, encode_mac_file};
use crate::vault::gate::{self, Access};
use crate::vault::{Finding, key, layout};

/// What is to be packed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only what belongs to this incident, instead of all evidence and incidents of this host about the vault.
    pub incident: Option<String>,
    /// Also copies of damaged packs as they are.
    pub raw: bool,
    /// Read every pack, to find damaged ones without the key: a pack's name is the digest of its bytes. Else those are
    /// read that the incidents name.
    pub all_packs: bool,
}

/// What was packed.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The bundle.
    pub path: PathBuf,
    /// How many files it holds besides its manifest.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The digest of the manifest, which names all others.
    pub manifest: Digest,
    /// Whether the manifest carries a tag of the vault's key.
    pub authenticated: bool,
    /// What could not be read, in words.
    pub unreadable: Vec<String>,
    /// How many packs were read because an incident names them, or because all were to be read.
    pub packs_read: u64,
    /// Packs whose bytes are not those that their names promise.
    pub damaged: Vec<String>,
    /// What should be said besides.
    pub notes: Vec<String>,
}

impl Told for Captured {
    fn told(&self) -> Value {
        json!({
            "path": bounded(&shown_path(&self.path)),
            "manifest": self.manifest.to_string(),
            "files": self.files,
            "authenticated": self.authenticated,
            "unreadable": self.unreadable.len(),
        })
    }

    fn keep(&mut self, kept: Kept) {
        self.notes.extend(kept.notes);
    }
}

/// What a bundle's manifest says of one file in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packed {
    digest: Digest,
    #[serde(with = "canonical::unsigned")]
    length: u64,
    name: String,
}

/// The manifest of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    files: Vec<Packed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    place: String,
    program: String,
    schema: String,
    time: Time,
    unreadable: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vault: Option<Id>,
}

/// The act under which a bundle stands in the journal.
const CAPTURE_ACT: &str = "evidence capture";
const SCHEMA: &str = "devvault.evidence-bundle/1";
const MANIFEST: &str = "MANIFEST.json";
const MANIFEST_MAC: &str = "MANIFEST.hmac";
/// Most files in one bundle: its manifest stays below what a manifest may have.
const FILES_MAX: usize = 250_000;
/// How many damaged packs are copied at most, with `raw`.
const RAW_MAX: usize = 64;

/// Packs the journal, evidence, reports, records, listings of the vault's directories, and digests of damaged packs.
///
/// # Errors
/// As [`Output::new`]; DV406 where there is no directory at the vault's place, DV709 where there is no such incident.
/// Whatever cannot be read is no error but is named.
pub fn capture(access: &Access, output: &Path, options: &Options) -> Result<Captured> {
    audit::watch(access, CAPTURE_ACT, || pack(access, output, options))
}

fn pack(access: &Access, output: &Path, options: &Options) -> Result<Captured> {
    let output = Output::new("the bundle", output, &access.host, Some(&access.vault))?;
    let scene = Scene::of(access);
    let incident = match &options.incident {
        Some(id) => Some(super::incident::show(&access.host, id)?.0),
        None => None,
    };
    let (about, unknown): (Vec<Incident>, _) = match (&incident, super::incident::list(&access.host)) {
        (Some(one), _) => (vec![one.clone()], None),
        (None, Ok(all)) => (all.into_iter().filter(|incident| incident.is_at(scene.place())).collect(), None),
        // Evidence is packed all the same, and says what it may lack.
        (None, Err(error)) => (Vec::new(), Some(format!("the incidents of this host: {error}"))),
    };
    // A vault that is gone is no reason to lose what this host kept about it; a mistyped one is a mistake.
    let store = match (&scene.store, gate::open_store(&access.vault)) {
        (Some(store), _) => Ok(std::sync::Arc::clone(store)),
        (None, Err(error)) if about.is_empty() => return Err(error),
        (None, opened) => opened,
    };
    // Only what is complete gets the name: what a full disk cuts off would stand in the way of the next try.
    let (draft, file) = output.draft()?;
    let mut bundle = Bundle::new(BufWriter::new(file), &output);
    bundle.unreadable.extend(unknown);
    bundle.host_side(access, &about, &scene)?;
    match &store {
        Ok(store) => bundle.vault_side(&**store, &about, options)?,
        Err(error) => bundle.unreadable.push(format!("the vault: {error}")),
    }
    let macs = find_macs(access, &scene);
    let manifest = Manifest {
        files: std::mem::take(&mut bundle.files),
        incident: incident.map(|incident| incident.id),
        place: bounded(scene.place()),
        program: PROGRAM.to_owned(),
        schema: SCHEMA.to_owned(),
        time: scene.now,
        unreadable: bundle.unreadable.clone(),
        vault: scene.vault,
    };
    bundle.finish(&manifest, macs.as_ref(), draft)
}

/// The key may be missing or wrong: then the bundle has digests only.
fn find_macs(access: &Access, scene: &Scene) -> Option<Macs> {
    let found = key::find(&access.host, access.key_file.as_deref(), scene.vault, None).ok()?;
    Some(Macs::new(found.key.secret(), found.key.vault))
}

/// A bundle that is being written.
struct Bundle<'a, W: Write> {
    tar: tar::Builder<W>,
    output: &'a Output<'a>,
    files: Vec<Packed>,
    unreadable: Vec<String>,
    packs_read: u64,
    damaged: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Bundle<'a, BufWriter<File>> {
    fn new(out: BufWriter<File>, output: &'a Output<'a>) -> Self {
        let tar = tar::Builder::new(out);
        Self {
            tar,
            output,
            files: Vec::new(),
            unreadable: Vec::new(),
            packs_read: 0,
            damaged: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if !is_plain_name(name) {
            self.unreadable.push(format!("{}: a name that a bundle cannot hold", shown(name.as_bytes())));
            return Ok(());
        }
        let packed = Packed { digest: Digest::of(bytes), length: bytes.len() as u64, name: name.to_owned() };
        self.append(name, bytes.len() as u64, &mut &bytes[..])?;
        self.files.push(packed);
        Ok(())
    }

    fn append(&mut self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<()> {
        if self.files.len() >= FILES_MAX {
            return Err(self.output.failed(io::Error::other("too many files for one bundle")));
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        self.tar.append_data(&mut header, name, bytes).map_err(|error| self.output.failed(error))
    }

    /// Adds a file of this host; one that is not there or cannot be read is named.
    fn add_host_file(&mut self, name: &str, path: &Path) -> Result<()> {
        match replace::read(path, HOST_FILE_BYTES_MAX) {
            Ok(bytes) => self.add(name, &bytes),
            Err(error) => {
                self.unreadable.push(format!("{}: {error}", shown_path(path)));
                Ok(())
            }
        }
    }

    /// Adds a file of the vault as it is, read in pieces; what fails midway is filled up with zeros and named. A file
    /// longer than what it claims to be can be would fill the medium of the evidence: it is named alone.
    fn add_vault_file(&mut self, store: &dyn Store, name: &str, bytes_max: u64) -> Result<()> {
        let packed_name = format!("vault/{name}");
        let opened = match is_plain_name(&packed_name) {
            true => store.open(name).map_err(|error| error.to_string()),
            false => Err("a name that a bundle cannot hold".to_owned()),
        };
        let file = match opened {
            Ok(file) if file.length() <= bytes_max => file,
            Ok(file) => {
                let length = file.length();
                self.unreadable.push(format!("{}: {length} bytes, too long to be packed", shown(name.as_bytes())));
                return Ok(());
            }
            Err(error) => {
                self.unreadable.push(format!("{}: {error}", shown(name.as_bytes())));
                return Ok(());
            }
        };
        let length = file.length();
        let mut reader = Pieces { file: &*file, offset: 0, length, hasher: blake3::Hasher::new(), failure: None };
        self.append(&packed_name, length, &mut reader)?;
        let digest = Digest(*reader.hasher.finalize().as_bytes());
        if let Some(error) = reader.failure {
            self.unreadable.push(format!("{}: {error}; what could not be read is zeros", shown(name.as_bytes())));
        }
        self.files.push(Packed { digest, length, name: packed_name });
        Ok(())
    }

    /// Adds journal, evidence, the incidents and their reports, and what is said of platform and medium.
    fn host_side(&mut self, access: &Access, incidents: &[Incident], scene: &Scene) -> Result<()> {
        let journal = Journal::of(&access.host);
        if journal.path().exists() {
            self.add_host_file("journal/journal.jsonl", &journal.path())?;
            self.add_host_file("journal/head.json", &journal.path().with_file_name("head.json"))?;
        } else {
            self.unreadable.push(format!("{}: there is none", shown_path(&journal.path())));
        }
        for path in journal.set_aside().unwrap_or_default() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.add_host_file(&format!("journal/{name}"), &path)?;
        }
        let about = json!({
            "schema": "devvault.evidence-context/1",
            "time": scene.now.rfc3339(),
            "program": PROGRAM,
            "platform": {"system": std::env::consts::OS, "machine": std::env::consts::ARCH},
            "host": access.host.known_identity().ok().flatten().map(|host| json!({"id": host.id.to_string(), "name": host.name})),
            "vault": scene.vault.map(|vault| vault.to_string()),
            "place": scene.place(),
            "medium": scene.store.as_ref().and_then(|store| store.local_path().map(evidence::medium)),
        });
        self.add("context.json", pretty(&about).as_bytes())?;
        let entries = Journal::of(&access.host).entries().unwrap_or_default();
        let mut evidence: Vec<String> = Vec::new();
        for incident in incidents {
            evidence.extend(incident.evidence.iter().cloned());
            let about = json!({
                "incident": incident.id,
                "state": incident.state(),
                "severity": incident.severity,
                "codes": incident.codes.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "opened": incident.opened.rfc3339(),
                "items": registry::items_to_json(&incident.items),
            });
            self.add(&format!("incidents/{}.json", incident.id), pretty(&about).as_bytes())?;
            let report = super::incident::post_mortem(incident, &entries, scene.now);
            self.add(&format!("incidents/{}.md", incident.id), report.as_bytes())?;
        }
        evidence.sort();
        evidence.dedup();
        for path in evidence.into_iter().map(PathBuf::from) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.add_host_file(&format!("evidence/{name}"), &path)?;
        }
        Ok(())
    }

    /// Adds records, listings with sizes and times, and digests of packs that are damaged: of those that the incidents
    /// name, or of all.
    fn vault_side(&mut self, store: &dyn Store, incidents: &[Incident], options: &Options) -> Result<()> {
        let mut listing = Vec::new();
        let mut packs = Vec::new();
        let mut small = Vec::new();
        self.list(store, "", 0, &mut listing, &mut packs, &mut small)?;
        self.add("vault-files.jsonl", &listing)?;
        for name in small {
            self.add_vault_file(store, &name, limits::RECORD_BYTES_MAX)?;
        }
        let named: BTreeSet<&str> =
            incidents.iter().flat_map(|incident| &incident.items).map(|item| &*item.subject).collect();
        let mut digests = Vec::new();
        for name in packs.iter().filter(|name| options.all_packs || named.contains(&***name)) {
            self.packs_read += 1;
            let about = evidence::describe(store, name);
            if about["found_digest"] == about["expected_digest"] {
                continue;
            }
            canonical::append_line(&mut digests, &about);
            self.damaged.push(name.clone());
        }
        self.add("damaged-packs.jsonl", &digests)?;
        let gone = named.iter().filter(|name| name.starts_with("packs/") && !packs.iter().any(|pack| pack == *name));
        match (self.packs_read, gone.count()) {
            (0, 0) if !options.all_packs => self.notes.push(
                "no pack was looked at: no incident that this bundle tells of names one; `--all-packs` reads every pack".into(),
            ),
            (_, 0) => {}
            (_, gone) => self.notes.push(format!("{gone} pack(s) that an incident names are not there")),
        }
        if options.raw {
            for name in self.damaged.clone().iter().take(RAW_MAX) {
                self.add_vault_file(store, name, evidence::DIGESTED_BYTES_MAX)?;
            }
        }
        Ok(())
    }

    /// Lists every file of the vault; collects packs, and the small files that are packed whole.
    fn list(
        &mut self,
        store: &dyn Store,
        directory: &str,
        depth: u32,
        listing: &mut Vec<u8>,
        packs: &mut Vec<String>,
        small: &mut Vec<String>,
    ) -> Result<()> {
        let mut names = match store.list(directory) {
            Ok(names) => names,
            Err(error) => {
                self.unreadable
                    .push(format!("{}: {error}", if directory.is_empty() { "the vault's root" } else { directory }));
                return Ok(());
            }
        };
        names.sort_by(|a, b| a.name.cmp(&b.name));
        for listed in names {
            let name = if directory.is_empty() { listed.name } else { format!("{directory}/{}", listed.name) };
            let kind = match listed.kind {
                NameKind::File => "file",
                NameKind::Directory => "directory",
                NameKind::Foreign => "other",
            };
            let mut about = json!({"kind": kind, "name": shown(name.as_bytes())});
            if let Some(root) = store.local_path()
                && let Ok(metadata) = std::fs::symlink_metadata(root.join(&name))
            {
                about["length"] = if metadata.is_file() { metadata.len().into() } else { Value::Null };
                about["modified"] = metadata.modified().ok().map(|time| Time::from_system(time).rfc3339()).into();
            }
            canonical::append_line(listing, &about);
            match listed.kind {
                NameKind::Directory if depth < LISTING_DEPTH_MAX => {
                    self.list(store, &name, depth + 1, listing, packs, small)?;
                }
                NameKind::File if name.starts_with("packs/") => packs.push(name),
                NameKind::File if is_record(&name) => small.push(name),
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(mut self, manifest: &Manifest, macs: Option<&Macs>, draft: Draft) -> Result<Captured> {
        let bytes = canonical::encode(manifest);
        self.append(MANIFEST, bytes.len() as u64, &mut &bytes[..])?;
        if let Some(macs) = macs {
            let tag = encode_mac_file(macs.tag(Domain::Evidence, 0, &bytes));
            self.append(MANIFEST_MAC, tag.len() as u64, &mut &tag[..])?;
        }
        let failed = |error| self.output.failed(error);
        let out = self.tar.into_inner().map_err(failed)?;
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        fsys::sync_file(&file).map_err(failed)?;
        // Windows renames nothing that is open.
        drop(file);
        self.output.publish(draft)?;
        let mut notes = self.notes;
        if macs.is_none() {
            notes.push("the key is not at hand: the bundle has digests, but no tag that proves who made it".into());
        }
        Ok(Captured {
            path: self.output.path().to_owned(),
            files: manifest.files.len() as u64,
            bytes: manifest.files.iter().map(|file| file.length).sum(),
            manifest: Digest::of(&bytes),
            authenticated: macs.is_some(),
            unreadable: self.unreadable,
            packs_read: self.packs_read,
            damaged: self.damaged,
            notes,
        })
    }
}

/// Longest file of this host that goes into a bundle, in bytes: a journal of many years.
const HOST_FILE_BYTES_MAX: u64 = 1 << 30;
/// How deep the directories of a vault lie, and one level more for what does not belong there.
const LISTING_DEPTH_MAX: u32 = 4;

/// Returns whether a name stands in a member's header as it is. No file of a sound vault has another; so a bundle needs
/// none of the extensions by which a member claims a longer name, another kind or another length.
fn is_plain_name(name: &str) -> bool {
    name.len() <= 100 && name.split('/').all(|part| !["", ".", ".."].contains(&part))
}

fn is_record(name: &str) -> bool {
    let in_root = [layout::CONFIG, layout::CONFIG_MAC, layout::LOCK_HOLDER].contains(&name);
    let ending = [".json", ".hmac"].iter().any(|ending| name.ends_with(ending));
    in_root || (name.starts_with(layout::SNAPSHOTS) && ending)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Reads a file of a store from first to last byte; a piece that cannot be read becomes zeros.
struct Pieces<'a> {
    file: &'a dyn crate::store::StoredFile,
    offset: u64,
    length: u64,
    hasher: blake3::Hasher,
    failure: Option<io::Error>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.offset).unwrap_or(usize::MAX);
        let count = buffer.len().min(left).min(64 << 10);
        let part = &mut buffer[..count];
        if let Err(error) = self.file.read_at(part, self.offset) {
            part.fill(0);
            self.failure = Some(error);
        }
        self.offset += count as u64;
        self.hasher.update(part);
        Ok(count)
    }
}

/// Who made a bundle, as far as that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// Somebody with the vault's key: the manifest's tag verifies.
    Key,
    /// This host: this entry of its journal names the manifest's digest.
    Journal(u64),
    /// Nothing proves it.
    Unknown,
}

/// What a check of a bundle found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The bundle.
    pub path: PathBuf,
    /// When it was made.
    pub time: Option<Time>,
    /// The vault that it is about.
    pub vault: Option<Id>,
    /// The incident that it is about.
    pub incident: Option<String>,
    /// How many files matched their digest.
    pub files: u64,
    /// The digest of the manifest.
    pub manifest: Option<Digest>,
    /// Who made it.
    pub maker: Maker,
    /// What could not be read when it was made.
    pub unreadable: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was not checked.
    pub not_checked: Vec<String>,
}

impl Verified {
    /// Returns the verdict: `intact` only where it is proven who made the bundle; whoever can write a file can make one
    /// whose digests agree.
    pub fn verdict(&self) -> &'static str {
        match (self.findings.is_empty(), self.maker) {
            (false, _) => "damaged",
            (true, Maker::Unknown) => "unproven",
            (true, Maker::Key | Maker::Journal(_)) => "intact",
        }
    }
}

/// Checks every file of a bundle against its manifest, and who made it: by the manifest's tag where the key is at hand,
/// by this host's journal where it packed the bundle itself.
///
/// # Errors
/// The bundle cannot be read at all. What does not match is no error but a finding.
pub fn verify(host: &Host, key_file: Option<&Path>, bundle: &Path) -> Result<Verified> {
    let contents = read_bundle(bundle)?;
    let mut verified = Verified {
        path: bundle.to_owned(),
        time: None,
        vault: None,
        incident: None,
        files: 0,
        manifest: None,
        maker: Maker::Unknown,
        unreadable: Vec::new(),
        findings: contents.findings,
        not_checked: Vec::new(),
    };
    let Some(bytes) = contents.manifest else {
        verified.findings.push(wrong(MANIFEST, "it is missing: the bundle is cut, or is none"));
        return Ok(verified);
    };
    let digest = Digest::of(&bytes);
    verified.manifest = Some(digest);
    let manifest: Manifest = match canonical::decode(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            verified.findings.push(wrong(MANIFEST, &error.to_string()));
            return Ok(verified);
        }
    };
    (verified.time, verified.vault) = (Some(manifest.time), manifest.vault);
    (verified.incident, verified.unreadable) = (manifest.incident.clone(), manifest.unreadable.clone());
    check_files(&manifest, contents.files, &mut verified);
    check_tag(&manifest, &bytes, contents.tag.as_deref(), host, key_file, &mut verified);
    if verified.maker == Maker::Unknown
        && let Some(entry) = packed_here(host, digest)
    {
        verified.maker = Maker::Journal(entry);
    }
    Ok(verified)
}

fn wrong(name: &str, detail: &str) -> Finding {
    Finding::new(Code::EvidenceDamaged, shown(name.as_bytes()), detail)
}

/// Returns the entry of this host's sound journal that names a manifest as its own.
fn packed_here(host: &Host, manifest: Digest) -> Option<u64> {
    let entries = Journal::of(host).entries().ok()?;
    let own = |entry: &&Entry| entry.act == CAPTURE_ACT && entry.text("manifest") == manifest.to_string();
    entries.iter().find(own).map(|entry| entry.number)
}

fn check_files(manifest: &Manifest, mut found: BTreeMap<String, (u64, Digest)>, verified: &mut Verified) {
    for file in &manifest.files {
        match found.remove(&file.name) {
            Some((length, digest)) if length == file.length && digest == file.digest => verified.files += 1,
            Some(_) => verified.findings.push(wrong(&file.name, "it is not the file that was packed")),
            None => verified.findings.push(wrong(&file.name, "it is missing")),
        }
    }
    for name in found.keys() {
        verified.findings.push(wrong(name, "the manifest does not name it"));
    }
}

fn check_tag(
    manifest: &Manifest,
    bytes: &[u8],
    tag: Option<&[u8]>,
    host: &Host,
    key_file: Option<&Path>,
    verified: &mut Verified,
) {
    let found = key::find(host, key_file, manifest.vault, None);
    match (tag, found) {
        (None, _) => verified.not_checked.push("the key's tag: the bundle carries none".into()),
        (Some(_), Err(error)) => {
            verified.not_checked.push(format!("the key's tag: the key is not at hand ({error})"));
        }
        (Some(tag), Ok(found)) => {
            let macs = Macs::new(found.key.secret(), found.key.vault);
            let authentic = decode_mac_file(tag).is_some_and(|tag| macs.verifies(Domain::Evidence, 0, bytes, &tag));
            if authentic {
                verified.maker = Maker::Key;
            } else {
                let detail =
                    "its tag does not match: the bundle was changed after it was made, or made with another key";
                verified.findings.push(wrong(MANIFEST_MAC, detail));
            }
        }
    }
}

/// What lies in a bundle.
#[derive(Default)]
struct Contents {
    files: BTreeMap<String, (u64, Digest)>,
    manifest: Option<Vec<u8>>,
    tag: Option<Vec<u8>>,
    findings: Vec<Finding>,
}

/// Reads a bundle once, without unpacking anything.
///
/// It is read as `capture` writes it and in no other way: plain files, each name once, the manifest behind all others,
/// its tag behind it, then zeros. Whatever else an archive can claim (links, holes, longer names) is wrong and is not
/// followed, so that no few bytes can make the reading long.
fn read_bundle(path: &Path) -> Result<Contents> {
    let failed = |error: io::Error| Error::environment(format!("read {}", shown_path(path)), error);
    let file = fsys::open_plain(path).map_err(failed)?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut contents = Contents::default();
    for (number, entry) in archive.entries().map_err(failed)?.raw(true).enumerate() {
        if contents.findings.len() >= limits::EVIDENCE_ITEMS_MAX || number > FILES_MAX + 1 {
            break;
        }
        let Ok(entry) = entry else {
            contents.findings.push(wrong("the bundle", "it is no archive from some place on: it is cut or damaged"));
            return Ok(contents);
        };
        contents.take(entry);
    }
    let mut rest = archive.into_inner();
    if !rest_is_zeros(&mut rest).map_err(failed)? {
        contents.findings.push(wrong("the bundle", "something stands behind its end"));
    }
    Ok(contents)
}

impl Contents {
    fn take(&mut self, mut entry: tar::Entry<'_, impl Read>) {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let length = entry.size();
        if !entry.header().entry_type().is_file() {
            self.findings.push(wrong(&name, "it is no plain file"));
            return;
        }
        let twice = match &name[..] {
            MANIFEST => self.manifest.is_some(),
            MANIFEST_MAC => self.tag.is_some(),
            _ => self.files.contains_key(&name),
        };
        if twice {
            self.findings.push(wrong(&name, "it is there twice"));
        } else if name == MANIFEST || name == MANIFEST_MAC {
            let mut bytes = Vec::new();
            let read = (&mut entry).take(limits::RECORD_BYTES_MAX).read_to_end(&mut bytes);
            if read.is_err() || bytes.len() as u64 != length {
                self.findings.push(wrong(&name, "it is cut, or longer than it can be"));
            }
            *(if name == MANIFEST { &mut self.manifest } else { &mut self.tag }) = Some(bytes);
        } else if self.manifest.is_some() {
            self.findings.push(wrong(&name, "it stands behind the manifest"));
        } else {
            let mut hasher = blake3::Hasher::new();
            if io::copy(&mut entry, &mut hasher).is_err() {
                self.findings.push(wrong(&name, "it is cut"));
            }
            self.files.insert(name, (length, Digest(*hasher.finalize().as_bytes())));
        }
    }
}

/// Returns whether nothing but a little padding follows.
fn rest_is_zeros(input: &mut impl Read) -> io::Result<bool> {
    const PADDING_BYTES_MAX: u64 = 1 << 20;
    let mut rest = Vec::new();
    input.take(PADDING_BYTES_MAX + 1).read_to_end(&mut rest)?;
    Ok(rest.len() as u64 <= PADDING_BYTES_MAX && rest.iter().all(|&byte| byte == 0))
}
