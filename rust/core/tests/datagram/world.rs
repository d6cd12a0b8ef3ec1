//! Endpoints on a network, with a clock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::network::{Flight, Path};
pub use crate::numbers::Numbers;
use zosnet_core::datagram::{Action, Config, Endpoint, Id, LinkKeys, RELAYED, Status};

pub struct Node {
    pub endpoint: Endpoint,
    pub address: SocketAddr,
    pub asleep: bool,
    /// What the node's clock shows more than the world's.
    pub offset: f64,
    pub events: Vec<(f64, Action)>,
    pub keys: BTreeMap<Id, Arc<LinkKeys>>,
    pub remotes: BTreeMap<Id, SocketAddr>,
    /// Keys by local index, also of links that are down.
    pub by_index: BTreeMap<u32, Arc<LinkKeys>>,
    pub control: BTreeMap<Id, Vec<u8>>,
    pub relayed: Vec<(f64, Vec<u8>)>,
    pub refused_relayed: u32,
    /// Links that send a relayed packet as often, of such a size.
    pub traffic: BTreeMap<Id, (f64, usize, f64)>,
}

pub struct World {
    pub now: f64,
    pub numbers: Numbers,
    pub nodes: Vec<Node>,
    pub path: Path,
    pub flights: BTreeMap<(u64, u64), Flight>,
    /// Numbers flights that arrive at one time.
    pub(super) sequence: u64,
    /// Everything that was sent, as sent.
    pub tape: Vec<(f64, Flight)>,
    pub record: bool,
}

pub fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number as u8 + 1], 9652))
}

pub fn secret(number: usize) -> [u8; 32] {
    std::array::from_fn(|at| (number * 32 + at + 1) as u8)
}

pub fn config(number: usize) -> Config {
    Config::new(secret(number))
}

impl World {
    pub fn new(seed: u64, configs: Vec<Config>) -> Self {
        let mut world = Self {
            now: 1000.0,
            numbers: Numbers(seed),
            nodes: Vec::new(),
            path: Path::default(),
            flights: BTreeMap::new(),
            sequence: 0,
            tape: Vec::new(),
            record: false,
        };
        for (number, config) in configs.into_iter().enumerate() {
            world.add(config, address(number), seed * 100 + number as u64);
        }
        world
    }

    pub fn pair(seed: u64) -> Self {
        Self::new(seed, vec![config(0), config(1)])
    }

    pub fn add(&mut self, config: Config, address: SocketAddr, seed: u64) -> usize {
        self.nodes.push(Node {
            endpoint: Endpoint::new(config, Numbers(seed).fill()),
            address,
            asleep: false,
            offset: 0.0,
            events: Vec::new(),
            keys: BTreeMap::new(),
            remotes: BTreeMap::new(),
            by_index: BTreeMap::new(),
            control: BTreeMap::new(),
            relayed: Vec::new(),
            refused_relayed: 0,
            traffic: BTreeMap::new(),
        });
        self.nodes.len() - 1
    }

    /// Start a node anew: same key and address, nothing remembered.
    pub fn restart(&mut self, number: usize, config: Config) {
        let seed = self.numbers.next();
        let address = self.nodes[number].address;
        self.add(config, address, seed);
        let last = self.nodes.len() - 1;
        self.nodes.swap(number, last);
        self.nodes.truncate(last);
    }

    pub fn key(&self, number: usize) -> [u8; 32] {
        self.nodes[number].endpoint.public()
    }

    pub fn dial(&mut self, from: usize, to: usize, expected: Option<[u8; 32]>, timeout: f64) {
        let (remote, now) = (self.nodes[to].address, self.clock(from));
        self.nodes[from].endpoint.dial(7, remote, expected, timeout, now);
        self.drain(from);
    }

    /// What a node's clock shows.
    pub fn clock(&self, number: usize) -> f64 {
        self.now + self.nodes[number].offset
    }

    /// Carry out what a node wants.
    pub fn drain(&mut self, number: usize) {
        while let Some(action) = self.nodes[number].endpoint.poll() {
            let now = self.now;
            let node = &mut self.nodes[number];
            match &action {
                Action::Transmit { to, datagram, .. } => {
                    let flight = Flight {
                        from: node.address,
                        to: *to,
                        datagram: datagram.clone(),
                    };
                    self.send(flight);
                    continue;
                }
                Action::Up {
                    link, keys, remote, ..
                } => {
                    node.keys.insert(*link, Arc::clone(keys));
                    node.by_index.insert(keys.local_index(), Arc::clone(keys));
                    node.remotes.insert(*link, *remote);
                }
                Action::Keys { link, keys } => {
                    assert!(node.keys.insert(*link, Arc::clone(keys)).is_some());
                    node.by_index.insert(keys.local_index(), Arc::clone(keys));
                }
                Action::Moved { link, remote } => {
                    node.remotes.insert(*link, *remote);
                }
                Action::Control { link, bytes } => {
                    node.control.entry(*link).or_default().extend_from_slice(bytes);
                }
                Action::Down { link, .. } => {
                    node.keys.remove(link).expect("a link goes down once");
                    node.traffic.remove(link);
                }
                _ => {}
            }
            node.events.push((now, action));
        }
    }

    fn arrive(&mut self, mut flight: Flight) {
        let now = self.now;
        let Some(number) = self.nodes.iter().position(|node| node.address == flight.to) else {
            return;
        };
        let now = now + self.nodes[number].offset;
        let node = &mut self.nodes[number];
        if node.asleep {
            return;
        }
        if flight.datagram.first() != Some(&RELAYED) {
            node.endpoint.receive(&mut flight.datagram, flight.from, now);
            self.drain(number);
            return;
        }
        let index = flight.datagram.get(4..8).map(|index| index.try_into().unwrap());
        let keys = index.and_then(|index| node.by_index.get(&u32::from_be_bytes(index)));
        match keys.map(|keys| (keys, keys.unwrap(&flight.datagram))) {
            Some((keys, Ok(relayed))) => {
                keys.heard(1, (now * 1000.0) as u64);
                let payload = flight.datagram[relayed.payload].to_vec();
                node.relayed.push((now - node.offset, payload));
            }
            _ => node.refused_relayed += 1,
        }
    }

