//! Extended attributes: named bytes beside an object's content. Access lists and capabilities are attributes too.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::Malformed;
use super::entry::ChunkRef;
use super::json::TextOrBase64;
use crate::crypto::Digest;
use crate::limits;

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Its name, as the system gives it.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Value,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// At most [`limits::XATTR_INLINE_BYTES_MAX`] bytes, in the entry itself.
    Inline(Vec<u8>),
    /// A longer one, in chunks.
    Chunks(Vec<ChunkRef>),
}

impl Value {
    /// Returns the length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Chunks(chunks) => chunks.iter().map(|chunk| u64::from(chunk.length())).sum(),
        }
    }

    /// Returns the chunks that hold it; none where it stands in the entry.
    pub fn chunks(&self) -> &[ChunkRef] {
        match self {
            Self::Inline(_) => &[],
            Self::Chunks(chunks) => chunks,
        }
    }

    /// Returns about how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Chunks(chunks) => chunks.len() * size_of::<ChunkRef>(),
        }
    }

    /// Returns whether these bytes are the value.
    pub fn is(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Inline(value) => value == bytes,
            Self::Chunks(chunks) => {
                let mut rest = bytes;
                chunks.iter().all(|chunk| match rest.split_at_checked(chunk.length() as usize) {
                    Some((part, after)) => {
                        rest = after;
                        Digest::of(part) == chunk.id()
                    }
                    None => false,
                }) && rest.is_empty()
            }
        }
    }
}

