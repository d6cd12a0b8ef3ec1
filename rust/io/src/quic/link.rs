//! What the lanes and the link's own task share about one link.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::queue::{Batch, Queue};
use crate::handoff::{LinkInfo, LinkUp};
use crate::sys;

/// One link that is up.
#[derive(Debug)]
pub struct Link {
    /// Its number and ends.
    pub up: LinkUp,
    /// The QUIC connection under it.
    pub connection: quinn::Connection,
    /// Wakes the task: something was queued, or the link is to be paused or closed.
    pub wake: Notify,
    /// Python is behind with this link's control packets.
    pub paused: AtomicBool,
    /// The peer is silent.
    pub stalled: AtomicBool,
    /// Bytes that left the queue for the stream, but quinn has not taken them yet.
    pub held: AtomicUsize,
    /// Packets dropped on the way out.
    pub dropped: AtomicU64,
    /// What was handed to quinn.
    pub sent: Traffic,
    /// What was handed to the lanes.
    pub received: Traffic,
    queue: Mutex<Queue>,
    since: f64,
}

/// Packets and bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    /// Count packets.
    pub fn add(&self, packets: u64, bytes: usize) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl Link {
    /// A link that has just come up.
    pub fn new(up: LinkUp, connection: quinn::Connection) -> Self {
        Self {
            up,
            connection,
            wake: Notify::new(),
            paused: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            sent: Traffic::default(),
            received: Traffic::default(),
            queue: Mutex::default(),
            since: sys::now(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queue data; returns how many packets were dropped for it.
    pub fn push(&self, packets: Vec<u8>) -> u64 {
        let dropped = self.queue().push(packets, Instant::now());
        self.wake.notify_one();
        self.dropped.fetch_add(dropped, Relaxed);
        dropped
    }

    /// Queue control packets, or have the link closed because too many wait.
    pub fn push_control(&self, packets: &[u8]) {
        let mut queue = self.queue();
        if !queue.push_control(packets, self.held.load(Relaxed)) {
            queue.close.get_or_insert("the peer takes no control packets");
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Have the link closed.
    pub fn close(&self, reason: &'static str) {
        self.queue().close.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// Why it is to be closed, if it is.
    pub fn closing(&self) -> Option<&'static str> {
        self.queue().close
    }

    /// Stop or go on reading control packets.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
        self.wake.notify_one();
    }

    /// Take the control packets that wait.
    pub fn take_control(&self) -> Vec<u8> {
        self.queue().take_control()
    }

    /// Take the oldest batch of data, and whether more waits behind it.
    pub fn pop(&self) -> Option<(Batch, bool)> {
        let mut queue = self.queue();
        let batch = queue.pop()?;
        Some((batch, queue.bytes() > 0))
    }

    /// Bytes that wait here.
    pub fn queued(&self) -> usize {
        self.queue().bytes() + self.held.load(Relaxed)
    }

    /// Figures for status.
    pub fn info(&self) -> LinkInfo {
        LinkInfo {
            up: self.up.clone(),
            tx_bytes: self.sent.bytes.load(Relaxed),
            rx_bytes: self.received.bytes.load(Relaxed),
            tx_packets: self.sent.packets.load(Relaxed),
            rx_packets: self.received.packets.load(Relaxed),
            queued_bytes: self.queued() as u64,
            dropped: self.dropped.load(Relaxed),
            rtt: Some(self.connection.rtt().as_secs_f64()),
            stalled: self.stalled.load(Relaxed),
            busy: false,
            since: self.since,
            loss: None,
            max_datagram: None,
        }
    }
}
