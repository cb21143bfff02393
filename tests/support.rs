//! What the tests share: a home, a vault in it, trees as literals, damage, and the program itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use devvault::clock::{Clock as _, FixedClock, SystemClock, Time};
use devvault::crypto::{Digest, Id, Macs};
use devvault::error::{Error, Result};
use devvault::format::config::Parameters;
use devvault::format::entry::Entry;
use devvault::format::json::encode_lines;
use devvault::format::keyfile::KeyFile;
use devvault::format::listing::PartRef;
use devvault::format::pack::{BlockInfo, BlockKind, Encoding, Footer, header};
use devvault::format::record::{Body, Counts, Head, Record, RecordKind, Snapshot};
use devvault::host::Host;
use devvault::incident::break_glass::{self, Request, TimeBox};
use devvault::ops::{backup, init, restore, verify};
use devvault::path::EntryPath;
use devvault::pool::Pool;
use devvault::progress::Silent;
use devvault::refusal::{Code, Refusal};
use devvault::store::LocalStore;
use devvault::vault::catalog::{Catalog, UseIndex};
use devvault::vault::chain::encode_mac_file;
use devvault::vault::gate::Access;
use devvault::vault::layout;
use devvault::vault::read::Reader;
use devvault::vault::write::reference;

/// A home of its own: configuration, state and data, a source and a vault.
pub struct Home {
    root: tempfile::TempDir,
    // What its clock shows. It stands still, so that no test depends on how long it takes.
    now: Time,
}

impl Drop for Home {
    /// Removes everything below the home, level by level: the standard library goes down a tree by recursion, and a deep
    /// one that a failed test leaves would overflow the stack and end all other tests too.
    fn drop(&mut self) {
        // What stays is left to the directory's own removal.
        let _ = remove_below(self.root.path());
    }
}

/// Removes what a directory holds, however deep it is, following no link.
fn remove_below(root: &Path) -> std::io::Result<()> {
    use devvault::fsys::{Dir, ObjectKind};
    let mut here = Dir::open(root)?;
    let mut entered = vec![(Vec::new(), here.names()?)];
    while let Some((_, names)) = entered.last_mut() {
        if let Some(name) = names.pop() {
            if here.stat_at(&name)?.kind != ObjectKind::Directory {
                let _ = here.remove_file(&name);
                continue;
            }
            // Where the owner may not look, nothing deep was made by a test.
            let Ok(below) = here.open_dir(&name) else { continue };
            entered.push((name, below.names()?));
            here = below;
            continue;
        }
        let Some((name, _)) = entered.pop().filter(|_| !entered.is_empty()) else { break };
        here = here.open_parent()?;
        let _ = here.remove_dir(&name);
    }
    Ok(())
}

impl Home {
    /// Creates an empty home.
    pub fn new() -> Self {
        Self::at(tempfile::Builder::new().prefix("devvault-test-").tempdir().unwrap())
    }

    /// Creates an empty home whose clock is late enough for every file that a test makes to be old enough to be trusted.
    fn at(root: tempfile::TempDir) -> Self {
        let now = devvault::clock::Clock::now(&SystemClock).seconds + 3600;
        Self { root, now: Time { seconds: now, nanos: 0 } }
    }

    /// Creates an empty home in memory, where the system has a place for that: syncs cost nothing there.
    pub fn quick() -> Self {
        let memory = Path::new("/dev/shm");
        let builder = &mut tempfile::Builder::new();
        builder.prefix("devvault-test-");
        // Wine shows it too, without anything that keeps a key private there.
        let root = if cfg!(unix) && memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
        Self::at(root.unwrap())
    }

    /// Creates a home with a vault in it.
    pub fn with_vault() -> Self {
        let home = Self::new();
        init::run(&home.access(), small()).unwrap();
        home
    }

    /// Creates a home with a vault, a small source, and one snapshot of it.
    pub fn with_snapshot() -> Self {
        let home = Self::with_vault();
        home.write_source(&SMALL_TREE);
        home.backup();
        home
    }

