//! Session frames on their way out: packets of this host sealed for nodes that speak the suite `zosnet`.
//!
//! ```text
//! direct:  frame                               the neighbour is the destination: the frame is the datagram
//! relayed: relay header | frame | tag          over a `udp://` link to somebody else
//! wrapped: Mycelium data packet { frame }      over any other link; stock relays know nothing else
//! ```
//! Small packets that come in one burst for one node share a frame; a frame is at most one datagram. Over a stream whose
//! other end is the node itself all packets share frames, which are longer: no relay sees them, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use socket2::SockAddr;

use zosnet_core::datagram::{self, RELAY_OVERHEAD};
use zosnet_core::forward::DropReason;
use zosnet_core::fragments;
use zosnet_core::icmp::Problem;
use zosnet_core::ipv6;
use zosnet_core::offload::{Checksums, Gso, VirtioNetHdr, split_as};
use zosnet_core::session::compact::{COMPACT, compact};
use zosnet_core::session::{self, ENTRY_HEADER, EntryKind, HEADER, OVERHEAD, TAG, Transport};

use crate::class::{class_of, not_capable};
use crate::counters::Counter;
use crate::keeper::ToKeeper;
use crate::link::{LinkState, bump};

use super::Lane;
use super::port::Sent;
use super::relay::wrap_relayed;
use super::road::{Kind, Road};
use super::transmit::{LENGTH_AT, SEALED_AT};

/// The least MTU of IPv6: what the host can't make smaller is cut up here.
const MIN_MTU: usize = 1280;

/// The longest packet that cutting will make of a super-packet; of another one its own length.
fn segment_length(header: VirtioNetHdr, packet: &[u8]) -> usize {
    if header.gso_type == 0 {
        return packet.len();
    }
    // What is checksummed begins where TCP's or UDP's header does; the upper half of a TCP header's 13th byte is its
    // length in words.
    let transport = usize::from(header.csum_start);
    let own = match header.gso() {
        Ok(Gso::UdpL4) => 8,
        _ => usize::from(packet.get(transport + 12).copied().unwrap_or(0) >> 4) * 4,
    };
    packet.len().min(transport + own + usize::from(header.gso_size))
}

/// Append an entry that is a whole IP packet, in two parts.
pub(super) fn add_packet(entries: &mut Vec<u8>, head: &[u8], body: &[u8], partial: bool) {
    let kind = EntryKind::Packet { partial };
    entries.extend_from_slice(&session::entry_header(kind, head.len() + body.len()));
    entries.extend_from_slice(head);
    entries.extend_from_slice(body);
}

/// The same, its header shortened.
fn add_compact(entries: &mut Vec<u8>, short: [u8; COMPACT], rest: [&[u8]; 2], partial: bool) {
    let kind = EntryKind::Compact { partial };
    let length = COMPACT + rest[0].len() + rest[1].len();
    entries.extend_from_slice(&session::entry_header(kind, length));
    entries.extend_from_slice(&short);
    entries.extend_from_slice(rest[0]);
    entries.extend_from_slice(rest[1]);
}

/// Append an entry of another kind.
pub(super) fn add_entry(entries: &mut Vec<u8>, kind: EntryKind, body: &[u8]) {
    entries.extend_from_slice(&session::entry_header(kind, body.len()));
    entries.extend_from_slice(body);
}

