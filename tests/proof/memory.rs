//! A store in memory that keeps apart what was written and what is durable, and can lose, tear and reorder the rest.
//!
//! The model, which is harsher than any file system in use:
//! - What a file held when it was last synced is durable. Of bytes written since, each run of up to 512 may be kept, be
//!   zero, be what was there before or be rubbish, independently; the length may be the old one, the new one or between.
//! - What a directory named when it was last synced is durable. Each change since (a name made, removed, or renamed
//!   within the directory) may be kept or lost, independently of all others, so that later ones survive earlier ones.
//!   A rename into another directory is two changes: the object may be under both names, under either, or under none.
//! - Syncing a file says nothing of its name, syncing a directory nothing of what is in it or of its own name.
//! - After a failed sync, what it should have made durable may never become so, however often it is synced again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use devvault::store::{Listed, Lock, NameKind, NewFile, Store, StoredFile};

type Inode = usize;
/// A change of a directory: names and what they stand for afterwards.
type Change = Vec<(String, Option<Inode>)>;

/// The size in which a medium keeps or loses what was written.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct FileNode {
    data: Vec<u8>,
    durable: Vec<u8>,
    written: Vec<Range<usize>>,
    // A sync failed: no later one makes up for it.
    doomed: bool,
}

#[derive(Clone, Default)]
struct DirectoryNode {
    now: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
    changes: Vec<Change>,
    doomed: bool,
}

#[derive(Clone)]
enum Node {
    File(FileNode),
    Directory(DirectoryNode),
}

/// Everything that lies in a store, as it is now and as far as it is durable.
#[derive(Clone)]
pub struct World {
    nodes: Vec<Arc<Node>>,
}

const ROOT: Inode = 0;

