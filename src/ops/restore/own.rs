//! The files that this restore made: whatever another process puts under the name of one is not taken for it.
//!
//! A file is opened again to write its further pieces, and once more to be sealed. It is known by its id, noted while it
//! was open for the first time. No name tells as much: what stands under it may be a second name of a file anywhere else,
//! and a system that takes a name away lowers the number of names before it forgets the name, so that such a file looks,
//! for microseconds, as if it had this name alone.
//!
//! Not told apart is a file that was made later and got the number of one that another process removed here.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use super::class::Class;
use super::keep::Keep;
use super::tree::failed;
use crate::error::{Error, Result};
use crate::format::entry::Entry;
use crate::fsys::{self, Dir, ObjectId, ObjectKind, Stat};
use crate::ops::object;
use crate::path::EntryPath;
use crate::refusal::{Code, Refusal};

/// Opens a file for writing that this process made.
///
/// # Errors
/// DV209: something else has its name, or it has another name, which may lie anywhere. The file system fails.
pub(super) fn reopen(dir: &Dir, path: &EntryPath, made: ObjectId, keep: &Keep) -> Result<File> {
    let open = dir.reopen_file(path.name()).map_err(|error| match dir.stat_at(path.name()) {
        Ok(stat) if stat.kind == ObjectKind::File => failed(path, "open", error),
        _ => Error::from(replaced(path).cause(error)),
    })?;
    require_own(dir, path, &open, made, keep)?;
    Ok(open)
}

/// Opens a file for sealing that this process made.
///
/// # Errors
/// Those of [`reopen`]; several names are none where the entry has them.
pub(super) fn open_to_seal(dir: &Dir, entry: &Entry, made: ObjectId, keep: &Keep) -> Result<File> {
    let path = &entry.path;
    let file = if cfg!(windows) { dir.reopen_file(path.name()) } else { dir.open_file(path.name()) };
    let file = file.map_err(|error| failed(path, "seal", error))?;
    if entry.links.is_some() && keep.keeps(Class::Hardlink) {
        return if look(path, &file)?.id == made { Ok(file) } else { Err(another(path)) };
    }
    require_own(dir, path, &file, made, keep)?;
    Ok(file)
}

/// Refuses a name under which something else lies than a link, pipe, socket or device that this process made there. What is
/// done by the name afterwards may still meet what was put there in between.
///
/// # Errors
/// DV209.
pub(super) fn require_kind(dir: &Dir, entry: &Entry) -> Result<()> {
    let found = dir.stat_at(entry.path.name()).map_err(|error| replaced(&entry.path).cause(error))?;
    if (found.kind, found.device) == object::expected(&entry.kind) { Ok(()) } else { Err(another(&entry.path)) }
}

/// Refuses an open file that is not the one that was made, or has another name.
fn require_own(dir: &Dir, path: &EntryPath, open: &File, made: ObjectId, keep: &Keep) -> Result<()> {
    let opened = look(path, open)?;
    let is_own = if keep.ids_decide {
        is_alone(&opened, made)
    } else {
        let named = dir.stat_at(path.name()).map_err(|error| replaced(path).cause(error))?;
        named.kind == ObjectKind::File && is_alone(&named, opened.id)
    };
    if is_own { Ok(()) } else { Err(another(path)) }
}

/// Returns whether this is the file of an id, and has one name.
fn is_alone(found: &Stat, id: ObjectId) -> bool {
    found.id == id && found.links <= 1
}

fn look(path: &EntryPath, open: &File) -> Result<Stat> {
    fsys::stat_file(open).map_err(|error| failed(path, "look at", error))
}

fn another(path: &EntryPath) -> Error {
    replaced(path).cause("what has its name is not the file that was made, or has another name too").into()
}

fn replaced(path: &EntryPath) -> Refusal {
    Refusal::new(Code::DestinationChanged, format!("{path} was replaced during the restore"))
}

