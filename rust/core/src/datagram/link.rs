//! One link: what an authentic frame does to it. What time does to it is in `flush`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::channel::{Channel, Opened, Refusal};
use super::config::{Action, Config, Counters, Id, Status};
use super::control::{Frame, Frames};
use super::crypt::{Cipher, KEY, Secret};
use super::incoming::Incoming;
use super::keys::{LinkKeys, Shared};
use super::live::Live;
use super::loss::Loss;
use super::lossy::Lossy;
use super::mtu::{self, Found, Mtu};
use super::offer::Offer;
use super::outgoing::Outgoing;
use super::roam::Roam;
use super::rtt::Rtt;
use crate::suite::Fill;

/// Pings whose answers are waited for.
const MAX_PINGS: usize = 128;
/// Answers that are collected before they are sent.
const MAX_ANSWERS: usize = 32;

/// A ping on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pinged {
    pub(super) id: u32,
    pub(super) at: f64,
    pub(super) sent: u64,
}

/// What a completed handshake says.
pub(super) struct Agreed {
    pub(super) peer: [u8; KEY],
    pub(super) mine: Offer,
    pub(super) theirs: Offer,
    pub(super) cipher: Cipher,
    pub(super) send: Secret,
    pub(super) receive: Secret,
    pub(super) dialled: bool,
    pub(super) token: Option<i64>,
}

/// A link; before both ends are sure of it, part of a handshake.
pub(super) struct Link {
    pub(super) id: Id,
    pub(super) token: Option<i64>,
    pub(super) dialled: bool,
    pub(super) peer: [u8; KEY],
    /// The dial that makes the link anew, while the peer doesn't answer.
    pub(super) revival: Option<u64>,
    /// Which start of the peer this is.
    pub(super) instance: [u8; 8],
    pub(super) remote: SocketAddr,
    pub(super) since: f64,
    /// When the link has something to do.
    pub(super) due: f64,
    pub(super) shared: Arc<Shared>,
    pub(super) channel: Channel,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    pub(super) rtt: Rtt,
    pub(super) loss_out: Loss,
    pub(super) loss_in: Loss,
    pub(super) lossy: Lossy,
    pub(super) live: Live,
    pub(super) mtu: Mtu,
    pub(super) roam: Roam,
    pub(super) pings: VecDeque<Pinged>,
    pub(super) last_ping: u32,
    /// The peer follows our epoch once it answered this ping.
    pub(super) epoch_ping: Option<u32>,
    pub(super) pongs: Vec<(u32, u64)>,
    pub(super) probe_acks: Vec<u32>,
    pub(super) ack_due: bool,
    pub(super) ping_due: bool,
    /// When control data was sent last.
    pub(super) control_sent: f64,
    pub(super) seen_sent_ms: u64,
    pub(super) measured: f64,
    /// Something was measured since it was told.
    pub(super) news: bool,
    max_packet: u16,
    peer_max: u16,
}

/// Where frames lead beyond the link.
pub(super) struct Surroundings<'a> {
    pub(super) actions: &'a mut VecDeque<Action>,
    pub(super) counters: &'a mut Counters,
    pub(super) random: &'a mut Fill,
}

/// What remains of a frame once it is dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    Stays,
    /// The peer closed the link.
    Closed(String),
}

