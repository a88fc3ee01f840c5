//! Which records a rekey would mark: written in another form than they have, while others keep it.
//!
//! A form is what anybody reads off a stored text: the format, and for v3 suite, cost and salt. If
//! a run takes some records of a form to another one and leaves others, anyone who takes the
//! database can tell the two apart, and that the first share a password.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::plan::MergeCheck;
use crate::crypto::envelope::{Envelope, Format, Peek, V2Params};
use crate::crypto::kdf::KdfMemory;
use crate::crypto::key::PasswordKey;
use crate::crypto::reseal::{Form, Reseal, Target};
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::{OpenOutcome, Present, Rejected, check_all, open_all};
use crate::scan::error::ScanError;
use crate::scan::problem::MAX_PROBLEMS;
use vault_store::{RecordId, SealedRecord};

/// How many forms are distinguished; a hostile vault must not fill memory with them.
const MAX_FORMS: usize = 1000;

/// Records that would be, or were, written in a form that tells them from others.
///
/// Exhaustive on purpose: there is nothing else to say of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Why they are not written as they are.
    pub reason: MarkReason,
    /// How many.
    pub records: u64,
}

/// Why a record is written in another form than it has.
///
/// Exhaustive on purpose: a report has to name each reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkReason {
    /// It is of v1, which is never written.
    V1,
    /// It is a v2 whose cost is below the floor of what is written.
    BelowFloor,
    /// It is a v2 whose text has line breaks or stray bits, which are never written.
    Spelling,
    /// The plan asks for another form.
    Asked,
    /// The plan upgrades the vault, and none of its passwords opens these records, which have
    /// another form.
    Left,
    /// The plan asks for another form, and as that would take an Argon2id per record, it is not
    /// known which of these v2 records open under an old password.
    NotTried,
}

/// The marks of a run, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub Vec<Mark>);

impl Marks {
    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, reason: MarkReason) -> u64 {
        self.0.iter().filter(|mark| mark.reason == reason).map(|mark| mark.records).sum()
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not_written = [
            (self.of(MarkReason::V1), "v1"),
            (self.of(MarkReason::BelowFloor), "v2 below the cost floor"),
            (self.of(MarkReason::Spelling), "v2 with line breaks or stray bits"),
        ];
        let sum: u64 = not_written.iter().map(|(count, _)| count).sum();
        let mut sentences = Vec::new();
        if sum > 0 {
            let parts = not_written.iter().filter(|(count, _)| *count > 0);
            let parts: Vec<_> = parts.map(|(count, of)| format!("{of}: {count}")).collect();
            let parts = parts.join(", ");
            sentences.push(format!("records of a form that is no longer written ({parts})"));
        }
        let asked = self.of(MarkReason::Asked);
        if asked > 0 {
            sentences.push(format!("records that are to get another form ({asked})"));
        }
        let left = self.of(MarkReason::Left);
        if left > 0 {
            sentences.push(format!(
                "records that no password opens, as the only ones of their form ({left})"
            ));
        }
        let not_tried = self.of(MarkReason::NotTried);
        if not_tried > 0 {
            sentences.push(format!(
                "v2 records that would get another form if the old password opens them ({not_tried})"
            ));
        }
        f.write_str(&sentences.join(", and "))
    }
}

/// Counts the forms of records, and which of them are to change.
pub(super) struct MarkTally {
    reseal: Reseal,
    policy: RunPolicy,
    check: MergeCheck,
    /// The v2 costs at which a v2 does not stay one.
    changing: Vec<V2Params>,
    /// Counts, for an upgrade, what is left in another form.
    upgrades: bool,
    left: Mutex<(u64, Vec<RecordId>)>,
    seen: Mutex<HashMap<Option<Form>, Seen>>,
}

#[derive(Default)]
struct Seen {
    records: u64,
    changed: HashMap<MarkReason, u64>,
}

