//! The workspace as cargo sees it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::command::Run as _;

/// The root, the target directory and the packages of this workspace.
pub(crate) struct Workspace {
    /// The directory of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The directory in which cargo builds.
    pub(crate) target: PathBuf,
    /// The output of `cargo metadata`, with dependencies resolved for all features.
    pub(crate) metadata: Value,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self, String> {
        // crates/xtask is where this was compiled
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let root =
            root.ok_or("xtask must be two folders below the root of the workspace")?.to_owned();
        let mut command = cargo(&root, "metadata");
        let output = command.args(["--format-version", "1", "--all-features"]).capture()?;
        let metadata: Value = serde_json::from_slice(&output)
            .map_err(|error| format!("cargo metadata is not JSON: {error}"))?;
        let target = metadata["target_directory"]
            .as_str()
            .ok_or("cargo metadata names no target folder")?
            .into();
        Ok(Self { root, target, metadata })
    }

    /// A cargo command in the root of the workspace, with `--locked`.
    pub(crate) fn cargo(&self, command: &str) -> Command {
        cargo(&self.root, command)
    }

    /// The packages of the workspace itself.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Value> {
        let members = strings(&self.metadata["workspace_members"]);
        values(&self.metadata["packages"])
            .filter(move |package| package["id"].as_str().is_some_and(|id| members.contains(&id)))
    }

    /// Returns the package with this name, if there is one.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.members().find(|package| package["name"] == name)
    }
}

/// Returns whether this runs on a CI machine, where nothing may be left out for lack of a tool.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}

/// Returns the elements of a JSON array; none if it is not an array.
pub(crate) fn values(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

/// Returns the strings in a JSON array.
pub(crate) fn strings(array: &Value) -> Vec<&str> {
    values(array).filter_map(Value::as_str).collect()
}

fn cargo(root: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root).arg(subcommand);
    // Set by the cargo that runs this, and not by one that a developer runs. Build scripts that
    // look at them would run again, and what depends on them would be compiled again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if root.join("Cargo.lock").exists() && subcommand != "fmt" {
        command.arg("--locked");
    }
    command
}
