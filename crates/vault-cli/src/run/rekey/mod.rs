//! `rekey` and `test-rekey`.

mod asked;
mod evidence;
mod judge;
mod notes;
mod place;
mod run;
mod upgrade;

use std::sync::Arc;

use vaultstore::backend::BackendKind;
use vaultstore::rekey::{
    BodyCheck, EarlierRun, Marking, MergeCheck, RekeyError, RekeyMode, WriteHooks,
};
use vaultstore::store::StagedStore;
use vaultstore::{RekeyPlan, Vault};

use self::asked::{note_elsewhere, pairs, rehearsed_path, take_state, write_as};
use self::evidence::ReportFile;
use self::judge::Expected;
use self::notes::{name_hooks, name_logs, tell_resumed};
use self::place::Place;
use self::run::Run;
pub(super) use self::upgrade::upgrade;
use super::confirm::confirm;
use super::identity::warn_of_links;
use super::scrub::settle_states;
use super::v2_cost::V2Costs;
use super::{Context, blocking};
use crate::args::RekeyArgs;
use crate::exit::{Exit, Failure};
use crate::plan;
use crate::render::headline::Wording;
use crate::state_file;

pub(super) async fn test(context: &Context, args: RekeyArgs) -> Result<Exit, Failure> {
    run(context, RekeyArgs { dry_run: true, ..args }).await
}

pub(super) async fn run(context: &Context, args: RekeyArgs) -> Result<Exit, Failure> {
    let evidence = ReportFile::of(&args, context.url.to_string())?;
    let mut vault = context.open_for(&args.open).await?;
    let staged = if args.rebuild && !args.dry_run {
        Some(stage(context, &vault, &args).await?)
    } else {
        None
    };
    if let Some(staged) = &staged {
        vault = context.vault_on(Arc::clone(staged), &args.open).await?;
    }
    if !args.dry_run && plan::merge_check(&args) == MergeCheck::Off {
        confirm(
            args.yes,
            "If the new password is in use, its records and the rekeyed ones can never be told apart again",
        )
        .await?;
    }
    let place = Place::of(context)?;
    let expected = Expected { count: args.expect_count, zero_is_fine: args.allow_zero };
    let mode = if args.dry_run { RekeyMode::DryRun } else { RekeyMode::Apply };
    let merge = plan::merge_check(&args);
    let hooks = if args.allow_triggers { WriteHooks::Allow } else { WriteHooks::Refuse };
    let (path, mut kept, state) = if args.dry_run {
        let path = rehearsed_path(context, &vault, &args).await?;
        let state = path.as_deref().filter(|_| !args.restart).map(state_file::read).transpose()?;
        (path, None, state.flatten())
    } else if args.rebuild {
        // It reaches its end, or changes nothing.
        (None, None, None)
    } else {
        let path = match &args.state {
            Some(path) => path.clone(),
            None => state_file::default_path(vault.id().await?, &context.url, args.shard)?,
        };
        let kept = take_state(path.clone(), args.restart)?;
        let state = kept.read()?;
        (Some(path), Some(kept), state)
    };
    let earlier = if args.restart { EarlierRun::None } else { EarlierRun::Unknown };
    let mut rekey = RekeyPlan::new()
        .dry_run(mode)
        .merge_check(merge)
        .body_check(if args.check_all { BodyCheck::All } else { BodyCheck::Matching })
        .write_hooks(hooks)
        .marks(if args.allow_marks { Marking::Allow } else { Marking::Refuse })
        .earlier_run(earlier)
        .shard(args.shard)
        .options(plan::run_options(&args.run, Some(&args.pace)));
    rekey = write_as(&vault, &args, rekey).await?;
    let costs = V2Costs::of(&**vault.store(), &args.open, context).await?;
    let pairs = blocking(move || pairs(args.pairs.as_deref(), args.old, args.new)).await?;
    let mut wording = Wording::of(&pairs, args.shard);
    wording.rebuild = staged.is_some();
    for (old, new) in pairs {
        rekey = rekey.pair(old, new);
    }
    rekey = state.into_iter().fold(rekey, RekeyPlan::resume);
    context.interrupts.leave_first_to_command();
    let chains = wording.chains;
    let session = vault.rekey(rekey).await.map_err(|error| match (error, &path) {
        (RekeyError::State(why), Some(path)) => state_file::refused(path, why, chains),
        (error, _) => error.into(),
    })?;
    if let (Some(kept), true) = (&mut kept, args.state.is_some()) {
        note_elsewhere(context, vault.id().await?, kept);
    }
    name_hooks(&session.report().write_hooks, hooks);
    name_logs(&session.report().statement_logs);
    if let Some(path) = &path {
        tell_resumed(session.report(), path);
    }
    warn_of_links(&**vault.store()).await?;
    let run = Run {
        context,
        place,
        kept: kept.map(Arc::new),
        staged,
        costs,
        expected,
        pace: args.pace,
        evidence,
    };
    run.drive(session, wording, &args.output).await
}

/// Begins the file that will replace the vault's.
async fn stage(
    context: &Context,
    vault: &Vault,
    args: &RekeyArgs,
) -> Result<Arc<dyn StagedStore>, Failure> {
    if context.url.kind() != BackendKind::Redb {
        return Err(Failure::usage(
            "--rebuild is for redb vaults: here other programs have their own data and connections",
        )
        .hint("rekey without --rebuild, then run `vaultstore scrub`"));
    }
    // A vault without an id was never rekeyed.
    if let Some(id) = vault.known_id().await? {
        settle_states(context, id, None, args.restart).await?;
    }
    Ok(vault.store().stage().await?)
}
