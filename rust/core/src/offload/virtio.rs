//! The header in front of every packet of a TUN device with offload: `struct virtio_net_hdr` of Linux.

use super::OffloadError;

/// Length of [`VirtioNetHdr`] on the device.
pub const VIRTIO_HEADER: usize = 10;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What kind of super-packet follows, without the ECN bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gso {
    /// An ordinary packet.
    None,
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of equal size, over either.
    UdpL4,
}

/// The header, in the byte order of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VirtioNetHdr {
    /// [`VirtioNetHdr::NEEDS_CSUM`] and others.
    pub flags: u8,
    /// What kind of super-packet follows, as a number.
    pub gso_type: u8,
    /// Length of all headers. A hint: never believed.
    pub hdr_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where the checksummed part begins.
    pub csum_start: u16,
    /// Where the checksum lies in it.
    pub csum_offset: u16,
}

impl VirtioNetHdr {
    /// The checksum holds the sum of the pseudo header only.
    pub const NEEDS_CSUM: u8 = 1;

    /// Split what was read from the device in header and packet.
    ///
    /// # Errors
    /// [`OffloadError::Short`] for fewer than ten bytes.
    #[inline]
    pub fn parse(read: &mut [u8]) -> Result<(Self, &mut [u8]), OffloadError> {
        let (head, packet) = read
            .split_first_chunk_mut::<VIRTIO_HEADER>()
            .ok_or(OffloadError::Short)?;
        let [flags, gso_type, h0, h1, s0, s1, a0, a1, o0, o1] = *head;
        let header = Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([s0, s1]),
            csum_start: u16::from_ne_bytes([a0, a1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        };
        Ok((header, packet))
    }

    /// The ten bytes in front of a packet to be written.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; VIRTIO_HEADER] {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        let [s0, s1] = self.gso_size.to_ne_bytes();
        let [a0, a1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, s0, s1, a0, a1, o0, o1]
    }

    /// Whether the checksum is still to be completed.
    #[inline]
    #[must_use]
    pub const fn needs_csum(&self) -> bool {
        self.flags & Self::NEEDS_CSUM != 0
    }

    /// The kind of super-packet; the ECN bit is masked.
    ///
    /// # Errors
    /// [`OffloadError::Type`] for a kind that wasn't asked for.
    #[inline]
    pub const fn gso(&self) -> Result<Gso, OffloadError> {
        match self.gso_type & !GSO_ECN {
            GSO_NONE => Ok(Gso::None),
            GSO_TCPV4 => Ok(Gso::TcpV4),
            GSO_TCPV6 => Ok(Gso::TcpV6),
            GSO_UDP_L4 => Ok(Gso::UdpL4),
            _ => Err(OffloadError::Type(self.gso_type)),
        }
    }
}

impl Gso {
    /// The number on the device.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::None => GSO_NONE,
            Self::TcpV4 => GSO_TCPV4,
            Self::TcpV6 => GSO_TCPV6,
            Self::UdpL4 => GSO_UDP_L4,
        }
    }
}
