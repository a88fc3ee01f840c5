//! Argon2id: what it may cost, where a vault's salt and cost are written, and the memory it runs in.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use argon2::{Algorithm, Argon2, Block, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroize as _;

use crate::RandomError;

/// The cost of one Argon2id derivation: memory in KiB, passes and lanes, valid by construction (RFC 9106 §3.1).
///
/// Its text is `t=3,m=65536,p=4`; reading accepts any order, and the names `default`, `lightweight`,
/// `high_security`, `rfc9106_first` and `rfc9106_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KdfParams {
    m_kib: u32,
    t: u32,
    p: u32,
}

impl KdfParams {
    /// 64 MiB, 3 passes, 4 lanes: the second choice of RFC 9106 §4, for where 2 GiB are too dear, and what the
    /// vaults of the Go ancestor use.
    pub const DEFAULT: Self = Self { m_kib: 64 * 1024, t: 3, p: 4 };
    /// 32 MiB, 2 passes, 2 lanes: the ancestor's cheap preset, still above OWASP's floor.
    pub const LIGHTWEIGHT: Self = Self { m_kib: 32 * 1024, t: 2, p: 2 };
    /// 128 MiB, 4 passes, 4 lanes: the ancestor's dear preset.
    pub const HIGH_SECURITY: Self = Self { m_kib: 128 * 1024, t: 4, p: 4 };
    /// 2 GiB, 1 pass, 4 lanes: the first choice of RFC 9106 §4.
    pub const RFC9106_FIRST: Self = Self { m_kib: 2 * 1024 * 1024, t: 1, p: 4 };
    /// 64 MiB, 3 passes, 4 lanes: the second choice of RFC 9106 §4.
    pub const RFC9106_SECOND: Self = Self { m_kib: 64 * 1024, t: 3, p: 4 };

    /// The presets by the names that people type.
    const PRESETS: [(&str, Self); 5] = [
        ("default", Self::DEFAULT),
        ("lightweight", Self::LIGHTWEIGHT),
        ("high_security", Self::HIGH_SECURITY),
        ("rfc9106_first", Self::RFC9106_FIRST),
        ("rfc9106_second", Self::RFC9106_SECOND),
    ];

    /// A cost of `m_kib` KiB, `t` passes and `p` lanes.
    ///
    /// # Errors
    /// [`InvalidKdfParams`] where Argon2id is not defined: no pass, no lane, 2^24 lanes or more, or less than 8 KiB
    /// for each lane (RFC 9106 §3.1).
    pub const fn new(m_kib: u32, t: u32, p: u32) -> Result<Self, InvalidKdfParams> {
        if t == 0 {
            return Err(InvalidKdfParams::NoPass);
        }
        if p == 0 || p >= 1 << 24 {
            return Err(InvalidKdfParams::Lanes { p });
        }
        // p is below 2^24, so that 8p cannot overflow
        if m_kib < 8 * p {
            return Err(InvalidKdfParams::MemoryTooLittle { m_kib, p });
        }
        Ok(Self { m_kib, t, p })
    }

    /// The memory, in KiB.
    #[must_use]
    pub const fn m_kib(self) -> u32 {
        self.m_kib
    }

    /// The number of passes over the memory.
    #[must_use]
    pub const fn t(self) -> u32 {
        self.t
    }

    /// The number of lanes.
    #[must_use]
    pub const fn p(self) -> u32 {
        self.p
    }

    /// The work in KiB-passes, memory times passes, which the time of a derivation is proportional to.
    #[must_use]
    pub const fn work_kib(self) -> u64 {
        // widening; `u64::from` is not const
        self.m_kib as u64 * self.t as u64
    }

    /// The preset of that name.
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
        write!(f, "t={},m={},p={}", self.t, self.m_kib, self.p)
    }
}

impl FromStr for KdfParams {
    type Err = ParseKdfParamsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(params) = Self::preset(text) {
            return Ok(params);
        }
        let [m_kib, t, p] = parse_fields(text, ["m", "t", "p"])?;
        let require = |value: Option<u32>| value.ok_or(ParseKdfParamsError::Syntax);
        Ok(Self::new(require(m_kib)?, require(t)?, require(p)?)?)
    }
}

