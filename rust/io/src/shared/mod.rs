//! What the lanes, the transports beside them and the API share: tables, links, inboxes.
//!
//! Tables are immutable snapshots behind a generation counter: a lane looks at the counter once a turn and
//! clones the `Arc` only when it moved.

mod hub;
mod inbox;
mod snapshot;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use zosnet_core::fib;
use zosnet_core::filter::Filter;
use zosnet_core::filter::flows::{Limits, Recent};
use zosnet_core::filter::recall::{self, Connection};
use zosnet_core::filter::rules::RulesError;
use zosnet_core::ipv6::{TCP, UDP};
use zosnet_core::session;
use zosnet_core::suite::StaticKey;

use crate::counters::Counters;
use crate::events::{Event, EventQueue};
use crate::handoff::{LinkId, RemoteSink};
use crate::keeper::Queue;
use crate::link::{Backlog, LinkState, Links};
use crate::packets::is_ihu;
use crate::peers::Peers;
use crate::sys;

pub use hub::Hub;
pub use inbox::{Inbox, ToLane};
pub use snapshot::{Snapshot, lock};

/// Prefixes the table may hold: far above any network there is, and some 200 MB (a guess).
const ROUTES_LIMIT: usize = 1 << 20;

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
    /// Whether it repairs what lossy links swallow.
    pub repair: bool,
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

/// Tell a filter that has seen none of them of the connections that the host has already, each as `view` sees it.
/// Without `/proc` there are none to tell of: they come back with their next packet out.
fn recall_connections(filter: &Filter, view: impl Fn(Connection) -> Connection) {
    let (mut recent, now) = (Recent::default(), sys::now());
    for (protocol, table) in [(TCP, "/proc/self/net/tcp6"), (UDP, "/proc/self/net/udp6")] {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        for connection in recall::connections(protocol, &table) {
            filter.recall(&mut recent, &view(connection), now);
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
        repair: bool,
    ) -> io::Result<Self> {
        let mut seed = [0; 8];
        sys::random(&mut seed)?;
        let builder = fib::Builder::new(ROUTES_LIMIT, u64::from_ne_bytes(seed));
        sys::random(&mut seed)?;
        let filter = Arc::new(Filter::new(u64::from_ne_bytes(seed), Limits::default()));
        recall_connections(&filter, |connection| connection);
        let table = builder.snapshot();
        Ok(Self {
            key,
            address,
            mark,
            events: EventQueue::new(events_limit)?,
            backlog: Backlog::default(),
            links: Snapshot::new(Links::default()),
            table: Snapshot::from(table),
            builder: Mutex::new(builder),
            filter,
            inboxes: (0..lanes).map(|_| Inbox::new()).collect::<io::Result<_>>()?,
            counters: (0..lanes).map(|_| Counters::default()).collect(),
            suite,
            repair,
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

    /// Replace the rules for what may come in; `open`: let everything in. What goes on while all doors are open is not
    /// remembered, and yet goes on when they close.
    ///
    /// # Errors
    /// Rules that make no sense change nothing.
    pub fn replace_filter(&self, open: bool, packed: &[u8]) -> Result<(), RulesError> {
        if self.filter.is_open() && !open {
            recall_connections(&self.filter, Connection::as_begun);
        }
        self.filter.replace(open, packed)
    }

    /// A control packet came over `link`: the event for Python, and whether the link must wait until it is taken.
    pub fn control_up(&self, link: &Arc<LinkState>, packet: &[u8], at: f64) -> (Event, bool) {
        let rtt = is_ihu(packet).then(|| link.hello_answered(at)).flatten();
        let full = link.control_up(packet.len(), &self.backlog);
        let (link, packet) = (Arc::clone(link), packet.to_vec());
        let event = Event::Control {
            link,
            packet,
            at,
            rtt,
        };
        (event, full)
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
