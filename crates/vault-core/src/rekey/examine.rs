//! Tries the passwords of a plan on a few records, and seals anew those that an old one opens.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::report::ProblemKind;
use crate::{
    Candidate, EngineError, Envelope, EnvelopeText, Format, KdfMemory, OpenOutcome, OpenPolicy,
    Plaintext, RecordId, Replacement, SealSpec, SealedRecord, V2Cost, VaultKey, check_all,
    open_all, scan::Examine, seal_all,
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
        let verdicts = self.judge(&records, memory)?;
        let findings = records.into_iter().zip(verdicts);
        Ok(findings.map(|(record, verdict)| verdict.about(record)).collect())
    }
}

/// What is to become of a record, without the record.
#[derive(Clone)]
enum Verdict {
    Reseal(EnvelopeText),
    Matches,
    OtherPassword,
    AlreadyNew,
    Problem(ProblemKind),
    TooLong,
}

impl Verdict {
    fn about(self, record: SealedRecord) -> Finding {
        let SealedRecord { id, envelope: expected } = record;
        match self {
            Self::Reseal(sealed) => Finding::Reseal(Replacement { id, expected, sealed }),
            Self::Matches => Finding::Matches,
            Self::OtherPassword => Finding::OtherPassword,
            Self::AlreadyNew => Finding::AlreadyNew,
            Self::Problem(kind) => Finding::Problem(id, kind),
            Self::TooLong => Finding::TooLong,
        }
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

    fn judge(
        &self,
        records: &[SealedRecord],
        memory: &mut KdfMemory,
    ) -> Result<Vec<Verdict>, EngineError> {
        let parsed: Vec<_> =
            records.iter().map(|record| Envelope::parse(&record.envelope)).collect();
        let ids = records.iter().map(|record| &record.id);
        let (mut untried, unopenable) = check_all(&parsed, ids, &self.policy);
        let mut verdicts = vec![Verdict::OtherPassword; records.len()];
        for (index, why) in unopenable {
            verdicts[index] = Verdict::Problem(why.into());
        }
        for pair in &self.pairs {
            let mut opened = Vec::new();
            for (candidate, outcome) in open_all(&mut untried, &pair.old, memory)? {
                match outcome {
                    OpenOutcome::Opened(value) => opened.push((candidate, value)),
                    OpenOutcome::WrongPassword => {}
                    OpenOutcome::Damaged => {
                        verdicts[candidate.index] = Verdict::Problem(ProblemKind::Damaged);
                    }
                    OpenOutcome::Malformed(malformed) => {
                        let kind = ProblemKind::Malformed(malformed);
                        verdicts[candidate.index] = Verdict::Problem(kind);
                    }
                }
            }
            self.reseal(&opened, &pair.new, &mut verdicts, memory)?;
        }
        // An Argon2id per record only to tell "already new" from "other password" would double a v2 run.
        untried.retain(|candidate| candidate.checked.format() != Format::V2);
        self.find_already_new(untried, &mut verdicts, memory)?;
        Ok(verdicts)
    }

    fn find_already_new(
        &self,
        mut untried: Vec<Candidate<'_>>,
        verdicts: &mut [Verdict],
        memory: &mut KdfMemory,
    ) -> Result<(), EngineError> {
        for pair in &self.pairs {
            let mut not_opened = Vec::new();
            for (candidate, outcome) in open_all(&mut untried, &pair.new, memory)? {
                match outcome {
                    OpenOutcome::Opened(_) => verdicts[candidate.index] = Verdict::AlreadyNew,
                    _ => not_opened.push(candidate),
                }
            }
            untried.append(&mut not_opened);
        }
        Ok(())
    }

    /// Seals values under the new password, opens what came out of it again and compares: promise 1.
    fn reseal(
        &self,
        opened: &[(Candidate<'_>, Plaintext)],
        new: &VaultKey,
        verdicts: &mut [Verdict],
        memory: &mut KdfMemory,
    ) -> Result<(), EngineError> {
        let Some(spec) = &self.write else {
            for (candidate, _) in opened {
                verdicts[candidate.index] = Verdict::Matches;
            }
            return Ok(());
        };
        let values: Vec<_> =
            opened.iter().map(|(candidate, value)| (value.as_bytes(), candidate.id)).collect();
        let sealed = seal_all(&values, new, spec, memory)?;
        let mut written = Vec::with_capacity(opened.len());
        for ((candidate, value), sealed) in opened.iter().zip(sealed) {
            match sealed {
                Some(sealed) => written.push((candidate, value, sealed)),
                None => verdicts[candidate.index] = Verdict::TooLong,
            }
        }
        self.check_sealed(&written, new, memory)?;
        for (candidate, _, sealed) in written {
            verdicts[candidate.index] = Verdict::Reseal(sealed);
        }
        Ok(())
    }

    /// From the texts on, so that nothing of the sealing is taken for granted.
    fn check_sealed(
        &self,
        written: &[(&Candidate<'_>, &Plaintext, EnvelopeText)],
        new: &VaultKey,
        memory: &mut KdfMemory,
    ) -> Result<(), EngineError> {
        let parsed: Vec<_> = written.iter().map(|(_, _, text)| Envelope::parse(text)).collect();
        let ids = written.iter().map(|(candidate, _, _)| candidate.id);
        let (mut candidates, _) = check_all(&parsed, ids, &self.check);
        let mut same = 0;
        for (candidate, outcome) in open_all(&mut candidates, new, memory)? {
            let (_, value, _) = &written[candidate.index];
            if let OpenOutcome::Opened(again) = outcome
                && bool::from(again.as_bytes().ct_eq(value.as_bytes()))
            {
                same += 1;
            }
        }
        if same == written.len() { Ok(()) } else { Err(EngineError::SelfCheck) }
    }
}
