//! The runbook: every command in it is one that the program has, and each section's commands are run, in their order,
//! against a vault in the state that the section is about.
//!
//! Commands of the system that need a device, root or another tool (`dmesg`, `ddrescue`, `mount`) are not run.

use std::collections::BTreeMap;

use devvault::cli;

/// One `sh` block: its section, its lines, and whether the section promises that they exit 0.
struct Block {
    section: String,
    lines: Vec<String>,
    exits_0: bool,
}

fn blocks() -> Vec<Block> {
    let (mut all, mut section, mut inside) = (Vec::<Block>::new(), String::new(), false);
    let mut promise = String::new();
    for line in cli::RUNBOOK.lines() {
        let text = line.trim();
        if text.starts_with("```") {
            inside = text == "```sh";
            if inside {
                let confirms = ["**Confirm**", "**Verification**"].iter().any(|part| promise.starts_with(part));
                let exits_0 = confirms && promise.contains("xits 0");
                all.push(Block { section: section.clone(), lines: Vec::new(), exits_0 });
            }
        } else if inside {
            all.last_mut().unwrap().lines.push(text.to_owned());
        } else if let Some(title) = text.strip_prefix("### ").or_else(|| text.strip_prefix("## ")) {
            section = title.to_owned();
        } else if !text.is_empty() {
            promise = text.to_owned();
        }
    }
    all
}

/// The words of the table of placeholders, and others that a step explains, each with what a test puts there.
fn placeholders() -> BTreeMap<&'static str, String> {
    let head = format!("2:{}", "0".repeat(64));
    let scope = format!("{}:2", "0".repeat(32));
    [
        ("VAULT", "vault"),
        ("OTHER", "other"),
        ("COPY", "copy"),
        ("WHOLE", "whole"),
        ("PLACE", "place"),
        ("KEEP", "keep"),
        ("FRESH", "fresh"),
        ("EVIDENCE", "evidence"),
        ("SOURCE", "source"),
        ("DEST", "dest"),
        ("SNAP", "2"),
        ("NUMBER", "00000002"),
        ("PATH", "README"),
        ("FILE", "exported.key"),
        ("WITNESS", "witness.json"),
        ("STATE", "state"),
        ("CONFIG", "config.json"),
        ("INCIDENT", "INC-1"),
        ("PERMIT", "BG-1"),
        ("BUNDLE", "bundle.tar"),
        ("WHY", "why"),
        ("WHAT", "what"),
        ("WHO", "ann"),
        ("PLAN", "plan"),
        ("NAME", ".incomplete-00"),
        ("DAY", "2099-01-31"),
        ("GLOB", "*.tmp"),
        ("CLASS", "owner"),
        ("DEVICE", "device"),
        ("IMAGE", "image"),
        ("MAP", "map"),
        ("MOUNT", "mount"),
        ("RECEIPT", "receipt"),
        ("NEW_RECEIPT", "new-receipt"),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
    .chain([("HEAD", head), ("SCOPE", scope), ("PACK", "0".repeat(64))])
    .collect()
}

/// Replaces placeholders, whole words only.
fn filled(line: &str, values: &BTreeMap<&'static str, String>) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for character in line.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() || character == '_' {
            word.push(character);
            continue;
        }
        out.push_str(values.get(word.as_str()).map_or(word.as_str(), String::as_str));
        word.clear();
        out.push(character);
    }
    out.trim_end().to_owned()
}

