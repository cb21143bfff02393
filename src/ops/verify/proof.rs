//! What was read intact, and what each list of files comes to against it.

use std::sync::Arc;

use super::{Level, unstable};
use crate::crypto::Digest;
use crate::error::Result;
use crate::format::entry::{ChunkRef, Entry};
use crate::format::links;
use crate::format::listing::PartRef;
use crate::format::record::Counts;
use crate::path::EntryPath;
use crate::vault::Finding;
use crate::vault::catalog::{Catalog, Place};
use crate::vault::read::{Reader, check_seam};

/// Which places hold what they should.
pub(super) struct Proof {
    pub(super) level: Level,
    pub(super) catalog: Arc<Catalog>,
    // By position among the catalog's places: read in this run, and intact.
    read: Vec<bool>,
    // By pack: nothing in it counts but what was read.
    asked: Vec<bool>,
}

/// Why a chunk is not recoverable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lack {
    /// No pack holds it.
    Missing,
    /// A pack that holds it is damaged there; counted in the catalog.
    Damaged(u32),
}

/// How a chunk, or one place of it, stands; the better the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Lacks(Lack),
    /// It is there, in a pack that nobody asked for.
    There,
    /// It was read in this run, and is intact.
    Read,
}

impl Proof {
    /// Begins with nothing read. Where not everything will be, what is there counts until its pack is asked.
    pub(super) fn new(level: Level, catalog: &Arc<Catalog>) -> Self {
        let asked = vec![level == Level::Full; catalog.packs().len()];
        Self { level, catalog: Arc::clone(catalog), read: vec![false; catalog.place_count()], asked }
    }

    /// Lets nothing in a pack count any more but what is read of it from now on.
    pub(super) fn ask(&mut self, pack: u32) {
        self.asked[pack as usize] = true;
    }

    pub(super) fn prove(&mut self, chunk: ChunkRef, pack: u32) {
        let catalog = &self.catalog;
        for (at, place) in catalog.placed(chunk) {
            if catalog.block(place.block).pack == pack {
                self.read[at] = true;
            }
        }
    }

    /// Returns why a chunk is not recoverable, if it is not.
    pub(super) fn lack(&self, chunk: ChunkRef) -> Option<Lack> {
        match self.standing(chunk) {
            Standing::Read | Standing::There => None,
            Standing::Lacks(lack) => Some(lack),
        }
    }

    /// Returns how a chunk stands: by the best of its places.
    fn standing(&self, chunk: ChunkRef) -> Standing {
        let mut best = Standing::Lacks(Lack::Missing);
        for (at, place) in self.catalog.placed(chunk) {
            if self.read[at] {
                return Standing::Read;
            }
            let pack = self.pack(place);
            let asked = self.asked[pack as usize];
            best = best.max(if asked { Standing::Lacks(Lack::Damaged(pack)) } else { Standing::There });
        }
        best
    }

    fn pack(&self, place: &Place) -> u32 {
        self.catalog.block(place.block).pack
    }
}

/// What one segment list came to, whatever snapshot names it.
pub(super) struct ListCheck {
    pub(super) counts: Counts,
    pub(super) files_whole: u64,
    pub(super) first: Option<Entry>,
    pub(super) last: Option<(EntryPath, bool)>,
    pub(super) lacks: Vec<(EntryPath, Lack)>,
    // Of objects with several names: each name, the first one if it is a further one, and what must agree.
    pub(super) names: Vec<(EntryPath, Option<EntryPath>, Digest)>,
    pub(super) findings: Vec<Finding>,
}

impl ListCheck {
    fn empty() -> Self {
        Self {
            counts: Counts::default(),
            files_whole: 0,
            first: None,
            last: None,
            lacks: Vec::new(),
            names: Vec::new(),
            findings: Vec::new(),
        }
    }

    pub(super) fn new(reader: &Reader, proof: &Proof, list: &PartRef) -> Self {
        let mut check = Self::empty();
        check.require(proof, list.object, &list.first);
        match check.steadily(proof, list.object, || reader.segment_list(list)) {
            Ok(segments) => {
                for segment in &segments {
                    check.require(proof, segment.object, &segment.first);
                    match check.steadily(proof, segment.object, || reader.segment(segment)) {
                        Ok(entries) => check.take(reader, proof, entries),
                        Err(finding) => check.blame_part(finding, &segment.first),
                    }
                }
            }
            Err(finding) => check.blame_part(finding, &list.first),
        }
        check
    }

    /// Reads an object of the listing; a second time where the first fails although its pack was read intact.
    fn steadily<T>(
        &mut self,
        proof: &Proof,
        object: ChunkRef,
        read: impl Fn() -> Result<T, Finding>,
    ) -> Result<T, Finding> {
        let first = match read() {
            Err(finding) if proof.lack(object).is_none() => finding,
            other => return other,
        };
        let second = read()?;
        self.findings.push(unstable(first));
        Ok(second)
    }

    /// An object of the listing must be as intact as the content.
    fn require(&mut self, proof: &Proof, object: ChunkRef, first: &EntryPath) {
        if proof.level == Level::Full
            && let Some(lack) = proof.lack(object)
        {
            self.lacks.push((first.clone(), lack));
        }
    }

