//! When a message or an endpoint is tried again.

use std::time::Duration;

use rand::Rng;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * 60;

/// The pauses after the attempts of one message, as Standard Webhooks recommends. After one attempt more it has failed.
const MESSAGE: [u64; 9] =
    [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// The pauses between the probes of a failing endpoint; the last one repeats.
const PROBES: [u64; 6] = [5 * SECOND, 30 * SECOND, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE];
/// A pause differs by up to this part, so that many messages are not sent at once.
const JITTER: f64 = 0.2;
/// Maximum pause that a receiver can request with `Retry-After`.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(HOUR);

/// Returns the pause after the `attempts`-th attempt of a message failed, or `None` after the last one.
pub(super) fn after_attempt(attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
    let pause = MESSAGE.get(attempts.saturating_sub(1) as usize)?;
    Some(with_request(jitter(Duration::from_secs(*pause)), retry_after))
}

/// Returns the pause before the next probe after `failures` failed ones.
pub(super) fn before_probe(failures: u32, retry_after: Option<Duration>) -> Duration {
    let pause = PROBES[(failures as usize).min(PROBES.len() - 1)];
    with_request(jitter(Duration::from_secs(pause)), retry_after)
}

fn with_request(pause: Duration, retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(pause, |requested| pause.max(requested.min(MAX_RETRY_AFTER)))
}

fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(1.0 - JITTER..=1.0 + JITTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_standard_and_the_receiver() {
        let seconds = |pause: Option<Duration>| pause.unwrap().as_secs_f64();
        assert!((4.0..=6.0).contains(&seconds(after_attempt(1, None))));
        assert!((240.0..=360.0).contains(&seconds(after_attempt(2, None))));
        assert!((69_120.0..=103_680.0).contains(&seconds(after_attempt(9, None))));
        assert_eq!(after_attempt(10, Some(Duration::from_secs(1))), None);
        let requested = Some(Duration::from_secs(90));
        assert_eq!(after_attempt(1, requested), requested);
        assert!(seconds(after_attempt(3, requested)) > 1_000.0);
        assert_eq!(before_probe(0, Some(Duration::MAX)), MAX_RETRY_AFTER);
        assert!((4.0..=6.0).contains(&before_probe(0, None).as_secs_f64()));
        assert!((720.0..=1_080.0).contains(&before_probe(1_000, None).as_secs_f64()));
        let hours = MESSAGE.iter().sum::<u64>() / HOUR;
        limits_page::row("attempts of a webhook message", &format!("{} in {hours} h", MESSAGE.len() + 1));
        limits_page::row("`Retry-After` of a webhook endpoint", &limits_page::time(MAX_RETRY_AFTER));
        limits_page::row("pause between the probes of a failing webhook endpoint", "15 min");
    }
}
