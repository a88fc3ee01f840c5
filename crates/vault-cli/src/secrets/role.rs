//! What a password is for, and the variables that stand in for its prompt.

use std::{env, ffi::OsString, path::PathBuf};

use crate::args::Source;
use crate::exit::Failure;

/// What a password is for. A source of one is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The password of records.
    Records,
    /// The old password of a rekey.
    Old,
    /// The new password of a rekey.
    New,
}

impl Role {
    /// What a prompt asks for.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Records => "Password",
            Self::Old => "Old password",
            Self::New => "New password",
        }
    }

    /// The variable that names a file, and the one that contains a shell command.
    fn variables(self) -> [&'static str; 2] {
        match self {
            Self::Records => ["VAULTSTORE_PASSWORD_FILE", "VAULTSTORE_PASSWORD_COMMAND"],
            Self::Old => ["VAULTSTORE_OLD_PASSWORD_FILE", "VAULTSTORE_OLD_PASSWORD_COMMAND"],
            Self::New => ["VAULTSTORE_NEW_PASSWORD_FILE", "VAULTSTORE_NEW_PASSWORD_COMMAND"],
        }
    }

    /// The source that the environment gives instead of a prompt, with the name of its variable. An
    /// empty variable counts as unset.
    pub(crate) fn in_environment(self) -> Result<Option<(&'static str, Source)>, Failure> {
        self.choose(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn choose(
        self,
        value: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<(&'static str, Source)>, Failure> {
        let [file, command] = self.variables();
        match (value(file), value(command)) {
            (Some(_), Some(_)) => Err(Failure::usage(format!("{file} and {command} are both set"))
                .hint("unset one of them")),
            (Some(path), None) => Ok(Some((file, Source::File(PathBuf::from(path))))),
            (None, Some(shell)) => Ok(Some((command, Source::Command(shell)))),
            (None, None) => Ok(None),
        }
    }
}

/// What to prompt for if no source was given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prompt {
    /// An existing password: asked for once.
    Known(Role),
    /// A new password: asked for twice.
    New(Role),
}

impl Prompt {
    pub(super) fn role(self) -> Role {
        match self {
            Self::Known(role) | Self::New(role) => role,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_gives_the_password_of_its_own_role_only() {
        for role in [Role::Records, Role::Old, Role::New] {
            for set in role.variables() {
                let value = |name: &str| (name == set).then(|| OsString::from("x"));
                let (name, _) = role.choose(value).unwrap().unwrap();
                assert_eq!(name, set);
                for other in [Role::Records, Role::Old, Role::New] {
                    assert_eq!(other.choose(value).unwrap().is_some(), other == role, "{set}");
                }
            }
            assert!(role.choose(|_| Some(OsString::from("x"))).is_err());
        }
    }
}
