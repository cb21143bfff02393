//! Walking a tree in path order, through directory handles.
//!
//! Depth and length of paths are without limit: only the deepest directories stay open, one further up is opened again
//! through `..` and must be the same object; of paths the deepest alone is held. Nothing is reported as missing that a
//! second listing still holds.
//!
//! A directory is listed until it held still meanwhile. File systems promise to list a name that stays what it is: of one
//! that is renamed they may give the old name, the new one or neither, and of one that is replaced by renaming over it, as
//! editors save, btrfs gives none where that happens between opening the directory and reading so far. Where a listed name is
//! gone when it is looked at, what its directory holds now is looked at too: it may have been renamed.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use super::{Dir, ObjectId, ObjectKind, Stat};
use crate::clock::Time;
use crate::limits;
use crate::path::{EntryPath, Trail};

/// How many directories on the way from the root stay open.
const OPEN_MAX: usize = 64;

/// An object that the walk found.
#[derive(Debug)]
pub struct Found {
    /// Where it lies below the root.
    pub path: EntryPath,
    /// What the file system says of it.
    pub stat: Stat,
    /// The directory that holds it; for the root and other directories, the directory itself.
    pub dir: Arc<Dir>,
    /// The target, of a symbolic link or junction.
    pub target: Vec<u8>,
}

/// What there is to say of a restless directory.
pub const RESTLESS: &str = "names in it came, went or were renamed while it was listed";

/// What the walk reports.
#[derive(Debug)]
pub enum Event {
    /// An object, in path order.
    Found(Found),
    /// An object that cannot be looked at.
    Failed(EntryPath, io::Error),
    /// A directory that was found, in which names came, went or were renamed each time it was listed, or one was renamed
    /// since to where the walk had been: what any listing gave is visited, and something else may have been there.
    Restless(EntryPath),
}

impl Event {
    /// Returns where the object lies.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Found(found) => &found.path,
            Self::Failed(path, _) | Self::Restless(path) => path,
        }
    }
}

/// What to do with an object, decided before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Report it, and walk into it.
    Take,
    /// Leave it out, with everything below it.
    Skip,
}

/// Decides on the way what is walked.
pub trait Guide {
    /// Decides about an object in a directory, before it is opened; never asked about the root.
    fn decide(&mut self, dir: &Dir, path: &EntryPath, stat: &Stat) -> Decision;

    /// Sees a directory before its content, the root too, and may take names out of those that will be visited.
    ///
    /// # Errors
    /// What stands in the way of deciding about its content, of which then nothing is visited: the path and the reason,
    /// which the walk reports.
    fn enter(
        &mut self,
        path: &EntryPath,
        dir: &Dir,
        stat: &Stat,
        names: &mut Vec<Vec<u8>>,
    ) -> Result<(), (EntryPath, io::Error)> {
        let _ = (path, dir, stat, names);
        Ok(())
    }
}

/// Decides by a function alone.
struct By<F>(F);

impl<F: FnMut(&EntryPath, &Stat) -> Decision> Guide for By<F> {
    fn decide(&mut self, _: &Dir, path: &EntryPath, stat: &Stat) -> Decision {
        (self.0)(path, stat)
    }
}

/// What the walk keeps of a directory that it is in.
struct Frame {
    id: ObjectId,
    // Closed where the walk is far below.
    dir: Option<Arc<Dir>>,
    listing: Listing,
    // How many of its names are still to be visited.
    left: usize,
    // What the guide could not decide about; reported before anything in it.
    broken: Option<(EntryPath, io::Error)>,
    // Whether it was said that it is restless.
    told: bool,
    // The times that it had when it was last listed again because a name was gone.
    relisted: Option<(Time, Option<Time>)>,
    // How often a name that was gone was there again.
    returns: u32,
}

impl Frame {
    fn new(dir: Arc<Dir>, listing: Listing, broken: Option<(EntryPath, io::Error)>) -> Self {
        Self {
            id: listing.stat.id,
            dir: Some(dir),
            left: listing.names.len(),
            listing,
            broken,
            told: false,
            relisted: None,
            returns: 0,
        }
    }

