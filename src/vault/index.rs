//! The index: a cache of every pack's footer, authenticated, disposable.
//!
//! Nothing is correct because of it. What does not authenticate, or contradicts the packs, is ignored and said.

use std::collections::HashMap;
use std::io;

use super::{layout, sweep};
use crate::crypto::{Digest, Domain, Id, MAC_BYTES, Macs, random};
use crate::format::index::{self, IndexedPack};
use crate::limits;
use crate::store::{Listed, NameKind, Store, StoredFile};

/// How many index files are read; a writer keeps them far fewer.
const FILES_READ_MAX: usize = 8 * limits::INDEX_FILES_MAX;
/// Begins the name of an index file that is being written.
const DRAFT_PREFIX: &str = ".new-";

/// How the index served in making a catalog.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct IndexState {
    /// Packs whose place was taken from the index.
    pub packs_indexed: u64,
    /// Packs whose own footer was read.
    pub packs_read: u64,
    /// Packs that it lists and that are not there.
    pub absent: u64,
    /// Index files there were.
    pub files: u64,
    /// Why parts of the index were ignored, in words; empty where it served completely.
    pub ignored: Vec<String>,
}

impl IndexState {
    /// Returns what should be said of parts that were ignored, in words.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.ignored.iter().map(|reason| format!("the index was not used completely: {reason}"))
    }
}

/// Reads every index file; what does not authenticate is ignored and noted.
///
/// `bytes_max` is the length of all packs: an index of their footers is never longer.
pub(super) fn read(
    store: &dyn Store,
    macs: &Macs,
    bytes_max: u64,
    state: &mut IndexState,
) -> HashMap<Digest, IndexedPack> {
    let mut packs = HashMap::new();
    let files = match store.list(layout::INDEX) {
        Ok(files) => files,
        Err(error) => {
            state.ignored.push(format!("its directory cannot be listed: {error}"));
            return packs;
        }
    };
    for file in files.into_iter().filter(|file| index_id(&file.name).is_some()) {
        state.files += 1;
        if state.files as usize > FILES_READ_MAX {
            state.ignored.push(format!("it has more than {FILES_READ_MAX} files"));
            break;
        }
        let path = format!("{}/{}", layout::INDEX, file.name);
        match read_file(store, macs, &path, bytes_max) {
            Ok(listed) => packs.extend(listed.into_iter().map(|pack| (pack.name, pack))),
            Err(reason) => state.ignored.push(format!("{path}: {reason}")),
        }
    }
    packs
}

/// What an index file takes besides footers, and those of packs that are gone: 16 MiB.
const EMPTY_BYTES_MAX: u64 = 16 << 20;
/// A longer index file is authenticated piece by piece before it is read into memory as a whole.
const UNPROVEN_BYTES_MAX: u64 = 16 << 20;

/// Reads one index file. What is not authentic costs little memory, however long it is.
fn read_file(store: &dyn Store, macs: &Macs, path: &str, bytes_max: u64) -> Result<Vec<IndexedPack>, String> {
    let said = |error: io::Error| error.to_string();
    let file = store.open(path).map_err(said)?;
    let length = file.length();
    let bytes_max = bytes_max.saturating_add(EMPTY_BYTES_MAX).min(limits::INDEX_BYTES_MAX);
    if length > bytes_max {
        return Err(format!("longer than {bytes_max} bytes"));
    }
    if length > UNPROVEN_BYTES_MAX {
        return read_long(&*file, macs);
    }
    let bytes = read_first(&*file, length).map_err(said)?;
    index::decode(macs, &bytes).map_err(|error| error.to_string())
}

fn read_first(file: &dyn StoredFile, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn read_long(file: &dyn StoredFile, macs: &Macs) -> Result<Vec<IndexedPack>, String> {
    let said = |error: io::Error| error.to_string();
    let body = file.length() - MAC_BYTES as u64;
    let proven = authenticated(file, macs, body).map_err(said)?.ok_or("it is not authentic")?;
    let bytes = read_first(file, body).map_err(said)?;
    if Digest::of(&bytes) != proven {
        return Err("it changed while it was read".into());
    }
    index::decode_proven(macs, &bytes).map_err(|error| error.to_string())
}

/// Authenticates a long index file, so many bytes and their tag, without holding it in memory. Returns the digest of the
/// bytes, so that they can be known again for less than a second authentication.
fn authenticated(file: &dyn StoredFile, macs: &Macs, body: u64) -> io::Result<Option<Digest>> {
    let mut tag = [0; MAC_BYTES];
    file.read_at(&mut tag, body)?;
    let mut hasher = blake3::Hasher::new();
    let is_authentic = macs.verifies_stream(Domain::Index, 0, &tag, |take| -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < body {
            let piece = &mut buffer[..(body - at).min(1 << 20) as usize];
            file.read_at(piece, at)?;
            hasher.update(piece);
            take(piece);
            at += piece.len() as u64;
        }
        Ok(())
    })?;
    Ok(is_authentic.then(|| Digest(*hasher.finalize().as_bytes())))
}

