//! The journal: what this host did with vaults, append-only and chained.
//!
//! Invariants: every line is canonical JSON and names the digest of the line before; a line counts once its line feed
//! is durable; nothing is appended to a journal that is cut, edited or reordered. What a crash left behind the last line
//! feed is no entry and no tampering; the next entry records that it was there.
//!
//! ```text
//! STATE/journal/journal.jsonl     the entries; line n ends with a line feed and carries number n
//!               head.json         number, digest and place of the newest entry, replaced after each append
//!               lock              held exclusively by who appends
//!               set-aside-*.jsonl journals that were found broken and set aside by a person
//! ```
//!
//! The digest of an entry is the BLAKE3 of its line, line feed included; the first entry's predecessor is 32 zero bytes.
//! Each new manifest carries the newest entry's number and digest, so that a journal that was replaced as a whole is
//! noticed too.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Time;
use crate::crypto::{Digest, Id};
use crate::error::{Error, Result, shown_path};
use crate::format::record::Head;
use crate::format::{PROGRAM, json};
use crate::fsys::{self, replace};
use crate::host::Host;
use crate::limits;
use crate::refusal::{Code, Refusal};

/// What an entry says beyond its frame.
pub type Data = Map<String, Value>;

/// One entry, as its line holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What was done: `backup`, `verify`, `refused`, …
    pub act: String,
    /// What there is to say about it.
    pub data: Data,
    /// The host that wrote it, as far as it had an id; another host's journal is told by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Id>,
    /// The entry's number, from 1.
    #[serde(with = "json::unsigned")]
    pub number: u64,
    /// Where the vault lay; absent where no vault was meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The digest of the line before.
    pub previous: Digest,
    /// The program and version that wrote it.
    pub program: String,
    /// When.
    pub time: Time,
    /// The vault, as far as it was known; a vault that did not open only claims to be it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Id>,
}

impl Entry {
    /// Returns a text of the entry's data; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.data.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns whether it tells of something that a permit of this id allowed.
    pub fn is_permitted_by(&self, id: &str) -> bool {
        let several = self.data.get("permits").and_then(Value::as_array).into_iter().flatten();
        self.text("permit") == id || several.filter_map(Value::as_str).any(|permit| permit == id)
    }

    /// Returns whether it is about a place, given whole or as entries hold it.
    pub fn is_at(&self, place: &str) -> bool {
        self.place.as_deref() == Some(&*bounded(place))
    }
}

/// Something to be recorded.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// What was done.
    pub act: &'static str,
    /// What there is to say about it.
    pub data: Data,
    /// Where the vault lies.
    pub place: Option<String>,
    /// The vault.
    pub vault: Option<Id>,
}

impl Event {
    /// Creates an event from a JSON object.
    pub fn new(act: &'static str, data: Value) -> Self {
        let data = match data {
            Value::Object(data) => data,
            _ => Data::new(),
        };
        Self { act, data, place: None, vault: None }
    }

    /// Returns whether it opens something: an incident or a declaration.
    pub fn is_opening(&self) -> bool {
        self.data.get("event").is_some_and(|event| event == "opened" || event == "declared")
    }

    /// Names the vault and where it lies.
    #[must_use]
    pub fn of(mut self, vault: Option<Id>, place: &str) -> Self {
        self.vault = vault;
        self.place = Some(bounded(place));
        self
    }
}

/// Returns a text of bounded length, so that no entry grows beyond its bound.
pub fn bounded(text: &str) -> String {
    if text.len() <= limits::JOURNAL_TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=limits::JOURNAL_TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// What the journal was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// The newest sound entry.
    pub head: Option<Head>,
    /// When the newest sound entry was made.
    pub time: Option<Time>,
    /// Bytes behind the last line feed: what a crash left, no entry.
    pub torn_bytes: u64,
    /// Why the journal cannot be trusted, if so: it is cut, edited or reordered.
    pub broken: Option<String>,
    end: u64,
    last_line_bytes: u64,
}

/// The newest entry, as the head file names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadFile {
    digest: Digest,
    /// Where its line ends in the file.
    #[serde(with = "json::unsigned")]
    end: u64,
    /// The length of its line, line feed included.
    #[serde(with = "json::unsigned")]
    line: u64,
    #[serde(with = "json::unsigned")]
    number: u64,
}

