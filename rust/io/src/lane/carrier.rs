//! The links of one lane, and the way to all others: everything that is to be sent goes through here.

use std::collections::HashMap;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zosnet_core::forward::{DropReason, LinkState as Reach};
use zosnet_core::frame;

use crate::counters::Counter;
use crate::events::Event;
use crate::handoff::LinkId;
use crate::link::{Home, LinkState, Links, bump};
use crate::outqueue::{OutQueue, Pool};
use crate::shared::{Shared, ToLane};
use crate::sys::{self, Epoll, Ready};

use super::Token;

/// Data that waits for a link before it is written within a turn: what was sealed is still in the cache.
const FLUSH_AT: usize = 128 << 10;
/// How often a link with data under way is looked at, in seconds.
const WATCH_EVERY: f64 = 0.03;
/// The least silence that counts as a stall, in seconds: delayed acknowledgements take up to 40 ms, and a
/// starved machine several times that (100 gave false alarms with all cores busy).
const STALL_FLOOR: f64 = 0.2;
/// No data for so long, in seconds: the link is idle.
const IDLE_AFTER: f64 = 3.0;
/// Reads that empty a receive buffer before the connection is closed.
const PARTING_READS: usize = 32;
/// TLV type of a Hello, and where it stands in a control packet (reference, section 3).
const HELLO: u8 = 4;
/// TLV type of an IHU.
const IHU: u8 = 5;
const TLV_AT: usize = 8;

/// Whether the control packet is a Hello.
pub fn is_hello(packet: &[u8]) -> bool {
    packet.get(TLV_AT) == Some(&HELLO)
}

/// Whether the control packet is an IHU.
pub fn is_ihu(packet: &[u8]) -> bool {
    packet.get(TLV_AT) == Some(&IHU)
}

/// A TCP link, as its lane sees it.
#[derive(Debug)]
pub struct Link {
    /// The connection.
    pub stream: Arc<TcpStream>,
    /// What all threads see.
    pub state: Arc<LinkState>,
    /// What waits to be written.
    pub out: OutQueue,
    /// The start of a packet whose rest is still to come.
    pub leftover: Vec<u8>,
    /// An inbound link must have sent a whole packet by then.
    pub prove_by: Option<f64>,
    /// Not read until Python has caught up.
    pub paused: bool,
    watched: Ready,
    dirty: bool,
    progress: Progress,
}

/// Whether what was sent gets acknowledged.
#[derive(Debug, Default)]
struct Progress {
    watching: bool,
    acked: u64,
    at: f64,
}

/// See the module.
pub struct Carrier {
    /// Shared with all.
    pub shared: Arc<Shared>,
    /// The number of this lane.
    pub lane: usize,
    /// The time of this turn.
    pub now: f64,
    /// When something is due at the latest.
    pub timer: f64,
    /// Events of this turn.
    pub events: Vec<Event>,
    /// All links there are.
    pub known: Arc<Links>,
    known_generation: u64,
    links: HashMap<LinkId, Link>,
    pool: Pool,
    handover: HashMap<LinkId, Vec<u8>>,
    dirty: Vec<LinkId>,
    doomed: Vec<(LinkId, String)>,
    /// Links that this lane called busy.
    busy: Vec<Arc<LinkState>>,
}

impl Carrier {
    /// No links yet.
    pub fn new(shared: Arc<Shared>, lane: usize) -> Self {
        Self {
            known: shared.links.get(),
            shared,
            lane,
            now: sys::now(),
            timer: f64::INFINITY,
            events: Vec::new(),
            known_generation: 0,
            links: HashMap::new(),
            pool: Pool::default(),
            handover: HashMap::new(),
            dirty: Vec::new(),
            doomed: Vec::new(),
            busy: Vec::new(),
        }
    }

    /// Count `by` under `what`.
    pub fn count(&self, what: Counter, by: u64) {
        if let Some(counters) = self.shared.counters.get(self.lane) {
            counters.add(what, by);
        }
    }

