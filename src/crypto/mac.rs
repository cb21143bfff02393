//! Message authentication: HMAC-SHA256 with a subkey and a domain string for every kind of thing.
//!
//! `HMAC-SHA256(subkey, domain ‖ NUL ‖ vault id (16) ‖ number (8, big-endian) ‖ exact bytes)`. Things without a number
//! use 0. The bytes are those stored, never a re-serialisation.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::digest::Id;
use super::secret::Secret;

/// Length of an authentication tag, in bytes.
pub const MAC_BYTES: usize = 32;

macro_rules! domains {
    ($($name:ident = $text:literal, $doc:literal;)*) => {
        /// What kind of thing is authenticated.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Domain { $(#[doc = $doc] $name,)* }

        impl Domain {
            /// Every domain there is.
            pub const ALL: &'static [Domain] = &[$(Domain::$name,)*];

            /// Returns the domain string, which starts the authenticated bytes.
            pub fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }

            /// Returns the context from which the domain's subkey is derived.
            pub fn context(self) -> &'static str {
                match self { $(Self::$name => concat!("devvault format 1 mac ", $text),)* }
            }
        }
    };
}

domains! {
    Config = "config", "The bytes of `vault.json`.";
    Snapshot = "snapshot", "A snapshot's manifest.";
    Tombstone = "tombstone", "A tombstone.";
    Branch = "branch", "A branch record.";
    Footer = "footer", "The table of a pack's footer.";
    Index = "index", "An index file.";
    Witness = "witness", "A host's witness of one vault.";
    Reads = "reads", "What a host remembers of reading packs.";
    Receipt = "receipt", "A receipt of a verification or a drill.";
    Evidence = "evidence", "The manifest of a bundle of evidence.";
}

/// Makes and checks authentication tags for one vault.
#[derive(Clone)]
pub struct Macs {
    vault: Id,
    // One prepared state a domain, in the order of `Domain::ALL`.
    states: Vec<Hmac<Sha256>>,
}

impl Macs {
    /// Derives the subkeys of a vault.
    pub fn new(secret: &Secret, vault: Id) -> Self {
        let states = Domain::ALL
            .iter()
            .map(|domain| {
                let key = secret.subkey(domain.context(), vault);
                let mut state = Hmac::<Sha256>::new_from_slice(&key[..]).expect("HMAC takes keys of any length");
                state.update(domain.text().as_bytes());
                state.update(&[0]);
                state.update(&vault.0);
                state
            })
            .collect();
        Self { vault, states }
    }

    /// Returns the vault whose subkeys these are.
    pub fn vault(&self) -> Id {
        self.vault
    }

    fn state(&self, domain: Domain, number: u64, bytes: &[u8]) -> Hmac<Sha256> {
        let mut state = self.states[domain as usize].clone();
        state.update(&number.to_be_bytes());
        state.update(bytes);
        state
    }

    /// Returns the tag of `bytes`.
    pub fn tag(&self, domain: Domain, number: u64, bytes: &[u8]) -> [u8; MAC_BYTES] {
        self.state(domain, number, bytes).finalize().into_bytes().into()
    }

    /// Returns whether `tag` is the tag of bytes that come in pieces, `read` handing on each until it returns nothing.
    ///
    /// # Errors
    /// Whatever `read` returns.
    pub fn verifies_stream<E>(
        &self,
        domain: Domain,
        number: u64,
        tag: &[u8],
        mut read: impl FnMut(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut state = self.state(domain, number, &[]);
        read(&mut |piece| state.update(piece))?;
        Ok(state.verify_slice(tag).is_ok())
    }

    /// Returns whether `tag` is the tag of `bytes`, in time that does not depend on where they differ.
    #[must_use]
    pub fn verifies(&self, domain: Domain, number: u64, bytes: &[u8], tag: &[u8]) -> bool {
        self.state(domain, number, bytes).verify_slice(tag).is_ok()
    }
}

impl std::fmt::Debug for Macs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Macs({})", self.vault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_binds_domain_number_vault_and_every_byte() {
        let secret = Secret::from_bytes([7; 32]);
        let macs = Macs::new(&secret, Id([1; 16]));
        let tag = macs.tag(Domain::Snapshot, 3, b"bytes");
        assert!(macs.verifies(Domain::Snapshot, 3, b"bytes", &tag));
        assert!(!macs.verifies(Domain::Tombstone, 3, b"bytes", &tag));
        assert!(!macs.verifies(Domain::Snapshot, 4, b"bytes", &tag));
        assert!(!macs.verifies(Domain::Snapshot, 3, b"byteS", &tag));
        assert!(!macs.verifies(Domain::Snapshot, 3, b"bytes", &tag[..31]));
        assert!(!Macs::new(&secret, Id([2; 16])).verifies(Domain::Snapshot, 3, b"bytes", &tag));
        assert!(!Macs::new(&Secret::from_bytes([8; 32]), Id([1; 16])).verifies(Domain::Snapshot, 3, b"bytes", &tag));
    }

    #[test]
    fn the_construction_is_the_specified_one() {
        let secret = Secret::from_bytes([7; 32]);
        let vault = Id([1; 16]);
        let key = secret.subkey("devvault format 1 mac snapshot", vault);
        let mut plain = Hmac::<Sha256>::new_from_slice(&key[..]).expect("any length");
        plain.update(
            b"snapshot\0\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\0\0\0\0\0\0\0\x2abytes",
        );
        let expected: [u8; 32] = plain.finalize().into_bytes().into();
        assert_eq!(Macs::new(&secret, vault).tag(Domain::Snapshot, 42, b"bytes"), expected);
    }
}
