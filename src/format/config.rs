//! `vault.json`: what a vault is. Written once, at init.

use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, Malformed, PROGRAM, json};
use crate::clock::Time;
use crate::crypto::{Id, KeyId};
use crate::limits;

/// Sizes that a writer aims at; a reader needs none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Plain bytes after which a block is closed.
    pub block_bytes: u32,
    /// Average length of the chunks of a large file, in bytes; a power of two.
    pub chunk_bytes_avg: u32,
    /// Longest chunk of a file, in bytes; even.
    pub chunk_bytes_max: u32,
    /// Shortest chunk but the last, in bytes; even. A shorter file is one chunk.
    pub chunk_bytes_min: u32,
    /// Stored bytes after which a pack is closed.
    pub pack_bytes: u64,
    /// Average number of entries in a segment; a power of two.
    pub segment_entries: u32,
    /// Average number of segments in a segment list; a power of two.
    pub segment_list: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            block_bytes: 2 << 20,
            chunk_bytes_avg: 512 << 10,
            chunk_bytes_max: 2 << 20,
            chunk_bytes_min: 128 << 10,
            pack_bytes: 64 << 20,
            segment_entries: 32,
            segment_list: 64,
        }
    }
}

impl Parameters {
    /// Returns the lengths of chunks in bytes: shortest but the last, average, longest.
    pub fn chunk_sizes(&self) -> [u32; 3] {
        [self.chunk_bytes_min, self.chunk_bytes_avg, self.chunk_bytes_max]
    }

    fn check(&self) -> Result<(), Malformed> {
        let even = |value: u32| value.is_multiple_of(2);
        let ordered = 64 <= self.chunk_bytes_min
            && self.chunk_bytes_min < self.chunk_bytes_avg
            && self.chunk_bytes_avg < self.chunk_bytes_max
            && (1024..=limits::CHUNK_BYTES_MAX).contains(&self.chunk_bytes_max)
            && self.chunk_bytes_min <= 1 << 20
            && (256..=4 << 20).contains(&self.chunk_bytes_avg);
        let blocks = (1 << 12..=limits::BLOCK_PLAIN_BYTES_MAX - limits::CHUNK_BYTES_MAX).contains(&self.block_bytes);
        let packs = (1 << 12..=limits::PACK_BYTES_MAX / 2).contains(&self.pack_bytes);
        let segments = self.segment_entries.is_power_of_two()
            && (self.segment_entries as usize) < limits::SEGMENT_ENTRIES_MAX
            && self.segment_list.is_power_of_two()
            && (self.segment_list as usize) < limits::SEGMENT_LIST_MAX;
        let cuts = self.chunk_bytes_avg.is_power_of_two() && even(self.chunk_bytes_min) && even(self.chunk_bytes_max);
        if ordered && blocks && packs && segments && cuts {
            Ok(())
        } else {
            Err(Malformed::new("parameters out of bounds"))
        }
    }
}

/// The content of `vault.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// When the vault was made.
    pub created: Time,
    /// Names of features that a reader must know; ascending.
    pub features: Vec<String>,
    /// The format version.
    pub format: u32,
    /// Names the secret that opens the vault.
    pub key_id: KeyId,
    /// Sizes that a writer aims at.
    pub parameters: Parameters,
    /// The program and version that made the vault.
    pub program: String,
    /// The vault's id.
    pub vault: Id,
}

/// Why a `vault.json` cannot be used.
#[derive(Debug)]
pub enum BadConfig {
    /// It is not what the format allows.
    Malformed(Malformed),
    /// A newer version or feature wrote it.
    Unknown(String),
}

/// The part of `vault.json` that every version of the format shares.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Config {
    /// Creates the description of a new vault.
    pub fn new(vault: Id, key_id: KeyId, created: Time, parameters: Parameters) -> Self {
        Self {
            created,
            features: Vec::new(),
            format: FORMAT_VERSION,
            key_id,
            parameters,
            program: PROGRAM.to_owned(),
            vault,
        }
    }

    /// Returns the bytes of `vault.json`.
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Decodes the bytes of `vault.json`.
    ///
    /// # Errors
    /// Another format version, a feature that this program does not know, bytes that are not canonical, parameters
    /// out of their bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadConfig> {
        let version: Versioned =
            serde_json::from_slice(bytes).map_err(|error| BadConfig::Malformed(Malformed::new(error)))?;
        if version.format != FORMAT_VERSION {
            return Err(BadConfig::Unknown(format!("format version {}", version.format)));
        }
        let config: Self = json::decode(bytes).map_err(BadConfig::Malformed)?;
        if let Some(feature) = config.features.first() {
            return Err(BadConfig::Unknown(format!("feature {}", crate::path::shown(feature.as_bytes()))));
        }
        config.parameters.check().map_err(BadConfig::Malformed)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(Id([1; 16]), Id([2; 16]), Time { seconds: 3, nanos: 4 }, Parameters::default())
    }

    #[test]
    fn a_config_decodes_to_itself() {
        assert_eq!(Config::decode(&config().encode()).expect("valid"), config());
    }

    #[test]
    fn an_unknown_version_or_feature_is_told_apart_from_damage() {
        let mut newer = config();
        newer.format = 2;
        assert!(matches!(Config::decode(&newer.encode()), Err(BadConfig::Unknown(_))));
        let mut featured = config();
        featured.features.push("sealed".into());
        assert!(matches!(Config::decode(&featured.encode()), Err(BadConfig::Unknown(_))));
        assert!(matches!(Config::decode(b"{}"), Err(BadConfig::Malformed(_))));
    }

    #[test]
    fn parameters_out_of_bounds_are_refused() {
        for change in [
            |p: &mut Parameters| p.chunk_bytes_min = 0,
            |p: &mut Parameters| p.chunk_bytes_min = 129,
            |p: &mut Parameters| p.chunk_bytes_avg = 3 << 17,
            |p: &mut Parameters| p.chunk_bytes_max = limits::CHUNK_BYTES_MAX + 2,
            |p: &mut Parameters| (p.chunk_bytes_min, p.chunk_bytes_avg, p.chunk_bytes_max) = (64, 256, 1022),
            |p: &mut Parameters| p.block_bytes = 0,
            |p: &mut Parameters| p.pack_bytes = u64::from(u32::MAX),
            |p: &mut Parameters| p.segment_entries = 33,
            |p: &mut Parameters| p.segment_list = 1 << 20,
        ] {
            let mut bad = config();
            change(&mut bad.parameters);
            assert!(matches!(Config::decode(&bad.encode()), Err(BadConfig::Malformed(_))), "{:?}", bad.parameters);
        }
    }
}
