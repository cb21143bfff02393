//! Writing a snapshot: a draft that becomes one at a single commit point, or stays what it is.
//!
//! Invariants: nothing is published before everything that it reaches is durable and was read back; a chunk is left out
//! only where an authentic footer places it in a pack of exactly its length; every failed sync is an error; a draft is
//! never promoted by another process.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::Serialize;

use super::chain::Chain;
use super::check::{PackCheck, check_file};
use super::gate::{Vault, WriteLock};
use super::read::Reader;
use super::reliance::Reliance;
use super::{Finding, commit, layout, sweep, write_error};
use crate::clock::Time;
use crate::crypto::{Digest, Id, Macs, Random, random};
use crate::error::{Error, Result};
use crate::format::config::Config;
use crate::format::entry::{ChunkRef, Entry};
use crate::format::index::IndexedPack;
use crate::format::json;
use crate::format::pack::{BlockInfo, BlockKind, Encoder, Encoding, Footer, header};
use crate::format::record::{Body, Head, PackUse, Packs, Record, Snapshot};
use crate::limits;
use crate::pool::{Pool, Task};
use crate::refusal::{Code, Family, Refusal, Written};
use crate::store::{NewFile, Store};

/// The zstd level: 3 is the library's own balance of speed and size.
const LEVEL: i32 = 3;
/// How many packs may be synced and read back while the next one is written.
const SEALING_MAX: usize = 2;

/// Who writes a draft, as `origin.json` says: a claim for people, not proof.
#[derive(Debug, Serialize)]
pub struct Origin {
    /// The machine's current boot, where the system tells.
    pub boot: String,
    /// The host's id.
    pub host: Id,
    /// The host's name.
    pub host_name: String,
    /// The process.
    pub pid: u32,
    /// The source.
    pub source: String,
    /// When it began.
    pub started: Time,
}

/// A snapshot being written.
pub struct Draft {
    store: Arc<dyn Store>,
    macs: Arc<Macs>,
    random: Arc<dyn Random>,
    config: Config,
    pool: Pool,
    name: String,
    // The number of the newest record when the draft began.
    head_before: u64,
    older: Reliance,
    // Chunks that this draft stores.
    new: HashSet<Digest>,
    // Set for good by the first write that fails: what was promised before it may not be there.
    broken: bool,
    data: BlockBuilder,
    listing: BlockBuilder,
    encoding: VecDeque<Task<io::Result<EncodedBlock>>>,
    pack: Option<OpenPack>,
    pack_count: u32,
    sealing: VecDeque<JoinHandle<Result<IndexedPack>>>,
    sealed: Vec<IndexedPack>,
}

/// What finalizing came to.
#[derive(Debug)]
pub enum Finalized {
    /// The snapshot was published.
    Published(Box<Published>),
    /// Older packs failed that the snapshot relied on, for these reasons; the draft was given up, and another one that
    /// does not rely on them will do.
    StartOver(Vec<Finding>),
}

/// A snapshot that was published.
#[derive(Debug)]
pub struct Published {
    /// The chain's new head: the snapshot's number and digest.
    pub head: Head,
    /// The manifest.
    pub snapshot: Snapshot,
    /// The packs that were written for it.
    pub packs: Vec<IndexedPack>,
    /// The packs written before that it relies on.
    pub older: Vec<PackUse>,
    /// Bytes that it added to the vault.
    pub bytes_stored: u64,
}

#[derive(Default)]
struct BlockBuilder {
    plain: Vec<u8>,
    chunks: Vec<ChunkRef>,
}

struct EncodedBlock {
    kind: BlockKind,
    encoding: Encoding,
    stored: Vec<u8>,
    plain: u32,
    digest: Digest,
    chunks: Vec<ChunkRef>,
}

struct OpenPack {
    path: String,
    file: Box<dyn NewFile>,
    hasher: blake3::Hasher,
    footer: Footer,
}

