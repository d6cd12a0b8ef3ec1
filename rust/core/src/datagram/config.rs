//! What an endpoint is told, what it counts, and what it says about its links.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::crypt::KEY;
use super::keys::LinkKeys;

/// Names a link for as long as the endpoint lives; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

/// Bounds of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Links up at once.
    pub links: usize,
    /// Links up at once with one key; one more replaces the one that was silent longest.
    pub links_per_peer: usize,
    /// Handshakes that others began and haven't finished; one more drops the oldest.
    pub half_open: usize,
    /// From so many half-open handshakes on, a source must show that it receives (cookies).
    pub cookies_from: usize,
    /// Handshakes a second that others may begin; what is beyond must show that it receives.
    pub handshakes_per_second: u32,
    /// Links being dialled at once.
    pub dials: usize,
    /// Bytes that may wait for the peer on the control channel; more and the link is closed.
    pub control_buffer: usize,
    /// Bytes of control that may be on the way to this node, or wait for a paused reader.
    pub control_window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            links: 4096,
            links_per_peer: 8,
            half_open: 512,
            cookies_from: 32,
            handshakes_per_second: 200,
            dials: 1024,
            control_buffer: 8 << 20,
            control_window: 256 << 10,
        }
    }
}

/// What an endpoint is told at its start.
#[derive(Clone)]
pub struct Config {
    /// The node's X25519 secret.
    pub secret: Zeroizing<[u8; KEY]>,
    /// Who may link to this node, in both directions; `None`: anyone. Replaceable while it runs.
    pub allowed: Option<BTreeSet<[u8; KEY]>>,
    /// Lanes of this node, 1 to 16.
    pub lanes: u8,
    /// Whether this host has AES in hardware.
    pub has_aes: bool,
    /// The largest IP packet to try: 1500, or 9000 where the fabric carries it.
    pub max_packet: u16,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// Anyone may link, one lane, packets up to 1500 bytes.
    #[must_use]
    pub fn new(secret: [u8; KEY]) -> Self {
        Self {
            secret: Zeroizing::new(secret),
            allowed: None,
            lanes: 1,
            has_aes: false,
            max_packet: 1500,
            limits: Limits::default(),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("allowed", &self.allowed.as_ref().map(BTreeSet::len))
            .field("lanes", &self.lanes)
            .field("has_aes", &self.has_aes)
            .field("max_packet", &self.max_packet)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What happened since the start. Everything that is dropped is in one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that aren't what their type says: too short, an unknown type, version or pattern.
    pub malformed: u64,
    /// Initiations whose mac1 isn't made for this node's key.
    pub bad_mac: u64,
    /// Initiations answered with a cookie.
    pub cookies: u64,
    /// Initiations dropped without an answer because too many came at once.
    pub flooded: u64,
    /// Half-open handshakes dropped for newer ones.
    pub evicted: u64,
    /// Half-open handshakes that were never finished.
    pub expired: u64,
    /// Handshake messages that don't decrypt, or say what can't be.
    pub bad_handshake: u64,
    /// Handshakes of keys that aren't allowed here.
    pub refused: u64,
    /// Handshakes completed.
    pub completed: u64,
    /// Control frames and finishes for an index that isn't in use.
    pub unknown: u64,
    /// Control frames that don't decrypt.
    pub forged: u64,
    /// Control frames seen before, or too old to tell.
    pub replayed: u64,
    /// Authentic control frames that aren't well-formed.
    pub bad_frame: u64,
    /// Authentic frames from a new source: challenges sent there.
    pub challenges: u64,
    /// Links that moved to a new source.
    pub moves: u64,
    /// Times the path was found to have lost its big datagrams.
    pub black_holes: u64,
    /// The random source failed.
    pub no_random: u64,
}

/// What to do. In order; a driver carries out all before it waits.
#[derive(Debug, Clone)]
pub enum Action {
    /// Send a datagram. `dont_fragment`: set DF, and never fragment locally.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// The UDP payload.
        datagram: Vec<u8>,
        /// Whether it measures the path.
        dont_fragment: bool,
    },
    /// A link is up, confirmed by both ends. `token`: of the dial it came from. A token comes up again when
    /// its link was made anew after the peer restarted or this host slept; [`Action::Down`] of the old link
    /// comes before it.
    Up {
        /// The link.
        link: Id,
        /// From [`Endpoint::dial`](super::Endpoint::dial), if this end dialled.
        token: Option<i64>,
        /// The peer's public key, proven.
        peer: [u8; KEY],
        /// Where it is.
        remote: SocketAddr,
        /// For the lanes.
        keys: Arc<LinkKeys>,
    },
    /// The lanes must use these keys of the link from now on.
    Keys {
        /// The link.
        link: Id,
        /// What replaces the keys before.
        keys: Arc<LinkKeys>,
    },
    /// The peer is somewhere else, proven by a challenge.
    Moved {
        /// The link.
        link: Id,
        /// Where it is now.
        remote: SocketAddr,
    },
    /// The largest UDP payload that arrives has changed. It starts at what every link carries.
    Mtu {
        /// The link.
        link: Id,
        /// UDP payload in bytes.
        max_datagram: u32,
    },
    /// The next bytes of the peer's control stream.
    Control {
        /// The link.
        link: Id,
        /// In order, without gaps.
        bytes: Vec<u8>,
    },
    /// Something was sent and nothing came back in time; or the first thing came back.
    Stalled {
        /// The link.
        link: Id,
        /// Which of them.
        stalled: bool,
    },
    /// New figures, at most one a second for each link.
    Measured {
        /// The link.
        link: Id,
        /// Smoothed round trip, in seconds.
        rtt: f64,
        /// Share of our datagrams that don't arrive, 0 to 1.
        loss: f64,
        /// Share of the peer's datagrams that don't arrive here.
        loss_in: f64,
        /// Whether what is sent is to be repaired ([`crate::repair`]).
        repair: bool,
    },
    /// The link is no more.
    Down {
        /// The link.
        link: Id,
        /// Why, for people.
        reason: String,
    },
    /// A dial came to nothing.
    DialFailed {
        /// From [`Endpoint::dial`](super::Endpoint::dial).
        token: i64,
        /// Why, for people.
        reason: String,
        /// Not for want of an answer: the wrong key answered, or one that isn't allowed.
        refused: bool,
    },
    /// A key that isn't allowed proved itself; nothing was answered. At most one a second, the rest is counted.
    Refused {
        /// Its key.
        peer: [u8; KEY],
        /// Where it came from.
        remote: SocketAddr,
    },
}

/// A link, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Its name.
    pub link: Id,
    /// The index by which its datagrams are found.
    pub local_index: u32,
    /// The dial it came from.
    pub token: Option<i64>,
    /// The peer's public key.
    pub peer: [u8; KEY],
    /// Where it is.
    pub remote: SocketAddr,
    /// Smoothed round trip in seconds; 0 before it was measured.
    pub rtt: f64,
    /// Its variance.
    pub rttvar: f64,
    /// The smallest round trip of the last minutes.
    pub rtt_min: f64,
    /// Share of our datagrams that don't arrive.
    pub loss_out: f64,
    /// Share of the peer's datagrams that don't arrive here.
    pub loss_in: f64,
    /// The largest UDP payload that arrives.
    pub max_datagram: u32,
    /// Sent, but nothing heard.
    pub stalled: bool,
    /// Bytes of control that the peer hasn't acknowledged.
    pub queued: usize,
    /// When it came up.
    pub since: f64,
    /// When something authentic was heard last.
    pub heard: f64,
}
