//! What goes wrong in one history, and the trace of what went on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use futures::{FutureExt, future::BoxFuture};
use vault_core::run::Timer;
use vault_core::store::Replacement;
use vault_core::{RecordId, StoreErrorKind};

use crate::backend::Backend;
use crate::chance::Chance;
use crate::counters::{Counters, add};

pub(crate) struct Chaos {
    chance: Mutex<Chance>,
    /// One call in that many fails; 0 is none.
    rarity: AtomicUsize,
    late: Mutex<Vec<Late>>,
    trace: AtomicU64,
    /// Where the page ends that some rekeyer read last.
    pub(crate) cursor: Mutex<Option<RecordId>>,
    pub(crate) counters: Arc<Counters>,
}

/// A batch that goes in after its caller was told that its fate is unknown.
struct Late {
    batch: Arc<[Replacement]>,
    store: Arc<Backend>,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sound,
    /// It fails without an effect.
    Refused(StoreErrorKind),
    /// It takes effect and fails, as of unknown outcome or against the contract with another kind.
    FailsAfter(StoreErrorKind),
    /// It fails as of unknown outcome and takes effect later.
    Late,
    /// Against the contract: at most that many replacements of a batch take effect, and then it
    /// fails.
    Torn(usize, StoreErrorKind),
}

impl Chaos {
    pub(crate) fn new(seed: u64, rarity: usize, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            chance: Mutex::new(Chance::of_seed(!seed)),
            rarity: AtomicUsize::new(rarity),
            late: Mutex::default(),
            trace: AtomicU64::new(0),
            cursor: Mutex::default(),
            counters,
        })
    }

    /// From now on nothing fails, and what was late has gone in.
    pub(crate) fn end(&self) {
        self.rarity.store(0, Relaxed);
        while self.land_one() {}
    }

    /// Lets a batch go in later.
    pub(crate) fn delay(&self, batch: Arc<[Replacement]>, store: Arc<Backend>) {
        self.late.lock().unwrap().push(Late { batch, store });
    }

    /// Lets the batch that is late for longest go in.
    pub(crate) fn land_one(&self) -> bool {
        let mut late = self.late.lock().unwrap();
        if late.is_empty() {
            return false;
        }
        let Late { batch, store } = late.remove(0);
        store.replace(&batch);
        add(&self.counters.late_batches, 1);
        true
    }

    /// Takes down what happened, so that two runs of a seed can be compared.
    pub(crate) fn trace(&self, what: u64) {
        let so_far = self.trace.load(Relaxed);
        self.trace
            .store((so_far.rotate_left(5) ^ what).wrapping_mul(0x517c_c1b7_2722_0a95), Relaxed);
    }

    pub(crate) fn traced(&self) -> u64 {
        self.trace.load(Relaxed)
    }

    /// Batches, of which there are fewer than reads, have more ways to go wrong, and do more often.
    pub(crate) fn fate(&self, batch: bool) -> Fate {
        use StoreErrorKind::{Full, Other, Retryable, Stopped, UnknownOutcome, Unsupported};
        let mut chance = self.chance.lock().unwrap();
        let rarity = self.rarity.load(Relaxed);
        if !chance.one_in(if batch { rarity.div_ceil(3) } else { rarity }) {
            return Fate::Sound;
        }
        match chance.below(if batch { 16 } else { 10 }) {
            0..3 => Fate::FailsAfter(UnknownOutcome),
            3 => Fate::FailsAfter(chance.pick(&[Retryable, Other, Full])),
            4 => Fate::Refused(chance.pick(&[Full, Stopped, Other])),
            5 => Fate::Refused(Unsupported),
            6 => Fate::Refused(UnknownOutcome),
            7..10 => Fate::Refused(Retryable),
            10..13 => Fate::Late,
            _ => {
                let kind = chance.pick(&[UnknownOutcome, Retryable, Other, Full]);
                Fate::Torn(chance.below(3) + 1, kind)
            }
        }
    }

    /// Is pending for a few polls.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let polls = self.chance.lock().unwrap().below(3);
        async move {
            for _ in 0..polls {
                futures::pending!();
            }
        }
    }

    pub(crate) fn count_refusal(&self, kind: StoreErrorKind) {
        let counters = &self.counters;
        let counter = match kind {
            StoreErrorKind::Retryable => &counters.refused_as_retryable,
            StoreErrorKind::Full => &counters.refused_as_full,
            StoreErrorKind::Stopped => &counters.refused_as_stopped,
            StoreErrorKind::Unsupported => &counters.refused_as_unsupported,
            StoreErrorKind::UnknownOutcome => &counters.refused_as_unknown,
            _ => &counters.refused_as_other,
        };
        add(counter, 1);
    }
}

/// Waits a few polls whatever the time asked for.
impl Timer for Chaos {
    fn sleep(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
        self.wait().boxed()
    }
}