impl Draft {
    /// Begins a draft. The lock proves that no other process writes.
    ///
    /// # Errors
    /// The medium refuses.
    pub fn begin(vault: &Vault, _lock: &WriteLock, older: Reliance, pool: Pool, origin: &Origin) -> Result<Self> {
        let store = Arc::clone(&vault.store);
        let id = Id::drawn(&*vault.random).map_err(|error| Error::environment("draw random bytes", error))?;
        let name = format!("{}{id}", layout::INCOMPLETE_PREFIX);
        let directory = format!("{}/{name}", layout::SNAPSHOTS);
        let begun = store
            .create_directory(&directory)
            .and_then(|()| store.write_durably(&format!("{directory}/{}", layout::ORIGIN), &json::encode(origin)))
            .and_then(|()| store.sync_directory(&directory));
        begun.map_err(|error| write_error(&*store, &directory, &error))?;
        Ok(Self {
            macs: Arc::clone(&vault.macs),
            random: Arc::clone(&vault.random),
            config: vault.config.clone(),
            pool,
            name,
            head_before: vault.chain.head().number,
            new: HashSet::new(),
            broken: false,
            older,
            data: BlockBuilder::default(),
            listing: BlockBuilder::default(),
            encoding: VecDeque::new(),
            pack: None,
            pack_count: 0,
            sealing: VecDeque::new(),
            sealed: Vec::new(),
            store,
        })
    }

    /// Returns the draft's directory for people.
    pub fn directory(&self) -> String {
        format!("{}/{}", layout::SNAPSHOTS, self.name)
    }

    /// Notes that the snapshot needs a chunk; returns whether it is held already.
    pub fn holds(&mut self, chunk: ChunkRef) -> bool {
        self.new.contains(&chunk.id()) || self.older.holds(chunk)
    }

    /// Returns what the draft relies on of what was written before.
    pub fn older(&mut self) -> &mut Reliance {
        &mut self.older
    }

    /// Stores a chunk unless it is held already; returns whether it was new.
    ///
    /// # Errors
    /// The medium refuses, or what was written reads back differently; the draft can then only be given up.
    pub fn put(&mut self, kind: BlockKind, chunk: ChunkRef, bytes: &[u8]) -> Result<bool> {
        debug_assert_eq!(chunk.length() as usize, bytes.len());
        if self.holds(chunk) {
            return Ok(false);
        }
        self.unless_broken(|draft| draft.store_chunk(kind, chunk, bytes))?;
        Ok(true)
    }

