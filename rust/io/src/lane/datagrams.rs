//! What comes in over the node's UDP port, and session frames from anywhere: opened here, or on to the next link.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};

use zosnet_core::forward::DropReason;
use zosnet_core::frame::DataHeader;
use zosnet_core::icmp::Problem;
use zosnet_core::session::compact::expand;
use zosnet_core::session::{self, Entries, EntryKind, HEADER, OpenError};
use zosnet_core::{datagram, ipv6, upper};

use crate::class::decapsulate;
use crate::counters::Counter;
use crate::events::Event;
use crate::handoff::LinkId;
use crate::keeper::ToKeeper;
use crate::link::LinkState;
use crate::peers::Inbound;
use crate::udp::batch::{MESSAGES, Received};

use super::{Lane, pace};

/// Receive calls in one turn, so that the TUN gets its turn.
const ROUNDS: usize = 8;

/// How a frame came.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// Over this link; none for a datagram of no link.
    pub(super) link: Option<LinkId>,
    /// What remains of the hop limit outside; none for a direct frame, whose packets have their own.
    pub(super) hop_limit: Option<u8>,
    /// Traffic class of the datagram.
    pub(super) class: u8,
}

impl Lane {
    /// Take what waits at the UDP port.
    pub(super) fn read_udp(&mut self) {
        let Some(mut port) = self.port.take() else { return };
        let mut buffer = std::mem::take(&mut port.buffer);
        // What may wait behind the first is found at the next turn.
        let most = if self.pace.is_quiet(self.carrier.now) {
            1
        } else {
            MESSAGES
        };
        for _ in 0..ROUNDS {
            if port.receiver.receive(&port.socket, &mut buffer, most).is_err() {
                // Nothing more; or ICMP errors about what was sent, which the links find out by themselves.
                break;
            }
            let messages = std::mem::take(&mut port.receiver.received);
            self.count(Counter::UdpRxCalls, 1);
            self.port = Some(port);
            for message in &messages {
                self.message_in(&mut buffer, *message);
            }
            self.deliver(&buffer);
            let Some(back) = self.port.take() else { return };
            port = back;
            let few = messages.len() < MESSAGES;
            port.receiver.received = messages;
            if few {
                break;
            }
        }
        port.buffer = buffer;
        self.port = Some(port);
    }

    /// Datagrams of one sender.
    fn message_in(&mut self, buffer: &mut [u8], message: Received) {
        let link = self.carrier.by_remote(&message.from);
        let (mut at, mut count, mut authentic) = (message.start, 0, 0);
        while at < message.end {
            let end = message.end.min(at + message.segment);
            authentic += u64::from(self.datagram_in(buffer, at..end, message, link.as_ref()));
            at = end;
            count += 1;
        }
        self.count(Counter::UdpRx, count);
        self.pace
            .took(usize::from(message.end - message.start < pace::SMALL));
        // Anybody may send from a neighbour's address: only what it alone can have made says that it is alive.
        if let Some(state) = link.filter(|_| authentic > 0) {
            if let Some(udp) = &state.datagram {
                udp.heard(authentic, self.carrier.now);
            }
            for twin in self.carrier.twins(state.up.link) {
                twin.count(0, authentic);
            }
            state.figures.rx_packets.fetch_add(authentic, Relaxed);
            let bytes = (message.end - message.start) as u64;
            state.figures.rx_bytes.fetch_add(bytes, Relaxed);
            self.carrier.touch(state.up.link);
        }
    }

    /// One datagram; whether it is authentic data. Handshakes and control frames are the keeper's to judge.
    fn datagram_in(
        &mut self,
        buffer: &mut [u8],
        range: Range<usize>,
        message: Received,
        link: Option<&Arc<LinkState>>,
    ) -> bool {
        let arrival = Arrival {
            link: link.map(|state| state.up.link),
            hop_limit: None,
            class: message.class,
        };
        match buffer.get(range.start).copied() {
            Some(session::TRANSPORT) => self.frame_in(buffer, range, arrival, Some(message.from)),
            Some(datagram::RELAYED) => self.relayed_in(buffer, range, message.class),
            Some(kind) => {
                let bytes = buffer.get(range).unwrap_or_default();
                self.handshake_in(kind, bytes, message.from, link.is_some());
                false
            }
            None => false,
        }
    }

