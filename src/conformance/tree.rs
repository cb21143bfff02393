//! A difficult tree on the disk, of names that every platform takes: backed up, verified, restored, compared.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::literal::noise;
use super::scratch::Scratch;
use super::{Cases, examine};
use crate::error::{Error, Result};
use crate::format::config::Parameters;
use crate::fsys::{Dir, ObjectKind};
use crate::ops::restore::Class;
use crate::ops::select::{Place, Selector};
use crate::ops::{backup, diff, init, ls, restore, verify};
use crate::path::EntryPath;
use crate::progress::Silent;
use crate::vault::gate::Access;

/// The shortest, average and longest chunk of the vault, in bytes: contents lie around these.
const SIZES: [usize; 3] = [1 << 8, 1 << 10, 1 << 12];
/// How deep the tree is: its longest path is far longer than the 260 units that calls of Windows take, and shorter than the
/// 4,096 bytes beyond which some drivers in user space, and Wine, find nothing any more.
const DEPTH: usize = 12;
const DEEP: &[u8] = &[b'd'; 180];
/// How many names one directory holds.
const MANY: u32 = 300;

/// Takes the tree through every act.
pub(super) fn run(scratch: &Scratch, cases: &mut Cases) {
    let mut insert = |name: &str, said: String| drop(cases.insert(format!("tree/{name}"), said));
    let access = match prepare(scratch) {
        Ok(access) => access,
        Err(error) => return insert("written", format!("failed: {error}")),
    };
    let source = scratch.place().join("tree");
    let taken = backup::run(&access, &source, &backup::Options::default(), &Silent);
    let counted = |report: backup::Report| {
        format!(
            "{} files, {} directories, {} bytes",
            report.counts.files, report.counts.directories, report.counts.bytes
        )
    };
    insert("backup", said(taken, counted));
    insert("listing", listing(&access));
    let verified = verify::run(&access, &[], verify::Level::Full, &Silent);
    insert("verify", said(verified, |report| format!("{}, exit {}", report.verdict.name(), report.exit())));

    let destination = scratch.place().join("restored");
    let options = restore::Options { without: metadata(), ..restore::Options::default() };
    let restored = restore::run(&access, &whole(), &destination, &options, &Silent);
    insert("restore", said(restored, |report| format!("verified {}, {} files", report.verified, report.counts.files)));
    insert("restored", picture(&destination).unwrap_or_else(|error| format!("failed: {error}")));
    let same = restore::run(&access, &whole(), &destination, &options, &Silent);
    insert("restore onto what is there", said(same, |_| "done".into()));
    let right = diff::Side::Directory(destination);
    let chosen = diff::Options { content_only: true, ..diff::Options::default() };
    let mut differences = 0u64;
    let compared = diff::run(&access, &whole(), &right, chosen, &Silent, &mut |_| {
        differences += 1;
        Ok(())
    });
    insert("diff", compared.map_or_else(|error| examine::refused(&error), |_| format!("{differences} differences")));
}

fn said<T>(result: Result<T>, say: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|error| examine::refused(&error), say)
}

/// What a place may lack without a difference in what is agreed; the description of the place tells of it.
fn metadata() -> Vec<Class> {
    Class::ALL.to_vec()
}

fn whole() -> Place {
    Place { snapshot: Selector::Number(1), path: EntryPath::root() }
}

/// Writes the tree, and makes a vault.
fn prepare(scratch: &Scratch) -> Result<Access> {
    let failed = |error| Error::environment("write the tree", error);
    let tree = scratch.directory("tree").map_err(failed)?;
    Dir::open(&tree).and_then(|root| write(&root)).map_err(failed)?;
    let access = scratch.access("tree", &scratch.place().join("tree-vault"), None).map_err(failed)?;
    let [min, avg, max] = SIZES.map(|size| size as u32);
    let parameters = Parameters {
        block_bytes: 1 << 12,
        chunk_bytes_avg: avg,
        chunk_bytes_max: max,
        chunk_bytes_min: min,
        pack_bytes: 1 << 14,
        segment_entries: 4,
        segment_list: 4,
    };
    init::run(&access, parameters)?;
    Ok(access)
}

fn write(root: &Dir) -> io::Result<()> {
    let file = |dir: &Dir, name: &str, content: &[u8]| dir.create_file(name.as_bytes())?.write_all(content);
    for size in SIZES.into_iter().flat_map(|size| [size - 1, size, size + 1]) {
        file(root, &format!("noise {size}"), &noise(size, size as u64))?;
    }
    file(root, "empty", b"")?;
    file(root, "one", b"1")?;
    file(root, "text", &b"the same line again and again\n".repeat(10_000))?;
    for name in
        ["-rf", "#hash", "$dollar", "%41", "'quote", "(paren)", "[brackets]", "{braces}", "~tilde", "a;b&c", ".hidden"]
    {
        file(root, name, name.as_bytes())?;
    }
    file(root, &"l".repeat(200), b"long\n")?;
    root.create_dir(b"vacant")?;
    root.create_dir(b"many")?;
    let many = root.open_dir(b"many")?;
    for number in 0..MANY {
        file(&many, &format!("{number}"), &number.to_be_bytes())?;
    }
    root.create_dir(b"deep")?;
    let mut deep = root.open_dir(b"deep")?;
    for _ in 0..DEPTH {
        deep.create_dir(DEEP)?;
        deep = deep.open_dir(DEEP)?;
    }
    file(&deep, "bottom", b"deep\n")
}

/// Says what the snapshot lists, but for metadata.
fn listing(access: &Access) -> String {
    let mut lines = String::new();
    let listed = ls::run(access, &whole(), &Silent, |entry| {
        let size = entry.file().map_or(0, |file| file.size);
        let _ = writeln!(lines, "{} {} {size}", entry.path, entry.kind.name());
        Ok(())
    });
    said(listed, |report| format!("{} entries, {}", report.entries, blake3::hash(lines.as_bytes()).to_hex()))
}

/// Says what a directory holds: names, kinds and contents.
fn picture(root: &std::path::Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut count = 0u64;
    look(&Dir::open(root)?, &mut hasher, &mut count, DEPTH + 4)?;
    Ok(format!("{count} objects, {}", hasher.finalize().to_hex()))
}

fn look(dir: &Dir, hasher: &mut blake3::Hasher, count: &mut u64, depth: usize) -> io::Result<()> {
    let mut names = dir.names()?;
    names.sort();
    for name in names {
        *count += 1;
        let stat = dir.stat_at(&name)?;
        hasher.update(&(name.len() as u64).to_be_bytes()).update(&name).update(stat.kind.name().as_bytes());
        if stat.kind == ObjectKind::File {
            hasher.update(&stat.size.to_be_bytes()).update_reader(dir.open_file(&name)?)?;
        } else if stat.kind == ObjectKind::Directory && depth > 0 {
            look(&dir.open_dir(&name)?, hasher, count, depth - 1)?;
            hasher.update(b"end");
        }
    }
    Ok(())
}