    /// Does something that writes; after one failure nothing is written any more.
    fn unless_broken<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.broken {
            let message = format!("{} cannot be completed: a write failed before", self.directory());
            return Err(Refusal::new(Code::ProbeFailed, message).into());
        }
        let written = write(self);
        self.broken = written.is_err();
        written
    }

    fn store_chunk(&mut self, kind: BlockKind, chunk: ChunkRef, bytes: &[u8]) -> Result<()> {
        self.new.insert(chunk.id());
        let target = self.config.parameters.block_bytes as usize;
        if self.builder(kind).is_full_with(bytes.len(), target) {
            self.close_block(kind)?;
        }
        let builder = self.builder(kind);
        builder.plain.extend_from_slice(bytes);
        builder.chunks.push(chunk);
        if builder.plain.len() >= target {
            self.close_block(kind)?;
        }
        Ok(())
    }

    fn builder(&mut self, kind: BlockKind) -> &mut BlockBuilder {
        match kind {
            BlockKind::Data => &mut self.data,
            BlockKind::Listing => &mut self.listing,
        }
    }

    fn close_block(&mut self, kind: BlockKind) -> Result<()> {
        let builder = std::mem::take(self.builder(kind));
        if builder.chunks.is_empty() {
            return Ok(());
        }
        self.encoding.push_back(self.pool.spawn(move || builder.encode(kind)));
        while self.encoding.len() > self.pool.threads() + 2 {
            self.append_next()?;
        }
        Ok(())
    }

    /// Waits for the oldest block and writes it.
    fn append_next(&mut self) -> Result<()> {
        let Some(task) = self.encoding.pop_front() else { return Ok(()) };
        let block = task.wait().map_err(|error| Error::environment("compress a block", error))?;
        self.open_pack()?;
        let pack = self.pack.as_mut().expect("just opened");
        pack.file.write(&block.stored).map_err(|error| write_error(&*self.store, &pack.path, &error))?;
        pack.hasher.update(&block.stored);
        let stored = u32::try_from(block.stored.len()).expect("a block is bounded");
        pack.footer.blocks.push(BlockInfo {
            offset: pack.footer.body_bytes,
            stored,
            plain: block.plain,
            encoding: block.encoding,
            kind: block.kind,
            digest: block.digest,
            chunks: block.chunks,
        });
        pack.footer.body_bytes += u64::from(stored);
        let chunk_count: usize = pack.footer.blocks.iter().map(|block| block.chunks.len()).sum();
        // Far below what the format allows, so that one more block always fits.
        let full = pack.footer.body_bytes >= self.config.parameters.pack_bytes
            || pack.footer.blocks.len() >= limits::PACK_BLOCKS_MAX as usize / 2
            || chunk_count >= limits::PACK_CHUNKS_MAX as usize / 2;
        if full { self.seal_pack() } else { Ok(()) }
    }

    fn open_pack(&mut self) -> Result<()> {
        if self.pack.is_some() {
            return Ok(());
        }
        self.require_space()?;
        let path = format!("{}/{:04}.part", self.directory(), self.pack_count);
        self.pack_count += 1;
        let id = Id::drawn(&*self.random).map_err(|error| Error::environment("draw random bytes", error))?;
        let head = header(self.macs.vault(), id);
        let mut file = self.store.create(&path).map_err(|error| write_error(&*self.store, &path, &error))?;
        file.write(&head).map_err(|error| write_error(&*self.store, &path, &error))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head);
        self.pack = Some(OpenPack { path, file, hasher, footer: Footer::new(self.macs.vault(), id) });
        Ok(())
    }

    /// Refuses to fill the medium to its last byte.
    fn require_space(&self) -> Result<()> {
        require_space(&*self.store, self.config.parameters.pack_bytes)
    }

    fn seal_pack(&mut self) -> Result<()> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        let (store, macs, pool) = (Arc::clone(&self.store), Arc::clone(&self.macs), self.pool.clone());
        let draft = self.directory();
        let sealing = std::thread::Builder::new().spawn(move || pack.seal(&*store, &macs, &pool, &draft));
        self.sealing.push_back(sealing.map_err(|error| Error::environment("start a thread", error))?);
        while self.sealing.len() > SEALING_MAX {
            self.take_sealed()?;
        }
        Ok(())
    }

    fn take_sealed(&mut self) -> Result<()> {
        let Some(thread) = self.sealing.pop_front() else { return Ok(()) };
        let sealed = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        self.sealed.push(sealed);
        Ok(())
    }

    /// Writes out everything that was put: afterwards all of it is durable, read back, and in its place.
    fn flush(&mut self) -> Result<()> {
        self.unless_broken(Self::write_out)
    }

    fn write_out(&mut self) -> Result<()> {
        self.close_block(BlockKind::Data)?;
        self.close_block(BlockKind::Listing)?;
        while !self.encoding.is_empty() {
            self.append_next()?;
        }
        self.seal_pack()?;
        while !self.sealing.is_empty() {
            self.take_sealed()?;
        }
        Ok(())
    }

    /// Returns the packs that the snapshot relies on, with when each was last read completely.
    fn pack_uses(&self, now: Time) -> Vec<PackUse> {
        let own = self.sealed.iter().map(|pack| PackUse(pack.name, pack.length, now));
        let mut uses: Vec<PackUse> = self.older.relied_on().chain(own).collect();
        uses.sort_unstable_by_key(|pack| pack.0);
        uses
    }

    /// Publishes the snapshot: the one commit point.
    ///
    /// `snapshot` comes with everything but its packs; `trusted` names segment lists and segments that this run has read and checked already.
    ///
    /// # Errors
    /// The medium refuses; what was written reads back differently or is incomplete (DV109, evidence stays); DV408
    /// where the number is taken again and again. Where the medium is full (DV403) the draft is given up.
    pub fn finalize(
        mut self,
        snapshot: Snapshot,
        chain: &Chain,
        config: Digest,
        trusted: &HashSet<Digest>,
    ) -> Result<Finalized> {
        let published = self.publish_next(snapshot, chain, config, trusted);
        if published.is_err() && self.older.must_start_over() {
            let findings = self.older.findings().to_vec();
            self.abandon();
            return Ok(Finalized::StartOver(findings));
        }
        match published {
            // No doubt about the vault: what is left would only take more of the room that is missing.
            Err(error) if error.code() == Some(Code::NoSpace) => Err(error.written(|| self.give_back())),
            // Nor here: the source is what cannot be kept.
            Err(error) if error.code().is_some_and(|code| code.family() == Family::Source) => {
                Err(error.written(|| self.abandon()))
            }
            other => other.map(|published| Finalized::Published(Box::new(published))),
        }
    }

    fn publish_next(
        &mut self,
        mut snapshot: Snapshot,
        chain: &Chain,
        config: Digest,
        trusted: &HashSet<Digest>,
    ) -> Result<Published> {
        self.flush()?;
        snapshot.packs = self.packs_field(self.pack_uses(snapshot.ended))?;
        // Nothing is stored any more: the memory is the catalog's now.
        self.new = HashSet::new();
        let mut catalog = self.older.vouched_catalog();
        catalog.extend(&self.sealed);
        let reader = Arc::new(Reader::new(Arc::clone(&self.store), Arc::clone(&self.macs), Arc::new(catalog)));
        let mut head = chain.head();
        for _ in 0..limits::NUMBER_ATTEMPTS {
            let number = head.number + 1;
            if number > limits::RECORD_NUMBER_MAX {
                break;
            }
            let record = Record {
                body: Body::Snapshot(Box::new(snapshot.clone())),
                config,
                number,
                predecessor: head.digest,
                vault: self.macs.vault(),
            };
            let bytes = self.write_record(&record)?;
            self.check_needed(&record, &reader, trusted)?;
            if self.publish(&record, &bytes)? {
                let packs: u64 = self.sealed.iter().map(|pack| pack.length).sum();
                return Ok(Published {
                    head: Head { digest: Digest::of(&bytes), number },
                    snapshot,
                    older: self.older.relied_on().collect(),
                    bytes_stored: packs + bytes.len() as u64 + limits::MAC_FILE_BYTES,
                    packs: std::mem::take(&mut self.sealed),
                });
            }
            // Another host took the number, on a medium whose locks do not reach it.
            let chain = Chain::read(&*self.store, &self.macs, Some(config))
                .map_err(|error| super::read_error(&*self.store, layout::SNAPSHOTS, &error))?;
            head = chain.head();
            if let Some(finding) = chain.findings.into_iter().next() {
                return Err(finding.into());
            }
        }
        let message = format!("the number after {} was taken {} times", head.number, limits::NUMBER_ATTEMPTS);
        Err(Refusal::new(Code::NumberContested, message).written(format!("{} stays as it is", self.directory())).into())
    }

    fn packs_field(&mut self, uses: Vec<PackUse>) -> Result<Packs> {
        if uses.len() <= limits::MANIFEST_PACKS_MAX {
            return Ok(Packs::Direct(uses));
        }
        let mut lists = Vec::new();
        for part in uses.chunks(limits::PACK_LIST_MAX) {
            let bytes = json::encode_lines(part);
            let list = reference(&bytes);
            self.put(BlockKind::Listing, list, &bytes)?;
            lists.push(list);
        }
        self.flush()?;
        Ok(Packs::Listed(lists))
    }

    /// Writes a record and its tag into the draft, over those of a number that was taken, and makes them durable.
    fn write_record(&self, record: &Record) -> Result<Vec<u8>> {
        let (kind, directory) = (record.kind(), self.directory());
        let files = [layout::record_file(kind), layout::record_mac_file(kind)];
        let bytes = sweep::clear_from_draft(&*self.store, &self.name, &[&files[0], &files[1]])
            .and_then(|()| commit::write(&*self.store, &self.macs, &directory, record))
            .map_err(|error| write_error(&*self.store, &directory, &error))?;
        if bytes.len() as u64 <= limits::RECORD_BYTES_MAX {
            return Ok(bytes);
        }
        let (length, most) = (bytes.len(), limits::RECORD_BYTES_MAX);
        let message = format!("its paths are so long that the manifest would take {length} bytes, more than {most}");
        Err(Refusal::new(Code::SourceUnsupported, message).into())
    }

    /// Checks that everything the record needs is held, reading the parts of the listing that this run has not read.
    fn check_needed(&mut self, record: &Record, reader: &Arc<Reader>, trusted: &HashSet<Digest>) -> Result<()> {
        let Body::Snapshot(snapshot) = &record.body else { return Ok(()) };
        let held = check_held(reader, snapshot, trusted);
        // Also where another pack had the chunk: the manifest would name the one that failed.
        for (pack, finding) in reader.failed_packs() {
            self.older.distrust(finding, &pack);
        }
        self.unless_started_over()?;
        held.map_err(|finding| self.differs(&finding))
    }

    /// Checks, as the last thing before the commit point, that every pack that the snapshot names still has its length, and
    /// that nothing was found of it meanwhile.
    fn check_packs(&mut self) -> Result<()> {
        let wrong = |name: &Digest, length: u64| {
            let path = layout::pack_path(name);
            let found = self.store.length(&path);
            let wrong = !matches!(found, Ok(found) if found == length);
            let detail =
                found.map_or_else(|error| error.to_string(), |found| format!("it has {found} bytes, not {length}"));
            wrong.then(|| Finding::new(Code::PackDamaged, path, detail))
        };
        if let Some(finding) = self.sealed.iter().find_map(|pack| wrong(&pack.name, pack.length)) {
            return Err(self.differs(&finding));
        }
        let older: Vec<PackUse> = self.older.relied_on().collect();
        let failed: Vec<(Digest, Finding)> =
            older.iter().filter_map(|pack| Some((pack.0, wrong(&pack.0, pack.1)?))).collect();
        for (pack, finding) in failed {
            self.older.distrust(finding, &pack);
        }
        self.older.recall();
        self.unless_started_over()
    }

    /// Refuses to go on where a pack failed after something had been left out because of it.
    ///
    /// # Errors
    /// DV109; the caller starts over without that pack.
    pub fn unless_started_over(&self) -> Result<()> {
        if !self.older.must_start_over() {
            return Ok(());
        }
        Err(Refusal::new(Code::ReadBackDiffers, "an older pack failed that the new snapshot relies on").into())
    }

    fn differs(&self, finding: &Finding) -> Error {
        let refusal = match finding.code {
            // It could not be read, which says nothing of what was written.
            Code::VaultForbidden => Refusal::from(finding.clone()),
            _ => Refusal::new(Code::ReadBackDiffers, "the new snapshot does not read back as it was written")
                .cause(format!("{}: {}: {}", finding.code, finding.subject, finding.detail))
                .paths(finding.paths.clone()),
        };
        refusal.written(format!("{} stays as evidence; no snapshot was published", self.directory())).into()
    }

    /// Renames the draft to its number, once it reads back from the medium as every reader will read it; returns whether
    /// the number was free.
    fn publish(&mut self, record: &Record, bytes: &[u8]) -> Result<bool> {
        let (store, directory) = (Arc::clone(&self.store), self.directory());
        sweep::clear_from_draft(&*store, &self.name, &[layout::ORIGIN])
            .and_then(|()| store.sync_directory(&directory))
            .map_err(|error| write_error(&*store, &directory, &error))?;
        commit::check(&*store, &self.macs, &directory, record, bytes).map_err(|finding| self.differs(&finding))?;
        self.check_packs()?;
        commit::rename(&*store, &directory, record.number)
    }

    /// Waits for packs that are being sealed: nothing is written any more afterwards.
    fn settle(&mut self) {
        self.pack = None;
        self.encoding.clear();
        while let Some(thread) = self.sealing.pop_front() {
            if let Ok(Ok(sealed)) = thread.join() {
                self.sealed.push(sealed);
            }
        }
    }

    /// Gives the draft up because the medium is full: what it has written would only take the room that is missing, and
    /// lock out every later run. Returns what stays.
    pub fn give_back(mut self) -> Written {
        self.settle();
        if let Err(error) = sweep::discard_own_draft(&*self.store, &self.name) {
            // Then its packs stay too: a rename that was reported as failed may have published it.
            return self.not_removed(&error);
        }
        let packs: Vec<Digest> = self.sealed.drain(..).map(|pack| pack.name).collect();
        if packs.is_empty() {
            return self.given_up();
        }
        match sweep::discard_own_packs(&*self.store, &packs, self.head_before) {
            Ok(true) => self.given_up(),
            Ok(false) => {
                let count = packs.len();
                format!(
                    "no snapshot was made; {count} complete pack(s) stay in the vault, because somebody else may read or use \
                     them; the next backup uses them"
                )
                .into()
            }
            Err(error) => {
                format!("no snapshot was made; packs of this run that no snapshot names could not be removed ({error})")
                    .into()
            }
        }
    }

    /// Gives the draft up for a reason outside the vault and removes its directory. Returns what stays.
    pub fn abandon(mut self) -> Written {
        self.settle();
        match sweep::discard_own_draft(&*self.store, &self.name) {
            Ok(()) => self.given_up(),
            Err(error) => self.not_removed(&error),
        }
    }

    fn given_up(&self) -> Written {
        let changed = !self.sealed.is_empty();
        Written { text: format!("no snapshot was made; {}", self.packs_that_stay()), changed }
    }

    fn not_removed(&self, error: &io::Error) -> Written {
        let packs = self.packs_that_stay();
        if error.kind() == io::ErrorKind::NotFound {
            let directory = self.directory();
            return format!("{directory} is gone, perhaps published: see `devvault snapshots`; {packs}").into();
        }
        format!("no snapshot was made; {} could not be removed ({error}); {packs}", self.directory()).into()
    }

    fn packs_that_stay(&self) -> String {
        let stored: u64 = self.sealed.iter().map(|pack| pack.length).sum();
        match self.sealed.len() {
            0 => "nothing of this run stays in the vault".to_owned(),
            count => format!("{count} complete pack(s), {stored} bytes, stay in the vault; the next backup uses them"),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // The lock is held by who began the draft: no thread of it may write after that one has returned.
        self.settle();
    }
}

