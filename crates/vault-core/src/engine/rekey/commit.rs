//! Writes a page's new envelopes and resolves conflicts and faults.

use crate::scan::envelope_kind::EnvelopeKind;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::error::RekeyError;
use super::{
    examine::{Finding, Match},
    pass::{Chains, PassExaminer, Seen},
    report::{RekeyCounts, Unresolved},
    tried::RecordTag,
};
use crate::crypto::envelope::Format;
use crate::scan::Examine;
use crate::scan::problem::Problem;
use crate::scan::retry::{Retry, Tries};
use crate::scan::workers::Workers;
use vault_store::{
    RecordId, Replacement, SealedRecord, StoreError, StoreErrorKind, VaultStore, WriteOutcome,
};

/// How often a record that writers keep changing is read and tried again. Each round needs a write
/// to exactly this record within the milliseconds between reading and swapping, so eight in a row
/// means a writer that does nothing else.
const ROUNDS: u32 = 8;

/// How many single records of a page a store may refuse, accepting none, before the rest of the
/// page is not tried.
const HOPELESS: u64 = 16;

/// One page's findings, or what is left of it after a round.
#[derive(Default)]
pub(super) struct Page {
    pub(super) seen: Vec<Seen>,
    /// The replacements to write.
    pub(super) batch: Vec<Replacement>,
    /// How often its records were read again.
    pub(super) round: u32,
    /// For records of the batch, what the texts do not tell.
    pub(super) moves: HashMap<RecordId, Move>,
}

/// How a record was sealed, how it is written, and by which pair. Where neither is v2 and the pair
/// is the first, the texts tell it.
#[derive(Clone, Copy)]
pub(super) struct Move {
    from: EnvelopeKind,
    to: EnvelopeKind,
    pair: usize,
}

/// The outcome of one page.
#[derive(Default)]
pub(super) struct PageOutcome {
    pub(super) counts: RekeyCounts,
    pub(super) problems: Vec<Problem>,
    /// Unreadable rows in addition to those of the problems, which are not named.
    pub(super) unnamed: u64,
    /// How the counted intact records were sealed.
    pub(super) before: BTreeMap<EnvelopeKind, u64>,
    /// How the moved records were sealed, and how they are now.
    pub(super) moved: BTreeMap<(EnvelopeKind, EnvelopeKind), u64>,
    /// How many each pair moved, by its number.
    pub(super) by_pair: BTreeMap<usize, u64>,
    /// The tags to keep.
    pub(super) marks: Vec<RecordTag>,
    /// Still under their old password.
    pub(super) open: Vec<(RecordId, Unresolved)>,
    /// Unresolved by the last pass, and seen now.
    pub(super) due: HashSet<RecordId>,
    /// To announce before it is written.
    pub(super) again: Option<Page>,
    pub(super) conflicts: u64,
    pub(super) retries: u64,
    /// Batches that the store responded to.
    pub(super) batches: u64,
    /// Whether it failed to respond to one.
    pub(super) unanswered: bool,
    pub(super) derivations: u64,
    /// A batch failed as a whole with this error. If the next ones do as well, the store is gone.
    pub(super) refused: Option<StoreError>,
    /// Why the store refused failed records, and how many.
    pub(super) reasons: Vec<(String, u64)>,
    /// The page was not finished, and continuing is pointless.
    pub(super) error: Option<RekeyError>,
    /// For records to be written, what the texts do not tell.
    moves: HashMap<RecordId, Move>,
    /// Seen, and counted by an earlier pass.
    uncounted: u64,
    catching_up: bool,
}

