//! Conformance: whether this machine behaves as every other one, and what it is like.
//!
//! Invariants: the cases and what they must come to are part of the program, so that a machine can be judged on the
//! spot; a case that did not run diverges; a place where none can run is not judged; what may differ between machines never
//! enters the agreed part.

pub mod compare;
mod contract;
mod damaged;
mod examine;
pub mod fixtures;
mod list;
pub mod literal;
mod platform;
mod report;
mod scratch;
mod tree;
pub mod vectors;

use std::io;
use std::path::Path;

pub use self::damaged::{Damage, Damaged, Expected};
pub use self::fixtures::Fixtures;
pub use self::report::{Cases, FORMAT, Report, Undecoded};
use self::scratch::Scratch;
use crate::crypto::Id;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// What every case must come to: canonical JSON, made by the same command as the fixtures.
const EXPECTED: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/expected.json"));

/// Where the cases run.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In the system's directory for temporary files.
    Temporary,
    /// In a directory, below a name of their own that is removed afterwards.
    Directory(&'a Path),
    /// In a vault, below a name that every reader ignores and that is removed afterwards.
    Vault(&'a Path),
}

/// Returns what every case must come to in this release.
///
/// # Errors
/// The program was built with something else in its place.
pub fn expected() -> Result<Cases> {
    crate::format::json::decode(EXPECTED)
        .map_err(|error| Error::environment("read what is expected", io::Error::other(error.to_string())))
}

/// Runs every case and describes the machine.
///
/// # Errors
/// No directory can be made in which the cases run, or the run was interrupted. A case that comes to something else is
/// no error but diverges.
pub fn run(place: Place<'_>, progress: &dyn Progress) -> Result<Report> {
    run_with(&Fixtures::embedded(), &expected()?, place, progress)
}

/// Runs the cases of other fixtures, as of those on disk before they are embedded.
///
/// # Errors
/// As [`run`].
pub fn run_with(fixtures: &Fixtures, expected: &Cases, place: Place<'_>, progress: &dyn Progress) -> Result<Report> {
    let scratch = Scratch::new(place)?;
    let mut cases = Cases::new();
    vectors::run(fixtures, &scratch, &mut cases)?;
    unless_interrupted(progress)?;
    examine::run(fixtures, &scratch, &mut cases)?;
    unless_interrupted(progress)?;
    damaged::run(fixtures, &scratch, &mut cases)?;
    unless_interrupted(progress)?;
    literal::run(&scratch, &mut cases);
    contract::run(&scratch, &mut cases)?;
    tree::run(&scratch, &mut cases);
    unless_interrupted(progress)?;
    let run = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
    let mut report = Report::new(cases, expected, fixtures.digest(), run);
    report.platform = platform::describe(&scratch);
    Ok(report)
}

fn unless_interrupted(progress: &dyn Progress) -> Result<()> {
    if progress.interrupted() { Err(Error::Interrupted(None)) } else { Ok(()) }
}
