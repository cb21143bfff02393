//! The program as a newcomer and as another program meet it.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use devvault::format::record::Body;
use devvault::path::EntryPath;

use crate::support::{Forger, Home, SMALL_TREE, flip, packs, picture};

/// Runs a line that the program printed, in a shell, with the environment of a home.
#[cfg(unix)]
fn paste(home: &Home, line: &str) -> std::process::Output {
    let program = home.program();
    let mut command = Command::new("sh");
    command.arg("-c").arg(crate::support::pasted(line)).env_clear().current_dir(home.path(""));
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.output().unwrap()
}

#[test]
fn every_document_says_whether_all_is_well_and_how_the_process_ends() {
    let home = Home::with_snapshot();
    let bundle = ["evidence", "capture", "bundle.tar"];
    assert_eq!(home.json(&bundle).0, 0);
    let reports = [
        &["verify"][..],
        &["verify", "--quick"],
        &["status"],
        &["snapshots"],
        &["journal", "show"],
        &["journal", "verify"],
        &["evidence", "verify", "bundle.tar"],
        &["find", "*"],
    ];
    let said = |arguments: &[&str]| {
        let (exit, document) = home.json(arguments);
        assert_eq!(document["ok"], serde_json::json!(exit == 0), "{arguments:?}: {document}");
        if arguments[0] != "find" {
            assert_eq!(document["exit"], exit, "{arguments:?}: {document}");
        }
        exit
    };
    assert_eq!(said(&["status", "--check"]), 17, "never verified");
    for arguments in reports {
        assert_eq!(said(arguments), 0, "{arguments:?}");
    }
    assert_eq!(said(&["status", "--metrics", "no/such/place"]), 1);
    let receipt = home.path("source").to_str().unwrap().to_owned() + "/x/y";
    assert_eq!(said(&["verify", "--receipt", &receipt]), 1);
    let journal = home.host().journal_directory().join("journal.jsonl");
    let middle = fs::metadata(&journal).unwrap().len() as usize / 2;
    flip(&journal, middle);
    flip(&home.path("bundle.tar"), 1000);
    flip(&home.vault().join("snapshots/00000001/manifest.json"), 30);
    for arguments in reports {
        assert_ne!(said(arguments), 0, "{arguments:?}");
    }
}

#[test]
fn what_a_document_offers_names_the_vault_as_a_text_does() {
    let home = Home::with_snapshot();
    let journal = home.host().journal_directory().join("journal.jsonl");
    let middle = fs::metadata(&journal).unwrap().len() as usize / 2;
    flip(&journal, middle);
    let text = String::from_utf8(home.run(&["journal", "verify"]).stdout).unwrap();
    let next = text.lines().find_map(|line| line.trim_start().strip_prefix("next: ")).unwrap();
    assert!(next.contains(" --vault ") && next.contains(home.vault().to_str().unwrap()), "{text}");
    let (_, document) = home.json(&["journal", "verify"]);
    assert_eq!(document["findings"][0]["next"], next);
}

#[test]
fn names_that_read_like_commands_are_printed_as_they_are() {
    let home = Home::with_vault();
    let source = home.path("my devvault restore");
    crate::support::write_tree(&source, &[("file", "x")]);
    let said = |arguments: &[&str]| String::from_utf8(home.run(arguments).stdout).unwrap();
    let text = said(&["backup", source.to_str().unwrap()]);
    assert!(text.contains("my devvault restore: 1 files"), "{text}");
    let text = said(&["snapshots"]);
    assert!(text.contains("my devvault restore"), "{text}");
}

// Unix alone: a shell.
#[cfg(unix)]
#[test]
fn a_source_that_holds_the_vault_is_told_how_to_leave_it_out() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let refusal = home.json(&["backup", home.path("").to_str().unwrap()]).1;
    assert_eq!(refusal["code"], "DV804", "{refusal}");
    let next = refusal["next"].as_str().unwrap();
    let option = next.split('`').nth(1).unwrap();
    assert_eq!(option, "--exclude /vault/", "{next}");
    let program = crate::support::program().display();
    let (vault, source) = (home.vault(), home.path(""));
    let command = format!("{program} --vault {} backup {} {option}", vault.display(), source.display());
    let pasted = paste(&home, &command);
    assert!(pasted.status.success(), "{command}: {}", String::from_utf8_lossy(&pasted.stderr));
}

