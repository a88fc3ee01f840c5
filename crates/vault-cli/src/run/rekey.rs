//! `rekey` and `test-rekey`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use vaultstore::envelope::{Format, Padding, SealParams};
use vaultstore::kdf::KdfSetting;
use vaultstore::rekey::{
    EarlierRun, Marking, RekeyError, RekeyMode, RunStatus, Shard, WriteAs, WriteHooks,
};
use vaultstore::store::{ScrubOptions, ScrubReport, StagedStore, WriteHook};
use vaultstore::{Password, RekeyPlan, RekeyReport, RekeySession, StoreUrl, Vault, WriteFormat};

use super::drive::{Steps, drive};
use super::identity::warn_of_links;
use super::scrub::settle_states;
use super::v2_cost::{self, V2Costs};
use super::{Context, blocking, settings};
use crate::args::{
    NewPasswordArgs, OldPasswordArgs, OutputArgs, RekeyArgs, Source, UpgradeArgs, Writing,
};
use crate::exit::{self, Exit, Failure, FailureKind};
use crate::render::headline::{Traces, V2Answer, Wording};
use crate::render::progress::Progress;
use crate::render::{self, figures};
use crate::secrets::{self, Passwords, Prompt};
use crate::state_file::{self, StateFile};
use crate::{own_file, plan};

/// The counts required for success.
#[derive(Clone, Copy, Debug)]
struct Expected {
    count: Option<u64>,
    zero_is_fine: bool,
}

pub(super) async fn test(context: &Context, args: RekeyArgs) -> Result<Exit, Failure> {
    run(context, RekeyArgs { dry_run: true, ..args }).await
}

pub(super) async fn run(context: &Context, args: RekeyArgs) -> Result<Exit, Failure> {
    let mut vault = context.open_for(&args.open).await?;
    let staged = if args.rebuild && !args.dry_run {
        Some(stage(context, &vault, &args).await?)
    } else {
        None
    };
    if let Some(staged) = &staged {
        vault = context.vault_on(Arc::clone(staged), &args.open).await?;
    }
    let place = Place::of(context)?;
    let expected = Expected { count: args.expect_count, zero_is_fine: args.allow_zero };
    let mode = if args.dry_run { RekeyMode::DryRun } else { RekeyMode::Apply };
    let merge = plan::merge_check(&args);
    let hooks = if args.allow_triggers { WriteHooks::Allow } else { WriteHooks::Refuse };
    let (path, kept, state) = if args.dry_run {
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
        .write_hooks(hooks)
        .marks(if args.allow_marks { Marking::Allow } else { Marking::Refuse })
        .earlier_run(earlier)
        .shard(args.shard)
        .options(plan::run_options(&args.run));
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
    let session = vault.rekey(rekey).await.map_err(|error| match (error, &path) {
        (RekeyError::State(why), Some(path)) => state_file::refused(path, why),
        (error, _) => error.into(),
    })?;
    name_hooks(&session.report().write_hooks, hooks);
    name_logs(&session.report().statement_logs);
    if let Some(path) = &path {
        tell_resumed(session.report(), path);
    }
    warn_of_links(&**vault.store()).await?;
    let run = Run { context, place, kept: kept.map(Arc::new), staged, costs, expected };
    run.drive(session, wording, &args.output).await
}

/// Begins the file that will replace the vault's.
async fn stage(
    context: &Context,
    vault: &Vault,
    args: &RekeyArgs,
) -> Result<Arc<dyn StagedStore>, Failure> {
    if !matches!(context.url, StoreUrl::Redb { .. }) {
        return Err(Failure::usage(
            "--rebuild is for redb vaults: here other programs have their own data and connections",
        )
        .hint("rekey without --rebuild, then run `vaultstore scrub`"));
    }
    // A vault without an id was never rekeyed.
    if let Some(id) = vault.known_id().await? {
        settle_states(context, id, args.restart).await?;
    }
    Ok(vault.store().stage().await?)
}

/// Rewrites all records in the form of the vault's settings, each under its own password. It leaves
/// no state: run again, it passes over what it has written.
pub(super) async fn upgrade(context: &Context, args: UpgradeArgs) -> Result<Exit, Failure> {
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
        .options(plan::run_options(&args.run));
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
        .hint(format!("restore it first: settings set kdf '{}'", doubt.most)));
    }
    name_hooks(&session.report().write_hooks, hooks);
    name_logs(&session.report().statement_logs);
    let expected = Expected { count: None, zero_is_fine: true };
    let wording = Wording::of(&[], Shard::WHOLE);
    let run = Run { context, place, kept: None, staged: None, costs, expected };
    run.drive(session, wording, &args.output).await
}

