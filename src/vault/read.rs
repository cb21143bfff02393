//! The one reader: finalize, verify and restore all read through it. No byte leaves it before its hash matched.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::catalog::{Catalog, Pack, Place, UseIndex};
use super::{Finding, layout};
use crate::crypto::{Digest, Macs};
use crate::format::Malformed;
use crate::format::attribute::Value;
use crate::format::entry::{ChunkRef, Entry, Holes};
use crate::format::listing::{PartRef, decode_segment, decode_segment_list};
use crate::format::pack::Decoder;
use crate::format::record::{PackUse, Packs, Snapshot, decode_pack_list};
use crate::path::EntryPath;
use crate::pool::{Pool, Task};
use crate::refusal::Code;
use crate::store::{Store, StoredFile};

/// How many packs stay open: a second reader, directories and locks are open beside them, and some systems give a process
/// no more than 64 files.
const OPEN_PACKS_MAX: usize = 16;
/// How many decoded blocks stay in memory.
const CACHED_BLOCKS_MAX: usize = 8;

/// Reads chunks and what is made of them.
pub struct Reader {
    store: Arc<dyn Store>,
    // None where nothing is proven: salvage.
    macs: Option<Arc<Macs>>,
    catalog: Arc<Catalog>,
    // Made when the index turns out to be wrong.
    second: OnceLock<Option<Box<Reader>>>,
    // Whether that one found something elsewhere.
    misled: AtomicBool,
    files: Mutex<Recent<u32, Arc<dyn StoredFile>>>,
    blocks: Mutex<Recent<u32, Arc<Vec<u8>>>>,
    decoders: Mutex<Vec<Decoder>>,
    failed: Mutex<BTreeMap<Digest, Finding>>,
    // Blocks that could not be read or decoded at some time.
    faltered: Mutex<HashSet<u32>>,
    // Whether `failed` holds anything: asked for every object of a source.
    any_failed: AtomicBool,
}

impl Reader {
    /// Reads from a store by a catalog.
    pub fn new(store: Arc<dyn Store>, macs: Arc<Macs>, catalog: Arc<Catalog>) -> Self {
        Self::with(store, Some(macs), catalog)
    }

    /// Reads from a store by a catalog whose tables nothing proves: chunks still prove themselves by their hash.
    pub fn unproven(store: Arc<dyn Store>, catalog: Arc<Catalog>) -> Self {
        Self::with(store, None, catalog)
    }

    fn with(store: Arc<dyn Store>, macs: Option<Arc<Macs>>, catalog: Arc<Catalog>) -> Self {
        Self {
            store,
            macs,
            catalog,
            second: OnceLock::new(),
            misled: AtomicBool::new(false),
            files: Mutex::new(Recent::new(OPEN_PACKS_MAX)),
            blocks: Mutex::new(Recent::new(CACHED_BLOCKS_MAX)),
            decoders: Mutex::default(),
            failed: Mutex::default(),
            faltered: Mutex::default(),
            any_failed: AtomicBool::new(false),
        }
    }

    /// Returns the packs that failed a read so far, each with what was found first; also where another pack had the
    /// chunk.
    pub fn failed_packs(&self) -> BTreeMap<Digest, Finding> {
        let mut failed = lock(&self.failed).clone();
        if let Some(Some(second)) = self.second.get() {
            failed.extend(second.failed_packs());
        }
        failed
    }

    /// Returns whether any pack failed a read so far.
    pub fn has_failed(&self) -> bool {
        self.any_failed.load(Ordering::Relaxed)
            || self.second.get().is_some_and(|second| second.as_ref().is_some_and(|second| second.has_failed()))
    }

    /// Blames a pack for a failed read, unless the index was wrong about it.
    fn fail(&self, block: u32, finding: Finding) -> Finding {
        let pack = &self.catalog.packs()[self.catalog.block(block).pack as usize];
        if self.index_agrees(pack) {
            self.any_failed.store(true, Ordering::Relaxed);
            lock(&self.failed).entry(pack.name).or_insert_with(|| finding.clone());
        }
        finding
    }

    /// Returns whether what the index says of a pack is what its own footer says, as far as that can be read.
    fn index_agrees(&self, pack: &Pack) -> bool {
        let (Some(table), Some(macs)) = (pack.table, &self.macs) else { return true };
        let footer = super::catalog::read_footer(&*self.store, macs, &layout::pack_path(&pack.name));
        footer.map_or(true, |footer| Digest::of(&footer.encode_table()) == table)
    }

