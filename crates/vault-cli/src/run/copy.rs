//! `copy`.

use std::sync::Arc;

use futures::FutureExt as _;
use vaultstore::copy::{CopyError, CopyPlan, CopySession, OnExisting, Side};
use vaultstore::run::RunOptions;
use vaultstore::store::PageLimit;
use vaultstore::{StoreErrorKind, StoreUrl, VaultStore};

use super::Context;
use crate::args::{CopyArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::own_file;
use crate::render::copy::End;
use crate::render::progress::Progress;
use crate::render::{self};

pub(super) async fn run(context: &Context, args: CopyArgs) -> Result<Exit, Failure> {
    if own_file::same_vault(&args.to, &context.url) {
        return Err(Failure::usage(format!(
            "{} and {} are the same vault, which cannot be copied into itself",
            args.to, context.url
        ))
        .hint("name another vault with --to"));
    }
    let source = context.open_store().await?;
    let target = context.to_be_closed(open_or_create(&args.to).await?);
    let mut plan = CopyPlan::new();
    if args.merge {
        plan = plan.into(OnExisting::Existing);
    }
    if let Some(records) = args.page_size {
        plan = plan.page(PageLimit::new(records.get(), RunOptions::DEFAULT_PAGE_BYTES));
    }
    context.interrupts.leave_first_to_command();
    let mut session = CopySession::start(source, target, plan).await?;
    let end = to_its_end(context, &mut session, &args.output).await?;
    let report = session.report();
    if args.output.json {
        render::print_json(&render::copy::json(report, end))?;
    } else {
        render::print_text(&render::copy::text(report, end))?;
    }
    Ok(match end {
        End::Stopped => Exit::Interrupted,
        End::Complete if report.is_complete() => Exit::Done,
        End::Complete => Exit::Remains,
    })
}

/// Opens the target, or creates it if there is nothing.
async fn open_or_create(url: &StoreUrl) -> Result<Arc<dyn VaultStore>, Failure> {
    let missing = match url.open().await {
        Err(error)
            if matches!(error.kind(), StoreErrorKind::NotFound | StoreErrorKind::NotAVault) =>
        {
            error
        }
        opened => return Ok(opened?),
    };
    match url.create().await {
        // Something exists, and the first error says what.
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => Err(missing.into()),
        created => Ok(created?),
    }
}

async fn to_its_end(
    context: &Context,
    session: &mut CopySession,
    output: &OutputArgs,
) -> Result<End, Failure> {
    let mut progress = Progress::start(output.progress, "copy", session.total());
    loop {
        // A step is finished before an interrupt counts: what is reported was committed.
        let Some(report) = session.step().await? else { return Ok(End::Complete) };
        render::copy::step(&mut progress, report);
        if context.interrupts.first().now_or_never().is_some() {
            return Ok(End::Stopped);
        }
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Store { side: Side::Source, error } => error.into(),
            CopyError::Store { side: Side::Target, error } => {
                let failure = Failure::from(error);
                failure.and_hint("the copy stopped in the target; the same command resumes")
            }
            CopyError::TargetNotEmpty => {
                Self::failed(error.to_string()).hint("choose an empty target, or add --merge")
            }
            error => Self::failed(error.to_string()),
        }
    }
}
