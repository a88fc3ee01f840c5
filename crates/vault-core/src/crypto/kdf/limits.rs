//! The maximum Argon2id cost that a stored header may demand, and the minimum to try or write.

use std::fmt;

use crate::crypto::kdf::KdfParams;

/// Limits for stored headers: an attacker with write access to a database must be able neither to
/// exhaust its readers nor to have passwords tried at a cost that makes guessing cheap.
///
/// The limits are the caller's, never the database's. All presets of [`KdfParams`] are within the
/// defaults, except [`KdfParams::RFC9106_FIRST`], whose readers need [`KdfLimits::up_to`] 2 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KdfLimits {
    /// Maximum memory, in KiB.
    pub max_m_kib: u32,
    /// Maximum number of passes.
    pub max_t: u32,
    /// Maximum number of lanes.
    pub max_p: u32,
    /// Maximum work, in KiB-passes (memory times passes).
    pub max_work_kib: u64,
    /// The least cost of records that are written, and of v3 records that a password is tried on.
    pub floor: KdfMinimum,
}

impl Default for KdfLimits {
    /// 256 MiB, twice the highest preset below 2 GiB, so that a planted header takes no more memory
    /// than a small machine has; 64 passes and 64 lanes, far above every published recommendation;
    /// and 2^20 KiB-passes, four passes over 256 MiB, about a second.
    fn default() -> Self {
        Self::up_to(256 * 1024)
    }
}

impl KdfLimits {
    /// The passes over the maximum memory that are permitted.
    const PASSES: u64 = 4;

    /// Limits for headers of up to this much memory, in KiB, and the work of four passes over it
    /// (at least that of 256 MiB). The rest is as in the defaults.
    #[must_use]
    pub fn up_to(max_m_kib: u32) -> Self {
        let max_work_kib = (Self::PASSES * u64::from(max_m_kib)).max(1 << 20);
        Self { max_m_kib, max_t: 64, max_p: 64, max_work_kib, floor: KdfMinimum::default() }
    }

    /// Sets the least cost of records that are written or tried.
    #[must_use]
    pub fn floor(mut self, floor: KdfMinimum) -> Self {
        self.floor = floor;
        self
    }

    /// Returns the memory, in KiB, that [`up_to`](Self::up_to) needs to permit this cost; `None`
    /// for a cost that it never permits: more than 64 passes or lanes.
    #[must_use]
    pub fn memory_for(params: &KdfParams) -> Option<u32> {
        let for_work = u32::try_from(params.work_kib().div_ceil(Self::PASSES)).ok()?;
        let for_work = if params.work_kib() <= 1 << 20 { 0 } else { for_work };
        let memory = params.m_cost().max(for_work);
        Self::up_to(memory).allow(params).is_ok().then_some(memory)
    }

    /// Checks whether a stored header may demand this cost. The floor is not checked.
    ///
    /// # Errors
    /// [`CostOverLimit`] for the first limit that is exceeded.
    pub fn allow(&self, params: &KdfParams) -> Result<(), CostOverLimit> {
        let asked_and_allowed = [
            (CostLimit::Memory, u64::from(params.m_cost()), u64::from(self.max_m_kib)),
            (CostLimit::Passes, u64::from(params.t_cost()), u64::from(self.max_t)),
            (CostLimit::Lanes, u64::from(params.p_cost()), u64::from(self.max_p)),
            (CostLimit::Work, params.work_kib(), self.max_work_kib),
        ];
        match asked_and_allowed.into_iter().find(|(_, asked, allowed)| asked > allowed) {
            Some((limit, asked, allowed)) => Err(CostOverLimit { limit, asked, allowed }),
            None => Ok(()),
        }
    }
}

/// A cost demands more than [`KdfLimits`] permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "the Argon2id cost exceeds the limit of {limit}: {asked}, and at most {allowed} is permitted"
)]
pub struct CostOverLimit {
    /// The limit that is exceeded.
    pub limit: CostLimit,
    /// What the header demands, in the unit of the limit.
    pub asked: u64,
    /// The limit.
    pub allowed: u64,
}

/// One of the [`KdfLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CostLimit {
    /// Memory, in KiB.
    Memory,
    /// Passes.
    Passes,
    /// Lanes.
    Lanes,
    /// Memory times passes, in KiB-passes.
    Work,
}

