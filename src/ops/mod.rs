//! Operations: one verb a file or room, options in, report out. None calls another.

pub(crate) mod audit;
pub mod backup;
pub mod branch;
pub mod cat;
pub mod change;
pub mod diff;
pub mod evidence;
pub mod find;
pub mod incident;
pub mod incomplete;
pub mod index;
pub mod init;
pub mod journal;
pub mod key;
pub mod lost;
pub mod ls;
pub mod orphans;
mod reading;
pub mod receipt;
pub mod restore;
mod rules;
pub mod select;
pub mod snapshots;
pub mod status;
pub mod verify;
