//! Tries the passwords of a plan on a few records, and re-encrypts those that an old one opens.

use std::sync::Arc;

use super::marks::{MarkTally, Marks};
use super::pairs::Pair;
use super::plan::RekeyMode;
use crate::crypto::envelope::{Envelope, Format, V2Params};
use crate::crypto::kdf::{KdfMemory, KdfParams};
use crate::crypto::key::{PasswordKey, VerifyError};
use crate::crypto::policy::{NotTried, OpenPolicy};
use crate::crypto::reseal::{Form, Reseal, Target};
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::{
    Candidate, OpenOutcome, SealParams, check_all, open_all, seal_all, seal_all_as_v2,
};
use crate::crypto::secret::Plaintext;
use crate::scan::Examine;
use crate::scan::envelope_kind::EnvelopeKind;
use crate::scan::error::ScanError;
use crate::scan::problem::{ProblemKind, problem_of};
use vault_store::{EnvelopeText, RecordId, Replacement, SealedRecord, UnreadableRow};

/// What to do with a record.
pub(crate) enum Finding {
    /// Write it, if the store agrees.
    Reseal(Replacement, Match),
    /// It opens under an old password, and would be written; a dry run stops here. `None`: it was
    /// written by the run that this one resumes.
    Matches(Option<Match>),
    OtherPassword,
    AlreadyNew,
    NotTried(NotTried),
    Problem(RecordId, ProblemKind),
    /// An unreadable row.
    Unreadable(UnreadableRow),
    /// It opens, but its value is too long for the format to write.
    TooLong,
}

/// How a record opened, and how it is to be written.
#[derive(Clone, Copy)]
pub(crate) struct Match {
    /// The cost that opened it, for a v2.
    pub(crate) v2_cost: Option<KdfParams>,
    pub(crate) to: EnvelopeKind,
    /// The number of the pair whose old password opened it.
    pub(crate) pair: usize,
}

pub(crate) struct Rekeyer {
    pairs: Vec<Pair>,
    policy: RunPolicy,
    reseal: Reseal,
    mode: RekeyMode,
    /// Counts the forms of the records, if nothing did before.
    marks: Option<Arc<MarkTally>>,
    /// Leaves records alone that have the form to write.
    upgrades: bool,
}

impl Examine for Rekeyer {
    type Finding = Finding;

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Finding>, ScanError> {
        let verdicts = self.judge(&records, memory)?;
        let findings = records.into_iter().zip(verdicts);
        Ok(findings.map(|(record, verdict)| verdict.about(record)).collect())
    }
}

/// What to do with a record, without the record.
#[derive(Clone)]
enum Verdict {
    Reseal(EnvelopeText, Match),
    Matches(Match),
    OtherPassword,
    AlreadyNew,
    NotTried(NotTried),
    Problem(ProblemKind),
    TooLong,
}

impl Verdict {
    fn about(self, record: SealedRecord) -> Finding {
        let SealedRecord { id, envelope: expected, .. } = record;
        match self {
            Self::Reseal(new, how) => Finding::Reseal(Replacement { id, expected, new }, how),
            Self::Matches(how) => Finding::Matches(Some(how)),
            Self::OtherPassword => Finding::OtherPassword,
            Self::AlreadyNew => Finding::AlreadyNew,
            Self::NotTried(why) => Finding::NotTried(why),
            Self::Problem(kind) => Finding::Problem(id, kind),
            Self::TooLong => Finding::TooLong,
        }
    }
}

impl Rekeyer {
    pub(crate) fn new(
        pairs: Vec<Pair>,
        policy: RunPolicy,
        reseal: Reseal,
        mode: RekeyMode,
    ) -> Self {
        Self { pairs, policy, reseal, mode, marks: None, upgrades: false }
    }

    /// Counts which records would be marked.
    pub(super) fn counting_marks(self, marks: Option<Arc<MarkTally>>) -> Self {
        Self { marks, ..self }
    }

    /// Leaves records alone that have the form to write.
    pub(super) fn upgrading(self, upgrades: bool) -> Self {
        Self { upgrades, ..self }
    }

