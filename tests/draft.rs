//! The draft of a snapshot and its commit point: what is not held is not published, and what stays is told.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::Arc;

use devvault::clock::Time;
use devvault::crypto::Id;
use devvault::format::json::encode_lines;
use devvault::format::listing::PartRef;
use devvault::format::pack::BlockKind;
use devvault::format::record::{Counts, Snapshot};
use devvault::path::EntryPath;
use devvault::pool::Pool;
use devvault::refusal::Code;
use devvault::store::{LocalStore, Store as _};
use devvault::vault::catalog::{Catalog, UseIndex};
use devvault::vault::gate::{self, Access, Vault, WriteLock};
use devvault::vault::reliance::{Look, Reliance};
use devvault::vault::write::{Draft, Finalized, Origin, reference};

use crate::support::{Forger, Home, assert_refused, entry_line, names, noise, packs};

/// Begins a draft that relies on every pack with an authentic footer.
pub fn begin_draft(access: &Access) -> (Vault, WriteLock, Draft) {
    let (vault, lock) = gate::open_for_writing(access).unwrap();
    let catalog = Arc::new(Catalog::load(&*vault.store, &vault.macs, UseIndex::No).unwrap());
    let (store, macs, pool) = (Arc::clone(&vault.store), Arc::clone(&vault.macs), Pool::with_threads(1));
    let older = Reliance::new(store, macs, catalog, Look::Footer, pool.clone(), Time::default(), BTreeMap::new());
    let origin = Origin {
        boot: String::new(),
        host: Id([0; 16]),
        host_name: String::new(),
        pid: 0,
        source: String::new(),
        started: Time::default(),
    };
    let draft = Draft::begin(&vault, &lock, older, pool, &origin).unwrap();
    (vault, lock, draft)
}

/// Returns what the first snapshot says of itself.
fn snapshot(home: &Home) -> Snapshot {
    *Forger::new(home).snapshot(1)
}

fn part(entries: u64, bytes: &[u8]) -> PartRef {
    PartRef { entries, first: EntryPath::root(), object: reference(bytes) }
}

/// Finalizes a draft of one file, with what it needs put into it save for what is left out.
fn finalize_without(home: &Home, left_out: &str) -> devvault::error::Result<Finalized> {
    let content = noise(1_000, 7);
    let chunk = reference(&content);
    let file = format!("{{\"chunks\":[[\"{}\",1000]],\"kind\":\"file\",\"path\":PATH,\"size\":1000}}", chunk.id());
    let segment = [entry_line("", ""), entry_line("a", &file)].concat().into_bytes();
    let list = encode_lines(&[part(2, &segment)]);
    let (vault, _lock, mut draft) = begin_draft(&home.access());
    for (name, kind, bytes) in [
        ("content", BlockKind::Data, &content),
        ("segment", BlockKind::Listing, &segment),
        ("list", BlockKind::Listing, &list),
    ] {
        if name != left_out {
            draft.put(kind, reference(bytes), bytes).unwrap();
        }
    }
    let counts = Counts { bytes: 1_000, directories: 1, files: 1, ..Counts::default() };
    let snapshot = Snapshot { counts, lists: vec![part(2, &list)], ..snapshot(home) };
    draft.finalize(snapshot, &vault.chain, vault.config_digest, &HashSet::new())
}

#[test]
fn a_snapshot_that_needs_what_no_pack_holds_is_never_published() {
    for left_out in ["content", "segment", "list"] {
        let home = Home::with_snapshot();
        let refusal = assert_refused(Code::ReadBackDiffers, finalize_without(&home, left_out).map(drop));
        let cause = &refusal.causes[0];
        assert!(cause.contains("no pack") && !cause.contains("do not tell"), "{left_out}: {cause}");
        assert!(refusal.written.unwrap().text.contains(".incomplete-"), "the evidence is named");
        assert_eq!(home.verify(&[]).unwrap().snapshots.len(), 1);
    }
    let home = Home::with_snapshot();
    assert!(matches!(finalize_without(&home, "nothing"), Ok(Finalized::Published(_))));
    assert_eq!(home.verify(&[]).unwrap().snapshots.len(), 2);
    home.restore("2", "restored").unwrap();
    assert_eq!(fs::read(home.path("restored/a")).unwrap(), noise(1_000, 7));
}

