//! `rekey` and `test-rekey`.

use vaultstore::{
    DryRun, Padding, Password, RekeyPlan, RekeyReport, RekeySession, RunEnd, SealSpec, Vault,
    VaultKdf, WriteFormat,
};

use super::{Context, blocking, settings};
use crate::{
    args::{NewPasswordArgs, OldPasswordArgs, OutputArgs, RekeyArgs},
    exit::{self, Exit, Failure},
    plan,
    render::{self, progress::Progress},
    secrets::{self, Passwords, Prompt},
};

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
    let dry_run = if args.dry_run { DryRun::Yes } else { DryRun::No };
    let mut rekey = RekeyPlan::new().dry_run(dry_run).options(plan::run_options(&args.run));
    if let Some(spec) = spec {
        rekey = rekey.write_as(spec);
    }
    for (old, new) in blocking(move || pairs(args.pairs.as_deref(), args.old, args.new)).await? {
        rekey = rekey.pair(old, new);
    }
    context.interrupts.leave_first_to_command();
    let session = vault.rekey(rekey).await?;
    if spec.is_some() {
        exit::warn(
            "with --format or --kdf the rekeyed records can be told from the others; change the vault's settings \
             instead to write all new records so",
        );
    }
    drive(context, session, &args.output, expected).await
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
async fn asked_spec(vault: &Vault, args: &RekeyArgs) -> Result<Option<SealSpec>, Failure> {
    if args.format.is_none() && args.kdf.is_none() {
        return Ok(None);
    }
    let own = vault.seal_spec().await?;
    let kdf = settings::vault_kdf(vault).await?;
    let kdf = VaultKdf { params: args.kdf.unwrap_or(kdf.params), ..kdf };
    let format = args.format.unwrap_or(match own {
        SealSpec::V2 { .. } => WriteFormat::V2,
        SealSpec::V3 { padding: Padding::Padme, .. } => WriteFormat::V3Padme,
        SealSpec::V3 { .. } => WriteFormat::V3,
    });
    Ok(Some(match format {
        WriteFormat::V2 => SealSpec::V2 { params: kdf.params },
        WriteFormat::V3 => SealSpec::V3 { kdf, padding: Padding::None },
        WriteFormat::V3Padme => SealSpec::V3 { kdf, padding: Padding::Padme },
    }))
}

async fn drive(
    context: &Context,
    session: RekeySession,
    output: &OutputArgs,
    expected: Expected,
) -> Result<Exit, Failure> {
    let (report, error) = to_its_end(context, session, output).await;
    if output.json {
        render::print_json(&render::rekey::json(&report))?;
    } else {
        render::print(render::rekey::text(&report).as_bytes())?;
    }
    match error {
        Some(failure) => Err(failure),
        None => Ok(judge(&report, expected)),
    }
}

/// Steps until the scan is over, an error ends it, or somebody interrupts.
async fn to_its_end(
    context: &Context,
    mut session: RekeySession,
    output: &OutputArgs,
) -> (RekeyReport, Option<Failure>) {
    let mut progress = Progress::start(output.progress, "rekey", session.total());
    loop {
        let step = tokio::select! {
            biased;
            () = context.interrupts.first() => {
                progress.say("finishing the page that is being written; interrupt again to stop at once");
                return (session.stop().await, None);
            }
            step = session.step() => step,
        };
        match step {
            Ok(Some(report)) => render::rekey::step(&mut progress, report),
            Ok(None) => return (session.report().clone(), None),
            Err(error) => return (session.report().clone(), Some(error.into())),
        }
    }
}

/// A wrong count comes before remains: it mostly means a wrong password.
fn judge(report: &RekeyReport, expected: Expected) -> Exit {
    if report.end != RunEnd::Complete {
        return Exit::Interrupted;
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
    if report.has_remains() { Exit::Remains } else { Exit::Done }
}
