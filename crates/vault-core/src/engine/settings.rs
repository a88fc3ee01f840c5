//! The names of a vault's own settings, and what can be wrong with them.

use crate::crypto::kdf::{CostBelowMinimum, CostOverLimit};
use vault_store::{RngError, StoreError};

/// The setting that holds salt and cost, as a PHC text (format.md, "Vault settings").
pub(crate) const KDF: &str = "kdf";

/// The setting that holds the format of new records.
pub(crate) const FORMAT: &str = "format";

/// Why a vault's settings do not say how new records are sealed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The vault holds records of the Go package and has no `format` setting: whether a Go program
    /// still has to read what is written is a person's decision
    /// ([`settle_format`](crate::Vault::settle_format)).
    #[error(
        "the vault holds records of the Go package, and it is not settled in which format new ones are written"
    )]
    FormatNotSettled,
    /// A stored setting cannot be understood.
    #[error("the vault's setting \"{name}\" is invalid")]
    Invalid {
        /// The setting.
        name: &'static str,
    },
    /// A setting of the vault's own cannot have this value.
    #[error("invalid value for the vault's setting \"{name}\"")]
    Refused {
        /// The setting.
        name: &'static str,
    },
    /// The stored cost of new records is below the configured minimum: somebody changed the
    /// setting, or the minimum was raised.
    #[error("the vault's setting \"{name}\" cannot be used: {why}")]
    StoredCost {
        /// The setting.
        name: &'static str,
        /// Its cost, and the minimum.
        why: CostBelowMinimum,
    },
    /// The cost of new records is below the configured minimum.
    #[error(transparent)]
    CostBelowMinimum(#[from] CostBelowMinimum),
    /// The cost of new records is over the configured limit.
    #[error(transparent)]
    CostOverLimit(#[from] CostOverLimit),
}

impl SettingsError {
    /// Says what to do about it, in one line for people.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::FormatNotSettled => Some(
                "choose v2 as long as a Go program uses it, which cannot read v3, and v3 otherwise",
            ),
            Self::Invalid { .. } => Some("restore the setting from a backup"),
            Self::StoredCost { .. } => {
                Some("set the cost that the vault's records have; the vault's salt must stay")
            }
            Self::CostOverLimit(over) => Some(over.hint()),
            Self::Refused { .. } | Self::CostBelowMinimum(_) => None,
        }
    }
}

/// Why the settings could not be read or settled.
#[derive(Debug)]
pub(crate) enum SettingsFailure {
    Settings(SettingsError),
    Store(StoreError),
    Random(RngError),
}

impl From<SettingsError> for SettingsFailure {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<StoreError> for SettingsFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RngError> for SettingsFailure {
    fn from(error: RngError) -> Self {
        Self::Random(error)
    }
}
