//! Checks, before the first write, whether the new passwords already open records.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    by_head::Deciding,
    kdf_tally::KdfTally,
    marks::MarkTally,
    plan::{BodyCheck, MergeCheck},
    shard::Shard,
    tried::{Question, RecordTag, TriedSet},
};
use crate::crypto::envelope::{Envelope, Peek, StoredHeader};
use crate::crypto::kdf::KdfMemory;
use crate::crypto::key::PasswordKey;
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::{OpenOutcome, check_all, committed_to, open_all};
use crate::scan::error::ScanError;
use crate::scan::{ByHead, Examine};
use vault_store::{RecordHead, SealedRecord};

/// The result for one record.
pub(super) enum Answer {
    /// A new password opens it.
    Opens,
    /// None does, or no password can; a resuming run does not try a tagged record again.
    Not(Option<RecordTag>),
    /// It was looked at for another reason.
    Unasked,
}

pub(super) struct MergeChecker {
    pub(super) keys: Vec<Arc<PasswordKey>>,
    pub(super) policy: RunPolicy,
    pub(super) check: MergeCheck,
    pub(super) shard: Shard,
    pub(super) tested: Arc<TriedSet>,
    /// Counts which records would be marked, by trying the old passwords on those that may be.
    pub(super) marks: Option<Arc<MarkTally>>,
    pub(super) old: Vec<Arc<PasswordKey>>,
    /// Counts the salts and costs of the records.
    pub(super) tally: Arc<KdfTally>,
    /// Records that were not checked because that would have cost an Argon2id.
    pub(super) unasked: AtomicU64,
    pub(super) bodies: BodyCheck,
}

impl Examine for MergeChecker {
    type Finding = Answer;

    fn passes_over(&self, record: &SealedRecord) -> bool {
        if !self.shard.holds(&record.id) {
            return true;
        }
        let may_change = self.marks.as_ref().is_some_and(|marks| marks.notice(record));
        let asks_new = self.check == MergeCheck::Fast && !self.keys.is_empty();
        if asks_new && Peek::at(&record.envelope).needs_own_argon2() {
            self.unasked.fetch_add(1, Relaxed);
        }
        !may_change && !self.asks(record)
    }

    fn reads_heads(&self) -> bool {
        self.bodies == BodyCheck::Matching
            && self.marks.as_ref().is_none_or(|marks| marks.ignores_v3())
    }

    fn decide(
        &self,
        heads: &[RecordHead],
        memory: &mut KdfMemory,
    ) -> Result<Vec<ByHead<Answer>>, ScanError> {
        let mut answers: Vec<_> = heads
            .iter()
            .map(
                |head| if self.shard.holds(&head.id) { ByHead::Needed } else { ByHead::PassedOver },
            )
            .collect();
        if self.check == MergeCheck::Off || self.keys.is_empty() {
            // Only records of other formats are looked at, for their forms.
            for (answer, head) in answers.iter_mut().zip(heads) {
                if StoredHeader::at(head.head.as_bytes()).is_some() {
                    *answer = ByHead::PassedOver;
                }
            }
            return Ok(answers);
        }
        let is_of_shard = |head: &RecordHead| self.shard.holds(&head.id);
        let deciding = Deciding::of(heads, is_of_shard, &self.keys.iter(), &self.policy);
        let open = deciding.open_under(self.keys.iter(), memory)?;
        for (&place, opens) in deciding.places().iter().zip(open) {
            let answer = if opens { Answer::Opens } else { Answer::Not(None) };
            answers[place] = ByHead::Decided(Some(answer));
        }
        self.tally.count(deciding.headers());
        Ok(answers)
    }

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Answer>, ScanError> {
        if let Some(marks) = &self.marks {
            let asks = |record: &&SealedRecord| marks.asks(record);
            let of_these: Vec<_> = records.iter().filter(asks).collect();
            marks.try_on(&of_these, &self.old, memory)?;
        }
        let mut answers: Vec<_> = records.iter().map(|_| Answer::Unasked).collect();
        let (asked, places): (Vec<_>, Vec<_>) =
            records.iter().zip(&mut answers).filter(|(record, _)| self.asks(record)).unzip();
        for (place, answer) in places.into_iter().zip(self.try_new(&asked, memory)?) {
            *place = answer;
        }
        Ok(answers)
    }
}

impl MergeChecker {
    /// Whether the new passwords are tried on a record.
    fn asks(&self, record: &SealedRecord) -> bool {
        match self.check {
            _ if self.keys.is_empty() => false,
            MergeCheck::Off => false,
            MergeCheck::Fast => !Peek::at(&record.envelope).needs_own_argon2(),
            MergeCheck::Full => {
                !Peek::at(&record.envelope).needs_own_argon2()
                    || !self.tested.holds(self.mark(record))
            }
        }
    }

    fn try_new(
        &self,
        records: &[&SealedRecord],
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
        let bound = records.iter().map(|record| record.bound_to());
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
