//! Judges whether a measured value grows: a robust regression over the part after the warm-up.
//!
//! The points are reduced to the medians of equal intervals, which removes the peaks of single faults. The slope is that of
//! Theil and Sen: the median of the slopes of all pairs, which up to 29 % of wrong points do not change. A value grows if the
//! slope adds more than the allowance over the judged part, and if the test of Mann and Kendall finds a trend that is no noise.

/// Intervals of the judged part.
const INTERVALS: usize = 120;
/// Share of the run that is not judged: caches, pools and the buffers of the servers become full.
pub(crate) const WARM_UP: f64 = 0.4;
/// Standard deviations from which a trend is not noise.
const SIGNIFICANT: f64 = 3.0;

/// What a value may grow by over the judged part: a share of its median, and a fixed part for values near 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) share: f64,
    pub(crate) fixed: f64,
}

/// The judgement of one value.
#[derive(Debug)]
pub(crate) struct Trend {
    /// The median after the warm-up.
    pub(crate) median: f64,
    /// The slope multiplied by the duration of the judged part.
    pub(crate) growth: f64,
    pub(crate) allowed: f64,
    pub(crate) grows: bool,
}

/// Judges points of time and value, which are sorted by time. `None` with less than ten points after the warm-up.
pub(crate) fn judge(points: &[(f64, f64)], allowance: Allowance) -> Option<Trend> {
    let (first, last) = (points.first()?.0, points.last()?.0);
    let begin = first + (last - first) * WARM_UP;
    let judged: Vec<_> = points.iter().copied().filter(|(time, _)| *time >= begin).collect();
    if judged.len() < 10 {
        return None;
    }
    let points = reduce(&judged, begin, last);
    let growth = slope(&points) * (last - begin);
    let median = median(judged.iter().map(|(_, value)| *value).collect());
    let allowed = median.abs() * allowance.share + allowance.fixed;
    Some(Trend { median, growth, allowed, grows: growth > allowed && deviations(&points) > SIGNIFICANT })
}

/// Returns the medians of equal intervals of time; intervals without points have none.
fn reduce(points: &[(f64, f64)], begin: f64, end: f64) -> Vec<(f64, f64)> {
    let width = (end - begin) / INTERVALS as f64;
    let mut intervals = vec![Vec::new(); INTERVALS];
    for (time, value) in points {
        // The last point belongs to the last interval.
        let index = (((time - begin) / width) as usize).min(INTERVALS - 1);
        intervals[index].push(*value);
    }
    let middle = |index: usize| begin + width * (index as f64 + 0.5);
    let values = intervals.into_iter().enumerate().filter(|(_, values)| !values.is_empty());
    values.map(|(index, values)| (middle(index), median(values))).collect()
}

/// The estimate of Theil and Sen.
fn slope(points: &[(f64, f64)]) -> f64 {
    median(pairs(points).map(|((t1, v1), (t2, v2))| (v2 - v1) / (t2 - t1)).collect())
}

/// The statistic of Mann and Kendall, in standard deviations of a series without a trend.
fn deviations(points: &[(f64, f64)]) -> f64 {
    let score: f64 =
        pairs(points).map(|((_, v1), (_, v2))| (v2 > v1) as i32 as f64 - (v2 < v1) as i32 as f64).sum();
    let n = points.len() as f64;
    score / (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt()
}

type Point = (f64, f64);

fn pairs(points: &[Point]) -> impl Iterator<Item = (Point, Point)> {
    points.iter().enumerate().flat_map(|(i, first)| points[i + 1..].iter().map(|second| (*first, *second)))
}

/// Returns the median, and 0 without values.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// Returns the value below which this share of the values is, and 0 without values.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::random::Random;

    const MIB: f64 = 1024.0 * 1024.0;
    const MEMORY: Allowance = Allowance { share: 0.1, fixed: 8.0 * MIB };
    const RUNS: u64 = 100;
    /// Ten minutes with a sample each 5 s.
    const SAMPLES: u32 = 120;

    /// Returns memory of 80 MiB with noise of 10 MiB and peaks of another 60 MiB in every tenth sample, plus `more`.
    fn memory(seed: u64, more: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut random = Random::new(seed);
        let mut value = |share: f64| {
            let peak = if random.below(10) == 0 { 60.0 } else { 0.0 };
            (80.0 + peak + 10.0 * (random.fraction() - 0.5) + more(share)) * MIB
        };
        (0..SAMPLES).map(|n| (f64::from(n) * 5.0, value(f64::from(n) / f64::from(SAMPLES)))).collect()
    }

    /// Returns the number of runs whose memory was judged as growing.
    fn growing(more: impl Fn(f64) -> f64) -> usize {
        let judged = (0..RUNS).map(|seed| judge(&memory(seed, &more), MEMORY).expect("enough samples"));
        judged.filter(|trend| trend.grows).count()
    }

    #[test]
    fn a_leak_is_found_in_noise() {
        // 40 MiB in ten minutes are 24 MiB after the warm-up, of which 16 are allowed.
        assert_eq!(growing(|share| 40.0 * share), RUNS as usize);
    }

    #[test]
    fn noise_is_no_leak() {
        assert_eq!(growing(|_| 0.0), 0);
    }

    #[test]
    fn a_warm_up_is_no_leak() {
        assert_eq!(growing(|share| 200.0 * share.min(WARM_UP * 0.9)), 0);
    }

    #[test]
    fn memory_of_restarted_processes_is_no_leak() {
        // It grows by 40 MiB after each of ten starts.
        assert_eq!(growing(|share| 40.0 * (share * 10.0).fract()), 0);
    }

    #[test]
    fn a_small_leak_is_found_in_a_long_run() {
        // Four open files each hour: nothing in ten minutes, and found in eight hours.
        let files = |hours: f64| -> Vec<_> {
            let time = |n: u32| f64::from(n) / 1000.0 * hours;
            (0..1000).map(|n| (time(n) * 3600.0, (60.0 + 4.0 * time(n)).floor())).collect()
        };
        let allowance = Allowance { share: 0.1, fixed: 8.0 };
        assert!(!judge(&files(1.0 / 6.0), allowance).expect("enough samples").grows);
        assert!(judge(&files(8.0), allowance).expect("enough samples").grows);
    }

    #[test]
    fn the_slope_ignores_wrong_points() {
        let mut points: Vec<_> = (0..100).map(|n| (f64::from(n), 3.0 * f64::from(n))).collect();
        points.iter_mut().step_by(5).for_each(|(_, value)| *value = 1e9);
        assert!((slope(&points) - 3.0).abs() < 0.1, "{}", slope(&points));
    }

    #[test]
    fn few_samples_are_not_judged() {
        assert!(judge(&[], MEMORY).is_none());
        assert!(judge(&memory(1, |_| 0.0)[..12], MEMORY).is_none());
    }
}
