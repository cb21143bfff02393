//! What must hold of a home, whatever happened to the program in it, and a source with what is restored in every way.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use devvault::incident::journal::Journal;
use devvault::ops::verify::Verdict;
use devvault::store::LocalStore;
use devvault::vault::chain::Chain;
use devvault::vault::witness;

use rustix::fs::{FileType, XattrFlags};

use crate::difficult;
use crate::support::{Forger, Home, SMALL_TREE, is_root, names, noise};

/// What a tree is, by path, its root left out: of every kind of object, with attributes, holes, and names of one object.
pub type Likeness = BTreeMap<Vec<u8>, String>;

pub fn likeness(root: &Path) -> Likeness {
    let mut found = difficult::picture(root);
    found.remove(&b""[..]);
    found
}

/// The part of a [`write_source`] that is made durable file by file.
pub const PLAIN: &str = "src";
/// The part that is made durable all at once.
pub const KINDS: &str = "kinds";

/// Writes a source of few plain objects in one part of it, and of every other kind in another. Of the whole something can be
/// set only after all was compared: the mode of a file that its owner may not read, where somebody may read it all the same.
pub fn write_source(home: &Home, noisy: usize) {
    home.write_source(&SMALL_TREE);
    let source = home.source();
    fs::write(source.join("noise"), noise(noisy, 1)).unwrap();
    let top = difficult::open(&source);
    let kinds = difficult::dir(top.as_fd(), KINDS.as_bytes());
    let kinds = kinds.as_fd();
    difficult::link(kinds, b"../README", b"link");
    difficult::file(kinds, b"one", b"one object of two names\n");
    difficult::further(kinds, b"one", b"other");
    difficult::node(kinds, b"pipe", FileType::Fifo, (0, 0));
    let noted = difficult::file(kinds, b"noted", b"a file with an attribute\n");
    // Not every file system takes one.
    let _ = rustix::fs::fsetxattr(&noted, "user.note", b"kept", XattrFlags::empty());
    let holed = fs::File::from(difficult::file(kinds, b"holed", &noise(5_000, 8)));
    holed.write_all_at(&noise(5_000, 9), 1 << 16).unwrap();
    if is_root() {
        difficult::mode(&difficult::file(top.as_fd(), b"closed", &noise(5_000, 10)), 0);
    }
}

/// What a sound home holds.
pub struct Found {
    /// Records of the vault, none where there is no vault.
    pub records: usize,
    /// The number of the newest that the host knows.
    pub witnessed: u64,
    /// Entries of the host's journal.
    pub journaled: usize,
}

/// Returns whether the source's file system took the attribute of a [`write_source`].
pub fn keeps_attributes(home: &Home) -> bool {
    let noted = home.source().join(KINDS).join("noted");
    rustix::fs::getxattr(noted, "user.note", &mut [0; 8][..]).is_ok()
}

/// Returns what a home holds, or what is wrong with its vault or host.
pub fn look(home: &Home) -> Result<Found, String> {
    let journaled = Journal::of(&home.host()).entries().map_err(|error| error.to_string())?.len();
    let none = Found { records: 0, witnessed: 0, journaled };
    let keys = home.path("config/keys");
    for name in if keys.exists() { names(&keys) } else { Vec::new() } {
        // What was left of one, which nobody takes for a key.
        if name.starts_with(".new-") {
            fs::remove_file(keys.join(name)).map_err(|error| error.to_string())?;
        }
    }
    let is_vault = home.vault().join("vault.json").exists();
    if !keys.exists() || names(&keys).is_empty() {
        return if is_vault { Err("a vault without a key".into()) } else { Ok(none) };
    }
    let macs = Forger::try_new(home)?.macs;
    let seen = witness::read(&home.host(), &macs).map_err(|error| error.to_string())?;
    if !is_vault {
        return if seen.is_some() { Err("a witness of no vault".into()) } else { Ok(none) };
    }
    let store = LocalStore::open(&home.vault()).map_err(|error| error.to_string())?;
    let chain = Chain::read(&store, &macs, None).map_err(|error| error.to_string())?;
    if !chain.findings.is_empty() {
        return Err(format!("{:?}", chain.findings));
    }
    let head = seen.and_then(|witness| witness.heads.last().copied());
    if let Some(head) = head
        && head.number > 0
        && !chain.holds(&head)
        // What a branch leaves behind, it names.
        && chain.branches().all(|branch| branch.from != head)
    {
        return Err(format!("{head:?} is gone"));
    }
    let records = chain.links().count();
    if records > 0 {
        let access = home.access_from(home.other_host("stranger"));
        let report = home.verify_from(&access, &[]);
        for name in ["stranger-config", "stranger-state"] {
            let _ = fs::remove_dir_all(home.path(name));
        }
        let report = report.map_err(|error| error.to_string())?;
        if report.verdict != Verdict::Valid {
            return Err(format!("{:?}", report.findings));
        }
    }
    Ok(Found { records, witnessed: head.map_or(0, |head| head.number), journaled })
}
