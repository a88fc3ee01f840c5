//! Why a command failed: what failed on what, and what to do about it.

use std::{borrow::Cow, error::Error};

use vaultstore::envelope::{Malformed, NotTried};
use vaultstore::kdf::{CostLimit, CostOverLimit};
use vaultstore::rekey::{ChainDoubt, InvalidPlan, RekeyError};
use vaultstore::run::ScanError;
use vaultstore::settings::SettingsError;
use vaultstore::store::RngError;
use vaultstore::{StoreError, StoreErrorKind, VaultError};

use super::{marked, marks_hint, say};
use crate::platform;
use crate::render::figures;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    what: String,
    hint: Option<Cow<'static, str>>,
    /// The underlying error.
    cause: Option<Box<dyn Error + Send + Sync>>,
    changed: Changed,
    /// What is only shown, and stays out of the log.
    private: Option<String>,
}

/// The exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// 1: it failed.
    Failed,
    /// 2: wrong usage or configuration.
    Usage,
    /// 5: refused before the first write.
    Refused,
    /// 6: a rekey would mark records; refused before the first write.
    Marks,
    /// 75: the server was gone or busy; the same command continues.
    Unavailable,
    /// 130: Ctrl-C at the password prompt.
    Interrupted,
}

/// What is known about the vault after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    /// Nothing was changed by the failed call; this says nothing about earlier ones.
    NotByThis,
    /// Something was changed, or may have been.
    Perhaps,
    /// Nothing was changed by the whole command, which is reported.
    Nothing,
}

impl Failure {
    /// Exit code 1. One line that says what failed and on what.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, what.into())
    }

    /// Exit code 2. One line that says what is wrong with the request.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, what.into())
    }

    /// Exit code 5. One line that says why a rekey was refused.
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, what.into())
    }

    /// Exit code 130.
    pub(crate) fn interrupted() -> Self {
        Self::new(FailureKind::Interrupted, "interrupted".into())
    }

    fn new(kind: FailureKind, what: String) -> Self {
        Self { kind, what, hint: None, cause: None, changed: Changed::NotByThis, private: None }
    }

    /// Sets what to do, in one line.
    pub(crate) fn hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds something to do.
    pub(crate) fn and_hint(self, more: &str) -> Self {
        let hint = match &self.hint {
            Some(hint) => format!("{hint}; {more}"),
            None => more.to_owned(),
        };
        self.hint(hint)
    }

    /// Adds the underlying error.
    pub(crate) fn because(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(error.into()), ..self }
    }

    /// Adds what is only shown, and stays out of the log.
    pub(crate) fn for_people(self, private: String) -> Self {
        Self { private: Some(private), ..self }
    }

    /// The work was done at least in part.
    pub(crate) fn after_a_change(self) -> Self {
        Self { changed: Changed::Perhaps, ..self }
    }

    /// The whole command was one change: if it was certainly not made, this is reported.
    pub(crate) fn of_one_change(self) -> Self {
        let is_failed = matches!(self.kind, FailureKind::Failed | FailureKind::Unavailable);
        let is_said = is_failed && self.changed == Changed::NotByThis;
        Self { changed: if is_said { Changed::Nothing } else { self.changed }, ..self }
    }

    pub(crate) fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What failed, for a message about something else.
    pub(crate) fn sentence_of(self) -> String {
        self.sentence()
    }

    /// Writes `error:` and `hint:` to standard error.
    pub(super) fn say(&self) {
        let sentence = self.sentence();
        match &self.private {
            Some(private) => {
                say::error_for_people(&format!("{sentence}; {private}"), &sentence);
            }
            None => say::error(&sentence),
        }
        if let Some(hint) = self.advice() {
            say::hint(hint);
        }
    }

    /// What to do. Wherever it is met, a limit of the system is what has to be raised.
    fn advice(&self) -> Option<&str> {
        let mut next = self.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(cause) = next {
            if cause.downcast_ref().is_some_and(platform::is_out_of_files) {
                return Some("raise the limit of open files (`ulimit -n`)");
            }
            next = cause.source();
        }
        self.hint.as_deref()
    }

    /// What failed, with its causes, each once.
    fn sentence(&self) -> String {
        let cause = self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static));
        let mut sentence = with_causes(&self.what, cause);
        if matches!(self.kind, FailureKind::Refused | FailureKind::Marks) {
            // A rekey is refused before its first write, or not at all.
            sentence.push_str("; nothing was written");
        } else if self.changed == Changed::Nothing && !sentence.contains("nothing was") {
            sentence.push_str("; nothing was changed");
        }
        sentence
    }
}

