//! `cat`: hands on the content of one file of a snapshot. No byte is handed on before its chunk's hash matched.

use std::collections::VecDeque;
use std::sync::Arc;

use super::audit;
use super::reading::Reading;
use super::select::Place;
use crate::error::{Error, Result};
use crate::format::entry::{Entry, FileContent, Kind};
use crate::path::{EntryPath, shown};
use crate::pool::Task;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};
use crate::vault::Finding;
use crate::vault::content::PlacesOf;
use crate::vault::gate::Access;
use crate::vault::witness::Freshness;

/// What was handed on.
#[derive(Debug, Clone)]
pub struct Report {
    /// The snapshot's number.
    pub snapshot: u64,
    /// The file.
    pub path: EntryPath,
    /// How many bytes it has; all of them were handed on.
    pub bytes: u64,
    /// How the chain stands to what this host has seen.
    pub freshness: Freshness,
    /// What should be said besides, in words.
    pub notes: Vec<String>,
}

/// Hands on a file's content piece by piece, in order; after a failure nothing more.
///
/// # Errors
/// What opening the vault or selecting the snapshot refuses; DV210 where the snapshot holds no regular file there; DV102
/// or DV103 where content is missing or damaged, DV104, DV105 or DV108 where the listing is not intact; whatever `take`
/// returns. The error says how much had been handed on.
pub fn run(
    access: &Access,
    place: &Place,
    progress: &dyn Progress,
    take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Report> {
    audit::watch_refusals(access, "cat", || print(access, place, progress, take))
}

fn print(
    access: &Access,
    place: &Place,
    progress: &dyn Progress,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Report> {
    let reading = Reading::open(access)?;
    let (number, snapshot) = reading.select(&place.snapshot)?;
    let path = reading.meant(snapshot, &place.path);
    let entry = match reading.listing(snapshot, &path, progress).next() {
        Some(entry) => entry?,
        None => return Err(no_file(number, &path, "there is nothing of that name")),
    };
    let file = match &entry.kind {
        Kind::File(file) => file,
        other => return Err(no_file(number, &path, &what_it_is(other))),
    };
    let mut bytes = 0;
    hand_on(&reading, &entry, file, progress, |piece| {
        take(piece)?;
        bytes += piece.len() as u64;
        Ok(())
    })
    .map_err(|error| match bytes {
        0 => error,
        _ => error
            .written(|| format!("{bytes} of {} bytes of the content, each verified; nothing after them", file.size)),
    })?;
    let notes = reading.remarks(access);
    Ok(Report { snapshot: number, path: entry.path, bytes, freshness: reading.vault.freshness, notes })
}

fn what_it_is(kind: &Kind) -> String {
    match kind {
        Kind::Symlink(target) => format!("it is a symbolic link to {}", shown(target)),
        other => format!("it is a {}", other.name()),
    }
}

fn no_file(number: u64, path: &EntryPath, why: &str) -> Error {
    Refusal::new(Code::SelectionEmpty, format!("snapshot {number} holds no regular file {path}"))
        .cause(why)
        .next(format!("list the snapshot: `devvault ls {number}`"))
        .into()
}

/// Reads chunks ahead on the pool and hands them on in order.
fn hand_on(
    reading: &Reading,
    entry: &Entry,
    file: &FileContent,
    progress: &dyn Progress,
    take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let named = |finding: Finding| {
        Error::from(
            Refusal::new(finding.code, format!("{}: {}", entry.path, finding.code.title()))
                .cause(format!("{}: {}", finding.subject, finding.detail))
                .paths(vec![entry.path.clone()]),
        )
    };
    let mut under_way: VecDeque<Piece> = VecDeque::new();
    let mut spreader = Spreader { places: reading.reader.places_of(file), place: 0, progress, take };
    let first = |under_way: &mut VecDeque<Piece>, spreader: &mut Spreader<'_, _>| -> Result<(), Stop> {
        let Some(task) = under_way.pop_front() else { return Ok(()) };
        if progress.interrupted() {
            return Err(Stop::Other(Error::Interrupted(None)));
        }
        spreader.put(&task.wait()?)
    };
    let ended = reading.reader.chunks_of(file).try_for_each(|chunk| {
        let (reader, chunk) = (Arc::clone(&reading.reader), chunk?);
        under_way.push_back(reading.pool.spawn(move || reader.chunk(chunk)));
        if under_way.len() > reading.pool.threads() { first(&mut under_way, &mut spreader) } else { Ok(()) }
    });
    let ended = ended.and_then(|()| {
        while !under_way.is_empty() {
            first(&mut under_way, &mut spreader)?;
        }
        // Also where no data lies behind the last hole, holes must be what they are said to be.
        if !spreader.places.is_full()? {
            let detail = "its chunks hold less than its size and holes leave room for";
            return Err(Finding::new(Code::ListingUnsafe, "the content", detail).into());
        }
        spreader.zeros_up_to(file.size).map_err(Stop::Other)
    });
    ended.map_err(|stop| match stop {
        Stop::Vault(finding) => named(finding),
        Stop::Other(error) => error,
    })
}

/// Hands on data where it belongs, with the zeros of the holes between.
struct Spreader<'a, T> {
    places: PlacesOf<'a>,
    // Where the next byte goes in the file.
    place: u64,
    progress: &'a dyn Progress,
    take: T,
}

impl<T: FnMut(&[u8]) -> Result<()>> Spreader<'_, T> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let Some((offset, length)) = self.places.next(bytes.len() as u64)? else {
                let detail = "its chunks hold more than its size and holes leave room for";
                return Err(Finding::new(Code::ListingUnsafe, "the content", detail).into());
            };
            self.zeros_up_to(offset).map_err(Stop::Other)?;
            let (piece, after) = bytes.split_at(length as usize);
            (self.take)(piece).map_err(Stop::Other)?;
            (bytes, self.place) = (after, offset + length);
        }
        Ok(())
    }

    fn zeros_up_to(&mut self, place: u64) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while self.place < place {
            if self.progress.interrupted() {
                return Err(Error::Interrupted(None));
            }
            let length = (place - self.place).min(ZEROS.len() as u64);
            (self.take)(&ZEROS[..length as usize])?;
            self.place += length;
        }
        Ok(())
    }
}

/// A chunk that is being read.
type Piece = Task<Result<Vec<u8>, Finding>>;

/// Why handing on ended early.
enum Stop {
    Vault(Finding),
    Other(Error),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Vault(finding)
    }
}
