//! How long silence lasts before it means something, for links of every kind.

/// However much round trips varied, patience ends after this, in seconds: traffic waits meanwhile.
const LONGEST: f64 = 0.4;
/// Or after so many of the smallest round trips, where these are long.
const ROUND_TRIPS: f64 = 8.0;
/// The smallest round trip is forgotten after one to two of these, in seconds.
const PERIOD: f64 = 60.0;

/// How long to wait, in seconds: `usual`, which comes of the round trip and its variance, at least `floor`.
///
/// A host that stood still for a second leaves a variance behind that would make a link patient for several, and
/// an idle one for minutes, as it measures seldom. The smallest round trip knows nothing of such moments.
#[must_use]
pub fn patience(usual: f64, floor: f64, smallest: f64) -> f64 {
    usual.min(LONGEST.max(ROUND_TRIPS * smallest)).max(floor)
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
        assert_eq!(patience(0.25, 0.1, 0.01), 0.25);
        assert_eq!(patience(0.02, 0.1, 0.001), 0.1);
        assert_eq!(patience(5.0, 0.1, 0.001), LONGEST);
        assert_eq!(patience(5.0, 0.1, 0.3), 2.4);
        assert_eq!(patience(1.1, 0.1, 0.3), 1.1);
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