fn error(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

impl World {
    /// Makes an empty world.
    pub fn new() -> Self {
        Self { nodes: vec![Arc::new(Node::Directory(DirectoryNode::default()))] }
    }

    /// Takes a directory of this machine into memory; all of it is durable.
    pub fn load(root: &Path) -> Self {
        let mut world = Self::new();
        for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap();
            let name = &name.replace(std::path::MAIN_SEPARATOR, "/");
            if entry.file_type().is_dir() {
                world.add(name, Node::Directory(DirectoryNode::default())).unwrap();
            } else {
                let data = std::fs::read(entry.path()).unwrap();
                let file = FileNode { durable: data.clone(), data, ..FileNode::default() };
                world.add(name, Node::File(file)).unwrap();
            }
        }
        world.settle();
        world
    }

    /// Returns every file with its length, by name.
    pub fn files(&self) -> Vec<(String, usize)> {
        self.contents().into_iter().map(|(name, data)| (name, data.len())).collect()
    }

    /// Returns what every file holds, by name.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut todo = vec![(String::new(), ROOT)];
        while let Some((name, at)) = todo.pop() {
            match &*self.nodes[at] {
                Node::File(file) => drop(files.insert(name, file.data.clone())),
                Node::Directory(directory) => {
                    let join = |last: &String| if name.is_empty() { last.clone() } else { format!("{name}/{last}") };
                    todo.extend(directory.now.iter().map(|(last, inode)| (join(last), *inode)));
                }
            }
        }
        files
    }

    /// Changes what a file holds.
    pub fn edit(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Ok(inode) = self.find(name) {
            change(&mut self.file(inode).data);
        }
    }

    /// Flips one bit of a file.
    pub fn flip(&mut self, name: &str, bit: usize) {
        self.edit(name, |data| data[bit / 8] ^= 1 << (bit % 8));
    }

    /// Makes everything durable.
    fn settle(&mut self) {
        for node in &mut self.nodes {
            match Arc::make_mut(node) {
                Node::File(file) => {
                    file.durable = file.data.clone();
                    file.written.clear();
                }
                Node::Directory(directory) => {
                    directory.durable = directory.now.clone();
                    directory.changes.clear();
                }
            }
        }
    }

    fn find(&self, name: &str) -> io::Result<Inode> {
        let mut at = ROOT;
        for component in name.split('/').filter(|component| !component.is_empty()) {
            at = match &*self.nodes[at] {
                Node::Directory(directory) => *directory.now.get(component).ok_or(error(io::ErrorKind::NotFound))?,
                Node::File(_) => return Err(error(io::ErrorKind::NotADirectory)),
            };
        }
        Ok(at)
    }

    fn directory(&mut self, at: Inode) -> io::Result<&mut DirectoryNode> {
        match Arc::make_mut(&mut self.nodes[at]) {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(error(io::ErrorKind::NotADirectory)),
        }
    }

    fn file(&mut self, at: Inode) -> &mut FileNode {
        match Arc::make_mut(&mut self.nodes[at]) {
            Node::File(file) => file,
            Node::Directory(_) => panic!("a directory was opened as a file"),
        }
    }

    /// Splits a name into the directory that holds it and the last component.
    fn place(&self, name: &str) -> io::Result<(Inode, String)> {
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        Ok((self.find(above)?, last.to_owned()))
    }

    fn change(&mut self, at: Inode, change: Change) -> io::Result<()> {
        let directory = self.directory(at)?;
        for (name, inode) in &change {
            match inode {
                Some(inode) => directory.now.insert(name.clone(), *inode),
                None => directory.now.remove(name),
            };
        }
        directory.changes.push(change);
        Ok(())
    }

    fn add(&mut self, name: &str, node: Node) -> io::Result<Inode> {
        let (above, last) = self.place(name)?;
        if self.directory(above)?.now.contains_key(&last) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        self.nodes.push(Arc::new(node));
        let inode = self.nodes.len() - 1;
        self.change(above, vec![(last, Some(inode))])?;
        Ok(inode)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let ((from_above, from_last), (to_above, to_last)) = (self.place(from)?, self.place(to)?);
        let inode = self.find(from)?;
        if self.directory(to_above)?.now.contains_key(&to_last) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        if from_above == to_above {
            return self.change(from_above, vec![(from_last, None), (to_last, Some(inode))]);
        }
        self.change(from_above, vec![(from_last, None)])?;
        self.change(to_above, vec![(to_last, Some(inode))])
    }

    fn remove(&mut self, name: &str, directory: bool) -> io::Result<()> {
        let (above, last) = self.place(name)?;
        match &*self.nodes[self.find(name)?] {
            Node::Directory(node) if directory && node.now.is_empty() => {}
            Node::File(_) if !directory => {}
            Node::Directory(_) if directory => return Err(error(io::ErrorKind::DirectoryNotEmpty)),
            _ => return Err(error(io::ErrorKind::InvalidInput)),
        }
        self.change(above, vec![(last, None)])
    }

    fn sync_directory(&mut self, name: &str) -> io::Result<()> {
        let at = self.find(name)?;
        let directory = self.directory(at)?;
        if !directory.doomed {
            directory.durable = directory.now.clone();
            directory.changes.clear();
        }
        Ok(())
    }

    /// Returns how many things a loss of power would decide about: files with bytes and directories with names.
    pub fn undecided(&self) -> usize {
        let count = |node: &Arc<Node>| match &**node {
            Node::File(file) => usize::from(!file.written.is_empty()),
            Node::Directory(directory) => directory.changes.len(),
        };
        self.nodes.iter().map(count).sum()
    }

    /// Returns what a loss of power leaves. `fate` is asked once for each thing that is undecided.
    pub fn after_power_loss(&self, mut fate: impl FnMut() -> Fate, random: &mut Random) -> Self {
        let mut left = self.clone();
        for node in &mut left.nodes {
            match Arc::make_mut(node) {
                Node::File(file) => {
                    if !file.written.is_empty() {
                        file.data = after_loss(file, fate(), random);
                    }
                }
                Node::Directory(directory) => {
                    let mut names = directory.durable.clone();
                    for change in &directory.changes {
                        if fate() != Fate::Lost {
                            for (name, inode) in change {
                                match inode {
                                    Some(inode) => names.insert(name.clone(), *inode),
                                    None => names.remove(name),
                                };
                            }
                        }
                    }
                    directory.now = names;
                }
            }
        }
        left.settle();
        for node in &mut left.nodes {
            match Arc::make_mut(node) {
                Node::File(file) => file.doomed = false,
                Node::Directory(directory) => directory.doomed = false,
            }
        }
        left
    }
}

