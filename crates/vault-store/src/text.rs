//! Tokens, record ids and times as text: parsing, conversions, and serde with the feature `serde`.

use std::{str::FromStr, time::SystemTime};

use crate::record::RecordId;
use crate::time::Timestamp;
use crate::token::{ParseTokenError, Token};

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Token {
    type Error = ParseTokenError;

    fn try_from(text: &str) -> Result<Self, ParseTokenError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Token {
    type Error = ParseTokenError;

    fn try_from(text: String) -> Result<Self, ParseTokenError> {
        Self::new(text)
    }
}

/// A text is not a record id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseRecordIdError {
    /// The text is empty.
    #[error("invalid record id: it is empty")]
    Empty,
    /// The text is longer than [`RecordId::MAX_LEN`] bytes.
    #[error("invalid record id: {len} bytes, and at most {} are allowed", RecordId::MAX_LEN)]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// The text contains a NUL character.
    #[error("invalid record id: it contains a NUL character")]
    Nul,
}

/// Accepts what every store can hold: 1 to 255 bytes without NUL. What a database already holds may
/// be anything and is wrapped with [`RecordId::from_stored`].
impl FromStr for RecordId {
    type Err = ParseRecordIdError;

    fn from_str(text: &str) -> Result<Self, ParseRecordIdError> {
        if text.is_empty() {
            return Err(ParseRecordIdError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(ParseRecordIdError::TooLong { len: text.len() });
        }
        if text.contains('\0') {
            return Err(ParseRecordIdError::Nul);
        }
        Ok(Self::from_stored(text))
    }
}

impl TryFrom<&str> for RecordId {
    type Error = ParseRecordIdError;

    fn try_from(text: &str) -> Result<Self, ParseRecordIdError> {
        text.parse()
    }
}

/// A text is not a time, or a time is outside the range of [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid time: expected RFC 3339, for example 2026-11-22T02:08:51Z, and not after {}",
    Timestamp::MAX
)]
pub struct ParseTimestampError;

/// Accepts RFC 3339 with any offset. What is finer than a microsecond is cut off.
impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| ParseTimestampError)?;
        Self::within_range(time.as_microsecond()).map_err(|_| ParseTimestampError)
    }
}

impl TryFrom<&str> for Timestamp {
    type Error = ParseTimestampError;

    fn try_from(text: &str) -> Result<Self, ParseTimestampError> {
        text.parse()
    }
}

/// A time is outside the range of the type it is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time out of range: vaults hold times up to {}", Timestamp::MAX)]
pub struct TimeOutOfRange;

impl Timestamp {
    fn within_range(micros: i64) -> Result<Self, TimeOutOfRange> {
        if micros > Self::MAX.as_micros() {
            return Err(TimeOutOfRange);
        }
        Ok(Self::from_micros(micros))
    }
}

/// What is finer than a microsecond is rounded down.
impl TryFrom<SystemTime> for Timestamp {
    type Error = TimeOutOfRange;

    fn try_from(time: SystemTime) -> Result<Self, TimeOutOfRange> {
        let micros = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).map_err(|_| TimeOutOfRange)?,
            Err(before) => {
                let micros = before.duration().as_nanos().div_ceil(1000);
                -i64::try_from(micros).map_err(|_| TimeOutOfRange)?
            }
        };
        Self::within_range(micros)
    }
}

/// Fails only where the platform's clock cannot represent the time.
impl TryFrom<Timestamp> for SystemTime {
    type Error = TimeOutOfRange;

    fn try_from(time: Timestamp) -> Result<Self, TimeOutOfRange> {
        let distance = std::time::Duration::from_micros(time.as_micros().unsigned_abs());
        let moved = if time.as_micros() < 0 {
            Self::UNIX_EPOCH.checked_sub(distance)
        } else {
            Self::UNIX_EPOCH.checked_add(distance)
        };
        moved.ok_or(TimeOutOfRange)
    }
}

/// Serializes as the text that `Display` shows, and deserializes as `FromStr` parses.
#[cfg(feature = "serde")]
macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

#[cfg(feature = "serde")]
serde_as_text!(Token, RecordId, Timestamp);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_is_parsed_by_its_rules_and_shown_as_it_is() {
        let token: Token = "ключ 🔑".parse().unwrap();
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert_eq!(Token::try_from("ключ 🔑"), Ok(token.clone()));
        assert_eq!(Token::try_from(token.to_string()), Ok(token));
        assert_eq!("".parse::<Token>(), Err(ParseTokenError::Empty));
        assert_eq!(Token::try_from("a\0b"), Err(ParseTokenError::Nul));
        let long = "x".repeat(256);
        assert_eq!(Token::try_from(long), Err(ParseTokenError::TooLong { len: 256 }));
    }

    #[test]
    fn a_record_id_is_what_every_store_can_hold() {
        let id = RecordId::generate(Timestamp::from_micros(0)).unwrap();
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_eq!(RecordId::try_from(id.as_str()), Ok(id));
        assert_eq!("".parse::<RecordId>(), Err(ParseRecordIdError::Empty));
        assert_eq!("a\0".parse::<RecordId>(), Err(ParseRecordIdError::Nul));
        assert!("x".repeat(255).parse::<RecordId>().is_ok());
        let long = "é".repeat(128);
        assert_eq!(long.parse::<RecordId>(), Err(ParseRecordIdError::TooLong { len: 256 }));
    }

    #[test]
    fn a_time_is_read_as_it_is_shown() {
        for micros in [0, 1, -1, 1_795_313_331_000_000, Timestamp::MAX.as_micros()] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(time.to_string().parse(), Ok(time), "{micros}");
        }
        let offset = Timestamp::try_from("2026-11-22T03:08:51.0000019+01:00");
        assert_eq!(offset, "2026-11-22T02:08:51.000001Z".parse());
        let beyond = "9999-12-30T22:00:00.5Z";
        for refused in ["", "yesterday", "2026-11-22", "2026-02-30T00:00:00Z", beyond] {
            assert_eq!(refused.parse::<Timestamp>(), Err(ParseTimestampError), "{refused}");
        }
    }

    #[test]
    fn a_time_is_a_system_time_and_back() {
        for micros in [0, 1, -1, -1_500_001, Timestamp::MAX.as_micros()] {
            let time = Timestamp::from_micros(micros);
            let system = SystemTime::try_from(time).unwrap();
            assert_eq!(Timestamp::try_from(system), Ok(time), "{micros}");
        }
        let nanosecond_before = SystemTime::UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(Timestamp::try_from(nanosecond_before), Ok(Timestamp::from_micros(-1)));
        let last = SystemTime::try_from(Timestamp::MAX).unwrap();
        assert_eq!(Timestamp::try_from(last + Duration::from_micros(1)), Err(TimeOutOfRange));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn serde_writes_and_checks_the_text() {
        fn round_trip<T>(value: &T, json: &str)
        where
            T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
        {
            assert_eq!(serde_json::to_string(value).unwrap(), json);
            assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
        }
        round_trip(&Token::new("smtp").unwrap(), "\"smtp\"");
        round_trip(&RecordId::from_stored("a-1"), "\"a-1\"");
        round_trip(&Timestamp::from_micros(1_000_001), "\"1970-01-01T00:00:01.000001Z\"");
        assert!(serde_json::from_str::<Token>("\"\"").is_err());
        assert!(serde_json::from_str::<RecordId>("\"\\u0000\"").is_err());
        assert!(serde_json::from_str::<Timestamp>("1").is_err());
    }
}
