//! Argon2id: its cost, and the salt and cost stored for a vault.

mod limits;
mod memory;
mod text;

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use vault_store::RngError;

pub use limits::{CostBelowMinimum, CostLimit, CostOverLimit, KdfLimits, KdfMinimum};
pub(crate) use memory::LargeMemory;
pub use memory::{KdfError, KdfMemory};

/// The cost of one Argon2id derivation: memory in KiB, passes and lanes, valid by construction (RFC
/// 9106 §3.1).
///
/// Its text is `t=3,m=65536,p=4`. Parsing accepts any order, and the names `default`,
/// `lightweight`, `high_security`, `rfc9106_first` and `rfc9106_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KdfParams {
    m_cost: u32,
    t: u32,
    p: u32,
}

impl KdfParams {
    /// 64 MiB, 3 passes, 4 lanes: the second choice of RFC 9106 §4, for when 2 GiB is too
    /// expensive, and the default of the Go package.
    pub const DEFAULT: Self = Self { m_cost: 64 * 1024, t: 3, p: 4 };
    /// 32 MiB, 2 passes, 2 lanes: the lightweight preset of the Go package, still above OWASP's
    /// minimum.
    pub const LIGHTWEIGHT: Self = Self { m_cost: 32 * 1024, t: 2, p: 2 };
    /// 128 MiB, 4 passes, 4 lanes: the high-security preset of the Go package.
    pub const HIGH_SECURITY: Self = Self { m_cost: 128 * 1024, t: 4, p: 4 };
    /// 2 GiB, 1 pass, 4 lanes: the first choice of RFC 9106 §4.
    pub const RFC9106_FIRST: Self = Self { m_cost: 2 * 1024 * 1024, t: 1, p: 4 };
    /// 64 MiB, 3 passes, 4 lanes: the second choice of RFC 9106 §4.
    pub const RFC9106_SECOND: Self = Self { m_cost: 64 * 1024, t: 3, p: 4 };

    /// The presets by name.
    const PRESETS: [(&str, Self); 5] = [
        ("default", Self::DEFAULT),
        ("lightweight", Self::LIGHTWEIGHT),
        ("high_security", Self::HIGH_SECURITY),
        ("rfc9106_first", Self::RFC9106_FIRST),
        ("rfc9106_second", Self::RFC9106_SECOND),
    ];

    /// Creates a cost of `m_cost` KiB, `t_cost` passes and `p_cost` lanes.
    ///
    /// # Errors
    /// [`InvalidKdfParams`] if Argon2id is not defined for them: no pass, no lane, 2^24 lanes or
    /// more, or less than 8 KiB per lane (RFC 9106 §3.1).
    pub const fn new(m_cost: u32, t: u32, p: u32) -> Result<Self, InvalidKdfParams> {
        if t == 0 {
            return Err(InvalidKdfParams::NoPass);
        }
        if p == 0 || p >= 1 << 24 {
            return Err(InvalidKdfParams::Lanes { p });
        }
        // p is below 2^24, so that 8p cannot overflow
        if m_cost < 8 * p {
            return Err(InvalidKdfParams::MemoryTooLittle { m_cost, p });
        }
        Ok(Self { m_cost, t, p })
    }

    /// Returns the cheapest Argon2id there is (8 KiB, one pass, one lane), which takes
    /// microseconds.
    ///
    /// Only for tests of an application: a password under it is guessed at once. A vault accepts it
    /// only with [`VaultOptions::insecure_for_tests`](crate::VaultOptions::insecure_for_tests),
    /// where there is an example.
    #[must_use]
    pub const fn insecure_for_tests() -> Self {
        Self { m_cost: 8, t: 1, p: 1 }
    }

    /// Returns the memory, in KiB.
    #[must_use]
    pub const fn m_cost(self) -> u32 {
        self.m_cost
    }

    /// Returns the number of passes over the memory.
    #[must_use]
    pub const fn t_cost(self) -> u32 {
        self.t
    }

    /// Returns the number of lanes.
    #[must_use]
    pub const fn p_cost(self) -> u32 {
        self.p
    }

    /// Returns the work in KiB-passes (memory times passes), which is proportional to the time of a
    /// derivation.
    #[must_use]
    pub const fn work_kib(self) -> u64 {
        // widening; `u64::from` is not const
        self.m_cost as u64 * self.t as u64
    }

    /// Returns whether a guess costs less than with the other: less memory, or less work.
    pub(crate) fn is_lower_than(&self, other: &Self) -> bool {
        self.m_cost < other.m_cost || self.work_kib() < other.work_kib()
    }

