//! Numbers as people read them.

use std::time::Duration;

use indicatif::{BinaryBytes, FormattedDuration, HumanCount, HumanDuration};

/// With a comma between thousands.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `1 record`, `1,234 records`.
pub(crate) fn records(number: u64) -> String {
    format!("{} record{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1 expired record`, `1,234 expired records`.
pub(crate) fn expired(number: u64) -> String {
    format!("{} expired record{}", count(number), if number == 1 { "" } else { "s" })
}

/// In the largest binary unit that leaves a number of 1 or more.
pub(crate) fn bytes(number: u64) -> String {
    BinaryBytes(number).to_string()
}

/// KiB as an option takes them, in the largest binary unit that gives a whole number.
pub(crate) fn kib(number: u32) -> String {
    match number {
        0 => "0KiB".to_owned(),
        _ if number.is_multiple_of(1 << 20) => format!("{}GiB", number >> 20),
        _ if number.is_multiple_of(1 << 10) => format!("{}MiB", number >> 10),
        _ => format!("{number}KiB"),
    }
}

/// A measured time: in seconds with two digits, and from a minute on in hours, minutes and seconds.
pub(crate) fn seconds(time: Duration) -> String {
    if time < Duration::from_mins(1) {
        return format!("{:.2} s", time.as_secs_f64());
    }
    FormattedDuration(time).to_string()
}

/// A time that is expected, in one unit.
pub(crate) fn about(time: Duration) -> String {
    HumanDuration(time).to_string()
}

/// A multiple, with two digits as long as they say something.
pub(crate) fn times(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.2}") } else { count(whole(ratio)) }
}

/// How many per second, whole from 10 on.
pub(crate) fn rate(number: u64, time: Duration) -> String {
    let rate = per_second(number, time);
    if rate >= 10.0 { count(whole(rate)) } else { format!("{rate:.2}") }
}

/// How many per second; none in no time.
pub(crate) fn per_second(number: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { as_float(number) / time.as_secs_f64() }
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits only")]
pub(crate) fn as_float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and no rate is negative"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!([2 << 20, 480 << 10, 7].map(kib), ["2GiB", "480MiB", "7KiB"]);
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
        assert_eq!(seconds(Duration::from_secs(754)), "00:12:34");
        assert_eq!(about(Duration::from_secs(754)), "13 minutes");
        assert_eq!(times(1.284), "1.28");
        assert_eq!(times(4_405.4), "4,405");
        assert_eq!(rate(1_000_000, Duration::from_secs(8)), "125,000");
        assert_eq!(rate(5, Duration::from_secs(2)), "2.50");
        assert_eq!(rate(5, Duration::ZERO), "0.00");
    }
}
