//! Opens every record after the rekey, and checks the result.

use std::sync::Arc;

use vaultstore::census::{CensusPlan, CensusReport, ValueVerdict};
use vaultstore::{RekeyReport, Vault};

use super::{RandomPasswords, population::Population};
use crate::args::BenchmarkArgs;
use crate::exit::Failure;
use crate::plan;
use crate::render::progress::Progress;
use crate::render::{self};

/// A census under every remaining password and the old one, which compares each value.
pub(super) async fn verify(
    args: &BenchmarkArgs,
    vault: &Vault,
    population: &Arc<Population>,
    passwords: &RandomPasswords,
    progress: &mut Progress,
) -> Result<CensusReport, Failure> {
    let population = Arc::clone(population);
    let mut census = CensusPlan::new().options(plan::run_options(&args.run, None)).check_values(
        Arc::new(move |id, value| {
            if value.as_bytes() == population.value(id) {
                ValueVerdict::Right
            } else {
                ValueVerdict::Wrong
            }
        }),
    );
    for key in passwords.afterwards() {
        census = census.key(key);
    }
    let mut session = vault.census(census).await?;
    while let Some(report) = session.step().await? {
        render::census::step(progress, report);
    }
    Ok(session.report().clone())
}

/// Everything that is not as expected.
pub(super) fn findings(
    records: u64,
    filled: &[u64],
    rekey: &RekeyReport,
    census: &CensusReport,
) -> Vec<String> {
    let matching = filled.first().copied().unwrap_or_default();
    let mut expected = vec![
        ("records rekeyed", rekey.counts.rekeyed, matching),
        ("records left under other passwords", rekey.counts.other_password, records - matching),
        ("records found", census.scanned, records),
        ("records that no password opens", census.unopened, 0),
        ("damaged records", census.damaged, 0),
        ("malformed records", census.malformed, 0),
        ("wrong values", census.wrong_values, 0),
    ];
    // The last key of the census is the old password's.
    let groups = filled.iter().copied().chain([0]);
    expected.extend(
        census
            .opened
            .iter()
            .zip(groups)
            .map(|(opened, group)| ("records under one password", *opened, group)),
    );
    let wrong = expected.into_iter().filter(|(_, found, wanted)| found != wanted);
    wrong.map(|(what, found, wanted)| format!("{found} {what} instead of {wanted}")).collect()
}
