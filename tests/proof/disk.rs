//! Disks that lie in memory and remember in which order they were written and flushed.
//!
//! Each is a file of a small file system in user space, which a thread of the tests serves, speaking the kernel's protocol
//! on `/dev/fuse` itself; a loop device makes a disk of it. Whatever was written and flushed can be replayed in part, as
//! disks with volatile caches may leave it after a loss of power. Everything is mounted in a namespace of the thread's own,
//! so that nothing stays mounted however the tests end.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::libc::{EIO, ENOENT, ENOSYS};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::memory::Random;

const BLOCK: usize = 4096;

/// What a disk holds. A copy shares what neither changes.
#[derive(Clone)]
pub struct Image {
    // Those that are all zero are left out.
    blocks: HashMap<u64, Arc<[u8; BLOCK]>>,
    bytes: u64,
}

impl Image {
    /// Returns an empty one of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { blocks: HashMap::new(), bytes }
    }

    /// Calls with every part of a range that lies in one block: its number, where in it, where in the range.
    fn parts(offset: u64, length: usize, mut each: impl FnMut(u64, usize, std::ops::Range<usize>)) {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = (at % BLOCK as u64) as usize;
            let end = length.min(done + BLOCK - within);
            each(at / BLOCK as u64, within, done..end);
            done = end;
        }
    }

    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let length = length.min(self.bytes.saturating_sub(offset) as usize);
        let mut bytes = vec![0; length];
        Self::parts(offset, length, |block, within, range| {
            if let Some(block) = self.blocks.get(&block) {
                bytes[range.clone()].copy_from_slice(&block[within..within + range.len()]);
            }
        });
        bytes
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        Self::parts(offset, bytes.len(), |block, within, range| {
            let bytes = &bytes[range];
            if !self.blocks.contains_key(&block) && bytes.iter().all(|byte| *byte == 0) {
                return;
            }
            let block = self.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[within..within + bytes.len()].copy_from_slice(bytes);
        });
    }
}

/// What a disk was told to do.
enum Event {
    Write(u64, Vec<u8>),
    Flush,
}

/// What disks were told to do, each by its number, in the order in which they were.
type Log = Vec<(u64, Event)>;

/// What becomes of the writes that no flush followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Lost,
    /// Each is kept, lost or torn, independently of the others.
    Mixed,
}

/// What disks held when they began to be recorded, and what they were told since.
pub struct Recording {
    bases: Vec<(u64, Image)>,
    log: Log,
}

impl Recording {
    /// Returns how many events there are.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Returns what may be on each disk if the power goes after so many events. A write is torn between pieces of `atom`
    /// bytes, which a disk writes whole.
    pub fn cut(&self, events: usize, fates: &[Fate], atom: usize, random: &mut Random) -> Vec<Image> {
        self.bases.iter().zip(fates).map(|(base, fate)| self.cut_one(base, events, *fate, atom, random)).collect()
    }

    fn cut_one(
        &self,
        (number, base): &(u64, Image),
        events: usize,
        fate: Fate,
        atom: usize,
        random: &mut Random,
    ) -> Image {
        let events = self.log[..events].iter().filter(|(disk, _)| disk == number).map(|(_, event)| event);
        let events: Vec<&Event> = events.collect();
        let flushed = events.iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        let mut image = base.clone();
        for (at, event) in events.iter().enumerate() {
            let Event::Write(offset, bytes) = event else { continue };
            let fate = if at < flushed { Fate::Kept } else { fate };
            match (fate, random.below(3)) {
                (Fate::Kept, _) | (Fate::Mixed, 0) => image.write(*offset, bytes),
                (Fate::Lost, _) | (Fate::Mixed, 1) => {}
                (Fate::Mixed, _) => {
                    for (number, piece) in bytes.chunks(atom).enumerate() {
                        if random.below(2) == 0 {
                            image.write(offset + (number * atom) as u64, piece);
                        }
                    }
                }
            }
        }
        image
    }
}

/// The disks that are served, by number, and what they were told where that is recorded.
#[derive(Default)]
struct Served {
    images: BTreeMap<u64, Image>,
    log: Option<Log>,
}

impl Served {
    fn note(&mut self, disk: u64, event: impl FnOnce() -> Event) {
        if let Some(log) = &mut self.log {
            log.push((disk, event()));
        }
    }
}

type Disks = Mutex<Served>;

