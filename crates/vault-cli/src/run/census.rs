//! `census`, and what it shares with `verify`.

use std::sync::Arc;

use vaultstore::census::{CensusPlan, CensusReport, CensusSession};
use vaultstore::{Password, PasswordKey};

use super::drive::{Steps, drive};
use super::identity::advise_purge;
use super::v2_cost::V2Costs;
use super::{Context, blocking};
use crate::args::{CensusArgs, OutputArgs, PaceArgs, Source};
use crate::exit::{self, Exit, Failure};
use crate::plan;
use crate::render::progress::Progress;
use crate::render::{self, End};
use crate::secrets::{Passwords, Prompt, Role};

/// Damaged and malformed records make the exit code 3; records that none of the passwords opens
/// belong to others.
pub(super) async fn run(context: &Context, args: CensusArgs) -> Result<Exit, Failure> {
    let vault = context.open_for(&args.open).await?;
    let sources = args.passwords.sources();
    let named = blocking(move || Named::read(&mut Passwords::default(), sources, "--")).await?;
    let census =
        named.with_keys(CensusPlan::new().options(plan::run_options(&args.run, Some(&args.pace))));
    context.interrupts.leave_first_to_command();
    let mut session = vault.census(census).await?;
    let end =
        to_its_end(context, &mut session, "census", (&args.output, args.pace), |_| Ok(())).await?;
    let report = session.report();
    let identities = vault.password_identities().await?;
    if args.output.json {
        let json = render::census::json(report, &named.names, end);
        render::print_json(&json.with_identities(&identities))?;
    } else {
        let mut text = render::census::lists(&report.problems, &[], render::unchecked::SHOWN);
        text.push_str(&render::census::hidden(report, render::unchecked::SHOWN));
        text.push_str(&render::census::text(report, &named.names, Some(&identities), end));
        render::print_text(&text)?;
    }
    exit::tell_not_tried(&report.not_tried);
    if !identities.is_empty() {
        advise_purge();
    }
    let costs = V2Costs::of(&**vault.store(), &args.open, context).await?;
    tell_v2_cost(&session, &costs, end).await?;
    Ok(match end {
        End::Stopped => Exit::Interrupted,
        End::Complete if report.damaged + report.malformed + planted(report) > 0 => Exit::Remains,
        End::Complete => Exit::Done,
    })
}

/// Records that no password was tried on because of their header.
fn planted(report: &CensusReport) -> u64 {
    report.not_tried.below_floor + report.not_tried.other_salts
}

/// Passwords, each with the name of its source.
pub(super) struct Named {
    pub(super) names: Vec<String>,
    keys: Vec<Arc<PasswordKey>>,
}

impl Named {
    /// Reads each; `dashes` is what the names of their options begin with.
    pub(super) fn read(
        reader: &mut Passwords,
        sources: Vec<Source>,
        dashes: &str,
    ) -> Result<Self, Failure> {
        let mut named = Self { names: Vec::new(), keys: Vec::new() };
        for (number, source) in sources.into_iter().enumerate() {
            let name = match &source {
                Source::File(path) => format!("{dashes}password-file {}", path.display()),
                Source::Env(variable) => format!("{dashes}password-env {variable}"),
                // A command may contain a secret.
                Source::Command(_) => format!("{dashes}password-command (password {})", number + 1),
                Source::Literal(option, _) => format!("{option} (password {})", number + 1),
            };
            named.add(name, reader.read(Some(source), Prompt::Known(Role::Records))?);
        }
        Ok(named)
    }

    pub(super) fn add(&mut self, name: String, password: Password) {
        self.names.push(name);
        self.keys.push(Arc::new(PasswordKey::new(password)));
    }

    pub(super) fn into_keys(self) -> Vec<Arc<PasswordKey>> {
        self.keys
    }

    pub(super) fn with_keys(&self, plan: CensusPlan) -> CensusPlan {
        self.keys.iter().fold(plan, |plan, key| plan.key(Arc::clone(key)))
    }
}

/// Runs until every record was examined, or the user interrupts; calls `listed` for each step.
pub(super) async fn to_its_end(
    context: &Context,
    session: &mut CensusSession,
    phase: &'static str,
    (output, pace): (&OutputArgs, PaceArgs),
    listed: impl FnMut(&mut CensusSession) -> Result<(), Failure>,
) -> Result<End, Failure> {
    drive(Survey { session, listed }, context, output.progress, pace, phase).await
}

/// A census with what hears of each step.
struct Survey<'a, F> {
    session: &'a mut CensusSession,
    listed: F,
}

impl<F: FnMut(&mut CensusSession) -> Result<(), Failure>> Steps for Survey<'_, F> {
    const MAY_BE_DROPPED: bool = true;

    fn total(&self) -> u64 {
        self.session.total()
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn step(&mut self, progress: &mut Progress) -> Result<bool, Failure> {
        let Some(report) = self.session.step().await? else { return Ok(false) };
        render::census::step(progress, report);
        (self.listed)(self.session)?;
        Ok(true)
    }

    async fn stop(&mut self, _: &Progress) -> Result<(), Failure> {
        Ok(())
    }
}

/// Where passwords were given and none opens anything of v2, the cost may be the wrong one.
pub(super) async fn tell_v2_cost(
    session: &CensusSession,
    costs: &V2Costs,
    end: End,
) -> Result<(), Failure> {
    let report = session.report();
    let opened: u64 = report.opened.iter().sum();
    let asked = !report.opened.is_empty() && end == End::Complete;
    if asked && opened == 0 && report.has_unopened_v2() && !costs.others.is_empty() {
        exit::hint(&costs.advice(session.find_v2_params(&costs.others).await?));
    }
    Ok(())
}