    /// Runs the program with the home's vault, by a shell that sets limits first.
    #[cfg(unix)]
    pub fn limited(&self, limits: &str, arguments: &[&str]) -> Output {
        let program = self.program();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limits} && exec \"$@\""), "sh"]).arg(program.get_program());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg("--vault").arg(self.vault()).args(arguments).output().unwrap()
    }

    /// Returns a place below the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Returns the vault's directory.
    pub fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    /// Returns the source's directory.
    pub fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// Makes the directory in which drills are done, and returns it.
    pub fn scratch(&self) -> PathBuf {
        let path = self.path("scratch");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Returns this host's directories.
    pub fn host(&self) -> Host {
        Host::new(self.path("config"), self.path("state"), self.path("data"))
    }

    /// Returns the directories of another host, which has seen nothing.
    pub fn other_host(&self, name: &str) -> Host {
        Host::new(
            self.path(&format!("{name}-config")),
            self.path(&format!("{name}-state")),
            self.path(&format!("{name}-data")),
        )
    }

    /// Returns access to the vault from this host: it is the same time in all of them, an hour after the home was made.
    pub fn access(&self) -> Access {
        self.access_after(0)
    }

    /// Returns access to the vault from this host, so many seconds after [`access`](Self::access).
    pub fn access_after(&self, seconds: i64) -> Access {
        let mut access = Access::new(self.vault(), self.host());
        access.clock = Arc::new(FixedClock(Time { seconds: self.now.seconds + seconds, nanos: 0 }));
        access
    }

    /// Declares a permit under an invariant for a target of this vault, so many seconds after [`access`](Self::access).
    pub fn declare(&self, invariant: &str, target: &str, seconds: i64) -> String {
        let request = request(invariant, format!("{}:{target}", Forger::new(self).macs.vault()));
        break_glass::declare(&self.host(), self.access_after(seconds).clock.now(), &request).unwrap().id
    }

    /// Declares a permit that is in force by the system's clock. What the journal held is put away: it is younger.
    pub fn permit(&self, invariant: &str, target: &str) -> String {
        let _ = fs::remove_dir_all(self.host().journal_directory());
        let earlier = Time { seconds: SystemClock.now().seconds - 200, nanos: 0 };
        let scope = format!("{}:{target}", Forger::new(self).macs.vault());
        let request = Request { time_box: TimeBox::Minutes(60), ..request(invariant, scope) };
        break_glass::declare(&self.host(), earlier, &request).unwrap().id
    }

    /// Returns access to the vault from another host with this host's key.
    pub fn access_from(&self, host: Host) -> Access {
        Access { host, key_file: Some(self.key()), ..self.access() }
    }

    /// Returns this host's only key file.
    pub fn key(&self) -> PathBuf {
        let keys: Vec<PathBuf> =
            fs::read_dir(self.path("config/keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(keys.len(), 1);
        keys[0].clone()
    }

    /// Returns this host's only witness file.
    pub fn witness(&self) -> PathBuf {
        let mut files = fs::read_dir(self.path("state/witness")).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap()
    }

    /// Returns the only file in which this host remembers what it read of the vault.
    pub fn reads(&self) -> PathBuf {
        let files = walkdir::WalkDir::new(self.path("state/reads")).into_iter().map(|entry| entry.unwrap().into_path());
        let files: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
        assert_eq!(files.len(), 1);
        files[0].clone()
    }

    /// Throws away what this host journaled and kept, for tests that do thousands of things.
    pub fn forget_audit(&self) {
        for directory in [self.host().journal_directory(), self.host().evidence_directory()] {
            let _ = fs::remove_dir_all(directory);
        }
    }

    /// Writes files below the source; a name that ends in `/` is a directory, content that begins with `->` a link.
    pub fn write_source(&self, tree: &[(&str, &str)]) {
        write_tree(&self.source(), tree);
    }

    /// Takes a snapshot of the source.
    pub fn backup(&self) -> backup::Report {
        self.try_backup(&backup::Options::default()).unwrap()
    }

    /// Tries to take a snapshot of the source.
    pub fn try_backup(&self, options: &backup::Options) -> Result<backup::Report> {
        backup::run(&self.access(), &self.source(), options, &Silent)
    }

    /// Verifies the named snapshots, or everything where none is named.
    pub fn verify(&self, snapshots: &[&str]) -> Result<verify::Report> {
        self.verify_from(&self.access(), snapshots)
    }

    /// Verifies with another access.
    pub fn verify_from(&self, access: &Access, snapshots: &[&str]) -> Result<verify::Report> {
        let selectors: Vec<_> = snapshots.iter().map(|text| text.parse().unwrap()).collect();
        verify::run(access, &selectors, verify::Level::Full, &Silent)
    }

    /// Restores a snapshot, or a part of it, into a directory below the home.
    pub fn restore(&self, place: &str, destination: &str) -> Result<restore::Report> {
        restore::run(&self.access(), &place.parse().unwrap(), &self.path(destination), &restore_options(), &Silent)
    }

    /// Returns the program, ready to run with this home and nothing of the caller's.
    pub fn program(&self) -> Command {
        let mut command = Command::new(program());
        command.env_clear();
        for kept in ["PATH", "SystemRoot", "TEMP", "TMP", "USERNAME", "WINEPREFIX"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
            .env("HOME", self.path("home"))
            .env("USERPROFILE", self.path("home"))
            .env("APPDATA", self.path("home/roaming"))
            .env("LOCALAPPDATA", self.path("home/local"))
            .env("XDG_DATA_HOME", self.path("data-home"))
            .env("DEVVAULT_CONFIG_DIR", self.path("config"))
            .env("DEVVAULT_STATE_DIR", self.path("state"))
            .current_dir(self.root.path());
        command
    }

    /// Runs the program with arguments on the vault of this home.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.program().arg("--vault").arg(self.vault()).args(on_this_platform(arguments)).output().unwrap()
    }

    /// Runs the program with arguments where it must succeed.
    pub fn succeed(&self, arguments: &[&str]) {
        let output = self.program().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Runs the program with `--json` and returns exit status and document, which names that status.
    pub fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let arguments = on_this_platform(arguments);
        let output = self.program().arg("--vault").arg(self.vault()).arg("--json").args(&arguments).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let document: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("not one JSON document ({error}): {stdout}\n{}", String::from_utf8_lossy(&output.stderr))
        });
        let exit = output.status.code().unwrap();
        // A report of conformance is a file of its own, that of this run or another.
        let told = document["schema"] == "devvault.conformance/1" || document["exit"] == exit;
        assert!(told, "{arguments:?} exits {exit}: {document}");
        (exit, document)
    }
}

