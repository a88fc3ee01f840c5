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

/// Returns the exit code, and reports a failure on standard error.
pub(crate) fn code(outcome: Result<Exit, Failure>) -> u8 {
    match outcome {
        Ok(Exit::Done) => 0,
        Ok(Exit::No) => 1,
        Ok(Exit::Remains) => 3,
        Ok(Exit::OtherCount) => 4,
        Ok(Exit::WouldMerge) => 5,
        Ok(Exit::WouldMark) => 6,
        Ok(Exit::Interrupted) => 130,
        Err(failure) => {
            failure.say();
            match failure.kind() {
                FailureKind::Failed => 1,
                FailureKind::Usage => 2,
                FailureKind::Refused => 5,
                FailureKind::Marks => 6,
                FailureKind::Unavailable => 75,
                FailureKind::Interrupted => 130,
            }
        }
    }
}