/// The file system whose files are disks, and the thread that serves it.
pub struct Shelf {
    place: PathBuf,
    disks: Arc<Disks>,
    next: Cell<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Shelf {
    fn drop(&mut self) {
        // Whoever still waits for an answer gets an error.
        let _ = umount2(&self.place, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shelf {
    /// Mounts the file system at a directory, in a namespace of this thread's own.
    pub fn new(place: PathBuf) -> Result<Self, String> {
        let connection = File::options().read(true).write(true).open("/dev/fuse");
        let connection = connection.map_err(|error| format!("/dev/fuse: {error}"))?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let nothing = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(nothing, "/", nothing, private, nothing))
            .map_err(|error| format!("no namespace of mounts: {error}"))?;
        fs::create_dir_all(&place).unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", connection.as_raw_fd());
        mount(Some("devvault-proof"), &place, Some("fuse"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(&options[..]))
            .map_err(|error| format!("fuse: {error}"))?;
        let disks = Arc::new(Disks::default());
        let served = Arc::clone(&disks);
        let thread = std::thread::spawn(move || serve(&connection, &served));
        Ok(Self { place, disks, next: 2.into(), thread: Some(thread) })
    }

    /// Puts a disk there.
    pub fn put(&self, image: Image) -> Disk {
        let number = self.next.replace(self.next.get() + 1);
        self.disks.lock().unwrap().images.insert(number, image);
        Disk(Rc::new(Place { disks: Arc::clone(&self.disks), path: self.place.join(number.to_string()), number }))
    }

    /// Begins to record.
    pub fn record(&self) {
        self.disks.lock().unwrap().log = Some(Vec::new());
    }

    /// Returns how many events were recorded by now.
    pub fn events(&self) -> usize {
        self.disks.lock().unwrap().log.as_ref().map_or(0, Vec::len)
    }

    /// Ends the recording of some disks, each with what it held when that began.
    pub fn recorded(&self, disks: &[Disk], bases: &[Image]) -> Recording {
        let bases = disks.iter().zip(bases).map(|(disk, base)| (disk.0.number, base.clone())).collect();
        Recording { bases, log: self.disks.lock().unwrap().log.take().unwrap_or_default() }
    }
}

/// A disk on the shelf, until its last copy is dropped.
#[derive(Clone)]
pub struct Disk(Rc<Place>);

struct Place {
    disks: Arc<Disks>,
    path: PathBuf,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.disks.lock().unwrap().images.remove(&self.number);
    }
}

impl Disk {
    /// Runs a script on it, as `$1`.
    pub fn shell(&self, script: &str) -> Result<(), String> {
        shell(script, &[&self.0.path])
    }

    /// Returns what it holds now.
    pub fn image(&self) -> Image {
        self.0.disks.lock().unwrap().images[&self.0.number].clone()
    }

    /// Mounts it.
    pub fn mount(&self, options: &str, place: &Path) -> Result<Mounted, String> {
        shell(&format!("mount -o loop,{options} \"$1\" \"$2\""), &[&self.0.path, place])?;
        Ok(Mounted { _disk: self.clone(), place: place.to_owned() })
    }
}

/// A mounted disk, unmounted when it is dropped.
pub struct Mounted {
    _disk: Disk,
    place: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if umount2(&self.place, MntFlags::empty()).is_err() {
            let _ = umount2(&self.place, MntFlags::MNT_DETACH);
        }
    }
}

fn shell(script: &str, arguments: &[&Path]) -> Result<(), String> {
    let mut command = Command::new("timeout");
    command.args(["60", "sh", "-c", script, "sh"]).args(arguments);
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
    }
}

/// The most bytes that one request writes.
const WRITE_MAX: usize = 1 << 20;
const ROOT: u64 = 1;
/// Requests by number, see `linux/fuse.h`.
mod request {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const INTERRUPT: u32 = 36;
    pub const BATCH_FORGET: u32 = 42;
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Answers requests until the file system is unmounted.
fn serve(mut connection: &File, disks: &Disks) {
    let mut buffer = vec![0; WRITE_MAX + 2 * BLOCK];
    loop {
        let length = match connection.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.raw_os_error(), Some(ENOENT | nix::libc::EINTR)) => continue,
            Err(_) => return,
        };
        let (head, body) = buffer[..length].split_at(40);
        let (kind, node) = (word(head, 4), long(head, 16));
        if [request::FORGET, request::BATCH_FORGET, request::INTERRUPT].contains(&kind) {
            continue;
        }
        let (error, answer) = match answer(disks, kind, node, body) {
            Ok(answer) => (0, answer),
            Err(error) => (-error, Vec::new()),
        };
        let total = (16 + answer.len()) as u32;
        let reply = [&total.to_ne_bytes()[..], &error.to_ne_bytes(), &head[8..16], &answer].concat();
        // Who asked may have been killed.
        let _ = connection.write(&reply);
    }
}

