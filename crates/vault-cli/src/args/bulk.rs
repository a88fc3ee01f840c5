//! The options of the commands that run over a whole vault.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use vaultstore::envelope::V2Params;
use vaultstore::rekey::Shard;
use vaultstore::{KdfParams, StoreUrl, WriteFormat};

use super::{
    AbsentPasswordsArgs, NewPasswordArgs, OldPasswordArgs, PaceArgs, PasswordsArgs, parse,
};

/// Options for opening records.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// Cost to try on v2 records (repeatable): default, lightweight, high_security or
    /// t=3,m=65536,p=4[,key=32,salt=16]
    #[arg(long = "v2-preset", value_name = "COST", help_heading = "Passwords")]
    pub(crate) v2_presets: Vec<V2Params>,
    /// Also open v1 records, a format of the Go package that anyone with write access to the
    /// database can forge
    #[arg(long, help_heading = "Passwords")]
    pub(crate) allow_v1: bool,
    /// Maximum salts and costs of v3 records to try besides the vault's own [default: 16]
    #[arg(long, value_name = "N", help_heading = "Passwords")]
    pub(crate) max_salts: Option<u32>,
}

/// Resources of a run over the whole vault.
#[derive(Debug, Args)]
#[command(next_help_heading = "Resources")]
pub(crate) struct RunArgs {
    /// Maximum worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Maximum memory for Argon2id, all workers together, e.g. 512MiB or 1GB [default: 1GiB,
    /// or half of a container's limit]
    #[arg(long, value_name = "SIZE", value_parser = parse::memory_kib)]
    pub(crate) memory_budget: Option<NonZeroU64>,
    /// Maximum records per commit [default: 16384]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub(crate) page_size: Option<NonZeroUsize>,
    /// Use a single worker for vaults smaller than this [default: 8]
    #[arg(long, value_name = "N")]
    pub(crate) parallel_threshold: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print the result as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// How to show progress on standard error
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,
    /// Write figures about the run to this file, for Prometheus' node exporter (textfile collector)
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal, otherwise lines
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

/// What a rekey checks before its first write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MergeChecking {
    /// Check v1 and v3 records, and refuse if the new password opens any
    Fast,
    /// Also check v2 records, at one Argon2id each
    Full,
    /// Check none: records that then share a password can never be told apart again
    Off,
}

/// In which form a rekey writes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Writing {
    /// Each as it was
    AsItWas,
    /// As the vault's settings say
    Vault,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed or not")]
