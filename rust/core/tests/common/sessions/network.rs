//! What the network does with what is sent.

use std::net::SocketAddr;

use super::{World, end_of};

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

impl World {
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

    pub(super) fn arrive_later(&mut self, flight: Flight) {
        let at = self.now + self.path.delay + self.path.jitter * self.numbers.share();
        self.sequence += 1;
        self.flights.insert((at.to_bits(), self.sequence), flight);
    }

    /// What is under way, out of the network's hands.
    pub fn take_flights(&mut self) -> Vec<Flight> {
        std::mem::take(&mut self.flights).into_values().collect()
    }
}
