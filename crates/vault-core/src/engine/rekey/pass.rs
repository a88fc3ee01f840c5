//! Which records a pass looks at, and what it remembers of them.

use crate::scan::envelope_kind::EnvelopeKind;
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    examine::{Finding, Rekeyer},
    plan::Shard,
    tried::{Question, RecordTag, TriedSet},
};
use crate::crypto::kdf::KdfMemory;
use crate::scan::Examine;
use crate::scan::error::ScanError;
use vault_store::{EnvelopeText, RecordId, Replacement, SealedRecord};

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
    pub(super) sealing: Option<EnvelopeKind>,
    /// To be remembered, once the page is settled.
    pub(super) mark: Option<RecordTag>,
    /// Whether the last pass left its outcome open, so that this one counts it.
    pub(super) due: bool,
}

/// Tries the passwords on the records of a shard that were not tried before.
pub(super) struct PassExaminer {
    pub(super) rekeyer: Rekeyer,
    pub(super) tested: Arc<TriedSet>,
    pub(super) shard: Shard,
    pub(super) chains: Chains,
    /// Left open by the last pass; `None` in the first.
    pub(super) due: RwLock<Option<HashSet<RecordId>>>,
}

impl Examine for PassExaminer {
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

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Seen>, ScanError> {
        let looks: Vec<_> = records.iter().map(|record| self.look(record)).collect();
        let untried = records.into_iter().zip(&looks).filter(|(_, look)| !look.moved);
        let untried = untried.map(|(record, _)| record).collect();
        let mut findings = self.rekeyer.examine(untried, memory)?.into_iter();
        let seen = looks.into_iter().map(|look| {
            let finding = if look.moved { Some(Finding::Matches) } else { findings.next() };
            finding.map(|finding| look.found(finding)).ok_or(ScanError::InvariantViolated)
        });
        seen.collect()
    }
}

/// What is known of a record before its passwords are tried.
struct Look {
    id: RecordId,
    sealing: EnvelopeKind,
    mark: Option<RecordTag>,
    due: bool,
    /// Written by the run that this one resumes.
    moved: bool,
}

impl Look {
    fn found(self, finding: Finding) -> Seen {
        Seen {
            sealing: (!matches!(finding, Finding::Problem(..))).then_some(self.sealing),
            mark: self.mark.filter(|_| matches!(finding, Finding::OtherPassword)),
            id: self.id,
            due: self.due,
            finding,
        }
    }
}

impl PassExaminer {
    /// What to remember of a record that this run writes; `None` where trying it again costs nothing and does no harm.
    pub(super) fn mark_of_written(&self, replacement: &Replacement) -> Option<RecordTag> {
        let (id, sealed) = (&replacement.id, &replacement.sealed);
        (self.chains == Chains::Yes || needs_argon2(sealed))
            .then(|| self.tested.mark(Question::Old, id, sealed))
    }

    fn look(&self, record: &SealedRecord) -> Look {
        let due = self.due.read().unwrap_or_else(PoisonError::into_inner);
        Look {
            id: record.id.clone(),
            sealing: EnvelopeKind::of(&record.envelope),
            mark: (self.chains == Chains::No).then(|| self.mark_if_dear(record)).flatten(),
            due: due.as_ref().is_some_and(|due| due.contains(&record.id)),
            moved: self.was_moved(record),
        }
    }

    /// Written by the run that this one resumes, in a page that was announced and never reported.
    fn was_moved(&self, record: &SealedRecord) -> bool {
        self.chains == Chains::Yes
            && self.tested.holds(self.tested.mark(Question::Old, &record.id, &record.envelope))
    }

    fn mark_if_dear(&self, record: &SealedRecord) -> Option<RecordTag> {
        needs_argon2(&record.envelope)
            .then(|| self.tested.mark(Question::Old, &record.id, &record.envelope))
    }
}

/// Whether trying a password costs an Argon2id for this record alone.
pub(super) fn needs_argon2(text: &EnvelopeText) -> bool {
    text.as_bytes().is_some_and(|text| text.starts_with(b"v2:"))
}
