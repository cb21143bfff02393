//! The directory that is backed up: found, kept apart from the vault, and walked ahead of what takes it.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded};
use ignore::gitignore::Gitignore;

use super::Options;
use super::file;
use super::queue::Queue;
use super::take::Taker;
use crate::error::{Error, Result, refuse, shown_path};
use crate::fsys::walk::{Decision, Event, walk};
use crate::fsys::{Dir, ObjectId, ObjectKind, Stat};
use crate::host::Host;
use crate::path::EntryPath;
use crate::pool::Pool;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::gate::{Access, Vault};

/// How many events the walk sends at once.
const WALK_BATCH: usize = 64;

/// The directory that is backed up.
pub(super) struct Source {
    pub(super) path: PathBuf,
    exclude: Gitignore,
    may_change: Gitignore,
}

impl Source {
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self> {
        let missing = |error: std::io::Error| {
            Error::from(
                Refusal::new(Code::SourceMissing, format!("{} cannot be backed up", shown_path(path))).cause(error),
            )
        };
        let real = fs::canonicalize(path).map_err(missing)?;
        if !fs::metadata(&real).map_err(missing)?.is_dir() {
            return refuse(Code::SourceMissing, format!("{} is not a directory", shown_path(path)));
        }
        let (exclude, may_change) = (file::patterns(&options.exclude)?, file::patterns(&options.may_change)?);
        Ok(Self { exclude, may_change, path: real })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.path.as_os_str().as_encoded_bytes()
    }

