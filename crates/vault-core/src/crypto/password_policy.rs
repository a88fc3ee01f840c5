//! What new passwords must be like.

use crate::crypto::secret::Password;

/// The rules for new passwords. By default there is one: not empty.
///
/// Passwords of existing records are never checked: a rule introduced later must not lock anyone
/// out.
///
/// ```
/// use vault_core::Password;
/// use vault_core::password::{PasswordPolicy, PasswordPolicyViolation};
///
/// let policy = PasswordPolicy::nist();
/// assert!(policy.allow(&Password::new("correct horse battery")).is_ok());
/// let refused = policy.allow(&Password::new("Tr0ub4dor&3"));
/// assert_eq!(refused, Err(PasswordPolicyViolation::TooShort { least: 15 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    least: usize,
    empty: Empty,
    required: Vec<Class>,
}

/// Whether the empty password is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    Allowed,
    Refused,
}

/// A class of characters that a password must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Lowercase,
    Uppercase,
    Number,
    Symbol,
}

/// Why a password is refused. It states the rule and nothing about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordPolicyViolation {
    /// It is empty.
    #[error("the password must not be empty")]
    Empty,
    /// It has too few characters.
    #[error("the password must have at least {least} characters")]
    TooShort {
        /// The minimum number of characters.
        least: usize,
    },
    /// It contains no lower-case letter.
    #[error("the password must contain a lower-case letter")]
    NoLowercase,
    /// It contains no upper-case letter.
    #[error("the password must contain an upper-case letter")]
    NoUppercase,
    /// It contains no digit.
    #[error("the password must contain a digit")]
    NoNumber,
    /// It contains no symbol.
    #[error("the password must contain a symbol")]
    NoSymbol,
}

/// Not empty, and no other rule: an application knows its users, and a library that guesses rules
/// for them would only lock some out.
impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { least: 0, empty: Empty::Refused, required: Vec::new() }
    }
}

impl PasswordPolicy {
    /// At least 15 characters and no composition rules, as NIST requires of a password used alone
    /// (SP 800-63B-4 §3.1.1.2).
    #[must_use]
    pub fn nist() -> Self {
        Self::default().min_length(15)
    }

    /// Requires a minimum number of characters (Unicode code points, as NIST counts them; a byte
    /// that is not UTF-8 counts as one).
    #[must_use]
    pub fn min_length(mut self, characters: usize) -> Self {
        self.least = characters;
        self
    }

    /// Requires a lower-case letter.
    #[must_use]
    pub fn require_lowercase(self) -> Self {
        self.require(Class::Lowercase)
    }

    /// Requires an upper-case letter.
    #[must_use]
    pub fn require_uppercase(self) -> Self {
        self.require(Class::Uppercase)
    }

    /// Requires a digit.
    #[must_use]
    pub fn require_number(self) -> Self {
        self.require(Class::Number)
    }

    /// Requires a symbol: a character that is neither a letter, a digit nor white space.
    #[must_use]
    pub fn require_symbol(self) -> Self {
        self.require(Class::Symbol)
    }

    /// Allows the empty password, whatever the other rules are, as in the Go package.
    #[must_use]
    pub fn allow_empty(mut self) -> Self {
        self.empty = Empty::Allowed;
        self
    }

    /// Checks a password, in a time that depends on it.
    ///
    /// # Errors
    /// [`PasswordPolicyViolation`] for the first rule that it violates.
    pub fn allow(&self, password: &Password) -> Result<(), PasswordPolicyViolation> {
        if password.is_empty() {
            return match self.empty {
                Empty::Allowed => Ok(()),
                Empty::Refused => Err(PasswordPolicyViolation::Empty),
            };
        }
        if characters(password).count() < self.least {
            return Err(PasswordPolicyViolation::TooShort { least: self.least });
        }
        let missing = |class: &&Class| {
            !characters(password).any(|character| character.is_some_and(|c| class.holds(c)))
        };
        self.required.iter().find(missing).map_or(Ok(()), |class| Err(class.refusal()))
    }

    fn require(mut self, class: Class) -> Self {
        self.required.push(class);
        self
    }
}

/// The characters of a password, without a copy of it; `None` is a byte that is not text.
fn characters(password: &Password) -> impl Iterator<Item = Option<char>> {
    password.as_bytes().utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().map(Some).chain(chunk.invalid().iter().map(|_| None))
    })
}

impl Class {
    fn holds(self, character: char) -> bool {
        match self {
            Self::Lowercase => character.is_lowercase(),
            Self::Uppercase => character.is_uppercase(),
            Self::Number => character.is_numeric(),
            Self::Symbol => !character.is_alphanumeric() && !character.is_whitespace(),
        }
    }

    fn refusal(self) -> PasswordPolicyViolation {
        match self {
            Self::Lowercase => PasswordPolicyViolation::NoLowercase,
            Self::Uppercase => PasswordPolicyViolation::NoUppercase,
            Self::Number => PasswordPolicyViolation::NoNumber,
            Self::Symbol => PasswordPolicyViolation::NoSymbol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &PasswordPolicy, password: &str) -> Result<(), PasswordPolicyViolation> {
        policy.allow(&Password::new(password))
    }

    #[test]
    fn by_default_only_the_empty_password_is_refused() {
        let policy = PasswordPolicy::default();
        assert_eq!(judge(&policy, ""), Err(PasswordPolicyViolation::Empty));
        assert_eq!(judge(&policy, " "), Ok(()));
        assert_eq!(policy.allow(&Password::new([0xff])), Ok(()));
    }

    #[test]
    fn nist_asks_for_fifteen_characters_and_no_composition() {
        let policy = PasswordPolicy::nist();
        assert_eq!(
            judge(&policy, &"a".repeat(14)),
            Err(PasswordPolicyViolation::TooShort { least: 15 })
        );
        assert_eq!(judge(&policy, &"a".repeat(15)), Ok(()));
        // code points, not bytes
        assert_eq!(
            judge(&policy, &"é".repeat(14)),
            Err(PasswordPolicyViolation::TooShort { least: 15 })
        );
        assert_eq!(judge(&policy, &"é".repeat(15)), Ok(()));
        assert_eq!(policy.allow(&Password::new([0xff; 15])), Ok(()));
    }

    #[test]
    fn each_class_is_asked_for() {
        let all = PasswordPolicy::default()
            .require_lowercase()
            .require_uppercase()
            .require_number()
            .require_symbol();
        assert_eq!(judge(&all, "aB1!"), Ok(()));
        assert_eq!(judge(&all, "AB1!"), Err(PasswordPolicyViolation::NoLowercase));
        assert_eq!(judge(&all, "ab1!"), Err(PasswordPolicyViolation::NoUppercase));
        assert_eq!(judge(&all, "aBc!"), Err(PasswordPolicyViolation::NoNumber));
        assert_eq!(judge(&all, "aB1 "), Err(PasswordPolicyViolation::NoSymbol));
    }

    #[test]
    fn the_empty_password_may_be_allowed() {
        let policy = PasswordPolicy::nist().allow_empty();
        assert_eq!(judge(&policy, ""), Ok(()));
        assert_eq!(judge(&policy, "a"), Err(PasswordPolicyViolation::TooShort { least: 15 }));
    }
}
