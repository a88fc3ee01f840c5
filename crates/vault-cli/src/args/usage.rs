//! Converts clap's errors into two lines that repeat nothing that was typed, which may be a
//! password without its option.

use std::{error::Error, ffi::OsString};

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use vaultstore::backend::ParseStoreUrlError;

use super::Cli;
use crate::exit::Failure;

/// Describes what is wrong with the command line of this process.
pub(crate) fn wrong_usage(error: &clap::Error) -> Failure {
    explain(error, &std::env::args_os().collect::<Vec<_>>())
}

fn explain(error: &clap::Error, args: &[OsString]) -> Failure {
    let command = command_at_hand(args);
    let address = error.source().and_then(|source| source.downcast_ref::<ParseStoreUrlError>());
    let hint = match (suggestion(error), address.and_then(ParseStoreUrlError::hint)) {
        (Some(meant), _) => format!("did you mean `{meant}`? See `{command} --help`"),
        (None, Some(address)) => format!("{address}; see `{command} --help`"),
        (None, None) => format!("see `{command} --help`"),
    };
    Failure::usage(what(error, &command, args)).hint(hint)
}

fn what(error: &clap::Error, command: &str, args: &[OsString]) -> String {
    match error.kind() {
        // Only its position is reported: even a name that starts with `--` may be a password.
        ErrorKind::UnknownArgument => match context(error, ContextKind::InvalidArg) {
            Some(typed) if typed.starts_with("--") => {
                format!("`{command}` has no such option{}", place(typed, args))
            }
            Some(typed) => {
                format!("`{command}` takes no such argument or short option{}", place(typed, args))
            }
            None => format!("`{command}` is given an argument too many"),
        },
        ErrorKind::InvalidSubcommand => match context(error, ContextKind::InvalidSubcommand) {
            Some(typed) => format!("there is no such command{}", place(typed, args)),
            None => "there is no such command".to_owned(),
        },
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("`{command}` needs a command")
        }
        // The value may be an address that contains a password.
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let argument = context(error, ContextKind::InvalidArg).unwrap_or("an option");
            format!("{}: {}", place_of(argument, args), wanted(error))
        }
        ErrorKind::InvalidUtf8 => match variable_without_text(args) {
            Some(variable) => format!("{variable}: the value is not UTF-8"),
            None => first_paragraph(&error.to_string()),
        },
        // These name options and values of the definition, never what was typed.
        ErrorKind::ArgumentConflict
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::WrongNumberOfValues => first_paragraph(&error.to_string()),
        _ => match context(error, ContextKind::InvalidArg) {
            Some(argument) => format!("{argument}: the value is missing or not allowed"),
            None => "the command line cannot be understood".to_owned(),
        },
    }
}

/// Returns the command, as in `vaultstore settings get`.
fn command_at_hand(args: &[OsString]) -> String {
    let mut command = Cli::command();
    let mut path = command.get_name().to_owned();
    let mut rest = args.iter().skip(1);
    while let Some(typed) = rest.next() {
        let typed = typed.to_string_lossy();
        if typed == "--vault" {
            // Its value is not a command.
            rest.next();
        } else if !typed.starts_with('-') {
            let Some(found) = command.find_subcommand(typed.as_ref()).cloned() else { break };
            path = format!("{path} {}", found.get_name());
            command = found;
        }
    }
    path
}

/// Returns the position of an argument that must not be repeated.
fn place(typed: &str, args: &[OsString]) -> String {
    let stands_here = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        argument == typed
            || argument.split_once('=').is_some_and(|(name, _)| name == typed)
            || (argument.starts_with('-') && !argument.starts_with("--"))
    };
    match args.iter().skip(1).position(stands_here) {
        Some(before) => format!(" (argument {})", before + 1),
        None => String::new(),
    }
}

/// The options that take their values from variables, unless the command line has them.
const VARIABLES: [(&str, &str); 2] =
    [("--vault", "VAULTSTORE_VAULT"), ("--kdf-limit", "VAULTSTORE_KDF_LIMIT")];

