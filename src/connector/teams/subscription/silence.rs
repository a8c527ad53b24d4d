//! Whether a subscription is quieter than it ought to be (trap 20: the service may stop without an error).
//!
//! A resource that has delivered 20 times is expected to go on. Silence is suspicious after 6 hours, after 20 times the
//! usual interval, and after one and a half times the longest silence there has been, whichever is latest: nights and
//! weekends are learnt the first time they come. One alarm per silence; the next delivery ends it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

const LEAST: Duration = Duration::from_secs(6 * 3600);
const USED_TO: u64 = 20;
const TIMES_USUAL: u32 = 20;

/// What is remembered of the deliveries of one subscription; times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Deliveries {
    /// How many there were.
    pub count: u64,
    last: Option<i64>,
    /// Moving mean of the intervals.
    usual: i64,
    longest: i64,
    /// The alarm is raised.
    pub raised: bool,
}

impl Deliveries {
    /// Something was delivered. True if that ends an alarm.
    pub fn delivered(&mut self, count: u64, now: Timestamp) -> bool {
        if let Some(last) = self.last {
            let interval = now.millis().saturating_sub(last).max(0);
            self.usual =
                if self.usual == 0 { interval } else { self.usual.saturating_mul(15).saturating_add(interval) / 16 };
            self.longest = self.longest.max(interval);
        }
        self.last = Some(now.millis());
        self.count = self.count.saturating_add(count);
        std::mem::take(&mut self.raised)
    }

    /// When the last one was.
    pub fn last(&self) -> Option<Timestamp> {
        self.last.map(Timestamp::from_millis)
    }

    /// When silence becomes suspicious; `None` if nothing is to be expected or the alarm is raised.
    pub fn suspicious_at(&self) -> Option<Timestamp> {
        let last = self.last()?;
        (self.count >= USED_TO && !self.raised).then(|| last.plus(self.patience()))
    }

    /// Time we were not there does not count as silence.
    pub fn away_until(&mut self, now: Timestamp) {
        if self.last.is_some() {
            self.last = Some(now.millis());
        }
    }

    fn patience(&self) -> Duration {
        let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        LEAST.max(millis(self.usual).saturating_mul(TIMES_USUAL)).max(millis(self.longest).saturating_mul(3) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(n: u64) -> Timestamp {
        Timestamp(0).plus(Duration::from_secs(n * 3600))
    }

    #[test]
    fn a_night_is_learnt_and_a_week_is_not_mistaken_for_one() {
        let mut deliveries = Deliveries::default();
        for n in 0..10 {
            deliveries.delivered(3, hour(n));
        }
        assert_eq!(deliveries.suspicious_at(), Some(hour(9 + 20)));
        deliveries.delivered(1, hour(9 + 40));
        let after = deliveries.suspicious_at().expect("expected to go on");
        assert!(after >= hour(49 + 60) && after < hour(49 + 24 * 7));
    }

    #[test]
    fn who_hardly_ever_spoke_may_be_silent() {
        let mut deliveries = Deliveries::default();
        deliveries.delivered(19, hour(1));
        assert_eq!(deliveries.suspicious_at(), None);
        deliveries.delivered(1, hour(1));
        assert_eq!(deliveries.suspicious_at(), Some(hour(7)));
    }
}
