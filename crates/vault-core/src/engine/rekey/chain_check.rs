//! Checks, before the first write of chained pairs, that the vault matches what the state says was
//! moved.
//!
//! Nothing in a vault distinguishes a moved record of such pairs from one that is still to be
//! moved; only the state does. Without it, or with a vault that was restored from a backup since, a
//! rekey would move records twice, which merges groups of records permanently. This checks what can
//! be checked, and refuses the rekey where nothing can be determined.

use std::sync::Arc;

use super::{
    error::ChainDoubt,
    pairs::Role,
    plan::EarlierRun,
    progress::Progress,
    shard::Shard,
    tried::{Question, RecordTag, TriedSet},
};
use crate::crypto::envelope::{Envelope, Peek};
use crate::crypto::kdf::KdfMemory;
use crate::crypto::key::PasswordKey;
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::{OpenOutcome, check_all, open_all};
use crate::scan::error::ScanError;
use crate::scan::{Examine, Scan};
use vault_store::SealedRecord;

/// What a record is with respect to chained pairs.
pub(super) enum Place {
    /// This job wrote it.
    Written,
    /// It opens under a password of this role.
    Opens(Role),
    /// It opens under none of them; a tagged record is not tried again.
    None(Option<RecordTag>),
}

impl Place {
    /// Returns the tag to keep.
    pub(super) fn mark(&self) -> Option<RecordTag> {
        match self {
            Self::None(mark) => *mark,
            Self::Written | Self::Opens(_) => None,
        }
    }
}

/// The number of records in each place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    written: u64,
    first: u64,
    between: u64,
    last: u64,
}

impl Places {
    pub(super) fn count(&mut self, place: &Place) {
        match place {
            Place::Written => self.written += 1,
            Place::Opens(Role::First) => self.first += 1,
            Place::Opens(Role::Between) => self.between += 1,
            Place::Opens(Role::Last) => self.last += 1,
            Place::None(_) => {}
        }
    }

    /// Returns why nothing may be moved, if so.
    pub(super) fn doubt(
        self,
        progress: &Progress,
        earlier_run: EarlierRun,
        has_first: bool,
    ) -> Option<ChainDoubt> {
        let Self { written, first, between, last } = self;
        if first + between == 0 {
            return None;
        }
        if progress.pass > 1 {
            let is_done = progress.open.is_empty() && between > 0;
            return is_done.then_some(ChainDoubt::Unknown { records: between });
        }
        let records = progress.counts.rekeyed;
        if written > 0 {
            return None;
        }
        if records > 0 {
            return Some(ChainDoubt::NoneIsThere { records });
        }
        if earlier_run == EarlierRun::None {
            return None;
        }
        match (last, first) {
            (1.., _) => Some(ChainDoubt::EndInUse { records: last }),
            (0, 0) if has_first => Some(ChainDoubt::BeginningUnused { records: between }),
            _ => None,
        }
    }
}

/// The scan that checks whether the vault matches what the state says was moved.
pub(super) struct ChainAsk {
    pub(super) scan: Scan<ChainChecker>,
    pub(super) places: Places,
    pub(super) earlier_run: EarlierRun,
    /// Whether a password of the plan only starts a chain.
    pub(super) has_first: bool,
}

/// Determines the place of every record. A v2 record costs one Argon2id per password, once per job.
pub(super) struct ChainChecker {
    pub(super) keys: Vec<(Role, Arc<PasswordKey>)>,
    pub(super) policy: RunPolicy,
    pub(super) shard: Shard,
    pub(super) tested: Arc<TriedSet>,
}

impl Examine for ChainChecker {
    type Finding = Place;

    fn passes_over(&self, record: &SealedRecord) -> bool {
        !self.shard.holds(&record.id)
            || Peek::at(&record.envelope).needs_own_argon2() && self.tested.holds(self.mark(record))
    }

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Place>, ScanError> {
        let mark = |record: &SealedRecord| {
            Peek::at(&record.envelope).needs_own_argon2().then(|| self.mark(record))
        };
        let written = |record: &SealedRecord| {
            self.tested.holds(self.tested.mark(Question::Old, &record.id, &record.envelope))
        };
        let mut places: Vec<_> = records
            .iter()
            .map(|record| if written(record) { Place::Written } else { Place::None(mark(record)) })
            .collect();
        let parsed: Vec<_> =
            records.iter().map(|record| Envelope::parse(&record.envelope)).collect();
        let bound = records.iter().map(SealedRecord::bound_to);
        let (mut unopened, _) = check_all(&parsed, bound, &self.policy);
        unopened.retain(|candidate| matches!(places[candidate.index], Place::None(_)));
        for (role, key) in &self.keys {
            for (candidate, outcome) in open_all(&mut unopened, key, memory)? {
                if let OpenOutcome::Opened(_) = outcome {
                    places[candidate.index] = Place::Opens(*role);
                }
            }
        }
        Ok(places)
    }
}

impl ChainChecker {
    fn mark(&self, record: &SealedRecord) -> RecordTag {
        self.tested.mark(Question::Chain, &record.id, &record.envelope)
    }
}