    /// Be called at `at` at the latest.
    pub fn wake_at(&mut self, at: f64) {
        self.timer = self.timer.min(at);
    }

    /// See links that came or went elsewhere.
    pub fn refresh(&mut self) {
        let generation = self.shared.links.generation();
        if generation != self.known_generation {
            self.known_generation = generation;
            self.known = self.shared.links.get();
        }
    }

    /// Count `by` packets dropped because of `why`.
    pub fn dropped(&self, why: DropReason, by: u64) {
        if let Some(counters) = self.shared.counters.get(self.lane) {
            counters.drop(why, by);
        }
    }

    /// How `link` does.
    pub fn reach(&self, link: LinkId) -> Reach {
        match self.known.get(&link) {
            None => Reach::Gone,
            Some(state) if state.dead.load(Relaxed) => Reach::Gone,
            Some(state) if state.stalled.load(Relaxed) => Reach::Stalled,
            Some(_) => Reach::Up,
        }
    }

    /// A link of this lane.
    pub fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// The numbers of this lane's links.
    pub fn ids(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    /// Take a new connection as a link of this lane.
    pub fn adopt(
        &mut self,
        epoll: &Epoll,
        stream: Arc<TcpStream>,
        state: Arc<LinkState>,
        prove_by: Option<f64>,
    ) -> std::io::Result<()> {
        let (id, watched) = (
            state.up.link,
            Ready {
                read: true,
                ..Ready::default()
            },
        );
        epoll.add(stream.as_fd(), watched, Token::Link(id).pack())?;
        self.shared.add_link(Arc::clone(&state));
        let (out, leftover) = (OutQueue::default(), Vec::new());
        let (paused, dirty, progress) = (false, false, Progress::default());
        let link = Link {
            stream,
            state,
            out,
            leftover,
            prove_by,
            paused,
            watched,
            dirty,
            progress,
        };
        self.links.insert(id, link);
        if let Some(at) = prove_by {
            self.wake_at(at);
        }
        self.refresh();
        Ok(())
    }

    /// Close `link` at the end of this turn.
    pub fn doom(&mut self, link: LinkId, reason: impl Into<String>) {
        if let Some(link) = self.links.get(&link) {
            link.state.dead.store(true, Relaxed);
        }
        self.doomed.push((link, reason.into()));
    }

    /// Queue whole data packets for a link: `write` appends them and says how many they are. About `bytes`
    /// in all. None: dropped (and counted as one packet), the link is full or gone.
    pub fn append(
        &mut self,
        id: LinkId,
        bytes: usize,
        write: impl FnOnce(&mut Vec<u8>) -> usize,
    ) -> Option<usize> {
        let Some(link) = self.links.get_mut(&id) else {
            return self.hand_over(id, write);
        };
        if !link.out.accepts(bytes, self.now) {
            bump(&link.state.figures.dropped, 1);
            self.dropped(DropReason::LinkFull, 1);
            return None;
        }
        let packets = link.out.append(self.now, &mut self.pool, write);
        bump(&link.state.figures.tx_packets, packets as u64);
        let full = link.out.data_bytes() >= FLUSH_AT;
        self.mark(id);
        self.touch(id);
        if full {
            self.flush_link(id);
        }
        Some(packets)
    }

    fn hand_over(&mut self, id: LinkId, write: impl FnOnce(&mut Vec<u8>) -> usize) -> Option<usize> {
        if !self.known.contains_key(&id) {
            self.count(Counter::LinkGone, 1);
            return None;
        }
        let packets = write(self.handover.entry(id).or_default());
        self.touch(id);
        Some(packets)
    }

    /// Pass on a run of `count` whole data packets: straight to the socket when nothing waits before them.
    pub fn pass_on(&mut self, id: LinkId, run: &[u8], count: usize) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.out.is_empty()) else {
            let appended = self.append(id, run.len(), |tail| {
                tail.extend_from_slice(run);
                count
            });
            if appended.is_none() {
                self.dropped(DropReason::LinkFull, count as u64 - 1);
            }
            return;
        };
        bump(&link.state.figures.tx_packets, count as u64);
        match link
            .out
            .write_through(run, &mut &*link.stream, self.now, &mut self.pool)
        {
            Ok(written) => bump(&link.state.figures.tx_bytes, written as u64),
            Err(error) => return self.doom(id, error.to_string()),
        }
        if !link.out.is_empty() {
            self.mark(id);
        }
        self.watch(id);
        self.touch(id);
    }

    /// Send whole control packets, ahead of data.
    pub fn control(&mut self, id: LinkId, packets: &[u8], hello: bool) {
        self.count(Counter::ControlTx, 1);
        if let Some(link) = self.links.get_mut(&id) {
            if link.out.push_control(packets, hello).is_err() {
                return self.doom(id, "too far behind");
            }
            bump(&link.state.figures.tx_packets, 1);
            self.mark(id);
        }
    }

    fn mark(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id).filter(|link| !link.dirty) {
            link.dirty = true;
            self.dirty.push(id);
        }
    }

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

    /// Write what waits for `id`.
    pub fn flush_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match link.out.write(&mut &*link.stream, &mut self.pool) {
            Ok((written, hello)) => {
                bump(&link.state.figures.tx_bytes, written as u64);
                if hello {
                    link.state.hello_left(sys::now());
                }
            }
            Err(error) => return self.doom(id, error.to_string()),
        }
        self.watch(id);
    }

    /// Begin to watch whether what is on its way gets acknowledged.
    fn watch(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.progress.watching) else {
            return;
        };
        link.progress.watching = true;
        link.progress.at = self.now;
        self.timer = self.timer.min(self.now + WATCH_EVERY);
    }

    /// The end of a turn: write all that was queued, tell the epoll instance what is still to be written.
    pub fn finish(&mut self, epoll: &Epoll) {
        while let Some(id) = self.dirty.pop() {
            self.flush_link(id);
            if let Some(link) = self.links.get_mut(&id) {
                link.dirty = false;
            }
            self.rewatch(epoll, id);
        }
        if !self.handover.is_empty() {
            for (id, packets) in std::mem::take(&mut self.handover) {
                self.deliver_elsewhere(id, packets);
            }
        }
    }

    fn deliver_elsewhere(&mut self, id: LinkId, packets: Vec<u8>) {
        let Some(state) = self.known.get(&id) else {
            return self.count(Counter::LinkGone, 1);
        };
        match state.home {
            Home::Remote(_) => {
                if let Some(remote) = self.shared.remote.get() {
                    remote.push(id, packets);
                }
            }
            Home::Lane(lane) => {
                if !self.shared.post(lane, ToLane::Send(id, packets)) {
                    self.count(Counter::LaneFull, 1);
                }
            }
        }
    }

    /// Watch the socket of `id` for what matters now.
    pub fn rewatch(&mut self, epoll: &Epoll, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let wanted = Ready {
            read: !link.paused,
            write: !link.out.is_empty(),
            error: false,
        };
        bump_to(&link.state.figures.queued, link.out.bytes() as u64);
        if wanted != link.watched
            && epoll
                .modify(link.stream.as_fd(), wanted, Token::Link(id).pack())
                .is_ok()
        {
            link.watched = wanted;
        }
    }

    /// Links to close now, with their reasons.
    pub fn take_doomed(&mut self) -> Vec<(LinkId, String)> {
        std::mem::take(&mut self.doomed)
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
        if done || info.bytes_acked != link.progress.acked {
            link.progress.acked = info.bytes_acked;
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
        let limit = STALL_FLOOR.max(3.0 * info.rtt + 4.0 * info.rttvar);
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

fn bump_to(figure: &std::sync::atomic::AtomicU64, value: u64) {
    figure.store(value, Relaxed);
}

/// How many whole data packets `packets` is, one after another.
pub fn count_packets(packets: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while let Ok(Some(frame)) = frame::next(packets, at) {
        at = frame.end;
        count += 1;
    }
    count
}