impl HeadFile {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = json::encode(self);
        bytes.push(b'\n');
        bytes
    }
}

/// Lines that were made and not written yet.
struct Lines {
    bytes: Vec<u8>,
    /// The newest entry once they are written.
    head: Option<Head>,
    /// How long the last of them is.
    last: u64,
}

impl Lines {
    /// Returns the head file of a journal that had `end` bytes before them.
    fn head_file(&self, end: u64) -> Option<HeadFile> {
        let end = end + self.bytes.len() as u64;
        self.head.map(|head| HeadFile { digest: head.digest, end, line: self.last, number: head.number })
    }
}

/// A file that gives way to another one and is kept under a new name.
struct Change<'a> {
    path: PathBuf,
    aside: PathBuf,
    draft: PathBuf,
    bytes: &'a [u8],
}

impl Change<'_> {
    /// Writes the new file, and gives the old one its further name, if it is there.
    fn prepare(&self) -> io::Result<()> {
        fsys::write_private(&self.draft, self.bytes)?;
        match replace::name_also(&self.path, &self.aside) {
            Err(error) if missing(&error) => Ok(()),
            other => other,
        }
    }

    /// Takes back what was prepared: nothing was changed yet.
    fn undo(&self) {
        let _ = std::fs::remove_file(&self.draft);
        let _ = std::fs::remove_file(&self.aside);
    }

    fn make(&self) -> io::Result<()> {
        fsys::rename_over(&self.draft, &self.path)
    }
}

const ORIGIN: Digest = Digest([0; 32]);

/// The journal of a host.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
    host: Host,
}

impl Journal {
    /// Names the journal of a host, whether or not it exists.
    pub fn of(host: &Host) -> Self {
        Self { directory: host.journal_directory(), host: host.clone() }
    }

    /// Returns the file that holds the entries.
    pub fn path(&self) -> PathBuf {
        self.directory.join("journal.jsonl")
    }

    fn head_path(&self) -> PathBuf {
        self.directory.join("head.json")
    }

    /// Returns the newest entry's number and digest, after a look at the journal's end; nothing where it is empty.
    ///
    /// # Errors
    /// DV319 where the end is not what was written last, DV410 where it cannot be read.
    pub fn head(&self) -> Result<Option<Head>> {
        let Some(mut file) = self.open()? else { return self.absent().map(|()| None) };
        Ok(self.end(&mut file)?.head)
    }

    /// Appends one event.
    ///
    /// # Errors
    /// DV410 where the journal cannot be written, DV319 where it is broken.
    pub fn append(&self, now: Time, event: Event) -> Result<Head> {
        self.append_if(now, false, |_| Ok(vec![event]))?
            .ok_or_else(|| Refusal::new(Code::StateUnwritable, "nothing was journaled").into())
    }

    /// Reads the journal under its lock, lets `decide` say what is to be recorded, and records it durably.
    ///
    /// Without `whole` nothing but the end is read and `decide` sees no entries. Returns the new head; nothing where
    /// nothing was to be recorded and the journal is empty.
    ///
    /// # Errors
    /// Whatever `decide` refuses; DV410 where the journal cannot be written, DV319 where it is broken.
    pub fn append_if(
        &self,
        now: Time,
        whole: bool,
        decide: impl FnOnce(&[Entry]) -> Result<Vec<Event>>,
    ) -> Result<Option<Head>> {
        self.host.make_directory(&self.directory)?;
        let _lock = self.lock()?;
        let path = self.path();
        let mut file = match self.open_to_append() {
            Ok(file) => file,
            Err(error) => return Err(unwritable(&path, &error).into()),
        };
        if file.metadata().map(|metadata| metadata.len()).unwrap_or(0) == 0 {
            self.absent()?;
        }
        let scan = self.end(&mut file)?;
        let entries = if whole { self.entries()? } else { Vec::new() };
        let mut events = decide(&entries)?;
        if events.is_empty() {
            return Ok(scan.head);
        }
        if scan.torn_bytes > 0 {
            events.insert(0, torn(&mut file, &scan).map_err(|error| unwritable(&path, &error))?);
        }
        let lines = self.lines(events, scan.head, now)?;
        let written = file
            .set_len(scan.end)
            .and_then(|()| file.seek(SeekFrom::Start(scan.end)))
            .and_then(|_| file.write_all(&lines.bytes))
            .and_then(|()| fsys::sync_file(&file));
        if let Err(error) = written {
            // What is not whole must not stand before the next entry.
            let _ = file.set_len(scan.end);
            return Err(unwritable(&path, &error).into());
        }
        if let Some(head) = lines.head_file(scan.end) {
            let path = self.head_path();
            replace::replace(&path, &head.encode()).map_err(|error| unwritable(&path, &error))?;
        }
        Ok(lines.head)
    }

