//! devvault backs up project folders, proves that the backups are recoverable, and restores them.
//!
//! It is trust infrastructure: a refused operation preserves trust, a false positive destroys it. If devvault says that
//! a backup is valid, every byte that it needs was read, decoded and hashed. On any failure it refuses, explains,
//! preserves the evidence, and guides to the safest next step.
//!
//! The program is a thin room above this library: each command is an operation in [`ops`], options in, report out, with
//! [`progress::Progress`] to watch or interrupt it. The on-disk format is specified in [`format`](mod@crate::format).
//!
//! # Example
//!
//! ```
//! use devvault::format::config::Parameters;
//! use devvault::host::Host;
//! use devvault::ops::{backup, init, restore, verify};
//! use devvault::progress::Silent;
//! use devvault::vault::gate::Access;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let place = tempfile::tempdir()?;
//! let source = place.path().join("project");
//! std::fs::create_dir(&source)?;
//! std::fs::write(source.join("README"), "hello")?;
//!
//! // A host keeps keys and witnesses outside every vault.
//! let host = Host::new(place.path().join("config"), place.path().join("state"), place.path().join("data"));
//! let access = Access::new(place.path().join("vault"), host);
//! init::run(&access, Parameters::default())?;
//!
//! let taken = backup::run(&access, &source, &backup::Options::default(), &Silent)?;
//! assert_eq!((taken.snapshot, taken.counts.files), (1, 1));
//!
//! let checked = verify::run(&access, &[], verify::Level::Full, &Silent)?;
//! assert_eq!(checked.verdict, verify::Verdict::Valid);
//!
//! let destination = place.path().join("restored");
//! restore::run(&access, &"latest".parse()?, &destination, &restore::Options::default(), &Silent)?;
//! assert_eq!(std::fs::read_to_string(destination.join("README"))?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # The house
//!
//! Imports point down only, which a test enforces: [`cli`]; [`drill`] and [`conformance`], which use the operations as an
//! operator would; [`ops`], one verb a file; [`vault`], which opens, reads and
//! writes; [`incident`], the journal, evidence and what follows from them; [`host`], this machine's own directories; [`mod@format`] and [`store`], the record and the place, blind to
//! each other; [`fsys`], [`crypto`], [`chunk`] and [`pool`], the hands; and the words [`error`], [`refusal`], [`path`],
//! [`progress`], [`clock`], [`limits`], which everyone may use.

pub mod chunk;
pub mod cli;
pub mod clock;
pub mod conformance;
pub mod crypto;
pub mod drill;
pub mod error;
pub mod format;
pub mod fsys;
pub mod host;
pub mod incident;
pub mod limits;
pub mod ops;
pub mod path;
pub mod pool;
pub mod progress;
pub mod refusal;
pub mod store;
pub mod vault;
