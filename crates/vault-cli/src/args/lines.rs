//! The options of `import` and `export`.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::Args;

use super::records::FormatArgs;
use super::{OpenArgs, OutputArgs, PaceArgs, PasswordArgs, PasswordsArgs, parse};

/// How much of the machine an import or an export uses.
#[derive(Debug, Args)]
#[command(next_help_heading = "Resources")]
pub(crate) struct WorkArgs {
    /// Maximum worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Maximum memory for Argon2id, all workers together, e.g. 512MiB or 1GB [default: 1GiB,
    /// or half of a container's limit]
    #[arg(long, value_name = "SIZE", value_parser = parse::memory_kib)]
    pub(crate) memory_budget: Option<NonZeroU64>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file of records, one JSON object per line; '-' is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Pass over records whose token is in the vault already, without reporting them
    #[arg(long)]
    pub(crate) skip_existing: bool,
    /// Begin at this line, where an earlier import ended
    #[arg(long, value_name = "N", value_parser = parse::positive, default_value = "1")]
    pub(crate) from_line: NonZeroU64,
    /// Check every line, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write to this new file, readable by you only, instead of standard output
    #[arg(long = "output", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Write to standard output even if it is a terminal
    #[arg(long, conflicts_with = "file")]
    pub(crate) to_terminal: bool,
    /// Leave out records that are soft-deleted or have expired
    #[arg(long)]
    pub(crate) live: bool,
    #[command(flatten)]
    pub(crate) passwords: PasswordsArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
