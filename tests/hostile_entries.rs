//! Entries that no backup makes, authenticated with the right key: each is restored exactly, or refused in plain words
//! before anything has been written; never a panic, a way out, or memory without bound.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::BASE64;
use devvault::format::entry::{ChunkRef, encode_chunk_list, encode_hole_list};
use devvault::format::holes::Hole;
use devvault::format::pack::Encoding;
use devvault::format::record::Counts;
use devvault::limits;
use devvault::ops::verify::Verdict;
use devvault::refusal::Code;
use devvault::vault::write::reference;

use crate::difficult;
use crate::support::{Forger, Home, assert_refused, fingerprint, is_root, names, noise};

/// A line whose keys ascend, as canonical JSON wants it.
fn line(mut entry: serde_json::Value, path: &str) -> String {
    entry["path"] = path.into();
    let sorted: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_value(entry).unwrap();
    serde_json::to_string(&sorted).unwrap() + "\n"
}

fn directory(path: &str) -> String {
    line(serde_json::json!({"kind": "directory"}), path)
}

fn file() -> serde_json::Value {
    serde_json::json!({"kind": "file", "size": 0})
}

/// Something that an entry says besides.
fn with(mut entry: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

fn xattr(name: &str, value: &[u8]) -> serde_json::Value {
    serde_json::json!({"xattrs": [{"name": name, "value": BASE64.encode(value)}]})
}

/// Publishes a second snapshot of a source with these lines in it.
fn publish(home: &Home, lines: &[String]) {
    let mut counts = Counts { directories: 1, ..Counts::default() };
    for line in lines {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        match entry["kind"].as_str().unwrap() {
            "directory" => counts.directories += 1,
            "symlink" => counts.symlinks += 1,
            "file" => counts.files += 1,
            _ => counts.specials += 1,
        }
        let size = &entry["size"];
        counts.bytes += size.as_u64().or_else(|| size.as_str().map(|text| text.parse().unwrap())).unwrap_or(0);
        counts.hardlinks += u64::from(entry.get("hardlink").is_some());
    }
    let text = [&directory("")[..], &lines.concat()].concat();
    Forger::new(home).publish(2, &[("", lines.len() as u64 + 1, text.into_bytes())], counts);
}

/// Restores the forged snapshot; whatever comes of it, nothing but the destination has changed.
fn restore(lines: &[String]) -> (Home, devvault::error::Result<devvault::ops::restore::Report>) {
    let home = Home::with_snapshot();
    publish(&home, lines);
    let around = names(&home.path(""));
    let before = (fingerprint(&home.vault()), fingerprint(&home.source()));
    let result = home.restore("2", "restored");
    assert_eq!((fingerprint(&home.vault()), fingerprint(&home.source())), before);
    if result.is_err() {
        assert_eq!(names(&home.path("")), around, "nothing was written: {result:?}");
    }
    (home, result)
}

#[test]
fn listings_that_lead_elsewhere_are_refused() {
    let linked = |more: serde_json::Value| with(serde_json::json!({"kind": "file", "size": 0, "links": 2}), more);
    let link = |target: &str| serde_json::json!({"kind": "symlink", "target": target});
    let to = |first: &str| serde_json::json!({"hardlink": first});
    let none = || serde_json::json!({});
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("dot", vec![line(file(), ".")]),
        ("dots", vec![line(file(), "..")]),
        ("dots below", vec![directory("a"), line(file(), "a/..")]),
        ("dots between", vec![directory("a"), line(file(), "a/../b")]),
        ("an empty name", vec![directory("a"), line(file(), "a//b")]),
        ("a slash at the end", vec![line(file(), "a/")]),
        ("a dot in front", vec![line(file(), "./a")]),
        ("below a link", vec![line(link("/"), "a"), line(file(), "a/b")]),
        ("a further name of nothing", vec![line(linked(to("a")), "b")]),
        ("a further name of what comes later", vec![line(linked(to("c")), "b"), line(linked(none()), "c")]),
        ("a further name of itself", vec![line(linked(to("b")), "b")]),
        ("a further name of what has one name", vec![line(file(), "a"), line(linked(to("a")), "b")]),
        (
            "a further name of a further name",
            vec![line(linked(none()), "a"), line(linked(to("a")), "b"), line(linked(to("b")), "c")],
        ),
        ("a further name of a directory", vec![directory("a"), line(linked(to("a")), "b")]),
        (
            "a further name of another kind",
            vec![line(with(link("x"), serde_json::json!({"links": 2})), "a"), line(linked(to("a")), "b")],
        ),
        (
            "a further name with another mode",
            vec![
                line(linked(serde_json::json!({"mode": 384})), "a"),
                line(linked(serde_json::json!({"mode": 2541, "hardlink": "a"})), "b"),
            ],
        ),
        ("a further name that leads out", vec![line(linked(to("../../a")), "b")]),
        ("a target with NUL", vec![line(link("a\0b"), "a")]),
        ("a target without bytes", vec![line(link(""), "a")]),
        ("a target that is too long", vec![line(link(&"x".repeat(65_537)), "a")]),
        ("an owner with NUL", vec![line(with(file(), serde_json::json!({"uid": 0, "gid": 0, "user": "a\0"})), "a")]),
    ];
    for (what, lines) in cases {
        let (home, result) = restore(&lines);
        println!("{what}");
        assert_refused(Code::ListingUnsafe, result);
        let report = home.verify(&["2"]).unwrap();
        assert_eq!(report.snapshots, [(2, Verdict::Invalid)]);
        assert!(report.findings.iter().any(|finding| finding.code == Code::ListingUnsafe), "{:?}", report.findings);
    }
}

