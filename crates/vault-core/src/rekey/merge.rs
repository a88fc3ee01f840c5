//! Asks the vault, before the first write, whether the new passwords open records already.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    plan::{MergeCheck, Shard},
    seek::is_dear,
    tested::{Mark, Question, Tested},
};
use crate::{
    EngineError, Envelope, KdfMemory, OpenOutcome, OpenPolicy, SealedRecord, VaultKey, check,
    scan::Examine,
};

/// What a record says to the new passwords.
pub(super) enum Answer {
    /// One of them opens it.
    Opens,
    /// None does, or nobody can; what is marked is not asked again by a run that resumes.
    Not(Option<Mark>),
}

pub(super) struct Asker {
    pub(super) keys: Vec<Arc<VaultKey>>,
    pub(super) policy: OpenPolicy,
    pub(super) check: MergeCheck,
    pub(super) shard: Shard,
    pub(super) tested: Arc<Tested>,
    /// Records that were not asked because the answer would have cost an Argon2id.
    pub(super) unasked: AtomicU64,
}

impl Examine for Asker {
    type Finding = Answer;

    fn passes_over(&self, record: &SealedRecord) -> bool {
        if !self.shard.holds(&record.id) {
            return true;
        }
        let dear = is_dear(&record.envelope);
        if dear && self.check != MergeCheck::Whole {
            self.unasked.fetch_add(1, Relaxed);
            return true;
        }
        dear && self.tested.holds(self.mark(record))
    }

    fn examine(&self, record: SealedRecord, memory: &mut KdfMemory) -> Result<Answer, EngineError> {
        let mark = is_dear(&record.envelope).then(|| self.mark(&record));
        let Ok(envelope) = Envelope::parse(&record.envelope) else { return Ok(Answer::Not(None)) };
        let Ok(checked) = check(&envelope, &self.policy) else { return Ok(Answer::Not(None)) };
        for key in &self.keys {
            if let OpenOutcome::Opened(_) = checked.open(key, &record.id, memory)? {
                return Ok(Answer::Opens);
            }
        }
        Ok(Answer::Not(mark))
    }
}

impl Asker {
    fn mark(&self, record: &SealedRecord) -> Mark {
        self.tested.mark(Question::New, &record.id, &record.envelope)
    }
}
