//! What goes up to Python: a bounded queue and an eventfd that is readable while something waits.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::handoff::{LinkId, LinkUp};
use crate::link::LinkState;
use crate::sys;

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
    /// A packet waits for a route to this address.
    NeedRoute([u8; 16]),
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
    /// An answer to a watched probe: a whole IPv6 packet.
    Probe(Vec<u8>, f64),
    /// The data plane can't go on.
    Failed(String),
}

impl Event {
    /// Whether it may be lost when Python is far behind. Control has its own bound, the quota of its link;
    /// what happens to links is bounded by their number.
    fn expendable(&self) -> bool {
        matches!(self, Self::NeedRoute(_) | Self::Message { .. } | Self::Probe(..))
    }
}

/// The queue. Any thread may push, any thread may drain.
#[derive(Debug)]
pub struct EventQueue {
    queue: Mutex<VecDeque<Event>>,
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

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
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
            if event.expendable() && queue.len() >= self.limit {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                queue.push_back(event);
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

    /// Take at most `limit`, oldest first.
    pub fn drain(&self, limit: usize) -> Vec<Event> {
        let mut queue = self.lock();
        // An eventfd that was not signalled gives WouldBlock, which is as good.
        drop((&self.wake).read(&mut [0; 8]));
        let count = queue.len().min(limit);
        let batch = queue.drain(..count).collect();
        if !queue.is_empty() {
            self.signal();
        }
        batch
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
            queue.push_one(Event::NeedRoute([4; 16]));
            queue.push_one(Event::LinkDown(1, String::new(), 0.0));
        }
        let lost = queue.dropped();
        assert_eq!(queue.drain(100).len() as u64, 10 - lost);
        assert_eq!(lost, 4);
    }
}
