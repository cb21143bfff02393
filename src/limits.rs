//! Every bound of the program, in one place.
//!
//! A reader refuses what exceeds a bound before it allocates or loops; a writer never produces it. Bounds named in
//! `format/FORMAT.md` are part of the format, and a test compares the two.

use std::time::Duration;

/// Longest JSON of one record (manifest, tombstone, branch), in bytes.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;
/// The most that a manifest counts of anything, so that sums of a few counts stay below 2^64.
pub const COUNT_MAX: u64 = u64::MAX / 4;
/// Longest `vault.json` or key file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 64 << 10;
/// Length of a `.hmac` file: 64 hexadecimal digits and a line feed.
pub const MAC_FILE_BYTES: u64 = 65;

/// Longest chunk of any kind, in plain bytes.
pub const CHUNK_BYTES_MAX: u32 = 8 << 20;
/// Longest block, in plain bytes.
pub const BLOCK_PLAIN_BYTES_MAX: u32 = 16 << 20;
/// Longest block as stored, in bytes; a block that compression would lengthen is stored as it is.
pub const BLOCK_STORED_BYTES_MAX: u32 = BLOCK_PLAIN_BYTES_MAX;
/// Most chunks in one block.
pub const BLOCK_CHUNKS_MAX: u32 = 1 << 16;
/// Most blocks in one pack.
pub const PACK_BLOCKS_MAX: u32 = 1 << 16;
/// Most chunks in one pack.
pub const PACK_CHUNKS_MAX: u32 = 1 << 22;
/// Longest pack, in bytes, footer included.
pub const PACK_BYTES_MAX: u64 = 1 << 30;

/// Most chunks that an entry or a stream names directly; a longer content goes through chunk lists.
pub const ENTRY_CHUNKS_MAX: usize = 1_024;
/// Most chunk-list objects, and most hole-list objects, that an entry names.
pub const ENTRY_LISTS_MAX: usize = 4_096;
/// Most chunks in one chunk-list object.
pub const LIST_CHUNKS_MAX: usize = 16_384;
/// Most entries in one segment.
pub const SEGMENT_ENTRIES_MAX: usize = 1_024;
/// Most segments in one segment list.
pub const SEGMENT_LIST_MAX: usize = 4_096;
/// Most segment lists in one manifest.
pub const MANIFEST_LISTS_MAX: usize = 1 << 18;
/// Longest segment, segment list, chunk list, hole list or pack list, in bytes: it is stored as a chunk.
pub const OBJECT_BYTES_MAX: u32 = CHUNK_BYTES_MAX;
/// Most rules of exclusion that a manifest names; rules beyond are counted together.
pub const MANIFEST_EXCLUSIONS_MAX: usize = 1 << 16;
/// Most packs that a manifest names directly; more go through pack lists.
pub const MANIFEST_PACKS_MAX: usize = 1_024;
/// Most packs in one pack-list object.
pub const PACK_LIST_MAX: usize = 16_384;

/// Longest component of a path, in bytes (255 UTF-16 units are at most 765 bytes of WTF-8).
pub const COMPONENT_BYTES_MAX: usize = 1_024;
/// Longest path of an entry, in bytes, separators included.
pub const PATH_BYTES_MAX: usize = 1 << 20;
/// Longest target of a symbolic link, in bytes.
pub const TARGET_BYTES_MAX: usize = 64 << 10;
/// Most extended attributes, and most alternate streams, of an entry.
pub const XATTRS_MAX: usize = 512;
/// Longest name of an attribute, in bytes.
pub const XATTR_NAME_BYTES_MAX: usize = 1_024;
/// Longest value of an attribute that stands in the entry itself, in bytes; a longer one is kept in chunks.
pub const XATTR_INLINE_BYTES_MAX: usize = 4_096;
/// Longest value of an attribute, in bytes.
pub const XATTR_BYTES_MAX: u64 = 64 << 20;
/// Most chunks of an attribute's value.
pub const XATTR_CHUNKS_MAX: usize = 1_024;
/// Longest name of a user or group, in bytes.
pub const OWNER_BYTES_MAX: usize = 256;
/// Most holes that an entry names directly; more go through hole lists.
pub const ENTRY_HOLES_MAX: usize = 4_096;
/// Most holes in one hole-list object.
pub const LIST_HOLES_MAX: usize = 16_384;
/// Most holes that a writer keeps of a file; of more it keeps the longest, and the others are read as data.
pub const FILE_HOLES_MAX: usize = 1 << 24;
/// Largest integer that JSON carries as a number; a larger one is a decimal string.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;
/// Largest record number: eight decimal digits name its directory.
pub const RECORD_NUMBER_MAX: u64 = 99_999_999;
/// Most names in one directory of the vault.
pub const VAULT_DIRECTORY_NAMES_MAX: usize = 4_000_000;

