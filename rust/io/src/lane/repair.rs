//! Repairs of what lossy links swallow: sent after groups of frames, and used on those that came.

use std::ops::Range;
use std::sync::Arc;

use zosnet_core::datagram::LANE_SHIFT;
use zosnet_core::forward::DropReason;
use zosnet_core::repair::{Group, Mender};
use zosnet_core::session::compact::HEADROOM;
use zosnet_core::session::{self, ENTRY_HEADER, EntryKind, Transport};

use crate::class::not_capable;
use crate::counters::Counter;
use crate::peers::Inbound;

use super::Lane;
use super::datagrams::Arrival;
use super::road::Road;

/// Nodes that repairs are sent to at a time, and lanes of others whose frames are kept: beyond them frames go and come
/// as they would without.
const GROUPS: usize = 16;
const MENDERS: usize = 16;
/// A group that nothing was added to for so long is forgotten, in seconds, and its keys with it.
const IDLE: f64 = 1.0;

/// Frames for one node that are to be repaired.
struct Sending {
    transport: Arc<Transport>,
    class: u8,
    group: Group,
    used: f64,
}

/// Frames of one lane of a node, as they came.
struct Receiving {
    index: u32,
    lane: u64,
    mender: Mender,
}

/// What a lane has of both.
#[derive(Default)]
pub(super) struct Repair {
    sending: Vec<Sending>,
    receiving: Vec<Receiving>,
    /// Memory for the copy of a frame.
    spare: Vec<u8>,
}

impl Repair {
    /// Memory for a copy, empty.
    pub(super) fn spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    pub(super) fn give_back(&mut self, mut spare: Vec<u8>) {
        spare.clear();
        self.spare = spare;
    }

    /// A frame was opened: of a lane that sends repairs it is kept for a moment.
    #[inline]
    pub(super) fn keep(&mut self, index: u32, counter: u64, entries: &[u8]) {
        if !self.receiving.is_empty()
            && let Some(from) = self.receiving_from(index, counter)
        {
            from.mender.keep(counter, entries);
        }
    }

    fn receiving_from(&mut self, index: u32, counter: u64) -> Option<&mut Receiving> {
        let lane = counter >> LANE_SHIFT;
        self.receiving
            .iter_mut()
            .find(|from| (from.index, from.lane) == (index, lane))
    }

    /// The group of frames for the node with these keys.
    fn group(&mut self, transport: &Arc<Transport>, class: u8, now: f64) -> Option<&mut Sending> {
        let known = self
            .sending
            .iter()
            .position(|to| Arc::ptr_eq(&to.transport, transport));
        let at = known.or_else(|| {
            (self.sending.len() < GROUPS).then(|| {
                self.sending.push(Sending {
                    transport: Arc::clone(transport),
                    class,
                    group: Group::default(),
                    used: now,
                });
                self.sending.len() - 1
            })
        })?;
        let sending = self.sending.get_mut(at)?;
        (sending.class, sending.used) = (class, now);
        Some(sending)
    }
}

impl Lane {
    /// A frame was sealed under `counter` for a lossy link: repairs of it are to follow.
    pub(super) fn protect(
        &mut self,
        transport: &Arc<Transport>,
        road: &Road,
        class: u8,
        counter: u64,
        entries: &[u8],
    ) {
        let now = self.carrier.now;
        let Some(Sending { group, .. }) = self.repair.group(transport, not_capable(class), now) else {
            return;
        };
        group.add(counter, entries, now);
        if group.is_full() {
            let bodies = group.close();
            for body in &bodies {
                let header = session::entry_header(EntryKind::Repair, body.len());
                let length = ENTRY_HEADER + 1 + body.len();
                let sent = self.emit_once(transport, road, not_capable(class), length, |bytes| {
                    bytes.extend_from_slice(&header);
                    bytes.extend_from_slice(body);
                });
                self.count(Counter::Repairs, u64::from(sent));
            }
        } else if let Some(due) = group.deadline() {
            self.carrier.wake_at(due);
        }
    }

    /// Send the repairs of groups that are due, and forget what is of no use any more.
    pub(super) fn repair_tick(&mut self) {
        let now = self.carrier.now;
        let mut due = Vec::new();
        for to in &mut self.repair.sending {
            match to.group.deadline() {
                Some(at) if now >= at => {
                    let bodies = to.group.close();
                    due.extend(bodies.into_iter().map(|body| (*to.transport.peer(), body)));
                }
                Some(at) => self.carrier.wake_at(at),
                None => {}
            }
        }
        for (key, body) in due {
            self.count(Counter::Repairs, 1);
            self.entry_by_route(&key, EntryKind::Repair, &body);
        }
        let Repair {
            sending, receiving, ..
        } = &mut self.repair;
        sending.retain(|to| now < to.used + IDLE && !to.transport.is_dead());
        receiving.retain(|from| now < from.mender.deadline());
        let ends = sending.iter().map(|to| to.used + IDLE);
        for at in ends.chain(receiving.iter().map(|from| from.mender.deadline())) {
            self.carrier.wake_at(at);
        }
    }

    /// A repair, which lies in `buffer[body]`, came in a frame under `counter`.
    pub(super) fn repair_in(
        &mut self,
        buffer: &[u8],
        body: Range<usize>,
        counter: u64,
        inbound: &Arc<Inbound>,
        arrival: Arrival,
    ) {
        let (index, now) = (inbound.transport.local_index(), self.carrier.now);
        if self.repair.receiving_from(index, counter).is_none() && self.repair.receiving.len() < MENDERS {
            let mender = Mender::new(now);
            self.carrier.wake_at(mender.deadline());
            let lane = counter >> LANE_SHIFT;
            self.repair.receiving.push(Receiving { index, lane, mender });
        }
        let Some(from) = self.repair.receiving_from(index, counter) else {
            return;
        };
        let body = buffer.get(body).unwrap_or_default();
        let Ok(found) = from.mender.repair(counter, body, now) else {
            return self.carrier.dropped(DropReason::BadInner, 1);
        };
        if found.is_empty() {
            return;
        }
        // Frames of another buffer, so what waits of this one goes first.
        self.deliver(buffer);
        for (counter, entries) in found {
            if !inbound.transport.recover(counter) {
                continue;
            }
            self.count(Counter::Repaired, 1);
            let mut frame = [&[0; HEADROOM][..], &entries].concat();
            let whole = HEADROOM..frame.len();
            // A repair among what is repaired there is none.
            self.entries_in(&mut frame, whole, inbound, arrival);
            self.deliver(&frame);
        }
    }
}