    /// Reads all entries in order and hands each on with its head, as far as they are sound.
    ///
    /// # Errors
    /// DV410 where the journal is there but cannot be read; what `visit` refuses.
    pub fn scan(&self, mut visit: impl FnMut(Entry, Head) -> Result<()>) -> Result<Scan> {
        let known = self.read_head()?;
        let Some(file) = self.open()? else {
            let broken = known.map(|_| "it is gone: its head file is there, its entries are not".to_owned());
            return Ok(Scan { broken, ..Scan::default() });
        };
        let mut seen = known.is_none();
        let mut scan = scan_file(file, &self.path(), |entry, head, _| {
            if let Some(known) = known
                && known.number == head.number
            {
                seen = known.digest == head.digest;
            }
            visit(entry, head)
        })?;
        if scan.broken.is_none() && !seen {
            let known = known.map_or(0, |known| known.number);
            scan.broken = Some(match scan.head {
                Some(head) if head.number >= known => format!("entry {known} is not the one that was written"),
                _ => format!(
                    "it is cut: entry {known} was written, and it ends at entry {}",
                    scan.head.map_or(0, |head| head.number)
                ),
            });
        }
        if scan.broken.is_none() && known.is_none() && scan.head.is_some_and(|head| head.number > FIRST_ENTRIES_MAX) {
            scan.broken = Some("its head file is missing, without which a cut at its end would not be seen".into());
        }
        Ok(scan)
    }

