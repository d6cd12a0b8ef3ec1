//! What waits for a route, a key or a handshake: kept, sent when that is there, given up when it is late.

use std::sync::Arc;

use zosnet_core::forward::{self, DropReason};
use zosnet_core::frame::DataHeader;
use zosnet_core::icmp::Problem;
use zosnet_core::offload::{VirtioNetHdr, split};
use zosnet_core::upper;
use zosnet_core::waiting::{Held, Origin, Pushed};

use crate::events::Event;

use super::Lane;
use super::transmit::addresses;

impl Lane {
    /// Keep a packet of this host until a handshake is over.
    pub(super) fn await_session(&mut self, prefix: u64, header: VirtioNetHdr, packet: &mut [u8]) {
        let (unsealed, now) = (&mut self.unsealed, self.carrier.now);
        let mut full = 0;
        let cut = split(header, packet, |head, rest| {
            let whole = [head, rest].concat();
            full += u64::from(unsealed.push(prefix, Origin::Host, &whole, now) == Pushed::Full);
        });
        if cut.is_err() {
            self.carrier.dropped(DropReason::BadOffload, 1);
        }
        self.carrier.dropped(DropReason::WaitingFull, full);
    }

    /// A handshake is over, or isn't waited for: send what waited for it.
    pub(super) fn retry_session(&mut self, key: &[u8; 32]) {
        let prefix = self.shared.peers.of(key).prefix;
        for held in self.unsealed.take(prefix) {
            self.send_again(held);
        }
    }

    /// Keep a packet of this host until there is a route.
    pub(super) fn await_route(&mut self, prefix: u64, header: VirtioNetHdr, packet: &mut [u8]) {
        let destination = addresses(packet).1;
        if self.hopeless.has(prefix, self.carrier.now) {
            self.carrier.dropped(DropReason::NoRoute, 1);
            return self.refuse(Problem::NoRoute, packet);
        }
        let (outgoing, now) = (&mut self.outgoing, self.carrier.now);
        let (mut ask, mut full) = (false, 0);
        let cut = split(header, packet, |head, rest| {
            let whole = [head, rest].concat();
            match outgoing.push(prefix, Origin::Host, &whole, now) {
                Pushed::Queued { ask: first } => ask |= first,
                Pushed::Full => full += 1,
            }
        });
        if cut.is_err() {
            self.carrier.dropped(DropReason::BadOffload, 1);
        }
        if ask {
            self.carrier.events.push(Event::NeedRoute(destination, false));
        }
        if full > 0 {
            self.carrier.dropped(DropReason::WaitingFull, full);
            self.refuse(Problem::NoRoute, packet);
        }
    }

    /// Routes or links changed: send what waited for that.
    pub(super) fn retry_waiting(&mut self) {
        if self.outgoing.is_empty() && self.incoming.is_empty() {
            return;
        }
        let table = Arc::clone(&self.table);
        let entry = |prefix: u64| table.lookup(&(u128::from(prefix) << 64).to_be_bytes());
        let reachable = |prefix: &u64| {
            entry(*prefix)
                .is_some_and(|entry| forward::next_hop(entry, |link| self.carrier.reach(link)).is_some())
        };
        let outgoing: Vec<_> = self.outgoing.prefixes().filter(reachable).collect();
        let incoming: Vec<_> = self
            .incoming
            .prefixes()
            .filter(|prefix| entry(*prefix).is_some())
            .collect();
        let mut ready = Vec::new();
        ready.extend(outgoing.into_iter().flat_map(|prefix| self.outgoing.take(prefix)));
        ready.extend(incoming.into_iter().flat_map(|prefix| self.incoming.take(prefix)));
        for held in ready {
            self.send_again(held);
        }
    }

    fn send_again(
        &mut self,
        Held {
            origin, mut packet, ..
        }: Held,
    ) {
        match origin {
            Origin::Host => self.inject(packet),
            Origin::Message => {
                if let Some((destination, body)) = packet.split_first_chunk::<16>() {
                    self.message(*destination, body);
                }
            }
            Origin::Transit | Origin::Incoming => {
                // It was framed when it came.
                let _ = self.process(None, &mut packet);
            }
        }
    }

    /// Give up on what waited too long.
    pub(super) fn expire_waiting(&mut self) {
        let now = self.carrier.now;
        let mut expired = self.outgoing.expire(now);
        expired.extend(self.incoming.expire(now));
        expired.extend(self.unsealed.expire(now));
        self.carrier
            .dropped(DropReason::WaitingExpired, expired.len() as u64);
        for Held {
            origin, mut packet, ..
        } in expired
        {
            match origin {
                Origin::Host => {
                    self.hopeless.add(upper(&addresses(&packet).1), now);
                    self.refuse(Problem::NoRoute, &packet);
                }
                Origin::Transit => {
                    if let Ok((header, payload)) = DataHeader::parse_packet(&mut packet) {
                        self.report(Problem::NoRoute, &header, payload);
                    }
                }
                Origin::Message | Origin::Incoming => {}
            }
        }
    }

    /// Keep a whole data packet of another node until there is a route, or a key; ask for it once a second.
    pub(super) fn hold(&mut self, origin: Origin, header: &DataHeader, packet: &[u8]) -> Pushed {
        let (queue, wanted) = match origin {
            Origin::Incoming => (&mut self.incoming, header.src),
            _ => (&mut self.outgoing, header.dst),
        };
        let pushed = queue.push(upper(&wanted), origin, packet, self.carrier.now);
        if pushed == (Pushed::Queued { ask: true }) {
            self.carrier.events.push(Event::NeedRoute(wanted, true));
        }
        pushed
    }
}
