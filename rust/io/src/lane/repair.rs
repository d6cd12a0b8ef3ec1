//! Repairs of what lossy links swallow: sent after groups of frames, and used on those that came.

use std::ops::Range;
use std::sync::Arc;

use zosnet_core::datagram::LANE_SHIFT;
use zosnet_core::forward::DropReason;
use zosnet_core::repair::{Group, Malformed, Mender};
use zosnet_core::session::compact::HEADROOM;
use zosnet_core::session::{ENTRY_HEADER, EntryKind, Transport};

use crate::class::not_capable;
use crate::counters::Counter;
use crate::peers::Inbound;

use super::Lane;
use super::datagrams::Arrival;
use super::frames::add_entry;
use super::road::Road;

/// Nodes that repairs are sent to at a time: to others frames go as they would without.
const GROUPS: usize = 16;
/// Lanes of others whose frames are kept. The one that was heard longest ago makes room.
const MENDERS: usize = 32;
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

    /// Let go of keys that are retired.
    pub(super) fn let_go(&mut self) {
        self.sending.retain(|to| !to.transport.is_dead());
    }

    /// A repair came in a frame under `counter`: what it gives back.
    fn take(
        &mut self,
        index: u32,
        counter: u64,
        body: &[u8],
        now: f64,
    ) -> Result<Vec<(u64, Vec<u8>)>, Malformed> {
        if let Some(from) = self.receiving_from(index, counter) {
            return from.mender.repair(counter, body, now);
        }
        let mut mender = Mender::new(now);
        let found = mender.repair(counter, body, now)?;
        if self.receiving.len() >= MENDERS {
            let heard = |at: &usize| self.receiving.get(*at).map_or(0.0, |from| from.mender.deadline());
            let oldest = (0..self.receiving.len()).min_by(|one, other| heard(one).total_cmp(&heard(other)));
            oldest.map(|at| self.receiving.swap_remove(at));
        }
        let lane = counter >> LANE_SHIFT;
        self.receiving.push(Receiving { index, lane, mender });
        Ok(found)
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
            self.send_repairs(transport, road, not_capable(class), &bodies);
        } else if let Some(due) = group.deadline() {
            self.carrier.wake_at(due);
        }
    }

    /// Send the repairs of the group that this road's frames are in now.
    pub(super) fn close_group(&mut self, transport: &Arc<Transport>, road: &Road) {
        let is_it = |to: &&mut Sending| Arc::ptr_eq(&to.transport, transport);
        if let Some(to) = self.repair.sending.iter_mut().find(is_it) {
            let (class, bodies) = (to.class, to.group.close());
            self.send_repairs(transport, road, class, &bodies);
        }
    }

    /// Nothing repairs a repair, and one that doesn't fit any more is of no use.
    fn send_repairs(&mut self, transport: &Arc<Transport>, road: &Road, class: u8, bodies: &[Vec<u8>]) {
        for body in bodies {
            let length = ENTRY_HEADER + 1 + body.len();
            if length > road.room() {
                return;
            }
            let sent = self.emit_once(transport, road, class, length, |bytes| {
                add_entry(bytes, EntryKind::Repair, body);
            });
            self.count(Counter::Repairs, u64::from(sent));
        }
    }

    /// Send the repairs of groups that are due, and forget what is of no use any more.
    pub(super) fn repair_tick(&mut self) {
        let now = self.carrier.now;
        if self.repair.sending.is_empty() && self.repair.receiving.is_empty() {
            return;
        }
        // It is one of the group as well.
        self.close_frame();
        let mut due = Vec::new();
        for to in &mut self.repair.sending {
            match to.group.deadline() {
                Some(at) if now >= at => {
                    due.push((Arc::clone(&to.transport), to.class, to.group.close()));
                }
                Some(at) => self.carrier.wake_at(at),
                None => {}
            }
        }
        for (transport, class, bodies) in due {
            // Counters of keys that were replaced say nothing under the new ones.
            if let Some((current, road)) = self.road_of_entries(transport.peer())
                && Arc::ptr_eq(&current, &transport)
                && road.is_repaired()
            {
                self.send_repairs(&transport, &road, class, &bodies);
                self.settle_outbox(false);
            }
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
        let body = buffer.get(body).unwrap_or_default();
        let Ok(found) = self.repair.take(index, counter, body, now) else {
            return self.carrier.dropped(DropReason::BadInner, 1);
        };
        self.carrier.wake_at(now + IDLE);
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
