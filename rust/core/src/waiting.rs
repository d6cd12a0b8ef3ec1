//! Bounded queues of packets that wait for a route, or for the key of their sender (reference, section 5.5).
//!
//! One [`Waiting`] holds outgoing and transit packets by the /64 of their destination, another one incoming
//! ciphertext by the /64 of its source. Both are bounded by packets and by bytes, per prefix and in all, and
//! both expire (the reference never forgets incoming ones). Transit packets may fill half of each bound, so
//! that strangers never keep this node's own packets out.

use std::collections::{BTreeMap, VecDeque};

/// How long a packet waits, in seconds: as the reference.
pub const LIFETIME: f64 = 15.0;
/// A prefix is asked for again after so many seconds, while packets keep coming.
pub const ASK_AGAIN: f64 = 1.0;

/// What a waiting packet is, which says what to do with it once it may go or has waited too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A whole IPv6 packet of this host. Expired: tell the host, ICMPv6 1/0.
    Host,
    /// A piece of the message protocol of this node: inner header and body. Expired: nobody is told.
    Message,
    /// A whole data packet of another node. Expired: tell its sender, ICMPv6 1/0 out of band.
    Transit,
    /// A whole data packet for this node, whose sender's key isn't known. Expired: nobody can be told.
    Incoming,
}

/// A packet that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What it is.
    pub origin: Origin,
    /// Its bytes; what they begin with depends on `origin`.
    pub packet: Vec<u8>,
    /// When it was queued.
    pub since: f64,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Packets of one prefix.
    pub packets_per_prefix: usize,
    /// Bytes of one prefix.
    pub bytes_per_prefix: usize,
    /// Packets in all.
    pub packets: usize,
    /// Bytes in all.
    pub bytes: usize,
}

impl Limits {
    /// For outgoing and transit packets. A guess: a fast sender's first round trips, for a few hundred
    /// destinations. The reference keeps 10,000 packets a prefix and a million in all, whatever their size.
    pub const OUTGOING: Self = Self {
        packets_per_prefix: 1024,
        bytes_per_prefix: 1 << 20,
        packets: 32_768,
        bytes: 32 << 20,
    };
    /// For incoming ciphertext: the packet counts of the reference, and bytes to go with them.
    pub const INCOMING: Self = Self {
        packets_per_prefix: 100,
        bytes_per_prefix: 256 << 10,
        packets: 10_000,
        bytes: 8 << 20,
    };

    /// What packets of `origin` may fill, counting those of the others too.
    const fn for_origin(self, origin: Origin) -> Self {
        let share = if matches!(origin, Origin::Transit) { 2 } else { 1 };
        Self {
            packets_per_prefix: self.packets_per_prefix / share,
            bytes_per_prefix: self.bytes_per_prefix / share,
            packets: self.packets / share,
            bytes: self.bytes / share,
        }
    }
}

/// What became of a packet that was to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It waits. `ask`: the route should be asked for now; at most once a second for a prefix.
    Queued {
        /// Whether to ask for the route.
        ask: bool,
    },
    /// No room. For outgoing packets an error is due at once (1/0).
    Full,
}

#[derive(Debug)]
struct Queue {
    packets: VecDeque<Held>,
    bytes: usize,
    asked: f64,
}

/// Packets by the upper half of the address they wait for.
#[derive(Debug)]
pub struct Waiting {
    limits: Limits,
    queues: BTreeMap<u64, Queue>,
    packets: usize,
    bytes: usize,
    /// No packet expires before this moment.
    earliest: f64,
}

impl Waiting {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queues: BTreeMap::new(),
            packets: 0,
            bytes: 0,
            earliest: f64::INFINITY,
        }
    }

    /// Copy `packet` into the queue of `prefix`.
    pub fn push(&mut self, prefix: u64, origin: Origin, packet: &[u8], now: f64) -> Pushed {
        let Limits {
            packets_per_prefix,
            bytes_per_prefix,
            packets,
            bytes,
        } = self.limits.for_origin(origin);
        let queue = self.queues.get(&prefix);
        let (waiting, held) = queue.map_or((0, 0), |queue| (queue.packets.len(), queue.bytes));
        if self.packets >= packets
            || self.bytes + packet.len() > bytes
            || waiting >= packets_per_prefix
            || held + packet.len() > bytes_per_prefix
        {
            return Pushed::Full;
        }
        let queue = self.queues.entry(prefix).or_insert_with(|| Queue {
            packets: VecDeque::new(),
            bytes: 0,
            asked: f64::NEG_INFINITY,
        });
        queue.packets.push_back(Held {
            origin,
            packet: packet.to_vec(),
            since: now,
        });
        queue.bytes += packet.len();
        self.packets += 1;
        self.bytes += packet.len();
        self.earliest = self.earliest.min(now + LIFETIME);
        let ask = now - queue.asked >= ASK_AGAIN;
        if ask {
            queue.asked = now;
        }
        Pushed::Queued { ask }
    }

    /// Everything that waits for `prefix`, oldest first: its route, or its key, is there now.
    #[must_use]
    pub fn take(&mut self, prefix: u64) -> VecDeque<Held> {
        let Some(queue) = self.queues.remove(&prefix) else {
            return VecDeque::new();
        };
        self.packets -= queue.packets.len();
        self.bytes -= queue.bytes;
        queue.packets
    }

    /// Everything that has waited for [`LIFETIME`], oldest first within a prefix.
    #[must_use]
    pub fn expire(&mut self, now: f64) -> Vec<Held> {
        let mut expired = Vec::new();
        if now < self.earliest {
            return expired;
        }
        self.earliest = f64::INFINITY;
        for queue in self.queues.values_mut() {
            while queue
                .packets
                .front()
                .is_some_and(|held| now - held.since >= LIFETIME)
            {
                let Some(held) = queue.packets.pop_front() else {
                    break;
                };
                queue.bytes -= held.packet.len();
                self.packets -= 1;
                self.bytes -= held.packet.len();
                expired.push(held);
            }
            if let Some(oldest) = queue.packets.front() {
                self.earliest = self.earliest.min(oldest.since + LIFETIME);
            }
        }
        self.queues.retain(|_, queue| !queue.packets.is_empty());
        expired
    }

    /// When [`Waiting::expire`] has something to do, at the earliest.
    #[must_use]
    pub fn deadline(&self) -> Option<f64> {
        (self.packets > 0).then_some(self.earliest)
    }

    /// The prefixes that packets wait for, in their order.
    pub fn prefixes(&self) -> impl Iterator<Item = u64> {
        self.queues.keys().copied()
    }

    /// How many packets wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