    /// Returns the next name to visit.
    fn next(&mut self) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.listing.names[self.left].clone())
    }

    /// Returns whether something is to be said of it as a whole, once.
    fn is_restless_anew(&mut self) -> bool {
        let restless = self.listing.restless && !self.told;
        self.told |= restless;
        restless
    }

    /// Looks for what a name may have become that was listed and is gone: another one in the same directory, which is
    /// visited too where the walk has not been there yet.
    fn look_for_renamed(&mut self, dir: &Dir, gone: &[u8]) {
        if self.listing.guided || self.listing.restless {
            return;
        }
        if self.is_as_relisted(dir) {
            return;
        }
        // What cannot be listed any more has told of the names that it had.
        let Ok(now) = list(dir, || dir.names()) else { return };
        self.relisted = (!now.restless && !now.stat.is_unsettled()).then_some((now.stat.mtime, now.stat.ctime));
        self.listing.restless |= now.restless;
        for name in now.names {
            if name == gone {
                // It was away for a moment, and is the next to visit once more.
                self.returns += 1;
                self.left += usize::from(self.returns < RETURNS_MAX);
                self.listing.restless |= self.returns == RETURNS_MAX;
                continue;
            }
            // The first to visit last.
            let Err(at) = self.listing.names.binary_search_by(|other| name.cmp(other)) else { continue };
            if &name[..] > gone {
                self.listing.names.insert(at, name);
                self.left += 1;
            } else if self.listing.is_older(dir, &name) {
                self.listing.restless = true;
            }
        }
    }

    /// Returns whether nothing came or went since it was listed again.
    fn is_as_relisted(&self, dir: &Dir) -> bool {
        self.relisted.is_some() && dir.stat().is_ok_and(|stat| self.relisted == Some((stat.mtime, stat.ctime)))
    }
}

/// Has the guide see a directory.
fn entered(
    guide: &mut impl Guide,
    path: &EntryPath,
    dir: &Dir,
    listing: &mut Listing,
) -> Option<(EntryPath, io::Error)> {
    let before = listing.names.len();
    let broken = guide.enter(path, dir, &listing.stat, &mut listing.names).err();
    if broken.is_some() {
        listing.names.clear();
    }
    // What is left out as a whole, but perhaps for the name that says so, may change as it likes.
    let left = listing.names.len();
    listing.guided = left < before;
    listing.restless &= left > 1 || !listing.guided;
    // That a name is not there tells of that name, and not of what could not be decided.
    broken.map(|(path, error)| match error.kind() {
        io::ErrorKind::NotFound => (path, io::Error::other(error.to_string())),
        _ => (path, error),
    })
}

/// Takes everything.
pub struct Everything;

impl Guide for Everything {
    fn decide(&mut self, _: &Dir, _: &EntryPath, _: &Stat) -> Decision {
        Decision::Take
    }
}

/// Walks everything below `root`, itself included, in path order.
///
/// `decide` sees every object but the root before it is opened; `emit` receives the events and may end the walk.
///
/// # Errors
/// The root itself cannot be read, or a directory on the way back is no longer where it was.
pub fn walk(
    root: Dir,
    decide: impl FnMut(&EntryPath, &Stat) -> Decision,
    emit: impl FnMut(Event) -> ControlFlow<()>,
) -> io::Result<()> {
    walk_guided(root, By(decide), emit)
}

