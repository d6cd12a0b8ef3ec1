//! Data packets of others that come or go through datagram links, which have no stream to put them in; and those that
//! a link of any kind left behind.

use std::ops::Range;
use std::sync::Arc;

use socket2::SockAddr;

use zosnet_core::datagram::{self, LinkKeys, RELAY_HEADER, RELAY_OVERHEAD};
use zosnet_core::forward::{self, DropReason, FromLink};
use zosnet_core::frame::DataHeader;
use zosnet_core::session;

use crate::counters::Counter;
use crate::handoff::LinkId;
use crate::link::LinkState;
use crate::packets;
use crate::peers::FRAME_RELAYED;

use super::Lane;
use super::road::is_frame_address;
use super::transmit::SEALED_AT;

/// The link that packets of others took last in this turn.
pub(super) struct Relay {
    link: LinkId,
    state: Arc<LinkState>,
    keys: Arc<LinkKeys>,
    target: SockAddr,
    longest: usize,
}

/// Append one relayed packet to `bytes`: what `write` appends, between header and tag. Whether it could be made.
pub(super) fn wrap_relayed(
    keys: &LinkKeys,
    lane: u8,
    header: &DataHeader,
    bytes: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> bool,
) -> bool {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; RELAY_HEADER]);
    let written = write(bytes);
    bytes.extend_from_slice(&[0; RELAY_OVERHEAD - RELAY_HEADER]);
    written
        && bytes.get_mut(at..).is_some_and(|datagram| {
            keys.wrap(lane, header.hop_limit, &header.src, &header.dst, datagram)
                .is_ok()
        })
}

impl Lane {
    /// A packet that a neighbour passes on for others, or for this node. Whether it is the neighbour's.
    pub(super) fn relayed_in(&mut self, buffer: &mut [u8], range: Range<usize>, class: u8) -> bool {
        let Some(bytes) = buffer.get(range.clone()) else {
            return false;
        };
        let Some((link, keys)) = session::receiver_index(bytes).and_then(|index| self.keys_of(index)) else {
            self.carrier.dropped(DropReason::NoSession, 1);
            return false;
        };
        let relayed = match keys.unwrap(bytes) {
            Ok(relayed) => relayed,
            Err(error) => {
                self.carrier.dropped(relay_reason(error), 1);
                return false;
            }
        };
        let Ok(length) = u16::try_from(relayed.payload.len()) else {
            return false;
        };
        let header = DataHeader {
            len: length,
            hop_limit: relayed.hop_limit,
            src: relayed.src,
            dst: relayed.dst,
        };
        let payload = range.start + relayed.payload.start..range.start + relayed.payload.end;
        self.relayed_packet(buffer, &header, payload, link, class);
        true
    }

    /// The link whose relayed packets come under this index, and its keys.
    fn keys_of(&mut self, index: u32) -> Option<(LinkId, Arc<LinkKeys>)> {
        if let Some((known, link, keys)) = &self.latest_inbound
            && *known == index
        {
            return Some((*link, Arc::clone(keys)));
        }
        let state = self.carrier.by_index(index)?;
        let (link, keys) = (state.up.link, state.datagram.as_ref()?.keys());
        self.latest_inbound = Some((index, link, Arc::clone(&keys)));
        Some((link, keys))
    }

    fn relayed_packet(
        &mut self,
        buffer: &mut [u8],
        header: &DataHeader,
        payload: Range<usize>,
        link: LinkId,
        class: u8,
    ) {
        let table = Arc::clone(&self.table);
        if self.node.owns(&header.dst) {
            if is_frame_address(&header.dst) {
                return self.wrapped_in(buffer, header, payload, Some(link), class);
            }
            return self.as_data_packet(buffer, header, payload);
        }
        match forward::from_link(&self.node, &table, header, |link| self.carrier.reach(link)) {
            FromLink::Forward { link, hop_limit } => {
                let payload = buffer.get(payload).unwrap_or_default();
                self.count(Counter::Forwarded, 1);
                self.count(Counter::ForwardedBytes, payload.len() as u64);
                self.pass_payload(link, &DataHeader { hop_limit, ..*header }, payload, class);
            }
            // Everything else is rare, and the same for packets of all links.
            _ => self.as_data_packet(buffer, header, payload),
        }
    }

