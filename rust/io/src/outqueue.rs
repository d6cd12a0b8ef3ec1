//! What waits to be written to one stream link: control ahead of data, data bounded in bytes and in age.
//!
//! Control never cuts into a packet that is partly written: it goes in at the next packet boundary. Where more
//! than [`TURN`] bytes of it wait (a neighbour with 10,000 routes came or went) data and control take turns, so
//! that news of routes never stops the traffic.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use zosnet_core::frame;

/// Data bytes that may wait for one link.
pub const DATA_LIMIT: usize = 4 << 20;
/// Control bytes that may wait: some 100,000 updates. A link that is further behind is of no use.
pub const CONTROL_LIMIT: usize = 8 << 20;
/// No new data is taken while the oldest waits longer than this, in seconds: what comes later would come too
/// late, and the senders' congestion control needs to hear of it.
pub const AGE_LIMIT: f64 = 0.1;

/// Bytes of one kind that go before those of the other, where both wait. A guess: some ten packets of either.
pub const TURN: usize = 16 << 10;

/// A chunk is closed when it holds this much; one super-packet may still go beyond.
const CHUNK: usize = 128 << 10;
/// Room a chunk is made with, for the super-packet that goes beyond.
const CHUNK_ROOM: usize = CHUNK + (96 << 10);
/// Chunks handed to one system call.
const SLICES: usize = 16;
/// Empty chunks kept for later: the last one used is still in the cache.
const POOLED: usize = 8;

/// Empty chunks of one lane.
#[derive(Debug, Default)]
pub struct Pool(Vec<Vec<u8>>);

impl Pool {
    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_ROOM))
    }

    fn give(&mut self, mut chunk: Vec<u8>) {
        if self.0.len() < POOLED && chunk.capacity() <= 2 * CHUNK_ROOM {
            chunk.clear();
            self.0.push(chunk);
        }
    }
}

/// The queue of one link.
#[derive(Debug, Default)]
pub struct OutQueue {
    control: Vec<u8>,
    control_head: usize,
    /// The first packet boundary in `control` at or after `control_head`.
    control_boundary: usize,
    /// Its turn ends at the first packet boundary in `control` from here on, which may be one that is still to
    /// come; none while no data has been seen to wait.
    control_turn: Option<usize>,
    /// Bytes of data that go before any more control. At their end control goes in at the next boundary.
    data_turn: usize,
    /// Where, in all control bytes ever queued, the last Hello ends; none once it was written.
    hello_end: Option<u64>,
    control_written: u64,
    data: VecDeque<Vec<u8>>,
    /// Bytes of the front chunk that are written.
    head: usize,
    /// Where in the front chunk the first packet begins of which nothing is written.
    boundary: usize,
    data_bytes: usize,
    data_written: u64,
    /// (end offset in all data ever queued, when it was queued), oldest first.
    marks: VecDeque<(u64, f64)>,
}

/// The control queue is over its limit: close the link.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFarBehind;

/// The first packet boundary in `bytes` at or after `at`, when one lies at `from`.
fn boundary_after(bytes: &[u8], from: usize, at: usize) -> usize {
    let mut boundary = from;
    while boundary < at {
        boundary += frame::needed(bytes.get(boundary..).unwrap_or_default());
    }
    boundary.min(bytes.len())
}