    /// Returns the catalog by which this reader finds chunks.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Gives the catalog back and closes the packs.
    pub fn into_catalog(self) -> Arc<Catalog> {
        self.catalog
    }

    /// Returns whether the index was wrong about a place: the packs themselves named another one, and there it was.
    pub fn index_was_wrong(&self) -> bool {
        self.misled.load(Ordering::Relaxed)
    }

    /// Returns a reader that goes by the packs' own footers, where this one goes by the index.
    fn second(&self) -> Option<&Self> {
        let make = || {
            if self.catalog.index.packs_indexed == 0 {
                return None;
            }
            let macs = self.macs.as_ref()?;
            let catalog = Catalog::load(&*self.store, macs, UseIndex::No).ok()?;
            Some(Box::new(Self::new(Arc::clone(&self.store), Arc::clone(macs), Arc::new(catalog))))
        };
        self.second.get_or_init(make).as_deref()
    }

    /// Returns a chunk's bytes after their hash matched. Every place is tried before it is refused; where the index
    /// named them, those that the packs themselves name too.
    ///
    /// # Errors
    /// DV102 where no pack holds it, DV103 where every place is damaged, DV110 where the medium fails.
    pub fn chunk(&self, chunk: ChunkRef) -> Result<Vec<u8>, Finding> {
        let mut failure = None;
        for place in self.catalog.places(chunk) {
            match self.chunk_at(place) {
                Ok(bytes) => return Ok(bytes),
                Err(finding) => failure = Some(finding),
            }
        }
        if let Some(second) = self.second() {
            let bytes = second.chunk(chunk)?;
            // Read where it was looked for before, at last: that speaks of the medium.
            if self.whereabouts(chunk) != second.whereabouts(chunk) {
                self.misled.store(true, Ordering::Relaxed);
            }
            return Ok(bytes);
        }
        Err(failure.unwrap_or_else(|| {
            let subject = format!("chunk {}", chunk.id());
            Finding::new(Code::ChunkMissing, subject, self.catalog.none_holds())
        }))
    }

    /// Returns where a chunk lies by this reader's catalog: pack, block, and offset within that.
    fn whereabouts(&self, chunk: ChunkRef) -> BTreeSet<(Digest, u64, Digest, u32)> {
        let at = |place: &Place| {
            let block = self.catalog.block(place.block);
            (self.catalog.packs()[block.pack as usize].name, block.offset, block.digest, place.offset)
        };
        self.catalog.places(chunk).map(at).collect()
    }

    fn chunk_at(&self, place: &Place) -> Result<Vec<u8>, Finding> {
        let block = self.block(place.block)?;
        self.slice(&block, place).map(<[u8]>::to_vec)
    }