impl BlockBuilder {
    fn is_full_with(&self, more: usize, target: usize) -> bool {
        !self.chunks.is_empty()
            && (self.plain.len() + more > target || self.chunks.len() >= limits::BLOCK_CHUNKS_MAX as usize)
    }

    fn encode(self, kind: BlockKind) -> io::Result<EncodedBlock> {
        thread_local! {
            static ENCODER: std::cell::RefCell<Option<Encoder>> = const { std::cell::RefCell::new(None) };
        }
        let mut encoder = match ENCODER.take() {
            Some(encoder) => encoder,
            None => Encoder::new(LEVEL)?,
        };
        let plain = u32::try_from(self.plain.len()).map_err(io::Error::other)?;
        let (encoding, stored) = encoder.encode(self.plain)?;
        ENCODER.set(Some(encoder));
        Ok(EncodedBlock { kind, encoding, digest: Digest::of(&stored), stored, plain, chunks: self.chunks })
    }
}

impl OpenPack {
    /// Makes the pack durable, reads all of it back from the medium, and moves it to its place.
    fn seal(mut self, store: &dyn Store, macs: &Macs, pool: &Pool, draft: &str) -> Result<IndexedPack> {
        let tail = self.footer.encode(macs);
        self.hasher.update(&tail);
        let name = Digest(*self.hasher.finalize().as_bytes());
        let length = self.footer.body_bytes + tail.len() as u64;
        self.file
            .write(&tail)
            .and_then(|()| self.file.sync())
            .map_err(|error| write_error(store, &self.path, &error))?;
        drop(self.file);
        read_back(store, macs, pool, &self.path, name, &self.footer).map_err(|reason| {
            Refusal::new(
                Code::ReadBackDiffers,
                format!("a pack that was just written to {} reads back differently", store.describe()),
            )
            .cause(reason)
            .written(format!("{draft} stays as evidence; no snapshot was published"))
        })?;
        let (directory, path) = (layout::pack_directory(&name), layout::pack_path(&name));
        let moved = match store.create_directory(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => store.rename_new(&self.path, &path),
        };
        // `packs` even where the directory is old: whoever made it may have died before syncing.
        moved
            .and_then(|()| store.sync_directory(&directory))
            .and_then(|()| store.sync_directory(layout::PACKS))
            .map_err(|error| write_error(store, &path, &error))?;
        Ok(IndexedPack::new(name, length, self.footer))
    }
}

