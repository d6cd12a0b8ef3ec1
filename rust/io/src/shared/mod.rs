//! What the lanes, the transports beside them and the API share: tables, links, inboxes.
//!
//! Tables are immutable snapshots behind a generation counter: a lane looks at the counter once a turn and
//! clones the `Arc` only when it moved.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use zosnet_core::fib;
use zosnet_core::filter::flows::{Limits, Recent};
use zosnet_core::filter::{Filter, recall};
use zosnet_core::ipv6::{TCP, UDP};
use zosnet_core::session::{self, EntryKind};
use zosnet_core::suite::StaticKey;

use crate::counters::Counters;
use crate::events::{Event, EventQueue};
use crate::handoff::{LinkId, LinkUp, RemoteSink, Upcalls};
use crate::keeper::Queue;
use crate::link::{Backlog, Home, LinkState, Links};
use crate::packets::only_control;
use crate::peers::Peers;
use crate::sys;

/// Bytes that may wait in one lane's inbox.
const INBOX_LIMIT: usize = 16 << 20;

/// Prefixes the table may hold: far above any network there is, and some 200 MB (a guess).
const ROUTES_LIMIT: usize = 1 << 20;

/// Something for a lane to do.
#[derive(Debug)]
pub enum ToLane {
    /// Take over an accepted connection.
    Adopt(TcpStream, SocketAddr),
    /// Connect: token, address, timeout in seconds.
    Dial(i64, SocketAddr, f64),
    /// Send these whole data packets through a link of yours.
    Send(LinkId, Vec<u8>),
    /// Send these whole control packets; the flag says that the last is a Hello.
    Control(LinkId, Vec<u8>, bool),
    /// These whole packets came in on a link that is yours to read.
    Bytes(LinkId, Vec<u8>, f64),
    /// Close this link, for this reason.
    Close(LinkId, &'static str),
    /// Python has caught up with this link.
    ReadAgain(LinkId),
    /// A whole IPv6 packet from this node itself.
    Inject(Vec<u8>),
    /// A message body for this address.
    Message([u8; 16], Vec<u8>),
    /// A session frame for the node with this /64, by whatever road leads there.
    Frame(u64, Vec<u8>),
    /// An entry to be sealed for the node of this key: its kind and its body.
    Entry([u8; 32], EntryKind, Vec<u8>),
    /// The session with the node of this key came, or isn't to be waited for.
    Retry([u8; 32]),
    /// Flush until this time, then end.
    Stop(f64),
}

impl ToLane {
    /// Bytes it weighs in the inbox, and whether it may be dropped for that.
    fn weight(&self) -> (usize, bool) {
        match self {
            Self::Send(_, bytes)
            | Self::Inject(bytes)
            | Self::Message(_, bytes)
            | Self::Frame(_, bytes)
            | Self::Entry(_, _, bytes) => (bytes.len(), true),
            Self::Bytes(_, bytes, _) => (bytes.len(), false),
            _ => (0, false),
        }
    }
}

/// Where other threads leave things for a lane.
#[derive(Debug)]
pub struct Inbox {
    items: Mutex<Vec<ToLane>>,
    bytes: AtomicUsize,
    wake: File,
    /// Links that the lane has, or is about to have.
    pub load: AtomicUsize,
}

impl Inbox {
    /// Empty.
    pub fn new() -> io::Result<Self> {
        let items = Mutex::default();
        Ok(Self {
            items,
            bytes: AtomicUsize::new(0),
            wake: sys::eventfd()?,
            load: AtomicUsize::new(0),
        })
    }

    /// Leave something. False: the lane is too far behind, and it was dropped.
    #[must_use]
    pub fn post(&self, item: ToLane) -> bool {
        let (weight, expendable) = item.weight();
        if expendable && !self.has_room(weight) {
            return false;
        }
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        let mut items = lock(&self.items);
        let idle = items.is_empty();
        items.push(item);
        drop(items);
        if idle {
            self.wake();
        }
        true
    }

    /// Whether `more` bytes of data may be left.
    fn has_room(&self, more: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) + more <= INBOX_LIMIT
    }

    /// Make the lane turn once.
    pub fn wake(&self) {
        drop((&self.wake).write(&1u64.to_ne_bytes()));
    }