/// Walks as [`walk`] does, led by a guide.
///
/// # Errors
/// As [`walk`].
pub fn walk_guided(root: Dir, mut guide: impl Guide, mut emit: impl FnMut(Event) -> ControlFlow<()>) -> io::Result<()> {
    let root = Arc::new(root);
    let mut listing = list(&root, || root.names())?;
    let broken = entered(&mut guide, &EntryPath::root(), &root, &mut listing);
    let (mut stack, stat) = (Trail::default(), listing.stat);
    stack.push(&EntryPath::root(), Frame::new(Arc::clone(&root), listing, broken));
    if emit(Event::Found(Found { path: EntryPath::root(), stat, dir: root, target: Vec::new() })).is_break() {
        return Ok(());
    }
    while let Some(frame) = stack.last_mut() {
        if let Some((path, error)) = frame.broken.take()
            && emit(Event::Failed(path, error)).is_break()
        {
            return Ok(());
        }
        let restless = frame.is_restless_anew();
        let next = frame.next();
        if restless && emit(Event::Restless(stack.path().clone())).is_break() {
            return Ok(());
        }
        let Some(name) = next else {
            leave(&mut stack)?;
            continue;
        };
        let Some(frame) = stack.last_mut() else { break };
        let dir = Arc::clone(frame.dir.as_ref().expect("the deepest directory is open"));
        let path = match stack.path().join(&name) {
            Ok(path) => path,
            Err(error) => {
                // Named by its directory: the path itself has no valid form.
                let error = io::Error::new(io::ErrorKind::InvalidFilename, error);
                if emit(Event::Failed(stack.path().clone(), error)).is_break() {
                    return Ok(());
                }
                continue;
            }
        };
        match visit(&dir, &name, path, &mut guide, &mut stack) {
            Ok(None) => {}
            Ok(Some(event)) => {
                if emit(event).is_break() {
                    return Ok(());
                }
            }
            Err(Gone) => {
                if let Some(frame) = stack.last_mut() {
                    frame.look_for_renamed(&dir, &name);
                }
            }
        }
    }
    Ok(())
}

/// How often names of a directory may be gone and there again.
const RETURNS_MAX: u32 = 8;
/// How often a name is looked at whose object is renamed, or replaced by one of another kind, meanwhile.
const LOOKS_MAX: u32 = 5;

/// A listed name is not there any more.
struct Gone;

/// Looks at one name; a directory that is to be walked goes onto the stack.
fn visit(
    dir: &Arc<Dir>,
    name: &[u8],
    path: EntryPath,
    guide: &mut impl Guide,
    stack: &mut Trail<Frame>,
) -> Result<Option<Event>, Gone> {
    let mut looked = look(dir, name, &path, guide);
    let is_as_relisted = looked.is_err() && stack.last_mut().is_some_and(|frame| frame.is_as_relisted(dir));
    for attempt in 1..LOOKS_MAX {
        match &looked {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_as_relisted => return Err(Gone),
            Err(error) if is_gone(dir, name, error) => return Err(Gone),
            // Renamed away and back, or over.
            Err(error) if error.kind() == io::ErrorKind::NotFound => thread::sleep(pause(attempt)),
            Err(error) if is_other_kind(error) => {}
            _ => break,
        }
        looked = look(dir, name, &path, guide);
    }
    match looked {
        Ok(Looked::Skipped) => Ok(None),
        Ok(Looked::Object(stat, target)) => Ok(Some(Event::Found(Found { path, stat, dir: Arc::clone(dir), target }))),
        Ok(Looked::Directory(child, mut listing)) => {
            let broken = entered(guide, &path, &child, &mut listing);
            if let Some(above) = stack.above_mut(OPEN_MAX - 1) {
                above.dir = None;
            }
            let stat = listing.stat;
            stack.push(&path, Frame::new(Arc::clone(&child), listing, broken));
            Ok(Some(Event::Found(Found { path, stat, dir: child, target: Vec::new() })))
        }
        Err(error) if is_gone(dir, name, &error) => Err(Gone),
        Err(error) => Ok(Some(Event::Failed(path, error))),
    }
}

/// What a name stands for.
enum Looked {
    Skipped,
    Object(Stat, Vec<u8>),
    Directory(Arc<Dir>, Listing),
}