/// What becomes of something that is not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Kept,
    Lost,
    Torn,
}

/// Returns what a file holds after a loss of power.
fn after_loss(file: &FileNode, fate: Fate, random: &mut Random) -> Vec<u8> {
    match fate {
        Fate::Kept => return file.data.clone(),
        Fate::Lost => return file.durable.clone(),
        Fate::Torn => {}
    }
    let (low, high) = (file.durable.len().min(file.data.len()), file.durable.len().max(file.data.len()));
    let length = match random.below(3) {
        0 => high,
        1 => file.data.len(),
        _ => low + random.below(high - low + 1),
    };
    let mut bytes = file.durable.clone();
    bytes.resize(length, 0);
    for range in &file.written {
        for from in range.clone().step_by(SECTOR) {
            let to = (from + SECTOR).min(range.end).min(length);
            if from >= to {
                continue;
            }
            match random.below(4) {
                0 | 1 => bytes[from..to].copy_from_slice(&file.data[from..to]),
                2 => {}
                _ => bytes[from..to].iter_mut().for_each(|byte| *byte = random.below(256) as u8),
            }
        }
    }
    bytes
}

/// A small generator, so that a seed names a run.
pub struct Random(pub u64);

impl Random {
    /// Returns a number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        // Steele, Lea and Flood: SplitMix.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// What to do with an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Do it.
    Do,
    /// Do nothing and report this error of the system.
    Fail(i32),
    /// Do it and report this error of the system all the same; of a write, do half of it.
    DoAndFail(i32),
}

/// Is asked before every operation: its name, what it works on, and the world as it is.
pub type Watch = dyn Fn(&str, &str, &World) -> Order + Send + Sync;

/// The store.
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    world: Mutex<World>,
    locks: Arc<Mutex<BTreeSet<String>>>,
    watch: Box<Watch>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a store in memory")
    }
}

impl Memory {
    /// Makes a store of a world in which everything works.
    pub fn new(world: World) -> Arc<Self> {
        Self::watched(world, |_, _, _| Order::Do)
    }

    /// Makes a store whose every operation is watched.
    pub fn watched(world: World, watch: impl Fn(&str, &str, &World) -> Order + Send + Sync + 'static) -> Arc<Self> {
        let inner = Inner { world: Mutex::new(world), locks: Arc::default(), watch: Box::new(watch) };
        Arc::new(Self { inner: Arc::new(inner) })
    }

    /// Returns the world as it is now.
    pub fn world(&self) -> World {
        self.inner.world.lock().unwrap().clone()
    }
}