#[test]
fn what_linux_cannot_hold_is_refused_before_the_first_byte() {
    let link = |target: &str| serde_json::json!({"kind": "symlink", "target": target});
    let fifo = || serde_json::json!({"kind": "fifo"});
    let device = |major: u32, minor: u32| serde_json::json!({"kind": "character", "device": [major, minor]});
    let hole = |size: u64| {
        let text = serde_json::Value::from(size.to_string());
        serde_json::json!({"kind": "file", "holes": [[0, text.clone()]], "size": text})
    };
    let time = |seconds: i64| serde_json::json!({"mtime": [seconds.to_string(), 999_999_999]});
    let owner = |uid: u32, gid: u32| serde_json::json!({"uid": uid, "gid": gid});
    // Everybody may read and write by the list; by the mode nobody but the owner.
    let open: Vec<u8> = [(1u16, 7u16), (4, 7), (16, 7), (32, 7)]
        .iter()
        .flat_map(|(tag, bits)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &u32::MAX.to_le_bytes()].concat())
        .collect();
    let open = [&2u32.to_le_bytes()[..], &open].concat();
    let cases: Vec<(&str, serde_json::Value)> = vec![
        ("an attribute of no name space", with(file(), xattr("note", b"x"))),
        ("an attribute of an unknown one", with(file(), xattr("system.nonsense", b"x"))),
        ("an attribute with a long name", with(file(), xattr(&format!("user.{}", "n".repeat(900)), b"x"))),
        ("an access list of nonsense", with(file(), xattr("system.posix_acl_access", b"nonsense"))),
        ("a default list on a file", with(file(), xattr("system.posix_acl_default", &open))),
        (
            "a list that says other than the mode",
            with(with(file(), xattr("system.posix_acl_access", &open)), serde_json::json!({"mode": 384})),
        ),
        ("a capability of nonsense", with(with(file(), xattr("security.capability", b"x")), owner(0, 0))),
        ("an attribute of users on a link", with(link("x"), xattr("user.note", b"x"))),
        ("an attribute of users on a pipe", with(fifo(), xattr("user.note", b"x"))),
        ("flags of another system", with(file(), serde_json::json!({"flags": 2}))),
        ("attributes of another system", with(file(), serde_json::json!({"attributes": 1}))),
        ("streams", with(file(), serde_json::json!({"streams": [{"name": "../../x", "value": BASE64.encode(b"x")}]}))),
        ("a junction", serde_json::json!({"kind": "junction", "target": "C:\\Windows"})),
        ("a target longer than a path", link(&"x".repeat(5000))),
        ("a device whose numbers are cut", device(u32::MAX, u32::MAX)),
        ("the last instant", with(file(), time(i64::MAX))),
        ("the first instant", with(file(), time(i64::MIN))),
        ("the last instant of a link", with(link("x"), time(i64::MAX))),
    ];
    for (what, entry) in cases {
        let (home, result) = restore(&[line(entry, "a")]);
        println!("{what}");
        let refusal = assert_refused(Code::TargetCannotRepresent, result);
        assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a"], "{what}");
        // It is authentic, and what it holds is there.
        assert_eq!(home.verify(&["2"]).unwrap().snapshots, [(2, Verdict::Valid)], "{what}");
    }
    // No file system of Linux gives a file more; some give it that, and then holes are all it takes.
    let (home, result) = restore(&[line(hole((1 << 62) - 1), "a")]);
    match result {
        Ok(_) => assert_eq!(fs::metadata(home.path("restored/a")).unwrap().len(), (1 << 62) - 1),
        Err(error) => assert_eq!(error.code(), Some(Code::TargetCannotRepresent), "{error}"),
    }
    // A manifest does not count more bytes than that.
    for size in [1 << 63, u64::MAX] {
        assert_refused(Code::RecordDamaged, restore(&[line(hole(size), "a")]).1);
    }
    if is_root() {
        for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            let (_home, result) = restore(&[line(with(file(), owner(uid, gid)), "a")]);
            assert_refused(Code::TargetCannotRepresent, result);
        }
    }
}

