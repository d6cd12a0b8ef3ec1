//! What comes in over links: to the TUN, on to other links, up to Python.

mod host;

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zosnet_core::fib::Entry;
use zosnet_core::forward::{self, DropReason, FromLink};
use zosnet_core::frame::{self, DATA_HEADER, DataHeader, Frame, FrameError, Kind, MAX_PACKET, PACKET_HEADER};
use zosnet_core::icmp::Problem;
use zosnet_core::inner::{self, INNER_HEADER, InnerType};
use zosnet_core::waiting::{Origin, Pushed};

use crate::counters::Counter;
use crate::handoff::LinkId;
use crate::keeper::ToKeeper;
use crate::link::{LinkState, bump};
use crate::shared::Shared;
use crate::sys;

use super::road::is_frame_address;
use super::sessions::Sessions;
use super::{Lane, pace};

/// Bytes taken from a link at once: what is opened should still be in the second-level cache when it is written (a
/// guess).
const READ: usize = 256 << 10;
/// The same while it sends no bulk of data: so much at most is left over when Python is behind (a guess).
const READ_CONTROL: usize = 16 << 10;
/// Room for that, behind the start of a packet that came with the last read.
pub const SCRATCH: usize = READ + MAX_PACKET;
/// Where the inner packet begins in a data packet.
const INNER_AT: usize = PACKET_HEADER + DATA_HEADER + INNER_HEADER;

/// Consecutive data packets that go out through the same link, still in the buffer.
#[derive(Default)]
struct Run {
    link: LinkId,
    range: Range<usize>,
    count: usize,
}

/// Whether a payload of Mycelium's suite is taken from the node of `sender`: only while nothing shows that it can do
/// better. What shows it makes us begin a session.
fn is_welcome(sessions: &mut Sessions, shared: &Shared, sender: &Entry, plaintext: &[u8], now: f64) -> bool {
    let says_so = inner::speaks_sessions(plaintext);
    // Errors of relays have no session to come through, so they show nothing.
    let is_error = matches!(plaintext.get(1), Some(kind) if *kind == InnerType::Icmp as u8);
    let matters = says_so || !is_error && sessions.may_be_pinned(&sender.public);
    if !shared.suite || !matters {
        return true;
    }
    let peer = shared.peers.of(&sender.public);
    if peer.ask(now) {
        let _ = shared.keeper.post(ToKeeper::Plain(sender.public, says_so));
    }
    is_error || !peer.pinned.load(Relaxed)
}

/// What was worked on.
pub(super) struct Taken {
    bytes: usize,
    /// Bytes of data packets among them.
    data: usize,
}

impl Lane {
    /// Take what one read of `id` gives.
    pub(super) fn read_link(&mut self, id: LinkId, error: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.read_into(id, error, &mut scratch);
        self.scratch = scratch;
    }

    fn read_into(&mut self, id: LinkId, error: bool, scratch: &mut [u8]) {
        let Some(link) = self.carrier.link(id) else { return };
        if link.paused {
            // Not read, so this is news only if the connection broke. What it still holds can't be answered any more.
            if error {
                let reason = link.stream.take_error().ok().flatten();
                let reason =
                    reason.map_or_else(|| "closed by the other end".to_owned(), |why| sys::reason(&why));
                self.carrier.doom(id, reason);
            }
            return;
        }
        let head = link.leftover.len();
        let most = head + if link.bulk { READ } else { READ_CONTROL };
        let read = match scratch.get_mut(head..most).map(|room| (&*link.stream).read(room)) {
            Some(Ok(read)) if read > 0 => read,
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => return,
            Some(Err(error)) => return self.carrier.doom(id, sys::reason(&error)),
            _ => return self.carrier.doom(id, "closed by the other end"),
        };
        let leftover = std::mem::take(&mut link.leftover);
        let state = Arc::clone(&link.state);
        bump(&state.figures.rx_bytes, read as u64);
        let Some(filled) = scratch.get_mut(..head + read) else {
            return;
        };
        if let Some(start) = filled.get_mut(..head) {
            start.copy_from_slice(&leftover);
        }
        self.work_on(id, &state, filled);
    }

