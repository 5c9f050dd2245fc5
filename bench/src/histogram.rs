//! Latencies in buckets that are at most 1.6 % wide, from a microsecond to an hour.

use std::time::Duration;

/// Buckets of each power of two.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// An hour is less than 2^32 microseconds.
const BUCKETS: usize = ((32 - STEP_BITS + 1) as usize) * STEPS as usize;

/// How often each latency was seen.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros).min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// The latency that `share` (0 to 1) of all did not exceed, rounded up to the end of its bucket;
    /// `None` when nothing was recorded.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.map(|bucket| Duration::from_micros(upper(bucket)))
    }
}

/// Values below [`STEPS`] have a bucket each; above, each power of two has [`STEPS`] of them.
fn bucket(micros: u64) -> usize {
    let power = micros.max(1).ilog2();
    let bucket = if power < STEP_BITS {
        micros
    } else {
        let shift = power - STEP_BITS;
        (u64::from(shift) + 1) * STEPS + ((micros >> shift) - STEPS)
    };
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_is_hardly_larger() {
        let mut last = 0;
        for micros in (0..5_000).chain((5_000..3_600_000_000).step_by(999_983)) {
            let bucket = bucket(micros);
            assert!(bucket >= last && bucket < BUCKETS, "{micros}");
            last = bucket;
            let upper = upper(bucket);
            assert!(upper >= micros && (upper - micros) * STEPS <= micros.max(1), "{micros}: {upper}");
        }
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        for (share, millis) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let seen = histogram.quantile(share).unwrap().as_secs_f64() * 1_000.0;
            assert!(seen >= millis && seen < millis * 1.02, "{share}: {seen}");
        }
        assert_eq!(histogram.count(), 100);
    }
}
