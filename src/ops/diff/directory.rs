//! The side of a comparison that is a directory or a file of this machine, found through directory handles.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::merge::At;
use crate::error::{Error, Result, refuse, shown_path};
use crate::fsys::walk::{Decision, Event, walk};
use crate::fsys::{Dir, Stat};
use crate::path::EntryPath;
use crate::refusal::{Code, Refusal};

/// How many objects the walk sends at once.
const WALK_BATCH: usize = 64;

/// An object of the directory.
pub(super) struct Seen {
    pub(super) path: EntryPath,
    pub(super) what: What,
}

/// What is known of an object.
pub(super) enum What {
    /// It was looked at.
    Object {
        /// What the file system says of it.
        stat: Box<Stat>,
        /// The directory that holds it.
        dir: Arc<Dir>,
        /// Its name there.
        name: Vec<u8>,
        /// The target, of a symbolic link.
        target: Vec<u8>,
    },
    /// It cannot be looked at; nothing is known of what lies below it either.
    Failed(String),
}

impl At for Seen {
    fn path(&self) -> &EntryPath {
        &self.path
    }
}

/// Objects in path order.
pub(super) struct Objects {
    pub(super) real: PathBuf,
    events: Receiver<Vec<Result<Event>>>,
    current: std::vec::IntoIter<Result<Event>>,
    // A single file is one object.
    single: Option<Seen>,
    last: Option<EntryPath>,
    /// Failures that belong to no path of their own.
    pub(super) beside: Vec<(EntryPath, String)>,
}

impl Objects {
    /// Begins to walk a directory, or looks at a file; links in the path that the operator named are followed.
    ///
    /// # Errors
    /// DV803 where there is nothing of that name, or it is neither.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let missing = |error: std::io::Error| -> Error {
            Refusal::new(Code::SourceMissing, format!("{} cannot be compared", shown_path(path)))
                .cause(error)
                .next("name a directory or file of this machine that exists, or a snapshot")
                .into()
        };
        let real = fs::canonicalize(path).map_err(missing)?;
        let (sender, events) = bounded(4);
        let mut objects =
            Self { events, current: Vec::new().into_iter(), single: None, last: None, beside: Vec::new(), real };
        let metadata = fs::symlink_metadata(&objects.real).map_err(missing)?;
        if metadata.is_dir() {
            let root = Dir::open(&objects.real).map_err(missing)?;
            std::thread::spawn(move || walk_into(root, &sender));
            return Ok(objects);
        }
        let parent = objects.real.parent().zip(objects.real.file_name());
        let Some((parent, name)) = parent.filter(|_| metadata.is_file()) else {
            return refuse(Code::SourceMissing, format!("{} is neither a directory nor a file", shown_path(path)));
        };
        let name = name.as_encoded_bytes().to_vec();
        let dir = Arc::new(Dir::open(parent).map_err(missing)?);
        let stat = Box::new(dir.stat_at(&name).map_err(missing)?);
        let what = What::Object { stat, dir, name, target: Vec::new() };
        objects.single = Some(Seen { path: EntryPath::root(), what });
        Ok(objects)
    }

    fn seen(event: Event) -> Seen {
        match event {
            Event::Found(found) => {
                let name = found.path.name().to_vec();
                let what = What::Object { stat: Box::new(found.stat), dir: found.dir, name, target: found.target };
                Seen { path: found.path, what }
            }
            Event::Failed(path, error) => Seen { path, what: What::Failed(error.to_string()) },
        }
    }
}

/// Walks ahead on a thread of its own; ends when nobody listens any more.
fn walk_into(root: Dir, sender: &crossbeam_channel::Sender<Vec<Result<Event>>>) {
    let mut batch = Vec::with_capacity(WALK_BATCH);
    let walked = walk(
        root,
        |_, _| Decision::Take,
        |event| {
            batch.push(Ok(event));
            if batch.len() == WALK_BATCH
                && sender.send(std::mem::replace(&mut batch, Vec::with_capacity(WALK_BATCH))).is_err()
            {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        },
    );
    if let Err(error) = walked {
        batch.push(Err(Error::environment("walk the directory to its end", error)));
    }
    let _ = sender.send(batch);
}

impl Iterator for &mut Objects {
    type Item = Result<Seen>;

    fn next(&mut self) -> Option<Result<Seen>> {
        if let Some(single) = self.single.take() {
            return Some(Ok(single));
        }
        loop {
            let Some(event) = self.current.next() else {
                self.current = self.events.recv().ok()?.into_iter();
                continue;
            };
            let seen = match event {
                Ok(event) => Objects::seen(event),
                Err(error) => return Some(Err(error)),
            };
            if self.last.as_ref().is_some_and(|last| seen.path <= *last) {
                // A name that has no path: told by its directory, which has been seen already.
                if let What::Failed(reason) = seen.what {
                    self.beside.push((seen.path, reason));
                }
                continue;
            }
            self.last = Some(seen.path.clone());
            return Some(Ok(seen));
        }
    }
}
