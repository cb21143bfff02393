//! Bundles of evidence: made without a key, from vaults that do not open, and any change to one is found.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use devvault::ops::evidence::{self, Options};
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{Home, assert_refused, flip, packs, unchanged};

fn damaged() -> Home {
    let home = Home::with_snapshot();
    flip(&packs(&home.vault())[0], 60);
    home
}

fn capture(home: &Home, access: &Access, name: &str, options: &Options) -> evidence::Captured {
    unchanged(&home.vault(), || evidence::capture(access, &home.path(name), options).unwrap())
}

fn contents(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    files
}

#[test]
fn a_bundle_holds_what_explains_the_incident_and_verifies() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let options = Options { incident: Some(id.clone()), raw: true, ..Options::default() };
    let report = capture(&home, &home.access(), "bundle.tar", &options);
    assert!(report.authenticated && report.unreadable.is_empty(), "{report:?}");
    assert_eq!(report.damaged.len(), 1);
    let files = contents(&home.path("bundle.tar"));
    for name in
        ["journal/journal.jsonl", "context.json", "vault-files.jsonl", "damaged-packs.jsonl", "vault/vault.json"]
    {
        assert!(files.contains_key(name), "{name} is missing from {:?}", files.keys());
    }
    assert!(files.contains_key("vault/snapshots/00000001/manifest.json"));
    assert!(files.contains_key(&format!("incidents/{id}.json")));
    assert!(files.keys().any(|name| name.starts_with("evidence/")));
    let pack = &report.damaged[0];
    assert_eq!(files[&format!("vault/{pack}")], fs::read(home.vault().join(pack)).unwrap());
    let listing = String::from_utf8(files["vault-files.jsonl"].clone()).unwrap();
    assert!(listing.contains(pack) && listing.contains("\"length\":") && listing.contains("\"modified\":"));
    let secret = fs::read_to_string(home.key()).unwrap();
    let secret = secret.split("\"secret\":\"").nth(1).unwrap().split('"').next().unwrap().as_bytes();
    let whole = fs::read(home.path("bundle.tar")).unwrap();
    assert!(!whole.windows(secret.len()).any(|window| window == secret));

    let checked = evidence::verify(&home.host(), None, &home.path("bundle.tar")).unwrap();
    assert_eq!((checked.findings.len(), checked.authenticated), (0, Some(true)));
    assert_eq!((checked.files, checked.incident), (report.files, Some(id)));
}

#[test]
fn a_bundle_is_made_without_a_key_and_of_a_vault_that_does_not_open() {
    let home = damaged();
    fs::write(home.vault().join("vault.json"), "nothing").unwrap();
    let stranger = Access { host: home.other_host("stranger"), ..home.access() };
    let options = Options { all_packs: true, ..Options::default() };
    let report = capture(&home, &stranger, "bundle.tar", &options);
    assert!(!report.authenticated);
    assert_eq!(report.damaged.len(), 1, "a pack's name is the digest of its bytes");
    assert!(!contents(&home.path("bundle.tar")).keys().any(|name| name.starts_with(&report.damaged[0])));
    let checked = evidence::verify(&home.host(), Some(&home.key()), &home.path("bundle.tar")).unwrap();
    assert_eq!((checked.findings.len(), checked.authenticated, checked.not_checked.len()), (0, None, 1));
}

#[test]
fn every_change_to_a_bundle_is_found() {
    let home = damaged();
    home.verify(&[]).unwrap();
    capture(&home, &home.access(), "bundle.tar", &Options::default());
    let whole = fs::read(home.path("bundle.tar")).unwrap();
    let path = home.path("changed.tar");
    // The content of every file, not the padding between them.
    let mut archive = tar::Archive::new(&whole[..]);
    let places: Vec<(u64, u64)> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.raw_file_position(), entry.size()))
        .collect();
    for (start, size) in &places {
        for at in (0..*size).step_by((*size as usize / 5).max(1)) {
            let mut bytes = whole.clone();
            bytes[(start + at) as usize] ^= 1;
            fs::write(&path, bytes).unwrap();
            let checked = evidence::verify(&home.host(), None, &path).unwrap();
            // A bundle that names another vault cannot be proven with this vault's key, and says so.
            let unproven = checked.authenticated.is_none() && !checked.not_checked.is_empty();
            let found = checked.findings.first().map(|finding| finding.code);
            assert!(found == Some(Code::EvidenceDamaged) || unproven, "{start} {at}");
        }
    }
    for (start, _) in &places {
        fs::write(&path, &whole[..*start as usize - 512]).unwrap();
        let checked = evidence::verify(&home.host(), None, &path).unwrap();
        assert!(!checked.findings.is_empty() || checked.authenticated.is_none(), "cut at {start}");
    }
    fs::write(&path, b"no archive").unwrap();
    assert!(!evidence::verify(&home.host(), None, &path).unwrap().findings.is_empty());
}

#[test]
fn a_bundle_never_replaces_anything_and_never_lies_in_the_vault() {
    let home = damaged();
    fs::write(home.path("there"), "kept").unwrap();
    let inside = home.vault().join("bundle.tar");
    unchanged(&home.vault(), || {
        assert_refused(Code::NotEmpty, evidence::capture(&home.access(), &home.path("there"), &Options::default()));
        assert_refused(Code::DestinationOverlaps, evidence::capture(&home.access(), &inside, &Options::default()));
        let options = Options { incident: Some("INC-0".into()), ..Options::default() };
        assert_refused(Code::IncidentUnfit, evidence::capture(&home.access(), &home.path("new"), &options));
    });
    assert_eq!(fs::read_to_string(home.path("there")).unwrap(), "kept");
    assert!(!home.path("new").exists());
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_packed() {
    let home = damaged();
    fs::remove_file(home.vault().join("vault.hmac")).unwrap();
    std::os::unix::fs::symlink("/nowhere", home.vault().join("vault.hmac")).unwrap();
    fs::remove_dir_all(home.vault().join("index")).unwrap();
    fs::write(home.vault().join("snapshots/00000001/manifest.hmac"), "").unwrap();
    let report = capture(&home, &home.access(), "bundle.tar", &Options::default());
    assert!(report.files > 4);
    let checked = evidence::verify(&home.host(), None, &home.path("bundle.tar")).unwrap();
    assert_eq!(checked.findings.len(), 0);
}
