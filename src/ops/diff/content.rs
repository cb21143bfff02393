//! Holding files of a directory against the entries of a snapshot, byte for byte: what is the same, what was changed, and
//! what was changed though nothing says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Change, Difference};
use crate::format::attribute::Attribute;
use crate::format::entry::Entry;
use crate::fsys::walk::is_gone;
use crate::fsys::{self, ChangeTimes, Dir, Object, ObjectKind, Stat, Xattr};
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
    /// It is to be looked at.
    Check(Box<Check>, Look),
}

/// What is to be looked at.
#[derive(Clone, Copy)]
pub(super) struct Look {
    content: bool,
    attributes: bool,
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

/// A path that is on both sides.
pub(super) struct Check {
    pub(super) path: EntryPath,
    pub(super) entry: Entry,
    /// What the entry says, as it would be here.
    pub(super) before: State,
    pub(super) stat: Box<Stat>,
    pub(super) target: Vec<u8>,
    /// What is known to differ already.
    pub(super) more: Vec<Aspect>,
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
            Work::Check(check, look) => {
                compared.files += u64::from(check.entry.file().is_some());
                check.run(look, &mut compared.bytes, stop)
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
    /// Returns what is to be done: nothing more where it is of another kind; else to look at what the options ask for.
    pub(super) fn into_work(self, quick: bool, attributes: bool) -> Work {
        let aspects = self.before.differs(&State::seen(&self.stat, &self.target));
        if aspects.contains(&Aspect::Kind) {
            return Work::Decided(self.judge(&self.stat, true, Vec::new()));
        }
        let read = self.entry.file().is_some() && !quick && !aspects.contains(&Aspect::Content);
        Work::Check(Box::new(self), Look { content: read, attributes })
    }

    fn run(mut self, look: Look, bytes: &mut u64, stop: &AtomicBool) -> Outcome {
        if look.attributes {
            match self.attributes_differ() {
                Ok(differ) => self.more.extend(differ.then_some(Aspect::Attributes)),
                Err(error) if self.is_gone(&error) => return self.gone(),
                Err(error) => return Outcome::Unknown(self.path, format!("its attributes: {error}")),
            }
        }
        let more = std::mem::take(&mut self.more);
        if look.content { self.read(more, bytes, stop) } else { self.judge(&self.stat, true, more) }
    }

    fn is_gone(&self, error: &std::io::Error) -> bool {
        self.stat.kind != ObjectKind::Directory && is_gone(&self.dir, &self.name, error)
    }

    fn gone(self) -> Outcome {
        differs(self.path, Change::Removed, Vec::new(), Some(self.before), None)
    }

    /// Compares extended attributes, access lists among them, and streams where the platform has them.
    fn attributes_differ(&self) -> std::io::Result<bool> {
        let object = match self.stat.kind {
            ObjectKind::Directory => Object::Directory(&self.dir),
            _ => Object::Name(&self.dir, &self.name),
        };
        let same = |meant: &[Attribute], found: &[Xattr]| {
            let meant: Vec<&Attribute> = meant.iter().filter(|one| is_seen(&one.name)).collect();
            let found: Vec<&Xattr> = found.iter().filter(|(name, _)| is_seen(name)).collect();
            meant.len() == found.len()
                && meant.iter().zip(found).all(|(meant, (name, value))| meant.name == *name && meant.value.is(value))
        };
        Ok(!same(&self.entry.xattrs, &object.xattrs()?)
            || (cfg!(windows) && !same(&self.entry.streams, &object.streams()?)))
    }

    /// Reads the file, again where it changed meanwhile, a bounded number of times.
    fn read(self, more: Vec<Aspect>, bytes: &mut u64, stop: &AtomicBool) -> Outcome {
        for attempt in 0..limits::READ_ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(std::time::Duration::from_millis(20 << attempt));
            }
            match self.once(&more, bytes, stop) {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                Err(Unlike::Vault(mut finding)) => {
                    finding.paths.push(self.path);
                    return Outcome::Broken(finding);
                }
                Err(Unlike::Io(error)) if self.is_gone(&error) => return self.gone(),
                Err(Unlike::Io(error)) => return Outcome::Unknown(self.path, error.to_string()),
                // What is missing then does not matter.
                Err(_) => break,
            }
        }
        Outcome::Unknown(self.path, "it keeps changing while it is read".into())
    }

