//! Runs the real program under `ptrace` and interferes with its system calls: kills it at one, cuts a write or read
//! short, or puts an error in a call's place. One counter counts the calls of all threads.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// System calls by number, and whether they change something. `open` and `openat` do where they create. One that is neither
/// here nor in [`IGNORED`] ends the test.
const CALLS: [(u64, &str, bool); 75] = [
    (0, "read", false),
    (1, "write", true),
    (2, "open", false),
    (4, "stat", false),
    (5, "fstat", false),
    (6, "lstat", false),
    (8, "lseek", false),
    (16, "ioctl", false),
    (17, "pread64", false),
    (18, "pwrite64", true),
    (19, "readv", false),
    (20, "writev", true),
    (21, "access", false),
    (56, "clone", false),
    (72, "fcntl", false),
    (73, "flock", false),
    (74, "fsync", true),
    (75, "fdatasync", true),
    (76, "truncate", true),
    (77, "ftruncate", true),
    (79, "getcwd", false),
    (82, "rename", true),
    (83, "mkdir", true),
    (84, "rmdir", true),
    (86, "link", true),
    (87, "unlink", true),
    (88, "symlink", true),
    (89, "readlink", false),
    (90, "chmod", true),
    (91, "fchmod", true),
    (92, "chown", true),
    (93, "fchown", true),
    (94, "lchown", true),
    (133, "mknod", true),
    (137, "statfs", false),
    (138, "fstatfs", false),
    (162, "sync", true),
    (188, "setxattr", true),
    (189, "lsetxattr", true),
    (190, "fsetxattr", true),
    (191, "getxattr", false),
    (192, "lgetxattr", false),
    (193, "fgetxattr", false),
    (194, "listxattr", false),
    (195, "llistxattr", false),
    (196, "flistxattr", false),
    (197, "removexattr", true),
    (198, "lremovexattr", true),
    (199, "fremovexattr", true),
    (217, "getdents64", false),
    (221, "fadvise64", false),
    (257, "openat", false),
    (258, "mkdirat", true),
    (259, "mknodat", true),
    (260, "fchownat", true),
    (262, "newfstatat", false),
    (263, "unlinkat", true),
    (264, "renameat", true),
    (265, "linkat", true),
    (266, "symlinkat", true),
    (267, "readlinkat", false),
    (268, "fchmodat", true),
    (269, "faccessat", false),
    (280, "utimensat", true),
    (285, "fallocate", true),
    (295, "preadv", false),
    (296, "pwritev", true),
    (306, "syncfs", true),
    (316, "renameat2", true),
    (318, "getrandom", false),
    (326, "copy_file_range", true),
    (332, "statx", false),
    (435, "clone3", false),
    (439, "faccessat2", false),
    (452, "fchmodat2", true),
];

/// System calls by number that are let through and counted nowhere: they reach no file, and nothing of what the program
/// promises hangs on their result, or the language ends the process where they fail.
const IGNORED: [(u64, &str); 47] = [
    // Takes nothing back, whatever it returns.
    (3, "close"),
    // Memory.
    (9, "mmap"),
    (10, "mprotect"),
    (11, "munmap"),
    (12, "brk"),
    (25, "mremap"),
    (28, "madvise"),
    // Signals.
    (13, "rt_sigaction"),
    (14, "rt_sigprocmask"),
    (15, "rt_sigreturn"),
    (131, "sigaltstack"),
    (200, "tkill"),
    (234, "tgkill"),
    (219, "restart_syscall"),
    // Waiting.
    (7, "poll"),
    (24, "sched_yield"),
    (35, "nanosleep"),
    (202, "futex"),
    (230, "clock_nanosleep"),
    (271, "ppoll"),
    // Times, and who and where the process is.
    (39, "getpid"),
    (63, "uname"),
    (96, "gettimeofday"),
    (97, "getrlimit"),
    (99, "sysinfo"),
    (102, "getuid"),
    (104, "getgid"),
    (107, "geteuid"),
    (108, "getegid"),
    (115, "getgroups"),
    (186, "gettid"),
    (201, "time"),
    (204, "sched_getaffinity"),
    (228, "clock_gettime"),
    (229, "clock_getres"),
    (302, "prlimit64"),
    // The beginning and the end of threads and of the process.
    (60, "exit"),
    (157, "prctl"),
    (218, "set_tid_address"),
    (231, "exit_group"),
    (273, "set_robust_list"),
    (324, "membarrier"),
    (334, "rseq"),
    // The pipe by which a signal is told to a thread, and a name service asked for names of users.
    (293, "pipe2"),
    (41, "socket"),
    (42, "connect"),
    // What new files may not be allowed, read by setting it.
    (95, "umask"),
];

