//! A store that fails on purpose, for tests of code that uses a store.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
};

use vault_store::{
    Page, PageLimit, RecordHead, RecordId, Replacement, StoreError, StoreErrorKind, VaultStore,
    WriteOutcome,
};

use crate::{Intercept, Intercepted, poll_at_most};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this kind, and nothing was changed.
    ErrorBefore(StoreErrorKind),
    /// The call takes effect and its reply is lost: [`StoreErrorKind::UnknownOutcome`].
    ReplyLost,
    /// The call is pending for this many polls, and then runs. A caller that drops it before drops
    /// it unstarted.
    Delay(usize),
    /// The call's future is dropped after this many polls: [`StoreErrorKind::UnknownOutcome`].
    DroppedAfter(usize),
    /// In violation of the contract, a batch is torn: its first replacements take effect and the
    /// call fails with this kind. Any other call fails without effect.
    Torn {
        /// How many replacements take effect, of a batch that has more; of a shorter one, all but
        /// the last.
        first: usize,
        /// How the call fails.
        kind: StoreErrorKind,
    },
}

/// Which calls fail; calls are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultPlan {
    /// The n-th call only.
    Nth(u64),
    /// The n-th call and every later one.
    From(u64),
    /// Every n-th call.
    Every(u64),
    /// About one call in `one_in`, chosen by the seed alone, so that a run is reproducible.
    Seeded {
        /// The seed.
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

/// A store whose calls fail by plan; clones share their counters.
///
/// Each method of the three traits counts as one call. A test that relies on a fault asserts that
/// [`fired`](FaultyStore::fired) is at least 1: a fault that never fires proves nothing.
pub type FaultyStore<S> = Intercepted<Faults<S>>;

/// The controls of a [`FaultyStore`].
#[derive(Clone, Debug)]
pub struct Faults<S> {
    inner: S,
    fault: Fault,
    plan: FaultPlan,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    fired: AtomicU64,
    torn: AtomicU64,
}

impl<S> FaultyStore<S> {
    /// Makes the calls that the plan names fail.
    #[must_use]
    pub fn new(inner: S, plan: FaultPlan, fault: Fault) -> Self {
        Intercepted(Faults { inner, fault, plan, counters: Arc::default() })
    }

    /// Returns the number of calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.counters.calls.load(SeqCst)
    }

    /// Returns how many of them failed.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.0.counters.fired.load(SeqCst)
    }

    /// Returns how many replacements of [torn](Fault::Torn) batches took effect.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.0.counters.torn.load(SeqCst)
    }

    /// Returns the store itself, to examine it without faults.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.0.inner
    }
}

impl<S> Faults<S> {
    fn next_fault(&self) -> Option<Fault> {
        let call = self.counters.calls.fetch_add(1, SeqCst) + 1;
        if !self.plan.hits(call) {
            return None;
        }
        self.counters.fired.fetch_add(1, SeqCst);
        Some(self.fault)
    }

    async fn make<T: Send>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
        fault: Option<Fault>,
    ) -> Result<T, StoreError> {
        match fault {
            None => call.await,
            Some(Fault::ErrorBefore(kind) | Fault::Torn { kind, .. }) => {
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

impl<S: VaultStore> Intercept for Faults<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.inner
    }

    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.next_fault();
        self.make(call, fault).await
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        self.around(self.inner.read_heads(after, limit)).await
    }

    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        let fault = self.next_fault();
        if let Some(Fault::Torn { first, .. }) = fault {
            let first = first.min(batch.len().saturating_sub(1));
            let written = self.inner.swap_batch(batch[..first].into()).await?;
            let applied = written.iter().filter(|outcome| **outcome == WriteOutcome::Applied);
            self.counters.torn.fetch_add(applied.count() as u64, SeqCst);
        }
        self.make(self.inner.swap_batch(batch), fault).await
    }
}

fn unknown_outcome(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::UnknownOutcome, message)
}

/// Wakes itself immediately, so that it needs no timer.
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
