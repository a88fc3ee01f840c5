//! Options whose value is more than a word.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

use vaultstore::time::{Clock as _, SystemClock};
use vaultstore::token::TokenLength;
use vaultstore::{Timestamp, Token};

pub(super) fn at_least_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "give a whole number of 1 or more")
}

pub(super) fn token(text: &str) -> Result<Token, vaultstore::token::ParseTokenError> {
    Token::new(text)
}

pub(super) fn token_length(text: &str) -> Result<TokenLength, String> {
    let length: usize = text.parse().map_err(|_| "give a whole number from 15 to 40".to_owned())?;
    TokenLength::new(length).map_err(|error| error.to_string())
}

pub(super) fn share(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a number from 0 to 1"),
    }
}

/// When a record expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// After this time.
    In(Duration),
    /// At this time.
    At(Timestamp),
}

/// Parses a duration with its unit, as in `30d`; a date, which starts at midnight UTC; or a point
/// in time (RFC 3339).
pub(super) fn expiry(text: &str) -> Result<Expiry, &'static str> {
    const PASSED: &str = "this time has passed; give a later one";
    let Some(time) = point_in_time(text) else { return duration(text).map(Expiry::In) };
    if time <= SystemClock.now() { Err(PASSED) } else { Ok(Expiry::At(time)) }
}

fn point_in_time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = match text.parse::<jiff::civil::Date>() {
        Ok(date) if text.len() == "2027-01-01".len() => {
            date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
        }
        _ => text.parse().ok()?,
    };
    Some(Timestamp::from_micros(time.as_microsecond()))
}

pub(super) fn positive(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "give a whole number of 1 or more")
}

/// A short wait with its unit, as in `200ms`.
pub(super) fn pause(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "give a whole number of 1 or more and a unit, as in 200ms, 2s or 1m";
    match split_unit(text) {
        (number, "ms") => number
            .parse()
            .map(|number: NonZeroU64| Duration::from_millis(number.get()))
            .map_err(|_| WRONG),
        _ => duration(text).map_err(|_| WRONG),
    }
}

/// A wait with its unit, as in `5m`.
pub(super) fn wait(text: &str) -> Result<Duration, &'static str> {
    duration(text).map_err(|_| "give a whole number of 1 or more and a unit, as in 45s, 5m or 1h")
}

/// Parses a duration with its unit, as in `30d`.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "give a whole number of 1 or more and a unit (45s, 90m, 12h, 30d, 2w), or a date as in 2027-01-01";
    let (number, seconds) = match split_unit(text) {
        (number, "s") => (number, 1),
        (number, "m") => (number, 60),
        (number, "h") => (number, 60 * 60),
        (number, "d") => (number, 24 * 60 * 60),
        (number, "w") => (number, 7 * 24 * 60 * 60),
        _ => return Err(WRONG),
    };
    let number: NonZeroU64 = number.parse().map_err(|_| WRONG)?;
    number.get().checked_mul(seconds).map(Duration::from_secs).ok_or(WRONG)
}

/// Parses a size with its unit, as in `1GiB` or `1GB`, in whole KiB.
pub(super) fn memory_kib(text: &str) -> Result<NonZeroU64, &'static str> {
    const WRONG: &str = "give a whole number of 1 or more and a unit, as in 512MiB, 1GiB or 1GB";
    let (number, unit) = split_unit(text);
    let bytes: u64 = match unit.to_ascii_lowercase().as_str() {
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        _ => return Err(WRONG),
    };
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    let bytes = number.checked_mul(bytes).ok_or(WRONG)?;
    NonZeroU64::new(bytes / 1024).ok_or(WRONG)
}

/// A size with its unit, as in `2GiB`, in as many KiB as Argon2id has at most.
pub(super) fn kdf_limit_kib(text: &str) -> Result<u32, &'static str> {
    let kib = memory_kib(text)?.get();
    u32::try_from(kib)
        .map_err(|_| "give less than 4096GiB, the most memory that Argon2id is defined for")
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(duration("90m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("2w"), Ok(Duration::from_hours(14 * 24)));
        for wrong in [
            "",
            "d",
            "30",
            "0d",
            "-1d",
            "1.5h",
            "30 d",
            "99999999999999999999w",
            "18446744073709551615w",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pause_may_be_milliseconds() {
        assert_eq!(pause("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(pause("2s"), Ok(Duration::from_secs(2)));
        for wrong in ["0ms", "200", "ms", "1.5s", "-1ms"] {
            assert!(pause(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_record_expires_after_a_time_or_at_one() {
        assert_eq!(expiry("30d"), Ok(Expiry::In(Duration::from_hours(30 * 24))));
        // 2100-01-01 00:00:00 UTC.
        let at = Ok(Expiry::At(Timestamp::from_micros(4_102_444_800_000_000)));
        for text in ["2100-01-01", "2100-01-01T00:00:00Z", "2100-01-01T02:00:00+02:00"] {
            assert_eq!(expiry(text), at, "{text}");
        }
        for wrong in ["2020-01-01", "2100-02-30", "2100-13-01", "2100-1-1", "01/01/2100", "never"] {
            assert!(expiry(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_need_a_number_and_a_unit() {
        for (text, kib) in [
            ("1GiB", 1024 * 1024),
            ("1gib", 1024 * 1024),
            ("512MiB", 512 * 1024),
            ("65536KiB", 65536),
            ("1GB", 976_562),
            ("100mb", 97_656),
        ] {
            assert_eq!(memory_kib(text), Ok(NonZeroU64::new(kib).unwrap()), "{text}");
        }
        assert_eq!(kdf_limit_kib("2GiB"), Ok(2 << 20));
        assert!(kdf_limit_kib("4096GiB").is_err());
        for wrong in ["", "1", "1G", "0MiB", "1kb", "1.5GiB", "1 GiB", "18446744073709551615GiB"] {
            assert!(memory_kib(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_from_zero_to_one() {
        assert_eq!(share("0.5"), Ok(0.5));
        for wrong in ["1.01", "-0.1", "NaN", "half"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
