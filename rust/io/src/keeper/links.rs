//! Datagram links: what their machine wants, done with the socket, the events and the table of links.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zosnet_core::datagram::{Action, Endpoint, Id};
use zosnet_core::frame::{self, Kind};

use crate::events::Event;
use crate::handoff::{LinkId, LinkUp};
use crate::link::{DatagramLink, LinkState};
use crate::shared::Shared;

use super::port::Port;

/// A link, as the keeper sees it.
struct Link {
    state: Arc<LinkState>,
    /// The start of a control packet whose rest is still to come.
    leftover: Vec<u8>,
}

/// See the module.
pub struct Links {
    shared: Arc<Shared>,
    port: Port,
    machine: Endpoint,
    ids: HashMap<LinkId, Id>,
    links: HashMap<Id, Link>,
}

impl Links {
    /// None yet.
    pub fn new(shared: Arc<Shared>, port: Port, machine: Endpoint) -> Self {
        let (ids, links) = (HashMap::new(), HashMap::new());
        Self {
            shared,
            port,
            machine,
            ids,
            links,
        }
    }

    /// When [`Self::wake`] is wanted.
    pub fn deadline(&self) -> Option<f64> {
        self.machine.deadline()
    }

    /// Do what is due.
    pub fn wake(&mut self, now: f64) {
        self.machine.wake(now);
    }

    /// A handshake or a control frame.
    pub fn receive(&mut self, datagram: &mut [u8], from: SocketAddr, now: f64) {
        self.machine.receive(datagram, from, now);
    }

    /// Begin to link.
    pub fn dial(&mut self, token: i64, remote: SocketAddr, key: Option<[u8; 32]>, timeout: f64, now: f64) {
        if !self.port.is_open() {
            let reason = "this node has no UDP port".to_owned();
            return self.shared.events.push_one(Event::DialFailed(token, 0, reason));
        }
        self.machine.dial(token, remote, key, timeout, now);
    }

    /// Send whole control packets.
    pub fn control(&mut self, link: LinkId, packets: &[u8], hello: bool, now: f64) {
        let Some(id) = self.ids.get(&link) else { return };
        if let (true, Some(link)) = (hello, self.links.get(id)) {
            link.state.hello_left(now);
        }
        self.machine.push_control(*id, packets, now);
    }

    /// Stop taking control packets of a link, or go on.
    pub fn pause(&mut self, link: LinkId, paused: bool) {
        if let Some(id) = self.ids.get(&link) {
            self.machine.pause(*id, paused);
        }
    }

    /// End a link.
    pub fn close(&mut self, link: LinkId, now: f64) {
        if let Some(id) = self.ids.get(&link) {
            self.machine.close(*id, "closed by this node", now);
        }
    }

    /// End all.
    pub fn close_all(&mut self, now: f64) {
        for id in self.ids.values() {
            self.machine.close(*id, "this node stops", now);
        }
    }

    /// Who may link.
    pub fn allow(&mut self, keys: Option<Vec<[u8; 32]>>, now: f64) {
        self.machine
            .allow(keys.map(|keys| keys.into_iter().collect()), now);
    }

