//! Hostile vaults, made with the right key: every byte authentic, and yet nothing escapes, hangs or is called valid.

use std::fs;

use devvault::format::entry::{ChunkRef, encode_chunk_list};
use devvault::format::json::encode_lines;
use devvault::format::pack::Encoding;
use devvault::format::record::{Body, Counts, PackUse, Packs};
use devvault::ops::verify::Verdict;
use devvault::refusal::Code;
use devvault::vault::write::reference;

use crate::support::{Forger, Home, assert_refused, entry_line, fingerprint, names};

const FILE: &str = "{\"chunks\":CHUNKS,\"kind\":\"file\",\"path\":PATH,\"size\":SIZE}";

fn file(path: &str, chunk: ChunkRef) -> String {
    let chunks = format!("[[\"{}\",{}]]", chunk.id(), chunk.length());
    entry_line(path, &FILE.replace("CHUNKS", &chunks).replace("SIZE", &chunk.length().to_string()))
}

fn empty(path: &str) -> String {
    entry_line(path, "{\"kind\":\"file\",\"path\":PATH,\"size\":0}")
}

fn counts(directories: u64, files: u64, bytes: u64) -> Counts {
    Counts { bytes, directories, files, ..Counts::default() }
}

/// Asserts that the second snapshot is neither verified nor restored, and that the first is both.
fn assert_refused_alone(home: &Home, code: Code) {
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.snapshots, [(1, Verdict::Valid), (2, Verdict::Invalid)], "{:?}", report.findings);
    assert!(report.findings.iter().any(|finding| finding.code == code), "{:?}", report.findings);
    let outside = || fingerprint(&home.source());
    let before = outside();
    let error = home.restore("2", "restored").unwrap_err();
    assert!(error.code().is_some(), "{error}");
    assert!(!home.path("restored").exists());
    assert_eq!(outside(), before);
    home.restore("1", "restored").unwrap();
}

/// A segment: the path of its first entry, how many entries its list says, its text.
type Segment = (&'static str, u64, String);

#[test]
fn listings_that_contradict_the_format_are_refused() {
    let root = entry_line("", "");
    let dir = |path: &str| entry_line(path, "");
    let cases: Vec<(&str, Vec<Segment>, Counts)> = vec![
        ("unsorted", vec![("", 3, [root.clone(), empty("b"), empty("a")].concat())], counts(1, 2, 0)),
        ("twice", vec![("", 3, [root.clone(), empty("a"), empty("a")].concat())], counts(1, 2, 0)),
        ("without its directory", vec![("", 2, [root.clone(), empty("a/b")].concat())], counts(1, 1, 0)),
        ("below a file", vec![("", 3, [root.clone(), empty("a"), empty("a/b")].concat())], counts(1, 2, 0)),
        ("escaping", vec![("", 2, [root.clone(), empty("../x")].concat())], counts(1, 1, 0)),
        ("absolute", vec![("", 2, [root.clone(), empty("/x")].concat())], counts(1, 1, 0)),
        ("with a NUL", vec![("", 2, [root.clone(), empty("a\0b")].concat())], counts(1, 1, 0)),
        ("counted wrong", vec![("", 2, [root.clone(), empty("a")].concat())], counts(1, 0, 0).plus_symlink()),
        ("more lines than its list says", vec![("", 1, [root.clone(), empty("a")].concat())], counts(1, 0, 0)),
        ("not JSON", vec![("", 1, "nonsense\n".into())], counts(1, 0, 0)),
        ("not canonical", vec![("", 1, root.replace(':', ": "))], counts(1, 0, 0)),
        (
            "across segments: below a file",
            vec![("", 2, [root.clone(), empty("a")].concat()), ("a/b", 1, empty("a/b"))],
            counts(1, 2, 0),
        ),
        (
            "across segments: twice",
            vec![("", 2, [root.clone(), dir("b")].concat()), ("c", 2, [dir("c"), dir("b")].concat())],
            counts(4, 0, 0),
        ),
    ];
    for (what, segments, counts) in cases {
        let home = Home::with_snapshot();
        let segments: Vec<_> = segments.into_iter().map(|(first, n, text)| (first, n, text.into_bytes())).collect();
        Forger::new(&home).publish(2, &segments, counts);
        println!("{what}");
        assert_refused_alone(&home, Code::ListingUnsafe);
    }
}

trait PlusSymlink {
    fn plus_symlink(self) -> Self;
}

impl PlusSymlink for Counts {
    /// The same number of entries, one of another kind.
    fn plus_symlink(mut self) -> Self {
        self.symlinks += 1;
        self
    }
}

#[test]
fn a_part_whose_own_entry_is_missing_is_refused() {
    let home = Home::with_snapshot();
    let above = [entry_line("", ""), entry_line("a", "")].concat().into_bytes();
    let below = empty("a/b/c").into_bytes();
    // Who reads only what may lie below `a/b` reads nothing of the first list.
    Forger::new(&home).publish_lists(2, &[&[("", 2, above)], &[("a/b/c", 1, below)]], counts(2, 1, 0));
    assert_refused(Code::ListingUnsafe, home.restore("2:a/b", "restored"));
    assert!(!home.path("restored").exists());
    assert_refused_alone(&home, Code::ListingUnsafe);
}

#[test]
fn content_that_no_pack_holds_is_refused() {
    let home = Home::with_snapshot();
    let text = [entry_line("", ""), file("a", reference(b"never stored"))].concat();
    Forger::new(&home).publish(2, &[("", 2, text.into_bytes())], counts(1, 1, 12));
    assert_refused_alone(&home, Code::ChunkMissing);
    // Every pack that the snapshot names is there.
    let report = home.verify(&["2"]).unwrap();
    let told: Vec<_> = report.findings.iter().map(|finding| (finding.code, &finding.subject[..])).collect();
    assert_eq!(told, [(Code::ChunkMissing, "content")]);
}

#[test]
fn a_chunk_list_that_does_not_add_up_is_refused() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let content = b"some content";
    let list = encode_chunk_list(&[reference(content)]);
    forger.pack(&[content, &list]);
    let object = reference(&list);
    let lists = format!(
        "{{\"kind\":\"file\",\"lists\":[[\"{}\",{},99]],\"path\":PATH,\"size\":99}}",
        object.id(),
        object.length()
    );
    let text = [entry_line("", ""), entry_line("a", &lists)].concat();
    forger.publish(2, &[("", 2, text.into_bytes())], counts(1, 1, 99));
    assert_refused_alone(&home, Code::ListingUnsafe);
}

