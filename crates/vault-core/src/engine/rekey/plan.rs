//! What to rekey, and how.

use std::{fmt, num::NonZeroU64, str::FromStr, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::state::RekeyState;
use crate::crypto::key::PasswordKey;
use crate::crypto::reseal::{Change, Reseal};
use crate::crypto::seal::SealParams;
use crate::crypto::secret::Password;
use crate::scan::options::RunOptions;
use vault_store::RecordId;

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

/// One of several parts of a vault: the records whose id hashes to `index` modulo `count`.
///
/// The parts are disjoint and together cover the vault, so that machines can share the work without
/// communicating. The hash is the first 8 bytes of SHA-256 of the id, big-endian. The text form is
/// `index/count`, counted from 0: `0/4` to `3/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u64,
    count: NonZeroU64,
}

impl Shard {
    /// All records.
    pub const WHOLE: Self = Self { index: 0, count: NonZeroU64::MIN };

    /// Creates one of several parts, counted from 0.
    ///
    /// # Errors
    /// [`ParseShardError`] if there is no such part.
    pub fn new(index: u64, count: u64) -> Result<Self, ParseShardError> {
        let count = NonZeroU64::new(count).filter(|count| index < count.get());
        count.map(|count| Self { index, count }).ok_or(ParseShardError)
    }

    /// Returns whether the record is in this part.
    #[must_use]
    pub fn holds(&self, id: &RecordId) -> bool {
        if self.count == NonZeroU64::MIN {
            return true;
        }
        let hash: [u8; 32] = Sha256::digest(id.as_bytes()).into();
        let first = hash.first_chunk().copied().map_or(0, u64::from_be_bytes);
        first % self.count == self.index
    }

    /// Returns the approximate number of records in this part, given the total.
    pub(super) fn share(&self, records: u64) -> u64 {
        records.div_ceil(self.count.get())
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ParseShardError;

    fn from_str(text: &str) -> Result<Self, ParseShardError> {
        let (index, count) = text.split_once('/').ok_or(ParseShardError)?;
        let number = |text: &str| text.parse().map_err(|_| ParseShardError);
        Self::new(number(index)?, number(count)?)
    }
}

/// A text or numbers that are not a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid shard: expected `i/n` with `i < n`, e.g. `0/4`")]
pub struct ParseShardError;

/// The keys of a valid plan.
pub(super) fn checked(
    pairs: Vec<(Password, Password)>,
    merge: MergeCheck,
) -> Result<Pairs, InvalidPlan> {
    if pairs.is_empty() {
        return Err(InvalidPlan::NoPair);
    }
    for (number, (old, new)) in pairs.iter().enumerate() {
        let earlier = &pairs[..number];
        if new.is_empty() {
            return Err(InvalidPlan::EmptyNewPassword);
        }
        if old.is_same_as(new) {
            return Err(InvalidPlan::SamePassword);
        }
        if earlier.iter().any(|(earlier, _)| earlier.is_same_as(old)) {
            return Err(InvalidPlan::AmbiguousPair);
        }
        if merge != MergeCheck::Off && earlier.iter().any(|(_, earlier)| earlier.is_same_as(new)) {
            return Err(InvalidPlan::MergingPairs);
        }
    }
    let chaining: Vec<bool> =
        pairs.iter().map(|(_, new)| pairs.iter().any(|(old, _)| old.is_same_as(new))).collect();
    let chained: Vec<bool> =
        pairs.iter().map(|(old, _)| pairs.iter().any(|(_, new)| new.is_same_as(old))).collect();
    let key = |password| Arc::new(PasswordKey::new(password));
    let keys = pairs.into_iter().map(|(old, new)| Pair { old: key(old), new: key(new) });
    Ok(Pairs { list: keys.collect(), chaining, chained })
}

/// The keys of a valid plan that upgrades: each password is its own new one.
pub(super) fn upgrading(
    passwords: Vec<Password>,
    others: &[(Password, Password)],
    spec: &SealParams,
) -> Result<Pairs, InvalidPlan> {
    let is_double = |(number, password): (usize, &Password)| {
        passwords[..number].iter().any(|other| other.is_same_as(password))
    };
    let is_v2 = matches!(spec, SealParams::V2 { .. });
    if is_v2 || !others.is_empty() || passwords.iter().enumerate().any(is_double) {
        return Err(InvalidPlan::Upgrade);
    }
    let none = vec![false; passwords.len()];
    let keys = passwords.into_iter().map(|password| Arc::new(PasswordKey::new(password)));
    let list = keys.map(|key| Pair { old: Arc::clone(&key), new: key }).collect();
    Ok(Pairs { list, chaining: none.clone(), chained: none })
}

/// The keys of an old password and its new one.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) old: Arc<PasswordKey>,
    pub(crate) new: Arc<PasswordKey>,
}

