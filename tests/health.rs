//! The vault's health: not there, not empty, locked, read-only, full, interrupted; a host whose own directories fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use devvault::ops::verify::Verdict;
use devvault::ops::{backup, index, init, restore, status};
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{
    Home, SMALL_TREE, assert_refused, copy_tree, fingerprint, names, noise, picture, program, skip, small, unchanged,
    without_audit,
};

/// Fails unless every act on a place refuses with this code.
#[track_caller]
fn refused_everywhere(home: &Home, access: &Access, code: Code) {
    assert_refused(code, backup::run(access, &home.source(), &backup::Options::default(), &Silent));
    assert_refused(code, home.verify_from(access, &[]));
    let options = &crate::support::restore_options();
    assert_refused(code, restore::run(access, &"1".parse().unwrap(), &home.path("refused"), options, &Silent));
    assert_refused(code, status::run(access));
    assert_refused(code, index::run(access));
    assert!(!home.path("refused").exists());
}

// Not there

#[test]
fn a_vault_that_was_named_and_is_not_there_is_never_made() {
    let home = Home::with_snapshot();
    let config = fingerprint(&home.path("config"));
    fs::rename(home.vault(), home.path("unmounted")).unwrap();
    refused_everywhere(&home, &home.access(), Code::VaultNotFound);
    let source = home.source();
    let (exit, refused) = home.json(&["backup", source.to_str().unwrap()]);
    assert_eq!((exit, &refused["code"], &refused["changed"]), (14, &"DV406".into(), &false.into()));
    let mut program = home.program();
    let output =
        program.env("DEVVAULT_VAULT", home.vault()).args(["--json", "backup"]).arg(home.source()).output().unwrap();
    assert_eq!(output.status.code(), Some(14));
    assert!(!home.vault().exists());
    assert_eq!(fingerprint(&home.path("config")), config);
    assert!(!home.path("data-home").exists());
}

#[test]
fn the_empty_mount_point_of_a_vault_stays_empty() {
    let home = Home::with_snapshot();
    fs::rename(home.vault(), home.path("unmounted")).unwrap();
    fs::create_dir(home.vault()).unwrap();
    refused_everywhere(&home, &home.access(), Code::VaultNotFound);
    assert_eq!(names(&home.vault()), [""; 0]);
    // Somebody else's directory is no vault either.
    fs::write(home.vault().join("letter.txt"), "x").unwrap();
    refused_everywhere(&home, &home.access(), Code::VaultNotFound);
    assert_eq!(names(&home.vault()), ["letter.txt"]);
}

#[test]
fn a_file_is_no_vault() {
    let home = Home::with_snapshot();
    fs::rename(home.vault(), home.path("unmounted")).unwrap();
    fs::write(home.vault(), "x").unwrap();
    refused_everywhere(&home, &home.access(), Code::VaultNotFound);
    assert_eq!(fs::read_to_string(home.vault()).unwrap(), "x");
}

#[test]
fn without_a_vault_nothing_but_a_first_backup_finds_one() {
    let home = Home::new();
    for arguments in [["verify"].as_slice(), &["status"], &["snapshots"], &["key", "check"], &["index", "rebuild"]] {
        let output = home.program().arg("--json").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(14), "{arguments:?}");
        let refused: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(refused["code"], "DV409");
    }
    assert_eq!(names(&home.path("")), [""; 0]);
}

// Unix alone: Windows names its folder by a call and not by the environment, so the user's own would be used.
#[cfg(not(windows))]
#[test]
fn the_first_backup_of_a_host_that_knows_no_vault_makes_the_default_one() {
    let home = Home::new();
    home.write_source(&SMALL_TREE);
    let output = home.program().arg("backup").arg(home.source()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let vault = home.path("data-home/devvault/vault");
    assert!(vault.join("vault.json").exists());
    for said in [vault.to_str().unwrap(), home.key().to_str().unwrap(), "key export", "verify", "restore"] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    // From now on it is simply there.
    let again = home.program().args(["--json", "backup"]).arg(home.source()).output().unwrap();
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["snapshot"], &again["made"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!(home.program().arg("verify").status().unwrap().code(), Some(0));
}

#[test]
fn a_first_backup_that_is_refused_says_what_it_made() {
    let home = Home::new();
    let output = home.program().args(["--json", "backup", "no-such-source"]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["code"], &document["changed"]), (&"DV803".into(), &false.into()));
    assert!(!home.path("data-home").exists() && !home.path("config/keys").exists(), "nothing was made for it");

    // The default vault lies inside this source.
    let output = home.program().args(["--json", "backup"]).arg(home.path("")).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["code"], &document["changed"]), (&"DV804".into(), &true.into()), "{document}");
    let written = document["written"].as_str().unwrap();
    assert!(written.contains("vault") && written.contains(".key") && written.contains("were made"), "{written}");
}