fn look(dir: &Dir, name: &[u8], path: &EntryPath, guide: &mut impl Guide) -> io::Result<Looked> {
    let stat = dir.stat_at(name)?;
    if guide.decide(dir, path, &stat) == Decision::Skip {
        return Ok(Looked::Skipped);
    }
    Ok(match stat.kind {
        ObjectKind::Directory => {
            let child = dir.open_dir(name)?;
            let mut is_first = true;
            let listing =
                list(&child, || if std::mem::take(&mut is_first) { child.names_once() } else { child.names() })?;
            Looked::Directory(Arc::new(child), listing)
        }
        ObjectKind::Symlink | ObjectKind::Junction => Looked::Object(stat, dir.read_link(name)?),
        _ => Looked::Object(stat, Vec::new()),
    })
}

/// What is in a directory.
struct Listing {
    stat: Stat,
    // When it was made, by this machine's clock.
    time: Time,
    // The first to visit last.
    names: Vec<Vec<u8>>,
    // Whether names are not what was listed because the guide took some.
    guided: bool,
    restless: bool,
}

impl Listing {
    /// Returns whether what has a name in the directory is older than the listing, or may be: by when it was made, or where
    /// the system does not tell that, by its last change; what is gone again by now was there before under another name.
    fn is_older(&self, dir: &Dir, name: &[u8]) -> bool {
        let made = || dir.made_at(name).or_else(|| dir.stat_at(name).ok().map(|stat| stat.mtime));
        made().is_none_or(|made| made.as_nanos() + (limits::TICK.as_nanos() as i128) < self.time.as_nanos())
    }
}

/// How often a directory is listed in which names come, go or are renamed meanwhile.
const LISTINGS_MAX: u32 = 10;

/// Lists a directory until it holds still.
fn list(dir: &Dir, names: impl FnMut() -> io::Result<Vec<Vec<u8>>>) -> io::Result<Listing> {
    list_until_still(|| dir.stat().map(|stat| (stat, stat.is_unsettled())), names)
}

/// Lists until the times of a directory are the same before and after. `stat` tells them, and whether a change might leave
/// them as they are: then a second listing has to be the same.
fn list_until_still(
    mut stat: impl FnMut() -> io::Result<(Stat, bool)>,
    mut names: impl FnMut() -> io::Result<Vec<Vec<u8>>>,
) -> io::Result<Listing> {
    let (mut all, mut last, mut attempt) = (BTreeSet::new(), None, 0);
    loop {
        let (before, unsettled) = stat()?;
        let time = Time::from_system(SystemTime::now());
        let mut found = sorted(names()?);
        found.dedup();
        let (after, _) = stat()?;
        let is_same = (before.mtime, before.ctime) == (after.mtime, after.ctime);
        if is_same && (!unsettled || last.as_ref() == Some(&found)) {
            return Ok(Listing { stat: after, time, names: found, guided: false, restless: false });
        }
        all.extend(found.iter().cloned());
        last = is_same.then_some(found);
        attempt += 1;
        if attempt == LISTINGS_MAX {
            let names = sorted(all.into_iter().collect());
            return Ok(Listing { stat: after, time, names, guided: false, restless: true });
        }
        if !is_same {
            thread::sleep(pause(attempt));
        }
    }
}

/// Returns how long to wait for whoever renames something.
fn pause(attempt: u32) -> Duration {
    Duration::from_millis(1 << attempt.min(6))
}

/// Returns whether `error` says that a name stands for another kind of object than it did a moment ago.
pub fn is_other_kind(error: &io::Error) -> bool {
    // ELOOP and ENOTDIR from opening without following links, EINVAL from reading a link; `open_file` calls what is no
    // regular file invalid data.
    matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        || super::is_loop(error)
}

/// Leaves the deepest directory; the one above is opened again if the walk had closed it.
fn leave(stack: &mut Trail<Frame>) -> io::Result<()> {
    let moved = |path: &EntryPath| io::Error::other(format!("the directory {path} was moved while it was walked"));
    if let Some(above) = stack.above_mut(1).filter(|above| above.dir.is_none()) {
        let id = above.id;
        let below = stack.last().and_then(|frame| frame.dir.as_ref()).expect("the deepest directory is open");
        let dir = below.open_parent()?;
        if dir.stat()?.id != id {
            return Err(moved(stack.path()));
        }
        stack.above_mut(1).expect("it was there").dir = Some(Arc::new(dir));
    }
    stack.pop();
    Ok(())
}

