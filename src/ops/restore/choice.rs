//! Which entries of a part are restored: those that patterns choose, and the directories that lead to them.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::format::entry::Entry;
use crate::ops::rules::{Rules, Verdict};
use crate::path::{EntryPath, Trail};

/// Patterns in gitignore syntax, relative to what is restored.
pub(super) struct Choice {
    include: Rules,
    exclude: Rules,
    only: Option<BTreeSet<EntryPath>>,
}

impl Choice {
    /// Compiles patterns; without any, everything is chosen.
    ///
    /// # Errors
    /// A pattern that is not valid; a usage error.
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        Ok(Self { include: Rules::given(include)?, exclude: Rules::given(exclude)?, only: None })
    }

    /// Chooses only what is named here too.
    pub(super) fn only(self, only: Option<BTreeSet<EntryPath>>) -> Self {
        Self { only, ..self }
    }

    /// Returns whether everything is chosen.
    pub(super) fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty() && self.only.is_none()
    }

    /// Begins to choose.
    pub(super) fn begin(&self) -> Chooser<'_> {
        Chooser { choice: self, above: Trail::default(), chosen: 0 }
    }
}

/// A directory above the next entry.
struct Above {
    included: bool,
    excluded: bool,
    // Kept until something below it is chosen; its path is the trail's.
    pending: Option<Entry>,
}

/// Chooses entries that come in path order.
pub(super) struct Chooser<'a> {
    choice: &'a Choice,
    above: Trail<Above>,
    /// How many entries were chosen for themselves.
    pub(super) chosen: u64,
}

