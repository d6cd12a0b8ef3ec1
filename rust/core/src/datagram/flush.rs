//! What time does to a link, and what it sends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::config::{Action, Counters};
use super::control::{self, DATA_OVERHEAD, Frame, MAX_REASON};
use super::crypt::TAG;
use super::link::Link;
use super::live::Seen;
use super::mtu::Probe;
use super::wire::CONTROL_HEADER;

/// New figures are told as often at most.
const MEASURED: f64 = 1.0;
/// What sealing adds to a plaintext.
const OVERHEAD: usize = CONTROL_HEADER + TAG;
/// An acknowledgment with all its ranges, and some small frames, leave room for data in a datagram.
const LEAST_DATA: usize = 64;

/// What the endpoint must see to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) revive: bool,
    pub(super) dead: bool,
}

impl Link {
    fn seen(&mut self) -> Seen {
        let millis = |value: u64| match value {
            0 => f64::NEG_INFINITY,
            value => value as f64 / 1000.0,
        };
        self.seen_sent_ms = self.shared.last_sent_ms.load(Relaxed);
        Seen {
            data: millis(self.seen_sent_ms).max(self.control_sent),
            heard: millis(self.shared.last_heard_ms.load(Relaxed)),
            timeout: self.rtt.timeout(),
            stall: self.rtt.stall(),
        }
    }

    /// Do what is due, and send what waits.
    pub(super) fn step(&mut self, actions: &mut VecDeque<Action>, counters: &mut Counters, now: f64) -> Due {
        let seen = self.seen();
        let verdict = self.live.wake(&seen, now);
        if let Some(stalled) = verdict.stalled {
            actions.push_back(Action::Stalled {
                link: self.id,
                stalled,
            });
        }
        if verdict.stalled == Some(true) || verdict.slept {
            self.loss_out.pass_over();
            self.loss_in.pass_over();
        }
        if verdict.slept {
            self.pings.clear();
        }
        self.ping_due |= verdict.ping || self.outgoing.ask_for_room(now);
        self.outgoing.wake(self.rtt.smoothed(), self.rtt.timeout(), now);
        self.update_keys(actions, now);
        self.flush(actions, now);
        if self.probe(&seen, actions, counters, now) {
            // Whether anything gets through, whatever becomes of the probe.
            self.ping_due = true;
            self.flush(actions, now);
        }
        self.measure(actions, now);
        let seen = self.seen();
        self.due = self.deadline(&seen, now);
        Due {
            revive: verdict.revive && self.dialled,
            dead: verdict.dead,
        }
    }

    fn deadline(&self, seen: &Seen, now: f64) -> f64 {
        let flows = self.flows(seen, now);
        self.live
            .deadline(seen, now)
            .min(self.outgoing.deadline(self.rtt.smoothed(), self.rtt.timeout()))
            .min(self.mtu.deadline(seen.timeout, flows))
    }

    /// Data flows: what is lost on the way is missed.
    fn flows(&self, seen: &Seen, now: f64) -> bool {
        !self.live.is_stalled() && now - seen.data <= MEASURED
    }

    fn update_keys(&mut self, actions: &mut VecDeque<Action>, now: f64) {
        let mut changed = self.channel.wake(&self.shared, now);
        let wrapped = self.shared.wrapped();
        if self.epoch_ping.is_none() && self.channel.is_worn(wrapped, now) {
            self.channel.ratchet(wrapped, now);
            self.epoch_ping = Some(self.last_ping.wrapping_add(1));
            self.ping_due = true;
            changed = true;
        }
        if changed {
            actions.push_back(Action::Keys {
                link: self.id,
                keys: self.lane_keys(),
            });
        }
    }

