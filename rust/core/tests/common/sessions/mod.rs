//! Keepers on a network that loses, delays, reorders, repeats, alters and cuts, with a clock of its own. The driver
//! of each node does with actions what the I/O crate does.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

mod driver;
#[path = "../keepers.rs"]
mod keepers;
mod network;
#[path = "../numbers.rs"]
mod numbers;
mod people;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use zosnet_core::session::{Config, EntryKind, HEADER, Keeper, TAG, Transport, entry_header};

pub use driver::{Node, Told};
pub use network::{Flight, Path};
pub use numbers::Numbers;
pub use people::{Key, answering, answers, config, end_of, public_of, sealing, secret, secret_of, stranger};

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

    /// Offer packets from now on, one every `pause` seconds.
    pub fn start(&mut self, node: usize, peer: usize, pause: f64) {
        self.traffic.push((node, peer, pause, self.now));
    }

    pub fn stop_traffic(&mut self) {
        self.traffic.clear();
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
}