// Unix alone: a shell.
#[cfg(unix)]
#[test]
fn a_newcomer_backs_up_and_pastes_the_printed_commands() {
    let home = Home::new();
    home.write_source(&SMALL_TREE);
    let output = home.program().arg("backup").arg(home.source()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for said in ["made vault", "its key:", "key export", "not encrypted", "read back", "head: 1:"] {
        assert!(text.contains(said), "{said} is missing from:\n{text}");
    }
    assert!(output.stderr.is_empty(), "nothing on stderr where it is no terminal");
    let line = |label: &str| text.lines().find_map(|line| line.strip_prefix(label)).unwrap().trim().to_owned();
    let verified = paste(&home, &line("verify it:"));
    assert!(verified.status.success() && verified.stdout.starts_with(b"VALID"), "{verified:?}");
    let restore = line("restore it:").replace("/a/new/directory", "restored");
    let restored = paste(&home, &restore);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
    let export = text.lines().find(|line| line.contains("key export")).unwrap().trim();
    let exported = paste(&home, &export.replace("/another/medium/devvault.key", "exported.key"));
    assert!(exported.status.success(), "{exported:?}");
    assert!(home.path("exported.key").exists());
    // The second run finds the vault again.
    let again = home.program().arg("backup").arg(home.source()).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("snapshot 2 of"), "{again:?}");
}

/// Asserts the types of fields: `u` a count, `s` a text, `b` a truth, `a` a list, `o` an object.
#[track_caller]
fn assert_fields(document: &Value, fields: &[(&str, char)]) {
    for (name, kind) in fields {
        let value = &document[*name];
        let right = match kind {
            'u' => value.is_u64(),
            's' => value.is_string(),
            'b' => value.is_boolean(),
            'a' => value.is_array(),
            _ => value.is_object(),
        };
        assert!(right, "{name} is {value} in {document}");
    }
}

