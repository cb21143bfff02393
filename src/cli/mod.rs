//! The command line: the only room that parses arguments, prints, or exits.

mod args;
mod human;
mod json;
mod progress;
mod runbook;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

use crate::error::{Error, Result, shown_path};
use crate::format::config::Parameters;
use crate::fsys;
use crate::host::Host;
use crate::ops::{backup, index, init, key, ls, receipt, restore, snapshots, status, verify};
use crate::vault::gate::Access;
use args::{Args, Command, IncludedKey, IndexCommand, ReceiptCommand};
use progress::Watch;

pub use runbook::TEXT as RUNBOOK;

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    fsys::raise_descriptor_limit();
    let args = Args::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // A second Ctrl-C ends at once; what that leaves behind is what a crash would.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    let json = args.json;
    let outcome = Session::new(args, interrupted).and_then(|session| session.run());
    match outcome {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => {
            let printed = if json { print(&json::error(&error)) } else { Ok(()) };
            if !json || printed.is_err() {
                eprint!("{}", human::error(&error));
            }
            ExitCode::from(error.exit())
        }
    }
}

/// Returns the command line's definition, for completions and manual pages.
pub fn command() -> clap::Command {
    <Args as clap::CommandFactory>::command()
}

struct Session {
    args: Args,
    host: Host,
    watch: Watch,
}

impl Session {
    fn new(args: Args, interrupted: Arc<AtomicBool>) -> Result<Self> {
        let watch = Watch::new(args.progress, args.json, interrupted);
        Ok(Self { host: Host::from_environment()?, args, watch })
    }

    fn run(self) -> Result<u8> {
        match &self.args.command {
            Command::Init { place } => self.init(place),
            Command::Backup(options) => self.backup(options),
            Command::Snapshots => {
                let report = snapshots::run(&self.access()?)?;
                let exit = worst(&report.findings);
                self.show(json::snapshots(&report), || human::snapshots(&report))?;
                Ok(exit)
            }
            Command::Ls { place } => self.ls(place),
            Command::Verify(options) => self.verify(options),
            Command::Restore(options) => self.restore(options),
            Command::Status => {
                let report = status::run(&self.access()?)?;
                let exit = worst(&report.findings);
                self.show(json::status(&report), || human::status(&report))?;
                Ok(exit)
            }
            Command::Receipt { command: ReceiptCommand::Check { file } } => {
                let report = receipt::check(&self.access()?, file)?;
                self.show(json::receipt(&report), || human::receipt(&report))?;
                Ok(report.exit())
            }
            Command::Index { command: IndexCommand::Rebuild } => {
                let report = index::run(&self.access()?)?;
                self.done(json::index(&report), || human::index(&report))
            }
            Command::Key { command } => self.key(command),
            Command::Runbook { code } => {
                let text = runbook::section(code.as_deref())?;
                self.done(json::runbook(code.as_deref(), &text), || text.clone())
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
        // Before a vault is made for it: a mistyped source leaves nothing behind.
        backup::check_source(&self.host, &options.source)?;
        let (mut access, made) = self.vault_for_backup()?;
        access.expect_head = options.expect_head;
        let chosen = backup::Options {
            exclude: options.exclude.clone(),
            may_change: options.may_change.clone(),
            reread: options.reread,
            allow_empty: options.allow_empty,
            closing_look: options.closing_look,
            tags: options.tag.clone(),
        };
        if let Some(made) = &made
            && !self.args.json
        {
            say(&human::init(made, &self.words(&made.path)))?;
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
        self.show(json::backup(&report, made.as_ref()), || human::backup(&report, &self.words(&access.vault)))?;
        Ok(report.exit())
    }

    /// Returns the vault to back up into. The default one is made only where this host knows no vault at all: a job
    /// that lost its environment must not start a new one.
    fn vault_for_backup(&self) -> Result<(Access, Option<init::Report>)> {
        if self.args.vault.is_some() || self.host.knows_any_vault()? {
            return Ok((self.access()?, None));
        }
        let access = self.access_to(self.host.default_vault());
        let report = init::run(&access, Parameters::default())?;
        Ok((access, Some(report)))
    }

    fn ls(&self, place: &crate::ops::select::Place) -> Result<u8> {
        let mut out = BufWriter::new(io::stdout().lock());
        let closed = |error: io::Error| Error::environment("print", error);
        let mut first = true;
        if self.args.json {
            out.write_all(json::LS_BEGIN.as_bytes()).map_err(closed)?;
        }
        let report = ls::run(&self.access()?, place, &self.watch, |entry| {
            let line =
                if self.args.json { json::ls_entry(entry, std::mem::take(&mut first)) } else { human::ls_entry(entry) };
            out.write_all(line.as_bytes()).map_err(closed)
        });
        let report = match report {
            // A document that has begun must still end as one.
            Err(error) if self.args.json && !first => {
                out.write_all(json::ls_broken(&error).as_bytes()).and_then(|()| out.flush()).map_err(closed)?;
                return Ok(error.exit());
            }
            Err(error) if self.args.json => {
                // Nothing has reached the output yet.
                drop(out.into_parts());
                return Err(error);
            }
            other => other?,
        };
        if self.args.json {
            out.write_all(json::ls_end(&report).as_bytes()).map_err(closed)?;
        }
        out.flush().map_err(closed)?;
        Ok(0)
    }

    fn verify(&self, options: &args::Verify) -> Result<u8> {
        let mut access = self.access()?;
        access.expect_head = options.expect_head;
        let level = match options.budget.or(options.sample) {
            Some(budget) => verify::Level::Rolling(budget),
            None if options.quick => verify::Level::Quick,
            None => verify::Level::Full,
        };
        if let Some(path) = options.receipt.as_ref().filter(|path| path.exists()) {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(Error::environment(format!("write the receipt {}", shown_path(path)), error));
        }
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
        self.show(json::verify(&report), || human::verify(&report, &self.words(&access.vault)))?;
        Ok(exit)
    }

    fn restore(&self, options: &args::Restore) -> Result<u8> {
        let mut access = self.access()?;
        access.expect_head = options.expect_head;
        let chosen = restore::Options {
            from_medium: options.from_medium,
            without: options.without.clone(),
            numeric_owner: options.numeric_owner,
        };
        let report = restore::run(&access, &options.place, &options.destination, &chosen, &self.watch);
        self.watch.end();
        let report = report?;
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
                self.done(json::key("import", &report), || human::key_import(&report, &program()))
            }
            IncludedKey::Check => {
                let report = key::check(&self.access()?)?;
                self.done(json::key_check(&report), || human::key_check(&report))
            }
        }
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

    fn done(&self, document: String, text: impl FnOnce() -> String) -> Result<u8> {
        self.show(document, text)?;
        Ok(0)
    }

    /// Prints a report: one JSON document, or text for a person.
    fn show(&self, document: String, text: impl FnOnce() -> String) -> Result<()> {
        if self.args.json { print(&document) } else { say(&text()) }
    }
}

/// Returns the program as it was called, for a shell.
fn program() -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| OsString::from("devvault"));
    quoted(&program.to_string_lossy())
}

/// Returns the exit status that findings mean: that of the lowest family, 0 where there is none.
fn worst(findings: &[crate::vault::Finding]) -> u8 {
    findings.iter().map(|finding| finding.code.family().exit()).min().unwrap_or(0)
}

fn print(document: &str) -> Result<()> {
    say(&format!("{document}\n"))
}

fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Error::environment("print the result", error))
}

/// Returns a word in the form in which a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,\\".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
