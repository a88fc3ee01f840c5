//! What every store refuses because it would not be read again, and the limits of settings. The
//! messages are here, so that they are the same in all backends.

use crate::error::{StoreError, StoreErrorKind};
use crate::record::Record;
use crate::unreadable::{MAX_KEY_LEN, UnreadableReason};

/// The longest value of a setting that is written or loaded, in bytes: 64 KiB.
///
/// The vault's own settings have about a hundred bytes; this leaves room for an application's
/// configuration. A longer one is refused without being loaded, so that an attacker with write
/// access to the database cannot exhaust memory.
pub const MAX_SETTING_LEN: usize = 64 * 1024;

/// The most settings that a vault holds and that are loaded: 256, which of the longest take 16 MiB.
pub const MAX_SETTINGS: usize = 256;

/// Why something is neither stored nor loaded; for stores.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverLimit {
    /// The id of a record to write is longer than [`MAX_KEY_LEN`].
    Id {
        /// Its length in bytes.
        len: u64,
    },
    /// The token of a record to write is longer than [`MAX_KEY_LEN`].
    Token {
        /// Its length in bytes.
        len: u64,
    },
    /// The name of a setting to write is longer than [`MAX_KEY_LEN`].
    SettingName {
        /// Its length in bytes.
        len: u64,
    },
    /// The value of a setting to write is longer than [`MAX_SETTING_LEN`].
    SettingValue {
        /// Its length in bytes.
        len: u64,
    },
    /// A setting to write would be one more than [`MAX_SETTINGS`].
    OneSettingMore,
    /// The name of a stored setting is longer than [`MAX_KEY_LEN`].
    StoredSettingName {
        /// Its length in bytes.
        len: u64,
    },
    /// The value of a stored setting is longer than [`MAX_SETTING_LEN`].
    StoredSettingValue {
        /// The name.
        name: String,
        /// The value's length in bytes.
        len: u64,
    },
    /// There are more settings than [`MAX_SETTINGS`].
    StoredSettings,
}

impl OverLimit {
    /// Checks a record that is to be written.
    ///
    /// # Errors
    /// What is too long.
    pub fn check_record(record: &Record) -> Result<(), Self> {
        let (id, token) = (record.id.as_bytes().len(), record.token.as_str().len());
        match UnreadableReason::of_lengths(id, token) {
            None => Ok(()),
            Some(UnreadableReason::IdTooLong { len }) => Err(Self::Id { len }),
            Some(_) => Err(Self::Token { len: token as u64 }),
        }
    }

    /// Checks a setting that is to be written.
    ///
    /// # Errors
    /// What is too long.
    pub fn check_setting(name: &str, value: &str) -> Result<(), Self> {
        if name.len() > MAX_KEY_LEN {
            return Err(Self::SettingName { len: name.len() as u64 });
        }
        if value.len() > MAX_SETTING_LEN {
            return Err(Self::SettingValue { len: value.len() as u64 });
        }
        Ok(())
    }

    /// Checks the lengths of a stored setting before its value is loaded.
    ///
    /// # Errors
    /// What is too long.
    pub fn check_stored_setting(name: &str, len: u64) -> Result<(), Self> {
        if len > MAX_SETTING_LEN as u64 {
            return Err(Self::StoredSettingValue { name: name.to_owned(), len });
        }
        Ok(())
    }

    /// One sentence about the vault at a place.
    #[must_use]
    pub fn into_store_error(self, place: impl std::fmt::Display) -> StoreError {
        let refused = |what: String| (StoreErrorKind::Unsupported, what);
        let (kind, what) = match self {
            Self::Id { len } => refused(too_long("id of a record", len, MAX_KEY_LEN)),
            Self::Token { len } => refused(too_long("token of a record", len, MAX_KEY_LEN)),
            Self::SettingName { len } => refused(too_long("name of a setting", len, MAX_KEY_LEN)),
            Self::SettingValue { len } => {
                refused(too_long("value of a setting", len, MAX_SETTING_LEN))
            }
            Self::OneSettingMore => refused(format!(
                "there are {MAX_SETTINGS} settings already, the most that a vault holds; delete those that are not used"
            )),
            Self::StoredSettingName { len } => (
                StoreErrorKind::Corrupt,
                format!(
                    "the name of a setting has {len} bytes, and at most {MAX_KEY_LEN} are read; it was not loaded. Delete that \
                     row from the table of settings"
                ),
            ),
            Self::StoredSettingValue { name, len } => {
                let name: String = name.chars().take(64).flat_map(char::escape_default).collect();
                (
                    StoreErrorKind::Corrupt,
                    format!(
                        "the setting {name} has {len} bytes, and at most {MAX_SETTING_LEN} are read; it was not loaded. Restore \
                         that setting from a backup"
                    ),
                )
            }
            Self::StoredSettings => (
                StoreErrorKind::Corrupt,
                format!(
                    "there are more than {MAX_SETTINGS} settings, the most that are read; none was loaded. Delete those that are \
                     not used from the table of settings"
                ),
            ),
        };
        StoreError::new(kind, format!("{place}: {what}"))
    }
}

fn too_long(what: &str, len: u64, most: usize) -> String {
    format!("the {what} has {len} bytes, and at most {most} can be stored; choose a shorter one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_can_be_written_and_nothing_longer() {
        let (name, value) = ("n".repeat(MAX_KEY_LEN), "v".repeat(MAX_SETTING_LEN));
        assert_eq!(OverLimit::check_setting(&name, &value), Ok(()));
        assert_eq!(OverLimit::check_stored_setting(&name, value.len() as u64), Ok(()));
        for (name, value) in [(name.clone() + "n", value.clone()), (name, value + "v")] {
            let refused = OverLimit::check_setting(&name, &value).unwrap_err();
            assert_eq!(refused.into_store_error("v").kind(), StoreErrorKind::Unsupported);
        }
        let stored = OverLimit::check_stored_setting("a\u{1b}", 1 << 40).unwrap_err();
        let error = stored.into_store_error("v");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert!(!error.to_string().contains('\u{1b}'));
    }
}