#[cfg(target_os = "linux")]
impl Home {
    /// Runs the program with `--json` as a normal user, whatever user the tests run as. The home becomes that user's.
    /// Says why and returns nothing where that cannot be done.
    pub fn json_as_user(&self, arguments: &[&str]) -> Option<(i32, serde_json::Value)> {
        if !is_root() {
            return Some(self.json(arguments));
        }
        let own = Command::new("chown").arg("-hR").arg("nobody:nogroup").arg(self.root.path()).status().unwrap();
        assert!(own.success());
        // The build directory may be closed to others.
        let copy = self.path("program");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_devvault"), &copy).unwrap();
        }
        let program = startable(&copy, &self.path("start"));
        let inherited = self.program();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).arg(program);
        command.env_clear().current_dir(self.root.path());
        command.envs(inherited.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.arg("--vault").arg(self.vault()).arg("--json").args(arguments).output().ok();
        let parsed = output.and_then(|output| {
            Some((output.status.code()?, serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()?))
        });
        if parsed.is_none() {
            skip("no program runs as another user here");
        }
        parsed
    }
}

/// Returns the program that is tested, or what starts it.
pub fn program() -> &'static Path {
    static PROGRAM: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let script = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("start-{}", std::env::consts::ARCH));
        startable(Path::new(env!("CARGO_BIN_EXE_devvault")), &script)
    });
    &PROGRAM
}

