//! Writes a page's new envelopes and settles what writers and faults make of it.

use std::{collections::VecDeque, sync::Arc};

use super::{
    examine::{Finding, Rekeyer},
    report::{Problem, RekeyCounts},
};
use crate::{
    EngineError, RecordId, Replacement, SealedRecord, StoreError, StoreErrorKind, VaultStore,
    WriteOutcome, retry::Retry, scan::Examine, workers::Workers,
};

/// How often a record that writers keep changing is read and tried again. Each round needs a write to exactly this
/// record within the milliseconds between reading and swapping, so eight in a row is a writer that does nothing else.
const ROUNDS: u32 = 8;

/// How many records of a page a store may refuse one by one, and take none, before the rest of the page is not tried.
const HOPELESS: u64 = 16;

/// What became of one page.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) counts: RekeyCounts,
    pub(crate) problems: Vec<Problem>,
    pub(crate) conflicts: u64,
    pub(crate) retries: u64,
    pub(crate) derivations: u64,
    /// A batch failed with this error as a whole: if the next ones do as well, the store is gone.
    pub(crate) refused: Option<StoreError>,
    /// The page was not finished, and going on is pointless.
    pub(crate) error: Option<EngineError>,
}

impl Settled {
    /// Counts a finding; what has yet to be written comes back.
    pub(crate) fn count(&mut self, finding: Finding) -> Option<Replacement> {
        match finding {
            Finding::Reseal(replacement) => return Some(replacement),
            Finding::Matches => self.counts.rekeyed += 1,
            Finding::OtherPassword => self.counts.other_password += 1,
            Finding::AlreadyNew => self.counts.already_new += 1,
            Finding::TooLong => self.counts.failed += 1,
            Finding::Problem(id, kind) => {
                match kind {
                    super::ProblemKind::Damaged => self.counts.damaged += 1,
                    super::ProblemKind::Malformed(_) => self.counts.malformed += 1,
                }
                self.problems.push(Problem { id, kind });
            }
        }
        None
    }
}

/// Writes one page at a time.
pub(crate) struct Committer {
    pub(crate) store: Arc<dyn VaultStore>,
    pub(crate) rekeyer: Arc<Rekeyer>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) retry: Retry,
}

impl Committer {
    /// Commits a page: when this resolves, every finding is counted and every counted rekey is durable. After an
    /// error that makes going on pointless, the counts tell what was done until then.
    pub(crate) async fn commit(self: Arc<Self>, findings: Vec<Finding>) -> Settled {
        let mut settled = Settled::default();
        let scanned = findings.len() as u64;
        let outcome = self.settle(findings, &mut settled).await;
        settled.counts.scanned = if outcome.is_ok() { scanned } else { settled.counts.total() };
        settled.error = outcome.err();
        settled
    }

    async fn settle(
        &self,
        findings: Vec<Finding>,
        settled: &mut Settled,
    ) -> Result<(), EngineError> {
        let batch: Vec<_> =
            findings.into_iter().filter_map(|finding| settled.count(finding)).collect();
        let mut batches = VecDeque::from([(batch, 0)]);
        while let Some((batch, round)) = batches.pop_front() {
            if batch.is_empty() {
                continue;
            }
            let written = self.write(batch, settled).await?;
            if round < ROUNDS {
                let again = self.examine_again(written.conflicts, settled).await?;
                batches.push_back((again, round + 1));
            } else {
                settled.counts.conflict += written.conflicts.len() as u64;
            }
            if let Some((batch, error)) = written.refused {
                // In front, so that the record that causes it is found before the other halves are tried.
                for half in halves(batch, error, settled) {
                    batches.push_front((half, round));
                }
            }
        }
        Ok(())
    }

    /// Writes a batch until the store answers for every record of it, or has refused it for good.
    async fn write(
        &self,
        batch: Vec<Replacement>,
        settled: &mut Settled,
    ) -> Result<Written, EngineError> {
        let mut pending: Arc<[Replacement]> = batch.into();
        let mut conflicts = Vec::new();
        let mut failed = 0;
        loop {
            let error = match self.store.write_batch(Arc::clone(&pending)).await {
                Ok(outcomes) if outcomes.len() == pending.len() => {
                    take_outcomes(&pending, &outcomes, &mut conflicts, settled);
                    return Ok(Written { conflicts, refused: None });
                }
                Ok(_) => return Err(broken_contract().into()),
                Err(error) if ends_the_run(error.kind()) => return Err(error.into()),
                Err(error) => error,
            };
            failed += 1;
            let again = self.retry.again_after(&error, failed).await;
            settled.retries += u64::from(again);
            // Whether the batch went in is only known by looking: the reply to a commit may have been lost.
            let left = self.look_again(&pending, &mut conflicts, settled).await?;
            if left.is_empty() {
                return Ok(Written { conflicts, refused: None });
            }
            if !again {
                return Ok(Written { conflicts, refused: Some((left, error)) });
            }
            pending = left.into();
        }
    }

