//! The negative half of a drill: a damaged copy of what a snapshot needs must be refused, by verify and by restore.
//!
//! The copy and everything that is said about it lie in the scratch directory, with a state of its own; the vault is only
//! read. The copy must verify before it is damaged, else its refusal would prove nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Observer;
use super::remove::remove;
use super::scratch::Scratch;
use crate::crypto::random;
use crate::error::{Error, Result, refuse};
use crate::format::entry::Entry;
use crate::format::record::RecordKind;
use crate::ops::reading::Reading;
use crate::ops::select::{Place, Selector};
use crate::ops::{restore, verify};
use crate::path::EntryPath;
use crate::progress::{Progress, Silent};
use crate::refusal::{Code, Family};
use crate::store::NameKind;
use crate::vault::catalog::{Place as CatalogPlace, UseIndex};
use crate::vault::gate::Access;
use crate::vault::layout;

/// One damage, and who refused it with which code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What was damaged, in words.
    pub damage: String,
    /// What `verify` said of it.
    pub verify: Code,
    /// What `restore` refused it with.
    pub restore: Code,
}

/// A copy of what one snapshot needs.
pub(super) struct Copy<'a> {
    reading: Reading,
    number: u64,
    place: PathBuf,
    access: Access,
    scratch: &'a Scratch,
}

/// Returns how many bytes a copy of what a snapshot needs takes.
///
/// # Errors
/// What opening the vault refuses.
pub(super) fn bytes(reading: &Reading, number: u64) -> Result<u64> {
    Ok(packs(reading, number)?.iter().map(|pack| pack.1).sum())
}

/// Returns names and lengths of the packs that a snapshot needs: those that its manifest names.
fn packs(reading: &Reading, number: u64) -> Result<Vec<(String, u64)>> {
    let (_, snapshot) = reading.select(&Selector::Number(number))?;
    let packs = reading.reader.packs(snapshot)?;
    Ok(packs.iter().map(|pack| (layout::pack_path(&pack.0), pack.1)).collect())
}

impl<'a> Copy<'a> {
    /// Copies what a snapshot needs, and verifies the copy.
    ///
    /// # Errors
    /// The vault's medium or the scratch directory fails; the copy does not verify, then neither would the vault.
    pub(super) fn make(access: &Access, number: u64, scratch: &'a Scratch, progress: &dyn Progress) -> Result<Self> {
        let reading = Reading::open_by(access, UseIndex::No)?;
        let place = scratch.join("copy");
        let key = reading.vault.key.path.clone();
        let copy = Self {
            access: Access {
                key_file: Some(std::path::absolute(&key).unwrap_or(key)),
                store: None,
                expect_head: None,
                ..Access { vault: place.clone(), host: scratch.host("copy"), ..access.clone() }
            },
            place,
            number,
            scratch,
            reading,
        };
        copy.fill().map_err(|error| Error::environment("copy what the snapshot needs", error))?;
        for (pack, _) in packs(&copy.reading, number)? {
            if progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            copy.copy_file(&pack).map_err(|error| Error::environment(format!("copy {pack}"), error))?;
        }
        let report = copy.verify(progress)?;
        match report.findings.first() {
            None => Ok(copy),
            Some(finding) => Err(finding.clone().into()),
        }
    }

    /// Copies the configuration, the locks and all records.
    fn fill(&self) -> io::Result<()> {
        fs::create_dir(&self.place)?;
        fs::create_dir(self.place.join(layout::PACKS))?;
        let store = &*self.reading.vault.store;
        for listed in store.list("")?.iter().filter(|listed| listed.kind == NameKind::File) {
            if [layout::CONFIG, layout::CONFIG_MAC, layout::LOCK, layout::SWEEP_LOCK].contains(&&*listed.name) {
                self.copy_file(&listed.name)?;
            }
        }
        for listed in store.list(layout::SNAPSHOTS)? {
            let directory = format!("{}/{}", layout::SNAPSHOTS, listed.name);
            if layout::record_number(&listed.name).is_none() || listed.kind != NameKind::Directory {
                continue;
            }
            for file in store.list(&directory)?.iter().filter(|file| file.kind == NameKind::File) {
                self.copy_file(&format!("{directory}/{}", file.name))?;
            }
        }
        Ok(())
    }

