//! Holding files of a directory against the entries of a snapshot, byte for byte: what is the same, what was changed, and
//! what was changed though nothing says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Change, Difference};
use crate::format::entry::Entry;
use crate::fsys::walk::is_gone;
use crate::fsys::{self, Dir, ObjectKind, Stat};
use crate::limits;
use crate::ops::change::{Aspect, State};
use crate::ops::holding::{Holder, Unlike};
use crate::path::EntryPath;
use crate::vault::Finding;
use crate::vault::read::Reader;

/// Something to compare, or compared already.
pub(super) enum Work {
    /// It needs no reading.
    Decided(Outcome),
    /// A file is to be read.
    Check(Box<Check>),
}

/// What a comparison came to.
pub(super) enum Outcome {
    /// Nothing differs.
    Same,
    /// Something does.
    Differs(Box<Difference>),
    /// It cannot be told, and why.
    Unknown(EntryPath, String),
    /// The vault does not tell what the file should hold.
    Broken(Finding),
}

/// A file of the same length as its entry.
pub(super) struct Check {
    pub(super) path: EntryPath,
    pub(super) entry: Entry,
    pub(super) reader: Arc<Reader>,
    pub(super) dir: Arc<Dir>,
    pub(super) name: Vec<u8>,
}

/// Files and bytes that were read, and what came of everything, in order.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) outcomes: Vec<Outcome>,
}

/// Compares everything in a batch, in order. Ends early where `stop` is set; what is missing then does not matter.
pub(super) fn compare(batch: Vec<Work>, stop: &AtomicBool) -> Compared {
    let mut compared = Compared::default();
    for work in batch {
        let outcome = match work {
            Work::Decided(outcome) => outcome,
            Work::Check(check) => {
                compared.files += 1;
                check.run(&mut compared.bytes, stop)
            }
        };
        compared.outcomes.push(outcome);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    compared
}

impl Check {
    /// Reads the file, again where it changed meanwhile, a bounded number of times.
    fn run(self, bytes: &mut u64, stop: &AtomicBool) -> Outcome {
        for attempt in 0..limits::READ_ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(std::time::Duration::from_millis(20 << attempt));
            }
            match self.once(bytes, stop) {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                Err(Unlike::Vault(mut finding)) => {
                    finding.paths.push(self.entry.path);
                    return Outcome::Broken(finding);
                }
                Err(Unlike::Io(error)) if is_gone(&self.dir, &self.name, &error) => {
                    let before = Some(State::of(&self.entry));
                    return differs(self.path, Change::Removed, Vec::new(), before, None);
                }
                Err(Unlike::Io(error)) => return Outcome::Unknown(self.path, error.to_string()),
                // What is missing then does not matter.
                Err(_) => break,
            }
        }
        Outcome::Unknown(self.path, "it keeps changing while it is read".into())
    }

    /// Returns nothing where the file changed while it was read.
    fn once(&self, bytes: &mut u64, stop: &AtomicBool) -> Result<Option<Outcome>, Unlike> {
        let file = self.dir.open_file(&self.name)?;
        let stat = fsys::stat_file(&file)?;
        if stat.kind != ObjectKind::File {
            return Ok(None);
        }
        let same = match self.entry.file().filter(|content| content.size == stat.size) {
            None => false,
            Some(content) => {
                let mut holder = Holder::new(&self.reader, stop);
                let held = holder.hold(&file, content);
                *bytes += holder.bytes;
                match held {
                    Ok(_) => true,
                    Err(Unlike::Content | Unlike::Longer | Unlike::Shorter) => false,
                    Err(other) => return Err(other),
                }
            }
        };
        let after = fsys::stat_file(&file)?;
        if (stat.size, stat.mtime, stat.ctime) != (after.size, after.mtime, after.ctime) {
            return Ok(None);
        }
        Ok(Some(judge(&self.path, &self.entry, &stat, same)))
    }
}

