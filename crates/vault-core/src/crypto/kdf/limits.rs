//! The maximum Argon2id cost that a stored header may demand, and the minimum for what is written.

use std::fmt;

use crate::crypto::kdf::KdfParams;

/// Limits for stored headers: an attacker with write access to a database must not be able to
/// exhaust its readers.
///
/// The caller can raise the limits. All presets of [`KdfParams`] are within the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfLimits {
    /// Maximum memory, in KiB.
    pub max_m_kib: u32,
    /// Maximum number of passes.
    pub max_t: u32,
    /// Maximum number of lanes.
    pub max_p: u32,
    /// Maximum work, in KiB-passes (memory times passes).
    pub max_work_kib: u64,
}

impl Default for KdfLimits {
    /// 2 GiB, because the first choice of RFC 9106 §4 needs it; 64 passes and 64 lanes, far above
    /// every published recommendation; and 2^23 KiB-passes, four passes over 2 GiB, so that the
    /// most expensive header costs seconds, not minutes.
    fn default() -> Self {
        Self { max_m_kib: 2 * 1024 * 1024, max_t: 64, max_p: 64, max_work_kib: 1 << 23 }
    }
}

impl KdfLimits {
    /// Checks whether a stored header may demand this cost.
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

/// A stored header demands more than [`KdfLimits`] permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "the stored header asks for more Argon2id {limit} than the limit: {asked}, and {allowed} is allowed; raise the limit \
     if you trust the database"
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

/// The minimum cost of new records: an attacker with write access to a database must not be able to
/// weaken future records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// Checks whether new records may be written with this cost.
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

/// A cost for new records is below the [`KdfMinimum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Argon2id cost {params} is too cheap for new records: at least m={} KiB and m times t = {} KiB are required",
    floor.min_m_kib,
    floor.min_work_kib
)]
pub struct CostBelowMinimum {
    /// The requested cost.
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
        assert_eq!(allow(2 << 20, 4, 64), Ok(()));
        assert_eq!(allow(1 << 17, 64, 1), Ok(()));
        assert_eq!(allow((2 << 20) + 1, 1, 1), Err(CostLimit::Memory));
        assert_eq!(allow(8, 65, 1), Err(CostLimit::Passes));
        assert_eq!(allow(1024, 1, 65), Err(CostLimit::Lanes));
        assert_eq!(allow((1 << 17) + 1, 64, 1), Err(CostLimit::Work));
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