    /// Take all into `into`, which must be empty.
    pub fn take(&self, into: &mut Vec<ToLane>) {
        drop((&self.wake).read(&mut [0; 8]));
        std::mem::swap(&mut *lock(&self.items), into);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Readable while something waits.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// A panic elsewhere must not take the data plane with it: all guarded values are whole at any moment.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that is replaced whole.
#[derive(Debug)]
pub struct Snapshot<T> {
    value: Mutex<Arc<T>>,
    generation: AtomicU64,
}

impl<T> Snapshot<T> {
    /// The first value, of generation 1.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(Arc::new(value)),
            generation: AtomicU64::new(1),
        }
    }

    /// Number of the present value.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The present value.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&lock(&self.value))
    }

    /// Replace the value by what `change` makes of it.
    pub fn replace(&self, change: impl FnOnce(&T) -> Arc<T>) {
        let mut value = lock(&self.value);
        *value = change(&value);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The address prefix and keys of this node, and everything that is shared.
pub struct Shared {
    /// The node's key.
    pub key: StaticKey,
    /// The node's address.
    pub address: [u8; 16],
    /// `SO_MARK` of sockets, 0 for none.
    pub mark: u32,
    /// Events for Python.
    pub events: EventQueue,
    /// Control packets among them.
    pub backlog: Backlog,
    /// All links.
    pub links: Snapshot<Links>,
    /// Where packets go.
    pub table: Snapshot<fib::Table>,
    /// The table as it is built.
    pub builder: Mutex<fib::Builder>,
    /// What may come in for this host.
    pub filter: Arc<Filter>,
    /// One a lane.
    pub inboxes: Vec<Inbox>,
    /// One a lane.
    pub counters: Vec<Counters>,
    /// Whether this node speaks the suite `zosnet`.
    pub suite: bool,
    /// Sessions, for all threads.
    pub peers: Peers,
    /// What waits for the keeper.
    pub keeper: Queue,
    /// Totals of the keeper's machines.
    pub keeper_counters: Mutex<Vec<(&'static str, u64)>>,
    /// The machine of sessions, which the keeper runs and status looks at.
    pub sessions: OnceLock<Arc<Mutex<session::Keeper>>>,
    /// Magic bytes of probes that are watched for.
    pub probes: Snapshot<Vec<[u8; 8]>>,
    /// The transport beside the lanes.
    pub remote: OnceLock<Arc<dyn RemoteSink>>,
    /// The node has closed, or is closing.
    pub closed: AtomicBool,
    next_link: AtomicU32,
}

/// Tell a new filter of the connections that the host has already. Without `/proc` there are none to tell of: they come
/// back with their next packet out.
fn recall_connections(filter: &Filter) {
    let (mut recent, now) = (Recent::default(), sys::now());
    for (protocol, table) in [(TCP, "/proc/self/net/tcp6"), (UDP, "/proc/self/net/udp6")] {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        for connection in recall::connections(protocol, &table) {
            filter.recall(&mut recent, &connection, now);
        }
    }
}

impl Shared {
    /// Everything empty, for `lanes` lanes.
    pub fn new(
        key: StaticKey,
        address: [u8; 16],
        mark: u32,
        lanes: usize,
        events_limit: usize,
        suite: bool,
    ) -> io::Result<Self> {
        let mut seed = [0; 8];
        sys::random(&mut seed)?;
        let builder = fib::Builder::new(ROUTES_LIMIT, u64::from_ne_bytes(seed));
        sys::random(&mut seed)?;
        let filter = Arc::new(Filter::new(u64::from_ne_bytes(seed), Limits::default()));
        recall_connections(&filter);
        let table = builder.snapshot();
        Ok(Self {
            key,
            address,
            mark,
            events: EventQueue::new(events_limit)?,
            backlog: Backlog::default(),
            links: Snapshot::new(HashMap::new()),
            table: Snapshot {
                value: Mutex::new(table),
                generation: AtomicU64::new(1),
            },
            builder: Mutex::new(builder),
            filter,
            inboxes: (0..lanes).map(|_| Inbox::new()).collect::<io::Result<_>>()?,
            counters: (0..lanes).map(|_| Counters::default()).collect(),
            suite,
            peers: Peers::default(),
            keeper: Queue::new()?,
            keeper_counters: Mutex::default(),
            sessions: OnceLock::new(),
            probes: Snapshot::new(Vec::new()),
            remote: OnceLock::new(),
            closed: AtomicBool::new(false),
            next_link: AtomicU32::new(1),
        })
    }

    /// The lane that gets the next link; it counts as one more from now on.
    pub fn least_loaded(&self) -> usize {
        let load = |inbox: &Inbox| inbox.load.load(Ordering::Relaxed);
        let lightest = self
            .inboxes
            .iter()
            .enumerate()
            .min_by_key(|(_, inbox)| load(inbox));
        let lane = lightest.map_or(0, |(lane, _)| lane);
        if let Some(inbox) = self.inboxes.get(lane) {
            inbox.load.fetch_add(1, Ordering::Relaxed);
        }
        lane
    }

    /// One link fewer for `lane`.
    pub fn unload(&self, lane: usize) {
        if let Some(inbox) = self.inboxes.get(lane) {
            inbox.load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Leave something for `lane`; false: dropped.
    #[must_use]
    pub fn post(&self, lane: usize, item: ToLane) -> bool {
        self.inboxes.get(lane).is_some_and(|inbox| inbox.post(item))
    }

    /// Make every lane look at the tables.
    pub fn wake_all(&self) {
        for inbox in &self.inboxes {
            inbox.wake();
        }
    }

    /// Make a link known to all threads, and to Python.
    pub fn add_link(&self, state: Arc<LinkState>) {
        let id = state.up.link;
        self.links.replace(|links| {
            let mut links = links.clone();
            links.insert(id, Arc::clone(&state));
            Arc::new(links)
        });
        self.events.push_one(Event::LinkUp(state.up.clone(), state.since));
    }

    /// A link is gone: routes flip at once, Python hears of it. Returns it, if it was known.
    pub fn remove_link(&self, id: LinkId, reason: &str) -> Option<Arc<LinkState>> {
        let mut gone = None;
        self.links.replace(|links| {
            let mut links = links.clone();
            gone = links.remove(&id);
            Arc::new(links)
        });
        let state = gone?;
        state.dead.store(true, Ordering::Relaxed);
        self.events
            .push_one(Event::LinkDown(id, reason.to_owned(), sys::now()));
        Some(state)
    }

    /// A link number never given before.
    pub fn fresh_link(&self) -> LinkId {
        self.next_link.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a transport beside the lanes reports to.
pub struct Hub(pub Arc<Shared>);

impl Hub {
    fn with(&self, link: LinkId, act: impl FnOnce(&Arc<LinkState>, usize)) {
        let links = self.0.links.get();
        if let Some((state, Home::Remote(lane))) = links.get(&link).map(|state| (state, state.home)) {
            act(state, lane);
        }
    }
}

impl Upcalls for Hub {
    fn new_link(&self) -> LinkId {
        self.0.fresh_link()
    }

    fn link_up(&self, up: LinkUp) {
        let home = Home::Remote(self.0.least_loaded());
        self.0.add_link(Arc::new(LinkState::new(
            up,
            home,
            sys::now(),
            std::sync::Weak::new(),
        )));
    }

    fn link_down(&self, link: LinkId, reason: &str) {
        if let Some(Home::Remote(lane)) = self.0.remove_link(link, reason).map(|state| state.home) {
            self.0.unload(lane);
            self.0.wake_all();
        }
    }

    fn crowded(&self) -> bool {
        self.0.events.crowded()
    }

    fn dial_failed(&self, token: i64, errno: i32, reason: &str) {
        self.0
            .events
            .push_one(Event::DialFailed(token, errno, reason.to_owned()));
    }

    fn deliver(&self, link: LinkId, packets: Vec<u8>, at: f64) {
        self.with(link, |_, lane| {
            let Some(inbox) = self.0.inboxes.get(lane) else {
                return;
            };
            // A lane that is too far behind loses data, but never control, which must be reliable.
            let packets = if inbox.has_room(packets.len()) {
                packets
            } else {
                only_control(&packets)
            };
            let _ = inbox.post(ToLane::Bytes(link, packets, at));
        });
    }

    fn stalled(&self, link: LinkId, stalled: bool) {
        self.with(link, |state, _| {
            state.stalled.store(stalled, Ordering::Relaxed);
            self.0.events.push_one(Event::Stalled(link, stalled, sys::now()));
            self.0.wake_all();
        });
    }
}