/// Returns the id that an index file's name stands for.
fn index_id(name: &str) -> Option<Id> {
    name.strip_suffix(".idx")?.parse().ok()
}

/// Adds an index file for new packs, and merges the files where there are many. The index is a cache: whoever calls
/// this reports a failure and goes on.
///
/// # Errors
/// The medium refuses.
pub fn add(store: &dyn Store, macs: &Macs, packs: &[IndexedPack]) -> io::Result<()> {
    if packs.is_empty() {
        return Ok(());
    }
    let files: Vec<String> = own_files(store)?.into_iter().filter(|name| index_id(name).is_some()).collect();
    if files.len() < limits::INDEX_FILES_MAX {
        return write_file(store, macs, packs);
    }
    let mut all = packs.to_vec();
    for name in &files {
        // A file that does not authenticate is worth nothing: its packs' footers are read again.
        let path = format!("{}/{name}", layout::INDEX);
        all.extend(read_file(store, macs, &path, limits::INDEX_BYTES_MAX).unwrap_or_default());
    }
    all.sort_by_key(|pack| pack.name);
    all.dedup_by_key(|pack| pack.name);
    write_file(store, macs, &all)?;
    sweep::discard_index(store, &files)
}

/// Replaces the whole index.
///
/// # Errors
/// The medium refuses.
pub(super) fn replace(store: &dyn Store, macs: &Macs, packs: &[IndexedPack]) -> io::Result<u64> {
    let old = own_files(store)?;
    write_file(store, macs, packs)?;
    sweep::discard_index(store, &old)?;
    Ok(old.len() as u64)
}

/// Returns the files that belong to the index, unfinished ones too, and makes its directory where it is missing. What
/// else lies there is not the index's to remove.
fn own_files(store: &dyn Store) -> io::Result<Vec<String>> {
    let listed = match store.list(layout::INDEX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            store.create_directory(layout::INDEX)?;
            store.sync_directory("")?;
            return Ok(Vec::new());
        }
        other => other?,
    };
    let own = |file: &Listed| {
        file.kind == NameKind::File && (index_id(&file.name).is_some() || file.name.starts_with(DRAFT_PREFIX))
    };
    Ok(listed.into_iter().filter(own).map(|file| file.name).collect())
}