impl Chooser<'_> {
    /// Takes the next entry, and its path below what is restored. Hands on what is restored now: nothing, or the
    /// directories that lead to it one by one, and the entry.
    ///
    /// What is excluded is so with everything below it. What is included is so with everything below it, unless a pattern
    /// with `!` takes it out again. Excluding goes before including.
    ///
    /// # Errors
    /// Those of who takes it.
    pub(super) fn take(
        &mut self,
        entry: Entry,
        path: &EntryPath,
        mut restore: impl FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        while self.above.is_left_by(&entry.path) {
            self.above.pop();
        }
        let (is_directory, is_root) = (entry.is_directory(), path.is_root());
        let above = self.above.last();
        let excluded = above.is_some_and(|above| above.excluded)
            || (!is_root && matches!(self.choice.exclude.judge(path.as_bytes(), is_directory), Verdict::Matched(_)));
        let included = if self.choice.include.is_empty() {
            !is_root
        } else {
            match self.choice.include.judge(path.as_bytes(), is_directory) {
                Verdict::Matched(_) => !is_root,
                Verdict::Kept => false,
                Verdict::None => above.is_some_and(|above| above.included),
            }
        };
        let is_named = self.choice.only.as_ref().is_none_or(|only| only.contains(path));
        let is_chosen = included && !excluded && is_named;
        self.chosen += u64::from(is_chosen);
        if is_chosen {
            for (bytes, above) in self.above.iter_mut() {
                if let Some(pending) = above.pending.take() {
                    let path = EntryPath::parse(bytes).expect("it was the path of an entry");
                    restore(Entry { path, ..pending })?;
                }
            }
        }
        // The place itself is restored in any case; it is what becomes the destination.
        let now = is_chosen || is_root;
        if !is_directory {
            return if now { restore(entry) } else { Ok(()) };
        }
        let here = entry.path.clone();
        let pending = (!now).then(|| Entry { path: EntryPath::root(), ..entry.clone() });
        self.above.push(&here, Above { included, excluded, pending });
        if now { restore(entry) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Digest;
    use crate::format::json;

    /// What is restored of a tree, whose directories end in `/`.
    fn chosen(tree: &[&str], include: &[&str], exclude: &[&str]) -> (Vec<String>, u64) {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let choice = Choice::new(&words(include), &words(exclude)).expect("valid");
        run(&choice, tree)
    }

    fn run(choice: &Choice, tree: &[&str]) -> (Vec<String>, u64) {
        let mut chooser = choice.begin();
        let mut restored = Vec::new();
        for text in tree {
            let path = EntryPath::parse(text.trim_end_matches('/').as_bytes()).expect("valid");
            let shown = serde_json::to_string(text.trim_end_matches('/')).expect("text");
            let id = Digest([1; 32]);
            let line = match text.is_empty() || text.ends_with('/') {
                true => format!(r#"{{"kind":"directory","path":{shown}}}"#),
                false => format!(r#"{{"chunks":[["{id}",1]],"kind":"file","path":{shown},"size":1}}"#),
            };
            let entry: Entry = json::decode(line.as_bytes()).expect("canonical");
            let restore = |entry: Entry| {
                restored.push(entry.path.to_string());
                Ok(())
            };
            chooser.take(entry, &path, restore).expect("nothing fails");
        }
        (restored, chooser.chosen)
    }

    const TREE: [&str; 9] = ["", "a/", "a/b/", "a/b/x.rs", "a/c.txt", "d/", "d/e/", "d/e/y.rs", "z.rs"];

    #[test]
    fn parents_of_what_is_chosen_come_before_it_and_nothing_else_does() {
        assert_eq!(chosen(&TREE, &["x.rs"], &[]).0, [".", "a", "a/b", "a/b/x.rs"]);
        assert_eq!(chosen(&TREE, &["/z.rs"], &[]).0, [".", "z.rs"]);
        assert_eq!(chosen(&TREE, &["/d/"], &[]).0, [".", "d", "d/e", "d/e/y.rs"]);
        assert_eq!(chosen(&TREE, &["*.rs"], &["/a/"]).0, [".", "d", "d/e", "d/e/y.rs", "z.rs"]);
        assert_eq!(chosen(&TREE, &["*.rs", "!y.rs"], &[]).0, [".", "a", "a/b", "a/b/x.rs", "z.rs"]);
        assert_eq!(chosen(&TREE, &["/a/", "!/a/b/"], &[]).0, [".", "a", "a/c.txt"]);
        assert_eq!(chosen(&TREE, &[], &["b/", "*.txt"]).0, [".", "a", "d", "d/e", "d/e/y.rs", "z.rs"]);
        assert_eq!(chosen(&TREE, &[], &["b/", "!a/b/"]).0.len(), TREE.len(), "the last pattern decides");
    }

    #[test]
    fn only_what_is_named_is_chosen_and_nothing_below_it() {
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("valid");
        let only = |names: &[&str], include: &[String]| {
            let named = names.iter().map(|name| path(name)).collect();
            run(&Choice::new(include, &[]).expect("valid").only(Some(named)), &TREE).0
        };
        assert_eq!(only(&["a/b/x.rs", "z.rs"], &[]), [".", "a", "a/b", "a/b/x.rs", "z.rs"]);
        assert_eq!(only(&["d"], &[]), [".", "d"]);
        assert_eq!(only(&["z.rs", "a/c.txt"], &["*.rs".to_owned()]), [".", "z.rs"]);
        assert_eq!(only(&[], &[]), ["."]);
    }

    #[test]
    fn everything_is_chosen_where_nothing_is_said() {
        let any = ["*".to_owned()];
        let all = || Choice::new(&[], &[]).expect("valid");
        assert!(all().is_everything());
        assert!(!Choice::new(&any, &[]).expect("valid").is_everything());
        assert!(!Choice::new(&[], &any).expect("valid").is_everything());
        assert!(!all().only(Some(BTreeSet::new())).is_everything());
    }

    #[test]
    fn what_matches_nothing_chooses_nothing_but_the_place() {
        assert_eq!(chosen(&TREE, &["*.c"], &[]), (vec![".".to_owned()], 0));
        assert_eq!(chosen(&TREE, &["*.rs"], &["*"]), (vec![".".to_owned()], 0));
    }
}
