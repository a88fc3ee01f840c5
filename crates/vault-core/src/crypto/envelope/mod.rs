//! Envelopes: the texts stored for records, parsed without any key.
//!
//! The formats are specified in `docs/format.md`; comments here cite its sections.

mod padding;
mod peek;
mod v1;
mod v2;
mod v3;

use std::fmt;

pub use padding::Padding;
pub(crate) use peek::{Peek, V3KdfChars};
#[cfg(test)]
pub(crate) use v1::LEAST_CONTENT_LEN;
pub use v1::V1;
pub use v2::{AesKeyLen, ParseV2ParamsError, V2, V2Params};
pub(crate) use v2::{IV_LEN, V2Parts};
pub use v3::V3;
pub(crate) use v3::{Header, KEY_LEN, NONCE_LEN, StoredHeader, digest, suite_of};

use crate::crypto::kdf::{CostOverLimit, InvalidKdfParams};
use vault_store::{EnvelopeText, MAX_ENVELOPE_LEN};

/// The length of an AES-GCM tag, in bytes, in every format.
pub(crate) const TAG_LEN: usize = 16;

/// A parsed stored text.
///
/// Parsing uses no keys and does not detect damage: a text that parses has the form of its format,
/// and [`open`](crate::crypto::seal::open) judges the rest.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Envelope {
    /// The format of old vaults of the Go package; read only.
    V1(V1),
    /// Shared with the Go package: one Argon2id per record.
    V2(V2),
    /// The format of this project: one Argon2id per salt.
    V3(V3),
}

impl Envelope {
    /// Parses a stored text of any bytes.
    ///
    /// # Errors
    /// [`Malformed`] if the text is not an envelope of a known format.
    pub fn parse(text: &EnvelopeText) -> Result<Self, Malformed> {
        let bytes = text.as_bytes().ok_or(Malformed::TooLong { len: text.len() })?;
        match split_version(bytes) {
            _ if bytes.is_empty() => Err(Malformed::Empty),
            Some((b"2", body)) => V2::parse(body).map(Self::V2),
            Some((b"3", body)) => V3::parse(body).map(Self::V3),
            // format.md §1: never treated as v1
            Some(_) => Err(Malformed::UnknownVersion),
            None => V1::parse(bytes).map(Self::V1),
        }
    }

    /// Returns the format.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::V1(_) => Format::V1,
            Self::V2(_) => Format::V2,
            Self::V3(_) => Format::V3,
        }
    }

    /// Returns the canonical text, which for v3 is exactly the text that was parsed; `None` for v1,
    /// which is never written.
    #[must_use]
    pub fn to_text(&self) -> Option<EnvelopeText> {
        match self {
            Self::V1(_) => None,
            Self::V2(envelope) => Some(envelope.to_text()),
            Self::V3(envelope) => Some(envelope.to_text()),
        }
    }
}

/// Splits `v<digits>:` off a text.
fn split_version(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(b"v")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (version, rest) = rest.split_at(digits);
    let body = rest.strip_prefix(b":")?;
    if version.is_empty() { None } else { Some((version, body)) }
}

/// The format of an envelope.
///
/// Exhaustive on purpose: whatever depends on the format has to handle each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Read only, without effective authentication.
    V1,
    /// One Argon2id per record; the cost is not stored.
    V2,
    /// One Argon2id per salt; key-committing, bound to record id and token.
    V3,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        })
    }
}

/// Why a stored text cannot be opened with any password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The text is empty.
    #[error("the stored text is empty")]
    Empty,
    /// The text is longer than [`MAX_ENVELOPE_LEN`] bytes.
    #[error("the stored text has {len} bytes, more than the limit of {MAX_ENVELOPE_LEN}")]
    TooLong {
        /// The length in bytes.
        len: u64,
    },
    /// The text is not base64 as defined by its format.
    #[error("invalid base64 in the stored text")]
    NotBase64,
    /// The text is shorter than any envelope of its format.
    #[error("the stored text is too short for its format; it was probably truncated")]
    TooShort,
    /// The text has a version that this program does not know.
    #[error("the stored text has an unknown version; a newer program may be able to read it")]
    UnknownVersion,
    /// The header names a suite that this program does not know.
    #[error(
        "the stored header has the unknown suite {suite:#04x}; a newer program may be able to read it"
    )]
    UnknownSuite {
        /// The suite's byte.
        suite: u8,
    },
    /// The header's cost is invalid.
    #[error("the stored header contains an invalid cost: {0}")]
    InvalidCost(InvalidKdfParams),
    /// The header's cost exceeds the limits.
    #[error("{0}")]
    CostOverLimit(CostOverLimit),
    /// A version before the first release sealed the record, without binding it to its token.
    #[error(
        "the record was sealed by a pre-release version, which did not bind it to its token; read it with that version \
         and write its value again with this one"
    )]
    TokenNotBound,
    /// No v1 writer produces a text of this length.
    #[error("the stored text has a length that no v1 record has; it was probably truncated")]
    V1Size,
    /// The value inside a v1 text has no length, or one beyond its end.
    #[error("the v1 record contains no valid length of its value")]
    V1ValueLen,
    /// The value inside a v1 text is not base64.
    #[error("invalid base64 in the value of the v1 record")]
    V1Value,
}
