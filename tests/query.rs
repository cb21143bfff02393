//! Looking into snapshots: `find`, `cat` and `diff` as a person and as a program meet them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use devvault::error::Error;
use devvault::ops::change::Aspect;
use devvault::ops::diff::{self, Change, Side};
use devvault::ops::find;
use devvault::ops::{backup, cat};
use devvault::path::EntryPath;
use devvault::progress::Silent;
use devvault::refusal::Code;
use serde_json::Value;

use crate::support::{Forger, Home, SMALL_TREE, assert_refused, flip, noise, packs, skip, unchanged, write_tree};

/// What was found, a line each: snapshots and path.
fn found(home: &Home, words: &[&str], options: find::Options) -> (Vec<String>, find::Report) {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let (places, patterns) = find::Options::split_words(&words);
    let mut lines = Vec::new();
    let options = find::Options { patterns, ..options };
    let report = find::run(&home.access(), &places, &options, &Silent, |version| {
        lines.push(format!("{:?} {}", version.snapshots, version.entry.path));
        Ok(())
    });
    (lines, report.unwrap())
}

/// What differs, a line each: how, where, in what.
fn differs(home: &Home, left: &str, right: &str, options: diff::Options) -> (Vec<String>, diff::Report) {
    let mut lines = Vec::new();
    let right = Side::of(right.as_ref());
    let report = diff::run(&home.access(), &left.parse().unwrap(), &right, options, &Silent, &mut |difference| {
        let aspects: Vec<&str> = difference.aspects.iter().map(|aspect| aspect.name()).collect();
        lines.push(format!("{} {} {}", difference.change.name(), difference.path, aspects.join(",")).trim().to_owned());
        Ok(())
    });
    (lines, report.unwrap())
}

fn content(home: &Home, place: &str) -> devvault::error::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    cat::run(&home.access(), &place.parse().unwrap(), &Silent, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })
    .map(|_| bytes)
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Three snapshots: `README` changes in the second and back in the third, `vacant` goes, `src/new` comes.
fn history() -> Home {
    let home = Home::with_snapshot();
    fs::write(home.source().join("README"), "hello again\n").unwrap();
    fs::write(home.source().join("src/new"), "new\n").unwrap();
    home.backup();
    fs::write(home.source().join("README"), "hello\n").unwrap();
    fs::remove_dir(home.source().join("vacant")).unwrap();
    home.backup();
    home
}

/// Names that a list shows by escapes, each with a content of its own. Linux takes any bytes as a name.
#[cfg(target_os = "linux")]
fn escaped_names() -> Vec<(EntryPath, &'static str)> {
    use std::os::unix::ffi::OsStrExt;
    let long = [&[0xff; 250][..], b"/deep"].concat();
    let names: [(&[u8], _); 6] = [
        (b"bad\xff\xfename", "bytes"),
        (b"new\nline", "line"),
        (b"esc\x1b[31mred", "escape"),
        (b"back\\slash", "backslash"),
        (b"dir\ttab/in\\side", "below"),
        (&long, "longer than a name when it is shown"),
    ];
    let path = |bytes: &[u8]| EntryPath::parse(bytes).unwrap();
    assert_eq!(std::ffi::OsStr::from_bytes(names[0].0).len(), 9);
    names.into_iter().map(|(name, content)| (path(name), content)).collect()
}

// Linux alone: names of any bytes.
#[cfg(target_os = "linux")]
#[test]
fn a_path_is_taken_as_a_list_shows_it() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::with_vault();
    for (path, content) in escaped_names() {
        let file = home.source().join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    home.backup();
    let list = String::from_utf8(home.run(&["ls", "1"]).stdout).unwrap();
    for (at, (path, content)) in escaped_names().into_iter().enumerate() {
        let shown = path.to_string();
        assert_ne!(shown.as_bytes(), path.as_bytes());
        assert!(list.lines().any(|line| line.ends_with(&format!(" {shown}"))), "{shown}: {list}");
        let place = format!("1:{shown}");
        let output = home.run(&["cat", &place]);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), content.as_bytes()), "{shown}: {output:?}");
        assert_eq!(home.json(&["ls", &place]).0, 0, "{shown}");
        let (exit, document) = home.json(&["find", &place, "*"]);
        assert_eq!((exit, &document["versions"]), (0, &1.into()), "{document}");
        let (exit, document) = home.json(&["diff", &place, &place]);
        assert_eq!((exit, &document["same"]), (0, &1.into()), "{document}");
        let (exit, document) = home.json(&["restore", &place, &format!("restored-{at}")]);
        assert_eq!(exit, 0, "{document}");
        let name = std::ffi::OsStr::from_bytes(path.name());
        assert_eq!(fs::read(home.path(&format!("restored-{at}")).join(name)).unwrap(), content.as_bytes(), "{shown}");
        let (exit, document) = home.json(&["salvage", &place, &format!("salvaged-{at}")]);
        assert_eq!((exit, &document["verified"]), (0, &1.into()), "{document}");
        let (exit, document) = home.json(&["trace", &shown]);
        assert_eq!((exit, document["restored"].as_array().unwrap().len()), (0, 1), "{document}");
        // The same word as the system has the name, as before.
        let mut raw = std::ffi::OsString::from("1:");
        raw.push(std::ffi::OsStr::from_bytes(path.as_bytes()));
        let output = home.program().arg("--vault").arg(home.vault()).arg("cat").arg(raw).output().unwrap();
        assert_eq!(output.stdout, content.as_bytes(), "{shown}");
    }
    for no_way in ["1:new\\q", "1:new\\u{a}line", "1:bad\\xFF\\xfename", "1:nothing\\nhere"] {
        assert_eq!(home.json(&["ls", no_way]).1["code"], "DV210", "{no_way}");
    }
}