impl PageOutcome {
    /// Counts a record, and returns what still has to be written.
    fn count(&mut self, seen: Seen) -> Option<Replacement> {
        let Seen { id, finding, sealing, mark, due } = seen;
        self.marks.extend(mark);
        let counted = due || !self.catching_up;
        if let (Some(sealing), true, false) = (sealing, counted, due) {
            *self.before.entry(sealing).or_default() += 1;
        }
        if due {
            self.due.insert(id.clone());
        }
        let outcome = match finding {
            Finding::Reseal(replacement, Match { v2_cost, to, pair }) => {
                if v2_cost.is_some() || to.format == Format::V2 || pair > 0 {
                    let from = sealing.unwrap_or(EnvelopeKind::of(&replacement.expected));
                    self.moves.insert(id, Move { from, to, pair });
                } else {
                    // A writer may have changed it since another pair opened it.
                    self.moves.remove(&id);
                }
                return Some(replacement);
            }
            Finding::Matches(how) => {
                if let Some(sealing) = sealing {
                    let to = how.map_or(sealing, |how| how.to);
                    *self.moved.entry((sealing, to)).or_default() += 1;
                }
                if let Some(how) = how {
                    *self.by_pair.entry(how.pair).or_default() += 1;
                }
                &mut self.counts.rekeyed
            }
            Finding::TooLong => {
                self.reasons.push((TOO_LONG.to_owned(), 1));
                self.open.push((id, Unresolved::Failed));
                &mut self.counts.failed
            }
            Finding::Problem(id, kind) => {
                // The session knows whether an earlier pass counted it.
                self.uncounted += 1;
                self.problems.push(Problem::of(id, kind));
                return None;
            }
            Finding::Unreadable(row) => {
                self.uncounted += 1;
                self.unnamed += row.more;
                self.problems.push(Problem::of_row(row));
                return None;
            }
            Finding::OtherPassword | Finding::AlreadyNew | Finding::NotTried(_) if !counted => {
                self.uncounted += 1;
                return None;
            }
            Finding::NotTried(why) => {
                self.counts.not_tried.count(why);
                return None;
            }
            Finding::OtherPassword => &mut self.counts.other_password,
            Finding::AlreadyNew => &mut self.counts.already_new,
        };
        *outcome += 1;
        None
    }

    fn count_moved(&mut self, replacement: &Replacement, seeker: &PassExaminer) {
        self.counts.rekeyed += 1;
        let known = self.moves.get(&replacement.id).copied();
        let Move { from, to, pair } = known.unwrap_or_else(|| Move {
            from: EnvelopeKind::of(&replacement.expected),
            to: EnvelopeKind::of(&replacement.new),
            pair: 0,
        });
        *self.by_pair.entry(pair).or_default() += 1;
        *self.moved.entry((from, to)).or_default() += 1;
        if self.catching_up && !self.due.contains(&replacement.id) {
            *self.before.entry(from).or_default() += 1;
        }
        self.marks.extend(seeker.mark_of_written(replacement));
    }

    fn count_failed(&mut self, batch: &[Replacement], error: &StoreError) {
        self.reasons.push((reason(error), batch.len() as u64));
        self.counts.failed += batch.len() as u64;
        self.open.extend(batch.iter().map(|failed| (failed.id.clone(), Unresolved::Failed)));
    }

    fn count_conflicts(&mut self, ids: Vec<RecordId>) {
        self.counts.conflict += ids.len() as u64;
        self.open.extend(ids.into_iter().map(|id| (id, Unresolved::Conflict)));
    }
}

/// Writes one page at a time.
pub(super) struct Committer {
    pub(super) store: Arc<dyn VaultStore>,
    pub(super) seeker: Arc<PassExaminer>,
    pub(super) workers: Arc<Workers>,
    pub(super) retry: Retry,
}

impl Committer {
    /// Commits a page: when this resolves, everything seen is counted and every counted rekey is
    /// durable. After an error that makes continuing pointless, the counts say what was done until
    /// then.
    pub(super) async fn commit(self: Arc<Self>, page: Page, catching_up: bool) -> PageOutcome {
        let mut settled = PageOutcome { catching_up, ..PageOutcome::default() };
        let records = (page.seen.len() + page.batch.len()) as u64;
        let outcome = self.settle(page, &mut settled).await;
        settled.counts.scanned = settled.counts.total();
        let again = settled.again.as_ref().map_or(0, |page| page.batch.len() as u64);
        settled.error = match outcome {
            Ok(()) if settled.counts.scanned + settled.uncounted + again != records => {
                Some(RekeyError::InvariantViolated)
            }
            outcome => outcome.err(),
        };
        settled
    }

