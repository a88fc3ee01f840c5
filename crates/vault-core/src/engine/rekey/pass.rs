//! Which records a pass examines, and which tags it keeps.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    by_head::Deciding,
    examine::{Finding, Match, Rekeyer},
    kdf_tally::KdfTally,
    plan::BodyCheck,
    shard::Shard,
    tried::{Question, RecordTag, TriedSet},
};
use crate::crypto::envelope::Peek;
use crate::crypto::kdf::KdfMemory;
use crate::scan::envelope_kind::EnvelopeKind;
use crate::scan::error::ScanError;
use crate::scan::{ByHead, Examine};
use vault_store::{RecordHead, RecordId, Replacement, SealedRecord, UnreadableRow};

/// Whether a run must recognize each record that it moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chains {
    /// No new password is also an old one: a moved record opens under no old password.
    No,
    /// Pairs like `a -> b, b -> c`: what was moved to `b` must not be moved again.
    Yes,
}

/// An examined record.
pub(super) struct Seen {
    pub(super) id: RecordId,
    pub(super) finding: Finding,
    /// How it is sealed; `None` if it is not an intact envelope.
    pub(super) sealing: Option<EnvelopeKind>,
    /// The tag to keep once the page is committed.
    pub(super) mark: Option<RecordTag>,
    /// Whether the last pass left it unresolved, so that this one counts it.
    pub(super) due: bool,
}

/// Tries the passwords on the records of a shard that were not tried before.
pub(super) struct PassExaminer {
    pub(super) rekeyer: Rekeyer,
    /// For chained pairs, what a later pass moves: from the passwords that are not also new ones.
    pub(super) first: Option<Rekeyer>,
    pub(super) tested: Arc<TriedSet>,
    pub(super) shard: Shard,
    pub(super) chains: Chains,
    /// Counts the salts and costs of the records in the first pass, if nothing else does.
    pub(super) tally: Option<Arc<KdfTally>>,
    /// Unresolved by the last pass; `None` in the first.
    pub(super) due: RwLock<Option<HashSet<RecordId>>>,
    /// The last record of a pass that examines only part of the vault; `None` if it examines all of
    /// it.
    pub(super) until: RwLock<Option<RecordId>>,
    pub(super) bodies: BodyCheck,
}

impl Examine for PassExaminer {
    type Finding = Seen;

    /// Its name stands for the id that it does not have, so that one shard counts it.
    fn unreadable(&self, row: UnreadableRow) -> Option<Seen> {
        let id = RecordId::from_stored(row.name.as_str());
        self.shard.holds(&id).then_some(Seen {
            id,
            finding: Finding::Unreadable(row),
            sealing: None,
            mark: None,
            due: false,
        })
    }

    fn passes_over(&self, record: &SealedRecord) -> bool {
        if !self.shard.holds(&record.id) || self.is_beyond(&record.id) {
            return true;
        }
        match self.chains {
            Chains::No => self.mark_if_costly(record).is_some_and(|mark| self.tested.holds(mark)),
            // What a writer stored under a password that is both new and old looks like what is to
            // be moved.
            Chains::Yes => {
                self.catches_up_with(&record.id)
                    && (self.first.is_none() || self.was_moved(record) || self.is_of_none(record))
            }
        }
    }

    /// Chained pairs recognize what they moved by whole texts.
    fn reads_heads(&self) -> bool {
        self.bodies == BodyCheck::Matching
            && self.chains == Chains::No
            && self.rekeyer.may_read_heads()
    }

