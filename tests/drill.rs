//! Drills: a restore that is really done, compared by a path of its own, and what stands against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use devvault::drill::{self, Nobody, Observer, Options, Report};
use devvault::error::{Error, Result};
use devvault::host::Host;
use devvault::incident::journal::Journal;
use devvault::incident::registry;
use devvault::ops::{init, receipt};
use devvault::progress::{Phase, Progress, Silent};
use devvault::refusal::Code;
use devvault::vault::gate::Access;

use crate::support::{
    Home, assert_refused, can_drill, copy_tree, fingerprint, flip, names, noise, packs, program, unchanged, write_tree,
};

fn options(home: &Home) -> Options {
    Options { scratch: Some(home.scratch()), ..Options::default() }
}

fn status(home: &Home) -> devvault::ops::status::Report {
    devvault::ops::status::run(&home.access()).unwrap()
}

fn drill(home: &Home, options: &Options) -> Result<Report> {
    drill::run(&home.access(), options, &Silent)
}

/// Changes what was restored before it is compared.
struct Meddler<F>(F);

impl<F: Fn(&Path) + Sync> Observer for Meddler<F> {
    fn restored(&self, restored: &Path) {
        (self.0)(restored);
    }
}

/// Changes what was restored, and returns what the drill says then.
fn meddled(home: &Home, meddle: impl Fn(&Path) + Sync) -> Report {
    drill::run_observed(&home.access(), &options(home), &Meddler(meddle), &Silent).unwrap()
}

fn code(report: &Report) -> Option<Code> {
    report.failure.as_ref().and_then(|failure| failure.code)
}

fn touch_back(path: &Path, act: impl FnOnce()) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    act();
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_drill_restores_and_compares_everything_and_leaves_nothing_behind() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let (vault, source) = (home.vault(), home.source());
    let before = fingerprint(&source);
    let report = unchanged(&vault, || drill(&home, &options(&home)).unwrap());
    assert_eq!((report.exit(), report.snapshot, report.scenario(), report.extent()), (0, 1, "restore", "whole"));
    let steps: Vec<&str> = report.steps.iter().map(|step| &*step.name).collect();
    assert_eq!(steps, ["locate", "authenticate", "restore", "compare", "verify", "clean up"]);
    let compared = report.compared.unwrap();
    assert_eq!((compared.objects, compared.files), (report.counts.entries(), report.counts.files));
    assert_eq!(compared.bytes, report.counts.bytes);
    let recovery = report.recovery.unwrap();
    assert!(recovery.is_measured() && recovery.verdict == drill::Verdict::Met && recovery.seconds > 0.0);
    assert_eq!(names(&home.path("scratch")), [""; 0]);
    assert_eq!(fingerprint(&source), before);
}

#[test]
fn whatever_differs_from_the_snapshot_after_the_restore_fails_the_drill_and_is_named() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    type Meddle = fn(&Path);
    let all: [(&str, Meddle); 7] = [
        ("src/main.rs", |root| touch_back(&root.join("src/main.rs"), || flip(&root.join("src/main.rs"), 3))),
        ("README", |root| {
            let path = root.join("README");
            touch_back(&path, || fs::write(&path, "hello\nx").unwrap());
        }),
        ("z-last", |root| fs::remove_file(root.join("z-last")).unwrap()),
        ("src/extra", |root| fs::write(root.join("src/extra"), "").unwrap()),
        ("vacant/extra", |root| fs::create_dir(root.join("vacant/extra")).unwrap()),
        ("empty", |root| {
            fs::remove_file(root.join("empty")).unwrap();
            fs::create_dir(root.join("empty")).unwrap();
        }),
        ("README", |root| {
            let open = fs::File::options().write(true).open(root.join("README")).unwrap();
            open.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }),
    ];
    for (path, meddle) in all {
        let report = meddled(&home, meddle);
        let failure = report.failure.as_ref().unwrap_or_else(|| panic!("{path} went unnoticed"));
        assert_eq!((failure.code, report.exit()), (Some(Code::DrillDiffers), 12), "{path}");
        assert!(failure.paths.iter().any(|known| known.as_bytes() == path.as_bytes()), "{path}: {failure:?}");
        let scratch = report.scratch.as_deref().expect("kept as evidence");
        assert!(
            scratch.join("restored/README").exists()
                && scratch.starts_with(fs::canonicalize(home.path("scratch")).unwrap())
        );
        let step = report.steps.last().unwrap();
        assert_eq!((&*step.name, step.passed), ("compare", false));
    }
}

