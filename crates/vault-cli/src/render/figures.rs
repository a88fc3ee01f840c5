//! Numbers as people read them.

use std::time::Duration;

/// With a comma between thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In the largest binary unit that leaves a number of 1 or more.
pub(crate) fn bytes(number: u64) -> String {
    let scaled = |shift: u32| as_float(number) / as_float(1 << shift);
    match number {
        0..0x400 => format!("{number} B"),
        0x400..0x10_0000 => format!("{:.1} KiB", scaled(10)),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", scaled(20)),
        _ => format!("{:.2} GiB", scaled(30)),
    }
}

/// In seconds with two digits, from a minute on as [`whole_seconds`].
pub(crate) fn seconds(time: Duration) -> String {
    if time < Duration::from_mins(1) {
        return format!("{:.2} s", time.as_secs_f64());
    }
    whole_seconds(time)
}

/// In seconds, minutes or hours, without fractions.
pub(crate) fn whole_seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match (whole / 3600, whole / 60) {
        (0, 0) => format!("{whole} s"),
        (0, minutes) => format!("{minutes} min {:02} s", whole % 60),
        (hours, minutes) => format!("{hours} h {:02} min", minutes % 60),
    }
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
    fn thousands_are_set_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(200 << 20), "200.0 MiB");
        assert_eq!(bytes(5 << 30), "5.00 GiB");
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
        assert_eq!(seconds(Duration::from_secs(754)), "12 min 34 s");
        assert_eq!(seconds(Duration::from_mins(61)), "1 h 01 min");
        assert_eq!(whole_seconds(Duration::from_millis(59_999)), "59 s");
        assert_eq!(times(1.284), "1.28");
        assert_eq!(times(4_405.4), "4,405");
        assert_eq!(rate(1_000_000, Duration::from_secs(8)), "125,000");
        assert_eq!(rate(5, Duration::from_secs(2)), "2.50");
        assert_eq!(rate(5, Duration::ZERO), "0.00");
    }
}