/// Returns how to start these tests themselves once more.
pub fn these_tests() -> PathBuf {
    let script = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("start-tests-{}", std::env::consts::ARCH));
    startable(&std::env::current_exe().unwrap(), &script)
}

/// Returns a command that the program printed, as it can be pasted where something has to start the program.
#[cfg(unix)]
pub fn pasted(command: &str) -> String {
    command.replace(env!("CARGO_BIN_EXE_devvault"), program().to_str().unwrap())
}

/// Returns how to start a program: as it is, or where these tests themselves are run by an emulator, which nobody but cargo
/// knows of, by a script that does it the same way.
fn startable(program: &Path, script: &Path) -> PathBuf {
    let Some(runner) = emulator() else { return program.to_owned() };
    // Whole or not at all, because the next run of these tests may begin before this one ends.
    let mut file = tempfile::NamedTempFile::new_in(script.parent().unwrap()).unwrap();
    std::io::Write::write_all(
        &mut file,
        format!("#!/bin/sh\nexec {runner} '{}' \"$@\"\n", program.display()).as_bytes(),
    )
    .unwrap();
    #[cfg(unix)]
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    file.into_temp_path().persist(script).unwrap();
    script.to_owned()
}

/// Returns the command by which cargo runs what is built for this machine, if it does not run by itself. Wine starts a
/// program for Windows as Windows does, so that nothing is in between.
pub fn emulator() -> Option<String> {
    let machine = std::env::consts::ARCH.to_uppercase();
    std::env::var(format!("CARGO_TARGET_{machine}_UNKNOWN_LINUX_GNU_RUNNER")).ok().filter(|_| cfg!(target_os = "linux"))
}

/// Says that the test that runs now cannot run here, and why; the test returns then. Where `DEVVAULT_SKIPPED` names a file,
/// it says so there too, since the output of a test that passes is not shown.
pub fn skip(why: &str) {
    use std::io::Write;
    // Of what another program said, the last line.
    let why = why.trim_end().lines().last().unwrap_or_default();
    let line = format!("skipped: {}: {why}\n", std::thread::current().name().unwrap_or("a test"));
    print!("{line}");
    if let Some(path) = std::env::var_os("DEVVAULT_SKIPPED") {
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// What every restore of these tests gives up, because no place of this platform keeps it: under Wine the time of
/// creation, which is taken and not kept there; nothing elsewhere.
fn lacking() -> &'static [restore::Class] {
    static LACKING: std::sync::LazyLock<Vec<restore::Class>> = std::sync::LazyLock::new(|| {
        #[cfg(windows)]
        {
            let file = tempfile::tempfile().unwrap();
            let meant = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_891);
            let times = std::os::windows::fs::FileTimesExt::set_created(fs::FileTimes::new(), meant);
            file.set_times(times).unwrap();
            if file.metadata().unwrap().created().unwrap() != meant {
                return vec![restore::Class::Created];
            }
        }
        Vec::new()
    });
    &LACKING
}

/// Returns whether a drill can pass here, which gives nothing up, and says so if not.
pub fn can_drill() -> bool {
    if let Some(class) = lacking().first() {
        skip(&format!("a drill gives nothing up, and no place here keeps this: {class}"));
    }
    lacking().is_empty()
}

/// How the tests restore, unless they are about something else.
pub fn restore_options() -> restore::Options {
    restore::Options { without: lacking().to_vec(), ..restore::Options::default() }
}

/// Adds to a `restore` what this platform does not keep.
fn on_this_platform(arguments: &[&str]) -> Vec<String> {
    let mut arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    if arguments.iter().any(|word| word == "restore") {
        arguments.extend(lacking().iter().map(|class| format!("--without={class}")));
    }
    arguments
}

/// Returns whether the tests run as root.
#[cfg(target_os = "linux")]
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Returns the same access, so many seconds later.
pub fn later(access: &Access, seconds: i64) -> Access {
    let now = Time { seconds: access.clock.now().seconds + seconds, nanos: 0 };
    Access { clock: Arc::new(FixedClock(now)), ..access.clone() }
}