/// Those that make something durable.
pub const SYNCS: [&str; 3] = ["fsync", "fdatasync", "syncfs"];
/// Those that may do half of what they are asked for.
const TRANSFERS: [&str; 4] = ["read", "pread64", "write", "pwrite64"];
const SIGALTSTACK: u64 = 131;
const OPEN_CREATES: u64 = 0o100;

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that change something.
    Writes,
    /// All that have to do with files, and the making of threads.
    All,
    /// Those that only look, and look at something whose name holds this text.
    LooksAt(&'static str),
    /// Those that change something whose name holds this text.
    ChangesAt(&'static str),
}

/// What is done to the call that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Nothing,
    KillBefore,
    KillAfter,
    /// Half of a read or write is done, then the process is killed; nothing is done to anything else.
    KillWithin,
    /// Nothing, but the call is told.
    Meanwhile,
    /// Half of what was asked for is read or written; nothing is done to anything else.
    Short,
    /// It does nothing and fails with this error.
    Fail(i32),
    /// It and every later call of the same name do.
    FailFromThenOn(i32),
    /// It does nothing, and all seems well. Only calls that sync are counted for this.
    NoSync,
    /// No call that syncs does anything, of whatever name, and all seems well.
    NoSyncs,
}

/// What became of the program.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status; none where it was killed.
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The names of the calls that were counted.
    pub calls: Vec<&'static str>,
    /// Which of them read or wrote more than half of what was asked for, so that less can be.
    pub transfers: Vec<bool>,
    /// The call that was interfered with: its name and what it was about.
    pub met: Option<(&'static str, String)>,
    /// It had to be ended because it took too long.
    pub hung: bool,
}

/// Longer than anything here takes, also on a machine that is busy.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Runs a command with a deed done to its `nth` counted call; nothing where processes may not be traced here.
pub fn run(command: &mut Command, scratch: &Path, which: Which, nth: usize, deed: Deed) -> Option<Outcome> {
    run_watched(command, scratch, which, nth, deed, &|_, _| {})
}

/// As [`run`], and calls `act` before the `nth` counted call and every later one, while the program stands still; `act`
/// decides what it does when.
pub fn run_meanwhile(
    command: &mut Command,
    scratch: &Path,
    which: Which,
    nth: usize,
    act: &dyn Fn(),
) -> Option<Outcome> {
    let count = Cell::new(0);
    run_watched(command, scratch, which, nth, Deed::Meanwhile, &|_, _| {
        if count.replace(count.get() + 1) >= nth {
            act();
        }
    })
}

/// As [`run`], and calls with the name of each counted call, and what it is about, before it is made.
pub fn run_watched(
    command: &mut Command,
    scratch: &Path,
    which: Which,
    nth: usize,
    deed: Deed,
    watch: &dyn Fn(&'static str, &dyn Fn() -> String),
) -> Option<Outcome> {
    let (out, err) = (scratch.join("stdout"), scratch.join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    #[allow(unsafe_code, reason = "only the child itself can ask to be traced, between fork and exec")]
    // One system call, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(ptrace::traceme()?));
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            crate::support::skip(&format!("no process can be traced here ({error})"));
            return None;
        }
    };
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (ended, hung) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let ender = {
        let (ended, hung) = (Arc::clone(&ended), Arc::clone(&hung));
        std::thread::spawn(move || {
            let begun = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                std::thread::park_timeout(TIME_MAX);
                if begun.elapsed() >= TIME_MAX && !ended.load(Ordering::Relaxed) {
                    hung.store(true, Ordering::Relaxed);
                    let _ = kill(process, Signal::SIGKILL);
                }
            }
        })
    };
    let mut tracer = Tracer {
        process,
        watch,
        which,
        nth,
        deed,
        calls: Vec::new(),
        transfers: Vec::new(),
        unknown: BTreeSet::new(),
        syncs: 0,
        begun: false,
        met: None,
        failing: None,
    };
    let exit = tracer.follow();
    ended.store(true, Ordering::Relaxed);
    ender.thread().unpark();
    ender.join().unwrap();
    // Its end was waited for already.
    let _ = child.try_wait();
    assert!(tracer.unknown.is_empty(), "system calls that are in no list: {:?}", tracer.unknown);
    Some(Outcome {
        exit,
        stdout: String::from_utf8_lossy(&fs::read(out).unwrap()).into_owned(),
        stderr: String::from_utf8_lossy(&fs::read(err).unwrap()).into_owned(),
        calls: tracer.calls,
        transfers: tracer.transfers,
        met: tracer.met,
        hung: hung.load(Ordering::Relaxed),
    })
}

