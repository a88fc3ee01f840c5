//! Checks and benches of vaultstore's workspace.
//!
//! `cargo xtask ci` runs every check, `cargo xtask bench` measures, and `cargo xtask fuzz` searches
//! for inputs that violate a guarantee. They report what they need in addition to Rust, and loudly
//! what they leave out.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]
#![expect(clippy::print_stderr, reason = "what it prints is what it is for")]

mod bench;
mod check;
mod ci;
mod command;
mod fuzz;
mod golden;
mod imports;
mod layers;
mod mutants;
mod package;
mod pg;
mod torture;
mod workspace;

use std::{process::ExitCode, time::Duration};

use crate::check::Done;
use crate::torture::Torture;
use crate::workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask <task>

  ci [check]                       run every check except `cargo test`, or those whose name contains a word
  bench [filter]                   run the Criterion benches, and show each figure with its floor
  fuzz [--seconds N] [target]      run each fuzz target, or one, for N seconds (default 60); needs a nightly toolchain
  fuzz --minutes N                 run all fuzz targets, for N minutes together, from what earlier runs found
  mutants                          mutate the code that keeps secrets; a test must fail for each mutant, or a reason be listed
  torture [--seconds N] [--seed N] try to break the command and the engine, each scenario for N seconds (default 60)
  pg -- COMMAND                    run a command with a temporary Postgres server for its tests
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["ci"] => ci::run(&Workspace::load()?, ""),
        ["ci", word] => ci::run(&Workspace::load()?, word),
        ["torture", rest @ ..] => Torture::parse(rest)?.run(&Workspace::load()?),
        ["bench"] => bench::run(&Workspace::load()?, None),
        ["bench", filter] => bench::run(&Workspace::load()?, Some(filter)),
        ["fuzz", "--minutes", minutes] => {
            let minutes = number("--minutes", minutes)?;
            fuzz::run_together(&Workspace::load()?, Duration::from_mins(minutes))
                .and_then(fuzz::Fuzzed::expect_done)
        }
        ["fuzz", rest @ ..] => {
            let (seconds, target) = match rest {
                ["--seconds", seconds, rest @ ..] => (number("--seconds", seconds)?, rest),
                rest => (60, rest),
            };
            let duration = Duration::from_secs(seconds);
            match target {
                [] => {
                    fuzz::run_all(&Workspace::load()?, duration).and_then(fuzz::Fuzzed::expect_done)
                }
                [target] => fuzz::run_one(&Workspace::load()?, target, duration)
                    .and_then(fuzz::Fuzzed::expect_done),
                _ => Err(USAGE.to_owned()),
            }
        }
        ["mutants"] => match mutants::all(&Workspace::load()?)? {
            Done::Passed(said) => {
                println!("{said}");
                Ok(())
            }
            Done::LeftOut(why) => Err(why),
        },
        ["pg", "--", command @ ..] => pg::run(command),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("no such task\n\n{USAGE}")),
    }
}

fn number(option: &str, given: &str) -> Result<u64, String> {
    given.parse().map_err(|_| format!("{option} takes a whole number, not {given}"))
}