/// Each password once.
fn passwords(sources: Vec<Source>, pairs: Option<&Path>) -> Result<Vec<Password>, Failure> {
    let mut reader = Passwords::default();
    let mut given = Vec::new();
    match pairs {
        Some(file) => {
            given.extend(secrets::read_pairs(file)?.into_iter().flat_map(|(old, new)| [old, new]));
        }
        None if sources.is_empty() => given.push(reader.read(None, Prompt::Known("Password"))?),
        None => {
            for source in sources {
                given.push(reader.read(Some(source), Prompt::Known("Password"))?);
            }
        }
    }
    let mut passwords: Vec<Password> = Vec::new();
    for password in given {
        if !passwords.iter().any(|other| other.is_same_as(&password)) {
            passwords.push(password);
        }
    }
    Ok(passwords)
}

/// Opens the state file, and empties it for `--restart`.
fn take_state(path: PathBuf, restart: bool) -> Result<StateFile, Failure> {
    let file = StateFile::lock(path)?;
    if restart {
        file.remove()?;
    }
    Ok(file)
}

/// Returns the path of the state of the rekey that a dry run rehearses, without creating anything.
/// A vault without an id has no state either.
async fn rehearsed_path(
    context: &Context,
    vault: &Vault,
    args: &RekeyArgs,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = &args.state {
        return Ok(Some(path.clone()));
    }
    let id = vault.known_id().await?;
    id.map(|id| state_file::path_of(id, &context.url, args.shard)).transpose()
}