    /// A handshake or a control frame: the keeper's, unless it is garbage, or strangers knock too often.
    fn handshake_in(&mut self, kind: u8, bytes: &[u8], from: SocketAddr, linked: bool) {
        let now = self.carrier.now;
        let Some(port) = &self.port else { return };
        let (sessions, links) = &port.gates;
        let of_sessions = (session::INITIATION..=session::UNKNOWN).contains(&kind);
        let passes = match of_sessions {
            true => sessions.passes(bytes),
            false => datagram::TYPES.contains(&kind) && links.passes(bytes),
        };
        if !passes {
            return self.count(Counter::UdpGarbage, 1);
        }
        if !linked && !of_sessions && !self.knocks.allow(now) {
            return self.count(Counter::KeeperFull, 1);
        }
        let item = match of_sessions {
            true => ToKeeper::Frame(bytes.to_vec(), from),
            false => ToKeeper::Datagram(bytes.to_vec(), from, linked),
        };
        self.tell_keeper(item);
    }

    /// Hand something to the keeper; under a flood it is dropped and counted.
    pub(super) fn tell_keeper(&mut self, item: ToKeeper) {
        if !self.shared.keeper.post(item) {
            self.count(Counter::KeeperFull, 1);
        }
    }

    /// A session frame of kind transport, which lies in `buffer[range]`. Whether it was opened.
    pub(super) fn frame_in(
        &mut self,
        buffer: &mut [u8],
        range: Range<usize>,
        arrival: Arrival,
        from: Option<SocketAddr>,
    ) -> bool {
        let Some(frame) = buffer.get_mut(range.clone()) else {
            return false;
        };
        let Some(index) = session::receiver_index(frame) else {
            self.carrier.dropped(DropReason::ShortPayload, 1);
            return false;
        };
        let Some(inbound) = self.sessions.inbound(index) else {
            if self.hints.allow(self.carrier.now)
                && let Some(from) = from
            {
                self.tell_keeper(ToKeeper::Strange(index, from));
            }
            self.carrier.dropped(DropReason::NoSession, 1);
            return false;
        };
        let counter = session::counter_of(frame).unwrap_or_default();
        match inbound.transport.open(frame) {
            Ok(plaintext) => {
                let length = plaintext.len();
                let says = if session::is_repair(plaintext) { 0 } else { length };
                inbound.transport.note_heard(says, self.carrier.now);
                // What came through relays, or in a stream, isn't repaired.
                if arrival.hop_limit.is_none() {
                    self.repair.keep(index, counter, plaintext);
                }
                if !inbound.heard.load(Relaxed) && !inbound.heard.swap(true, Ordering::Relaxed) {
                    self.tell_keeper(ToKeeper::Heard(index));
                }
                let start = range.start + HEADER;
                let repair = self.entries_in(buffer, start..start + length, &inbound, arrival);
                if let Some(body) = repair {
                    self.repair_in(buffer, body, counter, &inbound, arrival);
                }
                true
            }
            Err(error) => {
                self.carrier.dropped(reason_of(error), 1);
                false
            }
        }
    }

    /// What is in an opened frame. The body of a repair comes back.
    pub(super) fn entries_in(
        &mut self,
        buffer: &mut [u8],
        range: Range<usize>,
        inbound: &Arc<Inbound>,
        arrival: Arrival,
    ) -> Option<Range<usize>> {
        let mut repair = None;
        let mut list = std::mem::take(&mut self.entry_list);
        let plaintext = buffer.get(range.clone()).unwrap_or_default();
        list.extend(
            Entries::of(plaintext)
                .map(|(kind, within)| (kind, range.start + within.start..range.start + within.end)),
        );
        for (number, (kind, at)) in list.drain(..).enumerate() {
            match kind {
                EntryKind::Packet { partial } => self.packet_in(buffer, at, partial, inbound, arrival),
                // Behind another entry its header would lie where that one may still be read.
                EntryKind::Compact { partial } if number == 0 => {
                    match expand(buffer, at, &inbound.peer.address, &self.node.address) {
                        Some(at) => self.packet_in(buffer, at, partial, inbound, arrival),
                        None => self.carrier.dropped(DropReason::BadInner, 1),
                    }
                }
                EntryKind::Compact { .. } => self.carrier.dropped(DropReason::BadInner, 1),
                EntryKind::Message => {
                    let body = buffer.get(at).unwrap_or_default().to_vec();
                    self.message_from(inbound, body);
                }
                EntryKind::Fragment => {
                    let piece = buffer.get(at).unwrap_or_default();
                    let whole = self
                        .fragments
                        .take(inbound.transport.local_index(), piece, self.carrier.now);
                    if let Some(mut whole) = whole {
                        let length = whole.len();
                        // Of this buffer alone, so what waits of the other one goes first.
                        self.deliver(buffer);
                        self.packet_in(&mut whole, 0..length, false, inbound, arrival);
                        self.deliver(&whole);
                    }
                }
                EntryKind::Padding => {}
                EntryKind::Repair => repair = Some(at),
                other => {
                    let body = buffer.get(at).unwrap_or_default().to_vec();
                    let (index, link) = (inbound.transport.local_index(), arrival.link);
                    self.tell_keeper(ToKeeper::Entry(index, other, body, link));
                }
            }
        }
        self.entry_list = list;
        repair
    }

