//! Operations: one verb a file, options in, report out. None calls another.

pub mod backup;
pub mod index;
pub mod init;
pub mod key;
pub mod ls;
pub mod restore;
pub mod select;
pub mod snapshots;
mod source;
pub mod status;
pub mod verify;