    fn copy_file(&self, name: &str) -> io::Result<()> {
        let from = self.reading.vault.store.open(name)?;
        let to = self.place.join(name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut to = File::create_new(to)?;
        let (mut buffer, mut at) = (vec![0; 1 << 20], 0);
        while at < from.length() {
            let length = usize::try_from((from.length() - at).min(1 << 20)).unwrap_or(1);
            from.read_at(&mut buffer[..length], at)?;
            to.write_all(&buffer[..length])?;
            at += length as u64;
        }
        Ok(())
    }

    fn verify(&self, progress: &dyn Progress) -> Result<verify::Report> {
        verify::run(&self.access, &[Selector::Number(self.number)], verify::Level::Full, progress)
    }

    /// Damages the copy in every way that there is, one after another, and has each refused.
    ///
    /// # Errors
    /// DV115 where one is not refused.
    pub(super) fn try_all(
        &self,
        victim: &EntryPath,
        observer: &dyn Observer,
        progress: &dyn Progress,
    ) -> Result<Vec<Trial>> {
        let mut trials = Vec::new();
        for (what, files) in self.damages(victim)? {
            let undo = files
                .iter()
                .map(|damage| damage.inflict(&self.place))
                .collect::<io::Result<Vec<_>>>()
                .map_err(|error| Error::environment("damage the copy", error))?;
            observer.damaged(&self.place);
            let (verified, restored) = (self.verify_refuses(progress)?, self.restore_refuses(progress)?);
            match (verified, restored) {
                (Some(verify), Some(restore)) => trials.push(Trial { damage: what, verify, restore }),
                (verified, _) => {
                    let who = if verified.is_none() { "verify" } else { "restore" };
                    return refuse(
                        Code::DamageNotRefused,
                        format!("{what} was damaged in a copy, and {who} did not refuse it"),
                    );
                }
            }
            for damage in undo {
                damage
                    .inflict(&self.place)
                    .map_err(|error| Error::environment("undo the damage of the copy", error))?;
            }
        }
        Ok(trials)
    }

    fn verify_refuses(&self, progress: &dyn Progress) -> Result<Option<Code>> {
        let report = match self.verify(progress) {
            Ok(report) => report,
            Err(error) => return refused_for_the_damage(error).map(Some),
        };
        Ok(report.findings.first().map(|finding| finding.code))
    }

    fn restore_refuses(&self, progress: &dyn Progress) -> Result<Option<Code>> {
        let directory = self.scratch.join("refused");
        fs::create_dir(&directory).map_err(|error| Error::environment("make a directory in the scratch", error))?;
        let place = Place { snapshot: Selector::Number(self.number), path: EntryPath::root() };
        let destination = directory.join("restored");
        let code = match restore::run(&self.access, &place, &destination, &restore::Options::default(), progress) {
            Ok(_) => return Ok(None),
            Err(error) => refused_for_the_damage(error)?,
        };
        remove(&directory, None, false, progress)
            .map_err(|error| Error::environment("clear the scratch directory", error))?;
        Ok(Some(code))
    }

    /// Returns what can be damaged: in words, and what is done to which files.
    fn damages(&self, victim: &EntryPath) -> Result<Vec<(String, Vec<Damage>)>> {
        let drawn = random::<24>().map_err(|error| Error::environment("draw random bytes", error))?;
        let draw = |at: usize, below: u64| {
            let bytes: [u8; 8] = drawn[at * 8..at * 8 + 8].try_into().unwrap_or_default();
            u64::from_be_bytes(bytes) % below.max(1)
        };
        let record = layout::record_directory(self.number);
        let manifest = format!("{record}/{}", layout::record_file(RecordKind::Snapshot));
        let length = self.reading.vault.store.length(&manifest);
        let length = length.map_err(|error| Error::environment(format!("look at {manifest}"), error))?;
        let blocks = self.blocks(victim, draw(0, u64::MAX))?;
        let bit = |(pack, offset, stored): &(String, u64, u64)| Damage::Flip(pack.clone(), offset + draw(1, *stored));
        let packs: BTreeSet<&String> = blocks.iter().map(|(pack, ..)| pack).collect();
        let gone = packs.into_iter().map(|pack| Damage::Away(pack.clone())).collect();
        Ok(vec![
            ("one bit of the manifest".into(), vec![Damage::Flip(manifest, draw(2, length))]),
            (format!("one bit of what {victim} needs"), blocks.iter().map(bit).collect()),
            (format!("the pack that holds what {victim} needs"), gone),
        ])
    }

    /// Returns every block in the copy that holds one chunk of a file: the pack, where it begins and how long it is.
    fn blocks(&self, victim: &EntryPath, chance: u64) -> Result<BTreeSet<(String, u64, u64)>> {
        let (_, snapshot) = self.reading.select(&Selector::Number(self.number))?;
        let entry = self.reading.listing(snapshot, victim, &Silent).next().transpose()?;
        let chunks = || entry.iter().filter_map(Entry::file).flat_map(|file| self.reading.reader.chunks_of(file));
        let Some(chunk) = chunks().nth((chance % chunks().count().max(1) as u64) as usize).transpose()? else {
            return refuse(Code::NothingToDrill, format!("{victim} holds no content that could be damaged"));
        };
        let catalog = self.reading.reader.catalog();
        let block = |place: &CatalogPlace| {
            let block = catalog.block(place.block);
            (layout::pack_path(&catalog.packs()[block.pack as usize].name), block.offset, u64::from(block.stored))
        };
        let blocks = catalog.places(chunk).map(block);
        Ok(blocks.filter(|(pack, ..)| self.place.join(pack).exists()).collect())
    }
}

/// Returns the code of a refusal that a damage explains; everything else is an error of the drill's own.
fn refused_for_the_damage(error: Error) -> Result<Code> {
    match error.code() {
        Some(code) if matches!(code.family(), Family::SnapshotIntegrity | Family::CryptoBoundary) => Ok(code),
        _ => Err(error),
    }
}

/// What is done to a file of a copy.
#[derive(Debug, Clone)]
enum Damage {
    /// The lowest bit at this place is flipped.
    Flip(String, u64),
    /// The file is taken away.
    Away(String),
    /// It is put back.
    Back(String),
}

impl Damage {
    /// Does it, and returns what undoes it.
    fn inflict(&self, root: &Path) -> io::Result<Self> {
        match self {
            Self::Flip(name, at) => {
                let mut file = File::options().read(true).write(true).open(root.join(name))?;
                let mut byte = [0];
                file.seek(SeekFrom::Start(*at))?;
                file.read_exact(&mut byte)?;
                file.seek(SeekFrom::Start(*at))?;
                file.write_all(&[byte[0] ^ 1])?;
                Ok(self.clone())
            }
            Self::Away(name) => {
                fs::rename(root.join(name), aside(root, name))?;
                Ok(Self::Back(name.clone()))
            }
            Self::Back(name) => {
                fs::rename(aside(root, name), root.join(name))?;
                Ok(Self::Away(name.clone()))
            }
        }
    }
}

fn aside(root: &Path, name: &str) -> PathBuf {
    root.with_file_name(name.replace('/', "-"))
}