#[test]
fn what_is_odd_and_possible_comes_back_exactly() {
    let link = |target: &str| serde_json::json!({"kind": "symlink", "target": target});
    let owned = |user: &str| serde_json::json!({"uid": 0, "gid": 0, "user": user, "group": "x:y,z\n"});
    let lines = [
        line(with(file(), owned("\u{1b}[2J\u{7}root\nroot::0:0")), "control"),
        line(with(file(), serde_json::json!({"links": u64::MAX.to_string()})), "many-names"),
        line(link("../../../../../../etc/passwd"), "out"),
        line(link(&"x".repeat(4000)), "long"),
        line(serde_json::json!({"kind": "file", "holes": [[0, 1u64 << 40]], "size": 1u64 << 40}), "sparse"),
        line(with(file(), serde_json::json!({"mode": 0})), "zero"),
    ];
    let mut lines = lines.to_vec();
    lines.sort_by_key(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].to_string());
    let (home, result) = restore(&lines);
    let report = result.unwrap();
    assert_eq!(report.counts.bytes, 1 << 40);
    let sparse = fs::metadata(home.path("restored/sparse")).unwrap();
    assert!(sparse.len() == 1 << 40 && sparse.blocks() < 1 << 10);
    assert_eq!(fs::read_link(home.path("restored/out")).unwrap().to_str(), Some("../../../../../../etc/passwd"));
    assert_eq!(fs::metadata(home.path("restored/zero")).unwrap().mode() & 0o7777, 0);
    // Names of owners reach a terminal escaped.
    for arguments in [&["ls", "2"][..], &["diff", "1", "2"], &["find", "2", "*"]] {
        let output = home.run(arguments);
        assert!(output.status.success() && !output.stdout.contains(&0x1b), "{arguments:?}");
    }
}