    /// Send all answers, a ping if one is due, and as much of the stream as may go.
    pub(super) fn flush(&mut self, actions: &mut VecDeque<Action>, now: f64) {
        let room = super::link::base_size(self.remote) - OVERHEAD;
        let mut plaintext = Vec::new();
        self.answers(&mut plaintext, room, now);
        loop {
            let left = room.saturating_sub(plaintext.len() + DATA_OVERHEAD);
            let segment = match left {
                LEAST_DATA.. => self.outgoing.segment(left, now),
                _ => None,
            };
            if let Some((offset, bytes)) = &segment {
                if bytes.len() > left {
                    // A segment sent before, longer than what is left beside the answers.
                    self.transmit(&std::mem::take(&mut plaintext), false, actions, now);
                }
                let bytes = bytes.as_slice();
                control::encode(
                    &Frame::Data {
                        offset: *offset,
                        bytes,
                    },
                    &mut plaintext,
                );
                self.control_sent = now;
            }
            if plaintext.is_empty() {
                break;
            }
            self.transmit(&std::mem::take(&mut plaintext), false, actions, now);
            if !self.outgoing.is_ready() {
                break;
            }
        }
    }

    fn answers(&mut self, out: &mut Vec<u8>, room: usize, now: f64) {
        if self.ping_due {
            self.ping_due = false;
            let ping = self.new_ping(now);
            self.live.pinged(now);
            control::encode(
                &Frame::Ping {
                    id: ping.id,
                    sent: ping.sent,
                },
                out,
            );
        }
        let has_pongs = !self.pongs.is_empty();
        for (id, heard) in std::mem::take(&mut self.pongs) {
            control::encode(&Frame::Pong { id, heard }, out);
        }
        for id in std::mem::take(&mut self.probe_acks) {
            control::encode(&Frame::ProbeAck { id }, out);
        }
        if self.ack_due || has_pongs {
            self.ack_due = false;
            let mut ack = self.incoming.ack();
            let fit = room.saturating_sub(out.len() + control::FRAME + 12) / 8;
            ack.ranges.truncate(fit);
            control::encode(&Frame::Ack(ack), out);
        }
    }

    /// Try a size, if it is time to.
    fn probe(
        &mut self,
        seen: &Seen,
        actions: &mut VecDeque<Action>,
        counters: &mut Counters,
        now: f64,
    ) -> bool {
        if self.live.is_stalled() {
            self.mtu.hold(now);
            return false;
        }
        let flows = self.flows(seen, now);
        let heard = self.live.heard_at();
        let (probe, found) = self.mtu.probe(seen.timeout, flows, heard, now);
        self.found(found, actions, counters);
        let Some(Probe { id, size }) = probe else {
            return false;
        };
        let mut plaintext = Vec::new();
        control::encode(&Frame::Probe { id }, &mut plaintext);
        control::pad(&mut plaintext, (size as usize).saturating_sub(OVERHEAD));
        self.transmit(&plaintext, true, actions, now);
        true
    }

    fn measure(&mut self, actions: &mut VecDeque<Action>, now: f64) {
        if self.news && now - self.measured >= MEASURED {
            self.measured = now;
            self.news = false;
            let loss = self.loss_out.share();
            actions.push_back(Action::Measured {
                link: self.id,
                rtt: self.rtt.smoothed(),
                loss,
                loss_in: self.loss_in.share(),
                repair: self.lossy.update(loss, &self.rtt, now),
            });
        }
    }

    fn transmit(&mut self, plaintext: &[u8], dont_fragment: bool, actions: &mut VecDeque<Action>, now: f64) {
        if plaintext.is_empty() {
            return;
        }
        if let Some(datagram) = self.channel.seal(self.shared.remote_index, plaintext) {
            self.shared.sent.fetch_add(1, Relaxed);
            self.live.sent(now);
            actions.push_back(Action::Transmit {
                to: self.remote,
                datagram,
                dont_fragment,
            });
        }
    }

    /// Send one frame somewhere else than to the peer's address, or beside what waits.
    pub(super) fn transmit_to(
        &mut self,
        to: SocketAddr,
        frame: &Frame<'_>,
        actions: &mut VecDeque<Action>,
        now: f64,
    ) {
        let mut plaintext = Vec::new();
        control::encode(frame, &mut plaintext);
        let remote = std::mem::replace(&mut self.remote, to);
        self.transmit(&plaintext, false, actions, now);
        self.remote = remote;
    }

    /// Tell the peer that the link ends.
    pub(super) fn say_close(&mut self, reason: &str, actions: &mut VecDeque<Action>, now: f64) {
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = reason.as_bytes().get(..end).unwrap_or_default();
        self.transmit_to(self.remote, &Frame::Close { reason }, actions, now);
    }
}
