//! Digests and identifiers: fixed arrays with one textual form, lower-case hexadecimal.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Says that a text is not the expected number of lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHex;

impl fmt::Display for BadHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the expected number of lower-case hexadecimal digits")
    }
}

impl std::error::Error for BadHex {}

/// The BLAKE3 digest of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Ord for Digest {
    /// Compares as bytes; eight at once first, which decides nearly always.
    fn cmp(&self, other: &Self) -> Ordering {
        self.prefix().cmp(&other.prefix()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Digest {
    /// Returns the BLAKE3 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A random identifier of 16 bytes: of a vault, a host, a pack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// Returns a new random identifier.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn random() -> std::io::Result<Self> {
        Self::drawn(&super::SystemRandom)
    }

    /// Returns a new identifier from a source of random bytes.
    ///
    /// # Errors
    /// The source has no bytes.
    pub fn drawn(random: &dyn super::Random) -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

macro_rules! hexadecimal {
    ($($type:ident $bytes:literal;)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 2 * $bytes];
                HEXLOWER.encode_mut(&self.0, &mut text);
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = BadHex;

            fn from_str(text: &str) -> Result<Self, BadHex> {
                let mut bytes = [0; $bytes];
                if text.len() != 2 * $bytes || HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).is_err() {
                    return Err(BadHex);
                }
                Ok(Self(bytes))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; 2 * $bytes];
                HEXLOWER.encode_mut(&self.0, &mut text);
                serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} lower-case hexadecimal digits", 2 * $bytes)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

hexadecimal! { Digest 32; Id 16; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_order_as_their_bytes() {
        let digests: Vec<Digest> = (0..200u32).map(|n| Digest::of(&n.to_le_bytes())).collect();
        for a in &digests {
            for b in &digests {
                assert_eq!(a.cmp(b), a.0.cmp(&b.0));
            }
        }
        let (mut low, mut high) = ([7; 32], [7; 32]);
        (low[31], high[31]) = (1, 2);
        assert!(Digest(low) < Digest(high));
    }

    #[test]
    fn hexadecimal_has_one_form() {
        let id = Id([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!("ab".repeat(16).parse(), Ok(id));
        for bad in ["AB".repeat(16), "ab".repeat(15), "ab".repeat(17), "ag".repeat(16), String::new()] {
            assert_eq!(bad.parse::<Id>(), Err(BadHex), "{bad}");
        }
    }
}
