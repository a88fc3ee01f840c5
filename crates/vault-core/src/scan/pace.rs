//! How much work goes into one commit.
//!
//! A record costs a few microseconds (v1, and v3 once its salt is known) or an Argon2id
//! computation, a hundred thousand times as much. There should be a commit about every two seconds
//! whatever the mixture: rarely enough that its two fsyncs hardly matter, and often enough that a
//! cancelled run loses little and a writer rarely conflicts with a stale page.

use std::{
    collections::{HashSet, VecDeque},
    num::NonZeroUsize,
    time::Duration,
};

use crate::crypto::envelope::{Peek, V3KdfChars};
use vault_store::{HasWeight as _, PageLimit, SealedRecord};

/// How long the workers should need for one commit's worth of records.
const TARGET: Duration = Duration::from_secs(2);

/// The number of chunks per worker and commit: enough that none is idle for long at its end.
const CHUNKS_PER_WORKER: u32 = 8;

/// How many inexpensive records are examined at a time: several times the number of SHA-256 lanes,
/// so that these are rarely idle, and few enough that the records being processed fit into the CPU
/// cache.
const GROUP: usize = 64;

/// How many v3 salts are remembered as known. A vault has one; a hostile one must not exhaust
/// memory.
const MAX_KNOWN: usize = 1024;

/// The expected cost of a record, judged by its first characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Microseconds.
    Cheap,
    /// At least one Argon2id.
    Argon2,
}

/// Records of one weight that are examined together: one expensive record, or several inexpensive
/// ones.
pub(crate) struct Group {
    pub(crate) weight: Weight,
    pub(crate) records: Vec<SealedRecord>,
}

/// Time spent on the records of each weight.
#[derive(Default)]
pub(crate) struct Cost {
    cheap: Duration,
    cheap_records: u32,
    argon2: Duration,
    argon2_records: u32,
}

impl Cost {
    pub(crate) fn add(&mut self, weight: Weight, records: usize, time: Duration) {
        let (sum, sum_records) = match weight {
            Weight::Cheap => (&mut self.cheap, &mut self.cheap_records),
            Weight::Argon2 => (&mut self.argon2, &mut self.argon2_records),
        };
        *sum += time;
        *sum_records += u32::try_from(records).unwrap_or(u32::MAX);
    }

    pub(crate) fn total(&self) -> Duration {
        self.cheap + self.argon2
    }
}

pub(crate) struct BatchSizer {
    most: PageLimit,
    workers: u32,
    cheap: Duration,
    argon2: Duration,
    /// The mean over the records of the last commit, which determines the size of the next page.
    mean: Duration,
    known: HashSet<V3KdfChars>,
}

impl BatchSizer {
    pub(crate) fn new(most: PageLimit, workers: NonZeroUsize) -> Self {
        Self {
            most,
            workers: u32::try_from(workers.get()).unwrap_or(u32::MAX),
            // Estimates until something was measured, chosen to commit too early rather than too
            // late.
            cheap: Duration::from_micros(50),
            argon2: Duration::from_millis(500),
            mean: Duration::from_millis(1),
            known: HashSet::new(),
        }
    }

    /// Returns the largest size of a page.
    pub(crate) fn most(&self) -> PageLimit {
        self.most
    }

    /// Returns the size of the next page to read.
    pub(crate) fn page(&self) -> PageLimit {
        let fitting = self.budget().as_nanos() / self.mean.as_nanos().max(1);
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).max(1);
        PageLimit::new(fitting.min(self.most.records.get()), self.most.bytes.get())
    }

    /// Takes about one commit's worth of records from the front, in chunks of about equal cost.
    pub(crate) fn cut(&mut self, waiting: &mut VecDeque<SealedRecord>) -> Vec<Vec<Group>> {
        let (budget, chunk_budget) =
            (self.budget(), self.budget() / self.workers / CHUNKS_PER_WORKER);
        let mut chunks = Vec::new();
        let mut chunk = Vec::new();
        let (mut cost, mut chunk_cost, mut records, mut in_chunk, mut bytes) =
            (Duration::ZERO, Duration::ZERO, 0u32, 0usize, 0usize);
        // Inexpensive records never approach the time budget; distribute them over the workers by
        // number.
        let chunk_records = waiting
            .len()
            .min(self.most.records.get())
            .div_ceil((self.workers * CHUNKS_PER_WORKER) as usize)
            .max(1);
        while let Some(record) = waiting.front() {
            bytes = bytes.saturating_add(record.weight());
            let full = cost >= budget
                || records as usize == self.most.records.get()
                || bytes > self.most.bytes.get();
            if records > 0 && full {
                break;
            }
            let weight = self.weigh(record);
            let expected = match weight {
                Weight::Cheap => self.cheap,
                Weight::Argon2 => self.argon2,
            };
            if let Some(record) = waiting.pop_front() {
                add_to_last_group(&mut chunk, weight, record);
            }
            records += 1;
            in_chunk += 1;
            cost += expected;
            chunk_cost += expected;
            if chunk_cost >= chunk_budget || in_chunk >= chunk_records {
                chunks.push(std::mem::take(&mut chunk));
                (chunk_cost, in_chunk) = (Duration::ZERO, 0);
            }
        }
        if !chunk.is_empty() {
            chunks.push(chunk);
        }
        self.mean = (cost / records.max(1)).max(Duration::from_nanos(100));
        chunks
    }

    /// Adds a measurement; the newest one counts half.
    pub(crate) fn learn(&mut self, cost: &Cost) {
        if let Some(mean) = cost.cheap.checked_div(cost.cheap_records) {
            self.cheap = (self.cheap + mean) / 2;
        }
        if let Some(mean) = cost.argon2.checked_div(cost.argon2_records) {
            self.argon2 = (self.argon2 + mean) / 2;
        }
    }

    /// CPU time of all workers within the target time.
    fn budget(&self) -> Duration {
        TARGET * self.workers
    }

    fn weigh(&mut self, record: &SealedRecord) -> Weight {
        let peek = Peek::at(&record.envelope);
        if peek.needs_own_argon2() {
            return Weight::Argon2;
        }
        match peek.v3_kdf_chars() {
            Some(kdf) if !self.known.contains(kdf) => {
                if self.known.len() < MAX_KNOWN {
                    self.known.insert(*kdf);
                }
                Weight::Argon2
            }
            _ => Weight::Cheap,
        }
    }
}

