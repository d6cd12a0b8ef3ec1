//! Is the peer still there? Judged from acknowledgements, and only while something waits for one. Pure.

use std::time::{Duration, Instant};

use zosnet_core::silence::{Smallest, patience};

/// The least time without acknowledgement that means anything.
const FLOOR: Duration = Duration::from_millis(100);
/// Extra time in which acknowledgements that already wait in the socket are read.
const GRACE: Duration = Duration::from_millis(20);
/// A timer later than this means that this thread, not the peer, was held up.
const LATE: Duration = Duration::from_millis(30);
/// How often a silent peer is asked.
const PROBE: Duration = Duration::from_millis(100);
/// After this long it is asked less often.
const PATIENCE: Duration = Duration::from_secs(5);
const SLOW_PROBE: Duration = Duration::from_millis(500);
/// After this long it may have restarted and not know the connection any more (a stock node then says nothing).
const GIVE_UP: Duration = Duration::from_secs(6);

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new.
    Same,
    /// The peer has gone silent: say so, and ask it.
    Stalled,
    /// Still silent: ask again.
    Silent,
    /// Silent for so long that a new connection is the better bet.
    Lost,
    /// The peer is back.
    Resumed,
}

/// Liveness of one connection.
///
/// Call `sent` after each hand-over to quinn, and `check` at `deadline`; both want to know how many ACK frames came.
#[derive(Debug, Default)]
pub struct Watch {
    /// ACK frames that had come when `waiting` began.
    acks: u64,
    /// The first send that no ACK frame followed, as far as later sends saw.
    waiting: Option<Instant>,
    deadline: Option<Instant>,
    stalled_at: Option<Instant>,
    smallest: Smallest,
    /// When the first packet was sent: `smallest` counts from there.
    begun: Option<Instant>,
}

/// Time without an acknowledgement that makes a peer silent: 100 ms, or long enough for a lost packet's probe
/// (RTT + 4 variances + 25 ms for a delayed ACK, RFC 9002 §6.2.1) to be answered, the variance taken as RTT / 4.
/// Bounded as on links of every kind, see [`patience`].
pub fn limit(rtt: Duration, smallest: f64) -> Duration {
    let usual = rtt * 4 + Duration::from_millis(45);
    let [usual, floor, rtt] = [usual, FLOOR, rtt].map(|each| each.as_secs_f64());
    Duration::from_secs_f64(patience(usual, floor, smallest, rtt))
}

impl Watch {
    /// When to call `check`. None: nothing is under way.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Something was just sent; `acks` came so far.
    pub fn sent(&mut self, now: Instant, acks: u64, rtt: Duration) {
        let begun = *self.begun.get_or_insert(now);
        self.smallest
            .sample(rtt.as_secs_f64(), (now - begun).as_secs_f64());
        if self.stalled_at.is_some() {
            return;
        }
        if self.waiting.is_none() || acks != self.acks {
            self.acks = acks;
            self.waiting = Some(now);
        }
        // A deadline that runs already is put off when it comes: cheaper than at every packet.
        self.deadline
            .get_or_insert(now + limit(rtt, self.smallest.get()) + GRACE);
    }

    /// The deadline has passed (calls before it do nothing).
    pub fn check(&mut self, now: Instant, acks: u64, rtt: Duration) -> Verdict {
        let Some(deadline) = self.deadline.filter(|deadline| now >= *deadline) else {
            return Verdict::Same;
        };
        let waiting = match self.waiting {
            Some(waiting) if acks == self.acks => waiting,
            _ => return self.progress(),
        };
        if let Some(since) = self.stalled_at {
            self.deadline = Some(now + if now - since > PATIENCE { SLOW_PROBE } else { PROBE });
            return if now - since > GIVE_UP {
                Verdict::Lost
            } else {
                Verdict::Silent
            };
        }
        let due = waiting + limit(rtt, self.smallest.get()) + GRACE;
        if now < due || now - deadline > LATE {
            self.deadline = Some(due.max(now + GRACE * 2));
            return Verdict::Same;
        }
        self.stalled_at = Some(now);
        self.deadline = Some(now + PROBE / 2);
        Verdict::Stalled
    }

    /// An acknowledgement came after the last send.
    fn progress(&mut self) -> Verdict {
        self.waiting = None;
        self.deadline = None;
        if self.stalled_at.take().is_some() {
            Verdict::Resumed
        } else {
            Verdict::Same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(1);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn acknowledged_data_ends_the_watch() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.sent(start, 5, RTT);
        watch.sent(start, 5, RTT);
        assert_eq!(watch.check(after(start, 120), 6, RTT), Verdict::Same);
        assert_eq!(watch.deadline(), None);
    }

    #[test]
    fn what_is_sent_after_an_acknowledgement_is_watched_in_turn() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.sent(start, 5, RTT);
        watch.sent(after(start, 60), 6, RTT);
        watch.sent(after(start, 70), 6, RTT);
        assert_eq!(watch.check(after(start, 120), 6, RTT), Verdict::Same);
        assert_eq!(watch.deadline(), Some(after(start, 180)));
        assert_eq!(watch.check(after(start, 181), 6, RTT), Verdict::Stalled);
    }

    #[test]
    fn silence_stalls_and_an_acknowledgement_resumes() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.sent(start, 5, RTT);
        assert_eq!(watch.check(after(start, 119), 5, RTT), Verdict::Same);
        assert_eq!(watch.check(after(start, 121), 5, RTT), Verdict::Stalled);
        watch.sent(after(start, 130), 5, RTT);
        assert_eq!(watch.check(after(start, 175), 5, RTT), Verdict::Silent);
        watch.sent(after(start, 180), 6, RTT);
        assert_eq!(watch.check(after(start, 280), 6, RTT), Verdict::Resumed);
        assert_eq!(watch.deadline(), None);
    }

    #[test]
    fn a_long_silence_is_a_loss() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.sent(start, 5, RTT);
        assert_eq!(watch.check(after(start, 121), 5, RTT), Verdict::Stalled);
        assert_eq!(watch.check(after(start, 5_000), 5, RTT), Verdict::Silent);
        assert_eq!(watch.check(after(start, 6_500), 5, RTT), Verdict::Lost);
    }

    #[test]
    fn a_thread_that_was_held_up_looks_twice() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.sent(start, 5, RTT);
        assert_eq!(watch.check(after(start, 400), 5, RTT), Verdict::Same);
        assert_eq!(watch.check(after(start, 441), 5, RTT), Verdict::Stalled);
    }

    #[test]
    fn long_paths_get_more_time() {
        assert_eq!(limit(RTT, 0.001), FLOOR);
        assert_eq!(limit(Duration::from_millis(100), 0.1), Duration::from_millis(445));
        assert_eq!(
            limit(Duration::from_millis(190), 0.001),
            Duration::from_millis(400)
        );
        assert_eq!(limit(Duration::from_millis(500), 0.001), Duration::from_secs(1));
    }
}