impl Link {
    /// What the handshake agreed on, with a peer at `remote`.
    pub(super) fn new(config: &Config, agreed: Agreed, remote: SocketAddr, now: f64) -> Option<Self> {
        let Agreed {
            peer, mine, theirs, ..
        } = agreed;
        let channel = Channel::new(agreed.cipher, agreed.send, agreed.receive, now)?;
        let mtu = Mtu::new(
            remote.is_ipv6(),
            u32::from(config.max_packet),
            u32::from(theirs.max_datagram),
            now,
        );
        let shared = Shared::new(
            [mine.index, theirs.index],
            peer,
            [mine.lanes, theirs.lanes],
            mtu.current(),
        );
        let window = config.limits.control_window;
        Some(Self {
            id: Id(0),
            token: agreed.token,
            dialled: agreed.dialled,
            peer,
            revival: None,
            instance: theirs.instance,
            remote,
            since: now,
            due: now,
            shared: Arc::new(shared),
            channel,
            outgoing: Outgoing::new(config.limits.control_buffer, super::FIRST_ROOM),
            incoming: Incoming::new(window.max(super::FIRST_ROOM)),
            rtt: Rtt::default(),
            loss_out: Loss::default(),
            loss_in: Loss::default(),
            lossy: Lossy::default(),
            live: Live::new(now),
            mtu,
            roam: Roam::default(),
            pings: VecDeque::new(),
            last_ping: 0,
            epoch_ping: None,
            pongs: Vec::new(),
            probe_acks: Vec::new(),
            ack_due: false,
            ping_due: true,
            control_sent: f64::NEG_INFINITY,
            seen_sent_ms: 0,
            measured: f64::NEG_INFINITY,
            news: false,
            max_packet: config.max_packet,
            peer_max: theirs.max_datagram,
        })
    }

    /// For the lanes, as of now.
    pub(super) fn lane_keys(&self) -> Arc<LinkKeys> {
        self.channel.lane_keys(&self.shared)
    }

    /// Lanes sent something since the link was looked at.
    pub(super) fn is_stirred(&self) -> bool {
        self.shared.last_sent_ms.load(Relaxed) != self.seen_sent_ms
    }

    /// Open a control datagram: its plaintext, and whether its counter is the newest.
    pub(super) fn open(
        &mut self,
        datagram: &mut [u8],
        actions: Option<&mut VecDeque<Action>>,
        now: f64,
    ) -> Result<(Vec<u8>, bool), Refusal> {
        let Opened {
            plaintext,
            newest,
            stepped,
        } = self.channel.open(datagram, now)?;
        let plaintext = plaintext.to_vec();
        self.shared.heard.fetch_add(1, Relaxed);
        if let (true, Some(actions)) = (stepped, actions) {
            actions.push_back(Action::Keys {
                link: self.id,
                keys: self.lane_keys(),
            });
        }
        Ok((plaintext, newest))
    }

    /// What an authentic plaintext from `from` says.
    pub(super) fn handle(
        &mut self,
        (plaintext, newest): (&[u8], bool),
        from: SocketAddr,
        around: &mut Surroundings<'_>,
        now: f64,
    ) -> After {
        self.live.heard(now);
        for frame in Frames(plaintext) {
            let Ok(frame) = frame else {
                around.counters.bad_frame += 1;
                break;
            };
            if let Frame::Close { reason } = frame {
                return After::Closed(String::from_utf8_lossy(reason).into_owned());
            }
            self.frame(frame, from, around, now);
        }
        if newest && from != self.remote {
            self.challenge(from, around, now);
        }
        self.deliver(around.actions);
        After::Stays
    }

    fn frame(&mut self, frame: Frame<'_>, from: SocketAddr, around: &mut Surroundings<'_>, now: f64) {
        match frame {
            Frame::Ping { id, sent } => {
                let heard = self.shared.heard.load(Relaxed);
                self.loss_in.update(sent, heard);
                if self.pongs.len() < MAX_ANSWERS {
                    self.pongs.push((id, heard));
                }
            }
            Frame::Pong { id, heard } => self.pong(id, heard, now),
            Frame::Data { offset, bytes } => {
                self.incoming.receive(offset, bytes);
                self.ack_due = true;
            }
            Frame::Ack(ack) => {
                if !self.outgoing.receive(&ack, self.rtt.smoothed(), now) {
                    around.counters.bad_frame += 1;
                }
            }
            Frame::Challenge(token) => self.transmit_to(from, &Frame::Answer(token), around.actions, now),
            Frame::Answer(token) => {
                if self.roam.answered(token, from, now) {
                    self.move_to(from, around, now);
                }
            }
            Frame::Probe { id } => {
                if self.probe_acks.len() < MAX_ANSWERS {
                    self.probe_acks.push(id);
                }
            }
            Frame::ProbeAck { id } => {
                let found = self.mtu.acked(id, now);
                self.found(found, around.actions, around.counters);
            }
            Frame::Close { .. } | Frame::Other => {}
        }
    }

