//! What can be typed: the commands and their options, as clap reads them.

mod bulk;
mod help;
mod lines;
mod messages;
mod pace;
pub(crate) mod pages;
mod parse;
mod passwords;
mod records;
mod usage;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Arg, Args, FromArgMatches as _, Parser, Subcommand, parser::ValueSource};
use vaultstore::{KdfParams, StoreUrl, WriteFormat};

pub(crate) use self::{
    bulk::{
        BenchmarkArgs, CensusArgs, CopyArgs, LeaksArgs, MergeChecking, OldBlocksChoice, OpenArgs,
        OutputArgs, ProgressMode, RekeyArgs, RunArgs, ScrubArgs, UpgradeArgs, VerifyArgs, Writing,
    },
    help::command,
    lines::{ExportArgs, ImportArgs, WorkArgs},
    messages::MessageArgs,
    pace::PaceArgs,
    parse::Expiry,
    passwords::{
        AbsentPasswordsArgs, NewPasswordArgs, OldPasswordArgs, PasswordArgs, PasswordsArgs, Source,
    },
    records::{
        CreateArgs, DeleteArgs, ExistsArgs, ListArgs, PurgeArgs, ReadArgs, RenewArgs, Shown, Sort,
        TokenArgs, UpdateArgs, ValueArgs,
    },
    usage::wrong_usage,
};

/// An encrypted record vault with a bulk rekey that stores no password metadata.
#[derive(Debug, Parser)]
#[command(name = "vaultstore", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The vault: redb:PATH, sqlite:PATH or postgres://USER@HOST/DATABASE, the last two with
    /// ?table=NAME&meta=NAME
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "VAULTSTORE_VAULT",
        default_value = "redb:vault.redb",
        hide_env_values = true
    )]
    pub(crate) vault: StoreUrl,
    /// The most Argon2id memory that a record or a setting of the vault may ask for, as in 2GiB
    /// [default: 256MiB]
    #[arg(long, global = true, value_name = "SIZE", env = "VAULTSTORE_KDF_LIMIT", hide_env_values = true, value_parser = parse::kdf_limit_kib)]
    pub(crate) kdf_limit: Option<u32>,
    /// Postgres: how many connections are open at a time
    #[arg(long, global = true, value_name = "N", default_value = "2", help_heading = "Server")]
    pub(crate) max_connections: NonZeroU32,
    /// Postgres: how long to wait for a server that is gone or busy, as in 5m, before giving up
    /// with exit code 75
    #[arg(long, global = true, value_name = "TIME", value_parser = parse::wait, help_heading = "Server")]
    pub(crate) wait_for_server: Option<Duration>,
    #[command(flatten)]
    pub(crate) messages: MessageArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses the command line.
    pub(crate) fn read() -> Result<CommandLine, clap::Error> {
        let matches = command().try_get_matches()?;
        let innermost = matches.subcommand().map_or(&matches, |(_, matches)| matches);
        let vault_named = innermost.value_source("vault") == Some(ValueSource::CommandLine);
        let command = matches.subcommand_name().unwrap_or_default().to_owned();
        Ok(CommandLine { cli: Self::from_arg_matches(&matches)?, vault_named, command })
    }
}

