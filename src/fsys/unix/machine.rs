//! What this machine says of itself: its name, its mounts, its limits.

/// Returns the host's name as the system has it.
pub fn host_name() -> Vec<u8> {
    rustix::system::uname().nodename().to_bytes().to_vec()
}

/// Returns a device's number as the system writes it.
#[cfg(target_os = "linux")]
pub fn device_name(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// Returns a device's number as the system writes it.
#[cfg(not(target_os = "linux"))]
pub fn device_name(device: u64) -> String {
    device.to_string()
}

/// Returns kind, source and options of the file system on a device, from the system's table of mounts.
#[cfg(target_os = "linux")]
pub fn mounted(device: u64) -> Option<[String; 3]> {
    let wanted = device_name(device);
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().rev().find(|line| line.split(' ').nth(2) == Some(&wanted))?;
    let (mount, system) = line.split_once(" - ")?;
    let options = mount.split(' ').nth(5)?;
    let mut words = system.split(' ');
    Some([words.next()?, words.next()?, options].map(str::to_owned))
}

/// Returns nothing: only Linux has a table that names a device by its number.
#[cfg(not(target_os = "linux"))]
pub fn mounted(_device: u64) -> Option<[String; 3]> {
    None
}

/// Raises the soft limit of open files to the hard one; deep trees and many threads need descriptors.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || (limit.current.is_some() && limit.maximum.is_none()) {
        // macOS refuses more than OPEN_MAX although the hard limit says unlimited.
        let wanted = limit.maximum.unwrap_or(10_240).min(65_536);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}
