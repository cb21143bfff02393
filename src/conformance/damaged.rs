//! Damaged vaults: a good one, what is done to it, and what every reader must say of it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scratch::{self, Scratch};
use super::{Cases, Fixtures, examine};
use crate::error::{Error, Result};
use crate::format::json;
use crate::format::record::Head;
use crate::ops::verify;

/// A damaged vault, as canonical JSON in `fixtures/damaged/`; the file's name is the claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damaged {
    /// What is done to the vault, in order.
    pub damage: Vec<Damage>,
    /// The head that the operator expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_head: Option<Head>,
    /// What a full verification must come to.
    pub expected: Expected,
    /// The key file among the fixtures; that of the vault where absent, none where empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The vault among the fixtures.
    pub vault: String,
}

/// One thing that is done to a file of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// The file is cut to so many bytes.
    Cut(String, u64),
    /// The lowest bit of the byte at this offset is flipped.
    Flip(String, u64),
    /// The file or directory is removed.
    Remove(String),
    /// The file or directory gets another name.
    Rename(String, String),
    /// The file gets this content, whether or not it was there.
    Write(String, String),
}

/// What a full verification of a damaged vault must come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The codes of the findings or of the refusal, ascending, each once.
    pub codes: Vec<String>,
    /// The verdict, or `refused`.
    pub verdict: String,
}

impl Damage {
    fn inflict(&self, root: &Path) -> io::Result<()> {
        let at = |name: &str| scratch::below(root, name);
        match self {
            Self::Cut(name, length) => File::options().write(true).open(at(name))?.set_len(*length),
            Self::Flip(name, byte) => {
                let mut bytes = fs::read(at(name))?;
                let byte = usize::try_from(*byte).ok().and_then(|byte| bytes.get_mut(byte));
                *byte.ok_or(io::ErrorKind::UnexpectedEof)? ^= 1;
                fs::write(at(name), bytes)
            }
            Self::Remove(name) if at(name).is_dir() => fs::remove_dir_all(at(name)),
            Self::Remove(name) => fs::remove_file(at(name)),
            Self::Rename(name, other) => fs::rename(at(name), at(other)),
            Self::Write(name, text) => scratch::write(root, name, text.as_bytes()),
        }
    }
}

/// Examines every damaged vault.
pub(super) fn run(fixtures: &Fixtures, scratch: &Scratch, cases: &mut Cases) -> Result<()> {
    for (name, bytes) in fixtures.below("damaged/") {
        let claim = name.trim_end_matches(".json");
        let damaged: Damaged = json::decode(bytes).map_err(|error| {
            Error::environment(format!("read the fixture {name}"), io::Error::other(error.to_string()))
        })?;
        let said = examined(fixtures, scratch, claim, &damaged)
            .map_err(|error| Error::environment(format!("make the damaged vault {claim}"), error))?;
        for (act, said) in ["verify", "content"].into_iter().zip(said) {
            cases.insert(format!("damaged/{claim}/{act}"), said);
        }
    }
    Ok(())
}

fn examined(fixtures: &Fixtures, scratch: &Scratch, claim: &str, damaged: &Damaged) -> io::Result<[String; 2]> {
    let vault = scratch.vault(fixtures, &damaged.vault, claim)?;
    damaged.damage.iter().try_for_each(|damage| damage.inflict(&vault))?;
    let own = format!("vaults/{}.key", damaged.vault);
    let key = match damaged.key.as_ref().unwrap_or(&own) {
        none if none.is_empty() => None,
        name => Some(fixtures.get(name).ok_or_else(|| io::Error::other(format!("there is no {name}")))?),
    };
    let mut access = scratch.access(claim, &vault, key)?;
    access.expect_head = damaged.expect_head;
    let said = [examine::verdict(&access, verify::Level::Full), examine::content(&access, 1)];
    fs::remove_dir_all(vault)?;
    Ok(said)
}
