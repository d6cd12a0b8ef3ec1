//! What goes up to Python: a bounded queue and an eventfd that is readable while something waits.
//!
//! Events of one link come up in their order; links take turns. So a neighbour that floods us waits for itself,
//! and nobody's Hello, and nobody's end, waits behind what a stranger sent.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::handoff::{LinkId, LinkUp};
use crate::link::LinkState;
use crate::sys;

/// Events of one link that are taken before the next one's: a guess. A thousand links that flood us then hold
/// up another one for some 16,000 events, a second's work at worst.
const TURN: usize = 16;
/// Bytes of messages and probes that may wait for Python.
const EXPENDABLE_BYTES: usize = 16 << 20;
/// News of links that came up or went down, beyond which no inbound connection is taken until Python has caught
/// up (a guess).
const LINK_NEWS: usize = 2048;
/// What happens to no link in particular takes its turn as if to this one, which doesn't exist.
const NO_LINK: LinkId = 0;

/// One thing that happened. Times are CLOCK_MONOTONIC seconds.
#[derive(Debug)]
pub enum Event {
    /// A whole control packet came in. `rtt` only for an IHU.
    Control {
        /// The link it came from, with its quota.
        link: Arc<LinkState>,
        /// The packet, its 4-byte header included.
        packet: Vec<u8>,
        /// When it arrived.
        at: f64,
        /// Arrival minus the moment when the last Hello left, in seconds.
        rtt: Option<f64>,
    },
    /// A link came up.
    LinkUp(LinkUp, f64),
    /// A dial came to nothing: token, errno or 0, reason.
    DialFailed(i64, i32, String),
    /// A link is gone, for a reason.
    LinkDown(LinkId, String, f64),
    /// Data is out and nothing is acknowledged (true), or it is again (false).
    Stalled(LinkId, bool, f64),
    /// Data traffic started (true), or there was none for some seconds (false).
    Busy(LinkId, bool, f64),
    /// A packet waits for a route to this address; true: not one of this node's own.
    NeedRoute([u8; 16], bool),
    /// A message body came in.
    Message {
        /// Overlay address of the sender.
        source: [u8; 16],
        /// The address it was sent to.
        destination: [u8; 16],
        /// The key that the sender proved to have.
        key: [u8; 32],
        /// The bytes after the inner header.
        body: Vec<u8>,
    },
    /// What a transport measured of its link: round trip in seconds, share of datagrams lost.
    Measured(LinkId, f64, f64, f64),
    /// The node of this key has shown that it speaks sessions, and is held to it from now on.
    Pinned([u8; 32], f64),
    /// A node that is held to sessions spoke Mycelium's suite only.
    Downgraded([u8; 32], f64),
    /// An answer to a watched probe: a whole IPv6 packet.
    Probe(Vec<u8>, f64),
    /// The data plane can't go on.
    Failed(String),
}

impl Event {
    /// Whether it may be lost when Python is far behind. Control has its own bound, the quota of its link;
    /// while much news of links waits, no more are let in.
    fn expendable(&self) -> bool {
        matches!(
            self,
            Self::NeedRoute(..)
                | Self::Message { .. }
                | Self::Probe(..)
                | Self::Measured(..)
                | Self::Downgraded(..)
        )
    }

    /// Whether it says that a link came or went.
    fn is_link_news(&self) -> bool {
        matches!(self, Self::LinkUp(..) | Self::LinkDown(..))
    }

    /// What it weighs, if it is expendable.
    fn weight(&self) -> usize {
        match self {
            Self::Message { body, .. } => body.len(),
            Self::Probe(packet, _) => packet.len(),
            _ => 0,
        }
    }

    /// The link that it is about.
    fn link(&self) -> LinkId {
        match self {
            Self::Control { link, .. } => link.up.link,
            Self::LinkUp(up, _) => up.link,
            Self::LinkDown(link, ..)
            | Self::Stalled(link, ..)
            | Self::Busy(link, ..)
            | Self::Measured(link, ..) => *link,
            _ => NO_LINK,
        }
    }
}

/// What waits, by link.
#[derive(Debug, Default)]
struct Waiting {
    by_link: HashMap<LinkId, VecDeque<Event>>,
    /// Links with events, in the order of their turns.
    turns: VecDeque<LinkId>,
    /// Expendable events that wait, and their bytes.
    expendable: usize,
    bytes: usize,
    /// News of links that came or went.
    link_news: usize,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// False: there are too many of its kind already.
    fn push(&mut self, event: Event, limit: usize) -> bool {
        if event.expendable() {
            let bytes = self.bytes + event.weight();
            if self.expendable >= limit || bytes > EXPENDABLE_BYTES {
                return false;
            }
            self.expendable += 1;
            self.bytes = bytes;
        }
        self.link_news += usize::from(event.is_link_news());
        let link = event.link();
        let queue = self.by_link.entry(link).or_default();
        if queue.is_empty() {
            self.turns.push_back(link);
        }
        queue.push_back(event);
        true
    }

    fn drain(&mut self, limit: usize) -> Vec<Event> {
        let mut batch = Vec::new();
        while batch.len() < limit {
            let Some(link) = self.turns.pop_front() else { break };
            let Some(queue) = self.by_link.get_mut(&link) else {
                continue;
            };
            let count = queue.len().min(TURN).min(limit - batch.len());
            batch.extend(queue.drain(..count));
            if queue.is_empty() {
                self.by_link.remove(&link);
            } else {
                self.turns.push_back(link);
            }
        }
        for event in batch.iter().filter(|event| event.expendable()) {
            self.expendable -= 1;
            self.bytes -= event.weight();
        }
        self.link_news -= batch.iter().filter(|event| event.is_link_news()).count();
        batch
    }
}