    fn blame_part(&mut self, mut finding: Finding, first: &EntryPath) {
        finding.paths.push(first.clone());
        self.findings.push(finding);
        // Whatever follows cannot be held against what is not known.
        self.last = None;
    }

    fn take(&mut self, reader: &Reader, proof: &Proof, entries: Vec<Entry>) {
        if let (Some((path, directory)), Some(first)) = (&self.last, entries.first())
            && let Err(finding) = check_seam(Some((path, *directory)), first)
        {
            self.findings.push(finding);
        }
        for entry in &entries {
            self.counts.add(entry);
            if entry.links.is_some() {
                self.names.push((entry.path.clone(), entry.hardlink.clone(), links::body(entry)));
            }
            let (mut lack, mut whole) = (None, true);
            let read = reader.each_needed(entry, |chunk| {
                let standing = proof.standing(chunk);
                whole &= standing == Standing::Read;
                if let Standing::Lacks(one) = standing {
                    lack.get_or_insert(one);
                }
                Ok::<_, Finding>(())
            });
            self.files_whole += u64::from(entry.file().is_some() && whole && read.is_ok());
            self.lacks.extend(lack.map(|lack| (entry.path.clone(), lack)));
            if let Err(mut finding) = read {
                finding.paths.push(entry.path.clone());
                self.findings.push(finding);
            }
        }
        self.last = entries.last().map(|entry| (entry.path.clone(), entry.is_directory()));
        if self.first.is_none() {
            self.first = entries.into_iter().next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Id;
    use crate::format::index::IndexedPack;
    use crate::format::pack::{BlockInfo, BlockKind, Encoding, Footer};
    use crate::refusal::Code;

    fn chunk(number: u8) -> ChunkRef {
        ChunkRef(Digest([number; 32]), 10)
    }

    fn pack(number: u8, chunks: &[u8]) -> IndexedPack {
        let mut footer = Footer::new(Id([0; 16]), Id([number; 16]));
        let bytes = 10 * chunks.len() as u32;
        footer.blocks.push(BlockInfo {
            offset: footer.body_bytes,
            stored: bytes,
            plain: bytes,
            encoding: Encoding::Raw,
            kind: BlockKind::Data,
            digest: Digest([0; 32]),
            chunks: chunks.iter().map(|number| chunk(*number)).collect(),
        });
        footer.body_bytes += u64::from(bytes);
        IndexedPack::new(Digest([number; 32]), footer.pack_bytes(), footer)
    }

    /// Two packs, which both have chunk 2.
    fn catalog() -> Arc<Catalog> {
        let mut catalog = Catalog::default();
        catalog.extend(&[pack(0, &[1, 2]), pack(1, &[2, 3])]);
        Arc::new(catalog)
    }

    #[test]
    fn what_is_there_counts_until_its_pack_is_asked_and_then_only_what_was_read_of_it() {
        let mut proof = Proof::new(Level::Quick, &catalog());
        let lacks = |proof: &Proof| [1, 2, 3, 4].map(|number| proof.lack(chunk(number)));
        let (none, missing, damaged) = (None, Some(Lack::Missing), |pack| Some(Lack::Damaged(pack)));
        assert_eq!(lacks(&proof), [none, none, none, missing]);
        proof.ask(0);
        assert_eq!(lacks(&proof), [damaged(0), none, none, missing], "another pack has the second");
        proof.ask(1);
        assert_eq!(lacks(&proof), [damaged(0), damaged(1), damaged(1), missing]);
        proof.prove(chunk(2), 0);
        assert_eq!(lacks(&proof), [damaged(0), none, damaged(1), missing]);
        proof.prove(chunk(3), 0);
        assert_eq!(lacks(&proof), [damaged(0), none, damaged(1), missing], "it lies in the other pack");
        proof.prove(chunk(3), 1);
        proof.prove(chunk(1), 0);
        assert_eq!(lacks(&proof), [none, none, none, missing]);

        let proof = Proof::new(Level::Full, &catalog());
        assert_eq!(lacks(&proof), [damaged(0), damaged(1), damaged(1), missing], "every pack is asked");
    }

    #[test]
    fn an_object_is_read_a_second_time_only_where_its_pack_was_read_intact() {
        let mut proof = Proof::new(Level::Full, &catalog());
        proof.prove(chunk(1), 0);
        let failing_once = |check: &mut ListCheck, number| {
            let reads = std::cell::Cell::new(0);
            let read = || {
                reads.set(reads.get() + 1);
                if reads.get() == 1 { Err(Finding::new(Code::ListingDamaged, "a list", "it is cut")) } else { Ok(()) }
            };
            let outcome = check.steadily(&proof, chunk(number), read).map_err(|finding| finding.code);
            (outcome, reads.get())
        };
        let mut check = ListCheck::empty();
        assert_eq!(failing_once(&mut check, 3), (Err(Code::ListingDamaged), 1), "its pack did not prove it");
        assert_eq!(check.findings, []);
        assert_eq!(failing_once(&mut check, 1), (Ok(()), 2));
        assert_eq!(check.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::Unstable]);
    }
}
