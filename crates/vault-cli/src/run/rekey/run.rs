//! A rekey that is run to its end: its state is kept, its file put in place, its report printed.

use std::{path::PathBuf, sync::Arc};

use vaultstore::backend::BackendKind;
use vaultstore::envelope::Format;
use vaultstore::rekey::RunStatus;
use vaultstore::store::{ScrubOptions, ScrubReport, StagedStore};
use vaultstore::{RekeyReport, RekeySession};

use super::evidence::ReportFile;
use super::judge::{Expected, judge};
use super::notes::{Doubt, propose_rebuild, scrub_command, tell_marks, traces};
use super::place::Place;
use crate::args::{OutputArgs, PaceArgs};
use crate::exit::{self, Exit, Failure, FailureKind};
use crate::render::headline::{V2Answer, Wording};
use crate::render::progress::Progress;
use crate::render::{self, figures};
use crate::run::drive::{Steps, drive};
use crate::run::v2_cost::{self, V2Costs};
use crate::run::{Context, blocking};
use crate::state_file::StateFile;

/// A rekey being run to its end.
pub(super) struct Run<'a> {
    pub(super) context: &'a Context,
    pub(super) place: Place,
    pub(super) kept: Option<Arc<StateFile>>,
    /// The file that will replace the vault's.
    pub(super) staged: Option<Arc<dyn StagedStore>>,
    pub(super) costs: V2Costs,
    pub(super) expected: Expected,
    pub(super) pace: PaceArgs,
    pub(super) evidence: Option<ReportFile>,
}

