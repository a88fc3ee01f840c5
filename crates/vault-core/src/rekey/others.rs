//! Whether anybody else wrote to the vault during a pass.

use super::{commit::Settled, plan::DryRun};
use crate::{VaultStore, WriteCount};

/// What the store counted when a pass began, and what this run has written since.
pub(super) struct Others {
    /// `None` where the store could not tell: then they wrote.
    before: Option<WriteCount>,
    batches: u64,
}

impl Others {
    /// A dry run has nothing to catch up with, and is not to open what a store opens only for writers.
    pub(super) async fn from_now_on(store: &dyn VaultStore, dry_run: DryRun) -> Self {
        let before = match dry_run {
            DryRun::No => store.write_count().await.unwrap_or_default(),
            DryRun::Yes => None,
        };
        Self { before, batches: 0 }
    }

    pub(super) fn take(&mut self, settled: &Settled) {
        self.batches += settled.batches;
        if settled.unanswered {
            self.before = None;
        }
    }

    /// Whether the store vouches for it that nobody else wrote until a later count.
    pub(super) fn kept_still_until(&self, later: &Self) -> bool {
        match (&self.before, &later.before) {
            (Some(before), Some(now)) => now.is_after_only(before, self.batches),
            _ => false,
        }
    }
}
