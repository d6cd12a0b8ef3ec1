//! Which packets in pieces may come in: the first piece decides, and is remembered for the others.

use std::sync::{Mutex, PoisonError};

use super::packet::{Packet, Piece};

/// Kept apart, so that lanes seldom meet.
const SHARDS: usize = 16;
/// Packets in pieces that are remembered, in each shard.
const PLACES: usize = 64;
/// Those of one node among them.
const PLACES_OF_NODE: usize = 16;
/// Seconds until the rest must have come (RFC 8200, section 4.5).
const LIFETIME: u32 = 60;

#[derive(Debug, Clone, Copy)]
struct Admitted {
    src: u128,
    dst: u128,
    id: u32,
    /// Where the first piece ended: others that reach into it are after its headers (RFC 5722).
    end: u16,
    until: u32,
}

/// The packets whose first piece was let in.
#[derive(Debug)]
pub struct Fragments(Vec<Mutex<Vec<Admitted>>>);

impl Default for Fragments {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Fragments {
    fn with<T>(
        &self,
        packet: &Packet<'_>,
        piece: Piece,
        act: impl FnOnce(&mut Vec<Admitted>) -> T,
    ) -> Option<T> {
        let place = (packet.src >> 64) as usize ^ piece.id as usize;
        let shard = self.0.get(place % SHARDS)?;
        Some(act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The first piece of a packet was let in.
    pub fn admit(&self, packet: &Packet<'_>, piece: Piece, now: u32) {
        let (src, dst, id, end) = (packet.src, packet.dst, piece.id, piece.to);
        let admitted = Admitted {
            src,
            dst,
            id,
            end,
            until: now + LIFETIME,
        };
        self.with(packet, piece, |places| {
            let same = |old: &Admitted| (old.src, old.dst, old.id) == (src, dst, id);
            let of_node = |old: &Admitted| old.src >> 64 == src >> 64;
            places.retain(|old| old.until >= now && !same(old));
            let crowd = places.iter().filter(|old| of_node(old)).count() >= PLACES_OF_NODE;
            if crowd || places.len() >= PLACES {
                // The oldest is the first, as all wait equally long.
                let oldest = places.iter().position(|old| !crowd || of_node(old));
                places.remove(oldest.unwrap_or(0));
            }
            places.push(admitted);
        });
    }

    /// Whether a later piece belongs to a packet whose first piece was let in.
    pub fn admits(&self, packet: &Packet<'_>, piece: Piece, now: u32) -> bool {
        self.with(packet, piece, |places| {
            places.iter().any(|old| {
                (old.src, old.dst, old.id) == (packet.src, packet.dst, piece.id)
                    && old.until >= now
                    && piece.from >= old.end
            })
        })
        .unwrap_or(false)
    }
}