/// An error of a store, with its causes.
pub(crate) fn reason(error: &StoreError) -> String {
    with_causes(&error.to_string(), error.source())
}

/// A sentence and its causes, each once.
fn with_causes(what: &str, mut cause: Option<&(dyn Error + 'static)>) -> String {
    let mut sentence = what.to_owned();
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.contains(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        cause = error.source();
    }
    sentence
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = error.kind();
        let mut failure = Self::failed(error.to_string());
        if kind == StoreErrorKind::Retryable {
            // As EX_TEMPFAIL of sysexits.h.
            failure.kind = FailureKind::Unavailable;
        }
        failure.hint = error.hint().map(|hint| Cow::Owned(hint.to_owned()));
        if !kind.nothing_was_changed() {
            failure = failure.after_a_change();
        }
        match kind {
            // The line does not contain the cause.
            StoreErrorKind::Retryable | StoreErrorKind::UnknownOutcome | StoreErrorKind::Other => {
                failure.because(error)
            }
            _ => failure,
        }
    }
}

impl From<RekeyError> for Failure {
    fn from(error: RekeyError) -> Self {
        let what = error.to_string();
        let hint = error.hint().map(|hint| Cow::Owned(hint.to_owned()));
        match error {
            RekeyError::Chain(doubt) => Self::refused(what).hint(advice(doubt)),
            RekeyError::Plan(InvalidPlan::MergingPairs) | RekeyError::Merge { .. } => {
                Self::refused(what)
                    .hint("choose another new password, or allow the merge with --merge-check=off")
            }
            RekeyError::Marks(marks) => {
                Self::new(FailureKind::Marks, marked(&marks)).hint(marks_hint(&marks))
            }
            RekeyError::WriteHooks { .. } => Self::usage(what).hint(
                "remove or disable them for the time of the rekey, or allow them with --allow-triggers",
            ),
            RekeyError::Plan(_) | RekeyError::PasswordPolicyViolation(_) => {
                Self { hint, ..Self::usage(what) }
            }
            RekeyError::Settings(error) => error.into(),
            RekeyError::Store(error) => error.into(),
            error => Self { hint, ..Self::failed(what).because(error) },
        }
    }
}

/// What the user has to find out if it cannot be determined what was already moved.
fn advice(doubt: ChainDoubt) -> &'static str {
    match doubt {
        ChainDoubt::Unknown { .. } => {
            "if they were written since then, nothing is left to do; if the vault was restored from a backup made before the \
             rekey, add --restart"
        }
        ChainDoubt::NoneIsThere { .. } => {
            "if the vault was restored from a backup made before the rekey, add --restart"
        }
        _ => {
            "if such a run was started, name its state with --state, or restore the vault from a backup made before it; if none \
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
        let hint = error.hint().map(|hint| Cow::Owned(hint.to_owned()));
        match error {
            VaultError::PasswordPolicyViolation(error) => Self::usage(error.to_string()),
            VaultError::Settings(error) => error.into(),
            VaultError::Store(error) => error.into(),
            VaultError::Malformed(Malformed::CostOverLimit(over)) => {
                Self::failed(error.to_string()).hint(limit_hint(&over))
            }
            VaultError::NotTried(why) => Self::failed(error.to_string()).hint(not_tried_hint(why)),
            error => Self { hint, ..Self::failed(error.to_string()).because(error) },
        }
    }
}

