//! The network between the endpoints: it loses, delays, reorders, duplicates and cuts.

use std::net::SocketAddr;

use crate::world::World;

/// What the network does to every datagram.
#[derive(Debug, Clone)]
pub struct Path {
    pub delay: f64,
    pub jitter: f64,
    pub loss: f64,
    pub twice: f64,
    /// Largest IP packet.
    pub mtu: usize,
    pub cut: bool,
    /// What doesn't get through.
    pub drops: Option<fn(&Flight) -> bool>,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            delay: 0.010,
            jitter: 0.0,
            loss: 0.0,
            twice: 0.0,
            mtu: 1500,
            cut: false,
            drops: None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Flight {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub datagram: Vec<u8>,
}

impl World {
    /// Put a datagram on the network.
    pub fn send(&mut self, flight: Flight) {
        if self.record {
            self.tape.push((self.now, flight.clone()));
        }
        let headers = if flight.to.is_ipv6() { 48 } else { 28 };
        if self.path.drops.is_some_and(|drops| drops(&flight)) {
            return;
        }
        if self.path.cut || flight.datagram.len() + headers > self.path.mtu {
            return;
        }
        let copies = 1 + usize::from(self.numbers.share() < self.path.twice);
        for _ in 0..copies {
            if self.numbers.share() < self.path.loss {
                continue;
            }
            let at = self.now + self.path.delay + self.path.jitter * self.numbers.share();
            self.deliver_at(at, flight.clone());
        }
    }

    pub fn deliver_at(&mut self, at: f64, flight: Flight) {
        self.sequence += 1;
        self.flights.insert((at.to_bits(), self.sequence), flight);
    }
}
