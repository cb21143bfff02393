//! What is left out of a source, and why: decided on the way, by rules that are read through the directories that the
//! walk has open, so that nobody can exchange them meanwhile.
//!
//! The rules of the command go before those of `.devvaultignore` files, and these before those of `.gitignore` files:
//! the first kind that has a rule for an object decides. Among files of one kind the deepest decides, as in git. What lies
//! below something that is left out is left out with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::Options;
use crate::error::{Result, shown_path};
use crate::format::record::{ExcludedBy, Exclusion};
use crate::fsys::walk::{Decision, Guide, is_gone};
use crate::fsys::{Dir, ObjectId, ObjectKind, Stat};
use crate::limits;
use crate::ops::rules::{Rules, Verdict};
use crate::path::{EntryPath, Trail};
use crate::refusal::{Code, Refusal};

/// The file of rules that is honoured wherever it lies.
const OWN_RULES: &[u8] = b".devvaultignore";
/// The file of git's rules.
const GIT_RULES: &[u8] = b".gitignore";
/// Marks the content of a directory as reproducible; see <https://bford.info/cachedir/>.
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Why an object is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Why {
    /// What kind of rule says so.
    pub by: ExcludedBy,
    /// Where the rule stands, or what it applies to; see [`Exclusion::from`].
    pub from: Option<Vec<u8>>,
    /// The line there.
    pub line: Option<u64>,
    /// The rule as given.
    pub rule: String,
}

/// Something that was left out.
#[derive(Debug, Clone)]
pub struct Left {
    /// Where it is.
    pub path: EntryPath,
    /// What it is.
    pub kind: ObjectKind,
    /// How many objects were left out: itself, or what a directory directly holds that is taken empty.
    pub objects: u64,
    /// Whether the directory itself is taken.
    pub content_only: bool,
    /// Why.
    pub why: Why,
}

/// A file of rules that cannot be used, as the error of the walk that meets it.
#[derive(Debug)]
pub(super) struct BadRules(String);

impl std::fmt::Display for BadRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRules {}

impl BadRules {
    /// Returns whether an error of a walk is about a file of rules.
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// What the command says of leaving out, compiled.
pub(super) struct Mesh {
    command: Rules,
    files: Vec<(Vec<u8>, Rules)>,
    caches: bool,
    one_file_system: bool,
    gitignore: bool,
}

impl Mesh {
    /// Compiles the rules of the command.
    ///
    /// # Errors
    /// A pattern that is not valid; DV807 where a named file of rules cannot be read or understood.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let mut files = Vec::new();
        for path in &options.exclude_from {
            files.push((path.as_os_str().as_encoded_bytes().to_vec(), named_rules(path)?));
        }
        Ok(Self {
            command: Rules::given(&options.exclude)?,
            files,
            caches: options.exclude_caches,
            one_file_system: options.one_file_system,
            gitignore: options.gitignore,
        })
    }
}

fn named_rules(path: &Path) -> Result<Rules> {
    let refusal = || Refusal::new(Code::SourceRules, format!("{} cannot be used as a file of rules", shown_path(path)));
    let bytes = File::open(path).and_then(bounded).map_err(|error| refusal().cause(error))?;
    Rules::parse(&bytes).map_err(|bad| refusal().cause(bad).into())
}

