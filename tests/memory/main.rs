//! Whether a secret is left in the memory of a process that has dropped it: another process reads
//! all of it, as a core file would hold it.
//!
//! A child makes a vault, rekeys it twice, by way of v2, and reads it. While it holds its
//! passwords, keys and values, the search must find them; and it must find every other secret in
//! every form once the child has loaded a file of them. After it has dropped them, the search must
//! find nothing.

#![cfg(all(target_os = "linux", feature = "redb"))]

#[cfg(test)]
mod child;
#[cfg(test)]
mod needles;
#[cfg(test)]
mod process;

#[cfg(test)]
mod tests {
    use std::{env, path::Path};

    use crate::child::{self, FOLDER};
    use crate::needles::{Needle, of_a_life};
    use crate::process::Process;

    #[test]
    fn nothing_secret_is_left_in_memory_once_it_was_dropped() {
        if let Some(folder) = env::var_os(FOLDER) {
            return child::live(Path::new(&folder));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut child = Process::start(
            "tests::nothing_secret_is_left_in_memory_once_it_was_dropped",
            folder.path(),
        );

        child.reach("alive");
        let needles = of_a_life(folder.path());
        let found = child.search(&needles);
        for needle in needles.iter().filter(|needle| needle.is_held) {
            let is_found = found.iter().any(|found| found.name == needle.name);
            assert!(is_found, "{} is in use and was not found", needle.name);
        }

        child::plant(folder.path(), &needles);
        child.go_on();
        child.reach("planted");
        let found = child.search(&needles);
        for Needle { name, form, .. } in &needles {
            let is_found = found.iter().any(|found| found.name == *name && found.form == *form);
            assert!(is_found, "{name} as {form} was planted and not found");
        }

        for stage in ["dropped", "closed"] {
            child.go_on();
            child.reach(stage);
            let found = child.search(&needles);
            assert!(found.is_empty(), "{stage}: {} are left: {found:#?}", found.len());
        }
        child.go_on();
        child.end();
    }
}