    /// Refuses a source that is the vault or lies in it.
    pub(super) fn refuse_inside_vault(&self, vault: &Vault) -> Result<()> {
        match vault.store.local_path() {
            Some(place) if self.lies_within(place) => {
                refuse(Code::SourceOverlaps, format!("{} lies inside the vault", shown_path(&self.path)))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a source that is one of devvault's own directories or lies in it: keys are never part of a vault.
    pub(super) fn refuse_own_directories(&self, host: &Host) -> Result<()> {
        for own in host.own_directories() {
            if self.lies_within(own) {
                let (path, own) = (shown_path(&self.path), shown_path(own));
                return Err(Refusal::new(
                    Code::SourceOverlaps,
                    format!("{path} lies inside devvault's own directory {own}"),
                )
                .next("keep a copy of the key with `devvault key export`; back up other directories")
                .into());
            }
        }
        Ok(())
    }

    /// Returns whether the source is a directory or lies in it, by whatever names.
    fn lies_within(&self, place: &Path) -> bool {
        let id = |path: &Path| Dir::open(path).and_then(|dir| dir.stat()).ok().map(|stat| stat.id);
        let Some(place) = id(place) else { return false };
        self.path.ancestors().any(|above| id(above) == Some(place))
    }

    /// Walks the source and takes everything in it. Returns what a closing look found, if one was asked for.
    pub(super) fn take(
        &self,
        access: &Access,
        vault: &Vault,
        options: &Options,
        pool: &Pool,
        taker: &mut Taker<'_>,
    ) -> Result<Option<bool>> {
        let rules = Arc::new(Rules::new(self, access, vault));
        let deciding = Arc::clone(&rules);
        let mut walk = WalkAhead::start(self.open_root()?, move |path, stat| deciding.decide(path, stat));
        let mut queue = Queue::new(pool);
        let mut look = Look::default();
        while let Some(events) = walk.next() {
            for event in events {
                if taker.progress.interrupted() {
                    return Err(Error::Interrupted(None));
                }
                look.see(&event);
                self.take_event(event, &rules, &mut queue, taker)?;
            }
        }
        if let Err(error) = walk.finish() {
            taker.problems.unreadable.push((EntryPath::root(), error.to_string()));
        }
        queue.flush(taker.sizes, &taker.clock);
        while let Some(result) = queue.next() {
            if taker.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            taker.take_results(result, &self.may_change)?;
        }
        taker.report.excluded = rules.excluded.load(Ordering::Relaxed);
        for path in rules.protected_seen() {
            taker.report.notes.push(format!("{path} belongs to devvault itself and is not part of the snapshot"));
        }
        if !options.closing_look {
            return Ok(None);
        }
        Ok(Some(self.look_again(&rules, taker.progress)?.is_same(&look)))
    }

    fn take_event(&self, event: Event, rules: &Rules, queue: &mut Queue<'_>, taker: &mut Taker<'_>) -> Result<()> {
        match event {
            Event::Found(found) => {
                if let Some(reason) = rules.overlap(&found.stat) {
                    let message = format!("{} contains the vault ({reason}) at {}", shown_path(&self.path), found.path);
                    return refuse(Code::SourceOverlaps, message);
                }
                taker.look_at(found, queue)?;
            }
            Event::Failed(path, error) => taker.problems.unreadable.push((path, error.to_string())),
        }
        while let Some(result) = queue.ready() {
            taker.take_results(result, &self.may_change)?;
        }
        Ok(())
    }

    /// Walks the source once more, reading no content.
    fn look_again(&self, rules: &Rules, progress: &dyn Progress) -> Result<Look> {
        let mut look = Look::default();
        let decide = |path: &EntryPath, stat: &Stat| rules.judge(path, stat).1;
        let mut interrupted = false;
        walk(self.open_root()?, decide, |event| {
            look.see(&event);
            interrupted = progress.interrupted();
            if interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(|error| self.broken(error))?;
        if interrupted { Err(Error::Interrupted(None)) } else { Ok(look) }
    }

    fn open_root(&self) -> Result<Dir> {
        Dir::open(&self.path).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: std::io::Error) -> Error {
        Refusal::new(Code::SourceUnreadable, format!("{} cannot be walked", shown_path(&self.path))).cause(error).into()
    }
}

/// Everything that the file system says of a source, as one digest.
#[derive(Default)]
struct Look {
    hasher: blake3::Hasher,
    failed: bool,
}

impl Look {
    fn see(&mut self, event: &Event) {
        match event {
            Event::Found(found) => {
                let Stat { size, mtime, ctime, id, mode, .. } = found.stat;
                // Reading a source changes nothing of a directory but its access time, which is not looked at.
                self.hasher.update(found.path.as_bytes()).update(&[0]);
                self.hasher.update(format!("{size:?}{mtime:?}{ctime:?}{id:?}{mode:?}").as_bytes());
                self.hasher.update(&found.target);
            }
            Event::Failed(..) => self.failed = true,
        }
    }

    /// Returns whether both looks saw everything, and the same.
    fn is_same(&self, other: &Self) -> bool {
        !self.failed && !other.failed && self.hasher.finalize() == other.hasher.finalize()
    }
}

/// A walk on a thread of its own. It has ended well only where [`finish`](Self::finish) says so.
struct WalkAhead {
    events: Option<Receiver<Vec<Event>>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl WalkAhead {
    fn start(root: Dir, decide: impl FnMut(&EntryPath, &Stat) -> Decision + Send + 'static) -> Self {
        let (sender, events) = bounded(4);
        let thread = std::thread::spawn(move || {
            let mut batch = Vec::with_capacity(WALK_BATCH);
            let walked = walk(root, decide, |event| {
                batch.push(event);
                if batch.len() == WALK_BATCH
                    && sender.send(std::mem::replace(&mut batch, Vec::with_capacity(WALK_BATCH))).is_err()
                {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            // Whoever does not receive it has ended the walk.
            let _ = sender.send(batch);
            walked
        });
        Self { events: Some(events), thread: Some(thread) }
    }

    fn next(&self) -> Option<Vec<Event>> {
        self.events.as_ref()?.recv().ok()
    }

    /// Waits for the end of the walk; a panic in it goes on here, so that a part of a tree never passes for all of it.
    fn finish(&mut self) -> std::io::Result<()> {
        self.events = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(walked)) => walked,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for WalkAhead {
    fn drop(&mut self) {
        self.events = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why an object is left out.
enum Reason {
    None,
    /// It is devvault's own.
    Own,
    /// A pattern matches it.
    Excluded,
}

/// What is left out of a source, and why.
struct Rules {
    exclude: Gitignore,
    vault: Option<ObjectId>,
    own: Vec<ObjectId>,
    excluded: AtomicU64,
    seen: std::sync::Mutex<Vec<EntryPath>>,
}

impl Rules {
    fn new(source: &Source, access: &Access, vault: &Vault) -> Self {
        let id = |path: &Path| Dir::open(path).and_then(|dir| dir.stat()).ok().map(|stat| stat.id);
        let mut own: Vec<ObjectId> = access.host.own_directories().into_iter().filter_map(id).collect();
        let key = fs::canonicalize(&vault.key.path).ok().and_then(|path| fs::File::open(path).ok());
        own.extend(key.and_then(|key| crate::fsys::stat_file(&key).ok()).map(|stat| stat.id));
        Self {
            exclude: source.exclude.clone(),
            vault: vault.store.local_path().and_then(id),
            own,
            excluded: AtomicU64::new(0),
            seen: std::sync::Mutex::default(),
        }
    }

    /// Decides about an object and keeps count.
    fn decide(&self, path: &EntryPath, stat: &Stat) -> Decision {
        let (reason, decision) = self.judge(path, stat);
        match reason {
            Reason::Own => {
                self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(path.clone());
            }
            Reason::Excluded => {
                self.excluded.fetch_add(1, Ordering::Relaxed);
            }
            Reason::None => {}
        }
        decision
    }

    fn judge(&self, path: &EntryPath, stat: &Stat) -> (Reason, Decision) {
        if self.own.contains(&stat.id) {
            return (Reason::Own, Decision::Skip);
        }
        if file::matches(&self.exclude, path, stat.kind == ObjectKind::Directory) {
            return (Reason::Excluded, Decision::Skip);
        }
        (Reason::None, Decision::Take)
    }

    fn overlap(&self, stat: &Stat) -> Option<&'static str> {
        (self.vault == Some(stat.id)).then_some("a vault never holds itself")
    }

    fn protected_seen(&self) -> Vec<EntryPath> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        seen.sort();
        seen.dedup();
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_breaks_off_never_passes_for_a_whole_one() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("a"), b"").expect("writable");
        fs::write(root.path().join("b"), b"").expect("writable");
        let decide = |path: &EntryPath, _: &Stat| {
            assert!(path.name() != b"b", "on purpose");
            Decision::Take
        };
        let mut walk = WalkAhead::start(Dir::open(root.path()).expect("readable"), decide);
        while walk.next().is_some() {}
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| walk.finish()));
        assert!(ended.is_err());
    }
}
