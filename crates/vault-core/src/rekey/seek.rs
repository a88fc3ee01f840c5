//! Which records a pass looks at, and what it remembers of them.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    examine::{Finding, Rekeyer},
    plan::Shard,
    sealing::Sealing,
    tested::{Mark, Question, Tested},
};
use crate::{
    EngineError, EnvelopeText, KdfMemory, RecordId, Replacement, SealedRecord, scan::Examine,
};

/// Whether a run must know each record that it moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chains {
    /// No new password is an old one as well: a moved record opens under no old password.
    No,
    /// Pairs like `a -> b, b -> c`: what was moved to `b` must not be moved on.
    Yes,
}

/// A record, looked at.
pub(super) struct Seen {
    pub(super) id: RecordId,
    pub(super) finding: Finding,
    /// How it is sealed; `None` where it is no sound envelope.
    pub(super) sealing: Option<Sealing>,
    /// To be remembered, once the page is settled.
    pub(super) mark: Option<Mark>,
    /// Whether the last pass left its outcome open, so that this one counts it.
    pub(super) due: bool,
}

/// Tries the passwords on the records of a shard that were not tried before.
pub(super) struct Seeker {
    pub(super) rekeyer: Rekeyer,
    pub(super) tested: Arc<Tested>,
    pub(super) shard: Shard,
    pub(super) chains: Chains,
    /// Left open by the last pass; `None` in the first.
    pub(super) due: RwLock<Option<HashSet<RecordId>>>,
}

impl Examine for Seeker {
    type Finding = Seen;

    fn passes_over(&self, record: &SealedRecord) -> bool {
        if !self.shard.holds(&record.id) {
            return true;
        }
        match self.chains {
            Chains::No => self.mark_if_dear(record).is_some_and(|mark| self.tested.holds(mark)),
            // What a writer put under a new password that is also an old one looks like what is to be moved.
            Chains::Yes => {
                let due = self.due.read().unwrap_or_else(PoisonError::into_inner);
                due.as_ref().is_some_and(|due| !due.contains(&record.id))
            }
        }
    }

    fn examine(&self, record: SealedRecord, memory: &mut KdfMemory) -> Result<Seen, EngineError> {
        let id = record.id.clone();
        let sealing = Sealing::of(&record.envelope);
        let due = self.due.read().unwrap_or_else(PoisonError::into_inner);
        let due = due.as_ref().is_some_and(|due| due.contains(&id));
        if self.was_moved(&record) {
            let finding = Finding::Matches;
            return Ok(Seen { id, finding, sealing: Some(sealing), mark: None, due });
        }
        let mark = (self.chains == Chains::No).then(|| self.mark_if_dear(&record)).flatten();
        let finding = self.rekeyer.examine(record, memory)?;
        Ok(Seen {
            id,
            sealing: (!matches!(finding, Finding::Problem(..))).then_some(sealing),
            mark: mark.filter(|_| matches!(finding, Finding::OtherPassword)),
            due,
            finding,
        })
    }
}

impl Seeker {
    /// What to remember of a record that this run writes; `None` where trying it again costs nothing and does no harm.
    pub(super) fn mark_of_written(&self, replacement: &Replacement) -> Option<Mark> {
        let (id, sealed) = (&replacement.id, &replacement.sealed);
        (self.chains == Chains::Yes || is_dear(sealed))
            .then(|| self.tested.mark(Question::Old, id, sealed))
    }

    /// Written by the run that this one resumes, in a page that was announced and never reported.
    fn was_moved(&self, record: &SealedRecord) -> bool {
        self.chains == Chains::Yes
            && self.tested.holds(self.tested.mark(Question::Old, &record.id, &record.envelope))
    }

    fn mark_if_dear(&self, record: &SealedRecord) -> Option<Mark> {
        is_dear(&record.envelope)
            .then(|| self.tested.mark(Question::Old, &record.id, &record.envelope))
    }
}

/// Whether trying a password costs an Argon2id for this record alone.
pub(super) fn is_dear(text: &EnvelopeText) -> bool {
    text.as_bytes().is_some_and(|text| text.starts_with(b"v2:"))
}
