//! The arrows of ARCHITECTURE.md: who may know whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    ci::Done,
    command::Run as _,
    paths::{is_within, named_in},
    workspace::{Workspace, values},
};

/// The crate that knows no database, no runtime, no file and no environment.
const CORE: &str = "vault-core";

/// The crates that know no key and no plaintext, as far as they are there.
const BACKENDS: [&str; 3] = ["vault-redb", "vault-sqlite", "vault-postgres"];

/// What a dependency of the core is not called, nor does its name begin so with a hyphen after it.
const DATABASES_AND_RUNTIMES: [&str; 27] = [
    "redb",
    "sqlx",
    "rusqlite",
    "libsqlite3-sys",
    "sqlite",
    "postgres",
    "tokio-postgres",
    "diesel",
    "sea-orm",
    "mysql",
    "mongodb",
    "sled",
    "fjall",
    "heed",
    "lmdb",
    "rocksdb",
    "tokio",
    "async-std",
    "async-executor",
    "async-global-executor",
    "async-io",
    "smol",
    "blocking",
    "actix-rt",
    "glommio",
    "monoio",
    "compio",
];

/// What the core does not touch.
const OUTSIDE_WORLD: [&str; 7] =
    ["std::fs", "std::env", "std::net", "std::process", "std::os", "std::io::stdin", "std::*"];

/// What no name that a backend takes from the core contains, in lower case.
const CRYPTOGRAPHY: [&str; 10] =
    ["seal", "open", "kdf", "key", "rekey", "census", "password", "plaintext", "secret", "*"];

/// The one name with such a word that a backend may take: the part of a row that a rekey sees.
const SEALED_RECORD: &str = "SealedRecord";

/// What no committed file contains: places of one machine. In two parts each, or this file would.
const MACHINE_PLACES: [&str; 4] = [
    concat!("../sh", "ared"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "wt"),
];

/// Checks all of them and tells every violation.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, String> {
    let mut violations = core_dependencies(workspace)?;
    violations.extend(core_sources(workspace)?);
    violations.extend(backend_sources(workspace)?);
    violations.extend(unsafe_code(workspace)?);
    violations.extend(machine_places(workspace)?);
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(Done::passed()),
        count => {
            Err(format!("{count} arrows point the wrong way, listed above; see ARCHITECTURE.md"))
        }
    }
}

fn core_dependencies(workspace: &Workspace) -> Result<Vec<String>, String> {
    let tree = normal_dependencies(&workspace.metadata, CORE)?;
    Ok(forbidden(&tree)
        .map(|name| format!("{CORE} depends on {name}, a database or a runtime"))
        .collect())
}

