//! The options of the commands on single records and on lists of them.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use vaultstore::token::TokenLength;
use vaultstore::{Token, WriteFormat};

use super::{OpenArgs, PasswordArgs, parse};

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
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// In a vault of the Go package, settle the format of new records: v2 while a Go program reads them, else v3 or v3+padme
    #[arg(long)]
    pub(crate) format: Option<WriteFormat>,
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
    pub(crate) format: FormatArgs,
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