    /// An IP packet out of a frame: checked, and kept for the TUN.
    fn packet_in(
        &mut self,
        buffer: &mut [u8],
        range: Range<usize>,
        partial: bool,
        inbound: &Arc<Inbound>,
        arrival: Arrival,
    ) {
        self.count(Counter::Opened, 1);
        let Some(packet) = buffer.get_mut(range.clone()) else {
            return;
        };
        let Ok(header) = ipv6::Header::parse(packet) else {
            return self.carrier.dropped(DropReason::BadInner, 1);
        };
        if upper(&header.src) != inbound.peer.prefix {
            return self.carrier.dropped(DropReason::InnerSource, 1);
        }
        if !self.node.owns(&header.dst) {
            return self.carrier.dropped(DropReason::InnerDestination, 1);
        }
        // A direct frame stands for both hops of a data packet: out of the sending node, and into this one.
        let hop_limit = arrival
            .hop_limit
            .or_else(|| header.hop_limit.checked_sub(2).filter(|left| *left > 0));
        let Some(hop_limit) = hop_limit else {
            self.count(Counter::HopLimit, 1);
            return self.time_exceeded(packet);
        };
        let length = header.total_len();
        let Some(packet) = packet.get_mut(..length) else {
            return self.carrier.dropped(DropReason::BadInner, 1);
        };
        if let Some(byte) = packet.get_mut(ipv6::HOP_LIMIT_AT) {
            *byte = hop_limit;
        }
        if !decapsulate(packet, arrival.class) {
            return self.carrier.dropped(DropReason::Congested, 1);
        }
        if !self.lets_in(&inbound.peer.key, packet) || self.claim(packet) {
            return;
        }
        self.coalescer
            .push_as(buffer, range.start..range.start + length, partial);
    }

    /// The hop limit of a packet that came directly ends here: tell its sender, as any router would.
    fn time_exceeded(&mut self, packet: &mut [u8]) {
        if !self.errors.allow(self.carrier.now) {
            return;
        }
        let from = self.node.network();
        if let Some(error) = zosnet_core::icmp::of_router(Problem::HopLimit, &from, packet) {
            self.count(Counter::IcmpErrors, 1);
            self.inject(error);
        }
    }

    fn message_from(&mut self, inbound: &Inbound, body: Vec<u8>) {
        self.count(Counter::Opened, 1);
        let source = inbound.peer.address;
        if !self.lets_message_in(&inbound.peer.key, &source, &body) {
            return;
        }
        self.carrier.events.push(Event::Message {
            source,
            destination: self.node.address,
            key: inbound.peer.key,
            body,
        });
    }

    /// A session frame inside a data packet for this node.
    pub(super) fn wrapped_in(
        &mut self,
        buffer: &mut [u8],
        header: &DataHeader,
        payload: Range<usize>,
        link: Option<LinkId>,
        class: u8,
    ) {
        if self.node.owns(&header.src) {
            return self.carrier.dropped(DropReason::OwnSource, 1);
        }
        if header.hop_limit < 2 {
            self.count(Counter::HopLimit, 1);
            let sealed = buffer.get(payload).unwrap_or_default().to_vec();
            return self.report(Problem::HopLimit, header, &sealed);
        }
        match buffer.get(payload.start).copied() {
            Some(session::TRANSPORT) if payload.end > payload.start => {
                let arrival = Arrival {
                    link,
                    hop_limit: Some(header.hop_limit - 1),
                    class,
                };
                self.frame_in(buffer, payload, arrival, None);
            }
            Some(session::INITIATION..=session::UNKNOWN) if payload.end > payload.start => {
                let bytes = buffer.get(payload).unwrap_or_default().to_vec();
                self.tell_keeper(ToKeeper::Wrapped(bytes, header.src));
            }
            _ => self.carrier.dropped(DropReason::ShortPayload, 1),
        }
    }
}

fn reason_of(error: OpenError) -> DropReason {
    match error {
        OpenError::Replayed => DropReason::Replayed,
        OpenError::Short => DropReason::ShortPayload,
        OpenError::Dead => DropReason::NoSession,
        _ => DropReason::NotAuthentic,
    }
}