// Unix alone: modes and links.
#[cfg(unix)]
#[test]
fn modes_targets_attributes_and_hard_links_are_compared_too() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let home = Home::with_vault();
    write_tree(&home.source(), &[("a", "a"), ("other", "o"), ("link", "->a"), ("dir/x", "x")]);
    fs::hard_link(home.source().join("a"), home.source().join("same")).unwrap();
    fs::set_permissions(home.source().join("dir"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(home.source().join("dir"), fs::Permissions::from_mode(0o550)).unwrap();
    home.backup();
    assert_eq!(drill(&home, &options(&home)).unwrap().exit(), 0);
    assert_eq!(names(&home.path("scratch")), [""; 0], "a directory without the right to write is removed too");
    type Meddle = fn(&Path);
    let all: [(&str, Meddle); 5] = [
        ("other", |root| fs::set_permissions(root.join("other"), fs::Permissions::from_mode(0o777)).unwrap()),
        ("dir", |root| fs::set_permissions(root.join("dir"), fs::Permissions::from_mode(0o755)).unwrap()),
        ("link", |root| {
            fs::remove_file(root.join("link")).unwrap();
            symlink("b", root.join("link")).unwrap();
        }),
        ("same", |root| {
            fs::remove_file(root.join("same")).unwrap();
            fs::copy(root.join("a"), root.join("same")).unwrap();
        }),
        ("other", |root| fs::hard_link(root.join("other"), root.parent().unwrap().join("name")).unwrap()),
    ];
    for (path, meddle) in all {
        let report = meddled(&home, meddle);
        assert_eq!(code(&report), Some(Code::DrillDiffers), "{path}");
        let failure = report.failure.unwrap();
        assert!(failure.paths.iter().any(|known| known.as_bytes() == path.as_bytes()), "{path}: {failure:?}");
        crate::support::open_up(&report.scratch.unwrap());
    }
}

/// A home whose newest snapshot needs two packs and a record before it, and is so small that every byte can be damaged.
fn tiny() -> Home {
    let home = Home::quick();
    init::run(&home.access(), crate::support::small()).unwrap();
    write_tree(&home.source(), &[("a", "the first file\n"), ("dir/b", "the second file\n")]);
    home.backup();
    write_tree(&home.source(), &[("c", "the third file\n")]);
    home.backup();
    assert_eq!(packs(&home.vault()).len(), 2);
    home
}

/// Damages one byte after another, its share of all of them, and puts back everything that a drill changed or remembers.
/// Returns how many bytes it damaged.
fn damage_share(original: &Home, share: usize, shares: usize) -> usize {
    let home = Home::quick();
    for name in ["config", "state", "vault"] {
        copy_tree(&original.path(name), &home.path(name));
    }
    let vault = home.vault();
    let needed =
        |name: &Path| ["packs", "snapshots", "vault.json", "vault.hmac"].iter().any(|top| name.starts_with(top));
    let names = fingerprint(&vault).into_keys().map(|path| path.strip_prefix(&vault).unwrap().to_owned());
    let files: Vec<PathBuf> = names.filter(|name| needed(name)).collect();
    assert_eq!(files.len(), 8, "two records and the configuration, each with its HMAC, and two packs: {files:?}");
    let mut damaged = 0;
    for name in files {
        let path = vault.join(&name);
        let good = fs::read(&path).unwrap();
        // Whether bytes or their HMAC are wrong nobody can tell: a record is named by its directory.
        let object = match name.to_str().unwrap().replace('\\', "/") {
            record if record.starts_with("snapshots/") => record.rsplit_once('/').unwrap().0.to_owned(),
            config if config.starts_with("vault.") => "vault.json".to_owned(),
            pack => pack,
        };
        for at in (share..good.len()).step_by(shares) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            // The index stands in for nothing, whether it is there or not.
            if at / 8 % 2 == 0 {
                let _ = fs::remove_dir_all(vault.join("index"));
            }
            let (code, told) = match drill(&home, &options(&home)) {
                Ok(report) => {
                    let failure = report.failure.unwrap_or_else(|| panic!("{} {at} went unnoticed", name.display()));
                    (failure.code.expect("a refusal"), format!("{} {:?}", failure.message, failure.causes))
                }
                Err(Error::Refused(refusal)) => (refusal.code, format!("{} {:?}", refusal.message, refusal.causes)),
                Err(other) => panic!("{} {at}: {other}", name.display()),
            };
            assert!(matches!(code.family().exit(), 11 | 13), "{} {at}: {code} {told}", name.display());
            // Whose key is missing was read from vault.json: what it says now is named.
            let claimed = |word: &str| word.len() == 32 && String::from_utf8_lossy(&bad).contains(word);
            let named = told.contains(&object)
                || code == Code::KeyMissing && object == "vault.json" && told.split(' ').any(claimed);
            assert!(named, "{} {at}: {code} {told}", name.display());
            damaged += 1;
            fs::write(&path, &good).unwrap();
            for forgotten in ["scratch", "state", "vault/index"] {
                let _ = fs::remove_dir_all(home.path(forgotten));
            }
            copy_tree(&original.path("state"), &home.path("state"));
            copy_tree(&original.path("vault/index"), &home.path("vault/index"));
        }
    }
    assert_eq!(drill(&home, &options(&home)).unwrap().exit(), 0, "nothing is damaged any more");
    damaged
}

