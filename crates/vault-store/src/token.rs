//! Tokens: the handles an application keeps instead of the secret.

use std::fmt;

use crate::random::RngError;

/// The prefix of generated tokens.
const PREFIX: &str = "tk_";

/// Lower-case Crockford base32: without `i`, `l`, `o`, `u`, so that a token can be read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The handle of a record, unique in its vault.
///
/// A token is not a secret by design of the format, but anyone who has it can ask for the record,
/// so treat it like a session id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(String);

impl Token {
    /// The longest custom token, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Creates a custom token: any text of 1 to 255 bytes without NUL.
    ///
    /// # Errors
    /// [`ParseTokenError`] says which rule the text violates. NUL is refused because Postgres
    /// cannot store it, and a token must mean the same on every backend.
    pub fn new(text: impl Into<String>) -> Result<Self, ParseTokenError> {
        let text = text.into();
        if text.is_empty() {
            return Err(ParseTokenError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(ParseTokenError::TooLong { len: text.len() });
        }
        if text.contains('\0') {
            return Err(ParseTokenError::Nul);
        }
        Ok(Self(text))
    }

    /// Wraps a token as stored in a database, which may violate the rules for new ones.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Generates a random token: `tk_` and lower-case Crockford base32 from the system's CSPRNG.
    ///
    /// # Errors
    /// [`RngError`] if the system has no randomness to give.
    pub fn generate(length: TokenLength) -> Result<Self, RngError> {
        let mut random = vec![0u8; length.0 - PREFIX.len()];
        crate::random::fill_random(&mut random)?;
        let body = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
        Ok(Self(PREFIX.chars().chain(body).collect()))
    }

    /// Returns the text of the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Token {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTokenError {
    /// The text is empty.
    #[error("a token must not be empty")]
    Empty,
    /// The text is longer than [`Token::MAX_LEN`] bytes.
    #[error("a token has at most {} bytes, and this one has {len}", Token::MAX_LEN)]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// The text contains a NUL character.
    #[error("a token must not hold a NUL character")]
    Nul,
}

/// The total length of a generated token, 15 to 40 characters.
///
/// Every character after `tk_` carries 5 bits. The default of 32 characters carries 145 bits, so
/// that even 2^64 tokens are unlikely to collide. The minimum of 15 carries 60 bits and is meant
/// for handles that people type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLength(usize);

impl TokenLength {
    /// The minimum length.
    pub const MIN: usize = 15;
    /// The maximum length.
    pub const MAX: usize = 40;

    /// Creates a length in characters, including `tk_`.
    ///
    /// # Errors
    /// [`ParseTokenLengthError`] outside 15 to 40.
    pub fn new(length: usize) -> Result<Self, ParseTokenLengthError> {
        if (Self::MIN..=Self::MAX).contains(&length) {
            Ok(Self(length))
        } else {
            Err(ParseTokenLengthError { length })
        }
    }
}

impl Default for TokenLength {
    fn default() -> Self {
        Self(32)
    }
}

/// A token length outside 15 to 40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a generated token has {} to {} characters, not {length}",
    TokenLength::MIN,
    TokenLength::MAX
)]
pub struct ParseTokenLengthError {
    /// The requested length.
    pub length: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_has_the_asked_length_and_alphabet() {
        for length in [15, 32, 40] {
            let token = Token::generate(TokenLength::new(length).unwrap()).unwrap();
            let body = token.as_str().strip_prefix("tk_").unwrap();
            assert_eq!(token.as_str().len(), length);
            assert!(body.bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }

    #[test]
    fn the_default_length_carries_at_least_128_bits() {
        assert!((TokenLength::default().0 - PREFIX.len()) * 5 >= 128);
    }

    #[test]
    fn lengths_outside_the_range_are_refused() {
        assert_eq!(TokenLength::new(14), Err(ParseTokenLengthError { length: 14 }));
        assert_eq!(TokenLength::new(41), Err(ParseTokenLengthError { length: 41 }));
    }

    #[test]
    fn custom_tokens_keep_their_rules() {
        assert_eq!(Token::new(""), Err(ParseTokenError::Empty));
        assert_eq!(Token::new("a\0b"), Err(ParseTokenError::Nul));
        assert_eq!(Token::new("x".repeat(256)), Err(ParseTokenError::TooLong { len: 256 }));
        assert_eq!(Token::new("ключ 🔑").unwrap().as_str(), "ключ 🔑");
        assert_eq!(Token::new("x".repeat(255)).unwrap().as_str().len(), 255);
    }
}
