//! Reading one pack completely: what read-back, verify and a writer that relies on older packs all mean by intact.
//!
//! Invariant: nothing counts as intact before its bytes were read from the medium, as far as the system can be asked to
//! forget what it holds in memory, decoded, and hashed.

use std::collections::VecDeque;
use std::io;

use super::{Finding, layout};
use crate::crypto::{Digest, Macs};
use crate::format::entry::ChunkRef;
use crate::format::pack::{BlockInfo, Decoder, FOOTER_MAGIC, HEADER_BYTES, header};
use crate::pool::{Pool, Task};
use crate::refusal::Code;
use crate::store::Store;

/// What a complete read of a pack found.
#[derive(Debug, Default)]
pub struct PackCheck {
    /// Bytes read.
    pub bytes_stored: u64,
    /// Plain bytes decoded and hashed.
    pub bytes: u64,
    /// Chunks whose hash matched.
    pub intact: Vec<ChunkRef>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The digest of all bytes.
    pub name: Option<Digest>,
    /// The digest of its footer's table.
    pub table: Option<Digest>,
}

impl PackCheck {
    /// Returns the check, or the first thing that is wrong.
    ///
    /// # Errors
    /// That finding.
    pub fn intact(mut self) -> Result<Self, Finding> {
        if self.findings.is_empty() { Ok(self) } else { Err(self.findings.swap_remove(0)) }
    }
}

/// One block, decoded and hashed elsewhere.
type BlockCheck = Result<Vec<ChunkRef>, (Vec<ChunkRef>, String)>;

/// Reads the pack of a name at its place: as [`check_file`], and all its bytes must give that name.
///
/// # Errors
/// As [`check_file`]; what else is wrong is in the check.
pub fn check_pack(
    store: &dyn Store,
    macs: &Macs,
    name: &Digest,
    pool: &Pool,
    progress: &mut dyn FnMut(u64),
) -> Result<PackCheck, Finding> {
    let path = layout::pack_path(name);
    let mut check = check_file(store, macs, &path, pool, progress)?;
    // Where something in it is wrong, its name is too.
    if check.findings.is_empty() && check.name != Some(*name) {
        check.findings.push(Finding::new(Code::PackDamaged, path, "its bytes give another name"));
    }
    Ok(check)
}

/// Reads a whole pack once, wherever it lies, from first byte to last: every block is decoded, every chunk hashed.
///
/// # Errors
/// The footer's finding where the footer is not authentic: then nothing in the pack is vouched for.
pub fn check_file(
    store: &dyn Store,
    macs: &Macs,
    path: &str,
    pool: &Pool,
    progress: &mut dyn FnMut(u64),
) -> Result<PackCheck, Finding> {
    // The medium is asked, not the system's memory of it: what is still in memory proves nothing for later. A file that
    // does not open is found out below.
    let _ = store.open(path).map(|file| file.drop_cached());
    let footer = super::catalog::read_footer(store, macs, path)?;
    let unreadable = |error: io::Error| super::unreadable(path, &error);
    let file = store.open(path).map_err(unreadable)?;
    let length = footer.pack_bytes();
    let table = Some(Digest::of(&footer.encode_table()));
    let mut check = PackCheck { bytes_stored: length, table, ..PackCheck::default() };
    let mut hasher = blake3::Hasher::new();
    let mut head = [0; HEADER_BYTES as usize];
    let mut whole = true;
    match file.read_at(&mut head, 0) {
        Ok(()) if head == header(footer.vault, footer.pack) => {}
        Ok(()) => {
            check.findings.push(Finding::new(Code::PackDamaged, path, "its header is not the one its footer names"))
        }
        Err(error) => {
            whole = false;
            check.findings.push(unreadable(error));
        }
    }
    hasher.update(&head);
    let mut under_way: VecDeque<Task<BlockCheck>> = VecDeque::new();
    for block in footer.blocks {
        if under_way.len() > 3 * pool.threads() {
            take_block(&mut check, path, under_way.pop_front());
        }
        let mut stored = vec![0; block.stored as usize];
        if let Err(error) = file.read_at(&mut stored, block.offset) {
            // The other blocks may be readable.
            whole = false;
            check.findings.push(unreadable(error));
            continue;
        }
        hasher.update(&stored);
        progress(u64::from(block.stored));
        check.bytes += u64::from(block.plain);
        under_way.push_back(pool.spawn(move || check_block(&block, &stored)));
    }
    while !under_way.is_empty() {
        take_block(&mut check, path, under_way.pop_front());
    }
    let mut tail = vec![0; (length - footer.body_bytes) as usize];
    match file.read_at(&mut tail, footer.body_bytes) {
        Ok(()) if tail.ends_with(FOOTER_MAGIC) => {}
        Ok(()) => check.findings.push(Finding::new(Code::PackDamaged, path, "its end changed while it was read")),
        Err(error) => {
            whole = false;
            check.findings.push(unreadable(error));
        }
    }
    hasher.update(&tail);
    check.name = whole.then(|| Digest(*hasher.finalize().as_bytes()));
    Ok(check)
}

fn take_block(check: &mut PackCheck, path: &str, task: Option<Task<BlockCheck>>) {
    match task.map(Task::wait) {
        None => {}
        Some(Ok(chunks)) => check.intact.extend(chunks),
        Some(Err((intact, reason))) => {
            check.intact.extend(intact);
            check.findings.push(Finding::new(Code::ChunkDamaged, path, reason));
        }
    }
}

/// Decodes a block and hashes its chunks; on failure returns those that are intact all the same.
fn check_block(block: &BlockInfo, stored: &[u8]) -> BlockCheck {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<(Decoder, Vec<u8>)>> = const { std::cell::RefCell::new(None) };
    }
    let (mut decoder, mut plain) = match KEPT.take() {
        Some(kept) => kept,
        None => (Decoder::new().map_err(|error| (Vec::new(), error.to_string()))?, Vec::new()),
    };
    let decoded = decoder.decode(block, stored, &mut plain);
    let result = match decoded {
        Err(error) => Err((Vec::new(), format!("the block at offset {}: {error}", block.offset))),
        Ok(()) => {
            let mut rest = &plain[..];
            let (mut intact, mut damaged) = (Vec::with_capacity(block.chunks.len()), None);
            for chunk in &block.chunks {
                let (bytes, after) = rest.split_at(chunk.length() as usize);
                rest = after;
                if Digest::of(bytes) == chunk.id() {
                    intact.push(*chunk);
                } else {
                    damaged = Some(format!(
                        "the block at offset {}: chunk {} does not match its hash",
                        block.offset,
                        chunk.id()
                    ));
                }
            }
            match damaged {
                None => Ok(intact),
                Some(reason) => Err((intact, reason)),
            }
        }
    };
    KEPT.set(Some((decoder, plain)));
    result
}