    /// A record that no old password opens stays as it is, whatever follows its head.
    fn decide(
        &self,
        heads: &[RecordHead],
        memory: &mut KdfMemory,
    ) -> Result<Vec<ByHead<Seen>>, ScanError> {
        let is_of_pass =
            |head: &RecordHead| self.shard.holds(&head.id) && !self.is_beyond(&head.id);
        let mut answers: Vec<_> = heads
            .iter()
            .map(|head| if is_of_pass(head) { ByHead::Needed } else { ByHead::PassedOver })
            .collect();
        let (old, new) = (self.rekeyer.old_keys(), self.rekeyer.new_keys());
        let all_keys = old.clone().chain(new.clone());
        let deciding = Deciding::of(heads, is_of_pass, &all_keys, self.rekeyer.run_policy());
        let matching = deciding.open_under(old, memory)?;
        let due = self.due.read().unwrap_or_else(PoisonError::into_inner);
        let is_due = |id| due.as_ref().is_some_and(|due| due.contains(id));
        // A later pass counts only what the one before left unresolved.
        let counts = |place: usize| due.is_none() || is_due(&heads[place].id);
        let is_new = if deciding.places().iter().copied().any(counts) {
            deciding.open_under(new, memory)?
        } else {
            vec![false; matching.len()]
        };
        let mut not_matching = Vec::new();
        let outcomes = matching.into_iter().zip(is_new);
        for ((&place, header), (matches, is_new)) in
            deciding.places().iter().zip(deciding.headers()).zip(outcomes)
        {
            let (answer, id) = (&mut answers[place], &heads[place].id);
            if matches {
                continue;
            }
            not_matching.push(header);
            let finding = if is_new { Finding::AlreadyNew } else { Finding::OtherPassword };
            *answer = ByHead::Decided(counts(place).then(|| Seen {
                id: id.clone(),
                finding,
                sealing: Some(EnvelopeKind::of_v3(header)),
                mark: None,
                due: is_due(id),
            }));
        }
        if let Some(tally) = &self.tally {
            tally.count(not_matching.into_iter());
        }
        Ok(answers)
    }

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Seen>, ScanError> {
        if let Some(tally) = &self.tally {
            tally.count_records(records.iter());
        }
        let looks: Vec<_> = records.iter().map(|record| self.look(record)).collect();
        let (mut all, mut first_only) = (Vec::new(), Vec::new());
        for (record, look) in records.into_iter().zip(&looks) {
            match look.known {
                Known::Moved | Known::OfNone => {}
                Known::FirstOnly => first_only.push(record),
                Known::Nothing => all.push(record),
            }
        }
        let mut all = self.rekeyer.examine(all, memory)?.into_iter();
        let first =
            self.first.as_ref().map(|first| first.examine(first_only, memory)).transpose()?;
        let mut first = first.unwrap_or_default().into_iter();
        let seen = looks.into_iter().map(|look| {
            let finding = match look.known {
                Known::Moved => Some(Finding::Matches(None)),
                Known::OfNone => Some(Finding::OtherPassword),
                Known::FirstOnly => first.next(),
                Known::Nothing => all.next(),
            };
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
    known: Known,
}

/// What is known of a record before its passwords are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// The run that this one resumes wrote it.
    Moved,
    /// None of the chained pairs opens it.
    OfNone,
    /// Written behind a pass of chained pairs: to be moved only from a password that is not also a
    /// new one.
    FirstOnly,
}

impl Look {
    fn found(self, finding: Finding) -> Seen {
        Seen {
            sealing: match &finding {
                Finding::Problem(..) | Finding::Unreadable(_) => None,
                // A stored v2 does not state its cost; it is known if the record was opened.
                Finding::Reseal(_, Match { v2_cost: cost @ Some(_), .. })
                | Finding::Matches(Some(Match { v2_cost: cost @ Some(_), .. })) => {
                    Some(EnvelopeKind { cost: *cost, ..self.sealing })
                }
                _ => Some(self.sealing),
            },
            mark: self.mark.filter(|_| {
                self.known == Known::Nothing && matches!(finding, Finding::OtherPassword)
            }),
            id: self.id,
            due: self.due,
            finding,
        }
    }
}

impl PassExaminer {
    /// Returns the tag of a record that this run writes; `None` if trying it again costs nothing
    /// and does no harm.
    pub(super) fn mark_of_written(&self, replacement: &Replacement) -> Option<RecordTag> {
        let (id, sealed) = (&replacement.id, &replacement.new);
        (self.chains == Chains::Yes || Peek::at(sealed).needs_own_argon2())
            .then(|| self.tested.mark(Question::Old, id, sealed))
    }

    fn look(&self, record: &SealedRecord) -> Look {
        let due = self.due.read().unwrap_or_else(PoisonError::into_inner);
        Look {
            id: record.id.clone(),
            sealing: EnvelopeKind::of(&record.envelope),
            mark: self.mark_if_costly(record),
            due: due.as_ref().is_some_and(|due| due.contains(&record.id)),
            known: self.known(record),
        }
    }

    fn known(&self, record: &SealedRecord) -> Known {
        if self.chains == Chains::No {
            Known::Nothing
        } else if self.was_moved(record) {
            Known::Moved
        } else if self.is_of_none(record) {
            Known::OfNone
        } else if self.catches_up_with(&record.id) {
            Known::FirstOnly
        } else {
            Known::Nothing
        }
    }

    /// Returns whether a later pass of chained pairs encounters this record, which the previous
    /// pass did not leave unresolved.
    fn catches_up_with(&self, id: &RecordId) -> bool {
        let due = self.due.read().unwrap_or_else(PoisonError::into_inner);
        due.as_ref().is_some_and(|due| !due.contains(id))
    }

    fn is_beyond(&self, id: &RecordId) -> bool {
        let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
        until.as_ref().is_some_and(|until| id > until)
    }

    fn is_of_none(&self, record: &SealedRecord) -> bool {
        Peek::at(&record.envelope).needs_own_argon2()
            && self.tested.holds(self.tested.mark(Question::Chain, &record.id, &record.envelope))
    }

    /// Written by the run that this one resumes, in a page that was announced but never reported.
    fn was_moved(&self, record: &SealedRecord) -> bool {
        self.chains == Chains::Yes
            && self.tested.holds(self.tested.mark(Question::Old, &record.id, &record.envelope))
    }

    fn mark_if_costly(&self, record: &SealedRecord) -> Option<RecordTag> {
        let question = match self.chains {
            Chains::No => Question::Old,
            // Those with the other question are what this run wrote.
            Chains::Yes => Question::Chain,
        };
        Peek::at(&record.envelope)
            .needs_own_argon2()
            .then(|| self.tested.mark(question, &record.id, &record.envelope))
    }
}