#[test]
fn an_init_that_cannot_keep_its_witness_says_what_it_made() {
    let home = Home::new();
    fs::write(home.path("state"), "a file where the directory should be").unwrap();
    let refusal = assert_refused(Code::StateUnwritable, init::run(&home.access(), small()));
    let written = refusal.written.unwrap().text;
    assert!(written.contains("were made") && written.contains("--expect-head 0:"), "{written}");
    assert!(home.vault().join("vault.json").exists());
}

#[test]
fn a_vault_is_never_made_inside_another() {
    let home = Home::with_snapshot();
    for inside in ["snapshots/00000002", "packs/x", "x"] {
        let access = Access { vault: home.vault().join(inside), ..home.access() };
        unchanged(&home.vault(), || assert_refused(Code::NotEmpty, init::run(&access, small())));
    }
}

#[test]
fn packs_that_are_gone_are_findings_of_status() {
    let home = Home::with_snapshot();
    let gone = crate::support::packs(&home.vault())[0].clone();
    fs::remove_file(&gone).unwrap();
    let report = status::run(&home.access()).unwrap();
    let missing: Vec<_> = report.findings.iter().filter(|finding| finding.code == Code::ChunkMissing).collect();
    assert_eq!((missing.len(), &missing[0].snapshots[..]), (1, &[1][..]), "{:?}", report.findings);
}

// Unix alone: a device that is always full.
#[cfg(unix)]
#[test]
fn a_report_that_cannot_be_printed_does_not_hide_what_was_done() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else { return };
    let mut program = home.program();
    program.arg("--vault").arg(home.vault()).arg("backup").arg(home.source()).stdout(full);
    let output = program.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("what was asked for was done") && !said.contains("written: nothing"), "{said}");
    assert!(home.vault().join("snapshots/00000001").exists());
}

#[test]
fn a_job_that_lost_its_environment_starts_no_new_vault() {
    // The host knows a vault by its key, or by its witness, or by its settings.
    for kept in ["config/keys", "state/witness", "settings"] {
        let home = Home::with_snapshot();
        if kept != "config/keys" {
            fs::remove_dir_all(home.path("config")).unwrap();
        }
        if kept != "state/witness" {
            fs::remove_dir_all(home.path("state")).unwrap();
        }
        if kept == "settings" {
            fs::create_dir_all(home.path("config")).unwrap();
            let settings = serde_json::json!({"vault": home.path("unmounted")});
            fs::write(home.path("config/config.json"), settings.to_string()).unwrap();
        }
        let before = without_audit(fingerprint(&home.path("")));
        let output = home.program().args(["--json", "backup"]).arg(home.source()).output().unwrap();
        let refused: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let code = if kept == "settings" { "DV406" } else { "DV409" };
        assert_eq!((output.status.code(), &refused["code"]), (Some(14), &code.into()), "{kept}");
        let next = refused["next"].as_str().unwrap();
        assert!(!next.contains("devvault backup"), "what was refused is not what to do next: {next}");
        assert_eq!(without_audit(fingerprint(&home.path(""))), before, "{kept}");
    }
}

#[test]
fn a_default_vault_that_lost_its_key_is_not_made_again() {
    let home = Home::new();
    home.write_source(&SMALL_TREE);
    assert!(home.program().arg("backup").arg(home.source()).status().unwrap().success());
    fs::remove_dir_all(home.path("config")).unwrap();
    fs::remove_dir_all(home.path("state")).unwrap();
    let output = home.program().args(["--json", "backup"]).arg(home.source()).output().unwrap();
    let refused: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &refused["code"]), (Some(13), &"DV301".into()));
    assert!(!home.path("config").exists());
}

