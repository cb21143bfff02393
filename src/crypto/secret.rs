//! The vault's secret and what is derived from it.
//!
//! Invariant: the 32 bytes are wiped when dropped and never shown.

use std::fmt;

use zeroize::Zeroizing;

use super::digest::Id;

/// Length of a vault's secret, in bytes.
pub const SECRET_BYTES: usize = 32;

const KEY_ID_CONTEXT: &str = "devvault format 1 key id";

/// Names a secret without revealing it.
pub type KeyId = Id;

/// A vault's secret.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    /// Creates a new secret from a source of random bytes, the system's own but for vaults with known bytes.
    ///
    /// # Errors
    /// The source has no bytes.
    pub fn drawn(random: &dyn super::Random) -> std::io::Result<Self> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        random.fill(&mut bytes[..])?;
        Ok(Self(bytes))
    }

    /// Wraps existing secret bytes.
    pub fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the secret itself; for writing a key file only.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// Returns the id that names this secret: 16 bytes of `blake3::derive_key` over it.
    pub fn key_id(&self) -> KeyId {
        let mut id = [0; 16];
        let mut hasher = blake3::Hasher::new_derive_key(KEY_ID_CONTEXT);
        hasher.update(&self.0[..]);
        hasher.finalize_xof().fill(&mut id);
        Id(id)
    }

    /// Derives the subkey for `context` and one vault (BLAKE3 in key-derivation mode over secret and vault id).
    pub fn subkey(&self, context: &str, vault: Id) -> Zeroizing<[u8; 32]> {
        let mut material = Zeroizing::new([0; SECRET_BYTES + 16]);
        material[..SECRET_BYTES].copy_from_slice(&self.0[..]);
        material[SECRET_BYTES..].copy_from_slice(&vault.0);
        Zeroizing::new(blake3::derive_key(context, &material[..]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.key_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_hold_the_secret() {
        let secret = Secret::from_bytes([0x5a; 32]);
        assert!(!format!("{secret:?}").contains("5a5a5a"));
    }

    #[test]
    fn subkeys_differ_by_context_vault_and_secret() {
        let (a, b) = (Secret::from_bytes([1; 32]), Secret::from_bytes([2; 32]));
        let keys = [
            a.subkey("x", Id([0; 16])),
            a.subkey("y", Id([0; 16])),
            a.subkey("x", Id([1; 16])),
            b.subkey("x", Id([0; 16])),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|other| other != key));
        }
    }
}
