//! The v2 envelope, shared with the Go package: one Argon2id per record, whose cost is not stored.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE},
};

use super::{Malformed, TAG_LEN, V3};
use crate::crypto::kdf::{KdfParams, ParseKdfParamsError, Salt, parse_fields};
use vault_store::EnvelopeText;

/// The prefix of a v2 text.
const PREFIX: &str = "v2:";

/// The length of an AES-GCM initialization vector, in bytes.
pub(crate) const IV_LEN: usize = 12;

/// base64url as Go decodes it: unused bits may be anything, padding is required.
const GO_URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A parsed v2 text: `salt || iv || ciphertext || tag`. Only a [`V2Params`] knows the length of the
/// salt.
#[derive(PartialEq, Eq)]
pub struct V2 {
    bytes: Vec<u8>,
}

impl V2 {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let bytes = decode_lenient(body)?;
        if bytes.len() < V2Params::MIN_SALT_LEN + IV_LEN + TAG_LEN {
            return Err(Malformed::TooShort);
        }
        Ok(Self { bytes })
    }

    /// Returns the length of the text for a value and a salt of these lengths, in bytes.
    pub(crate) fn text_len(value_len: usize, salt_len: usize) -> Option<usize> {
        let len = value_len.checked_add(salt_len + IV_LEN + TAG_LEN)?;
        base64::encoded_len(len, true)?.checked_add(PREFIX.len())
    }

    /// Wraps the bytes that a sealer assembled.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Returns the salt, the initialization vector, and the ciphertext with its tag, for a salt of
    /// this length; `None` if the text is too short for that.
    pub(crate) fn parts(&self, salt_len: usize) -> Option<V2Parts<'_>> {
        let (salt, rest) = self.bytes.split_at_checked(salt_len)?;
        let (iv, rest) = rest.split_first_chunk::<IV_LEN>()?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        Some(V2Parts { salt, iv, ciphertext, tag })
    }

    /// Returns whether the prefix is damaged, and an intact v3 envelope follows it.
    pub(crate) fn is_v3_inside(&self) -> bool {
        V3::is_sound(&self.bytes)
    }

    /// Returns the canonical text: base64 with padding.
    pub(crate) fn to_text(&self) -> EnvelopeText {
        let len = PREFIX.len() + self.bytes.len().div_ceil(3) * 4;
        let mut text = String::with_capacity(len);
        text.push_str(PREFIX);
        URL_SAFE.encode_string(&self.bytes, &mut text);
        EnvelopeText::from_stored(text.into_bytes())
    }
}

/// Shows only the length: a stored envelope is a ciphertext to attack.
impl fmt::Debug for V2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V2({} bytes)", self.bytes.len())
    }
}

/// The fields of a v2 envelope.
pub(crate) struct V2Parts<'a> {
    pub(crate) salt: &'a [u8],
    pub(crate) iv: &'a [u8; IV_LEN],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_LEN],
}

/// Decodes base64url as the Go package does: CR and LF are skipped (`docs/format.md` §4.2).
pub(super) fn decode_lenient(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let is_line_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if text.iter().any(is_line_break) {
        let joined: Vec<u8> = text.iter().copied().filter(|byte| !is_line_break(byte)).collect();
        return GO_URL_SAFE.decode(joined).map_err(|_| Malformed::NotBase64);
    }
    GO_URL_SAFE.decode(text).map_err(|_| Malformed::NotBase64)
}

/// What v2 does not store: the cost of its Argon2id, the length of its AES key and the length of
/// its salt.
///
/// Its text is `t=3,m=65536,p=4`, followed by `,key=24` and `,salt=32` where they differ from 32
/// and 16 bytes. Parsing accepts any order, and the names of the presets of [`KdfParams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V2Params {
    params: KdfParams,
    key_len: AesKeyLen,
    salt_len: usize,
}

impl Default for V2Params {
    /// The default of the Go package.
    fn default() -> Self {
        Self::new(KdfParams::DEFAULT)
    }
}

impl V2Params {
    /// The shortest salt, in bytes, that Argon2id is defined for (RFC 9106 §3.1).
    pub const MIN_SALT_LEN: usize = 8;
    /// The longest salt, in bytes, that is read; far beyond any known use.
    pub const MAX_SALT_LEN: usize = 1024;

    /// Creates parameters with this Argon2id cost and the defaults of the Go package for the rest:
    /// an AES key of 32 bytes and a salt of 16.
    #[must_use]
    pub fn new(params: KdfParams) -> Self {
        Self { params, key_len: AesKeyLen::Bytes32, salt_len: Salt::LEN }
    }

    /// Sets the length of the AES key.
    #[must_use]
    pub fn with_key_len(self, key_len: AesKeyLen) -> Self {
        Self { key_len, ..self }
    }

