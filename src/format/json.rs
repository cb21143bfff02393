//! Canonical JSON: every value has exactly one encoding.
//!
//! Keys ascend as bytes, nothing stands between tokens, absent is left out (never `null`), strings escape only what
//! JSON demands (`\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`, other controls as `\u00xx` in lower case), integers above
//! 2^53 - 1 in size are decimal strings. A reader encodes again what it decoded and refuses bytes that differ, which
//! also refuses duplicate keys, other orders, other number forms and white space.

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64;
use memchr::memchr_iter;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Malformed;
use crate::clock::Time;
use crate::path::EntryPath;

/// Encodes a value whose type declares its keys in ascending order.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("a type of the format has string keys and cannot fail to encode")
}

/// Decodes one value and refuses any encoding but the canonical one.
///
/// # Errors
/// Bytes that are not JSON, not of this type, or not canonical.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let value: T = serde_json::from_slice(bytes).map_err(Malformed::new)?;
    if encode(&value) != bytes {
        return Err(Malformed::new("the JSON is not in canonical form"));
    }
    Ok(value)
}

/// Encodes values as JSON lines.
pub fn encode_lines<T: Serialize>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 256);
    for value in values {
        append_line(&mut bytes, value);
    }
    bytes
}

/// Appends one value and a line feed.
pub fn append_line<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(&mut *bytes, value).expect("a type of the format cannot fail to encode into memory");
    bytes.push(b'\n');
}

/// Decodes JSON lines, each canonical and ended by a line feed.
///
/// # Errors
/// As [`decode`]; no lines, more than `count_max`, or a last line without a line feed.
pub fn decode_lines<T: Serialize + DeserializeOwned>(bytes: &[u8], count_max: usize) -> Result<Vec<T>, Malformed> {
    if bytes.last() != Some(&b'\n') {
        return Err(Malformed::new("the last line has no end"));
    }
    // Once for all lines: the decoder would ask for each text in them.
    let text = std::str::from_utf8(bytes).map_err(Malformed::new)?;
    // Canonical JSON holds no line feed, so that every one ends a line.
    let count = memchr_iter(b'\n', bytes).count();
    if count > count_max {
        return Err(Malformed::new(format!("more than {count_max} lines")));
    }
    let mut values = Vec::with_capacity(count);
    let mut again = Vec::with_capacity(512);
    let mut begin = 0;
    for end in memchr_iter(b'\n', bytes) {
        let line = &text[begin..end];
        begin = end + 1;
        let value: T =
            serde_json::from_str(line).map_err(|error| Malformed(format!("line {}: {error}", values.len() + 1)))?;
        again.clear();
        serde_json::to_writer(&mut again, &value).map_err(Malformed::new)?;
        if again != line.as_bytes() {
            return Err(Malformed(format!("line {} is not in canonical form", values.len() + 1)));
        }
        values.push(value);
    }
    Ok(values)
}

const INTEGER_MAX: u64 = crate::limits::JSON_INTEGER_MAX;

macro_rules! integer {
    ($module:ident, $type:ty, $magnitude:expr, $doc:literal) => {
        #[doc = $doc]
        pub mod $module {
            use super::*;

            /// Serializes the integer.
            pub fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                let magnitude: fn($type) -> u64 = $magnitude;
                if magnitude(*value) <= INTEGER_MAX {
                    value.serialize(serializer)
                } else {
                    serializer.collect_str(value)
                }
            }

            /// Deserializes the integer.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                struct Integer;
                impl Visitor<'_> for Integer {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an integer, or a decimal string beyond 2^53")
                    }
                    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<$type, E> {
                        value.try_into().map_err(E::custom)
                    }
                    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<$type, E> {
                        value.try_into().map_err(E::custom)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Integer)
            }
        }
    };
}

integer!(unsigned, u64, |value| value, "An unsigned integer: a number up to 2^53 - 1, a decimal string above.");
integer!(signed, i64, i64::unsigned_abs, "A signed integer: a number up to 2^53 - 1 in size, a decimal string beyond.");

/// An unsigned integer that may be absent; to be used with `default` and `skip_serializing_if`.
pub mod unsigned_option {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "unsigned")] u64);

    /// Serializes the integer if there is one.
    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Wrapped).serialize(serializer)
    }

    /// Deserializes the integer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Wrapped::deserialize(deserializer).map(|Wrapped(value)| Some(value))
    }
}

/// The pair `[seconds, nanos]`.
#[derive(Serialize, Deserialize)]
struct Pair(#[serde(with = "signed")] i64, u32);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Pair(self.seconds, self.nanos).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Pair(seconds, nanos) = Pair::deserialize(deserializer)?;
        if nanos >= 1_000_000_000 {
            return Err(D::Error::custom("nanoseconds beyond a second"));
        }
        Ok(Self { seconds, nanos })
    }
}

/// Bytes as two JSON fields of which exactly one is there: text where they are UTF-8, else base64 (RFC 4648, padded).
pub struct TextOrBase64<'a> {
    /// The bytes as text.
    pub text: Option<Cow<'a, str>>,
    /// The bytes as base64, where they are no UTF-8.
    pub base64: Option<Cow<'a, str>>,
}

