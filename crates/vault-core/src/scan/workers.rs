//! Dedicated threads for expensive work: Argon2id, and the cryptography of whole pages.
//!
//! Each thread keeps one block of Argon2 memory and reuses it. A pool that gives each record to any
//! free thread needs a block per task instead: 16 MiB of cost took 35 MiB resident this way, 291
//! MiB with a work-stealing pool, and up to 15.9 GiB with one blocking task per record.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use futures::channel::oneshot;

use crate::crypto::kdf::{KdfMemory, LargeMemory};
use crate::crypto::stack::wipe_below;

/// What each worker thread does first.
pub(crate) type OnStart = Arc<dyn Fn() + Send + Sync>;

type Job = Box<dyn FnOnce(&mut KdfMemory) + Send>;

/// A fixed number of threads that serve one queue, or none: then the caller's thread does the work.
///
/// Dropping it makes every thread end after its current record, without waiting for them.
pub(crate) struct Workers {
    queue: Queue,
    stop: Stop,
    count: NonZeroUsize,
}

enum Queue {
    Threads(mpsc::Sender<Job>),
    /// The memory of the caller's thread.
    Caller(Mutex<KdfMemory>),
}

impl Workers {
    /// Starts the threads of a run. Each keeps up to `share_kib` of Argon2 memory between
    /// derivations; those that need more run one at a time, in memory that is kept as well.
    pub(crate) fn start(
        count: NonZeroUsize,
        share_kib: u32,
        on_start: &OnStart,
    ) -> Result<Self, WorkerError> {
        let large = LargeMemory::default();
        Self::start_with(count, on_start, || KdfMemory::with_share(share_kib, large.clone()))
    }

    /// Starts one thread, which keeps up to `kept_kib` of Argon2 memory between derivations and
    /// releases the rest at once.
    pub(crate) fn start_one(kept_kib: u32, on_start: &OnStart) -> Result<Self, WorkerError> {
        let memory = || KdfMemory::with_retained_kib(kept_kib);
        Self::start_with(NonZeroUsize::MIN, on_start, memory)
    }

    fn start_with(
        count: NonZeroUsize,
        on_start: &OnStart,
        memory: impl Fn() -> KdfMemory,
    ) -> Result<Self, WorkerError> {
        let (queue, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let stop = Stop::default();
        for number in 0..count.get() {
            let (jobs, stop, on_start) = (Arc::clone(&jobs), stop.clone(), Arc::clone(on_start));
            let mut memory = memory();
            thread::Builder::new()
                .name(format!("vaultstore-kdf-{number}"))
                .spawn(move || {
                    on_start();
                    work(&jobs, &stop, &mut memory);
                })
                .map_err(WorkerError::Start)?;
        }
        Ok(Self { queue: Queue::Threads(queue), stop, count })
    }

    /// Starts no thread: the submitter performs the task before awaiting its result.
    pub(crate) fn on_callers_thread(share_kib: u32) -> Self {
        let memory = KdfMemory::with_share(share_kib, LargeMemory::default());
        let queue = Queue::Caller(Mutex::new(memory));
        Self { queue, stop: Stop::default(), count: NonZeroUsize::MIN }
    }

    /// Returns the number of threads.
    pub(crate) fn count(&self) -> NonZeroUsize {
        self.count
    }

    /// What a long task checks between two records.
    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Queues a task. Its result comes through the receiver, which is cancelled if the task
    /// panicked.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut KdfMemory) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        let job: Job = Box::new(move |memory| {
            // No one is waiting any more: do not start it.
            if !answer.is_canceled() {
                let _ = answer.send(task(memory));
            }
        });
        match &self.queue {
            // The threads live as long as `self`; a failed send cancels the receiver, which informs
            // the caller.
            Queue::Threads(queue) => drop(queue.send(job)),
            Queue::Caller(memory) => {
                run(job, &mut memory.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
        receiver
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
    }
}

/// Set once the pool is dropped.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>, stop: &Stop, memory: &mut KdfMemory) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if stop.is_set() {
            return;
        }
        run(job, memory);
    }
}

/// A task that panics loses only its own result; its memory is scratch space. What it had on the
/// stack is wiped.
fn run(job: Job, memory: &mut KdfMemory) {
    let _ = catch_unwind(AssertUnwindSafe(|| job(memory)));
    wipe_below();
}

/// The worker threads cannot do their work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The system could not start a thread.
    #[error("no worker thread could be started")]
    Start(#[source] std::io::Error),
    /// A task ended without a result: a bug in this library. Nothing was written for its records.
    #[error("a worker thread ended without a result; nothing was written for its records")]
    Lost,
}

impl From<oneshot::Canceled> for WorkerError {
    fn from(_: oneshot::Canceled) -> Self {
        Self::Lost
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn two() -> Workers {
        let on_start: OnStart = Arc::new(|| ());
        Workers::start(NonZeroUsize::new(2).unwrap(), 1024, &on_start).unwrap()
    }

    #[test]
    fn answers_come_back_in_the_order_they_are_awaited() {
        let workers = two();
        let answers: Vec<_> = (0..100).map(|n| workers.submit(move |_| n * n)).collect();
        let squares: Vec<i32> =
            answers.into_iter().map(|answer| block_on(answer).unwrap()).collect();
        assert_eq!(squares, (0..100).map(|n| n * n).collect::<Vec<_>>());
    }

    #[test]
    fn a_panicking_task_loses_only_its_own_answer() {
        let workers = two();
        let lost = workers.submit(|_| panic!("a test's panic"));
        let kept: Vec<_> = (0..10).map(|n| workers.submit(move |_| n)).collect();
        assert!(block_on::<oneshot::Receiver<()>>(lost).is_err());
        assert_eq!(kept.into_iter().map(|answer| block_on(answer).unwrap()).sum::<i32>(), 45);
    }

    #[test]
    fn without_threads_the_caller_has_the_answer_at_once() {
        let workers = Workers::on_callers_thread(1024);
        let caller = thread::current().id();
        let mut answer = workers.submit(|_| thread::current().id());
        assert_eq!(answer.try_recv(), Ok(Some(caller)));
        let mut lost: oneshot::Receiver<()> = workers.submit(|_| panic!("a test's panic"));
        assert_eq!(lost.try_recv(), Err(oneshot::Canceled));
        assert_eq!(workers.submit(|_| 1).try_recv(), Ok(Some(1)));
    }

    #[test]
    fn dropping_the_pool_stops_a_long_task_between_two_records() {
        let workers = two();
        let stop = workers.stop();
        let (started, has_begun) = mpsc::channel();
        let counted = workers.submit(move |_| {
            started.send(()).unwrap();
            let mut records = 0u64;
            while !stop.is_set() {
                records += 1;
            }
            records
        });
        has_begun.recv().unwrap();
        drop(workers);
        block_on(counted).unwrap();
    }
}
