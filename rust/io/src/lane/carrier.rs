//! The links of one lane, and the way to all others: everything that is to be sent goes through here.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zosnet_core::forward::{DropReason, LinkState as Reach};
use zosnet_core::hash::Seeded;

use crate::counters::Counter;
use crate::events::Event;
use crate::handoff::LinkId;
use crate::link::{ByNumber, DatagramLink, Home, LinkState, Links, bump};
use crate::outqueue::Pool;
use crate::shared::{Shared, ToLane};
use crate::sys::{self, Epoll};

use super::link::Link;

/// Data that waits for a link before it is written within a turn: what was sealed is still in the cache.
const FLUSH_AT: usize = 128 << 10;

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
    /// Datagram links among them, by remote end and by the index in relayed packets.
    by_remote: HashMap<SocketAddr, Arc<LinkState>, Seeded>,
    /// Those with the same ends as the link with this number.
    twins: ByNumber<Vec<Arc<LinkState>>>,
    by_index: ByNumber<Arc<LinkState>>,
    /// The one that was asked for last.
    latest_remote: Option<(SocketAddr, Arc<LinkState>)>,
    /// Whole data packets for datagram links, which have no queue of their own: the lane wraps and sends them.
    pub(super) for_datagrams: Vec<(LinkId, Vec<u8>)>,
    known_generation: u64,
    pub(super) links: ByNumber<Link>,
    pool: Pool,
    handover: HashMap<LinkId, Vec<u8>>,
    dirty: Vec<LinkId>,
    doomed: Vec<(LinkId, String)>,
    /// Links that this lane called busy.
    pub(super) busy: Vec<Arc<LinkState>>,
}

impl Carrier {
    /// No links yet.
    /// `seed` must be secret: it keeps remote ends from aiming at one place of a table.
    pub fn new(shared: Arc<Shared>, lane: usize, seed: u64) -> Self {
        Self {
            known: shared.links.get(),
            shared,
            lane,
            now: sys::now(),
            timer: f64::INFINITY,
            events: Vec::new(),
            by_remote: HashMap::with_hasher(Seeded::new(seed)),
            twins: ByNumber::default(),
            by_index: ByNumber::default(),
            latest_remote: None,
            for_datagrams: Vec::new(),
            known_generation: 0,
            links: ByNumber::default(),
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
            let datagram =
                |state: &Arc<LinkState>| Some((state.datagram.as_ref()?.keys(), Arc::clone(state)));
            self.latest_remote = None;
            self.find_remotes();
            self.by_index = (self.known.values())
                .filter_map(datagram)
                .map(|(keys, state)| (keys.local_index(), state))
                .collect();
        }
    }

    /// Which datagram link each remote end stands for, and which others have the same ends: two nodes that dial each other
    /// have two links, and nothing in a session frame tells which one it took.
    fn find_remotes(&mut self) {
        self.by_remote.clear();
        self.twins.clear();
        // Of one node: it may have few links, while anybody may make many keys.
        let mut by_ends: HashMap<(SocketAddr, [u8; 32]), Vec<&Arc<LinkState>>> = HashMap::new();
        for state in self.known.values() {
            let Some(udp) = &state.datagram else { continue };
            let remote = state.remote();
            self.by_remote.insert(remote, Arc::clone(state));
            by_ends.entry((remote, udp.peer)).or_default().push(state);
        }
        for links in by_ends.into_values().filter(|links| links.len() > 1) {
            for state in &links {
                let others = links.iter().filter(|other| !Arc::ptr_eq(other, state));
                self.twins
                    .insert(state.up.link, others.copied().cloned().collect());
            }
        }
    }

    /// Datagram links with the same ends as this one. They are one path: both ends count what goes over it for all of them.
    pub fn twins(&self, link: LinkId) -> impl Iterator<Item = &DatagramLink> {
        let twins = self.twins.get(&link).into_iter().flatten();
        twins.filter_map(|state| state.datagram.as_ref())
    }

    /// The datagram link with this remote end.
    pub fn by_remote(&mut self, remote: &SocketAddr) -> Option<Arc<LinkState>> {
        if let Some((latest, link)) = &self.latest_remote
            && latest == remote
        {
            return Some(Arc::clone(link));
        }
        let link = self.by_remote.get(remote)?;
        self.latest_remote = Some((*remote, Arc::clone(link)));
        Some(Arc::clone(link))
    }

    /// The datagram link whose relayed packets come under this index.
    pub fn by_index(&self, index: u32) -> Option<Arc<LinkState>> {
        self.by_index.get(&index).map(Arc::clone)
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

    /// Whether `link` is a byte stream: frames of any length go over it whole, or not at all.
    pub fn is_stream(&self, link: LinkId) -> bool {
        self.known.get(&link).is_some_and(|state| state.up.proto == "tcp")
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
        let id = state.up.link;
        let link = Link::new(epoll, stream, Arc::clone(&state), prove_by)?;
        self.shared.add_link(state);
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
        let Some(state) = self.known.get(&id) else {
            self.count(Counter::LinkGone, 1);
            return None;
        };
        if state.home == Home::Datagram {
            let mut packets = Vec::new();
            let count = write(&mut packets);
            self.for_datagrams.push((id, packets));
            return Some(count);
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
        if let Err(error) = link.write_through(run, count, self.now, &mut self.pool) {
            return self.doom(id, sys::reason(&error));
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

    /// Write what waits for `id`.
    pub fn flush_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if let Err(error) = link.write(self.now, &mut self.pool) {
            return self.doom(id, sys::reason(&error));
        }
        self.watch(id);
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
            // Put aside when it was queued.
            Home::Datagram => {}
            Home::Lane(lane) => {
                if !self.shared.post(lane, ToLane::Send(id, packets)) {
                    self.count(Counter::LaneFull, 1);
                }
            }
        }
    }

    /// Watch the socket of `id` for what matters now.
    pub fn rewatch(&mut self, epoll: &Epoll, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.rewatch(epoll);
        }
    }

    /// Links to close now, with their reasons.
    pub fn take_doomed(&mut self) -> Vec<(LinkId, String)> {
        std::mem::take(&mut self.doomed)
    }
}
