//! What a vault's medium must do: never replace, tell what is there, keep what was written.

use std::io;

use super::Cases;
use super::examine::kind;
use super::scratch::Scratch;
use crate::error::{Error, Result};
use crate::store::{LocalStore, Store};

/// Tries the acts on which a vault rests.
pub(super) fn run(scratch: &Scratch, cases: &mut Cases) -> Result<()> {
    let store = scratch
        .directory("contract")
        .and_then(|root| LocalStore::open(&root))
        .map_err(|error| Error::environment("make a directory for the cases", error))?;
    for (name, said) in acts(&store) {
        cases.insert(format!("store/{name}"), said.map_or_else(|error| kind(&error), |()| "done".into()));
    }
    let bytes = store.read("b", 64).unwrap_or_default();
    cases.insert("store/what was there is there still".into(), String::from_utf8_lossy(&bytes).into_owned());
    Ok(())
}

/// Acts in order, by their names.
fn acts(store: &dyn Store) -> Vec<(&'static str, io::Result<()>)> {
    vec![
        ("create a file", store.write_durably("a", b"first")),
        ("create another file", store.write_durably("b", b"second")),
        ("create a file that is there", store.write_durably("a", b"third")),
        ("create a directory", store.create_directory("d")),
        ("create a directory that is there", store.create_directory("d")),
        ("create a file where a directory is", store.write_durably("d", b"x")),
        ("create another directory", store.create_directory("e")),
        ("create a file in it", store.write_durably("e/x", b"x")),
        ("rename a file onto a file", store.rename_new("a", "b")),
        ("rename a file onto a directory", store.rename_new("a", "d")),
        ("rename a directory onto a file", store.rename_new("e", "b")),
        ("rename a directory onto an empty one", store.rename_new("e", "d")),
        ("rename a directory onto one with content", store.rename_new("d", "e")),
        ("rename what is not there", store.rename_new("none", "other")),
        ("rename a file", store.rename_new("a", "c")),
        ("rename a directory", store.rename_new("e", "f")),
        ("read what moved with it", store.read("f/x", 8).map(drop)),
        ("read what is not there", store.read("none", 8).map(drop)),
        ("read beyond a bound", store.read("b", 5).map(drop)),
        ("open a directory as a file", store.open("d").map(drop).map_err(|_| io::ErrorKind::InvalidData.into())),
        ("make a file durable by its directory", store.sync_directory("f")),
        ("make names durable", store.sync_directory("")),
        ("remove a directory with content", store.remove_directory("f")),
        ("remove a file", store.remove_file("f/x")),
        ("remove a directory", store.remove_directory("f")),
        ("remove what is not there", store.remove_file("none")),
    ]
}