/// A rekey that refuses them has ended by now; its dry run continues.
fn name_hooks(found: &[WriteHook], hooks: WriteHooks) {
    let names = |may_write: bool| {
        let named = found.iter().filter(|hook| hook.may_write() == may_write);
        named.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let checks = names(false);
    if !checks.is_empty() {
        exit::warn(&format!(
            "the database looks at each record that is re-encrypted, and may refuse it ({checks})"
        ));
    }
    let names = names(true);
    if names.is_empty() {
        return;
    }
    exit::warn(&match hooks {
        WriteHooks::Allow => format!(
            "the database acts on its own on each record that is re-encrypted ({names}), which may show which records were"
        ),
        WriteHooks::Refuse => format!(
            "the database acts on its own on each record that is re-encrypted ({names}); the rekey itself will be refused \
             unless they are removed, or allowed with --allow-triggers"
        ),
    });
}

/// What a thief of the vault would see of what was written. SQLite writes in place, and its log is
/// looked at once the vault is closed.
fn traces(url: &StoreUrl, report: &RekeyReport) -> Option<Traces> {
    let what = match url {
        _ if report.dry_run || report.counts.rekeyed == 0 => return None,
        StoreUrl::Redb { .. } => {
            "The file still shows which records were rekeyed: they lie in other places, and free pages hold old envelopes."
        }
        StoreUrl::Postgres { .. } => {
            "The database still shows which records were rekeyed: row versions name their transaction, and dead rows and \
             the server's log hold old envelopes."
        }
        _ => return None,
    };
    Some(Traces { what, remedy: format!("vaultstore scrub --vault {url}") })
}

/// Says that a server may log the ids of the records that are moved.
fn name_logs(settings: &[String]) {
    if settings.is_empty() {
        return;
    }
    exit::warn(&format!(
        "the server may log the id of each record that is re-encrypted ({})",
        settings.join(", ")
    ));
    exit::hint(
        "an administrator can keep parameters out of the log: ALTER ROLE name SET log_parameter_max_length = 0",
    );
}

fn tell_resumed(report: &RekeyReport, path: &Path) {
    let earlier = &report.earlier;
    if earlier.runs == 0 || report.already_done {
        return;
    }
    let scanned = figures::count(earlier.counts.scanned);
    let rekeyed = figures::count(earlier.counts.rekeyed);
    exit::note(&if report.dry_run {
        format!(
            "an earlier rekey with these passwords scanned {scanned} records and re-encrypted {rekeyed}; \
             rekey would resume from {}",
            path.display()
        )
    } else {
        format!(
            "resuming from {}: {scanned} records were scanned and {rekeyed} re-encrypted before",
            path.display()
        )
    });
}

/// The vault's file when the run started.
struct Place(Option<(PathBuf, Option<own_file::Identity>)>);

impl Place {
    fn of(context: &Context) -> Result<Self, Failure> {
        let Some(path) = context.url.file() else { return Ok(Self(None)) };
        let identity = own_file::Identity::of(path).map_err(|error| {
            Failure::failed(format!("{}: cannot be read", path.display())).because(error)
        })?;
        Ok(Self(Some((path.to_owned(), identity))))
    }

    /// Checks that the path still leads to the file that the run has worked on.
    fn check(&self) -> Result<(), Failure> {
        let Some((path, identity)) = &self.0 else { return Ok(()) };
        match own_file::Identity::of(path) {
            Ok(now) if now == *identity => Ok(()),
            _ => Err(Failure::failed(format!(
                "{}: replaced or removed during the rekey; the records were re-encrypted in the file that was there \
                 before, not in the one that the path leads to now",
                path.display()
            ))
            .hint(
                "find out which file is the vault, and run the same command on it; the state is kept",
            )),
        }
    }
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

/// Sets how to write: as it was or as requested, and never with a fresh salt, which would reveal
/// which records were rekeyed together.
async fn write_as(vault: &Vault, args: &RekeyArgs, plan: RekeyPlan) -> Result<RekeyPlan, Failure> {
    // In a vault of the Go package this sets the format; a dry run writes nothing.
    if let (Some(format), false) = (args.format, args.dry_run) {
        vault.settle_format(format).await?;
    }
    if args.format.is_none() && args.kdf.is_none() && !args.vault_salt {
        return Ok(match args.write {
            Writing::AsItWas => plan,
            Writing::Vault => plan.write_as(WriteAs::Vault),
        });
    }
    let (own, kdf) = if args.dry_run {
        (vault.stored_spec().await?, settings::stored_kdf(&**vault.store()).await?)
    } else {
        (Some(vault.seal_spec().await?), settings::vault_kdf(vault).await?)
    };
    let kdf = KdfSetting { params: args.kdf.unwrap_or(kdf.params), ..kdf };
    let format = args.format.unwrap_or(match own {
        Some(SealParams::V2 { .. }) => WriteFormat::V2,
        Some(SealParams::V3 { padding: Padding::Padme, .. }) => WriteFormat::V3Padme,
        Some(SealParams::V3 { .. }) | None => WriteFormat::V3,
    });
    let plan = plan.write_as(match format {
        WriteFormat::V2 => SealParams::V2 { params: kdf.params },
        WriteFormat::V3 => SealParams::V3 { kdf, padding: Padding::None },
        WriteFormat::V3Padme => SealParams::V3 { kdf, padding: Padding::Padme },
    });
    let plan = if args.format.is_none() { plan.keep_format() } else { plan };
    let plan = if args.kdf.is_none() { plan.keep_cost() } else { plan };
    Ok(if args.vault_salt { plan } else { plan.keep_salt() })
}

/// A rekey being run to its end.
struct Run<'a> {
    context: &'a Context,
    place: Place,
    kept: Option<Arc<StateFile>>,
    /// The file that will replace the vault's.
    staged: Option<Arc<dyn StagedStore>>,
    costs: V2Costs,
    expected: Expected,
}

impl Run<'_> {
    /// Runs to the end, stores the state, prints the report. The state of a finished job stays: it
    /// tells the same command that the job is done.
    async fn drive(
        &self,
        mut session: RekeySession,
        mut wording: Wording,
        output: &OutputArgs,
    ) -> Result<Exit, Failure> {
        let mut doubt = Doubt::default();
        doubt.show(session.report());
        let steps = Kept { session: &mut session, file: self.kept.as_ref(), doubt: &mut doubt };
        let outcome = drive(steps, self.context, output.progress, "rekey").await.map(|_| ());
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
            (None, outcome) => outcome.and(self.place.check()),
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
        outcome.map_err(|failure| self.with_what_was_done(failure, report))?;
        for failure in &report.failures {
            exit::error(&format!(
                "{} records failed: {}",
                figures::count(failure.records),
                failure.reason
            ));
        }
        if self.staged.is_none() {
            propose_rebuild(&self.context.url, report);
        }
        let exit = judge(report, &wording, self.expected);
        let moved = !report.dry_run && report.rekeyed_now() > 0;
        drop(session);
        if moved && matches!(self.context.url, StoreUrl::Sqlite { .. }) {
            self.tell_kept_log().await;
        }
        Ok(exit)
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
            exit::hint(&format!(
                "close it, then run: vaultstore scrub --vault {}",
                self.context.url
            ));
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
                let done = figures::count(report.counts.rekeyed);
                failure.and_hint(&format!(
                    "{done} records were re-encrypted and stay so; the same command resumes"
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

/// Below this many records, no way of rekeying takes long.
const MANY: u64 = 10_000;

/// Names the faster way where at least half of many records match.
fn propose_rebuild(url: &StoreUrl, report: &RekeyReport) {
    let counts = &report.counts;
    if matches!(url, StoreUrl::Redb { .. })
        && report.end == RunStatus::Complete
        && counts.scanned >= MANY
        && counts.rekeyed >= counts.scanned / 2
    {
        exit::note(
            "where most records match, `rekey --rebuild` is usually faster, and its file does not tell which ones did",
        );
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

/// The warning about the setting `kdf`, which is shown once.
#[derive(Default)]
struct Doubt {
    is_shown: bool,
}

impl Doubt {
    fn show(&mut self, report: &RekeyReport) {
        let Some(doubt) = report.kdf_doubt.filter(|_| !self.is_shown) else { return };
        self.is_shown = true;
        exit::warn(&format!(
            "the vault's setting kdf ({}) has another salt or a lower cost than most v3 records ({} of {} have {}); \
             re-encrypted records keep theirs, but new records get the setting",
            doubt.setting,
            figures::count(doubt.records),
            figures::count(doubt.of),
            doubt.most,
        ));
        exit::hint(&format!(
            "unless you changed the setting yourself, restore it: settings set kdf '{}'",
            doubt.most
        ));
    }
}

/// Says which records were marked, where that was allowed.
fn tell_marks(report: &RekeyReport) {
    let is_refused = report.end == RunStatus::Refused || report.would_mark();
    if !is_refused && !report.marks.is_empty() && report.rekeyed_now() > 0 {
        exit::warn(&exit::marked(&report.marks));
    }
}

fn is_refused_from_the_start(report: &RekeyReport) -> bool {
    report.end == RunStatus::Refused && report.earlier.runs == 0
}

async fn keep(session: &RekeySession, file: &Arc<StateFile>) -> Result<(), Failure> {
    let (state, file) = (session.state()?, Arc::clone(file));
    blocking(move || file.write(&state)).await
}

/// A wrong count takes precedence over remaining records: it usually means a wrong password.
fn judge(report: &RekeyReport, wording: &Wording, expected: Expected) -> Exit {
    match report.end {
        RunStatus::Complete => {}
        RunStatus::NotConverged => return Exit::Remains,
        _ => return Exit::Interrupted,
    }
    if report.dry_run && report.would_merge() {
        exit::error(&format!(
            "the new password opens {} records already, and a rekey would be refused",
            figures::count(report.counts.already_new + report.merge.found)
        ));
        exit::hint("choose another new password, or allow the merge with --merge-check=off");
        return Exit::WouldMerge;
    }
    if report.dry_run && report.would_mark() {
        exit::error(&format!("{}, and a rekey would be refused", exit::marked(&report.marks)));
        exit::hint(&exit::marks_hint(&report.marks));
        return Exit::WouldMark;
    }
    if let Some(count) = expected.count
        && count != report.counts.rekeyed
    {
        exit::error(&format!(
            "{} records were expected to match, and {} did",
            figures::count(count),
            figures::count(report.counts.rekeyed)
        ));
        return Exit::OtherCount;
    }
    exit::tell_not_tried(&report.counts.not_tried);
    // The old password may open records of v1: the passwords need not be wrong.
    let is_v1 = report.counts.not_tried.v1 > 0;
    if report.moved_nothing() && !is_v1 && !expected.zero_is_fine && expected.count.is_none() {
        exit::error("no record was re-encrypted");
        exit::hint(&what_to_check(report, wording));
        return Exit::OtherCount;
    }
    if report.needs_attention() || !report.left.is_empty() && report.rekeyed_now() == 0 {
        Exit::Remains
    } else {
        Exit::Done
    }
}

/// What to check if nothing opened under an old password.
fn what_to_check(report: &RekeyReport, wording: &Wording) -> String {
    let are_swapped = report.counts.already_new > 0 || wording.v2 == V2Answer::NewOpens;
    let check = match &wording.v2 {
        V2Answer::OldOpensAt(cost) => {
            return format!(
                "run the same command with --v2-preset {cost}: v2 records do not store their Argon2id cost"
            );
        }
        _ if report.counts.scanned == 0 => "check that this is the right vault",
        _ if are_swapped => "check which of the passwords is the old one",
        V2Answer::Nothing => {
            "check the old password, and the cost of the v2 records, which they do not store (--v2-preset)"
        }
        _ => "check the old password",
    };
    format!("{check} (--allow-zero makes this a success)")
}
