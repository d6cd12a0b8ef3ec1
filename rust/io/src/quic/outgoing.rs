//! From the queue of a link to its connection: control packets on the stream, data packets in datagrams.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use quinn::{Connection, SendDatagramError, SendStream, WriteError};
use zosnet_core::frame::{self, DATA_HEADER, Kind, PACKET_HEADER};

use crate::packets::count_packets;

use super::config::SEND_WINDOW;
use super::link::Link;
use super::queue::Delay;

/// Bytes for the stream that may wait for quinn; data beyond it waits in the queue, where its age is judged.
const STREAM_PENDING: usize = 64 << 10;
/// What quinn counts for a datagram besides its bytes.
const DATAGRAM_COST: usize = size_of::<Bytes>();
/// How often the stream's send window follows the congestion window.
const WINDOW_INTERVAL: Duration = Duration::from_millis(20);
/// How long smaller packets of a flow follow its large ones onto the stream, so that they don't overtake them.
const FOLLOW: Duration = Duration::from_millis(50);

/// The sending half of a link.
pub struct Outgoing {
    stream: SendStream,
    pending: BytesMut,
    batch: Option<Remainder>,
    blocked: Option<Bytes>,
    delay: Delay,
    followed: Option<(Bytes, Instant)>,
    window_at: Option<Instant>,
}

/// What is left of a batch.
struct Remainder {
    packets: Bytes,
    since: Instant,
    more: bool,
}

/// What became of one packet.
enum Fate {
    Sent,
    /// Quinn has no room; the packet is kept.
    Blocked,
    /// The connection is gone.
    Lost,
}

/// How much one pumping moved.
#[derive(Debug, Default, Clone, Copy)]
pub struct Moved {
    packets: u64,
    bytes: usize,
    dropped: u64,
    /// Data packets that went to the stream.
    pub on_stream: u64,
}

impl Moved {
    fn sent(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes;
    }

    /// Whether anything was handed to quinn or is about to be.
    pub fn any(&self) -> bool {
        self.packets > 0
    }

    /// Packets that were too old.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Outgoing {
    /// The sending half of the link that `stream` belongs to.
    pub fn new(stream: SendStream) -> Self {
        Self {
            stream,
            pending: BytesMut::new(),
            batch: None,
            blocked: None,
            delay: Delay::default(),
            followed: None,
            window_at: None,
        }
    }

    /// Hand over as much as quinn takes now.
    pub fn pump(&mut self, link: &Link) -> Moved {
        let now = Instant::now();
        let mut moved = Moved::default();
        self.take_control(link, &mut moved);
        let connection = &link.connection;
        let largest = connection.max_datagram_size().unwrap_or(0);
        let mut room = connection.datagram_send_buffer_space();
        while self.blocked.is_none() && self.pending.len() < STREAM_PENDING {
            let Some((packet, kind)) = self.next(link, now, &mut moved) else {
                break;
            };
            let size = packet.len();
            let by_stream = kind == Kind::Control || size > largest || self.follows(&packet, now);
            if by_stream {
                self.put_on_stream(&packet, kind, size > largest, now, &mut moved);
                continue;
            }
            if room < size {
                room = connection.datagram_send_buffer_space();
            }
            match self.put_in_datagram(connection, packet, room, now, &mut moved) {
                Fate::Sent => room = room.saturating_sub(size + DATAGRAM_COST),
                Fate::Blocked | Fate::Lost => break,
            }
        }
        if !self.pending.is_empty() {
            self.follow_window(connection, now);
        }
        self.account(link, moved);
        moved
    }

    fn take_control(&mut self, link: &Link, moved: &mut Moved) {
        let control = link.take_control();
        if !control.is_empty() {
            moved.packets += count_packets(&control) as u64;
            moved.bytes += control.len();
            self.pending.extend_from_slice(&control);
        }
    }

    fn account(&self, link: &Link, moved: Moved) {
        link.held.store(self.held(), Relaxed);
        if moved.packets > 0 {
            link.sent.add(moved.packets, moved.bytes);
        }
        if moved.dropped > 0 {
            link.dropped.fetch_add(moved.dropped, Relaxed);
        }
    }

    fn held(&self) -> usize {
        let batch = self.batch.as_ref().map_or(0, |rest| rest.packets.len());
        self.pending.len() + batch + self.blocked.as_ref().map_or(0, Bytes::len)
    }