#[test]
fn a_manifest_beyond_its_bound_is_refused_and_its_draft_given_up() {
    let home = Home::with_snapshot();
    let before = packs(&home.vault()).len();
    let (vault, _lock, draft) = begin_draft(&home.access());
    let mut snapshot = snapshot(&home);
    // A megabyte each.
    let long = (0..70).map(|number| format!("{number:04}{}", "/xxxxxxx".repeat((1 << 17) - 1)));
    snapshot.left_out = long.map(|path| EntryPath::parse(path.as_bytes()).unwrap()).collect();
    let finalized = draft.finalize(snapshot, &vault.chain, vault.config_digest, &HashSet::new());
    let refusal = assert_refused(Code::SourceUnsupported, finalized.map(drop));
    assert_eq!(refusal.written.unwrap().text, "no snapshot was made; nothing of this run stays in the vault");
    assert_eq!(names(&home.vault().join("snapshots")), ["00000001"]);
    assert_eq!(packs(&home.vault()).len(), before);
}

#[test]
fn a_draft_that_is_given_up_says_which_packs_stay() {
    let home = Home::with_snapshot();
    let before: HashSet<_> = packs(&home.vault()).into_iter().collect();
    let (_vault, _lock, draft) = begin_draft(&home.access());
    let written = draft.abandon();
    assert_eq!(
        (&*written.text, written.changed),
        ("no snapshot was made; nothing of this run stays in the vault", false)
    );
    let (_vault, _lock, mut draft) = {
        drop((_vault, _lock));
        begin_draft(&home.access())
    };
    for seed in 0..20 {
        let bytes = noise(3_000, seed);
        draft.put(BlockKind::Data, reference(&bytes), &bytes).unwrap();
    }
    let written = draft.abandon();
    let stay: Vec<_> = packs(&home.vault()).into_iter().filter(|path| !before.contains(path)).collect();
    let bytes: u64 = stay.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(!stay.is_empty() && written.changed);
    let count = stay.len();
    let said = format!(
        "no snapshot was made; {count} complete pack(s), {bytes} bytes, stay in the vault; the next backup uses them"
    );
    assert_eq!(written.text, said);
    assert_eq!(names(&home.vault().join("snapshots")), ["00000001"]);
}

#[test]
fn what_a_backup_says_that_it_stored_is_what_the_vault_grew_by() {
    let home = Home::with_vault();
    home.write_source(&[("a", "some content"), ("b/c", "other content")]);
    let bytes_below = |name: &str| -> u64 {
        let all = walkdir::WalkDir::new(home.vault().join(name)).into_iter().map(Result::unwrap);
        all.filter(|entry| entry.file_type().is_file()).map(|entry| entry.metadata().unwrap().len()).sum()
    };
    let mut before = 0;
    for number in 1..=2 {
        let report = home.backup();
        let now = bytes_below("packs") + bytes_below("snapshots");
        assert_eq!((report.snapshot, report.bytes_stored), (number, now - before));
        before = now;
        home.write_source(&[("more", "and more")]);
    }
}

#[test]
fn packs_of_a_draft_that_lacks_room_go_unless_somebody_may_read_or_use_them() {
    /// What happens while the draft is written, and whether its packs go.
    type Meanwhile = fn(&Home) -> Option<Box<dyn devvault::store::Lock>>;
    let cases: [(&str, Meanwhile, bool); 4] = [
        ("nothing", |_| None, true),
        ("a reader", |home| LocalStore::open(&home.vault()).unwrap().lock("sweep.lock", false).unwrap(), false),
        (
            "a draft of another host",
            |home| {
                fs::create_dir(home.vault().join("snapshots").join(format!(".incomplete-{}", "7".repeat(32)))).unwrap();
                None
            },
            false,
        ),
        (
            "a record of another host",
            |home| {
                fs::create_dir(home.vault().join("snapshots/00000002")).unwrap();
                None
            },
            false,
        ),
    ];
    for (what, meanwhile, gone) in cases {
        let home = Home::with_snapshot();
        let before = packs(&home.vault());
        let (_vault, _lock, mut draft) = begin_draft(&home.access());
        for seed in 0..20 {
            let bytes = noise(3_000, seed);
            draft.put(BlockKind::Data, reference(&bytes), &bytes).unwrap();
        }
        let _held = meanwhile(&home);
        let written = draft.give_back();
        assert_eq!((packs(&home.vault()) == before, written.changed), (gone, !gone), "{what}: {}", written.text);
        assert_eq!(written.text.contains("somebody else may read or use"), !gone, "{what}: {}", written.text);
    }
}
