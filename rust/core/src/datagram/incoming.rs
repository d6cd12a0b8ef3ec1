//! The receiving half of the control stream: bytes in order, and what is to be acknowledged.

use std::collections::BTreeMap;

use super::control::{Ack, MAX_RANGES};

/// Pieces beyond a gap at most: more come again.
const MAX_PIECES: usize = 1024;

/// Bytes as they come in.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Everything below arrived.
    next: u64,
    /// Pieces beyond, which neither touch `next` nor overlap.
    held: BTreeMap<u64, Vec<u8>>,
    /// In order, while the reader is paused.
    ready: Vec<u8>,
    window: usize,
    paused: bool,
}

impl Incoming {
    /// With room for `window` bytes.
    pub(super) fn new(window: usize) -> Self {
        Self {
            next: 0,
            held: BTreeMap::new(),
            ready: Vec::new(),
            window: window.min(u32::MAX as usize),
            paused: false,
        }
    }

    fn limit(&self) -> u64 {
        self.next + (self.window.saturating_sub(self.ready.len())) as u64
    }

    /// A piece of the stream. Without room for it, it is dropped: the peer was told.
    pub(super) fn receive(&mut self, offset: u64, bytes: &[u8]) {
        let Some(end) = offset.checked_add(bytes.len() as u64) else {
            return;
        };
        if end <= self.next || end > self.limit() {
            return;
        }
        self.hold(offset, end, bytes);
        while let Some(piece) = self.held.first_entry().filter(|first| *first.key() == self.next) {
            let bytes = piece.remove();
            self.next += bytes.len() as u64;
            self.ready.extend_from_slice(&bytes);
        }
    }

    /// Keep what is new of a piece: the first part that no other piece has.
    fn hold(&mut self, offset: u64, end: u64, bytes: &[u8]) {
        let before = self
            .held
            .range(..=offset)
            .next_back()
            .map_or(0, |(start, piece)| start + piece.len() as u64);
        let start = offset.max(self.next).max(before);
        let end = self
            .held
            .range(start..)
            .next()
            .map_or(end, |(next, _)| end.min(*next));
        if start >= end || (start > self.next && self.held.len() >= MAX_PIECES) {
            return;
        }
        let range = (start - offset) as usize..(end - offset) as usize;
        if let Some(new) = bytes.get(range) {
            self.held.insert(start, new.to_vec());
        }
    }

    /// What the reader may have now.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.paused || self.ready.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut self.ready))
    }

    /// Stop giving, or go on. True if the peer must learn that there is room again.
    pub(super) fn pause(&mut self, paused: bool) -> bool {
        let opens = self.paused && !paused && !self.ready.is_empty();
        self.paused = paused;
        opens
    }

    /// What to acknowledge.
    pub(super) fn ack(&self) -> Ack {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let distance = |offset: u64| u32::try_from(offset - self.next).unwrap_or(u32::MAX);
        for (start, piece) in &self.held {
            let full = ranges.len() >= MAX_RANGES;
            let range = (distance(*start), distance(start + piece.len() as u64));
            match ranges.last_mut() {
                Some(last) if last.1 == range.0 => last.1 = range.1,
                _ if full => break,
                _ => ranges.push(range),
            }
        }
        Ack {
            next: self.next,
            window: u32::try_from(self.limit() - self.next).unwrap_or(u32::MAX),
            ranges,
        }
    }
}
