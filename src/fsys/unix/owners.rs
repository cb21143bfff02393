//! Names of users and groups.

use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

/// Returns the name of a user, if this system knows one that is text.
///
/// # Errors
/// What knows the names does not answer, which is not that there is none.
pub fn user_name(uid: u32) -> io::Result<Option<String>> {
    let user = there(User::from_uid(Uid::from_raw(uid)))?;
    Ok(user.map(|user| user.name).filter(|name| is_sound(name)))
}

/// Returns the name of a group, if this system knows one that is text.
///
/// # Errors
/// As [`user_name`].
pub fn group_name(gid: u32) -> io::Result<Option<String>> {
    let group = there(Group::from_gid(Gid::from_raw(gid)))?;
    Ok(group.map(|group| group.name).filter(|name| is_sound(name)))
}

/// Returns the number of a user of this system.
///
/// # Errors
/// As [`user_name`].
pub fn user_number(name: &str) -> io::Result<Option<u32>> {
    Ok(there(User::from_name(name))?.map(|user| user.uid.as_raw()))
}

/// Returns the number of a group of this system.
///
/// # Errors
/// As [`user_name`].
pub fn group_number(name: &str) -> io::Result<Option<u32>> {
    Ok(there(Group::from_name(name))?.map(|group| group.gid.as_raw()))
}

/// Tells that there is none from an answer that failed: these four errors are among the ways to say the first (getpwnam(3)).
fn there<T>(answer: nix::Result<Option<T>>) -> io::Result<Option<T>> {
    match answer {
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        answer => Ok(answer?),
    }
}

/// Returns the name of the user whose process this is, or the number of one without a name.
pub fn own_user() -> Option<String> {
    let uid = rustix::process::getuid().as_raw();
    Some(user_name(uid).ok().flatten().unwrap_or_else(|| format!("user {uid}")))
}

/// Returns whether this process may act on files of every owner.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A name that was no UTF-8 has become another one on the way.
fn is_sound(name: &str) -> bool {
    !name.is_empty() && name.len() <= crate::limits::OWNER_BYTES_MAX && !name.contains('\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_not_that_there_is_none() {
        for none in [Ok(None), Err(Errno::ENOENT), Err(Errno::ESRCH)] {
            assert!(matches!(there::<()>(none), Ok(None)));
        }
        for failed in [Errno::EIO, Errno::ETIMEDOUT, Errno::ECONNREFUSED, Errno::EMFILE, Errno::ERANGE] {
            assert!(there::<()>(Err(failed)).is_err(), "{failed}");
        }
        let root = user_name(0).expect("answered").expect("there is one");
        assert_eq!(user_number(&root).expect("answered"), Some(0));
        assert_eq!(user_number("nobody has this name").expect("answered"), None);
    }
}
