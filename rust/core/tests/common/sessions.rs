//! Keepers on a network that loses, delays, reorders, repeats, alters and cuts, with a clock of its own. The driver
//! of each node does with actions what the I/O crate does.
#![allow(dead_code, clippy::unwrap_used)]

mod numbers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use zosnet_core::address_of;
use zosnet_core::session::{
    Action, Config, Entries, EntryKind, From, HEADER, Keeper, TAG, TRANSPORT, Transport, entry_header,
    receiver_index, unknown_frame,
};
use zosnet_core::suite::StaticKey;

pub use numbers::Numbers;

pub type Key = [u8; 32];

/// What the network does to everything.
#[derive(Debug, Clone)]
pub struct Path {
    pub delay: f64,
    pub jitter: f64,
    pub loss: f64,
    pub twice: f64,
    /// How often one bit is changed, the end is cut off, and something from before is sent again to anybody.
    pub flips: f64,
    pub cuts: f64,
    pub replays: f64,
    /// What doesn't get through.
    pub drops: Option<fn(&Flight) -> bool>,
    /// Whether a receiver says that it doesn't know an index: not through relays.
    pub hints: bool,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            delay: 0.010,
            jitter: 0.0,
            loss: 0.0,
            twice: 0.0,
            flips: 0.0,
            cuts: 0.0,
            replays: 0.0,
            drops: None,
            hints: true,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Flight {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

impl Flight {
    pub fn kind(&self) -> u8 {
        self.bytes.first().copied().unwrap_or_default()
    }

    /// Of the node with this number.
    pub fn is_of(&self, node: usize) -> bool {
        self.from == end_of(node)
    }
}

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

pub struct World {
    pub now: f64,
    pub nodes: Vec<Node>,
    pub path: Path,
    pub numbers: Numbers,
    /// Everything that was ever sent, if it is wanted.
    pub tape: Vec<Flight>,
    pub record: bool,
    flights: BTreeMap<(u64, u64), Flight>,
    sequence: u64,
    /// Sender, receiver, pause, next time.
    traffic: Vec<(usize, usize, f64, f64)>,
    opened: HashSet<u64>,
    pub sent: HashMap<u64, f64>,
}

pub fn end_of(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], 9652))
}

pub fn secret_of(node: usize) -> Key {
    std::array::from_fn(|at| (node as u8).wrapping_mul(67).wrapping_add(at as u8 + 1))
}

pub fn public_of(node: usize) -> Key {
    StaticKey::from_secret(&secret_of(node)).unwrap().public()
}

pub fn config(node: usize) -> Config {
    Config::new(secret_of(node), address_of(&public_of(node)))
}

/// The secret of one of any number of strangers.
pub fn secret(number: usize) -> [u8; 32] {
    let mut secret = [0x77; 32];
    secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
    secret
}

/// Where a stranger of this number is.
pub fn stranger(number: usize) -> From {
    From::Link(SocketAddr::from((
        [192, 0, 2, (number >> 8) as u8],
        number as u16,
    )))
}

/// What a keeper answers.
pub fn answers(keeper: &mut Keeper) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(action) = keeper.poll() {
        if let Action::Send { frame, .. } = action {
            frames.push(frame);
        }
    }
    frames
}

fn content(number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number);
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((0..32).flat_map(|_| numbers.next().to_be_bytes()));
    bytes
}

/// Seal entries in a frame of their own.
pub fn seal(transport: &Transport, lane: u8, entries: &[u8]) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    frame.extend_from_slice(entries);
    frame.extend_from_slice(&[0; TAG]);
    transport.seal(lane, &mut frame).ok()?;
    Some(frame)
}

/// An entry with its header.
pub fn entry(kind: EntryKind, body: &[u8]) -> Vec<u8> {
    [&entry_header(kind, body.len())[..], body].concat()
}

impl World {
    pub fn new(seed: u64, count: usize, config: fn(usize) -> Config) -> Self {
        let mut numbers = Numbers(seed);
        let mut world = Self {
            now: 1000.0,
            nodes: Vec::new(),
            path: Path::default(),
            tape: Vec::new(),
            record: false,
            flights: BTreeMap::new(),
            sequence: 0,
            traffic: Vec::new(),
            opened: HashSet::new(),
            sent: HashMap::new(),
            numbers: Numbers(numbers.next()),
        };
        for node in 0..count {
            let keeper = Keeper::new(config(node), Numbers(numbers.next()).fill());
            world.nodes.push(Node {
                config,
                public: keeper.public(),
                keeper,
                inbound: HashMap::new(),
                current: HashMap::new(),
                waiting: Vec::new(),
                pins: HashSet::new(),
                told: Vec::new(),
                got: Vec::new(),
                refused: 0,
                strange: 0,
                empty: 0,
            });
        }
        world
    }

    pub fn pair(seed: u64) -> Self {
        Self::new(seed, 2, config)
    }

    /// Two nodes with a session, both ends confirmed.
    pub fn running(seed: u64) -> Self {
        let mut world = Self::pair(seed);
        world.offer(0, 1);
        world.run(0.2);
        world.offer(1, 0);
        world.run(0.3);
        assert_eq!((world.got(0), world.got(1)), (1, 1));
        world
    }

    pub fn key(&self, node: usize) -> Key {
        self.nodes[node].public
    }

    pub fn got(&self, node: usize) -> usize {
        self.nodes[node].got.len()
    }

    pub fn told(&self, node: usize, what: Told) -> usize {
        self.nodes[node]
            .told
            .iter()
            .filter(|(_, told)| *told == what)
            .count()
    }