    /// Returns a chunk's bytes within its decoded block, after their hash matched.
    ///
    /// # Errors
    /// DV103 where the hash does not match.
    pub fn slice<'a>(&self, block: &'a [u8], place: &Place) -> Result<&'a [u8], Finding> {
        let range = place.offset as usize..place.offset as usize + place.length as usize;
        match block.get(range) {
            Some(bytes) if Digest::of(bytes) == place.id => Ok(bytes),
            _ => {
                let pack = self.pack_path(place.block);
                let detail = format!("chunk {} does not match its hash", place.id);
                Err(self.fail(place.block, Finding::new(Code::ChunkDamaged, pack, detail)))
            }
        }
    }

    fn pack_path(&self, block: u32) -> String {
        layout::pack_path(&self.catalog.packs()[self.catalog.block(block).pack as usize].name)
    }

    /// Returns a decoded block, its stored bytes having matched their digest.
    ///
    /// # Errors
    /// DV103 where they do not, or do not decode; DV110 where the medium fails.
    pub fn block(&self, index: u32) -> Result<Arc<Vec<u8>>, Finding> {
        if let Some(block) = lock(&self.blocks).get(&index) {
            return Ok(block);
        }
        let block = Arc::new(self.load_block(index)?);
        lock(&self.blocks).put(index, Arc::clone(&block));
        Ok(block)
    }

    /// Reads and decodes a block without keeping it.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    pub fn load_block(&self, index: u32) -> Result<Vec<u8>, Finding> {
        match self.read_block(index) {
            Err(finding) => {
                lock(&self.faltered).insert(index);
                Err(self.fail(index, finding))
            }
            Ok(block) => {
                if self.any_failed.load(Ordering::Relaxed) && lock(&self.faltered).contains(&index) {
                    self.note_unstable(index);
                }
                Ok(block)
            }
        }
    }

    /// Notes that a block was read although an earlier read of it failed: that speaks of the medium or the host.
    fn note_unstable(&self, block: u32) {
        let pack = &self.catalog.packs()[self.catalog.block(block).pack as usize];
        let speaks_of_it = |finding: &&mut Finding| !matches!(finding.code, Code::Unstable | Code::VaultForbidden);
        if let Some(finding) = lock(&self.failed).get_mut(&pack.name).filter(speaks_of_it) {
            finding.detail =
                format!("the first read failed ({}: {}), the second succeeded", finding.code, finding.detail);
            finding.code = Code::Unstable;
        }
    }

    fn read_block(&self, index: u32) -> Result<Vec<u8>, Finding> {
        let block = self.catalog.block(index);
        let unreadable = |error: io::Error| super::unreadable(&self.pack_path(index), &error);
        let file = self.file(block.pack).map_err(unreadable)?;
        let mut stored = vec![0; block.stored as usize];
        file.read_at(&mut stored, block.offset).map_err(unreadable)?;
        let mut decoder = match lock(&self.decoders).pop() {
            Some(decoder) => decoder,
            None => Decoder::new().map_err(unreadable)?,
        };
        let mut plain = Vec::new();
        decoder.decode(&block.info(), &stored, &mut plain).map_err(|error| {
            let detail = format!("the block at offset {}: {error}", block.offset);
            Finding::new(Code::ChunkDamaged, self.pack_path(index), detail)
        })?;
        lock(&self.decoders).push(decoder);
        Ok(plain)
    }

    fn file(&self, pack: u32) -> io::Result<Arc<dyn StoredFile>> {
        if let Some(file) = lock(&self.files).get(&pack) {
            return Ok(file);
        }
        let path = layout::pack_path(&self.catalog.packs()[pack as usize].name);
        let file: Arc<dyn StoredFile> = Arc::from(self.store.open(&path)?);
        lock(&self.files).put(pack, Arc::clone(&file));
        Ok(file)
    }

    /// Returns the segments that a segment list names.
    ///
    /// # Errors
    /// DV104 where it is missing, DV105 where it is damaged, DV108 where it contradicts the format.
    pub fn segment_list(&self, list: &PartRef) -> Result<Vec<PartRef>, Finding> {
        self.listing(list, |bytes| decode_segment_list(bytes, list)).map(|(parts, _)| parts)
    }

    /// Returns the entries of a segment.
    ///
    /// # Errors
    /// As [`segment_list`](Self::segment_list).
    pub fn segment(&self, segment: &PartRef) -> Result<Vec<Entry>, Finding> {
        self.segment_lines(segment).map(|(entries, _)| entries)
    }

    /// Returns the entries of a segment, and its exact bytes: a line an entry.
    fn segment_lines(&self, segment: &PartRef) -> Result<(Vec<Entry>, Vec<u8>), Finding> {
        self.listing(segment, |bytes| decode_segment(bytes, segment))
    }

    fn listing<T>(
        &self,
        part: &PartRef,
        decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<(T, Vec<u8>), Finding> {
        let subject = || format!("the list of files from {} on", part.first);
        let bytes = self.chunk(part.object).map_err(|finding| as_listing(finding, subject()))?;
        let decoded = decode(&bytes).map_err(|error| Finding::new(Code::ListingUnsafe, subject(), error))?;
        Ok((decoded, bytes))
    }

    /// Returns the value of an attribute, each of its chunks having matched its hash.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk).
    pub fn value(&self, value: &Value) -> Result<Vec<u8>, Finding> {
        match value {
            Value::Inline(bytes) => Ok(bytes.clone()),
            Value::Chunks(chunks) => {
                let mut bytes = Vec::new();
                for chunk in chunks {
                    bytes.extend(self.chunk(*chunk)?);
                }
                Ok(bytes)
            }
        }
    }

    /// Hands on every chunk that an entry needs: of long values of its attributes, and of its content. Lists of chunks and
    /// of holes are read and checked on the way, one at a time.
    ///
    /// # Errors
    /// DV104 or DV105 where a list is missing or damaged, DV108 where it contradicts the entry; whatever `take` returns.
    pub fn each_needed<E: From<Finding>>(
        &self,
        entry: &Entry,
        mut take: impl FnMut(ChunkRef) -> Result<(), E>,
    ) -> Result<(), E> {
        entry.attribute_chunks().try_for_each(&mut take)?;
        let Some(file) = entry.file() else { return Ok(()) };
        if matches!(file.holes, Holes::Listed(_)) {
            self.holes_of(file).try_for_each(|hole| hole.map(|_| ()))?;
        }
        self.chunks_of(file).try_for_each(|chunk| take(chunk?))
    }

    /// Returns the packs that a snapshot says it relies on.
    ///
    /// # Errors
    /// DV104 or DV105 where a pack list is missing or damaged, DV108 where it is malformed.
    pub fn packs(&self, snapshot: &Snapshot) -> Result<Vec<PackUse>, Finding> {
        let lists = match &snapshot.packs {
            Packs::Direct(packs) => return Ok(packs.clone()),
            Packs::Listed(lists) => lists,
        };
        let mut packs = Vec::new();
        for &list in lists {
            let subject = || format!("the pack list {}", list.id());
            let bytes = self.chunk(list).map_err(|finding| as_listing(finding, subject()))?;
            let listed =
                decode_pack_list(&bytes).map_err(|error| Finding::new(Code::ListingUnsafe, subject(), error))?;
            packs.extend(listed);
        }
        if packs.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(Finding::new(Code::ListingUnsafe, "the pack lists", "they do not ascend from one to the next"));
        }
        Ok(packs)
    }

    /// Returns all entries of a snapshot in path order, decoded ahead on a pool.
    pub fn entries<'a>(self: &Arc<Self>, pool: &'a Pool, lists: &'a [PartRef]) -> Entries<'a> {
        self.entries_within(pool, lists, &EntryPath::root())
    }

    /// Returns the entries at and below a path, reading only the parts of the listing that may hold them.
    pub fn entries_within<'a>(
        self: &Arc<Self>,
        pool: &'a Pool,
        lists: &'a [PartRef],
        within: &EntryPath,
    ) -> Entries<'a> {
        Entries {
            reader: Arc::clone(self),
            pool,
            lists: &lists[relevant(lists, within)],
            within: within.clone(),
            naming: VecDeque::new(),
            groups: VecDeque::new(),
            ahead: VecDeque::new(),
            last: None,
        }
    }

    /// Returns the entries of some segments that follow each other.
    fn read_group(&self, group: &Group, within: &EntryPath) -> Result<Batch, Finding> {
        let mut batch = Batch { parts: group.list.into_iter().collect(), entries: Vec::new(), lines: Vec::new() };
        for segment in &group.segments {
            let (more, lines) = self.segment_lines(segment)?;
            if let Some((last, first)) = batch.entries.last().zip(more.first()) {
                check_seam(Some((&last.path, last.is_directory())), first)?;
            }
            batch.parts.push(segment.object.id());
            batch.entries.extend(more);
            if within.is_root() {
                batch.lines.push(lines);
            }
        }
        if !within.is_root() {
            batch.entries.retain(|entry| entry.path.is_within(within));
        }
        Ok(batch)
    }
}

