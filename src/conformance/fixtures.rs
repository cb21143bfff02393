//! The fixtures that the program carries: vaults good and bad, and test vectors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::crypto::Digest;

/// Every fixture by its path below `fixtures/`, in which `/` separates.
#[derive(Debug, Clone, Default)]
pub struct Fixtures {
    files: BTreeMap<String, Cow<'static, [u8]>>,
}

impl Fixtures {
    /// Returns those that the program carries.
    pub fn embedded() -> Self {
        let files = super::list::FILES.iter();
        Self { files: files.map(|(name, bytes)| ((*name).to_owned(), Cow::Borrowed(*bytes))).collect() }
    }

    /// Takes others, as those on disk before they are embedded.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { files: files.into_iter().map(|(name, bytes)| (name, Cow::Owned(bytes))).collect() }
    }

    /// Returns a file, if it is there.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|bytes| &**bytes)
    }

    /// Returns the files whose names begin with `prefix`, ascending, with the rest of their names.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let from = self.files.range(prefix.to_owned()..);
        from.map_while(move |(name, bytes)| Some((name.strip_prefix(prefix)?, &**bytes)))
    }

    /// Returns what names all of them: two programs with the same digest carry the same fixtures.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for (name, bytes) in &self.files {
            hasher.update(Digest::of(name.as_bytes()).0.as_slice());
            hasher.update(Digest::of(bytes).0.as_slice());
        }
        Digest(*hasher.finalize().as_bytes())
    }
}
