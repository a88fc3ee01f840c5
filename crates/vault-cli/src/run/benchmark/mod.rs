//! `benchmark-rekey`: fills a temporary vault, rekeys it, verifies every record, and measures each
//! phase and the storage floor of the same run.

mod alone;
mod fill;
mod floor;
mod memory;
mod population;
mod verify;

use std::{fs, num::NonZeroUsize, sync::Arc, thread};

use vaultstore::envelope::{OpenPolicy, V2Params};
use vaultstore::kdf::KdfLimits;
use vaultstore::token::TokenLength;
use vaultstore::{
    InitOptions, Password, PasswordKey, RekeyPlan, RekeyReport, StoreUrl, Token, Vault,
    VaultOptions, WriteFormat,
};

use self::population::Population;
use super::Context;
use super::temporary::Temporary;
use crate::args::BenchmarkArgs;
use crate::exit::{Exit, Failure};
use crate::plan;
use crate::render::benchmark::{Figures, PeakMemory};
use crate::render::progress::Progress;
use crate::render::{self};

pub(super) async fn run(context: &Context, args: BenchmarkArgs) -> Result<Exit, Failure> {
    let place = Place::choose(context)?;
    if !args.output.json {
        render::print_text(&render::benchmark::heading(&args, &place.url))?;
    }
    let (figures, findings) = measure(context, &args, &place.url).await?;
    if args.output.json {
        render::print_json(&figures.json())?;
    } else {
        render::print_text(&render::benchmark::text(&figures))?;
    }
    match findings.first() {
        None => Ok(Exit::Done),
        Some(first) => Err(Failure::failed(format!(
            "the verification found {} faults, the first of which is: {first}",
            findings.len()
        ))
        .hint("this is a bug in vaultstore; please report it")),
    }
}

/// The location of the vault: the one that the command line names, which is created and kept, or a
/// temporary one. A variable that names an existing vault is ignored.
struct Place {
    url: StoreUrl,
    _temporary: Option<Temporary>,
}

impl Place {
    fn choose(context: &Context) -> Result<Self, Failure> {
        if context.vault_named {
            return Ok(Self { url: context.url.clone(), _temporary: None });
        }
        let temporary = Temporary::new("vaultstore-benchmark-")?;
        Ok(Self { url: temporary.url.clone(), _temporary: Some(temporary) })
    }
}

async fn make_vault(
    context: &Context,
    args: &BenchmarkArgs,
    url: &StoreUrl,
) -> Result<Vault, Failure> {
    let store = context.to_be_closed(url.create().await?);
    let new = InitOptions::default().cost(args.kdf).format(args.format);
    Ok(Vault::init(store, new, options(args)).await?)
}

/// Reopens the vault, as each separate command would: what a store caches from the previous phase,
/// or still has to clean up, is not part of the next one.
async fn reopen(
    context: &Context,
    args: &BenchmarkArgs,
    url: &StoreUrl,
    before: Vault,
) -> Result<Vault, Failure> {
    drop(before);
    context.close().await;
    let store = context.to_be_closed(url.open().await?);
    Ok(Vault::new(store, options(args)))
}

/// For a vault with a cost below the minimum or above the default limit.
fn options(args: &BenchmarkArgs) -> VaultOptions {
    let mut open = OpenPolicy::trusting();
    open.v2_costs = vec![V2Params::new(args.kdf)];
    if let Some(memory) = KdfLimits::memory_for(&args.kdf) {
        open.limits = KdfLimits::up_to(memory).floor(open.limits.floor);
    }
    VaultOptions::default().open(open)
}