/// What is asked for where a permit is to be declared: ten minutes under an invariant and a scope.
pub fn request(invariant: &str, scope: String) -> Request {
    Request {
        invariant: invariant.into(),
        reason: "the test needs it".into(),
        scope,
        time_box: TimeBox::Minutes(10),
        rollback: "copy the old vault back".into(),
        approver: "ann".into(),
        incident: None,
    }
}

/// Sizes so small that a few kilobytes make many chunks, blocks and packs.
pub fn small() -> Parameters {
    Parameters {
        block_bytes: 1 << 12,
        chunk_bytes_avg: 1 << 10,
        chunk_bytes_max: 1 << 12,
        chunk_bytes_min: 1 << 8,
        pack_bytes: 1 << 14,
        segment_entries: 4,
        segment_list: 4,
    }
}

/// A small tree with every kind of entry.
pub const SMALL_TREE: [(&str, &str); 7] = [
    ("README", "hello\n"),
    ("empty", ""),
    ("src/", ""),
    ("src/main.rs", "fn main() {}\n"),
    ("src/deep/er/file", "deep\n"),
    ("vacant/", ""),
    ("z-last", "the last file of the tree\n"),
];

/// Writes a tree: a name that ends in `/` is a directory, content that begins with `->` the target of a link.
pub fn write_tree(root: &Path, tree: &[(&str, &str)]) {
    fs::create_dir_all(root).unwrap();
    for (name, content) in tree {
        let path = root.join(name);
        fs::create_dir_all(if name.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
        match content.strip_prefix("->") {
            _ if name.ends_with('/') => {}
            #[cfg(unix)]
            Some(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
            _ => fs::write(&path, content).unwrap(),
        }
    }
}

/// Bytes that do not compress and do not repeat.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What a tree holds: by path, what each object is. Two trees are equal if these are.
pub fn picture(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut picture = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).follow_links(false) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let path = entry.path().strip_prefix(root).unwrap().to_owned();
        let what = if metadata.is_dir() {
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!("link {:?}", fs::read_link(entry.path()).unwrap())
        } else {
            format!("file {}", blake3::hash(&fs::read(entry.path()).unwrap()))
        };
        #[cfg(unix)]
        let what = {
            use std::os::unix::fs::MetadataExt;
            let mode = if metadata.is_symlink() { 0 } else { metadata.mode() };
            format!("{what} {mode:o} {}.{}", metadata.mtime(), metadata.mtime_nsec())
        };
        picture.insert(path, what);
    }
    picture
}

/// The digest of every file below a directory: equal before and after means that nothing was changed.
pub fn fingerprint(root: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| (entry.path().to_owned(), blake3::hash(&fs::read(entry.path()).unwrap())))
        .collect()
}

/// Leaves out what a host journals and keeps as evidence about everything that it does.
pub fn without_audit(mut files: BTreeMap<PathBuf, blake3::Hash>) -> BTreeMap<PathBuf, blake3::Hash> {
    files.retain(|path, _| {
        let above = path.parent().and_then(Path::file_name).unwrap_or_default();
        above != "journal" && above != "evidence"
    });
    files
}

