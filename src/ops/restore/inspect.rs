//! Holding every entry against what the target can hold, before the first byte is restored.
//!
//! What would be lost or merged refuses, with the complete list. What is merely coarser, and what a normal user cannot
//! give, is counted and reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::class::Class;
use super::keep::{Keep, value};
use super::names::NameProbe;
use super::probe::{Answers, Probe};
use super::target::unfit_name;
use super::{Options, Shortfall};
use crate::crypto::Digest;
use crate::error::{Result, refuse, shown_path};
use crate::format::attribute::Attribute;
use crate::format::entry::{Chunks, Entry, Kind, Owner};
use crate::format::json;
use crate::format::record::Counts;
use crate::fsys;
use crate::path::EntryPath;
use crate::refusal::{Code, Refusal};
use crate::vault::read::Reader;

/// What a restore is going to do, and what it is not.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) keep: Arc<Keep>,
    pub(super) counts: Counts,
    pub(super) not_restored: Vec<Shortfall>,
    pub(super) coarser: Vec<Shortfall>,
    /// The number of the user to whom the target gives what this process makes.
    pub(super) maker: Option<u32>,
}

/// Something that the target cannot hold: of which class, if it can be given up.
struct Loss {
    path: EntryPath,
    class: Option<Class>,
    reason: String,
}

/// Looks at entries in path order.
pub(super) struct Inspector<'a> {
    probe: &'a Probe<'a>,
    names: NameProbe<'a>,
    reader: &'a Reader,
    numeric_owner: bool,
    keep: Keep,
    holes_kept: bool,
    // Why files cannot be written piece by piece, if they cannot.
    pieces_refused: Option<String>,
    counts: Counts,
    bytes: u64,
    losses: Vec<Loss>,
    dropped: BTreeMap<Class, u64>,
    owners_left: u64,
    set_ids_left: u64,
    capabilities_left: u64,
    times_coarser: u64,
    holes_filled: u64,
    kinds: Answers<&'static str>,
    // Owners of whom it is not known who they are here.
    unknown: HashMap<Owner, String>,
    modes: Answers<(bool, u32)>,
    attributes: Answers<(&'static str, Digest)>,
    flags: Answers<u32>,
    sizes: Answers<u64>,
    names_unfit: Vec<(EntryPath, String)>,
}

/// What is asked of second names, beside the kinds of objects.
const FURTHER_NAME: &str = "further name";
/// Longest target of a link that every target takes that takes links at all, in bytes.
const ORDINARY_TARGET_BYTES: usize = 200;
/// Longest file that every target takes, in bytes.
const ORDINARY_FILE_BYTES: u64 = i32::MAX as u64;

impl Plan {
    /// Adds what the comparison found: files whose holes the target filled all the same.
    pub(super) fn note_filled(&mut self, files: u64) {
        if files > 0 && self.coarser.iter().all(|shortfall| shortfall.class != "sparse") {
            let reason = "the target filled holes; they take room there".into();
            self.coarser.push(Shortfall { class: "sparse", count: files, reason });
        }
    }
}

