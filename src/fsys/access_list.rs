//! POSIX access lists, in the form in which Linux hands them out as extended attributes: a version, then entries of a tag, a
//! permission and a number, all little-endian (`include/uapi/linux/posix_acl_xattr.h`).

/// The list that rules access to an object.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The list that what is made in a directory begins with.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";
/// The names of all lists.
pub const NAMES: [&[u8]; 2] = [ACCESS, DEFAULT];

const VERSION: u32 = 2;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;

/// Returns the mode of an object without its access list, which gives nobody a right by that. With a list, the bits of the
/// group are the list's mask, and what the group may is in the list; and who is named in it has the rights of that entry
/// alone, which may be fewer than those of everybody. A list that cannot be understood leaves nobody but the owner anything.
pub fn mode_without(mode: u32, list: &[u8]) -> u32 {
    let (group, others) = rights_without(list).unwrap_or((0, 0));
    mode & !0o077 | mode & (group << 3 | others)
}

/// Returns the rights that a list leaves its group, and everybody else, where nobody named in it may have more by that.
fn rights_without(list: &[u8]) -> Option<(u32, u32)> {
    let (version, entries) = list.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION || !entries.len().is_multiple_of(8) {
        return None;
    }
    let rights = |wanted: u16| {
        let entries = entries.chunks_exact(8).filter(move |entry| u16::from_le_bytes([entry[0], entry[1]]) == wanted);
        entries.map(|entry| u32::from(u16::from_le_bytes([entry[2], entry[3]])) & 0o7)
    };
    let mask = rights(MASK).next().unwrap_or(0o7);
    let users = rights(USER).fold(0o7, |all, one| all & one & mask);
    let groups = rights(GROUP).fold(0o7, |all, one| all & one & mask);
    Some((rights(GROUP_OBJ).next()? & mask & users, users & groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16)]) -> Vec<u8> {
        let entry =
            |(tag, rights): &(u16, u16)| [tag.to_le_bytes(), rights.to_le_bytes(), [0xff; 2], [0xff; 2]].concat();
        let mut list = VERSION.to_le_bytes().to_vec();
        list.extend(entries.iter().flat_map(entry));
        list
    }

    #[test]
    fn without_its_list_an_object_gives_its_group_what_the_list_gave_it() {
        // The owner, a user who may do everything, the group, the mask, everybody else.
        let named = |group, mask| list(&[(0x01, 6), (USER, 7), (GROUP_OBJ, group), (MASK, mask), (0x20, 0)]);
        assert_eq!(mode_without(0o660, &named(0, 6)), 0o600);
        assert_eq!(mode_without(0o4_770, &named(5, 7)), 0o4_750);
        assert_eq!(mode_without(0o750, &named(7, 5)), 0o750);
        assert_eq!(mode_without(0o640, &list(&[(0x01, 6), (GROUP_OBJ, 4), (0x20, 0)])), 0o640);
    }

    #[test]
    fn whom_a_list_denied_something_may_no_more_without_it() {
        for (tag, mode) in [(USER, 0o600), (GROUP, 0o640)] {
            let list = list(&[(0x01, 6), (tag, 0), (GROUP_OBJ, 4), (MASK, 4), (0x20, 4)]);
            assert_eq!(mode_without(0o644, &list), mode);
        }
    }

    #[test]
    fn a_list_that_cannot_be_understood_leaves_the_owner_alone() {
        for list in [&b""[..], &[2, 0, 0, 0], &[2, 0, 0, 0, 4, 0, 7, 0], &[3, 0, 0, 0, 4, 0, 7, 0, 0, 0, 0, 0]] {
            assert_eq!(mode_without(0o664, list), 0o600, "{list:?}");
        }
    }
}