/// An expensive record is a group of its own: it is timed separately, and the run can be stopped
/// before and after it.
fn add_to_last_group(groups: &mut Vec<Group>, weight: Weight, record: SealedRecord) {
    match groups.last_mut() {
        Some(group)
            if weight == Weight::Cheap
                && group.weight == Weight::Cheap
                && group.records.len() < GROUP =>
        {
            group.records.push(record);
        }
        _ => groups.push(Group { weight, records: vec![record] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault_store::{EnvelopeText, RecordId, Token};

    fn records(count: usize, text: &str) -> VecDeque<SealedRecord> {
        let record = |n| SealedRecord {
            id: RecordId::from_stored(format!("{n:06}")),
            token: Token::from_stored(format!("tk_{n:06}")),
            envelope: EnvelopeText::from_stored(text.as_bytes()),
        };
        (0..count).map(record).collect()
    }

    fn pace() -> BatchSizer {
        BatchSizer::new(PageLimit::new(16_384, 8 << 20), NonZeroUsize::new(2).unwrap())
    }

    fn cut(pace: &mut BatchSizer, waiting: &mut VecDeque<SealedRecord>) -> usize {
        pace.cut(waiting).iter().flatten().map(|group| group.records.len()).sum()
    }

    #[test]
    fn dear_records_are_committed_about_every_two_seconds() {
        let (mut pace, mut waiting) = (pace(), records(1000, "v2:abc"));
        assert_eq!(cut(&mut pace, &mut waiting), 8);
        for _ in 0..10 {
            let mut cost = Cost::default();
            cost.add(Weight::Argon2, 1, Duration::from_millis(100));
            pace.learn(&cost);
        }
        let records = cut(&mut pace, &mut waiting);
        assert!((38..=40).contains(&records), "{records}");
        assert!((38..=40).contains(&pace.page().records.get()));
    }

    #[test]
    fn dear_records_go_to_the_workers_one_by_one() {
        let mut pace = pace();
        let chunks = pace.cut(&mut records(1000, "v2:abc"));
        assert!(chunks.iter().all(|chunk| chunk.len() == 1 && chunk[0].records.len() == 1));
    }

    #[test]
    fn cheap_records_are_examined_in_groups_and_dear_ones_between_them_alone() {
        let mut waiting = records(150, "v1 text");
        waiting.extend(records(2, "v2:abc"));
        waiting.extend(records(1, "v1 text"));
        let mut pace = BatchSizer::new(PageLimit::new(16_384, 8 << 20), NonZeroUsize::MIN);
        let groups: Vec<_> = pace.cut(&mut waiting).into_iter().flatten().collect();
        let alone = groups.iter().filter(|group| group.weight == Weight::Argon2);
        assert_eq!(alone.map(|group| group.records.len()).collect::<Vec<_>>(), [1, 1]);
        assert!(groups.iter().all(|group| (1..=GROUP).contains(&group.records.len())));
        assert_eq!(groups.iter().map(|group| group.records.len()).sum::<usize>(), 153);
    }

    #[test]
    fn cheap_records_fill_the_page() {
        let (mut pace, mut waiting) = (pace(), records(40_000, "v1 text"));
        assert_eq!(cut(&mut pace, &mut waiting), 16_384);
        assert_eq!(pace.page().records.get(), 16_384);
        assert_eq!(waiting.len(), 40_000 - 16_384);
    }

    #[test]
    fn a_commit_is_bounded_in_bytes_but_takes_one_record_at_least() {
        // With its id and its token each record has 15 bytes more.
        let mut pace = BatchSizer::new(PageLimit::new(100, 40), NonZeroUsize::MIN);
        assert_eq!(cut(&mut pace, &mut records(5, "four")), 2);
        let long = "more than forty bytes, which is the limit";
        assert_eq!(cut(&mut pace, &mut records(5, long)), 1);
    }

    #[test]
    fn a_v3_salt_is_dear_once() {
        let mut pace = pace();
        let text = format!("v3:{}", "A".repeat(200));
        let weights: Vec<_> = records(3, &text).iter().map(|record| pace.weigh(record)).collect();
        assert_eq!(weights, [Weight::Argon2, Weight::Cheap, Weight::Cheap]);
    }
}
