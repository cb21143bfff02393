//! What a process did to files, as `strace -f -y` tells it, and a model of what of it is durable.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The system calls that matter here: whatever changes a file, a directory or what is durable of them.
pub const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,mkdir,mkdirat,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,mknod,mknodat,chmod,fchmod,fchmodat,\
    chown,fchown,lchown,fchownat,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,\
    fsync,fdatasync,syncfs,sync,msync,copy_file_range,sendfile,splice,dup,dup2,dup3";

/// A call that has returned.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    pub arguments: Vec<String>,
    /// Whether it succeeded.
    pub ok: bool,
    /// When it began and returned, in lines of the trace.
    pub begun: usize,
    pub ended: usize,
}

/// Takes the calls out of a trace, in the order in which they returned.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut pending: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let (begun, text) = if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((begun, head)) = pending.remove(process) else { continue };
            let Some((_, tail)) = resumed.split_once(" resumed>") else { continue };
            (begun, head + tail)
        } else if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            pending.insert(process.to_owned(), (at, head.to_owned()));
            continue;
        } else {
            (at, rest.to_owned())
        };
        let Some((head, result)) = text.rsplit_once(" = ") else { continue };
        let Some((name, arguments)) = head.trim_end().strip_suffix(')').and_then(|head| head.split_once('(')) else {
            continue;
        };
        calls.push(Call {
            name: name.to_owned(),
            arguments: split(arguments),
            ok: !result.starts_with('-') && !result.starts_with('?'),
            begun,
            ended: at,
        });
    }
    calls
}

/// Splits arguments at commas outside of strings, brackets and the names of descriptors.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped, mut named) = (0, false, false, false);
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !named => quoted = !quoted,
            '<' if !quoted => named = true,
            '>' if !quoted => named = false,
            '{' | '[' if !quoted && !named => depth += 1,
            '}' | ']' if !quoted && !named => depth -= 1,
            ',' if !quoted && !named && depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(character);
    }
    parts.push(part.trim().to_owned());
    parts
}

/// Returns the path of a descriptor: `3</a/b>`.
fn of_descriptor(text: &str) -> Option<PathBuf> {
    let path = text.split_once('<')?.1.strip_suffix('>')?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// Returns the path of a string, `"a/b"`, seen from a directory.
fn of_string(directory: &Path, text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix('"')?.strip_suffix('"')?;
    if path.is_empty() {
        return Some(directory.to_owned());
    }
    // `.` and `..` name no object of their own.
    let mut whole = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    Some(whole)
}

/// What is not durable of one file or directory: when that came about, in lines of the trace.
#[derive(Debug, Default, Clone)]
struct Dirt {
    data: Option<usize>,
    meta: Option<usize>,
    names: BTreeMap<String, usize>,
}

/// Something that is not durable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    pub path: PathBuf,
    /// `data`, `metadata`, or the name in this directory that is at stake.
    pub what: String,
}

/// Files and directories below one root, and what of them a loss of power may undo.
#[derive(Debug, Default)]
pub struct Model {
    root: PathBuf,
    objects: BTreeMap<PathBuf, usize>,
    dirt: Vec<Dirt>,
    // Lines of earlier traces.
    offset: usize,
}

/// What a call did to the model.
#[derive(Debug, Default)]
pub struct Effect {
    /// It put something under a new name.
    pub renamed: Option<(PathBuf, PathBuf)>,
    /// It made a file.
    pub created: Option<PathBuf>,
    /// It told the world something: wrote to the standard output.
    pub told: bool,
    /// It was a sync, of this.
    pub synced: Option<PathBuf>,
}

