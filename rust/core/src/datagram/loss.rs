//! Loss in one direction, from two running totals: sent at one end, received at the other.

/// Datagrams between two looks at the totals.
const SAMPLE: u64 = 16;
/// Looks after which one counts a third. A look comes between two batches of a lane, so that one of them tells little: what
/// it misses of a batch, the next one sees. Over many it is nothing.
const LOOKS: f64 = 32.0;
/// Datagrams that arrived before the first look, as it were: the first one lost is no disaster.
const TRUST: f64 = 256.0;

/// The share of datagrams by which the receiver may be ahead of what was sent. It is more for a moment where the ends don't
/// see two links come or go at once, and must not hide for long what is lost later.
const AHEAD: f64 = 0.1;

/// Share of datagrams lost, over the last looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    sent: u64,
    received: u64,
    begun: bool,
    /// Datagrams of the last looks, the older the less: sent, and lost.
    weight: f64,
    lost: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self {
            sent: 0,
            received: 0,
            begun: false,
            weight: TRUST,
            lost: 0.0,
        }
    }
}

impl Loss {
    /// Of `sent` datagrams so far `received` had arrived by then.
    pub(super) fn update(&mut self, sent: u64, received: u64) {
        if !self.begun || sent < self.sent || received < self.received {
            (self.sent, self.received, self.begun) = (sent, received, true);
            return;
        }
        let (more, arrived) = (sent - self.sent, received - self.received);
        if more < SAMPLE {
            return;
        }
        let kept = 1.0 - 1.0 / LOOKS;
        self.weight = self.weight * kept + more as f64;
        let lost = self.lost * kept + more as f64 - arrived as f64;
        self.lost = lost.max(-AHEAD * self.weight);
        (self.sent, self.received) = (sent, received);
    }

    /// Don't judge what happens until the next look: an outage is told as one, and once it is over, it says nothing about
    /// the path. The few datagrams of a link that nobody uses would take minutes to make it forgotten.
    pub(super) fn pass_over(&mut self) {
        self.begun = false;
    }

    pub(super) fn share(&self) -> f64 {
        (self.lost / self.weight).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_that_was_passed_over_is_no_loss_and_what_follows_is() {
        let mut loss = Loss::default();
        loss.update(0, 0);
        loss.update(1000, 990);
        let before = loss.share();
        assert!(before > 0.005 && before < 0.01, "{before}");
        loss.pass_over();
        loss.update(2000, 991);
        assert_eq!(loss.share(), before);
        loss.update(3000, 1491);
        assert!(loss.share() > 0.2, "{}", loss.share());
    }

    #[test]
    fn looks_between_batches_make_no_loss() {
        // A tenth of them waits in a batch at every second look.
        for (batch, lost) in [(0, 10), (100, 0), (100, 10)] {
            let mut loss = Loss::default();
            for look in 0..200 {
                loss.update(look * 1000, look * (1000 - lost) - (look % 2) * batch);
            }
            let expected = lost as f64 / 1000.0;
            assert!(
                (loss.share() - expected).abs() < 0.004,
                "{batch} {lost}: {}",
                loss.share()
            );
        }
    }

    #[test]
    fn a_receiver_that_is_far_ahead_hides_little() {
        let mut loss = Loss::default();
        loss.update(0, 0);
        loss.update(1000, 50_000);
        for look in 2..60 {
            loss.update(look * 1000, 49_000 + look * 950);
        }
        assert!(loss.share() > 0.02, "{}", loss.share());
    }

    #[test]
    fn loss_that_ended_is_forgotten() {
        let mut loss = Loss::default();
        loss.update(0, 0);
        loss.update(1000, 900);
        for look in 2..150 {
            loss.update(look * 1000, look * 1000 - 100);
        }
        assert!(loss.share() < 0.001, "{}", loss.share());
    }
}
