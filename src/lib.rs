//! devvault
pub mod clock;
pub mod crypto;
pub mod error;
pub mod format;
pub mod fsys;
pub mod limits;
pub mod path;
pub mod progress;
pub mod refusal;
pub mod store;
