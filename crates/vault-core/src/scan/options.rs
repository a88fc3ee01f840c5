//! How a run over the whole vault uses the machine.

use std::{fmt, num::NonZeroUsize, sync::Arc, thread};

use crate::crypto::envelope::V2Params;
use crate::crypto::kdf::KdfParams;
use crate::scan::retry::{ThreadTimer, Timer};
use crate::scan::workers::{OnStart, WorkerError, Workers};
use vault_store::PageLimit;

/// Workers, memory and page sizes of a rekey or a census.
#[derive(Clone)]
pub struct RunOptions {
    workers: Option<NonZeroUsize>,
    threads: Threads,
    memory_budget_kib: u64,
    page: PageLimit,
    parallel_threshold: u64,
    pub(crate) timer: Arc<dyn Timer>,
    on_start: OnStart,
}

/// Who performs the cryptography.
#[derive(Clone, Copy)]
enum Threads {
    Own,
    /// The thread that polls the run.
    None,
}

impl RunOptions {
    /// 1 GiB of Argon2id memory: 16 workers at the default cost of 64 MiB, more than most machines
    /// have cores.
    pub const DEFAULT_MEMORY_BUDGET_KIB: u64 = 1024 * 1024;
    /// 16,384 records: about 10 MB of small records, so that the two fsyncs of a commit hardly
    /// matter.
    pub const DEFAULT_PAGE_RECORDS: usize = 16_384;
    /// 8 MiB of envelope text: a run holds about five pages at a time.
    pub const DEFAULT_PAGE_BYTES: usize = 8 * 1024 * 1024;
    /// With fewer than 8 records, more threads and their Argon2id memory cost more than they save.
    pub const DEFAULT_PARALLEL_THRESHOLD: u64 = 8;

    /// Maximum number of worker threads. Defaults to one per core. The memory budget may allow
    /// fewer.
    #[must_use]
    pub fn workers(mut self, workers: NonZeroUsize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Runs the cryptography on the polling thread, about two seconds per step, instead of on
    /// workers.
    ///
    /// For platforms without threads, and for deterministic tests. The default timer starts a
    /// thread too; use [`timer`](Self::timer) to replace it.
    #[must_use]
    pub fn without_threads(mut self) -> Self {
        self.threads = Threads::None;
        self
    }

    /// Maximum Argon2id memory of all workers together, in KiB. At least one worker runs whatever
    /// the budget. Records whose cost exceeds a worker's part of it, or what the plan itself uses,
    /// are derived one at a time.
    #[must_use]
    pub fn memory_budget_kib(mut self, kib: u64) -> Self {
        self.memory_budget_kib = kib;
        self
    }

    /// Maximum size of a page, and so of a commit. Pages are smaller where records are expensive to
    /// try, so that there is a commit about every two seconds.
    #[must_use]
    pub fn page_limit(mut self, page: PageLimit) -> Self {
        self.page = page;
        self
    }

    /// Vaults with fewer records than this use a single worker.
    #[must_use]
    pub fn parallel_threshold(mut self, records: u64) -> Self {
        self.parallel_threshold = records;
        self
    }

    /// Sets the timer for waiting between two attempts of a failing store operation. The default is
    /// a thread that sleeps.
    #[must_use]
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }

    /// Sets what each worker thread calls before its first record, for example to lower its own
    /// priority, so that the store's thread and other users of the machine come first, or to pin it
    /// to a core. Nothing by default.
    #[must_use]
    pub fn on_thread_start(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_start = Arc::new(call);
        self
    }

    pub(crate) fn page(&self) -> PageLimit {
        self.page
    }

    /// `cost` is that of the records that the run writes, `others` what it tries on v2.
    pub(crate) fn start_workers(
        &self,
        records: u64,
        cost: KdfParams,
        others: &[V2Params],
    ) -> Result<Workers, WorkerError> {
        let others = others.iter().map(|other| other.params().m_cost());
        let needed = others.max().unwrap_or(0).max(cost.m_cost());
        match self.threads {
            Threads::None => {
                Ok(Workers::on_callers_thread(self.share_kib(NonZeroUsize::MIN, needed)))
            }
            Threads::Own => {
                let count = self.worker_count(records, cost);
                Workers::start(count, self.share_kib(count, needed), &self.on_start)
            }
        }
    }

    /// The Argon2id memory of one worker: what the caller's own costs need, within the budget. Of
    /// what records ask for beyond that, which anyone can plant, one derivation runs at a time.
    fn share_kib(&self, workers: NonZeroUsize, needed_kib: u32) -> u32 {
        let budget = self.memory_budget_kib / workers.get() as u64;
        u32::try_from(budget).unwrap_or(u32::MAX).min(needed_kib)
    }

    /// `min(cores, memory budget / m)`, and one for a small vault.
    fn worker_count(&self, records: u64, cost: KdfParams) -> NonZeroUsize {
        if records < self.parallel_threshold {
            return NonZeroUsize::MIN;
        }
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let fitting = usize::try_from(self.memory_budget_kib / u64::from(cost.m_cost()))
            .unwrap_or(usize::MAX);
        let fitting = NonZeroUsize::new(fitting).unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores).min(fitting)
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            workers: None,
            threads: Threads::Own,
            memory_budget_kib: Self::DEFAULT_MEMORY_BUDGET_KIB,
            page: PageLimit::new(Self::DEFAULT_PAGE_RECORDS, Self::DEFAULT_PAGE_BYTES),
            parallel_threshold: Self::DEFAULT_PARALLEL_THRESHOLD,
            timer: Arc::new(ThreadTimer),
            on_start: Arc::new(|| ()),
        }
    }
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions")
            .field("workers", &self.workers)
            .field("memory_budget_kib", &self.memory_budget_kib)
            .field("page", &self.page)
            .field("parallel_threshold", &self.parallel_threshold)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(options: &RunOptions, records: u64) -> usize {
        options.worker_count(records, KdfParams::DEFAULT).get()
    }

    #[test]
    fn workers_are_bounded_by_the_memory_budget_and_never_none() {
        let eight = RunOptions::default().workers(NonZeroUsize::new(8).unwrap());
        assert_eq!(count(&eight, 1000), 8);
        assert_eq!(count(&eight.clone().memory_budget_kib(3 * 65_536), 1000), 3);
        assert_eq!(count(&eight.memory_budget_kib(0), 1000), 1);
    }

    #[test]
    fn a_worker_keeps_what_the_callers_costs_need_and_no_more_than_its_part_of_the_budget() {
        let options = RunOptions::default().memory_budget_kib(1 << 20);
        let share =
            |workers, needed| options.share_kib(NonZeroUsize::new(workers).unwrap(), needed);
        assert_eq!(share(2, 65_536), 65_536);
        assert_eq!(share(32, 65_536), 32_768);
    }

    #[test]
    fn a_small_vault_gets_one_worker() {
        let options =
            RunOptions::default().workers(NonZeroUsize::new(8).unwrap()).parallel_threshold(100);
        assert_eq!(count(&options, 99), 1);
        assert_eq!(count(&options, 100), 8);
    }
}
