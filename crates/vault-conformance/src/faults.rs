//! A store that fails on purpose, for tests of what stands on a store.

use std::{
    future::{Future, poll_fn},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
};

use async_trait::async_trait;
use vault_core::{
    DeleteOutcome, InsertOutcome, PageLimit, Purge, PutSetting, Query, Record, RecordChange,
    RecordId, RecordSink, RecordSource, Replacement, SealedRecord, StoreError, StoreErrorKind,
    Timestamp, Token, VaultStore, WriteOutcome,
};

use crate::poll_at_most;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this kind, and nothing was changed.
    ErrorBefore(StoreErrorKind),
    /// The call takes effect and its reply is lost: [`StoreErrorKind::UnknownOutcome`].
    ReplyLost,
    /// The call is pending for so many polls, and then runs; who drops it meanwhile drops it unstarted.
    Delay(usize),
    /// The call's future is dropped after so many polls: [`StoreErrorKind::UnknownOutcome`].
    DroppedAfter(usize),
}

/// Which calls go wrong; calls are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPlan {
    /// The n-th call only.
    Nth(u64),
    /// The n-th call and every later one.
    From(u64),
    /// Every n-th call.
    Every(u64),
    /// About one call in `one_in`, chosen by the seed alone, so that a run can be repeated.
    Seeded {
        /// Names the plan.
        seed: u64,
        /// How rare a fault is; 0 counts as 1.
        one_in: u64,
    },
}

impl FaultPlan {
    fn hits(self, call: u64) -> bool {
        match self {
            Self::Nth(n) => call == n,
            Self::From(n) => call >= n,
            Self::Every(n) => n != 0 && call.is_multiple_of(n),
            Self::Seeded { seed, one_in } => mix(seed ^ mix(call)).is_multiple_of(one_in.max(1)),
        }
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): spreads neighbouring numbers evenly.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A store whose calls go wrong by plan; clones share their counters.
///
/// Each method of the three traits counts as one call. A test that relies on a fault asserts that
/// [`fired`](FaultyStore::fired) is at least 1: a fault that never fires proves nothing.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    fault: Fault,
    plan: FaultPlan,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    fired: AtomicU64,
}

impl<S> FaultyStore<S> {
    /// Lets the calls that the plan names go wrong.
    #[must_use]
    pub fn new(inner: S, plan: FaultPlan, fault: Fault) -> Self {
        Self { inner, fault, plan, counters: Arc::default() }
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.counters.calls.load(SeqCst)
    }

    /// How many of them went wrong.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.counters.fired.load(SeqCst)
    }

    /// The store itself, for looking at it without faults.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn next_fault(&self) -> Option<Fault> {
        let call = self.counters.calls.fetch_add(1, SeqCst) + 1;
        if !self.plan.hits(call) {
            return None;
        }
        self.counters.fired.fetch_add(1, SeqCst);
        Some(self.fault)
    }

    async fn pass<T: Send>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        match self.next_fault() {
            None => call.await,
            Some(Fault::ErrorBefore(kind)) => {
                Err(StoreError::new(kind, "an injected fault refused the call"))
            }
            Some(Fault::ReplyLost) => {
                call.await?;
                Err(unknown_outcome("an injected fault lost the reply of the store"))
            }
            Some(Fault::Delay(polls)) => {
                be_pending(polls).await;
                call.await
            }
            Some(Fault::DroppedAfter(polls)) => {
                poll_at_most(call, polls).await.transpose()?;
                Err(unknown_outcome("an injected fault dropped the call"))
            }
        }
    }
}

fn unknown_outcome(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::UnknownOutcome, message)
}

/// Wakes itself at once, so that it needs no timer.
async fn be_pending(polls: usize) {
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl<S: VaultStore> RecordSource for FaultyStore<S> {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        self.pass(self.inner.read_page(after, limit)).await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        self.pass(self.inner.read_records(ids)).await
    }
}

#[async_trait]
impl<S: VaultStore> RecordSink for FaultyStore<S> {
    async fn write_batch(
        &self,
        batch: Arc<[Replacement]>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        self.pass(self.inner.write_batch(batch)).await
    }
}

#[async_trait]
impl<S: VaultStore> VaultStore for FaultyStore<S> {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.pass(self.inner.insert(records)).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        self.pass(self.inner.find(tokens)).await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Vec<Record>, StoreError> {
        self.pass(self.inner.query(query, now)).await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        self.pass(self.inner.count_matching(query, now)).await
    }

    async fn update(&self, change: RecordChange) -> Result<WriteOutcome, StoreError> {
        self.pass(self.inner.update(change)).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        self.pass(self.inner.delete(id)).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        self.pass(self.inner.purge_expired(purge, now, after, limit)).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.pass(self.inner.setting(name)).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.pass(self.inner.settings()).await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        self.pass(self.inner.put_setting(name, value, put)).await
    }
}
