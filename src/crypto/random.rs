//! Random bytes: the system's own, or another source that operations are given.

use std::io;

/// A source of random bytes; injected, so that a vault with known bytes can be made anew byte by byte.
pub trait Random: Send + Sync {
    /// Fills a buffer.
    ///
    /// # Errors
    /// The source has no bytes; nothing that needs them may go on.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The system's source, fit for secrets.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}

/// Fills a new array with bytes from the system's random source.
///
/// # Errors
/// The system has no random bytes; nothing that needs them may go on.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom.fill(&mut bytes)?;
    Ok(bytes)
}
