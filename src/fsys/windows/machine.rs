//! What this machine says of itself: its name, its mounts, its limits.

/// Returns the host's name as the system has it.
pub fn host_name() -> Vec<u8> {
    std::env::var("COMPUTERNAME").unwrap_or_default().into_bytes()
}

/// Returns a volume's number as the system writes it: the serial number, of which it shows the lower half in two parts.
pub fn device_name(device: u64) -> String {
    format!("{:04X}-{:04X}", device >> 16 & 0xffff, device & 0xffff)
}

/// Returns nothing: there is no table of mounts that names a volume by its number.
pub fn mounted(_device: u64) -> Option<[String; 3]> {
    None
}

/// Does nothing: Windows limits open handles only by memory.
pub fn raise_descriptor_limit() {}
