//! How long to keep trying while the server is gone or busy.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use vault_store::fill_random;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The time since the first call that failed, if none has succeeded since then.
#[derive(Debug)]
pub(crate) struct Outage {
    patience: Duration,
    since: Mutex<Option<Instant>>,
}

impl Outage {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, since: Mutex::default() }
    }

    /// A call has succeeded.
    pub(crate) fn ends(&self) {
        if self.patience > Duration::ZERO {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// How long to wait before a call that has failed this many times is tried again; `None` if
    /// that has gone on for too long.
    pub(crate) fn wait(&self, failed: u32) -> Option<Duration> {
        if self.patience == Duration::ZERO {
            return None;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = since.get_or_insert_with(Instant::now).elapsed();
        self.patience.checked_sub(passed).map(|left| next_wait(failed).min(left))
    }
}

/// Between half and all of a wait that doubles each time, so that many processes that were refused
/// do not return together.
pub(crate) fn next_wait(failed: u32) -> Duration {
    let wait = (FIRST_WAIT * 2u32.saturating_pow(failed.min(10))).min(LONGEST_WAIT);
    let mut byte = [0];
    // Without randomness there is no jitter; nothing secret depends on it.
    let _ = fill_random(&mut byte);
    wait / 2 + wait * u32::from(byte[0]) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_waited_for_until_patience_ends_and_then_starts_over() {
        assert_eq!(Outage::new(Duration::ZERO).wait(0), None);
        let outage = Outage::new(Duration::from_mins(1));
        for failed in [0, 1, 5, 1000] {
            let wait = outage.wait(failed).unwrap();
            assert!(wait >= FIRST_WAIT / 2 && wait <= LONGEST_WAIT, "{wait:?}");
        }
        *outage.since.lock().unwrap() = Instant::now().checked_sub(Duration::from_secs(61));
        assert_eq!(outage.wait(0), None);
        outage.ends();
        assert!(outage.wait(0).is_some());
    }
}
