//! Types for secrets: not displayable, not copied needlessly, and wiped on drop.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A password: the bytes that were typed.
///
/// The bytes are never normalized, trimmed or transcoded, in any format: `é` as one code point and
/// as two are two different passwords.
///
/// # Security
/// The memory is wiped on drop, `Debug` shows nothing, and there is no `Clone`. Pass the buffer
/// itself (a `Vec<u8>` or a `String`), because a copy made before this call is not wiped.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Wraps the bytes of a password unchanged. An empty password is possible.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Returns whether it is empty, which a caller may want to refuse for new passwords.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether both are the same bytes, in a time that depends only on their lengths.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The plaintext value of a record.
///
/// # Security
/// The memory is wiped on drop, `Debug` shows nothing, and there is no `Clone`.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Returns the bytes of the value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the value is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a buffer that is wiped on drop, without a copy.
    pub(crate) fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Plaintext {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Password::new("hunter2")), "Password(..)");
        assert_eq!(format!("{:?}", Plaintext::from(b"hunter2".to_vec())), "Plaintext(..)");
    }

    #[test]
    fn passwords_are_compared_as_bytes_and_never_normalized() {
        assert!(Password::new("é").is_same_as(&Password::new("\u{e9}")));
        assert!(!Password::new("é").is_same_as(&Password::new("e\u{301}")));
        assert!(!Password::new("abc").is_same_as(&Password::new("abcd")));
        assert!(!Password::new("abc").is_same_as(&Password::new("abd")));
        assert!(Password::new("").is_same_as(&Password::new(Vec::new())));
    }
}
