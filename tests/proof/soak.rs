//! Rounds of edits, backups, verifications, restores, rebuilds of the index and looks at the state, many after each other:
//! every snapshot keeps what the source was, and nothing creeps.
//!
//! The real program runs under limits of memory and of open files. What a process could lose from round to round, open
//! files, threads and memory, is counted in one that does all rounds through the public interface.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use devvault::ops::verify::{self, Level, Verdict};
use devvault::ops::{index, init, status};
use devvault::progress::Silent;

use super::memory::Random;
use super::{scaled, tally};
use crate::support::{Home, emulator, names, noise, packs, picture, skip, small, these_tests};

/// What no command may need more of: kilobytes of memory, open files.
const LIMITS: &str = "ulimit -d 200000 && ulimit -n 64";

/// How many rounds are run; in an ordinary run so many.
fn rounds(sample: usize) -> usize {
    scaled(sample, 2_000)
}

/// Edits a tree by numbers that are the same in every run.
struct Editor {
    root: PathBuf,
    random: Random,
}

/// Names of directories and files; few enough for edits to meet.
const DIRECTORIES: [&str; 5] = ["", "a", "a/b", "c", "c/deep/er"];
const FILES: [&str; 6] = ["one", "two", "three", "\u{e9}", "with space", ".hidden"];

impl Editor {
    fn new(root: PathBuf, seed: u64) -> Self {
        DIRECTORIES.iter().for_each(|name| fs::create_dir_all(root.join(name)).unwrap());
        Self { root, random: Random(seed) }
    }

    fn path(&mut self) -> PathBuf {
        let (directory, file) = (self.random.below(DIRECTORIES.len()), self.random.below(FILES.len()));
        self.root.join(DIRECTORIES[directory]).join(FILES[file])
    }

    /// Makes some edits; returns how many bytes files hold that were written, at most.
    fn edit(&mut self) -> u64 {
        (0..1 + self.random.below(5)).map(|_| self.edit_once()).sum()
    }

    fn edit_once(&mut self) -> u64 {
        let (path, other) = (self.path(), self.path());
        let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        let (length, seed) = (self.random.below(20_000), self.random.below(1 << 40) as u64);
        match self.random.below(8) {
            0 if is_file => fs::remove_file(&path).unwrap(),
            1 if is_file => fs::rename(&path, other).unwrap(),
            2 if is_file => {
                let file = fs::File::options().write(true).open(&path).unwrap();
                file.set_len(length.min(file.metadata().unwrap().len() as usize) as u64).unwrap();
            }
            3 if is_file => {
                let mut file = fs::File::options().append(true).open(&path).unwrap();
                std::io::Write::write_all(&mut file, &noise(length, seed)).unwrap();
            }
            4 => {
                let _ = fs::remove_file(&path);
                symlink("nowhere", &path).unwrap();
            }
            _ => {
                let _ = fs::remove_file(&path);
                fs::write(&path, noise(length, seed)).unwrap();
            }
        }
        path.symlink_metadata().ok().filter(fs::Metadata::is_file).map_or(0, |metadata| metadata.len())
    }
}

/// How many bytes lie below a directory.
fn bytes_below(root: &Path) -> u64 {
    let files = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap().metadata().unwrap());
    files.filter(fs::Metadata::is_file).map(|metadata| metadata.len()).sum()
}

/// What lies about after a round, and may grow with what was stored and done alone.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    vault: u64,
    packs: usize,
    index: usize,
    journal: u64,
    state: u64,
}

impl Extent {
    fn of(home: &Home) -> Self {
        let (journal, all) = (bytes_below(&home.host().journal_directory()), bytes_below(&home.path("state")));
        Self {
            vault: bytes_below(&home.vault()),
            packs: packs(&home.vault()).len(),
            index: names(&home.vault().join("index")).len(),
            journal,
            state: all - journal,
        }
    }

