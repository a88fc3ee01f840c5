//! All tests and doctests, counted.

use crate::check::Done;
use crate::command::Run as _;
use crate::golden;
use crate::pg::Server;
use crate::workspace::Workspace;

/// How many histories the simulation of the rekey engine plays; by hand it plays fewer.
const SIMULATION: &str = "VAULTSTORE_SIM_HISTORIES";

/// Runs them, with a Postgres server for those that want one, and shows what cargo says unchanged. A test that is ignored
/// is a failure: nothing is skipped in silence.
pub(super) fn run(workspace: &Workspace) -> Result<Done, String> {
    let mut sum = Counts::default();
    let mut binaries = 0;
    let server = Server::of_environment_or_own()?;
    let mut command = workspace.cargo("test");
    server.tell(&mut command);
    golden::leave(workspace, &mut command)?;
    if std::env::var_os(SIMULATION).is_none() {
        command.env(SIMULATION, "100000");
    }
    command.args(["--workspace", "--all-features"]).run_and_look(|line| {
        if let Some(counts) = Counts::parse(line) {
            sum.passed += counts.passed;
            sum.ignored += counts.ignored;
            binaries += 1;
        }
    })?;
    match sum {
        Counts { passed: 0, .. } => Err("no test was run".to_owned()),
        Counts { ignored: 0, passed } => {
            Ok(Done::Passed(format!("({passed} tests in {binaries} binaries)")))
        }
        Counts { ignored, .. } => {
            Err(format!("{ignored} tests were ignored; run them or remove them"))
        }
    }
}

/// The numbers of a line `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    ignored: u64,
}

impl Counts {
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let number = |word: &str| {
            let field = counts.split("; ").find(|field| field.ends_with(word))?;
            field.split(' ').next()?.parse().ok()
        };
        Some(Self { passed: number(" passed")?, ignored: number(" ignored")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_counted_and_no_other() {
        let line = "test result: ok. 31 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.90s";
        assert_eq!(Counts::parse(line), Some(Counts { passed: 31, ignored: 2 }));
        assert_eq!(Counts::parse("test engine::result ... ok"), None);
    }
}