pub(super) struct Pairs {
    pub(super) list: Vec<Pair>,
    /// For each pair, whether its new password is also an old one.
    chaining: Vec<bool>,
    /// For each pair, whether its old password is also a new one.
    chained: Vec<bool>,
}

/// The role of a password in chained pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Only old: what opens under it was never moved.
    First,
    /// Old and new.
    Between,
    /// Only new.
    Last,
}

impl Pairs {
    /// Returns every key of the plan: for each pair the old and then the new one.
    pub(super) fn keys(&self) -> Vec<&PasswordKey> {
        self.list.iter().flat_map(|pair| [&*pair.old, &*pair.new]).collect()
    }

    /// Returns whether a moved record could be mistaken for one that is still to be moved.
    pub(super) fn chain(&self) -> bool {
        self.chaining.contains(&true)
    }

    /// Returns the pairs whose old password is not also a new one: whatever opens under it,
    /// whenever it was written, is to be moved.
    pub(super) fn first(&self) -> Vec<Pair> {
        let pairs = self.list.iter().zip(&self.chained);
        pairs.filter(|(_, chained)| !**chained).map(|(pair, _)| pair.clone()).collect()
    }

    /// Returns each password once, with its role.
    pub(super) fn roles(&self) -> Vec<(Role, Arc<PasswordKey>)> {
        let olds = self.list.iter().zip(&self.chained).map(|(pair, chained)| {
            let role = if *chained { Role::Between } else { Role::First };
            (role, Arc::clone(&pair.old))
        });
        olds.chain(self.fresh_keys().into_iter().map(|key| (Role::Last, key))).collect()
    }

    /// Returns the keys that should not open any record yet. A new password that is also an old one
    /// is not among them, because its records are moved away.
    pub(super) fn fresh_keys(&self) -> Vec<Arc<PasswordKey>> {
        let fresh = self.list.iter().zip(&self.chaining).filter(|(_, chains)| !**chains);
        fresh.map(|(pair, _)| Arc::clone(&pair.new)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_in_exactly_one_shard() {
        let shards: Vec<_> = (0..7).map(|index| Shard::new(index, 7).unwrap()).collect();
        let mut held = [0; 7];
        for number in 0..7000 {
            let id = RecordId::from_stored(format!("record {number}"));
            let of: Vec<_> = (0..7).filter(|index| shards[*index].holds(&id)).collect();
            assert_eq!(of.len(), 1);
            held[of[0]] += 1;
            assert!(Shard::WHOLE.holds(&id));
        }
        assert!(held.iter().all(|held| (800..1200).contains(held)), "{held:?}");
    }

    #[test]
    fn the_hash_of_a_shard_is_the_documented_one() {
        // `printf abc | sha256sum` starts with ba7816bf8f01cfea, which is 2 modulo 4
        assert_eq!(0xba78_16bf_8f01_cfea_u64 % 4, 2);
        assert!(Shard::new(2, 4).unwrap().holds(&RecordId::from_stored("abc")));
    }

    #[test]
    fn a_shard_is_counted_from_zero() {
        assert_eq!("3/4".parse(), Shard::new(3, 4));
        assert_eq!(Shard::new(3, 4).unwrap().to_string(), "3/4");
        for text in ["4/4", "0/0", "1", "a/b", "-1/2", "1/2/3", ""] {
            assert_eq!(text.parse::<Shard>(), Err(ParseShardError), "{text}");
        }
    }
}
