//! Slows a run down, for a database that others use at the same time.

use std::time::{Duration, Instant};

use crate::args::PaceArgs;

/// The waits between the pages of a run.
pub(super) struct Throttle {
    pace: PaceArgs,
    /// When the last wait ended, and how many records had been gone through then.
    since: Instant,
    read: Option<u64>,
}

impl Throttle {
    pub(super) fn new(pace: PaceArgs) -> Self {
        Self { pace, since: Instant::now(), read: None }
    }

    /// How long to wait before the next page, now that this many records have been gone through.
    /// The first page of a resumed run also counts those of earlier runs, and is not waited for.
    pub(super) fn wait(&mut self, read: u64, now: Instant) -> Duration {
        let pause = self.pace.pause.unwrap_or_default();
        let Some(rate) = self.pace.max_rate else { return pause };
        let page = self.read.replace(read).map_or(0, |before| read.saturating_sub(before));
        let nanos = u128::from(page) * 1_000_000_000 / u128::from(rate.get());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let wait = takes.saturating_sub(now.saturating_duration_since(self.since)).max(pause);
        self.since = now + wait;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_take_as_long_as_the_rate_says_and_never_less_than_the_pause() {
        let pace = |rate: Option<u64>, pause: Option<u64>| {
            Throttle::new(PaceArgs {
                max_rate: rate.map(|rate| rate.try_into().unwrap()),
                pause: pause.map(Duration::from_millis),
            })
        };
        let mut throttle = pace(Some(100), None);
        let mut now = throttle.since;
        let ms = Duration::from_millis;
        assert_eq!(throttle.wait(50_000, now), ms(0));
        now += ms(200);
        assert_eq!(throttle.wait(50_100, now), ms(800));
        now += ms(800);
        assert_eq!(throttle.wait(50_150, now), ms(500));
        now += ms(500 + 5_000);
        assert_eq!(throttle.wait(50_250, now), ms(0));
        assert_eq!(pace(None, Some(20)).wait(7, now), ms(20));
        let mut both = pace(Some(1000), Some(30));
        both.wait(0, now);
        assert_eq!(both.wait(1, now), ms(30));
        assert_eq!(pace(None, None).wait(7, now), ms(0));
    }
}
