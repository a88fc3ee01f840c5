//! `upgrade`: all records in the form of the vault's settings.

use vaultstore::RekeyPlan;
use vaultstore::rekey::{Marking, RekeyMode, Shard, WriteHooks};

use super::asked::passwords;
use super::judge::Expected;
use super::notes::{name_hooks, name_logs};
use super::place::Place;
use super::run::Run;
use crate::args::UpgradeArgs;
use crate::exit::{Exit, Failure};
use crate::plan;
use crate::render::figures;
use crate::render::headline::Wording;
use crate::run::v2_cost::V2Costs;
use crate::run::{Context, blocking};

/// Rewrites all records in the form of the vault's settings, each under its own password. It leaves
/// no state: run again, it passes over what it has written.
pub(in crate::run) async fn upgrade(context: &Context, args: UpgradeArgs) -> Result<Exit, Failure> {
    let vault = context.open_for(&args.open).await?;
    let place = Place::of(context)?;
    let mode = if args.dry_run { RekeyMode::DryRun } else { RekeyMode::Apply };
    let hooks = WriteHooks::Refuse;
    let (sources, pairs) = (args.passwords.sources(), args.pairs);
    let passwords = blocking(move || passwords(sources, pairs.as_deref())).await?;
    let costs = V2Costs::of(&**vault.store(), &args.open, context).await?;
    let plan = RekeyPlan::new()
        .dry_run(mode)
        .marks(if args.leave_rest { Marking::Allow } else { Marking::Refuse })
        .options(plan::run_options(&args.run, Some(&args.pace)));
    let plan = passwords.into_iter().fold(plan, RekeyPlan::upgrade);
    context.interrupts.leave_first_to_command();
    let session = vault.rekey(plan).await?;
    if let Some(doubt) = session.report().kdf_doubt {
        return Err(Failure::usage(format!(
            "the vault's setting kdf ({}) has another salt or a lower cost than most v3 records ({} of {} have {}), and all \
             would get it",
            doubt.setting,
            figures::count(doubt.records),
            figures::count(doubt.of),
            doubt.most,
        ))
        .hint(format!("restore it first: vaultstore settings set kdf '{}'", doubt.most)));
    }
    name_hooks(&session.report().write_hooks, hooks);
    name_logs(&session.report().statement_logs);
    let expected = Expected { count: None, zero_is_fine: true };
    let wording = Wording::of(&[], Shard::WHOLE);
    let run = Run {
        context,
        place,
        kept: None,
        staged: None,
        costs,
        expected,
        pace: args.pace,
        evidence: None,
    };
    run.drive(session, wording, &args.output).await
}
