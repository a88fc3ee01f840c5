//! Envelopes: the texts stored for records, parsed without any key.
//!
//! The formats are specified in `docs/format.md`; comments here cite its sections.

mod padding;
mod v1;
mod v2;
mod v3;

use std::fmt;

pub use padding::Padding;
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
/// Parsing knows no keys and says nothing about damage: a text that parses has the shape of its format, and
/// [`open`](crate::crypto::seal::open) judges the rest.
#[derive(Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Read only, of old vaults of the Go ancestor.
    V1(V1),
    /// Shared with the Go ancestor: one Argon2id for every record.
    V2(V2),
    /// This project's own: one Argon2id for every salt.
    V3(V3),
}

impl Envelope {
    /// Parses a stored text, whatever its bytes are.
    ///
    /// # Errors
    /// [`Malformed`] when the text is no envelope of a known format.
    pub fn parse(text: &EnvelopeText) -> Result<Self, Malformed> {
        let bytes = text.as_bytes().ok_or(Malformed::TooLong { len: text.len() })?;
        match split_version(bytes) {
            _ if bytes.is_empty() => Err(Malformed::Empty),
            Some((b"2", body)) => V2::parse(body).map(Self::V2),
            Some((b"3", body)) => V3::parse(body).map(Self::V3),
            // format.md §1: never taken for v1
            Some(_) => Err(Malformed::UnknownVersion),
            None => V1::parse(bytes).map(Self::V1),
        }
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::V1(_) => Format::V1,
            Self::V2(_) => Format::V2,
            Self::V3(_) => Format::V3,
        }
    }

    /// The canonical text, which for v3 is the very text that was parsed; `None` for v1, which is never written.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Read only, without authentication worth the name.
    V1,
    /// One Argon2id for every record, cost not stored.
    V2,
    /// One Argon2id for every salt, committed to its key and bound to its record id.
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

/// Why a stored text is not an envelope that could be opened with any password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// There is no text.
    #[error("the stored text is empty")]
    Empty,
    /// The text is longer than [`MAX_ENVELOPE_LEN`] bytes.
    #[error("the stored text of {len} bytes is longer than the {MAX_ENVELOPE_LEN} that are read")]
    TooLong {
        /// The length in bytes.
        len: u64,
    },
    /// The text is not base64 as its format has it.
    #[error("the stored text is not base64 as its format has it")]
    NotBase64,
    /// The text is shorter than every envelope of its format.
    #[error("the stored text is too short for its format; it was probably cut")]
    TooShort,
    /// The text is of a version that this program does not know.
    #[error("the stored text is of an unknown version; a newer program may read it")]
    UnknownVersion,
    /// The header names a suite that this program does not know.
    #[error("the stored header names the unknown suite {suite:#04x}; a newer program may read it")]
    UnknownSuite {
        /// The suite's byte.
        suite: u8,
    },
    /// The header's cost is none.
    #[error("the stored header holds no valid cost: {0}")]
    InvalidCost(InvalidKdfParams),
    /// The header's cost is more than the limits allow.
    #[error("{0}")]
    CostOverLimit(CostOverLimit),
    /// A version before the first release sealed the record, without binding it to its token.
    #[error(
        "the record was sealed by a pre-release version, which did not bind it to its token; read it with that version \
         and write its value again with this one"
    )]
    TokenNotBound,
    /// The length of a v1 text is none that a v1 writer makes.
    #[error("the stored text has a length that no v1 record has; it was probably cut")]
    V1Size,
    /// The value inside a v1 text has no length, or one beyond its end.
    #[error("the v1 record states no valid length of its value")]
    V1ValueLen,
    /// The value inside a v1 text is not base64.
    #[error("the value inside the v1 record is not base64")]
    V1Value,
}
