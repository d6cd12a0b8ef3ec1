//! How links do: whether what is sent gets acknowledged, whether data flows, and how they end.
//!
//! Only links with something on its way are looked at; a quiet node has no timer.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zosnet_core::silence::patience;

use crate::counters::Counter;
use crate::events::Event;
use crate::handoff::LinkId;
use crate::sys::{self, Epoll};

use super::carrier::Carrier;

/// How often a link with data under way is looked at, in seconds.
const WATCH_EVERY: f64 = 0.025;
/// The least silence that counts as a stall while segments are on their way, in seconds: more than delayed
/// acknowledgements take (40 ms). Acknowledgements are the kernel's work, so a starved neighbour still sends them.
const SILENT_FLOOR: f64 = 0.1;
/// The same while the neighbour's window is closed, because its program doesn't read: that may well be starved.
const DEAF_FLOOR: f64 = 0.4;
/// No data for so long, in seconds: the link is idle.
const IDLE_AFTER: f64 = 3.0;
/// Reads that empty a receive buffer before the connection is closed.
const PARTING_READS: usize = 32;

/// Whether what was sent gets acknowledged.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) watching: bool,
    /// Bytes acknowledged, and segments beyond a gap.
    acked: (u64, u32),
    at: f64,
}

impl Carrier {
    /// Data flows on `id`.
    pub fn touch(&mut self, id: LinkId) {
        let Some(state) = self.known.get(&id) else { return };
        state.last_data.store((self.now * 1000.0) as u64, Relaxed);
        if !state.busy.load(Relaxed) && !state.busy.swap(true, Relaxed) {
            self.events.push(Event::Busy(id, true, self.now));
            self.busy.push(Arc::clone(state));
            self.timer = self.timer.min(self.now + IDLE_AFTER);
        }
    }

    /// Begin to watch whether what is on its way gets acknowledged.
    pub(super) fn watch(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.progress.watching) else {
            return;
        };
        link.progress.watching = true;
        link.progress.at = self.now;
        self.timer = self.timer.min(self.now + WATCH_EVERY);
    }

    /// Say goodbye: what was written must arrive. Unread bytes would make the kernel reset the connection instead.
    pub fn part(&mut self, id: LinkId, scratch: &mut [u8]) {
        let Some(link) = self.links.get(&id) else { return };
        drop(link.stream.shutdown(std::net::Shutdown::Write));
        for _ in 0..PARTING_READS {
            if !matches!((&*link.stream).read(scratch), Ok(read) if read > 0) {
                return;
            }
        }
    }

    /// Close `id`: routes flip at once. Gives back the data packets that were not begun.
    pub fn close(&mut self, epoll: &Epoll, id: LinkId, reason: &str) -> Vec<Vec<u8>> {
        let Some(mut link) = self.links.remove(&id) else {
            return Vec::new();
        };
        // Closing the descriptor removes it anyway; `links()` may hold it a moment longer.
        drop(epoll.remove(link.stream.as_fd()));
        self.shared.remove_link(id, reason);
        self.shared.unload(self.lane);
        self.refresh();
        link.out.take_unwritten()
    }

    /// What is due: stalls, idle links, silent inbound links. Gives back data packets that may take another way.
    pub fn tick(&mut self) -> Vec<Vec<u8>> {
        let mut stranded = Vec::new();
        for id in self.ids() {
            self.check_proof(id);
            stranded.append(&mut self.check_progress(id));
        }
        let now = self.now;
        let mut next = f64::INFINITY;
        let mut events = Vec::new();
        self.busy.retain(|state| {
            let due = state.last_data.load(Relaxed) as f64 / 1000.0 + IDLE_AFTER;
            let over = due <= now;
            if over && !state.dead.load(Relaxed) {
                events.push(Event::Busy(state.up.link, false, now));
            }
            if over {
                state.busy.store(false, Relaxed);
            } else {
                next = next.min(due);
            }
            !over
        });
        self.events.append(&mut events);
        self.wake_at(next);
        stranded
    }

    fn check_proof(&mut self, id: LinkId) {
        let Some(at) = self.links.get(&id).and_then(|link| link.prove_by) else {
            return;
        };
        if at <= self.now {
            self.count(Counter::Silent, 1);
            self.doom(id, "no packet came in time");
        } else {
            self.wake_at(at);
        }
    }

    fn check_progress(&mut self, id: LinkId) -> Vec<Vec<u8>> {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.progress.watching) else {
            return Vec::new();
        };
        let Ok(info) = sys::tcp_info(link.stream.as_fd()) else {
            return Vec::new();
        };
        let done = info.unacked == 0 && info.notsent == 0 && link.out.is_empty();
        // What is acknowledged beyond a gap shows as much: while that is filled, nothing else moves for a round trip.
        let acked = (info.bytes_acked, info.sacked);
        if done || acked != link.progress.acked {
            link.progress.acked = acked;
            link.progress.at = now;
            if link.state.stalled.swap(false, Relaxed) {
                self.events.push(Event::Stalled(id, false, now));
            }
        }
        link.progress.watching = !done;
        if done {
            return Vec::new();
        }
        self.timer = self.timer.min(now + WATCH_EVERY);
        let floor = if info.unacked > 0 {
            SILENT_FLOOR
        } else {
            DEAF_FLOOR
        };
        let usual = 3.0 * info.rtt + 4.0 * info.rttvar;
        let limit = patience(usual, floor, info.smallest_rtt, info.rtt);
        if now - link.progress.at < limit || link.state.stalled.swap(true, Relaxed) {
            return Vec::new();
        }
        self.events.push(Event::Stalled(id, true, now));
        link.out.take_unwritten()
    }

    /// Flush as far as sockets take it. Whether nothing waits any more.
    pub fn drained(&mut self) -> bool {
        for id in self.ids() {
            self.flush_link(id);
        }
        self.links.values().all(|link| link.out.is_empty())
    }
}
