//! STUB until merged.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};

use crate::suite::Fill;

pub const INITIATION: u8 = 1;
pub const TRANSPORT: u8 = 4;
pub const UNKNOWN: u8 = 5;
pub const HEADER: usize = 16;
pub const TAG: usize = 16;
pub const OVERHEAD: usize = 32;
pub const ENTRY_HEADER: usize = 2;
pub const RESERVED_IID: [u8; 8] = *b"zosnet\0\x01";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    Packet { partial: bool },
    Padding,
    Message,
    PathProbe,
    PathProbeAck,
    Fragment,
    Close,
    Refused,
}
impl EntryKind {
    fn code(self) -> Option<u8> {
        Some(match self {
            Self::Packet { .. } => return None,
            Self::Padding => 0,
            Self::Message => 1,
            Self::PathProbe => 2,
            Self::PathProbeAck => 3,
            Self::Fragment => 4,
            Self::Close => 5,
            Self::Refused => 6,
        })
    }
}
#[derive(Debug)]
pub enum SealError {
    UsedUp,
}
#[derive(Debug, Clone, Copy)]
pub enum OpenError {
    Replayed,
    Forged,
    Short,
    Dead,
}

pub struct EntryHeader {
    bytes: [u8; 3],
    len: usize,
}
impl std::ops::Deref for EntryHeader {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
pub fn entry_header(kind: EntryKind, length: usize) -> EntryHeader {
    match (kind, kind.code()) {
        (_, Some(code)) => {
            let word = 0x4000u16 | (length as u16 + 1);
            let [a, b] = word.to_be_bytes();
            EntryHeader {
                bytes: [a, b, code],
                len: 3,
            }
        }
        (EntryKind::Packet { partial }, _) => {
            let word = (u16::from(partial) << 15) | length as u16;
            let [a, b] = word.to_be_bytes();
            EntryHeader {
                bytes: [a, b, 0],
                len: 2,
            }
        }
        _ => EntryHeader {
            bytes: [0; 3],
            len: 0,
        },
    }
}
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}
impl<'a> Entries<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}
impl Iterator for Entries<'_> {
    type Item = (EntryKind, Range<usize>);
    fn next(&mut self) -> Option<Self::Item> {
        let word = u16::from_be_bytes(*self.bytes.get(self.at..)?.first_chunk()?);
        let len = usize::from(word & 0x3fff);
        let start = self.at + 2;
        self.bytes.get(start..start + len)?;
        self.at = start + len;
        if word & 0x4000 != 0 {
            let kind = match self.bytes.get(start)? {
                1 => EntryKind::Message,
                2 => EntryKind::PathProbe,
                3 => EntryKind::PathProbeAck,
                4 => EntryKind::Fragment,
                5 => EntryKind::Close,
                6 => EntryKind::Refused,
                _ => EntryKind::Padding,
            };
            return Some((kind, start + 1..start + len));
        }
        Some((
            EntryKind::Packet {
                partial: word & 0x8000 != 0,
            },
            start..start + len,
        ))
    }
}
pub fn receiver_index(frame: &[u8]) -> Option<u32> {
    frame.get(4..8)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}
pub fn unknown_frame(index: u32) -> Vec<u8> {
    let mut v = vec![UNKNOWN, 0, 0, 0];
    v.extend(index.to_be_bytes());
    v
}

