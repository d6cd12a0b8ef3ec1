//! What other threads leave for a lane.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use zosnet_core::session::EntryKind;

use crate::handoff::LinkId;
use crate::sys;

use super::lock;

/// Bytes that may wait in one lane's inbox.
const INBOX_LIMIT: usize = 16 << 20;

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
    pub(super) fn has_room(&self, more: usize) -> bool {
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
