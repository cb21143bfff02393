//! The command line: the only room that parses arguments, prints, or exits.

mod args;
mod break_glass;
mod conformance;
mod drill;
mod evidence;
mod human;
mod incident;
mod journal;
mod json;
mod loss;
mod metrics;
mod operator;
mod orphans;
mod papers;
mod progress;
mod runbook;
mod salvage;
mod stream;
mod trace;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use serde_json::Value;

use crate::clock::{Clock, SystemClock};
use crate::crypto::Id;
use crate::error::{Error, Result, shown_path};
use crate::format::config::Parameters;
use crate::fsys;
use crate::host::Host;
use crate::incident::journal::Journal;
use crate::incident::registry;
use crate::ops::select::Place;
use crate::ops::{audit, backup, cat, diff, find, index, init, key, ls, receipt, restore, snapshots, status, verify};
use crate::path::{printable_json, quoted};
use crate::refusal::{Code, Family, Written, exit_of};
use crate::vault::chain::claimed_at;
use crate::vault::gate::Access;
use args::{Args, Command, FindKind, IncludedKey, IndexCommand, ReceiptCommand, Show};
use progress::Watch;
use stream::{Stream, closed};

pub use runbook::TEXT as RUNBOOK;

/// Collects lines. The one place where text becomes a line for a terminal: whatever was quoted in it, it stays one.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{
        $out.push_str(&crate::path::printable(&format!($($arg)*)));
        $out.push('\n');
    }};
}
use line;

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    fsys::raise_descriptor_limit();
    let args = Args::try_parse().unwrap_or_else(|error| end(&error));
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // A second Ctrl-C ends at once; what that leaves behind is what a crash would. On Windows the handler also gets the closing
    // of the window, a logoff and a shutdown; the system ends the process soon after it returns, which is a crash as well.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            let _ = writeln!(
                io::stderr(),
                "\nended at once: what was being written may stay, as `.incomplete-*` in a vault, a staging directory beside a \
                 destination, or `devvault-drill-*` where drills are done"
            );
            std::process::exit(130);
        }
    });
    let json = args.json;
    let outcome = Session::new(args, interrupted).and_then(|session| session.run());
    match outcome {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => {
            let printed = if json { print(&json::error(&error)) } else { Ok(()) };
            if (!json || printed.is_err()) && !stdout_is_gone(&error) {
                talk(&as_called(&human::error(&error), None));
            }
            ExitCode::from(error.exit())
        }
    }
}

