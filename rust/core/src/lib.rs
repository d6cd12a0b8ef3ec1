//! Pure parts of the zosnet data plane: no I/O, no clock, no threads, no randomness of its own.
//!
//! Every function here takes bytes, tables and `now`, and gives back bytes or a decision. The lanes of
//! `zosnet-io` own the sockets, the TUN device and the threads, and carry the decisions out.
//!
//! | module | owns |
//! |---|---|
//! | [`frame`] | where a packet starts and ends on a link; the data header |
//! | [`inner`] | the four bytes in front of every decrypted payload |
//! | [`suite`] | static X25519 keys and AES-256-GCM sessions, as Mycelium has them |
//! | [`ed25519`] | the ledger's rule for signatures |
//! | [`ipv6`] | a checked view of the IPv6 header |
//! | [`checksum`] | the Internet checksum |
//! | `cookies` | mac1 and cookies against floods, for links and sessions |
//! | [`hash`] | quick hashes for tables of numbers and addresses |
//! | [`icmp`] | errors for the local host, errors of transit nodes, echo replies |
//! | [`offload`] | cutting and merging the super-packets of a TUN device with offload |
//! | [`fib`] | longest-prefix match |
//! | [`tree`] | pages of the ledger's authenticated tree |
//! | [`waiting`] | bounded queues of packets without a route |
//! | [`datagram`] | `udp://` links: handshake, control channel, liveness, MTU, tags of relayed packets |
//! | [`forward`] | what to do with a packet |
//! | [`fragments`] | packets in pieces, where no frame holds them |
//! | [`repair`] | frames that a lossy link swallowed, given back |
//! | [`path`] | the longest frame that gets through relays |
//! | [`filter`] | what may come in for this host: flows, rules, refusals |
#![forbid(unsafe_code)]

pub mod checksum;
mod cookies;
pub mod datagram;
pub mod ed25519;
pub mod fib;
pub mod filter;
pub mod forward;
pub mod fragments;
pub mod frame;
pub mod hash;
pub mod icmp;
pub mod inner;
pub mod ipv6;
pub mod offload;
pub mod path;
mod reason;
pub mod repair;
pub mod session;
pub mod silence;
pub mod suite;
pub mod tree;
pub mod waiting;

/// An IPv6 address in wire order.
pub type Address = [u8; 16];

/// The overlay address that belongs to an X25519 public key (reference, section 1.2).
#[must_use]
pub fn address_of(public: &[u8; 32]) -> Address {
    let mut address: Address = [0; 16];
    let digest = blake3::hash(public);
    address
        .iter_mut()
        .zip(digest.as_bytes())
        .for_each(|(to, from)| *to = *from);
    address[0] = 0x04 | (address[0].count_ones() as u8 & 1);
    address
}

/// The upper 64 bits of `address`: the unit of routing and of keys in the overlay (reference, section 1.3).
#[inline]
#[must_use]
pub fn upper(address: &Address) -> u64 {
    (u128::from_be_bytes(*address) >> 64) as u64
}

/// Whether `address` lies in the overlay, 400::/7.
#[inline]
#[must_use]
pub fn in_overlay(address: &Address) -> bool {
    address[0] & 0xfe == 0x04
}
