//! What to rekey, and how.

use super::shard::Shard;
use super::state::RekeyState;
use crate::crypto::reseal::{Change, Reseal};
use crate::crypto::seal::SealParams;
use crate::crypto::secret::Password;
use crate::scan::options::RunOptions;

/// What to rekey, and how.
#[derive(Debug, Default)]
pub struct RekeyPlan {
    pub(super) pairs: Vec<(Password, Password)>,
    /// Passwords whose records are rewritten under the same one.
    pub(super) upgrades: Vec<Password>,
    pub(super) write: WriteAs,
    keeps: Keeps,
    pub(super) marking: Marking,
    pub(super) dry_run: RekeyMode,
    pub(super) merge: MergeCheck,
    pub(super) bodies: BodyCheck,
    pub(super) shard: Shard,
    pub(super) hooks: WriteHooks,
    pub(super) earlier_run: EarlierRun,
    pub(super) resume: Option<RekeyState>,
    pub(super) options: RunOptions,
}

/// Which form records are written in.
///
/// Exhaustive on purpose: a report has to name each choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteAs {
    /// Each record in the form in which it was found: format, and for v3 suite, cost and salt, for
    /// v2 the cost, key length and salt length that opened it. What is never written (v1, and v2
    /// below the cost floor) becomes what the vault's settings say.
    ///
    /// In any other form the moved records can be distinguished from the others, and that they
    /// share a password.
    #[default]
    AsItWas,
    /// As the vault's settings say, unless that is worse than what the record has: v1 and v2 get
    /// the vault's format, a v3 keeps its salt and its padding, and no cost is lowered.
    Vault,
    /// In this form.
    Spec(SealParams),
}

impl From<SealParams> for WriteAs {
    fn from(spec: SealParams) -> Self {
        Self::Spec(spec)
    }
}

impl WriteAs {
    /// Returns what a state stands for: a run that resumes it must write the same. The salt of a
    /// vault never changes.
    pub(super) fn name(&self) -> String {
        match self {
            Self::AsItWas => "as it was".to_owned(),
            Self::Vault => "vault".to_owned(),
            Self::Spec(SealParams::V3 { kdf, padding }) => format!("v3 {padding:?} {}", kdf.params),
            Self::Spec(SealParams::V2 { params }) => format!("v2 {params}"),
        }
    }
}

/// What records keep although the plan says in which form they are written.
#[derive(Clone, Copy, Debug, Default)]
struct Keeps {
    format: bool,
    cost: bool,
    salt: bool,
}

/// What to do where the records to move would be written in another form than others of theirs.
///
/// Exhaustive on purpose: a report has to name each choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marking {
    /// Ends with [`RekeyError::Marks`](crate::engine::rekey::RekeyError::Marks) before the first
    /// write.
    #[default]
    Refuse,
    /// Continues: the caller accepts that anyone who takes the database can tell them apart.
    Allow,
}

/// Whether a rekey writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RekeyMode {
    /// Write.
    #[default]
    Apply,
    /// Only count what would be rekeyed.
    DryRun,
}

/// How to ensure that the new password does not open any record yet.
///
/// Two groups of records that were merged under one password can never be told apart again. The
/// engine therefore checks before the first write, and ends the run with
/// [`RekeyError::Merge`](crate::engine::rekey::RekeyError::Merge) instead.
///
/// Exhaustive on purpose: a report has to name each choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeCheck {
    /// Checks every record for which this is cheap: v1 and v3, with one read of the vault; not v2,
    /// where it costs an Argon2id.
    #[default]
    Fast,
    /// Checks every record, including v2.
    Full,
    /// Checks none: the caller wants to merge, or knows that there is nothing to merge with.
    Off,
}

/// Whether records are checked for damage whose headers show that no old password opens them.
///
/// The header of a v3 record determines its password. Reading no more of those that do not match
/// makes a rekey faster, and leaves their damage to a census, including that of a header that no
/// longer matches because it was modified itself.
///
/// Exhaustive on purpose: a report has to name each choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyCheck {
    /// Checks what may match, and what is read whole anyway. The report says how many records
    /// [were not checked](crate::engine::rekey::RekeyReport::bodies_not_checked).
    #[default]
    Matching,
    /// Reads and checks every record.
    All,
}