/// Returns whether whoever read the results has gone away, as `head` does; nobody has to be told.
fn stdout_is_gone(error: &Error) -> bool {
    matches!(error, Error::Environment { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

/// Returns the command line's definition, for completions and manual pages.
pub fn command() -> clap::Command {
    <Args as clap::CommandFactory>::command()
}

/// Commands that mean nothing without a vault.
const VAULT_COMMANDS: [&str; 15] = [
    "backup",
    "branch",
    "cat",
    "declare-lost",
    "diff",
    "drill",
    "find",
    "incomplete",
    "index",
    "ls",
    "restore",
    "salvage",
    "snapshots",
    "status",
    "verify",
];

/// The names of all commands. A document has many texts in which they are looked for.
static COMMANDS: LazyLock<Vec<String>> =
    LazyLock::new(|| command().get_subcommands().map(|command| command.get_name().to_owned()).collect());

struct Session {
    args: Args,
    host: Host,
    watch: Watch,
}

impl Session {
    fn new(args: Args, interrupted: Arc<AtomicBool>) -> Result<Self> {
        // A bar between lines that are printed as they are found would tear them.
        let streams =
            matches!(args.command, Command::Ls { .. } | Command::Find(_) | Command::Cat { .. } | Command::Diff(_));
        let torn = streams && (io::stdout().is_terminal() || !matches!(args.command, Command::Diff(_)));
        let show = if torn && args.progress == Show::Auto { Show::None } else { args.progress };
        let watch = Watch::new(show, args.json, interrupted);
        Ok(Self { host: Host::from_environment()?, args, watch })
    }

    fn run(self) -> Result<u8> {
        let name = match &self.args.command {
            Command::Operator(command) => command.name(),
            _ => "command",
        };
        let outcome = self.act().map_err(|error| match (&error, self.access()) {
            // What no operation journaled, because it refused before one began.
            (Error::Refused(_), Ok(access)) => audit::refused(&access, name, error),
            _ => audit::refused_on(&self.host, &SystemClock, name, error),
        });
        outcome.map_err(|error| match error {
            Error::Refused(mut refusal) => {
                refusal.next = self.pasteable(&refusal.next);
                Error::Refused(refusal)
            }
            other => other,
        })
    }

    /// Names in every command that a text offers the program, the vault and the key as this run was told them: what is
    /// pasted in the night has to run, and to mean the same vault.
    fn pasteable(&self, text: &str) -> String {
        as_called(text, self.args.vault.as_deref().map(|vault| self.words(vault)).as_deref())
    }

    /// Names the vault in every command that a document offers, as [`pasteable`](Self::pasteable) does in a text.
    fn pasteable_document(&self, document: Value) -> Value {
        match document {
            Value::Object(fields) => {
                let one = |(name, value)| match (name, value) {
                    (name, Value::String(text)) if name == "next" => {
                        let text = self.pasteable(&text);
                        (name, text.into())
                    }
                    (name, value) => (name, self.pasteable_document(value)),
                };
                Value::Object(fields.into_iter().map(one).collect())
            }
            Value::Array(values) => values.into_iter().map(|value| self.pasteable_document(value)).collect(),
            other => other,
        }
    }

    fn act(&self) -> Result<u8> {
        match &self.args.command {
            Command::Init { place } => self.init(place),
            Command::Backup(options) => self.backup(options),
            Command::Snapshots => {
                let report = snapshots::run(&self.access()?)?;
                let exit = worst(&report.findings);
                self.show(exit, json::snapshots(&report), || human::snapshots(&report))
            }
            Command::Ls { place } => self.ls(place),
            Command::Find(options) => self.find(options),
            Command::Cat { place } => self.cat(place),
            Command::Diff(options) => self.diff(options),
            Command::Verify(options) => self.verify(options),
            Command::Restore(options) => self.restore(options),
            Command::Drill(options) => self.drill(options),
            Command::Status { check, metrics } => {
                let access = self.access();
                let vault = self.vault_at_hand();
                let place = |path| metrics::place(path, &self.host, vault.as_deref());
                // A place that is refused is, before anything is looked at.
                if let Some(Err(error @ Error::Refused(_))) = metrics.as_deref().map(place) {
                    return Err(error);
                }
                let report = access.and_then(|access| status::run(&access));
                // Whoever looks at the screen gets the answer, also where the collector does not.
                let write = |path| place(path)?.replace(metrics::text(&report, SystemClock.now()).as_bytes());
                let unwritten = metrics.as_deref().map(write).and_then(Result::err);
                if let Some(error) = &unwritten {
                    talk(&human::error(error));
                }
                let report = report?;
                let unseen = *check && !report.attention.is_empty();
                let exit = match worst(&report.findings) {
                    0 if unseen => Family::Policy.exit(),
                    worst => worst,
                };
                // What is wrong with the vault goes before.
                let exit = match unwritten {
                    Some(error) if report.findings.is_empty() => error.exit(),
                    _ => exit,
                };
                self.show(exit, json::status(&report, exit), || human::status(&report))
            }
            Command::Receipt { command: ReceiptCommand::Check { file } } => {
                let report = match self.access() {
                    Ok(access) => receipt::check(&access, file)?,
                    Err(_) => receipt::check_by_key(&self.host, self.args.key_file.as_deref(), file)?,
                };
                self.show(report.exit(), json::receipt(&report), || human::receipt(&report))
            }
            Command::Index { command: IndexCommand::Rebuild } => {
                let report = index::run(&self.access()?)?;
                self.done(json::index(&report), || human::index(&report))
            }
            Command::Key { command } => self.key(command),
            Command::Conformance(options) => self.conformance(options),
            Command::Papers { directory } => papers::write(directory).map(|()| 0),
            Command::Operator(command) => self.operator(command),
            Command::Runbook { code } => {
                let text =
                    runbook::section(code.as_deref()).unwrap_or_else(|reason| usage(ErrorKind::InvalidValue, &reason));
                // As it is written: its commands have words in them that stand for something.
                match self.args.json {
                    true => self.done(json::runbook(code.as_deref(), &text), String::new),
                    false => say(&text).map(|()| 0),
                }
            }
        }
    }

    /// Returns how to reach the vault that the arguments, the environment or the settings name.
    fn access(&self) -> Result<Access> {
        let vault = match &self.args.vault {
            Some(vault) => vault.clone(),
            None => self.host.vault()?,
        };
        Ok(self.access_to(vault))
    }

    /// Returns the vault that the arguments, the environment or the settings name, if they do.
    fn vault_at_hand(&self) -> Option<PathBuf> {
        self.access().ok().map(|access| access.vault)
    }

    fn access_to(&self, vault: PathBuf) -> Access {
        let mut access = Access::new(vault, self.host.clone());
        access.key_file.clone_from(&self.args.key_file);
        access
    }

    fn init(&self, vault: &Path) -> Result<u8> {
        let report = init::run(&self.access_to(vault.to_owned()), Parameters::default())?;
        self.done(json::init(&report), || human::init(&report, &self.words(&report.path)))
    }

    fn backup(&self, options: &args::Backup) -> Result<u8> {
        let chosen = backup::Options {
            exclude: options.exclude.clone(),
            exclude_from: options.exclude_from.clone(),
            exclude_caches: options.exclude_caches,
            one_file_system: options.one_file_system,
            gitignore: options.gitignore,
            may_change: options.may_change.clone(),
            reread: options.reread,
            allow_empty: options.allow_empty,
            closing_look: options.closing_look,
            tags: options.tag.clone(),
        };
        if options.dry_run {
            return self.plan(&options.source, &chosen);
        }
        let (mut access, made) = self.vault_for_backup(&options.source)?;
        access.expect_head = options.expect_head;
        if let Some(made) = &made
            && !self.args.json
        {
            // Whoever does not listen gets the backup all the same.
            let _ = say(&human::init(made, &self.words(&made.path)));
        }
        let report = backup::run(&access, &options.source, &chosen, &self.watch);
        self.watch.end();
        let report = report.map_err(|error| match &made {
            Some(made) => error.written_before(&format!(
                "the vault {} and its key {} were made",
                shown_path(&made.path),
                shown_path(&made.key)
            )),
            None => error,
        })?;
        self.show(report.exit(), json::backup(&report, made.as_ref()), || {
            human::backup(&report, &self.words(&access.vault))
        })
    }

    fn plan(&self, source: &Path, options: &backup::Options) -> Result<u8> {
        // A vault that is not there yet cannot lie in the source.
        let access = self.access().unwrap_or_else(|_| self.access_to(self.host.default_vault()));
        let mut stream = Stream::new(self.args.json, "devvault.plan/1", "objects");
        let report = backup::plan(&access, source, options, &self.watch, |planned| {
            stream.item(|| json::planned(planned), || human::planned(planned))
        });
        self.watch.end();
        match report {
            Ok(report) => stream.end(0, || json::plan_end(&report), || human::plan_end(&report)).map(|()| 0),
            Err(error) => stream.broken(error),
        }
    }

    /// Returns the vault to back up into. The default one is made only where this host knows no vault at all: a job
    /// that lost its environment must not start a new one.
    fn vault_for_backup(&self, source: &Path) -> Result<(Access, Option<init::Report>)> {
        if self.args.vault.is_some() || self.host.knows_any_vault()? {
            let access = self.access().map_err(|error| match error {
                Error::Refused(refusal) if refusal.code == Code::NoVault => refusal
                    .cause("this host knows a vault, so that none is made for a backup that names none")
                    .next(
                        "name the vault: `--vault V`, or set DEVVAULT_VAULT; another one is made by `devvault init V`",
                    )
                    .into(),
                other => other,
            })?;
            return Ok((access, None));
        }
        // Before a vault is made for it: a mistyped source leaves nothing behind.
        backup::check_source(&self.host, source)?;
        let access = self.access_to(self.host.default_vault());
        let report = init::run(&access, Parameters::default())?;
        Ok((access, Some(report)))
    }

    fn ls(&self, place: &Place) -> Result<u8> {
        let mut stream = Stream::new(self.args.json, "devvault.ls/1", "entries");
        let report = ls::run(&self.access()?, place, &self.watch, |entry| {
            stream.item(|| json::entry(entry), || human::ls_entry(entry))
        });
        match report {
            Ok(report) => stream.end(0, || json::ls_end(&report), String::new).map(|()| 0),
            Err(error) => stream.broken(error),
        }
    }

    fn find(&self, options: &args::Find) -> Result<u8> {
        let (places, patterns) = find::Options::split_words(&options.words);
        for pattern in &patterns {
            if let Err(reason) = find::check_pattern(pattern) {
                usage(ErrorKind::ValueValidation, &reason);
            }
        }
        let kind = |kind: &FindKind| {
            // The words of the command line are those of the format.
            kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let chosen = find::Options {
            patterns,
            ignore_case: options.ignore_case,
            newest: options.newest,
            changed: options.changed,
            kinds: options.kind.iter().map(kind).collect(),
            sizes: options.size.clone(),
        };
        let mut stream = Stream::new(self.args.json, "devvault.find/1", "matches");
        let mut source = None;
        let report = find::run(&self.access()?, &places, &chosen, &self.watch, |version| {
            let is_new = source.as_ref() != Some(version.source);
            let text = || {
                let head = if is_new { human::find_source(version.source) } else { String::new() };
                head + &human::version(version)
            };
            stream.item(|| json::version(version), text)?;
            if is_new {
                source = Some(version.source.clone());
            }
            Ok(())
        });
        match report {
            Ok(report) => {
                let exit = worst(&report.findings);
                stream.end(exit, || self.pasteable_document(json::find_end(&report)), || human::find_end(&report))?;
                Ok(exit)
            }
            Err(error) => stream.broken(error),
        }
    }

    fn cat(&self, place: &Place) -> Result<u8> {
        if self.args.json {
            usage(ErrorKind::ArgumentConflict, "`cat` prints the content itself: --json has no place there");
        }
        let mut out = io::stdout().lock();
        let report = cat::run(&self.access()?, place, &self.watch, |piece| out.write_all(piece).map_err(closed))?;
        out.flush().map_err(closed)?;
        // The content alone stands on stdout.
        talk(&human::cat(&report));
        Ok(0)
    }

    fn diff(&self, options: &args::Diff) -> Result<u8> {
        let access = self.access()?;
        let chosen = diff::Options { quick: options.quick, content_only: options.content_only };
        let mut stream = Stream::new(self.args.json, "devvault.diff/1", "differences");
        let report = diff::run(&access, &options.left, &options.right, chosen, &self.watch, &mut |difference| {
            stream.item(|| json::difference(difference), || human::difference(difference))
        });
        self.watch.end();
        match report {
            Ok(report) => {
                let text = || human::diff_end(&report, &self.words(&access.vault));
                stream.end(0, || json::diff_end(&report), text).map(|()| 0)
            }
            Err(error) => stream.broken(error),
        }
    }

    fn verify(&self, options: &args::Verify) -> Result<u8> {
        let mut access = self.access()?;
        access.expect_head = options.expect_head;
        let level = match options.budget.or(options.sample) {
            Some(budget) => verify::Level::Rolling(budget),
            None if options.quick => verify::Level::Quick,
            None => verify::Level::Full,
        };
        options.receipt.as_deref().map(|path| receipt::place(&access, path)).transpose()?;
        let report = verify::run(&access, &options.snapshots, level, &self.watch);
        self.watch.end();
        let mut report = report?;
        let mut exit = report.exit();
        if let Some(path) = &options.receipt {
            let receipt = receipt::Receipt::of_verify(&report, access.clock.now());
            // What was found is told in any case.
            if let Err(error) = receipt::write(&access, &receipt, path) {
                report.notes.push(format!("the receipt was not written: {error}"));
                exit = exit.max(1);
            }
        }
        self.show(exit, json::verify(&report, exit), || human::verify(&report, &self.words(&access.vault)))
    }

    fn restore(&self, options: &args::Restore) -> Result<u8> {
        let mut access = self.access()?;
        access.expect_head = options.expect_head;
        let chosen = restore::Options {
            from_medium: options.from_medium,
            include: options.include.clone(),
            exclude: options.exclude.clone(),
            only: None,
            without: options.without.clone(),
            numeric_owner: options.numeric_owner,
            in_drill: false,
        };
        let report = restore::run(&access, &options.place, &options.destination, &chosen, &self.watch);
        self.watch.end();
        let report = report.map_err(with_the_whole_command)?;
        self.done(json::restore(&report), || human::restore(&report))
    }

    fn key(&self, command: &IncludedKey) -> Result<u8> {
        match command {
            IncludedKey::Export { file, acknowledge_plain_secret } => {
                let access = self.access()?;
                let report = key::export(&access, file, *acknowledge_plain_secret)?;
                self.done(json::key("export", &report), || {
                    human::key_export(&report, &self.words_without_key(&access.vault))
                })
            }
            IncludedKey::Import { file } => {
                let report = key::import(&self.host, file)?;
                self.done(json::key("import", &report), || {
                    human::key_import(&report, &program(), self.place_of(report.vault).as_deref())
                })
            }
            IncludedKey::Check => {
                let report = key::check(&self.access()?)?;
                self.done(json::key_check(&report), || human::key_check(&report))
            }
        }
    }

    /// Returns for a shell where a vault lies: where this run was told, unless another one lies there, else where this host
    /// last did anything with it, if that is still there.
    fn place_of(&self, vault: Id) -> Option<String> {
        if let Some(named) =
            self.args.vault.as_ref().filter(|named| claimed_at(named).is_none_or(|there| there == vault))
        {
            return Some(quoted(&named.to_string_lossy()));
        }
        let entries = Journal::of(&self.host).entries().ok()?;
        registry::last_place(&entries, vault).filter(|place| Path::new(place).is_dir()).map(quoted)
    }

    /// Returns how a person would run this program on the same vault again.
    fn words(&self, vault: &Path) -> String {
        let mut words = self.words_without_key(vault);
        if let Some(key) = &self.args.key_file {
            words.push_str(" --key-file ");
            words.push_str(&quoted(&key.to_string_lossy()));
        }
        words
    }

    fn words_without_key(&self, vault: &Path) -> String {
        let mut words = program();
        if self.args.vault.is_some() || matches!(self.args.command, Command::Init { .. }) {
            words.push_str(" --vault ");
            words.push_str(&quoted(&vault.to_string_lossy()));
        }
        words
    }

    fn done(&self, document: Value, text: impl FnOnce() -> String) -> Result<u8> {
        self.show(0, document, text)
    }

    /// Prints a report: one JSON document, or text for a person. Returns the exit status, which the document has too.
    fn show(&self, exit: u8, mut document: Value, text: impl FnOnce() -> String) -> Result<u8> {
        let shown = match self.args.json {
            true => {
                if let Value::Object(fields) = &mut document {
                    fields.insert("exit".into(), exit.into());
                }
                print(&self.pasteable_document(document))
            }
            false => say(&self.pasteable(&text())),
        };
        shown.map(|()| exit).map_err(|error| {
            error.written(|| Written {
                text: "what was asked for was done; only the report could not be printed".into(),
                changed: true,
            })
        })
    }
}

/// Names in every command that a text offers the program as it was called, and where there are words for a vault, these in
/// commands that mean nothing without one.
fn as_called(text: &str, about_a_vault: Option<&str>) -> String {
    let program = program();
    let mut out = String::with_capacity(text.len());
    for (part, piece) in text.split("devvault ").enumerate() {
        if part > 0 {
            // A command begins a text or a line, or stands behind a quotation mark or a colon: whatever else has these
            // words in it is a name.
            let before = out.trim_end_matches(' ');
            let begins = match before.len() < out.len() {
                true => before.ends_with([':', ';', ',']) || before.ends_with(", then"),
                false => before.is_empty() || before.ends_with(['`', '\n']),
            };
            // Reasons begin with what they are about.
            let line = &out[out.rfind('\n').map_or(0, |at| at + 1)..];
            let tells =
                ["because: ", "refused ", "could not "].iter().any(|begin| line.trim_start().starts_with(begin));
            let is_command = begins
                && (!tells || before.ends_with('`'))
                && (piece.starts_with("--") || COMMANDS.iter().any(|name| name == first_word(piece)));
            out.push_str(match about_a_vault {
                Some(words) if is_command && is_about_a_vault(piece) => words,
                _ if is_command => &program,
                _ => "devvault",
            });
            out.push(' ');
        }
        out.push_str(piece);
    }
    out
}

/// Returns whether a command means nothing without a vault.
fn is_about_a_vault(command: &str) -> bool {
    VAULT_COMMANDS.contains(&first_word(command))
        || ["key check", "key export", "evidence capture", "journal restart", "journal verify"]
            .iter()
            .any(|name| command.starts_with(name))
}

fn first_word(command: &str) -> &str {
    let end = command.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(command.len());
    &command[..end]
}

/// Returns the program as it was called, for a shell.
fn program() -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| OsString::from("devvault"));
    quoted(&program.to_string_lossy())
}

/// Names the whole command with the options that a refusal offers, ready to be pasted: nobody puts it together in the night.
fn with_the_whole_command(error: Error) -> Error {
    let Error::Refused(mut refusal) = error else { return error };
    if let Some(options) = refusal.options.clone() {
        let words: Vec<String> = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy())).collect();
        refusal.next = refusal.next.replace(&format!("`{options}`"), &format!("`{}`", again(&words, &options)));
    }
    Error::Refused(refusal)
}

