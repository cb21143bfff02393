//! The catalog: which chunk lies where, from authentic footers or an authentic index of them.
//!
//! A writer leaves a chunk out only because of what stands here, so every pack in it has, at this moment, exactly the
//! length that its authentic footer demands. For a reader a place is a hint: the bytes prove themselves.

use std::collections::HashMap;
use std::io;

use super::index::{self, IndexState};
pub use super::places::Place;
use super::places::Places;
use super::{Finding, layout};
use crate::crypto::{Digest, Macs};
use crate::format::entry::ChunkRef;
use crate::format::index::IndexedPack;
use crate::format::pack::{self, BadFooter, BlockInfo, BlockKind, Encoding, Footer};
use crate::limits;
use crate::refusal::Code;
use crate::store::{Listed, NameKind, Store};

/// A pack of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    /// Its name: the digest that its bytes should have.
    pub name: Digest,
    /// The length of its file.
    pub length: u64,
    /// The digest of the footer's table that the index gives it; absent where its own footer was read.
    pub table: Option<Digest>,
}

/// A block of a pack, without the list of its chunks.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Which pack, counted in [`Catalog::packs`].
    pub pack: u32,
    /// Where it begins in the pack.
    pub offset: u64,
    /// Its stored length.
    pub stored: u32,
    /// Its plain length.
    pub plain: u32,
    /// How it is stored.
    pub encoding: Encoding,
    /// What its chunks are.
    pub kind: BlockKind,
    /// The digest of its stored bytes.
    pub digest: Digest,
}

impl Block {
    /// Returns the block in the form that the decoder takes, without its chunks.
    pub fn info(&self) -> BlockInfo {
        BlockInfo {
            offset: self.offset,
            stored: self.stored,
            plain: self.plain,
            encoding: self.encoding,
            kind: self.kind,
            digest: self.digest,
            chunks: Vec::new(),
        }
    }
}

/// Which chunk lies where.
#[derive(Debug, Default, Clone)]
pub struct Catalog {
    packs: Vec<Pack>,
    blocks: Vec<Block>,
    // A chunk that lies in several packs has several places.
    places: Places,
    /// What is wrong with packs; their chunks are not in the catalog.
    pub findings: Vec<Finding>,
    /// Files that lie among the packs and are none.
    pub foreign: Vec<String>,
    /// How the index served.
    pub index: IndexState,
}

/// Whether the index may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseIndex {
    /// It may.
    Yes,
    /// Every footer is read from its pack.
    No,
}

impl Catalog {
    /// Makes the catalog of a vault.
    ///
    /// # Errors
    /// The directories of packs cannot be listed.
    pub fn load(store: &dyn Store, macs: &Macs, use_index: UseIndex) -> io::Result<Self> {
        let mut catalog = Self::default();
        let packs = catalog.measure_packs(store)?;
        let bytes = packs.iter().fold(0u64, |sum, (_, length)| sum.saturating_add(*length));
        let mut indexed = match use_index {
            UseIndex::Yes => index::read(store, macs, bytes, &mut catalog.index),
            UseIndex::No => HashMap::new(),
        };
        for (name, length) in packs {
            let path = layout::pack_path(&name);
            let (footer, table) = match indexed.remove(&name) {
                Some(known) if known.length == length => {
                    catalog.index.packs_indexed += 1;
                    (known.footer, Some(known.table))
                }
                other => {
                    if other.is_some() {
                        catalog.index.ignored.push(format!("it gives {path} another length than the file has"));
                    }
                    match read_footer(store, macs, &path) {
                        Ok(footer) => {
                            catalog.index.packs_read += 1;
                            (footer, None)
                        }
                        Err(finding) => {
                            catalog.findings.push(finding);
                            continue;
                        }
                    }
                }
            };
            catalog.add(Pack { name, length, table }, &footer);
        }
        if !indexed.is_empty() {
            catalog.index.absent = indexed.len() as u64;
            catalog.index.ignored.push(format!("it lists {} pack(s) that are not there", indexed.len()));
        }
        if use_index == UseIndex::Yes && catalog.index.packs_read > 0 {
            catalog.index.ignored.push(format!("it lacks {} pack(s) that are there", catalog.index.packs_read));
        }
        catalog.places.chain();
        Ok(catalog)
    }