    /// Treat it as the Mycelium data packet that it would be on any other link.
    fn as_data_packet(&mut self, buffer: &[u8], header: &DataHeader, payload: Range<usize>) {
        let mut packet = vec![0; SEALED_AT];
        let _ = header.write_packet(&mut packet);
        packet.extend_from_slice(buffer.get(payload).unwrap_or_default());
        // It was framed here, so it can be followed. What waits for the TUN lies in another buffer.
        self.deliver(buffer);
        let _ = self.process(None, &mut packet);
    }

    /// Mycelium's data packets for datagram links, which were queued like those for any other.
    pub(super) fn send_for_datagrams(&mut self) {
        for (link, packets) in std::mem::take(&mut self.carrier.for_datagrams) {
            for packet in packets::data(&packets) {
                self.pass_payload(link, &packet.header, packet.payload(), 0);
            }
        }
    }

    /// Pass the payload of a data packet on through `link`, of any kind.
    pub(super) fn pass_payload(&mut self, link: LinkId, header: &DataHeader, payload: &[u8], class: u8) {
        if let Some(sent) = self.pass_datagram(link, header, payload, class) {
            if !sent {
                self.carrier.dropped(DropReason::TooBig, 1);
            }
            return self.settle_outbox(false);
        }
        let mut packet = Vec::with_capacity(SEALED_AT + payload.len());
        packet.resize(SEALED_AT, 0);
        let _ = header.write_packet(&mut packet);
        packet.extend_from_slice(payload);
        self.carrier.pass_on(link, &packet, 1);
    }

    /// The same through a datagram link. None: it is no such link.
    fn pass_datagram(
        &mut self,
        link: LinkId,
        header: &DataHeader,
        payload: &[u8],
        class: u8,
    ) -> Option<bool> {
        let known = self.latest_relay.take().filter(|relay| relay.link == link);
        let relay = match known {
            Some(relay) => relay,
            None => {
                let state = self.carrier.known.get(&link)?;
                let udp = state.datagram.as_ref()?;
                Relay {
                    link,
                    state: Arc::clone(state),
                    keys: udp.keys(),
                    target: udp.target(),
                    longest: udp.max_datagram().saturating_sub(RELAY_OVERHEAD),
                }
            }
        };
        let sent = payload.len() <= relay.longest && {
            let (lane, length) = (self.number as u8, payload.len() + RELAY_OVERHEAD);
            self.queue_datagram(&relay.state, &relay.target, class, length, |bytes| {
                wrap_relayed(&relay.keys, lane, header, bytes, |bytes| {
                    bytes.extend_from_slice(payload);
                    true
                })
            })
        };
        self.latest_relay = Some(relay);
        Some(sent)
    }

    /// Data packets that a link left behind: on to another one, as they are.
    pub(super) fn reroute(&mut self, packets: Vec<u8>) {
        let table = Arc::clone(&self.table);
        for packet in packets::data(&packets) {
            let (header, bytes) = (&packet.header, packet.bytes);
            let entry = table.lookup(&header.dst);
            let Some((entry, link)) = entry.and_then(|entry| {
                forward::next_hop(entry, |link| self.carrier.reach(link)).map(|link| (entry, link))
            }) else {
                self.count(Counter::LinkGone, 1);
                continue;
            };
            // A frame made for the far end of its stream may be longer than relays may see.
            if is_frame_address(&header.dst)
                && bytes.len() > SEALED_AT + FRAME_RELAYED
                && !(entry.ends(link) && self.carrier.is_stream(link))
            {
                self.carrier.dropped(DropReason::TooBig, 1);
                continue;
            }
            self.count(Counter::Rerouted, 1);
            self.carrier.pass_on(link, bytes, 1);
        }
    }
}

fn relay_reason(error: datagram::OpenError) -> DropReason {
    match error {
        datagram::OpenError::Replayed => DropReason::Replayed,
        _ => DropReason::NotAuthentic,
    }
}
