//! `import` and `export`: records as JSON lines, in plain text.

mod budget;
pub(super) mod export;
pub(super) mod import;
mod line;
mod pool;
mod reader;
mod report;

use std::num::{NonZeroU64, NonZeroUsize};
use std::thread;

use crate::args::WorkArgs;
use crate::cgroup::default_memory_budget_kib;

/// How many worker threads, of which each may need this much memory for Argon2id.
fn workers(args: &WorkArgs, kib: u32) -> usize {
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let budget = args.memory_budget.map_or_else(default_memory_budget_kib, NonZeroU64::get);
    let fitting = usize::try_from(budget / u64::from(kib.max(1))).unwrap_or(usize::MAX);
    args.workers.unwrap_or_else(cores).get().min(fitting).max(1)
}