/// Returns which parts may hold entries at or below a path: parts ascend, each reaching to the next one's first.
pub fn relevant(parts: &[PartRef], within: &EntryPath) -> Range<usize> {
    let start = parts.partition_point(|part| part.first <= *within).saturating_sub(1);
    let beyond = parts[start..].iter().skip(1).position(|part| !part.first.is_within(within));
    start..beyond.map_or(parts.len(), |count| start + 1 + count)
}

/// Entries that follow each other, in path order.
#[derive(Debug)]
pub struct Batch {
    /// The ids of the segments that were read, and of a list once all of it was.
    pub parts: Vec<Digest>,
    /// The entries.
    pub entries: Vec<Entry>,
    /// The exact bytes of the segments, a line an entry; nothing where not the whole listing was asked for.
    pub lines: Vec<Vec<u8>>,
}

/// Segments that are read in one job.
struct Group {
    segments: Vec<PartRef>,
    // The id of their list, with its last segments.
    list: Option<Digest>,
}

/// Most bytes of segments that are read in one job; one segment alone may be longer.
const GROUP_BYTES_MAX: u64 = 4 << 20;

fn groups(list: Digest, segments: &[PartRef], within: &EntryPath) -> VecDeque<Group> {
    let mut groups: VecDeque<Group> = VecDeque::new();
    let mut bytes = u64::MAX;
    let wanted = &segments[relevant(segments, within)];
    for segment in wanted {
        bytes = bytes.saturating_add(u64::from(segment.object.length()));
        if bytes > GROUP_BYTES_MAX {
            groups.push_back(Group { segments: Vec::new(), list: None });
            bytes = u64::from(segment.object.length());
        }
        groups.back_mut().expect("just made sure").segments.push(segment.clone());
    }
    if let Some(last) = groups.back_mut()
        && wanted.len() == segments.len()
    {
        last.list = Some(list);
    }
    groups
}

