//! Loss of power on real file systems: the real program, on a file system that is shut down at one of its system calls.
//!
//! `FS_IOC_SHUTDOWN` without a flush of the log stops a file system as a loss of power does: what was not written by
//! then never is, and the next mount replays what its log holds. The vault lies there, the host's own files elsewhere.
//! It takes root, loop devices and the file system's tools. So that it is known to see, the program's syncs are also
//! made to do nothing, and that has to be noticed.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;

use devvault::ops::init;
use devvault::ops::verify::Verdict;
use devvault::store::LocalStore;
use devvault::vault::chain::Chain;
use devvault::vault::gate::Access;
use devvault::vault::witness;

use super::tracer::{self, Deed, Outcome, Which};
use super::{step, tally};
use crate::support::{Forger, Home, SMALL_TREE, copy_tree, is_root, noise, skip, small};

/// File systems, what makes one in the file `$1`, and at every how many calls an ordinary run cuts the power: some take
/// seconds to stop. Those that cannot be shut down are skipped.
const FILE_SYSTEMS: [(&str, &str, usize); 3] = [
    ("ext4", r#"truncate -s 128M "$1" && mkfs.ext4 -q "$1""#, 4),
    ("xfs", r#"truncate -s 304M "$1" && mkfs.xfs -q "$1""#, 24),
    ("btrfs", r#"truncate -s 256M "$1" && mkfs.btrfs -q "$1""#, 4),
];

/// A file system in a file, mounted below a home; unmounted when it is dropped.
struct Disk {
    image: PathBuf,
    place: PathBuf,
}

fn shell(script: &str, arguments: &[&PathBuf]) -> Result<(), String> {
    let output = Command::new("sh").args(["-c", script, "sh"]).args(arguments).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
    }
}

impl Disk {
    fn mount(image: PathBuf, place: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&place).unwrap();
        shell(r#"mount -o loop "$1" "$2""#, &[&image, &place])?;
        Ok(Self { image, place })
    }

    /// Cuts the power; returns what the next mount makes of it.
    fn again(self) -> Self {
        let (image, place) = (self.image.clone(), self.place.clone());
        drop(self);
        Self::mount(image, place).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if shell(r#"umount "$1""#, &[&self.place]).is_err() {
            let _ = shell(r#"umount -l "$1""#, &[&self.place]);
        }
    }
}

/// Stops a file system as a loss of power does.
fn cut_power(place: &PathBuf) -> std::io::Result<()> {
    const FS_IOC_SHUTDOWN: u64 = 0x8004_587d;
    let no_flush_of_the_log = 2_u32;
    let directory = File::open(place)?;
    #[allow(
        unsafe_code,
        reason = "the system call has no safe form; it reads one number, which lives as long as it runs"
    )]
    let result = unsafe { nix::libc::ioctl(directory.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const no_flush_of_the_log) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A home whose vault lies on a disk of its own, with one snapshot, and a source that has changed since.
struct Scene {
    home: Home,
}

impl Scene {
    fn new(make: &str) -> Result<Self, String> {
        let home = Home::quick();
        shell(make, &[&home.path("kept-image")])?;
        let disk = Disk::mount(home.path("kept-image"), home.path("disk"))?;
        cut_power(&home.path("disk")).map_err(|error| format!("it cannot be shut down: {error}"))?;
        let disk = disk.again();
        home.write_source(&SMALL_TREE);
        fs::write(home.source().join("noise"), noise(100_000, 1)).unwrap();
        // Several packs, without the size that they usually have.
        let access = Access { vault: home.path("disk/vault"), ..home.access() };
        init::run(&access, small()).unwrap();
        let output = home.program().args(["--vault", "disk/vault", "backup", "source"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        drop(disk);
        fs::write(home.source().join("more"), noise(50_000, 2)).unwrap();
        for name in ["config", "state"] {
            copy_tree(&home.path(name), &home.path("kept").join(name));
        }
        Ok(Self { home })
    }

    /// Runs a backup with a deed, then cuts the power if it is still there, and mounts again.
    fn run(&self, nth: usize, deed: Deed) -> Option<(Outcome, Disk)> {
        let home = &self.home;
        for name in ["config", "state"] {
            let _ = fs::remove_dir_all(home.path(name));
            copy_tree(&home.path("kept").join(name), &home.path(name));
        }
        shell(r#"cp --sparse=always "$1" "$2""#, &[&home.path("kept-image"), &home.path("image")]).unwrap();
        let disk = Disk::mount(home.path("image"), home.path("disk")).unwrap();
        let mut command = home.program();
        command.args(["--vault", "disk/vault", "--json", "backup", "source"]);
        let cut = || drop(cut_power(&home.path("disk")));
        let outcome = tracer::run_with(&mut command, &home.path("kept"), Which::Writes, nth, deed, &cut)?;
        cut();
        Some((outcome, disk.again()))
    }

    /// Returns what is wrong with the vault after all that, if anything is.
    fn check(&self, outcome: &Outcome) -> Result<(), String> {
        let home = &self.home;
        let vault = home.path("disk/vault");
        let macs = Forger::new_at(home, &vault).macs;
        let store = LocalStore::open(&vault).map_err(|error| error.to_string())?;
        let chain = Chain::read(&store, &macs, None).map_err(|error| error.to_string())?;
        if !chain.findings.is_empty() {
            return Err(format!("{:?}", chain.findings));
        }
        let records = chain.links().count();
        if !(1..=2).contains(&records) || !outcome.stdout.is_empty() && records != 2 {
            return Err(format!("{records} records, and it said {}", outcome.stdout));
        }
        let seen = witness::read(&home.host(), &macs).map_err(|error| error.to_string())?;
        if seen.and_then(|witness| witness.heads.last().copied()).is_some_and(|head| !chain.holds(&head)) {
            return Err("the witness knows a record that is gone".into());
        }
        let mut access = home.access_from(home.other_host("stranger"));
        access.vault = vault;
        let report = home.verify_from(&access, &[]);
        for name in ["stranger-config", "stranger-state"] {
            let _ = fs::remove_dir_all(home.path(name));
        }
        match report {
            Ok(report) if report.verdict == Verdict::Valid => Ok(()),
            Ok(report) => Err(format!("{:?}", report.findings)),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[test]
fn a_loss_of_power_at_any_write_of_a_backup_loses_nothing_on_real_file_systems() {
    if !is_root() {
        skip("only root can mount");
        return;
    }
    for (name, make, sample) in FILE_SYSTEMS {
        let scene = match Scene::new(make) {
            Ok(scene) => scene,
            Err(reason) => {
                skip(&format!("{name}: {reason}"));
                continue;
            }
        };
        let Some((outcome, disk)) = scene.run(0, Deed::Nothing) else { return };
        assert_eq!((outcome.exit, scene.check(&outcome)), (Some(0), Ok(())), "{name}");
        drop(disk);
        let mut cuts = 0;
        for nth in (0..outcome.calls.len()).step_by(step(sample)) {
            let Some((cut, _disk)) = scene.run(nth, Deed::CallOut) else { return };
            let sound = scene.check(&cut);
            assert!(sound.is_ok(), "{name}: at call {nth}, {:?}: {sound:?}", cut.met);
            cuts += 1;
        }
        tally(&format!("losses of power on {name}"), cuts, 4);
        // The same, with a program whose syncs do nothing.
        let first = outcome.calls.iter().position(|call| *call == "fsync").unwrap();
        let Some((blind, _disk)) = scene.run(first, Deed::FailFromThenOn(0)) else { return };
        assert_eq!(blind.exit, Some(0), "{name}: {blind:?}");
        let sound = scene.check(&blind);
        assert!(sound.is_err(), "{name}: nobody missed the syncs");
    }
}
