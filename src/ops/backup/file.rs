//! Reading files of a source: each once, whole, and told apart from one that changes meanwhile.

use std::io::{self, Read as _, Seek as _};
use std::ops::Range;
use std::sync::Arc;

use super::sparse;
use crate::chunk::Cutter;
use crate::clock::{Clock, Time};
use crate::crypto::Digest;
use crate::error::{Error, Result};
use crate::format::entry::{ChunkRef, Chunks, Entry, FileContent, Holes, Kind};
use crate::format::holes::{Extents, Hole};
use crate::fsys::extents::ExtentReader;
use crate::fsys::walk::{Found, is_gone, is_other_kind, renamed_to};
use crate::fsys::{self, Dir, Object, ObjectId, ObjectKind, Stat, Xattr};
use crate::limits;
use crate::path::{EntryPath, shown};

/// Returns the fields by which an unchanged file is recognised, ascending, on media that keep times of change or not.
pub(super) fn unchanged_by(keeps_ctime: bool) -> Vec<String> {
    let fields = ["ctime", "ino", "mtime", "size"].into_iter();
    fields.filter(|field| keeps_ctime || *field != "ctime").map(str::to_owned).collect()
}

/// Returns whether a file is the one that an entry recorded, by size, times and inode, unless its times were too young
/// then to prove anything.
pub(super) fn is_unchanged(before: &Entry, now: &Stat) -> bool {
    let Some(file) = before.file() else { return false };
    !file.racy
        && file.size == now.size
        && before.mtime == Some(now.mtime)
        && file.ctime == now.ctime
        && file.ino == Some(now.id.number)
}

/// Returns whether a file's times are too young at the time of reading: a change in the same tick would not show.
fn is_racy(stat: &Stat, read: Time) -> bool {
    let young = |time: Time| read.as_nanos() - time.as_nanos() < limits::RACY_NANOS;
    young(stat.mtime) || stat.ctime.is_some_and(young)
}

/// A file to read.
pub(super) struct ReadJob {
    path: EntryPath,
    dir: Arc<Dir>,
    stat: Stat,
}

impl ReadJob {
    pub(super) fn new(found: Found) -> Self {
        Self { path: found.path, dir: found.dir, stat: found.stat }
    }
}

/// A job's result.
pub(super) struct ReadResult {
    pub(super) path: EntryPath,
    pub(super) read: Read,
}

/// What reading a file came to.
pub(super) enum Read {
    /// It was read whole.
    Whole(Box<Whole>),
    /// It has vanished; a second listing lacks it too.
    Gone,
    /// It changed every time while it was read.
    Changing(String),
    /// Another process held it every time.
    Held(String),
    /// It cannot be read.
    Failed(String),
    /// This process, or the machine, lacks what it takes to read anything.
    Exhausted(io::Error),
}

/// A file that was whole while it was read.
pub(super) struct Whole {
    /// What the file system said of it.
    pub(super) stat: Stat,
    racy: bool,
    /// Its holes, ascending.
    pub(super) holes: Vec<Hole>,
    /// Its extended attributes.
    pub(super) xattrs: Vec<Xattr>,
    /// Its alternate streams.
    pub(super) streams: Vec<Xattr>,
    /// Its length in bytes.
    pub(super) size: u64,
    /// Its chunks, and where their bytes lie in the batch's data (nowhere, for a large file).
    pub(super) chunks: Vec<(ChunkRef, Range<usize>)>,
}

impl Whole {
    /// Returns the content, of chunks and holes that are named so.
    pub(super) fn content(&self, chunks: Chunks, holes: Holes) -> Kind {
        Kind::File(FileContent {
            size: self.size,
            holes,
            chunks,
            ctime: self.stat.ctime,
            ino: Some(self.stat.id.number),
            racy: self.racy,
        })
    }
}

/// What one reading gave: how many bytes, and their chunks.
type Pass = (u64, Vec<(ChunkRef, Range<usize>)>);

/// Why one attempt at a file did not succeed.
enum Attempt<E> {
    Changed(String),
    Io(io::Error),
    Other(E),
}

