//! The vault's medium is full: the backup is refused, nothing is lost, and it goes on once there is room.

use super::store::Failing;
use super::{Stage, expect, refused};
use crate::error::Result;
use crate::ops::{backup, incomplete};
use crate::progress::Silent;
use crate::refusal::Code;

/// How many bytes the medium takes before it is full: less than the second snapshot needs.
const ROOM_BYTES: u64 = 100_000;

pub(super) fn play(stage: &mut Stage) -> Result<()> {
    stage.set_up()?;
    stage.write_source(2)?;
    stage.step("back up onto a full medium", |stage| {
        let access = stage.access_through(Failing::after_bytes(&stage.vault(), ROOM_BYTES)?);
        let outcome = backup::run(&access, &stage.source(), &backup::Options::default(), &Silent);
        refused(Code::NoSpace, outcome)
    })?;
    stage.verify_is_valid("verify what was finished before")?;
    stage.step("restore what was finished before", |stage| stage.restore_is_exact(&stage.access(), 1, 1))?;
    stage.step("list what was left", |stage| {
        let left = incomplete::list(&stage.access())?.orphans.incomplete.len();
        Ok(format!("{left} unfinished snapshot(s)"))
    })?;
    stage
        .step("make room", |_| Ok("the medium takes writes again; nothing in the vault was deleted for that".into()))?;
    stage.back_up(2)?;
    stage.verify_is_valid("verify everything")?;
    stage.step("restore the newest", |stage| {
        let said = stage.restore_is_exact(&stage.access(), 2, 2)?;
        expect(stage.vault().is_dir(), "the vault should be there")?;
        Ok(said)
    })
}