    /// Makes a catalog for salvage alone, from footers that nothing proves and, where the key is at hand, from the index: it
    /// may lead to chunks, which prove themselves, and is never to be believed by a writer.
    ///
    /// A pack is listed by the index where its own footer cannot be read or says otherwise, whatever length is left of it,
    /// and then a second time by that footer.
    ///
    /// # Errors
    /// The directories of packs cannot be listed.
    pub fn load_unproven(store: &dyn Store, macs: Option<&Macs>) -> io::Result<Self> {
        let mut catalog = Self::default();
        // Packs may be cut: their lengths say nothing of how long the index may be.
        let mut indexed = macs
            .map_or_else(HashMap::new, |macs| index::read(store, macs, limits::INDEX_BYTES_MAX, &mut catalog.index));
        for name in catalog.list_packs(store)? {
            let own = footer_of(store, &layout::pack_path(&name), Footer::decode_unproven);
            let known = indexed.remove(&name).filter(|known| own.as_ref().ok() != Some(&known.footer));
            if let Some(known) = &known {
                catalog.index.packs_indexed += 1;
                catalog.add(Pack { name, length: known.length, table: Some(known.table) }, &known.footer);
            }
            match own {
                Ok(footer) => catalog.add(Pack { name, length: footer.pack_bytes(), table: None }, &footer),
                Err(finding) if known.is_none() => catalog.findings.push(finding),
                Err(_) => {}
            }
        }
        catalog.places.chain();
        Ok(catalog)
    }

    /// Returns every pack that is there, with the length of its file.
    fn measure_packs(&mut self, store: &dyn Store) -> io::Result<Vec<(Digest, u64)>> {
        let mut packs = Vec::new();
        for name in self.list_packs(store)? {
            let path = layout::pack_path(&name);
            match store.length(&path) {
                Ok(length) => packs.push((name, length)),
                // Removed since the listing; whoever misses it lists again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.findings.push(super::unreadable(&path, &error)),
            }
        }
        Ok(packs)
    }

    fn list_packs(&mut self, store: &dyn Store) -> io::Result<Vec<Digest>> {
        let mut names = Vec::new();
        for directory in list_or_none(store, layout::PACKS)? {
            let shown = crate::path::shown(directory.name.as_bytes());
            if directory.kind != NameKind::Directory || directory.name.len() != 2 {
                self.foreign.push(format!("{}/{shown}", layout::PACKS));
                continue;
            }
            for file in list_or_none(store, &format!("{}/{}", layout::PACKS, directory.name))? {
                match layout::pack_name(&directory.name, &file.name) {
                    Some(name) if file.kind == NameKind::File => names.push(name),
                    Some(name) => self.findings.push(Finding::new(
                        Code::VaultUnreadable,
                        layout::pack_path(&name),
                        "it is not a regular file",
                    )),
                    None => self.foreign.push(format!(
                        "{}/{shown}/{}",
                        layout::PACKS,
                        crate::path::shown(file.name.as_bytes())
                    )),
                }
            }
        }
        names.sort_unstable();
        self.foreign.sort_unstable();
        Ok(names)
    }

    fn add(&mut self, pack: Pack, footer: &Footer) {
        let number = u32::try_from(self.packs.len()).expect("a directory holds fewer names");
        self.packs.push(pack);
        for block in &footer.blocks {
            let index = u32::try_from(self.blocks.len()).expect("packs and blocks are bounded");
            self.blocks.push(Block {
                pack: number,
                offset: block.offset,
                stored: block.stored,
                plain: block.plain,
                encoding: block.encoding,
                kind: block.kind,
                digest: block.digest,
            });
            let mut offset = 0;
            for chunk in &block.chunks {
                self.places.push(Place { id: chunk.id(), block: index, offset, length: chunk.length() });
                offset += chunk.length();
            }
        }
    }

    /// Adds packs that were just written and checked.
    pub fn extend(&mut self, packs: &[IndexedPack]) {
        for pack in packs {
            self.add(Pack { name: pack.name, length: pack.length, table: None }, &pack.footer);
        }
        self.places.chain();
    }

    /// Returns every pack with an authentic footer, ascending by name as long as nothing was added.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// Returns a block.
    pub fn block(&self, index: u32) -> &Block {
        &self.blocks[index as usize]
    }

    /// Returns every place of a chunk of this id and length.
    pub fn places(&self, chunk: ChunkRef) -> impl Iterator<Item = &Place> {
        self.placed(chunk).map(|(_, place)| place)
    }

    /// Returns whether a chunk lies in some pack.
    pub fn holds(&self, chunk: ChunkRef) -> bool {
        self.places(chunk).next().is_some()
    }

    /// Says in words that no pack holds a chunk, and names the packs that may, because what they hold is not known.
    pub fn none_holds(&self) -> String {
        let text = "no pack with an authentic footer holds it";
        let named: Vec<&str> =
            self.findings.iter().take(limits::SHOWN_PATHS_MAX).map(|finding| &*finding.subject).collect();
        match self.findings.len() {
            0 => text.to_owned(),
            count => format!("{text}; {count} pack(s) do not tell what they hold: {}", named.join(", ")),
        }
    }