pub struct Transport {
    peer: [u8; 32],
    local: u32,
    remote: u32,
    send: LessSafeKey,
    receive: LessSafeKey,
    counters: [AtomicU64; 16],
    windows: [Mutex<crate::datagram::window::Window>; 16],
    dead: AtomicBool,
}
impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}
fn nonce(c: u64) -> Nonce {
    let mut b = [0; 12];
    b[4..].copy_from_slice(&c.to_be_bytes());
    Nonce::assume_unique_for_key(b)
}
impl Transport {
    pub fn peer(&self) -> &[u8; 32] {
        &self.peer
    }
    pub fn local_index(&self) -> u32 {
        self.local
    }
    pub fn max_frame(&self) -> usize {
        65535
    }
    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }
    pub fn note_sent(&self, _now: f64) {}
    pub fn note_heard(&self, _now: f64) {}
    pub fn seal(&self, lane: u8, buf: &mut [u8]) -> Result<(), SealError> {
        let counter = u64::from(lane) << 56 | self.counters[usize::from(lane)].fetch_add(1, Relaxed);
        let (header, rest) = buf.split_first_chunk_mut::<HEADER>().ok_or(SealError::UsedUp)?;
        let (plain, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(SealError::UsedUp)?;
        header[..4].copy_from_slice(&[TRANSPORT, 0, 0, 0]);
        header[4..8].copy_from_slice(&self.remote.to_be_bytes());
        header[8..].copy_from_slice(&counter.to_be_bytes());
        let t = self
            .send
            .seal_in_place_separate_tag(nonce(counter), Aad::from(&header[..]), plain)
            .map_err(|_| SealError::UsedUp)?;
        tag.copy_from_slice(t.as_ref());
        Ok(())
    }
    pub fn open<'a>(&self, frame: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let (header, rest) = frame.split_first_chunk_mut::<HEADER>().ok_or(OpenError::Short)?;
        let counter = u64::from_be_bytes(header[8..].try_into().unwrap());
        let window = self
            .windows
            .get((counter >> 56) as usize)
            .ok_or(OpenError::Forged)?;
        let plain = self
            .receive
            .open_in_place(nonce(counter), Aad::from(&header[..]), rest)
            .map_err(|_| OpenError::Forged)?;
        if !window.lock().unwrap().accept(counter & ((1 << 56) - 1)) {
            return Err(OpenError::Replayed);
        }
        Ok(plain)
    }
    pub fn reopen<'a>(&self, frame: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let (header, rest) = frame.split_first_chunk_mut::<HEADER>().ok_or(OpenError::Short)?;
        let counter = u64::from_be_bytes(header[8..].try_into().unwrap());
        self.send
            .open_in_place(nonce(counter), Aad::from(&header[..]), rest)
            .map_err(|_| OpenError::Forged)
    }
}
#[derive(Debug, Clone, Copy)]
pub enum From {
    Link(SocketAddr),
    Overlay([u8; 16]),
}
pub enum Action {
    Send {
        peer: [u8; 32],
        to: Option<From>,
        frame: Vec<u8>,
    },
    Receive(Arc<Transport>),
    Use(Arc<Transport>),
    Retire(Arc<Transport>),
    Unanswered {
        peer: [u8; 32],
    },
    Failed {
        peer: [u8; 32],
    },
    Pinned {
        peer: [u8; 32],
    },
    Downgraded {
        peer: [u8; 32],
    },
}
pub struct Config {
    pub secret: [u8; 32],
    pub address: [u8; 16],
    pub lanes: u8,
    pub has_aes: bool,
    pub pins: Vec<[u8; 32]>,
}
impl Config {
    pub fn new(secret: [u8; 32], address: [u8; 16]) -> Self {
        Self {
            secret,
            address,
            lanes: 1,
            has_aes: true,
            pins: vec![],
        }
    }
}
pub struct Status {
    pub peer: [u8; 32],
    pub cipher: &'static str,
    pub state: &'static str,
    pub pinned: bool,
    pub age: f64,
    pub tx_frames: u64,
    pub rx_frames: u64,
    pub max_frame: u32,
}
pub struct Keeper {
    private: PrivateKey,
    public: [u8; 32],
    done: HashMap<[u8; 32], ()>,
    actions: VecDeque<Action>,
}
impl Keeper {
    pub fn new(config: Config, _random: Fill) -> Self {
        let private = PrivateKey::from_private_key(&X25519, &config.secret).unwrap();
        let public = private.compute_public_key().unwrap().as_ref().try_into().unwrap();
        Self {
            private,
            public,
            done: HashMap::new(),
            actions: VecDeque::new(),
        }
    }
    fn make(&mut self, peer: &[u8; 32], greet: bool) {
        if greet || !self.done.contains_key(peer) {
            let mut frame = vec![INITIATION];
            frame.extend(self.public);
            self.actions.push_back(Action::Send {
                peer: *peer,
                to: None,
                frame,
            });
        }
        if self.done.insert(*peer, ()).is_some() {
            return;
        }
        let secret: [u8; 32] = agree(&self.private, UnparsedPublicKey::new(&X25519, peer), (), |s| {
            Ok(s.try_into().unwrap())
        })
        .unwrap();
        let key = |from: &[u8; 32]| {
            let mut k = secret;
            k.iter_mut().zip(from).for_each(|(a, b)| *a ^= b);
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &k).unwrap())
        };
        let idx = |k: &[u8; 32]| u32::from_be_bytes(k[..4].try_into().unwrap());
        let t = Arc::new(Transport {
            peer: *peer,
            local: idx(peer),
            remote: idx(&self.public),
            send: key(&self.public),
            receive: key(peer),
            counters: Default::default(),
            windows: Default::default(),
            dead: AtomicBool::new(false),
        });
        self.actions.push_back(Action::Receive(t.clone()));
        self.actions.push_back(Action::Use(t));
    }
    pub fn want(&mut self, peer: &[u8; 32], _now: f64) {
        self.make(peer, true);
    }
    pub fn receive(&mut self, frame: &[u8], _from: From, _now: f64) {
        if let Some(k) = frame.get(1..33).and_then(|k| k.first_chunk()) {
            if frame[0] == 1 {
                let k = *k;
                self.make(&k, false);
            }
        }
    }
    pub fn renew(&mut self, _peer: &[u8; 32], _now: f64) {}
    pub fn heard(&mut self, _index: u32, _now: f64) {}
    pub fn used_up(&mut self, _peer: &[u8; 32], _now: f64) {}
    pub fn plain(&mut self, _peer: &[u8; 32], _speaks: bool, _now: f64) {}
    pub fn unpin(&mut self, _peer: &[u8; 32], _now: f64) {}
    pub fn closed(&mut self, _index: u32, _now: f64) {}
    pub fn wake(&mut self, _now: f64) {}
    pub fn deadline(&self) -> Option<f64> {
        None
    }
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![]
    }
    pub fn sessions(&self, _now: f64) -> impl Iterator<Item = Status> + '_ {
        std::iter::empty()
    }
}
