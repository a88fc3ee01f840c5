//! Checks that every published package can be packaged, that its dependencies are acceptable, and
//! that its API changes as its version says.

use std::process::Command;

use crate::check::Done;
use crate::command::Run as _;
use crate::workspace::Workspace;

/// Packages each crate as for publishing. The CI workflow also builds each one from its package
/// alone, which takes minutes.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, String> {
    let mut command = workspace.cargo("package");
    command.args(["--workspace", "--no-verify", "--allow-dirty", "--quiet"]);
    for name in unpublished(workspace) {
        command.args(["--exclude", name]);
    }
    command.run()?;
    Ok(Done::passed())
}

/// Checks the dependencies against `deny.toml`: bans, licences and sources.
pub(crate) fn dependencies(workspace: &Workspace) -> Result<Done, String> {
    if !is_installed("deny") {
        return Ok(Done::LeftOut("cargo install --locked cargo-deny".to_owned()));
    }
    workspace.cargo("deny").args(["check", "bans", "licenses", "sources"]).run()?;
    Ok(Done::passed())
}

/// Compares the public API with that of the last release, once there is one.
pub(crate) fn api(workspace: &Workspace) -> Result<Done, String> {
    if !is_installed("semver-checks") {
        return Ok(Done::LeftOut("cargo install --locked cargo-semver-checks".to_owned()));
    }
    let tags = Command::new("git")
        .current_dir(&workspace.root)
        .args(["describe", "--tags", "--abbrev=0", "--match", "v*"])
        .capture();
    let Ok(tag) = tags else { return Ok(Done::LeftOut("there is no release yet".to_owned())) };
    let tag = String::from_utf8_lossy(&tag);
    workspace.cargo("semver-checks").args(["--baseline-rev", tag.trim()]).run()?;
    Ok(Done::Passed(format!("(compared with {})", tag.trim())))
}

/// Returns whether cargo has a subcommand of this name.
pub(crate) fn is_installed(subcommand: &str) -> bool {
    Command::new("cargo").args([subcommand, "--version"]).capture().is_ok()
}

fn unpublished(workspace: &Workspace) -> impl Iterator<Item = &str> {
    workspace
        .members()
        .filter(|package| package["publish"].as_array().is_some_and(Vec::is_empty))
        .filter_map(|package| package["name"].as_str())
}
