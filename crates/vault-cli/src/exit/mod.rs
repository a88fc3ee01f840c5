//! How a command ends: its exit code, and the lines `error:` and `hint:` if it failed.

mod failure;
mod marks;
mod not_tried;
mod say;

pub(crate) use self::{
    failure::{Failure, FailureKind, limit_option, reason},
    marks::{marked, marks_hint},
    not_tried::tell_not_tried,
    say::{Loudness, error, error_for_people, hint, is_as_loud_as, note, set_loudness, step, warn},
};

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
    /// 6: a rekey would mark the records that it moves.
    WouldMark,
    /// 130: interrupted; the same command continues.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Remains => 3,
            Self::OtherCount => 4,
            Self::WouldMerge => 5,
            Self::WouldMark => 6,
            Self::Interrupted => 130,
        }
    }
}

impl FailureKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 5,
            Self::Marks => 6,
            Self::Unavailable => 75,
            Self::Interrupted => 130,
        }
    }
}

/// Returns the exit code, and reports a failure on standard error.
pub(crate) fn code(outcome: Result<Exit, Failure>) -> u8 {
    match outcome {
        Ok(exit) => exit.code(),
        Err(failure) => {
            failure.say();
            failure.kind().code()
        }
    }
}