    /// Named totals.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let all = self.machine.counters();
        vec![
            ("udp.malformed", all.malformed),
            ("udp.bad_mac", all.bad_mac),
            ("udp.cookies", all.cookies),
            ("udp.flooded", all.flooded),
            ("udp.evicted", all.evicted),
            ("udp.expired", all.expired),
            ("udp.bad_handshake", all.bad_handshake),
            ("udp.not_allowed", all.refused),
            ("udp.handshakes", all.completed),
            ("udp.unknown", all.unknown),
            ("udp.forged", all.forged),
            ("udp.replayed", all.replayed),
            ("udp.bad_frame", all.bad_frame),
            ("udp.challenges", all.challenges),
            ("udp.moves", all.moves),
            ("udp.black_holes", all.black_holes),
            ("udp.no_random", all.no_random),
        ]
    }

    /// Carry out what the machine wants.
    pub fn act(&mut self, now: f64) {
        while let Some(action) = self.machine.poll() {
            match action {
                Action::Transmit { to, datagram, .. } => self.transmit(to, &datagram, now),
                Action::Up {
                    link,
                    token,
                    peer,
                    remote,
                    keys,
                } => {
                    if token.is_none() && self.shared.events.crowded() {
                        self.machine.close(link, "too much is going on here", now);
                        continue;
                    }
                    let number = self.shared.fresh_link();
                    let up = LinkUp {
                        link: number,
                        token,
                        proto: "udp",
                        local: self.port.local(),
                        remote,
                        key: Some(peer),
                    };
                    let datagram = DatagramLink::new(keys, self.port.target(remote).into());
                    let state = Arc::new(LinkState::of_datagrams(up, now, datagram));
                    self.ids.insert(number, link);
                    let leftover = Vec::new();
                    self.links.insert(
                        link,
                        Link {
                            state: Arc::clone(&state),
                            leftover,
                        },
                    );
                    self.shared.add_link(state);
                    self.shared.wake_all();
                }
                Action::Keys { link, keys } => self.change(link, |udp| udp.set_keys(keys)),
                Action::Moved { link, remote } => {
                    let target = self.port.target(remote).into();
                    self.change(link, |udp| udp.set_target(target));
                }
                // Lanes read it from the keys.
                Action::Mtu { .. } => {}
                Action::Control { link, bytes } => self.control_in(link, &bytes, now),
                Action::Stalled { link, stalled } => self.stalled(link, stalled, now),
                Action::Measured {
                    link,
                    rtt,
                    loss,
                    loss_in,
                    repair,
                } => {
                    if let Some(Link { state, .. }) = self.links.get(&link) {
                        let loss = loss.max(loss_in);
                        if let Some(udp) = &state.datagram {
                            udp.set_loss(loss);
                            udp.set_repaired(repair && self.shared.repair);
                        }
                        self.shared
                            .events
                            .push_one(Event::Measured(state.up.link, rtt, loss, now));
                    }
                }
                Action::Down { link, reason } => {
                    if let Some(Link { state, .. }) = self.links.remove(&link) {
                        self.ids.remove(&state.up.link);
                        self.shared.remove_link(state.up.link, &reason);
                        self.shared.wake_all();
                    }
                }
                Action::DialFailed { token, reason, .. } => {
                    self.shared.events.push_one(Event::DialFailed(token, 0, reason));
                }
                // It is counted; who was refused is told by the node's own list.
                Action::Refused { .. } => {}
            }
        }
    }

    /// Change what lanes need of a link, and make them see it.
    fn change(&self, link: Id, change: impl FnOnce(&DatagramLink)) {
        if let Some(udp) = self
            .links
            .get(&link)
            .and_then(|link| link.state.datagram.as_ref())
        {
            change(udp);
            self.shared.links.replace(|links| Arc::new(links.clone()));
            self.shared.wake_all();
        }
    }

    fn transmit(&mut self, to: SocketAddr, datagram: &[u8], now: f64) {
        match self.port.send(to, datagram) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                self.machine.too_big(to, datagram.len(), now);
            }
            // An error may be of an earlier datagram, and what is lost is sent again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                drop(self.port.send(to, datagram));
            }
            _ => {}
        }
    }

    fn stalled(&self, link: Id, stalled: bool, now: f64) {
        let Some(Link { state, .. }) = self.links.get(&link) else {
            return;
        };
        state.stalled.store(stalled, Relaxed);
        self.shared
            .events
            .push_one(Event::Stalled(state.up.link, stalled, now));
        self.shared.wake_all();
    }

    /// The next bytes of a link's control packets.
    fn control_in(&mut self, id: Id, bytes: &[u8], now: f64) {
        let Some(Link { state, leftover }) = self.links.get_mut(&id) else {
            return;
        };
        leftover.extend_from_slice(bytes);
        let (mut at, mut full, mut lost) = (0, false, None);
        loop {
            match frame::next(leftover, at) {
                Ok(Some(found)) => {
                    at = found.end;
                    let packet = leftover.get(found.start..found.end).unwrap_or_default();
                    // Data has no business here, and is no reason to lose the link.
                    if found.kind == Kind::Control {
                        let (event, over) = self.shared.control_up(state, packet, now);
                        self.shared.events.push_one(event);
                        full |= over;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    lost = Some(error.to_string());
                    break;
                }
            }
        }
        leftover.drain(..at);
        if let Some(reason) = lost {
            return self.machine.close(id, &reason, now);
        }
        if full {
            self.machine.pause(id, true);
        }
    }
}
