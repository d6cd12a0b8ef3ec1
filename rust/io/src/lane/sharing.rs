//! Packets of one burst for one node in one frame: a call, a header and an AEAD less for each.

use std::sync::Arc;

use zosnet_core::forward::DropReason;
use zosnet_core::offload::{Checksums, VirtioNetHdr, split_as};
use zosnet_core::session::{ENTRY_HEADER, Transport};

use crate::counters::Counter;

use super::Lane;
use super::frames::add_packet;
use super::road::Road;

/// A frame that still takes packets.
pub(super) struct OpenFrame {
    transport: Arc<Transport>,
    road: Arc<Road>,
    class: u8,
    entries: Vec<u8>,
    packets: usize,
}

impl OpenFrame {
    fn is_for(&self, transport: &Arc<Transport>, road: &Road, class: u8) -> bool {
        Arc::ptr_eq(&self.transport, transport) && self.road.is_same(road) && self.class == class
    }
}

impl Lane {
    /// Put packets in a frame with others of the same burst.
    pub(super) fn share_frame(
        &mut self,
        transport: &Arc<Transport>,
        road: &Arc<Road>,
        class: u8,
        header: VirtioNetHdr,
        packet: &mut [u8],
    ) {
        let mut open = match self.open_frame.take() {
            Some(open) if open.is_for(transport, road, class) => open,
            other => {
                self.seal_frame(other);
                self.begin_frame(transport, road, class)
            }
        };
        let outcome = split_as(Checksums::Partial, header, packet, |head, body, partial| {
            if open.entries.len() + ENTRY_HEADER + head.len() + body.len() > road.shared_room() {
                let next = self.begin_frame(transport, road, class);
                self.seal_frame(Some(std::mem::replace(&mut open, next)));
            }
            add_packet(&mut open.entries, head, body, partial);
            open.packets += 1;
        });
        match outcome {
            Ok(count) if header.gso_type != 0 => self.count(Counter::TunRx, count as u64),
            Ok(_) => {}
            Err(_) => self.carrier.dropped(DropReason::BadOffload, 1),
        }
        self.open_frame = Some(open);
    }

    fn begin_frame(&mut self, transport: &Arc<Transport>, road: &Arc<Road>, class: u8) -> OpenFrame {
        OpenFrame {
            transport: Arc::clone(transport),
            road: Arc::clone(road),
            class,
            entries: std::mem::take(&mut self.spare_entries),
            packets: 0,
        }
    }

    /// Seal the frame that still took packets. Before anything else goes the same way, and at the end of a burst.
    pub(super) fn close_frame(&mut self) {
        let open = self.open_frame.take();
        self.seal_frame(open);
    }

    fn seal_frame(&mut self, open: Option<OpenFrame>) {
        let Some(OpenFrame {
            transport,
            road,
            class,
            mut entries,
            packets,
        }) = open
        else {
            return;
        };
        if packets > 0 {
            let sent = self.emit(&transport, &road, class, entries.len(), |bytes| {
                bytes.extend_from_slice(&entries);
            });
            if sent {
                self.count(Counter::Sealed, packets as u64);
                self.count(Counter::Shared, packets as u64 - 1);
            }
        }
        entries.clear();
        self.spare_entries = entries;
        self.settle_outbox(false);
    }
}
