//! The house: imports point down only.

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
