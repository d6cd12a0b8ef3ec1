//! What every thread may know of a link: its ends, whether it can carry data, its figures.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Weak;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::SockAddr;
use zosnet_core::datagram::LinkKeys;
use zosnet_core::hash::FoldHasher;

use crate::handoff::{LinkInfo, LinkUp};
use crate::sys;
use crate::tcp::plain;

/// Unread control packets, and their bytes, beyond which a link is not read until Python has caught up.
const CONTROL_PACKETS: u64 = 4096;
const CONTROL_BYTES: u64 = 1 << 20;
/// What the unread control packets of all links may weigh together (a guess).
const CONTROL_TOTAL: u64 = 32 << 20;
/// What an unread control packet weighs beside its bytes: its event, and what allocations round up to (a guess).
const CONTROL_WEIGHT: u64 = 256;

/// Who moves the bytes of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The lane with this number owns the socket.
    Lane(usize),
    /// A transport beside the lanes owns it; the lane with this number reads its packets.
    Remote(usize),
    /// It has no socket of its own: every lane sends and receives through the UDP port, the keeper speaks for it.
    Datagram,
}

/// A link as all threads see it.
#[derive(Debug)]
pub struct LinkState {
    /// Number and ends.
    pub up: LinkUp,
    /// When it came up.
    pub since: f64,
    /// Who moves its bytes.
    pub home: Home,
    /// Data is out and nothing comes back: routes use their backup.
    pub stalled: AtomicBool,
    /// The socket is gone, or as good as gone.
    pub dead: AtomicBool,
    /// Data has flowed in the last seconds.
    pub busy: AtomicBool,
    /// Figures of a lane's link; a remote transport keeps its own.
    pub figures: Figures,
    /// When data last flowed, in milliseconds of CLOCK_MONOTONIC.
    pub last_data: AtomicU64,
    /// What lanes need of a datagram link.
    pub datagram: Option<DatagramLink>,
    socket: Weak<TcpStream>,
    unread_packets: AtomicU64,
    unread_bytes: AtomicU64,
    /// The lane stopped reading and wants to hear when Python has caught up.
    waiting: AtomicBool,
    /// When the last Hello left that is not answered yet.
    hello: Mutex<Option<f64>>,
}

/// What the unread control packets of all links weigh.
///
/// A link may have as much of what is allowed as is still free (dynamic thresholds, Choudhury and Hahne 1998): of
/// `n` links that flood us none has more than an n-th part, and one that is quiet is always heard.
#[derive(Debug, Default)]
pub struct Backlog(AtomicU64);

impl Backlog {
    fn free(&self) -> u64 {
        CONTROL_TOTAL.saturating_sub(self.0.load(Relaxed))
    }
}

/// Running totals of a link. Written by one thread, read by any.
#[derive(Debug, Default)]
pub struct Figures {
    /// Bytes of whole packets written to the socket.
    pub tx_bytes: AtomicU64,
    /// Bytes received.
    pub rx_bytes: AtomicU64,
    /// Packets queued for the socket.
    pub tx_packets: AtomicU64,
    /// Packets received.
    pub rx_packets: AtomicU64,
    /// Bytes that wait to be written.
    pub queued: AtomicU64,
    /// Data packets dropped because the link was too far behind.
    pub dropped: AtomicU64,
}

/// Add to a figure that only this thread writes: cheaper than an atomic addition.
pub fn bump(figure: &AtomicU64, by: u64) {
    figure.store(figure.load(Relaxed).wrapping_add(by), Relaxed);
}

/// What lanes need of a datagram link.
pub struct DatagramLink {
    /// The key of the node at the other end, proven.
    pub peer: [u8; 32],
    /// The tags of relayed packets, and totals.
    keys: Mutex<Arc<LinkKeys>>,
    /// The remote end, as the socket wants it.
    target: Mutex<SockAddr>,
    /// How often that has changed.
    moves: AtomicU32,
    /// Share of datagrams lost, in millionths.
    loss: AtomicU32,
    /// What is sent over it is to be repaired.
    repair: AtomicBool,
}