impl CostOverLimit {
    /// What to do about it, in one line for people.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "raise the limit if the vault's owner chose this cost"
    }
}

impl fmt::Display for CostLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory (m, in KiB)",
            Self::Passes => "passes (t)",
            Self::Lanes => "lanes (p)",
            Self::Work => "work (m times t, in KiB)",
        })
    }
}

/// The minimum cost of records that are written, and of v3 records that a password is tried on.
///
/// An attacker with write access to a database must be able neither to weaken future records nor to
/// plant records that each test a guess at a password at a fraction of its cost: a rekey
/// re-encrypts the one that opens, which reveals the right guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KdfMinimum {
    /// Minimum memory, in KiB.
    pub min_m_kib: u32,
    /// Minimum work, in KiB-passes (memory times passes).
    pub min_work_kib: u64,
}

impl Default for KdfMinimum {
    /// OWASP's recommendation: 19 MiB and two passes (Password Storage Cheat Sheet).
    fn default() -> Self {
        Self { min_m_kib: 19 * 1024, min_work_kib: 2 * 19 * 1024 }
    }
}

impl KdfMinimum {
    /// No minimum, for tests and benchmarks.
    pub const NONE: Self = Self { min_m_kib: 0, min_work_kib: 0 };

    /// Checks whether this cost is high enough.
    ///
    /// # Errors
    /// [`CostBelowMinimum`] if the memory or the work is too low.
    pub fn allow(&self, params: &KdfParams) -> Result<(), CostBelowMinimum> {
        if params.m_cost() < self.min_m_kib || params.work_kib() < self.min_work_kib {
            return Err(CostBelowMinimum { params: *params, floor: *self });
        }
        Ok(())
    }
}

/// A cost is below the [`KdfMinimum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "the Argon2id cost {params} is too cheap for new records: at least m={} KiB and m times t = {} KiB are required",
    floor.min_m_kib,
    floor.min_work_kib
)]
pub struct CostBelowMinimum {
    /// The cost.
    pub params: KdfParams,
    /// The minimum.
    pub floor: KdfMinimum,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_inclusive() {
        let allow = |m_cost, t, p| {
            KdfLimits::default().allow(&KdfParams::new(m_cost, t, p).unwrap()).map_err(|e| e.limit)
        };
        assert_eq!(allow(256 << 10, 4, 64), Ok(()));
        assert_eq!(allow(1 << 14, 64, 1), Ok(()));
        assert_eq!(allow((256 << 10) + 1, 1, 1), Err(CostLimit::Memory));
        assert_eq!(allow(8, 65, 1), Err(CostLimit::Passes));
        assert_eq!(allow(1024, 1, 65), Err(CostLimit::Lanes));
        assert_eq!(allow((1 << 14) + 1, 64, 1), Err(CostLimit::Work));
    }

    #[test]
    fn a_cost_names_the_memory_that_its_readers_must_allow() {
        let needed = |m_cost, t, p| KdfLimits::memory_for(&KdfParams::new(m_cost, t, p).unwrap());
        assert_eq!(KdfLimits::memory_for(&KdfParams::RFC9106_FIRST), Some(2 << 20));
        assert_eq!(needed(1 << 20, 8, 1), Some(2 << 20));
        assert_eq!(needed(1 << 16, 3, 4), Some(1 << 16));
        assert_eq!(needed(u32::MAX, 64, 1), None);
        assert_eq!(needed(1 << 16, 65, 1), None);
        for params in [KdfParams::RFC9106_FIRST, KdfParams::new(1 << 20, 8, 1).unwrap()] {
            let needed = KdfLimits::memory_for(&params).unwrap();
            assert_eq!(KdfLimits::up_to(needed).allow(&params), Ok(()));
            assert!(KdfLimits::up_to(needed - 1).allow(&params).is_err());
            assert!(KdfLimits::default().allow(&params).is_err());
        }
    }

    #[test]
    fn the_floor_is_inclusive() {
        let allow = |m_cost, t| KdfMinimum::default().allow(&KdfParams::new(m_cost, t, 1).unwrap());
        assert_eq!(allow(19456, 2), Ok(()));
        assert_eq!(allow(2 * 19456, 1), Ok(()));
        assert!(allow(19456, 1).is_err());
        assert!(allow(19455, 64).is_err());
        assert_eq!(KdfMinimum::NONE.allow(&KdfParams::new(8, 1, 1).unwrap()), Ok(()));
    }
}
