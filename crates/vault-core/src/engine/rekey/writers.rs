//! Detects other writers during a pass.

use super::{commit::PageOutcome, plan::RekeyMode};
use vault_store::{VaultStore, WriteCount};

/// The store's write count when a pass started, and the batches that this run has written since.
pub(super) struct WriterWatch {
    /// `None` if the store could not tell: assume that there were other writers.
    before: Option<WriteCount>,
    batches: u64,
}

impl WriterWatch {
    /// A dry run has nothing to catch up with, and must not open what a store opens only for
    /// writers.
    pub(super) async fn from_now_on(store: &dyn VaultStore, dry_run: RekeyMode) -> Self {
        let before = match dry_run {
            RekeyMode::Apply => store.write_count().await.unwrap_or_default(),
            RekeyMode::DryRun => None,
        };
        Self { before, batches: 0 }
    }

    pub(super) fn take(&mut self, settled: &PageOutcome) {
        self.batches += settled.batches;
        if settled.unanswered {
            self.before = None;
        }
    }

    /// Returns whether the store confirms that there were no other writes until a later count.
    pub(super) fn no_foreign_writes_since(&self, later: &Self) -> bool {
        match (&self.before, &later.before) {
            (Some(before), Some(now)) => now.advanced_only_by(before, self.batches),
            _ => false,
        }
    }
}
