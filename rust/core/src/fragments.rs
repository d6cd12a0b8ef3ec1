//! Packets in pieces, where no frame holds them whole: IPv6 promises its hosts 1280 bytes, and some paths carry less.
//!
//! ```text
//! piece: number (4) | length of the whole (2) | offset (2) | bytes ...
//! ```
//! Pieces come from an authenticated peer, in any order, each at most once. Memory is bounded by what arrived,
//! never by what was announced.

use std::collections::HashMap;

/// What stands in front of the bytes of a piece.
pub const PIECE_HEADER: usize = 8;
/// Packets under way at once; the oldest makes room.
const PACKETS: usize = 64;
/// Pieces of one packet: enough for 1280 bytes over the thinnest of links.
const PIECES: usize = 32;
/// A packet whose pieces don't all come within this many seconds is forgotten: as long as reordering may take.
const LIFETIME: f64 = 1.0;

/// Cut `packet` in pieces of at most `room` bytes, headers included. None come when there is no room for any byte.
pub fn cut(number: u32, packet: &[u8], room: usize) -> impl Iterator<Item = Vec<u8>> {
    let length = packet.len().min(usize::from(u16::MAX));
    let size = room.saturating_sub(PIECE_HEADER);
    let count = if size == 0 { 0 } else { length.div_ceil(size) };
    // Pieces of equal size: a path that carries one carries all.
    let size = if count == 0 { 1 } else { length.div_ceil(count) };
    packet
        .chunks(size)
        .take(count)
        .enumerate()
        .map(move |(index, bytes)| {
            let mut piece = Vec::with_capacity(PIECE_HEADER + bytes.len());
            piece.extend_from_slice(&number.to_be_bytes());
            piece.extend_from_slice(&(length as u16).to_be_bytes());
            piece.extend_from_slice(&((index * size) as u16).to_be_bytes());
            piece.extend_from_slice(bytes);
            piece
        })
}

#[derive(Debug)]
struct Partial {
    length: usize,
    pieces: Vec<(usize, Vec<u8>)>,
    since: f64,
}

/// Packets that are being put together again.
#[derive(Debug, Default)]
pub struct Fragments {
    packets: HashMap<(u32, u32), Partial>,
    next: u32,
}

impl Fragments {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A number for the next packet to be cut.
    pub fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// Take a piece that came under the keys `index`; the packet, if it was the last one missing.
    pub fn take(&mut self, index: u32, piece: &[u8], now: f64) -> Option<Vec<u8>> {
        let (head, bytes) = piece.split_first_chunk::<PIECE_HEADER>()?;
        let [n0, n1, n2, n3, l0, l1, o0, o1] = *head;
        let number = u32::from_be_bytes([n0, n1, n2, n3]);
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let offset = usize::from(u16::from_be_bytes([o0, o1]));
        if bytes.is_empty() || offset + bytes.len() > length {
            return None;
        }
        let key = (index, number);
        if !self.packets.contains_key(&key) {
            self.make_room(now);
        }
        let partial = self.packets.entry(key).or_insert_with(|| Partial {
            length,
            pieces: Vec::new(),
            since: now,
        });
        let overlaps = partial
            .pieces
            .iter()
            .any(|(at, had)| offset < at + had.len() && *at < offset + bytes.len());
        if partial.length != length || overlaps || partial.pieces.len() >= PIECES {
            self.packets.remove(&key);
            return None;
        }
        partial.pieces.push((offset, bytes.to_vec()));
        let arrived: usize = partial.pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        if arrived < length {
            return None;
        }
        let mut partial = self.packets.remove(&key)?;
        // They don't overlap and fill the length, so in order they are the packet.
        partial.pieces.sort_unstable_by_key(|(at, _)| *at);
        Some(partial.pieces.into_iter().flat_map(|(_, bytes)| bytes).collect())
    }

    fn make_room(&mut self, now: f64) {
        self.packets.retain(|_, partial| now - partial.since <= LIFETIME);
        if self.packets.len() >= PACKETS {
            let oldest = self.packets.iter().min_by(|a, b| a.1.since.total_cmp(&b.1.since));
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.packets.remove(&key);
            }
        }
    }
}
