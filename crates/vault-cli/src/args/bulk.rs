//! The options of the commands that run over a whole vault.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use vaultstore::envelope::V2Params;
use vaultstore::rekey::Shard;
use vaultstore::{KdfParams, StoreUrl, WriteFormat};

use super::{NewPasswordArgs, OldPasswordArgs, PasswordsArgs, parse};

/// What opening old v2 records needs to know.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// A cost of v2 records to try, repeatable: default, lightweight, high_security or
    /// t=3,m=65536,p=4[,key=32,salt=16]
    #[arg(long = "v2-preset", value_name = "COST")]
    pub(crate) v2_presets: Vec<V2Params>,
}

/// How a run over the whole vault uses the machine.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// At most so many worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// At most so much memory for Argon2id, all workers together, as in 512MiB [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse::memory_kib)]
    pub(crate) memory_budget: Option<NonZeroU64>,
    /// At most so many records in one commit [default: 16384]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub(crate) page_size: Option<NonZeroUsize>,
    /// Below so many records in the vault, use one worker [default: 8]
    #[arg(long, value_name = "N")]
    pub(crate) parallel_threshold: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Print the result as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// How to show progress on standard error
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal, else lines
    Auto,
    /// A bar
    Bar,
    /// A line every few seconds
    Lines,
    /// A JSON object per step
    Json,
    /// Nothing
    None,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed or not")]
pub(crate) struct RekeyArgs {
    #[command(flatten)]
    pub(crate) old: OldPasswordArgs,
    #[command(flatten)]
    pub(crate) new: NewPasswordArgs,
    /// Pairs of passwords, one JSON array ["old","new"] per line, instead of the two ('-' is standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["OldPasswordArgs", "NewPasswordArgs"])]
    pub(crate) pairs: Option<PathBuf>,
    /// Count what would be rekeyed, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write this format instead of the vault's own: v3, v3+padme or v2
    #[arg(long)]
    pub(crate) format: Option<WriteFormat>,
    /// Write with this Argon2id cost instead of the vault's own
    #[arg(long, value_name = "COST")]
    pub(crate) kdf: Option<KdfParams>,
    /// Rekey also when the new password is in use already: its records and the rekeyed ones can never be told apart again
    #[arg(long, conflicts_with = "check_merge")]
    pub(crate) allow_merge: bool,
    /// Ask v2 records too whether the new password is in use already, at an Argon2id each
    #[arg(long)]
    pub(crate) check_merge: bool,
    /// Rekey also when triggers or rules of the database act on each changed record: they may show which were rekeyed
    #[arg(long)]
    pub(crate) allow_triggers: bool,
    /// Rekey one part of the vault out of N, counted from 0, as in 0/4 to 3/4
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE, hide_default_value = true)]
    pub(crate) shard: Shard,
    /// Keep the state that the same command resumes from in this file [default: in the user's state folder, by vault]
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) state: Option<PathBuf>,
    /// Forget an earlier run's state and start over
    #[arg(long)]
    pub(crate) restart: bool,
    /// Exit with 4 unless exactly so many records were rekeyed
    #[arg(long, value_name = "N")]
    pub(crate) expect_count: Option<u64>,
    /// Exit with 0 also when nothing matched
    #[arg(long)]
    pub(crate) allow_zero: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CensusArgs {
    #[command(flatten)]
    pub(crate) passwords: PasswordsArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The vault to copy into; it is made when there is none
    #[arg(long, value_name = "URL")]
    pub(crate) to: StoreUrl,
    /// Copy into a vault that holds records of its own; none of them is overwritten
    #[arg(long)]
    pub(crate) merge: bool,
    /// At most so many records in one commit [default: 4096]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub(crate) page_size: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchmarkArgs {
    /// How many records to fill the vault with
    #[arg(long, value_name = "N")]
    pub(crate) records: NonZeroU64,
    /// The format of the records: v3, v3+padme or v2
    #[arg(long, default_value_t = WriteFormat::V3)]
    pub(crate) format: WriteFormat,
    /// The Argon2id cost
    #[arg(long, value_name = "COST", default_value_t = KdfParams::DEFAULT)]
    pub(crate) kdf: KdfParams,
    /// The share of records under the password that is changed, 0 to 1
    #[arg(long = "match", value_name = "SHARE", value_parser = parse::share, default_value = "0.5")]
    pub(crate) matching: f64,
    /// How many passwords there are, at least 2; the others share the rest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000), default_value_t = 3)]
    pub(crate) passwords: u32,
    /// The length of each value in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=16_777_216), default_value_t = 300)]
    pub(crate) value_size: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
