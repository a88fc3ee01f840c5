//! Why a URL, or a variable that completes it, is refused.

use std::fmt;

/// Where a setting was found. Errors name it, but never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// The part of the URL before the `?`.
    Address,
    /// A parameter after the `?` of the URL.
    Parameter(&'static str),
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("the address"),
            Self::Parameter(name) => write!(f, "the parameter {name} of the address"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// Why a URL, or a variable that completes it, is refused. No part of either is repeated, because
/// it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPostgresUrl {
    /// It does not have the form of a Postgres URL.
    Form,
    /// A `%` is not followed by two hexadecimal digits, or the decoded bytes are not text.
    Escape,
    /// A control character, such as a line break.
    ControlCharacter(Setting),
    /// A parameter that does not exist in libpq either.
    UnknownParameter,
    /// A parameter that occurs twice.
    Repeated(Setting),
    /// A parameter or variable without a value.
    Empty(Setting),
    /// A parameter of libpq that this backend does not support.
    Unsupported {
        /// Which.
        setting: Setting,
        /// What to do instead.
        instead: &'static str,
    },
    /// An invalid value.
    Value {
        /// The setting.
        setting: Setting,
        /// The valid values.
        expected: &'static str,
    },
}

impl fmt::Display for InvalidPostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str(
                "the URL of a Postgres vault has the form postgres://USER:PASSWORD@HOST:PORT/DATABASE, and this one does \
                 not; write special characters in the password as %XX",
            ),
            Self::Escape => f.write_str(
                "a % in the URL of a Postgres vault begins a character in the form %XX, and one in this URL does not; write \
                 % itself as %25",
            ),
            Self::ControlCharacter(setting) => write!(
                f,
                "{setting} contains a control character, for example a line break at its end; remove it"
            ),
            Self::UnknownParameter => f.write_str(
                "a parameter behind the ? of the URL is unknown; check its spelling",
            ),
            Self::Repeated(setting) => write!(f, "{setting} is given twice; keep one of them"),
            Self::Empty(setting) => write!(f, "{setting} has no value; give it one, or remove it"),
            Self::Unsupported { setting, instead } => {
                write!(f, "{setting} is not supported; remove it, and {instead}")
            }
            Self::Value { setting, expected } => {
                write!(f, "{setting} has a value that is not understood; give it {expected}")
            }
        }
    }
}

impl std::error::Error for InvalidPostgresUrl {}