impl<E> From<io::Error> for Attempt<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a file whose bytes go to the end of `data`.
pub(super) fn read_small(job: ReadJob, sizes: [u32; 3], clock: &dyn Clock, data: &mut Vec<u8>) -> ReadResult {
    let cutter = Cutter::new(sizes);
    let start = data.len();
    let read = attempts(&job.dir, job.path.name(), &job.stat, clock, |file, _| {
        data.truncate(start);
        data.reserve(job.stat.size as usize + 1);
        // Bounded: a file that grows into a large one meanwhile has changed, and is read again later or refused.
        let bound = 2 * job.stat.size + (1 << 20);
        let count = file.take(bound).read_to_end(data)? as u64;
        let mut chunks = Vec::new();
        let mut at = start;
        for length in cutter.lengths(&data[start..]) {
            let range = at..at + length;
            let chunk = ChunkRef(Digest::of(&data[range.clone()]), u32::try_from(length).expect("a chunk is bounded"));
            chunks.push((chunk, range));
            at += length;
        }
        Ok::<_, Attempt<std::convert::Infallible>>((count, chunks))
    });
    let read = match read {
        Ok(read) => read,
        Err(never) => match never {},
    };
    if !matches!(read, Read::Whole(_)) {
        data.truncate(start);
    }
    ReadResult { path: job.path, read }
}

/// Reads a large file as a stream, handing on each chunk.
///
/// # Errors
/// Whatever `take` returns.
pub(super) fn read_large(
    found: &Found,
    sizes: [u32; 3],
    clock: &dyn Clock,
    mut take: impl FnMut(ChunkRef, &[u8]) -> Result<()>,
) -> Result<Read> {
    let mut cutter = Cutter::new(sizes);
    attempts(&found.dir, found.path.name(), &found.stat, clock, |mut file, size| {
        let mut chunks = Vec::new();
        let count = cutter.cut(&mut file, size, |bytes| {
            let length = u32::try_from(bytes.len()).expect("a chunk is bounded");
            let chunk = ChunkRef(Digest::of(bytes), length);
            take(chunk, bytes).map_err(Attempt::Other)?;
            chunks.push((chunk, 0..0));
            Ok::<_, Attempt<Error>>(())
        })?;
        Ok((count, chunks))
    })
}

/// Opens and reads a file, again where it changed meanwhile, a bounded number of times.
fn attempts<E>(
    dir: &Dir,
    name: &[u8],
    found: &Stat,
    clock: &dyn Clock,
    mut read: impl FnMut(&mut dyn io::Read, u64) -> Result<Pass, Attempt<E>>,
) -> Result<Read, E> {
    let (mut reason, mut held) = (String::new(), None);
    let mut other: Option<Vec<u8>> = None;
    for attempt in 0..limits::READ_ATTEMPTS {
        if attempt > 0 && other.is_none() {
            // Whoever writes the file gets a moment to finish.
            std::thread::sleep(std::time::Duration::from_millis(20 << attempt));
        }
        let opened = other.take();
        let id = opened.as_ref().map(|_| found.id);
        match read_once(dir, opened.as_deref().unwrap_or(name), id, clock, &mut read) {
            Ok(whole) => return Ok(Read::Whole(Box::new(whole))),
            Err(Attempt::Changed(what)) => reason = what,
            Err(Attempt::Io(error)) if is_gone(dir, name, &error) => match renamed_to(dir, found) {
                Ok(None) => return Ok(Read::Gone),
                // Another name of it need not be a new one.
                Ok(Some(_)) if found.links > 1 => return Ok(Read::Gone),
                // It was there under its own name, and what it holds is read under the other.
                Ok(Some(new)) => {
                    reason = format!("it was renamed to {}", shown(&new));
                    other = Some(new);
                }
                Err(error) => reason = format!("it is gone, and what its directory holds is not known: {error}"),
            },
            Err(Attempt::Io(error)) if is_in_motion(&error) => reason = format!("it was replaced meanwhile: {error}"),
            // Whoever holds it may let it go.
            Err(Attempt::Io(error)) if fsys::is_held(&error) => held = Some(error.to_string()),
            Err(Attempt::Io(error)) if fsys::lacks_means(&error) => return Ok(Read::Exhausted(error)),
            Err(Attempt::Io(error)) => return Ok(Read::Failed(error.to_string())),
            Err(Attempt::Other(error)) => return Err(error),
        }
    }
    Ok(held.map_or(Read::Changing(reason), Read::Held))
}

