//! A whole incident as its operator sees it, from the alarm to the post-mortem, compared with a transcript that was read
//! by eye.

// Unix alone: a shell, and the words of its errors.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};

use devvault::incident::journal::Journal;
use devvault::incident::registry;

use crate::support::{Home, SMALL_TREE, copy_tree, noise, packs};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts/incident.txt")
}

/// Replaces what differs from run to run by what it is.
fn normal(text: &str, home: &Home) -> String {
    let text = text.replace(env!("CARGO_BIN_EXE_devvault"), "devvault");
    let root = fs::canonicalize(home.path("")).unwrap();
    let text = text.replace(&format!("{}/", root.display()), "/home/");
    let (mut out, mut rest) = (String::new(), &text[..]);
    while let Some(first) = rest.chars().next() {
        if let Some(length) = time_length(rest) {
            out.push_str("TIME");
            rest = &rest[length..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("INC-") {
            out.push_str("INC-DATE-RANDOM");
            rest = &after[15..];
            continue;
        }
        let run = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if run == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let word = &rest[..run];
        let hex = word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        out.push_str(match run {
            64 if hex => "DIGEST",
            32 if hex => "ID",
            16 if hex => "CASE",
            12 | 8 if hex => "RANDOM",
            16 if word.ends_with('Z') && word[..8].bytes().all(|byte| byte.is_ascii_digit()) => "TIME",
            _ => word,
        });
        rest = &rest[run..];
    }
    let sizes = |line: &str| -> String {
        // Sizes of what is packed depend on times and names.
        match line.split_once(" files, ") {
            Some((before, after)) if after.ends_with(" bytes") => format!("{before} files, SOME bytes"),
            _ => line.to_owned(),
        }
    };
    let packs = |line: String| match line.split_once("packs/") {
        // The first digits of a pack's name.
        Some((before, after)) if after.as_bytes().get(2) == Some(&b'/') => format!("{before}packs/XX{}", &after[2..]),
        _ => line,
    };
    out.lines().map(sizes).map(packs).collect::<Vec<_>>().join("\n") + "\n"
}

/// Returns the length of a time such as `2026-01-31T18:00:00Z` at the beginning.
fn time_length(text: &str) -> Option<usize> {
    let text = text.as_bytes().get(..20)?;
    let shape = b"0000-00-00T00:00:00Z";
    let fits =
        text.iter().zip(shape).all(|(byte, kind)| if *kind == b'0' { byte.is_ascii_digit() } else { byte == kind });
    fits.then_some(20)
}

/// Runs a command and adds what the operator types and reads.
fn step(home: &Home, out: &mut String, comment: &str, arguments: &[&str]) {
    let output = home.program().args(arguments).output().unwrap();
    let quoted = |word: &&str| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() };
    let words: Vec<String> = arguments.iter().map(quoted).collect();
    out.push_str(&format!("# {comment}\n$ devvault {}\n", words.join(" ")));
    out.push_str(&String::from_utf8(output.stdout).unwrap());
    out.push_str(&String::from_utf8(output.stderr).unwrap());
    out.push_str(&format!("[exit {}]\n\n", output.status.code().unwrap()));
}

fn transcript() -> String {
    let home = Home::new();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("photo"), noise(3_000_000, 7)).unwrap();
    for arguments in [&["init", "vault"][..], &["--vault", "vault", "backup", "source"]] {
        assert!(home.program().args(arguments).status().unwrap().success());
    }
    copy_tree(&home.vault(), &home.path("other"));
    fs::create_dir(home.vault().join("snapshots/.incomplete-0011")).unwrap();
    let pack = packs(&home.vault()).into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    crate::support::flip(&pack, 1_000_000);

    let mut out = String::new();
    step(&home, &mut out, "The weekly check finds damage.", &["--vault", "vault", "verify"]);
    let incident = registry::replay(&Journal::of(&home.host()).entries().unwrap())[0].id.clone();
    step(&home, &mut out, "What is open?", &["incident", "list"]);
    step(
        &home,
        &mut out,
        "Evidence first.",
        &["--vault", "vault", "evidence", "capture", "bundle.tar", "--incident", &incident, "--raw"],
    );
    step(&home, &mut out, "Is the bundle whole?", &["evidence", "verify", "bundle.tar"]);
    step(&home, &mut out, "The damaged snapshot is not restored.", &["--vault", "vault", "restore", "1", "restored"]);
    step(&home, &mut out, "What is left of it is copied.", &["--vault", "vault", "salvage", "1", "salvaged"]);
    step(
        &home,
        &mut out,
        "Nothing is tidied up while the incident is open.",
        &["--vault", "vault", "incomplete", "discard", ".incomplete-0011"],
    );
    step(&home, &mut out, "The other copy is intact.", &["--vault", "other", "verify"]);
    step(&home, &mut out, "The files come back from it.", &["--vault", "other", "restore", "1", "restored"]);
    step(&home, &mut out, "It cannot be closed without a word.", &["incident", "close", &incident, "--reason", "over"]);
    step(
        &home,
        &mut out,
        "What was done is written down.",
        &["incident", "note", &incident, "the disk has bad sectors; backups go to the other disk", "--by", "ann"],
    );
    step(
        &home,
        &mut out,
        "It is closed with a decision.",
        &[
            "incident",
            "close",
            &incident,
            "--reason",
            "everything was restored from the other copy",
            "--decision",
            "the damaged copy stays as it is and is retired",
            "--by",
            "ann",
        ],
    );
    step(&home, &mut out, "The post-mortem.", &["incident", "report", &incident]);
    step(&home, &mut out, "All is well on the copy that goes on.", &["--vault", "other", "status", "--check"]);
    step(&home, &mut out, "The audit trail is whole.", &["--vault", "other", "journal", "verify"]);
    normal(&out, &home)
}

/// Sizes, ages and free space differ between machines and times: such lines are left out.
fn comparable(text: &str) -> Vec<&str> {
    let own = [" ago, ", " free", "lie on one device", " /home/source on ", "read back from the page cache"];
    text.lines().filter(|line| !own.iter().any(|part| line.contains(part))).collect()
}

#[test]
fn a_whole_incident_reads_as_its_transcript() {
    let expected = fs::read_to_string(file()).unwrap();
    let found = transcript();
    let (expected, found) = (comparable(&expected), comparable(&found));
    for (number, (expected, found)) in expected.iter().zip(&found).enumerate() {
        assert_eq!(expected, found, "line {} of the transcript", number + 1);
    }
    assert_eq!(expected.len(), found.len());
}

#[test]
#[ignore = "writes fixtures/transcripts/incident.txt anew; read it by eye"]
fn make_the_transcript() {
    fs::create_dir_all(file().parent().unwrap()).unwrap();
    fs::write(file(), transcript()).unwrap();
}