/// The segments of a list.
type Named = Result<Vec<PartRef>, Finding>;

/// A job under way, or what went wrong before it could begin.
enum Ahead {
    Reading(Task<Result<Batch, Finding>>),
    Failed(Finding),
}

/// Yields the entries of a snapshot, some segments at a time, checked for order across parts.
pub struct Entries<'a> {
    reader: Arc<Reader>,
    pool: &'a Pool,
    lists: &'a [PartRef],
    within: EntryPath,
    // Lists whose segments are being named.
    naming: VecDeque<(Digest, Task<Named>)>,
    groups: VecDeque<Group>,
    ahead: VecDeque<Ahead>,
    last: Option<(EntryPath, bool)>,
}

impl Entries<'_> {
    /// Keeps some lists and some groups of segments under way.
    fn read_ahead(&mut self) {
        let count_max = 2 + self.pool.threads();
        loop {
            while self.naming.len() < 2
                && let Some((list, rest)) = self.lists.split_first()
            {
                self.lists = rest;
                let (reader, list, id) = (Arc::clone(&self.reader), list.clone(), list.object.id());
                self.naming.push_back((id, self.pool.spawn(move || reader.segment_list(&list))));
            }
            while self.ahead.len() < count_max
                && let Some(group) = self.groups.pop_front()
            {
                let (reader, within) = (Arc::clone(&self.reader), self.within.clone());
                self.ahead.push_back(Ahead::Reading(self.pool.spawn(move || reader.read_group(&group, &within))));
            }
            if self.ahead.len() >= count_max {
                return;
            }
            let Some((list, segments)) = self.naming.pop_front() else { return };
            match segments.wait() {
                Ok(segments) => self.groups = groups(list, &segments, &self.within),
                Err(finding) => self.ahead.push_back(Ahead::Failed(finding)),
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Batch, Finding>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_ahead();
        let batch = match self.ahead.pop_front()? {
            Ahead::Reading(task) => task.wait(),
            Ahead::Failed(finding) => Err(finding),
        };
        Some(batch.and_then(|batch| {
            let Some((first, last)) = batch.entries.first().zip(batch.entries.last()) else { return Ok(batch) };
            // A part of a listing begins where it begins; only the whole one begins with the source.
            if self.within.is_root() || self.last.is_some() {
                check_seam(self.last.as_ref().map(|(path, directory)| (path, *directory)), first)?;
            }
            self.last = Some((last.path.clone(), last.is_directory()));
            Ok(batch)
        }))
    }
}

/// Refuses a part of a listing that does not continue the one before it.
///
/// # Errors
/// DV108.
pub fn check_seam(last: Option<(&EntryPath, bool)>, first: &Entry) -> Result<(), Finding> {
    let continues = match last {
        None => first.path.is_root(),
        Some((path, is_directory)) => first.path.may_follow(path, is_directory),
    };
    if continues {
        return Ok(());
    }
    let subject = format!("the list of files from {} on", first.path);
    Err(Finding::new(Code::ListingUnsafe, subject, "it does not continue the part before it"))
}

/// A chunk that holds a listing has names of its own for missing and damaged.
pub(super) fn as_listing(finding: Finding, subject: String) -> Finding {
    let code = match finding.code {
        Code::ChunkMissing => Code::ListingMissing,
        Code::ChunkDamaged => Code::ListingDamaged,
        other => other,
    };
    Finding { code, subject, detail: format!("{}: {}", finding.subject, finding.detail), ..finding }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept here is complete at every moment, so that a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the most recently used values.
struct Recent<K, V> {
    values: HashMap<K, (u64, V)>,
    clock: u64,
    count_max: usize,
}

impl<K: Copy + Eq + std::hash::Hash, V: Clone> Recent<K, V> {
    fn new(count_max: usize) -> Self {
        Self { values: HashMap::new(), clock: 0, count_max }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let (used, value) = self.values.get_mut(key)?;
        *used = self.clock;
        Some(value.clone())
    }

    fn put(&mut self, key: K, value: V) {
        self.clock += 1;
        if self.values.len() >= self.count_max
            && let Some(oldest) = self.values.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key)
        {
            self.values.remove(&oldest);
        }
        self.values.insert(key, (self.clock, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::Kind;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("valid")
    }

    #[test]
    fn exactly_those_parts_are_read_that_may_hold_something_at_or_below_a_path() {
        let firsts = ["", "a", "a/b", "a/b/c", "a/c", "b", "b/x", "c"];
        let parts: Vec<PartRef> = firsts
            .iter()
            .map(|first| PartRef { entries: 1, first: path(first), object: ChunkRef(Digest([1; 32]), 1) })
            .collect();
        for (within, expected) in [
            ("", 0..8),
            ("A", 0..1),
            ("a", 1..5),
            ("a/a", 1..2),
            ("a/b", 2..4),
            ("a/b/c", 3..4),
            ("a/b/d", 3..4),
            ("a/c", 4..5),
            ("a/d", 4..5),
            ("b", 5..7),
            ("b/x", 6..7),
            ("bb", 6..7),
            ("c", 7..8),
            ("d", 7..8),
        ] {
            assert_eq!(relevant(&parts, &path(within)), expected, "{within:?}");
        }
    }

    #[test]
    fn a_part_continues_the_one_before_it_and_the_first_begins_with_the_source() {
        let entry = |text: &str| Entry::new(path(text), Kind::Directory);
        assert!(check_seam(None, &entry("")).is_ok() && check_seam(None, &entry("a")).is_err());
        for (last, is_directory, first, good) in [
            ("", true, "a", true),
            ("a", true, "a/b", true),
            ("a", false, "a/b", false),
            ("a", false, "b", true),
            ("a/b", false, "b", true),
            ("a", false, "a", false),
            ("b", false, "a", false),
            ("a", true, "b/c", false),
        ] {
            let seam = check_seam(Some((&path(last), is_directory)), &entry(first));
            assert_eq!(seam.map_err(|finding| finding.code), if good { Ok(()) } else { Err(Code::ListingUnsafe) });
        }
    }

    #[test]
    fn the_value_that_was_used_longest_ago_gives_way() {
        let mut recent = Recent::new(2);
        recent.put("a", 1);
        recent.put("b", 2);
        assert_eq!(recent.get(&"a"), Some(1));
        recent.put("c", 3);
        assert_eq!((recent.get(&"a"), recent.get(&"b"), recent.get(&"c")), (Some(1), None, Some(3)));
        recent.put("d", 4);
        assert_eq!((recent.get(&"a"), recent.get(&"c"), recent.get(&"d")), (None, Some(3), Some(4)));
    }

    #[test]
    fn segments_are_read_in_groups_of_bounded_length_whatever_their_list_says() {
        let part = |number: u32, bytes: u32| PartRef {
            entries: 1,
            first: EntryPath::parse(format!("{number:08}").as_bytes()).expect("valid"),
            object: ChunkRef(Digest::of(&number.to_be_bytes()), bytes),
        };
        let long: Vec<PartRef> = (0..100).map(|number| part(number, 3 << 20)).collect();
        let made = groups(Digest([1; 32]), &long, &EntryPath::root());
        assert_eq!(made.len(), 100, "two of them are longer than a group");
        let short: Vec<PartRef> = (0..4_096).map(|number| part(number, 8 << 10)).collect();
        let made = groups(Digest([1; 32]), &short, &EntryPath::root());
        assert_eq!(made.iter().map(|group| group.segments.len()).sum::<usize>(), 4_096);
        assert!(made.len() >= 8 && made.iter().all(|group| group.segments.len() <= 512));
        assert_eq!(made.iter().filter(|group| group.list.is_some()).count(), 1, "the list counts with its last group");
        let within = EntryPath::parse(b"00000007").expect("valid");
        assert!(groups(Digest([1; 32]), &short, &within).iter().all(|group| group.list.is_none()));
    }
}
