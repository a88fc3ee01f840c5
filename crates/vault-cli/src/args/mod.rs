//! What can be typed: the commands and their options, as clap reads them.

mod parse;
mod passwords;
mod usage;

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    parser::ValueSource,
};
use vaultstore::{KdfParams, Shard, StoreUrl, Token, TokenLength, V2Cost, WriteFormat};

pub(crate) use self::{
    passwords::{NewPasswordArgs, OldPasswordArgs, PasswordArgs, PasswordsArgs, Source},
    usage::one_line,
};

/// An encrypted record vault, and a bulk rekey of it that stores no password metadata.
#[derive(Debug, Parser)]
#[command(name = "vaultstore", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The vault: redb:PATH, sqlite:PATH or postgres://USER@HOST/DATABASE, the last two with ?table=NAME&meta=NAME
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "VAULTSTORE_VAULT",
        default_value = "redb:vault.redb",
        hide_env_values = true
    )]
    pub(crate) vault: StoreUrl,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line, and tells whether it named the vault itself: neither the variable nor the default did.
    pub(crate) fn read() -> Result<(Self, bool), clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let innermost = matches.subcommand().map_or(&matches, |(_, matches)| matches);
        let named = innermost.value_source("vault") == Some(ValueSource::CommandLine);
        Ok((Self::from_arg_matches(&matches)?, named))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a vault
    Init(InitArgs),
    /// Store a value from standard input or a file, and print its token
    Create(CreateArgs),
    /// Write the values of records to standard output, byte for byte
    Read(ReadArgs),
    /// Replace a record's value
    Update(UpdateArgs),
    /// Hide a record, or remove it for good
    Delete(DeleteArgs),
    /// Bring a hidden record back
    Restore(TokenArgs),
    /// Set the time at which a record expires
    Renew(RenewArgs),
    /// Tell whether a live record has a token: prints yes or no, exits with 0 or 1
    Exists(ExistsArgs),
    /// Hide every expired record, or remove them for good
    PurgeExpired(PurgeArgs),
    /// List records without their values
    List(ListArgs),
    /// Seal every record of one password anew under another
    Rekey(RekeyArgs),
    /// Count what a rekey would do (the same as rekey --dry-run)
    TestRekey(RekeyArgs),
    /// Count formats, costs, sizes and damage, and what opens under given passwords
    Census(CensusArgs),
    /// Open every record under the given passwords, and list what none opens
    Verify(CensusArgs),
    /// Copy every record into another vault, of any backend, and compare the two
    Copy(CopyArgs),
    /// Make or upgrade the tables of a vault, and say what was done; no record is changed
    Migrate {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Fill a temporary vault, or one made at --vault, rekey it, verify every record and print the figures
    BenchmarkRekey(BenchmarkArgs),
    /// Read and write the vault's settings
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The Argon2id cost of new records: a preset or t=3,m=65536,p=4 (m in KiB)
    #[arg(long, value_name = "COST", default_value_t = KdfParams::DEFAULT)]
    pub(crate) kdf: KdfParams,
    /// The format of new records: v3, v3+padme (hides the length of values) or v2
    #[arg(long, default_value_t = WriteFormat::V3)]
    pub(crate) format: WriteFormat,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Use this token instead of a random one
    #[arg(long, value_parser = parse::token, conflicts_with = "length")]
    pub(crate) token: Option<Token>,
    /// The length of the random token, 15 to 40
    #[arg(long, value_name = "N", value_parser = parse::token_length)]
    pub(crate) length: Option<TokenLength>,
    /// Let the record expire after a time: 45s, 90m, 12h, 30d, 2w
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) expires_in: Option<Duration>,
    #[command(flatten)]
    pub(crate) value: ValueArgs,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The records' tokens; without --json the values follow one another with nothing between
    #[arg(required = true, value_name = "TOKEN", value_parser = parse::token)]
    pub(crate) tokens: Vec<Token>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Print a JSON object: for each token its value in base64, or why there is none
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) value: ValueArgs,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    /// Remove the record for good and free its token
    #[arg(long)]
    pub(crate) hard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) end: EndArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct EndArgs {
    /// From now on so long: 45s, 90m, 12h, 30d, 2w
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) expires_in: Option<Duration>,
    /// For ever
    #[arg(long)]
    pub(crate) never: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExistsArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// Remove the records for good, hidden ones included, and free their tokens
    #[arg(long)]
    pub(crate) hard: bool,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The record's token
    #[arg(value_parser = parse::token)]
    pub(crate) token: Token,
}

#[derive(Debug, Args)]
pub(crate) struct ValueArgs {
    /// Read the value from a file instead of standard input; it may be empty
    #[arg(long, value_name = "FILE")]
    pub(crate) value_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// At most so many records
    #[arg(long, value_name = "N", value_parser = parse::at_least_one, default_value = "100")]
    pub(crate) limit: NonZeroUsize,
    /// Begin after the record with this id
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<String>,
    /// Leave out so many records first
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: u64,
    /// Only the record with this id, repeatable
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Only the record with this token, repeatable
    #[arg(long = "token", value_name = "TOKEN", value_parser = parse::token)]
    pub(crate) tokens: Vec<Token>,
    /// Hidden records
    #[arg(long, value_enum, default_value_t = Shown::Yes)]
    pub(crate) deleted: Shown,
    /// Expired records
    #[arg(long, value_enum, default_value_t = Shown::Yes)]
    pub(crate) expired: Shown,
    /// What to order by; among equal ones the id decides
    #[arg(long, value_enum, default_value_t = Sort::Id)]
    pub(crate) sort: Sort,
    /// The greatest first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Print only how many records match
    #[arg(long, conflicts_with_all = ["limit", "after", "offset"])]
    pub(crate) count: bool,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether records in some state are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shown {
    /// Beside the others
    Yes,
    /// Not at all
    No,
    /// And no others
    Only,
}

/// What a list is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Id,
    Token,
    /// The time of creation
    Created,
    /// The time of change
    Updated,
    /// The time of expiry; never comes last
    Expires,
}

/// What opening old v2 records needs to know.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// A cost of v2 records to try, repeatable: default, lightweight, high_security or
    /// t=3,m=65536,p=4[,key=32,salt=16]
    #[arg(long = "v2-preset", value_name = "COST")]
    pub(crate) v2_presets: Vec<V2Cost>,
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

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Print one setting
    Get {
        /// Its name
        name: String,
    },
    /// Change the cost (kdf) or the format (format) of new records
    Set {
        /// kdf or format
        name: String,
        /// A cost such as high_security or t=3,m=65536,p=4 for kdf; v3, v3+padme or v2 for format
        value: String,
    },
    /// Print all settings
    List {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
