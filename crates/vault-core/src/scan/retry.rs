//! Retries of store operations that can be retried.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{channel::oneshot, future::BoxFuture};

use vault_store::{StoreError, fill_random};

/// Waits without knowing a runtime.
pub trait Timer: Send + Sync {
    /// Resolves after about this time.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// A timer that needs no runtime: a short-lived thread per wait, which is rare and never on the
/// success path.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadTimer;

impl Timer for ThreadTimer {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (done, waited) = oneshot::channel();
        let thread = std::thread::Builder::new().name("vaultstore-timer".into()).spawn(move || {
            std::thread::sleep(time);
            let _ = done.send(());
        });
        Box::pin(async move {
            // If the thread could not be started, its sender is dropped, and the wait ends
            // immediately.
            let _ = waited.await;
            drop(thread);
        })
    }
}

/// How often, and after which delays, to retry a store operation.
#[derive(Clone)]
pub(crate) struct Retry {
    timer: Arc<dyn Timer>,
}

/// The failed attempts of one operation, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tries {
    failed: u32,
    since: Option<Instant>,
}

impl Tries {
    /// Grants an operation that belongs to this one as many attempts, within the remaining time.
    pub(crate) fn renewed(self) -> Self {
        Self { failed: 0, ..self }
    }
}

impl Retry {
    /// Five attempts within about three seconds: long enough for a failover or a deadlock, short
    /// enough for an operator who is watching.
    const TRIES: u32 = 5;
    const FIRST_WAIT: Duration = Duration::from_millis(100);
    /// How long to keep retrying if each attempt is slow. A store that waits ten seconds for its
    /// server has then tried three times, and a server that is gone ends a run after half a minute.
    const TIME: Duration = Duration::from_secs(15);

    pub(crate) fn new(timer: Arc<dyn Timer>) -> Self {
        Self { timer }
    }

    /// Waits before the next attempt after this error; `false` if there were enough attempts or a
    /// retry cannot help.
    pub(crate) async fn again_after(&self, error: &StoreError, tries: &mut Tries) -> bool {
        tries.failed += 1;
        let since = *tries.since.get_or_insert_with(Instant::now);
        let enough = tries.failed >= Self::TRIES || since.elapsed() >= Self::TIME;
        if enough || !error.kind().is_retryable() {
            return false;
        }
        let wait = Self::FIRST_WAIT * 2u32.saturating_pow(tries.failed - 1);
        self.timer.sleep(jittered(wait)).await;
        true
    }
}

/// Between half and all of a delay, so that two rekeys that deadlocked do not meet again.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0u8; 1];
    // Without randomness there is no jitter; nothing secret depends on it.
    let _ = fill_random(&mut byte);
    wait / 2 + wait * u32::from(byte[0]) / 510
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::executor::block_on;

    use super::*;
    use vault_store::StoreErrorKind;

    #[derive(Default)]
    struct Noting(Mutex<Vec<Duration>>);

    impl Timer for Noting {
        fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
            self.0.lock().unwrap().push(time);
            Box::pin(async {})
        }
    }

    #[test]
    fn waits_double_with_jitter_and_then_end() {
        let timer = Arc::new(Noting::default());
        let retry = Retry::new(timer.clone());
        let error = StoreError::new(StoreErrorKind::Retryable, "busy");
        let mut tries = Tries::default();
        let again = (1..100).take_while(|_| block_on(retry.again_after(&error, &mut tries)));
        assert_eq!(again.count(), 4);
        for (number, wait) in timer.0.lock().unwrap().iter().enumerate() {
            let full = Duration::from_millis(100) * 2u32.pow(u32::try_from(number).unwrap());
            assert!(*wait >= full / 2 && *wait <= full, "{wait:?} of {full:?}");
        }
    }

    #[test]
    fn what_cannot_help_is_not_tried_again() {
        let retry = Retry::new(Arc::new(Noting::default()));
        let full = StoreError::new(StoreErrorKind::Full, "full");
        assert!(!block_on(retry.again_after(&full, &mut Tries::default())));
    }

    #[test]
    fn what_fails_slowly_is_given_up_earlier_also_by_what_belongs_to_it() {
        let retry = Retry::new(Arc::new(Noting::default()));
        let error = StoreError::new(StoreErrorKind::Retryable, "no connection in time");
        let since = Instant::now().checked_sub(Retry::TIME);
        assert!(since.is_some());
        let tries = Tries { failed: 1, since };
        assert!(!block_on(retry.again_after(&error, &mut tries.clone())));
        assert!(!block_on(retry.again_after(&error, &mut tries.renewed())));
        assert!(block_on(retry.again_after(&error, &mut Tries { since: None, ..tries })));
    }

    #[test]
    fn the_thread_timer_waits() {
        let begin = std::time::Instant::now();
        block_on(ThreadTimer.sleep(Duration::from_millis(20)));
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}