fn read_back(
    store: &dyn Store,
    macs: &Macs,
    pool: &Pool,
    path: &str,
    name: Digest,
    footer: &Footer,
) -> Result<(), String> {
    let check = check_file(store, macs, path, pool, &mut |_| {})
        .and_then(PackCheck::intact)
        .map_err(|finding| finding.detail)?;
    let chunk_count: usize = footer.blocks.iter().map(|block| block.chunks.len()).sum();
    if check.name != Some(name) || check.intact.len() != chunk_count {
        return Err(format!("its bytes give another name than {name}"));
    }
    Ok(())
}

/// Checks that every object and chunk a snapshot needs lies in a pack that is vouched for.
fn check_held(reader: &Arc<Reader>, snapshot: &Snapshot, trusted: &HashSet<Digest>) -> Result<(), Finding> {
    for list in &snapshot.lists {
        if trusted.contains(&list.object.id()) {
            continue;
        }
        for segment in reader.segment_list(list)? {
            if trusted.contains(&segment.object.id()) {
                continue;
            }
            for entry in reader.segment(&segment)? {
                require_chunks(reader, &entry)?;
            }
        }
    }
    reader.packs(snapshot).map(|_| ())
}

fn require_chunks(reader: &Reader, entry: &Entry) -> Result<(), Finding> {
    reader.each_needed(entry, |chunk| {
        if reader.catalog().holds(chunk) {
            return Ok(());
        }
        let mut finding = Finding::new(Code::ChunkMissing, format!("chunk {}", chunk.id()), "no pack holds it");
        finding.paths.push(entry.path.clone());
        Err(finding)
    })
}

