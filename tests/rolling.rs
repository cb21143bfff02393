//! Verification that goes on from day to day, and receipts of it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devvault::clock::{Clock, FixedClock, SystemClock, Time};
use devvault::crypto::Digest;
use devvault::format::config::Parameters;
use devvault::format::pack::{BlockKind, Footer};
use devvault::format::record::Packs;
use devvault::host::Host;
use devvault::incident::journal::{Event, Journal};
use devvault::limits::PROOF_DAYS;
use devvault::ops::receipt::{self, Receipt};
use devvault::ops::verify::{self, Budget, Level, Report, Verdict};
use devvault::ops::{backup, init, status};
use devvault::progress::{Progress, Silent};
use devvault::refusal::Code;
use devvault::vault::gate::Access;
use devvault::vault::layout;

use crate::support::{Forger, Home, SMALL_TREE, assert_refused, flip, noise, packs, these_tests, unchanged};

const DAY: i64 = 86_400;
const BEGIN: i64 = 2_000_000_000;

/// A vault of many packs.
fn home() -> Home {
    let home = Home::with_vault();
    fs::create_dir_all(home.source()).unwrap();
    for file in 0..20 {
        fs::write(home.source().join(format!("file-{file:02}")), noise(10_000, file)).unwrap();
    }
    home.backup();
    assert!(packs(&home.vault()).len() >= 10);
    home
}

fn on_day(home: &Home, day: i64) -> Access {
    Access { clock: Arc::new(FixedClock(Time { seconds: BEGIN + day * DAY, nanos: 0 })), ..home.access() }
}

fn sample(access: &Access, millionths: u32) -> Report {
    verify::run(access, &[], Level::Rolling(Budget::Share(millionths)), &Silent).unwrap()
}

#[test]
fn a_tenth_a_day_reads_everything_in_ten_days_and_says_so() {
    let home = home();
    let mut shares = Vec::new();
    for day in 0..14 {
        let report = unchanged(&home.vault(), || sample(&on_day(&home, day), 100_000));
        assert_eq!((report.verdict, report.level.name()), (Verdict::NoFaultFound, "sample"));
        let covered = &report.coverage;
        assert!(covered.packs_now > 0 && covered.packs_now < covered.packs);
        assert!(covered.bad_packs_at_most > 0 && covered.bad_packs_at_most < covered.packs);
        assert!(!report.not_checked.is_empty(), "what it does not prove is said");
        shares.push(covered.bytes_recently);
        if day >= 11 {
            assert_eq!(covered.bytes_recently, covered.bytes, "day {day}");
            assert!(covered.oldest.unwrap().seconds >= BEGIN + (day - 12) * DAY, "day {day}: {covered:?}");
        }
    }
    assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]), "{shares:?}");
}

#[test]
fn damage_is_found_when_its_pack_comes_up_and_names_what_it_affects() {
    let home = home();
    let victim = packs(&home.vault())[3].clone();
    flip(&victim, 60);
    let found = (0..14).find_map(|day| {
        let report = verify::run(&on_day(&home, day), &[], Level::Rolling(Budget::Share(100_000)), &Silent).unwrap();
        (report.verdict == Verdict::Invalid).then_some(report)
    });
    let report = found.expect("every pack comes up within the window");
    // Which pack is the fourth is chance: it may hold contents or lists of files.
    let damage = [Code::ChunkDamaged, Code::ListingDamaged];
    assert!(report.findings.iter().any(|finding| damage.contains(&finding.code) && !finding.paths.is_empty()));
    assert_eq!(report.snapshots, [(1, Verdict::Invalid)]);
}

/// Interrupts after some packs.
struct After(AtomicU64);

