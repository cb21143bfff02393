//! Operations: one verb a file or room, options in, report out. None calls another.

pub mod backup;
pub mod cat;
pub mod change;
pub mod diff;
pub mod find;
pub mod index;
pub mod init;
pub mod key;
pub mod ls;
mod reading;
pub mod receipt;
pub mod restore;
mod rules;
pub mod select;
pub mod snapshots;
pub mod status;
pub mod verify;
