//! The command `vaultstore`.
//!
//! `args` defines the command line, `run` has one module per group of commands, `secrets` reads
//! passwords and values, `render` turns results into text, JSON and progress, `exit` defines how a
//! command ends, `shown` makes foreign text safe for a terminal, and `platform` contains what
//! differs between operating systems.

#[expect(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "the texts are what --help shows, where backticks would stay"
)]
mod args;
mod cgroup;
mod elsewhere;
mod exit;
mod harden;
mod interrupt;
mod leaks;
mod log_file;
mod metrics_file;
mod own_file;
mod plan;
mod platform;
mod priority;
mod render;
mod run;
mod secrets;
mod shown;
mod state_file;

use std::path::Path;

use crate::args::{Cli, Command, CommandLine, MessageArgs};
use crate::exit::{Exit, Failure, Loudness};
use crate::interrupt::Interrupts;
use crate::own_file::Trouble;

/// A rekey passes a few allocations per record from thread to thread, for which glibc's allocator
/// needs an eighth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    harden::forbid_core_dumps();
    harden::quiet_panics();
    let code = exit::code(harden::without_panics(parse_and_run));
    if let Err((path, trouble)) = metrics_file::end(code) {
        exit::warn(&format!("{}: the metrics could not be written: {}", path.display(), trouble));
    }
    secrets::restore_terminal();
    // Exit immediately, without waiting for a thread that is prompting or deriving a key.
    std::process::exit(code.into())
}

fn parse_and_run() -> Result<Exit, Failure> {
    let CommandLine { cli, vault_named, command } = match Cli::read() {
        Ok(read) => read,
        Err(error) if error.use_stderr() => return Err(args::wrong_usage(&error)),
        // The help or the version: neither is a failure.
        Err(help) => {
            return render::print(help.render().to_string().as_bytes()).map(|()| Exit::Done);
        }
    };
    // A benchmark holds no real secrets, and resets its own peak memory, which a hidden process may
    // not.
    if !matches!(cli.command, Command::BenchmarkRekey(_)) {
        harden::hide_memory();
    }
    let runtime = platform::check_descriptors()
        .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
    let runtime = runtime.map_err(|error| {
        let failure = Failure::failed("the program could not start");
        if platform::is_out_of_files(&error) {
            failure.hint("raise the limit of open files (`ulimit -n`)").because(error)
        } else {
            failure.because(error)
        }
    })?;
    let started = std::time::Instant::now();
    listen_to(&cli.messages)?;
    exit::step(&format!("vaultstore {}: {command}", env!("CARGO_PKG_VERSION")));
    if let Some(path) = cli.command.metrics_file() {
        metrics_file::begin(path, &command, &cli.vault.to_string()).map_err(|trouble| {
            refused(trouble, path, "a metrics file of vaultstore", "--metrics-file")
        })?;
    }
    let outcome = runtime.block_on(async {
        let interrupts = Interrupts::listen().map_err(|error| {
            Failure::failed("the program could not take over Ctrl-C").because(error)
        })?;
        tokio::select! {
            outcome = run::run(cli, vault_named, interrupts.clone()) => outcome,
            () = interrupts.last() => Ok(Exit::Interrupted),
        }
    });
    runtime.shutdown_background();
    exit::step(&format!("finished after {}", render::figures::seconds(started.elapsed())));
    outcome
}

/// Why a file is not written.
fn refused(trouble: Trouble, path: &Path, what: &str, option: &str) -> Failure {
    let path = path.display();
    let other = match trouble {
        Trouble::NotAFile => Failure::usage(format!("{path}: not a regular file")),
        Trouble::Foreign => {
            Failure::usage(format!("{path}: exists, and is not {what} of this user"))
        }
        Trouble::Io(error) => {
            return Failure::failed(format!("{path}: cannot be written")).because(error);
        }
    };
    other.hint(format!("name another file with {option}"))
}

/// Starts the log, and sets how much is said.
fn listen_to(messages: &MessageArgs) -> Result<(), Failure> {
    exit::set_loudness(match (messages.quiet, messages.verbose) {
        (true, _) => Loudness::Quiet,
        (_, true) => Loudness::Verbose,
        _ => Loudness::Usual,
    });
    if let Some(path) = &messages.log_file {
        log_file::begin(path)
            .map_err(|trouble| refused(trouble, path, "a log of vaultstore", "--log-file"))?;
    }
    Ok(())
}