// Linux alone: names of any bytes.
#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_there_as_it_reads_is_meant_before_one_that_is_shown_so() {
    let home = Home::with_vault();
    fs::create_dir_all(home.source()).unwrap();
    fs::write(home.source().join("a\\nb"), "as it reads").unwrap();
    fs::write(home.source().join("a\nb"), "as it is shown").unwrap();
    home.backup();
    let cat = |place: &str| String::from_utf8(home.run(&["cat", place]).stdout).unwrap();
    assert_eq!(cat("1:a\\nb"), "as it reads");
    assert_eq!(cat("1:a\\\\nb"), "as it reads");
    fs::remove_file(home.source().join("a\\nb")).unwrap();
    home.backup();
    assert_eq!(cat("2:a\\nb"), "as it is shown");
    home.restore("1:a\\nb", "restored").unwrap();
    assert_eq!(fs::read_to_string(home.path("restored/a\\nb")).unwrap(), "as it reads");
    home.succeed(&["--vault", "vault", "salvage", "1:a\\nb", "salvaged"]);
    let list = fs::read_to_string(home.path("salvaged/salvage.jsonl")).unwrap();
    assert!(list.contains("a\\\\nb") && !list.contains("a\\nb"), "{list}");
    // A list that cannot be read holds nobody knows what: nothing else is meant instead.
    let forger = Forger::new(&home);
    let segments: Vec<_> = packs(&home.vault());
    assert!(!segments.is_empty() && forger.snapshot(2).lists.len() == 1);
    segments.iter().for_each(|pack| fs::remove_file(pack).unwrap());
    let (exit, document) = home.json(&["ls", "1:a\\\\nb"]);
    assert_eq!((exit, &document["code"]), (11, &"DV104".into()), "{document}");
}

#[test]
fn find_tells_which_snapshots_hold_which_version() {
    let home = history();
    let all = find::Options::default();
    assert_eq!(found(&home, &["main.rs"], all.clone()).0, ["[1, 2, 3] src/main.rs"]);
    assert_eq!(found(&home, &["README"], all.clone()).0, ["[1] README", "[2] README", "[3] README"]);
    assert_eq!(found(&home, &["vacant", "new"], all.clone()).0, ["[2, 3] src/new", "[1, 2] vacant"]);
    assert_eq!(found(&home, &["2", "README"], all.clone()).0, ["[2] README"]);
    assert_eq!(
        found(&home, &["1:src", "3", "*"], all.clone()).0.iter().filter(|line| line.contains("README")).count(),
        1
    );
    let (lines, report) = found(&home, &["nowhere"], all);
    assert_eq!((lines.len(), report.versions, report.paths, report.snapshots), (0, 0, 0, vec![1, 2, 3]));
}

#[test]
fn find_narrows_by_newest_changed_kind_size_and_case() {
    let home = history();
    let newest = find::Options { newest: true, ..Default::default() };
    assert_eq!(found(&home, &["README", "vacant"], newest).0, ["[3] README", "[1, 2] vacant"]);
    let changed = find::Options { changed: true, ..Default::default() };
    // The times of directories changed, and that of README between its two equal contents; only content counts.
    assert_eq!(
        found(&home, &["*"], changed).0,
        ["[1] README", "[2] README", "[3] README", "[2, 3] src/new", "[1, 2] vacant"]
    );
    let kinds = |kind: &str| find::Options { kinds: vec![kind.into()], newest: true, ..Default::default() };
    assert_eq!(found(&home, &["3", "*e*"], kinds("directory")).0, ["[3] src/deep", "[3] src/deep/er"]);
    let sizes = |size: &str| find::Options { sizes: vec![size.parse().unwrap()], ..Default::default() };
    assert_eq!(found(&home, &["3", "*"], sizes("+20")).0, ["[3] z-last"]);
    assert_eq!(found(&home, &["3", "*"], sizes("0")).0, ["[3] empty"]);
    let ignore_case = find::Options { ignore_case: true, ..Default::default() };
    assert_eq!(found(&home, &["1", "readme"], ignore_case).0, ["[1] README"]);
    assert_eq!(found(&home, &["1", "readme"], find::Options::default()).0.len(), 0);
}

