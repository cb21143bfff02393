//! Taking objects in path order: each becomes an entry, or stands in the way of the snapshot.

use std::path::Path;
use std::sync::Arc;

use super::Report;
use super::file::{self, Read};
use super::prior::Prior;
use super::queue::{Item, Queue, Results};
use super::sieve::BadRules;
use crate::clock::Clock;
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::entry::{ChunkRef, Chunks, Entry, FileContent, Kind, ListRef, encode_chunk_list};
use crate::format::pack::BlockKind;
use crate::fsys::walk::Found;
use crate::fsys::{self, ObjectKind};
use crate::limits;
use crate::ops::rules::Rules;
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::Finding;
use crate::vault::listing::ListingWriter;
use crate::vault::read::Reader;
use crate::vault::write::{Draft, reference};

/// Files that stand in the way of a snapshot, complete.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) unreadable: Vec<(EntryPath, String)>,
    pub(super) changing: Vec<(EntryPath, String)>,
    pub(super) unsupported: Vec<(EntryPath, String)>,
    pub(super) rules: Vec<(EntryPath, String)>,
    pub(super) placeholders: Vec<(EntryPath, String)>,
    pub(super) held: Vec<(EntryPath, String)>,
    pub(super) left_out: Vec<EntryPath>,
}

impl Problems {
    /// Takes what a walk could not look at.
    pub(super) fn failed(&mut self, path: EntryPath, error: &std::io::Error) {
        let list = if BadRules::is(error) {
            &mut self.rules
        } else if fsys::is_held(error) {
            &mut self.held
        } else {
            &mut self.unreadable
        };
        list.push((path, error.to_string()));
    }

    /// Takes something whose content is not on this machine; looking into it would fetch it.
    pub(super) fn elsewhere(&mut self, path: EntryPath) {
        self.placeholders.push((path, "a cloud placeholder, whose content is not on this machine".into()));
    }

    /// Refuses if there is any, with the complete lists; the code is that of the first kind that occurs.
    pub(super) fn refuse(&self, source: &Path) -> Result<()> {
        let kinds = [
            (Code::SourceUnreadable, &self.unreadable, "cannot be read"),
            (Code::SourceChanging, &self.changing, "keep changing while they are read"),
            (Code::SourceUnsupported, &self.unsupported, "are of a kind that a vault cannot keep yet"),
            (Code::SourceRules, &self.rules, "are files of rules that cannot be used"),
            (Code::SourceElsewhere, &self.placeholders, "are not on this machine"),
            (Code::SourceHeld, &self.held, "are held by another process"),
        ];
        let Some((code, ..)) = kinds.iter().find(|(_, list, _)| !list.is_empty()) else { return Ok(()) };
        let counted: Vec<String> = kinds
            .iter()
            .filter(|(_, list, _)| !list.is_empty())
            .map(|(_, list, what)| format!("{} {what}", list.len()))
            .collect();
        let mut refusal =
            Refusal::new(*code, format!("of the objects in {}, {}", shown_path(source), counted.join(", ")));
        // Results of files come later than those of directories.
        let mut all: Vec<&(EntryPath, String)> = kinds.iter().flat_map(|(_, list, _)| *list).collect();
        all.sort();
        for (path, reason) in all {
            refusal.causes.push(format!("{path}: {reason}"));
            refusal.paths.push(path.clone());
        }
        Err(refusal.into())
    }
}

/// Takes objects in path order and turns them into entries.
pub(super) struct Taker<'a> {
    pub(super) draft: &'a mut Draft,
    pub(super) reader: Arc<Reader>,
    pub(super) writer: ListingWriter,
    pub(super) prior: Prior<'a>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress: &'a dyn Progress,
    pub(super) report: Report,
    pub(super) problems: Problems,
    pub(super) sizes: [u32; 3],
}

