//! Errors: a refusal, a failing environment, an interruption.

use std::fmt;
use std::io;
use std::path::Path;

use crate::path::shown;
use crate::refusal::{Code, Refusal, Written};

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not do what was asked.
#[derive(Debug)]
pub enum Error {
    /// devvault refused; exit status 10 plus the code's family.
    Refused(Box<Refusal>),
    /// Something outside the vault failed; exit status 1.
    Environment {
        /// What was attempted, on what.
        attempt: String,
        /// What the system said.
        source: io::Error,
        /// What had been written, once that is known.
        written: Option<Written>,
    },
    /// The caller interrupted the operation; exit status 130. Says what was written before, once that is known.
    Interrupted(Option<Written>),
}

impl Error {
    /// Creates an environment error; `attempt` reads like "read the directory X".
    pub fn environment(attempt: impl Into<String>, source: io::Error) -> Self {
        Self::Environment { attempt: attempt.into(), source, written: None }
    }

    /// Returns the refusal's code, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// Says what had been written, unless the refusal says it already.
    #[must_use]
    pub fn written<W: Into<Written>>(mut self, written: impl FnOnce() -> W) -> Self {
        let place = match &mut self {
            Self::Refused(refusal) => &mut refusal.written,
            Self::Interrupted(place) => place,
            Self::Environment { written, .. } => written,
        };
        place.get_or_insert_with(|| written().into());
        self
    }

    /// Says what had been written before all that, beside what is said already.
    #[must_use]
    pub fn written_before(mut self, text: &str) -> Self {
        let place = match &mut self {
            Self::Refused(refusal) => &mut refusal.written,
            Self::Interrupted(place) => place,
            Self::Environment { written, .. } => written,
        };
        *place = Some(match place.take() {
            Some(written) => Written::from(format!("{text}; {}", written.text)),
            None => Written::from(text),
        });
        self
    }

    /// Returns what had been written, if that was said.
    pub fn what_was_written(&self) -> Option<&Written> {
        match self {
            Self::Refused(refusal) => refusal.written.as_ref(),
            Self::Interrupted(written) | Self::Environment { written, .. } => written.as_ref(),
        }
    }

    /// Returns the process exit status that stands for this error.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Refused(refusal) => refusal.code.family().exit(),
            Self::Environment { .. } => 1,
            Self::Interrupted(_) => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused {refusal}"),
            Self::Environment { attempt, source, .. } => write!(f, "could not {attempt}: {source}"),
            Self::Interrupted(_) => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Environment { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// Returns an error unless the condition holds; for checks that refuse.
pub fn refuse<T>(code: Code, message: impl Into<String>) -> Result<T> {
    Err(Refusal::new(code, message).into())
}

/// Returns whether a medium has no room left, or gives this user no more of it.
pub fn lacks_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns a path of this machine in a form that is safe to show.
pub fn shown_path(path: &Path) -> String {
    if cfg!(windows) {
        // A separator there, not an escape.
        return shown(path.to_string_lossy().replace('\\', "/").as_bytes()).replace('/', "\\");
    }
    shown(path.as_os_str().as_encoded_bytes())
}