/// Returns the command of these words, with more options.
fn again(words: &[String], options: &str) -> String {
    // What stands behind two dashes is no option any more.
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (before, after) = words.split_at(end);
    let program = program();
    let all = [&[program][..], before, &[options.to_owned()], after].concat();
    all.join(" ")
}

/// Ends the program as it ends where the command line cannot be understood.
fn usage(kind: ErrorKind, message: &str) -> ! {
    end(&command().error(kind, message))
}

/// Ends the program with what the reader of the command line says: help, or what it cannot understand.
fn end(error: &clap::Error) -> ! {
    let wrong = error.use_stderr();
    // What was asked for cannot be known from a command line that cannot be understood, but for this.
    if wrong && std::env::args_os().any(|word| word == "--json") {
        let _ = print(&json::usage(&error.render().to_string(), error.exit_code()));
    }
    let printed = error.print();
    std::process::exit(if printed.is_err() && !wrong { 1 } else { error.exit_code() })
}

/// Returns the exit status that findings mean: that of the lowest family, 0 where there is none.
fn worst(findings: &[crate::vault::Finding]) -> u8 {
    exit_of(findings.iter().map(|finding| finding.code))
}

fn print(document: &Value) -> Result<()> {
    say(&format!("{}\n", printable_json(&document.to_string())))
}

fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Error::environment("print the result", error))
}

/// Says something beside the result; where nobody can be told, the exit status tells.
fn talk(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_program_as_it_was_called_and_names_stay_names() {
        let program = program();
        for (text, expected) in [
            ("see: devvault runbook DV103", "see: @ runbook DV103"),
            ("look: `devvault incident list`", "look: `@ incident list`"),
            ("devvault verify, then devvault runbook", "V verify, then @ runbook"),
            ("copy it: `devvault --vault COPY verify`", "copy it: `@ --vault COPY verify`"),
            ("in my devvault verify: 1 file\n  devvault verify", "in my devvault verify: 1 file\n  devvault verify"),
            ("source: devvault notes", "source: devvault notes"),
            ("  because: devvault verify/x: no", "  because: devvault verify/x: no"),
            (
                "refused DV801: devvault verify/x: see `devvault runbook`",
                "refused DV801: devvault verify/x: see `@ runbook`",
            ),
        ] {
            assert_eq!(as_called(text, Some("V")), expected.replace('@', &program));
        }
        assert_eq!(as_called("`devvault verify`", None), format!("`{program} verify`"));
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
