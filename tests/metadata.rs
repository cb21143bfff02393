//! Metadata: everything that a source had comes back, or is said, or refuses before the first byte.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use devvault::format::entry::Owner;
use devvault::ops::restore::{self, Class};
use devvault::ops::verify::Verdict;
use devvault::progress::Silent;
use devvault::refusal::Code;

use crate::difficult::{self, Powers, assert_equal, generate, picture};
use crate::support::{Forger, Home, assert_refused, emulator, is_root, skip};

fn restore_without(home: &Home, classes: &[Class], destination: &str) -> devvault::error::Result<restore::Report> {
    let options = restore::Options { without: classes.to_vec(), ..restore::Options::default() };
    restore::run(&home.access(), &"latest".parse().unwrap(), &home.path(destination), &options, &Silent)
}

fn said(shortfalls: &[restore::Shortfall]) -> Vec<(&str, u64)> {
    shortfalls.iter().map(|shortfall| (shortfall.class, shortfall.count)).collect()
}

#[test]
fn a_difficult_tree_comes_back_exactly() {
    let home = Home::with_vault();
    generate(&home.source(), Powers::all());
    let meant = picture(&home.source());
    let taken = home.backup();
    assert_eq!(taken.counts.entries(), meant.len() as u64);
    assert!(taken.counts.specials > 3 && taken.counts.hardlinks == 6, "{:?}", taken.counts);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    let report = home.restore("1", "restored").unwrap();
    assert_eq!((report.counts, said(&report.not_restored), said(&report.coarser)), (taken.counts, vec![], vec![]));
    assert_equal(&picture(&home.path("restored")), &meant);
    let others = difficult::differences_by_others(&home.source(), &home.path("restored"));
    assert!(others.as_ref().is_none_or(String::is_empty), "{others:?}");
    // And again from what was restored, whose numbers are all other ones.
    let again = devvault::ops::backup::run(&home.access(), &home.path("restored"), &Default::default(), &Silent);
    assert_eq!(again.unwrap().counts, taken.counts);
    home.restore("2", "restored-again").unwrap();
    assert_equal(&picture(&home.path("restored-again")), &meant);
    for tree in ["source", "restored", "restored-again"] {
        difficult::remove(&home.path(tree));
    }
}

#[test]
fn programs_of_others_tell_a_tree_that_differs() {
    let home = Home::new();
    let (one, other) = (home.path("one"), home.path("other"));
    generate(&one, Powers::all());
    generate(&other, Powers::all());
    let Some(all) = difficult::differences_by_others(&one, &other) else { return };
    // Those times that the generator does not set are of two moments.
    assert!(!all.contains("times/1912") && all.contains("times/directory/inside"), "{all}");
    difficult::remove(&other.join("times"));
    let all = difficult::differences_by_others(&one, &other).unwrap();
    assert!(all.contains("times/1912") && all.contains("below deep"), "{all}");
    for tree in [one, other] {
        difficult::remove(&tree);
    }
}