#[test]
fn every_document_has_the_fields_that_programs_rely_on() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let source = home.source().to_string_lossy().into_owned();
    let (exit, document) = home.json(&["backup", &source, "--tag", "nightly"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (0, &"devvault.backup/1".into(), &true.into()));
    assert_fields(
        &document,
        &[
            ("snapshot", 'u'),
            ("vault", 's'),
            ("source", 's'),
            ("files", 'u'),
            ("directories", 'u'),
            ("symlinks", 'u'),
            ("bytes", 'u'),
            ("bytes_stored", 'u'),
            ("files_unchanged", 'u'),
            ("head", 's'),
            ("seconds", 'u'),
        ],
    );
    let head = document["head"].clone();

    let (exit, document) = home.json(&["snapshots"]);
    assert_eq!((exit, &document["schema"], &document["head"]), (0, &"devvault.snapshots/1".into(), &head));
    let line = &document["snapshots"][0];
    assert_fields(
        line,
        &[("snapshot", 'u'), ("time", 's'), ("source", 's'), ("files", 'u'), ("bytes", 'u'), ("tags", 'a')],
    );
    assert_eq!(line["tags"][0], "nightly");
    assert!(line["time"].as_str().unwrap().ends_with('Z'));

    let (exit, document) = home.json(&["verify"]);
    assert_eq!((exit, &document["schema"], &document["verdict"]), (0, &"devvault.verify/1".into(), &"valid".into()));
    assert_eq!(
        (&document["level"], &document["freshness"], &document["head"]),
        (&"full".into(), &"proven".into(), &head)
    );
    assert_eq!(document["snapshots"], serde_json::json!([{"snapshot": 1, "verdict": "valid", "left_out": []}]));
    assert_eq!((&document["findings"], &document["not_checked"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_fields(
        &document["read"],
        &[("packs", 'u'), ("bytes_stored", 'u'), ("bytes", 'u'), ("chunks", 'u'), ("entries", 'u')],
    );

    let (exit, document) = home.json(&["restore", "1", "restored"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (0, &"devvault.restore/1".into(), &true.into()));
    assert_fields(
        &document,
        &[
            ("snapshot", 'u'),
            ("destination", 's'),
            ("files", 'u'),
            ("directories", 'u'),
            ("symlinks", 'u'),
            ("bytes", 'u'),
            ("verified", 'b'),
        ],
    );

    let (exit, document) = home.json(&["restore", "1", "restored"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (12, &"devvault.refusal/1".into(), &false.into()));
    assert_eq!(
        (&document["code"], &document["exit"], &document["changed"]),
        (&"DV201".into(), &12.into(), &false.into())
    );
    assert_eq!((&document["family"], &document["severity"]), (&"restore risk".into(), &"SEV-1".into()));
    assert_fields(&document, &[("message", 's'), ("causes", 'a'), ("next", 's')]);
    assert_eq!((&document["evidence"], &document["runbook"]), (&Value::Null, &"RUNBOOK.md#dv201".into()));

    let (exit, document) = home.json(&["ls", "1:src"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (0, &"devvault.ls/1".into(), &true.into()));
    assert_eq!(document["entries"].as_array().unwrap().len(), 5);
    for (arguments, schema) in [
        (&["status"][..], "devvault.status/1"),
        (&["index", "rebuild"], "devvault.index/1"),
        (&["key", "check"], "devvault.key/1"),
        (&["runbook", "DV204"], "devvault.runbook/1"),
    ] {
        let (exit, document) = home.json(arguments);
        assert_eq!((exit, document["schema"].as_str()), (0, Some(schema)));
    }
}

#[test]
fn damage_is_told_with_its_code_and_affected_paths() {
    let home = Home::with_snapshot();
    flip(&packs(&home.vault())[0], 60);
    let (exit, document) = home.json(&["verify"]);
    assert_eq!((exit, &document["verdict"]), (11, &"invalid".into()));
    let finding = &document["findings"][0];
    assert_fields(finding, &[("code", 's'), ("subject", 's'), ("snapshots", 'a'), ("paths", 'a')]);
    assert!(finding["code"].as_str().unwrap().starts_with("DV1"));
    let output = home.run(&["verify"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("INVALID"), "{text}");
    for said in ["NOT valid: snapshot(s) 1", "because:", "next:", " runbook DV1", "nothing was changed"] {
        assert!(text.contains(said), "{said} is missing from:\n{text}");
    }
}

#[test]
fn a_refusal_says_what_is_wrong_what_was_written_and_what_to_do() {
    let home = Home::with_snapshot();
    let output = home.run(&["restore", "7", "restored"]);
    assert_eq!(output.status.code(), Some(11));
    assert!(output.stdout.is_empty(), "stdout is for results");
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("refused DV112: "), "{text}");
    assert!(
        text.contains("\nwritten: nothing\nevidence: ")
            && text.contains("\nnext: ")
            && text.contains("\nsee: ")
            && text.ends_with(" runbook DV112\n"),
        "{text}"
    );
}

// Unix alone: control characters in names.
#[cfg(unix)]
#[test]
fn names_from_disk_cannot_command_a_terminal() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::with_vault();
    let name = std::ffi::OsStr::from_bytes(b"\x1b]0;owned\x07\xff\r\nfake");
    home.write_source(&[("plain", "x")]);
    fs::write(home.source().join(name), "x").unwrap();
    fs::create_dir(home.source().join("\u{1b}[2J")).unwrap();
    home.backup();
    for arguments in [&["ls", "1"][..], &["verify"], &["status"], &["snapshots"], &["restore", "1:\u{1b}[31mnone", "x"]]
    {
        let output = home.run(arguments);
        for stream in [output.stdout, output.stderr] {
            assert!(!stream.contains(&0x1b) && !stream.contains(&0x07) && !stream.contains(&b'\r'), "{arguments:?}");
        }
    }
    let (_, document) = home.json(&["ls", "1"]);
    let entries = document["entries"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["path_b64"].is_string() && entry["path"].is_null()), "{document}");
}

// Unix alone: control characters in names.
#[cfg(unix)]
#[test]
fn a_name_in_the_vault_cannot_forge_a_line_of_output() {
    let home = Home::with_snapshot();
    for name in [".incomplete-x\nVALID (full verification", "zz\nVALID (forged"] {
        fs::create_dir(home.vault().join("snapshots").join(name)).unwrap();
    }
    fs::write(home.vault().join("packs").join("q\nVALID"), "").unwrap();
    fs::remove_file(home.vault().join("snapshots/00000001/manifest.hmac")).unwrap();
    for arguments in [&["verify"][..], &["status"], &["snapshots"], &["restore", "1", "x"], &["index", "rebuild"]] {
        let output = home.run(arguments);
        for stream in [output.stdout, output.stderr] {
            let text = String::from_utf8(stream).unwrap();
            assert!(text.lines().all(|line| !line.starts_with("VALID")), "{arguments:?}: {text}");
        }
    }
}

#[test]
fn files_that_were_left_out_are_named_by_every_report() {
    let home = Home::with_snapshot();
    let forger = Forger::new(&home);
    let mut snapshot = forger.snapshot(1);
    snapshot.left_out = vec![EntryPath::parse(b"src/busy.log").unwrap()];
    forger.put(2, Body::Snapshot(snapshot));
    for arguments in [&["verify"][..], &["verify", "2"], &["snapshots"], &["status"], &["restore", "2", "restored"]] {
        let (exit, document) = home.json(arguments);
        assert!(exit == 0 && document.to_string().contains("src/busy.log"), "{arguments:?}: {document}");
        fs::remove_dir_all(home.path("restored")).ok();
        let output = home.run(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("lacks 1 file(s)") && text.contains("src/busy.log"), "{arguments:?}: {text}");
        fs::remove_dir_all(home.path("restored")).ok();
    }
    let (_, document) = home.json(&["restore", "2:vacant", "restored"]);
    assert_eq!(document["left_out"], serde_json::json!([]), "it lies elsewhere");
}

#[test]
fn with_a_changed_configuration_no_snapshot_is_called_valid_or_restorable() {
    let home = Home::with_snapshot();
    let path = home.vault().join("vault.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"block_bytes\":4096", "\"block_bytes\":8192")).unwrap();
    assert_ne!(fs::read_to_string(&path).unwrap(), text);
    for arguments in [&["verify"][..], &["verify", "1"], &["verify", "--quick"]] {
        let (exit, document) = home.json(arguments);
        assert_eq!((exit, document["verdict"].as_str()), (13, Some("invalid")), "{arguments:?}: {document}");
        assert_eq!(document["snapshots"][0]["verdict"], "invalid", "{arguments:?}");
        let text = String::from_utf8(home.run(arguments).stdout).unwrap();
        assert!(!text.contains("intact:") && !text.contains("valid, every byte"), "{text}");
    }
}

#[test]
fn progress_for_programs_is_lines_of_json_on_stderr() {
    let home = Home::with_snapshot();
    let output = home.run(&["--progress", "json", "--json", "verify"]);
    let _: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let phases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(phases.iter().any(|line| line["phase"] == "verifying" && line["bytes_total"].is_u64()), "{text}");
}

#[test]
fn usage_errors_exit_with_two_and_help_with_zero() {
    let home = Home::with_snapshot();
    for wrong in [
        &["restore"][..],
        &["verify", "newest"],
        &["nonsense"],
        &["backup", "--exclude", "[z-a]", "x"],
        &["backup", "--may-change", "[a", "x"],
        &["backup", "--exclude", "#x", "x"],
        &["restore", "1:../x", "y"],
        &["backup", "--expect-head", "1", "x"],
    ] {
        let output = home.run(wrong);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{wrong:?}");
        // A program that reads documents gets one.
        let (exit, document) = home.json(wrong);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((exit, &document["schema"], &document["ok"]), (2, &"devvault.usage/1".into(), &false.into()));
        assert!(said.contains(document["message"].as_str().unwrap().lines().next().unwrap()), "{document} {said}");
    }
    for command in ["init", "backup", "snapshots", "ls", "verify", "restore", "status", "index", "key", "runbook"] {
        let output = home.program().args([command, "--help"]).output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 200, "{command}");
    }
    let version = home.program().arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap().trim(), concat!("devvault ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let home = Home::new();
    let place = home.path("papers");
    let write = || home.program().arg("papers").arg(&place).output().unwrap();
    assert!(write().status.success());
    let help = String::from_utf8(home.run(&["--help"]).stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = listed
        // What goes on from the line before stands further in.
        .filter(|line| line.len() - line.trim_start().len() == 2)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains(&"backup") && commands.len() > 20, "{help}");
    let read = |path: &str| fs::read_to_string(place.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for name in &commands {
        let page = read(&format!("man/devvault-{name}.1"));
        assert!(page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
    assert!(read("man/devvault.1").contains(env!("CARGO_PKG_VERSION")));
    for file in ["devvault.bash", "devvault.elv", "devvault.fish", "_devvault", "_devvault.ps1"] {
        let script = read(&format!("completions/{file}"));
        let missing: Vec<_> = commands.iter().filter(|name| !script.contains(**name)).collect();
        assert!(missing.is_empty(), "{file} lacks {missing:?}");
    }
    // Once more, over what an earlier version wrote; and where nothing can be written, that is said.
    assert!(write().status.success());
    fs::remove_dir_all(place.join("man")).unwrap();
    fs::write(place.join("man"), "in the way").unwrap();
    let refused = write();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("papers"), "{refused:?}");
}

#[test]
fn a_reader_that_goes_away_ends_the_program_without_a_panic() {
    let home = Home::with_vault();
    fs::create_dir(home.source()).unwrap();
    for number in 0..3000 {
        fs::write(home.source().join(format!("a-file-with-a-name-of-some-length-{number}")), "").unwrap();
    }
    home.backup();
    let mut child = home
        .program()
        .arg("--vault")
        .arg(home.vault())
        .args(["ls", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{text}");
    assert_ne!(output.status.code(), Some(101));
}

#[test]
fn the_runbook_is_in_the_program() {
    let home = Home::new();
    let output = home.program().args(["runbook", "dv313"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("### DV313 ") && text.contains("**Do**"), "{text}");
    assert_eq!(home.program().args(["runbook", "DV999"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_section_that_the_runbook_does_not_have_is_a_mistake_of_usage() {
    let home = Home::new();
    let output = home.program().args(["runbook", "NONSENSE"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("NONSENSE") && said.contains("break-glass"), "{said}");
}

#[test]
fn a_command_that_a_refusal_offers_means_the_vault_that_was_named() {
    let home = Home::with_snapshot();
    let output = home.program().args(["--vault", "vault", "restore", "9", "out"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let next = said.lines().find_map(|line| line.strip_prefix("next: ")).unwrap();
    assert!(next.contains("--vault vault snapshots`"), "{next}");
    assert!(said.ends_with(" runbook DV112\n"), "{said}");
}

// Unix alone: a shell.
#[cfg(unix)]
#[test]
fn what_a_refusal_offers_runs_as_it_is_where_the_program_is_in_no_path_and_no_vault_is_named() {
    let home = Home::with_snapshot();
    let mut program = home.program();
    let output = program.env("DEVVAULT_VAULT", home.vault()).args(["restore", "9", "out"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{said}"));
    let next = line("next: ").split('`').nth(1).unwrap();
    for command in [next, line("see: ")] {
        let output = paste(&home, &format!("DEVVAULT_VAULT='{}' {command}", home.vault().display()));
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

#[test]
fn directories_that_depend_on_the_working_directory_are_not_taken() {
    let home = Home::with_snapshot();
    for name in ["DEVVAULT_STATE_DIR", "DEVVAULT_CONFIG_DIR"] {
        let output =
            home.program().env(name, "relative").arg("--vault").arg(home.vault()).arg("status").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(name) && said.contains("relative is no absolute path"), "{said}");
        assert!(!home.path("relative").exists());
    }
}

// Linux alone: elsewhere a file system may refuse or change such names.
#[cfg(target_os = "linux")]
#[test]
fn names_that_deceive_a_terminal_are_escaped_in_text_and_in_json() {
    let home = Home::with_vault();
    let name = "a\u{9b}31m\u{202e}\u{7f}b";
    home.write_source(&[(name, "x")]);
    home.backup();
    for arguments in [&["ls", "1"][..], &["find", "*"], &["--json", "ls", "1"], &["--json", "find", "*"]] {
        let output = home.program().args(["--vault", "vault"]).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!said.contains(raw) && said.contains("202e"), "{arguments:?}: {said:?}");
        if arguments[0] == "--json" {
            let document: Value = serde_json::from_str(&said).unwrap();
            assert!(document.to_string().contains(name), "{document}");
        }
    }
}