fn answer(disks: &Disks, kind: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
    let mut disks = disks.lock().unwrap();
    let forever = u64::from(u32::MAX).to_ne_bytes();
    match kind {
        // Version 7.31; no cache of writes; at most so many bytes and pages at once, times to the nanosecond.
        request::INIT => {
            const MAX_PAGES: u32 = 1 << 22;
            let (background, pages) = (16 | 12 << 16, (WRITE_MAX / BLOCK) as u32);
            let mut words = words(&[7, 31, WRITE_MAX as u32, MAX_PAGES, background, WRITE_MAX as u32, 1, pages]);
            words.resize(64, 0);
            Ok(words)
        }
        request::LOOKUP => {
            let name = std::str::from_utf8(body).unwrap_or_default().trim_end_matches('\0');
            let number = name.parse().map_err(|_| ENOENT)?;
            let disk = disks.images.get(&number).ok_or(ENOENT)?;
            Ok([&number.to_ne_bytes()[..], &[0; 8], &forever, &forever, &[0; 8], &attributes(number, disk.bytes)]
                .concat())
        }
        request::GETATTR | request::SETATTR => {
            let bytes = disks.images.get(&node).map_or(0, |disk| disk.bytes);
            Ok([&forever[..], &[0; 8], &attributes(node, bytes)].concat())
        }
        // Past the kernel's cache, so that every read and write comes here.
        request::OPEN => Ok([&[0; 8][..], &words(&[1, 0])].concat()),
        request::READ => {
            let disk = disks.images.get(&node).ok_or(EIO)?;
            Ok(disk.read(long(body, 8), word(body, 16) as usize))
        }
        request::WRITE => {
            let (offset, bytes) = (long(body, 8), &body[40..]);
            disks.images.get_mut(&node).ok_or(EIO)?.write(offset, bytes);
            disks.note(node, || Event::Write(offset, bytes.to_vec()));
            Ok(words(&[bytes.len() as u32, 0]))
        }
        request::FSYNC => {
            disks.note(node, || Event::Flush);
            Ok(Vec::new())
        }
        request::RELEASE | request::FLUSH => Ok(Vec::new()),
        // Among them those that make holes: zeros are written then.
        _ => Err(ENOSYS),
    }
}

/// The attributes of the directory, or of a disk.
fn attributes(node: u64, bytes: u64) -> Vec<u8> {
    let mode = if node == ROOT { 0o040_700 } else { 0o100_600 };
    let mut attributes: Vec<u8> =
        [node, bytes, bytes / 512, 0, 0, 0].iter().flat_map(|long| long.to_ne_bytes()).collect();
    attributes.extend(words(&[0, 0, 0, mode, 1, 0, 0, 0, BLOCK as u32, 0]));
    attributes
}

#[test]
fn a_cut_keeps_what_was_flushed_and_tears_only_what_was_not() {
    let bytes = |value: u8| vec![value; 1024];
    // The other disk is flushed last, which makes nothing durable on this one.
    let log = vec![
        (2, Event::Write(0, bytes(1))),
        (2, Event::Flush),
        (2, Event::Write(512, bytes(2))),
        (3, Event::Write(0, bytes(4))),
        (2, Event::Write(8192, bytes(3))),
        (3, Event::Flush),
        (2, Event::Flush),
    ];
    let recording = Recording { bases: vec![(2, Image::new(1 << 20)), (3, Image::new(1 << 20))], log };
    let mut random = Random(1);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..6000 {
        let fate = [Fate::Kept, Fate::Lost, Fate::Mixed][round % 3];
        let [image, other] = &recording.cut(6, &[fate, Fate::Lost], 512, &mut random)[..] else { unreachable!() };
        assert_eq!(other.read(0, 1), [4]);
        assert_eq!(image.read(0, 512), [1; 512]);
        let pieces: Vec<u8> = [512, 1024, 8192, 8704].map(|at| image.read(at, 1)[0]).to_vec();
        match fate {
            Fate::Kept => assert_eq!(pieces, [2, 2, 3, 3]),
            Fate::Lost => assert_eq!(pieces, [1, 0, 0, 0]),
            Fate::Mixed => drop(seen.insert(pieces)),
        }
    }
    assert_eq!(seen.len(), 16, "all of them come up: {seen:?}");
    assert_eq!(recording.cut(7, &[Fate::Lost; 2], 512, &mut random)[0].read(8192, 1), [3]);
}
