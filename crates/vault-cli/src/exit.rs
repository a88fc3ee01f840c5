//! How a command ends: its exit code, and the one sentence when it failed.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
};

use vaultstore::rekey::{ChainDoubt, InvalidPlan, RekeyError};
use vaultstore::run::ScanError;
use vaultstore::settings::SettingsError;
use vaultstore::store::RngError;
use vaultstore::{StoreError, StoreErrorKind, VaultError};

/// The result of a command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: all is well.
    Done,
    /// 1: the answer is no (`exists`), or a benchmark found its vault wrong.
    No,
    /// 3: finished, but records remain that need attention.
    Remains,
    /// 4: nothing matched, or the count is not the expected one.
    OtherCount,
    /// 5: a rekey would merge its records with those of the new password.
    WouldMerge,
    /// 130: interrupted; the same command continues.
    Interrupted,
}

/// The user pressed Ctrl-C instead of typing a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 2: wrong usage or configuration.
    Usage(String),
    /// 1: it failed.
    Failed {
        /// What failed, on what, and what to do.
        sentence: String,
        /// The underlying error.
        cause: Option<Box<dyn Error + Send + Sync>>,
    },
    /// 5: the new password is in use already; nothing was written.
    Refused(String),
    /// 130: at the password prompt.
    Interrupted(Interrupted),
}

impl Failure {
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Self::Failed { sentence: sentence.into(), cause: None }
    }

    /// Adds the underlying error.
    pub(crate) fn because(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        match self {
            Self::Failed { sentence, .. } => Self::Failed { sentence, cause: Some(error.into()) },
            other => other,
        }
    }
}

/// Returns the exit code; a failure's message goes to standard error.
pub(crate) fn code(outcome: Result<Exit, Failure>) -> u8 {
    match outcome {
        Ok(Exit::Done) => 0,
        Ok(Exit::No) => 1,
        Ok(Exit::Remains) => 3,
        Ok(Exit::OtherCount) => 4,
        Ok(Exit::WouldMerge) => 5,
        Ok(Exit::Interrupted) => 130,
        Err(Failure::Usage(sentence)) => {
            say(&sentence);
            2
        }
        Err(Failure::Refused(sentence)) => {
            say(&sentence);
            5
        }
        Err(Failure::Failed { sentence, cause }) => {
            say(&with_cause(sentence, cause.as_deref()));
            1
        }
        Err(Failure::Interrupted(Interrupted)) => {
            say("interrupted; nothing was changed");
            130
        }
    }
}

/// Prints a warning.
pub(crate) fn warn(sentence: &str) {
    say(&format!("warning: {sentence}"));
}

/// Prints one line on standard error, with control characters escaped.
pub(crate) fn say(sentence: &str) {
    let mut line = String::from("vaultstore: ");
    for character in sentence.chars() {
        if character.is_control() {
            // Writing into a String cannot fail.
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    // If standard error is closed, there is nowhere to report to.
    let _ = io::stderr().write_all(line.as_bytes());
}

fn with_cause(mut sentence: String, cause: Option<&(dyn Error + Send + Sync + 'static)>) -> String {
    let mut next = cause.map(|cause| cause as &dyn Error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !sentence.contains(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        next = cause.source();
    }
    sentence
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let sentence = error.to_string();
        match error.kind() {
            // The message does not contain the cause.
            StoreErrorKind::Retryable | StoreErrorKind::UnknownOutcome | StoreErrorKind::Other => {
                Self::Failed { sentence, cause: Some(Box::new(error)) }
            }
            _ => Self::failed(sentence),
        }
    }
}

impl From<RekeyError> for Failure {
    fn from(error: RekeyError) -> Self {
        match error {
            RekeyError::Chain(doubt) => Self::Refused(format!("{error}. {}", advice(doubt))),
            RekeyError::Plan(InvalidPlan::MergingPairs) | RekeyError::Merge { .. } => {
                Self::Refused(format!("{error} (--allow-merge)"))
            }
            error @ RekeyError::WriteHooks { .. } => {
                Self::Usage(format!("{error} (--allow-triggers)"))
            }
            RekeyError::Plan(plan) => Self::Usage(plan.to_string()),
            RekeyError::PasswordPolicyViolation(error) => Self::Usage(error.to_string()),
            RekeyError::Settings(error) => error.into(),
            RekeyError::Store(error) => error.into(),
            error => Self::failed(error.to_string()).because(error),
        }
    }
}

/// What the user has to find out if it cannot be determined what was already moved.
fn advice(doubt: ChainDoubt) -> &'static str {
    match doubt {
        ChainDoubt::Unknown { .. } => {
            "If they were written since then, nothing is left to do; if the vault was restored from a backup made before the \
             rekey, add --restart"
        }
        ChainDoubt::NoneIsThere { .. } => {
            "If the vault was restored from a backup made before the rekey, add --restart"
        }
        _ => {
            "If such a run was started, name its state with --state, or restore the vault from a backup made before it; if none \
             ever was, add --restart"
        }
    }
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        RekeyError::from(error).into()
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::PasswordPolicyViolation(error) => Self::Usage(error.to_string()),
            VaultError::Settings(error) => error.into(),
            VaultError::Store(error) => error.into(),
            error => Self::failed(error.to_string()).because(error),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Refused { .. }
            | SettingsError::CostBelowMinimum(_)
            | SettingsError::CostOverLimit(_) => Self::Usage(error.to_string()),
            error @ SettingsError::FormatNotSettled => {
                Self::Usage(format!("{error} (--format, once)"))
            }
            error => Self::failed(error.to_string()).because(error),
        }
    }
}

impl From<RngError> for Failure {
    fn from(error: RngError) -> Self {
        Self::failed(error.to_string()).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = StoreError::new(StoreErrorKind::Other, "it failed")
            .with_source(io::Error::other("the disk"));
        let Failure::Failed { sentence, cause } = Failure::from(error) else {
            panic!("not a failure")
        };
        assert_eq!(with_cause(sentence, cause.as_deref()), "it failed: the disk");
    }

    #[test]
    fn a_plan_without_sense_is_wrong_usage() {
        let failure = Failure::from(RekeyError::Plan(vaultstore::rekey::InvalidPlan::SamePassword));
        assert!(matches!(failure, Failure::Usage(_)));
    }
}