/// What was typed.
pub(crate) struct CommandLine {
    pub(crate) cli: Cli,
    /// Whether the command line itself names the vault: neither the variable nor the default did.
    pub(crate) vault_named: bool,
    /// The name of the command.
    pub(crate) command: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a vault
    Init(InitArgs),
    /// Store a value from standard input or a file, and print its token
    Create(CreateArgs),
    /// Write the values of records to standard output, byte for byte
    Read(ReadArgs),
    /// Replace a record's value
    Update(UpdateArgs),
    /// Soft-delete a record, or delete it permanently
    Delete(DeleteArgs),
    /// Restore a soft-deleted record
    Restore(TokenArgs),
    /// Set the expiry of a record
    Renew(RenewArgs),
    /// Print whether a live record has a token (yes or no), and exit with 0 or 1
    Exists(ExistsArgs),
    /// Soft-delete every expired record, or delete them permanently
    PurgeExpired(PurgeArgs),
    /// List records without their values
    List(ListArgs),
    /// Re-encrypt all records of one password under another
    Rekey(RekeyArgs),
    /// Report what a rekey would do (the same as rekey --dry-run)
    TestRekey(RekeyArgs),
    /// Report formats, costs, sizes and damage, and how many records the given passwords open
    Census(CensusArgs),
    /// Open every record with the given passwords and list those that none of them opens, or check
    /// that a password opens no record
    Verify(VerifyArgs),
    /// Copy every record into another vault, on any backend, and compare the two
    Copy(CopyArgs),
    /// Store the records of a file of JSON lines, all under one password
    Import(ImportArgs),
    /// Write the records that the passwords open, with their values in plain text, as JSON lines
    Export(ExportArgs),
    /// Write all records in the format and cost of the vault's settings, each under its own
    /// password, so that none can be distinguished from the others by its form
    Upgrade(UpgradeArgs),
    /// Write the whole vault again, without any password, so that its files no longer tell which
    /// records were rekeyed
    Scrub(ScrubArgs),
    /// Report what someone who takes the database could tell from it: which records share a
    /// password; exits with 3 if anything tells
    Leaks(LeaksArgs),
    /// Upgrade the tables of a vault, or create them in an empty database, and report what was
    /// done; no record is changed
    Migrate {
        /// Create the tables even in a database that holds other tables
        #[arg(long)]
        create: bool,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Fill a temporary vault, or a new one at --vault, rekey it, verify every record and print the
    /// figures
    #[command(arg = vault_of_benchmark(), arg = no_kdf_limit())]
    BenchmarkRekey(BenchmarkArgs),
    /// Create a vault in a temporary folder, let a password leak, rekey the vault, and prove the
    /// result
    #[command(arg = no_vault(), arg = no_kdf_limit())]
    Demo,
    /// Show what this vault is: backend, size, formats, settings, and rekeys that left a state
    Info {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the rekeys of the vault that left a state: when they started, how far they got, and
    /// whether one is running
    Status {
        /// The state of a rekey that was started with --state, perhaps on another machine
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Count or remove the password identities that the Go package left in a vault
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Read and write the vault's settings
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Print a completion script
    #[command(arg = no_vault(), arg = no_kdf_limit(), args = no_server())]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of a command, or write all of them
    #[command(arg = no_vault(), arg = no_kdf_limit(), args = no_server())]
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command; without one, the page of vaultstore itself
    pub(crate) command: Option<String>,
    /// Write the pages of all commands to this folder, where none of them may be yet
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) output_dir: Option<PathBuf>,
}

impl Command {
    /// The file for figures about the run, if there is to be one.
    pub(crate) fn metrics_file(&self) -> Option<&Path> {
        let output = match self {
            Self::Rekey(args) | Self::TestRekey(args) => &args.output,
            Self::Census(args) => &args.output,
            Self::Verify(args) => &args.census.output,
            Self::Copy(args) => &args.output,
            Self::Upgrade(args) => &args.output,
            Self::Import(args) => &args.output,
            Self::Export(args) => &args.output,
            Self::BenchmarkRekey(args) => &args.output,
            _ => return None,
        };
        output.metrics_file.as_deref()
    }
}

/// Replaces the option that all commands share: a benchmark ignores the variable, and has no vault
/// by default.
fn vault_of_benchmark() -> Arg {
    Arg::new("vault")
        .long("vault")
        .value_name("URL")
        .value_parser(clap::value_parser!(StoreUrl))
        .help_heading(None::<&'static str>)
        .help("Create this vault, and keep it, instead of a temporary one")
}

/// Replaces it where there is no vault at all.
fn no_vault() -> Arg {
    vault_of_benchmark().hide(true)
}

/// Replaces the limit where nothing of a vault is trusted in the first place.
fn no_kdf_limit() -> Arg {
    Arg::new("kdf_limit").long("kdf-limit").value_parser(parse::kdf_limit_kib).hide(true)
}

/// Replaces them where there is no server.
fn no_server() -> [Arg; 2] {
    let hidden = |name: &'static str, long| Arg::new(name).long(long).hide(true);
    [
        hidden("max_connections", "max-connections")
            .value_parser(clap::value_parser!(NonZeroU32))
            .default_value("2"),
        hidden("wait_for_server", "wait-for-server").value_parser(parse::wait),
    ]
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

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Count the rows that say which records share a password
    Status {
        /// Exit with 3 if there is any
        #[arg(long)]
        expect_none: bool,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove these rows; no record and no setting is changed, and no password is needed
    Purge {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Print one setting
    Get {
        /// The name of the setting
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
        command().debug_assert();
    }

    /// The `--help` of a command.
    fn help(path: &[&str]) -> String {
        let line = [&["vaultstore"], path, &["--help"]].concat();
        Cli::try_parse_from(line).unwrap_err().to_string()
    }

    #[test]
    fn no_help_names_a_variable_that_the_command_does_not_use() {
        for unused in ["benchmark-rekey", "completions", "demo", "man"] {
            assert!(!help(&[unused]).contains("VAULTSTORE_"), "{unused}");
        }
        assert!(help(&["benchmark-rekey"]).contains("--vault"));
        assert!(help(&["rekey"]).contains("VAULTSTORE_VAULT"));
    }

    #[test]
    fn a_vault_is_named_before_or_after_the_command() {
        for line in [
            "vaultstore --vault redb:a benchmark-rekey --records 1",
            "vaultstore benchmark-rekey --records 1 --vault redb:a",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.vault.to_string(), "redb:a", "{line}");
        }
    }

    #[test]
    fn many_options_stand_under_headings() {
        let mut command = super::command();
        command.build();
        for command in command.get_subcommands() {
            let names = |arg: &&Arg| {
                !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
            };
            let bare = command
                .get_arguments()
                .filter(names)
                .filter(|arg| arg.get_help_heading().is_none());
            assert!(bare.count() <= 8, "{}", command.get_name());
        }
    }
}
