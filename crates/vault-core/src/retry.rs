//! Trying again what a store says can be tried again.

use std::{sync::Arc, time::Duration};

use futures::{channel::oneshot, future::BoxFuture};

use crate::{StoreError, fill_random};

/// Lets an engine wait without knowing a runtime.
pub trait Timer: Send + Sync {
    /// Resolves after about this time.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// A timer that needs no runtime: a short-lived thread per wait, which is rare and never on the path of success.
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
            // A thread that could not be started drops its sender: then the wait is over at once.
            let _ = waited.await;
            drop(thread);
        })
    }
}

/// How often, and after which waits, a retryable store operation is tried again.
#[derive(Clone)]
pub(crate) struct Retry {
    timer: Arc<dyn Timer>,
}

impl Retry {
    /// Five tries over about three seconds: long enough for a failover or a deadlock, short enough for somebody who watches.
    const TRIES: u32 = 5;
    const FIRST_WAIT: Duration = Duration::from_millis(100);

    pub(crate) fn new(timer: Arc<dyn Timer>) -> Self {
        Self { timer }
    }

    /// Waits before the try after this many failed ones; `false` when enough has been tried or trying cannot help.
    pub(crate) async fn again_after(&self, error: &StoreError, failed: u32) -> bool {
        if failed >= Self::TRIES || !error.kind().is_retryable() {
            return false;
        }
        let wait = Self::FIRST_WAIT * 2u32.saturating_pow(failed.saturating_sub(1));
        self.timer.sleep(jittered(wait)).await;
        true
    }
}

/// Between half and all of a wait, so that two rekeys that met in a deadlock do not meet again.
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
    use crate::StoreErrorKind;

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
        let tries =
            (1..100).take_while(|failed| block_on(retry.again_after(&error, *failed))).count();
        assert_eq!(tries, 4);
        for (number, wait) in timer.0.lock().unwrap().iter().enumerate() {
            let full = Duration::from_millis(100) * 2u32.pow(u32::try_from(number).unwrap());
            assert!(*wait >= full / 2 && *wait <= full, "{wait:?} of {full:?}");
        }
    }

    #[test]
    fn what_cannot_help_is_not_tried_again() {
        let retry = Retry::new(Arc::new(Noting::default()));
        assert!(!block_on(retry.again_after(&StoreError::new(StoreErrorKind::Full, "full"), 1)));
    }

    #[test]
    fn the_thread_timer_waits() {
        let begin = std::time::Instant::now();
        block_on(ThreadTimer.sleep(Duration::from_millis(20)));
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}
