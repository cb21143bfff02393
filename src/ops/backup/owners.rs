//! Owners by number and name; every name is looked up once.

use std::collections::HashMap;
use std::io;

use crate::format::entry::Owner;
use crate::fsys::{self, Stat};

/// Names of users and groups that were looked up.
#[derive(Default)]
pub(super) struct Owners {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
    // Why one could not be.
    unanswered: Option<String>,
}

impl Owners {
    /// Returns to whom an object belongs, where the platform has numbers for that.
    pub(super) fn of(&mut self, stat: &Stat) -> Option<Owner> {
        let (uid, gid) = stat.owner?;
        let (user, group) = self.names(uid, gid);
        Some(Owner { uid, gid, user: user.map(str::to_owned), group: group.map(str::to_owned) })
    }

    /// Returns whether an object belongs to whom an entry says.
    pub(super) fn is(&mut self, owner: Option<&Owner>, stat: &Stat) -> bool {
        match (owner, stat.owner) {
            (None, None) => true,
            (Some(owner), Some((uid, gid))) => {
                let names = (owner.user.as_deref(), owner.group.as_deref());
                (owner.uid, owner.gid) == (uid, gid) && names == self.names(uid, gid)
            }
            _ => false,
        }
    }

    fn names(&mut self, uid: u32, gid: u32) -> (Option<&str>, Option<&str>) {
        let unanswered = &mut self.unanswered;
        let mut named = |answer: io::Result<Option<String>>| {
            answer.unwrap_or_else(|error| {
                unanswered.get_or_insert_with(|| error.to_string());
                None
            })
        };
        let user = self.users.entry(uid).or_insert_with(|| named(fsys::user_name(uid)));
        let group = self.groups.entry(gid).or_insert_with(|| named(fsys::group_name(gid)));
        (user.as_deref(), group.as_deref())
    }

    /// Returns what is to be said of names that could not be looked up.
    pub(super) fn note(&self) -> Option<String> {
        let reason = self.unanswered.as_ref()?;
        Some(format!(
            "names of users or groups could not be looked up, so that their numbers alone are in the snapshot: {reason}"
        ))
    }
}