    /// Work on what came in over a link of this lane; what is not worked on is left over.
    fn work_on(&mut self, id: LinkId, state: &Arc<LinkState>, bytes: &mut [u8]) {
        match self.process(Some(state), bytes) {
            Ok(taken) => {
                let rest = bytes.get(taken.bytes..).unwrap_or_default();
                if let Some(link) = self.carrier.link(id) {
                    link.leftover = rest.to_vec();
                    if taken.bytes > 0 {
                        link.bulk = taken.data > taken.bytes / 2;
                        link.prove_by = None;
                    }
                }
            }
            Err(error) => {
                self.count(Counter::Garbage, 1);
                self.carrier.doom(id, error.to_string());
            }
        }
    }

    /// Python has caught up with `id`: first comes what was read of it already.
    pub(super) fn read_again(&mut self, id: LinkId) {
        if let Some(held) = self.held.remove(&id) {
            self.bytes_in(id, held, self.carrier.now);
            if let (false, Some(remote)) = (self.held.contains_key(&id), self.shared.remote.get()) {
                remote.pause(id, false);
            }
        }
        let Some(link) = self.carrier.link(id) else { return };
        link.paused = false;
        let (mut bytes, state) = (std::mem::take(&mut link.leftover), Arc::clone(&link.state));
        self.work_on(id, &state, &mut bytes);
        self.carrier.rewatch(&self.epoll, id);
    }

    /// Whole packets of a link of a transport beside the lanes.
    pub(super) fn bytes_in(&mut self, id: LinkId, mut packets: Vec<u8>, at: f64) {
        let Some(state) = self.carrier.known.get(&id).map(Arc::clone) else {
            return;
        };
        let now = std::mem::replace(&mut self.carrier.now, at);
        let outcome = self.process(Some(&state), &mut packets);
        self.carrier.now = now;
        if let (Err(_), Some(remote)) = (outcome, self.shared.remote.get()) {
            remote.close(id);
        }
    }

    /// Work on the whole packets at the start of `buffer`, up to the one by which a link of this lane is paused.
    ///
    /// # Errors
    /// The stream can't be followed further. What came before was worked on.
    pub(super) fn process(
        &mut self,
        from: Option<&Arc<LinkState>>,
        buffer: &mut [u8],
    ) -> Result<Taken, FrameError> {
        let mut run = Run::default();
        let (mut at, mut packets, mut data) = (0, 0, 0);
        let outcome = loop {
            match frame::next(buffer, at) {
                Ok(Some(frame)) => {
                    at = frame.end;
                    packets += 1;
                    match frame.kind {
                        Kind::Data => {
                            data += frame.end - frame.start;
                            let link = from.map(|state| state.up.link);
                            self.data_in(buffer, &frame, &mut run, link);
                        }
                        Kind::Control => {
                            if self.control_in(from, buffer.get(frame.start..frame.end)) {
                                break Ok(at);
                            }
                        }
                    }
                }
                Ok(None) => break Ok(at),
                Err(error) => break Err(error),
            }
        };
        self.end_run(&mut run, buffer);
        self.deliver(buffer);
        if at < packets * pace::SMALL_FRAME {
            self.pace.took(packets);
        }
        if let Some(state) = from {
            bump(&state.figures.rx_packets, packets as u64);
            if data > 0 {
                self.carrier.touch(state.up.link);
            }
        }
        outcome.map(|bytes| Taken { bytes, data })
    }

    /// Pass a control packet up. Whether nothing more of this link of this lane may be worked on.
    fn control_in(&mut self, from: Option<&Arc<LinkState>>, packet: Option<&[u8]>) -> bool {
        let (Some(state), Some(packet)) = (from, packet) else {
            return false;
        };
        let (id, now) = (state.up.link, self.carrier.now);
        if let Some(held) = self.held.get_mut(&id) {
            held.extend_from_slice(packet);
            return false;
        }
        self.count(Counter::ControlRx, 1);
        let (event, full) = self.shared.control_up(state, packet, now);
        self.carrier.events.push(event);
        full && self.pause(id)
    }