    /// Returns all entries.
    ///
    /// # Errors
    /// DV319 where the journal is broken, DV410 where it cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let scan = self.scan(|entry, _| {
            entries.push(entry);
            Ok(())
        })?;
        match scan.broken {
            Some(reason) => Err(broken(&self.path(), &reason).into()),
            None => Ok(entries),
        }
    }

    /// Returns the journals that were set aside, oldest name first.
    ///
    /// # Errors
    /// The directory is there but cannot be listed.
    pub fn set_aside(&self) -> Result<Vec<PathBuf>> {
        let names = match std::fs::read_dir(&self.directory) {
            Ok(names) => names,
            Err(error) if missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&self.directory, &error).into()),
        };
        let mut paths = Vec::new();
        for name in names {
            let path = name.map_err(|error| unreadable(&self.directory, &error))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if stem.starts_with("set-aside-") && path.extension().is_some_and(|ending| ending == "jsonl") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Hands on every line of a journal that reads as an entry, chained to the one before or not.
    ///
    /// What is behind the line that broke a journal proves nothing by itself. But a snapshot that names its digest proves
    /// it, and an incident that it tells of is better kept open than forgotten.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn each_readable(path: &Path, mut visit: impl FnMut(Entry, Head)) -> Result<()> {
        let failed = |error: io::Error| unreadable(path, &error);
        let mut input = match fsys::open_plain(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if missing(&error) => return Ok(()),
            Err(error) => return Err(failed(error).into()),
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut part = input.by_ref().take(limits::JOURNAL_LINE_BYTES_MAX);
            if part.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(());
            }
            if let Some(text) = line.strip_suffix(b"\n")
                && let Ok(entry) = json::decode::<Entry>(text)
            {
                let head = Head { digest: Digest::of(&line), number: entry.number };
                visit(entry, head);
            }
        }
    }

    /// Sets a broken journal aside, complete, and begins a new one whose first entry says why.
    ///
    /// `carry` is handed every entry of the old journal that can be read, and returns the events that must not be lost with it.
    /// At every moment one of the two stands in the journal's place: what ends in the middle leaves the old one, or a new
    /// one that is broken, as its head file names another, and that holds what was carried.
    ///
    /// # Errors
    /// DV410 where the old journal cannot be read, or the state directory cannot be written.
    pub fn restart(&self, now: Time, reason: &str, carry: impl FnOnce(Vec<Entry>) -> Vec<Event>) -> Result<PathBuf> {
        self.host.make_directory(&self.directory)?;
        let _lock = self.lock()?;
        let path = self.path();
        let mut sound = 0;
        if let Some(file) = self.open()? {
            sound = scan_file(file, &path, |_, _, _| Ok(()))?.head.map_or(0, |head| head.number);
        }
        let mut entries = Vec::new();
        Self::each_readable(&path, |entry, _| entries.push(entry))?;
        let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
        let id = id.to_string();
        let aside = self.directory.join(format!("set-aside-{sound:010}-{}.jsonl", &id[..8]));
        let data = serde_json::json!({"reason": bounded(reason), "set_aside": shown_path(&aside)});
        let mut events = vec![Event::new(BEGUN_ACT, data)];
        events.extend(carry(entries));
        let lines = self.lines(events, None, now)?;
        let head = lines.head_file(0).map(|head| head.encode()).unwrap_or_default();
        let draft = replace::draft_path(&path);
        let changes = [
            Change { path: path.clone(), aside: aside.clone(), draft: draft.clone(), bytes: &lines.bytes },
            Change {
                path: self.head_path(),
                aside: aside.with_extension("head"),
                draft: draft.with_extension("head"),
                bytes: &head,
            },
        ];
        let prepared =
            changes.iter().try_for_each(Change::prepare).and_then(|()| fsys::sync_directory(&self.directory));
        if let Err(error) = prepared {
            changes.iter().for_each(Change::undo);
            return Err(unwritable(&path, &error).into());
        }
        let made = changes.iter().try_for_each(Change::make).and_then(|()| fsys::sync_directory(&self.directory));
        made.map_err(|error| {
            unwritable(&path, &error).written("the old journal is set aside; begin it anew once more")
        })?;
        Ok(aside)
    }

    /// Makes lines of events, the first of which continues `head`.
    fn lines(&self, events: Vec<Event>, head: Option<Head>, now: Time) -> Result<Lines> {
        let host = self.host.known_identity().ok().flatten().map(|host| host.id);
        let mut lines = Lines { bytes: Vec::new(), head, last: 0 };
        for event in events {
            let line = line(event, lines.head, now, host);
            if line.len() as u64 > limits::JOURNAL_LINE_BYTES_MAX {
                let error = io::Error::new(io::ErrorKind::InvalidInput, "an entry is too long");
                return Err(unwritable(&self.path(), &error).into());
            }
            let number = lines.head.map_or(0, |head| head.number) + 1;
            lines.head = Some(Head { digest: Digest::of(&line), number });
            lines.last = line.len() as u64;
            lines.bytes.extend_from_slice(&line);
        }
        Ok(lines)
    }

    fn lock(&self) -> Result<File> {
        let path = self.directory.join("lock");
        replace::lock(&path).map_err(|error| unwritable(&path, &error).into())
    }

    /// Opens the entries for reading; nothing where there are none.
    fn open(&self) -> Result<Option<File>> {
        let path = self.path();
        match fsys::open_plain(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if missing(&error) => self.require_place().map(|()| None),
            Err(error) => Err(unreadable(&path, &error).into()),
        }
    }

    /// Refuses where something else lies in the place of the directory: a system may say of what lies below it that it is
    /// not there, and that is not known.
    fn require_place(&self) -> Result<()> {
        for directory in self.directory.ancestors().take(2) {
            let there = std::fs::symlink_metadata(directory).is_ok();
            if there && !std::fs::metadata(directory).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(unreadable(directory, &io::ErrorKind::NotADirectory.into()).into());
            }
        }
        Ok(())
    }

    fn open_to_append(&self) -> io::Result<File> {
        let path = self.path();
        match File::options().read(true).write(true).open(&path) {
            Ok(file) if file.metadata()?.is_file() => Ok(file),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = fsys::new_private(&path)?;
                fsys::sync_directory(&self.directory)?;
                Ok(file)
            }
            Err(error) => Err(error),
        }
    }

    fn read_head(&self) -> Result<Option<HeadFile>> {
        let path = self.head_path();
        let bytes = match replace::read(&path, limits::CONFIG_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if missing(&error) => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error).into()),
        };
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        match json::decode(line) {
            Ok(head) => Ok(Some(head)),
            Err(error) => Err(broken(&path, &error.to_string()).into()),
        }
    }

    /// Refuses where entries were written and are not there.
    fn absent(&self) -> Result<()> {
        match self.read_head()? {
            None => Ok(()),
            Some(_) => Err(broken(&self.path(), "it is gone: its head file is there, its entries are not").into()),
        }
    }

    /// Reads what follows the entry that the head file names, and checks that entry itself.
    fn end(&self, file: &mut File) -> Result<Scan> {
        let path = self.path();
        let failed = |error: io::Error| Error::from(unreadable(&path, &error));
        let length = file.metadata().map_err(failed)?.len();
        let Some(known) = self.read_head()? else {
            // The first append may have ended before its head was written; all else is checked by `scan`.
            let mut scan = Scan::default();
            if length > 0 {
                file.seek(SeekFrom::Start(0)).map_err(failed)?;
                scan = self.scan(|_, _| Ok(()))?;
            }
            return match scan.broken {
                Some(reason) => Err(broken(&path, &reason).into()),
                None => Ok(scan),
            };
        };
        let Some(start) = known.end.checked_sub(known.line).filter(|_| known.end <= length) else {
            return Err(broken(&path, &format!("it is cut: entry {} is not there", known.number)).into());
        };
        if known.line > limits::JOURNAL_LINE_BYTES_MAX {
            return Err(broken(&path, "its head file contradicts the bounds of an entry").into());
        }
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut line = vec![0; usize::try_from(known.line).map_err(|error| failed(io::Error::other(error)))?];
        file.read_exact(&mut line).map_err(failed)?;
        if Digest::of(&line) != known.digest {
            return Err(broken(&path, &format!("entry {} is not the one that was written", known.number)).into());
        }
        let last: Entry = json::decode(line.strip_suffix(b"\n").unwrap_or(&line))
            .map_err(|error| broken(&path, &error.to_string()))?;
        let begin = Begin {
            offset: known.end,
            line: known.line,
            head: Some(Head { digest: known.digest, number: known.number }),
            time: Some(last.time),
        };
        let scan = scan_lines(&mut BufReader::new(file), begin, |_, _, _| Ok(())).map_err(failed)??;
        match scan.broken {
            Some(reason) => Err(broken(&path, &reason).into()),
            None => Ok(scan),
        }
    }
}