struct Tracer<'a> {
    process: Pid,
    watch: &'a dyn Fn(&'static str, &dyn Fn() -> String),
    which: Which,
    nth: usize,
    deed: Deed,
    calls: Vec<&'static str>,
    transfers: Vec<bool>,
    // Numbers that are in neither list.
    unknown: BTreeSet<u64>,
    syncs: usize,
    begun: bool,
    met: Option<(&'static str, String)>,
    // The number of the call that fails from now on, whatever it is about.
    failing: Option<(u64, i32)>,
}

/// What a thread that entered a call is to see when it leaves it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Result,
    Error(i32),
    Death,
    /// The result, which tells whether this counted call did more than half of so many bytes.
    Transfer(usize, u64),
}

impl Tracer<'_> {
    /// Follows all threads to the end; returns the exit status.
    fn follow(&mut self) -> Option<i32> {
        // Only of this thread: other tests have children too.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let mut inside: std::collections::BTreeMap<Pid, Leaving> = Default::default();
        let mut known = BTreeSet::new();
        loop {
            let status = waitpid(Pid::from_raw(-1), Some(flags)).expect("the child is there");
            let mut signal = None;
            let thread = match status {
                WaitStatus::Exited(process, code) if process == self.process => return Some(code),
                WaitStatus::Signaled(process, ..) if process == self.process => return None,
                WaitStatus::Stopped(process, Signal::SIGTRAP) if known.is_empty() => {
                    known.insert(process);
                    let options =
                        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
                    ptrace::setoptions(process, options).expect("it is traced");
                    process
                }
                WaitStatus::Stopped(thread, other) => {
                    // A new thread stops once before it begins.
                    if !(known.insert(thread) && other == Signal::SIGSTOP) {
                        signal = Some(other);
                    }
                    thread
                }
                WaitStatus::PtraceSyscall(thread) => {
                    match inside.remove(&thread) {
                        Some(leaving) => self.leave(thread, leaving),
                        None => {
                            let leaving = self.enter(thread);
                            inside.insert(thread, leaving);
                        }
                    }
                    thread
                }
                WaitStatus::PtraceEvent(thread, ..) => thread,
                _ => continue,
            };
            // It may have been killed meanwhile.
            let _ = ptrace::syscall(thread, signal);
        }
    }

    fn enter(&mut self, thread: Pid) -> Leaving {
        let Ok(mut registers) = ptrace::getregs(thread) else { return Leaving::Result };
        let number = registers.orig_rax;
        // Until then the loader and the language's own runtime are at work.
        self.begun |= number == SIGALTSTACK;
        if let Some((failing, errno)) = self.failing
            && failing == number
        {
            return skip(thread, registers, errno);
        }
        if !self.begun {
            return Leaving::Result;
        }
        let Some((_, name, changes)) = CALLS.iter().find(|(known, ..)| *known == number).copied() else {
            if IGNORED.iter().all(|(known, _)| *known != number) {
                self.unknown.insert(number);
            }
            return Leaving::Result;
        };
        if !self.counts(name, changes, &registers) {
            return Leaving::Result;
        }
        if let Which::LooksAt(text) | Which::ChangesAt(text) = self.which
            && !about(thread, name, &registers).contains(text)
        {
            return Leaving::Result;
        }
        let transfers = TRANSFERS.contains(&name) && registers.rdx > 1;
        self.calls.push(name);
        self.transfers.push(false);
        let result = if transfers { Leaving::Transfer(self.calls.len() - 1, registers.rdx) } else { Leaving::Result };
        (self.watch)(name, &|| about(thread, name, &registers));
        self.syncs += usize::from(SYNCS.contains(&name));
        let reached = match self.deed {
            Deed::NoSyncs => SYNCS.contains(&name),
            Deed::KillWithin | Deed::Short => self.calls.len() == self.nth + 1 && transfers,
            Deed::NoSync => SYNCS.contains(&name) && self.syncs == self.nth + 1,
            _ => self.calls.len() == self.nth + 1,
        };
        if !reached || self.deed == Deed::Nothing {
            return result;
        }
        self.met = Some((name, about(thread, name, &registers)));
        match self.deed {
            Deed::Nothing => result,
            Deed::KillBefore => {
                let _ = kill(self.process, Signal::SIGKILL);
                Leaving::Result
            }
            Deed::Meanwhile => Leaving::Result,
            Deed::KillAfter => Leaving::Death,
            Deed::KillWithin | Deed::Short => {
                registers.rdx /= 2;
                let _ = ptrace::setregs(thread, registers);
                if self.deed == Deed::Short { Leaving::Result } else { Leaving::Death }
            }
            Deed::Fail(errno) => skip(thread, registers, errno),
            Deed::NoSync | Deed::NoSyncs => skip(thread, registers, 0),
            Deed::FailFromThenOn(errno) => {
                self.failing = Some((number, errno));
                skip(thread, registers, errno)
            }
        }
    }

    fn leave(&mut self, thread: Pid, leaving: Leaving) {
        match leaving {
            Leaving::Result => {}
            Leaving::Error(errno) => {
                if let Ok(mut registers) = ptrace::getregs(thread) {
                    registers.rax = i64::from(-errno) as u64;
                    let _ = ptrace::setregs(thread, registers);
                }
            }
            Leaving::Death => {
                let _ = kill(self.process, Signal::SIGKILL);
            }
            Leaving::Transfer(nth, asked) => {
                let done = ptrace::getregs(thread).map_or(0, |registers| registers.rax as i64);
                self.transfers[nth] = done > (asked / 2) as i64;
            }
        }
    }

    /// Returns whether a call counts.
    fn counts(&self, name: &str, changes: bool, registers: &nix::libc::user_regs_struct) -> bool {
        let creates = match name {
            "open" => registers.rsi & OPEN_CREATES != 0,
            "openat" => registers.rdx & OPEN_CREATES != 0,
            _ => false,
        };
        match self.which {
            Which::All => true,
            Which::Writes | Which::ChangesAt(_) => changes || creates,
            Which::LooksAt(_) => !changes && !creates,
        }
    }
}