    /// Read no more from `id` until Python has caught up. Whether it is a link of this lane.
    ///
    /// Of a remote link more is on its way, and data in it that goes on: its control packets are held as they are.
    fn pause(&mut self, id: LinkId) -> bool {
        if let Some(link) = self.carrier.link(id) {
            link.paused = true;
            self.carrier.rewatch(&self.epoll, id);
            return true;
        }
        if let Some(remote) = self.shared.remote.get() {
            self.held.entry(id).or_default();
            remote.pause(id, true);
        }
        false
    }

    fn data_in(&mut self, buffer: &mut [u8], frame: &Frame, run: &mut Run, from: Option<LinkId>) {
        let Some(packet) = buffer.get_mut(frame.start..frame.end) else {
            return;
        };
        let table = Arc::clone(&self.table);
        let Ok((header, payload)) = DataHeader::parse_packet(packet) else {
            return;
        };
        if is_frame_address(&header.dst) && self.node.owns(&header.dst) {
            let payload = frame.start + PACKET_HEADER + DATA_HEADER..frame.end;
            return self.wrapped_in(buffer, &header, payload, from, 0);
        }
        match forward::from_link(&self.node, &table, &header, |link| self.carrier.reach(link)) {
            FromLink::Open { sender, hop_limit } => match self.sessions.of(sender) {
                Ok(session) => match session.open(payload) {
                    Ok(plaintext) => {
                        if !is_welcome(
                            &mut self.sessions,
                            &self.shared,
                            sender,
                            plaintext,
                            self.carrier.now,
                        ) {
                            return self.carrier.dropped(DropReason::Downgraded, 1);
                        }
                        let opened = forward::opened(&self.node, &header, hop_limit, plaintext);
                        if let Some(length) = self.opened(&header, opened, &sender.public) {
                            let inner = frame.start + INNER_AT;
                            self.coalescer.push(buffer, inner..inner + length);
                        }
                    }
                    Err(_) => self.carrier.dropped(DropReason::NotAuthentic, 1),
                },
                Err(_) => self.carrier.dropped(DropReason::LowOrderKey, 1),
            },
            FromLink::Forward { link, hop_limit } => {
                let _ = frame::prepare_forward(packet, hop_limit);
                if run.link != link || run.range.end != frame.start {
                    self.end_run(run, buffer);
                    *run = Run {
                        link,
                        range: frame.start..frame.start,
                        count: 0,
                    };
                }
                run.range.end = frame.end;
                run.count += 1;
            }
            FromLink::AwaitKey { .. } => {
                if self.hold(Origin::Incoming, &header, packet) == Pushed::Full {
                    self.carrier.dropped(DropReason::WaitingFull, 1);
                }
            }
            FromLink::AwaitRoute { .. } => {
                if self.hold(Origin::Transit, &header, packet) == Pushed::Full {
                    self.carrier.dropped(DropReason::WaitingFull, 1);
                    self.report_packet(Problem::NoRoute, buffer, frame);
                }
            }
            FromLink::Report { problem, .. } => {
                match problem {
                    Problem::HopLimit => self.count(Counter::HopLimit, 1),
                    _ => self.carrier.dropped(DropReason::NoRoute, 1),
                }
                self.report_packet(problem, buffer, frame);
            }
            FromLink::Drop(why) => self.carrier.dropped(why, 1),
        }
    }

    fn report_packet(&mut self, problem: Problem, buffer: &mut [u8], frame: &Frame) {
        let Some(packet) = buffer.get_mut(frame.start..frame.end) else {
            return;
        };
        if let Ok((header, payload)) = DataHeader::parse_packet(packet) {
            self.report(problem, &header, payload);
        }
    }

    /// Send a run on.
    fn end_run(&mut self, run: &mut Run, buffer: &[u8]) {
        let Run { link, range, count } = std::mem::take(run);
        if let Some(packets) = buffer.get(range).filter(|packets| !packets.is_empty()) {
            self.count(Counter::Forwarded, count as u64);
            self.count(Counter::ForwardedBytes, packets.len() as u64);
            self.carrier.pass_on(link, packets, count);
        }
    }
}
