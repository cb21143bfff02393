//! Sealed files: small files outside the vault, one line of canonical JSON each, authenticated by a vault's key.
//!
//! Those in the state directory are replaced atomically, under a lock, and nothing of them is parsed before its tag has verified.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::chain::{decode_mac_file, encode_mac_file};
use crate::crypto::{Domain, Macs};
use crate::error::{Error, Result, shown_path};
use crate::format::json;
use crate::fsys::replace;
use crate::host::Host;
use crate::limits;
use crate::refusal::{Code, Refusal};

/// Reads a sealed file; nothing where there is none.
///
/// # Errors
/// Why it cannot be trusted, in words.
pub fn read<T: DeserializeOwned + Serialize>(path: &Path, macs: &Macs, domain: Domain) -> Result<Option<T>, String> {
    trust(replace::read(path, limits::STATE_BYTES_MAX), macs, domain)
}

/// Authenticates and decodes what was read of a sealed file; nothing where there is none.
///
/// # Errors
/// Why it cannot be trusted, in words.
pub fn trust<T: DeserializeOwned + Serialize>(
    read: io::Result<Vec<u8>>,
    macs: &Macs,
    domain: Domain,
) -> Result<Option<T>, String> {
    match read {
        // A file where its directory should be holds nothing either; verify and restore go on without.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error.to_string()),
        Ok(bytes) => decode(&bytes, macs, domain).map(Some),
    }
}

/// Replaces a sealed file; the caller holds its lock.
///
/// # Errors
/// DV410 where the state directory cannot be written.
pub fn write<T: Serialize>(path: &Path, macs: &Macs, domain: Domain, value: &T) -> Result<()> {
    replace::replace(path, &encode(value, macs, domain)).map_err(|error| {
        Refusal::new(Code::StateUnwritable, format!("{} cannot be written", shown_path(path))).cause(error).into()
    })
}

/// Locks a sealed file against other processes of this host, making its directory where it is missing.
///
/// # Errors
/// DV410 where the state directory cannot be written, or another process holds the lock all the while.
pub fn lock(host: &Host, path: &Path) -> Result<File> {
    let parent = path.parent().expect("a sealed file lies in a directory");
    host.make_directory(parent)?;
    let path = path.with_extension("lock");
    replace::lock(&path).map_err(|error| {
        Error::from(Refusal::new(Code::StateUnwritable, format!("{} cannot be locked", shown_path(&path))).cause(error))
    })
}

/// Authenticates and decodes the bytes of a sealed file.
///
/// # Errors
/// Why they cannot be trusted, in words.
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8], macs: &Macs, domain: Domain) -> Result<T, String> {
    let split = bytes.len().checked_sub(limits::MAC_FILE_BYTES as usize).ok_or("it is cut")?;
    let (line, tag) = bytes.split_at(split);
    let tag = decode_mac_file(tag).ok_or("its last line is no HMAC")?;
    if !macs.verifies(domain, 0, line, &tag) {
        return Err("its HMAC does not match".into());
    }
    json::decode(line.strip_suffix(b"\n").ok_or("it is cut")?).map_err(|error| error.to_string())
}

/// Encodes a sealed file: the canonical JSON, a line feed, and the tag of both as a `.hmac` file holds it.
pub fn encode<T: Serialize>(value: &T, macs: &Macs, domain: Domain) -> Vec<u8> {
    let mut bytes = json::encode(value);
    bytes.push(b'\n');
    let tag = macs.tag(domain, 0, &bytes);
    bytes.extend_from_slice(&encode_mac_file(tag));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Id, Secret};

    #[test]
    fn what_is_there_and_cannot_be_read_is_not_taken_for_absent() {
        let macs = Macs::new(&Secret::from_bytes([3; 32]), Id([4; 16]));
        let place = tempfile::tempdir().expect("a directory");
        let read = |name: &str| read::<String>(&place.path().join(name), &macs, Domain::Reads);
        std::fs::write(place.path().join("a file"), encode(&"words", &macs, Domain::Reads)).expect("writable");
        assert_eq!(read("a file"), Ok(Some("words".to_owned())));
        assert_eq!((read("nothing"), read("a file/below")), (Ok(None), Ok(None)));
        std::fs::create_dir(place.path().join("a directory")).expect("writable");
        assert!(read("a directory").is_err());
    }
}
