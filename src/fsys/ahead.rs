//! A walk that runs ahead of whoever takes what it finds.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, bounded};

use super::Dir;
use super::walk::{Event, Guide, walk_guided};

/// How many events the walk sends at once.
const BATCH: usize = 256;
/// How many bytes of paths it sends at once: very deep trees have very long ones.
const BATCH_BYTES: usize = 256 << 10;
/// How many directories it keeps open for what it sends at once.
const BATCH_DIRECTORIES: usize = 16;

/// A walk on a thread of its own. It has ended well only where [`finish`](Self::finish) says so.
pub struct WalkAhead {
    events: Option<Receiver<Vec<Event>>>,
    // Received and not yet taken.
    current: std::vec::IntoIter<Event>,
    thread: Option<JoinHandle<io::Result<()>>>,
    // Why there is no thread.
    not_started: Option<io::Error>,
}

impl WalkAhead {
    /// Starts to walk; see [`walk_guided`].
    pub fn start(root: Dir, guide: impl Guide + Send + 'static) -> Self {
        let (sender, events) = bounded(4);
        let thread = thread::Builder::new().spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let (mut bytes, mut directories, mut last) = (0, 0, None);
            let walked = walk_guided(root, guide, |event| {
                bytes += event.path().as_bytes().len();
                if let Event::Found(found) = &event {
                    // Only compared, never followed: what was sent may be closed already.
                    let dir = Some(Arc::as_ptr(&found.dir).addr());
                    directories += usize::from(last != dir);
                    last = dir;
                }
                batch.push(event);
                if batch.len() < BATCH && bytes < BATCH_BYTES && directories < BATCH_DIRECTORIES {
                    return ControlFlow::Continue(());
                }
                (bytes, directories) = (0, 0);
                match sender.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            // Whoever does not receive it has ended the walk.
            let _ = sender.send(batch);
            walked
        });
        let (thread, not_started) = match thread {
            Ok(thread) => (Some(thread), None),
            Err(error) => (None, Some(error)),
        };
        Self { events: Some(events), current: Vec::new().into_iter(), thread, not_started }
    }

    /// Returns the next event, in path order; nothing when the walk has ended, however it did.
    #[allow(clippy::should_implement_trait, reason = "a loop over an iterator would forget to ask how the walk ended")]
    pub fn next(&mut self) -> Option<Event> {
        loop {
            match self.current.next() {
                None => self.current = self.events.as_ref()?.recv().ok()?.into_iter(),
                event => return event,
            }
        }
    }

    /// Waits for the end of the walk; a panic in it goes on here, so that a part of a tree never passes for all of it.
    ///
    /// # Errors
    /// As [`walk_guided`]; the system starts no thread.
    pub fn finish(&mut self) -> io::Result<()> {
        self.events = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(walked)) => walked,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => self.not_started.take().map_or(Ok(()), Err),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsys::Stat;
    use crate::fsys::walk::Decision;
    use crate::path::EntryPath;
    use std::fs;

    #[test]
    fn a_walk_that_breaks_off_never_passes_for_a_whole_one() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("a"), b"").expect("writable");
        fs::write(root.path().join("b"), b"").expect("writable");
        struct Breaking;
        impl Guide for Breaking {
            fn decide(&mut self, _: &Dir, path: &EntryPath, _: &Stat) -> Decision {
                assert!(path.name() != b"b", "on purpose");
                Decision::Take
            }
        }
        let mut walk = WalkAhead::start(Dir::open(root.path()).expect("readable"), Breaking);
        while walk.next().is_some() {}
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| walk.finish()));
        assert!(ended.is_err());
    }
}
