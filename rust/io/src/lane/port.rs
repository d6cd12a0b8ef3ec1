//! The UDP port of a node, as one lane has it.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;

use zosnet_core::datagram;
use zosnet_core::forward::{self, DropReason, Outgoing};
use zosnet_core::session::{self, ENTRY_HEADER, EntryKind, Transport};

use crate::counters::Counter;
use crate::link::LinkState;
use crate::sys::Ready;
use crate::udp::batch::{MESSAGE_ROOM, MESSAGES, Receiver};
use crate::udp::depth;
use crate::udp::outbox::Outbox;

use super::Lane;
use super::frames::add_entry;
use super::road::{Road, node_frame_address};
use super::sessions::Suite;
use super::token::Token;
use super::transmit::OWN_HOP_LIMIT;

/// What was queued for one link, and is still to be told.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) link: Option<Arc<LinkState>>,
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
}

impl Sent {
    /// One more datagram. What was for another link comes back.
    pub(super) fn add(&mut self, link: &Arc<LinkState>, bytes: usize) -> Option<Self> {
        let same = self.link.as_ref().is_some_and(|known| Arc::ptr_eq(known, link));
        let other = (!same).then(|| {
            let link = Some(Arc::clone(link));
            let fresh = Self {
                link,
                ..Self::default()
            };
            std::mem::replace(self, fresh)
        });
        self.datagrams += 1;
        self.bytes += bytes as u64;
        other.filter(|other| other.link.is_some())
    }
}

/// Socket, and what moves through it.
pub(super) struct Port {
    pub(super) socket: UdpSocket,
    pub(super) outbox: Outbox,
    pub(super) sent: Sent,
    pub(super) receiver: Receiver,
    pub(super) buffer: Vec<u8>,
    /// Who may wake the keeper for a handshake: of sessions, and of links.
    pub(super) gates: (session::Gate, datagram::Gate),
    /// The socket takes nothing: told when it does again.
    blocked: bool,
    /// Nothing is read from the TUN meanwhile. Only for as long as a fast interface's buffer takes: what waits there is in
    /// nobody's bounds, and senders hear of a slow interface by what is marked or dropped.
    holds_back: bool,
}

impl Port {
    pub(super) fn new(socket: UdpSocket, public: &[u8; 32]) -> Self {
        Self {
            socket,
            outbox: Outbox::default(),
            sent: Sent::default(),
            receiver: Receiver::default(),
            buffer: vec![0; MESSAGES * MESSAGE_ROOM],
            gates: (session::Gate::new(public), datagram::Gate::new(public)),
            blocked: false,
            holds_back: false,
        }
    }
}

impl Lane {
    /// The end of a turn: seal and send what is left, and wait for the socket if it takes nothing.
    pub(super) fn finish_frames(&mut self) {
        self.close_frame();
        (self.latest_relay, self.latest_inbound) = (None, None);
        self.rest_road();
        self.send_for_datagrams();
        self.settle_outbox(true);
        let Some(port) = &mut self.port else { return };
        let blocked = !port.outbox.is_empty();
        let holds_back = blocked && !port.outbox.is_slow();
        if blocked {
            // What keeps it full may be what never leaves: see `depth`.
            self.carrier.wake_at(self.carrier.now + depth::LONGEST);
        }
        if (blocked, holds_back) == (port.blocked, port.holds_back) {
            return;
        }
        let (read, write) = (true, blocked);
        let watched = Ready {
            read,
            write,
            error: false,
        };
        if self
            .epoll
            .modify(port.socket.as_fd(), watched, Token::Udp.pack())
            .is_ok()
        {
            (port.blocked, port.holds_back) = (blocked, holds_back);
        }
        if let Some(tun) = &self.tun {
            let watched = Ready {
                read: !holds_back,
                ..Ready::default()
            };
            drop(self.epoll.modify(tun.fd(), watched, Token::Tun.pack()));
        }
    }

    /// A frame of the keeper, for the node with this /64.
    pub(super) fn frame_by_route(&mut self, prefix: u64, frame: &[u8]) {
        let table = Arc::clone(&self.table);
        let address = node_frame_address(prefix);
        match forward::outgoing(&table, &address, |link| self.carrier.reach(link)) {
            Outgoing::Send { entry, link } => {
                let peer = self.shared.peers.of(&entry.public);
                let road = self.road(&peer, usize::MAX, entry, link, OWN_HOP_LIMIT);
                if !self.emit_payload(&road, 0, frame) {
                    self.count(Counter::LinkGone, 1);
                }
            }
            _ => self.carrier.dropped(DropReason::NoRoute, 1),
        }
    }

    /// An entry of the keeper's, sealed for the node of this key.
    pub(super) fn entry_by_route(&mut self, key: &[u8; 32], kind: EntryKind, body: &[u8]) {
        if let Some((transport, road)) = self.road_of_entries(key) {
            self.send_entry(&transport, &road, 0, kind, body);
        }
    }

    /// The keys of the present for the node of this key, and how frames get there; none without either.
    pub(super) fn road_of_entries(&mut self, key: &[u8; 32]) -> Option<(Arc<Transport>, Arc<Road>)> {
        let table = Arc::clone(&self.table);
        let address = node_frame_address(self.shared.peers.of(key).prefix);
        let way = forward::outgoing(&table, &address, |link| self.carrier.reach(link));
        let Outgoing::Send { entry, link } = way else {
            return None;
        };
        let Ok(Suite::Zosnet(peer, transport)) = self.sessions.suite(entry, self.carrier.now) else {
            return None;
        };
        let road = self.road(&peer, transport.max_frame(), entry, link, OWN_HOP_LIMIT);
        Some((transport, road))
    }

    /// Seal one entry in a frame of its own.
    pub(super) fn send_entry(
        &mut self,
        transport: &Arc<Transport>,
        road: &Road,
        class: u8,
        kind: EntryKind,
        body: &[u8],
    ) {
        self.close_frame();
        let sent = self.emit(transport, road, class, ENTRY_HEADER + 1 + body.len(), |bytes| {
            add_entry(bytes, kind, body);
        });
        if sent {
            self.count(Counter::Sealed, 1);
        }
        self.settle_outbox(false);
    }
}
