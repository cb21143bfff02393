//! The integration tests: one binary, which uses the public API and the program as a stranger would.
//!
//! Every test has a home of its own (configuration, state, data) below a temporary directory, runs beside the others,
//! and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![cfg_attr(
    not(target_os = "linux"),
    allow(
        unused_imports,
        unused_mut,
        dead_code,
        reason = "what only tests use that this platform lacks; each says why above itself"
    )
)]

mod support;

mod backup;
mod break_glass;
mod chain;
mod conformance;
mod damage;
// Linux alone: names of any bytes, pipes, devices, owners.
#[cfg(target_os = "linux")]
mod difficult;
mod draft;
mod drill;
mod effort;
mod evidence;
mod excluding;
mod faults;
// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
mod filesystems;
mod floors;
mod format;
mod health;
mod hostile;
// Linux alone: devices, owners, access lists.
#[cfg(target_os = "linux")]
mod hostile_entries;
mod incident;
mod index;
mod integrity;
mod journal;
mod keys;
mod meanwhile;
// Linux alone: owners, attributes, access lists, capabilities.
#[cfg(target_os = "linux")]
mod metadata;
mod output;
mod program;
mod proof;
mod properties;
mod query;
mod refusals;
mod reliance;
mod restore;
mod rolling;
mod runbook;
mod salvage;
mod selection;
mod source;
mod status;
mod tombstones;
mod trace;
mod transcript;
mod witness;
