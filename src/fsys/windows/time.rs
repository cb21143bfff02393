//! Times: 100 ns since 1601.

use std::fs::File;
use std::io::{self, ErrorKind};

use windows_sys::Win32::Storage::FileSystem::FILE_BASIC_INFO;

use super::call::set_info;
use crate::clock::Time;

/// From 1601-01-01 to 1970-01-01.
pub(super) const EPOCH_SECONDS: i64 = 11_644_473_600;
pub(super) const TICKS_PER_SECOND: i64 = 10_000_000;

pub(super) fn time_of(ticks: i64) -> Time {
    let nanos = ticks.rem_euclid(TICKS_PER_SECOND) * 100;
    Time { seconds: ticks.div_euclid(TICKS_PER_SECOND) - EPOCH_SECONDS, nanos: u32::try_from(nanos).unwrap_or(0) }
}

/// Returns 100 ns since 1601, rounded down; nothing for times that a file cannot have.
pub(super) fn ticks_of(time: Time) -> Option<i64> {
    let ticks = time.seconds.checked_add(EPOCH_SECONDS)?.checked_mul(TICKS_PER_SECOND)?;
    // Zero and the negative ones mean other things to the system.
    ticks.checked_add(i64::from(time.nanos / 100)).filter(|&ticks| ticks > 0)
}

pub(super) fn set_mtime(file: &File, mtime: Time) -> io::Result<()> {
    let ticks = ticks_of(mtime)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the file system holds no times before 1601"))?;
    // What is zero stays as it is.
    set_info(file, &FILE_BASIC_INFO { LastWriteTime: ticks, ..FILE_BASIC_INFO::default() })
}
