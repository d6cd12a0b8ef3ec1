//! How long silence lasts before it means something, for links of every kind.

/// However much round trips varied, patience ends after this, in seconds: traffic waits meanwhile.
const LONGEST: f64 = 0.4;
/// Or after so many of the smallest round trips, or of those of now, where that is longer.
const OF_SMALLEST: f64 = 8.0;
const OF_NOW: f64 = 2.0;
/// The smallest round trip is forgotten after one to two of these, in seconds.
const PERIOD: f64 = 60.0;
/// Of so many round trips the median is one of now.
const LAST: usize = 5;

/// How long to wait, in seconds: `usual`, which comes of the round trip and its variance, at least `floor`.
///
/// A host that stood still for a second leaves a variance behind that would make a link patient for several, and
/// an idle one for minutes, as it measures seldom. The `smallest` round trip knows nothing of such moments, and that of
/// `now`, which keeps up with a queue that fills, little.
#[must_use]
pub fn patience(usual: f64, floor: f64, smallest: f64, now: f64) -> f64 {
    let longest = LONGEST.max(OF_SMALLEST * smallest).max(OF_NOW * now);
    usual.min(longest).max(floor)
}

/// The last round trips, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lately {
    last: [f64; LAST],
    count: usize,
}

impl Lately {
    /// One took so long.
    pub fn sample(&mut self, seconds: f64) {
        self.last.rotate_right(1);
        self.last[0] = seconds;
        self.count = LAST.min(self.count + 1);
    }

    /// The median, which one that was held up doesn't move; 0 before the first.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.last;
        let known = sorted.get_mut(..self.count).unwrap_or_default();
        known.sort_unstable_by(f64::total_cmp);
        known.get(known.len() / 2).copied().unwrap_or_default()
    }
}

/// The smallest round trip of the last minute or two, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Smallest {
    lately: [f64; 2],
    since: f64,
}

impl Default for Smallest {
    fn default() -> Self {
        Self {
            lately: [f64::INFINITY; 2],
            since: 0.0,
        }
    }
}

impl Smallest {
    /// One took so long.
    pub fn sample(&mut self, seconds: f64, now: f64) {
        if now - self.since >= PERIOD {
            self.lately = [f64::INFINITY, self.lately[0]];
            self.since = now;
        }
        self.lately[0] = self.lately[0].min(seconds);
    }

    /// 0 before the first sample.
    #[must_use]
    pub fn get(&self) -> f64 {
        let smallest = self.lately[0].min(self.lately[1]);
        if smallest.is_finite() { smallest } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_as_usual_within_its_bounds() {
        assert_eq!(patience(0.25, 0.1, 0.01, 0.02), 0.25);
        assert_eq!(patience(0.02, 0.1, 0.001, 0.002), 0.1);
        assert_eq!(patience(5.0, 0.1, 0.001, 0.2), LONGEST);
        assert_eq!(patience(5.0, 0.1, 0.3, 0.3), 2.4);
        assert_eq!(patience(1.1, 0.1, 0.3, 0.3), 1.1);
        assert_eq!(patience(2.0, 0.1, 0.03, 0.6), 1.2, "a queue filled");
    }

    #[test]
    fn the_median_follows_what_lasts_and_not_what_happens_once() {
        let mut lately = Lately::default();
        assert_eq!(lately.median(), 0.0);
        lately.sample(0.3);
        assert_eq!(lately.median(), 0.3);
        for _ in 0..12 {
            lately.sample(0.01);
        }
        lately.sample(1.5);
        lately.sample(1.4);
        assert_eq!(lately.median(), 0.01);
        lately.sample(0.6);
        assert_eq!(lately.median(), 0.6);
    }

    #[test]
    fn the_smallest_is_forgotten_after_two_minutes_at_most() {
        let mut smallest = Smallest::default();
        assert_eq!(smallest.get(), 0.0);
        smallest.sample(0.01, 1000.0);
        smallest.sample(0.5, 1001.0);
        assert_eq!(smallest.get(), 0.01);
        for second in 1..60 {
            smallest.sample(0.5, 1001.0 + f64::from(second));
        }
        assert_eq!(smallest.get(), 0.01);
        for second in 60..=120 {
            smallest.sample(0.5, 1001.0 + f64::from(second));
        }
        assert_eq!(smallest.get(), 0.5);
    }
}
