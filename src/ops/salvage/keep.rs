//! Metadata of what is salvaged: set as far as the target takes it, then read back; what differs is told.
//!
//! A restore refuses before the first byte where it could not be exact. A salvage takes what it can get: here nothing is
//! refused, and nothing is silent.

use crate::format::attribute;
use crate::format::entry::{Entry, Owner};
use crate::fsys::{self, Object, Xattr, access_list, same_time};
use crate::path::shown;
use crate::vault::Finding;

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;
/// Gives rights to whoever runs the file, as set-id bits do.
const CAPABILITY: &[u8] = b"security.capability";

/// Reads an attribute's value.
pub(super) type Value<'a> = &'a dyn Fn(&attribute::Value) -> Result<Vec<u8>, Finding>;

/// Sets an object's metadata and returns what then differs from its entry, in words.
///
/// The order matters: changing the owner clears set-id bits and capabilities; attributes take the right to write, which
/// the mode may end, so that they are read back before it; an access list refines the mode; everything before changes times. Where
/// a list is not taken, the mode alone must give nobody more than the list did. A set-id bit or a capability is set only where the object belongs
/// to the recorded owner: elsewhere it would give somebody else's rights.
pub(super) fn apply(object: Object<'_>, entry: &Entry, value: Value<'_>) -> Vec<String> {
    let mut differences = Vec::new();
    let number = |owner: &Owner| owner.numbers_here(fsys::user_number, fsys::group_number);
    let owner = entry.owner.as_ref().map(number).transpose().unwrap_or_else(|error| {
        differences.push(format!("who owns it on this machine cannot be looked up: {error}"));
        None
    });
    if let Some((uid, gid)) = owner {
        // What it belongs to afterwards is what counts.
        let _ = object.set_owner(Some(uid), Some(gid));
    }
    let is_owned = owner.is_some() && object.stat().is_ok_and(|stat| stat.owner == owner);
    let mut values = Vec::new();
    for xattr in &entry.xattrs {
        if xattr.name == CAPABILITY && !is_owned {
            differences.push("its capabilities are not set: it does not belong to its owner".to_owned());
            continue;
        }
        match value(&xattr.value) {
            Ok(value) => values.push((&xattr.name[..], value)),
            Err(finding) => differences.push(format!("its attribute {}: {}", shown(&xattr.name), finding.detail)),
        }
    }
    let (lists, others): (Vec<_>, Vec<_>) = values.iter().partition(|(name, _)| access_list::NAMES.contains(name));
    for (name, value) in &others {
        let _ = object.set_xattr(name, value);
    }
    let mut attributes = object.xattrs().unwrap_or_default();
    for stream in &entry.streams {
        if let Ok(value) = value(&stream.value) {
            let _ = object.set_stream(&stream.name, &value);
        }
    }
    let mode = entry.mode.filter(|_| entry.kind.target().is_none());
    let meant = mode.map(|mode| if is_owned { mode } else { mode & !SET_ID });
    if let Some(mode) = meant {
        let has_list = entry.xattrs.iter().any(|xattr| xattr.name == access_list::ACCESS);
        let list = lists.iter().find(|(name, _)| *name == access_list::ACCESS).map(|(_, list)| &list[..]);
        let alone = if has_list { access_list::mode_without(mode, list.unwrap_or_default()) } else { mode };
        let _ = object.set_mode(alone);
    }
    if mode != meant {
        differences.push("its set-id bits are not set: it does not belong to its owner".to_owned());
    }
    for (name, value) in &lists {
        let _ = object.set_xattr(name, value);
    }
    attributes.retain(|(name, _)| !access_list::NAMES.contains(&&name[..]));
    attributes.extend(object.access_lists().unwrap_or_default());
    let _ = object.set_times(entry.mtime, entry.created);
    let (flags, _) = entry.own_and_foreign_flags();
    if let Some(flags) = flags {
        let _ = object.set_flags(flags);
    }
    compare(object, entry, (owner, meant, flags), (&values, &attributes), &mut differences);
    differences
}

type NamedValue<'a> = (&'a [u8], Vec<u8>);
type Meant = (Option<(u32, u32)>, Option<u32>, Option<u32>);

