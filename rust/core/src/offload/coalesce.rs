//! Merging packets of one flow into super-packets for the TUN device.
//!
//! The packets lie in one receive buffer and stay there: an [`Item`] is a virtio header, patched headers and
//! a list of payload ranges, ready for one `writev`. Which packets may be merged is said in `rules`. Packets
//! of a flow keep their order; items lie in the order of their first packets.

use std::ops::Range;

use super::item::{Item, Piece, Slot};
use super::packet::{Layout, PSH, Protocol, TCP_FLAGS_AT, get_u32};
use super::rules::{self, Flow};
use super::{Gso, VirtioNetHdr};

/// Flows with an unfinished super-packet. More than one batch of a receive buffer usually holds.
const OPEN_FLOWS: usize = 8;
/// The longest packet that an IP header describes.
const MAX_TOTAL: usize = 65_535;
/// The end of a chain of pieces.
const NONE: u32 = u32::MAX;

/// A flow whose last packet may be followed by more in the same super-packet.
#[derive(Debug, Clone, Copy)]
struct Open {
    flow: Flow,
    slot: usize,
    /// Where the head packet lies in the buffer, and its layout.
    head: usize,
    layout: Layout,
    /// Payload bytes of the head: all others but the last have as many.
    size: usize,
    /// Bytes of the whole super-packet so far.
    total: usize,
    segments: usize,
    next_sequence: u32,
    /// Checksums are partial, and an authenticated neighbour vouches for the rest.
    partial: bool,
    /// The head's checksum was verified. Put off until there is something to merge.
    verified: bool,
    /// The last merged packet had PSH.
    push: bool,
    /// Nothing may follow: a short or a pushed packet is in it.
    full: bool,
}

/// Merges the packets of one receive buffer. Make one per lane and reuse it: nothing is allocated once it
/// has seen its largest batch.
///
/// Call [`push`](Self::push) for each packet in the order of arrival, [`finish`](Self::finish) after the
/// last, then write the [`items`](Self::items), then [`clear`](Self::clear). The buffer must be the same,
/// and unchanged, in all of these.
#[derive(Debug)]
pub struct Coalescer {
    udp: bool,
    slots: Vec<Slot>,
    pieces: Vec<Piece>,
    headers: Vec<u8>,
    open: Vec<Open>,
}

impl Coalescer {
    /// `udp`: whether the device takes UDP super-packets (`TUN_F_USO4` and `USO6`, Linux 6.2).
    #[must_use]
    pub fn new(udp: bool) -> Self {
        Self {
            udp,
            slots: Vec::new(),
            pieces: Vec::new(),
            headers: Vec::new(),
            open: Vec::with_capacity(OPEN_FLOWS),
        }
    }

    /// Take the packet `buffer[range]`: a whole IP packet. One that lies outside the buffer is ignored.
    #[inline]
    pub fn push(&mut self, buffer: &[u8], range: Range<usize>) {
        self.push_as(buffer, range, false);
    }

    /// The same. `partial`: its transport checksum holds the sum of the pseudo header only, and the packet was
    /// authenticated, so the kernel may complete it instead of judging it. Of no meaning for other protocols than
    /// TCP and UDP.
    #[inline]
    pub fn push_as(&mut self, buffer: &[u8], range: Range<usize>, partial: bool) {
        let Some(packet) = buffer.get(range.clone()) else {
            return;
        };
        let Some((flow, layout)) = Layout::of(packet).ok().flatten().and_then(|layout| {
            let flow = Flow::of(packet, &layout)?;
            Some((flow, layout))
        }) else {
            // Perhaps a fragment of an open flow, perhaps not IP at all: nothing may overtake it.
            self.close_between(buffer, packet);
            self.add(range);
            return;
        };
        let mergeable = rules::is_mergeable(packet, &layout, self.udp);
        if let Some(at) = self.open.iter().position(|open| open.flow == flow) {
            if mergeable && self.extend(buffer, at, range.start, packet, &layout, partial) {
                return;
            }
            self.close(buffer, at);
        }
        let slot = self.add(range.clone());
        if partial && let Some(slot) = self.slots.get_mut(slot) {
            slot.virtio = VirtioNetHdr {
                flags: VirtioNetHdr::NEEDS_CSUM,
                csum_start: layout.transport as u16,
                csum_offset: layout.protocol.checksum_at() as u16,
                ..VirtioNetHdr::default()
            };
        }
        if mergeable {
            self.begin(buffer, flow, slot, range.start, packet, layout, partial);
        }
    }

    /// Complete what is unfinished. After this the items are final.
    #[inline]
    pub fn finish(&mut self, buffer: &[u8]) {
        for at in (0..self.open.len()).rev() {
            self.close(buffer, at);
        }
    }