    /// Returns nothing where the file changed while it was read.
    fn once(&self, more: &[Aspect], bytes: &mut u64, stop: &AtomicBool) -> Result<Option<Outcome>, Unlike> {
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
        Ok(Some(self.judge(&stat, same, more.to_vec())))
    }

    /// Says what became of a path. Content that differs while length and modification time do not was changed by something
    /// that does not write files as programs do: a medium, a memory, or somebody who put the time back.
    fn judge(&self, stat: &Stat, same: bool, more: Vec<Aspect>) -> Outcome {
        let (before, after) = (self.before.clone(), State::seen(stat, &self.target));
        let mut aspects = before.differs(&after);
        let looks_unchanged = ![Aspect::Kind, Aspect::Content, Aspect::Mtime].iter().any(|one| aspects.contains(one));
        aspects.extend(more);
        if !same {
            aspects.push(Aspect::Content);
        }
        aspects.sort_unstable();
        aspects.dedup();
        if aspects.is_empty() {
            return Outcome::Same;
        }
        // A second image need not differ from the first in anything but its content.
        let is_image = || fsys::change_times(&self.dir) == ChangeTimes::OfAnImage;
        if same || !looks_unchanged || self.entry.mtime.is_none() || is_image() {
            return differs(self.path.clone(), Change::Changed, aspects, Some(before), Some(after));
        }
        Outcome::Differs(Box::new(Difference {
            path: self.path.clone(),
            change: Change::Corrupt,
            aspects,
            before: Some(before),
            after: Some(after),
            detail: Some(evidence(&self.entry, stat, fsys::change_times(&self.dir))),
        }))
    }
}

/// Returns whether this user sees attributes of a name at all: some are for the superuser alone.
fn is_seen(name: &[u8]) -> bool {
    fsys::is_root() || !name.starts_with(b"trusted.")
}

/// Says what the inode tells of content that changed without its modification time.
fn evidence(entry: &Entry, stat: &Stat, change_times: ChangeTimes) -> String {
    let file = entry.file();
    let ino = file.and_then(|file| file.ino);
    let ctime = file.and_then(|file| file.ctime);
    let rest = match (ino, ctime.zip(stat.ctime)) {
        (Some(ino), _) if ino != stat.id.number => {
            "it is another file than the one that was backed up, or a copy of it"
        }
        (Some(_), Some((then, now))) if then == now && change_times != ChangeTimes::Kept => {
            "inode and change time are the same too, which proves nothing on this file system"
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

    fn check() -> Check {
        let root = tempfile::tempdir().expect("a directory");
        let store: Arc<dyn crate::store::Store> =
            Arc::new(crate::store::LocalStore::open(root.path()).expect("readable"));
        let entry = entry();
        Check {
            path: EntryPath::root(),
            before: State::of(&entry),
            entry,
            stat: Box::default(),
            target: Vec::new(),
            more: Vec::new(),
            reader: Arc::new(Reader::unproven(store, Arc::default())),
            dir: Arc::new(Dir::open(root.path()).expect("readable")),
            name: Vec::new(),
        }
    }

    #[test]
    fn only_content_that_changed_without_its_length_and_time_is_corrupt() {
        let judged = |stat: &Stat, same| match check().judge(stat, same, Vec::new()) {
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
        assert!(evidence(&entry(), &stat(3, 10, 20, 7), ChangeTimes::Kept).contains("no program wrote this"));
        assert!(evidence(&entry(), &stat(3, 10, 20, 7), ChangeTimes::Weak).contains("proves nothing"));
        assert!(evidence(&entry(), &stat(3, 10, 99, 7), ChangeTimes::Kept).contains("put the time back"));
        assert!(evidence(&entry(), &stat(3, 10, 20, 8), ChangeTimes::Kept).contains("another file"));
    }
}