pub(crate) struct RekeyArgs {
    #[command(flatten)]
    pub(crate) old: OldPasswordArgs,
    #[command(flatten)]
    pub(crate) new: NewPasswordArgs,
    /// Read pairs of passwords from a file, one JSON array ["old","new"] per line ('-' is standard
    /// input)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["OldPasswordArgs", "NewPasswordArgs"],
        help_heading = "Passwords"
    )]
    pub(crate) pairs: Option<PathBuf>,
    /// Report what would be rekeyed, without writing
    #[arg(long, help_heading = "What to write")]
    pub(crate) dry_run: bool,
    /// In which form to write the records: as-it-was keeps the format, cost and salt of each, so
    /// that nothing tells them from the others; vault follows the vault's settings where they are
    /// no worse
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value_t = Writing::AsItWas,
        conflicts_with_all = ["format", "kdf", "vault_salt"],
        help_heading = "What to write"
    )]
    pub(crate) write: Writing,
    /// Rekey even if the records are written in another form than others have, so that anyone who
    /// takes the database can tell that they share a password
    #[arg(long, help_heading = "What to write")]
    pub(crate) allow_marks: bool,
    /// Format to write: v3, v3+padme or v2 [default: each record's own]
    #[arg(long, help_heading = "What to write")]
    pub(crate) format: Option<WriteFormat>,
    /// Argon2id cost to write with [default: each record's own]
    #[arg(long, value_name = "COST", help_heading = "What to write")]
    pub(crate) kdf: Option<KdfParams>,
    /// Move re-encrypted v3 records to the vault's own salt [default: each keeps its salt]
    #[arg(long, help_heading = "What to write")]
    pub(crate) vault_salt: bool,
    /// How to check, before the first write, that the new password opens no record yet
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value_t = MergeChecking::Fast,
        help_heading = "What to check"
    )]
    pub(crate) merge_check: MergeChecking,
    /// Read every record whole and check it for damage, also those whose headers show that they do
    /// not match
    #[arg(long, help_heading = "What to check")]
    pub(crate) check_all: bool,
    /// Rekey even if the new password is already in use: its records and the rekeyed ones can never
    /// be told apart again
    #[arg(long, hide = true, conflicts_with_all = ["merge_check", "check_merge"])]
    pub(crate) allow_merge: bool,
    /// Also check v2 records for the new password (one Argon2id each)
    #[arg(long, hide = true, conflicts_with = "merge_check")]
    pub(crate) check_merge: bool,
    /// Do not ask for confirmation of --merge-check=off on a terminal
    #[arg(short, long, help_heading = "Merge check")]
    pub(crate) yes: bool,
    /// Rekey even if triggers or rules of the database act on each changed record, which may reveal
    /// the rekeyed ones
    #[arg(long, help_heading = "What to write")]
    pub(crate) allow_triggers: bool,
    /// Rekey one of N parts of the vault, counted from 0, e.g. 0/4 to 3/4
    #[arg(
        long,
        value_name = "I/N",
        default_value_t = Shard::WHOLE,
        hide_default_value = true,
        help_heading = "What to write"
    )]
    pub(crate) shard: Shard,
    /// Write the vault into a new file that then replaces the old one (redb only): nothing in the
    /// file tells which records were rekeyed, and a run that does not reach its end changes
    /// nothing. Faster if most records match; leaves no state to resume from
    #[arg(long, conflicts_with_all = ["shard", "state"], help_heading = "What to write")]
    pub(crate) rebuild: bool,
    /// File for the state that the same command resumes from [default: in the user's state
    /// directory, by vault]
    #[arg(long, value_name = "FILE", help_heading = "Resume")]
    pub(crate) state: Option<PathBuf>,
    /// Discard an earlier run's state and start over
    #[arg(long, help_heading = "Resume")]
    pub(crate) restart: bool,
    /// Write a report for managers and auditors: one page (FILE.html) or FILE.json, with counts and
    /// no ids
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
    /// Exit with 4 unless exactly N records were rekeyed
    #[arg(long, value_name = "N", help_heading = "Output")]
    pub(crate) expect_count: Option<u64>,
    /// Exit with 0 even if no record matched
    #[arg(long, help_heading = "Output")]
    pub(crate) allow_zero: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
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
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) census: CensusArgs,
    #[command(flatten)]
    pub(crate) absent: AbsentPasswordsArgs,
    /// List every record that no password opens and every damaged one, not only the first ten
    #[arg(long)]
    pub(crate) list_all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The vault to copy into; it is created if it does not exist
    #[arg(long, value_name = "URL")]
    pub(crate) to: StoreUrl,
    /// Copy into a vault that contains other records; none of them is overwritten
    #[arg(long)]
    pub(crate) merge: bool,
    /// Maximum records per commit [default: 4096]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub(crate) page_size: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What happens to the disk blocks of a file that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OldBlocksChoice {
    /// Write zeros over them once
    Overwrite,
    /// Return them to the file system, which may tell the disk
    Punch,
    /// Only remove the file
    Leave,
}

#[derive(Debug, Args)]
pub(crate) struct ScrubArgs {
    /// What to do with the disk blocks of the old file of a redb vault [default: overwrite on a
    /// rotating disk with ext4 or XFS, otherwise punch]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) old_blocks: Option<OldBlocksChoice>,
    /// The state of a rekey that was started with --state, perhaps on another machine
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Discard the states of interrupted rekeys of this vault, which then cannot be resumed
    #[arg(long)]
    pub(crate) restart: bool,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    pub(crate) passwords: PasswordsArgs,
    /// Read passwords from a file of pairs, as for rekey: each password in it, once ('-' is
    /// standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "PasswordsArgs", help_heading = "Passwords")]
    pub(crate) pairs: Option<PathBuf>,
    /// Report what would be upgraded, without writing
    #[arg(long, help_heading = "What to write")]
    pub(crate) dry_run: bool,
    /// Upgrade even if records stay that none of the passwords opens, so that anyone who takes the
    /// database can tell them from the others
    #[arg(long, help_heading = "What to write")]
    pub(crate) leave_rest: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LeaksArgs {
    #[command(flatten)]
    pub(crate) passwords: PasswordsArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Print a JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchmarkArgs {
    /// Number of records to fill the vault with
    #[arg(long, value_name = "N")]
    pub(crate) records: NonZeroU64,
    /// Format of the records: v3, v3+padme or v2
    #[arg(long, default_value_t = WriteFormat::V3)]
    pub(crate) format: WriteFormat,
    /// The Argon2id cost
    #[arg(long, value_name = "COST", default_value_t = KdfParams::DEFAULT)]
    pub(crate) kdf: KdfParams,
    /// Fraction of the records under the password that is changed, 0 to 1
    #[arg(long = "match", value_name = "SHARE", value_parser = parse::share, default_value = "0.5")]
    pub(crate) matching: f64,
    /// Number of passwords, at least 2; the others share the remaining records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000), default_value_t = 3)]
    pub(crate) passwords: u32,
    /// Length of each value in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=16_777_216), default_value_t = 300)]
    pub(crate) value_size: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