/// Says what became of a file. Content that differs while length and modification time do not was changed by something
/// that does not write files as programs do: a medium, a memory, or somebody who put the time back.
fn judge(path: &EntryPath, entry: &Entry, stat: &Stat, same: bool) -> Outcome {
    let (before, after) = (State::of(entry), State::seen(stat, &[]));
    let mut aspects = before.differs(&after);
    if same {
        return match aspects[..] {
            [] => Outcome::Same,
            _ => differs(path.clone(), Change::Changed, aspects, Some(before), Some(after)),
        };
    }
    let looks_unchanged = !aspects.contains(&Aspect::Content) && !aspects.contains(&Aspect::Mtime);
    if !aspects.contains(&Aspect::Content) {
        aspects.insert(0, Aspect::Content);
    }
    if !looks_unchanged || entry.mtime.is_none() {
        return differs(path.clone(), Change::Changed, aspects, Some(before), Some(after));
    }
    Outcome::Differs(Box::new(Difference {
        path: path.clone(),
        change: Change::Corrupt,
        aspects,
        before: Some(before),
        after: Some(after),
        detail: Some(evidence(entry, stat)),
    }))
}

/// Says what the inode tells of content that changed without its modification time.
fn evidence(entry: &Entry, stat: &Stat) -> String {
    let file = entry.file();
    let ino = file.and_then(|file| file.ino);
    let ctime = file.and_then(|file| file.ctime);
    let rest = match (ino, ctime.zip(stat.ctime)) {
        (Some(ino), _) if ino != stat.id.number => {
            "it is another file than the one that was backed up, or a copy of it"
        }
        (Some(_), Some((then, now))) if then == now => "inode and change time are the same too: no program wrote this",
        (Some(_), Some(_)) => "its inode changed since: damage, or a program that put the time back",
        _ => "inode and change time are not known",
    };
    format!("content differs while length and modification time do not; {rest}")
}

fn differs(
    path: EntryPath,
    change: Change,
    aspects: Vec<Aspect>,
    before: Option<State>,
    after: Option<State>,
) -> Outcome {
    Outcome::Differs(Box::new(Difference { path, change, aspects, before, after, detail: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::crypto::Digest;
    use crate::format::entry::{ChunkRef, Chunks, FileContent, Holes, Kind};
    use crate::fsys::ObjectId;

    fn at(seconds: i64) -> Time {
        Time { seconds, nanos: 0 }
    }

    fn entry() -> Entry {
        let chunks = Chunks::Direct(vec![ChunkRef(Digest([1; 32]), 3)]);
        let content =
            FileContent { size: 3, holes: Holes::none(), chunks, ctime: Some(at(20)), ino: Some(7), racy: false };
        let path = EntryPath::parse(b"f").expect("valid");
        Entry { mode: Some(0o644), mtime: Some(at(10)), ..Entry::new(path, Kind::File(content)) }
    }

    fn stat(size: u64, mtime: i64, ctime: i64, number: u64) -> Stat {
        Stat {
            kind: ObjectKind::File,
            size,
            mode: Some(0o644),
            mtime: at(mtime),
            ctime: Some(at(ctime)),
            id: ObjectId { device: 1, number },
            links: 1,
            ..Stat::default()
        }
    }

    #[test]
    fn only_content_that_changed_without_its_length_and_time_is_corrupt() {
        let judged = |stat: &Stat, same| match judge(&EntryPath::root(), &entry(), stat, same) {
            Outcome::Same => "same".to_owned(),
            Outcome::Differs(difference) => {
                let aspects: Vec<&str> = difference.aspects.iter().map(|aspect| aspect.name()).collect();
                format!("{} {}", difference.change.name(), aspects.join(" "))
            }
            Outcome::Unknown(..) | Outcome::Broken(_) => "unknown".to_owned(),
        };
        assert_eq!(judged(&stat(3, 10, 20, 7), true), "same");
        assert_eq!(judged(&stat(3, 10, 99, 8), true), "same", "a faithful copy is the same");
        assert_eq!(judged(&stat(3, 11, 20, 7), true), "changed mtime");
        assert_eq!(judged(&stat(3, 11, 99, 7), false), "changed content mtime");
        assert_eq!(judged(&stat(4, 10, 99, 7), false), "changed content", "a length that changed is no secret");
        assert_eq!(judged(&stat(3, 10, 20, 7), false), "corrupt content");
        assert_eq!(judged(&stat(3, 10, 99, 7), false), "corrupt content");
        assert_eq!(judged(&stat(3, 10, 99, 8), false), "corrupt content");
    }

    #[test]
    fn the_evidence_tells_a_medium_from_a_program() {
        assert!(evidence(&entry(), &stat(3, 10, 20, 7)).contains("no program wrote this"));
        assert!(evidence(&entry(), &stat(3, 10, 99, 7)).contains("put the time back"));
        assert!(evidence(&entry(), &stat(3, 10, 20, 8)).contains("another file"));
    }
}