#[test]
fn a_block_that_decodes_to_more_than_it_says_is_damage() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let content = vec![7; 1000];
    let bomb = zstd::bulk::compress(&vec![7; 12 << 20], 3).unwrap();
    forger.pack_of(&[&content], &bomb, Encoding::Zstd, 1000);
    let text = [entry_line("", ""), file("a", reference(&content))].concat();
    forger.publish(2, &[("", 2, text.into_bytes())], counts(1, 1, 1000));
    assert_refused_alone(&home, Code::ChunkDamaged);
}

#[test]
fn a_chunk_under_a_false_name_is_damage() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let (said, stored) = (b"what is said", b"what is true");
    forger.pack_of(&[said], stored, Encoding::Raw, stored.len());
    let text = [entry_line("", ""), file("a", reference(said))].concat();
    forger.publish(2, &[("", 2, text.into_bytes())], counts(1, 1, 12));
    assert_refused_alone(&home, Code::ChunkDamaged);
    // It is found before it is written, not when what was written is read back.
    assert_refused(Code::ChunkDamaged, home.restore("2", "again"));
    let mut staging = names(&home.path(""));
    staging.retain(|name| name.contains("restoring"));
    assert_eq!(staging.len(), 2, "{staging:?}");
    assert!(staging.iter().all(|name| names(&home.path(name)).is_empty()), "{staging:?}");
}

#[test]
fn an_enormous_size_is_refused_before_anything_is_allocated() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let list = encode_chunk_list(&[reference(b"x")]);
    forger.pack(&[b"x", &list]);
    let object = reference(&list);
    let size = 1u64 << 52;
    let lists = format!(
        "{{\"kind\":\"file\",\"lists\":[[\"{}\",{},{size}]],\"path\":PATH,\"size\":{size}}}",
        object.id(),
        object.length()
    );
    let text = [entry_line("", ""), entry_line("a", &lists)].concat();
    forger.publish(2, &[("", 2, text.into_bytes())], counts(1, 1, size));
    assert_refused_alone(&home, Code::ListingUnsafe);
}

#[test]
fn two_snapshots_that_share_a_list_are_each_held_against_their_own_manifest() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let text = [entry_line("", ""), empty("a")].concat();
    forger.publish(2, &[("", 2, text.clone().into_bytes())], counts(1, 1, 0));
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    // The same list, counted as three entries.
    let mut snapshot = forger.snapshot(2);
    snapshot.lists[0].entries = 3;
    snapshot.counts = counts(1, 2, 0);
    forger.put(3, Body::Snapshot(snapshot));
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.snapshots[2], (3, Verdict::Invalid), "{:?}", report.findings);
    assert_refused(Code::ListingUnsafe, home.restore("3", "restored"));
    home.restore("2", "restored").unwrap();
}

// Unix alone: names that Windows would refuse in the source already.
#[cfg(unix)]
#[test]
fn names_that_the_target_cannot_hold_are_refused_before_the_first_byte() {
    let home = Home::with_snapshot();
    let text = [entry_line("", ""), empty(&"n".repeat(300))].concat();
    Forger::new(&home).publish(2, &[("", 2, text.into_bytes())], counts(1, 1, 0));
    let names = || fs::read_dir(home.path("")).unwrap().count();
    let before = names();
    let refusal = assert_refused(Code::TargetCannotRepresent, home.restore("2", "restored"));
    assert_eq!(refusal.paths.len(), 1);
    assert_eq!(names(), before);
}

#[test]
fn packs_that_are_listed_ascend_from_one_list_to_the_next() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let snapshot = forger.snapshot(1);
    let Packs::Direct(uses) = &snapshot.packs else { panic!("few packs") };
    let [first, ..] = uses[..] else { panic!("no pack") };
    let mut after = first;
    after.0.0[31] ^= 1;
    let (low, high) = if after.0 < first.0 { (after, first) } else { (first, after) };
    let ascending = |uses: &[PackUse]| uses.is_sorted_by(|one, other| one.0 < other.0);
    for lists in [[low, high], [high, low], [low, low]] {
        let home = Home::with_snapshot();
        let forger = Forger::new(&home);
        let mut snapshot = forger.snapshot(1);
        let encoded = lists.map(|pack| encode_lines(&[pack]));
        forger.pack(&[&encoded[0], &encoded[1]]);
        snapshot.packs = Packs::Listed(encoded.iter().map(|list| reference(list)).collect());
        forger.put(2, Body::Snapshot(snapshot));
        let report = home.verify(&["2"]).unwrap();
        // Nothing is restored by it: one of these packs is not even there.
        assert_eq!(report.verdict, Verdict::Valid, "{:?}", report.findings);
        let said = report.notes.iter().any(|note| note.contains("list of packs cannot be used"));
        assert_eq!(said, !ascending(&lists), "{:?}", report.notes);
    }
}