#[test]
fn a_bit_flipped_anywhere_that_is_needed_fails_the_drill_and_is_named() {
    if !can_drill() {
        return;
    }
    let original = tiny();
    let shares = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    let damaged: usize = std::thread::scope(|scope| {
        let damage = |share| {
            scope.spawn({
                let original = &original;
                move || damage_share(original, share, shares)
            })
        };
        let workers: Vec<_> = (0..shares).map(damage).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let needed = ["packs", "snapshots", "vault.json", "vault.hmac"].map(|top| bytes_below(&original.vault().join(top)));
    assert_eq!(damaged as u64, needed.iter().sum::<u64>());
}

fn bytes_below(top: &Path) -> u64 {
    let files = walkdir::WalkDir::new(top).into_iter().map(|entry| entry.unwrap().metadata().unwrap());
    files.filter(|file| file.is_file()).map(|file| file.len()).sum()
}

#[test]
fn real_damage_that_a_drill_meets_opens_one_incident_and_is_told_by_log_and_journal() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let _ = fs::remove_dir_all(home.vault().join("index"));
    packs(&home.vault()).iter().for_each(|pack| flip(pack, 60));
    let report = drill(&home, &options(&home)).unwrap();
    assert_eq!(report.exit(), 11, "{:?}", report.failure);
    assert!(report.kept.incident.is_some() && report.kept.evidence.is_some());
    let entries = Journal::of(&home.host()).entries().unwrap();
    assert_eq!(registry::replay(&entries).len(), 1);
    let entry = entries.iter().rev().find(|entry| entry.act == "drill").unwrap();
    assert_eq!(entry.text("outcome"), "failed");
    let log = fs::read_to_string(report.log.unwrap()).unwrap();
    assert!(log.contains("FAILED, DV1") && log.contains("kept as evidence: "), "{log}");
}

#[test]
fn a_drill_that_would_restore_nothing_is_refused() {
    let home = Home::with_vault();
    write_tree(&home.source(), &[("empty", ""), ("dir/", "")]);
    home.backup();
    assert_refused(Code::NothingToDrill, drill(&home, &options(&home)));
    home.write_source(&[("file", "some content")]);
    home.backup();
    for bytes in [0, 5] {
        let sampled = Options { sample: Some(bytes), ..options(&home) };
        let refusal = assert_refused(Code::NothingToDrill, drill(&home, &sampled));
        assert!(refusal.message.contains("fits into"), "{}", refusal.message);
    }
    assert!(names(&home.path("scratch")).is_empty());
    assert_eq!(registry::replay(&Journal::of(&home.host()).entries().unwrap()).len(), 0, "it opens no incident");
    let log = fs::read_to_string(home.host().drills_directory().join("log.md")).unwrap();
    assert_eq!(log.matches("drill refused, DV114").count(), 3, "{log}");
}

#[test]
fn a_sample_restores_no_more_than_its_size_and_says_what_it_does_not_prove() {
    if !can_drill() {
        return;
    }
    let home = Home::with_vault();
    for file in 0..40 {
        write_tree(&home.source(), &[(&format!("d{}/f{file}", file % 7), &"x".repeat(100 + file))]);
    }
    home.backup();
    let report = drill(&home, &Options { sample: Some(1_000), ..options(&home) }).unwrap();
    assert_eq!(report.exit(), 0, "{:?}", report.failure);
    let (sample, compared) = (report.sample.unwrap(), report.compared.clone().unwrap());
    assert!(sample.bytes <= 1_000 && sample.files >= 6 && sample.files_total == 40);
    assert_eq!((compared.files, compared.bytes), (sample.files, sample.bytes));
    assert!(sample.bad_files_at_most > 0 && report.not_proven[0].contains("were not restored"));
    let recovery = report.recovery.unwrap();
    assert!(!recovery.is_measured() && recovery.seconds_low >= recovery.seconds_fixed.unwrap() * 0.5);
    assert!(recovery.seconds_high.unwrap() >= recovery.seconds_low);
    let steps: Vec<&str> = report.steps.iter().map(|step| &*step.name).collect();
    assert_eq!(steps, ["locate", "authenticate", "restore one file", "restore", "compare", "clean up"]);
    // The comparison is as strict as that of everything.
    let extra = Meddler(|root: &Path| fs::write(root.join("extra"), "").unwrap());
    let sampled = Options { sample: Some(1_000), ..options(&home) };
    let report = drill::run_observed(&home.access(), &sampled, &extra, &Silent).unwrap();
    assert_eq!(code(&report), Some(Code::DrillDiffers));
}

#[test]
fn a_damaged_copy_is_refused_in_every_way_and_the_vault_and_its_host_never_hear_of_it() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let negative = Options { negative: true, ..options(&home) };
    let report = unchanged(&home.vault(), || drill(&home, &negative).unwrap());
    assert_eq!((report.exit(), report.trials.len()), (0, 3), "{:?}", report.failure);
    for trial in &report.trials {
        // Which bit it was decides whether the record is damaged, forged, foreign or misplaced.
        assert!([11, 13].contains(&trial.verify.family().exit()), "{trial:?}");
        assert!([11, 13].contains(&trial.restore.family().exit()), "{trial:?}");
    }
    assert_eq!(registry::replay(&Journal::of(&home.host()).entries().unwrap()).len(), 0);
    assert_eq!(names(&home.path("scratch")), [""; 0]);
}

