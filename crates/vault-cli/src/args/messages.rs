//! What is said while a command works.

use std::path::PathBuf;

use clap::Args;

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct MessageArgs {
    /// Print errors only: no warnings, no notes, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Also say what is being done
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Append all messages, with their times, to this file; it contains no secrets, no tokens and
    /// no ids
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
}
