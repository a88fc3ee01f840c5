//! Checks that every published package can be packaged, and that its dependencies are acceptable.

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
    let deny = Command::new("cargo").args(["deny", "--version"]).capture();
    if deny.is_err() {
        return Ok(Done::Passed(
            "(cargo-deny is not installed: licences were not checked)".to_owned(),
        ));
    }
    workspace.cargo("deny").args(["check", "bans", "licenses", "sources"]).run()?;
    Ok(Done::Passed("(with cargo deny)".to_owned()))
}

fn unpublished(workspace: &Workspace) -> impl Iterator<Item = &str> {
    workspace
        .members()
        .filter(|package| package["publish"].as_array().is_some_and(Vec::is_empty))
        .filter_map(|package| package["name"].as_str())
}
