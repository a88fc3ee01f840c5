//! What a scan asks of those that examine its records.

use crate::crypto::kdf::KdfMemory;
use crate::scan::error::ScanError;
use vault_store::{RecordHead, SealedRecord, UnreadableRow};

/// Examines records, with memory for an Argon2id.
pub(crate) trait Examine: Send + Sync + 'static {
    /// What it finds for a record.
    type Finding: Send + 'static;

    /// Returns whether to skip a record in this pass. Called once, when it is read.
    fn passes_over(&self, _record: &SealedRecord) -> bool {
        false
    }

    /// What it finds for an unreadable row; nothing (the default) if the pass is only about
    /// records.
    fn unreadable(&self, _row: UnreadableRow) -> Option<Self::Finding> {
        None
    }

    /// Returns whether heads are read first, so that only records are read whole whose heads do not
    /// decide.
    fn reads_heads(&self) -> bool {
        false
    }

    /// What the heads of a few records tell, in order. By default nothing.
    fn decide(
        &self,
        heads: &[RecordHead],
        _memory: &mut KdfMemory,
    ) -> Result<Vec<ByHead<Self::Finding>>, ScanError> {
        Ok(heads.iter().map(|_| ByHead::Needed).collect())
    }

    /// Examines a few records at a time, because many hashes at once cost less than one by one.
    /// Returns one finding per record, in order. An error ends the scan.
    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Self::Finding>, ScanError>;
}

/// What the head of a record tells.
pub(crate) enum ByHead<F> {
    /// The rest of the record is not needed. `None` finds nothing about it.
    Decided(Option<F>),
    /// The record has to be read whole.
    Needed,
    /// The pass is not about this record.
    PassedOver,
}