impl OutQueue {
    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.data_bytes == 0 && self.control.is_empty()
    }

    /// Bytes that wait, of both kinds.
    pub fn bytes(&self) -> usize {
        self.data_bytes + self.control_bytes()
    }

    /// Control bytes that wait.
    pub fn control_bytes(&self) -> usize {
        self.control.len() - self.control_head
    }

    /// Data bytes that wait.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Whether a Hello waits.
    pub fn has_hello(&self) -> bool {
        self.hello_end.is_some()
    }

    /// Whether `more` bytes of data may be queued now.
    pub fn accepts(&self, more: usize, now: f64) -> bool {
        let fresh = self.marks.front().is_none_or(|(_, at)| now - at <= AGE_LIMIT);
        fresh && self.data_bytes + more <= DATA_LIMIT
    }

    /// Append whole data packets: `write` adds them to the end of the bytes it is given. Ask `accepts` first.
    pub fn append<R>(&mut self, now: f64, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if self.data.back().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.data.push_back(pool.take());
        }
        let Some(chunk) = self.data.back_mut() else {
            unreachable!("a chunk was just pushed")
        };
        let before = chunk.len();
        let result = write(chunk);
        self.data_bytes += chunk.len() - before;
        let end = self.data_written + self.data_bytes as u64;
        match self.marks.back_mut() {
            Some((last, at)) if *at == now => *last = end,
            _ => self.marks.push_back((end, now)),
        }
        result
    }

    /// Queue whole control packets; `hello` says that they end with a Hello.
    pub fn push_control(&mut self, packets: &[u8], hello: bool) -> Result<(), TooFarBehind> {
        if self.control_bytes() + packets.len() > CONTROL_LIMIT {
            return Err(TooFarBehind);
        }
        self.forget_written();
        self.control.extend_from_slice(packets);
        if hello {
            self.hello_end = Some(self.control_written + self.control_bytes() as u64);
        }
        Ok(())
    }

    /// A neighbour that reads so that some control always waits must not make this grow without end.
    fn forget_written(&mut self) {
        let head = self.control_head;
        if head >= CHUNK && head >= self.control_bytes() {
            self.control.drain(..head);
            self.control_head = 0;
            self.control_boundary -= head;
            self.control_turn = self.control_turn.map(|end| end.saturating_sub(head));
        }
    }

    /// Write `packets`, whole data packets, straight to `out`, and queue what it doesn't take.
    /// Only when `is_empty`. Returns the bytes written.
    pub fn write_through(
        &mut self,
        packets: &[u8],
        out: &mut impl Write,
        now: f64,
        pool: &mut Pool,
    ) -> io::Result<usize> {
        let written = match out.write(packets) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        self.data_written += written as u64;
        if let Some(rest) = packets.get(written..).filter(|rest| !rest.is_empty()) {
            self.boundary = boundary_after(packets, 0, written) - written;
            self.append(now, pool, |tail| tail.extend_from_slice(rest));
        }
        Ok(written)
    }

    /// Write until all is gone or `out` takes no more. Returns the bytes written; the flag says that the last
    /// Hello left.
    pub fn write(&mut self, out: &mut impl Write, pool: &mut Pool) -> io::Result<(usize, bool)> {
        let mut total = 0;
        let mut hello = false;
        while !self.is_empty() {
            self.take_turns();
            match self.write_once(out) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total += written;
                    hello |= self.consume(written, pool);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok((total, hello))
    }

    /// Where data waits beside control, decide how much of which goes next.
    fn take_turns(&mut self) {
        if self.data_bytes == 0 {
            self.data_turn = 0;
        } else if self.control_turn.is_none() && self.control_bytes() > 0 {
            self.control_turn = Some(self.control_head + TURN);
        }
    }

    /// The control that goes next.
    fn control_due(&self) -> &[u8] {
        if self.data_turn > 0 {
            return &[];
        }
        let end = match self.control_turn {
            Some(end) if end < self.control.len() => {
                boundary_after(&self.control, self.control_boundary, end)
            }
            _ => self.control.len(),
        };
        self.control.get(self.control_head..end).unwrap_or_default()
    }

    fn write_once(&self, out: &mut impl Write) -> io::Result<usize> {
        let control = self.control_due();
        let mut slices = [(); SLICES].map(|()| IoSlice::new(&[]));
        let mut used = 0;
        let mut add = |bytes| {
            if let (Some(slice), false) = (slices.get_mut(used), <[u8]>::is_empty(bytes)) {
                *slice = IoSlice::new(bytes);
                used += 1;
            }
        };
        let mut from = self.head;
        if let (Some(front), false) = (self.data.front(), control.is_empty()) {
            add(front.get(self.head..self.boundary).unwrap_or_default());
            from = self.boundary;
        }
        add(control);
        for chunk in &self.data {
            add(chunk.get(from..).unwrap_or_default());
            from = 0;
        }
        match slices.get(..used).unwrap_or_default() {
            [one] => out.write(one),
            many => out.write_vectored(many),
        }
    }

    /// Take `written` bytes off, in the order of `write_once`. Whether a Hello was among them.
    fn consume(&mut self, written: usize, pool: &mut Pool) -> bool {
        let mut left = written;
        let mut hello = false;
        let control = self.control_due().len();
        if control > 0 {
            let rest = left.min(self.boundary - self.head);
            self.consume_data(rest, pool);
            left -= rest;
            let taken = left.min(control);
            left -= taken;
            self.control_head += taken;
            self.control_written += taken as u64;
            hello = self.hello_end.is_some_and(|end| end <= self.control_written);
            if hello {
                self.hello_end = None;
            }
            self.end_control();
        }
        self.data_turn = self.data_turn.saturating_sub(left);
        self.consume_data(left, pool);
        hello
    }

    /// Some of it was written: see where that leaves the next packet, and the turn.
    fn end_control(&mut self) {
        if self.control_head == self.control.len() {
            self.control.clear();
            self.control.shrink_to(CHUNK);
            (self.control_head, self.control_boundary, self.control_turn) = (0, 0, None);
            return;
        }
        self.control_boundary = boundary_after(&self.control, self.control_boundary, self.control_head);
        let is_over = self.control_turn.is_some_and(|end| end <= self.control_head);
        if is_over && self.control_head == self.control_boundary {
            (self.control_turn, self.data_turn) = (None, TURN);
        }
    }

    fn consume_data(&mut self, written: usize, pool: &mut Pool) {
        self.data_bytes -= written;
        self.data_written += written as u64;
        let mut left = written;
        while left > 0 {
            let Some(front) = self.data.front() else { break };
            let there = front.len() - self.head;
            if left < there {
                self.head += left;
                self.boundary = boundary_after(front, self.boundary, self.head);
                break;
            }
            left -= there;
            self.head = 0;
            self.boundary = 0;
            if let Some(chunk) = self.data.pop_front() {
                pool.give(chunk);
            }
        }
        while self
            .marks
            .front()
            .is_some_and(|(end, _)| *end <= self.data_written)
        {
            self.marks.pop_front();
        }
    }

    /// Take back the data packets of which nothing was written, in order. What was begun stays.
    pub fn take_unwritten(&mut self) -> Vec<Vec<u8>> {
        let mut chunks: Vec<_> = self.data.drain(..).collect();
        self.data_bytes = 0;
        self.marks.clear();
        if let (Some(front), true) = (chunks.first_mut(), self.boundary > 0) {
            let whole = front.split_off(self.boundary.min(front.len()));
            let begun = std::mem::replace(front, whole);
            self.data_bytes = begun.len() - self.head;
            if self.data_bytes > 0 {
                self.data.push_back(begun);
            } else {
                (self.head, self.boundary) = (0, 0);
            }
        }
        chunks.retain(|chunk| !chunk.is_empty());
        chunks
    }
}

#[cfg(test)]
mod tests;
