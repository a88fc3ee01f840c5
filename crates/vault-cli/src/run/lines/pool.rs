//! Worker threads whose results are taken in the order of their jobs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::mpsc as answers;

use crate::exit::Failure;

/// Takes any number of jobs; when the last of these is dropped, the workers end.
pub(super) struct Jobs<I>(mpsc::Sender<(u64, I)>, u64);

impl<I> Jobs<I> {
    /// Does not wait. Whether there is still a worker.
    pub(super) fn submit(&mut self, job: I) -> bool {
        let number = self.1;
        self.1 += 1;
        self.0.send((number, job)).is_ok()
    }
}

/// The results, in order.
pub(super) struct Results<O> {
    receiver: answers::UnboundedReceiver<(u64, O)>,
    early: BTreeMap<u64, O>,
    next: u64,
}

impl<O> Results<O> {
    /// The next result; `None` after the last. A drop loses none.
    pub(super) async fn next(&mut self) -> Result<Option<O>, Failure> {
        loop {
            if let Some(result) = self.early.remove(&self.next) {
                self.next += 1;
                return Ok(Some(result));
            }
            match self.receiver.recv().await {
                Some((number, result)) => drop(self.early.insert(number, result)),
                None if self.early.is_empty() => return Ok(None),
                None => {
                    return Err(Failure::failed("a worker thread ended too early")
                        .hint("this is a bug in vaultstore; please report it"));
                }
            }
        }
    }
}

/// Starts the workers, each with a function of its own.
pub(super) fn start<I, O, W>(
    workers: usize,
    make: impl Fn() -> W,
) -> Result<(Jobs<I>, Results<O>), Failure>
where
    I: Send + 'static,
    O: Send + 'static,
    W: FnMut(I) -> O + Send + 'static,
{
    let (jobs, waiting) = mpsc::channel::<(u64, I)>();
    let waiting = Arc::new(Mutex::new(waiting));
    let (sender, receiver) = answers::unbounded_channel();
    for number in 0..workers {
        let (waiting, sender, mut work) = (Arc::clone(&waiting), sender.clone(), make());
        let take = move || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let run = move || {
            while let Ok((number, job)) = take() {
                if sender.send((number, work(job))).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name(format!("vaultstore-worker-{number}"));
        thread.spawn(run).map_err(|error| {
            Failure::failed("no thread could be started").hint("lower --workers").because(error)
        })?;
    }
    Ok((Jobs(jobs, 0), Results { receiver, early: BTreeMap::new(), next: 0 }))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_and_a_lost_one_is_noticed() {
        let square = || {
            |number: u64| {
                thread::sleep(std::time::Duration::from_millis(5 * (7 - number % 7)));
                number * number
            }
        };
        let (mut jobs, mut results) = start(3, square).unwrap();
        let sending = thread::spawn(move || (0..20).all(|number| jobs.submit(number)));
        for number in 0..20u64 {
            assert_eq!(block_on(results.next()).unwrap(), Some(number * number));
        }
        assert!(sending.join().unwrap());
        assert_eq!(block_on(results.next()).unwrap(), None);

        let (mut jobs, mut results) = start(2, || {
            |number: u64| {
                assert!(number > 0, "the first worker is lost");
                number
            }
        })
        .unwrap();
        assert!((0..2).all(|number| jobs.submit(number)));
        drop(jobs);
        assert!(block_on(results.next()).is_err());
    }
}
