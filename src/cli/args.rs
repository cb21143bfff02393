//! What the command line takes.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use crate::drill::scenario::Scenario;
use crate::format::record::Head;
use crate::ops::diff::Side;
use crate::ops::find::Size;
use crate::ops::restore::Class;
use crate::ops::select::{Place, Selector};
use crate::ops::verify::Budget;

/// Backs up project folders, proves that the backups are recoverable, and restores them.
#[derive(Debug, Parser)]
#[command(
    name = "devvault",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "\
Begin with `devvault backup FOLDER`: without a vault it makes the default one and says where vault and key are.
Exit status: 0 done, 1 the environment failed, 2 usage, 11 to 18 refused (10 + the code's first digit), 130 interrupted.
Every refusal has a code; `devvault runbook CODE` tells what to do."
)]
pub(super) struct Args {
    /// The vault's directory [default: from the configuration, else the default vault]
    #[arg(long, global = true, env = "DEVVAULT_VAULT", value_name = "V")]
    pub(super) vault: Option<PathBuf>,

    /// The key file to use instead of the one that this host keeps for the vault
    #[arg(long, global = true, env = "DEVVAULT_KEY_FILE", value_name = "F")]
    pub(super) key_file: Option<PathBuf>,

    /// Print one JSON document on stdout, also for a refusal
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// How to show progress on stderr
    #[arg(long, global = true, value_enum, default_value_t = Show::Auto, value_name = "HOW")]
    pub(super) progress: Show,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Show {
    /// A bar where stderr is a terminal, nothing elsewhere
    Auto,
    /// Nothing
    None,
    /// A JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new vault in an absent or empty directory, and its key on this host
    ///
    /// The vault is authenticated: any change to it is noticed. It is not encrypted: who can read the medium can read the
    /// backups. The key lies outside the vault; export a copy of it to another medium with `devvault key export`.
    Init {
        /// The new vault's directory
        #[arg(value_name = "V")]
        place: PathBuf,
    },

    /// Take a snapshot of a folder
    ///
    /// Reads what changed since the last snapshot of the same folder, stores what is new, reads it back from the medium,
    /// and publishes the snapshot in one step. If any file cannot be read, nothing is published and all such files are
    /// named: there are no best-effort backups.
    ///
    /// Files named `.devvaultignore` in the folder leave out what they match, in the syntax of `.gitignore` and for the
    /// directory they lie in. Rules of the command go before them, and they before `.gitignore` files (--gitignore). What
    /// was left out, and by which rule, is recorded in the snapshot.
    Backup(Backup),

    /// List the snapshots of a vault
    Snapshots,

    /// List the entries of a snapshot
    Ls {
        /// A snapshot, and a path in it: `3`, `latest`, `latest:SOURCE`, `3:src/lib.rs`
        #[arg(value_name = "SNAP[:PATH]", value_parser = a_place())]
        place: Place,
    },

    /// Find what snapshots hold, and in which versions
    ///
    /// Looks through all snapshots, or those that are named. Prints a line for each version of each path that matches:
    /// the snapshots that hold it, mode, length, time, path. Contents are not read.
    ///
    /// A pattern without `/` is for names at any depth; one with `/` is for whole paths below the source, where `**`
    /// stands for any number of directories.
    #[command(after_help = "\
Examples:
  devvault find '*.odt'                in which snapshots, in which versions
  devvault find --changed src/main.rs  where its content differs, or where it is missing
  devvault find --newest lost.txt      the newest snapshot that holds it
  devvault find 3 7:src '*.c'          in snapshot 3, and below src in snapshot 7")]
    Find(Find),

    /// Print the content of one file of a snapshot
    ///
    /// Every byte has been verified before it is printed. After a failure nothing more is printed, the refusal stands on
    /// stderr, and the exit status is not 0: check it before you use what was printed.
    Cat {
        /// A snapshot and the path of a file in it: `3:src/lib.rs`
        #[arg(value_name = "SNAP:PATH", value_parser = a_place())]
        place: Place,
    },

    /// Show what differs between two snapshots, or between a snapshot and a directory
    ///
    /// Prints `+` for what only the second side holds, `-` for what only the first holds, `~` for what differs and in what,
    /// and `!` for a file whose content differs although its length and modification time do not: that is damage, or
    /// somebody put the time back. Differences do not change the exit status; the last line and the JSON document count
    /// them.
    #[command(after_help = "\
Examples:
  devvault diff 3 4                  what changed from snapshot 3 to 4
  devvault diff 3:src 4:lib          a part of each
  devvault diff latest ~/project     what changed since the newest snapshot; reads the files of the same length
  devvault diff --quick 3 ./restored by lengths and times alone")]
    Diff(Diff),

    /// Prove that snapshots are recoverable, or find everything that stands against it
    ///
    /// Reads, decodes and hashes every byte. Writes nothing into the vault, and needs no lock: it works on media that are
    /// mounted read-only. Exit status 0 means that everything that was asked for is valid; with --quick,
    /// --sample or --budget, that no fault was found, which proves no snapshot recoverable.
    Verify(Verify),

    /// Restore a snapshot, or a part of it, into an absent or empty directory
    ///
    /// Of a part, only what it needs is read: it can be restored from a snapshot that is damaged elsewhere, if every byte of
    /// it verifies. The result says what was not restored, and says nothing good of the rest.
    ///
    /// Writes beside the destination first, reads everything back and compares it, and puts it in place in one step. It
    /// never writes into a directory that holds anything, and there is no flag that would.
    Restore(Restore),

    /// Show how a vault stands: last backups, verifications and drills, freshness, key, space, findings
    ///
    /// Also what a person has to see to: open incidents, late reports, permits, orphans; backups, verifications and drills
    /// that are overdue.
    Status {
        /// Fail with exit status 17 where there is anything to see to, for a weekly audit
        #[arg(long)]
        check: bool,
        /// Also write metrics in the text format of Prometheus to a file: a new one, or the one of the last time, which is
        /// replaced as a whole
        #[arg(long, value_name = "FILE")]
        metrics: Option<PathBuf>,
    },

    /// Exercise a restore: into a scratch directory, compared there by a path of its own, and cleaned up
    ///
    /// The snapshot is restored as an operator would restore it. Then every restored file is read and hashed again and held
    /// against the authenticated listing, with kinds, names, targets, modes, owners, times, attributes and hard links. The
    /// packs that the snapshot relies on are verified to their last byte, unless a sample is restored. Each step is timed, and
    /// the recovery time is held against the objective. The result goes to the journal and to the drill log. The vault is only
    /// read. After a failure the scratch directory stays as evidence.
    Drill(Drill),

    /// Check a receipt that `verify --receipt` or `drill --receipt` wrote: is it genuine, and what has happened since?
    Receipt {
        #[command(subcommand)]
        command: ReceiptCommand,
    },

    /// Care for the index, which is only a cache
    Index {
        #[command(subcommand)]
        command: IndexCommand,
    },

    /// Export, import or check the key
    Key {
        #[command(subcommand)]
        command: IncludedKey,
    },

    #[command(flatten)]
    Operator(super::operator::Command),

    /// Judge this machine and the medium of a directory or vault, or compare the reports of several machines
    ///
    /// Runs the vaults, vectors and trees that the program carries, compares what each came to with what this release
    /// expects, and describes machine and medium. What it writes lies below a name of its own and is removed. A directory in
    /// which nothing can be written is not judged.
    #[command(after_help = "\
Examples:
  devvault conformance                      this machine
  devvault conformance /mnt/disk            and the medium that is mounted there
  devvault conformance --report linux.json  for a comparison with other machines
  devvault conformance --compare linux.json windows.json macos.json")]
    Conformance(super::conformance::Options),

    /// Write completions for shells and manual pages into a directory, for who packages the program
    #[command(hide = true)]
    Papers {
        /// A directory
        directory: PathBuf,
    },

    /// Print the runbook, or its section for a code, a class or a procedure, from the program itself
    Runbook {
        /// A refusal code such as DV313, a class such as snapshot-integrity, a procedure such as break-glass
        #[arg(value_name = "CODE|CLASS")]
        code: Option<String>,
    },
}

/// Takes a size without a sign.
fn bytes(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(Size::Exactly(bytes)) => Ok(bytes),
        _ => Err("a size reads 500M or 2G; K, M, G and T are powers of 1024".into()),
    }
}