/// Copies a directory with everything in it.
pub fn copy_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).unwrap();
        } else if cfg!(windows) && target.extension().is_some_and(|extension| extension == "key") {
            // A copy has the readers of its directory there, and not those of the original.
            let _ = fs::remove_file(&target);
            devvault::fsys::write_private(&target, &fs::read(entry.path()).unwrap()).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Returns the packs of a vault, ascending.
pub fn packs(vault: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(vault.join("packs")).into_iter().map(|entry| entry.unwrap().into_path());
    let mut packs: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect();
    packs.sort();
    packs
}

/// Flips one bit of a file.
pub fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Returns the refusal, or fails with what came instead.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => *refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Fails unless the result is a refusal with this code.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(code: Code, result: Result<T>) -> Refusal {
    let refusal = refused(result);
    assert_eq!(refusal.code, code, "{refusal}: {:?}", refusal.causes);
    refusal
}

/// The vault's own key in the hands of a test: whatever it makes authenticates.
pub struct Forger {
    /// Authenticates as the vault's key does.
    pub macs: Macs,
    vault: PathBuf,
}

impl Forger {
    /// Takes the key of a home's vault.
    pub fn new(home: &Home) -> Self {
        Self::new_at(home, &home.vault())
    }

    /// Takes the key of a home whose vault lies elsewhere.
    pub fn new_at(home: &Home, vault: &Path) -> Self {
        Self { vault: vault.to_owned(), ..Self::try_new(home).unwrap() }
    }

    /// Takes the key of a home's vault, or tells what is wrong with it.
    pub fn try_new(home: &Home) -> std::result::Result<Self, String> {
        let bytes = fs::read(home.key()).map_err(|error| error.to_string())?;
        let key = KeyFile::decode(&bytes).map_err(|error| error.to_string())?;
        Ok(Self { macs: Macs::new(key.secret(), key.vault), vault: home.vault() })
    }

    /// Returns the file of a record and its bytes.
    pub fn bytes(&self, number: u64) -> (RecordKind, Vec<u8>) {
        let read = |kind| {
            let path = self.vault.join(layout::record_directory(number)).join(layout::record_file(kind));
            Some((kind, fs::read(path).ok()?))
        };
        RecordKind::ALL.into_iter().find_map(read).unwrap()
    }

    /// Returns a record of the vault.
    pub fn record(&self, number: u64) -> Record {
        let (kind, bytes) = self.bytes(number);
        Record::decode(&bytes, kind).unwrap()
    }

    /// Returns a snapshot of the vault.
    pub fn snapshot(&self, number: u64) -> Box<Snapshot> {
        let Body::Snapshot(snapshot) = self.record(number).body else { panic!("record {number} is no snapshot") };
        snapshot
    }

    /// Returns what names a record.
    pub fn head(&self, number: u64) -> Head {
        Head { digest: Digest::of(&self.bytes(number).1), number }
    }

    /// Puts bytes under a number, authenticated as a record of this kind, over whatever is there.
    pub fn put_bytes(&self, number: u64, kind: RecordKind, bytes: &[u8]) {
        let directory = self.vault.join(layout::record_directory(number));
        fs::create_dir_all(&directory).unwrap();
        let tag = self.macs.tag(kind.domain(), number, bytes);
        fs::write(directory.join(layout::record_file(kind)), bytes).unwrap();
        fs::write(directory.join(layout::record_mac_file(kind)), encode_mac_file(tag)).unwrap();
    }

    /// Appends an authentic record that continues the record before it.
    pub fn put(&self, number: u64, body: Body) {
        let before = self.record(number - 1);
        let record = Record {
            body,
            config: before.config,
            number,
            predecessor: self.head(number - 1).digest,
            vault: before.vault,
        };
        self.put_bytes(number, record.kind(), &record.encode());
    }
}

/// Returns the names in a directory, ascending.
pub fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Fails unless the vault holds exactly the same bytes and names after the act as before it.
#[track_caller]
pub fn unchanged<T>(vault: &Path, act: impl FnOnce() -> T) -> T {
    let look = || {
        let all = walkdir::WalkDir::new(vault).into_iter().map(|entry| entry.unwrap().into_path());
        (fingerprint(vault), all.collect::<std::collections::BTreeSet<_>>())
    };
    let before = look();
    let result = act();
    assert!(look() == before, "the vault was changed");
    result
}

impl Forger {
    /// Writes an authentic pack with one block of these chunks, as they are.
    pub fn pack(&self, chunks: &[&[u8]]) {
        let plain = chunks.concat();
        self.pack_of(chunks, &plain, Encoding::Raw, plain.len());
    }

    /// Writes an authentic pack whose one block is stored so and said to decode to `plain` bytes.
    pub fn pack_of(&self, chunks: &[&[u8]], stored: &[u8], encoding: Encoding, plain: usize) {
        let id = Id(blake3::hash(stored).as_bytes()[..16].try_into().unwrap());
        let mut footer = Footer::new(self.macs.vault(), id);
        footer.blocks.push(BlockInfo {
            offset: footer.body_bytes,
            stored: stored.len() as u32,
            plain: plain as u32,
            encoding,
            kind: BlockKind::Listing,
            digest: Digest::of(stored),
            chunks: chunks.iter().map(|chunk| reference(chunk)).collect(),
        });
        footer.body_bytes += stored.len() as u64;
        let bytes = [&header(self.macs.vault(), id)[..], stored, &footer.encode(&self.macs)].concat();
        let path = self.vault.join(layout::pack_path(&Digest::of(&bytes)));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Publishes a snapshot after the newest whose listing is one list of these segments, each already encoded, with
    /// the path of its first entry. Whatever the entries say, every byte of it is authentic.
    pub fn publish(&self, number: u64, segments: &[(&str, u64, Vec<u8>)], counts: Counts) {
        self.publish_lists(number, &[segments], counts);
    }

    /// Publishes a snapshot whose listing is several lists.
    pub fn publish_lists(&self, number: u64, lists: &[&[(&str, u64, Vec<u8>)]], counts: Counts) {
        let part = |first: &str, entries, bytes: &[u8]| PartRef {
            entries,
            first: EntryPath::parse(first.as_bytes()).unwrap(),
            object: reference(bytes),
        };
        let mut snapshot = self.snapshot(number - 1);
        snapshot.lists.clear();
        for segments in lists {
            let parts: Vec<PartRef> =
                segments.iter().map(|(first, entries, bytes)| part(first, *entries, bytes)).collect();
            let list = encode_lines(&parts);
            let mut chunks: Vec<&[u8]> = segments.iter().map(|(_, _, bytes)| &bytes[..]).collect();
            chunks.push(&list);
            self.pack(&chunks);
            let total = segments.iter().map(|(_, entries, _)| entries).sum();
            snapshot.lists.push(part(segments[0].0, total, &list));
        }
        snapshot.counts = counts;
        self.put(number, Body::Snapshot(snapshot));
    }
}

impl Forger {
    /// Returns a reader that goes by the packs' own footers.
    pub fn reader(&self) -> Arc<Reader> {
        let store: Arc<dyn devvault::store::Store> = Arc::new(LocalStore::open(&self.vault).unwrap());
        let catalog = Catalog::load(&*store, &self.macs, UseIndex::No).unwrap();
        Arc::new(Reader::new(store, Arc::new(self.macs.clone()), Arc::new(catalog)))
    }

    /// Publishes the newest snapshot again, its entries altered; returns its number and the entries.
    pub fn relist(&self, mut alter: impl FnMut(&mut Entry)) -> (u64, Vec<Entry>) {
        let newest = (1..).take_while(|&number| self.vault.join(layout::record_directory(number)).exists()).last();
        let number = newest.unwrap();
        let snapshot = self.snapshot(number);
        let reader = self.reader();
        let pool = Pool::new();
        let mut entries: Vec<Entry> =
            reader.entries(&pool, &snapshot.lists).flat_map(|batch| batch.unwrap().entries).collect();
        entries.iter_mut().for_each(&mut alter);
        let segment = encode_lines(&entries);
        self.publish(number + 1, &[("", entries.len() as u64, segment)], snapshot.counts);
        (number + 1, entries)
    }
}

/// Returns one canonical line of a segment.
pub fn entry_line(path: &str, rest: &str) -> String {
    let path = serde_json::to_string(path).unwrap();
    match rest.split_once("PATH") {
        Some((before, after)) => format!("{before}{path}{after}\n"),
        None => format!("{{\"kind\":\"directory\",\"path\":{path}}}\n"),
    }
}

/// Lets everything below a directory be removed.
#[cfg(unix)]
pub fn open_up(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}
