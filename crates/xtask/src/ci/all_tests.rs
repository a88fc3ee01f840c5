//! The tests that `cargo test` leaves out: those that need a Postgres server, and the long
//! simulation.

use std::process::Command;

use crate::check::Done;
use crate::command::Run as _;
use crate::golden;
use crate::pg::Server;
use crate::workspace::Workspace;

/// How many histories the simulation of the rekey engine plays; `cargo test` plays fewer.
const SIMULATION: &str = "VAULTSTORE_SIM_HISTORIES";

/// Test targets of which every test needs a server.
const SERVER_TARGETS: [&str; 13] = [
    "postgres_conformance",
    "postgres_dropped_begins",
    "postgres_failover",
    "postgres_logs",
    "postgres_odd_times",
    "postgres_opening",
    "postgres_pooler",
    "postgres_scrub",
    "postgres_silence",
    "postgres_tls",
    "postgres_trouble",
    "postgres_whole",
    "torture",
];

/// Targets of which some tests use a server when there is one, and which of their tests.
const WITH_SERVER: [(&str, &str); 2] = [("command", "backends::"), ("backends", "postgres")];

/// Runs them with a temporary server, or with the one that the environment names. If there is none,
/// this fails.
pub(super) fn on_a_server(workspace: &Workspace) -> Result<Done, String> {
    let server = Server::of_environment_or_own()?;
    let mut sum = Sum::default();
    let mut command = workspace.cargo("test");
    command.args(["--no-fail-fast", "--workspace", "--all-features"]);
    for target in SERVER_TARGETS {
        command.args(["--test", target]);
    }
    server.tell(&mut command);
    golden::leave(workspace, &mut command)?;
    sum.run(&mut command)?;
    for (target, filter) in WITH_SERVER {
        let mut command = workspace.cargo("test");
        command.args(["--workspace", "--all-features", "--test", target, "--", filter]);
        server.tell(&mut command);
        sum.run(&mut command)?;
    }
    Ok(sum.done())
}

/// The simulation at full length, optimized as in production.
pub(super) fn simulation(workspace: &Workspace) -> Result<Done, String> {
    let mut command = workspace.cargo("test");
    command.args(["--release", "--package", "vaultstore-core", "--test", "simulation"]);
    if std::env::var_os(SIMULATION).is_none() {
        command.env(SIMULATION, "100000");
    }
    let mut sum = Sum::default();
    sum.run(&mut command)?;
    Ok(sum.done())
}

/// Counts of several runs of `cargo test`.
#[derive(Default)]
struct Sum {
    passed: u64,
    binaries: u64,
}

impl Sum {
    /// Runs the tests. An ignored test is a failure, and so is a run without any test.
    fn run(&mut self, command: &mut Command) -> Result<(), String> {
        let (mut passed, mut ignored) = (0, 0);
        command.run_and_look(|line| {
            if let Some(counts) = Counts::parse(line) {
                passed += counts.passed;
                ignored += counts.ignored;
                self.binaries += 1;
            }
        })?;
        match (passed, ignored) {
            (0, _) => Err("no test was run".to_owned()),
            (_, 0) => {
                self.passed += passed;
                Ok(())
            }
            (_, ignored) => Err(format!("{ignored} tests were ignored; run them or remove them")),
        }
    }

    fn done(&self) -> Done {
        Done::Passed(format!("({} tests in {} binaries)", self.passed, self.binaries))
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