impl Lane {
    /// A packet of this host, whole or a super-packet, for a node that there is a session with.
    pub(super) fn send_framed(
        &mut self,
        transport: &Arc<Transport>,
        road: &Arc<Road>,
        header: VirtioNetHdr,
        packet: &mut [u8],
    ) {
        let class = class_of(packet);
        let longest = road.longest_packet();
        if segment_length(header, packet) > longest {
            return self.too_long(transport, road, header, packet);
        }
        if header.gso_type == 0 {
            self.count(Counter::TunRx, 1);
        }
        // Of datagrams each big packet has its own, so that the loss of one costs one packet.
        let entry = ENTRY_HEADER + segment_length(header, packet);
        let many = header.gso_type != 0 || !self.pace.is_quiet(self.carrier.now);
        if many && (header.gso_type == 0 || road.is_long()) && entry <= road.room() / 2 {
            return self.share_frame(transport, road, class, header, packet);
        }
        self.close_frame();
        let mut count = 0;
        let outcome = split_as(Checksums::Partial, header, packet, |head, body, partial| {
            let length = head.len() + body.len();
            let short = compact(head, length, &road.src, &road.node);
            let rest = head.get(ipv6::HEADER..).unwrap_or_default();
            let sent = match short {
                Some(short) => {
                    let length = ENTRY_HEADER + 1 + COMPACT + length - ipv6::HEADER;
                    self.emit(transport, road, class, length, |bytes| {
                        add_compact(bytes, short, [rest, body], partial);
                    })
                }
                None => self.emit(transport, road, class, ENTRY_HEADER + length, |bytes| {
                    add_packet(bytes, head, body, partial);
                }),
            };
            count += u64::from(sent);
        });
        if outcome.is_err() {
            self.carrier.dropped(DropReason::BadOffload, 1);
        }
        if header.gso_type != 0 {
            self.count(Counter::TunRx, count);
        }
        self.count(Counter::Sealed, count);
        self.settle_outbox(false);
    }

    /// A packet that no frame to its destination holds: the host makes smaller ones, or below the least MTU of
    /// IPv6 it is cut up.
    fn too_long(&mut self, transport: &Arc<Transport>, road: &Road, header: VirtioNetHdr, packet: &mut [u8]) {
        if segment_length(header, packet) > MIN_MTU.max(road.longest_packet()) {
            return self.refuse_too_long(road, packet);
        }
        let room = road.longest.saturating_sub(OVERHEAD + ENTRY_HEADER + 1);
        let class = not_capable(class_of(packet));
        // The receiver sees no packet, only pieces: its checksum must be complete.
        let outcome = split_as(Checksums::Complete, header, packet, |head, body, _| {
            let number = self.fragments.number();
            for piece in fragments::cut(number, &[head, body].concat(), room) {
                self.send_entry(transport, road, class, EntryKind::Fragment, &piece);
            }
        });
        match outcome {
            Ok(count) => {
                self.count(Counter::TunRx, count as u64);
                self.count(Counter::Fragmented, count as u64);
            }
            Err(_) => self.carrier.dropped(DropReason::BadOffload, 1),
        }
        self.settle_outbox(false);
    }

    fn refuse_too_long(&mut self, road: &Road, packet: &[u8]) {
        self.carrier.dropped(DropReason::TooBig, 1);
        let mtu = road.longest_packet().max(MIN_MTU) as u32;
        self.refuse(Problem::TooBig { mtu }, packet);
    }

    /// Seal one frame of `length` bytes of entries, and queue it; over a lossy link what follows can give it back.
    /// False: dropped, and counted.
    pub(super) fn emit(
        &mut self,
        transport: &Arc<Transport>,
        road: &Road,
        class: u8,
        length: usize,
        entries: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        transport.note_sent(length, self.carrier.now);
        if !road.is_repaired() || length <= session::KEEP_ALIVE {
            return self.emit_once(transport, road, class, length, entries);
        }
        if length > road.repaired_room() {
            // Its counter ends the group.
            self.close_group(transport, road);
            return self.emit_once(transport, road, class, length, entries);
        }
        let counter = transport.next(self.number as u8);
        let mut copy = self.repair.spare();
        let sent = self.emit_once(transport, road, class, length, |bytes| {
            let at = bytes.len();
            entries(bytes);
            copy.extend_from_slice(bytes.get(at..).unwrap_or_default());
        });
        // What a full link dropped was never sealed.
        if sent && transport.next(self.number as u8) != counter {
            self.protect(transport, road, class, counter, &copy);
        }
        self.repair.give_back(copy);
        sent
    }

    /// The same without anything that gives it back, and unknown to the session's clocks.
    pub(super) fn emit_once(
        &mut self,
        transport: &Arc<Transport>,
        road: &Road,
        class: u8,
        length: usize,
        entries: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let (lane, now) = (self.number as u8, self.carrier.now);
        let seal = |bytes: &mut Vec<u8>| {
            let at = bytes.len();
            bytes.extend_from_slice(&[0; HEADER]);
            entries(bytes);
            bytes.extend_from_slice(&[0; TAG]);
            bytes
                .get_mut(at..)
                .is_some_and(|frame| transport.seal(lane, frame).is_ok())
        };
        let sent = self.emit_with(road, class, length + OVERHEAD, seal);
        if !sent {
            self.count(Counter::NotSealed, 1);
            if self.shared.peers.of(transport.peer()).ask(now) {
                let _ = self.shared.keeper.post(ToKeeper::UsedUp(*transport.peer()));
            }
        }
        sent
    }