impl Progress for After {
    fn advance(&self, packs: u64, _: u64) {
        if packs > 0 {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn wherever_it_is_interrupted_every_pack_is_read_once_before_any_is_read_twice() {
    let level = Level::Rolling(Budget::Time(Duration::from_secs(3600)));
    for stride in [1, 2, 3, 5, 8] {
        let home = home();
        let total = packs(&home.vault()).len() as u64;
        // A pack that was read twice would leave another one that never was.
        for run in 0..total.div_ceil(stride) {
            let stopped = verify::run(&on_day(&home, run as i64), &[], level, &After(AtomicU64::new(stride)));
            assert_eq!(stopped.unwrap_err().exit(), 130, "{stride} {run}");
        }
        let after = sample(&on_day(&home, 100), 1);
        assert!(after.coverage.oldest.is_some_and(|oldest| oldest.seconds >= BEGIN), "{stride}: {:?}", after.coverage);
    }
}

/// Says that it has read so many packs, and goes no further: whoever hears it kills this process.
struct Hold(AtomicU64, u64);

impl Progress for Hold {
    fn advance(&self, packs: u64, _: u64) {
        if packs > 0 && self.0.fetch_add(packs, Ordering::SeqCst) + packs == self.1 {
            fs::write("held", "").unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
    }
}

/// Goes on by as many milliseconds with every look at it; negative where it is set back.
struct Ticking(AtomicI64, i64);

impl Clock for Ticking {
    fn now(&self) -> Time {
        let milliseconds = self.0.fetch_add(self.1, Ordering::SeqCst);
        Time {
            seconds: milliseconds.div_euclid(1000),
            nanos: u32::try_from(milliseconds.rem_euclid(1000)).unwrap() * 1_000_000,
        }
    }
}

const ROUND: &str = "DEVVAULT_TEST_ROUND";

#[test]
#[ignore = "is the process that another test kills"]
fn a_round_that_is_killed() {
    let Ok(given) = std::env::var(ROUND) else { return };
    let mut given = given.split(' ').map(|number| number.parse::<i64>().unwrap());
    let mut next = || given.next().unwrap();
    let (begin, tick, packs) = (next(), next(), next());
    let mut access = Access::new("vault", Host::new("config", "state", "data"));
    access.clock = Arc::new(Ticking(AtomicI64::new(begin * 1000), tick));
    let level = Level::Rolling(Budget::Time(Duration::from_secs(3600)));
    let _ = verify::run(&access, &[], level, &Hold(AtomicU64::new(0), packs as u64));
}

/// Verifies in a process of its own, and kills it when it has read so many packs.
fn killed(home: &Home, begin: i64, tick: i64, packs: u64) {
    let mut process = Command::new(these_tests())
        .args(["--exact", "rolling::a_round_that_is_killed", "--ignored", "--nocapture"])
        .env(ROUND, format!("{begin} {tick} {packs}"))
        .current_dir(home.path(""))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !home.path("held").exists() {
        assert_eq!(process.try_wait().unwrap(), None, "it ended before it had read {packs} packs");
        std::thread::sleep(Duration::from_millis(5));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    fs::remove_file(home.path("held")).unwrap();
}

/// Returns how many packs are remembered as read since a time, in seconds.
fn remembered(home: &Home, since: i64) -> u64 {
    let text = fs::read_to_string(home.reads()).unwrap();
    let known: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let read = |pack: &&serde_json::Value| pack["intact"][0].as_i64().is_some_and(|seconds| seconds >= since);
    known["packs"].as_array().unwrap().iter().filter(read).count() as u64
}

#[test]
fn a_kill_loses_what_was_read_within_a_second_and_the_pack_under_way_and_the_round_goes_on() {
    // The clock is looked at once for each pack. One that is set back proves nothing, so that everything is written down.
    for (tick, lost_max) in [(1000, 1), (400, 3), (-7000, 1)] {
        let home = home();
        let total = packs(&home.vault()).len() as u64;
        let (mut known, mut kills) = (0, 0);
        while total - known >= 6 {
            killed(&home, BEGIN + kills * DAY, tick, 6);
            kills += 1;
            let now = remembered(&home, BEGIN - DAY / 2);
            // A pack that was read twice in this round would be one less here.
            assert!(now + lost_max >= known + 6 && now < known + 6, "{tick}: {known} packs, then {now} after {kills}");
            known = now;
        }
        assert!(kills >= 2, "{total}");
        let level = Level::Rolling(Budget::Time(Duration::from_secs(3600)));
        let stopped = verify::run(&on_day(&home, 50), &[], level, &After(AtomicU64::new(total - known)));
        assert_eq!((stopped.unwrap_err().exit(), remembered(&home, BEGIN - DAY / 2)), (130, total), "{tick}");
    }
}

#[test]
fn a_pack_that_failed_is_remembered_although_the_verification_is_killed() {
    let home = home();
    let all = packs(&home.vault());
    [3, 7].into_iter().for_each(|victim: usize| flip(&all[victim], 60));
    // Its clock stands still, so that nothing is due; and one of the two may be the pack under way.
    killed(&home, BEGIN, 0, all.len() as u64);
    let text = fs::read_to_string(home.reads()).unwrap();
    assert!((1..=2).contains(&text.matches("\"failed\":{").count()), "{text}");
}

#[test]
fn what_was_read_before_an_interruption_is_not_read_again() {
    let home = home();
    let total = packs(&home.vault()).len() as u64;
    let level = Level::Rolling(Budget::Time(Duration::from_secs(3600)));
    let stopped = verify::run(&on_day(&home, 0), &[], level, &After(AtomicU64::new(4)));
    assert_eq!(stopped.unwrap_err().exit(), 130);
    // The packs that are left come first now.
    let left = u32::try_from((total - 4) * 1_000_000 / (total + 1)).unwrap();
    let report = sample(&on_day(&home, 1), left);
    assert!(report.coverage.packs_now >= total - 5);
    let again = sample(&on_day(&home, 2), 1);
    assert_eq!(again.coverage.packs_now, 1);
    assert!(again.coverage.oldest.is_some_and(|oldest| oldest.seconds >= BEGIN), "{:?}", again.coverage);
}

#[test]
fn what_cannot_be_trusted_of_earlier_reads_counts_for_nothing() {
    let home = home();
    sample(&on_day(&home, 0), 500_000);
    let file = home.reads();
    let text = fs::read_to_string(&file).unwrap().replace(&BEGIN.to_string(), &(BEGIN + 1).to_string());
    fs::write(&file, text).unwrap();
    let report = sample(&on_day(&home, 1), 1);
    assert!(report.notes.iter().any(|note| note.contains("may have failed before")), "{:?}", report.notes);
    assert_eq!(report.coverage.oldest, None, "nothing counts but this run");
    // It counts again once all of it has been read.
    verify::run(&on_day(&home, 2), &[], Level::Full, &Silent).unwrap();
    let report = sample(&on_day(&home, 3), 1);
    assert!(
        report.coverage.oldest.is_some() && report.notes.iter().all(|note| !note.contains("may have failed before"))
    );
}

#[test]
fn a_full_reading_counts_and_a_failed_pack_does_not() {
    let home = home();
    let report = verify::run(&on_day(&home, 0), &[], Level::Full, &Silent).unwrap();
    let covered = &report.coverage;
    assert_eq!((covered.bytes_now, covered.bad_packs_at_most, covered.files_whole), (covered.bytes, 0, covered.files));
    assert_eq!(covered.oldest.unwrap().seconds, BEGIN);
    flip(&packs(&home.vault())[0], 60);
    let report = verify::run(&on_day(&home, 1), &[], Level::Full, &Silent).unwrap();
    assert_eq!((report.coverage.packs_now + 1, report.coverage.oldest), (report.coverage.packs, None));
}

#[test]
fn what_was_read_counts_as_recent_for_thirty_days_to_the_second() {
    let home = home();
    verify::run(&on_day(&home, 0), &[], Level::Full, &Silent).unwrap();
    let quick_after = |seconds| {
        let clock = Arc::new(FixedClock(Time { seconds: BEGIN + seconds, nanos: 0 }));
        verify::run(&Access { clock, ..home.access() }, &[], Level::Quick, &Silent).unwrap().coverage
    };
    let window = PROOF_DAYS as i64 * DAY;
    let (within, beyond) = (quick_after(window), quick_after(window + 1));
    assert_eq!((within.bytes_recently, within.oldest.unwrap().seconds), (within.bytes, BEGIN));
    assert_eq!((beyond.bytes_recently, beyond.oldest.unwrap().seconds), (0, BEGIN));
    packs(&home.vault()).iter().for_each(|pack| fs::remove_file(pack).unwrap());
    let nothing = quick_after(window);
    assert_eq!((nothing.bytes, nothing.bytes_recently, nothing.oldest), (within.bytes, 0, None));
}

#[test]
fn a_quick_verification_reads_no_file_whole_but_an_empty_one() {
    let home = Home::with_snapshot();
    let covered = verify::run(&home.access(), &[], Level::Quick, &Silent).unwrap().coverage;
    assert_eq!((covered.files, covered.files_whole), (5, 1));
    assert_eq!(home.verify(&[]).unwrap().coverage.files_whole, 5);
}

/// Returns a pack that holds nothing but contents of files.
fn contents(home: &Home) -> PathBuf {
    let macs = Forger::new(home).macs;
    let only_data = |path: &PathBuf| {
        let footer = Footer::decode(&fs::read(path).unwrap(), &macs).unwrap();
        footer.blocks.iter().all(|block| block.kind == BlockKind::Data)
    };
    packs(&home.vault()).into_iter().find(only_data).expect("most packs hold nothing else")
}

#[test]
fn a_sample_of_all_packs_that_are_there_says_which_files_it_could_not_read() {
    let home = home();
    fs::remove_file(contents(&home)).unwrap();
    let report = sample(&on_day(&home, 0), 1_000_000);
    let covered = &report.coverage;
    // The one that is gone belongs to the vault too.
    assert!(covered.packs_now + 1 == covered.packs && covered.files_whole < covered.files, "{covered:?}");
    let said = format!("{} of {} files", covered.files - covered.files_whole, covered.files);
    assert!(report.not_checked.iter().any(|line| line.contains(&said)), "{:?}", report.not_checked);
}

#[test]
fn only_a_reading_of_every_pack_that_a_snapshot_names_makes_up_for_a_lost_memory() {
    let home = home();
    let unsure = |day| {
        let report = sample(&on_day(&home, day), 1);
        report.notes.iter().any(|note| note.contains("may have failed before"))
    };
    fs::write(home.reads(), "damaged").unwrap();
    sample(&on_day(&home, 0), 500_000);
    assert!(unsure(1), "the other packs may have failed");
    let (pack, away) = (contents(&home), home.path("away"));
    fs::rename(&pack, &away).unwrap();
    verify::run(&on_day(&home, 2), &[], Level::Full, &Silent).unwrap();
    assert!(unsure(3), "one is away");
    fs::rename(&away, &pack).unwrap();
    verify::run(&on_day(&home, 4), &[], Level::Full, &Silent).unwrap();
    assert!(!unsure(5));
}

/// Looks before each pack is read.
struct Looking<F: Fn() -> u64 + Send + Sync>(F, Mutex<Vec<u64>>);

impl<F: Fn() -> u64 + Send + Sync> Progress for Looking<F> {
    fn interrupted(&self) -> bool {
        self.1.lock().unwrap().push((self.0)());
        false
    }
}

#[test]
fn what_failed_is_written_down_at_once_and_what_was_intact_once_a_second() {
    let level = Level::Rolling(Budget::Time(Duration::from_secs(3600)));
    let home = home();
    let all = packs(&home.vault());
    let count: Vec<u64> = (0..all.len() as u64).collect();
    for (day, tick, expected) in [(0, 0, vec![0; all.len()]), (1, 1000, count.clone())] {
        let begin = BEGIN + day * DAY;
        let looking = Looking(|| remembered(&home, begin), Mutex::default());
        let clock = Arc::new(Ticking(AtomicI64::new(begin * 1000), tick));
        verify::run(&Access { clock, ..home.access() }, &[], level, &looking).unwrap();
        assert_eq!(looking.1.lock().unwrap()[..all.len()], expected, "{tick} ms a pack");
        assert_eq!(remembered(&home, begin), all.len() as u64);
    }
    all.iter().for_each(|pack| flip(pack, 60));
    let failed = || fs::read_to_string(home.reads()).unwrap().matches("\"failed\":{").count() as u64;
    let looking = Looking(failed, Mutex::default());
    verify::run(&on_day(&home, 2), &[], Level::Full, &looking).unwrap();
    assert_eq!(looking.1.lock().unwrap()[..all.len()], count);
}

#[test]
fn the_program_takes_budgets_and_never_calls_a_sample_valid() {
    let home = home();
    let (exit, document) = home.json(&["verify", "--sample", "10%"]);
    assert_eq!((exit, &document["level"]), (0, &"sample".into()), "{document}");
    assert_eq!(document["coverage"]["confidence_percent"], 95);
    let text = String::from_utf8(home.run(&["verify", "--budget", "1s"]).stdout).unwrap();
    assert!(text.starts_with("NO FAULT FOUND (sample") && !text.contains("VALID"), "{text}");
    let text = String::from_utf8(home.run(&["verify", "--sample", "10%"]).stdout).unwrap();
    assert!(text.starts_with("NO FAULT FOUND (sample") && text.contains("95 % confidence"), "{text}");
    for bad in
        [&["verify", "--sample", "0%"][..], &["verify", "--budget", "x"], &["verify", "--quick", "--sample", "5%"]]
    {
        assert_eq!(home.run(bad).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn a_receipt_is_genuine_and_tells_what_has_happened_since() {
    let home = home();
    let path = home.path("receipt");
    let (exit, verified) = home.json(&["verify", "--receipt", path.to_str().unwrap()]);
    assert_eq!(exit, 0, "{verified}");
    let (exit, document) = home.json(&["receipt", "check", path.to_str().unwrap()]);
    assert_eq!(
        (exit, &document["genuine"], &document["added"]),
        (0, &true.into(), &serde_json::json!([])),
        "{document}"
    );
    assert_eq!(document["receipt"]["verdict"], "valid");
    home.backup();
    let report = receipt::check(&home.access(), &path).unwrap();
    let since = report.since.as_ref().unwrap();
    assert_eq!((since.head_occurs, &since.added[..], report.exit()), (true, &[2][..], 0));
    // Nothing is overwritten.
    let again = home.run(&["verify", "--receipt", path.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(14), "{}", String::from_utf8_lossy(&again.stdout));

    fs::remove_dir_all(home.vault().join("snapshots/00000002")).unwrap();
    fs::remove_dir_all(home.vault().join("snapshots/00000001")).unwrap();
    let report = receipt::check(&home.access(), &path).unwrap();
    assert_eq!((report.since.as_ref().unwrap().head_occurs, report.exit()), (false, 13));
}

#[test]
fn a_receipt_that_was_changed_or_is_another_vaults_is_refused() {
    let home = home();
    let path = home.path("receipt");
    let report = home.verify(&[]).unwrap();
    receipt::write(&home.access(), &Receipt::of_verify(&report, Time::default()), &path).unwrap();
    let other = Home::with_snapshot();
    assert_refused(Code::ReceiptForged, receipt::check(&other.access(), &path));
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        flip(&path, at);
        assert_refused(Code::ReceiptForged, receipt::check(&home.access(), &path));
        fs::write(&path, &good).unwrap();
    }
    // Another authentic kind of file is no receipt.
    fs::copy(home.witness(), &path).unwrap();
    assert_refused(Code::ReceiptForged, receipt::check(&home.access(), &path));
}

#[test]
fn a_receipt_of_another_vault_of_this_host_is_no_forgery_and_says_which_vault_to_name() {
    let home = home();
    let other = Access { vault: home.path("other"), ..home.access() };
    init::run(&other, Parameters::default()).unwrap();
    let path = home.path("receipt");
    let report = home.verify(&[]).unwrap();
    receipt::write(&home.access(), &Receipt::of_verify(&report, Time::default()), &path).unwrap();
    let checked = receipt::check(&other, &path).unwrap();
    assert_eq!((checked.receipt.vault, checked.exit()), (report.vault, 2));
    assert!(checked.since.unwrap_err().why.contains("name the receipt's own"));
    flip(&path, 20);
    assert_refused(Code::ReceiptForged, receipt::check(&other, &path));
}

#[test]
fn a_sample_that_read_everything_calls_nothing_valid_in_words_or_in_its_receipt() {
    let home = home();
    let output = home.run(&["verify", "--sample", "100%", "--receipt", "receipt"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("NO FAULT FOUND") && text.contains("nothing was left out this time"), "{text}");
    let text = String::from_utf8(home.run(&["receipt", "check", "receipt"]).stdout).unwrap();
    assert!(text.contains("sample, no fault found") && !text.contains("valid"), "{text}");
}

#[test]
fn what_read_a_part_is_called_no_fault_found_in_every_document_and_record() {
    let home = home();
    for (at, arguments) in [&["verify", "--quick"][..], &["verify", "--sample", "100%"]].into_iter().enumerate() {
        let receipt = format!("receipt-{at}");
        let text = String::from_utf8(home.run(arguments).stdout).unwrap();
        let read = ["content not read", "a part of the content was read"][at];
        assert!(text.contains(&format!("\n  no fault found, {read}: snapshot(s) 1\n")), "{text}");
        // Where nothing was found there is nothing to keep one's hands off, nor anything to get to safety.
        assert!(!text.contains("change nothing") && !text.contains("intact"), "{text}");
        let (exit, document) = home.json(&[arguments, &["--receipt", &receipt]].concat());
        let written = [&document["verdict"], &document["snapshots"][0]["verdict"]];
        assert_eq!(exit, 0, "{document}");
        assert_eq!(written, ["no-fault-found"; 2], "{document}");
        let (_, document) = home.json(&["receipt", "check", &receipt]);
        let written = [&document["receipt"]["verdict"], &document["receipt"]["snapshots"][0][1]];
        assert_eq!(written, ["no-fault-found"; 2], "{document}");
        let entries = Journal::of(&home.host()).entries().unwrap();
        let told = entries.iter().rev().find(|entry| entry.act == "verify").unwrap();
        assert_eq!((told.text("verdict"), told.text("outcome")), ("no-fault-found", "done"));
        let (_, document) = home.json(&["trace", "1"]);
        let level = ["quick", "sample"][at];
        assert_eq!(document["verified"][0]["what"], format!("{level} verification: no fault found"), "{document}");
        let (_, document) = home.json(&["status", "--metrics", "metrics"]);
        assert_eq!(document["verified"]["verdict"], "no-fault-found");
        let metrics = fs::read_to_string(home.path("metrics")).unwrap();
        assert!(metrics.contains(&format!("{{level=\"{level}\",verdict=\"no-fault-found\"}}")), "{metrics}");
        // What left nothing out lately proves the vault as a whole all the same.
        assert_eq!(document["proven"].is_string(), level == "sample", "{document}");
    }
    let (_, document) = home.json(&["verify"]);
    assert_eq!([&document["verdict"], &document["snapshots"][0]["verdict"]], ["valid"; 2]);
}

#[test]
fn only_a_verification_that_read_everything_names_an_intact_snapshot() {
    let home = home();
    fs::write(home.source().join("file-20"), noise(10_000, 20)).unwrap();
    home.backup();
    let written_second = *newest_packs(&home).last().unwrap();
    fs::remove_file(home.vault().join(layout::pack_path(&written_second))).unwrap();
    for (arguments, named) in
        [(&["verify", "--quick"][..], false), (&["verify", "--sample", "50%"], false), (&["verify"], true)]
    {
        let text = String::from_utf8(home.run(arguments).stdout).unwrap();
        assert!(text.starts_with("INVALID") && text.contains("NOT valid: snapshot(s) 2"), "{text}");
        assert_eq!(text.contains("intact: ") && text.contains(" restore 1 "), named, "{text}");
        assert_eq!(text.contains("not known before everything was read"), !named, "{text}");
    }
}

#[test]
fn a_quick_verification_holds_a_pack_that_failed_against_the_snapshots_that_rely_on_it() {
    let home = home();
    fs::write(home.source().join("file-20"), noise(10_000, 20)).unwrap();
    home.backup();
    let written_second = *newest_packs(&home).last().unwrap();
    flip(&home.vault().join(layout::pack_path(&written_second)), 60);
    home.verify(&[]).unwrap();
    let verdicts = |selectors: &[&str]| {
        let selectors: Vec<_> = selectors.iter().map(|text| text.parse().unwrap()).collect();
        let report = verify::run(&home.access(), &selectors, Level::Quick, &Silent).unwrap();
        (report.verdict, report.snapshots)
    };
    let (fine, bad) = (Verdict::NoFaultFound, Verdict::Invalid);
    assert_eq!(verdicts(&[]), (bad, vec![(1, fine), (2, bad)]));
    assert_eq!(verdicts(&["2"]), (bad, vec![(2, bad)]));
    assert_eq!(verdicts(&["1"]), (fine, vec![(1, fine)]));
}

#[test]
fn a_pack_that_nobody_can_read_belongs_to_the_vault_all_the_same() {
    let home = home();
    let whole = home.verify(&[]).unwrap().coverage;
    assert_eq!((whole.packs_now, whole.bytes_now, whole.bytes_recently), (whole.packs, whole.bytes, whole.bytes));
    let pack = packs(&home.vault())[0].clone();
    let length = fs::metadata(&pack).unwrap().len();
    flip(&pack, length as usize - 60);
    let damaged = home.verify(&[]).unwrap().coverage;
    assert_eq!((damaged.packs, damaged.bytes, damaged.oldest), (whole.packs, whole.bytes, None));
    assert_eq!((damaged.packs_now, damaged.bytes_now), (whole.packs - 1, whole.bytes - length));
    fs::remove_dir_all(home.vault().join("packs")).unwrap();
    let nothing = home.verify(&[]).unwrap().coverage;
    assert_eq!((nothing.packs, nothing.bytes, nothing.bytes_now), (whole.packs, whole.bytes, 0));
    let text = String::from_utf8(home.run(&["verify"]).stdout).unwrap();
    assert!(text.contains(" 0 % of the vault in this run"), "{text}");
}

#[test]
fn a_receipt_says_of_which_snapshots_it_speaks() {
    let home = home();
    home.backup();
    let path = home.path("receipt");
    assert_eq!(home.run(&["verify", "1", "--receipt", path.to_str().unwrap()]).status.code(), Some(0));
    let text = String::from_utf8(home.run(&["receipt", "check", path.to_str().unwrap()]).stdout).unwrap();
    assert!(text.contains("\n  valid: snapshot(s) 1\n"), "{text}");
}

#[test]
fn records_hand_on_when_a_pack_was_read_last_but_no_time_that_is_still_to_come() {
    let home = home();
    let other = home.access_from(home.other_host("other"));
    let backup = |access: Access| backup::run(&access, &home.source(), &backup::Options::default(), &Silent).unwrap();
    let direct = |number| {
        let Packs::Direct(packs) = Forger::new(&home).snapshot(number).packs else { panic!("few packs") };
        packs
    };
    let first = direct(1)[0].0;
    let last_read = |number| direct(number).iter().find(|pack| pack.0 == first).unwrap().2.seconds;
    verify::run(&on_day(&home, 1), &[], Level::Full, &Silent).unwrap();
    backup(on_day(&home, 2));
    assert_eq!(last_read(2), BEGIN + DAY);
    // A host that never read it knows from the record.
    backup(Access { clock: on_day(&home, 3).clock, ..other.clone() });
    assert_eq!(last_read(3), BEGIN + DAY);
    // Where the clock says that the day is still to come, nobody knows when it was.
    backup(Access { clock: on_day(&home, 0).clock, ..other });
    assert!(last_read(4) <= BEGIN, "{}", last_read(4));
}

/// The packs that the second snapshot names and the first does not.
fn newest_packs(home: &Home) -> Vec<Digest> {
    let [first, second] = [1, 2].map(|number| {
        let Packs::Direct(packs) = Forger::new(home).snapshot(number).packs else { panic!("few packs") };
        packs.iter().map(|pack| pack.0).collect::<Vec<_>>()
    });
    second.into_iter().filter(|pack| !first.contains(pack)).collect()
}

#[test]
fn what_an_earlier_version_called_valid_of_a_part_is_told_as_no_fault_found() {
    let home = home();
    let mut report = verify::run(&home.access(), &[], Level::Quick, &Silent).unwrap();
    report.verdict = Verdict::Valid;
    let mut receipt = Receipt::of_verify(&report, Time::default());
    assert_eq!((receipt.verdict.as_str(), receipt.level.as_str()), ("valid", "quick"));
    receipt.snapshots = vec![(1, "valid".into())];
    receipt::write(&home.access(), &receipt, &home.path("receipt")).unwrap();
    let text = String::from_utf8(home.run(&["receipt", "check", "receipt"]).stdout).unwrap();
    assert!(text.contains("quick, no fault found") && !text.contains("valid"), "{text}");
    let said = serde_json::json!({"level": "quick", "verdict": "valid", "whole": true, "outcome": "done"});
    let mut event = Event::new("verify", said);
    event.vault = Some(report.vault);
    event.place = Some(home.vault().canonicalize().unwrap().to_str().unwrap().to_owned());
    Journal::of(&home.host()).append(SystemClock.now(), event).unwrap();
    let (_, document) = home.json(&["trace", "1"]);
    assert_eq!(document["verified"][0]["what"], "quick verification: no fault found", "{document}");
    let status = status::run(&home.access()).unwrap();
    assert_eq!((status.verified.unwrap().verdict.as_str(), status.proven), ("no-fault-found", None));
}

#[test]
fn a_receipt_is_judged_by_the_key_alone_where_no_vault_is_at_hand() {
    let home = home();
    let path = home.path("receipt");
    let report = home.verify(&[]).unwrap();
    receipt::write(&home.access(), &Receipt::of_verify(&report, Time::default()), &path).unwrap();
    let good = fs::read(&path).unwrap();
    fs::rename(home.vault(), home.path("elsewhere")).unwrap();
    // A vault that is named and not there: genuine, and the other half of the question is open.
    let checked = receipt::check(&home.access(), &path).unwrap();
    assert_eq!((checked.receipt.verdict.as_str(), checked.exit()), ("valid", 14));
    assert!(checked.since.unwrap_err().why.contains("DV406"));
    // Nobody names a vault: by the key that is named, or by those that this host keeps.
    let stranger = Home::new();
    let checked = receipt::check_by_key(&stranger.host(), Some(&home.key()), &path).unwrap();
    assert_eq!((checked.receipt.vault, checked.exit()), (report.vault, 0));
    assert_refused(Code::KeyMissing, receipt::check_by_key(&stranger.host(), None, &path));
    let other = Home::with_vault();
    assert_refused(Code::ReceiptForged, receipt::check_by_key(&other.host(), None, &path));
    assert_refused(Code::ReceiptForged, receipt::check_by_key(&other.host(), Some(&other.key()), &path));
    receipt::check_by_key(&home.host(), None, &path).unwrap();
    flip(&path, 20);
    assert_refused(Code::ReceiptForged, receipt::check_by_key(&home.host(), None, &path));
    assert_refused(Code::ReceiptForged, receipt::check(&home.access(), &path));
    fs::write(&path, &good).unwrap();
    let output = home.run(&["receipt", "check", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(14) && text.contains("genuine") && text.contains("NOT KNOWN"), "{text}");
}

#[test]
fn what_is_no_receipt_is_refused_whatever_it_is() {
    let home = home();
    let path = home.path("receipt");
    let report = home.verify(&[]).unwrap();
    let genuine = Receipt::of_verify(&report, Time::default());
    receipt::write(&home.access(), &genuine, &path).unwrap();
    let good = fs::read(&path).unwrap();
    let line = good.iter().position(|&byte| byte == b'\n').unwrap();
    for end in 0..good.len() {
        fs::write(&path, &good[..end]).unwrap();
        assert_refused(Code::ReceiptForged, receipt::check(&home.access(), &path));
    }
    // Signed with the right key all the same: a key twice, a key that nobody knows, another schema, another vault.
    let key = devvault::vault::key::load(&home.key(), true, None).unwrap().key;
    let macs = devvault::crypto::Macs::new(key.secret(), key.vault);
    let signed = |text: String| {
        let mut bytes = text.into_bytes();
        bytes.push(b'\n');
        let tag = macs.tag(devvault::crypto::Domain::Receipt, 0, &bytes);
        bytes.extend_from_slice(&devvault::vault::chain::encode_mac_file(tag));
        bytes
    };
    let text = String::from_utf8(good[..line].to_vec()).unwrap();
    fs::write(&path, signed(text.clone())).unwrap();
    receipt::check(&home.access(), &path).unwrap();
    let id = report.vault.to_string();
    for forged in [
        text.replacen("{\"act\":\"verify\"", "{\"act\":\"verify\",\"act\":\"verify\"", 1),
        text.replacen("{\"act\"", "{\"aaa\":1,\"act\"", 1),
        text.replace("devvault.receipt/1", "devvault.receipt/2"),
        text.replace(&id, "00000000000000000000000000000001"),
        text.replace(",\"exit\"", ", \"exit\""),
        String::new(),
    ] {
        assert_ne!(forged, text);
        fs::write(&path, signed(forged)).unwrap();
        assert_refused(Code::ReceiptForged, receipt::check(&home.access(), &path));
    }
    // Longer than any receipt: not read at all.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(receipt::check(&home.access(), &path).unwrap_err().exit(), 1);
}

#[test]
fn what_failed_a_read_is_a_finding_of_whatever_does_not_read_it_again() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    fs::write(home.source().join("noise"), noise(100_000, 1)).unwrap();
    home.backup();
    flip(&packs(&home.vault())[0], 60);
    let first = home.verify(&[]).unwrap();
    assert_eq!(first.verdict, Verdict::Invalid);
    for selectors in [&[][..], &["1".parse().unwrap()]] {
        let quick = verify::run(&home.access(), selectors, Level::Quick, &Silent).unwrap();
        assert_eq!(quick.verdict, Verdict::Invalid, "{:?}", quick.findings);
        assert!(quick.findings[0].detail.contains("failed a read on this host"), "{:?}", quick.findings);
    }
    // What is read once more and fails once more is told once.
    let again = sample(&home.access(), 1_000_000);
    assert_eq!(again.findings.len(), first.findings.len(), "{:?}", again.findings);
}
