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
mod elsewhere;
mod exit;
mod harden;
mod interrupt;
mod leaks;
mod own_file;
mod plan;
mod platform;
mod priority;
mod render;
mod run;
mod secrets;
mod shown;
mod state_file;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupts;

/// A rekey passes a few allocations per record from thread to thread, for which glibc's allocator
/// needs an eighth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    harden::forbid_core_dumps();
    harden::quiet_panics();
    let code = exit::code(harden::without_panics(parse_and_run));
    secrets::restore_terminal();
    // Exit immediately, without waiting for a thread that is prompting or deriving a key.
    std::process::exit(code.into())
}

fn parse_and_run() -> Result<Exit, Failure> {
    let (cli, vault_named) = match Cli::read() {
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
    outcome
}