/// The ids of the files that are sealed in the end, each by its number among them in the order of the listing.
#[derive(Debug, Default)]
pub(super) struct ToSeal(Mutex<Vec<ObjectId>>);

impl ToSeal {
    /// Notes a file that is complete and open. Files become complete in any order.
    ///
    /// # Errors
    /// The file system fails.
    pub(super) fn note(&self, number: usize, path: &EntryPath, open: &File) -> Result<()> {
        let id = look(path, open)?.id;
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() <= number {
            ids.resize(number + 1, ObjectId::default());
        }
        ids[number] = id;
        Ok(())
    }

    /// Returns the ids, in the order of the listing.
    pub(super) fn take(&self) -> Vec<ObjectId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::format::entry::{FileContent, Kind};

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("valid")
    }

    /// Where ids stay, and where they may not.
    fn keeps() -> [Keep; 2] {
        [true, false].map(|ids_decide| Keep { ids_decide, ..Keep::default() })
    }

    /// A directory with a file `own`, and what that is.
    fn made() -> (tempfile::TempDir, Dir, ObjectId) {
        let root = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(root.path()).expect("readable");
        let file = dir.create_file(b"own").expect("writable");
        let id = fsys::stat_file(&file).expect("there").id;
        (root, dir, id)
    }

    #[test]
    fn a_file_that_has_another_name_or_gave_way_to_another_is_not_written_to() {
        for keep in keeps() {
            let (root, dir, id) = made();
            let refused = |name: &str| {
                let error = reopen(&dir, &path(name), id, &keep).expect_err(name);
                assert_eq!(error.code(), Some(Code::DestinationChanged), "{name}: {error}");
            };
            assert!(reopen(&dir, &path("below/own"), id, &keep).is_ok());
            fs::hard_link(root.path().join("own"), root.path().join("other")).expect("writable");
            refused("below/own");
            refused("gone");
            dir.create_dir(b"directory").expect("writable");
            refused("directory");
        }
    }

    #[test]
    fn where_ids_stay_the_id_decides_whatever_the_name_stands_for() {
        let [ids, names] = keeps();
        let (root, dir, id) = made();
        // Under its name lies a file from elsewhere that has no other name any more.
        fs::rename(root.path().join("own"), root.path().join("away")).expect("writable");
        fs::write(root.path().join("own"), "not yours").expect("writable");
        let error = reopen(&dir, &path("own"), id, &ids).expect_err("another file");
        assert_eq!(error.code(), Some(Code::DestinationChanged), "{error}");
        // Where they do not stay, another id is no reason.
        assert!(reopen(&dir, &path("own"), id, &names).is_ok());
    }

    #[test]
    fn where_ids_do_not_stay_the_name_stands_for_the_open_file_or_it_is_not_written_to() {
        let [_, keep] = keeps();
        let (root, dir, id) = made();
        let own = || dir.open_file(b"own").expect("there");
        let open = own();
        let check = |open: &File| require_own(&dir, &path("own"), open, id, &keep).map_err(|error| error.code());
        assert_eq!(check(&open), Ok(()));
        let replaced = Err(Some(Code::DestinationChanged));
        // It was opened under its only name here, which somebody took away since: the one that is left lies elsewhere.
        fs::rename(root.path().join("own"), root.path().join("elsewhere")).expect("writable");
        assert_eq!(check(&open), replaced, "nothing has its name");
        dir.create_dir(b"own").expect("writable");
        assert_eq!(check(&open), replaced, "a directory has it");
        dir.remove_dir(b"own").expect("empty");
        dir.create_file(b"own").expect("writable");
        assert_eq!(check(&open), replaced, "another file has it");
        assert_eq!(check(&own()), Ok(()));
        fs::remove_file(root.path().join("own")).expect("writable");
        fs::hard_link(root.path().join("elsewhere"), root.path().join("own")).expect("writable");
        assert_eq!(check(&open), replaced, "it has a second name again");
    }

    #[test]
    fn what_is_sealed_is_the_file_that_was_made() {
        let keep = Keep { ids_decide: true, ..Keep::default() };
        let given_up = Keep { without: [Class::Hardlink].into(), ids_decide: true, ..Keep::default() };
        let (root, dir, id) = made();
        let alone = Entry::new(path("own"), Kind::File(FileContent::default()));
        let mut linked = alone.clone();
        linked.links = Some(2);
        let code = |entry, keep| open_to_seal(&dir, entry, id, keep).map_err(|error| error.code());
        assert!(code(&alone, &keep).is_ok() && code(&linked, &keep).is_ok());
        fs::hard_link(root.path().join("own"), root.path().join("further")).expect("writable");
        let replaced = Some(Code::DestinationChanged);
        // A second name is what the entry has, and no reason, where names are restored.
        assert!(code(&linked, &keep).is_ok());
        assert_eq!(code(&linked, &given_up).expect_err("a second name"), replaced);
        assert_eq!(code(&alone, &keep).expect_err("a second name"), replaced);
        fs::remove_file(root.path().join("own")).expect("there");
        fs::write(root.path().join("own"), "not yours").expect("writable");
        assert_eq!(code(&linked, &keep).expect_err("another file"), replaced);
        assert_eq!(code(&alone, &keep).expect_err("another file"), replaced);
    }

    #[test]
    fn files_to_seal_are_told_by_their_number_whenever_they_become_complete() {
        let (root, dir, id) = made();
        let file = |name: &[u8]| dir.create_file(name).expect("writable");
        let (other, third) = (file(b"other"), file(b"third"));
        let ids = ToSeal::default();
        assert!(ids.take().is_empty());
        ids.note(2, &path("own"), &dir.open_file(b"own").expect("there")).expect("there");
        ids.note(0, &path("other"), &other).expect("there");
        ids.note(1, &path("third"), &third).expect("there");
        let number = |name: &str| dir.stat_at(name.as_bytes()).expect("there").id;
        assert_eq!(ids.take(), [number("other"), number("third"), id]);
        drop(root);
    }

    // Unix alone: links that any account may make, and pipes.
    #[cfg(unix)]
    #[test]
    fn what_took_the_place_of_a_file_is_not_written_to() {
        let [keep, _] = keeps();
        let (_root, dir, id) = made();
        dir.create_symlink(b"own", b"link").expect("writable");
        dir.create_special(b"pipe", ObjectKind::Fifo, (0, 0)).expect("writable");
        for name in ["link", "pipe"] {
            let error = reopen(&dir, &path(name), id, &keep).expect_err("no file");
            assert_eq!(error.code(), Some(Code::DestinationChanged), "{name}: {error}");
        }
    }

    // Unix alone: pipes.
    #[cfg(unix)]
    #[test]
    fn what_is_no_pipe_gets_nothing_of_a_pipe() {
        let (_root, dir, _) = made();
        dir.create_special(b"pipe", ObjectKind::Fifo, (0, 0)).expect("writable");
        assert!(require_kind(&dir, &Entry::new(path("pipe"), Kind::Fifo)).is_ok());
        for name in ["own", "gone"] {
            let error = require_kind(&dir, &Entry::new(path(name), Kind::Fifo)).expect_err("no pipe");
            assert_eq!(error.code(), Some(Code::DestinationChanged), "{name}: {error}");
        }
    }

    // Linux alone: a file that nobody may write to, because it runs.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_opened_does_not_count_as_replaced() {
        let program = fs::canonicalize("/proc/self/exe").expect("this program");
        let (dir, name) = (program.parent().expect("not the root"), program.file_name().expect("a file"));
        let (dir, name) = (Dir::open(dir).expect("readable"), name.as_encoded_bytes());
        if dir.reopen_file(name).is_ok() {
            println!("skipped: what runs can be written to here");
            return;
        }
        let path = EntryPath::root().join(name).expect("valid");
        let error = reopen(&dir, &path, ObjectId::default(), &Keep::default()).expect_err("it runs");
        assert_eq!(error.code(), None, "{error}");
    }
}