/// The words of a command line of the runbook; it quotes nothing but with single quotes.
fn words(line: &str) -> Vec<String> {
    let command = line.split(" > ").next().unwrap();
    command.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[test]
fn every_command_of_the_runbook_is_one_that_the_program_takes() {
    let values = placeholders();
    let mut seen = 0;
    for block in blocks() {
        for line in block.lines.iter().filter(|line| line.starts_with("devvault ")) {
            let line = filled(line, &values);
            let parsed = cli::command().try_get_matches_from(words(&line));
            assert!(parsed.is_ok(), "{}: {line}\n{}", block.section, parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen > 150, "the test has lost its eyes: {seen} commands");
}

#[test]
fn every_placeholder_is_a_word_that_the_table_explains() {
    let table = cli::RUNBOOK.split("## Trust model").next().unwrap();
    let known = placeholders();
    for block in blocks() {
        for line in &block.lines {
            for word in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                let placeholder = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                if !placeholder || word == "INDEX" {
                    continue;
                }
                assert!(known.contains_key(word), "{}: {word} in {line}", block.section);
                let _ = table;
            }
        }
    }
}

// Unix alone: a shell.
#[cfg(unix)]
mod run {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use devvault::incident::journal::Journal;
    use devvault::incident::registry;

    use super::{blocks, filled, placeholders};
    use crate::support::{Forger, Home, copy_tree, flip, packs, program};

    /// Brings the vault into the state that a section is about.
    fn damage(home: &Home, section: &str) {
        let record = |number: u64, file: &str| home.vault().join(format!("snapshots/{number:08}")).join(file);
        match section.split(' ').next().unwrap() {
            "Snapshot" if section.contains("index") => {}
            // A snapshot 3 of somebody with the key, whose list is out of order.
            "DV108" => {
                let last = devvault::path::EntryPath::parse(b"zz").unwrap();
                Forger::new(home).relist(|entry| {
                    if entry.path.to_string() == "README" {
                        entry.path = last.clone();
                    }
                });
            }
            "DV205" => fs::create_dir(home.path("dest")).unwrap(),
            "DV111" => {
                fs::remove_dir_all(home.vault()).unwrap();
                assert_eq!(exit(home, "devvault init vault"), 0);
                assert_eq!(exit(home, "devvault --vault vault key export fresh.key --acknowledge-plain-secret"), 0);
                fs::rename(home.path("fresh.key"), home.path("exported.key")).unwrap();
            }
            "DV302" => {
                let own = home.key();
                assert_eq!(exit(home, "devvault init another"), 0);
                assert_eq!(exit(home, "devvault --vault another key export another.key --acknowledge-plain-secret"), 0);
                fs::rename(home.path("another.key"), own).unwrap();
            }
            "DV303" => {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(home.path("exported.key"), fs::Permissions::from_mode(0o644)).unwrap();
            }
            "DV304" => fs::rename(home.path("exported.key"), home.vault().join("exported.key")).unwrap(),
            "DV305" => fs::write(home.key(), "{").unwrap(),
            "DV406" => fs::rename(home.vault(), home.path("away")).unwrap(),
            "DV410" => {
                fs::rename(home.path("state"), home.path("state-away")).unwrap();
                fs::write(home.path("state"), "").unwrap();
            }
            "DV411" => fs::write(home.path("config/config.json"), "{").unwrap(),
            "DV803" => fs::rename(home.path("source"), home.path("away")).unwrap(),
            "DV804" => {
                fs::create_dir(home.path("tree")).unwrap();
                fs::write(home.path("tree/README"), "read me").unwrap();
                copy_tree(&home.vault(), &home.path("tree/vault"));
            }
            "DV805" => {
                // The copied home lies elsewhere, so that its source is another one.
                assert_eq!(exit(home, "devvault --vault vault backup source"), 0);
                fs::rename(home.path("source"), home.path("away")).unwrap();
                fs::create_dir(home.path("source")).unwrap();
            }
            "DV807" => fs::create_dir(home.path("source/.devvaultignore")).unwrap(),
            "DV301" => fs::remove_file(home.key()).unwrap(),
            "DV319" => {
                let journal = Journal::of(&home.host()).path();
                let text = fs::read_to_string(&journal).unwrap();
                fs::write(&journal, text.replacen("backup", "bqckup", 1)).unwrap();
            }
            "DV320" => {
                assert_eq!(exit(home, "devvault --vault vault evidence capture bundle.tar"), 0);
                flip(&home.path("bundle.tar"), 600);
            }
            "DV101" | "DV306" => flip(&record(2, "manifest.json"), 30),
            "DV102" => fs::remove_file(&packs(&home.vault())[0]).unwrap(),
            "DV103" | "DV105" | "DV106" | "Snapshot" | "First" | "Break-glass" => flip(&packs(&home.vault())[0], 60),
            "DV104" => packs(&home.vault()).iter().for_each(|pack| fs::remove_file(pack).unwrap()),
            "DV107" => fs::remove_file(record(2, "manifest.hmac")).unwrap(),
            "DV307" => flip(&home.vault().join("vault.json"), 20),
            "DV309" => fs::remove_dir_all(home.vault().join("snapshots/00000001")).unwrap(),
            "DV313" | "DV314" | "DV317" | "Rollback" => {
                fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
            }
            "DV318" => {
                let pack = &packs(&home.vault())[0];
                let length = fs::metadata(pack).unwrap().len() as usize;
                flip(pack, length - 45);
            }
            "A" if section.contains("record is lost") => {
                fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
            }
            // An incident is open, and the damage was mended since.
            "DV702" | "DV709" => {
                let pack = &packs(&home.vault())[0];
                flip(pack, 60);
                assert_eq!(exit(home, "devvault --vault vault verify"), 11);
                flip(pack, 60);
            }
            "Interrupted" => fs::create_dir(home.vault().join("snapshots/.incomplete-00")).unwrap(),
            _ => {}
        }
    }

    /// The command that refuses with the section's own code in the state that [`damage`] brings about, so that the state is
    /// the real one.
    const REFUSED: [(&str, &str); 16] = [
        ("DV108", "devvault --vault vault verify"),
        ("DV111", "devvault --vault vault verify"),
        ("DV302", "devvault --vault vault snapshots"),
        ("DV303", "devvault --vault vault --key-file exported.key key check"),
        ("DV304", "devvault --vault vault --key-file vault/exported.key key check"),
        ("DV305", "devvault --vault vault snapshots"),
        ("DV404", "devvault --vault vault backup source"),
        ("DV406", "devvault --vault vault snapshots"),
        ("DV407", "devvault init other"),
        ("DV409", "devvault snapshots"),
        ("DV410", "devvault break-glass cancel BG-0"),
        ("DV411", "devvault snapshots"),
        ("DV803", "devvault --vault vault backup source"),
        ("DV804", "devvault --vault tree/vault backup tree"),
        ("DV805", "devvault --vault vault backup source"),
        ("DV807", "devvault --vault vault backup source"),
    ];

    /// Sections of the host and the source whose state a test cannot bring about, and why.
    const NO_STATE: [(&str, &str); 10] = [
        ("DV401", "takes a device that fails: tests/faults.rs lets the store fail in its place"),
        ("DV402", "root may read everything: tests/health.rs takes the permissions away from a user"),
        ("DV403", "takes a file system of its own that is full: tests/faults.rs lets the store say so"),
        ("DV405", "takes a medium that reads differently each time: tests/faults.rs lets the store do so"),
        ("DV408", "takes a second writer that wins each time: tests/faults.rs plays it"),
        ("DV801", "root may read everything: tests/difficult.rs does it as a user"),
        ("DV802", "takes a writer that hits every reading, which no clock promises: tests/faults.rs plays it"),
        (
            "DV806",
            "takes kinds of objects, or so many or so long attributes, as not every system and file system takes",
        ),
        ("DV808", "takes a provider of files that are elsewhere, of Windows or macOS"),
        ("DV809", "takes a lock that the system enforces, of Windows"),
    ];

    /// Writes to the vault, as far as others can see, until it is dropped.
    fn writer(home: &Home) -> fs::File {
        let lock = fs::File::options().read(true).write(true).open(home.vault().join("lock")).unwrap();
        fs2::FileExt::lock_exclusive(&lock).unwrap();
        lock
    }

    /// Does what a section asks a person to do without a command, before what it promises at its end.
    fn mend(home: &Home, section: &str) {
        match section.split(' ').next().unwrap() {
            "DV406" => fs::rename(home.path("away"), home.vault()).unwrap(),
            "DV410" => {
                fs::remove_file(home.path("state")).unwrap();
                fs::rename(home.path("state-away"), home.path("state")).unwrap();
            }
            "DV411" => fs::remove_file(home.path("config/config.json")).unwrap(),
            "DV803" => fs::rename(home.path("away"), home.path("source")).unwrap(),
            "DV807" => fs::remove_dir(home.path("source/.devvaultignore")).unwrap(),
            _ => {}
        }
    }

    /// A permit that took effect, of a kind that the section needs. What the journal held before is put away: all of it
    /// is younger than the permit.
    fn permit(home: &Home, section: &str) -> String {
        let (invariant, target) = if section.starts_with("Rollback") {
            ("crypto", Forger::new(home).head(1).to_string())
        } else if section.starts_with("A record is lost") {
            ("snapshot", "2".to_owned())
        } else {
            ("crypto", "2".to_owned())
        };
        home.permit(invariant, &target)
    }

    /// Takes two snapshots with the program's own clock, so that nothing in the journal is of the future.
    fn home() -> Home {
        let home = Home::new();
        home.write_source(&crate::support::SMALL_TREE);
        home.succeed(&["init", "vault"]);
        home.succeed(&["--vault", "vault", "backup", "source"]);
        home.succeed(&["--vault", "vault", "backup", "source"]);
        home.succeed(&["--vault", "vault", "key", "export", "exported.key", "--acknowledge-plain-secret"]);
        home.succeed(&["--vault", "vault", "verify", "--receipt", "receipt"]);
        copy_tree(&home.vault(), &home.path("other"));
        home
    }

    /// Commands that need a device, root, a tool or a person.
    const NOT_RUN: [&str; 9] = ["dmesg", "ddrescue", "mount", "umount", "smartctl", "fuser", "lsof", "ip", "touch"];

    /// What a command of the runbook answered in the state that its section is about.
    struct Answer {
        section: String,
        line: String,
        exits_0: bool,
        exit: Option<i32>,
        code: String,
    }

    fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runbook/answers.txt")
    }

    /// Brings a home into the state of a section, and returns what its placeholders stand for.
    fn begin(original: &Home, section: &str) -> (Home, BTreeMap<&'static str, String>) {
        let home = Home::new();
        copy_tree(&original.path(""), &home.path(""));
        let text: String =
            blocks().into_iter().filter(|block| block.section == section).flat_map(|block| block.lines).collect();
        let mut values = placeholders();
        if ["PERMIT", "salvage", "branch", "declare-lost"].iter().any(|word| text.contains(word)) {
            values.insert("PERMIT", permit(&home, section));
        }
        let forger = Forger::new(&home);
        let (head, scope) = (forger.head(1).to_string(), format!("{}:2", forger.macs.vault()));
        // What other procedures made before: a whole copy that was completed, a copy of the vault as it is.
        if !text.contains("mkdir WHOLE") {
            copy_tree(&home.vault(), &home.path("whole"));
        }
        let own_key = home.key().to_string_lossy().into_owned();
        values.insert("WITNESS", home.witness().to_string_lossy().into_owned());
        damage(&home, section);
        if !text.contains("mkdir COPY") && home.vault().exists() {
            copy_tree(&home.vault(), &home.path("copy"));
        }
        if text.contains("--to PLACE") {
            fs::create_dir_all(home.path("place")).unwrap();
        }
        if !text.contains("mkdir EVIDENCE") {
            fs::create_dir_all(home.path("evidence")).unwrap();
        }
        let _ = home.program().args(["--vault", "vault", "verify"]).output().unwrap();
        let entries = Journal::of(&home.host()).entries().unwrap_or_default();
        let incident = registry::replay(&entries).first().map_or("INC-1".to_owned(), |one| one.id.clone());
        if !home.vault().join("snapshots/00000002").exists() && !section.starts_with("A record") {
            values.insert("SNAP", "1".into());
        }
        if section.starts_with("DV302") || section.starts_with("DV305") {
            values.insert("PLACE", own_key.clone());
        }
        if section.starts_with("DV304") {
            values.insert("FILE", "vault/exported.key".into());
        }
        if section.starts_with("DV804") {
            values.extend(
                [("VAULT", "tree/vault"), ("SOURCE", "tree"), ("GLOB", "vault")].map(|(k, v)| (k, v.to_owned())),
            );
        }
        values.insert("INCIDENT", incident);
        values.insert("HEAD", head);
        values.insert("SCOPE", scope);
        (home, values)
    }

    /// Makes room for a command: a new place that an earlier step used is not the new place of this one.
    fn make_room(home: &Home, line: &str, values: &mut BTreeMap<&'static str, String>) {
        let remove = |name: &str| {
            let path = home.path(name);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        };
        for (verb, place) in
            [(" restore ", "dest"), (" salvage ", "keep"), (" init ", "fresh"), (" capture ", "bundle.tar")]
        {
            if line.contains(verb) && !line.contains("DEST/") {
                remove(place);
            }
        }
        if line.contains("key export") {
            let of_fresh = line.contains("FRESH");
            values.insert("FILE", if of_fresh { "fresh.key".into() } else { "exported.key".to_owned() });
            ["keep", "fresh.key"].into_iter().for_each(remove);
            if !of_fresh {
                remove("exported.key");
            }
        }
    }

    /// Runs one line as an operator's shell would.
    fn run(home: &Home, line: &str) -> std::process::Output {
        let program = format!("'{}' ", program().display());
        let script = line.replacen("devvault ", &program, usize::from(line.starts_with("devvault ")));
        let mut shell = Command::new("sh");
        shell.env_clear();
        for (name, value) in home.program().get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell.current_dir(home.path("")).args(["-c", &script]).output().unwrap()
    }

    /// Returns the first code that stands at the beginning of a line, of a refusal or a finding.
    fn first_code(output: &std::process::Output) -> String {
        let text = [&output.stderr[..], b"\n", &output.stdout[..]].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let code = |line: &str| {
            let word = line.strip_prefix("refused ").unwrap_or(line).split([' ', ':']).next()?.to_owned();
            (word.len() == 5 && word.starts_with("DV")).then_some(word)
        };
        text.lines().find_map(code).unwrap_or_default()
    }

    fn answers() -> Vec<Answer> {
        let original = home();
        let mut sections: Vec<String> = blocks().into_iter().map(|block| block.section).collect();
        sections.dedup();
        let mut all = Vec::new();
        for section in sections {
            let (home, mut values) = begin(&original, &section);
            let mut writer = section.starts_with("DV404").then(|| writer(&home));
            if let Some((code, line)) = REFUSED.iter().find(|(code, _)| section.starts_with(code)) {
                let output = run(&home, line);
                assert_eq!(first_code(&output), *code, "{section} is not about this state: {line}: {output:?}");
            }
            let mut mended = false;
            for block in blocks().into_iter().filter(|block| block.section == section) {
                if block.exits_0 && !mended {
                    mend(&home, &section);
                    drop(writer.take());
                    mended = true;
                }
                for line in &block.lines {
                    if NOT_RUN.contains(&line.split(' ').next().unwrap()) {
                        continue;
                    }
                    make_room(&home, line, &mut values);
                    let output = run(&home, &filled(line, &values));
                    all.push(Answer {
                        section: section.clone(),
                        line: line.clone(),
                        exits_0: block.exits_0,
                        exit: output.status.code(),
                        code: first_code(&output),
                    });
                }
            }
        }
        all
    }

    /// One line for each command of the program: `=` where the section promises that it exits 0, its exit, its code.
    fn rendered(answers: &[Answer]) -> String {
        let (mut out, mut section) = (String::new(), "");
        for answer in answers.iter().filter(|answer| answer.line.starts_with("devvault ")) {
            if section != answer.section {
                section = &answer.section;
                out.push_str(&format!("\n{section}\n"));
            }
            let promise = if answer.exits_0 { "=" } else { " " };
            let exit = answer.exit.map_or("?".to_owned(), |exit| exit.to_string());
            out.push_str(&format!("{promise}{exit:>3} {:5}  {}\n", answer.code, answer.line));
        }
        out
    }

    #[test]
    fn every_command_of_a_section_answers_in_its_state_as_was_read_by_eye() {
        let answers = answers();
        assert!(answers.len() > 300, "{} commands", answers.len());
        let (expected, found) = (fs::read_to_string(file()).unwrap(), rendered(&answers));
        let emulator = crate::support::emulator();
        // It starts the program once more, which an emulator that only cargo knows of does not run.
        let alone = |line: &str| emulator.is_some() && line.contains("--clean-machine");
        if let Some(emulator) = &emulator {
            crate::support::skip(&format!(
                "only for drills with --clean-machine: `{emulator}` runs no program in them"
            ));
        }
        for (expected, found) in expected.lines().zip(found.lines()).filter(|(expected, _)| !alone(expected)) {
            assert_eq!(expected, found);
        }
        assert_eq!(expected.lines().count(), found.lines().count());
        for answer in answers.into_iter().filter(|answer| !alone(&answer.line)) {
            // What a section promises at its end holds, whatever anybody wrote into the fixture.
            let kept = !answer.exits_0 || answer.exit == Some(0);
            assert!(kept, "{}: {}: exits {:?}", answer.section, answer.line, answer.exit);
        }
    }

    #[test]
    fn every_section_of_keys_host_and_source_has_its_state_or_a_reason_why_not() {
        for code in devvault::refusal::Code::ALL {
            let number = *code as u16;
            if ![108, 111].contains(&number) && !(302..=305).contains(&number) && number / 100 != 4 && number / 100 != 8
            {
                continue;
            }
            let code = code.to_string();
            let state = REFUSED.iter().any(|(known, _)| *known == code);
            assert!(state != NO_STATE.iter().any(|(known, _)| *known == code), "{code}");
        }
    }

    #[test]
    #[ignore = "writes fixtures/runbook/answers.txt anew; read it by eye"]
    fn make_the_answers() {
        fs::create_dir_all(file().parent().unwrap()).unwrap();
        fs::write(file(), rendered(&answers())).unwrap();
    }

    /// Runs one command of the runbook and returns its exit status.
    fn exit(home: &Home, line: &str) -> i32 {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        home.program().args(words).output().unwrap().status.code().unwrap()
    }

    #[test]
    fn the_procedures_that_go_on_after_loss_end_with_a_vault_that_verifies() {
        for (section, commands) in [
            ("Rollback alarm", vec!["devvault --vault vault branch --reason why"]),
            ("A record is lost for good", vec!["devvault --vault vault declare-lost 2 --reason why"]),
        ] {
            let home = home();
            let permit = permit(&home, section);
            damage(&home, section);
            assert_eq!(exit(&home, "devvault --vault vault verify"), 13, "{section}");
            let incident = registry::replay(&Journal::of(&home.host()).entries().unwrap())[0].id.clone();
            for command in commands {
                assert_eq!(exit(&home, command), 0, "{section}: {command}");
            }
            assert_eq!(exit(&home, "devvault --vault vault verify"), 0, "{section}");
            assert_eq!(exit(&home, "devvault --vault vault backup source"), 0, "{section}");
            assert_eq!(exit(&home, &format!("devvault break-glass close {permit} --outcome done")), 0, "{section}");
            assert_eq!(exit(&home, "devvault --vault vault status --check"), 17, "{section}");
            assert_eq!(exit(&home, &format!("devvault incident close {incident} --reason why")), 0, "{section}");
            assert_eq!(exit(&home, "devvault --vault vault status --check"), 0, "{section}");
        }
    }
}
