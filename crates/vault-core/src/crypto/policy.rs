//! What an opener permits and tries, and why it does not try a record at all.

use crate::crypto::envelope::V2Params;
use crate::crypto::kdf::{CostBelowMinimum, KdfLimits, KdfMinimum};

/// What to permit and try when opening. It is the caller's, and nothing in a database changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenPolicy {
    /// The limits for stored v3 headers, at most and at least.
    pub limits: KdfLimits,
    /// The costs to try on a v2 envelope, in order; each takes one Argon2id computation.
    pub v2_costs: Vec<V2Params>,
    /// Whether v1 envelopes are opened. Not by default: an attacker with write access to the
    /// database can forge one that opens under any password.
    pub allow_v1: bool,
    /// How many salts and costs other than the vault's own are tried on v3 records: in a run over
    /// the whole vault, and per minute in a [`Vault`](crate::Vault).
    pub max_salts: u32,
}

impl OpenPolicy {
    /// Sets the limits of the Argon2id cost.
    #[must_use]
    pub fn limits(mut self, limits: KdfLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the costs that are tried on a v2 envelope, in this order.
    #[must_use]
    pub fn v2_costs(mut self, costs: impl IntoIterator<Item = V2Params>) -> Self {
        self.v2_costs = costs.into_iter().collect();
        self
    }

    /// Sets whether v1 envelopes are opened.
    #[must_use]
    pub fn allow_v1(mut self, allow: bool) -> Self {
        self.allow_v1 = allow;
        self
    }

    /// Sets how many salts and costs other than the vault's own are tried.
    #[must_use]
    pub fn max_salts(mut self, number: u32) -> Self {
        self.max_salts = number;
        self
    }

    /// 16 salts and costs besides the vault's own. A vault has one; each vault merged into it adds
    /// one, and so does each change of its cost. At the default limits a derivation takes about a
    /// second, so planted records delay a command by less than half a minute for each password.
    pub const DEFAULT_MAX_SALTS: u32 = 16;

    /// Also opens v1, and v3 of every cost below the ceiling: for records that only you can have
    /// written, and for tests.
    #[must_use]
    pub fn trusting() -> Self {
        let limits = KdfLimits { floor: KdfMinimum::NONE, ..KdfLimits::default() };
        Self { limits, allow_v1: true, ..Self::default() }
    }
}

impl Default for OpenPolicy {
    /// The default limits, for v2 the default cost of the Go package, and no v1.
    fn default() -> Self {
        Self {
            limits: KdfLimits::default(),
            v2_costs: vec![V2Params::default()],
            allow_v1: false,
            max_salts: Self::DEFAULT_MAX_SALTS,
        }
    }
}

/// Why no password is tried on a record: the caller's [`OpenPolicy`] does not permit it. Nothing is
/// known about the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NotTried {
    /// It is of v1, and the policy does not allow v1.
    #[error(
        "the record is of v1, which anyone with write access to the database can forge, so no password was tried on it"
    )]
    V1,
    /// Its header states a cost below the floor, which no program that keeps the floor writes.
    #[error(
        "the record's Argon2id cost {} is below the floor of m={} KiB and m times t = {} KiB, so no password was tried on it",
        _0.params, _0.floor.min_m_kib, _0.floor.min_work_kib
    )]
    BelowFloor(CostBelowMinimum),
    /// Its salt and cost are not the vault's own, and as many others as the policy permits were
    /// tried.
    #[error(
        "the record has another salt or cost than the vault's own, and the limit of such derivations is reached, so no \
         password was tried on it"
    )]
    Salt,
}

impl NotTried {
    /// What to do about it, in one line for people.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::V1 => {
                "allow v1 if the vault comes from the Go package and only people you trust can write to it"
            }
            Self::BelowFloor(_) => {
                "an attacker may have planted it to test guesses at passwords; if a program of yours wrote it with a lower \
                 floor, use that program"
            }
            Self::Salt => {
                "try again in a minute, or raise the limit if the vault holds records of many vaults"
            }
        }
    }
}
