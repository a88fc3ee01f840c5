//! The storage floor: how long a rekey would take if cryptography cost nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use vaultstore::VaultStore;
use vaultstore::store::{PageLimit, Replacement, WriteOutcome};

use super::population::{MATCHING, Population};
use crate::exit::Failure;
use crate::render::progress::{NoDetail, Progress, Step};

/// Reads the pages that the rekey reads and rewrites the rows that it rewrites, each with its
/// current envelope; the next page is read while one is written.
pub(super) async fn measure(
    store: &dyn VaultStore,
    population: &Population,
    limit: PageLimit,
    progress: &mut Progress,
) -> Result<Duration, Failure> {
    let started = Instant::now();
    let mut done = 0;
    let mut page = store.read_page(None, limit).await?;
    while let Some(last) = page.last() {
        let after = last.id.clone();
        done += page.len() as u64;
        let matching = page.into_iter().filter(|record| population.group(&record.id) == MATCHING);
        let batch: Arc<[Replacement]> = matching
            .map(|record| Replacement {
                id: record.id,
                expected: record.envelope.clone(),
                new: record.envelope,
            })
            .collect();
        let (next, written) =
            futures::join!(store.read_page(Some(&after), limit), rewrite(store, batch));
        written?;
        page = next?;
        progress.step(&Step { done, before: 0, note: String::new(), detail: &NoDetail {} });
    }
    Ok(started.elapsed())
}

async fn rewrite(store: &dyn VaultStore, batch: Arc<[Replacement]>) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    let outcomes = store.swap_batch(batch).await?;
    if outcomes.iter().all(|outcome| *outcome == WriteOutcome::Applied) {
        return Ok(());
    }
    Err(Failure::failed("a row changed although no other process uses the vault")
        .hint("check this machine's disk and memory"))
}