    /// Returns the number of distinct places, at least that of distinct chunks.
    pub fn place_count(&self) -> usize {
        self.places.count()
    }

    /// Returns every place of a chunk, each with its position among all [`place_count`](Self::place_count) places.
    pub fn placed(&self, chunk: ChunkRef) -> impl Iterator<Item = (usize, &Place)> {
        self.places.of(chunk)
    }

    /// Forgets a pack that failed a read: none of its places counts any more.
    pub fn distrust(&mut self, name: &Digest) {
        let Some(pack) = self.packs.iter().position(|pack| pack.name == *name) else { return };
        let blocks = &self.blocks;
        self.places.retain(|place| blocks[place.block as usize].pack as usize != pack);
    }
}

/// Lists a directory of packs; one that is absent is an empty one.
fn list_or_none(store: &dyn Store, directory: &str) -> io::Result<Vec<Listed>> {
    match store.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Reads the footer of a pack and authenticates it.
///
/// # Errors
/// DV318 where it is not authentic, DV106 where it is not there or contradicts the file, DV110 where it cannot be read.
pub fn read_footer(store: &dyn Store, macs: &Macs, path: &str) -> Result<Footer, Finding> {
    footer_of(store, path, |tail| Footer::decode(tail, macs))
}

fn footer_of(
    store: &dyn Store,
    path: &str,
    decode: impl FnOnce(&[u8]) -> Result<Footer, BadFooter>,
) -> Result<Footer, Finding> {
    let unreadable = |error: io::Error| super::unreadable(path, &error);
    let damaged = |detail: &str| Finding::new(Code::PackDamaged, path, detail);
    let file = store.open(path).map_err(unreadable)?;
    let length = file.length();
    if !(pack::HEADER_BYTES + pack::TRAILER_BYTES..=limits::PACK_BYTES_MAX).contains(&length) {
        return Err(damaged("its length is none that a pack can have"));
    }
    // Most footers fit into the first read.
    let read_tail = |bytes: u64| -> Result<Vec<u8>, Finding> {
        let mut tail = vec![0; bytes.min(length) as usize];
        file.read_at(&mut tail, length - bytes.min(length)).map_err(unreadable)?;
        Ok(tail)
    };
    let mut tail = read_tail(64 << 10)?;
    let table = pack::table_bytes(&tail).ok_or_else(|| damaged("its end is no footer; it is cut or overwritten"))?;
    let needed = u64::from(table) + pack::TRAILER_BYTES;
    if needed > length {
        return Err(damaged("its footer is longer than the file"));
    }
    if needed > tail.len() as u64 {
        tail = read_tail(needed)?;
    }
    let footer = decode(&tail).map_err(|error| match error {
        BadFooter::Forged => Finding::new(Code::PackForged, path, error),
        BadFooter::Cut | BadFooter::Malformed(_) => damaged(&error.to_string()),
    })?;
    if footer.pack_bytes() != length {
        return Err(damaged("its file has another length than its footer says"));
    }
    Ok(footer)
}

/// What a rebuilt index holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Packs that it lists.
    pub packs: u64,
    /// Chunks that lie in them.
    pub chunks: u64,
    /// Files that it replaced.
    pub replaced: u64,
}

/// Why an index was not rebuilt.
#[derive(Debug)]
pub enum NotRebuilt {
    /// Packs do not vouch for what they hold; the old index stays as it is.
    Findings(Vec<Finding>),
    /// The medium refuses.
    Medium(io::Error),
}

impl From<io::Error> for NotRebuilt {
    fn from(error: io::Error) -> Self {
        Self::Medium(error)
    }
}

/// Makes the index anew from the footers of all packs.
///
/// # Errors
/// A footer that does not authenticate; a medium that refuses.
pub fn rebuild_index(store: &dyn Store, macs: &Macs) -> Result<Rebuilt, NotRebuilt> {
    let catalog = Catalog::load(store, macs, UseIndex::No)?;
    let mut findings = catalog.findings.clone();
    let mut packs = Vec::new();
    for pack in catalog.packs() {
        match read_footer(store, macs, &layout::pack_path(&pack.name)) {
            Ok(footer) => packs.push(IndexedPack::new(pack.name, pack.length, footer)),
            Err(finding) => findings.push(finding),
        }
    }
    if !findings.is_empty() {
        return Err(NotRebuilt::Findings(findings));
    }
    let replaced = index::replace(store, macs, &packs)?;
    let chunks = packs.iter().flat_map(|pack| &pack.footer.blocks).map(|block| block.chunks.len() as u64).sum();
    Ok(Rebuilt { packs: packs.len() as u64, chunks, replaced })
}