/// The act of the entry with which a journal begins that replaced a broken one.
pub const BEGUN_ACT: &str = "journal begun anew";
/// How many entries the first append may write before there is a head file.
const FIRST_ENTRIES_MAX: u64 = 4;

fn line(event: Event, head: Option<Head>, now: Time, host: Option<Id>) -> Vec<u8> {
    let entry = Entry {
        act: event.act.to_owned(),
        data: event.data,
        host,
        number: head.map_or(0, |head| head.number) + 1,
        place: event.place,
        previous: head.map_or(ORIGIN, |head| head.digest),
        program: PROGRAM.to_owned(),
        time: now,
        vault: event.vault,
    };
    let mut line = json::encode(&entry);
    line.push(b'\n');
    line
}

/// Says what a crash left behind the last line feed; it is overwritten by the entry that records it.
fn torn(file: &mut File, scan: &Scan) -> io::Result<Event> {
    file.seek(SeekFrom::Start(scan.end))?;
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file.take(limits::JOURNAL_LINE_BYTES_MAX), &mut hasher)?;
    let data = serde_json::json!({
        "bytes": scan.torn_bytes,
        "digest": Digest(*hasher.finalize().as_bytes()).to_string(),
    });
    Ok(Event::new("torn line dropped", data))
}

/// Where a scan begins, and what stands before.
#[derive(Default)]
struct Begin {
    offset: u64,
    line: u64,
    head: Option<Head>,
    time: Option<Time>,
}

fn scan_file(file: File, path: &Path, visit: impl FnMut(Entry, Head, u64) -> Result<()>) -> Result<Scan> {
    scan_lines(&mut BufReader::new(file), Begin::default(), visit).map_err(|error| unreadable(path, &error))?
}

