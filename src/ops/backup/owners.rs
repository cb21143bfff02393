//! Owners by number and name; every name is looked up once.

use std::collections::HashMap;

use crate::format::entry::Owner;
use crate::fsys::{self, Stat};

/// Names of users and groups that were looked up.
#[derive(Default)]
pub(super) struct Owners {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
}

impl Owners {
    /// Returns to whom an object belongs, where the platform has numbers for that.
    pub(super) fn of(&mut self, stat: &Stat) -> Option<Owner> {
        let (uid, gid) = stat.owner?;
        let user = self.users.entry(uid).or_insert_with(|| fsys::user_name(uid)).clone();
        let group = self.groups.entry(gid).or_insert_with(|| fsys::group_name(gid)).clone();
        Some(Owner { uid, gid, user, group })
    }
}
