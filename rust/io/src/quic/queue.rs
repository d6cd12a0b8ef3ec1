//! What waits to be sent on one link, and what is dropped when it waits too long. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::packets::count_packets;

/// Data that may wait; beyond it the oldest goes.
pub const DATA_LIMIT: usize = 4 << 20;
/// Control packets that may wait, as on TCP links: a whole table of 100,000 routes is handed over within a second.
/// A peer that takes none for so long loses its link.
pub const CONTROL_LIMIT: usize = 8 << 20;

/// Batches of whole packets for one link.
#[derive(Debug, Default)]
pub struct Queue {
    data: VecDeque<Batch>,
    bytes: usize,
    control: Vec<u8>,
    /// Somebody wants the link closed, and why.
    pub close: Option<&'static str>,
}

/// Whole packets that were handed over together.
#[derive(Debug)]
pub struct Batch {
    /// The packets, one after another.
    pub packets: Vec<u8>,
    /// When they were handed over.
    pub since: Instant,
}

impl Queue {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes + self.control.len()
    }

    /// Add data; returns how many packets had to go for it.
    pub fn push(&mut self, packets: Vec<u8>, now: Instant) -> u64 {
        let mut dropped = 0;
        self.bytes += packets.len();
        self.data.push_back(Batch { packets, since: now });
        while self.bytes > DATA_LIMIT {
            let Some(oldest) = self.data.pop_front() else {
                break;
            };
            self.bytes -= oldest.packets.len();
            dropped += count_packets(&oldest.packets) as u64;
        }
        dropped
    }

    /// Add control packets; false when too many wait, with the `held` bytes that left for the stream and didn't
    /// get any further.
    pub fn push_control(&mut self, packets: &[u8], held: usize) -> bool {
        if held + self.control.len() + packets.len() > CONTROL_LIMIT {
            return false;
        }
        self.control.extend_from_slice(packets);
        true
    }

    /// Take the control packets.
    pub fn take_control(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.control)
    }

    /// Take the oldest batch of data.
    pub fn pop(&mut self) -> Option<Batch> {
        let batch = self.data.pop_front()?;
        self.bytes -= batch.packets.len();
        Some(batch)
    }
}

/// Waiting time that bulk traffic may hold; more means that its senders must slow down.
const TARGET: Duration = Duration::from_millis(15);
/// How long it may be exceeded before the first drop.
const INTERVAL: Duration = Duration::from_millis(100);
/// A spell of drops that begins so soon after the last one goes on from half its pace.
const MEMORY: Duration = Duration::from_secs(1);
/// Nobody waits for a packet that is older than this.
const AGE_LIMIT: Duration = Duration::from_millis(150);

/// Controlled delay (RFC 8289): which packets to drop so that senders keep the queue short.
///
/// Without it a link that is slower than its traffic would drop whole batches when the queue overflows, and hold
/// everything back by the length of the queue in between.
#[derive(Debug, Default)]
pub struct Delay {
    above_since: Option<Instant>,
    next_drop: Option<Instant>,
    dropped_at: Option<Instant>,
    drops: u32,
}

impl Delay {
    /// Whether to send a packet that waited since `since`. `more`: others wait behind it.
    pub fn admit(&mut self, since: Instant, now: Instant, more: bool) -> bool {
        let waited = now.saturating_duration_since(since);
        if waited > AGE_LIMIT {
            return false;
        }
        if waited < TARGET || !more {
            self.above_since = None;
            self.next_drop = None;
            return true;
        }
        let above = *self.above_since.get_or_insert(now);
        match self.next_drop {
            None if now.saturating_duration_since(above) < INTERVAL => return true,
            None => {
                let recent = self
                    .dropped_at
                    .is_some_and(|at| now.saturating_duration_since(at) < MEMORY);
                self.drops = if recent { (self.drops / 2).max(1) } else { 1 };
            }
            Some(next) if now < next => return true,
            Some(_) => self.drops = self.drops.saturating_add(1),
        }
        // From the time it was due: at a fast link's pace several may be due at once.
        self.next_drop = Some(self.next_drop.unwrap_or(now) + INTERVAL / self.pace());
        self.dropped_at = Some(now);
        false
    }

    fn pace(&self) -> u32 {
        self.drops.isqrt().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// A data packet of 1000 bytes.
    fn packet() -> Vec<u8> {
        let mut packet = vec![1, 0, 0, 0, 0, 3, 0xc0, 64];
        packet.resize(1000, 0);
        packet
    }

    #[test]
    fn the_oldest_goes_when_the_queue_is_full() {
        let mut queue = Queue::default();
        let batch = packet().repeat(100);
        let dropped: u64 = (0..70).map(|_| queue.push(batch.clone(), Instant::now())).sum();
        assert_eq!(queue.bytes() as u64, 7_000_000 - dropped * 1000);
        assert!(queue.bytes() <= DATA_LIMIT && queue.bytes() > DATA_LIMIT - batch.len());
    }

    #[test]
    fn control_packets_are_kept_up_to_a_bound_and_never_for_data() {
        let mut queue = Queue::default();
        assert!(queue.push_control(&[1; 100], 0));
        let dropped: u64 = (0..60)
            .map(|_| queue.push(packet().repeat(100), Instant::now()))
            .sum();
        assert!(dropped > 0);
        assert_eq!(queue.take_control(), [1; 100]);
        assert!(!queue.push_control(&vec![1; CONTROL_LIMIT], 1));
        assert!(queue.push_control(&vec![1; CONTROL_LIMIT], 0));
        assert!(!queue.push_control(&[1], 0));
    }

    #[test]
    fn a_short_queue_and_a_burst_are_left_alone() {
        let (start, mut delay) = (Instant::now(), Delay::default());
        assert!((0..1000).all(|ms| delay.admit(after(start, ms), after(start, ms + 14), true)));
        assert!((0..90).all(|ms| delay.admit(start, after(start, 20 + ms), true)));
    }

    #[test]
    fn a_standing_queue_loses_single_packets_ever_faster() {
        let (start, mut delay) = (Instant::now(), Delay::default());
        let drops: Vec<u64> = (0..1000)
            .filter(|ms| !delay.admit(after(start, *ms), after(start, ms + 30), true))
            .collect();
        assert!(drops.len() > 10 && drops.len() < 60, "{drops:?}");
        let gaps: Vec<u64> = drops.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.first() > gaps.last());
    }

    #[test]
    fn the_last_packet_is_sent_unless_it_is_ancient() {
        let (start, mut delay) = (Instant::now(), Delay::default());
        assert!(delay.admit(start, after(start, 100), false));
        assert!(!delay.admit(start, after(start, 200), false));
    }
}
