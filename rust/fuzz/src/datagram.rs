//! `udp://` links: what comes from anybody, and what comes from a peer with the right keys.

use std::net::SocketAddr;
use std::sync::Arc;

use zosnet_core::datagram::{Action, Config, Endpoint, Id, LinkKeys, RELAYED, TYPES, decoders};

use crate::numbers::Numbers;

/// Two endpoints with a link between them.
struct Pair {
    ends: [Endpoint; 2],
    links: [Option<Id>; 2],
    keys: [Option<Arc<LinkKeys>>; 2],
    now: f64,
}

fn place(end: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, end as u8], 9652))
}

impl Pair {
    fn new() -> Self {
        let ends =
            [1, 2].map(|number| Endpoint::new(Config::new([number; 32]), Numbers(number.into()).fill()));
        let mut pair = Self {
            ends,
            links: [None; 2],
            keys: [None, None],
            now: 1.0,
        };
        let key = pair.ends[1].public();
        pair.ends[0].dial(1, place(1), Some(key), 5.0, pair.now);
        pair.settle();
        assert!(pair.links.iter().all(Option::is_some));
        pair
    }

    /// Carry datagrams to and fro until there are none.
    fn settle(&mut self) {
        let mut busy = true;
        for _ in 0..100 {
            if !std::mem::take(&mut busy) {
                break;
            }
            for end in 0..2 {
                while let Some(action) = self.ends[end].poll() {
                    match action {
                        Action::Transmit { to, mut datagram, .. } if to == place(1 - end) => {
                            busy = true;
                            self.now += 0.001;
                            self.ends[1 - end].receive(&mut datagram, place(end), self.now);
                        }
                        Action::Up { link, keys, .. } => {
                            (self.links[end], self.keys[end]) = (Some(link), Some(keys));
                        }
                        Action::Keys { keys, .. } => self.keys[end] = Some(keys),
                        Action::Down { .. } => self.links[end] = None,
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Anything from anybody leaves a link as it is. The first byte of a datagram is its length, or 0 for the index
/// of the link at the right place.
pub fn link_datagrams(data: &[u8]) {
    let mut pair = Pair::new();
    let before: Vec<_> = pair.ends[1]
        .links()
        .map(|link| (link.link, link.remote))
        .collect();
    let index = pair.keys[1].as_ref().map_or(0, |keys| keys.local_index());
    let mut rest = data;
    while let [length, tail @ ..] = rest {
        let (body, after) = tail.split_at(tail.len().min(usize::from(*length)));
        let mut datagram = body.to_vec();
        if let ([kind, ..], true) = (datagram.as_mut_slice(), length % 2 == 0) {
            *kind = *TYPES.start() + *kind % 6;
        }
        if let (Some(at), true) = (datagram.get_mut(4..8), length % 4 == 0) {
            at.copy_from_slice(&index.to_be_bytes());
        }
        if let Some(keys) = pair.keys[1]
            .as_ref()
            .filter(|_| datagram.first() == Some(&RELAYED))
        {
            assert!(keys.unwrap(&datagram).is_err());
        }
        pair.now += 0.01;
        pair.ends[1].receive(&mut datagram, place(9), pair.now);
        rest = after;
    }
    let after: Vec<_> = pair.ends[1]
        .links()
        .map(|link| (link.link, link.remote))
        .collect();
    assert_eq!(before, after);
    assert_eq!(pair.ends[1].half_open(), 0);
    pair.settle();
}

/// Any plaintexts from a peer: the endpoint stays bounded, and goes on. They end where a length byte says.
pub fn link_frames(data: &[u8]) {
    assert!(decoders::frames(data) <= data.len() / 3);
    let mut pair = Pair::new();
    let Some(link) = pair.links[1] else { return };
    pair.ends[1].push_control(link, &[7; 3000], pair.now);
    let mut rest = data;
    while let [length, tail @ ..] = rest {
        let (plaintext, after) = tail.split_at(tail.len().min(usize::from(*length)));
        pair.now += f64::from(*length) / 500.0;
        pair.ends[1].receive_plaintext(link, plaintext, place(usize::from(*length % 3)), pair.now);
        pair.ends[1].wake(pair.now);
        let mut actions = 0;
        while pair.ends[1].poll().is_some() {
            actions += 1;
        }
        assert!(actions < 300, "{actions} actions for {} bytes", plaintext.len());
        rest = after;
    }
    assert!(pair.ends[1].links().all(|status| status.queued <= 3000));
}

/// An offer means the same when it is written again.
pub fn link_offer(data: &[u8]) {
    let _ = decoders::offer(data);
}
