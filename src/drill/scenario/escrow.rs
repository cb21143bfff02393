//! The host is lost: the exported key and the vault must be enough.

use std::fs;

use super::{Stage, expect, refused};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::ops::select::{Place, Selector};
use crate::ops::{key, restore, verify};
use crate::path::EntryPath;
use crate::progress::Silent;
use crate::refusal::Code;
use crate::vault::gate::Access;

pub(super) fn play(stage: &mut Stage) -> Result<()> {
    stage.set_up()?;
    stage.step("export the key", |stage| {
        key::export(&stage.access(), &stage.path("exported.key"), true)?;
        Ok("a copy of the key, as it would lie in a safe".into())
    })?;
    stage.step("lose the host", |stage| {
        for directory in stage.host.own_directories() {
            fs::remove_dir_all(directory).map_err(|error| Error::environment("remove the throw-away host", error))?;
        }
        Ok("its configuration, its key and its state are gone".into())
    })?;
    let rescue =
        |stage: &Stage| Host::new(stage.path("rescue-config"), stage.path("rescue-state"), stage.path("rescue-data"));
    stage.step("restore without the key", |stage| {
        let access = Access::new(stage.vault(), rescue(stage));
        let place = Place { snapshot: Selector::Number(1), path: EntryPath::root() };
        let outcome = restore::run(&access, &place, &stage.path("keyless"), &restore::Options::default(), &Silent);
        refused(Code::KeyMissing, outcome)
    })?;
    let with_key = |stage: &Stage| Access {
        key_file: Some(stage.path("exported.key")),
        ..Access::new(stage.vault(), rescue(stage))
    };
    stage.step("verify with the exported key", |stage| {
        let report = verify::run(&with_key(stage), &[], verify::Level::Full, &Silent)?;
        expect(report.exit() == 0, "everything should have been valid")?;
        Ok(format!("valid: {} snapshot(s); freshness {}", report.snapshots.len(), report.freshness))
    })?;
    stage.step("restore with the exported key", |stage| stage.restore_is_exact(&with_key(stage), 1, 1))
}