/// Reads lines to the end, or to the first that does not continue the one before.
fn scan_lines(
    input: &mut impl BufRead,
    begin: Begin,
    mut visit: impl FnMut(Entry, Head, u64) -> Result<()>,
) -> io::Result<Result<Scan>> {
    let mut scan =
        Scan { head: begin.head, time: begin.time, end: begin.offset, last_line_bytes: begin.line, ..Scan::default() };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(limits::JOURNAL_LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(Ok(scan));
        }
        let number = scan.head.map_or(0, |head| head.number) + 1;
        let Some(text) = line.strip_suffix(b"\n") else {
            if read > limits::JOURNAL_LINE_BYTES_MAX {
                scan.broken = Some(format!("line {number} is longer than an entry can be"));
            } else {
                scan.torn_bytes = read;
            }
            return Ok(Ok(scan));
        };
        let entry: Entry = match json::decode(text) {
            Ok(entry) => entry,
            Err(error) => {
                scan.broken = Some(format!("line {number} is no entry: {error}"));
                return Ok(Ok(scan));
            }
        };
        if entry.number != number || entry.previous != scan.head.map_or(ORIGIN, |head| head.digest) {
            scan.broken =
                Some(format!("line {number} does not continue the line before: it is edited, missing or out of order"));
            return Ok(Ok(scan));
        }
        let head = Head { digest: Digest::of(&line), number };
        scan.head = Some(head);
        scan.time = scan.time.max(Some(entry.time));
        scan.end += read;
        scan.last_line_bytes = read;
        if let Err(error) = visit(entry, head, read) {
            return Ok(Err(error));
        }
    }
}

fn missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn broken(path: &Path, reason: &str) -> Refusal {
    Refusal::new(Code::JournalBroken, format!("the journal {} cannot be trusted", shown_path(path))).cause(reason)
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(Code::StateUnwritable, format!("{} cannot be read", shown_path(path))).cause(error)
}

