//! Checks the layers of ARCHITECTURE.md: which crate may depend on what, and no circular imports
//! between files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::{
    check::Done,
    imports::{self, rust_files},
    workspace::{Workspace, values},
};

/// The crates without a database, a runtime, files or environment variables.
const PURE: [&str; 3] = ["vaultstore-core", "vaultstore-store", "vaultstore-sha256-lanes"];

/// The contract and the backends: no key and no plaintext reaches them.
const WITHOUT_KEYS: [&str; 4] =
    ["vaultstore-store", "vaultstore-redb", "vaultstore-sqlite", "vaultstore-postgres"];

/// What the core must not depend on, even as the first part of a longer name.
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

/// What a backend must not depend on. (The driver of the SQL backends has its own key derivation,
/// for logging in to a server.)
const CRYPTOGRAPHY: [&str; 5] =
    ["vaultstore-core", "vaultstore-sha256-lanes", "aes-gcm", "argon2", "blake2"];

/// Modules of the standard library that a pure crate must not use.
const OUTSIDE_WORLD: [&str; 5] = ["fs", "env", "net", "process", "os"];

/// Checks all of them and lists every violation.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, String> {
    let mut violations = Vec::new();
    for name in PURE {
        let tree = normal_dependencies(&workspace.metadata, name)?;
        violations.extend(
            forbidden(&tree)
                .map(|found| format!("{name} depends on {found}, a database or runtime")),
        );
        violations.extend(outside_world(workspace, name)?);
    }
    for name in WITHOUT_KEYS {
        let tree = normal_dependencies(&workspace.metadata, name)?;
        let found = CRYPTOGRAPHY.iter().filter(|crypto| tree.contains(**crypto));
        violations.extend(
            found.map(|crypto| format!("{name} depends on {crypto}; no key may reach a backend")),
        );
    }
    violations.extend(circles_of_workspace(workspace)?);
    violations.extend(unsafe_code(workspace)?);
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(Done::passed()),
        count => {
            Err(format!("{count} violations of the layers, listed above; see ARCHITECTURE.md"))
        }
    }
}

fn forbidden<'a>(names: &'a BTreeSet<&str>) -> impl Iterator<Item = &'a str> {
    let is_forbidden = |name: &&str| {
        DATABASES_AND_RUNTIMES.iter().any(|known| {
            name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    names.iter().copied().filter(is_forbidden)
}

/// Returns the names of all packages that a package is built with, without its tests and build
/// scripts.
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

/// Finds every use of files, the environment, the network or processes, imported or qualified.
fn outside_world(workspace: &Workspace, package: &str) -> Result<Vec<String>, String> {
    let mut violations = Vec::new();
    for (shown, source) in sources(workspace, package)? {
        let mut found: BTreeSet<String> = BTreeSet::new();
        for import in imports::of(&source) {
            if let [first, second, ..] = import.path.as_slice()
                && first == "std"
                && (OUTSIDE_WORLD.contains(&second.as_str()) || second == "*")
            {
                found.insert(import.path.join("::"));
            }
        }
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for module in code.flat_map(|line| line.split("std::").skip(1)) {
            let name = module.split(|c: char| !c.is_alphanumeric() && c != '_').next();
            found.extend(
                OUTSIDE_WORLD
                    .iter()
                    .filter(|outside| name == Some(**outside))
                    .map(|outside| format!("std::{outside}")),
            );
        }
        violations.extend(
            found
                .iter()
                .map(|path| format!("{shown} uses {path}; {package} does no I/O of its own")),
        );
    }
    Ok(violations)
}

fn sources(workspace: &Workspace, package: &str) -> Result<Vec<(String, String)>, String> {
    let package = workspace.member(package).ok_or(format!("there is no package {package}"))?;
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    read_sources(&workspace.root, &Path::new(manifest).with_file_name("src"))
}

fn read_sources(root: &Path, folder: &Path) -> Result<Vec<(String, String)>, String> {
    rust_files(folder)?
        .into_iter()
        .map(|file| {
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let source = fs::read_to_string(&file).map_err(|error| format!("{shown}: {error}"))?;
            Ok((shown, source))
        })
        .collect()
}

fn circles_of_workspace(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut violations = Vec::new();
    for manifest in workspace.members().filter_map(|package| package["manifest_path"].as_str()) {
        let folder = Path::new(manifest).with_file_name("src");
        let files: Vec<(Vec<String>, String)> = read_sources(&folder, &folder)?
            .into_iter()
            .map(|(shown, source)| (module_of(&shown), source))
            .collect();
        violations.extend(circles(&files).into_iter().map(|circle| {
            let shown = folder.strip_prefix(&workspace.root).unwrap_or(&folder).display();
            format!("{shown}: the files of these modules import each other: {circle}")
        }));
    }
    Ok(violations)
}

/// The path of the module in a file, relative to the crate.
fn module_of(file: &str) -> Vec<String> {
    let mut path: Vec<String> =
        file.trim_end_matches(".rs").split(['/', '\\']).map(str::to_owned).collect();
    if path.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        path.pop();
    }
    path
}

/// Finds the groups of modules that can reach each other. A module that re-exports its children's
/// names (`pub use`) does not import them, and importing such a name means importing the child.
fn circles(files: &[(Vec<String>, String)]) -> Vec<String> {
    let imports: BTreeMap<&[String], Vec<imports::Import>> =
        files.iter().map(|(module, source)| (module.as_slice(), imports::of(source))).collect();
    let mut arrows: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (module, uses) in &imports {
        for import in uses.iter().filter(|import| !import.is_reexport) {
            let target = absolute(module, &import.path).and_then(|path| home(&imports, path));
            if let Some(target) = target.filter(|target| target != module) {
                arrows.entry(module).or_default().insert(target);
            }
        }
    }
    let reach = |from: &[String]| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_vec()]);
        while let Some(at) = open.pop() {
            for next in arrows.get(at.as_slice()).into_iter().flatten() {
                if seen.insert(next.to_vec()) {
                    open.push(next.to_vec());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&[String], BTreeSet<Vec<String>>> =
        imports.keys().map(|module| (*module, reach(module))).collect();
    let mut groups = BTreeSet::new();
    for (module, seen) in reached.iter().filter(|(module, seen)| seen.contains(**module)) {
        let group: Vec<String> = seen
            .iter()
            .filter(|other| reached[other.as_slice()].contains(*module))
            .map(|other| if other.is_empty() { "the root".to_owned() } else { other.join("::") })
            .collect();
        groups.insert(group.join(", "));
    }
    groups.into_iter().collect()
}

/// A path from the root of the crate; `None` for a path into another crate.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            let parent = module.get(..module.len().checked_sub(ups)?)?;
            Some([parent, &path[ups..]].concat())
        }
        _ => None,
    }
}

