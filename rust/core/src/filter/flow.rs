//! One flow: who talks with whom, what has been seen of it, and how long it is remembered.
//!
//! The times are those of RFC 6092 (for the filters of homes, whose task is the same) and RFC 4787, except
//! where a comment says otherwise.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::packet::{FIN, Packet, RST, SYN};
use crate::ipv6::{ICMPV6, TCP, UDP};

/// A packet of this node was seen.
pub const OUT: u32 = 1;
/// A packet of the remote end was seen.
pub const IN: u32 = 1 << 1;
/// This node has sent something else than the first packet of a TCP connection.
const PAST: u32 = 1 << 2;
const FIN_OUT: u32 = 1 << 3;
const FIN_IN: u32 = 1 << 4;
const RESET: u32 = 1 << 5;
/// A rule let it in; this node didn't begin it.
pub const INWARD: u32 = 1 << 6;
/// The table has forgotten it.
const GONE: u32 = 1 << 7;

/// Of the messages' own flows, which are no packets: above all protocols.
pub const MESSAGE: u16 = 256;

/// What tells a flow from another one, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The address of this node.
    pub local: u128,
    /// The other end's.
    pub remote: u128,
    /// Local port, remote port, protocol.
    rest: u64,
}

impl FlowKey {
    const fn new(local: u128, remote: u128, ports: (u16, u16), protocol: u16) -> Self {
        let rest = (ports.0 as u64) << 32 | (ports.1 as u64) << 16 | protocol as u64;
        Self { local, remote, rest }
    }

    /// Of a packet that this node sends.
    #[inline]
    #[must_use]
    pub const fn outbound(packet: &Packet<'_>) -> Self {
        Self::new(packet.src, packet.dst, packet.ports, packet.protocol as u16)
    }

    /// Of a packet that came.
    #[inline]
    #[must_use]
    pub const fn inbound(packet: &Packet<'_>) -> Self {
        let ports = (packet.ports.1, packet.ports.0);
        Self::new(packet.dst, packet.src, ports, packet.protocol as u16)
    }

    /// Of a message, by its id: between nodes, so of the remote address only the /64 counts.
    #[must_use]
    pub const fn message(remote: u64, id: u64) -> Self {
        Self::new(id as u128, (remote as u128) << 64, (0, 0), MESSAGE)
    }

    const fn protocol(&self) -> u16 {
        self.rest as u16
    }

    /// The node at the other end: its /64.
    #[must_use]
    pub const fn node(&self) -> u64 {
        (self.remote >> 64) as u64
    }
}

/// Seconds for which a flow with these bits is remembered after its last packet.
const fn lifetime(protocol: u16, bits: u32) -> u32 {
    const TCP_NUMBER: u16 = TCP as u16;
    const UDP_NUMBER: u16 = UDP as u16;
    const ICMP_NUMBER: u16 = ICMPV6 as u16;
    let answered = bits & (IN | OUT) == IN | OUT;
    match protocol {
        // What is under way needs no more: a guess.
        TCP_NUMBER if bits & RESET != 0 => 10,
        // Twice what Linux keeps TIME_WAIT.
        TCP_NUMBER if bits & (FIN_IN | FIN_OUT) == FIN_IN | FIN_OUT => 120,
        TCP_NUMBER if answered => 7440,
        TCP_NUMBER => 240,
        UDP_NUMBER if answered => 300,
        ICMP_NUMBER => 60,
        // The API waits no longer than this for a reply.
        MESSAGE => 3600,
        _ if answered => 300,
        _ => 120,
    }
}

/// What is remembered of a flow. Any lane may write it at any time.
#[derive(Debug)]
pub struct Flow {
    bits: AtomicU32,
    /// When its last packet was seen, in seconds.
    touched: AtomicU32,
    /// The rules that let it in, if it is [`INWARD`].
    generation: AtomicU32,
}

impl Flow {
    /// A flow whose first packet is seen now.
    pub const fn new(bits: u32, generation: u32, now: u32) -> Self {
        Self {
            bits: AtomicU32::new(bits),
            touched: AtomicU32::new(now),
            generation: AtomicU32::new(generation),
        }
    }

    /// Whether it is still to be remembered.
    #[inline]
    pub fn is_live(&self, key: &FlowKey, now: u32) -> bool {
        let bits = self.bits.load(Relaxed);
        bits & GONE == 0 && now.saturating_sub(self.touched.load(Relaxed)) <= lifetime(key.protocol(), bits)
    }

    /// Which of two is missed more: whether this host began it, and when it runs out if nothing more comes.
    pub fn worth(&self, key: &FlowKey) -> (bool, u32) {
        let bits = self.bits.load(Relaxed);
        let deadline = self.touched.load(Relaxed) + lifetime(key.protocol(), bits);
        (bits & INWARD == 0, deadline)
    }

    /// Another packet: these bits were seen. Writes only what is news, so that lanes don't fight for the line.
    #[inline]
    pub fn see(&self, bits: u32, now: u32) {
        if self.bits.load(Relaxed) & bits != bits {
            self.bits.fetch_or(bits, Relaxed);
        }
        if self.touched.load(Relaxed) != now {
            self.touched.store(now, Relaxed);
        }
    }

    /// It begins anew with these bits, under the same key.
    pub fn restart(&self, bits: u32, generation: u32, now: u32) {
        self.generation.store(generation, Relaxed);
        self.bits.fetch_and(GONE, Relaxed);
        self.bits.fetch_or(bits, Relaxed);
        self.touched.store(now, Relaxed);
    }

    /// Whether a request for a connection may still come as the answer to one (RFC 6092, REC-33).
    pub fn is_opening(&self) -> bool {
        self.bits.load(Relaxed) & (PAST | INWARD | OUT) == OUT
    }

    /// Whether this node has sent a packet of it.
    pub fn has_sent(&self) -> bool {
        self.bits.load(Relaxed) & OUT != 0
    }

    /// Whether rules let it in that may have been replaced since.
    #[inline]
    pub fn is_outdated(&self, generation: u32) -> bool {
        self.bits.load(Relaxed) & INWARD != 0 && self.generation.load(Relaxed) != generation
    }

    /// The present rules let it in too.
    pub fn renew(&self, generation: u32) {
        self.generation.store(generation, Relaxed);
    }

    /// The table forgets it; those that still know it must not use it.
    pub fn forget(&self) {
        self.bits.fetch_or(GONE, Relaxed);
    }
}

/// What a packet of this node says about its flow.
#[inline]
pub const fn sent(packet: &Packet<'_>) -> u32 {
    let mut bits = OUT;
    if packet.protocol == TCP {
        if packet.flags & SYN == 0 {
            bits |= PAST;
        }
        if packet.flags & FIN != 0 {
            bits |= FIN_OUT;
        }
        if packet.flags & RST != 0 {
            bits |= RESET;
        }
    }
    bits
}

/// What a packet that came says about its flow.
#[inline]
pub const fn came(packet: &Packet<'_>) -> u32 {
    let mut bits = IN;
    if packet.protocol == TCP {
        if packet.flags & FIN != 0 {
            bits |= FIN_IN;
        }
        if packet.flags & RST != 0 {
            bits |= RESET;
        }
    }
    bits
}
