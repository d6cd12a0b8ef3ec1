//! Cutting and merging the super-packets of a TUN device with offload (`IFF_VNET_HDR`).
//!
//! The kernel hands over up to 64 KB of one TCP or UDP flow as one packet, and takes back the same. That is
//! most of the speed of this data plane, and invisible on the wire: [`split()`] makes the packets that the
//! kernel would have made, with complete checksums, and [`Coalescer`] puts packets together as a network
//! card would.

mod coalesce;
mod item;
mod packet;
mod rules;
mod split;
mod virtio;

pub use coalesce::Coalescer;
pub use item::Item;
pub use split::{Checksums, split, split_as};
pub use virtio::{Gso, VIRTIO_HEADER, VirtioNetHdr};

/// Why a packet from the TUN device can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// Shorter than its own headers or lengths say.
    #[error("the packet is cut short")]
    Short,
    /// Neither IPv4 nor IPv6.
    #[error("neither IPv4 nor IPv6")]
    Version,
    /// A GSO type that wasn't asked for, or one that doesn't fit the packet.
    #[error("the packet doesn't fit GSO type {0}")]
    Type(u8),
    /// A super-packet without a segment size.
    #[error("a super-packet without a segment size")]
    Size,
    /// The checksum to complete lies outside the packet.
    #[error("the checksum lies outside the packet")]
    Checksum,
}
