//! The checks and benches of vaultstore's workspace.

#![expect(clippy::print_stderr, reason = "what it prints is what it is for")]

mod pg;

use std::process::ExitCode;

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
        ["pg", "--", command @ ..] | ["pg", command @ ..] => pg::run(command),
        _ => Err("usage: cargo xtask pg -- COMMAND".to_owned()),
    }
}
