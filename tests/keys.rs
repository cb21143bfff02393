//! The key: missing, wrong, exposed, inside the vault, damaged; exported, imported, checked. It is never made anew and
//! never shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use devvault::clock::Time;
use devvault::crypto::{Id, Secret};
use devvault::error::Result;
use devvault::format::keyfile::KeyFile;
use devvault::ops::{backup, index, init, key, restore, status};
use devvault::progress::Silent;
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{Home, assert_refused, fingerprint, flip, picture, refused, small, unchanged, without_audit};

fn read(path: &Path) -> KeyFile {
    KeyFile::decode(&fs::read(path).unwrap()).unwrap()
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    devvault::fsys::write_private(path, bytes).unwrap();
}

/// Every file that this home's hosts keep.
fn kept(home: &Home) -> BTreeMap<PathBuf, blake3::Hash> {
    let mut all = without_audit(fingerprint(&home.path("")));
    all.retain(|path, _| !path.starts_with(home.vault()) && !path.starts_with(home.source()));
    all
}

/// Fails unless every act on the vault refuses with this code, changes nothing in it, and makes no key.
#[track_caller]
fn locked_out(home: &Home, access: &Access, code: Code) {
    let before = kept(home);
    unchanged(&home.vault(), || {
        assert_refused(code, backup::run(access, &home.source(), &backup::Options::default(), &Silent));
        assert_refused(code, home.verify_from(access, &[]));
        assert_refused(code, home.verify_from(access, &["1"]));
        let restored: Result<restore::Report> = restore::run(
            access,
            &"1".parse().unwrap(),
            &home.path("refused"),
            &crate::support::restore_options(),
            &Silent,
        );
        assert_refused(code, restored);
        assert_refused(code, index::run(access));
        assert_refused(code, status::run(access));
        assert_refused(code, key::check(access));
        assert_refused(code, key::export(access, &home.path("exported"), true));
    });
    assert_eq!(kept(home), before, "a file was made or changed on the host");
}

#[test]
fn a_missing_key_is_refused_and_never_made_anew() {
    let home = Home::with_snapshot();
    let access = Access { host: home.other_host("bare"), ..home.access() };
    locked_out(&home, &access, Code::KeyMissing);
    assert!(!home.path("bare-config").exists());
    let named = Access { key_file: Some(home.path("nowhere.key")), ..home.access() };
    locked_out(&home, &named, Code::KeyMissing);
    fs::remove_file(home.key()).unwrap();
    locked_out(&home, &home.access(), Code::KeyMissing);
}

#[test]
fn the_program_says_no_to_a_missing_key_with_exit_13() {
    let home = Home::with_snapshot();
    fs::rename(home.path("config"), home.path("lost")).unwrap();
    let source = home.source();
    unchanged(&home.vault(), || {
        for arguments in [["backup", source.to_str().unwrap()].as_slice(), &["verify"], &["key", "check"], &["status"]]
        {
            let (exit, refused) = home.json(arguments);
            assert_eq!((exit, &refused["code"]), (13, &"DV301".into()), "{arguments:?}");
            assert_eq!(refused["changed"], false);
        }
    });
    assert!(!home.path("config").exists());
}

#[test]
fn the_key_of_another_vault_is_wrong() {
    let home = Home::with_snapshot();
    let other = Home::with_vault();
    let access = Access { key_file: Some(other.key()), ..home.access() };
    locked_out(&home, &access, Code::KeyWrong);
    // Under the right name too.
    write_private(&home.key(), &fs::read(other.key()).unwrap());
    locked_out(&home, &home.access(), Code::KeyWrong);
}

#[test]
fn a_key_with_the_right_vault_and_another_secret_is_wrong() {
    let home = Home::with_snapshot();
    let real = read(&home.key());
    let crafted = KeyFile::new(Secret::from_bytes([8; 32]), real.vault, real.host, Time::default());
    write_private(&home.path("crafted.key"), &crafted.encode());
    let access = Access { key_file: Some(home.path("crafted.key")), ..home.access() };
    locked_out(&home, &access, Code::KeyWrong);
    write_private(&home.key(), &crafted.encode());
    locked_out(&home, &home.access(), Code::KeyWrong);
}

#[test]
fn a_key_with_the_right_secret_and_another_vault_is_wrong() {
    let home = Home::with_snapshot();
    let real = read(&home.key());
    let crafted = KeyFile::new(real.secret().clone(), Id([3; 16]), real.host, Time::default());
    write_private(&home.path("crafted.key"), &crafted.encode());
    let access = Access { key_file: Some(home.path("crafted.key")), ..home.access() };
    locked_out(&home, &access, Code::KeyWrong);
}

