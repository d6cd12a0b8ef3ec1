//! What merging makes: virtio header, patched headers and a list of payload ranges, ready for one `writev`.

use std::ops::Range;

use super::VirtioNetHdr;

/// A range of the receive buffer, and the next one of the same item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) next: u32,
}

/// One packet or super-packet to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) virtio: VirtioNetHdr,
    /// Range in the header arena; empty for a packet that goes out as it came.
    pub(super) headers: (u32, u32),
    pub(super) first: u32,
    pub(super) last: u32,
}

/// One write to the TUN device.
#[derive(Debug, Clone, Copy)]
pub struct Item<'c> {
    pub(super) slot: &'c Slot,
    pub(super) pieces: &'c [Piece],
    pub(super) arena: &'c [u8],
}

impl<'c> Item<'c> {
    /// The virtio header that goes first.
    #[inline]
    #[must_use]
    pub fn virtio(&self) -> VirtioNetHdr {
        self.slot.virtio
    }

    /// IP and transport headers of a super-packet. Empty for a packet that goes out as it came: its range
    /// holds its headers.
    #[inline]
    #[must_use]
    pub fn headers(&self) -> &'c [u8] {
        let (from, to) = self.slot.headers;
        self.arena.get(from as usize..to as usize).unwrap_or_default()
    }

    /// The ranges of the receive buffer that follow, in order; at most 128.
    #[inline]
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + 'c {
        let pieces = self.pieces;
        std::iter::successors(pieces.get(self.slot.first as usize), move |piece| {
            pieces.get(piece.next as usize)
        })
        .map(|piece| piece.start as usize..piece.end as usize)
    }

    /// How many packets are in it.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.ranges().count()
    }

    /// Bytes of the whole packet, without the virtio header.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers().len() + self.ranges().map(|range| range.len()).sum::<usize>()
    }

    /// Never: an item has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
