//! The commit point: how a record of any kind becomes part of the chain.
//!
//! Invariants: record and tag are durable, and read back from the medium as every reader will read them, before the one
//! rename that publishes them; that rename replaces nothing; afterwards the name is durable. No other code publishes.

use std::io;

use super::chain::{encode_mac_file, read_draft};
use super::{Finding, layout, write_error};
use crate::crypto::Macs;
use crate::error::Result;
use crate::format::record::Record;
use crate::refusal::Code;
use crate::store::Store;

/// Writes a record and its tag into a directory that holds neither, and makes their bytes durable. Returns the record's.
///
/// # Errors
/// The medium refuses.
pub(super) fn write(store: &dyn Store, macs: &Macs, directory: &str, record: &Record) -> io::Result<Vec<u8>> {
    let (kind, bytes) = (record.kind(), record.encode());
    let tag = macs.tag(kind.domain(), record.number, &bytes);
    store.write_durably(&format!("{directory}/{}", layout::record_file(kind)), &bytes)?;
    store.write_durably(&format!("{directory}/{}", layout::record_mac_file(kind)), &encode_mac_file(tag))?;
    Ok(bytes)
}

/// Checks, after the last change to a directory, that it reads back as a reader of the chain will read it, and as what
/// was written.
///
/// # Errors
/// Whatever such a reader would find; DV101 where it would read something else.
pub(super) fn check(
    store: &dyn Store,
    macs: &Macs,
    directory: &str,
    record: &Record,
    bytes: &[u8],
) -> Result<(), Finding> {
    let back = read_draft(store, macs, directory, record.number)?;
    if back == bytes && Record::decode(&back, record.kind()).is_ok_and(|again| again == *record) {
        return Ok(());
    }
    Err(Finding::new(Code::RecordDamaged, directory, "the record differs from what was written"))
}

/// Renames a directory to the number of its record; returns whether the number was free.
///
/// # Errors
/// The medium refuses; the refusal says so where the record is published all the same.
pub(super) fn rename(store: &dyn Store, directory: &str, number: u64) -> Result<bool> {
    let to = layout::record_directory(number);
    if let Err(error) = store.rename_new(directory, &to) {
        return match store.list(directory) {
            Ok(_) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Ok(_) => Err(write_error(store, &to, &error).into()),
            // Network file systems may do what they report as failed, where an answer was lost.
            Err(_) => Err(write_error(store, &to, &error)
                .written(format!("the medium did not tell whether {to} was written: see `devvault snapshots`"))
                .into()),
        };
    }
    store.sync_directory(layout::SNAPSHOTS).map_err(|error| {
        write_error(store, &to, &error)
            .written(format!("{to} was written, but the medium did not confirm that it will last; verify it"))
    })?;
    Ok(true)
}