#[test]
fn find_keeps_sources_apart() {
    let home = Home::with_snapshot();
    write_tree(&home.path("other"), &[("README", "of the other")]);
    backup::run(&home.access(), &home.path("other"), &backup::Options::default(), &Silent).unwrap();
    home.backup();
    assert_eq!(found(&home, &["README"], find::Options::default()).0, ["[1, 3] README", "[2] README"]);
    let output = text(&home.run(&["find", "README"]));
    assert_eq!(output.lines().filter(|line| line.ends_with(':') && line.contains(" on ")).count(), 2, "{output}");
}

/// What `find` should say, by reading every snapshot by itself.
fn naive(home: &Home, snapshots: u64) -> BTreeMap<String, Vec<u64>> {
    let mut held: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for number in 1..=snapshots {
        devvault::ops::ls::run(&home.access(), &number.to_string().parse().unwrap(), &Silent, |entry| {
            held.entry(entry.path.to_string()).or_default().push(number);
            Ok(())
        })
        .unwrap();
    }
    held.remove(".");
    held
}

#[test]
fn find_over_snapshots_that_share_their_listings_says_what_each_holds() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    for round in 0..6u64 {
        for name in 0..60u64 {
            // Some come, some go, most stay.
            let path = home.source().join(format!("d{}/f{name}", name % 7));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match (name * 7 + round * 13) % 11 {
                0 => drop(fs::remove_file(&path)),
                1 => fs::write(&path, format!("{name} {round}")).unwrap(),
                _ if !path.exists() => fs::write(&path, name.to_string()).unwrap(),
                _ => {}
            }
        }
        home.backup();
    }
    let mut held: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in found(&home, &["*"], find::Options::default()).0 {
        let (numbers, path) = line.split_once("] ").unwrap();
        let numbers = numbers[1..].split(", ").map(|number| number.parse::<u64>().unwrap());
        held.entry(path.to_owned()).or_default().extend(numbers);
    }
    assert_eq!(held, naive(&home, 6));
}

#[test]
fn find_says_what_it_could_not_look_through() {
    let home = history();
    // Every pack is damaged but those of the third snapshot: their listings are gone.
    let before = packs(&home.vault());
    fs::write(home.source().join("README"), "the fourth\n").unwrap();
    home.backup();
    for pack in &before {
        let length = fs::metadata(pack).unwrap().len() as usize;
        (60..length / 2).step_by(97).for_each(|at| flip(pack, at));
    }
    let (exit, document) = home.json(&["find", "README"]);
    assert_eq!(exit, 11, "{document}");
    assert!(!document["findings"].as_array().unwrap().is_empty() && document["ok"] == false, "{document}");
    let output = home.run(&["find", "README"]);
    assert_eq!(output.status.code(), Some(11));
    assert!(text(&output).contains("not everything could be looked through"), "{}", text(&output));
    // A place that one snapshot lacks does not hide what is wrong with another.
    let (exit, document) = home.json(&["find", "1", "4:nowhere", "README"]);
    assert_eq!(exit, 11, "{document}");
    assert!(!document["findings"].as_array().unwrap().is_empty(), "{document}");
    assert!(document["notes"].to_string().contains("snapshot 4 holds no nowhere"), "{document}");
}

#[test]
fn a_place_that_is_not_there_is_refused_by_each() {
    let home = Home::with_snapshot();
    for arguments in [&["find", "1:nowhere", "*"][..], &["cat", "1:nowhere"], &["diff", "1:nowhere", "1"]] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(12), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("refused DV210"), "{arguments:?}");
    }
    for arguments in [&["find", "9", "*"][..], &["cat", "9:README"], &["diff", "1", "9"]] {
        assert_eq!(home.run(arguments).status.code(), Some(11), "{arguments:?}");
    }
    let missing = diff::run(
        &home.access(),
        &"1".parse().unwrap(),
        &Side::Directory(home.path("nowhere")),
        diff::Options::default(),
        &Silent,
        &mut |_| Ok(()),
    );
    assert_refused(Code::SourceMissing, missing);
    // The word after `latest:` is a source; whoever means a path learns how to write it.
    let refusal = assert_refused(Code::NoSuchSnapshot, content(&home, "latest:README"));
    assert!(refusal.next.contains("1:README"), "{}", refusal.next);
}