impl MarkTally {
    pub(super) fn new(reseal: Reseal, policy: RunPolicy, check: MergeCheck) -> Self {
        let limits = policy.policy().limits;
        let stays = |cost: &V2Params| {
            Form::written(&reseal.target(&Present::V2(Some(*cost)), &limits)) == Form::V2
        };
        let costs = &policy.policy().v2_costs;
        let changing: Vec<_> = costs.iter().filter(|cost| !stays(cost)).copied().collect();
        let left = Mutex::default();
        Self { reseal, policy, check, changing, upgrades: false, left, seen: Mutex::default() }
    }

    /// Counts, for an upgrade, what is left in another form.
    pub(super) fn upgrading(self, upgrades: bool) -> Self {
        Self { upgrades, ..self }
    }

    /// Returns the first records that are left.
    pub(super) fn left(&self) -> Vec<RecordId> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn count_left(&self, record: &SealedRecord) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.0 += 1;
        if left.1.len() < MAX_PROBLEMS {
            left.1.push(record.id.clone());
        }
    }

    /// Whether v3 records are left out, because they keep their form.
    pub(super) fn ignores_v3(&self) -> bool {
        self.reseal.keeps_v3()
    }

    /// Counts a record, and returns whether the old passwords are to be tried on it.
    pub(super) fn notice(&self, record: &SealedRecord) -> bool {
        let Some(form) = self.form(record) else { return false };
        self.count(form, |seen| seen.records += 1);
        let may_change = self.may_change(form);
        let tries = may_change && self.tries(form);
        if may_change && !tries {
            self.count_change(form, MarkReason::NotTried);
        }
        tries
    }

    /// Returns whether the old passwords are to be tried on a record.
    pub(super) fn asks(&self, record: &SealedRecord) -> bool {
        self.form(record).is_some_and(|form| self.may_change(form) && self.tries(form))
    }

    /// Returns the form of a record; `None` if it is no envelope, or is known to stay what it is.
    fn form(&self, record: &SealedRecord) -> Option<Form> {
        // Most records are, and stay, v3.
        if self.reseal.keeps_v3() && is_v3(record) { None } else { Form::of(&record.envelope) }
    }

    /// Returns whether a record of this form is written in another one if an old password opens it.
    fn may_change(&self, form: Form) -> bool {
        match form {
            // Only an upgrade has to know of those that no password may be tried on.
            Form::V1 => self.policy.policy().allow_v1 || self.upgrades,
            Form::V2 => !self.changing.is_empty(),
            Form::OddV2 => true,
            Form::V3 { kdf, padding } => {
                Form::written(&self.target(&Present::V3 { kdf, padding })) != form
            }
        }
    }

    /// Returns whether opening it is cheap enough, or asked for. What is below the floor costs
    /// little, and an odd spelling is rare.
    fn tries(&self, form: Form) -> bool {
        form != Form::V2
            || self.upgrades
            || self.only_below_floor()
            || self.check == MergeCheck::Full
    }

    /// Tries the old passwords on records that may change.
    pub(super) fn try_on(
        &self,
        records: &[&SealedRecord],
        keys: &[Arc<PasswordKey>],
        memory: &mut KdfMemory,
    ) -> Result<(), ScanError> {
        let forms: Vec<_> = records.iter().map(|record| Form::of(&record.envelope)).collect();
        // A v2 that would stay one need not be opened; one with another spelling changes anyway.
        let of_form = |odd: bool| move |form: &Option<Form>| (*form == Some(Form::OddV2)) == odd;
        for (policy, belongs) in [
            (self.policy.with_v2_costs(self.changing.clone()), of_form(false)),
            (self.policy.clone(), of_form(true)),
        ] {
            let of_these: Vec<_> =
                records.iter().zip(&forms).filter(|(_, form)| belongs(form)).collect();
            let parsed: Vec<_> =
                of_these.iter().map(|(record, _)| Envelope::parse(&record.envelope)).collect();
            let bound = of_these.iter().map(|(record, _)| record.bound_to());
            let (mut candidates, unopenable) = check_all(&parsed, bound, &policy);
            for (index, why) in unopenable.into_iter().filter(|_| self.upgrades) {
                // What is unsound is nobody's.
                if matches!(why, Rejected::NotTried(_)) {
                    self.count_left(of_these[index].0);
                }
            }
            for key in keys {
                for (candidate, outcome) in open_all(&mut candidates, key, memory)? {
                    if let (OpenOutcome::Opened(_), Some(form)) =
                        (outcome, *of_these[candidate.index].1)
                    {
                        self.count_if_changed(form, &candidate.checked.present(candidate.v2_cost));
                    }
                }
            }
            for candidate in candidates.iter().filter(|_| self.upgrades) {
                self.count_left(of_these[candidate.index].0);
            }
        }
        Ok(())
    }

    /// Counts records that a rehearsal sees. It foretells what the check of the rekey will find, so
    /// it leaves open what that does not try.
    pub(super) fn count_forms(&self, records: &[SealedRecord]) {
        for record in records {
            self.notice(record);
        }
    }

    /// Counts a record that an old password opened as this.
    pub(super) fn count_opened(&self, record: &SealedRecord, present: &Present) {
        if let Some(form) = self.form(record).filter(|form| self.tries(*form)) {
            self.count_if_changed(form, present);
        }
    }

    fn count_if_changed(&self, form: Form, present: &Present) {
        let target = self.target(present);
        if Form::written(&target) == form {
            return;
        }
        let floor = &self.policy.policy().limits.floor;
        self.count_change(
            form,
            match (form, present) {
                (Form::V1, _) => MarkReason::V1,
                (_, Present::V2(Some(cost))) if floor.allow(cost.params()).is_err() => {
                    MarkReason::BelowFloor
                }
                (Form::OddV2, _) => MarkReason::Spelling,
                _ => MarkReason::Asked,
            },
        );
    }

    /// Returns what tells the records that are to change from those that are left.
    pub(super) fn marks(&self) -> Marks {
        if self.upgrades {
            let records = self.left.lock().unwrap_or_else(PoisonError::into_inner).0;
            let left = Mark { reason: MarkReason::Left, records };
            return Marks(Some(left).into_iter().filter(|mark| mark.records > 0).collect());
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums: HashMap<MarkReason, u64> = HashMap::new();
        for Seen { records, changed } in seen.values() {
            let known = changed.iter().filter(|(reason, _)| **reason != MarkReason::NotTried);
            let leaves_some = known.map(|(_, count)| count).sum::<u64>() < *records;
            for (reason, count) in changed.iter().filter(|_| leaves_some) {
                *sums.entry(*reason).or_default() += count;
            }
        }
        let mut marks: Vec<_> =
            sums.into_iter().map(|(reason, records)| Mark { reason, records }).collect();
        marks.sort_by_key(|mark| mark.reason);
        Marks(marks)
    }

    fn target(&self, present: &Present) -> Target {
        self.reseal.target(present, &self.policy.policy().limits)
    }

    fn only_below_floor(&self) -> bool {
        let floor = &self.policy.policy().limits.floor;
        self.changing.iter().all(|cost| floor.allow(cost.params()).is_err())
    }

    fn count_change(&self, form: Form, reason: MarkReason) {
        self.count(form, |seen| *seen.changed.entry(reason).or_default() += 1);
    }

    fn count(&self, form: Form, add: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.len() < MAX_FORMS || seen.contains_key(&Some(form));
        add(seen.entry(Some(form).filter(|_| known)).or_default());
    }
}

fn is_v3(record: &SealedRecord) -> bool {
    Peek::at(&record.envelope).format() == Format::V3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named_with_its_number() {
        let mark = |reason, records| Mark { reason, records };
        let marks = Marks(vec![
            mark(MarkReason::V1, 3),
            mark(MarkReason::Spelling, 1),
            mark(MarkReason::Asked, 4),
            mark(MarkReason::NotTried, 5),
        ]);
        assert_eq!(
            marks.to_string(),
            "records of a form that is no longer written (v1: 3, v2 with line breaks or stray bits: 1), and records that \
             are to get another form (4), and v2 records that would get another form if the old password opens them (5)"
        );
    }
}