/// The queue. Any thread may push, any thread may drain.
#[derive(Debug)]
pub struct EventQueue {
    queue: Mutex<Waiting>,
    wake: File,
    limit: usize,
    dropped: AtomicU64,
}

impl EventQueue {
    /// Empty; `limit` bounds the expendable events.
    pub fn new(limit: usize) -> io::Result<Self> {
        let (queue, dropped) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self {
            queue,
            wake: sys::eventfd()?,
            limit,
            dropped,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add a batch, which is left empty.
    pub fn push(&self, batch: &mut Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        let mut queue = self.lock();
        let idle = queue.is_empty();
        for event in batch.drain(..) {
            if !queue.push(event, self.limit) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if idle && !queue.is_empty() {
            self.signal();
        }
    }

    /// Add one.
    pub fn push_one(&self, event: Event) {
        self.push(&mut vec![event]);
    }

    /// Take at most `limit`: of each link its oldest.
    pub fn drain(&self, limit: usize) -> Vec<Event> {
        let mut queue = self.lock();
        // An eventfd that was not signalled gives WouldBlock, which is as good.
        drop((&self.wake).read(&mut [0; 8]));
        let batch = queue.drain(limit);
        if !queue.is_empty() {
            self.signal();
        }
        batch
    }

    /// So much news of links waits that there should be no more of them for now.
    pub fn crowded(&self) -> bool {
        self.lock().link_news > LINK_NEWS
    }

    fn signal(&self) {
        // Fails only when the counter is full, that is, when it is readable already.
        drop((&self.wake).write(&1u64.to_ne_bytes()));
    }

    /// Readable while events wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Events lost because Python was too far behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn readable(queue: &EventQueue) -> bool {
        let mut ready = Vec::new();
        let epoll = sys::Epoll::new().unwrap();
        epoll
            .add(
                queue.fd(),
                sys::Ready {
                    read: true,
                    ..Default::default()
                },
                0,
            )
            .unwrap();
        epoll.wait(Some(0.0), &mut ready).unwrap();
        !ready.is_empty()
    }

    #[test]
    fn it_is_readable_exactly_while_something_waits() {
        let queue = EventQueue::new(10).unwrap();
        assert!(!readable(&queue));
        queue.push(&mut (0..3).map(|link| Event::Stalled(link, true, 0.0)).collect());
        assert!(readable(&queue));
        assert_eq!(queue.drain(2).len(), 2);
        assert!(readable(&queue));
        assert_eq!(queue.drain(2).len(), 1);
        assert!(!readable(&queue));
    }

    #[test]
    fn beyond_the_limit_only_what_is_expendable_is_lost() {
        let queue = EventQueue::new(2).unwrap();
        for _ in 0..5 {
            queue.push_one(Event::NeedRoute([4; 16], false));
            queue.push_one(Event::LinkDown(1, String::new(), 0.0));
        }
        assert_eq!(queue.dropped(), 3);
        assert_eq!(queue.drain(100).len(), 7);
        queue.push_one(Event::NeedRoute([4; 16], false));
        assert_eq!(queue.drain(100).len(), 1);
    }

    #[test]
    fn expendable_events_are_bounded_in_bytes_too() {
        let queue = EventQueue::new(65_536).unwrap();
        for _ in 0..300 {
            queue.push_one(Event::Probe(vec![0; 1 << 16], 0.0));
        }
        assert_eq!(queue.drain(1000).len(), EXPENDABLE_BYTES >> 16);
        assert_eq!(queue.dropped(), 300 - (EXPENDABLE_BYTES as u64 >> 16));
    }

    #[test]
    fn much_news_of_links_makes_a_crowd_until_it_is_taken() {
        let queue = EventQueue::new(2).unwrap();
        for link in 0..LINK_NEWS as LinkId {
            queue.push_one(Event::LinkDown(link, String::new(), 0.0));
            queue.push_one(Event::Stalled(link, true, 0.0));
        }
        assert!(!queue.crowded());
        queue.push_one(Event::LinkDown(9999, String::new(), 0.0));
        assert!(queue.crowded());
        queue.drain(2);
        assert!(!queue.crowded());
    }

    #[test]
    fn nobody_waits_behind_a_link_that_floods_us() {
        let queue = EventQueue::new(2).unwrap();
        queue.push(
            &mut (0..100_000)
                .map(|at| Event::Stalled(1, true, at.into()))
                .collect(),
        );
        queue.push_one(Event::Stalled(2, true, 0.0));
        queue.push_one(Event::LinkDown(2, String::new(), 0.0));
        queue.push_one(Event::NeedRoute([4; 16], false));
        let batch = queue.drain(100);
        let of_two: Vec<_> = batch.iter().filter(|event| event.link() == 2).collect();
        assert!(matches!(of_two[..], [Event::Stalled(..), Event::LinkDown(..)]));
        assert!(batch.iter().any(|event| matches!(event, Event::NeedRoute(..))));
        let of_one = batch.iter().filter_map(|event| match event {
            Event::Stalled(1, _, at) => Some(*at),
            _ => None,
        });
        assert!(
            of_one.eq((0..97).map(f64::from)),
            "each link's events stay in their order"
        );
    }
}
