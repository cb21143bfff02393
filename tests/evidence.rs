//! Bundles of evidence: made without a key, from vaults that do not open, and any change to one is found.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use devvault::ops::evidence::{self, Maker, Options};
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
    assert_eq!((checked.verdict(), checked.maker), ("intact", Maker::Key));
    assert_eq!((checked.files, checked.incident), (report.files, Some(id)));
}

#[test]
fn a_bundle_without_an_incident_named_tells_of_all_about_its_place_and_says_which_packs_were_not_looked_at() {
    let home = damaged();
    let raw = Options { raw: true, ..Options::default() };
    let unasked = capture(&home, &home.access(), "before.tar", &raw);
    assert_eq!((unasked.packs_read, &unasked.damaged[..]), (0, &[][..]));
    assert!(unasked.notes.iter().any(|note| note.contains("no pack was looked at")), "{:?}", unasked.notes);
    let all = capture(&home, &home.access(), "all.tar", &Options { all_packs: true, ..raw.clone() });
    assert_eq!((all.packs_read, all.damaged.len(), &all.notes[..]), (1, 1, &[][..]));

    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    let report = capture(&home, &home.access(), "bundle.tar", &raw);
    assert_eq!((report.packs_read, report.damaged.len(), &report.notes[..]), (1, 1, &[][..]));
    let files = contents(&home.path("bundle.tar"));
    assert!(files.contains_key(&format!("incidents/{id}.json")) && !files["damaged-packs.jsonl"].is_empty());
    let pack = home.vault().join(&report.damaged[0]);
    assert_eq!(files[&format!("vault/{}", report.damaged[0])], fs::read(&pack).unwrap());
    // Nor does an incident about another place.
    crate::support::copy_tree(&home.vault(), &home.path("copy"));
    let copy = Access { vault: home.path("copy"), ..home.access() };
    assert_eq!(capture(&home, &copy, "copy.tar", &raw).packs_read, 0);
    // What an incident names and is gone.
    fs::remove_file(&pack).unwrap();
    let gone = capture(&home, &home.access(), "gone.tar", &raw);
    assert_eq!((gone.packs_read, &gone.notes[..]), (0, &["1 pack(s) that an incident names are not there".into()][..]));
    // Incidents that cannot be known are no incidents that are not there.
    fs::write(home.host().journal_directory().join("journal.jsonl"), "x\n").unwrap();
    let unknown = capture(&home, &home.access(), "unknown.tar", &raw);
    assert!(unknown.unreadable.iter().any(|what| what.contains("the incidents of this host")), "{unknown:?}");
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
    assert_eq!((checked.verdict(), checked.maker, checked.not_checked.len()), ("unproven", Maker::Unknown, 1));
    // The host that packed it knows it by its journal.
    let checked = evidence::verify(&stranger.host, None, &home.path("bundle.tar")).unwrap();
    assert_eq!((checked.verdict(), checked.maker), ("intact", Maker::Journal(1)));
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
            let unproven = checked.verdict() == "unproven" && !checked.not_checked.is_empty();
            let found = checked.findings.first().map(|finding| finding.code);
            assert!(found == Some(Code::EvidenceDamaged) || unproven, "{start} {at}");
        }
    }
    // Without its tag it is what this host's own journal names.
    const JOURNALED: u64 = 5;
    let last = places.last().unwrap().0;
    for (start, _) in &places {
        fs::write(&path, &whole[..*start as usize - 512]).unwrap();
        let checked = evidence::verify(&home.host(), None, &path).unwrap();
        let missing_tag = checked.maker == Maker::Journal(JOURNALED) && *start == last;
        assert!(!checked.findings.is_empty() || missing_tag, "cut at {start}");
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

// Unix alone: modes that forbid.
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

/// Writes an archive anew, after `change` had its way with its members.
fn rebuilt(whole: &[u8], change: impl FnOnce(&mut Vec<(tar::Header, Vec<u8>)>)) -> Vec<u8> {
    let mut archive = tar::Archive::new(whole);
    let mut members: Vec<(tar::Header, Vec<u8>)> = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.push((entry.header().clone(), bytes));
    }
    change(&mut members);
    let mut builder = tar::Builder::new(Vec::new());
    for (header, bytes) in members {
        builder.append(&header, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn member(name: &str, bytes: &[u8], kind: tar::EntryType) -> (tar::Header, Vec<u8>) {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(bytes.len() as u64);
    header.set_entry_type(kind);
    if kind.is_symlink() {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    (header, bytes.to_vec())
}

/// A member that claims a hole of an exbibyte.
fn endless() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("endless").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(1 << 60);
    gnu.sparse[0].set_offset(1 << 60);
    gnu.sparse[0].set_length(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn a_bundle_is_read_as_it_is_written_and_in_no_other_way() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    // Nothing is damaged: one of its files is empty.
    let home = Home::with_snapshot();
    capture(&home, &home.access(), "bundle.tar", &Options::default());
    let whole = fs::read(home.path("bundle.tar")).unwrap();
    let forged = |name: &str| member(name, b"forged", Regular);
    let end = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    let end = end.next_multiple_of(512);
    let mut changed: Vec<(&str, Vec<u8>)> = vec![
        ("a member before", rebuilt(&whole, |members| members.insert(0, forged("more")))),
        ("a member behind", rebuilt(&whole, |members| members.push(forged("more")))),
        ("a twin before", rebuilt(&whole, |members| members.insert(0, forged("context.json")))),
        ("a twin behind", rebuilt(&whole, |members| members.push(forged("context.json")))),
        ("a second manifest before", rebuilt(&whole, |members| members.insert(0, forged("MANIFEST.json")))),
        ("a second manifest behind", rebuilt(&whole, |members| members.push(forged("MANIFEST.json")))),
        ("the order turned", rebuilt(&whole, |members| members.reverse())),
        ("a directory", rebuilt(&whole, |members| members.insert(0, member("more", b"", Directory)))),
        ("a hard link", rebuilt(&whole, |members| members.insert(0, member("more", b"", Link)))),
        ("another archive behind", [&whole[..], &whole[..]].concat()),
        ("junk behind", [&whole[..end], &[0xff; 512], &whole[..]].concat()),
        ("an endless hole", [endless(), whole.clone()].concat()),
    ];
    changed.push((
        "a link for an empty file",
        rebuilt(&whole, |members| {
            let at = members.iter().position(|member| member.1.is_empty()).expect("an empty member");
            let name = members[at].0.path().unwrap().to_str().unwrap().to_owned();
            members[at] = member(&name, b"", Symlink);
        }),
    ));
    let path = home.path("changed.tar");
    for (what, bytes) in changed {
        fs::write(&path, bytes).unwrap();
        let checked = evidence::verify(&home.host(), None, &path).unwrap();
        assert_eq!(checked.verdict(), "damaged", "{what}");
        assert!(checked.findings.iter().all(|finding| finding.code == Code::EvidenceDamaged), "{what}");
    }
    let same = rebuilt(&whole, |_| {});
    fs::write(&path, same).unwrap();
    assert_eq!(evidence::verify(&home.host(), None, &path).unwrap().verdict(), "intact");
}

#[test]
fn a_bundle_whose_list_was_made_anew_without_the_key_is_not_called_intact() {
    let home = damaged();
    home.verify(&[]).unwrap();
    capture(&home, &home.access(), "bundle.tar", &Options::default());
    let whole = fs::read(home.path("bundle.tar")).unwrap();
    let forged = rebuilt(&whole, |members| {
        let place = members.iter().position(|one| one.0.path().unwrap().to_str() == Some("context.json")).unwrap();
        let old = blake3::hash(&members[place].1).to_hex().to_string();
        let length = members[place].1.len();
        members[place].1 = vec![b' '; length];
        let new = blake3::hash(&members[place].1).to_hex().to_string();
        members.pop();
        let list = members.last_mut().unwrap();
        list.1 = String::from_utf8(list.1.clone()).unwrap().replace(&old, &new).into_bytes();
    });
    fs::write(home.path("forged.tar"), forged).unwrap();
    let checked = evidence::verify(&home.host(), None, &home.path("forged.tar")).unwrap();
    assert_eq!((checked.verdict(), checked.findings.len()), ("unproven", 0));
    let (exit, document) = home.json(&["evidence", "verify", "forged.tar"]);
    assert_eq!((exit, &document["verdict"], &document["authenticated"]), (0, &"unproven".into(), &false.into()));
}

#[test]
fn what_this_host_kept_is_packed_although_the_vault_is_gone() {
    let home = damaged();
    let id = home.verify(&[]).unwrap().kept.incident.unwrap();
    fs::rename(home.vault(), home.path("away")).unwrap();
    for (name, incident) in [("by-id.tar", Some(id.clone())), ("by-place.tar", None)] {
        let options = Options { incident, ..Options::default() };
        let report = evidence::capture(&home.access(), &home.path(name), &options).unwrap();
        assert!(report.unreadable.iter().any(|what| what.starts_with("the vault: ")), "{:?}", report.unreadable);
        let files = contents(&home.path(name));
        assert!(files.contains_key("journal/journal.jsonl") && files.contains_key(&format!("incidents/{id}.md")));
        assert!(files.keys().any(|name| name.starts_with("evidence/")));
    }
    let mistyped = Access { vault: home.path("valut"), ..home.access() };
    assert_refused(Code::VaultNotFound, evidence::capture(&mistyped, &home.path("none.tar"), &Options::default()));
    assert!(!home.path("none.tar").exists());
}

#[test]
fn a_record_that_claims_any_length_does_not_fill_the_medium_of_the_evidence() {
    let home = damaged();
    let long = home.vault().join("snapshots/00000001/manifest.json");
    fs::File::options().write(true).open(&long).unwrap().set_len(1 << 36).unwrap();
    let report = evidence::capture(&home.access(), &home.path("bundle.tar"), &Options::default()).unwrap();
    assert!(fs::metadata(home.path("bundle.tar")).unwrap().len() < 1 << 20);
    assert!(report.unreadable.iter().any(|what| what.contains("too long to be packed")), "{:?}", report.unreadable);
}