    /// Asserts that a round in which so many bytes were edited, and so many commands run, added no more than that takes.
    fn assert_bounded(&self, before: &Self, edited: u64, commands: u64, what: &str) {
        // A record, lists of at most thirty entries, the footers of packs, and the index, which grows by less than they do.
        let vault = before.vault + edited + ROUND_BYTES_MAX;
        assert!(self.vault <= vault, "{what}: {edited} bytes were edited: {before:?} became {self:?}");
        assert!(self.packs <= before.packs + ROUND_PACKS_MAX, "{what}: {before:?} became {self:?}");
        assert!(self.index <= INDEX_FILES_MAX, "{what}: {self:?}");
        let journal = before.journal + commands * JOURNAL_BYTES_MAX;
        assert!(self.journal <= journal, "{what}: after {commands} commands {before:?} became {self:?}");
        assert!(self.state <= STATE_BYTES_MAX + PACK_STATE_BYTES_MAX * self.packs as u64, "{what}: {self:?}");
    }
}

/// What lies in a vault that nobody writes to.
const VAULT: [&str; 7] = ["index", "lock", "packs", "snapshots", "sweep.lock", "vault.hmac", "vault.json"];
/// What a round adds to a vault besides content, at most, with the sizes that the program chooses.
const ROUND_BYTES_MAX: u64 = 24_000;
const ROUND_PACKS_MAX: usize = 8;
const INDEX_FILES_MAX: usize = 4;
/// What a command adds to the journal, at most.
const JOURNAL_BYTES_MAX: u64 = 800;
/// What this host keeps besides, at most: as such, and for each pack.
const STATE_BYTES_MAX: u64 = 4_000;
const PACK_STATE_BYTES_MAX: u64 = 400;

