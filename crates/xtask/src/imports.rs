//! Parses the `use` declarations of Rust sources: who imports what.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One name that a file imports, as path segments without aliases.
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// `pub use` and the like: the name is re-exported, not used.
    pub(crate) is_reexport: bool,
}

/// How the tests of a file begin.
const TESTS: [&str; 2] = ["\n#[cfg(test)]\nmod ", "\n#[cfg(all(test, unix))]\nmod "];

/// Returns the imports of a file, without those of its tests: everything after them is left out.
pub(crate) fn of(source: &str) -> Vec<Import> {
    let code = TESTS.iter().fold(source, |code, tests| code.split(tests).next().unwrap_or(code));
    let mut imports = Vec::new();
    let mut rest = code;
    while let Some((start, is_reexport)) = next_use(rest) {
        let Some(end) = rest[start..].find(';') else { break };
        let tree: String =
            rest[start..start + end].split_whitespace().collect::<Vec<_>>().join(" ");
        let mut prefix = Vec::new();
        flatten(&tree, &mut prefix, &mut |path| {
            imports.push(Import { path: path.to_vec(), is_reexport });
        });
        rest = &rest[start + end..];
    }
    imports
}

/// Finds the start of the next `use` tree at the start of a line.
fn next_use(code: &str) -> Option<(usize, bool)> {
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let text = line.trim_start();
        let (visibility, text_after) = match text.strip_prefix("pub") {
            Some(rest) => {
                let rest = match rest.strip_prefix('(') {
                    Some(scope) => scope.split_once(')').map_or(rest, |(_, rest)| rest),
                    None => rest,
                };
                (true, rest.trim_start())
            }
            None => (false, text),
        };
        if let Some(tree) = text_after.strip_prefix("use ") {
            return Some((at + line.len() - tree.len(), visibility));
        }
        at += line.len();
    }
    None
}

/// Calls back with each path of a use tree.
fn flatten(tree: &str, prefix: &mut Vec<String>, found: &mut impl FnMut(&[String])) {
    let tree = tree.trim();
    let depth = prefix.len();
    if let Some((head, group)) = tree.split_once('{') {
        prefix.extend(head.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned));
        for part in split_top_level(group.strip_suffix('}').unwrap_or(group)) {
            flatten(part, prefix, found);
        }
    } else if !tree.is_empty() {
        let path = tree.split(" as ").next().unwrap_or_default();
        prefix.extend(path.split("::").map(|s| s.trim().to_owned()));
        found(prefix);
    }
    prefix.truncate(depth);
}

/// Splits at commas that are outside of braces.
fn split_top_level(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[from..]);
    parts
}

/// Returns all Rust files below a directory, sorted.
pub(crate) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        of(source).iter().map(|import| import.path.join("::")).collect()
    }

    #[test]
    fn a_tree_of_uses_is_flattened() {
        let source = "use a::b;\npub(crate) use c::{d, e::{f, g as h},\n  i};\n";
        assert_eq!(paths(source), ["a::b", "c::d", "c::e::f", "c::e::g", "c::i"]);
        let reexports: Vec<bool> = of(source).iter().map(|import| import.is_reexport).collect();
        assert_eq!(reexports, [false, true, true, true, true]);
    }

    #[test]
    fn the_imports_of_tests_do_not_count() {
        for cfg in ["test", "all(test, unix)"] {
            let source = format!("use a::b;\n\n#[cfg({cfg})]\nmod tests {{\n    use c::d;\n}}\n");
            assert_eq!(paths(&source), ["a::b"]);
        }
    }
}
