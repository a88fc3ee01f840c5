//! Options whose value is more than a word.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

use vaultstore::Token;
use vaultstore::token::TokenLength;

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

/// A time with its unit, as in `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str =
        "give a whole number of 1 or more and a unit, as in 45s, 90m, 12h, 30d or 2w";
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

/// A size with its unit, as in `1GiB`, in KiB.
pub(super) fn memory_kib(text: &str) -> Result<NonZeroU64, &'static str> {
    const WRONG: &str =
        "give a whole number of 1 or more and a unit, as in 65536KiB, 512MiB or 1GiB";
    let (number, kib) = match split_unit(text) {
        (number, "KiB") => (number, 1),
        (number, "MiB") => (number, 1024),
        (number, "GiB") => (number, 1024 * 1024),
        _ => return Err(WRONG),
    };
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    number.checked_mul(kib).and_then(NonZeroU64::new).ok_or(WRONG)
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
    fn sizes_need_a_number_and_a_binary_unit() {
        assert_eq!(memory_kib("1GiB"), Ok(NonZeroU64::new(1024 * 1024).unwrap()));
        assert_eq!(memory_kib("512MiB"), Ok(NonZeroU64::new(512 * 1024).unwrap()));
        for wrong in ["", "1", "0MiB", "1GB", "1gib", "18446744073709551615GiB"] {
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