    /// Sets the length of the salt, in bytes.
    ///
    /// # Errors
    /// [`ParseV2ParamsError::SaltLen`] outside [`MIN_SALT_LEN`](Self::MIN_SALT_LEN) to
    /// [`MAX_SALT_LEN`](Self::MAX_SALT_LEN).
    pub fn with_salt_len(self, salt_len: usize) -> Result<Self, ParseV2ParamsError> {
        if (Self::MIN_SALT_LEN..=Self::MAX_SALT_LEN).contains(&salt_len) {
            Ok(Self { salt_len, ..self })
        } else {
            Err(ParseV2ParamsError::SaltLen)
        }
    }

    /// Returns the Argon2id cost.
    #[must_use]
    pub fn params(&self) -> &KdfParams {
        &self.params
    }

    /// Returns the length of the AES key.
    #[must_use]
    pub fn key_len(&self) -> AesKeyLen {
        self.key_len
    }

    /// Returns the length of the salt, in bytes.
    #[must_use]
    pub fn salt_len(&self) -> usize {
        self.salt_len
    }
}

impl fmt::Display for V2Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.params)?;
        if self.key_len != AesKeyLen::default() {
            write!(f, ",key={}", self.key_len.bytes())?;
        }
        if self.salt_len != Salt::LEN {
            write!(f, ",salt={}", self.salt_len)?;
        }
        Ok(())
    }
}

impl FromStr for V2Params {
    type Err = ParseV2ParamsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(params) = KdfParams::preset(text) {
            return Ok(Self::new(params));
        }
        let [m_cost, t, p, key_len, salt_len] = parse_fields(text, ["m", "t", "p", "key", "salt"])
            .map_err(|_| ParseV2ParamsError::Syntax)?;
        let (Some(m_cost), Some(t), Some(p)) = (m_cost, t, p) else {
            return Err(ParseV2ParamsError::Syntax);
        };
        let params = KdfParams::new(m_cost, t, p).map_err(ParseKdfParamsError::from)?;
        let key_len = match key_len {
            None | Some(32) => AesKeyLen::Bytes32,
            Some(24) => AesKeyLen::Bytes24,
            Some(16) => AesKeyLen::Bytes16,
            Some(_) => return Err(ParseV2ParamsError::KeyLen),
        };
        let cost = Self::new(params).with_key_len(key_len);
        match salt_len {
            None => Ok(cost),
            Some(len) => {
                cost.with_salt_len(usize::try_from(len).map_err(|_| ParseV2ParamsError::SaltLen)?)
            }
        }
    }
}

/// The length of an AES key.
///
/// Exhaustive on purpose: AES has no other key lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AesKeyLen {
    /// AES-128.
    Bytes16,
    /// AES-192.
    Bytes24,
    /// AES-256, the default of the Go package.
    #[default]
    Bytes32,
}

impl AesKeyLen {
    /// Returns the number of bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Bytes16 => 16,
            Self::Bytes24 => 24,
            Self::Bytes32 => 32,
        }
    }
}

/// Why a text is not a set of v2 parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseV2ParamsError {
    /// The text is neither in this form nor the name of a preset.
    #[error(
        "a v2 cost is written like t=3,m=65536,p=4 or t=3,m=65536,p=4,key=32,salt=16 (m in KiB), or default, \
         lightweight or high_security"
    )]
    Syntax,
    /// The Argon2id cost is invalid.
    #[error(transparent)]
    Params(#[from] ParseKdfParamsError),
    /// AES has no keys of this length.
    #[error("an AES key has 16, 24 or 32 bytes")]
    KeyLen,
    /// The salt is too short or too long.
    #[error("a v2 salt has {} to {} bytes", V2Params::MIN_SALT_LEN, V2Params::MAX_SALT_LEN)]
    SaltLen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_and_written() {
        let all = "t=3,m=65536,p=4,key=24,salt=32";
        let cost: V2Params = all.parse().unwrap();
        assert_eq!((cost.params(), cost.key_len()), (&KdfParams::DEFAULT, AesKeyLen::Bytes24));
        assert_eq!(cost.salt_len(), 32);
        assert_eq!(cost.to_string(), all);
        for text in ["default", "t=3,m=65536,p=4", "salt=16,p=4,key=32,m=65536,t=3"] {
            assert_eq!(text.parse(), Ok(V2Params::default()), "{text}");
        }
        assert_eq!(V2Params::default().to_string(), "t=3,m=65536,p=4");
        let fails = |text: &str| text.parse::<V2Params>().unwrap_err();
        assert_eq!(fails("t=3,m=65536,p=4,key=31"), ParseV2ParamsError::KeyLen);
        assert_eq!(fails("t=3,m=65536,p=4,salt=7"), ParseV2ParamsError::SaltLen);
        assert_eq!(fails("t=3,m=65536,p=4,salt=1025"), ParseV2ParamsError::SaltLen);
        assert_eq!(fails("t=3,m=65536,p=4,iv=12"), ParseV2ParamsError::Syntax);
        let no_pass = ParseKdfParamsError::Invalid(crate::crypto::kdf::InvalidKdfParams::NoPass);
        assert_eq!(fails("t=0,m=65536,p=4"), ParseV2ParamsError::Params(no_pass));
    }
}