impl Run<'_> {
    /// Runs to the end, stores the state, prints the report. The state of a finished job stays: it
    /// tells the same command that the job is done.
    pub(super) async fn drive(
        &self,
        mut session: RekeySession,
        mut wording: Wording,
        output: &OutputArgs,
    ) -> Result<Exit, Failure> {
        let mut doubt = Doubt::default();
        doubt.show(session.report());
        let steps = Kept { session: &mut session, file: self.kept.as_ref(), doubt: &mut doubt };
        let outcome =
            drive(steps, self.context, output.progress, self.pace, "rekey").await.map(|_| ());
        doubt.show(session.report());
        tell_marks(session.report());
        let outcome = outcome.and(match &self.kept {
            // A refused merge wrote nothing; there is nothing to resume.
            Some(kept) if is_refused_from_the_start(session.report()) => kept.remove(),
            // It may contain more than after the last step: the page that was finished, what was
            // refused, what failed.
            Some(kept) => keep(&session, kept).await,
            None => Ok(()),
        });
        let outcome = match (&self.staged, outcome) {
            (None, outcome) => outcome.and(self.place.check(self.kept.is_some())),
            (Some(staged), outcome) => match outcome {
                Ok(()) => self.publish(staged, session.report()).await.map(|published| {
                    wording.published = published;
                }),
                Err(failure) => Err(failure),
            },
        };
        if outcome.is_ok() {
            wording.v2 = self.ask_v2(&session).await?;
        }
        if !wording.rebuild {
            wording.traces = traces(&self.context.url, session.report());
        }
        let report = session.report();
        if output.json {
            render::print_json(&render::rekey::json(report, &wording))?;
        } else {
            render::print_text(&render::rekey::text(report, &wording))?;
        }
        if let Err(failure) = outcome {
            let failure = self.with_what_was_done(failure, report);
            self.write_evidence(report, &wording, failure.kind().code())?;
            return Err(failure);
        }
        for failure in &report.failures {
            let failed = format!("{} failed", figures::records(failure.records));
            // A trigger can put the id into the reason.
            exit::error_for_people(&format!("{failed}: {}", failure.reason), &failed);
        }
        if self.staged.is_none() {
            propose_rebuild(&self.context.url, report);
        }
        let exit = judge(report, &wording, self.expected);
        self.write_evidence(report, &wording, exit.code())?;
        let moved = !report.dry_run && report.rekeyed_now() > 0;
        drop(session);
        if moved && self.context.url.kind() == BackendKind::Sqlite {
            self.tell_kept_log().await;
        }
        Ok(exit)
    }

    fn write_evidence(
        &self,
        report: &RekeyReport,
        wording: &Wording,
        exit_code: u8,
    ) -> Result<(), Failure> {
        match &self.evidence {
            Some(file) => file.write(report, wording, exit_code).map_err(Failure::after_a_change),
            None => Ok(()),
        }
    }

    /// An SQLite vault that is closed leaves no log, unless another process has it open.
    async fn tell_kept_log(&self) {
        self.context.close().await;
        let Some(path) = self.context.url.file() else { return };
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let is_kept = std::fs::metadata(PathBuf::from(log)).is_ok_and(|log| log.len() > 0);
        if is_kept {
            exit::warn(
                "the log next to the file shows which records were re-encrypted: another process has the vault open",
            );
            exit::hint(&format!("close it, then run: {}", scrub_command(&self.context.url)));
        }
    }

    /// Puts the new file in the place of the vault's if the run has reached its end and moved
    /// something.
    async fn publish(
        &self,
        staged: &Arc<dyn StagedStore>,
        report: &RekeyReport,
    ) -> Result<Option<ScrubReport>, Failure> {
        if report.end != RunStatus::Complete || report.counts.rekeyed == 0 {
            return Ok(None);
        }
        Ok(Some(staged.publish(ScrubOptions::default()).await?))
    }

    /// Adds to a failure what the run had done, and how to continue.
    fn with_what_was_done(&self, failure: Failure, report: &RekeyReport) -> Failure {
        match failure.kind() {
            FailureKind::Failed | FailureKind::Unavailable
                if self.kept.is_some() && report.counts.rekeyed > 0 =>
            {
                let done = figures::records(report.counts.rekeyed);
                failure.and_hint(&format!(
                    "{done} re-encrypted so far, which stay so; the same command resumes"
                ))
            }
            FailureKind::Refused if report.merge.found > 0 => failure.and_hint(
                "if an earlier rekey to this password was interrupted, name its state file with --state",
            ),
            _ => failure,
        }
    }

    /// Tries a few v2 records if nothing opened: a wrong cost looks like a wrong password, and the
    /// merge check passes over v2 records.
    async fn ask_v2(&self, session: &RekeySession) -> Result<V2Answer, Failure> {
        let report = session.report();
        let has_v2 = report.before.keys().any(|kind| kind.format == Format::V2);
        if report.end != RunStatus::Complete || !report.moved_nothing() || !has_v2 {
            return Ok(V2Answer::Unasked);
        }
        if let Some(cost) = session.find_v2_params(&self.costs.others).await? {
            return Ok(V2Answer::OldOpensAt(v2_cost::name(&cost)));
        }
        let opens = report.counts.already_new == 0 && session.new_opens_v2().await?;
        Ok(if opens { V2Answer::NewOpens } else { V2Answer::Nothing })
    }
}

/// The session with the state that it keeps.
struct Kept<'a> {
    session: &'a mut RekeySession,
    file: Option<&'a Arc<StateFile>>,
    doubt: &'a mut Doubt,
}

impl Steps for Kept<'_> {
    const MAY_BE_DROPPED: bool = true;

    fn total(&self) -> u64 {
        self.session.total()
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        match self.file {
            Some(file) => keep(self.session, file).await,
            None => Ok(()),
        }
    }

    async fn step(&mut self, progress: &mut Progress) -> Result<bool, Failure> {
        let Some(report) = self.session.step().await? else { return Ok(false) };
        render::rekey::step(progress, report);
        // Before the next step, which may be the first to write.
        self.doubt.show(report);
        Ok(true)
    }

    async fn stop(&mut self, progress: &Progress) -> Result<(), Failure> {
        progress.say("finishing the page that is being written; interrupt again to stop at once");
        self.session.stop().await?;
        Ok(())
    }
}

fn is_refused_from_the_start(report: &RekeyReport) -> bool {
    report.end == RunStatus::Refused && report.earlier.runs == 0
}

async fn keep(session: &RekeySession, file: &Arc<StateFile>) -> Result<(), Failure> {
    let (state, file) = (session.state()?, Arc::clone(file));
    blocking(move || file.write(&state)).await
}
