//! Checks that the tests exist that the threat model names.

use std::fs;

use crate::check::Done;
use crate::imports::rust_files;
use crate::workspace::Workspace;

const PAGE: &str = "docs/threat-model.md";

/// The page names at least as many.
const LEAST: usize = 20;

pub(crate) fn check(workspace: &Workspace) -> Result<Done, String> {
    let read = |path: &std::path::Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let page = read(&workspace.root.join(PAGE))?;
    let names = tests_in(&page);
    if names.len() < LEAST {
        return Err(format!(
            "{PAGE} names {} tests, and at least {LEAST} are expected",
            names.len()
        ));
    }
    let mut sources = String::new();
    for folder in ["crates", "tests"] {
        for file in rust_files(&workspace.root.join(folder))? {
            sources.push_str(&read(&file)?);
        }
    }
    match names.iter().find(|name| !sources.contains(&format!("fn {name}"))) {
        None => Ok(Done::Passed(format!("({} tests)", names.len()))),
        Some(name) => Err(format!("{PAGE} names a test that does not exist: {name}")),
    }
}

/// The names in backquotes that are sentences: several words joined by underscores.
fn tests_in(page: &str) -> Vec<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    let is_name = |text: &&str| {
        text.bytes().filter(|byte| *byte == b'_').count() >= 3
            && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
    };
    quoted.filter(is_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_names_of_tests_and_options_are_not() {
        let page = "`--allow-v1`, `a_row_is_read` and `log_parameter_max_length = 0`, `VAULTSTORE_KDF_LIMIT_X_Y`, `rekey`";
        assert_eq!(tests_in(page), ["a_row_is_read"]);
    }
}
