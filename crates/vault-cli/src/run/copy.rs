//! `copy`.

use std::num::NonZeroUsize;
use std::sync::Arc;

use vaultstore::copy::{CopyError, CopyPlan, CopySession, OnExisting, Side};
use vaultstore::run::RunOptions;
use vaultstore::store::PageLimit;
use vaultstore::{StoreErrorKind, StoreUrl, VaultStore};

use super::Context;
use super::drive::{Steps, drive};
use crate::args::CopyArgs;
use crate::exit::{self, Exit, Failure};
use crate::own_file;
use crate::render::progress::Progress;
use crate::render::{self, End};

pub(super) async fn run(context: &Context, args: CopyArgs) -> Result<Exit, Failure> {
    let into_itself = || {
        Failure::usage(format!(
            "{} and {} are the same vault, which cannot be copied into itself",
            args.to, context.url
        ))
        .hint("name another vault with --to")
    };
    if own_file::same_vault(&args.to, &context.url) {
        return Err(into_itself());
    }
    let source = context.open_store().await?;
    let target = context.to_be_closed(open_or_create(&context.server.of(args.to.clone())).await?);
    // A server has any number of addresses: only it can tell.
    let place = source.place_id().await?;
    if place.is_some() && place == target.place_id().await? {
        return Err(into_itself());
    }
    let mut plan = CopyPlan::new();
    if args.merge {
        plan = plan.into(OnExisting::Existing);
    }
    let rate = args.pace.max_rate.map(|rate| usize::try_from(rate.get()).unwrap_or(usize::MAX));
    let most = [args.page_size.map(NonZeroUsize::get), rate].into_iter().flatten().min();
    if let Some(records) = most {
        plan = plan.page(PageLimit::new(records, RunOptions::DEFAULT_PAGE_BYTES));
    }
    context.interrupts.leave_first_to_command();
    let left_out = source.password_identities().await?;
    let mut session = CopySession::start(source, target, plan).await?;
    let end = drive(&mut session, context, args.output.progress, args.pace, "copy").await?;
    let report = session.report();
    if args.output.json {
        render::print_json(&render::copy::json(report, end))?;
    } else {
        render::print_text(&render::copy::text(report, end))?;
    }
    if !left_out.is_empty() {
        exit::note(&format!(
            "{} were left out: the copy does not say which records share a password",
            render::identities::named(&left_out)
        ));
    }
    Ok(match end {
        End::Stopped => Exit::Interrupted,
        End::Complete if report.is_complete() => Exit::Done,
        End::Complete => Exit::Remains,
    })
}

/// Opens the target, or creates it if there is nothing. A file is created first: what a creation
/// that was broken off has left there can look like a damaged vault.
async fn open_or_create(url: &StoreUrl) -> Result<Arc<dyn VaultStore>, Failure> {
    if url.file().is_some() {
        return match url.create().await {
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => Ok(url.open().await?),
            created => Ok(created?),
        };
    }
    let missing = match url.open().await {
        Err(error) if error.kind() == StoreErrorKind::NotAVault => error,
        opened => return Ok(opened?),
    };
    match url.create().await {
        // Something exists, and the first error says what.
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => Err(missing.into()),
        created => Ok(created?),
    }
}

impl Steps for &mut CopySession {
    /// What is reported was committed.
    const MAY_BE_DROPPED: bool = false;

    fn total(&self) -> u64 {
        CopySession::total(self)
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn step(&mut self, progress: &mut Progress) -> Result<bool, Failure> {
        let Some(report) = CopySession::step(self).await? else { return Ok(false) };
        render::copy::step(progress, report);
        Ok(true)
    }

    async fn stop(&mut self, _: &Progress) -> Result<(), Failure> {
        Ok(())
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
