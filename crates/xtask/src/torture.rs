//! `cargo xtask torture`: the scenarios that try to break the command and the engine, for longer
//! than in the tests, with figures at the end.

use crate::check::Done;
use crate::command::Run as _;
use crate::pg::Server;
use crate::workspace::Workspace;
use crate::{golden, mutants};

/// How many histories the simulation plays per second of a scenario: about as many as it can.
const HISTORIES_PER_SECOND: u64 = 500;

/// It plays at least as many as in CI.
const LEAST_HISTORIES: u64 = 100_000;

/// How many disks after a power cut are looked at per second of a scenario: about as many as one
/// core can.
const DISKS_PER_SECOND: u64 = 100;

/// It looks at least at as many.
const LEAST_DISKS: u64 = 10_000;

/// The minimum duration of each scenario, and the random seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Torture {
    seconds: u64,
    seed: u64,
}

impl Torture {
    /// Reads `--seconds N` and `--seed N`, in any order.
    pub(crate) fn parse(mut arguments: &[&str]) -> Result<Self, String> {
        let mut torture = Self { seconds: 60, seed: 1 };
        while let [name, number, rest @ ..] = arguments {
            let number =
                number.parse().map_err(|_| format!("{name} takes a whole number, not {number}"))?;
            match *name {
                "--seconds" => torture.seconds = number,
                "--seed" => torture.seed = number,
                _ => return Err(format!("torture takes --seconds N and --seed N, not {name}")),
            }
            arguments = rest;
        }
        if arguments.is_empty() { Ok(torture) } else { Err("an option has no number".to_owned()) }
    }

    /// Runs every scenario in order and prints what each did. A seed determines the random choices,
    /// not the moment at which the system lets a process die: two runs with one seed are similar,
    /// not identical.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), String> {
        let mut figures = Vec::new();
        let histories = LEAST_HISTORIES.max(self.seconds * HISTORIES_PER_SECOND);
        workspace
            .cargo("test")
            .args(["--release", "--package", "vaultstore-core", "--test", "simulation"])
            .args(["--", "--nocapture"])
            .env("VAULTSTORE_SIM_HISTORIES", histories.to_string())
            .env("VAULTSTORE_SIM_FIRST_SEED", (self.seed << 32).to_string())
            .run_and_look(|line| figures.extend(simulated(line)))?;
        let disks = LEAST_DISKS.max(self.seconds * DISKS_PER_SECOND);
        workspace
            .cargo("test")
            .args(["--release", "--package", "vaultstore-redb", "--lib", "power::"])
            .args(["--", "--nocapture", "--test-threads=1"])
            .env("VAULTSTORE_POWER_IMAGES", disks.to_string())
            .run_and_look(|line| figures.extend(found(line)))?;
        let server = Server::of_environment_or_own()?;
        let mut command = workspace.cargo("test");
        server.tell(&mut command);
        golden::leave(workspace, &mut command)?;
        command
            .args(["--release", "--package", "vaultstore-cli", "--test", "torture"])
            .args(["--", "--nocapture", "--test-threads=1"])
            .env("VAULTSTORE_TORTURE_SECONDS", self.seconds.to_string())
            .env("VAULTSTORE_TORTURE_SEED", self.seed.to_string())
            .run_and_look(|line| figures.extend(found(line)))?;
        println!("\n==== {} s per scenario, seed {}", self.seconds, self.seed);
        for line in &figures {
            println!("{line}");
        }
        if figures.is_empty() {
            return Err("no scenario told what it did".to_owned());
        }
        // Read again by a program that shares nothing with what was broken.
        golden::check_tortured(workspace)?;
        match mutants::all(workspace)? {
            Done::Passed(said) => println!("mutants: {said}"),
            Done::LeftOut(why) => println!("\n!!!! LEFT OUT: mutants: {why}"),
        }
        Ok(())
    }
}

/// Parses the summary of a scenario, possibly after the name of its test.
fn found(line: &str) -> Option<String> {
    let (_, figures) = line.split_once("torture: ")?;
    Some(figures.to_owned())
}

/// A counter of the simulation.
fn simulated(line: &str) -> Option<String> {
    let (name, number) = line.split_once(": ")?;
    let named = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (named && number.parse::<u64>().is_ok()).then(|| format!("simulation: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_any_order() {
        let torture = Torture { seconds: 5, seed: 7 };
        assert_eq!(Torture::parse(&["--seconds", "5", "--seed", "7"]), Ok(torture));
        assert_eq!(Torture::parse(&["--seed", "7", "--seconds", "5"]), Ok(torture));
        assert!(Torture::parse(&["--seconds"]).is_err());
        assert!(Torture::parse(&["--seconds", "long"]).is_err());
        assert!(Torture::parse(&["--minutes", "5"]).is_err());
    }

    #[test]
    fn figures_are_told_from_other_lines() {
        assert_eq!(found("test a ... torture: kills: 3").as_deref(), Some("kills: 3"));
        assert_eq!(found("test a ... ok"), None);
        assert_eq!(simulated("crashes: 12").as_deref(), Some("simulation: crashes: 12"));
        assert_eq!(simulated("NoCompareAndSwap: seed 3: it changed"), None);
    }
}
