//! The seam between the lanes and transports that live beside them (QUIC): batches of whole packets.
//!
//! A transport beside the lanes has its own thread. It is driven through [`RemoteSink`] and reports through
//! [`Upcalls`]; both are called from any thread and never block. Times are CLOCK_MONOTONIC seconds
//! ([`crate::sys::now`]).
//!
//! What the transport does: handshakes, framing (`zosnet_core::frame`), its own queues with their bounds,
//! judging liveness. What the lanes do: encryption, routing, events to Python, `busy`/`idle`, the round-trip
//! time of Hello and IHU (taken from [`RemoteSink::push_control`] and the `at` of [`Upcalls::deliver`]).
//!
//! A transport is started by a function of its module, for QUIC
//! `crate::quic::start(RemoteConfig, Arc<dyn Upcalls>) -> std::io::Result<Arc<dyn RemoteSink>>`.

use std::net::SocketAddr;

use zosnet_core::session::Status;

/// Number of a link: above 0, never used again within the process.
pub type LinkId = u32;

/// The address without its port. A link-local one means nothing without its interface, which is named by number.
pub fn host(end: SocketAddr) -> String {
    match end {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => end.ip().to_string(),
    }
}

/// What a transport beside the lanes needs to start.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// Addresses to listen on; the first is also the one to dial from. Empty: dial only.
    pub listen: Vec<SocketAddr>,
    /// `SO_MARK` of every socket; 0 leaves it alone.
    pub firewall_mark: u32,
    /// The router id as text, the DNS name in the certificate.
    pub router_id_text: String,
    /// A secret that the next process of this node has too: by it, peers of this one believe that it is gone.
    pub reset_seed: [u8; 32],
}

/// A link that has come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkUp {
    /// Its number, from [`Upcalls::new_link`].
    pub link: LinkId,
    /// The token of the dial that made it; none for an inbound link.
    pub token: Option<i64>,
    /// `"tcp"`, `"quic"` or `"udp"`.
    pub proto: &'static str,
    /// The local end.
    pub local: SocketAddr,
    /// The remote end.
    pub remote: SocketAddr,
    /// The key of the node at the other end, where the transport proves it.
    pub key: Option<[u8; 32]>,
}

/// Figures of one link, for status.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkInfo {
    /// Which link, and its ends.
    pub up: LinkUp,
    /// Bytes of whole packets handed to the socket.
    pub tx_bytes: u64,
    /// Bytes of whole packets received.
    pub rx_bytes: u64,
    /// Packets handed to the socket.
    pub tx_packets: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes that wait in the transport's own queues.
    pub queued_bytes: u64,
    /// Packets dropped because a queue was full or too old.
    pub dropped: u64,
    /// Round-trip time in seconds as the transport measures it.
    pub rtt: Option<f64>,
    /// Data is out and nothing comes back.
    pub stalled: bool,
    /// Data has flowed in the last seconds. A transport leaves it false: the lanes know.
    pub busy: bool,
    /// When it came up.
    pub since: f64,
    /// Share of datagrams that don't arrive, in the worse direction; where the transport measures it.
    pub loss: Option<f64>,
    /// The longest UDP payload that arrives, where that matters to lanes.
    pub max_datagram: Option<u32>,
}

/// One session end to end, for status.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// The X25519 key of the node at the other end.
    pub key: [u8; 32],
    /// `"aes-256-gcm"` or `"chacha20-poly1305"`.
    pub cipher: &'static str,
    /// Where it stands: `"handshaking"`, `"established"`, `"unanswered"`.
    pub state: &'static str,
    /// `"direct"` over a datagram link to that node, or `"relayed"`.
    pub via: &'static str,
    /// Seconds since the handshake of the present keys.
    pub age: f64,
    /// Frames sealed and opened under the present keys.
    pub tx_frames: u64,
    /// See `tx_frames`.
    pub rx_frames: u64,
    /// The longest frame for it.
    pub max_frame: u32,
}

impl From<Status> for SessionInfo {
    fn from(status: Status) -> Self {
        Self {
            key: status.peer,
            cipher: status.cipher,
            state: status.state,
            via: "relayed",
            age: status.age,
            tx_frames: status.tx_frames,
            rx_frames: status.rx_frames,
            max_frame: status.max_frame,
        }
    }
}

/// What a transport reports. Implemented by the lanes.
pub trait Upcalls: Send + Sync {
    /// A fresh link number. Take it when a connection is complete, then call `link_up` with it.
    fn new_link(&self) -> LinkId;
    /// The link may be used from now on. Before any `deliver` of it.
    fn link_up(&self, up: LinkUp);
    /// So much about links waits for Python that no inbound one should be taken now.
    fn crowded(&self) -> bool;
    /// The link is gone. Exactly once for each `link_up`, whoever closed it; nothing about it follows.
    fn link_down(&self, link: LinkId, reason: &str);
    /// A dial came to nothing. `errno` is 0 when the operating system named none.
    fn dial_failed(&self, token: i64, errno: i32, reason: &str);
    /// Whole packets, one after another, control and data mixed in order of arrival. Batch what is there.
    fn deliver(&self, link: LinkId, packets: Vec<u8>, at: f64);
    /// Data is out and nothing was acknowledged for max(100 ms, 3 x RTT + variance); `false`: progress again.
    fn stalled(&self, link: LinkId, stalled: bool);
}

/// What the lanes ask of a transport. Unknown link numbers are ignored: links die at any moment.
pub trait RemoteSink: Send + Sync {
    /// Send whole data packets, one after another in `packets`. Beyond its bounds (bytes and age) drop and count.
    fn push(&self, link: LinkId, packets: Vec<u8>);
    /// Send whole control packets: reliable, in order, ahead of data. Beyond its bound close the link.
    fn push_control(&self, link: LinkId, packets: Vec<u8>);
    /// Bytes that wait for the link.
    fn queued(&self, link: LinkId) -> usize;
    /// Stop (or go on) reading from the link: Python is behind with its control packets.
    fn pause(&self, link: LinkId, paused: bool);
    /// Close the link; `link_down` follows.
    fn close(&self, link: LinkId);
    /// Connect; `link_up` with `token`, or `dial_failed`, follows within `timeout` seconds.
    fn dial(&self, token: i64, remote: SocketAddr, timeout: f64);
    /// Figures of all links.
    fn links(&self) -> Vec<LinkInfo>;
    /// Named totals ("drop.quic_datagram_full", ...), added to the node's counters.
    fn counters(&self) -> Vec<(&'static str, u64)>;
    /// The addresses really listened on (a port 0 is resolved).
    fn listening(&self) -> Vec<SocketAddr>;
    /// Flush for at most `timeout` seconds, close all links, end the thread and wait for it. Idempotent.
    fn shutdown(&self, timeout: f64);
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    #[test]
    fn a_link_local_end_is_named_with_its_interface() {
        let end = |scope| {
            SocketAddr::from(SocketAddrV6::new(
                Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
                9651,
                0,
                scope,
            ))
        };
        assert_eq!(host(end(3)), "fe80::1%3");
        assert_eq!(host(end(0)), "fe80::1");
        assert_eq!(host(SocketAddr::from(([127, 0, 0, 1], 1))), "127.0.0.1");
    }
}