#[test]
fn cat_prints_exactly_the_content() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let large = noise(3 << 20, 5);
    fs::write(home.source().join("large"), &large).unwrap();
    home.backup();
    for (name, content) in [("README", &b"hello\n"[..]), ("empty", b""), ("large", &large)] {
        let output = home.run(&["cat", &format!("1:{name}")]);
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {output:?}");
        assert!(output.stdout == content, "{name}");
    }
    for name in ["src", "."] {
        assert_refused(Code::SelectionEmpty, content(&home, &format!("1:{name}")));
    }
    assert_eq!(home.run(&["--json", "cat", "1:README"]).status.code(), Some(2), "content is no document");
}

#[test]
fn cat_prints_nothing_after_a_failure() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    let whole = noise(200_000, 6);
    fs::write(home.source().join("file"), &whole).unwrap();
    home.backup();
    // Damage in the middle: what comes before may be printed, what comes after may not.
    let all = packs(&home.vault());
    let pack = all.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    flip(pack, fs::metadata(pack).unwrap().len() as usize / 2);
    let output = unchanged(&home.vault(), || home.run(&["cat", "1:file"]));
    assert_eq!(output.status.code(), Some(11));
    assert!(output.stdout.len() < whole.len() && whole.starts_with(&output.stdout), "{} bytes", output.stdout.len());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("refused DV103") && said.contains("file"), "{said}");
    if !output.stdout.is_empty() {
        assert!(said.contains(&format!("{} of 200000 bytes", output.stdout.len())), "{said}");
    }
}

#[test]
fn diff_of_snapshots_tells_what_was_added_removed_and_changed() {
    let home = history();
    let (lines, report) = differs(&home, "1", "2", diff::Options::default());
    assert_eq!(lines, ["changed README content,mtime", "changed src mtime", "added src/new"]);
    assert_eq!((report.tally.added, report.tally.removed, report.tally.changed), (1, 0, 2));
    let (lines, _) = differs(&home, "3", "1", diff::Options { content_only: true, ..Default::default() });
    assert_eq!(lines, ["removed src/new", "added vacant"]);
    let (lines, report) = differs(&home, "2", "2", diff::Options::default());
    assert!(lines.is_empty() && report.tally.is_same() && report.tally.same == 11, "{lines:?} {:?}", report.tally);
    // A part against a part elsewhere: the paths below them count.
    let (lines, _) = differs(&home, "1:src/deep", "1:src", diff::Options { content_only: true, ..Default::default() });
    assert_eq!(
        lines,
        ["added deep", "added deep/er", "added deep/er/file", "removed er", "removed er/file", "added main.rs"]
    );
}

