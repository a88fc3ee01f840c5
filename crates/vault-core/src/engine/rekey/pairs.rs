//! The keys of a valid plan, and how its pairs chain.

use std::sync::Arc;

use super::plan::{InvalidPlan, MergeCheck};
use crate::crypto::key::PasswordKey;
use crate::crypto::seal::SealParams;
use crate::crypto::secret::Password;

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
    let keys = pairs.into_iter().map(|(old, new)| (key(old), key(new)));
    Ok(Pairs { list: numbered(keys), chaining, chained })
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
    let list = numbered(keys.map(|key| (Arc::clone(&key), key)));
    Ok(Pairs { list, chaining: none.clone(), chained: none })
}

fn numbered(keys: impl Iterator<Item = (Arc<PasswordKey>, Arc<PasswordKey>)>) -> Vec<Pair> {
    keys.enumerate().map(|(number, (old, new))| Pair { number, old, new }).collect()
}

/// The keys of an old password and its new one.
#[derive(Clone)]
pub(crate) struct Pair {
    /// Its place in the plan.
    pub(crate) number: usize,
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
