//! Times in the schema of the Go package: text in UTC, in whole seconds.

use std::cmp::Ordering;

use jiff::{civil, tz::TimeZone};
use vault_store::Timestamp;

use crate::error::Unstorable;

/// The value for "never". It compares as later than any other time, as programs that compare texts
/// expect.
pub(crate) const NEVER: &str = "9999-12-31 23:59:59";

/// Formats a time, rounded down to the second.
pub(crate) fn text(time: Timestamp) -> Result<String, Unstorable> {
    let seconds = time.as_micros().div_euclid(1_000_000);
    jiff::Timestamp::from_second(seconds)
        .map(|time| TimeZone::UTC.to_datetime(time))
        .ok()
        // A sign before the year would sort before the digits, and no program would read it.
        .filter(|time| time.year() >= 0)
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .ok_or(Unstorable::TimeTooEarly)
}

/// Formats a time to the microsecond.
pub(crate) fn precise_text(time: Timestamp) -> Result<String, Unstorable> {
    Ok(format!("{}.{:06}", text(time)?, time.as_micros().rem_euclid(1_000_000)))
}

/// Formats a time that may be never.
pub(crate) fn text_or_never(time: Option<Timestamp>) -> Result<String, Unstorable> {
    time.map_or_else(|| Ok(NEVER.to_owned()), text)
}

/// Parses a stored time. `None` means never, and is also returned for an invalid time: NULL, the
/// empty text, anything else.
///
/// An invalid expiry counts as not reached, as in the Go package: no record is hidden or lost
/// because of it.
pub(crate) fn read(stored: Option<&[u8]>) -> Option<Timestamp> {
    let text = std::str::from_utf8(stored?).ok()?.trim();
    // Drivers also write RFC 3339; an offset must be honoured.
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let time = text.parse::<civil::DateTime>().ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    })?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

/// How SQLite compares two stored ends, be it expiry or soft deletion:
/// [`ENDS`](crate::statements::ENDS). What is never is later than every time.
pub(crate) fn compare_ends(one: &str, other: &str) -> Ordering {
    let end = |text: &str| read(Some(text.as_bytes())).and_then(Timestamp::as_end);
    match (end(one), end(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    }
}

/// How SQLite compares two stored times of creation or of change:
/// [`MOMENTS`](crate::statements::MOMENTS).
pub(crate) fn compare_moments(one: &str, other: &str) -> Ordering {
    let moment = |text: &str| read_or_epoch(Some(text.as_bytes()));
    moment(one).cmp(&moment(other))
}

/// Parses a time of creation or modification; an invalid one is 1970-01-01.
pub(crate) fn read_or_epoch(stored: Option<&[u8]>) -> Timestamp {
    read(stored).unwrap_or(Timestamp::from_micros(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn times_are_text_in_utc() {
        assert_eq!(text(seconds(1_795_308_918)).unwrap(), "2026-11-22 00:55:18");
        assert_eq!(text(Timestamp::from_micros(-1)).unwrap(), "1969-12-31 23:59:59");
        assert_eq!(text(Timestamp::MAX).unwrap(), "9999-12-30 22:00:00");
        assert_eq!(text_or_never(None).unwrap(), NEVER);
        assert!(text(Timestamp::MAX).unwrap().as_str() < NEVER);
        assert_eq!(text(Timestamp::from_micros(i64::MIN)), Err(Unstorable::TimeTooEarly));
        assert_eq!(text(seconds(-62_167_219_201)), Err(Unstorable::TimeTooEarly)); // in the year -1
    }

    #[test]
    fn parts_of_a_second_are_kept_for_comparing_only() {
        let time = Timestamp::from_micros(1_795_308_918_250_999);
        assert_eq!(text(time).unwrap(), "2026-11-22 00:55:18");
        assert_eq!(precise_text(time).unwrap(), "2026-11-22 00:55:18.250999");
        let before_1970 = Timestamp::from_micros(-1);
        assert_eq!(precise_text(before_1970).unwrap(), "1969-12-31 23:59:59.999999");
    }

    #[test]
    fn other_forms_of_a_time_are_read_too() {
        for text in [
            "2026-11-22 00:55:18",
            "2026-11-22T00:55:18",
            "2026-11-22T00:55:18Z",
            "2026-11-22 01:55:18+01:00",
            " 2026-11-22 00:55:18\n",
        ] {
            assert_eq!(read(Some(text.as_bytes())), Some(seconds(1_795_308_918)), "{text}");
        }
        assert_eq!(
            read(Some(b"2026-11-22 00:55:18.25")),
            Some(Timestamp::from_micros(1_795_308_918_250_000))
        );
        assert_eq!(read(Some(b"2026-11-22")), Some(seconds(1_795_305_600)));
    }

    #[test]
    fn what_is_no_time_is_never_or_the_epoch() {
        let odd: [Option<&[u8]>; 7] = [
            None,
            Some(b""),
            Some(b"soon"),
            Some(b"1795308918"),
            Some(b"2026-13-01 00:00:00"),
            Some(b"\xff"),
            Some(NEVER.as_bytes()),
        ];
        for stored in odd {
            assert_eq!(read(stored), None, "{stored:?}");
            assert_eq!(read_or_epoch(stored), Timestamp::from_micros(0), "{stored:?}");
        }
    }

    #[test]
    fn what_is_no_end_is_later_than_every_end_and_all_of_it_is_equal() {
        let never = ["", "soon", NEVER, "0001-01-01 00:00:00", "1969-12-31 23:59:59", "2024-02-30"];
        for one in never {
            assert_eq!(compare_ends(one, "9999-12-30 22:00:00"), Ordering::Greater, "{one}");
            assert_eq!(compare_ends("1970-01-01", one), Ordering::Less, "{one}");
            for other in never {
                assert_eq!(compare_ends(one, other), Ordering::Equal, "{one} {other}");
            }
        }
        let (berlin, utc) = ("2026-11-22T01:55:18+01:00", "2026-11-22 00:55:18.000001");
        assert_eq!(compare_ends(berlin, utc), Ordering::Less);
        assert_eq!(compare_moments("soon", "1970-01-01"), Ordering::Equal);
        assert_eq!(compare_moments("0001-01-01", "soon"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn whole_seconds_come_back(time in -60_000_000_000i64..=253_402_207_200) {
            let time = seconds(time);
            prop_assert_eq!(read(Some(text(time).unwrap().as_bytes())), Some(time));
        }
    }
}
