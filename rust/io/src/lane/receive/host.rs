//! What was opened, and what this node made itself, for this host: to the TUN, up to Python.

use std::io::IoSlice;
use std::sync::Arc;

use zosnet_core::forward::{DropReason, Opened};
use zosnet_core::frame::DataHeader;
use zosnet_core::icmp;
use zosnet_core::inner::INNER_HEADER;
use zosnet_core::offload::VirtioNetHdr;
use zosnet_core::session::compact::first_packet;

use crate::counters::Counter;
use crate::events::Event;
use crate::lane::Lane;
use crate::lane::road::is_frame_address;
use crate::probe;

impl Lane {
    /// Deal with an opened payload; the length of the packet in it, if that is for the TUN.
    pub(super) fn opened(&mut self, outer: &DataHeader, opened: Opened<'_>, key: &[u8; 32]) -> Option<usize> {
        self.count(Counter::Opened, 1);
        match opened {
            Opened::Tun(packet) => {
                let mine = self.lets_in(key, packet) && !self.claim(packet);
                return mine.then_some(packet.len());
            }
            Opened::Message(body) if !self.lets_message_in(key, &outer.src, body) => {}
            Opened::Message(body) => {
                let (source, destination, key) = (outer.src, outer.dst, *key);
                self.carrier.events.push(Event::Message {
                    source,
                    destination,
                    key,
                    body: body.to_vec(),
                });
            }
            Opened::Error(body) => self.recover(outer, body),
            Opened::Drop(why) => self.carrier.dropped(why, 1),
        }
        None
    }

    /// Keep from the TUN what isn't for it: answers to probes, and without a TUN pings of this node.
    pub(in crate::lane) fn claim(&mut self, packet: &[u8]) -> bool {
        if !self.probes.is_empty() && probe::answers(packet, &self.probes) {
            self.carrier
                .events
                .push(Event::Probe(packet.to_vec(), self.carrier.now));
            return true;
        }
        if self.tun.is_some() {
            return false;
        }
        match icmp::echo_reply(packet) {
            Some(reply) => self.inject(reply),
            None => self.carrier.dropped(DropReason::NoTun, 1),
        }
        true
    }

    /// An error of a transit node: open what it quotes, tell the host.
    fn recover(&mut self, outer: &DataHeader, body: &[u8]) {
        let table = Arc::clone(&self.table);
        let error = icmp::recover(outer, body).ok().and_then(|error| {
            let entry = table.lookup(&error.destination)?;
            let mut sealed = error.sealed.to_vec();
            if is_frame_address(&error.destination) {
                let peer = self.shared.peers.known(&entry.public)?;
                let opened = peer.current()?.reopen(&mut sealed).ok()?;
                return error
                    .for_host(&first_packet(opened, &self.node.address, &peer.address)?)
                    .ok();
            }
            let session = self.sessions.of(entry).ok()?;
            let offending = session.open(&mut sealed).ok()?.get(INNER_HEADER..)?;
            error.for_host(offending).ok()
        });
        match error {
            Some(Some(packet)) => self.hand_to_host(&packet),
            Some(None) => {}
            None => self.carrier.dropped(DropReason::BadError, 1),
        }
    }

    /// Hand the host a packet that this node made, or an answer to a probe to Python.
    pub(in crate::lane) fn hand_to_host(&mut self, packet: &[u8]) {
        if self.claim(packet) {
            return;
        }
        self.write_tun(&[
            IoSlice::new(&VirtioNetHdr::default().to_bytes()),
            IoSlice::new(packet),
        ]);
    }

    fn write_tun(&self, pieces: &[IoSlice<'_>]) {
        let Some(tun) = &self.tun else { return };
        self.count(Counter::TunWrites, 1);
        match tun.write(pieces) {
            Ok(written) => self.count(Counter::TunTxBytes, written as u64),
            Err(_) => self.carrier.dropped(DropReason::TunRefused, 1),
        }
    }

    /// Write the packets for the TUN that lie in `buffer`, merged.
    pub(in crate::lane) fn deliver(&mut self, buffer: &[u8]) {
        if self.coalescer.is_empty() {
            return;
        }
        self.coalescer.finish(buffer);
        for item in self.coalescer.items() {
            let virtio = item.virtio().to_bytes();
            let segments = item.segments();
            let mut pieces = Vec::with_capacity(2 + segments);
            pieces.extend([IoSlice::new(&virtio), IoSlice::new(item.headers())]);
            let ranges = item.ranges().map(|range| buffer.get(range).unwrap_or_default());
            pieces.extend(ranges.map(IoSlice::new));
            self.count(Counter::TunTx, segments as u64);
            self.write_tun(&pieces);
        }
        self.coalescer.clear();
    }
}