    async fn settle(&self, page: Page, settled: &mut PageOutcome) -> Result<(), RekeyError> {
        settled.moves = page.moves;
        let mut batch = page.batch;
        batch.extend(page.seen.into_iter().filter_map(|seen| settled.count(seen)));
        let mut batches = VecDeque::from([(batch, page.round)]);
        while let Some((batch, round)) = batches.pop_front() {
            if batch.is_empty() {
                continue;
            }
            let written = self.write(batch, settled).await?;
            if round >= ROUNDS {
                settled.count_conflicts(written.conflicts);
            } else {
                let again = self.examine_again(written.conflicts, settled).await?;
                match self.seeker.chains {
                    Chains::No => batches.push_back((again, round + 1)),
                    Chains::Yes if again.is_empty() => {}
                    Chains::Yes => {
                        let page = settled.again.get_or_insert_default();
                        let known = |again: &Replacement| {
                            Some((again.id.clone(), *settled.moves.get(&again.id)?))
                        };
                        page.moves.extend(again.iter().filter_map(known));
                        page.batch.extend(again);
                        page.round = round + 1;
                    }
                }
            }
            if let Some((batch, error)) = written.refused {
                // At the front, so that the record at fault is found before the other halves are
                // tried.
                for half in halves(batch, error, settled) {
                    batches.push_front((half, round));
                }
            }
        }
        Ok(())
    }

    /// Writes a batch until the store responds for every record of it, or has refused it
    /// permanently.
    async fn write(
        &self,
        batch: Vec<Replacement>,
        settled: &mut PageOutcome,
    ) -> Result<Written, RekeyError> {
        let mut pending: Arc<[Replacement]> = batch.into();
        let mut conflicts = Vec::new();
        let mut tries = Tries::default();
        loop {
            let answer = self.store.swap_batch(Arc::clone(&pending)).await;
            settled.batches += u64::from(answer.is_ok());
            settled.unanswered |= answer.is_err();
            let error = match answer {
                Ok(outcomes) if outcomes.len() == pending.len() => {
                    self.take_outcomes(&pending, &outcomes, &mut conflicts, settled);
                    return Ok(Written { conflicts, refused: None });
                }
                Ok(_) => return Err(broken_contract().into()),
                Err(error) if ends_the_run(error.kind()) => return Err(error.into()),
                Err(error) => error,
            };
            let again = self.retry.again_after(&error, &mut tries).await;
            settled.retries += u64::from(again);
            // Only reading can tell whether the batch was applied: the reply to a commit may have
            // been lost.
            let left = self.look_again(&pending, tries.renewed(), &mut conflicts, settled).await?;
            if left.is_empty() {
                return Ok(Written { conflicts, refused: None });
            }
            if !again {
                return Ok(Written { conflicts, refused: Some((left, error)) });
            }
            pending = left.into();
        }
    }