#[test]
fn the_key_that_the_operator_names_wins_over_the_right_one() {
    let home = Home::with_snapshot();
    let other = Home::with_vault();
    let mut program = home.program();
    program.arg("--vault").arg(home.vault()).arg("verify").env("DEVVAULT_KEY_FILE", other.key());
    let output = program.output().unwrap();
    assert_eq!(output.status.code(), Some(13));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DV302"));
}

// Unix alone: modes; the access lists of Windows are tested beside their code.
#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_snapshot();
    let set = |mode| fs::set_permissions(home.key(), fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o606, 0o777, 0o620, 0o602] {
        set(mode);
        for named in [None, Some(home.key())] {
            locked_out(&home, &Access { key_file: named, ..home.access() }, Code::KeyExposed);
        }
        assert_refused(Code::KeyExposed, key::import(&home.other_host("importing"), &home.key()));
    }
    assert!(!home.path("importing-config").exists());
    for mode in [0o600, 0o400] {
        set(mode);
        home.verify(&[]).unwrap();
    }
}

// Unix alone: modes.
#[cfg(unix)]
#[test]
fn nobody_is_told_to_change_the_modes_of_what_is_no_key() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_snapshot();
    let other = home.path("other");
    fs::write(&other, "not a key").unwrap();
    fs::set_permissions(&other, PermissionsExt::from_mode(0o644)).unwrap();
    assert_refused(Code::KeyDamaged, home.verify_from(&Access { key_file: Some(other), ..home.access() }, &[]));
}

#[test]
fn a_key_inside_the_vault_is_refused() {
    let home = Home::with_snapshot();
    fs::create_dir(home.vault().join("packs/00")).ok();
    for place in ["my.key", "packs/00/my.key", "snapshots/my.key"] {
        let path = home.vault().join(place);
        write_private(&path, &fs::read(home.key()).unwrap());
        let access = Access { key_file: Some(path.clone()), ..home.access() };
        locked_out(&home, &access, Code::KeyInsideVault);
        let roundabout = home.vault().join("packs/../").join(place);
        locked_out(&home, &Access { key_file: Some(roundabout), ..home.access() }, Code::KeyInsideVault);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&path, home.path("link.key")).unwrap();
            locked_out(&home, &Access { key_file: Some(home.path("link.key")), ..home.access() }, Code::KeyInsideVault);
            fs::remove_file(home.path("link.key")).unwrap();
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn init_puts_no_key_into_the_vault_that_it_makes() {
    let home = Home::new();
    let access = Access { key_file: Some(home.vault().join("my.key")), ..home.access() };
    let refusal = assert_refused(Code::KeyInsideVault, init::run(&access, small()));
    assert!(refusal.written.is_none() && !home.vault().exists(), "a directory was made");
    assert!(!home.vault().join("my.key").exists() && !home.vault().join("vault.json").exists());
    assert!(!home.path("config/keys").exists());
    // The way out that the refusal names works.
    init::run(&Access { key_file: Some(home.path("my.key")), ..home.access() }, small()).unwrap();
    assert!(!home.path("config/keys").exists());
}

#[test]
fn init_makes_no_vault_around_its_own_configuration() {
    let home = Home::new();
    let host = devvault::host::Host::new(home.vault().join("config"), home.path("state"), home.path("data"));
    assert_refused(Code::KeyInsideVault, init::run(&Access { host, ..home.access() }, small()));
    assert!(!home.vault().join("vault.json").exists());
    assert!(!home.vault().exists(), "something was made");
}

#[test]
fn init_never_overwrites_a_key() {
    let home = Home::new();
    for content in ["", "something precious"] {
        write_private(&home.path("my.key"), content.as_bytes());
        let access = Access { key_file: Some(home.path("my.key")), ..home.access() };
        assert!(init::run(&access, small()).is_err());
        assert_eq!(fs::read_to_string(home.path("my.key")).unwrap(), content);
        assert!(!home.vault().join("vault.json").exists());
    }
    let made = Home::with_vault();
    let bytes = fs::read(made.key()).unwrap();
    let access = Access { key_file: Some(made.key()), vault: made.path("second"), ..made.access() };
    assert!(init::run(&access, small()).is_err());
    assert_eq!(fs::read(made.key()).unwrap(), bytes);
}

#[test]
fn a_damaged_key_is_refused() {
    let home = Home::with_snapshot();
    let intact = fs::read(home.key()).unwrap();
    let text = String::from_utf8(intact.clone()).unwrap();
    let secret = text.find("\"secret\":\"").unwrap() + 10;
    let mut damaged: Vec<Vec<u8>> =
        [0, 1, intact.len() / 2, intact.len() - 1].map(|length| intact[..length].to_vec()).into();
    damaged.push([&intact[..], b"\n"].concat());
    damaged.push([&intact[..], &intact[..]].concat());
    damaged.push(text.replacen('{', "{ ", 1).into_bytes());
    damaged.push(text.replace("\"format\":1", "\"format\":2").into_bytes());
    damaged.push(vec![b'x'; 70_000]);
    for bytes in damaged {
        write_private(&home.key(), &bytes);
        locked_out(&home, &home.access(), Code::KeyDamaged);
    }
    for at in [secret, secret + 31, secret + 63] {
        write_private(&home.key(), &intact);
        flip(&home.key(), at);
        locked_out(&home, &home.access(), Code::KeyDamaged);
    }
    fs::remove_file(home.key()).unwrap();
    let directory = home.path("key-directory");
    fs::create_dir(&directory).unwrap();
    locked_out(&home, &Access { key_file: Some(directory), ..home.access() }, Code::KeyDamaged);
}

// Export and import

#[test]
fn an_export_needs_an_acknowledgement() {
    let home = Home::with_snapshot();
    assert_refused(Code::NotAcknowledged, key::export(&home.access(), &home.path("exported"), false));
    assert!(!home.path("exported").exists());
    let file = home.path("exported");
    let (exit, refused) = home.json(&["key", "export", file.to_str().unwrap()]);
    assert_eq!((exit, &refused["code"]), (17, &"DV701".into()));
    assert!(!file.exists());
    assert_eq!(status::run(&home.access()).unwrap().key_exported, None);
}

// Unix alone: modes of files.
#[cfg(unix)]
#[test]
fn commands_about_a_key_can_be_pasted_whatever_its_path_is() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_snapshot();
    fs::create_dir(home.path("my keys")).unwrap();
    let path = home.path("my keys/exported.key");
    let output = home.run(&["key", "export", path.to_str().unwrap(), "--acknowledge-plain-secret"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!(" --key-file '{}' key check\n", path.display())), "{said}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refusal = assert_refused(
        Code::KeyExposed,
        home.verify_from(&Access { key_file: Some(path.clone()), ..home.access() }, &[]),
    );
    assert!(refusal.next.contains(&format!("`chmod 600 '{}'`", path.display())), "{refusal:?}");
}