/// Reads `name=number` fields, separated by commas, in any order, each at most once.
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

/// Reads a decimal number as it is written: digits only, no sign and no leading zero.
fn parse_decimal(text: &str) -> Option<u32> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Why three numbers are not an Argon2id cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKdfParams {
    /// There is no pass.
    #[error("Argon2id needs at least one pass (t)")]
    NoPass,
    /// The number of lanes is outside 1 to 2^24 - 1.
    #[error("Argon2id has 1 to 16777215 lanes (p), not {p}")]
    Lanes {
        /// The lanes that were asked for.
        p: u32,
    },
    /// There is less than 8 KiB of memory for each lane.
    #[error("Argon2id with {p} lanes (p) needs at least {} KiB of memory (m), not {m_kib}", u64::from(*p) * 8)]
    MemoryTooLittle {
        /// The memory that was asked for, in KiB.
        m_kib: u32,
        /// The lanes that were asked for.
        p: u32,
    },
}

/// Why a text is not an Argon2id cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseKdfParamsError {
    /// The text is neither of the form nor a preset's name.
    #[error(
        "a cost is written like t=3,m=65536,p=4 (m in KiB), or default, lightweight, high_security, rfc9106_first or \
         rfc9106_second"
    )]
    Syntax,
    /// The numbers are not a cost.
    #[error(transparent)]
    Invalid(#[from] InvalidKdfParams),
}

/// What a stored header may ask for: whoever can write to a database must not be able to exhaust its reader.
///
/// The limits are the caller's to raise. Everything in the presets of [`KdfParams`] is within the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfLimits {
    /// The most memory, in KiB.
    pub max_m_kib: u32,
    /// The most passes.
    pub max_t: u32,
    /// The most lanes.
    pub max_p: u32,
    /// The most work, in KiB-passes (memory times passes).
    pub max_work_kib: u64,
}

impl Default for KdfLimits {
    /// 2 GiB, since the first choice of RFC 9106 §4 asks for it; 64 passes and 64 lanes, far above every published
    /// recommendation; and 2^23 KiB-passes, four passes over 2 GiB, so that the dearest header costs seconds and not
    /// minutes.
    fn default() -> Self {
        Self { max_m_kib: 2 * 1024 * 1024, max_t: 64, max_p: 64, max_work_kib: 1 << 23 }
    }
}

impl KdfLimits {
    /// Whether a stored header may ask for this cost.
    ///
    /// # Errors
    /// [`CostOverLimit`] names the first limit that is exceeded.
    pub fn allow(&self, params: &KdfParams) -> Result<(), CostOverLimit> {
        let asked_and_allowed = [
            (CostLimit::Memory, u64::from(params.m_kib), u64::from(self.max_m_kib)),
            (CostLimit::Passes, u64::from(params.t), u64::from(self.max_t)),
            (CostLimit::Lanes, u64::from(params.p), u64::from(self.max_p)),
            (CostLimit::Work, params.work_kib(), self.max_work_kib),
        ];
        match asked_and_allowed.into_iter().find(|(_, asked, allowed)| asked > allowed) {
            Some((limit, asked, allowed)) => Err(CostOverLimit { limit, asked, allowed }),
            None => Ok(()),
        }
    }
}

/// A stored header asks for more than [`KdfLimits`] allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "the stored header asks for more Argon2id {limit} than the limit: {asked}, and {allowed} is allowed; raise the limit \
     if you trust the database"
)]
pub struct CostOverLimit {
    /// The limit that is exceeded.
    pub limit: CostLimit,
    /// What the header asks for, in the unit of the limit.
    pub asked: u64,
    /// What the limit allows.
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

/// The least cost that new records are written with: whoever can write to a database must not be able to weaken what
/// is written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfFloor {
    /// The least memory, in KiB.
    pub min_m_kib: u32,
    /// The least work, in KiB-passes (memory times passes).
    pub min_work_kib: u64,
}