    /// Compares the store with a batch of unknown fate; what is still untouched comes back.
    async fn look_again(
        &self,
        batch: &[Replacement],
        conflicts: &mut Vec<RecordId>,
        settled: &mut Settled,
    ) -> Result<Vec<Replacement>, EngineError> {
        let ids: Vec<RecordId> = batch.iter().map(|replacement| replacement.id.clone()).collect();
        let mut untouched = Vec::new();
        for (replacement, now) in batch.iter().zip(self.read_records(&ids).await?) {
            match now {
                None => settled.counts.missing += 1,
                Some(now) if now.envelope == replacement.sealed => settled.counts.rekeyed += 1,
                Some(now) if now.envelope == replacement.expected => {
                    untouched.push(replacement.clone());
                }
                Some(_) => conflicts.push(replacement.id.clone()),
            }
        }
        Ok(untouched)
    }

    /// Reads the records that writers changed, tries the passwords on what is there now, and counts them.
    async fn examine_again(
        &self,
        ids: Vec<RecordId>,
        settled: &mut Settled,
    ) -> Result<Vec<Replacement>, EngineError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.read_records(&ids).await?;
        let found: Vec<SealedRecord> = now.into_iter().flatten().collect();
        settled.counts.missing += (ids.len() - found.len()) as u64;
        settled.conflicts += ids.len() as u64;
        let answers: Vec<_> = found
            .into_iter()
            .map(|record| {
                let rekeyer = Arc::clone(&self.rekeyer);
                self.workers.submit(move |memory| {
                    let before = memory.derivations();
                    rekeyer
                        .examine(vec![record], memory)
                        .map(|findings| (findings, memory.derivations() - before))
                })
            })
            .collect();
        let mut batch = Vec::new();
        for answer in answers {
            let (findings, derivations) =
                answer.await.map_err(|lost| EngineError::Worker(lost.into()))??;
            settled.derivations += derivations;
            batch.extend(findings.into_iter().filter_map(|finding| settled.count(finding)));
        }
        Ok(batch)
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, EngineError> {
        let mut failed = 0;
        loop {
            match self.store.read_records(ids).await {
                Ok(records) if records.len() == ids.len() => return Ok(records),
                Ok(_) => return Err(broken_contract().into()),
                Err(error) => {
                    failed += 1;
                    if !self.retry.again_after(&error, failed).await {
                        return Err(error.into());
                    }
                }
            }
        }
    }
}

struct Written {
    /// Changed by somebody else since they were read.
    conflicts: Vec<RecordId>,
    /// What the store does not take, and why.
    refused: Option<(Vec<Replacement>, StoreError)>,
}

/// Halves a refused batch, down to the record that the store cannot take, which has failed. A store that refuses
/// everything, or refuses for a passing reason, is not asked record by record.
fn halves(
    mut batch: Vec<Replacement>,
    error: StoreError,
    settled: &mut Settled,
) -> impl Iterator<Item = Vec<Replacement>> + use<> {
    // A store that has refused this many single records and taken none refuses everything.
    let hopeless = settled.counts.failed >= HOPELESS && settled.counts.rekeyed == 0;
    let rest = if error.kind().is_retryable() || hopeless {
        settled.counts.failed += batch.len() as u64;
        settled.refused = Some(error);
        batch.clear();
        None
    } else if batch.len() == 1 {
        settled.counts.failed += 1;
        batch.clear();
        None
    } else {
        Some(batch.split_off(batch.len() / 2))
    };
    [Some(batch), rest].into_iter().flatten()
}

fn take_outcomes(
    batch: &[Replacement],
    outcomes: &[WriteOutcome],
    conflicts: &mut Vec<RecordId>,
    settled: &mut Settled,
) {
    for (replacement, outcome) in batch.iter().zip(outcomes) {
        match outcome {
            WriteOutcome::Applied => settled.counts.rekeyed += 1,
            WriteOutcome::Missing => settled.counts.missing += 1,
            WriteOutcome::Conflict => conflicts.push(replacement.id.clone()),
        }
    }
}

/// Errors after which no other record can fare better; the others may be one record's own.
fn ends_the_run(kind: StoreErrorKind) -> bool {
    !kind.is_retryable() && !matches!(kind, StoreErrorKind::Unsupported | StoreErrorKind::Other)
}

fn broken_contract() -> StoreError {
    StoreError::new(
        StoreErrorKind::Other,
        "the store broke its contract: it did not answer for every record of a batch; the backend needs mending",
    )
}