    fn pong(&mut self, id: u32, heard: u64, now: f64) {
        let Some(at) = self.pings.iter().position(|ping| ping.id == id) else {
            return;
        };
        let Some(ping) = self.pings.remove(at) else {
            return;
        };
        self.rtt.sample(now - ping.at, now);
        self.news = true;
        let micros = (self.rtt.smoothed() * 1e6).min(f64::from(u32::MAX)) as u32;
        self.shared.rtt_us.store(micros.max(1), Relaxed);
        self.loss_out.update(ping.sent, heard);
        if self
            .epoch_ping
            .is_some_and(|first| id.wrapping_sub(first) < 1 << 31)
        {
            self.epoch_ping = None;
        }
    }

    /// Remember a ping that goes out now.
    pub(super) fn new_ping(&mut self, now: f64) -> Pinged {
        self.last_ping = self.last_ping.wrapping_add(1);
        let ping = Pinged {
            id: self.last_ping,
            at: now,
            sent: self.shared.sent.load(Relaxed),
        };
        if self.pings.len() >= MAX_PINGS {
            self.pings.pop_front();
        }
        self.pings.push_back(ping);
        ping
    }

    fn challenge(&mut self, from: SocketAddr, around: &mut Surroundings<'_>, now: f64) {
        let Surroundings {
            actions,
            counters,
            random,
        } = around;
        let fresh = || {
            let mut token = [0; 8];
            random(&mut token).ok().map(|()| token)
        };
        if let Some(token) = self.roam.challenge(from, fresh, now) {
            counters.challenges += 1;
            self.transmit_to(from, &Frame::Challenge(token), actions, now);
        }
    }

    fn move_to(&mut self, remote: SocketAddr, around: &mut Surroundings<'_>, now: f64) {
        around.counters.moves += 1;
        self.remote = remote;
        self.rtt = Rtt::default();
        self.pings.clear();
        self.ping_due = true;
        around.actions.push_back(Action::Moved {
            link: self.id,
            remote,
        });
        let before = self.mtu.current();
        self.mtu = Mtu::new(
            remote.is_ipv6(),
            u32::from(self.max_packet),
            u32::from(self.peer_max),
            now,
        );
        if before != self.mtu.current() {
            self.found(
                Some(Found::Size(self.mtu.current())),
                around.actions,
                around.counters,
            );
        }
    }

    /// Tell what the search for the largest datagram found.
    pub(super) fn found(
        &mut self,
        found: Option<Found>,
        actions: &mut VecDeque<Action>,
        counters: &mut Counters,
    ) {
        let max_datagram = match found {
            None => return,
            Some(Found::Size(size)) => size,
            Some(Found::BlackHole(size)) => {
                counters.black_holes += 1;
                size
            }
        };
        self.shared.max_datagram.store(max_datagram, Relaxed);
        actions.push_back(Action::Mtu {
            link: self.id,
            max_datagram,
        });
    }

    /// Give the reader what it may have.
    pub(super) fn deliver(&mut self, actions: &mut VecDeque<Action>) {
        if let Some(bytes) = self.incoming.take() {
            actions.push_back(Action::Control { link: self.id, bytes });
        }
    }

    /// The link, for people.
    pub(super) fn status(&self) -> Status {
        Status {
            link: self.id,
            local_index: self.shared.local_index,
            token: self.token,
            peer: self.peer,
            remote: self.remote,
            rtt: self.rtt.smoothed(),
            rttvar: self.rtt.variance(),
            rtt_min: self.rtt.smallest(),
            loss_out: self.loss_out.share(),
            loss_in: self.loss_in.share(),
            max_datagram: self.mtu.current(),
            stalled: self.live.is_stalled(),
            queued: self.outgoing.queued(),
            since: self.since,
            heard: self.live.heard_at(),
        }
    }
}

/// The base size of the path to `remote`, as UDP payload.
pub(super) fn base_size(remote: SocketAddr) -> usize {
    mtu::base(remote.is_ipv6()) as usize
}
