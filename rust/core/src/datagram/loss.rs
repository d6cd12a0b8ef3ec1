//! Loss in one direction, from two running totals: sent at one end, received at the other.

/// Datagrams between two looks at the totals.
const SAMPLE: u64 = 16;
/// Datagrams after which a look counts a half.
const MEMORY: f64 = 256.0;

/// Share of datagrams lost, smoothed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loss {
    sent: u64,
    received: u64,
    share: f64,
    begun: bool,
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
        let lost = (1.0 - arrived as f64 / more as f64).clamp(0.0, 1.0);
        let weight = more as f64 / (more as f64 + MEMORY);
        self.share += (lost - self.share) * weight;
        (self.sent, self.received) = (sent, received);
    }

    /// Don't judge what happens until the next look: an outage is told as one, and once it is over, it says nothing about
    /// the path. The few datagrams of a link that nobody uses would take minutes to make it forgotten.
    pub(super) fn pass_over(&mut self) {
        self.begun = false;
    }

    pub(super) fn share(&self) -> f64 {
        self.share
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
        assert!(loss.share() > 0.3, "{}", loss.share());
    }
}