/// The module whose file defines what a path names.
fn home<'a>(
    imports: &BTreeMap<&'a [String], Vec<imports::Import>>,
    mut path: Vec<String>,
) -> Option<&'a [String]> {
    // a name is passed on at most once per floor
    for _ in 0..8 {
        let (module, uses) =
            (0..=path.len()).rev().find_map(|len| imports.get_key_value(&path[..len]))?;
        let Some(name) = path.get(module.len()) else { return Some(module) };
        let passed_on = uses.iter().find(|import| {
            import.is_reexport && import.path.last() == Some(name) && import.path.len() > 1
        });
        let inner = passed_on.and_then(|import| {
            absolute(module, &import.path).or_else(|| {
                let child = [*module, &import.path[..]].concat();
                imports.contains_key(&child[..child.len() - 1]).then_some(child)
            })
        });
        match inner {
            Some(inner) if inner != path => path = inner,
            _ => return Some(module),
        }
    }
    None
}

/// Checks that every package uses the workspace's lints, which forbid unsafe code.
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
            "packages": [
                package("a", "vaultstore-core"),
                package("b", "between"),
                package("c", "sqlx-core"),
                package("d", "tokio"),
            ],
            "resolve": {"nodes": [
                node("a", &[("b", &normal), ("d", &json!([{"kind": "dev"}]))]),
                node("b", &[("c", &normal)]), node("c", &[]), node("d", &[]),
            ]},
        });
        let tree = normal_dependencies(&metadata, "vaultstore-core").unwrap();
        assert_eq!(forbidden(&tree).collect::<Vec<_>>(), ["sqlx-core"]);
    }

    fn file(module: &str, source: &str) -> (Vec<String>, String) {
        let path = module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        (path, source.to_owned())
    }

    #[test]
    fn a_circle_between_files_is_found_through_names_that_are_passed_on() {
        let straight = [
            file("", "pub use a::A;\n"),
            file("a", "pub use self::inner::A;\nuse crate::b::B;\n"),
            file("a::inner", "use crate::b::B;\n"),
            file("b", "struct B;\n"),
        ];
        assert_eq!(circles(&straight), [""; 0]);
        let mut round = straight;
        round[3] = file("b", "use crate::a::A;\nstruct B;\n");
        assert_eq!(circles(&round), ["a::inner, b"]);
    }

    #[test]
    fn a_circle_through_super_is_found() {
        let files = [file("a", "use self::b::B;\nstruct A;\n"), file("a::b", "use super::A;\n")];
        assert_eq!(circles(&files), ["a, a::b"]);
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
}