#[test]
fn diff_tells_kinds_and_links_apart() {
    let home = Home::with_snapshot();
    fs::remove_file(home.source().join("README")).unwrap();
    fs::create_dir(home.source().join("README")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("a", home.source().join("link")).unwrap();
    home.backup();
    let only = diff::Options { content_only: true, ..Default::default() };
    assert!(differs(&home, "1", "2", only).0.contains(&"changed README kind".to_owned()));
    #[cfg(unix)]
    {
        fs::remove_file(home.source().join("link")).unwrap();
        std::os::unix::fs::symlink("b", home.source().join("link")).unwrap();
        let source = home.source();
        assert_eq!(differs(&home, "2", source.to_str().unwrap(), only).0, ["changed link target"]);
        home.backup();
        assert_eq!(differs(&home, "2", "3", only).0, ["changed link target"]);
    }
}

// Unix alone: modes, links and pipes.
#[cfg(unix)]
#[test]
fn diff_with_a_directory_finds_every_difference() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_snapshot();
    let source = home.source();
    let here = source.to_str().unwrap().to_owned();
    let (lines, report) = differs(&home, "1", &here, diff::Options::default());
    assert!(lines.is_empty() && report.content_compared, "{lines:?}");
    assert_eq!(report.bytes_read, 6 + 13 + 5 + 26);
    fs::write(source.join("added"), "x").unwrap();
    fs::remove_file(source.join("z-last")).unwrap();
    fs::write(source.join("README"), "HELLO\n").unwrap();
    fs::write(source.join("empty"), "no more").unwrap();
    fs::set_permissions(source.join("src/main.rs"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(source.join("vacant/pipe")).status().unwrap().success());
    let only = |lines: Vec<String>| lines.into_iter().filter(|line| !line.ends_with(" mtime")).collect::<Vec<_>>();
    let expected = [
        "changed README content,mtime",
        "added added",
        "changed empty content,mtime",
        "changed src/main.rs mode",
        "added vacant/pipe",
        "removed z-last",
    ];
    assert_eq!(only(differs(&home, "1", &here, diff::Options::default()).0), expected);
    // Without reading, a content of the same length is no more than a time that changed.
    let (lines, report) = differs(&home, "1", &here, diff::Options { quick: true, ..Default::default() });
    assert!(lines.contains(&"changed README mtime".to_owned()) && !report.content_compared, "{lines:?}");
    assert_eq!(report.bytes_read, 0);
    // One file against its entry.
    let (lines, _) = differs(&home, "1:README", source.join("README").to_str().unwrap(), diff::Options::default());
    assert_eq!(lines, ["changed . content,mtime"]);
}

// Linux alone: files given away by the superuser.
#[cfg(target_os = "linux")]
#[test]
fn diff_with_a_directory_tells_another_owner() {
    let home = Home::with_snapshot();
    if std::os::unix::fs::chown(home.source().join("README"), Some(12345), Some(54321)).is_err() {
        skip("this user may not give files away");
        return;
    }
    let here = home.source();
    let (lines, report) = differs(&home, "1", here.to_str().unwrap(), diff::Options::default());
    assert_eq!(lines, ["changed README owner"]);
    assert!(report.not_compared.is_empty(), "{:?}", report.not_compared);
    let output = home.run(&["diff", "1", "source"]);
    assert!(text(&output).contains("to 12345:54321") && !text(&output).contains("not compared"), "{}", text(&output));
    home.backup();
    assert_eq!(differs(&home, "1", "2", diff::Options::default()).0, ["changed README owner"]);
}

#[test]
fn diff_of_a_part_tells_which_names_are_one_object_there() {
    let home = Home::with_vault();
    home.write_source(&[("a", "x"), ("d/b", "y"), ("d/e/", "")]);
    let at = |name: &str| home.source().join(name);
    fs::hard_link(at("d/b"), at("d/e/c")).unwrap();
    fs::hard_link(at("a"), at("d/f")).unwrap();
    fs::hard_link(at("a"), at("d/g")).unwrap();
    home.backup();
    home.restore("1:d", "part").unwrap();
    let lines = |side: &str| differs(&home, "1:d", side, diff::Options::default()).0;
    for side in [at("d"), home.path("part")] {
        assert!(lines(side.to_str().unwrap()).is_empty(), "{:?}", lines(side.to_str().unwrap()));
    }
    assert!(lines("1:d").is_empty());
    // Of another object, with everything but that the same.
    fs::remove_file(home.path("part/e/c")).unwrap();
    fs::copy(home.path("part/b"), home.path("part/e/c")).unwrap();
    let found = lines(home.path("part").to_str().unwrap());
    assert!(found.iter().any(|line| line.contains("e/c") && line.contains("links")), "{found:?}");
}

// Linux alone: its extended attributes.
#[cfg(target_os = "linux")]
#[test]
fn diff_with_a_directory_tells_attributes_links_and_foreign_flags() {
    let home = Home::with_vault();
    home.write_source(&[("a", "x"), ("b", "x"), ("c", "x"), ("d", "x"), ("e/", "")]);
    let at = |name: &str| home.source().join(name);
    let note = |name: &str, value: &[u8]| {
        let open = fs::File::open(at(name)).unwrap();
        rustix::fs::fsetxattr(&open, "user.note", value, rustix::fs::XattrFlags::empty())
    };
    if note("a", &[7; 5000]).and(note("e", b"x")).is_err() {
        skip("no attributes on this file system");
        return;
    }
    fs::hard_link(at("c"), at("c2")).unwrap();
    home.backup();
    let here = home.source().to_str().unwrap().to_owned();
    let lines = |options| differs(&home, "1", &here, options).0;
    assert!(lines(diff::Options::default()).is_empty(), "{:?}", lines(diff::Options::default()));
    note("a", &[8; 5000]).unwrap();
    note("b", b"new").unwrap();
    note("e", b"y").unwrap();
    fs::remove_file(at("c2")).unwrap();
    fs::copy(at("c"), at("c2")).unwrap();
    fs::remove_file(at("d")).unwrap();
    fs::hard_link(at("c"), at("d")).unwrap();
    let mtime = fs::metadata(at("c")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(at("c2")).unwrap().set_modified(mtime).unwrap();
    let only =
        |lines: Vec<String>| -> Vec<String> { lines.into_iter().map(|line| line.replace("mtime,", "")).collect() };
    assert_eq!(
        only(lines(diff::Options::default())),
        [
            "changed . mtime",
            "changed a attributes",
            "changed b attributes",
            "changed c2 links",
            "changed d links",
            "changed e attributes"
        ]
    );
    assert!(lines(diff::Options { content_only: true, ..Default::default() }).is_empty());
    // What this system has no such thing of is said, and only then.
    let forger = Forger::new(&home);
    let (number, _) = forger.relist(|entry| entry.attributes = Some(1));
    let (_, report) = differs(&home, &number.to_string(), &here, diff::Options::default());
    assert_eq!(report.not_compared, [Aspect::Flags]);
}

#[test]
fn diff_with_a_directory_does_not_call_added_what_the_snapshot_left_out() {
    let home = Home::with_vault();
    home.write_source(&[
        (".devvaultignore", "*.tmp\n!kept.tmp\n/out/\n"),
        ("a.o", ""),
        ("b.tmp", ""),
        ("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
        ("cache/x/y", ""),
        ("file", "x"),
        ("list.lst", ""),
        ("out/a/b", ""),
        ("sub/.devvaultignore", "!*.tmp\n"),
    ]);
    fs::write(home.path("rules"), "*.lst\n!kept.lst\n").unwrap();
    let options = backup::Options {
        exclude: vec!["*.o".into(), "!kept.o".into()],
        exclude_from: vec![home.path("rules")],
        exclude_caches: true,
        ..Default::default()
    };
    home.try_backup(&options).unwrap();
    let here = home.source();
    let content = diff::Options { content_only: true, ..Default::default() };
    let run = |home: &Home| differs(home, "1", here.to_str().unwrap(), content);
    let (lines, report) = run(&home);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(report.tally.left_out, 5, "a.o, b.tmp, cache/x, list.lst, out");
    // What a rule takes back was not left out; had it been there, it would be in the snapshot.
    for name in ["kept.o", "kept.tmp", "kept.lst", "sub/z.tmp", "new"] {
        fs::write(here.join(name), "").unwrap();
    }
    // Rules that came later are none of the snapshot.
    fs::write(here.join("sub/.devvaultignore"), "!*.tmp\nhidden\n").unwrap();
    fs::write(here.join("sub/hidden"), "").unwrap();
    let expected = [
        "added kept.lst",
        "added kept.o",
        "added kept.tmp",
        "added new",
        "changed sub/.devvaultignore content",
        "added sub/hidden",
        "added sub/z.tmp",
    ];
    assert_eq!(run(&home).0, expected);
    // The same of a part.
    let (lines, _) = differs(&home, "1:sub", here.join("sub").to_str().unwrap(), content);
    assert_eq!(lines, ["changed .devvaultignore content", "added hidden", "added z.tmp"]);
    let (_, document) = home.json(&["diff", "1", "source", "--content-only"]);
    assert_eq!(document["left_out"], 5);
    assert!(
        text(&home.run(&["diff", "1", "source"]))
            .contains("5 object(s) of the directory are what the snapshot left out")
    );
}

#[test]
fn diff_with_a_directory_goes_by_hashes_and_tells_where_the_vault_has_none() {
    let home = Home::with_vault();
    home.write_source(&[("a", "x"), ("z", "y")]);
    // Longer than an entry names chunks.
    fs::write(home.source().join("long"), noise(3 << 20, 1)).unwrap();
    home.backup();
    fs::write(home.source().join("z"), "Y").unwrap();
    let content = diff::Options { content_only: true, ..Default::default() };
    assert_eq!(differs(&home, "1", home.source().to_str().unwrap(), content).0, ["changed z content"]);
    // Stored content is not read: its hashes say what the files should hold. Damage there is found by `verify`.
    let stored = noise(3 << 20, 1)[1 << 20..][..64].to_vec();
    let place = |pack: &std::path::PathBuf| fs::read(pack).unwrap().windows(64).position(|window| window == stored);
    let (pack, at) = packs(&home.vault()).into_iter().find_map(|pack| Some((pack.clone(), place(&pack)?))).unwrap();
    flip(&pack, at);
    assert_eq!(home.run(&["diff", "1", "source"]).status.code(), Some(0));
    assert_eq!(home.run(&["verify", "1"]).status.code(), Some(11));
    flip(&pack, at);
    // A list of chunks that is damaged hides one file; the others are told.
    let forger = Forger::new(&home);
    let (number, _) = forger.relist(|entry| {
        if let devvault::format::entry::Kind::File(file) = &mut entry.kind
            && let devvault::format::entry::Chunks::Listed(lists) = &mut file.chunks
        {
            lists[0].0.0[0] ^= 1;
        }
    });
    let (exit, document) = home.json(&["diff", &number.to_string(), "source", "--content-only"]);
    assert_eq!((exit, document["error"]["code"].as_str()), (11, Some("DV104")), "{document}");
    assert_eq!(document["differences"][0]["path"], "z", "{document}");
    assert!(document["error"]["paths"].to_string().contains("long"), "{document}");
}

#[test]
fn diff_tells_changed_from_corrupt() {
    let home = Home::with_snapshot();
    home.restore("1", "restored").unwrap();
    let here = home.path("restored");
    let damage = |name: &str, content: &str| {
        let path = here.join(name);
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, content).unwrap();
        before
    };
    let put_back = |name: &str, time| {
        fs::File::options().write(true).open(here.join(name)).unwrap().set_modified(time).unwrap();
    };
    // The same length and time, other bytes: nothing that a program does when it saves a file.
    let time = damage("README", "jello\n");
    put_back("README", time);
    // Another length under the old time is a change that shows.
    let time = damage("z-last", "short");
    put_back("z-last", time);
    damage("src/main.rs", "fn main() {;\n");
    let (lines, report) = differs(&home, "1", here.to_str().unwrap(), diff::Options::default());
    assert_eq!(lines, ["corrupt README content", "changed src/main.rs content,mtime", "changed z-last content"]);
    assert_eq!((report.tally.corrupt, report.tally.changed), (1, 2));
    let output = home.run(&["diff", "1", "restored"]);
    assert_eq!(output.status.code(), Some(0), "differences are a result, not a refusal");
    let said = text(&output);
    for line in
        ["! README  (content)", "CORRUPT: content differs while length and modification time do not", "1 corrupt"]
    {
        assert!(said.contains(line), "{line} is missing from:\n{said}");
    }
}

// Linux alone: modes that forbid, and a user who is not the superuser.
#[cfg(target_os = "linux")]
#[test]
fn diff_does_not_call_the_same_what_it_cannot_read() {
    let home = Home::with_snapshot();
    // Nobody may open a socket's like as a file; a file that is replaced by a link loop cannot be read by root either.
    home.restore("1", "restored").unwrap();
    let broken = home.path("restored/src");
    let run = |home: &Home| {
        let mut lines = Vec::new();
        let result = diff::run(
            &home.access(),
            &"1".parse().unwrap(),
            &Side::Directory(home.path("restored")),
            diff::Options::default(),
            &Silent,
            &mut |difference| {
                lines.push(difference.path.to_string());
                Ok(())
            },
        );
        (lines, result)
    };
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(&broken).is_ok();
    let (lines, result) = run(&home);
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    if readable {
        // Root reads everything.
        assert_eq!(lines, ["src"]);
        skip("this user reads everything");
        return;
    }
    let refusal = assert_refused(Code::SourceUnreadable, result);
    assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["src"]);
    assert!(lines.is_empty(), "nothing below it is told as removed: {lines:?}");
}

// Unix alone: words of a command line that are no text.
#[cfg(unix)]
#[test]
fn names_that_are_no_text_can_be_named_on_the_command_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let home = Home::with_vault();
    home.write_source(&[("other", "y")]);
    let odd = OsStr::from_bytes(b"\xff\xfe");
    fs::create_dir(home.source().join(odd)).unwrap();
    fs::write(home.source().join(odd).join(odd), "found\n").unwrap();
    home.backup();
    let run = |arguments: &[&OsStr]| home.program().arg("--vault").arg(home.vault()).args(arguments).output().unwrap();
    let word = |bytes| OsStr::from_bytes(bytes);
    let output = run(&[word(b"cat"), word(b"1:\xff\xfe/\xff\xfe")]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"found\n"[..]));
    let destination = home.path("restored");
    let output = run(&[word(b"restore"), word(b"1:./\xff\xfe/"), destination.as_os_str()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(destination.join(odd)).unwrap(), b"found\n");
    // A directory of such a name, beside what the snapshot holds of it.
    let output = run(&[word(b"diff"), word(b"1:\xff\xfe"), home.source().join(odd).as_os_str()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("0 added, 0 removed, 0 changed") && text.contains("2 the same"), "{text}");
    assert_eq!(run(&[word(b"ls"), word(b"latest:\xff")]).status.code(), Some(2));
}

#[test]
fn what_is_no_file_is_listed_with_its_kind_once() {
    let home = Home::with_vault();
    home.write_source(&[("a", "x")]);
    #[cfg(target_os = "linux")]
    {
        let pipe = home.source().join("p");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    home.backup();
    let text = String::from_utf8(home.run(&["ls", "1"]).stdout).unwrap();
    assert_eq!(text.matches("(fifo)").count(), usize::from(cfg!(target_os = "linux")), "{text}");
}

#[test]
fn every_document_tells_paths_as_text_or_base64() {
    let home = Home::with_snapshot();
    let odd = if cfg!(unix) { 1 } else { 0 };
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        fs::write(home.source().join(std::ffi::OsStr::from_bytes(b"\xff\x1b[2J")), "x").unwrap();
    }
    fs::write(home.source().join("README"), "other\n").unwrap();
    home.backup();
    let (exit, document) = home.json(&["diff", "1", "2"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (0, &"devvault.diff/1".into(), &true.into()));
    let differences = document["differences"].as_array().unwrap();
    assert_eq!(differences.iter().filter(|one| one["path_b64"].is_string() && one["path"].is_null()).count(), odd);
    let readme = differences.iter().find(|one| one["path"] == "README").unwrap();
    assert_eq!((&readme["change"], &readme["differs"]), (&"changed".into(), &serde_json::json!(["content", "mtime"])));
    assert_eq!((&readme["before"]["bytes"], &readme["after"]["bytes"]), (&6.into(), &6.into()));
    for count in ["added", "removed", "changed", "corrupt", "same", "bytes_read", "snapshot"] {
        assert!(document[count].is_u64(), "{count} in {document}");
    }
    let (exit, document) = home.json(&["find", "*"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (0, &"devvault.find/1".into(), &true.into()));
    let matches = document["matches"].as_array().unwrap();
    assert_eq!(matches.iter().filter(|one| one["path_b64"].is_string() && one["path"].is_null()).count(), odd);
    let readme: Vec<&Value> = matches.iter().filter(|one| one["path"] == "README").collect();
    assert_eq!((readme.len(), &readme[1]["differs"]), (2, &serde_json::json!(["content", "mtime"])));
    assert_eq!(document["snapshots"], serde_json::json!([1, 2]));
    // Nothing found is a result too.
    let (exit, document) = home.json(&["find", "nothing-of-that-name"]);
    assert_eq!((exit, &document["matches"], &document["versions"]), (0, &serde_json::json!([]), &0.into()));
    // For a person the same names are escaped.
    for arguments in [&["find", "*"][..], &["diff", "1", "2"]] {
        let output = home.run(arguments);
        assert!(output.status.success() && !output.stdout.contains(&0x1b), "{arguments:?}");
    }
}

#[test]
fn a_document_that_breaks_off_is_one_document_all_the_same() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    for name in 0..400 {
        fs::write(home.source().join(format!("f{name:04}")), "").unwrap();
    }
    home.backup();
    let first = packs(&home.vault());
    fs::remove_dir_all(home.source()).unwrap();
    home.write_source(&[("one", "")]);
    home.backup();
    // All files are empty: the packs hold nothing but lists of files.
    for pack in &first {
        flip(pack, fs::metadata(pack).unwrap().len() as usize / 2);
    }
    for arguments in [&["diff", "1", "2"][..], &["diff", "1", "source"], &["find", "1", "*"], &["ls", "1"]] {
        let (exit, document) = home.json(arguments);
        assert_eq!(exit, 11, "{arguments:?}");
        assert!(document["ok"] == false || !document["findings"].as_array().unwrap().is_empty(), "{arguments:?}");
    }
}

#[test]
fn looking_into_snapshots_writes_nothing_into_the_vault() {
    let home = history();
    unchanged(&home.vault(), || {
        for arguments in [&["find", "*"][..], &["cat", "1:README"], &["diff", "1", "2"], &["diff", "1", "source"]] {
            assert!(home.run(arguments).status.success(), "{arguments:?}");
        }
    });
}

#[test]
fn what_takes_results_may_end_the_search() {
    let home = history();
    let stop = || Error::Interrupted(None);
    let options = find::Options { patterns: vec!["*".into()], ..Default::default() };
    let result = find::run(&home.access(), &[], &options, &Silent, |_| Err(stop()));
    assert!(matches!(result, Err(Error::Interrupted(_))));
    let side = Side::Directory(home.source());
    let place = "1".parse().unwrap();
    let result = diff::run(&home.access(), &place, &side, diff::Options::default(), &Silent, &mut |difference| {
        assert!(matches!(difference.change, Change::Changed | Change::Added | Change::Removed));
        assert!(!difference.aspects.contains(&Aspect::Kind));
        Err(stop())
    });
    assert!(matches!(result, Err(Error::Interrupted(_))));
}

#[test]
fn patterns_and_sizes_that_mean_nothing_are_usage_errors() {
    let home = Home::with_snapshot();
    for wrong in [
        &["find"][..],
        &["find", "[z-a]"],
        &["find", "{a"],
        &["find", "--size", "10KB", "x"],
        &["find", "--kind", "thing", "x"],
        &["find", "--newest", "--changed", "x"],
        &["cat"],
        &["diff", "1"],
        &["diff", "one", "2"],
    ] {
        assert_eq!(home.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert!(home.run(&["find", "--size", "-4K", "*"]).status.success());
    for command in ["find", "cat", "diff"] {
        let output = home.program().args([command, "--help"]).output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 200, "{command}");
    }
    assert!(Path::new(&home.vault()).exists());
}
