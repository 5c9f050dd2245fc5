//! A histogram of durations with a relative error of at most 6 %.
//!
//! A bucket is an eighth of a power of two of microseconds. Only the buckets that are used take memory, a few dozen for
//! the durations of one interval. `hdrhistogram` takes 17 KB for each histogram of this range and error, of which a ring
//! of six hours has thousands for each tenant.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Each power of two has this many buckets, as a power of two.
const PART_BITS: u32 = 3;
const PARTS: u64 = 1 << PART_BITS;

/// The durations that were recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// The used buckets and their counts, by bucket.
    #[serde(rename = "b")]
    buckets: Vec<(u16, u64)>,
    #[serde(rename = "m")]
    max_micros: u64,
}

/// What readers see of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// The number of durations.
    pub count: u64,
    /// The median in seconds.
    pub p50_s: f64,
    /// The 95th percentile in seconds.
    pub p95_s: f64,
    /// The 99th percentile in seconds.
    pub p99_s: f64,
    /// The longest duration in seconds.
    pub max_s: f64,
}

impl Histogram {
    /// Records a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.max_micros = self.max_micros.max(micros);
        self.add(bucket_of(micros), 1);
    }

    /// Adds the durations of another one.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
        self.max_micros = self.max_micros.max(other.max_micros);
    }

    /// Returns the percentiles; `None` without a duration.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let count = self.buckets.iter().map(|(_, count)| count).sum::<u64>();
        (count > 0).then(|| Percentiles {
            count,
            p50_s: self.quantile_s(count, 0.5),
            p95_s: self.quantile_s(count, 0.95),
            p99_s: self.quantile_s(count, 0.99),
            max_s: self.max_micros as f64 / 1e6,
        })
    }

    fn add(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.buckets[place].1 = self.buckets[place].1.saturating_add(count),
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
    }

    fn quantile_s(&self, count: u64, quantile: f64) -> f64 {
        let rank = ((count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return (middle_of(*bucket) as f64).min(self.max_micros as f64) / 1e6;
            }
        }
        self.max_micros as f64 / 1e6
    }
}

fn bucket_of(micros: u64) -> u16 {
    if micros < PARTS {
        return micros as u16;
    }
    let power = micros.ilog2();
    let part = (micros >> (power - PART_BITS)) & (PARTS - 1);
    ((u64::from(power - PART_BITS) + 1) * PARTS + part) as u16
}

/// Returns the middle of a bucket in microseconds.
fn middle_of(bucket: u16) -> u64 {
    let (power, part) = (u64::from(bucket) / PARTS, u64::from(bucket) % PARTS);
    match power {
        0 => part,
        // A stored bucket can be any number.
        power => {
            let shift = u32::try_from(power - 1).unwrap_or(u32::MAX).min(u64::BITS - PART_BITS - 2);
            ((PARTS + part) << shift) + (1 << shift) / 2
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_of_known_durations() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), None);
        for ms in 1..=1_000 {
            histogram.record(Duration::from_millis(ms));
        }
        let found = histogram.percentiles().unwrap();
        assert_eq!((found.count, found.max_s), (1_000, 1.0));
        for (found, exact) in [(found.p50_s, 0.5), (found.p95_s, 0.95), (found.p99_s, 0.99)] {
            assert!((found / exact - 1.0).abs() < 0.07, "{found} in place of {exact}");
        }
    }

    #[test]
    fn a_stored_histogram_can_have_any_bucket() {
        let any: Histogram = serde_json::from_str(r#"{"b":[[65535,1]],"m":5}"#).unwrap();
        assert_eq!(any.percentiles().unwrap().p50_s, 5e-6);
    }

    proptest! {
        #[test]
        fn buckets_keep_the_order_and_the_error(micros in 0..u64::MAX / 2, more in 0..u64::MAX / 2) {
            prop_assert!(bucket_of(micros) <= bucket_of(micros + more));
            let middle = middle_of(bucket_of(micros));
            prop_assert!(middle.abs_diff(micros) as f64 <= micros as f64 / 16.0 + 0.5, "{middle} for {micros}");
        }

        #[test]
        fn merged_histograms_count_all(first in prop::collection::vec(0_u64..10_000_000, 0..50), second in prop::collection::vec(0_u64..10_000_000, 0..50)) {
            let of = |micros: &[u64]| {
                let mut histogram = Histogram::default();
                micros.iter().for_each(|micros| histogram.record(Duration::from_micros(*micros)));
                histogram
            };
            let mut merged = of(&first);
            merged.merge(&of(&second));
            prop_assert_eq!(merged, of(&[first, second].concat()));
        }
    }
}
