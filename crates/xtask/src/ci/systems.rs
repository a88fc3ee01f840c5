//! Whether the workspace compiles for other operating systems, as far as this machine can tell.

use std::process::Command;

use crate::check::Done;
use crate::command::Run as _;
use crate::workspace::Workspace;

/// Another system, and what compiles for it here.
struct System {
    target: &'static str,
    /// The C compiler that the checked packages need.
    compiler: Option<&'static str>,
    packages: &'static [&'static str],
}

/// The command contains every backend, and so every line of C. Without a C compiler for the target
/// the library is checked with its default backend.
const SYSTEMS: [System; 2] = [
    System {
        target: "x86_64-pc-windows-gnu",
        compiler: Some("x86_64-w64-mingw32-gcc"),
        packages: &["vaultstore-cli"],
    },
    System { target: "x86_64-apple-darwin", compiler: None, packages: &["vaultstore"] },
];

/// Checks each system whose standard library is installed; the others are reported as left out.
pub(super) fn check(workspace: &Workspace) -> Result<Done, String> {
    let installed = installed_targets();
    let (mut checked, mut left_out) = (Vec::new(), Vec::new());
    for System { target, compiler, packages } in SYSTEMS {
        if !installed.lines().any(|line| line == target) {
            left_out.push(format!("{target}: rustup target add {target}"));
            continue;
        }
        if let Some(compiler) = compiler
            && Command::new(compiler).arg("--version").capture().is_err()
        {
            left_out.push(format!("{target}: install {compiler}"));
            continue;
        }
        for package in packages {
            println!("-- {package}: {target}");
            workspace.cargo("check").args(["--package", package, "--target", target]).run()?;
        }
        checked.push(target);
    }
    if !left_out.is_empty() {
        let checked = if checked.is_empty() { "nothing".to_owned() } else { checked.join(", ") };
        return Ok(Done::LeftOut(format!("{} (checked: {checked})", left_out.join("; "))));
    }
    Ok(Done::Passed(checked.join(", ")))
}

/// The targets whose standard library rustup has installed; none without rustup.
fn installed_targets() -> String {
    let listed = Command::new("rustup").args(["target", "list", "--installed"]).capture();
    String::from_utf8(listed.unwrap_or_default()).unwrap_or_default()
}