#[test]
fn what_only_the_superuser_may_make_is_refused_to_others_or_said() {
    let device = serde_json::json!({"kind": "block", "device": [8, 0]});
    let set_id = serde_json::json!({"kind": "file", "size": 0, "mode": 0o6755, "uid": 0, "gid": 0});
    for (entry, expected) in [
        (device, Err("DV204")),
        (with(file(), xattr("security.note", b"x")), Err("DV204")),
        (with(file(), xattr("trusted.note", b"x")), Err("DV204")),
        (set_id, Ok("set-id")),
    ] {
        let home = Home::with_snapshot();
        publish(&home, &[line(entry, "a")]);
        let Some((exit, document)) = home.json_as_user(&["restore", "2", home.path("restored").to_str().unwrap()])
        else {
            return;
        };
        match expected {
            Err(code) => assert_eq!((exit, document["code"].as_str()), (12, Some(code)), "{document}"),
            Ok(class) => {
                assert_eq!(exit, 0, "{document}");
                let said = document["not_restored"].as_array().unwrap();
                assert!(said.iter().any(|one| one["class"] == class), "{document}");
                assert_eq!(fs::metadata(home.path("restored/a")).unwrap().mode() & 0o7777, 0o755);
            }
        }
    }
}

/// A vault whose second snapshot has one file: its chunk lists and its hole lists are these.
fn listed(home: &Home, chunks: &[(Vec<ChunkRef>, usize)], holes: &[Vec<Hole>], size: u64, content: &[u8]) {
    let forger = Forger::new(home);
    let named = |bytes: &[u8], sum: u64| {
        forger.pack(&[bytes]);
        let object = reference(bytes);
        serde_json::json!([object.id().to_string(), object.length(), sum])
    };
    forger.pack(&[content]);
    let mut lists = Vec::new();
    for (chunks, times) in chunks {
        let sum = chunks.iter().map(|chunk| u64::from(chunk.length())).sum();
        let list = named(&encode_chunk_list(chunks), sum);
        lists.extend(std::iter::repeat_n(list, *times));
    }
    let hole_lists: Vec<_> =
        holes.iter().map(|holes| named(&encode_hole_list(holes), holes.iter().map(|hole| hole.1).sum())).collect();
    let mut entry = serde_json::json!({"kind": "file", "lists": lists, "size": size});
    if !hole_lists.is_empty() {
        entry["hole_lists"] = hole_lists.into();
    }
    publish(home, &[line(entry, "a")]);
}