fn forbidden<'a>(names: &'a BTreeSet<&str>) -> impl Iterator<Item = &'a str> {
    let is_forbidden = |name: &&str| {
        DATABASES_AND_RUNTIMES.iter().any(|known| {
            name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    names.iter().copied().filter(is_forbidden)
}

/// The names of all packages that a package is built with, its tests and build scripts aside.
fn normal_dependencies<'a>(
    metadata: &'a Value,
    package: &str,
) -> Result<BTreeSet<&'a str>, String> {
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    let names: BTreeMap<&str, &str> = values(&metadata["packages"])
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let nodes: BTreeMap<&str, &Value> =
        values(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
    let root = names
        .iter()
        .find(|(_, name)| **name == package)
        .ok_or(format!("there is no package {package}"))?;
    let (mut seen, mut open) = (BTreeSet::new(), vec![*root.0]);
    while let Some(id) = open.pop() {
        let is_normal = |dependency: &&Value| {
            values(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
        };
        for dependency in values(&nodes[id]["deps"]).filter(is_normal) {
            let id = text(&dependency["pkg"]);
            if seen.insert(id) {
                open.push(id);
            }
        }
    }
    Ok(seen.into_iter().filter_map(|id| names.get(id).copied()).collect())
}

fn core_sources(workspace: &Workspace) -> Result<Vec<String>, String> {
    let is_outside = |path: &str| OUTSIDE_WORLD.iter().any(|outside| is_within(path, outside));
    scan(workspace, CORE, |path| {
        is_outside(path).then(|| format!("names {path}, and the core touches no outside world"))
    })
}

fn backend_sources(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut violations = Vec::new();
    for backend in BACKENDS.iter().filter(|name| workspace.member(name).is_some()) {
        violations.extend(scan(workspace, backend, |path| {
            is_cryptography(path)
                .then(|| format!("names {path}, and a backend sees no key and no plaintext"))
        })?);
    }
    Ok(violations)
}

fn is_cryptography(path: &str) -> bool {
    let name = path.strip_prefix("vault_core::").and_then(|rest| rest.split("::").next());
    name.is_some_and(|name| {
        let lower = name.to_lowercase();
        name != SEALED_RECORD && CRYPTOGRAPHY.iter().any(|word| lower.contains(word))
    })
}

/// What `judge` says of the paths in the sources of a package, each with its file.
fn scan(
    workspace: &Workspace,
    package: &str,
    judge: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let package = workspace.member(package).ok_or(format!("there is no package {package}"))?;
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let files = rust_files(&Path::new(manifest).with_file_name("src"))?;
    let mut violations = Vec::new();
    for file in files {
        let shown = file.strip_prefix(&workspace.root).unwrap_or(&file).display().to_string();
        let source = fs::read_to_string(&file).map_err(|error| format!("{shown}: {error}"))?;
        let paths = named_in(&source).map_err(|error| format!("{shown} {error}"))?;
        let judged: BTreeSet<String> = paths.iter().filter_map(|path| judge(path)).collect();
        violations.extend(judged.into_iter().map(|violation| format!("{shown} {violation}")));
    }
    Ok(violations)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
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

/// Every package takes the workspace's lints, which forbid unsafe code.
fn unsafe_code(workspace: &Workspace) -> Result<Vec<String>, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let root = read(&workspace.root.join("Cargo.toml").to_string_lossy())?;
    let mut violations = Vec::new();
    if !has_line_in_section(&root, "[workspace.lints.rust]", "unsafe_code = \"forbid\"") {
        violations
            .push("Cargo.toml does not forbid unsafe_code in [workspace.lints.rust]".to_owned());
    }
    for manifest in workspace.members().filter_map(|package| package["manifest_path"].as_str()) {
        if !has_line_in_section(&read(manifest)?, "[lints]", "workspace = true") {
            violations.push(format!("{manifest} does not take the workspace's lints"));
        }
    }
    Ok(violations)
}

fn has_line_in_section(toml: &str, section: &str, wanted: &str) -> bool {
    let lines = toml.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
    lines.take_while(|line| !line.starts_with('[')).any(|line| line == wanted)
}

/// Nothing committed names a place that only one machine has.
fn machine_places(workspace: &Workspace) -> Result<Vec<String>, String> {
    let listed =
        Command::new("git").current_dir(&workspace.root).args(["ls-files", "-z"]).capture()?;
    let listed = String::from_utf8_lossy(&listed);
    let mut violations = Vec::new();
    for name in listed.split_terminator('\0') {
        // a file that was removed and not committed yet has nothing to say
        let Ok(content) = fs::read(workspace.root.join(name)) else { continue };
        let found = MACHINE_PLACES.iter().filter(|place| names_place(&content, place.as_bytes()));
        violations
            .extend(found.map(|place| format!("{name} names {place}, a place of one machine")));
    }
    Ok(violations)
}

/// Whether the content has this place; `src/` followed by it is a folder inside the project and none.
fn names_place(content: &[u8], place: &[u8]) -> bool {
    let continues_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-}".contains(byte);
    content
        .windows(place.len())
        .enumerate()
        .any(|(at, window)| window == place && !content[..at].last().is_some_and(continues_a_name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_database_below_the_core_is_found_and_its_tests_may_have_one() {
        let normal = json!([{"kind": null}]);
        let node = |id: &str, deps: &[(&str, &Value)]| {
            let deps: Vec<Value> =
                deps.iter().map(|(pkg, kinds)| json!({"pkg": pkg, "dep_kinds": kinds})).collect();
            json!({"id": id, "deps": deps})
        };
        let package = |id: &str, name: &str| json!({"id": id, "name": name});
        let metadata = json!({
            "packages": [package("a", "vault-core"), package("b", "between"), package("c", "sqlx-core"), package("d", "tokio")],
            "resolve": {"nodes": [
                node("a", &[("b", &normal), ("d", &json!([{"kind": "dev"}]))]),
                node("b", &[("c", &normal)]), node("c", &[]), node("d", &[]),
            ]},
        });
        let tree = normal_dependencies(&metadata, "vault-core").unwrap();
        assert_eq!(forbidden(&tree).collect::<Vec<_>>(), ["sqlx-core"]);
    }

    #[test]
    fn a_backend_may_take_rows_and_no_cryptography() {
        for path in [
            "vault_core::seal",
            "vault_core::VaultKey",
            "vault_core::Password",
            "vault_core::*",
            "vault_core::KdfParams",
        ] {
            assert!(is_cryptography(path), "{path}");
        }
        for path in [
            "vault_core::SealedRecord",
            "vault_core::RecordId",
            "open::open",
            "vault_core::StoreErrorKind::Locked",
        ] {
            assert!(!is_cryptography(path), "{path}");
        }
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let toml = "[lints]\n\n[features]\nworkspace = true\n";
        assert!(!has_line_in_section(toml, "[lints]", "workspace = true"));
        assert!(has_line_in_section(
            "[a]\n[lints]\nworkspace = true",
            "[lints]",
            "workspace = true"
        ));
    }

    #[test]
    fn a_place_of_one_machine_is_not_a_folder_of_the_project() {
        assert!(names_place(b"see /home/x", b"/home/"));
        assert!(!names_place(b"see src/home/x", b"/home/"));
    }
}
