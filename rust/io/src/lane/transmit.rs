//! What this node itself sends: packets of the TUN, injected ones, messages, errors. Sealed straight into the
//! queue of the link.

use std::io;
use std::sync::Arc;

use zosnet_core::Address;
use zosnet_core::forward::{self, DropReason, FromTun, Outgoing};
use zosnet_core::frame::{DATA_HEADER, DataHeader, PACKET_HEADER};
use zosnet_core::icmp::{self, Problem};
use zosnet_core::inner::{self, INNER_HEADER, InnerType};
use zosnet_core::offload::{VirtioNetHdr, split};
use zosnet_core::session::EntryKind;
use zosnet_core::suite::{OVERHEAD, Session};
use zosnet_core::waiting::{Origin, Pushed};

use crate::counters::Counter;
use crate::events::Event;
use crate::sys;

use super::sessions::{Sessions, Suite};
use super::{Lane, pace};

/// Where the sealed part of a data packet begins.
pub(super) const SEALED_AT: usize = PACKET_HEADER + DATA_HEADER;
/// Everything in front of the inner packet.
const PREFIX: usize = SEALED_AT + INNER_HEADER;
/// What a packet costs beyond its own bytes.
const COST: usize = PREFIX + OVERHEAD;
/// Where the payload length stands in a data packet.
pub(super) const LENGTH_AT: usize = PACKET_HEADER + 1;
/// Reads of the TUN in one turn, so that links get theirs.
const TUN_READS: usize = 64;
/// Hop limit of what this node makes itself: 64, less itself (reference, section 5.4).
pub(super) const OWN_HOP_LIMIT: u8 = 63;

/// Where and how something is to be sent.
#[derive(Clone, Copy)]
struct Way {
    link: u32,
    hop_limit: u8,
    src: Address,
    dst: Address,
}

impl Way {
    /// The bytes in front of the inner packet; the length is still to be filled in.
    fn prefix(&self, kind: InnerType, marked: bool) -> [u8; PREFIX] {
        let mut prefix = [0; PREFIX];
        let header = DataHeader {
            len: 0,
            hop_limit: self.hop_limit,
            src: self.src,
            dst: self.dst,
        };
        // Both only fail for want of room.
        let _ = header.write_packet(&mut prefix);
        if let Some(rest) = prefix.get_mut(SEALED_AT..) {
            let _ = inner::write(kind, rest);
            if marked {
                inner::mark(rest);
            }
        }
        prefix
    }
}

/// Append one sealed data packet to `tail`. False, and nothing appended, when it can't be sealed.
fn seal_into(
    tail: &mut Vec<u8>,
    prefix: &mut [u8; PREFIX],
    sessions: &mut Sessions,
    session: &Session,
    parts: [&[u8]; 2],
) -> bool {
    let at = tail.len();
    let length = INNER_HEADER + parts[0].len() + parts[1].len() + OVERHEAD;
    let (Ok(length), Ok(nonce)) = (u16::try_from(length), sessions.nonce()) else {
        return false;
    };
    prefix[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&length.to_be_bytes());
    tail.extend_from_slice(&prefix[..]);
    tail.extend_from_slice(parts[0]);
    tail.extend_from_slice(parts[1]);
    tail.extend_from_slice(&[0; OVERHEAD]);
    let sealed = tail
        .get_mut(at + SEALED_AT..)
        .is_some_and(|buffer| session.seal(nonce, buffer).is_ok());
    if !sealed {
        tail.truncate(at);
    }
    sealed
}