/// Takes a snapshot and a path in it, whose names may have any bytes; a shell writes them as `$'3:\xff'`.
fn a_place() -> impl TypedValueParser<Value = Place> {
    OsStringValueParser::new().try_map(|word| Place::parse(&word))
}

/// Takes a reason: what stands for ever has to say something.
pub(super) fn some_words(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it has to say something".to_owned()) } else { Ok(text.to_owned()) }
}

/// Takes a pattern that the operation will understand.
fn pattern(text: &str) -> Result<String, String> {
    crate::ops::backup::check_pattern(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The folder to back up
    pub(super) source: PathBuf,
    /// Leave out what matches, in gitignore syntax relative to the folder (repeatable)
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    pub(super) exclude: Vec<String>,
    /// Leave out what the lines of a file match, each as for --exclude (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(super) exclude_from: Vec<PathBuf>,
    /// Take directories that a valid CACHEDIR.TAG marks without their content
    #[arg(long)]
    pub(super) exclude_caches: bool,
    /// Take directories on which another file system is mounted without their content
    #[arg(long)]
    pub(super) one_file_system: bool,
    /// Leave out what the .gitignore files of the folder do, as git does; also files that git tracks all the same
    #[arg(long)]
    pub(super) gitignore: bool,
    /// Show what would be taken and what not, and which rule says so; reads no content and writes nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Allow files that match to be left out if they keep changing, and directories (`dir/`) to lack names; manifest and
    /// reports name them (repeatable)
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    pub(super) may_change: Vec<String>,
    /// Read every file, also those that look unchanged, and every older pack that the snapshot relies on
    #[arg(long)]
    pub(super) reread: bool,
    /// Accept a folder that is empty now and was not before
    #[arg(long)]
    pub(super) allow_empty: bool,
    /// Look at the folder again at the end and record whether anything changed meanwhile
    #[arg(long)]
    pub(super) closing_look: bool,
    /// Label the snapshot (repeatable)
    #[arg(long, value_name = "T")]
    pub(super) tag: Vec<String>,
    /// A head that must occur in the vault's chain, as `backup` printed it; stands in for a lost witness
    #[arg(long, value_name = "HEAD")]
    pub(super) expect_head: Option<Head>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Find {
    /// Snapshots to look through [default: all], each with a path if you like; then patterns. The last word is a pattern
    #[arg(value_name = "SNAP[:PATH]|PATTERN", required = true)]
    pub(super) words: Vec<String>,
    /// Only the newest version of each path
    #[arg(long, conflicts_with = "changed")]
    pub(super) newest: bool,
    /// Only paths whose content differs between the snapshots, or that some of them lack; a line for each content
    #[arg(long)]
    pub(super) changed: bool,
    /// Only what is of this kind (repeatable)
    #[arg(long, value_enum, value_name = "KIND")]
    pub(super) kind: Vec<FindKind>,
    /// Only files of this length: 1234, +10M (at least), -4K (at most); K, M, G, T are powers of 1024 (repeatable)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(super) size: Vec<Size>,
    /// Ignore case, of ASCII letters
    #[arg(short, long)]
    pub(super) ignore_case: bool,
}

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FindKind {
    /// Regular files
    File,
    /// Directories
    Directory,
    /// Symbolic links
    Symlink,
    /// Junctions of Windows
    Junction,
    /// Named pipes
    Fifo,
    /// Sockets
    Socket,
    /// Block devices
    Block,
    /// Character devices
    Character,
}

#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// A snapshot, and a path in it: `3`, `latest`, `latest:SOURCE`, `3:src`
    #[arg(value_name = "SNAP[:PATH]", value_parser = a_place())]
    pub(super) left: Place,
    /// Another snapshot, or a directory; write `./3` for a directory of that name
    #[arg(value_name = "SNAP[:PATH]|DIR", value_parser = OsStringValueParser::new().map(|word| Side::of(&word)))]
    pub(super) right: Side,
    /// Compare lengths and times of a directory's files but do not read them
    #[arg(long)]
    pub(super) quick: bool,
    /// Show only what is added, removed, or differs in kind, content or target
    #[arg(long)]
    pub(super) content_only: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Snapshots: numbers, `latest`, `latest:SOURCE` [default: all, and the vault as a whole]
    #[arg(value_name = "SNAP")]
    pub(super) snapshots: Vec<Selector>,
    /// Check records, lists of files, and presence and size of packs only; does not prove recoverability
    #[arg(long, conflicts_with_all = ["budget", "sample"])]
    pub(super) quick: bool,
    /// As --quick, and read for this long (90s, 10m, 2h) the packs that were not read for longest
    #[arg(long, value_name = "TIME", value_parser = Budget::parse_time, conflicts_with = "sample")]
    pub(super) budget: Option<Budget>,
    /// As --quick, and read this share (5%) of the stored bytes, those that were not read for longest
    #[arg(long, value_name = "SHARE", value_parser = Budget::parse_share)]
    pub(super) sample: Option<Budget>,
    /// Write an authenticated receipt of the result to a new file
    #[arg(long, value_name = "FILE")]
    pub(super) receipt: Option<PathBuf>,
    /// A head that must occur in the vault's chain, as `backup` printed it
    #[arg(long, value_name = "HEAD")]
    pub(super) expect_head: Option<Head>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// A snapshot, and a path in it: `3`, `latest`, `latest:SOURCE`, `3:src`
    #[arg(value_name = "SNAP[:PATH]", value_parser = a_place())]
    pub(super) place: Place,
    /// An absent or empty directory
    #[arg(value_name = "DEST")]
    pub(super) destination: PathBuf,
    /// Restore only what matches, in gitignore syntax relative to what is restored, and all below it (repeatable)
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    pub(super) include: Vec<String>,
    /// Do not restore what matches, nor what lies below it; goes before --include (repeatable)
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    pub(super) exclude: Vec<String>,
    /// Compare with what the medium holds rather than the system's memory
    #[arg(long)]
    pub(super) from_medium: bool,
    /// Give up classes of metadata or objects: acl, capability, created, device, flags, hardlink, junction, mode, owner,
    /// security, sparse, special, stream, symlink, time, xattr; the report counts what is lost (repeatable)
    #[arg(long, value_name = "CLASS,...", value_delimiter = ',')]
    pub(super) without: Vec<Class>,
    /// Give files to the recorded numbers of users and groups, whatever these are called here
    #[arg(long)]
    pub(super) numeric_owner: bool,
    /// A head that must occur in the vault's chain, as `backup` printed it
    #[arg(long, value_name = "HEAD")]
    pub(super) expect_head: Option<Head>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Drill {
    /// A snapshot: a number, `latest`, `latest:SOURCE` [default: latest]
    #[arg(value_name = "SNAP")]
    pub(super) snapshot: Option<Selector>,
    /// The directory in which the scratch directory is made, which must be there [default: one for temporary files that has
    /// room]
    #[arg(long, value_name = "SCRATCH")]
    pub(super) to: Option<PathBuf>,
    /// Restore with a process of its own that has empty directories, no environment, and nothing but the vault and the key
    /// that --key-file names
    #[arg(long, conflicts_with = "sample")]
    pub(super) clean_machine: bool,
    /// Also damage a copy of what the snapshot needs, which verify and restore must refuse; the vault is only read
    #[arg(long)]
    pub(super) negative: bool,
    /// Restore only files drawn at random, up to this size (500M, 2G): says what that does not prove
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(super) sample: Option<u64>,
    /// Write an authenticated receipt of the result to a new file
    #[arg(long, value_name = "FILE")]
    pub(super) receipt: Option<PathBuf>,
    /// Exercise a procedure of the runbook on a throw-away vault instead: escrow-restore, interrupted-backup, full-vault or
    /// tampered-manifest
    #[arg(long, value_name = "NAME", conflicts_with_all = ["snapshot", "clean_machine", "negative", "sample", "receipt"])]
    pub(super) scenario: Option<Scenario>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ReceiptCommand {
    /// Say whether a receipt is genuine, and what has happened to the vault since
    Check {
        /// A receipt
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum IndexCommand {
    /// Make the index anew from the packs
    Rebuild,
}

#[derive(Debug, Subcommand)]
pub(super) enum IncludedKey {
    /// Write the key, in clear, to a new file
    Export {
        /// A file that does not exist, best on another medium
        file: PathBuf,
        /// I know that this file is the secret itself
        #[arg(long)]
        acknowledge_plain_secret: bool,
    },
    /// Install a key on this host
    Import {
        /// An exported key
        file: PathBuf,
    },
    /// Prove that the key opens the vault and authenticates its newest snapshot
    Check,
}
