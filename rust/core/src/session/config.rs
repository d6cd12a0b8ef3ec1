//! What a keeper is told at its start, and where messages come from.

use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

use crate::Address;
use crate::datagram::crypt::KEY;

/// Bounds of a keeper.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes that anything is known of; strangers that ask have three quarters.
    pub peers: usize,
    /// Keys that can be opened with; strangers that ask have three quarters.
    pub transports: usize,
    /// Handshakes a second that are answered without a cookie.
    pub handshakes_per_second: u32,
    /// Frames that one generation of keys may seal: 2^30.
    pub frames: u64,
    /// Pins, of which new ones push out none; who only calls gets three quarters.
    pub pins: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 1 << 16,
            transports: 1 << 16,
            handshakes_per_second: 500,
            frames: 1 << 30,
            pins: 1 << 15,
        }
    }
}

/// What a keeper is told at its start.
pub struct Config {
    /// The node's X25519 secret.
    pub secret: Zeroizing<[u8; KEY]>,
    /// Its address, which initiations must name.
    pub address: Address,
    /// Its lanes, 1 to 16.
    pub lanes: u8,
    /// Whether it has AES in hardware.
    pub has_aes: bool,
    /// The longest frame that it takes.
    pub max_frame: u16,
    /// Keys of nodes that are held to sessions.
    pub pins: Vec<[u8; KEY]>,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// One lane, no pins.
    #[must_use]
    pub fn new(secret: [u8; KEY], address: Address) -> Self {
        Self {
            secret: Zeroizing::new(secret),
            address,
            lanes: 1,
            has_aes: false,
            max_frame: u16::MAX,
            pins: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Where a handshake message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// A datagram from this end.
    Link(SocketAddr),
    /// A Mycelium data packet with this source address.
    Overlay(Address),
}

impl From {
    /// Whoever can receive here has some of the addresses that share this: an IPv4 address, or a /64.
    pub(super) fn origin(&self) -> Vec<u8> {
        let first_half = |octets: &[u8]| octets.iter().take(8).copied().collect();
        match self {
            Self::Link(end) => match end.ip().to_canonical() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => first_half(&ip.octets()),
            },
            Self::Overlay(address) => first_half(address),
        }
    }

    /// What a cookie is bound to.
    pub(super) fn source(&self) -> Vec<u8> {
        match self {
            Self::Link(end) => {
                let port = end.port().to_be_bytes();
                match end.ip() {
                    IpAddr::V4(ip) => [&ip.octets()[..], &port].concat(),
                    IpAddr::V6(ip) => [&ip.octets()[..], &port].concat(),
                }
            }
            Self::Overlay(address) => address.to_vec(),
        }
    }
}
