//! A backup ends in the middle: what was finished stays, what was not is listed, and the next backup goes on.

use super::store::Failing;
use super::{Stage, expect};
use crate::error::Result;
use crate::ops::{backup, incomplete, snapshots};
use crate::progress::Silent;

/// How many packs are put in place before the power fails: the snapshot needs more.
const PACKS: u64 = 2;

pub(super) fn play(stage: &mut Stage) -> Result<()> {
    stage.set_up()?;
    stage.write_source(2)?;
    stage.step("lose the power during a backup", |stage| {
        let access = stage.access_through(Failing::after_packs(&stage.vault(), PACKS)?);
        let outcome = backup::run(&access, &stage.source(), &backup::Options::default(), &Silent);
        expect(outcome.is_err(), "the backup should have failed")?;
        Ok("the backup ended without a snapshot".into())
    })?;
    stage.step("list what was left", |stage| {
        let listed = incomplete::list(&stage.access())?;
        expect(listed.orphans.incomplete.len() == 1, "one unfinished snapshot should have been left")?;
        expect(listed.orphans.packs.len() as u64 == PACKS, "the complete packs should have been listed too")?;
        let one = &listed.orphans.incomplete[0];
        Ok(format!("snapshots/{}, and {PACKS} complete packs that no snapshot names", one.name))
    })?;
    stage.verify_is_valid("verify what was finished before")?;
    stage.back_up(2)?;
    stage.step("see what became of the complete packs", |stage| {
        let left = incomplete::list(&stage.access())?.orphans.packs.len();
        expect(left == 0, "the backup should have taken over the complete packs")?;
        Ok("the backup has taken them over".into())
    })?;
    stage.verify_is_valid("verify everything")?;
    stage.step("discard what was left", |stage| {
        let name = incomplete::list(&stage.access())?.orphans.incomplete.first().map(|one| one.name.clone());
        let discarded = incomplete::discard(&stage.access(), &name.unwrap_or_default())?;
        Ok(format!("{} bytes of snapshots/{}", discarded.bytes, discarded.name))
    })?;
    stage.step("list the snapshots", |stage| {
        let report = snapshots::run(&stage.access())?;
        let left = incomplete::list(&stage.access())?.orphans.incomplete.len();
        expect(report.snapshots.len() == 2 && left == 0, "two snapshots should be there and nothing else")?;
        Ok("two snapshots, and nothing unfinished".into())
    })?;
    stage.step("restore the newest", |stage| stage.restore_is_exact(&stage.access(), 2, 2))
}
