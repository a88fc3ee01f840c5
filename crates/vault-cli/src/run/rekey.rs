//! `rekey` and `test-rekey`.

use std::sync::Arc;

use vaultstore::envelope::{Padding, SealParams};
use vaultstore::kdf::KdfSetting;
use vaultstore::rekey::{MergeCheck, PreviousRuns, RekeyError, RekeyMode, RunStatus};
use vaultstore::{Password, RekeyPlan, RekeyReport, RekeySession, Vault, VaultError, WriteFormat};

use super::{Context, blocking, settings};
use crate::args::{NewPasswordArgs, OldPasswordArgs, OutputArgs, RekeyArgs};
use crate::exit::{self, Exit, Failure};
use crate::plan;
use crate::render::progress::Progress;
use crate::render::{self};
use crate::secrets::{self, Passwords, Prompt};
use crate::state_file::{self, StateFile};

/// What the counts have to be for success.
#[derive(Clone, Copy, Debug)]
struct Expected {
    count: Option<u64>,
    zero_is_fine: bool,
}

pub(super) async fn test(context: &Context, args: RekeyArgs) -> Result<Exit, Failure> {
    run(context, RekeyArgs { dry_run: true, ..args }).await
}

pub(super) async fn run(context: &Context, args: RekeyArgs) -> Result<Exit, Failure> {
    let vault = context.open_for(&args.open).await?;
    let spec = asked_spec(&vault, &args).await?;
    let expected = Expected { count: args.expect_count, zero_is_fine: args.allow_zero };
    let dry_run = if args.dry_run { RekeyMode::DryRun } else { RekeyMode::Apply };
    let merge = match (args.allow_merge, args.check_merge) {
        (true, _) => MergeCheck::Off,
        (false, true) => MergeCheck::Full,
        (false, false) => MergeCheck::Fast,
    };
    let kept = if args.dry_run { None } else { Some(take_state(context, &args)?) };
    let mut rekey = RekeyPlan::new()
        .dry_run(dry_run)
        .merge_check(merge)
        .shard(args.shard)
        .options(plan::run_options(&args.run));
    let state = kept.as_ref().map(StateFile::read).transpose()?.flatten();
    if let Some(spec) = spec {
        rekey = rekey.write_as(spec);
    }
    for (old, new) in blocking(move || pairs(args.pairs.as_deref(), args.old, args.new)).await? {
        rekey = rekey.pair(old, new);
    }
    rekey = state.into_iter().fold(rekey, RekeyPlan::resume);
    context.interrupts.leave_first_to_command();
    let session = vault.rekey(rekey).await.map_err(|error| match (error, &kept) {
        (VaultError::Engine(error), Some(kept)) => match *error {
            RekeyError::State(refused) => kept.refused(refused),
            error => error.into(),
        },
        (error, _) => error.into(),
    })?;
    if let Some(kept) = &kept {
        tell_resumed(&session.report().earlier, kept);
    }
    if spec.is_some() {
        exit::warn(
            "with --format or --kdf the rekeyed records can be told from the others; change the vault's settings \
             instead to write all new records so",
        );
    }
    drive(context, session, kept.map(Arc::new), &args.output, expected).await
}

/// The state file, emptied by `--restart`.
fn take_state(context: &Context, args: &RekeyArgs) -> Result<StateFile, Failure> {
    let path = match &args.state {
        Some(path) => path.clone(),
        None => state_file::default_path(&context.url, args.shard)?,
    };
    let file = StateFile::lock(path)?;
    if args.restart {
        file.remove()?;
    }
    Ok(file)
}

fn tell_resumed(earlier: &PreviousRuns, file: &StateFile) {
    if earlier.runs == 0 {
        return;
    }
    let (scanned, rekeyed) = (earlier.counts.scanned, earlier.counts.rekeyed);
    exit::say(&format!(
        "resuming from {}: {scanned} records were scanned and {rekeyed} rekeyed before",
        file.path().display()
    ));
}

fn pairs(
    file: Option<&std::path::Path>,
    old: OldPasswordArgs,
    new: NewPasswordArgs,
) -> Result<Vec<(Password, Password)>, Failure> {
    if let Some(file) = file {
        return secrets::read_pairs(file);
    }
    let mut passwords = Passwords::default();
    let old = passwords.read(old.source(), Prompt::Known("Old password"))?;
    let new = passwords.read(new.source(), Prompt::New("New password"))?;
    Ok(vec![(old, new)])
}