/// What to do about triggers and rules on the records table.
///
/// Exhaustive on purpose: a report has to name each choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteHooks {
    /// Ends with [`RekeyError::WriteHooks`](crate::engine::rekey::RekeyError::WriteHooks) before
    /// the first write: a trigger that stamps changed rows reveals which records shared a password.
    /// A trigger that writes nothing is only named in the report.
    #[default]
    Refuse,
    /// Continues: the caller knows what they do.
    Allow,
}

/// Whether chained pairs (`a -> b, b -> c`) may have been moved before.
///
/// Only the state distinguishes a moved record of such pairs from one that is still to be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EarlierRun {
    /// Refuses, with [`RekeyError::Chain`](crate::engine::rekey::RekeyError::Chain), a vault that
    /// looks as if an earlier run whose state is missing had moved records.
    #[default]
    Unknown,
    /// The caller knows that there was no earlier run.
    None,
}

impl RekeyPlan {
    /// Creates a plan without any passwords.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair: what opens under `old` will be under `new`. The old passwords are tried on a
    /// record in the order of the pairs. A record is moved at most once, and never from one pair's
    /// new password on to another's, not even by a run that resumes this one.
    #[must_use]
    pub fn pair(mut self, old: Password, new: Password) -> Self {
        self.pairs.push((old, new));
        self
    }

    /// Adds a password whose records are written in the form of the vault's settings, format, cost
    /// and salt, and stay under it. A plan that upgrades has no pairs, and makes no merge check.
    ///
    /// Records that have another form and that none of the passwords opens would be distinguished
    /// from the others. They are counted before the first write ([`MarkReason::Left`]), and listed
    /// in [`RekeyReport::left`]; the passwords are tried on all of them, v2 included.
    ///
    /// [`MarkReason::Left`]: crate::engine::rekey::MarkReason::Left
    /// [`RekeyReport::left`]: crate::engine::rekey::RekeyReport::left
    #[must_use]
    pub fn upgrade(mut self, password: Password) -> Self {
        self.upgrades.push(password);
        self.write = WriteAs::Vault;
        self.merge = MergeCheck::Off;
        self
    }

    /// Sets which form records are written in; by default, each in the one in which it was found.
    #[must_use]
    pub fn write_as(mut self, form: impl Into<WriteAs>) -> Self {
        self.write = form.into();
        self
    }

    /// Keeps the format and padding of v2 and v3 records also with [`write_as`](Self::write_as).
    #[must_use]
    pub fn keep_format(mut self) -> Self {
        self.keeps.format = true;
        self
    }

    /// Keeps the cost of each record also with [`write_as`](Self::write_as), and the key length and
    /// salt length of each v2 that is replaced by a v2. A v2 that becomes a v3 gets no lower cost.
    #[must_use]
    pub fn keep_cost(mut self) -> Self {
        self.keeps.cost = true;
        self
    }

    /// Keeps the salt of each v3 record also with [`write_as`](Self::write_as).
    #[must_use]
    pub fn keep_salt(mut self) -> Self {
        self.keeps.salt = true;
        self
    }

    /// Sets what to do where the records to move would be written in another form than others of
    /// theirs.
    #[must_use]
    pub fn marks(mut self, marking: Marking) -> Self {
        self.marking = marking;
        self
    }

    /// Sets whether to write.
    #[must_use]
    pub fn dry_run(mut self, dry_run: RekeyMode) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets how to ensure that the new passwords do not open any record yet.
    #[must_use]
    pub fn merge_check(mut self, check: MergeCheck) -> Self {
        self.merge = check;
        self
    }

    /// Sets whether records are checked for damage that no old password opens.
    #[must_use]
    pub fn body_check(mut self, check: BodyCheck) -> Self {
        self.bodies = check;
        self
    }

