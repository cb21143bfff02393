//! The directory that is backed up: found, kept apart from the vault, and walked ahead of what takes it.

use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Options;
use super::queue::Queue;
use super::sieve::{Leavings, Mesh, Own, Sieve};
use super::take::Taker;
use crate::error::{Error, Result, refuse, shown_path};
use crate::format::keyfile::KeyFile;
use crate::format::record::{ExcludedBy, Exclusion};
use crate::fsys::ahead::WalkAhead;
use crate::fsys::walk::{Event, Found, walk_guided};
use crate::fsys::{self, Dir, ObjectId, Stat};
use crate::host::Host;
use crate::ops::rules::Rules;
use crate::path::{EntryPath, quoted, shown};
use crate::pool::Pool;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::gate::{Access, Vault};

/// The directory that is backed up.
pub(super) struct Source {
    pub(super) path: PathBuf,
    mesh: Arc<Mesh>,
    /// What may be left out, or lack names, where it keeps changing.
    pub(super) may_change: Rules,
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
        let (mesh, may_change) = (Arc::new(Mesh::new(options)?), Rules::given(&options.may_change)?);
        Ok(Self { mesh, may_change, path: real })
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
        let kept = Kept::find(&access.host, vault.store.local_path(), Some(&vault.key.path), Some(&vault.key.key));
        let leavings = Leavings::default();
        let mut walk = WalkAhead::start(self.open_root()?, self.sieve(&kept, leavings.clone()));
        let mut queue = Queue::new(pool);
        let mut look = options.closing_look.then(Look::default);
        while let Some(event) = walk.next() {
            if taker.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            if let Some(look) = &mut look {
                look.see(&event);
            }
            self.take_event(event, &kept, &mut queue, taker)?;
        }
        match walk.finish() {
            Ok(()) => {}
            // No thread can be started.
            Err(error) if fsys::lacks_means(&error) || error.kind() == ErrorKind::WouldBlock => {
                taker.problems.exhausted(EntryPath::root(), error);
            }
            Err(error) => taker.problems.unreadable.push((EntryPath::root(), error.to_string())),
        }
        queue.flush(taker.sizes, &taker.clock);
        while let Some(result) = queue.next() {
            if taker.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            taker.take_results(result, &self.may_change)?;
        }
        taker.report.exclusions = self.exclusions(&leavings);
        for own in taker.report.exclusions.iter().filter(|exclusion| exclusion.by == ExcludedBy::Own) {
            let path = shown(own.from.as_deref().unwrap_or_default());
            let why = "belongs to devvault itself, or is a copy of this vault's key, and is not part of the snapshot";
            taker.report.notes.push(format!("{path} {why}"));
        }
        let Some(look) = look else { return Ok(None) };
        Ok(Some(self.look_again(&kept, taker.progress)?.is_same(&look)))
    }

    fn take_event(&self, event: Event, kept: &Kept, queue: &mut Queue<'_>, taker: &mut Taker<'_>) -> Result<()> {
        match event {
            Event::Found(found) => {
                kept.refuse_overlap(&self.path, &found)?;
                taker.look_at(found, queue)?;
            }
            Event::Restless(path) => taker.problems.restless(&path, &self.may_change),
            Event::Failed(path, error) => taker.problems.failed(path, error, &self.may_change),
        }
        while let Some(result) = queue.ready() {
            taker.take_results(result, &self.may_change)?;
        }
        Ok(())
    }

    /// Walks the source once more, reading no content.
    fn look_again(&self, kept: &Kept, progress: &dyn Progress) -> Result<Look> {
        let mut look = Look::default();
        let sieve = self.sieve(kept, Leavings::default());
        let mut interrupted = false;
        walk_guided(self.open_root()?, sieve, |event| {
            look.see(&event);
            interrupted = progress.interrupted();
            if interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(|error| self.broken(error))?;
        if interrupted { Err(Error::Interrupted(None)) } else { Ok(look) }
    }

    /// Returns the rules that left something out, and those of the command.
    pub(super) fn exclusions(&self, leavings: &Leavings) -> Vec<Exclusion> {
        leavings.exclusions(&self.mesh)
    }

    /// Returns what decides on one walk.
    pub(super) fn sieve(&self, kept: &Kept, leavings: Leavings) -> Sieve {
        Sieve::new(&self.mesh, &kept.own, leavings)
    }

    pub(super) fn open_root(&self) -> Result<Dir> {
        Dir::open(&self.path).map_err(|error| self.broken(error))
    }

    pub(super) fn broken(&self, error: std::io::Error) -> Error {
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
            Event::Failed(..) | Event::Restless(_) => self.failed = true,
        }
    }

    /// Returns whether both looks saw everything, and the same.
    fn is_same(&self, other: &Self) -> bool {
        !self.failed && !other.failed && self.hasher.finalize() == other.hasher.finalize()
    }
}

/// What must not become part of a source.
pub(super) struct Kept {
    vault: Option<ObjectId>,
    own: Arc<Own>,
}

impl Kept {
    /// Finds the vault, devvault's own directories and the key in use, as far as they are there and known.
    pub(super) fn find(host: &Host, vault: Option<&Path>, key_path: Option<&Path>, key: Option<&KeyFile>) -> Self {
        let id = |path: &Path| Dir::open(path).and_then(|dir| dir.stat()).ok().map(|stat| stat.id);
        let mut ids: Vec<ObjectId> = host.own_directories().into_iter().filter_map(id).collect();
        let file = key_path.and_then(|path| fs::canonicalize(path).ok()).and_then(|path| fs::File::open(path).ok());
        ids.extend(file.and_then(|file| fsys::stat_file(&file).ok()).map(|stat| stat.id));
        Self { vault: vault.and_then(id), own: Arc::new(Own { ids, key: key.map(KeyFile::encode) }) }
    }

    /// Refuses a source that holds the vault.
    pub(super) fn refuse_overlap(&self, source: &Path, found: &Found) -> Result<()> {
        if self.vault != Some(found.stat.id) {
            return Ok(());
        }
        let message =
            format!("{} contains the vault (a vault never holds itself) at {}", shown_path(source), found.path);
        let refusal = Refusal::new(Code::SourceOverlaps, message);
        let path = found.path.to_string();
        let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=@%, ".contains(c));
        Err(if is_plain {
            refusal.next(format!(
                "add `--exclude {}` to the command, or keep the vault on another disk",
                quoted(&format!("/{path}/"))
            ))
        } else {
            refusal
        }
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_did_not_see_everything_are_never_the_same() {
        let failed = || Event::Failed(EntryPath::root(), std::io::Error::other("unreadable"));
        let (mut one, mut other) = (Look::default(), Look::default());
        assert!(one.is_same(&other));
        one.see(&failed());
        assert!(!one.is_same(&other) && !other.is_same(&one));
        other.see(&failed());
        assert!(!one.is_same(&other));
    }
}
