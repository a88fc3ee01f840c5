//! The bulk rekey: re-encrypts every record that opens under an old password under its new one.
//!
//! Nothing stored reveals which records share a password, so the engine tries the old password on
//! each. The caller drives it step by step: a step commits one page while the next page is being
//! examined and the one after that is being read. A step returns the progress; not calling it again
//! cancels the run.
//!
//! A run first checks whether the new password is already in use (`merge_check`), then passes over
//! the whole vault until a pass finds nothing to do (`session`). What it has tried (`tried`) and
//! where it is (`progress`) make up its state (`state`), from which another run can resume.

mod by_head;
mod chain_check;
mod commit;
mod error;
mod examine;
mod kdf_tally;
mod marks;
mod merge_check;
mod other_costs;
mod pairs;
mod pass;
mod plan;
mod progress;
mod report;
mod sample;
mod session;
mod shard;
mod start;
mod state;
mod tried;
mod writers;

pub use self::{
    error::{ChainDoubt, RekeyError},
    marks::{Mark, MarkReason, Marks},
    plan::{
        BodyCheck, EarlierRun, InvalidPlan, Marking, MergeCheck, RekeyMode, RekeyPlan, WriteAs,
        WriteHooks,
    },
    report::{
        FailureReason, KdfDoubt, MergeReport, PreviousRuns, RekeyCounts, RekeyReport, RunStatus,
        StageTimes,
    },
    session::RekeySession,
    shard::{ParseShardError, Shard},
    state::{JobInfo, RekeyState, ResumeError},
};