    /// Sets what to do about triggers and rules on the records table.
    #[must_use]
    pub fn write_hooks(mut self, hooks: WriteHooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Sets whether a run whose state is missing may have moved chained pairs before.
    #[must_use]
    pub fn earlier_run(mut self, earlier_run: EarlierRun) -> Self {
        self.earlier_run = earlier_run;
        self
    }

    /// Sets the part of the vault to rekey. The default is all of it.
    #[must_use]
    pub fn shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        self
    }

    /// Resumes the run that produced this state. The plan must be the same: passwords, shard, the
    /// form to write and what the caller's [`OpenPolicy`](crate::envelope::OpenPolicy) permits. A
    /// dry run resumes the state of a rekey too, and counts what is left to do; a rekey refuses the
    /// state of a dry run.
    #[must_use]
    pub fn resume(mut self, state: RekeyState) -> Self {
        self.resume = Some(state);
        self
    }

    /// Sets workers, memory and page sizes.
    #[must_use]
    pub fn options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }

    /// Returns whether records stay under their password.
    pub(super) fn upgrades(&self) -> bool {
        !self.upgrades.is_empty()
    }

    /// Returns whether nothing is to be written.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run == RekeyMode::DryRun
    }

    /// Returns the passwords that records are moved to.
    pub(crate) fn new_passwords(&self) -> impl Iterator<Item = &Password> {
        self.pairs.iter().map(|(_, new)| new)
    }

    /// Returns how records are re-encrypted: as requested, or by these settings of the vault.
    pub(super) fn reseal(&self, spec: SealParams) -> Reseal {
        let Keeps { format, cost, salt } = self.keeps;
        let change = match self.write {
            // All of them alike.
            _ if self.upgrades() => Change::Asked,
            WriteAs::AsItWas => Change::Kept,
            WriteAs::Vault => return Reseal::by_settings(spec),
            WriteAs::Spec(_) => Change::Asked,
        };
        let unless = |kept| if kept { Change::Kept } else { change };
        Reseal { spec, format: unless(format), cost: unless(cost), salt: unless(salt) }
    }

    /// Returns in words what a run that resumes this one must write too.
    pub(super) fn written(&self) -> String {
        let Keeps { format, cost, salt } = self.keeps;
        let upgrades = if self.upgrades() { " upgrade" } else { "" };
        format!("{} {format} {cost} {salt}{upgrades}", self.write.name())
    }

    /// Returns the requested format and cost.
    pub(crate) fn asked_spec(&self) -> Option<SealParams> {
        match self.write {
            WriteAs::Spec(spec) => Some(spec),
            WriteAs::AsItWas | WriteAs::Vault => None,
        }
    }
}

/// An invalid plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlan {
    /// There is no pair of passwords.
    #[error("a rekey needs an old and a new password")]
    NoPair,
    /// The old and the new password are the same.
    #[error("the old and the new password are the same")]
    SamePassword,
    /// The new password is empty.
    #[error("the new password must not be empty")]
    EmptyNewPassword,
    /// Two pairs have the same old password.
    #[error("two pairs have the same old password, so a record could go either way")]
    AmbiguousPair,
    /// Two pairs have the same new password, and the plan does not permit a merge.
    #[error("two pairs have the same new password, which would merge their records irreversibly")]
    MergingPairs,
    /// It upgrades records, and has pairs of passwords as well, or the same password twice, or the
    /// vault writes v2.
    #[error("an upgrade has each password once, no pairs, and a vault that writes v3")]
    Upgrade,
}

impl InvalidPlan {
    /// What to do about it, in one line for people.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoPair => return None,
            Self::SamePassword => "give a new password that differs",
            Self::EmptyNewPassword => "give a new password that is not empty",
            Self::AmbiguousPair => "give each old password once",
            Self::Upgrade => {
                "upgrade and rekey one after the other; `settings set format v3` makes a vault write v3"
            }
            Self::MergingPairs => "give each pair a new password of its own, or allow the merge",
        })
    }
}
