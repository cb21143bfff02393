//! Progress and interruption: how a long operation tells its caller where it stands, and asks whether to go on.
//!
//! Operations call this trait from the thread that coordinates the work; implementations must be cheap.

/// What an operation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looks at the vault: key, chain, index.
    Opening,
    /// Walks the source, reads and stores files.
    Storing,
    /// Reads back what was written and publishes the snapshot.
    Finalizing,
    /// Reads packs and checks every byte.
    Verifying,
    /// Writes files into the staging directory.
    Restoring,
    /// Reads restored files again and compares them.
    Comparing,
    /// Waits until the medium holds the data.
    Syncing,
    /// Removes what was made only for a drill.
    Cleaning,
}

impl Phase {
    /// Returns the phase's name for a person and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Storing => "storing",
            Self::Finalizing => "finalizing",
            Self::Verifying => "verifying",
            Self::Restoring => "restoring",
            Self::Comparing => "comparing",
            Self::Syncing => "syncing",
            Self::Cleaning => "cleaning",
        }
    }
}

/// Receives the progress of an operation and may interrupt it.
pub trait Progress: Send + Sync {
    /// Begins a phase. `files` and `bytes` are the expected totals where they are known.
    fn phase(&self, phase: Phase, files: Option<u64>, bytes: Option<u64>) {
        let _ = (phase, files, bytes);
    }
    /// Reports `files` more files and `bytes` more bytes done in this phase.
    fn advance(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }
    /// Returns whether the operation should stop at the next safe place.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Progress that nobody watches and nobody interrupts.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