    /// The next packet that isn't too old.
    fn next(&mut self, link: &Link, now: Instant, moved: &mut Moved) -> Option<(Bytes, Kind)> {
        loop {
            if self.batch.is_none() {
                let (batch, more) = link.pop()?;
                self.batch = Some(Remainder {
                    packets: batch.packets.into(),
                    since: batch.since,
                    more,
                });
            }
            let rest = self.batch.as_mut()?;
            // The lanes hand over whole packets only; anything else ends the batch.
            let Ok(Some(found)) = frame::next(&rest.packets, 0) else {
                self.batch = None;
                continue;
            };
            let packet = rest.packets.split_to(found.end);
            let (since, more) = (rest.since, rest.more || !rest.packets.is_empty());
            if rest.packets.is_empty() {
                self.batch = None;
            }
            if found.kind == Kind::Control || self.delay.admit(since, now, more) {
                return Some((packet, found.kind));
            }
            moved.dropped += 1;
        }
    }

    /// Whether a data packet goes between the same two nodes as a large one that just went to the stream.
    fn follows(&self, packet: &[u8], now: Instant) -> bool {
        let Some((pair, at)) = &self.followed else {
            return false;
        };
        now.saturating_duration_since(*at) < FOLLOW && addresses(packet) == addresses(pair)
    }

    fn put_on_stream(&mut self, packet: &[u8], kind: Kind, large: bool, now: Instant, moved: &mut Moved) {
        if kind == Kind::Data {
            moved.on_stream += 1;
        }
        if kind == Kind::Data && large {
            let header = packet.get(..PACKET_HEADER + DATA_HEADER).unwrap_or_default();
            self.followed = match self.followed.take() {
                Some((pair, _)) if addresses(&pair) == addresses(header) => Some((pair, now)),
                _ => Some((Bytes::copy_from_slice(header), now)),
            };
        }
        self.pending.extend_from_slice(packet);
        moved.sent(packet.len());
    }

    fn put_in_datagram(
        &mut self,
        connection: &Connection,
        packet: Bytes,
        room: usize,
        now: Instant,
        moved: &mut Moved,
    ) -> Fate {
        let size = packet.len();
        if room < size {
            self.blocked = Some(packet);
            return Fate::Blocked;
        }
        match connection.send_datagram(packet.clone()) {
            Ok(()) => moved.sent(size),
            // The path shrank since we asked, or the peer takes none at all.
            Err(
                SendDatagramError::TooLarge
                | SendDatagramError::UnsupportedByPeer
                | SendDatagramError::Disabled,
            ) => {
                self.put_on_stream(&packet, Kind::Data, true, now, moved);
            }
            Err(SendDatagramError::ConnectionLost(_)) => return Fate::Lost,
        }
        Fate::Sent
    }

    /// Stream data that quinn holds delays what comes behind it: hold two congestion windows and no more.
    fn follow_window(&mut self, connection: &Connection, now: Instant) {
        if self
            .window_at
            .is_some_and(|at| now.saturating_duration_since(at) < WINDOW_INTERVAL)
        {
            return;
        }
        self.window_at = Some(now);
        let wanted = connection
            .stats()
            .path
            .cwnd
            .saturating_mul(2)
            .saturating_add(SEND_WINDOW.0);
        connection.set_send_window(wanted.min(SEND_WINDOW.1));
    }

    /// Whether bytes wait for the stream.
    pub fn wants_stream(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Write to the stream. Loses nothing when it is dropped half way.
    pub async fn write(&mut self) -> Result<(), WriteError> {
        let taken = self.stream.write(&self.pending).await?;
        self.pending.advance(taken);
        Ok(())
    }

    /// The datagram that quinn had no room for.
    pub fn blocked(&self) -> Option<Bytes> {
        self.blocked.clone()
    }

    /// That datagram was sent, or turned out to be too large by now.
    pub fn unblocked(&mut self, link: &Link, result: Result<(), SendDatagramError>) {
        let Some(packet) = self.blocked.take() else { return };
        let mut moved = Moved::default();
        match result {
            Ok(()) => moved.sent(packet.len()),
            Err(_) => self.put_on_stream(&packet, Kind::Data, true, Instant::now(), &mut moved),
        }
        self.account(link, moved);
    }

    /// Write the control packets that wait and see them acknowledged. Data is left behind.
    pub async fn finish(mut self, link: &Link) {
        let control = link.take_control();
        self.pending.extend_from_slice(&control);
        while !self.pending.is_empty() {
            if self.write().await.is_err() {
                return;
            }
        }
        if self.stream.finish().is_ok() {
            let _ = self.stream.stopped().await;
        }
    }
}

/// Source and destination of a data packet, if it is long enough to have them.
fn addresses(packet: &[u8]) -> Option<&[u8]> {
    packet.get(PACKET_HEADER + 4..PACKET_HEADER + DATA_HEADER)
}