fn write_file(store: &dyn Store, macs: &Macs, packs: &[IndexedPack]) -> io::Result<()> {
    let id = Id(random()?);
    // Written under another name first, so that no reader meets half of it.
    let (draft, path) = (format!("{}/{DRAFT_PREFIX}{id}", layout::INDEX), layout::index_path(id));
    store.write_durably(&draft, &index::encode(macs, packs))?;
    store.rename_new(&draft, &path)?;
    store.sync_directory(layout::INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use crate::format::pack::Footer;
    use crate::store::LocalStore;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A file that reads as one thing so many times, and then as another of the same length.
    struct Changing {
        reads: AtomicUsize,
        first: (usize, Vec<u8>),
        then: Vec<u8>,
    }

    impl StoredFile for Changing {
        fn length(&self) -> u64 {
            self.then.len() as u64
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let first = self.reads.fetch_add(1, Ordering::SeqCst) < self.first.0;
            let bytes = if first { &self.first.1 } else { &self.then };
            buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
            Ok(())
        }

        fn drop_cached(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_long_index_that_changes_between_proof_and_reading_is_not_believed() {
        let macs = Macs::new(&Secret::from_bytes([3; 32]), Id([4; 16]));
        let footer = Footer::new(Id([4; 16]), Id([5; 16]));
        let packs = vec![IndexedPack::new(Digest([6; 32]), footer.pack_bytes(), footer)];
        let authentic = index::encode(&macs, &packs);
        let mut planted = authentic.clone();
        // The name of the pack, behind magic, vault and count.
        planted[16 + 16 + 4] ^= 1;
        // Two reads prove it: the tag, and all before it.
        let read = |count, first: &[u8], then: &[u8]| {
            let (reads, first) = (AtomicUsize::new(0), (count, first.to_vec()));
            read_long(&Changing { reads, first, then: then.to_vec() }, &macs)
        };
        assert_eq!(read(0, &authentic, &authentic), Ok(packs));
        assert_eq!(read(0, &authentic, &planted), Err("it is not authentic".into()));
        assert_eq!(read(2, &authentic, &planted), Err("it changed while it was read".into()));
        assert_eq!(read(2, &planted, &authentic), Err("it is not authentic".into()));
    }

    fn macs() -> Macs {
        Macs::new(&Secret::from_bytes([3; 32]), Id([4; 16]))
    }

    /// A pack of its own for each number.
    fn pack(number: u8) -> IndexedPack {
        let footer = Footer::new(Id([4; 16]), Id([number; 16]));
        IndexedPack::new(Digest([number; 32]), footer.pack_bytes(), footer)
    }

    /// A store, and the directory of its index.
    fn store() -> (tempfile::TempDir, LocalStore, std::path::PathBuf) {
        let root = tempfile::tempdir().expect("a directory");
        let store = LocalStore::open(root.path()).expect("there");
        let directory = root.path().join(layout::INDEX);
        (root, store, directory)
    }

    #[test]
    fn so_many_index_files_are_read_and_no_more() {
        let (_root, store, directory) = store();
        std::fs::create_dir(&directory).expect("new");
        for (number, whole) in [(64u8, true), (65, false)] {
            for number in 1..=number {
                let bytes = index::encode(&macs(), &[pack(number)]);
                std::fs::write(directory.join(format!("{}.idx", Id([number; 16]))), bytes).expect("writable");
            }
            let mut state = IndexState::default();
            assert_eq!(read(&store, &macs(), 0, &mut state).len(), 64);
            assert_eq!(state.ignored.is_empty(), whole, "{:?}", state.ignored);
        }
    }

    #[test]
    fn an_index_file_longer_than_all_footers_can_be_is_not_read() {
        let (_root, store, directory) = store();
        std::fs::create_dir(&directory).expect("new");
        let file = std::fs::File::create(directory.join("x")).expect("new");
        for (length, why) in [(EMPTY_BYTES_MAX + 9, "it is not authentic"), (EMPTY_BYTES_MAX + 10, "longer than")] {
            file.set_len(length).expect("room");
            let refused = read_file(&store, &macs(), "index/x", 9).expect_err("zeros");
            assert!(refused.starts_with(why), "{length}: {refused}");
        }
    }

    #[test]
    fn index_files_stand_side_by_side_up_to_their_number_and_are_one_then() {
        let (_root, store, directory) = store();
        for number in 1..=10 {
            add(&store, &macs(), &[pack(number)]).expect("writable");
            let files = std::fs::read_dir(&directory).expect("there").count();
            assert_eq!(files, [1, 2, 3, 4, 5, 6, 7, 8, 1, 2][usize::from(number) - 1]);
            let mut state = IndexState::default();
            assert_eq!(read(&store, &macs(), 0, &mut state).len(), usize::from(number));
            assert!(state.ignored.is_empty(), "{:?}", state.ignored);
        }
    }

    #[test]
    fn the_indexs_own_files_are_those_of_its_names_and_nothing_else() {
        let (_root, store, directory) = store();
        assert_eq!(own_files(&store).expect("made"), [""; 0]);
        let (index, draft) = (format!("{}.idx", Id([1; 16])), format!("{DRAFT_PREFIX}{}", Id([2; 16])));
        for name in [&index[..], &draft[..], "notes.txt", "1.idx"] {
            std::fs::write(directory.join(name), "x").expect("writable");
        }
        for name in [format!("{}.idx", Id([3; 16])), format!("{DRAFT_PREFIX}{}", Id([4; 16]))] {
            std::fs::create_dir(directory.join(name)).expect("new");
        }
        let mut own = own_files(&store).expect("there");
        own.sort();
        assert_eq!(own, [draft, index]);
    }

    #[test]
    fn what_stands_in_the_place_of_the_index_is_told_and_left_alone() {
        let (_root, store, directory) = store();
        std::fs::write(&directory, "x").expect("new");
        let refused = add(&store, &macs(), &[pack(1)]).expect_err("a file");
        assert_eq!(refused.kind(), io::ErrorKind::NotADirectory);
        assert_eq!(std::fs::read(&directory).expect("there"), b"x");
    }
}