    /// Returns the preset with this name.
    pub(crate) fn preset(name: &str) -> Option<Self> {
        Self::PRESETS.iter().find(|(known, _)| *known == name).map(|(_, params)| *params)
    }
}

impl Default for KdfParams {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for KdfParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={},m={},p={}", self.t, self.m_cost, self.p)
    }
}

impl FromStr for KdfParams {
    type Err = ParseKdfParamsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(params) = Self::preset(text) {
            return Ok(params);
        }
        let [m_cost, t, p] = parse_fields(text, ["m", "t", "p"])?;
        let require = |value: Option<u32>| value.ok_or(ParseKdfParamsError::Syntax);
        Ok(Self::new(require(m_cost)?, require(t)?, require(p)?)?)
    }
}

/// Parses `name=number` fields, separated by commas, in any order, each at most once.
pub(crate) fn parse_fields<const N: usize>(
    text: &str,
    names: [&str; N],
) -> Result<[Option<u32>; N], ParseKdfParamsError> {
    let mut values = [None; N];
    for field in text.split(',') {
        let (name, number) = field.split_once('=').ok_or(ParseKdfParamsError::Syntax)?;
        let index =
            names.iter().position(|known| *known == name).ok_or(ParseKdfParamsError::Syntax)?;
        let number = parse_decimal(number).ok_or(ParseKdfParamsError::Syntax)?;
        if values[index].replace(number).is_some() {
            return Err(ParseKdfParamsError::Syntax);
        }
    }
    Ok(values)
}

/// Parses a decimal number strictly: digits only, no sign and no leading zero.
fn parse_decimal(text: &str) -> Option<u32> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Why three numbers are not an Argon2id cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKdfParams {
    /// The number of passes is 0.
    #[error("Argon2id needs at least one pass (t)")]
    NoPass,
    /// The number of lanes is outside 1 to 2^24 - 1.
    #[error("Argon2id has 1 to 16777215 lanes (p), not {p}")]
    Lanes {
        /// The requested number of lanes.
        p: u32,
    },
    /// There is less than 8 KiB of memory for each lane.
    #[error("Argon2id with {p} lanes (p) needs at least {} KiB of memory (m), not {m_cost}", u64::from(*p) * 8)]
    MemoryTooLittle {
        /// The requested memory, in KiB.
        m_cost: u32,
        /// The requested number of lanes.
        p: u32,
    },
}

/// Why a text is not an Argon2id cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseKdfParamsError {
    /// The text is neither in this form nor the name of a preset.
    #[error(
        "a cost is written like t=3,m=65536,p=4 (m in KiB), or default, lightweight, high_security, rfc9106_first or \
         rfc9106_second"
    )]
    Syntax,
    /// The numbers are not a cost.
    #[error(transparent)]
    Invalid(#[from] InvalidKdfParams),
}

/// The salt of a vault: 16 random bytes, drawn once.
///
/// It never depends on a password, so equal salts reveal nothing about equal passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Salt([u8; Self::LEN]);

impl Salt {
    /// Its length in bytes, as RFC 9106 §3.1 recommends.
    pub const LEN: usize = 16;

    /// Generates a random salt.
    ///
    /// # Errors
    /// [`RngError`] if the system has no randomness to give.
    pub fn generate() -> Result<Self, RngError> {
        let mut bytes = [0; Self::LEN];
        vault_store::fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Wraps an existing salt.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the salt.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// The parameters that turn a password into a vault's master key: a cost and a salt.
///
/// Its text is the PHC string `$argon2id$v=19$m=65536,t=3,p=4$<salt, base64 without padding>`; no
/// other spelling is accepted (`docs/format.md` §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KdfSetting {
    /// The cost.
    pub params: KdfParams,
    /// The salt.
    pub salt: Salt,
}

impl KdfSetting {
    /// The prefix of every text: Argon2id, version 1.3.
    const PHC_PREFIX: &str = "$argon2id$v=19$";

    /// Generates a new salt for this cost.
    ///
    /// # Errors
    /// [`RngError`] if the system has no randomness to give.
    pub fn generate(params: KdfParams) -> Result<Self, RngError> {
        Ok(Self { params, salt: Salt::generate()? })
    }
}

impl fmt::Display for KdfSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KdfParams { m_cost, t, p } = self.params;
        let salt = STANDARD_NO_PAD.encode(self.salt.as_bytes());
        write!(f, "{}m={m_cost},t={t},p={p}${salt}", Self::PHC_PREFIX)
    }
}

