//! Reads passwords from a file, a variable, a command, the command line, or the terminal.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
};

use vaultstore::Password;
use zeroize::Zeroizing;

use super::prompt;
use super::role::Prompt;
use super::{MAX_PASSWORD, read_file, read_line, read_to_end, stdin, strip_newline, unreadable};
use crate::args::Source;
use crate::exit::{self, Failure};

/// Reads the passwords of one command. Standard input provides one line at most once.
#[derive(Debug, Default)]
pub(crate) struct Passwords {
    stdin: Stdin,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stdin {
    #[default]
    Free,
    Taken,
}

impl Passwords {
    /// Standard input contains the value.
    pub(crate) fn with_value_on_stdin() -> Self {
        Self { stdin: Stdin::Taken }
    }

    /// Reads one password. Blocks, possibly until the user has typed it.
    pub(crate) fn read(
        &mut self,
        source: Option<Source>,
        ask: Prompt,
    ) -> Result<Password, Failure> {
        let (source, variable) = match source {
            Some(source) => (Some(source), None),
            None => ask.role().in_environment()?.map(|(name, source)| (source, name)).unzip(),
        };
        let named = |failure: Failure| match variable {
            Some(name) => failure.and_hint(&format!("the variable {name} names it")),
            None => failure,
        };
        let mut bytes = match source {
            None => prompt::ask(ask)?,
            Some(Source::File(path)) if path == Path::new("-") => {
                self.line_of_stdin().map_err(named)?
            }
            Some(Source::File(path)) => stripped(read_file(&path, MAX_PASSWORD).map_err(named)?),
            Some(Source::Env(variable)) => from_env(&variable)?,
            Some(Source::Command(command)) => stripped(from_command(&command).map_err(named)?),
            Some(Source::Literal(option, value)) => {
                exit::warn(&format!(
                    "{option} shows the password to every user of this machine; use {option}-file instead"
                ));
                Zeroizing::new(value.into_encoded_bytes())
            }
        };
        Ok(Password::new(std::mem::take(&mut *bytes)))
    }

    fn line_of_stdin(&mut self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if std::mem::replace(&mut self.stdin, Stdin::Taken) == Stdin::Taken {
            return Err(Failure::usage("standard input cannot give two things")
                .hint("read the value or the other password from a file"));
        }
        let mut stdin = stdin()?;
        read_line(&mut stdin, MAX_PASSWORD)
            .map_err(|error| unreadable("standard input", MAX_PASSWORD, error))
    }
}

fn stripped(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    strip_newline(&mut bytes);
    bytes
}

fn from_env(variable: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // `var_os` panics on these.
    let possible = !variable.is_empty() && !variable.contains(['=', '\0']);
    let value = possible.then(|| env::var_os(variable)).flatten();
    value.map(|value| Zeroizing::new(OsString::into_encoded_bytes(value))).ok_or_else(|| {
        Failure::usage("the environment variable named for a password is not set")
            .hint("export the variable, or choose another source")
    })
}

/// The variables that contain our secrets, which a password command does not need: those that the
/// command line names for passwords, those of a vault's address, and our own for passwords, whose
/// commands may contain some. Other processes of the same user can read a command's environment.
fn secret_variables(
    args: impl Iterator<Item = OsString>,
    set: impl Iterator<Item = OsString>,
) -> Vec<OsString> {
    let mut variables: Vec<OsString> = vec!["VAULTSTORE_VAULT".into(), "PGPASSWORD".into()];
    variables.extend(set.filter(is_ours));
    let mut names_follow = false;
    for argument in args {
        if std::mem::take(&mut names_follow) {
            variables.push(argument);
            continue;
        }
        let Some(text) = argument.to_str().and_then(|text| text.strip_prefix("--")) else {
            continue;
        };
        match text.split_once('=') {
            Some((option, name)) if option.ends_with("password-env") => variables.push(name.into()),
            None => names_follow = text.ends_with("password-env"),
            Some(_) => {}
        }
    }
    variables.retain(|name| !name.is_empty());
    variables
}

fn is_ours(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("VAULTSTORE_") && name.contains("PASSWORD"))
}

/// Runs a command in the shell and reads its output.
fn from_command(command: &OsString) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error| Failure::failed("the password command could not be run").because(error);
    let mut shell = Command::new("sh");
    for variable in secret_variables(env::args_os(), env::vars_os().map(|(name, _)| name)) {
        shell.env_remove(variable);
    }
    let child = shell
        .arg("-c")
        .arg(command)
        // Standard input may contain the value, which the command must not consume.
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.map_err(failed)?;
    let password = match &mut child.stdout {
        Some(output) => read_to_end(output, 0, MAX_PASSWORD),
        None => Ok(Zeroizing::default()),
    };
    if password.is_err() {
        // It may print endlessly.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let password = password
        .map_err(|error| unreadable("the output of the password command", MAX_PASSWORD, error))?;
    if !status.success() {
        return Err(Failure::failed(format!("the password command failed ({status})"))
            .hint("run the command by itself to see why"));
    }
    Ok(password)
}