impl std::fmt::Debug for DatagramLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatagramLink")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl DatagramLink {
    /// A link to `target`, which is of the socket's family.
    pub fn new(keys: Arc<LinkKeys>, target: SockAddr) -> Self {
        Self {
            peer: *keys.peer(),
            keys: Mutex::new(keys),
            target: Mutex::new(target),
            moves: AtomicU32::new(0),
            loss: AtomicU32::new(0),
            repair: AtomicBool::new(false),
        }
    }

    /// Share of datagrams lost, in the worse direction.
    pub fn loss(&self) -> f64 {
        f64::from(self.loss.load(Relaxed)) * 1e-6
    }

    /// It was measured anew.
    pub fn set_loss(&self, loss: f64) {
        self.loss.store((loss.clamp(0.0, 1.0) * 1e6) as u32, Relaxed);
    }

    /// Whether frames over it are to be followed by repairs.
    #[inline]
    pub fn is_repaired(&self) -> bool {
        self.repair.load(Relaxed)
    }

    /// It was judged anew.
    pub fn set_repaired(&self, repair: bool) {
        self.repair.store(repair, Relaxed);
    }

    /// The keys of the present.
    pub fn keys(&self) -> Arc<LinkKeys> {
        Arc::clone(&self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Use these keys from now on.
    pub fn set_keys(&self, keys: Arc<LinkKeys>) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The round trip in seconds, once it was measured.
    pub fn rtt(&self) -> Option<f64> {
        Some(self.keys().rtt()).filter(|rtt| *rtt > 0.0)
    }

    /// Where datagrams go.
    pub fn target(&self) -> SockAddr {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the remote end has moved: a target that was read after this is as new, or newer.
    pub fn moves(&self) -> u32 {
        self.moves.load(Acquire)
    }

    /// The remote end moved.
    pub fn set_target(&self, target: SockAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.moves.fetch_add(1, Release);
    }

    /// The longest datagram.
    pub fn max_datagram(&self) -> usize {
        self.keys().max_datagram() as usize
    }

    /// So many datagrams are sent. True after a pause: the keeper should watch what comes back.
    pub fn sent(&self, datagrams: u64, now: f64) -> bool {
        self.keys().sent(datagrams, (now * 1000.0) as u64)
    }

    /// What went over a link with the same ends; see [`LinkKeys::count`].
    pub fn count(&self, sent: u64, received: u64) {
        self.keys().count(sent, received);
    }

    /// So many datagrams came in.
    pub fn heard(&self, datagrams: u64, now: f64) {
        self.keys().heard(datagrams, (now * 1000.0) as u64);
    }
}

impl LinkState {
    /// A link that has just come up.
    pub fn new(up: LinkUp, home: Home, since: f64, socket: Weak<TcpStream>) -> Self {
        Self {
            datagram: None,
            up,
            since,
            home,
            stalled: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            figures: Figures::default(),
            last_data: AtomicU64::new(0),
            socket,
            unread_packets: AtomicU64::new(0),
            unread_bytes: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            hello: Mutex::new(None),
        }
    }

    /// The same for a datagram link.
    pub fn of_datagrams(up: LinkUp, since: f64, datagram: DatagramLink) -> Self {
        Self {
            datagram: Some(datagram),
            ..Self::new(up, Home::Datagram, since, Weak::new())
        }
    }

    /// Where the remote end is now.
    pub fn remote(&self) -> SocketAddr {
        let now = self.datagram.as_ref().and_then(|udp| udp.target().as_socket());
        now.map_or(self.up.remote, plain)
    }

    /// A control packet of `bytes` goes up to Python. Whether the link must not be read until it is taken.
    pub fn control_up(&self, bytes: usize, backlog: &Backlog) -> bool {
        backlog.0.fetch_add(bytes as u64 + CONTROL_WEIGHT, Relaxed);
        let packets = self.unread_packets.fetch_add(1, Relaxed) + 1;
        let bytes = self.unread_bytes.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        let weighs = bytes + packets * CONTROL_WEIGHT;
        let full = packets > CONTROL_PACKETS || bytes > CONTROL_BYTES || weighs > backlog.free();
        if full {
            self.waiting.store(true, Relaxed);
        }
        full
    }

    /// Python took a control packet of `bytes`. Whether the link may be read again.
    pub fn control_taken(&self, bytes: usize, backlog: &Backlog) -> bool {
        backlog.0.fetch_sub(bytes as u64 + CONTROL_WEIGHT, Relaxed);
        let packets = self.unread_packets.fetch_sub(1, Relaxed) - 1;
        let bytes = self.unread_bytes.fetch_sub(bytes as u64, Relaxed) - bytes as u64;
        let weighs = bytes + packets * CONTROL_WEIGHT;
        // With nothing left this holds whatever the others have: no link is held for ever.
        let eased =
            packets <= CONTROL_PACKETS / 2 && bytes <= CONTROL_BYTES / 2 && weighs <= backlog.free() / 2;
        eased && self.waiting.swap(false, Relaxed)
    }

    /// The last Hello left at `at`.
    pub fn hello_left(&self, at: f64) {
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Round-trip time, if an IHU that arrives `now` answers a Hello.
    ///
    /// The answer comes from the other side's routing, which may be busy with ten thousand Updates. Where the
    /// kernel has measured the path itself to be shorter, that counts: a busy neighbour is not a distant one.
    pub fn hello_answered(&self, now: f64) -> Option<f64> {
        let left = self.hello.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answered = left.map(|at| (now - at).max(0.0))?;
        let socket = self.socket.upgrade();
        let path = socket.and_then(|socket| sys::tcp_info(socket.as_fd()).ok());
        let path = path.map(|info| info.rtt);
        let path = path.or_else(|| self.datagram.as_ref()?.rtt());
        let measured = path.filter(|rtt| *rtt > 0.0);
        Some(measured.map_or(answered, |rtt| answered.min(rtt)))
    }

    /// What status shows of a lane's link.
    pub fn info(&self) -> LinkInfo {
        let socket = self.socket.upgrade();
        let tcp = socket.and_then(|socket| sys::tcp_info(socket.as_fd()).ok());
        LinkInfo {
            up: self.up.clone(),
            tx_bytes: self.figures.tx_bytes.load(Relaxed),
            rx_bytes: self.figures.rx_bytes.load(Relaxed),
            tx_packets: self.figures.tx_packets.load(Relaxed),
            rx_packets: self.figures.rx_packets.load(Relaxed),
            queued_bytes: self.figures.queued.load(Relaxed) + tcp.map_or(0, |info| u64::from(info.notsent)),
            dropped: self.figures.dropped.load(Relaxed),
            rtt: tcp.map(|info| info.rtt).or_else(|| self.datagram.as_ref()?.rtt()),
            stalled: self.stalled.load(Relaxed),
            busy: self.busy.load(Relaxed),
            since: self.since,
            loss: self.datagram.as_ref().map(DatagramLink::loss),
            max_datagram: self.datagram.as_ref().map(|udp| udp.max_datagram() as u32),
        }
    }
}

/// All links, by number. Small: copied whole when a link comes or goes.
pub type Links = ByNumber<Arc<LinkState>>;

/// Something for each of the numbers that this node gave, of links or sessions.
pub type ByNumber<T> = HashMap<u32, T, BuildHasherDefault<FoldHasher>>;

/// What one remote end counts as when inbound links are bounded: an IPv4 address, an IPv6 /64.
pub fn remote_group(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> LinkState {
        let end = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let up = LinkUp {
            link: 1,
            token: None,
            proto: "tcp",
            local: end,
            remote: end,
            key: None,
        };
        LinkState::new(up, Home::Lane(0), 0.0, Weak::new())
    }

    #[test]
    fn a_link_is_held_beyond_its_quota_and_let_go_once_at_half_of_it() {
        let (link, backlog) = (state(), Backlog::default());
        let held = (0..5000).filter(|_| link.control_up(16, &backlog)).count() as u64;
        assert_eq!(held, 5000 - CONTROL_PACKETS);
        let released: Vec<_> = (1..=5000).filter(|_| link.control_taken(16, &backlog)).collect();
        assert_eq!(released, [5000 - CONTROL_PACKETS / 2]);
    }

    #[test]
    fn bytes_count_as_well_as_packets() {
        let (link, backlog) = (state(), Backlog::default());
        assert!(!link.control_up(CONTROL_BYTES as usize, &backlog));
        assert!(link.control_up(1, &backlog));
    }

    #[test]
    fn many_links_share_what_all_may_have_and_a_quiet_one_is_heard() {
        let backlog = Backlog::default();
        let crowd: Vec<_> = (0..200).map(|_| state()).collect();
        let sent: Vec<_> = crowd
            .iter()
            .map(|link| 1 + (0..5000).take_while(|_| !link.control_up(16, &backlog)).count())
            .collect();
        assert!(backlog.0.load(Relaxed) <= CONTROL_TOTAL + 200 * (CONTROL_WEIGHT + 16));
        let quiet = state();
        quiet.control_up(16, &backlog);
        assert!(quiet.control_taken(16, &backlog) || !quiet.waiting.load(Relaxed));
        for (link, sent) in crowd.iter().zip(sent) {
            let released = (0..sent).filter(|_| link.control_taken(16, &backlog)).count();
            assert_eq!(released, 1, "each is let go once");
        }
        assert_eq!(backlog.0.load(Relaxed), 0);
    }

    #[test]
    fn an_ihu_answers_one_hello() {
        let link = state();
        link.hello_left(1.0);
        assert_eq!(link.hello_answered(1.5), Some(0.5));
        assert_eq!(link.hello_answered(1.6), None);
    }

    #[test]
    fn remote_ends_are_grouped_by_ipv4_address_and_ipv6_subnet() {
        let group = |text: &str| text.parse().map(remote_group).ok();
        assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("2001:db8::1"), group("2001:db8::2"));
        assert_ne!(group("2001:db8::1"), group("2001:db8:0:1::1"));
    }
}