impl Inner {
    fn run<T>(&self, what: &str, name: &str, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.world.lock().unwrap();
        match (self.watch)(what, name, &world) {
            Order::Do => act(&mut world),
            Order::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
            // An answer that was lost says nothing of what it would have been, a refusal included.
            Order::DoAndFail(errno) => {
                let _ = act(&mut world);
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
}

struct MemoryFile {
    inner: Arc<Inner>,
    inode: Inode,
    name: String,
    length: u64,
}

impl StoredFile for MemoryFile {
    fn length(&self) -> u64 {
        self.length
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.run("read", &self.name, |world| {
            let from = offset as usize;
            let Node::File(FileNode { data, .. }) = &*world.nodes[self.inode] else { panic!("a directory was opened") };
            let part = data.get(from..from + buffer.len()).ok_or(error(io::ErrorKind::UnexpectedEof))?;
            buffer.copy_from_slice(part);
            Ok(())
        })
    }
    fn drop_cached(&self) -> bool {
        true
    }
}

struct MemoryNew {
    inner: Arc<Inner>,
    inode: Inode,
    name: String,
}

impl NewFile for MemoryNew {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let inode = self.inode;
        let append = |world: &mut World, bytes: &[u8]| {
            let file = world.file(inode);
            let from = file.data.len();
            file.data.extend_from_slice(bytes);
            file.written.push(from..file.data.len());
        };
        let mut world = self.inner.world.lock().unwrap();
        match (self.inner.watch)("write", &self.name, &world) {
            Order::Do => {
                append(&mut world, bytes);
                Ok(())
            }
            Order::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
            Order::DoAndFail(errno) => {
                append(&mut world, &bytes[..bytes.len() / 2]);
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.inner.world.lock().unwrap();
        let order = (self.inner.watch)("sync", &self.name, &world);
        let file = world.file(self.inode);
        if let Order::Fail(errno) = order {
            file.doomed = true;
            return Err(io::Error::from_raw_os_error(errno));
        }
        if !file.doomed {
            file.durable = file.data.clone();
            file.written.clear();
        }
        match order {
            Order::DoAndFail(errno) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }
}

struct MemoryLock {
    name: String,
    locks: Arc<Mutex<BTreeSet<String>>>,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.locks.lock().unwrap().remove(&self.name);
    }
}

impl Store for Memory {
    fn describe(&self) -> String {
        "a store in memory".into()
    }
    fn local_path(&self) -> Option<&Path> {
        None
    }
    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        self.inner.run("list", directory, |world| {
            let Node::Directory(DirectoryNode { now, .. }) = &*world.nodes[world.find(directory)?] else {
                return Err(error(io::ErrorKind::NotADirectory));
            };
            let kind = |inode: Inode| match &*world.nodes[inode] {
                Node::File(_) => NameKind::File,
                Node::Directory(_) => NameKind::Directory,
            };
            Ok(now.iter().map(|(name, inode)| Listed { name: name.clone(), kind: kind(*inode) }).collect())
        })
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let (inode, length) = self.inner.run("open", name, |world| {
            let inode = world.find(name)?;
            match &*world.nodes[inode] {
                Node::File(file) => Ok((inode, file.data.len() as u64)),
                Node::Directory(_) => Err(error(io::ErrorKind::InvalidData)),
            }
        })?;
        Ok(Box::new(MemoryFile { inner: Arc::clone(&self.inner), inode, name: name.to_owned(), length }))
    }
    fn length(&self, name: &str) -> io::Result<u64> {
        self.inner.run("length", name, |world| match &*world.nodes[world.find(name)?] {
            Node::File(file) => Ok(file.data.len() as u64),
            Node::Directory(_) => Err(error(io::ErrorKind::InvalidData)),
        })
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let inode = self.inner.run("create", name, |world| world.add(name, Node::File(FileNode::default())))?;
        Ok(Box::new(MemoryNew { inner: Arc::clone(&self.inner), inode, name: name.to_owned() }))
    }
    fn create_directory(&self, name: &str) -> io::Result<()> {
        let node = Node::Directory(DirectoryNode::default());
        self.inner.run("mkdir", name, |world| world.add(name, node).map(|_| ()))
    }
    fn sync_directory(&self, name: &str) -> io::Result<()> {
        let mut world = self.inner.world.lock().unwrap();
        match (self.inner.watch)("syncdir", name, &world) {
            Order::Do => world.sync_directory(name),
            Order::Fail(errno) => {
                let at = world.find(name)?;
                world.directory(at)?.doomed = true;
                Err(io::Error::from_raw_os_error(errno))
            }
            Order::DoAndFail(errno) => {
                world.sync_directory(name)?;
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.run("rename", &format!("{from} {to}"), |world| world.rename(from, to))
    }
    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.inner.run("remove", name, |world| world.remove(name, false))
    }
    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.inner.run("rmdir", name, |world| world.remove(name, true))
    }
    fn lock(&self, name: &str, exclusive: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.inner.run("lock", name, |world| world.find(name).map(|_| ()))?;
        let locks = Arc::clone(&self.inner.locks);
        if !locks.lock().unwrap().insert(name.to_owned()) && exclusive {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock { name: name.to_owned(), locks })))
    }
    fn available_bytes(&self) -> io::Result<u64> {
        self.inner.run("space", "", |_| Ok(1 << 40))
    }
}

/// The operations that change something.
pub fn writes(what: &str) -> bool {
    ["create", "write", "sync", "mkdir", "syncdir", "rename", "remove", "rmdir"].contains(&what)
}