/// The format and cost that were asked for, with the vault's own salt: a salt of their own would show which records
/// were rekeyed together.
async fn asked_spec(vault: &Vault, args: &RekeyArgs) -> Result<Option<SealParams>, Failure> {
    if args.format.is_none() && args.kdf.is_none() {
        return Ok(None);
    }
    let own = vault.seal_spec().await?;
    let kdf = settings::vault_kdf(vault).await?;
    let kdf = KdfSetting { params: args.kdf.unwrap_or(kdf.params), ..kdf };
    let format = args.format.unwrap_or(match own {
        SealParams::V2 { .. } => WriteFormat::V2,
        SealParams::V3 { padding: Padding::Padme, .. } => WriteFormat::V3Padme,
        SealParams::V3 { .. } => WriteFormat::V3,
    });
    Ok(Some(match format {
        WriteFormat::V2 => SealParams::V2 { params: kdf.params },
        WriteFormat::V3 => SealParams::V3 { kdf, padding: Padding::None },
        WriteFormat::V3Padme => SealParams::V3 { kdf, padding: Padding::Padme },
    }))
}

async fn drive(
    context: &Context,
    mut session: RekeySession,
    kept: Option<Arc<StateFile>>,
    output: &OutputArgs,
    expected: Expected,
) -> Result<Exit, Failure> {
    let outcome = to_its_end(context, &mut session, kept.as_ref(), output).await;
    let outcome = match kept {
        Some(kept) if nothing_left(session.report()) => outcome.and(kept.remove()),
        // It may be more than the last step left: the page that was finished, what was refused, what failed.
        Some(kept) => outcome.and(keep(&session, &kept).await),
        None => outcome,
    };
    let report = session.report();
    if output.json {
        render::print_json(&render::rekey::json(report))?;
    } else {
        render::print(render::rekey::text(report).as_bytes())?;
    }
    outcome.map(|()| judge(report, expected))
}

/// Whether the same command would find nothing that it has to remember.
fn nothing_left(report: &RekeyReport) -> bool {
    report.end == RunStatus::Complete && report.counts.failed + report.counts.conflict == 0
}

/// Steps until the rekey is done, an error ends it, or somebody interrupts.
async fn to_its_end(
    context: &Context,
    session: &mut RekeySession,
    kept: Option<&Arc<StateFile>>,
    output: &OutputArgs,
) -> Result<(), Failure> {
    let mut progress = Progress::start(output.progress, "rekey", session.total());
    loop {
        if let Some(kept) = kept {
            keep(session, kept).await?;
        }
        tokio::select! {
            biased;
            () = context.interrupts.first() => {
                progress.say("finishing the page that is being written; interrupt again to stop at once");
                session.stop().await?;
                return Ok(());
            }
            step = session.step() => match step? {
                Some(report) => render::rekey::step(&mut progress, report),
                None => return Ok(()),
            },
        }
    }
}

async fn keep(session: &RekeySession, file: &Arc<StateFile>) -> Result<(), Failure> {
    let (state, file) = (session.state()?, Arc::clone(file));
    blocking(move || file.write(&state)).await
}

/// A wrong count comes before remains: it mostly means a wrong password.
fn judge(report: &RekeyReport, expected: Expected) -> Exit {
    match report.end {
        RunStatus::Complete => {}
        RunStatus::NotConverged => {
            exit::say(
                "pass after pass found records under the old password: somebody still writes with it; the same command \
                 goes on once that has ended",
            );
            return Exit::Remains;
        }
        _ => return Exit::Interrupted,
    }
    if report.dry_run && report.would_merge() {
        exit::say(&format!(
            "the new password opens {} records already, and a rekey would be refused (--allow-merge)",
            report.counts.already_new + report.merge.found
        ));
        return Exit::WouldMerge;
    }
    if let Some(count) = expected.count
        && count != report.counts.rekeyed
    {
        exit::say(&format!(
            "{} records were expected to match, and {} did",
            count, report.counts.rekeyed
        ));
        return Exit::OtherCount;
    }
    if report.found_nothing() && !expected.zero_is_fine && expected.count.is_none() {
        exit::say(
            "no record opened under the old password and none was known to be under the new one; check the old password \
             (--allow-zero makes this a success)",
        );
        return Exit::OtherCount;
    }
    if report.needs_attention() { Exit::Remains } else { Exit::Done }
}