impl Model {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), ..Self::default() }
    }

    fn object(&mut self, path: &Path) -> Option<&mut Dirt> {
        if !path.starts_with(&self.root) {
            return None;
        }
        let next = self.dirt.len();
        let at = *self.objects.entry(path.to_owned()).or_insert(next);
        if at == next {
            self.dirt.push(Dirt::default());
        }
        Some(&mut self.dirt[at])
    }

    fn entry_changed(&mut self, path: &Path, at: usize) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        let name = name.to_string_lossy().into_owned();
        if let Some(parent) = self.object(parent) {
            parent.names.insert(name, at);
        }
    }

    fn created(&mut self, path: &Path, at: usize, file: bool) {
        self.objects.remove(path);
        if let Some(object) = self.object(path) {
            object.data = file.then_some(at);
        }
        self.entry_changed(path, at);
    }

    fn renamed(&mut self, from: &Path, to: &Path, at: usize) {
        let below: Vec<PathBuf> = self
            .objects
            .range(from.to_owned()..)
            .map(|(path, _)| path.clone())
            .take_while(|p| p.starts_with(from))
            .collect();
        self.objects.retain(|path, _| !path.starts_with(to));
        for path in below {
            let object = self.objects.remove(&path).unwrap();
            let rest = path.strip_prefix(from).unwrap();
            let to = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            self.objects.insert(to, object);
        }
        self.entry_changed(from, at);
        self.entry_changed(to, at);
    }

    /// Takes in a call; its sync counts only if `syncs`.
    pub fn apply(&mut self, call: &Call, syncs: bool) -> Effect {
        let mut effect = Effect::default();
        if !call.ok {
            return effect;
        }
        let (begun, ended) = (self.offset + call.begun, self.offset + call.ended);
        let arguments = &call.arguments;
        let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
        let descriptor = |at: usize| of_descriptor(argument(at));
        // The tests run everything in the root.
        let root = self.root.clone();
        let string = |at: usize| of_string(&root, argument(at));
        let string_at = |at: usize| descriptor(at).and_then(|directory| of_string(&directory, argument(at + 1)));
        let mut data = None;
        let mut meta = None;
        match call.name.as_str() {
            "open" | "openat" | "creat" => {
                let (path, flags) =
                    if call.name == "openat" { (string_at(0), argument(2)) } else { (string(0), argument(1)) };
                let Some(path) = path else { return effect };
                // Without O_EXCL it is new only if nothing has had this name.
                let new = flags.contains("O_EXCL") || !self.objects.contains_key(&path) && !self.known_before(&path);
                if flags.contains("O_CREAT") && new {
                    self.created(&path, ended, true);
                    effect.created = Some(path);
                } else if flags.contains("O_TRUNC") {
                    data = Some(path);
                }
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "ftruncate" | "fallocate" => {
                effect.told = argument(0).starts_with("1<") && call.name == "write";
                data = descriptor(0);
            }
            "copy_file_range" | "splice" => data = descriptor(2),
            "sendfile" => data = descriptor(0),
            "truncate" => data = string(0),
            "mkdir" => string(0).iter().for_each(|path| self.created(path, ended, false)),
            "mkdirat" => string_at(0).iter().for_each(|path| self.created(path, ended, false)),
            "symlink" => string(1).iter().for_each(|path| self.created(path, ended, false)),
            "symlinkat" => {
                let path = descriptor(1).and_then(|directory| of_string(&directory, argument(2)));
                path.iter().for_each(|path| self.created(path, ended, false));
            }
            "mknod" => string(0).iter().for_each(|path| self.created(path, ended, false)),
            "mknodat" => string_at(0).iter().for_each(|path| self.created(path, ended, false)),
            "link" | "linkat" => {
                let (from, to) =
                    if call.name == "link" { (string(0), string(1)) } else { (string_at(0), string_at(2)) };
                let (Some(from), Some(to)) = (from, to) else { return effect };
                if self.object(&from).is_some() && to.starts_with(&self.root) {
                    let object = self.objects[&from];
                    self.objects.insert(to.clone(), object);
                    self.dirt[object].meta = Some(ended);
                }
                self.entry_changed(&to, ended);
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) =
                    if call.name == "rename" { (string(0), string(1)) } else { (string_at(0), string_at(2)) };
                let (Some(from), Some(to)) = (from, to) else { return effect };
                self.renamed(&from, &to, ended);
                effect.renamed = Some((from, to));
            }
            "unlink" | "rmdir" | "unlinkat" => {
                let path = if call.name == "unlinkat" { string_at(0) } else { string(0) };
                let Some(path) = path else { return effect };
                self.objects.retain(|other, _| !other.starts_with(&path));
                self.entry_changed(&path, ended);
            }
            "fchmod" | "fchown" | "fsetxattr" | "fremovexattr" => meta = descriptor(0),
            "chmod" | "chown" | "lchown" | "setxattr" | "lsetxattr" | "removexattr" | "lremovexattr" => {
                meta = string(0)
            }
            "fchmodat" | "fchownat" => meta = string_at(0),
            "utimensat" if argument(1) == "NULL" => meta = descriptor(0),
            "utimensat" => meta = string_at(0),
            "fsync" | "fdatasync" => {
                let Some(path) = descriptor(0).filter(|path| path.starts_with(&self.root)) else { return effect };
                let all = call.name == "fsync";
                if syncs && let Some(dirt) = self.object(&path) {
                    clean(dirt, begun, all);
                }
                effect.synced = Some(path);
            }
            "syncfs" | "sync" => {
                if syncs {
                    self.dirt.iter_mut().for_each(|dirt| clean(dirt, begun, true));
                }
                effect.synced = descriptor(0).or(Some(PathBuf::from("/")));
            }
            _ => {}
        }
        if let Some(dirt) = data.and_then(|path| self.object(&path)) {
            dirt.data = Some(ended);
        }
        if let Some(dirt) = meta.and_then(|path| self.object(&path)) {
            dirt.meta = Some(ended);
        }
        effect
    }

    /// What existed before the first trace is not known by name; the tests begin with nothing, so nothing did.
    fn known_before(&self, path: &Path) -> bool {
        !path.starts_with(&self.root)
    }

    /// Begins another trace: what the one before left undone stays undone.
    pub fn next_trace(&mut self, lines: usize) {
        self.offset += lines;
    }

    /// Returns what is not durable at or below a path.
    pub fn lost_below(&self, path: &Path) -> Vec<Lost> {
        let mut lost = Vec::new();
        for (path, object) in self.objects.range(path.to_owned()..).take_while(|(other, _)| other.starts_with(path)) {
            let dirt = &self.dirt[*object];
            let mut add = |what: &str| lost.push(Lost { path: path.clone(), what: what.to_owned() });
            if dirt.data.is_some() {
                add("data");
            }
            if dirt.meta.is_some() {
                add("metadata");
            }
            dirt.names.keys().for_each(|name| add(name));
        }
        lost
    }
}

/// Forgets what came about before a sync began; what came while it ran may have missed it.
fn clean(dirt: &mut Dirt, begun: usize, metadata: bool) {
    let undone = |at: Option<usize>| at.filter(|at| *at >= begun);
    dirt.data = undone(dirt.data);
    if metadata {
        dirt.meta = undone(dirt.meta);
        dirt.names.retain(|_, at| *at >= begun);
    }
}