#[test]
fn lists_of_holes_that_contradict_their_file_are_refused_everywhere() {
    let content = noise(100, 1);
    let chunk = reference(&content);
    let data = |length: u64| vec![(vec![chunk; (length / 100) as usize], 1)];
    let cases: Vec<(&str, Vec<Vec<Hole>>, u64)> = vec![
        ("that overlap across lists", vec![vec![Hole(0, 50)], vec![Hole(40, 50)]], 200),
        ("that touch across lists", vec![vec![Hole(0, 50)], vec![Hole(50, 50)]], 200),
        ("that descend across lists", vec![vec![Hole(150, 50)], vec![Hole(0, 50)]], 200),
        ("the same list twice", vec![vec![Hole(0, 50)], vec![Hole(0, 50)]], 200),
        ("beyond the file", vec![vec![Hole(0, 50)], vec![Hole(160, 50)]], 200),
    ];
    for (what, holes, size) in cases {
        let home = Home::with_snapshot();
        listed(&home, &data(100), &holes, size, &content);
        println!("{what}");
        assert_refused(Code::ListingUnsafe, home.restore("2", "restored"));
        assert_eq!(home.verify(&["2"]).unwrap().snapshots, [(2, Verdict::Invalid)]);
        for arguments in [&["cat", "2:a"][..], &["--json", "restore", "2", "other"]] {
            assert_eq!(home.run(arguments).status.code(), Some(11), "{what}: {arguments:?}");
        }
    }
    // The same holes where they belong.
    let home = Home::with_snapshot();
    listed(&home, &data(100), &[vec![Hole(0, 50)], vec![Hole(60, 50)]], 200, &content);
    assert_eq!(home.verify(&["2"]).unwrap().verdict, Verdict::Valid);
    home.restore("2", "restored").unwrap();
    let expected = [&[0; 50][..], &content[..10], &[0; 50], &content[10..]].concat();
    assert_eq!(fs::read(home.path("restored/a")).unwrap(), expected);
    assert_eq!(home.run(&["cat", "2:a"]).stdout, expected);
    let output = home.run(&["diff", "2", "restored"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("content"), "{output:?}");
}

#[test]
fn a_list_of_holes_that_is_damaged_or_missing_is_told_by_every_command() {
    let content = noise(100, 2);
    for missing in [false, true] {
        let home = Home::with_snapshot();
        listed(&home, &[(vec![reference(&content)], 1)], &[vec![Hole(0, 50)]], 150, &content);
        let list = encode_hole_list(&[Hole(0, 50)]);
        let pack = crate::support::packs(&home.vault()).into_iter().find(|pack| {
            let bytes = fs::read(pack).unwrap();
            bytes.windows(list.len()).any(|window| window == list)
        });
        let pack = pack.unwrap();
        if missing {
            fs::remove_file(&pack).unwrap();
        } else {
            let at = fs::read(&pack).unwrap().windows(list.len()).position(|window| window == list).unwrap();
            crate::support::flip(&pack, at);
        }
        let code = if missing { Code::ListingMissing } else { Code::ListingDamaged };
        assert_refused(code, home.restore("2", "restored"));
        assert_eq!(home.verify(&["2"]).unwrap().snapshots, [(2, Verdict::Invalid)]);
        assert_eq!(home.run(&["cat", "2:a"]).status.code(), Some(11));
        let (exit, document) = home.json(&["salvage", "2", "salvaged"]);
        assert_eq!((exit, &document["damaged"]), (11, &1.into()), "{document}");
    }
}

/// Runs a program and returns what came of it, and how many KiB of memory it had at most.
fn peak(command: &mut Command) -> (Output, u64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut out = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()).unwrap());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = found.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        most = most.max(found);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    reading.join().unwrap();
    assert!(most > 0, "{status} was never read");
    (child.wait_with_output().unwrap(), most)
}

/// A short entry that stands for millions of chunks: what reads it holds a list of them at a time.
#[test]
fn memory_does_not_grow_with_what_a_file_lists() {
    if let Some(emulator) = crate::support::emulator() {
        return crate::support::skip(&format!("the memory that is counted is that of `{emulator}`"));
    }
    let home = Home::with_snapshot();
    let content = noise(4, 3);
    let chunks = vec![reference(&content); limits::LIST_CHUNKS_MAX];
    let times = 64;
    let size = 4 * (limits::LIST_CHUNKS_MAX * times) as u64;
    listed(&home, &[(chunks, times)], &[], size, &content);
    let run = |arguments: &[&str]| {
        let (output, most) = peak(home.program().arg("--vault").arg(home.vault()).args(arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        println!("{arguments:?}: {most} KiB");
        assert!(most < 120 << 10, "{arguments:?} took {most} KiB");
    };
    run(&["restore", "2", "restored"]);
    let restored = fs::read(home.path("restored/a")).unwrap();
    assert!(restored.len() as u64 == size && restored.chunks(4).all(|chunk| chunk == content));
    run(&["diff", "2", "restored"]);
}

/// A few kilobytes that stand for half a gigabyte, whether or not they say so themselves.
#[test]
fn memory_does_not_grow_with_what_a_block_decodes_to() {
    const PLAIN: u64 = 512 << 20;
    if let Some(emulator) = crate::support::emulator() {
        return crate::support::skip(&format!("the memory that is counted is that of `{emulator}`"));
    }
    for says_so in [false, true] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.set_pledged_src_size(says_so.then_some(PLAIN)).unwrap();
        std::io::copy(&mut std::io::repeat(7).take(PLAIN), &mut encoder).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 1 << 20);
        let home = Home::with_snapshot();
        let content = [7; 1000];
        Forger::new(&home).pack_of(&[&content], &bomb, Encoding::Zstd, content.len());
        let chunk = reference(&content);
        let chunks = serde_json::json!([[chunk.id().to_string(), chunk.length()]]);
        publish(&home, &[line(serde_json::json!({"kind": "file", "chunks": chunks, "size": 1000}), "a")]);
        for arguments in
            [&["restore", "2", "restored"][..], &["verify"], &["cat", "2:a"], &["salvage", "2", "salvaged"]]
        {
            let (output, most) = peak(home.program().arg("--vault").arg(home.vault()).args(arguments));
            println!("{arguments:?}: {most} KiB");
            assert_eq!(output.status.code(), Some(11), "{arguments:?}: {output:?}");
            assert!(most < 64 << 10, "{arguments:?} took {most} KiB");
        }
        assert!(!home.path("restored").exists());
    }
}

