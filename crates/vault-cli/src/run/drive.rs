//! Drives a run over a whole vault: one step after another until the end, or until the user
//! interrupts.

use std::time::Instant;

use super::Context;
use super::throttle::Throttle;
use crate::args::{PaceArgs, ProgressMode};
use crate::exit::Failure;
use crate::render::End;
use crate::render::progress::Progress;

/// A run that goes step by step.
pub(super) trait Steps {
    /// Whether a step may be dropped half way without a loss; else an interrupt waits for its end.
    const MAY_BE_DROPPED: bool;

    /// How many records there are to go through.
    fn total(&self) -> u64;

    /// What has to be done before each step, and is never dropped.
    async fn prepare(&mut self) -> Result<(), Failure>;

    /// Makes one step and shows how far the run is. Whether there may be another.
    async fn step(&mut self, progress: &mut Progress) -> Result<bool, Failure>;

    /// Ends the run after an interrupt, in an orderly way.
    async fn stop(&mut self, progress: &Progress) -> Result<(), Failure>;
}

/// Steps to the end of a run. The first interrupt stops it; a second one ends the process.
pub(super) async fn drive(
    mut run: impl Steps,
    context: &Context,
    mode: ProgressMode,
    pace: PaceArgs,
    phase: &'static str,
) -> Result<End, Failure> {
    let mut progress = Progress::start(mode, phase, run.total());
    let end = drive_with(&mut run, context, Throttle::new(pace), &mut progress).await?;
    if end == End::Stopped {
        run.stop(&progress).await?;
    }
    Ok(end)
}

async fn drive_with<S: Steps>(
    run: &mut S,
    context: &Context,
    mut throttle: Throttle,
    progress: &mut Progress,
) -> Result<End, Failure> {
    loop {
        run.prepare().await?;
        let more = if S::MAY_BE_DROPPED {
            tokio::select! {
                biased;
                () = context.interrupts.first() => return Ok(End::Stopped),
                more = run.step(progress) => more?,
            }
        } else {
            run.step(progress).await?
        };
        if !more {
            return Ok(End::Complete);
        }
        let wait = throttle.wait(progress.read(), Instant::now());
        if !wait.is_zero() {
            tokio::select! {
                () = context.interrupts.first() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if context.interrupts.has_come() {
            return Ok(End::Stopped);
        }
    }
}
