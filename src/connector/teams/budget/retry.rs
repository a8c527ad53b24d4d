//! The one rule for trying again (digest §18).

use std::time::Duration;

use chrono::DateTime;

use crate::connector::teams::ask::Patience;
use crate::model::Timestamp;

/// The shortest pause when the service names none.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause when the service names none.
const LONGEST: Duration = Duration::from_secs(300);
/// No pause that the service names is kept for longer; then it is asked again whether it still means it.
const LONGEST_TOLD: Duration = Duration::from_secs(3600);

/// What to do after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Send again at once.
    Now,
    /// Send again then.
    At(Timestamp),
    /// The answer is final, whether good or bad.
    GiveUp,
}

/// What to do after an answer with this status (0 = none came). `attempt` counts the tries made, from 1; `jitter` is a
/// random number from 0 to 1. Throttling, 5xx, 408 and broken connections are worth another try; anything else is final
/// (a 401 is the client's own business).
pub fn after(
    status: u16,
    retry_after: Option<&str>,
    attempt: u32,
    patience: Patience,
    jitter: f64,
    now: Timestamp,
) -> Retry {
    if !matches!(status, 0 | 408 | 429 | 500..=599) {
        return Retry::GiveUp;
    }
    let tries = match patience {
        Patience::Until(end) if attempt <= 1 && now < end => return Retry::Now,
        Patience::Until(_) => return Retry::GiveUp,
        Patience::Tries(tries) => tries,
    };
    if attempt > tries {
        return Retry::GiveUp;
    }
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    let pause = match retry_after.and_then(|told| pause_told(told, now)) {
        // Never sooner than told, and not everything at the same moment.
        Some(told) => told + told.min(Duration::from_secs(20)).mul_f64(jitter * 0.1),
        None => {
            let full = SHORTEST * 2_u32.saturating_pow(attempt.clamp(1, 16));
            let full = full.min(LONGEST);
            (full / 2 + (full / 2).mul_f64(jitter)).clamp(SHORTEST, LONGEST)
        }
    };
    Retry::At(now.plus(pause))
}

/// Reads `Retry-After`: whole seconds, seconds with a fraction (`2.128`), or an HTTP date. `None` if it is neither.
pub fn pause_told(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let good = seconds.is_finite() && seconds >= 0.0;
        return good.then(|| Duration::from_secs_f64(seconds.min(LONGEST_TOLD.as_secs_f64())));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from(date.to_utc()).since(now).min(LONGEST_TOLD))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000_000);

    fn pause(retry: Retry) -> Duration {
        match retry {
            Retry::At(at) => at.since(NOW),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_pause_the_service_names_is_kept_also_with_a_fraction_or_as_a_date() {
        let patience = Patience::Tries(5);
        assert_eq!(pause(after(429, Some("2.128"), 1, patience, 0.0, NOW)), Duration::from_millis(2128));
        assert_eq!(pause(after(503, Some(" 10 "), 5, patience, 1.0, NOW)), Duration::from_secs(11));
        let date = NOW.plus(Duration::from_secs(90)).to_chrono().to_rfc2822().replace("+0000", "GMT");
        assert_eq!(pause(after(429, Some(&date), 1, patience, 0.0, NOW)), Duration::from_secs(90));
        assert_eq!(pause(after(429, Some("1e300"), 1, patience, 0.0, NOW)), LONGEST_TOLD);
        for nonsense in ["soon", "-3", "NaN", "inf", ""] {
            assert!(pause(after(429, Some(nonsense), 1, patience, 0.0, NOW)) >= SHORTEST, "{nonsense}");
        }
    }

    #[test]
    fn without_a_named_pause_they_grow_from_one_second_to_five_minutes() {
        let mut last = Duration::ZERO;
        for attempt in 1..40 {
            for jitter in [0.0, 0.5, 1.0, f64::NAN] {
                let pause = pause(after(0, None, attempt, Patience::Tries(99), jitter, NOW));
                assert!(pause >= SHORTEST && pause <= LONGEST, "{attempt}: {pause:?}");
            }
            let least = pause(after(500, None, attempt, Patience::Tries(99), 0.0, NOW));
            assert!(least >= last);
            last = least;
        }
        assert!(last >= LONGEST / 2);
    }

    #[test]
    fn a_ringing_call_is_answered_again_once_and_at_once() {
        let patience = Patience::Until(NOW.plus(Duration::from_secs(5)));
        assert_eq!(after(429, Some("60"), 1, patience, 0.5, NOW), Retry::Now);
        assert_eq!(after(503, None, 2, patience, 0.5, NOW), Retry::GiveUp);
        assert_eq!(after(503, None, 1, Patience::Until(NOW), 0.5, NOW), Retry::GiveUp);
    }

    #[test]
    fn answers_that_another_try_would_not_change_are_final() {
        for status in [200, 201, 202, 400, 401, 402, 403, 404, 409, 410, 412] {
            assert_eq!(after(status, Some("1"), 1, Patience::Tries(5), 0.5, NOW), Retry::GiveUp, "{status}");
        }
        assert_eq!(after(500, None, 6, Patience::Tries(5), 0.5, NOW), Retry::GiveUp);
        assert_eq!(after(500, None, 1, Patience::Tries(0), 0.5, NOW), Retry::GiveUp);
    }
}
