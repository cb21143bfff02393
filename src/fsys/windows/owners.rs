//! Names of users and groups: Windows has no numbers for them, and this program keeps none.

use std::io;

/// Returns none.
///
/// # Errors
/// None here.
pub fn user_name(_uid: u32) -> io::Result<Option<String>> {
    Ok(None)
}

/// Returns none.
///
/// # Errors
/// None here.
pub fn group_name(_gid: u32) -> io::Result<Option<String>> {
    Ok(None)
}

/// Returns none.
///
/// # Errors
/// None here.
pub fn user_number(_name: &str) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Returns none.
///
/// # Errors
/// None here.
pub fn group_number(_name: &str) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Returns none: the environment names the user.
pub fn own_user() -> Option<String> {
    None
}

/// Returns true: whatever cannot be kept is refused or given up by name, not silently left to a lesser account.
pub fn is_root() -> bool {
    true
}