    /// What is to be written, in order. Only after [`finish`](Self::finish).
    #[inline]
    pub fn items(&self) -> impl ExactSizeIterator<Item = Item<'_>> {
        self.slots.iter().map(|slot| Item {
            slot,
            pieces: &self.pieces,
            arena: &self.headers,
        })
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Forget everything, keep the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.slots.clear();
        self.pieces.clear();
        self.headers.clear();
        self.open.clear();
    }

    /// An item of its own for `range`, written as it is.
    #[inline]
    fn add(&mut self, range: Range<usize>) -> usize {
        let piece = self.piece(range);
        self.slots.push(Slot {
            virtio: VirtioNetHdr::default(),
            headers: (0, 0),
            first: piece,
            last: piece,
        });
        self.slots.len() - 1
    }

    #[inline]
    fn piece(&mut self, range: Range<usize>) -> u32 {
        self.pieces.push(Piece {
            start: range.start as u32,
            end: range.end as u32,
            next: NONE,
        });
        (self.pieces.len() - 1) as u32
    }

    /// Let later packets of `flow` join the item `slot`.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the parts of an open flow")]
    fn begin(
        &mut self,
        buffer: &[u8],
        flow: Flow,
        slot: usize,
        head: usize,
        packet: &[u8],
        layout: Layout,
        partial: bool,
    ) {
        let size = layout.end - layout.payload;
        let push = rules::is_pushed(packet, &layout);
        if push {
            return;
        }
        if self.open.len() >= OPEN_FLOWS {
            self.close(buffer, 0);
        }
        let next_sequence = get_u32(packet, layout.transport + 4).wrapping_add(size as u32);
        self.open.push(Open {
            flow,
            slot,
            head,
            layout,
            size,
            total: packet.len(),
            segments: 1,
            next_sequence,
            partial,
            verified: partial && layout.v6,
            push: false,
            full: false,
        });
    }

    /// Merge `packet` into the open flow at `at`, if it belongs there. Nothing is changed if not.
    #[inline]
    fn extend(
        &mut self,
        buffer: &[u8],
        at: usize,
        start: usize,
        packet: &[u8],
        layout: &Layout,
        partial: bool,
    ) -> bool {
        let (Some(open), Some(head)) = (self.open.get(at), head_of(buffer, self.open.get(at))) else {
            return false;
        };
        let length = layout.end - layout.payload;
        let fits = !open.full
            && length <= open.size
            && open.total + length <= MAX_TOTAL
            && open.segments < rules::max_segments(layout.protocol)
            && layout.payload == open.layout.payload
            && rules::continues(head, packet, &open.layout, open.segments, open.next_sequence)
            && open.partial == partial
            && (open.verified || rules::has_right_checksums(head, &open.layout, partial))
            && rules::has_right_checksums(packet, layout, partial);
        if !fits {
            return false;
        }
        let (slot, push) = (open.slot, rules::is_pushed(packet, layout));
        let body = start + layout.payload..start + layout.end;
        if let Some(open) = self.open.get_mut(at) {
            open.verified = true;
            open.total += length;
            open.segments += 1;
            open.next_sequence = open.next_sequence.wrapping_add(length as u32);
            open.push = push;
            open.full = push || length < open.size;
        }
        let piece = self.piece(body);
        self.link(slot, piece);
        true
    }

    /// Append `piece` to the chain of `slot`.
    #[inline]
    fn link(&mut self, slot: usize, piece: u32) {
        let Some(slot) = self.slots.get_mut(slot) else {
            return;
        };
        if let Some(last) = self.pieces.get_mut(slot.last as usize) {
            last.next = piece;
        }
        slot.last = piece;
    }

    /// Close the open flows between the addresses of `packet`.
    fn close_between(&mut self, buffer: &[u8], packet: &[u8]) {
        let Some(addresses) = rules::addresses(packet) else {
            return;
        };
        for at in (0..self.open.len()).rev() {
            if self
                .open
                .get(at)
                .is_some_and(|open| open.flow.addresses == addresses)
            {
                self.close(buffer, at);
            }
        }
    }

    /// Make the open flow at `at` final: build the headers of its super-packet, if it became one.
    fn close(&mut self, buffer: &[u8], at: usize) {
        let open = self.open.remove(at);
        if open.segments == 1 {
            return;
        }
        let Some(head) = head_of(buffer, Some(&open)).and_then(|head| head.get(..open.layout.payload)) else {
            return;
        };
        let from = self.headers.len();
        self.headers.extend_from_slice(head);
        let Some(headers) = self.headers.get_mut(from..) else {
            return;
        };
        let layout = open.layout;
        if open.push
            && let Some(flags) = headers.get_mut(layout.transport + TCP_FLAGS_AT)
        {
            *flags |= PSH;
        }
        layout.set_lengths(headers, open.total);
        layout.set_pseudo(headers, open.total);
        let to = self.headers.len();
        if let Some(slot) = self.slots.get_mut(open.slot) {
            slot.headers = (from as u32, to as u32);
            slot.virtio = virtio(&open);
            if let Some(first) = self.pieces.get_mut(slot.first as usize) {
                first.start += layout.payload as u32;
            }
        }
    }
}

/// The head packet of `open`.
#[inline]
fn head_of<'b>(buffer: &'b [u8], open: Option<&Open>) -> Option<&'b [u8]> {
    let open = open?;
    buffer.get(open.head..open.head + open.layout.end)
}

fn virtio(open: &Open) -> VirtioNetHdr {
    let gso = match (open.layout.protocol, open.layout.v6) {
        (Protocol::Tcp, true) => Gso::TcpV6,
        (Protocol::Tcp, false) => Gso::TcpV4,
        (Protocol::Udp, _) => Gso::UdpL4,
    };
    VirtioNetHdr {
        flags: VirtioNetHdr::NEEDS_CSUM,
        gso_type: gso.number(),
        hdr_len: open.layout.payload as u16,
        gso_size: open.size as u16,
        csum_start: open.layout.transport as u16,
        csum_offset: open.layout.protocol.checksum_at() as u16,
    }
}