/// Returns the reference to an object that is these bytes.
pub fn reference(bytes: &[u8]) -> ChunkRef {
    ChunkRef(Digest::of(bytes), u32::try_from(bytes.len()).expect("a writer keeps objects below their bound"))
}

/// Refuses to write where less than `more` bytes and a reserve are free.
///
/// # Errors
/// DV403.
pub fn require_space(store: &dyn Store, more: u64) -> Result<()> {
    // A system that does not tell is no reason to refuse: running out is noticed when it happens.
    let Ok(available) = store.available_bytes() else { return Ok(()) };
    let needed = more + limits::SPACE_RESERVE_BYTES;
    if available >= needed {
        return Ok(());
    }
    let message = format!("{} has {available} bytes free, {needed} are needed to go on safely", store.describe());
    Err(Refusal::new(Code::NoSpace, message).into())
}

/// Tests that the medium can be written: create, write, sync, read back, rename, remove. Readers ignore the name.
///
/// # Errors
/// DV401, DV402 or DV403, whatever failed.
pub fn probe(store: &dyn Store) -> Result<()> {
    let bytes: [u8; 32] = random().map_err(|error| Error::environment("draw random bytes", error))?;
    let id = Id(random().map_err(|error| Error::environment("draw random bytes", error))?);
    let (first, second) = (format!("{}{id}", layout::PROBE_PREFIX), format!("{}{id}-2", layout::PROBE_PREFIX));
    let tried = store
        .write_durably(&first, &bytes)
        .and_then(|()| store.read(&first, 64))
        .and_then(|back| if back == bytes { Ok(()) } else { Err(io::Error::other("the bytes read back differently")) })
        .and_then(|()| store.rename_new(&first, &second))
        .and_then(|()| store.remove_file(&second))
        .and_then(|()| store.sync_directory(""));
    tried.map_err(|error| {
        let _ = store.remove_file(&first);
        let _ = store.remove_file(&second);
        write_error(store, "a test file", &error).into()
    })
}
