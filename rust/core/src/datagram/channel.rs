//! The control channel's frames: sealed, opened, and their keys changed epoch after epoch.
//!
//! Each direction changes keys on its own: the sender steps, the receiver follows when the first authentic
//! frame of the next epoch comes in, and takes the epoch before for a while longer.

use std::sync::Arc;

use super::crypt::{Chain, Cipher, EpochKeys, Secret, TAG};
use super::keys::{LinkKeys, Shared};
use super::window::Window;
use super::wire::{self, CONTROL_HEADER};

/// A sending key is used for so long...
pub(super) const KEY_LIFETIME: f64 = 600.0;
/// ... or for so many frames.
pub(super) const KEY_FRAMES: u64 = 1 << 28;
/// How long the epoch before is taken after the peer has begun the next.
pub(super) const OLD_KEY: f64 = 15.0;

/// Why a frame wasn't opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Forged,
    Replayed,
}

/// A frame that is authentic and new.
pub(super) struct Opened<'a> {
    pub(super) plaintext: &'a [u8],
    /// No newer counter was seen before.
    pub(super) newest: bool,
    /// The peer has begun an epoch: lanes need other keys.
    pub(super) stepped: bool,
}

/// Both directions of the control channel.
pub(super) struct Channel {
    sending: EpochKeys,
    send_chain: Chain,
    counter: u64,
    since: f64,
    frames_before: u64,
    current: EpochKeys,
    next: EpochKeys,
    previous: Option<(EpochKeys, f64)>,
    receive_chain: Chain,
    window: Window,
}

impl Channel {
    /// From the roots of what this end sends and receives.
    pub(super) fn new(cipher: Cipher, send: Secret, receive: Secret, now: f64) -> Option<Self> {
        let mut send_chain = Chain::new(send, cipher);
        let mut receive_chain = Chain::new(receive, cipher);
        Some(Self {
            sending: send_chain.step()?,
            send_chain,
            counter: 0,
            since: now,
            frames_before: 0,
            current: receive_chain.step()?,
            next: receive_chain.step()?,
            previous: None,
            receive_chain,
            window: Window::default(),
        })
    }

    /// A whole control datagram with this plaintext for the peer's index.
    pub(super) fn seal(&mut self, receiver: u32, plaintext: &[u8]) -> Option<Vec<u8>> {
        let counter = self.counter;
        self.counter += 1;
        let header = wire::control_header(self.sending.epoch, receiver, counter);
        let mut out = Vec::with_capacity(CONTROL_HEADER + plaintext.len() + TAG);
        out.extend_from_slice(&header);
        out.extend_from_slice(plaintext);
        let tag = self
            .sending
            .control
            .seal(counter, &header, out.get_mut(CONTROL_HEADER..)?)?;
        out.extend_from_slice(&tag);
        Some(out)
    }

    /// Open a control datagram in place. Only an authentic, new one changes anything.
    pub(super) fn open<'a>(&mut self, datagram: &'a mut [u8], now: f64) -> Result<Opened<'a>, Refusal> {
        let (epoch, _, counter, header) = wire::control(datagram).ok_or(Refusal::Malformed)?;
        let sealed = datagram.get_mut(CONTROL_HEADER..).ok_or(Refusal::Malformed)?;
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until);
        let keys = [
            Some(&self.current),
            Some(&self.next),
            previous.map(|(keys, _)| keys),
        ]
        .into_iter()
        .flatten()
        .find(|keys| keys.epoch == epoch)
        .ok_or(Refusal::Forged)?;
        let plaintext = keys
            .control
            .open(counter, &header, sealed)
            .ok_or(Refusal::Forged)?;
        let newest = self.window.is_newest(counter);
        if !self.window.accept(counter) {
            return Err(Refusal::Replayed);
        }
        let stepped = epoch == self.next.epoch && self.follow(now);
        Ok(Opened {
            plaintext,
            newest,
            stepped,
        })
    }

    /// The peer has begun the next epoch.
    fn follow(&mut self, now: f64) -> bool {
        let Some(after) = self.receive_chain.step() else {
            return false;
        };
        let next = std::mem::replace(&mut self.next, after);
        let before = std::mem::replace(&mut self.current, next);
        self.previous = Some((before, now + OLD_KEY));
        true
    }

    /// What time and lanes ask for: follow an epoch that only lanes saw, forget the one before. True if the
    /// lanes need other keys.
    pub(super) fn wake(&mut self, shared: &Shared, now: f64) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        let mut changed = false;
        if shared.seen_epoch.load(Relaxed) == u32::from(self.next.epoch) {
            changed |= self.follow(now);
        }
        if self.previous.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.previous = None;
            changed = true;
        }
        changed
    }

    /// Whether the sending key has done its time. `wrapped`: relayed packets so far.
    pub(super) fn is_worn(&self, wrapped: u64, now: f64) -> bool {
        let frames = (self.counter + wrapped).saturating_sub(self.frames_before);
        now - self.since >= KEY_LIFETIME || frames >= KEY_FRAMES
    }

    /// Send under the next epoch from now on.
    pub(super) fn ratchet(&mut self, wrapped: u64, now: f64) {
        if let Some(keys) = self.send_chain.step() {
            self.sending = keys;
        }
        self.since = now;
        self.frames_before = self.counter + wrapped;
    }

    /// What the lanes need of the epochs at hand.
    pub(super) fn lane_keys(&self, shared: &Arc<Shared>) -> Arc<LinkKeys> {
        shared
            .seen_epoch
            .store(u32::MAX, std::sync::atomic::Ordering::Relaxed);
        let previous = self.previous.as_ref().map(|(keys, _)| keys.clone());
        let receiving = [Some(self.current.clone()), previous, Some(self.next.clone())];
        Arc::new(LinkKeys::new(Arc::clone(shared), self.sending.clone(), receiving))
    }
}