/// All phases in order. The floor is measured before and after, because rewriting a file changes
/// it.
async fn measure(
    context: &Context,
    args: &BenchmarkArgs,
    url: &StoreUrl,
) -> Result<(Figures, Vec<String>), Failure> {
    let records = args.records.get();
    let population = Arc::new(Population::new(args.matching, args.passwords, args.value_size));
    let passwords = RandomPasswords::draw(args.passwords)?;
    let page = plan::page_limit(&args.run);
    let start = |phase, total| Progress::start(args.output.progress, phase, total);

    let vault = make_vault(context, args, url).await?;
    let filling = fill::Filling {
        records,
        threads: threads(args),
        spec: vault.seal_spec().await?,
        population: Arc::clone(&population),
        keys: passwords.present().collect(),
    };
    let filled = fill::fill(&**vault.store(), filling, &mut start("fill", records)).await?;
    let vault = reopen(context, args, url, vault).await?;
    let floor_before =
        floor::measure(&**vault.store(), &population, page, &mut start("floor", records)).await?;
    let alone_per_second = match args.format {
        WriteFormat::V2 => Some(
            super::blocking({
                let kdf = args.kdf;
                move || alone::derivations_per_second(kdf)
            })
            .await?,
        ),
        WriteFormat::V3 | WriteFormat::V3Padme => None,
    };

    let vault = reopen(context, args, url, vault).await?;
    let until_rekey = memory::peak();
    let counted_anew = memory::forget_peak();
    let report = rekey(args, &vault, &passwords, &mut start("rekey", records)).await?;
    let of_rekey = counted_anew.and_then(|()| memory::peak());

    let vault = reopen(context, args, url, vault).await?;
    let floor_after =
        floor::measure(&**vault.store(), &population, page, &mut start("floor", records)).await?;
    let verified =
        verify::verify(args, &vault, &population, &passwords, &mut start("verify", records))
            .await?;
    let findings = verify::findings(records, &filled.counts, &report, &verified);

    let figures = Figures {
        records,
        format: args.format.to_string(),
        kdf: args.kdf.to_string(),
        value_bytes: args.value_size,
        passwords: args.passwords,
        workers: report.workers,
        fill: filled.elapsed,
        floor_before,
        rekey: report.elapsed,
        merge_check: report.stages.merge_check,
        catch_up: report.stages.catch_up,
        read: report.read_time,
        crypto: report.crypto_time,
        commit: report.commit_time,
        floor_after,
        verify: verified.elapsed,
        rekeyed: report.counts.rekeyed,
        other_password: report.counts.other_password,
        derivations: report.derivations,
        pages: report.pages,
        alone_per_second,
        memory: PeakMemory { of_rekey, of_run: until_rekey.max(of_rekey).max(memory::peak()) },
        file_bytes: url.file().and_then(|file| Some(fs::metadata(file).ok()?.len())),
        correct: findings.is_empty(),
    };
    Ok((figures, findings))
}

async fn rekey(
    args: &BenchmarkArgs,
    vault: &Vault,
    passwords: &RandomPasswords,
    progress: &mut Progress,
) -> Result<RekeyReport, Failure> {
    let plan = RekeyPlan::new()
        .pair(passwords.old_one(), passwords.new_one())
        .options(plan::run_options(&args.run, None));
    let mut session = vault.rekey(plan).await?;
    while let Some(report) = session.step().await? {
        render::rekey::step(progress, report);
    }
    Ok(session.report().clone())
}

fn threads(args: &BenchmarkArgs) -> NonZeroUsize {
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    args.run.workers.unwrap_or_else(cores)
}

/// The passwords of a vault that will never be opened again: random tokens, in an alphabet that
/// people use.
struct RandomPasswords {
    /// The first is the one to change.
    present: Vec<Token>,
    new: Token,
}

impl RandomPasswords {
    fn draw(number: u32) -> Result<Self, Failure> {
        let draw = || Token::generate(TokenLength::default());
        let present = (0..number).map(|_| draw()).collect::<Result<_, _>>()?;
        Ok(Self { present, new: draw()? })
    }

    fn old_one(&self) -> Password {
        password(&self.present[0])
    }

    fn new_one(&self) -> Password {
        password(&self.new)
    }

    /// One key per group of the filled vault.
    fn present(&self) -> impl Iterator<Item = Arc<PasswordKey>> {
        self.present.iter().map(|token| Arc::new(PasswordKey::new(password(token))))
    }

    /// One key per group after the rekey, and finally the old password's, which must open nothing.
    fn afterwards(&self) -> impl Iterator<Item = Arc<PasswordKey>> {
        let tokens = std::iter::once(&self.new).chain(&self.present[1..]).chain(&self.present[..1]);
        tokens.map(|token| Arc::new(PasswordKey::new(password(token))))
    }
}

fn password(token: &Token) -> Password {
    Password::new(token.as_str())
}
