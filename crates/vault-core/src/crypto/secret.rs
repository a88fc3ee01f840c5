//! Secrets as types: nothing shows them, nothing copies them needlessly, and their memory is wiped.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A human secret: the bytes that were typed.
///
/// The bytes are never normalized, trimmed or recoded, in any format: `é` as one code point and as two are two
/// passwords, and what is derived is what was given.
///
/// # Security
/// The memory is wiped on drop, `Debug` shows nothing, and there is no `Clone`. Hand over the buffer itself (a
/// `Vec<u8>` or a `String`), since a copy made before this call is not wiped.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes of a password as they are; no bytes at all are a password too.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Whether it has no bytes, which a caller may want to refuse for new passwords.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the same bytes, in a time that depends on their lengths only.
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

/// The value of a record, as it was before it was sealed.
///
/// # Security
/// The memory is wiped on drop, `Debug` shows nothing, and there is no `Clone`.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// The value's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps a buffer that is wiped already, without a copy.
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