fn unwritable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(Code::StateUnwritable, format!("{} cannot be written", shown_path(path))).cause(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn journal() -> (tempfile::TempDir, Journal) {
        let root = tempfile::tempdir().expect("a directory");
        let host = Host::new(root.path().join("config"), root.path().join("state"), root.path().join("data"));
        let journal = Journal::of(&host);
        (root, journal)
    }

    fn event(text: &str) -> Event {
        Event::new("test", serde_json::json!({ "text": text }))
    }

    fn fill(journal: &Journal, count: usize) {
        for number in 0..count {
            journal.append(Time { seconds: number as i64, nanos: 0 }, event(&number.to_string())).expect("writable");
        }
    }

    fn lines(journal: &Journal) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(journal.path()).expect("readable");
        bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn code<T: std::fmt::Debug>(result: Result<T>) -> Option<Code> {
        result.expect_err("refused").code()
    }

    #[test]
    fn an_entry_is_at_its_place_however_long_the_path_is() {
        let (_root, journal) = journal();
        let letters = |count: usize| "x".repeat(limits::JOURNAL_TEXT_BYTES_MAX - count);
        for place in ["/vault".to_owned(), letters(0) + "/vault", letters(3) + "\u{1f512}/vault"] {
            journal.append(Time::default(), event("").of(None, &place)).expect("writable");
            let entry = journal.entries().expect("readable").pop().expect("appended");
            let written = entry.place.clone().expect("written");
            assert!(entry.is_at(&place) && entry.is_at(&written), "{written}");
            assert!(!entry.is_at("/vaul") && !entry.is_at(""));
        }
    }

    #[test]
    fn a_journal_that_cannot_be_opened_is_not_one_that_is_absent() {
        let (_root, journal) = journal();
        fill(&journal, 1);
        let path = journal.path();
        std::fs::rename(&path, path.with_extension("away")).expect("writable");
        std::fs::create_dir(&path).expect("writable");
        assert_eq!(code(journal.entries()), Some(Code::StateUnwritable));
        assert_eq!(code(journal.head()), Some(Code::StateUnwritable));
    }

    #[test]
    fn entries_come_back_in_order_and_the_head_is_the_last() {
        let (_root, journal) = journal();
        assert_eq!(journal.head().expect("empty"), None);
        assert_eq!(journal.entries().expect("empty"), []);
        fill(&journal, 5);
        let entries = journal.entries().expect("sound");
        assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(entries[3].text("text"), "3");
        let head = journal.head().expect("sound").expect("there");
        assert_eq!((head.number, head.digest), (5, Digest::of(&lines(&journal)[4])));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (_root, journal) = journal();
        fill(&journal, 4);
        let bytes = std::fs::read(journal.path()).expect("readable");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(journal.path(), changed).expect("writable");
            assert_eq!(code(journal.entries()), Some(Code::JournalBroken), "byte {at}");
        }
    }

    #[test]
    fn a_line_that_is_missing_doubled_or_moved_is_noticed() {
        let (_root, journal) = journal();
        fill(&journal, 5);
        let whole = lines(&journal);
        for order in [&[0usize, 1, 2, 3][..], &[1, 2, 3, 4], &[0, 2, 3, 4], &[0, 1, 1, 2, 3, 4], &[0, 2, 1, 3, 4], &[]]
        {
            let bytes: Vec<u8> = order.iter().flat_map(|&at| whole[at].clone()).collect();
            std::fs::write(journal.path(), bytes).expect("writable");
            assert_eq!(code(journal.entries()), Some(Code::JournalBroken), "{order:?}");
        }
        std::fs::remove_file(journal.path()).expect("there");
        assert_eq!(code(journal.entries()), Some(Code::JournalBroken));
        assert_eq!(code(journal.head()), Some(Code::JournalBroken));
        assert_eq!(code(journal.append(Time::default(), event("x"))), Some(Code::JournalBroken));
        assert!(!journal.path().exists() || std::fs::read(journal.path()).expect("readable").is_empty());
    }

    #[test]
    fn nothing_is_appended_behind_an_end_that_was_not_written() {
        let (_root, journal) = journal();
        fill(&journal, 3);
        let whole = lines(&journal);
        for bytes in [whole[..2].concat(), [whole.concat(), whole[2].clone()].concat()] {
            std::fs::write(journal.path(), &bytes).expect("writable");
            assert_eq!(code(journal.append(Time::default(), event("x"))), Some(Code::JournalBroken));
            assert_eq!(std::fs::read(journal.path()).expect("readable"), bytes);
        }
    }

    #[test]
    fn a_torn_last_line_is_no_entry_and_no_tampering_and_the_next_entry_says_so() {
        let (_root, journal) = journal();
        fill(&journal, 2);
        let whole = lines(&journal).concat();
        for cut in [1, 7, 40] {
            std::fs::write(journal.path(), [&whole[..], &whole[..cut]].concat()).expect("writable");
            assert_eq!(journal.entries().expect("sound").len(), 2);
            assert_eq!(journal.scan(|_, _| Ok(())).expect("readable").torn_bytes, cut as u64);
        }
        journal.append(Time::default(), event("next")).expect("writable");
        let entries = journal.entries().expect("sound");
        assert_eq!(entries.iter().map(|entry| &entry.act[..]).collect::<Vec<_>>()[2..], ["torn line dropped", "test"]);
        assert_eq!(entries[2].data["bytes"], 40);
    }

    #[test]
    fn an_entry_whose_head_was_not_written_yet_counts() {
        let (_root, journal) = journal();
        fill(&journal, 2);
        let head = std::fs::read(journal.head_path()).expect("there");
        fill(&journal, 1);
        std::fs::write(journal.head_path(), head).expect("writable");
        assert_eq!(journal.entries().expect("sound").len(), 3);
        assert_eq!(journal.head().expect("sound").expect("there").number, 3);
        fill(&journal, 1);
        assert_eq!(journal.entries().expect("sound").len(), 4);
    }

    #[test]
    fn a_missing_head_file_is_noticed_once_the_journal_has_grown() {
        let (_root, journal) = journal();
        fill(&journal, 2);
        std::fs::remove_file(journal.head_path()).expect("there");
        assert_eq!(journal.entries().expect("as after a crash").len(), 2);
        fill(&journal, 4);
        std::fs::remove_file(journal.head_path()).expect("there");
        assert_eq!(code(journal.entries()), Some(Code::JournalBroken));
        assert_eq!(code(journal.append(Time::default(), event("x"))), Some(Code::JournalBroken));
    }

    #[test]
    fn concurrent_writers_take_turns() {
        let (_root, journal) = journal();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| fill(&journal, 10));
            }
        });
        assert_eq!(journal.entries().expect("sound").len(), 40);
    }

    #[test]
    fn an_entry_that_is_too_long_is_refused_and_changes_nothing() {
        let (_root, journal) = journal();
        fill(&journal, 1);
        let long = "x".repeat(limits::JOURNAL_LINE_BYTES_MAX as usize);
        assert_eq!(code(journal.append(Time::default(), event(&long))), Some(Code::StateUnwritable));
        journal.append(Time::default(), event(&bounded(&long))).expect("bounded");
        assert_eq!(journal.entries().expect("sound").len(), 2);
        let line = vec![b' '; limits::JOURNAL_LINE_BYTES_MAX as usize + 2];
        std::fs::write(journal.path(), [lines(&journal).concat(), line].concat()).expect("writable");
        assert_eq!(code(journal.entries()), Some(Code::JournalBroken));
    }

    #[test]
    fn an_append_does_not_wait_for_ever_for_another() {
        let (_root, journal) = journal();
        fill(&journal, 1);
        let held = journal.lock().expect("free");
        let file = replace::open_lock(&journal.directory.join("lock")).expect("there");
        let error = replace::wait_for(&file, Duration::from_millis(50)).expect_err("held");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        replace::wait_for(&file, Duration::from_millis(50)).expect("free");
    }

    #[test]
    fn a_head_file_that_cannot_be_read_does_not_keep_a_new_journal_from_beginning() {
        let (_root, journal) = journal();
        fill(&journal, 3);
        let whole = std::fs::read(journal.path()).expect("readable");
        std::fs::write(journal.head_path(), "garbage").expect("writable");
        assert_eq!(code(journal.append(Time::default(), event("x"))), Some(Code::JournalBroken));
        let aside = journal.restart(Time::default(), "its head is garbage", |_| Vec::new()).expect("writable");
        assert_eq!(std::fs::read(aside).expect("kept"), whole);
        assert_eq!(journal.entries().expect("sound").len(), 1);
    }

    #[test]
    fn lines_behind_the_one_that_broke_a_journal_can_still_be_read() {
        let (_root, journal) = journal();
        fill(&journal, 4);
        let mut whole = lines(&journal);
        whole[1] = b"garbage\n".to_vec();
        std::fs::write(journal.path(), whole.concat()).expect("writable");
        let mut found = Vec::new();
        Journal::each_readable(&journal.path(), |entry, head| found.push((entry.number, head.digest))).expect("there");
        let expected: Vec<_> = [0, 2, 3].iter().map(|&at| (at as u64 + 1, Digest::of(&whole[at]))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_new_beginning_that_was_interrupted_is_begun_once_more_and_loses_nothing() {
        let (_root, journal) = journal();
        fill(&journal, 8);
        std::fs::write(journal.path(), lines(&journal)[..7].concat()).expect("writable");
        let head = std::fs::read(journal.head_path()).expect("there");
        let carried = |_| (0..6).map(|_| event("carried")).collect();
        journal.restart(Time::default(), "found cut", carried).expect("writable");
        // The new entries were in place, their head file was not, or none had been there.
        for head in [Some(head), None] {
            match head {
                Some(head) => std::fs::write(journal.head_path(), head).expect("writable"),
                None => std::fs::remove_file(journal.head_path()).expect("there"),
            }
            assert_eq!(code(journal.append(Time::default(), event("x"))), Some(Code::JournalBroken));
            let again = |entries: Vec<Entry>| {
                assert_eq!(entries.iter().filter(|entry| entry.text("text") == "carried").count(), 6);
                (0..6).map(|_| event("carried")).collect()
            };
            journal.restart(Time::default(), "interrupted", again).expect("writable");
            assert_eq!(journal.entries().expect("sound").len(), 7);
        }
    }

    #[test]
    fn a_broken_journal_is_set_aside_complete_and_a_new_one_says_why() {
        let (_root, journal) = journal();
        fill(&journal, 3);
        let whole = lines(&journal);
        let cut = whole[..2].concat();
        std::fs::write(journal.path(), &cut).expect("writable");
        let aside = journal.restart(Time::default(), "found cut", |_| vec![event("carried")]).expect("writable");
        assert_eq!(std::fs::read(&aside).expect("kept"), cut);
        assert!(aside.with_extension("head").exists());
        assert_eq!(journal.set_aside().expect("listed"), [aside]);
        let entries = journal.entries().expect("sound");
        assert_eq!(entries.len(), 2);
        assert_eq!((&entries[0].act[..], entries[0].text("reason")), ("journal begun anew", "found cut"));
    }
}
