//! A clock that stands still until it is set, so that no test sleeps.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use vault_store::{Clock, Timestamp};

use crate::samples::seconds;

/// Whole seconds, which every schema can store.
pub(super) struct SetClock(AtomicI64);

impl SetClock {
    pub(super) fn at(seconds: i64) -> Self {
        Self(AtomicI64::new(seconds))
    }

    pub(super) fn set(&self, seconds: i64) {
        self.0.store(seconds, SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        seconds(self.0.load(SeqCst))
    }
}
