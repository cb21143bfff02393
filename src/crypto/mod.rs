//! Keys, digests and message authentication. Nothing here knows what is authenticated.

mod digest;
mod mac;
mod random;
mod secret;

pub use digest::{BadHex, Digest, Id};
pub use mac::{Domain, MAC_BYTES, Macs};
pub use random::{Random, SystemRandom, random};
pub use secret::{KeyId, SECRET_BYTES, Secret};