    /// Send one relayed packet on a link.
    pub fn relay(&mut self, number: usize, link: Id, size: usize) {
        let now = self.clock(number);
        let node = &mut self.nodes[number];
        let (Some(keys), Some(to)) = (node.keys.get(&link).cloned(), node.remotes.get(&link)) else {
            return;
        };
        let mut datagram = vec![0xab; size];
        keys.wrap(0, 64, &[4; 16], &[5; 16], &mut datagram).unwrap();
        let flight = Flight {
            from: node.address,
            to: *to,
            datagram,
        };
        if keys.sent(1, (now * 1000.0) as u64) {
            node.endpoint.wake(now);
        }
        self.send(flight);
        self.drain(number);
    }

    fn next(&self) -> f64 {
        let arrival = self.flights.keys().next().map(|(at, _)| f64::from_bits(*at));
        let nodes = self.nodes.iter().filter(|node| !node.asleep);
        let deadlines = nodes
            .clone()
            .filter_map(|node| Some(node.endpoint.deadline()? - node.offset));
        let traffic = nodes.flat_map(|node| node.traffic.values().map(|(_, _, next)| *next));
        arrival
            .into_iter()
            .chain(deadlines)
            .chain(traffic)
            .fold(f64::INFINITY, f64::min)
    }

    /// Let time pass until `until`.
    pub fn run_to(&mut self, until: f64) {
        self.run_while(until, |_| true);
    }

    pub fn run(&mut self, seconds: f64) {
        self.run_to(self.now + seconds);
    }

    /// Let time pass while `goes_on`, until `until` at the latest.
    pub fn run_while(&mut self, until: f64, goes_on: impl Fn(&Self) -> bool) {
        let mut steps = 0u32;
        while goes_on(self) {
            let next = self.next().max(self.now);
            if next > until {
                self.now = until;
                return;
            }
            steps = if next > self.now { 0 } else { steps + 1 };
            assert!(steps < 5000, "the machine is busy with nothing at {}", self.now);
            self.now = next;
            self.tick();
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        while let Some(first) = self.flights.first_entry() {
            if f64::from_bits(first.key().0) > now {
                break;
            }
            let flight = first.remove();
            self.arrive(flight);
        }
        for number in 0..self.nodes.len() {
            if self.nodes[number].asleep {
                continue;
            }
            let due: Vec<(Id, usize)> = self.nodes[number]
                .traffic
                .iter_mut()
                .filter(|(_, (_, _, next))| *next <= now)
                .map(|(link, (interval, size, next))| {
                    *next = now + *interval;
                    (*link, *size)
                })
                .collect();
            for (link, size) in due {
                self.relay(number, link, size);
            }
            let offset = self.nodes[number].offset;
            let deadline = self.nodes[number].endpoint.deadline();
            if let Some(at) = deadline.filter(|at| at - offset <= now) {
                self.nodes[number].endpoint.wake(at.max(now + offset));
                self.drain(number);
            }
        }
    }

    pub fn start_traffic(&mut self, number: usize, interval: f64, size: usize) {
        let link = self.link(number).link;
        let now = self.now;
        self.nodes[number].traffic.insert(link, (interval, size, now));
    }

    /// The only link of a node.
    pub fn link(&self, number: usize) -> Status {
        let links = self.links(number);
        assert_eq!(links.len(), 1, "node {number}: {links:?}");
        links[0].clone()
    }

    pub fn links(&self, number: usize) -> Vec<Status> {
        self.nodes[number].endpoint.links().collect()
    }

    pub fn is_up(&self, number: usize) -> bool {
        !self.links(number).is_empty()
    }

    /// Dial, and run until both ends have a link.
    pub fn connect(&mut self, from: usize, to: usize) -> (Id, Id) {
        self.dial(from, to, Some(self.key(to)), 20.0);
        self.run_while(self.now + 20.0, |world| !(world.is_up(from) && world.is_up(to)));
        (self.link(from).link, self.link(to).link)
    }

    pub fn push(&mut self, number: usize, link: Id, bytes: &[u8]) {
        let now = self.clock(number);
        self.nodes[number].endpoint.push_control(link, bytes, now);
        self.drain(number);
    }

    pub fn events<'a, T>(&'a self, number: usize, pick: impl Fn(&'a Action) -> Option<T>) -> Vec<(f64, T)> {
        self.nodes[number]
            .events
            .iter()
            .filter_map(|(at, action)| Some((*at, pick(action)?)))
            .collect()
    }

    pub fn stalls(&self, number: usize) -> Vec<(f64, bool)> {
        self.events(number, |action| match action {
            Action::Stalled { stalled, .. } => Some(*stalled),
            _ => None,
        })
    }

    pub fn downs(&self, number: usize) -> Vec<(f64, String)> {
        self.events(number, |action| match action {
            Action::Down { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }

    pub fn failures(&self, number: usize) -> Vec<(f64, (String, bool))> {
        self.events(number, |action| match action {
            Action::DialFailed { reason, refused, .. } => Some((reason.clone(), *refused)),
            _ => None,
        })
    }
}

pub fn only(keys: &[[u8; 32]]) -> Option<BTreeSet<[u8; 32]>> {
    Some(keys.iter().copied().collect())
}

/// Bytes that are their own places.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}
