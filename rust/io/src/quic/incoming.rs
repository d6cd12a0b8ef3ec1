//! From a connection to the lanes: datagrams and stream bytes become batches of whole packets.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{Connection, ReadError, RecvStream};
use zosnet_core::frame::{self, FrameError, Kind};

/// A batch is handed over at this size, even when more is there.
const BATCH: usize = 256 << 10;
/// Bytes taken from the stream at once.
const CHUNK: usize = 64 << 10;

/// Why nothing more comes from the stream.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// The peer ended its half.
    #[error("closed by the peer")]
    Finished,
    /// The connection or the stream broke.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// What came isn't a packet.
    #[error("unreadable stream: {0}")]
    Frame(#[from] FrameError),
}

/// The receiving half of a link. Memory is bounded by one batch and one packet.
pub struct Incoming {
    stream: RecvStream,
    partial: Vec<u8>,
    batch: Vec<u8>,
    packets: u64,
    /// Datagrams that held no single whole packet.
    pub undecodable: u64,
    /// Control packets in datagrams that came while the link was paused.
    pub unwanted: u64,
    /// Datagrams taken from the connection so far, good or bad.
    pub taken: u64,
}

impl Incoming {
    /// The receiving half of the link that `stream` belongs to.
    pub fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            partial: Vec::new(),
            batch: Vec::new(),
            packets: 0,
            undecodable: 0,
            unwanted: 0,
            taken: 0,
        }
    }

    /// Take a datagram, and others that are there. Control packets are refused while the link is paused.
    ///
    /// Returns how many datagrams quinn had to drop since the connection began, when none is left and that is certain.
    pub fn datagrams(&mut self, first: Bytes, connection: &Connection, paused: bool) -> Option<u64> {
        let mut next = Some(first);
        while let Some(datagram) = next {
            self.taken += 1;
            self.datagram(&datagram, paused);
            if self.batch.len() >= BATCH {
                return None;
            }
            next = at_once(connection.read_datagram()).and_then(Result::ok);
        }
        Some(connection.stats().frame_rx.datagram.saturating_sub(self.taken))
    }

    fn datagram(&mut self, datagram: &[u8], paused: bool) {
        match frame::next(datagram, 0) {
            Ok(Some(found)) if found.end == datagram.len() => {
                if paused && found.kind == Kind::Control {
                    self.unwanted += 1;
                    return;
                }
                self.batch.extend_from_slice(datagram);
                self.packets += 1;
            }
            _ => self.undecodable += 1,
        }
    }

    /// Wait for stream bytes. Loses nothing when it is dropped half way.
    pub async fn chunk(&mut self) -> Result<Bytes, StreamEnd> {
        match self.stream.read_chunk(CHUNK, true).await? {
            Some(chunk) => Ok(chunk.bytes),
            None => Err(StreamEnd::Finished),
        }
    }

    /// Take stream bytes, and all others that are there.
    pub fn stream(&mut self, first: &[u8]) -> Result<(), StreamEnd> {
        self.bytes(first)?;
        while self.batch.len() < BATCH {
            let Some(chunk) = at_once(self.chunk()) else { break };
            self.bytes(&chunk?)?;
        }
        Ok(())
    }

    /// Move the whole packets out of what came and keep the rest.
    fn bytes(&mut self, chunk: &[u8]) -> Result<(), FrameError> {
        if self.partial.is_empty() {
            let end = whole(chunk, &mut self.packets)?;
            let (packets, rest) = chunk.split_at(end);
            self.batch.extend_from_slice(packets);
            self.partial.extend_from_slice(rest);
            return Ok(());
        }
        self.partial.extend_from_slice(chunk);
        let end = whole(&self.partial, &mut self.packets)?;
        self.batch.extend(self.partial.drain(..end));
        Ok(())
    }

    /// The packets gathered so far, and how many they are.
    pub fn take(&mut self) -> Option<(Vec<u8>, u64)> {
        if self.batch.is_empty() {
            return None;
        }
        Some((std::mem::take(&mut self.batch), std::mem::take(&mut self.packets)))
    }
}

/// Length of the whole packets at the start of `buf`.
fn whole(buf: &[u8], packets: &mut u64) -> Result<usize, FrameError> {
    let mut at = 0;
    while let Some(found) = frame::next(buf, at)? {
        at = found.end;
        *packets += 1;
    }
    Ok(at)
}

/// The result of a future that need not wait.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