/// Returns the option, or the variable that its value comes from.
fn place_of<'a>(argument: &'a str, args: &[OsString]) -> &'a str {
    let from_variable = |(option, _): &&(&str, &str)| {
        argument.split(' ').next() == Some(option) && !names(option, args)
    };
    VARIABLES.iter().find(from_variable).map_or(argument, |(_, variable)| variable)
}

/// Returns the variable that counts, and whose value is not UTF-8.
fn variable_without_text(args: &[OsString]) -> Option<&'static str> {
    let is_no_text =
        |variable: &str| std::env::var_os(variable).is_some_and(|it| it.to_str().is_none());
    let found = |(option, variable): &&(&str, &str)| !names(option, args) && is_no_text(variable);
    VARIABLES.iter().find(found).map(|(_, variable)| *variable)
}

/// Returns whether the command line has an option.
fn names(option: &str, args: &[OsString]) -> bool {
    args.iter().any(|argument| argument.as_encoded_bytes().starts_with(option.as_bytes()))
}

/// Returns what was probably meant, among the existing names.
fn suggestion(error: &clap::Error) -> Option<&str> {
    [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(meant)) => Some(meant.as_str()),
            // The closest one comes last.
            Some(ContextValue::Strings(meant)) => meant.last().map(String::as_str),
            _ => None,
        })
}

fn wanted(error: &clap::Error) -> String {
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(ContextValue::Strings(values))) if !values.is_empty() => {
            format!("give one of {}", values.join(", "))
        }
        _ => "the value is missing or not allowed".to_owned(),
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let sentence = words.join(" ");
    sentence.strip_prefix("error: ").unwrap_or(&sentence).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Both lines.
    fn wrong(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = Cli::try_parse_from(&args).unwrap_err();
        format!("{:?}", explain(&error, &args))
    }

    #[test]
    fn what_was_typed_is_never_repeated() {
        for line in [
            "vaultstore exists tk_1 hunter2",
            "vaultstore read tk_1 --pasword=hunter2",
            "vaultstore read tk_1 --hunter2",
            "vaultstore read tk_1 --password --hunter2",
            "vaultstore read tk_1 -phunter2",
            "vaultstore hunter2",
            "vaultstore settings hunter2",
            "vaultstore list --vault postgres://me:hunter2/x@host/db",
            "vaultstore rekey --progress hunter2",
            "vaultstore list --json=hunter2",
            "vaultstore list --limit 3 --limit hunter2",
        ] {
            assert!(!wrong(line).contains("hunter2"), "{}", wrong(line));
        }
    }

    #[test]
    fn the_nearest_name_is_suggested_with_the_help_of_the_command_at_hand() {
        for (line, meant, help) in [
            ("vaultstore cencus", "`census`", "`vaultstore --help`"),
            (
                "vaultstore --vault redb:a rekey --dryrun",
                "`--dry-run`",
                "`vaultstore rekey --help`",
            ),
            ("vaultstore settings lst", "`list`", "`vaultstore settings --help`"),
            ("vaultstore list --progres", "", "`vaultstore list --help`"),
            (
                "vaultstore list --vault postgre://h/d",
                "\\\"postgres\\\"",
                "`vaultstore list --help`",
            ),
            ("vaultstore census --progress jsn", "`json`", "`vaultstore census --help`"),
        ] {
            let said = wrong(line);
            assert!(said.contains(meant) && said.contains(help), "{said}");
        }
    }

    #[test]
    fn every_sentence_is_one_line() {
        for line in [
            "vaultstore",
            "vaultstore read",
            "vaultstore settings",
            "vaultstore rekey --workers 0",
            "vaultstore create --token a --length 20",
            "vaultstore read t --password-env A --password-file b",
        ] {
            assert!(!wrong(line).contains("\\n"), "{}", wrong(line));
        }
    }
}