/// What another process plants where something is about to be made, or in place of what was made, is never written to.
/// Ends what runs beside a test, also where the test fails: whoever waits for it would wait for ever.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_written_through_what_another_process_plants() {
    let home = Home::with_vault();
    fs::create_dir_all(home.source().join("dir")).unwrap();
    // Long enough to be written in many pieces, each of which opens it again.
    fs::write(home.source().join("big"), noise(400_000, 4)).unwrap();
    fs::write(home.source().join("dir/large"), noise(400_000, 5)).unwrap();
    for number in 0..200 {
        fs::write(home.source().join(format!("dir/f{number:03}")), noise(10, number)).unwrap();
    }
    home.backup();
    let outside = home.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "not yours").unwrap();
    let before = fingerprint(&outside);
    let (stop, planted) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    std::thread::scope(|scope| {
        for mode in 0..3 {
            let (home, outside, stop, planted) = (&home, &outside, &stop, &planted);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let staging = names(&home.path("")).into_iter().find(|name| name.contains("devvault-restoring"));
                    std::thread::sleep(std::time::Duration::from_micros(100));
                    let Some(staging) = staging.map(|name| home.path(&name)) else { continue };
                    let place = staging.join(["big", "dir/large", "dir/f150"][mode]);
                    let done = match mode {
                        // In place of what was made: another file under its name.
                        0 if place.exists() => {
                            fs::remove_file(&place).is_ok() && fs::hard_link(outside.join("victim"), &place).is_ok()
                        }
                        1 if place.exists() => {
                            fs::remove_file(&place).is_ok()
                                && std::os::unix::fs::symlink(outside.join("victim"), &place).is_ok()
                        }
                        // Before it is made.
                        2 => std::os::unix::fs::symlink(outside.join("new"), &place).is_ok(),
                        _ => false,
                    };
                    planted.fetch_add(u64::from(done), Ordering::Relaxed);
                }
            });
        }
        let _stopped = Stopping(&stop);
        let mut refused = 0;
        for attempt in 0..40 {
            let to = format!("restored-{attempt}");
            match home.restore("1", &to) {
                Ok(_) => {}
                Err(error) => {
                    refused += 1;
                    assert!(!home.path(&to).exists(), "{error}");
                }
            }
            assert_eq!(fingerprint(&outside), before, "attempt {attempt}");
            difficult::remove(&home.path(&to));
            for name in names(&home.path("")).iter().filter(|name| name.contains("devvault-restoring")) {
                let _ = fs::remove_dir_all(home.path(name));
            }
            if refused >= 5 && planted.load(Ordering::Relaxed) >= 10 {
                break;
            }
        }
        assert!(refused > 0 && planted.load(Ordering::Relaxed) > 0, "nothing was planted: the test proves nothing");
    });
}