impl Default for KdfFloor {
    /// OWASP's floor: 19 MiB and two passes over them (Password Storage Cheat Sheet).
    fn default() -> Self {
        Self { min_m_kib: 19 * 1024, min_work_kib: 2 * 19 * 1024 }
    }
}

impl KdfFloor {
    /// No floor at all, for tests and benchmarks.
    pub const NONE: Self = Self { min_m_kib: 0, min_work_kib: 0 };

    /// Whether new records may be written with this cost.
    ///
    /// # Errors
    /// [`CostBelowFloor`] when the memory or the work is too little.
    pub fn allow(&self, params: &KdfParams) -> Result<(), CostBelowFloor> {
        if params.m_kib < self.min_m_kib || params.work_kib() < self.min_work_kib {
            return Err(CostBelowFloor { params: *params, floor: *self });
        }
        Ok(())
    }
}

/// A cost for new records is below the [`KdfFloor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Argon2id cost {params} is too cheap for new records: at least m={} KiB and m times t = {} KiB are required",
    floor.min_m_kib,
    floor.min_work_kib
)]
pub struct CostBelowFloor {
    /// The cost that was asked for.
    pub params: KdfParams,
    /// The floor that it is below.
    pub floor: KdfFloor,
}

/// The salt of a vault: 16 random bytes, drawn once.
///
/// It never depends on a password, so equal salts say nothing about equal passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Salt([u8; Self::LEN]);

impl Salt {
    /// The length in bytes, as RFC 9106 §3.1 recommends.
    pub const LEN: usize = 16;

    /// A fresh random salt.
    ///
    /// # Errors
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = [0; Self::LEN];
        crate::fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// A salt that was drawn before.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The salt's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// What turns a password into a vault's master key: a cost and a salt.
///
/// Its text is the PHC string `$argon2id$v=19$m=65536,t=3,p=4$<salt, base64 without padding>`, and no other spelling
/// of it is accepted (`docs/format.md` §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VaultKdf {
    /// The cost.
    pub params: KdfParams,
    /// The salt.
    pub salt: Salt,
}

impl VaultKdf {
    /// What every text starts with: Argon2id, version 1.3.
    const PHC_PREFIX: &str = "$argon2id$v=19$";

    /// A fresh salt with this cost.
    ///
    /// # Errors
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate(params: KdfParams) -> Result<Self, RandomError> {
        Ok(Self { params, salt: Salt::generate()? })
    }
}

impl fmt::Display for VaultKdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KdfParams { m_kib, t, p } = self.params;
        let salt = STANDARD_NO_PAD.encode(self.salt.as_bytes());
        write!(f, "{}m={m_kib},t={t},p={p}${salt}", Self::PHC_PREFIX)
    }
}

impl FromStr for VaultKdf {
    type Err = ParseVaultKdfError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (cost, salt) = text
            .strip_prefix(Self::PHC_PREFIX)
            .and_then(|rest| rest.split_once('$'))
            .ok_or(ParseVaultKdfError::Syntax)?;
        let numbers = parse_fields(cost, ["m", "t", "p"]).ok();
        let Some([Some(m_kib), Some(t), Some(p)]) = numbers else {
            return Err(ParseVaultKdfError::Syntax);
        };
        let mut bytes = [0; Salt::LEN];
        // a slice of the exact length: a longer or shorter salt fails
        match STANDARD_NO_PAD.decode_slice(salt, &mut bytes) {
            Ok(Salt::LEN) => {}
            _ => return Err(ParseVaultKdfError::Syntax),
        }
        let kdf = Self { params: KdfParams::new(m_kib, t, p)?, salt: Salt(bytes) };
        // one spelling: this also settles the order of m, t and p
        if kdf.to_string() == text { Ok(kdf) } else { Err(ParseVaultKdfError::Syntax) }
    }
}

/// Why a text is not a vault's cost and salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseVaultKdfError {
    /// The text is not of the form.
    #[error(
        "a vault's cost and salt are written like $argon2id$v=19$m=65536,t=3,p=4$<16 bytes in base64>"
    )]
    Syntax,
    /// The numbers are not a cost.
    #[error(transparent)]
    Invalid(#[from] InvalidKdfParams),
}

