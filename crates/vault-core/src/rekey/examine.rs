//! Tries the passwords of a plan on one record, and seals it anew if an old one opens it.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::report::ProblemKind;
use crate::{
    Checked, EngineError, Envelope, Format, KdfMemory, Malformed, OpenOutcome, OpenPolicy,
    Plaintext, RecordId, Replacement, SealError, SealSpec, SealedRecord, Unopenable, V2Cost,
    VaultKey, check, open, scan::Examine, seal,
};

/// An old password's key and the new one's.
pub(crate) struct Pair {
    pub(crate) old: Arc<VaultKey>,
    pub(crate) new: Arc<VaultKey>,
}

/// What is to become of a record.
pub(crate) enum Finding {
    /// To be written, once the store agrees.
    Reseal(Replacement),
    /// Opens under an old password; a dry run goes no further.
    Matches,
    OtherPassword,
    AlreadyNew,
    Problem(RecordId, ProblemKind),
    /// Opens, but its value is too long for the format to write.
    TooLong,
}

pub(crate) struct Rekeyer {
    pairs: Vec<Pair>,
    policy: OpenPolicy,
    /// `None` is a dry run.
    write: Option<SealSpec>,
    /// What opens our own output: the one cost that is written, which need not be among those the caller reads with.
    check: OpenPolicy,
}

impl Examine for Rekeyer {
    type Finding = Finding;

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Finding>, EngineError> {
        records.into_iter().map(|record| self.examine_one(record, memory)).collect()
    }
}

impl Rekeyer {
    fn examine_one(
        &self,
        record: SealedRecord,
        memory: &mut KdfMemory,
    ) -> Result<Finding, EngineError> {
        let envelope = match Envelope::parse(&record.envelope) {
            Ok(envelope) => envelope,
            Err(malformed) => return Ok(malformed_at(record.id, malformed)),
        };
        let checked = match check(&envelope, &self.policy) {
            Ok(checked) => checked,
            Err(Unopenable::Damaged) => {
                return Ok(Finding::Problem(record.id, ProblemKind::Damaged));
            }
            Err(Unopenable::Malformed(malformed)) => return Ok(malformed_at(record.id, malformed)),
        };
        for pair in &self.pairs {
            match checked.open(&pair.old, &record.id, memory)? {
                OpenOutcome::Opened(value) => {
                    return self.reseal(record, &value, &pair.new, memory);
                }
                OpenOutcome::WrongPassword => {}
                OpenOutcome::Damaged => {
                    return Ok(Finding::Problem(record.id, ProblemKind::Damaged));
                }
                OpenOutcome::Malformed(malformed) => return Ok(malformed_at(record.id, malformed)),
            }
        }
        // An Argon2id per record only to tell "already new" from "other password" would double a v2 run.
        if envelope.format() != Format::V2 && self.opens_under_new(&checked, &record.id, memory)? {
            return Ok(Finding::AlreadyNew);
        }
        Ok(Finding::OtherPassword)
    }
}

impl Rekeyer {
    pub(crate) fn new(pairs: Vec<Pair>, policy: OpenPolicy, write: Option<SealSpec>) -> Self {
        let mut check = policy.clone();
        if let Some(SealSpec::V2 { params }) = write {
            check.v2_costs = vec![V2Cost::new(params)];
        }
        Self { pairs, policy, write, check }
    }

    fn opens_under_new(
        &self,
        checked: &Checked<'_>,
        id: &RecordId,
        memory: &mut KdfMemory,
    ) -> Result<bool, EngineError> {
        for pair in &self.pairs {
            if let OpenOutcome::Opened(_) = checked.open(&pair.new, id, memory)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Seals a value under the new password, opens what came out of it again and compares: promise 1.
    fn reseal(
        &self,
        record: SealedRecord,
        value: &Plaintext,
        new: &VaultKey,
        memory: &mut KdfMemory,
    ) -> Result<Finding, EngineError> {
        let Some(spec) = &self.write else { return Ok(Finding::Matches) };
        let sealed = match seal(value.as_bytes(), new, &record.id, spec, memory) {
            Ok(sealed) => sealed,
            Err(SealError::TooLarge) => return Ok(Finding::TooLong),
            Err(error) => return Err(error.into()),
        };
        let written = Envelope::parse(&sealed).map_err(|_| EngineError::SelfCheck)?;
        match open(&written, new, &record.id, &self.check, memory)? {
            OpenOutcome::Opened(again) if bool::from(again.as_bytes().ct_eq(value.as_bytes())) => {}
            _ => return Err(EngineError::SelfCheck),
        }
        Ok(Finding::Reseal(Replacement { id: record.id, expected: record.envelope, sealed }))
    }
}

fn malformed_at(id: RecordId, malformed: Malformed) -> Finding {
    Finding::Problem(id, ProblemKind::Malformed(malformed))
}