/// Returns whether `error` says that a file is renamed, replaced or cut while it is read.
fn is_in_motion(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) || is_other_kind(error)
}

fn read_once<E>(
    dir: &Dir,
    name: &[u8],
    wanted: Option<ObjectId>,
    clock: &dyn Clock,
    read: &mut impl FnMut(&mut dyn io::Read, u64) -> Result<Pass, Attempt<E>>,
) -> Result<Whole, Attempt<E>> {
    let begun = clock.now();
    let file = dir.open_file(name)?;
    let before = fsys::stat_file(&file)?;
    if before.kind != ObjectKind::File {
        return Err(Attempt::Changed("it is no longer a regular file".into()));
    }
    if wanted.is_some_and(|wanted| wanted != before.id) {
        return Err(Attempt::Changed("it was renamed each time it was looked for".into()));
    }
    // Asked now: what takes long to read is settled after it.
    let unsettled = before.is_unsettled();
    let holes = sparse::holes(&file, &before)?;
    let object = Object::File(&file);
    let (xattrs, streams) = (object.xattrs()?, object.streams()?);
    let in_holes: u64 = holes.iter().map(|hole| hole.1).sum();
    let data = before.size - in_holes;
    let mut pass = || -> Result<Pass, Attempt<E>> {
        (&file).rewind()?;
        let outcome = if holes.is_empty() {
            read(&mut &file, data)
        } else {
            let extents = Extents::new(holes.iter().map(|hole| Ok(*hole)), before.size);
            read(&mut ExtentReader::new(&file, extents), data)
        };
        // What is wrong elsewhere is not made good by reading the file again.
        if let Err(Attempt::Other(error)) = outcome {
            return Err(Attempt::Other(error));
        }
        let after = fsys::stat_file(&file)?;
        if (before.size, before.mtime, before.ctime) != (after.size, after.mtime, after.ctime) {
            return Err(Attempt::Changed("size or times changed while it was read".into()));
        }
        let (count, chunks) = outcome?;
        if count != data {
            return Err(Attempt::Changed(format!("{count} bytes were read of a file with {data}")));
        }
        Ok((count, chunks))
    };
    let (_, mut chunks) = pass()?;
    if unsettled {
        // A change might not show in the times: what was read is whole where a second reading gives the same.
        let first = chunks;
        (_, chunks) = pass()?;
        if sparse::holes(&file, &before)? != holes
            || object.xattrs()? != xattrs
            || object.streams()? != streams
            || !first.iter().map(|(chunk, _)| chunk).eq(chunks.iter().map(|(chunk, _)| chunk))
        {
            return Err(Attempt::Changed("two readings of it, one after the other, differ".into()));
        }
    }
    Ok(Whole { stat: before, racy: is_racy(&before, begun), holes, xattrs, streams, size: before.size, chunks })
}