/// A path a level would be 400 MB at this depth, in every place that keeps one.
// Linux alone: its limits of memory and of open files.
#[cfg(target_os = "linux")]
#[test]
fn a_tree_of_20_000_levels_takes_little_memory_and_few_descriptors() {
    if let Some(emulator) = emulator() {
        return skip(&format!("the memory that is bounded is that of `{emulator}`"));
    }
    let home = Home::with_vault();
    difficult::levels(&home.source(), 20_000);
    let (source, restored) = (home.source(), home.path("restored"));
    let mut failed = Vec::new();
    let [source, restored] = [&source, &restored].map(|path| path.to_str().unwrap());
    for arguments in
        [&["backup", source][..], &["restore", "1", restored, "--include", "at the bottom"], &["diff", "1", restored]]
    {
        let output = home.limited("ulimit -d 250000 && ulimit -n 400", arguments);
        if !output.status.success() {
            failed.push(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// A path a level would be 72 MB at this depth, in every place that keeps one.
// Linux alone: its limits of memory and of open files.
#[cfg(target_os = "linux")]
#[test]
fn a_salvage_of_12_000_levels_takes_little_memory_and_few_descriptors() {
    if let Some(emulator) = emulator() {
        return skip(&format!("the memory that is bounded is that of `{emulator}`"));
    }
    let home = Home::with_vault();
    difficult::levels(&home.source(), 12_000);
    home.backup();
    let salvaged = home.path("salvaged");
    let output = home.limited("ulimit -d 90000 && ulimit -n 200", &["salvage", "1", salvaged.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = std::io::BufReader::new(fs::File::open(salvaged.join("salvage.jsonl")).unwrap());
    let last = std::io::BufRead::lines(list).map(Result::unwrap).last().unwrap();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["summary"]["verified"], &last["summary"]["differing"]), (&12_002.into(), &0.into()));
}

/// A first name in each of many directories that come first, and further names in many that come later.
// Linux alone: its limit of open files.
#[cfg(target_os = "linux")]
#[test]
fn hard_links_over_many_directories_are_backed_up_with_few_descriptors() {
    let home = Home::with_vault();
    let source = home.source();
    fs::create_dir_all(&source).unwrap();
    for directory in 0..1_500 {
        let directory = source.join(format!("d{directory:04}"));
        fs::create_dir(&directory).unwrap();
        // A file to read, so that further names wait for it.
        if directory.ends_with("d0000") {
            fs::write(directory.join("a"), crate::support::noise(8 << 20, 7)).unwrap();
            fs::write(directory.join("first"), "x").unwrap();
        } else {
            fs::hard_link(source.join("d0000/first"), directory.join("further")).unwrap();
        }
    }
    let output = home.limited("ulimit -n 400", &["backup", source.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(home.restore("1", "restored").unwrap().counts.files, 1_501);
}

#[test]
fn a_difficult_tree_of_a_normal_user_comes_back_exactly() {
    let home = Home::with_vault();
    generate(&home.source(), Powers { root: false, ..Powers::all() });
    let source = home.source();
    let Some((status, document)) = home.json_as_user(&["backup", source.to_str().unwrap()]) else { return };
    assert_eq!(status, 0, "{document}");
    // The tree has become that user's.
    let meant = picture(&source);
    let destination = home.path("restored");
    let Some((status, document)) = home.json_as_user(&["restore", "1", destination.to_str().unwrap()]) else { return };
    assert_eq!((status, &document["not_restored"]), (0, &serde_json::json!([])), "{document}");
    assert_equal(&picture(&destination), &meant);
    let others = difficult::differences_by_others(&source, &destination);
    assert!(others.as_ref().is_none_or(String::is_empty), "{others:?}");
    for tree in [source, destination] {
        difficult::remove(&tree);
    }
}

#[test]
fn what_a_normal_user_cannot_give_is_said() {
    if !is_root() {
        skip("only the superuser makes files of other owners");
        return;
    }
    let home = Home::with_vault();
    home.write_source(&[("own", "x"), ("foreign", "x"), ("tool", "x")]);
    home.backup();
    let (number, _) = Forger::new(&home).relist(|entry| {
        let owner = entry.owner.as_mut().unwrap();
        (owner.uid, owner.gid, owner.user, owner.group) = (65_534, 65_534, None, None);
        match &entry.path.to_string()[..] {
            "foreign" => owner.uid = 1,
            "tool" => (owner.gid, entry.mode) = (1, Some(0o6755)),
            _ => {}
        }
    });
    let (number, destination) = (number.to_string(), home.path("restored"));
    let arguments = ["restore", &number, destination.to_str().unwrap()];
    let Some((status, document)) = home.json_as_user(&arguments) else { return };
    assert_eq!(status, 0, "{document}");
    let said =
        |at: usize| (document["not_restored"][at]["class"].clone(), document["not_restored"][at]["count"].clone());
    assert_eq!(said(0), ("owner".into(), 2.into()), "{document}");
    assert_eq!(said(1), ("set-id".into(), 1.into()), "{document}");
    assert_eq!(fs::metadata(destination.join("tool")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn set_id_bits_come_back_with_their_owner_and_not_without() {
    let home = Home::with_vault();
    home.write_source(&[("setuid", "x"), ("setgid", "x"), ("shared/", ""), ("plain", "x")]);
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2711), ("shared", 0o2770), ("plain", 0o755)] {
        fs::set_permissions(home.source().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    home.backup();
    let modes = |tree: &str| {
        ["setuid", "setgid", "shared", "plain"]
            .map(|name| fs::metadata(home.path(tree).join(name)).unwrap().mode() & 0o7777)
    };
    home.restore("1", "restored").unwrap();
    assert_eq!(modes("restored"), [0o4755, 0o2711, 0o2770, 0o755]);
    let report = restore_without(&home, &[Class::Owner], "ownerless").unwrap();
    assert_eq!(modes("ownerless"), [0o755, 0o711, 0o770, 0o755]);
    assert_eq!(said(&report.not_restored), [("owner", 5), ("set-id", 3)]);
    let again = home.path("again");
    let arguments = ["restore", "1", again.to_str().unwrap(), "--without", "owner"];
    let text = String::from_utf8(home.run(&arguments).stdout).unwrap();
    assert!(text.contains("not restored: set-id of 3 object(s)"), "{text}");
}

#[test]
fn capabilities_come_back_with_their_owner_and_not_without() {
    let home = Home::with_vault();
    home.write_source(&[("tool", "x")]);
    let set = std::process::Command::new("setcap").arg("cap_net_raw=ep").arg(home.source().join("tool")).status();
    if !set.is_ok_and(|status| status.success()) {
        skip("capabilities cannot be set here");
        return;
    }
    home.backup();
    let has = |tree: &str| {
        let output = std::process::Command::new("getcap").arg(home.path(tree).join("tool")).output().unwrap();
        !output.stdout.is_empty()
    };
    home.restore("1", "restored").unwrap();
    assert!(has("restored"));
    let report = restore_without(&home, &[Class::Owner], "ownerless").unwrap();
    assert!(!has("ownerless"));
    assert_eq!(said(&report.not_restored), [("owner", 2), ("capability", 1)]);
}

// Linux alone: its access lists.
#[cfg(target_os = "linux")]
#[test]
fn an_access_list_that_was_tried_does_not_stand_in_the_way_of_what_is_tried_next() {
    let home = Home::with_vault();
    home.write_source(&[("a/", ""), ("b/", "")]);
    let run = |program: &str, arguments: &[&str], path: &str| {
        let status = std::process::Command::new(program).args(arguments).arg(home.source().join(path)).status();
        status.is_ok_and(|status| status.success())
    };
    if !run("setfacl", &["-m", "u::r-x,u:1000:rwx"], "a") || !run("setfattr", &["-n", "user.x", "-v", "1"], "b") {
        skip("access lists or attributes cannot be set here");
        return;
    }
    home.backup();
    home.restore("1", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn owners_are_given_by_name_where_the_name_is_known_here() {
    if !is_root() {
        skip("only the superuser gives files away");
        return;
    }
    let home = Home::with_vault();
    home.write_source(&[("known", "x"), ("unknown", "x")]);
    home.backup();
    let (number, _) = Forger::new(&home).relist(|entry| {
        let user = if entry.path.to_string() == "unknown" { "nobody-knows" } else { "daemon" };
        let (user, group) = (Some(user.to_owned()), Some(user.to_owned()));
        entry.owner = Some(Owner { uid: 4_242, gid: 2_424, user, group });
    });
    let owner = |path: &str| fs::metadata(home.path(path)).map(|found| (found.uid(), found.gid())).unwrap();
    home.restore(&number.to_string(), "named").unwrap();
    assert_eq!((owner("named/known"), owner("named/unknown")), ((1, 1), (4_242, 2_424)));
    let options = restore::Options { numeric_owner: true, ..restore::Options::default() };
    restore::run(&home.access(), &number.to_string().parse().unwrap(), &home.path("numbered"), &options, &Silent)
        .unwrap();
    assert_eq!((owner("numbered/known"), owner("numbered/unknown")), ((4_242, 2_424), (4_242, 2_424)));
}

#[test]
fn pipes_and_sockets_come_back_as_such() {
    let home = Home::with_snapshot();
    assert!(std::process::Command::new("mkfifo").arg(home.source().join("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(home.source().join("socket")).unwrap();
    let report = home.backup();
    assert_eq!(report.counts.specials, 2);
    home.restore("2", "restored").unwrap();
    assert!(fs::metadata(home.path("restored/pipe")).unwrap().file_type().is_fifo());
    assert!(fs::metadata(home.path("restored/socket")).unwrap().file_type().is_socket());
    let report = restore_without(&home, &[Class::Special], "plain").unwrap();
    assert_eq!((said(&report.not_restored), report.counts.specials), (vec![("special", 2)], 0));
    assert!(!home.path("plain/pipe").exists() && home.path("plain/README").exists());
}

#[test]
fn any_name_of_an_object_restores_alone_and_with_the_others_as_one() {
    let home = Home::with_vault();
    home.write_source(&[("a/first", "content"), ("b/", ""), ("c/", "")]);
    for name in ["b/second", "c/third", "c/fourth"] {
        fs::hard_link(home.source().join("a/first"), home.source().join(name)).unwrap();
    }
    let report = home.backup();
    assert_eq!((report.counts.files, report.counts.hardlinks), (4, 3));
    // The second time nothing is read, and nothing is lost.
    assert_eq!(home.backup().files_unchanged, 4);
    let inode = |path: &str| fs::metadata(home.path(path)).map(|found| (found.ino(), found.nlink())).unwrap();
    home.restore("2", "all").unwrap();
    assert_eq!(inode("all/a/first"), inode("all/c/fourth"));
    assert_eq!(inode("all/b/second").1, 4);
    home.restore("2:b/second", "one").unwrap();
    assert_eq!((fs::read("one/second").ok(), inode("one/second").1), (None, 1));
    assert_eq!(fs::read(home.path("one/second")).unwrap(), b"content");
    home.restore("2:c", "part").unwrap();
    assert_eq!((inode("part/third"), inode("part/third").1), (inode("part/fourth"), 2));
    let report = restore_without(&home, &[Class::Hardlink], "apart").unwrap();
    assert_eq!(said(&report.not_restored), [("hardlink", 3)]);
    assert_eq!(inode("apart/c/fourth").1, 1);
    assert_eq!(fs::read(home.path("apart/c/fourth")).unwrap(), b"content");
}

#[test]
fn names_of_one_object_that_disagree_are_refused() {
    let home = Home::with_vault();
    home.write_source(&[("a", "content")]);
    fs::hard_link(home.source().join("a"), home.source().join("b")).unwrap();
    home.backup();
    let forger = Forger::new(&home);
    let (number, _) = forger.relist(|entry| {
        if entry.hardlink.is_some() {
            entry.mode = Some(0o777);
        }
    });
    let report = home.verify(&[&number.to_string()]).unwrap();
    assert_eq!(report.verdict, Verdict::Invalid);
    assert!(report.findings.iter().any(|finding| finding.code == Code::ListingUnsafe), "{:?}", report.findings);
    assert_refused(Code::ListingUnsafe, home.restore(&number.to_string(), "restored"));
    let (number, _) = forger.relist(|entry| {
        entry.mode = Some(0o644);
        if entry.path.to_string() == "a" {
            entry.links = None;
        }
    });
    assert_refused(Code::ListingUnsafe, home.restore(&number.to_string(), "restored"));
    assert_eq!(home.verify(&[&number.to_string()]).unwrap().verdict, Verdict::Invalid);
}

#[test]
fn holes_stay_holes_unless_they_are_given_up() {
    let home = Home::with_vault();
    home.write_source(&[("dense", "x")]);
    let sparse = fs::File::create(home.source().join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 32 << 20).unwrap();
    sparse.sync_all().unwrap();
    let blocks = |path: &str| fs::metadata(home.path(path)).map(|found| (found.len(), found.blocks())).unwrap();
    if blocks("source/sparse").1 > 1 << 10 {
        skip("no holes on this file system");
        return;
    }
    let report = home.backup();
    assert!(report.bytes_stored < 100_000, "{}", report.bytes_stored);
    assert_eq!(report.counts.bytes, (64 << 20) + 1);
    home.restore("1", "restored").unwrap();
    assert_eq!(blocks("restored/sparse").0, 64 << 20);
    assert!(blocks("restored/sparse").1 < 1 << 10, "{:?}", blocks("restored/sparse"));
    assert_eq!(fs::read(home.path("restored/sparse")).unwrap(), fs::read(home.source().join("sparse")).unwrap());
}

#[test]
fn one_piece_behind_a_hole_and_chunks_that_go_on_behind_one_come_back() {
    use std::os::unix::fs::FileExt;
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    let write = |name: &str, size: u64, pieces: &[(u64, usize)]| {
        let file = fs::File::create(home.source().join(name)).unwrap();
        file.set_len(size).unwrap();
        for &(offset, length) in pieces {
            file.write_all_at(&crate::support::noise(length, offset), offset).unwrap();
        }
        file.sync_all().unwrap();
    };
    // So few bytes that they are one chunk; so many that chunks end in the midst of what lies between two holes.
    write("one", (1 << 20) + 100, &[(1 << 20, 100)]);
    write("many", 3 << 20, &[(0, 20_480), (1 << 20, 20_480), (2 << 20, 20_480)]);
    if fs::metadata(home.source().join("one")).unwrap().blocks() > 1 << 10 {
        skip("no holes on this file system");
        return;
    }
    let report = home.backup();
    assert!(report.bytes_stored < 100_000, "{}", report.bytes_stored);
    home.restore("1", "restored").unwrap();
    for name in ["one", "many"] {
        let read = |place: &str| fs::read(home.path(place).join(name)).unwrap();
        assert!(read("restored") == read("source"), "{name}");
    }
}

/// A file of 4,096 bytes of data, 4,096 of hole, and so on.
fn write_comb(path: &std::path::Path, teeth: u64) {
    let file = fs::File::create(path).unwrap();
    file.set_len(8192 * teeth).unwrap();
    for tooth in 0..teeth {
        std::os::unix::fs::FileExt::write_all_at(&file, &crate::support::noise(64, tooth), 8192 * tooth).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn what_cannot_be_held_is_given_up_with_the_command_that_the_refusal_prints() {
    let home = Home::with_snapshot();
    let (number, _) = Forger::new(&home).relist(|entry| {
        // As a snapshot of another system would have it.
        entry.created = Some(devvault::clock::Time { seconds: 1_000_000_000, nanos: 0 });
        entry.attributes = Some(0x20);
    });
    let to = home.path("it's restored");
    let output =
        home.run(&["restore", &number.to_string(), to.to_str().unwrap(), "--include", "*.rs", "--numeric-owner"]);
    assert_eq!(output.status.code(), Some(12));
    let said = String::from_utf8(output.stderr).unwrap();
    let next = said.lines().find(|line| line.starts_with("next:")).unwrap();
    let command = next.split('`').rfind(|part| part.contains("--without")).unwrap();
    assert!(command.contains("--without created,flags") && command.contains("--include"), "{command}");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &crate::support::pasted(command)]).current_dir(home.path(""));
    let program = home.program();
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("given up"),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(to.join("src/main.rs").exists());
    let (_, document) = home.json(&["restore", &number.to_string(), "other"]);
    assert_eq!(document["options"], "--without created,flags");
}

#[test]
fn as_many_holes_as_a_file_has_come_back() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    // Twice as many as an entry names itself.
    write_comb(&home.source().join("comb"), 10_000);
    let blocks = |path: &str| fs::metadata(home.path(path)).unwrap().blocks();
    if blocks("source/comb") > 12_000 * 8 {
        skip("no holes on this file system");
        return;
    }
    let report = home.backup();
    assert!(report.notes.iter().all(|note| !note.contains("holes")), "{:?}", report.notes);
    let report = home.restore("1", "restored").unwrap();
    assert!(report.coarser.is_empty(), "{:?}", report.coarser);
    // The file system's own tables may take some more or less.
    let alike = |one: u64, other: u64| one.abs_diff(other) < other / 50;
    assert!(alike(blocks("restored/comb"), blocks("source/comb")), "{}", blocks("restored/comb"));
    let whole = fs::read(home.source().join("comb")).unwrap();
    assert_eq!(fs::read(home.path("restored/comb")).unwrap(), whole);
    assert_eq!(home.run(&["cat", "1:comb"]).stdout, whole);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    // An unchanged one is not read again; one more tooth adds little.
    assert_eq!(home.backup().files_unchanged, 1);
    let before = report.snapshot;
    write_comb(&home.source().join("comb"), 10_001);
    let report = home.backup();
    assert!(
        report.bytes_stored < 700_000,
        "{}: most lists of holes are those of snapshot {before}",
        report.bytes_stored
    );
    home.restore("3", "more").unwrap();
    assert!(alike(blocks("more/comb"), blocks("source/comb")), "{}", blocks("more/comb"));
}

#[test]
fn a_hole_that_moved_is_another_content_and_a_filled_one_is_the_same() {
    use std::os::unix::fs::FileExt;
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    let path = home.source().join("sparse");
    let data = crate::support::noise(4096, 1);
    let write = |offset: u64, filled: bool| {
        let file = fs::File::create(&path).unwrap();
        file.set_len(3 << 20).unwrap();
        if filled {
            file.write_all_at(&vec![0; 3 << 20], 0).unwrap();
        }
        file.write_all_at(&data, offset).unwrap();
        file.sync_all().unwrap();
        home.backup()
    };
    write(0, false);
    if fs::metadata(&path).unwrap().blocks() > 1 << 10 {
        skip("no holes on this file system");
        return;
    }
    write(1 << 20, false);
    write(1 << 20, true);
    let differs = |left: &str, right: &str| {
        let (_, document) = home.json(&["diff", left, right, "--content-only"]);
        document["differences"].as_array().unwrap().len()
    };
    assert_eq!((differs("1", "2"), differs("2", "3"), differs("1", "3")), (1, 0, 1));
    // Against a directory zeros and holes are the same too.
    home.restore("2", "restored").unwrap();
    let (_, document) = home.json(&["diff", "3", "restored", "--content-only"]);
    assert_eq!(document["differences"], serde_json::json!([]));
}

#[test]
fn a_change_of_metadata_alone_is_in_the_next_snapshot() {
    let home = Home::with_vault();
    home.write_source(&[("mode", "x"), ("xattr", "x"), ("linked", "x"), ("same", "x")]);
    home.backup();
    assert_eq!(home.backup().files_unchanged, 4);
    fs::set_permissions(home.source().join("mode"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::hard_link(home.source().join("linked"), home.source().join("linked-too")).unwrap();
    let open = fs::File::open(home.source().join("xattr")).unwrap();
    rustix::fs::fsetxattr(&open, "user.note", b"new", rustix::fs::XattrFlags::empty()).unwrap();
    assert_eq!(home.backup().files_unchanged, 1);
    home.restore("3", "restored").unwrap();
    assert_equal(&picture(&home.path("restored")), &picture(&home.source()));
}

#[test]
fn access_lists_of_the_place_are_not_handed_on() {
    let home = Home::with_snapshot();
    let open = difficult::open(&home.path(""));
    let list = [(1, 7, u32::MAX), (2, 7, 54_321), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let list = difficult::access_list(&list);
    let set = rustix::fs::fsetxattr(&open, "system.posix_acl_default", &list, rustix::fs::XattrFlags::empty());
    if let Err(error) = set {
        skip(&format!("no access lists here: {error}"));
        return;
    }
    home.restore("1", "restored").unwrap();
    assert_equal(&picture(&home.path("restored")), &picture(&home.source()));
}

#[test]
fn what_nobody_may_read_comes_back_with_its_attributes_and_lists_to_a_normal_user_too() {
    if !is_root() {
        skip("only the superuser backs up what nobody may read");
        return;
    }
    let home = Home::with_vault();
    home.write_source(&[("closed", "x"), ("closed directory/", ""), ("listed", "x"), ("listed directory/", "")]);
    let list = difficult::some_access_list();
    for (name, attribute, value) in [
        ("closed", "user.note", &b"x"[..]),
        ("closed directory", "user.note", b"x"),
        ("listed", "system.posix_acl_access", &list),
        ("listed directory", "system.posix_acl_access", &list),
    ] {
        let open = fs::File::open(home.source().join(name)).unwrap();
        if let Err(error) = rustix::fs::fsetxattr(&open, attribute, value, rustix::fs::XattrFlags::empty()) {
            skip(&format!("no {attribute} here: {error}"));
            return;
        }
    }
    for (name, mode) in [("closed", 0), ("closed directory", 0o100), ("listed", 0o040), ("listed directory", 0o550)] {
        fs::set_permissions(home.source().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // The home becomes another user's.
    if home.json_as_user(&["snapshots"]).is_none() {
        return;
    }
    home.backup();
    let (exit, document) = home.json(&["drill", "1"]);
    assert_eq!(exit, 0, "{document}");
    home.json_as_user(&["snapshots"]).unwrap();
    for (command, place) in [("restore", "restored"), ("salvage", "salvaged")] {
        let place = home.path(place);
        let (exit, document) = home.json_as_user(&[command, "1", place.to_str().unwrap()]).unwrap();
        assert_eq!(exit, 0, "{document}");
    }
    assert_equal(&picture(&home.path("restored")), &picture(&home.source()));
}

#[test]
fn an_access_list_that_is_given_up_gives_nobody_more() {
    let home = Home::with_vault();
    home.write_source(&[("file", "secret"), ("directory/", "")]);
    // Nothing for the group; the bits of the mode that are the group's are the list's mask.
    let list = [(1, 6, u32::MAX), (2, 6, 54_321), (4, 0, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)];
    let list = difficult::access_list(&list);
    let open = fs::File::open(home.source().join("file")).unwrap();
    if let Err(error) = rustix::fs::fsetxattr(&open, "system.posix_acl_access", &list, rustix::fs::XattrFlags::empty())
    {
        skip(&format!("no access lists here: {error}"));
        return;
    }
    home.backup();
    let restored = home.path("restored");
    let (exit, document) = home.json(&["restore", "1", restored.to_str().unwrap(), "--without", "acl"]);
    assert_eq!(exit, 0, "{document}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&home.source().join("file")), mode(&restored.join("file"))), (0o660, 0o600));
}

// Every number of files that may be open is met somewhere by a process that the system gives few.
#[test]
fn a_process_that_may_open_few_files_accuses_neither_the_vault_nor_the_source_nor_the_target() {
    let home = Home::with_vault();
    for directory in 0..400 {
        let directory = home.source().join(format!("d{directory:03}/e"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("f"), crate::support::noise(20_000, 7)).unwrap();
    }
    home.backup();
    for limit in [5, 6, 7, 8, 9, 10, 11, 12, 16, 20, 24, 32, 48, 64, 96, 115, 118, 121, 124, 127] {
        let place = home.path(&format!("restored-{limit}"));
        let source = home.source();
        for arguments in [
            &["restore", "1", place.to_str().unwrap()][..],
            &["verify"],
            &["status"],
            &["backup", source.to_str().unwrap(), "--reread"],
        ] {
            let output = home.limited(&format!("ulimit -n {limit}"), arguments);
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let codes = ["DV109", "DV110", "DV206", "DV208", "DV307", "DV315", "DV401", "DV405", "DV801"];
            let accuses = codes.iter().any(|code| said.contains(code));
            assert!(!accuses, "{limit} {arguments:?}: {said}");
            assert!(!said.contains("incident: "), "{limit} {arguments:?}: {said}");
        }
    }
}

#[test]
fn long_attributes_are_kept_in_chunks() {
    let Ok(place) = tempfile::Builder::new().prefix("devvault-test-").tempdir_in("/dev/shm") else {
        skip("no file system in memory");
        return;
    };
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("file")).unwrap();
    let value = crate::support::noise(30_000, 4);
    if let Err(error) = rustix::fs::fsetxattr(&file, "user.long", &value, rustix::fs::XattrFlags::empty()) {
        skip(&format!("no long attributes there: {error}"));
        return;
    }
    let home = Home::with_vault();
    let backup = || devvault::ops::backup::run(&home.access(), &source, &Default::default(), &Silent).unwrap();
    assert!(backup().bytes_stored > 30_000);
    assert_eq!(backup().files_unchanged, 1);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    let destination = place.path().join("restored");
    let run = |to: &std::path::Path| {
        restore::run(&home.access(), &"2".parse().unwrap(), to, &restore::Options::default(), &Silent)
    };
    run(&destination).unwrap();
    assert_equal(&picture(&destination), &picture(&source));
    // The home's own file system takes no value of that length: refused before anything is written.
    let refusal = match run(&home.path("restored")) {
        Ok(_) => return,
        Err(error) => assert_refused(Code::TargetCannotRepresent, Err::<(), _>(error)),
    };
    assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["file"]);
    assert!(refusal.next.contains("--without xattr"), "{}", refusal.next);
    // Damage of such a chunk is damage of the snapshot.
    let packs = crate::support::packs(&home.vault());
    let largest = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    crate::support::flip(largest, 5_000);
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Invalid);
}

#[test]
fn each_class_is_given_up_by_name_alone_and_counted() {
    let home = Home::with_vault();
    generate(&home.source(), Powers { names: false, ..Powers::all() });
    home.backup();
    for class in [Class::Acl, Class::Capability, Class::Device, Class::Mode, Class::Security, Class::Sparse]
        .into_iter()
        .chain([Class::Special, Class::Symlink, Class::Time, Class::Xattr, Class::Hardlink, Class::Owner])
    {
        let report = restore_without(&home, &[class], "restored").unwrap();
        let of_root = [Class::Capability, Class::Device, Class::Security].contains(&class);
        let counted = report.not_restored.iter().any(|shortfall| shortfall.class == class.name());
        assert!(counted || (of_root && !is_root()), "{class}: {:?}", report.not_restored);
        difficult::remove(&home.path("restored"));
    }
    difficult::remove(&home.source());
}

#[test]
fn more_attributes_than_a_vault_can_keep_are_refused_with_the_list() {
    let Ok(place) = tempfile::Builder::new().prefix("devvault-test-").tempdir_in("/dev/shm") else {
        skip("no file system in memory");
        return;
    };
    let home = Home::with_vault();
    for name in ["fits", "too-many"] {
        let file = fs::File::create(place.path().join(name)).unwrap();
        for number in 0..=512 - usize::from(name == "fits") {
            let name = format!("trusted.{number:03}");
            if let Err(error) = rustix::fs::fsetxattr(&file, name, b"x", rustix::fs::XattrFlags::empty()) {
                skip(&format!("this user sets no such attributes: {error}"));
                return;
            }
        }
    }
    let taken = devvault::ops::backup::run(&home.access(), place.path(), &Default::default(), &Silent);
    let refusal = assert_refused(Code::SourceUnsupported, taken);
    assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["too-many"]);
}