    pub fn count(&self, node: usize, name: &str) -> u64 {
        let all = self.nodes[node].keeper.counters();
        all.iter().find(|(each, _)| *each == name).unwrap().1
    }

    /// What `node` seals with for `peer`.
    pub fn current(&self, node: usize, peer: usize) -> Option<&Arc<Transport>> {
        let current = self.nodes[node].current.get(&self.nodes[peer].public)?;
        (!current.is_dead()).then_some(current)
    }

    /// Whether both ends seal with the two halves of one session.
    pub fn agree(&self) -> bool {
        match (self.current(0, 1), self.current(1, 0)) {
            (Some(one), Some(other)) => {
                one.local_index() == other.remote_index() && one.remote_index() == other.local_index()
            }
            _ => false,
        }
    }

    /// It forgets everything but its pins, if it keeps them.
    pub fn restart(&mut self, node: usize, keeps_pins: bool) {
        let seed = self.numbers.next();
        let own = &mut self.nodes[node];
        let mut config = (own.config)(node);
        if keeps_pins {
            config.pins = own.pins.iter().copied().collect();
        } else {
            own.pins.clear();
        }
        own.keeper = Keeper::new(config, Numbers(seed).fill());
        (own.inbound, own.current) = (HashMap::new(), HashMap::new());
        own.waiting.clear();
    }

    /// A packet of the host of `node` for that of `peer`.
    pub fn offer(&mut self, node: usize, peer: usize) -> u64 {
        let number = self.numbers.next();
        self.sent.insert(number, self.now);
        self.seal_or_wait(node, peer, number);
        number
    }

    fn seal_or_wait(&mut self, node: usize, peer: usize, number: u64) {
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

    /// Offer packets from now on, one every `pause` seconds.
    pub fn start(&mut self, node: usize, peer: usize, pause: f64) {
        self.traffic.push((node, peer, pause, self.now));
    }

    pub fn stop_traffic(&mut self) {
        self.traffic.clear();
    }

    /// Put something on the network.
    pub fn send(&mut self, node: usize, to: SocketAddr, bytes: Vec<u8>) {
        let flight = Flight {
            from: end_of(node),
            to,
            bytes,
        };
        if self.record || self.path.replays > 0.0 {
            self.tape.push(flight.clone());
        }
        self.fly(flight);
    }

    pub fn fly(&mut self, mut flight: Flight) {
        let path = self.path.clone();
        if path.drops.is_some_and(|drops| drops(&flight)) || self.numbers.share() < path.loss {
            return;
        }
        if self.numbers.share() < path.twice {
            self.arrive_later(flight.clone());
        }
        if self.numbers.share() < path.replays && !self.tape.is_empty() {
            let at = self.numbers.below(self.tape.len());
            let mut old = self.tape[at].clone();
            if self.numbers.share() < 0.2 {
                old.to = end_of(self.numbers.below(self.nodes.len()));
            }
            self.arrive_later(old);
        }
        let length = flight.bytes.len();
        if self.numbers.share() < path.flips {
            let at = self.numbers.below(length);
            flight.bytes[at] ^= 1 << self.numbers.below(8);
        }
        if self.numbers.share() < path.cuts {
            flight.bytes.truncate(self.numbers.below(length));
        }
        self.arrive_later(flight);
    }

    fn arrive_later(&mut self, flight: Flight) {
        let at = self.now + self.path.delay + self.path.jitter * self.numbers.share();
        self.sequence += 1;
        self.flights.insert((at.to_bits(), self.sequence), flight);
    }

    /// What is under way, out of the network's hands.
    pub fn take_flights(&mut self) -> Vec<Flight> {
        std::mem::take(&mut self.flights).into_values().collect()
    }

    /// When the first of the keepers wants to be woken.
    pub fn next_deadline(&self) -> Option<f64> {
        let all = self.nodes.iter().filter_map(|node| node.keeper.deadline());
        all.min_by(f64::total_cmp)
    }

    /// Let time pass.
    pub fn run(&mut self, seconds: f64) {
        self.run_while(self.now + seconds, |_| true);
    }

    pub fn run_while(&mut self, until: f64, more: impl Fn(&Self) -> bool) {
        while more(self) {
            let flight = self
                .flights
                .first_key_value()
                .map(|((at, _), _)| f64::from_bits(*at));
            let deadlines = self.nodes.iter().filter_map(|node| node.keeper.deadline());
            let traffic = self.traffic.iter().map(|each| each.3);
            let next = deadlines
                .chain(traffic)
                .chain(flight)
                .fold(f64::INFINITY, f64::min);
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if flight.is_some_and(|at| at <= self.now) {
                let (_, flight) = self.flights.pop_first().unwrap();
                self.arrive(flight);
                continue;
            }
            for at in 0..self.traffic.len() {
                let (node, peer, pause, due) = self.traffic[at];
                if due <= self.now {
                    self.traffic[at].3 = self.now + pause;
                    self.offer(node, peer);
                }
            }
            for node in 0..self.nodes.len() {
                let now = self.now;
                if self.nodes[node].keeper.deadline().is_some_and(|at| at <= now) {
                    self.nodes[node].keeper.wake(now);
                    self.act(node);
                }
            }
        }
        if more(self) {
            self.now = self.now.max(until);
        }
    }

    /// The clock jumps: what was under way is gone.
    pub fn jump(&mut self, seconds: f64) {
        self.flights.clear();
        self.now += seconds;
        self.traffic
            .iter_mut()
            .for_each(|each| each.3 = each.3.max(self.now));
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