impl Taker<'_> {
    /// Decides what to do with an object: an entry at once, or a job.
    pub(super) fn look_at(&mut self, found: Found, queue: &mut Queue<'_>) -> Result<()> {
        if found.stat.kind == ObjectKind::Placeholder {
            self.problems.elsewhere(found.path);
            return Ok(());
        }
        let before = self.prior.at(&found.path);
        self.distrust_failed();
        let (mode, mtime) = (found.stat.mode, Some(found.stat.mtime));
        let entry = |kind| Entry { path: found.path.clone(), kind, mode, mtime };
        match found.stat.kind {
            ObjectKind::Directory => queue.push_entry(entry(Kind::Directory), false, self.sizes, &self.clock),
            ObjectKind::Symlink if found.target.is_empty() || found.target.len() > limits::TARGET_BYTES_MAX => {
                self.problems.unsupported.push((found.path, "a link target that is empty or too long".into()));
            }
            // Permission bits of a link mean nothing anywhere that keeps them.
            ObjectKind::Symlink => {
                let link = Kind::Symlink(found.target.clone());
                queue.push_entry(Entry { mode: None, ..entry(link) }, false, self.sizes, &self.clock);
            }
            ObjectKind::File => match before.filter(|before| file::is_unchanged(before, &found.stat)) {
                Some(before) if self.still_holds(&before) => {
                    queue.push_entry(Entry { mode, ..before }, true, self.sizes, &self.clock);
                }
                _ => queue.push_read(found, self.sizes, &self.clock),
            },
            other => self.problems.unsupported.push((found.path, format!("a {}", other.name()))),
        }
        Ok(())
    }

    /// Returns whether the vault still vouches for every chunk of a previous entry.
    fn still_holds(&mut self, entry: &Entry) -> bool {
        let Some(file) = entry.file() else { return false };
        match &file.chunks {
            Chunks::Direct(chunks) => chunks.iter().all(|chunk| self.draft.holds(*chunk)),
            Chunks::Listed(lists) => {
                if !lists.iter().all(|list| self.draft.holds(list.object())) {
                    return false;
                }
                let mut held = true;
                let read = self.reader.each_chunk(file, |chunk| {
                    held = held && self.draft.holds(chunk);
                    Ok::<_, Finding>(())
                });
                held &= read.is_ok();
                self.distrust_failed();
                held
            }
        }
    }

    /// What failed a read of this run is relied on no more, also where another pack had the chunk.
    pub(super) fn distrust_failed(&mut self) {
        if !self.reader.has_failed() {
            return;
        }
        for (pack, finding) in self.reader.failed_packs() {
            self.draft.older().distrust(finding, &pack);
        }
    }

    pub(super) fn take_results(&mut self, results: Results, may_change: &Rules) -> Result<()> {
        let Results { items, data } = results;
        for item in items {
            match item {
                Item::Entry(entry, unchanged) => self.add(&entry, unchanged)?,
                Item::Read(path, read) => self.take_read(path, read, &data, may_change)?,
                Item::Large(found) => self.take_large(&found, may_change)?,
                Item::Job(_) => unreachable!("jobs are done before their results are taken"),
            }
        }
        Ok(())
    }

    fn take_read(&mut self, path: EntryPath, read: Read, data: &[u8], may_change: &Rules) -> Result<()> {
        match read {
            Read::Whole(whole) => {
                for (chunk, range) in &whole.chunks {
                    self.draft.put(BlockKind::Data, *chunk, &data[range.clone()])?;
                }
                let chunks: Vec<ChunkRef> = whole.chunks.iter().map(|(chunk, _)| *chunk).collect();
                let chunks = self.name_chunks(chunks)?;
                self.add(&whole.entry(path, chunks), false)
            }
            Read::Gone => Ok(()),
            other => {
                self.file_problem(path, other, may_change);
                Ok(())
            }
        }
    }

    fn file_problem(&mut self, path: EntryPath, read: Read, may_change: &Rules) {
        match read {
            Read::Changing(_) if may_change.matches(&path, false) => self.problems.left_out.push(path),
            Read::Changing(reason) => self.problems.changing.push((path, reason)),
            Read::Held(reason) => self.problems.held.push((path, reason)),
            Read::Failed(reason) => self.problems.unreadable.push((path, reason)),
            Read::Whole(_) | Read::Gone => {}
        }
    }

    /// Reads a large file as a stream; its chunks go into the draft as they come.
    fn take_large(&mut self, found: &Found, may_change: &Rules) -> Result<()> {
        let (draft, progress) = (&mut *self.draft, self.progress);
        let mut advanced = 0;
        let read = file::read_large(found, self.sizes, &*self.clock, |chunk, bytes| {
            if progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            advanced += bytes.len() as u64;
            progress.advance(0, bytes.len() as u64);
            draft.put(BlockKind::Data, chunk, bytes).map(|_| ())
        })?;
        match read {
            Read::Whole(whole) => {
                let chunks = self.name_chunks(whole.chunks.iter().map(|(chunk, _)| *chunk).collect())?;
                let entry = whole.entry(found.path.clone(), chunks);
                self.count(&entry);
                self.progress.advance(1, whole.size.saturating_sub(advanced));
                self.writer.push(self.draft, &entry)
            }
            other => {
                self.file_problem(found.path.clone(), other, may_change);
                Ok(())
            }
        }
    }

    /// Names the chunks of a file directly, or by lists where they are many.
    fn name_chunks(&mut self, chunks: Vec<ChunkRef>) -> Result<Chunks> {
        if chunks.len() <= limits::ENTRY_CHUNKS_MAX {
            return Ok(Chunks::Direct(chunks));
        }
        let mut lists = Vec::new();
        for part in file::list_parts(&chunks) {
            let bytes = encode_chunk_list(part);
            let object = reference(&bytes);
            self.draft.put(BlockKind::Listing, object, &bytes)?;
            let content = part.iter().map(|chunk| u64::from(chunk.length())).sum();
            lists.push(ListRef(object.id(), object.length(), content));
        }
        if lists.len() > limits::ENTRY_LISTS_MAX {
            return refuse(Code::SourceUnsupported, "a file has more chunks than a vault can list");
        }
        Ok(Chunks::Listed(lists))
    }

    fn add(&mut self, entry: &Entry, unchanged: bool) -> Result<()> {
        self.count(entry);
        if let Some(file) = entry.file() {
            self.report.files_unchanged += u64::from(unchanged);
            self.progress.advance(1, file.size);
        }
        self.writer.push(self.draft, entry)
    }

    fn count(&mut self, entry: &Entry) {
        let counts = &mut self.report.counts;
        match &entry.kind {
            Kind::Directory => counts.directories += 1,
            Kind::Symlink(_) => counts.symlinks += 1,
            Kind::File(FileContent { size, .. }) => {
                counts.files += 1;
                counts.bytes += size;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_has_its_code_and_all_paths_are_named() {
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        let code = |problems: &Problems| problems.refuse(Path::new("/s")).expect_err("a problem").code();
        let mut problems = Problems::default();
        assert!(problems.refuse(Path::new("/s")).is_ok());
        problems.failed(path("held"), &std::io::ErrorKind::ResourceBusy.into());
        assert_eq!(code(&problems), Some(Code::SourceHeld));
        problems.elsewhere(path("cloud"));
        assert_eq!(code(&problems), Some(Code::SourceElsewhere));
        problems.failed(path("closed"), &std::io::ErrorKind::PermissionDenied.into());
        let Err(Error::Refused(refusal)) = problems.refuse(Path::new("/s")) else { panic!("no refusal") };
        assert_eq!(refusal.code, Code::SourceUnreadable);
        assert_eq!(refusal.paths, [path("closed"), path("cloud"), path("held")]);
    }
}
