//! Checks, before the first write, whether the new passwords already open records.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    kdf_tally::KdfTally,
    plan::{MergeCheck, Shard},
    tried::{Question, RecordTag, TriedSet},
};
use crate::crypto::envelope::{Envelope, Peek, StoredHeader};
use crate::crypto::kdf::KdfMemory;
use crate::crypto::key::PasswordKey;
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::{OpenOutcome, check_all, committed_to, open_all};
use crate::scan::Examine;
use crate::scan::error::ScanError;
use vault_store::SealedRecord;

/// The result for one record.
pub(super) enum Answer {
    /// A new password opens it.
    Opens,
    /// None does, or no password can; a resuming run does not try a tagged record again.
    Not(Option<RecordTag>),
}

pub(super) struct MergeChecker {
    pub(super) keys: Vec<Arc<PasswordKey>>,
    pub(super) policy: RunPolicy,
    pub(super) check: MergeCheck,
    pub(super) shard: Shard,
    pub(super) tested: Arc<TriedSet>,
    /// Counts the salts and costs of the records.
    pub(super) tally: Arc<KdfTally>,
    /// Records that were not checked because that would have cost an Argon2id.
    pub(super) unasked: AtomicU64,
}

impl Examine for MergeChecker {
    type Finding = Answer;

    fn passes_over(&self, record: &SealedRecord) -> bool {
        if !self.shard.holds(&record.id) {
            return true;
        }
        let costs_argon2 = Peek::at(&record.envelope).needs_own_argon2();
        if costs_argon2 && self.check != MergeCheck::Full {
            self.unasked.fetch_add(1, Relaxed);
            return true;
        }
        costs_argon2 && self.tested.holds(self.mark(record))
    }

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Answer>, ScanError> {
        let mark = |record: &SealedRecord| {
            Peek::at(&record.envelope).needs_own_argon2().then(|| self.mark(record))
        };
        let mut answers: Vec<_> = records.iter().map(|record| Answer::Not(mark(record))).collect();
        let headers: Vec<_> =
            records.iter().map(|record| StoredHeader::of(&record.envelope)).collect();
        self.tally.count(headers.iter().flatten());
        if let Some(headers) = self.all_prepared(headers) {
            // The header determines the password of a v3 record. The pass, which reads it whole,
            // checks that it is intact.
            for key in &self.keys {
                let committed = committed_to(&headers, key, memory)?;
                for (answer, _) in answers.iter_mut().zip(committed).filter(|(_, is)| *is) {
                    *answer = Answer::Opens;
                }
            }
            return Ok(answers);
        }
        let parsed: Vec<_> =
            records.iter().map(|record| Envelope::parse(&record.envelope)).collect();
        let bound = records.iter().map(SealedRecord::bound_to);
        let (mut unopened, _) = check_all(&parsed, bound, &self.policy);
        for key in &self.keys {
            for (candidate, outcome) in open_all(&mut unopened, key, memory)? {
                if let OpenOutcome::Opened(_) = outcome {
                    answers[candidate.index] = Answer::Opens;
                }
            }
        }
        Ok(answers)
    }
}

impl MergeChecker {
    /// Returns the headers, if these are v3 records for which no key needs an Argon2id. Their
    /// checksums, which would distinguish damage from a separate salt, need not be computed.
    fn all_prepared(&self, headers: Vec<Option<StoredHeader>>) -> Option<Vec<StoredHeader>> {
        let is_prepared = |header: &StoredHeader| {
            let kdf = header.kdf();
            kdf.is_ok_and(|kdf| self.keys.iter().all(|key| key.is_prepared(&kdf)))
        };
        headers.into_iter().map(|header| header.filter(is_prepared)).collect()
    }

    fn mark(&self, record: &SealedRecord) -> RecordTag {
        self.tested.mark(Question::New, &record.id, &record.envelope)
    }
}
