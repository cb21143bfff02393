//! The directory that is backed up: found, kept apart from the vault, and walked ahead of what takes it.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, bounded};
use ignore::gitignore::Gitignore;

use super::Options;
use super::file;
use super::queue::Queue;
use super::take::Taker;
use crate::crypto::Digest;
use crate::error::{Error, Result, refuse, shown_path};
use crate::fsys::walk::{Decision, Event, walk};
use crate::fsys::{Dir, ObjectId, ObjectKind, Stat};
use crate::path::EntryPath;
use crate::pool::Pool;
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

    pub(super) fn refuse_inside_vault(&self, vault: &Vault) -> Result<()> {
        match vault.store.local_path() {
            Some(place) if self.path.starts_with(place) => {
                refuse(Code::SourceOverlaps, format!("{} lies inside the vault", shown_path(&self.path)))
            }
            _ => Ok(()),
        }
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
        let digest = options.closing_look.then(|| self.look(&rules)).transpose()?;
        let events = self.walk_ahead(&rules)?;
        let mut queue = Queue::new(pool);
        for event in events.iter().flatten() {
            if taker.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            match event {
                Event::Found(found) => {
                    if let Some(reason) = rules.overlap(&found.stat) {
                        let message =
                            format!("{} contains the vault ({reason}) at {}", shown_path(&self.path), found.path);
                        return refuse(Code::SourceOverlaps, message);
                    }
                    taker.look_at(found, &mut queue)?;
                }
                Event::Failed(path, error) => taker.problems.unreadable.push((path, error.to_string())),
            }
            while let Some(result) = queue.ready() {
                taker.take_results(result, &self.may_change)?;
            }
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
        let closing = match digest {
            Some(first) => Some(self.look(&rules)? == first),
            None => None,
        };
        Ok(closing)
    }

    /// Returns a digest of everything that the file system says of the source.
    fn look(&self, rules: &Rules) -> Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        let root = self.open_root()?;
        walk(
            root,
            |path, stat| rules.decide(path, stat),
            |event| {
                if let Event::Found(found) = event {
                    hasher.update(found.path.as_bytes()).update(&[0]);
                    hasher.update(
                        format!("{:?}{:?}{:?}{:?}", found.stat.size, found.stat.mtime, found.stat.ctime, found.stat.id)
                            .as_bytes(),
                    );
                    hasher.update(&found.target);
                }
                ControlFlow::Continue(())
            },
        )
        .map_err(|error| self.broken(error))?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    fn open_root(&self) -> Result<Dir> {
        Dir::open(&self.path).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: std::io::Error) -> Error {
        Refusal::new(Code::SourceUnreadable, format!("{} cannot be walked", shown_path(&self.path))).cause(error).into()
    }

    /// Starts the walk on a thread of its own.
    fn walk_ahead(&self, rules: &Arc<Rules>) -> Result<Receiver<Vec<Event>>> {
        let (sender, receiver) = bounded(4);
        let (root, rules) = (self.open_root()?, Arc::clone(rules));
        std::thread::spawn(move || {
            let mut batch = Vec::with_capacity(WALK_BATCH);
            let walked = walk(
                root,
                |path, stat| rules.decide(path, stat),
                |event| {
                    batch.push(event);
                    if batch.len() == WALK_BATCH
                        && sender.send(std::mem::replace(&mut batch, Vec::with_capacity(WALK_BATCH))).is_err()
                    {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                },
            );
            if let Err(error) = walked {
                batch.push(Event::Failed(EntryPath::root(), error));
            }
            let _ = sender.send(batch);
        });
        Ok(receiver)
    }
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

    fn decide(&self, path: &EntryPath, stat: &Stat) -> Decision {
        if self.own.contains(&stat.id) {
            self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(path.clone());
            return Decision::Skip;
        }
        if file::matches(&self.exclude, path, stat.kind == ObjectKind::Directory) {
            self.excluded.fetch_add(1, Ordering::Relaxed);
            return Decision::Skip;
        }
        Decision::Take
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