/// An attribute as JSON; keys ascend.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunks: Option<Vec<ChunkRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Serialize for Attribute {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, name_b64) = TextOrBase64::of(&self.name).into_fields();
        let mut raw = Raw { chunks: None, name, name_b64, value: None };
        match &self.value {
            Value::Inline(bytes) => raw.value = Some(BASE64.encode(bytes)),
            Value::Chunks(chunks) => raw.chunks = Some(chunks.clone()),
        }
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_raw(Raw::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Attribute {
    fn from_raw(raw: Raw) -> Result<Self, Malformed> {
        let name = TextOrBase64::from_fields(raw.name, raw.name_b64).into_bytes("name")?;
        if name.is_empty() || name.len() > limits::XATTR_NAME_BYTES_MAX || name.contains(&0) {
            return Err(Malformed::new("the name of an attribute is empty, too long or holds NUL"));
        }
        let value = match (raw.value, raw.chunks) {
            (Some(text), None) => {
                let bytes = BASE64
                    .decode(text.as_bytes())
                    .map_err(|error| Malformed(format!("an attribute's value: {error}")))?;
                Value::Inline(bytes)
            }
            (None, Some(chunks)) => Value::Chunks(chunks),
            _ => return Err(Malformed::new("an attribute has both value and chunks, or neither")),
        };
        let sound = match &value {
            Value::Inline(bytes) => bytes.len() <= limits::XATTR_INLINE_BYTES_MAX,
            Value::Chunks(chunks) => {
                chunks.len() <= limits::XATTR_CHUNKS_MAX
                    && chunks.iter().all(|chunk| chunk.1 > 0 && chunk.1 <= limits::CHUNK_BYTES_MAX)
                    && value.length() > limits::XATTR_INLINE_BYTES_MAX as u64
                    && value.length() <= limits::XATTR_BYTES_MAX
            }
        };
        if !sound {
            return Err(Malformed::new("the value of an attribute is too long, or in chunks and too short for that"));
        }
        Ok(Self { name, value })
    }
}

/// Checks the attributes of an entry.
///
/// # Errors
/// None or too many; names that do not ascend.
pub(super) fn check(attributes: &[Attribute]) -> Result<(), Malformed> {
    if attributes.is_empty() || attributes.len() > limits::XATTRS_MAX {
        return Err(Malformed::new("attributes: none in them, or too many"));
    }
    if attributes.windows(2).any(|pair| pair[0].name >= pair[1].name) {
        return Err(Malformed::new("the names of attributes do not ascend"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::json;

    #[test]
    fn a_value_is_inline_where_it_is_short_and_in_chunks_where_it_is_long() {
        let id = "ab".repeat(32);
        for (text, good) in [
            (r#"{"name":"user.a","value":""}"#.to_owned(), true),
            (r#"{"name_b64":"/w==","value":"AA=="}"#.to_owned(), true),
            (format!(r#"{{"chunks":[["{id}",4097]],"name":"a"}}"#), true),
            (format!(r#"{{"chunks":[["{id}",4096]],"name":"a"}}"#), false),
            (r#"{"chunks":[],"name":"a"}"#.to_owned(), false),
            (format!(r#"{{"chunks":[["{id}",4097],["{id}",0]],"name":"a"}}"#), false),
            (format!(r#"{{"chunks":[["{id}",4097]],"name":"a","value":""}}"#), false),
            (r#"{"name":"a"}"#.to_owned(), false),
            (r#"{"name":"","value":""}"#.to_owned(), false),
            (r#"{"name":"a","value":"A"}"#.to_owned(), false),
            (format!(r#"{{"name":"a","value":"{}"}}"#, BASE64.encode(&[0; 4096])), true),
            (format!(r#"{{"name":"a","value":"{}"}}"#, BASE64.encode(&[0; 4097])), false),
        ] {
            assert_eq!(json::decode::<Attribute>(text.as_bytes()).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn names_and_values_are_as_long_as_is_allowed_and_no_longer() {
        let name = |bytes: usize| Attribute { name: vec![b'n'; bytes], value: Value::Inline(Vec::new()) };
        let chunks = |lengths: &[u32]| Attribute {
            name: b"n".to_vec(),
            value: Value::Chunks(lengths.iter().map(|length| ChunkRef(Digest([1; 32]), *length)).collect()),
        };
        for (attribute, good) in [
            (name(limits::XATTR_NAME_BYTES_MAX), true),
            (name(limits::XATTR_NAME_BYTES_MAX + 1), false),
            (chunks(&[limits::CHUNK_BYTES_MAX]), true),
            (chunks(&[limits::CHUNK_BYTES_MAX + 1]), false),
            (chunks(&[8; limits::XATTR_CHUNKS_MAX]), true),
            (chunks(&[8; limits::XATTR_CHUNKS_MAX + 1]), false),
            (chunks(&[limits::CHUNK_BYTES_MAX; 8]), true),
            (chunks(&[&[limits::CHUNK_BYTES_MAX; 8][..], &[1]].concat()), false),
        ] {
            assert_eq!(json::decode::<Attribute>(&json::encode(&attribute)).ok(), good.then_some(attribute));
        }
        let many = |count: usize| -> Vec<Attribute> {
            (0..count)
                .map(|at| Attribute { name: format!("{at:04}").into(), value: Value::Inline(Vec::new()) })
                .collect()
        };
        assert!(check(&many(limits::XATTRS_MAX)).is_ok() && check(&many(limits::XATTRS_MAX + 1)).is_err());
        assert!(check(&[]).is_err() && check(&[name(1), name(1)]).is_err());
    }

    #[test]
    fn a_value_in_chunks_is_recognised_by_their_hashes() {
        let bytes = vec![7; 5000];
        let part = |bytes: &[u8]| ChunkRef(Digest::of(bytes), bytes.len() as u32);
        let value = Value::Chunks(vec![part(&bytes[..3000]), part(&bytes[3000..])]);
        assert!(value.is(&bytes) && value.length() == 5000);
        assert!(!value.is(&bytes[1..]) && !value.is(&[&bytes[..], b"x"].concat()) && !value.is(&vec![8; 5000]));
        assert!(Value::Inline(b"a".into()).is(b"a") && !Value::Inline(b"a".into()).is(b"b"));
    }
}