/// Reads back what was set.
fn compare(
    object: Object<'_>,
    entry: &Entry,
    (owner, mode, flags): Meant,
    (values, attributes): (&[NamedValue<'_>], &[Xattr]),
    differences: &mut Vec<String>,
) {
    let found = match object.stat() {
        Ok(found) => found,
        Err(error) => return differences.push(format!("it cannot be looked at: {error}")),
    };
    if let Some(meant) = owner
        && found.owner != Some(meant)
    {
        let is = found.owner.map_or_else(|| "nobody".to_owned(), |(uid, gid)| format!("{uid}:{gid}"));
        differences.push(format!("it belongs to {is}, not {}:{}", meant.0, meant.1));
    }
    if let Some(meant) = mode
        && found.mode != Some(meant)
    {
        differences.push(match found.mode {
            Some(is) => format!("its mode is {is:o}, not {meant:o}"),
            None => format!("the target keeps no mode; it was {meant:o}"),
        });
    }
    if let Some(meant) = entry.mtime
        && !same_time(meant, found.mtime)
    {
        differences.push(format!("its time is {}, not {}", found.mtime.rfc3339_exact(), meant.rfc3339_exact()));
    }
    if let Some(meant) = entry.created
        && !found.created.is_some_and(|is| same_time(meant, is))
    {
        differences.push(format!("its time of creation is not {}", meant.rfc3339_exact()));
    }
    if let Some(meant) = flags
        && found.flags != Some(meant)
    {
        differences.push(format!("its flags are not {meant:x}"));
    }
    if values.is_empty() && entry.streams.is_empty() {
        return;
    }
    for (name, value) in values {
        if !attributes.iter().any(|(is, bytes)| is == name && bytes == value) {
            differences.push(format!("its attribute {} is not there or differs", shown(name)));
        }
    }
    let streams = object.streams().unwrap_or_default();
    for stream in &entry.streams {
        if !streams.iter().any(|(name, bytes)| *name == stream.name && stream.value.is(bytes)) {
            differences.push(format!("its stream {} is not there or differs", shown(&stream.name)));
        }
    }
}

// Linux alone: its extended attributes.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::format::attribute::Attribute;
    use crate::format::entry::Kind;
    use crate::path::EntryPath;

    fn entry() -> Entry {
        Entry {
            mode: Some(0o640),
            mtime: Some(Time { seconds: 1_000_000_000, nanos: 7 }),
            ..Entry::new(EntryPath::parse(b"file").expect("valid"), Kind::Fifo)
        }
    }

    fn apply_to_a_file(entry: &Entry) -> (Vec<String>, fsys::Stat) {
        let file = tempfile::tempfile().expect("a file");
        let value = |value: &attribute::Value| match value {
            attribute::Value::Inline(bytes) => Ok(bytes.clone()),
            attribute::Value::Chunks(_) => Err(Finding::new(crate::refusal::Code::ChunkMissing, "chunk", "gone")),
        };
        let differences = apply(Object::File(&file), entry, &value);
        (differences, fsys::stat_file(&file).expect("readable"))
    }

    #[test]
    fn mode_and_time_are_set_and_read_back() {
        let (differences, stat) = apply_to_a_file(&entry());
        assert_eq!(differences, [""; 0]);
        assert_eq!((stat.mode, stat.mtime), (Some(0o640), Time { seconds: 1_000_000_000, nanos: 7 }));
    }

    #[test]
    fn what_the_target_does_not_take_is_told() {
        let named = |name: &str, value| Attribute { name: name.into(), value };
        let xattrs = vec![
            named("nonsense.x", attribute::Value::Inline(b"x".to_vec())),
            named("user.gone", attribute::Value::Chunks(Vec::new())),
        ];
        let (differences, _) = apply_to_a_file(&Entry { xattrs, ..entry() });
        let told = |part: &str| differences.iter().any(|difference| difference.contains(part));
        assert!(differences.len() == 2 && told("nonsense.x") && told("gone"), "{differences:?}");
    }

    #[test]
    fn a_set_id_bit_is_never_set_on_what_does_not_belong_to_its_owner() {
        let (differences, stat) = apply_to_a_file(&Entry { mode: Some(0o4755), ..entry() });
        assert_eq!(stat.mode, Some(0o755));
        assert!(differences.iter().any(|difference| difference.contains("set-id")), "{differences:?}");
        let xattrs = vec![Attribute { name: CAPABILITY.to_vec(), value: attribute::Value::Inline(vec![1; 20]) }];
        let (differences, _) = apply_to_a_file(&Entry { xattrs, ..entry() });
        assert!(differences.iter().any(|difference| difference.contains("capabilities")), "{differences:?}");
    }
}