impl Lane {
    /// Take what waits in the TUN.
    pub(super) fn read_tun(&mut self) {
        let mut buffer = std::mem::take(&mut self.tun_buffer);
        for _ in 0..TUN_READS {
            // What can't be sent waits where it is, if that is short.
            if self
                .port
                .as_ref()
                .is_some_and(|port| port.outbox.is_full() && !port.outbox.is_slow())
            {
                break;
            }
            let Some(tun) = &self.tun else { break };
            let length = match tun.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.tun_failed(&error);
                    break;
                }
            };
            self.count(Counter::TunRxBytes, length as u64);
            self.pace.took(usize::from(length < pace::SMALL));
            let read = buffer.get_mut(..length).unwrap_or_default();
            match VirtioNetHdr::parse(read) {
                Ok((header, packet)) => self.host_packet(header, packet),
                Err(_) => self.carrier.dropped(DropReason::NotIpv6, 1),
            }
            // What may wait behind it is found at the next turn.
            if self.pace.is_quiet(self.carrier.now) {
                break;
            }
        }
        self.tun_buffer = buffer;
        self.close_frame();
    }

    /// The device was deleted or taken down under us: without it this lane goes on for others.
    fn tun_failed(&mut self, error: &io::Error) {
        if let Some(tun) = self.tun.take() {
            drop(self.epoll.remove(tun.fd()));
        }
        self.carrier.events.push(Event::Failed(format!(
            "the TUN device failed: {}",
            sys::reason(error)
        )));
    }

    /// A whole IPv6 packet from this node itself.
    pub(super) fn inject(&mut self, mut packet: Vec<u8>) {
        self.host_packet(VirtioNetHdr::default(), &mut packet);
    }

    /// A packet of this host, whole or a super-packet.
    fn host_packet(&mut self, header: VirtioNetHdr, packet: &mut [u8]) {
        let table = Arc::clone(&self.table);
        match forward::from_tun(&self.node, &table, packet, |link| self.carrier.reach(link)) {
            FromTun::Send {
                entry,
                link,
                hop_limit,
            } => {
                self.door.packet_out(&entry.public, packet, self.carrier.now);
                let (src, dst) = addresses(packet);
                match self.sessions.suite(entry, self.carrier.now) {
                    Ok(Suite::Zosnet(peer, transport)) => {
                        let road = self.road(&peer, transport.max_frame(), entry, link, hop_limit);
                        self.send_framed(&transport, &road, header, packet);
                    }
                    Ok(Suite::Mycelium(session)) => {
                        let way = Way {
                            link,
                            hop_limit,
                            src,
                            dst,
                        };
                        self.send_packet(way, &session, header, packet);
                    }
                    Ok(Suite::Wait(peer)) => self.await_session(peer.prefix, header, packet),
                    Err(_) => self.carrier.dropped(DropReason::LowOrderKey, 1),
                }
            }
            FromTun::Await { prefix } => self.await_route(prefix, header, packet),
            FromTun::Refuse(problem) => self.refuse(problem, packet),
            FromTun::Drop(why) => self.carrier.dropped(why, 1),
        }
    }

    fn send_packet(&mut self, way: Way, session: &Session, header: VirtioNetHdr, packet: &mut [u8]) {
        let segments = packet.len() / usize::from(header.gso_size).max(1280) + 1;
        let bytes = packet.len() + segments * COST;
        let mut prefix = way.prefix(InnerType::L3, self.shared.suite);
        let (sessions, mut result, mut failed) = (&mut self.sessions, Ok(0), 0);
        let sent = self.carrier.append(way.link, bytes, |tail| {
            result = split(header, packet, |head, rest| {
                failed += usize::from(!seal_into(tail, &mut prefix, sessions, session, [head, rest]));
            });
            result.unwrap_or(0) - failed
        });
        if result.is_err() {
            self.carrier.dropped(DropReason::BadOffload, 1);
        }
        self.count(Counter::NotSealed, failed as u64);
        let sent = sent.unwrap_or(0) as u64;
        self.count(Counter::TunRx, sent);
        self.count(Counter::Sealed, sent);
    }

    /// Tell the host that its packet can't be sent.
    pub(super) fn refuse(&mut self, problem: Problem, packet: &[u8]) {
        if !self.errors.allow(self.carrier.now) {
            return;
        }
        if let Some(error) = icmp::local(problem, &self.node.address, packet) {
            self.count(Counter::IcmpErrors, 1);
            self.hand_to_host(&error);
        }
    }

    /// A message body for `destination`.
    pub(super) fn message(&mut self, destination: Address, body: &[u8]) {
        if self.node.owns(&destination) {
            let (source, key) = (self.node.address, self.shared.key.public());
            return self.carrier.events.push(Event::Message {
                source,
                destination,
                key,
                body: body.to_vec(),
            });
        }
        let table = Arc::clone(&self.table);
        match forward::outgoing(&table, &destination, |link| self.carrier.reach(link)) {
            Outgoing::Send { entry, link } => {
                self.door.message_out(&destination, body, self.carrier.now);
                let (src, hop_limit) = (self.node.address, OWN_HOP_LIMIT);
                let dst = destination;
                match self.sessions.suite(entry, self.carrier.now) {
                    Ok(Suite::Zosnet(peer, transport)) => {
                        let road = self.road(&peer, transport.max_frame(), entry, link, hop_limit);
                        self.send_entry(&transport, &road, 0, EntryKind::Message, body);
                    }
                    Ok(Suite::Mycelium(session)) => {
                        let way = Way {
                            link,
                            hop_limit,
                            src,
                            dst,
                        };
                        self.send_body(way, &session, body);
                    }
                    Ok(Suite::Wait(peer)) => {
                        let held = [&destination, body].concat();
                        let (prefix, now) = (peer.prefix, self.carrier.now);
                        if self.unsealed.push(prefix, Origin::Message, &held, now) == Pushed::Full {
                            self.carrier.dropped(DropReason::WaitingFull, 1);
                        }
                    }
                    Err(_) => self.carrier.dropped(DropReason::LowOrderKey, 1),
                }
            }
            Outgoing::Await { prefix } => {
                let held = [&destination, body].concat();
                match self
                    .outgoing
                    .push(prefix, Origin::Message, &held, self.carrier.now)
                {
                    Pushed::Queued { ask: true } => {
                        self.carrier.events.push(Event::NeedRoute(destination, false))
                    }
                    Pushed::Queued { ask: false } => {}
                    Pushed::Full => self.carrier.dropped(DropReason::WaitingFull, 1),
                }
            }
            Outgoing::NoRoute => self.carrier.dropped(DropReason::NoRoute, 1),
        }
    }

    fn send_body(&mut self, way: Way, session: &Session, body: &[u8]) {
        let (mut prefix, sessions) = (way.prefix(InnerType::Message, false), &mut self.sessions);
        let sent = self.carrier.append(way.link, body.len() + COST, |tail| {
            usize::from(seal_into(tail, &mut prefix, sessions, session, [body, &[]]))
        });
        match sent {
            Some(1) => self.count(Counter::Sealed, 1),
            Some(_) => self.count(Counter::NotSealed, 1),
            None => {}
        }
    }

    /// Tell another node, out of band, what became of its packet; or ask for the route to it.
    pub(super) fn report(&mut self, problem: Problem, offender: &DataHeader, payload: &[u8]) {
        if !self.errors.allow(self.carrier.now) {
            return;
        }
        let table = Arc::clone(&self.table);
        let way = forward::outgoing(&table, &offender.src, |link| self.carrier.reach(link));
        let Outgoing::Send { entry, link } = way else {
            return self.carrier.events.push(Event::NeedRoute(offender.src, true));
        };
        let Some(mut packet) = icmp::out_of_band(problem, &self.node.network(), offender, payload) else {
            return;
        };
        let (Ok(session), Ok(nonce)) = (self.sessions.of(entry), self.sessions.nonce()) else {
            return;
        };
        let sealed = packet
            .get_mut(icmp::SEALED_AT..)
            .is_some_and(|part| session.seal(nonce, part).is_ok());
        if sealed {
            self.count(Counter::IcmpErrors, 1);
            self.carrier.pass_on(link, &packet, 1);
        }
    }
}

/// Source and destination of an IPv6 packet whose header is whole.
pub(super) fn addresses(packet: &[u8]) -> (Address, Address) {
    let at = |from: usize| {
        packet
            .get(from..)
            .and_then(<[u8]>::first_chunk)
            .copied()
            .unwrap_or_default()
    };
    (at(8), at(24))
}
