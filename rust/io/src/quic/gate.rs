//! Who may come in: bounds on inbound connections, in all, by address and in the handshake. Pure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::{HANDSHAKES, INBOUND, INBOUND_PER_ADDRESS};

/// Counts inbound connections.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    handshakes: usize,
    connections: usize,
    sources: HashMap<u128, usize>,
}

/// What to do with an inbound connection.
#[derive(Debug)]
pub enum Ruling {
    /// Go on with it. The permits are given back when they are dropped.
    Accept(Handshake, Place),
    /// There is a crowd: its address must prove itself first.
    Retry,
    /// No room.
    Refuse,
}

/// A handshake in progress.
#[derive(Debug)]
pub struct Handshake(Arc<Gate>);

/// An inbound connection, from its handshake to its end.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    source: u128,
}

impl Gate {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judge a connection from `source`; `proven`: the address has been shown to be the sender's.
    pub fn judge(self: &Arc<Self>, source: u128, proven: bool) -> Ruling {
        let mut counts = self.counts();
        if counts.handshakes >= HANDSHAKES / 2 && !proven {
            return Ruling::Retry;
        }
        let from_there = counts.sources.get(&source).copied().unwrap_or(0);
        if counts.handshakes >= HANDSHAKES
            || counts.connections >= INBOUND
            || from_there >= INBOUND_PER_ADDRESS
        {
            return Ruling::Refuse;
        }
        counts.handshakes += 1;
        counts.connections += 1;
        counts.sources.insert(source, from_there + 1);
        Ruling::Accept(
            Handshake(self.clone()),
            Place {
                gate: self.clone(),
                source,
            },
        )
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.handshakes = counts.handshakes.saturating_sub(1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.counts();
        counts.connections = counts.connections.saturating_sub(1);
        if let Some(left) = counts.sources.get_mut(&self.source) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                counts.sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(ruling: Ruling) -> Place {
        match ruling {
            Ruling::Accept(_handshake, place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_crowd_must_prove_its_addresses_and_then_waits_outside() {
        let gate = Arc::new(Gate::default());
        let mut inside: Vec<_> = (0..HANDSHAKES as u128 / 2)
            .map(|n| gate.judge(n, false))
            .collect();
        assert!(matches!(gate.judge(999, false), Ruling::Retry));
        inside.extend((100..100 + HANDSHAKES as u128 / 2).map(|n| gate.judge(n, true)));
        assert!(matches!(gate.judge(999, true), Ruling::Refuse));
        drop(inside);
        assert!(matches!(gate.judge(999, false), Ruling::Accept(..)));
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let gate = Arc::new(Gate::default());
        let places: Vec<_> = (0..INBOUND_PER_ADDRESS)
            .map(|_| open(gate.judge(7, true)))
            .collect();
        assert!(matches!(gate.judge(7, true), Ruling::Refuse));
        let other = open(gate.judge(8, true));
        drop((places, other));
        assert!(gate.counts().sources.is_empty());
    }
}
