//! Hard links: several names of one object, each a whole entry; all names of an object must agree.

use std::collections::HashMap;

use super::Malformed;
use super::entry::Entry;
use super::json;
use crate::crypto::Digest;
use crate::path::EntryPath;

/// The names of one object that were seen so far.
#[derive(Debug, Clone)]
pub struct Group {
    /// The first of them.
    pub first: EntryPath,
    /// How many there are.
    pub names: u64,
    body: Digest,
}

/// Holds the names of each object against each other, in path order. Memory grows with the objects of several names.
#[derive(Debug, Default)]
pub struct Links {
    groups: HashMap<EntryPath, Group>,
}

impl Links {
    /// Takes the next entry. Returns the name of the same object that was taken first, if this is a further one.
    ///
    /// `whole` says that the listing is taken from its beginning, so that every first name must have been seen; of a part
    /// of a listing the first name that lies in it stands for the object.
    ///
    /// # Errors
    /// A first name that is not there, or is no first name; entries of one object that differ.
    pub fn take(&mut self, entry: &Entry, whole: bool) -> Result<Option<&EntryPath>, Malformed> {
        match entry.links {
            Some(_) => self.take_name(&entry.path, entry.hardlink.as_ref(), body(entry), whole),
            None => Ok(None),
        }
    }

    /// Takes the next name of an object of several names, of whose entry only the [`body`] is known.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_name(
        &mut self,
        path: &EntryPath,
        first: Option<&EntryPath>,
        body: Digest,
        whole: bool,
    ) -> Result<Option<&EntryPath>, Malformed> {
        let key = first.unwrap_or(path);
        if !self.groups.contains_key(key) {
            if whole && first.is_some() {
                return Err(Malformed(format!("{path} is said to be another name of {key}, which is none")));
            }
            self.groups.insert(key.clone(), Group { first: path.clone(), names: 1, body });
            return Ok(None);
        }
        let group = self.groups.get_mut(key).expect("just looked");
        if group.body != body {
            return Err(Malformed(format!("{path} and {} are one object and differ", group.first)));
        }
        group.names += 1;
        Ok(Some(&group.first))
    }

    /// Returns every object of several names.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }
}

/// Returns what must be equal in all names of an object: everything but the name.
pub fn body(entry: &Entry) -> Digest {
    let nameless = Entry { path: EntryPath::root(), hardlink: None, ..entry.clone() };
    Digest::of(&json::encode(&nameless))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::Kind;

    fn entry(path: &str, first: Option<&str>) -> Entry {
        let parse = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        Entry { links: Some(2), hardlink: first.map(parse), ..Entry::new(parse(path), Kind::Fifo) }
    }

    #[test]
    fn names_of_one_object_must_agree_and_begin_with_the_first() {
        let mut links = Links::default();
        assert!(links.take(&entry("a", None), true).expect("first").is_none());
        assert_eq!(
            links.take(&entry("b", Some("a")), true).expect("second").map(ToString::to_string),
            Some("a".into())
        );
        let other = Entry { mode: Some(0), ..entry("c", Some("a")) };
        assert!(links.take(&other, true).is_err(), "they differ");
        assert!(links.take(&entry("d", Some("c")), true).is_err(), "c is no first name");
        assert_eq!(links.groups().map(|group| group.names).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn in_a_part_of_a_listing_the_first_name_in_it_stands_for_the_object() {
        let mut links = Links::default();
        assert!(links.take(&entry("p/b", Some("a")), false).expect("first here").is_none());
        let first = links.take(&entry("p/c", Some("a")), false).expect("second here");
        assert_eq!(first.map(ToString::to_string), Some("p/b".into()));
    }
}
