//! Congestion control of a link: CUBIC that shrugs off the few losses that aren't congestion.
//!
//! What runs through a link reacts to loss itself. A link that also cuts its window by a third at every lost packet
//! makes inner flows pay twice, and at 1 % of random loss nothing is left. So losses of at most 3 % on a path that
//! shows no queue are left to the inner flows (BBRv2 shrugs off 2 %, without looking for a queue). There is congestion
//! when more is lost, or when round trips take longer than they could. ECN marks always count.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

/// Bytes in flight before anything is known of the path.
const INITIAL_WINDOW: u64 = 64 * 1_472;
/// One part in so many may be lost.
const TOLERATED: u64 = 33;
/// So many packets may be lost in one span however little was sent, as a ratio of a few says nothing.
const TOLERATED_PACKETS: u64 = 4;
/// Losses are counted over this, or eight round trips if those are longer.
const SPAN: Duration = Duration::from_millis(100);

/// Round trips may take so much longer than the shortest, or half as long again, before a queue is suspected.
const JITTER: Duration = Duration::from_millis(4);

/// Makes a [`Tunnel`] for each connection.
#[derive(Debug)]
pub struct TunnelConfig;

impl ControllerFactory for TunnelConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let mut config = CubicConfig::default();
        config.initial_window(INITIAL_WINDOW);
        let cubic = Cubic::new(Arc::new(config), now, mtu);
        Box::new(Tunnel {
            cubic,
            mtu: mtu.into(),
            span: SPAN,
            since: now,
            acked: 0,
            lost: 0,
            queued: false,
        })
    }
}

/// The controller of one path.
#[derive(Debug, Clone)]
struct Tunnel {
    cubic: Cubic,
    mtu: u64,
    span: Duration,
    /// Beginning of the span that `acked` and `lost` are counted in.
    since: Instant,
    acked: u64,
    lost: u64,
    /// Packets wait somewhere on the path.
    queued: bool,
}

impl Tunnel {
    /// Start a new span when this one is over. Half of the old counts stay, so that a loss on the border counts.
    fn age(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= self.span {
            self.since = now;
            self.acked /= 2;
            self.lost /= 2;
        }
    }

    fn tolerable(&self) -> bool {
        !self.queued && self.lost <= ((self.acked + self.lost) / TOLERATED).max(TOLERATED_PACKETS * self.mtu)
    }
}

impl Controller for Tunnel {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.span = SPAN.max(rtt.get() * 8);
        self.queued = rtt.get() > rtt.min() + JITTER.max(rtt.min() / 2);
        self.age(now);
        self.acked += bytes;
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.age(now);
        self.lost += lost_bytes;
        let marked = lost_bytes == 0;
        if !marked && !persistent && self.tolerable() {
            return;
        }
        (self.acked, self.lost) = (0, 0);
        self.cubic.on_congestion_event(now, sent, persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = mtu.into();
        self.cubic.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1_400;

    fn tunnel() -> Box<dyn Controller> {
        Arc::new(TunnelConfig).build(Instant::now(), MTU)
    }

    fn lose(tunnel: &mut dyn Controller, packets: u64) -> u64 {
        let before = tunnel.window();
        for _ in 0..packets {
            tunnel.on_congestion_event(Instant::now(), Instant::now(), false, MTU.into());
        }
        before - tunnel.window()
    }

    #[test]
    fn a_few_losses_leave_the_window_alone_and_many_do_not() {
        let mut tunnel = tunnel();
        assert_eq!(lose(tunnel.as_mut(), TOLERATED_PACKETS), 0);
        assert!(lose(tunnel.as_mut(), 1) > 0);
    }

    #[test]
    fn marks_and_persistent_congestion_always_count() {
        let mut marked = tunnel();
        marked.on_congestion_event(Instant::now(), Instant::now(), false, 0);
        assert!(marked.window() < INITIAL_WINDOW);
        let mut dead = tunnel();
        dead.on_congestion_event(Instant::now(), Instant::now(), true, MTU.into());
        assert!(dead.window() < INITIAL_WINDOW / 10);
    }
}