#[test]
fn a_vault_is_never_made_over_anything() {
    let home = Home::with_snapshot();
    let key = fingerprint(&home.path("config"));
    unchanged(&home.vault(), || assert_refused(Code::NotEmpty, init::run(&home.access(), small())));
    for name in [".hidden", "letter.txt", "vault.json"] {
        let place = home.path(&format!("place-of-{name}"));
        fs::create_dir(&place).unwrap();
        fs::write(place.join(name), "precious").unwrap();
        assert_refused(Code::NotEmpty, init::run(&Access { vault: place.clone(), ..home.access() }, small()));
        assert_eq!(names(&place), [name]);
        let output = home.program().args(["--json", "init"]).arg(&place).output().unwrap();
        let refused: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &refused["code"]), (Some(14), &"DV407".into()));
    }
    let file = home.path("file");
    fs::write(&file, "precious").unwrap();
    assert_refused(Code::NotEmpty, init::run(&Access { vault: file, ..home.access() }, small()));
    unchanged(&home.vault(), || {
        let inside = home.vault().join("packs/new");
        assert_refused(Code::NotEmpty, init::run(&Access { vault: inside, ..home.access() }, small()));
    });
    assert_eq!(fingerprint(&home.path("config")), key, "a key was made");
    // It is the real place that counts, and not the way there.
    let from_within =
        home.program().current_dir(home.vault().join("packs")).args(["init", "../../beside"]).output().unwrap();
    assert!(from_within.status.success() && home.path("beside/vault.json").exists(), "{from_within:?}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(home.vault().join("packs"), home.path("way")).unwrap();
        unchanged(&home.vault(), || {
            let inside = home.path("way/new");
            assert_refused(Code::NotEmpty, init::run(&Access { vault: inside, ..home.access() }, small()));
        });
    }
    // What only has a name of a vault's is none, and may hold one.
    let below = home.path("place-of-vault.json").join("new");
    init::run(&Access { vault: below, ..home.access() }, small()).unwrap();
}

// Locks

/// Gives a lock up. Closing the file alone does not while a process that another test starts still has it.
fn unlock(file: fs::File) {
    fs2::FileExt::unlock(&file).unwrap();
}

#[test]
fn a_vault_that_another_process_writes_to_is_locked() {
    let home = Home::with_snapshot();
    let file = fs::File::options().read(true).write(true).open(home.vault().join("lock")).unwrap();
    fs2::FileExt::lock_exclusive(&file).unwrap();
    fs::write(home.vault().join("lock.holder"), "{\"host\":\"elsewhere\x1b[2J\",\"pid\":4711}").unwrap();
    unchanged(&home.vault(), || {
        let refusal = assert_refused(Code::Locked, home.try_backup(&backup::Options::default()));
        assert!(refusal.causes.concat().contains("elsewhere"), "{:?}", refusal.causes);
        assert!(!refusal.causes.concat().contains('\x1b'));
        assert_refused(Code::Locked, index::run(&home.access()));
        let source = home.source();
        let (exit, refused) = home.json(&["backup", source.to_str().unwrap()]);
        assert_eq!((exit, &refused["code"], &refused["changed"]), (14, &"DV404".into(), &false.into()));
        // Reading needs no lock.
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
        home.restore("latest", "restored").unwrap();
    });
    unlock(file);
    home.backup();
    assert!(!home.vault().join("lock.holder").exists());
}

#[test]
fn a_lock_holder_that_a_crash_left_locks_nothing() {
    let home = Home::with_snapshot();
    fs::write(home.vault().join("lock.holder"), "whoever").unwrap();
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    home.backup();
}

