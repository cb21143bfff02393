//! The side of a comparison that is a directory or a file of this machine, found through directory handles.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::merge::At;
use crate::error::{Error, Result, refuse, shown_path};
use crate::fsys::ahead::WalkAhead;
use crate::fsys::walk::{Event, Everything, RESTLESS};
use crate::fsys::{Dir, Stat};
use crate::path::EntryPath;
use crate::refusal::{Code, Refusal};

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
    // None when it has ended.
    walk: Option<WalkAhead>,
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
        let mut objects = Self { walk: None, single: None, last: None, beside: Vec::new(), real };
        let metadata = fs::symlink_metadata(&objects.real).map_err(missing)?;
        if metadata.is_dir() {
            let root = Dir::open(&objects.real).map_err(missing)?;
            objects.walk = Some(WalkAhead::start(root, Everything));
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
            // Told beside it: the directory was seen.
            Event::Restless(path) => Seen { path, what: What::Failed(RESTLESS.to_owned()) },
        }
    }
}

impl Iterator for &mut Objects {
    type Item = Result<Seen>;

    fn next(&mut self) -> Option<Result<Seen>> {
        if let Some(single) = self.single.take() {
            return Some(Ok(single));
        }
        loop {
            let walk = self.walk.as_mut()?;
            let Some(event) = walk.next() else {
                // What was not walked to its end must not look as if there were no more.
                let ended = walk.finish();
                self.walk = None;
                let what = || format!("walk {} to its end", shown_path(&self.real));
                return ended.err().map(|error| Err(Error::environment(what(), error)));
            };
            let seen = Objects::seen(event);
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
