//! Keys, digests and message authentication. Nothing here knows what is authenticated.

mod digest;
mod mac;
mod secret;

pub use digest::{BadHex, Digest, Id};
pub use mac::{Domain, MAC_BYTES, Macs};
pub use secret::{KeyId, SECRET_BYTES, Secret};

/// Fills a new array with bytes from the system's random source.
///
/// # Errors
/// The system has no random bytes; nothing that needs them may go on.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}
