//! Points in time, and clocks.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A point in time: whole microseconds since 1970-01-01 00:00:00 UTC.
///
/// Postgres stores microseconds. The SQLite schema of the Go package stores whole seconds, rounded
/// down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-30 22:00:00 UTC, the last time that can be shown in every time zone with a
    /// four-digit year.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// Creates a time from microseconds since the Unix epoch. Later times than [`Timestamp::MAX`]
    /// become that.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros > Self::MAX.0 { Self::MAX } else { Self(micros) }
    }

    /// Returns the microseconds since the Unix epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns this time plus a duration, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// This time as a time of expiry or of soft deletion: `None`, which is never, before 1970.
    ///
    /// A time before 1970 is another program's word for "none": Go's zero time (the year 1), for
    /// example, which the Go package reads as "never". No record has ended then,
    /// so none is hidden or removed because of it.
    #[must_use]
    pub const fn as_end(self) -> Option<Self> {
        if self.0 < 0 { None } else { Some(self) }
    }

    /// Whether a time of expiry or of soft deletion has come: from the very moment on, and never
    /// for `None` and for what [`as_end`](Self::as_end) reads as never.
    ///
    /// This is the one judge of such times. A store may select candidates in another way, but what
    /// it shows as expired or removes as expired, this function has judged, or another one that
    /// agrees with it on every time.
    #[must_use]
    pub fn has_come(end: Option<Self>, now: Self) -> bool {
        end.and_then(Self::as_end).is_some_and(|at| at <= now)
    }
}

/// RFC 3339 in UTC, for example `2026-11-22T02:08:51Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

/// The source of the current time. Tests provide their own and never sleep.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        micros_of(SystemTime::now())
    }
}

/// Whatever the clock is set to: what is later than [`Timestamp::MAX`] becomes that.
fn micros_of(time: SystemTime) -> Timestamp {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(match time.duration_since(UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_micros(1).plus(Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_clock_beyond_the_year_9999_stands_still_at_the_last_time() {
        let at = |seconds| micros_of(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1), Timestamp::from_micros(1_000_000));
        assert_eq!(at(253_402_207_199), Timestamp::from_micros(253_402_207_199_000_000));
        for beyond in [253_402_207_201, 253_402_300_800, 1 << 40, 1 << 50] {
            assert_eq!(at(beyond), Timestamp::MAX, "{beyond}");
        }
        let before_1970 = micros_of(UNIX_EPOCH - Duration::from_micros(1));
        assert_eq!(before_1970, Timestamp::from_micros(-1));
    }

    #[test]
    fn an_end_before_1970_never_comes() {
        let go_zero = Timestamp::from_micros(-62_135_596_800_000_000);
        let (before, epoch) = (Timestamp::from_micros(-1), Timestamp::from_micros(0));
        for never in [None, Some(go_zero), Some(before), Some(Timestamp::from_micros(i64::MIN))] {
            for now in [go_zero, before, epoch, Timestamp::MAX] {
                assert!(!Timestamp::has_come(never, now), "{never:?} at {now:?}");
            }
        }
        assert!(Timestamp::has_come(Some(epoch), epoch));
        assert!(!Timestamp::has_come(Some(epoch), before));
        assert!(Timestamp::has_come(Some(Timestamp::MAX), Timestamp::MAX));
    }
}
