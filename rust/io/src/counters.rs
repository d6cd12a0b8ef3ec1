//! Named totals: plain words that one lane writes and anyone reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use zosnet_core::forward::DropReason;

use crate::link::bump;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Something that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// The names, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

counters! {
    /// Packets read from the TUN, after cutting.
    TunRx => "tun.rx_packets",
    /// Bytes of them.
    TunRxBytes => "tun.rx_bytes",
    /// Packets delivered to the TUN, before merging.
    TunTx => "tun.tx_packets",
    /// Bytes of them.
    TunTxBytes => "tun.tx_bytes",
    /// Writes to the TUN: fewer than packets where packets were merged.
    TunWrites => "tun.writes",
    /// Data packets that this node sealed and sent.
    Sealed => "tx.packets",
    /// Data packets that this node opened.
    Opened => "rx.packets",
    /// Data packets passed on for others.
    Forwarded => "forward.packets",
    /// Bytes of them.
    ForwardedBytes => "forward.bytes",
    /// Control packets sent.
    ControlTx => "control.tx_packets",
    /// Control packets received.
    ControlRx => "control.rx_packets",
    /// ICMPv6 errors written to the TUN or sent to another node.
    IcmpErrors => "icmp.errors",
    /// Data packets that moved to the backup of a dead link.
    Rerouted => "reroute.packets",
    /// Inbound connections accepted.
    Accepted => "tcp.accepted",
    /// Inbound connections refused: too many in all, or from one remote end.
    Refused => "tcp.refused",
    /// Inbound connections closed because no valid packet came in time.
    Silent => "tcp.silent",
    /// Links closed because their bytes can't be followed.
    Garbage => "tcp.garbage",
    /// accept() failed: no file descriptors, no memory.
    AcceptFailed => "tcp.accept_failed",
    /// Connections were left in the listener's queue for a moment: Python was behind with news of links.
    AcceptHeld => "tcp.accept_held",
    /// The hop limit ran out on the way through this node.
    HopLimit => "drop.hop_limit",
    /// The link was gone when the packet came to it.
    LinkGone => "drop.link_gone",
    /// Another lane was too far behind.
    LaneFull => "drop.lane_full",
    /// Packets that shared a frame with another one.
    Shared => "tx.shared",
    /// Repairs sent after frames over lossy links.
    Repairs => "tx.repairs",
    /// Frames that repairs gave back.
    Repaired => "rx.repaired",
    /// Packets cut up because no frame held them.
    Fragmented => "tx.fragmented",
    /// Datagrams sent by lanes.
    UdpTx => "udp.tx_datagrams",
    /// System calls that took them.
    UdpTxCalls => "udp.tx_calls",
    /// Datagrams that the kernel refused: too long for the interface, no route.
    UdpRefused => "udp.tx_refused",
    /// Datagrams received.
    UdpRx => "udp.rx_datagrams",
    /// System calls that brought them.
    UdpRxCalls => "udp.rx_calls",
    /// Datagrams of no known kind.
    UdpGarbage => "udp.garbage",
    /// Handshakes that came faster than they can be looked at.
    KeeperFull => "drop.keeper_full",
    /// A key of low order, or no random bytes: nothing can be sealed.
    NotSealed => "drop.not_sealed",
}

/// The totals of one lane.
#[derive(Debug)]
pub struct Counters {
    named: [AtomicU64; Counter::NAMES.len()],
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        let named = [const { AtomicU64::new(0) }; Counter::NAMES.len()];
        Self {
            named,
            drops: [const { AtomicU64::new(0) }; DropReason::ALL.len()],
        }
    }
}

impl Counters {
    /// Count `by`. Only the thread that owns these totals may.
    pub fn add(&self, what: Counter, by: u64) {
        if let Some(total) = self.named.get(what as usize) {
            bump(total, by);
        }
    }

    /// Count `by` dropped packets. Only the thread that owns these totals may.
    pub fn drop(&self, why: DropReason, by: u64) {
        if let Some(total) = self.drops.get(why.index()) {
            bump(total, by);
        }
    }

    /// All totals with their names.
    pub fn totals(&self) -> impl Iterator<Item = (String, u64)> {
        let named = Counter::NAMES
            .iter()
            .zip(&self.named)
            .map(|(name, total)| ((*name).to_owned(), total));
        let drops = DropReason::ALL.iter().zip(&self.drops);
        let drops = drops.map(|(why, total)| (format!("drop.{}", why.as_str()), total));
        named
            .chain(drops)
            .map(|(name, total)| (name, total.load(Relaxed)))
    }
}
