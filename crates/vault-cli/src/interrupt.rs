//! Ctrl-C and SIGTERM: the first one lets a run finish its page, the second one stops immediately.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::platform::EndSignals;

/// Counts the received signals. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts {
    count: watch::Receiver<u32>,
    patient: Arc<AtomicBool>,
}

impl Interrupts {
    /// Handles both signals for the rest of the process.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut signals = EndSignals::listen()?;
        let (counter, count) = watch::channel(0);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                counter.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { count, patient: Arc::default() })
    }

    /// From now on the command handles the first signal, through [`first`](Self::first).
    pub(crate) fn leave_first_to_command(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Whether a signal has come.
    pub(crate) fn has_come(&self) -> bool {
        *self.count.borrow() >= 1
    }

    /// Resolves once a signal was received.
    pub(crate) async fn first(&self) {
        self.reach(|count| count >= 1).await;
    }

    /// Resolves once the command is to be dropped.
    pub(crate) async fn last(&self) {
        self.reach(|count| count > u32::from(self.patient.load(Ordering::Relaxed))).await;
    }

    async fn reach(&self, enough: impl Fn(u32) -> bool) {
        let mut count = self.count.clone();
        if count.wait_for(|count| enough(*count)).await.is_err() {
            // The counting task is gone: no more signals will be received.
            std::future::pending::<()>().await;
        }
    }
}