    fn take_outcomes(
        &self,
        batch: &[Replacement],
        outcomes: &[WriteOutcome],
        conflicts: &mut Vec<RecordId>,
        settled: &mut PageOutcome,
    ) {
        for (replacement, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                WriteOutcome::Applied => settled.count_moved(replacement, &self.seeker),
                WriteOutcome::Missing => settled.counts.missing += 1,
                WriteOutcome::Conflict => conflicts.push(replacement.id.clone()),
            }
        }
    }

    /// Compares the store with a batch of unknown outcome, and returns what is still unchanged.
    async fn look_again(
        &self,
        batch: &[Replacement],
        tries: Tries,
        conflicts: &mut Vec<RecordId>,
        settled: &mut PageOutcome,
    ) -> Result<Vec<Replacement>, RekeyError> {
        let ids: Vec<RecordId> = batch.iter().map(|replacement| replacement.id.clone()).collect();
        let mut untouched = Vec::new();
        for (replacement, now) in batch.iter().zip(self.read_records(&ids, tries).await?) {
            match now {
                None => settled.counts.missing += 1,
                Some(now) if now.envelope == replacement.new => {
                    settled.count_moved(replacement, &self.seeker);
                }
                Some(now) if now.envelope == replacement.expected => {
                    untouched.push(replacement.clone());
                }
                Some(_) => conflicts.push(replacement.id.clone()),
            }
        }
        Ok(untouched)
    }

    /// Reads the records that writers changed, tries the passwords on their current contents, and
    /// counts them.
    async fn examine_again(
        &self,
        ids: Vec<RecordId>,
        settled: &mut PageOutcome,
    ) -> Result<Vec<Replacement>, RekeyError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.read_records(&ids, Tries::default()).await?;
        let found: Vec<SealedRecord> = now.into_iter().flatten().collect();
        settled.counts.missing += (ids.len() - found.len()) as u64;
        settled.conflicts += ids.len() as u64;
        let answers: Vec<_> = found
            .into_iter()
            .map(|record| {
                let seeker = Arc::clone(&self.seeker);
                self.workers.submit(move |memory| {
                    let before = memory.derivations();
                    seeker
                        .examine(vec![record], memory)
                        .map(|seen| (seen, memory.derivations() - before))
                })
            })
            .collect();
        let mut batch = Vec::new();
        for answer in answers {
            let (seen, derivations) =
                answer.await.map_err(|lost| RekeyError::Worker(lost.into()))??;
            settled.derivations += derivations;
            // It was already counted among those found.
            let seen = seen.into_iter().map(|seen| Seen { sealing: None, ..seen });
            batch.extend(seen.filter_map(|seen| settled.count(seen)));
        }
        Ok(batch)
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
        mut tries: Tries,
    ) -> Result<Vec<Option<SealedRecord>>, RekeyError> {
        loop {
            match self.store.read_records(ids).await {
                Ok(records) if records.len() == ids.len() => return Ok(records),
                Ok(_) => return Err(broken_contract().into()),
                Err(error) => {
                    if !self.retry.again_after(&error, &mut tries).await {
                        return Err(error.into());
                    }
                }
            }
        }
    }
}

struct Written {
    /// Changed by others since they were read.
    conflicts: Vec<RecordId>,
    /// What the store refuses, and why.
    refused: Option<(Vec<Replacement>, StoreError)>,
}

/// Halves a refused batch, down to the record that the store cannot hold, which has failed. If a
/// store refuses everything, or for a temporary reason, its records are not tried one by one.
fn halves(
    mut batch: Vec<Replacement>,
    error: StoreError,
    settled: &mut PageOutcome,
) -> impl Iterator<Item = Vec<Replacement>> + use<> {
    // A store that has refused this many single records and accepted none refuses everything.
    let hopeless = settled.counts.failed >= HOPELESS && settled.counts.rekeyed == 0;
    let rest = if error.kind().is_retryable() || hopeless {
        settled.count_failed(&batch, &error);
        settled.refused = Some(error);
        batch.clear();
        None
    } else if batch.len() == 1 {
        settled.count_failed(&batch, &error);
        batch.clear();
        None
    } else {
        Some(batch.split_off(batch.len() / 2))
    };
    [Some(batch), rest].into_iter().flatten()
}

/// The reason why a record failed whose new envelope would be too long.
const TOO_LONG: &str = "the re-encrypted record would be longer than 32 MiB";

/// Formats an error with its causes, which contain the driver's message.
fn reason(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Errors that affect every other record as well; other errors may concern a single record.
fn ends_the_run(kind: StoreErrorKind) -> bool {
    !kind.is_retryable() && !matches!(kind, StoreErrorKind::Unsupported | StoreErrorKind::Other)
}

fn broken_contract() -> StoreError {
    StoreError::new(
        StoreErrorKind::Other,
        "store contract violation: no answer for some records of a batch",
    )
    .with_hint("this is a bug in the storage backend; please report it")
}
