//! What of redb's a panic must leave alone.

use std::{fmt, mem, thread};

use crate::error::{Fault, Stop};

/// Something of redb's that is dropped as usual, except while a panic unwinds: then it is leaked on
/// purpose.
///
/// A panic of redb over a damaged file leaves its locks poisoned and its state half changed.
/// Dropping a transaction or the database then can panic a second time, and a panic while another
/// one unwinds ends the process; or it can write that state to the file.
pub(crate) struct LeakedByPanic<T>(Option<T>);

impl<T> LeakedByPanic<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// It is there until it is taken.
    pub(crate) fn get(&self) -> Result<&T, Fault> {
        self.0.as_ref().ok_or(Fault::Stopped(Stop::Closed))
    }

    pub(crate) fn take(mut self) -> Result<T, Fault> {
        self.0.take().ok_or(Fault::Stopped(Stop::Closed))
    }
}

impl<T> Drop for LeakedByPanic<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            mem::forget(self.0.take());
        }
    }
}

impl<T> fmt::Debug for LeakedByPanic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeakedByPanic")
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_dropped_as_usual_and_leaked_by_a_panic() {
        let value = Arc::new(());
        drop(LeakedByPanic::new(Arc::clone(&value)));
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(LeakedByPanic::new(Arc::clone(&value)).take().is_ok());
        assert_eq!(Arc::strong_count(&value), 1);
        let held = LeakedByPanic::new(Arc::clone(&value));
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _held = held;
            panic!("a test's panic");
        }));
        assert!(panicked.is_err());
        assert_eq!(Arc::strong_count(&value), 2);
    }
}