#[test]
fn damage_that_nobody_refuses_fails_the_drill() {
    if !can_drill() {
        return;
    }
    /// Puts the manifest back before anyone looks at it.
    struct Healer<'a>(&'a Path);
    impl Observer for Healer<'_> {
        fn damaged(&self, copy: &Path) {
            let manifest = "snapshots/00000001/manifest.json";
            fs::copy(self.0.join(manifest), copy.join(manifest)).unwrap();
        }
    }
    let home = Home::with_snapshot();
    let negative = Options { negative: true, ..options(&home) };
    let report = drill::run_observed(&home.access(), &negative, &Healer(&home.vault()), &Silent).unwrap();
    assert_eq!((code(&report), report.exit()), (Some(Code::DamageNotRefused), 11));
    assert!(report.scratch.unwrap().join("copy").is_dir(), "the copy stays as evidence");
    assert_eq!(registry::replay(&Journal::of(&home.host()).entries().unwrap()).len(), 0);
}

#[test]
fn a_clean_machine_has_nothing_but_the_vault_and_the_key() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let program = Some(program().to_owned());
    let clean = Options { clean_machine: program, negative: true, ..options(&home) };
    assert_refused(Code::KeyMissing, drill::run(&home.access(), &clean, &Silent));
    let output = home.run(&["drill", "--clean-machine", "--to", "scratch"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--key-file"), "{said}");
    // No drill has failed that way.
    assert_eq!(names(&home.scratch()), [""; 0]);
    assert!(Journal::of(&home.host()).entries().unwrap().iter().all(|entry| entry.act != "drill"));
    assert!(!home.host().evidence_directory().exists() && !home.host().drills_directory().exists());
    let access = Access { key_file: Some(home.key()), ..home.access() };
    let report = drill::run(&access, &clean, &Silent).unwrap();
    assert_eq!((report.exit(), report.scenario()), (0, "clean-machine"), "{:?}", report.failure);
    assert_eq!(report.compared.unwrap().files, report.counts.files);
    // What the other process refuses is told with its code.
    let _ = fs::remove_dir_all(home.vault().join("index"));
    packs(&home.vault()).iter().for_each(|pack| flip(pack, 60));
    let report = drill::run(&access, &clean, &Silent).unwrap();
    assert_eq!(report.exit(), 11, "{:?}", report.failure);
}

#[test]
fn a_scratch_directory_never_lies_in_the_vault_the_source_or_devvaults_own_directories() {
    let home = Home::with_snapshot();
    for new in ["vault/new/deep", "config/new"] {
        fs::create_dir_all(home.path(new)).unwrap();
    }
    copy_tree(&home.vault(), &home.path("other"));
    let places = ["vault", "vault/new/deep", "source", "source/src", "state", "config/new", "other", "other/packs"];
    for place in places {
        let wrong = Options { scratch: Some(home.path(place)), ..Options::default() };
        for untouched in [home.path("other"), home.source(), home.vault()] {
            unchanged(&untouched, || assert_refused(Code::ScratchUnfit, drill(&home, &wrong)));
        }
    }
}

#[test]
fn a_scratch_directory_is_made_only_in_a_directory_that_is_there() {
    let home = Home::with_snapshot();
    fs::write(home.path("file"), "").unwrap();
    // A disk that is not mounted looks like the second.
    for place in ["file/x", "disk/drills", "disk"] {
        let wrong = Options { scratch: Some(home.path(place)), ..Options::default() };
        assert_refused(Code::DestinationParent, drill(&home, &wrong));
        let (exit, document) = home.json(&["drill", "--scenario", "full-vault", "--to", place]);
        assert_eq!((exit, document["code"].as_str()), (12, Some("DV206")), "{document}");
    }
    assert!(!home.path("disk").exists());
    assert!(status(&home).sources[0].drill_failed.is_none());
}

#[test]
fn an_interrupted_drill_removes_what_it_restored() {
    if !can_drill() {
        return;
    }
    /// Interrupts when the comparison begins.
    struct AtCompare(std::sync::atomic::AtomicBool, PathBuf);
    impl Progress for AtCompare {
        fn phase(&self, phase: Phase, _: Option<u64>, _: Option<u64>) {
            let restored = fs::read_dir(&self.1)
                .is_ok_and(|mut names| names.next().is_some_and(|name| name.unwrap().path().join("restored").exists()));
            if phase == Phase::Comparing && restored {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        fn interrupted(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::SeqCst)
        }
    }
    let home = Home::with_snapshot();
    let progress = AtCompare(false.into(), home.path("scratch"));
    let error = drill::run_observed(&home.access(), &options(&home), &Nobody, &progress).unwrap_err();
    assert_eq!(error.exit(), 130);
    assert!(error.what_was_written().is_none(), "nothing is named that was removed: {:?}", error.what_was_written());
    assert_eq!(names(&home.path("scratch")), [""; 0]);
}

#[test]
fn a_clean_up_tells_how_far_it_is_and_may_be_stopped_after_a_drill_that_passed() {
    /// Counts what is cleaned up, and interrupts when so many objects are gone.
    struct InCleanUp(std::sync::atomic::AtomicU64, u64, std::sync::Mutex<Option<Option<u64>>>);
    impl Progress for InCleanUp {
        fn phase(&self, phase: Phase, files: Option<u64>, _: Option<u64>) {
            if phase == Phase::Cleaning {
                *self.2.lock().unwrap() = Some(files);
            }
        }
        fn advance(&self, objects: u64, _: u64) {
            if self.2.lock().unwrap().is_some() {
                self.0.fetch_add(objects, std::sync::atomic::Ordering::SeqCst);
            }
        }
        fn interrupted(&self) -> bool {
            self.2.lock().unwrap().is_some() && self.0.load(std::sync::atomic::Ordering::SeqCst) >= self.1
        }
    }
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let objects = |limit| {
        let progress = InCleanUp(0.into(), limit, None.into());
        let report = drill::run_observed(&home.access(), &options(&home), &Nobody, &progress).unwrap();
        (report, progress.0.into_inner(), progress.2.into_inner().unwrap())
    };
    let (report, removed, announced) = objects(u64::MAX);
    assert_eq!((report.exit(), announced), (0, Some(Some(report.counts.entries()))));
    assert!(removed >= report.counts.entries(), "{removed}");
    assert_eq!(names(&home.path("scratch")), [""; 0]);
    let (report, removed, _) = objects(0);
    assert_eq!(
        (report.exit(), removed, report.failure.is_none()),
        (130, 0, true),
        "the drill passed, its clean-up did not"
    );
    let left = report.scratch.expect("named");
    assert!(
        left.exists() && report.surprises.iter().any(|what| what.contains("interrupted")),
        "{:?}",
        report.surprises
    );
}

#[test]
fn the_recovery_time_is_held_against_the_configured_objective() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    fs::write(home.path("config/config.json"), r#"{"drill_minutes":0,"drill_minutes_max":0}"#).unwrap();
    let report = drill(&home, &options(&home)).unwrap();
    assert_eq!((report.recovery.unwrap().verdict, report.exit()), (drill::Verdict::Exceeded, 0));
}

#[test]
fn a_receipt_of_a_drill_is_genuine_and_says_what_was_exercised() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let path = home.path("receipt");
    home.scratch();
    let (exit, document) = home.json(&["drill", "--to", "scratch", "--negative", "--receipt", path.to_str().unwrap()]);
    assert_eq!(
        (exit, &document["schema"], &document["ok"]),
        (0, &"devvault.drill/1".into(), &true.into()),
        "{document}"
    );
    assert_eq!(document["negative"].as_array().unwrap().len(), 3);
    let checked = receipt::check(&home.access(), &path).unwrap();
    let drilled = checked.receipt.drill.unwrap();
    assert_eq!(
        (checked.receipt.act.as_str(), checked.receipt.verdict.as_str(), drilled.negative),
        ("drill", "passed", 3)
    );
    assert_eq!((drilled.files, drilled.files_compared), (4, 5), "empty files are compared and not counted as content");
    let text = String::from_utf8(home.run(&["receipt", "check", path.to_str().unwrap()]).stdout).unwrap();
    assert!(text.contains("restored and compared"), "{text}");
}

#[test]
fn a_failed_drill_prints_the_code_and_where_the_evidence_is() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let _ = fs::remove_dir_all(home.vault().join("index"));
    packs(&home.vault()).iter().for_each(|pack| flip(pack, 60));
    home.scratch();
    let output = home.run(&["drill", "--to", "scratch"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(11), "{text}");
    assert!(
        text.starts_with("DRILL FAILED, DV1") && text.contains("kept: ") && text.contains("runbook failed-drill"),
        "{text}"
    );
    assert!(!text.contains("PASSED"), "{text}");
    let (exit, document) = home.json(&["drill", "--to", "scratch"]);
    assert_eq!((exit, &document["ok"]), (11, &false.into()), "{document}");
}

#[test]
fn large_and_sparse_files_are_compared_to_their_last_byte() {
    if !can_drill() {
        return;
    }
    let home = Home::with_vault();
    fs::create_dir_all(home.source()).unwrap();
    fs::write(home.source().join("large"), noise(200_000, 1)).unwrap();
    let sparse = fs::File::create(home.source().join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    drop(sparse);
    home.backup();
    assert_eq!(drill(&home, &options(&home)).unwrap().exit(), 0);
    let large = meddled(&home, |root| touch_back(&root.join("large"), || flip(&root.join("large"), 199_999)));
    assert_eq!(code(&large), Some(Code::DrillDiffers));
    let hole = meddled(&home, |root| touch_back(&root.join("sparse"), || flip(&root.join("sparse"), 1 << 20)));
    assert_eq!(code(&hole), Some(Code::DrillDiffers));
}

#[test]
fn the_clock_of_a_drill_is_that_of_its_access() {
    if !can_drill() {
        return;
    }
    let home = Home::with_snapshot();
    let host: Host = home.host();
    let access = Access { clock: Arc::clone(&home.access().clock), ..home.access() };
    drill::run(&access, &options(&home), &Silent).unwrap();
    let entry = Journal::of(&host).entries().unwrap().pop().unwrap();
    assert_eq!((entry.act.as_str(), entry.text("outcome"), entry.time), ("drill", "done", access.clock.now()));
    assert_eq!((entry.text("scenario"), entry.text("extent"), entry.text("objective")), ("restore", "whole", "met"));
}

#[test]
fn every_scenario_goes_through_its_procedure_on_a_throw_away_vault() {
    if !can_drill() {
        return;
    }
    use devvault::drill::scenario::{self, Scenario};
    for one in Scenario::ALL {
        let home = Home::new();
        let report = scenario::run(&home.host(), one, Some(&home.scratch())).unwrap();
        assert_eq!(report.exit(), 0, "{one}: {:?}\n{:?}", report.failure, report.steps);
        assert!(report.steps.len() >= 6 && report.steps.iter().all(|step| step.passed), "{one}: {:?}", report.steps);
        assert_eq!(names(&home.path("scratch")), [""; 0], "{one}");
        let entries = Journal::of(&home.host()).entries().unwrap();
        let kept: Vec<(&str, &str)> = entries.iter().map(|entry| (&*entry.act, entry.text("scenario"))).collect();
        assert_eq!(kept, [("drill", one.name())], "the throw-away host has a journal of its own");
        let log = fs::read_to_string(report.log.unwrap()).unwrap();
        assert!(log.contains(&format!("scenario {one}: passed")) && log.contains("- simulated: "), "{log}");
    }
    let home = Home::new();
    home.scratch();
    let output = home.program().args(["drill", "--scenario", "tampered-manifest", "--to", "scratch"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.starts_with("SCENARIO PASSED: tampered-manifest") && text.contains("says nothing of your own vaults"),
        "{text}"
    );
    let wrong = home.program().args(["drill", "--scenario", "another"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

// Linux alone: a device, and a user who may not make one.
#[cfg(target_os = "linux")]
#[test]
fn a_drill_that_cannot_hold_everything_offers_no_option_that_it_does_not_have() {
    let home = Home::with_vault();
    home.write_source(&[("file", "content")]);
    let made = std::process::Command::new("mknod").arg(home.source().join("null")).args(["c", "1", "3"]).status();
    if !made.is_ok_and(|made| made.success()) {
        return crate::support::skip("a device cannot be made");
    }
    home.backup();
    fs::create_dir(home.path("place")).unwrap();
    let place = home.path("place");
    let Some((exit, document)) = home.json_as_user(&["drill", "1", "--to", place.to_str().unwrap()]) else { return };
    let next = document["failure"]["next"].as_str().unwrap_or_default();
    assert_eq!((exit, &document["failure"]["code"]), (12, &"DV204".into()), "{document}");
    assert!(!next.contains("--without") && next.contains("a drill gives nothing up"), "{document}");
}