/// Cuts the chunks of a very long file into lists; where, its chunks decide, so that an edit changes few lists.
pub(super) fn list_parts(chunks: &[ChunkRef]) -> Vec<&[ChunkRef]> {
    // Longer lists for the longest files, so that even those stay below the bound on lists.
    let average = (chunks.len() / 1024).next_power_of_two().clamp(512, 8192) as u16;
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    for chunk in chunks {
        at += 1;
        let bits = u16::from_be_bytes([chunk.id().0[0], chunk.id().0[1]]);
        if bits.is_multiple_of(average) || at - start == limits::LIST_CHUNKS_MAX {
            parts.push(&chunks[start..at]);
            start = at;
        }
    }
    if start < chunks.len() {
        parts.push(&chunks[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    const SIZES: [u32; 3] = [64, 256, 1024];

    fn stat(mtime: i64, ctime: i64) -> Stat {
        Stat {
            kind: ObjectKind::File,
            size: 3,
            mode: Some(0o644),
            mtime: Time { seconds: mtime, nanos: 0 },
            ctime: Some(Time { seconds: ctime, nanos: 0 }),
            id: ObjectId { device: 1, number: 2 },
            links: 1,
            ..Stat::default()
        }
    }

    fn entry(stat: &Stat, read: Time) -> Entry {
        let racy = is_racy(stat, read);
        let (holes, xattrs, streams, chunks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let whole = Whole { stat: *stat, racy, holes, xattrs, streams, size: 3, chunks };
        let kind = whole.content(Chunks::Direct(vec![ChunkRef(Digest([0; 32]), 3)]), Holes::none());
        Entry { mtime: Some(stat.mtime), ..Entry::new(EntryPath::parse(b"f").expect("valid"), kind) }
    }

    #[test]
    fn a_file_is_unchanged_only_if_all_fields_agree_and_its_times_were_old() {
        let (seen, later) = (stat(100, 100), Time { seconds: 102, nanos: 0 });
        assert!(is_unchanged(&entry(&seen, later), &seen));
        for changed in [
            Stat { size: 4, ..seen },
            stat(101, 100),
            stat(100, 101),
            Stat { ctime: None, ..seen },
            Stat { id: ObjectId { device: 1, number: 3 }, ..seen },
        ] {
            assert!(!is_unchanged(&entry(&seen, later), &changed), "{changed:?}");
        }
    }

    #[test]
    fn times_younger_than_two_seconds_when_read_prove_nothing_later() {
        let just_before = Time { seconds: 101, nanos: 999_999_999 };
        for seen in [stat(100, 100), stat(100, 50), stat(50, 100)] {
            assert!(!is_unchanged(&entry(&seen, just_before), &seen), "{seen:?}");
        }
        let future = stat(500, 500);
        assert!(!is_unchanged(&entry(&future, just_before), &future));
    }

    #[test]
    fn a_file_read_in_the_second_of_its_writing_is_read_again() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join("f"), b"one").expect("writable");
        let dir = Arc::new(Dir::open(root.path()).expect("readable"));
        let stat = dir.stat_at(b"f").expect("there");
        let job = || ReadJob { path: EntryPath::parse(b"f").expect("valid"), dir: Arc::clone(&dir), stat };
        let read = |clock: Time| {
            let mut data = Vec::new();
            match read_small(job(), SIZES, &FixedClock(clock), &mut data).read {
                Read::Whole(whole) => whole.racy,
                _ => panic!("the file is whole"),
            }
        };
        assert!(read(stat.mtime));
        assert!(!read(Time { seconds: stat.mtime.seconds + 60, nanos: 0 }));
    }

    #[test]
    fn a_file_whose_times_are_young_is_whole_where_two_readings_are_the_same() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("f");
        let dir = Dir::open(root.path()).expect("readable");
        // What each reading in turn gives, the last one again and again; how many there were, and what came of it.
        let read = |given: &[u8]| {
            std::fs::write(&path, b"x").expect("writable");
            let mut readings = 0;
            let outcome = attempts(&dir, b"f", &Stat::default(), &FixedClock(Time::default()), |_, _| {
                let byte = given[readings.min(given.len() - 1)];
                readings += 1;
                Ok::<_, Attempt<std::convert::Infallible>>((1, vec![(ChunkRef(Digest([byte; 32]), 1), 0..1)]))
            });
            let Ok(Read::Whole(whole)) = outcome else { panic!("it can be read") };
            (readings, whole.chunks[0].0.id().0[0])
        };
        // A machine that is busy may take longer than the times stay young.
        // However long the first reading takes.
        let slow = (0..200).any(|_| {
            std::fs::write(&path, b"x").expect("writable");
            let mut readings = 0;
            let outcome = attempts(&dir, b"f", &Stat::default(), &FixedClock(Time::default()), |_, _| {
                readings += 1;
                std::thread::sleep(2 * limits::TICK);
                Ok::<_, Attempt<std::convert::Infallible>>((1, vec![(ChunkRef(Digest([1; 32]), 1), 0..1)]))
            });
            outcome.is_ok() && readings == 2
        });
        assert!(slow);
        let until = |given: &[u8], wanted: &dyn Fn(usize) -> bool| {
            (0..200).map(|_| read(given)).find(|(readings, _)| wanted(*readings)).map(|(_, byte)| byte)
        };
        assert_eq!(until(&[1], &|readings| readings == 2), Some(1));
        assert_eq!(until(&[1, 2], &|readings| readings > 2), Some(2), "the first two differed");
    }

    #[test]
    fn the_rule_for_unchanged_files_names_no_time_of_change_that_a_medium_does_not_keep() {
        assert_eq!(unchanged_by(true), ["ctime", "ino", "mtime", "size"]);
        assert_eq!(unchanged_by(false), ["ino", "mtime", "size"]);
    }

    // Unix alone: names are listed with numbers.
    #[cfg(unix)]
    #[test]
    fn a_file_that_was_renamed_before_it_was_read_is_not_taken_for_gone() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("f"), b"one").expect("writable");
        let dir = Arc::new(Dir::open(root.path()).expect("readable"));
        let stat = dir.stat_at(b"f").expect("there");
        let read = || {
            let job = ReadJob { path: EntryPath::parse(b"f").expect("valid"), dir: Arc::clone(&dir), stat };
            read_small(job, SIZES, &FixedClock(Time::default()), &mut Vec::new()).read
        };
        std::fs::rename(at("f"), at("a")).expect("writable");
        assert!(matches!(read(), Read::Whole(whole) if whole.size == 3 && whole.stat.id == stat.id));
        std::fs::remove_file(at("a")).expect("there");
        assert!(matches!(read(), Read::Gone));
    }

    #[test]
    fn a_failing_vault_is_told_also_where_the_file_changed_meanwhile() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("f");
        std::fs::write(&path, b"some content").expect("writable");
        let dir = Arc::new(Dir::open(root.path()).expect("readable"));
        let stat = dir.stat_at(b"f").expect("there");
        let found = Found { path: EntryPath::parse(b"f").expect("valid"), stat, dir, target: Vec::new() };
        let mut asked = 0;
        let read = read_large(&found, SIZES, &FixedClock(Time::default()), |_, _| {
            asked += 1;
            std::fs::write(&path, format!("{asked} and more than before")).expect("writable");
            Err(Error::environment("write to the vault", io::Error::other("failed")))
        });
        assert!(matches!(read, Err(Error::Environment { .. })) && asked == 1);
    }

    #[test]
    fn a_file_that_becomes_a_link_keeps_changing() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("f")).expect("writable");
        let dir = Dir::open(root.path()).expect("readable");
        let read = attempts(&dir, b"f", &Stat::default(), &FixedClock(Time::default()), |_, _| {
            Ok::<_, Attempt<std::convert::Infallible>>((0, Vec::new()))
        });
        assert!(matches!(read, Ok(Read::Changing(_) | Read::Failed(_))));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("f", root.path().join("l")).expect("writable");
            let read = attempts(&dir, b"l", &Stat::default(), &FixedClock(Time::default()), |_, _| {
                Ok::<_, Attempt<std::convert::Infallible>>((0, Vec::new()))
            });
            assert!(matches!(read, Ok(Read::Changing(_))));
        }
    }

    #[test]
    fn list_parts_cover_all_chunks_within_their_bound() {
        let chunks: Vec<ChunkRef> = (0..5000u32).map(|n| ChunkRef(Digest::of(&n.to_be_bytes()), 1)).collect();
        let parts = list_parts(&chunks);
        assert_eq!(parts.concat(), chunks);
        assert!(parts.len() > 1 && parts.iter().all(|part| !part.is_empty() && part.len() <= limits::LIST_CHUNKS_MAX));
        let same = vec![ChunkRef(Digest([1; 32]), 1); limits::LIST_CHUNKS_MAX + 1];
        assert_eq!(list_parts(&same).len(), 2);
    }
}
