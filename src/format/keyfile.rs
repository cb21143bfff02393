//! Key files: the vault's secret, kept outside the vault.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{FORMAT_VERSION, Malformed, json};
use crate::clock::Time;
use crate::crypto::{Id, KeyId, SECRET_BYTES, Secret};

/// What a key file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// When the key was made.
    pub created: Time,
    /// The format version.
    pub format: u32,
    /// The host that made the key, and with it the vault.
    pub host: Id,
    /// Names the secret.
    pub key_id: KeyId,
    /// Always `devvault key`.
    pub kind: String,
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    secret: Secret,
    /// The vault that the key opens.
    pub vault: Id,
}

const KIND: &str = "devvault key";

impl KeyFile {
    /// Creates the key file of a new vault.
    pub fn new(secret: Secret, vault: Id, host: Id, created: Time) -> Self {
        Self { created, format: FORMAT_VERSION, host, key_id: secret.key_id(), kind: KIND.to_owned(), secret, vault }
    }

    /// Returns the vault's secret.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the bytes of the file, ended by a line feed; they hold the secret.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(512));
        json::append_line(&mut bytes, self);
        bytes
    }

    /// Decodes the bytes of a key file.
    ///
    /// # Errors
    /// Bytes that are not canonical, another version, a key id that is not that of the secret.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let body = bytes.strip_suffix(b"\n").ok_or_else(|| Malformed::new("the file has no line end; is it cut?"))?;
        // The parser's own words quote what it did not expect, and that may be the secret.
        let key: Self = serde_json::from_slice(body)
            .map_err(|error| Malformed::new(format!("it is no key file from byte {} on", error.column())))?;
        if *key.encode() != bytes {
            return Err(Malformed::new("the JSON is not in canonical form"));
        }
        if key.kind != KIND || key.format != FORMAT_VERSION {
            return Err(Malformed::new("not a devvault key of format 1"));
        }
        if key.secret.key_id() != key.key_id {
            return Err(Malformed::new("the key id does not belong to the secret"));
        }
        Ok(key)
    }
}

fn write_secret<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = Zeroizing::new([0; 2 * SECRET_BYTES]);
    HEXLOWER.encode_mut(secret.expose(), &mut text[..]);
    serializer.serialize_str(std::str::from_utf8(&text[..]).map_err(serde::ser::Error::custom)?)
}

fn read_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    struct Text;
    impl serde::de::Visitor<'_> for Text {
        type Value = Secret;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("64 lower-case hexadecimal digits")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
            let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
            if text.len() != 2 * SECRET_BYTES || HEXLOWER.decode_mut(text.as_bytes(), &mut bytes[..]).is_err() {
                // The text may hold most of a secret; it stays out of the message.
                return Err(E::custom("the secret is not 64 lower-case hexadecimal digits"));
            }
            Ok(Secret::from_bytes(*bytes))
        }
    }
    deserializer.deserialize_str(Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyFile {
        KeyFile::new(Secret::from_bytes([9; 32]), Id([1; 16]), Id([2; 16]), Time::default())
    }

    #[test]
    fn a_key_file_decodes_to_itself() {
        let again = KeyFile::decode(&key().encode()).expect("valid");
        assert_eq!((again.key_id, again.vault, again.host), (key().key_id, key().vault, key().host));
        assert_eq!(again.secret().expose(), key().secret().expose());
    }

    #[test]
    fn no_bit_of_a_key_file_can_change_unnoticed() {
        let bytes = key().encode();
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[at / 8] ^= 1 << (at % 8);
            if let Ok(other) = KeyFile::decode(&changed) {
                // Nothing vouches for host, time and vault id here; the vault's own records do.
                assert_eq!(other.key_id, key().key_id);
                assert_eq!(other.secret().expose(), key().secret().expose());
            }
        }
    }

    #[test]
    fn messages_do_not_hold_the_secret() {
        let text = String::from_utf8(key().encode().to_vec()).expect("JSON");
        for damaged in [text.replace("0909", "09zz"), text.replace("\"secret\":\"0909", "\"secret\":\"09")] {
            let message = KeyFile::decode(damaged.as_bytes()).expect_err("damaged").to_string();
            assert!(!message.contains("0909"), "{message}");
        }
    }
}