/// The option that permits a cost, if there is one.
pub(crate) fn limit_option(over: &CostOverLimit) -> Option<String> {
    let memory = match over.limit {
        CostLimit::Memory => over.asked,
        // The limit permits four passes over its memory.
        CostLimit::Work => over.asked.div_ceil(4),
        _ => return None,
    };
    u32::try_from(memory).ok().map(|memory| format!("--kdf-limit {}", figures::kib(memory)))
}

fn limit_hint(over: &CostOverLimit) -> Cow<'static, str> {
    match limit_option(over) {
        Some(option) => format!("use {option} if the vault's owner chose this cost").into(),
        // No preset and no recommendation has as many passes or lanes.
        None => "an attacker may have planted it; restore it from a backup".into(),
    }
}

fn not_tried_hint(why: NotTried) -> &'static str {
    match why {
        NotTried::V1 => {
            "use --allow-v1 if the vault comes from the Go package and only people you trust can write to it"
        }
        NotTried::Salt => "raise --max-salts if records of many vaults were merged into this one",
        why => why.hint(),
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let what = error.to_string();
        let hint = error.hint().map(Cow::Borrowed);
        match error {
            SettingsError::CostOverLimit(over) => Self::usage(what).hint(limit_hint(&over)),
            SettingsError::StoredCost { .. } => Self::failed(what).hint(
                "`vaultstore census` tells which cost the records have: set it again with `vaultstore settings set kdf COST`, \
                 which keeps the salt",
            ),
            SettingsError::Refused { .. } | SettingsError::CostBelowMinimum(_) => {
                Self { hint, ..Self::usage(what) }
            }
            SettingsError::FormatNotSettled => Self::usage(what).hint(
                "choose it once with --format: v2 as long as a Go program uses it, which cannot read v3, and v3 otherwise",
            ),
            _ => Self { hint, ..Self::failed(what) },
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
    use std::io;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = StoreError::new(StoreErrorKind::Other, "it failed")
            .with_source(io::Error::other("the disk"));
        assert_eq!(Failure::from(error).sentence(), "it failed: the disk");
    }

    #[cfg(unix)]
    #[test]
    fn too_many_open_files_have_one_hint_everywhere() {
        let too_many = || io::Error::from_raw_os_error(24);
        let failure = Failure::failed("st.lock: the state cannot be kept here");
        let failure = failure.hint("name another file").because(too_many());
        assert!(failure.advice().unwrap().contains("ulimit -n"));
        let nested = StoreError::new(StoreErrorKind::Other, "v.db").with_source(too_many());
        assert!(Failure::failed("x").because(nested).advice().unwrap().contains("ulimit -n"));
        let other = Failure::failed("x").hint("name another file");
        let other = other.because(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(other.advice(), Some("name another file"));
    }

    #[test]
    fn the_hint_of_a_store_is_a_line_of_its_own() {
        let full = Failure::from(StoreError::new(StoreErrorKind::Full, "v.redb: disk full"));
        assert_eq!(full.sentence(), "v.redb: disk full");
        assert_eq!(full.hint.as_deref(), StoreErrorKind::Full.hint());
    }

    #[test]
    fn nothing_was_changed_is_said_only_where_it_is_certain() {
        let of = |kind| Failure::from(StoreError::new(kind, "v: it failed")).of_one_change();
        assert_eq!(of(StoreErrorKind::Full).sentence(), "v: it failed; nothing was changed");
        assert_eq!(of(StoreErrorKind::UnknownOutcome).sentence(), "v: it failed");
        assert_eq!(Failure::usage("no").of_one_change().sentence(), "no");
        assert_eq!(Failure::failed("no").after_a_change().of_one_change().sentence(), "no");
    }

    #[test]
    fn a_plan_without_sense_is_wrong_usage() {
        let failure = Failure::from(RekeyError::Plan(InvalidPlan::SamePassword));
        assert_eq!(failure.kind(), FailureKind::Usage);
    }
}
