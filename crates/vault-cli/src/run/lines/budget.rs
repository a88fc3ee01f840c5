//! How many bytes may be on the way between the threads of an import.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that are given out and come back.
#[derive(Clone)]
pub(super) struct Budget(Arc<(Mutex<State>, Condvar)>);

struct State {
    left: usize,
    is_closed: bool,
}

/// Bytes that come back when this is dropped.
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new((Mutex::new(State { left: bytes, is_closed: false }), Condvar::new())))
    }

    /// Waits until there are as many bytes; `None` once the budget is closed.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |state: &mut State| state.left < bytes && !state.is_closed;
        let mut state = changed.wait_while(state, wait).unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return None;
        }
        state.left -= bytes;
        Some(Share { budget: self.clone(), bytes })
    }

    /// From now on nothing is given out, and nobody waits.
    pub(super) fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let (state, changed) = &*self.0;
        change(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }
}

impl Share {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.change(|state| state.left += self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn bytes_are_waited_for_and_come_back() {
        let budget = Budget::new(10);
        let first = budget.take(8).unwrap();
        let waiting = thread::spawn({
            let budget = budget.clone();
            move || budget.take(5).map(|share| share.bytes)
        });
        drop(first);
        assert_eq!(waiting.join().unwrap(), Some(5));
        let all = budget.take(10);
        let waiting = thread::spawn({
            let budget = budget.clone();
            move || budget.take(1).is_none()
        });
        budget.close();
        assert!(waiting.join().unwrap());
        drop(all);
    }
}
