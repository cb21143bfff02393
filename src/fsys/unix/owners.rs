//! Names of users and groups.

use nix::unistd::{Gid, Group, Uid, User};

/// Returns the name of a user, if this system knows one that is text.
pub fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name).filter(|name| is_sound(name))
}

/// Returns the name of a group, if this system knows one that is text.
pub fn group_name(gid: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name).filter(|name| is_sound(name))
}

/// Returns the number of a user of this system.
pub fn user_number(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// Returns the number of a group of this system.
pub fn group_number(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// Returns the name of the user whose process this is, or the number of one without a name.
pub fn own_user() -> Option<String> {
    let uid = rustix::process::getuid().as_raw();
    Some(user_name(uid).unwrap_or_else(|| format!("user {uid}")))
}

/// Returns whether this process may act on files of every owner.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A name that was no UTF-8 has become another one on the way.
fn is_sound(name: &str) -> bool {
    !name.is_empty() && name.len() <= crate::limits::OWNER_BYTES_MAX && !name.contains('\u{fffd}')
}
