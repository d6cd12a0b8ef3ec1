//! One node: its keeper, and what a driver does for it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use zosnet_core::session::{
    Action, Config, Entries, EntryKind, From, Keeper, TRANSPORT, Transport, receiver_index, unknown_frame,
};

use super::{Flight, Key, Numbers, World, end_of, entry, seal};

/// Actions without what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Sent(u8),
    Receive(u32),
    Use(u32),
    KeepAlive,
    Retire(u32),
    Unanswered,
    Failed,
    Pinned,
    Downgraded,
}

pub struct Node {
    pub config: fn(usize) -> Config,
    pub keeper: Keeper,
    pub public: Key,
    pub inbound: HashMap<u32, (Arc<Transport>, bool)>,
    pub current: HashMap<Key, Arc<Transport>>,
    pub waiting: Vec<(usize, u64)>,
    pub pins: HashSet<Key>,
    pub told: Vec<(f64, Told)>,
    /// What was opened, when, and under which index.
    pub got: Vec<(f64, u64, u32)>,
    /// Frames refused.
    pub refused: usize,
    pub strange: usize,
    /// Frames without content.
    pub empty: usize,
}

fn content(number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number);
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((0..32).flat_map(|_| numbers.next().to_be_bytes()));
    bytes
}

impl World {
    /// A packet of the host of `node` for that of `peer`.
    pub fn offer(&mut self, node: usize, peer: usize) -> u64 {
        let number = self.numbers.next();
        self.sent.insert(number, self.now);
        self.seal_or_wait(node, peer, number);
        number
    }

    pub(super) fn seal_or_wait(&mut self, node: usize, peer: usize, number: u64) {
        let (key, now) = (self.key(peer), self.now);
        let transport = self.current(node, peer).map(Arc::clone);
        let Some(transport) = transport else {
            let own = &mut self.nodes[node];
            if own.waiting.len() < 64 {
                own.waiting.push((peer, number));
            }
            own.keeper.want(&key, now);
            return self.act(node);
        };
        let body = entry(EntryKind::Packet { partial: false }, &content(number));
        self.frame(node, peer, &transport, &body);
    }

    fn frame(&mut self, node: usize, peer: usize, transport: &Transport, entries: &[u8]) {
        transport.note_sent(entries.len(), self.now);
        if let Some(bytes) = seal(transport, 0, entries) {
            self.send(node, end_of(peer), bytes);
        }
    }

    fn node_at(&self, end: SocketAddr) -> Option<usize> {
        (0..self.nodes.len()).find(|node| end_of(*node) == end)
    }

    pub fn arrive(&mut self, flight: Flight) {
        let Some(node) = self.node_at(flight.to) else {
            return;
        };
        let now = self.now;
        match flight.kind() {
            TRANSPORT => self.open(node, flight),
            1..=5 => {
                let own = &mut self.nodes[node];
                own.keeper.receive(&flight.bytes, From::Link(flight.from), now);
            }
            _ => {}
        }
        self.act(node);
    }

    fn open(&mut self, node: usize, mut flight: Flight) {
        let now = self.now;
        let own = &mut self.nodes[node];
        let Some(index) = receiver_index(&flight.bytes) else {
            return;
        };
        let Some((transport, heard)) = own.inbound.get_mut(&index) else {
            own.strange += 1;
            if self.path.hints {
                self.send(node, flight.from, unknown_frame(index));
            }
            return;
        };
        let Ok(plaintext) = transport.open(&mut flight.bytes) else {
            own.refused += 1;
            return;
        };
        transport.note_heard(plaintext.len(), now);
        if !std::mem::replace(heard, true) {
            own.keeper.heard(index, now);
        }
        let mut bodies = 0;
        for (kind, range) in Entries::of(plaintext) {
            match kind {
                EntryKind::Packet { .. } => {
                    let body = &plaintext[range];
                    let number = u64::from_be_bytes(*body.first_chunk().unwrap());
                    assert_eq!(body, content(number), "altered");
                    assert!(self.opened.insert(number), "opened twice");
                    own.got.push((now, number, index));
                    bodies += 1;
                }
                EntryKind::Close => own.keeper.closed(index, now),
                _ => {}
            }
        }
        own.empty += usize::from(bodies == 0);
    }

    /// Carry out what the keeper of `node` wants.
    pub fn act(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].keeper.poll() {
            let now = self.now;
            let own = &mut self.nodes[node];
            let told = match &action {
                Action::Send { frame, .. } => Told::Sent(frame[0]),
                Action::Receive(transport) => Told::Receive(transport.local_index()),
                Action::Use(transport) => Told::Use(transport.local_index()),
                Action::KeepAlive { .. } => Told::KeepAlive,
                Action::Retire(transport) => Told::Retire(transport.local_index()),
                Action::Unanswered { .. } => Told::Unanswered,
                Action::Failed { .. } => Told::Failed,
                Action::Pinned { .. } => Told::Pinned,
                Action::Downgraded { .. } => Told::Downgraded,
            };
            own.told.push((now, told));
            match action {
                Action::Send { peer, to, frame } => {
                    let by_route = || self.nodes.iter().position(|node| node.public == peer).map(end_of);
                    let to = match to {
                        Some(From::Link(end)) => Some(end),
                        _ => by_route(),
                    };
                    if let Some(to) = to {
                        self.send(node, to, frame);
                    }
                }
                Action::Receive(transport) => {
                    let before = own.inbound.insert(transport.local_index(), (transport, false));
                    assert!(before.is_none(), "an index twice");
                }
                Action::Use(transport) => {
                    own.current.insert(*transport.peer(), transport);
                    for (peer, number) in std::mem::take(&mut own.waiting) {
                        self.seal_or_wait(node, peer, number);
                    }
                }
                Action::KeepAlive { peer } => {
                    let peer = self.nodes.iter().position(|node| node.public == peer);
                    if let Some((peer, transport)) =
                        peer.and_then(|peer| Some((peer, self.current(node, peer).map(Arc::clone)?)))
                    {
                        self.frame(node, peer, &transport, &entry(EntryKind::Padding, &[]));
                    }
                }
                Action::Retire(transport) => {
                    assert!(transport.is_dead());
                    own.inbound.remove(&transport.local_index());
                    own.current.retain(|_, current| !Arc::ptr_eq(current, &transport));
                }
                Action::Pinned { peer } => {
                    own.pins.insert(peer);
                }
                Action::Unanswered { peer } | Action::Failed { peer } => {
                    // With Mycelium's suite, which isn't of this world; what is for a pinned node waits.
                    if !own.pins.contains(&peer) {
                        own.waiting.clear();
                    }
                }
                Action::Downgraded { .. } => {}
            }
        }
    }
}
