//! `backup --dry-run`: what would be taken and what not, and why. Reads no content but files of rules, and writes nothing.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::Options;
use super::sieve::{Leavings, Left};
use super::source::{Kept, Source};
use super::take::Problems;
use crate::error::{Error, Result};
use crate::format::record::{Counts, Exclusion};
use crate::fsys::walk::{Event, Found, walk_guided};
use crate::fsys::{ObjectId, ObjectKind};
use crate::path::EntryPath;
use crate::progress::{Phase, Progress};
use crate::vault::gate::{self, Access};
use crate::vault::key;

/// An object of the source, and what a backup would do with it.
#[derive(Debug, Clone)]
pub enum Planned {
    /// It would be taken.
    Taken {
        /// Where it is.
        path: EntryPath,
        /// What it is.
        kind: ObjectKind,
        /// Its length, of a regular file.
        bytes: Option<u64>,
    },
    /// It would be left out.
    Left(Left),
}

/// What a backup would take.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The canonical path of the source.
    pub source: PathBuf,
    /// How much would be taken, by what the file system says of it now.
    pub counts: Counts,
    /// The rules that leave something out, and those of the command.
    pub exclusions: Vec<Exclusion>,
}

impl Report {
    /// Returns how many objects would be left out; what lies below an excluded directory is not counted.
    pub fn excluded(&self) -> u64 {
        super::excluded(&self.exclusions)
    }
}

/// Hands on every object of a source in path order: whether a backup would take it, or which rule leaves it out.
///
/// The vault need not be there. A content that cannot be read is not found out.
///
/// # Errors
/// What a backup would refuse for the same source, after everything has been handed on: DV801, DV802 of names, DV804,
/// DV806, DV807; DV803 at once; whatever `take` returns.
pub fn plan(
    access: &Access,
    source: &Path,
    options: &Options,
    progress: &dyn Progress,
    mut take: impl FnMut(&Planned) -> Result<()>,
) -> Result<Report> {
    progress.phase(Phase::Opening, None, None);
    let source = Source::open(source, options)?;
    source.refuse_own_directories(&access.host)?;
    let named = access.key_file.as_deref();
    let key = gate::find(access).map(|found| found.key).or_else(|error| match named {
        // The vault need not be there.
        Some(path) => key::load(path, true, None),
        None => Err(error),
    });
    let kept = Kept::find(&access.host, Some(&access.vault), named, key.as_ref().ok().map(|found| &found.key));
    let leavings = Leavings::logged();
    let mut report = Report { source: source.path.clone(), ..Report::default() };
    let problems = RefCell::new(Problems::default());
    let (mut ended, mut names) = (Ok(()), HashSet::new());
    let mut hand_on = |event: Option<Event>| -> Result<()> {
        // A directory is decided about before it is told; what is missing in it is told after it.
        let (missing, left): (Vec<Left>, Vec<Left>) = leavings.drain().into_iter().partition(|left| left.content_only);
        left.into_iter().try_for_each(|left| take(&Planned::Left(left)))?;
        match event {
            Some(Event::Found(found)) => {
                kept.refuse_overlap(&source.path, &found)?;
                count(&mut report.counts, &found, &mut names, &mut problems.borrow_mut());
                let bytes = (found.stat.kind == ObjectKind::File).then_some(found.stat.size);
                take(&Planned::Taken { path: found.path, kind: found.stat.kind, bytes })?;
            }
            Some(Event::Restless(path)) => problems.borrow_mut().restless(&path, &source.may_change),
            Some(Event::Failed(path, error)) => problems.borrow_mut().failed(path, error, &source.may_change),
            None => {}
        }
        missing.into_iter().try_for_each(|left| take(&Planned::Left(left)))?;
        if progress.interrupted() { Err(Error::Interrupted(None)) } else { Ok(()) }
    };
    let walked = walk_guided(source.open_root()?, source.sieve(&kept, leavings.clone()), |event| {
        ended = hand_on(Some(event));
        if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    ended?;
    walked.map_err(|error| source.broken(error))?;
    hand_on(None)?;
    problems.into_inner().refuse(&source.path)?;
    report.exclusions = source.exclusions(&leavings);
    Ok(report)
}

/// Counts an object that would be taken, or notes why it could not be.
fn count(counts: &mut Counts, found: &Found, names: &mut HashSet<ObjectId>, problems: &mut Problems) {
    match found.stat.kind {
        ObjectKind::Directory => counts.directories += 1,
        ObjectKind::Symlink => counts.symlinks += 1,
        ObjectKind::File => {
            counts.files += 1;
            let before = counts.bytes;
            counts.bytes = before.saturating_add(found.stat.size);
            problems.counted(&found.path, before, counts.bytes);
        }
        ObjectKind::Fifo | ObjectKind::Socket | ObjectKind::Junction | ObjectKind::Block | ObjectKind::Character => {
            counts.specials += 1;
        }
        ObjectKind::Placeholder => problems.elsewhere(found.path.clone()),
        ObjectKind::Other => {
            problems.unsupported.push((found.path.clone(), format!("a {}", found.stat.kind.name())));
        }
    }
    if found.stat.kind != ObjectKind::Directory && found.stat.links > 1 && !names.insert(found.stat.id) {
        counts.hardlinks += 1;
    }
}