/// Has the system do nothing in place of the call.
fn skip(thread: Pid, mut registers: nix::libc::user_regs_struct, errno: i32) -> Leaving {
    registers.orig_rax = u64::MAX;
    let _ = ptrace::setregs(thread, registers);
    Leaving::Error(errno)
}

/// Returns what a call is about: the path of its descriptor, or its name.
fn about(thread: Pid, name: &str, registers: &nix::libc::user_regs_struct) -> String {
    let descriptor = |number: u64| {
        let link = fs::read_link(format!("/proc/{thread}/fd/{}", number as i32));
        link.map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned())
    };
    let text = |address: u64| {
        let mut bytes = [0; 512];
        let read = File::open(format!("/proc/{thread}/mem")).and_then(|memory| memory.read_at(&mut bytes, address));
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
        read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes[..end]).into_owned())
    };
    match name {
        "open" | "stat" | "lstat" | "access" | "mkdir" | "mknod" | "rmdir" | "unlink" | "readlink" | "truncate"
        | "chmod" | "chown" | "lchown" | "statfs" | "setxattr" | "lsetxattr" | "getxattr" | "lgetxattr"
        | "listxattr" | "llistxattr" | "removexattr" | "lremovexattr" => text(registers.rdi),
        "openat" | "mkdirat" | "mknodat" | "fchownat" | "newfstatat" | "unlinkat" | "readlinkat" | "faccessat"
        | "faccessat2" | "fchmodat" | "fchmodat2" | "utimensat" | "statx" => {
            format!("{} {}", descriptor(registers.rdi), text(registers.rsi))
        }
        "rename" | "link" | "symlink" => format!("{} {}", text(registers.rdi), text(registers.rsi)),
        "renameat" | "renameat2" | "linkat" => {
            let (from, to) = (descriptor(registers.rdi), descriptor(registers.rdx));
            format!("{from} {} {to} {}", text(registers.rsi), text(registers.r10))
        }
        "symlinkat" => format!("{} {}", descriptor(registers.rsi), text(registers.rdx)),
        "clone" | "clone3" | "getrandom" | "getcwd" | "sync" => String::new(),
        "copy_file_range" => descriptor(registers.rdx),
        _ => descriptor(registers.rdi),
    }
}
