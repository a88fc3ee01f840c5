//! Checks what we write with implementations that share nothing with ours: Python scripts next to
//! the test vectors.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::check::Done;
use crate::command::Run as _;
use crate::pg::Server;
use crate::workspace::{Workspace, is_ci};

/// The script that opens every vector; it fails if one does not open to the expected value.
const SCRIPT: [&str; 2] = ["tests/golden/make.py", "verify"];

/// What the scripts check: the example that prints newly sealed envelopes, and the command. With
/// the features of the tests, so that nothing is compiled a second time.
const BUILD: [&str; 6] =
    ["--workspace", "--all-features", "--example", "golden", "--bin", "vaultstore"];

/// How many envelopes the example seals.
const SEALED_NOW: &str = "500";

/// The script that reads an SQLite vault written by the command, which is its argument.
const READ_SQLITE: &str = "tests/golden/check_sqlite.py";

/// The script that reads the vaults that the torture tests leave in the directory, which is its
/// argument.
const READ_TORTURED: &str = "tests/golden/check_torture.py";

/// The tests that leave them, in case not all tests have just run.
const TORTURE: [&str; 7] = [
    "--workspace",
    "--all-features",
    "--test",
    "torture",
    "--",
    "kill_9_loses_nothing",
    "kill_9_during_a_scrub",
];

/// The environment variable that tells them the directory.
const LEAVE: &str = "VAULTSTORE_TORTURE_LEAVE";

/// The Python packages that the scripts need: implementations of Argon2id, HKDF and AES-GCM other
/// than ours.
const PACKAGES: [&str; 2] = ["argon2-cffi==25.1.0", "cryptography"];

/// Runs the scripts. Without Python or its packages they are left out, but never on a CI machine.
pub(crate) fn check(workspace: &Workspace) -> Result<Done, String> {
    let python = match python(workspace) {
        Ok(python) => python,
        Err(why) if is_ci() => return Err(why),
        Err(why) => return Ok(Done::LeftOut(why)),
    };
    let script = || {
        let mut command = Command::new(&python);
        command.current_dir(&workspace.root).args(SCRIPT);
        command
    };
    script().run()?;
    workspace.cargo("build").args(BUILD).run()?;
    let example = workspace.target.join("debug/examples/golden");
    let sealed = Command::new(example).arg(SEALED_NOW).capture()?;
    let file = workspace.target.join("sealed-now.json");
    fs::write(&file, sealed).map_err(|error| format!("{}: {error}", file.display()))?;
    script().arg(&file).run()?;
    let mut read_sqlite = Command::new(&python);
    read_sqlite.current_dir(&workspace.root).arg(READ_SQLITE);
    read_sqlite.arg(workspace.target.join("debug/vaultstore")).run()?;
    let left = folder_of_left(workspace);
    if !left.exists() {
        let server = Server::of_environment_or_own()?;
        let mut command = workspace.cargo("test");
        server.tell(&mut command);
        leave(workspace, &mut command)?;
        command.args(TORTURE).run()?;
    }
    read_tortured(workspace, &python)?;
    Ok(Done::passed())
}

/// Makes the torture tests of a command leave their vaults, and removes those of an earlier run.
pub(crate) fn leave(workspace: &Workspace, tests: &mut Command) -> Result<(), String> {
    let folder = folder_of_left(workspace);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    tests.env(LEAVE, &folder);
    Ok(())
}

/// Checks every record of the vaults that the torture tests have left, each vault once; fails if
/// there is none.
pub(crate) fn check_tortured(workspace: &Workspace) -> Result<(), String> {
    read_tortured(workspace, &python(workspace)?)
}

fn read_tortured(workspace: &Workspace, python: &Path) -> Result<(), String> {
    let folder = folder_of_left(workspace);
    let mut read = Command::new(python);
    // It imports from the script next to it, which must not leave compiled files.
    read.env("PYTHONDONTWRITEBYTECODE", "1");
    read.current_dir(&workspace.root).arg(READ_TORTURED).arg(&folder).run()?;
    // So that they are not mistaken for those of a later run.
    fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn folder_of_left(workspace: &Workspace) -> PathBuf {
    workspace.target.join("torture-left")
}

/// Returns a Python that has the packages: the system's, or a virtual environment below the target
/// directory, created on demand.
fn python(workspace: &Workspace) -> Result<PathBuf, String> {
    let folder = workspace.target.join("golden-venv");
    let own = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" });
    if let Some(ready) = [PathBuf::from("python3"), own.clone()].into_iter().find(has_packages) {
        return Ok(ready);
    }
    Command::new("python3").args(["-m", "venv"]).arg(&folder).run()?;
    Command::new(&own)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES)
        .run()?;
    Ok(own)
}

fn has_packages(python: &PathBuf) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "import argon2, cryptography"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
