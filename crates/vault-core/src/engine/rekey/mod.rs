//! The bulk rekey: every record that opens under an old password is sealed anew under its new one.
//!
//! Nothing stored says which records share a password, so the engine tries the old password on each. It is a step
//! function that its caller drives: a step reads, tests, seals and commits one page, while the next page is being
//! examined and the one after that is being read. Progress is what a step returns; cancelling is not calling it again.
//!
//! A run first asks whether the new password is in use already (`merge`), then passes over the whole vault until a pass
//! finds nothing to do (`session`). What it has tried (`tested`) and where it is (`progress`) make up its state
//! (`state`), from which another run goes on.

mod chain_check;
mod commit;
mod error;
mod examine;
mod merge_check;
mod pass;
mod plan;
mod probe;
mod progress;
mod report;
mod session;
mod start;
mod state;
mod tried;
mod writers;

pub use self::{
    error::{ChainDoubt, RekeyError},
    plan::{
        EarlierRun, InvalidPlan, MergeCheck, ParseShardError, RekeyMode, RekeyPlan, Shard,
        WriteHooks,
    },
    report::{
        FailureReason, MergeReport, PreviousRuns, RekeyCounts, RekeyReport, RunStatus, StageTimes,
    },
    session::RekeySession,
    state::{JobInfo, RekeyState, ResumeError},
};