#[test]
fn a_removal_under_way_excludes_readers() {
    let home = Home::with_snapshot();
    let file = fs::File::options().read(true).write(true).open(home.vault().join("sweep.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&file).unwrap();
    unchanged(&home.vault(), || {
        assert_refused(Code::Locked, home.verify(&[]));
        assert_refused(Code::Locked, home.restore("1", "refused"));
    });
    unlock(file);
    // A reader does not exclude another one.
    let file = fs::File::open(home.vault().join("sweep.lock")).unwrap();
    fs2::FileExt::lock_shared(&file).unwrap();
    home.verify(&[]).unwrap();
}

#[test]
fn a_vault_without_lock_files_can_be_read_and_not_written() {
    let home = Home::with_snapshot();
    for lock in ["lock", "sweep.lock"] {
        fs::remove_file(home.vault().join(lock)).unwrap();
    }
    unchanged(&home.vault(), || {
        assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
        home.restore("latest", "restored").unwrap();
        let refusal = assert_refused(Code::ProbeFailed, home.try_backup(&backup::Options::default()));
        assert!(refusal.next.contains("put back the empty file") && refusal.next.contains("lock"), "{}", refusal.next);
    });
}

// Unix alone: named pipes.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_lock_hangs_nothing() {
    let home = Home::with_snapshot();
    let lock = home.witness().with_extension("lock");
    fs::remove_file(&lock).unwrap();
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let report = home.verify(&[]).unwrap();
    assert_eq!(report.verdict, Verdict::Valid);
    let report = home.backup();
    assert!(report.notes.iter().any(|note| note.contains("witness was not advanced")), "{:?}", report.notes);
}

#[test]
fn what_a_write_probe_left_behind_is_ignored() {
    let home = Home::with_snapshot();
    fs::write(home.vault().join(".probe-0123"), "x").unwrap();
    let report = unchanged(&home.vault(), || home.verify(&[]).unwrap());
    assert_eq!((report.verdict, &report.notes[..]), (Verdict::Valid, [].as_slice()));
    assert_eq!(status::run(&home.access()).unwrap().orphans.foreign, []);
    home.backup();
    assert!(home.vault().join(".probe-0123").exists());
    assert_eq!(names(&home.vault()).iter().filter(|name| name.starts_with(".probe-")).count(), 1);
}

// Media

/// Runs a shell script in a mount namespace of its own, where it may mount what it likes and leaves nothing behind.
/// `$V` is the vault, `$S` the source, `$H` the home, `devvault` the program.
#[cfg(target_os = "linux")]
fn in_namespace(home: &Home, script: &str) -> Option<Output> {
    let environment = home.program();
    let mut command = Command::new("unshare");
    command.env_clear();
    for (name, value) in environment.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let own = rustix::process::geteuid().is_root();
    command.arg(if own { "-m" } else { "-Urm" });
    let prelude = "set -e; devvault() { \"$P\" --vault \"$V\" \"$@\"; }; ";
    command.args(["sh", "-c", &format!("{prelude}{script}")]);
    command.env("P", program()).env("V", home.vault()).env("S", home.source()).env("H", home.path(""));
    let probe = Command::new("unshare")
        .args([if own { "-m" } else { "-Urm" }, "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    match probe {
        Ok(output) if output.status.success() => Some(command.output().unwrap()),
        other => {
            skip(&format!("no mount namespace here ({other:?})"));
            None
        }
    }
}

#[cfg(target_os = "linux")]
fn document(home: &Home, name: &str) -> serde_json::Value {
    let text = fs::read_to_string(home.path(name)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name} is no document ({error}): {text}"))
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn a_vault_on_read_only_media_verifies_and_restores_and_refuses_writes() {
    let home = Home::with_snapshot();
    let before = fingerprint(&home.vault());
    let script = "mount --bind \"$V\" \"$V\"; mount -o remount,bind,ro \"$V\"; ! touch \"$V/x\" 2>/dev/null
        devvault --json verify >\"$H/verify.json\"
        devvault --json restore latest \"$H/restored\" >\"$H/restore.json\"
        devvault --json status >\"$H/status.json\"
        devvault --json snapshots >\"$H/snapshots.json\"
        devvault --json ls 1 >\"$H/ls.json\"
        set +e
        devvault --json backup \"$S\" >\"$H/backup.json\"; [ $? = 14 ] || exit 101
        devvault --json index rebuild >\"$H/index.json\"; [ $? = 14 ] || exit 102";
    let Some(output) = in_namespace(&home, script) else { return };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(document(&home, "verify.json")["verdict"], "valid");
    assert_eq!(document(&home, "restore.json")["verified"], true);
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
    for name in ["backup.json", "index.json"] {
        let refused = document(&home, name);
        assert_eq!((&refused["code"], &refused["changed"]), (&"DV402".into(), &false.into()), "{name}");
    }
    assert_eq!(fingerprint(&home.vault()), before);
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn a_restore_into_the_vault_by_another_mount_of_it_is_refused() {
    let home = Home::with_snapshot();
    let before = fingerprint(&home.vault());
    let script = "mkdir \"$H/elsewhere\"; mount --bind \"$V\" \"$H/elsewhere\"
        set +e
        devvault --json restore latest \"$H/elsewhere/restored\" >\"$H/restore.json\"; [ $? = 12 ] || exit 101";
    let Some(output) = in_namespace(&home, script) else { return };
    assert!(output.status.success(), "{output:?}");
    let refused = document(&home, "restore.json");
    assert_eq!((&refused["code"], &refused["changed"]), (&"DV202".into(), &false.into()));
    assert_eq!(fingerprint(&home.vault()), before);
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn a_medium_with_too_little_room_is_refused_before_anything_is_written() {
    let home = Home::with_snapshot();
    let script =
        "mkdir \"$H/copy\"; mount -t tmpfs -o size=8m tmpfs \"$H/copy\"; cp -a \"$V/.\" \"$H/copy\"; V=\"$H/copy\"
        find \"$V\" -type f -exec sha256sum {} + | sort >\"$H/before\"
        set +e; devvault --json backup \"$S\" >\"$H/backup.json\"; [ $? = 14 ] || exit 101; set -e
        find \"$V\" -type f -exec sha256sum {} + | sort >\"$H/after\"; cmp \"$H/before\" \"$H/after\"
        ls -A \"$V/snapshots\" >\"$H/names\"; devvault --json verify >\"$H/verify.json\"";
    let Some(output) = in_namespace(&home, script) else { return };
    assert!(output.status.success(), "{output:?}");
    let refused = document(&home, "backup.json");
    assert_eq!((&refused["code"], &refused["changed"]), (&"DV403".into(), &false.into()));
    assert_eq!(fs::read_to_string(home.path("names")).unwrap(), "00000001\n");
    assert_eq!(document(&home, "verify.json")["verdict"], "valid");
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn a_medium_that_fills_up_during_a_backup_keeps_its_snapshots_and_no_staging() {
    let home = Home::with_snapshot();
    for file in 0..20 {
        fs::write(home.source().join(format!("new-{file}")), noise(20_000, file)).unwrap();
    }
    // Names run out while bytes do not, so that the look at free space before does not notice.
    let script =
        "mkdir \"$H/copy\"; mount -t tmpfs -o size=300m,nr_inodes=60 tmpfs \"$H/copy\"; cp -a \"$V/.\" \"$H/copy\"
        V=\"$H/copy\"; set +e; devvault --json backup \"$S\" >\"$H/backup.json\"; [ $? = 14 ] || exit 101; set -e
        ls -A \"$V/snapshots\" >\"$H/names\"; find \"$V/packs\" -name '*.pack' | wc -l >\"$H/packs\"
        devvault --json verify >\"$H/verify.json\"; devvault --json restore 1 \"$H/restored\" >\"$H/restore.json\"
        mount -o remount,nr_inodes=10000 \"$V\"
        devvault --json backup \"$S\" >\"$H/again.json\"; devvault --json verify >\"$H/verify-again.json\"";
    let Some(output) = in_namespace(&home, script) else { return };
    assert!(output.status.success(), "{output:?}{}", fs::read_to_string(home.path("backup.json")).unwrap_or_default());
    let refused = document(&home, "backup.json");
    assert_eq!(refused["code"], "DV403", "{refused}");
    // What the run had written only took the room that is missing.
    assert_eq!(refused["changed"], false, "{refused}");
    let packs = crate::support::packs(&home.vault()).len();
    assert_eq!(fs::read_to_string(home.path("packs")).unwrap().trim(), packs.to_string());
    assert_eq!(fs::read_to_string(home.path("names")).unwrap(), "00000001\n");
    assert_eq!(document(&home, "verify.json")["verdict"], "valid");
    assert_eq!(document(&home, "again.json")["snapshot"], 2);
    assert_eq!(document(&home, "verify-again.json")["verdict"], "valid");
}

// Interruption

// Unix alone: signals.
#[cfg(unix)]
#[test]
fn an_interrupted_backup_leaves_no_snapshot_and_no_staging() {
    use std::io::{BufRead, BufReader};
    let home = Home::with_snapshot();
    // With the sizes of tests a few megabytes are thousands of chunks and hundreds of packs, each synced.
    for file in 0..100 {
        fs::write(home.source().join(format!("new-{file:03}")), noise(100_000, file)).unwrap();
    }
    let mut program = home.program();
    program.arg("--vault").arg(home.vault()).args(["--progress", "json", "backup"]).arg(home.source());
    let mut child = program.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("storing") {
        line.clear();
        assert_ne!(talk.read_line(&mut line).unwrap(), 0, "the backup ended before it could be interrupted");
    }
    while names(&home.vault().join("snapshots")).len() < 2 {
        assert!(child.try_wait().unwrap().is_none(), "the backup ended before it could be interrupted");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut talk, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert_eq!(names(&home.vault().join("snapshots")), ["00000001"]);
    assert!(!home.vault().join("lock.holder").exists());
    assert_eq!(home.verify(&[]).unwrap().verdict, Verdict::Valid);
    assert_eq!(home.backup().snapshot, 2);
    home.restore("2", "restored").unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

// The host's own directories

#[test]
fn verify_and_restore_go_on_without_a_state_directory_and_say_so() {
    let home = Home::with_snapshot();
    for place in ["state", "state/witness"] {
        if home.path("state").exists() {
            fs::remove_dir_all(home.path("state")).unwrap();
        }
        fs::create_dir_all(home.path(place).parent().unwrap()).unwrap();
        fs::write(home.path(place), "a file where a directory should be").unwrap();
        // Nothing was lost that a head named by the operator could stand in for.
        let refusal = assert_refused(Code::StateUnwritable, home.try_backup(&backup::Options::default()));
        let named: PathBuf = home.path(place).components().collect();
        assert!(refusal.message.contains(&*named.to_string_lossy()), "{refusal}");
        let report = home.verify(&[]).unwrap();
        assert_eq!((report.verdict, report.freshness.to_string().as_str()), (Verdict::Valid, "unproven"), "{place}");
        assert!(report.notes.iter().any(|note| note.contains("witness")), "{:?}", report.notes);
        for snapshot in ["1", "latest"] {
            let restored = home.restore(snapshot, "restored").unwrap();
            assert!(restored.notes.iter().any(|note| note.contains("witness")), "{:?}", restored.notes);
            assert_eq!(picture(&home.path("restored")), picture(&home.source()));
            fs::remove_dir_all(home.path("restored")).unwrap();
        }
        let (exit, document) = home.json(&["verify"]);
        assert_eq!((exit, &document["verdict"]), (0, &"valid".into()));
        assert_eq!(fs::read_to_string(home.path(place)).unwrap(), "a file where a directory should be");
        fs::remove_file(home.path(place)).unwrap();
    }
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn verify_and_restore_go_on_with_a_state_directory_that_cannot_be_written() {
    let home = Home::with_snapshot();
    copy_tree(&home.vault(), &home.path("kept"));
    let script = "mount --bind \"$H/state\" \"$H/state\"; mount -o remount,bind,ro \"$H/state\"
        devvault --json verify >\"$H/verify.json\"; devvault --json restore 1 \"$H/restored\" >\"$H/restore.json\"
        devvault --json backup \"$S\" >\"$H/backup.json\"; devvault --json verify >\"$H/after.json\"";
    let Some(output) = in_namespace(&home, script) else { return };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(document(&home, "verify.json")["freshness"], "proven");
    assert_eq!(document(&home, "restore.json")["verified"], true);
    // The snapshot counts although it could not be remembered, and that is said.
    let backed_up = document(&home, "backup.json");
    assert_eq!(backed_up["snapshot"], 2);
    assert!(backed_up["notes"].to_string().contains("witness"), "{backed_up}");
    assert_eq!(document(&home, "after.json")["verdict"], "valid");
}

#[test]
fn a_backup_without_room_for_its_witness_still_counts_and_says_so() {
    let home = Home::with_snapshot();
    let host = home.other_host("bare");
    fs::write(home.path("bare-state"), "a file where a directory should be").unwrap();
    let access = home.access_from(host);
    let report = backup::run(&access, &home.source(), &backup::Options::default(), &Silent).unwrap();
    assert_eq!(report.snapshot, 2);
    assert!(report.notes.iter().any(|note| note.contains("witness")), "{:?}", report.notes);
}

#[test]
fn a_vault_below_a_path_with_unusual_names_works() {
    let home = Home::new();
    home.write_source(&SMALL_TREE);
    let vault = home.path(if cfg!(windows) { "a b/ü'$x/vault" } else { "a b/ü'\"$x/vault" });
    let access = Access { vault: vault.clone(), ..home.access() };
    init::run(&access, small()).unwrap();
    backup::run(&access, &home.source(), &backup::Options::default(), &Silent).unwrap();
    assert_eq!(home.verify_from(&access, &[]).unwrap().verdict, Verdict::Valid);
    assert!(Path::new(&vault).join("vault.json").exists());
}
