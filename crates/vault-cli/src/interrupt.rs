//! Ctrl-C and SIGTERM: the first lets a run finish its page, the second stops at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Counts the signals that came. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts {
    count: watch::Receiver<u32>,
    patient: Arc<AtomicBool>,
}

impl Interrupts {
    /// Takes over both signals for the rest of the process's life.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (counter, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => {}
                    Some(()) = terminate.recv() => {}
                    else => return,
                }
                counter.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { count, patient: Arc::default() })
    }

    /// From now on the first signal is the command's to act on, through [`first`](Self::first).
    pub(crate) fn leave_first_to_command(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Resolves once a signal has come.
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
            // The counting task is gone: no signal will come any more.
            std::future::pending::<()>().await;
        }
    }
}