fn bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.take(limits::RULES_BYTES_MAX + 1).read_to_end(&mut bytes)? as u64 > limits::RULES_BYTES_MAX {
        let message = format!("it is longer than {} bytes", limits::RULES_BYTES_MAX);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// What was left out so far.
#[derive(Default)]
struct Tally {
    objects: BTreeMap<Why, u64>,
    // Everything, where somebody wants to know it in order.
    log: Option<Vec<Left>>,
}

/// What a walk left out, while it goes on and after its end.
#[derive(Clone, Default)]
pub(super) struct Leavings(Arc<Mutex<Tally>>);

impl Leavings {
    /// Keeps every object that is left out, for [`drain`](Self::drain).
    pub(super) fn logged() -> Self {
        Self(Arc::new(Mutex::new(Tally { log: Some(Vec::new()), ..Tally::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was left out since the last call, in path order.
    pub(super) fn drain(&self) -> Vec<Left> {
        self.lock().log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn add(&self, left: Left) {
        let mut tally = self.lock();
        *tally.objects.entry(left.why.clone()).or_default() += left.objects;
        if let Some(log) = &mut tally.log {
            log.push(left);
        }
    }

    /// Returns every rule that left something out, and those of the command in any case, ascending.
    pub(super) fn exclusions(&self, mesh: &Mesh) -> Vec<Exclusion> {
        let mut objects = self.lock().objects.clone();
        for rule in mesh.command.all() {
            objects.entry(command(&rule.text)).or_default();
        }
        // What takes something back leaves nothing out, and yet says what another rule did not leave out.
        for (file, rules) in &mesh.files {
            for at in (0..rules.all().len()).filter(|&at| rules.all()[at].text.starts_with('!')) {
                objects.entry(named(ExcludedBy::ExcludeFrom, file.clone(), rules, at)).or_default();
            }
        }
        for (wanted, by) in [(mesh.caches, ExcludedBy::Caches), (mesh.one_file_system, ExcludedBy::OneFileSystem)] {
            if wanted && !objects.keys().any(|why| why.by == by) {
                objects.insert(Why { by, from: None, line: None, rule: String::new() }, 0);
            }
        }
        let exclusion = |(why, objects): (Why, u64)| Exclusion {
            by: why.by,
            from: why.from,
            line: why.line,
            objects,
            rule: why.rule,
        };
        fold(objects).into_iter().map(exclusion).collect()
    }
}

/// Counts rules of files together where there are too many to name each.
fn fold(objects: BTreeMap<Why, u64>) -> BTreeMap<Why, u64> {
    if objects.len() <= limits::MANIFEST_EXCLUSIONS_MAX {
        return objects;
    }
    let mut folded = BTreeMap::new();
    for (mut why, count) in objects {
        if why.from.is_some() || folded.len() >= limits::MANIFEST_EXCLUSIONS_MAX / 2 {
            why = Why { by: why.by, from: None, line: None, rule: String::new() };
        }
        *folded.entry(why).or_default() += count;
    }
    folded
}

fn command(rule: &str) -> Why {
    Why { by: ExcludedBy::Command, from: None, line: None, rule: rule.to_owned() }
}

/// What is to be known of a directory on the way to what is decided about.
struct Level {
    own: Option<Rules>,
    git: Option<Rules>,
    // Here begins a repository: rules from above it say nothing of what is in it.
    is_repository: bool,
    // git's own directory, of which no rule of git says anything.
    is_git: bool,
}

impl Level {
    /// Returns whether there is anything to be known.
    fn says_something(&self) -> bool {
        self.own.is_some() || self.git.is_some() || self.is_repository || self.is_git
    }
}

/// How many bytes may follow the line of a key: ends of lines.
const ENDS_MAX: u64 = 3;

/// What is devvault's own and never part of a source.
#[derive(Default)]
pub(super) struct Own {
    /// Its directories and the key in use.
    pub(super) ids: Vec<ObjectId>,
    /// What the vault's key file holds, wherever a copy of it lies.
    pub(super) key: Option<Zeroizing<Vec<u8>>>,
}

impl Own {
    /// Returns whether a file is a copy of the vault's key, whatever an editor made of its end. No other file than one of
    /// that length is opened.
    fn is_key(&self, dir: &Dir, path: &EntryPath, stat: &Stat) -> bool {
        let Some(key) = &self.key else { return false };
        let line = key.trim_ascii_end();
        let lengths = line.len() as u64..=line.len() as u64 + ENDS_MAX;
        if !lengths.contains(&stat.size) || stat.kind != ObjectKind::File {
            return false;
        }
        let mut found = Zeroizing::new(Vec::with_capacity(key.len()));
        let read = |file: File| file.take(line.len() as u64).read_to_end(&mut found);
        // What cannot be read is refused when it is taken.
        dir.open_file(path.name()).and_then(read).is_ok() && **found == *line
    }
}

/// Decides on one walk.
pub(super) struct Sieve {
    mesh: Arc<Mesh>,
    own: Arc<Own>,
    leavings: Leavings,
    // Of those directories that something is to be known of.
    levels: Trail<Level>,
    device: Option<u64>,
}

impl Sieve {
    /// Begins a walk.
    pub(super) fn new(mesh: &Arc<Mesh>, own: &Arc<Own>, leavings: Leavings) -> Self {
        Self { mesh: Arc::clone(mesh), own: Arc::clone(own), leavings, levels: Trail::default(), device: None }
    }

    fn leave(&self, path: &EntryPath, kind: ObjectKind, why: Why) -> Decision {
        self.leavings.add(Left { path: path.clone(), kind, objects: 1, content_only: false, why });
        Decision::Skip
    }

    fn judge(&self, dir: &Dir, path: &EntryPath, stat: &Stat) -> Option<Why> {
        let is_directory = stat.kind == ObjectKind::Directory;
        if self.own.ids.contains(&stat.id) || self.own.is_key(dir, path, stat) {
            return Some(Why {
                by: ExcludedBy::Own,
                from: Some(path.as_bytes().to_vec()),
                line: None,
                rule: String::new(),
            });
        }
        // A directory of another file system is taken, and nothing in it.
        if self.mesh.one_file_system && !is_directory && self.device.is_some_and(|device| device != stat.id.device) {
            return Some(mounted(path));
        }
        match self.mesh.command.judge(path.as_bytes(), is_directory) {
            Verdict::Matched(at) => return Some(command(&self.mesh.command.all()[at].text)),
            Verdict::Kept => return None,
            Verdict::None => {}
        }
        for (file, rules) in self.mesh.files.iter().rev() {
            match rules.judge(path.as_bytes(), is_directory) {
                Verdict::Matched(at) => return Some(named(ExcludedBy::ExcludeFrom, file.clone(), rules, at)),
                Verdict::Kept => return None,
                Verdict::None => {}
            }
        }
        // Files of rules are part of what they rule.
        let is_file = stat.kind == ObjectKind::File;
        if is_file && (path.name() == OWN_RULES || (self.mesh.gitignore && path.name() == GIT_RULES)) {
            return None;
        }
        match self.of_tree(path, is_directory, OWN_RULES, ExcludedBy::Devvaultignore, |level| level.own.as_ref()) {
            Some(decided) => decided,
            None if path.name() == b".git" || self.is_in_git() => None,
            None => {
                self.of_tree(path, is_directory, GIT_RULES, ExcludedBy::Gitignore, |level| level.git.as_ref()).flatten()
            }
        }
    }

    fn is_in_git(&self) -> bool {
        self.levels.iter().any(|(_, level)| level.is_git)
    }

    /// Asks the files of one kind from the deepest up; nothing where none has a rule for the object.
    fn of_tree<'a>(
        &'a self,
        path: &EntryPath,
        is_directory: bool,
        file: &[u8],
        by: ExcludedBy,
        rules: impl Fn(&'a Level) -> Option<&'a Rules>,
    ) -> Option<Option<Why>> {
        for (above, level) in self.levels.iter().rev() {
            if let Some(rules) = rules(level) {
                match rules.judge(path.below(above), is_directory) {
                    Verdict::Matched(at) => {
                        let from = if above.is_empty() { file.to_vec() } else { [above, b"/", file].concat() };
                        return Some(Some(named(by, from, rules, at)));
                    }
                    Verdict::Kept => return Some(None),
                    Verdict::None => {}
                }
            }
            if by == ExcludedBy::Gitignore && level.is_repository {
                break;
            }
        }
        None
    }

    fn read_level(&self, path: &EntryPath, dir: &Dir, names: &[Vec<u8>]) -> Result<Level, (EntryPath, io::Error)> {
        let holds = |name: &[u8]| names.iter().any(|other| other == name);
        let read = |name: &[u8], must_be_file: bool| -> Result<Option<Rules>, (EntryPath, io::Error)> {
            if !holds(name) {
                return Ok(None);
            }
            read_rules(dir, name, must_be_file).map_err(|reason| {
                (
                    path.join(name).unwrap_or_default(),
                    io::Error::other(BadRules(format!("as a file of rules: {reason}"))),
                )
            })
        };
        let git = self.mesh.gitignore && path.name() != b".git" && !self.is_in_git();
        Ok(Level {
            own: read(OWN_RULES, true)?,
            git: if git { read(GIT_RULES, false)? } else { None },
            is_repository: holds(b".git"),
            is_git: path.name() == b".git",
        })
    }

    /// Takes out all names but some, and says why.
    fn empty(&self, path: &EntryPath, names: &mut Vec<Vec<u8>>, keep: impl Fn(&[u8]) -> bool, why: Why) {
        let before = names.len();
        names.retain(|name| keep(name));
        let objects = (before - names.len()) as u64;
        if objects > 0 {
            let kind = ObjectKind::Directory;
            self.leavings.add(Left { path: path.clone(), kind, objects, content_only: true, why });
        }
    }
}

impl Guide for Sieve {
    fn decide(&mut self, dir: &Dir, path: &EntryPath, stat: &Stat) -> Decision {
        while self.levels.is_left_by(path) {
            self.levels.pop();
        }
        match self.judge(dir, path, stat) {
            Some(why) => self.leave(path, stat.kind, why),
            None => Decision::Take,
        }
    }

    fn enter(
        &mut self,
        path: &EntryPath,
        dir: &Dir,
        stat: &Stat,
        names: &mut Vec<Vec<u8>>,
    ) -> Result<(), (EntryPath, io::Error)> {
        let device = *self.device.get_or_insert(stat.id.device);
        if self.mesh.one_file_system && stat.id.device != device {
            self.empty(path, names, |_| false, mounted(path));
        }
        if self.mesh.caches && !path.is_root() && names.iter().any(|name| name == CACHE_TAG) {
            let marked = is_cache(dir).map_err(|error| (path.join(CACHE_TAG).unwrap_or_default(), error))?;
            if marked {
                let from = Some(path.as_bytes().to_vec());
                let why = Why { by: ExcludedBy::Caches, from, line: None, rule: String::new() };
                self.empty(path, names, |name| name == CACHE_TAG, why);
            }
        }
        let level = self.read_level(path, dir, names)?;
        if level.says_something() {
            self.levels.push(path, level);
        }
        Ok(())
    }
}

fn mounted(path: &EntryPath) -> Why {
    let from = Some(path.as_bytes().to_vec());
    Why { by: ExcludedBy::OneFileSystem, from, line: None, rule: String::new() }
}

fn named(by: ExcludedBy, from: Vec<u8>, rules: &Rules, at: usize) -> Why {
    let rule = &rules.all()[at];
    Why { by, from: Some(from), line: Some(rule.line), rule: rule.text.clone() }
}

/// Reads a file of rules; none where it has vanished, or where git would not take it for one.
fn read_rules(dir: &Dir, name: &[u8], must_be_file: bool) -> Result<Option<Rules>, String> {
    let gone = |error: io::Error| if is_gone(dir, name, &error) { Ok(None) } else { Err(error.to_string()) };
    match dir.stat_at(name) {
        Ok(stat) if stat.kind != ObjectKind::File && must_be_file => {
            return Err(format!("it is a {}, not a file", stat.kind.name()));
        }
        // git follows no link there either.
        Ok(stat) if stat.kind != ObjectKind::File => return Ok(None),
        Ok(_) => {}
        Err(error) => return gone(error),
    }
    match dir.open_file(name).and_then(bounded) {
        Ok(bytes) => Rules::parse(&bytes).map(Some).map_err(|bad| bad.to_string()),
        Err(error) => gone(error),
    }
}

/// Returns whether the tag in a directory is one: a regular file that begins with the signature.
fn is_cache(dir: &Dir) -> io::Result<bool> {
    let stat = match dir.stat_at(CACHE_TAG) {
        Err(error) if is_gone(dir, CACHE_TAG, &error) => return Ok(false),
        other => other?,
    };
    if stat.kind != ObjectKind::File {
        return Ok(false);
    }
    let mut start = Vec::new();
    dir.open_file(CACHE_TAG)?.take(CACHE_SIGNATURE.len() as u64).read_to_end(&mut start)?;
    Ok(start == CACHE_SIGNATURE)
}
