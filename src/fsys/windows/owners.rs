//! Names of users and groups: Windows has no numbers for them, and this program keeps none.

/// Returns none.
pub fn user_name(_uid: u32) -> Option<String> {
    None
}

/// Returns none.
pub fn group_name(_gid: u32) -> Option<String> {
    None
}

/// Returns none.
pub fn user_number(_name: &str) -> Option<u32> {
    None
}

/// Returns none.
pub fn group_number(_name: &str) -> Option<u32> {
    None
}

/// Returns none: the environment names the user.
pub fn own_user() -> Option<String> {
    None
}

/// Returns true: whatever cannot be kept is refused or given up by name, not silently left to a lesser account.
pub fn is_root() -> bool {
    true
}
