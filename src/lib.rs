//! devvault
pub mod chunk;
pub mod cli;
pub mod clock;
pub mod crypto;
pub mod error;
pub mod format;
pub mod fsys;
pub mod host;
pub mod limits;
pub mod ops;
pub mod path;
pub mod pool;
pub mod progress;
pub mod refusal;
pub mod store;
pub mod vault;