#[test]
fn rounds_of_the_real_program_under_limits_keep_every_snapshot_and_creep_nowhere() {
    let home = Home::quick();
    let temporary = home.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let limits = format!("{LIMITS} && export TMPDIR='{}'", temporary.display());
    let run = |arguments: &[&str]| {
        let output = home.limited(&limits, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    home.succeed(&["init", "vault"]);
    let mut editor = Editor::new(home.source(), 1);
    let mut pictures: Vec<BTreeMap<PathBuf, String>> = Vec::new();
    let (mut extent, mut commands) = (Extent::of(&home), 0);
    let mut lying_about = None;
    let (source, restored) = (home.source(), home.path("restored"));
    let (source, to) = (source.to_str().unwrap(), restored.to_str().unwrap());
    for round in 0..rounds(10) {
        let edited = editor.edit();
        pictures.push(picture(&home.source()));
        let chosen = 1 + editor.random.below(pictures.len());
        let snapshot = chosen.to_string();
        let verify: &[&str] = if round % 7 == 3 { &["verify"] } else { &["verify", "--quick"] };
        for arguments in [&["backup", source], verify, &["restore", &snapshot, to], &["index", "rebuild"], &["status"]]
        {
            run(arguments);
            commands += 1;
            assert_eq!(names(&temporary), [""; 0], "{arguments:?}");
        }
        let found = picture(&restored);
        assert!(found == pictures[chosen - 1], "round {round}: snapshot {chosen} is not what the source was");
        fs::remove_dir_all(&restored).unwrap();
        let numbers: Vec<String> = (1..=pictures.len()).map(|number| format!("{number:08}")).collect();
        assert_eq!(names(&home.vault().join("snapshots")), numbers);
        assert_eq!(names(&home.vault()), VAULT, "round {round}");
        let now = (names(&home.path("")), names(&home.path("state")));
        assert_eq!(*lying_about.get_or_insert_with(|| now.clone()), now, "round {round}");
        let after = Extent::of(&home);
        after.assert_bounded(&extent, edited, 5, &format!("round {round}"));
        extent = after;
    }
    println!("after {} rounds: {extent:?}", pictures.len());
    tally("rounds of the real program under limits", pictures.len(), 10);
    tally("commands in rounds of the real program under limits", commands, 50);
}

/// What a process has open and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    files: usize,
    threads: usize,
    resident: u64,
}

impl Held {
    /// Counts, once the threads that were waited for have left the system's list, which they do a moment later.
    fn now(threads: usize) -> Self {
        let counted = || fs::read_dir("/proc/self/task").unwrap().count();
        for _ in 0..1000 {
            if counted() <= threads {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            threads: counted(),
            resident: line.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

#[test]
fn a_vault_of_more_packs_than_a_process_may_open_verifies_restores_and_grows() {
    let home = Home::with_vault();
    fs::create_dir_all(home.source()).unwrap();
    for number in 0..40 {
        fs::write(home.source().join(format!("{number:02}")), noise(40_000, number)).unwrap();
    }
    home.backup();
    assert!(packs(&home.vault()).len() > 80);
    let (source, restored) = (home.source(), home.path("restored"));
    let (source, to) = (source.to_str().unwrap(), restored.to_str().unwrap());
    let commands =
        [&["verify"][..], &["verify", "1"], &["restore", "1", to], &["diff", "1", to], &["backup", "--reread", source]];
    for arguments in commands {
        let output = home.limited("ulimit -n 64", arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    assert_eq!(picture(&restored), picture(&home.source()));
}

/// Kilobytes that a second vault may take more than a first one with the same history: some that differ from run to run, and
/// what may be lost in a round.
const RESIDENT_DIFFERENCE_MAX: u64 = 3_000;
const RESIDENT_LOST_MAX: u64 = 4;

#[test]
#[ignore = "counts what its process holds, so that no other test may run beside it: the next one runs it"]
fn rounds_in_one_process() {
    let before = Held::now(0);
    let count = rounds(20) / 2;
    let [first, second] = [(); 2].map(|()| history(&before, count));
    // What a vault takes grows with it. What is lost adds up, and is there beside the second one.
    let most = first + RESIDENT_DIFFERENCE_MAX + RESIDENT_LOST_MAX * count as u64;
    assert!(second <= most, "{first} kB at the end of the first vault, {second} kB at the end of the second");
    tally("rounds in one process", 2 * count, 20);
}

/// Makes a vault, and runs rounds that are the same each time it is called; returns how many kilobytes are held at their
/// end. What was open and ran before is what is open and runs after each round.
fn history(before: &Held, count: usize) -> u64 {
    let home = Home::quick();
    let temporary = names(&std::env::temp_dir());
    init::run(&home.access(), small()).unwrap();
    let mut editor = Editor::new(home.source(), 2);
    // Their digests alone: what this test keeps is not to count.
    let digest = |root: &Path| blake3::hash(format!("{:?}", picture(root)).as_bytes());
    let mut pictures = Vec::new();
    let mut extent = Extent::of(&home);
    let mut resident = 0;
    for round in 0..count {
        let edited = editor.edit();
        pictures.push(digest(&home.source()));
        home.backup();
        let level = if round % 3 == 0 { Level::Full } else { Level::Quick };
        let verdict = verify::run(&home.access(), &[], level, &Silent).unwrap().verdict;
        assert!(verdict.is_good() || level == Level::Quick && verdict != Verdict::Invalid, "{verdict:?}");
        let chosen = 1 + editor.random.below(pictures.len());
        home.restore(&chosen.to_string(), "restored").unwrap();
        assert!(digest(&home.path("restored")) == pictures[chosen - 1], "round {round}: snapshot {chosen}");
        fs::remove_dir_all(home.path("restored")).unwrap();
        index::run(&home.access()).unwrap();
        status::run(&home.access()).unwrap();
        let after = Extent::of(&home);
        after.assert_bounded(&extent, edited, 5, &format!("round {round}"));
        extent = after;
        assert_eq!(names(&std::env::temp_dir()), temporary, "round {round}");
        let held = Held::now(before.threads);
        assert_eq!((held.files, held.threads), (before.files, before.threads), "round {round}");
        resident = held.resident;
        if round % 100 == 9 {
            println!("after {} rounds: {held:?}, {extent:?}", round + 1);
        }
    }
    resident
}

#[test]
fn rounds_in_one_process_leave_no_open_file_no_thread_and_no_memory_behind() {
    if let Some(emulator) = emulator() {
        skip(&format!("{emulator} has open files and threads of its own"));
        return;
    }
    let home = Home::new();
    let mut command = std::process::Command::new(these_tests());
    command.args(["--exact", "proof::soak::rounds_in_one_process", "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env("TMPDIR", home.path("")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    print!("{told}");
}