impl<'a> Inspector<'a> {
    pub(super) fn new(probe: &'a Probe<'a>, reader: &'a Reader, options: &Options) -> Self {
        let without: BTreeSet<Class> = options.without.iter().copied().collect();
        let mut kinds = Answers::default();
        let ids_decide = kinds.ask(FURTHER_NAME, || probe.cannot_link()).is_none();
        let keep = Keep { without, ambient: probe.ambient(), ids_decide, ..Keep::default() };
        let holes = probe.keeps_holes();
        Self {
            probe,
            names: NameProbe::new(probe),
            reader,
            numeric_owner: options.numeric_owner,
            // A target without any times is found with the first entry that has one.
            keep: Keep { time_step: probe.time_step().unwrap_or(0), ..keep },
            holes_kept: *holes.as_ref().unwrap_or(&false),
            pieces_refused: holes.err().map(|error| error.to_string()),
            counts: Counts::default(),
            bytes: 0,
            losses: Vec::new(),
            dropped: BTreeMap::new(),
            owners_left: 0,
            set_ids_left: 0,
            capabilities_left: 0,
            times_coarser: 0,
            holes_filled: 0,
            kinds,
            unknown: HashMap::new(),
            modes: Answers::default(),
            attributes: Answers::default(),
            flags: Answers::default(),
            sizes: Answers::default(),
            names_unfit: Vec::new(),
        }
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<()> {
        if let Some(class) = Class::of_kind(&entry.kind)
            && !self.wants(class)
        {
            return Ok(());
        }
        let is_further_name = entry.hardlink.is_some();
        self.counts.add(entry);
        self.look_at_name(entry)?;
        self.look_at_kind(entry);
        if is_further_name {
            self.look_at_link(entry);
        }
        self.look_at_content(entry, is_further_name);
        self.look_at_owner(entry);
        self.look_at_mode(entry);
        self.look_at_times(entry);
        self.look_at_attributes(entry)?;
        self.look_at_flags(entry);
        Ok(())
    }

    fn lose(&mut self, entry: &Entry, class: impl Into<Option<Class>>, reason: impl Into<String>) {
        self.losses.push(Loss { path: entry.path.clone(), class: class.into(), reason: reason.into() });
    }

    /// Counts what an entry has of a class that was given up; returns whether the class is kept.
    fn wants(&mut self, class: Class) -> bool {
        let keeps = self.keep.keeps(class);
        if !keeps {
            *self.dropped.entry(class).or_default() += 1;
        }
        keeps
    }

    fn look_at_name(&mut self, entry: &Entry) -> Result<()> {
        if entry.path.is_root() {
            return Ok(());
        }
        if let Some(reason) = unfit_name(entry.path.name()) {
            self.lose(entry, None, reason);
            return Ok(());
        }
        self.names.take(&entry.path, &mut self.names_unfit).map_err(Probe::untried)
    }

    fn look_at_kind(&mut self, entry: &Entry) {
        let Some(class) = Class::of_kind(&entry.kind) else { return };
        let probe = self.probe;
        let long = entry.kind.target().is_some_and(|target| target.len() > ORDINARY_TARGET_BYTES);
        // A system may take a device and cut its numbers.
        let numbered = matches!(entry.kind, Kind::Block(..) | Kind::Character(..));
        let reason = if long || numbered {
            probe.cannot_make(&entry.kind).map(|error| error.to_string())
        } else {
            self.kinds.ask(entry.kind.name(), || probe.cannot_make(&entry.kind))
        };
        if let Some(reason) = reason {
            self.lose(entry, class, format!("the target takes no such {}: {reason}", entry.kind.name()));
        }
    }

    fn look_at_link(&mut self, entry: &Entry) {
        if !self.wants(Class::Hardlink) {
            return;
        }
        let probe = self.probe;
        if let Some(reason) = self.kinds.ask(FURTHER_NAME, || probe.cannot_link()) {
            self.lose(entry, Class::Hardlink, format!("the target gives no object a second name: {reason}"));
        }
    }

    fn look_at_content(&mut self, entry: &Entry, is_further_name: bool) {
        let Some(file) = entry.file() else { return };
        if file.size > ORDINARY_FILE_BYTES {
            let probe = self.probe;
            let too_long = || (!probe.takes_size(file.size)).then(|| std::io::ErrorKind::FileTooLarge.into());
            if let Some(reason) = self.sizes.ask(file.size, too_long) {
                self.lose(entry, None, format!("{} bytes are more than a file can have there: {reason}", file.size));
            }
        }
        if let Some(reason) = self.pieces_refused.clone()
            && !matches!(&file.chunks, Chunks::Direct(chunks) if chunks.len() <= 1 && file.holes.is_none())
        {
            self.lose(entry, None, format!("the target makes no file longer than what is written to it: {reason}"));
        }
        let mut holes = self.holes_kept;
        if !file.holes.is_none() && !self.wants(Class::Sparse) {
            holes = false;
        } else if !file.holes.is_none() && !self.holes_kept {
            self.holes_filled += 1;
        }
        if !is_further_name || !self.keep.keeps(Class::Hardlink) {
            let bytes = if holes { file.data_bytes() } else { file.size };
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    fn look_at_owner(&mut self, entry: &Entry) {
        let Some(owner) = &entry.owner else { return };
        if !self.wants(Class::Owner) {
            return;
        }
        if !self.keep.owners.contains_key(owner) {
            let given = match self.number(owner) {
                Ok(numbers) => self.probe.cannot_give(numbers).is_none().then_some(numbers),
                Err(error) => {
                    self.unknown.insert(owner.clone(), error.to_string());
                    None
                }
            };
            self.keep.owners.insert(owner.clone(), given);
        }
        if self.keep.owner(entry).is_some() {
            return;
        }
        if let Some(reason) = self.unknown.get(owner).filter(|_| fsys::is_root()) {
            let who = [owner.user.as_deref(), owner.group.as_deref()].map(|name| name.unwrap_or("-")).join(":");
            let reason =
                format!("who {who} is on this machine cannot be looked up (--numeric-owner goes by numbers): {reason}");
            self.lose(entry, Class::Owner, reason);
        } else if fsys::is_root() {
            self.lose(entry, Class::Owner, format!("the target gives nothing to {}:{}", owner.uid, owner.gid));
        } else {
            self.owners_left += 1;
        }
    }

    /// Returns the numbers that an owner has on this system: by name where the name is known here.
    fn number(&self, owner: &Owner) -> std::io::Result<(u32, u32)> {
        if self.numeric_owner {
            return Ok((owner.uid, owner.gid));
        }
        owner.numbers_here(fsys::user_number, fsys::group_number)
    }

    fn look_at_mode(&mut self, entry: &Entry) {
        if entry.mode.is_some() && !self.wants(Class::Mode) {
            return;
        }
        self.set_ids_left += u64::from(self.keep.loses_set_id(entry));
        let (Some(mode), Some(_)) = (self.keep.mode(entry), entry.mode) else { return };
        let (probe, is_directory) = (self.probe, entry.is_directory());
        if let Some(reason) = self.modes.ask((is_directory, mode), || probe.cannot_set_mode(is_directory, mode)) {
            self.lose(entry, Class::Mode, format!("the target keeps no mode {mode:o}: {reason}"));
        }
    }

    fn look_at_times(&mut self, entry: &Entry) {
        let step = self.keep.time_step;
        if let Some(mtime) = entry.mtime
            && self.wants(Class::Time)
        {
            if step == 0 {
                self.lose(entry, Class::Time, "the target keeps no times");
            } else if let Some(reason) = self.probe.cannot_keep_time(mtime, step) {
                self.lose(entry, Class::Time, format!("the target keeps no time {}: {reason}", mtime.rfc3339()));
            } else if mtime.as_nanos().rem_euclid(step) != 0 {
                self.times_coarser += 1;
            }
        }
        if let Some(created) = entry.created
            && self.wants(Class::Created)
        {
            let probe = self.probe;
            if let Some(reason) = self.kinds.ask("time of creation", || probe.cannot_set_created(created)) {
                self.lose(entry, Class::Created, format!("the target keeps no time of creation: {reason}"));
            }
        }
    }

    fn look_at_attributes(&mut self, entry: &Entry) -> Result<()> {
        let mut wanted: Vec<&Attribute> = Vec::new();
        for xattr in &entry.xattrs {
            let class = Class::of_xattr(&xattr.name);
            if !self.wants(class) {
                continue;
            }
            // It gives rights to whoever runs the file, as set-id bits do.
            if class == Class::Capability && self.keep.owner(entry).is_none() {
                self.capabilities_left += 1;
            } else {
                wanted.push(xattr);
            }
        }
        let kind = entry.kind.name();
        for xattr in &wanted {
            // An access list says some of the mode too, and where they disagree only one of them can be had.
            let mode = self.keep.mode(entry).filter(|_| Class::of_xattr(&xattr.name) == Class::Acl);
            let question = (kind, Digest::of(&json::encode(&(*xattr, mode))));
            let (probe, bytes) = (self.probe, value(self.reader, entry, xattr)?);
            let ask = || probe.cannot_set_xattr(&entry.kind, &xattr.name, &bytes, mode);
            let answer = self.attributes.ask(question, ask);
            if let Some(reason) = answer {
                let shown = crate::path::shown(&xattr.name);
                self.lose(
                    entry,
                    Class::of_xattr(&xattr.name),
                    format!("the target keeps no such attribute {shown}: {reason}"),
                );
                return Ok(());
            }
        }
        if wanted.len() > 1 {
            let all: Vec<Vec<u8>> = wanted.iter().map(|xattr| json::encode(*xattr)).collect();
            let (probe, reader, question) = (self.probe, self.reader, (kind, Digest::of(&all.concat())));
            let names: Vec<&[u8]> = wanted.iter().map(|xattr| &xattr.name[..]).collect();
            // One value in memory at a time; each was read a moment ago.
            let load = |at: usize| value(reader, entry, wanted[at]).map_err(std::io::Error::other);
            if let Some(reason) = self.attributes.ask(question, || probe.cannot_set_all(&entry.kind, &names, load)) {
                self.lose(entry, Class::Xattr, format!("the target does not keep all its attributes: {reason}"));
            }
        }
        for stream in &entry.streams {
            if self.wants(Class::Stream) {
                let (probe, bytes) = (self.probe, value(self.reader, entry, stream)?);
                let question = ("stream", Digest::of(&json::encode(stream)));
                if let Some(reason) = self.attributes.ask(question, || probe.cannot_set_stream(&stream.name, &bytes)) {
                    self.lose(entry, Class::Stream, format!("the target keeps no streams: {reason}"));
                }
            }
        }
        Ok(())
    }

    fn look_at_flags(&mut self, entry: &Entry) {
        let (own, foreign) = entry.own_and_foreign_flags();
        if foreign.or(own).is_none() || !self.wants(Class::Flags) {
            return;
        }
        let probe = self.probe;
        let reason = match (foreign, own) {
            (Some(_), _) => Some("they belong to another system".into()),
            (None, Some(flags)) => self.flags.ask(flags, || probe.cannot_set_flags(flags)),
            (None, None) => None,
        };
        if let Some(reason) = reason {
            self.lose(entry, Class::Flags, format!("the target does not keep its flags: {reason}"));
        }
    }

    /// Refuses if anything would be lost, merged, or have no room; else says what is kept.
    pub(super) fn finish(mut self, target: &super::target::Target) -> Result<Plan> {
        let mut unfit = std::mem::take(&mut self.names_unfit);
        self.names.finish(&mut unfit).map_err(Probe::untried)?;
        self.losses.extend(unfit.into_iter().map(|(path, reason)| Loss { path, class: None, reason }));
        if !self.losses.is_empty() {
            return Err(refusal(self.losses).into());
        }
        let parent = shown_path(&target.parent_path);
        let available = fs2::available_space(&target.parent_path).unwrap_or(u64::MAX);
        // A file takes whole blocks, and a name takes room too.
        let needed = self.bytes.saturating_add(self.counts.entries().saturating_mul(4096));
        require_bytes(&parent, available, needed)?;
        let shared = if self.keep.keeps(Class::Hardlink) { self.counts.hardlinks } else { 0 };
        let objects = self.counts.entries().saturating_sub(shared);
        require_objects(&parent, target.parent.free_files(), objects)?;
        Ok(self.plan())
    }

    fn plan(self) -> Plan {
        let given_up = |(class, count): (&Class, &u64)| Shortfall {
            class: class.name(),
            count: *count,
            reason: format!("given up: --without {class}"),
        };
        let said = |class: &'static str, count: u64, reason: &str| Shortfall { class, count, reason: reason.into() };
        let mut not_restored: Vec<Shortfall> = self.dropped.iter().map(given_up).collect();
        let owner = "only the superuser gives files to other owners; these belong to who restored them";
        not_restored.push(said("owner", self.owners_left, owner));
        let set_id = "set-user-id and set-group-id bits are set only where owner and group are restored";
        not_restored.push(said("set-id", self.set_ids_left, set_id));
        let capability = "file capabilities are set only where owner and group are restored";
        not_restored.push(said("capability", self.capabilities_left, capability));
        let step = format!("the target keeps times in steps of {}", shown_step(self.keep.time_step));
        let holes = "the target keeps no holes or does not tell; they take room there";
        let mut coarser = vec![said("time", self.times_coarser, &step), said("sparse", self.holes_filled, holes)];
        not_restored.retain(|shortfall| shortfall.count > 0);
        coarser.retain(|shortfall| shortfall.count > 0);
        let keep = Keep { durability: self.probe.durability(&self.counts), ..self.keep };
        Plan { keep: Arc::new(keep), counts: self.counts, not_restored, coarser, maker: self.probe.maker() }
    }
}

fn require_bytes(parent: &str, available: u64, needed: u64) -> Result<()> {
    if available >= needed {
        return Ok(());
    }
    refuse(Code::DestinationSpace, format!("{parent} has {available} bytes free, about {needed} are needed"))
}

fn require_objects(parent: &str, free: Option<u64>, needed: u64) -> Result<()> {
    let Some(free) = free.filter(|&free| free < needed) else { return Ok(()) };
    let message = format!("{parent} has room for {free} more files and directories, {needed} are needed");
    refuse(Code::DestinationSpace, message)
}

fn shown_step(nanos: i128) -> String {
    match nanos {
        1_000_000_000.. => format!("{} s", nanos / 1_000_000_000),
        1_000_000.. => format!("{} ms", nanos / 1_000_000),
        1_000.. => format!("{} \u{b5}s", nanos / 1_000),
        _ => format!("{nanos} ns"),
    }
}

/// Names everything that the target cannot hold, and how each class could be given up.
fn refusal(losses: Vec<Loss>) -> Refusal {
    let classes: BTreeSet<Class> = losses.iter().filter_map(|loss| loss.class).collect();
    let by_class: Vec<String> = classes
        .iter()
        .map(|class| format!("{class} {}", losses.iter().filter(|loss| loss.class == Some(*class)).count()))
        .collect();
    let named = losses.iter().filter(|loss| loss.class.is_none()).count();
    let mut counted = by_class;
    if named > 0 {
        counted.push(format!("names and sizes {named}"));
    }
    let message = format!("the target cannot hold what the snapshot holds: {}", counted.join(", "));
    let mut refusal = Refusal::new(Code::TargetCannotRepresent, message);
    if named == 0 {
        let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
        let options = format!("--without {}", names.join(","));
        refusal.next = format!("{}; or give that up on purpose, which the report counts: `{options}`", refusal.next);
        refusal.options = Some(options);
    }
    let mut losses = losses;
    losses.sort_by(|a, b| (&a.path, a.class).cmp(&(&b.path, b.class)));
    for Loss { path, class, reason } in losses {
        let class = class.map_or_else(String::new, |class| format!("{class}: "));
        refusal.causes.push(format!("{path}: {class}{reason}"));
        if refusal.paths.last() != Some(&path) {
            refusal.paths.push(path);
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::super::keep::tests::attribute;
    use super::super::target::tests::place;
    use super::super::tree::tests::reader;
    use super::*;
    use crate::clock::Time;
    use crate::format::content::{ChunkRef, FileContent, Holes};
    use crate::format::holes::Hole;

    /// Inspects what `act` wants on an ordinary target; returns what is planned, or the causes of the refusal.
    fn inspect(without: &[Class], act: impl FnOnce(&mut Inspector<'_>)) -> std::result::Result<Plan, Vec<String>> {
        let (_root, target) = place();
        let (_vault, reader) = reader();
        let probe = Probe::new(&target).expect("writable");
        let options = Options { without: without.to_vec(), ..Options::default() };
        let mut inspector = Inspector::new(&probe, &reader, &options);
        act(&mut inspector);
        inspector.finish(&target).map_err(|error| {
            let crate::error::Error::Refused(refusal) = error else { panic!("{error}") };
            assert_eq!(refusal.code, Code::TargetCannotRepresent, "{refusal}");
            refusal.causes
        })
    }

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry::new(EntryPath::parse(path.as_bytes()).expect("valid"), kind)
    }

    /// A file of chunks of a hundred bytes each, and a hole before them.
    fn file(path: &str, chunks: u64, hole: u64) -> Entry {
        let holes = if hole == 0 { Vec::new() } else { vec![Hole(0, hole)] };
        let content = FileContent {
            size: chunks * 100 + hole,
            chunks: Chunks::Direct((0..chunks).map(|at| ChunkRef(Digest::of(&[at as u8]), 100)).collect()),
            holes: Holes::Direct(holes),
            ..FileContent::default()
        };
        entry(path, Kind::File(content))
    }

    fn no() -> Option<std::io::Error> {
        Some(std::io::Error::other("no"))
    }

    #[test]
    fn times_that_a_target_keeps_in_coarser_steps_are_counted_and_without_any_times_are_lost() {
        let young = |nanos| Entry { mtime: Some(Time { seconds: 1 << 30, nanos }), ..file("f", 1, 0) };
        let restore = |step: i128, without: &[Class]| {
            inspect(without, |inspector| {
                inspector.keep.time_step = step;
                for nanos in [0, 5, 7] {
                    inspector.look_at_times(&young(nanos));
                }
            })
        };
        let plan = restore(1_000_000_000, &[]).expect("kept but for the step");
        let reason = "the target keeps times in steps of 1 s".to_owned();
        assert_eq!(plan.coarser, [Shortfall { class: "time", count: 2, reason }]);
        assert_eq!(restore(1, &[]).expect("kept").coarser, []);
        assert_eq!(restore(0, &[]).expect_err("none is kept"), ["f: time: the target keeps no times"; 3]);
        let given_up = restore(0, &[Class::Time]).expect("given up").not_restored;
        assert_eq!((given_up.len(), given_up[0].class, given_up[0].count), (1, "time", 3));
    }

    #[test]
    fn the_step_of_times_is_told_in_the_unit_that_fits() {
        let told = [(1, "1 ns"), (999, "999 ns"), (1_000, "1 \u{b5}s"), (1_000_000, "1 ms"), (10_000_000, "10 ms")];
        for (step, text) in told.into_iter().chain([(1_000_000_000, "1 s"), (2_000_000_000, "2 s")]) {
            assert_eq!(shown_step(step), text);
        }
    }

    #[test]
    fn a_file_of_pieces_is_lost_where_files_grow_only_by_what_is_written() {
        let lost = inspect(&[], |inspector| {
            inspector.pieces_refused = Some("no".into());
            for (name, chunks, hole) in [("empty", 0, 0), ("one", 1, 0), ("two", 2, 0), ("holey", 1, 100)] {
                inspector.look_at_content(&file(name, chunks, hole), false);
            }
        });
        let reason = "the target makes no file longer than what is written to it: no";
        assert_eq!(lost.expect_err("two files"), [format!("holey: {reason}"), format!("two: {reason}")]);
        let size = 1 << 63;
        let long = entry("long", Kind::File(FileContent { size, ..FileContent::default() }));
        let lost = inspect(&[], |inspector| inspector.look_at_content(&long, false)).expect_err("too long");
        assert!(lost[0].starts_with(&format!("long: {size} bytes are more than a file can have there")), "{lost:?}");
    }

    #[test]
    fn holes_take_room_where_they_are_not_kept_and_further_names_take_none() {
        let room = |without: &[Class], holes_kept: bool, is_further_name: bool| {
            let mut told = (0, 0);
            let plan = inspect(without, |inspector| {
                inspector.holes_kept = holes_kept;
                inspector.look_at_content(&file("holey", 1, 1000), is_further_name);
                inspector.look_at_content(&file("plain", 2, 0), is_further_name);
                told = (inspector.bytes, inspector.holes_filled);
            });
            (told, plan.expect("restorable").not_restored.len())
        };
        assert_eq!(room(&[], true, false), ((300, 0), 0));
        assert_eq!(room(&[], false, false), ((1300, 1), 0));
        assert_eq!(room(&[Class::Sparse], true, false), ((1300, 0), 1), "given up: counted once, as that");
        assert_eq!(room(&[Class::Sparse], false, false), ((1300, 0), 1));
        assert_eq!(room(&[], true, true), ((0, 0), 0));
        assert_eq!(room(&[Class::Hardlink], true, true), ((300, 0), 0), "it becomes a file of its own");
    }

    #[test]
    fn what_a_target_cannot_make_is_lost_or_given_up() {
        let further = Entry { hardlink: Some(EntryPath::parse(b"f").expect("valid")), ..file("g", 1, 0) };
        let link = |without: &[Class]| {
            inspect(without, |inspector| {
                inspector.kinds = Answers::default();
                let _ = inspector.kinds.ask(FURTHER_NAME, no);
                inspector.look_at_link(&further);
            })
        };
        let lost = link(&[]).expect_err("lost");
        assert_eq!(lost, ["g: hardlink: the target gives no object a second name: no"]);
        assert_eq!(link(&[Class::Hardlink]).expect("given up").not_restored.len(), 1);
        // A long target is tried, whatever became of another link.
        let lost = inspect(&[], |inspector| {
            let _ = inspector.kinds.ask("symlink", || None);
            inspector.look_at_kind(&entry("short", Kind::Symlink(b"to".to_vec())));
            inspector.look_at_kind(&entry("long", Kind::Symlink(vec![b'x'; 1 << 16])));
        });
        let lost = lost.expect_err("a target of 64 KiB");
        assert!(lost.len() == 1 && lost[0].starts_with("long: symlink: the target takes no such symlink"), "{lost:?}");
    }

    #[test]
    fn several_attributes_are_tried_together_and_one_alone_is_not() {
        let (one, two) = (attribute(b"user.devvault.one", b"1"), attribute(b"user.devvault.two", b"2"));
        let look = |xattrs: Vec<Attribute>, together: fn() -> Option<std::io::Error>| {
            inspect(&[], |inspector| {
                let all: Vec<Vec<u8>> = xattrs.iter().map(json::encode).collect();
                let _ = inspector.attributes.ask(("file", Digest::of(&all.concat())), together);
                inspector.look_at_attributes(&Entry { xattrs, ..file("f", 1, 0) }).expect("readable");
            })
        };
        if look(vec![one.clone()], || None).is_err() {
            println!("skipped: no attributes here");
            return;
        }
        assert!(look(vec![one.clone()], no).is_ok(), "not asked");
        let lost = look(vec![one, two], no).expect_err("together they are too much");
        assert_eq!(lost, ["f: xattr: the target does not keep all its attributes: no"]);
    }

    // Linux alone: access lists.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_access_list_that_contradicts_the_mode_is_lost() {
        let list = crate::ops::restore::keep::tests::access_list(u32::MAX, [(1, 6), (2, 4), (4, 0), (16, 4), (32, 0)]);
        let list = attribute(b"system.posix_acl_access", &list);
        let look = |mode| {
            let entry = Entry { xattrs: vec![list.clone()], mode: Some(mode), ..file("f", 1, 0) };
            inspect(&[], |inspector| inspector.look_at_attributes(&entry).expect("readable"))
        };
        if look(0o640).is_err() {
            println!("skipped: no access lists here");
            return;
        }
        let lost = look(0o660).expect_err("the mode becomes another");
        assert!(lost[0].contains("beside it the mode 660 becomes 640"), "{lost:?}");
    }

    #[test]
    fn a_refusal_names_how_classes_are_given_up_unless_something_can_not_be() {
        let loss = |path: &str, class| Loss {
            path: EntryPath::parse(path.as_bytes()).expect("valid"),
            class,
            reason: "it is so".into(),
        };
        let classes =
            refusal(vec![loss("b", Some(Class::Time)), loss("a", Some(Class::Mode)), loss("a", Some(Class::Time))]);
        assert!(classes.message.ends_with(": mode 1, time 2"), "{classes}");
        assert!(classes.options.is_some() && classes.next.contains("--without "), "{classes}");
        let paths: Vec<String> = classes.paths.iter().map(ToString::to_string).collect();
        assert_eq!((paths, classes.causes.len()), (vec!["a".to_owned(), "b".to_owned()], 3));
        let named = refusal(vec![loss("a", None), loss("b", Some(Class::Time))]);
        assert!(named.message.ends_with(": time 1, names and sizes 1"), "{named}");
        assert!(named.options.is_none() && !named.next.contains("--without "), "{named}");
    }

    #[test]
    fn holes_that_the_target_filled_are_told_once() {
        let note = |before: &[&'static str], files| {
            let said = |class: &&'static str| Shortfall { class, count: 1, reason: String::new() };
            let mut plan = Plan { coarser: before.iter().map(said).collect(), ..Plan::default() };
            plan.note_filled(files);
            plan.coarser.iter().map(|shortfall| (shortfall.class, shortfall.count)).collect::<Vec<_>>()
        };
        assert_eq!(note(&["time"], 3), [("time", 1), ("sparse", 3)]);
        assert_eq!(note(&["sparse"], 3), [("sparse", 1)], "the target was known to fill them");
        assert_eq!(note(&[], 0), []);
    }

    #[test]
    fn room_is_asked_for_no_more_than_is_needed() {
        assert!(require_bytes("there", 100, 100).is_ok() && require_bytes("there", 99, 100).is_err());
        assert!(require_objects("there", Some(10), 10).is_ok() && require_objects("there", None, 10).is_ok());
        let refused = require_objects("there", Some(9), 10).expect_err("one too few");
        assert_eq!(refused.code(), Some(Code::DestinationSpace), "{refused}");
    }

    #[test]
    fn files_are_known_by_their_ids_where_a_second_name_can_be_made() {
        let (root, target) = place();
        std::fs::write(root.path().join("one"), "").expect("writable");
        let given = std::fs::hard_link(root.path().join("one"), root.path().join("two")).is_ok();
        let (_vault, reader) = reader();
        let probe = Probe::new(&target).expect("writable");
        let inspector = Inspector::new(&probe, &reader, &Options::default());
        assert_eq!(inspector.keep.ids_decide, given);
    }
}