#[test]
fn an_exported_key_restores_on_another_host() {
    let home = Home::with_snapshot();
    let file = home.path("exported");
    key::export(&home.access(), &file, true).unwrap();
    assert_eq!(fs::read(&file).unwrap(), fs::read(home.key()).unwrap());
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap()) & 0o777, 0o600);
    let access = Access { host: home.other_host("new"), ..home.access() };
    assert_refused(Code::KeyMissing, home.verify_from(&access, &[]));
    let imported = key::import(&access.host, &file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(imported.path.is_file());
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&imported.path).unwrap()) & 0o777, 0o600);
    let place = "latest".parse().unwrap();
    restore::run(&access, &place, &home.path("restored"), &crate::support::restore_options(), &Silent).unwrap();
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
    // It did not make the key, so that it may go on without a witness of its own.
    backup::run(&access, &home.source(), &backup::Options::default(), &Silent).unwrap();
}

#[test]
fn an_export_never_overwrites_anything() {
    let home = Home::with_snapshot();
    let file = home.path("exported");
    for content in ["", "precious"] {
        fs::write(&file, content).unwrap();
        assert_refused(Code::NotEmpty, key::export(&home.access(), &file, true));
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_refused(Code::NotEmpty, key::export(&home.access(), &file, true));
    #[cfg(unix)]
    {
        fs::remove_dir(&file).unwrap();
        std::os::unix::fs::symlink(home.path("target"), &file).unwrap();
        assert_refused(Code::NotEmpty, key::export(&home.access(), &file, true));
        assert!(!home.path("target").exists());
    }
}

#[test]
fn an_export_never_goes_into_the_vault() {
    let home = Home::with_snapshot();
    unchanged(&home.vault(), || {
        for place in ["vault/exported", "vault/snapshots/exported", "vault/packs/../exported"] {
            assert_refused(Code::KeyInsideVault, key::export(&home.access(), &home.path(place), true));
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(home.vault(), home.path("door")).unwrap();
            assert_refused(Code::KeyInsideVault, key::export(&home.access(), &home.path("door/exported"), true));
        }
    });
}

#[test]
fn importing_twice_is_the_same_as_once() {
    let home = Home::with_snapshot();
    let host = home.other_host("new");
    let first = key::import(&host, &home.key()).unwrap();
    let bytes = fs::read(&first.path).unwrap();
    assert_eq!(key::import(&host, &home.key()).unwrap(), first);
    assert_eq!(fs::read(&first.path).unwrap(), bytes);
}

#[test]
fn the_proof_that_an_imported_key_works_names_no_other_vault() {
    let (home, other) = (Home::with_vault(), Home::with_vault());
    let import = |home: &Home, key: &Path| {
        let output = home.run(&["key", "import", key.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let named = format!("--vault {}", home.vault().display());
    let own = home.key();
    let text = import(&home, &other.key());
    assert!(text.contains("key check") && !text.contains(&named), "{text}");
    let text = import(&home, &own);
    assert!(text.contains(&named) || !text.contains("key check"), "{text}");
}

#[test]
fn a_second_key_for_the_same_vault_is_not_imported() {
    let home = Home::with_snapshot();
    let real = read(&home.key());
    let crafted = KeyFile::new(Secret::from_bytes([8; 32]), real.vault, real.host, Time::default());
    write_private(&home.path("crafted.key"), &crafted.encode());
    let bytes = fs::read(home.key()).unwrap();
    assert_refused(Code::KeyWrong, key::import(&home.host(), &home.path("crafted.key")));
    assert_eq!(fs::read(home.key()).unwrap(), bytes);
    home.verify(&[]).unwrap();
}

#[test]
fn what_is_no_key_is_not_imported() {
    let home = Home::new();
    let host = home.host();
    assert_refused(Code::KeyMissing, key::import(&host, &home.path("nowhere")));
    write_private(&home.path("text"), b"not a key\n");
    assert_refused(Code::KeyDamaged, key::import(&host, &home.path("text")));
    fs::create_dir(home.path("directory")).unwrap();
    assert_refused(Code::KeyDamaged, key::import(&host, &home.path("directory")));
    assert!(!home.path("config").exists());
}

#[test]
fn a_key_is_checked_without_anything_on_this_host() {
    let home = Home::with_snapshot();
    home.backup();
    let key = home.key();
    fs::create_dir(home.path("empty-home")).unwrap();
    let check = |key: &Path, home_directory: bool| {
        let mut program = home.program();
        for variable in ["DEVVAULT_CONFIG_DIR", "DEVVAULT_STATE_DIR", "XDG_DATA_HOME"] {
            program.env_remove(variable);
        }
        for variable in ["HOME", "USERPROFILE"] {
            match home_directory {
                true => program.env(variable, home.path("empty-home")),
                false => program.env_remove(variable),
            };
        }
        program.arg("--vault").arg(home.vault()).arg("--json").arg("--key-file").arg(key).args(["key", "check"]);
        let output = program.output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), document)
    };
    unchanged(&home.vault(), || {
        let (exit, report) = check(&key, true);
        assert_eq!((exit, &report["snapshot"], &report["ok"]), (Some(0), &2.into(), &true.into()));
        assert_eq!(report["freshness"], "unproven");
        assert_eq!(check(&Home::with_vault().key(), true).0, Some(13));
        if cfg!(unix) {
            assert_eq!(check(&key, false).0, Some(0));
        }
        flip(&home.vault().join("snapshots/00000002/manifest.json"), 9);
        let (exit, refused) = check(&key, true);
        assert_eq!((exit, &refused["code"]), (Some(13), &"DV306".into()));
        flip(&home.vault().join("snapshots/00000002/manifest.json"), 9);
    });
}

#[test]
fn status_tells_whether_the_key_was_ever_exported() {
    let home = Home::with_snapshot();
    let (exit, before) = home.json(&["status"]);
    assert_eq!((exit, &before["key_exported"]), (0, &serde_json::Value::Null));
    let text = home.run(&["status"]);
    let file = home.path("exported");
    let (exit, _) = home.json(&["key", "export", file.to_str().unwrap(), "--acknowledge-plain-secret"]);
    assert_eq!(exit, 0);
    let (_, after) = home.json(&["status"]);
    assert!(after["key_exported"].as_str().unwrap().ends_with('Z'));
    assert_ne!(String::from_utf8_lossy(&text.stdout), String::from_utf8_lossy(&home.run(&["status"]).stdout));
}

// The secret stays secret

/// Fails if a text holds 12 hexadecimal digits of the secret in a row.
#[track_caller]
fn without_secret(secret: &str, text: &[u8], what: &str) {
    let text = String::from_utf8_lossy(text).to_lowercase();
    for start in 0..=secret.len() - 12 {
        assert!(!text.contains(&secret[start..start + 12]), "{what} shows the secret: {text}");
    }
}

#[test]
fn no_command_shows_the_secret() {
    let home = Home::with_snapshot();
    let intact = fs::read(home.key()).unwrap();
    let secret = HEXLOWER.encode(read(&home.key()).secret().expose());
    let text = String::from_utf8(intact.clone()).unwrap();
    let vault = read(&home.key()).vault.to_string();
    let key_id = read(&home.key()).key_id.to_string();
    let keys: [(&str, String); 10] = [
        ("intact", text.clone()),
        ("cut in the secret", text[..text.find(&secret).unwrap() + 40].to_owned()),
        (
            "a digit changed",
            text.replace(&secret, &format!("{}{}", if secret.starts_with('0') { 1 } else { 0 }, &secret[1..])),
        ),
        ("a digit that is none", text.replace(&secret, &format!("{}x", &secret[..63]))),
        ("upper case", text.replace(&secret, &secret.to_uppercase())),
        ("a digit too many", text.replace(&secret, &format!("{secret}0"))),
        ("in the vault's place", text.replace(&vault, &secret)),
        ("in the key id's place", text.replace(&key_id, &secret)),
        ("as a field", text.replace("\"secret\":", &format!("\"{secret}\":1,\"secret\":"))),
        ("as a number", text.replace("\"format\":1", &format!("\"format\":\"{secret}\""))),
    ];
    let file = home.path("exported");
    let (source, destination) = (home.source(), home.path("restored"));
    let [source, destination, exported] = [&source, &destination, &file].map(|path| path.to_str().unwrap());
    let key = home.key();
    for (name, content) in &keys {
        write_private(&home.key(), content.as_bytes());
        for arguments in [
            ["status"].as_slice(),
            &["snapshots"],
            &["verify"],
            &["backup", source],
            &["restore", "1", destination],
            &["ls", "1"],
            &["index", "rebuild"],
            &["key", "check"],
            &["key", "export", exported, "--acknowledge-plain-secret"],
            &["key", "import", key.to_str().unwrap()],
        ] {
            // Both forms of one act in turn would double the time: each takes every second.
            let json = (name.len() + arguments.len()) % 2 == 0;
            let output = if json { home.run(&[arguments, &["--json"]].concat()) } else { home.run(arguments) };
            assert_eq!(output.status.success(), *name == "intact", "{name}: {arguments:?}");
            without_secret(&secret, &output.stdout, name);
            without_secret(&secret, &output.stderr, name);
        }
        if *name == "intact" {
            fs::remove_dir_all(home.path("restored")).unwrap();
            fs::remove_file(home.path("exported")).unwrap();
        }
    }
}

#[test]
fn no_file_outside_the_key_holds_the_secret() {
    let home = Home::with_snapshot();
    home.backup();
    home.restore("latest", "restored").unwrap();
    let key = home.key();
    let secret = *read(&key).secret().expose();
    let text = HEXLOWER.encode(&secret);
    for path in fingerprint(&home.path("")).into_keys().filter(|path| *path != key) {
        let bytes = fs::read(&path).unwrap();
        without_secret(&text, &bytes, &path.display().to_string());
        assert!(!bytes.windows(32).any(|window| window == secret), "{}", path.display());
    }
}

#[test]
fn no_message_about_a_damaged_key_shows_the_secret() {
    let home = Home::with_vault();
    let intact = fs::read(home.key()).unwrap();
    let secret = HEXLOWER.encode(read(&home.key()).secret().expose());
    for at in 0..intact.len() {
        for bit in 0..8 {
            let mut bytes = intact.clone();
            bytes[at] ^= 1 << bit;
            if let Err(error) = KeyFile::decode(&bytes) {
                without_secret(&secret, error.to_string().as_bytes(), "a message");
            }
        }
    }
    write_private(&home.key(), &intact[..intact.len() - 1]);
    let refusal = refused(key::check(&home.access()));
    without_secret(&secret, format!("{refusal:?}").as_bytes(), "a refusal");
}