impl FromStr for KdfSetting {
    type Err = ParseKdfSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (cost, salt) = text
            .strip_prefix(Self::PHC_PREFIX)
            .and_then(|rest| rest.split_once('$'))
            .ok_or(ParseKdfSettingError::Syntax)?;
        let numbers = parse_fields(cost, ["m", "t", "p"]).ok();
        let Some([Some(m_cost), Some(t), Some(p)]) = numbers else {
            return Err(ParseKdfSettingError::Syntax);
        };
        let mut bytes = [0; Salt::LEN];
        // decodes into a slice of the exact length: a longer or shorter salt fails
        match STANDARD_NO_PAD.decode_slice(salt, &mut bytes) {
            Ok(Salt::LEN) => {}
            _ => return Err(ParseKdfSettingError::Syntax),
        }
        let kdf = Self { params: KdfParams::new(m_cost, t, p)?, salt: Salt(bytes) };
        // one spelling: this also fixes the order of m, t and p
        if kdf.to_string() == text { Ok(kdf) } else { Err(ParseKdfSettingError::Syntax) }
    }
}

/// Why a text is not a salt and cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseKdfSettingError {
    /// The text is not in this form.
    #[error(
        "a vault's cost and salt are written like $argon2id$v=19$m=65536,t=3,p=4$<16 bytes in base64>"
    )]
    Syntax,
    /// The numbers are not a cost.
    #[error(transparent)]
    Invalid(#[from] InvalidKdfParams),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_valid_by_construction() {
        assert_eq!(KdfParams::new(8, 0, 1), Err(InvalidKdfParams::NoPass));
        assert_eq!(KdfParams::new(8, 1, 0), Err(InvalidKdfParams::Lanes { p: 0 }));
        let lanes = 1 << 24;
        assert_eq!(KdfParams::new(u32::MAX, 1, lanes), Err(InvalidKdfParams::Lanes { p: lanes }));
        let too_little = InvalidKdfParams::MemoryTooLittle { m_cost: 31, p: 4 };
        assert_eq!(KdfParams::new(31, 1, 4), Err(too_little));
        assert!(KdfParams::new(32, 1, 4).is_ok());
        assert!(KdfParams::new(u32::MAX, u32::MAX, lanes - 1).is_ok());
    }

    #[test]
    fn costs_are_read_in_any_order_and_by_name() {
        for text in ["t=3,m=65536,p=4", "p=4,t=3,m=65536", "default", "rfc9106_second"] {
            assert_eq!(text.parse(), Ok(KdfParams::DEFAULT), "{text}");
        }
        assert_eq!("rfc9106_first".parse(), Ok(KdfParams::RFC9106_FIRST));
        assert_eq!(KdfParams::LIGHTWEIGHT.to_string().parse(), Ok(KdfParams::LIGHTWEIGHT));
        assert_eq!(KdfParams::HIGH_SECURITY.to_string(), "t=4,m=131072,p=4");
        let bad = [
            "",
            "t=3",
            "t=3,m=65536",
            "t=3,m=65536,p=4,",
            "t=3,m=65536,p=4,p=4",
            "t=+3,m=65536,p=4",
            "t=03,m=65536,p=4",
            "t=3,m=4294967296,p=4",
            "t=3 ,m=65536,p=4",
            "Default",
            "t=,m=8,p=1",
        ];
        for text in bad {
            assert_eq!(text.parse::<KdfParams>(), Err(ParseKdfParamsError::Syntax), "{text}");
        }
        let invalid = ParseKdfParamsError::Invalid(InvalidKdfParams::NoPass);
        assert_eq!("t=0,m=8,p=1".parse::<KdfParams>(), Err(invalid));
    }

    #[test]
    fn a_vaults_salt_and_cost_have_one_spelling() {
        let text = "$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw";
        let salt = Salt::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let kdf = KdfSetting { params: KdfParams::DEFAULT, salt };
        assert_eq!(kdf.to_string(), text);
        assert_eq!(text.parse(), Ok(kdf));
        let bad = [
            "",
            "$argon2id$v=19$m=65536,t=3,p=4$",
            "$argon2id$v=19$m=65536,t=3,p=4",
            "$argon2i$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw",
            "$argon2id$v=16$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw",
            "$argon2id$v=19$t=3,m=65536,p=4$AAECAwQFBgcICQoLDA0ODw",
            "$argon2id$v=19$m=065536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw",
            "$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw==",
            "$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODx",
            "$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0O",
            "$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODxAR",
            "$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$AAAA",
            " $argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw",
        ];
        for text in bad {
            assert_eq!(text.parse::<KdfSetting>(), Err(ParseKdfSettingError::Syntax), "{text}");
        }
        let invalid = "$argon2id$v=19$m=8,t=0,p=1$AAECAwQFBgcICQoLDA0ODw".parse::<KdfSetting>();
        assert_eq!(invalid, Err(ParseKdfSettingError::Invalid(InvalidKdfParams::NoPass)));
    }
}
