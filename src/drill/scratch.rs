//! The scratch directory: a new, private directory of a drill's own, far from anything that it could harm.
//!
//! It is removed after a drill that passed, and kept as evidence after one that failed.

use std::fs;
use std::path::{Path, PathBuf};

use super::remove::{Removal, remove};
use crate::crypto::Id;
use crate::error::{Error, Result, refuse, shown_path};
use crate::fsys::replace;
use crate::host::Host;
use crate::limits;
use crate::ops::overlap;
use crate::progress::Progress;
use crate::refusal::{Code, Refusal};

/// Begins the name of a scratch directory.
const PREFIX: &str = "devvault-drill-";

/// What a scratch directory must not touch.
pub(super) struct Apart<'a> {
    pub(super) vault: Option<&'a Path>,
    pub(super) source: Option<&'a Path>,
    pub(super) host: &'a Host,
}

impl Apart<'_> {
    /// Returns what a place lies in, in words, if it may not lie there.
    fn conflict(&self, place: &Path) -> Option<String> {
        let within = |path: &Path| fs::canonicalize(path).is_ok_and(|real| place.starts_with(real));
        if let Some(source) = self.source.filter(|source| within(source)) {
            return Some(format!("in the source {}", shown_path(source)));
        }
        overlap::taken(&place.join(PREFIX), self.host, self.vault).map(|taken| format!("in {taken}"))
    }
}

/// A directory of a drill's own.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    /// Makes a scratch directory with room for `bytes` more bytes: in the directory that is named, which must be there, or
    /// in the first of the system's places for temporary files that has room.
    ///
    /// # Errors
    /// DV212 where it would lie in the vault, the source or devvault's own directories; DV207 where there is not enough
    /// room; DV206 where the directory is missing or nothing can be written.
    pub(super) fn create(named: Option<&Path>, apart: &Apart<'_>, bytes: u64) -> Result<Self> {
        if let Some(named) = named {
            // A directory that is missing may be a disk that is not mounted: what it would be on is not what was meant.
            let base = fs::canonicalize(named).map_err(|error| {
                unwritable(named, &error).next(
                    "mount its disk, or make the directory if it is the one that you mean; then do the drill again",
                )
            })?;
            refuse_conflict(apart, &base)?;
            return match short_of_room(&base, bytes) {
                Some(short) => Err(Refusal::new(Code::DestinationSpace, short)
                    .next("name a directory with more room: `--to DIR`; or exercise a part: `--sample SIZE`")
                    .into()),
                None => Self::within(&base),
            };
        }
        let mut reasons = Vec::new();
        for base in candidates() {
            let Ok(base) = fs::canonicalize(&base) else { continue };
            let reason = match apart.conflict(&base) {
                Some(place) => format!("{} lies {place}", shown_path(&base)),
                None => match short_of_room(&base, bytes) {
                    Some(short) => short,
                    None => match Self::within(&base) {
                        Ok(scratch) => return Ok(scratch),
                        Err(error) => error.to_string(),
                    },
                },
            };
            reasons.push(reason);
        }
        let mut refusal =
            Refusal::new(Code::DestinationSpace, "no place for temporary files has enough room for a drill")
                .next("name a directory with room: `--to DIR`; or exercise a part: `--sample SIZE`");
        refusal.causes = reasons;
        Err(refusal.into())
    }

    fn within(base: &Path) -> Result<Self> {
        let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?.to_string();
        let path = base.join(format!("{PREFIX}{}", &id[..12]));
        // Nobody else looks into what is restored there.
        replace::create_directories(&path, true).map_err(|error| unwritable(base, &error))?;
        Ok(Self { path })
    }

    /// Returns a place in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns a host of its own, which has seen nothing and knows nothing.
    pub(super) fn host(&self, name: &str) -> Host {
        let place = |kind: &str| self.path.join(format!("{name}-{kind}"));
        Host::new(place("config"), place("state"), place("data"))
    }

    /// Returns the names in it that the drill did not make.
    pub(super) fn strangers(&self, known: &[&str]) -> Vec<String> {
        let names = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| known.iter().all(|known| name != known)).collect()
    }

    /// Removes it with everything in it: about so many objects, where that is known. A wish to stop is heeded if
    /// `may_stop` says so.
    ///
    /// # Errors
    /// What stays, in words.
    pub(super) fn remove(
        &self,
        objects: Option<u64>,
        may_stop: bool,
        progress: &dyn Progress,
    ) -> Result<Removal, String> {
        remove(&self.path, objects, may_stop, progress)
            .map_err(|error| format!("{} could not be removed: {error}", shown_path(&self.path)))
    }
}

fn refuse_conflict(apart: &Apart<'_>, place: &Path) -> Result<()> {
    match apart.conflict(place) {
        Some(what) => refuse(Code::ScratchUnfit, format!("{} lies {what}", shown_path(place))),
        None => Ok(()),
    }
}

fn unwritable(place: &Path, error: &std::io::Error) -> Refusal {
    Refusal::new(Code::DestinationParent, format!("{} cannot be used for a drill", shown_path(place))).cause(error)
}

fn short_of_room(base: &Path, bytes: u64) -> Option<String> {
    let needed = bytes.saturating_add(limits::SPACE_RESERVE_BYTES);
    let free = fs2::available_space(base).unwrap_or(u64::MAX);
    (free < needed).then(|| format!("{} has {free} bytes free, a drill there needs about {needed}", shown_path(base)))
}

/// Returns the system's places for temporary files, the user's choice first.
fn candidates() -> Vec<PathBuf> {
    let mut places = vec![std::env::temp_dir()];
    if cfg!(unix) {
        // The first one often lies in memory.
        places.push("/var/tmp".into());
    }
    places
}
