//! Notices when a thread of the driver panics.
//!
//! sqlx runs each connection on a thread of its own, and panics there over a damaged or hostile
//! file, for example over a column's type that is not UTF-8. A caller that waits for that thread
//! then gets an end of rows that is none, or an answer never. So the threads of a store are
//! recognized by their names, and the panic hook tells the store before anything unwinds. From then
//! on every call on it fails, and none waits any longer.

use std::{
    collections::BTreeMap,
    future::Future,
    panic,
    pin::pin,
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use futures::future::{Either, select};
use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::watch;

/// The beginning of the names of all threads, before the number of the store.
const NAME: &str = "vaultstore-sqlite-";

/// The stores that are open, by number.
static OPEN: Mutex<BTreeMap<u64, watch::Sender<bool>>> = Mutex::new(BTreeMap::new());

/// The threads of one store.
#[derive(Debug)]
pub(crate) struct Driver {
    number: u64,
    panicked: watch::Receiver<bool>,
}

/// A thread of this store has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl Driver {
    pub(crate) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        install_hook();
        let number = LAST.fetch_add(1, Relaxed);
        let (sender, panicked) = watch::channel(false);
        open().insert(number, sender);
        Self { number, panicked }
    }

    /// Names the threads of connections with these options.
    pub(crate) fn names(&self, options: SqliteConnectOptions) -> SqliteConnectOptions {
        let number = self.number;
        options.thread_name(move |connection| format!("{NAME}{number}-{connection}"))
    }

    /// Waits for the work, but not after a panic: what it then says is not to be trusted.
    pub(crate) async fn unless_it_panics<F: Future>(&self, work: F) -> Result<F::Output, Panicked> {
        let mut panicked = self.panicked.clone();
        let done = match select(pin!(work), pin!(panicked.wait_for(|panicked| *panicked))).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => return Err(Panicked),
        };
        if self.has_panicked() { Err(Panicked) } else { Ok(done) }
    }

    pub(crate) fn has_panicked(&self) -> bool {
        *self.panicked.borrow()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        open().remove(&self.number);
    }
}

/// Nothing that panics runs under the lock.
fn open() -> MutexGuard<'static, BTreeMap<u64, watch::Sender<bool>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to the panics of these threads. Those of all others go to the hook that was there before.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            match thread::current().name().and_then(number_in) {
                None => before(panic),
                Some(number) => {
                    if let Some(store) = open().get(&number) {
                        store.send_replace(true);
                    }
                }
            }
        }));
    });
}

/// The number of the store in the name of a thread.
fn number_in(name: &str) -> Option<u64> {
    name.strip_prefix(NAME)?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panic_on_a_thread_named(name: String) {
        let thread = thread::Builder::new().name(name).spawn(|| panic!("a test's panic"));
        assert!(thread.unwrap().join().is_err());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_thread_that_panicked_and_other_stores_go_on() {
        let (driver, other) = (Driver::new(), Driver::new());
        assert_eq!(driver.unless_it_panics(async { 1 }).await, Ok(1));
        let waiting = driver.unless_it_panics(std::future::pending::<()>());
        let panicking = async { panic_on_a_thread_named(format!("{NAME}{}-7", driver.number)) };
        assert_eq!(futures::join!(waiting, panicking).0, Err(Panicked));
        assert_eq!(driver.unless_it_panics(async { 1 }).await, Err(Panicked));
        assert_eq!(other.unless_it_panics(async { 1 }).await, Ok(1));
    }
}
