//! `cargo xtask mutants`: changes the code that keeps secrets in small ways, and expects a test to
//! fail for each change. What no test can tell is listed with a reason.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::check::Done;
use crate::command::Run as _;
use crate::package::is_installed;
use crate::workspace::Workspace;

/// What is mutated, below the folder of the package.
const FILES: [&str; 6] = [
    "src/crypto/envelope/*.rs",
    "src/crypto/seal/*.rs",
    "src/crypto/kdf/*.rs",
    "src/crypto/key/*.rs",
    "src/crypto/master.rs",
    "src/engine/rekey/state.rs",
];
const PACKAGE: &str = "vaultstore-core";
const FOLDER: &str = "crates/vault-core";

/// The tests that are run for each mutant, besides those in the files.
const TESTS: &str = "engine";

/// The mutants that no test can tell from the code, one a line, each with its reason after a dash.
const SURVIVORS: &str = "crates/vault-core/mutants.txt";

const INSTALL: &str = "cargo install --locked cargo-mutants";

/// How many seconds the tests of one mutant may take.
const TIMEOUT: &str = "--timeout=300";

/// Mutates everything.
pub(crate) fn all(workspace: &Workspace) -> Result<Done, String> {
    if !is_installed("mutants") {
        return Ok(Done::LeftOut(INSTALL.to_owned()));
    }
    let missed = run(workspace, None)?;
    let listed = listed(workspace)?;
    let stale: Vec<_> = listed.iter().filter(|mutant| !missed.contains(mutant)).collect();
    if let Some(stale) = stale.first() {
        return Err(format!(
            "{SURVIVORS} lists a mutant that is caught or does not exist: {stale}"
        ));
    }
    judged(&missed, &listed)
}

/// Mutates what differs from the branch `origin/main`, or from the last commit where there is none.
pub(crate) fn of_changes(workspace: &Workspace) -> Result<Done, String> {
    if !is_installed("mutants") {
        return Ok(Done::LeftOut(INSTALL.to_owned()));
    }
    let git = |arguments: &[&str]| {
        Command::new("git").current_dir(&workspace.root).args(arguments).capture()
    };
    let base = git(&["merge-base", "HEAD", "origin/main"])
        .or_else(|_| git(&["rev-parse", "HEAD~1"]))
        .map_err(|_| "git knows neither origin/main nor an earlier commit".to_owned())?;
    let base = String::from_utf8_lossy(&base).trim().to_owned();
    let paths: Vec<String> = FILES.iter().map(|file| format!("{FOLDER}/{file}")).collect();
    let mut diff = vec!["diff", &base, "--"];
    diff.extend(paths.iter().map(String::as_str));
    let diff = git(&diff)?;
    if diff.is_empty() {
        return Ok(Done::Passed("(none of these files was changed)".to_owned()));
    }
    let file = workspace.target.join("mutants.diff");
    fs::write(&file, diff).map_err(|error| format!("{}: {error}", file.display()))?;
    judged(&run(workspace, Some(&file))?, &listed(workspace)?)
}

/// Returns the mutants that no test noticed.
fn run(workspace: &Workspace, diff: Option<&Path>) -> Result<Vec<String>, String> {
    let output = workspace.target.join("mutants");
    fs::create_dir_all(&output).map_err(|error| format!("{}: {error}", output.display()))?;
    let mut command = Command::new("cargo");
    command.current_dir(&workspace.root).args(["mutants", "--package", PACKAGE]);
    command.args(["--no-shuffle", "--colors=never", TIMEOUT, "--output"]).arg(&output);
    for file in FILES {
        command.args(["--file", &format!("{FOLDER}/{file}")]);
    }
    if let Some(diff) = diff {
        command.arg("--in-diff").arg(diff);
    }
    command.args(["--", "--locked", "--lib", "--test", TESTS]);
    // Builds of a second each, of which nothing is debugged.
    let fast = [("CARGO_PROFILE_DEV_OPT_LEVEL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "0")];
    let status = command.envs(fast).status();
    let status = status.map_err(|error| format!("cargo mutants could not be started: {error}"))?;
    // 2 and 3: some were not caught, or took too long.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(format!("cargo mutants failed ({status})"));
    }
    let read = |name: &str| -> Result<String, String> {
        let file: PathBuf = output.join("mutants.out").join(name);
        fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let missed = read("missed.txt")?;
    Ok(missed.lines().filter_map(without_place).collect())
}

fn judged(missed: &[String], listed: &[String]) -> Result<Done, String> {
    let unexplained: Vec<_> = missed.iter().filter(|mutant| !listed.contains(mutant)).collect();
    match unexplained.first() {
        None => Ok(Done::Passed(format!("({} survive, each for a listed reason)", missed.len()))),
        Some(first) => Err(format!(
            "no test notices {} mutants, of which the first is: {first}\nwrite a test, or a reason in {SURVIVORS}",
            unexplained.len()
        )),
    }
}

fn listed(workspace: &Workspace) -> Result<Vec<String>, String> {
    let path = workspace.root.join(SURVIVORS);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(explained).collect()
}

/// The mutant of a line of the list, which must have a reason.
fn explained(line: &str) -> Result<String, String> {
    match line.split_once(" -- ") {
        Some((mutant, reason)) if !reason.trim().is_empty() => Ok(mutant.to_owned()),
        _ => Err(format!("{SURVIVORS} gives no reason after \" -- \": {line}")),
    }
}

/// `file:line:column: what` without the line and the column, which change with every edit.
fn without_place(missed: &str) -> Option<String> {
    let (place, what) = missed.split_once(": ")?;
    Some(format!("{}: {what}", place.split(':').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_known_wherever_its_line_has_moved() {
        let missed = "crates/a/src/b.rs:70:42: replace + with - in B::c -> u8";
        let mutant = "crates/a/src/b.rs: replace + with - in B::c -> u8";
        assert_eq!(without_place(missed).as_deref(), Some(mutant));
        assert_eq!(explained(&format!("{mutant} -- it is the same")), Ok(mutant.to_owned()));
        assert!(explained(mutant).is_err() && explained(&format!("{mutant} -- ")).is_err());
        let known = [mutant.to_owned()];
        assert!(judged(&known, &known).is_ok() && judged(&known, &[]).is_err());
    }
}