/// Longest index file, in bytes.
pub const INDEX_BYTES_MAX: u64 = 4 << 30;
/// How many index files may stand side by side before a writer merges them.
pub const INDEX_FILES_MAX: usize = 8;

/// Longest file of rules (`.devvaultignore`, `.gitignore`, `--exclude-from`), in bytes.
pub const RULES_BYTES_MAX: u64 = 1 << 20;
/// How often a file that changes while it is read is read again.
pub const READ_ATTEMPTS: u32 = 4;
/// The longest that the clock from which systems take the times of files stands still: 10 ms on Linux with 100 ticks a
/// second, 15.6 ms on Windows.
pub const TICK: Duration = Duration::from_millis(20);
/// The same where a medium keeps whole seconds; FAT keeps every second one, of a clock that ticks too.
pub const COARSE_TICK: Duration = Duration::from_millis(2_020);
/// How often a writer takes the next number when another writer took it first.
pub const NUMBER_ATTEMPTS: u32 = 8;
/// A timestamp younger than this at the time of reading does not prove that a file is unchanged, in nanoseconds.
/// FAT keeps times in steps of two seconds, the coarsest medium in use.
pub const RACY_NANOS: i128 = 2_000_000_000;
/// Longest sealed file of the host (witness, reads), in bytes; reads take some 120 bytes a pack.
pub const STATE_BYTES_MAX: u64 = 64 << 20;
/// A proof of recoverability that is older than this is said to be old, in days.
pub const PROOF_DAYS: u64 = 30;
/// How old the newest backup of a source may be where the settings do not say, in days.
pub const BACKUP_DAYS: u32 = 30;
/// How old the newest verification of everything may be where the settings do not say, in days.
pub const VERIFY_DAYS: u32 = 35;
/// How old the newest drill of a source may be where the settings do not say, in days.
pub const DRILL_DAYS: u32 = 30;
/// How far ahead of this host's clock a time may be before nobody can tell how long ago it was, in seconds.
pub const CLOCK_AHEAD_SECONDS: i64 = 86_400;
/// How long a recovery may take where the settings do not say, in minutes.
pub const DRILL_MINUTES: u32 = 10;
/// How long a recovery may take at most before that needs attention, in minutes.
pub const DRILL_MINUTES_MAX: u32 = 15;
/// Most heads that the witness remembers.
pub const WITNESS_HEADS_MAX: usize = 1_024;
/// How many paths a finding shows to a person before it says how many more there are.
pub const SHOWN_PATHS_MAX: usize = 10;
/// Free bytes that must remain on the vault's medium beyond what is about to be written.
pub const SPACE_RESERVE_BYTES: u64 = 64 << 20;
/// Longest line of the journal, in bytes, line feed included.
pub const JOURNAL_LINE_BYTES_MAX: u64 = 256 << 10;
/// Longest text in an entry of the journal, in bytes; what is longer is cut and says so.
pub const JOURNAL_TEXT_BYTES_MAX: usize = 2_000;
/// How many findings, paths or other items an entry of the journal or a file of evidence names at most.
pub const EVIDENCE_ITEMS_MAX: usize = 50;
/// Longest file of evidence that is read back, in bytes.
pub const EVIDENCE_BYTES_MAX: u64 = 8 << 20;
/// Longest report of a conformance run, in bytes.
pub const CONFORMANCE_BYTES_MAX: u64 = 16 << 20;