/// Returns whether `error` says that a name has vanished, and a second listing of its directory lacks it too.
pub fn is_gone(dir: &Dir, name: &[u8], error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound && dir.names().is_ok_and(|names| names.iter().all(|other| other != name))
}

/// Returns the name in a directory of what had a name there that is gone, by its number, and by when it was made where the
/// system tells: numbers are given anew. Nothing where the system lists no numbers.
///
/// # Errors
/// The directory cannot be listed, or does not hold still.
pub fn renamed_to(dir: &Dir, stat: &Stat) -> io::Result<Option<Vec<u8>>> {
    let listing = list(dir, || dir.names_of(stat.id.number))?;
    if listing.restless {
        return Err(io::Error::other(RESTLESS));
    }
    for name in listing.names {
        if is_named(dir, &name, stat)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Returns whether a name that was listed with an object's number stands for that object.
///
/// # Errors
/// It does not stand for what it was listed for any more: that has been renamed once more, and may be anywhere.
fn is_named(dir: &Dir, name: &[u8], stat: &Stat) -> io::Result<bool> {
    let moved = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other(RESTLESS),
        _ => error,
    };
    let now = dir.stat_at(name).map_err(moved)?;
    if now.id.device != stat.id.device {
        // Something is mounted there.
        return Ok(false);
    }
    if now.id != stat.id {
        return Err(io::Error::other(RESTLESS));
    }
    let last = stat.ctime.unwrap_or(stat.mtime);
    Ok(dir.made_at(name).map_or(now.mtime == stat.mtime, |made| made <= last))
}

/// Sorts names so that the first to visit is last.
fn sorted(mut names: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    names.sort_unstable_by(|a, b| b.cmp(a));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn paths(root: &std::path::Path) -> Vec<String> {
        let mut paths = Vec::new();
        walk(
            Dir::open(root).expect("a directory"),
            |_, _| Decision::Take,
            |event| {
                match event {
                    Event::Found(found) => paths.push(found.path.to_string()),
                    Event::Failed(path, error) => panic!("{path}: {error}"),
                    Event::Restless(path) => panic!("{path} holds still"),
                }
                ControlFlow::Continue(())
            },
        )
        .expect("readable");
        paths
    }

    #[test]
    fn a_walk_visits_everything_once_in_path_order() {
        let root = tempfile::tempdir().expect("a directory");
        for dir in ["a/b", "a.d", "empty"] {
            fs::create_dir_all(root.path().join(dir)).expect("new");
        }
        for file in ["a/b/c", "a/z", "a.d/x", "a-"] {
            fs::write(root.path().join(file), b"").expect("new");
        }
        assert_eq!(paths(root.path()), [".", "a", "a/b", "a/b/c", "a/z", "a-", "a.d", "a.d/x", "empty"]);
    }

    /// Lists by what is told in turn: the time before and after each listing, whether a change may go unseen, the names.
    fn listed(told: &[(i64, i64, bool, &[&str])]) -> (Vec<String>, bool, usize) {
        let at = |seconds| Stat { mtime: Time { seconds, nanos: 0 }, ..Stat::default() };
        let (stats, listings) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let stat = || {
            let asked = stats.replace(stats.get() + 1);
            let (before, after, unsettled, _) = told[asked / 2];
            Ok((at(if asked % 2 == 0 { before } else { after }), unsettled))
        };
        let names = || {
            let names = told[listings.replace(listings.get() + 1)].3;
            Ok(names.iter().map(|name| name.as_bytes().to_vec()).collect())
        };
        let listing = list_until_still(stat, names).expect("nothing fails");
        let names = listing.names.iter().rev().map(|name| String::from_utf8_lossy(name).into_owned());
        (names.collect(), listing.restless, listings.get())
    }

    #[test]
    fn a_directory_is_listed_until_it_held_still() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(listed(&[(1, 1, false, &["b", "a"])]), (names(&["a", "b"]), false, 1));
        // What changed while it was listed is listed again; where a change may not show, until two listings are the same.
        assert_eq!(listed(&[(1, 2, false, &["b"]), (2, 2, false, &["a", "b"])]), (names(&["a", "b"]), false, 2));
        assert_eq!(
            listed(&[(1, 1, true, &["b"]), (1, 1, true, &["a"]), (1, 1, true, &["a"])]),
            (names(&["a"]), false, 3)
        );
        assert_eq!(listed(&[(1, 1, true, &["b"]), (1, 1, false, &["a"])]), (names(&["a"]), false, 2));
        // The same names of which one listing saw a change are no answer.
        assert_eq!(
            listed(&[(1, 2, true, &["a"]), (2, 2, true, &["a"]), (2, 2, true, &["a"])]),
            (names(&["a"]), false, 3)
        );
    }

    #[test]
    fn of_a_directory_that_never_holds_still_all_is_visited_that_any_listing_gave() {
        let told: Vec<(i64, i64, bool, &[&str])> = (0..i64::from(LISTINGS_MAX))
            .map(|at| (at, at + 1, false, if at == 3 { &["b", "c"][..] } else { &["a", "c"][..] }))
            .collect();
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(listed(&told), (names, true, LISTINGS_MAX as usize));
    }

    #[test]
    fn what_a_guide_left_out_may_change_and_what_it_could_not_decide_is_not_taken_for_gone() {
        struct Leaves(usize);
        impl Guide for Leaves {
            fn decide(&mut self, _: &Dir, _: &EntryPath, _: &Stat) -> Decision {
                Decision::Take
            }
            fn enter(
                &mut self,
                path: &EntryPath,
                _: &Dir,
                _: &Stat,
                names: &mut Vec<Vec<u8>>,
            ) -> Result<(), (EntryPath, io::Error)> {
                names.truncate(self.0);
                if self.0 == 9 { Err((path.clone(), io::ErrorKind::NotFound.into())) } else { Ok(()) }
            }
        }
        let root = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(root.path()).expect("readable");
        let enter = |left| {
            let names = ["c", "b", "a"].map(|name| name.as_bytes().to_vec()).to_vec();
            let (stat, time) = (Stat::default(), Time::default());
            let mut listing = Listing { stat, time, names, guided: false, restless: true };
            let broken = entered(&mut Leaves(left), &EntryPath::root(), &dir, &mut listing);
            (listing.names.len(), listing.restless, broken.map(|(_, error)| error.kind()))
        };
        assert_eq!([enter(0), enter(1)], [(0, false, None), (1, false, None)]);
        assert_eq!([enter(2), enter(3)], [(2, true, None), (3, true, None)]);
        assert_eq!(enter(9), (0, false, Some(io::ErrorKind::Other)));
    }

    #[test]
    fn what_is_renamed_after_its_directory_was_listed_is_found_under_its_new_name_or_missed_aloud() {
        let root = tempfile::tempdir().expect("a directory");
        for name in ["b", "m", "n", "p", "x"] {
            fs::write(root.path().join(name), b"").expect("new");
        }
        thread::sleep(2 * limits::TICK);
        let mut seen = Vec::new();
        walk(
            Dir::open(root.path()).expect("a directory"),
            |_, _| Decision::Take,
            |event| {
                seen.push(match &event {
                    Event::Restless(path) => format!("{path} is restless"),
                    event => event.path().to_string(),
                });
                let rename = |from, to| fs::rename(root.path().join(from), root.path().join(to)).expect("writable");
                match &seen.last().expect("pushed")[..] {
                    "n" => fs::remove_file(root.path().join("p")).expect("there"),
                    "b" => {
                        rename("m", "o");
                        // What is new is no name that something had.
                        fs::write(root.path().join("a"), b"").expect("new");
                    }
                    "o" => rename("x", "c"),
                    _ => {}
                }
                ControlFlow::Continue(())
            },
        )
        .expect("readable");
        assert_eq!(seen, [".", "b", "n", "o", ". is restless"]);
    }

    // Unix alone: a directory that is open can be removed.
    #[cfg(unix)]
    #[test]
    fn a_directory_that_is_removed_while_it_is_walked_holds_nothing_more() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("d")).expect("new");
        for name in ["d/a", "d/b", "e"] {
            fs::write(root.path().join(name), b"").expect("new");
        }
        let mut seen = Vec::new();
        let event = |event: Event| {
            seen.push(event.path().to_string());
            if event.path().as_bytes() == b"d/a" {
                fs::remove_dir_all(root.path().join("d")).expect("there");
            }
            assert!(matches!(event, Event::Found(_)), "{event:?}");
            ControlFlow::Continue(())
        };
        walk(Dir::open(root.path()).expect("a directory"), |_, _| Decision::Take, event).expect("readable");
        assert_eq!(seen, [".", "d", "d/a", "e"]);
    }

    #[test]
    fn a_name_that_is_away_for_a_moment_is_visited_all_the_same() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(root.path()).expect("readable");
        for name in ["a", "b", "c"] {
            fs::write(root.path().join(name), b"").expect("new");
        }
        let listing = list(&dir, || dir.names()).expect("readable");
        let mut frame = Frame::new(Arc::new(Dir::open(root.path()).expect("readable")), listing, None);
        assert_eq!(frame.next().as_deref(), Some(&b"a"[..]));
        for _ in 1..RETURNS_MAX {
            assert_eq!(frame.next().as_deref(), Some(&b"b"[..]));
            frame.relisted = None;
            frame.look_for_renamed(&dir, b"b");
            assert!(!frame.listing.restless);
        }
        assert_eq!(frame.next().as_deref(), Some(&b"b"[..]));
        frame.relisted = None;
        frame.look_for_renamed(&dir, b"b");
        assert!(frame.is_restless_anew() && !frame.is_restless_anew());
        assert_eq!((frame.next().as_deref(), frame.next()), (Some(&b"c"[..]), None));
    }

    // Unix alone: Windows tells no path beyond 32,767 units, through which the temporary directory is removed.
    #[cfg(unix)]
    #[test]
    fn depth_is_not_limited_by_open_files_or_path_length() {
        let root = tempfile::tempdir().expect("a directory");
        let name = [b'd'; 100];
        let mut dir = Dir::open(root.path()).expect("a directory");
        for _ in 0..300 {
            dir.create_dir(&name).expect("new");
            dir = dir.open_dir(&name).expect("just made");
        }
        dir.create_file(b"leaf").expect("new");
        let found = paths(root.path());
        assert_eq!(found.len(), 302);
        assert_eq!(found.last().expect("not empty").len(), 300 * 101 + 4);
    }

    // Unix alone: links that any account may make.
    #[cfg(unix)]
    #[test]
    fn a_directory_that_is_moved_while_the_walk_is_far_below_ends_the_walk() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = vec!["d"; OPEN_MAX + 2].join("/");
        fs::create_dir_all(root.path().join(&deep)).expect("writable");
        let walked = walk(
            Dir::open(root.path()).expect("a directory"),
            |_, _| Decision::Take,
            |event| {
                if event.path().as_bytes().len() == deep.len() {
                    fs::rename(root.path().join("d/d"), root.path().join("elsewhere")).expect("writable");
                }
                ControlFlow::Continue(())
            },
        );
        let error = walked.expect_err("what lies beside it would be taken for something else");
        assert!(error.to_string().contains("was moved"), "{error}");
    }

    // Unix alone: symbolic links that anyone may make.
    #[cfg(unix)]
    #[test]
    fn a_link_to_a_directory_is_reported_and_not_followed() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("real")).expect("new");
        fs::write(root.path().join("real/file"), b"").expect("new");
        std::os::unix::fs::symlink("real", root.path().join("link")).expect("new");
        assert_eq!(paths(root.path()), [".", "link", "real", "real/file"]);
    }
}
