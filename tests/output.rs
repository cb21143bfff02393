//! Files that commands write besides: where they may lie, and what is there when they cannot be written.

use std::fs;
use std::path::Path;

use devvault::incident::journal::Journal;

use crate::support::{Home, copy_tree, names, unchanged};

/// Every command that writes a file of the operator's choice; `FILE` stands for it.
const COMMANDS: [&[&str]; 7] = [
    &["verify", "--receipt", "FILE"],
    &["drill", "--receipt", "FILE"],
    &["journal", "export", "FILE"],
    &["conformance", "--report", "FILE"],
    &["evidence", "capture", "FILE"],
    &["key", "export", "FILE", "--acknowledge-plain-secret"],
    &["status", "--metrics", "FILE"],
];

fn with<'a>(command: &[&'a str], file: &'a Path) -> Vec<&'a str> {
    command.iter().map(|word| if *word == "FILE" { file.to_str().unwrap() } else { word }).collect()
}

/// The acts that stand in the journal, besides refusals of which no operation had begun.
fn acts(home: &Home) -> Vec<String> {
    let entries = Journal::of(&home.host()).entries().unwrap();
    entries.into_iter().map(|entry| entry.act).filter(|act| !act.contains("command")).collect()
}

#[test]
fn every_file_is_asked_for_its_place_before_the_work_begins() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("other"));
    fs::write(home.path("taken"), "precious").unwrap();
    let places = [
        ("vault/snapshots/00000001/new", "DV202"),
        ("vault/new", "DV202"),
        ("other/snapshots/new", "DV202"),
        ("other/packs/../new", "DV202"),
        ("config/new", "DV202"),
        ("config/keys/new", "DV202"),
        ("state/journal/new", "DV202"),
        ("taken", "DV407"),
    ];
    let before = acts(&home);
    for command in COMMANDS {
        for (place, code) in places {
            // The key in the vault that it opens is worse than another file there.
            let code = if command[0] == "key" && place.starts_with("vault") { "DV304" } else { code };
            let file = home.path(place);
            let existed = file.exists();
            let (exit, document) =
                unchanged(&home.path("other"), || unchanged(&home.vault(), || home.json(&with(command, &file))));
            let family = code.as_bytes()[2] - b'0';
            assert_eq!(
                (exit, document["code"].as_str()),
                (10 + i32::from(family), Some(code)),
                "{command:?} {place}: {document}"
            );
            assert_eq!(file.exists(), existed, "{command:?} {place}");
        }
        let file = home.path("no/such/directory");
        let (exit, _) = home.json(&with(command, &file));
        assert_eq!(exit, 1, "{command:?}");
    }
    assert_eq!(fs::read_to_string(home.path("taken")).unwrap(), "precious");
    // What operations themselves refuse they journal; none of them did its work.
    let mut since = acts(&home);
    since.drain(..before.len());
    since.dedup();
    assert_eq!(since, ["evidence capture", "key export"]);
}

#[test]
fn a_vault_that_lost_its_config_takes_no_other_file_all_the_same() {
    let home = Home::with_snapshot();
    fs::remove_file(home.vault().join("vault.json")).unwrap();
    for command in COMMANDS.into_iter().filter(|command| ["journal", "conformance", "status"].contains(&command[0])) {
        let (exit, document) = unchanged(&home.vault(), || home.json(&with(command, &home.path("vault/packs/new"))));
        assert_eq!((exit, document["code"].as_str()), (12, Some("DV202")), "{command:?}: {document}");
    }
}

// Unix alone: limits of a process.
#[cfg(unix)]
#[test]
fn what_could_not_be_written_leaves_nothing_that_stands_in_the_way() {
    let home = Home::with_snapshot();
    fs::create_dir(home.path("out")).unwrap();
    for command in COMMANDS.into_iter().filter(|command| command[0] != "drill") {
        let file = home.path("out/file");
        let command = with(command, &file);
        // As on a full disk: a file is made, and takes no byte.
        let output = home.limited("trap '' XFSZ; ulimit -f 0", &command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert_eq!(names(&home.path("out")), [""; 0], "{command:?}");
        let output = home.run(&command);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(names(&home.path("out")), ["file"], "{command:?}");
        fs::remove_file(&file).unwrap();
    }
}