/// The memory that Argon2id runs in, kept from one derivation to the next.
///
/// One thread owns one; a derivation of `m` KiB then allocates nothing when `m` KiB were used before. Memory is taken
/// fallibly: too little of it is a [`KdfError`], never an abort.
///
/// # Security
/// The memory is wiped when it is given back or dropped.
pub struct KdfMemory {
    blocks: Vec<Block>,
    max_retained_kib: u32,
    /// Held by whoever of a group takes more than it may keep, so that only one does at a time.
    alone: Arc<Mutex<()>>,
    derivations: u64,
}

impl KdfMemory {
    /// Memory that keeps what its dearest derivation took.
    #[must_use]
    pub fn new() -> Self {
        Self::with_retained_kib(u32::MAX)
    }

    /// Memory that keeps at most `max_kib` KiB between derivations and gives anything beyond back at once.
    #[must_use]
    pub fn with_retained_kib(max_kib: u32) -> Self {
        Self::with_share(max_kib, Arc::default())
    }

    /// Memory of one thread of several: what needs more than its share waits until none of the others takes more than
    /// theirs, so that together they take their shares and one derivation at most.
    pub(crate) fn with_share(share_kib: u32, alone: Arc<Mutex<()>>) -> Self {
        Self { blocks: Vec::new(), max_retained_kib: share_kib, alone, derivations: 0 }
    }

    /// How many Argon2id derivations have run in this memory.
    #[must_use]
    pub fn derivations(&self) -> u64 {
        self.derivations
    }

    /// The memory that is held now, in KiB.
    #[must_use]
    pub fn held_kib(&self) -> usize {
        self.blocks.capacity()
    }

    /// Argon2id 1.3 (RFC 9106) without a secret or associated data, filling `out`.
    pub(crate) fn derive(
        &mut self,
        password: &[u8],
        salt: &[u8],
        params: &KdfParams,
        out: &mut [u8],
    ) -> Result<(), KdfError> {
        let KdfParams { m_kib, t, p } = *params;
        let argon2_params =
            argon2::Params::new(m_kib, t, p, Some(out.len())).map_err(|_| KdfError::Unsupported)?;
        let alone = Arc::clone(&self.alone);
        let _alone = (m_kib > self.max_retained_kib)
            .then(|| alone.lock().unwrap_or_else(PoisonError::into_inner));
        self.hold(argon2_params.block_count(), m_kib)?;
        self.derivations += 1;
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, argon2_params)
            .hash_password_into_with_memory(password, salt, out, self.blocks.as_mut_slice())
            .map_err(|_| KdfError::Unsupported);
        if self.blocks.len() as u64 > u64::from(self.max_retained_kib) {
            self.give_back();
        }
        result
    }

    /// Holds at least `count` blocks of 1 KiB.
    fn hold(&mut self, count: usize, m_kib: u32) -> Result<(), KdfError> {
        if self.blocks.len() >= count {
            return Ok(());
        }
        // the old blocks go first: never both at once
        self.give_back();
        self.blocks.try_reserve_exact(count).map_err(|_| KdfError::OutOfMemory { kib: m_kib })?;
        self.blocks.resize(count, Block::new());
        Ok(())
    }

    fn give_back(&mut self) {
        self.blocks.zeroize();
        self.blocks = Vec::new();
    }
}

impl Default for KdfMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for KdfMemory {
    fn drop(&mut self) {
        self.blocks.zeroize();
    }
}

impl fmt::Debug for KdfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KdfMemory({} KiB, {} derivations)", self.held_kib(), self.derivations)
    }
}

/// Argon2id could not run; nothing is known about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KdfError {
    /// The system did not give the memory.
    #[error(
        "Argon2id needs {kib} KiB of memory, and the system did not give them; close other programs or use fewer workers"
    )]
    OutOfMemory {
        /// The memory that was asked for, in KiB.
        kib: u32,
    },
    /// The password is of 4 GiB or more, which Argon2id is not defined for.
    #[error("Argon2id is not defined for this input; a password must be shorter than 4 GiB")]
    Unsupported,
}
