//! Somebody changed a manifest: it is noticed, an incident holds everything, and a copy puts it right.

use std::fs;

use super::{Stage, expect, fingerprint, refused};
use crate::error::{Error, Result};
use crate::format::record::RecordKind;
use crate::ops::{evidence, incident, incomplete, journal, verify};
use crate::progress::Silent;
use crate::refusal::{Code, Family};
use crate::vault::layout;

pub(super) fn play(stage: &mut Stage) -> Result<()> {
    stage.set_up()?;
    stage.write_source(2)?;
    stage.back_up(2)?;
    let manifest = format!("{}/{}", layout::record_directory(2), layout::record_file(RecordKind::Snapshot));
    let (there, copy) = (stage.vault().join(&manifest), stage.path("manifest-of-another-copy"));
    let lift = |error| Error::environment("change the throw-away vault", error);
    stage.step("tamper with the newest manifest", |stage| {
        fs::copy(&there, &copy).map_err(lift)?;
        let mut bytes = fs::read(&there).map_err(lift)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(&there, bytes).map_err(lift)?;
        let left = stage.vault().join(layout::SNAPSHOTS).join(format!("{}00", layout::INCOMPLETE_PREFIX));
        fs::create_dir(left).map_err(lift)?;
        Ok("one bit flipped; another copy of the vault has the manifest as it was".into())
    })?;
    let before = fingerprint(&stage.vault())?;
    let mut opened = None;
    stage.step("verify", |stage| {
        let report = verify::run(&stage.access(), &[], verify::Level::Full, &Silent)?;
        let first = report.findings.first();
        let crypto = first.is_some_and(|finding| finding.code.family() == Family::CryptoBoundary);
        expect(crypto && report.exit() == 13, "a forged record should have been found")?;
        opened = report.kept.incident.clone();
        expect(opened.is_some() && report.kept.evidence.is_some(), "an incident should have been opened")?;
        let code = first.map(|finding| finding.code.to_string()).unwrap_or_default();
        Ok(format!("found {code}; evidence kept; incident {} opened", opened.as_deref().unwrap_or_default()))
    })?;
    let opened = opened.unwrap_or_default();
    stage.step("try to remove something", |stage| {
        let outcome = incomplete::discard(&stage.access(), &format!("{}00", layout::INCOMPLETE_PREFIX));
        refused(Code::EvidenceHold, outcome)
    })?;
    stage.step("capture the evidence", |stage| {
        let bundle = stage.path("evidence.tar");
        let options = evidence::Options { incident: Some(opened.clone()), ..evidence::Options::default() };
        let captured = evidence::capture(&stage.access(), &bundle, &options)?;
        let key = stage.host.key_path(crate::vault::gate::find(&stage.access())?.macs.vault());
        let checked = evidence::verify(&stage.host, Some(&key), &bundle)?;
        expect(checked.findings.is_empty(), "the bundle should be what was packed")?;
        Ok(format!("{} files in one bundle, which verifies", captured.files))
    })?;
    stage.step("restore what is not affected", |stage| stage.restore_is_exact(&stage.access(), 1, 1))?;
    stage.step("see that nothing was repaired or removed", |stage| {
        expect(fingerprint(&stage.vault())? == before, "the vault should not have changed")?;
        Ok("the vault is byte for byte as it was found".into())
    })?;
    stage.step("put the manifest back from another copy", |_| {
        fs::copy(&copy, &there).map_err(lift)?;
        Ok("as the other copy had it".into())
    })?;
    stage.verify_is_valid("verify everything")?;
    stage.step("close the incident", |stage| {
        let now = stage.access().clock.now();
        incident::close(&stage.host, now, &opened, "exercised", "a drill", None)?;
        let report = incident::report(&stage.host, now, &opened)?;
        incident::reported(&stage.host, now, &opened)?;
        Ok(format!("closed; a post-mortem of {} lines", report.text.lines().count()))
    })?;
    stage.step("check the journal", |stage| {
        let checked = journal::verify(&stage.host, None)?;
        expect(checked.findings.is_empty(), "the journal should be sound")?;
        Ok(format!("{} entries, none cut, edited or reordered", checked.entries))
    })
}
