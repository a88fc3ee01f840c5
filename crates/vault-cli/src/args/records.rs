//! The options of the commands on single records and on lists of them.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueEnum};
use vaultstore::token::TokenLength;
use vaultstore::{Token, WriteFormat};

use super::{Expiry, OpenArgs, PasswordArgs, parse};

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Use this token instead of a random one
    #[arg(long, value_parser = parse::token, conflicts_with = "length")]
    pub(crate) token: Option<Token>,
    /// Length of the random token, 15 to 40
    #[arg(long, value_name = "N", value_parser = parse::token_length)]
    pub(crate) length: Option<TokenLength>,
    /// Expire after this duration (45s, 90m, 12h, 30d, 2w) or on this date (2027-01-01, UTC)
    #[arg(long, value_name = "TIME", value_parser = parse::expiry)]
    pub(crate) expires_in: Option<Expiry>,
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
    /// Set the format of new records in a vault of the Go package: v2 while a Go program reads it,
    /// otherwise v3 or v3+padme
    #[arg(long)]
    pub(crate) format: Option<WriteFormat>,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The tokens of the records; without --json, the values are written with nothing in between
    #[arg(required = true, value_name = "TOKEN", value_parser = parse::token)]
    pub(crate) tokens: Vec<Token>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Write the bytes unchanged even to a terminal, including control characters
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Print a JSON object: for each token its value in base64, or the reason why there is none
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
    /// Delete the record permanently and free its token
    #[arg(long)]
    pub(crate) hard: bool,
    /// Do not ask for confirmation on a terminal
    #[arg(short, long)]
    pub(crate) yes: bool,
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
    /// Expire after this duration (45s, 90m, 12h, 30d, 2w) or on this date (2027-01-01, UTC)
    #[arg(long, value_name = "TIME", value_parser = parse::expiry)]
    pub(crate) expires_in: Option<Expiry>,
    /// Never expire
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
    /// Delete the records permanently, including soft-deleted ones, and free their tokens
    #[arg(long)]
    pub(crate) hard: bool,
    /// Do not ask for confirmation on a terminal
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The token of the record
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
    /// Maximum number of records
    #[arg(
        long,
        value_name = "N",
        value_parser = parse::at_least_one,
        default_value = "100",
        help_heading = "Which part"
    )]
    pub(crate) limit: NonZeroUsize,
    /// Start after the record with this id
    #[arg(long, value_name = "ID", help_heading = "Which part")]
    pub(crate) after: Option<String>,
    /// Skip the first N records
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Which part")]
    pub(crate) offset: u64,
    /// List only the record with this id (repeatable)
    #[arg(long = "id", value_name = "ID", help_heading = "Filters")]
    pub(crate) ids: Vec<String>,
    /// List only the record with this token (repeatable)
    #[arg(
        long = "token",
        value_name = "TOKEN",
        value_parser = parse::token,
        help_heading = "Filters"
    )]
    pub(crate) tokens: Vec<Token>,
    /// Whether to list soft-deleted records
    #[arg(long, value_enum, default_value_t = Shown::Yes, help_heading = "Filters")]
    pub(crate) deleted: Shown,
    /// Whether to list expired records
    #[arg(long, value_enum, default_value_t = Shown::Yes, help_heading = "Filters")]
    pub(crate) expired: Shown,
    /// Sort key; ties are broken by id
    #[arg(long, value_enum, default_value_t = Sort::Id, help_heading = "Order")]
    pub(crate) sort: Sort,
    /// Reverse the sort order
    #[arg(long, help_heading = "Order")]
    pub(crate) reverse: bool,
    /// Print only the number of matching records
    #[arg(long, conflicts_with_all = ["limit", "after", "offset"], help_heading = "Output")]
    pub(crate) count: bool,
    /// Print a JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Whether to list records in some state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shown {
    /// Include
    Yes,
    /// Exclude
    No,
    /// Only these
    Only,
}

/// The sort key of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Id,
    Token,
    /// Creation time
    Created,
    /// Modification time
    Updated,
    /// Expiry time (records that never expire come last)
    Expires,
}
