//! Operations: one verb a file or room, options in, report out. None calls another.

pub mod backup;
pub mod index;
pub mod init;
pub mod key;
pub mod ls;
pub mod receipt;
pub mod restore;
pub mod select;
pub mod snapshots;
pub mod status;
pub mod verify;
