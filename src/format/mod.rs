#![doc = include_str!("FORMAT.md")]

pub mod attribute;
pub mod config;
pub mod content;
pub mod entry;
pub mod holes;
pub mod index;
pub mod json;
pub mod keyfile;
pub mod links;
pub mod listing;
pub mod pack;
pub mod record;

use std::fmt;

/// The only format version that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The name of the program as records carry it.
pub const PROGRAM: &str = concat!("devvault ", env!("CARGO_PKG_VERSION"));

/// Says why bytes are not what the format allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

impl Malformed {
    /// Creates it from anything that can be shown.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}