impl<'a> TextOrBase64<'a> {
    /// Chooses the field for `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text.into()), base64: None },
            Err(_) => Self { text: None, base64: Some(BASE64.encode(bytes).into()) },
        }
    }

    /// Takes the fields as they were decoded.
    pub fn from_fields(text: Option<String>, base64: Option<String>) -> Self {
        Self { text: text.map(Cow::Owned), base64: base64.map(Cow::Owned) }
    }

    /// Returns the fields as they are encoded.
    pub fn into_fields(self) -> (Option<String>, Option<String>) {
        (self.text.map(Cow::into_owned), self.base64.map(Cow::into_owned))
    }

    /// Returns the bytes.
    ///
    /// # Errors
    /// None or both fields, base64 that is not canonical, or base64 of bytes that are UTF-8.
    pub fn into_bytes(self, name: &str) -> Result<Vec<u8>, Malformed> {
        match (self.text, self.base64) {
            (Some(text), None) => Ok(text.into_owned().into_bytes()),
            (None, Some(base64)) => {
                let bytes =
                    BASE64.decode(base64.as_bytes()).map_err(|error| Malformed(format!("{name}_b64: {error}")))?;
                if std::str::from_utf8(&bytes).is_ok() {
                    return Err(Malformed(format!("{name}_b64 holds UTF-8, which belongs into {name}")));
                }
                Ok(bytes)
            }
            (None, None) => Err(Malformed(format!("{name} is missing"))),
            (Some(_), Some(_)) => Err(Malformed(format!("both {name} and {name}_b64"))),
        }
    }

    /// Returns the bytes as a path of an entry.
    ///
    /// # Errors
    /// As [`into_bytes`](Self::into_bytes), and bytes that are no path.
    pub fn into_path(self, name: &str) -> Result<EntryPath, Malformed> {
        EntryPath::parse(&self.into_bytes(name)?).map_err(|error| Malformed(format!("{name}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(with = "unsigned")]
        a: u64,
        b: String,
        #[serde(default, skip_serializing_if = "Option::is_none", with = "unsigned_option")]
        c: Option<u64>,
    }

    #[test]
    fn decode_refuses_every_other_form_of_the_same_value() {
        let canonical = br#"{"a":5,"b":"x\n"}"#;
        assert!(decode::<Sample>(canonical).is_ok());
        for other in [
            r#"{"b":"x\n","a":5}"#,
            r#"{"a":5, "b":"x\n"}"#,
            r#"{"a":"5","b":"x\n"}"#,
            r#"{"a":5.0,"b":"x\n"}"#,
            r#"{"a":5,"b":"\u0078\n"}"#,
            r#"{"a":5,"a":5,"b":"x\n"}"#,
            r#"{"a":5,"b":"x\n","c":null}"#,
            r#"{"a":5,"b":"x\n","d":1}"#,
            "{\"a\":5,\"b\":\"x\\n\"}\n",
            r#"{"a":05,"b":"x\n"}"#,
            r#"{"a":-5,"b":"x\n"}"#,
            r#"{"a":9007199254740992,"b":"x\n"}"#,
        ] {
            assert!(decode::<Sample>(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn integers_beyond_two_to_the_53_are_strings() {
        let value = Sample { a: 1 << 53, b: String::new(), c: Some(u64::MAX) };
        assert_eq!(encode(&value), br#"{"a":"9007199254740992","b":"","c":"18446744073709551615"}"#);
    }

    #[test]
    fn lines_need_their_ends_and_stay_below_their_count() {
        let value = Sample { a: 1, b: String::new(), c: None };
        let bytes = encode_lines(&[&value, &value]);
        assert_eq!(decode_lines::<Sample>(&bytes, 2).expect("canonical").len(), 2);
        assert!(decode_lines::<Sample>(&bytes, 1).is_err());
        assert!(decode_lines::<Sample>(&bytes[..bytes.len() - 1], 2).is_err());
        assert!(decode_lines::<Sample>(b"", 2).is_err());
        assert!(decode_lines::<Sample>(b"\n", 2).is_err());
    }

    #[test]
    fn times_refuse_nanoseconds_beyond_a_second() {
        assert!(decode::<Time>(b"[-1,999999999]").is_ok());
        assert!(decode::<Time>(b"[1,1000000000]").is_err());
        assert!(decode::<Time>(b"[1,2,3]").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_decodes_to_itself(a: u64, b: String, c: Option<u64>, seconds: i64, nanos in 0u32..1_000_000_000) {
            let value = Sample { a, b, c };
            prop_assert_eq!(decode::<Sample>(&encode(&value)).expect("canonical"), value);
            let time = Time { seconds, nanos };
            prop_assert_eq!(decode::<Time>(&encode(&time)).expect("canonical"), time);
        }

        #[test]
        fn bytes_keep_their_identity_as_text_or_base64(bytes: Vec<u8>) {
            let form = TextOrBase64::of(&bytes);
            prop_assert_eq!(form.text.is_some(), std::str::from_utf8(&bytes).is_ok());
            prop_assert_eq!(form.into_bytes("x").expect("one field"), bytes);
        }
    }
}
