//! The house: imports point down only, and what differs between platforms stands in few files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The floors, from the top. A module may import from floors below its own, and from its own room.
const FLOORS: [&[&str]; 12] = [
    &["cli"],
    &["conformance", "drill"],
    &["ops"],
    &["vault"],
    &["incident"],
    &["host"],
    &["format", "store"],
    &["fsys", "crypto", "chunk", "pool"],
    &["error"],
    &["refusal"],
    &["path", "progress", "clock"],
    &["limits"],
];

#[test]
fn imports_point_down_only() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor))).collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for entry in walkdir::WalkDir::new(&source) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(&source).unwrap();
        if path.extension().is_none_or(|extension| extension != "rs")
            || ["lib.rs", "main.rs"].contains(&path.to_str().unwrap())
        {
            continue;
        }
        let room = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let own = *floor.get(room).unwrap_or_else(|| panic!("the room {room} has no floor"));
        for (number, line) in fs::read_to_string(entry.path()).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for import in code.split("crate::").skip(1) {
                let other: String = import.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let Some(&below) = floor.get(other.as_str()) else { continue };
                seen += 1;
                assert!(other == room || below > own, "{}:{}: {room} imports {other}", path.display(), number + 1);
            }
        }
    }
    assert!(seen > 100, "the test has lost its eyes: {seen} imports");
}

/// Where the calls of one platform may stand: its own files, and the list that chooses between them.
const PLATFORM_FILES: [&str; 3] = ["fsys/mod.rs", "fsys/unix", "fsys/windows"];

/// Returns every source file below a directory with its text.
fn sources(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    let rust = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        (name, fs::read_to_string(path).unwrap())
    })
    .collect()
}

/// Returns whether a line chooses code by platform.
fn chooses(line: &str) -> bool {
    let line = line.trim_start();
    (line.starts_with("#[cfg(") || line.starts_with("#![cfg("))
        && ["unix", "windows", "target_"].iter().any(|word| line.contains(word))
}

#[test]
fn what_only_one_platform_has_stands_in_its_own_files() {
    const CALLS: [&str; 5] = ["std::os::", "rustix::", "windows_sys::", "libc::", "nix::"];
    let mut own = 0;
    for (name, text) in sources("src") {
        // What a test needs to make, it may ask the system for.
        let code = text.find("#[cfg(test)]").map_or(&text[..], |tests| &text[..tests]);
        let mut lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let platform =
            |line: &&str| chooses(line) && !line.contains("test") || CALLS.iter().any(|call| line.contains(call));
        if PLATFORM_FILES.iter().any(|file| name.starts_with(file)) {
            own += lines.filter(|line| platform(line)).count();
        } else {
            let found = lines.find(platform);
            assert!(found.is_none(), "{name}: {}", found.unwrap().trim());
        }
    }
    assert!(own > 50, "the test has lost its eyes: {own} lines");
}

/// Only what lasts on every platform is called durable: the standard library's call fails on some volumes of macOS.
#[test]
fn everything_is_made_durable_by_one_function() {
    let calls = |name: &str, text: &str| {
        let code = text.find("#[cfg(test)]").map_or(text, |tests| &text[..tests]).to_owned();
        if name == "fsys/windows.rs" || name == "fsys/windows/durable.rs" {
            0
        } else {
            code.matches(".sync_all()").count()
        }
    };
    for (name, text) in sources("src") {
        let tests = name.ends_with("tests.rs") || name.ends_with("contract.rs");
        assert!(tests || calls(&name, &text) == 0, "{name} calls sync_all instead of fsys::sync_file");
    }
    assert_eq!(calls("x.rs", "file.sync_all()"), 1, "the test has lost its eyes");
}

/// The documentation lists these lines, see `.ci/matrix`.
#[test]
fn every_test_that_a_platform_lacks_says_why() {
    let mut told = 0;
    let files = sources("tests").into_iter().chain(sources("src"));
    for (name, text) in files.filter(|(name, _)| !name.starts_with("fsys/unix") && !name.starts_with("fsys/windows")) {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| chooses(line)) {
            let gated = lines[at + 1..].iter().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            let is_test = gated.clone().any(|line| *line == "#[test]");
            let next = lines.get(at + 1 + gated.count()).copied().unwrap_or_default();
            let is_room = next.starts_with("mod ") && (!name.contains("fsys") || line.contains("test"));
            if !(is_test || is_room || line.starts_with("#![")) {
                continue;
            }
            told += 1;
            let why = at.checked_sub(1).map_or("", |above| lines[above]);
            let (who, why) = why.strip_prefix("// ").and_then(|why| why.split_once(" alone: ")).unwrap_or_default();
            let known = ["Unix", "Linux", "Linux on x86-64", "Windows"].contains(&who);
            assert!(known && why.len() > 4, "{name}:{}: why only here is not told above", at + 1);
        }
    }
    assert!(told > 45, "the test has lost its eyes: {told} tests");
}