    /// Queue a payload that is sealed already: one of the keeper.
    pub(super) fn emit_payload(&mut self, road: &Road, class: u8, payload: &[u8]) -> bool {
        self.emit_with(road, class, payload.len(), |bytes| {
            bytes.extend_from_slice(payload);
            true
        })
    }

    fn emit_with(
        &mut self,
        road: &Road,
        class: u8,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        match &road.kind {
            Kind::Direct(state, target, _) => self.queue_datagram(state, target, class, length, write),
            Kind::Relayed(state, keys, target) => {
                let (lane, header) = (self.number as u8, road.header());
                self.queue_datagram(state, target, class, length + RELAY_OVERHEAD, |bytes| {
                    wrap_relayed(keys, lane, &header, bytes, write)
                })
            }
            Kind::Wrapped => {
                let mut prefix = [0; SEALED_AT];
                let _ = road.header().write_packet(&mut prefix);
                let sent = self.carrier.append(road.link, SEALED_AT + length, |tail| {
                    let at = tail.len();
                    tail.extend_from_slice(&prefix);
                    let length = write(tail).then(|| u16::try_from(tail.len() - at - SEALED_AT).ok());
                    let field = at + LENGTH_AT;
                    match (length.flatten(), tail.get_mut(field..field + 2)) {
                        (Some(length), Some(field)) => {
                            field.copy_from_slice(&length.to_be_bytes());
                            1
                        }
                        _ => {
                            tail.truncate(at);
                            0
                        }
                    }
                });
                // None was counted where it was dropped.
                sent != Some(0)
            }
        }
    }

    /// Queue one datagram for a link.
    pub(super) fn queue_datagram(
        &mut self,
        state: &Arc<LinkState>,
        target: &SockAddr,
        class: u8,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let Some(port) = &mut self.port else { return false };
        if port.outbox.is_full() {
            self.carrier.dropped(DropReason::LinkFull, 1);
            bump(&state.figures.dropped, 1);
            return true;
        }
        let mut kind = None;
        let sent = port.outbox.add(target, class, |bytes| {
            let at = bytes.len();
            let written = write(bytes);
            kind = bytes.get(at).copied();
            written
        });
        // Both ends count the same: handshakes of sessions aren't believed when they come, so they don't count here.
        let counts = matches!(kind, Some(session::TRANSPORT | datagram::RELAYED));
        if sent
            && counts
            && let Some(other) = port.sent.add(state, length)
        {
            self.tell_sent(other);
        }
        sent
    }

    /// Tell a link what was sent over it: once for many datagrams.
    fn tell_sent(&mut self, sent: Sent) {
        let Some((state, udp)) = sent
            .link
            .as_ref()
            .and_then(|link| Some((link, link.datagram.as_ref()?)))
        else {
            return;
        };
        for twin in self.carrier.twins(state.up.link) {
            twin.count(sent.datagrams, 0);
        }
        if udp.sent(sent.datagrams, self.carrier.now) {
            let _ = self.shared.keeper.post(ToKeeper::Watch);
        }
        state.figures.tx_packets.fetch_add(sent.datagrams, Relaxed);
        state.figures.tx_bytes.fetch_add(sent.bytes, Relaxed);
        self.carrier.touch(state.up.link);
    }

    /// Send what waits, when that is enough for a call of its own, or `all` of it.
    pub(super) fn settle_outbox(&mut self, all: bool) {
        let Some(port) = &mut self.port else { return };
        if port.outbox.is_empty() || !(all || port.outbox.is_due()) {
            return;
        }
        let flushed = port.outbox.flush(&port.socket);
        let sent = std::mem::take(&mut port.sent);
        self.tell_sent(sent);
        self.count(Counter::UdpTx, flushed.datagrams as u64);
        self.count(Counter::UdpTxCalls, flushed.calls as u64);
        self.count(Counter::UdpRefused, flushed.refused as u64);
    }
}
