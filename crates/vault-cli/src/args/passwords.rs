//! Password options: the same four sources for each role.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;

/// The source of a password.
pub(crate) enum Source {
    /// A file; `-` is one line of standard input.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The output of a shell command.
    Command(OsString),
    /// The command line itself, by the option of this name.
    Literal(&'static str, OsString),
}

/// The password of a record.
#[derive(Args)]
#[command(next_help_heading = "Passwords")]
#[group(multiple = false)]
pub(crate) struct PasswordArgs {
    /// Read the password from a file ('-' is one line of standard input); one trailing newline is
    /// removed
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from an environment variable
    #[arg(long, value_name = "VAR")]
    password_env: Option<String>,
    /// Read the password from the output of a shell command
    #[arg(long, value_name = "CMD")]
    password_command: Option<OsString>,
    /// The password itself; other users of this machine can see it
    #[arg(long, value_name = "VALUE")]
    password: Option<OsString>,
}

impl PasswordArgs {
    /// Returns the given source, if any.
    pub(crate) fn source(self) -> Option<Source> {
        pick(
            self.password_file,
            self.password_env,
            self.password_command,
            self.password,
            "--password",
        )
    }
}

/// The old password of a rekey.
#[derive(Args)]
#[command(next_help_heading = "Passwords")]
#[group(multiple = false)]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
pub(crate) struct OldPasswordArgs {
    /// Read the old password from a file ('-' is one line of standard input); one trailing newline
    /// is removed
    #[arg(long, value_name = "FILE")]
    old_password_file: Option<PathBuf>,
    /// Read the old password from an environment variable
    #[arg(long, value_name = "VAR")]
    old_password_env: Option<String>,
    /// Read the old password from the output of a shell command
    #[arg(long, value_name = "CMD")]
    old_password_command: Option<OsString>,
    /// The old password itself; other users of this machine can see it
    #[arg(long, value_name = "VALUE")]
    old_password: Option<OsString>,
}

impl OldPasswordArgs {
    /// Returns the given source, if any.
    pub(crate) fn source(self) -> Option<Source> {
        let Self { old_password_file, old_password_env, old_password_command, old_password } = self;
        pick(
            old_password_file,
            old_password_env,
            old_password_command,
            old_password,
            "--old-password",
        )
    }
}

/// The new password of a rekey.
#[derive(Args)]
#[command(next_help_heading = "Passwords")]
#[group(multiple = false)]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
pub(crate) struct NewPasswordArgs {
    /// Read the new password from a file ('-' is one line of standard input); one trailing newline
    /// is removed
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Read the new password from an environment variable
    #[arg(long, value_name = "VAR")]
    new_password_env: Option<String>,
    /// Read the new password from the output of a shell command
    #[arg(long, value_name = "CMD")]
    new_password_command: Option<OsString>,
    /// The new password itself; other users of this machine can see it
    #[arg(long, value_name = "VALUE")]
    new_password: Option<OsString>,
}

impl NewPasswordArgs {
    /// Returns the given source, if any.
    pub(crate) fn source(self) -> Option<Source> {
        let Self { new_password_file, new_password_env, new_password_command, new_password } = self;
        pick(
            new_password_file,
            new_password_env,
            new_password_command,
            new_password,
            "--new-password",
        )
    }
}

/// Any number of passwords.
#[derive(Args)]
#[command(next_help_heading = "Passwords")]
pub(crate) struct PasswordsArgs {
    /// Read a password from a file ('-' is one line of standard input) (repeatable)
    #[arg(long, value_name = "FILE")]
    password_file: Vec<PathBuf>,
    /// Read a password from an environment variable (repeatable)
    #[arg(long, value_name = "VAR")]
    password_env: Vec<String>,
    /// Read a password from the output of a shell command (repeatable)
    #[arg(long, value_name = "CMD")]
    password_command: Vec<OsString>,
    /// The password itself (repeatable); other users of this machine can see it
    #[arg(long, value_name = "VALUE")]
    password: Vec<OsString>,
}

impl PasswordsArgs {
    /// Returns the given sources: files, variables, commands and literals, each kind in its order.
    pub(crate) fn sources(self) -> Vec<Source> {
        let literal = |value| Source::Literal("--password", value);
        let files = self.password_file.into_iter().map(Source::File);
        let variables = self.password_env.into_iter().map(Source::Env);
        let commands = self.password_command.into_iter().map(Source::Command);
        files
            .chain(variables)
            .chain(commands)
            .chain(self.password.into_iter().map(literal))
            .collect()
    }
}

/// Any number of passwords that are to open nothing.
#[derive(Args)]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
pub(crate) struct AbsentPasswordsArgs {
    /// Check that the password in a file opens no record ('-' is one line of standard input),
    /// repeatable
    #[arg(long, value_name = "FILE")]
    absent_password_file: Vec<PathBuf>,
    /// Check that the password in an environment variable opens no record, repeatable
    #[arg(long, value_name = "VAR")]
    absent_password_env: Vec<String>,
    /// Check that the password that a shell command prints opens no record, repeatable
    #[arg(long, value_name = "CMD")]
    absent_password_command: Vec<OsString>,
    /// Check that this password opens no record, repeatable; other users of this machine can see it
    #[arg(long, value_name = "VALUE")]
    absent_password: Vec<OsString>,
}

impl AbsentPasswordsArgs {
    /// The sources that were given, as [`PasswordsArgs::sources`].
    pub(crate) fn sources(self) -> Vec<Source> {
        let literal = |value| Source::Literal("--absent-password", value);
        let files = self.absent_password_file.into_iter().map(Source::File);
        let variables = self.absent_password_env.into_iter().map(Source::Env);
        let commands = self.absent_password_command.into_iter().map(Source::Command);
        let literals = self.absent_password.into_iter().map(literal);
        files.chain(variables).chain(commands).chain(literals).collect()
    }
}

fn pick(
    file: Option<PathBuf>,
    env: Option<String>,
    command: Option<OsString>,
    literal: Option<OsString>,
    option: &'static str,
) -> Option<Source> {
    let literal = literal.map(|value| Source::Literal(option, value));
    file.map(Source::File).or(env.map(Source::Env)).or(command.map(Source::Command)).or(literal)
}

macro_rules! shows_nothing {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
shows_nothing!(
    Source,
    PasswordArgs,
    OldPasswordArgs,
    NewPasswordArgs,
    PasswordsArgs,
    AbsentPasswordsArgs
);
