//! Whether what a link loses is to be repaired ([`crate::repair`]): loss that isn't congestion, as far as can be told.
//!
//! Repairs hide loss from the senders inside, and loss is how most of them learn of congestion (RFC 9265). So they are
//! for links on which round trips don't grow, as a queue would make them, and that lose little: a bottleneck without a
//! queue drops all that is too much, and would be pushed to the limit here, and left alone for a while.

use super::rtt::Rtt;

/// Shares of datagrams: from this on repair is worth it, and no more below this.
const WORTH: f64 = 0.003;
const ENOUGH: f64 = 0.001;
/// Beyond this repairs would give little back.
const MOST: f64 = 0.05;
/// How long a link that lost as much has none, in seconds.
const REST: f64 = 60.0;
/// How much longer than the smallest round trip those of now may be: a quarter, and at least this, in seconds.
const SLACK: f64 = 0.005;

/// The verdict on one link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lossy {
    repaired: bool,
    rests_until: f64,
}

impl Lossy {
    /// Look again at a link that loses this share of what is sent over it.
    pub(super) fn update(&mut self, share: f64, rtt: &Rtt, now: f64) -> bool {
        let slack = (rtt.smallest() / 4.0).max(SLACK);
        let queues = rtt.lately() > rtt.smallest() + slack;
        if share > MOST {
            self.rests_until = now + REST;
        }
        let least = if self.repaired { ENOUGH } else { WORTH };
        self.repaired = share >= least && !queues && now >= self.rests_until;
        self.repaired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtt(last: f64) -> Rtt {
        let mut rtt = Rtt::default();
        rtt.sample(0.020, 1.0);
        for _ in 0..5 {
            rtt.sample(last, 1.0);
        }
        rtt
    }

    #[test]
    fn a_link_that_loses_without_a_queue_is_repaired_until_it_loses_no_more() {
        let mut lossy = Lossy::default();
        for (share, expected) in [
            (0.002, false),
            (0.01, true),
            (0.002, true),
            (0.0005, false),
            (0.002, false),
        ] {
            assert_eq!(lossy.update(share, &rtt(0.021), 2.0), expected, "{share}");
        }
    }

    #[test]
    fn a_link_whose_round_trips_grow_is_not() {
        let mut lossy = Lossy::default();
        assert!(lossy.update(0.01, &rtt(0.024), 2.0));
        assert!(!lossy.update(0.01, &rtt(0.026), 3.0));
        assert!(lossy.update(0.01, &rtt(0.020), 4.0));
    }

    #[test]
    fn one_that_loses_too_much_is_left_alone_for_a_while() {
        let mut lossy = Lossy::default();
        assert!(!lossy.update(0.06, &rtt(0.020), 100.0));
        assert!(!lossy.update(0.01, &rtt(0.020), 100.0 + REST - 1.0));
        assert!(lossy.update(0.01, &rtt(0.020), 100.0 + REST));
    }
}
