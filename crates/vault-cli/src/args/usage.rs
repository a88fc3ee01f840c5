//! clap's errors as one sentence that repeats no secret.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong with the command line, in one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let what = match error.kind() {
        // The argument may be a password that lost its option: only a name is repeated, never a value.
        ErrorKind::UnknownArgument => match context(error, ContextKind::InvalidArg) {
            Some(name) if name.starts_with("--") => {
                format!("there is no option {}", name.split('=').next().unwrap_or_default())
            }
            _ => "there is an argument or short option too many".to_owned(),
        },
        ErrorKind::InvalidSubcommand => "there is no such command".to_owned(),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing".to_owned()
        }
        // The value may be an address with a password in it.
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let argument = context(error, ContextKind::InvalidArg).unwrap_or("an option");
            let argument = if argument.starts_with("--vault ") && !vault_is_typed() {
                "VAULTSTORE_VAULT"
            } else {
                argument
            };
            format!("{argument}: {}", wanted(error))
        }
        _ => first_paragraph(&error.to_string()),
    };
    format!("{what}; see vaultstore --help")
}

/// Whether the command line names the vault; else its address comes from the variable.
fn vault_is_typed() -> bool {
    std::env::args_os().any(|argument| argument.as_encoded_bytes().starts_with(b"--vault"))
}

fn wanted(error: &clap::Error) -> String {
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(ContextValue::Strings(values))) if !values.is_empty() => {
            format!("give one of {}", values.join(", "))
        }
        _ => "the value is missing or cannot be used".to_owned(),
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
    use crate::args::Cli;

    fn wrong(line: &[&str]) -> String {
        one_line(&Cli::try_parse_from(line).unwrap_err())
    }

    #[test]
    fn a_stray_argument_is_never_repeated() {
        for line in [
            &["vaultstore", "exists", "tk_1", "hunter2"][..],
            &["vaultstore", "read", "tk_1", "--pasword=hunter2"],
            &["vaultstore", "read", "tk_1", "-phunter2"],
            &["vaultstore", "hunter2"],
            &["vaultstore", "list", "--vault", "postgres://me:hunter2/x@host/db"],
            &["vaultstore", "rekey", "--progress", "hunter2"],
        ] {
            assert!(!wrong(line).contains("hunter2"), "{}", wrong(line));
        }
    }

    #[test]
    fn every_sentence_is_one_line() {
        for line in [
            &["vaultstore"][..],
            &["vaultstore", "read"],
            &["vaultstore", "rekey", "--workers", "0"],
            &["vaultstore", "create", "--token", "a", "--length", "20"],
            &["vaultstore", "read", "t", "--password-env", "A", "--password-file", "b"],
        ] {
            assert!(!wrong(line).contains('\n'), "{}", wrong(line));
        }
    }
}