    /// Returns which records would be marked, if that is counted.
    pub(super) fn marks(&self) -> Option<(Marks, Vec<RecordId>)> {
        self.marks.as_ref().map(|marks| (marks.marks(), marks.left()))
    }

    /// Whether the heads of v3 records may decide that they stay as they are.
    pub(super) fn may_read_heads(&self) -> bool {
        !self.upgrades && self.marks.as_ref().is_none_or(|marks| marks.ignores_v3())
    }

    /// Returns how this run opens records.
    pub(super) fn run_policy(&self) -> &RunPolicy {
        &self.policy
    }

    /// Returns how records are opened.
    pub(super) fn policy(&self) -> &OpenPolicy {
        self.policy.policy()
    }

    /// Returns the keys of the old passwords.
    pub(super) fn old_keys(&self) -> impl Iterator<Item = &Arc<PasswordKey>> + Clone {
        self.pairs.iter().map(|pair| &pair.old)
    }

    /// The keys of the new passwords.
    pub(super) fn new_keys(&self) -> impl Iterator<Item = &Arc<PasswordKey>> + Clone {
        self.pairs.iter().map(|pair| &pair.new)
    }

    fn judge(
        &self,
        records: &[SealedRecord],
        memory: &mut KdfMemory,
    ) -> Result<Vec<Verdict>, ScanError> {
        let parsed: Vec<_> =
            records.iter().map(|record| Envelope::parse(&record.envelope)).collect();
        let bound = records.iter().map(SealedRecord::bound_to);
        let (mut untried, unopenable) = check_all(&parsed, bound, &self.policy);
        if let Some(marks) = &self.marks {
            marks.count_forms(records);
        }
        let mut verdicts = vec![Verdict::OtherPassword; records.len()];
        for (index, why) in unopenable {
            verdicts[index] = match problem_of(why) {
                Ok(problem) => Verdict::Problem(problem),
                Err(why) => Verdict::NotTried(why),
            };
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
                    OpenOutcome::NotTried(why) => {
                        verdicts[candidate.index] = Verdict::NotTried(why);
                    }
                }
            }
            if let Some(marks) = &self.marks {
                for (candidate, _) in &opened {
                    let present = candidate.checked.present(candidate.v2_cost);
                    marks.count_opened(&records[candidate.index], &present);
                }
            }
            if self.upgrades {
                opened.retain(|(candidate, _)| {
                    let is = Form::of(&records[candidate.index].envelope);
                    let is_written = is == Some(Form::written(&self.target(candidate)));
                    if is_written {
                        verdicts[candidate.index] = Verdict::AlreadyNew;
                    }
                    !is_written
                });
            }
            self.reseal(&opened, pair, &mut verdicts, memory)?;
        }
        // An Argon2id per record only to distinguish "already new" from "other password" would
        // double a v2 run.
        untried.retain(|candidate| candidate.checked.format() != Format::V2);
        if !self.upgrades {
            self.find_already_new(untried, &mut verdicts, memory)?;
        }
        Ok(verdicts)
    }

    fn find_already_new(
        &self,
        mut untried: Vec<Candidate<'_>>,
        verdicts: &mut [Verdict],
        memory: &mut KdfMemory,
    ) -> Result<(), ScanError> {
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

    /// Seals values under the new password, reopens the results and compares: guarantee 1.
    fn reseal(
        &self,
        opened: &[(Candidate<'_>, Plaintext)],
        pair: &Pair,
        verdicts: &mut [Verdict],
        memory: &mut KdfMemory,
    ) -> Result<(), ScanError> {
        let mut targets: Vec<Target> = Vec::new();
        let of: Vec<_> = opened.iter().map(|(candidate, _)| self.target(candidate)).collect();
        for target in of.iter().filter(|_| self.mode == RekeyMode::Apply) {
            if targets.contains(target) {
                continue;
            }
            targets.push(*target);
            let same = opened.iter().zip(&of).filter(|(_, of)| *of == target);
            let same: Vec<_> = same.map(|(opened, _)| opened).collect();
            self.reseal_as(&same, pair, target, verdicts, memory)?;
        }
        if self.mode == RekeyMode::DryRun {
            for ((candidate, _), target) in opened.iter().zip(&of) {
                verdicts[candidate.index] = Verdict::Matches(pair.matched(candidate, target));
            }
        }
        Ok(())
    }

    fn target(&self, candidate: &Candidate<'_>) -> Target {
        let present = candidate.checked.present(candidate.v2_cost);
        self.reseal.target(&present, &self.policy().limits)
    }

    /// For those that are sealed the same way.
    fn reseal_as(
        &self,
        opened: &[&(Candidate<'_>, Plaintext)],
        pair: &Pair,
        target: &Target,
        verdicts: &mut [Verdict],
        memory: &mut KdfMemory,
    ) -> Result<(), ScanError> {
        let new = &*pair.new;
        let values: Vec<_> = opened
            .iter()
            .map(|(candidate, value)| (value.as_bytes(), candidate.bound_to))
            .collect();
        let sealed = match target {
            Target::V2(cost) => seal_all_as_v2(&values, new, cost, memory)?,
            Target::Spec(spec) => {
                if let SealParams::V3 { kdf, .. } = spec {
                    // Of the vault's own salt, that was done before the first record.
                    new.verify_once(kdf, memory).map_err(|error| match error {
                        VerifyError::Kdf(error) => ScanError::Kdf(error),
                        VerifyError::Mismatch => ScanError::VerificationFailed,
                    })?;
                }
                seal_all(&values, new, spec, memory)?
            }
        };
        let mut written = Vec::with_capacity(opened.len());
        for ((candidate, value), sealed) in opened.iter().zip(sealed) {
            match sealed {
                Some(sealed) => written.push((candidate, value, sealed)),
                None => verdicts[candidate.index] = Verdict::TooLong,
            }
        }
        check_sealed(&written, new, &self.check(target), memory)?;
        for (candidate, _, sealed) in written {
            verdicts[candidate.index] = Verdict::Reseal(sealed, pair.matched(candidate, target));
        }
        Ok(())
    }

    /// What opens our own output: the one cost that is written, which need not be among those the
    /// caller reads with.
    fn check(&self, target: &Target) -> RunPolicy {
        let v2_costs = match target {
            Target::V2(cost) => vec![*cost],
            Target::Spec(spec) => vec![V2Params::new(spec.params())],
        };
        RunPolicy::of_own_output(OpenPolicy { v2_costs, ..self.policy().clone() })
    }
}

impl Pair {
    fn matched(&self, candidate: &Candidate<'_>, target: &Target) -> Match {
        Match {
            v2_cost: candidate.v2_cost.map(|cost| *cost.params()),
            to: kind_of(target),
            pair: self.number,
        }
    }
}

fn kind_of(target: &Target) -> EnvelopeKind {
    match target {
        Target::Spec(spec) => EnvelopeKind::written(spec),
        Target::V2(cost) => EnvelopeKind { format: Format::V2, cost: Some(*cost.params()) },
    }
}

/// Starts from the texts, so that nothing about the sealing is taken for granted.
fn check_sealed(
    written: &[(&Candidate<'_>, &Plaintext, EnvelopeText)],
    new: &PasswordKey,
    check: &RunPolicy,
    memory: &mut KdfMemory,
) -> Result<(), ScanError> {
    let parsed: Vec<_> = written.iter().map(|(_, _, text)| Envelope::parse(text)).collect();
    let bound = written.iter().map(|(candidate, _, _)| candidate.bound_to);
    let (mut candidates, _) = check_all(&parsed, bound, check);
    let mut same = 0;
    for (candidate, outcome) in open_all(&mut candidates, new, memory)? {
        let (_, value, _) = &written[candidate.index];
        // neither is a guess, so an ordinary comparison reveals nothing
        if let OpenOutcome::Opened(again) = outcome
            && again.as_bytes() == value.as_bytes()
        {
            same += 1;
        }
    }
    if same == written.len() { Ok(()) } else { Err(ScanError::VerificationFailed) }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use std::sync::Arc;

    use super::*;
    use crate::crypto::envelope::Padding;
    use crate::crypto::kdf::{KdfLimits, KdfParams, KdfSetting, Salt};
    use crate::crypto::seal::{check, open, seal};
    use crate::crypto::secret::Password;
    use vault_store::BoundTo;
    use vault_store::Token;

    const PASSWORDS: [&str; 5] = ["old 1", "new 1", "old 2", "new 2", "of another user"];

    /// A v1 text of the Go package, and its password.
    fn v1() -> (EnvelopeText, Password) {
        let vectors: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../../../tests/golden/v1.json")).unwrap();
        let hex = vectors[1]["password_hex"].as_str().unwrap().as_bytes();
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
        let password: Vec<u8> =
            hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        let text = vectors[1]["text"].as_str().unwrap().as_bytes();
        (EnvelopeText::from_stored(text), Password::new(password))
    }

    fn kdf(m_cost: u32) -> KdfSetting {
        let salt = Salt::from_bytes([m_cost.to_le_bytes()[0]; Salt::LEN]);
        KdfSetting { params: KdfParams::new(m_cost, 1, 1).unwrap(), salt }
    }

    fn spec() -> impl Strategy<Value = SealParams> {
        let v3 = |padding| [8, 9, 64].map(|m| SealParams::V3 { kdf: kdf(m), padding });
        let v2 = SealParams::V2 { params: kdf(8).params };
        select([&v3(Padding::None)[..], &v3(Padding::Padme), &[v2]].concat())
    }

    /// What happened to a record since it was sealed.
    #[derive(Clone, Debug)]
    enum Fate {
        Sound,
        Moved,
        Changed(prop::sample::Index, u8),
        Cut(prop::sample::Index),
        Replaced(Vec<u8>),
        V1,
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            8 => Just(Fate::Sound),
            1 => Just(Fate::Moved),
            2 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Fate::Changed(at, to)),
            1 => any::<prop::sample::Index>().prop_map(Fate::Cut),
            1 => "(v[0-9]:)?[A-Za-z0-9_-]{0,200}".prop_map(|text| Fate::Replaced(text.into())),
            1 => Just(Fate::V1),
        ]
    }

    type Made = (SealParams, usize, Vec<u8>, Fate);

    fn record(
        number: usize,
        (spec, password, value, fate): Made,
        keys: &[Arc<PasswordKey>],
    ) -> SealedRecord {
        let id = RecordId::from_stored(format!("{number}"));
        let sealed_for = match fate {
            Fate::Moved => RecordId::from_stored("another"),
            _ => id.clone(),
        };
        let token = Token::from_stored(format!("tk_{number}"));
        let bound_to = BoundTo { id: &sealed_for, token: &token };
        let sealed = seal(&value, &keys[password], bound_to, &spec, &mut KdfMemory::new()).unwrap();
        let mut text = sealed.as_bytes().unwrap().to_vec();
        match fate {
            Fate::Sound | Fate::Moved => {}
            Fate::Changed(at, to) => {
                let at = at.index(text.len());
                text[at] = to;
            }
            Fate::Cut(at) => text.truncate(at.index(text.len())),
            Fate::Replaced(bytes) => text = bytes,
            Fate::V1 => text = v1().0.as_bytes().unwrap().to_vec(),
        }
        SealedRecord { id, token, envelope: EnvelopeText::from_stored(text) }
    }

    /// The verdict on a record by the single-record functions, in the specified order.
    fn one_by_one(
        rekeyer: &Rekeyer,
        record: &SealedRecord,
    ) -> (Verdict, Option<(Target, Plaintext)>) {
        let mut memory = KdfMemory::new();
        let envelope = match Envelope::parse(&record.envelope) {
            Ok(envelope) => envelope,
            Err(malformed) => return (Verdict::Problem(ProblemKind::Malformed(malformed)), None),
        };
        let checked = match check(&envelope, rekeyer.policy()) {
            Ok(checked) => checked,
            Err(why) => {
                return (problem_of(why).map_or_else(Verdict::NotTried, Verdict::Problem), None);
            }
        };
        for (number, pair) in rekeyer.pairs.iter().enumerate() {
            let kind = match checked.open(&pair.old, record.bound_to(), &mut memory).unwrap() {
                OpenOutcome::Opened(value) => {
                    let target =
                        rekeyer.reseal.target(&checked.present(None), &rekeyer.policy().limits);
                    let how = Match { v2_cost: None, to: kind_of(&target), pair: number };
                    return (Verdict::Matches(how), Some((target, value)));
                }
                OpenOutcome::WrongPassword => continue,
                OpenOutcome::Damaged => ProblemKind::Damaged,
                OpenOutcome::Malformed(malformed) => ProblemKind::Malformed(malformed),
                OpenOutcome::NotTried(why) => return (Verdict::NotTried(why), None),
            };
            return (Verdict::Problem(kind), None);
        }
        let mut new = rekeyer.pairs.iter().map(|pair| &pair.new);
        let already_new = envelope.format() != Format::V2
            && new.any(|new| {
                let outcome = checked.open(new, record.bound_to(), &mut memory).unwrap();
                matches!(outcome, OpenOutcome::Opened(_))
            });
        (if already_new { Verdict::AlreadyNew } else { Verdict::OtherPassword }, None)
    }

    fn rekeyer(keys: &[Arc<PasswordKey>], write: Option<SealParams>) -> Rekeyer {
        let pair = |number, old: usize| Pair {
            number,
            old: Arc::clone(&keys[old]),
            new: Arc::clone(&keys[old + 1]),
        };
        let v1 = Pair { old: Arc::new(PasswordKey::new(v1().1)), ..pair(1, 0) };
        let limits = KdfLimits { max_m_kib: 63, ..OpenPolicy::trusting().limits };
        let v2_costs = vec![V2Params::new(kdf(8).params)];
        let policy = OpenPolicy { limits, v2_costs, ..OpenPolicy::trusting() };
        let spec = write.unwrap_or(SealParams::V2 { params: kdf(8).params });
        let mode = if write.is_some() { RekeyMode::Apply } else { RekeyMode::DryRun };
        let policy = RunPolicy::new(policy, [kdf(8)]);
        Rekeyer::new(vec![pair(0, 0), v1, pair(2, 2)], policy, Reseal::by_settings(spec), mode)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_group_finds_what_each_record_alone_would(
            made in vec((spec(), 0..PASSWORDS.len(), vec(any::<u8>(), 0..200), fate()), 0..40),
            write in proptest::option::of(spec()),
        ) {
            let keys = PASSWORDS.map(|password| Arc::new(PasswordKey::new(Password::new(password))));
            let records: Vec<_> = made
                .into_iter()
                .enumerate()
                .map(|(number, made)| record(number, made, &keys))
                .collect();
            // the cost above the limits is for reading only
            let write = write.filter(|spec| spec.params().m_cost() < 64);
            let rekeyer = rekeyer(&keys, write);
            let mut memory = KdfMemory::new();
            let together = rekeyer.judge(&records, &mut memory).unwrap();
            prop_assert_eq!(together.len(), records.len());
            for (record, found) in records.iter().zip(together) {
                let (expected, opened) = one_by_one(&rekeyer, record);
                match (found, expected, opened) {
                    (Verdict::Reseal(sealed, how), Verdict::Matches(Match { to, pair, .. }), Some((target, value))) => {
                        prop_assert!(write.is_some());
                        prop_assert_eq!((how.to, how.pair), (to, pair));
                        let envelope = Envelope::parse(&sealed).unwrap();
                        let new = &rekeyer.pairs[pair].new;
                        let (bound_to, check) = (record.bound_to(), rekeyer.check(&target));
                        let again = open(&envelope, new, bound_to, check.policy(), &mut memory).unwrap();
                        let is_same = matches!(&again, OpenOutcome::Opened(again) if again.as_bytes() == value.as_bytes());
                        prop_assert!(is_same, "{again:?}");
                    }
                    (Verdict::Matches(..), Verdict::Matches(..), Some(_)) => prop_assert!(write.is_none()),
                    (Verdict::OtherPassword, Verdict::OtherPassword, None)
                    | (Verdict::AlreadyNew, Verdict::AlreadyNew, None) => {}
                    (Verdict::Problem(found), Verdict::Problem(expected), None) => {
                        prop_assert_eq!(found, expected);
                    }
                    _ => prop_assert!(false, "record {} is judged another way", record.id),
                }
            }
        }
    }
}
